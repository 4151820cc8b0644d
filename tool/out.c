/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Messages, sizes, and output that appears whole or not at all; see tool.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

/* --log, or NULL. */
static FILE *log_file;

int
out_log (const char *path)
{
  if (log_file)
    fclose (log_file);
  log_file = fopen (path, "ae");
  return log_file ? STATUS_OK
    : tool_error ("%s: cannot be opened: %s", path, strerror (errno));
}

/* A line that was escaped. */
static void
put_log (const char *kind, const char *line)
{
  const time_t now = time (NULL);
  char when[32];
  struct tm tm;

  if (!log_file || !gmtime_r (&now, &tm) ||
      strftime (when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    return;
  fprintf (log_file, "%s [%ld] %s%s\n", when, (long) getpid (), kind, line);
  fflush (log_file);
}

/* Formats into err->msg, which escapes. */
static void
vsay (struct vd_err *err, const char *fs, va_list args)
{
  char text[VD_ERR_MAX];

  vsnprintf (text, sizeof text, fs, args);
  vd_fail (err, VD_USAGE, "%s", text);
}

int
tool_error (const char *fs, ...)
{
  struct vd_err err;
  va_list args;

  va_start (args, fs);
  vsay (&err, fs, args);
  va_end (args);
  return tool_fail (&err);
}

void
tool_say (bool not, const char *fs, ...)
{
  CLEANUP_FREE char *text = NULL, *safe = NULL;
  va_list args;
  size_t n;

  if (not && !log_file)
    return;
  va_start (args, fs);
  if (vasprintf (&text, fs, args) == -1)
    text = NULL;
  va_end (args);
  n = text ? strlen (text) * 4 + 1 : 0;
  safe = malloc (n + 1);
  if (!text || !safe)
    return;
  vd_escape (safe, n, text);    /* whole: it may have a command in it */
  put_log ("", safe);
  if (not)
    return;
  printf ("%s\n", safe);
  fflush (stdout);
}

int
tool_fail (const struct vd_err *err)
{
  put_log ("error: ", err->msg);
  fprintf (stderr, "vmdkdelta: %s\n", err->msg);
  return STATUS_ERROR;
}

int
tool_usage (const struct verb *verb, const char *fs, ...)
{
  struct vd_err err;
  va_list args;

  va_start (args, fs);
  vsay (&err, fs, args);
  va_end (args);
  fprintf (stderr, "vmdkdelta: %s\nvmdkdelta: see: vmdkdelta %s --help\n",
           err.msg, verb->name);
  return STATUS_USAGE;
}

void
tool_log (void *opaque, enum vd_level level, const char *msg)
{
  (void) opaque;
  if (level != VD_WARN)
    return;
  put_log ("warning: ", msg);
  fprintf (stderr, "vmdkdelta: warning: %s\n", msg);
}

/* An open file without a name.  In memory if nothing can be written. */
static int
open_temporary (void)
{
  const char *dir = getenv ("TMPDIR");
  char name[4096];
  int fd;

  if (!dir || *dir == '\0')
    dir = "/tmp";
  if (snprintf (name, sizeof name, "%s/vmdkdelta.XXXXXX", dir)
      < (int) sizeof name) {
    fd = mkostemp (name, O_CLOEXEC);
    if (fd >= 0) {
      unlink (name);
      return fd;
    }
  }
  return memfd_create ("vmdkdelta", MFD_CLOEXEC);
}

FILE *
out_begin (void)
{
  const int fd = open_temporary ();
  FILE *fp = fd >= 0 ? fdopen (fd, "w+") : NULL;

  if (!fp) {
    tool_error ("temporary file: %s", strerror (errno));
    if (fd >= 0)
      close (fd);
  }
  return fp;
}

int
out_commit (FILE *fp)
{
  static char buf[65536];
  size_t n;

  if (!fp)
    return STATUS_ERROR;
  if (fflush (fp) == EOF || ferror (fp)) {
    tool_error ("temporary file: %s", strerror (errno));
    fclose (fp);
    return STATUS_ERROR;
  }
  rewind (fp);
  while ((n = fread (buf, 1, sizeof buf, fp)) > 0)
    if (fwrite (buf, 1, n, stdout) < n)
      break;
  n = ferror (fp) ? 1 : 0;
  fclose (fp);
  if (n)
    return tool_error ("temporary file cannot be read back");
  if (fflush (stdout) == EOF || ferror (stdout))
    return tool_error ("stdout: %s", strerror (errno));
  return STATUS_OK;
}

void
out_discard (FILE *fp)
{
  if (fp)
    fclose (fp);
}

void
out_text (FILE *fp, const char *text)
{
  const size_t n = strlen (text) * 4 + 1;
  char *safe = malloc (n);

  if (!safe)
    return;
  vd_escape (safe, n, text);
  fputs (safe, fp);
  free (safe);
}

void
out_shell (FILE *fp, const char *name)
{
  char *word = vd_shell_file (name);

  if (word)
    fputs (word, fp);
  free (word);
}

const char *
short_size (char buf[HUMAN_SIZE_MAX], uint64_t bytes)
{
  static const char units[] = "KMGTPE";
  double v = (double) bytes;
  int i = -1;

  if (bytes < 1024) {
    snprintf (buf, HUMAN_SIZE_MAX, "%" PRIu64 " B", bytes);
    return buf;
  }
  for (; v >= 1024 && units[i + 1]; ++i)
    v /= 1024;
  snprintf (buf, HUMAN_SIZE_MAX, "%.*f %ciB",
            v < 100 && v * 10 != (double) (int) v * 10 ? 1 : 0, v, units[i]);
  return buf;
}

const char *
human_size (char buf[HUMAN_SIZE_MAX], uint64_t bytes)
{
  char s[HUMAN_SIZE_MAX];

  if (bytes < 1024)
    snprintf (buf, HUMAN_SIZE_MAX, "%" PRIu64 " byte%s", bytes,
              bytes == 1 ? "" : "s");
  else
    snprintf (buf, HUMAN_SIZE_MAX, "%.16s (%" PRIu64 " bytes)",
              short_size (s, bytes), bytes);
  return buf;
}

const char *
base_name (const char *path)
{
  /* What is behind the path of a URI can have slashes too. */
  const char *end = path + (vd_is_uri (path) ? strcspn (path, "?")
                            : strlen (path));
  const char *slash = memrchr (path, '/', (size_t) (end - path));

  return slash ? slash + 1 : path;
}

void
out_command (FILE *fp, const char *before, const char *file, const char *after)
{
  fprintf (fp, "    %s", before);
  out_shell (fp, file);
  fprintf (fp, "%s\n", after);
}
