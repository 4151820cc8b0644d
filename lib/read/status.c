/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Where the merged disk is empty: vd_status of reader.h.
 *
 * The map gives runs; a run that a flat file holds is asked for its holes,
 * and so is the base.  Where runs of the base alternate finely with others,
 * the base is asked once for a stretch, and the answer is used piece by
 * piece.
 */

#include <stdlib.h>

#include "base/bytes.h"
#include "read/reader.h"

/* So many runs are described by one call; the caller asks again. */
#define MAX_STATUS_RUNS 65536u

/* And so often one call maps, when it is asked for the first piece only. */
#define MAX_STEPS 16u

/* The base is asked about gaps of this size between its runs too. */
#define ASK_GAP (UINT64_C (1) << 20)

/* And remembers so many pieces of its answer. */
#define MAX_ANSWER 4096u

/* What the base said of [from, to). */
struct answer {
  uint64_t from, to;
  uint64_t wanted;              /* this byte is in it, whatever is forgotten */
  size_t n, next;               /* next: a hint, pieces before end earlier */
  struct {
    uint64_t end;
    unsigned type;
  } piece[MAX_ANSWER];
};

static int
remember (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct answer *a = opaque;

  (void) err;
  if (a->n > 0 && a->piece[a->n - 1].type == type)
    a->piece[a->n - 1].end += length;
  else {
    if (a->n == MAX_ANSWER) {
      if (a->to > a->wanted)
        return 1;
      a->from = a->to;          /* blocks are large, and its pieces small */
      a->n = 0;
    }
    a->piece[a->n].end = a->to + length;
    a->piece[a->n++].type = type;
  }
  a->to += length;
  return 0;
}

/* Ask the base about [from, to), as much as it wants to say, in whole blocks
 * of the size that it prefers.
 */
static int
ask_base (const struct vd_base *base, struct answer *a, uint64_t from,
          uint64_t to, struct vd_err *err)
{
  const uint64_t size = base->file ? base->file->size : 0;

  a->wanted = from;
  if (base->align > 1) {
    from = vd_round_down (from, base->align);
    to = vd_round_down (to + base->align - 1, base->align);
  }
  a->from = a->to = from;
  a->n = a->next = 0;
  if (from < size &&
      vd_file_extents (base->file, from, vd_min (to, size) - from, remember,
                       a, err) == -1)
    return -1;
  /* Past its end there is nothing. */
  if (a->to >= size && a->to < to)
    remember (a, to - a->to, VD_HOLE | VD_READS_ZERO, err);
  return 0;
}

/* End of the stretch of base runs that begins with run i. */
static uint64_t
stretch_end (const struct vd_runs *runs, size_t i)
{
  uint64_t end = vd_run_end (&runs->run[i]);

  for (++i; i < runs->n && runs->run[i].offset - end <= ASK_GAP; ++i)
    if (runs->run[i].kind == VD_BASE)
      end = vd_run_end (&runs->run[i]);
  return end;
}

static int
base_status (const struct vd_base *base, struct answer *a,
             const struct vd_runs *runs, size_t i, vd_extent_fn fn,
             void *opaque, struct vd_err *err)
{
  uint64_t pos = runs->run[i].offset;
  const uint64_t end = vd_run_end (&runs->run[i]);
  uint64_t to;
  int r;

  while (pos < end) {
    if (pos < a->from || pos >= a->to) {
      if (ask_base (base, a, pos, stretch_end (runs, i), err) == -1)
        return -1;
    }
    while (a->piece[a->next].end <= pos)
      a->next++;
    to = vd_min (end, a->piece[a->next].end);
    r = fn (opaque, to - pos, a->piece[a->next].type, err);
    if (r != 0)
      return r;
    pos = to;
  }
  return 0;
}

/* Stands before the receiver: remembers that it had enough, and with
 * only_first stops at the first piece of another type.
 */
struct receiver {
  vd_extent_fn fn;
  void *opaque;
  bool only_first;
  bool started;
  unsigned type;                /* of what was passed on */
  bool stopped;
};

static int
receive (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct receiver *rc = opaque;
  int r;

  if (rc->only_first && rc->started && type != rc->type) {
    rc->stopped = true;
    return 1;
  }
  rc->started = true;
  rc->type = type;
  r = rc->fn (rc->opaque, length, type, err);
  if (r == 1)
    rc->stopped = true;
  return r;
}

/* Pass on what the runs say. */
static int
tell_runs (const struct vd_chain *chain, const struct vd_base *base,
           struct answer *a, const struct vd_runs *runs, struct receiver *rc,
           struct vd_err *err)
{
  int r = 0;
  size_t i;

  for (i = 0; i < runs->n && r == 0 && !rc->stopped; ++i) {
    const struct vd_run *run = &runs->run[i];

    switch (run->kind) {
    case VD_BASE:
      r = base_status (base, a, runs, i, receive, rc, err);
      break;
    case VD_ZERO:
      r = receive (rc, run->length, VD_HOLE | VD_READS_ZERO, err);
      break;
    case VD_DATA:
      if (chain->slots[run->slot].image->fmt == &vd_format_flat) {
        r = vd_file_extents (chain->slots[run->slot].image->file, run->where,
                             run->length, receive, rc, err);
        break;
      }
      /* FALLTHROUGH */
    default:
      r = receive (rc, run->length, 0, err);
    }
  }
  return r == -1 ? -1 : 0;
}

int
vd_status (struct vd_reader *reader, const struct vd_base *base,
           uint64_t offset, uint64_t length, bool only_first,
           vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  const uint64_t end = offset + length;
  struct vd_runs runs = VD_RUNS_INIT (MAX_STATUS_RUNS);
  struct receiver rc = {
    .fn = fn, .opaque = opaque, .only_first = only_first
  };
  struct answer *a = malloc (sizeof *a);
  uint64_t step = length;
  unsigned n;
  int r = -1;

  if (!a)
    return vd_fail_nomem (err);
  a->from = a->to = 0;
  /* One piece may be small or the whole disk: look at more and more. */
  if (only_first)
    step = vd_map_region_size (vd_reader_get_map (reader));

  runs.max_work = VD_STATUS_WORK;       /* of all steps together */
  for (n = 0; n < MAX_STEPS && offset < end && !rc.stopped &&
         (n == 0 || runs.work < VD_STATUS_WORK); ++n) {
    runs.n = 0;
    r = vd_reader_map (reader, offset, vd_min (step, end - offset), &runs,
                       err);
    if (r == 0)
      r = tell_runs (vd_reader_get_chain (reader), base, a, &runs, &rc, err);
    if (r == -1 || !only_first)
      break;
    offset = vd_run_end (&runs.run[runs.n - 1]);
    step *= 4;
  }
  vd_runs_free (&runs);
  free (a);
  return r;
}
