/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Merging all disks of a VirtualBox machine, and its machine file. */

#include "merge-private.h"

int
vd_merge_open_machine (struct vd_merge *m, struct vd_err *err)
{
  return vd_fail (err, VD_UNSUPPORTED, "%s: machines are not merged yet",
                  m->given);
}

int
vd_merge_check_registered (struct vd_merge *m, struct vd_err *err)
{
  (void) m; (void) err;
  return 0;
}

int
vd_merge_machine_steps (struct vd_merge *m, struct vd_journal *j,
                        struct vd_err *err)
{
  (void) m; (void) j; (void) err;
  return 0;
}
