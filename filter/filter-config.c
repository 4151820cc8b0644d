/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Parsing key=value; see config.h. */

#include <string.h>

#include <nbdkit-filter.h>

#include "filter-config.h"
#include "vmdkdelta.h"

struct config config = {
  .follow = true,
  .cache_size = VD_MAP_DEFAULT_BUDGET,
};

/* X (key, type, where the value goes, help) */
#define OPTIONS(X)                                                          \
  X ("delta", OPTION_PATHS, &config.deltas,                                 \
     "delta=<FILE>   (required) a VMDK delta or its descriptor; may be\n"   \
     "               given again, oldest first")                            \
  X ("delta-follow", OPTION_BOOL, &config.follow,                           \
     "delta-follow=false   do not look for the parents of the oldest one")  \
  X ("delta-parent-path", OPTION_PATHS, &config.dirs,                       \
     "delta-parent-path=<DIR>   another place where parents and extents\n"  \
     "               may be; may be given again")                           \
  X ("delta-allow-short-base", OPTION_BOOL, &config.allow_short_base,       \
     "delta-allow-short-base=true   the base may be smaller than the\n"     \
     "               delta, and reads as zeros beyond its end")             \
  X ("delta-allow-no-parent", OPTION_BOOL, &config.allow_no_parent,         \
     "delta-allow-no-parent=true   take a disk that says it has no\n"       \
     "               parent as a delta")                                    \
  X ("delta-allow-dirty", OPTION_BOOL, &config.allow_dirty,                 \
     "delta-allow-dirty=true   read an SEsparse file whose journal was\n"   \
     "               not replayed")                                         \
  X ("delta-ignore-cid", OPTION_BOOL, &config.ignore_cid,                   \
     "delta-ignore-cid=true   take links whose CIDs do not fit")            \
  X ("delta-unconfined", OPTION_BOOL, &config.unconfined,                   \
     "delta-unconfined=true   names found in images may lead anywhere")     \
  X ("delta-cache-size", OPTION_SIZE, &config.cache_size,                   \
     "delta-cache-size=<SIZE>   memory for the map (default 64M)")

const char config_help[] = OPTIONS (OPTION_HELP);

static struct option options[] = { OPTIONS (OPTION_ROW) };
#define NR_OPTIONS (sizeof options / sizeof options[0])

int
config_parse (const char *key, const char *value)
{
  const int r = options_parse (options, NR_OPTIONS, key, value);

  if (r == 0 && strncmp (key, "delta-", 6) == 0) {
    nbdkit_error ("unknown parameter '%s' of the vmdkdelta filter; see "
                  "nbdkit-vmdkdelta-filter(1)", key);
    return -1;
  }
  return r;
}

void
config_free (void)
{
  options_free (options, NR_OPTIONS);
}
