/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing to the grains of one part; see disk.h.
 *
 * A request is cut at tables, and taken in steps: look (with the shard locked)
 * says what the next bytes are: grains that are there, and where; or grains
 * that are not, which are then ours to make until we say that they are made.
 * Nobody waits for a grain while making another, so nobody waits in a circle.
 */

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "write/disk-private.h"

/* Stored grains that one look finds. */
#define MAX_SEGMENTS 64u

/* New grains that are made together, unless one is larger. */
#define MAX_MAKE (UINT64_C (8) << 20)

/* Filled in pieces of this size; a smaller grain is written as a whole. */
#define FILL_SIZE (UINT64_C (1) << 20)

/* The file is made longer by so much at once. */
#define EXTEND (UINT64_C (16) << 20)

struct segment {
  uint64_t where, length;
};

/* What the next bytes are. */
struct look {
  enum { STORED, ABSENT, NOTHING } what;
  uint64_t length;              /* bytes of the request */
  struct segment seg[MAX_SEGMENTS];
  size_t nr_seg;
  /* ABSENT: the grains are ours to make. */
  struct disk_table *table;
  struct disk_making making;
  bool zero;                    /* they read as zeros by an entry */
};

struct request {
  struct disk_part *p;
  const struct vd_base *base;
  enum disk_mode mode;
  const uint8_t *buf;           /* NULL: zeros */
  uint64_t n, offset;           /* what is left, of the part */
};

/* ---- Looking -------------------------------------------------------------- */

static bool
is_making (const struct disk_shard *s, uint64_t grain)
{
  const struct disk_making *m;

  for (m = s->making; m; m = m->next)
    if (m->first <= grain && grain < m->end)
      return true;
  return false;
}

static struct vd_entry
state_of (const struct request *q, const struct disk_table *table,
          uint64_t grain)
{
  return vd_entries_state (&q->p->entries,
                           table->entry[grain % q->p->per_table]);
}

/* Grains that are there: as far as there are any, and room to say where.  Those
 * that are just being published are not there yet.
 */
static void
look_stored (const struct request *q, const struct disk_table *table,
             const struct disk_shard *s, uint64_t limit, struct look *k)
{
  const uint64_t size = q->p->grain_size;
  uint64_t pos = q->offset, n;

  k->what = STORED;
  for (; pos < limit; pos += n) {
    const struct vd_entry e = state_of (q, table, pos / size);
    const uint64_t where = e.where + pos % size;
    struct segment *last = k->nr_seg > 0 ? &k->seg[k->nr_seg - 1] : NULL;

    if (e.kind != VD_DATA || is_making (s, pos / size))
      break;
    n = vd_min (size - pos % size, limit - pos);
    if (last && last->where + last->length == where)
      last->length += n;
    else if (k->nr_seg == MAX_SEGMENTS)
      break;
    else
      k->seg[k->nr_seg++] = (struct segment) { where, n };
  }
  k->length = pos - q->offset;
}

/* Grains that are not there and that nobody makes: they become ours.  Zeros
 * are made of whole grains, or of a part of one.
 */
static void
look_absent (const struct request *q, struct disk_table *table,
             struct disk_shard *s, uint64_t limit, struct look *k)
{
  const uint64_t size = q->p->grain_size;
  const uint64_t first = q->offset / size;
  const enum vd_kind kind = state_of (q, table, first).kind;
  const uint64_t end = vd_div_up (limit, size);
  uint64_t most = vd_max (MAX_MAKE / size, 1), g = first + 1;

  if (q->p->stored_size != size || (q->mode != DISK_WRITE &&
                                    q->offset % size != 0))
    most = 1;
  else if (q->mode != DISK_WRITE)
    most = end - first;
  while (g < end && g - first < most && !is_making (s, g) &&
         state_of (q, table, g).kind == kind)
    ++g;
  /* a part at the end is for the next look */
  if (q->mode != DISK_WRITE && g - first > 1 && g * size > limit &&
      limit < q->p->length)
    --g;
  k->what = ABSENT;
  k->zero = kind == VD_ZERO;
  k->table = table;
  k->length = vd_min (g * size, limit) - q->offset;
  k->making = (struct disk_making) {
    .first = first, .end = g, .next = s->making
  };
  s->making = &k->making;
  table->making++;
}

static int
look (const struct request *q, struct look *k, struct vd_err *err)
{
  struct disk_part *p = q->p;
  const uint64_t grain = q->offset / p->grain_size;
  const uint64_t t = grain / p->per_table;
  const uint64_t limit = vd_min (q->offset + q->n,
                                 (t + 1) * p->per_table * p->grain_size);
  struct disk_shard *s = disk_shard_of (p, t);
  LOCK_FOR_SCOPE (&s->lock);
  struct disk_table *table;
  struct vd_entry e;

  k->nr_seg = 0;
  while ((table = disk_get_table (p, s, t, err)) != NULL &&
         is_making (s, grain))
    pthread_cond_wait (&s->changed, &s->lock);
  if (!table)
    return -1;
  e = state_of (q, table, grain);
  if (e.kind == VD_DATA)
    look_stored (q, table, s, limit, k);
  else if (q->mode != DISK_WRITE && e.kind == VD_ZERO) {
    k->what = NOTHING;
    k->length = vd_min (limit, (grain + 1) * p->grain_size) - q->offset;
  }
  else
    look_absent (q, table, s, limit, k);
  return 0;
}

/* ---- Making grains --------------------------------------------------------- */

/* Set the entries of the first n grains that are ours. */
static void
enter (struct disk_part *p, struct look *k, const uint32_t *raw, uint64_t n)
{
  struct disk_shard *s = disk_shard_of (p, k->table->t);
  LOCK_FOR_SCOPE (&s->lock);
  uint64_t i;

  for (i = 0; i < n; ++i)
    k->table->entry[(k->making.first + i) % p->per_table] = raw[i];
  disk_dirty (p, k->table);
}

/* The grains are no longer ours. */
static void
end_making (struct disk_part *p, struct look *k)
{
  struct disk_shard *s = disk_shard_of (p, k->table->t);
  LOCK_FOR_SCOPE (&s->lock);
  struct disk_making **m;

  for (m = &s->making; *m != &k->making; m = &(*m)->next)
    ;
  *m = k->making.next;
  k->table->making--;
  pthread_cond_broadcast (&s->changed);
}

/* The last step of making n grains; r == 0: they have these entries now, the
 * first of which says `where`, if they are stored.  D2: until the map says so
 * too nobody else may write to them, who would be answered and then read what
 * was there.
 */
static int
publish (struct disk_part *p, struct look *k, const uint32_t *raw, uint64_t n,
         uint64_t where, int r)
{
  const uint64_t from = k->making.first * p->grain_size;

  if (r == 0) {
    const struct vd_map_change change = {
      .offset = p->start + from,
      .length = vd_min (n * p->grain_size, p->length - from),
      .kind = where == 0 ? VD_ZERO : VD_DATA,
      .where = where,
      .slot = (uint32_t) (p - p->disk->part),
    };

    enter (p, k, raw, n);
    vd_map_change (vd_reader_get_map (p->disk->reader), &change);
  }
  end_making (p, k);
  return r;
}

int
disk_claim (struct disk_part *p, uint64_t n, uint64_t align, uint64_t *where,
            struct vd_err *err)
{
  uint64_t to;

  *where = vd_div_up (p->next, align) * align;
  if (*where > p->max_size || n > p->max_size - *where)
    return vd_fail (err, VD_NOSPACE, "%s would become larger than %" PRIu64
                    " bytes, which its block numbers cannot express",
                    p->file->name, p->max_size);
  if (*where + n > p->size) {
    to = vd_min (vd_div_up (*where + n, EXTEND) * EXTEND, p->max_size);
    if (p->file->ops->truncate (p->file, to, err) == -1) {
      to = *where + n;
      if (p->file->ops->truncate (p->file, to, err) == -1)
        return -1;
    }
    p->size = to;
  }
  p->next = *where + n;
  p->counted = false;
  return 0;
}

/* Places for n grains, one behind the other, and for their table if it has
 * none.
 */
static int
find_places (struct disk_part *p, struct disk_table *table, uint64_t n,
             uint64_t *where, struct vd_err *err)
{
  struct disk_shard *s = disk_shard_of (p, table->t);
  LOCK_FOR_SCOPE (&s->lock);
  LOCK_FOR_SCOPE (&p->place_lock);

  if (table->place.where == 0 && disk_tables_place (p, table, err) == -1)
    return -1;
  return n == 0 ? 0
    : disk_claim (p, n * p->stored_size, p->align, where, err);
}

/* Give bytes of the disk that are not in the request, [from, to), to a new
 * grain; `at` is the place of from in the file.
 */
static int
fill (const struct request *q, uint64_t from, uint64_t to, uint64_t at,
      struct vd_err *err)
{
  struct disk_part *p = q->p;
  CLEANUP_FREE uint8_t *buf = NULL;
  uint64_t n;

  if (from >= to)
    return 0;
  buf = malloc ((size_t) vd_min (to - from, FILL_SIZE));
  if (!buf)
    return vd_fail_nomem (err);
  for (; from < to; from += n, at += n) {
    n = vd_min (to - from, FILL_SIZE);
    if (disk_below_read (p->disk, q->base, buf, n, p->start + from,
                         err) == -1 ||
        (!vd_is_zero (buf, (size_t) n) &&
         vd_file_pwrite (p->file, buf, (size_t) n, at, err) == -1))
      return -1;
  }
  return 0;
}

/* [from, to) is one grain, or what the disk has of it, of which the request
 * has [a, b): in one write, unless the rest is zeros.  `where` is that of
 * from.
 */
static int
write_grain (const struct request *q, uint64_t from, uint64_t to, uint64_t a,
             uint64_t b, uint64_t where, struct vd_err *err)
{
  struct disk_part *p = q->p;
  CLEANUP_FREE uint8_t *buf = malloc ((size_t) (to - from));
  uint64_t begin = from, end = to;

  if (!buf)
    return vd_fail_nomem (err);
  if (disk_below_read (p->disk, q->base, buf, a - from, p->start + from,
                       err) == -1 ||
      disk_below_read (p->disk, q->base, buf + (b - from), to - b,
                       p->start + b, err) == -1)
    return -1;
  if (vd_is_zero (buf, (size_t) (a - from)))
    begin = a;
  if (vd_is_zero (buf + (b - from), (size_t) (to - b)))
    end = b;
  if (q->buf)
    memcpy (buf + (a - from), q->buf, (size_t) (b - a));
  else
    memset (buf + (a - from), 0, (size_t) (b - a));
  return vd_file_pwrite (p->file, buf + (begin - from),
                         (size_t) (end - begin), where + (begin - from), err);
}

/* The content of n new grains, the first of which is at `where`; there the
 * file reads as zeros.
 */
static int
write_grains (const struct request *q, const struct look *k, uint64_t n,
              uint64_t where, struct vd_err *err)
{
  struct disk_part *p = q->p;
  const uint64_t from = k->making.first * p->grain_size;
  const uint64_t to = vd_min (from + n * p->grain_size, p->length);
  const uint64_t a = q->offset, b = q->offset + k->length;

  if (!k->zero && !p->disk->nothing_below) {
    if (n == 1 && to - from <= FILL_SIZE && (a > from || b < to))
      return write_grain (q, from, to, a, b, where, err);
    if (fill (q, from, a, where, err) == -1 ||
        fill (q, b, to, where + (b - from), err) == -1)
      return -1;
  }
  return q->buf ? vd_file_pwrite (p->file, q->buf, (size_t) (b - a),
                                  where + (a - from), err) : 0;
}

/* Store n grains that are ours, with what the request has for them. */
static int
store (const struct request *q, struct look *k, uint64_t n,
       struct vd_err *err)
{
  struct disk_part *p = q->p;
  CLEANUP_FREE uint32_t *raw = malloc ((size_t) n * sizeof *raw);
  uint64_t where = 0, i;
  int r;

  r = raw ? find_places (p, k->table, n, &where, err) : vd_fail_nomem (err);
  where += p->stored_size - p->grain_size;      /* what stands in front */
  if (r == 0)
    r = write_grains (q, k, n, where, err);
  for (i = 0; r == 0 && i < n; ++i)
    raw[i] = vd_entries_raw (&p->entries, where + i * p->stored_size);
  atomic_store (&p->written, true);
  if (r == 0)
    atomic_fetch_add (&p->disk->new_grains, n);
  return publish (p, k, raw, n, where, r);
}

/* Make n grains that are ours zeros by an entry. */
static int
enter_zeros (const struct request *q, struct look *k, uint64_t n,
             struct vd_err *err)
{
  struct disk_part *p = q->p;
  CLEANUP_FREE uint32_t *raw = malloc ((size_t) n * sizeof *raw);
  uint64_t i, none;
  int r;

  r = raw ? find_places (p, k->table, 0, &none, err) : vd_fail_nomem (err);
  for (i = 0; r == 0 && i < n; ++i)
    raw[i] = p->entries.zero;
  return publish (p, k, raw, n, 0, r);
}

/* Zeros for grains that are ours, as D5 of disk.h says: for as many of them
 * as are alike.
 */
static int
zero_absent (const struct request *q, struct look *k, struct vd_err *err)
{
  struct disk_part *p = q->p;
  const uint64_t size = p->grain_size, first = k->making.first;
  const uint64_t at = q->offset % size;
  uint64_t alike = k->length, n;
  bool whole;
  int zero;

  zero = disk_below_zero (p->disk, q->base, p->start + q->offset, &alike,
                          err);
  if (zero == 1 && alike < k->length) {
    alike = vd_round_down (at + alike, size);
    zero = alike > at;          /* else the grain is zeros in part */
    alike = zero ? alike - at : 1;
  }
  n = vd_div_up (at + alike, size);
  k->length = vd_min (k->length, n * size - at);
  whole = at == 0 && q->offset + k->length == vd_min ((first + n) * size,
                                                      p->length);
  if (zero != 0 || (q->mode == DISK_TRIM &&
                    (!whole || (!p->entries.can_zero && p->trim_needs_entry)))) {
    end_making (p, k);
    return zero == -1 ? -1 : 0;
  }
  return whole && p->entries.can_zero ? enter_zeros (q, k, n, err)
    : store (q, k, n, err);
}

static int
write_stored (const struct request *q, const struct look *k,
              struct vd_err *err)
{
  struct disk_part *p = q->p;
  const uint8_t *buf = q->buf;
  size_t i;
  int r = 0;

  for (i = 0; r == 0 && i < k->nr_seg; ++i) {
    const struct segment *s = &k->seg[i];

    if (buf) {
      r = vd_file_pwrite (p->file, buf, (size_t) s->length, s->where, err);
      buf += s->length;
    }
    else
      r = vd_file_zero (p->file, s->where, s->length, err);
  }
  /* Behind the writes: a flush that takes it back has seen them. */
  atomic_store (&p->written, true);
  return r;
}

static int
step (const struct request *q, struct look *k, struct vd_err *err)
{
  if (look (q, k, err) == -1)
    return -1;
  switch (k->what) {
  case STORED: return write_stored (q, k, err);
  case ABSENT: return q->mode == DISK_WRITE
      ? store (q, k, k->making.end - k->making.first, err)
      : zero_absent (q, k, err);
  default: return 0;
  }
}

int
disk_grains_write (struct disk_part *p, const struct vd_base *base,
                   enum disk_mode mode, const uint8_t *buf, uint64_t n,
                   uint64_t offset, struct vd_err *err)
{
  struct request q = {
    .p = p, .base = base, .mode = mode, .buf = buf, .n = n, .offset = offset,
  };
  struct look k;

  while (q.n > 0) {
    if (step (&q, &k, err) == -1)
      return -1;
    q.n -= k.length;
    q.offset += k.length;
    if (q.buf)
      q.buf += k.length;
  }
  return 0;
}
