/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Walking along a disk, from its start to its end, asking all layers.
 *
 * vd_chain_map answers what a reader needs: zeros are zeros, whichever layer
 * says so.  Here each piece keeps the number of the layer that decided, and
 * what no layer holds is told apart from what a layer holds as zeros.
 *
 * Cost: the tables of each layer are read once; memory is a fixed number of
 * runs a layer, however large the disk is.
 *
 * Threads: a walk belongs to the one who calls it.
 */

#ifndef VD_CHAIN_WALK_H
#define VD_CHAIN_WALK_H

#include "chain/chain.h"

enum vd_walk_kind {
  VD_WALK_DATA,
  VD_WALK_COMPRESSED,
  VD_WALK_ZERO,                    /* a layer says: zeros */
  VD_WALK_HOLE,                    /* nowhere in a complete chain, or behind
                                   the end of an older layer: zeros */
  VD_WALK_BASE,                    /* nowhere, and the base is not among the
                                   files: from underneath */
  VD_WALK_DAMAGED,
};
#define VD_WALK_KINDS (VD_WALK_DAMAGED + 1)

/* "data", ...: as it stands in the output. */
extern const char *vd_walk_name (enum vd_walk_kind kind);

struct vd_walked {
  uint64_t offset;              /* on the disk, bytes */
  uint64_t length;
  enum vd_walk_kind kind;
  uint32_t layer;               /* 0 = newest; with HOLE and BASE the oldest */
  uint64_t where;               /* DATA, COMPRESSED: in file */
  const struct vd_file *file;   /* DATA, COMPRESSED; else NULL */
};

/* Returns 0 to go on, -1 after filling err. */
typedef int (*vd_walk_fn) (void *opaque, const struct vd_walked *piece,
                         struct vd_err *err);

/* Hand the pieces to fn, in order, without gaps; neighbours that continue
 * each other come as one.
 */
extern int vd_walk_chain (const struct vd_chain *chain, vd_walk_fn fn,
                       void *opaque, struct vd_err *err);

/* The same for one loaded link, whose unallocated parts are BASE. */
extern int vd_walk_link (struct vd_link *link, vd_walk_fn fn, void *opaque,
                      struct vd_err *err);

/* Ask for the tables from pos on of all these links, which are loaded, as many as
 * are asked for at once where they are far away; size is that of the largest disk.
 * Returns up to where.  The functions above do this themselves; who walks several
 * links one after the other asks for all of them before.
 */
extern uint64_t vd_walk_ask (struct vd_link *const *links, size_t n,
                             uint64_t pos, uint64_t size);

#endif /* VD_CHAIN_WALK_H */
