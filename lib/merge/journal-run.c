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
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "file/file.h"
#include "file/inuse.h"
#include "file/newfile.h"
#include "file/rights.h"
#include "format/descriptor.h"
#include "format/image.h"
#include "merge/journal.h"
#include "vbox/vbox.h"

/* Machine files have a few MiB at most. */
#define MAX_DESCRIPTION (UINT64_C (64) << 20)

/* What a step found. */
enum state { TO_DO, DONE };

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

static int
not_ours (const struct vd_step *s, struct vd_err *err)
{
  return vd_fail (err, VD_DENIED, "%s is neither an image nor the description "
                  "of one: it is not touched", s->path);
}

static bool
has_end (const char *path, const char *end)
{
  const size_t n = strlen (path), m = strlen (end);

  return n >= m && strcasecmp (path + n - m, end) == 0;
}

/* All of a small file, with a NUL behind it. */
static int
read_whole (struct vd_file *f, uint8_t **data, size_t *len,
            struct vd_err *err)
{
  *len = (size_t) f->size;
  *data = malloc (*len + 1);
  if (!*data)
    return vd_fail_nomem (err);
  (*data)[*len] = '\0';
  return vd_file_pread (f, *data, *len, 0, err);
}

/* A text that tells of a disk, or of a machine. */
static bool
is_description (const struct vd_step *s, enum vd_magic magic, char *text,
                size_t len)
{
  static const struct vd_log quiet;
  struct vd_descriptor *d = NULL;
  struct vd_vbox *box = NULL;
  struct vd_err ignored;
  bool yes;

  if (magic == VD_MAGIC_TEXT)
    d = vd_descriptor_parse (text, len, s->path, &quiet, &ignored);
  else if (magic == VD_MAGIC_FOREIGN && s->kind == VD_STEP_REPLACE)
    box = vd_vbox_parse_registry (s->path, text, len, &ignored);
  yes = d || box;
  vd_descriptor_free (d);
  vd_vbox_free (box);
  return yes;
}

/* A journal is about disks.  Whatever else one names was planted. */
static int
check_image (const struct vd_step *s, struct vd_file *f, struct vd_err *err)
{
  CLEANUP_FREE uint8_t *text = NULL;
  const struct vd_format *fmt;
  enum vd_magic magic;
  size_t len;

  if (vd_image_probe (f, &magic, &fmt, err) == -1)
    return -1;
  if (magic == VD_MAGIC_SPARSE && s->kind != VD_STEP_REPLACE)
    return 0;
  if (s->kind == VD_STEP_REMOVE && has_end (s->path, "-ctk.vmdk"))
    return 0;
  if (s->kind == VD_STEP_WRITE || f->size > MAX_DESCRIPTION)
    return not_ours (s, err);
  if (read_whole (f, &text, &len, err) == -1)
    return -1;
  return is_description (s, magic, (char *) text, len) ? 0
    : not_ours (s, err);
}

static bool
same_bytes (const uint8_t *a, size_t n, const uint8_t *b, size_t m)
{
  return n == m && memcmp (a, b, n) == 0;
}

/* ---- Looking ------------------------------------------------------------- */

static bool
is_the_file (struct vd_journal *j, const struct vd_step *s, dev_t dev,
             ino_t ino)
{
  return ino == s->ino &&
    (j->loaded ? vd_journal_is_on (j, s->fs, dev) : dev == s->dev);
}

/* Each sector is old or new: a write may have been torn. */
static int
look_at_write (struct vd_journal *j, const struct vd_step *s,
               struct vd_file *f, struct vd_err *err)
{
  CLEANUP_FREE uint8_t *have = malloc (s->new_len + 1);
  size_t i, n;

  if (!have)
    return vd_fail_nomem (err);
  if (!is_the_file (j, s, f->dev, f->ino))
    return changed (s, err);
  if (check_image (s, f, err) == -1 ||
      vd_file_pread (f, have, s->new_len, s->offset, err) == -1)
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
look_at_replaced (struct vd_journal *j, const struct vd_step *s,
                  struct vd_file *f, enum state *state, struct vd_err *err)
{
  CLEANUP_FREE uint8_t *have = NULL;
  size_t len;

  if (read_whole (f, &have, &len, err) == -1)
    return -1;
  *state = same_bytes (have, len, s->new_data, s->new_len) ? DONE : TO_DO;
  if (*state == DONE)
    return 0;
  if (!is_the_file (j, s, f->dev, f->ino) ||
      !same_bytes (have, len, s->old_data, s->old_len))
    return changed (s, err);
  return check_image (s, f, err);
}

static int
look_at_renamed (struct vd_journal *j, const struct vd_step *s,
                 const char *from, const char *to, enum state *state,
                 struct vd_err *err)
{
  struct stat st;

  *state = TO_DO;
  if (!has_end (s->path, ".vmdk") && !has_end (s->path, ".vdi"))
    return not_ours (s, err);
  if (lstat (from, &st) == 0) {
    if (!S_ISREG (st.st_mode) || !is_the_file (j, s, st.st_dev, st.st_ino))
      return changed (s, err);
    if (lstat (to, &st) == 0)
      return vd_fail (err, VD_USAGE, "%s, which is to be created, exists "
                      "already: move it away", s->path);
    return 0;
  }
  if (lstat (to, &st) == -1)
    return vd_fail_errno (err, errno, "%s", s->from);
  if (!S_ISREG (st.st_mode) || !is_the_file (j, s, st.st_dev, st.st_ino))
    return changed (s, err);
  *state = DONE;
  return 0;
}

static int
look_at_removed (struct vd_journal *j, const struct vd_step *s,
                 const char *pinned, enum state *state, struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *f = NULL;
  struct stat st;

  if (lstat (pinned, &st) == -1) {
    *state = DONE;
    return errno == ENOENT ? 0 : vd_fail_errno (err, errno, "%s", s->path);
  }
  *state = TO_DO;
  if (!S_ISREG (st.st_mode))
    return changed (s, err);
  f = vd_file_open_pinned (pinned, s->path, false, err);
  if (!f)
    return -1;
  if (fstat (vd_file_fd (f), &st) == -1 ||
      !is_the_file (j, s, st.st_dev, st.st_ino) ||
      (uint64_t) st.st_size != s->size || vd_mtime (&st) != s->mtime)
    return changed (s, err);
  return s->kind == VD_STEP_UNMARK ? 0 : check_image (s, f, err);
}

static int
look_at (struct vd_journal *j, const struct vd_step *s, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, s->path, err), *from = NULL;
  VD_CLEANUP (close_file) struct vd_file *f = NULL;
  enum state state;

  if (!pinned)
    return -1;
  switch (s->kind) {
  case VD_STEP_WRITE:
    f = vd_file_open_pinned (pinned, s->path, false, err);
    return f ? look_at_write (j, s, f, err) : -1;
  case VD_STEP_REPLACE:
    f = vd_file_open_pinned (pinned, s->path, false, err);
    return f ? look_at_replaced (j, s, f, &state, err) : -1;
  case VD_STEP_RENAME:
    from = vd_pin (&j->pins, s->from, err);
    return from ? look_at_renamed (j, s, from, pinned, &state, err) : -1;
  case VD_STEP_UNMARK:
  case VD_STEP_REMOVE:
    return look_at_removed (j, s, pinned, &state, err);
  }
  return 0;
}

/* ---- Doing --------------------------------------------------------------- */

/* What is looked at here is the very file that is written to. */
static int
do_write (struct vd_journal *j, const struct vd_step *s, const char *pinned,
          struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *f
    = vd_file_open_pinned (pinned, s->path, true, err);

  if (!f || vd_file_lock (f, true, err) == -1 ||
      look_at_write (j, s, f, err) == -1 ||
      vd_file_pwrite (f, s->new_data, s->new_len, s->offset, err) == -1)
    return -1;
  return vd_file_flush (f, err);
}

/* A link to the file that was looked at, whatever has its name now. */
static int
link_old (const struct vd_file *old, const char *temp)
{
  char proc[64];

  snprintf (proc, sizeof proc, "/proc/self/fd/%d", vd_file_fd (old));
  return linkat (AT_FDCWD, proc, AT_FDCWD, temp, AT_SYMLINK_FOLLOW);
}

static int
copy_old (const struct vd_step *s, const struct vd_file *old,
          const char *temp, struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *f = vd_file_create_private (temp, err);

  if (!f)
    return -1;
  if (vd_file_pwrite (f, s->old_data, s->old_len, 0, err) == -1)
    return -1;
  vd_rights_copy (vd_file_fd (f), vd_file_fd (old), true);
  return vd_file_flush (f, err);
}

/* Keep the old file under another name, without a moment without it. */
static int
keep_prev (const struct vd_step *s, const struct vd_file *old,
           const char *pinned, struct vd_err *err)
{
  CLEANUP_FREE char *prev = NULL, *temp = NULL;

  if (asprintf (&prev, "%s-prev", pinned) == -1) {
    prev = NULL;
    return vd_fail_nomem (err);
  }
  if (asprintf (&temp, "%s-prev.part", pinned) == -1) {
    temp = NULL;
    return vd_fail_nomem (err);
  }
  unlink (temp);
  if (link_old (old, temp) == -1 && copy_old (s, old, temp, err) == -1)
    return -1;
  if (rename (temp, prev) == -1)
    return vd_fail_errno (err, errno, "cannot rename %s-prev.part to "
                          "%s-prev", s->path, s->path);
  unlink (temp);                /* two names of one file are not renamed */
  return 0;
}

static int
do_replace (struct vd_journal *j, const struct vd_step *s, const char *pinned,
            struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *old
    = vd_file_open_pinned (pinned, s->path, false, err);
  struct vd_new_file n = { .path = NULL };
  enum state state;
  int r = -1;

  if (!old || look_at_replaced (j, s, old, &state, err) == -1)
    return -1;
  if (state == DONE)
    return 0;
  if (s->prev && keep_prev (s, old, pinned, err) == -1)
    return -1;
  if (vd_new_file_open (&n, pinned, true, NULL, err) == 0)
    r = vd_file_pwrite (n.file, s->new_data, s->new_len, 0, err);
  if (r == 0)
    r = vd_file_flush (n.file, err);
  if (r == 0)
    r = vd_new_file_publish (&n, true, err);
  vd_new_file_close (&n);
  return r;
}

static int
do_rename (struct vd_journal *j, const struct vd_step *s, const char *pinned,
           struct vd_err *err)
{
  CLEANUP_FREE char *from = vd_pin (&j->pins, s->from, err);
  enum state state;

  if (!from || look_at_renamed (j, s, from, pinned, &state, err) == -1)
    return -1;
  if (state == TO_DO && vd_rename_new (from, pinned) == -1)
    return vd_fail_errno (err, errno, "cannot rename %s to %s", s->from,
                          s->path);
  return 0;
}

/* At worst another name in the same directory goes, never a file elsewhere. */
static int
do_remove (struct vd_journal *j, const struct vd_step *s, const char *pinned,
           struct vd_err *err)
{
  enum state state;

  if (look_at_removed (j, s, pinned, &state, err) == -1)
    return -1;
  if (state == TO_DO && unlink (pinned) == -1 && errno != ENOENT)
    return vd_fail_errno (err, errno, "cannot remove %s", s->path);
  return 0;
}

static int
do_step (struct vd_journal *j, const struct vd_step *s, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, s->path, err);
  int r = -1;

  if (!pinned)
    return -1;
  switch (s->kind) {
  case VD_STEP_WRITE:
    return do_write (j, s, pinned, err);
  case VD_STEP_REPLACE:
    r = do_replace (j, s, pinned, err);
    break;
  case VD_STEP_RENAME:
    r = do_rename (j, s, pinned, err);
    break;
  case VD_STEP_UNMARK:
  case VD_STEP_REMOVE:
    r = do_remove (j, s, pinned, err);
    break;
  }
  return r == -1 ? -1 : vd_pin_flush (pinned, s->path, err);
}

int
vd_journal_check (struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < j->n; ++i)
    if (look_at (j, &j->step[i], err) == -1)
      return -1;
  return 0;
}

int
vd_journal_check_unused (struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < j->n; ++i) {
    VD_CLEANUP (close_file) struct vd_file *f = NULL;
    const struct vd_step *s = &j->step[i];
    CLEANUP_FREE char *pinned = vd_pin (&j->pins, s->path, err);

    if (!pinned)
      return -1;
    if ((s->kind != VD_STEP_WRITE && s->kind != VD_STEP_REMOVE) ||
        access (pinned, F_OK) == -1)
      continue;
    f = vd_file_open_pinned (pinned, s->path, false, err);
    if (!f || vd_check_unlocked (s->path, err) == -1 ||
        vd_file_lock (f, false, err) == -1 ||
        vd_check_no_writer (f, err) == -1)
      return -1;
  }
  return 0;
}

static void
clean_pinned (struct vd_journal *j, const char *path)
{
  struct vd_err ignored;
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, path, &ignored);

  if (pinned)
    vd_new_file_clean (pinned);
}

static void
remove_leftovers (struct vd_journal *j)
{
  size_t i;

  clean_pinned (j, j->path);
  for (i = 0; i < j->n; ++i)
    if (j->step[i].kind == VD_STEP_REPLACE)
      clean_pinned (j, j->step[i].path);
}

int
vd_journal_run (struct vd_journal *j, struct vd_err *err)
{
  CLEANUP_FREE char *own = vd_pin (&j->pins, j->path, err);
  size_t i;

  if (!own)
    return -1;
  if (vd_journal_check (j, err) == -1) {
    vd_err_prefix (err, "the merge that %s describes cannot be completed (to "
                   "give it up, remove that file): ", j->path);
    return -1;
  }
  for (i = 0; i < j->n; ++i)
    if (do_step (j, &j->step[i], err) == -1) {
      vd_err_prefix (err, "the merge is not complete, run it again: ");
      return -1;
    }
  remove_leftovers (j);
  if (unlink (own) == -1 && errno != ENOENT)
    return vd_fail_errno (err, errno, "cannot remove %s", j->path);
  return vd_pin_flush (own, j->path, err);
}
