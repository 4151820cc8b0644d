/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The header of a KDMV file; see kdmv-header.h. */

#include "format/kdmv-header.h"

const uint8_t vd_kdmv_line_ends[4] = { 0x0a, 0x20, 0x0d, 0x0a };

void
vd_kdmv_decode (const uint8_t h[VD_SECTOR], struct vd_kdmv_header *k)
{
  k->version = vd_le32 (h + VD_KDMV_OFF_VERSION);
  k->flags = vd_le32 (h + VD_KDMV_OFF_FLAGS);
  k->capacity = vd_le64 (h + VD_KDMV_OFF_CAPACITY);
  k->grain_size = vd_le64 (h + VD_KDMV_OFF_GRAIN_SIZE);
  k->descriptor_offset = vd_le64 (h + VD_KDMV_OFF_DESCRIPTOR);
  k->descriptor_size = vd_le64 (h + VD_KDMV_OFF_DESCRIPTOR_SIZE);
  k->gtes_per_gt = vd_le32 (h + VD_KDMV_OFF_GTES_PER_GT);
  k->rgd_offset = vd_le64 (h + VD_KDMV_OFF_RGD);
  k->gd_offset = vd_le64 (h + VD_KDMV_OFF_GD);
  k->overhead = vd_le64 (h + VD_KDMV_OFF_OVERHEAD);
  k->unclean = h[VD_KDMV_OFF_UNCLEAN];
  memcpy (k->line_ends, h + VD_KDMV_OFF_LINE_ENDS, sizeof k->line_ends);
  k->compress_algorithm = vd_le16 (h + VD_KDMV_OFF_COMPRESSION);
}

void
vd_kdmv_encode (const struct vd_kdmv_header *k, uint8_t h[VD_SECTOR])
{
  memset (h, 0, VD_SECTOR);
  memcpy (h, "KDMV", 4);
  vd_put32 (h + VD_KDMV_OFF_VERSION, k->version);
  vd_put32 (h + VD_KDMV_OFF_FLAGS, k->flags);
  vd_put64 (h + VD_KDMV_OFF_CAPACITY, k->capacity);
  vd_put64 (h + VD_KDMV_OFF_GRAIN_SIZE, k->grain_size);
  vd_put64 (h + VD_KDMV_OFF_DESCRIPTOR, k->descriptor_offset);
  vd_put64 (h + VD_KDMV_OFF_DESCRIPTOR_SIZE, k->descriptor_size);
  vd_put32 (h + VD_KDMV_OFF_GTES_PER_GT, k->gtes_per_gt);
  vd_put64 (h + VD_KDMV_OFF_RGD, k->rgd_offset);
  vd_put64 (h + VD_KDMV_OFF_GD, k->gd_offset);
  vd_put64 (h + VD_KDMV_OFF_OVERHEAD, k->overhead);
  h[VD_KDMV_OFF_UNCLEAN] = k->unclean;
  memcpy (h + VD_KDMV_OFF_LINE_ENDS, k->line_ends, sizeof k->line_ends);
  vd_put16 (h + VD_KDMV_OFF_COMPRESSION, k->compress_algorithm);
}
