/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Who may read what is written.
 *
 * A file that holds data of a disk, or takes its place, may be read by nobody
 * who may not read the disk.  So it is created for its owner only, and gets
 * the rights of the disk, or of the file that it replaces, when it is complete.
 */

#ifndef VD_RIGHTS_H
#define VD_RIGHTS_H

#include <stdbool.h>

/* Give the file fd the rights of another one, `from` (which may be open with
 * O_PATH): its mode, its access control list, and its owner and group as far
 * as we may give it away.  With `all`, its other extended attributes too.
 *
 * What a file system does not have is no error.  Where something cannot be
 * copied, others get fewer rights, never more.  From a device only this is
 * taken: nobody but the owner.
 */
extern void vd_rights_copy (int fd, int from, bool all);

#endif /* VD_RIGHTS_H */
