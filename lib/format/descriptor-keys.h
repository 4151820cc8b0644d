/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the second half of parsing a descriptor. */

#ifndef VD_DESCRIPTOR_KEYS_H
#define VD_DESCRIPTOR_KEYS_H

#include "format/descriptor.h"

/* Fill the fields of d that come from its keys; refuse what changes the
 * meaning of the data in a way that we do not know.
 */
extern int vd_descriptor_judge (struct vd_descriptor *d, const char *name,
                                const struct vd_log *log, struct vd_err *err);

/* Does a line that begins with this key only describe the disk?  Of the disk
 * data base that is all but VirtualBox's UUIDs and what tells of encryption.
 */
extern bool vd_key_is_decoration (const char *line);

/* Set d->no_data, if it is not set.  Fails when there is no memory. */
extern int vd_descriptor_no_data (struct vd_descriptor *d, struct vd_err *err,
                                  const char *fs, ...) VD_PRINTF (3, 4);

/* Does somebody ask for this key (in lower case)?  There may be any number of
 * others.
 */
extern bool vd_descriptor_knows (const char *key);

#endif /* VD_DESCRIPTOR_KEYS_H */
