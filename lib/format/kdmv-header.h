/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the header of a KDMV file, the one place that knows where
 * its fields are.
 *
 * It is sector 0.  It is packed, so that 64-bit fields lie at odd offsets.  A
 * stream has a second one at its end, the footer.
 */

#ifndef VD_KDMV_HEADER_H
#define VD_KDMV_HEADER_H

#include <stdint.h>

#include "base/bytes.h"

/* Byte offsets of the fields, for errors and for who changes a single one. */
enum {
  VD_KDMV_OFF_VERSION = 4,      /* u32 */
  VD_KDMV_OFF_FLAGS = 8,        /* u32 */
  VD_KDMV_OFF_CAPACITY = 12,    /* u64, as are all up to the next comment */
  VD_KDMV_OFF_GRAIN_SIZE = 20,
  VD_KDMV_OFF_DESCRIPTOR = 28,
  VD_KDMV_OFF_DESCRIPTOR_SIZE = 36,
  VD_KDMV_OFF_GTES_PER_GT = 44, /* u32 */
  VD_KDMV_OFF_RGD = 48,         /* u64: the copy comes first */
  VD_KDMV_OFF_GD = 56,
  VD_KDMV_OFF_OVERHEAD = 64,
  VD_KDMV_OFF_UNCLEAN = 72,     /* one byte */
  VD_KDMV_OFF_LINE_ENDS = 73,   /* four bytes */
  VD_KDMV_OFF_COMPRESSION = 77, /* u16 */
};

/* Flags. */
#define VD_KDMV_LINE_ENDS 0x1u  /* the four test bytes are valid */
#define VD_KDMV_REDUNDANT 0x2u  /* there is a second directory */
#define VD_KDMV_ZEROED 0x4u     /* table entry 1 means zeros */
#define VD_KDMV_COMPRESSED 0x10000u
#define VD_KDMV_MARKERS 0x20000u

/* gdOffset when the directory is found through the footer. */
#define VD_KDMV_GD_AT_END UINT64_MAX

/* Values of `unclean`: any but 0 says to all who look that the file was not
 * closed.  Ours say so too, and that it was us: we write the copy of a table
 * first, so that where the two differ the first is whole, and right.
 */
#define VD_KDMV_UNCLEAN_COMPACT 0xc5u
#define VD_KDMV_UNCLEAN_WRITE 0xc6u

/* What a text-mode transfer would change. */
extern const uint8_t vd_kdmv_line_ends[4];

/* Most entries of a table that we take; QEMU takes no more than 512. */
#define VD_KDMV_MAX_GTES 4096u

/* 2^25 tables are 1 PiB with the usual 32 MiB of coverage, and the largest
 * directory that QEMU opens.
 */
#define VD_KDMV_MAX_TABLES (UINT64_C (1) << 25)

/* Fields as they stand in the header: sectors, not checked. */
struct vd_kdmv_header {
  uint32_t version;
  uint32_t flags;
  uint64_t capacity;
  uint64_t grain_size;
  uint64_t descriptor_offset;
  uint64_t descriptor_size;
  uint32_t gtes_per_gt;
  uint64_t rgd_offset;
  uint64_t gd_offset;
  uint64_t overhead;
  uint8_t unclean;
  uint8_t line_ends[4];
  uint16_t compress_algorithm;
};

extern void vd_kdmv_decode (const uint8_t header[VD_SECTOR],
                            struct vd_kdmv_header *k);

/* The whole sector, with magic. */
extern void vd_kdmv_encode (const struct vd_kdmv_header *k,
                            uint8_t header[VD_SECTOR]);

#endif /* VD_KDMV_HEADER_H */
