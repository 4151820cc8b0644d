/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Looking through a directory that holds images.
 *
 * Only regular files are handed out, and no symbolic links: whoever can put
 * a link there could make it lead anywhere.
 */

#ifndef VD_SCANDIR_H
#define VD_SCANDIR_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "file/file.h"

/* A directory with more entries is not that of a VM. */
#define VD_MAX_DIR_ENTRIES 10000u

/* Called for each file, in order of name; dir and name open it with
 * vd_dir_open, path is for messages.  Returns 0 to go on, -1 after filling
 * err.
 */
typedef int (*vd_scandir_fn) (void *opaque, int dir, const char *name,
                          const char *path, struct vd_err *err);

extern int vd_scandir (const char *path, vd_scandir_fn fn, void *opaque,
                        struct vd_err *err);

/* The same for the files that vd_scandir leaves out: whose names begin with a
 * dot.
 */
extern int vd_scandir_hidden (const char *path, vd_scandir_fn fn,
                              void *opaque, struct vd_err *err);

/* "disk-flat.vmdk", "disk-f001.vmdk": raw data of a disk, which the guest
 * writes, and could make look like a descriptor or an image.
 */
extern bool vd_is_flat_name (const char *name);

/* Which file has a name there, without opening it; false: none. */
extern bool vd_dir_identity (int dir, const char *name, dev_t *dev,
                             ino_t *ino);

/* NULL when it is not a regular file (any more), or cannot be read. */
extern struct vd_file *vd_dir_open (int dir, const char *name,
                                    const char *path, struct vd_err *err);

#endif /* VD_SCANDIR_H */
