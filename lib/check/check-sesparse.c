/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What only a SEsparse extent has to be checked for: the areas named in its
 * header, the counter of tables, the free bitmap, the backmap, the journal.
 *
 * The bitmap has a bit for each grain slot, 1 = in use; the backmap has a u64
 * for each slot: type 1 in the top nibble, and the guest grain that owns the
 * slot, encoded as grain numbers are in table entries.  So it is in a file
 * that an ESXi host wrote; reading needs neither, so a difference is no more
 * than an info.
 */

#include <stdlib.h>

#include "check/check-walk.h"
#include "format/sesparse.h"

#define AREA_UNIT UINT64_C (4096) /* everything is placed by this, usually */

/* Offsets of header fields: sector, then size in sectors. */
static const struct {
  unsigned offset;
  const char *what;
  bool metadata;                /* no tables and no grains may lie in it */
} fields[] = {
  { VD_SESPARSE_OFF_VOLATILE, "volatile header", true },
  { VD_SESPARSE_OFF_JOURNAL_HEADER, "journal header", true },
  { VD_SESPARSE_OFF_JOURNAL, "journal", true },
  { VD_SESPARSE_OFF_GD, "grain directory", true },
  { VD_SESPARSE_OFF_GTS, "grain table area", false },
  { VD_SESPARSE_OFF_BITMAP, "free bitmap", true },
  { VD_SESPARSE_OFF_BACKMAP, "backmap", true },
  { VD_SESPARSE_OFF_GRAINS, "grain area", false },
};
#define NR_AREAS (sizeof fields / sizeof fields[0])
enum { VOLATILE = 0, JOURNAL = 2, DIRECTORY = 3, BITMAP = 5, BACKMAP = 6,
       GRAINS = 7 };

/* Directory entries past those that are needed are looked at up to so many. */
#define MAX_SPARE 65536u

/* Parts of bitmap and backmap are read in pieces of this size. */
#define PIECE 4096u

struct piece {
  uint64_t start;               /* in the file */
  size_t n;                     /* 0: nothing is there */
  uint8_t buf[PIECE];
};

struct sesparse_check {
  struct { uint64_t start, size; } area[NR_AREAS];      /* bytes */
  uint64_t max_table;           /* highest number in use, + 1 */
  uint64_t max_place;           /* its directory entry */
  struct piece bitmap, backmap;
};

/* n bytes at `at` bytes of an area, or NULL.  n divides at and PIECE. */
static const uint8_t *
peek (struct vd_checker *c, struct piece *p, unsigned area, uint64_t at,
      size_t n)
{
  const struct sesparse_check *s = c->opaque;
  const uint64_t place = s->area[area].start + at;
  const uint64_t size = c->image->file->size;
  struct vd_err ignored;

  if (at >= s->area[area].size || n > s->area[area].size - at ||
      place >= size || n > size - place)
    return NULL;
  if (p->n == 0 || place < p->start || place + n > p->start + p->n) {
    p->start = s->area[area].start + at / PIECE * PIECE;
    p->n = (size_t) vd_min (PIECE, size - p->start);
    if (vd_file_pread (c->image->file, p->buf, p->n, p->start,
                       &ignored) == -1) {
      p->n = 0;
      return NULL;
    }
  }
  return p->buf + (place - p->start);
}

static int
sesparse_entry (struct vd_checker *c, uint64_t grain, uint64_t raw,
                struct vd_entry e, uint64_t place, struct vd_err *err)
{
  struct sesparse_check *s = c->opaque;
  uint64_t slot, owner;
  const uint8_t *p;
  int r;

  (void) raw;
  if (c->opts->errors_only || e.kind != VD_DATA)
    return 0;
  slot = (e.where - s->area[GRAINS].start) / c->image->grain_size;
  p = peek (c, &s->bitmap, BITMAP, slot / 8, 1);
  if (!p || !(*p >> (slot % 8) & 1)) {
    r = vd_check_add (c, VD_CHECK_BITMAP, s->area[BITMAP].start + slot / 8, 0,
                      0, err, "grain %" PRIu64 " (table entry at byte %"
                      PRIu64 ") uses slot %" PRIu64 ", which the free bitmap "
                      "has as free", grain, place, slot);
    if (r != 0)
      return r;
  }
  p = peek (c, &s->backmap, BACKMAP, slot * 8, 8);
  owner = p ? vd_le64 (p) : 0;
  if (owner == (UINT64_C (1) << 60 | (grain & 0xfff) << 48 | grain >> 12))
    return 0;
  return vd_check_add (c, VD_CHECK_BACKMAP, s->area[BACKMAP].start + slot * 8,
                       0, 0, err, "grain %" PRIu64 " uses slot %" PRIu64
                       ", but the backmap has 0x%" PRIx64 " there", grain,
                       slot, owner);
}

static int
sesparse_table (struct vd_checker *c, uint64_t index, uint64_t raw,
                uint64_t place, struct vd_err *err)
{
  struct sesparse_check *s = c->opaque;
  const uint64_t number = raw & UINT32_MAX;

  (void) index, (void) err;
  if (number >= s->max_table) {
    s->max_table = number + 1;
    s->max_place = place;
  }
  return 0;
}

static int
check_journal (struct vd_checker *c, struct vd_err *err)
{
  const struct sesparse_check *s = c->opaque;
  const uint64_t place = s->area[VOLATILE].start + 24;
  struct vd_sesparse_journal j = { 0, 0 };
  struct vd_err why;

  if (!c->image->unclean)
    return 0;
  if (vd_sesparse_journal (c->image->file, s->area[JOURNAL].start,
                           s->area[JOURNAL].size, &j, &why) == -1)
    return vd_check_add_err (c, VD_CHECK_READ, s->area[JOURNAL].start, 0, 0,
                             &why, err);
  return vd_check_add (c, VD_CHECK_JOURNAL, place, 0, 0, err,
                       "was not closed cleanly: its journal has to be "
                       "replayed (%u of %u well-formed records are not on "
                       "the disk yet)", j.pending, j.records);
}

static int
check_areas (struct vd_checker *c, struct vd_err *err)
{
  const struct sesparse_check *s = c->opaque;
  unsigned i, k;
  int r;

  for (i = 0; i < NR_AREAS; ++i)
    for (k = i + 1; k < NR_AREAS; ++k) {
      if (s->area[i].start >= s->area[k].start + s->area[k].size ||
          s->area[k].start >= s->area[i].start + s->area[i].size)
        continue;
      r = vd_check_add (c, VD_CHECK_AREAS_OVERLAP, fields[k].offset, 0, 0,
                        err, "the %s (header byte %u) and the %s (header byte "
                        "%u) overlap", fields[i].what, fields[i].offset,
                        fields[k].what, fields[k].offset);
      if (r != 0)
        return r;
    }
  return 0;
}

/* Places that reading needs were checked when the file was opened; others
 * that make no sense are taken as empty.
 */
static void
get_areas (struct vd_checker *c, const uint8_t *h)
{
  struct sesparse_check *s = c->opaque;
  uint64_t start, size, end;
  unsigned i;

  c->unit = AREA_UNIT;
  for (i = 0; i < NR_AREAS; ++i) {
    if (!vd_sectors (vd_le64 (h + fields[i].offset), &start) ||
        !vd_sectors (vd_le64 (h + fields[i].offset
                             + VD_SESPARSE_SIZE_AFTER), &size) ||
        !vd_add (start, size, &end) || end > VD_MAX_CAPACITY || size == 0)
      continue;
    s->area[i].start = start;
    s->area[i].size = size;
    if (fields[i].metadata)
      vd_check_area (c, start, size, fields[i].what);
    else if (start % AREA_UNIT != 0)
      c->unit = VD_SECTOR;
  }
}

static int
check (struct vd_checker *c, const uint8_t *h, struct vd_err *err)
{
  struct sesparse_check *s = c->opaque;
  const struct vd_image *image = c->image;
  const struct vd_tables *t = c->walk->tables (image);
  uint64_t needed, counter;
  uint8_t v[VD_SECTOR];
  int r;

  get_areas (c, h);
  needed = vd_div_up (image->capacity, t->coverage);
  c->dir_entries = vd_min (vd_min (s->area[DIRECTORY].size / 8,
                                   needed + MAX_SPARE),
                           (image->file->size - t->gd_offset) / 8);
  if ((r = check_journal (c, err)) != 0 || (r = check_areas (c, err)) != 0 ||
      (r = vd_check_walk (c, err)) != 0)
    return r;

  if (vd_file_pread (image->file, v, sizeof v, s->area[VOLATILE].start,
                     err) == -1)
    return -1;
  counter = vd_le64 (v + VD_SESPARSE_OFF_FREE_TABLE);
  if (s->max_table > counter)
    return vd_check_add (c, VD_CHECK_FREE_TABLE, s->area[VOLATILE].start
                         + VD_SESPARSE_OFF_FREE_TABLE, 0, 0, err, "the next free table is %" PRIu64
                         ", but table number %" PRIu64 " is in use (directory "
                         "entry at byte %" PRIu64 ")", counter,
                         s->max_table - 1, s->max_place);
  return 0;
}

int
vd_check_sesparse (struct vd_checker *c, const struct vd_image *image,
                   struct vd_err *err)
{
  CLEANUP_FREE struct sesparse_check *s = calloc (1, sizeof *s);
  uint8_t h[VD_SECTOR];

  if (!s)
    return vd_fail_nomem (err);
  if (vd_file_pread (image->file, h, sizeof h, 0, err) == -1)
    return -1;
  c->walk = &vd_walk_sesparse;
  c->opaque = s;
  c->table = sesparse_table;
  c->entry = sesparse_entry;
  vd_check_area (c, 0, VD_SECTOR, "header");
  return check (c, h, err);
}
