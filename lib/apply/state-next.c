/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* May these deltas be laid on what a target holds?  See state.h. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apply/state-parts.h"
#include "base/cleanup.h"
#include "base/shell.h"
#include "base/uuid.h"
#include "chain/parents.h"

/* ---- Names of contents --------------------------------------------------- */

void
vd_made_on (const struct vd_link *link, struct vd_content *c)
{
  const struct vd_descriptor *d = link->descriptor;

  *c = (struct vd_content) { .id = 0 };
  /* fffffffe without a hint is what deltas over raw disks say. */
  if (d && d->has_parent_cid && d->parent_cid != VD_NO_PARENT &&
      (d->parent_cid != VD_CID_FRESH || vd_link_hint (link))) {
    c->has_cid = true;
    c->cid = d->parent_cid;
  }
  memcpy (c->uuid, vd_uuid_is_null (link->id.parent_modified)
          ? link->id.parent : link->id.parent_modified, 16);
}

/* 32 digits, of which the last 8 are the CID; if they are not, something has
 * changed the one and not the other.
 */
static void
read_longid (const struct vd_descriptor *d, struct vd_content *c)
{
  const char *text = d ? vd_descriptor_get (d, "ddb.longContentID") : NULL;
  char end[9], pair[3] = "";
  unsigned i;

  if (!text || !c->has_cid || strlen (text) != 32 ||
      strspn (text, "0123456789abcdefABCDEF") != 32)
    return;
  snprintf (end, sizeof end, "%08" PRIx32, c->cid);
  if (strcasecmp (text + 24, end) != 0)
    return;
  for (i = 0; i < 16; ++i) {
    memcpy (pair, text + 2 * i, 2);
    c->longid[i] = (uint8_t) strtoul (pair, NULL, 16);
  }
}

void
vd_makes (const struct vd_link *link, struct vd_content *c)
{
  const struct vd_descriptor *d = link->descriptor;

  *c = (struct vd_content) { .id = 0 };
  if (d && d->has_cid) {
    c->has_cid = true;
    c->cid = d->cid;
  }
  memcpy (c->uuid, vd_uuid_is_null (link->id.parent_modified)
          ? link->id.image : link->id.modified, 16);
  read_longid (d, c);
}

int
vd_content_same (const struct vd_content *a, const struct vd_content *b)
{
  const bool uuids = !vd_uuid_is_null (a->uuid) && !vd_uuid_is_null (b->uuid);

  if (a->has_cid && b->has_cid && a->cid != b->cid)
    return 0;
  if (!vd_uuid_is_null (a->longid) && !vd_uuid_is_null (b->longid) &&
      memcmp (a->longid, b->longid, 16) != 0)
    return 0;
  if (uuids && memcmp (a->uuid, b->uuid, 16) != 0)
    return 0;
  return (a->has_cid && b->has_cid) || uuids ? 1 : -1;
}

bool
vd_content_is_borrowed (const struct vd_link *link)
{
  const struct vd_descriptor *d = link->descriptor;

  return d && d->has_cid && d->has_parent_cid && d->cid == d->parent_cid;
}

#define CONTENT_TEXT 64

static const char *
content_text (char buf[CONTENT_TEXT], const struct vd_content *c)
{
  char uuid[VD_UUID_TEXT];

  if (c->has_cid)
    snprintf (buf, CONTENT_TEXT, "%08" PRIx32, c->cid);
  else if (!vd_uuid_is_null (c->uuid))
    snprintf (buf, CONTENT_TEXT, "{%s}", vd_uuid_text (uuid, c->uuid));
  else
    snprintf (buf, CONTENT_TEXT, "without a name");
  return buf;
}

/* ---- One step ------------------------------------------------------------ */

struct question {
  const struct vd_target_state *state;
  const struct vd_chain *chain;
  const struct vd_survey *survey;
  const struct vd_undo_marks *undo;
  struct vd_content on, makes;  /* of the whole chain */
  const char *newest;           /* its path */
  struct vd_err *err;
};

/* Where the note is, as a word, if it is not where it would be looked for. */
static char *
elsewhere (const struct vd_target_state *s)
{
  struct vd_err ignored;
  CLEANUP_FREE char *usual = vd_target_state_name (s->target, &ignored);

  return s->path && (!usual || strcmp (usual, s->path) != 0)
    ? vd_shell_word (s->path) : NULL;
}

/* More would be cut off in the message, and be another command. */
#define MAX_COMMAND 1000u

/* "; to go back: vmdkdelta apply UNDO TARGET", or nothing; to be freed. */
static char *
way_back (const struct vd_target_state *s)
{
  CLEANUP_FREE char *undo = s->undo ? vd_shell_file (s->undo) : NULL;
  CLEANUP_FREE char *target = vd_shell_file (s->target);
  CLEANUP_FREE char *state = elsewhere (s);
  char *text;

  if (!undo || !target)
    return strdup ("");
  if (asprintf (&text, "; to go back: vmdkdelta apply %s%s%s%s %s",
                state ? "--state=" : "", state ? state : "", state ? " " : "",
                undo, target) == -1)
    return NULL;
  if (strlen (text) > MAX_COMMAND)
    *text = '\0';
  return text;
}

static enum vd_verdict
refuse (const struct question *q, const char *why)
{
  char on[CONTENT_TEXT], makes[CONTENT_TEXT], now[CONTENT_TEXT];
  CLEANUP_FREE char *back = way_back (q->state);

  vd_fail (q->err, VD_MISMATCH, "%s makes content %s of content %s (its CID and "
           "parentCID), but %s holds content %s, since %s was applied: %s%s "
           "(noted in %s; use --ignore-state to write anyway)",
           q->newest, content_text (makes, &q->makes),
           content_text (on, &q->on), q->state->target,
           content_text (now, &q->state->to), q->state->delta, why,
           back ? back : "", q->state->path ? q->state->path : "-");
  return VD_STEP_REFUSED;
}

static bool
is_past (const struct question *q, const struct vd_content *c)
{
  const struct vd_target_state *s = q->state;
  size_t i;

  if (vd_content_same (c, &s->from) == 1)
    return true;
  for (i = 0; i < s->nr_past; ++i)
    if (vd_content_same (c, &s->past[i]) == 1)
      return true;
  return false;
}

/* Does the chain hold all places that are noted?  A place that cannot be looked
 * up is not held.
 */
static bool
holds_all (const struct question *q)
{
  const struct vd_target_state *s = q->state;
  struct vd_err ignored;
  bool held = true;
  size_t i;

  for (i = 0; held && i < s->nr_held; ++i) {
    struct vd_runs runs = VD_RUNS_INIT (2);

    held = s->held[i] < q->chain->size &&
      vd_chain_map (q->chain, s->held[i], 1, &runs, &ignored) == 0 &&
      runs.n > 0 && runs.run[0].kind != VD_BASE;
    vd_runs_free (&runs);
  }
  return held;
}

/* The names are the same as those that were noted when the run began. */
static bool
is_same_run (const struct question *q)
{
  const struct vd_target_state *s = q->state;
  const bool same_map = s->map == q->survey->map;

  if (q->undo->there)
    return q->undo->gives == s->to.id && q->undo->on == s->from.id;
  if (s->to.has_said)
    return q->makes.has_cid && q->makes.cid == s->to.said && same_map;
  if (vd_content_same (&q->makes, &s->to) != 1)
    return vd_content_same (&q->makes, &s->to) == -1 && same_map;
  return vd_content_same (&q->on, &s->from) != 0 &&
    (same_map || (!vd_content_is_borrowed (q->chain->links[0]) &&
                  holds_all (q)));
}

static enum vd_verdict
judge_unfinished (const struct question *q)
{
  const struct vd_target_state *s = q->state;
  CLEANUP_FREE char *back = way_back (s);

  if (s->sync.there) {
    vd_fail (q->err, VD_MISMATCH, "%s is half written: bringing it up to date "
             "by sync was interrupted, when %s was read.  Run the same "
             "vmdkdelta sync again to complete it (noted in %s; use "
             "--ignore-state to write anyway)", s->target, s->delta,
             s->path);
    return VD_STEP_REFUSED;
  }
  if (q->undo->there && q->undo->on == s->to.id)
    return VD_STEP_NEXT;
  if (is_same_run (q))
    return VD_STEP_AGAIN;
  vd_fail (q->err, VD_MISMATCH, "%s is half written: applying %s to it was "
           "interrupted, and %s is not that.  Apply %s again to complete it%s "
           "(noted in %s; use --ignore-state to write anyway)",
           s->target, s->delta, q->newest, s->delta, back ? back : "", s->path);
  return VD_STEP_REFUSED;
}

static enum vd_verdict
judge_undo (const struct question *q)
{
  const struct vd_target_state *s = q->state;
  size_t i;

  if (q->undo->on == s->to.id)
    return VD_STEP_NEXT;
  if (q->undo->gives == s->to.id) {
    refuse (q, "it was undone before, and something is different now");
    return VD_STEP_THERE_OR_WRONG;
  }
  for (i = 0; i <= s->nr_past; ++i)
    if (q->undo->on == (i < s->nr_past ? s->past[i].id : s->from.id))
      return refuse (q, "it undoes an earlier step, and newer ones must be "
                     "undone first, newest first");
  /* The run was noted in another place, or not at all.  Its samples decide. */
  if (vd_content_same (&q->on, &s->to) == 1)
    return VD_STEP_NEXT;
  return refuse (q, "it undoes what was applied to another target, or another "
                 "time");
}

/* Nothing in the chain names what it was made on. */
static enum vd_verdict
judge_unnamed (const struct question *q)
{
  refuse (q, "whether it fits that cannot be seen.  Deltas without a "
          "descriptor, and those made for a raw disk, are best applied all at "
          "once, oldest first");
  return VD_STEP_THERE_OR_WRONG;
}

/* Does the chain hold what the target holds, and more? */
static bool
contains (const struct question *q)
{
  struct vd_content c;
  size_t i;

  for (i = 1; i < q->chain->nr_links; ++i) {
    vd_makes (q->chain->links[i], &c);
    if (!vd_content_is_borrowed (q->chain->links[i]) &&
        vd_content_same (&c, &q->state->to) == 1)
      return true;
  }
  return false;
}

static enum vd_verdict
judge_sizes (const struct question *q)
{
  const struct vd_target_state *s = q->state;
  const struct vd_chain *c = q->chain;

  if (c->links[c->nr_links - 1]->capacity == s->capacity ||
      c->size == s->capacity)
    return VD_STEP_NEXT;
  vd_fail (q->err, VD_MISMATCH, "%s is for a disk of %" PRIu64 " bytes, but %s "
           "holds one of %" PRIu64 " bytes, since %s was applied (noted in %s; "
           "use --ignore-state to write anyway)", q->newest, c->size,
           s->target, s->capacity, s->delta, s->path ? s->path : "-");
  return VD_STEP_REFUSED;
}

static enum vd_verdict
judge_finished (const struct question *q)
{
  const struct vd_target_state *s = q->state;
  const bool borrowed = vd_content_is_borrowed (q->chain->links[0]);

  if (judge_sizes (q) == VD_STEP_REFUSED)
    return VD_STEP_REFUSED;
  if (q->undo->there && s->to.id != 0)
    return judge_undo (q);
  if (vd_content_same (&q->on, &s->to) == 1)
    return borrowed && s->to.id != 0 ? VD_STEP_THERE : VD_STEP_NEXT;
  if (!borrowed && vd_content_same (&q->makes, &s->to) == 1) {
    if (holds_all (q))
      return VD_STEP_THERE;
    refuse (q, "it holds less than that, so it is not a later copy of it");
    return VD_STEP_THERE_OR_WRONG;
  }
  if (contains (q))
    return VD_STEP_NEXT;
  if (s->to.has_said && q->makes.has_cid && q->makes.cid == s->to.said) {
    refuse (q, "it has the CID of its parent, as that of which this was made "
            "had, so whether it is the same delta cannot be seen");
    return VD_STEP_THERE_OR_WRONG;
  }
  if (vd_content_same (&q->on, &s->to) == -1)
    return judge_unnamed (q);
  if (is_past (q, &q->makes))
    return refuse (q, "the target is past that step");
  if (is_past (q, &q->on))
    return refuse (q, "it was made on an earlier content of this target, beside "
                   "the one that was applied.  If the old machine was started "
                   "again and this is a later copy of the same delta, undo "
                   "that first");
  return refuse (q, "a step between is missing, or it belongs to another disk");
}

enum vd_verdict
vd_target_next (const struct vd_target_state *state,
                const struct vd_chain *chain, const struct vd_survey *survey,
                const struct vd_undo_marks *undo, struct vd_err *err)
{
  struct question q = {
    .state = state, .chain = chain, .survey = survey, .undo = undo,
    .newest = chain->links[0]->path, .err = err,
  };

  vd_made_on (chain->links[chain->nr_links - 1], &q.on);
  vd_makes (chain->links[0], &q.makes);
  return state->finished ? judge_finished (&q) : judge_unfinished (&q);
}
