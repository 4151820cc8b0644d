/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Which format a file has, and opening it. */

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/image.h"
#include "format/magic.h"

const struct vd_format *const vd_formats[] = {
  &vd_format_cowd,
  &vd_format_kdmv,
  &vd_format_sesparse,
  &vd_format_vdi,
  NULL
};

#define HEAD_SIZE 512

/* No descriptor is shorter. */
#define MIN_TEXT 32u

/* A descriptor is text: printable, blanks, line ends.  A NUL ends it; some
 * programs leave old text behind that.
 */
static bool
looks_like_text (const uint8_t *head, size_t n)
{
  size_t i;

  for (i = 0; i < n && head[i] != 0; ++i) {
    if (head[i] < 0x20 && head[i] != '\n' && head[i] != '\r' &&
        head[i] != '\t')
      return false;
  }
  return (n > 0 && i == n) || i >= MIN_TEXT || (i > 0 && head[0] == '#');
}

const struct vd_format *
vd_image_format_of (const uint8_t *head, size_t n)
{
  size_t i;

  for (i = 0; vd_formats[i] != NULL; ++i)
    if (vd_formats[i]->probe (head, vd_min (n, HEAD_SIZE)))
      return vd_formats[i];
  return NULL;
}

int
vd_image_probe (struct vd_file *file, enum vd_magic *magic,
                const struct vd_format **fmt, struct vd_err *err)
{
  uint8_t head[VD_FOREIGN_HEAD];
  const size_t first = (size_t) vd_min (file->size, HEAD_SIZE);
  const size_t n = (size_t) vd_min (file->size, sizeof head);
  bool descriptor;

  *fmt = NULL;
  *magic = VD_MAGIC_NONE;
  if (vd_file_pread (file, head, first, 0, err) == -1)
    return -1;
  *fmt = vd_image_format_of (head, first);
  if (*fmt) {
    *magic = VD_MAGIC_SPARSE;
    return 0;
  }
  /* More is not read of an image: it need not be readable here. */
  if (vd_file_pread (file, head + first, n - first, first, err) == -1)
    return -1;
  descriptor = vd_is_descriptor_text (head, n);
  if (!descriptor && vd_foreign_find (head, n, NULL, 0, file->size))
    *magic = VD_MAGIC_FOREIGN;
  else if (descriptor || looks_like_text (head, first))
    *magic = VD_MAGIC_TEXT;
  return 0;
}

struct vd_image *
vd_image_open (struct vd_file *file, const struct vd_opts *opts,
               struct vd_err *err)
{
  const struct vd_format *fmt;
  struct vd_image *image = NULL;
  enum vd_magic magic;

  if (vd_image_probe (file, &magic, &fmt, err) == -1)
    return NULL;

  switch (magic) {
  case VD_MAGIC_SPARSE:
    break;
  case VD_MAGIC_FOREIGN:
    vd_explain_foreign (file, err);
    return NULL;
  case VD_MAGIC_TEXT:
    vd_fail (err, VD_NOT_FORMAT,
             "%s holds text, not a sparse extent (COWD, KDMV or SEsparse)",
             file->name);
    return NULL;
  default:
    vd_fail (err, VD_NOT_FORMAT,
             "%s is not a sparse VMDK extent: no COWD, KDMV or SEsparse magic "
             "in its first bytes (it has %" PRIu64 " bytes)",
             file->name, file->size);
    return NULL;
  }

  if (fmt->open (file, opts, &image, err) == -1)
    return NULL;
  if (!image->fmt)
    image->fmt = fmt;
  image->file = file;
  image->used = image->capacity;
  return image;
}

void
vd_image_close (struct vd_image *image)
{
  struct vd_file *file;

  if (!image)
    return;
  file = image->file;
  image->fmt->close (image);
  vd_file_close (file);
}
