/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* How options are spelled; see opts.h. */

#include "base/opts.h"

static const char *option_prefix = "";

void
vd_opts_set_prefix (const char *prefix)
{
  option_prefix = prefix;
}

const char *
vd_opts_prefix (void)
{
  return option_prefix;
}
