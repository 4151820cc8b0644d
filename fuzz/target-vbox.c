/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VirtualBox's machine file: what it says, names of views, and an edit. */

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static bool
is_medium (const struct vd_vbox *box, const struct vd_vbox_medium *m)
{
  return m >= box->media && m < box->media + box->nr_media;
}

static void
check_state (const struct vd_vbox *box, const struct vd_vbox_state *state)
{
  size_t i;

  for (i = 0; i < state->n; ++i) {
    const struct vd_vbox_attachment *a = &state->attached[i];

    fz_require (a->controller && !vd_uuid_is_null (a->uuid),
                "attachment %zu", i);
    fz_require (!a->medium || (is_medium (box, a->medium) &&
                               memcmp (a->medium->uuid, a->uuid, 16) == 0),
                "attachment %zu: another medium", i);
  }
}

static void
check_tree (const struct vd_vbox *box)
{
  size_t i, children = 0, bases = 0;

  for (i = 0; i < box->nr_media; ++i) {
    const struct vd_vbox_medium *m = &box->media[i];

    fz_require (m->location && m->format && !vd_uuid_is_null (m->uuid),
                "medium %zu", i);
    fz_require (!m->parent || (is_medium (box, m->parent) && m->parent < m),
                "medium %zu: the parent", i);
    fz_require (vd_vbox_medium (box, m->uuid) == m, "medium %zu is there "
                "twice", i);
    bases += !m->parent;
    children += m->nr_children;
  }
  fz_require (children + bases == box->nr_media, "%zu media, %zu bases, %zu "
              "children", box->nr_media, bases, children);
  for (i = 0; i < box->nr_snapshots; ++i) {
    const struct vd_vbox_snapshot *s = &box->snapshots[i];

    fz_require (s->name && s->time, "snapshot %zu", i);
    fz_require (s->parent ? s->parent >= box->snapshots && s->parent < s &&
                s->depth == s->parent->depth + 1 : s->depth == 0,
                "snapshot %zu: the parent", i);
    fz_require (vd_vbox_snapshot (box, s->uuid) == s, "snapshot %zu is there "
                "twice", i);
    check_state (box, &s->state);
  }
  check_state (box, &box->current);
}

static void
check_views (const struct vd_vbox *box)
{
  struct vd_vbox_views views = { .n = 0 };
  struct vd_err err;
  size_t i, k;

  fz_clear (&err);
  if (vd_vbox_views (box, &views, &err) == -1)
    fz_check_err (&err);
  for (i = 0; i < views.n; ++i) {
    const struct vd_vbox_view *v = &views.view[i];

    fz_require (v->name && *v->name && is_medium (box, v->medium) &&
                v->disk == vd_vbox_disk (v->medium), "view %zu", i);
    for (k = 0; k < i && views.n < 200; ++k)
      fz_require (strcmp (views.view[k].name, v->name) != 0,
                  "two views are called %s", v->name);
    if (i < 20)
      fz_require (vd_vbox_find_view (box, &views, v->name, &err) == v,
                  "view %s is not found by its name", v->name);
  }
  vd_vbox_views_free (&views);
}

/* An edit fails, or leads to a file that can be read; what it was not about
 * is the same (vd_vbox_edit compares; here a simple case is looked at).
 */
static void
check_edit (const struct vd_vbox *box)
{
  struct vd_vbox_change change = { .kind = VD_VBOX_MOVE_MEDIUM };
  const struct vd_vbox_medium *m;
  struct vd_vbox *after;
  struct vd_err err;
  char *text = NULL;
  size_t len = 0;

  if (box->nr_media == 0)
    return;
  m = &box->media[fz_choose (1, box->nr_media)];
  switch (fz_choose (2, 4)) {
  case 0:
    change.location = "a<b&\"c'.vdi";
    break;
  case 1:
    change.kind = VD_VBOX_REMOVE_MEDIUM;
    break;
  case 2:
    change.kind = VD_VBOX_ADD_MEDIUM;
    memcpy (change.to, m->uuid, 16);
    change.location = "n\303\251w.vdi";
    change.format = "VDI";
    break;
  default:
    change.kind = VD_VBOX_REMOVE_SNAPSHOT;
    if (box->nr_snapshots == 0)
      return;
  }
  memcpy (change.uuid, change.kind == VD_VBOX_REMOVE_SNAPSHOT
          ? box->snapshots[fz_choose (3, box->nr_snapshots)].uuid : m->uuid,
          16);
  if (change.kind == VD_VBOX_ADD_MEDIUM)
    change.uuid[0] = (uint8_t) ~change.uuid[0];

  fz_clear (&err);
  if (vd_vbox_edit (box, &change, 1, &text, &len, &err) == -1) {
    fz_check_err (&err);
    return;
  }
  fz_require (text && text[len] == '\0', "the text has no end");
  after = vd_vbox_parse (box->path, text, len, &err);
  fz_require (after, "the edited file cannot be read: %s", err.msg);
  check_tree (after);
  switch (change.kind) {
  case VD_VBOX_MOVE_MEDIUM:
    fz_require (after->nr_media == box->nr_media &&
                strcmp (vd_vbox_medium (after, m->uuid)->location,
                        change.location) == 0, "it was not moved");
    break;
  case VD_VBOX_REMOVE_MEDIUM:
    fz_require (after->nr_media == box->nr_media - 1 &&
                !vd_vbox_medium (after, m->uuid), "it was not removed");
    break;
  case VD_VBOX_ADD_MEDIUM:
    fz_require (after->nr_media == box->nr_media + 1 &&
                vd_vbox_medium (after, change.uuid)->parent ==
                vd_vbox_medium (after, m->uuid), "it was not added");
    break;
  default:
    fz_require (after->nr_snapshots == box->nr_snapshots - 1,
                "the snapshot is there");
  }
  vd_vbox_free (after);
  free (text);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  struct vd_vbox *box;
  struct vd_err err;

  fz_load (data, n);
  fz_clear (&err);
  box = vd_vbox_parse ("m.vbox", n > 0 ? (const char *) data : "", n, &err);
  if (!box) {
    fz_check_err (&err);
    return 0;
  }
  check_tree (box);
  check_views (box);
  fz_clear (&err);
  if (vd_vbox_check_registry (box, &err) == -1)
    fz_check_err (&err);
  check_edit (box);
  vd_vbox_free (box);
  return 0;
}
