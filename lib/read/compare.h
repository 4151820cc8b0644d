/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Are two disks equal, and if not, from where on?
 *
 * What reads as zeros in both, as they say themselves, is not read.  Several
 * threads work at a time, each on a piece of its own; pieces are handed out from
 * the start on, so that the first difference is found although the pieces before
 * it may be complete later.
 */

#ifndef VD_COMPARE_H
#define VD_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "file/file.h"

#define VD_COMPARE_MAX_THREADS 64u

struct vd_compare_opts {
  unsigned threads;             /* 1 to VD_COMPARE_MAX_THREADS */
  int (*progress) (void *opaque, uint64_t done); /* or NULL; one thread at a
                                   time; if it does not return 0, the work
                                   stops and fails with VD_USAGE */
  void *opaque;
};

struct vd_comparison {
  bool equal;
  uint64_t offset;              /* of the first byte that differs */
  uint8_t a, b;                 /* what it is */
  uint64_t read;                /* bytes that were read of each */
};

/* Compare the first `size` bytes, which both must have. */
extern int vd_compare (struct vd_file *a, struct vd_file *b, uint64_t size,
                       const struct vd_compare_opts *opts,
                       struct vd_comparison *result, struct vd_err *err);

#endif /* VD_COMPARE_H */
