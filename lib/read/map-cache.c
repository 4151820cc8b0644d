/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The cache of regions; see map-cache.h.
 *
 * M1. A region is immutable once it is published in a shard.
 * M2. A region is freed when it is in no shard and nobody holds it.  The
 *     shard itself holds one reference.
 * M3. A shard's lock protects its hash table, its list (most recently used
 *     first) and its byte count; never held over I/O or free of a region.
 * M4. One thread computes a region; others that want it wait for that one.
 *     If it fails, each of them tries for itself.
 * M5. A change (vd_map_change) replaces the region by a changed copy.  If it
 *     is being computed, the change waits there and is made before it is
 *     published, whether the tables that were read had it or not: it is the
 *     same twice.
 * M6. Where that fails, or is not worth it, the region is dropped.  If it is
 *     being computed, it is given to those who waited for it by then (they
 *     asked before the change was answered, so they may see either), and to
 *     nobody else: it is not published, and who asks later computes anew.  So
 *     writers cannot keep readers from going on.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "read/map-cache.h"

#define NR_SHARDS 16u
#define NR_BUCKETS 256u         /* in each shard */

/* A region has about this many grains: one table of COWD or SEsparse, eight
 * of KDMV.
 */
#define GRAINS_PER_REGION 4096u
#define MIN_REGION (UINT64_C (2) << 20)

/* In deep chains a region costs more for being one (a call, a read and a list
 * for each layer) than for what is in it: there they are larger.
 */
#define DEEP 8u
#define MIN_DEEP_REGION (UINT64_C (8) << 20)

#define MAX_REGION (UINT64_C (256) << 20) /* start has 32 bits */

/* A range of MAX_REGION bytes may hold more grains than that, if the layers
 * differ.  This bounds the work array, not the disk: 512-byte grains in
 * 256 MiB.  (Regions are sized by the smallest grain, so it is not reached.)
 */
#define MAX_RUNS (MAX_REGION / 512)

/* A region that nobody asked for since so many changes is dropped: who only
 * writes is not to copy maps.
 */
#define MAX_UNUSED_CHANGES 16u

/* So many changes may wait for a region that is being computed. */
#define MAX_WAITING 1024u

struct node {
  struct vd_region region;
  atomic_uint refs;
  size_t bytes;
  unsigned changes;             /* since it was asked for */
  uint64_t index;
  struct node *hash_next;
  struct node *newer, *older;   /* list of the shard */
  struct vd_region_run runs[];
};

/* A region that some thread is computing right now.  The last who uses it
 * frees it.
 */
struct building {
  uint64_t index;
  struct building *next;
  struct vd_map_change *waiting;        /* M5 */
  size_t nr_waiting, nr_changes;
  bool dropped;                 /* M6: no longer what the chain says */
  bool done;
  unsigned users;               /* who computes it, and who waits */
  struct node *node;            /* when done; NULL: it failed */
};

struct shard {
  pthread_mutex_t lock;
  pthread_cond_t built;         /* signalled when a building ends */
  struct building *building;
  struct node *bucket[NR_BUCKETS];
  struct node *newest, *oldest;
  uint64_t bytes, regions, hits, misses;
};

struct vd_map {
  const struct vd_chain *chain;
  uint64_t region_size;
  uint64_t shard_budget;
  struct shard shard[NR_SHARDS];
};

static void
init_shard (struct shard *s)
{
  pthread_mutex_init (&s->lock, NULL);
  pthread_cond_init (&s->built, NULL);
}

struct vd_map *
vd_map_new (const struct vd_chain *chain, uint64_t budget,
            struct vd_err *err)
{
  struct vd_map *map = calloc (1, sizeof *map);
  uint64_t grain = 0, g, least;
  size_t i;

  if (!map) {
    vd_fail_nomem (err);
    return NULL;
  }
  for (i = 0; i < chain->nr_links; ++i) {
    g = vd_link_min_grain (chain->links[i]);
    if (g > 0 && (grain == 0 || g < grain))
      grain = g;
  }
  map->chain = chain;
  least = chain->nr_links < DEEP ? MIN_REGION : MIN_DEEP_REGION;
  map->region_size = grain == 0 ? MAX_REGION
    : vd_min (MAX_REGION, vd_max (least, grain * GRAINS_PER_REGION));
  map->shard_budget = budget / NR_SHARDS;
  for (i = 0; i < NR_SHARDS; ++i)
    init_shard (&map->shard[i]);
  return map;
}

static void
unref (struct node *node)
{
  if (atomic_fetch_sub (&node->refs, 1) == 1)
    free (node);
}

void
vd_map_free (struct vd_map *map)
{
  struct node *node, *older;
  size_t i;

  if (!map)
    return;
  for (i = 0; i < NR_SHARDS; ++i) {
    for (node = map->shard[i].newest; node; node = older) {
      older = node->older;
      unref (node);
    }
    pthread_cond_destroy (&map->shard[i].built);
    pthread_mutex_destroy (&map->shard[i].lock);
  }
  free (map);
}

uint64_t
vd_map_region_size (const struct vd_map *map)
{
  return map->region_size;
}

static struct node **
find (struct shard *s, uint64_t index)
{
  struct node **p = &s->bucket[index / NR_SHARDS % NR_BUCKETS];

  while (*p && (*p)->index != index)
    p = &(*p)->hash_next;
  return p;
}

static void
unlink_from_list (struct shard *s, struct node *node)
{
  *(node->newer ? &node->newer->older : &s->newest) = node->older;
  *(node->older ? &node->older->newer : &s->oldest) = node->newer;
}

static void
push_newest (struct shard *s, struct node *node)
{
  node->newer = NULL;
  node->older = s->newest;
  *(s->newest ? &s->newest->newer : &s->oldest) = node;
  s->newest = node;
}

/* Compute a region from all layers; no lock held. */
static struct node *
build (const struct vd_map *map, uint64_t index, uint64_t *work,
       struct vd_err *err)
{
  const uint64_t offset = index * map->region_size;
  const uint64_t length
    = vd_min (map->region_size, map->chain->size - offset);
  struct vd_runs runs = VD_RUNS_INIT (MAX_RUNS);
  struct node *node = NULL;
  size_t i, bytes;

  runs.max_work = VD_MAP_WORK;
  if (vd_chain_map (map->chain, offset, length, &runs, err) == -1)
    goto out;
  if (vd_run_end (&runs.run[runs.n - 1]) < offset + length)
    runs.n = 0;                 /* also that is kept, and not tried again */
  bytes = sizeof *node + runs.n * sizeof node->runs[0];
  node = malloc (bytes);
  if (!node) {
    vd_fail_nomem (err);
    goto out;
  }
  *node = (struct node) {
    .region = { .offset = offset, .length = length, .n = runs.n },
    .bytes = bytes,
    .index = index,
  };
  node->region.run = node->runs;
  atomic_init (&node->refs, 1);
  for (i = 0; i < runs.n; ++i)
    node->runs[i] = (struct vd_region_run) {
      .where = runs.run[i].where,
      .start = (uint32_t) (runs.run[i].offset - offset),
      .kind = (unsigned) runs.run[i].kind & 7,
      .slot = runs.run[i].slot & 0x1fffffff,
    };

 out:
  if (work)
    *work += runs.work;
  vd_runs_free (&runs);
  return node;
}

/* Take a region out of a shard; the caller gets the shard's reference. */
static void
remove_node (struct shard *s, struct node *node)
{
  unlink_from_list (s, node);
  *find (s, node->index) = node->hash_next;
  s->bytes -= node->bytes;
  s->regions--;
}

static void
unref_list (struct node *list)
{
  while (list) {
    struct node *next = list->hash_next;

    unref (list);
    list = next;
  }
}

/* Publish a region.  Returns those that are over the budget then, the oldest,
 * as a list.  The shard is locked.
 */
static struct node *
insert (const struct vd_map *map, struct shard *s, struct node *node)
{
  struct node *over = NULL, **p;

  p = find (s, node->index);    /* nobody else computes it: M4 */
  node->hash_next = NULL;
  *p = node;
  push_newest (s, node);
  s->bytes += node->bytes;
  s->regions++;

  /* The new one stays, even when it alone is over the budget. */
  while (s->bytes > map->shard_budget && s->oldest != node) {
    struct node *old = s->oldest;

    remove_node (s, old);
    old->hash_next = over;
    over = old;
  }
  return over;
}

/* Who is computing this region, as it is now?  The shard is locked. */
static struct building *
find_building (const struct shard *s, uint64_t index)
{
  struct building *b;

  for (b = s->building; b; b = b->next)
    if (b->index == index && !b->dropped)
      return b;
  return NULL;
}

/* One user less; the shard is locked. */
static void
leave_building (struct building *b)
{
  if (--b->users == 0) {
    free (b->waiting);
    free (b);
  }
}

/* Wait for it.  The region, with a reference, or NULL if that failed. */
static struct node *
await_building (struct shard *s, struct building *b)
{
  struct node *node;

  b->users++;
  while (!b->done)
    pthread_cond_wait (&s->built, &s->lock);
  node = b->node;               /* end_building took our reference */
  leave_building (b);
  return node;
}

/* The region, with a reference, if it is there; or NULL and *mine, and then
 * the caller has to compute it and to call end_building.  *mine is NULL when
 * there is no memory.
 */
static struct node *
find_or_begin (struct shard *s, uint64_t index, struct building **mine)
{
  LOCK_FOR_SCOPE (&s->lock);
  struct building *b;
  struct node *node;

  while (!(node = *find (s, index)) && (b = find_building (s, index))) {
    node = await_building (s, b);
    if (node) {
      s->hits++;
      return node;
    }
  }
  if (node) {
    s->hits++;
    node->changes = 0;
    atomic_fetch_add (&node->refs, 1);
    if (s->newest != node) {
      unlink_from_list (s, node);
      push_newest (s, node);
    }
    return node;
  }
  s->misses++;
  *mine = calloc (1, sizeof **mine);
  if (!*mine)
    return NULL;
  **mine = (struct building) {
    .index = index, .users = 1, .next = s->building
  };
  s->building = *mine;
  return NULL;
}

/* ---- Changes ---------------------------------------------------------------- */

/* Does b, which follows a, continue it? */
static bool
continues (const struct vd_region_run *a, const struct vd_region_run *b)
{
  if (a->kind != b->kind || a->kind == VD_COMPRESSED)
    return false;
  return a->kind == VD_BASE || a->kind == VD_ZERO ||
    (a->slot == b->slot &&
     (a->kind == VD_DAMAGED || a->where + (b->start - a->start) == b->where));
}

static void
add_run (struct node *node, struct vd_region_run run)
{
  size_t *n = &node->region.n;

  if (*n == 0 || !continues (&node->runs[*n - 1], &run))
    node->runs[(*n)++] = run;
}

static void
add_runs (struct node *node, const struct vd_region_run *run, size_t n)
{
  if (n == 0)
    return;
  add_run (node, run[0]);
  memcpy (&node->runs[node->region.n], run + 1, (n - 1) * sizeof *run);
  node->region.n += n - 1;
}

/* A region that has no runs (vd_map_get) has none after a change either. */
static struct node *
copy_empty (const struct node *old)
{
  struct node *node = malloc (sizeof *node);

  if (!node)
    return NULL;
  *node = (struct node) {
    .region = { .offset = old->region.offset, .length = old->region.length },
    .bytes = old->bytes, .index = old->index,
  };
  node->region.run = node->runs;
  atomic_init (&node->refs, 1);
  return node;
}

static struct node *
change_runs (const struct node *old, const struct vd_map_change *c)
{
  const struct vd_region *r = &old->region;
  const uint64_t from = vd_max (c->offset, r->offset);
  const uint64_t to = vd_min (c->offset + c->length, r->offset + r->length);
  const size_t first = vd_region_find (r, from);
  const size_t last = vd_region_find (r, to - 1);
  const size_t bytes = sizeof *old + (r->n + 2) * sizeof old->runs[0];
  struct vd_region_run rest = r->run[last];
  struct node *node = malloc (bytes);

  if (!node)
    return NULL;
  *node = (struct node) {
    .region = { .offset = r->offset, .length = r->length, .n = first },
    .bytes = bytes, .index = old->index,
  };
  node->region.run = node->runs;
  atomic_init (&node->refs, 1);
  memcpy (node->runs, r->run, first * sizeof r->run[0]);
  if (r->offset + r->run[first].start < from)
    add_run (node, r->run[first]);
  add_run (node, (struct vd_region_run) {
      .where = c->kind == VD_DATA ? c->where + (from - c->offset) : 0,
      .start = (uint32_t) (from - r->offset),
      .kind = (unsigned) c->kind & 7, .slot = c->slot & 0x1fffffff,
    });
  if (to < vd_region_run_end (r, last)) {
    if (rest.kind == VD_DATA)
      rest.where += to - r->offset - rest.start;
    rest.start = (uint32_t) (to - r->offset);
    add_run (node, rest);
  }
  add_runs (node, &r->run[last + 1], r->n - last - 1);
  return node;
}

/* A copy of a region with this change of a part of it, for the caller; NULL:
 * no memory.
 */
static struct node *
change_copy (const struct node *old, const struct vd_map_change *c)
{
  return old->region.n == 0 ? copy_empty (old) : change_runs (old, c);
}

/* Let a change wait for what is being computed.  When there are too many, who
 * asks from now on has it computed anew; who waits already asked before this
 * change was answered.  The shard is locked.
 */
static void
let_wait (struct building *b, const struct vd_map_change *c)
{
  struct vd_map_change *more;

  more = b->nr_changes++ < MAX_WAITING
    ? vd_grow (b->waiting, b->nr_waiting, sizeof *more, NULL) : NULL;
  if (!more) {
    b->dropped = true;
    return;
  }
  b->waiting = more;
  b->waiting[b->nr_waiting++] = *c;
}

/* Make the changes that wait for it.  The node afterwards, or NULL: no memory.
 * The shard is locked, and unlocked meanwhile.
 */
static struct node *
make_waiting (struct shard *s, struct building *b, struct node *node)
{
  CLEANUP_FREE struct vd_map_change *list = b->waiting;
  const size_t n = b->nr_waiting;
  struct node *old;
  size_t i;

  b->waiting = NULL;
  b->nr_waiting = 0;
  pthread_mutex_unlock (&s->lock);
  for (i = 0; node && i < n; ++i) {
    old = node;
    node = change_copy (old, &list[i]);
    unref (old);
  }
  pthread_mutex_lock (&s->lock);
  return node;
}

/* Put a changed copy in the place of a region, or nothing; takes both.  False:
 * another is there meanwhile, or none.
 */
static bool
replace (const struct vd_map *map, struct shard *s, struct node *old,
         struct node *now)
{
  struct node *over = NULL;
  bool found;

  pthread_mutex_lock (&s->lock);
  found = *find (s, old->index) == old;
  if (found) {
    remove_node (s, old);
    over = now ? insert (map, s, now) : NULL;
  }
  pthread_mutex_unlock (&s->lock);
  unref_list (over);
  if (found)
    atomic_fetch_sub (&old->refs, 1);   /* of the shard; ours is still there */
  else if (now)
    unref (now);
  unref (old);
  return found;
}

/* M5 and M6.  Copies are made without the lock, and again if somebody else was
 * faster.
 */
static void
change_region (const struct vd_map *map, struct shard *s, uint64_t index,
               const struct vd_map_change *c)
{
  struct node *old, *now;
  struct building *b;
  unsigned changes = 0;

  do {
    pthread_mutex_lock (&s->lock);
    old = *find (s, index);
    b = find_building (s, index);
    if (old) {
      changes = old->changes;
      atomic_fetch_add (&old->refs, 1);
    }
    else if (b)
      let_wait (b, c);
    pthread_mutex_unlock (&s->lock);
    if (!old)
      return;
    now = changes < MAX_UNUSED_CHANGES ? change_copy (old, c) : NULL;
    if (now)
      now->changes = changes + 1;
  } while (!replace (map, s, old, now));
}

void
vd_map_change (struct vd_map *map, const struct vd_map_change *c)
{
  const uint64_t end = vd_div_up (c->offset + c->length, map->region_size);
  uint64_t index;

  for (index = c->offset / map->region_size; index < end; ++index)
    change_region (map, &map->shard[index % NR_SHARDS], index, c);
}

/* ---- Lookups ---------------------------------------------------------------- */

/* node (NULL: it failed) has a reference for the caller; the shard gets one
 * when it is published.  Returns it with all changes made, or NULL.
 */
static struct node *
end_building (const struct vd_map *map, struct shard *s,
              struct building *mine, struct node *node)
{
  struct node *over = NULL;
  struct building **p;

  pthread_mutex_lock (&s->lock);
  while (node && mine->nr_waiting > 0)
    node = make_waiting (s, mine, node);
  for (p = &s->building; *p != mine; p = &(*p)->next)
    ;
  *p = mine->next;
  if (node && !mine->dropped) {
    atomic_fetch_add (&node->refs, 1);
    over = insert (map, s, node);
  }
  if (node)                     /* who waits may be slow to wake up */
    atomic_fetch_add (&node->refs, mine->users - 1);
  mine->node = node;
  mine->done = true;
  pthread_cond_broadcast (&s->built);
  leave_building (mine);
  pthread_mutex_unlock (&s->lock);
  unref_list (over);
  return node;
}

const struct vd_region *
vd_map_get (struct vd_map *map, uint64_t offset, uint64_t *work,
            struct vd_err *err)
{
  const uint64_t index = offset / map->region_size;
  struct shard *s = &map->shard[index % NR_SHARDS];
  struct building *mine = NULL;
  struct node *node = find_or_begin (s, index, &mine);
  bool built;

  if (node)
    return &node->region;
  if (!mine) {
    vd_fail_nomem (err);
    return NULL;
  }
  node = build (map, index, work, err);
  built = node != NULL;
  node = end_building (map, s, mine, node);
  if (built && !node)
    vd_fail_nomem (err);
  return node ? &node->region : NULL;
}

void
vd_map_put (struct vd_map *map, const struct vd_region *region)
{
  (void) map;
  /* region is the first member, and nodes are never const themselves */
  unref ((struct node *) (uintptr_t) region);
}

void
vd_map_get_stats (struct vd_map *map, struct vd_map_stats *stats)
{
  size_t i;

  *stats = (struct vd_map_stats) { 0, 0, 0, 0 };
  for (i = 0; i < NR_SHARDS; ++i) {
    struct shard *s = &map->shard[i];
    LOCK_FOR_SCOPE (&s->lock);

    stats->bytes += s->bytes;
    stats->regions += s->regions;
    stats->hits += s->hits;
    stats->misses += s->misses;
  }
}
