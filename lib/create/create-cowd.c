/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing COWD, the delta of ESX.  The layout is explained in cowd.c.
 *
 * Tables and grains come in the order in which ESX makes them when a guest
 * writes from the front to the back: a table, then its grains.  There is no
 * entry for zeros, so zeros are stored; the file has holes for them.
 *
 * freeSector, the next sector to hand out, has to lie inside the file
 * according to VMware's "Virtual Disk Format 5.0", so the file is made longer.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "create/create-format.h"
#include "format/cowd.h"

#define HEADER_SECTORS (VD_COWD_HEADER_SIZE / VD_SECTOR)
#define PAD UINT64_C (65536)

static uint64_t
gd_sectors (const struct vd_create *w)
{
  return vd_div_up (w->nr_tables * 4, VD_SECTOR);
}

static int
cowd_open (struct vd_create *w, struct vd_err *err)
{
  if (w->opts.capacity / VD_SECTOR > VD_MAX_SECTORS)
    return vd_fail (err, VD_UNSUPPORTED,
                    "the disk has %" PRIu64 " bytes, but COWD has 32-bit "
                    "sector numbers: it ends below 2 TiB (use format sparse)",
                    w->opts.capacity);
  /* At most 2^32 sectors / 4096 * 4 bytes = 4 MiB. */
  w->gd = calloc ((size_t) (gd_sectors (w) * VD_SECTOR), 1);
  if (!w->gd)
    return vd_fail_nomem (err);
  return vd_create_claim (w, HEADER_SECTORS + gd_sectors (w), NULL, err);
}

static int
cowd_begin_table (struct vd_create *w, struct vd_err *err)
{
  if (vd_create_claim (w, VD_COWD_GT_ENTRIES * 4 / VD_SECTOR, &w->table_at,
                      err) == -1)
    return -1;
  w->gd[w->table_index] = htole32 ((uint32_t) w->table_at);
  return 0;
}

static int
cowd_end_table (struct vd_create *w, struct vd_err *err)
{
  return vd_file_pwrite (w->extent.file, w->table, VD_COWD_GT_ENTRIES * 4,
                         w->table_at * VD_SECTOR, err);
}

static int
cowd_finish (struct vd_create *w, const char *descriptor, struct vd_err *err)
{
  (void) descriptor;
  if (vd_file_pwrite (w->extent.file, w->gd,
                      (size_t) (gd_sectors (w) * VD_SECTOR),
                      HEADER_SECTORS * VD_SECTOR, err) == -1)
    return -1;
  return vd_create_extend (w, (w->free * VD_SECTOR / PAD + 1) * PAD, err);
}

static int
cowd_header (struct vd_create *w, struct vd_err *err)
{
  uint8_t h[HEADER_SECTORS * VD_SECTOR] = { 'C', 'O', 'W', 'D' };

  vd_put32 (h + VD_COWD_OFF_VERSION, 1);
  vd_put32 (h + VD_COWD_OFF_FLAGS, VD_COWD_FLAGS);
  vd_put32 (h + VD_COWD_OFF_NUM_SECTORS,
            (uint32_t) (w->opts.capacity / VD_SECTOR));
  vd_put32 (h + VD_COWD_OFF_GRAIN_SIZE,
            (uint32_t) (w->opts.grain_size / VD_SECTOR));
  vd_put32 (h + VD_COWD_OFF_GD, HEADER_SECTORS);
  vd_put32 (h + VD_COWD_OFF_NUM_GD_ENTRIES, (uint32_t) w->nr_tables);
  vd_put32 (h + VD_COWD_OFF_FREE_SECTOR, (uint32_t) w->free);
  return vd_file_pwrite (w->extent.file, h, sizeof h, 0, err);
}

const struct vd_create_ops vd_create_cowd = {
  .create_type = "vmfsSparse",
  .extent_type = "VMFSSPARSE",
  .min_grain = VD_SECTOR,
  .default_grain = VD_SECTOR,
  .gtes = VD_COWD_GT_ENTRIES,
  .open = cowd_open,
  .begin_table = cowd_begin_table,
  .data = vd_create_grains,
  .zeros = vd_create_hole,
  .end_table = cowd_end_table,
  .finish = cowd_finish,
  .header = cowd_header,
};
