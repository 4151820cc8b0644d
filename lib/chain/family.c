/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Links opened once, and who is whose parent; see family.h. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "chain/family.h"
#include "chain/siblings.h"
#include "file/uri.h"

struct vd_family *
vd_family_new (const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_family *family = calloc (1, sizeof *family);

  if (!family)
    vd_fail_nomem (err);
  else
    family->opts = opts;
  return family;
}

void
vd_family_free (struct vd_family *family)
{
  size_t i;

  if (!family)
    return;
  for (i = 0; i < family->nr_members; ++i) {
    vd_link_close (family->members[i]->link);
    free (family->members[i]);
  }
  free (family->members);
  vd_uuid_index_free (&family->index);
  free (family);
}

static struct vd_member *
find (const struct vd_family *family, const struct vd_link *link)
{
  size_t i;

  for (i = 0; i < family->nr_members; ++i) {
    const struct vd_link *l = family->members[i]->link;

    if (l->ino != 0 && l->ino == link->ino && l->dev == link->dev)
      return family->members[i];
  }
  return NULL;
}

struct vd_member *
vd_family_add_link (struct vd_family *family, struct vd_link *link,
                    struct vd_err *err)
{
  struct vd_member *m = find (family, link), **p;

  if (m) {
    vd_link_close (link);
    return m;
  }
  m = calloc (1, sizeof *m);
  p = vd_grow (family->members, family->nr_members, sizeof *p, err);
  if (p)
    family->members = p;
  if (!m || !p) {
    free (m);
    vd_link_close (link);
    vd_fail_nomem (err);
    return NULL;
  }
  m->link = link;
  p[family->nr_members++] = m;
  return m;
}

struct vd_member *
vd_family_add (struct vd_family *family, const char *path,
               struct vd_err *err)
{
  struct vd_file *file = vd_open (path, family->opts, err);
  struct vd_link *link
    = file ? vd_link_read (file, path, family->opts, err) : NULL;

  return link ? vd_family_add_link (family, link, err) : NULL;
}

int
vd_family_find_parent (struct vd_family *family, struct vd_member *member,
                       struct vd_err *err)
{
  struct vd_link *parent;

  if (member->resolved)
    return 0;
  if (vd_find_parent (member->link, family->opts, &family->index,
                      &member->result, &parent, err) == -1)
    return -1;
  if (parent) {
    member->parent = vd_family_add_link (family, parent, err);
    if (!member->parent)
      return -1;
  }
  member->resolved = true;
  return 0;
}

void
vd_family_set_parent (struct vd_member *member, struct vd_member *parent)
{
  member->parent = parent;
  member->result = VD_PARENT_FOUND;
  member->resolved = true;
}

/* The user gave an extent; the descriptor is probably next to it. */
static int
explain_bare (const struct vd_link *link, struct vd_err *err)
{
  CLEANUP_FREE char *name = vd_descriptor_name (link->path);

  if (name)
    return vd_fail (err, VD_USAGE,
                    "%s is the data of a disk, not the disk: open its "
                    "descriptor %s", link->path, name);
  return vd_fail (err, VD_USAGE,
                  "%s is the data of a disk (a bare extent without a "
                  "descriptor), so its parent is not known: open its "
                  "descriptor", link->path);
}

/* The user says that a bare delta was made on parent.  If there are deltas
 * between the two, by their names, that is hardly so.
 */
static int
warn_siblings (const struct vd_link *link, const struct vd_link *parent,
               const struct vd_opts *opts, struct vd_err *err)
{
  VD_CLEANUP (vd_siblings_free) struct vd_siblings s = { .n = 0 };
  struct vd_link *known[2] = { (struct vd_link *) link,
                               (struct vd_link *) parent };
  CLEANUP_FREE char *all = NULL;
  const char *stem;
  size_t len;
  struct vd_err e;

  if (vd_siblings_find (link, vd_delta_number (parent->path, &stem, &len),
                        known, 2, opts, &s, &e) == -1)
    return e.code == VD_NOMEM ? vd_fail_nomem (err) : 0;
  if (s.n == 0)
    return 0;
  all = vd_siblings_text (&s, link);
  if (!all)
    return vd_fail_nomem (err);
  vd_warn (&opts->log, "%s is taken for the parent of %s as asked, but by their names "
           "there are deltas between them: %s", parent->path, link->path, all);
  return 0;
}

/* The parent is not known: say so, unless the user named it. */
static int
parent_unknown (struct vd_family *family, struct vd_member *m, bool *taken,
                struct vd_err *err)
{
  struct vd_member *parent;

  if (!family->opts->parent || *taken)
    return -1;
  *taken = true;
  parent = vd_family_add (family, family->opts->parent, err);
  if (!parent)
    return -1;
  vd_family_set_parent (m, parent);
  return warn_siblings (m->link, parent->link, family->opts, err);
}

int
vd_family_check_loop (const struct vd_member *top, const struct vd_member *m,
                      struct vd_err *err)
{
  while (top != m && top != m->parent)
    top = top->parent;
  if (top != m->parent)
    return 0;
  return vd_fail (err, VD_CORRUPT,
                  "the chain loops: %s is its own ancestor (it is the parent "
                  "of %s)", m->parent->link->path, m->link->path);
}

int
vd_family_resolve (struct vd_family *family, struct vd_member *member,
                   struct vd_err *err)
{
  struct vd_member *m;
  bool taken = false;           /* opts->parent */
  unsigned n;

  for (m = member, n = 1; n <= VD_MAX_LINKS; m = m->parent, ++n) {
    if (vd_family_find_parent (family, m, err) == -1) {
      if ((err->code != VD_NOT_FOUND && err->code != VD_DENIED) ||
          parent_unknown (family, m, &taken, err) == -1)
        return -1;
    }
    else if (m->result == VD_PARENT_UNKNOWN) {
      if (m->link->role == VD_ROLE_BARE)
        explain_bare (m->link, err);
      else
        vd_fail (err, VD_NOT_FOUND,
                 "%s has a parent (parentCID %08" PRIx32 ") but does not say "
                 "which file; give it with %sparent=FILE", m->link->path,
                 m->link->descriptor->parent_cid,
                 vd_opts_prefix ());
      if (parent_unknown (family, m, &taken, err) == -1)
        return -1;
    }
    if (m->result == VD_PARENT_NONE)
      return 0;
    if (vd_family_check_loop (member, m, err) == -1)
      return -1;
  }
  return vd_fail (err, VD_UNSUPPORTED,
                  "the chain of %s has more than %u links",
                  member->link->path, VD_MAX_LINKS);
}

unsigned
vd_member_depth (const struct vd_member *member)
{
  unsigned n = 0;

  for (; member->parent; member = member->parent)
    ++n;
  return n;
}

struct vd_chain *
vd_family_chain (const struct vd_family *family,
                 const struct vd_member *member, struct vd_err *err)
{
  const size_t n = vd_member_depth (member) + 1;
  CLEANUP_FREE struct vd_link **links = calloc (n, sizeof *links);
  const struct vd_member *m;
  size_t i = n;

  if (!links) {
    vd_fail_nomem (err);
    return NULL;
  }
  for (m = member; m; m = m->parent) {
    if (vd_link_load (m->link, family->opts, err) == -1) {
      if (m != member)
        vd_err_prefix (err, "an ancestor of %s: ", member->link->path);
      return NULL;
    }
    links[--i] = m->link;
  }
  return vd_chain_new (links, n, family->opts, err);
}
