/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing into KDMV and COWD; see write-blocks.h.
 *
 * A grain goes behind everything that tables, directories and grains take in
 * the file: counters in headers are not believed.  A missing table gets its
 * place the same way; it is complete on disk before the directory names it.
 */

#include <inttypes.h>

#include "format/kdmv.h"
#include "write/write-blocks.h"

static bool
is_kdmv (const struct vd_blocks *b)
{
  return b->image->fmt == &vd_format_kdmv;
}

static const struct vd_tables *
tables_of (const struct vd_blocks *b)
{
  return (is_kdmv (b) ? &vd_walk_kdmv : &vd_walk_cowd)->tables (b->image);
}

/* Take n bytes from the end of the file; their sector numbers must fit. */
static int
claim (struct vd_blocks *b, uint64_t n, uint64_t align, uint64_t *where,
       struct vd_err *err)
{
  *where = vd_div_up (b->next, align) * align;
  if (*where + n > VD_MAX_SECTORS * VD_SECTOR)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s would become larger than 2 TiB, which its 32-bit "
                    "sector numbers cannot express: export the merged disk to "
                    "a new file instead (nbdcopy -- [ nbdkit vmdk TOP ] "
                    "out.raw)", b->image->file->name);
  b->next = *where + n;
  return 0;
}

/* Nothing there was lost track of: what an interrupted run wrote of a table
 * is written again as a whole.
 */
static int
place_table (struct vd_blocks *b, uint64_t t, struct vd_err *err)
{
  const uint64_t bytes = vd_entries_table_size (&b->entries);
  struct vd_block_table *table = &b->table[t];

  if (b->entries.has_copies &&
      claim (b, bytes, VD_SECTOR, &table->place.copy, err) == -1)
    return -1;
  if (claim (b, bytes, VD_SECTOR, &table->place.where, err) == -1)
    return -1;
  table->fresh = true;
  b->pending += bytes;
  return vd_blocks_dirty (b, t, err);
}

static int
tables_allocate (struct vd_blocks *b, uint64_t t, uint32_t *raw,
                 struct vd_err *err)
{
  const uint64_t align = is_kdmv (b) ? b->block_size : VD_SECTOR;
  uint64_t where;

  if ((b->table[t].place.where == 0 && place_table (b, t, err) == -1) ||
      claim (b, b->block_size, align, &where, err) == -1)
    return -1;
  *raw = vd_entries_raw (&b->entries, where);
  return 0;
}

static int
put_new_tables (struct vd_blocks *b, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < b->nr_dirty; ++i) {
    const struct vd_block_table *table = &b->table[b->dirty[i]];

    if (table->fresh &&
        vd_entries_put_new (&b->entries, &table->place, table->entry,
                            err) == -1)
      return -1;
  }
  return 0;
}

static const struct vd_blocks_ops tables_ops = {
  .allocate = tables_allocate,
  .before = put_new_tables,
};

/* A larger capacity, if the tables that there are suffice. */
static int
grow (struct vd_blocks *b, uint64_t length, struct vd_err *err)
{
  const uint64_t room = b->nr_tables * tables_of (b)->coverage;
  uint8_t raw[8];

  if (!is_kdmv (b) || length > room)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: its tables have room for %" PRIu64 " bytes, the "
                    "merged disk has %" PRIu64 ": export it to a new file "
                    "instead (nbdcopy -- [ nbdkit vmdk TOP ] out.raw)",
                    b->image->file->name, room, length);
  b->length = length;
  if (length <= b->image->capacity || b->opts->dry)
    return 0;
  vd_put64 (raw, vd_div_up (length, b->block_size) * b->block_size /
            VD_SECTOR);
  if (vd_file_pwrite (b->file, raw, sizeof raw, VD_KDMV_OFF_CAPACITY,
                      err) == -1)
    return -1;
  return vd_file_flush (b->file, err);
}

/* A part of the file. */
struct span {
  uint64_t from, to;
};

/* Growing: what grains hold behind the old end was never seen, and is not to
 * show.  *rest is that part of the grain in which the old end lies, if it is
 * stored.
 */
static int
clear_behind (struct vd_blocks *b, struct span *rest, struct vd_err *err)
{
  const uint64_t old = b->image->used, in = old % b->block_size;
  uint64_t block;

  for (block = old / b->block_size;
       block < vd_div_up (b->length, b->block_size); ++block) {
    const uint64_t t = block / b->entries.per_table;
    uint32_t *entry;

    if (!b->table[t].entry && vd_blocks_load (b, t, err) == -1)
      return -1;
    entry = &b->table[t].entry[block % b->entries.per_table];
    if (block * b->block_size < old) {
      if (*entry > 1)
        *rest = (struct span) {
          *entry * VD_SECTOR + in, *entry * VD_SECTOR + b->block_size
        };
    }
    else if (*entry != 0) {
      *entry = 0;
      if (vd_blocks_dirty (b, t, err) == -1)
        return -1;
    }
  }
  return 0;
}

static int
zero_rest (struct vd_blocks *b, const struct span *rest, struct vd_err *err)
{
  const uint64_t to = vd_min (rest->to, b->file->size);

  return b->opts->dry || rest->from >= to ? 0
    : vd_file_zero (b->file, rest->from, to - rest->from, err);
}

/* Something is at `from`, length bytes: not in the rest of the last grain, of
 * which only the first part was looked at by the check.
 */
static int
pass (const struct vd_blocks *b, uint64_t from, uint64_t length,
      const struct span *rest, uint64_t *end, struct vd_err *err)
{
  *end = vd_max (*end, from + length);
  if (from >= rest->to || from + length <= rest->from)
    return 0;
  return vd_fail (err, VD_CORRUPT, "%s: the last grain, of which the disk has "
                  "only a part, cannot be used as a whole: at byte %" PRIu64
                  " there is something else; nothing was written",
                  b->image->file->name, from);
}

/* What one table, its copy and its blocks take. */
static int
pass_table (const struct vd_blocks *b, uint64_t t, uint32_t *raw,
            const struct span *rest, uint64_t *end, struct vd_err *err)
{
  const uint64_t bytes = vd_entries_table_size (&b->entries);
  const uint32_t n = vd_blocks_in_table (b, t);
  struct vd_table_place place;
  size_t have;
  uint32_t i;

  if (vd_entries_load (&b->entries, t, raw, &have, &place, err) == -1 ||
      vd_entries_sure (&b->entries, t, &place, err) == -1)
    return -1;
  /* Wherever a copy is, also of a table that is not there. */
  if (place.copy_entry != 0 && place.copy_entry < b->file->size &&
      pass (b, place.copy_entry, bytes, rest, end, err) == -1)
    return -1;
  if (place.where == 0)
    return 0;
  if (pass (b, place.where, bytes, rest, end, err) == -1)
    return -1;
  for (i = 0; i < n; ++i) {
    const struct vd_entry e = vd_entries_state (&b->entries, raw[i]);

    if (e.kind != VD_DATA)
      continue;
    /* not the last grain itself */
    if (e.where + b->block_size != rest->to &&
        pass (b, e.where, b->block_size, rest, end, err) == -1)
      return -1;
    *end = vd_max (*end, e.where + b->block_size);
  }
  return 0;
}

/* Where nothing is in use any more. */
static int
find_end (struct vd_blocks *b, const struct span *rest, struct vd_err *err)
{
  const uint64_t gd_bytes = b->nr_tables * 4;
  CLEANUP_FREE uint32_t *raw = calloc (b->entries.per_table, sizeof *raw);
  uint64_t end = 0, t;

  if (!raw)
    return vd_fail_nomem (err);
  if (pass (b, tables_of (b)->gd_offset, gd_bytes, rest, &end, err) == -1)
    return -1;
  if (is_kdmv (b) &&
      pass (b, 0, vd_kdmv (b->image)->first_data, rest, &end, err) == -1)
    return -1;
  if (b->entries.has_copies &&
      pass (b, vd_kdmv (b->image)->rgd_offset, gd_bytes, rest, &end,
            err) == -1)
    return -1;
  if (pass (b, b->image->descriptor_offset, b->image->descriptor_length, rest,
            &end, err) == -1)
    return -1;
  for (t = 0; t < b->nr_tables; ++t)
    if (pass_table (b, t, raw, rest, &end, err) == -1)
      return -1;
  b->next = end;
  return 0;
}

int
vd_blocks_open_tables (struct vd_blocks *b, uint64_t length,
                       struct vd_err *err)
{
  struct span rest = { 0, 0 };

  b->ops = &tables_ops;
  vd_entries_open (&b->entries, b->image, b->image->file, b->file, 0);
  b->nr_tables = b->entries.nr_tables;
  if (length > b->length && grow (b, length, err) == -1)
    return -1;
  b->nr_blocks = vd_div_up (vd_max (b->image->capacity, b->length),
                            b->block_size);
  if (vd_blocks_make_tables (b, err) == -1)
    return -1;
  if (b->length > b->image->used && clear_behind (b, &rest, err) == -1)
    return -1;
  if (find_end (b, &rest, err) == -1)
    return -1;
  return zero_rest (b, &rest, err);
}
