/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Does a web server send the part of a file that it is asked for?
 *
 * A server, or a proxy in front of it, that announces ranges and then ignores
 * them answers every request with the file from its start.  nbdkit's plugin takes
 * the first bytes of that for those that it wanted, so that the disk reads wrong
 * without an error.  So it is found out here, by what arrives:
 *
 *   - when a file is opened, by reading a few bytes from its second byte on, up to
 *     where they differ from those from its first byte on;
 *   - whenever what arrives equals the start of the file, in the same way there.
 *
 * A file that begins with nothing but one byte (the empty part of a disk) tells
 * nothing.  Then the host must have shown with another file that it can do it: a
 * descriptor always can.
 */

#ifndef REMOTE_RANGES_H
#define REMOTE_RANGES_H

#include "vmdkdelta.h"

/* below is taken over, also on error.  *trusted: a file of this host has been
 * looked at; it is set by one that tells.
 */
extern struct vd_file *ranges_file (struct vd_file *below, bool *trusted,
                                    struct vd_err *err);

#endif /* REMOTE_RANGES_H */
