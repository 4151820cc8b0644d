/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A KDMV extent compacted in place.
 *
 * Grains lie where the first of them does, modulo their size; tables may lie
 * among them.
 *
 * The redundant table is written before the primary one, by which the file is
 * read.  A run that was cut off between the two leaves them different, and its
 * own mark in the header: then, and only then, the copy is written anew.
 */

#include <inttypes.h>

#include "compact/compact-slots.h"
#include "format/kdmv.h"

struct kdmv_slots {
  struct vd_slots slots;        /* first */
  uint8_t unclean;              /* as it was found */

  /* The new file, in sectors: it has those tables that this one has, without
   * gaps, in the order of the directory.
   */
  uint64_t descriptor, rgd, gd, overhead;
  uint64_t nr_tables, next_table;
};

static const struct vd_kdmv_image *
image_of (const struct vd_slots *s)
{
  return vd_kdmv (s->entries.image);
}

static int
kdmv_begin (struct vd_slots *s, struct vd_err *err)
{
  return vd_entries_mark (&s->entries, VD_KDMV_UNCLEAN_COMPACT, err);
}

/* Whoever else left his mark has to take it away himself. */
static int
kdmv_end (struct vd_slots *s, struct vd_err *err)
{
  const uint8_t was = ((const struct kdmv_slots *) s)->unclean;

  return vd_entries_mark (&s->entries,
                          was == VD_KDMV_UNCLEAN_COMPACT ? 0 : was, err);
}

/* ---- A new file --------------------------------------------------------- */

static struct kdmv_slots *
kdmv_of (struct vd_slots *s)
{
  return (struct kdmv_slots *) s;
}

static uint64_t
gt_sectors (const struct vd_slots *s)
{
  return vd_div_up (image_of (s)->tables.gt_entries * UINT64_C (4), VD_SECTOR);
}

static uint64_t
gd_sectors (const struct vd_slots *s)
{
  return vd_div_up (image_of (s)->nr_tables * 4, VD_SECTOR);
}

/* As VMware lays it out: descriptor, redundant directory and tables, primary
 * ones, grains.
 */
static int
kdmv_new_layout (struct vd_slots *s, uint64_t *data, struct vd_err *err)
{
  const struct vd_kdmv_image *h = image_of (s);
  struct kdmv_slots *hs = kdmv_of (s);
  const uint64_t grain = s->unit / VD_SECTOR;
  struct vd_table_place place;
  uint64_t t, at = 1;

  hs->nr_tables = 0;
  for (t = 0; t < s->entries.nr_tables; ++t) {
    if (vd_entries_find (&s->entries, t, &place, err) == -1)
      return -1;
    hs->nr_tables += place.where != 0;
  }
  if (h->image.descriptor_length > 0) {
    hs->descriptor = at;
    at += vd_div_up (h->image.descriptor_length, VD_SECTOR);
  }
  if (h->rgd_offset != 0) {
    hs->rgd = at;
    at += gd_sectors (s) + hs->nr_tables * gt_sectors (s);
  }
  hs->gd = at;
  at += gd_sectors (s) + hs->nr_tables * gt_sectors (s);
  hs->overhead = vd_div_up (at, grain) * grain;
  if (hs->overhead + s->nr_used * grain > VD_MAX_SECTORS)
    return vd_fail (err, VD_UNSUPPORTED, "%s: the new file would be larger "
                    "than the 2 TiB that KDMV's entries reach",
                    s->file->name);
  *data = hs->overhead * VD_SECTOR;
  return 0;
}

static int
put_directories (struct vd_slots *s, struct vd_file *to, uint64_t i,
                 uint64_t table, struct vd_err *err)
{
  const struct kdmv_slots *hs = kdmv_of (s);
  const uint64_t at = gd_sectors (s) + table * gt_sectors (s);
  uint8_t raw[4];

  vd_put32 (raw, (uint32_t) (hs->gd + at));
  if (vd_file_pwrite (to, raw, 4, hs->gd * VD_SECTOR + i * 4, err) == -1)
    return -1;
  if (hs->rgd == 0)
    return 0;
  vd_put32 (raw, (uint32_t) (hs->rgd + at));
  return vd_file_pwrite (to, raw, 4, hs->rgd * VD_SECTOR + i * 4, err);
}

static int
kdmv_new_begin (struct vd_slots *s, struct vd_file *to, struct vd_err *err)
{
  const struct vd_kdmv_image *h = image_of (s);
  const struct kdmv_slots *hs = kdmv_of (s);
  CLEANUP_FREE uint8_t *buf = malloc (VD_ZERO_BUFFER);
  struct vd_zero_scan z = { .file = s->file, .buf = buf };
  struct vd_table_place place;
  uint64_t t, k = 0;
  uint8_t head[VD_SECTOR];

  if (!buf)
    return vd_fail_nomem (err);
  if (vd_file_pread (s->file, head, sizeof head, 0, err) == -1)
    return -1;
  vd_put64 (head + VD_KDMV_OFF_DESCRIPTOR, hs->descriptor);
  vd_put64 (head + VD_KDMV_OFF_RGD, hs->rgd);
  vd_put64 (head + VD_KDMV_OFF_GD, hs->gd);
  vd_put64 (head + VD_KDMV_OFF_OVERHEAD, hs->overhead);
  head[VD_KDMV_OFF_UNCLEAN] = 0;
  /* The flag of a file whose redundant directory was not in it. */
  if (hs->rgd == 0)
    vd_put32 (head + VD_KDMV_OFF_FLAGS,
              h->image.flags & ~VD_KDMV_REDUNDANT);
  if (vd_file_pwrite (to, head, sizeof head, 0, err) == -1 ||
      vd_copy_slot (&z, to, h->image.descriptor_offset,
                     h->image.descriptor_offset + h->image.descriptor_length,
                     hs->descriptor * VD_SECTOR, err) == -1)
    return -1;
  for (t = 0; t < s->entries.nr_tables; ++t) {
    if (vd_entries_find (&s->entries, t, &place, err) == -1)
      return -1;
    if (place.where != 0 && put_directories (s, to, t, k++, err) == -1)
      return -1;
  }
  return 0;
}

/* Tables come in the order of the directory, those that are there. */
static int
kdmv_new_store (struct vd_slots *s, struct vd_file *to, uint64_t table,
                const uint32_t *raw, size_t n, struct vd_err *err)
{
  struct kdmv_slots *hs = kdmv_of (s);
  const uint64_t at = gd_sectors (s) + hs->next_table++ * gt_sectors (s);
  const struct vd_table_place place = {
    .where = (hs->gd + at) * VD_SECTOR,
    .copy = hs->rgd != 0 ? (hs->rgd + at) * VD_SECTOR : 0,
  };
  struct vd_entries new = s->entries;

  (void) table;
  new.file = to;
  return vd_entries_store (&new, &place, raw, 0, n, err);
}

static const struct vd_slots_ops kdmv_ops = {
  .begin = kdmv_begin,
  .end = kdmv_end,
  .new_layout = kdmv_new_layout,
  .new_begin = kdmv_new_begin,
  .new_store = kdmv_new_store,
};

static int
check_unclean (struct vd_compact_job *job, struct kdmv_slots *hs,
               struct vd_err *err)
{
  struct vd_slots *s = &hs->slots;

  if (vd_entries_marked (&s->entries, &hs->unclean, err) == -1)
    return -1;
  if (hs->unclean == VD_KDMV_UNCLEAN_COMPACT)
    s->interrupted = s->must_write = true;
  else if (hs->unclean != 0 && !job->copying && !job->st->opts->allow_unclean)
    return vd_fail (err, VD_CORRUPT,
                    "%s was not closed cleanly by its writer (header byte %d "
                    "is %u): let the product that wrote it open and close it "
                    "first, or let a new file be written (--output)",
                    job->file->name, VD_KDMV_OFF_UNCLEAN, hs->unclean);
  return 0;
}

/* Where the first grain is, modulo the size of grains. */
static int
find_residue (struct vd_slots *s, uint64_t *residue, struct vd_err *err)
{
  uint32_t raw[VD_ENTRIES_MAX];
  uint64_t table, where;
  size_t n, i;

  *residue = s->first_data % s->stride;
  for (table = 0; table < s->entries.nr_tables; ++table) {
    if (vd_slots_load (s, table, raw, &n, err) == -1)
      return -1;
    for (i = 0; i < n; ++i)
      if (vd_slots_stored (s, raw[i], &where)) {
        *residue = where % s->stride;
        return 0;
      }
  }
  return 0;
}

/* All that is not grains. */
static int
fix_metadata (struct vd_slots *s, struct vd_err *err)
{
  const struct vd_kdmv_image *h = image_of (s);
  const uint64_t bytes = vd_entries_table_size (&s->entries);
  struct vd_table_place place;
  uint64_t t;

  vd_slots_fix (s, h->image.descriptor_offset, h->image.descriptor_length);
  vd_slots_fix (s, h->tables.gd_offset, h->nr_tables * 4);
  if (h->rgd_offset != 0)
    vd_slots_fix (s, h->rgd_offset, h->nr_tables * 4);
  for (t = 0; t < s->entries.nr_tables; ++t) {
    if (vd_entries_find (&s->entries, t, &place, err) == -1)
      return -1;
    if (place.where != 0)
      vd_slots_fix (s, place.where, bytes);
    if (place.copy != 0)
      vd_slots_fix (s, place.copy, bytes);
  }
  return 0;
}

static int
kdmv_look (struct vd_compact_job *job, struct vd_err *err)
{
  const struct vd_kdmv_image *h = vd_kdmv (job->image);
  struct kdmv_slots *hs = job->priv = calloc (1, sizeof *hs);
  struct vd_slots *s;
  uint64_t residue;

  if (!hs)
    return vd_fail_nomem (err);
  s = &hs->slots;
  *s = (struct vd_slots) {
    .ops = &kdmv_ops,
    .st = job->st,
    .file = job->file,
    .copying = job->copying,
    .unit_name = "grain",
    .capacity = job->image->capacity,
    .free = &job->free,
    .unit = h->tables.grain_size,
    .stride = h->tables.grain_size,
    .first_data = h->first_data,
    .can_zero = !job->child || (job->image->flags & VD_KDMV_ZEROED) != 0,
    .zero_entry = job->child ? 1 : 0,
  };
  vd_entries_open (&s->entries, job->image, s->file, s->file, 0);
  if (job->copying)             /* the new file has copies of its own */
    s->entries.has_copies = false;
  if (check_unclean (job, hs, err) == -1 ||
      find_residue (s, &residue, err) == -1)
    return -1;
  s->base = (int64_t) residue - (int64_t) s->stride;
  if (vd_slots_init (s, err) == -1 || fix_metadata (s, err) == -1 ||
      vd_slots_look (s, err) == -1)
    return -1;
  vd_slots_plan (s);
  return 0;
}

static int
kdmv_run (struct vd_compact_job *job, struct vd_err *err)
{
  return vd_slots_run (job->priv, err);
}

static void
kdmv_free (struct vd_compact_job *job)
{
  if (job->priv)
    vd_slots_free (job->priv);
  free (job->priv);
}

const struct vd_compact_format vd_compact_kdmv = {
  .look = kdmv_look, .run = kdmv_run, .free = kdmv_free,
  .has_slots = true,
};
