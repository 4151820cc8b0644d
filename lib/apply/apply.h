/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Applying deltas to a base in place.
 *
 * Only what the chain holds is read and written: data is copied, zeros are
 * punched or zeroed, and nothing is done where the base shows through.
 * Several threads work at a time, so that reading and writing overlap; each
 * writes large sorted runs.
 *
 * What is written depends only on the deltas, and never on the content of the
 * target.  So a run that was interrupted anywhere can be repeated, with the
 * same result.  Until then the target is a mixture of old and new.
 *
 * Nothing is checked here.  Before the first write the caller validates the
 * deltas (check.h), compares sizes, and makes sure that nobody else uses the
 * target.
 */

#ifndef VD_APPLY_H
#define VD_APPLY_H

#include "chain/chain.h"
#include "read/reader.h"

struct vd_apply_plan {
  uint64_t data_bytes;          /* to be written */
  uint64_t zero_bytes;          /* to be zeroed */
  uint64_t data_runs;           /* stretches on the disk of each */
  uint64_t zero_runs;
};

/* Walk the whole map once and count.  Does I/O on tables.  Fails where the map
 * is damaged.
 */
extern int vd_apply_plan (const struct vd_chain *chain,
                          struct vd_apply_plan *plan, struct vd_err *err);

/* The same of what lies behind start. */
extern int vd_apply_plan_from (const struct vd_chain *chain, uint64_t start,
                               struct vd_apply_plan *plan, struct vd_err *err);

/* Called regularly, from one thread at a time, with the bytes done of
 * data_bytes + zero_bytes.  If it does not return 0 the work stops, and fails
 * with VD_USAGE.
 */
typedef int (*vd_progress_fn) (void *opaque, uint64_t done);

/* Called now and then, from one thread at a time: whatever is to be written
 * before this offset is on stable storage.  An error ends the work.
 */
typedef int (*vd_reached_fn) (void *opaque, uint64_t offset,
                              struct vd_err *err);

struct vd_apply_opts {
  unsigned threads;             /* 0: VD_APPLY_THREADS */
  bool exact_zeros;             /* zero each run of zeros by vd_file_zero,
                                   also small ones between data */
  bool only_differences;        /* read the target first, and write only what
                                   is not so already */
  bool sparse;                  /* of a chain with a base: what is zeros is not
                                   written, but zeroed, or left if it is a hole */
  uint64_t start;               /* what lies before is not touched */
  vd_progress_fn progress;      /* or NULL */
  void *opaque;
  vd_reached_fn reached;        /* or NULL */
  void *reached_opaque;
  uint64_t reached_each;        /* after so many bytes of work; 0: as fits the
                                   disk */
  uint64_t *written;            /* or NULL: set to the bytes written or zeroed,
                                   also after an error */
};

#define VD_APPLY_THREADS 4u
#define VD_APPLY_MAX_THREADS 64u

/* Write the chain that reader reads to target, which must not be smaller,
 * and flush it.  After an error the target is in the state between.
 */
extern int vd_apply (struct vd_reader *reader, struct vd_file *target,
                     const struct vd_apply_opts *opts, struct vd_err *err);

/* Read target and compare it with what the chain holds.  VD_MISMATCH names
 * the first difference found.
 */
extern int vd_apply_verify (struct vd_reader *reader, struct vd_file *target,
                            const struct vd_apply_opts *opts,
                            struct vd_err *err);

/* How much data would be written where target has holes, so that the target
 * grows.  The file system allocates in blocks of `block` bytes.
 */
extern int vd_apply_new_space (const struct vd_chain *chain,
                               struct vd_file *target, uint64_t block,
                               uint64_t *bytes, struct vd_err *err);

#endif /* VD_APPLY_H */
