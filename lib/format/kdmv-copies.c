/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The redundant tables of a KDMV file, compared with the primary ones.
 *
 * The primary ones are read, always.  A difference means that a writer was
 * cut off or did not know about the copy; VirtualBox refuses such a file,
 * QEMU does not look.  We warn, once.
 */

#include <stdlib.h>

#include "format/kdmv.h"

/* Larger tables are left to a full check: this many entries in each copy
 * are 2 MiB of reading at open, 16 GiB of disk in the usual geometry.
 */
#define MAX_COMPARED (UINT64_C (1) << 18)

void
vd_kdmv_compare_copies (const struct vd_image *image,
                          const struct vd_log *log)
{
  const struct vd_kdmv_image *h = vd_kdmv (image);
  const size_t bytes = (size_t) h->tables.gt_entries * 4;
  const uint64_t size = image->file->size;
  CLEANUP_FREE uint8_t *buf = NULL;
  uint64_t i, first, copy;
  struct vd_err err;
  uint8_t raw[8];
  size_t k;

  if (h->nr_tables * h->tables.gt_entries > MAX_COMPARED || !log->fn)
    return;
  buf = malloc (bytes * 2);
  if (!buf)
    return;                     /* it is only for a warning */

  for (i = 0; i < h->nr_tables; ++i) {
    if (vd_file_pread (image->file, raw, 4, h->tables.gd_offset + i * 4,
                       &err) == -1 ||
        vd_file_pread (image->file, raw + 4, 4, h->rgd_offset + i * 4,
                       &err) == -1)
      goto unreadable;
    first = vd_le32 (raw);
    copy = vd_le32 (raw + 4);
    if (first == 0 && copy == 0)
      continue;
    if (first == 0 || copy == 0 || first * VD_SECTOR + bytes > size ||
        copy * VD_SECTOR + bytes > size) {
      vd_warn (log, "%s: grain directories differ at entry %" PRIu64
               " (sector %" PRIu64 " in the first, %" PRIu64 " in the copy); "
               "using the first", image->file->name, i, first, copy);
      return;
    }
    if (vd_file_pread (image->file, buf, bytes, first * VD_SECTOR,
                       &err) == -1 ||
        vd_file_pread (image->file, buf + bytes, bytes, copy * VD_SECTOR,
                       &err) == -1)
      goto unreadable;
    for (k = 0; k < h->tables.gt_entries; ++k) {
      const uint32_t a = vd_le32 (buf + k * 4);
      const uint32_t b = vd_le32 (buf + bytes + k * 4);

      if (a != b) {
        vd_warn (log, "%s: grain tables differ at entry %" PRIu64 " (%" PRIu32
                 " in the first, %" PRIu32 " in the copy); using the first",
                 image->file->name, i * h->tables.gt_entries + k, a, b);
        return;
      }
    }
  }
  return;

 unreadable:
  vd_warn (log, "grain tables cannot be compared with their copies: %s",
           err.msg);
}
