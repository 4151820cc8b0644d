/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A machine of any product: disks, and the states in which they can be read.
 *
 * vbox.h and vmx.h each know one product's files and their rules.  Here is what
 * they have in common, for those who serve a machine and do not care whose it
 * is: views with names, and the chain of each.  What only one of them has
 * (registries, media, UUIDs, the tree of snapshots) is asked of it.
 *
 * Threads: immutable after vd_machine_open, but vd_machine_member adds to the
 * family; both belong to one thread.
 */

#ifndef VD_MACHINES_H
#define VD_MACHINES_H

#include <sys/types.h>

#include "chain/family.h"

struct vd_machine;

/* One disk in one state.  Strings are UTF-8, and to be escaped. */
struct vd_machine_view {
  const char *name;             /* of the export; each once */
  const char *disk;
  const char *snapshot;         /* NULL: now, or a file of no snapshot */
  const char *time;             /* of the snapshot; "" if not known */
  const char *file;             /* as the machine's files call it */
  bool current;                 /* the disk as it is now */
};

struct vd_machine_kind {
  const char *suffix;           /* of its files: ".vbox" */
  const char *loose;            /* how a view of no state is told: "..." FILE */

  bool (*probe) (const char *path);

  /* Set m->of, m->name, m->view and m->n.  free is called in any case. */
  int (*open) (struct vd_machine *m, struct vd_err *err);
  void (*free) (struct vd_machine *m);

  struct vd_member *(*member) (const struct vd_machine *m, size_t i,
                               struct vd_err *err);

  /* The number of a view, or -1. */
  ssize_t (*find) (const struct vd_machine *m, const char *name,
                   struct vd_err *err);
  int (*trouble) (const struct vd_machine *m, struct vd_err *err);
  int (*check_off) (const struct vd_machine *m, const struct vd_log *log,
                    struct vd_err *err);
  void (*warn_state) (const struct vd_machine *m);
};

struct vd_machine {
  const struct vd_machine_kind *kind;
  const char *path;             /* borrowed, as is the family */
  struct vd_family *family;
  const char *name;
  struct vd_machine_view *view; /* by disk: now, then older states */
  size_t n;
  void *of;                     /* inside the library */
};

extern const struct vd_machine_kind vd_machine_vbox, vd_machine_vmx;

/* Is this a machine file? */
extern bool vd_machine_probe (const char *path);

/* The machine files in a directory, by how they are called, in the order of
 * their names; of one kind, or of all (NULL).
 */
struct vd_machine_files {
  char **path;
  size_t n;
};

extern int vd_machine_files (const char *dir,
                             const struct vd_machine_kind *kind,
                             struct vd_machine_files *files,
                             struct vd_err *err);
extern void vd_machine_files_free (struct vd_machine_files *files);

/* The errors are those of vd_vbox_open and vd_vmx_open. */
extern struct vd_machine *vd_machine_open (const char *path,
                                           struct vd_family *family,
                                           struct vd_err *err);
extern void vd_machine_free (struct vd_machine *m);

/* The chain of view i: a member, which counts as resolved. */
extern struct vd_member *vd_machine_member (const struct vd_machine *m,
                                            size_t i, struct vd_err *err);

/* By any name that the machine has for it; "": the only disk, now. */
extern const struct vd_machine_view *
vd_machine_find (const struct vd_machine *m, const char *name,
                 struct vd_err *err);

/* -1 when the machine has more than the views tell. */
extern int vd_machine_trouble (const struct vd_machine *m,
                               struct vd_err *err);

/* May the disks be changed, as far as the machine's files say?  0 or -1. */
extern int vd_machine_check_off (const struct vd_machine *m,
                                 const struct vd_log *log,
                                 struct vd_err *err);

/* Warn, by the family's log, where the disks may not be what the user thinks:
 * a machine that runs or is suspended, newer snapshots.
 */
extern void vd_machine_warn_state (const struct vd_machine *m);

#endif /* VD_MACHINES_H */
