/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* SEsparse: the space-efficient delta that ESXi writes as -sesparse.vmdk.
 *
 *   sector 0            constant header, 26 u64; positions and sizes of all
 *                       areas in sectors
 *   volatile header     1 sector: the magic, and replayJournal
 *   grain directory     u64 for each table: 0, or 0x10000000 << 32 | number
 *   grain tables        4096 u64 each, placed by number in order of
 *                       allocation; the top nibble of an entry is its type
 *   grains              4 KiB each, by number
 *
 * The format is not published.  What is known comes from QEMU's reader
 * (block/vmdk.c and the message of its commit 98eb9733f4cf) and from a file
 * that an ESXi host wrote.  So every field that has one known value must have
 * it: a different one means something that we do not know.
 *
 * The type of a grain:   0  not allocated: ask the parent
 *                        1  unmapped by the guest: zeros
 *                        2  zeros
 *                        3  data; the grain number's low 12 bits are bits
 *                           48-59 of the entry, its high bits are bits 0-47
 */

#include <inttypes.h>
#include <stdlib.h>

#include "format/grain-tables.h"
#include "format/sesparse.h"

#define CONST_MAGIC UINT64_C (0x00000000cafebabe)
#define VOLATILE_MAGIC UINT64_C (0x00000000cafecafe)
#define VERSION_2_1 UINT64_C (0x0000000200000001)

#define GRAIN_SECTORS 8u
#define GT_SECTORS 64u
#define GT_ENTRIES (GT_SECTORS * 512u / 8)
#define GRAIN_SIZE (GRAIN_SECTORS * VD_SECTOR)

struct sesparse_image {
  struct vd_image image;
  struct vd_tables tables;
  uint64_t gt_offset;           /* bytes */
  uint64_t nr_gts;              /* tables that fit into the table area */
  uint64_t grains_offset;       /* bytes */
  uint64_t nr_grains;           /* grains that fit into the grain area */
};

static inline const struct sesparse_image *
get (const struct vd_image *image)
{
  return (const struct sesparse_image *) image;
}

static bool
sesparse_probe (const uint8_t *head, size_t n)
{
  return n >= 8 && vd_le64 (head) == CONST_MAGIC;
}

static const uint8_t *
first_nonzero (const uint8_t *p, size_t n)
{
  for (; n > 0; ++p, --n)
    if (*p)
      return p;
  return NULL;
}

/* A field that has to have one value. */
static int
must_be (const struct vd_file *file, const uint8_t *h, unsigned off,
         uint64_t want, const char *what, struct vd_err *err)
{
  const uint64_t v = vd_le64 (h + off);

  if (v == want)
    return 0;
  return vd_fail (err, VD_UNSUPPORTED,
                  "%s: SEsparse %s (header byte %u) is 0x%" PRIx64
                  ", only 0x%" PRIx64 " is supported", file->name, what, off,
                  v, want);
}

/* An area [offset, offset + size) given by two header fields in sectors. */
static int
get_area (const struct vd_file *file, const uint8_t *h, unsigned off,
          const char *what, uint64_t *offset, uint64_t *size,
          struct vd_err *err)
{
  const uint64_t o = vd_le64 (h + off), s = vd_le64 (h + off + 8);
  uint64_t end;

  if (o == 0 || !vd_sectors (o, offset) || !vd_sectors (s, size) ||
      !vd_add (*offset, *size, &end) || end > VD_MAX_CAPACITY)
    return vd_fail (err, VD_CORRUPT,
                    "%s: SEsparse %s (header byte %u) is at sector %" PRIu64
                    " with %" PRIu64 " sectors; allowed is a place behind the "
                    "header and below 2^62 bytes", file->name, what, off, o,
                    s);
  return 0;
}

/* Two areas that share bytes cannot both be right. */
static int
must_be_apart (const struct vd_file *file, const char *a, uint64_t a_offset,
               uint64_t a_size, const char *b, uint64_t b_offset,
               uint64_t b_size, struct vd_err *err)
{
  if (a_offset >= b_offset + b_size || b_offset >= a_offset + a_size)
    return 0;
  return vd_fail (err, VD_CORRUPT,
                  "%s: SEsparse %s (byte %" PRIu64 ", %" PRIu64 " bytes) and "
                  "%s (byte %" PRIu64 ", %" PRIu64 " bytes) overlap",
                  file->name, a, a_offset, a_size, b, b_offset, b_size);
}

/* Where directory, tables and grains are, and that they are apart. */
static int
decode_areas (const uint8_t *h, const struct vd_file *file,
              struct sesparse_image *se, struct vd_err *err)
{
  uint64_t gd_offset, gd_size, gt_size, grains_size, tables;

  if (get_area (file, h, VD_SESPARSE_OFF_GD, "grain directory", &gd_offset,
                &gd_size, err) == -1 ||
      get_area (file, h, VD_SESPARSE_OFF_GTS, "grain table area",
                &se->gt_offset, &gt_size, err) == -1 ||
      get_area (file, h, VD_SESPARSE_OFF_GRAINS, "grain area",
                &se->grains_offset, &grains_size, err) == -1 ||
      must_be_apart (file, "grain directory", gd_offset, gd_size,
                     "grain table area", se->gt_offset, gt_size,
                     err) == -1 ||
      must_be_apart (file, "grain directory", gd_offset, gd_size,
                     "grain area", se->grains_offset, grains_size,
                     err) == -1 ||
      must_be_apart (file, "grain table area", se->gt_offset, gt_size,
                     "grain area", se->grains_offset, grains_size,
                     err) == -1)
    return -1;

  se->tables = (struct vd_tables) {
    .gd_offset = gd_offset,
    .gt_entries = GT_ENTRIES,
    .grain_size = GRAIN_SIZE,
    .coverage = GT_ENTRIES * GRAIN_SIZE,
  };
  tables = vd_div_up (se->image.capacity, se->tables.coverage);
  if (tables > gd_size / 8)
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain directory has room for %" PRIu64 " entries "
                    "(header byte %d), %" PRIu64 " are needed", file->name,
                    gd_size / 8, VD_SESPARSE_OFF_GD_SIZE, tables);
  if (gd_offset + tables * 8 > file->size)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: the grain directory ends at byte %" PRIu64 ", the "
                    "file at byte %" PRIu64 ": it is truncated", file->name,
                    gd_offset + tables * 8, file->size);

  se->nr_gts = gt_size / (GT_SECTORS * VD_SECTOR);
  se->nr_grains = grains_size / GRAIN_SIZE;
  se->image.grain_size = GRAIN_SIZE;
  se->image.tables_size = se->tables.coverage;
  return 0;
}

static int
decode_header (const uint8_t *h, const struct vd_file *file,
               struct sesparse_image *se, struct vd_err *err)
{
  const uint64_t version = vd_le64 (h + VD_SESPARSE_OFF_VERSION);
  const uint64_t reserved1 = vd_le64 (h + VD_SESPARSE_OFF_RESERVED1);
  const uint8_t *p;

  if (version != VERSION_2_1)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: SEsparse version %" PRIu64 ".%" PRIu64 " (header "
                    "byte %d) is not supported, only 2.1", file->name,
                    version >> 32, version & UINT32_MAX, VD_SESPARSE_OFF_VERSION);
  if (must_be (file, h, VD_SESPARSE_OFF_GRAIN_SIZE, GRAIN_SECTORS, "grain size",
               err) == -1 ||
      must_be (file, h, VD_SESPARSE_OFF_GT_SIZE, GT_SECTORS, "grain table size",
               err) == -1 ||
      must_be (file, h, VD_SESPARSE_OFF_FLAGS, 0, "flags", err) == -1)
    return -1;
  /* 0x200 is met in the field; the layout is the same. */
  if (reserved1 != 0 && reserved1 != 0x200)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: SEsparse reserved field 1 (header byte %d) is 0x%"
                    PRIx64 ", only 0 and 0x200 are supported", file->name,
                    VD_SESPARSE_OFF_RESERVED1, reserved1);
  if (must_be (file, h, VD_SESPARSE_OFF_RESERVED2, 0, "reserved field 2", err) == -1 ||
      must_be (file, h, VD_SESPARSE_OFF_RESERVED3, 0, "reserved field 3", err) == -1 ||
      must_be (file, h, VD_SESPARSE_OFF_RESERVED4, 0, "reserved field 4", err) == -1)
    return -1;
  p = first_nonzero (h + VD_SESPARSE_OFF_PAD, VD_SECTOR - VD_SESPARSE_OFF_PAD);
  if (p)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: SEsparse header byte %d is 0x%02x, only 0 is "
                    "supported there", file->name, (int) (p - h), *p);

  if (vd_le64 (h + VD_SESPARSE_OFF_CAPACITY) == 0)
    return vd_fail (err, VD_CORRUPT,
                    "%s: disk has no sectors (header byte %d)", file->name,
                    VD_SESPARSE_OFF_CAPACITY);
  if (!vd_sectors (vd_le64 (h + VD_SESPARSE_OFF_CAPACITY), &se->image.capacity) ||
      se->image.capacity > VD_MAX_CAPACITY)
    return vd_fail (err, VD_CORRUPT,
                    "%s: capacity is %" PRIu64 " sectors (header byte %d), "
                    "more than 2^62 bytes", file->name,
                    vd_le64 (h + VD_SESPARSE_OFF_CAPACITY),
                    VD_SESPARSE_OFF_CAPACITY);
  se->image.version = 0x21;
  return decode_areas (h, file, se, err);
}

static int
check_volatile (struct vd_file *file, const uint8_t *h,
                const struct vd_opts *opts, struct sesparse_image *se,
                struct vd_err *err)
{
  uint8_t v[VD_SECTOR];
  const uint8_t *p;
  uint64_t offset, replay, jo, js;

  if (!vd_sectors (vd_le64 (h + VD_SESPARSE_OFF_VOLATILE), &offset) || offset == 0)
    return vd_fail (err, VD_CORRUPT,
                    "%s: SEsparse volatile header is at sector %" PRIu64
                    " (header byte %d); allowed is 1 and up", file->name,
                    vd_le64 (h + VD_SESPARSE_OFF_VOLATILE), VD_SESPARSE_OFF_VOLATILE);
  if (vd_file_pread (file, v, sizeof v, offset, err) == -1)
    return -1;
  if (vd_le64 (v) != VOLATILE_MAGIC)
    return vd_fail (err, VD_CORRUPT,
                    "%s: SEsparse volatile header at byte %" PRIu64
                    " has magic 0x%" PRIx64 ", expected 0x%" PRIx64,
                    file->name, offset, vd_le64 (v), VOLATILE_MAGIC);
  p = first_nonzero (v + 32, sizeof v - 32);
  if (p)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: SEsparse volatile header byte %d is 0x%02x, only 0 "
                    "is supported there", file->name, (int) (p - v), *p);

  replay = vd_le64 (v + 24);
  if (replay != 0) {
    struct vd_sesparse_journal j = { 0, 0 };

    se->image.unclean = true;
    if (get_area (file, h, VD_SESPARSE_OFF_JOURNAL, "journal", &jo, &js,
                  err) == -1 ||
        vd_sesparse_journal (file, jo, js, &j, err) == -1)
      return -1;
    if (!opts->allow_dirty)
      return vd_fail (err, VD_UNSUPPORTED,
                      "%s was not closed cleanly: its journal has to be "
                      "replayed (replayJournal is %" PRIu64 ", and %u of %u "
                      "well-formed records are not on the disk yet).  "
                      "Consolidate it on the ESXi host, or power the VM on "
                      "and shut it down there (%sallow-dirty reads it as it "
                      "is)", file->name, replay, j.pending, j.records,
                      vd_opts_prefix ());
    vd_warn (&opts->log, "%s: its journal was not replayed (%u of %u records "
             "are not on the disk); what is read may be out of date",
             file->name, j.pending, j.records);
  }
  return 0;
}

static int
sesparse_open (struct vd_file *file, const struct vd_opts *opts,
               struct vd_image **image, struct vd_err *err)
{
  CLEANUP_FREE struct sesparse_image *se = calloc (1, sizeof *se);
  uint8_t header[VD_SECTOR];

  if (!se)
    return vd_fail_nomem (err);
  if (vd_file_pread (file, header, sizeof header, 0, err) == -1 ||
      decode_header (header, file, se, err) == -1 ||
      check_volatile (file, header, opts, se, err) == -1)
    return -1;
  *image = (struct vd_image *) VD_TAKE (se);
  return 0;
}

static inline struct vd_entry
sesparse_gde (const struct vd_image *image, uint64_t index, uint64_t raw,
              struct vd_err *err)
{
  const struct sesparse_image *se = get (image);
  const uint64_t number = raw & UINT32_MAX;
  /* number has 32 bits, a table 2^15 bytes: no overflow past 2^62 */
  const uint64_t where = se->gt_offset + number * GT_SECTORS * VD_SECTOR;

  if (raw >> 32 != UINT32_C (0x10000000)) {
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: directory entry %" PRIu64 " is 0x%016" PRIx64 "; allowed "
               "is 0 or 0x10000000 in its upper half", image->file->name,
               index, raw);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  if (number >= se->nr_gts) {
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: directory entry %" PRIu64 ": table number %" PRIu64
               " is past the table area, which has room for %" PRIu64,
               image->file->name, index, number, se->nr_gts);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  if (where + GT_SECTORS * VD_SECTOR > image->file->size) {
    if (err)
      vd_fail (err, VD_TRUNCATED,
               "%s: table number %" PRIu64 " ends at byte %" PRIu64
               ", the file at byte %" PRIu64 ": it is truncated",
               image->file->name, number, where + GT_SECTORS * VD_SECTOR,
               image->file->size);
    return (struct vd_entry) { .kind = VD_DAMAGED };
  }
  return (struct vd_entry) { .kind = VD_DATA, .where = where };
}

static inline struct vd_entry
sesparse_gte (const struct vd_image *image, uint64_t index, uint64_t raw,
              struct vd_err *err)
{
  const struct sesparse_image *se = get (image);
  uint64_t n;

  switch (raw >> 60) {
  case 1:
  case 2:
    return (struct vd_entry) { .kind = VD_ZERO };
  case 3:
    n = ((raw >> 48) & 0xfff) | (raw & UINT64_C (0xffffffffffff)) << 12;
    if (n < se->nr_grains)
      return (struct vd_entry) {
        .kind = VD_DATA, .where = se->grains_offset + n * GRAIN_SIZE
      };
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: grain %" PRIu64 ": grain number %" PRIu64 " is past the "
               "grain area, which has room for %" PRIu64, image->file->name,
               index, n, se->nr_grains);
    break;
  default:
    if (err)
      vd_fail (err, VD_CORRUPT,
               "%s: grain %" PRIu64 ": table entry 0x%016" PRIx64
               " has type %u; allowed is 0 (then all bits are 0) to 3",
               image->file->name, index, raw, (unsigned) (raw >> 60));
  }
  return (struct vd_entry) { .kind = VD_DAMAGED };
}

static const struct vd_tables *
sesparse_tables (const struct vd_image *image)
{
  return &get (image)->tables;
}

const struct vd_walk vd_walk_sesparse = {
  .width = 8, .tables = sesparse_tables, .gde = sesparse_gde, .gte = sesparse_gte,
};

static int
sesparse_map (const struct vd_image *image, uint64_t offset, uint64_t length,
              const struct vd_out *out, struct vd_err *err)
{
  return vd_tables_map (image, &get (image)->tables, 8, offset, length, out,
                        sesparse_gde, sesparse_gte, NULL, err);
}

static int
sesparse_explain (const struct vd_image *image, uint64_t offset,
                  struct vd_err *err)
{
  return vd_tables_explain (image, &get (image)->tables, 8, offset,
                            sesparse_gde, sesparse_gte, err);
}

static void
sesparse_close (struct vd_image *image)
{
  free (image);
}

const struct vd_format vd_format_sesparse = {
  .name = "SEsparse",
  .long_name = "SEsparse (ESXi space-efficient delta)",
  .minor_bits = 4,
  .probe = sesparse_probe,
  .open = sesparse_open,
  .map = sesparse_map,
  .walk = &vd_walk_sesparse,
  .explain = sesparse_explain,
  .close = sesparse_close,
};
