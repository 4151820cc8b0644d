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

/* Does the descriptor beside a flat file describe just that file? */
static bool
is_own (const struct vd_link *link, const char *target)
{
  const struct vd_descriptor *d = link->descriptor;

  return d && d->has_cid && !link->embedded && d->nr_extents == 1 &&
    d->extents[0].type == VD_EXTENT_FLAT && d->extents[0].name &&
    strcmp (base_name (d->extents[0].name), base_name (target)) == 0;
}

/* The descriptor beside the target as a link of the family. */
static int
find_own (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;
  struct vd_member *m;

  s->beside = target_descriptor (a->target_name);
  if (!s->beside)
    return 0;
  m = vd_family_add (a->deltas.family, s->beside, err);
  if (!m)
    return -1;
  s->own = m->link;
  s->is_own = is_own (m->link, a->target_name);
  s->own_path = s->is_own ? realpath (s->beside, NULL) : NULL;
  if (s->is_own && !s->own_path)
    return vd_fail_errno (err, errno, "%s", s->beside);
  return 0;
}

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
  if (check_descriptor_of (a, s->own, &s->mismatch) == 0)
    return 0;
  s->own_differs = true;
  if (s->is_own && s->mismatch.code == VD_MISMATCH)
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

  if (find_own (a, err) == -1)
    return -1;
  if (hint && (!s->own || hint != s->own) && check_pair (a, hint, err) == -1)
    return -1;
  if (a->base) {
    m = vd_family_add (a->deltas.family, a->base, err);
    return m ? check_descriptor_of (a, m->link, err) : -1;
  }
  return s->own ? check_own (a, err) : 0;
}

/* ---- The note ------------------------------------------------------------ */

/* Whatever speaks against it is told, and not heard. */
static bool
ignored (const struct apply *a, const struct vd_err *err)
{
  if (a->state.ignore)
    vd_warn (&a->opts.log, "%s; going on as asked", err->msg);
  return a->state.ignore;
}

/* Where it is; that of a file may not be in two places, or one of them would
 * soon be wrong.
 */
static int
find_note (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;
  CLEANUP_FREE char *usual = NULL;
  struct stat named, beside;

  if (!a->target.is_nbd && !a->target.is_block) {
    usual = vd_target_state_name (a->target_name, err);
    if (!usual)
      return -1;
  }
  if (!s->name) {
    s->path = VD_TAKE (usual);
    return 0;
  }
  s->path = strdup (s->name);
  if (!s->path)
    return vd_fail_nomem (err);
  if (!usual || stat (usual, &beside) == -1 ||
      (stat (s->name, &named) == 0 && named.st_ino == beside.st_ino &&
       named.st_dev == beside.st_dev))
    return 0;
  vd_fail (err, VD_USAGE, "what %s holds is noted in %s already: give no "
           "--state, or move that file to %s", a->target_name, usual, s->name);
  return ignored (a, err) ? 0 : -1;
}

static int
read_note (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  if (find_note (a, err) == -1)
    return -1;
  if (!s->path || vd_target_state_read (s->path, &s->old, err) == 0)
    return 0;
  return ignored (a, err) ? 0 : -1;
}

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

/* The descriptor of a target follows it.  Another CID is somebody else's. */
static int
check_descriptor (const struct apply *a, struct vd_err *err)
{
  const struct apply_state *s = &a->state;
  const struct vd_target_state *old = s->old;
  const uint32_t cid = s->own->descriptor->cid;

  if (cid == old->to.cid ||
      (!old->finished && (cid == old->temp || cid == old->from.cid)))
    return 0;
  return vd_fail (err, VD_MISMATCH, "%s says that %s has content %08" PRIx32
                  " (its CID), but %08" PRIx32 " was noted when %s was "
                  "applied: it was changed, or replaced, by something else "
                  "(noted in %s; use --ignore-state to write all the same)",
                  s->own->path, a->target_name, cid, old->to.cid, old->delta,
                  old->path);
}

/* What the descriptor beside the target says, as if it were a note. */
static enum vd_verdict
judge_by_descriptor (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;
  const struct vd_target_state now = {
    .target = (char *) a->target_name, .delta = s->beside, .finished = true,
    .size = a->target.file->size, .capacity = s->own->capacity,
    .to = { .has_cid = true, .cid = s->own->descriptor->cid },
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

  if (vd_target_unchanged (s->old, a->target.file, &s->anew, err) == -1)
    return -1;
  if (!s->anew)
    return s->is_own ? check_descriptor (a, err) : 0;
  vd_target_state_free (VD_TAKE (s->old));
  return 0;
}

/* What is known of the target stays so if only the deltas do not fit. */
static int
judge_by_note (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  if (check_unchanged (a, err) == -1) {
    if (!ignored (a, err))
      return -1;
    vd_target_state_free (VD_TAKE (s->old));
  }
  if (!s->old)
    return 0;
  s->verdict = vd_target_next (s->old, a->deltas.chain, &s->survey, &s->marks,
                               err);
  if (s->verdict != VD_STEP_REFUSED)
    return 0;
  if (!ignored (a, err))
    return -1;
  s->verdict = VD_STEP_NEXT;
  if (!s->old->finished)
    vd_target_state_free (VD_TAKE (s->old));
  return 0;
}

static int
judge (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  s->verdict = VD_STEP_NEXT;
  if (s->old && judge_by_note (a, err) == -1)
    return -1;
  if (!s->old && s->is_own && !s->ignore && !a->base)
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
  if (r == 0 && s->verdict == VD_STEP_THERE_OR_WRONG && !ignored (a, &why)) {
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
  else if (s->old && !s->old->finished)
    apply_say (a, "state   half written: applying %s was interrupted (%s)",
               s->old->delta, s->path);
  else if (s->old)
    apply_say (a, "state   %s was applied last (%s)", s->old->delta, s->path);
  else if (s->path)
    apply_say (a, "state   nothing is known of what the target holds; from now "
               "on it is noted in %s", s->path);
  else
    apply_say (a, "state   what the target holds is not known, and not noted: "
               "--state=FILE would do that");
}

/* A new undo file of a target that is half written would hold new bytes. */
static int
refuse_late_undo (const struct apply *a, struct vd_err *err)
{
  const char *undo = a->state.old->undo;

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
  const bool mixed = !s->old || !s->old->finished;

  if (read_note (a, err) == -1 || read_marks (a, err) == -1 ||
      vd_survey_chain (a->reader, &s->survey, err) == -1 ||
      judge (a, err) == -1 || check_there (a, err) == -1)
    return -1;
  if (s->marks.there && !s->ignore && !s->there &&
      vd_undo_fits (&s->marks, a->reader, a->target.file,
                    mixed || s->verdict == VD_STEP_AGAIN, err) == -1)
    return -1;
  if (a->undo && s->verdict == VD_STEP_AGAIN && s->old &&
      access (a->undo, F_OK) == -1)
    return refuse_late_undo (a, err);
  say_state (a);
  if (s->there)
    return 0;
  s->now = vd_target_state_new (s->old, s->path, a->target_name,
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
  else if (s->verdict == VD_STEP_AGAIN && s->old->undo)
    s->now->undo = strdup (s->old->undo);
  return vd_target_begin (s->now, s->old, &s->survey, a->target.file,
                          s->own_path, err);
}

int
apply_finish (struct apply *a, struct vd_err *err)
{
  struct apply_state *s = &a->state;

  return vd_target_finish (s->now, &s->survey, a->target.file, s->own_path,
                           err);
}

void
apply_state_free (struct apply_state *s)
{
  vd_target_state_free (s->old);
  vd_target_state_free (s->now);
  vd_undo_marks_free (&s->marks);
  free (s->own_path);
  free (s->beside);
  free (s->path);
}
