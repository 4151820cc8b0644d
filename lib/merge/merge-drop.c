/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Dropping a snapshot of a machine with all that was made on it: nothing is
 * merged; the snapshots leave the machine file, and their images go.
 *
 * What goes: an image that one of these snapshots has, and that no other state
 * needs, neither itself nor for what stands on it.  An image that stands on it
 * and is in no state at all counts as needed: it may be another machine's.  A
 * base is never removed, even if no state has it any more.
 *
 * The order is that of a merge (merge-commit.c): the machine file first, then
 * the images, all in one journal.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "chain/children.h"
#include "chain/merging.h"
#include "merge/merge-private.h"

/* ---- Which snapshots ------------------------------------------------------- */

static int
find_snapshot (const struct vd_merge *m, size_t *number, struct vd_err *err)
{
  const struct vd_vbox *box = m->box;
  char text[VD_UUID_TEXT];
  size_t i, n = 0;

  for (i = 0; i < box->nr_snapshots; ++i) {
    const struct vd_vbox_snapshot *s = &box->snapshots[i];
    const char *name = m->how.drop;
    const size_t braces = *name == '{';

    vd_uuid_text (text, s->uuid);
    if (strncasecmp (name + braces, text, VD_UUID_TEXT - 1) == 0 &&
        strcmp (name + braces + VD_UUID_TEXT - 1, braces ? "}" : "") == 0) {
      *number = i;
      return 0;
    }
    if (strcmp (s->name, name) != 0)
      continue;
    *number = i;
    ++n;
  }
  if (n == 1)
    return 0;
  return n > 1
    ? vd_fail (err, VD_USAGE, "%s has %zu snapshots called '%.100s': give its "
               "UUID in braces; nothing was written", m->given, n, m->how.drop)
    : vd_fail (err, VD_NOT_FOUND, "%s has no snapshot '%.100s'; nothing was "
               "written", m->given, m->how.drop);
}

/* It and those below it; parents are in front of their children. */
static int
mark_snapshots (struct vd_merge *m, struct vd_err *err)
{
  const struct vd_vbox *box = m->box;
  size_t i, s = 0;

  m->removed = calloc (box->nr_snapshots + 1, sizeof *m->removed);
  if (!m->removed)
    return vd_fail_nomem (err);
  if (find_snapshot (m, &s, err) == -1)
    return -1;
  m->removed[s] = true;
  for (i = s + 1; i < box->nr_snapshots; ++i) {
    const struct vd_vbox_snapshot *parent = box->snapshots[i].parent;

    m->removed[i] = parent && m->removed[parent - box->snapshots];
  }
  if (box->current_snapshot &&
      m->removed[box->current_snapshot - box->snapshots])
    return vd_fail (err, VD_USAGE, "%s: the current state was made on the "
                    "snapshot '%.100s', or on one below it, so it cannot be "
                    "dropped: merge it instead, or restore another snapshot "
                    "in VirtualBox first; nothing was written", m->given,
                    box->snapshots[s].name);
  for (i = s; i < box->nr_snapshots; ++i)
    if (m->removed[i] && box->snapshots[i].state_file)
      vd_warn (&m->opts.log, "the saved memory of snapshot '%s', %s, is of no "
               "use any more", box->snapshots[i].name,
               box->snapshots[i].state_file);
  return 0;
}

/* ---- Which images ---------------------------------------------------------- */

static void
mark_attached (const struct vd_vbox *box, const struct vd_vbox_state *state,
               bool *marks)
{
  size_t i;

  for (i = 0; i < state->n; ++i)
    if (state->attached[i].medium)
      marks[state->attached[i].medium - box->media] = true;
}

/* had: those of the snapshots that go; needed: of all else. */
static void
mark_media (const struct vd_merge *m, bool *had, bool *needed)
{
  const struct vd_vbox *box = m->box;
  const struct vd_vbox_medium *p;
  size_t i;

  mark_attached (box, &box->current, needed);
  for (i = 0; i < box->nr_snapshots; ++i)
    mark_attached (box, &box->snapshots[i].state, m->removed[i] ? had : needed);
  /* From the last, so that children are in front of their parents. */
  for (i = box->nr_media; i-- > 0; ) {
    needed[i] = needed[i] || !had[i];
    p = box->media[i].parent;
    if (needed[i] && p)
      needed[p - box->media] = true;
  }
}

static int
add_dropped (struct vd_merge *m, const struct vd_vbox_medium *medium,
             struct vd_err *err)
{
  struct vd_dropped *p = vd_grow (m->dropped, m->nr_dropped, sizeof *p, err);

  if (!p)
    return -1;
  m->dropped = p;
  p += m->nr_dropped;
  *p = (struct vd_dropped) { .medium = medium };
  p->member = vd_vbox_add_medium (m->box, medium, m->family, err);
  if (!p->member) {
    if (err->code != VD_NOT_FOUND)
      return -1;
    vd_warn (&m->opts.log, "%s is not there, and only leaves the registry",
             medium->location);
  }
  m->nr_dropped++;
  if (!p->member)
    return 0;
  /* Of a merge that was interrupted: its marks are not for others to remove. */
  if (vd_merging_refuse (p->member->link->path, err) == -1 ||
      vd_link_load (p->member->link, &m->opts, err) == -1)
    return -1;
  return vd_link_check_unused (p->member->link, true, err);
}

static int
find_media (struct vd_merge *m, struct vd_err *err)
{
  const struct vd_vbox *box = m->box;
  CLEANUP_FREE bool *had = calloc (box->nr_media + 1, sizeof *had);
  CLEANUP_FREE bool *needed = calloc (box->nr_media + 1, sizeof *needed);
  struct vd_member *stays;
  struct vd_err ignored;
  size_t i;

  if (!had || !needed)
    return vd_fail_nomem (err);
  mark_media (m, had, needed);
  for (i = 0; i < box->nr_media; ++i) {
    const struct vd_vbox_medium *medium = &box->media[i];

    if (!needed[i] && !medium->parent)
      vd_warn (&m->opts.log, "%s is in no state of the machine any more; it "
               "stays, and in the registry too", medium->location);
    else if (!needed[i] && add_dropped (m, medium, err) == -1)
      return -1;
    else if (needed[i]) {
      /* So that its files can be compared; one that is not there has none. */
      stays = vd_vbox_add_medium (box, medium, m->family, &ignored);
      if (stays)
        vd_link_load (stays->link, &m->opts, &ignored);
    }
  }
  return 0;
}

/* ---- What stands on them ----------------------------------------------------- */

struct vd_link *
vd_merge_dropped (const struct vd_merge *m, const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < m->nr_dropped; ++i)
    if (m->dropped[i].member &&
        memcmp (m->dropped[i].medium->uuid, uuid, 16) == 0)
      return m->dropped[i].member->link;
  return NULL;
}

struct drop_child {
  const struct vd_merge *m;
  const struct vd_link *parent;
};

static int
judge_child (void *opaque, const char *path, struct vd_err *err)
{
  const struct drop_child *c = opaque;
  struct stat st;
  size_t i;

  if (stat (path, &st) == -1)
    return 0;
  for (i = 0; i < c->m->nr_dropped; ++i) {
    const struct vd_member *d = c->m->dropped[i].member;

    if (d && d->link->ino == st.st_ino && d->link->dev == st.st_dev)
      return 0;
  }
  return vd_fail (err, VD_USAGE, "%s would be dropped, but %s is based on it, and "
                  "belongs to no snapshot that is dropped: remove or export "
                  "that first; nothing was written", c->parent->path, path);
}

static int
check_children (const struct vd_merge *m, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < m->nr_dropped; ++i) {
    struct drop_child c = { .m = m };

    if (!m->dropped[i].member)
      continue;
    c.parent = m->dropped[i].member->link;
    if (vd_each_child (c.parent, &m->opts, false, &m->opts.log, judge_child,
                       &c, err) == -1)
      return -1;
  }
  return 0;
}

int
vd_merge_open_drop (struct vd_merge *m, struct vd_err *err)
{
  if (mark_snapshots (m, err) == -1 || find_media (m, err) == -1)
    return -1;
  return check_children (m, err);
}
