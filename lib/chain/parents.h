/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Where the parent of a link is.
 *
 * A VMware or QEMU child names the parent's descriptor (parentFileNameHint)
 * as it was when the child was made; files are moved and renamed since.  So
 * several places are tried: candidates.h says which.  The first that is there
 * and whose CID is the child's parentCID is taken.
 *
 * A VirtualBox child holds the UUID of its parent and no name: the images of
 * the child's directory, of the one above if that is a "Snapshots" folder,
 * and of opts->dirs are searched for the UUID.
 */

#ifndef VD_PARENTS_H
#define VD_PARENTS_H

#include "chain/link.h"
#include "chain/uuid-search.h"

enum vd_parent {
  VD_PARENT_NONE,               /* the link is a base */
  VD_PARENT_FOUND,
  VD_PARENT_UNKNOWN,            /* the link does not say who it is (bare
                                   extent, or parentCID without a hint) */
};

/* Find the parent of child.  With VD_PARENT_FOUND, *parent is new and read,
 * but not loaded (see link.h).  The index (or NULL) is kept by those who look
 * for the parents of several links.
 *
 * Errors: VD_NOT_FOUND (the message lists the places), VD_MISMATCH (what was
 * found has another CID; with opts->ignore_cid the first one is taken),
 * VD_DENIED.
 */
extern int vd_find_parent (const struct vd_link *child,
                           const struct vd_opts *opts,
                           struct vd_uuid_index *index,
                           enum vd_parent *result, struct vd_link **parent,
                           struct vd_err *err);

/* The hint as people are to see it (UTF-8), or NULL. */
extern const char *vd_link_hint (const struct vd_link *link);

#endif /* VD_PARENTS_H */
