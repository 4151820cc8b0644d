/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Can the extents of a link be written to one by one?  See link.h. */

#include <inttypes.h>

#include "chain/link.h"

/* Plain bytes of one file are apart; an extent with tables wants its file to
 * itself.
 */
static bool
are_apart (const struct vd_image *a, const struct vd_image *b)
{
  if (!a->file || !b->file || !vd_file_same (a->file, b->file))
    return true;
  if (a->fmt != &vd_format_flat || b->fmt != &vd_format_flat)
    return false;
  return vd_flat_start (a) >= vd_flat_start (b) + b->used ||
    vd_flat_start (b) >= vd_flat_start (a) + a->used;
}

int
vd_link_check_apart (const struct vd_link *link, struct vd_err *err)
{
  size_t i, j;

  for (i = 0; i < link->nr_pieces; ++i)
    for (j = 0; j < i; ++j)
      if (!are_apart (link->pieces[j].image, link->pieces[i].image))
        return vd_fail (err, VD_CORRUPT, "%s is two extents of %s, those at "
                        "bytes %" PRIu64 " and %" PRIu64 " of the disk, which "
                        "share bytes of it: writing to one would change the "
                        "other.  Correct the extent lines of the descriptor",
                        link->pieces[i].image->file->name, link->path,
                        link->pieces[j].start, link->pieces[i].start);
  return 0;
}
