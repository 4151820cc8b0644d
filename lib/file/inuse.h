/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Is somebody else using a file that is about to be changed?
 *
 * No single sign is enough, so all are looked at:
 *
 *   - a lock beside it, NAME.lck, as VMware's hosted products leave one;
 *   - a loop device that it is attached to;
 *   - a lock on its bytes, as QEMU takes one;
 *   - a program that has it open for writing (which the kernel tells only
 *     the owner of the file, or root), as VirtualBox has.
 */

#ifndef VD_INUSE_H
#define VD_INUSE_H

#include <stdbool.h>

#include "file/file.h"

/* The first sign: the lock, to be freed, or NULL. */
extern char *vd_find_lock (const char *path);

/* The first two signs, by name.  VD_DENIED when there is one. */
extern int vd_check_unlocked (const char *path, struct vd_err *err);

/* The third sign.  Take a lock that keeps others out while the file is open
 * (lock), or only look.  A file system without locks is no error.
 */
extern int vd_file_lock (const struct vd_file *file, bool lock,
                         struct vd_err *err);

/* The fourth sign, for a local file that is open read-only, here and in all
 * of this process.
 */
extern int vd_check_no_writer (const struct vd_file *file,
                               struct vd_err *err);

#endif /* VD_INUSE_H */
