/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The end of a merge: identities, parents, the machine, removal; all as one
 * journal, in this order:
 *
 *   1. the target's new identity;
 *   2. the child that stays gets it as its parent;
 *   3. the machine file;
 *   4. merged files go, the oldest first, so that what a kill leaves is an
 *      honest "parent not found".
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "merge/merge-private.h"

/* One disk, up to the machine. */
static int
identity_steps (struct vd_merge *m, struct vd_merge_disk *d, bool dry,
                struct vd_journal *j, struct vd_err *err)
{
  struct vd_new_identity id = { .cid = 0 };
  const struct vd_link *top = d->chain->links[d->discard];

  if (d->nr > 0 &&
      (vd_merge_target_steps (d, &id, j, err) == -1 ||
       (d->child &&
        vd_merge_child_steps (d->child, d->target, &id, j, err) == -1)))
    return -1;
  if (!m->how.snapshot)
    return 0;
  if (d->nr > 0 && d->first == d->discard)
    top = d->target;
  else {
    id.has_cid = top->descriptor && top->descriptor->has_cid;
    id.cid = id.has_cid ? top->descriptor->cid : 0;
    memcpy (id.uuid, top->id.image, 16);
    memcpy (id.modified, top->id.modified, 16);
  }
  return vd_merge_snapshot_steps (m, d, top, &id, dry, j, err);
}

static void
describe (const struct vd_step *s, char *buf, size_t n)
{
  switch (s->kind) {
  case VD_STEP_WRITE:
    snprintf (buf, n, "change  %zu bytes at byte %" PRIu64 " of %s",
              s->new_len, s->offset, s->path);
    break;
  case VD_STEP_REPLACE:
    snprintf (buf, n, "rewrite %s (%zu bytes)%s", s->path, s->new_len,
              s->prev ? ", the old one kept as -prev" : "");
    break;
  case VD_STEP_RENAME:
    snprintf (buf, n, "create  %s", s->path);
    break;
  case VD_STEP_UNMARK:
    snprintf (buf, n, "remove  %s", s->path);
    break;
  case VD_STEP_REMOVE:
    snprintf (buf, n, "remove  %s (%" PRIu64 " bytes)", s->path, s->size);
    break;
  }
}

static void
tell (const struct vd_journal *j, void (*step) (void *, const char *),
      void *opaque)
{
  char line[VD_ERR_MAX];
  size_t i;

  for (i = 0; step && i < j->n; ++i) {
    if (j->step[i].kind == VD_STEP_UNMARK)
      continue;                 /* of no interest to the user */
    describe (&j->step[i], line, sizeof line);
    step (opaque, line);
  }
}

static void
tell_kept (const struct vd_merge *m, void (*step) (void *, const char *),
           void *opaque)
{
  size_t i;

  for (i = 0; step && i < m->nr_kept; ++i)
    step (opaque, m->kept[i]);
}

static int
all_steps (struct vd_merge *m, bool dry, struct vd_journal *j,
           struct vd_err *err)
{
  size_t i;

  for (i = 0; i < m->nr_disks; ++i)
    if (identity_steps (m, &m->disk[i], dry, j, err) == -1)
      return -1;
  if (m->box && vd_merge_machine_steps (m, j, err) == -1)
    return -1;
  /* As they were when they were opened: what was written to them since then
   * was not merged.
   */
  for (i = 0; i < m->removals->n; ++i)
    if (vd_journal_copy_removal (j, &m->removals->step[i], err) == -1)
      return -1;
  return vd_merge_mark_steps (m, j, err);
}

int
vd_merge_rehearse (struct vd_merge *m, struct vd_err *err)
{
  struct vd_journal j;
  int r;

  if (vd_journal_init_top (&j, m->top, m->given, err) == -1)
    return -1;
  r = all_steps (m, true, &j, err);
  if (r == 0)
    r = vd_merge_check_access (&j, err);
  vd_journal_free (&j);
  return r;
}

/* For the last time: has somebody changed, or opened, one of them? */
static int
check_all (struct vd_journal *j, struct vd_err *err)
{
  if (vd_journal_check (j, err) == 0 && vd_journal_check_unused (j, err) == 0)
    return 0;
  vd_err_prefix (err, "merged, but not completed: ");
  return -1;
}

int
vd_merge_commit (struct vd_merge *m, bool dry,
                 void (*step) (void *, const char *), void *opaque,
                 struct vd_err *err)
{
  bool named = false;           /* what is new, perhaps, by a journal */
  struct vd_journal j;
  int r;

  if (vd_journal_init_top (&j, m->top, m->given, err) == -1)
    return -1;
  r = all_steps (m, dry, &j, err);
  if (r == 0) {
    tell (&j, step, opaque);
    tell_kept (m, step, opaque);
  }
  if (r == 0 && !dry)
    r = check_all (&j, err);
  if (r == 0 && !dry && (vd_journal_save (&j, err) == -1 ||
                         vd_journal_run (&j, err) == -1)) {
    r = -1;
    named = true;
  }
  if (!named)
    vd_merge_clean_snapshot (m);
  vd_journal_free (&j);
  return r;
}

/* The directory of new children, which have their names now. */
static void
remove_made (struct vd_journal *j)
{
  CLEANUP_FREE char *made = NULL, *pinned = NULL;
  struct vd_err ignored;

  if (asprintf (&made, "%s-new", j->path) == -1)
    made = NULL;
  pinned = made ? vd_pin (&j->pins, made, &ignored) : NULL;
  if (pinned)
    rmdir (pinned);
}

int
vd_merge_resume (const char *name, const struct vd_opts *opts, bool dry,
                 void (*done) (void *, const char *), void *opaque,
                 struct vd_err *err)
{
  struct vd_journal j;
  int r;

  if (vd_journal_init (&j, name, err) == -1)
    return -1;
  r = vd_journal_load (&j, opts, err);
  if (r == 1) {
    tell (&j, done, opaque);
    if ((dry ? vd_journal_check (&j, err)
         : vd_journal_check_unused (&j, err)) == -1 ||
        (!dry && vd_journal_run (&j, err) == -1))
      r = -1;
    else if (!dry)
      remove_made (&j);
  }
  vd_journal_free (&j);
  return r;
}
