/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What is common to all files: bounds, and the file in memory. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "file/file.h"

static int
check_read (const struct vd_file *f, size_t n, uint64_t offset,
            struct vd_err *err)
{
  if (offset > f->size || n > f->size - offset)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: %zu bytes at byte %" PRIu64 " are needed, but the "
                    "file ends at byte %" PRIu64,
                    f->name, n, offset, f->size);
  return 0;
}

int
vd_file_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
               struct vd_err *err)
{
  if (n == 0)
    return 0;
  if (check_read (f, n, offset, err) == -1)
    return -1;
  return f->ops->pread (f, buf, n, offset, err);
}

int
vd_file_preadv (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
                uint64_t offset, struct vd_err *err)
{
  if (check_read (f, n, offset, err) == -1)
    return -1;
  return f->ops->preadv (f, iov, nr_iov, n, offset, err);
}

bool
vd_file_peek (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
              uint64_t offset)
{
  struct vd_err ignored;

  return f->ops->peek && check_read (f, n, offset, &ignored) == 0 &&
    f->ops->peek (f, iov, nr_iov, n, offset);
}

static int
check_write (const struct vd_file *f, uint64_t n, uint64_t offset,
             struct vd_err *err)
{
  if (!f->ops->pwrite)
    return vd_fail (err, VD_USAGE, "%s: opened read-only", f->name);
  if (n > INT64_MAX || offset > INT64_MAX - n ||
      (!f->growable && offset + n > f->size))
    return vd_fail (err, VD_USAGE,
                    "%s: cannot write %" PRIu64 " bytes at byte %" PRIu64
                    ": it ends at byte %" PRIu64, f->name, n, offset,
                    f->size);
  return 0;
}

int
vd_file_pwrite (struct vd_file *f, const void *buf, size_t n,
                uint64_t offset, struct vd_err *err)
{
  if (n == 0)
    return 0;
  if (check_write (f, n, offset, err) == -1 ||
      f->ops->pwrite (f, buf, n, offset, err) == -1)
    return -1;
  if (f->growable)
    f->size = vd_max (f->size, offset + n);
  return 0;
}

int
vd_file_zero (struct vd_file *f, uint64_t offset, uint64_t length,
              struct vd_err *err)
{
  static const uint8_t zeros[65536];
  uint64_t n;
  int r = 1;

  if (length == 0)
    return 0;
  if (check_write (f, length, offset, err) == -1)
    return -1;
  if (f->ops->zero)
    r = f->ops->zero (f, offset, length, err);
  for (; r == 1 && length > 0; offset += n, length -= n) {
    n = vd_min (length, sizeof zeros);
    if (f->ops->pwrite (f, zeros, (size_t) n, offset, err) == -1)
      return -1;
    if (f->growable)
      f->size = vd_max (f->size, offset + n);
  }
  return r == -1 ? -1 : 0;
}

int
vd_file_flush (struct vd_file *f, struct vd_err *err)
{
  return f->ops->flush ? f->ops->flush (f, err) : 0;
}

int
vd_file_truncate (struct vd_file *f, uint64_t size, struct vd_err *err)
{
  if (!f->ops->truncate)
    return vd_fail (err, VD_USAGE, "%s: its size cannot be changed", f->name);
  if (size > INT64_MAX)
    return vd_fail (err, VD_USAGE, "%s: %" PRIu64 " bytes are too many",
                    f->name, size);
  if (f->ops->truncate (f, size, err) == -1)
    return -1;
  f->size = size;
  return 0;
}

int
vd_file_punch (struct vd_file *f, uint64_t offset, uint64_t length,
               struct vd_err *err)
{
  if (length == 0)
    return 0;
  if (check_write (f, length, offset, err) == -1)
    return -1;
  return f->ops->zero && f->ops->zero (f, offset, length, err) == -1 ? -1 : 0;
}

/* Counts what went through, so that a file whose ops stop short is asked
 * again from there.
 */
struct counter {
  vd_extent_fn fn;
  void *opaque;
  uint64_t left;
  bool stopped;
};

static int
count_extent (void *opaque, uint64_t length, unsigned type,
              struct vd_err *err)
{
  struct counter *c = opaque;
  int r;

  length = vd_min (length, c->left);
  if (length == 0)
    return 0;
  c->left -= length;
  r = c->fn (c->opaque, length, type, err);
  if (r == 1)
    c->stopped = true;
  return r != 0 ? r : c->left == 0;
}

int
vd_file_extents (struct vd_file *f, uint64_t offset, uint64_t length,
                 vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  struct counter c = { .fn = fn, .opaque = opaque, .left = length };
  uint64_t before;

  if (offset > f->size || length > f->size - offset)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: the map of %" PRIu64 " bytes at byte %" PRIu64
                    " was asked for, but the file ends at byte %" PRIu64,
                    f->name, length, offset, f->size);

  while (c.left > 0 && !c.stopped) {
    before = c.left;
    if (!f->ops->extents) {
      if (count_extent (&c, c.left, 0, err) == -1)
        return -1;
    }
    else if (f->ops->extents (f, offset + (length - c.left), c.left,
                              count_extent, &c, err) == -1)
      return -1;
    if (c.left == before && !c.stopped)
      return vd_fail (err, VD_IO, "%s: gave an empty map at byte %" PRIu64,
                      f->name, offset + (length - c.left));
  }
  return 0;
}

static int
first_extent (void *opaque, uint64_t length, unsigned type,
              struct vd_err *err)
{
  struct vd_stretch *s = opaque;

  (void) err;
  s->end = s->start + length;
  s->type = type;
  return 1;
}

int
vd_file_stretch (struct vd_file *f, struct vd_stretch *s, uint64_t offset,
                 uint64_t end, uint64_t *to, unsigned *type,
                 struct vd_err *err)
{
  if (offset < s->start || offset >= s->end) {
    s->start = s->end = offset;
    if (vd_file_extents (f, offset, f->size - offset, first_extent, s,
                         err) == -1)
      return -1;
  }
  *to = vd_min (s->end, end);
  *type = s->type;
  return 0;
}

static int
count_hole (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  uint64_t *bytes = opaque;

  (void) err;
  if (type & VD_HOLE)
    *bytes += length;
  return 0;
}

int
vd_file_holes (struct vd_file *f, uint64_t offset, uint64_t length,
               uint64_t *bytes, struct vd_err *err)
{
  *bytes = 0;
  return vd_file_extents (f, offset, length, count_hole, bytes, err);
}

void
vd_file_close (struct vd_file *f)
{
  if (!f)
    return;
  free (f->name);
  f->name = NULL;
  if (f->ops->close)
    f->ops->close (f);
}

struct memory_file {
  struct vd_file file;
  const uint8_t *data;
};

static int
memory_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
              struct vd_err *err)
{
  const struct memory_file *m = (struct memory_file *) f;

  (void) err;
  memcpy (buf, m->data + offset, n);
  return 0;
}

static void
memory_close (struct vd_file *f)
{
  free (f);
}

static int
memory_preadv (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
               uint64_t offset, struct vd_err *err)
{
  int i;

  (void) n;
  for (i = 0; i < nr_iov; offset += iov[i++].iov_len)
    memory_pread (f, iov[i].iov_base, iov[i].iov_len, offset, err);
  return 0;
}

/* These files are for tests, so some places pretend to be far away. */
static bool
memory_peek (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
             uint64_t offset)
{
  return offset / VD_SECTOR % 3 != 0 &&
    memory_preadv (f, iov, nr_iov, n, offset, NULL) == 0;
}

static const struct vd_file_ops memory_ops = {
  .pread = memory_pread,
  .preadv = memory_preadv,
  .peek = memory_peek,
  .close = memory_close,
};

struct vd_file *
vd_file_memory (const char *name, const void *data, size_t size,
                struct vd_err *err)
{
  CLEANUP_FREE struct memory_file *m = calloc (1, sizeof *m);

  if (!m || !(m->file.name = strdup (name))) {
    vd_fail_nomem (err);
    return NULL;
  }
  m->file.ops = &memory_ops;
  m->file.size = size;
  m->data = data;
  return (struct vd_file *) VD_TAKE (m);
}
