/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Images that answer `map` from the tables in memory; see D1 of disk.h. */

#include <string.h>

#include "write/disk-private.h"

static const struct disk_image *
get (const struct vd_image *image)
{
  return (const struct disk_image *) image;
}

/* Tables from t on, before end, of which nothing, or something, was changed:
 * how many?
 */
static uint64_t
count_alike (const struct disk_part *p, uint64_t t, uint64_t end)
{
  const bool changed = disk_is_changed (p, t);
  uint64_t i = t + 1;

  while (i < end && disk_is_changed (p, i) == changed)
    ++i;
  return i - t;
}

/* The runs of [offset, end), which lies in one table, from memory.  1: the
 * list is full.
 */
static int
map_table (struct disk_part *p, uint64_t t, uint64_t offset, uint64_t end,
           const struct vd_out *out, struct vd_err *err)
{
  struct disk_shard *s = disk_shard_of (p, t);
  const uint64_t first = offset / p->grain_size;
  const uint32_t n = (uint32_t) (vd_div_up (end, p->grain_size) - first);
  uint32_t entry[VD_ENTRIES_MAX], i;
  const struct disk_table *table;
  int r;

  pthread_mutex_lock (&s->lock);
  table = disk_get_table (p, s, t, err);
  if (table)
    memcpy (entry, &table->entry[first % p->per_table], n * sizeof entry[0]);
  pthread_mutex_unlock (&s->lock);
  if (!table)
    return -1;
  for (i = 0; i < n; ++i) {
    const struct vd_entry e = vd_entries_state (&p->entries, entry[i]);
    const uint64_t begin = (first + i) * p->grain_size;
    const uint64_t from = vd_max (begin, offset);
    const uint64_t to = vd_min (begin + p->grain_size, end);

    r = vd_emit (out, e.kind, from, to - from,
                 e.kind == VD_DATA ? e.where + (from - begin) : 0, err);
    if (r != 0)
      return r;
  }
  return 0;
}

/* The same for a range in whose tables nothing was changed, from the file.
 * Returns 2 when that was no longer true: nothing was added then.
 */
static int
map_file (struct disk_part *p, uint64_t t, uint64_t n, uint64_t offset,
          uint64_t end, const struct vd_out *out, struct vd_err *err)
{
  struct vd_runs *runs = out->runs;
  const size_t before = runs->n;
  const struct vd_run last = before > 0 ? runs->run[before - 1]
    : (struct vd_run) { .length = 0 };
  int r = p->inner->fmt->map (p->inner, offset, end - offset, out, err);

  /* Tables are written behind the change that this sees. */
  if (count_alike (p, t, t + n) < n || disk_is_changed (p, t)) {
    runs->n = before;
    if (before > 0)
      runs->run[before - 1] = last;
    return 2;
  }
  if (r == 0 && (runs->n == 0 ||
                 vd_run_end (&runs->run[runs->n - 1]) < out->bias + end))
    r = 1;
  return r;
}

static int
disk_map (const struct vd_image *image, uint64_t offset, uint64_t length,
          const struct vd_out *out, struct vd_err *err)
{
  struct disk_part *p = get (image)->part;
  const uint64_t coverage = p->per_table * p->grain_size;
  const uint64_t end = offset + length;
  uint64_t t, n, to;
  int r;

  while (offset < end) {
    t = offset / coverage;
    n = count_alike (p, t, vd_div_up (end, coverage));
    if (disk_is_changed (p, t)) {
      to = vd_min (end, (t + 1) * coverage);
      r = map_table (p, t, offset, to, out, err);
    }
    else {
      to = vd_min (end, (t + n) * coverage);
      r = map_file (p, t, n, offset, to, out, err);
    }
    if (r == -1 || r == 1)
      return r == 1 ? 0 : -1;
    if (r == 0)
      offset = to;
  }
  return 0;
}

/* What is damaged was not changed by us. */
static int
disk_explain (const struct vd_image *image, uint64_t offset,
              struct vd_err *err)
{
  const struct vd_image *inner = get (image)->part->inner;

  return inner->fmt->explain (inner, offset, err);
}

int
disk_map_attach (struct disk_part *p, size_t piece, struct vd_err *err)
{
  struct vd_chain *chain = p->disk->chain;
  struct disk_image *image = malloc (sizeof *image);

  if (!image)
    return vd_fail_nomem (err);
  image->image = *p->inner;
  image->fmt = *p->inner->fmt;
  image->fmt.map = disk_map;
  image->fmt.explain = disk_explain;
  image->image.fmt = &image->fmt;
  image->image.file = p->file;
  image->part = p;
  p->image = image;
  chain->links[0]->pieces[piece].image = &image->image;
  chain->slots[piece].image = &image->image;
  return 0;
}

void
disk_map_detach (struct disk_part *p, size_t piece)
{
  struct vd_chain *chain = p->disk->chain;

  chain->links[0]->pieces[piece].image = p->inner;
  chain->slots[piece].image = p->inner;
  free (p->image);
  p->image = NULL;
}
