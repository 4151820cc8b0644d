/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the reports of all machines are made of; see machine.h. */

#include <stdlib.h>
#include <string.h>

#include "machine.h"

/* A row begins with a name of this width at most; longer ones shift it. */
#define MAX_WIDTH 48

void
machine_line (FILE *fp, const char *name, const char *value)
{
  fprintf (fp, "  %-14s ", name);
  out_text (fp, value);
  putc ('\n', fp);
}

void
machine_cell (FILE *fp, unsigned indent, const char *name, unsigned width)
{
  const unsigned used = indent + (unsigned) vd_utf8_columns (name);

  fprintf (fp, "%*s", (int) indent, "");
  out_text (fp, name);
  fprintf (fp, "%*s", used < width ? (int) (width - used) : 0, "");
}

unsigned
machine_wider (unsigned width, unsigned indent, const char *name)
{
  const unsigned n = indent + (unsigned) vd_utf8_columns (name);

  return n > width && n <= MAX_WIDTH ? n : width;
}

/* An export's name as it stands in an NBD URI. */
static char *
uri_name (const char *name)
{
  static const char plain[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~@";
  char *out = malloc (strlen (name) * 3 + 1), *o = out;

  for (; out && *name; ++name)
    if (strchr (plain, *name))
      *o++ = *name;
    else
      o += sprintf (o, "%%%02X", (unsigned) (unsigned char) *name);
  if (out)
    *o = '\0';
  return out;
}

void
machine_copy (FILE *fp, const char *export)
{
  char *name = uri_name (export);

  if (name)
    fprintf (fp, "    nbdcopy nbd://localhost/%s out.raw\n", name);
  free (name);
}
