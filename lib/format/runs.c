/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The list of runs; see runs.h. */

#include <stdlib.h>

#include "format/runs.h"

void
vd_runs_free (struct vd_runs *runs)
{
  free (runs->run);
  runs->run = NULL;
  runs->n = runs->alloc = 0;
}

int
vd_runs_grow (struct vd_runs *runs, struct vd_err *err)
{
  struct vd_run *p;
  size_t want;

  if (runs->n >= runs->max)
    return 1;
  want = runs->alloc ? runs->alloc * 2 : 64;
  if (want > runs->max)
    want = runs->max;
  p = realloc (runs->run, want * sizeof *p);
  if (!p)
    return vd_fail_nomem (err);
  runs->run = p;
  runs->alloc = want;
  return 0;
}
