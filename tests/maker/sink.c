/* Sinks: files and memory, and changing single fields of either. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "maker.h"
#include "plan.h"

void *
mk_alloc (size_t n, size_t size)
{
  void *p = calloc (n ? n : 1, size);

  if (p == NULL) {
    perror ("calloc");
    abort ();
  }
  return p;
}

void *
mk_grow (void *p, size_t n, size_t size)
{
  p = n > SIZE_MAX / size ? NULL : realloc (p, n * size);
  if (p == NULL) {
    perror ("realloc");
    abort ();
  }
  return p;
}

void
mk_put16 (uint8_t *p, uint16_t v)
{
  p[0] = (uint8_t) (v & 0xff);
  p[1] = (uint8_t) (v >> 8);
}

void
mk_put32 (uint8_t *p, uint32_t v)
{
  mk_put16 (p, (uint16_t) (v & 0xffff));
  mk_put16 (p + 2, (uint16_t) (v >> 16));
}

void
mk_put64 (uint8_t *p, uint64_t v)
{
  mk_put32 (p, (uint32_t) (v & 0xffffffff));
  mk_put32 (p + 4, (uint32_t) (v >> 32));
}

static int
file_pwrite (void *opaque, const void *buf, size_t n, uint64_t off)
{
  const char *p = buf;
  int fd = *(int *) opaque;

  while (n > 0) {
    ssize_t r = pwrite (fd, p, n, (off_t) off);

    if (r == -1 && errno == EINTR)
      continue;
    if (r == -1)
      return -1;
    p += r;
    n -= (size_t) r;
    off += (uint64_t) r;
  }
  return 0;
}

static int
file_truncate (void *opaque, uint64_t size)
{
  return ftruncate (*(int *) opaque, (off_t) size);
}

static int
open_sink (struct mk_sink *sink, const char *path, int flags)
{
  int fd = open (path, flags | O_CLOEXEC, 0644);
  int *opaque;

  if (fd == -1)
    return -1;
  opaque = mk_alloc (1, sizeof *opaque);
  *opaque = fd;
  sink->opaque = opaque;
  sink->pwrite = file_pwrite;
  sink->truncate = file_truncate;
  return 0;
}

int
mk_sink_create (struct mk_sink *sink, const char *path)
{
  return open_sink (sink, path, O_RDWR | O_CREAT | O_TRUNC);
}

int
mk_sink_open (struct mk_sink *sink, const char *path)
{
  return open_sink (sink, path, O_RDWR);
}

int
mk_sink_close (struct mk_sink *sink)
{
  int fd = *(int *) sink->opaque;

  free (sink->opaque);
  memset (sink, 0, sizeof *sink);
  return close (fd);
}

static int
mem_truncate (void *opaque, uint64_t size)
{
  struct mk_mem *mem = opaque;
  size_t n;

  if (size > 1 << 30) {
    errno = EFBIG;
    return -1;
  }
  n = (size_t) size;
  if (n > mem->allocated) {
    size_t want = mem->allocated ? mem->allocated : 4096;

    while (want < n)
      want *= 2;
    mem->data = mk_grow (mem->data, want, 1);
    mem->allocated = want;
  }
  if (n > mem->size)
    memset (mem->data + mem->size, 0, n - mem->size);
  mem->size = n;
  return 0;
}

static int
mem_pwrite (void *opaque, const void *buf, size_t n, uint64_t off)
{
  struct mk_mem *mem = opaque;

  if (n == 0)
    return 0;
  if (off > UINT64_MAX - n) {
    errno = EFBIG;
    return -1;
  }
  if (off + n > mem->size && mem_truncate (mem, off + n) == -1)
    return -1;
  memcpy (mem->data + off, buf, n);
  return 0;
}

void
mk_sink_mem (struct mk_sink *sink, struct mk_mem *mem)
{
  memset (mem, 0, sizeof *mem);
  sink->opaque = mem;
  sink->pwrite = mem_pwrite;
  sink->truncate = mem_truncate;
}

int
mk_poke8 (struct mk_sink *sink, uint64_t off, uint8_t value)
{
  return sink->pwrite (sink->opaque, &value, 1, off);
}

int
mk_poke16 (struct mk_sink *sink, uint64_t off, uint16_t value)
{
  uint8_t b[2];

  mk_put16 (b, value);
  return sink->pwrite (sink->opaque, b, sizeof b, off);
}

int
mk_poke32 (struct mk_sink *sink, uint64_t off, uint32_t value)
{
  uint8_t b[4];

  mk_put32 (b, value);
  return sink->pwrite (sink->opaque, b, sizeof b, off);
}

int
mk_poke64 (struct mk_sink *sink, uint64_t off, uint64_t value)
{
  uint8_t b[8];

  mk_put64 (b, value);
  return sink->pwrite (sink->opaque, b, sizeof b, off);
}

int
mk_poke_file (const char *path, uint64_t off, unsigned bytes, uint64_t value)
{
  struct mk_sink sink;
  uint8_t b[8];
  int r;

  if (bytes > sizeof b) {
    errno = EINVAL;
    return -1;
  }
  mk_put64 (b, value);
  if (mk_sink_open (&sink, path) == -1)
    return -1;
  r = sink.pwrite (sink.opaque, b, bytes, off);
  if (mk_sink_close (&sink) == -1)
    r = -1;
  return r;
}

int
mk_write_file (const char *path, const void *data, size_t len)
{
  struct mk_sink sink;
  int r;

  if (mk_sink_create (&sink, path) == -1)
    return -1;
  r = sink.pwrite (sink.opaque, data, len, 0);
  if (mk_sink_close (&sink) == -1)
    r = -1;
  return r;
}
