/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Runs: the answer to the one question that this library asks.
 *
 *     map (offset, length)  ->  runs of { length, kind, slot, where }
 *
 * A run describes consecutive bytes of a disk that are found in the same
 * way.  Runs of one answer are in order, touch each other and do not overlap.
 * All numbers are bytes.
 */

#ifndef VD_RUNS_H
#define VD_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum vd_kind {
  VD_BASE,                      /* no layer holds it: ask underneath */
  VD_ZERO,                      /* zeros; the search stops */
  VD_DATA,                      /* bytes at `where` of the slot's file */
  VD_COMPRESSED,                /* (part of) one compressed grain, whose
                                   marker is at `where` */
  VD_DAMAGED,                   /* cannot be read; vd_image.fmt->explain says
                                   why.  `where` is meaningless. */
};

struct vd_run {
  uint64_t offset;              /* on the disk */
  uint64_t length;              /* > 0 */
  uint64_t where;
  uint32_t slot;                /* which extent; see chain.h */
  enum vd_kind kind;
};

/* A growing list with a cap on the number of runs, so that no image can make
 * an answer larger than the caller wants; and one on the work, so that none
 * can make it take longer.  (Tables of one entry need a read of the file for
 * each 512 bytes of a disk.)
 *
 * The unit of work is a read of a table, a directory or a map, and each KiB of
 * it: 256 entries are judged in about the time of a small read.  On a machine
 * of 2020 it takes between half and two microseconds.  When max_work is used
 * up the list counts as full, but never before something is in it, so that
 * whoever asks for the rest comes to the end.
 */
struct vd_runs {
  struct vd_run *run;
  size_t n;
  size_t alloc;
  size_t max;
  uint64_t work;                /* done for this list */
  uint64_t max_work;            /* 0: any amount */
};

#define VD_RUNS_INIT(m) { .run = NULL, .n = 0, .alloc = 0, .max = (m) }

extern void vd_runs_free (struct vd_runs *runs);

/* Room for one more; 0, 1 (at the cap), -1 (no memory). */
extern int vd_runs_grow (struct vd_runs *runs, struct vd_err *err);

/* Before so many bytes of a table are read: is the list full? */
static inline bool
vd_runs_enough (struct vd_runs *runs, size_t bytes)
{
  if (runs->max_work > 0 && runs->work >= runs->max_work && runs->n > 0)
    return true;
  runs->work += 1 + bytes / 1024;
  return false;
}

static inline uint64_t
vd_run_end (const struct vd_run *r)
{
  return r->offset + r->length;
}

/* Append, or extend the last run when the new one continues it.
 * Returns 0, or 1 when the list is full (nothing was added), or -1.
 */
static inline int
vd_runs_add (struct vd_runs *runs, enum vd_kind kind, uint64_t offset,
             uint64_t length, uint32_t slot, uint64_t where,
             struct vd_err *err)
{
  struct vd_run *last;

  if (runs->n > 0) {
    last = &runs->run[runs->n - 1];
    if (last->kind == kind && kind != VD_COMPRESSED &&
        (kind == VD_BASE || kind == VD_ZERO ||
         (last->slot == slot &&
          (kind == VD_DAMAGED || last->where + last->length == where)))) {
      last->length += length;
      return 0;
    }
  }
  if (runs->n == runs->alloc) {
    int r = vd_runs_grow (runs, err);

    if (r != 0)
      return r;
  }
  runs->run[runs->n++] = (struct vd_run) {
    .offset = offset, .length = length, .where = where, .slot = slot,
    .kind = kind,
  };
  return 0;
}

/* Where a format puts its answer: adds the place of the image on the disk
 * and its slot.
 */
struct vd_out {
  struct vd_runs *runs;
  uint64_t bias;                /* disk offset of the image's byte 0 */
  uint32_t slot;
};

static inline int
vd_emit (const struct vd_out *out, enum vd_kind kind, uint64_t offset,
         uint64_t length, uint64_t where, struct vd_err *err)
{
  return vd_runs_add (out->runs, kind, out->bias + offset, length,
                      out->slot, where, err);
}

#endif /* VD_RUNS_H */
