/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing streamOptimized, with a footer as VMware's products do it.  The
 * markers are explained in kdmv-stream.c.
 *
 *   header (gdOffset -1), descriptor, free up to overHead,
 *   for each table that is not empty: its grains, marker, table,
 *   marker, directory, marker, footer, end of stream
 *
 * Grains are compressed several at a time, in a thread each, and written
 * together.  The last grain of the disk is padded to its full size, because
 * VirtualBox refuses a shorter one.  A grain of zeros over a parent cannot be
 * left out: it is compressed once and stored for each.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <libdeflate.h>

#include "base/cleanup.h"
#include "create/create-format.h"
#include "format/kdmv.h"

#define GTES 512u
#define GRAIN_MARKER_SIZE 12u
#define LEVEL 6

enum { MARKER_EOS = 0, MARKER_GT, MARKER_GD, MARKER_FOOTER };

/* The directory is kept: 2^22 entries are 16 MiB and 128 TiB of disk with
 * the usual grains.
 */
#define MAX_TABLES (UINT64_C (1) << 22)

/* Grains compressed before they are written, in bytes and in number. */
#define BATCH_BYTES (UINT64_C (16) << 20)
#define BATCH_GRAINS 128u

struct vd_create_stream {
  struct libdeflate_compressor **compressor; /* one a thread */
  size_t slot;                  /* room for one compressed grain, sectors */
  size_t batch;                 /* slots */
  uint8_t *slots;
  size_t packed[BATCH_GRAINS];  /* bytes in each slot, whole sectors */
  uint8_t *last;                /* the last grain, padded */
  uint8_t *zero;                /* a grain of zeros, compressed */
  size_t zero_packed;
};

/* ---- Compressing ---------------------------------------------------------- */

/* What the threads work on together. */
struct job {
  const struct vd_create *w;
  const uint8_t *buf;           /* n whole grains */
  size_t n;
  uint64_t lba;                 /* sector of the disk */
  atomic_size_t next;
  atomic_uint thread;
};

/* Marker, zlib stream, padding; returns the bytes, whole sectors. */
static size_t
pack (const struct vd_create *w, struct libdeflate_compressor *c,
      const uint8_t *grain, uint64_t lba, uint8_t *out)
{
  const size_t n
    = libdeflate_zlib_compress (c, grain, (size_t) w->opts.grain_size,
                                out + GRAIN_MARKER_SIZE,
                                w->stream->slot - GRAIN_MARKER_SIZE);
  const size_t whole
    = (size_t) (vd_div_up (GRAIN_MARKER_SIZE + n, VD_SECTOR) * VD_SECTOR);

  vd_put64 (out, lba);
  vd_put32 (out + 8, (uint32_t) n);
  memset (out + GRAIN_MARKER_SIZE + n, 0, whole - GRAIN_MARKER_SIZE - n);
  return whole;
}

static void *
work (void *opaque)
{
  struct job *j = opaque;
  struct vd_create_stream *s = j->w->stream;
  struct libdeflate_compressor *c
    = s->compressor[atomic_fetch_add (&j->thread, 1)];
  const uint64_t grain = j->w->opts.grain_size;
  size_t i;

  while ((i = atomic_fetch_add (&j->next, 1)) < j->n)
    s->packed[i] = pack (j->w, c, j->buf + i * grain,
                         j->lba + i * (grain / VD_SECTOR),
                         s->slots + i * s->slot);
  return NULL;
}

static void
compress_batch (const struct vd_create *w, const uint8_t *buf, size_t n,
                uint64_t lba)
{
  pthread_t thread[64];
  struct job j = { .w = w, .buf = buf, .n = n, .lba = lba };
  const size_t want = (size_t) vd_min (w->opts.threads, n) - 1;
  size_t started = 0, i;

  /* Without the threads it takes longer, no more. */
  while (started < want &&
         pthread_create (&thread[started], NULL, work, &j) == 0)
    started++;
  work (&j);
  for (i = 0; i < started; ++i)
    pthread_join (thread[i], NULL);
}

/* ---- Opening and closing -------------------------------------------------- */

static void
stream_close (struct vd_create *w)
{
  struct vd_create_stream *s = w->stream;
  unsigned i;

  if (!s)
    return;
  for (i = 0; s->compressor && i < w->opts.threads; ++i)
    libdeflate_free_compressor (s->compressor[i]);
  free (s->compressor);
  free (s->slots);
  free (s->last);
  free (s->zero);
  free (s);
  w->stream = NULL;
}

static uint64_t
overhead (const struct vd_create *w)
{
  const uint64_t grain = w->opts.grain_size / VD_SECTOR;

  return vd_div_up (1 + VD_WRITE_DESCRIPTOR_SECTORS, grain) * grain;
}

static uint64_t
gd_sectors (const struct vd_create *w)
{
  return vd_div_up (w->nr_tables * 4, VD_SECTOR);
}

static int
stream_open (struct vd_create *w, struct vd_err *err)
{
  const size_t grain = (size_t) w->opts.grain_size;
  struct vd_create_stream *s;
  unsigned i;

  if (w->nr_tables > MAX_TABLES)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%" PRIu64 " bytes in grains of %" PRIu64 " need %" PRIu64
                    " grain tables, at most %" PRIu64 " are possible in a "
                    "stream: use larger grains", w->opts.capacity,
                    w->opts.grain_size, w->nr_tables, MAX_TABLES);
  w->free = overhead (w);

  w->stream = s = calloc (1, sizeof *s);
  w->gd = calloc ((size_t) (gd_sectors (w) * VD_SECTOR), 1);
  if (!s || !w->gd)
    return vd_fail_nomem (err);
  s->compressor = calloc (w->opts.threads, sizeof s->compressor[0]);
  if (!s->compressor)
    return vd_fail_nomem (err);
  for (i = 0; i < w->opts.threads; ++i)
    if (!(s->compressor[i] = libdeflate_alloc_compressor (LEVEL)))
      return vd_fail_nomem (err);
  s->slot = (size_t) (vd_div_up (GRAIN_MARKER_SIZE
                                 + libdeflate_zlib_compress_bound (NULL,
                                                                   grain),
                                 VD_SECTOR) * VD_SECTOR);
  s->batch = (size_t) vd_max (1, vd_min (BATCH_BYTES / s->slot,
                                         BATCH_GRAINS));
  s->slots = malloc (s->batch * s->slot);
  s->last = calloc (1, grain);
  s->zero = malloc (s->slot);
  if (!s->slots || !s->last || !s->zero)
    return vd_fail_nomem (err);
  s->zero_packed = pack (w, s->compressor[0], s->last, 0, s->zero);
  return 0;
}

/* ---- Grains and tables ---------------------------------------------------- */

/* Write the packed slots together. */
static int
write_batch (struct vd_create *w, uint32_t entry, size_t n,
             struct vd_err *err)
{
  struct vd_create_stream *s = w->stream;
  uint64_t at = w->free;
  size_t i, size = 0;

  for (i = 0; i < n; ++i) {
    memmove (s->slots + size, s->slots + i * s->slot, s->packed[i]);
    w->table[entry + i] = htole32 ((uint32_t) at);
    at += s->packed[i] / VD_SECTOR;
    size += s->packed[i];
  }
  return vd_create_append (w, s->slots, size, err);
}

static uint64_t
lba_of (const struct vd_create *w, uint32_t entry)
{
  return (w->table_index * GTES + entry) * (w->opts.grain_size / VD_SECTOR);
}

static int
stream_data (struct vd_create *w, uint32_t entry, const uint8_t *buf,
             size_t n, struct vd_err *err)
{
  struct vd_create_stream *s = w->stream;
  const size_t grain = (size_t) w->opts.grain_size;

  while (n > 0) {
    size_t count = (size_t) vd_min (n / grain, s->batch);

    if (count > 0)
      compress_batch (w, buf, count, lba_of (w, entry));
    else {
      memcpy (s->last, buf, n);
      compress_batch (w, s->last, 1, lba_of (w, entry));
      return write_batch (w, entry, 1, err);
    }
    if (write_batch (w, entry, count, err) == -1)
      return -1;
    entry += (uint32_t) count;
    buf += count * grain;
    n -= count * grain;
  }
  return 0;
}

static int
stream_zeros (struct vd_create *w, uint32_t entry, uint32_t count,
              struct vd_err *err)
{
  struct vd_create_stream *s = w->stream;
  size_t n, i;

  for (; count > 0; entry += (uint32_t) n, count -= (uint32_t) n) {
    n = (size_t) vd_min (count, s->batch);
    for (i = 0; i < n; ++i) {
      memcpy (s->slots + i * s->slot, s->zero, s->zero_packed);
      vd_put64 (s->slots + i * s->slot, lba_of (w, entry + (uint32_t) i));
      s->packed[i] = s->zero_packed;
    }
    if (write_batch (w, entry, n, err) == -1)
      return -1;
  }
  return 0;
}

static int
append_marker (struct vd_create *w, uint64_t sectors, uint32_t type,
               struct vd_err *err)
{
  uint8_t m[VD_SECTOR] = { 0 };

  vd_put64 (m, sectors);
  vd_put32 (m + 12, type);
  return vd_create_append (w, m, sizeof m, err);
}

static int
stream_end_table (struct vd_create *w, struct vd_err *err)
{
  if (append_marker (w, GTES * 4 / VD_SECTOR, MARKER_GT, err) == -1)
    return -1;
  w->gd[w->table_index] = htole32 ((uint32_t) w->free);
  return vd_create_append (w, w->table, GTES * 4, err);
}

static void
encode (const struct vd_create *w, uint64_t gd, uint8_t h[512])
{
  const struct vd_kdmv_places p = {
    .version = 3,
    .flags = VD_KDMV_LINE_ENDS | VD_KDMV_COMPRESSED | VD_KDMV_MARKERS,
    .gd = gd, .overhead = overhead (w), .compression = 1,
  };

  vd_create_kdmv_header (w, &p, h);
}

static int
stream_finish (struct vd_create *w, const char *descriptor,
               struct vd_err *err)
{
  uint8_t footer[VD_SECTOR];
  uint64_t gd;

  if (vd_kdmv_write_descriptor (w, descriptor, err) == -1 ||
      append_marker (w, gd_sectors (w), MARKER_GD, err) == -1)
    return -1;
  gd = w->free;
  encode (w, gd, footer);
  if (vd_create_append (w, w->gd, (size_t) (gd_sectors (w) * VD_SECTOR),
                       err) == -1 ||
      append_marker (w, 1, MARKER_FOOTER, err) == -1 ||
      vd_create_append (w, footer, sizeof footer, err) == -1)
    return -1;
  return append_marker (w, 0, MARKER_EOS, err);
}

static int
stream_header (struct vd_create *w, struct vd_err *err)
{
  uint8_t h[VD_SECTOR];

  encode (w, VD_KDMV_GD_AT_END, h);
  return vd_file_pwrite (w->extent.file, h, sizeof h, 0, err);
}

const struct vd_create_ops vd_create_stream = {
  .create_type = "streamOptimized",
  .extent_type = "SPARSE",
  .embedded = true,
  .min_grain = 4096,
  .default_grain = 65536,
  .gtes = GTES,
  .open = stream_open,
  .data = stream_data,
  .zeros = stream_zeros,
  .end_table = stream_end_table,
  .finish = stream_finish,
  .header = stream_header,
  .close = stream_close,
};
