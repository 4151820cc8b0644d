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
 *
 * The redundant directory finds a second set of tables, which should say the
 * same.  QEMU does not look at it, VirtualBox refuses a file where the two
 * differ.  Where they do, a writer was cut off, or did not know of the copy, or
 * one of the two was damaged: there is no telling which is right, and a first
 * entry of 0 would read as zeros.  So nothing is read of a grain for which
 * they say two things that can both be (vd_kdmv_doubt), until the user chooses
 * one (vd_opts.tables).
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

/* Where a directory is, if it is in the file. */
static bool
find_directory (uint64_t sector, uint64_t bytes, const struct vd_file *file,
                uint64_t *offset)
{
  return sector != 0 && vd_sectors (sector, offset) &&
    *offset <= file->size && bytes <= file->size - *offset;
}

/* The one that is read, and the other one. */
static int
find_directories (const struct vd_kdmv_header *k, const struct vd_file *file,
                  const struct vd_opts *opts, struct vd_kdmv_image *h,
                  struct vd_err *err)
{
  const bool two = (k->flags & VD_KDMV_REDUNDANT) != 0;
  const bool chosen = opts->tables == VD_TABLES_FIRST ||
    opts->tables == VD_TABLES_COPY;
  const bool swap = two && opts->tables == VD_TABLES_COPY;
  const uint64_t first = swap ? k->rgd_offset : k->gd_offset;
  const uint64_t other = swap ? k->gd_offset : k->rgd_offset;
  const uint64_t bytes = h->nr_tables * 4;
  const bool has_other
    = two && find_directory (other, bytes, file, &h->rgd_offset);

  if (!find_directory (first, bytes, file, &h->tables.gd_offset)) {
    vd_fail (err, VD_CORRUPT,
             "%s: %sgrain directory of %" PRIu64 " entries at sector %" PRIu64
             " (header byte %d) is outside of the file, which ends at sector %"
             PRIu64, file->name, swap ? "redundant " : "", h->nr_tables, first,
             swap ? VD_KDMV_OFF_RGD : VD_KDMV_OFF_GD, file->size / VD_SECTOR);
    if (has_other)
      vd_err_append (err, "; %stables=%s reads by the other one",
                     vd_opts_prefix (), swap ? "first" : "copy");
    return -1;
  }
  if (!has_other) {
    h->rgd_offset = 0;
    if (two)
      vd_warn (&opts->log, "%s: %sgrain directory at sector %" PRIu64 " (header "
               "byte %d) is outside of the file, which ends at sector %" PRIu64
               "; using the %s", file->name, swap ? "" : "redundant ", other,
               swap ? VD_KDMV_OFF_GD : VD_KDMV_OFF_RGD,
               file->size / VD_SECTOR, swap ? "copy" : "first");
  }
  h->tables.copy_offset = h->rgd_offset;
  h->image.chosen_tables = two && chosen;
  h->compare = has_other && !chosen &&
    k->unclean != VD_KDMV_UNCLEAN_COMPACT &&
    k->unclean != VD_KDMV_UNCLEAN_WRITE;
  return 0;
}

/* What the header says of the disk. */
static int
check_sizes (const struct vd_kdmv_header *k, const struct vd_file *file,
             struct vd_kdmv_image *h, struct vd_err *err)
{
  const bool compressed = (k->flags & VD_KDMV_COMPRESSED) != 0;
  const uint64_t max_grain
    = compressed ? VD_MAX_COMPRESSED_GRAIN / VD_SECTOR : MAX_GRAIN_SECTORS;

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
  h->image.grain_size = h->tables.grain_size;
  h->image.tables_size = h->tables.coverage;
  h->image.compressed = compressed;
  return 0;
}

/* Where the rest is. */
static int
check_places (const struct vd_kdmv_header *k, const struct vd_file *file,
              const struct vd_opts *opts, struct vd_kdmv_image *h,
              struct vd_err *err)
{
  const bool markers
    = h->image.compressed && opts->tables == VD_TABLES_MARKERS;

  if (k->gd_offset == VD_KDMV_GD_AT_END && !markers)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: no valid footer at its end (byte %" PRIu64 "), where "
                    "the grain directory would be found: the stream is "
                    "probably incomplete; %stables=markers reads the grains "
                    "that are there", file->name, file->size,
                    vd_opts_prefix ());
  if (!vd_sectors (k->overhead, &h->first_data) ||
      h->first_data > file->size)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: truncated: the header says that the metadata takes "
                    "%" PRIu64 " sectors (header byte 64), but the file ends "
                    "at sector %" PRIu64, file->name, k->overhead,
                    file->size / VD_SECTOR);
  /* Sector 0 is the header, whatever overHead says. */
  h->first_data = vd_max (h->first_data, VD_SECTOR);
  return markers ? 0 : find_directories (k, file, opts, h, err);
}

static int
check_geometry (const struct vd_kdmv_header *k, const struct vd_file *file,
                const struct vd_opts *opts, struct vd_kdmv_image *h,
                struct vd_err *err)
{
  struct vd_err why;

  if (check_sizes (k, file, h, err) == -1)
    return -1;
  if (check_places (k, file, opts, h, &why) == 0)
    return 0;
  if (opts->headers && !(h->unread = strdup (why.msg)))
    return vd_fail_nomem (err);
  *err = why;
  return h->unread ? 0 : -1;
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

/* The header, or the footer, which has precedence over it. */
static int
read_header (struct vd_file *file, struct vd_kdmv_image *h,
             struct vd_kdmv_header *k, const struct vd_log *log,
             struct vd_err *err)
{
  uint8_t header[VD_SECTOR];
  struct vd_kdmv_header footer;
  int r;

  if (vd_file_pread (file, header, sizeof header, 0, err) == -1)
    return -1;
  vd_kdmv_decode (header, k);
  if (check_features (k, file->name, err) == -1 ||
      check_descriptor (k, file, &h->image, err) == -1)
    return -1;
  if (!(k->flags & VD_KDMV_MARKERS))
    return 0;
  r = vd_stream_footer (file, k, &footer, log, err);
  if (r != 1)
    return r;
  if (check_features (&footer, file->name, err) == -1) {
    vd_err_prefix (err, "in the footer: ");
    return -1;
  }
  if (footer.capacity == 0)
    return vd_fail (err, VD_CORRUPT, "%s: disk has no sectors (byte 12 of the "
                    "footer)", file->name);
  *k = footer;
  return 0;
}

static void
free_kdmv (struct vd_kdmv_image **h)
{
  if (*h)
    free ((*h)->unread);
  free (*h);
}

static int
kdmv_open (struct vd_file *file, const struct vd_opts *opts,
             struct vd_image **image, struct vd_err *err)
{
  VD_CLEANUP (free_kdmv) struct vd_kdmv_image *h = calloc (1, sizeof *h);
  struct vd_kdmv_header k;

  if (!h)
    return vd_fail_nomem (err);
  if (read_header (file, h, &k, &opts->log, err) == -1)
    return -1;

  /* With capacity 0 the embedded descriptor names other files. */
  if (k.capacity != 0 && check_geometry (&k, file, opts, h, err) == -1)
    return -1;

  h->image.version = k.version;
  h->image.flags = k.flags;
  h->image.unclean = k.unclean != 0;
  h->image.fmt = &vd_format_kdmv;
  h->image.file = file;
  if (h->image.unclean)
    vd_warn (&opts->log, "%s was not closed cleanly by its writer; its tables "
             "are checked entry by entry as they are used", file->name);
  if (h->image.compressed && opts->tables == VD_TABLES_MARKERS && !h->unread)
    return vd_stream_open_markers (file, &h->image, h->first_data, &opts->log,
                                   image, err);
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

/* Does an entry that is not 0 say something that can be? */
static bool
can_be (const struct vd_image *image, uint64_t grain, uint64_t raw)
{
  const struct vd_entry e = kdmv_gte (image, grain, raw, NULL);

  return e.kind == VD_ZERO ||
    (e.kind != VD_DAMAGED && e.where < image->file->size);
}

bool
vd_kdmv_doubt (const struct vd_image *image, uint64_t grain, uint64_t first,
               uint64_t copy)
{
  return first != copy && copy != 0 && can_be (image, grain, copy) &&
    (first == 0 || can_be (image, grain, first));
}

static int
kdmv_map (const struct vd_image *image, uint64_t offset, uint64_t length,
          const struct vd_out *out, struct vd_err *err)
{
  const struct vd_tables *t = &vd_kdmv (image)->tables;

  if (vd_kdmv (image)->unread)
    return vd_emit (out, VD_DAMAGED, offset, length, 0, err) == -1 ? -1 : 0;
  return vd_kdmv (image)->compare
    ? vd_tables_map (image, t, 4, offset, length, out, kdmv_gde, kdmv_gte,
                     vd_kdmv_doubt, err)
    : vd_tables_map (image, t, 4, offset, length, out, kdmv_gde, kdmv_gte,
                     NULL, err);
}

/* The entry of a grain as a directory and its tables have it; false if they
 * have none, or none that can be read.
 */
static bool
read_entry (const struct vd_image *image, uint64_t gd, uint64_t grain,
            uint32_t *entry)
{
  const uint32_t n = vd_kdmv (image)->tables.gt_entries;
  struct vd_err ignored;
  struct vd_entry e;
  uint8_t raw[4];

  if (vd_file_pread (image->file, raw, 4, gd + grain / n * 4, &ignored) == -1)
    return false;
  *entry = 0;
  if (vd_le32 (raw) == 0)
    return true;
  e = kdmv_gde (image, grain / n, vd_le32 (raw), NULL);
  if (e.kind != VD_DATA ||
      vd_file_pread (image->file, raw, 4, e.where + grain % n * 4,
                     &ignored) == -1)
    return false;
  *entry = vd_le32 (raw);
  return true;
}

static int
kdmv_explain (const struct vd_image *image, uint64_t offset,
              struct vd_err *err)
{
  const struct vd_kdmv_image *h = vd_kdmv (image);
  const uint64_t grain = offset / h->tables.grain_size;
  uint32_t first = 0, copy = 0;
  bool has_first = false, has_copy = false;

  if (h->unread)
    return vd_fail (err, VD_TRUNCATED, "%s", h->unread);
  if (h->compare) {
    has_first = read_entry (image, h->tables.gd_offset, grain, &first);
    has_copy = read_entry (image, h->rgd_offset, grain, &copy);
  }
  if (has_first && has_copy && vd_kdmv_doubt (image, grain, first, copy))
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain %" PRIu64 " (disk byte %" PRIu64 ") is %" PRIu32
                    " in the grain table and %" PRIu32 " in its redundant "
                    "copy, and both can be: %stables=first or %stables=copy "
                    "reads by one of them", image->file->name, grain,
                    grain * h->tables.grain_size, first, copy, vd_opts_prefix (),
                    vd_opts_prefix ());
  vd_tables_explain (image, &h->tables, 4, offset, kdmv_gde, kdmv_gte, err);
  /* 0 as the first: what the copy says, if that can be. */
  if (has_copy && copy != first && vd_kdmv_doubt (image, grain, 0, copy))
    vd_err_append (err, "; its redundant copy has %" PRIu32 ": %stables=copy "
                   "reads by that", copy, vd_opts_prefix ());
  return -1;
}

static void
kdmv_close (struct vd_image *image)
{
  struct vd_kdmv_image *h = (struct vd_kdmv_image *) image;

  free_kdmv (&h);
}

const struct vd_format vd_format_kdmv = {
  .name = "KDMV",
  .long_name = "KDMV (hosted sparse)",
  .probe = kdmv_probe,
  .open = kdmv_open,
  .map = kdmv_map,
  .walk = &vd_walk_kdmv,
  .explain = kdmv_explain,
  .inflate = vd_stream_inflate,
  .close = kdmv_close,
};
