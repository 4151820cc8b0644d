/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A new VDI child, laid out as VirtualBox lays them out: the map at 1 MiB,
 * the data at the next MiB behind it, blocks of 1 MiB, none stored.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "create/create-vdi.h"
#include "file/rights.h"
#include "format/vdi.h"

#define MIB (UINT64_C (1) << 20)
#define HEADER_SIZE 0x190u

static const char text[] = "<<< Oracle VM VirtualBox Disk Image >>>\n";

static void
put_header (uint8_t *h, uint64_t capacity, uint64_t blocks, uint64_t data,
            const struct vd_identity *id)
{
  memcpy (h, text, sizeof text);
  vd_put32 (h + VD_VDI_OFF_SIGNATURE, VD_VDI_SIGNATURE);
  vd_put32 (h + VD_VDI_OFF_VERSION, 0x00010001);
  vd_put32 (h + VD_VDI_OFF_HEADER_SIZE, HEADER_SIZE);
  vd_put32 (h + VD_VDI_OFF_TYPE, VD_VDI_DIFF);
  vd_put32 (h + VD_VDI_OFF_MAP, (uint32_t) MIB);
  vd_put32 (h + VD_VDI_OFF_DATA, (uint32_t) data);
  vd_put32 (h + VD_VDI_OFF_SECTOR_SIZE, VD_SECTOR);
  vd_put64 (h + VD_VDI_OFF_DISK_SIZE, capacity);
  vd_put32 (h + VD_VDI_OFF_BLOCK_SIZE, (uint32_t) MIB);
  vd_put32 (h + VD_VDI_OFF_NR_BLOCKS, (uint32_t) blocks);
  vd_vdi_swap_uuid (h + VD_VDI_OFF_UUID, id->image);
  vd_vdi_swap_uuid (h + VD_VDI_OFF_MODIFIED, id->modified);
  vd_vdi_swap_uuid (h + VD_VDI_OFF_PARENT, id->parent);
  vd_vdi_swap_uuid (h + VD_VDI_OFF_PARENT_MODIFIED, id->parent_modified);
  vd_put32 (h + VD_VDI_OFF_SECTOR_SIZE_2, VD_SECTOR);
}

int
vd_create_vdi_child (const char *path, uint64_t capacity,
                    const struct vd_identity *id,
                    const struct vd_file *like, struct vd_err *err)
{
  const uint64_t blocks = vd_div_up (capacity, MIB);
  const uint64_t data = vd_div_up (MIB + blocks * 4, MIB) * MIB;
  CLEANUP_FREE uint8_t *map = malloc (MIB);
  uint8_t header[VD_SECTOR] = { 0 };
  struct vd_file *f;
  uint64_t at, n;
  int r = 0;

  if (!map)
    return vd_fail_nomem (err);
  if (data > UINT32_MAX)
    return vd_fail (err, VD_UNSUPPORTED, "%s: a disk of %" PRIu64 " bytes is "
                    "too large for a VDI with blocks of 1 MiB", path,
                    capacity);
  f = vd_file_create_private (path, err);
  if (!f)
    return -1;
  put_header (header, capacity, blocks, data, id);
  memset (map, 0xff, MIB);
  for (at = 0; r == 0 && at < blocks * 4; at += n) {
    n = vd_min (blocks * 4 - at, MIB);
    r = vd_file_pwrite (f, map, (size_t) n, MIB + at, err);
  }
  if (r == 0)
    r = vd_file_truncate (f, data, err);
  if (r == 0)
    r = vd_file_pwrite (f, header, sizeof header, 0, err);
  if (r == 0 && like && vd_file_fd (like) >= 0)
    vd_rights_copy (vd_file_fd (f), vd_file_fd (like), false);
  if (r == 0)
    r = vd_file_flush (f, err);
  vd_file_close (f);
  return r;
}
