/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing into a VDI; see write-blocks.h.
 *
 * A new block gets the number behind the highest one in use: the header's
 * counter may be behind that (then VirtualBox would overwrite a block) or,
 * after an interrupted run, ahead.
 */

#include <inttypes.h>

#include "format/vdi.h"
#include "write/write-blocks.h"

#define PER_TABLE 1024u         /* entries that are written together */
#define MAX_MAP (UINT64_C (1) << 30) /* it is kept in memory */

static int
vdi_allocate (struct vd_blocks *b, uint64_t t, uint32_t *raw,
              struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (b->image);
  const uint64_t number = (b->next - vdi->data_offset) / vdi->stored_size;

  (void) t;
  if (number >= VD_VDI_ZERO || b->next > INT64_MAX - vdi->stored_size)
    return vd_fail (err, VD_UNSUPPORTED, "%s: no number is left for another "
                    "block", b->image->file->name);
  *raw = (uint32_t) number;
  b->next += vdi->stored_size;
  return 0;
}

/* The end of the last block is not in the disk, and can be anything. */
static int
clear_end (struct vd_blocks *b, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (b->image);
  const uint64_t in = b->image->used % vdi->block_size;
  struct vd_entry e;
  uint8_t raw[4];

  if (in == 0)
    return 0;
  if (vd_file_pread (b->image->file, raw, sizeof raw, vdi->map_offset +
                     b->image->used / vdi->block_size * 4, err) == -1)
    return -1;
  e = vd_entries_state (&b->entries, vd_le32 (raw));
  if (e.kind != VD_DATA || e.where + in >= b->file->size)
    return 0;
  return vd_file_zero (b->file, e.where + in,
                       vd_min (vdi->block_size, b->file->size - e.where) - in,
                       err);
}

/* Entries behind the map, if there is room before the data; they lie in
 * nobody's way until the header counts them.
 */
static int
vdi_grow (struct vd_blocks *b, uint64_t length, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (b->image);
  const uint64_t need = vd_div_up (length, vdi->block_size);
  uint8_t header[VD_SECTOR];
  /* from the end of the disk on: of the map is not always the same */
  uint64_t n = vd_div_up (b->image->used, vdi->block_size);
  uint8_t entries[PER_TABLE * 4];

  if (vdi->image.version >> 16 != 1)
    return vd_fail (err, VD_UNSUPPORTED, "%s: a VDI of version 0 is not made "
                    "larger", b->image->file->name);
  if (need > UINT32_MAX - 2 ||
      vdi->map_offset + need * 4 > vdi->data_offset)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: to hold %" PRIu64 " bytes it needs a map of %" PRIu64
                    " blocks, and there is room for %" PRIu64 " before its "
                    "data.  Make it larger first (VBoxManage modifymedium "
                    "--resize), or export the merged disk to a new file: "
                    "nbdcopy -- [ nbdkit vmdk TOP ] out.raw",
                    b->image->file->name, length, need,
                    (vdi->data_offset - vdi->map_offset) / 4);
  b->nr_blocks = vd_max (b->nr_blocks, need);
  b->length = length;
  if (b->opts->dry)
    return 0;

  if (clear_end (b, err) == -1)
    return -1;
  memset (entries, 0xff, sizeof entries);
  for (; n < need; n += PER_TABLE)
    if (vd_file_pwrite (b->file, entries,
                        (size_t) vd_min (need - n, PER_TABLE) * 4,
                        vdi->map_offset + n * 4, err) == -1)
      return -1;
  if (vd_file_flush (b->file, err) == -1 ||
      vd_file_pread (b->image->file, header, sizeof header, 0, err) == -1)
    return -1;
  vd_put64 (header + VD_VDI_OFF_DISK_SIZE, length);
  vd_put32 (header + VD_VDI_OFF_NR_BLOCKS, (uint32_t) b->nr_blocks);
  if (vd_file_pwrite (b->file, header, sizeof header, 0, err) == -1)
    return -1;
  return vd_file_flush (b->file, err);
}

static const struct vd_blocks_ops vdi_ops = {
  .allocate = vdi_allocate,
};

int
vd_blocks_open_vdi (struct vd_blocks *b, uint64_t length, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (b->image);
  uint64_t t, blocks = 0;
  uint32_t i;

  if (vdi->nr_blocks * UINT64_C (4) > MAX_MAP)
    return vd_fail (err, VD_UNSUPPORTED, "%s: a block map of %" PRIu32
                    " entries is too large to write into; allowed are %"
                    PRIu64, b->image->file->name, vdi->nr_blocks,
                    MAX_MAP / 4);
  if (vdi->map_offset % 4 != 0)
    return vd_fail (err, VD_UNSUPPORTED, "%s: its block map is at byte %"
                    PRIu64 ", not a multiple of 4, so that an entry cannot be "
                    "written in one piece", b->image->file->name,
                    vdi->map_offset);
  b->ops = &vdi_ops;
  vd_entries_open (&b->entries, b->image, b->image->file, b->file, PER_TABLE);
  b->nr_blocks = vdi->nr_blocks;
  if (length > b->length && vdi_grow (b, length, err) == -1)
    return -1;
  if (vd_blocks_make_tables (b, err) == -1)
    return -1;
  for (t = 0; t < b->nr_tables; ++t) {
    if (vd_blocks_load (b, t, err) == -1)
      return -1;
    for (i = 0; i < vd_blocks_in_table (b, t); ++i)
      if (b->table[t].entry[i] < VD_VDI_ZERO)
        blocks = vd_max (blocks, b->table[t].entry[i] + UINT64_C (1));
  }
  b->next = vdi->data_offset + blocks * vdi->stored_size;
  return 0;
}
