/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Where it is noted what a target holds: in a file beside it or at --state, and,
 * of a flat file, in the descriptor beside it.
 */

#ifndef TARGET_NOTE_H
#define TARGET_NOTE_H

#include "target.h"

struct target_note {
  const char *name;             /* --state */
  bool ignore;                  /* --ignore-state */

  char *path;                   /* of the note; NULL: none is kept */
  char *beside;                 /* NAME.vmdk of NAME-flat.vmdk */
  const struct vd_link *own;    /* what it is */
  bool is_own;                  /* and it describes the target alone */
  char *own_path;               /* then: what is replaced, no symbolic link */
  struct vd_target_state *old;  /* as it was read; NULL: there is none */
};

/* Look for the descriptor beside the target, which the family will own. */
extern int target_note_own (struct target_note *n, const char *target_name,
                            struct vd_family *family, struct vd_err *err);

/* Read the note, if there is one. */
extern int target_note_read (struct target_note *n, const char *target_name,
                             const struct target *target, struct vd_err *err);

/* Does the descriptor say what was noted? */
extern int target_note_check_own (const struct target_note *n,
                                  const char *target_name,
                                  struct vd_err *err);

/* With --ignore-state, warn of what speaks against writing, and return true. */
extern bool target_note_ignored (const struct target_note *n,
                                 const struct vd_err *err);

extern void target_note_free (struct target_note *n);

#endif /* TARGET_NOTE_H */
