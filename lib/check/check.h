/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Is everything in these files correct?
 *
 * A read examines only what it needs.  A check walks every entry of every
 * table of every extent, and everything around them, and reports all that it
 * finds.  It judges entries with the same functions as a read, so that the two
 * cannot disagree about what is damaged.  In addition it finds what only a
 * check can see: two owners of one place, copies that differ, stale counters.
 *
 * Each finding has one of three severities:
 *
 *   error     some of the guest's data cannot be read, or is wrong: the
 *             guest range is given with it
 *   warning   suspicious, but the data can be read
 *   info      worth knowing
 *
 * Cost: one pass over all tables that exist, absent ones are skipped; with
 * opts.inflate all compressed grains are read too.  Two owners of one place
 * are found with one bit for each unit of the file, in windows:
 *
 *   32 MiB = 2^28 bits; a bit is 512 bytes of the file (4 KiB for SEsparse),
 *   so that a window is 128 GiB (1 TiB) of the file.
 *
 * Files larger than a window take another pass for each window that holds
 * anything.  Memory is this, a few buffers, and the findings that are kept.
 *
 * Threads: any number may check the same link at once; a report belongs to
 * one thread.
 */

#ifndef VD_CHECK_H
#define VD_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "chain/chain.h"
#include "chain/link.h"

enum vd_severity { VD_SEV_INFO, VD_SEV_WARNING, VD_SEV_ERROR };

/* The names that vd_check_kind_name gives are stable. */
enum vd_check_kind {
  /* Errors. */
  VD_CHECK_TABLE_OUTSIDE,       /* a table is not (all) in the file */
  VD_CHECK_TABLE_BAD,           /* a directory entry makes no sense */
  VD_CHECK_TABLE_IN_METADATA,   /* a table lies in the header, ... */
  VD_CHECK_TABLE_OVERLAP,       /* shares a place with another owner */
  VD_CHECK_GRAIN_OUTSIDE,       /* nothing of it is in the file */
  VD_CHECK_GRAIN_TRUNCATED,     /* its end is missing */
  VD_CHECK_GRAIN_BAD,           /* a table entry makes no sense */
  VD_CHECK_GRAIN_IN_METADATA,
  VD_CHECK_GRAIN_OVERLAP,
  VD_CHECK_GRAIN_MARKER,        /* is not that of this grain, or cut */
  VD_CHECK_GRAIN_INFLATE,       /* does not inflate, or not to a grain */
  VD_CHECK_COPY_DOUBT,          /* a grain is not the same in the redundant
                                   table, and both can be */
  VD_CHECK_JOURNAL,             /* is to be replayed (a warning when
                                   opts.allow_dirty) */
  VD_CHECK_EXTENT_LOST,         /* an extent without tables is cut, or its
                                   file is not there */
  VD_CHECK_READ,                /* the system could not read a part */
  VD_CHECK_MERGING,             /* of a merge that was interrupted */
  VD_CHECK_PARENT_MISMATCH,     /* not the parent that it was made on (a
                                   warning when opts.ignore_cid) */

  /* Warnings. */
  VD_CHECK_PARENT_DIFFERS,      /* in size, or in VirtualBox's UUID */
  VD_CHECK_TABLE_BEYOND,        /* for what lies past the end of the disk */
  VD_CHECK_GRAIN_BEYOND,
  VD_CHECK_COPY_DIFFERS,        /* redundant table from the primary one, which
                                   can be read anyway */
  VD_CHECK_COPY_OVERLAP,        /* redundant table shares its place */
  VD_CHECK_ENTRY_ONE,           /* COWD: read as zeros, but not defined */
  VD_CHECK_FREE_SECTOR,         /* COWD: counter past the file or behind */
  VD_CHECK_FREE_TABLE,          /* SEsparse: counter behind */
  VD_CHECK_AREAS_OVERLAP,       /* SEsparse: areas of the header */
  VD_CHECK_CAPACITY,            /* the header has more than the descriptor */
  VD_CHECK_UNCLEAN,             /* not closed by its writer */
  VD_CHECK_STREAM_MARKER,       /* not a marker where one has to be */
  VD_CHECK_STREAM_UNUSED,       /* a grain that no table names */

  /* Infos. */
  VD_CHECK_FLAGS,               /* bits that are not known */
  VD_CHECK_UNALIGNED,           /* KDMV: products align grains */
  VD_CHECK_BITMAP,              /* SEsparse: a grain in use is marked free */
  VD_CHECK_BACKMAP,             /* SEsparse: names another owner */

  VD_CHECK_NR_KINDS
};

extern const char *vd_check_kind_name (enum vd_check_kind kind);
extern const char *vd_severity_name (enum vd_severity severity);

#define VD_CHECK_NO_PLACE UINT64_MAX

struct vd_finding {
  enum vd_check_kind kind;
  enum vd_severity severity;
  char *file;                   /* name */
  uint64_t place;               /* byte in the file, or VD_CHECK_NO_PLACE */
  uint64_t offset, length;      /* on the link, bytes; length 0: no range */
  char *message;                /* one line, safe to print */
};

struct vd_check_opts {
  bool inflate;                 /* inflate every compressed grain */
  bool stop_at_first_error;     /* return when it is found */
  bool errors_only;             /* leave out what can only be a warning or an
                                   info: faster */
  bool allow_dirty;             /* a journal to be replayed is a warning */
  bool ignore_cid;              /* so is a parent of other content */
  bool for_writing;             /* a redundant table in the place of something
                                   else is an error: it would be written */
  bool quick;                   /* neither two owners of one place are looked
                                   for, nor into compressed grains: one pass
                                   over the tables, and no bitmap */
  unsigned keep;                /* findings kept of each kind; 0: 10 */
  uint64_t memory;              /* bytes of bitmap; 0: 32 MiB */

  /* Called for each finding as it is found; may be NULL.  Returns 0 to go
   * on, 1 to stop, -1 after filling err.
   */
  int (*fn) (void *opaque, const struct vd_finding *f, struct vd_err *err);
  void *opaque;
};

struct vd_guest_range { uint64_t offset, length; };

/* So many ranges are kept; past that only their total. */
#define VD_CHECK_MAX_RANGES 100000u

struct vd_check_report {
  uint64_t errors, warnings, infos;
  uint64_t count[VD_CHECK_NR_KINDS];
  struct vd_finding *kept;      /* the first of each kind */
  size_t nr_kept;
  bool stopped;                 /* by stop_at_first_error or the callback */

  /* What the errors concern, on the link: in order, apart. */
  struct vd_guest_range *lost;
  size_t nr_lost;
  bool more_lost;               /* not all are in the list */
  uint64_t lost_bytes;          /* when more_lost: at the most */

  /* What was looked at. */
  uint64_t tables, grains, zero_grains, compressed_grains;

  unsigned nr_kept_of[VD_CHECK_NR_KINDS];
};

/* Check all extents of a loaded link.  The report is filled from scratch and
 * has to be freed, also on error.  Findings are no errors of the function:
 * it fails when it has no memory, or the callback does.
 */
extern int vd_check_link (const struct vd_link *link,
                          const struct vd_check_opts *opts,
                          struct vd_check_report *report,
                          struct vd_err *err);

/* Check all links of a chain, newest first, into links[0 .. nr_links-1], and
 * into *whole what only the chain shows: pairs that do not belong together,
 * and in `lost` those ranges that a reader of the chain meets, because no
 * newer link holds them.  Make the chain with vd_opts.ignore_cid, or a
 * mismatch is found there.
 */
extern int vd_check_chain (const struct vd_chain *chain,
                           const struct vd_check_opts *opts,
                           struct vd_check_report *links,
                           struct vd_check_report *whole,
                           struct vd_err *err);

/* All links of a chain, before anything is written: 0 if they are sound, else
 * err gets the first error, and -1.  opts says how much is looked at.
 */
extern int vd_check_sound (const struct vd_chain *chain,
                           const struct vd_check_opts *opts,
                           struct vd_err *err);

/* Before something is made that will read from this chain: is all there that
 * its tables name?  It is quick (see above), since nothing is written to what
 * exists.  VD_TRUNCATED if bytes of the disk are missing for certain; of the
 * first other error of each link opts->log is told.
 */
extern int vd_check_whole (const struct vd_chain *chain,
                           const struct vd_opts *opts, struct vd_err *err);

/* 0 when the report has no error; else err gets the first one, and -1. */
extern int vd_check_result (const struct vd_check_report *report,
                            struct vd_err *err);

extern void vd_check_report_free (struct vd_check_report *report);

#endif /* VD_CHECK_H */
