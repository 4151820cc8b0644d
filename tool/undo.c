/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Saving what will be overwritten; see undo.h.
 *
 * The file is a KDMV delta whose grains are those of the target that the
 * deltas touch, with the content that they have now.  Applying it writes
 * whole grains back, also the bytes around those that were changed: they are
 * the same before and after.
 *
 * It must not be made again after a run was cut off: the target is changed
 * already.  A file that is there is looked at, byte by byte, before it is
 * kept.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "undo.h"

/* Small grains save little more than was changed; large ones keep the tables
 * small (a table entry for each, twice).
 */
#define SMALL_GRAIN (UINT64_C (4) << 10)
#define LARGE_GRAIN (UINT64_C (64) << 10)
#define SMALL_DISK (UINT64_C (16) << 30)

#define BUFFER (UINT64_C (4) << 20)

static uint64_t
grain_size (const struct vd_chain *chain)
{
  return chain->size <= SMALL_DISK ? SMALL_GRAIN : LARGE_GRAIN;
}

/* The grains that the chain touches, as ranges that rise and do not touch
 * each other twice.
 */
struct toucher {
  struct vd_batch_walk walk;
  struct vd_runs batch;
  size_t next;
  uint64_t grain;
  uint64_t done;                /* everything below was handed out */
};

/* 1 and a range, 0 at the end, -1. */
static int
next_range (struct toucher *t, uint64_t *from, uint64_t *to,
            struct vd_err *err)
{
  const uint64_t size = t->walk.chain->size;
  int r;

  for (;;) {
    for (; t->next < t->batch.n; t->next++) {
      const struct vd_run *run = &t->batch.run[t->next];

      if (run->kind == VD_BASE || vd_run_end (run) <= t->done)
        continue;
      *from = run->offset / t->grain * t->grain;
      *to = (vd_run_end (run) + t->grain - 1) / t->grain * t->grain;
      if (*from < t->done)
        *from = t->done;
      if (*to > size)
        *to = size;
      t->done = *to;
      t->next++;
      return 1;
    }
    r = vd_batch_walk_next (&t->walk, &t->batch, err);
    if (r != 1)
      return r;
    t->next = 0;
  }
}

static void
begin_ranges (struct toucher *t, const struct vd_chain *chain)
{
  *t = (struct toucher) {
    .batch = VD_BATCH_RUNS, .grain = grain_size (chain)
  };
  vd_batch_walk_init (&t->walk, chain);
}

static void
end_ranges (struct toucher *t)
{
  vd_batch_walk_free (&t->walk);
  vd_runs_free (&t->batch);
}

/* One piece of a range, at most a buffer: zero grains apart from others. */
static int
save_piece (struct vd_create *w, const uint8_t *buf, uint64_t offset,
            uint64_t n, uint64_t grain, struct vd_err *err)
{
  uint64_t at = 0, len, g;
  bool zero;

  while (at < n) {
    len = n - at < grain ? n - at : grain;
    zero = vd_is_zero (buf + at, (size_t) len);
    while (at + len < n) {
      g = n - at - len < grain ? n - at - len : grain;
      if (vd_is_zero (buf + at + len, (size_t) g) != zero)
        break;
      len += g;
    }
    if (zero ? vd_create_zero (w, offset + at, len, err) == -1
        : vd_create_data (w, offset + at, buf + at, (size_t) len, err) == -1)
      return -1;
    at += len;
  }
  return 0;
}

static int
save_ranges (const struct vd_chain *chain, struct vd_file *target,
             struct vd_create *w, vd_progress_fn progress, void *opaque,
             struct vd_err *err)
{
  uint8_t *buf = malloc (BUFFER);
  struct toucher t;
  uint64_t from, to, n, done = 0;
  int r = buf ? 1 : vd_fail (err, VD_NOMEM, "out of memory");

  begin_ranges (&t, chain);
  while (r == 1 && (r = next_range (&t, &from, &to, err)) == 1) {
    for (; r == 1 && from < to; from += n) {
      n = to - from < BUFFER ? to - from : BUFFER;
      if (vd_file_pread (target, buf, (size_t) n, from, err) == -1 ||
          save_piece (w, buf, from, n, t.grain, err) == -1)
        r = -1;
      done += n;
    }
    if (r == 1 && progress && progress (opaque, done) != 0)
      r = vd_fail (err, VD_USAGE, "stopped as asked; nothing was written to "
                   "%s", target->name);
  }
  end_ranges (&t);
  free (buf);
  return r;
}

/* One range of the target against the undo file and the deltas.  buf has room
 * for three of them.
 */
static int
check_range (struct vd_reader *undo, struct vd_reader *deltas,
             struct vd_file *target, uint64_t from, size_t n, uint8_t *buf,
             struct vd_err *err)
{
  struct vd_runs runs = VD_RUNS_INIT (BUFFER / 512 + 2);
  uint8_t *old = buf, *new = buf + n, *now = buf + 2 * n;
  const struct vd_base nothing = { .align = 1 };
  const char *name = vd_reader_get_chain (undo)->links[0]->path;
  size_t i, len;
  int r = -1;

  if (vd_reader_map (undo, from, n, &runs, err) == -1)
    goto out;
  for (i = 0; i < runs.n; ++i)
    if (runs.run[i].kind == VD_BASE) {
      vd_fail (err, VD_USAGE, "%s exists, and is not the undo file of these "
               "deltas (it does not hold byte %" PRIu64 "): give another name",
               name, runs.run[i].offset);
      goto out;
    }
  runs.n = 0;
  if (vd_read (undo, &nothing, old, n, from, err) == -1 ||
      vd_file_pread (target, now, n, from, err) == -1 ||
      vd_reader_map (deltas, from, n, &runs, err) == -1)
    goto out;
  memcpy (new, old, n);
  if (vd_fetch (deltas, &runs, new, from, err) == -1)
    goto out;
  for (i = 0; i < n; i += len) {
    len = n - i < 512 ? n - i : 512;
    if (memcmp (now + i, old + i, len) != 0 &&
        memcmp (now + i, new + i, len) != 0) {
      vd_fail (err, VD_USAGE, "%s exists, but is not the undo file for %s as "
               "it is now: the sector at byte %" PRIu64 " is neither what was "
               "saved nor what the deltas make of it.  Give another name",
               name, target->name, from + i);
      goto out;
    }
  }
  r = 0;
 out:
  vd_runs_free (&runs);
  return r;
}

static int
check_ranges (struct vd_reader *undo, struct vd_reader *deltas,
              struct vd_file *target, struct vd_err *err)
{
  uint8_t *buf = malloc (3 * BUFFER);
  struct toucher t;
  uint64_t from, to, n;
  int r = buf ? 1 : vd_fail (err, VD_NOMEM, "out of memory");

  begin_ranges (&t, vd_reader_get_chain (deltas));
  while (r == 1 && (r = next_range (&t, &from, &to, err)) == 1)
    for (; r == 1 && from < to; from += n) {
      n = to - from < BUFFER ? to - from : BUFFER;
      if (check_range (undo, deltas, target, from, (size_t) n, buf, err) == -1)
        r = -1;
    }
  end_ranges (&t);
  free (buf);
  return r;
}

/* Can the file at path undo what the deltas do, or have done, to target? */
static int
check_existing (struct vd_reader *deltas, struct vd_file *target,
                const char *path, struct vd_err *err)
{
  const struct vd_opts opts = { .headers = false };
  struct vd_link *link = vd_link_open (path, &opts, err);
  struct vd_chain *chain = link ? vd_chain_new (&link, 1, &opts, err) : NULL;
  struct vd_reader *undo
    = chain ? vd_reader_new (chain, UINT64_C (1) << 20, err) : NULL;
  int r = -1;

  if (!undo)
    vd_err_prefix (err, "a file exists where the undo file would be "
                   "created: ");
  else if (chain->size != vd_reader_get_chain (deltas)->size ||
           chain->has_base)
    vd_fail (err, VD_USAGE, "%s exists, and is not the undo file of these "
             "deltas: give another name", path);
  else
    r = check_ranges (undo, deltas, target, err);
  vd_reader_free (undo);
  vd_chain_free (chain);
  vd_link_close (link);
  return r;
}

/* An undo file that is there belongs to this run, or to one that was cut off
 * before it noted anything.
 */
static int
adopt_marks (const char *path, const struct undo_opts *how,
             struct vd_err *err)
{
  const struct vd_opts opts = { .headers = false };
  struct vd_link *link = how->now ? vd_link_open (path, &opts, err) : NULL;
  struct vd_undo_marks m;
  int r = 0;

  if (!how->now)
    return 0;
  if (!link || vd_undo_marks_read (link, &m, err) == -1) {
    vd_link_close (link);
    return -1;
  }
  if (m.there && how->again &&
      (m.on != how->now->to.id || m.gives != how->now->from.id))
    r = vd_fail (err, VD_USAGE, "%s exists, and is the undo file of another "
                 "run: give another name", path);
  else if (m.there && !how->again) {
    how->now->to.id = m.on;
    how->now->from.id = m.gives;
    how->now->to.cid = link->descriptor->parent_cid;
    how->now->from.cid = link->descriptor->cid;
  }
  vd_undo_marks_free (&m);
  vd_link_close (link);
  return r;
}

static int
save_new (struct vd_reader *reader, struct vd_file *target, const char *path,
          const struct undo_opts *how, const struct vd_create_opts *opts,
          struct vd_err *err)
{
  struct vd_create *w = vd_create_open (path, opts, err);

  if (!w)
    return -1;
  if (save_ranges (vd_reader_get_chain (reader), target, w, how->progress,
                   how->opaque, err) == -1) {
    vd_create_abort (w);
    return -1;
  }
  return vd_create_finish (w, NULL, err);
}

int
undo_save (struct vd_reader *reader, struct vd_file *target,
           const char *path, const struct undo_opts *how, bool *kept,
           struct vd_err *err)
{
  const struct vd_chain *chain = vd_reader_get_chain (reader);
  struct vd_create_opts opts = {
    .format = VD_WRITER_SPARSE,
    .capacity = chain->size,
    .grain_size = grain_size (chain),
    .parent_cid = VD_CID_FRESH,
    .like = target,
  };
  CLEANUP_FREE char *more = NULL;
  struct vd_undo_marks m;

  *kept = access (path, F_OK) == 0;
  if (*kept)
    return check_existing (reader, target, path, err) == -1 ? -1
      : adopt_marks (path, how, err);

  if (how->now) {
    if (vd_undo_marks_new (how->now, how->survey, reader, target, &m,
                           err) == -1)
      return -1;
    more = vd_undo_marks_text (&m);
    vd_undo_marks_free (&m);
    if (!more)
      return vd_fail_nomem (err);
    opts.more = more;
    opts.cid = how->now->from.cid;
    opts.parent_cid = how->now->to.cid;
  }
  return save_new (reader, target, path, how, &opts, err);
}

int
undo_look (struct vd_reader *reader, struct vd_file *target, const char *path,
           struct vd_err *err)
{
  const char *slash = strrchr (path, '/');
  char *dir;
  int r;

  if (access (path, F_OK) == 0)
    return check_existing (reader, target, path, err);
  dir = slash ? strndup (path, (size_t) (slash - path) + 1) : strdup (".");
  if (!dir)
    return vd_fail (err, VD_NOMEM, "out of memory");
  r = access (dir, W_OK | X_OK);
  if (r == -1)
    vd_fail_errno (err, errno, "%s: the undo file cannot be made", path);
  free (dir);
  return r;
}

int
undo_size (const struct vd_chain *chain, uint64_t *bytes, struct vd_err *err)
{
  struct toucher t;
  uint64_t from, to;
  int r;

  /* Table entries are 4 bytes a grain, and there are two of each. */
  *bytes = chain->size / grain_size (chain) * 8 + (UINT64_C (1) << 20);
  begin_ranges (&t, chain);
  while ((r = next_range (&t, &from, &to, err)) == 1)
    *bytes += to - from;
  end_ranges (&t);
  return r;
}
