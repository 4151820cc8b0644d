/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A VirtualBox machine file (name.vbox): which disks a machine has, which
 * snapshots, and which image of each disk belongs to which of them.
 *
 *   medium      one image file in the machine's media registry; media form
 *               trees, a child holds what was written since its parent
 *   state       the machine at one time: a snapshot, or the current state;
 *               says which medium is attached where.  The medium of a
 *               snapshot is frozen; the current state's is the one that the
 *               guest writes
 *   disk        a medium without a parent, and all that stands on it
 *   view        one disk in one state, or a medium that is in none: what a
 *               user wants to read.  Views have names
 *
 * The file is hostile.  It is XML in UTF-8 without a document type (so there
 * are no entities and nothing is fetched), of at most VD_VBOX_MAX_SIZE bytes;
 * everything else is refused.  Two UUIDs that are the same, a parent or a
 * snapshot that is not there, are errors.  Strings here are UTF-8, may hold
 * any character, and are to be escaped before they are shown.
 *
 * Threads: immutable after vd_vbox_open; that and vd_vbox_add_chain belong to
 * one thread.
 */

#ifndef VD_VBOX_H
#define VD_VBOX_H

#include "chain/family.h"

/* 250 snapshots, VirtualBox's limit, of 16 KiB each are 4 MiB. */
#define VD_VBOX_MAX_SIZE ((size_t) 16 << 20)

struct vd_vbox_medium {
  uint8_t uuid[16];
  char *location;               /* as it stands in the file; not trusted */
  char *format;                 /* "VDI", "VMDK", ...; "" if not said */
  char *type;                   /* "Normal", ...: of bases; else NULL */
  struct vd_vbox_medium *parent; /* NULL: a base, that is, a disk */
  size_t nr_children;
  bool foreign;                 /* listed in another file: box->registry */
  bool encrypted;               /* it or an ancestor: what its file holds is
                                   of no use without the password */
  size_t element;               /* inside the library: place in the XML */
};

/* A hard disk attached to a machine.  Floppies and DVDs are left out, and
 * drives that are empty.
 */
struct vd_vbox_attachment {
  char *controller;             /* its name; "" if it has none */
  unsigned port, device;
  uint8_t uuid[16];             /* of the medium */
  struct vd_vbox_medium *medium; /* NULL: not in this file's registry */
  size_t element;
};

struct vd_vbox_state {
  struct vd_vbox_attachment *attached;
  size_t n;
};

struct vd_vbox_snapshot {
  uint8_t uuid[16];
  char *name;                   /* need not be unique */
  char *time;                   /* "2026-11-21T19:30:47Z"; "" if not said */
  char *description;            /* NULL: none */
  char *state_file;             /* memory of the running machine, or NULL */
  struct vd_vbox_snapshot *parent; /* NULL: the first one */
  unsigned depth;               /* 0: the first one */
  struct vd_vbox_state state;
  size_t element;
};

enum vd_vbox_power {
  VD_VBOX_OFF,
  VD_VBOX_SAVED,                /* its memory is in a file */
  VD_VBOX_ABORTED,              /* its process died; its disks are like those
                                   of a computer that lost power */
};

struct vd_vbox {
  char *path;                   /* for messages, and to resolve locations */
  char *text;                   /* the whole file, NUL-terminated */
  size_t len;
  bool converted;               /* the file is not UTF-8: it can only be read */

  uint8_t uuid[16];
  char *name;
  char *version;                /* of the settings: "1.19-linux" */
  enum vd_vbox_power power;
  char *state_file;             /* if VD_VBOX_SAVED */
  char *last_change;            /* lastStateChange, or "" */
  bool unmodified;              /* the current state is the current snapshot
                                   (currentStateModified="false") */

  /* In the order of the file: parents before their children. */
  struct vd_vbox_medium *media;
  size_t nr_media;
  struct vd_vbox_snapshot *snapshots;
  size_t nr_snapshots;

  struct vd_vbox_snapshot *current_snapshot; /* NULL: there is none */
  struct vd_vbox_state current;

  /* Media of disks that its states use, but that are not in this file's
   * registry, are behind the others in `media`; NULL: there are none.  Owned.
   */
  struct vd_vbox *registry;
  char *listed_in;              /* a registry that was found, but may not be
                                   used unless the user names it; or NULL */
  bool is_list;                 /* a registry and no machine (VirtualBox.xml):
                                   has media only */

  struct vd_xml *xml;           /* inside the library */
};

/* Is this a machine file, by its name (.vbox, .vbox-prev) or its first bytes?
 * Any XML is taken for one, so that vd_vbox_open can say what is wrong with
 * it.  False also when it cannot be read.
 */
extern bool vd_vbox_probe (const char *path);

/* Read a machine file that the user named.
 *
 * Errors: VD_NOT_FORMAT (not XML, not a machine file), VD_UNSUPPORTED (has a
 * document type, is not UTF-8, is too large or too deep, is encrypted, is of a
 * time before media registries), VD_CORRUPT (what it says cannot be), and those
 * of reading.
 */
extern struct vd_vbox *vd_vbox_open (const char *path, struct vd_err *err);

/* The same for one that can be elsewhere, where opts allows it. */
extern struct vd_vbox *vd_vbox_open_anywhere (const char *path,
                                              const struct vd_opts *opts,
                                              struct vd_err *err);

/* The same from memory; text (of len bytes) is copied. */
extern struct vd_vbox *vd_vbox_parse (const char *path, const char *text,
                                      size_t len, struct vd_err *err);

extern void vd_vbox_free (struct vd_vbox *box);

/* ---- Media that another file lists ---------------------------------------- */

/* The media of a linked clone are in the registry of its original, and before
 * version 4.0 those of all machines were in the user's VirtualBox.xml.  Such a
 * file may be named; else the machine files in the directory above, in those
 * beside and in its own are looked at, and VirtualBox.xml there and up to two
 * directories above.  Several that list the same missing medium: VD_USAGE.
 *
 * What is found is used only if names in images may lead there (confine.h), or
 * only headers are wanted; else check_registry tells of it.
 */

/* vd_vbox_open, and where its states use media that it does not list, those of
 * opts->registry, or of one that is found.  What is still missing, see
 * vd_vbox_check_registry.
 */
extern struct vd_vbox *vd_vbox_open_whole (const char *path,
                                           const struct vd_opts *opts,
                                           struct vd_err *err);

/* For those who change disks: -1 and VD_USAGE when a registry was found that
 * the user has not named.
 */
extern int vd_vbox_check_named (const struct vd_vbox *box,
                                const struct vd_opts *opts,
                                struct vd_err *err);

/* A machine file or a VirtualBox.xml, for its media. */
extern struct vd_vbox *vd_vbox_open_registry (const char *path,
                                              struct vd_err *err);
extern struct vd_vbox *vd_vbox_parse_registry (const char *path,
                                               const char *text, size_t len,
                                               struct vd_err *err);

/* Add from a registry, which is taken over (also on error), the disks of which
 * a state uses a medium that is not known.
 */
extern int vd_vbox_add_registry (struct vd_vbox *box,
                                 struct vd_vbox *registry,
                                 struct vd_err *err);

/* ---- Looking things up -------------------------------------------------- */

/* NULL: there is none. */
extern struct vd_vbox_medium *vd_vbox_medium (const struct vd_vbox *box,
                                              const uint8_t uuid[16]);
extern struct vd_vbox_snapshot *vd_vbox_snapshot (const struct vd_vbox *box,
                                                  const uint8_t uuid[16]);

/* The state of a snapshot; of NULL: the current one. */
static inline const struct vd_vbox_state *
vd_vbox_state (const struct vd_vbox *box, const struct vd_vbox_snapshot *s)
{
  return s ? &s->state : &box->current;
}

/* The disk that a medium belongs to: its oldest ancestor. */
extern const struct vd_vbox_medium *
vd_vbox_disk (const struct vd_vbox_medium *medium);

/* The medium of this disk in this state, or NULL when it was not attached. */
extern struct vd_vbox_medium *
vd_vbox_attached (const struct vd_vbox_state *state,
                  const struct vd_vbox_medium *disk);

/* Do snapshots keep what the disk of this medium held?  Not of the types
 * Writethrough, Shareable and Readonly: VirtualBox makes no child of them, and
 * attaches the one medium in all states.
 */
extern bool vd_vbox_has_states (const struct vd_vbox_medium *medium);

/* Type Normal, or none told: may be merged into. */
extern bool vd_vbox_is_normal (const struct vd_vbox_medium *medium);

/* May the machine's disks be changed, as far as this file can say?  -1 and
 * VD_USAGE when it is in the Saved state: its memory belongs to what the disks
 * hold now.  After an abort the answer is 0 and a warning.
 *
 * Whether a machine is running is NOT in this file: look at who has the disks
 * open.
 */
extern int vd_vbox_check_off (const struct vd_vbox *box,
                              const struct vd_log *log, struct vd_err *err);

/* -1 and VD_DENIED while a process of VirtualBox is seen on this host, whose
 * server would write its own version over a machine file, or a registry, that
 * was changed;
 * unless its list of machines (VirtualBox.xml) can be read, and this one is not
 * in it.  Or what vd_vbox_open says.
 */
extern int vd_vbox_check_stopped (const char *path, struct vd_err *err);

/* -1 and VD_NOT_FOUND, with what to do, when a state uses a medium that is
 * not in the machine's own registry, nor in one that was found.
 */
extern int vd_vbox_check_registry (const struct vd_vbox *box,
                                   struct vd_err *err);

/* ---- Views, and how they are called ------------------------------------- */

/* The name of a disk is its base's file without directory and ending
 * ("disk0"); where two disks would have the same, the file with ending, or the
 * whole location, or the UUID in braces, whichever is the first to differ.
 * A view is called
 *
 *     DISK                the disk as it is now
 *     DISK@SNAPSHOT       as it was in a snapshot (its UUID in braces where
 *                         two have the same name)
 *     {UUID}              a medium that is attached nowhere
 *
 * No two views have the same name.  vd_vbox_find_view takes more, where no
 * view is called so:
 *
 *     SNAPSHOT, {UUID} of a snapshot    if only one disk was attached then
 *     {UUID} of a medium                exactly that
 *     CONTROLLER-PORT-DEVICE            ("sata-0-0") a disk as it is now, by
 *                                       where it is attached; also in front
 *                                       of @SNAPSHOT, as of that time
 *
 * and UUIDs without braces and in any case.
 */
struct vd_vbox_view {
  char *name;
  const struct vd_vbox_medium *medium;  /* what to read; in the registry */
  const struct vd_vbox_medium *disk;
  const char *disk_name;        /* owned by the list */
  const struct vd_vbox_snapshot *snapshot; /* NULL: current or loose */
  const struct vd_vbox_attachment *attachment; /* NULL: loose */
  bool current;                 /* of the current state */
};

struct vd_vbox_views {
  struct vd_vbox_view *view;    /* by disk; of each: current, then snapshots
                                   in the order of the file, then loose ones */
  size_t n;
  char **disk_names;
  size_t nr_disks;
};

/* All views; borrows box.  What is attached but not in the registry has none
 * (see vd_vbox_check_registry).
 */
extern int vd_vbox_views (const struct vd_vbox *box,
                          struct vd_vbox_views *views, struct vd_err *err);
extern void vd_vbox_views_free (struct vd_vbox_views *views);

/* NULL and VD_NOT_FOUND when nothing is called like that, VD_USAGE when
 * several are: the message lists them.  "" is the disk as it is now, if there
 * is one disk.
 */
extern const struct vd_vbox_view *
vd_vbox_find_view (const struct vd_vbox *box,
                   const struct vd_vbox_views *views, const char *name,
                   struct vd_err *err);

/* The name of the disk (a base) as views have it.  The caller frees it. */
extern char *vd_vbox_disk_name (const struct vd_vbox *box,
                                const struct vd_vbox_medium *disk,
                                struct vd_err *err);

/* For --disk=NAME: a disk by its name, by the UUID of any of its media, or by
 * CONTROLLER-PORT-DEVICE of the current state.  name may be NULL: the only
 * disk that is attached now.  Errors as above.
 */
extern const struct vd_vbox_medium *
vd_vbox_find_disk (const struct vd_vbox *box, const char *name,
                   struct vd_err *err);

/* ---- The files ---------------------------------------------------------- */

/* Where the machine keeps images of snapshots: absolute, or seen from the
 * directory of the .vbox file.
 */
extern const char *vd_vbox_snapshot_folder (const struct vd_vbox *box);

/* Open the file of a medium and read (not load) its link.  Where it is looked
 * for, seen from the directory of the .vbox file, is in candidates.h; the
 * folders are Snapshots and the machine's own snapshot folder.
 *
 * The first that exists is taken, and must have the UUID of the medium.  A
 * member of the family that has this UUID already is taken without looking.
 *
 * Errors: VD_NOT_FOUND, VD_DENIED, VD_MISMATCH (another UUID; with
 * opts->ignore_cid a warning), VD_UNSUPPORTED (a format that we do not read, or
 * encrypted).
 */
extern struct vd_member *
vd_vbox_add_medium (const struct vd_vbox *box,
                    const struct vd_vbox_medium *medium,
                    struct vd_family *family, struct vd_err *err);

/* The same for a medium and all its ancestors, and make them each other's
 * parents: afterwards vd_family_chain can be called with the member, which
 * counts as resolved.  The parents that the files name must be those of the
 * registry (VD_MISMATCH).
 */
extern struct vd_member *
vd_vbox_add_chain (const struct vd_vbox *box,
                   const struct vd_vbox_medium *medium,
                   struct vd_family *family, struct vd_err *err);

#endif /* VD_VBOX_H */
