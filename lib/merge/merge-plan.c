/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Looking at everything before a merge; see merge.h. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apply/batch.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "check/check.h"
#include "file/room.h"
#include "merge/merge-private.h"
#include "write/write.h"

/* Which links, by skip and count. */
static int
choose (const struct vd_merge *m, struct vd_merge_disk *d,
        struct vd_err *err)
{
  const size_t n = d->chain->nr_links;
  const struct vd_merge_opts *how = &m->how;
  size_t left;

  if (d->left_alone)
    return 0;
  d->discard = how->discard_current && !(m->box && n == 1);
  if (d->discard && n == 1)
    return vd_fail (err, VD_USAGE, "%s has no parent: dropping it would leave "
                    "nothing", d->name);
  d->first = (size_t) how->skip + d->discard;
  left = d->first < n - 1 ? n - 1 - d->first : 0;
  d->nr = how->count ? (size_t) vd_min (how->count, left) : left;
  if (d->nr == 0 && !d->discard && !how->snapshot && !m->box)
    return vd_fail (err, VD_NOTHING, "%s: nothing to merge: the chain has %zu "
                    "link%s%s%s", d->name, n, n == 1 ? ", a base" : "s",
                    how->skip ? ", and newest ones are to stay" : "",
                    d->discard ? ", and one is dropped" : "");
  /* Above a branch; what was asked for can be had when that has gone. */
  if (d->nr > 1 && vd_merge_find_branch (m, d, err) == -1)
    return -1;
  if (d->branch > 0)
    d->nr = d->branch - 1 - d->first;
  if (d->nr == 0)
    return 0;
  d->target = d->chain->links[d->first + d->nr];
  if (d->first > d->discard)
    d->child = d->chain->links[d->first - 1];
  return 0;
}

/* All of the chain is sound and belongs together. */
static int
validate (const struct vd_merge *m, const struct vd_merge_disk *d,
          struct vd_err *err)
{
  const struct vd_check_opts opts = {
    .inflate = true, .stop_at_first_error = true, .errors_only = true,
    .allow_dirty = m->opts.allow_dirty, .ignore_cid = m->opts.ignore_cid,
    .for_writing = true,
  };

  return vd_check_sound (d->chain, &opts, err);
}

/* Does somebody else use one of the files? */
static int
check_uses (const struct vd_merge_disk *d, struct vd_err *err)
{
  const size_t end = d->nr > 0 ? d->first + d->nr + 1 : 1;
  size_t i;

  for (i = 0; i < vd_min (end, d->chain->nr_links); ++i)
    if (vd_link_check_unused (d->chain->links[i], true, err) == -1)
      return -1;
  return d->found_child ? vd_link_check_unused (d->found_child, false, err) : 0;
}

static struct vd_chain *
part_of (const struct vd_chain *c, size_t newest, size_t n,
         struct vd_err *err)
{
  /* Warnings were given for the whole. */
  static const struct vd_opts quiet = { .ignore_cid = true };
  CLEANUP_FREE struct vd_link **links = calloc (n, sizeof *links);
  size_t i;

  if (!links) {
    vd_fail_nomem (err);
    return NULL;
  }
  for (i = 0; i < n; ++i)
    links[i] = c->links[newest + n - 1 - i];
  return vd_chain_new (links, n, &quiet, err);
}

/* What merging link after link, newest to oldest, would write: at each step
 * all that the links so far hold.
 */
static int
count_one_by_one (struct vd_merge_disk *d, struct vd_err *err)
{
  struct vd_apply_plan plan;
  struct vd_chain *c;
  size_t i;
  int r = 0;

  for (i = 1; r == 0 && i <= d->nr; ++i) {
    c = part_of (d->chain, d->first, i, err);
    r = c ? vd_apply_plan (c, &plan, err) : -1;
    vd_chain_free (c);
    if (r == 0)
      d->numbers.one_by_one += plan.data_bytes + plan.zero_bytes;
  }
  return r;
}

/* Go through all writes without doing them. */
static int
walk_dry (const struct vd_merge *m, struct vd_merge_disk *d,
          struct vd_file *target, struct vd_err *err)
{
  const struct vd_apply_opts opts = { .threads = 1, .exact_zeros = true };
  struct vd_runs batch = VD_BATCH_RUNS;
  struct vd_batch_walk walk;
  size_t i;
  int r;

  /* What is zeros is only known when it is read. */
  if (m->how.compact)
    return vd_apply (d->reader, target, &opts, err);
  vd_batch_walk_init (&walk, d->merged);
  while ((r = vd_batch_walk_next (&walk, &batch, err)) == 1) {
    for (i = 0; r == 1 && i < batch.n; ++i) {
      const struct vd_run *run = &batch.run[i];

      if (run->kind == VD_BASE)
        continue;
      if ((run->kind == VD_ZERO
           ? vd_file_zero (target, run->offset, run->length, err)
           : vd_file_pwrite (target, NULL, (size_t) run->length, run->offset,
                             err)) == -1)
        r = -1;
    }
    if (r == -1)
      break;
  }
  vd_batch_walk_free (&walk);
  vd_runs_free (&batch);
  return r;
}

static bool
target_place (const struct vd_merge_disk *d, struct stat *st)
{
  return d->nr > 0 && stat (d->target->pieces[0].image->file->name, st) == 0;
}

/* Disks may share a file system. */
int
vd_merge_check_space (const struct vd_merge *m, struct vd_err *err)
{
  struct stat st, other;
  uint64_t need;
  size_t i, k;

  for (i = 0; i < m->nr_disks; ++i) {
    const struct vd_merge_disk *d = &m->disk[i];

    need = 0;
    if (!target_place (d, &st))
      continue;
    for (k = 0; k < m->nr_disks; ++k)
      if (target_place (&m->disk[k], &other) && other.st_dev == st.st_dev)
        need += m->disk[k].numbers.space;
    if (vd_check_room (vd_file_fd (d->target->pieces[0].image->file),
                       d->target->path, need, "merging", err) == -1)
      return -1;
  }
  return 0;
}

static int
count_target (const struct vd_merge *m, struct vd_merge_disk *d,
              struct vd_err *err)
{
  const struct vd_write_opts opts = {
    .below = d->below_reader, .capacity = d->capacity, .dry = true,
    .skip_zeros = m->how.compact,
  };
  struct vd_file *target = vd_write_open (d->target, &opts, err);
  struct vd_write_stats stats;
  int r;

  if (!target)
    return -1;
  r = walk_dry (m, d, target, err);
  vd_write_stats (target, &stats);
  vd_file_close (target);
  d->numbers.new_blocks = stats.new_blocks;
  d->numbers.growth = stats.growth;
  d->numbers.space = stats.growth + stats.holes;
  return r;
}

static int
check_capacity (struct vd_merge_disk *d, struct vd_err *err)
{
  const uint64_t want = d->chain->links[d->first]->capacity;
  const size_t under = d->first + d->nr + 1;

  if (want < d->target->capacity)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s has %" PRIu64 " bytes, and %s, into which it would be "
                    "merged, %" PRIu64 ": images are not made smaller.  Export "
                    "the merged disk to a new file instead: nbdcopy -- [ "
                    "nbdkit vmdk TOP ] out.raw",
                    d->chain->links[d->first]->path, want, d->target->path,
                    d->target->capacity);
  /* What a larger one below it holds there was hidden until now. */
  if (want > d->target->capacity && under < d->chain->nr_links &&
      d->chain->links[under]->capacity > d->target->capacity)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s has %" PRIu64 " bytes, less than %s above and %s below "
                    "it: made larger, it would show what is hidden now.  "
                    "Merge further down (--count), or export the merged disk "
                    "to a new file: nbdcopy -- [ nbdkit vmdk TOP ] out.raw",
                    d->target->path, d->target->capacity,
                    d->chain->links[d->first]->path,
                    d->chain->links[under]->path);
  d->capacity = want;
  return 0;
}

static int
plan_target (struct vd_merge *m, struct vd_merge_disk *d, struct vd_err *err)
{
  const size_t under = d->first + d->nr + 1;
  struct vd_apply_plan plan;

  if (d->target->role == VD_ROLE_BARE)
    return vd_fail (err, VD_UNSUPPORTED, "%s has no descriptor: cannot merge "
                    "into it", d->target->path);
  if (vd_write_check (d->target, err) == -1 || check_capacity (d, err) == -1)
    return -1;
  d->merged = part_of (d->chain, d->first, d->nr, err);
  if (!d->merged)
    return -1;
  d->reader = vd_reader_new (d->merged, UINT64_C (1) << 20, err);
  if (!d->reader)
    return -1;
  if (under < d->chain->nr_links) {
    d->below = part_of (d->chain, under, d->chain->nr_links - under, err);
    if (!d->below)
      return -1;
    d->below_reader = vd_reader_new (d->below, UINT64_C (1) << 20, err);
    if (!d->below_reader)
      return -1;
  }
  if (vd_apply_plan (d->merged, &plan, err) == -1)
    return -1;
  d->numbers.data_bytes = plan.data_bytes;
  d->numbers.zero_bytes = plan.zero_bytes;
  return count_one_by_one (d, err) == -1 || count_target (m, d, err) == -1
    ? -1 : 0;
}

int
vd_merge_plan_disk (struct vd_merge *m, struct vd_merge_disk *d,
                    struct vd_err *err)
{
  size_t i;

  d->chain = vd_family_chain (m->family, d->top, err);
  if (!d->chain || choose (m, d, err) == -1 ||
      vd_merge_check_marks (m, d, err) == -1)
    return -1;
  if (d->nr == 0 && !d->discard && !m->how.snapshot)
    return 0;
  if (validate (m, d, err) == -1 ||
      vd_merge_check_children (m, d, err) == -1 ||
      check_uses (d, err) == -1)
    return -1;
  for (i = d->first; i <= d->first + d->nr && d->nr > 0; ++i) {
    const struct vd_descriptor *desc = d->chain->links[i]->descriptor;

    d->cbt = d->cbt || (desc && vd_descriptor_get (desc, "changetrackpath"));
  }
  if (d->nr > 0 && plan_target (m, d, err) == -1)
    return -1;
  if (d->branch > 0)
    vd_merge_tell_branch (m, d);
  return 0;
}
