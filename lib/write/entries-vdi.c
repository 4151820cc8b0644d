/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The block map of a VDI, taken for tables of which the last may be short; see
 * entries.h.  It is all there from the beginning, and has no copy.
 */

#include "format/vdi.h"
#include "write/entries.h"

static void
vdi_entries_open (struct vd_entries *e)
{
  const struct vd_vdi_image *vdi = vd_vdi (e->image);

  e->nr_tables = vd_div_up (vdi->nr_blocks, e->per_table);
  e->stored_size = vdi->stored_size;
  e->absent = VD_VDI_FREE;
  e->zero = VD_VDI_ZERO;
  e->can_zero = true;
}

static int
vdi_find (const struct vd_entries *e, uint64_t t,
          struct vd_table_place *place, struct vd_err *err)
{
  (void) err;
  place->where = vd_vdi (e->image)->map_offset
    + t * vd_entries_table_size (e);
  return 0;
}

/* Whoever makes the map larger asks for tables behind its end. */
static size_t
vdi_count_entries (const struct vd_entries *e, uint64_t t)
{
  const uint64_t first = t * e->per_table;
  const uint32_t nr_blocks = vd_vdi (e->image)->nr_blocks;

  return first < nr_blocks
    ? (size_t) vd_min (nr_blocks - first, e->per_table) : 0;
}

/* Not vd_vdi_judge: new blocks lie behind the end of the file as it was. */
static struct vd_entry
vdi_state (const struct vd_entries *e, uint32_t raw)
{
  const struct vd_vdi_image *vdi = vd_vdi (e->image);

  if (raw == VD_VDI_FREE)
    return (struct vd_entry) { .kind = VD_BASE };
  if (raw == VD_VDI_ZERO)
    return (struct vd_entry) { .kind = VD_ZERO };
  return (struct vd_entry) {
    .kind = VD_DATA,
    .where = vdi->data_offset + raw * vdi->stored_size + vdi->extra,
  };
}

static uint32_t
vdi_raw (const struct vd_entries *e, uint64_t where)
{
  const struct vd_vdi_image *vdi = vd_vdi (e->image);

  return (uint32_t) ((where - vdi->extra - vdi->data_offset) /
                     vdi->stored_size);
}

/* The map does not grow table by table. */
static int
vdi_link (const struct vd_entries *e, uint64_t t,
          const struct vd_table_place *place, struct vd_err *err)
{
  (void) e;
  (void) t;
  (void) place;
  (void) err;
  return 0;
}

/* It counts blocks, also those of which nothing is stored up to `end`. */
static int
vdi_count (const struct vd_entries *e, uint64_t end, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (e->image);
  uint8_t raw[4];

  vd_put32 (raw, (uint32_t) ((end - vdi->data_offset) / vdi->stored_size));
  return vd_file_pwrite (e->file, raw, sizeof raw, vdi->count_offset, err);
}

const struct vd_entries_ops vd_entries_vdi = {
  .open = vdi_entries_open,
  .find = vdi_find,
  .count_entries = vdi_count_entries,
  .state = vdi_state,
  .raw = vdi_raw,
  .link = vdi_link,
  .count = vdi_count,
};
