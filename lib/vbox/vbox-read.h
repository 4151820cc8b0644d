/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: from XML to a struct vd_vbox. */

#ifndef VD_VBOX_READ_H
#define VD_VBOX_READ_H

#include <stdlib.h>

#include "base/bytes.h"
#include "vbox/vbox-xml.h"
#include "vbox/vbox.h"

/* Caps beside those of the XML.  A machine with 250 snapshots and 30 disks has
 * 7530 media and attachments.
 */
#define VD_VBOX_MAX_MEDIA 16384u
#define VD_VBOX_MAX_DISKS 1024u
#define VD_VBOX_MAX_SNAPSHOTS 4096u
#define VD_VBOX_MAX_ATTACHED 16384u     /* in all states together */

/* Fill box, of which path, text, len and xml are set. */
extern int vd_vbox_read (struct vd_vbox *box, struct vd_err *err);

/* The <Machine> element; the text was read. */
extern size_t vd_vbox_machine (const struct vd_vbox *box);

/* A UUID as VirtualBox writes it, with or without braces, any case. */
extern bool vd_vbox_parse_uuid (const char *text, uint8_t uuid[16]);

#endif /* VD_VBOX_READ_H */
