/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the disk showed before anything was written to its newest link.
 *
 * The older links are a chain of their own, with a map of its own, which
 * nothing that is written changes: so filling a new grain up costs the same at
 * any depth, and after any number of writes.
 */

#include <string.h>

#include "write/disk-private.h"

/* Underneath a chain of one link there is the base, or nothing. */
static int
read_base (const struct vd_base *base, void *buf, uint64_t n, uint64_t offset,
           struct vd_err *err)
{
  const uint64_t size = base->file ? base->file->size : 0;
  const uint64_t have = offset < size ? vd_min (n, size - offset) : 0;

  if (have > 0 &&
      vd_file_pread (base->file, buf, (size_t) have, offset, err) == -1)
    return -1;
  memset ((uint8_t *) buf + have, 0, (size_t) (n - have));
  return 0;
}

int
disk_below_read (struct vd_disk *disk, const struct vd_base *base, void *buf,
                 uint64_t n, uint64_t offset, struct vd_err *err)
{
  uint64_t size, have;

  if (n == 0)
    return 0;
  if (disk->nothing_below) {
    memset (buf, 0, (size_t) n);
    return 0;
  }
  if (!disk->below)
    return read_base (base, buf, n, offset, err);
  size = disk->below_chain->size;
  have = offset < size ? vd_min (n, size - offset) : 0;
  if (have > 0 && vd_read (disk->below, base, buf, (size_t) have, offset,
                           err) == -1)
    return -1;
  memset ((uint8_t *) buf + have, 0, (size_t) (n - have));
  return 0;
}

struct answer {
  uint64_t n;
  bool first, zero;
};

static int
hear (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct answer *a = opaque;
  const bool zero = (type & VD_READS_ZERO) != 0;

  (void) err;
  if (!a->first && zero != a->zero)
    return 1;
  a->first = false;
  a->zero = zero;
  a->n += length;
  return 0;
}

int
disk_below_zero (struct vd_disk *disk, const struct vd_base *base,
                 uint64_t offset, uint64_t *n, struct vd_err *err)
{
  const struct vd_file *file = base->file;
  const uint64_t size = disk->below ? disk->below_chain->size
    : disk->nothing_below || !file ? 0 : file->size;
  struct answer a = { .first = true };
  uint64_t have;
  int r;

  if (offset >= size)
    return 1;
  have = vd_min (*n, size - offset);
  if (disk->below)
    r = vd_status (disk->below, base, offset, have, false, hear, &a, err);
  else
    r = vd_file_extents (base->file, offset, have, hear, &a, err);
  if (r == -1)
    return -1;
  if (a.n < have || !a.zero)    /* behind the end there are zeros */
    *n = a.n;
  return a.zero;
}
