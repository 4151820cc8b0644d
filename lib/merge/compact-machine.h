/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Compacting the disks of a VirtualBox machine, in place: see compact.h for
 * what is done to each, and why it can be cut off at any moment.
 *
 * The bases of the disks that are attached now are compacted, whether
 * snapshots stand on them or not: what a base reads as does not change.  Only
 * those of type Normal, as long as the user has not named one; others, and
 * those of a format that cannot be compacted, are left alone with a warning.
 *
 * A base whose guest was not shut down, or on which a snapshot stands, keeps the
 * free space of its guest (how.free_space), with a warning; the rest is done.
 *
 * All of them are found, and compared with the registry, before the first is
 * changed.  The machine file is not touched, so that VirtualBox may run; the
 * disks may not be in use.
 */

#ifndef VD_COMPACT_MACHINE_H
#define VD_COMPACT_MACHINE_H

#include "compact/compact.h"
#include "vbox/vbox.h"

struct vd_compact_machine_opts {
  const char *disk;             /* only this one; NULL: all */
  const uint8_t (*except)[16];  /* bases that are not looked at; or NULL */
  size_t nr_except;
  struct vd_compact_opts how;   /* `same` is not used */

  /* Called after each disk, by its name; may be NULL. */
  void (*done) (void *opaque, const char *name,
                const struct vd_compact_result *result);
  void *opaque;
};

/* sum: over the disks that were compacted, *nr of them. */
extern int vd_compact_machine (const char *path, const struct vd_opts *opts,
                               const struct vd_compact_machine_opts *how,
                               struct vd_compact_result *sum, size_t *nr,
                               struct vd_err *err);

extern void vd_compact_add (struct vd_compact_result *sum,
                            const struct vd_compact_result *r);

#endif /* VD_COMPACT_MACHINE_H */
