/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A stack of links, and the one question asked of it.
 *
 * Links are numbered from the newest (0) to the oldest.  The newest gives
 * the size.  Where an older link ends earlier, it reads as zeros.
 *
 * Threads: immutable after vd_chain_new; vd_chain_map may be called from any
 * number of threads.  It keeps nothing; map-cache.h does.
 */

#ifndef VD_CHAIN_H
#define VD_CHAIN_H

#include "chain/link.h"
#include "format/runs.h"

/* Products stop at 32 snapshots; a chain this long is a mistake or an
 * attack.
 */
#define VD_MAX_LINKS 255u

/* What a run's slot number stands for. */
struct vd_slot {
  const struct vd_image *image;
  uint64_t start;               /* of the image on the disk, bytes */
  uint32_t layer;               /* number of its link */
};

struct vd_chain {
  struct vd_link **links;       /* newest first */
  size_t nr_links;
  struct vd_slot *slots;
  uint32_t nr_slots;
  uint32_t *first_slot;         /* of each link */
  uint64_t size;                /* bytes */
  bool has_base;                /* the oldest link is a base: nothing is
                                   VD_BASE, holes are zeros */
  bool far;                     /* a file of it is */
};

/* Make a chain of links given oldest first (as users list deltas), and check
 * that they belong together: CID of each against parentCID of the next,
 * unless opts->ignore_cid; sizes (a difference is a warning).  The links are
 * borrowed (several chains can share them) and must be loaded.
 */
extern struct vd_chain *vd_chain_new (struct vd_link **oldest_first, size_t n,
                                      const struct vd_opts *opts,
                                      struct vd_err *err);

extern void vd_chain_free (struct vd_chain *chain);

/* The check of one pair, as above.  The links need not be loaded. */
extern int vd_chain_check_pair (const struct vd_link *child,
                                const struct vd_link *parent,
                                const struct vd_opts *opts,
                                struct vd_err *err);

/* Add the runs of [offset, offset+length), inside the size, to the empty
 * list runs.  Covers the range, or a prefix of it (at least one run) when the
 * list, or one of a single link, is full.  Does I/O on tables.
 */
extern int vd_chain_map (const struct vd_chain *chain, uint64_t offset,
                         uint64_t length, struct vd_runs *runs,
                         struct vd_err *err);

/* Fill err for a VD_DAMAGED run of this slot at this disk offset. -1. */
extern int vd_chain_explain (const struct vd_chain *chain, uint32_t slot,
                             uint64_t offset, struct vd_err *err);

/* Of the local files that it reads the one that the fewest may read: what is
 * made of the chain gets its rights.  NULL if there is none.
 */
extern const struct vd_file *vd_chain_strictest (const struct vd_chain *chain);

#endif /* VD_CHAIN_H */
