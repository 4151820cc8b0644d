/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Deltas that lie beside one whose descriptor is lost.
 *
 * A bare delta does not say what it was made on.  Where only the data of a
 * machine is left, the newest delta alone would be laid over the base, and all
 * that the older ones hold would be missing from the disk, without a sign.
 * But ESXi numbers them: of disk-000003-delta.vmdk, disk-000001-delta.vmdk is
 * older.  Copies keep that part of the name ("disk-000001-delta (1).vmdk").
 *
 * What is called otherwise, or in another way, is of another disk: its stem
 * ("disk") differs, or its size.
 */

#ifndef VD_SIBLINGS_H
#define VD_SIBLINGS_H

#include "chain/link.h"

struct vd_siblings {
  char **older;                 /* paths, oldest first: its descriptor, if that
                                   is there */
  size_t n;
  char *perhaps;                /* names of others that are deltas of that size
                                   without a descriptor, and have no number to
                                   tell; or NULL */
};

/* The number in a delta's name, or 0.  *stem of *len is what is before it. */
extern unsigned vd_delta_number (const char *path, const char **stem,
                                 size_t *len);

/* Look beside a bare link (others have none) for those older than it, but
 * newer than number `after`.  The files of `known` do not count.  0, or -1
 * when the directory cannot be read.  vd_siblings_free in any case.
 */
extern int vd_siblings_find (const struct vd_link *link, unsigned after,
                             struct vd_link *const *known, size_t nr_known,
                             const struct vd_opts *opts,
                             struct vd_siblings *s, struct vd_err *err);

extern void vd_siblings_free (struct vd_siblings *s);

/* All of them and the link, in one line, oldest first; to be freed. */
extern char *vd_siblings_text (const struct vd_siblings *s,
                               const struct vd_link *link);

#endif /* VD_SIBLINGS_H */
