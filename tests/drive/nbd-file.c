/* remote/nbd.c against a server: random reads, writes, zeros and maps of any
 * size and place, by several threads at once, compared with memory.
 *
 *   nbd-file URI THREADS ROUNDS SEED
 *
 * The export must be all zeros, and its size a multiple of THREADS.  Each
 * thread owns a part of it; the parts are not made of whole blocks, so that
 * neighbours write to the same block.  The last line is
 * "N connections, N operations, extents yes|no".
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../remote/nbd.h"

#define MAX_OP (UINT64_C (3) << 20)

struct part {
  struct vd_file *f;
  uint64_t start, size;
  uint8_t *model;
  unsigned rounds;
  uint64_t state;
};

struct check {
  const struct part *p;
  uint64_t at;
};

static _Atomic int saw_hole;

static void
die (const char *what)
{
  fprintf (stderr, "nbd-file: %s\n", what);
  exit (1);
}

static uint64_t
draw (struct part *p, uint64_t below)
{
  p->state ^= p->state << 13;
  p->state ^= p->state >> 7;
  p->state ^= p->state << 17;
  return p->state % below;
}

static int
check_extent (void *opaque, uint64_t length, unsigned type,
              struct vd_err *err)
{
  struct check *c = opaque;
  uint64_t i;

  (void) err;
  if (type & VD_READS_ZERO) {
    saw_hole = 1;
    for (i = 0; i < length; ++i)
      if (c->p->model[c->at - c->p->start + i] != 0)
        die ("data was called zeros");
  }
  c->at += length;
  return 0;
}

static void *
work (void *opaque)
{
  struct part *p = opaque;
  uint8_t *buf = malloc (MAX_OP);
  unsigned i;

  if (!buf)
    die ("memory");
  for (i = 0; i < p->rounds; ++i) {
    const uint64_t large = draw (p, 4) == 0 ? MAX_OP : 9000;
    uint64_t n = draw (p, large) + 1, at = draw (p, p->size), j;
    struct check c = { .p = p, .at = p->start + at };
    struct vd_err err = { .code = VD_OK };
    int r = 0;

    if (n > p->size - at)
      n = p->size - at;
    switch (draw (p, 5)) {
    case 0: case 1:
      r = vd_file_pread (p->f, buf, n, p->start + at, &err);
      if (r == 0 && memcmp (buf, p->model + at, n) != 0)
        die ("wrong bytes");
      break;
    case 2:
      for (j = 0; j < n; ++j)
        p->model[at + j] = (uint8_t) (p->state >> (j % 57));
      r = vd_file_pwrite (p->f, p->model + at, n, p->start + at, &err);
      break;
    case 3:
      memset (p->model + at, 0, n);
      r = vd_file_zero (p->f, p->start + at, n, &err);
      break;
    default:
      r = vd_file_extents (p->f, p->start + at, n, check_extent, &c, &err);
      if (r == 0 && c.at != p->start + at + n)
        die ("a map with the wrong length");
    }
    if (r == -1) {
      /* a server that is sanitized wants its clients to say goodbye */
      if (p->size == p->f->size)
        vd_file_close (p->f);
      die (err.msg);
    }
  }
  free (buf);
  return NULL;
}

int
main (int argc, char **argv)
{
  pthread_t thread[16];
  struct part part[16];
  struct vd_err err;
  struct vd_file *f;
  unsigned i, n;

  if (argc != 5)
    die ("usage: nbd-file URI THREADS ROUNDS SEED");
  n = (unsigned) atoi (argv[2]);
  if (n < 1 || n > 16)
    die ("1 to 16 threads");
  f = nbdfile_open (argv[1], true, n, &err);
  if (!f)
    die (err.msg);
  for (i = 0; i < n; ++i) {
    part[i] = (struct part) {
      .f = f, .start = f->size / n * i, .size = f->size / n,
      .model = calloc (1, f->size / n), .rounds = (unsigned) atoi (argv[3]),
      .state = strtoull (argv[4], NULL, 0) * 1000003 + i + 1,
    };
    if (!part[i].model || part[i].size == 0)
      die ("memory, or too many threads");
    if (pthread_create (&thread[i], NULL, work, &part[i]) != 0)
      die ("cannot start a thread");
  }
  for (i = 0; i < n; ++i) {
    pthread_join (thread[i], NULL);
    free (part[i].model);
  }
  if (vd_file_flush (f, &err) == -1)
    die (err.msg);
  printf ("%u connections, %u operations, extents %s\n",
          nbdfile_connections (f), n * (unsigned) atoi (argv[3]),
          saw_hole ? "yes" : "no");
  vd_file_close (f);
  return 0;
}
