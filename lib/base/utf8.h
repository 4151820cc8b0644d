/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* UTF-8, as it is met in names and messages. */

#ifndef VD_UTF8_H
#define VD_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode the sequence at s (NUL-terminated): its length, with *c set, or 0
 * where it is not valid (overlong, a surrogate, past the end of Unicode).
 */
extern size_t vd_utf8_decode (const unsigned char *s, uint32_t *c);

/* A terminal would obey it instead of showing it: control characters, changes
 * of text direction, separators of lines.
 */
extern bool vd_utf8_is_active (uint32_t c);

/* Columns of a terminal that s takes, near enough: its characters. */
extern size_t vd_utf8_columns (const char *s);

#endif /* VD_UTF8_H */
