/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Reading the note of what a target holds; see state.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/state-parts.h"
#include "base/array.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/records.h"
#include "base/uuid.h"

/* Names are in hexadecimal, and there are four of them. */
#define MAX_STATE (UINT64_C (1) << 18)

char *
vd_target_state_name (const char *target, struct vd_err *err)
{
  CLEANUP_FREE char *real = realpath (target, NULL);
  char *name;

  if (!real) {
    vd_fail_errno (err, errno, "%s", target);
    return NULL;
  }
  if (asprintf (&name, "%s.vmdkdelta-state", real) == -1) {
    vd_fail_nomem (err);
    return NULL;
  }
  return name;
}

void
vd_target_state_free (struct vd_target_state *s)
{
  if (!s)
    return;
  free (s->path);
  free (s->target);
  free (s->delta);
  free (s->undo);
  free (s->sync.base);
  free (s->past);
  free (s->first);
  free (s->sample);
  free (s);
}

/* ---- Words --------------------------------------------------------------- */

/* A number of exactly so many hexadecimal digits. */
static int
read_hex (char **line, size_t digits, uint64_t *n)
{
  const char *word = vd_next_word (line);

  if (!word || strlen (word) != digits ||
      strspn (word, "0123456789abcdef") != digits)
    return -1;
  *n = strtoull (word, NULL, 16);
  return 0;
}

/* The same, or "-". */
static int
read_cid (char **line, bool *there, uint32_t *cid)
{
  uint64_t n;

  *there = strncmp (*line ? *line : "", "-", 1) != 0;
  if (!*there)
    return strcmp (vd_next_word (line), "-") == 0 ? 0 : -1;
  if (read_hex (line, 8, &n) == -1)
    return -1;
  *cid = (uint32_t) n;
  return 0;
}

const char *
vd_sync_mode_name (enum vd_sync_mode mode)
{
  static const char *const names[] = { "nothing", "links", "copy", "compare" };

  return names[mode];
}

static int
read_number (char **line, uint64_t max, uint64_t *n)
{
  return vd_from_number (vd_next_word (line), n) == 0 && *n <= max ? 0 : -1;
}

/* A name, or "-": NULL. */
static int
read_name (char **line, char **name)
{
  uint8_t *data;
  size_t n;

  free (VD_TAKE (*name));
  if (vd_from_hex (vd_next_word (line), &data, &n) == -1)
    return -1;
  if (n == 0 || strlen ((char *) data) != n) {
    free (data);
    return n == 0 ? 0 : -1;
  }
  *name = (char *) data;
  return 0;
}

static int
read_content (char **line, struct vd_content *c)
{
  const char *word;

  *c = (struct vd_content) { .id = 0 };
  if (read_hex (line, 16, &c->id) == -1 ||
      read_cid (line, &c->has_cid, &c->cid) == -1)
    return -1;
  word = vd_next_word (line);
  if (!word || (strcmp (word, "-") != 0 && !vd_parse_uuid (word, c->uuid)))
    return -1;
  if (read_cid (line, &c->has_said, &c->said) == -1)
    return -1;
  word = vd_next_word (line);
  return word && (strcmp (word, "-") == 0 || vd_parse_uuid (word, c->longid))
    ? 0 : -1;
}

/* ---- Records ------------------------------------------------------------- */

static int
read_run (struct vd_target_state *s, char **line)
{
  const char *word = vd_next_word (line);

  if (!word || (strcmp (word, "finished") != 0 && strcmp (word, "writing") != 0))
    return -1;
  s->finished = *word == 'f';
  return read_hex (line, 16, &s->map) == -1 ||
    read_name (line, &s->delta) == -1 || !s->delta ? -1
    : read_name (line, &s->undo);
}

static int
read_sync (struct vd_target_state *s, char **line)
{
  static const enum vd_sync_mode modes[] = {
    VD_SYNC_LINKS, VD_SYNC_COPY, VD_SYNC_COMPARE
  };
  struct vd_sync_note *n = &s->sync;
  const char *mode = vd_next_word (line), *part = vd_next_word (line);
  size_t i;

  if (!mode || !part ||
      (strcmp (part, "end") != 0 && strcmp (part, "frozen") != 0))
    return -1;
  n->to_end = *part == 'e';
  for (i = 0; i < sizeof modes / sizeof modes[0]; ++i)
    if (strcmp (mode, vd_sync_mode_name (modes[i])) == 0) {
      n->there = true;
      n->mode = modes[i];
    }
  return !n->there || read_hex (line, 16, &n->link) == -1 ||
    read_number (line, INT64_MAX, &n->reached) == -1 ||
    read_number (line, INT64_MAX, &n->rate) == -1
    ? -1 : read_name (line, &n->base);
}

static int
read_past (struct vd_target_state *s, char **line)
{
  struct vd_err ignored;
  struct vd_content *p;

  if (s->nr_past == VD_MAX_PAST)
    return -1;
  p = vd_grow (s->past, s->nr_past, sizeof *p, &ignored);
  if (!p)
    return -1;
  s->past = p;
  return read_content (line, &p[s->nr_past]) == -1 ? -1 : (s->nr_past++, 0);
}

static int
read_stamp (struct vd_target_state *s, char **line)
{
  uint64_t n[4];
  size_t i;

  if (read_number (line, UINT64_MAX, &s->dev) == -1 ||
      read_number (line, UINT64_MAX, &s->ino) == -1)
    return -1;
  for (i = 0; i < 4; ++i)
    if (read_number (line, INT64_MAX, &n[i]) == -1)
      return -1;
  s->mtime[0] = (int64_t) n[0], s->mtime[1] = (int64_t) n[1];
  s->ctime[0] = (int64_t) n[2], s->ctime[1] = (int64_t) n[3];
  s->has_stamp = true;
  return 0;
}

int
vd_add_sample (struct vd_sample **sample, size_t *n,
               const struct vd_sample *one, struct vd_err *err)
{
  struct vd_sample *p = vd_grow (*sample, *n, sizeof *p, err);

  if (!p)
    return -1;
  *sample = p;
  p[(*n)++] = *one;
  return 0;
}

static int
read_sample (char **line, struct vd_sample **sample, size_t *n)
{
  struct vd_sample one;
  struct vd_err ignored;
  uint64_t length, crc;

  if (*n == VD_MAX_SAMPLES ||
      read_number (line, INT64_MAX, &one.offset) == -1 ||
      read_number (line, VD_SAMPLE_MAX, &length) == -1 ||
      read_hex (line, 8, &crc) == -1)
    return -1;
  one.length = (uint32_t) length;
  one.crc = (uint32_t) crc;
  return vd_add_sample (sample, n, &one, &ignored);
}

static int
read_held (struct vd_target_state *s, char **line)
{
  if (s->nr_held == VD_SURVEY_PLACES)
    return -1;
  return read_number (line, INT64_MAX, &s->held[s->nr_held++]);
}

static int
read_record (struct vd_target_state *s, const char *kind, char **line)
{
  uint64_t n;

  if (strcmp (kind, "target") == 0)
    return read_name (line, &s->target) == -1 || !s->target ||
      read_number (line, INT64_MAX, &s->size) == -1 ? -1 : 0;
  if (strcmp (kind, "disk") == 0)
    return read_number (line, INT64_MAX, &s->capacity);
  if (strcmp (kind, "run") == 0)
    return read_run (s, line);
  if (strcmp (kind, "from") == 0)
    return read_content (line, &s->from);
  if (strcmp (kind, "moved") == 0)
    return s->moved = true, 0;
  if (strcmp (kind, "to") == 0)
    return read_content (line, &s->to);
  if (strcmp (kind, "past") == 0)
    return read_past (s, line);
  if (strcmp (kind, "sync") == 0)
    return read_sync (s, line);
  if (strcmp (kind, "stamp") == 0)
    return read_stamp (s, line);
  if (strcmp (kind, "held") == 0)
    return read_held (s, line);
  if (strcmp (kind, "sample") == 0)
    return read_sample (line, &s->sample, &s->nr_samples);
  if (strcmp (kind, "first") == 0)
    return read_sample (line, &s->first, &s->nr_first);
  if (strcmp (kind, "temp") != 0 || read_hex (line, 8, &n) == -1)
    return -1;
  s->temp = (uint32_t) n;
  return 0;
}

static bool
samples_fit (const struct vd_sample *sample, size_t n, uint64_t size)
{
  size_t i;

  for (i = 0; i < n; ++i)
    if (sample[i].length == 0 || sample[i].offset >= size ||
        sample[i].length > size - sample[i].offset)
      return false;
  return true;
}

/* Each needed record is there, and numbers lie within each other. */
static bool
makes_sense (const struct vd_target_state *s)
{
  return s->target && s->delta && s->to.id != 0 && s->capacity > 0 &&
    s->capacity <= s->size && s->sync.reached <= s->capacity &&
    samples_fit (s->sample, s->nr_samples, s->size) &&
    samples_fit (s->first, s->nr_first, s->size);
}

static bool
parse_state (struct vd_target_state *s, char *text, size_t len)
{
  char *body = vd_records_body (text, len, VD_STATE_FIRST), *line;

  while (body && (line = strsep (&body, "\n")) != NULL && *line) {
    const char *kind = vd_next_word (&line);

    if (read_record (s, kind, &line) == -1 || line)
      return false;
  }
  return makes_sense (s);
}

/* ---- The file ------------------------------------------------------------ */

static int
fail_not_understood (const char *path, struct vd_err *err)
{
  return vd_fail (err, VD_CORRUPT, "%s says what the target holds, but it is "
                  "damaged, or was written by another version.  If you know "
                  "what the target holds, remove this file", path);
}

static int
read_text (const char *path, int fd, char **text, size_t *len,
           struct vd_err *err)
{
  struct stat st;
  ssize_t n;

  if (fstat (fd, &st) == -1)
    return vd_fail_errno (err, errno, "%s", path);
  if (!S_ISREG (st.st_mode) || (uint64_t) st.st_size > MAX_STATE)
    return fail_not_understood (path, err);
  *text = malloc ((size_t) st.st_size + 1);
  if (!*text)
    return vd_fail_nomem (err);
  n = pread (fd, *text, (size_t) st.st_size, 0);
  if (n == -1)
    return vd_fail_errno (err, errno, "%s", path);
  if (n != st.st_size)
    return fail_not_understood (path, err);
  (*text)[n] = '\0';
  *len = (size_t) n;
  return 0;
}

int
vd_target_state_read (const char *path, struct vd_target_state **state,
                      struct vd_err *err)
{
  CLEANUP_FD int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  CLEANUP_FREE char *text = NULL;
  struct vd_target_state *s;
  size_t len = 0;

  *state = NULL;
  if (fd == -1)
    return errno == ENOENT ? 0 : vd_fail_errno (err, errno, "%s", path);
  if (read_text (path, fd, &text, &len, err) == -1)
    return -1;
  s = calloc (1, sizeof *s);
  if (!s || !(s->path = strdup (path))) {
    free (s);
    return vd_fail_nomem (err);
  }
  if (!parse_state (s, text, len)) {
    vd_target_state_free (s);
    return fail_not_understood (path, err);
  }
  *state = s;
  return 0;
}
