/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing to an existing image.
 *
 * A target is a link (link.h) opened for writing, as a struct vd_file whose
 * bytes are those of the disk.  vd_file_pwrite and vd_file_zero put data where
 * the image has the block, or allocate a new block, so code that writes to
 * files (apply.h) can write to images.  A target cannot be read: open the link
 * again.
 *
 * Formats: VDI 1.x, KDMV that is not compressed (monolithic and split), COWD,
 * and flat extents.  Streams and SEsparse are refused, with advice.
 *
 * Invariants, at every moment, whatever order the system writes things in
 * between two flushes:
 *
 * T1. Every table entry on disk refers to a block whose content is on disk:
 *     data, flush, then entries.  Counters of used space are written with the
 *     data; being too high is harmless.
 * T2. New blocks are always complete: bytes not written by the caller are
 *     copied from `below`, or zero.
 * T3. A range that is not written reads as before, in the image itself and in
 *     all its children.  (Nothing is promised about a range that is written,
 *     until the final flush.)
 * T4. After a kill the same writes can be repeated; blocks that were
 *     allocated and not yet entered in a table are used again.
 * T5. KDMV: a table and its copy are written as wholes.  Where they differed
 *     they are made equal, if the first is whole and the copy says nothing
 *     else that can be (or we ourselves were interrupted); else the image is
 *     not written into.  Header flag "unclean" (KDMV, COWD) is set before the
 *     first write and cleared by vd_write_finish.
 *
 * Descriptors and UUIDs are not touched; the caller gives the disk a new
 * identity.
 *
 * Threads: pwrite and zero may be called from any, for ranges that do not
 * overlap; the rest by one thread while no other uses the target.
 */

#ifndef VD_WRITE_H
#define VD_WRITE_H

#include "chain/link.h"
#include "read/reader.h"

struct vd_write_opts {
  /* What the disk shows where the image holds nothing: a reader of the chain
   * below the link.  NULL: the image is a base, and shows zeros.  Borrowed.
   */
  struct vd_reader *below;

  /* The new size of the disk, which must not be less than the old one.  0: no
   * change.  VD_UNSUPPORTED if that is not possible without moving data.
   */
  uint64_t capacity;

  /* Change nothing, count only; buffers given to pwrite may be NULL. */
  bool dry;

  /* Blocks that would be new and consist of zeros are not stored, where the
   * format can say so.
   */
  bool skip_zeros;

  /* Entries of new blocks are written after this many bytes of new blocks,
   * which is the most that a kill can cost.  0: 256 MiB.
   */
  uint64_t commit_bytes;

  /* For tests: opens a file for writing; NULL: vd_file_reopen_rw. */
  struct vd_file *(*reopen) (void *opaque, const struct vd_file *f,
                             struct vd_err *err);
  void *opaque;
};

/* What was done so far; with `dry`, what would be done. */
struct vd_write_stats {
  uint64_t new_blocks;          /* stored for the first time */
  uint64_t filled;              /* bytes put into them from below */
  uint64_t growth;              /* bytes that the files got longer */
  uint64_t holes;               /* dry: bytes written into holes of files,
                                   which take space too */
};

/* Can this link (loaded) be written to at all?  -1 with VD_UNSUPPORTED and
 * advice if not.
 */
extern int vd_write_check (const struct vd_link *link, struct vd_err *err);

/* Open a loaded link, whose tables are sound (check.h), for writing.  The
 * link stays open for reading and is borrowed.  The files are locked against
 * others (vd_file_lock).
 */
extern struct vd_file *vd_write_open (const struct vd_link *link,
                                       const struct vd_write_opts *opts,
                                       struct vd_err *err);

/* Flush everything, and mark the image as closed properly.  vd_file_close
 * without it leaves the image as a kill would.
 */
extern int vd_write_finish (struct vd_file *target, struct vd_err *err);

extern void vd_write_stats (const struct vd_file *target,
                             struct vd_write_stats *stats);

#endif /* VD_WRITE_H */
