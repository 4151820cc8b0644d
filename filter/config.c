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

struct config config = {
  .follow = true,
  .cache_size = VD_MAP_DEFAULT_BUDGET,
};

/* Append a path to a list.  The server may change its directory before the
 * file is opened.
 */
static int
add_path (char ***list, size_t *n, const char *value)
{
  char **p = realloc (*list, (*n + 1) * sizeof *p);

  if (!p) {
    nbdkit_error ("realloc: %m");
    return -1;
  }
  *list = p;
  p[*n] = nbdkit_absolute_path (value);
  if (!p[*n])
    return -1;
  ++*n;
  return 0;
}

static int
parse_delta (const char *key, const char *value, void *ptr)
{
  (void) key;
  (void) ptr;
  return add_path (&config.deltas, &config.nr_deltas, value);
}

static int
parse_dir (const char *key, const char *value, void *ptr)
{
  (void) key;
  (void) ptr;
  return add_path (&config.dirs, &config.nr_dirs, value);
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

/* X (key, parser, where the value goes, may it be given again, help) */
#define OPTIONS(X)                                                        \
  X ("delta", parse_delta, NULL, true,                                    \
     "delta=<FILE>   (required) a VMDK delta or its descriptor; may be\n"  \
     "               given again, oldest first")                          \
  X ("delta-follow", parse_bool, &config.follow, false,                   \
     "delta-follow=false   do not look for the parents of the oldest one") \
  X ("delta-parent-path", parse_dir, NULL, true,                          \
     "delta-parent-path=<DIR>   another place where parents and extents\n" \
     "               may be; may be given again")                         \
  X ("delta-allow-short-base", parse_bool, &config.allow_short_base,      \
     false,                                                               \
     "delta-allow-short-base=true   the base may be smaller than the\n"   \
     "               delta, and reads as zeros beyond its end")           \
  X ("delta-allow-no-parent", parse_bool, &config.allow_no_parent, false, \
     "delta-allow-no-parent=true   take a disk that says it has no parent\n" \
     "               as a delta")                                         \
  X ("delta-allow-dirty", parse_bool, &config.allow_dirty, false,         \
     "delta-allow-dirty=true   read an SEsparse file whose journal was\n" \
     "               not replayed")                                       \
  X ("delta-ignore-cid", parse_bool, &config.ignore_cid, false,           \
     "delta-ignore-cid=true   take links whose CIDs do not fit")          \
  X ("delta-unconfined", parse_bool, &config.unconfined, false,           \
     "delta-unconfined=true   names found in descriptors may lead anywhere") \
  X ("delta-cache-size", parse_size, &config.cache_size, false,           \
     "delta-cache-size=<SIZE>   memory for the map (default 64M)")

#define OPTION_HELP(key, parse, ptr, repeatable, help) help "\n"
#define OPTION_ROW(key, parse, ptr, repeatable, help)   \
  { key, parse, ptr, repeatable, false },

const char config_help[] = OPTIONS (OPTION_HELP);

static struct option {
  const char *key;
  int (*parse) (const char *key, const char *value, void *ptr);
  void *ptr;
  bool repeatable;
  bool seen;
} options[] = { OPTIONS (OPTION_ROW) };

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

static void
free_list (char ***list, size_t *n)
{
  while (*n > 0)
    free ((*list)[--*n]);
  free (*list);
  *list = NULL;
}

void
config_free (void)
{
  free_list (&config.deltas, &config.nr_deltas);
  free_list (&config.dirs, &config.nr_dirs);
}
