/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: a new, empty VDI that stands on another image. */

#ifndef VD_WRITE_VDI_H
#define VD_WRITE_VDI_H

#include "image.h"

/* Create and flush the file, which may not exist. */
extern int vd_write_vdi_child (const char *path, uint64_t capacity,
                               const struct vd_identity *id,
                               struct vd_err *err);

#endif /* VD_WRITE_VDI_H */
