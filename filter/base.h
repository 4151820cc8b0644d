/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The layer below the filter, as a file of the library. */

#ifndef VMDKDELTA_BASE_H
#define VMDKDELTA_BASE_H

#include <stdbool.h>

#include <nbdkit-filter.h>

#include "vmdkdelta.h"

/* One connection's view of the base.  The file comes first. */
struct base {
  struct vd_file file;
  nbdkit_next *next;
  bool can_extents;
  uint32_t maximum;             /* of one read */
};

/* Ready for use; size is what next->get_size said, and reads have at most
 * `maximum` bytes: what a client asks for fits into that, but the reads of a
 * request to cache, and ours for whole grains, need not.  Every next->can_* that a
 * later call needs has been called.
 */
extern void base_init (struct base *base, nbdkit_next *next, uint64_t size,
                       bool can_extents, uint32_t maximum);

#endif /* VMDKDELTA_BASE_H */
