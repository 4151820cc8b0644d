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
     "delta=<FILE>   (required) a VMDK delta or its descriptor (also\n"     \
     "               ssh://, https://, nbd:// URIs); can be repeated,\n"    \
     "               oldest first")                                         \
  X ("delta-follow", OPTION_BOOL, &config.follow,                           \
     "delta-follow=false   do not look for the parents of the oldest one")  \
  X ("delta-parent-path", OPTION_PATHS, &config.dirs,                       \
     "delta-parent-path=<DIR>   look for parents and extents there too;\n"  \
     "               can be repeated")                                      \
  X ("delta-allow-short-base", OPTION_BOOL, &config.allow_short_base,       \
     "delta-allow-short-base=true   the base may be smaller than the\n"     \
     "               delta, and reads as zeros past its end")               \
  X ("delta-allow-no-parent", OPTION_BOOL, &config.allow_no_parent,         \
     "delta-allow-no-parent=true   accept a disk that says it has no\n"     \
     "               parent as a delta")                                    \
  X ("delta-allow-dirty", OPTION_BOOL, &config.allow_dirty,                 \
     "delta-allow-dirty=true   read an SEsparse file without replaying\n"   \
     "               its journal")                                          \
  X ("delta-tables", OPTION_TABLES, &config.tables,                         \
     "delta-tables=first|copy|markers   which to read of a KDMV file whose\n" \
     "               two sets of tables differ; markers: of a stream that\n" \
     "               was cut")                                              \
  X ("delta-ignore-cid", OPTION_BOOL, &config.ignore_cid,                   \
     "delta-ignore-cid=true   accept links whose CIDs do not match")        \
  X ("delta-base-format", OPTION_RAW, &config.raw_base,                     \
     "delta-base-format=raw   accept a base that begins like an image of\n"   \
     "               another format or an archive")                         \
  X ("delta-export", OPTION_TEXT, &config.export,                           \
     "delta-export=<NAME>   the export of the base to which the deltas\n"   \
     "               belong (default: the first that a client opens)")      \
  X ("delta-unconfined", OPTION_BOOL, &config.unconfined,                   \
     "delta-unconfined=true   follow names found in images anywhere")       \
  X ("delta-write", OPTION_BOOL, &config.write,                             \
     "delta-write=true   clients may write, into the newest delta")         \
  X ("delta-write-to", OPTION_PATH, &config.write_to,                       \
     "delta-write-to=<NEW>   clients may write, into NEW, a delta on top\n" \
     "               of all: it is created, or continued if it exists")     \
  X ("delta-remote", OPTION_TEXTS, &config.remote,                          \
     "delta-remote=<KEY>=<VALUE>   how to connect to the host of a delta\n"  \
     "               that is a URI; can be repeated")                       \
  X ("delta-write-format", OPTION_TEXT, &config.write_format,               \
     "delta-write-format=kdmv|cowd|vdi   the format of a NEW that is\n"     \
     "               created (default: as children of it usually have it)") \
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
