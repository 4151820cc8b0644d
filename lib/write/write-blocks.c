/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing to blocks; see write-blocks.h, and T1 to T5 of write.h.
 *
 * Locks: b->lock is held while places are found and new blocks are prepared,
 * not while data is written.
 */

#include <inttypes.h>

#include "format/kdmv-header.h"
#include "write/write-blocks.h"

#define MAX_SEGMENTS 256u

/* Consecutive bytes of the file. */
struct segment {
  uint64_t where, length;
  const uint8_t *buf;
};

struct vd_blocks *
vd_blocks_new (const struct vd_image *image, struct vd_file *file,
               uint64_t start, uint64_t length,
               const struct vd_write_opts *opts, struct vd_err *err)
{
  struct vd_blocks *b = calloc (1, sizeof *b);
  int r;

  if (!b) {
    vd_fail_nomem (err);
    return NULL;
  }
  pthread_mutex_init (&b->lock, NULL);
  b->opts = opts;
  b->image = image;
  b->file = file;
  b->start = start;
  b->length = image->used;
  b->block_size = image->grain_size;
  b->size = b->old_size = file->size;
  r = image->fmt == &vd_format_vdi ? vd_blocks_open_vdi (b, length, err)
    : vd_blocks_open_tables (b, length, err);
  if (r == -1) {
    vd_blocks_free (b);
    return NULL;
  }
  return b;
}

void
vd_blocks_free (struct vd_blocks *b)
{
  uint64_t t;

  if (!b)
    return;
  for (t = 0; b->table && t < b->nr_tables; ++t)
    free (b->table[t].entry);
  free (b->table);
  free (b->dirty);
  pthread_mutex_destroy (&b->lock);
  free (b);
}

int
vd_blocks_make_tables (struct vd_blocks *b, struct vd_err *err)
{
  b->nr_tables = vd_div_up (b->nr_blocks, b->entries.per_table);
  b->table = calloc ((size_t) b->nr_tables, sizeof *b->table);
  return b->table ? 0 : vd_fail_nomem (err);
}

int
vd_blocks_dirty (struct vd_blocks *b, uint64_t t, struct vd_err *err)
{
  if (b->table[t].dirty)
    return 0;
  if (b->nr_dirty == b->alloc_dirty) {
    const size_t n = b->alloc_dirty ? b->alloc_dirty * 2 : 64;
    uint64_t *p = realloc (b->dirty, n * sizeof *p);

    if (!p)
      return vd_fail_nomem (err);
    b->dirty = p;
    b->alloc_dirty = n;
  }
  b->dirty[b->nr_dirty++] = t;
  b->table[t].dirty = true;
  return 0;
}

int
vd_blocks_load (struct vd_blocks *b, uint64_t t, struct vd_err *err)
{
  struct vd_block_table *table = &b->table[t];
  CLEANUP_FREE uint32_t *entry
    = calloc (b->entries.per_table, sizeof *entry);
  size_t n;

  if (!entry)
    return vd_fail_nomem (err);
  if (vd_entries_load (&b->entries, t, entry, &n, &table->place, err) == -1)
    return -1;
  if (vd_entries_sure (&b->entries, t, &table->place, err) == -1)
    return -1;
  if (table->place.copy != 0 && table->place.differs &&
      vd_blocks_dirty (b, t, err) == -1)
    return -1;
  table->entry = VD_TAKE (entry);
  return 0;
}

/* Make the file as long as what is allocated. */
static int
ensure_size (struct vd_blocks *b, struct vd_err *err)
{
  const uint64_t old = b->size;

  if (b->next <= old)
    return 0;
  b->size = b->next;
  b->stats.growth += b->size - old;
  if (b->opts->dry)
    return 0;
  return vd_file_truncate (b->file, b->size, err);
}

/* T2: put what the disk showed until now into a part of a block at `where`,
 * which reads as zeros.
 */
static int
fill_part (struct vd_blocks *b, uint64_t from, uint64_t to, uint64_t where,
           struct vd_err *err)
{
  static const struct vd_base nothing = { .align = 1 };
  const struct vd_chain *chain = vd_reader_get_chain (b->opts->below);
  const uint64_t end = vd_min (vd_min (to, b->length), chain->size > b->start
                               ? chain->size - b->start : 0);
  CLEANUP_FREE uint8_t *buf = NULL;
  uint64_t n;

  if (from >= end)
    return 0;
  b->stats.filled += end - from;
  if (b->opts->dry)
    return 0;
  buf = malloc ((size_t) vd_min (end - from, VD_TABLE_BUFFER * 16));
  if (!buf)
    return vd_fail_nomem (err);
  for (; from < end; from += n, where += n) {
    n = vd_min (end - from, VD_TABLE_BUFFER * 16);
    if (vd_read (b->opts->below, &nothing, buf, (size_t) n, b->start + from,
                 err) == -1 ||
        vd_file_pwrite (b->file, buf, (size_t) n, where, err) == -1)
      return -1;
  }
  return 0;
}

/* A new block, complete but for [at, at+len) of it, which is to be written or
 * is to be zeros; unless it is a whole block to be written that part is zeros
 * already.  *where is that of its first byte.
 */
static int
new_block (struct vd_blocks *b, uint64_t block, uint32_t *entry, uint64_t at,
           uint64_t len, bool zero, uint64_t *where, struct vd_err *err)
{
  const uint64_t t = block / b->entries.per_table;
  const bool fill = b->opts->below &&
    vd_entries_state (&b->entries, *entry).kind == VD_BASE;
  const uint64_t begin = block * b->block_size;
  const uint64_t stored = b->entries.stored_size, size = b->size;
  uint64_t from;
  uint32_t raw;

  if (b->ops->allocate (b, t, &raw, err) == -1)
    return -1;
  *where = vd_entries_state (&b->entries, raw).where;
  from = *where + b->block_size - stored;
  b->stats.new_blocks++;
  b->pending += stored;

  if (zero || len < stored) {
    if (ensure_size (b, err) == -1)
      return -1;
    /* What an interrupted run left there is not zeros. */
    if (from < size && !b->opts->dry &&
        vd_file_zero (b->file, from, vd_min (size - from, stored), err) == -1)
      return -1;
    if (fill && (fill_part (b, begin, begin + at, *where, err) == -1 ||
                 fill_part (b, begin + at + len, begin + b->block_size,
                            *where + at + len, err) == -1))
      return -1;
  }
  *entry = raw;
  return vd_blocks_dirty (b, t, err);
}

/* Find or make the place of [at, at+len) of a block.  1 and *where, or 0 when
 * there is nothing to write, -1.
 */
static int
place (struct vd_blocks *b, uint64_t block, uint64_t at, uint64_t len,
       const uint8_t *buf, bool zero, uint64_t *where, struct vd_err *err)
{
  const uint64_t t = block / b->entries.per_table;
  const bool whole = at == 0 &&
    len >= vd_min (b->block_size, b->length - block * b->block_size);
  struct vd_block_table *table = &b->table[t];
  struct vd_entry e;
  uint32_t *entry;
  bool as_zero;

  if (!table->entry && vd_blocks_load (b, t, err) == -1)
    return -1;
  entry = &table->entry[block % b->entries.per_table];
  e = vd_entries_state (&b->entries, *entry);
  if (e.kind == VD_DAMAGED)     /* a check before found none */
    return vd_fail (err, VD_CORRUPT, "%s: the entry of block %" PRIu64 " is %"
                    PRIu32 ", which makes no sense: it was changed since the "
                    "image was checked", b->image->file->name, block, *entry);
  if (e.kind == VD_DATA) {
    *where = e.where + at;
    return 1;
  }
  as_zero = zero ||
    (whole && b->opts->skip_zeros && buf && vd_is_zero (buf, len));
  if (as_zero && (e.kind == VD_ZERO || !b->opts->below))
    return 0;
  if (as_zero && whole && b->entries.can_zero) {
    *entry = b->entries.zero;
    b->pending++;
    return vd_blocks_dirty (b, t, err);
  }
  if (new_block (b, block, entry, at, len, zero, where, err) == -1)
    return -1;
  *where += at;
  return !zero;
}

/* Bytes of [where, where+length) that are holes of the file: they will take
 * space.
 */
static int
write_segment (struct vd_blocks *b, const struct segment *s, bool zero,
               struct vd_err *err)
{
  if (b->opts->dry) {
    uint64_t holes;

    if (zero || s->where >= b->old_size)
      return 0;
    if (vd_file_holes (b->file, s->where,
                       vd_min (s->length, b->old_size - s->where), &holes,
                       err) == -1)
      return -1;
    b->stats.holes += holes;
    return 0;
  }
  if (zero)
    return vd_file_zero (b->file, s->where, s->length, err);
  return vd_file_pwrite (b->file, s->buf, (size_t) s->length, s->where, err);
}

/* Find places for the start of a range, up to MAX_SEGMENTS of them. */
static int
map_range (struct vd_blocks *b, const uint8_t *buf, bool zero,
           uint64_t *n, uint64_t *offset, struct segment *seg, size_t *nr,
           struct vd_err *err)
{
  LOCK_FOR_SCOPE (&b->lock);
  uint64_t done = 0, len, where = 0;
  struct segment *s;
  int r;

  *nr = 0;
  if (!b->begun && !b->opts->dry) {
    if (vd_entries_mark (&b->entries, VD_KDMV_UNCLEAN_WRITE, err) == -1 ||
        vd_file_flush (b->file, err) == -1)
      return -1;
    b->begun = true;
  }
  while (*n > 0 && *nr < MAX_SEGMENTS) {
    const uint64_t block = *offset / b->block_size;
    const uint64_t at = *offset % b->block_size;

    len = vd_min (b->block_size - at, *n);
    r = place (b, block, at, len, buf ? buf + done : NULL, zero, &where, err);
    if (r == -1)
      return -1;
    s = *nr > 0 ? &seg[*nr - 1] : NULL;
    if (r == 1 && s && s->where + s->length == where &&
        (!buf || s->buf + s->length == buf + done))
      s->length += len;
    else if (r == 1)
      seg[(*nr)++] = (struct segment) {
        .where = where, .length = len, .buf = buf ? buf + done : NULL,
      };
    *offset += len;
    *n -= len;
    done += len;
  }
  return ensure_size (b, err);
}

int
vd_blocks_write (struct vd_blocks *b, const uint8_t *buf, bool zero,
                 uint64_t n, uint64_t offset, struct vd_err *err)
{
  struct segment seg[MAX_SEGMENTS];
  const uint64_t first = offset;
  size_t nr, i;

  while (n > 0) {
    if (map_range (b, buf ? buf + (offset - first) : NULL, zero, &n, &offset,
                   seg, &nr, err) == -1)
      return -1;
    for (i = 0; i < nr; ++i)
      if (write_segment (b, &seg[i], zero, err) == -1)
        return -1;
  }
  return 0;
}

/* What the tables on disk say from now on: the copies first (E1). */
static int
enter_tables (struct vd_blocks *b, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < b->nr_dirty; ++i) {
    const uint64_t t = b->dirty[i];
    struct vd_block_table *table = &b->table[t];

    if (table->fresh) {
      if (vd_entries_link (&b->entries, t, &table->place, err) == -1)
        return -1;
      table->fresh = false;
    }
    /* A map ends with the last block; a table is there as a whole, and is
     * made equal to its copy as a whole (T5).
     */
    else if (vd_entries_store (&b->entries, &table->place, table->entry, 0,
                               b->entries.has_copies ? b->entries.per_table
                               : vd_blocks_in_table (b, t), err) == -1)
      return -1;
  }
  return 0;
}

int
vd_blocks_commit (struct vd_blocks *b, struct vd_err *err)
{
  size_t i;

  if (b->opts->dry || b->nr_dirty == 0)
    return 0;
  /* T1: what entries name, and counters, are on the disk before them. */
  if (ensure_size (b, err) == -1)
    return -1;
  if (b->ops->before && b->ops->before (b, err) == -1)
    return -1;
  if (vd_entries_count (&b->entries, b->next, err) == -1 ||
      vd_file_flush (b->file, err) == -1 || enter_tables (b, err) == -1)
    return -1;
  for (i = 0; i < b->nr_dirty; ++i)
    b->table[b->dirty[i]].dirty = false;
  b->nr_dirty = 0;
  b->pending = 0;
  return 0;
}

int
vd_blocks_finish (struct vd_blocks *b, struct vd_err *err)
{
  if (b->opts->dry)
    return 0;
  if (vd_blocks_commit (b, err) == -1 || vd_file_flush (b->file, err) == -1)
    return -1;
  if (vd_entries_mark (&b->entries, 0, err) == -1)
    return -1;
  b->begun = false;
  return vd_file_flush (b->file, err);
}
