/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The mark of a merge (chain/merging.h): recognised, written and removed.
 *
 * The order.  All marks, of all disks, are on stable storage before the first
 * byte of the first target is written.  They are the last that the journal
 * removes: by then the target has its new identity, and the merged links are
 * gone, or say themselves that they do not fit.  A run that fails before that
 * first byte takes back those that it made.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/records.h"
#include "base/uuid.h"
#include "chain/merging.h"
#include "file/newfile.h"
#include "merge/merge-private.h"

/* ---- The text ------------------------------------------------------------ */

static void
put_option (FILE *fp, const char *fs, ...) VD_PRINTF (2, 3);

static void
put_option (FILE *fp, const char *fs, ...)
{
  char *word;
  va_list args;
  int n;

  va_start (args, fs);
  n = vasprintf (&word, fs, args);
  va_end (args);
  if (n == -1)
    return;                     /* fclose fails too, or the text is shorter
                                   than that of another run: both are safe */
  fputs ("option", fp);
  vd_put_hex (fp, word, (size_t) n);
  putc ('\n', fp);
  free (word);
}

static int
put_place (FILE *fp, const char *option, const char *path, const char *dir,
           struct vd_err *err)
{
  CLEANUP_FREE char *real = realpath (path, NULL);

  if (!real)
    return vd_fail_errno (err, errno, "%s", path);
  fprintf (fp, "place %s", option);
  vd_put_name (fp, real, dir, strlen (dir));
  putc ('\n', fp);
  return 0;
}

/* What was merged, where a branch ended it: the branch may be gone when the
 * merge is completed.
 */
static unsigned
count_of (const struct vd_merge *m)
{
  unsigned n = 0;
  bool branch = false;
  size_t i;

  for (i = 0; i < m->nr_disks; ++i) {
    branch = branch || m->disk[i].branch > 0;
    n = m->disk[i].nr > n ? (unsigned) m->disk[i].nr : n;
  }
  return branch ? n : m->how.count;
}

/* All that the result depends on. */
static int
put_options (FILE *fp, const struct vd_merge *m, const char *dir,
             struct vd_err *err)
{
  const struct vd_merge_opts *how = &m->how;
  size_t i;

  if (how->skip > 0)
    put_option (fp, "--skip=%u", how->skip);
  if (count_of (m) > 0)
    put_option (fp, "--count=%u", count_of (m));
  if (how->disk)
    put_option (fp, "--disk=%s", how->disk);
  if (how->discard_current)
    put_option (fp, "--discard-current");
  if (how->compact)
    put_option (fp, "--compact");
  if (how->snapshot && how->snapshot_name)
    put_option (fp, "--snapshot=%s", how->snapshot_name);
  else if (how->snapshot)
    put_option (fp, "--snapshot");
  if (how->keep)
    put_option (fp, "--keep");
  if (how->no_machine)
    put_option (fp, "--no-machine");
  if (m->opts.ignore_cid)
    put_option (fp, "--ignore-cid");
  if (m->opts.allow_dirty)
    put_option (fp, "--allow-dirty");
  if (m->opts.unconfined)
    put_option (fp, "--unconfined");
  if (m->opts.registry &&
      put_place (fp, "--registry", m->opts.registry, dir, err) == -1)
    return -1;
  for (i = 0; i < m->opts.nr_dirs; ++i)
    if (put_place (fp, "--parent-path", m->opts.dirs[i], dir, err) == -1)
      return -1;
  return m->opts.parent
    ? put_place (fp, "--parent", m->opts.parent, dir, err) : 0;
}

static void
put_uuid (FILE *fp, const uint8_t uuid[16])
{
  char text[VD_UUID_TEXT];

  fprintf (fp, " %s", vd_uuid_is_null (uuid) ? "0"
           : vd_uuid_text (text, uuid));
}

static int
put_links (FILE *fp, const struct vd_merge_disk *d, const char *dir,
           struct vd_err *err)
{
  const struct vd_link *t = d->target;
  size_t i;

  if (t->descriptor && t->descriptor->has_cid)
    fprintf (fp, "target %08" PRIx32, t->descriptor->cid);
  else
    fputs ("target -", fp);
  put_uuid (fp, t->id.image);
  put_uuid (fp, t->id.modified);
  putc ('\n', fp);
  for (i = d->first; i <= d->first + d->nr; ++i) {
    const struct vd_link *link = d->chain->links[i];
    CLEANUP_FREE char *real = realpath (link->path, NULL);

    if (!real)
      return vd_fail_errno (err, errno, "%s", link->path);
    fputs ("link", fp);
    vd_put_name (fp, real, dir, strlen (dir));
    put_uuid (fp, link->id.image);
    putc ('\n', fp);
  }
  return 0;
}

/* As a mark in dir says it. */
static int
make_text (const struct vd_merge *m, const struct vd_merge_disk *d,
           const char *dir, char **text, struct vd_err *err)
{
  CLEANUP_FREE char *body = NULL;
  char end[VD_RECORDS_END + 1];
  size_t len;
  FILE *fp;
  int r;

  fp = open_memstream (&body, &len);
  if (!fp)
    return vd_fail_nomem (err);
  fputs (VD_MERGING_FIRST "given", fp);
  vd_put_name (fp, m->top, dir, strlen (dir));
  putc ('\n', fp);
  r = put_options (fp, m, dir, err);
  if (r == 0)
    r = put_links (fp, d, dir, err);
  if (ferror (fp) | fclose (fp))
    return r == -1 ? -1 : vd_fail_nomem (err);
  if (r == -1)
    return -1;
  vd_records_end (end, body, len);
  return asprintf (text, "%s%s", body, end) == -1 ? vd_fail_nomem (err) : 0;
}

/* ---- Marks that are there ------------------------------------------------ */

/* Is it that of this merge? */
static int
is_ours (const struct vd_merge *m, const struct vd_merge_disk *d,
         const struct vd_merging *mark, bool *ours, struct vd_err *err)
{
  CLEANUP_FREE char *above = vd_directory_of (mark->path);
  CLEANUP_FREE char *dir = above ? realpath (above, NULL) : NULL;
  CLEANUP_FREE char *text = NULL;

  *ours = false;
  if (!dir)
    return vd_fail_errno (err, errno, "%s", mark->path);
  if (d->nr == 0 || !mark->text)
    return 0;
  if (make_text (m, d, dir, &text, err) == -1)
    return -1;
  *ours = strcmp (text, mark->text) == 0;
  return 0;
}

int
vd_merge_check_marks (const struct vd_merge *m, struct vd_merge_disk *d,
                      struct vd_err *err)
{
  size_t i;

  for (i = 0; i < d->chain->nr_links; ++i) {
    const char *path = d->chain->links[i]->path;
    struct vd_merging *mark = NULL;
    bool ours = false;
    int r = vd_merging_find (path, &mark, err);

    if (r == -1)
      return -1;
    if (!mark)
      continue;
    r = is_ours (m, d, mark, &ours, err);
    if (r == 0 && !ours)
      r = vd_merging_fail (mark, path, err);
    vd_merging_free (mark);
    if (r == -1)
      return -1;
    d->resumed = true;
  }
  return 0;
}

/* ---- Writing and removing them ------------------------------------------- */

/* Where marks are, each once: the k-th of a disk, or NULL. */
static const struct vd_link *
marked_link (const struct vd_merge_disk *d, unsigned k)
{
  const size_t at[] = { d->first + d->nr, d->first + d->nr - 1, d->first };

  if (d->nr == 0 || k >= (d->nr == 1 ? 2 : 3))
    return NULL;
  return d->chain->links[at[k]];
}

static char *
mark_of (const struct vd_link *link, struct vd_err *err)
{
  CLEANUP_FREE char *real = vd_merge_real_path (link->path, link->dev,
                                                link->ino, err);
  char *name;

  if (!real)
    return NULL;
  name = vd_merging_name (real);
  if (!name)
    vd_fail_nomem (err);
  return name;
}

/* Who can read the link can read the mark. */
static int
write_mark (const struct vd_merge *m, const struct vd_merge_disk *d,
            const struct vd_link *link, const char *path, const char *pinned,
            struct vd_err *err)
{
  CLEANUP_FREE char *dir = vd_directory_of (path), *text = NULL;
  struct vd_new_file n = { .path = NULL };
  struct stat st;
  int r = -1;

  if (!dir)
    return vd_fail_nomem (err);
  if (make_text (m, d, dir, &text, err) == -1)
    return -1;
  if (stat (link->path, &st) == -1)
    return vd_fail_errno (err, errno, "%s", link->path);
  vd_new_file_clean (pinned);
  if (vd_new_file_open (&n, pinned, false, vd_file_create_private,
                        err) == 0) {
    vd_like_the_old (n.file, &st);
    r = vd_file_pwrite (n.file, text, strlen (text), 0, err);
  }
  if (r == 0)
    r = vd_file_flush (n.file, err);
  if (r == 0)
    r = vd_new_file_publish (&n, false, err);
  if (r == 0)
    r = vd_new_file_flush_directory (&n, err);
  vd_new_file_close (&n);
  if (r == -1)
    vd_err_prefix (err, "%s: ", path);
  return r;
}

static int
mark_link (struct vd_merge *m, struct vd_merge_disk *d, unsigned k,
           struct vd_pins *pins, struct vd_err *err)
{
  const struct vd_link *link = marked_link (d, k);
  CLEANUP_FREE char *path = mark_of (link, err);
  CLEANUP_FREE char *pinned = path ? vd_pin (pins, path, err) : NULL;

  if (!pinned)
    return -1;
  if (access (pinned, F_OK) == 0)
    return 0;                   /* of the run that was interrupted */
  /* Where merged links stay, their directory need not be writable; the mark of
   * the target is what counts.
   */
  if (write_mark (m, d, link, path, pinned, err) == -1)
    return k > 0 && m->how.keep &&
      (err->errnum == EACCES || err->errnum == EROFS) ? 0 : -1;
  d->new_marks |= 1u << k;
  return 0;
}

int
vd_merge_mark (struct vd_merge *m, struct vd_err *err)
{
  struct vd_pins pins = { NULL, 0 };
  size_t i;
  unsigned k;
  int r = 0;

  for (i = 0; r == 0 && i < m->nr_disks; ++i)
    for (k = 0; r == 0 && marked_link (&m->disk[i], k); ++k)
      r = mark_link (m, &m->disk[i], k, &pins, err);
  vd_pins_free (&pins);
  if (r == -1)
    vd_merge_unmark (m);
  return r;
}

void
vd_merge_unmark (struct vd_merge *m)
{
  struct vd_pins pins = { NULL, 0 };
  struct vd_err ignored;
  size_t i;
  unsigned k;

  for (i = 0; i < m->nr_disks; ++i) {
    struct vd_merge_disk *d = &m->disk[i];

    for (k = 0; marked_link (d, k); ++k) {
      CLEANUP_FREE char *path = d->new_marks >> k & 1
        ? mark_of (marked_link (d, k), &ignored) : NULL;
      CLEANUP_FREE char *pinned = path ? vd_pin (&pins, path, &ignored) : NULL;

      if (pinned)
        unlink (pinned);
    }
    d->new_marks = 0;
  }
  vd_pins_free (&pins);
}

int
vd_merge_mark_steps (const struct vd_merge *m, struct vd_journal *j,
                     struct vd_err *err)
{
  size_t i;
  unsigned k;

  for (i = 0; i < m->nr_disks; ++i)
    for (k = 0; marked_link (&m->disk[i], k); ++k) {
      char *path = mark_of (marked_link (&m->disk[i], k), err);

      if (!path)
        return -1;
      if (access (path, F_OK) == -1)
        free (path);
      else if (vd_journal_add_removal (j, VD_STEP_UNMARK, path, err) == -1)
        return -1;
    }
  return 0;
}

char *
vd_merge_command (const struct vd_merge *m)
{
  struct vd_merging *mark = NULL;
  struct vd_err ignored;
  char *command = NULL;
  size_t i;

  for (i = 0; i < m->nr_disks && !mark; ++i)
    if (m->disk[i].nr > 0)
      vd_merging_find (m->disk[i].target->path, &mark, &ignored);
  if (mark && mark->command)
    command = VD_TAKE (mark->command);
  vd_merging_free (mark);
  return command;
}
