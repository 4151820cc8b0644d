/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What only a KDMV extent has to be checked for: the redundant tables, its
 * flags; streams continue in check-stream.c.
 *
 * Reading goes by the primary tables.  A copy that differs means that a writer
 * was cut off, or did not know about it; VirtualBox refuses such a file.
 */

#include <stdlib.h>
#include <string.h>

#include "check/check-walk.h"
#include "format/kdmv.h"

#define KNOWN_FLAGS (VD_KDMV_LINE_ENDS | VD_KDMV_REDUNDANT | VD_KDMV_ZEROED | \
                     VD_KDMV_COMPRESSED | VD_KDMV_MARKERS)

static bool
is_inside (const struct vd_image *image, uint64_t sector, uint64_t bytes)
{
  return sector * VD_SECTOR <= image->file->size &&
    bytes <= image->file->size - sector * VD_SECTOR;
}

static int
compare_tables (struct vd_checker *c, uint64_t index, uint64_t raw,
                uint64_t copy, uint8_t *buf, struct vd_err *err)
{
  const struct vd_tables *t = c->walk->tables (c->image);
  const size_t bytes = (size_t) t->gt_entries * 4;
  struct vd_err ignored;
  uint32_t a, b;
  size_t i;
  int r;

  /* A primary table that cannot be read is found by the walk. */
  if (vd_file_pread (c->image->file, buf, bytes, raw * VD_SECTOR,
                     &ignored) == -1 ||
      vd_file_pread (c->image->file, buf + bytes, bytes, copy * VD_SECTOR,
                     &ignored) == -1 || memcmp (buf, buf + bytes, bytes) == 0)
    return 0;
  for (i = 0; i < t->gt_entries; ++i) {
    a = vd_le32 (buf + i * 4);
    b = vd_le32 (buf + bytes + i * 4);
    if (a == b)
      continue;
    r = vd_check_add (c, VD_CHECK_COPY_DIFFERS, copy * VD_SECTOR + i * 4, 0,
                      0, err, "grain tables differ at entry %" PRIu64
                      " (%" PRIu32 " in the first, %" PRIu32 " in the copy)",
                      index * t->gt_entries + i, a, b);
    if (r != 0)
      return r;
  }
  return 0;
}

static int
kdmv_copy (struct vd_checker *c, uint64_t index, uint64_t raw,
             uint64_t copy, struct vd_err *err)
{
  const uint64_t bytes
    = (uint64_t) c->walk->tables (c->image)->gt_entries * 4;
  CLEANUP_FREE uint8_t *buf = NULL;

  if (raw == 0 || copy == 0 || !is_inside (c->image, copy, bytes))
    return vd_check_add (c, VD_CHECK_COPY_DIFFERS, c->rgd_offset + index * 4,
                         0, 0, err, "grain directories differ at entry %"
                         PRIu64 " (sector %" PRIu64 " in the first, %" PRIu64
                         " in the copy)", index, raw, copy);
  if (!is_inside (c->image, raw, bytes))
    return 0;
  buf = malloc ((size_t) bytes * 2);
  if (!buf)
    return vd_fail_nomem (err);
  return compare_tables (c, index, raw, copy, buf, err);
}

static int
check_header (struct vd_checker *c, struct vd_err *err)
{
  const struct vd_image *image = c->image;
  int r;

  if (image->flags & ~KNOWN_FLAGS &&
      (r = vd_check_add (c, VD_CHECK_FLAGS, VD_KDMV_OFF_FLAGS, 0, 0, err,
                         "KDMV flags are 0x%x; known are 0x%x", image->flags,
                         KNOWN_FLAGS)) != 0)
    return r;
  if (image->unclean)
    return vd_check_add (c, VD_CHECK_UNCLEAN, VD_KDMV_OFF_UNCLEAN, 0, 0, err,
                         "was not closed cleanly by its writer");
  return 0;
}

int
vd_check_kdmv (struct vd_checker *c, const struct vd_image *image,
                 struct vd_err *err)
{
  const struct vd_kdmv_image *h = vd_kdmv (image);
  int r;

  c->walk = &vd_walk_kdmv;
  c->dir_entries = h->nr_tables;
  c->first_data = h->first_data;
  c->rgd_offset = h->rgd_offset;
  c->unit = VD_SECTOR;
  c->copy = kdmv_copy;
  if (!image->compressed)
    c->align = image->grain_size;
  vd_check_area (c, 0, VD_SECTOR, "header");
  vd_check_area (c, image->descriptor_offset, image->descriptor_length,
                 "descriptor");
  vd_check_area (c, h->tables.gd_offset, h->nr_tables * 4, "grain directory");
  if (h->rgd_offset != 0)
    vd_check_area (c, h->rgd_offset, h->nr_tables * 4,
                   "redundant grain directory");

  r = check_header (c, err);
  if (r == 0 && image->compressed) {
    r = vd_check_stream_begin (c, err);
    if (r == 0)
      r = vd_check_walk (c, err);
    if (r == 0 && !c->opts->errors_only)
      r = vd_check_stream_markers (c, err);
    vd_check_stream_end (c);
  }
  else if (r == 0)
    r = vd_check_walk (c, err);
  return r;
}
