/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Comparing two disks; see compare.h. */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "read/compare.h"

#define PIECE (UINT64_C (8) << 20)
#define BUFFER (UINT64_C (1) << 20)

struct comparing {
  struct vd_file *a, *b;
  uint64_t size;
  const struct vd_compare_opts *opts;

  pthread_mutex_t lock;         /* of the rest */
  uint64_t next, done;
  struct vd_comparison *result;
  bool failed;
  struct vd_err err;            /* the first */
};

/* What one thread has. */
struct comparer {
  struct comparing *all;
  struct vd_stretch in_a, in_b;
  uint8_t *buf;                 /* two of BUFFER */
  uint64_t read;
};

static void
note_difference (struct comparing *c, uint64_t offset, uint8_t a, uint8_t b)
{
  LOCK_FOR_SCOPE (&c->lock);

  if (c->result->equal || offset < c->result->offset) {
    c->result->equal = false;
    c->result->offset = offset;
    c->result->a = a;
    c->result->b = b;
  }
}

/* Read and compare up to BUFFER bytes.  1: equal, 0: not, -1 */
static int
compare_bytes (struct comparer *t, uint64_t offset, size_t n,
               struct vd_err *err)
{
  struct comparing *c = t->all;
  uint8_t *a = t->buf, *b = t->buf + BUFFER;
  size_t i;

  if (vd_file_pread (c->a, a, n, offset, err) == -1 ||
      vd_file_pread (c->b, b, n, offset, err) == -1)
    return -1;
  t->read += n;
  if (memcmp (a, b, n) == 0)
    return 1;
  for (i = 0; a[i] == b[i]; ++i)
    ;
  note_difference (c, offset + i, a[i], b[i]);
  return 0;
}

static int
compare_piece (struct comparer *t, uint64_t offset, uint64_t end,
               struct vd_err *err)
{
  struct comparing *c = t->all;
  uint64_t to_a, to_b, n;
  unsigned type_a, type_b;
  int r;

  for (; offset < end; offset += n) {
    if (vd_file_stretch (c->a, &t->in_a, offset, end, &to_a, &type_a,
                         err) == -1 ||
        vd_file_stretch (c->b, &t->in_b, offset, end, &to_b, &type_b,
                         err) == -1)
      return -1;
    if (type_a & type_b & VD_READS_ZERO) {
      n = vd_min (to_a, to_b) - offset;
      continue;
    }
    n = vd_min (end - offset, BUFFER);
    r = compare_bytes (t, offset, (size_t) n, err);
    if (r != 1)
      return r;
  }
  return 0;
}

/* False at the end, behind a difference, and after a failure. */
static bool
next_piece (struct comparing *c, uint64_t finished, uint64_t *offset,
            uint64_t *end)
{
  LOCK_FOR_SCOPE (&c->lock);

  c->done += finished;
  if (c->failed)
    return false;
  if (finished > 0 && c->opts->progress &&
      c->opts->progress (c->opts->opaque, c->done) != 0) {
    vd_fail (&c->err, VD_USAGE, "stopped as asked");
    c->failed = true;
    return false;
  }
  if (!c->result->equal || c->next == c->size)
    return false;
  *offset = c->next;
  *end = c->next = vd_min (c->size - c->next, PIECE) + c->next;
  return true;
}

static void *
compare_some (void *vp)
{
  struct comparing *c = vp;
  struct comparer t = { .all = c, .buf = malloc (2 * BUFFER) };
  uint64_t offset = 0, end = 0;
  struct vd_err err;
  int r = t.buf ? 0 : vd_fail_nomem (&err);

  while (r == 0 && next_piece (c, end - offset, &offset, &end))
    r = compare_piece (&t, offset, end, &err);
  free (t.buf);

  pthread_mutex_lock (&c->lock);
  c->result->read += t.read;
  if (r == -1 && !c->failed) {
    c->failed = true;
    c->err = err;
  }
  pthread_mutex_unlock (&c->lock);
  return NULL;
}

int
vd_compare (struct vd_file *a, struct vd_file *b, uint64_t size,
            const struct vd_compare_opts *opts, struct vd_comparison *result,
            struct vd_err *err)
{
  struct comparing c = {
    .a = a, .b = b, .size = size, .opts = opts, .result = result
  };
  pthread_t thread[VD_COMPARE_MAX_THREADS];
  unsigned i;

  *result = (struct vd_comparison) { .equal = true };
  pthread_mutex_init (&c.lock, NULL);
  /* This thread is one of them, so that one thread is always had. */
  for (i = 0; i + 1 < vd_min (opts->threads, VD_COMPARE_MAX_THREADS); ++i)
    if (pthread_create (&thread[i], NULL, compare_some, &c) != 0)
      break;
  compare_some (&c);
  while (i > 0)
    pthread_join (thread[--i], NULL);
  pthread_mutex_destroy (&c.lock);
  if (!c.failed)
    return 0;
  *err = c.err;
  return -1;
}
