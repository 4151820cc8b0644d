/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The last step of reading a window; see read-pieces.h.
 *
 * Pieces are sorted by file and place.  Neighbours are read together:
 * straight into their places where each begins at the end of the one before
 * it, or through a buffer, over gaps of up to FILE_GAP bytes.
 */

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "read-pieces.h"

#define FILE_GAP (UINT64_C (8) << 10)

/* Grains of this size gain nothing from being read together through a buffer
 * and copied: they are read in place.  (So are smaller ones, if they are
 * neighbours in the file and it can do that in one call.)
 */
#define DIRECT_SIZE (UINT64_C (32) << 10)
#define BOUNCE_SIZE (size_t) (256u << 10)

void
vd_pieces_free (struct vd_pieces *s)
{
  free (s->piece);
  free (s->bounce);
}

int
vd_pieces_add (struct vd_pieces *s, const struct vd_run *r, uint64_t window,
               struct vd_err *err)
{
  if (s->n == s->alloc) {
    const size_t want = s->alloc ? s->alloc * 2 : 256;
    struct vd_fetch_piece *p = realloc (s->piece, want * sizeof *p);

    if (!p)
      return vd_fail_nomem (err);
    s->piece = p;
    s->alloc = want;
  }
  s->piece[s->n++] = (struct vd_fetch_piece) {
    .where = r->where, .slot = r->slot,
    .at = (uint32_t) (r->offset - window), .length = (uint32_t) r->length,
  };
  return 0;
}

static int
compare (const void *va, const void *vb)
{
  const struct vd_fetch_piece *a = va, *b = vb;

  if (a->slot != b->slot)
    return a->slot < b->slot ? -1 : 1;
  return a->where < b->where ? -1 : a->where > b->where;
}

/* Pieces that belong together: [first, end) in one file, without gaps or with
 * small ones.
 */
struct group {
  size_t first, end;
  uint64_t from, to;            /* in the file */
  bool small;                   /* all are: copying them is cheap */
  bool adjacent;                /* each begins where the one before it ends */
};

/* Straight into their places. */
static int
scatter_group (struct vd_file *file, const struct vd_fetch_piece *p,
               const struct group *g, uint8_t *buf, struct vd_err *err)
{
  struct iovec iov[VD_IOV_MAX];
  size_t i = g->first;

  while (i < g->end) {
    const uint64_t from = p[i].where;
    uint64_t n = 0;
    int k;

    for (k = 0; k < VD_IOV_MAX && i < g->end; ++k, ++i) {
      iov[k] = (struct iovec) { buf + p[i].at, p[i].length };
      n += p[i].length;
    }
    if (vd_file_preadv (file, iov, k, (size_t) n, from, err) == -1)
      return -1;
  }
  return 0;
}

static int
read_group (struct vd_file *file, struct vd_pieces *s,
            const struct group *g, uint8_t *buf, struct vd_err *err)
{
  const struct vd_fetch_piece *p = s->piece;
  size_t i;

  if (g->end - g->first == 1)
    return vd_file_pread (file, buf + p[g->first].at, p[g->first].length,
                          g->from, err);
  if (g->adjacent && file->ops->preadv)
    return scatter_group (file, p, g, buf, err);
  if (!s->bounce && !(s->bounce = malloc (BOUNCE_SIZE)))
    return vd_fail_nomem (err);
  if (vd_file_pread (file, s->bounce, (size_t) (g->to - g->from), g->from,
                     err) == -1) {
    /* Perhaps only what lies between them cannot be read. */
    for (i = g->first; i < g->end; ++i)
      if (vd_file_pread (file, buf + p[i].at, p[i].length, p[i].where,
                         err) == -1)
        return -1;
    return 0;
  }
  for (i = g->first; i < g->end; ++i)
    memcpy (buf + p[i].at, s->bounce + (p[i].where - g->from), p[i].length);
  return 0;
}

/* Put the next piece into the group, if reading it along is cheaper than
 * reading it alone.
 */
static bool
join_group (const struct vd_file *file, const struct vd_fetch_piece *next,
            struct group *g)
{
  const bool small = g->small && next->length < DIRECT_SIZE;
  const bool adjacent = g->adjacent && next->where == g->to;
  const uint64_t to = vd_max (g->to, next->where + next->length);

  if (adjacent && file->ops->preadv)
    ;
  /* Two entries may point at one grain, so a piece can begin before the one
   * before it ends.
   */
  else if (!small || to - g->from > BOUNCE_SIZE ||
           (next->where > g->to && next->where - g->to > FILE_GAP))
    return false;
  g->small = small;
  g->adjacent = adjacent;
  g->to = to;
  g->end++;
  return true;
}

int
vd_pieces_read (struct vd_pieces *s, const struct vd_chain *chain,
                uint8_t *buf, struct vd_err *err)
{
  struct vd_fetch_piece *p = s->piece;
  bool sorted = true;
  size_t i;

  for (i = 1; i < s->n && sorted; ++i)
    sorted = compare (&p[i - 1], &p[i]) <= 0;
  if (!sorted)
    qsort (p, s->n, sizeof *p, compare);

  for (i = 0; i < s->n; ) {
    struct vd_file *file = chain->slots[p[i].slot].image->file;
    struct group g = {
      .first = i, .end = i + 1,
      .from = p[i].where, .to = p[i].where + p[i].length,
      .small = p[i].length < DIRECT_SIZE, .adjacent = true,
    };

    while (g.end < s->n && p[g.end].slot == p[i].slot &&
           join_group (file, &p[g.end], &g))
      ;
    if (read_group (file, s, &g, buf, err) == -1)
      return -1;
    i = g.end;
  }
  return 0;
}
