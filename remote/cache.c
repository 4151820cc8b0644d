/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Blocks of files that are far away; see cache.h. */

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"

#define MAX_THREADS 16u

/* So much of a read is looked after together. */
#define SPAN ((size_t) 64)      /* blocks */

#define MAX_AHEAD ((uint64_t) 32)
#define MAX_GAP ((uint64_t) 8)

/* A thread ends when there is nothing more to read.  Starting one costs nothing
 * beside a round trip, and who waits for the threads of a server to go when its
 * last client has gone (tests do) would wait for idle ones for ever.
 */
struct worker {
  struct cache *cache;
  pthread_t thread;
  bool started, ended;          /* to be joined: started */
};

enum state { WANTED, LOADING, READY, FAILED };

struct block {
  struct far_file *file;
  uint64_t index;
  enum state state;
  bool alone;                   /* not to be read with others: that failed */
  unsigned pins;
  uint8_t *data;
  struct vd_err *why;           /* FAILED; NULL: no memory */
  struct block *chain;          /* in the table of its file */
  struct block *older, *newer;  /* READY: by use.  WANTED: the queue */
};

struct list {
  struct block *oldest, *newest;
};

struct cache {
  pthread_mutex_t lock;         /* of everything below, and of far_file */
  pthread_cond_t done;          /* a block is READY or FAILED; a request ended */
  struct list used, queue;
  size_t nr_blocks;
  unsigned under_way[CACHE_KINDS], limit[CACHE_KINDS];
  bool may_start, stop;
  struct worker worker[MAX_THREADS];
};

struct far_file {
  struct vd_file file;
  struct vd_file *below;
  struct cache *cache;
  unsigned kind;
  uint64_t max_run;             /* blocks in a request */
  struct block **table;
  size_t mask;
  unsigned loading;
  uint64_t next, ahead;         /* read from start to end: how far ahead */
  double latency, rate;         /* seconds, bytes a second; 0: not known */
};

/* ---- Lists and tables (with the lock) --------------------------------------- */

static void
list_remove (struct list *l, struct block *b)
{
  *(b->older ? &b->older->newer : &l->oldest) = b->newer;
  *(b->newer ? &b->newer->older : &l->newest) = b->older;
  b->older = b->newer = NULL;
}

static void
list_add (struct list *l, struct block *b)
{
  b->older = l->newest;
  b->newer = NULL;
  *(l->newest ? &l->newest->newer : &l->oldest) = b;
  l->newest = b;
}

static struct block **
slot_of (struct far_file *f, uint64_t index)
{
  return &f->table[(index * UINT64_C (0x9e3779b97f4a7c15) >> 40) & f->mask];
}

static struct block *
find_block (struct far_file *f, uint64_t index)
{
  struct block *b;

  for (b = *slot_of (f, index); b && b->index != index; b = b->chain)
    ;
  return b;
}

static void
free_block (struct block *b)
{
  b->file->cache->nr_blocks--;
  free (b->why);
  free (b->data);
  free (b);
}

static void
leave_table (struct block *b)
{
  struct block **p;

  for (p = slot_of (b->file, b->index); *p != b; p = &(*p)->chain)
    ;
  *p = b->chain;
}

/* C4 */
static void
make_room (struct cache *c)
{
  struct block *b = c->used.oldest, *newer;

  for (; b && c->nr_blocks >= CACHE_BUDGET / CACHE_BLOCK; b = newer) {
    newer = b->newer;
    if (b->pins > 0)
      continue;
    list_remove (&c->used, b);
    leave_table (b);
    free_block (b);
  }
}

/* A new WANTED block; NULL: no memory. */
static struct block *
want_block (struct far_file *f, uint64_t index)
{
  struct cache *c = f->cache;
  struct block *b, **slot = slot_of (f, index);

  make_room (c);
  b = calloc (1, sizeof *b);
  if (!b)
    return NULL;
  b->file = f;
  b->index = index;
  b->chain = *slot;
  *slot = b;
  c->nr_blocks++;
  list_add (&c->queue, b);
  return b;
}

static uint64_t
nr_blocks_of (const struct far_file *f)
{
  return vd_div_up (f->file.size, CACHE_BLOCK);
}

/* ---- Reading ------------------------------------------------------------------ */

static double
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* The shortest request tells what a round trip costs, the largest one the
 * rate.
 */
static void
measure (struct far_file *f, uint64_t n, double seconds)
{
  double rate;

  if (n == 1 && (f->latency <= 0 || seconds < f->latency))
    f->latency = seconds;
  if (n >= 4 && f->latency > 0 && seconds > f->latency) {
    rate = (double) (n * CACHE_BLOCK) / (seconds - f->latency);
    f->rate = f->rate > 0 ? (f->rate * 7 + rate) / 8 : rate;
  }
}

/* How many blocks that nobody wants cost less than one more round trip. */
static uint64_t
gap_of (const struct far_file *f)
{
  const double gap = f->latency * f->rate / (double) CACHE_BLOCK;

  return gap >= (double) MAX_GAP ? MAX_GAP : (uint64_t) gap;
}

static bool
is_wanted (struct far_file *f, uint64_t index)
{
  const struct block *b = find_block (f, index);

  return b && b->state == WANTED && !b->alone;
}

/* How many blocks from a WANTED one on are read in one request.  Those in gaps
 * become WANTED.
 */
static uint64_t
find_run (struct block *first)
{
  struct far_file *f = first->file;
  const uint64_t end = vd_min (first->index + f->max_run, nr_blocks_of (f));
  const uint64_t gap = gap_of (f);
  uint64_t to = first->index + 1, i = to, k;

  for (; !first->alone && i < end && i - to <= gap; ++i) {
    if (is_wanted (f, i)) {
      for (k = to; k < i; ++k)
        if (!want_block (f, k))
          return to - first->index;
      to = i + 1;
    }
    else if (find_block (f, i))
      break;
  }
  return to - first->index;
}

static void
finish_block (struct block *b, enum state state, const struct vd_err *why)
{
  struct cache *c = b->file->cache;

  b->state = state;
  if (state == READY) {
    list_add (&c->used, b);
    return;
  }
  leave_table (b);              /* C2 */
  if (b->pins == 0) {
    free_block (b);
    return;
  }
  b->why = malloc (sizeof *b->why);
  if (b->why)
    *b->why = *why;
}

/* One request for blocks that are LOADING, without the lock. */
static int
fetch (struct far_file *f, struct block **run, uint64_t n, double *seconds,
       struct vd_err *err)
{
  const uint64_t start = run[0]->index * CACHE_BLOCK;
  const uint64_t size = vd_min (n * CACHE_BLOCK, f->file.size - start);
  CLEANUP_FREE uint8_t *all = n > 1 ? malloc ((size_t) size) : NULL;
  const double began = now ();
  uint64_t i;

  for (i = 0; i < n; ++i)
    if (!(run[i]->data = malloc (CACHE_BLOCK)))
      return vd_fail_nomem (err);
  if (n > 1 && !all)
    return vd_fail_nomem (err);
  if (vd_file_pread (f->below, all ? all : run[0]->data, (size_t) size, start,
                     err) == -1)
    return -1;
  *seconds = now () - began;
  for (i = 0; all && i < n; ++i)
    memcpy (run[i]->data, all + i * CACHE_BLOCK,
            (size_t) vd_min (CACHE_BLOCK, size - i * CACHE_BLOCK));
  return 0;
}

static void wake_thread (struct cache *c);

/* Read a WANTED block, and what is read with it.  Called with the lock, which
 * is released meanwhile.  The block is pinned, or need not be waited for (C5).
 */
static void
load (struct block *first)
{
  struct far_file *f = first->file;
  struct cache *c = f->cache;
  struct block *run[SPAN];
  uint64_t n, i;
  double seconds = 0;
  struct vd_err err;
  int r;

  while (first->state == WANTED &&      /* nobody else has read it meanwhile */
         c->under_way[f->kind] >= c->limit[f->kind])
    pthread_cond_wait (&c->done, &c->lock);
  if (first->state != WANTED)
    return;
  n = find_run (first);
  for (i = 0; i < n; ++i) {
    run[i] = find_block (f, first->index + i);
    run[i]->state = LOADING;
    list_remove (&c->queue, run[i]);
  }
  c->under_way[f->kind]++;
  f->loading++;
  pthread_mutex_unlock (&c->lock);

  r = fetch (f, run, n, &seconds, &err);

  pthread_mutex_lock (&c->lock);
  c->under_way[f->kind]--;
  if (r == 0)
    measure (f, n, seconds);
  for (i = 0; i < n; ++i) {
    if (r == 0)
      finish_block (run[i], READY, NULL);
    else if (n > 1 && run[i]->pins > 0) {
      /* Perhaps only its neighbours cannot be read. */
      free (run[i]->data);
      run[i]->data = NULL;
      run[i]->alone = true;
      run[i]->state = WANTED;
      list_add (&c->queue, run[i]);
    }
    else
      finish_block (run[i], FAILED, &err);
  }
  f->loading--;
  pthread_cond_broadcast (&c->done);
  wake_thread (c);
}

/* The first in the queue for which there may be one more request. */
static struct block *
next_in_queue (const struct cache *c)
{
  struct block *b = c->queue.oldest;

  while (b && c->under_way[b->file->kind] >= c->limit[b->file->kind])
    b = b->newer;
  return b;
}

static void *
read_queue (void *opaque)
{
  struct worker *w = opaque;
  struct cache *c = w->cache;
  struct block *b;

  pthread_mutex_lock (&c->lock);
  while (!c->stop && (b = next_in_queue (c)) != NULL)
    load (b);
  w->ended = true;
  pthread_mutex_unlock (&c->lock);
  return NULL;
}

static void
start_worker (struct cache *c, struct worker *w)
{
  sigset_t all, old;

  if (w->started)
    pthread_join (w->thread, NULL);
  *w = (struct worker) { .cache = c };
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  w->started = pthread_create (&w->thread, NULL, read_queue, w) == 0;
  pthread_sigmask (SIG_SETMASK, &old, NULL);
}

/* One more thread, if there is something for it to read.  With the lock. */
static void
wake_thread (struct cache *c)
{
  unsigned i;

  if (!c->may_start || c->stop || !next_in_queue (c))
    return;
  for (i = 0; i < MAX_THREADS; ++i)
    if (!c->worker[i].started || c->worker[i].ended) {
      start_worker (c, &c->worker[i]);
      return;
    }
}

/* A file that is read from start to end is read ahead, twice as far each
 * time.
 */
static void
read_ahead (struct far_file *f, uint64_t first, uint64_t end)
{
  struct cache *c = f->cache;
  uint64_t i, to;

  if (first + 2 * SPAN < f->next || first > f->next + SPAN)
    f->ahead = 0;
  else if (f->next > 0 && end > f->next)        /* the first read tells nothing */
    f->ahead = vd_min (f->ahead ? f->ahead * 2 : 1, MAX_AHEAD);
  f->next = end;
  if (!c->may_start)
    return;
  to = vd_min (end + f->ahead, nr_blocks_of (f));
  for (i = end; i < to; ++i)
    if (!find_block (f, i) && !want_block (f, i))
      return;
}

static void
unpin (struct block *b)
{
  if (--b->pins == 0 && b->state == FAILED)
    free_block (b);
}

/* Wait for the blocks, and help to read them. */
static int
await_blocks (struct far_file *f, struct block **b, size_t n,
              struct vd_err *err)
{
  struct cache *c = f->cache;
  size_t i;

  for (i = 0; i < n; ) {
    if (b[i]->state == WANTED)
      load (b[i]);
    else if (b[i]->state == LOADING) {
      size_t k = i + 1;

      while (k < n && b[k]->state != WANTED)
        ++k;
      if (k < n)
        load (b[k]);
      else
        pthread_cond_wait (&c->done, &c->lock);
    }
    else if (b[i]->state == FAILED) {
      if (b[i]->why)
        *err = *b[i]->why;
      else
        vd_fail_nomem (err);
      return -1;
    }
    else
      ++i;
  }
  return 0;
}

/* At most SPAN blocks. */
static int
read_span (struct far_file *f, uint8_t *buf, size_t n, uint64_t offset,
           struct vd_err *err)
{
  struct cache *c = f->cache;
  const uint64_t first = offset / CACHE_BLOCK;
  const size_t nr = (size_t) (vd_div_up (offset + n, CACHE_BLOCK) - first);
  struct block *b[SPAN];
  size_t i, got;
  int r = 0;

  pthread_mutex_lock (&c->lock);
  for (got = 0; got < nr; ++got) {
    b[got] = find_block (f, first + got);
    if (!b[got] && !(b[got] = want_block (f, first + got))) {
      r = vd_fail_nomem (err);
      break;
    }
    b[got]->pins++;
  }
  if (r == 0) {
    read_ahead (f, first, first + nr);
    wake_thread (c);
    r = await_blocks (f, b, nr, err);
  }
  if (r == 0) {
    pthread_mutex_unlock (&c->lock);
    for (i = 0; i < nr; ++i) {
      const uint64_t start = (first + i) * CACHE_BLOCK;
      const uint64_t from = vd_max (start, offset);
      const uint64_t to = vd_min (start + CACHE_BLOCK, offset + n);

      memcpy (buf + (from - offset), b[i]->data + (from - start),
              (size_t) (to - from));
    }
    pthread_mutex_lock (&c->lock);
  }
  for (i = 0; i < got; ++i) {
    if (b[i]->state == READY) { /* it is the newest now */
      list_remove (&c->used, b[i]);
      list_add (&c->used, b[i]);
    }
    unpin (b[i]);
  }
  pthread_mutex_unlock (&c->lock);
  return r;
}

static int
far_pread (struct vd_file *file, void *buf, size_t n, uint64_t offset,
           struct vd_err *err)
{
  struct far_file *f = (struct far_file *) file;
  uint8_t *p = buf;
  size_t m;

  for (; n > 0; p += m, offset += m, n -= m) {
    m = SPAN * CACHE_BLOCK - offset % CACHE_BLOCK;
    m = (size_t) vd_min (m, n);
    if (read_span (f, p, m, offset, err) == -1)
      return -1;
  }
  return 0;
}

/* Copy what is there, or have it read. */
static bool
far_peek (struct vd_file *file, struct iovec *iov, int nr_iov, size_t n,
          uint64_t offset)
{
  struct far_file *f = (struct far_file *) file;
  struct cache *c = f->cache;
  const uint64_t first = offset / CACHE_BLOCK;
  const uint64_t end = vd_div_up (offset + n, CACHE_BLOCK);
  bool there = true;
  uint64_t i;
  LOCK_FOR_SCOPE (&c->lock);

  if (end - first > SPAN)
    return false;
  for (i = first; i < end; ++i) {
    const struct block *b = find_block (f, i);

    there = there && b && b->state == READY;
    if (!b && (!c->may_start || !want_block (f, i)))
      break;
  }
  if (!there) {
    wake_thread (c);
    return false;
  }
  for (; nr_iov > 0; ++iov, --nr_iov) {
    uint8_t *p = iov->iov_base;
    size_t left = iov->iov_len, m;

    for (; left > 0; p += m, offset += m, left -= m) {
      const size_t in = (size_t) (offset % CACHE_BLOCK);

      m = (size_t) vd_min (CACHE_BLOCK - in, left);
      memcpy (p, find_block (f, offset / CACHE_BLOCK)->data + in, m);
    }
  }
  return true;
}

/* Nobody reads it any more, but a thread may be reading ahead. */
static void
far_close (struct vd_file *file)
{
  struct far_file *f = (struct far_file *) file;
  struct cache *c = f->cache;
  struct block *b, *next;
  size_t i;

  pthread_mutex_lock (&c->lock);
  for (b = c->queue.oldest; b; b = next) {
    next = b->newer;
    if (b->file == f) {
      list_remove (&c->queue, b);
      leave_table (b);
      free_block (b);
    }
  }
  while (f->loading > 0)
    pthread_cond_wait (&c->done, &c->lock);
  for (i = 0; i <= f->mask; ++i)
    while ((b = f->table[i]) != NULL) {
      f->table[i] = b->chain;
      list_remove (&c->used, b);
      free_block (b);
    }
  pthread_mutex_unlock (&c->lock);
  vd_file_close (f->below);
  free (f->table);
  free (f);
}

static const struct vd_file_ops far_ops = {
  .pread = far_pread,
  .peek = far_peek,
  .close = far_close,
};

struct vd_file *
cache_file (struct cache *c, struct vd_file *below, unsigned kind,
            size_t request, struct vd_err *err)
{
  CLEANUP_FREE struct far_file *f = calloc (1, sizeof *f);
  const uint64_t blocks = vd_div_up (below->size, CACHE_BLOCK);
  size_t slots = 8;

  while (slots < blocks && slots < 1024)
    slots *= 2;
  if (!f || !(f->file.name = strdup (below->name)) ||
      !(f->table = calloc (slots, sizeof *f->table))) {
    if (f)
      free (f->file.name);
    vd_file_close (below);
    vd_fail_nomem (err);
    return NULL;
  }
  f->file.ops = &far_ops;
  f->file.size = below->size;
  f->file.far = true;
  f->below = below;
  f->cache = c;
  f->kind = kind;
  f->max_run = vd_min (request / CACHE_BLOCK, SPAN);
  f->mask = slots - 1;
  return (struct vd_file *) VD_TAKE (f);
}

/* ---- All files ------------------------------------------------------------------ */

struct cache *
cache_new (struct vd_err *err)
{
  struct cache *c = calloc (1, sizeof *c);
  unsigned i;

  if (!c) {
    vd_fail_nomem (err);
    return NULL;
  }
  pthread_mutex_init (&c->lock, NULL);
  pthread_cond_init (&c->done, NULL);
  for (i = 0; i < CACHE_KINDS; ++i)
    c->limit[i] = 4;
  return c;
}

void
cache_set_limit (struct cache *c, unsigned kind, unsigned limit)
{
  c->limit[kind] = limit;
}

void
cache_start_threads (struct cache *c)
{
  LOCK_FOR_SCOPE (&c->lock);

  c->may_start = true;
}

void
cache_free (struct cache *c)
{
  unsigned i;

  if (!c)
    return;
  pthread_mutex_lock (&c->lock);
  c->stop = true;
  pthread_mutex_unlock (&c->lock);
  for (i = 0; i < MAX_THREADS; ++i)
    if (c->worker[i].started)
      pthread_join (c->worker[i].thread, NULL);
  pthread_mutex_destroy (&c->lock);
  pthread_cond_destroy (&c->done);
  free (c);
}
