/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing monolithicSparse.  The layout is explained in kdmv.c.
 *
 * All tables have their place from the beginning, in both copies, so the
 * directories follow from the geometry and are written last.  Tables without
 * entries are never written: they are holes of the file, which read as zeros.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "create/create-format.h"
#include "format/kdmv-header.h"

#define GTES 512u
#define GT_SECTORS (GTES * 4 / VD_SECTOR)
#define DESCRIPTOR_SECTOR UINT64_C (1)

#define GD_CHUNK 16384u         /* entries written together: 64 KiB */

void
vd_create_kdmv_header (const struct vd_create *w,
                       const struct vd_kdmv_places *p, uint8_t h[VD_SECTOR])
{
  struct vd_kdmv_header k = {
    .version = p->version,
    .flags = p->flags,
    .capacity = w->opts.capacity / VD_SECTOR,
    .grain_size = w->opts.grain_size / VD_SECTOR,
    .descriptor_offset = DESCRIPTOR_SECTOR,
    .descriptor_size = VD_WRITE_DESCRIPTOR_SECTORS,
    .gtes_per_gt = GTES,
    .rgd_offset = p->rgd,
    .gd_offset = p->gd,
    .overhead = p->overhead,
    .compress_algorithm = p->compression,
  };

  memcpy (k.line_ends, vd_kdmv_line_ends, sizeof k.line_ends);
  vd_kdmv_encode (&k, h);
}

int
vd_kdmv_write_descriptor (struct vd_create *w, const char *text,
                          struct vd_err *err)
{
  uint8_t area[VD_WRITE_DESCRIPTOR_SECTORS * VD_SECTOR] = { 0 };
  const size_t n = strlen (text);

  /* Names are at most 480 bytes each, so this cannot be. */
  if (n >= sizeof area)
    return vd_fail (err, VD_USAGE, "%s: the descriptor needs %zu bytes, there "
                    "is room for %zu", w->extent.path, n, sizeof area);
  memcpy (area, text, n);
  return vd_file_pwrite (w->extent.file, area, sizeof area,
                         DESCRIPTOR_SECTOR * VD_SECTOR, err);
}

/* Where things are, in sectors. */

static uint64_t
gd_sectors (const struct vd_create *w)
{
  return vd_div_up (w->nr_tables * 4, VD_SECTOR);
}

static uint64_t
rgd_at (void)
{
  return DESCRIPTOR_SECTOR + VD_WRITE_DESCRIPTOR_SECTORS;
}

static uint64_t
gd_at (const struct vd_create *w)
{
  return rgd_at () + gd_sectors (w) + w->nr_tables * GT_SECTORS;
}

/* Of a table of the copy whose directory is at gd. */
static uint64_t
table_at (const struct vd_create *w, uint64_t gd, uint64_t index)
{
  return gd + gd_sectors (w) + index * GT_SECTORS;
}

static uint64_t
overhead (const struct vd_create *w)
{
  const uint64_t grain = w->opts.grain_size / VD_SECTOR;

  return vd_div_up (table_at (w, gd_at (w), w->nr_tables), grain) * grain;
}

static int
sparse_open (struct vd_create *w, struct vd_err *err)
{
  if (w->nr_tables > VD_KDMV_MAX_TABLES)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%" PRIu64 " bytes in grains of %" PRIu64 " need %" PRIu64
                    " grain tables, at most %" PRIu64 " are possible: use "
                    "larger grains", w->opts.capacity, w->opts.grain_size,
                    w->nr_tables, VD_KDMV_MAX_TABLES);
  /* 2 * 2^25 tables of 4 sectors fit into 32 bits, so this only fails
   * later, when data comes.
   */
  w->free = overhead (w);
  return 0;
}

static int
sparse_zeros (struct vd_create *w, uint32_t entry, uint32_t count,
              struct vd_err *err)
{
  uint32_t i;

  if (w->opts.store_zeros)
    return vd_create_hole (w, entry, count, err);
  for (i = 0; i < count; ++i)
    w->table[entry + i] = htole32 (1);
  return 0;
}

static int
sparse_end_table (struct vd_create *w, struct vd_err *err)
{
  const uint64_t copies[2] = { rgd_at (), gd_at (w) };
  unsigned i;

  for (i = 0; i < 2; ++i)
    if (vd_file_pwrite (w->extent.file, w->table, GTES * 4,
                        table_at (w, copies[i], w->table_index) * VD_SECTOR,
                        err) == -1)
      return -1;
  return 0;
}

static int
write_directory (struct vd_create *w, uint64_t gd, struct vd_err *err)
{
  CLEANUP_FREE uint32_t *chunk = malloc (GD_CHUNK * 4);
  uint64_t i, n, k;

  if (!chunk)
    return vd_fail_nomem (err);
  for (i = 0; i < w->nr_tables; i += n) {
    n = vd_min (w->nr_tables - i, GD_CHUNK);
    for (k = 0; k < n; ++k)
      chunk[k] = htole32 ((uint32_t) table_at (w, gd, i + k));
    if (vd_file_pwrite (w->extent.file, chunk, (size_t) (n * 4),
                        gd * VD_SECTOR + i * 4, err) == -1)
      return -1;
  }
  return 0;
}

static int
sparse_finish (struct vd_create *w, const char *descriptor,
               struct vd_err *err)
{
  if (vd_kdmv_write_descriptor (w, descriptor, err) == -1 ||
      write_directory (w, rgd_at (), err) == -1 ||
      write_directory (w, gd_at (w), err) == -1)
    return -1;
  return vd_create_extend (w, w->free * VD_SECTOR, err);
}

static int
sparse_header (struct vd_create *w, struct vd_err *err)
{
  const bool zeroed = w->zero_grains > 0 && !w->opts.store_zeros;
  const struct vd_kdmv_places p = {
    .version = zeroed ? 2 : 1,
    .flags = VD_KDMV_LINE_ENDS | VD_KDMV_REDUNDANT
      | (zeroed ? VD_KDMV_ZEROED : 0),
    .rgd = rgd_at (), .gd = gd_at (w), .overhead = overhead (w),
  };
  uint8_t h[VD_SECTOR];

  vd_create_kdmv_header (w, &p, h);
  return vd_file_pwrite (w->extent.file, h, sizeof h, 0, err);
}

const struct vd_create_ops vd_create_kdmv = {
  .create_type = "monolithicSparse",
  .extent_type = "SPARSE",
  .embedded = true,
  .min_grain = 4096,
  .default_grain = 65536,
  .gtes = GTES,
  .open = sparse_open,
  .data = vd_create_grains,
  .zeros = sparse_zeros,
  .end_table = sparse_end_table,
  .finish = sparse_finish,
  .header = sparse_header,
};
