/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing JSON; see json.h. */

#include <inttypes.h>
#include <string.h>

#include "json.h"
#include "vmdkdelta.h"

static void
put_string (FILE *fp, const char *text)
{
  const unsigned char *s = (const unsigned char *) text, *from = s;
  uint32_t c = 0;
  size_t n = 0;

  putc ('"', fp);
  for (; *s; s += n > 0 ? n : 1, from = s) {
    while (*s && (n = vd_utf8_decode (s, &c)) > 0 && c != '"' && c != '\\' &&
           !vd_utf8_is_active (c))
      s += n;
    if (s > from)
      fwrite (from, 1, (size_t) (s - from), fp);
    if (!*s)
      break;
    if (n == 0)
      fputs ("\xef\xbf\xbd", fp);
    else if (c == '"' || c == '\\')
      fprintf (fp, "\\%c", (int) c);
    else if (c == '\n')
      fputs ("\\n", fp);
    else if (c == '\t')
      fputs ("\\t", fp);
    else
      fprintf (fp, "\\u%04" PRIx32, c);
  }
  putc ('"', fp);
}

static void
new_line (const struct json *j)
{
  if (j->one_line)
    putc (' ', j->fp);
  else
    fprintf (j->fp, "\n%*s", (int) (2 * j->depth), "");
}

/* What stands in front of a value. */
static void
before (struct json *j, const char *key)
{
  if (j->filled[j->depth])
    putc (',', j->fp);
  if (j->depth > 0)
    new_line (j);
  j->filled[j->depth] = true;
  if (key) {
    put_string (j->fp, key);
    fputs (": ", j->fp);
  }
}

static void
begin (struct json *j, const char *key, char opening, char closing)
{
  before (j, key);
  putc (opening, j->fp);
  j->depth++;
  j->filled[j->depth] = false;
  j->closing[j->depth] = closing;
}

void
json_begin_object (struct json *j, const char *key)
{
  begin (j, key, '{', '}');
}

void
json_begin_array (struct json *j, const char *key)
{
  begin (j, key, '[', ']');
}

void
json_end (struct json *j)
{
  const char closing = j->closing[j->depth];
  const bool filled = j->filled[j->depth];

  j->depth--;
  if (filled)
    new_line (j);
  putc (closing, j->fp);
  if (j->depth == 0)
    putc ('\n', j->fp);
}

void
json_string (struct json *j, const char *key, const char *value)
{
  before (j, key);
  put_string (j->fp, value);
}

void
json_u64 (struct json *j, const char *key, uint64_t value)
{
  before (j, key);
  fprintf (j->fp, "%" PRIu64, value);
}

void
json_bool (struct json *j, const char *key, bool value)
{
  before (j, key);
  fputs (value ? "true" : "false", j->fp);
}

void
json_null (struct json *j, const char *key)
{
  before (j, key);
  fputs ("null", j->fp);
}

void
json_string_or_null (struct json *j, const char *key, const char *value)
{
  if (value)
    json_string (j, key, value);
  else
    json_null (j, key);
}

void
json_u64_or_null (struct json *j, const char *key, bool known, uint64_t value)
{
  if (known)
    json_u64 (j, key, value);
  else
    json_null (j, key);
}
