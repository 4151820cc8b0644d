/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* streamOptimized: compressed grains, with markers. */

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  /* magic, version 3, flags: markers, compressed, line ends */
  static const uint8_t head[12] = "KDMV\3\0\0\0\1\0\3";

  return fz_image (data, n, 0, head, sizeof head);
}
