/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Random numbers, and UUIDs as text; see uuid.h. */

#include <ctype.h>
#include <errno.h>
#include <sys/random.h>

#include "base/uuid.h"

int
vd_random (void *buf, size_t n, struct vd_err *err)
{
  char *p = buf;

  while (n > 0) {
    const ssize_t r = getrandom (p, n, 0);

    if (r == -1 && errno == EINTR)
      continue;
    if (r <= 0)
      return vd_fail_errno (err, errno, "cannot get random numbers (getrandom)");
    p += r;
    n -= (size_t) r;
  }
  return 0;
}

int
vd_uuid_new (uint8_t uuid[16], struct vd_err *err)
{
  if (vd_random (uuid, 16, err) == -1)
    return -1;
  uuid[6] = (uint8_t) ((uuid[6] & 0x0f) | 0x40); /* version 4: random */
  uuid[8] = (uint8_t) ((uuid[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
  return 0;
}

bool
vd_parse_uuid (const char *text, uint8_t uuid[16])
{
  const char *p = text;
  size_t n = 0;
  int c, v;

  if (*p == '{')
    ++p;
  for (; *p && *p != '}'; ++p) {
    if (*p == '-')
      continue;
    c = tolower ((unsigned char) *p);
    if (!isxdigit (c) || n >= 32)
      return false;
    v = isdigit (c) ? c - '0' : c - 'a' + 10;
    uuid[n / 2] = (uint8_t) (n % 2 == 0 ? v << 4 : uuid[n / 2] | v);
    ++n;
  }
  return n == 32;
}

const char *
vd_uuid_text (char buf[VD_UUID_TEXT], const uint8_t uuid[16])
{
  static const char hex[] = "0123456789abcdef";
  char *p = buf;
  size_t i;

  for (i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      *p++ = '-';
    *p++ = hex[uuid[i] >> 4];
    *p++ = hex[uuid[i] & 15];
  }
  *p = '\0';
  return buf;
}
