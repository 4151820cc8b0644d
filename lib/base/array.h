/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Arrays that grow by one element at a time, without a counter of their own
 * for the room that they have.
 */

#ifndef VD_ARRAY_H
#define VD_ARRAY_H

#include <stddef.h>

#include "base/err.h"

/* An array of n elements that has only ever grown by this function, with room
 * for one more.  It starts as NULL with n = 0, and doubles whenever n reaches
 * a power of two, so that appending costs constant time on average.
 *
 * Returns the array, perhaps at another address, or NULL after filling err;
 * then the old one is still valid and still the caller's.
 */
extern void *vd_grow (void *array, size_t n, size_t size, struct vd_err *err);

#endif /* VD_ARRAY_H */
