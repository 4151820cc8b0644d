/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Stacking links and asking them; see chain.h. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "chain/chain.h"
#include "format/prefetch.h"

static void
free_chain (struct vd_chain **chain)
{
  vd_chain_free (*chain);
}

void
vd_chain_free (struct vd_chain *chain)
{
  if (!chain)
    return;
  free (chain->links);
  free (chain->slots);
  free (chain->first_slot);
  free (chain);
}

/* VirtualBox's link: the UUID of the parent. */
static int
check_uuid (const struct vd_link *child, const struct vd_link *parent,
            const struct vd_opts *opts, struct vd_err *err)
{
  char want[VD_UUID_TEXT], have[VD_UUID_TEXT];

  if (vd_uuid_is_null (child->id.parent) ||
      vd_uuid_is_null (parent->id.image) ||
      memcmp (child->id.parent, parent->id.image, 16) == 0)
    return 0;
  vd_uuid_text (want, child->id.parent);
  vd_uuid_text (have, parent->id.image);
  if (!opts->ignore_cid)
    return vd_fail (err, VD_MISMATCH,
                    "%s was made on the image with UUID {%s}, but %s has UUID "
                    "{%s}: it is the wrong file, or the order is wrong "
                    "(oldest first) (use %signore-cid to continue anyway)",
                    child->path, want, parent->path, have,
                    vd_opts_prefix ());
  vd_warn (&opts->log, "%s was made on the image with UUID {%s}, but %s has "
           "UUID {%s}; going on as asked", child->path, want, parent->path,
           have);
  return 0;
}

/* VirtualBox gives each state of a disk's content a UUID, and a child keeps
 * that of its parent.  Its own products do not compare them, so a difference
 * is no error here, as long as nothing is written.
 */
static int
check_modification (const struct vd_link *child, const struct vd_link *parent,
                    const struct vd_opts *opts, struct vd_err *err)
{
  const uint8_t *want = child->id.parent_modified;
  const uint8_t *have = parent->id.modified;
  char w[VD_UUID_TEXT], h[VD_UUID_TEXT];

  if (vd_uuid_is_null (want) || vd_uuid_is_null (have) ||
      memcmp (want, have, 16) == 0)
    return 0;
  if (opts->for_writing && !opts->ignore_cid)
    return vd_fail (err, VD_MISMATCH,
                    "%s was changed after %s was made (modification UUID %s, "
                    "expected %s): what is in the child does not belong on "
                    "it (use %signore-cid to write anyway)", parent->path,
                    child->path, vd_uuid_text (h, have),
                    vd_uuid_text (w, want), vd_opts_prefix ());
  vd_warn (&opts->log, "%s was changed after %s was made (modification UUID "
           "%s, expected %s)", parent->path, child->path,
           vd_uuid_text (h, have), vd_uuid_text (w, want));
  return 0;
}

int
vd_chain_check_pair (const struct vd_link *child,
                     const struct vd_link *parent,
                     const struct vd_opts *opts, struct vd_err *err)
{
  const struct vd_descriptor *c = child->descriptor;
  const struct vd_descriptor *p = parent->descriptor;

  if (child->role == VD_ROLE_BASE)
    return vd_fail (err, VD_USAGE, "%s says that it has no parent%s, so it "
                    "cannot be based on %s: perhaps the order is wrong (oldest "
                    "first)", child->path,
                    child->descriptor ? " (parentCID=ffffffff)" : "",
                    parent->path);
  if (check_uuid (child, parent, opts, err) == -1)
    return -1;

  /* Bare extents and VirtualBox's children carry no CIDs to compare. */
  if (c && p && p->has_cid && c->parent_cid != VD_NO_PARENT &&
      c->parent_cid != p->cid) {
    if (!opts->ignore_cid)
      return vd_fail (err, VD_MISMATCH,
                      "%s was made on content %08" PRIx32 " (its parentCID), "
                      "but %s has content %08" PRIx32 " (its CID): %s "
                      "(use %signore-cid to continue anyway)",
                      child->path, c->parent_cid, parent->path, p->cid,
                      c->has_cid && p->parent_cid == c->cid
                      ? "the order is wrong (oldest first)"
                      : "it is the wrong file, or a clone, or it was "
                        "changed after the child was made",
                      vd_opts_prefix ());
    vd_warn (&opts->log, "%s was made on content %08" PRIx32 ", but %s has "
             "content %08" PRIx32 "; going on as asked", child->path,
             c->parent_cid, parent->path, p->cid);
  }
  if (check_modification (child, parent, opts, err) == -1)
    return -1;
  if (child->capacity != parent->capacity)
    vd_warn (&opts->log, "%s has %" PRIu64 " bytes, its parent %s has %"
             PRIu64, child->path, child->capacity, parent->path,
             parent->capacity);
  return 0;
}

/* A link that a merge has written into reads right only below all that is
 * merged into it.
 */
static int
check_merging (const struct vd_chain *chain, size_t i,
               const struct vd_opts *opts, struct vd_err *err)
{
  const struct vd_link *link = chain->links[i];
  struct vd_err why;

  if (!vd_merging_is_wrong (link, chain->links, i))
    return 0;
  vd_merging_fail (link->merging, link->path, &why);
  if (opts->ignore_cid) {
    vd_warn (&opts->log, "%s; going on as asked", why.msg);
    return 0;
  }
  if (err)
    *err = why;
  return -1;
}

struct vd_chain *
vd_chain_new (struct vd_link **oldest_first, size_t n,
              const struct vd_opts *opts, struct vd_err *err)
{
  VD_CLEANUP (free_chain) struct vd_chain *chain = calloc (1, sizeof *chain);
  size_t i, k, slots = 0;

  if (n == 0 || n > VD_MAX_LINKS) {
    vd_fail (err, VD_USAGE, "a chain has 1 to %u links, not %zu",
             VD_MAX_LINKS, n);
    return NULL;
  }
  for (i = 0; i < n; ++i)
    slots += oldest_first[i]->nr_pieces;
  if (!chain || !(chain->links = calloc (n, sizeof *chain->links)) ||
      !(chain->slots = calloc (slots, sizeof *chain->slots)) ||
      !(chain->first_slot = calloc (n, sizeof *chain->first_slot))) {
    vd_fail_nomem (err);
    return NULL;
  }

  for (i = 0; i < n; ++i) {
    struct vd_link *link = oldest_first[n - 1 - i];

    chain->links[i] = link;
    chain->first_slot[i] = chain->nr_slots;
    for (k = 0; k < link->nr_pieces; ++k)
      chain->slots[chain->nr_slots++] = (struct vd_slot) {
        .image = link->pieces[k].image,
        .start = link->pieces[k].start,
        .layer = (uint32_t) i,
      };
    for (k = 0; k < i; ++k)
      if (link->ino != 0 && link->ino == chain->links[k]->ino &&
          link->dev == chain->links[k]->dev) {
        vd_fail (err, VD_USAGE, "%s and %s are the same file",
                 chain->links[k]->path, link->path);
        return NULL;
      }
    if (check_merging (chain, i, opts, err) == -1)
      return NULL;
    if (i > 0 &&
        vd_chain_check_pair (chain->links[i - 1], link, opts, err) == -1)
      return NULL;
  }
  chain->size = chain->links[0]->capacity;
  for (k = 0; k < chain->nr_slots; ++k)
    chain->far = chain->far || (chain->slots[k].image->file &&
                                chain->slots[k].image->file->far);
  chain->has_base = chain->links[n - 1]->role == VD_ROLE_BASE;
  chain->nr_links = n;
  return VD_TAKE (chain);
}

/* A link may always do so much: the tables of 2 MiB of a file that a product
 * wrote, their copies, and the directories.
 */
#define MIN_WORK UINT64_C (64)

static void
free_runs (struct vd_runs *runs)
{
  vd_runs_free (runs);
}

/* Drop what lies behind end. */
static void
cut_runs (struct vd_runs *runs, uint64_t end)
{
  while (runs->n > 0 && runs->run[runs->n - 1].offset >= end)
    runs->n--;
  if (runs->n > 0 && vd_run_end (&runs->run[runs->n - 1]) > end)
    runs->run[runs->n - 1].length = end - runs->run[runs->n - 1].offset;
}

/* Append the part [from, to) of a run. */
static int
add_part (struct vd_runs *out, const struct vd_run *r, uint64_t from,
          uint64_t to, struct vd_err *err)
{
  uint64_t where = r->where;

  if (r->kind == VD_DATA)
    where += from - r->offset;
  return vd_runs_add (out, r->kind, from, to - from, r->slot, where, err);
}

/* out = upper, with its VD_BASE runs replaced by what lower says there.
 * lower covers them all.
 */
static int
merge (const struct vd_runs *upper, const struct vd_runs *lower,
       struct vd_runs *out, struct vd_err *err)
{
  size_t i, k = 0;
  int r;

  for (i = 0; i < upper->n; ++i) {
    const struct vd_run *u = &upper->run[i];
    uint64_t pos = u->offset;

    if (u->kind != VD_BASE) {
      r = add_part (out, u, pos, vd_run_end (u), err);
      if (r != 0)
        return r == 1 ? 0 : -1;
      continue;
    }
    while (pos < vd_run_end (u)) {
      const struct vd_run *l;
      uint64_t to;

      while (vd_run_end (&lower->run[k]) <= pos)
        ++k;
      l = &lower->run[k];
      to = vd_min (vd_run_end (u), vd_run_end (l));
      r = add_part (out, l, pos, to, err);
      if (r != 0)
        return r == 1 ? 0 : -1;
      pos = to;
    }
  }
  return 0;
}

/* The first and the end of the last VD_BASE run; false if there is none. */
static bool
base_hull (const struct vd_runs *runs, uint64_t *from, uint64_t *to)
{
  size_t i, k;

  for (i = 0; i < runs->n && runs->run[i].kind != VD_BASE; ++i)
    ;
  if (i == runs->n)
    return false;
  for (k = runs->n - 1; runs->run[k].kind != VD_BASE; --k)
    ;
  *from = runs->run[i].offset;
  *to = vd_run_end (&runs->run[k]);
  return true;
}

/* Below a base there is nothing: its holes are zeros. */
static int
close_holes (struct vd_runs *runs, struct vd_err *err)
{
  struct vd_runs out = VD_RUNS_INIT (runs->max);
  size_t i;

  for (i = 0; i < runs->n; ++i) {
    struct vd_run *r = &runs->run[i];

    if (r->kind == VD_BASE)
      r->kind = VD_ZERO;
    if (add_part (&out, r, r->offset, vd_run_end (r), err) == -1) {
      vd_runs_free (&out);
      return -1;
    }
  }
  vd_runs_free (runs);
  *runs = out;
  return 0;
}

/* Ask a lower link about [from, to), or, if some of its tables there cannot
 * be read, only about what the layers above leave open.
 */
static int
map_lower (const struct vd_chain *chain, size_t i,
           const struct vd_runs *upper, uint64_t from, uint64_t to,
           struct vd_runs *lower, struct vd_err *err)
{
  const struct vd_link *link = chain->links[i];
  const uint32_t slot = chain->first_slot[i];
  size_t k;

  if (vd_link_map (link, from, to - from, slot, lower, err) == 0)
    return 0;
  lower->n = 0;
  for (k = 0; k < upper->n && from < to; ++k) {
    const struct vd_run *u = &upper->run[k];

    if (u->kind != VD_BASE)
      continue;
    if (u->offset > from &&
        vd_runs_add (lower, VD_BASE, from, u->offset - from, 0, 0, err) != 0)
      break;
    if (vd_link_map (link, u->offset, u->length, slot, lower, err) == -1)
      return -1;
    from = vd_run_end (&lower->run[lower->n - 1]);
    if (from < vd_run_end (u))  /* the list is full */
      break;
  }
  return lower->n > 0 ? 0 : -1;
}

/* So much of what is asked for is asked for beforehand: a long range is mapped
 * up to where the list is full.
 */
#define MAX_PREFETCH (UINT64_C (1) << 30)

/* The tables of all links, before the first is waited for. */
static void
prefetch (const struct vd_chain *chain, uint64_t offset, uint64_t length)
{
  size_t i;

  length = vd_min (length, MAX_PREFETCH);
  for (i = 0; i < chain->nr_links; ++i)
    vd_link_prefetch (chain->links[i], offset, length, VD_PREFETCH_DIRECTORY);
  for (i = 0; i < chain->nr_links; ++i)
    vd_link_prefetch (chain->links[i], offset, length, VD_PREFETCH_TABLES);
}

/* What one link may cost of what is left.  All get the same: if the first
 * took everything, most of what it found would be cut away again by the next.
 */
static uint64_t
share_of_work (const struct vd_chain *chain, const struct vd_runs *runs)
{
  const uint64_t left
    = runs->max_work - vd_min (runs->work, runs->max_work);

  return runs->max_work == 0 ? 0
    : vd_max (MIN_WORK, left / chain->nr_links);
}

/* work: what each link may cost; *done: what all cost. */
static int
map_links (const struct vd_chain *chain, uint64_t offset, uint64_t length,
           uint64_t work, struct vd_runs *runs, uint64_t *done,
           struct vd_err *err)
{
  uint64_t from, to;
  size_t i;
  int r;

  r = vd_link_map (chain->links[0], offset, length, chain->first_slot[0],
                   runs, err);
  *done += runs->work;
  if (r == -1)
    return -1;

  for (i = 1; i < chain->nr_links && base_hull (runs, &from, &to); ++i) {
    VD_CLEANUP (free_runs) struct vd_runs lower = VD_RUNS_INIT (runs->max);
    VD_CLEANUP (free_runs) struct vd_runs out = VD_RUNS_INIT (runs->max);

    lower.max_work = work;
    r = map_lower (chain, i, runs, from, to, &lower, err);
    *done += lower.work;
    if (r == -1)
      return -1;
    /* Nothing in this layer: the usual case in a deep chain. */
    if (lower.n == 1 && lower.run[0].kind == VD_BASE &&
        lower.run[0].length == to - from)
      continue;
    if (vd_run_end (&lower.run[lower.n - 1]) < to)
      cut_runs (runs, vd_run_end (&lower.run[lower.n - 1]));
    if (merge (runs, &lower, &out, err) == -1)
      return -1;
    vd_runs_free (runs);
    *runs = out;
    out.run = NULL;
  }
  return chain->has_base && base_hull (runs, &from, &to)
    ? close_holes (runs, err) : 0;
}

int
vd_chain_map (const struct vd_chain *chain, uint64_t offset, uint64_t length,
              struct vd_runs *runs, struct vd_err *err)
{
  const uint64_t max = runs->max_work;
  uint64_t done = runs->work;
  int r;

  if (chain->far)
    prefetch (chain, offset, length);
  runs->max_work = share_of_work (chain, runs);
  runs->work = 0;
  r = map_links (chain, offset, length, runs->max_work, runs, &done, err);
  runs->max_work = max;
  runs->work = done;
  return r;
}

int
vd_chain_explain (const struct vd_chain *chain, uint32_t slot,
                  uint64_t offset, struct vd_err *err)
{
  const struct vd_slot *s = &chain->slots[slot];

  return s->image->fmt->explain (s->image, offset - s->start, err);
}
