/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Parsing key=value; see config.h. */

#include <stdlib.h>
#include <string.h>

#include <nbdkit-filter.h>

#include "config.h"
#include "vmdkdelta.h"

struct config config = { .cache_size = VD_MAP_DEFAULT_BUDGET };

static int
parse_delta (const char *key, const char *value, void *ptr)
{
  char **deltas;

  (void) key;
  (void) ptr;
  deltas = realloc (config.deltas, (config.nr_deltas + 1) * sizeof *deltas);
  if (!deltas) {
    nbdkit_error ("realloc: %m");
    return -1;
  }
  config.deltas = deltas;
  /* The server may change its directory before the file is opened. */
  deltas[config.nr_deltas] = nbdkit_absolute_path (value);
  if (!deltas[config.nr_deltas])
    return -1;
  config.nr_deltas++;
  return 0;
}

static int
parse_bool (const char *key, const char *value, void *ptr)
{
  const int r = nbdkit_parse_bool (value);

  (void) key;
  if (r == -1)
    return -1;
  * (bool *) ptr = r;
  return 0;
}

static int
parse_size (const char *key, const char *value, void *ptr)
{
  const int64_t r = nbdkit_parse_size (value);

  if (r == -1)
    return -1;
  if (r < 1048576) {
    nbdkit_error ("%s=%s is too small; allowed is 1M and up", key, value);
    return -1;
  }
  * (uint64_t *) ptr = (uint64_t) r;
  return 0;
}

static struct option {
  const char *key;
  int (*parse) (const char *key, const char *value, void *ptr);
  void *ptr;
  bool repeatable;
  bool seen;
} options[] = {
  { .key = "delta", .parse = parse_delta, .repeatable = true },
  { .key = "delta-allow-short-base", .parse = parse_bool,
    .ptr = &config.allow_short_base },
  { .key = "delta-allow-no-parent", .parse = parse_bool,
    .ptr = &config.allow_no_parent },
  { .key = "delta-allow-dirty", .parse = parse_bool,
    .ptr = &config.allow_dirty },
  { .key = "delta-ignore-cid", .parse = parse_bool,
    .ptr = &config.ignore_cid },
  { .key = "delta-unconfined", .parse = parse_bool,
    .ptr = &config.unconfined },
  { .key = "delta-cache-size", .parse = parse_size,
    .ptr = &config.cache_size },
};

int
config_parse (const char *key, const char *value)
{
  size_t i;

  for (i = 0; i < sizeof options / sizeof options[0]; ++i) {
    struct option *o = &options[i];

    if (strcmp (key, o->key) != 0)
      continue;
    if (o->seen && !o->repeatable) {
      nbdkit_error ("%s is given twice", key);
      return -1;
    }
    o->seen = true;
    return o->parse (key, value, o->ptr) == -1 ? -1 : 1;
  }

  if (strncmp (key, "delta-", 6) == 0) {
    nbdkit_error ("unknown parameter '%s' of the vmdkdelta filter; see "
                  "nbdkit-vmdkdelta-filter(1)", key);
    return -1;
  }
  return 0;
}

void
config_free (void)
{
  size_t i;

  for (i = 0; i < config.nr_deltas; ++i)
    free (config.deltas[i]);
  free (config.deltas);
  config.deltas = NULL;
  config.nr_deltas = 0;
}
