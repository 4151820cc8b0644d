/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a chain holds, in order, in pieces that can be worked on one by one.
 *
 * The disk is walked once, from its start to its end.  What no layer holds
 * (VD_BASE) is left out.  A batch is either
 *
 *   - one stretch of zeros, of any length from VD_BATCH_ZEROS on, or
 *   - runs that lie within VD_BATCH_SIZE bytes of the disk, with holes and
 *     small stretches of zeros between them.
 *
 * Memory: one list of at most 64 Ki runs, however large the disk is.
 *
 * Threads: a walk belongs to one thread or is locked by its owner; batches
 * belong to whoever got them.
 */

#ifndef VD_BATCH_H
#define VD_BATCH_H

#include "chain/chain.h"

#define VD_BATCH_SIZE (UINT64_C (4) << 20)
#define VD_BATCH_ZEROS (UINT64_C (64) << 10)

struct vd_batch_walk {
  const struct vd_chain *chain;
  struct vd_runs list;          /* mapped, from run `next` on not yet used */
  size_t next;
  uint64_t mapped;              /* end of the list on the disk */
};

extern void vd_batch_walk_init (struct vd_batch_walk *walk,
                                const struct vd_chain *chain);
extern void vd_batch_walk_free (struct vd_batch_walk *walk);

/* Replace the content of batch (initialised with VD_BATCH_RUNS) by the next
 * one.  Returns 1, or 0 at the end of the disk, or -1.  After an error that
 * comes from the chain the walk is at its end, for all who share it.
 */
extern int vd_batch_walk_next (struct vd_batch_walk *walk,
                               struct vd_runs *batch, struct vd_err *err);

/* A batch has at most one run for each sector, and a cut one at each end. */
#define VD_BATCH_RUNS VD_RUNS_INIT (VD_BATCH_SIZE / 512 + 2)

/* Is it one stretch of zeros? */
extern bool vd_batch_is_zeros (const struct vd_runs *batch);

static inline uint64_t
vd_batch_start (const struct vd_runs *batch)
{
  return batch->run[0].offset;
}

static inline uint64_t
vd_batch_end (const struct vd_runs *batch)
{
  return vd_run_end (&batch->run[batch->n - 1]);
}

#endif /* VD_BATCH_H */
