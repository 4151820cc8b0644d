/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the first step of reading a window (see reader.c). */

#ifndef VD_READ_BASE_H
#define VD_READ_BASE_H

#include "read/reader.h"

/* Read the base where runs say VD_BASE into buf, which stands for the disk
 * from window to end.  Small gaps between are read over: what is in buf there
 * afterwards is of no meaning, and has to be filled later.  If a gap cannot
 * be read, that does not matter.
 */
extern int vd_read_base (const struct vd_base *base,
                         const struct vd_runs *runs, uint8_t *buf,
                         uint64_t window, uint64_t end, struct vd_err *err);

#endif /* VD_READ_BASE_H */
