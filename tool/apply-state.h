/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the target of apply holds: as it was noted, and as it will be. */

#ifndef APPLY_STATE_H
#define APPLY_STATE_H

#include "target-note.h"

struct apply;

struct apply_state {
  struct target_note note;
  bool own_differs;             /* its CID is not that of the parent */
  struct vd_err mismatch;       /* and what is to be said of that */

  struct vd_survey survey;
  struct vd_undo_marks marks;
  struct vd_target_state *now;
  enum vd_verdict verdict;
  bool anew;                    /* it was copied anew */
  bool there;                   /* nothing needs to be written */
};

/* CIDs against the descriptors of the base. */
extern int apply_check_base (struct apply *a, struct vd_err *err);

/* With everything validated and a reader: may the deltas be applied to what the
 * target holds, or are they there already?
 */
extern int apply_check_state (struct apply *a, struct vd_err *err);

/* Before the first byte of the target changes, and after the last. */
extern int apply_begin (struct apply *a, struct vd_err *err);
extern int apply_finish (struct apply *a, struct vd_err *err);

extern void apply_state_free (struct apply_state *s);

#endif /* APPLY_STATE_H */
