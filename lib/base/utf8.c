/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* UTF-8; see utf8.h. */

#include "base/utf8.h"

size_t
vd_utf8_decode (const unsigned char *s, uint32_t *c)
{
  static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
  size_t len, i;

  if (s[0] < 0x80) {
    *c = s[0];
    return 1;
  }
  if ((s[0] & 0xe0) == 0xc0) {
    len = 2;
    *c = s[0] & 0x1f;
  }
  else if ((s[0] & 0xf0) == 0xe0) {
    len = 3;
    *c = s[0] & 0x0f;
  }
  else if ((s[0] & 0xf8) == 0xf0) {
    len = 4;
    *c = s[0] & 0x07;
  }
  else
    return 0;
  for (i = 1; i < len; ++i) {
    if ((s[i] & 0xc0) != 0x80)
      return 0;
    *c = *c << 6 | (s[i] & 0x3f);
  }
  if (*c < least[len] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
    return 0;
  return len;
}

bool
vd_utf8_is_active (uint32_t c)
{
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e ||
    c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
    (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

size_t
vd_utf8_columns (const char *s)
{
  size_t n = 0;

  for (; *s; ++s)
    n += ((unsigned char) *s & 0xc0) != 0x80;
  return n;
}
