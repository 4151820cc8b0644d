/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* KDMV: the hosted sparse extent (monolithicSparse, twoGbMaxExtentSparse,
 * streamOptimized; bases and deltas alike).
 *
 *   sector 0            header, packed: 64-bit fields at odd offsets
 *   descriptorOffset    the text descriptor, if it is embedded
 *   rgdOffset           redundant directory and its own tables
 *   gdOffset            directory: u32 for each table, its sector or 0
 *                       tables of numGTEsPerGT u32: the sector of a grain,
 *                       0 = not allocated, 1 = zeros (if flag 4 says so)
 *   overHead            first sector that may hold grains
 *
 * Facts from VMware's "Virtual Disk Format 5.0" and from the readers in QEMU
 * and VirtualBox.  We read through gdOffset, as both of these do.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "format/kdmv.h"

#define MAX_GRAIN_SECTORS (UINT64_C (1) << 21)  /* 1 GiB, as in QEMU */

static bool
kdmv_probe (const uint8_t *head, size_t n)
{
  return n >= 4 && memcmp (head, "KDMV", 4) == 0;
}

/* Version, flags, compression: do we know how to read this at all? */
static int
check_features (const struct vd_kdmv_header *k, const char *name,
                struct vd_err *err)
{
  const uint32_t high = UINT32_C (0xffff0000);
  const uint32_t known = VD_KDMV_COMPRESSED | VD_KDMV_MARKERS;

  if (k->version < 1 || k->version > 3)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: KDMV version %" PRIu32 " (header byte 4) is not "
                    "supported, only 1 to 3", name, k->version);
  /* An old reader may ignore unknown bits of the low half only. */
  if (k->flags & high & ~known)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: KDMV flags are 0x%" PRIx32 " (header byte 8); of the "
                    "upper half only 0x%" PRIx32 " are supported", name,
                    k->flags, known);
  if ((k->flags & VD_KDMV_LINE_ENDS) &&
      memcmp (k->line_ends, vd_kdmv_line_ends, sizeof k->line_ends) != 0)
    return vd_fail (err, VD_CORRUPT,
                    "%s was damaged by a text-mode transfer (test bytes at "
                    "byte 73 are %02x %02x %02x %02x, not 0a 20 0d 0a): copy "
                    "it again in binary mode", name, k->line_ends[0],
                    k->line_ends[1], k->line_ends[2], k->line_ends[3]);
  if (k->compress_algorithm > 1)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: compression algorithm %u (header byte 77) is not "
                    "supported, only 0 (none) and 1 (deflate)", name,
                    k->compress_algorithm);
  /* Readers disagree about what half of these would mean; no writer makes
   * such files.
   */
  if (((k->flags & VD_KDMV_COMPRESSED) != 0) != (k->compress_algorithm == 1) ||
      ((k->flags & VD_KDMV_COMPRESSED) != 0) !=
      ((k->flags & VD_KDMV_MARKERS) != 0))
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: flags 0x%" PRIx32 " (header byte 8) and compression "
                    "algorithm %u (header byte 77) do not go together; "
                    "supported are compressed grains with markers (0x30000 "
                    "and 1), or neither", name, k->flags,
                    k->compress_algorithm);
  return 0;
}

static int
check_geometry (const struct vd_kdmv_header *k, const struct vd_file *file,
                struct vd_kdmv_image *h, struct vd_err *err)
{
  const bool compressed = (k->flags & VD_KDMV_COMPRESSED) != 0;
  const uint64_t max_grain
    = compressed ? VD_MAX_COMPRESSED_GRAIN / VD_SECTOR : MAX_GRAIN_SECTORS;
  uint64_t gd_bytes, gd;

  if (!vd_is_power_of_2 (k->grain_size) || k->grain_size > max_grain)
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain size is %" PRIu64 " sectors (header byte 20); "
                    "allowed is a power of two from 1 to %" PRIu64 "%s",
                    file->name, k->grain_size, max_grain,
                    compressed ? " when compressed" : "");
  if (!vd_is_power_of_2 (k->gtes_per_gt) || k->gtes_per_gt > VD_KDMV_MAX_GTES)
    return vd_fail (err, VD_CORRUPT,
                    "%s: a grain table has %" PRIu32 " entries (header byte "
                    "44); allowed is a power of two from 1 to %u", file->name,
                    k->gtes_per_gt, VD_KDMV_MAX_GTES);
  if (!vd_sectors (k->capacity, &h->image.capacity) ||
      h->image.capacity > VD_MAX_CAPACITY)
    return vd_fail (err, VD_CORRUPT,
                    "%s: capacity is %" PRIu64 " sectors (header byte 12), "
                    "more than 2^62 bytes", file->name, k->capacity);

  h->tables = (struct vd_tables) {
    .gt_entries = k->gtes_per_gt,
    .grain_size = k->grain_size * VD_SECTOR,
    .coverage = k->grain_size * k->gtes_per_gt * VD_SECTOR,
  };
  h->nr_tables = vd_div_up (h->image.capacity, h->tables.coverage);
  if (h->nr_tables > VD_KDMV_MAX_TABLES)
    return vd_fail (err, VD_CORRUPT,
                    "%s: %" PRIu64 " sectors (header byte 12) need %" PRIu64
                    " grain tables; allowed are %" PRIu64, file->name,
                    k->capacity, h->nr_tables, VD_KDMV_MAX_TABLES);
  gd_bytes = h->nr_tables * 4;

  if (!vd_sectors (k->overhead, &h->first_data) ||
      h->first_data > file->size)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: truncated: the header says that the metadata takes "
                    "%" PRIu64 " sectors (header byte 64), but the file ends "
                    "at sector %" PRIu64, file->name, k->overhead,
                    file->size / VD_SECTOR);
  /* Sector 0 is the header, whatever overHead says. */
  h->first_data = vd_max (h->first_data, VD_SECTOR);

  if (k->gd_offset == 0 || !vd_sectors (k->gd_offset, &gd) ||
      gd > file->size || gd_bytes > file->size - gd)
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain directory of %" PRIu64 " entries at sector %"
                    PRIu64 " (header byte 56) is outside of the file, which "
                    "ends at sector %" PRIu64, file->name, h->nr_tables,
                    k->gd_offset, file->size / VD_SECTOR);
  h->tables.gd_offset = gd;

  if (k->flags & VD_KDMV_REDUNDANT) {
    if (!vd_sectors (k->rgd_offset, &gd) || gd > file->size ||
        gd_bytes > file->size - gd)
      return vd_fail (err, VD_CORRUPT,
                      "%s: redundant grain directory of %" PRIu64
                      " entries at sector %" PRIu64 " (header byte 48) is "
                      "outside of the file, which ends at sector %" PRIu64,
                      file->name, h->nr_tables, k->rgd_offset,
                      file->size / VD_SECTOR);
    h->rgd_offset = gd;
  }

  h->image.grain_size = h->tables.grain_size;
  h->image.tables_size = h->tables.coverage;
  h->image.compressed = compressed;
  return 0;
}

static int
check_descriptor (const struct vd_kdmv_header *k, const struct vd_file *file,
                  struct vd_image *image, struct vd_err *err)
{
  uint64_t offset, length;

  if (k->descriptor_offset == 0 || k->descriptor_size == 0) {
    if (k->capacity == 0)
      return vd_fail (err, VD_CORRUPT,
                      "%s: disk has no sectors (header byte 12), and there "
                      "is no descriptor in it that would name other files",
                      file->name);
    return 0;
  }
  if (!vd_sectors (k->descriptor_offset, &offset) ||
      !vd_sectors (k->descriptor_size, &length) || offset > file->size ||
      length > file->size - offset)
    return vd_fail (err, VD_CORRUPT,
                    "%s: embedded descriptor at sector %" PRIu64 " (header "
                    "byte 28) of %" PRIu64 " sectors is outside of the file, "
                    "which ends at sector %" PRIu64, file->name,
                    k->descriptor_offset, k->descriptor_size,
                    file->size / VD_SECTOR);
  image->descriptor_offset = offset;
  image->descriptor_length = length;
  return 0;
}

static int
kdmv_open (struct vd_file *file, const struct vd_opts *opts,
             struct vd_image **image, struct vd_err *err)
{
  CLEANUP_FREE struct vd_kdmv_image *h = calloc (1, sizeof *h);
  uint8_t header[VD_SECTOR];
  struct vd_kdmv_header k, footer;
  int r;

  if (!h)
    return vd_fail_nomem (err);
  if (vd_file_pread (file, header, sizeof header, 0, err) == -1)
    return -1;
  vd_kdmv_decode (header, &k);
  if (check_features (&k, file->name, err) == -1 ||
      check_descriptor (&k, file, &h->image, err) == -1)
    return -1;

  if (k.flags & VD_KDMV_MARKERS) {
    r = vd_stream_footer (file, &footer, err);
    if (r == -1)
      return -1;
    if (r == 1) {               /* it has precedence over the header */
      if (check_features (&footer, file->name, err) == -1) {
        vd_err_prefix (err, "in the footer: ");
        return -1;
      }
      if (footer.capacity == 0)
        return vd_fail (err, VD_CORRUPT, "%s: disk has no sectors (byte 12 of "
                        "the footer)", file->name);
      k = footer;
    }
  }
  if (k.gd_offset == VD_KDMV_GD_AT_END)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: no valid footer at its end (byte %" PRIu64 "), where "
                    "the grain directory would be found: the stream is "
                    "probably incomplete", file->name, file->size);

  /* With capacity 0 the embedded descriptor names other files. */
  if (k.capacity != 0 && check_geometry (&k, file, h, err) == -1)
    return -1;

  h->image.version = k.version;
  h->image.flags = k.flags;
  h->image.unclean = k.unclean != 0;
  h->image.fmt = &vd_format_kdmv;
  h->image.file = file;
  if (h->image.unclean)
    vd_warn (&opts->log, "%s was not closed cleanly by its writer; its tables "
             "are checked entry by entry as they are used", file->name);
  if (h->rgd_offset != 0)
    vd_kdmv_compare_copies (&h->image, &opts->log);
  *image = (struct vd_image *) VD_TAKE (h);
  return 0;
}

static inline struct vd_entry
kdmv_gde (const struct vd_image *image, uint64_t index, uint64_t raw,
            struct vd_err *err)
{
  const struct vd_kdmv_image *h = vd_kdmv (image);
  const uint64_t where = raw * VD_SECTOR;
  const uint64_t bytes = h->tables.gt_entries * UINT64_C (4);

  if (where + bytes > image->file->size) {
    if (err)
      vd_fail (err, VD_TRUNCATED,
               "%s: grain table %" PRIu64 " is at sector %" PRIu64
               " and %" PRIu64 " bytes long, but the file ends at byte %"
               PRIu64, image->file->name, index, raw, bytes,
               image->file->size);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  if (image->descriptor_length > 0 &&
      where < image->descriptor_offset + image->descriptor_length &&
      where + bytes > image->descriptor_offset) {
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: grain table %" PRIu64 " is at sector %" PRIu64
               ", in the descriptor (sector %" PRIu64 ", %" PRIu64
               " bytes)", image->file->name, index, raw,
               image->descriptor_offset / VD_SECTOR,
               image->descriptor_length);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  return (struct vd_entry) { .kind = VD_DATA, .where = where };
}

static inline struct vd_entry
kdmv_gte (const struct vd_image *image, uint64_t index, uint64_t raw,
            struct vd_err *err)
{
  const struct vd_kdmv_image *h = vd_kdmv (image);
  const uint64_t where = raw * VD_SECTOR;

  if (raw == 1) {
    if (image->flags & VD_KDMV_ZEROED)
      return (struct vd_entry) { .kind = VD_ZERO };
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: grain %" PRIu64 " has entry 1 (zeros), but the "
               "zeroed-grain flag (4) is not set in flags 0x%x",
               image->file->name, index, image->flags);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  if (where < h->first_data) {
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: grain %" PRIu64 " points into the metadata (sector %"
               PRIu64 "; data begins at sector %" PRIu64 ")",
               image->file->name, index, raw, h->first_data / VD_SECTOR);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  if (image->compressed && where < image->file->size)
    return (struct vd_entry) { .kind = VD_COMPRESSED, .where = where };
  return (struct vd_entry) {
    /* past the end of the file it is found out in vd_emit_data */
    .kind = VD_DATA, .where = where
  };
}

static const struct vd_tables *
kdmv_tables (const struct vd_image *image)
{
  return &vd_kdmv (image)->tables;
}

const struct vd_walk vd_walk_kdmv = {
  .width = 4, .tables = kdmv_tables, .gde = kdmv_gde, .gte = kdmv_gte,
};

static int
kdmv_map (const struct vd_image *image, uint64_t offset, uint64_t length,
            const struct vd_out *out, struct vd_err *err)
{
  return vd_tables_map (image, &vd_kdmv (image)->tables, 4, offset, length,
                        out, kdmv_gde, kdmv_gte, err);
}

static int
kdmv_explain (const struct vd_image *image, uint64_t offset,
                struct vd_err *err)
{
  return vd_tables_explain (image, &vd_kdmv (image)->tables, 4, offset,
                            kdmv_gde, kdmv_gte, err);
}

static void
kdmv_close (struct vd_image *image)
{
  free (image);
}

const struct vd_format vd_format_kdmv = {
  .name = "KDMV",
  .long_name = "KDMV (hosted sparse)",
  .probe = kdmv_probe,
  .open = kdmv_open,
  .map = kdmv_map,
  .explain = kdmv_explain,
  .inflate = vd_stream_inflate,
  .close = kdmv_close,
};
