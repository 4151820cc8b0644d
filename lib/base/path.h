/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a path tells by itself, without a look at the file. */

#ifndef VD_PATH_H
#define VD_PATH_H

#include <stdbool.h>

/* The directory of a path, "." if it names none; to be freed.  NULL without
 * memory.
 */
extern char *vd_directory_of (const char *path);

/* VirtualBox keeps the files of snapshots in a folder of this name (in any
 * letter case) beside the base, so that what belongs together lies in two
 * directories.  Is this the path of such a folder?  (vd_directory_of tells
 * where the base is then.)
 */
#define VD_SNAPSHOTS "Snapshots"
extern bool vd_is_snapshots (const char *dir);

/* "dir/NAME" of "dir/NAME-flat.vmdk", to be freed, or NULL. */
extern char *vd_flat_stem (const char *path);

/* Of a file that is called like an extent (NAME-delta.vmdk, -sesparse, -flat,
 * -s001, -f001): NAME.vmdk, its descriptor as products call it, to be freed.
 * NULL if it is not called so, or there is no memory.
 */
extern char *vd_descriptor_name (const char *path);

/* Is this the name of a device ("/dev/sda", "\\.\PhysicalDrive2"), or of an
 * object in no file system ("vsan://...")?  An image that has such a name in it
 * means what has it on the machine where the disk was used, not here.
 */
extern bool vd_is_device_name (const char *name);

#endif /* VD_PATH_H */
