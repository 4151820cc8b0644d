/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing JSON, as it goes along, in constant memory.
 *
 * The output is valid JSON whatever the strings hold: names come from images
 * and file systems.  Control characters and what changes the direction of
 * text are written as \uXXXX; a byte that is not part of valid UTF-8 becomes
 * U+FFFD, since JSON has no way to hold it.
 *
 * key is NULL inside an array, and for the outermost value.
 */

#ifndef VMDKDELTA_JSON_H
#define VMDKDELTA_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_MAX_DEPTH 8

struct json {
  FILE *fp;
  unsigned depth;
  bool filled[JSON_MAX_DEPTH + 1];      /* a value is there: comma next */
  char closing[JSON_MAX_DEPTH + 1];
  bool one_line;                /* no line breaks from here on */
};

#define JSON_INIT(f) { .fp = (f) }

extern void json_begin_object (struct json *j, const char *key);
extern void json_begin_array (struct json *j, const char *key);
extern void json_end (struct json *j);  /* closes the innermost of them */

extern void json_string (struct json *j, const char *key, const char *value);
extern void json_u64 (struct json *j, const char *key, uint64_t value);
extern void json_bool (struct json *j, const char *key, bool value);
extern void json_null (struct json *j, const char *key);

/* The string, or null for NULL. */
extern void json_string_or_null (struct json *j, const char *key,
                                 const char *value);

/* The number, or null for one that is not known. */
extern void json_u64_or_null (struct json *j, const char *key, bool known,
                              uint64_t value);

#endif /* VMDKDELTA_JSON_H */
