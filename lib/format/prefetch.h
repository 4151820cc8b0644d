/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Tables of files that are far away, asked for before they are needed.
 *
 * A region of a chain is mapped link by link, and each link waits for its
 * directory and then for its tables: two round trips a link.  So they are asked
 * for beforehand, first the directories of all links, then the tables that these
 * name: two round trips, or one if the directories are known.
 *
 * Nothing is decided here: an entry that makes no sense is left to who maps.
 */

#ifndef VD_PREFETCH_H
#define VD_PREFETCH_H

#include "format/image.h"

enum vd_prefetch { VD_PREFETCH_DIRECTORY, VD_PREFETCH_TABLES };

/* Those for [offset, offset+length) of the image, which lies inside it.  Does
 * nothing for files that are near.  Returns how many bytes were asked for.
 */
extern uint64_t vd_image_prefetch (const struct vd_image *image,
                                   uint64_t offset, uint64_t length,
                                   enum vd_prefetch what);

#endif /* VD_PREFETCH_H */
