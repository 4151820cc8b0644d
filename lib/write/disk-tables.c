/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a disk does with the tables of a file; what is in them and how they are
 * written is entries.h.
 */

#include <inttypes.h>

#include "format/cowd.h"
#include "format/kdmv.h"
#include "format/vdi.h"
#include "write/disk-private.h"

/* A VDI has one map, taken in pieces of 4 KiB. */
#define VDI_PER_TABLE 1024u

static bool
is_vdi (const struct disk_part *p)
{
  return p->inner->fmt == &vd_format_vdi;
}

int
disk_tables_open (struct disk_part *p, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (p->inner);
  const bool kdmv = p->inner->fmt == &vd_format_kdmv;

  if (is_vdi (p) && vdi->map_offset % 4 != 0)
    return vd_fail (err, VD_UNSUPPORTED, "%s: its block map is at byte %"
                    PRIu64 ", not a multiple of 4, so that an entry cannot be "
                    "written in one piece", p->inner->file->name,
                    vdi->map_offset);
  vd_entries_open (&p->entries, p->inner, p->file, p->file, VDI_PER_TABLE);
  p->grain_size = p->entries.block_size;
  p->stored_size = p->entries.stored_size;
  p->per_table = p->entries.per_table;
  if (is_vdi (p)) {
    p->nr_grains = vdi->nr_blocks;
    p->align = 1;               /* the end is at one */
    p->max_size = vd_min (INT64_MAX, vdi->data_offset +
                          VD_VDI_ZERO * vdi->stored_size);
    return 0;
  }
  p->nr_grains = vd_div_up (p->inner->capacity, p->grain_size);
  p->align = kdmv ? p->grain_size : VD_SECTOR;
  p->max_size = VD_MAX_SECTORS * VD_SECTOR; /* for counters of sectors too */
  /* Small grains, each of which would take its place in a table of 16 KiB. */
  p->trim_needs_entry = !kdmv;
  return 0;
}

struct vd_entries
disk_tables_as_opened (const struct disk_part *p)
{
  struct vd_entries e = p->entries;

  e.from = e.file = p->inner->file;
  return e;
}

/* All was looked at before the first change.  A copy that does not lie in the
 * file is none; where we made it, it lies behind the end that was.
 */
int
disk_tables_load (struct disk_part *p, struct disk_table *table,
                  struct vd_err *err)
{
  const struct vd_entries opened = disk_tables_as_opened (p);
  const struct vd_entries *e = disk_is_changed (p, table->t) ? &p->entries
    : &opened;
  size_t n;

  if (vd_entries_load (e, table->t, table->entry, &n, &table->place,
                       err) == -1)
    return -1;
  table->dirty = table->place.copy != 0 && table->place.differs;
  return 0;
}

/* A new table, with its copy; its place_lock is held. */
int
disk_tables_place (struct disk_part *p, struct disk_table *table,
                   struct vd_err *err)
{
  const uint64_t bytes = vd_entries_table_size (&p->entries);
  uint64_t copy = 0, where;

  if ((p->entries.has_copies &&
       disk_claim (p, bytes, VD_SECTOR, &copy, err) == -1) ||
      disk_claim (p, bytes, VD_SECTOR, &where, err) == -1)
    return -1;
  table->place = (struct vd_table_place) { .where = where, .copy = copy };
  table->fresh = true;
  return 0;
}

/* ---- The end ----------------------------------------------------------------- */

static void
pass (uint64_t from, uint64_t n, uint64_t *end)
{
  *end = vd_max (*end, from + n);
}

/* The header, the directories and the descriptor. */
static void
pass_fixed (const struct disk_part *p, uint64_t *end)
{
  const struct vd_kdmv_image *kdmv = vd_kdmv (p->inner);
  const uint64_t gd_bytes = p->entries.nr_tables * 4;

  *end = 0;
  if (is_vdi (p))
    pass (0, vd_vdi (p->inner)->data_offset, end);
  else if (p->inner->fmt == &vd_format_kdmv) {
    pass (0, kdmv->first_data, end);
    pass (kdmv->tables.gd_offset, gd_bytes, end);
    if (p->entries.has_copies)
      pass (kdmv->rgd_offset, gd_bytes, end);
  }
  else {
    pass (0, VD_COWD_HEADER_SIZE, end);
    pass (vd_walk_cowd.tables (p->inner)->gd_offset, gd_bytes, end);
  }
  pass (p->inner->descriptor_offset, p->inner->descriptor_length, end);
}

static int
pass_table (struct disk_part *p, const struct vd_entries *tables, uint64_t t,
            uint64_t *end, struct vd_err *err)
{
  const uint64_t bytes = vd_entries_table_size (tables);
  uint32_t raw[VD_ENTRIES_MAX];
  struct vd_table_place place;
  struct vd_entry e;
  size_t n, i;

  if (vd_entries_load (tables, t, raw, &n, &place, err) == -1)
    return -1;
  p->unsettled |= place.differs;
  if (!is_vdi (p)) {
    if (place.where != 0)
      pass (place.where, bytes, end);
    /* a cut can leave a copy whose table was not entered yet */
    if (disk_holds (p, place.copy_entry, bytes))
      pass (place.copy_entry, bytes, end);
  }
  for (i = 0; i < n; ++i) {
    e = vd_entries_state (tables, raw[i]);
    if (e.kind == VD_DATA)
      pass (e.where, p->grain_size, end);
  }
  return 0;
}

int
disk_tables_settle (struct disk_part *p, struct vd_err *err)
{
  bool changed;
  uint64_t t;

  if (!p->unsettled || !p->inner->unclean)
    return 0;
  for (t = 0; t < p->entries.nr_tables; ++t) {
    if (vd_entries_settle (&p->entries, t, &changed, err) == -1)
      return -1;
    if (changed)
      atomic_store (&p->written, true);
  }
  return 0;
}

int
disk_tables_find_end (struct disk_part *p, uint64_t *end, struct vd_err *err)
{
  const struct vd_entries tables = disk_tables_as_opened (p);
  uint64_t t;

  pass_fixed (p, end);
  for (t = 0; t < tables.nr_tables; ++t)
    if (pass_table (p, &tables, t, end, err) == -1)
      return -1;
  return 0;
}
