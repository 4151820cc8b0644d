/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Undo files: what a target held before deltas were applied to it, as a delta
 * of its own.
 */

#ifndef UNDO_H
#define UNDO_H

#include "vmdkdelta.h"

/* Save what will be overwritten in target to a new KDMV delta at path, all of
 * it on stable storage when this returns.
 *
 * If path is there already, an earlier run may have been cut off after it had
 * made it, with the target half changed.  It is kept as it is (*kept is true)
 * if it fits: it holds all that will be overwritten, and every sector of the
 * target is what it says, or what the deltas make of that.  Anything else
 * there is an error.
 *
 * The file says what it is to be applied to, and what that is then: now, and the
 * samples of survey.  One that is kept says it already, and gives its names of
 * the two contents to `now`, if nothing was noted under the others yet (again
 * is false).  now may be NULL, in tests.
 */
struct undo_opts {
  struct vd_target_state *now;
  const struct vd_survey *survey;
  bool again;
  vd_progress_fn progress;
  void *opaque;
};

extern int undo_save (struct vd_reader *reader, struct vd_file *target,
                      const char *path, const struct undo_opts *how,
                      bool *kept, struct vd_err *err);

/* Could undo_save do its work?  Nothing is written. */
extern int undo_look (struct vd_reader *reader, struct vd_file *target,
                      const char *path, struct vd_err *err);

/* Bytes that it will hold at the most. */
extern int undo_size (const struct vd_chain *chain, uint64_t *bytes,
                      struct vd_err *err);

#endif /* UNDO_H */
