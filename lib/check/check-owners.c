/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Who owns which place of a file: two owners of one are found with a bitmap.
 *
 * One bit stands for a unit of the file.  A claim sets the bits of its range;
 * a bit that is set already has another owner.  The bitmap covers a window of
 * the file; all claims are made again for each window that holds any.
 *
 * O1. If two claims share places, the first shared one is where the second of
 *     them (by place) begins.  So an overlap is seen in exactly one window:
 *     a claim that comes in from the window before is reported only if some
 *     claim begins at the very place found.
 * O2. A bit does not tell who set it.  The first VD_MAX_OVERLAPS overlaps are
 *     remembered, and in a last pass every claim is held against them.
 *     A claim that overlaps others in several windows is counted in each.
 */

#include <stdlib.h>

#include "check/check-walk.h"

#define DEFAULT_MEMORY (UINT64_C (32) << 20)

static int
set_window (struct vd_owners *o, uint64_t from, uint64_t length)
{
  free (o->bits);
  /* calloc of this size is pages of zeros that are not there yet: what is
   * not claimed costs nothing
   */
  o->bits = calloc ((size_t) vd_div_up (length / o->unit, 64), 8);
  if (!o->bits)
    return -1;
  o->from = vd_round_down (from, o->unit);
  o->to = o->from + length;
  o->next = UINT64_MAX;
  o->at_from = false;
  return 0;
}

static uint64_t
window_length (const struct vd_checker *c, uint64_t from)
{
  const uint64_t memory = c->opts->memory ? c->opts->memory : DEFAULT_MEMORY;
  const uint64_t left
    = vd_div_up (c->image->file->size - from, c->unit) * c->unit;

  return vd_min (vd_max (memory, 8) * 8 * c->unit, vd_max (left, c->unit));
}

int
vd_owners_init (struct vd_checker *c, struct vd_err *err)
{
  c->owners.unit = c->unit;
  c->owners.next = UINT64_MAX;
  if (c->opts->quick)
    return 0;
  if (set_window (&c->owners, 0, window_length (c, 0)) == -1)
    return vd_fail_nomem (err);
  return 0;
}

void
vd_owners_free (struct vd_checker *c)
{
  free (c->owners.bits);
  c->owners.bits = NULL;
}

int
vd_owners_next (struct vd_checker *c)
{
  struct vd_owners *o = &c->owners;
  const uint64_t next = o->next;

  return set_window (o, next,
                     window_length (c, vd_round_down (next, o->unit)));
}

static bool
bit (const struct vd_owners *o, uint64_t i)
{
  return o->bits[i / 64] >> (i % 64) & 1;
}

bool
vd_owners_has (const struct vd_checker *c, uint64_t place)
{
  const struct vd_owners *o = &c->owners;

  return place >= o->from && place < o->to &&
    bit (o, (place - o->from) / o->unit);
}

/* Set the bits [first, end).  Returns the first that was set already, or
 * UINT64_MAX.
 */
static uint64_t
set_bits (struct vd_owners *o, uint64_t first, uint64_t end)
{
  uint64_t taken = UINT64_MAX, i = first;

  while (i < end) {
    const unsigned k = (unsigned) (i % 64);
    const uint64_t n = vd_min (64 - k, end - i);
    const uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C (1) << n) - 1)
      << k;
    uint64_t *word = &o->bits[i / 64];

    if (taken == UINT64_MAX && (*word & mask) != 0)
      taken = i - k + (uint64_t) __builtin_ctzll (*word & mask);
    *word |= mask;
    i += n;
  }
  return taken;
}

static const char *const owner_names[] = {
  [VD_OWNER_TABLE] = "grain table",
  [VD_OWNER_COPY] = "redundant grain table",
  [VD_OWNER_GRAIN] = "grain",
};

/* The range of the image that depends on an owner. */
static void
owner_range (const struct vd_checker *c, struct vd_owner owner,
             uint64_t *offset, uint64_t *length)
{
  const struct vd_tables *t = c->walk->tables (c->image);
  const uint64_t size
    = owner.kind == VD_OWNER_TABLE ? t->coverage : t->grain_size;

  *offset = owner.index * size;
  *length = owner.kind == VD_OWNER_COPY ? 0 : size;
}

/* All that a claim shares places with is doubtful. */
static int
lose (struct vd_checker *c, struct vd_owner owner, struct vd_err *err)
{
  const uint64_t used = c->image->used;
  uint64_t offset, length;

  owner_range (c, owner, &offset, &length);
  if (offset >= used)
    return 0;
  return vd_check_report_lost (c->report, c->start + offset,
                               vd_min (length, used - offset), err);
}

static int
resolve (struct vd_checker *c, struct vd_owner owner, uint64_t start,
         uint64_t end, struct vd_err *err)
{
  struct vd_owners *o = &c->owners;
  size_t i;

  for (i = 0; i < o->nr_overlaps; ++i) {
    struct vd_overlap *v = &o->overlap[i];

    /* places are shared by the unit */
    if (v->end <= vd_round_down (start, o->unit) ||
        v->place >= vd_div_up (end, o->unit) * o->unit ||
        (v->second.kind == owner.kind && v->second.index == owner.index))
      continue;
    if (!v->found && v->place + o->unit > start && v->place < end) {
      v->first = owner;
      v->found = true;
    }
    if (v->second.kind != VD_OWNER_COPY && lose (c, owner, err) == -1)
      return -1;
  }
  return 0;
}

static int
report_overlap (struct vd_checker *c, const struct vd_overlap *v,
                struct vd_err *err)
{
  static const enum vd_check_kind kinds[] = {
    [VD_OWNER_TABLE] = VD_CHECK_TABLE_OVERLAP,
    [VD_OWNER_COPY] = VD_CHECK_COPY_OVERLAP,
    [VD_OWNER_GRAIN] = VD_CHECK_GRAIN_OVERLAP,
  };
  const char *name = owner_names[v->second.kind];
  uint64_t offset, length;

  owner_range (c, v->second, &offset, &length);
  if (!v->found)
    return vd_check_add (c, kinds[v->second.kind], v->place, offset, length,
                         err, "%s %" PRIu64 " shares sector %" PRIu64
                         " with another one", name, v->second.index,
                         v->place / VD_SECTOR);
  return vd_check_add (c, kinds[v->second.kind], v->place, offset, length,
                       err, "%s %" PRIu64 " shares sector %" PRIu64
                       " with %s %" PRIu64, name, v->second.index,
                       v->place / VD_SECTOR, owner_names[v->first.kind],
                       v->first.index);
}

int
vd_owners_claim (struct vd_checker *c, struct vd_owner owner, uint64_t start,
                 uint64_t length, struct vd_err *err)
{
  struct vd_owners *o = &c->owners;
  const uint64_t end = start + length;
  uint64_t first, last, i;
  struct vd_overlap v;

  if (length == 0)
    return 0;
  if (o->resolving)
    return resolve (c, owner, start, end, err);
  if (c->pass == 0)
    c->data_end = vd_max (c->data_end, end);
  if (c->opts->quick)
    return 0;
  if (end > o->to)
    o->next = vd_min (o->next, vd_max (start, o->to));
  if (start >= o->to || end <= o->from)
    return 0;

  first = start <= o->from ? 0 : (start - o->from) / o->unit;
  last = vd_div_up (vd_min (end, o->to) - o->from, o->unit);
  i = set_bits (o, first, last);
  if (i == 0 && start < o->from && !o->at_from)
    i = UINT64_MAX;             /* O1 */
  if (start == o->from)
    o->at_from = true;
  if (i == UINT64_MAX)
    return 0;

  v = (struct vd_overlap) {
    .place = vd_max (o->from + i * o->unit, start), .end = end,
    .second = owner,
  };
  if (o->nr_overlaps == VD_MAX_OVERLAPS)
    return report_overlap (c, &v, err);
  o->overlap[o->nr_overlaps++] = v;
  /* Found: it is reported when its first owner is known too. */
  return c->opts->stop_at_first_error &&
    (owner.kind != VD_OWNER_COPY || c->opts->for_writing);
}

int
vd_owners_report (struct vd_checker *c, struct vd_err *err)
{
  size_t i;
  int r = 0;

  for (i = 0; i < c->owners.nr_overlaps && r == 0; ++i)
    r = report_overlap (c, &c->owners.overlap[i], err);
  return r;
}
