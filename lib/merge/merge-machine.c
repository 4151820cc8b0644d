/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Merging the disks of a VirtualBox machine, and its machine file.
 *
 * A snapshot is lost for a disk when the image that it froze is merged into,
 * or merged away and not the newest that is; the newest merged one lives on in
 * the target, which takes its place in all states.  A snapshot that is lost for
 * all of its disks goes; one that others still need stays, without this disk.
 *
 * As in VirtualBox, disks that have no states (writethrough and the like) keep
 * no snapshot alive, and stay attached in one that remains.  Disks on an
 * immutable or multi-attach base are left alone.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "file/scandir.h"
#include "merge/merge-private.h"

/* The number of the link of a disk's chain with this UUID, or -1. */
static long
link_number (const struct vd_merge_disk *d, const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < d->chain->nr_links; ++i)
    if (memcmp (d->chain->links[i]->id.image, uuid, 16) == 0)
      return (long) i;
  return -1;
}

static struct vd_merge_disk *
find_disk (const struct vd_merge *m, const struct vd_vbox_medium *disk)
{
  size_t i;

  for (i = 0; i < m->nr_disks; ++i)
    if (m->disk[i].medium == disk)
      return &m->disk[i];
  return NULL;
}

bool
vd_merge_is_there (const struct vd_merge *m, const struct vd_vbox_medium *medium)
{
  CLEANUP_FREE char *path = NULL, *dir
    = vd_directory_of (medium->foreign ? m->registry_path : m->box_path);

  if (*medium->location == '/')
    return access (medium->location, F_OK) == 0;
  if (!dir || asprintf (&path, "%s/%s", dir, medium->location) == -1)
    path = NULL;
  return path && access (path, F_OK) == 0;
}

const struct vd_vbox_medium *
vd_merge_registered_child (const struct vd_merge *m,
                           const struct vd_merge_disk *d, size_t from,
                           size_t last, size_t *k)
{
  const struct vd_vbox_medium *found = NULL;
  size_t i;

  for (i = 0; i < m->box->nr_media; ++i) {
    const struct vd_vbox_medium *c = &m->box->media[i];
    const long n = c->parent ? link_number (d, c->parent->uuid) : -1;

    if (n == -1 || link_number (d, c->uuid) != -1 || (size_t) n < from ||
        (size_t) n > last || (found && (size_t) n >= *k))
      continue;
    found = c;
    *k = (size_t) n;
  }
  return found;
}

/* The registry may know of children whose files are elsewhere. */
static int
check_branches (const struct vd_merge *m, const struct vd_merge_disk *d,
                struct vd_err *err)
{
  CLEANUP_FREE char *other = NULL;
  size_t i;

  for (i = 0; i < m->box->nr_media; ++i) {
    const struct vd_vbox_medium *c = &m->box->media[i];
    const long n = c->parent ? link_number (d, c->parent->uuid) : -1;
    const size_t k = (size_t) n;

    if (n == -1 || link_number (d, c->uuid) != -1)
      continue;
    if (k > d->first + d->nr || (k < d->first && !(k <= 1 && d->discard)))
      continue;
    if (asprintf (&other, "%s (in the registry of the machine)",
                  c->location) == -1) {
      other = NULL;
      return vd_fail_nomem (err);
    }
    return vd_merge_fail_branch (m, d, k, k > 0
                                 ? d->chain->links[k - 1]->path
                                 : "the current state", other, c->uuid, err);
  }
  return 0;
}

/* A state that has two media of the disk would show another content where the
 * older one is.
 */
static int
check_attached_once (const struct vd_merge *m, const struct vd_merge_disk *d,
                     const struct vd_vbox_snapshot *s, struct vd_err *err)
{
  const struct vd_vbox_state *state = vd_vbox_state (m->box, s);
  const struct vd_vbox_medium *first = vd_vbox_attached (state, d->medium);
  size_t i;

  for (i = 0; i < state->n; ++i) {
    const struct vd_vbox_medium *other = state->attached[i].medium;

    if (other && other != first && vd_vbox_disk (other) == d->medium)
      return vd_fail (err, VD_UNSUPPORTED, "%s: %.255s and %.255s, which are "
                      "states of one disk, are both attached in %s%.100s: "
                      "merging would change one of them.  Detach one first; "
                      "nothing was written", m->given, first->location,
                      other->location,
                      s ? "snapshot " : "the current state",
                      s ? s->name : "");
  }
  return 0;
}

static int
find_lost (const struct vd_merge *m, struct vd_merge_disk *d,
           struct vd_err *err)
{
  const struct vd_vbox *box = m->box;
  size_t s;

  d->lost = calloc (box->nr_snapshots + 1, sizeof *d->lost);
  if (!d->lost)
    return vd_fail_nomem (err);
  if (d->nr == 0 && !d->discard)
    return 0;
  if (check_attached_once (m, d, NULL, err) == -1)
    return -1;
  for (s = 0; s < box->nr_snapshots; ++s) {
    const struct vd_vbox_medium *medium
      = vd_vbox_attached (&box->snapshots[s].state, d->medium);
    const long n = medium ? link_number (d, medium->uuid) : -1;
    const size_t k = (size_t) n;

    if (check_attached_once (m, d, &box->snapshots[s], err) == -1)
      return -1;
    if (n == -1)
      continue;
    d->lost[s] = d->nr > 0 && k > d->first && k <= d->first + d->nr;
    /* What the machine goes on writing to is no snapshot any more. */
    if (k == d->discard && !m->how.snapshot)
      d->lost[s] = true;
  }
  return 0;
}

static int
find_removed (struct vd_merge *m, struct vd_err *err)
{
  const struct vd_vbox *box = m->box;
  size_t s, i;

  m->removed = calloc (box->nr_snapshots + 1, sizeof *m->removed);
  if (!m->removed)
    return vd_fail_nomem (err);
  for (s = 0; s < box->nr_snapshots; ++s) {
    const struct vd_vbox_state *state = &box->snapshots[s].state;
    bool lost = false, needed = false;

    for (i = 0; i < state->n; ++i) {
      const struct vd_vbox_medium *medium = state->attached[i].medium;
      const struct vd_merge_disk *d
        = medium ? find_disk (m, vd_vbox_disk (medium)) : NULL;

      if (medium && !vd_vbox_has_states (medium))
        continue;
      if (d && d->lost[s])
        lost = true;
      else
        needed = true;
    }
    m->removed[s] = lost && !needed;
    if (lost && needed)
      vd_warn (&m->opts.log, "snapshot '%s' stays, because other disks need "
               "it, but without the disk that is merged",
               box->snapshots[s].name);
    if (lost && box->snapshots[s].state_file)
      vd_warn (&m->opts.log, "the saved memory of snapshot '%s', %s, is of no "
               "use any more", box->snapshots[s].name,
               box->snapshots[s].state_file);
  }
  return 0;
}

static int
add_disk (struct vd_merge *m, const struct vd_vbox_medium *top,
          bool selected, struct vd_err *err)
{
  const struct vd_vbox_medium *base = vd_vbox_disk (top);
  struct vd_merge_disk *d = &m->disk[m->nr_disks];

  d->medium = base;
  d->left_alone = !selected;
  m->nr_disks++;
  d->name = vd_vbox_disk_name (m->box, base, err);
  if (!d->name)
    return -1;
  d->top = vd_vbox_add_chain (m->box, top, m->family, err);
  if (!d->top || vd_merge_plan_disk (m, d, err) == -1 ||
      ((d->nr > 0 || d->discard) && check_branches (m, d, err) == -1))
    return -1;
  return find_lost (m, d, err);
}

/* A disk that is attached now: is it merged, or only gets a new child, or has
 * nothing to do with any of it?
 */
static int
take_disk (struct vd_merge *m, const struct vd_vbox_medium *top,
           const struct vd_vbox_medium *only, struct vd_err *err)
{
  const struct vd_vbox_medium *base = vd_vbox_disk (top);
  bool selected = !only || base == only;

  if (find_disk (m, base))
    return 0;
  if (selected && !vd_vbox_is_normal (base)) {
    if (only)
      return vd_fail (err, VD_UNSUPPORTED, "%s is of type %s: only disks of "
                      "type Normal are merged", base->location, base->type);
    if (vd_vbox_has_states (base))
      vd_warn (&m->opts.log, "%s is of type %s and is not merged: snapshots "
               "which have it stay", base->location, base->type);
    selected = false;
  }
  if (!selected && !(m->how.snapshot && vd_vbox_has_states (base)))
    return 0;
  return add_disk (m, top, selected, err);
}

static bool
any_work (const struct vd_merge *m)
{
  size_t i;

  for (i = 0; i < m->nr_disks; ++i)
    if (m->disk[i].nr > 0 || m->disk[i].discard || m->how.snapshot)
      return true;
  return false;
}

/* ---- The new text -------------------------------------------------------- */

struct changes {
  struct vd_vbox_change *c;
  size_t n;
};

static struct vd_vbox_change *
add (struct changes *l, enum vd_vbox_change_kind kind,
     const uint8_t uuid[16])
{
  struct vd_vbox_change *c = &l->c[l->n++];

  *c = (struct vd_vbox_change) { .kind = kind };
  memcpy (c->uuid, uuid, 16);
  return c;
}

/* What a state that has link k shall have. */
static size_t
mapped (const struct vd_merge_disk *d, size_t k)
{
  if (d->discard && k == 0)
    k = 1;
  return d->nr > 0 && k == d->first ? d->first + d->nr : k;
}

static void
change_state (const struct vd_merge_disk *d, const struct vd_vbox_state *state,
              const uint8_t *snapshot, bool lost, struct changes *l)
{
  const struct vd_vbox_medium *medium = vd_vbox_attached (state, d->medium);
  const long n = medium ? link_number (d, medium->uuid) : -1;
  struct vd_vbox_change *c;
  size_t to;

  if (n == -1)
    return;
  to = mapped (d, (size_t) n);
  if (!lost && to == (size_t) n)
    return;
  c = add (l, lost ? VD_VBOX_DETACH : VD_VBOX_ATTACH, medium->uuid);
  memcpy (c->to, d->chain->links[to]->id.image, 16);
  if (snapshot)
    memcpy (c->snapshot, snapshot, 16);
}

/* The new machine file and, if its media are listed in another, that. */
struct texts {
  char *text[2];                /* to be freed; the second NULL: there is none */
  size_t len[2];
};

static void
free_texts (struct texts *t)
{
  free (t->text[0]);
  free (t->text[1]);
}

static int
edit_both (const struct vd_vbox *box, const struct changes *l,
           struct texts *t, struct vd_err *err)
{
  *t = (struct texts) { .len = { 0, 0 } };
  if (vd_vbox_edit (box, l->c, l->n, &t->text[0], &t->len[0], err) == -1)
    return -1;
  return box->registry
    ? vd_vbox_edit_registry (box, l->c, l->n, &t->text[1], &t->len[1], err)
    : 0;
}

static int
edit_dropped (const struct vd_merge *m, struct texts *t, struct vd_err *err)
{
  const struct vd_vbox *box = m->box;
  CLEANUP_FREE struct vd_vbox_change *room
    = calloc (box->nr_snapshots + m->nr_dropped + 1, sizeof *room);
  struct changes l = { .c = room };
  size_t i;

  if (!room)
    return vd_fail_nomem (err);
  for (i = 0; i < box->nr_snapshots; ++i)
    if (m->removed[i])
      add (&l, VD_VBOX_REMOVE_SNAPSHOT, box->snapshots[i].uuid);
  for (i = 0; i < m->nr_dropped; ++i)
    add (&l, VD_VBOX_REMOVE_MEDIUM, m->dropped[i].medium->uuid);
  return edit_both (box, &l, t, err);
}

static int
edit_merged (const struct vd_merge *m, struct texts *t, struct vd_err *err)
{
  const struct vd_vbox *box = m->box;
  const size_t max = m->nr_disks * (box->nr_snapshots + VD_MAX_LINKS + 2) +
    box->nr_snapshots;
  CLEANUP_FREE struct vd_vbox_change *room = calloc (max, sizeof *room);
  struct changes l = { .c = room };
  size_t i, k, s;

  if (!room)
    return vd_fail_nomem (err);
  for (i = 0; i < m->nr_disks; ++i) {
    const struct vd_merge_disk *d = &m->disk[i];

    if (d->discard)
      add (&l, VD_VBOX_REMOVE_MEDIUM, d->chain->links[0]->id.image);
    for (k = 0; k < d->nr; ++k)
      add (&l, VD_VBOX_REMOVE_MEDIUM,
           d->chain->links[d->first + k]->id.image);
    change_state (d, &box->current, NULL, false, &l);
    for (s = 0; s < box->nr_snapshots; ++s)
      if (!m->removed[s])
        change_state (d, &box->snapshots[s].state, box->snapshots[s].uuid,
                      d->lost[s], &l);
  }
  for (s = 0; s < box->nr_snapshots; ++s)
    if (m->removed[s])
      add (&l, VD_VBOX_REMOVE_SNAPSHOT, box->snapshots[s].uuid);
  return edit_both (box, &l, t, err);
}

/* A location as VirtualBox would write it in the file that lists it. */
static const char *
location_of (const struct vd_merge *m, const struct vd_merge_disk *d,
             const char *path)
{
  const char *list = d->medium->foreign ? m->registry_path : m->box_path;
  const char *slash = strrchr (list, '/');
  const size_t n = (size_t) (slash - list);

  return strncmp (path, list, n) == 0 && path[n] == '/'
    ? path + n + 1 : path;
}

/* Both files, as they are when all is merged. */
static struct vd_vbox *
parse_merged (const struct vd_merge *m, const struct texts *old,
              struct vd_err *err)
{
  struct vd_vbox *box
    = vd_vbox_parse (m->box->path, old->text[0], old->len[0], err);
  struct vd_vbox *registry;

  if (!box || !old->text[1])
    return box;
  registry = vd_vbox_parse_registry (m->box->registry->path, old->text[1],
                                     old->len[1], err);
  if (registry && vd_vbox_add_registry (box, registry, err) == 0)
    return box;
  vd_vbox_free (box);
  return NULL;
}

static int
edit_snapshot (const struct vd_merge *m, const struct texts *old,
               struct texts *t, struct vd_err *err)
{
  CLEANUP_FREE struct vd_vbox_change *room
    = calloc (m->nr_disks * 2 + 1, sizeof *room);
  struct vd_vbox *box = parse_merged (m, old, err);
  struct changes l = { .c = room };
  struct vd_vbox_change *c;
  char now[32];
  time_t seconds = time (NULL);
  struct tm tm;
  size_t i;
  int r;

  if (!box)
    return -1;
  if (!room) {
    vd_vbox_free (box);
    return vd_fail_nomem (err);
  }
  for (i = 0; i < m->nr_disks; ++i) {
    const struct vd_merge_disk *d = &m->disk[i];
    const uint8_t *top = d->chain->links[mapped (d, 0)]->id.image;

    c = add (&l, VD_VBOX_ADD_MEDIUM, d->new_uuid);
    memcpy (c->to, top, 16);
    c->location = location_of (m, d, d->new_child);
    c->format = d->chain->links[0]->descriptor ? "VMDK" : "VDI";
    c->auto_reset = d->medium->type &&
      strcasecmp (d->medium->type, "Immutable") == 0;
    c = add (&l, VD_VBOX_ATTACH, top);
    memcpy (c->to, d->new_uuid, 16);
  }
  gmtime_r (&seconds, &tm);
  strftime (now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &tm);
  c = add (&l, VD_VBOX_ADD_SNAPSHOT, m->new_snapshot);
  c->name = m->how.snapshot_name ? m->how.snapshot_name : "merged";
  c->time = now;
  r = edit_both (box, &l, t, err);
  vd_vbox_free (box);
  return r;
}

static int
new_texts (const struct vd_merge *m, struct texts *t, struct vd_err *err)
{
  VD_CLEANUP (free_texts) struct texts merged = { .len = { 0, 0 } };

  if (m->how.drop)
    return edit_dropped (m, t, err);
  if (!m->how.snapshot)
    return edit_merged (m, t, err);
  *t = (struct texts) { .len = { 0, 0 } };
  if (edit_merged (m, &merged, err) == -1)
    return -1;
  return edit_snapshot (m, &merged, t, err);
}

static int
replace_step (const struct vd_vbox *box, const char *path, char **text,
              size_t len, struct vd_journal *j, struct vd_err *err)
{
  struct vd_step s = {
    .kind = VD_STEP_REPLACE, .prev = true, .old_len = box->len,
    .new_len = len,
  };
  struct stat st;

  if (lstat (path, &st) == -1)
    return vd_fail_errno (err, errno, "%s", path);
  s.ino = st.st_ino;
  s.dev = st.st_dev;
  s.new_data = (uint8_t *) VD_TAKE (*text);
  s.path = strdup (path);
  s.old_data = malloc (box->len + 1);
  if (s.old_data)
    memcpy (s.old_data, box->text, box->len);
  else
    free (VD_TAKE (s.path));    /* vd_journal_add says what is missing */
  return vd_journal_add (j, &s, err);
}

int
vd_merge_machine_steps (struct vd_merge *m, struct vd_journal *j,
                        struct vd_err *err)
{
  VD_CLEANUP (free_texts) struct texts t = { .len = { 0, 0 } };

  if (new_texts (m, &t, err) == -1 ||
      replace_step (m->box, m->box_path, &t.text[0], t.len[0], j, err) == -1)
    return -1;
  return m->registry_path
    ? replace_step (m->box->registry, m->registry_path, &t.text[1], t.len[1],
                    j, err) : 0;
}

/* The full names of the files that are replaced. */
static int
name_files (struct vd_merge *m, struct vd_err *err)
{
  m->box_path = strdup (m->top);
  if (!m->box_path)
    return vd_fail_nomem (err);
  if (!m->box->registry)
    return 0;
  m->registry_path = realpath (m->box->registry->path, NULL);
  return m->registry_path ? 0
    : vd_fail_errno (err, errno, "%s", m->box->registry->path);
}

int
vd_merge_open_machine (struct vd_merge *m, struct vd_err *err)
{
  const struct vd_vbox_medium *only = NULL;
  VD_CLEANUP (free_texts) struct texts t = { .len = { 0, 0 } };
  const struct vd_vbox *box;
  size_t i;

  m->box = vd_vbox_open_whole (m->given, &m->opts, err);
  box = m->box;
  if (!box || vd_vbox_check_off (box, &m->opts.log, err) == -1 ||
      vd_vbox_check_registry (box, err) == -1 ||
      vd_vbox_check_named (box, &m->opts, err) == -1 ||
      name_files (m, err) == -1)
    return -1;
  if (m->how.drop)
    return vd_merge_open_drop (m, err) == -1 ||
      vd_merge_check_registered (m, err) == -1 ||
      new_texts (m, &t, err) == -1 ? -1 : 0;
  if (m->how.disk) {
    only = vd_vbox_find_disk (box, m->how.disk, err);
    if (!only)
      return -1;
  }
  m->disk = calloc (box->current.n + 1, sizeof *m->disk);
  if (!m->disk)
    return vd_fail_nomem (err);
  for (i = 0; i < box->current.n; ++i) {
    const struct vd_vbox_medium *top = box->current.attached[i].medium;

    if (top && take_disk (m, top, only, err) == -1)
      return -1;
  }
  if (only && !find_disk (m, only))
    return vd_fail (err, VD_NOT_FOUND, "%s: the disk %s is not attached to "
                    "the machine now", m->given, m->how.disk);
  if (!any_work (m))
    return vd_fail (err, VD_NOTHING, "%s: nothing to merge: no disk of the "
                    "machine has %s", m->given,
                    m->how.skip ? "so many snapshots" : "a snapshot");
  /* What it will be is made now, so that an error comes before all else. */
  return vd_merge_check_registered (m, err) == -1 ||
    find_removed (m, err) == -1 ||
    vd_merge_name_snapshot (m, err) == -1 ||
    new_texts (m, &t, err) == -1 ? -1 : 0;
}

/* ---- A file that a machine knows of -------------------------------------- */

static bool
attaches (const struct vd_vbox_state *state, const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < state->n; ++i)
    if (memcmp (state->attached[i].uuid, uuid, 16) == 0)
      return true;
  return false;
}

/* Does it have this image?  The registry that lists it may be another file:
 * that of the original of a linked clone, or VirtualBox.xml.
 */
static bool
knows_image (const struct vd_vbox *box, const uint8_t uuid[16])
{
  size_t i;

  if (vd_uuid_is_null (uuid))
    return false;
  if (vd_vbox_medium (box, uuid) || attaches (&box->current, uuid))
    return true;
  for (i = 0; i < box->nr_snapshots; ++i)
    if (attaches (&box->snapshots[i].state, uuid))
      return true;
  return false;
}

/* Does it have one of the images? */
static bool
knows (const struct vd_vbox *box, const struct vd_merge *m)
{
  const struct vd_member *member;
  size_t i;

  for (i = 0; i < m->nr_disks; ++i)
    for (member = m->disk[i].top; member; member = member->parent)
      if (knows_image (box, member->link->id.image))
        return true;
  for (i = 0; i < m->nr_dropped; ++i)
    if (knows_image (box, m->dropped[i].medium->uuid))
      return true;
  return false;
}

/* VirtualBox before 4.0 called it NAME.xml. */
static bool
is_machine_name (const char *name)
{
  const size_t n = strlen (name);

  return (n > 5 && strcasecmp (name + n - 5, ".vbox") == 0) ||
    (n > 4 && strcasecmp (name + n - 4, ".xml") == 0);
}

static int
try_machine (void *opaque, int dir, const char *name, const char *path,
             struct vd_err *err)
{
  const struct vd_merge *m = opaque;
  struct vd_err ignored;
  struct vd_vbox *box;
  bool known, whole;

  (void) dir;
  if (!is_machine_name (name))
    return 0;
  box = vd_vbox_open (path, &ignored);
  if (!box)
    return 0;
  /* A copy of the machine's own file is no other machine; the registry of its
   * disks is changed too.
   */
  known = !(m->box && memcmp (m->box->uuid, box->uuid, 16) == 0) &&
    !(m->box && m->box->registry &&
      memcmp (m->box->registry->uuid, box->uuid, 16) == 0) && knows (box, m);
  whole = vd_vbox_check_registry (box, &ignored) == 0;
  vd_vbox_free (box);
  if (!known)
    return 0;
  if (m->box)
    return vd_fail (err, VD_USAGE, "a disk of %s belongs to the machine %s "
                    "too, which would not find it any more: remove it there, "
                    "or --no-machine if you correct it yourself; nothing was "
                    "written", m->given, path);
  return vd_fail (err, VD_USAGE, "%s belongs to the machine %s, which would "
                  "not find its disk any more: %s, or --no-machine if you "
                  "correct it yourself; nothing was written", m->given, path,
                  whole ? "give the machine file instead (with --disk, if it "
                  "has several)" : "give the machine file instead, and the "
                  "file that lists its media (--registry)");
}

int
vd_merge_check_registered (struct vd_merge *m, struct vd_err *err)
{
  CLEANUP_FREE char *dir
    = strdup (m->box ? m->box_path
              : vd_confine_dir (m->disk[0].top->link->places));
  char *slash;

  if (m->how.no_machine)
    return 0;
  if (!dir)
    return vd_fail_nomem (err);
  if (m->box)
    strrchr (dir, '/')[1] = '\0';
  if (vd_scandir (dir, try_machine, m, err) == -1)
    return -1;
  slash = strrchr (dir, '/');
  if (slash && slash[1] == '\0' && slash > dir) {
    *slash = '\0';
    slash = strrchr (dir, '/');
  }
  if (!slash || slash == dir)
    return 0;
  *slash = '\0';
  return vd_scandir (dir, try_machine, m, err);
}
