/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the target of apply holds, and whether the deltas fit that.
 *
 * Three things can tell: the note that an earlier run left, the descriptor
 * beside a flat file, and the descriptor of the base that the user or the delta
 * names.  The note decides where there is one.  The descriptor beside a flat
 * file is its short form, which other programs write too.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apply-state.h"
#include "verb-apply.h"

static int
check_pair (const struct apply *a, const struct vd_link *base,
            struct vd_err *err)
{
  const struct vd_chain *chain = a->deltas.chain;

  return vd_chain_check_pair (chain->links[chain->nr_links - 1], base,
                              &a->opts, err);
}

static int
check_descriptor_of (const struct apply *a, const struct vd_link *base,
                     struct vd_err *err)
{
  if (!base->descriptor)
    return vd_fail (err, VD_USAGE, "%s is not the descriptor of the base",
                    base->path);
  return check_pair (a, base, err);
}

/* CIDs against the descriptor beside the target.  It may say that the deltas are
 * there already, so that is no error yet.
 */
static int
check_own (struct apply *a, struct vd_err *err)
{
  const struct vd_chain *chain = a->deltas.chain;
  const struct vd_link *oldest = chain->links[chain->nr_links - 1];
  struct apply_state *s = &a->state;
  struct vd_content on;

  /* Such a delta knows of no descriptor. */
  vd_made_on (oldest, &on);
  if (!on.has_cid && oldest->descriptor &&
      oldest->descriptor->parent_cid == VD_CID_FRESH)
    return 0;
  if (check_descriptor_of (a, s->note.own, &s->mismatch) == 0)
    return 0;
  s->own_differs = true;
  if (s->note.is_own && s->mismatch.code == VD_MISMATCH)
    return 0;
  *err = s->mismatch;
  return -1;
}

int
apply_check_base (struct apply *a, struct vd_err *err)
{
  const struct vd_link *hint = a->deltas.base;
  struct apply_state *s = &a->state;
  struct vd_member *m;

  if (target_note_own (&s->note, a->target_name, a->deltas.family,
                       err) == -1)
    return -1;
  if (hint && (!s->note.own || hint != s->note.own) &&
      check_pair (a, hint, err) == -1)
    return -1;
  if (a->base) {
    m = vd_family_add (a->deltas.family, a->base, err);
    return m ? check_descriptor_of (a, m->link, err) : -1;
  }
  return s->note.own ? check_own (a, err) : 0;
}

/* ---- The note ------------------------------------------------------------ */

/* Undo files can be given several at once, newest first: then they are to be
 * applied to what the first one needs.
 */
static int
read_marks (struct apply *a, struct vd_err *err)
{
  const struct vd_chain *chain = a->deltas.chain;
  struct apply_state *s = &a->state;
  struct vd_undo_marks m;
  size_t i;

  for (i = 0; i < chain->nr_links; ++i) {
    const bool last = i + 1 == chain->nr_links;
    uint64_t gives;

    if (vd_undo_marks_read (chain->links[i], &m, err) == -1)
      return -1;
    if (!m.there)
      return vd_undo_marks_free (&s->marks), 0;
    gives = i == 0 ? m.gives : s->marks.gives;
    if (last) {
      s->marks = m;
      s->marks.gives = gives;
    }
    else {
      s->marks.gives = gives;
      vd_undo_marks_free (&m);
    }
  }
  return 0;
}

/* What the descriptor beside the target says, as if it were a note. */
static enum vd_verdict
judge_by_descriptor (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;
  const struct vd_target_state now = {
    .target = (char *) a->target_name, .delta = s->note.beside, .finished = true,
    .size = a->target.file->size, .capacity = s->note.own->capacity,
    .to = { .has_cid = true, .cid = s->note.own->descriptor->cid },
  };
  enum vd_verdict v
    = vd_target_next (&now, a->deltas.chain, &s->survey, &s->marks, err);

  if (!s->own_differs)
    return VD_STEP_NEXT;
  if (v == VD_STEP_NEXT)
    return v;                   /* one of several holds what is there */
  /* Only that all of it is there already can save it. */
  *err = s->mismatch;
  return v == VD_STEP_THERE ? VD_STEP_THERE_OR_WRONG : VD_STEP_REFUSED;
}

/* Is the target as it was left?  If it was copied anew, nothing is known. */
static int
check_unchanged (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  if (vd_target_unchanged (s->note.old, a->target.file, &s->anew, err) == -1)
    return -1;
  if (!s->anew)
    return s->note.is_own
      ? target_note_check_own (&s->note, a->target_name, err) : 0;
  vd_target_state_free (VD_TAKE (s->note.old));
  return 0;
}

/* What is known of the target stays so if only the deltas do not fit. */
static int
judge_by_note (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  if (check_unchanged (a, err) == -1) {
    if (!target_note_ignored (&s->note, err))
      return -1;
    vd_target_state_free (VD_TAKE (s->note.old));
  }
  if (!s->note.old)
    return 0;
  s->verdict = vd_target_next (s->note.old, a->deltas.chain, &s->survey, &s->marks,
                               err);
  if (s->verdict != VD_STEP_REFUSED)
    return 0;
  if (!target_note_ignored (&s->note, err))
    return -1;
  s->verdict = VD_STEP_NEXT;
  if (!s->note.old->finished)
    vd_target_state_free (VD_TAKE (s->note.old));
  return 0;
}

static int
judge (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  s->verdict = VD_STEP_NEXT;
  if (s->note.old && judge_by_note (a, err) == -1)
    return -1;
  if (!s->note.old && s->note.is_own && !s->note.ignore && !a->base)
    s->verdict = judge_by_descriptor (a, err);
  return s->verdict == VD_STEP_REFUSED ? -1 : 0;
}

/* Is all that the deltas hold there?  1, 0, -1 */
static int
compare (struct apply *a, struct vd_err *err)
{
  const struct vd_apply_opts opts = { .threads = a->target.threads };
  struct vd_err why;

  if (vd_apply_verify (a->reader, a->target.file, &opts, &why) == 0)
    return 1;
  if (why.code == VD_MISMATCH)
    return 0;
  *err = why;
  return -1;
}

static int
check_there (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;
  struct vd_err why = *err;
  int r;

  if (s->verdict != VD_STEP_THERE && s->verdict != VD_STEP_THERE_OR_WRONG)
    return 0;
  r = compare (a, err);
  s->there = r == 1;
  if (r == 0 && s->verdict == VD_STEP_THERE_OR_WRONG &&
      !target_note_ignored (&s->note, &why)) {
    *err = why;
    return -1;
  }
  return r == -1 ? -1 : 0;
}

static void
say_state (const struct apply *a)
{
  const struct apply_state *s = &a->state;

  if (s->anew)
    apply_say (a, "state   %s was copied anew since deltas were applied to it",
               a->target_name);
  else if (s->note.old && !s->note.old->finished)
    apply_say (a, "state   half written: applying %s was interrupted (%s)",
               s->note.old->delta, s->note.path);
  else if (s->note.old)
    apply_say (a, "state   %s was applied last (%s)", s->note.old->delta,
               s->note.path);
  else if (s->note.path)
    apply_say (a, "state   nothing is known of what the target holds; from now "
               "on it is noted in %s", s->note.path);
  else
    apply_say (a, "state   what the target holds is not known, and not noted: "
               "--state=FILE would do that");
}

/* A new undo file of a target that is half written would hold new bytes. */
static int
refuse_late_undo (const struct apply *a, struct vd_err *err)
{
  const char *undo = a->state.note.old->undo;

  if (undo)
    return vd_fail (err, VD_USAGE, "%s is half written, and what was there "
                    "before is in %s: use that, or no --undo", a->target_name,
                    undo);
  return vd_fail (err, VD_USAGE, "%s is half written, by a run without "
                  "--undo: an undo file that is made now would not hold what "
                  "was there before.  Complete it without --undo",
                  a->target_name);
}

int
apply_check_state (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;
  const bool mixed = !s->note.old || !s->note.old->finished;

  if (target_note_read (&s->note, a->target_name, &a->target, err) == -1 ||
      read_marks (a, err) == -1 ||
      vd_survey_chain (a->reader, &s->survey, err) == -1 ||
      judge (a, err) == -1 || check_there (a, err) == -1)
    return -1;
  if (s->marks.there && !s->note.ignore && !s->there &&
      vd_undo_fits (&s->marks, a->reader, a->target.file,
                    mixed || s->verdict == VD_STEP_AGAIN, err) == -1)
    return -1;
  if (a->undo && s->verdict == VD_STEP_AGAIN && s->note.old &&
      access (a->undo, F_OK) == -1)
    return refuse_late_undo (a, err);
  say_state (a);
  if (s->there)
    return 0;
  s->now = vd_target_state_new (s->note.old, s->note.path, a->target_name,
                                a->target.file->size, a->deltas.chain,
                                &s->survey, &s->marks,
                                s->verdict == VD_STEP_AGAIN, err);
  return s->now ? 0 : -1;
}

/* ---- Around the writing -------------------------------------------------- */

int
apply_begin (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  if (a->undo)
    s->now->undo = realpath (a->undo, NULL);
  else if (s->verdict == VD_STEP_AGAIN && s->note.old->undo)
    s->now->undo = strdup (s->note.old->undo);
  return vd_target_begin (s->now, s->note.old, &s->survey, a->target.file,
                          s->note.own_path, err);
}

int
apply_finish (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  return vd_target_finish (s->now, &s->survey, a->target.file, s->note.own_path,
                           err);
}

void
apply_state_free (struct apply_state *s)
{
  target_note_free (&s->note);
  vd_target_state_free (s->now);
  vd_undo_marks_free (&s->marks);
}
