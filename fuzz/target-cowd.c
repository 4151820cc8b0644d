/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* COWD: the delta of ESX. */

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  return fz_image (data, n, 0, "COWD\1\0\0", 8);
}
