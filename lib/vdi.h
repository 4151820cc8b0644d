/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: an open VDI, for what changes its block map. */

#ifndef VD_VDI_H
#define VD_VDI_H

#include "image.h"

/* Entries of the block map that name no stored block. */
#define VD_VDI_FREE UINT32_C (0xffffffff)       /* ask the parent */
#define VD_VDI_ZERO UINT32_C (0xfffffffe)

enum vd_vdi_type {
  VD_VDI_NORMAL = 1,
  VD_VDI_FIXED,                 /* made with all blocks stored */
  VD_VDI_UNDO,
  VD_VDI_DIFF,
};

struct vd_vdi_image {
  struct vd_image image;
  enum vd_vdi_type type;
  uint64_t map_offset;
  uint64_t data_offset;
  uint64_t block_size;          /* of the disk */
  uint64_t stored_size;         /* the same with what stands in front */
  uint64_t extra;
  uint64_t nr_stored;           /* blocks that the file has, also a cut one */
  uint32_t nr_blocks;           /* of the map; may be more than needed */
  uint64_t count_offset;        /* of the header's number of stored blocks */
};

static inline const struct vd_vdi_image *
vd_vdi (const struct vd_image *image)
{
  return (const struct vd_vdi_image *) image;
}

#endif /* VD_VDI_H */
