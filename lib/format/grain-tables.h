/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The walk over a grain directory and its grain tables.
 *
 * COWD, KDMV and SEsparse share one shape: a directory whose entries find
 * tables, and tables whose entries find grains.  They differ in the width of
 * an entry and in what an entry says.  Each format gives two small functions
 * that judge one entry; the walk below is inlined into the format with them,
 * so that judging costs no call.
 *
 * Invariants:
 * W1. An entry of 0 means "not here" (VD_BASE) in all three, for tables and
 *     for grains.
 * W2. Table reads touch only what the range needs, in pieces of at most
 *     TABLE_BUFFER bytes; tables that are neighbours in the file are read
 *     together.
 * W3. Nothing is kept: a walk is a pure function of the file (map-cache.h caches
 *     its results).
 * W4. Where a format has a second directory and tables (KDMV), these are read
 *     and compared here, with the first, when a range is mapped: not when the
 *     file is opened, not again when it is read.  That doubles the reads of
 *     tables, of which there are two or three a region.  Grains for which the
 *     two say different things that can both be are VD_DAMAGED.  A second
 *     table that cannot be read, or makes no sense, is none.
 */

#ifndef VD_GRAIN_TABLES_H
#define VD_GRAIN_TABLES_H

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "format/image.h"

struct vd_tables {
  uint64_t gd_offset;           /* bytes */
  uint64_t copy_offset;         /* of the second directory, where there is one
                                   to be compared (W4) */
  uint32_t gt_entries;
  uint64_t grain_size;          /* bytes, a power of two */
  uint64_t coverage;            /* gt_entries * grain_size */
};

struct vd_entry {
  enum vd_kind kind;            /* of a directory entry: VD_DATA = a table */
  uint64_t where;               /* byte offset in the file */
};

/* Judge the raw value of entry number `index`, which is not 0.  With err not
 * NULL a VD_DAMAGED entry is also explained there.
 */
typedef struct vd_entry (*vd_judge_fn) (const struct vd_image *image,
                                        uint64_t index, uint64_t raw,
                                        struct vd_err *err);

/* Not the same, and both can be: is it unknown which of two entries is right? */
typedef bool (*vd_doubt_fn) (const struct vd_image *image, uint64_t index,
                             uint64_t first, uint64_t copy);

/* What a format gives to those who walk its tables themselves (check). */
struct vd_walk {
  unsigned width;               /* of an entry, bytes */
  const struct vd_tables *(*tables) (const struct vd_image *image);
  vd_judge_fn gde, gte;
};

extern const struct vd_walk vd_walk_cowd;
extern const struct vd_walk vd_walk_kdmv;
extern const struct vd_walk vd_walk_sesparse;

#define VD_TABLE_BUFFER 65536u
#define VD_GD_CHUNK 512u        /* directory entries looked at together */

#define VD_INLINE static inline __attribute__ ((__always_inline__))

VD_INLINE uint64_t
vd_raw_entry (const uint8_t *buf, size_t i, unsigned width)
{
  return width == 4 ? vd_le32 (buf + i * 4) : vd_le64 (buf + i * 8);
}

/* Emit [offset, offset+length) of a grain whose first needed byte is at
 * `where`; what lies past the end of the file is damaged, and so is a sector
 * that is cut there, whichever part of it is asked for.
 */
VD_INLINE int
vd_emit_data (const struct vd_image *image, const struct vd_out *out,
              uint64_t offset, uint64_t length, uint64_t where,
              struct vd_err *err)
{
  const uint64_t size = image->file->size;
  uint64_t end, have;
  int r;

  if (where <= size && length + VD_SECTOR <= size - where)
    return vd_emit (out, VD_DATA, offset, length, where, err);

  have = where < size ? size - where : 0;
  end = vd_div_up (offset + length, VD_SECTOR) * VD_SECTOR;
  end = vd_min (end, image->capacity);
  if (end - offset <= have)
    return vd_emit (out, VD_DATA, offset, length, where, err);

  end = vd_round_down (offset + have, VD_SECTOR);
  have = end > offset ? end - offset : 0;
  if (have > 0) {
    r = vd_emit (out, VD_DATA, offset, have, where, err);
    if (r != 0)
      return r;
  }
  return vd_emit (out, VD_DAMAGED, offset + have, length - have, 0, err);
}

/* The number of zero entries from buf[i] on, of n.  Tables of deep chains are
 * nearly empty: 64 bytes at a time.
 */
VD_INLINE size_t
vd_skip_zeros (const uint8_t *buf, size_t i, size_t n, unsigned width)
{
  const size_t start = i, step = 64 / width;

  while (n - i >= step) {
    uint64_t w[8];

    memcpy (w, buf + i * width, sizeof w);
    if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0)
      break;
    i += step;
  }
  while (i < n && vd_raw_entry (buf, i, width) == 0)
    ++i;
  return i - start;
}

/* Emit n entries from buf; the first is that of grain number `grain`. */
VD_INLINE int
vd_emit_entries (const struct vd_image *image, const struct vd_tables *t,
                 const uint8_t *buf, size_t n, unsigned width, uint64_t grain,
                 uint64_t offset, uint64_t end, const struct vd_out *out,
                 vd_judge_fn gte, struct vd_err *err)
{
  size_t i = 0, j;
  int r;

  while (i < n) {
    const uint64_t raw = vd_raw_entry (buf, i, width);
    const uint64_t start = (grain + i) * t->grain_size;
    const uint64_t from = vd_max (start, offset);
    struct vd_entry e;
    uint64_t to;

    if (raw == 0) {             /* W1 */
      j = i + vd_skip_zeros (buf, i, n, width);
      to = vd_min ((grain + j) * t->grain_size, end);
      r = vd_emit (out, VD_BASE, from, to - from, 0, err);
      i = j;
    }
    else {
      e = gte (image, grain + i, raw, NULL);
      to = vd_min (start + t->grain_size, end);
      if (e.kind == VD_DATA)
        r = vd_emit_data (image, out, from, to - from,
                          e.where + (from - start), err);
      else
        r = vd_emit (out, e.kind, from, to - from, e.where, err);
      ++i;
    }
    if (r != 0)
      return r;
  }
  return 0;
}

/* The same where there are two tables (W4); copy: the entries of the second,
 * or NULL.
 */
VD_INLINE int
vd_emit_compared (const struct vd_image *image, const struct vd_tables *t,
                  const uint8_t *buf, const uint8_t *copy, size_t n,
                  unsigned width, uint64_t grain, uint64_t offset,
                  uint64_t end, const struct vd_out *out, vd_judge_fn gte,
                  vd_doubt_fn doubt, struct vd_err *err)
{
  size_t i = 0, j;
  int r;

  if (!doubt || !copy || memcmp (buf, copy, n * width) == 0)
    return vd_emit_entries (image, t, buf, n, width, grain, offset, end, out,
                            gte, err);
  while (i < n) {
    const uint64_t start = (grain + i) * t->grain_size;
    const uint64_t from = vd_max (start, offset);

    for (j = i; j < n; ++j)
      if (doubt (image, grain + j, vd_raw_entry (buf, j, width),
                 vd_raw_entry (copy, j, width)))
        break;
    if (j > i)
      r = vd_emit_entries (image, t, buf + i * width, j - i, width, grain + i,
                           offset, end, out, gte, err);
    else {
      r = vd_emit (out, VD_DAMAGED, from,
                   vd_min (start + t->grain_size, end) - from, 0, err);
      ++j;
    }
    if (r != 0)
      return r;
    i = j;
  }
  return 0;
}

/* What the two directories say of a table. */
struct vd_found {
  struct vd_entry first;
  struct vd_entry copy;         /* VD_DATA: to be compared; else VD_BASE */
};

VD_INLINE struct vd_found
vd_find_table (const struct vd_image *image, uint64_t index, uint64_t raw,
               uint64_t raw_copy, vd_judge_fn gde)
{
  const struct vd_entry none = { .kind = VD_BASE, .where = 0 };
  struct vd_found f = { .first = none, .copy = none };

  if (raw != 0)
    f.first = gde (image, index, raw, NULL);
  if (raw_copy != 0 && raw_copy != raw && f.first.kind != VD_DAMAGED) {
    f.copy = gde (image, index, raw_copy, NULL);
    if (f.copy.kind != VD_DATA)
      f.copy = none;
  }
  return f;
}

/* Is what b found behind what a found, by so many bytes of tables? */
VD_INLINE bool
vd_found_follows (const struct vd_found *a, const struct vd_found *b,
                  uint64_t bytes)
{
  if (b->first.kind != a->first.kind || b->copy.kind != a->copy.kind)
    return false;
  if (a->first.kind == VD_DATA && b->first.where != a->first.where + bytes)
    return false;
  return a->copy.kind != VD_DATA || b->copy.where == a->copy.where + bytes;
}

/* Emit the grains [grain, last), whose entries follow each other in the file,
 * of tables that were found.  buf: VD_TABLE_BUFFER, twice if there are two.
 */
VD_INLINE int
vd_tables_emit (const struct vd_image *image, const struct vd_tables *t,
                unsigned width, const struct vd_found *f, uint64_t grain,
                uint64_t last, uint64_t offset, uint64_t end,
                const struct vd_out *out, vd_judge_fn gte, vd_doubt_fn doubt,
                uint8_t *buf, struct vd_err *err)
{
  uint64_t at = (grain % t->gt_entries) * width;
  uint8_t *copy;
  size_t n;
  int r;

  /* One table may be larger than the buffer. */
  for (; grain < last; grain += n, at += n * width) {
    n = (size_t) vd_min (last - grain, VD_TABLE_BUFFER / width);
    if (vd_runs_enough (out->runs, n * width))
      return 1;
    if (f->first.kind != VD_DATA)
      memset (buf, 0, n * width);       /* W1 */
    else if (vd_file_pread (image->file, buf, n * width, f->first.where + at,
                            err) == -1)
      return -1;
    copy = NULL;
    if (doubt && f->copy.kind == VD_DATA) {
      struct vd_err ignored;

      copy = buf + VD_TABLE_BUFFER;
      out->runs->work += 1 + n * width / 1024;
      if (vd_file_pread (image->file, copy, n * width, f->copy.where + at,
                         &ignored) == -1)
        copy = NULL;
    }
    r = vd_emit_compared (image, t, buf, copy, n, width, grain, offset, end,
                          out, gte, doubt, err);
    if (r != 0)
      return r;
    offset = vd_min ((grain + n) * t->grain_size, end);
  }
  return 0;
}

/* A part of the directory, and of its copy if there is one: n entries from
 * number first on; gd has room for twice as many.
 */
VD_INLINE int
vd_read_directories (const struct vd_image *image, const struct vd_tables *t,
                     unsigned width, uint64_t first, size_t n, uint8_t *gd,
                     bool two, struct vd_err *err)
{
  struct vd_err ignored;

  if (vd_file_pread (image->file, gd, n * width,
                     t->gd_offset + first * width, err) == -1)
    return -1;
  if (two && vd_file_pread (image->file, gd + n * width, n * width,
                            t->copy_offset + first * width, &ignored) == -1)
    memset (gd + n * width, 0, n * width);
  return 0;
}

/* doubt: NULL, or there is a second directory (W4). */
VD_INLINE int
vd_tables_map (const struct vd_image *image, const struct vd_tables *t,
               unsigned width, uint64_t offset, uint64_t length,
               const struct vd_out *out, vd_judge_fn gde, vd_judge_fn gte,
               vd_doubt_fn doubt, struct vd_err *err)
{
  const uint64_t end = offset + length;
  const uint64_t gt_bytes = (uint64_t) t->gt_entries * width;
  uint8_t gd[VD_GD_CHUNK * 8];  /* two of width 4, or one of 8 */
  CLEANUP_FREE uint8_t *buf = NULL;
  int r;

  while (offset < end) {
    const uint64_t first = offset / t->coverage;
    const uint64_t left = vd_div_up (end, t->coverage) - first;
    const size_t n = (size_t) vd_min (left, VD_GD_CHUNK);
    size_t i = 0, j;

    if (vd_runs_enough (out->runs, n * width))
      return 0;
    if (doubt)
      out->runs->work += 1 + n * width / 1024;
    if (vd_read_directories (image, t, width, first, n, gd, doubt != NULL,
                             err) == -1)
      return -1;

    while (i < n) {
      const struct vd_found f
        = vd_find_table (image, first + i, vd_raw_entry (gd, i, width),
                         doubt ? vd_raw_entry (gd, n + i, width) : 0, gde);
      const bool tables = f.first.kind == VD_DATA || f.copy.kind == VD_DATA;
      const uint64_t grain = offset / t->grain_size;
      uint64_t to = vd_min ((first + i + 1) * t->coverage, end);

      /* This table, or none, and those that follow it on the disk and in the
       * file (W2).
       */
      for (j = i + 1; j < n && to < end; ++j) {
        const struct vd_found next
          = vd_find_table (image, first + j, vd_raw_entry (gd, j, width),
                           doubt ? vd_raw_entry (gd, n + j, width) : 0, gde);
        const uint64_t next_to = vd_min ((first + j + 1) * t->coverage, end);

        if (!vd_found_follows (&f, &next, (j - i) * gt_bytes) ||
            (tables && (vd_div_up (next_to, t->grain_size) - grain) * width
             > VD_TABLE_BUFFER))
          break;
        to = next_to;
      }

      if (!tables)
        r = vd_emit (out, f.first.kind, offset, to - offset, 0, err);
      else {
        if (!buf && !(buf = malloc (VD_TABLE_BUFFER * (doubt ? 2 : 1))))
          return vd_fail_nomem (err);
        r = vd_tables_emit (image, t, width, &f, grain,
                            vd_div_up (to, t->grain_size), offset, to, out,
                            gte, doubt, buf, err);
      }
      if (r != 0)
        return r == 1 ? 0 : -1;
      offset = to;
      i = j;
    }
  }
  return 0;
}

/* Why is the byte at offset damaged?  Always -1. */
VD_INLINE int
vd_tables_explain (const struct vd_image *image, const struct vd_tables *t,
                   unsigned width, uint64_t offset, vd_judge_fn gde,
                   vd_judge_fn gte, struct vd_err *err)
{
  const uint64_t table = offset / t->coverage;
  const uint64_t grain = offset / t->grain_size;
  uint8_t raw[8];
  struct vd_entry e;

  if (vd_file_pread (image->file, raw, width, t->gd_offset + table * width,
                     err) == -1)
    return -1;
  e = gde (image, table, vd_raw_entry (raw, 0, width), err);
  if (e.kind != VD_DATA)
    return -1;

  if (vd_file_pread (image->file, raw, width,
                     e.where + (grain % t->gt_entries) * width, err) == -1)
    return -1;
  e = gte (image, grain, vd_raw_entry (raw, 0, width), err);
  if (e.kind == VD_DAMAGED)
    return -1;

  return vd_fail (err, VD_TRUNCATED,
                  "%s: grain %" PRIu64 " (disk byte %" PRIu64 ") is at sector "
                  "%" PRIu64 ", but the file ends at sector %" PRIu64
                  ": it is truncated", image->file->name, grain,
                  grain * t->grain_size, e.where / VD_SECTOR,
                  image->file->size / VD_SECTOR);
}

#endif /* VD_GRAIN_TABLES_H */
