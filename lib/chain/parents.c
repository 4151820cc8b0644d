/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding a parent by its name; see parents.h. */

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "chain/chain.h"
#include "chain/parents.h"

/* The candidates and what became of them, for the message. */
struct search {
  const struct vd_link *child;
  const struct vd_opts *opts;
  struct vd_link *found;        /* its CID fits */
  struct vd_link *misfit;       /* the first whose CID does not */
  struct vd_err misfit_err;
  struct vd_err other_err;      /* the first that could not be used */
  bool denied;
  bool self;                    /* the hint, as it stands, names the child */
  char tried[VD_ERR_MAX / 2];   /* names, separated by ", " */
  char last[512];               /* the one tried last */
};

const char *
vd_link_hint (const struct vd_link *link)
{
  return link->descriptor
    ? vd_descriptor_get (link->descriptor, "parentfilenamehint") : NULL;
}

static void
note_tried (struct search *s, const char *name)
{
  const size_t len = strlen (s->tried);

  snprintf (s->tried + len, sizeof s->tried - len, "%s%.255s",
            len > 0 ? ", " : "", name);
}

/* One candidate: a name as it would stand in the child. */
static int
try_name (struct search *s, const char *name, struct vd_err *err)
{
  struct vd_file *file;
  struct vd_link *link;
  struct vd_err e;

  if (s->found || strcmp (s->last, name) == 0)
    return 0;
  snprintf (s->last, sizeof s->last, "%s", name);
  note_tried (s, name);

  file = vd_confine_open (s->child->places, name, s->child->path, &e);
  if (!file) {
    if (e.code == VD_NOMEM) {
      *err = e;
      return -1;
    }
    if (e.code == VD_DENIED)
      s->denied = true;
    else if (e.code != VD_NOT_FOUND && s->other_err.code == VD_OK)
      s->other_err = e;
    return 0;
  }
  /* A clone may have its parent's name; it is not its own parent. */
  if (file->ino != 0 && file->ino == s->child->ino &&
      file->dev == s->child->dev) {
    vd_file_close (file);
    s->self = s->self || strcmp (name, vd_link_hint (s->child)) == 0;
    return 0;
  }
  {
    CLEANUP_FREE char *path = strdup (file->name);

    if (!path) {
      vd_file_close (file);
      return vd_fail_nomem (err);
    }
    link = vd_link_read (file, path, s->opts, &e);
  }
  if (!link) {
    if (s->other_err.code == VD_OK)
      s->other_err = e;
    return 0;
  }
  if (link->role == VD_ROLE_BARE) {
    if (s->other_err.code == VD_OK)
      vd_fail (&s->other_err, VD_MISMATCH,
               "%s is the data of a disk (a bare %s extent), not its "
               "descriptor", link->path, link->self->fmt->name);
    vd_link_close (link);
    return 0;
  }
  {
    /* Compare strictly here: another candidate may fit. */
    const struct vd_opts strict = { .prefix = s->opts->prefix };

    if (vd_chain_check_pair (s->child, link, &strict, &e) == 0) {
      s->found = link;
      return 0;
    }
  }
  if (!s->misfit) {
    s->misfit = link;
    s->misfit_err = e;
  }
  else {
    vd_fail (&s->misfit_err, s->misfit_err.code, "%s; also: %s",
             s->misfit_err.msg, e.msg);
    vd_link_close (link);
  }
  return 0;
}

/* Directory and name, as one candidate. */
static int
try_in (struct search *s, const char *dir, const char *name,
        struct vd_err *err)
{
  CLEANUP_FREE char *path = NULL;

  if (asprintf (&path, "%s/%s", dir, name) == -1) {
    path = NULL;
    return vd_fail_nomem (err);
  }
  return try_name (s, path, err);
}

static bool
is_windows (const char *hint)
{
  return isalpha ((unsigned char) hint[0]) && hint[1] == ':' &&
    (hint[2] == '\\' || hint[2] == '/');
}

/* The last n components of a path with slashes. */
static const char *
last_components (const char *path, unsigned n)
{
  const char *p = path + strlen (path);

  while (p > path) {
    if (p[-1] == '/' && --n == 0)
      break;
    --p;
  }
  return p;
}

static int
try_all (struct search *s, const char *hint, struct vd_err *err)
{
  const bool windows = is_windows (hint);
  CLEANUP_FREE char *slashed = strdup (hint);
  const char *one, *two;
  char *p;
  size_t i;

  if (!slashed)
    return vd_fail_nomem (err);
  for (p = slashed; *p; ++p)
    if (*p == '\\')
      *p = '/';
  one = last_components (slashed, 1);
  two = last_components (windows ? slashed + 3 : slashed, 2);
  if (*one == '\0')
    return vd_fail (err, VD_CORRUPT,
                    "%s: parentFileNameHint '%.255s' does not name a file",
                    s->child->path, hint);

  /* A name with a backslash in it is legal here too. */
  if (!windows && strchr (hint, '\\') && try_name (s, hint, err) == -1)
    return -1;
  if ((!windows && try_name (s, slashed, err) == -1) ||
      try_name (s, one, err) == -1)
    return -1;
  if (two != one && try_in (s, "..", two, err) == -1)
    return -1;
  for (i = 0; i < s->opts->nr_dirs; ++i) {
    CLEANUP_FREE char *dir = realpath (s->opts->dirs[i], NULL);

    if (!dir)
      continue;                 /* vd_confine_new has reported it */
    if ((two != one && try_in (s, dir, two, err) == -1) ||
        try_in (s, dir, one, err) == -1)
      return -1;
  }
  return 0;
}

static int
not_found (const struct search *s, const char *hint, struct vd_err *err)
{
  const char *more = "";

  if (s->other_err.code != VD_OK) {
    *err = s->other_err;
    vd_err_prefix (err, "the parent '%.255s' of %s: ", hint, s->child->path);
    return -1;
  }
  if (s->self)
    more = " (the file of that name is the child, which cannot be its own "
      "ancestor)";
  else if (s->denied)
    more = ".  Some of these lead outside of that directory and were not "
      "tried";
  else if (is_windows (hint))
    more = " (the hint is a Windows path)";
  else if (hint[0] == '/')
    more = " (the hint is a path of the machine where the child was made)";
  return vd_fail (err, s->denied ? VD_DENIED : VD_NOT_FOUND,
                  "parent '%.255s' of %s not found; looked in %s for: %s%s.  Copy "
                  "it there, or name its directory with %sparent-path", hint,
                  s->child->path, vd_confine_dir (s->child->places), s->tried,
                  more, vd_opts_prefix (s->opts));
}

static int
find_by_hint (const struct vd_link *child, const char *hint,
              const struct vd_opts *opts, struct vd_link **parent,
              struct vd_err *err)
{
  CLEANUP_FREE struct search *s = calloc (1, sizeof *s);
  int r;

  if (!s)
    return vd_fail_nomem (err);
  s->child = child;
  s->opts = opts;

  if (strstr (hint, "://") || hint[0] == '[')
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: parentFileNameHint '%.255s' names an object of a "
                    "datastore, not a file: export the disk itself",
                    child->path, hint);
  r = try_all (s, hint, err);
  if (r == 0 && !s->found && s->misfit) {
    if (opts->ignore_cid)
      s->found = VD_TAKE (s->misfit);   /* vd_chain_new warns */
    else {
      *err = s->misfit_err;
      r = -1;
    }
  }
  else if (r == 0 && !s->found)
    r = not_found (s, hint, err);
  vd_link_close (s->misfit);
  if (r == -1) {
    vd_link_close (s->found);
    return -1;
  }
  *parent = s->found;
  return 0;
}

int
vd_find_parent (const struct vd_link *child, const struct vd_opts *opts,
                enum vd_parent *result, struct vd_link **parent,
                struct vd_err *err)
{
  const char *hint = vd_link_hint (child);

  *parent = NULL;
  *result = child->role == VD_ROLE_BASE ? VD_PARENT_NONE : VD_PARENT_UNKNOWN;
  if (child->role != VD_ROLE_CHILD)
    return 0;

  if (hint && child->descriptor->parent_cid != VD_NO_PARENT) {
    if (find_by_hint (child, hint, opts, parent, err) == -1)
      return -1;
  }
  else if (!vd_uuid_is_null (child->id.parent)) {
    if (vd_find_by_uuid (child, opts, parent, err) == -1)
      return -1;
  }
  else
    return 0;
  *result = VD_PARENT_FOUND;
  return 0;
}
