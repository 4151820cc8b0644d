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
 */
extern int undo_save (struct vd_reader *reader, struct vd_file *target,
                      const char *path, vd_progress_fn progress, void *opaque,
                      bool *kept, struct vd_err *err);

/* Bytes that it will hold at the most. */
extern int undo_size (const struct vd_chain *chain, uint64_t *bytes,
                      struct vd_err *err);

#endif /* UNDO_H */
