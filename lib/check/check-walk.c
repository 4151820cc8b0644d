/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The walk over every entry of directory and tables, for a check.
 *
 * W1. All is judged by the functions of the format (struct vd_walk), as when
 *     it is read.
 * W2. The first pass judges and reports.  Later ones only claim places again,
 *     for other windows of the file (check-owners.c).
 * W3. A table that cannot be read is a finding, and the walk goes on.
 * W4. What lies past the part of the image that its link uses concerns no
 *     guest: it is at most a warning, and claims nothing.
 */

#include <stdlib.h>

#include "check/check-walk.h"

#define DIR_BUFFER 65536u

void
vd_check_area (struct vd_checker *c, uint64_t start, uint64_t length,
               const char *what)
{
  if (length > 0 && c->nr_areas < VD_MAX_AREAS)
    c->area[c->nr_areas++] = (struct vd_area) {
      .start = start, .end = start + length, .what = what
    };
}

static const struct vd_area *
find_area (const struct vd_checker *c, uint64_t start, uint64_t end)
{
  unsigned i;

  for (i = 0; i < c->nr_areas; ++i)
    if (start < c->area[i].end && end > c->area[i].start)
      return &c->area[i];
  return NULL;
}

static bool
is_first (const struct vd_checker *c)
{
  return c->pass == 0 && !c->owners.resolving;
}

/* A read that failed.  Lack of memory ends the check, all else is found. */
static int
read_failed (struct vd_checker *c, uint64_t place, uint64_t offset,
             uint64_t length, const struct vd_err *why, struct vd_err *err)
{
  if (why->code == VD_NOMEM) {
    *err = *why;
    return -1;
  }
  if (!is_first (c))
    return 0;
  return vd_check_add_err (c, VD_CHECK_READ, place, offset, length, why, err);
}

/* Where a raw entry of the 32-bit formats points. */
static bool
is_in_metadata (const struct vd_checker *c, uint64_t raw)
{
  return c->walk->width == 4 && raw > 1 && raw * VD_SECTOR < c->first_data;
}

static int
bad_grain (struct vd_checker *c, uint64_t grain, uint64_t raw,
           uint64_t place, struct vd_err *err)
{
  const uint64_t size = c->walk->tables (c->image)->grain_size;
  enum vd_check_kind kind = VD_CHECK_GRAIN_BAD;
  struct vd_err why = { .code = VD_CORRUPT };

  c->walk->gte (c->image, grain, raw, &why);
  if (is_in_metadata (c, raw))
    kind = VD_CHECK_GRAIN_IN_METADATA;
  return vd_check_add_err (c, kind, place, grain * size, size, &why, err);
}

/* A grain that is stored as it is, at `where`; `size` bytes of it are needed.
 * What vd_emit_data calls damaged is damaged here.
 */
static int
plain_grain (struct vd_checker *c, uint64_t grain, uint64_t where,
             uint64_t size, uint64_t place, struct vd_err *err)
{
  const struct vd_owner owner = { VD_OWNER_GRAIN, grain };
  const uint64_t file_size = c->image->file->size;
  const uint64_t offset
    = grain * c->walk->tables (c->image)->grain_size;
  const struct vd_area *a;
  uint64_t have = size;
  int r;

  if (where > file_size || size > file_size - where) {
    have = where < file_size
      ? vd_round_down (file_size - where, VD_SECTOR) : 0;
    if (is_first (c)) {
      r = vd_check_add (c, have ? VD_CHECK_GRAIN_TRUNCATED
                        : VD_CHECK_GRAIN_OUTSIDE, place, offset + have,
                        size - have, err, "grain %" PRIu64 " is at sector %"
                        PRIu64 ", but the file ends at sector %" PRIu64
                        ": it has %" PRIu64 " of %" PRIu64 " bytes", grain,
                        where / VD_SECTOR, file_size / VD_SECTOR, have, size);
      if (r != 0)
        return r;
    }
  }
  if (is_first (c)) {
    a = find_area (c, where, where + have);
    if (a && have > 0) {
      r = vd_check_add (c, VD_CHECK_GRAIN_IN_METADATA, place, offset, size,
                        err, "grain %" PRIu64 " at sector %" PRIu64
                        " lies in the %s", grain, where / VD_SECTOR, a->what);
      if (r != 0)
        return r;
    }
    if (have == size && c->align > 0 && where % c->align != 0) {
      r = vd_check_add (c, VD_CHECK_UNALIGNED, place, offset, 0, err,
                        "grain %" PRIu64 " is at sector %" PRIu64
                        ", not at a multiple of %" PRIu64, grain,
                        where / VD_SECTOR, c->align / VD_SECTOR);
      if (r != 0)
        return r;
    }
  }
  return vd_owners_claim (c, owner, where, have, err);
}

/* An entry that is not 0; place: where it stands. */
static int
walk_entry (struct vd_checker *c, uint64_t grain, uint64_t raw,
            uint64_t place, struct vd_err *err)
{
  const uint64_t grain_size = c->walk->tables (c->image)->grain_size;
  const uint64_t used = c->image->used;
  const uint64_t offset = grain * grain_size;
  struct vd_entry e;
  uint64_t n;
  int r;

  if (offset >= used) {         /* W4 */
    if (!is_first (c))
      return 0;
    return vd_check_add (c, VD_CHECK_GRAIN_BEYOND, place, 0, 0, err,
                         "grain %" PRIu64 " has an entry, but lies past the "
                         "end of the disk at %" PRIu64 " bytes", grain, used);
  }

  e = c->walk->gte (c->image, grain, raw, NULL);
  if (is_first (c)) {
    switch (e.kind) {
    case VD_DATA: c->report->grains++; break;
    case VD_COMPRESSED: c->report->compressed_grains++; break;
    case VD_ZERO: c->report->zero_grains++; break;
    default: break;
    }
    if (e.kind != VD_DAMAGED && c->entry) {
      r = c->entry (c, grain, raw, e, place, err);
      if (r != 0)
        return r;
    }
  }
  switch (e.kind) {
  case VD_DATA:
    n = vd_min (grain_size, used - offset);
    return plain_grain (c, grain, e.where, n, place, err);
  case VD_COMPRESSED:
    if (c->opts->quick)
      return 0;
    n = 0;
    r = c->stored (c, grain, e.where, place, &n, err);
    if (r != 0)
      return r;
    return vd_owners_claim (c, (struct vd_owner) { VD_OWNER_GRAIN, grain },
                            e.where, n, err);
  case VD_DAMAGED:
    return is_first (c) ? bad_grain (c, grain, raw, place, err) : 0;
  default:
    return 0;
  }
}

/* All entries of the table at `where`. */
static int
walk_table (struct vd_checker *c, uint64_t index, uint64_t where,
            uint8_t *buf, struct vd_err *err)
{
  const struct vd_tables *t = c->walk->tables (c->image);
  const unsigned width = c->walk->width;
  struct vd_err why;
  uint64_t raw;
  uint32_t i;
  int r;

  if (vd_file_pread (c->image->file, buf, (size_t) t->gt_entries * width,
                     where, &why) == -1)
    return read_failed (c, where, index * t->coverage, t->coverage, &why,
                        err);
  for (i = 0; i < t->gt_entries; ++i) {
    raw = vd_raw_entry (buf, i, width);
    if (raw == 0)
      continue;
    r = walk_entry (c, index * t->gt_entries + i, raw,
                    where + (uint64_t) i * width, err);
    if (r != 0)
      return r;
  }
  return 0;
}

static int
bad_table (struct vd_checker *c, uint64_t index, uint64_t raw, uint64_t place,
           struct vd_err *err)
{
  const uint64_t coverage = c->walk->tables (c->image)->coverage;
  enum vd_check_kind kind = VD_CHECK_TABLE_BAD;
  struct vd_err why = { .code = VD_CORRUPT };

  c->walk->gde (c->image, index, raw, &why);
  if (is_in_metadata (c, raw))
    kind = VD_CHECK_TABLE_IN_METADATA;
  else if (why.code == VD_TRUNCATED)
    kind = VD_CHECK_TABLE_OUTSIDE;
  return vd_check_add_err (c, kind, place, index * coverage, coverage, &why,
                           err);
}

/* A directory entry that is not 0. */
static int
walk_directory_entry (struct vd_checker *c, uint64_t index, uint64_t raw,
                      uint64_t place, uint8_t *buf, struct vd_err *err)
{
  const struct vd_tables *t = c->walk->tables (c->image);
  const uint64_t bytes = (uint64_t) t->gt_entries * c->walk->width;
  const struct vd_area *a;
  struct vd_entry e;
  int r;

  if (index >= vd_div_up (c->image->capacity, t->coverage)) {
    if (!is_first (c))
      return 0;
    return vd_check_add (c, VD_CHECK_TABLE_BEYOND, place, 0, 0, err,
                         "directory entry %" PRIu64 " is 0x%" PRIx64
                         ", but lies past the end of the disk", index, raw);
  }

  e = c->walk->gde (c->image, index, raw, NULL);
  if (e.kind != VD_DATA)
    return is_first (c) ? bad_table (c, index, raw, place, err) : 0;

  a = find_area (c, e.where, e.where + bytes);
  if (a)
    return !is_first (c) ? 0 :
      vd_check_add (c, VD_CHECK_TABLE_IN_METADATA, place,
                    index * t->coverage, t->coverage, err,
                    "grain table %" PRIu64 " at sector %" PRIu64
                    " lies in the %s", index, e.where / VD_SECTOR, a->what);
  if (is_first (c)) {
    c->report->tables++;
    if (c->table && (r = c->table (c, index, raw, place, err)) != 0)
      return r;
  }
  r = vd_owners_claim (c, (struct vd_owner) { VD_OWNER_TABLE, index },
                       e.where, bytes, err);
  return r != 0 ? r : walk_table (c, index, e.where, buf, err);
}

/* The copy of a table has its own place.  (KDMV alone has copies, and as many
 * directory entries as the disk needs.)
 */
static int
walk_copy (struct vd_checker *c, uint64_t index, uint64_t raw, uint64_t copy,
           struct vd_err *err)
{
  const uint64_t bytes
    = (uint64_t) c->walk->tables (c->image)->gt_entries * c->walk->width;
  const uint64_t where = copy * VD_SECTOR;
  const struct vd_area *a;
  int r;

  if (is_first (c) && c->copy) {
    r = c->copy (c, index, raw, copy, err);
    if (r != 0)
      return r;
  }
  if (copy == 0 || copy == raw || where > c->image->file->size ||
      bytes > c->image->file->size - where)
    return 0;
  a = find_area (c, where, where + bytes);
  if (a && is_first (c)) {
    r = vd_check_add (c, VD_CHECK_COPY_OVERLAP, c->rgd_offset + index * 4, 0,
                      0, err, "redundant grain table %" PRIu64 " at sector %"
                      PRIu64 " lies in the %s", index, copy, a->what);
    if (r != 0)
      return r;
  }
  return vd_owners_claim (c, (struct vd_owner) { VD_OWNER_COPY, index },
                          where, bytes, err);
}

/* buf: DIR_BUFFER for the directory, as much for its copy, and a table. */
static int
walk_directory (struct vd_checker *c, uint8_t *buf, struct vd_err *err)
{
  const struct vd_tables *t = c->walk->tables (c->image);
  const unsigned width = c->walk->width;
  uint8_t *copy = buf + DIR_BUFFER, *table = copy + DIR_BUFFER;
  uint64_t first, raw, second;
  struct vd_err why;
  size_t i, n;
  bool has_copy;
  int r;

  for (first = 0; first < c->dir_entries; first += n) {
    n = (size_t) vd_min (c->dir_entries - first, DIR_BUFFER / width);
    if (vd_file_pread (c->image->file, buf, n * width,
                       t->gd_offset + first * width, &why) == -1) {
      r = read_failed (c, t->gd_offset + first * width, first * t->coverage,
                       n * t->coverage, &why, err);
      if (r != 0)
        return r;
      continue;
    }
    has_copy = c->rgd_offset != 0 &&
      vd_file_pread (c->image->file, copy, n * width,
                     c->rgd_offset + first * width, &why) == 0;
    if (c->rgd_offset != 0 && !has_copy &&
        (r = read_failed (c, c->rgd_offset, 0, 0, &why, err)) != 0)
      return r;

    for (i = 0; i < n; ++i) {
      raw = vd_raw_entry (buf, i, width);
      second = has_copy ? vd_raw_entry (copy, i, width) : 0;
      if (raw != 0) {
        r = walk_directory_entry (c, first + i, raw,
                                  t->gd_offset + (first + i) * width, table,
                                  err);
        if (r != 0)
          return r;
      }
      if (raw != second && has_copy &&
          (r = walk_copy (c, first + i, raw, second, err)) != 0)
        return r;
    }
  }
  return 0;
}

int
vd_check_walk (struct vd_checker *c, struct vd_err *err)
{
  const struct vd_tables *t = c->walk->tables (c->image);
  CLEANUP_FREE uint8_t *buf = NULL;
  int r, stop;

  buf = malloc (2 * DIR_BUFFER + (size_t) t->gt_entries * c->walk->width);
  if (!buf)
    return vd_fail_nomem (err);
  if (vd_owners_init (c, err) == -1)
    return -1;

  for (;;) {
    r = walk_directory (c, buf, err);
    if (r != 0)
      break;
    if (c->owners.next == UINT64_MAX)
      break;
    c->pass++;
    if (vd_owners_next (c) == -1)
      return vd_fail_nomem (err);
  }
  if (r == -1)
    return -1;

  /* Who is the other owner?  (O2) */
  stop = r;
  if (c->owners.nr_overlaps > 0) {
    c->owners.resolving = true;
    if (walk_directory (c, buf, err) == -1)
      return -1;
    c->owners.resolving = false;
    if (stop == 0 || !c->report->stopped)
      r = vd_owners_report (c, err);
  }
  return r != 0 ? r : stop;
}
