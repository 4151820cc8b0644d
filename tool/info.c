/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info. */

#include "tool.h"

static int
run (int argc, char **argv)
{
  struct vd_opts opts = { .log = { .fn = NULL } };

  while (next_option (&verb_info, argc, argv, &opts) != -1)
    ;
  return tool_error ("info is not there yet");
}

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  { NULL, 0, NULL, 0 },
};

const struct verb verb_info = {
  .name = "info",
  .synopsis = "FILE...",
  .summary = "info",
  .help = "Options:\n" CHAIN_HELP,
  .short_options = "",
  .long_options = long_options,
  .run = run,
};
