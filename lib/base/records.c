/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Text files of records; see records.h. */

#include <inttypes.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/records.h"

void
vd_records_end (char end[VD_RECORDS_END + 1], const char *text, size_t len)
{
  snprintf (end, VD_RECORDS_END + 1, "end %08" PRIx32 "\n",
            libdeflate_crc32 (0, text, len));
}

char *
vd_records_body (char *text, size_t len, const char *first_line)
{
  const size_t first = strlen (first_line);
  char end[VD_RECORDS_END + 1];
  size_t body;

  if (len < first + VD_RECORDS_END || strlen (text) != len ||
      strncmp (text, first_line, first) != 0)
    return NULL;
  body = len - VD_RECORDS_END;
  vd_records_end (end, text, body);
  if (strcmp (text + body, end) != 0)
    return NULL;
  text[body] = '\0';
  return text + first;
}

void
vd_put_hex (FILE *fp, const void *data, size_t n)
{
  const uint8_t *p = data;
  size_t i;

  putc (' ', fp);
  if (n == 0)
    putc ('-', fp);
  for (i = 0; i < n; ++i)
    fprintf (fp, "%02x", p[i]);
}

/* Below dir (n bytes): the rest; below the one above: ../rest. */
void
vd_put_name (FILE *fp, const char *path, const char *dir, size_t n)
{
  CLEANUP_FREE char *rel = NULL;
  size_t up = n;

  while (up > 0 && dir[up - 1] != '/')
    --up;
  if (strncmp (path, dir, n) == 0 && path[n] == '/')
    path += n + 1;
  else if (up > 1 && strncmp (path, dir, up) == 0 &&
           asprintf (&rel, "../%s", path + up) != -1)
    path = rel;
  vd_put_hex (fp, path, strlen (path));
}

char *
vd_next_word (char **line)
{
  return strsep (line, " ");
}

int
vd_from_hex (const char *text, uint8_t **data, size_t *len)
{
  size_t n, i;

  if (!text)
    return -1;
  n = strcmp (text, "-") == 0 ? 0 : strlen (text);
  if (n % 2 != 0 || strspn (text, "0123456789abcdef") < n ||
      !(*data = malloc (n / 2 + 1)))
    return -1;
  for (i = 0; i < n / 2; ++i) {
    const char two[3] = { text[2 * i], text[2 * i + 1], '\0' };

    (*data)[i] = (uint8_t) strtoul (two, NULL, 16);
  }
  (*data)[n / 2] = '\0';
  *len = n / 2;
  return 0;
}

int
vd_from_name (const char *text, const char *dir, size_t n, char **path)
{
  CLEANUP_FREE uint8_t *data = NULL;
  const char *name;
  size_t len;

  if (vd_from_hex (text, &data, &len) == -1)
    return -1;
  name = (const char *) data;
  if (len == 0 || strlen (name) != len)
    return -1;
  if (name[0] == '/')
    *path = strdup (name);
  else {
    /* As vd_put_name made it. */
    if (strncmp (name, "../", 3) == 0) {
      name += 3;
      while (n > 0 && dir[--n] != '/')
        ;
    }
    if (asprintf (path, "%.*s/%s", (int) n, dir, name) == -1)
      *path = NULL;
  }
  return *path ? 0 : -1;
}

int
vd_from_number (const char *text, uint64_t *n)
{
  char *end;

  if (!text || strspn (text, "0123456789") == 0)
    return -1;
  *n = strtoull (text, &end, 10);
  return *end == '\0' ? 0 : -1;
}
