/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding a parent by its UUID among the images of a directory, as VirtualBox
 * links them; see parents.h.
 *
 * Only files whose first bytes are those of a VMDK or VDI are looked at, and
 * of these only header and descriptor.
 */

#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "chain/parents.h"
#include "file/scandir.h"

struct uuid_search {
  const struct vd_link *child;
  const struct vd_opts *opts;
  struct vd_link *found;
  unsigned looked_at;
};

static struct vd_link *
read_entry (int dir, const char *name, const char *path,
            const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_file *file = vd_dir_open (dir, name, path, err);
  const struct vd_format *fmt;
  enum vd_magic magic;

  if (!file)
    return NULL;
  if (vd_image_probe (file, &magic, &fmt, err) == -1 ||
      (magic != VD_MAGIC_TEXT && magic != VD_MAGIC_SPARSE)) {
    vd_file_close (file);
    return NULL;
  }
  return vd_link_read (file, path, opts, err);
}

static int
try_file (void *opaque, int dir, const char *name, const char *path,
          struct vd_err *err)
{
  struct uuid_search *s = opaque;
  /* What does not open is not what we look for: no warnings. */
  const struct vd_opts quiet = { .allow_dirty = true };
  struct vd_err ignored = { .code = VD_OK };
  struct vd_link *link = vd_is_flat_name (name) ? NULL
    : read_entry (dir, name, path, &quiet, &ignored);
  char text[VD_UUID_TEXT];
  bool same, known;

  if (!link && ignored.code == VD_NOMEM) {
    *err = ignored;
    return -1;
  }
  if (!link)
    return 0;
  s->looked_at++;
  same = memcmp (link->id.image, s->child->id.parent, 16) == 0 &&
    !(link->ino == s->child->ino && link->dev == s->child->dev);
  known = s->found && s->found->ino == link->ino && s->found->dev == link->dev;
  vd_link_close (link);
  if (!same || known)
    return 0;

  if (s->found)
    return vd_fail (err, VD_MISMATCH,
                    "UUID {%s}, the parent of %s, is carried by both %s and "
                    "%s (a copy keeps the UUID): move one of them away",
                    vd_uuid_text (text, s->child->id.parent),
                    s->child->path, s->found->path, path);
  s->found = read_entry (dir, name, path, s->opts, err);
  return s->found ? 0 : -1;
}

int
vd_find_by_uuid (const struct vd_link *child, const struct vd_opts *opts,
                 struct vd_link **parent, struct vd_err *err)
{
  struct uuid_search s = { .child = child, .opts = opts };
  const char *dir = vd_confine_dir (child->places);
  char text[VD_UUID_TEXT];
  size_t i;
  int r = vd_scandir (dir, try_file, &s, err);

  if (r == 0 && vd_is_snapshots (dir)) {
    CLEANUP_FREE char *above = vd_directory_of (dir);

    r = above ? vd_scandir (above, try_file, &s, err) : vd_fail_nomem (err);
  }
  for (i = 0; r == 0 && i < opts->nr_dirs; ++i)
    r = vd_scandir (opts->dirs[i], try_file, &s, err);
  if (r == 0 && !s.found)
    r = vd_fail (err, VD_NOT_FOUND,
                 "%s is a VirtualBox differencing image of {%s}; none of the "
                 "%u images in %s%s has that UUID: copy the parent there, or "
                 "name its directory with %sparent-path", child->path,
                 vd_uuid_text (text, child->id.parent),
                 s.looked_at, dir,
                 opts->nr_dirs > 0 ? " and the directories named" : "",
                 vd_opts_prefix (opts));
  if (r == -1) {
    vd_link_close (s.found);
    return -1;
  }
  *parent = s.found;
  return 0;
}
