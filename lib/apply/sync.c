/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What of a source is new; see sync.h. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/state-parts.h"
#include "apply/sync.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "chain/beside.h"
#include "chain/link-files.h"
#include "file/uri.h"

/* ---- The links ----------------------------------------------------------- */

/* The chain as far as it can be followed.  A parent that is missing matters only
 * if it is needed.
 */
static int
find_links (struct vd_sync *s, struct vd_member *m, struct vd_err *err)
{
  if (vd_family_resolve (s->family, m, &s->why) == -1) {
    if (s->why.code != VD_NOT_FOUND && s->why.code != VD_DENIED) {
      *err = s->why;
      return -1;
    }
    s->partial = true;
  }
  for (; m; m = m->parent)
    s->link[s->nr_links++] = m;
  return 0;
}

static int
find_goal (struct vd_sync *s, const struct vd_sync_opts *how,
           const struct vd_opts *opts, struct vd_err *err)
{
  const struct vd_link *top = s->link[0]->link;
  struct vd_beside beside;

  vd_look_beside (top, opts, &beside);
  s->newer = VD_TAKE (beside.newer);
  vd_beside_free (&beside);
  if (s->newer && how->to_end)
    return vd_fail (err, VD_USAGE, "%s is not the end: %s was made on it.  Give "
                    "the file that the machine uses", top->path, s->newer);
  if (s->newer || how->to_end) {
    s->to_end = how->to_end;
    return 0;
  }
  s->goal = 1;
  if (s->nr_links > 1)
    return 0;
  if (s->partial) {
    *err = s->why;
    return -1;
  }
  return vd_fail (err, VD_USAGE, "%s has no snapshot: the machine writes to it, "
                  "so nothing of it is frozen.  Take a snapshot and give the new "
                  "file, or, when the machine is off, use --final", top->path);
}

/* A copy has a CID of its own.  From here on it is called like its original, so
 * that what was made on that fits.
 */
static int
open_copy (struct vd_sync *s, const struct vd_sync_opts *how,
           struct vd_err *err)
{
  struct vd_member *of;
  struct vd_link *copy;
  size_t i;

  if (!how->copy)
    return 0;
  of = vd_family_add (s->family, how->copied, err);
  if (!of)
    return -1;
  for (i = s->goal; i < s->nr_links && s->link[i] != of; ++i)
    ;
  if (i == s->nr_links)
    return vd_fail (err, VD_USAGE, "%s is no frozen link of %s, so a copy of it "
                    "is of no use", how->copied, s->link[0]->link->path);
  s->copy = vd_family_add (s->family, how->copy, err);
  if (!s->copy || vd_family_resolve (s->family, s->copy, err) == -1)
    return -1;
  copy = s->copy->link;
  if (s->copy == of || !copy->descriptor || !of->link->descriptor)
    return vd_fail (err, VD_USAGE, "%s is no copy of %s: give the descriptor of "
                    "the original, and that of the copy", how->copy,
                    how->copied);
  if (copy->capacity != of->link->capacity)
    return vd_fail (err, VD_MISMATCH, "%s has %" PRIu64 " bytes, and %s, of which "
                    "it is said to be a copy, has %" PRIu64, how->copy,
                    copy->capacity, how->copied, of->link->capacity);
  copy->descriptor->has_cid = of->link->descriptor->has_cid;
  copy->descriptor->cid = of->link->descriptor->cid;
  s->copied = of->link;
  return 0;
}

int
vd_sync_open (struct vd_sync *s, struct vd_member *source,
              const struct vd_sync_opts *how, const struct vd_opts *opts,
              struct vd_err *err)
{
  if (find_links (s, source, err) == -1 || find_goal (s, how, opts, err) == -1)
    return -1;
  return open_copy (s, how, err);
}

void
vd_sync_close (struct vd_sync *s)
{
  vd_chain_free (s->chain);
  vd_family_free (s->family);
  free (s->newer);
  *s = (struct vd_sync) { .family = NULL };
}

const char *
vd_sync_goal (const struct vd_sync *s)
{
  return s->link[s->goal]->link->path;
}

const char *
vd_sync_base (const struct vd_sync *s)
{
  return s->link[s->nr_links - 1]->link->path;
}

uint64_t
vd_sync_size (const struct vd_sync *s)
{
  return s->link[s->goal]->link->capacity;
}

/* ---- Names --------------------------------------------------------------- */

static bool
is_same_path (const char *a, const char *b)
{
  CLEANUP_FREE char *real = realpath (b, NULL);

  return a && (strcmp (a, b) == 0 || (real && strcmp (a, real) == 0));
}

/* Is this what link i makes?  noted is the path that was read then, or NULL. */
static bool
makes_it (const struct vd_sync *s, size_t i, const struct vd_content *c,
          const char *noted)
{
  const struct vd_link *link = s->link[i]->link;
  struct vd_content makes;

  vd_makes (link, &makes);
  if (vd_content_same (&makes, c) != 1 || vd_content_is_borrowed (link))
    return false;
  return !makes.has_cid || makes.cid != VD_CID_FRESH ||
    (!vd_uuid_is_null (makes.longid) && !vd_uuid_is_null (c->longid)) ||
    is_same_path (noted, link->path);
}

/* The oldest link that makes it, or nr_links.  A link that only borrowed the CID
 * of its parent does not count, so what is above is read again: it may be there
 * already, and is the same then.
 */
static size_t
find_content (const struct vd_sync *s, const struct vd_content *c,
              const char *noted)
{
  size_t i;

  for (i = s->nr_links; i > 0; --i)
    if (makes_it (s, i - 1, c, noted))
      return i - 1;
  return s->nr_links;
}

/* Has the target had what link i makes, or a part of it? */
static bool
has_had (const struct vd_sync *s, size_t i, const struct vd_target_state *old)
{
  size_t k;

  if (makes_it (s, i, &old->to, NULL) || makes_it (s, i, &old->from, NULL))
    return true;
  for (k = 0; k < old->nr_past; ++k)
    if (makes_it (s, i, &old->past[k], NULL))
      return true;
  return false;
}

/* Do source and target have anything in common?  Deleting all snapshots can
 * change all CIDs, so the name of the base counts too.
 */
static bool
is_same_disk (const struct vd_sync *s, const struct vd_target_state *old)
{
  size_t i;

  if (is_same_path (old->sync.base, vd_sync_base (s)))
    return true;
  for (i = 0; i < s->nr_links; ++i)
    if (has_had (s, i, old) || is_same_path (old->delta, s->link[i]->link->path))
      return true;
  return false;
}

#define NAME_TEXT 16

static const char *
name_text (char buf[NAME_TEXT], const struct vd_content *c)
{
  if (!c->has_cid)
    return "without a CID";
  snprintf (buf, NAME_TEXT, "%08" PRIx32, c->cid);
  return buf;
}

static int
refuse (const struct vd_sync *s, const struct vd_target_state *old,
        const char *why, struct vd_err *err)
{
  char made[NAME_TEXT], held[NAME_TEXT];
  struct vd_content makes;

  vd_makes (s->link[s->goal]->link, &makes);
  return vd_fail (err, VD_MISMATCH, "%s is content %s (its CID), but %s holds "
                  "content %s, since %s was read: %s (noted in %s; use "
                  "--ignore-state to compare everything, and write what "
                  "differs)", vd_sync_goal (s), name_text (made, &makes),
                  old->target, name_text (held, &old->to), old->delta, why,
                  old->path ? old->path : "-");
}

/* ---- Deciding ------------------------------------------------------------ */

static int
compare_all (struct vd_sync *s, const char *why)
{
  s->mode = VD_SYNC_COMPARE;
  s->only_differences = true;
  s->reason = why;
  return 0;
}

static int
take_links (struct vd_sync *s, size_t known)
{
  s->mode = VD_SYNC_LINKS;
  s->known = known;
  return 0;
}

/* The digest of one link by itself. */
static int
digest_link (const struct vd_sync *s, size_t i, const struct vd_opts *opts,
             uint64_t *digest, struct vd_err *err)
{
  struct vd_link *link = s->link[i]->link;
  struct vd_reader *reader = NULL;
  struct vd_survey survey = { .map = 0 };
  struct vd_chain *chain;
  int r = -1;

  if (vd_link_load (link, opts, err) == -1)
    return -1;
  chain = vd_chain_new (&link, 1, opts, err);
  if (chain)
    reader = vd_reader_new (chain, UINT64_C (1) << 20, err);
  if (reader)
    r = vd_survey_chain (reader, &survey, err);
  if (r == 0)
    *digest = survey.map;
  vd_reader_free (reader);
  vd_chain_free (chain);
  return r;
}

/* The newest link that was read had no CID of its own.  Is it that above the one
 * whose CID it had?  *known is that, or nr_links.
 */
static int
find_borrowed (const struct vd_sync *s, const struct vd_target_state *old,
               const struct vd_opts *opts, size_t *known, struct vd_err *err)
{
  const struct vd_content said = { .has_cid = true, .cid = old->to.said };
  const size_t below = find_content (s, &said, NULL);
  uint64_t digest = 0;

  *known = s->nr_links;
  if (below == s->nr_links || below <= s->goal)
    return 0;
  if (digest_link (s, below - 1, opts, &digest, err) == -1)
    return -1;
  if (digest == old->sync.link)
    *known = below - 1;
  return 0;
}

/* The content of the target is in the chain. */
static int
decide_known (struct vd_sync *s, const struct vd_target_state *old,
              size_t known)
{
  if (known < s->goal) {
    s->reason = "it holds the end of the source already";
    return 0;
  }
  if (!old->sync.to_end) {
    if (known > s->goal)
      take_links (s, known);
    return 0;
  }
  /* It may have been written to since, under the same name. */
  if (known + 1 == s->nr_links && !s->partial)
    return compare_all (s, "the source may have been written to since");
  s->only_differences = known == s->goal;
  return take_links (s, known + 1);
}

static int
decide_unknown (struct vd_sync *s, const struct vd_target_state *old,
                struct vd_err *err)
{
  if (has_had (s, 0, old))
    return refuse (s, old, "the target is further than that", err);
  if (!is_same_disk (s, old))
    return refuse (s, old, "it is another disk", err);
  if (s->goal > 0 && old->sync.to_end &&
      is_same_path (old->delta, s->link[0]->link->path))
    return refuse (s, old, "it was brought to the end of the source, and the "
                   "machine was started again since.  Take a snapshot, and give "
                   "its file; or use --final when it is off", err);
  return compare_all (s, "the source was reverted to an earlier state, or "
                      "snapshots were deleted");
}

static int
decide_unfinished (struct vd_sync *s, const struct vd_target_state *old,
                   struct vd_err *err)
{
  const size_t from = find_content (s, &old->from, NULL);
  const size_t to = find_content (s, &old->to, old->delta);

  if (!is_same_disk (s, old))
    return vd_fail (err, VD_MISMATCH, "%s is half written, from %s, and %s is "
                    "another disk: complete it with that (noted in %s; use "
                    "--ignore-state to compare everything, and write what "
                    "differs)", old->target, old->delta, vd_sync_goal (s),
                    old->path ? old->path : "-");
  if (to < s->goal ||
      (s->goal > 0 && old->sync.there && old->sync.to_end &&
       is_same_path (old->delta, s->link[0]->link->path)))
    return vd_fail (err, VD_MISMATCH, "%s is half written, from %s, which is not "
                    "frozen in this source.  Complete it with what was given "
                    "then, or with --final (noted in %s)", old->target,
                    old->delta, old->path ? old->path : "-");
  if (old->sync.there && old->sync.mode == VD_SYNC_COPY) {
    s->mode = VD_SYNC_COPY;
    return 0;
  }
  if ((old->sync.there && old->sync.mode == VD_SYNC_COMPARE) ||
      from == s->nr_links || to == s->nr_links)
    return compare_all (s, "a run was interrupted");
  return take_links (s, from > to ? from : to);
}

static int
decide (struct vd_sync *s, const struct vd_target_state *old, bool all,
        const struct vd_opts *opts, struct vd_err *err)
{
  size_t known;

  s->mode = VD_SYNC_NOTHING;
  if (all)
    return compare_all (s, NULL);
  if (!old) {
    s->mode = VD_SYNC_COPY;
    return 0;
  }
  if (old->capacity != vd_sync_size (s))
    return vd_fail (err, VD_MISMATCH, "%s is a disk of %" PRIu64 " bytes, but %s "
                    "holds one of %" PRIu64 " bytes, since %s was read (noted in "
                    "%s)", vd_sync_goal (s), vd_sync_size (s), old->target,
                    old->capacity, old->delta, old->path ? old->path : "-");
  if (!old->finished)
    return decide_unfinished (s, old, err);
  known = find_content (s, &old->to, old->delta);
  if (known == s->nr_links && old->to.has_said &&
      find_borrowed (s, old, opts, &known, err) == -1)
    return -1;
  return known < s->nr_links ? decide_known (s, old, known)
    : decide_unknown (s, old, err);
}

/* ---- What is to be read -------------------------------------------------- */

/* From the goal down to the known one, or to the base; a copy stands in for what
 * it is a copy of, and all below.
 */
static int
make_chain (struct vd_sync *s, const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_link *oldest_first[VD_MAX_LINKS];
  const bool whole = s->mode != VD_SYNC_LINKS;
  const size_t end = whole ? s->nr_links : s->known;
  const struct vd_member *m = NULL;
  size_t n = 0, i;

  for (i = s->goal; i < end && !m; ++i)
    if (s->link[i]->link == s->copied)
      m = s->copy;
    else
      oldest_first[VD_MAX_LINKS - ++n] = s->link[i]->link;
  if (whole && s->partial && !m) {
    *err = s->why;
    return -1;
  }
  for (; m && n < VD_MAX_LINKS; m = m->parent)
    oldest_first[VD_MAX_LINKS - ++n] = m->link;
  for (i = VD_MAX_LINKS - n; i < VD_MAX_LINKS; ++i)
    if (vd_link_load (oldest_first[i], opts, err) == -1)
      return -1;
  s->chain = vd_chain_new (&oldest_first[VD_MAX_LINKS - n], n, opts, err);
  return s->chain ? 0 : -1;
}

/* At the end the machine must not run.  Of files elsewhere that cannot be seen. */
static int
check_off (const struct vd_sync *s, struct vd_err *err)
{
  const struct vd_link *top = s->link[0]->link;

  if (!s->to_end || vd_is_uri (top->path) ||
      vd_link_check_unused (top, true, err) == 0)
    return 0;
  vd_err_prefix (err, "its end can be read when the machine is off: ");
  return -1;
}

int
vd_sync_decide (struct vd_sync *s, const struct vd_target_state *old, bool all,
                const struct vd_opts *opts, struct vd_err *err)
{
  if (decide (s, old, all, opts, err) == -1)
    return -1;
  if (s->mode == VD_SYNC_NOTHING)
    return 0;
  if (vd_content_is_borrowed (s->link[s->goal]->link) &&
      s->link[s->goal]->link != s->copied &&
      digest_link (s, s->goal, opts, &s->link_digest, err) == -1)
    return -1;
  return make_chain (s, opts, err) == -1 ? -1 : check_off (s, err);
}

bool
vd_sync_is_same_run (const struct vd_sync *s, const struct vd_target_state *old,
                     const struct vd_survey *survey)
{
  if (!old || !old->sync.there || old->sync.to_end != s->to_end)
    return false;
  if (old->finished)
    return s->mode == VD_SYNC_LINKS && s->only_differences;
  return old->sync.mode == s->mode && old->map == survey->map;
}
