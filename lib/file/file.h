/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Bytes in and out.
 *
 * A struct vd_file is anything that has a size and can be read at an offset:
 * a local file or block device, memory (tests), something that fails on
 * purpose (tests), the layer below an nbdkit filter, an NBD export.  Each is
 * an instance of the small table below.
 *
 * Names: `name` is for messages and may hold any bytes.
 *
 * Threads: a file opened for reading is immutable; all functions here may be
 * called from any number of threads at once.
 *
 * A file's size is taken once, when it is opened.  A file that shrinks later
 * gives VD_TRUNCATED for what is gone, never zeros.
 */

#ifndef VD_FILE_H
#define VD_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

struct vd_file;

/* What a part of a file or disk holds, as NBD says it in base:allocation. */
#define VD_HOLE 1u              /* not allocated */
#define VD_READS_ZERO 2u        /* reads as zeros */

/* Receives consecutive pieces, in order and without gaps.  Returns 0 to go
 * on, 1 to stop early, -1 after filling err.
 */
typedef int (*vd_extent_fn) (void *opaque, uint64_t length, unsigned type,
                             struct vd_err *err);

#define VD_IOV_MAX 256

struct vd_file_ops {
  /* Read exactly n bytes.  The range lies inside [0, size). */
  int (*pread) (struct vd_file *f, void *buf, size_t n, uint64_t offset,
                struct vd_err *err);

  /* Read consecutive bytes, n of them in all, into as many places as iov has
   * (at most VD_IOV_MAX).  Changes iov.  May be NULL: then the caller reads
   * into one buffer and copies, or calls pread for each place.
   */
  int (*preadv) (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
                 uint64_t offset, struct vd_err *err);

  /* The same, but only if it is all in memory and need not be waited for.
   * If not: returns false, iov's places hold nothing useful, and the system
   * was asked to fetch the range, so that several can be fetched at once
   * before the first is waited for.  May be NULL.
   */
  bool (*peek) (struct vd_file *f, struct iovec *iov, int nr_iov, size_t n,
                uint64_t offset);

  /* Say which parts of [offset, offset+length) are holes.  May be NULL
   * (everything is data) and may stop short of the end after at least one
   * piece.
   */
  int (*extents) (struct vd_file *f, uint64_t offset, uint64_t length,
                  vd_extent_fn fn, void *opaque, struct vd_err *err);

  /* May be NULL: nothing to close. */
  void (*close) (struct vd_file *f);

  /* The rest is NULL in files that are only read. */

  /* Write exactly n bytes.  The range lies inside [0, size), unless the file
   * is growable.
   */
  int (*pwrite) (struct vd_file *f, const void *buf, size_t n,
                 uint64_t offset, struct vd_err *err);

  /* Make [offset, offset+length) read as zeros without writing them, giving
   * the space back where that is possible.  Returns 1 when it cannot be done
   * here: zeros are written then.  May be NULL, which says the same.
   */
  int (*zero) (struct vd_file *f, uint64_t offset, uint64_t length,
               struct vd_err *err);

  /* Return when everything written is on stable storage. */
  int (*flush) (struct vd_file *f, struct vd_err *err);

  /* Cut it to so many bytes, or let it grow by zeros.  May be NULL. */
  int (*truncate) (struct vd_file *f, uint64_t size, struct vd_err *err);
};

struct vd_file {
  const struct vd_file_ops *ops;
  char *name;                   /* owned */
  uint64_t size;                /* bytes */
  bool far;                     /* a wait costs more than reading what is not
                                   needed, and several at a time one wait */
  atomic_uint gap;              /* so many bytes that are not needed cost less
                                   than one more read, as far as is known */
  bool growable;                /* writing past the end extends it; then it
                                   may be written by one thread only */
  bool data_only;               /* a flush is of bytes and size, not of times
                                   and rights, for which file systems write
                                   their journal: off unless the user sets it */
  /* Identity, to recognise loops and double use; 0, 0 when unknown.  Of a
   * block device dev is the device itself, which may have several names, and ino
   * is VD_DEVICE_INO.  Of a file that is named by a URI dev is VD_URI_DEV, and ino
   * the number that this process gave to the URI.
   */
  dev_t dev;
  ino_t ino;
};

#define VD_DEVICE_INO ((ino_t) -1)
#define VD_URI_DEV ((dev_t) -1)

/* Wrap an open descriptor of a regular file or block device, which the file
 * then owns; on error the caller still does.  Anything else is VD_USAGE.  One
 * that is open for reading only is shared with others of the same file (fd.h).
 */
extern struct vd_file *vd_file_from_fd (int fd, const char *name,
                                        struct vd_err *err);

/* Open a path that the user gave, read-only.  Symbolic links are followed:
 * the user's word is trusted.  For names that come from images see confine.h.
 */
extern struct vd_file *vd_file_open (const char *path, struct vd_err *err);

/* Open an existing file or block device for reading and writing; its size
 * does not change.  A block device is opened exclusively (O_EXCL), which fails
 * if it is mounted or otherwise in use.
 */
extern struct vd_file *vd_file_open_rw (const char *path,
                                        struct vd_err *err);

/* Reopen the file or block device that f reads, even if its name now refers to
 * another one: for reading, or as vd_file_open_rw does it.
 */
extern struct vd_file *vd_file_reopen (const struct vd_file *f,
                                       struct vd_err *err);
extern struct vd_file *vd_file_reopen_rw (const struct vd_file *f,
                                          struct vd_err *err);

/* Create a new, growable file; there must be none of that name. */
extern struct vd_file *vd_file_create (const char *path, struct vd_err *err);

/* The same, for nobody but its owner. */
extern struct vd_file *vd_file_create_private (const char *path,
                                               struct vd_err *err);

/* The descriptor of a local file, for what has no function here, or -1. */
extern int vd_file_fd (const struct vd_file *f);

/* A file in memory; data is borrowed. */
extern struct vd_file *vd_file_memory (const char *name, const void *data,
                                       size_t size, struct vd_err *err);

/* Read exactly n bytes, or fail with VD_TRUNCATED (range not in the file) or
 * VD_IO.  n may be 0.
 */
extern int vd_file_pread (struct vd_file *f, void *buf, size_t n,
                          uint64_t offset, struct vd_err *err);

/* The same into several places; only for files whose ops have preadv. */
extern int vd_file_preadv (struct vd_file *f, struct iovec *iov, int nr_iov,
                           size_t n, uint64_t offset, struct vd_err *err);

/* The same, but false, with something or nothing read, if it had to be waited
 * for; see ops->peek.
 */
extern bool vd_file_peek (struct vd_file *f, struct iovec *iov, int nr_iov,
                          size_t n, uint64_t offset);

/* Write exactly n bytes.  Fails with VD_USAGE on a file that is only read. */
extern int vd_file_pwrite (struct vd_file *f, const void *buf, size_t n,
                           uint64_t offset, struct vd_err *err);

/* Make a range read as zeros, in the cheapest way the file has. */
extern int vd_file_zero (struct vd_file *f, uint64_t offset, uint64_t length,
                         struct vd_err *err);

extern int vd_file_flush (struct vd_file *f, struct vd_err *err);

/* Change the size of a file that can be written.  What is added reads as
 * zeros.  Nothing else may use the file meanwhile.
 */
extern int vd_file_truncate (struct vd_file *f, uint64_t size,
                             struct vd_err *err);

/* Give the space of a range back, if this file can do that; it then reads as
 * zeros.  If not, nothing happens.
 */
extern int vd_file_punch (struct vd_file *f, uint64_t offset,
                          uint64_t length, struct vd_err *err);

/* Covers the range completely unless fn stops it.  Parts past the end of the
 * file are not allowed.
 */
extern int vd_file_extents (struct vd_file *f, uint64_t offset,
                            uint64_t length, vd_extent_fn fn, void *opaque,
                            struct vd_err *err);

/* What a file says of one stretch, kept: asking is slow in fragmented files,
 * and the answer is good for many small ranges.  Zeroed to start with.
 */
struct vd_stretch {
  uint64_t start, end;          /* nothing is known while they are equal */
  unsigned type;
};

/* The type at offset, and in *to where it ends, at most at end. */
extern int vd_file_stretch (struct vd_file *f, struct vd_stretch *s,
                            uint64_t offset, uint64_t end, uint64_t *to,
                            unsigned *type, struct vd_err *err);

/* How much of the range is holes? */
extern int vd_file_holes (struct vd_file *f, uint64_t offset,
                          uint64_t length, uint64_t *bytes,
                          struct vd_err *err);

/* NULL is allowed. */
extern void vd_file_close (struct vd_file *f);

/* True when both are known to be the same file. */
static inline bool
vd_file_same (const struct vd_file *a, const struct vd_file *b)
{
  return a->ino != 0 && a->ino == b->ino && a->dev == b->dev;
}

/* Is it the file that stat described? */
static inline bool
vd_file_is (const struct vd_file *f, const struct stat *st)
{
  return S_ISBLK (st->st_mode)
    ? f->ino == VD_DEVICE_INO && f->dev == st->st_rdev
    : f->ino != 0 && f->ino == st->st_ino && f->dev == st->st_dev;
}

/* Are bytes of `file` bytes of `below` too?  They are the same file; or `file`
 * is a device that is a part of the device `below`, or is made of it (device
 * mapper, RAID), or a loop device on the file `below`, over any number of such
 * steps.
 */
extern bool vd_file_lies_on (const struct vd_file *file,
                             const struct vd_file *below);

#endif /* VD_FILE_H */
