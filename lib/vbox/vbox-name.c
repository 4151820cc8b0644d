/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the disks of a VirtualBox machine, and their states, are called; see
 * vbox.h.
 *
 * Names become names of exports.  So each is unique, short enough for NBD,
 * and free of what cannot be typed: where a name in the file is not, the next
 * of several ways to say the same is taken, and in the end a UUID.
 */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "vbox/vbox-read.h"

/* Of a disk's or snapshot's name: NBD allows 4096 bytes for both and "@". */
#define MAX_NAME 255

static bool
is_usable (const char *name)
{
  char safe[4 * MAX_NAME + 1];
  uint8_t uuid[16];

  if (!*name || strlen (name) > MAX_NAME || vd_vbox_parse_uuid (name, uuid))
    return false;
  vd_escape (safe, sizeof safe, name);
  return strcmp (name, safe) == 0;
}

static char *
braced (const uint8_t uuid[16])
{
  char text[VD_UUID_TEXT], *name;

  return asprintf (&name, "{%s}", vd_uuid_text (text, uuid)) == -1 ? NULL
    : name;
}

/* ---- Disks -------------------------------------------------------------- */

#define NR_FORMS 3

/* One of the ways to call a disk: without ending, with it, with directory. */
static char *
disk_form (const struct vd_vbox_medium *disk, unsigned form)
{
  const char *name = disk->location, *p, *dot;

  if (form < 2)
    for (p = name; *p; ++p)
      if (*p == '/' || *p == '\\')
        name = p + 1;
  dot = strrchr (name, '.');
  return form == 0 && dot && dot > name
    ? strndup (name, (size_t) (dot - name)) : strdup (name);
}

/* Is no other disk called that in any way? */
static bool
is_only (const struct vd_vbox *box, const struct vd_vbox_medium *disk,
         const char *name, bool *nomem)
{
  bool same = false;
  unsigned form;
  size_t i;

  for (i = 0; i < box->nr_media && !same; ++i)
    for (form = 0; form < NR_FORMS && !same; ++form) {
      const struct vd_vbox_medium *m = &box->media[i];
      CLEANUP_FREE char *other = NULL;

      if (m->parent || m == disk)
        break;
      other = disk_form (m, form);
      *nomem = *nomem || !other;
      same = !other || strcmp (other, name) == 0;
    }
  return !same;
}

char *
vd_vbox_disk_name (const struct vd_vbox *box,
                   const struct vd_vbox_medium *disk, struct vd_err *err)
{
  bool nomem = false;
  char *name = NULL;
  unsigned form;

  for (form = 0; form < NR_FORMS && !nomem; ++form) {
    name = disk_form (disk, form);
    if (!name || (is_usable (name) && is_only (box, disk, name, &nomem)))
      break;
    free (VD_TAKE (name));
  }
  if (form == NR_FORMS && !nomem)
    name = braced (disk->uuid);
  if (!name)
    vd_fail_nomem (err);
  return name;
}

/* ---- Views -------------------------------------------------------------- */

void
vd_vbox_views_free (struct vd_vbox_views *views)
{
  size_t i;

  for (i = 0; i < views->n; ++i)
    free (views->view[i].name);
  for (i = 0; i < views->nr_disks; ++i)
    free (views->disk_names[i]);
  free (views->view);
  free (views->disk_names);
  *views = (struct vd_vbox_views) { .n = 0 };
}

/* The view's name, in one of the ways to say it. */
static char *
view_form (const struct vd_vbox_view *v, unsigned form)
{
  const struct vd_vbox_snapshot *s = v->snapshot;
  char *name = NULL;

  if (!v->attachment || form == 2)
    return braced (v->medium->uuid);
  if (!s)
    return strdup (v->disk_name);
  if (form == 0 && is_usable (s->name)) {
    if (asprintf (&name, "%s@%s", v->disk_name, s->name) == -1)
      return NULL;
  }
  else {
    CLEANUP_FREE char *uuid = braced (s->uuid);

    if (!uuid || asprintf (&name, "%s@%s", v->disk_name, uuid) == -1)
      return NULL;
  }
  return name;
}

/* By disks; for adding, and for the order. */
struct gather {
  const struct vd_vbox *box;
  struct vd_vbox_views *views;
  size_t *disk_of;              /* a medium's disk: its number */
  bool *used;                   /* the medium is attached somewhere */
};

static int
add_view (struct gather *g, size_t disk, const struct vd_vbox_medium *medium,
          const struct vd_vbox_snapshot *s,
          const struct vd_vbox_attachment *a, struct vd_err *err)
{
  struct vd_vbox_views *views = g->views;
  struct vd_vbox_view *v = vd_one_more (views->view, views->n, sizeof *v);

  if (!v)
    return vd_fail_nomem (err);
  views->view = v;
  v += views->n;
  *v = (struct vd_vbox_view) {
    .medium = medium, .disk = vd_vbox_disk (medium),
    .disk_name = views->disk_names[disk],
    .snapshot = s, .attachment = a, .current = a && !s,
  };
  v->name = view_form (v, 0);
  if (!v->name)
    return vd_fail_nomem (err);
  views->n++;
  return 0;
}

static int
add_state (struct gather *g, size_t disk, const struct vd_vbox_snapshot *s,
           struct vd_err *err)
{
  const struct vd_vbox_state *state = vd_vbox_state (g->box, s);
  size_t i;

  for (i = 0; i < state->n; ++i) {
    const struct vd_vbox_attachment *a = &state->attached[i];

    if (a->medium && g->disk_of[a->medium - g->box->media] == disk &&
        add_view (g, disk, a->medium, s, a, err) == -1)
      return -1;
  }
  return 0;
}

static int
add_disk (struct gather *g, size_t disk, struct vd_err *err)
{
  const struct vd_vbox *box = g->box;
  size_t i;

  if (add_state (g, disk, NULL, err) == -1)
    return -1;
  for (i = 0; i < box->nr_snapshots; ++i)
    if (add_state (g, disk, &box->snapshots[i], err) == -1)
      return -1;
  for (i = 0; i < box->nr_media; ++i)
    if (!g->used[i] && g->disk_of[i] == disk &&
        add_view (g, disk, &box->media[i], NULL, NULL, err) == -1)
      return -1;
  return 0;
}

static void
mark_used (struct gather *g, const struct vd_vbox_state *state)
{
  size_t i;

  for (i = 0; i < state->n; ++i)
    if (state->attached[i].medium)
      g->used[state->attached[i].medium - g->box->media] = true;
}

static int
gather (struct gather *g, struct vd_err *err)
{
  const struct vd_vbox *box = g->box;
  struct vd_vbox_views *views = g->views;
  size_t i, disks = 0;

  views->disk_names = calloc (box->nr_media + 1, sizeof *views->disk_names);
  if (!g->disk_of || !g->used || !views->disk_names)
    return vd_fail_nomem (err);
  for (i = 0; i < box->nr_media; ++i) {
    const struct vd_vbox_medium *m = &box->media[i];

    g->disk_of[i] = m->parent ? g->disk_of[m->parent - box->media] : disks;
    if (m->parent)
      continue;
    views->disk_names[disks] = vd_vbox_disk_name (box, m, err);
    if (!views->disk_names[disks])
      return -1;
    views->nr_disks = ++disks;
  }
  mark_used (g, &box->current);
  for (i = 0; i < box->nr_snapshots; ++i)
    mark_used (g, &box->snapshots[i].state);
  for (i = 0; i < disks; ++i)
    if (add_disk (g, i, err) == -1)
      return -1;
  return 0;
}

static int
compare_views (const void *a, const void *b)
{
  const struct vd_vbox_view *const *v = a, *const *w = b;
  const int r = strcmp ((*v)->name, (*w)->name);

  return r ? r : (*v > *w) - (*v < *w);
}

/* Give all that share a name the next form of theirs; *again if there were
 * such.  In the last round the first keeps it and the others lose theirs.
 */
static int
rename_same (struct vd_vbox_view **sorted, size_t n, unsigned form,
             struct vd_err *err)
{
  size_t i, k, end;

  qsort (sorted, n, sizeof *sorted, compare_views);
  for (i = 0; i < n; i = end) {
    for (end = i + 1;
         end < n && strcmp (sorted[i]->name, sorted[end]->name) == 0; ++end)
      ;
    if (end == i + 1)
      continue;
    for (k = i; k < end; ++k) {
      if (form == NR_FORMS) {
        if (k > i)
          *sorted[k]->name = '\0';
        continue;
      }
      /* sorted[end] is compared with sorted[i] no more. */
      free (sorted[k]->name);
      sorted[k]->name = view_form (sorted[k], form);
      if (!sorted[k]->name)
        return vd_fail_nomem (err);
    }
  }
  return 0;
}

/* Names that are unique; views that could have none (the same medium twice in
 * one state) go.
 */
static int
make_unique (struct vd_vbox_views *views, struct vd_err *err)
{
  CLEANUP_FREE struct vd_vbox_view **sorted
    = calloc (views->n + 1, sizeof *sorted);
  unsigned form;
  size_t i, n = 0;

  if (!sorted)
    return vd_fail_nomem (err);
  for (i = 0; i < views->n; ++i)
    sorted[i] = &views->view[i];
  for (form = 1; form <= NR_FORMS; ++form)
    if (rename_same (sorted, views->n, form, err) == -1)
      return -1;
  for (i = 0; i < views->n; ++i) {
    if (!*views->view[i].name)
      free (views->view[i].name);
    else
      views->view[n++] = views->view[i];
  }
  views->n = n;
  return 0;
}

int
vd_vbox_views (const struct vd_vbox *box, struct vd_vbox_views *views,
               struct vd_err *err)
{
  CLEANUP_FREE size_t *disk_of = calloc (box->nr_media + 1, sizeof *disk_of);
  CLEANUP_FREE bool *used = calloc (box->nr_media + 1, sizeof *used);
  struct gather g = {
    .box = box, .views = views, .disk_of = disk_of, .used = used,
  };

  *views = (struct vd_vbox_views) { .n = 0 };
  if (gather (&g, err) == 0 && make_unique (views, err) == 0)
    return 0;
  vd_vbox_views_free (views);
  return -1;
}
