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

#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "chain/children.h"
#include "chain/parents.h"
#include "file/scandir.h"
#include "file/uri.h"

/* Only who it is is compared, so names may lead anywhere. */
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

static int
try_file (void *opaque, int dir, const char *name, const char *path,
          struct vd_err *err)
{
  const struct vd_link *parent = opaque;
  const struct vd_format *fmt;
  struct vd_file *file;
  struct vd_link *link;
  enum vd_magic magic;
  struct vd_err ignored;
  int r = 0;

  if (vd_is_flat_name (name) ||
      !(file = vd_dir_open (dir, name, path, &ignored)))
    return 0;
  if (vd_image_probe (file, &magic, &fmt, &ignored) == -1 ||
      (magic != VD_MAGIC_TEXT && magic != VD_MAGIC_SPARSE)) {
    vd_file_close (file);
    return 0;
  }
  link = vd_link_read (file, path, &quiet, &ignored);
  if (!link)
    return 0;
  if (!vd_link_same (link, parent) && is_child (link, parent))
    r = vd_fail (err, VD_DENIED, "%s may not be written: %s was made on it, "
                 "and would show what is written here.  Write to the newest "
                 "link, or to a new child", parent->path, link->path);
  vd_link_close (link);
  return r;
}

/* Nothing is there that can be a child where no directory is. */
static int
scan (const char *dir, const struct vd_link *parent, struct vd_err *err)
{
  struct stat st;

  if (stat (dir, &st) == -1 || !S_ISDIR (st.st_mode))
    return 0;
  return vd_scandir (dir, try_file, (void *) (uintptr_t) parent, err);
}

int
vd_check_no_children (const struct vd_link *link, const struct vd_opts *opts,
                      struct vd_err *err)
{
  const char *dir = vd_confine_dir (link->places);
  CLEANUP_FREE char *snapshots = NULL;
  size_t i;

  if (vd_is_uri (link->path))
    return vd_fail (err, VD_UNSUPPORTED, "%s is on another host, where disks "
                    "are only read", link->path);

  if (asprintf (&snapshots, "%s/" VD_SNAPSHOTS, dir) == -1) {
    snapshots = NULL;
    return vd_fail_nomem (err);
  }
  if (scan (dir, link, err) == -1 || scan (snapshots, link, err) == -1)
    return -1;
  if (vd_is_snapshots (dir)) {
    CLEANUP_FREE char *above = vd_directory_of (dir);

    if (!above)
      return vd_fail_nomem (err);
    if (scan (above, link, err) == -1)
      return -1;
  }
  for (i = 0; i < opts->nr_dirs; ++i)
    if (!vd_is_uri (opts->dirs[i]) &&
        scan (opts->dirs[i], link, err) == -1)
      return -1;
  return 0;
}
