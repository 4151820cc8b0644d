/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* An empty child of an image, as the products make one when a snapshot is
 * taken: nothing is in it, and all is read from the parent.
 */

#ifndef VD_CREATE_CHILD_H
#define VD_CREATE_CHILD_H

#include "chain/chain.h"

enum vd_child_format {
  VD_CHILD_USUAL,               /* what stands on such a parent: a VDI on a
                                   VDI, COWD on COWD, KDMV on all others */
  VD_CHILD_KDMV,                /* version 1, which all products read */
  VD_CHILD_COWD,
  VD_CHILD_VDI,
};

/* From a name: kdmv, cowd, vdi; NULL is the usual one. */
extern int vd_child_format (const char *name, enum vd_child_format *format,
                            struct vd_err *err);

/* Make it at `path`, which may not exist, on the newest link of the chain.  A
 * VMDK stands on its parent by CID and name, and by UUID too if the parent has
 * one, a VDI by UUID: VD_UNSUPPORTED if the parent has none.  It gets its name
 * when it is complete and flushed, and the rights of vd_chain_strictest,
 * because what is written to it brings data of all links along.
 *
 * VD_TRUNCATED if the chain lacks bytes: nothing would read them before they
 * are needed, when the machine runs on the child.
 */
extern int vd_create_child (const char *path, const struct vd_chain *chain,
                            const struct vd_opts *opts,
                            enum vd_child_format format, struct vd_err *err);

/* The same on raw bytes: a VMDK that says that it has a parent, but not which.
 * Who may read those bytes is not known, so it is for its owner only.
 */
extern int vd_create_child_of_raw (const char *path, uint64_t capacity,
                                   enum vd_child_format format,
                                   struct vd_err *err);

/* "disk-000003.vmdk" beside a VMDK, "{UUID}.vdi" beside a VDI: a name that is
 * free, as the products choose it.  To be freed.
 */
extern char *vd_child_name (const struct vd_link *parent, struct vd_err *err);

/* "disk-000003.vmdk" for "disk.vmdk" or "disk-000002.vmdk": the first such name in
 * its directory that is free, also for an extent ("-delta").  A name that would
 * be longer than the system allows is cut.  To be freed.
 */
extern char *vd_numbered_name (const char *path, struct vd_err *err);

/* The parent as the child's descriptor shall name it: relative where it lies
 * beside, above or below the child, else in full.  The child need not exist.  To
 * be freed.
 */
extern char *vd_parent_hint (const char *child, const char *parent,
                             struct vd_err *err);

#endif /* VD_CREATE_CHILD_H */
