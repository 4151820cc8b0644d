/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: start writing data back to the disk while more is being
 * written, and not only when the file is flushed at the end.
 *
 * Many small runs cost the kernel one request each, which can take longer than
 * the copying.  A separate thread starts them, some MiB behind the writers.
 * This is only a hint: nothing is on stable storage before vd_file_flush has
 * returned, and errors are reported there.
 */

#ifndef VD_WRITE_BEHIND_H
#define VD_WRITE_BEHIND_H

#include "file/file.h"

struct vd_write_behind;

/* NULL if there is nothing to gain (not a local file), or no thread can be
 * started; the other functions accept NULL.
 */
extern struct vd_write_behind *vd_write_behind_start (struct vd_file *file);

/* `bytes` more were written, the last of them before `end`.  Writers proceed
 * through the file approximately in order.
 */
extern void vd_write_behind_add (struct vd_write_behind *wb, uint64_t bytes,
                                 uint64_t end);

/* Waits for the thread, not for the disk. */
extern void vd_write_behind_stop (struct vd_write_behind *wb);

#endif /* VD_WRITE_BEHIND_H */
