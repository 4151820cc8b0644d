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

/* Fill box, of which path, text, len, xml and is_list are set; the last says
 * whether it may be a list, and then whether it is one.
 */
extern int vd_vbox_read (struct vd_vbox *box, struct vd_err *err);

/* The <Machine> element (of a list, <Global>); the text was read. */
extern size_t vd_vbox_machine (const struct vd_vbox *box);

/* The same of the text of a machine, or (list) of any registry. */
extern struct vd_vbox *vd_vbox_parse_any (const char *path, const char *text,
                                          size_t len, bool list,
                                          struct vd_err *err);

/* A UUID as VirtualBox writes it, with or without braces, any case. */
extern bool vd_vbox_parse_uuid (const char *text, uint8_t uuid[16]);

#endif /* VD_VBOX_READ_H */
