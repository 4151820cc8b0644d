/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* remote/cache.c: whatever is read ahead, joined, dropped or fails, what is read
 * is what the file has, or an error.
 */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../remote/cache.h"

#define BLOCK ((uint64_t) CACHE_BLOCK)
#define SIZE (70 * BLOCK + 1234)

/* A file whose bytes follow from their place, and which counts. */
struct spy {
  struct vd_file file;
  uint64_t bad;                 /* a read over this byte fails; 0: none */
  atomic_uint reads, at_once, most;
};

static uint8_t
byte_at (uint64_t offset)
{
  return (uint8_t) (offset * 2654435761u >> 13);
}

static int
spy_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
           struct vd_err *err)
{
  struct spy *s = (struct spy *) f;
  const unsigned now = ++s->at_once;
  uint8_t *p = buf;
  size_t i;

  if (now > s->most)
    s->most = now;
  s->reads++;
  for (i = 0; i < n; ++i)
    p[i] = byte_at (offset + i);
  s->at_once--;
  if (s->bad && s->bad >= offset && s->bad < offset + n)
    return vd_fail (err, VD_IO, "bad byte");
  return 0;
}

static const struct vd_file_ops spy_ops = { .pread = spy_pread };

static struct vd_file *
open_spy (struct spy *s, struct cache *c, uint64_t size)
{
  struct vd_err err;
  struct vd_file *f;

  *s = (struct spy) {
    .file = { .ops = &spy_ops, .name = strdup ("spy"), .size = size },
  };
  f = cache_file (c, &s->file, 1, 8 * CACHE_BLOCK, &err);
  assert_non_null (f);
  assert_int_equal (f->size, size);
  return f;
}

static void
check (const uint8_t *buf, size_t n, uint64_t offset)
{
  size_t i;

  for (i = 0; i < n; ++i)
    if (buf[i] != byte_at (offset + i))
      abort ();                 /* also in threads */
}

static void
test_few_reads (void **state)
{
  struct vd_err err;
  struct cache *c = cache_new (&err);
  uint8_t *buf = malloc (SIZE);
  struct spy s;
  struct vd_file *f = open_spy (&s, c, SIZE);
  uint64_t i;

  (void) state;
  /* Small neighbours: one read. */
  for (i = 0; i < 100; ++i) {
    assert_int_equal (vd_file_pread (f, buf, 100, 1000 + i * 100, &err), 0);
    check (buf, 100, 1000 + i * 100);
  }
  assert_int_equal (s.reads, 1);
  /* All of it: in reads as large as they may be, the last one short. */
  assert_int_equal (vd_file_pread (f, buf, SIZE, 0, &err), 0);
  check (buf, SIZE, 0);
  assert_true (s.reads <= 1 + 10 + 1);
  /* And again: none. */
  i = s.reads;
  assert_int_equal (vd_file_pread (f, buf, SIZE, 0, &err), 0);
  assert_int_equal (s.reads, i);
  assert_int_equal (vd_file_pread (f, buf, 2, SIZE - 1, &err), -1);
  vd_file_close (f);
  cache_free (c);
  free (buf);
}

static void
test_errors (void **state)
{
  struct vd_err err;
  struct cache *c = cache_new (&err);
  uint8_t *buf = malloc (SIZE);
  struct spy s;
  struct vd_file *f = open_spy (&s, c, SIZE);

  (void) state;
  s.bad = 5 * BLOCK + 7;
  /* What lies beside it can be read. */
  assert_int_equal (vd_file_pread (f, buf, 4 * BLOCK, BLOCK, &err), 0);
  check (buf, 4 * BLOCK, BLOCK);
  assert_int_equal (vd_file_pread (f, buf, 2 * BLOCK, 4 * BLOCK, &err), -1);
  assert_string_equal (err.msg, "bad byte");
  assert_int_equal (vd_file_pread (f, buf, SIZE, 0, &err), -1);
  assert_int_equal (vd_file_pread (f, buf, 2 * BLOCK, 6 * BLOCK, &err), 0);
  check (buf, 2 * BLOCK, 6 * BLOCK);
  /* An error is not kept. */
  s.bad = 0;
  assert_int_equal (vd_file_pread (f, buf, SIZE, 0, &err), 0);
  check (buf, SIZE, 0);
  vd_file_close (f);
  cache_free (c);
  free (buf);
}

static void
test_peek (void **state)
{
  struct vd_err err;
  struct cache *c = cache_new (&err);
  uint8_t buf[300];
  struct iovec iov[2] = { { buf, 100 }, { buf + 100, 200 } };
  struct spy s;
  struct vd_file *f = open_spy (&s, c, SIZE);

  (void) state;
  /* Without threads nothing is fetched. */
  assert_false (vd_file_peek (f, iov, 2, 300, BLOCK - 50));
  assert_int_equal (s.reads, 0);
  assert_int_equal (vd_file_pread (f, buf, 300, BLOCK - 50, &err), 0);
  memset (buf, 0, sizeof buf);
  assert_true (vd_file_peek (f, iov, 2, 300, BLOCK - 50));
  check (buf, 300, BLOCK - 50);
  cache_start_threads (c);
  assert_false (vd_file_peek (f, NULL, 0, 10 * BLOCK, 20 * BLOCK));
  while (!vd_file_peek (f, NULL, 0, 10 * BLOCK, 20 * BLOCK))
    ;
  vd_file_close (f);
  cache_free (c);
}

struct reader {
  struct vd_file *f[3];
  unsigned seed;
  atomic_uint *failed;
};

static void *
read_at_random (void *opaque)
{
  struct reader *r = opaque;
  uint8_t *buf = malloc (20 * CACHE_BLOCK);
  struct vd_err err;
  unsigned i;

  for (i = 0; i < 300; ++i) {
    struct vd_file *f = r->f[rand_r (&r->seed) % 3];
    const size_t n = 1 + (size_t) rand_r (&r->seed) %
      (i % 4 ? 5000 : 20 * CACHE_BLOCK - 1);
    const uint64_t offset = (uint64_t) rand_r (&r->seed) % (f->size - n);
    struct iovec iov = { buf, n };

    if (i % 3 == 0 && vd_file_peek (f, &iov, 1, n, offset))
      check (buf, n, offset);
    else if (vd_file_pread (f, buf, n, offset, &err) == 0)
      check (buf, n, offset);
    else
      ++*r->failed;
  }
  free (buf);
  return NULL;
}

/* More than the budget, by more threads than there may be requests. */
static void
test_threads (void **state)
{
  struct vd_err err;
  struct cache *c = cache_new (&err);
  pthread_t thread[6];
  struct reader r[6];
  struct spy s[3];
  atomic_uint failed = 0;
  unsigned i, k;

  (void) state;
  cache_set_limit (c, 1, 3);
  cache_start_threads (c);
  for (i = 0; i < 6; ++i)
    r[i] = (struct reader) { .seed = i, .failed = &failed };
  for (k = 0; k < 3; ++k) {
    struct vd_file *f = open_spy (&s[k], c, 300 * BLOCK + k);

    for (i = 0; i < 6; ++i)
      r[i].f[k] = f;
  }
  s[2].bad = 150 * BLOCK;
  for (i = 0; i < 6; ++i)
    assert_int_equal (pthread_create (&thread[i], NULL, read_at_random,
                                      &r[i]), 0);
  for (i = 0; i < 6; ++i)
    pthread_join (thread[i], NULL);
  for (k = 0; k < 3; ++k) {
    assert_true (s[k].most <= 3);
    assert_true (s[k].reads > 0);
    /* While it is read ahead. */
    vd_file_peek (r[0].f[k], NULL, 0, 8 * BLOCK, 9 * BLOCK);
    vd_file_close (r[0].f[k]);
  }
  cache_free (c);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_few_reads),
    cmocka_unit_test (test_errors),
    cmocka_unit_test (test_peek),
    cmocka_unit_test (test_threads),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
