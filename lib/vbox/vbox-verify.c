/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Is a new machine file what was planned?  See vbox-plan.h.
 *
 * This looks at the meaning of both files and knows nothing of how the text
 * was made.
 */

#include <string.h>

#include "base/cleanup.h"
#include "vbox/vbox-plan.h"

static int
wrong (const char *what, const char *name, struct vd_err *err)
{
  return vd_fail (err, VD_CORRUPT, "%s is not as planned%s%.255s", what,
                  *name ? ": " : "", name);
}

static bool
same_text (const char *a, const char *b)
{
  return a && b ? strcmp (a, b) == 0 : a == b;
}

static const uint8_t *
uuid_of (const struct vd_vbox_medium *m)
{
  static const uint8_t none[16];

  return m ? m->uuid : none;
}

/* ---- Media -------------------------------------------------------------- */

static int
verify_medium (const struct vd_vbox_plan *plan, const struct vd_vbox *result,
               const struct vd_vbox_medium *m, struct vd_err *err)
{
  const struct vd_vbox_change *move = vd_plan_moved (plan, m->uuid);
  const char *location = move ? move->location : m->location;
  const char *format = move && move->format ? move->format : m->format;
  const struct vd_vbox_medium *is = vd_vbox_medium (result, m->uuid);
  const struct vd_vbox_medium *parent = vd_plan_medium_parent (plan, m);

  if (!is || strcmp (is->location, location) != 0 ||
      strcmp (is->format, format) != 0 ||
      memcmp (uuid_of (is->parent), uuid_of (parent), 16) != 0)
    return wrong ("a medium", m->location, err);
  if (!same_text (is->type, m->type) && !(m->parent && !parent && is->type))
    return wrong ("the type of a medium", m->location, err);
  return 0;
}

static int
verify_media (const struct vd_vbox_plan *plan, const struct vd_vbox *result,
              struct vd_err *err)
{
  const struct vd_vbox *box = plan->box;
  size_t i, stay = 0;

  for (i = 0; i < box->nr_media; ++i) {
    if (!vd_plan_medium_stays (plan, &box->media[i]) || box->media[i].foreign)
      continue;
    ++stay;
    if (verify_medium (plan, result, &box->media[i], err) == -1)
      return -1;
  }
  for (i = 0; i < plan->n; ++i) {
    const struct vd_vbox_change *c = &plan->change[i];
    const struct vd_vbox_medium *m;

    if (c->kind != VD_VBOX_ADD_MEDIUM || vd_plan_is_foreign (plan, c->uuid))
      continue;
    ++stay;
    m = vd_vbox_medium (result, c->uuid);
    if (!m || strcmp (m->location, c->location) != 0 ||
        strcmp (m->format, c->format) != 0 ||
        memcmp (uuid_of (m->parent), c->to, 16) != 0)
      return wrong ("a new medium", c->location, err);
  }
  return result->nr_media == stay ? 0 : wrong ("the registry", "", err);
}

/* ---- States ------------------------------------------------------------- */

/* plan may be NULL: as it was. */
static int
verify_state (const struct vd_vbox_plan *plan,
              const struct vd_vbox_snapshot *s,
              const struct vd_vbox_state *was, const struct vd_vbox_state *is,
              const char *name, struct vd_err *err)
{
  size_t i, k = 0;

  for (i = 0; i < was->n; ++i) {
    const struct vd_vbox_attachment *a = &was->attached[i], *b;
    const struct vd_vbox_change *c
      = plan ? vd_plan_change_of (plan, s, a) : NULL;

    if (c && c->kind == VD_VBOX_DETACH)
      continue;
    if (k == is->n)
      return wrong ("what is attached", name, err);
    b = &is->attached[k++];
    if (strcmp (a->controller, b->controller) != 0 || a->port != b->port ||
        a->device != b->device ||
        memcmp (c ? c->to : a->uuid, b->uuid, 16) != 0)
      return wrong ("what is attached", name, err);
  }
  return k == is->n ? 0 : wrong ("what is attached", name, err);
}

/* ---- Snapshots ---------------------------------------------------------- */

static int
verify_snapshot (const struct vd_vbox_plan *plan,
                 const struct vd_vbox *result,
                 const struct vd_vbox_snapshot *s, struct vd_err *err)
{
  const struct vd_vbox_snapshot *is = vd_vbox_snapshot (result, s->uuid);
  const struct vd_vbox_snapshot *parent = vd_plan_snapshot_parent (plan, s);

  if (!is || strcmp (is->name, s->name) != 0 ||
      strcmp (is->time, s->time) != 0 ||
      !same_text (is->description, s->description) ||
      !same_text (is->state_file, s->state_file) ||
      !parent != !is->parent ||
      (parent && memcmp (parent->uuid, is->parent->uuid, 16) != 0))
    return wrong ("a snapshot", s->name, err);
  return verify_state (plan, s, &s->state, &is->state, s->name, err);
}

static int
verify_new_snapshot (const struct vd_vbox_plan *plan,
                     const struct vd_vbox *result, struct vd_err *err)
{
  const struct vd_vbox_change *c = plan->new_snapshot;
  const struct vd_vbox_snapshot *is = vd_vbox_snapshot (result, c->uuid);

  if (!is || strcmp (is->name, c->name) != 0 ||
      strcmp (is->time, c->time) != 0 || !plan->current != !is->parent ||
      (plan->current &&
       memcmp (plan->current->uuid, is->parent->uuid, 16) != 0) ||
      result->current_snapshot != is || !result->unmodified)
    return wrong ("the new snapshot", c->name, err);
  return verify_state (NULL, NULL, &plan->box->current, &is->state, c->name,
                       err);
}

static int
verify_snapshots (const struct vd_vbox_plan *plan,
                  const struct vd_vbox *result, struct vd_err *err)
{
  const struct vd_vbox *box = plan->box;
  size_t i, stay = 0;

  for (i = 0; i < box->nr_snapshots; ++i) {
    if (!vd_plan_snapshot_stays (plan, &box->snapshots[i]))
      continue;
    ++stay;
    if (verify_snapshot (plan, result, &box->snapshots[i], err) == -1)
      return -1;
  }
  if (plan->new_snapshot) {
    ++stay;
    if (verify_new_snapshot (plan, result, err) == -1)
      return -1;
  }
  else if (!plan->current != !result->current_snapshot ||
           (plan->current && memcmp (plan->current->uuid,
                                     result->current_snapshot->uuid, 16) != 0))
    return wrong ("the current snapshot", "", err);
  return result->nr_snapshots == stay ? 0 : wrong ("the snapshots", "", err);
}

int
vd_plan_verify (const struct vd_vbox_plan *plan, const struct vd_vbox *result,
                struct vd_err *err)
{
  const struct vd_vbox *box = plan->box;

  if (memcmp (result->uuid, box->uuid, 16) != 0 ||
      strcmp (result->name, box->name) != 0 ||
      strcmp (result->version, box->version) != 0 ||
      result->power != box->power ||
      !same_text (result->state_file, box->state_file) ||
      strcmp (result->last_change, box->last_change) != 0)
    return wrong ("the machine", box->name, err);
  if (verify_media (plan, result, err) == -1 ||
      verify_snapshots (plan, result, err) == -1)
    return -1;
  return verify_state (plan, NULL, &box->current, &result->current,
                       "current state", err);
}
