/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Places of a file: which are used, by what; see compact-parts.h.
 *
 * Nothing is written here; that is compact-move.c.
 */

#include <inttypes.h>

#include "compact/compact-slots.h"

/* 2^29 places need three maps of 64 MiB: 32 TiB of grains of 64 KiB. */
#define MAX_PLACES (UINT64_C (1) << 29)

int
vd_slots_load (struct vd_slots *s, uint64_t table, uint32_t *raw, size_t *n,
               struct vd_err *err)
{
  struct vd_table_place place;

  if (vd_entries_load (&s->entries, table, raw, n, &place, err) == -1)
    return -1;
  if (vd_entries_sure (&s->entries, table, &place, err) == -1)
    return -1;
  if (place.bad_copy)
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain directories differ at entry %" PRIu64 " (byte %"
                    PRIu64 " in the first, %" PRIu64 " in the copy); nothing "
                    "was written.  A new file (--output) is made from the "
                    "first", s->file->name, table, place.where,
                    place.copy_entry);
  if (place.copy != 0 && place.differs && !s->interrupted)
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain table %" PRIu64 " differs from its copy; "
                    "nothing was written.  A new file (--output) is made "
                    "from the first.  See: vmdkdelta check", s->file->name,
                    table);
  if (place.copy != 0 && place.differs)
    s->differs = s->must_write = true;
  return 0;
}

int
vd_slots_store (struct vd_slots *s, uint64_t table, const uint32_t *raw,
                size_t first, size_t n, struct vd_err *err)
{
  struct vd_table_place place;

  if (vd_entries_find (&s->entries, table, &place, err) == -1)
    return -1;
  return vd_entries_store (&s->entries, &place, raw, first, n, err);
}

bool
vd_slots_stored (const struct vd_slots *s, uint32_t raw, uint64_t *where)
{
  const struct vd_entry e = vd_entries_state (&s->entries, raw);

  /* A bad one lies below the first place: it is found out (collect). */
  *where = e.where - s->front;
  return e.kind == VD_DATA || e.kind == VD_DAMAGED;
}

uint32_t
vd_slots_entry (const struct vd_slots *s, uint64_t where)
{
  return vd_entries_raw (&s->entries, where + s->front);
}

void
vd_slots_fix (struct vd_slots *s, uint64_t where, uint64_t length)
{
  uint64_t i;

  if (length == 0 || where >= s->file->size)
    return;
  length = vd_min (length, s->file->size - where);
  s->fixed_end = vd_max (s->fixed_end, where + length);
  if (where + length <= s->first_data)
    return;
  where = vd_max (where, s->first_data);
  for (i = vd_slot_of (s, where);
       i < s->nr && vd_slot_where (s, i) < (int64_t) (where + length); ++i)
    vd_bit_set (s->fixed, i);
}

int
vd_slots_init (struct vd_slots *s, struct vd_err *err)
{
  size_t words;
  uint64_t i;

  s->nr = 2;                    /* one before, one for what is cut */
  if (s->file->size > s->first_data)
    s->nr += vd_slot_of (s, s->file->size - 1);
  if (s->nr > MAX_PLACES)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s has room for %" PRIu64 " %ss of %" PRIu64 " bytes; at "
                    "most %" PRIu64 " can be dealt with", s->file->name, s->nr,
                    s->unit_name, s->stride, MAX_PLACES);
  words = (size_t) (s->nr / 64 + 1);
  s->used = calloc (words, 8);
  s->zero = calloc (words, 8);
  s->fixed = calloc (words, 8);
  if (!s->used || !s->zero || !s->fixed)
    return vd_fail_nomem (err);
  for (i = 0; i < s->nr; ++i) {
    if (vd_slot_where (s, i) >= (int64_t) s->first_data)
      break;
    vd_bit_set (s->fixed, i);
  }
  return 0;
}

void
vd_slots_free (struct vd_slots *s)
{
  free (s->used);
  free (s->zero);
  free (s->fixed);
  s->used = s->zero = s->fixed = NULL;
}

static int
fail_shared (const struct vd_slots *s, uint64_t unit, uint64_t where,
             struct vd_err *err)
{
  return vd_fail (err, VD_CORRUPT,
                  "%s: %s %" PRIu64 " is stored at byte %" PRIu64 ", where "
                  "something else is too; nothing was written.  See: "
                  "vmdkdelta check", s->file->name, s->unit_name, unit, where);
}

/* One unit that is stored, with the answer about zeros. */
static int
note_unit (struct vd_slots *s, const struct vd_unit *u, struct vd_err *err)
{
  struct vd_compact_result *result = s->st->result;
  const uint64_t where = u->where - s->front;
  const uint64_t i = vd_slot_of (s, where);
  const bool odd = vd_slot_where (s, i) != (int64_t) where;

  if (vd_bit (s->used, i) || (odd && vd_bit (s->used, i + 1)) ||
      (!odd && (vd_bit (s->zero, i) || vd_bit (s->fixed, i))))
    return fail_shared (s, u->key, where, err);
  result->looked += s->unit;
  if (u->zero) {
    vd_bit_set (s->zero, i);
    if (s->can_zero) {
      *(u->free ? &result->free : &result->zeros) += s->stride;
      s->nr_zero++;
      return 0;
    }
    result->kept += s->unit;
    if (!u->hole)
      s->must_write = true;
  }
  /* A copy puts all of them in places. */
  s->nr_used += !odd || s->copying;
  if (odd)
    vd_slots_fix (s, where, s->stride);
  else
    vd_bit_set (s->used, i);
  return 0;
}

/* The units of a table that are stored. */
static int
collect (struct vd_slots *s, uint64_t table, const uint32_t *raw, size_t n,
         struct vd_unit *units, size_t *nr, struct vd_err *err)
{
  const uint64_t first = table * s->entries.per_table;
  uint64_t where, offset, next;
  size_t i, k = 0;

  for (i = 0; i < n; ++i) {
    if (!vd_slots_stored (s, raw[i], &where))
      continue;
    if (where < s->first_data || where >= s->file->size)
      return vd_fail (err, VD_CORRUPT,
                      "%s: %s %" PRIu64 " is at byte %" PRIu64 "; allowed are "
                      "%" PRIu64 " up to the end of the file, %" PRIu64,
                      s->file->name, s->unit_name, first + i, where,
                      s->first_data, s->file->size);
    /* What lies past the end of the disk belongs to nobody, but stays. */
    offset = (first + i) * s->unit;
    units[k++] = (struct vd_unit) {
      .where = where + s->front, .key = first + i,
      .free = vd_free_at (s->free, offset, &next),
      .length = (uint32_t) (offset < s->capacity
                            ? vd_min (s->unit, s->capacity - offset)
                            : s->unit),
    };
  }
  *nr = k;
  return 0;
}

/* What is free in the guest need not be read, and is put behind what has to be,
 * of which the number is returned.  Where zeros stay stored it has to be known if
 * they are zeros already.
 */
static size_t
put_free_last (const struct vd_slots *s, struct vd_unit *units, size_t n)
{
  size_t i = 0;

  if (!s->can_zero)
    return n;
  while (i < n)
    if (units[i].free) {
      const struct vd_unit u = units[i];

      units[i] = units[--n];
      units[n] = u;
      units[n].zero = true;
    }
    else
      ++i;
  return n;
}

int
vd_slots_look (struct vd_slots *s, struct vd_err *err)
{
  const uint32_t per_table = s->entries.per_table;
  CLEANUP_FREE uint32_t *raw = calloc (per_table, sizeof *raw);
  CLEANUP_FREE struct vd_unit *units = calloc (per_table, sizeof *units);
  CLEANUP_FREE uint8_t *buf = malloc (VD_ZERO_BUFFER);
  struct vd_zero_scan z = { .file = s->file, .buf = buf };
  uint64_t table;
  size_t n, nr = 0, to_read, i, end;

  if (!raw || !units || !buf)
    return vd_fail_nomem (err);
  for (table = 0; table < s->entries.nr_tables; ++table) {
    if (vd_slots_load (s, table, raw, &n, err) == -1 ||
        collect (s, table, raw, n, units, &nr, err) == -1)
      return -1;
    to_read = put_free_last (s, units, nr);
    /* Not too much at a time, for who is waiting. */
    for (i = 0; i < to_read; i = end) {
      end = i + (size_t) vd_max (1, (UINT64_C (32) << 20) / s->unit);
      if (end > to_read)
        end = to_read;
      if (vd_zero_units (&z, units + i, end - i, err) == -1 ||
          vd_compact_tell (s->st, VD_COMPACT_LOOK, (end - i) * s->stride,
                           err) == -1)
        return -1;
    }
    for (i = 0; i < nr; ++i) {
      units[i].zero |= units[i].free;
      if (note_unit (s, &units[i], err) == -1)
        return -1;
    }
  }
  return 0;
}

/* How many places are needed, and what that means. */
void
vd_slots_plan (struct vd_slots *s)
{
  struct vd_compact_result *r = s->st->result;
  uint64_t i, last, seen = 0, moves = 0, stuck = 0, free_places;

  if (s->copying)
    return;
  for (i = 0; seen < s->nr_used && i < s->nr; ++i)
    seen += !vd_bit (s->fixed, i);
  s->keep = i;
  for (; i < s->nr; ++i)
    moves += vd_bit (s->used, i);
  s->nr_moves = moves;

  s->new_size = vd_max (s->first_data, s->fixed_end);
  if (s->keep > 0 && s->nr_used > 0)
    s->new_size = vd_max (s->new_size,
                          (uint64_t) vd_slot_where (s, s->keep));
  s->new_size = vd_min (s->new_size, s->file->size);

  last = s->file->size > s->first_data
    ? vd_slot_of (s, s->file->size - 1) + 1 : 0;
  free_places = 0;
  for (i = 0; i < last; ++i)
    free_places += !vd_bit (s->used, i) && !vd_bit (s->zero, i) &&
      !vd_bit (s->fixed, i);
  for (i = s->keep; i < last && vd_slot_where (s, i) < (int64_t) s->new_size;
       ++i)
    stuck += !vd_bit (s->fixed, i);

  r->unused += free_places * s->stride;
  r->moved += moves * s->stride;
  r->stuck += stuck * s->stride;
  s->st->shrink += s->file->size - s->new_size;
  if (s->nr_zero > 0 || moves > 0 || s->new_size < s->file->size)
    s->must_write = true;
  r->changed |= s->must_write;
}
