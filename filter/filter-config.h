/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The filter's parameters. */

#ifndef VMDKDELTA_CONFIG_H
#define VMDKDELTA_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "vmdkdelta.h"

struct config {
  struct paths deltas;          /* oldest first */
  struct paths dirs;
  struct paths remote;          /* "key=value" */
  bool follow;
  bool allow_short_base;
  bool allow_no_parent;
  bool allow_dirty;
  bool ignore_cid;
  enum vd_tables_choice tables;
  bool unconfined;
  bool write;
  char *write_to;
  char *write_format;           /* of a new write_to, or NULL */
  bool raw_base;
  char *export;                 /* NULL: the first that a client opens */
  uint64_t cache_size;
};

extern struct config config;

/* For .config_help. */
extern const char config_help[];

/* 1 = taken, 0 = not ours, -1 = error (reported). */
extern int config_parse (const char *key, const char *value);

extern void config_free (void);

#endif /* VMDKDELTA_CONFIG_H */
