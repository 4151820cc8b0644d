/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What else stands on the links of a chain?
 *
 * A parent does not know its children.  So all images in the directories of
 * the chain's files are asked for their parents; a machine's registry is
 * asked in merge-machine.c.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/shell.h"
#include "base/uuid.h"
#include "chain/children.h"
#include "merge/merge-private.h"

struct scan {
  const struct vd_merge *m;
  const struct vd_merge_disk *d;
  const struct vd_opts *opts;
  bool keep;                    /* nothing is removed */
  struct vd_link *found;        /* the child of the newest merged link */
  struct vd_merge_disk *ask;    /* only ask for its branch */
};

/* Only who it is is compared, so names may lead anywhere.  Links borrow it. */
static const struct vd_opts quiet = {
  .allow_dirty = true, .ignore_cid = true, .unconfined = true,
};

static int branches (const struct scan *s, size_t k, const struct vd_link *a,
                     const struct vd_link *b, struct vd_err *err);

/* A file that is not of the chain. */
static int
judge (struct scan *s, struct vd_link **link, struct vd_err *err)
{
  const struct vd_merge_disk *d = s->d;
  const size_t last = d->first + d->nr;
  size_t i;

  /* A dropped newest link may have no child at all. */
  for (i = d->discard ? 0 : d->first; i <= last; ++i) {
    struct vd_link *parent = d->chain->links[i];

    /* One that stays may have more children; not the one that becomes the
     * newest, which will be written to.
     */
    if (i > 1 && i < d->first)
      continue;
    if (!vd_link_stands_on (*link, parent))
      continue;
    if (i == 0 && d->discard)
      return vd_fail (err, VD_USAGE, "%s is to be dropped, but %s is based on "
                      "it: it is not the newest; nothing was written",
                      parent->path, (*link)->path);
    if (i > 0)
      return branches (s, i, d->chain->links[i - 1], *link, err);
    if (s->found && !vd_link_same (s->found, *link))
      return branches (s, i, s->found, *link, err);
    if (!s->found)
      s->found = VD_TAKE (*link);
    return 0;
  }
  return 0;
}

/* Does it stand on a link that has another child in the chain?  The newest of
 * these counts.
 */
static int
note_branch (const struct scan *s, const struct vd_link *link,
             struct vd_err *err)
{
  struct vd_merge_disk *d = s->ask;
  const size_t last = d->branch > 0 ? d->branch - 1 : d->first + d->nr;
  size_t i;

  for (i = d->first > 0 ? d->first : 1; i <= last; ++i)
    if (vd_link_stands_on (link, d->chain->links[i]))
      break;
  if (i > last)
    return 0;
  d->branch = i;
  free (d->branch_child);
  d->branch_child = strdup (link->path);
  memcpy (d->branch_uuid, link->id.image, 16);
  return d->branch_child ? 0 : vd_fail_nomem (err);
}

/* A file of a disk that is not of the chain: does it go, or is it written? */
static int
judge_file (const struct scan *s, dev_t dev, ino_t ino,
            const struct vd_link *owner, struct vd_err *err)
{
  const struct vd_merge_disk *d = s->d;
  const size_t last = d->first + d->nr;
  size_t i, k;

  for (i = 0; i <= last; ++i) {
    const bool written = d->nr > 0 && i == last;
    const bool removed = i < d->discard || (i >= d->first && i < last);
    const struct vd_link *link;

    if (!written && !removed)
      continue;
    link = d->chain->links[i];
    for (k = 0; k < link->nr_pieces; ++k) {
      const struct vd_file *f = link->pieces[k].image->file;

      if (!f || f->ino == 0 || f->ino != ino || f->dev != dev)
        continue;
      if (removed && !s->keep)
        return vd_fail (err, VD_DENIED, "%s is a file of %s, but of %s too, "
                        "and would be removed: see their extent lines.  "
                        "--keep removes no files; nothing was written",
                        f->name, link->path, owner->path);
      if (written)
        vd_warn (&s->opts->log, "%s is a file of %s too: what is merged into "
                 "it shows there", f->name, owner->path);
    }
  }
  return 0;
}

static int
judge_files (const struct scan *s, const struct vd_link *link,
             struct vd_err *err)
{
  const struct vd_descriptor *desc = link->descriptor;
  struct vd_file *file;
  struct vd_err ignored;
  size_t i;
  int r;

  if (link->role == VD_ROLE_BARE)
    return 0;
  if (judge_file (s, link->dev, link->ino, link, err) == -1)
    return -1;
  for (i = 0; desc && !vd_link_own_image (link) && i < desc->nr_extents; ++i) {
    if (!desc->extents[i].name)
      continue;
    file = vd_link_find_extent (link, &desc->extents[i], &quiet, &ignored);
    if (!file)
      continue;
    r = judge_file (s, file->dev, file->ino, link, err);
    vd_file_close (file);
    if (r == -1)
      return -1;
  }
  return 0;
}

static int
try_link (void *opaque, struct vd_link **link, struct vd_err *err)
{
  struct scan *s = opaque;
  size_t i;

  for (i = 0; i < s->d->chain->nr_links; ++i)
    if (vd_link_same (*link, s->d->chain->links[i]))
      return 0;
  if (s->ask)
    return note_branch (s, *link, err);
  return judge_files (s, *link, err) == -1 ? -1 : judge (s, link, err);
}

/* Extents may lie elsewhere, beside the descriptor of another disk. */
static int
scan_place (struct vd_around *a, const struct vd_file *file, struct vd_err *err)
{
  CLEANUP_FREE char *dir = NULL;

  if (!file || !strchr (file->name, '/'))
    return 0;
  dir = vd_directory_of (file->name);
  return dir ? vd_around_directory (a, dir, err) : vd_fail_nomem (err);
}

/* What did not fit before must not look as if it did afterwards. */
static int
check_found (const struct vd_merge *m, const struct vd_link *child,
             const struct vd_link *parent, struct vd_err *err)
{
  const struct vd_opts opts = {
    .allow_dirty = true, .ignore_cid = m->opts.ignore_cid,
    .for_writing = true,
  };

  if (vd_chain_check_pair (child, parent, &opts, err) == 0)
    return 0;
  vd_err_prefix (err, "nothing was written: ");
  return -1;
}

static int
scan_all (struct vd_around *a, const struct vd_merge *m,
          const struct vd_merge_disk *d, struct vd_err *err)
{
  size_t i;
  int r = 0;

  for (i = 0; r == 0 && i < d->chain->nr_links; ++i)
    r = vd_around_scan (a, vd_confine_dir (d->chain->links[i]->places), err);
  for (i = 0; r == 0 && i < d->chain->nr_slots; ++i)
    r = scan_place (a, d->chain->slots[i].image->file, err);
  for (i = 0; r == 0 && i < m->opts.nr_dirs; ++i)
    r = vd_around_scan (a, m->opts.dirs[i], err);
  vd_around_free (a);
  return r;
}

int
vd_merge_find_branch (const struct vd_merge *m, struct vd_merge_disk *d,
                      struct vd_err *err)
{
  static const struct vd_log silent = { .fn = NULL };
  struct scan s = { .m = m, .d = d, .opts = &m->opts, .ask = d };
  struct vd_around a = {
    .fn = try_link, .opaque = &s, .log = &silent, .what = "what is merged",
  };
  const struct vd_vbox_medium *c;
  size_t k = 0;

  if (scan_all (&a, m, d, err) == -1)
    return -1;
  c = m->box ? vd_merge_registered_child (m, d, (d->first > 0 ? d->first : 1),
                                          d->first + d->nr, &k) : NULL;
  if (c && (d->branch == 0 || k < d->branch)) {
    d->branch = k;
    free (d->branch_child);
    d->branch_child = strdup (c->location);
    memcpy (d->branch_uuid, c->uuid, 16);
    if (!d->branch_child)
      return vd_fail_nomem (err);
  }
  /* Nothing above it: it is refused, with the names of both children. */
  if (d->branch <= d->first + 1)
    d->branch = 0;
  return 0;
}

/* The snapshot that has this image, or NULL. */
static const struct vd_vbox_snapshot *
snapshot_with (const struct vd_merge *m, const uint8_t uuid[16])
{
  size_t s, i;

  for (s = 0; m->box && s < m->box->nr_snapshots; ++s) {
    const struct vd_vbox_state *state = &m->box->snapshots[s].state;

    for (i = 0; i < state->n; ++i)
      if (memcmp (state->attached[i].uuid, uuid, 16) == 0)
        return &m->box->snapshots[s];
  }
  return NULL;
}

/* " (snapshot 'x')", or nothing. */
static char *
snapshot_text (const struct vd_vbox_snapshot *s)
{
  char *text = NULL;

  return asprintf (&text, s ? " (snapshot '%s')" : "%s", s ? s->name : "")
    == -1 ? NULL : text;
}

/* What merges the links below a branch, when `skip` links are to stay: those
 * above it, and itself.  "" if there is nothing to merge.
 */
static char *
go_on (const struct vd_merge *m, const struct vd_merge_disk *d, size_t k,
       size_t skip)
{
  CLEANUP_FREE char *name = vd_shell_file (m->given);
  CLEANUP_FREE char *word
    = m->how.disk ? vd_shell_word (m->how.disk) : strdup ("");
  char *text = NULL;

  if (k + 2 >= d->chain->nr_links)
    return strdup ("");
  if (!name || !word ||
      asprintf (&text, "Go on below it with: vmdkdelta merge --skip=%zu %s%s%s"
                "%s.  ", skip, m->how.disk ? "--disk=" : "", word,
                m->how.disk ? " " : "", name) == -1)
    return NULL;
  return text;
}

/* What takes the other child away, so that the branch is none any more. */
static char *
way_out (const struct vd_merge *m, const uint8_t child[16])
{
  const struct vd_vbox_snapshot *s = snapshot_with (m, child);
  const struct vd_vbox_medium *listed
    = m->box ? vd_vbox_medium (m->box, child) : NULL;
  CLEANUP_FREE char *machine = m->box ? vd_shell_file (m->given) : NULL;
  CLEANUP_FREE char *word = s ? vd_shell_word (s->name) : NULL;
  char *text = NULL;

  if (listed && !vd_merge_is_there (m, listed))
    return strdup ("if its file, which is not there, is gone for good, remove "
                   "it in VirtualBox's media manager");
  if (!machine || !word)
    return strdup ("remove or export one of them");
  if (asprintf (&text, "vmdkdelta merge --drop=%s %s (drops that snapshot and "
                "those below it)", word, machine) == -1)
    return NULL;
  return text;
}

static char *
branch_text (const struct vd_merge *m, const struct vd_merge_disk *d, size_t k,
             size_t skip, const char *a, const char *b,
             const uint8_t child[16], const char *what)
{
  const struct vd_link *at = d->chain->links[k];
  CLEANUP_FREE char *here = snapshot_text (snapshot_with (m, at->id.image));
  CLEANUP_FREE char *there = snapshot_text (snapshot_with (m, child));
  CLEANUP_FREE char *below = go_on (m, d, k, skip), *out = way_out (m, child);
  char *text = NULL;

  if (!here || !there || !below || !out ||
      asprintf (&text, "%s%s has more than one child, %s and %s%s%s.  %sTo "
                "merge all: %s", at->path, here, a, b, there, what, below,
                out) == -1)
    return NULL;
  return text;
}

void
vd_merge_tell_branch (const struct vd_merge *m, const struct vd_merge_disk *d)
{
  const size_t skip = d->first + 2 - d->discard + m->how.snapshot;
  CLEANUP_FREE char *why
    = branch_text (m, d, d->branch, skip,
                   d->chain->links[d->branch - 1]->path, d->branch_child,
                   d->branch_uuid, "");

  vd_warn (&m->opts.log, "%s: merged down to %s only: %s", d->name,
           d->target->path, why ? why : "more is based on what is below");
}

int
vd_merge_fail_branch (const struct vd_merge *m, const struct vd_merge_disk *d,
                      size_t k, const char *a, const char *b,
                      const uint8_t child[16], struct vd_err *err)
{
  CLEANUP_FREE char *why
    = branch_text (m, d, k, k + 1, a, b, child, ": merging would destroy one of "
                   "them, so merge only up to there (--skip, --count)");

  return why ? vd_fail (err, VD_USAGE, "%s; nothing was written", why)
    : vd_fail_nomem (err);
}

static int
branches (const struct scan *s, size_t k, const struct vd_link *a,
          const struct vd_link *b, struct vd_err *err)
{
  return vd_merge_fail_branch (s->m, s->d, k, a->path, b->path, b->id.image,
                               err);
}

int
vd_merge_check_children (struct vd_merge *m, struct vd_merge_disk *d,
                         struct vd_err *err)
{
  struct scan s = {
    .m = m, .d = d, .opts = &m->opts, .keep = m->how.keep,
  };
  struct vd_around a = {
    .fn = try_link, .opaque = &s, .log = &m->opts.log,
    .what = "what is merged",
  };
  int r = scan_all (&a, m, d, err);

  if (r == 0 && s.found)
    r = check_found (m, s.found, d->chain->links[0], err);
  if (r == -1) {
    vd_link_close (s.found);
    return -1;
  }
  d->found_child = s.found;
  if (s.found)
    d->child = s.found;
  return 0;
}
