/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Messages: formatted, escaped, cut to size.  See err.h. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

/* Length of the UTF-8 sequence at s that is safe to show, or 0. */
static size_t
safe_utf8 (const unsigned char *s)
{
  uint32_t c;
  const size_t len = vd_utf8_decode (s, &c);

  return len > 0 && !vd_utf8_is_active (c) ? len : 0;
}

void
vd_escape (char *dst, size_t n, const char *src)
{
  static const char hex[] = "0123456789abcdef";
  const unsigned char *s = (const unsigned char *) src;
  size_t i = 0, len;

  if (n == 0)
    return;

  while (*s) {
    len = safe_utf8 (s);
    if (len > 0) {
      if (i + len >= n)
        break;
      memcpy (&dst[i], s, len);
      i += len;
      s += len;
    }
    else {
      if (i + 4 >= n)
        break;
      dst[i++] = '\\';
      dst[i++] = 'x';
      dst[i++] = hex[*s >> 4];
      dst[i++] = hex[*s & 15];
      ++s;
    }
  }
  dst[i] = '\0';
}

static void
set_msg (struct vd_err *err, const char *fs, va_list args)
{
  char raw[VD_ERR_MAX];

  if (vsnprintf (raw, sizeof raw, fs, args) < 0)
    raw[0] = '\0';
  vd_escape (err->msg, sizeof err->msg, raw);
}

int
vd_fail (struct vd_err *err, enum vd_code code, const char *fs, ...)
{
  const int saved = errno;
  va_list args;

  if (err) {
    err->code = code;
    err->errnum = 0;
    va_start (args, fs);
    set_msg (err, fs, args);
    va_end (args);
  }
  errno = saved;
  return -1;
}

int
vd_fail_errno (struct vd_err *err, int errnum, const char *fs, ...)
{
  va_list args;
  size_t len;
  char buf[128];

  if (err) {
    switch (errnum) {
    case ENOENT: case ENOTDIR: err->code = VD_NOT_FOUND; break;
    case ENOMEM: case EMFILE: case ENFILE: err->code = VD_NOMEM; break;
    case ENOSPC: case EDQUOT: case EFBIG: err->code = VD_NOSPACE; break;
    default: err->code = VD_IO;
    }
    err->errnum = errnum;
    va_start (args, fs);
    set_msg (err, fs, args);
    va_end (args);

    len = strlen (err->msg);
    /* GNU strerror_r: returns the text, thread safe. */
    snprintf (&err->msg[len], sizeof err->msg - len, ": %s%s",
              strerror_r (errnum, buf, sizeof buf),
              errnum == EMFILE ? " (raise the limit with ulimit -n, of a "
              "service with LimitNOFILE=)"
              : errnum == EFBIG ? " (the limit is that of the file system, or "
              "ulimit -f)"
              : errnum == ENFILE ? " (the limit of the whole system: sysctl "
              "fs.file-max)" : "");
  }
  errno = errnum;
  return -1;
}

int
vd_fail_nomem (struct vd_err *err)
{
  return vd_fail (err, VD_NOMEM, "out of memory");
}

void
vd_err_prefix (struct vd_err *err, const char *fs, ...)
{
  char raw[VD_ERR_MAX], old[VD_ERR_MAX];
  va_list args;
  size_t len;

  if (!err)
    return;
  memcpy (old, err->msg, sizeof old);
  va_start (args, fs);
  if (vsnprintf (raw, sizeof raw, fs, args) < 0)
    raw[0] = '\0';
  va_end (args);
  vd_escape (err->msg, sizeof err->msg, raw);
  len = strlen (err->msg);
  /* Escaped already, and not changed by it again; cut between characters. */
  vd_escape (&err->msg[len], sizeof err->msg - len, old);
}

void
vd_err_append (struct vd_err *err, const char *fs, ...)
{
  char raw[VD_ERR_MAX];
  va_list args;
  size_t len;

  if (!err)
    return;
  va_start (args, fs);
  if (vsnprintf (raw, sizeof raw, fs, args) < 0)
    raw[0] = '\0';
  va_end (args);
  len = strlen (err->msg);
  vd_escape (&err->msg[len], sizeof err->msg - len, raw);
}

static void
vlog (const struct vd_log *log, enum vd_level level, const char *fs,
      va_list args)
{
  char raw[VD_ERR_MAX], msg[VD_ERR_MAX];

  if (!log || !log->fn)
    return;
  if (vsnprintf (raw, sizeof raw, fs, args) < 0)
    return;
  vd_escape (msg, sizeof msg, raw);
  log->fn (log->opaque, level, msg);
}

void
vd_warn (const struct vd_log *log, const char *fs, ...)
{
  va_list args;

  va_start (args, fs);
  vlog (log, VD_WARN, fs, args);
  va_end (args);
}

void
vd_debug (const struct vd_log *log, const char *fs, ...)
{
  va_list args;

  va_start (args, fs);
  vlog (log, VD_DEBUG, fs, args);
  va_end (args);
}

int
vd_err_to_errno (const struct vd_err *err)
{
  switch (err->code) {
  case VD_NOMEM: return ENOMEM;
  case VD_NOSPACE: return ENOSPC;
  default: return EIO;
  }
}
