/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Who else wants to change a file asks here: does an interrupted merge have
 * something to do with it still?
 *
 * The mark of the merge (chain/merging.h) is not enough: only the target and
 * the ends of what is merged have one, but not the child that is to get another
 * parent, nor the machine file.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/shell.h"
#include "file/scandir.h"
#include "merge/journal.h"
#include "merge/merge.h"

struct pending {
  const struct vd_opts *opts;
  struct stat file;             /* that is asked for */
};

static bool
is_it (const struct pending *p, const char *path)
{
  struct stat st;

  return stat (path, &st) == 0 && st.st_ino == p->file.st_ino &&
    st.st_dev == p->file.st_dev;
}

static bool
is_named (const struct pending *p, const struct vd_journal *j,
          const char *top)
{
  bool named = is_it (p, top);
  size_t i;

  for (i = 0; i < j->n && !named; ++i)
    named = is_it (p, j->step[i].path);
  return named;
}

static int
try_journal (void *opaque, int dir, const char *name, const char *path,
             struct vd_err *err)
{
  const struct pending *p = opaque;
  const size_t len = vd_journal_name_length (name);
  CLEANUP_FREE char *top = NULL, *word = NULL;
  struct vd_journal j;
  int r;

  (void) dir;
  if (len == 0)
    return 0;
  if (asprintf (&top, "%.*s%.*s", (int) (strlen (path) - strlen (name)), path,
                (int) len, name + 1) == -1) {
    top = NULL;
    return vd_fail_nomem (err);
  }
  if (vd_journal_init_top (&j, top, top, err) == -1)
    return -1;
  r = vd_journal_load (&j, p->opts, err);
  if (r == 1 && is_named (p, &j, top)) {
    word = vd_shell_file (top);
    r = vd_fail (err, VD_USAGE, "a merge of %s was interrupted: complete it "
                 "first: vmdkdelta merge %s; nothing was written", top,
                 word ? word : "");
  }
  vd_journal_free (&j);
  return r == -1 ? -1 : 0;
}

static int
look_in (const char *dir, struct pending *p, struct vd_err *err)
{
  struct stat st;

  if (stat (dir, &st) == -1 || !S_ISDIR (st.st_mode))
    return 0;
  return vd_scandir_hidden (dir, try_journal, p, err);
}

int
vd_merge_check_pending (const char *path, const struct vd_opts *opts,
                        struct vd_err *err)
{
  struct pending p = { .opts = opts };
  CLEANUP_FREE char *real = realpath (path, NULL), *dir = NULL;
  CLEANUP_FREE char *snapshots = NULL, *above = NULL;

  /* What is not there, who opens it says. */
  if (!real || stat (real, &p.file) == -1)
    return 0;
  dir = vd_directory_of (real);
  if (!dir || asprintf (&snapshots, "%s/" VD_SNAPSHOTS, dir) == -1) {
    snapshots = NULL;
    return vd_fail_nomem (err);
  }
  if (look_in (dir, &p, err) == -1 || look_in (snapshots, &p, err) == -1)
    return -1;
  if (!vd_is_snapshots (dir))
    return 0;
  above = vd_directory_of (dir);
  return above ? look_in (above, &p, err) : vd_fail_nomem (err);
}
