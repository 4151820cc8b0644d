/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A VDI is one map of blocks: every entry of it, and two entries that name
 * one place of the file.
 */

#include <stdlib.h>

#include "check/check-walk.h"
#include "format/vdi.h"

#define MAP_CHUNK 4096u         /* entries read at a time */

/* One entry of the map.  seen: a bit for each stored block, or NULL. */
static int
check_entry (struct vd_checker *c, uint64_t block, uint32_t raw,
             uint8_t *seen, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (c->image);
  const uint64_t offset = block * vdi->block_size;
  const uint64_t place = vdi->map_offset + block * 4;
  const uint64_t size = c->image->file->size;
  struct vd_err why;
  const struct vd_entry e = vd_vdi_judge (c->image, block, raw, &why);
  uint64_t needed, have;

  if (offset >= c->image->capacity)
    return raw == VD_VDI_FREE ? 0
      : vd_check_add (c, VD_CHECK_GRAIN_BEYOND, place, 0, 0, err,
                      "block %" PRIu64 " lies past the end of the disk",
                      block);
  needed = vd_min (vdi->block_size, c->image->capacity - offset);
  c->report->zero_grains += e.kind == VD_ZERO;
  if (e.kind == VD_DAMAGED)
    return vd_check_add_err (c, VD_CHECK_GRAIN_OUTSIDE, place, offset, needed,
                             &why, err);
  if (e.kind != VD_DATA)
    return 0;

  c->report->grains++;
  have = e.where < size ? vd_min (size - e.where, needed) : 0;
  if (have < needed) {
    const uint64_t whole = vd_round_down (have, VD_SECTOR); /* can be read */

    return vd_check_add (c, VD_CHECK_GRAIN_TRUNCATED, place, offset + whole,
                         needed - whole, err, "block %" PRIu64 " has %" PRIu64
                         " of %" PRIu64 " bytes", block, have, needed);
  }
  if (!seen)
    return 0;
  if (seen[raw / 8] & 1u << raw % 8)
    return vd_check_add (c, VD_CHECK_GRAIN_OVERLAP, place, offset, needed,
                         err, "block %" PRIu64 " is stored at %" PRIu32
                         ", where another block is too", block, raw);
  seen[raw / 8] = (uint8_t) (seen[raw / 8] | 1u << raw % 8);
  return 0;
}

/* Two blocks in one place are looked for in files of up to 2^28 blocks: a bit
 * for each is 32 MiB.
 */
#define MAX_SEEN (UINT64_C (1) << 28)

int
vd_check_vdi (struct vd_checker *c, const struct vd_image *image,
              struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (image);
  CLEANUP_FREE uint8_t *seen
    = vdi->nr_stored <= MAX_SEEN ? calloc (vdi->nr_stored / 8 + 1, 1) : NULL;
  uint8_t buf[MAP_CHUNK * 4];
  uint64_t block;
  size_t i, n;
  int r;

  if (!seen && vdi->nr_stored <= MAX_SEEN)
    return vd_fail_nomem (err);
  c->report->tables++;
  for (block = 0; block < vdi->nr_blocks; block += n) {
    n = (size_t) vd_min (vdi->nr_blocks - block, MAP_CHUNK);
    if (vd_file_pread (image->file, buf, n * 4, vdi->map_offset + block * 4,
                       err) == -1)
      return -1;
    for (i = 0; i < n; ++i) {
      r = check_entry (c, block + i, vd_le32 (buf + i * 4), seen, err);
      if (r != 0)
        return r;
    }
  }
  return 0;
}
