/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What has to hold for every disk that opened:
 *
 *   - the map covers what was asked for, once and in order, or a prefix of
 *     it; what it calls data lies inside its file;
 *   - the map that is kept says the same as the chain, asked directly;
 *   - a read gives what the map says (fz_expect knows nothing of the reader),
 *     or an error where and only where the map has damage, or a grain that
 *     does not inflate;
 *   - the same bytes come whichever way a range is cut;
 *   - status covers what was asked for, or a prefix; what it calls zero reads
 *     as zeros;
 *   - no answer costs more reads of tables than the caller allows, and each
 *     gets on, so that whoever asks again comes to the end.
 *
 * Disks have up to 2^62 bytes, and a run should take well below a millisecond:
 * so it looks at some places, other ones for each input.  Inputs that differ
 * little meet all of them together.
 */

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define MAX_RUNS 48u            /* of one answer */
#define MAX_ANSWERS 2u          /* of one place */
#define MAX_READS 5u           /* of one answer */
#define PART UINT64_C (1536)    /* of a run, at its ends */
#define AROUND UINT64_C (700)   /* on both sides of a border */

struct disk {
  const struct vd_chain *chain;
  struct vd_reader *reader;
  struct vd_base base;
};

#define LL(n) ((unsigned long long) (n))

/* ---- What is there, without the reader ----------------------------------- */

static int
expect_run (const struct vd_chain *chain, struct vd_file *base,
            const struct vd_run *r, uint8_t *buf)
{
  const struct vd_slot *s;
  struct vd_err err;
  uint64_t in_grain, have;
  uint8_t *grain;
  int result;

  switch (r->kind) {
  case VD_BASE:
    have = base && r->offset < base->size
      ? vd_min (r->length, base->size - r->offset) : 0;
    memset (buf + have, 0, r->length - have);
    return have > 0 ? vd_file_pread (base, buf, have, r->offset, &err) : 0;
  case VD_ZERO:
    memset (buf, 0, r->length);
    return 0;
  case VD_DATA:
    return vd_file_pread (chain->slots[r->slot].image->file, buf, r->length,
                          r->where, &err);
  case VD_COMPRESSED:
    s = &chain->slots[r->slot];
    in_grain = (r->offset - s->start) % s->image->grain_size;
    fz_require (r->length <= s->image->grain_size - in_grain,
                "a run leaves its grain");
    grain = malloc (s->image->grain_size);
    fz_require (grain, "no memory");
    fz_clear (&err);
    result = s->image->fmt->inflate (s->image, r->offset - s->start,
                                     r->where, grain, &err);
    if (result == 0)
      memcpy (buf, grain + in_grain, r->length);
    else
      fz_check_err (&err);
    free (grain);
    return result;
  default:
    fz_clear (&err);
    fz_require (vd_chain_explain (chain, r->slot, r->offset, &err) == -1,
                "damage at %llu that nobody explains", LL (r->offset));
    fz_check_err (&err);
    return -1;
  }
}

int
fz_expect (const struct vd_chain *chain, struct vd_file *base, uint8_t *buf,
           size_t n, uint64_t offset)
{
  struct vd_runs runs = VD_RUNS_INIT (MAX_RUNS);
  const uint64_t start = offset, end = offset + n;
  struct vd_err err;
  int result = 0;
  size_t i;

  while (offset < end && result == 0) {
    runs.n = 0;
    if (vd_chain_map (chain, offset, end - offset, &runs, &err) == -1)
      result = -1;
    for (i = 0; i < runs.n && result == 0; ++i) {
      result = expect_run (chain, base, &runs.run[i],
                           buf + (runs.run[i].offset - start));
      offset = vd_run_end (&runs.run[i]);
    }
  }
  vd_runs_free (&runs);
  return fz_spent () ? 1 : result;
}

/* ---- Reads ---------------------------------------------------------------- */

static void
compare (struct disk *d, uint64_t offset, size_t n)
{
  uint8_t have[2 * PART + 1], want[2 * PART];
  const size_t cut = 1 + fz_choose (offset + n, n);
  struct vd_err err;
  int expected, r;
  size_t i;

  fz_require (n > 0 && n <= sizeof want, "a mistake in this file");
  fz_clear (&err);
  have[n] = 0x5a;
  r = vd_read (d->reader, &d->base, have, n, offset, &err);
  fz_require (have[n] == 0x5a, "a read writes behind its buffer");
  if (r == -1)
    fz_check_err (&err);
  expected = fz_expect (d->chain, d->base.file, want, n, offset);
  if (expected == 1)
    return;
  fz_require (r == expected, "read of %zu at %llu gives %d, the map says %d: "
              "%s", n, LL (offset), r, expected, err.msg);
  if (r == -1)
    return;
  for (i = 0; i < n; ++i)
    fz_require (have[i] == want[i], "byte %zu of a read of %zu at %llu is "
                "0x%02x, the map says 0x%02x", i, n, LL (offset), have[i],
                want[i]);

  if (fz_choose (offset + 2 * n, 3) != 0)
    return;
  /* in two parts */
  memset (have, 0xa5, n);
  if (vd_read (d->reader, &d->base, have, cut, offset, &err) == -1 ||
      (cut < n && vd_read (d->reader, &d->base, have + cut, n - cut,
                           offset + cut, &err) == -1))
    fz_require (fz_spent (), "read of %zu at %llu fails in parts only: %s",
                n, LL (offset), err.msg);
  else
    fz_require (memcmp (have, want, n) == 0, "read of %zu at %llu differs "
                "when cut at %zu", n, LL (offset), cut);
}

/* At the borders of a run, and inside. */
static void
read_run (struct disk *d, const struct vd_run *r)
{
  const uint64_t end = vd_run_end (r);
  const uint64_t from = r->offset - vd_min (r->offset, AROUND);

  if (r->length <= PART) {
    compare (d, r->offset, (size_t) r->length);
    if (r->offset > 0)
      compare (d, from, (size_t) (vd_min (end, from + 2 * PART) - from));
  }
  else if (fz_choose (r->offset, 2))
    compare (d, from, (size_t) (vd_min (end, r->offset + PART) - from));
  else
    compare (d, end - PART, (size_t) PART);
}

/* ---- The map -------------------------------------------------------------- */

static void
check_run (const struct disk *d, const struct vd_run *r)
{
  const struct vd_chain *c = d->chain;
  const struct vd_slot *s = NULL;

  if (r->kind != VD_BASE && r->kind != VD_ZERO) {
    fz_require (r->slot < c->nr_slots, "slot %u of %u", r->slot, c->nr_slots);
    s = &c->slots[r->slot];
    fz_require (r->offset >= s->start &&
                vd_run_end (r) - s->start <= s->image->used,
                "run at %llu leaves its image", LL (r->offset));
  }
  switch (r->kind) {
  case VD_BASE:
    fz_require (!c->has_base, "below a base there is nothing");
    break;
  case VD_DATA:
    fz_require (s->image->file && r->where <= s->image->file->size &&
                r->length <= s->image->file->size - r->where,
                "data at %llu is not in its file", LL (r->where));
    break;
  case VD_COMPRESSED:
    fz_require (s->image->compressed && s->image->fmt->inflate &&
                s->image->grain_size <= VD_MAX_COMPRESSED_GRAIN &&
                r->where < s->image->file->size, "cannot be compressed");
    break;
  case VD_ZERO: case VD_DAMAGED:
    break;
  default:
    fz_die (__FILE__, __LINE__, "kind %d", (int) r->kind);
  }
}

static void
check_answer (const struct disk *d, const struct vd_runs *runs,
              uint64_t offset, uint64_t length)
{
  const uint64_t end = offset + length;
  size_t i;

  fz_require (runs->n > 0 && runs->n <= runs->max, "%zu runs", runs->n);
  for (i = 0; i < runs->n; ++i) {
    const struct vd_run *r = &runs->run[i];

    fz_require (r->offset == offset && r->length > 0 &&
                r->length <= end - offset,
                "run %zu has %llu+%llu, expected is %llu", i, LL (r->offset),
                LL (r->length), LL (offset));
    check_run (d, r);
    offset += r->length;
  }
}

/* The chain, asked for this run alone, says the same: in one run, or in
 * several that continue each other, if one of the lists it works with is full.
 */
static void
check_alone (const struct disk *d, const struct vd_run *r)
{
  struct vd_runs runs = VD_RUNS_INIT (2);
  const uint64_t end = vd_run_end (r);
  uint64_t offset = r->offset, where = r->where;
  struct vd_err err;
  const struct vd_run *a;
  unsigned n;

  for (n = 0; n < 3 && offset < end; ++n) {
    runs.n = 0;
    if (vd_chain_map (d->chain, offset, end - offset, &runs, &err) == -1) {
      fz_require (fz_spent (), "the map of %llu+%llu fails the second time: "
                  "%s", LL (offset), LL (end - offset), err.msg);
      break;
    }
    a = &runs.run[0];
    fz_require (runs.n == 1 && a->kind == r->kind && a->offset == offset &&
                a->length <= end - offset &&
                (a->kind == VD_BASE || a->kind == VD_ZERO ||
                 a->slot == r->slot) &&
                ((a->kind != VD_DATA && a->kind != VD_COMPRESSED) ||
                 a->where == where),
                "map of %llu+%llu: kind %d at %llu, alone at %llu %zu runs, "
                "%d at %llu", LL (r->offset), LL (r->length), (int) r->kind,
                LL (r->where), LL (offset), runs.n, (int) a->kind,
                LL (a->where));
    offset += a->length;
    if (r->kind == VD_DATA)
      where += a->length;
  }
  vd_runs_free (&runs);
}

/* Walk the map from offset on, for a while. */
static void
check_map (struct disk *d, uint64_t offset, uint64_t length)
{
  struct vd_runs runs = VD_RUNS_INIT (MAX_RUNS);
  const uint64_t end = offset + length;
  struct vd_err err;
  unsigned n;
  size_t i, step;

  for (n = 0; n < MAX_ANSWERS && offset < end && !fz_spent (); ++n) {
    runs.n = 0;
    fz_clear (&err);
    if (vd_reader_map (d->reader, offset, end - offset, &runs, &err) == -1) {
      fz_check_err (&err);
      fz_require (fz_spent (), "the map at %llu: %s", LL (offset), err.msg);
      break;
    }
    check_answer (d, &runs, offset, end - offset);
    step = runs.n / MAX_READS + 1;
    for (i = fz_choose (n, step); i < runs.n && !fz_spent (); i += step) {
      check_alone (d, &runs.run[i]);
      read_run (d, &runs.run[i]);
    }
    offset = vd_run_end (&runs.run[runs.n - 1]);
  }
  vd_runs_free (&runs);
}

/* ---- Work ----------------------------------------------------------------- */

/* What a link may cost beside its share, which has a least amount: one step is
 * done in any case, in both tables; and twice, where tables cannot be read.
 */
#define A_LINK UINT64_C (384)

static void
check_work (const struct disk *d, uint64_t offset, uint64_t length)
{
  struct vd_runs runs = VD_RUNS_INIT (MAX_RUNS);
  const uint64_t end = offset + length;
  uint64_t reads, max;
  struct vd_err err;
  unsigned n;

  runs.max_work = 1 + fz_choose (offset + 3, 3) * 60;
  for (n = 0; n < 3 && offset < end && !fz_spent (); ++n) {
    runs.n = 0;
    runs.work = 0;
    reads = fz_reads ();
    fz_clear (&err);
    if (vd_chain_map (d->chain, offset, end - offset, &runs, &err) == -1) {
      fz_check_err (&err);
      break;
    }
    reads = fz_reads () - reads;
    max = runs.max_work + d->chain->nr_links * A_LINK;
    fz_require (runs.work <= max, "the map of %llu+%llu says that it cost "
                "%llu of %llu", LL (offset), LL (end - offset),
                LL (runs.work), LL (max));
    fz_require (reads <= runs.work, "the map of %llu+%llu needs %llu reads, "
                "and counts %llu", LL (offset), LL (end - offset), LL (reads),
                LL (runs.work));
    check_answer (d, &runs, offset, end - offset);
    offset = vd_run_end (&runs.run[runs.n - 1]);
  }
  vd_runs_free (&runs);
}

/* ---- Status --------------------------------------------------------------- */

struct told {
  struct disk *d;
  uint64_t offset, end;
  unsigned pieces, first;
};

static void
check_zeros (struct disk *d, uint64_t offset, uint64_t length)
{
  uint8_t buf[512];
  struct vd_err err;
  size_t i;

  if (vd_read (d->reader, &d->base, buf, (size_t) length, offset,
               &err) == -1)
    fz_require (fz_spent (), "called zero at %llu, but: %s", LL (offset),
                err.msg);
  else
    for (i = 0; i < length; ++i)
      fz_require (buf[i] == 0, "called zero at %llu, but is 0x%02x",
                  LL (offset + i), buf[i]);
}

static int
told_piece (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct told *t = opaque;
  const uint64_t n = vd_min (length, 512);

  (void) err;
  fz_require (length > 0 && length <= t->end - t->offset,
              "status gives %llu at %llu, past %llu", LL (length),
              LL (t->offset), LL (t->end));
  fz_require ((type & ~(VD_HOLE | VD_READS_ZERO)) == 0, "type %u", type);
  if (t->pieces++ == 0)
    t->first = type;
  if ((type & VD_READS_ZERO) && t->pieces < 20) {
    check_zeros (t->d, t->offset, n);
    check_zeros (t->d, t->offset + length - n, n);
  }
  t->offset += length;
  return t->pieces == 200;
}

static void
check_status (struct disk *d, uint64_t offset, uint64_t length,
              bool only_first)
{
  struct told t = { .d = d, .offset = offset, .end = offset + length };
  struct vd_err err;

  fz_clear (&err);
  if (vd_status (d->reader, &d->base, offset, length, only_first, told_piece,
                 &t, &err) == -1) {
    fz_check_err (&err);
    fz_require (fz_spent (), "status of %llu+%llu: %s", LL (offset),
                LL (length), err.msg);
  }
  else
    fz_require (t.pieces > 0, "status of %llu+%llu is empty", LL (offset),
                LL (length));
}

/* ---- All of it ------------------------------------------------------------ */

static void
check_place (struct disk *d, uint64_t offset, uint64_t length)
{
  check_map (d, offset, length);
  if (!fz_spent ())
    check_work (d, offset, length);
  if (!fz_spent () && fz_choose (offset + 1, 3) == 0)
    check_status (d, offset, length, fz_choose (offset, 2));
}

void
fz_check_disk (const struct vd_chain *chain, struct vd_file *base)
{
  struct disk d = {
    .chain = chain,
    .base = { .file = base, .align = UINT64_C (1) << 3 * fz_choose (7, 5) },
  };
  struct vd_err err;
  uint64_t size = chain->size, region, at;

  fz_require (size > 0 && size <= 2 * VD_MAX_CAPACITY, "size %llu",
              LL (size));
  d.reader = vd_reader_new (chain, 1u << 20, &err);
  fz_require (d.reader, "reader: %s", err.msg);
  region = vd_map_region_size (vd_reader_get_map (d.reader));

  check_place (&d, 0, vd_min (size, region));
  if (size > region)
    switch (fz_choose (1, 4)) {
    case 0:
      at = (size - 1) / region * region;
      check_place (&d, at, size - at);
      break;
    case 1:                     /* in one go */
      check_place (&d, 0, size);
      break;
    default:
      at = fz_choose (2, size);
      check_place (&d, at, vd_min (size - at, region + at % 2 * region));
    }
  vd_reader_free (d.reader);
}
