/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Local files and block devices. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "file/fd.h"
#include "file/file.h"

struct local_file {
  struct vd_file file;
  int fd;
  bool block;
  atomic_bool cannot_peek;
};

/* pread and preadv returned r, which is not what was asked for.  Returns 0
 * when they are to be called again.
 */
static int
check_short (const struct vd_file *f, ssize_t r, size_t n, uint64_t offset,
             struct vd_err *err)
{
  if (r == -1 && errno != EINTR)
    return vd_fail_errno (err, errno,
                          "%s: cannot read %zu bytes at byte %" PRIu64,
                          f->name, n, offset);
  if (r == 0)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: short read at byte %" PRIu64 ": %zu more bytes "
                    "are needed; the file had %" PRIu64 " bytes when it was "
                    "opened, has it been cut since?",
                    f->name, offset, n, f->size);
  return 0;
}

static int
local_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
             struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;
  char *p = buf;

  while (n > 0) {
    ssize_t r = pread (l->fd, p, n, (off_t) offset);

    if (r <= 0) {
      if (check_short (f, r, n, offset, err) == -1)
        return -1;
      continue;
    }
    p += r;
    n -= (size_t) r;
    offset += (uint64_t) r;
  }
  return 0;
}

static int
local_preadv (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
              uint64_t offset, struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;

  while (n > 0) {
    ssize_t r = preadv (l->fd, iov, nr_iov, (off_t) offset);

    if (r <= 0) {
      if (check_short (f, r, n, offset, err) == -1)
        return -1;
      continue;
    }
    n -= (size_t) r;
    offset += (uint64_t) r;
    for (; nr_iov > 0 && (size_t) r >= iov->iov_len; ++iov, --nr_iov)
      r -= (ssize_t) iov->iov_len;
    if (nr_iov > 0) {
      iov->iov_base = (char *) iov->iov_base + r;
      iov->iov_len -= (size_t) r;
    }
  }
  return 0;
}

static bool
local_peek (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
            uint64_t offset)
{
  struct local_file *l = (struct local_file *) f;
  ssize_t r;

  if (atomic_load_explicit (&l->cannot_peek, memory_order_relaxed))
    return false;
  r = preadv2 (l->fd, iov, nr_iov, (off_t) offset, RWF_NOWAIT);
  if (r == (ssize_t) n)
    return true;
  /* Some file systems and old kernels do not know how not to wait. */
  if (r == -1 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
    atomic_store_explicit (&l->cannot_peek, true, memory_order_relaxed);
  posix_fadvise (l->fd, (off_t) offset, (off_t) n, POSIX_FADV_WILLNEED);
  return false;
}

static int
local_extents (struct vd_file *f, uint64_t offset, uint64_t length,
               vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;
  const uint64_t end = offset + length;

  while (offset < end) {
    /* lseek moves the descriptor's position, which nothing here uses. */
    off_t pos = lseek (l->fd, (off_t) offset, SEEK_DATA);
    uint64_t next;
    unsigned type;
    int r;

    if (pos == -1 && errno == ENXIO) {
      next = end;               /* nothing but a hole up to the end */
      type = VD_HOLE | VD_READS_ZERO;
    }
    else if (pos == -1) {
      next = end;               /* not supported here: call it data */
      type = 0;
    }
    else if ((uint64_t) pos > offset) {
      next = vd_min ((uint64_t) pos, end);
      type = VD_HOLE | VD_READS_ZERO;
    }
    else {
      pos = lseek (l->fd, (off_t) offset, SEEK_HOLE);
      next = pos == -1 || (uint64_t) pos <= offset
        ? end : vd_min ((uint64_t) pos, end);
      type = 0;
    }

    r = fn (opaque, next - offset, type, err);
    if (r != 0)
      return r == -1 ? -1 : 0;
    offset = next;
  }
  return 0;
}

static int
local_pwrite (struct vd_file *f, const void *buf, size_t n, uint64_t offset,
              struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;
  const char *p = buf;

  while (n > 0) {
    const ssize_t r = pwrite (l->fd, p, n, (off_t) offset);

    if (r == -1 && errno == EINTR)
      continue;
    if (r <= 0)
      return vd_fail_errno (err, r == 0 ? EIO : errno,
                            "%s: cannot write %zu bytes at byte %" PRIu64,
                            f->name, n, offset);
    p += r;
    n -= (size_t) r;
    offset += (uint64_t) r;
  }
  return 0;
}

/* What became of asking the kernel for zeros.  Not possible here is not an
 * error (1); anything else is.
 */
static int
zeroed (const struct vd_file *f, int r, uint64_t offset, uint64_t length,
        struct vd_err *err)
{
  if (r == 0)
    return 0;
  if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL ||
      errno == ENOSYS)
    return 1;
  return vd_fail_errno (err, errno, "%s: cannot zero %" PRIu64
                        " bytes at byte %" PRIu64, f->name, length, offset);
}

/* Whole pages are zeroed by the device.  Of others somebody may be writing the
 * rest, by the cache, which would have read them before: so what is zeroed of
 * them is written by the cache too.
 */
static int
zero_device (struct vd_file *f, uint64_t offset, uint64_t length,
             struct vd_err *err)
{
  static const uint8_t zeros[65536];
  const uint64_t page
    = vd_min ((uint64_t) sysconf (_SC_PAGESIZE), sizeof zeros);
  const uint64_t end = offset + length, from = vd_div_up (offset, page) * page;
  const uint64_t to = vd_round_down (end, page);
  uint64_t range[2] = { from, to - from };

  if (from >= to || offset % VD_SECTOR || length % VD_SECTOR)
    return 1;
  if (local_pwrite (f, zeros, (size_t) (from - offset), offset, err) == -1 ||
      local_pwrite (f, zeros, (size_t) (end - to), to, err) == -1)
    return -1;
  return zeroed (f, ioctl (((struct local_file *) f)->fd, BLKZEROOUT, range),
                 offset, length, err);
}

static int
local_zero (struct vd_file *f, uint64_t offset, uint64_t length,
            struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;

  if (f->growable)
    return 1;
  if (l->block)
    return zero_device (f, offset, length, err);
  return zeroed (f, fallocate (l->fd,
                               FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               (off_t) offset, (off_t) length),
                 offset, length, err);
}

static int
local_flush (struct vd_file *f, struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;
  const int r = f->data_only ? fdatasync (l->fd) : fsync (l->fd);

  if (r == -1)
    return vd_fail_errno (err, errno, "%s: cannot flush", f->name);
  return 0;
}

static int
local_truncate (struct vd_file *f, uint64_t size, struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;

  if (l->block)
    return vd_fail (err, VD_USAGE, "%s: a block device keeps its size",
                    f->name);
  if (ftruncate (l->fd, (off_t) size) == -1)
    return vd_fail_errno (err, errno, "%s: cannot change its size to %" PRIu64
                          " bytes", f->name, size);
  return 0;
}

static void
local_close (struct vd_file *f)
{
  struct local_file *l = (struct local_file *) f;

  vd_fd_put (l->fd);
  free (l);
}

static const struct vd_file_ops local_ops = {
  .pread = local_pread,
  .preadv = local_preadv,
  .peek = local_peek,
  .extents = local_extents,
  .close = local_close,
};

static const struct vd_file_ops local_rw_ops = {
  .pread = local_pread,
  .preadv = local_preadv,
  .peek = local_peek,
  .extents = local_extents,
  .close = local_close,
  .pwrite = local_pwrite,
  .zero = local_zero,
  .flush = local_flush,
  .truncate = local_truncate,
};

int
vd_file_fd (const struct vd_file *f)
{
  return f->ops == &local_ops || f->ops == &local_rw_ops
    ? ((const struct local_file *) f)->fd : -1;
}

static const char *
type_of (mode_t mode)
{
  switch (mode & S_IFMT) {
  case S_IFDIR: return "a directory";
  case S_IFIFO: return "a named pipe";
  case S_IFSOCK: return "a socket";
  case S_IFCHR: return "a character device";
  default: return "a special file";
  }
}

static bool
is_read_only (int fd)
{
  const int flags = fcntl (fd, F_GETFL);

  return flags != -1 && (flags & O_ACCMODE) == O_RDONLY;
}

struct vd_file *
vd_file_from_fd (int fd, const char *name, struct vd_err *err)
{
  CLEANUP_FREE struct local_file *l = NULL;
  struct stat st;
  off_t size;

  if (fstat (fd, &st) == -1) {
    vd_fail_errno (err, errno, "%s", name);
    return NULL;
  }
  if (!S_ISREG (st.st_mode) && !S_ISBLK (st.st_mode)) {
    vd_fail (err, VD_USAGE,
             "%s is %s; only regular files and block devices can be read",
             name, type_of (st.st_mode));
    return NULL;
  }
  size = S_ISREG (st.st_mode) ? st.st_size : lseek (fd, 0, SEEK_END);
  if (size < 0) {
    vd_fail_errno (err, errno, "%s: cannot find out its size", name);
    return NULL;
  }

  l = calloc (1, sizeof *l);
  if (!l || !(l->file.name = strdup (name))) {
    vd_fail_nomem (err);
    return NULL;
  }
  l->file.ops = &local_ops;
  l->file.size = (uint64_t) size;
  l->file.dev = S_ISBLK (st.st_mode) ? st.st_rdev : st.st_dev;
  l->file.ino = S_ISBLK (st.st_mode) ? VD_DEVICE_INO : st.st_ino;
  l->fd = is_read_only (fd) ? vd_fd_share (fd) : vd_fd_allowed (fd) ? fd : -1;
  if (l->fd == -1) {
    vd_fail_errno (err, errno, "%s: cannot open", name);
    free (l->file.name);
    return NULL;
  }
  l->block = S_ISBLK (st.st_mode);
  return (struct vd_file *) VD_TAKE (l);
}

struct vd_file *
vd_file_open (const char *path, struct vd_err *err)
{
  struct vd_file *f;
  /* O_NONBLOCK: do not hang on a FIFO, which is then refused by its type. */
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

  if (fd == -1) {
    vd_fail_errno (err, errno, "%s: cannot open", path);
    return NULL;
  }
  f = vd_file_from_fd (fd, path, err);
  if (!f)
    close (fd);
  return f;
}

static struct vd_file *
open_with (const char *path, int flags, mode_t mode, struct vd_err *err)
{
  struct vd_file *f;
  const int fd = open (path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);

  if (fd == -1) {
    vd_fail_errno (err, errno, "%s: cannot %s", path,
                   flags & O_CREAT ? "create" : "open for writing");
    return NULL;
  }
  f = vd_file_from_fd (fd, path, err);
  if (!f) {
    close (fd);
    return NULL;
  }
  f->ops = &local_rw_ops;
  return f;
}

struct vd_file *
vd_file_open_rw (const char *path, struct vd_err *err)
{
  struct stat st;
  /* O_EXCL without O_CREAT has a meaning for block devices only. */
  const int excl = stat (path, &st) == 0 && S_ISBLK (st.st_mode) ? O_EXCL : 0;
  struct vd_file *f = open_with (path, O_RDWR | excl, 0, err);

  if (!f && err && err->errnum == EBUSY)
    vd_fail (err, VD_DENIED, "%s is in use (mounted, or part of an array or "
             "volume group, or opened by another program): stop that first",
             path);
  return f;
}

static struct vd_file *
reopen (const struct vd_file *f,
        struct vd_file *(*open_it) (const char *, struct vd_err *),
        struct vd_err *err)
{
  const int fd = vd_file_fd (f);
  struct vd_file *again;
  char path[64];

  if (fd == -1) {
    vd_fail (err, VD_USAGE, "%s is not a local file", f->name);
    return NULL;
  }
  snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  again = open_it (path, err);
  if (!again) {
    vd_err_prefix (err, "%s: ", f->name);
    return NULL;
  }
  free (again->name);
  again->name = strdup (f->name);
  if (!again->name) {
    vd_file_close (again);
    vd_fail_nomem (err);
    return NULL;
  }
  return again;
}

struct vd_file *
vd_file_reopen (const struct vd_file *f, struct vd_err *err)
{
  return reopen (f, vd_file_open, err);
}

struct vd_file *
vd_file_reopen_rw (const struct vd_file *f, struct vd_err *err)
{
  return reopen (f, vd_file_open_rw, err);
}

static struct vd_file *
create_with (const char *path, mode_t mode, struct vd_err *err)
{
  struct vd_file *f = open_with (path, O_RDWR | O_CREAT | O_EXCL, mode, err);

  if (f)
    f->growable = true;
  return f;
}

struct vd_file *
vd_file_create (const char *path, struct vd_err *err)
{
  return create_with (path, 0666, err);
}

struct vd_file *
vd_file_create_private (const char *path, struct vd_err *err)
{
  return create_with (path, 0600, err);
}
