/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The map of a whole chain, cached for the parts in use.
 *
 * The disk is divided into regions of equal size.  The runs of a region are
 * computed once from all layers together, when it is first used, and kept
 * until the byte budget is used up.  Then the region that was not used for
 * the longest time is dropped.  So a lookup costs the same at any depth.
 *
 * With a small budget, regions that were dropped are computed again, by
 * reading their part of the tables of every layer (at most 32 KiB a layer).
 *
 * A chain whose newest link is written (write/disk.h) changes its answers:
 * vd_map_change, behind the change and before it is answered, keeps the map
 * right.
 *
 * Threads: any.  A lookup takes one short lock of its shard; tables are read
 * without a lock held.  Threads that miss the same region wait for the one
 * that computes it.
 */

#ifndef VD_MAP_CACHE_H
#define VD_MAP_CACHE_H

#include "chain/chain.h"

#define VD_MAP_DEFAULT_BUDGET (UINT64_C (64) << 20)

struct vd_map;

/* A run of a region, packed to 16 bytes: there are up to 4096 in a region.
 * It ends where the next one starts.
 */
struct vd_region_run {
  uint64_t where;
  uint32_t start;               /* bytes from the start of the region */
  uint32_t kind : 3;
  uint32_t slot : 29;
};

struct vd_region {
  uint64_t offset;              /* on the disk, bytes */
  uint64_t length;
  size_t n;                     /* 0: see vd_map_get */
  const struct vd_region_run *run;
};

/* Borrows the chain. */
extern struct vd_map *vd_map_new (const struct vd_chain *chain,
                                  uint64_t budget, struct vd_err *err);
extern void vd_map_free (struct vd_map *map);

/* The region that holds offset (inside the disk), or NULL.  Every region got
 * must be put.  May do I/O, which is added to *work (runs.h) unless that is
 * NULL: at most VD_MAP_WORK and a little for each link.
 *
 * A region whose tables need more has no runs: the chain is to be asked, about
 * what is needed and no more.  Products' files need some hundreds a link in the
 * worst case, and 20 in the usual one.
 */
#define VD_MAP_WORK (UINT64_C (1) << 17)
extern const struct vd_region *vd_map_get (struct vd_map *map,
                                           uint64_t offset, uint64_t *work,
                                           struct vd_err *err);
extern void vd_map_put (struct vd_map *map, const struct vd_region *region);

/* What the chain says of [offset, offset+length) is now one run, VD_DATA or
 * VD_ZERO.  Whoever asks from now on gets that.  Changes of the same bytes are
 * made one after the other (that is the caller's to see to), those of others
 * at any time.
 *
 * Regions that readers use are changed, and not computed again, which in a
 * deep chain takes a thousand times as long.
 */
struct vd_map_change {
  uint64_t offset, length;
  uint64_t where;
  uint32_t slot;
  enum vd_kind kind;
};
extern void vd_map_change (struct vd_map *map,
                           const struct vd_map_change *change);

extern uint64_t vd_map_region_size (const struct vd_map *map);

/* For tests and debugging. */
struct vd_map_stats {
  uint64_t bytes;               /* in use now */
  uint64_t regions;
  uint64_t hits, misses;
};
extern void vd_map_get_stats (struct vd_map *map, struct vd_map_stats *stats);

/* The index in region->run of the run that holds offset. */
static inline size_t
vd_region_find (const struct vd_region *region, uint64_t offset)
{
  const uint64_t at = offset - region->offset;
  size_t lo = 0, hi = region->n;

  while (hi - lo > 1) {
    const size_t mid = lo + (hi - lo) / 2;

    if (region->run[mid].start <= at)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

/* Disk offset of the end of run i. */
static inline uint64_t
vd_region_run_end (const struct vd_region *region, size_t i)
{
  return region->offset + (i + 1 < region->n ? region->run[i + 1].start
                           : region->length);
}

#endif /* VD_MAP_CACHE_H */
