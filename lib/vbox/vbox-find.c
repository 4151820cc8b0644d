/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding a disk, or a state of it, by what a user calls it; see vbox.h. */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "vbox/vbox-read.h"

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
