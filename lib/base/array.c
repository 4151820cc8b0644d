/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Growing arrays; see array.h. */

#include <stdlib.h>

#include "base/array.h"
#include "base/bytes.h"

/* Room in the first block.  A power of two, as all later sizes are. */
#define FIRST 4u

void *
vd_grow (void *array, size_t n, size_t size, struct vd_err *err)
{
  size_t room;
  void *p;

  if (n > 0 && (n < FIRST || !vd_is_power_of_2 (n)))
    return array;
  if (__builtin_mul_overflow (n > 0 ? 2 * n : FIRST, size, &room)) {
    vd_fail_nomem (err);
    return NULL;
  }
  p = realloc (array, room);
  if (!p)
    vd_fail_nomem (err);
  return p;
}
