/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Deltas for a base that is not a VMDK: an NBD export, a raw file, a device.
 *
 * The deltas are stacked in the order given, oldest first.  Parents of the
 * oldest one are followed as long as they are deltas themselves.  The first
 * one that is not a delta is the base.  The base that the user gave takes its
 * place, and only its descriptor is used, to see whether CIDs and sizes
 * match.  If it is not found, a warning is logged.
 *
 * Threads: opened by one; then immutable.
 */

#ifndef VD_DELTAS_H
#define VD_DELTAS_H

#include "chain/family.h"

struct vd_deltas {
  struct vd_family *family;
  struct vd_chain *chain;       /* without the base: holes are VD_BASE */
  const struct vd_link *base;   /* read, not loaded; NULL if not found */
};

struct vd_deltas_opts {
  bool no_follow;               /* take only the deltas given */
  const char *follow_option;    /* what the user says for that, in messages */
  bool allow_no_parent;         /* also a disk that says it has no parent */
  const char *no_parent_option; /* what the user says for that, or NULL */
  bool base_later;              /* the caller compares the oldest delta with the
                                   base */
};

/* Fill *d.  opts is borrowed until vd_deltas_close, which must be called in
 * any case.
 */
extern int vd_deltas_open (struct vd_deltas *d, const char *const *paths,
                           size_t n, const struct vd_deltas_opts *how,
                           const struct vd_opts *opts, struct vd_err *err);

/* The newest delta that is probably one piece of a split disk (a KDMV extent
 * without its descriptor, of which the base is more than 64 MiB larger), or
 * NULL.  At the start of the base it would be in a wrong place.
 */
extern const struct vd_link *vd_deltas_find_piece (const struct vd_deltas *d,
                                                   uint64_t base_size);

extern void vd_deltas_close (struct vd_deltas *d);

/* "vm-000002.vmdk": products name snapshots like that, and never a base.  So
 * a parent of such a name cannot be replaced by a base.
 */
extern bool vd_is_snapshot_name (const char *hint);

#endif /* VD_DELTAS_H */
