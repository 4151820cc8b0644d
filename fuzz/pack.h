/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* How inputs hold files: in few bytes, so that each of them matters.
 *
 *   u8 bits                     for the target
 *   then records, up to the end of the input:
 *     u8 op, and by its low two bits
 *       0, 1  data: u32 offset, u16 length, bytes; the offset counts bytes,
 *             sectors, 64 KiB or MiB (bits 2 and 3 of op)
 *       2     size of the file: u64, and u64 fill
 *       3     the records that follow are of the next file
 *
 * Numbers are little-endian.  Later records go over earlier ones.  What no
 * record covers is zeros, from `fill` on bytes that depend on their place.
 * Without a size record a file ends with its last record.  A record that is
 * cut off has what there is.
 */

#ifndef FUZZ_PACK_H
#define FUZZ_PACK_H

#define PACK_DATA 0u
#define PACK_SIZE 2u
#define PACK_NEXT 3u

#define PACK_DATA_HEAD 7u       /* op, offset, length */
#define PACK_SIZE_HEAD 17u

static const unsigned pack_shift[4] = { 0, 9, 16, 20 };

#endif /* FUZZ_PACK_H */
