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

/* Called for each image that was found and can be read; it may take the link,
 * and leave NULL.  Its options are those of children.c: nothing is refused for
 * being dirty or for names that lead elsewhere.
 */
typedef int (*vd_around_fn) (void *opaque, struct vd_link **link,
                             struct vd_err *err);

/* A search in several directories, each of which is looked at once. */
struct vd_around {
  vd_around_fn fn;
  void *opaque;
  const struct vd_log *log;     /* a sparse image that cannot be read is said */
  const char *what;             /* what is it that something may stand on? */
  char **dirs;                  /* zero in the beginning */
  size_t nr_dirs;
};

/* A directory that may hold children, its "Snapshots", and what it is the
 * "Snapshots" of; or this directory only.  One that is not there is empty.
 */
extern int vd_around_scan (struct vd_around *a, const char *dir,
                           struct vd_err *err);
extern int vd_around_directory (struct vd_around *a, const char *dir,
                                struct vd_err *err);
extern void vd_around_free (struct vd_around *a);

/* VD_DENIED, and which one, when there is a child: by UUID, by name, or by a
 * parentCID that is the link's CID (then it may be one of a copy; nobody can
 * tell).
 */
extern int vd_check_no_children (const struct vd_link *link,
                                 const struct vd_opts *opts,
                                 struct vd_err *err);

/* Call fn for each child of a local link, until it returns -1: by UUID or name,
 * and (by_cid) by a parentCID that is the link's CID, which a copy or an undo
 * file has too.
 */
extern int vd_each_child (const struct vd_link *link,
                          const struct vd_opts *opts,
                          bool by_cid, const struct vd_log *log,
                          int (*fn) (void *opaque, const char *path,
                                     struct vd_err *err),
                          void *opaque, struct vd_err *err);

/* The CIDs that the images around a local link have, or name as their parent's,
 * its own too: a new one should be none of them.  To be freed.
 */
extern int vd_cids_around (const struct vd_link *link, uint32_t **cids,
                           size_t *n, struct vd_err *err);

/* Are these the same file? */
extern bool vd_link_same (const struct vd_link *a, const struct vd_link *b);

/* Was c made on parent, by its UUID or by the file that its name leads to? */
extern bool vd_link_stands_on (const struct vd_link *c,
                               const struct vd_link *parent);

#endif /* VD_CHILDREN_H */
