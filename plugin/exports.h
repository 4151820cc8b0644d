/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The exports: every disk and every snapshot that was found, by name.
 *
 * All files are opened once, by exports_open, as the user who started the
 * server and before it changes its directory; clients choose among what is
 * there by exact name and cannot make anything else be opened.
 *
 * Threads: exports_open and exports_close from one, the rest from any.
 */

#ifndef VMDK_EXPORTS_H
#define VMDK_EXPORTS_H

#include "vmdkdelta.h"

struct export {
  char *name;
  char *description;
  struct vd_member *member;     /* NULL: nothing to open */
  char *error;                  /* why it cannot be opened, or NULL */
  struct vd_chain *chain;       /* NULL if error is set */
  struct vd_reader *reader;     /* made when first used */
  struct vd_disk *disk;         /* of one that is written, or NULL: then the
                                   reader is the disk's */
  bool may_write;               /* see when it is first used */
};

struct exports {
  struct vd_opts opts;          /* borrowed by all below */
  struct vd_family *family;
  struct export *export;
  size_t n;
  const struct export *dflt;    /* what "" means; NULL: nothing */

  struct vd_machine *machine;   /* of a machine file only */
};

/* Find and open everything that the configuration asks for.  -1 after
 * filling err; call exports_close in any case.
 */
extern int exports_open (struct exports *e, struct vd_err *err);

extern void exports_close (struct exports *e);

/* By the name that a client gives; "" is the default.  NULL: no such. */
extern struct export *exports_find (struct exports *e, const char *name,
                                    struct vd_err *err);

/* The reader of an export without error.  With write=true for a directory or
 * machine, this is where it is seen whether clients can write into it: only
 * the disks that somebody uses are locked, and what became a parent since the
 * start is none of them.
 */
extern struct vd_reader *export_reader (const struct exports *e,
                                        struct export *x,
                                        struct vd_err *err);

#endif /* VMDK_EXPORTS_H */
