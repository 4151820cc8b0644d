/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Parameters of a module: one table drives parsing, --help, and the test that
 * compares both with the manual.  Used by the filter and by the plugin.
 */

#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
  OPTION_BOOL,                  /* bool */
  OPTION_SIZE,                  /* uint64_t, at least 1M */
  OPTION_RAW,                   /* bool: the only value is "raw" */
  OPTION_TEXT,                  /* char *, which may be empty */
  OPTION_PATH,                  /* char *, absolute, or a URI */
  OPTION_PATHS,                 /* struct paths of such, may be given again */
  OPTION_TEXTS,                 /* struct paths: as they are; may be given again */
  OPTION_TABLES,                /* enum vd_tables_choice */
};

struct paths {
  char **path;
  size_t n;
};

struct option {
  const char *key;
  enum option_type type;
  void *ptr;                    /* where the value goes */
  bool seen;
};

/* 1 = taken, 0 = no such key, -1 = error (reported). */
extern int options_parse (struct option *options, size_t n, const char *key,
                          const char *value);

/* Free all paths and texts, and forget what was given. */
extern void options_free (struct option *options, size_t n);

#define OPTION_HELP(key, type, ptr, help) help "\n"
#define OPTION_ROW(key, type, ptr, help) { key, type, ptr, false },

#endif /* COMMON_OPTIONS_H */
