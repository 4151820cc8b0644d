/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: several files changed as one.
 *
 * A journal is a list of steps, each of which can be repeated.  It is written
 * beside the files, flushed, and then carried out; after a kill at any moment
 * it is either not there (nothing was done), or carrying it out once more
 * completes it.  It holds old and new bytes of what it changes, and a file
 * that has neither is not touched: somebody else changed it meanwhile.
 *
 *   WRITE     bytes of a file (whole sectors), old and new
 *   REPLACE   a whole, small file; `prev` keeps the old one as NAME-prev
 *   RENAME    a new file from its temporary name
 *   REMOVE    a file
 *   UNMARK    the mark of the merge (chain/merging.h), as this merge left it:
 *             who changed it, perhaps another version, means something by it
 *
 * Who can plant a file beside images must not get ours removed:
 *
 *   - a journal is only read if it belongs to the user and nobody else can
 *     write it;
 *   - it holds its own inode number and the time when that was made: one that
 *     came in an archive, or was copied, has others, and is refused;
 *   - it leads only below its directory, below the one above if that is a
 *     Snapshots folder, and below opts->dirs (unless opts->unconfined);
 *   - each step has the inode number of its file, and is done to images,
 *     descriptors and machine files only.  Device numbers may be others after a
 *     reboot, so a step says which of the journal's file systems its file is on
 *     (0 is that of the journal itself), and all of one number must be on one
 *     device: a copy of the file system that was mounted over a directory has
 *     the same inodes, sizes and times.
 *
 * Who can write to the directory, while a journal of root's is carried out,
 * must not lead it elsewhere: directories are opened once, without following
 * links (file/pin.h), and a file is looked at and written by one descriptor.
 */

#ifndef VD_JOURNAL_H
#define VD_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/opts.h"
#include "file/pin.h"

enum vd_step_kind { VD_STEP_WRITE, VD_STEP_REPLACE, VD_STEP_RENAME,
                    VD_STEP_REMOVE, VD_STEP_UNMARK };

struct vd_step {
  enum vd_step_kind kind;
  char *path;                   /* absolute */
  char *from;                   /* RENAME: the temporary name */
  uint64_t offset;              /* WRITE */
  uint8_t *old_data, *new_data; /* WRITE (both of new_len), REPLACE */
  size_t old_len, new_len;
  bool prev;                    /* REPLACE */
  ino_t ino;                    /* of the file; of the old one, if REPLACE */
  dev_t dev;                    /* of the file, unless the journal was loaded */
  unsigned fs;                  /* which of the file systems it is on, if so */
  uint64_t size, mtime;         /* REMOVE, UNMARK: what they must be; nanoseconds */
};

/* A merge changes files in the directories of a disk: two are usual. */
#define VD_JOURNAL_MAX_FS 16u

struct vd_journal {
  char *path;                   /* of the journal itself */
  char *beside;                 /* directory of the name that was given */
  struct vd_step *step;
  size_t n;
  struct vd_pins pins;          /* directories of the steps, opened once */
  bool loaded;                  /* from the disk: devices are not known, ... */
  dev_t fs[VD_JOURNAL_MAX_FS];  /* ... but those that were met since */
  bool knows[VD_JOURNAL_MAX_FS];
};

/* The full name of what a merge was asked for: what it leads to, if it is a
 * symbolic link.  To be freed.  And: the journal of that merge, ".NAME" and a
 * suffix in its directory.
 */
extern char *vd_journal_top (const char *given, struct vd_err *err);
extern int vd_journal_init_top (struct vd_journal *j, const char *top,
                                const char *given, struct vd_err *err);
extern int vd_journal_init (struct vd_journal *j, const char *top,
                            struct vd_err *err);
extern void vd_journal_free (struct vd_journal *j);

/* Of a journal's file name, the length of NAME, which is behind the dot; 0: it
 * is none.
 */
extern size_t vd_journal_name_length (const char *file);

/* Is a file of that device on the file system of this number?  The first file
 * decides, and each number has a device of its own.
 */
extern bool vd_journal_is_on (struct vd_journal *j, unsigned fs, dev_t dev);

/* Add a step, whose strings and data are new and taken over (also on
 * error).
 */
extern int vd_journal_add (struct vd_journal *j, const struct vd_step *step,
                           struct vd_err *err);

/* The time of the last change as steps keep it. */
static inline uint64_t
vd_mtime (const struct stat *st)
{
  return (uint64_t) st->st_mtim.tv_sec * 1000000000u +
    (uint64_t) st->st_mtim.tv_nsec;
}

/* Is there one on disk?  Then read it: 1.  0: no.  -1: it cannot be used. */
extern int vd_journal_load (struct vd_journal *j, const struct vd_opts *opts,
                            struct vd_err *err);

/* The same, copied from another journal. */
extern int vd_journal_copy_removal (struct vd_journal *j,
                                    const struct vd_step *step,
                                    struct vd_err *err);

/* A step that removes the regular file `path` (new, taken over) as it is now:
 * REMOVE or UNMARK.
 */
extern int vd_journal_add_removal (struct vd_journal *j,
                                   enum vd_step_kind kind, char *path,
                                   struct vd_err *err);

/* Is every file as before or behind its step? */
extern int vd_journal_check (struct vd_journal *j, struct vd_err *err);

/* Does nobody use what is written or removed (inuse.h)? */
extern int vd_journal_check_unused (struct vd_journal *j,
                                    struct vd_err *err);

/* Put it on disk. */
extern int vd_journal_save (struct vd_journal *j, struct vd_err *err);

/* vd_journal_check, then do all steps in order, then remove the journal. */
extern int vd_journal_run (struct vd_journal *j, struct vd_err *err);

#endif /* VD_JOURNAL_H */
