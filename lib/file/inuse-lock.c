/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The lock beside a disk; see inuse.h. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/path.h"
#include "file/inuse.h"

/* Hosted products put a lock (a directory, or a file) beside a disk that is
 * in use: NAME.lck.
 */
char *
vd_find_lock (const char *name)
{
  char *stem = vd_flat_stem (name), *lck = NULL;
  struct stat st;

  if (asprintf (&lck, "%s.lck", name) == -1)
    lck = NULL;
  if (lck && lstat (lck, &st) == -1) {
    free (lck);
    lck = NULL;
    if (stem && asprintf (&lck, "%s.vmdk.lck", stem) == -1)
      lck = NULL;
    if (lck && lstat (lck, &st) == -1) {
      free (lck);
      lck = NULL;
    }
  }
  free (stem);
  return lck;
}
