/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Putting a new machine file in the place of the old one; see vbox-edit.h. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "file/newfile.h"
#include "vbox/vbox-edit.h"

/* Fails if the file is not what was read into box. */
static int
check_unchanged (const struct vd_vbox *box, const char *path,
                 struct vd_err *err)
{
  CLEANUP_FREE char *now = NULL;
  struct vd_file *file = vd_file_open (path, err);
  int r = -1;
  bool same = false;

  if (!file)
    return -1;
  if (file->size == box->len) {
    now = malloc (box->len + 1);
    r = now ? vd_file_pread (file, now, box->len, 0, err)
      : vd_fail_nomem (err);
    same = r == 0 && memcmp (now, box->text, box->len) == 0;
  }
  else
    r = 0;
  vd_file_close (file);
  if (r == 0 && !same)
    r = vd_fail (err, VD_MISMATCH, "%s was changed by another program since it "
                 "was read (is VirtualBox open?); it was not replaced", path);
  return r;
}

/* A complete and flushed file of that content under n->temp. */
static int
write_temporary (struct vd_new_file *n, const char *path,
                 const struct stat *old, const char *text, size_t len,
                 struct vd_err *err)
{
  if (vd_new_file_open (n, path, true, NULL, err) == -1)
    return -1;
  vd_like_the_old (n->file, old);
  return vd_file_pwrite (n->file, text, len, 0, err) == -1 ? -1
    : vd_file_flush (n->file, err);
}

/* The old file under its second name, which so far is a temporary one. */
static int
keep_old (struct vd_new_file *n, const char *path, const char *prev,
          const struct stat *old, const struct vd_vbox *box,
          struct vd_err *err)
{
  if (write_temporary (n, prev, old, box->text, box->len, err) == -1)
    return -1;
  /* A link keeps the times and whatever else belongs to the old file; where
   * there are no links, the copy has to do.
   */
  if (unlink (n->temp) == 0 && link (path, n->temp) == 0)
    return 0;
  vd_new_file_close (n);
  return write_temporary (n, prev, old, box->text, box->len, err);
}

static int
replace (const struct vd_vbox *box, const char *path, const char *prev,
         const char *text, size_t len, struct vd_new_file *fresh,
         struct vd_new_file *kept, struct vd_err *err)
{
  struct stat old, st;
  bool is_kept;                 /* by a run that was cut off */

  if (stat (path, &old) == -1)
    return vd_fail_errno (err, errno, "%s", path);
  /* Renaming between two links of one file would leave both. */
  is_kept = lstat (prev, &st) == 0 && st.st_dev == old.st_dev &&
    st.st_ino == old.st_ino;
  if (write_temporary (fresh, path, &old, text, len, err) == -1 ||
      (!is_kept && keep_old (kept, path, prev, &old, box, err) == -1) ||
      check_unchanged (box, path, err) == -1 ||
      (!is_kept && vd_new_file_publish (kept, true, err) == -1) ||
      vd_new_file_publish (fresh, true, err) == -1)
    return -1;
  return vd_flush_directory_of (path, err);
}

int
vd_vbox_replace (const struct vd_vbox *box, const char *text, size_t len,
                 struct vd_err *err)
{
  CLEANUP_FREE char *path = realpath (box->path, NULL), *prev = NULL;
  struct vd_new_file fresh = { .path = NULL }, kept = { .path = NULL };
  int r;

  if (!path)
    return vd_fail_errno (err, errno, "%s", box->path);
  if (asprintf (&prev, "%s-prev", path) == -1) {
    prev = NULL;
    return vd_fail_nomem (err);
  }
  r = check_unchanged (box, path, err);
  if (r == 0)
    r = replace (box, path, prev, text, len, &fresh, &kept, err);
  vd_new_file_close (&fresh);
  vd_new_file_close (&kept);
  return r;
}
