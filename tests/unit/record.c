/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Recording writes, and losing some; see record.h. */

#include <pthread.h>

#include "record.h"

unsigned u_seed;

unsigned
u_random (unsigned n)
{
  return (unsigned) rand_r (&u_seed) % n;
}

/* ---- A file that remembers ----------------------------------------------- */

struct event {
  enum { WRITE, ZERO, SIZED, FLUSH } what;
  uint64_t at, n;
  uint8_t *data;
};

static struct event *events;
size_t u_nr_events;
static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;

static void
remember (int what, uint64_t at, uint64_t n, const void *data)
{
  LOCK_FOR_SCOPE (&events_lock);
  struct event *e;

  events = realloc (events, (u_nr_events + 1) * sizeof *events);
  e = &events[u_nr_events++];
  *e = (struct event) { .what = what, .at = at, .n = n };
  if (data) {
    e->data = malloc (n);
    memcpy (e->data, data, n);
  }
}

static int
r_pread (struct vd_file *f, void *buf, size_t n, uint64_t at,
         struct vd_err *err)
{
  (void) f; (void) buf; (void) n; (void) at; (void) err;
  fail_msg ("a target was read");
  return -1;
}

static int
r_pwrite (struct vd_file *f, const void *buf, size_t n, uint64_t at,
          struct vd_err *err)
{
  (void) f; (void) err;
  remember (WRITE, at, n, buf);
  return 0;
}

static int
r_zero (struct vd_file *f, uint64_t at, uint64_t n, struct vd_err *err)
{
  (void) f; (void) err;
  remember (ZERO, at, n, NULL);
  return 0;
}

static int
r_flush (struct vd_file *f, struct vd_err *err)
{
  (void) f; (void) err;
  remember (FLUSH, 0, 0, NULL);
  return 0;
}

static int
r_truncate (struct vd_file *f, uint64_t size, struct vd_err *err)
{
  (void) f; (void) err;
  remember (SIZED, size, 0, NULL);
  return 0;
}

static void
r_close (struct vd_file *f)
{
  free (f);
}

static const struct vd_file_ops r_ops = {
  .pread = r_pread, .pwrite = r_pwrite, .zero = r_zero, .flush = r_flush,
  .truncate = r_truncate, .close = r_close,
};

struct vd_file *
u_record (void *opaque, const struct vd_file *f, struct vd_err *err)
{
  struct vd_file *r = calloc (1, sizeof *r);

  (void) opaque; (void) err;
  *r = *f;
  r->ops = &r_ops;
  r->name = strdup (f->name);
  return r;
}

void
u_forget (void)
{
  size_t i;

  for (i = 0; i < u_nr_events; ++i)
    free (events[i].data);
  free (events);
  events = NULL;
  u_nr_events = 0;
}

/* ---- A crash --------------------------------------------------------------- */

struct bytes { uint8_t *p; uint64_t n; };

static void
resize (struct bytes *b, uint64_t n)
{
  b->p = realloc (b->p, n + 1);
  if (n > b->n)
    memset (b->p + b->n, 0, n - b->n);
  b->n = n;
}

/* torn: each sector of it arrives, or does not. */
static void
play (struct bytes *b, const struct event *e, bool torn)
{
  uint64_t i, k;

  if (e->what == SIZED && e->at > b->n) /* it only grows */
    resize (b, e->at);
  if (e->what != WRITE && e->what != ZERO)
    return;
  if (e->at + e->n > b->n)
    resize (b, e->at + e->n);
  for (i = 0; i < e->n; i += k) {
    k = vd_min (512 - (e->at + i) % 512, e->n - i);
    if (torn && u_random (2))
      continue;
    if (e->data)
      memcpy (b->p + e->at + i, e->data + i, k);
    else
      memset (b->p + e->at + i, 0, k);
  }
}

void
u_crash (const char *from, const char *to, size_t at)
{
  struct bytes b = { NULL, 0 };
  FILE *fp = fopen (from, "r");
  size_t i, flushed = 0, k;
  size_t *order = calloc (at + 1, sizeof *order);

  fseek (fp, 0, SEEK_END);
  resize (&b, (uint64_t) ftell (fp));
  rewind (fp);
  assert_int_equal (fread (b.p, 1, b.n, fp), b.n);
  fclose (fp);
  for (i = 0; i < at; ++i)
    if (events[i].what == FLUSH)
      flushed = i;
  for (i = 0; i < flushed; ++i)
    play (&b, &events[i], false);
  for (i = flushed; i < at; ++i)
    order[i - flushed] = i;
  for (i = at - flushed; i > 1; --i) {
    const size_t tmp = order[i - 1];

    k = u_random ((unsigned) i);
    order[i - 1] = order[k];
    order[k] = tmp;
  }
  for (i = 0; i < at - flushed; ++i)
    if (u_random (3) > 0)
      play (&b, &events[order[i]], u_random (4) == 0);
  u_write (to, b.p, b.n);
  free (b.p);
  free (order);
}
