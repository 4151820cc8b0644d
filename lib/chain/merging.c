/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Reading the mark of a merge that has not ended; see merging.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/records.h"
#include "base/shell.h"
#include "base/uuid.h"
#include "chain/link.h"
#include "chain/merging.h"
#include "file/uri.h"

/* A chain of 255 links with long names has about 300 KiB. */
#define MAX_MARK (UINT64_C (1) << 20)

static const char *
last_component (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? slash + 1 : path;
}

char *
vd_merging_name (const char *image)
{
  CLEANUP_FREE char *dir = vd_directory_of (image);
  char *name;

  if (!dir || asprintf (&name, "%s/.%s.vmdkdelta-merging", dir,
                        last_component (image)) == -1)
    return NULL;
  return name;
}

bool
vd_merging_is_mark (const char *path)
{
  const char *name = last_component (path);
  const char *dot = strrchr (name, '.');

  return *name == '.' && strcmp (dot, ".vmdkdelta-merging") == 0;
}

void
vd_merging_free (struct vd_merging *m)
{
  size_t i;

  if (!m)
    return;
  for (i = 0; i < m->nr_links; ++i)
    free (m->link[i].path);
  free (m->link);
  free (m->path);
  free (m->text);
  free (m->command);
  free (m);
}

/* ---- Its records --------------------------------------------------------- */

/* What a command in a message may contain. */
static bool
is_option (const char *word, bool with_name)
{
  static const char *const values[] = {
    "--skip=", "--count=", "--disk=", "--snapshot=",
  };
  static const char *const plain[] = {
    "--discard-current", "--compact", "--keep", "--snapshot", "--no-machine",
    "--ignore-cid", "--allow-dirty", "--unconfined",
  };
  size_t i;

  if (with_name)
    return strcmp (word, "--parent-path") == 0 ||
      strcmp (word, "--registry") == 0 ||
      strcmp (word, "--parent") == 0;
  for (i = 0; i < sizeof plain / sizeof plain[0]; ++i)
    if (strcmp (word, plain[i]) == 0)
      return true;
  for (i = 0; i < sizeof values / sizeof values[0]; ++i)
    if (strncmp (word, values[i], strlen (values[i])) == 0)
      return true;
  return false;
}

/* Where a mark is being read from, and the command that comes of it. */
struct mark_reader {
  struct vd_merging *m;
  const char *dir;              /* with links resolved */
  FILE *command;
  bool given;
};

static int
put_word (FILE *fp, char *word)
{
  const int r = word ? 0 : -1;

  if (word)
    fputs (word, fp);
  free (word);
  return r;
}

static int
read_option (struct mark_reader *r, char **line)
{
  CLEANUP_FREE uint8_t *data = NULL;
  const char *word, *value;
  size_t n;

  if (vd_from_hex (vd_next_word (line), &data, &n) == -1)
    return -1;
  word = (const char *) data;
  if (strlen (word) != n || !is_option (word, false))
    return -1;
  value = strchr (word, '=');
  fprintf (r->command, " %.*s", value ? (int) (value + 1 - word) : (int) n,
           word);
  return value ? put_word (r->command, vd_shell_word (value + 1)) : 0;
}

static int
read_place (struct mark_reader *r, char **line)
{
  const char *word = vd_next_word (line);
  CLEANUP_FREE char *path = NULL;

  if (!word || !is_option (word, true) ||
      vd_from_name (vd_next_word (line), r->dir, strlen (r->dir), &path) == -1)
    return -1;
  fprintf (r->command, " %s=", word);
  return put_word (r->command, vd_shell_word (path));
}

static int
read_uuid (char **line, uint8_t uuid[16])
{
  const char *word = vd_next_word (line);

  if (word && strcmp (word, "0") == 0)
    return 0;
  return word && vd_parse_uuid (word, uuid) ? 0 : -1;
}

static int
read_target (struct vd_merging *m, char **line)
{
  const char *word = vd_next_word (line);
  char *end;

  if (!word)
    return -1;
  if (strcmp (word, "-") != 0) {
    m->has_cid = true;
    m->cid = (uint32_t) strtoul (word, &end, 16);
    if (end != word + 8)
      return -1;
  }
  return read_uuid (line, m->uuid) == -1 ? -1 : read_uuid (line, m->modified);
}

static int
read_link (struct mark_reader *r, char **line)
{
  struct vd_merging *m = r->m;
  struct vd_merging_link l = { .path = NULL }, *p;
  struct vd_err ignored;

  if (vd_from_name (vd_next_word (line), r->dir, strlen (r->dir),
                    &l.path) == -1)
    return -1;
  p = vd_grow (m->link, m->nr_links, sizeof *p, &ignored);
  if (p)
    m->link = p;
  if (!p || read_uuid (line, l.uuid) == -1) {
    free (l.path);
    return -1;
  }
  p[m->nr_links++] = l;
  return 0;
}

/* The command ends with what was given. */
static int
read_given (struct mark_reader *r, char **line, char **given)
{
  if (r->given)
    return -1;
  r->given = true;
  return vd_from_name (vd_next_word (line), r->dir, strlen (r->dir), given);
}

static int
read_records (struct mark_reader *r, char *body)
{
  CLEANUP_FREE char *given = NULL;
  char *line;
  int e = 0;

  fputs ("vmdkdelta merge", r->command);
  while (e == 0 && (line = strsep (&body, "\n")) != NULL && *line) {
    const char *kind = vd_next_word (&line);

    if (strcmp (kind, "given") == 0)
      e = read_given (r, &line, &given);
    else if (strcmp (kind, "option") == 0)
      e = read_option (r, &line);
    else if (strcmp (kind, "place") == 0)
      e = read_place (r, &line);
    else if (strcmp (kind, "target") == 0)
      e = read_target (r->m, &line);
    else if (strcmp (kind, "link") == 0)
      e = read_link (r, &line);
    else
      e = -1;
  }
  if (e == -1 || !given || r->m->nr_links < 2)
    return -1;
  putc (' ', r->command);
  return put_word (r->command, vd_shell_file (given));
}

/* ---- Finding it ---------------------------------------------------------- */

/* What makes no sense stays without text. */
static void
parse (struct vd_merging *m, char *text, size_t len)
{
  CLEANUP_FREE char *copy = strdup (text);
  CLEANUP_FREE char *above = vd_directory_of (m->path);
  CLEANUP_FREE char *dir = above ? realpath (above, NULL) : NULL;
  struct mark_reader r = { .m = m, .dir = dir };
  char *body = copy ? vd_records_body (copy, len, VD_MERGING_FIRST) : NULL;
  CLEANUP_FREE char *command = NULL;
  size_t n;
  int e;

  if (!body || !dir || !(r.command = open_memstream (&command, &n)))
    return;
  e = read_records (&r, body);
  if ((ferror (r.command) | fclose (r.command)) || e == -1)
    return;
  m->command = VD_TAKE (command);
  m->text = strdup (text);
}

static void
read_mark (struct vd_merging *m, int fd)
{
  CLEANUP_FREE char *text = NULL;
  struct stat st;
  ssize_t n;

  if (fstat (fd, &st) == -1 || !S_ISREG (st.st_mode) ||
      (uint64_t) st.st_size > MAX_MARK)
    return;
  text = malloc ((size_t) st.st_size + 1);
  n = text ? pread (fd, text, (size_t) st.st_size, 0) : -1;
  if (n != st.st_size)
    return;
  text[n] = '\0';
  parse (m, text, (size_t) n);
}

/* 1: there is one.  0: there is none.  -1 */
static int
find_at (const char *image, struct vd_merging **found, struct vd_err *err)
{
  CLEANUP_FREE char *path = vd_merging_name (image);
  CLEANUP_FD int fd = -1;
  struct vd_merging *m;

  if (!path)
    return vd_fail_nomem (err);
  fd = open (path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd == -1 && (errno == ENOENT || errno == ENOTDIR ||
                   errno == ENAMETOOLONG))
    return 0;
  m = calloc (1, sizeof *m);
  if (!m)
    return vd_fail_nomem (err);
  m->path = VD_TAKE (path);
  if (fd != -1)
    read_mark (m, fd);
  *found = m;
  return 1;
}

int
vd_merging_find (const char *image, struct vd_merging **found,
                 struct vd_err *err)
{
  CLEANUP_FREE char *real = NULL;
  int r = find_at (image, found, err);
  char to[1];

  if (r == 0 && readlink (image, to, sizeof to) > 0 &&
      (real = realpath (image, NULL)) != NULL)
    r = find_at (real, found, err);
  return r == -1 ? -1 : 0;
}

int
vd_merging_find_uri (const char *uri, const struct vd_opts *opts,
                     struct vd_merging **found, struct vd_err *err)
{
  struct vd_uri u;
  int r = vd_uri_parse (uri, &u, err);
  CLEANUP_FREE char *mark = r == 0 ? vd_merging_name (u.path) : NULL;
  CLEANUP_FREE char *name = mark ? vd_uri_with_path (&u, mark) : NULL;
  struct vd_file *file;

  vd_uri_free (&u);
  if (r == -1)
    return -1;
  if (!name)
    return vd_fail_nomem (err);
  file = vd_open (name, opts, err);
  /* There are servers that forbid what they do not have. */
  if (!file)
    return err->code == VD_NOT_FOUND || err->code == VD_DENIED ? 0 : -1;
  vd_file_close (file);
  *found = calloc (1, sizeof **found);
  if (!*found)
    return vd_fail_nomem (err);
  (*found)->path = VD_TAKE (name);
  return 0;
}

/* ---- What it means ------------------------------------------------------- */

int
vd_merging_fail (const struct vd_merging *m, const char *image,
                 struct vd_err *err)
{
  if (!m->text)
    return vd_fail (err, VD_MISMATCH, "%s belongs to a merge that was not "
                    "completed, but %s cannot be read, or was written by "
                    "another version: complete it with that version, as the "
                    "same user", image, m->path);
  return vd_fail (err, VD_MISMATCH, "%s belongs to a merge that was "
                  "interrupted, and may hold data of newer snapshots already. "
                  "Complete that merge first: %s  (noted in %s)", image,
                  m->command, m->path);
}

int
vd_merging_refuse (const char *image, struct vd_err *err)
{
  CLEANUP_FREE char *descriptor = vd_descriptor_name (image);
  struct vd_merging *m = NULL;

  if (vd_merging_find (image, &m, err) == -1)
    return -1;
  if (!m && descriptor && vd_merging_find (descriptor, &m, err) == -1)
    return -1;
  if (!m)
    return 0;
  vd_merging_fail (m, image, err);
  vd_merging_free (m);
  return -1;
}

/* Files are moved and copied with their marks, so the inode alone does not
 * say it.
 */
static bool
is_link (const struct vd_merging_link *l, const struct vd_link *link)
{
  struct stat st;

  if (!vd_uuid_is_null (l->uuid) && !vd_uuid_is_null (link->id.image))
    return memcmp (l->uuid, link->id.image, 16) == 0;
  if (strcmp (last_component (l->path), last_component (link->path)) == 0)
    return true;
  return stat (l->path, &st) == 0 && st.st_ino == link->ino &&
    st.st_dev == link->dev;
}

/* The target has another identity than before the merge. */
static bool
is_past (const struct vd_merging *m, const struct vd_link *link)
{
  const struct vd_descriptor *d = link->descriptor;

  if (m->has_cid && d && d->has_cid && d->cid != m->cid)
    return true;
  return !vd_uuid_is_null (m->modified) &&
    !vd_uuid_is_null (link->id.modified) &&
    memcmp (m->modified, link->id.modified, 16) != 0;
}

bool
vd_merging_is_wrong (const struct vd_link *link,
                     struct vd_link *const *newer, size_t n)
{
  const struct vd_merging *m = link->merging;
  size_t i;

  if (!m)
    return false;
  if (!m->text)
    return true;
  if (is_link (&m->link[0], link) ||
      (is_link (&m->link[m->nr_links - 1], link) && is_past (m, link)))
    return false;
  for (i = 0; i < n; ++i)
    if (is_link (&m->link[0], newer[i]))
      return false;
  return true;
}
