/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* NTFS; see guest.h. */

#include "guest/guest-parts.h"

void
vd_guest_ntfs (struct vd_guest_part_in *p)
{
  vd_guest_say (p, VD_GUEST_LEFT, "its free space is not known here");
}
