/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The exports of a machine file, VirtualBox's or VMware's. */

#ifndef VMDK_MACHINE_H
#define VMDK_MACHINE_H

#include "exports.h"

/* Every disk as it is now and as it was in each snapshot.  One that cannot be
 * opened keeps its error, unless that is so for all.  e->opts and e->family
 * are set; the rest is filled.
 */
extern int machine_open (struct exports *e, const char *path,
                         struct vd_err *err);

extern void machine_close (struct exports *e);

/* By any name that the machine has for it. */
extern struct export *machine_find (struct exports *e, const char *name,
                                    struct vd_err *err);

#endif /* VMDK_MACHINE_H */
