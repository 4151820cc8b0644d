/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Errors and messages.
 *
 * Every function of this library that can fail takes a `struct vd_err *`,
 * which the caller owns (usually on its stack), and returns -1 or NULL after
 * filling it.  The library never prints and never exits: the faces turn the
 * struct into nbdkit_error, a line on stderr, or JSON.
 *
 * Text that comes from images (names, hints, values) may hold control
 * characters, terminal escapes or direction overrides.  They are made
 * harmless in one place, where a message is formatted, so that no caller can
 * forget it.
 *
 * Threads: a struct vd_err belongs to one thread.  A struct vd_log is
 * called from the thread that opens images, never from the data path.
 */

#ifndef VD_ERR_H
#define VD_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum vd_code {
  VD_OK = 0,
  VD_NOT_FORMAT,                /* not a file of the kind expected */
  VD_UNSUPPORTED,               /* right format, a feature we do not read */
  VD_CORRUPT,                   /* a field has a value that cannot be */
  VD_TRUNCATED,                 /* bytes that must exist are missing */
  VD_MISMATCH,                  /* parts that do not belong together */
  VD_NOT_FOUND,                 /* a file that was named does not exist */
  VD_DENIED,                    /* a name leads where it may not lead */
  VD_USAGE,                     /* the caller asked for something impossible */
  VD_IO,                        /* the system failed to read or write */
  VD_NOMEM,                     /* no memory, or no open file, left: it says
                                   nothing of the image */
  VD_NOSPACE,
  VD_NOTHING,                   /* there is nothing to do; no failure */
};

#define VD_ERR_MAX 2048

struct vd_err {
  enum vd_code code;
  int errnum;                   /* errno of the system call that failed, or 0 */
  char msg[VD_ERR_MAX];         /* one line, no newline, safe to print */
};

enum vd_level { VD_WARN, VD_DEBUG };

/* Where warnings go.  fn may be NULL: warnings are then dropped. */
struct vd_log {
  void (*fn) (void *opaque, enum vd_level level, const char *msg);
  void *opaque;
};

#define VD_PRINTF(f, a) __attribute__ ((__format__ (__printf__, f, a)))

/* Fill *err (which may be NULL) and return -1.  Keeps errno. */
extern int vd_fail (struct vd_err *err, enum vd_code code,
                    const char *fs, ...) VD_PRINTF (3, 4);

/* The same for a failed system call: ": <strerror>" is appended, and the
 * code is refined from errnum (ENOENT, ENOMEM, ENOSPC and friends).
 */
extern int vd_fail_errno (struct vd_err *err, int errnum,
                          const char *fs, ...) VD_PRINTF (3, 4);

extern int vd_fail_nomem (struct vd_err *err);

/* Put text in front of a message that is there already. */
extern void vd_err_prefix (struct vd_err *err, const char *fs, ...)
  VD_PRINTF (2, 3);

/* Put text behind it; cut where it does not fit. */
extern void vd_err_append (struct vd_err *err, const char *fs, ...)
  VD_PRINTF (2, 3);

extern void vd_warn (const struct vd_log *log, const char *fs, ...)
  VD_PRINTF (2, 3);
extern void vd_debug (const struct vd_log *log, const char *fs, ...)
  VD_PRINTF (2, 3);

/* The one place where a code becomes an errno for an NBD client.  Only EIO,
 * ENOSPC and ENOMEM come out: they survive the wire as themselves.
 */
extern int vd_err_to_errno (const struct vd_err *err);

/* Copy src to dst (of size n, NUL included), bytes that are not printable
 * replaced by \\xNN.  Valid UTF-8 passes, except for control characters and
 * bidirectional overrides.  Cuts what does not fit.
 */
extern void vd_escape (char *dst, size_t n, const char *src);

#endif /* VD_ERR_H */
