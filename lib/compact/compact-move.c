/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Tables of places rewritten in place; see compact-parts.h, and the order of
 * steps in compact.h.
 *
 * Invariants:
 * M1. A place is written only while no entry on the disk names it: it was
 *     free, or the entry that freed it was flushed.
 * M2. An entry is written only when the content of the place it names was
 *     flushed.
 * M3. A place is punched, or cut off, only when the entry that named it was
 *     changed and that was flushed.
 */

#include "compact/compact-slots.h"

/* An entry to be written at the end of a batch. */
struct pending {
  uint64_t table;
  uint32_t index;
  uint32_t raw;
  uint64_t old;                 /* the place that it leaves */
};

struct mover {
  struct vd_slots *s;
  struct vd_zero_scan scan;
  uint32_t *raw;                /* one table */
  struct pending *pending;
  size_t nr_pending, max_pending;
};

/* Entries of zeros, kept zeros as holes, copies that differ. */
static int
write_zeros (struct vd_slots *s, uint32_t *raw, struct vd_err *err)
{
  uint64_t table, where, i;
  size_t n, k, first, last;

  for (table = 0; table < s->entries.nr_tables; ++table) {
    s->differs = false;
    if (vd_slots_load (s, table, raw, &n, err) == -1)
      return -1;
    first = n;
    last = 0;
    for (k = 0; k < n; ++k) {
      if (!vd_slots_stored (s, raw[k], &where))
        continue;
      i = vd_slot_of (s, where);
      if (!vd_bit (s->zero, i))
        continue;
      if (!s->can_zero) {
        if (vd_file_punch (s->file, where + s->front,
                           vd_min (s->unit, s->file->size - where - s->front),
                           err) == -1)
          return -1;
        continue;
      }
      raw[k] = s->zero_entry;
      if (first == n)
        first = k;
      last = k + 1;
    }
    if (s->differs) {
      first = 0;
      last = n;
    }
    if (first < last &&
        vd_slots_store (s, table, raw, first, last - first, err) == -1)
      return -1;
  }
  return vd_file_flush (s->file, err);
}

int
vd_copy_slot (struct vd_zero_scan *scan, struct vd_file *to, uint64_t from,
               uint64_t end, uint64_t where, struct vd_err *err)
{
  struct vd_file *f = scan->file;
  const uint64_t have = vd_min (end, f->size);
  uint64_t next;
  bool hole;

  while (from < have) {
    if (vd_zero_scan_next (scan, from, have, &next, &hole, err) == -1)
      return -1;
    if (!hole) {
      next = vd_min (next, from + VD_ZERO_BUFFER);
      if (vd_file_pread (f, scan->buf, (size_t) (next - from), from,
                         err) == -1 ||
          vd_file_pwrite (to, scan->buf, (size_t) (next - from), where,
                          err) == -1)
        return -1;
    }
    else if (vd_file_zero (to, where, next - from, err) == -1)
      return -1;
    where += next - from;
    from = next;
  }
  return vd_file_zero (to, where, end - from, err);
}

static int
commit (struct mover *m, struct vd_err *err)
{
  struct vd_slots *s = m->s;
  size_t i, j, n;

  if (m->nr_pending == 0)
    return 0;
  if (vd_file_flush (s->file, err) == -1)
    return -1;
  for (i = 0; i < m->nr_pending; i = j) {
    const struct pending *p = &m->pending[i];

    if (vd_slots_load (s, p->table, m->raw, &n, err) == -1)
      return -1;
    for (j = i; j < m->nr_pending && m->pending[j].table == p->table; ++j)
      m->raw[m->pending[j].index] = m->pending[j].raw;
    if (vd_slots_store (s, p->table, m->raw, p->index,
                       m->pending[j - 1].index - p->index + 1u, err) == -1)
      return -1;
  }
  if (vd_file_flush (s->file, err) == -1)
    return -1;
  for (i = 0; i < m->nr_pending; ++i)
    if (vd_file_punch (s->file, m->pending[i].old,
                       vd_min (s->stride,
                               s->file->size - m->pending[i].old), err) == -1)
      return -1;
  m->nr_pending = 0;
  return 0;
}

static int
move_units (struct mover *m, struct vd_err *err)
{
  struct vd_slots *s = m->s;
  CLEANUP_FREE uint32_t *raw = calloc (s->entries.per_table, sizeof *raw);
  uint64_t table, where, i, to, left = s->nr_moves, gap = 0;
  size_t n, k;

  if (!raw)
    return vd_fail_nomem (err);
  for (table = 0; table < s->entries.nr_tables && left > 0; ++table) {
    if (vd_slots_load (s, table, raw, &n, err) == -1)
      return -1;
    for (k = 0; k < n; ++k) {
      if (!vd_slots_stored (s, raw[k], &where))
        continue;
      i = vd_slot_of (s, where);
      if (i < s->keep || !vd_bit (s->used, i) ||
          vd_slot_where (s, i) != (int64_t) where)
        continue;
      while (vd_bit (s->used, gap) || vd_bit (s->fixed, gap))
        ++gap;
      vd_bit_set (s->used, gap);
      to = (uint64_t) vd_slot_where (s, gap);
      if (vd_copy_slot (&m->scan, s->file, where, where + s->stride, to,
                         err) == -1)
        return -1;
      m->pending[m->nr_pending++] = (struct pending) {
        .table = table, .index = (uint32_t) k, .raw = vd_slots_entry (s, to),
        .old = where,
      };
      --left;
      if ((m->nr_pending == m->max_pending && commit (m, err) == -1) ||
          vd_compact_tell (s->st, VD_COMPACT_MOVE, s->stride, err) == -1)
        return -1;
    }
  }
  return commit (m, err);
}

static int
move (struct vd_slots *s, struct vd_err *err)
{
  CLEANUP_FREE uint32_t *raw = calloc (s->entries.per_table, sizeof *raw);
  CLEANUP_FREE uint8_t *buf = malloc (VD_ZERO_BUFFER);
  CLEANUP_FREE struct pending *pending = NULL;
  struct mover m = {
    .s = s, .raw = raw, .scan = { .file = s->file, .buf = buf },
  };
  const uint64_t batch
    = s->st->opts->batch ? s->st->opts->batch : VD_COMPACT_BATCH;

  m.max_pending = (size_t) vd_max (1, batch / s->stride);
  m.pending = pending = calloc (m.max_pending, sizeof *pending);
  if (!raw || !buf || !pending)
    return vd_fail_nomem (err);
  return write_zeros (s, raw, err) == -1 || move_units (&m, err) == -1
    ? -1 : 0;
}

/* Places that are free but cannot be cut off. */
static int
punch_stuck (struct vd_slots *s, struct vd_err *err)
{
  uint64_t i, where;

  for (i = s->keep;
       i < s->nr && vd_slot_where (s, i) < (int64_t) s->new_size; ++i) {
    if (vd_bit (s->fixed, i))
      continue;
    where = (uint64_t) vd_slot_where (s, i);
    if (vd_file_punch (s->file, where,
                       vd_min (s->stride, s->new_size - where), err) == -1)
      return -1;
  }
  return 0;
}

static int
step (struct vd_slots *s, int (*fn) (struct vd_slots *, struct vd_err *),
      struct vd_err *err)
{
  return fn && (fn (s, err) == -1 || vd_file_flush (s->file, err) == -1)
    ? -1 : 0;
}

int
vd_slots_run (struct vd_slots *s, struct vd_err *err)
{
  if (!s->must_write)
    return 0;
  if (step (s, s->ops->begin, err) == -1 || move (s, err) == -1 ||
      step (s, s->ops->counted, err) == -1 || punch_stuck (s, err) == -1)
    return -1;
  if (s->new_size < s->file->size &&
      (vd_file_truncate (s->file, s->new_size, err) == -1 ||
       vd_file_flush (s->file, err) == -1))
    return -1;
  return step (s, s->ops->end, err);
}
