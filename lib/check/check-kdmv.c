/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What only a KDMV extent has to be checked for: the redundant tables, its
 * flags; streams continue in check-stream.c.
 *
 * Where the redundant tables differ, the map has the grain for damaged if both
 * entries can be (vd_kdmv_doubt), and here it is an error; where only one can
 * be, or the user has chosen, or it was ourselves who were interrupted, it is a
 * warning.
 */

#include <stdlib.h>
#include <string.h>

#include "check/check-walk.h"
#include "format/kdmv.h"

#define KNOWN_FLAGS (VD_KDMV_LINE_ENDS | VD_KDMV_REDUNDANT | VD_KDMV_ZEROED | \
                     VD_KDMV_COMPRESSED | VD_KDMV_MARKERS)

/* Does a directory entry find a table?  As the map has it. */
static bool
is_table (const struct vd_checker *c, uint64_t index, uint64_t raw)
{
  return raw != 0 && c->walk->gde (c->image, index, raw, NULL).kind == VD_DATA;
}

/* Two entries that are not the same, the copy's at `place`. */
static int
entries_differ (struct vd_checker *c, uint64_t grain, uint32_t a, uint32_t b,
                uint64_t place, struct vd_err *err)
{
  const struct vd_kdmv_image *h = vd_kdmv (c->image);
  const uint64_t size = h->tables.grain_size;

  if (h->compare && grain * size < c->image->used &&
      vd_kdmv_doubt (c->image, grain, a, b))
    return vd_check_add (c, VD_CHECK_COPY_DOUBT, place, grain * size, size,
                         err, "grain tables differ at entry %" PRIu64 " (%"
                         PRIu32 " in the first, %" PRIu32 " in the copy), and "
                         "both can be: %stables=first or %stables=copy reads "
                         "by one of them", grain, a, b, vd_opts_prefix (),
                         vd_opts_prefix ());
  return vd_check_add (c, VD_CHECK_COPY_DIFFERS, place, 0, 0, err,
                       "grain tables differ at entry %" PRIu64 " (%" PRIu32
                       " in the first, %" PRIu32 " in the copy)", grain, a, b);
}

/* The table at sector raw (0: there is none, as if all were 0) and its copy. */
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

  memset (buf, 0, bytes);
  /* A primary table that cannot be read is found by the walk. */
  if (raw != 0 && vd_file_pread (c->image->file, buf, bytes, raw * VD_SECTOR,
                                 &ignored) == -1)
    return 0;
  if (vd_file_pread (c->image->file, buf + bytes, bytes, copy * VD_SECTOR,
                     &ignored) == -1 || memcmp (buf, buf + bytes, bytes) == 0)
    return 0;
  for (i = 0; i < t->gt_entries; ++i) {
    a = vd_le32 (buf + i * 4);
    b = vd_le32 (buf + bytes + i * 4);
    if (a == b)
      continue;
    r = entries_differ (c, index * t->gt_entries + i, a, b,
                        copy * VD_SECTOR + i * 4, err);
    if (r != 0)
      return r;
  }
  return 0;
}

/* What the two directories say of a table is not the same: that is as it
 * should be, each has its own, or one of them has none.
 */
static int
kdmv_copy (struct vd_checker *c, uint64_t index, uint64_t raw,
           uint64_t copy, struct vd_err *err)
{
  const uint64_t bytes
    = (uint64_t) c->walk->tables (c->image)->gt_entries * 4;
  const bool has_copy = is_table (c, index, copy);
  CLEANUP_FREE uint8_t *buf = NULL;
  int r = 0;

  if (raw == 0 || !has_copy)
    r = vd_check_add (c, VD_CHECK_COPY_DIFFERS, c->rgd_offset + index * 4, 0,
                      0, err, "grain directories differ at entry %" PRIu64
                      " (sector %" PRIu64 " in the first, %" PRIu64
                      " in the copy)", index, raw, copy);
  if (r != 0 || !has_copy || (raw != 0 && !is_table (c, index, raw)))
    return r;
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
