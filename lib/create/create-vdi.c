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
#include "file/newfile.h"
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

static int
write_child (struct vd_file *f, uint64_t capacity, uint64_t data,
             const struct vd_identity *id, struct vd_err *err)
{
  const uint64_t blocks = vd_div_up (capacity, MIB);
  CLEANUP_FREE uint8_t *map = malloc (MIB);
  uint8_t header[VD_SECTOR] = { 0 };
  uint64_t at, n;

  if (!map)
    return vd_fail_nomem (err);
  put_header (header, capacity, blocks, data, id);
  memset (map, 0xff, MIB);
  for (at = 0; at < blocks * 4; at += n) {
    n = vd_min (blocks * 4 - at, MIB);
    if (vd_file_pwrite (f, map, (size_t) n, MIB + at, err) == -1)
      return -1;
  }
  if (vd_file_truncate (f, data, err) == -1 ||
      vd_file_pwrite (f, header, sizeof header, 0, err) == -1)
    return -1;
  return vd_file_flush (f, err);
}

int
vd_create_vdi_child (const char *path, uint64_t capacity,
                    const struct vd_identity *id,
                    const struct vd_file *like, struct vd_err *err)
{
  const uint64_t blocks = vd_div_up (capacity, MIB);
  const uint64_t data = vd_div_up (MIB + blocks * 4, MIB) * MIB;
  struct vd_new_file n = { .path = NULL };
  int r;

  if (data > UINT32_MAX)
    return vd_fail (err, VD_UNSUPPORTED, "%s: a disk of %" PRIu64 " bytes is "
                    "too large for a VDI with blocks of 1 MiB", path,
                    capacity);
  r = vd_new_file_open_like (&n, path, false, like, NULL, err);
  if (r == 0)
    r = write_child (n.file, capacity, data, id, err);
  if (r == 0)
    r = vd_new_file_publish (&n, false, err);
  if (r == 0)
    r = vd_new_file_flush_directory (&n, err);
  vd_new_file_close (&n);
  return r;
}
