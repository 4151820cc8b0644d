/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* COWD: the delta that ESX writes as -delta.vmdk ("vmfsSparse").
 *
 *   sector 0-3          header, 2048 bytes
 *   sector gdOffset     grain directory, one u32 for each table: the sector
 *                       of the table, 0 = none
 *   anywhere behind     tables of 4096 u32, each the sector of a grain,
 *                       0 = not allocated (ask the parent); and grains
 *
 * Facts from VMware's "Virtual Disk Format 5.0", section on ESX Server
 * sparse extents.  Linking is by the text descriptor only: the parent name in
 * the header is not used.
 *
 * freeSector and uncleanShutdown are hints.  A counter that is behind the
 * file is normal (some writers do not maintain it); one that is past the end
 * of the file tells that the file was cut.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "format/cowd.h"
#include "format/grain-tables.h"

#define MAX_GRAIN_SECTORS 2048u

struct cowd_image {
  struct vd_image image;
  struct vd_tables tables;
  uint32_t first_free;          /* sectors below hold metadata */
};

static bool
cowd_probe (const uint8_t *head, size_t n)
{
  return n >= 4 && memcmp (head, "COWD", 4) == 0;
}

/* Check what was read against the file's size; no I/O. */
static int
decode_header (const uint8_t *h, const struct vd_file *file,
               const struct vd_log *log, struct cowd_image *cowd,
               struct vd_err *err)
{
  const uint32_t version = vd_le32 (h + VD_COWD_OFF_VERSION);
  const uint32_t flags = vd_le32 (h + VD_COWD_OFF_FLAGS);
  const uint32_t sectors = vd_le32 (h + VD_COWD_OFF_NUM_SECTORS);
  const uint32_t grain = vd_le32 (h + VD_COWD_OFF_GRAIN_SIZE);
  const uint32_t gd = vd_le32 (h + VD_COWD_OFF_GD);
  const uint32_t entries = vd_le32 (h + VD_COWD_OFF_NUM_GD_ENTRIES);
  const uint32_t free_sector = vd_le32 (h + VD_COWD_OFF_FREE_SECTOR);
  uint64_t tables, gd_end;

  if (version != 1)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: COWD version %" PRIu32 " (header byte %d) is not "
                    "supported, only 1", file->name, version,
                    VD_COWD_OFF_VERSION);
  if (grain == 0 || grain > MAX_GRAIN_SECTORS || !vd_is_power_of_2 (grain))
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain size is %" PRIu32 " sectors (header byte %d); "
                    "allowed is a power of two from 1 to %u",
                    file->name, grain, VD_COWD_OFF_GRAIN_SIZE,
                    MAX_GRAIN_SECTORS);
  if (sectors == 0)
    return vd_fail (err, VD_CORRUPT,
                    "%s: disk has no sectors (header byte %d)",
                    file->name, VD_COWD_OFF_NUM_SECTORS);
  /* All of this fits 64 bits easily: the fields have 32. */
  tables = vd_div_up (sectors, (uint64_t) VD_COWD_GT_ENTRIES * grain);
  if (entries < tables)
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain directory has %" PRIu32 " entries (header byte "
                    "%d), %" PRIu64 " are needed for %" PRIu32 " sectors",
                    file->name, entries, VD_COWD_OFF_NUM_GD_ENTRIES, tables, sectors);
  gd_end = gd * VD_SECTOR + tables * 4;
  if (gd < VD_COWD_HEADER_SIZE / VD_SECTOR || gd_end > file->size)
    return vd_fail (err, gd_end > file->size ? VD_TRUNCATED : VD_CORRUPT,
                    "%s: grain directory at sector %" PRIu32 " (header byte "
                    "%d), of %" PRIu64 " bytes, is outside of the file; "
                    "allowed is sector %u up to its end at byte %" PRIu64,
                    file->name, gd, VD_COWD_OFF_GD, tables * 4,
                    (unsigned) (VD_COWD_HEADER_SIZE / VD_SECTOR), file->size);

  if (flags != VD_COWD_FLAGS)
    vd_warn (log, "%s: COWD flags are 0x%" PRIx32 ", expected is 3; going on",
             file->name, flags);
  if (free_sector != VD_COWD_FREE_UNKNOWN &&
      free_sector * VD_SECTOR > file->size)
    vd_warn (log, "%s: the header counts %" PRIu32 " sectors in use, but the "
             "file ends at sector %" PRIu64 ": it looks truncated, reads of "
             "what is missing will fail", file->name, free_sector,
             file->size / VD_SECTOR);

  cowd->image.capacity = sectors * VD_SECTOR;
  cowd->image.grain_size = grain * VD_SECTOR;
  cowd->image.version = version;
  cowd->image.flags = flags;
  cowd->image.unclean = vd_le32 (h + VD_COWD_OFF_UNCLEAN) != 0;
  cowd->first_free
    = (uint32_t) vd_min (UINT32_MAX, gd + vd_div_up (tables * 4, VD_SECTOR));
  cowd->tables = (struct vd_tables) {
    .gd_offset = gd * VD_SECTOR,
    .gt_entries = VD_COWD_GT_ENTRIES,
    .grain_size = grain * VD_SECTOR,
    .coverage = (uint64_t) VD_COWD_GT_ENTRIES * grain * VD_SECTOR,
  };
  cowd->image.tables_size = cowd->tables.coverage;
  return 0;
}

static int
cowd_open (struct vd_file *file, const struct vd_opts *opts,
           struct vd_image **image, struct vd_err *err)
{
  CLEANUP_FREE struct cowd_image *cowd = calloc (1, sizeof *cowd);
  uint8_t header[VD_COWD_HEADER_SIZE];

  if (!cowd)
    return vd_fail_nomem (err);
  if (vd_file_pread (file, header, sizeof header, 0, err) == -1 ||
      decode_header (header, file, &opts->log, cowd, err) == -1)
    return -1;
  if (cowd->image.unclean)
    vd_warn (&opts->log, "%s was not closed cleanly by its writer; its tables "
             "are checked entry by entry as they are used", file->name);
  *image = (struct vd_image *) VD_TAKE (cowd);
  return 0;
}

static inline const struct cowd_image *
get (const struct vd_image *image)
{
  return (const struct cowd_image *) image;
}

static inline struct vd_entry
cowd_gde (const struct vd_image *image, uint64_t index, uint64_t raw,
          struct vd_err *err)
{
  const uint64_t where = raw * VD_SECTOR;

  if (raw < get (image)->first_free ||
      where + VD_COWD_GT_ENTRIES * 4 > image->file->size) {
    if (err)
      vd_fail (err, raw < get (image)->first_free ? VD_CORRUPT : VD_TRUNCATED,
               "%s: grain table %" PRIu64 " is at sector %" PRIu64
               "; allowed is sector %" PRIu32 " up to %d sectors before the "
               "end of the file at sector %" PRIu64, image->file->name, index,
               raw, get (image)->first_free,
               (int) (VD_COWD_GT_ENTRIES * 4 / VD_SECTOR),
               image->file->size / VD_SECTOR);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  return (struct vd_entry) { .kind = VD_DATA, .where = where };
}

static inline struct vd_entry
cowd_gte (const struct vd_image *image, uint64_t index, uint64_t raw,
          struct vd_err *err)
{
  /* 1 is not defined for COWD.  All known readers answer zeros, on purpose
   * or because sector 1 lies in the empty part of the header.
   */
  if (raw == 1)
    return (struct vd_entry) { .kind = VD_ZERO };

  if (raw < get (image)->first_free) {
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: grain %" PRIu64 " points into the metadata (sector %"
               PRIu64 "; data begins at sector %" PRIu32 ")",
               image->file->name, index, raw, get (image)->first_free);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  return (struct vd_entry) { .kind = VD_DATA, .where = raw * VD_SECTOR };
}

static const struct vd_tables *
cowd_tables (const struct vd_image *image)
{
  return &get (image)->tables;
}

const struct vd_walk vd_walk_cowd = {
  .width = 4, .tables = cowd_tables, .gde = cowd_gde, .gte = cowd_gte,
};

static int
cowd_map (const struct vd_image *image, uint64_t offset, uint64_t length,
          const struct vd_out *out, struct vd_err *err)
{
  return vd_tables_map (image, &get (image)->tables, 4, offset, length, out,
                        cowd_gde, cowd_gte, NULL, err);
}

static int
cowd_explain (const struct vd_image *image, uint64_t offset,
              struct vd_err *err)
{
  return vd_tables_explain (image, &get (image)->tables, 4, offset, cowd_gde,
                            cowd_gte, err);
}

static void
cowd_close (struct vd_image *image)
{
  free (image);
}

const struct vd_format vd_format_cowd = {
  .name = "COWD",
  .long_name = "COWD (ESX vmfsSparse delta)",
  .probe = cowd_probe,
  .open = cowd_open,
  .map = cowd_map,
  .walk = &vd_walk_cowd,
  .explain = cowd_explain,
  .close = cowd_close,
};
