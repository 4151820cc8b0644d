/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The plugin's parameters; see config.h. */

#include "plugin-config.h"
#include "vmdkdelta.h"

struct config config = { .cache_size = VD_MAP_DEFAULT_BUDGET };

/* X (key, type, where the value goes, help) */
#define OPTIONS(X)                                                          \
  X ("file", OPTION_PATH, &config.file,                                     \
     "[file=]<FILE>   a VMDK disk or snapshot (also ssh://, https://, nbd://\n" \
     "               URIs): its descriptor, or the file\n"                  \
     "               that contains it; each link of its chain is an\n"      \
     "               export.  Or a machine (VMware's .vmx, VirtualBox's\n"  \
     "               .vbox): each of its disks, now and in each snapshot,\n" \
     "               is an export")                                         \
  X ("dir", OPTION_PATH, &config.dir,                                       \
     "dir=<DIR>   a directory: each disk and each snapshot in it is an\n"   \
     "               export")                                               \
  X ("parent-path", OPTION_PATHS, &config.dirs,                             \
     "parent-path=<DIR>   look for parents and extents there too; can be\n" \
     "               repeated")                                             \
  X ("parent", OPTION_PATH, &config.parent,                                 \
     "parent=<FILE>   parent of the link which does not name one, or whose\n" \
     "               parent is not found")                                  \
  X ("registry", OPTION_PATH, &config.registry,                             \
     "registry=<FILE>   the .vbox or VirtualBox.xml that lists the disks of\n" \
     "               a machine which does not list them itself")            \
  X ("ignore-cid", OPTION_BOOL, &config.ignore_cid,                         \
     "ignore-cid=true   accept links whose CIDs do not match")              \
  X ("allow-dirty", OPTION_BOOL, &config.allow_dirty,                       \
     "allow-dirty=true   read an SEsparse file without replaying its\n"     \
     "               journal")                                              \
  X ("tables", OPTION_TABLES, &config.tables,                               \
     "tables=first|copy|markers   which to read of a KDMV file whose two\n" \
     "               sets of tables differ; markers: of a stream that was cut") \
  X ("unconfined", OPTION_BOOL, &config.unconfined,                         \
     "unconfined=true   follow names found in images anywhere")             \
  X ("write", OPTION_BOOL, &config.write,                                   \
     "write=true   clients may write, into FILE itself")                    \
  X ("write-to", OPTION_PATH, &config.write_to,                             \
     "write-to=<NEW>   clients may write, into NEW, a child of FILE: it is\n" \
     "               created, or continued if it exists")                   \
  X ("write-format", OPTION_TEXT, &config.write_format,                     \
     "write-format=kdmv|cowd|vdi   the format of a NEW that is created\n"   \
     "               (default: as children of FILE usually have it)")       \
  X ("base-format", OPTION_RAW, &config.raw_base,                           \
     "base-format=raw   accept flat extents that begin like an image of\n"    \
     "               another format")                                       \
  X ("remote", OPTION_TEXTS, &config.remote,                                \
     "remote=<KEY>=<VALUE>   how to connect to the host of a URI; can be\n"  \
     "               repeated")                                             \
  X ("cache-size", OPTION_SIZE, &config.cache_size,                         \
     "cache-size=<SIZE>   memory for the map of each export in use\n"        \
     "               (default 64M)")

const char config_help[] = OPTIONS (OPTION_HELP);

static struct option options[] = { OPTIONS (OPTION_ROW) };
#define NR_OPTIONS (sizeof options / sizeof options[0])

int
config_parse (const char *key, const char *value)
{
  return options_parse (options, NR_OPTIONS, key, value);
}

void
config_free (void)
{
  options_free (options, NR_OPTIONS);
}
