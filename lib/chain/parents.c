/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding a parent by its name; see parents.h. */

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "chain/candidates.h"
#include "chain/chain.h"
#include "chain/parents.h"

/* What became of the candidates, for the message. */
struct parent_search {
  const struct vd_link *child;
  struct vd_link *found;        /* its CID fits */
  struct vd_link *misfit;       /* the first whose CID does not */
  struct vd_err misfit_err;
  bool self;                    /* the hint, as it stands, names the child */
};

const char *
vd_link_hint (const struct vd_link *link)
{
  return link->descriptor ? link->descriptor->hint : NULL;
}

/* The first thing that is there and is no parent is what is told. */
static void
note_other (struct vd_search *s, const struct vd_err *e)
{
  if (s->other.code == VD_OK)
    s->other = *e;
}

/* A descriptor, or a disk with one in it. */
static struct vd_link *
read_candidate (struct vd_search *s, struct vd_file *file, struct vd_err *err)
{
  CLEANUP_FREE char *path = strdup (file->name);
  struct vd_link *link;

  if (!path) {
    vd_file_close (file);
    vd_fail_nomem (err);
    return NULL;
  }
  link = vd_link_read (file, path, s->opts, err);
  if (link && link->role == VD_ROLE_BARE) {
    vd_fail (err, VD_MISMATCH, "%s is the data of a disk (a bare %s extent), "
             "not its descriptor", link->path, link->self->fmt->name);
    vd_link_close (link);
    return NULL;
  }
  return link;
}

static int
offer_parent (struct vd_search *s, const char *candidate,
              struct vd_file *file, struct vd_err *err)
{
  struct parent_search *p = s->opaque;
  /* Compare strictly here: another candidate may fit. */
  static const struct vd_opts strict;
  struct vd_link *link;
  struct vd_err e;

  (void) candidate;
  /* A clone may have its parent's name; it is not its own parent. */
  if (file->ino != 0 && file->ino == p->child->ino &&
      file->dev == p->child->dev) {
    vd_file_close (file);
    p->self = p->self || s->as_it_stands;
    return 0;
  }
  link = read_candidate (s, file, &e);
  if (!link) {
    if (e.code == VD_NOMEM) {
      *err = e;
      return -1;
    }
    note_other (s, &e);
    return 0;
  }
  if (vd_chain_check_pair (p->child, link, &strict, &e) == 0) {
    p->found = link;
    return 1;
  }
  if (!p->misfit) {
    p->misfit = link;
    p->misfit_err = e;
    return 0;
  }
  /* The same file again, by another way to it. */
  if (link->ino == 0 || link->ino != p->misfit->ino ||
      link->dev != p->misfit->dev)
    vd_fail (&p->misfit_err, p->misfit_err.code, "%s; also: %s",
             p->misfit_err.msg, e.msg);
  vd_link_close (link);
  return 0;
}

static const char *
why_not (const struct vd_search *s)
{
  const struct parent_search *p = s->opaque;

  if (p->self)
    return " (the file of that name is the child, which cannot be its own "
      "ancestor)";
  if (s->denied)
    return ".  Some of these lead outside of that directory and were not "
      "tried";
  switch (s->kind) {
  case VD_NAME_WINDOWS:
    return " (the hint is a Windows path)";
  case VD_NAME_RELATIVE: case VD_NAME_OBJECT:
    return "";
  default:
    return " (the hint is a path of the machine where the child was made)";
  }
}

static int
not_found (struct vd_search *s, struct vd_err *err)
{
  const struct vd_link *child
    = ((const struct parent_search *) s->opaque)->child;

  if (s->kind == VD_NAME_OBJECT)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: parentFileNameHint '%.255s' names an object of a "
                    "datastore, not a file: export the disk itself",
                    child->path, s->shown);
  if (s->kind == VD_NAME_DATASTORE && s->other.code == VD_OK)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: parentFileNameHint '%.255s' names an object of a "
                    "datastore, not a file: export the disk itself, or copy "
                    "its files here (looked in %s for: %s), or name their "
                    "directory with %sparent-path", child->path, s->shown,
                    vd_confine_dir (child->places), s->tried,
                    vd_opts_prefix ());
  if (s->nameless)
    return vd_fail (err, VD_CORRUPT,
                    "%s: parentFileNameHint '%.255s' does not name a file",
                    child->path, s->shown);
  if (s->other.code != VD_OK) {
    *err = s->other;
    vd_err_prefix (err, "the parent '%.255s' of %s: ", s->shown, child->path);
    return -1;
  }
  return vd_fail (err, s->denied ? VD_DENIED : VD_NOT_FOUND,
                  "parent '%.255s' of %s not found; looked in %s for: %s%s%s.  "
                  "Copy it there, or name its directory with %sparent-path",
                  s->shown, child->path, vd_confine_dir (child->places),
                  s->tried, why_not (s), vd_search_lacks (s),
                  vd_opts_prefix ());
}

static int
find_by_hint (const struct vd_link *child, const struct vd_opts *opts,
              struct vd_link **parent, struct vd_err *err)
{
  struct parent_search p = { .child = child };
  struct vd_search s = {
    .places = child->places, .opts = opts, .from = child->path,
    .name = vd_descriptor_get (child->descriptor, "parentfilenamehint"),
    .encoding = child->descriptor->encoding, .offer = offer_parent,
    .opaque = &p,
  };
  int r = vd_search (&s, err);

  vd_confine_forget (child->places);
  if (r == 0 && !p.found && p.misfit) {
    if (opts->ignore_cid)
      p.found = VD_TAKE (p.misfit);     /* vd_chain_new warns */
    else {
      *err = p.misfit_err;
      r = -1;
    }
  }
  else if (r == 0 && !p.found)
    r = not_found (&s, err);
  vd_search_free (&s);
  vd_link_close (p.misfit);
  if (r == -1) {
    vd_link_close (p.found);
    return -1;
  }
  *parent = p.found;
  return 0;
}

int
vd_find_parent (const struct vd_link *child, const struct vd_opts *opts,
                struct vd_uuid_index *index, enum vd_parent *result,
                struct vd_link **parent, struct vd_err *err)
{
  VD_CLEANUP (vd_uuid_index_free) struct vd_uuid_index own
    = { .nr_images = 0 };
  const char *hint = vd_link_hint (child);

  *parent = NULL;
  *result = child->role == VD_ROLE_BASE ? VD_PARENT_NONE : VD_PARENT_UNKNOWN;
  if (child->role != VD_ROLE_CHILD)
    return 0;

  if (hint && child->descriptor->parent_cid != VD_NO_PARENT) {
    if (find_by_hint (child, opts, parent, err) == -1)
      return -1;
  }
  else if (!vd_uuid_is_null (child->id.parent)) {
    if (vd_find_by_uuid (index ? index : &own, child, opts, parent,
                         err) == -1)
      return -1;
  }
  else
    return 0;
  *result = VD_PARENT_FOUND;
  return 0;
}
