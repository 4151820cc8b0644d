/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: an open VDI, for what changes its block map. */

#ifndef VD_VDI_H
#define VD_VDI_H

#include "format/grain-tables.h"

/* Entries of the block map that name no stored block. */
#define VD_VDI_FREE UINT32_C (0xffffffff)       /* ask the parent */
#define VD_VDI_ZERO UINT32_C (0xfffffffe)

enum vd_vdi_type {
  VD_VDI_NORMAL = 1,
  VD_VDI_FIXED,                 /* made with all blocks stored */
  VD_VDI_UNDO,
  VD_VDI_DIFF,
};

#define VD_VDI_SIGNATURE UINT32_C (0xbeda107f)

/* Byte offsets of fields of the header. */
enum {
  /* both versions */
  VD_VDI_OFF_SIGNATURE = 0x40,
  VD_VDI_OFF_VERSION = 0x44,

  /* version 1 */
  VD_VDI_OFF_HEADER_SIZE = 0x48,
  VD_VDI_OFF_TYPE = 0x4c,
  VD_VDI_OFF_FLAGS = 0x50,
  VD_VDI_OFF_MAP = 0x154,
  VD_VDI_OFF_DATA = 0x158,
  VD_VDI_OFF_SECTOR_SIZE = 0x168,
  VD_VDI_OFF_DISK_SIZE = 0x170,
  VD_VDI_OFF_BLOCK_SIZE = 0x178,
  VD_VDI_OFF_BLOCK_EXTRA = 0x17c,
  VD_VDI_OFF_NR_BLOCKS = 0x180,
  VD_VDI_OFF_NR_STORED = 0x184,
  VD_VDI_OFF_UUID = 0x188,
  VD_VDI_OFF_MODIFIED = 0x198,
  VD_VDI_OFF_PARENT = 0x1a8,
  VD_VDI_OFF_PARENT_MODIFIED = 0x1b8,
  VD_VDI_OFF_SECTOR_SIZE_2 = 0x1d4, /* again, in the second geometry */

  /* version 0; its map follows directly */
  VD_VDI_0_OFF_TYPE = 0x48,
  VD_VDI_0_OFF_FLAGS = 0x4c,
  VD_VDI_0_OFF_DISK_SIZE = 0x160,
  VD_VDI_0_OFF_BLOCK_SIZE = 0x168,
  VD_VDI_0_OFF_NR_BLOCKS = 0x16c,
  VD_VDI_0_OFF_NR_STORED = 0x170,
  VD_VDI_0_OFF_UUID = 0x174,
  VD_VDI_0_OFF_MODIFIED = 0x184,
  VD_VDI_0_OFF_PARENT = 0x194,
  VD_VDI_0_OFF_MAP = 0x1a4,
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

/* What an entry of the block map says; VD_DATA: where its block is stored,
 * behind what stands in front.  With err not NULL a VD_DAMAGED entry is also
 * explained there.
 */
extern struct vd_entry vd_vdi_judge (const struct vd_image *image,
                                     uint64_t block, uint32_t raw,
                                     struct vd_err *err);

/* Between a UUID as its text orders it and as the file does. */
extern void vd_vdi_swap_uuid (uint8_t to[16], const uint8_t from[16]);

#endif /* VD_VDI_H */
