/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta map. */

#include "tool.h"

static int
run (int argc, char **argv)
{
  struct vd_opts opts = { .log = { .fn = NULL } };

  while (next_option (&verb_map, argc, argv, &opts) != -1)
    ;
  return tool_error ("map is not there yet");
}

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  { NULL, 0, NULL, 0 },
};

const struct verb verb_map = {
  .name = "map",
  .synopsis = "FILE...",
  .summary = "map",
  .help = "Options:\n" CHAIN_HELP,
  .short_options = "",
  .long_options = long_options,
  .run = run,
};
