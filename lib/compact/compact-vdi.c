/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A VDI compacted in place.
 *
 * The number of stored blocks in the header stays too high until all blocks
 * were moved: VirtualBox and QEMU take it as the number of the next new block.
 */

#include "compact/compact-slots.h"
#include "format/vdi.h"

static int
vdi_counted (struct vd_slots *s, struct vd_err *err)
{
  return vd_entries_count (&s->entries,
                           s->first_data + s->nr_used * s->stride, err);
}

/* ---- A new file --------------------------------------------------------- */

static int
vdi_new_layout (struct vd_slots *s, uint64_t *data, struct vd_err *err)
{
  (void) err;
  *data = s->first_data;
  return 0;
}

/* Everything up to the map, and what lies between map and data, as it is;
 * and the number of blocks that will be stored.
 */
static int
vdi_new_begin (struct vd_slots *s, struct vd_file *to, struct vd_err *err)
{
  CLEANUP_FREE uint8_t *buf = malloc (VD_ZERO_BUFFER);
  struct vd_zero_scan z = { .file = s->file, .buf = buf };
  struct vd_entries new = s->entries;

  if (!buf)
    return vd_fail_nomem (err);
  if (vd_copy_slot (&z, to, 0, vd_min (s->first_data, to->size), 0,
                    err) == -1)
    return -1;
  new.file = to;
  return vd_entries_count (&new, s->first_data + s->nr_used * s->stride, err);
}

static int
vdi_new_store (struct vd_slots *s, struct vd_file *to, uint64_t table,
               const uint32_t *raw, size_t n, struct vd_err *err)
{
  struct vd_entries new = s->entries;
  struct vd_table_place place;

  new.file = to;
  if (vd_entries_find (&new, table, &place, err) == -1)
    return -1;
  return vd_entries_store (&new, &place, raw, 0, n, err);
}

static const struct vd_slots_ops vdi_ops = {
  .counted = vdi_counted,
  .new_layout = vdi_new_layout,
  .new_begin = vdi_new_begin,
  .new_store = vdi_new_store,
};

static int
vdi_look (struct vd_compact_job *job, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (job->image);
  struct vd_slots *s = job->priv = calloc (1, sizeof *s);
  uint8_t count[4];

  if (!s)
    return vd_fail_nomem (err);
  *s = (struct vd_slots) {
    .ops = &vdi_ops,
    .st = job->st,
    .file = job->file,
    .copying = job->copying,
    .unit_name = "block",
    .capacity = job->image->capacity,
    .free = &job->free,
    .unit = vdi->block_size,
    .front = vdi->extra,
    .stride = vdi->stored_size,
    .base = (int64_t) vdi->data_offset,
    .first_data = vdi->data_offset,
    /* All of its blocks are stored: that is what "fixed" says. */
    .can_zero = vdi->type != VD_VDI_FIXED,
    .zero_entry = job->child ? VD_VDI_ZERO : VD_VDI_FREE,
  };
  vd_entries_open (&s->entries, job->image, s->file, s->file,
                   VD_ENTRIES_MAX);
  if (vd_slots_init (s, err) == -1 || vd_slots_look (s, err) == -1 ||
      vd_file_pread (s->file, count, sizeof count, vdi->count_offset,
                     err) == -1)
    return -1;
  s->must_write |= vd_le32 (count) != s->nr_used;
  vd_slots_plan (s);
  return 0;
}

static int
vdi_run (struct vd_compact_job *job, struct vd_err *err)
{
  return vd_slots_run (job->priv, err);
}

static void
vdi_free (struct vd_compact_job *job)
{
  if (job->priv)
    vd_slots_free (job->priv);
  free (job->priv);
}

const struct vd_compact_format vd_compact_vdi = {
  .look = vdi_look, .run = vdi_run, .free = vdi_free, .has_slots = true,
};
