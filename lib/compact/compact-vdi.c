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

#define CHUNK 4096u             /* entries of the map */

static int
vdi_load (struct vd_slots *s, uint64_t chunk, uint32_t *raw, size_t *n,
          struct vd_err *err)
{
  const struct vd_vdi_image *vdi = s->opaque;
  const uint64_t first = chunk * CHUNK;
  uint8_t buf[CHUNK * 4];
  size_t i;

  *n = (size_t) vd_min (vdi->nr_blocks - first, CHUNK);
  if (vd_file_pread (s->file, buf, *n * 4, vdi->map_offset + first * 4,
                     err) == -1)
    return -1;
  for (i = 0; i < *n; ++i)
    raw[i] = vd_le32 (buf + i * 4);
  return 0;
}

static int
put_entries (const struct vd_vdi_image *vdi, struct vd_file *file,
             uint64_t first, const uint32_t *raw, size_t n,
             struct vd_err *err)
{
  uint8_t buf[CHUNK * 4];
  size_t i;

  for (i = 0; i < n; ++i)
    vd_put32 (buf + i * 4, raw[i]);
  return vd_file_pwrite (file, buf, n * 4, vdi->map_offset + first * 4, err);
}

static int
vdi_store (struct vd_slots *s, uint64_t chunk, const uint32_t *raw,
           size_t first, size_t n, struct vd_err *err)
{
  return put_entries (s->opaque, s->file, chunk * CHUNK + first, raw + first,
                      n, err);
}

static bool
vdi_stored (const struct vd_slots *s, uint32_t raw, uint64_t *where)
{
  *where = s->first_data + raw * s->stride;
  return raw != VD_VDI_FREE && raw != VD_VDI_ZERO;
}

static uint32_t
vdi_entry (const struct vd_slots *s, uint64_t where)
{
  return (uint32_t) vd_slot_of (s, where);
}

static int
vdi_counted (struct vd_slots *s, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = s->opaque;
  uint8_t count[4];

  vd_put32 (count, (uint32_t) s->nr_used);
  return vd_file_pwrite (s->file, count, sizeof count, vdi->count_offset,
                         err);
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
  const struct vd_vdi_image *vdi = s->opaque;
  uint8_t count[4];

  if (!buf)
    return vd_fail_nomem (err);
  vd_put32 (count, (uint32_t) s->nr_used);
  return vd_copy_slot (&z, to, 0, vd_min (vdi->data_offset, to->size), 0,
                        err) == -1 ||
    vd_file_pwrite (to, count, sizeof count, vdi->count_offset, err) == -1
    ? -1 : 0;
}

static int
vdi_new_store (struct vd_slots *s, struct vd_file *to, uint64_t chunk,
               const uint32_t *raw, size_t n, struct vd_err *err)
{
  return put_entries (s->opaque, to, chunk * CHUNK, raw, n, err);
}

static const struct vd_slots_ops vdi_ops = {
  .load = vdi_load,
  .store = vdi_store,
  .stored = vdi_stored,
  .entry = vdi_entry,
  .counted = vdi_counted,
  .new_layout = vdi_new_layout,
  .new_begin = vdi_new_begin,
  .new_store = vdi_new_store,
  .new_entry = vdi_entry,
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
    .opaque = vdi,
    .st = job->st,
    .file = job->file,
    .copying = job->copying,
    .unit_name = "block",
    .nr_chunks = vd_div_up (vdi->nr_blocks, CHUNK),
    .chunk = CHUNK,
    .capacity = job->image->capacity,
    .unit = vdi->block_size,
    .front = vdi->extra,
    .stride = vdi->stored_size,
    .base = (int64_t) vdi->data_offset,
    .first_data = vdi->data_offset,
    /* All of its blocks are stored: that is what "fixed" says. */
    .can_zero = vdi->type != VD_VDI_FIXED,
    .zero_entry = job->child ? VD_VDI_ZERO : VD_VDI_FREE,
  };
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
