/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Changes to a VirtualBox machine file, looked at as a whole; see
 * vbox-plan.h.
 */

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "vbox/vbox-plan.h"

const char *
vd_braced (struct vd_braced *b, const uint8_t uuid[16])
{
  char text[VD_UUID_TEXT];

  snprintf (b->s, sizeof b->s, "{%s}", vd_uuid_text (text, uuid));
  return b->s;
}

static bool
same (const uint8_t a[16], const uint8_t b[16])
{
  return memcmp (a, b, 16) == 0;
}

/* ---- Questions ---------------------------------------------------------- */

bool
vd_plan_medium_stays (const struct vd_vbox_plan *plan,
                      const struct vd_vbox_medium *medium)
{
  return !plan->medium_goes[medium - plan->box->media];
}

bool
vd_plan_snapshot_stays (const struct vd_vbox_plan *plan,
                        const struct vd_vbox_snapshot *s)
{
  return !plan->snapshot_goes[s - plan->box->snapshots];
}

const struct vd_vbox_medium *
vd_plan_medium_parent (const struct vd_vbox_plan *plan,
                       const struct vd_vbox_medium *medium)
{
  do
    medium = medium->parent;
  while (medium && !vd_plan_medium_stays (plan, medium));
  return medium;
}

const struct vd_vbox_snapshot *
vd_plan_snapshot_parent (const struct vd_vbox_plan *plan,
                         const struct vd_vbox_snapshot *s)
{
  do
    s = s->parent;
  while (s && !vd_plan_snapshot_stays (plan, s));
  return s;
}

static const struct vd_vbox_change *
find_change (const struct vd_vbox_plan *plan, enum vd_vbox_change_kind kind,
             const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < plan->n; ++i)
    if (plan->change[i].kind == kind && same (plan->change[i].uuid, uuid))
      return &plan->change[i];
  return NULL;
}

const struct vd_vbox_change *
vd_plan_added (const struct vd_vbox_plan *plan, const uint8_t uuid[16])
{
  return find_change (plan, VD_VBOX_ADD_MEDIUM, uuid);
}

const struct vd_vbox_change *
vd_plan_moved (const struct vd_vbox_plan *plan, const uint8_t uuid[16])
{
  return find_change (plan, VD_VBOX_MOVE_MEDIUM, uuid);
}

bool
vd_plan_is_foreign (const struct vd_vbox_plan *plan, const uint8_t uuid[16])
{
  const struct vd_vbox_change *added;
  const struct vd_vbox_medium *m;

  /* What is added stands on what is there, or on what is added before it. */
  while ((added = vd_plan_added (plan, uuid)) != NULL)
    uuid = added->to;
  m = vd_vbox_medium (plan->box, uuid);
  return m && m->foreign;
}

static bool
is_about_state (const struct vd_vbox_change *c)
{
  return c->kind == VD_VBOX_ATTACH || c->kind == VD_VBOX_DETACH;
}

const struct vd_vbox_change *
vd_plan_change_of (const struct vd_vbox_plan *plan,
                   const struct vd_vbox_snapshot *s,
                   const struct vd_vbox_attachment *a)
{
  static const uint8_t current[16];
  const uint8_t *state = s ? s->uuid : current;
  size_t i;

  for (i = 0; i < plan->n; ++i) {
    const struct vd_vbox_change *c = &plan->change[i];

    if (is_about_state (c) && same (c->snapshot, state) &&
        same (c->uuid, a->uuid))
      return c;
  }
  return NULL;
}

/* ---- One change --------------------------------------------------------- */

/* Text that becomes part of the file. */
static int
check_text (const struct vd_vbox *box, const char *what, const char *text,
            struct vd_err *err)
{
  const unsigned char *p = (const unsigned char *) text;

  if (!text || !*text)
    return vd_fail (err, VD_USAGE, "%s: a new %s is empty", box->path, what);
  for (; *p; ++p)
    if (*p < 0x20 || *p == 0x7f)
      return vd_fail (err, VD_USAGE, "%s: a new %s ('%.255s') has a control "
                      "character in it", box->path, what, text);
  return 0;
}

static int
check_medium (const struct vd_vbox *box, const uint8_t uuid[16],
              struct vd_err *err)
{
  struct vd_braced t;

  if (vd_vbox_medium (box, uuid))
    return 0;
  return vd_fail (err, VD_USAGE, "%s: there is no medium %s to be changed",
                  box->path, vd_braced (&t, uuid));
}

static bool
is_attached (const struct vd_vbox_state *state, const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < state->n; ++i)
    if (same (state->attached[i].uuid, uuid))
      return true;
  return false;
}

static int
check_state_change (const struct vd_vbox_plan *plan,
                    const struct vd_vbox_change *c, struct vd_err *err)
{
  const struct vd_vbox *box = plan->box;
  const struct vd_vbox_snapshot *s = NULL;
  const struct vd_vbox_change *d;
  struct vd_braced t, u;

  if (!vd_uuid_is_null (c->snapshot)) {
    s = vd_vbox_snapshot (box, c->snapshot);
    if (!s)
      return vd_fail (err, VD_USAGE, "%s: there is no snapshot %s",
                      box->path, vd_braced (&t, c->snapshot));
    if (!vd_plan_snapshot_stays (plan, s))
      return 0;
  }
  if (!is_attached (vd_vbox_state (box, s), c->uuid))
    return vd_fail (err, VD_USAGE, "%s: the medium %s is not attached in %s%s",
                    box->path, vd_braced (&t, c->uuid),
                    s ? "snapshot " : "the current state",
                    s ? vd_braced (&u, s->uuid) : "");
  for (d = plan->change; d < c; ++d)
    if (is_about_state (d) && same (d->snapshot, c->snapshot) &&
        same (d->uuid, c->uuid))
      return vd_fail (err, VD_USAGE, "%s: two changes of the same attachment "
                      "of %s", box->path, vd_braced (&t, c->uuid));
  return 0;
}

static int
check_added_medium (const struct vd_vbox_plan *plan,
                    const struct vd_vbox_change *c, struct vd_err *err)
{
  const struct vd_vbox *box = plan->box;
  const struct vd_vbox_medium *parent;
  const struct vd_vbox_change *added;
  struct vd_braced t;

  if (vd_uuid_is_null (c->uuid) || vd_vbox_medium (box, c->uuid) ||
      vd_plan_added (plan, c->uuid) != c)
    return vd_fail (err, VD_USAGE, "%s: a new medium needs a UUID of its own, "
                    "not %s", box->path, vd_braced (&t, c->uuid));
  if (check_text (box, "location", c->location, err) == -1 ||
      check_text (box, "format", c->format, err) == -1)
    return -1;
  if (vd_uuid_is_null (c->to))
    return 0;
  parent = vd_vbox_medium (box, c->to);
  added = vd_plan_added (plan, c->to);
  if ((parent && vd_plan_medium_stays (plan, parent)) ||
      (added && added < c))
    return 0;
  return vd_fail (err, VD_USAGE, "%s: %s, which shall become the parent of a "
                  "new medium, will not be in the registry", box->path,
                  vd_braced (&t, c->to));
}

static int
check_change (struct vd_vbox_plan *plan, const struct vd_vbox_change *c,
              struct vd_err *err)
{
  const struct vd_vbox *box = plan->box;
  struct vd_braced t;

  switch (c->kind) {
  case VD_VBOX_REMOVE_MEDIUM:
    return check_medium (box, c->uuid, err);
  case VD_VBOX_ATTACH:
  case VD_VBOX_DETACH:
    return check_state_change (plan, c, err);
  case VD_VBOX_REMOVE_SNAPSHOT:
    return vd_vbox_snapshot (box, c->uuid) ? 0
      : vd_fail (err, VD_USAGE, "%s: there is no snapshot %s to be removed",
                 box->path, vd_braced (&t, c->uuid));
  case VD_VBOX_ADD_MEDIUM:
    return check_added_medium (plan, c, err);
  case VD_VBOX_ADD_SNAPSHOT:
    if (plan->new_snapshot || vd_uuid_is_null (c->uuid) ||
        vd_vbox_snapshot (box, c->uuid))
      return vd_fail (err, VD_USAGE, "%s: there can be one new snapshot, with "
                      "a UUID of its own, not %s", box->path,
                      vd_braced (&t, c->uuid));
    plan->new_snapshot = c;
    return check_text (box, "snapshot's name", c->name, err) == -1 ? -1
      : check_text (box, "snapshot's time", c->time, err);
  case VD_VBOX_MOVE_MEDIUM:
    if (check_medium (box, c->uuid, err) == -1)
      return -1;
    if (!vd_plan_medium_stays (plan, vd_vbox_medium (box, c->uuid)) ||
        vd_plan_moved (plan, c->uuid) != c)
      return vd_fail (err, VD_USAGE, "%s: the medium %s is moved twice, or "
                      "removed too", box->path, vd_braced (&t, c->uuid));
    return check_text (box, "location", c->location, err) == -1 ? -1
      : c->format ? check_text (box, "format", c->format, err) : 0;
  }
  return vd_fail (err, VD_USAGE, "%s: an unknown change", box->path);
}

/* ---- All of them -------------------------------------------------------- */

/* Every medium that is attached in a state that stays will be there; one that
 * was unknown before may stay so.
 */
static int
check_result_state (const struct vd_vbox_plan *plan,
                    const struct vd_vbox_snapshot *s, bool as_it_was,
                    struct vd_err *err)
{
  const struct vd_vbox_state *state = vd_vbox_state (plan->box, s);
  size_t i;

  for (i = 0; i < state->n; ++i) {
    const struct vd_vbox_attachment *a = &state->attached[i];
    const struct vd_vbox_change *c
      = as_it_was ? NULL : vd_plan_change_of (plan, s, a);
    const struct vd_vbox_medium *m = a->medium;
    struct vd_braced t;

    if (c && c->kind == VD_VBOX_DETACH)
      continue;
    if (c)
      m = vd_vbox_medium (plan->box, c->to);
    if ((m && vd_plan_medium_stays (plan, m)) || (!m && !c) ||
        (c && vd_plan_added (plan, c->to)))
      continue;
    return vd_fail (err, VD_USAGE, "%s: %s would be attached in %s%.100s but "
                    "not be in the media registry any more", plan->box->path,
                    vd_braced (&t, c ? c->to : a->uuid),
                    s ? "snapshot " : "the current state", s ? s->name : "");
  }
  return 0;
}

static int
check_result (const struct vd_vbox_plan *plan, struct vd_err *err)
{
  const struct vd_vbox *box = plan->box;
  size_t i, first = 0;

  if (check_result_state (plan, NULL, false, err) == -1 ||
      (plan->new_snapshot &&
       check_result_state (plan, NULL, true, err) == -1))
    return -1;
  for (i = 0; i < box->nr_snapshots; ++i) {
    const struct vd_vbox_snapshot *s = &box->snapshots[i];

    if (!vd_plan_snapshot_stays (plan, s))
      continue;
    if (check_result_state (plan, s, false, err) == -1)
      return -1;
    first += vd_plan_snapshot_parent (plan, s) == NULL;
  }
  /* A new one without a current one would be another first. */
  first += plan->new_snapshot && !plan->current;
  if (first > 1)
    return vd_fail (err, VD_USAGE, "%s: %zu snapshots would be the first one "
                    "of the machine; VirtualBox knows one only, so their "
                    "common ancestor has to stay", box->path, first);
  return 0;
}

int
vd_vbox_plan (struct vd_vbox_plan *plan, const struct vd_vbox *box,
              const struct vd_vbox_change *change, size_t n,
              struct vd_err *err)
{
  size_t i;

  *plan = (struct vd_vbox_plan) {
    .box = box, .change = change, .n = n,
    .medium_goes = calloc (box->nr_media + 1, sizeof (bool)),
    .snapshot_goes = calloc (box->nr_snapshots + 1, sizeof (bool)),
  };
  if (!plan->medium_goes || !plan->snapshot_goes)
    return vd_fail_nomem (err);
  for (i = 0; i < n; ++i) {
    const struct vd_vbox_medium *m = vd_vbox_medium (box, change[i].uuid);
    const struct vd_vbox_snapshot *s = vd_vbox_snapshot (box, change[i].uuid);

    if (m && change[i].kind == VD_VBOX_REMOVE_MEDIUM)
      plan->medium_goes[m - box->media] = true;
    if (s && change[i].kind == VD_VBOX_REMOVE_SNAPSHOT)
      plan->snapshot_goes[s - box->snapshots] = true;
  }
  plan->current = box->current_snapshot;
  if (plan->current && !vd_plan_snapshot_stays (plan, plan->current))
    plan->current = vd_plan_snapshot_parent (plan, plan->current);
  for (i = 0; i < n; ++i)
    if (check_change (plan, &change[i], err) == -1)
      return -1;
  return check_result (plan, err);
}

void
vd_vbox_plan_free (struct vd_vbox_plan *plan)
{
  free (plan->medium_goes);
  free (plan->snapshot_goes);
  *plan = (struct vd_vbox_plan) { .box = NULL };
}
