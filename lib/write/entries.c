/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The tables of an image that exists; see entries.h. */

#include <inttypes.h>
#include <string.h>

#include "write/entries.h"

static const struct {
  const struct vd_format *fmt;
  const struct vd_entries_ops *ops;
} formats[] = {
  { &vd_format_kdmv, &vd_entries_kdmv },
  { &vd_format_cowd, &vd_entries_cowd },
  { &vd_format_vdi, &vd_entries_vdi },
};

static const struct vd_entries_ops *
ops_of (const struct vd_image *image)
{
  size_t i;

  for (i = 0; i < sizeof formats / sizeof formats[0]; ++i)
    if (formats[i].fmt == image->fmt)
      return formats[i].ops;
  return NULL;
}

bool
vd_entries_known (const struct vd_image *image)
{
  return !image->compressed && ops_of (image) != NULL;
}

void
vd_entries_open (struct vd_entries *e, const struct vd_image *image,
                 struct vd_file *from, struct vd_file *file,
                 uint32_t per_table)
{
  *e = (struct vd_entries) {
    .ops = ops_of (image),
    .image = image,
    .from = from,
    .file = file,
    .per_table = per_table,
    .block_size = image->grain_size,
    .stored_size = image->grain_size,
  };
  e->ops->open (e);
}

uint64_t
vd_entries_table_size (const struct vd_entries *e)
{
  return e->per_table * UINT64_C (4);
}

int
vd_entries_find (const struct vd_entries *e, uint64_t t,
                 struct vd_table_place *place, struct vd_err *err)
{
  *place = (struct vd_table_place) { .where = 0 };
  return e->ops->find (e, t, place, err);
}

/* place->differs: is that doubt? */
static void
look_for_doubt (const struct vd_entries *e, uint64_t t, const uint8_t *buf,
                const uint8_t *copy, struct vd_table_place *place)
{
  const uint64_t first = t * e->per_table;
  uint32_t i;

  for (i = 0; i < e->per_table && e->ops->doubt; ++i)
    if (e->ops->doubt (e, first + i, vd_le32 (buf + i * (size_t) 4),
                       vd_le32 (copy + i * (size_t) 4))) {
      place->doubt = true;
      place->doubt_entry = first + i;
      return;
    }
}

int
vd_entries_load (const struct vd_entries *e, uint64_t t, uint32_t *raw,
                 size_t *n, struct vd_table_place *place, struct vd_err *err)
{
  uint8_t buf[VD_ENTRIES_MAX * 4], other[VD_ENTRIES_MAX * 4];
  const size_t bytes = (size_t) vd_entries_table_size (e);
  size_t i;

  *n = 0;
  if (vd_entries_find (e, t, place, err) == -1)
    return -1;
  if (place->where != 0) {
    *n = e->ops->count_entries (e, t);
    if (vd_file_pread (e->from, buf, *n * 4, place->where, err) == -1)
      return -1;
  }
  else
    memset (buf, 0, bytes);
  if (place->copy != 0 || place->orphan) {
    if (vd_file_pread (e->from, other, bytes, place->copy_entry, err) == -1)
      return -1;
    place->differs = memcmp (buf, other, bytes) != 0;
    if (place->differs)
      look_for_doubt (e, t, buf, other, place);
  }
  for (i = 0; i < e->per_table; ++i)
    raw[i] = i < *n ? vd_le32 (buf + i * 4) : e->absent;
  return 0;
}

int
vd_entries_sure (const struct vd_entries *e, uint64_t t,
                 const struct vd_table_place *place, struct vd_err *err)
{
  if (!place->doubt)
    return 0;
  return vd_fail (err, VD_CORRUPT,
                  "%s: grain table %" PRIu64 " differs from its copy at entry "
                  "%" PRIu64 ", and both can be: it is not written into before "
                  "it is mended.  See: vmdkdelta check; a new file is made by "
                  "one of them with vmdkdelta compact --tables=first (or copy) "
                  "--output", e->image->file->name, t, place->doubt_entry);
}

int
vd_entries_store (const struct vd_entries *e,
                  const struct vd_table_place *place, const uint32_t *raw,
                  size_t first, size_t n, struct vd_err *err)
{
  uint8_t buf[VD_ENTRIES_MAX * 4];
  size_t i;

  for (i = 0; i < n; ++i)
    vd_put32 (buf + i * 4, raw[first + i]);
  if (place->copy != 0 &&
      vd_file_pwrite (e->file, buf, n * 4, place->copy + first * 4,
                      err) == -1)
    return -1;
  return vd_file_pwrite (e->file, buf, n * 4, place->where + first * 4, err);
}

int
vd_entries_put_new (const struct vd_entries *e,
                    const struct vd_table_place *place, const uint32_t *raw,
                    struct vd_err *err)
{
  return vd_entries_store (e, place, raw, 0, e->per_table, err);
}

int
vd_entries_link (const struct vd_entries *e, uint64_t t,
                 const struct vd_table_place *place, struct vd_err *err)
{
  return e->ops->link (e, t, place, err);
}

int
vd_entries_link_copy (const struct vd_entries *e, uint64_t t,
                      const struct vd_table_place *place, struct vd_err *err)
{
  return e->ops->link_copy ? e->ops->link_copy (e, t, place, err) : 0;
}

int
vd_entries_settle (const struct vd_entries *e, uint64_t t, bool *changed,
                   struct vd_err *err)
{
  uint32_t raw[VD_ENTRIES_MAX];
  struct vd_table_place place;
  size_t n;

  if (vd_entries_load (e, t, raw, &n, &place, err) == -1)
    return -1;
  *changed = place.differs;
  if (!place.differs)
    return 0;
  return place.orphan ? e->ops->unlink_copy (e, t, err)
    : vd_entries_store (e, &place, raw, 0, n, err);
}

struct vd_entry
vd_entries_state (const struct vd_entries *e, uint32_t raw)
{
  return e->ops->state (e, raw);
}

uint32_t
vd_entries_raw (const struct vd_entries *e, uint64_t where)
{
  return e->ops->raw (e, where);
}

int
vd_entries_count (const struct vd_entries *e, uint64_t end,
                  struct vd_err *err)
{
  return e->ops->count ? e->ops->count (e, end, err) : 0;
}

int
vd_entries_mark (const struct vd_entries *e, uint8_t unclean,
                 struct vd_err *err)
{
  const uint8_t raw[4] = { unclean };

  if (e->ops->mark_offset == 0)
    return 0;
  return vd_file_pwrite (e->file, raw, e->ops->mark_size,
                         (uint64_t) e->ops->mark_offset, err);
}

int
vd_entries_marked (const struct vd_entries *e, uint8_t *unclean,
                   struct vd_err *err)
{
  *unclean = 0;
  if (e->ops->mark_offset == 0)
    return 0;
  return vd_file_pread (e->from, unclean, 1, (uint64_t) e->ops->mark_offset,
                        err);
}
