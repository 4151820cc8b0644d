/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The difference of two disks.
 *
 *   threads     take the next chunk of the disk that is not empty in both,
 *               read it from both (only what is not known to be zeros) and
 *               judge its grains
 *   the caller  gives the judged chunks to the writer, in order
 *
 * Chunks live in a ring of slots, so reading runs ahead of writing by a fixed
 * amount of memory.
 *
 * Invariants:
 * D1. `lock` protects everything in struct work but the content of a slot,
 *     which belongs to the thread that made it BUSY, and when it is DONE to
 *     the caller, until that makes it FREE.
 * D2. Chunks begin and end at grains (or at the end of the disk), rise, and
 *     do not overlap.
 * D3. What is between them reads as zeros in both disks.
 * D4. A grain is left out only if its bytes are equal, or by D3.  The grain in
 *     which the base ends within a sector is never left out: there programs
 *     disagree whether the rest of that sector belongs to the base.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "verb-create.h"

#define CHUNK (UINT64_C (4) << 20) /* a multiple of all grains */
#define MAX_SEGS 64u
#define MAX_RUNS 4096u
#define SCAN_AHEAD (UINT64_C (1) << 30)
#define MAX_THREADS 32u

/* Known parts of one disk, from a question about what is allocated. */
struct scan {
  struct vd_file *file;
  struct { uint64_t end; bool zero; } run[MAX_RUNS];
  size_t n, i;
  uint64_t from, at;            /* start of the first run, end of the last */
};

/* What of a chunk is zeros, without reading it. */
struct segs {
  struct { uint64_t end; bool zero; } seg[MAX_SEGS];
  size_t n;
};

enum kind { EQUAL, DATA, ZEROS };
enum state { FREE, BUSY, DONE };

struct slot {
  enum state state;
  uint64_t start, end;
  struct segs segs[2];          /* base, new */
  uint8_t *buf[2];
  uint8_t *kind;                /* of each grain */
};

struct work {
  struct diff *d;
  uint64_t grain;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct scan scan[2];
  uint64_t pos;                 /* chunks were made up to here */
  struct slot *slots;
  unsigned nr_slots;
  uint64_t made;                /* chunks; slot made % nr_slots is next */
  bool ended;                   /* no more chunks */
  bool stop;                    /* somebody failed */
  struct vd_err err;            /* the first error of a thread */
};

/* ---- Where there is something --------------------------------------------- */

static int
add_run (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct scan *s = opaque;
  const bool zero = (type & VD_READS_ZERO) != 0;

  (void) err;
  s->at += length;
  if (s->n > 0 && s->run[s->n - 1].zero == zero)
    s->run[s->n - 1].end = s->at;
  else {
    s->run[s->n].end = s->at;
    s->run[s->n].zero = zero;
    s->n++;
  }
  /* All of an answer is used, as far as there is room: asking is slow. */
  return s->n == MAX_RUNS || (s->n > 1 && s->at - s->from >= SCAN_AHEAD);
}

/* Is the byte at offset known to be zero, and up to where is that so?
 * offset does not fall.
 */
static int
look (struct scan *s, uint64_t offset, bool *zero, uint64_t *end,
      struct vd_err *err)
{
  if (offset >= s->file->size) {
    *zero = true;
    *end = UINT64_MAX;
    return 0;
  }
  while (s->i < s->n && s->run[s->i].end <= offset)
    s->i++;
  if (s->i == s->n) {
    s->n = s->i = 0;
    s->from = s->at = offset;
    if (vd_file_extents (s->file, offset, s->file->size - offset, add_run,
                         s, err) == -1)
      return -1;
  }
  *zero = s->run[s->i].zero;
  *end = s->run[s->i].end;
  return 0;
}

/* The parts of [start, end), of which the bytes before pos are zeros. */
static int
find_segs (struct scan *s, struct segs *segs, uint64_t start, uint64_t pos,
           uint64_t end, struct vd_err *err)
{
  segs->n = 0;
  if (start < pos) {
    segs->seg[0].zero = true;
    segs->seg[0].end = pos;
    segs->n = 1;
  }
  while (pos < end) {
    bool zero = false;
    uint64_t to = end;

    /* Too many parts: the last one is read as a whole. */
    if (segs->n < MAX_SEGS - 1 && look (s, pos, &zero, &to, err) == -1)
      return -1;
    pos = vd_min (to, end);
    segs->seg[segs->n].zero = zero;
    segs->seg[segs->n].end = pos;
    segs->n++;
  }
  return 0;
}

/* The next chunk, if there is one; called with the lock. */
static int
next_chunk (struct work *w, struct slot *slot, struct vd_err *err)
{
  const uint64_t capacity = w->d->capacity;
  uint64_t pos = w->pos, to[2];
  bool zero[2];
  unsigned i;

  for (;;) {
    if (pos >= capacity)
      return 0;
    for (i = 0; i < 2; ++i)
      if (look (&w->scan[i], pos, &zero[i], &to[i], err) == -1)
        return -1;
    if (!zero[0] || !zero[1])
      break;
    pos = vd_min (to[0], to[1]);
    if (progress_stopped ())
      return vd_fail (err, VD_IO, "interrupted");
  }

  slot->start = vd_round_down (pos, w->grain);
  slot->end = vd_min (slot->start + CHUNK, capacity);
  for (i = 0; i < 2; ++i)
    if (find_segs (&w->scan[i], &slot->segs[i], slot->start, pos, slot->end,
                   err) == -1)
      return -1;
  w->pos = slot->end;
  return 1;
}

/* ---- Comparing ------------------------------------------------------------ */

static int
fill (struct vd_file *f, const struct segs *segs, uint64_t start,
      uint8_t *buf, struct vd_err *err)
{
  uint64_t at = start;
  size_t i;

  for (i = 0; i < segs->n; ++i) {
    const uint64_t end = segs->seg[i].end;
    const uint64_t have
      = segs->seg[i].zero || at >= f->size ? 0 : vd_min (end, f->size) - at;

    if (vd_file_pread (f, buf + (at - start), (size_t) have, at, err) == -1)
      return -1;
    memset (buf + (at - start) + have, 0, (size_t) (end - at - have));
    at = end;
  }
  return 0;
}

static bool
all_zeros (const uint8_t *p, size_t n)
{
  return vd_is_zero (p, n);
}

static void
judge (const struct work *w, struct slot *slot)
{
  const uint64_t size = slot->end - slot->start;
  const uint64_t base_size = w->d->base->size;
  const uint8_t *const base = slot->buf[0], *const new = slot->buf[1];
  uint64_t i, at, n;

  memset (slot->kind, EQUAL, (size_t) vd_div_up (size, w->grain));
  if (memcmp (base, new, (size_t) size) != 0)
    for (i = 0, at = 0; at < size; ++i, at += n) {
      n = vd_min (w->grain, size - at);
      if (memcmp (base + at, new + at, (size_t) n) != 0)
        slot->kind[i] = all_zeros (new + at, (size_t) n) ? ZEROS : DATA;
    }

  if (base_size % VD_SECTOR != 0 && base_size > slot->start &&
      base_size < slot->end) {  /* D4 */
    i = (base_size - slot->start) / w->grain;
    at = i * w->grain;
    n = vd_min (w->grain, size - at);
    slot->kind[i] = all_zeros (new + at, (size_t) n) ? ZEROS : DATA;
  }
}

static int
compare (const struct work *w, struct slot *slot, struct vd_err *err)
{
  if (fill (w->d->base, &slot->segs[0], slot->start, slot->buf[0],
            err) == -1 ||
      fill (w->d->new, &slot->segs[1], slot->start, slot->buf[1], err) == -1)
    return -1;
  judge (w, slot);
  return 0;
}

static void
fail_work (struct work *w, const struct vd_err *err)
{
  if (!w->stop)
    w->err = *err;
  w->stop = true;
}

static void *
thread_main (void *opaque)
{
  struct work *w = opaque;
  struct vd_err err;

  pthread_mutex_lock (&w->lock);
  for (;;) {
    struct slot *slot;
    int r;

    while (!w->stop && !w->ended &&
           w->slots[w->made % w->nr_slots].state != FREE)
      pthread_cond_wait (&w->changed, &w->lock);
    if (w->stop || w->ended)
      break;
    slot = &w->slots[w->made % w->nr_slots];
    r = next_chunk (w, slot, &err);
    if (r == 1) {
      slot->state = BUSY;
      w->made++;
      pthread_mutex_unlock (&w->lock);
      r = compare (w, slot, &err) == -1 ? -1 : 1;
      pthread_mutex_lock (&w->lock);
      slot->state = DONE;
    }
    if (r == -1)
      fail_work (w, &err);
    if (r == 0)
      w->ended = true;
    pthread_cond_broadcast (&w->changed);
  }
  pthread_mutex_unlock (&w->lock);
  return NULL;
}

/* ---- Writing -------------------------------------------------------------- */

static int
write_slot (const struct work *w, const struct slot *slot,
            struct vd_err *err)
{
  const uint64_t size = slot->end - slot->start;
  const size_t grains = (size_t) vd_div_up (size, w->grain);
  size_t i, j;

  for (i = 0; i < grains; i = j) {
    const uint64_t at = i * w->grain;
    uint64_t n;
    int r = 0;

    for (j = i + 1; j < grains && slot->kind[j] == slot->kind[i]; ++j)
      ;
    n = vd_min (j * w->grain, size) - at;
    if (slot->kind[i] == DATA)
      r = vd_create_data (w->d->w, slot->start + at, slot->buf[1] + at,
                          (size_t) n, err);
    else if (slot->kind[i] == ZEROS)
      r = vd_create_zero (w->d->w, slot->start + at, n, err);
    if (r == -1)
      return -1;
  }
  return 0;
}

static int
write_all (struct work *w, struct vd_err *err)
{
  uint64_t nr;

  for (nr = 0; ; ++nr) {
    struct slot *slot = &w->slots[nr % w->nr_slots];
    bool end, stop;

    pthread_mutex_lock (&w->lock);
    while (!w->stop && (nr < w->made ? slot->state != DONE : !w->ended))
      pthread_cond_wait (&w->changed, &w->lock);
    stop = w->stop;
    end = nr == w->made;
    if (stop)
      *err = w->err;
    pthread_mutex_unlock (&w->lock);
    if (stop || end)
      return stop ? -1 : 0;

    if (write_slot (w, slot, err) == -1)
      return -1;
    w->d->compared += slot->end - slot->start;
    if (progress_update (w->d->progress, slot->end))
      return vd_fail (err, VD_IO, "interrupted");
    pthread_mutex_lock (&w->lock);
    slot->state = FREE;
    pthread_cond_broadcast (&w->changed);
    pthread_mutex_unlock (&w->lock);
  }
}

static int
run (struct work *w, struct vd_err *err)
{
  pthread_t thread[MAX_THREADS];
  unsigned n = 0;
  int r;

  while (n < w->d->threads && n < MAX_THREADS &&
         pthread_create (&thread[n], NULL, thread_main, w) == 0)
    n++;
  r = n > 0 ? write_all (w, err)
    : vd_fail (err, VD_NOMEM, "cannot start a thread");

  pthread_mutex_lock (&w->lock);
  w->stop = true;
  pthread_cond_broadcast (&w->changed);
  pthread_mutex_unlock (&w->lock);
  while (n > 0)
    pthread_join (thread[--n], NULL);
  return r;
}

int
diff_run (struct diff *d, struct vd_err *err)
{
  struct work w = {
    .d = d, .grain = vd_create_grain_size (d->w),
    .scan = { { .file = d->base }, { .file = d->new } },
    .nr_slots = d->threads * 2,
  };
  bool ok = true;
  unsigned i, k;
  int r;

  w.slots = calloc (w.nr_slots, sizeof *w.slots);
  for (i = 0; w.slots && i < w.nr_slots; ++i) {
    for (k = 0; k < 2; ++k)
      ok = (w.slots[i].buf[k] = malloc (CHUNK)) && ok;
    ok = (w.slots[i].kind = malloc ((size_t) (CHUNK / w.grain))) && ok;
  }
  pthread_mutex_init (&w.lock, NULL);
  pthread_cond_init (&w.changed, NULL);
  r = w.slots && ok ? run (&w, err) : vd_fail (err, VD_NOMEM,
                                               "out of memory");
  pthread_cond_destroy (&w.changed);
  pthread_mutex_destroy (&w.lock);
  for (i = 0; w.slots && i < w.nr_slots; ++i) {
    free (w.slots[i].buf[0]);
    free (w.slots[i].buf[1]);
    free (w.slots[i].kind);
  }
  free (w.slots);
  return r;
}
