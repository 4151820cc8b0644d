/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Room on a file system, asked before anything is written. */

#ifndef VD_ROOM_H
#define VD_ROOM_H

#include <stdint.h>

#include "base/err.h"

/* Is there room for so many bytes more where this file is?  fd may be -1: then
 * the name is asked.  If not, VD_NOSPACE: "NAME: WHAT needs up to ...".  A file
 * system that cannot be asked has room.
 */
extern int vd_check_room (int fd, const char *name, uint64_t bytes,
                          const char *what, struct vd_err *err);

#endif /* VD_ROOM_H */
