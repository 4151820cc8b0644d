/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The lines of a descriptor; see descriptor-lines.h. */

#include <string.h>

#include "format/descriptor-lines.h"

#define DOS_END 0x1a

size_t
vd_text_bom (const char *text, size_t n)
{
  return n >= 3 && memcmp (text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

size_t
vd_text_length (const char *text, size_t n)
{
  const size_t len = strnlen (text, n);
  size_t i, end = len;

  for (i = len; i > 0; --i) {
    if (text[i - 1] == DOS_END)
      end = i - 1;
    else if (!strchr (" \t\r\n", text[i - 1]))
      break;
  }
  return end;
}

const char *
vd_line_end (const char *line, const char *stop)
{
  while (line < stop && *line != '\n' && *line != '\r')
    ++line;
  return line;
}

const char *
vd_line_next (const char *end, const char *stop)
{
  if (end < stop && *end == '\r') {
    ++end;
    return end < stop && *end == '\n' ? end + 1 : end;
  }
  return end < stop ? end + 1 : stop;
}
