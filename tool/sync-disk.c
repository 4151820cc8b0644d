/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* One disk of sync: what its target holds, what is new, and writing that.
 *
 * The order.  Source and target are opened, the note is read, and what is new
 * is decided from the two (sync.h); all of that is validated and counted.  Only
 * then a new file is made, the note says "writing", and the first byte changes.
 * While the target is written the note is renewed now and then, so that an
 * interrupted copy goes on from there.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "verb-sync.h"

/* ---- What the target holds ------------------------------------------------ */

/* A sign that nobody's data is there, and no proof. */
static int
is_blank (struct vd_file *f, bool *blank, struct vd_err *err)
{
  static const uint8_t zeros[VD_SAMPLE_MAX];
  uint8_t buf[VD_SAMPLE_MAX];
  struct vd_stretch known = { .start = 0 };
  const uint64_t step = vd_max (f->size / 256, VD_SAMPLE_MAX);
  uint64_t offset, to;
  unsigned type;

  *blank = true;
  for (offset = 0; *blank && offset < f->size; offset += step) {
    const size_t n = (size_t) vd_min (f->size - offset, sizeof buf);

    if (vd_file_stretch (f, &known, offset, f->size, &to, &type, err) == -1)
      return -1;
    if (type & VD_READS_ZERO)
      continue;
    if (vd_file_pread (f, buf, n, offset, err) == -1)
      return -1;
    *blank = memcmp (buf, zeros, n) == 0;
  }
  return 0;
}

/* What is not in a note, but known: as if it were in one. */
static void
hold (struct sync_disk *d, const struct vd_link *link, const char *from)
{
  d->known = true;
  d->held = (struct vd_target_state) {
    .target = (char *) d->target_name, .delta = (char *) from,
    .finished = true, .size = d->target.file->size,
    .capacity = link->capacity,
  };
  vd_makes (link, &d->held.to);
}

static int
hold_given (struct sync_disk *d, struct vd_err *err)
{
  const char *path = d->all->holds;
  struct vd_member *m = vd_family_add (d->sync.family, path, err);
  size_t i;

  if (!m)
    return -1;
  for (i = d->sync.goal; i < d->sync.nr_links; ++i)
    if (d->sync.link[i] == m) {
      hold (d, m->link, m->link->path);
      return 0;
    }
  return vd_fail (err, VD_USAGE, "%s is no frozen link of %s, so the target "
                  "cannot hold it", path, d->source);
}

/* Without a note: the descriptor beside a flat file, or a blank target. */
static int
without_note (struct sync_disk *d, bool *all, struct vd_err *err)
{
  bool blank;

  if (d->all->holds)
    return hold_given (d, err);
  if (is_blank (d->target.file, &blank, err) == -1)
    return -1;
  if (blank)
    return 0;
  if (d->note.ignore) {
    *all = true;
    return 0;
  }
  if (d->note.is_own) {
    hold (d, d->note.own, d->note.own->path);
    return 0;
  }
  return vd_fail (err, VD_DENIED, "%s holds data, and nothing is noted of it: it "
                  "would be overwritten.  If it may be, use --ignore-state "
                  "(everything is compared, and what differs is written); if it "
                  "is a copy of one of the files of %s, name that with --holds",
                  d->target_name, d->source);
}

/* Is the target as it was left? */
static int
with_note (struct sync_disk *d, bool *all, struct vd_err *err)
{
  bool anew = false;

  if (d->all->holds)
    return vd_fail (err, VD_USAGE, "what %s holds is noted in %s already: give "
                    "no --holds", d->target_name, d->note.path);
  if (vd_target_unchanged (d->note.old, d->target.file, &anew, err) == -1 ||
      (!anew && d->note.is_own &&
       target_note_check_own (&d->note, d->target_name, err) == -1)) {
    if (!target_note_ignored (&d->note, err))
      return -1;
    vd_target_state_free (VD_TAKE (d->note.old));
  }
  *all = d->note.ignore;
  d->rate = d->note.old ? d->note.old->sync.rate : 0;
  if (anew)
    vd_target_state_free (VD_TAKE (d->note.old));
  return d->note.old || *all ? 0 : without_note (d, all, err);
}

static int
read_target (struct sync_disk *d, bool *all, struct vd_err *err)
{
  struct target_note *n = &d->note;

  if (target_open (&d->target, d->target_name, !d->all->dry_run, d->command,
                   d->all->threads, &d->all->opts, err) == -1)
    return -1;
  if ((d->target.is_nbd || d->target.is_block) && !n->name)
    return vd_fail (err, VD_USAGE, "give --state=FILE: what %s holds has to be "
                    "noted somewhere, or nobody knows next time what is new",
                    d->target_name);
  if (target_note_own (n, d->target_name, d->sync.family, err) == -1 ||
      target_note_read (n, d->target_name, &d->target, err) == -1)
    return -1;
  return n->old ? with_note (d, all, err) : without_note (d, all, err);
}

/* A new file.  It is made when everything else is known to be right; what an
 * older one of that name held is nothing to it.
 */
static int
make_target (struct sync_disk *d, struct vd_err *err)
{
  struct vd_file *f = vd_file_create_private (d->target_name, err);
  const int r = f ? vd_file_truncate (f, d->sync.chain->size, err) : -1;

  vd_file_close (f);
  if (r == -1 ||
      target_open (&d->target, d->target_name, true, NULL, d->all->threads,
                   &d->all->opts, err) == -1)
    return -1;
  d->note.ignore = true;
  if (target_note_read (&d->note, d->target_name, &d->target, err) == -1)
    return -1;
  vd_target_state_free (VD_TAKE (d->note.old));
  return 0;
}

/* There is no target, but --state is the note of another one. */
static int
check_other_note (const struct sync_disk *d, struct vd_err *err)
{
  struct vd_target_state *old;
  const char *name = d->note.name;
  int r = 0;

  if (!name)
    return 0;
  if (vd_target_state_read (name, &old, err) == -1)
    return -1;
  if (old && strcmp (base_name (old->target), base_name (d->target_name)) != 0)
    r = vd_fail (err, VD_USAGE, "%s notes what %s holds, and not %s", name,
                 old->target, d->target_name);
  vd_target_state_free (old);
  return r;
}

/* ---- What is new ---------------------------------------------------------- */

static int
check_size (const struct sync_disk *d, struct vd_err *err)
{
  const uint64_t want = d->sync.chain->size, have = d->target.file->size;

  if (have < want)
    return vd_fail (err, VD_MISMATCH, "%s has %" PRIu64 " bytes, but %s is a disk "
                    "of %" PRIu64 " bytes; nothing was written",
                    d->target_name, have, d->source, want);
  if (have > want)
    sync_say (d, "%s is larger than the disk by %" PRIu64 " bytes; they stay as "
              "they are", d->target_name, have - want);
  return 0;
}

static int
check_space (struct sync_disk *d, struct vd_err *err)
{
  char *dir;
  uint64_t bytes;
  int r;

  if (d->target.is_nbd || d->target.is_block)
    return 0;
  if (!d->fresh)
    return vd_apply_new_space (d->sync.chain, d->target.file,
                               target_block_size (d->target_name), &bytes,
                               err) == -1 ||
      vd_check_room (-1, d->target_name, bytes, "sync", err) == -1 ? -1 : 0;
  dir = vd_directory_of (d->target_name);
  if (!dir)
    return vd_fail_nomem (err);
  r = vd_check_room (-1, dir, d->plan.data_bytes, "sync", err);
  free (dir);
  return r;
}

static int
count (struct sync_disk *d, struct vd_err *err)
{
  const struct vd_target_state *old = d->note.old;

  /* The map is walked a few times, each from start to end: a small cache does. */
  d->reader = vd_reader_new (d->sync.chain, UINT64_C (1) << 20, err);
  if (!d->reader || vd_survey_chain (d->reader, &d->survey, err) == -1)
    return -1;
  d->again = vd_sync_is_same_run (&d->sync, old, &d->survey);
  if (d->again && !old->finished && d->sync.mode != VD_SYNC_LINKS)
    d->start = old->sync.reached;
  return vd_apply_plan_from (d->sync.chain, d->start, &d->plan, err);
}

/* ---- The source ------------------------------------------------------------ */

/* The member of the machine's disk: what it uses now. */
static struct vd_member *
find_disk (struct sync_disk *d, struct vd_err *err)
{
  const struct vd_machine_view *view;

  d->machine = vd_machine_open (d->source, d->sync.family, err);
  if (!d->machine)
    return NULL;
  if (d->all->how.to_end &&
      vd_machine_check_off (d->machine, &d->all->opts.log, err) == -1)
    return NULL;
  view = vd_machine_find (d->machine, d->name ? d->name : "", err);
  if (!view)
    return NULL;
  if (!view->current) {
    vd_fail (err, VD_USAGE, "%s of %s is an older state: name the disk, %s",
             view->name, d->source, view->disk);
    return NULL;
  }
  if (!d->name)
    d->name = view->disk;
  return vd_machine_member (d->machine,
                            (size_t) (view - d->machine->view), err);
}

static int
open_source (struct sync_disk *d, struct vd_err *err)
{
  const struct sync *s = d->all;
  struct vd_member *m;

  d->sync.family = vd_family_new (&s->opts, err);
  if (!d->sync.family)
    return -1;
  m = vd_machine_probe (d->source) ? find_disk (d, err)
    : vd_family_add (d->sync.family, d->source, err);
  return m ? vd_sync_open (&d->sync, m, &s->how, &s->opts, err) : -1;
}

int
sync_prepare (struct sync_disk *d, struct vd_err *err)
{
  const struct sync *s = d->all;
  const struct vd_target_state *old;
  bool all = false;

  if (open_source (d, err) == -1)
    return -1;
  d->fresh = !d->command && !vd_is_uri (d->target_name) &&
    access (d->target_name, F_OK) == -1 && errno == ENOENT;
  if (d->fresh ? check_other_note (d, err) == -1
      : read_target (d, &all, err) == -1)
    return -1;
  if (d->fresh && s->holds)
    return vd_fail (err, VD_USAGE, "there is no %s, so it holds nothing",
                    d->target_name);
  old = d->known ? &d->held : d->note.old;
  if (vd_sync_decide (&d->sync, old, all, &s->opts, err) == -1)
    return -1;
  if (!d->sync.chain)
    return 0;
  if (!d->fresh &&
      (check_size (d, err) == -1 ||
       target_check_apart (&d->target, d->target_name, d->sync.chain,
                           err) == -1))
    return -1;
  if (target_validate (d->sync.chain, s->trust_data, &s->opts, err) == -1 ||
      count (d, err) == -1)
    return -1;
  return check_space (d, err);
}

/* ---- Writing -------------------------------------------------------------- */

static int
new_state (struct sync_disk *d, struct vd_err *err)
{
  static const struct vd_undo_marks none;
  const char *base = vd_sync_base (&d->sync);
  struct vd_sync_note *n;
  char *real;

  d->now = vd_target_state_new (d->note.old, d->note.path, d->target_name,
                                d->target.file->size, d->sync.chain,
                                &d->survey, &none, d->again, err);
  if (!d->now)
    return -1;
  n = &d->now->sync;
  real = realpath (base, NULL);
  *n = (struct vd_sync_note) {
    .there = true, .mode = d->sync.mode, .to_end = d->sync.to_end,
    .link = d->sync.link_digest, .reached = d->start, .rate = d->rate,
    .base = real ? real : strdup (base),
  };
  return n->base ? 0 : vd_fail_nomem (err);
}

static int
note_reached (void *vp, uint64_t offset, struct vd_err *err)
{
  struct sync_disk *d = vp;

  return vd_target_reached (d->now, offset, d->target.file, err);
}

static int
begin (struct sync_disk *d, struct vd_err *err)
{
  if (new_state (d, err) == -1 ||
      vd_target_begin (d->now, d->note.old, &d->survey, d->target.file,
                       d->note.own_path, err) == -1)
    return -1;
  d->writing = true;
  return d->start > 0 ? note_reached (d, d->start, err) : 0;
}

/* Of the whole work, for --progress=N. */
static unsigned
part (const struct sync_disk *d)
{
  return (unsigned) (d - d->all->disk) * (d->all->verify ? 2 : 1);
}

static unsigned
parts (const struct sync_disk *d)
{
  return (unsigned) d->all->nr_disks * (d->all->verify ? 2 : 1);
}

static int
write_new (struct sync_disk *d, struct vd_err *err)
{
  struct progress p;
  const struct vd_apply_opts how = {
    .threads = d->target.threads, .start = d->start,
    .only_differences = d->sync.only_differences,
    .sparse = d->sync.chain->has_base,
    .progress = progress_update, .opaque = &p,
    .reached = note_reached, .reached_opaque = d,
    .written = &d->written,
  };

  progress_part (part (d), parts (d));
  progress_begin (&p, d->all->progress,
                  d->sync.only_differences ? "comparing" : "writing",
                  d->plan.data_bytes + d->plan.zero_bytes);
  if (vd_apply (d->reader, d->target.file, &how, err) == -1)
    return -1;
  progress_end (&p, p.total);
  return 0;
}

static int
verify (struct sync_disk *d, struct vd_err *err)
{
  struct progress p;
  const struct vd_apply_opts how = {
    .threads = d->target.threads, .progress = progress_update, .opaque = &p,
  };

  progress_part (part (d) + 1, parts (d));
  progress_begin (&p, d->all->progress, "verifying",
                  d->plan.data_bytes + d->plan.zero_bytes);
  if (vd_apply_verify (d->reader, d->target.file, &how, err) == -1) {
    vd_err_prefix (err, "written, but verifying failed: ");
    return -1;
  }
  progress_end (&p, p.total);
  return 0;
}

/* A new file, and its note, were for nobody else until they were complete. */
static void
give_rights (const struct sync_disk *d)
{
  const struct vd_file *like = vd_chain_strictest (d->sync.chain);
  const int from = like ? vd_file_fd (like) : -1;
  CLEANUP_FD int note = -1;

  if (from == -1)
    return;
  vd_rights_copy (vd_file_fd (d->target.file), from, false);
  note = open (d->note.path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (note >= 0)
    vd_rights_copy (note, from, false);
}

/* Only of runs that tell something. */
#define RATE_MIN (UINT64_C (8) << 20)

int
sync_write (struct sync_disk *d, struct vd_err *err)
{
  struct timespec start;

  if (!d->sync.chain ||
      (d->sync.mode == VD_SYNC_LINKS && d->survey.bytes == 0 && !d->again))
    return 0;
  clock_gettime (CLOCK_MONOTONIC, &start);
  if (d->fresh && make_target (d, err) == -1)
    return -1;
  if (begin (d, err) == -1 || write_new (d, err) == -1)
    return -1;
  d->seconds = seconds_since (&start);
  if (d->plan.data_bytes >= RATE_MIN && d->seconds > 0)
    d->now->sync.rate
      = (uint64_t) ((double) d->plan.data_bytes / d->seconds) + 1;
  if (d->all->verify && verify (d, err) == -1)
    return -1;
  if (d->fresh)
    give_rights (d);
  if (vd_target_finish (d->now, &d->survey, d->target.file, d->note.own_path,
                        err) == -1)
    return -1;
  d->writing = false;
  d->seconds = seconds_since (&start);
  return 0;
}

void
sync_disk_free (struct sync_disk *d)
{
  vd_reader_free (d->reader);
  vd_target_state_free (d->now);
  target_note_free (&d->note);
  target_close (&d->target);
  vd_machine_free (d->machine);
  free (d->note_name);
  vd_sync_close (&d->sync);
}
