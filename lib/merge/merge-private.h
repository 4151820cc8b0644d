/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: what the files of merge share. */

#ifndef VD_MERGE_PRIVATE_H
#define VD_MERGE_PRIVATE_H

#include "chain/link-files.h"
#include "merge/journal.h"
#include "merge/merge.h"

/* merge.c: the full name of a file that was opened, as long as it is still that
 * file: who can write to the directory can have put a link in its place.  To be
 * freed.
 */
extern char *vd_merge_real_path (const char *path, dev_t dev, ino_t ino,
                                 struct vd_err *err);

/* merge-plan.c: fill in a disk whose name and top are set. */
extern int vd_merge_plan_disk (struct vd_merge *m, struct vd_merge_disk *d,
                               struct vd_err *err);

/* merge-children.c: nothing but the links of the chain themselves stands on
 * those that change; sets d->found_child and d->child.
 */
extern int vd_merge_check_children (struct vd_merge *m,
                                    struct vd_merge_disk *d,
                                    struct vd_err *err);

/* The same, asked before: where is the first link below the newest merged one
 * that has another child?  Sets d->branch and what belongs to it, if something
 * can be merged above it; else vd_merge_check_children will refuse.
 */
extern int vd_merge_find_branch (const struct vd_merge *m,
                                 struct vd_merge_disk *d, struct vd_err *err);

/* Say where it ends, why, and what goes on from there. */
extern void vd_merge_tell_branch (const struct vd_merge *m,
                                  const struct vd_merge_disk *d);

/* VD_USAGE: link k has the children a and b, the latter of this UUID. */
extern int vd_merge_fail_branch (const struct vd_merge *m,
                                 const struct vd_merge_disk *d, size_t k,
                                 const char *a, const char *b,
                                 const uint8_t child[16],
                                 struct vd_err *err);

/* merge-machine.c: the medium of the registry, not of the chain, whose parent
 * is the newest possible link from `from` to `last`, *k; or NULL.
 */
extern const struct vd_vbox_medium *
vd_merge_registered_child (const struct vd_merge *m,
                           const struct vd_merge_disk *d, size_t from,
                           size_t last, size_t *k);

/* ... whether its file is where the registry says. */
extern bool vd_merge_is_there (const struct vd_merge *m,
                               const struct vd_vbox_medium *medium);

/* merge-drop.c: of how.drop, which snapshots and images go; nothing else stands
 * on them, or uses them.
 */
extern int vd_merge_open_drop (struct vd_merge *m, struct vd_err *err);

/* ... the dropped link with this UUID, or NULL. */
extern struct vd_link *vd_merge_dropped (const struct vd_merge *m,
                                         const uint8_t uuid[16]);

/* merge-clones.c: nothing in the folders beside needs what changes. */
extern int vd_merge_check_clones (const struct vd_merge *m,
                                  struct vd_err *err);

/* merge-mark.c: chain/merging.h.  Is the disk free of marks of other merges?
 * Put down those of this one, all or none; take back those that are new; the
 * steps that remove them.
 */
extern int vd_merge_check_marks (const struct vd_merge *m,
                                 struct vd_merge_disk *d,
                                 struct vd_err *err);
extern int vd_merge_mark (struct vd_merge *m, struct vd_err *err);
extern void vd_merge_unmark (struct vd_merge *m);
extern int vd_merge_mark_steps (const struct vd_merge *m,
                                struct vd_journal *j, struct vd_err *err);

/* merge-plan.c: there is room for all disks. */
extern int vd_merge_check_space (const struct vd_merge *m,
                                 struct vd_err *err);

/* merge-guard.c: nothing that goes is needed by what stays.  And: all that
 * is going to be changed may be changed.
 */
extern int vd_merge_check_files (const struct vd_merge *m,
                                 struct vd_err *err);
extern int vd_merge_check_access (const struct vd_journal *j,
                                  struct vd_err *err);

/* merge-removals.c: all that goes, into m->removals, and what could go but
 * stays, into m->kept.
 */
extern int vd_merge_note_removals (struct vd_merge *m, struct vd_err *err);

/* merge-commit.c: all steps, made but not done. */
extern int vd_merge_rehearse (struct vd_merge *m, struct vd_err *err);

/* merge-machine.c */
extern int vd_merge_open_machine (struct vd_merge *m, struct vd_err *err);
extern int vd_merge_check_registered (struct vd_merge *m,
                                      struct vd_err *err);
extern int vd_merge_machine_steps (struct vd_merge *m, struct vd_journal *j,
                                   struct vd_err *err);

/* merge-snapshot.c: how.snapshot.  First names are chosen, for all disks. */
extern int vd_merge_name_snapshot (struct vd_merge *m, struct vd_err *err);

/* Make the files under temporary names, for a disk whose newest link is
 * going to be `parent` with this identity; with dry only say that it is made.
 */
struct vd_new_identity;
extern int vd_merge_snapshot_steps (struct vd_merge *m,
                                    struct vd_merge_disk *d,
                                    const struct vd_link *parent,
                                    const struct vd_new_identity *id,
                                    bool dry, struct vd_journal *j,
                                    struct vd_err *err);

/* Remove what was made and not used. */
extern void vd_merge_clean_snapshot (const struct vd_merge *m);

/* merge-relink.c: the new identity of d's target, and of what stands on it;
 * steps are added to j.
 */
struct vd_new_identity {
  uint32_t cid;
  bool has_cid;
  uint8_t uuid[16];             /* of the image; null: it has none */
  uint8_t modified[16];
};

extern int vd_merge_target_steps (const struct vd_merge_disk *d,
                                  struct vd_new_identity *id,
                                  struct vd_journal *j, struct vd_err *err);
extern int vd_merge_child_steps (const struct vd_link *child,
                                 const struct vd_link *parent,
                                 const struct vd_new_identity *id,
                                 struct vd_journal *j, struct vd_err *err);

#endif /* VD_MERGE_PRIVATE_H */
