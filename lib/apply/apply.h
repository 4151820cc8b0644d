/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Applying deltas to a base in place.
 *
 * Only what the chain holds is read and written: data as it is, zeros by
 * punching or zeroing, nothing where the base shows through.  Several threads
 * work at a time, so that reading and writing overlap; each writes large
 * sorted runs.
 *
 * What is written depends on the deltas alone, never on what the target holds.
 * So a run that was cut off anywhere can be repeated, and ends in the same
 * bytes; until then the target holds a mixture of old and new.
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

/* Called now and then, from one thread at a time, with the bytes done of
 * data_bytes + zero_bytes.  Not 0 stops the work, which then fails with
 * VD_USAGE.
 */
typedef int (*vd_progress_fn) (void *opaque, uint64_t done);

struct vd_apply_opts {
  unsigned threads;             /* 0: VD_APPLY_THREADS */
  bool exact_zeros;             /* zero each run of zeros by vd_file_zero,
                                   also small ones between data */
  vd_progress_fn progress;      /* or NULL */
  void *opaque;
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

/* How much of data that would be written lies where target has holes: space
 * that will be newly taken.  The file system gives it in blocks of so many
 * bytes.
 */
extern int vd_apply_new_space (const struct vd_chain *chain,
                               struct vd_file *target, uint64_t block,
                               uint64_t *bytes, struct vd_err *err);

#endif /* VD_APPLY_H */
