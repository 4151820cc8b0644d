/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Extents without tables: FLAT/VMFS (raw bytes), ZERO, and what is lost. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "format/image.h"

struct flat_image {
  struct vd_image image;
  uint64_t start;               /* of the extent's byte 0 in the file */
  uint64_t have;                /* bytes that the file has from there on */
};

struct lost_image {
  struct vd_image image;
  char *why;
};

static int
flat_map (const struct vd_image *image, uint64_t offset, uint64_t length,
          const struct vd_out *out, struct vd_err *err)
{
  const struct flat_image *flat = (const struct flat_image *) image;
  const uint64_t n = offset < flat->have
    ? vd_min (length, flat->have - offset) : 0;

  int r = n == 0 ? 0 : vd_emit (out, VD_DATA, offset, n, flat->start + offset,
                                err);
  if (r == 0 && n < length)
    r = vd_emit (out, VD_DAMAGED, offset + n, length - n, 0, err);
  return r == -1 ? -1 : 0;
}

static int
too_short (const struct vd_file *file, uint64_t start, uint64_t length,
           struct vd_err *err)
{
  return vd_fail (err, VD_TRUNCATED, "%s is %" PRIu64 " bytes long, but the "
                  "extent needs %" PRIu64 " bytes from byte %" PRIu64 " on: it "
                  "is truncated, or not the right file", file->name,
                  file->size, length, start);
}

static int
flat_explain (const struct vd_image *image, uint64_t offset,
              struct vd_err *err)
{
  (void) offset;
  return too_short (image->file, ((const struct flat_image *) image)->start,
                    image->capacity, err);
}

static int
lost_map (const struct vd_image *image, uint64_t offset, uint64_t length,
          const struct vd_out *out, struct vd_err *err)
{
  (void) image;
  return vd_emit (out, VD_DAMAGED, offset, length, 0, err) == -1 ? -1 : 0;
}

static int
lost_explain (const struct vd_image *image, uint64_t offset,
              struct vd_err *err)
{
  (void) offset;
  return vd_fail (err, VD_NOT_FOUND, "%s",
                  ((const struct lost_image *) image)->why);
}

static void
lost_close (struct vd_image *image)
{
  free (((struct lost_image *) image)->why);
  free (image);
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
  .explain = flat_explain,
  .close = plain_close,
};

const struct vd_format vd_format_zero = {
  .name = "ZERO",
  .long_name = "zeros",
  .no_data = true,
  .map = zero_map,
  .close = plain_close,
};

const struct vd_format vd_format_lost = {
  .name = "lost",
  .long_name = "lost",
  .no_data = true,
  .map = lost_map,
  .explain = lost_explain,
  .close = lost_close,
};

struct vd_image *
vd_image_open_flat (struct vd_file *file, uint64_t start, uint64_t length,
                    const struct vd_log *log, struct vd_err *err)
{
  struct flat_image *flat;
  struct vd_err why;

  if (start >= file->size) {
    too_short (file, start, length, err);
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
  flat->have = file->size - start; /* more when the disk is to grow */
  flat->image.lost = flat->have < length;
  if (flat->image.lost) {
    too_short (file, start, length, &why);
    vd_warn (log, "%s; the %" PRIu64 " bytes at its end are lost", why.msg,
             length - flat->have);
  }
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

struct vd_image *
vd_image_open_lost (const char *name, uint64_t length,
                    const struct vd_err *why, struct vd_err *err)
{
  struct lost_image *lost = calloc (1, sizeof *lost);

  if (!lost || !(lost->why = strdup (why->msg))) {
    free (lost);
    vd_fail_nomem (err);
    return NULL;
  }
  /* A file without a byte, so that whoever asks has its name. */
  lost->image.file = vd_file_memory (name, "", 0, err);
  if (!lost->image.file) {
    lost_close (&lost->image);
    return NULL;
  }
  lost->image.fmt = &vd_format_lost;
  lost->image.capacity = lost->image.used = length;
  lost->image.lost = true;
  return &lost->image;
}
