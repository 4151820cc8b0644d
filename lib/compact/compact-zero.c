/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Where a file has zeros.
 *
 * Holes are not read.  What is read is read in the order of the file: small
 * units that are neighbours together, large ones in pieces, and no further
 * than to the first byte that is not zero.
 */

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "compact/compact-parts.h"

int
vd_zero_scan_next (struct vd_zero_scan *z, uint64_t offset, uint64_t end,
                   uint64_t *next, bool *hole, struct vd_err *err)
{
  unsigned type;

  if (vd_file_stretch (z->file, &z->known, offset, end, next, &type,
                       err) == -1)
    return -1;
  *hole = type & VD_READS_ZERO;
  return 0;
}

static int
compare_units (const void *a, const void *b)
{
  const struct vd_unit *x = a, *y = b;

  return x->where < y->where ? -1 : x->where > y->where;
}

/* Bytes of a unit that are in the file. */
static uint64_t
have (const struct vd_zero_scan *z, const struct vd_unit *u)
{
  return u->where >= z->file->size ? 0
    : vd_min (u->length, z->file->size - u->where);
}

/* One unit, in pieces, as far as it is zeros. */
static int
look_at_one (struct vd_zero_scan *z, struct vd_unit *u, struct vd_err *err)
{
  /* Data is seen in the first piece most times, so that is a small one. */
  size_t step = 65536;
  uint64_t offset = u->where, next;
  const uint64_t end = offset + have (z, u);
  bool hole;

  u->zero = u->hole = true;
  while (offset < end) {
    if (vd_zero_scan_next (z, offset, end, &next, &hole, err) == -1)
      return -1;
    if (!hole) {
      next = vd_min (next, offset + step);
      u->hole = false;
      if (vd_file_pread (z->file, z->buf, (size_t) (next - offset), offset,
                         err) == -1)
        return -1;
      if (!vd_is_zero (z->buf, (size_t) (next - offset))) {
        u->zero = false;
        return 0;
      }
      step = VD_ZERO_BUFFER / 4;
    }
    offset = next;
  }
  return 0;
}

/* Units that fill the file from the first to the last, in one read. */
static int
look_at_run (struct vd_zero_scan *z, struct vd_unit *units, size_t n,
             struct vd_err *err)
{
  const uint64_t start = units[0].where;
  const struct vd_unit *last = &units[n - 1];
  const uint64_t end = last->where + have (z, last);
  uint64_t next;
  bool hole;
  size_t i;

  if (n == 1 || end <= start)
    return look_at_one (z, units, err);
  if (vd_zero_scan_next (z, start, end, &next, &hole, err) == -1)
    return -1;
  if (next < end) {             /* data and holes */
    for (i = 0; i < n; ++i)
      if (look_at_one (z, &units[i], err) == -1)
        return -1;
    return 0;
  }
  if (!hole && vd_file_pread (z->file, z->buf, (size_t) (end - start), start,
                              err) == -1)
    return -1;
  for (i = 0; i < n; ++i) {
    units[i].hole = hole;
    units[i].zero = hole ||
      vd_is_zero (z->buf + (units[i].where - start),
                  (size_t) have (z, &units[i]));
  }
  return 0;
}

int
vd_zero_units (struct vd_zero_scan *z, struct vd_unit *units, size_t n,
               struct vd_err *err)
{
  size_t i, j;

  qsort (units, n, sizeof *units, compare_units);
  for (i = 0; i < n; i = j) {
    uint64_t end = units[i].where + have (z, &units[i]);

    for (j = i + 1; j < n && units[j].where == end &&
           end + have (z, &units[j]) - units[i].where <= VD_ZERO_BUFFER; ++j)
      end += have (z, &units[j]);
    if (look_at_run (z, &units[i], j - i, err) == -1)
      return -1;
  }
  return 0;
}
