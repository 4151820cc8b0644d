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

#include "base/array.h"
#include "base/cleanup.h"
#include "base/uuid.h"
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
  struct vd_vbox_view *v = vd_grow (views->view, views->n, sizeof *v, err);

  if (!v)
    return -1;
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
    if (!g->used[i] && g->disk_of[i] == disk && !box->media[i].foreign &&
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

/* ---- Finding one by its name --------------------------------------------- */

/* The first n bytes of name are "CONTROLLER-PORT-DEVICE". */
static bool
is_slot (const struct vd_vbox_attachment *a, const char *name, size_t n)
{
  char numbers[32];
  const size_t len = strlen (a->controller);
  const int m = snprintf (numbers, sizeof numbers, "-%u-%u", a->port,
                          a->device);

  return n == len + (size_t) m && strncasecmp (name, a->controller, len) == 0 &&
    strncmp (name + len, numbers, (size_t) m) == 0;
}

static bool
is_uuid (const char *name, const uint8_t uuid[16])
{
  uint8_t u[16];

  return vd_vbox_parse_uuid (name, u) && memcmp (u, uuid, 16) == 0;
}

static bool
is_snapshot (const struct vd_vbox_snapshot *s, const char *name)
{
  return s && (strcmp (s->name, name) == 0 || is_uuid (name, s->uuid));
}

static bool
is_disk (const struct vd_vbox_view *v, const char *name, size_t n)
{
  return (strlen (v->disk_name) == n &&
          strncmp (v->disk_name, name, n) == 0) ||
    (v->attachment && is_slot (v->attachment, name, n));
}

static bool
matches (const struct vd_vbox_view *v, const char *name)
{
  const char *p;

  if (is_uuid (name, v->medium->uuid) || is_snapshot (v->snapshot, name) ||
      (v->current && is_disk (v, name, strlen (name))))
    return true;
  /* Any of the @ may be the one. */
  for (p = strchr (name, '@'); p; p = strchr (p + 1, '@'))
    if (is_disk (v, name, (size_t) (p - name)) &&
        is_snapshot (v->snapshot, p + 1))
      return true;
  return false;
}

/* For messages: a few names, and how many more there are. */
struct names {
  char text[1024];
  size_t n, more;
};

static void
add_name (struct names *names, const char *name)
{
  const size_t len = strlen (names->text);

  if (len + strlen (name) + 3 > sizeof names->text - 200) {
    names->more++;
    return;
  }
  snprintf (&names->text[len], sizeof names->text - len, "%s%s",
            names->n++ > 0 ? ", " : "", name);
}

static const char *
all_names (struct names *names)
{
  const size_t len = strlen (names->text);

  if (names->more > 0)
    snprintf (&names->text[len], sizeof names->text - len,
              " and %zu more", names->more);
  return names->text;
}

static const struct vd_vbox_view *
find_default (const struct vd_vbox *box, const struct vd_vbox_views *views,
              struct vd_err *err)
{
  struct names names = { .n = 0 };
  const struct vd_vbox_view *found = NULL;
  size_t i;

  for (i = 0; i < views->n; ++i)
    if (views->view[i].current) {
      found = &views->view[i];
      add_name (&names, found->name);
    }
  if (found && names.n + names.more == 1)
    return found;
  if (found)
    vd_fail (err, VD_USAGE, "the machine '%.100s' has several disks: name one "
             "of %s", box->name, all_names (&names));
  else
    vd_fail (err, VD_NOT_FOUND, "the machine '%.100s' has no disk attached "
             "now", box->name);
  return NULL;
}

const struct vd_vbox_view *
vd_vbox_find_view (const struct vd_vbox *box,
                   const struct vd_vbox_views *views, const char *name,
                   struct vd_err *err)
{
  const struct vd_vbox_view *found = NULL, *v;
  struct names names = { .n = 0 };
  bool several = false;
  size_t i;

  if (*name == '\0')
    return find_default (box, views, err);
  for (i = 0; i < views->n; ++i)
    if (strcmp (views->view[i].name, name) == 0)
      return &views->view[i];
  for (i = 0; i < views->n; ++i) {
    v = &views->view[i];
    if (!matches (v, name))
      continue;
    /* One medium in several states is the same disk content. */
    several = several || (found && found->medium != v->medium);
    if (!found)
      found = v;
    add_name (&names, v->name);
  }
  if (several) {
    vd_fail (err, VD_USAGE, "'%.255s' could be each of %s in the machine "
             "'%.100s': name one of them", name, all_names (&names),
             box->name);
    return NULL;
  }
  if (!found)
    vd_fail (err, VD_NOT_FOUND, "there is no disk or snapshot '%.255s' in the "
             "machine '%.100s'", name, box->name);
  return found;
}

/* Is it the disk of that UUID, or the one attached there? */
static bool
disk_matches (const struct vd_vbox *box, const struct vd_vbox_medium *disk,
              const char *name)
{
  uint8_t uuid[16];
  size_t i;

  if (vd_vbox_parse_uuid (name, uuid)) {
    const struct vd_vbox_medium *m = vd_vbox_medium (box, uuid);

    if (m && vd_vbox_disk (m) == disk)
      return true;
  }
  for (i = 0; i < box->current.n; ++i) {
    const struct vd_vbox_attachment *a = &box->current.attached[i];

    if (a->medium && vd_vbox_disk (a->medium) == disk &&
        is_slot (a, name, strlen (name)))
      return true;
  }
  return false;
}

const struct vd_vbox_medium *
vd_vbox_find_disk (const struct vd_vbox *box, const char *name,
                   struct vd_err *err)
{
  const struct vd_vbox_medium *found = NULL;
  struct names names = { .n = 0 }, all = { .n = 0 };
  size_t i;

  for (i = 0; i < box->nr_media; ++i) {
    const struct vd_vbox_medium *disk = &box->media[i];
    CLEANUP_FREE char *own = NULL;

    if (disk->parent)
      continue;
    own = vd_vbox_disk_name (box, disk, err);
    if (!own)
      return NULL;
    add_name (&all, own);
    /* The name of one may be where another is attached. */
    if (name && strcmp (own, name) == 0)
      return disk;
    if (name ? disk_matches (box, disk, name)
        : vd_vbox_attached (&box->current, disk) != NULL) {
      found = disk;
      add_name (&names, own);
    }
  }
  if (found && names.n + names.more == 1)
    return found;
  if (found && name)
    vd_fail (err, VD_USAGE, "'%.255s' could be each of %s in the machine "
             "'%.100s': name one of them", name, all_names (&names),
             box->name);
  else if (found)
    vd_fail (err, VD_USAGE, "the machine '%.100s' has several disks: name one "
             "of %s", box->name, all_names (&names));
  else if (all.n == 0)
    vd_fail (err, VD_NOT_FOUND, "the machine '%.100s' has no disk in its "
             "media registry", box->name);
  else if (name)
    vd_fail (err, VD_NOT_FOUND, "the machine '%.100s' has no disk '%.255s'; it "
             "has %s", box->name, name, all_names (&all));
  else
    vd_fail (err, VD_NOT_FOUND, "the machine '%.100s' has no disk attached "
             "now; it has %s", box->name, all_names (&all));
  return NULL;
}
