/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the text of a new descriptor. */

#ifndef VD_DESCRIPTOR_TEXT_H
#define VD_DESCRIPTOR_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct vd_description {
  const char *create_type;      /* "vmfsSparse" */
  uint32_t cid, parent_cid;
  const char *parent_hint;      /* or NULL */
  uint64_t capacity;            /* bytes */
  const char *extent_type;      /* "VMFSSPARSE"; FLAT is given offset 0 */
  const char *extent_name;
  const struct vd_identity *uuids;      /* VirtualBox's keys, beside those of
                                           VMware and QEMU; or NULL */
  const char *more;             /* lines of the disk data base, or NULL */
};

/* The text, to be freed, in VMware's spelling and order; VD_USAGE when a name
 * cannot stand in a descriptor.
 */
extern char *vd_describe (const struct vd_description *d, struct vd_err *err);

/* A random content ID that has no special meaning and is not `other`. */
extern int vd_new_cid (uint32_t *cid, uint32_t other, struct vd_err *err);

#endif /* VD_DESCRIPTOR_TEXT_H */
