/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Compacting a link in place: one extent after the other; see compact.h. */

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "chain/link-files.h"
#include "chain/merging.h"
#include "check/check.h"
#include "compact/compact-parts.h"
#include "file/inuse.h"

int
vd_compact_tell (struct vd_compact_state *st, enum vd_compact_phase phase,
                 uint64_t more, struct vd_err *err)
{
  if (phase != st->phase) {
    st->phase = phase;
    st->done = 0;
    st->total = st->result->moved;
  }
  st->done += more;
  if (st->opts->progress &&
      st->opts->progress (st->opts->opaque, phase, st->done,
                          vd_max (st->total, st->done)) != 0)
    return vd_fail (err, VD_USAGE, "stopped before the end; the image reads "
                    "as before: run the same command again");
  return 0;
}

uint64_t
vd_compact_allocated (const struct vd_file *file)
{
  const int fd = vd_file_fd (file);
  struct stat st;

  return fd >= 0 && fstat (fd, &st) == 0 ? (uint64_t) st.st_blocks * 512
    : file->size;
}

/* ---- What can be compacted ---------------------------------------------- */

static int
refuse (const struct vd_image *image, struct vd_err *err)
{
  const char *name = image->file->name, *why;

  if (image->compressed)
    why = "its grains are compressed, and zeros take a sector at the most; "
      "what is left of them when it is written anew: vmdkdelta create "
      "--format=stream";
  else if (image->fmt == &vd_format_cowd)
    why = "COWD has no entry for zeros, and no order of steps is known that "
      "would be safe in place; write it anew: vmdkdelta create --format=cowd";
  else
    why = "nobody published how it is written; on its ESXi host the guest's "
      "own trim does it, here a new file: vmdkdelta create --format=sparse";
  return vd_fail (err, VD_UNSUPPORTED, "%s: a %s extent cannot be compacted: "
                  "%s --from=PARENT --to=DISK NEW", name, image->fmt->name,
                  why);
}

/* Who compacts which format.  Zeros without a file need nobody, and what is
 * lost is refused by the check that comes first.
 */
static const struct {
  const struct vd_format *of;
  const struct vd_compact_format *by;
} formats[] = {
  { &vd_format_flat, &vd_compact_flat },
  { &vd_format_vdi, &vd_compact_vdi },
  { &vd_format_kdmv, &vd_compact_kdmv },
  { &vd_format_zero, NULL },
  { &vd_format_lost, NULL },
};

static int
format_of (const struct vd_image *image,
           const struct vd_compact_format **fmt, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < sizeof formats / sizeof formats[0]; ++i)
    if (image->fmt == formats[i].of && !image->compressed) {
      *fmt = formats[i].by;
      return 0;
    }
  return refuse (image, err);
}

int
vd_compact_check (const struct vd_link *link, bool in_place,
                  struct vd_err *err)
{
  const struct vd_check_opts opts = {
    .stop_at_first_error = true, .errors_only = true,
    .memory = UINT64_C (16) << 20, .for_writing = in_place,
  };
  const struct vd_compact_format *fmt;
  struct vd_check_report report;
  size_t i;
  int r;

  if (link->role == VD_ROLE_BARE)
    return vd_fail (err, VD_USAGE,
                    "%s is an extent without its descriptor, so it cannot be "
                    "told whether it has a parent: give the descriptor",
                    link->path);
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_image *image = link->pieces[i].image;

    if (format_of (image, &fmt, err) == -1)
      return -1;
    if (in_place && image->chosen_tables)
      return vd_fail (err, VD_USAGE, "%s: by one of two sets of tables "
                      "(--tables) only a new file is made: add --output=NEW",
                      image->file->name);
  }
  if (vd_link_check_apart (link, err) == -1)
    return -1;
  r = vd_check_link (link, &opts, &report, err);
  if (r == 0)
    r = vd_check_result (&report, err);
  vd_check_report_free (&report);
  if (r == -1)
    vd_err_prefix (err, "nothing was written: ");
  return r;
}

/* ---- All extents -------------------------------------------------------- */

void
vd_compact_free_job (struct vd_compact_job *job)
{
  if (job->fmt)
    job->fmt->free (job);
  free (job->free.range);
}

static void
free_jobs (struct vd_compact_job *jobs, size_t n)
{
  size_t i;

  for (i = 0; jobs && i < n; ++i)
    vd_compact_free_job (&jobs[i]);
  free (jobs);
}

int
vd_compact_make_job (struct vd_compact_job *job, const struct vd_link *link,
                     size_t i, struct vd_file *file,
                     const struct vd_guest *guest,
                     struct vd_compact_state *st, struct vd_err *err)
{
  const struct vd_image *image = link->pieces[i].image;

  if (format_of (image, &job->fmt, err) == -1)
    return -1;
  job->st = st;
  job->image = image;
  job->file = file;
  job->child = link->role != VD_ROLE_BASE;
  job->length = image->used;
  if (!job->fmt)
    return 0;
  if (!file || !vd_file_same (file, image->file))
    return vd_fail (err, VD_USAGE, "%s: opened for writing is not the file "
                    "that was read", image->file->name);
  if (file->size != image->file->size)
    return vd_fail (err, VD_MISMATCH, "%s has changed its size: something "
                    "else writes to it", file->name);
  if (job->fmt == &vd_compact_flat)
    job->start = vd_flat_start (image);
  return vd_compact_job_free (job, link->pieces[i].start, guest, err);
}

/* Sizes of files, each once. */
static void
add_sizes (struct vd_file *const *files, size_t n, uint64_t *size,
           uint64_t *blocks)
{
  size_t i, j;

  for (i = 0; i < n; ++i) {
    for (j = 0; j < i && files[j] != files[i]; ++j)
      ;
    if (j < i || !files[i])
      continue;
    *size += files[i]->size;
    *blocks += vd_compact_allocated (files[i]);
  }
}

static int
run_jobs (struct vd_compact_job *jobs, size_t n, struct vd_file *const *files,
          struct vd_err *err)
{
  struct vd_compact_state *st = jobs[0].st;
  struct vd_compact_result *r = st->result;
  uint64_t size = 0;
  size_t i;

  add_sizes (files, n, &r->size_before, &r->allocated_before);
  r->allocated_after = r->allocated_before;
  for (i = 0; i < n; ++i)
    if (jobs[i].fmt && jobs[i].fmt->look (&jobs[i], err) == -1)
      return -1;
  r->size_after = r->size_before - st->shrink;
  if (st->opts->dry_run)
    return 0;
  for (i = 0; i < n; ++i)
    if (jobs[i].fmt && jobs[i].fmt->run (&jobs[i], err) == -1)
      return -1;
  r->allocated_after = 0;
  add_sizes (files, n, &size, &r->allocated_after);
  return 0;
}

int
vd_compact (struct vd_link *link, struct vd_file *const *files,
            const struct vd_compact_opts *opts,
            struct vd_compact_result *result, struct vd_err *err)
{
  struct vd_compact_state st = { .opts = opts, .result = result };
  struct vd_guest *guest = NULL;
  struct vd_compact_job *jobs;
  size_t i;
  int r = 0;

  memset (result, 0, sizeof *result);
  if (vd_compact_check (link, true, err) == -1 ||
      vd_compact_guest (link, NULL, &st, &guest, err) == -1)
    return -1;
  jobs = calloc (link->nr_pieces + 1, sizeof *jobs);
  if (!jobs)
    r = vd_fail_nomem (err);
  for (i = 0; i < link->nr_pieces && r == 0; ++i)
    r = vd_compact_make_job (&jobs[i], link, i, files[i], guest, &st, err);
  vd_guest_free (guest);
  if (r == 0 && link->nr_pieces > 0)
    r = run_jobs (jobs, link->nr_pieces, files, err);
  free_jobs (jobs, link->nr_pieces);
  return r;
}

int
vd_compact_file (struct vd_file *file, const struct vd_compact_opts *opts,
                 struct vd_compact_result *result, struct vd_err *err)
{
  struct vd_compact_state st = { .opts = opts, .result = result };
  struct vd_compact_job job = {
    .fmt = &vd_compact_flat, .st = &st, .file = file, .length = file->size,
  };
  struct vd_guest *guest = NULL;
  int r;

  memset (result, 0, sizeof *result);
  if (vd_compact_guest (NULL, file, &st, &guest, err) == -1)
    return -1;
  r = vd_compact_job_free (&job, 0, guest, err);
  vd_guest_free (guest);
  if (r == 0)
    r = run_jobs (&job, 1, &file, err);
  free (job.free.range);
  return r;
}

/* ---- By name, when nobody else uses the files --------------------------- */

static int
check_same (const struct vd_link *link, const struct vd_link *want,
            struct vd_err *err)
{
  bool same = !want || (link->ino == want->ino && link->dev == want->dev &&
                        link->nr_pieces == want->nr_pieces);
  size_t i;

  for (i = 0; want && same && i < link->nr_pieces; ++i) {
    const struct vd_file *a = link->pieces[i].image->file;
    const struct vd_file *b = want->pieces[i].image->file;

    same = a && b ? vd_file_same (a, b) : !a && !b;
  }
  return same ? 0
    : vd_fail (err, VD_MISMATCH, "%s was replaced by another file while it "
               "was written", link->path);
}

int
vd_compact_in_place (const char *path, const struct vd_opts *opts,
                     const struct vd_compact_opts *how,
                     struct vd_compact_result *result, struct vd_err *err)
{
  struct vd_link *link = vd_link_open (path, opts, err);
  struct vd_file **files = NULL;
  int r = -1;

  if (!link)
    return -1;
  if (check_same (link, how->same, err) == 0 &&
      vd_link_check_unused (link, true, err) == 0)
    files = vd_link_files_open (link, !how->dry_run, err);
  if (files && vd_link_files_lock (files, link->nr_pieces, !how->dry_run,
                                   err) == 0)
    r = vd_compact (link, files, how, result, err);
  vd_link_files_close (files, link->nr_pieces);
  vd_link_close (link);
  return r;
}

int
vd_compact_raw (const char *path, const struct vd_compact_opts *how,
                struct vd_compact_result *result, struct vd_err *err)
{
  struct vd_file *look = vd_file_open (path, err), *file = NULL;
  int r = -1;

  if (!look)
    return -1;
  if (vd_merging_refuse (path, err) == 0 &&
      vd_check_unlocked (path, err) == 0 &&
      vd_check_no_writer (look, err) == 0)
    file = how->dry_run ? vd_file_reopen (look, err)
      : vd_file_reopen_rw (look, err);
  if (file && vd_file_lock (file, !how->dry_run, err) == 0)
    r = vd_compact_file (file, how, result, err);
  vd_file_close (file);
  vd_file_close (look);
  return r;
}
