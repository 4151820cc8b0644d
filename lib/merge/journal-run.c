/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Carrying out a journal; see journal.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "file/file.h"
#include "file/inuse.h"
#include "file/newfile.h"
#include "merge/journal.h"

static void
close_file (struct vd_file **f)
{
  vd_file_close (*f);
}

static int
changed (const struct vd_step *s, struct vd_err *err)
{
  return vd_fail (err, VD_MISMATCH,
                  "%s was changed by another program (a VM that was started "
                  "meanwhile?) since it was merged; nothing more was written, "
                  "and nothing was removed", s->path);
}

/* Names in a journal have no links in them, so one that is there now leads
 * to what nobody looked at.
 */
static int
check_no_link (const char *path, struct vd_err *err)
{
  struct stat st;

  if (lstat (path, &st) == 0 && !S_ISREG (st.st_mode))
    return vd_fail (err, VD_DENIED, "%s is not a regular file any more, and "
                    "is not touched", path);
  return 0;
}

/* All of a small file. */
static int
read_whole (const char *path, uint8_t **data, size_t *len,
            struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *f = vd_file_open (path, err);

  if (!f)
    return -1;
  *len = (size_t) f->size;
  *data = malloc (*len + 1);
  if (!*data)
    return vd_fail_nomem (err);
  return vd_file_pread (f, *data, *len, 0, err);
}

static bool
same_bytes (const uint8_t *a, size_t n, const uint8_t *b, size_t m)
{
  return n == m && memcmp (a, b, n) == 0;
}

/* Each sector is old or new: a write may have been torn. */
static int
check_write (const struct vd_step *s, struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *f = vd_file_open (s->path, err);
  CLEANUP_FREE uint8_t *have = malloc (s->new_len + 1);
  size_t i, n;

  if (!f)
    return -1;
  if (!have)
    return vd_fail_nomem (err);
  if (vd_file_pread (f, have, s->new_len, s->offset, err) == -1)
    return -1;
  for (i = 0; i < s->new_len; i += n) {
    n = (size_t) vd_min (VD_SECTOR, s->new_len - i);
    if (memcmp (have + i, s->old_data + i, n) != 0 &&
        memcmp (have + i, s->new_data + i, n) != 0)
      return changed (s, err);
  }
  return 0;
}

static int
check_replace (const struct vd_step *s, bool *done, struct vd_err *err)
{
  CLEANUP_FREE uint8_t *have = NULL;
  size_t len;

  if (read_whole (s->path, &have, &len, err) == -1)
    return -1;
  *done = same_bytes (have, len, s->new_data, s->new_len);
  if (!*done && !same_bytes (have, len, s->old_data, s->old_len))
    return changed (s, err);
  return 0;
}

static int
check_step (const struct vd_step *s, struct vd_err *err)
{
  struct stat st;
  bool done;

  switch (s->kind) {
  case VD_STEP_WRITE:
    return check_no_link (s->path, err) == -1 ? -1 : check_write (s, err);
  case VD_STEP_REPLACE:
    return check_no_link (s->path, err) == -1 ? -1
      : check_replace (s, &done, err);
  case VD_STEP_RENAME:
    if (lstat (s->from, &st) == 0) {
      if (lstat (s->path, &st) == 0)
        return vd_fail (err, VD_USAGE, "%s, which is to be created, exists "
                        "already: move it away", s->path);
    }
    else if (lstat (s->path, &st) == -1)
      return vd_fail_errno (err, errno, "%s", s->from);
    return 0;
  case VD_STEP_UNMARK:
    return check_no_link (s->path, err);
  case VD_STEP_REMOVE:
    if (lstat (s->path, &st) == -1)
      return errno == ENOENT ? 0 : vd_fail_errno (err, errno, "%s", s->path);
    if (!S_ISREG (st.st_mode) || st.st_ino != s->ino ||
        (uint64_t) st.st_size != s->size || vd_mtime (&st) != s->mtime)
      return changed (s, err);
    return 0;
  }
  return 0;
}

static int
do_write (const struct vd_step *s, struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *f = vd_file_open_rw (s->path, err);

  if (!f || vd_file_lock (f, true, err) == -1 ||
      vd_file_pwrite (f, s->new_data, s->new_len, s->offset, err) == -1)
    return -1;
  return vd_file_flush (f, err);
}

/* Keep the old file under another name, without a moment without it. */
static int
keep_prev (const char *path, const struct stat *st, struct vd_err *err)
{
  CLEANUP_FREE char *prev = NULL, *temp = NULL;

  if (asprintf (&prev, "%s-prev", path) == -1 ||
      asprintf (&temp, "%s-prev.part", path) == -1)
    return vd_fail_nomem (err);
  unlink (temp);
  if (link (path, temp) == -1) {
    CLEANUP_FREE uint8_t *data = NULL;
    VD_CLEANUP (close_file) struct vd_file *f = NULL;
    size_t len;

    if (read_whole (path, &data, &len, err) == -1 ||
        !(f = vd_file_create (temp, err)))
      return -1;
    vd_like_the_old (f, st);
    if (vd_file_pwrite (f, data, len, 0, err) == -1 ||
        vd_file_flush (f, err) == -1)
      return -1;
  }
  if (rename (temp, prev) == -1)
    return vd_fail_errno (err, errno, "cannot rename %s to %s", temp, prev);
  unlink (temp);                /* two names of one file are not renamed */
  return 0;
}

static int
do_replace (const struct vd_step *s, struct vd_err *err)
{
  struct vd_new_file n = { .path = NULL };
  struct stat st;
  bool done;
  int r = -1;

  if (check_replace (s, &done, err) == -1)
    return -1;
  if (done)
    return 0;
  if (stat (s->path, &st) == -1)
    return vd_fail_errno (err, errno, "%s", s->path);
  if (s->prev && keep_prev (s->path, &st, err) == -1)
    return -1;
  if (vd_new_file_open (&n, s->path, true, NULL, err) == 0) {
    vd_like_the_old (n.file, &st);
    if (vd_file_pwrite (n.file, s->new_data, s->new_len, 0, err) == 0 &&
        vd_file_flush (n.file, err) == 0 &&
        vd_new_file_publish (&n, true, err) == 0)
      r = vd_flush_directory_of (s->path, err);
  }
  vd_new_file_close (&n);
  return r;
}

static int
do_step (const struct vd_step *s, struct vd_err *err)
{
  switch (s->kind) {
  case VD_STEP_WRITE:
    return do_write (s, err);
  case VD_STEP_REPLACE:
    return do_replace (s, err);
  case VD_STEP_RENAME:
    if (rename (s->from, s->path) == -1 && errno != ENOENT)
      return vd_fail_errno (err, errno, "cannot rename %s to %s", s->from,
                            s->path);
    break;
  case VD_STEP_UNMARK:
  case VD_STEP_REMOVE:
    if (unlink (s->path) == -1 && errno != ENOENT)
      return vd_fail_errno (err, errno, "cannot remove %s", s->path);
    break;
  }
  return vd_flush_directory_of (s->path, err);
}

int
vd_journal_check (const struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < j->n; ++i)
    if (check_step (&j->step[i], err) == -1)
      return -1;
  return 0;
}

int
vd_journal_check_unused (const struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < j->n; ++i) {
    VD_CLEANUP (close_file) struct vd_file *f = NULL;
    const struct vd_step *s = &j->step[i];

    if ((s->kind != VD_STEP_WRITE && s->kind != VD_STEP_REMOVE) ||
        access (s->path, F_OK) == -1)
      continue;
    f = vd_file_open (s->path, err);
    if (!f || vd_check_unlocked (s->path, err) == -1 ||
        vd_file_lock (f, false, err) == -1 ||
        vd_check_no_writer (f, err) == -1)
      return -1;
  }
  return 0;
}

static void
remove_leftovers (const struct vd_journal *j)
{
  size_t i;

  vd_new_file_clean (j->path);
  for (i = 0; i < j->n; ++i)
    if (j->step[i].kind == VD_STEP_REPLACE)
      vd_new_file_clean (j->step[i].path);
}

int
vd_journal_run (const struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  if (vd_journal_check (j, err) == -1) {
    vd_err_prefix (err, "the merge that %s describes cannot be completed (to "
                   "give it up, remove that file): ", j->path);
    return -1;
  }
  for (i = 0; i < j->n; ++i)
    if (do_step (&j->step[i], err) == -1) {
      vd_err_prefix (err, "the merge is not complete, run it again: ");
      return -1;
    }
  remove_leftovers (j);
  if (unlink (j->path) == -1 && errno != ENOENT)
    return vd_fail_errno (err, errno, "cannot remove %s", j->path);
  return vd_flush_directory_of (j->path, err);
}
