/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The parts of "vmdkdelta create": two disks, and their difference. */

#ifndef CREATE_H
#define CREATE_H

#include <sys/stat.h>

#include "progress.h"
#include "tool.h"

/* ---- A disk to compare (create-source.c) -------------------------------- */

struct source {
  const char *name;
  char *const *command;         /* serves it, or NULL */
  struct vd_file *file;
  bool is_nbd;
  bool is_vmdk;                 /* read through the library, and then: */
  uint32_t cid;
  const struct vd_chain *chain; /* borrowed from the file */
};

/* An NBD URI, or what s->command serves; or a file, here or elsewhere, that is called .vmdk but not -flat.vmdk and holds a
 * VMDK: the disk that it is the top of; or a raw file or block device.  That a
 * raw disk begins like a VMDK does not make it one: what a guest wrote into
 * its first sector must not decide which files are opened.  It is refused,
 * as any image or archive that is no raw disk, unless opts->raw_base.
 */
extern int source_open (struct source *s, const char *name,
                        const struct vd_opts *opts, struct vd_err *err);

/* The next operand of argv[*i] to argv[n-1]: a name, or "[ COMMAND ... ]", which is
 * started by source_open and serves the disk.  False: there is none, or the
 * bracket is empty or not closed.
 */
extern bool source_operand (char **argv, int n, int *i, struct source *s);

/* An NBD export has one connection after that; see nbdfile_widen. */
extern int source_widen (struct source *s, unsigned connections,
                         struct vd_err *err);
extern void source_close (struct source *s);

/* Does the disk lie, wholly or in part, in this file? */
extern bool source_uses (const struct source *s, const struct stat *st);

/* ---- Their difference (create-diff.c) ----------------------------------- */

struct diff {
  struct vd_file *base, *new;
  uint64_t capacity;            /* bytes, whole sectors */
  unsigned threads;
  struct vd_create *w;
  struct progress *progress;

  /* The answer. */
  uint64_t compared;            /* bytes; the rest is empty in both */
};

/* Compare the disks and give the grains that differ to the writer.  Past its
 * end a disk counts as zeros.
 */
extern int diff_run (struct diff *d, struct vd_err *err);

/* ---- The verb ----------------------------------------------------------- */

struct create {
  const char *from, *to, *out;
  const char *base_descriptor;
  bool has_cid, quiet, json;
  enum progress_mode mode;
  struct vd_create_opts w;

  struct source base, new;
  char *hint;                   /* owned, unless the user gave one */
  bool made_descriptor;
  uint64_t compared;
  double seconds;
  struct vd_create_result result;
};

/* Find out name and CID of the parent, and write its descriptor if that was
 * asked for (create-parent.c).
 */
extern int create_find_parent (struct create *c, struct vd_err *err);

#endif /* CREATE_H */
