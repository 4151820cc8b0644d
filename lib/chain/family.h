/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Links that belong together, each opened once.
 *
 * A family owns links and knows who is whose parent.  Several chains can be
 * made of it: one for each snapshot of a disk, sharing links and open files.
 *
 * Threads: built by one thread; then immutable.
 */

#ifndef VD_FAMILY_H
#define VD_FAMILY_H

#include "chain/chain.h"
#include "chain/parents.h"

struct vd_member {
  struct vd_link *link;
  struct vd_member *parent;     /* NULL: not (yet) looked for, or none */
  bool resolved;                /* the parent was looked for */
  enum vd_parent result;
};

struct vd_family {
  const struct vd_opts *opts;   /* borrowed */
  struct vd_member **members;   /* in the order in which they were met */
  size_t nr_members;
  struct vd_uuid_index index;   /* of the directories looked through */
};

extern struct vd_family *vd_family_new (const struct vd_opts *opts,
                                        struct vd_err *err);
extern void vd_family_free (struct vd_family *family);

/* Read (not load) the file that the user named, unless it is a member. */
extern struct vd_member *vd_family_add (struct vd_family *family,
                                        const char *path,
                                        struct vd_err *err);

/* The same for a link that was read already; it is taken over, also on
 * error.
 */
extern struct vd_member *vd_family_add_link (struct vd_family *family,
                                             struct vd_link *link,
                                             struct vd_err *err);

/* Look for the parent of a member, unless that was done.  Afterwards
 * member->result and member->parent are valid.
 */
extern int vd_family_find_parent (struct vd_family *family,
                                  struct vd_member *member,
                                  struct vd_err *err);

/* Use this one, whatever the member says (CIDs are still compared, by
 * vd_chain_new).
 */
extern void vd_family_set_parent (struct vd_member *member,
                                  struct vd_member *parent);

/* Find all parents of member, down to the base.  Fails where a parent is not
 * found, not known, or is its own descendant.  opts->parent, if given, is
 * taken where the first two would fail, once in a chain.
 */
extern int vd_family_resolve (struct vd_family *family,
                              struct vd_member *member, struct vd_err *err);

/* The parent of m was just found: is it m itself or one of its descendants,
 * from top down?  Then -1, and err says that the chain loops.
 */
extern int vd_family_check_loop (const struct vd_member *top,
                                 const struct vd_member *m,
                                 struct vd_err *err);

/* The chain of a resolved member down to its base, all links loaded. */
extern struct vd_chain *vd_family_chain (const struct vd_family *family,
                                         const struct vd_member *member,
                                         struct vd_err *err);

/* How many ancestors it has. */
extern unsigned vd_member_depth (const struct vd_member *member);

#endif /* VD_FAMILY_H */
