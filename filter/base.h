/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The layer below the filter, as a file of the library. */

#ifndef VMDKDELTA_BASE_H
#define VMDKDELTA_BASE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <nbdkit-filter.h>

#include "vmdkdelta.h"

/* One connection's view of the base.  The file comes first. */
struct base {
  struct vd_file file;
  nbdkit_next *next;
  bool can_extents;
  uint32_t maximum;             /* of one read */
  uint32_t align;               /* of reads, a power of two */
  const struct vd_opts *opts;
  atomic_bool is_raw;           /* it was looked at */
  atomic_uint latency;          /* of a read, microseconds, as it seems */
};

/* Ready for use; size is what next->get_size said, and reads have at most
 * `maximum` bytes: what a client asks for fits into that, but the reads of a
 * request to cache, and ours for whole grains, need not.  Every next->can_*
 * that a later call needs has been called.  opts is borrowed.
 */
extern void base_init (struct base *base, nbdkit_next *next, uint64_t size,
                       bool can_extents, uint32_t align, uint32_t maximum,
                       const struct vd_opts *opts);

/* Look at the first and last sectors of the base, unless is_raw is set, and
 * fail if it is an image of another format or an archive: none of its bytes
 * would be those of the disk.
 *
 * 1: they cannot be read (err is filled).  Then nothing is known yet, and
 * nothing of the base is given out: each read looks first.
 */
extern int base_look (struct base *base, struct vd_err *err);

#endif /* VMDKDELTA_BASE_H */
