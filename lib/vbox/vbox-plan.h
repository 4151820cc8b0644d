/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: what a list of changes leads to, before any text is
 * made.  vbox-plan.c checks them and answers questions, vbox-edit.c makes the
 * text, vbox-verify.c compares the text with the answers.
 */

#ifndef VD_VBOX_PLAN_H
#define VD_VBOX_PLAN_H

#include "base/uuid.h"
#include "vbox/vbox-edit.h"
#include "vbox/vbox-read.h"

/* A UUID as VirtualBox writes it, "{...}". */
struct vd_braced { char s[VD_UUID_TEXT + 2]; };
extern const char *vd_braced (struct vd_braced *b, const uint8_t uuid[16]);

struct vd_vbox_plan {
  const struct vd_vbox *box;
  const struct vd_vbox_change *change;
  size_t n;
  bool *medium_goes;            /* by number */
  bool *snapshot_goes;
  const struct vd_vbox_change *new_snapshot; /* or NULL */
  const struct vd_vbox_snapshot *current; /* of those that stay; or NULL */
};

/* Check all changes. */
extern int vd_vbox_plan (struct vd_vbox_plan *plan, const struct vd_vbox *box,
                         const struct vd_vbox_change *change, size_t n,
                         struct vd_err *err);
extern void vd_vbox_plan_free (struct vd_vbox_plan *plan);

extern bool vd_plan_medium_stays (const struct vd_vbox_plan *plan,
                                  const struct vd_vbox_medium *medium);
extern bool vd_plan_snapshot_stays (const struct vd_vbox_plan *plan,
                                    const struct vd_vbox_snapshot *s);

/* The nearest ancestor that stays, or NULL. */
extern const struct vd_vbox_medium *
vd_plan_medium_parent (const struct vd_vbox_plan *plan,
                       const struct vd_vbox_medium *medium);
extern const struct vd_vbox_snapshot *
vd_plan_snapshot_parent (const struct vd_vbox_plan *plan,
                         const struct vd_vbox_snapshot *s);

/* The change (ATTACH or DETACH) that is about an attachment of a state that
 * stays (s; NULL: the current one), or NULL.
 */
extern const struct vd_vbox_change *
vd_plan_change_of (const struct vd_vbox_plan *plan,
                   const struct vd_vbox_snapshot *s,
                   const struct vd_vbox_attachment *a);

/* The change that adds a medium, or NULL. */
extern const struct vd_vbox_change *
vd_plan_added (const struct vd_vbox_plan *plan, const uint8_t uuid[16]);

/* The change that moves a medium, or NULL. */
/* Is this medium, or will it be, in another file's registry? */
extern bool vd_plan_is_foreign (const struct vd_vbox_plan *plan,
                                const uint8_t uuid[16]);
extern const struct vd_vbox_change *
vd_plan_moved (const struct vd_vbox_plan *plan, const uint8_t uuid[16]);

/* Compare a result with the plan; VD_CORRUPT if it is not as planned. */
extern int vd_plan_verify (const struct vd_vbox_plan *plan,
                           const struct vd_vbox *result, struct vd_err *err);

#endif /* VD_VBOX_PLAN_H */
