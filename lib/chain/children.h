/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Who stands on a link?
 *
 * A parent does not know its children.  So the images in its directory, in the
 * "Snapshots" folder there, in the directory above if its own is one, and in
 * those that the user named, are asked for their parent.
 */

#ifndef VD_CHILDREN_H
#define VD_CHILDREN_H

#include "chain/link.h"

/* VD_DENIED, and which one, when there is a child: by UUID, by name, or by a
 * parentCID that is the link's CID (then it may be one of a copy; nobody can
 * tell).
 */
extern int vd_check_no_children (const struct vd_link *link,
                                 const struct vd_opts *opts,
                                 struct vd_err *err);

/* Are these the same file? */
extern bool vd_link_same (const struct vd_link *a, const struct vd_link *b);

/* Was c made on parent, by its UUID or by the file that its name leads to? */
extern bool vd_link_stands_on (const struct vd_link *c,
                               const struct vd_link *parent);

#endif /* VD_CHILDREN_H */
