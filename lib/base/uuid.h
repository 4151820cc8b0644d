/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Random numbers, and UUIDs: always in the order of their text (RFC 4122).
 * VDI stores three of their fields little-endian; format/vdi.h swaps them.
 */

#ifndef VD_UUID_H
#define VD_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Fill buf with random numbers from the kernel. */
extern int vd_random (void *buf, size_t n, struct vd_err *err);

/* A new random UUID (version 4). */
extern int vd_uuid_new (uint8_t uuid[16], struct vd_err *err);

/* The UUID in a value such as "622a0911-bc78-4b7a-a6ec-7359a068de8a", with
 * or without braces.  False when it is not one.
 */
extern bool vd_parse_uuid (const char *text, uint8_t uuid[16]);

/* And back; returns buf. */
#define VD_UUID_TEXT 37
extern const char *vd_uuid_text (char buf[VD_UUID_TEXT],
                                 const uint8_t uuid[16]);

/* All zeros: not known. */
static inline bool
vd_uuid_is_null (const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < 16; ++i)
    if (uuid[i] != 0)
      return false;
  return true;
}

#endif /* VD_UUID_H */
