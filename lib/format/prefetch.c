/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Tables asked for before they are needed; see prefetch.h. */

#include "base/bytes.h"
#include "format/grain-tables.h"
#include "format/prefetch.h"
#include "format/vdi.h"

static uint64_t
ask (struct vd_file *file, uint64_t offset, uint64_t n)
{
  if (offset >= file->size)
    return 0;
  n = vd_min (n, file->size - offset);
  vd_file_peek (file, NULL, 0, (size_t) n, offset);
  return n;
}

/* The part of the tables that holds [offset, end), of n entries of the
 * directory from number first on.
 */
static uint64_t
ask_tables (const struct vd_image *image, const struct vd_walk *w,
            const struct vd_tables *t, uint64_t first, size_t n,
            uint64_t offset, uint64_t end)
{
  uint8_t gd[VD_GD_CHUNK * 8];
  struct vd_err ignored;
  struct vd_entry e;
  uint64_t from, to, asked = 0;
  size_t i;

  if (vd_file_pread (image->file, gd, n * w->width,
                     t->gd_offset + first * w->width, &ignored) == -1)
    return 0;
  for (i = 0; i < n; ++i) {
    const uint64_t start = (first + i) * t->coverage;
    const uint64_t raw = vd_raw_entry (gd, i, w->width);

    if (raw == 0)
      continue;
    e = w->gde (image, first + i, raw, NULL);
    if (e.kind != VD_DATA)
      continue;
    from = (vd_max (offset, start) - start) / t->grain_size;
    to = vd_div_up (vd_min (end, start + t->coverage) - start, t->grain_size);
    asked += ask (image->file, e.where + from * w->width,
                  (to - from) * w->width);
  }
  return asked;
}

uint64_t
vd_image_prefetch (const struct vd_image *image, uint64_t offset,
                   uint64_t length, enum vd_prefetch what)
{
  const struct vd_walk *w = image->fmt->walk;
  const uint64_t end = offset + length;
  const struct vd_tables *t;
  uint64_t first, last, n, asked = 0;

  if (!image->file || !image->file->far)
    return 0;
  if (image->fmt == &vd_format_vdi && what == VD_PREFETCH_DIRECTORY) {
    first = offset / vd_vdi (image)->block_size;
    n = vd_div_up (end, vd_vdi (image)->block_size) - first;
    return ask (image->file, vd_vdi (image)->map_offset + first * 4, n * 4);
  }
  t = w ? w->tables (image) : NULL;
  if (!t || t->coverage == 0)
    return 0;
  first = offset / t->coverage;
  last = vd_div_up (end, t->coverage);
  if (what == VD_PREFETCH_DIRECTORY)
    return ask (image->file, t->gd_offset + first * w->width,
                (last - first) * w->width);
  for (; first < last; first += n) {
    n = vd_min (last - first, VD_GD_CHUNK);
    asked += ask_tables (image, w, t, first, (size_t) n, offset, end);
  }
  return asked;
}
