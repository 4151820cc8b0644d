/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Do two images read the same?  By their maps, and where both have data by
 * their bytes.
 */

#include <inttypes.h>

#include "compact/compact-parts.h"

#define MAX_RUNS 4096u

struct side {
  const struct vd_image *image;
  struct vd_runs runs;
  size_t i;                     /* the run at hand */
  uint8_t *buf;
};

/* The run that holds offset: its kind, where that byte is, and its end. */
static int
run_at (struct side *s, uint64_t offset, uint64_t size,
        const struct vd_run **run, struct vd_err *err)
{
  const struct vd_out out = { .runs = &s->runs };

  while (s->i < s->runs.n && vd_run_end (&s->runs.run[s->i]) <= offset)
    s->i++;
  if (s->i == s->runs.n) {
    s->runs.n = s->i = 0;
    if (s->image->fmt->map (s->image, offset, size - offset, &out, err) == -1)
      return -1;
  }
  *run = &s->runs.run[s->i];
  if ((*run)->kind == VD_DAMAGED)
    return s->image->fmt->explain (s->image, offset, err);
  return 0;
}

/* Bytes of the run at hand, or zeros. */
static int
fetch (struct side *s, const struct vd_run *run, uint64_t offset, size_t n,
       struct vd_err *err)
{
  if (run->kind == VD_DATA)
    return vd_file_pread (s->image->file, s->buf, n,
                          run->where + (offset - run->offset), err);
  memset (s->buf, 0, n);
  return 0;
}

static int
compare (struct side side[2], const struct vd_run *const run[2],
         uint64_t offset, uint64_t end, struct vd_compact_state *st,
         struct vd_err *err)
{
  uint64_t n;

  for (; offset < end; offset += n) {
    n = vd_min (end - offset, VD_ZERO_BUFFER);
    if (fetch (&side[0], run[0], offset, (size_t) n, err) == -1 ||
        fetch (&side[1], run[1], offset, (size_t) n, err) == -1)
      return -1;
    if (memcmp (side[0].buf, side[1].buf, (size_t) n) != 0)
      return vd_fail (err, VD_MISMATCH, "%s and %s differ between byte %"
                      PRIu64 " and %" PRIu64 " of the disk",
                      side[0].image->file->name, side[1].image->file->name,
                      offset, offset + n);
    if (vd_compact_tell (st, VD_COMPACT_VERIFY, n, err) == -1)
      return -1;
  }
  return 0;
}

static int
walk (struct side side[2], uint64_t size, bool child,
      const struct vd_free_units *free_units, struct vd_compact_state *st,
      struct vd_err *err)
{
  const struct vd_run *run[2];
  uint64_t offset, end, next;

  for (offset = 0; offset < size; offset = end) {
    if (run_at (&side[0], offset, size, &run[0], err) == -1 ||
        run_at (&side[1], offset, size, &run[1], err) == -1)
      return -1;
    end = vd_min (vd_run_end (run[0]), vd_run_end (run[1]));
    if (child && (run[0]->kind == VD_BASE) != (run[1]->kind == VD_BASE))
      return vd_fail (err, VD_MISMATCH, "at byte %" PRIu64 " of the disk only "
                      "one of %s and %s shows the parent", offset,
                      side[0].image->file->name, side[1].image->file->name);
    if (vd_free_at (free_units, offset, &next)) {
      end = vd_min (end, next);
      continue;
    }
    end = vd_min (end, next);
    if ((run[0]->kind == VD_DATA || run[1]->kind == VD_DATA) &&
        compare (side, run, offset, end, st, err) == -1)
      return -1;
  }
  return 0;
}

int
vd_compact_verify (const struct vd_image *a, const struct vd_image *b,
                   bool child, const struct vd_free_units *free_units,
                   struct vd_compact_state *st, struct vd_err *err)
{
  CLEANUP_FREE uint8_t *x = malloc (VD_ZERO_BUFFER);
  CLEANUP_FREE uint8_t *y = malloc (VD_ZERO_BUFFER);
  struct side side[2] = {
    { .image = a, .runs = VD_RUNS_INIT (MAX_RUNS), .buf = x },
    { .image = b, .runs = VD_RUNS_INIT (MAX_RUNS), .buf = y },
  };
  int r;

  if (!x || !y)
    return vd_fail_nomem (err);
  if (a->capacity != b->capacity)
    return vd_fail (err, VD_MISMATCH, "%s has %" PRIu64 " bytes, %s %" PRIu64,
                    a->file->name, a->capacity, b->file->name, b->capacity);
  r = walk (side, a->capacity, child, free_units, st, err);
  vd_runs_free (&side[0].runs);
  vd_runs_free (&side[1].runs);
  return r;
}
