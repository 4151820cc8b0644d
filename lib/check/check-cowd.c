/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What only a COWD extent has to be checked for: its flags, and the counter
 * of sectors in use.
 *
 * The counter tells writers where the next grain or table goes.  Not all
 * writers maintain it, and reading does not need it; but a writer that trusts
 * one that is behind overwrites data.
 */

#include "check/check-walk.h"
#include "format/cowd.h"

/* Directory entries past those that are needed are looked at up to so many. */
#define MAX_SPARE 65536u

static int
cowd_entry (struct vd_checker *c, uint64_t grain, uint64_t raw,
            struct vd_entry e, uint64_t place, struct vd_err *err)
{
  (void) e;
  if (raw != 1)
    return 0;
  return vd_check_add (c, VD_CHECK_ENTRY_ONE, place, 0, 0, err,
                       "grain %" PRIu64 " has entry 1, which is not defined "
                       "for COWD; it is read as zeros", grain);
}

static int
check_counter (struct vd_checker *c, uint32_t free_sector, struct vd_err *err)
{
  const uint64_t sectors = c->image->file->size / VD_SECTOR;
  const uint64_t used = vd_div_up (c->data_end, VD_SECTOR);

  if (free_sector == VD_COWD_FREE_UNKNOWN)
    return 0;
  if (free_sector * VD_SECTOR > c->image->file->size)
    return vd_check_add (c, VD_CHECK_FREE_SECTOR, VD_COWD_OFF_FREE_SECTOR, 0, 0, err,
                         "the header counts %" PRIu32 " sectors in use, but "
                         "the file ends at sector %" PRIu64 ": it looks "
                         "truncated", free_sector, sectors);
  if (free_sector < used)
    return vd_check_add (c, VD_CHECK_FREE_SECTOR, VD_COWD_OFF_FREE_SECTOR, 0, 0, err,
                         "free sector is %" PRIu32 ", but sector %" PRIu64
                         " is in use", free_sector, used - 1);
  return 0;
}

int
vd_check_cowd (struct vd_checker *c, const struct vd_image *image,
               struct vd_err *err)
{
  uint8_t h[VD_COWD_HEADER_SIZE];
  uint64_t needed, entries, gd, gd_end;
  int r;

  if (vd_file_pread (image->file, h, sizeof h, 0, err) == -1)
    return -1;
  c->walk = &vd_walk_cowd;
  needed = vd_div_up (image->capacity, c->walk->tables (image)->coverage);
  entries = vd_le32 (h + VD_COWD_OFF_NUM_GD_ENTRIES);
  gd = c->walk->tables (image)->gd_offset;
  gd_end = (gd / VD_SECTOR + vd_div_up (entries * 4, VD_SECTOR)) * VD_SECTOR;
  c->dir_entries = vd_min (vd_min (entries, needed + MAX_SPARE),
                           (image->file->size - gd) / 4);
  c->first_data = gd_end;
  c->unit = VD_SECTOR;
  c->entry = cowd_entry;
  vd_check_area (c, 0, gd, "header");
  vd_check_area (c, gd, needed * 4, "grain directory");

  if (image->flags != VD_COWD_FLAGS &&
      (r = vd_check_add (c, VD_CHECK_FLAGS, VD_COWD_OFF_FLAGS, 0, 0, err,
                         "COWD flags are 0x%x, expected is 3",
                         image->flags)) != 0)
    return r;
  if (image->unclean &&
      (r = vd_check_add (c, VD_CHECK_UNCLEAN, VD_COWD_OFF_UNCLEAN, 0, 0, err,
                         "was not closed cleanly by its writer")) != 0)
    return r;
  r = vd_check_walk (c, err);
  return r != 0 ? r : check_counter (c, vd_le32 (h + VD_COWD_OFF_FREE_SECTOR), err);
}
