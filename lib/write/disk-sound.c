/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Is a part that was closed properly sound for certain?  See D7 of disk.h.
 *
 * Check finds all that can be wrong, and says what it is; for that it goes
 * through the tables once for each 128 GiB of the file, and a guest's first
 * write to a full disk of 1 TB had to wait for several seconds.  This is the
 * same question for files as they are: one look at each entry, with a bit for
 * each place of a grain, and a list of all else that is in the file.  Whatever
 * is not as usual (a grain that is not at a multiple of its size too) makes
 * the answer "perhaps", and then check looks.
 */

#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "format/cowd.h"
#include "format/kdmv.h"
#include "write/disk-private.h"

/* Bits, of 32 MiB in all: the same as check takes. */
#define MAX_PLACES (UINT64_C (1) << 28)

struct claim {
  uint64_t from, to;
};

struct sound {
  const struct disk_part *p;
  struct vd_entries tables;     /* as opened */
  uint64_t size;                /* of the file */
  uint64_t first;               /* no grain lies before it */
  uint8_t *taken;               /* a bit for each place of a grain */
  struct claim *claim;          /* tables, directories, header */
  size_t nr_claims;
};

static int
claim (struct sound *s, uint64_t from, uint64_t n, struct vd_err *err)
{
  struct claim *more;

  if (n == 0)
    return 1;
  if (from > s->size || n > s->size - from)
    return 0;
  more = vd_grow (s->claim, s->nr_claims, sizeof *more, err);
  if (!more)
    return -1;
  s->claim = more;
  s->claim[s->nr_claims++] = (struct claim) { from, from + n };
  return 1;
}

static bool
claim_grain (struct sound *s, uint64_t where)
{
  const uint64_t grain = s->p->grain_size, i = where / grain;
  const uint8_t bit = (uint8_t) (1u << (i % 8));

  if (where % grain != 0 || where < s->first || where > s->size ||
      grain > s->size - where || (s->taken[i / 8] & bit))
    return false;
  s->taken[i / 8] |= bit;
  return true;
}

static int
claim_fixed (struct sound *s, struct vd_err *err)
{
  const struct disk_part *p = s->p;
  const uint64_t gd_bytes = p->entries.nr_tables * 4;
  const bool kdmv = p->inner->fmt == &vd_format_kdmv;
  const uint64_t header = kdmv ? VD_SECTOR : VD_COWD_HEADER_SIZE;
  const uint64_t gd = kdmv ? vd_kdmv (p->inner)->tables.gd_offset
    : vd_walk_cowd.tables (p->inner)->gd_offset;
  int r = claim (s, 0, header, err);

  s->first = kdmv ? vd_kdmv (p->inner)->first_data : header;
  if (r == 1)
    r = claim (s, gd, gd_bytes, err);
  if (r == 1 && kdmv)
    r = claim (s, p->inner->descriptor_offset, p->inner->descriptor_length,
               err);
  if (r == 1 && p->entries.has_copies)
    r = claim (s, vd_kdmv (p->inner)->rgd_offset, gd_bytes, err);
  return r;
}

static int
claim_table (struct sound *s, uint64_t t, struct vd_err *err)
{
  const struct vd_entries *e = &s->tables;
  const uint64_t bytes = vd_entries_table_size (e);
  uint32_t raw[VD_ENTRIES_MAX];
  struct vd_table_place place;
  struct vd_err ignored;        /* check says what it is */
  struct vd_entry entry;
  size_t n, i;
  int r;

  if (vd_entries_find (e, t, &place, &ignored) == -1 || place.bad_copy ||
      place.orphan)
    return 0;
  if (place.where == 0)
    return 1;
  r = claim (s, place.where, bytes, err);
  if (r == 1 && place.copy_entry != 0)
    r = claim (s, place.copy_entry, bytes, err);
  if (r != 1)
    return r;
  if (vd_entries_load (e, t, raw, &n, &place, &ignored) == -1 || place.doubt)
    return 0;
  for (i = 0; i < n; ++i) {
    entry = vd_entries_state (e, raw[i]);
    if (entry.kind == VD_DATA ? !claim_grain (s, entry.where)
        : entry.kind != VD_BASE && entry.kind != VD_ZERO)
      return 0;
  }
  return 1;
}

static int
compare_claims (const void *a, const void *b)
{
  const struct claim *x = a, *y = b;

  return (x->from > y->from) - (x->from < y->from);
}

/* Has each claim its place for itself? */
static bool
are_apart (struct sound *s)
{
  const uint64_t grain = s->p->grain_size;
  uint64_t at;
  size_t i;

  qsort (s->claim, s->nr_claims, sizeof s->claim[0], compare_claims);
  for (i = 0; i < s->nr_claims; ++i) {
    if (i > 0 && s->claim[i - 1].to > s->claim[i].from)
      return false;
    for (at = s->claim[i].from / grain; at * grain < s->claim[i].to; ++at)
      if (s->taken[at / 8] >> (at % 8) & 1)
        return false;
  }
  return true;
}

static int
look_at_all (struct sound *s, struct vd_err *err)
{
  uint64_t t;
  int r = claim_fixed (s, err);

  for (t = 0; r == 1 && t < s->p->entries.nr_tables; ++t)
    r = claim_table (s, t, err);
  return r == 1 ? are_apart (s) : r;
}

int
disk_is_sound (const struct disk_part *p, struct vd_err *err)
{
  struct sound s = {
    .p = p, .tables = disk_tables_as_opened (p), .size = p->inner->file->size,
  };
  const uint64_t places = s.size / p->grain_size + 1;
  int r;

  if (p->stored_size != p->grain_size || !p->owns_file || places > MAX_PLACES)
    return 0;
  s.taken = calloc ((size_t) (places / 8 + 1), 1);
  r = s.taken ? look_at_all (&s, err) : vd_fail_nomem (err);
  free (s.taken);
  free (s.claim);
  return r;
}
