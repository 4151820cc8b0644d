/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* KDMV, its grains not compressed. */

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  return fz_image (data, n, 0, "KDMV", 4);
}
