/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* From runs to reads; see reader.h.
 *
 * A request is handled in windows.  For each window:
 *
 *   1. map it to runs;
 *   2. read the base where the runs say BASE (read-base.c), over small gaps
 *      that belong to other layers: one read is cheaper than two;
 *   3. fill zeros;
 *   4. read what lies in files, neighbours together (read-pieces.c).
 *
 * 2 comes first, because it may write over bytes that 3 and 4 put right.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "read/grain-cache.h"
#include "read/read-base.h"
#include "read/read-pieces.h"
#include "read/reader.h"

/* Bounds the scratch memory of a request: 16384 pieces of one sector. */
#define WINDOW (UINT64_C (8) << 20)

#define GRAIN_CACHE_BUDGET (UINT64_C (8) << 20)

/* Scratch buffers are kept for the next request: as many as nbdkit has
 * threads for one connection.
 */
#define MAX_IDLE_SCRATCH 16u

struct scratch {
  struct scratch *next;
  struct vd_runs runs;
  struct vd_pieces pieces;
};

struct vd_reader {
  const struct vd_chain *chain;
  struct vd_map *map;
  struct vd_grains *grains;     /* NULL: nothing is compressed */
  pthread_mutex_t lock;         /* protects the two below */
  struct scratch *idle;
  unsigned nr_idle;
};

static void
free_scratch (struct scratch *s)
{
  vd_runs_free (&s->runs);
  vd_pieces_free (&s->pieces);
  free (s);
}

static struct scratch *
get_scratch (struct vd_reader *reader, struct vd_err *err)
{
  struct scratch *s;

  {
    LOCK_FOR_SCOPE (&reader->lock);

    s = reader->idle;
    if (s) {
      reader->idle = s->next;
      reader->nr_idle--;
      return s;
    }
  }
  s = calloc (1, sizeof *s);
  if (!s) {
    vd_fail_nomem (err);
    return NULL;
  }
  /* a window may touch parts of two runs more than it has sectors */
  s->runs.max = WINDOW / VD_SECTOR + 2;
  return s;
}

static void
put_scratch (struct vd_reader *reader, struct scratch *s)
{
  {
    LOCK_FOR_SCOPE (&reader->lock);

    if (reader->nr_idle < MAX_IDLE_SCRATCH) {
      s->next = reader->idle;
      reader->idle = s;
      reader->nr_idle++;
      return;
    }
  }
  free_scratch (s);
}

struct vd_reader *
vd_reader_new (const struct vd_chain *chain, uint64_t budget,
               struct vd_err *err)
{
  struct vd_reader *reader = calloc (1, sizeof *reader);
  uint64_t grain = 0;
  uint32_t i;

  if (!reader) {
    vd_fail_nomem (err);
    return NULL;
  }
  reader->chain = chain;
  pthread_mutex_init (&reader->lock, NULL);
  for (i = 0; i < chain->nr_slots; ++i)
    if (chain->slots[i].image->compressed)
      grain = vd_max (grain, chain->slots[i].image->grain_size);

  reader->map = vd_map_new (chain, budget, err);
  if (reader->map && grain > 0)
    reader->grains = vd_grains_new (vd_max (GRAIN_CACHE_BUDGET, 2 * grain),
                                    grain, err);
  if (!reader->map || (grain > 0 && !reader->grains)) {
    vd_reader_free (reader);
    return NULL;
  }
  return reader;
}

void
vd_reader_free (struct vd_reader *reader)
{
  struct scratch *s, *next;

  if (!reader)
    return;
  for (s = reader->idle; s; s = next) {
    next = s->next;
    free_scratch (s);
  }
  vd_grains_free (reader->grains);
  vd_map_free (reader->map);
  pthread_mutex_destroy (&reader->lock);
  free (reader);
}

struct vd_map *
vd_reader_get_map (struct vd_reader *reader)
{
  return reader->map;
}

const struct vd_chain *
vd_reader_get_chain (const struct vd_reader *reader)
{
  return reader->chain;
}

/* Append the runs of one cached region, cut to [offset, end). */
static int
add_region (const struct vd_region *region, uint64_t offset, uint64_t end,
            struct vd_runs *runs, struct vd_err *err)
{
  size_t i;

  for (i = vd_region_find (region, offset);
       i < region->n && offset < end; ++i) {
    const struct vd_region_run *r = &region->run[i];
    const uint64_t to = vd_min (vd_region_run_end (region, i), end);
    uint64_t where = r->where;
    int k;

    if (r->kind == VD_DATA)
      where += offset - (region->offset + r->start);
    k = vd_runs_add (runs, (enum vd_kind) r->kind, offset, to - offset,
                     r->slot, where, err);
    if (k != 0)
      return k;
    offset = to;
  }
  return 0;
}

int
vd_reader_map (struct vd_reader *reader, uint64_t offset, uint64_t length,
               struct vd_runs *runs, struct vd_err *err)
{
  const uint64_t end = offset + length;
  const uint64_t size = vd_map_region_size (reader->map);
  const struct vd_region *region;
  struct vd_err ignored;
  uint64_t to;
  int r;

  /* Long ranges are not worth keeping: they are mapped in one go, by which
   * empty stretches cost next to nothing.
   */
  if (length > 16 * size)
    return vd_chain_map (reader->chain, offset, length, runs, err);

  while (offset < end) {
    to = vd_min (end, vd_round_down (offset, size) + size);
    if (runs->n > 0 && runs->max_work > 0 && runs->work >= runs->max_work)
      return 0;
    region = vd_map_get (reader->map, offset, &runs->work, &ignored);
    if (!region || region->n == 0) {
      /* Somewhere in this region a table cannot be read, which is an error
       * only if it is needed here; or its tables are too many to be kept.
       */
      if (region)
        vd_map_put (reader->map, region);
      if (runs->n > 0)
        return 0;
      return vd_chain_map (reader->chain, offset, to - offset, runs, err);
    }
    r = add_region (region, offset, to, runs, err);
    vd_map_put (reader->map, region);
    if (r != 0)
      return r == 1 ? 0 : -1;
    offset = to;
  }
  return 0;
}

static int
too_much_work (const struct vd_reader *reader, uint64_t offset,
               struct vd_err *err)
{
  return vd_fail (err, VD_UNSUPPORTED, "%s: what has to be read to get at byte "
                  "%" PRIu64 " of the disk, here and in its parents, is so "
                  "much, and in such small parts, that no product made it; read "
                  "less at a time", reader->chain->links[0]->path, offset);
}

/* work: has the list that is read, or NULL: nobody waits for this. */
static int
read_compressed (struct vd_reader *reader, const struct vd_run *r,
                 struct vd_runs *work, uint8_t *buf, struct vd_err *err)
{
  const struct vd_slot *s = &reader->chain->slots[r->slot];
  const struct vd_image *image = s->image;
  const uint64_t in_image = r->offset - s->start;
  const size_t grain_size = (size_t) image->grain_size;
  const size_t skip = (size_t) (in_image & (image->grain_size - 1));
  CLEANUP_FREE uint8_t *tmp = NULL;
  /* Not the place in the file: two entries that point at one grain are not
   * both right, and which one is says inflate.
   */
  const uint64_t key = in_image - skip;

  if (r->length < grain_size &&
      vd_grains_get (reader->grains, r->slot, key, skip, buf,
                     (size_t) r->length))
    return 0;
  if (work && work->work >= VD_READ_WORK)
    return too_much_work (reader, r->offset, err);
  if (work)
    work->work += 1 + grain_size / 1024;
  if (r->length == grain_size)
    return image->fmt->inflate (image, in_image, r->where, buf, err);

  tmp = malloc (grain_size);
  if (!tmp)
    return vd_fail_nomem (err);
  if (image->fmt->inflate (image, in_image, r->where, tmp, err) == -1)
    return -1;
  memcpy (buf, tmp + skip, (size_t) r->length);
  vd_grains_put (reader->grains, r->slot, key, tmp, grain_size);
  return 0;
}

/* Everything but VD_BASE of runs, which begin at offset, into buf. */
static int
fetch (struct vd_reader *reader, struct scratch *s,
       const struct vd_runs *runs, struct vd_runs *work, uint8_t *buf,
       uint64_t offset, struct vd_err *err)
{
  size_t i;

  s->pieces.n = 0;
  for (i = 0; i < runs->n; ++i) {
    const struct vd_run *r = &runs->run[i];
    uint8_t *to = buf + (r->offset - offset);

    switch (r->kind) {
    case VD_BASE:
      break;
    case VD_ZERO:
      memset (to, 0, (size_t) r->length);
      break;
    case VD_DATA:
      if (vd_pieces_add (&s->pieces, r, offset, err) == -1)
        return -1;
      break;
    case VD_COMPRESSED:
      if (read_compressed (reader, r, work, to, err) == -1)
        return -1;
      break;
    case VD_DAMAGED:
      return vd_chain_explain (reader->chain, r->slot, r->offset, err);
    }
  }
  return vd_pieces_read (&s->pieces, reader->chain, buf, err);
}

int
vd_fetch (struct vd_reader *reader, const struct vd_runs *runs, void *buf,
          uint64_t offset, struct vd_err *err)
{
  struct scratch *s = get_scratch (reader, err);
  int r;

  if (!s)
    return -1;
  r = fetch (reader, s, runs, NULL, buf, offset, err);
  put_scratch (reader, s);
  return r;
}

int
vd_read (struct vd_reader *reader, const struct vd_base *base, void *buf,
         size_t count, uint64_t offset, struct vd_err *err)
{
  struct scratch *s = get_scratch (reader, err);
  uint8_t *p = buf;
  int r = 0;

  if (!s)
    return -1;
  s->runs.work = 0;             /* of all windows together */
  s->runs.max_work = VD_READ_WORK;
  while (count > 0 && r == 0) {
    const uint64_t want = vd_min (count, WINDOW);
    uint64_t n;

    if (s->runs.work >= VD_READ_WORK) {
      r = too_much_work (reader, offset, err);
      break;
    }
    s->runs.n = 0;
    r = vd_reader_map (reader, offset, want, &s->runs, err);
    if (r == 0) {
      n = vd_run_end (&s->runs.run[s->runs.n - 1]) - offset;
      r = vd_read_base (base, &s->runs, p, offset, offset + n, err);
      if (r == 0)
        r = fetch (reader, s, &s->runs, &s->runs, p, offset, err);
      p += n;
      count -= n;
      offset += n;
    }
  }
  put_scratch (reader, s);
  return r;
}
