/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Which file beside could be meant, where one that is named is not there?
 *
 * Descriptor and data are renamed by hand, one of them or both, and then the
 * one names the other wrongly.  Only the size tells which file it could be, so
 * it is said in the message and never taken.
 */

#ifndef VD_SUGGEST_H
#define VD_SUGGEST_H

#include "chain/link.h"

/* The file of an extent is not there, as err says: add those beside the
 * descriptor that have the right size and kind.
 */
extern void vd_suggest_extent (const struct vd_link *link,
                               const struct vd_extent_line *e,
                               struct vd_err *err);

#endif /* VD_SUGGEST_H */
