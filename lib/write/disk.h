/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The newest link of a served chain, written while it is read.
 *
 * A disk takes a chain and makes its newest link writable in place.  What is
 * written goes to grains of that link: into the place where a grain lies, or,
 * if the link does not hold it yet, into a new one that is filled up with what
 * the disk showed there until now ("copy-up").  All older links, and what lies
 * underneath them, are only read.
 *
 *     disk = vd_disk_open (chain, &opts, &err);
 *     reader = vd_disk_reader (disk);               for vd_read, vd_status
 *     vd_disk_write (disk, &base, buf, n, offset, &err);
 *     vd_disk_flush (disk, &err);
 *     vd_disk_close (disk, &err);
 *
 * Formats: see vd_write_check; what it refuses is refused here.
 *
 * Invariants, whatever order the system writes things in between two flushes:
 *
 * D1. The tables in memory are the truth for link 0.  Its images answer `map`
 *     from them, or from the file where no entry was changed since the opening.
 * D2. An entry is set when its grain is complete in the file, never before;
 *     then the map of the reader is changed, and only then anybody may write
 *     to the grain or is answered.  So what was answered is read, and a failed
 *     write leaves no entry.
 * D3. An entry that finds a grain keeps it: a grain moves nowhere, is freed
 *     by nobody, and its place is not used again.  A reader whose answer of the
 *     map is old reads what was there, never something of another grain.
 * D4. A flush is: data, fsync, tables (the redundant copy first), fsync.
 *     Entries are taken down before the first of them, so each entry on the
 *     disk finds a grain that is on the disk.  Between two flushes a cut leaves
 *     each sector old or new.
 * D5. Zeros: stored grains are zeroed in place, by which the file gives the
 *     space back.  Whole grains that the link does not hold become zeros by an
 *     entry, where format and flags have one that all its readers know, else
 *     by a stored grain that is a hole of the file.  Where zeros are shown
 *     already nothing is done.
 * D6. Before the first change: the parent is looked at again (has it still the
 *     CID that it had?), the file is marked as being written, and gets a new
 *     CID or modification UUID; that is flushed.  vd_disk_close takes the mark
 *     away.
 * D7. New grains go behind the end of the file.  Before the first change all
 *     tables are read, not at the opening: a file that was cut would be made
 *     whole by growing, and what is missing would be zeros; and where a table
 *     lies in the place of a grain, saving it would destroy the grain.  A file
 *     cannot tell that it is as its last writer left it, so this is done after
 *     a proper end too, but quickly (disk-sound.c: half a second for 1 TB that
 *     is full, where check takes eight).  If it was not closed properly, check
 *     looks, and the tables also tell where its end is: what lies behind
 *     belongs to nothing and is cut off.  (VDI has no mark for that: always.)
 * D8. What the system failed to flush may be lost whatever it says later: from
 *     then on all writes and flushes fail.
 *
 * Errors: a write that fails has changed any part of its range, and nothing
 * else; it can be repeated.  ENOSPC is VD_NOSPACE.  A link with a damaged entry
 * is not written to at all (VD_CORRUPT, VD_TRUNCATED).
 *
 * Memory: opts.budget in all: the maps of the disk and of what lies below, and
 * tables.  A table that is as on disk is dropped when there are too many; when
 * too many are not, a writer saves them, as a flush does.
 *
 * Threads: write, zero, trim and flush from any, and reads of the reader; the
 * rest from one.  No lock is held over I/O.  Who writes into a grain that is
 * there waits for nobody.  Who needs a new grain waits while another makes the
 * same one; who needs a table, while another reads it; who flushes, for the
 * flush that is under way.  Locks: see disk-private.h.
 */

#ifndef VD_DISK_H
#define VD_DISK_H

#include "chain/chain.h"
#include "read/reader.h"

struct vd_disk;

struct vd_disk_opts {
  uint64_t budget;              /* bytes; 0: VD_MAP_DEFAULT_BUDGET */
  struct vd_log log;

  /* For tests: opens a file for writing; NULL: vd_file_reopen_rw, and a lock
   * that other processes see.
   */
  struct vd_file *(*reopen) (void *opaque, const struct vd_file *f,
                             struct vd_err *err);
  void *opaque;
};

/* Make the newest link of a chain writable.  Borrows the chain, which no
 * reader uses yet; its newest link is in no other chain, and nothing else was
 * made on it (that is the caller's to know).  Nothing is changed by opening.
 *
 * VD_UNSUPPORTED: such a link cannot be written.  VD_DENIED: somebody else
 * has it in use.
 */
extern struct vd_disk *vd_disk_open (struct vd_chain *chain,
                                     const struct vd_disk_opts *opts,
                                     struct vd_err *err);

/* Flush, and mark the link as closed properly.  The disk is gone afterwards,
 * also on error; then the link is as a cut leaves it.  The chain can be read
 * as before, by new readers.  NULL is allowed.
 */
extern int vd_disk_close (struct vd_disk *disk, struct vd_err *err);

/* The same, as a kill would do it: nothing is flushed, nothing is marked. */
extern void vd_disk_abandon (struct vd_disk *disk);

/* A reader of the disk as it is now; it goes with the disk. */
extern struct vd_reader *vd_disk_reader (struct vd_disk *disk);

/* base: what lies underneath, as for vd_read.  Ranges lie inside the disk. */
extern int vd_disk_write (struct vd_disk *disk, const struct vd_base *base,
                          const void *buf, size_t n, uint64_t offset,
                          struct vd_err *err);

/* From now on the range reads as zeros. */
extern int vd_disk_zero (struct vd_disk *disk, const struct vd_base *base,
                         uint64_t n, uint64_t offset, struct vd_err *err);

/* The client does not need what is there: space is given back.  Whole grains
 * read as zeros afterwards, unless that would only take space (COWD).
 */
extern int vd_disk_trim (struct vd_disk *disk, const struct vd_base *base,
                         uint64_t n, uint64_t offset, struct vd_err *err);

/* What was answered before survives a power cut. */
extern int vd_disk_flush (struct vd_disk *disk, struct vd_err *err);

struct vd_disk_stats {
  uint64_t new_grains;
  uint64_t tables;              /* in memory now */
  uint64_t table_bytes;
  uint64_t saves;               /* of tables */
};
extern void vd_disk_stats (struct vd_disk *disk, struct vd_disk_stats *stats);

#endif /* VD_DISK_H */
