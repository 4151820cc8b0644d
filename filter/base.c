/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The layer below, read through nbdkit; see base.h.
 *
 * The server asserts that every request lies inside the size it gave; the
 * library checks ranges against file.size before it calls these functions.
 */

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "base.h"

/* The server's limit for one read. */
#define MAX_READ (UINT32_C (64) << 20)

/* Keep counts inside 32 bits, and aligned for layers that care. */
#define MAX_EXTENTS_COUNT (UINT32_C (2) << 30)

static uint64_t
microseconds (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

/* More than this is never read in vain, whatever was measured. */
#define MAX_GAP (UINT64_C (1) << 20)

/* A read of n bytes took so long.  The shortest one tells what a read costs in
 * any case, and is slowly forgotten.  What arrives in that time need not be
 * needed: reading it costs less than one more read.  It is a guess, so it does
 * not matter if two threads make it at once.
 */
static void
measure (struct base *base, uint64_t n, uint64_t took)
{
  const uint64_t known = base->latency;
  const uint64_t latency = known == 0 || took < known ? vd_max (took, 1)
    : known + (took - known) / 64;
  const uint64_t gap = vd_min (latency * n / vd_max (took, 1), MAX_GAP);

  base->latency = (unsigned) vd_min (latency, UINT32_MAX);
  if (n >= 65536)
    base->file.gap = (unsigned) ((base->file.gap * UINT64_C (7) + gap) / 8);
}

static int
next_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  struct base *base = (struct base *) f;
  char *p = buf;

  while (n > 0) {
    const uint64_t start = microseconds ();
    const uint32_t count = n < base->maximum ? (uint32_t) n : base->maximum;
    int errnum = EIO;

    if (base->next->pread (base->next, p, count, offset, 0, &errnum) == -1)
      return vd_fail_errno (err, errnum, "%s: cannot read %" PRIu32
                            " bytes at byte %" PRIu64, f->name, count,
                            offset);
    measure (base, count, microseconds () - start);
    p += count;
    n -= count;
    offset += count;
  }
  return 0;
}

static const struct vd_file_ops next_ops = { .pread = next_pread };

int
base_look (struct base *base, struct vd_err *err)
{
  struct base below = {
    .file = { .name = base->file.name, .size = base->file.size },
    .next = base->next, .maximum = base->maximum,
  };

  if (atomic_load_explicit (&base->is_raw, memory_order_acquire))
    return 0;
  below.file.ops = &next_ops;
  if (vd_check_raw (&below.file, VD_RAW_BASE, base->align, base->opts,
                    err) == -1)
    return err->code == VD_NOT_FORMAT ? -1 : 1;
  atomic_store_explicit (&base->is_raw, true, memory_order_release);
  return 0;
}

static int
base_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  if (base_look ((struct base *) f, err) != 0)
    return -1;
  return next_pread (f, buf, n, offset, err);
}

static int
base_extents (struct vd_file *f, uint64_t offset, uint64_t length,
              vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  const struct base *base = (struct base *) f;
  const uint32_t count
    = length < MAX_EXTENTS_COUNT ? (uint32_t) length : MAX_EXTENTS_COUNT;
  struct nbdkit_extents *list;
  struct nbdkit_extent e;
  int errnum = EIO, r = 0;
  size_t i;

  if (base_look ((struct base *) f, err) != 0)
    return -1;
  if (!base->can_extents)
    return fn (opaque, length, 0, err) == -1 ? -1 : 0;

  /* A list of our own: the client's begins and ends elsewhere. */
  list = nbdkit_extents_new (offset, offset + count);
  if (!list)
    return vd_fail_errno (err, errno, "nbdkit_extents_new");
  if (base->next->extents (base->next, count, offset, 0, list,
                           &errnum) == -1)
    r = vd_fail_errno (err, errnum, "%s: cannot find out what is allocated "
                       "in %" PRIu32 " bytes at byte %" PRIu64, f->name,
                       count, offset);
  for (i = 0; r == 0 && i < nbdkit_extents_count (list); ++i) {
    e = nbdkit_get_extent (list, i);
    r = fn (opaque, e.length,
            (e.type & NBDKIT_EXTENT_HOLE ? VD_HOLE : 0) |
            (e.type & NBDKIT_EXTENT_ZERO ? VD_READS_ZERO : 0), err);
  }
  nbdkit_extents_free (list);
  return r == -1 ? -1 : 0;
}

static const struct vd_file_ops base_ops = {
  .pread = base_pread,
  .extents = base_extents,
};

void
base_init (struct base *base, nbdkit_next *next, uint64_t size,
           bool can_extents, uint32_t align, uint32_t maximum,
           const struct vd_opts *opts)
{
  static char name[] = "the base (the export under the filter)";

  *base = (struct base) {
    .file = { .ops = &base_ops, .name = name, .size = size },
    .next = next,
    .can_extents = can_extents,
    .maximum = maximum < MAX_READ ? maximum : MAX_READ,
    .align = align,
    .opts = opts,
  };
}
