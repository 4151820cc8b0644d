/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VirtualBox's VDI. */

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  return fz_image (data, n, 64, "\x7f\x10\xda\xbe", 4);
}
