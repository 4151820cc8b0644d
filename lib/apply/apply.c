/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Applying and verifying: a pool of threads over a walk; see apply.h.
 *
 * Locks: job.lock protects the walk, the progress, the places where threads are
 * and the first error.  It is held while tables are read to find the next batch,
 * not while grains are read or the target is written or flushed.
 */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/apply.h"
#include "apply/batch.h"
#include "apply/write-behind.h"
#include "base/bytes.h"
#include "base/cleanup.h"

/* Runs of this size are worth asking the kernel for. */
#define COPY_MIN (UINT64_C (256) << 10)

/* Differences are written in such pieces. */
#define DIFFER_UNIT (UINT64_C (4) << 10)

/* Zeros among data are left out in such pieces. */
#define SPARSE_UNIT (UINT64_C (64) << 10)

/* How far the work is, is reported when so much was done: a sixteenth of the
 * disk, within these limits, since the target is flushed each time.
 */
#define REACHED_MIN (UINT64_C (4) << 20)
#define REACHED_MAX (UINT64_C (128) << 20)

struct job {
  struct vd_reader *reader;
  struct vd_file *target;
  const struct vd_apply_opts *opts;
  int (*work) (const struct job *job, struct vd_runs *batch, uint8_t *buf,
               struct vd_err *err);
  size_t buf_size;
  atomic_bool *no_copy;         /* the kernel cannot copy between them */
  atomic_uint_fast64_t *written;
  struct vd_write_behind *behind;

  pthread_mutex_t lock;
  struct vd_batch_walk walk;
  uint64_t done;
  uint64_t at[VD_APPLY_MAX_THREADS]; /* where each thread works, or IDLE */
  uint64_t handed_out;          /* end of the last batch */
  uint64_t told;                /* done, when reached was called last */
  bool telling;
  bool failed;
  struct vd_err err;            /* the first */
};

#define IDLE UINT64_MAX

struct apply_thread {
  struct job *job;
  unsigned index;
};

/* Bytes of a batch that count as work. */
static uint64_t
batch_bytes (const struct vd_runs *batch)
{
  uint64_t n = 0;
  size_t i;

  for (i = 0; i < batch->n; ++i)
    if (batch->run[i].kind != VD_BASE)
      n += batch->run[i].length;
  return n;
}

/* With the lock held. */
static void
note_failure (struct job *job, const struct vd_err *err)
{
  if (!job->failed)
    job->err = *err;
  job->failed = true;
}

static void
set_failed (struct job *job, const struct vd_err *err)
{
  LOCK_FOR_SCOPE (&job->lock);

  note_failure (job, err);
}

/* Get the next batch and report the last one.  False at the end, or after a
 * failure of any thread.  A failure here is known to all before the next of
 * them asks.
 */
static bool
next_batch (struct apply_thread *t, struct vd_runs *batch, uint64_t finished)
{
  struct job *job = t->job;
  LOCK_FOR_SCOPE (&job->lock);
  struct vd_err err;
  int r;

  job->done += finished;
  job->at[t->index] = IDLE;
  if (job->failed)
    return false;
  if (finished > 0 && job->opts->progress &&
      job->opts->progress (job->opts->opaque, job->done) != 0)
    r = vd_fail (&err, VD_USAGE, "stopped as asked");
  else
    r = vd_batch_walk_next (&job->walk, batch, &err);
  if (r == -1)
    note_failure (job, &err);
  if (r == 1) {
    job->at[t->index] = vd_batch_start (batch);
    job->handed_out = vd_batch_end (batch);
  }
  return r == 1;
}

/* Is it time to say how far the work is?  Batches are finished in any order, so
 * that is up to the first one in work.
 */
static bool
is_time_to_tell (const struct apply_thread *t, uint64_t finished,
                 uint64_t *offset)
{
  struct job *job = t->job;
  LOCK_FOR_SCOPE (&job->lock);
  const uint64_t size = vd_reader_get_chain (job->reader)->size;
  const uint64_t each = job->opts->reached_each > 0 ? job->opts->reached_each
    : vd_min (vd_max (size / 16, REACHED_MIN), REACHED_MAX);
  unsigned i;

  job->at[t->index] = IDLE;     /* the batch is written */
  if (!job->opts->reached || job->telling || job->failed ||
      job->done + finished - job->told < each)
    return false;
  *offset = job->handed_out;
  for (i = 0; i < VD_APPLY_MAX_THREADS; ++i)
    *offset = vd_min (*offset, job->at[i]);
  job->told = job->done + finished;
  job->telling = true;
  return true;
}

/* The order matters: what lies before offset was written when it was looked up,
 * then it is made stable, and then that is told.  The others go on meanwhile.
 */
static int
tell_reached (const struct apply_thread *t, uint64_t finished,
              struct vd_err *err)
{
  struct job *job = t->job;
  uint64_t offset;
  int r;

  if (!is_time_to_tell (t, finished, &offset))
    return 0;
  r = vd_file_flush (job->target, err) == -1 ? -1
    : job->opts->reached (job->opts->reached_opaque, offset, err);

  pthread_mutex_lock (&job->lock);
  job->telling = false;
  pthread_mutex_unlock (&job->lock);
  return r;
}

static void *
worker (void *vp)
{
  struct apply_thread *t = vp;
  struct job *job = t->job;
  struct vd_runs batch = VD_BATCH_RUNS;
  uint8_t *buf = malloc (job->buf_size);
  uint64_t finished = 0;
  struct vd_err err;
  int r = buf ? 0 : vd_fail_nomem (&err);

  while (r == 0 && next_batch (t, &batch, finished)) {
    finished = batch_bytes (&batch);
    r = job->work (job, &batch, buf, &err);
    if (r == 0)
      vd_write_behind_add (job->behind, finished, vd_batch_end (&batch));
    if (r == 0)
      r = tell_reached (t, finished, &err);
  }
  if (r == -1)
    set_failed (job, &err);
  vd_runs_free (&batch);
  free (buf);
  return NULL;
}

static int
run_job (struct job *job, struct vd_err *err)
{
  unsigned n = job->opts->threads ? job->opts->threads : VD_APPLY_THREADS;
  struct apply_thread of[VD_APPLY_MAX_THREADS];
  pthread_t thread[VD_APPLY_MAX_THREADS];
  unsigned i;

  n = (unsigned) vd_min (n, VD_APPLY_MAX_THREADS);
  pthread_mutex_init (&job->lock, NULL);
  vd_batch_walk_init (&job->walk, vd_reader_get_chain (job->reader));
  job->walk.mapped = job->handed_out = job->opts->start;
  for (i = 0; i < VD_APPLY_MAX_THREADS; ++i) {
    of[i] = (struct apply_thread) { .job = job, .index = i };
    job->at[i] = IDLE;
  }

  /* This thread is one of them, so that one thread is always had. */
  for (i = 0; i < n - 1; ++i)
    if (pthread_create (&thread[i], NULL, worker, &of[i]) != 0)
      break;
  worker (&of[i]);
  while (i > 0)
    pthread_join (thread[--i], NULL);

  vd_batch_walk_free (&job->walk);
  pthread_mutex_destroy (&job->lock);
  if (job->failed) {
    *err = job->err;
    return -1;
  }
  return 0;
}

/* What changes the target goes through these, and is counted. */
static int
put_bytes (const struct job *job, const uint8_t *from, uint64_t n,
           uint64_t offset, struct vd_err *err)
{
  atomic_fetch_add (job->written, n);
  return vd_file_pwrite (job->target, from, (size_t) n, offset, err);
}

static int
put_zeros (const struct job *job, uint64_t offset, uint64_t n,
           struct vd_err *err)
{
  atomic_fetch_add (job->written, n);
  return vd_file_zero (job->target, offset, n, err);
}

/* Do these bytes read as zeros already, as holes?  Writing them would only
 * take space.
 */
static int
is_hole (struct vd_file *target, struct vd_stretch *s, uint64_t offset,
         uint64_t end, bool *hole, struct vd_err *err)
{
  unsigned type;

  for (*hole = true; *hole && offset < end; )
    if (vd_file_stretch (target, s, offset, end, &offset, &type,
                         err) == -1)
      return -1;
    else
      *hole = (type & VD_READS_ZERO) != 0;
  return 0;
}

/* Let the kernel copy one run from file to file: file systems that can share
 * blocks do not even move the data.  False when it cannot, or did so only in
 * part: then the run is read and written as any other.
 */
static bool
copy_run (const struct job *job, const struct vd_run *run)
{
  const struct vd_chain *chain = vd_reader_get_chain (job->reader);
  const int in = vd_file_fd (chain->slots[run->slot].image->file);
  const int out = vd_file_fd (job->target);
  off_t from = (off_t) run->where, to = (off_t) run->offset;
  uint64_t left = run->length;

  if (in == -1 || out == -1 || atomic_load (job->no_copy))
    return false;
  while (left > 0) {
    const ssize_t r = copy_file_range (in, &from, out, &to, (size_t) left, 0);

    if (r == -1 && errno == EINTR)
      continue;
    if (r <= 0) {
      atomic_store (job->no_copy, true);
      return false;
    }
    left -= (uint64_t) r;
  }
  atomic_fetch_add (job->written, run->length);
  return true;
}

/* Write what was fetched, one write for each stretch without holes. */
static int
write_batch (const struct job *job, struct vd_runs *batch, uint8_t *buf,
             struct vd_err *err)
{
  const uint64_t start = vd_batch_start (batch);
  struct vd_stretch known = { .start = 0 };
  uint64_t from = start, to = start;
  size_t i;

  if (vd_batch_is_zeros (batch))
    return put_zeros (job, start, vd_batch_end (batch) - start, err);
  for (i = 0; i < batch->n; ++i)
    if (batch->run[i].kind == VD_DATA && batch->run[i].length >= COPY_MIN &&
        copy_run (job, &batch->run[i]))
      batch->run[i].kind = VD_BASE;     /* done */
  if (vd_fetch (job->reader, batch, buf, start, err) == -1)
    return -1;

  for (i = 0; i <= batch->n; ++i) {
    bool skip = i == batch->n || batch->run[i].kind == VD_BASE;

    if (!skip && batch->run[i].kind == VD_ZERO && job->opts->exact_zeros) {
      if (put_zeros (job, batch->run[i].offset, batch->run[i].length,
                     err) == -1)
        return -1;
      skip = true;
    }
    if (!skip && batch->run[i].kind == VD_ZERO &&
        is_hole (job->target, &known, batch->run[i].offset,
                 vd_run_end (&batch->run[i]), &skip, err) == -1)
      return -1;
    if (!skip) {
      if (from == to)
        from = batch->run[i].offset;
      to = vd_run_end (&batch->run[i]);
      continue;
    }
    if (put_bytes (job, buf + (from - start), to - from, from, err) == -1)
      return -1;
    from = to;
  }
  return 0;
}

/* Write the units of [offset, offset+n) in which want and have differ. */
static int
put_differing (const struct job *job, const uint8_t *want, const uint8_t *have,
               uint64_t n, uint64_t offset, bool zeros, struct vd_err *err)
{
  uint64_t at, from = 0, to = 0;        /* what is to be written next */

  for (at = 0; at <= n; at += DIFFER_UNIT) {
    const uint64_t unit = vd_min (n - at, DIFFER_UNIT);

    if (unit > 0 && memcmp (want + at, have + at, (size_t) unit) != 0) {
      if (from == to)
        from = at;
      to = at + unit;
      if (to < n)
        continue;
    }
    if (from < to &&
        (zeros ? put_zeros (job, offset + from, to - from, err)
         : put_bytes (job, want + from, to - from, offset + from, err)) == -1)
      return -1;
    from = to;
  }
  return 0;
}

/* What is done with a piece of a batch, and what the target has there. */
typedef int piece_fn (const struct job *job, const uint8_t *want,
                      const uint8_t *have, uint64_t n, uint64_t offset,
                      bool zeros, struct vd_err *err);

/* A stretch of zeros of any length, in pieces of half a buffer. */
static int
compare_zeros (const struct job *job, uint64_t offset, uint64_t end,
               uint8_t *buf, piece_fn *piece, struct vd_err *err)
{
  uint8_t *have = buf + VD_BATCH_SIZE;
  struct vd_stretch known = { .start = 0 };
  uint64_t n;
  bool hole;

  memset (buf, 0, VD_BATCH_SIZE);
  for (; offset < end; offset += n) {
    n = vd_min (end - offset, VD_BATCH_SIZE);
    if (is_hole (job->target, &known, offset, offset + n, &hole, err) == -1)
      return -1;
    if (hole)
      continue;
    if (vd_file_pread (job->target, have, (size_t) n, offset, err) == -1 ||
        piece (job, buf, have, n, offset, true, err) == -1)
      return -1;
  }
  return 0;
}

static int
compare_batch (const struct job *job, const struct vd_runs *batch,
               uint8_t *buf, piece_fn *piece, struct vd_err *err)
{
  const uint64_t start = vd_batch_start (batch);
  uint8_t *have = buf + VD_BATCH_SIZE;
  size_t i;

  if (vd_batch_is_zeros (batch))
    return compare_zeros (job, start, vd_batch_end (batch), buf, piece, err);
  if (vd_fetch (job->reader, batch, buf, start, err) == -1 ||
      vd_file_pread (job->target, have,
                     (size_t) (vd_batch_end (batch) - start), start,
                     err) == -1)
    return -1;
  for (i = 0; i < batch->n; ++i) {
    const struct vd_run *r = &batch->run[i];

    if (r->kind != VD_BASE &&
        piece (job, buf + (r->offset - start), have + (r->offset - start),
               r->length, r->offset, r->kind == VD_ZERO, err) == -1)
      return -1;
  }
  return 0;
}

static int
write_differences (const struct job *job, struct vd_runs *batch, uint8_t *buf,
                   struct vd_err *err)
{
  return compare_batch (job, batch, buf, put_differing, err);
}

/* A run of data in a flat file whose holes the file tells: they need not be read.
 * Appends to out what it consists of; 1 if that is too much.
 */
static int
split_run (const struct job *job, const struct vd_run *run,
           struct vd_stretch *known, struct vd_runs *out, struct vd_err *err)
{
  const struct vd_chain *chain = vd_reader_get_chain (job->reader);
  struct vd_file *file = run->kind == VD_DATA
    ? chain->slots[run->slot].image->file : NULL;
  uint64_t where = run->where, to;
  const uint64_t end = run->where + run->length;
  unsigned type;
  int r = 0;

  if (!file || !file->ops->extents)
    return vd_runs_add (out, run->kind, run->offset, run->length, run->slot,
                        run->where, err);
  for (; r == 0 && where < end; where = to) {
    if (vd_file_stretch (file, known, where, end, &to, &type, err) == -1)
      return -1;
    r = vd_runs_add (out, type & VD_READS_ZERO ? VD_ZERO : VD_DATA,
                     run->offset + (where - run->where), to - where, run->slot,
                     where, err);
  }
  return r;
}

static int
drop_holes (const struct job *job, struct vd_runs *batch, struct vd_err *err)
{
  struct vd_runs out = VD_BATCH_RUNS;
  struct vd_stretch known = { .start = 0 };
  uint32_t slot = 0;
  size_t i;
  int r = 0;

  for (i = 0; r == 0 && i < batch->n; ++i) {
    if (batch->run[i].slot != slot)
      known = (struct vd_stretch) { .start = 0 };       /* another file */
    slot = batch->run[i].slot;
    r = split_run (job, &batch->run[i], &known, &out, err);
  }
  if (r != 0) {                 /* so many holes that reading is cheaper */
    vd_runs_free (&out);
    return r == 1 ? 0 : -1;
  }
  vd_runs_free (batch);
  *batch = out;
  return 0;
}

/* Zeros, where the target does not have a hole already. */
static int
zero_unless_hole (const struct job *job, struct vd_stretch *known,
                  uint64_t offset, uint64_t end, struct vd_err *err)
{
  bool hole;

  if (is_hole (job->target, known, offset, end, &hole, err) == -1)
    return -1;
  return hole ? 0 : put_zeros (job, offset, end - offset, err);
}

/* Batches without gaps, since the chain has a base: units of zeros and others,
 * neighbours of a kind together.
 */
static int
write_sparse (const struct job *job, struct vd_runs *batch, uint8_t *buf,
              struct vd_err *err)
{
  const uint64_t start = vd_batch_start (batch), end = vd_batch_end (batch);
  struct vd_stretch known = { .start = 0 };
  uint64_t from = start, at, next;
  bool zeros = false, these;

  if (vd_batch_is_zeros (batch))
    return zero_unless_hole (job, &known, start, end, err);
  if (drop_holes (job, batch, err) == -1 ||
      vd_fetch (job->reader, batch, buf, start, err) == -1)
    return -1;
  for (at = start; at <= end; at = next) {
    next = vd_min (vd_round_down (at, SPARSE_UNIT) + SPARSE_UNIT, end);
    these = at < end && vd_is_zero (buf + (at - start), (size_t) (next - at));
    if (at == end || these != zeros) {
      if (from < at &&
          (zeros ? zero_unless_hole (job, &known, from, at, err)
           : put_bytes (job, buf + (from - start), at - from, from,
                        err)) == -1)
        return -1;
      from = at;
      zeros = these;
    }
    if (at == end)
      break;
  }
  return 0;
}

int
vd_apply (struct vd_reader *reader, struct vd_file *target,
          const struct vd_apply_opts *opts, struct vd_err *err)
{
  const bool all = !opts->only_differences;
  atomic_bool no_copy = false;
  atomic_uint_fast64_t written = 0;
  struct job job = {
    .reader = reader, .target = target, .opts = opts,
    .work = !all ? write_differences
      : opts->sparse ? write_sparse : write_batch,
    .buf_size = all ? VD_BATCH_SIZE : 2 * VD_BATCH_SIZE,
    .no_copy = &no_copy, .written = &written,
    .behind = vd_write_behind_start (target),
  };
  const int r = run_job (&job, err);

  vd_write_behind_stop (job.behind);
  if (opts->written)
    *opts->written = atomic_load (&written);
  return r == -1 ? -1 : vd_file_flush (target, err);
}

static int
differs (const struct job *job, const uint8_t *want, const uint8_t *have,
         uint64_t n, uint64_t offset, bool zeros, struct vd_err *err)
{
  uint64_t i;

  (void) zeros;
  if (memcmp (want, have, (size_t) n) == 0)
    return 0;
  for (i = 0; want[i] == have[i]; ++i)
    ;
  return vd_fail (err, VD_MISMATCH,
                  "%s: byte %" PRIu64 " is 0x%02x, should be 0x%02x",
                  job->target->name, offset + i, have[i], want[i]);
}

static int
verify_batch (const struct job *job, struct vd_runs *batch, uint8_t *buf,
              struct vd_err *err)
{
  return compare_batch (job, batch, buf, differs, err);
}

int
vd_apply_verify (struct vd_reader *reader, struct vd_file *target,
                 const struct vd_apply_opts *opts, struct vd_err *err)
{
  struct job job = {
    .reader = reader, .target = target, .opts = opts, .work = verify_batch,
    .buf_size = 2 * VD_BATCH_SIZE,
  };

  return run_job (&job, err);
}

/* For each run that is to be written from start on, in order. */
static int
for_each_run (const struct vd_chain *chain, uint64_t start,
              int (*fn) (void *opaque, const struct vd_run *run,
                         struct vd_err *err),
              void *opaque, struct vd_err *err)
{
  struct vd_runs batch = VD_BATCH_RUNS;
  struct vd_batch_walk walk;
  size_t i;
  int r;

  vd_batch_walk_init (&walk, chain);
  walk.mapped = start;
  while ((r = vd_batch_walk_next (&walk, &batch, err)) == 1) {
    for (i = 0; i < batch.n; ++i)
      if (batch.run[i].kind != VD_BASE &&
          fn (opaque, &batch.run[i], err) == -1) {
        r = -1;
        goto out;
      }
  }
 out:
  vd_batch_walk_free (&walk);
  vd_runs_free (&batch);
  return r;
}

struct planner {
  const struct vd_chain *chain;
  struct vd_apply_plan *plan;
  uint64_t data_end, zero_end;  /* of the last run of each */
};

static int
plan_run (void *opaque, const struct vd_run *run, struct vd_err *err)
{
  struct planner *p = opaque;

  if (run->kind == VD_DAMAGED)
    return vd_chain_explain (p->chain, run->slot, run->offset, err);
  if (run->kind == VD_ZERO) {
    p->plan->zero_bytes += run->length;
    p->plan->zero_runs += p->zero_end != run->offset || run->offset == 0;
    p->zero_end = vd_run_end (run);
  }
  else {
    p->plan->data_bytes += run->length;
    p->plan->data_runs += p->data_end != run->offset || run->offset == 0;
    p->data_end = vd_run_end (run);
  }
  return 0;
}

int
vd_apply_plan_from (const struct vd_chain *chain, uint64_t start,
                    struct vd_apply_plan *plan, struct vd_err *err)
{
  struct planner p = { .chain = chain, .plan = plan };

  *plan = (struct vd_apply_plan) { .data_bytes = 0 };
  return for_each_run (chain, start, plan_run, &p, err);
}

int
vd_apply_plan (const struct vd_chain *chain, struct vd_apply_plan *plan,
               struct vd_err *err)
{
  return vd_apply_plan_from (chain, 0, plan, err);
}

struct space {
  struct vd_file *target;
  struct vd_stretch known;
  uint64_t block;
  uint64_t counted;             /* blocks below were counted, if needed */
  uint64_t *bytes;
};

static int
space_of_run (void *opaque, const struct vd_run *run, struct vd_err *err)
{
  struct space *s = opaque;
  uint64_t offset, to, first, end;
  unsigned type;

  if (run->kind == VD_ZERO)
    return 0;
  for (offset = run->offset; offset < vd_run_end (run); offset = to) {
    if (vd_file_stretch (s->target, &s->known, offset, vd_run_end (run), &to,
                         &type, err) == -1)
      return -1;
    if (!(type & VD_HOLE))
      continue;
    first = vd_max (offset / s->block, s->counted);
    end = vd_div_up (to, s->block);
    if (end > first) {
      *s->bytes += (end - first) * s->block;
      s->counted = end;
    }
  }
  return 0;
}

int
vd_apply_new_space (const struct vd_chain *chain, struct vd_file *target,
                    uint64_t block, uint64_t *bytes, struct vd_err *err)
{
  struct space s = { .target = target, .block = block, .bytes = bytes };

  *bytes = 0;
  return for_each_run (chain, 0, space_of_run, &s, err);
}
