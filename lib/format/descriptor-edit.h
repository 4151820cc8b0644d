/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: a descriptor changed, line by line.
 *
 * Only the values that are to change are replaced; everything else stays as
 * it is: order, unknown lines, blanks, quotes, the way lines end.  Values are
 * given in UTF-8, and written in the encoding that the text says it has.
 */

#ifndef VD_DESCRIPTOR_EDIT_H
#define VD_DESCRIPTOR_EDIT_H

#include "format/descriptor.h"

struct vd_descriptor_change {
  const char *key;              /* in any case; as it is to be spelled if it
                                   is new */
  const char *value;            /* NULL: the line goes */
  bool only_if_there;           /* do not add it */
};

/* sectors: what the last extent line shall have; 0: no change.  The new text
 * is to be freed.  VD_USAGE when a value cannot stand in a descriptor.
 */
extern char *vd_descriptor_edit (const char *text, size_t n,
                                 const struct vd_descriptor_change *changes,
                                 size_t nr, uint64_t sectors,
                                 struct vd_err *err);

#endif /* VD_DESCRIPTOR_EDIT_H */
