/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The steps of a journal, in memory, and where it is on disk; see journal.h. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "merge/journal.h"

#define SUFFIX ".vmdkdelta-merge"

void
vd_journal_free (struct vd_journal *j)
{
  size_t i;

  for (i = 0; i < j->n; ++i) {
    free (j->step[i].path);
    free (j->step[i].from);
    free (j->step[i].old_data);
    free (j->step[i].new_data);
  }
  free (j->step);
  vd_pins_free (&j->pins);
  free (j->path);
  free (j->beside);
  *j = (struct vd_journal) { .path = NULL };
}

int
vd_journal_add (struct vd_journal *j, const struct vd_step *step,
                struct vd_err *err)
{
  struct vd_step *p = vd_grow (j->step, j->n, sizeof *p, err);

  if (p)
    j->step = p;
  if (!p || !step->path || (step->kind == VD_STEP_RENAME && !step->from)) {
    free (step->path);
    free (step->from);
    free (step->old_data);
    free (step->new_data);
    return vd_fail_nomem (err);
  }
  p[j->n++] = *step;
  return 0;
}

bool
vd_journal_is_on (struct vd_journal *j, unsigned fs, dev_t dev)
{
  unsigned i;

  if (fs >= VD_JOURNAL_MAX_FS)
    return false;
  for (i = 0; i < VD_JOURNAL_MAX_FS; ++i)
    if (j->knows[i] && j->fs[i] == dev)
      return i == fs;
  if (j->knows[fs])
    return false;
  j->fs[fs] = dev;
  return j->knows[fs] = true;
}

int
vd_journal_copy_removal (struct vd_journal *j, const struct vd_step *step,
                         struct vd_err *err)
{
  struct vd_step s = *step;

  s.path = strdup (step->path);
  return vd_journal_add (j, &s, err);
}

int
vd_journal_add_removal (struct vd_journal *j, enum vd_step_kind kind,
                        char *path, struct vd_err *err)
{
  struct vd_step s = { .kind = kind, .path = path };
  struct stat st;

  if (lstat (path, &st) == -1 || !S_ISREG (st.st_mode)) {
    vd_fail (err, VD_USAGE, "%s is not a regular file, and is not removed "
             "(--keep removes nothing)", path);
    free (path);
    return -1;
  }
  s.size = (uint64_t) st.st_size;
  s.mtime = vd_mtime (&st);
  s.ino = st.st_ino;
  s.dev = st.st_dev;
  return vd_journal_add (j, &s, err);
}

/* What a name means, if it is a symbolic link; it may lead to a file that has
 * been removed by now.  To be freed.
 */
static char *
follow_links (const char *name)
{
  char *path = strdup (name), *next, to[PATH_MAX];
  unsigned n;

  for (n = 0; n < 40; ++n) {
    const char *slash;
    ssize_t len;

    if (!path || (len = readlink (path, to, sizeof to - 1)) <= 0)
      break;
    slash = strrchr (path, '/');
    to[len] = '\0';
    if (to[0] == '/' || !slash)
      next = strdup (to);
    else if (asprintf (&next, "%.*s/%s", (int) (slash - path), path, to) == -1)
      next = NULL;
    free (path);
    path = next;
  }
  return path;
}

char *
vd_journal_top (const char *given, struct vd_err *err)
{
  CLEANUP_FREE char *top = follow_links (given);
  CLEANUP_FREE char *dir = top ? vd_directory_of (top) : NULL, *real = NULL;
  const char *slash = top ? strrchr (top, '/') : NULL;
  char *full = NULL;

  if (!dir)
    vd_fail_nomem (err);
  else if (!(real = realpath (dir, NULL)))
    vd_fail_errno (err, errno, "%s", dir);
  else if (asprintf (&full, "%s/%s", strcmp (real, "/") == 0 ? "" : real,
                     slash ? slash + 1 : top) == -1) {
    full = NULL;
    vd_fail_nomem (err);
  }
  return full;
}

int
vd_journal_init_top (struct vd_journal *j, const char *top,
                     const char *given, struct vd_err *err)
{
  const char *name = strrchr (top, '/') + 1;

  *j = (struct vd_journal) { .beside = vd_directory_of (given) };
  if (j->beside &&
      asprintf (&j->path, "%.*s.%s" SUFFIX, (int) (name - top), top,
                name) != -1)
    return 0;
  j->path = NULL;
  vd_journal_free (j);
  return vd_fail_nomem (err);
}

size_t
vd_journal_name_length (const char *file)
{
  const size_t n = strlen (file), suffix = strlen (SUFFIX);

  return *file == '.' && n > suffix + 1 &&
    strcmp (file + n - suffix, SUFFIX) == 0 ? n - suffix - 1 : 0;
}

int
vd_journal_init (struct vd_journal *j, const char *given, struct vd_err *err)
{
  CLEANUP_FREE char *top = vd_journal_top (given, err);

  *j = (struct vd_journal) { .path = NULL };
  return top ? vd_journal_init_top (j, top, given, err) : -1;
}
