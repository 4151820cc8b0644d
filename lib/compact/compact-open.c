/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Opening the files of a link to be compacted, when nobody else uses them. */

#include "compact/compact-parts.h"
#include "file/inuse.h"

struct vd_file **
vd_compact_open (const struct vd_link *link, bool dry_run,
                 struct vd_err *err)
{
  struct vd_file **files = calloc (link->nr_pieces + 1, sizeof *files);
  size_t i, j;

  if (!files) {
    vd_fail_nomem (err);
    return NULL;
  }
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_file *f = link->pieces[i].image->file;

    /* Flat extents may lie in one file. */
    for (j = 0; f && j < i && !files[i]; ++j)
      if (files[j] && vd_file_same (files[j], f))
        files[i] = files[j];
    if (!f || files[i])
      continue;
    files[i] = dry_run ? vd_file_reopen (f, err) : vd_file_reopen_rw (f, err);
    if (!files[i]) {
      vd_compact_close (files, link->nr_pieces);
      return NULL;
    }
  }
  return files;
}

void
vd_compact_close (struct vd_file **files, size_t n)
{
  size_t i, j;

  if (!files)
    return;
  for (i = 0; i < n; ++i) {
    for (j = i + 1; j < n; ++j)
      if (files[j] == files[i])
        files[j] = NULL;
    vd_file_close (files[i]);
  }
  free (files);
}

/* One sign of use is enough; see inuse.h. */
int
vd_compact_unused (const struct vd_link *link, struct vd_err *err)
{
  size_t i;

  if (vd_check_unlocked (link->path, err) == -1)
    return -1;
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_file *f = link->pieces[i].image->file;

    if (f && (vd_check_unlocked (f->name, err) == -1 ||
              vd_check_no_writer (f, err) == -1))
      return -1;
  }
  return 0;
}

static int
lock_files (struct vd_file *const *files, size_t n, bool lock,
            struct vd_err *err)
{
  size_t i, j;

  for (i = 0; i < n; ++i) {
    for (j = 0; j < i && files[j] != files[i]; ++j)
      ;
    if (j == i && files[i] && vd_file_lock (files[i], lock, err) == -1)
      return -1;
  }
  return 0;
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
  if (vd_compact_unused (link, err) == 0)
    files = vd_compact_open (link, how->dry_run, err);
  if (files && lock_files (files, link->nr_pieces, !how->dry_run, err) == 0)
    r = vd_compact (link, files, how, result, err);
  vd_compact_close (files, link->nr_pieces);
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
  if (vd_check_unlocked (path, err) == 0 &&
      vd_check_no_writer (look, err) == 0)
    file = how->dry_run ? vd_file_reopen (look, err)
      : vd_file_reopen_rw (look, err);
  if (file && vd_file_lock (file, !how->dry_run, err) == 0)
    r = vd_compact_file (file, how, result, err);
  vd_file_close (file);
  vd_file_close (look);
  return r;
}
