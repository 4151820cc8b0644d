/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the files of state share. */

#ifndef VD_STATE_PARTS_H
#define VD_STATE_PARTS_H

#include "apply/state.h"

#define VD_STATE_FIRST "vmdkdelta-state 1\n"

extern int vd_add_sample (struct vd_sample **sample, size_t *n,
                          const struct vd_sample *one, struct vd_err *err);

/* "links", ...: as it is noted. */
extern const char *vd_sync_mode_name (enum vd_sync_mode mode);

/* Samples of a target: of some places that do not change (survey->other), or of
 * those that are written too (all).
 */
extern int vd_take_samples (uint64_t capacity, const struct vd_survey *survey,
                            bool all, struct vd_file *target,
                            struct vd_sample **sample, size_t *n,
                            struct vd_err *err);

/* Places all over the first `size` bytes, as survey->other. */
extern void vd_usual_places (uint64_t size, struct vd_survey *survey);

/* Are all samples as they were?  1; 0, and where not; -1 */
extern int vd_samples_same (const struct vd_sample *sample, size_t n,
                            struct vd_file *target, uint64_t *where,
                            struct vd_err *err);

/* Are these two names of one content?  1, 0; -1: they cannot be compared. */
extern int vd_content_same (const struct vd_content *a,
                            const struct vd_content *b);

/* Has the delta, which holds data, no CID but that of its parent? */
extern bool vd_content_is_borrowed (const struct vd_link *link);

#endif /* VD_STATE_PARTS_H */
