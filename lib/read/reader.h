/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Reading the merged disk, and saying where it is empty.
 *
 * A request is mapped as a whole and then turned into few, large reads:
 * the base is read over small gaps, and what the layers hold is laid on top;
 * grains that are neighbours in a file are fetched together however they are
 * scattered on the disk.
 *
 * The base is whatever lies underneath the chain: given with each call,
 * since in an nbdkit filter each connection has its own.
 *
 * Threads: any; everything here is immutable or locked inside.
 */

#ifndef VD_READER_H
#define VD_READER_H

#include "chain/chain.h"
#include "file/file.h"
#include "read/map-cache.h"

struct vd_reader;

/* What lies underneath. */
struct vd_base {
  struct vd_file *file;         /* NULL: nothing, reads as zeros.  Past its
                                   size it reads as zeros too. */
  uint64_t align;               /* preferred alignment of reads: a power of
                                   two; 1 = none */
};

/* Borrows the chain.  budget: bytes for the map (see map-cache.h). */
extern struct vd_reader *vd_reader_new (const struct vd_chain *chain,
                                        uint64_t budget, struct vd_err *err);
extern void vd_reader_free (struct vd_reader *reader);

/* Read exactly count bytes at offset, inside the disk, or fail; then buf
 * holds anything.
 *
 * The tables of no image that a product wrote need VD_READ_WORK (runs.h) for
 * 64 MiB, which is what a client can ask for, at any depth: 255 links of COWD
 * with 32 tables of 16 KiB each need 140,000, and of KDMV with grains of 512
 * bytes, which no product makes, 400,000.  Inflating counts too, a unit a KiB:
 * 65,536 for 64 MiB.  Reading what needs more is an error: VD_UNSUPPORTED.
 */
#define VD_READ_WORK (UINT64_C (1) << 20)
extern int vd_read (struct vd_reader *reader, const struct vd_base *base,
                    void *buf, size_t count, uint64_t offset,
                    struct vd_err *err);

/* Read what the layers hold of runs (in order, within 4 GiB of each other)
 * into buf, which stands for the disk from offset on.  VD_BASE runs are left
 * alone.
 */
extern int vd_fetch (struct vd_reader *reader, const struct vd_runs *runs,
                     void *buf, uint64_t offset, struct vd_err *err);

/* Describe [offset, offset+length), inside the disk, by holes, zeros and
 * data, to fn.  What is called VD_READS_ZERO reads as zeros.  Damaged parts
 * are called data: reading them tells what is wrong.  Covers at least one piece;
 * with only_first all pieces passed to fn are of one type.  Where the tables
 * need more than VD_STATUS_WORK the answer is shorter; the caller asks again.
 */
#define VD_STATUS_WORK (UINT64_C (1) << 18)
extern int vd_status (struct vd_reader *reader, const struct vd_base *base,
                      uint64_t offset, uint64_t length, bool only_first,
                      vd_extent_fn fn, void *opaque, struct vd_err *err);

/* The part of the map that is needed, computed or from the cache, appended
 * to the empty list runs; at least one run.  When runs->max_work is used up the
 * answer is shorter.
 */
extern int vd_reader_map (struct vd_reader *reader, uint64_t offset,
                          uint64_t length, struct vd_runs *runs,
                          struct vd_err *err);

extern struct vd_map *vd_reader_get_map (struct vd_reader *reader);
extern const struct vd_chain *vd_reader_get_chain (
  const struct vd_reader *reader);

#endif /* VD_READER_H */
