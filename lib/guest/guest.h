/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What of a disk is free, as the file systems on it say.
 *
 * A disk that a guest wrote is the most hostile input that this library has: a
 * file system is far more than a table, and the libraries that read it are
 * large.  So they run in a process of their own, which has nothing:
 *
 *     parent                                child
 *     reads the disk      <- offset, n      partition table (guest-table.c),
 *     sends the bytes     bytes ->          what is in each (guest-kind.c),
 *     checks, collects    <- ranges         and who knows it (guest-ext.c, ...)
 *
 * The child has no file but this socket, can open none, and has limits for time
 * and memory (guest-child.c).  So it cannot write the disk, and if it crashes or
 * does not end, that is an error of the parent and no more.
 *
 * The parent believes nothing: each range lies in its partition, behind the last
 * one, on whole sectors.  And the child believes no bitmap: a file system counts
 * only if it was unmounted cleanly, its own counters agree with its bitmaps, and
 * every block that a file or a table uses is one that the bitmap has as used.
 *
 * What is not known here, or is ambiguous, is left alone: VD_GUEST_LEFT.
 */

#ifndef VD_GUEST_H
#define VD_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A disk to be read. */
struct vd_guest_disk {
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset,
               struct vd_err *err);
  void *opaque;
  uint64_t size;
};

struct vd_guest_opts {
  bool swap;                    /* swap space is free too */
  uint64_t unit;                /* shorter ranges are of no use */

  /* Asked often; if it does not return 0 the scan fails with what it put into
   * err.  May be NULL.
   */
  int (*tell) (void *opaque, struct vd_err *err);
  void *opaque;
};

enum vd_guest_state {
  VD_GUEST_CLEAN,               /* its free ranges are known */
  VD_GUEST_LEFT,                /* not one that is known here */
  VD_GUEST_DIRTY,               /* in use, or not closed properly */
  VD_GUEST_DAMAGED,             /* parts of it contradict each other */
};

/* A partition, or a disk without any. */
struct vd_guest_part {
  unsigned number;              /* 0: it is the whole disk */
  uint64_t start, length;
  enum vd_guest_state state;
  uint64_t free;                /* bytes, in ranges of at least a unit or not */
  char kind[24];                /* "ext4", "XFS", "" = unknown */
  char why[256];                /* of the other states */
};

struct vd_free_range {
  uint64_t start, end;
};

struct vd_guest {
  struct vd_guest_part *part;
  size_t nr_parts;
  struct vd_free_range *range; /* in order, apart; of clean ones only */
  size_t nr_ranges;
};

/* Which file systems does this build know?  "ext2, ext3, ext4", or "". */
extern const char *vd_guest_known (void);

/* Look at all of the disk.  An error is one of reading it, or of the child; what
 * it found wrong is told by the states of the parts.
 */
extern struct vd_guest *vd_guest_scan (const struct vd_guest_disk *disk,
                                       const struct vd_guest_opts *opts,
                                       struct vd_err *err);
extern void vd_guest_free (struct vd_guest *g);

/* The first part that is dirty or damaged, as an error that says which, why, and
 * the way out; 0 if there is none.
 */
extern int vd_guest_check_clean (const struct vd_guest *g,
                                 struct vd_err *err);

/* Its name in messages: "partition 2", "the disk". */
#define VD_GUEST_NAME_MAX 32
extern const char *vd_guest_part_name (char buf[VD_GUEST_NAME_MAX],
                                       const struct vd_guest_part *part);

/* ---- Whole units of an image -------------------------------------------- */

/* The free ranges in [start, start+length) of the disk, counted from start, each
 * cut to whole units.  (The last unit of an image may be shorter.)
 */
struct vd_free_units {
  struct vd_free_range *range;
  size_t n;
};

extern int vd_guest_units (const struct vd_guest *g, uint64_t start,
                           uint64_t length, uint64_t unit,
                           struct vd_free_units *units, struct vd_err *err);

/* Is the byte at offset in one of them?  *next: up to where that is so.  units
 * may be NULL: nothing is free.
 */
extern bool vd_free_at (const struct vd_free_units *units, uint64_t offset,
                        uint64_t *next);

#endif /* VD_GUEST_H */
