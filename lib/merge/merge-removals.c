/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a merge removes, and what it leaves though nobody needs it any more.
 *
 * A descriptor can name any file below its directory as its extent, and a file
 * in any folder there as its parent: that of another machine, too.  Reading it
 * is harmless, and removing it is not.  So an extent is removed only from the
 * directory in which its descriptor is.  A link is removed only where the files
 * of one disk lie, as the products and the user put them:
 *
 *   - in the directory of the newest file, which the user named, its folder
 *     for snapshots, and the directory whose folder for snapshots that is;
 *   - of a machine, in its directory and its folder for snapshots;
 *   - below the directories that the user named (parent-path), and anywhere
 *     with unconfined.
 *
 * What stays is told before anything is written, and the user removes it.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "merge/merge-private.h"

/* ---- Where things are ----------------------------------------------------- */

/* Is the directory of the full name `file` this one, or below it?  1, 0; -1: it
 * cannot be found out.  A directory that is not there has no files.
 */
static int
is_in (const char *file, const char *dir, bool below, struct vd_err *err)
{
  CLEANUP_FREE char *real = realpath (dir, NULL);
  const size_t n = real ? strlen (real) : 0;
  const char *slash = strrchr (file, '/');

  if (!real && (errno == ENOENT || errno == ENOTDIR))
    return 0;
  if (!real)
    return vd_fail_errno (err, errno, "%s", dir);
  if (strcmp (real, "/") == 0)
    return below || slash == file;
  return strncmp (file, real, n) == 0 && file[n] == '/' &&
    (below || file + n == slash);
}

static int
is_in_folder (const char *file, const char *dir, const char *folder,
              struct vd_err *err)
{
  CLEANUP_FREE char *path = NULL;

  if (folder[0] == '/')
    return is_in (file, folder, false, err);
  if (asprintf (&path, "%s/%s", dir, folder) == -1) {
    path = NULL;
    return vd_fail_nomem (err);
  }
  return is_in (file, path, false, err);
}

/* In the directories that the disk has by itself? */
static int
is_beside (const struct vd_merge *m, const char *file, struct vd_err *err)
{
  CLEANUP_FREE char *dir = vd_directory_of (m->top), *above = NULL;
  int r;

  if (!dir)
    return vd_fail_nomem (err);
  r = is_in (file, dir, false, err);
  if (r == 0)
    r = is_in_folder (file, dir, VD_SNAPSHOTS, err);
  if (r == 0 && m->box)
    r = is_in_folder (file, dir, vd_vbox_snapshot_folder (m->box), err);
  if (r != 0 || m->box || !vd_is_snapshots (dir))
    return r;
  above = vd_directory_of (dir);
  return above ? is_in (file, above, false, err) : vd_fail_nomem (err);
}

static int
is_of_disk (const struct vd_merge *m, const char *file, struct vd_err *err)
{
  size_t i;
  int r;

  if (m->opts.unconfined)
    return 1;
  for (i = 0; i < m->opts.nr_dirs; ++i) {
    r = is_in (file, m->opts.dirs[i], true, err);
    if (r != 0)
      return r;
  }
  return is_beside (m, file, err);
}

/* ---- Steps ---------------------------------------------------------------- */

static int
keep_file (struct vd_merge *m, const char *file, const char *of,
           bool extent, struct vd_err *err)
{
  char **p = vd_grow (m->kept, m->nr_kept, sizeof *p, err);

  if (!p)
    return -1;
  m->kept = p;
  if (asprintf (&p[m->nr_kept], "keep    %s", file) == -1)
    return vd_fail_nomem (err);
  m->nr_kept++;
  vd_warn (&m->opts.log, "%s will not be removed: it is not in the directory "
           "of %s, and may belong to another disk.  If not, %s%s%sremove it "
           "afterwards", file, of,
           extent ? "" : "name its directory with ",
           extent ? "" : vd_opts_prefix (),
           extent ? "" : "parent-path, or ");
  return 0;
}

/* Takes the full name over. */
static int
remove_step (struct vd_merge *m, struct vd_merge_numbers *sum, char *real,
             ino_t ino, struct vd_err *err)
{
  struct vd_journal *j = m->removals;
  struct stat st;
  size_t i;

  for (i = 0; i < j->n; ++i)
    if (strcmp (j->step[i].path, real) == 0) {
      free (real);
      return 0;
    }
  if (lstat (real, &st) == 0)
    sum->freed += (uint64_t) st.st_blocks * 512;
  if (vd_journal_add_removal (j, VD_STEP_REMOVE, real, err) == -1)
    return -1;
  if (ino == 0 || j->step[j->n - 1].ino == ino)
    return 0;
  return vd_fail (err, VD_MISMATCH, "%s was replaced by another file "
                  "meanwhile", j->step[j->n - 1].path);
}

/* The file of change tracking that a descriptor names, in its directory, if
 * it is called like one: a descriptor can name any file.
 */
static int
remove_cbt (struct vd_merge *m, struct vd_merge_numbers *sum,
            const struct vd_link *link, struct vd_err *err)
{
  const char *name = link->descriptor
    ? vd_descriptor_get (link->descriptor, "changetrackpath") : NULL;
  const size_t n = name ? strlen (name) : 0;
  struct stat st;
  char *path;

  if (n < 10 || strchr (name, '/') ||
      strcasecmp (name + n - 9, "-ctk.vmdk") != 0)
    return 0;
  if (asprintf (&path, "%s/%s", vd_confine_dir (link->places), name) == -1)
    return vd_fail_nomem (err);
  if (lstat (path, &st) == 0 && S_ISREG (st.st_mode))
    return remove_step (m, sum, path, st.st_ino, err);
  free (path);
  return 0;
}

/* Of the link whose full name is `own`. */
static int
remove_extent (struct vd_merge *m, struct vd_merge_numbers *sum, const char *own,
               const struct vd_file *f, struct vd_err *err)
{
  CLEANUP_FREE char *dir = vd_directory_of (own);
  CLEANUP_FREE char *real = vd_merge_real_path (f->name, f->dev, f->ino, err);
  int r;

  if (!real)
    return -1;
  if (!dir)
    return vd_fail_nomem (err);
  r = is_in (real, dir, false, err);
  if (r == -1)
    return -1;
  if (r == 0)
    return keep_file (m, real, own, true, err);
  return remove_step (m, sum, VD_TAKE (real), f->ino, err);
}

static int
remove_link (struct vd_merge *m, struct vd_merge_numbers *sum,
             const struct vd_link *link, struct vd_err *err)
{
  CLEANUP_FREE char *real = vd_merge_real_path (link->path, link->dev,
                                                link->ino, err);
  char *copy;
  size_t i;
  int r;

  if (!real)
    return -1;
  r = is_of_disk (m, real, err);
  if (r == -1)
    return -1;
  if (r == 0)
    return keep_file (m, real, m->top, false, err);
  copy = strdup (real);
  if (!copy)
    return vd_fail_nomem (err);
  if (remove_step (m, sum, copy, link->ino, err) == -1)
    return -1;
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_file *f = link->pieces[i].image->file;

    if (f && remove_extent (m, sum, real, f, err) == -1)
      return -1;
  }
  return remove_cbt (m, sum, link, err);
}

static int
removal_steps (struct vd_merge *m, struct vd_merge_disk *d,
               struct vd_err *err)
{
  size_t i;

  if (m->how.keep)
    return 0;
  if (d->nr > 0 && remove_cbt (m, &d->numbers, d->target, err) == -1)
    return -1;
  for (i = d->first + d->nr; d->nr > 0 && i > d->first; --i)
    if (remove_link (m, &d->numbers, d->chain->links[i - 1], err) == -1)
      return -1;
  return d->discard ? remove_link (m, &d->numbers, d->chain->links[0], err) : 0;
}

int
vd_merge_note_removals (struct vd_merge *m, struct vd_err *err)
{
  size_t i;

  m->removals = calloc (1, sizeof *m->removals);
  if (!m->removals)
    return vd_fail_nomem (err);
  for (i = 0; i < m->nr_disks; ++i)
    if (removal_steps (m, &m->disk[i], err) == -1)
      return -1;
  for (i = 0; i < m->nr_dropped && !m->how.keep; ++i)
    if (m->dropped[i].member &&
        remove_link (m, &m->numbers, m->dropped[i].member->link, err) == -1)
      return -1;
  return 0;
}
