/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files of a host, read by a shell there; see shell.h. */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "captive.h"
#include "shell.h"

#define MAX_SESSIONS 8u

/* One more is opened when each has so much to send: a login takes longer than
 * to wait for less.
 */
#define BUSY (UINT64_C (4) << 20)

/* dd reads whole blocks of this size: more than a pipe holds is no faster. */
#define UNIT (UINT64_C (64) << 10)

/* Nothing arrives for so many seconds: it will not come any more. */
#define LOGIN_LIMIT 60
#define ANSWER_LIMIT 60
#define SUM_LIMIT (24 * 60 * 60)
#define SUM_BYTES (UINT64_C (1) << 30)

/* Of what is printed at login before we are asked. */
#define MAX_NOISE (256u << 10)

#define MAX_LINE 8192u
#define MAX_LISTED 10000u

struct session {
  struct captive captive;
  bool used, broken;
  uint64_t sent, answered;      /* S1 */
  unsigned waiting;             /* requests, and their bytes */
  uint64_t bytes;
  uint8_t buf[MAX_LINE];        /* read, and not yet taken */
  size_t at, n;
};

struct shell {
  char *const *argv;
  char word[40];                /* before and behind each answer */
  unsigned max;
  pthread_mutex_t lock;         /* of all, but captive and buf: S1 */
  pthread_cond_t turn;
  bool opening;
  struct session session[MAX_SESSIONS];
};

/* ---- What a session says ---------------------------------------------------- */

/* Wait for something to read. */
static int
fill (struct session *s, int limit, struct vd_err *err)
{
  struct pollfd p = { .fd = s->captive.socket, .events = POLLIN };
  ssize_t n;
  int r;

  do
    r = poll (&p, 1, limit * 1000);
  while (r == -1 && errno == EINTR);
  if (r == 0)
    return vd_fail (err, VD_IO, "nothing has arrived for %d s", limit);
  do
    n = read (s->captive.socket, s->buf, sizeof s->buf);
  while (n == -1 && errno == EINTR);
  if (n <= 0)
    return vd_fail (err, VD_IO, "the connection was lost");
  s->at = 0;
  s->n = (size_t) n;
  return 0;
}

/* Up to a newline, which is left out; what is too long is cut. */
static int
get_line (struct session *s, char line[MAX_LINE], int limit,
          struct vd_err *err)
{
  size_t n = 0;

  for (;;) {
    if (s->at == s->n && fill (s, limit, err) == -1)
      return -1;
    if (s->buf[s->at] == '\n')
      break;
    if (n < MAX_LINE - 1)
      line[n++] = (char) s->buf[s->at];
    s->at++;
  }
  s->at++;
  line[n] = '\0';
  return 0;
}

/* If it is one of ours, what is behind the word. */
static const char *
ours (const struct shell *sh, const char *line)
{
  const size_t n = strlen (sh->word);

  return strncmp (line, sh->word, n) == 0 && line[n] == ' '
    ? line + n + 1 : NULL;
}

/* "STATUS what dd said": the end of an answer. */
static int
check_status (const char *status, const char *name, struct vd_err *err)
{
  const char *why = strchr (status, ' ');

  if (strcmp (status, "0") == 0 || strncmp (status, "0 ", 2) == 0)
    return 0;
  if (why && strstr (why, "ermission denied"))
    return vd_fail (err, VD_DENIED, "%s: that user may not read it", name);
  if (why && strstr (why, "busy"))
    return vd_fail (err, VD_IO, "%s: it is in use on that host: stop the "
                    "machine; or, if it is a frozen parent, clone it there "
                    "(vmkfstools -i) and read the clone", name);
  return vd_fail (err, VD_IO, "%s: cannot be read on that host: %s", name,
                  why ? why + 1 : status);
}

/* ---- Sessions ----------------------------------------------------------------- */

static int
send_all (const struct session *s, const char *text, struct vd_err *err)
{
  size_t n = strlen (text);
  ssize_t m;

  for (; n > 0; text += m, n -= (size_t) m) {
    do
      m = send (s->captive.socket, text, n, MSG_NOSIGNAL);
    while (m == -1 && errno == EINTR);
    if (m == -1)
      return vd_fail (err, VD_IO, "the connection was lost");
  }
  return 0;
}

/* Whatever is printed at login comes before our word. */
static int
greet (const struct shell *sh, struct session *s, struct vd_err *err)
{
  CLEANUP_FREE char *hello = NULL;
  char line[MAX_LINE];
  const char *said;
  size_t noise = 0;

  if (asprintf (&hello, "set -f; exec 3>&1; LC_ALL=C; export LC_ALL; stat -L -c %%s / "
                "> /dev/null 2>&1 && echo '%s' hello\n", sh->word) == -1) {
    hello = NULL;
    return vd_fail_nomem (err);
  }
  if (send_all (s, hello, err) == -1)
    return -1;
  do {
    if (get_line (s, line, LOGIN_LIMIT, err) == -1)
      return -1;
    noise += strlen (line);
    said = ours (sh, line);
  } while (!said && noise < MAX_NOISE);
  return said ? 0 : vd_fail (err, VD_IO, "there is no shell");
}

/* Without the lock: nobody else knows of it yet. */
static int
open_session (const struct shell *sh, struct session *s, struct vd_err *err)
{
  *s = (struct session) { .captive = { .socket = -1, .messages = -1 } };
  if (captive_start (&s->captive, sh->argv, err) == -1)
    return -1;
  if (greet (sh, s, err) == 0)
    return 0;
  captive_end (&s->captive);
  return -1;
}

/* With the lock: the one with the least to do, or NULL. */
static struct session *
least_busy (struct shell *sh)
{
  struct session *best = NULL, *s;

  for (s = sh->session; s < sh->session + MAX_SESSIONS; ++s)
    if (s->used && !s->broken && (!best || s->bytes < best->bytes))
      best = s;
  return best;
}

/* With the lock: a place for one more, or NULL. */
static struct session *
free_place (struct shell *sh)
{
  struct session *s, *place = NULL;
  unsigned n = 0;

  for (s = sh->session; s < sh->session + MAX_SESSIONS; ++s) {
    if (s->used && s->broken && s->waiting == 0) {
      captive_end (&s->captive);
      s->used = false;
    }
    n += s->used;
    if (!s->used && !place)
      place = s;
  }
  return n < sh->max ? place : NULL;
}

/* A session that counts this request.  With the lock, which is released while
 * one is opened.
 */
static struct session *
take_session (struct shell *sh, uint64_t bytes, struct vd_err *err)
{
  struct session *s, *place, fresh;
  int r;

  for (;;) {
    s = least_busy (sh);
    if ((s && s->bytes < BUSY) || (sh->opening && s))
      break;
    if (sh->opening) {
      pthread_cond_wait (&sh->turn, &sh->lock);
      continue;
    }
    place = free_place (sh);
    if (!place) {
      if (s)
        break;
      pthread_cond_wait (&sh->turn, &sh->lock);
      continue;
    }
    sh->opening = true;
    pthread_mutex_unlock (&sh->lock);
    r = open_session (sh, &fresh, err);
    pthread_mutex_lock (&sh->lock);
    sh->opening = false;
    pthread_cond_broadcast (&sh->turn);
    if (r == 0) {
      *place = fresh;
      place->used = true;
      s = place;
    }
    else
      sh->max = s ? 1 : sh->max;        /* the host wants no more of them */
    break;
  }
  if (s) {
    s->waiting++;
    s->bytes += bytes;
  }
  return s;
}

/* With the lock: the next one's turn. */
static void
leave_session (struct shell *sh, struct session *s, uint64_t bytes,
               bool broken)
{
  s->waiting--;
  s->bytes -= bytes;
  s->answered++;
  if (broken && !s->broken) {
    s->broken = true;
    shutdown (s->captive.socket, SHUT_RDWR);
  }
  pthread_cond_broadcast (&sh->turn);
}

/* Send a command and wait for its turn to be answered; leave_session then.
 * NULL: there is no session, or it broke.
 */
static struct session *
ask (struct shell *sh, const char *command, uint64_t bytes,
     struct vd_err *err)
{
  struct session *s;
  uint64_t number;
  LOCK_FOR_SCOPE (&sh->lock);

  s = take_session (sh, bytes, err);
  if (!s)
    return NULL;
  /* A few hundred bytes: the socket has room for them. */
  if (!s->broken && send_all (s, command, err) == -1)
    s->broken = true;
  number = s->sent++;
  while (s->answered != number)
    pthread_cond_wait (&sh->turn, &sh->lock);
  if (!s->broken)
    return s;
  leave_session (sh, s, bytes, true);
  vd_fail (err, VD_IO, "the connection was lost");
  return NULL;
}

/* ---- Commands ------------------------------------------------------------------- */

/* 'it'\''s' */
static char *
quote (const char *text)
{
  char *q = malloc (4 * strlen (text) + 3), *o = q;

  if (!q)
    return NULL;
  *o++ = '\'';
  for (; *text; ++text)
    if (*text == '\'') {
      memcpy (o, "'\\''", 4);
      o += 4;
    }
    else
      *o++ = *text;
  *o++ = '\'';
  *o = '\0';
  return q;
}

enum answer {
  ANSWERED,                     /* also with an error: then err is filled */
  LOST,                         /* S2: try again */
  SPOILT,                       /* S2, but it is known what is wrong */
};

/* An answer is read by fn; *r is 0 or -1. */
typedef enum answer (*answer_fn) (const struct shell *sh, struct session *s,
                                  void *opaque, int *r, struct vd_err *err);

static int
run (struct shell *sh, const char *command, uint64_t bytes, answer_fn fn,
     void *opaque, const char *name, struct vd_err *err)
{
  enum answer a = LOST;
  struct session *s;
  int tries, r = -1;

  for (tries = 0; tries < 2 && a == LOST; ++tries) {
    s = ask (sh, command, bytes, err);
    if (!s)
      continue;
    r = 0;
    a = fn (sh, s, opaque, &r, err);
    pthread_mutex_lock (&sh->lock);
    leave_session (sh, s, bytes, a != ANSWERED);
    pthread_mutex_unlock (&sh->lock);
  }
  if (a != LOST)
    return r;
  vd_err_prefix (err, "%s: ", name);
  return -1;
}

/* ---- Reading ---------------------------------------------------------------------- */

struct shell_file {
  struct vd_file file;
  struct shell *shell;
  char *path;                   /* quoted */
  char stamp[SHELL_STAMP];
  atomic_bool readable;         /* something was read */
};

struct reading {
  const struct shell_file *f;
  uint8_t *buf;
  size_t n;
};

/* For printf: the file. */
#define GET_STAMP "$(stat -L -c '%%s %%Y %%i' %s)"

/* Can a byte be read?  A file that is locked can be looked at.  For printf: the
 * file.
 */
#define TRY "e=$(dd if=%s of=/dev/null bs=1 count=1 2>&1)"

/* dd failed in the middle: what it said is somewhere in what has arrived. */
static int
ended_early (const struct shell *sh, const char *name, const uint8_t *buf,
             size_t n, struct vd_err *err)
{
  const size_t len = strlen (sh->word) + 1;
  const uint8_t *p = memmem (buf, n, sh->word, len - 1);
  char status[256] = "";

  if (!p)
    return 0;
  if ((size_t) (buf + n - p) > len)
    memcpy (status, p + len, vd_min (sizeof status - 1,
                                     (size_t) (buf + n - p) - len));
  status[strcspn (status, "\n")] = '\0';
  if (check_status (status, name, err) == 0)
    vd_fail (err, VD_TRUNCATED, "%s: less could be read on that host than was "
             "asked for", name);
  return -1;
}

static enum answer
get_bytes (const struct shell *sh, struct session *s, const struct reading *r,
           struct vd_err *err)
{
  struct pollfd p = { .fd = s->captive.socket, .events = POLLIN };
  size_t got = vd_min (r->n, s->n - s->at);
  unsigned idle = 0;
  ssize_t m;
  int ready;

  memcpy (r->buf, s->buf + s->at, got);
  s->at += got;
  while (got < r->n) {
    ready = poll (&p, 1, 1000);
    if (ready == 0 &&
        ended_early (sh, r->f->file.name, r->buf, got, err) == -1)
      return SPOILT;
    if (ready == 0 && ++idle > ANSWER_LIMIT) {
      vd_fail (err, VD_IO, "nothing has arrived for %d s", ANSWER_LIMIT);
      return LOST;
    }
    if (ready <= 0)
      continue;
    m = read (s->captive.socket, r->buf + got, r->n - got);
    if (m == 0 || (m == -1 && errno != EINTR)) {
      vd_fail (err, VD_IO, "the connection was lost");
      return LOST;
    }
    got += m > 0 ? (size_t) m : 0;
    idle = 0;
  }
  return ANSWERED;
}

/* The status, of a line with our word; NULL: err is filled. */
static const char *
get_ours (const struct shell *sh, struct session *s, char line[MAX_LINE],
          struct vd_err *err)
{
  const char *said;

  if (get_line (s, line, ANSWER_LIMIT, err) == -1)
    return NULL;
  said = ours (sh, line);
  if (!said)
    vd_fail (err, VD_IO, "the host answers something else than what it was "
             "asked");
  return said;
}

/* "WORD STATUS ..."; if the status is 0, the data, a newline and "WORD STATUS ..."
 * once more.
 */
static enum answer
answer_read (const struct shell *sh, struct session *s, void *opaque, int *r,
             struct vd_err *err)
{
  const struct reading *rd = opaque;
  const char *name = rd->f->file.name, *said;
  char line[MAX_LINE];
  enum answer a;

  said = get_ours (sh, s, line, err);
  if (!said)
    return LOST;
  if (strncmp (said, "changed ", 8) == 0)
    *r = vd_fail (err, VD_MISMATCH, "%s was changed on that host after it was "
                  "opened (its size, time and number were %s, and are %s): what "
                  "was read of it does not belong together", name,
                  rd->f->stamp, said + 8);
  else
    *r = check_status (said, name, err);
  if (*r == -1)
    return ANSWERED;
  a = get_bytes (sh, s, rd, err);
  if (a != ANSWERED) {
    *r = -1;
    return a;
  }
  if (get_line (s, line, ANSWER_LIMIT, err) == -1)
    return LOST;
  said = *line == '\0' ? get_ours (sh, s, line, err) : NULL;
  if (!said)
    return LOST;
  *r = check_status (said, name, err);
  return ANSWERED;
}

/* [offset, offset+n) of whole units, or up to the end. */
static int
read_units (struct shell_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  const bool tried = atomic_load (&f->readable);
  const char *word = f->shell->word;
  CLEANUP_FREE char *command = NULL;
  struct reading rd = { .f = f, .buf = buf, .n = n };
  int r;

  if (asprintf (&command, "a=" GET_STAMP "; r=0; e=; "
                "if [ \"$a\" != '%s' ]; then r=changed; e=$a; "
                "elif %s; then " TRY " || r=$?; fi; [ $r != 0 ] || e=; "
                "printf '%%s ' '%s' $r $e; echo; "
                "[ $r != 0 ] || { e=$(dd if=%s bs=%" PRIu64 " skip=%" PRIu64
                " count=%" PRIu64 " 2>&1 >&3) || r=$?; [ $r != 0 ] || e=; "
                "echo; printf '%%s ' '%s' $r $e; echo; }\n",
                f->path, f->stamp, tried ? "false" : "true", f->path, word,
                f->path, UNIT, offset / UNIT, vd_div_up (n, UNIT),
                word) == -1) {
    command = NULL;
    return vd_fail_nomem (err);
  }
  r = run (f->shell, command, n, answer_read, &rd, f->file.name, err);
  if (r == 0)
    atomic_store (&f->readable, true);
  return r;
}

static int
shell_pread (struct vd_file *file, void *buf, size_t n, uint64_t offset,
             struct vd_err *err)
{
  struct shell_file *f = (struct shell_file *) file;
  const uint64_t start = vd_round_down (offset, UNIT);
  const uint64_t end = vd_min (vd_div_up (offset + n, UNIT) * UNIT, file->size);
  CLEANUP_FREE uint8_t *whole = NULL;

  if (start == offset && end == offset + n)
    return read_units (f, buf, n, offset, err);
  whole = malloc ((size_t) (end - start));
  if (!whole)
    return vd_fail_nomem (err);
  if (read_units (f, whole, (size_t) (end - start), start, err) == -1)
    return -1;
  memcpy (buf, whole + (offset - start), n);
  return 0;
}

static void
shell_close (struct vd_file *file)
{
  struct shell_file *f = (struct shell_file *) file;

  free (f->path);
  free (f);
}

static const struct vd_file_ops shell_ops = {
  .pread = shell_pread,
  .close = shell_close,
};

/* ---- Opening ------------------------------------------------------------------------ */

static int
set_stamp (struct shell_file *f, const char *stamp, struct vd_err *err)
{
  char *end;

  f->file.size = strtoull (stamp, &end, 10);
  if (end == stamp || *end != ' ' || f->file.size > INT64_MAX ||
      strlen (stamp) >= SHELL_STAMP ||
      strspn (stamp, "0123456789 .-") != strlen (stamp))
    return vd_fail (err, VD_IO, "%s: what the host says of this file makes no "
                    "sense: '%s'", f->file.name, stamp);
  strcpy (f->stamp, stamp);
  return 0;
}

/* "WORD STATUS ...", and if the status is 0 "WORD STAMP". */
static enum answer
answer_open (const struct shell *sh, struct session *s, void *opaque, int *r,
             struct vd_err *err)
{
  struct shell_file *f = opaque;
  char line[MAX_LINE];
  const char *said;

  said = get_ours (sh, s, line, err);
  if (!said)
    return LOST;
  if (strncmp (said, "none", 4) == 0)
    *r = vd_fail (err, VD_NOT_FOUND, "%s: there is no such file on that host",
                  f->file.name);
  else
    *r = check_status (said, f->file.name, err);
  if (*r == -1)
    return ANSWERED;
  said = get_ours (sh, s, line, err);
  if (!said)
    return LOST;
  *r = set_stamp (f, said, err);
  return ANSWERED;
}

static int
look (struct shell_file *f, struct vd_err *err)
{
  const char *word = f->shell->word;
  CLEANUP_FREE char *command = NULL;

  if (asprintf (&command, "r=0; if [ -f %s ]; then " TRY " || r=$?; "
                "else r=none; fi; [ $r != 0 ] || e=; "
                "printf '%%s ' '%s' $r $e; echo; "
                "[ $r != 0 ] || echo '%s' \"" GET_STAMP "\"\n",
                f->path, f->path, word, word, f->path) == -1) {
    command = NULL;
    return vd_fail_nomem (err);
  }
  return run (f->shell, command, 0, answer_open, f, f->file.name, err);
}

struct vd_file *
shell_open (struct shell *s, const char *path, const char *name,
            const char *stamp, struct vd_err *err)
{
  struct shell_file *f = calloc (1, sizeof *f);

  if (!f || !(f->file.name = strdup (name)) || !(f->path = quote (path))) {
    vd_fail_nomem (err);
    goto fail;
  }
  f->file.ops = &shell_ops;
  f->shell = s;
  if ((stamp ? set_stamp (f, stamp, err) : look (f, err)) == 0)
    return &f->file;
 fail:
  if (f) {
    free (f->file.name);
    shell_close (&f->file);
  }
  return NULL;
}

/* ---- Directories ---------------------------------------------------------------------- */

struct listing {
  shell_list_fn fn;
  void *opaque;
  const char *dir;
  unsigned n;
};

/* "MODE SIZE TIME NUMBER ./NAME" of a regular file: its parts, in line. */
static bool
split (char *line, const char **stamp, const char **name)
{
  char *end, *p;

  if ((strtoul (line, &end, 16) & 0170000) != 0100000 || *end != ' ')
    return false;
  p = strstr (end, " ./");
  if (!p)
    return false;
  *p = '\0';
  *stamp = end + 1;
  *name = p + 3;
  return true;
}

/* "WORD MODE STAMP ./NAME" for each, then "WORD end STATUS". */
static enum answer
answer_list (const struct shell *sh, struct session *s, void *opaque, int *r,
             struct vd_err *err)
{
  struct listing *l = opaque;
  const char *said, *stamp, *name;
  char line[MAX_LINE];

  for (;;) {
    if (get_line (s, line, ANSWER_LIMIT, err) == -1)
      return LOST;
    said = ours (sh, line);
    if (!said)                  /* the rest of a name with a newline in it */
      continue;
    if (strncmp (said, "end", 3) == 0)
      break;
    if (split (line + (said - line), &stamp, &name) && *r == 0 &&
        ++l->n <= MAX_LISTED)
      *r = l->fn (l->opaque, name, stamp, err);
  }
  if (*r == 0 && strcmp (said, "end 0") != 0)
    *r = vd_fail (err, VD_NOT_FOUND, "%s: that directory cannot be read on that "
                  "host", l->dir);
  else if (*r == 0 && l->n > MAX_LISTED)
    *r = vd_fail (err, VD_UNSUPPORTED, "%s holds more than %u files: that is no "
                  "directory of disks", l->dir, MAX_LISTED);
  return ANSWERED;
}

int
shell_list (struct shell *s, const char *dir, shell_list_fn fn, void *opaque,
            struct vd_err *err)
{
  struct listing l = { .fn = fn, .opaque = opaque, .dir = dir };
  CLEANUP_FREE char *quoted = quote (dir), *command = NULL;

  /* What matches nothing, and links that lead nowhere, stat says something of
   * on stderr.
   */
  if (!quoted ||
      asprintf (&command, "(set +f; cd %s && { stat -L -c '%s %%f %%s %%Y %%i %%n' ./* ./.[!.]*; "
                "true; }) 2> /dev/null; echo '%s' end $?\n", quoted, s->word,
                s->word) == -1) {
    command = NULL;
    return vd_fail_nomem (err);
  }
  return run (s, command, 0, answer_list, &l, dir, err);
}

/* ---- Checksums ---------------------------------------------------------------------- */

struct sum {
  char *hex;
  bool done;
};

/* "WORD STATUS HEX -" */
static enum answer
answer_sum (const struct shell *sh, struct session *s, void *opaque, int *r,
            struct vd_err *err)
{
  struct sum *sum = opaque;
  char line[MAX_LINE];
  const char *said;

  (void) r;
  if (get_line (s, line, SUM_LIMIT, err) == -1)
    return LOST;
  said = ours (sh, line);
  if (!said)
    return LOST;
  sum->done = strncmp (said, "0 ", 2) == 0 &&
    strspn (said + 2, "0123456789abcdef") == SHELL_SUM - 1;
  if (sum->done) {
    memcpy (sum->hex, said + 2, SHELL_SUM - 1);
    sum->hex[SHELL_SUM - 1] = '\0';
  }
  return ANSWERED;
}

int
shell_sum (struct shell *s, const char *path, const char *name,
           char hex[SHELL_SUM], struct vd_err *err)
{
  CLEANUP_FREE char *quoted = quote (path), *command = NULL;
  struct sum sum = { .hex = hex };

  if (!quoted ||
      asprintf (&command, "e=$(sha256sum < %s 2>&1); r=$?; printf '%%s ' '%s' "
                "$r $e; echo\n", quoted, s->word) == -1) {
    command = NULL;
    return vd_fail_nomem (err);
  }
  /* It counts as much, so that nobody waits behind it who need not. */
  if (run (s, command, SUM_BYTES, answer_sum, &sum, name, err) == -1)
    return -1;
  return sum.done;
}

/* ---- Begin and end ---------------------------------------------------------------------- */

struct shell *
shell_new (char *const *argv, unsigned sessions, struct vd_err *err)
{
  struct shell *s = calloc (1, sizeof *s);
  uint8_t random[16];
  size_t i;

  if (!s || getrandom (random, sizeof random, 0) != sizeof random) {
    free (s);
    vd_fail_nomem (err);
    return NULL;
  }
  for (i = 0; i < sizeof random; ++i)
    sprintf (s->word + 2 * i, "%02x", random[i]);
  s->argv = argv;
  s->max = (unsigned) vd_min (sessions, MAX_SESSIONS);
  pthread_mutex_init (&s->lock, NULL);
  pthread_cond_init (&s->turn, NULL);
  return s;
}

int
shell_connect (struct shell *s, struct vd_err *err)
{
  struct session *first = &s->session[0];

  if (open_session (s, first, err) == -1)
    return -1;
  first->used = true;
  return 0;
}

void
shell_free (struct shell *s)
{
  unsigned i;

  if (!s)
    return;
  for (i = 0; i < MAX_SESSIONS; ++i)
    if (s->session[i].used)
      captive_end (&s->session[i].captive);
  pthread_mutex_destroy (&s->lock);
  pthread_cond_destroy (&s->turn);
  free (s);
}
