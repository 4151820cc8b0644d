/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The last step of reading a window; see read-pieces.h.
 *
 * Pieces are sorted by file and place.  Neighbours are read together:
 * straight into their places where each begins at the end of the one before
 * it, or through a buffer, over gaps of up to FILE_GAP bytes.  What is not in
 * memory is asked for first and read last, so that a disk has many of them to
 * work on at once.
 */

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "read/read-pieces.h"

#define FILE_GAP (UINT64_C (8) << 10)

/* Grains of this size gain nothing from being read together through a buffer
 * and copied: they are read in place.  (So are smaller ones, if they are
 * neighbours in the file and it can do that in one call.)
 */
#define DIRECT_SIZE (UINT64_C (32) << 10)
#define BOUNCE_SIZE (size_t) (256u << 10)

/* Asking whether something is in memory costs a little.  If it was, so many
 * of those that follow are believed to be, too.
 */
#define TRUSTED 7u

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

static bool
is_scattered (const struct vd_file *file, const struct group *g)
{
  return g->end - g->first > 1 && g->adjacent && file->ops->preadv;
}

static int
need_bounce (struct vd_pieces *s, struct vd_err *err)
{
  if (!s->bounce && !(s->bounce = malloc (BOUNCE_SIZE)))
    return vd_fail_nomem (err);
  return 0;
}

static void
copy_group (const struct vd_pieces *s, const struct group *g, uint8_t *buf)
{
  const struct vd_fetch_piece *p = s->piece;
  size_t i;

  for (i = g->first; i < g->end; ++i)
    memcpy (buf + p[i].at, s->bounce + (p[i].where - g->from), p[i].length);
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
  if (is_scattered (file, g))
    return scatter_group (file, p, g, buf, err);
  if (need_bounce (s, err) == -1)
    return -1;
  if (vd_file_pread (file, s->bounce, (size_t) (g->to - g->from), g->from,
                     err) == -1) {
    /* Perhaps only what lies between them cannot be read. */
    for (i = g->first; i < g->end; ++i)
      if (vd_file_pread (file, buf + p[i].at, p[i].length, p[i].where,
                         err) == -1)
        return -1;
    return 0;
  }
  copy_group (s, g, buf);
  return 0;
}

/* Read it if it is in memory; if not, have it fetched. */
static bool
peek_group (struct vd_file *file, struct vd_pieces *s, const struct group *g,
            uint8_t *buf)
{
  const struct vd_fetch_piece *p = &s->piece[g->first];
  const size_t n = g->end - g->first;
  struct iovec iov[VD_IOV_MAX];
  struct vd_err ignored;
  size_t i;

  if (n == 1 || is_scattered (file, g)) {
    if (n > VD_IOV_MAX)
      return false;
    for (i = 0; i < n; ++i)
      iov[i] = (struct iovec) { buf + p[i].at, p[i].length };
    return vd_file_peek (file, iov, (int) n, (size_t) (g->to - g->from),
                         g->from);
  }
  if (need_bounce (s, &ignored) == -1)
    return false;
  iov[0] = (struct iovec) { s->bounce, (size_t) (g->to - g->from) };
  if (!vd_file_peek (file, iov, 1, iov[0].iov_len, g->from))
    return false;
  copy_group (s, g, buf);
  return true;
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

/* The group that begins with piece i. */
static struct vd_file *
find_group (const struct vd_pieces *s, const struct vd_chain *chain,
            size_t i, struct group *g)
{
  const struct vd_fetch_piece *p = s->piece;
  struct vd_file *file = chain->slots[p[i].slot].image->file;

  *g = (struct group) {
    .first = i, .end = i + 1,
    .from = p[i].where, .to = p[i].where + p[i].length,
    .small = p[i].length < DIRECT_SIZE, .adjacent = true,
  };
  while (g->end < s->n && p[g->end].slot == p[i].slot &&
         join_group (file, &p[g->end], g))
    ;
  return file;
}

int
vd_pieces_read (struct vd_pieces *s, const struct vd_chain *chain,
                uint8_t *buf, struct vd_err *err)
{
  struct vd_fetch_piece *p = s->piece;
  struct vd_file *file;
  bool sorted = true;
  struct group g;
  size_t i, missing = 0, trusted = 0;

  for (i = 1; i < s->n && sorted; ++i)
    sorted = compare (&p[i - 1], &p[i]) <= 0;
  if (!sorted)
    qsort (p, s->n, sizeof *p, compare);

  for (i = 0; i < s->n; i = g.end) {
    file = find_group (s, chain, i, &g);
    if (g.first == 0 && g.end == s->n)  /* only one: nothing to overlap */
      return read_group (file, s, &g, buf, err);
    p[i].there = trusted == 0 && peek_group (file, s, &g, buf);
    if (p[i].there)
      trusted = file->far ? 0 : TRUSTED;
    else if (trusted == 0)
      missing++;
    else if (read_group (file, s, &g, buf, err) == -1)
      return -1;
    else {
      p[i].there = true;
      trusted--;
    }
  }
  for (i = 0; i < s->n && missing > 0; i = g.end) {
    file = find_group (s, chain, i, &g);
    if (p[i].there)
      continue;
    if (read_group (file, s, &g, buf, err) == -1)
      return -1;
    missing--;
  }
  return 0;
}
