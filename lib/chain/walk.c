/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Walking along a disk, layer by layer; see walk.h.
 *
 * Each layer has a cursor: a buffer of its next runs.  At each position the
 * layers are asked from the newest on, until one holds it; the piece ends
 * where the first of the runs met on the way ends.  Cursors only move on.
 */

#include <stdlib.h>

#include "base/bytes.h"
#include "chain/walk.h"

/* Runs buffered a layer: 40 KiB, 10 MiB with the 255 layers allowed. */
#define BUFFERED_RUNS 1024u

struct cursor {
  const struct vd_link *link;
  struct vd_runs runs;
  size_t at;                    /* index of the current run */
};

struct walk {
  struct cursor *cursors;       /* newest first */
  size_t n;
  uint64_t size;
  bool has_base;
  uint64_t asked;               /* tables up to here were asked for */
  vd_walk_fn fn;
  void *opaque;
  struct vd_walked last;            /* not yet handed out, unless length is 0 */
};

const char *
vd_walk_name (enum vd_walk_kind kind)
{
  static const char *const names[] = {
    [VD_WALK_DATA] = "data", [VD_WALK_COMPRESSED] = "compressed",
    [VD_WALK_ZERO] = "zero", [VD_WALK_HOLE] = "hole", [VD_WALK_BASE] = "base",
    [VD_WALK_DAMAGED] = "damaged",
  };

  return names[kind];
}

/* The run of this layer that holds pos.  Nothing from end on is looked at. */
static const struct vd_run *
run_at (struct cursor *c, uint64_t pos, uint64_t end, struct vd_err *err)
{
  for (; c->at < c->runs.n; ++c->at)
    if (vd_run_end (&c->runs.run[c->at]) > pos)
      return &c->runs.run[c->at];

  c->runs.n = c->at = 0;
  if (vd_link_map (c->link, pos, end - pos, 0, &c->runs, err) == -1)
    return NULL;
  return &c->runs.run[0];
}

static bool
continues (const struct vd_walked *a, const struct vd_walked *b)
{
  if (a->length == 0 || a->kind != b->kind || a->layer != b->layer ||
      a->file != b->file)
    return false;
  switch (a->kind) {
  case VD_WALK_DATA: return a->where + a->length == b->where;
  case VD_WALK_COMPRESSED: return a->where == b->where;
  default: return true;
  }
}

static int
emit (struct walk *w, const struct vd_walked *p, struct vd_err *err)
{
  if (continues (&w->last, p)) {
    w->last.length += p->length;
    return 0;
  }
  if (w->last.length > 0 && w->fn (w->opaque, &w->last, err) == -1)
    return -1;
  w->last = *p;
  return 0;
}

static void
fill (const struct walk *w, const struct cursor *c, const struct vd_run *r,
      struct vd_walked *p)
{
  switch (r->kind) {
  case VD_BASE: p->kind = w->has_base ? VD_WALK_HOLE : VD_WALK_BASE; return;
  case VD_ZERO: p->kind = VD_WALK_ZERO; return;
  case VD_DAMAGED: p->kind = VD_WALK_DAMAGED; return;
  case VD_DATA:
    p->kind = VD_WALK_DATA;
    p->where = r->where + (p->offset - r->offset);
    break;
  case VD_COMPRESSED:
    p->kind = VD_WALK_COMPRESSED;
    p->where = r->where;
    break;
  }
  p->file = c->link->pieces[r->slot].image->file;
}

/* Hand out the piece at pos; returns its length, or 0 on error.  An older
 * layer may be shorter than the disk: what is behind its end is nowhere.
 */
static uint64_t
step (struct walk *w, uint64_t pos, struct vd_err *err)
{
  struct vd_walked p = { .offset = pos };
  uint64_t end = w->size;
  const struct vd_run *r;
  uint64_t capacity;
  uint32_t i = 0;

  for (;; ++i) {
    capacity = w->cursors[i].link->capacity;
    if (pos >= capacity) {
      p.length = end - pos;
      p.layer = i;
      p.kind = VD_WALK_HOLE;
      return emit (w, &p, err) == -1 ? 0 : p.length;
    }
    r = run_at (&w->cursors[i], pos, w->asked, err);
    if (!r)
      return 0;
    if (vd_run_end (r) < end)
      end = vd_run_end (r);
    /* Zeros at its end come as one run with what is behind. */
    if (capacity < end && r->kind != VD_BASE)
      end = capacity;
    if (r->kind != VD_BASE || i + 1 == w->n)
      break;
  }
  p.length = end - pos;
  p.layer = i;
  fill (w, &w->cursors[i], r, &p);
  return emit (w, &p, err) == -1 ? 0 : p.length;
}

/* Tables asked for at once: a share of what is kept of files far away. */
#define MAX_ASKED (UINT64_C (16) << 20)

#define ASK_STEP (UINT64_C (1) << 30)

uint64_t
vd_walk_ask (struct vd_link *const *links, size_t n, uint64_t pos,
             uint64_t size)
{
  uint64_t asked = 0;
  size_t i;

  for (i = 0; i < n; ++i)
    asked += vd_link_prefetch (links[i], pos, size - pos,
                               VD_PREFETCH_DIRECTORY);
  if (asked == 0)               /* they are near */
    return size;
  for (asked = 0; pos < size && asked < MAX_ASKED; pos += ASK_STEP)
    for (i = 0; i < n; ++i)
      asked += vd_link_prefetch (links[i], pos, vd_min (ASK_STEP, size - pos),
                                 VD_PREFETCH_TABLES);
  return pos;
}

static int
walk (struct vd_link *const *links, size_t n, uint64_t size, bool has_base,
      vd_walk_fn fn, void *opaque, struct vd_err *err)
{
  struct walk w = {
    .cursors = calloc (n, sizeof *w.cursors), .n = n, .size = size,
    .has_base = has_base, .fn = fn, .opaque = opaque,
  };
  uint64_t pos, length;
  int r = -1;
  size_t i;

  if (!w.cursors)
    return vd_fail_nomem (err);
  for (i = 0; i < n; ++i)
    w.cursors[i] = (struct cursor) {
      .link = links[i], .runs = VD_RUNS_INIT (BUFFERED_RUNS),
    };
  for (pos = 0; pos < size; pos += length) {
    if (pos >= w.asked)
      w.asked = vd_min (vd_walk_ask (links, n, pos, size), size);
    length = step (&w, pos, err);
    if (length == 0)
      goto out;
  }
  r = w.last.length > 0 ? fn (opaque, &w.last, err) : 0;
 out:
  for (i = 0; i < n; ++i)
    vd_runs_free (&w.cursors[i].runs);
  free (w.cursors);
  return r;
}

int
vd_walk_chain (const struct vd_chain *chain, vd_walk_fn fn, void *opaque,
            struct vd_err *err)
{
  return walk (chain->links, chain->nr_links, chain->size, chain->has_base,
               fn, opaque, err);
}

int
vd_walk_link (struct vd_link *link, vd_walk_fn fn, void *opaque,
           struct vd_err *err)
{
  return walk (&link, 1, link->capacity, false, fn, opaque, err);
}
