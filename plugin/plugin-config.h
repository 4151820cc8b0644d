/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The plugin's parameters. */

#ifndef VMDK_CONFIG_H
#define VMDK_CONFIG_H

#include "options.h"
#include "vmdkdelta.h"

struct config {
  char *file;
  char *dir;
  char *parent;
  char *registry;
  struct paths dirs;
  struct paths remote;          /* "key=value" */
  bool ignore_cid;
  enum vd_tables_choice tables;
  bool allow_dirty;
  bool unconfined;
  bool write;
  char *write_to;
  char *write_format;           /* of a new write_to, or NULL */
  bool raw_base;
  uint64_t cache_size;
};

extern struct config config;

/* For .config_help. */
extern const char config_help[];

/* 1 = taken, 0 = no such key, -1 = error (reported). */
extern int config_parse (const char *key, const char *value);

extern void config_free (void);

#endif /* VMDK_CONFIG_H */
