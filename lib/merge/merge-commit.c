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
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "merge/merge-private.h"

/* Takes the full name over. */
static int
remove_step (char *real, ino_t ino, struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < j->n; ++i)
    if (strcmp (j->step[i].path, real) == 0) {
      free (real);
      return 0;
    }
  if (vd_journal_add_removal (j, VD_STEP_REMOVE, real, err) == -1)
    return -1;
  if (ino == 0 || j->step[j->n - 1].ino == ino)
    return 0;
  return vd_fail (err, VD_MISMATCH, "%s was replaced by another file "
                  "meanwhile", j->step[j->n - 1].path);
}

static int
remove_file (const char *path, dev_t dev, ino_t ino, struct vd_journal *j,
             struct vd_err *err)
{
  char *real = vd_merge_real_path (path, dev, ino, err);

  return real ? remove_step (real, ino, j, err) : -1;
}

/* The file of change tracking that a descriptor names, in its directory, if
 * it is called like one: a descriptor can name any file.
 */
static int
remove_cbt (const struct vd_link *link, struct vd_journal *j,
            struct vd_err *err)
{
  const char *name = link->descriptor
    ? vd_descriptor_get (link->descriptor, "changetrackpath") : NULL;
  const size_t n = name ? strlen (name) : 0;
  struct stat st;
  char *path;

  if (n < 10 || strchr (name, '/') ||
      strcasecmp (name + n - 9, "-ctk.vmdk") != 0)
    return 0;
  if (asprintf (&path, "%s/%s", vd_confine_dir (link->places), name) == -1)
    return vd_fail_nomem (err);
  if (lstat (path, &st) == 0 && S_ISREG (st.st_mode))
    return remove_step (path, st.st_ino, j, err);
  free (path);
  return 0;
}

static int
remove_link (const struct vd_link *link, struct vd_journal *j,
             struct vd_err *err)
{
  size_t i;

  if (remove_file (link->path, link->dev, link->ino, j, err) == -1)
    return -1;
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_file *f = link->pieces[i].image->file;

    if (f && remove_file (f->name, f->dev, f->ino, j, err) == -1)
      return -1;
  }
  return remove_cbt (link, j, err);
}

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

static int
removal_steps (const struct vd_merge *m, const struct vd_merge_disk *d,
               struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  if (m->how.keep)
    return 0;
  if (d->nr > 0 && remove_cbt (d->target, j, err) == -1)
    return -1;
  for (i = d->first + d->nr; d->nr > 0 && i > d->first; --i)
    if (remove_link (d->chain->links[i - 1], j, err) == -1)
      return -1;
  return d->discard ? remove_link (d->chain->links[0], j, err) : 0;
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

int
vd_merge_note_removals (struct vd_merge *m, struct vd_err *err)
{
  size_t i;

  m->removals = calloc (1, sizeof *m->removals);
  if (!m->removals)
    return vd_fail_nomem (err);
  for (i = 0; i < m->nr_disks; ++i)
    if (removal_steps (m, &m->disk[i], m->removals, err) == -1)
      return -1;
  return 0;
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
  if (r == 0)
    tell (&j, step, opaque);
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
