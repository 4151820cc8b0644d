/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Looking for children; see children.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "chain/children.h"
#include "chain/parents.h"
#include "file/scandir.h"
#include "file/uri.h"

/* Only who it is is compared, so names may lead anywhere.  Links borrow it. */
static const struct vd_opts quiet = {
  .allow_dirty = true, .ignore_cid = true, .unconfined = true,
};

bool
vd_link_same (const struct vd_link *a, const struct vd_link *b)
{
  return a->ino != 0 && a->ino == b->ino && a->dev == b->dev;
}

bool
vd_link_stands_on (const struct vd_link *c, const struct vd_link *parent)
{
  struct vd_link *found = NULL;
  enum vd_parent result;
  struct vd_err ignored;
  bool same;

  if (c->role != VD_ROLE_CHILD)
    return false;
  /* Either will do: VMware and QEMU do not look at UUIDs, VirtualBox does not
   * look at names.
   */
  if (!vd_uuid_is_null (c->id.parent) && !vd_uuid_is_null (parent->id.image) &&
      memcmp (c->id.parent, parent->id.image, 16) == 0)
    return true;
  if (!vd_link_hint (c) ||
      vd_find_parent (c, &quiet, NULL, &result, &found, &ignored) == -1 ||
      !found)
    return false;
  same = vd_link_same (found, parent);
  vd_link_close (found);
  return same;
}

/* A child by its CID alone counts too: its name may lead nowhere by now. */
static bool
is_child (const struct vd_link *c, const struct vd_link *parent)
{
  const struct vd_descriptor *d = c->descriptor, *p = parent->descriptor;

  if (c->role == VD_ROLE_CHILD && d && p && p->has_cid &&
      d->parent_cid == p->cid && p->cid != VD_CID_FRESH &&
      p->cid != VD_NO_PARENT)
    return true;
  return vd_link_stands_on (c, parent);
}

/* ---- What lies around a disk ------------------------------------------------ */

static int
try_file (void *opaque, int dir, const char *name, const char *path,
          struct vd_err *err)
{
  const struct vd_around *a = opaque;
  const struct vd_format *fmt;
  struct vd_file *file;
  struct vd_link *link;
  enum vd_magic magic;
  struct vd_err why;
  int r = 0;

  if (vd_is_flat_name (name) || !(file = vd_dir_open (dir, name, path, &why)))
    return 0;
  if (vd_image_probe (file, &magic, &fmt, &why) == -1 ||
      (magic != VD_MAGIC_TEXT && magic != VD_MAGIC_SPARSE)) {
    vd_file_close (file);
    return 0;
  }
  link = vd_link_read (file, path, &quiet, &why);
  if (link)
    r = a->fn (a->opaque, &link, err);
  else if (magic == VD_MAGIC_SPARSE)
    vd_warn (a->log, "%s cannot be read, so it is not known whether it is based "
             "on %s: %s", path, a->what, why.msg);
  vd_link_close (link);
  return r;
}

int
vd_around_directory (struct vd_around *a, const char *dir, struct vd_err *err)
{
  CLEANUP_FREE char *real = realpath (dir, NULL);
  struct stat st;
  char **p;
  size_t i;

  if (!real || stat (real, &st) == -1 || !S_ISDIR (st.st_mode))
    return 0;
  for (i = 0; i < a->nr_dirs; ++i)
    if (strcmp (a->dirs[i], real) == 0)
      return 0;
  p = vd_grow (a->dirs, a->nr_dirs, sizeof *p, err);
  if (!p)
    return -1;
  a->dirs = p;
  p[a->nr_dirs++] = real;
  return vd_scandir (VD_TAKE (real), try_file, a, err);
}

int
vd_around_scan (struct vd_around *a, const char *dir, struct vd_err *err)
{
  CLEANUP_FREE char *snapshots = NULL;

  if (asprintf (&snapshots, "%s/" VD_SNAPSHOTS, dir) == -1) {
    snapshots = NULL;
    return vd_fail_nomem (err);
  }
  if (vd_around_directory (a, dir, err) == -1 ||
      vd_around_directory (a, snapshots, err) == -1)
    return -1;
  if (vd_is_snapshots (dir)) {
    CLEANUP_FREE char *above = vd_directory_of (dir);

    return above ? vd_around_directory (a, above, err) : vd_fail_nomem (err);
  }
  return 0;
}

void
vd_around_free (struct vd_around *a)
{
  size_t i;

  for (i = 0; i < a->nr_dirs; ++i)
    free (a->dirs[i]);
  free (a->dirs);
  a->dirs = NULL;
  a->nr_dirs = 0;
}

/* ---- Writing needs a link without children ------------------------------------ */

struct children {
  const struct vd_link *parent;
  bool by_cid;
  int (*fn) (void *opaque, const char *path, struct vd_err *err);
  void *opaque;
};

static int
judge_child (void *opaque, struct vd_link **link, struct vd_err *err)
{
  const struct children *c = opaque;

  if (vd_link_same (*link, c->parent) ||
      !(c->by_cid ? is_child : vd_link_stands_on) (*link, c->parent))
    return 0;
  return c->fn (c->opaque, (*link)->path, err);
}

int
vd_each_child (const struct vd_link *link, const struct vd_opts *opts,
               bool by_cid, const struct vd_log *log,
               int (*fn) (void *opaque, const char *path,
                          struct vd_err *err),
               void *opaque, struct vd_err *err)
{
  struct children c = {
    .parent = link, .by_cid = by_cid, .fn = fn, .opaque = opaque
  };
  struct vd_around a = {
    .fn = judge_child, .opaque = &c, .log = log, .what = link->path,
  };
  size_t i;
  int r = vd_around_scan (&a, vd_confine_dir (link->places), err);

  for (i = 0; r == 0 && i < opts->nr_dirs; ++i)
    if (!vd_is_uri (opts->dirs[i]))
      r = vd_around_scan (&a, opts->dirs[i], err);
  vd_around_free (&a);
  return r;
}

static int
refuse_child (void *opaque, const char *path, struct vd_err *err)
{
  const struct vd_link *parent = opaque;

  return vd_fail (err, VD_DENIED, "%s may not be written: %s was made on it, "
                  "and would show what is written here.  Write to the newest "
                  "link, or to a new child", parent->path, path);
}

int
vd_check_no_children (const struct vd_link *link, const struct vd_opts *opts,
                      struct vd_err *err)
{
  if (vd_is_uri (link->path))
    return vd_fail (err, VD_UNSUPPORTED, "%s is on another host, where disks "
                    "are only read", link->path);
  return vd_each_child (link, opts, true, &opts->log, refuse_child,
                        (void *) (uintptr_t) link, err);
}

/* ---- CIDs in use -------------------------------------------------------------- */

struct cids {
  uint32_t *cid;
  size_t n;
};

static int
add_cid (struct cids *c, uint32_t cid, struct vd_err *err)
{
  uint32_t *more = vd_grow (c->cid, c->n, sizeof *more, err);

  if (!more)
    return -1;
  c->cid = more;
  more[c->n++] = cid;
  return 0;
}

static int
add_cids_of (void *opaque, struct vd_link **link, struct vd_err *err)
{
  const struct vd_descriptor *d = (*link)->descriptor;

  return !d ? 0
    : add_cid (opaque, d->cid, err) == -1 ? -1
    : add_cid (opaque, d->parent_cid, err);
}

int
vd_cids_around (const struct vd_link *link, uint32_t **cids, size_t *n,
                struct vd_err *err)
{
  static const struct vd_log none = { .fn = NULL };
  struct cids c = { .cid = NULL };
  struct vd_around a = {
    .fn = add_cids_of, .opaque = &c, .log = &none, .what = link->path,
  };
  int r = vd_around_scan (&a, vd_confine_dir (link->places), err);

  vd_around_free (&a);
  if (r == -1) {
    free (c.cid);
    return -1;
  }
  *cids = c.cid;
  *n = c.n;
  return 0;
}
