/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Extents without tables: FLAT/VMFS (raw bytes) and ZERO. */

#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "format/image.h"

struct flat_image {
  struct vd_image image;
  uint64_t start;               /* of the extent's byte 0 in the file */
};

static int
flat_map (const struct vd_image *image, uint64_t offset, uint64_t length,
          const struct vd_out *out, struct vd_err *err)
{
  const struct flat_image *flat = (const struct flat_image *) image;

  return vd_emit (out, VD_DATA, offset, length, flat->start + offset,
                  err) == -1 ? -1 : 0;
}

static int
zero_map (const struct vd_image *image, uint64_t offset, uint64_t length,
          const struct vd_out *out, struct vd_err *err)
{
  (void) image;
  return vd_emit (out, VD_ZERO, offset, length, 0, err) == -1 ? -1 : 0;
}

static void
plain_close (struct vd_image *image)
{
  free (image);
}

const struct vd_format vd_format_flat = {
  .name = "FLAT",
  .long_name = "flat (raw bytes)",
  .map = flat_map,
  .close = plain_close,
};

const struct vd_format vd_format_zero = {
  .name = "ZERO",
  .long_name = "zeros",
  .map = zero_map,
  .close = plain_close,
};

struct vd_image *
vd_image_open_flat (struct vd_file *file, uint64_t start, uint64_t length,
                    struct vd_err *err)
{
  struct flat_image *flat;
  uint64_t end;

  if (!vd_add (start, length, &end) || end > file->size) {
    vd_fail (err, VD_TRUNCATED,
             "%s is %" PRIu64 " bytes long, but the extent needs %" PRIu64
             " bytes from byte %" PRIu64 " on: it is truncated, or not the "
             "right file", file->name, file->size, length, start);
    return NULL;
  }
  flat = calloc (1, sizeof *flat);
  if (!flat) {
    vd_fail_nomem (err);
    return NULL;
  }
  flat->image.fmt = &vd_format_flat;
  flat->image.file = file;
  flat->image.capacity = flat->image.used = length;
  flat->start = start;
  return &flat->image;
}

uint64_t
vd_flat_start (const struct vd_image *image)
{
  return ((const struct flat_image *) image)->start;
}

struct vd_image *
vd_image_open_zero (uint64_t length, struct vd_err *err)
{
  struct vd_image *image = calloc (1, sizeof *image);

  if (!image) {
    vd_fail_nomem (err);
    return NULL;
  }
  image->fmt = &vd_format_zero;
  image->capacity = image->used = length;
  return image;
}
