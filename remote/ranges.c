/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Distrust of web servers; see ranges.h. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ranges.h"

#define PREFIX (UINT64_C (64) << 10)

struct ranges_file {
  struct vd_file file;
  struct vd_file *below;
  uint8_t prefix[PREFIX];
  size_t n;                     /* of it: the file may be shorter */
};

/* The first byte that is another one than the byte before it; 0: none. */
static size_t
first_change (const uint8_t *p, size_t n)
{
  size_t i;

  for (i = 1; i < n && p[i] == p[i - 1]; ++i)
    ;
  return i < n ? i : 0;
}

static int
fail (const struct ranges_file *f, uint64_t offset, struct vd_err *err)
{
  return vd_fail (err, VD_IO, "%s: the server announces that it sends parts of "
                  "a file, but sent its beginning when it was asked for byte %"
                  PRIu64 ": it cannot be read there.  Is there a proxy between?",
                  f->file.name, offset);
}

/* What arrived for [offset, offset+n) is how the file begins.  Is it so there
 * too?  Ask for what begins one byte later, up to the first byte that tells the
 * two answers apart.
 */
static int
confirm (struct ranges_file *f, const uint8_t *there, size_t n,
         uint64_t offset, struct vd_err *err)
{
  const size_t change = first_change (f->prefix, n);
  uint8_t last;

  if (change == 0)
    return 0;                   /* it cannot be told */
  {
    CLEANUP_FREE uint8_t *got = malloc (change);

    if (!got)
      return vd_fail_nomem (err);
    if (vd_file_pread (f->below, got, change, offset + 1, err) == -1)
      return -1;
    last = got[change - 1];
  }
  return last == there[change] ? 0 : fail (f, offset + 1, err);
}

static int
ranges_pread (struct vd_file *file, void *buf, size_t n, uint64_t offset,
              struct vd_err *err)
{
  struct ranges_file *f = (struct ranges_file *) file;
  const size_t m = (size_t) vd_min (n, f->n);

  if (vd_file_pread (f->below, buf, n, offset, err) == -1)
    return -1;
  if (offset == 0)
    return memcmp (buf, f->prefix, m) == 0 ? 0
      : vd_fail (err, VD_MISMATCH, "%s begins with other bytes than when it was "
                 "opened: it was changed meanwhile, and what was read of it does "
                 "not belong together", file->name);
  return memcmp (buf, f->prefix, m) != 0 ? 0
    : confirm (f, buf, m, offset, err);
}

static void
ranges_close (struct vd_file *file)
{
  struct ranges_file *f = (struct ranges_file *) file;

  vd_file_close (f->below);
  free (f);
}

static const struct vd_file_ops ranges_ops = {
  .pread = ranges_pread,
  .close = ranges_close,
};

/* The first look at a file. */
static int
look (struct ranges_file *f, bool *trusted, struct vd_err *err)
{
  if (vd_file_pread (f->below, f->prefix, f->n, 0, err) == -1)
    return -1;
  if (first_change (f->prefix, f->n) > 0) {
    if (confirm (f, f->prefix, f->n, 0, err) == -1)
      return -1;
    *trusted = true;
  }
  else if (f->n == PREFIX && !*trusted)
    return vd_fail (err, VD_UNSUPPORTED, "%s begins with %" PRIu64 " equal "
                    "bytes, so it cannot be found out whether the server sends "
                    "the parts that it is asked for: give the descriptor of "
                    "the disk", f->file.name, PREFIX);
  return 0;
}

struct vd_file *
ranges_file (struct vd_file *below, bool *trusted, struct vd_err *err)
{
  CLEANUP_FREE struct ranges_file *f = calloc (1, sizeof *f);
  char *name = strdup (below->name);

  if (!f || !name) {
    free (name);
    vd_file_close (below);
    vd_fail_nomem (err);
    return NULL;
  }
  f->file = (struct vd_file) {
    .ops = &ranges_ops, .name = name, .size = below->size,
  };
  f->below = below;
  f->n = (size_t) vd_min (below->size, PREFIX);
  if (look (f, trusted, err) == -1) {
    vd_file_close ((struct vd_file *) VD_TAKE (f));
    return NULL;
  }
  return (struct vd_file *) VD_TAKE (f);
}
