/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Quoting for a shell; see shell.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/shell.h"

static const char plain[] =
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+,-";

/* Within '...'. */
static void
put_quoted (FILE *fp, const char *p)
{
  for (; *p; ++p)
    if (*p == '\'')
      fputs ("'\\''", fp);
    else
      putc (*p, fp);
}

/* Within the format of printf, which is within '...'.  A format that begins with
 * "-" would be an option.
 */
static void
put_format (FILE *fp, const char *p)
{
  const char *const begin = p;

  for (; *p; ++p)
    if (*p == '\'')
      fputs ("'\\''", fp);
    else if (*p == '\\' || *p == '%')
      fprintf (fp, "%c%c", *p, *p);
    else if (*p >= ' ' && *p <= '~' && (*p != '-' || p > begin))
      putc (*p, fp);
    else
      fprintf (fp, "\\%03o", (unsigned) (unsigned char) *p);
}

/* Within $'...'. */
static void
put_escaped (FILE *fp, const char *p)
{
  for (; *p; ++p)
    if (*p == '\'' || *p == '\\')
      fprintf (fp, "\\%c", *p);
    else if (*p >= ' ' && *p <= '~')
      putc (*p, fp);
    else
      fprintf (fp, "\\%03o", (unsigned) (unsigned char) *p);
}

/* Not all shells know $'...' (dash does not), but all take newlines away from
 * the end of what a command prints.
 */
static void
put_active (FILE *fp, const char *text)
{
  const size_t n = strlen (text);

  if (text[n - 1] == '\n') {
    fputs ("$'", fp);
    put_escaped (fp, text);
    putc ('\'', fp);
  }
  else {
    fputs ("\"$(printf '", fp);
    put_format (fp, text);
    fputs ("')\"", fp);
  }
}

static char *
quote (const char *text)
{
  const size_t n = strlen (text) * 4 + 1;
  CLEANUP_FREE char *safe = malloc (n);
  char *word = NULL;
  size_t len;
  FILE *fp;

  if (!safe)
    return NULL;
  vd_escape (safe, n, text);
  fp = open_memstream (&word, &len);
  if (!fp)
    return NULL;
  if (strcmp (safe, text) != 0)
    put_active (fp, text);
  else {
    putc ('\'', fp);
    put_quoted (fp, text);
    putc ('\'', fp);
  }
  if (ferror (fp) | fclose (fp))
    free (VD_TAKE (word));
  return word;
}

char *
vd_shell_word (const char *text)
{
  return *text && text[strspn (text, plain)] == '\0' ? strdup (text)
    : quote (text);
}

char *
vd_shell_file (const char *name)
{
  CLEANUP_FREE char *here = NULL;

  if (*name != '-')
    return vd_shell_word (name);
  if (asprintf (&here, "./%s", name) == -1)
    here = NULL;
  return here ? vd_shell_word (here) : NULL;
}
