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
#include "chain/children.h"
#include "merge/merge-private.h"

struct scan {
  const struct vd_merge_disk *d;
  const struct vd_opts *opts;
  bool keep;                    /* nothing is removed */
  struct vd_link *found;        /* the child of the newest merged link */
};

/* Only who it is is compared, so names may lead anywhere.  Links borrow it. */
static const struct vd_opts quiet = {
  .allow_dirty = true, .ignore_cid = true, .unconfined = true,
};

static int
branches (const struct vd_link *parent, const struct vd_link *a,
          const struct vd_link *b, const char *path, struct vd_err *err)
{
  return vd_fail (err, VD_USAGE,
                  "%s has more than one child, %s and %s: merging would "
                  "destroy one of them.  Remove or export one first, or merge "
                  "only up to there (--skip, --count); nothing was written",
                  parent->path, a->path, b ? b->path : path);
}

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
      return vd_fail (err, VD_USAGE, "%s is to be dropped, but %s stands on "
                      "it: it is not the newest; nothing was written",
                      parent->path, (*link)->path);
    if (i > 0)
      return branches (parent, d->chain->links[i - 1], *link, NULL, err);
    if (s->found && !vd_link_same (s->found, *link))
      return branches (parent, s->found, *link, NULL, err);
    if (!s->found)
      s->found = VD_TAKE (*link);
    return 0;
  }
  return 0;
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
    .for_writing = true, .prefix = m->opts.prefix,
  };

  if (vd_chain_check_pair (child, parent, &opts, err) == 0)
    return 0;
  vd_err_prefix (err, "nothing was written: ");
  return -1;
}

int
vd_merge_check_children (struct vd_merge *m, struct vd_merge_disk *d,
                         struct vd_err *err)
{
  struct scan s = { .d = d, .opts = &m->opts, .keep = m->how.keep };
  struct vd_around a = {
    .fn = try_link, .opaque = &s, .log = &m->opts.log,
    .what = "what is merged",
  };
  size_t i;
  int r = 0;

  for (i = 0; r == 0 && i < d->chain->nr_links; ++i)
    r = vd_around_scan (&a, vd_confine_dir (d->chain->links[i]->places), err);
  for (i = 0; r == 0 && i < d->chain->nr_slots; ++i)
    r = scan_place (&a, d->chain->slots[i].image->file, err);
  for (i = 0; r == 0 && i < m->opts.nr_dirs; ++i)
    r = vd_around_scan (&a, m->opts.dirs[i], err);
  vd_around_free (&a);
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
