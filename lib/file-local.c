/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Local files and block devices. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "cleanup.h"
#include "file.h"

struct local_file {
  struct vd_file file;
  int fd;
};

static int
local_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
             struct vd_err *err)
{
  const struct local_file *l = (struct local_file *) f;
  char *p = buf;

  while (n > 0) {
    ssize_t r = pread (l->fd, p, n, (off_t) offset);

    if (r == -1) {
      if (errno == EINTR)
        continue;
      return vd_fail_errno (err, errno,
                            "%s: cannot read %zu bytes at byte %" PRIu64,
                            f->name, n, offset);
    }
    if (r == 0)
      return vd_fail (err, VD_TRUNCATED,
                      "%s: short read at byte %" PRIu64 ": %zu more bytes "
                      "are needed; the file had %" PRIu64 " bytes when it was "
                      "opened, has it been cut since?",
                      f->name, offset, n, f->size);
    p += r;
    n -= (size_t) r;
    offset += (uint64_t) r;
  }
  return 0;
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

static void
local_close (struct vd_file *f)
{
  struct local_file *l = (struct local_file *) f;

  close (l->fd);
  free (l);
}

static const struct vd_file_ops local_ops = {
  .pread = local_pread,
  .extents = local_extents,
  .close = local_close,
};

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
  l->file.dev = st.st_dev;
  l->file.ino = st.st_ino;
  l->fd = fd;
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
