/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The filter's parameters: one table drives parsing, --help, and the test
 * that compares both with the manual.
 */

#ifndef VMDKDELTA_CONFIG_H
#define VMDKDELTA_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config {
  char **deltas;                /* absolute paths, oldest first */
  size_t nr_deltas;
  bool allow_short_base;
  bool allow_no_parent;
  bool allow_dirty;
  bool ignore_cid;
  bool unconfined;
  uint64_t cache_size;
};

extern struct config config;

/* 1 = taken, 0 = not ours, -1 = error (reported). */
extern int config_parse (const char *key, const char *value);

extern void config_free (void);

#define CONFIG_HELP_delta \
  "delta=<FILE>                     (required) a VMDK delta or its descriptor;\n" \
  "                                 may be given again, oldest first\n"
#define CONFIG_HELP_options \
  "delta-allow-short-base=true      the base may be smaller than the delta:\n" \
  "                                 it reads as zeros beyond its end\n" \
  "delta-allow-no-parent=true       take a disk that says it has no parent as\n" \
  "                                 a delta\n" \
  "delta-allow-dirty=true           read an SEsparse file whose journal was not\n" \
  "                                 replayed\n" \
  "delta-ignore-cid=true            take deltas whose CIDs do not fit\n" \
  "delta-unconfined=true            names in descriptors may lead anywhere\n" \
  "delta-cache-size=<SIZE>          memory for the map (default 64M)\n"
#define CONFIG_HELP CONFIG_HELP_delta CONFIG_HELP_options

#endif /* VMDKDELTA_CONFIG_H */
