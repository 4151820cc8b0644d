/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Walking over what a chain holds; see batch.h. */

#include "apply/batch.h"
#include "base/bytes.h"

#define MAX_LIST 65536u

/* Batches end on such a boundary where they can, so that compressed grains
 * are not cut in two and inflated twice.
 */
#define CUT_ALIGN (UINT64_C (1) << 20)

void
vd_batch_walk_init (struct vd_batch_walk *walk, const struct vd_chain *chain)
{
  *walk = (struct vd_batch_walk) {
    .chain = chain, .list = VD_RUNS_INIT (MAX_LIST)
  };
}

void
vd_batch_walk_free (struct vd_batch_walk *walk)
{
  vd_runs_free (&walk->list);
}

bool
vd_batch_is_zeros (const struct vd_runs *batch)
{
  return batch->n == 1 && batch->run[0].kind == VD_ZERO;
}

/* The run to go on with, mapping more when the list is used up.  NULL with
 * *r 0 at the end, -1 on error.
 */
static struct vd_run *
peek (struct vd_batch_walk *walk, int *r, struct vd_err *err)
{
  const uint64_t size = walk->chain->size;

  *r = 0;
  for (;;) {
    for (; walk->next < walk->list.n; walk->next++)
      if (walk->list.run[walk->next].kind != VD_BASE)
        return &walk->list.run[walk->next];
    if (walk->mapped == size)
      return NULL;

    walk->list.n = walk->next = 0;
    if (vd_chain_map (walk->chain, walk->mapped, size - walk->mapped,
                      &walk->list, err) == -1) {
      /* The list may be half made: nobody may go on with it. */
      walk->list.n = 0;
      walk->mapped = size;
      *r = -1;
      return NULL;
    }
    walk->mapped = vd_run_end (&walk->list.run[walk->list.n - 1]);
  }
}

/* Take up to length bytes off the start of a run of the list. */
static int
take (struct vd_batch_walk *walk, struct vd_run *run, uint64_t length,
      struct vd_runs *batch, struct vd_err *err)
{
  const int r = vd_runs_add (batch, run->kind, run->offset, length, run->slot,
                             run->where, err);

  if (r != 0)
    return r;
  if (length == run->length)
    walk->next++;
  else {
    run->offset += length;
    run->length -= length;
    if (run->kind == VD_DATA)
      run->where += length;
  }
  return 0;
}

int
vd_batch_walk_next (struct vd_batch_walk *walk, struct vd_runs *batch,
                    struct vd_err *err)
{
  struct vd_run *run;
  uint64_t limit, end;
  int r;

  batch->n = 0;
  run = peek (walk, &r, err);
  if (!run)
    return r;
  if (run->kind == VD_ZERO && run->length >= VD_BATCH_ZEROS)
    return take (walk, run, run->length, batch, err) == -1 ? -1 : 1;

  limit = vd_round_down (run->offset, CUT_ALIGN) + VD_BATCH_SIZE;
  do {
    r = take (walk, run, vd_min (run->length, limit - run->offset), batch,
              err);
    if (r != 0)
      return r == -1 ? -1 : 1;
    end = vd_batch_end (batch);
    run = end < limit ? peek (walk, &r, err) : NULL;
    if (r == -1)
      return -1;
    /* Keep what lies between as a hole, so that runs touch each other. */
    if (run && run->offset < limit && run->offset > end &&
        vd_runs_add (batch, VD_BASE, end, run->offset - end, 0, 0, err) == -1)
      return -1;
  } while (run && run->offset < limit &&
           !(run->kind == VD_ZERO && run->length >= VD_BATCH_ZEROS));

  if (batch->run[batch->n - 1].kind == VD_BASE)
    batch->n--;                 /* it led to a run that begins a new batch */
  return 1;
}
