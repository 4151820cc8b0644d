/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Quoting for a shell; see shell.h. */

#include <stdbool.h>
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
      fprintf (fp, "\\x%02x", (unsigned) (unsigned char) *p);
}

static char *
quote (const char *text, const char *before)
{
  const size_t n = strlen (text) * 4 + 1;
  CLEANUP_FREE char *safe = malloc (n);
  char *word = NULL;
  bool active;
  size_t len;
  FILE *fp;

  if (!safe)
    return NULL;
  vd_escape (safe, n, text);
  active = strcmp (safe, text) != 0;
  fp = open_memstream (&word, &len);
  if (!fp)
    return NULL;
  fprintf (fp, "%s%s'", before, active ? "$" : "");
  (active ? put_escaped : put_quoted) (fp, text);
  putc ('\'', fp);
  if (ferror (fp) | fclose (fp))
    free (VD_TAKE (word));
  return word;
}

char *
vd_shell_word (const char *text)
{
  return *text && text[strspn (text, plain)] == '\0' ? strdup (text)
    : quote (text, "");
}

char *
vd_shell_file (const char *name)
{
  return *name == '-' ? quote (name, "./") : vd_shell_word (name);
}
