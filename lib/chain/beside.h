/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What lies beside a disk that is read, and makes it perhaps not the disk that
 * the user means: the lock of a machine that is running, and newer snapshots.
 *
 * Both are fine for who knows of them; so they are said, and nothing is
 * refused.  Who writes asks children.h and inuse.h instead.
 */

#ifndef VD_BESIDE_H
#define VD_BESIDE_H

#include "chain/link.h"

struct vd_beside {
  char *lock;                   /* or NULL */
  char *newer;                  /* names of what stands on it, or NULL */
};

/* Look beside a link.  What cannot be looked at is not there. */
extern void vd_look_beside (const struct vd_link *link,
                            const struct vd_opts *opts, struct vd_beside *b);
extern void vd_beside_free (struct vd_beside *b);

/* Say it, of the newest link that is read.  To serve an older state is normal:
 * then (older_is_normal) newer ones are told only who wants to hear more.
 */
extern void vd_warn_beside (const struct vd_link *link,
                            const struct vd_opts *opts,
                            bool older_is_normal);

#endif /* VD_BESIDE_H */
