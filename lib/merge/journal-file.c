/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A journal on disk, as records (base/records.h):
 *
 *   vmdkdelta-merge 3
 *   self INODE TIME            of the journal: when its inode was made
 *   write NAME INODE OFFSET OLD NEW
 *   replace NAME INODE OLD NEW PREV
 *   rename NAME INODE FROM
 *   remove NAME INODE SIZE MTIME
 *   unmark NAME INODE SIZE MTIME
 *   end CRC32
 *
 * INODE of a step is NUMBER, or NUMBER/FS where the file is on another file
 * system than the journal.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/records.h"
#include "chain/merging.h"
#include "file/file.h"
#include "file/newfile.h"
#include "merge/journal.h"

#define FIRST_LINE "vmdkdelta-merge 3\n"
#define ANY_VERSION "vmdkdelta-merge "
#define MAX_JOURNAL (UINT64_C (1) << 30)

/* ---- Writing ------------------------------------------------------------ */

static void
put_step (FILE *fp, const struct vd_step *s, const char *dir, size_t n)
{
  static const char *const names[] = { "write", "replace", "rename",
                                       "remove", "unmark" };

  fprintf (fp, "%s", names[s->kind]);
  vd_put_name (fp, s->path, dir, n);
  fprintf (fp, " %" PRIu64, (uint64_t) s->ino);
  if (s->fs != 0)
    fprintf (fp, "/%u", s->fs);
  switch (s->kind) {
  case VD_STEP_WRITE:
    fprintf (fp, " %" PRIu64, s->offset);
    vd_put_hex (fp, s->old_data, s->new_len);
    vd_put_hex (fp, s->new_data, s->new_len);
    break;
  case VD_STEP_REPLACE:
    vd_put_hex (fp, s->old_data, s->old_len);
    vd_put_hex (fp, s->new_data, s->new_len);
    fprintf (fp, " %d", s->prev);
    break;
  case VD_STEP_RENAME:
    vd_put_name (fp, s->from, dir, n);
    break;
  case VD_STEP_UNMARK:
  case VD_STEP_REMOVE:
    fprintf (fp, " %" PRIu64 " %" PRIu64, s->size, s->mtime);
    break;
  }
  putc ('\n', fp);
}

/* A time that only the cache knows is another one after a crash. */
static int
flush_time (struct vd_journal *j, const struct vd_step *s, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = NULL;
  struct vd_file *f;
  int r;

  if (s->kind != VD_STEP_REMOVE && s->kind != VD_STEP_UNMARK)
    return 0;
  pinned = vd_pin (&j->pins, s->path, err);
  if (!pinned)
    return -1;
  if (access (pinned, F_OK) == -1)
    return 0;
  f = vd_file_open_pinned (pinned, s->path, false, err);
  r = f ? vd_file_flush (f, err) : -1;
  vd_file_close (f);
  return r;
}

/* What an archive cannot bring along.  0 where the file system does not tell
 * when a file was made.
 */
static int
self_of (int fd, uint64_t *ino, uint64_t *made)
{
  struct statx st;

  if (statx (fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) == -1)
    return -1;
  *ino = st.stx_ino;
  *made = !(st.stx_mask & STATX_BTIME) ? 0
    : (uint64_t) st.stx_btime.tv_sec * 1000000000u + st.stx_btime.tv_nsec;
  return 0;
}

/* Which of the file systems each step is on: 0 is that of the journal. */
static int
number_file_systems (struct vd_journal *j, int fd, struct vd_err *err)
{
  struct stat st;
  size_t i;

  if (fstat (fd, &st) == -1)
    return vd_fail_errno (err, errno, "%s", j->path);
  memset (j->knows, 0, sizeof j->knows);
  vd_journal_is_on (j, 0, st.st_dev);
  for (i = 0; i < j->n; ++i) {
    struct vd_step *s = &j->step[i];

    for (s->fs = 0; !vd_journal_is_on (j, s->fs, s->dev); ++s->fs)
      if (s->fs == VD_JOURNAL_MAX_FS)
        return vd_fail (err, VD_UNSUPPORTED, "%s: the files of this merge are "
                        "on more than %u file systems", s->path,
                        VD_JOURNAL_MAX_FS);
  }
  return 0;
}

static int
make_text (const struct vd_journal *j, int fd, char **text,
           struct vd_err *err)
{
  const size_t dir = (size_t) (strrchr (j->path, '/') - j->path);
  CLEANUP_FREE char *body = NULL;
  char end[VD_RECORDS_END + 1];
  uint64_t ino, made;
  size_t len, i;
  FILE *fp;

  if (self_of (fd, &ino, &made) == -1)
    return vd_fail_errno (err, errno, "%s", j->path);
  fp = open_memstream (&body, &len);
  if (!fp)
    return vd_fail_nomem (err);
  fprintf (fp, FIRST_LINE "self %" PRIu64 " %" PRIu64 "\n", ino, made);
  for (i = 0; i < j->n; ++i)
    put_step (fp, &j->step[i], j->path, dir);
  if (ferror (fp) | fclose (fp))
    return vd_fail_nomem (err);
  vd_records_end (end, body, len);
  return asprintf (text, "%s%s", body, end) == -1 ? vd_fail_nomem (err) : 0;
}

static int
write_journal (struct vd_journal *j, struct vd_new_file *n,
               struct vd_err *err)
{
  const int fd = vd_file_fd (n->file);
  char *text;
  int r;

  if (number_file_systems (j, fd, err) == -1 ||
      make_text (j, fd, &text, err) == -1)
    return -1;
  r = vd_file_pwrite (n->file, text, strlen (text), 0, err);
  free (text);
  if (r == 0)
    r = vd_file_flush (n->file, err);
  if (r == 0)
    r = vd_new_file_publish (n, false, err);
  return r == -1 ? -1 : vd_new_file_flush_directory (n, err);
}

int
vd_journal_save (struct vd_journal *j, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, j->path, err);
  struct vd_new_file n = { .path = NULL };
  size_t i;
  int r;

  if (!pinned)
    return -1;
  for (i = 0; i < j->n; ++i)
    if (flush_time (j, &j->step[i], err) == -1)
      return -1;
  r = vd_new_file_open (&n, pinned, false, vd_file_create_private, err);
  if (r == 0)
    r = write_journal (j, &n, err);
  vd_new_file_close (&n);
  /* Whoever asks for a name would say that it can be removed. */
  if (r == -1 && err->code == VD_USAGE)
    vd_fail (err, VD_USAGE, "%s exists: another run is completing this merge.  "
             "Wait until it has ended, then run the same command again",
             j->path);
  return r;
}

/* ---- Reading ------------------------------------------------------------ */

static int
bad (const struct vd_journal *j, struct vd_err *err)
{
  return vd_fail (err, VD_CORRUPT, "%s is not a journal that this version "
                  "wrote completely; if no merge is to be completed here, "
                  "remove it", j->path);
}

/* NUMBER or NUMBER/FS */
static int
from_inode (char *word, struct vd_step *s)
{
  char *slash = word ? strchr (word, '/') : NULL;
  uint64_t ino, fs = 0;

  if (slash) {
    *slash = '\0';
    if (vd_from_number (slash + 1, &fs) == -1 || fs == 0 ||
        fs >= VD_JOURNAL_MAX_FS)
      return -1;
  }
  if (vd_from_number (word, &ino) == -1)
    return -1;
  s->ino = (ino_t) ino;
  s->fs = (unsigned) fs;
  return 0;
}

/* The next word as a name. */
static int
from_name (const struct vd_journal *j, char **line, char **path)
{
  return vd_from_name (vd_next_word (line), j->path,
                       (size_t) (strrchr (j->path, '/') - j->path), path);
}

static int
parse_step (const struct vd_journal *j, char *line, struct vd_step *s)
{
  const char *kind = vd_next_word (&line);
  uint64_t n = 0;
  size_t len = 0;

  if (from_name (j, &line, &s->path) == -1 ||
      from_inode (vd_next_word (&line), s) == -1)
    return -1;
  if (strcmp (kind, "write") == 0) {
    s->kind = VD_STEP_WRITE;
    if (vd_from_number (vd_next_word (&line), &s->offset) == -1 ||
        vd_from_hex (vd_next_word (&line), &s->old_data, &len) == -1 ||
        vd_from_hex (vd_next_word (&line), &s->new_data, &s->new_len) == -1)
      return -1;
    return len == s->new_len && len > 0 ? 0 : -1;
  }
  if (strcmp (kind, "replace") == 0) {
    s->kind = VD_STEP_REPLACE;
    if (vd_from_hex (vd_next_word (&line), &s->old_data, &s->old_len) == -1 ||
        vd_from_hex (vd_next_word (&line), &s->new_data, &s->new_len) == -1 ||
        vd_from_number (vd_next_word (&line), &n) == -1)
      return -1;
    s->prev = n != 0;
    return 0;
  }
  if (strcmp (kind, "rename") == 0) {
    s->kind = VD_STEP_RENAME;
    return from_name (j, &line, &s->from);
  }
  s->kind = strcmp (kind, "unmark") == 0 ? VD_STEP_UNMARK : VD_STEP_REMOVE;
  if ((s->kind == VD_STEP_UNMARK ? !vd_merging_is_mark (s->path)
       : strcmp (kind, "remove") != 0) ||
      vd_from_number (vd_next_word (&line), &s->size) == -1 ||
      vd_from_number (vd_next_word (&line), &s->mtime) == -1)
    return -1;
  return 0;
}

/* Is the directory of path, links resolved, dir or below it? */
static bool
is_below (const char *path, const char *dir)
{
  CLEANUP_FREE char *parent = vd_directory_of (path);
  CLEANUP_FREE char *real = parent ? realpath (parent, NULL) : NULL;
  CLEANUP_FREE char *top = realpath (dir, NULL);
  const size_t n = top ? strlen (top) : 0;

  return real && top && strncmp (real, top, n) == 0 &&
    (real[n] == '\0' || real[n] == '/' || n == 1);
}

static int
check_place (const struct vd_journal *j, const char *path,
             const struct vd_opts *opts, struct vd_err *err)
{
  CLEANUP_FREE char *dir
    = strndup (j->path, (size_t) (strrchr (j->path, '/') - j->path));
  size_t i;

  if (!dir)
    return vd_fail_nomem (err);
  if (opts->unconfined || is_below (path, dir) || is_below (path, j->beside))
    return 0;
  if (vd_is_snapshots (dir)) {
    CLEANUP_FREE char *above = vd_directory_of (dir);

    if (!above)
      return vd_fail_nomem (err);
    if (is_below (path, above))
      return 0;
  }
  for (i = 0; i < opts->nr_dirs; ++i)
    if (is_below (path, opts->dirs[i]))
      return 0;
  return vd_fail (err, VD_DENIED, "%s: it would change %s, which is outside "
                  "of its directory; run the merge again with the options "
                  "that it was begun with (%sparent-path, %sunconfined)",
                  j->path, path, vd_opts_prefix (),
                  vd_opts_prefix ());
}

/* The journal that was found. */
struct found { uint64_t ino, made; };

/* What is ours only. */
static int
read_text (struct vd_journal *j, char **text, size_t *len,
           struct found *self, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, j->path, err);
  CLEANUP_FD int fd = -1;
  struct vd_file *f;
  struct stat st;
  int r;

  if (!pinned)
    return -1;
  fd = open (pinned, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
             O_NOCTTY);
  if (fd == -1)
    return errno == ENOENT ? 0
      : vd_fail_errno (err, errno, "%s: cannot open", j->path);
  if (fstat (fd, &st) == -1 || self_of (fd, &self->ino, &self->made) == -1)
    return vd_fail_errno (err, errno, "%s", j->path);
  j->loaded = true;
  vd_journal_is_on (j, 0, st.st_dev);
  if (!S_ISREG (st.st_mode) || st.st_uid != geteuid () ||
      (st.st_mode & 022) != 0)
    return vd_fail (err, VD_DENIED, "%s, the journal of a merge, is not a "
                    "file of yours that nobody else can write: who owns it "
                    "must complete the merge", j->path);
  if ((uint64_t) st.st_size > MAX_JOURNAL)
    return bad (j, err);
  f = vd_file_from_fd (fd, j->path, err);
  if (!f)
    return -1;
  fd = -1;
  *len = (size_t) f->size;
  *text = malloc (*len + 1);
  r = *text ? vd_file_pread (f, *text, *len, 0, err) : vd_fail_nomem (err);
  if (r == 0)
    (*text)[*len] = '\0';
  vd_file_close (f);
  return r == -1 ? -1 : 1;
}

static int
check_self (const struct vd_journal *j, char *line, const struct found *self,
            struct vd_err *err)
{
  uint64_t ino, made;

  if (!line || strcmp (vd_next_word (&line), "self") != 0 ||
      vd_from_number (vd_next_word (&line), &ino) == -1 ||
      vd_from_number (vd_next_word (&line), &made) == -1)
    return bad (j, err);
  if (ino == self->ino && made == self->made)
    return 0;
  return vd_fail (err, VD_DENIED, "%s, the journal of a merge, was not made "
                  "here: it came with an archive or a copy, and is not "
                  "carried out.  If this is a copy of your own files, complete "
                  "the merge where they were, and copy them again; if not, "
                  "remove it", j->path);
}

/* Whole, and of this version. */
static char *
find_body (const struct vd_journal *j, char *text, size_t len,
           struct vd_err *err)
{
  char *p = vd_records_body (text, len, FIRST_LINE);

  if (p)
    return p;
  if (strncmp (text, ANY_VERSION, strlen (ANY_VERSION)) == 0 &&
      strncmp (text, FIRST_LINE, strlen (FIRST_LINE)) != 0)
    vd_fail (err, VD_UNSUPPORTED, "%s is the journal of a merge that another "
             "version of vmdkdelta began: complete it with that version; if no "
             "merge is to be completed here, remove it", j->path);
  else
    bad (j, err);
  return NULL;
}

int
vd_journal_load (struct vd_journal *j, const struct vd_opts *opts,
                 struct vd_err *err)
{
  CLEANUP_FREE char *text = NULL;
  struct found self = { 0, 0 };
  char *p, *line;
  size_t len = 0;
  int r = read_text (j, &text, &len, &self, err);

  if (r != 1)
    return r;
  p = find_body (j, text, len, err);
  if (!p || check_self (j, strsep (&p, "\n"), &self, err) == -1)
    return -1;
  while (p && (line = strsep (&p, "\n")) != NULL && *line) {
    struct vd_step s = { .kind = VD_STEP_REMOVE };
    const bool good = parse_step (j, line, &s) == 0;

    if (vd_journal_add (j, &s, err) == -1)
      return good ? -1 : bad (j, err);
    if (!good)
      return bad (j, err);
    if (check_place (j, s.path, opts, err) == -1 ||
        (s.from && check_place (j, s.from, opts, err) == -1))
      return -1;
  }
  return 1;
}
