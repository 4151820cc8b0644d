/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: a new, empty VDI that stands on another image. */

#ifndef VD_CREATE_VDI_H
#define VD_CREATE_VDI_H

#include "format/image.h"

/* Create the file, which may not exist.  It gets its name when it is complete
 * and flushed, and the rights of `like`, unless that is NULL.
 */
extern int vd_create_vdi_child (const char *path, uint64_t capacity,
                               const struct vd_identity *id,
                               const struct vd_file *like,
                               struct vd_err *err);

#endif /* VD_CREATE_VDI_H */
