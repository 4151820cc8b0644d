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

/* Save what chain will overwrite in target to a new KDMV delta at path, all
 * of it on stable storage when this returns.  If path is there already and is
 * the undo file of the same deltas for a target of the same size, it is kept
 * as it is (*kept is true): an earlier run was cut off after it had made it,
 * and the target may be changed since.  Any other file there is an error.
 */
extern int undo_save (const struct vd_chain *chain, struct vd_file *target,
                      const char *path, vd_progress_fn progress, void *opaque,
                      bool *kept, struct vd_err *err);

/* Bytes that it will hold at the most. */
extern int undo_size (const struct vd_chain *chain, uint64_t *bytes,
                      struct vd_err *err);

#endif /* UNDO_H */
