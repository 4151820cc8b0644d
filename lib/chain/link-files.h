/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The files of a loaded link, each of them once: unused by others, opened
 * again for writing, locked.  Several flat extents may lie in one file.
 */

#ifndef VD_LINK_FILES_H
#define VD_LINK_FILES_H

#include "chain/link.h"

/* The image whose file holds the link's header or embedded descriptor, or
 * NULL: its descriptor is a file of its own.
 */
extern const struct vd_image *vd_link_own_image (const struct vd_link *link);

/* Does somebody else use one of its files (inuse.h)?  Then VD_DENIED.  With
 * writers, a program that only has an extent open for writing counts too; the
 * file that holds the descriptor is always looked at in that way.
 */
extern int vd_link_check_unused (const struct vd_link *link, bool writers,
                                 struct vd_err *err);

/* Open the files again: the result has one for each extent (NULL: it has no
 * file), equal where extents share one.
 */
extern struct vd_file **vd_link_files_open (const struct vd_link *link,
                                            bool writable,
                                            struct vd_err *err);

/* Lock each of them, or (lock false) only look whether that could be done. */
extern int vd_link_files_lock (struct vd_file *const *files, size_t n,
                               bool lock, struct vd_err *err);

extern void vd_link_files_close (struct vd_file **files, size_t n);

#endif /* VD_LINK_FILES_H */
