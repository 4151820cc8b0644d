/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A VMware machine: NAME.vmx, and the snapshots in NAME.vmsd beside it.
 *
 *   disk        a hard disk of the .vmx, known by where it is attached
 *               ("scsi0:0"); the .vmx names the file that it uses now
 *   state       a disk now, or as it was: each file that the one used now stands
 *               on, down to the base, was frozen by a snapshot
 *   snapshot    a name and a date of the .vmsd, and the file that each disk had
 *               at that time
 *   view        one disk in one state: what a user wants to read.  Views have
 *               names
 *
 * Who decides what: the .vmx, which file a disk uses; the descriptors of the
 * files, what they stand on.  The .vmsd is known to be missing, older than the
 * disks, or without its "current" snapshot; so it only names what the others
 * say is there.  A file that it gives to a snapshot must be one of the disk's:
 * it stands, according to the descriptors, on the same base, and is not the one
 * that the machine writes to.
 *
 * Both files are hostile; see vmx-text.h for how they are read, and
 * candidates.h for where a name found in them may lead.  Strings here are UTF-8
 * where the file says how to get there, may hold any character, and are to be
 * escaped before they are shown.
 *
 * Threads: immutable after vd_vmx_open; that and vd_vmx_views belong to one
 * thread.
 */

#ifndef VD_VMX_H
#define VD_VMX_H

#include "chain/family.h"

/* A machine has 4 controllers of 64 disks at most. */
#define VD_VMX_MAX_DISKS 1024u
#define VD_VMX_MAX_SNAPSHOTS 4096u
#define VD_VMX_MAX_STATES 4096u         /* of all disks in all snapshots */
#define VD_VMX_MAX_VIEWS 8192u          /* with now, and what has no name */

struct vd_vmx_disk {
  char *node;                   /* "scsi0:0", "nvme0:1": lower case */
  unsigned kind, bus, unit;     /* inside the library: their order */
  char *name;                   /* of its file, as it stands */
  char *file;                   /* the same for people */
  char *mode;                   /* "independent-nonpersistent"; "": snapshots
                                   freeze it */
  bool tracked;                 /* changed block tracking is on */
};

struct vd_vmx_frozen {
  char *node;
  char *name, *file;
};

struct vd_vmx_snapshot {
  unsigned uid;
  char *name;                   /* need not be unique */
  char *description;            /* "" if there is none */
  char time[24];                /* "2026-11-21T19:30:47Z"; "" if not said */
  struct vd_vmx_snapshot *parent; /* NULL: a first one */
  unsigned depth;
  struct vd_vmx_frozen *disk;
  size_t nr_disks;
};

struct vd_vmx {
  char *path;
  char *name;                   /* displayName, or the file's name */
  char *guest;                  /* guestOS; "" if not said */
  char *encoding;               /* of the names in the .vmx, or NULL */
  bool suspended;               /* some of what its guest wrote may be only in
                                   its memory, which lies in a file */
  bool tracked;                 /* ctkEnabled */
  char *lock;                   /* a lock beside it: it runs, or did; or NULL */

  struct vd_vmx_disk *disks;    /* in the order of their nodes */
  size_t nr_disks;

  char *vmsd_encoding;
  bool has_vmsd;                /* it is there and was understood */
  struct vd_err vmsd_err;       /* why it was not; VD_OK: there is none */
  struct vd_vmx_snapshot *snapshots; /* by uid */
  struct vd_vmx_snapshot **tree; /* parents before their children */
  size_t nr_snapshots;
  const struct vd_vmx_snapshot *current; /* as the .vmsd says, or NULL */

  struct vd_confine *places;    /* inside the library */
};

/* Is this called like one (.vmx)?  It can be a URI. */
extern bool vd_vmx_probe (const char *path);

/* Read a .vmx that the user named, and the .vmsd beside it.  opts is borrowed.
 * A .vmsd that cannot be read is no error: see vmsd_err.
 *
 * Errors: VD_NOT_FORMAT, VD_UNSUPPORTED (too large; encrypted), VD_CORRUPT (a
 * line that is not understood, a key with two values), and those of reading.
 */
extern struct vd_vmx *vd_vmx_open (const char *path,
                                   const struct vd_opts *opts,
                                   struct vd_err *err);

/* The same from memory, without files beside it (a NULL vmsd: none). */
extern struct vd_vmx *vd_vmx_parse (const char *path, const char *text,
                                    size_t len, const char *vmsd,
                                    size_t vmsd_len, struct vd_err *err);
extern void vd_vmx_free (struct vd_vmx *vmx);

/* May the machine's disks be changed, as far as can be seen?  -1 and VD_DENIED
 * when there is a lock, VD_USAGE when it is suspended.
 */
extern int vd_vmx_check_off (const struct vd_vmx *vmx, struct vd_err *err);

/* ---- Views --------------------------------------------------------------- */

/* A view is called
 *
 *     NODE                scsi0:0: the disk as it is now
 *     NODE@SNAPSHOT       as it was in a snapshot; "#UID" in place of a name
 *                         that several have, or that cannot be shown
 *     NODE@FILE           as a file holds it that the disk stands on, and that
 *                         the .vmsd has no name for
 *
 * No two views have the same name.  vd_vmx_find_view takes more, where no view
 * is called so: a node in any letter case, NODE@#UID of any snapshot, and
 * SNAPSHOT alone if only one disk has it.
 */
struct vd_vmx_view {
  char *name;
  const char *node;
  const struct vd_vmx_disk *disk; /* NULL: it is not attached any more */
  const struct vd_vmx_snapshot *snapshot; /* NULL: now, or nameless */
  const char *file;             /* as its name is told; for people */
  struct vd_member *member;     /* resolved; NULL: it cannot be read */
  struct vd_err err;            /* why not */
  bool current;
};

struct vd_vmx_views {
  struct vd_vmx_view *view;     /* by disk; of each: now, then snapshots in the
                                   order of the tree, then nameless files */
  size_t n;
};

/* All views; borrows vmx and family, whose members their files become.  What
 * cannot be read is in the view; this fails only when there is no memory, or
 * too many.
 */
extern int vd_vmx_views (const struct vd_vmx *vmx, struct vd_family *family,
                         struct vd_vmx_views *views, struct vd_err *err);
extern void vd_vmx_views_free (struct vd_vmx_views *views);

/* NULL and VD_NOT_FOUND when nothing is called like that, VD_USAGE when
 * several are.  "" is the disk as it is now, if there is one disk.
 */
extern const struct vd_vmx_view *
vd_vmx_find_view (const struct vd_vmx *vmx, const struct vd_vmx_views *views,
                  const char *name, struct vd_err *err);

#endif /* VD_VMX_H */
