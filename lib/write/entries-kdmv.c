/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The tables of KDMV, and of COWD, which are the same without copies; see
 * entries.h.
 */

#include "format/cowd.h"
#include "format/kdmv.h"
#include "write/entries.h"

static const struct vd_walk *
walk_of (const struct vd_entries *e)
{
  return e->ops == &vd_entries_kdmv ? &vd_walk_kdmv : &vd_walk_cowd;
}

static const struct vd_tables *
tables_of (const struct vd_entries *e)
{
  return walk_of (e)->tables (e->image);
}

static uint64_t
rgd_of (const struct vd_entries *e)
{
  return e->has_copies ? vd_kdmv (e->image)->rgd_offset : 0;
}

static void
cowd_entries_open (struct vd_entries *e)
{
  const struct vd_tables *tables = tables_of (e);

  e->per_table = tables->gt_entries;
  e->nr_tables = vd_div_up (e->image->capacity, tables->coverage);
  e->absent = 0;
  e->zero = 1;                  /* COWD: read so, but never written */
}

static void
kdmv_entries_open (struct vd_entries *e)
{
  cowd_entries_open (e);
  e->has_copies = vd_kdmv (e->image)->rgd_offset != 0;
  e->can_zero = e->image->version >= 2 &&
    (e->image->flags & VD_KDMV_ZEROED) != 0;
}

/* Where a directory says that table t is, in bytes. */
static int
read_directory (const struct vd_entries *e, uint64_t gd, uint64_t t,
                uint64_t *where, struct vd_err *err)
{
  uint8_t raw[4];

  if (vd_file_pread (e->from, raw, sizeof raw, gd + t * 4, err) == -1)
    return -1;
  *where = vd_le32 (raw) * VD_SECTOR;
  return 0;
}

static int
kdmv_find (const struct vd_entries *e, uint64_t t,
           struct vd_table_place *place, struct vd_err *err)
{
  const uint64_t size = vd_max (e->from->size, e->file->size);
  const uint64_t bytes = vd_entries_table_size (e);

  if (read_directory (e, tables_of (e)->gd_offset, t, &place->where,
                      err) == -1)
    return -1;
  if (!e->has_copies)
    return 0;
  if (read_directory (e, rgd_of (e), t, &place->copy_entry, err) == -1)
    return -1;
  if (place->copy_entry == place->where)
    return 0;
  if (place->copy_entry == 0 || place->copy_entry > size ||
      bytes > size - place->copy_entry)
    place->bad_copy = place->where != 0;
  else if (place->where == 0)
    place->orphan = true;
  else
    place->copy = place->copy_entry;
  return 0;
}

static size_t
kdmv_count_entries (const struct vd_entries *e, uint64_t t)
{
  (void) t;
  return e->per_table;
}

static struct vd_entry
kdmv_state (const struct vd_entries *e, uint32_t raw)
{
  struct vd_entry state = { .kind = VD_BASE };

  if (raw != e->absent)
    state = walk_of (e)->gte (e->image, 0, raw, NULL);
  if (state.kind == VD_DAMAGED)
    state.where = raw * VD_SECTOR;
  return state;
}

static bool
kdmv_doubt (const struct vd_entries *e, uint64_t block, uint32_t first,
            uint32_t copy)
{
  return vd_kdmv (e->image)->compare &&
    vd_kdmv_doubt (e->image, block, first, copy);
}

static uint32_t
kdmv_raw (const struct vd_entries *e, uint64_t where)
{
  (void) e;
  return (uint32_t) (where / VD_SECTOR);
}

static int
write_directory (const struct vd_entries *e, uint64_t gd, uint64_t t,
                 uint64_t where, struct vd_err *err)
{
  uint8_t raw[4];

  vd_put32 (raw, (uint32_t) (where / VD_SECTOR));
  return vd_file_pwrite (e->file, raw, sizeof raw, gd + t * 4, err);
}

static int
kdmv_link_copy (const struct vd_entries *e, uint64_t t,
                const struct vd_table_place *place, struct vd_err *err)
{
  return place->copy == 0 ? 0
    : write_directory (e, rgd_of (e), t, place->copy, err);
}

static int
kdmv_unlink_copy (const struct vd_entries *e, uint64_t t, struct vd_err *err)
{
  return write_directory (e, rgd_of (e), t, 0, err);
}

static int
kdmv_link (const struct vd_entries *e, uint64_t t,
           const struct vd_table_place *place, struct vd_err *err)
{
  if (kdmv_link_copy (e, t, place, err) == -1)
    return -1;
  return write_directory (e, tables_of (e)->gd_offset, t, place->where, err);
}

static int
cowd_count (const struct vd_entries *e, uint64_t end, struct vd_err *err)
{
  uint8_t raw[4];

  vd_put32 (raw, (uint32_t) vd_div_up (end, VD_SECTOR));
  return vd_file_pwrite (e->file, raw, sizeof raw, VD_COWD_OFF_FREE_SECTOR,
                         err);
}

const struct vd_entries_ops vd_entries_kdmv = {
  .open = kdmv_entries_open,
  .find = kdmv_find,
  .count_entries = kdmv_count_entries,
  .state = kdmv_state,
  .raw = kdmv_raw,
  .doubt = kdmv_doubt,
  .link = kdmv_link,
  .link_copy = kdmv_link_copy,
  .unlink_copy = kdmv_unlink_copy,
  .mark_offset = VD_KDMV_OFF_UNCLEAN,
  .mark_size = 1,
};

const struct vd_entries_ops vd_entries_cowd = {
  .open = cowd_entries_open,
  .find = kdmv_find,
  .count_entries = kdmv_count_entries,
  .state = kdmv_state,
  .raw = kdmv_raw,
  .link = kdmv_link,
  .count = cowd_count,
  .mark_offset = VD_COWD_OFF_UNCLEAN,
  .mark_size = 4,
};
