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

#include "format/cowd.h"
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

static uint64_t
rgd_of (const struct vd_blocks *b)
{
  return is_kdmv (b) ? vd_kdmv (b->image)->rgd_offset : 0;
}

static uint64_t
table_bytes (const struct vd_blocks *b)
{
  return (uint64_t) tables_of (b)->gt_entries * 4;
}

/* Where a directory says that table t is, in bytes; 0: nowhere. */
static int
directory_entry (const struct vd_blocks *b, uint64_t gd, uint64_t t,
                 uint64_t *where, struct vd_err *err)
{
  uint8_t raw[4];

  if (vd_file_pread (b->image->file, raw, sizeof raw, gd + t * 4, err) == -1)
    return -1;
  *where = vd_le32 (raw) * VD_SECTOR;
  return 0;
}

static int
tables_load (struct vd_blocks *b, uint64_t t, struct vd_err *err)
{
  struct vd_block_table *table = &b->table[t];
  const uint32_t n = vd_blocks_in_table (b, t);
  const size_t bytes = n * (size_t) 4;
  CLEANUP_FREE uint8_t *raw = malloc (bytes * 2);
  CLEANUP_FREE uint32_t *entry = calloc (b->per_table, sizeof *entry);
  const uint64_t size = b->image->file->size;
  uint32_t i;

  if (!raw || !entry)
    return vd_fail_nomem (err);
  if (directory_entry (b, tables_of (b)->gd_offset, t, &table->where,
                       err) == -1 ||
      (rgd_of (b) != 0 &&
       directory_entry (b, rgd_of (b), t, &table->copy, err) == -1))
    return -1;
  /* A copy that is not in the file, or is the table itself, is none. */
  if (table->copy == table->where || table->copy > size ||
      size - table->copy < table_bytes (b))
    table->copy = 0;
  if (table->where != 0) {
    if (vd_file_pread (b->image->file, raw, bytes, table->where, err) == -1)
      return -1;
    for (i = 0; i < n; ++i)
      entry[i] = vd_le32 (raw + i * (size_t) 4);
    if (table->copy != 0) {
      if (vd_file_pread (b->image->file, raw + bytes, bytes, table->copy,
                         err) == -1)
        return -1;
      if (memcmp (raw, raw + bytes, bytes) != 0 &&
          vd_blocks_dirty (b, t, err) == -1)
        return -1;
    }
  }
  else
    table->copy = 0;
  table->entry = VD_TAKE (entry);
  return 0;
}

static struct vd_entry
tables_state (const struct vd_blocks *b, uint32_t raw)
{
  (void) b;
  if (raw == 0)
    return (struct vd_entry) { .kind = VD_BASE };
  /* In KDMV without the flag it is damage, which is not written into; in
   * COWD all readers take it for zeros.
   */
  if (raw == 1)
    return (struct vd_entry) { .kind = VD_ZERO };
  return (struct vd_entry) { .kind = VD_DATA, .where = raw * VD_SECTOR };
}

/* Take n bytes from the end of the file; their sector numbers must fit. */
static int
claim (struct vd_blocks *b, uint64_t n, uint64_t align, uint64_t *where,
       struct vd_err *err)
{
  *where = vd_div_up (b->next, align) * align;
  if (*where + n > UINT32_MAX * VD_SECTOR)
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
  struct vd_block_table *table = &b->table[t];

  if (rgd_of (b) != 0 &&
      claim (b, table_bytes (b), VD_SECTOR, &table->copy, err) == -1)
    return -1;
  if (claim (b, table_bytes (b), VD_SECTOR, &table->where, err) == -1)
    return -1;
  table->fresh = true;
  b->pending += table_bytes (b);
  return vd_blocks_dirty (b, t, err);
}

static int
tables_allocate (struct vd_blocks *b, uint64_t t, uint32_t *raw,
                 struct vd_err *err)
{
  const uint64_t align = is_kdmv (b) ? b->block_size : VD_SECTOR;
  uint64_t where;

  if ((b->table[t].where == 0 && place_table (b, t, err) == -1) ||
      claim (b, b->block_size, align, &where, err) == -1)
    return -1;
  *raw = (uint32_t) (where / VD_SECTOR);
  return 0;
}

/* All of a new table: its unused end too, which may hold anything. */
static int
put_fresh (struct vd_blocks *b, uint64_t t, uint64_t where,
           struct vd_err *err)
{
  const uint64_t used = vd_blocks_in_table (b, t) * UINT64_C (4);

  if (vd_file_zero (b->file, where + used, table_bytes (b) - used, err) == -1)
    return -1;
  return vd_blocks_put_table (b, t, where, err);
}

static int
tables_before (struct vd_blocks *b, struct vd_err *err)
{
  uint8_t raw[4];
  size_t i;

  for (i = 0; i < b->nr_dirty; ++i) {
    const struct vd_block_table *table = &b->table[b->dirty[i]];

    if (table->fresh &&
        ((table->copy != 0 &&
          put_fresh (b, b->dirty[i], table->copy, err) == -1) ||
         put_fresh (b, b->dirty[i], table->where, err) == -1))
      return -1;
  }
  if (is_kdmv (b))
    return 0;
  vd_put32 (raw, (uint32_t) vd_div_up (b->next, VD_SECTOR));
  return vd_file_pwrite (b->file, raw, sizeof raw, VD_COWD_OFF_FREE_SECTOR, err);
}

static int
put_pointer (struct vd_blocks *b, uint64_t gd, uint64_t t, uint64_t where,
             struct vd_err *err)
{
  uint8_t raw[4];

  vd_put32 (raw, (uint32_t) (where / VD_SECTOR));
  return vd_file_pwrite (b->file, raw, sizeof raw, gd + t * 4, err);
}

/* The copy first: the primary one is what is read. */
static int
tables_after (struct vd_blocks *b, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < b->nr_dirty; ++i) {
    const uint64_t t = b->dirty[i];
    struct vd_block_table *table = &b->table[t];

    if (!table->fresh) {
      if ((table->copy != 0 &&
           vd_blocks_put_table (b, t, table->copy, err) == -1) ||
          vd_blocks_put_table (b, t, table->where, err) == -1)
        return -1;
      continue;
    }
    if ((table->copy != 0 &&
         put_pointer (b, rgd_of (b), t, table->copy, err) == -1) ||
        put_pointer (b, tables_of (b)->gd_offset, t, table->where,
                     err) == -1)
      return -1;
    table->fresh = false;
  }
  return 0;
}

static int
tables_mark (struct vd_blocks *b, bool unclean, struct vd_err *err)
{
  const uint8_t raw[4] = { unclean };

  return is_kdmv (b)
    ? vd_file_pwrite (b->file, raw, 1, VD_KDMV_OFF_UNCLEAN, err)
    : vd_file_pwrite (b->file, raw, 4, VD_COWD_OFF_UNCLEAN, err);
}

static const struct vd_blocks_ops tables_ops = {
  .load = tables_load,
  .state = tables_state,
  .allocate = tables_allocate,
  .before = tables_before,
  .after = tables_after,
  .mark = tables_mark,
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
  if (vd_file_pwrite (b->file, raw, sizeof raw, VD_KDMV_OFF_CAPACITY, err) == -1)
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
    const uint64_t t = block / b->per_table;
    uint32_t *entry;

    if (!b->table[t].entry && tables_load (b, t, err) == -1)
      return -1;
    entry = &b->table[t].entry[block % b->per_table];
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

/* Where nothing is in use any more. */
static int
find_end (struct vd_blocks *b, const struct span *rest, struct vd_err *err)
{
  const struct vd_tables *tables = tables_of (b);
  const uint64_t bytes = table_bytes (b), gd_bytes = b->nr_tables * 4;
  CLEANUP_FREE uint8_t *raw = malloc ((size_t) bytes);
  uint64_t end = 0, t, where;
  uint32_t i;

  if (!raw)
    return vd_fail_nomem (err);
  if (pass (b, tables->gd_offset, gd_bytes, rest, &end, err) == -1 ||
      (is_kdmv (b) &&
       pass (b, 0, vd_kdmv (b->image)->first_data, rest, &end,
             err) == -1) ||
      (rgd_of (b) != 0 &&
       pass (b, rgd_of (b), gd_bytes, rest, &end, err) == -1) ||
      pass (b, b->image->descriptor_offset, b->image->descriptor_length, rest,
            &end, err) == -1)
    return -1;
  for (t = 0; t < b->nr_tables; ++t) {
    const uint32_t n = vd_blocks_in_table (b, t);

    if (rgd_of (b) != 0) {
      if (directory_entry (b, rgd_of (b), t, &where, err) == -1)
        return -1;
      if (where != 0 && where < b->image->file->size &&
          pass (b, where, bytes, rest, &end, err) == -1)
        return -1;
    }
    if (directory_entry (b, tables->gd_offset, t, &where, err) == -1)
      return -1;
    if (where == 0)
      continue;
    if (pass (b, where, bytes, rest, &end, err) == -1 ||
        vd_file_pread (b->image->file, raw, n * (size_t) 4, where, err) == -1)
      return -1;
    for (i = 0; i < n; ++i) {
      const uint64_t e = vd_le32 (raw + i * (size_t) 4) * VD_SECTOR;

      /* not the last grain itself */
      if (e > VD_SECTOR && e + b->block_size != rest->to &&
          pass (b, e, b->block_size, rest, &end, err) == -1)
        return -1;
      end = e > VD_SECTOR ? vd_max (end, e + b->block_size) : end;
    }
  }
  b->next = end;
  return 0;
}

int
vd_blocks_open_tables (struct vd_blocks *b, uint64_t length,
                       struct vd_err *err)
{
  const struct vd_tables *tables = tables_of (b);
  struct span rest = { 0, 0 };

  b->ops = &tables_ops;
  b->per_table = tables->gt_entries;
  b->nr_tables = vd_div_up (b->image->capacity, tables->coverage);
  b->zero_raw = 1;
  b->can_zero = is_kdmv (b) && b->image->version >= 2 &&
    (b->image->flags & VD_KDMV_ZEROED) != 0;
  if (length > b->length && grow (b, length, err) == -1)
    return -1;
  b->nr_blocks = vd_div_up (vd_max (b->image->capacity, b->length),
                            b->block_size);
  if (vd_blocks_make_tables (b, err) == -1 ||
      (b->length > b->image->used && clear_behind (b, &rest, err) == -1) ||
      find_end (b, &rest, err) == -1)
    return -1;
  return zero_rest (b, &rest, err);
}
