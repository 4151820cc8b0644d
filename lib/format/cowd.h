/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the header of a COWD file; its layout is explained in
 * cowd.c.
 */

#ifndef VD_COWD_H
#define VD_COWD_H

#define VD_COWD_HEADER_SIZE 2048u
#define VD_COWD_GT_ENTRIES 4096u

/* Byte offsets of the fields, all of them u32. */
enum {
  VD_COWD_OFF_VERSION = 4,
  VD_COWD_OFF_FLAGS = 8,
  VD_COWD_OFF_NUM_SECTORS = 12,
  VD_COWD_OFF_GRAIN_SIZE = 16,
  VD_COWD_OFF_GD = 20,
  VD_COWD_OFF_NUM_GD_ENTRIES = 24,
  VD_COWD_OFF_FREE_SECTOR = 28,
  VD_COWD_OFF_UNCLEAN = 1648,
};

#define VD_COWD_FREE_UNKNOWN UINT32_MAX /* its writer did not count */
#define VD_COWD_FLAGS 3u        /* what every writer puts there */

#endif /* VD_COWD_H */
