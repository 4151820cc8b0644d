/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the parts of a check.
 *
 *   check.c            links, chains, the names of findings
 *   check-report.c     findings and lost ranges
 *   check-walk.c       the walk over directory and tables
 *   check-owners.c     who owns which place of the file
 *   check-cowd.c, check-kdmv.c, check-stream.c, check-sesparse.c, check-vdi.c
 *                      what only one format has
 *
 * Functions return 0 to go on, 1 when the check is to stop, -1 on error.
 */

#ifndef VD_CHECK_WALK_H
#define VD_CHECK_WALK_H

#include "check/check.h"
#include "format/grain-tables.h"

enum vd_owner_kind { VD_OWNER_TABLE, VD_OWNER_COPY, VD_OWNER_GRAIN };

struct vd_owner {
  enum vd_owner_kind kind;
  uint64_t index;               /* of the table or grain */
};

/* A place that was found to have two owners.  The first one (there may be
 * several) is not known until all claims were made once more.
 */
struct vd_overlap {
  uint64_t place;               /* byte in the file: the first shared */
  uint64_t end;                 /* of what the second owner claims */
  struct vd_owner second, first;
  bool found;                   /* first is valid */
};

#define VD_MAX_OVERLAPS 64u     /* resolved ones; the others are counted */

struct vd_owners {
  uint64_t *bits;
  uint64_t unit;                /* bytes of the file for a bit */
  uint64_t from, to;            /* the window, bytes */
  uint64_t next;                /* lowest place claimed past it, or
                                   UINT64_MAX */
  bool at_from;                 /* a claim begins exactly there */
  struct vd_overlap overlap[VD_MAX_OVERLAPS];
  size_t nr_overlaps;
  bool resolving;               /* claims are only compared with overlap[] */
};

#define VD_MAX_AREAS 12u

/* Bytes of the file that belong to neither tables nor grains. */
struct vd_area {
  uint64_t start, end;
  const char *what;
};

struct vd_checker {
  const struct vd_check_opts *opts;
  struct vd_check_report *report;
  const struct vd_image *image;
  uint64_t start;               /* of the image on the link */

  /* Filled by the format before the walk.  rgd_offset: the redundant
   * directory, 0 = none.
   */
  const struct vd_walk *walk;
  uint64_t dir_entries;         /* in the file; may be more than needed */
  uint64_t first_data;          /* below lies metadata, bytes */
  uint64_t rgd_offset;
  uint64_t align;               /* products align grains to it; 0: none */
  uint64_t unit;                /* everything begins and ends on it */
  struct vd_area area[VD_MAX_AREAS];
  unsigned nr_areas;

  /* Called in the first pass for each entry that is fine. */
  int (*table) (struct vd_checker *c, uint64_t index, uint64_t raw,
                uint64_t place, struct vd_err *err);
  int (*entry) (struct vd_checker *c, uint64_t grain, uint64_t raw,
                struct vd_entry e, uint64_t place, struct vd_err *err);
  /* Called in the first pass to compare with the redundant directory. */
  int (*copy) (struct vd_checker *c, uint64_t index, uint64_t raw,
               uint64_t copy, struct vd_err *err);
  /* Bytes that a compressed grain takes in the file; 0 when it was found to
   * be damaged.  Called in each pass.
   */
  int (*stored) (struct vd_checker *c, uint64_t grain, uint64_t where,
                 uint64_t place, uint64_t *bytes, struct vd_err *err);
  void *opaque;                 /* of the format */

  unsigned pass;                /* from 0 */
  uint64_t data_end;            /* of all tables and grains, bytes */
  struct vd_owners owners;
};

/* ---- check-report.c ---- */

/* [offset, offset+length) is on the image; the part that the link does not
 * use is left out.
 */
extern int vd_check_add (struct vd_checker *c, enum vd_check_kind kind,
                         uint64_t place, uint64_t offset, uint64_t length,
                         struct vd_err *err, const char *fs, ...)
  VD_PRINTF (7, 8);

/* The same with the message of another error. */
extern int vd_check_add_err (struct vd_checker *c, enum vd_check_kind kind,
                             uint64_t place, uint64_t offset,
                             uint64_t length, const struct vd_err *why,
                             struct vd_err *err);

/* What the two are made of; offset on the link. */
extern int vd_check_report_add (struct vd_check_report *report,
                                const struct vd_check_opts *opts,
                                enum vd_check_kind kind, const char *file,
                                uint64_t place, uint64_t offset,
                                uint64_t length, const char *message,
                                struct vd_err *err);
extern int vd_check_report_lost (struct vd_check_report *report,
                                 uint64_t offset, uint64_t length,
                                 struct vd_err *err);
/* Sort, join, and add up the lost ranges. */
extern void vd_check_report_end (struct vd_check_report *report);

extern enum vd_severity vd_check_severity (enum vd_check_kind kind,
                                           const struct vd_check_opts *opts);

/* ---- check-owners.c ---- */

extern int vd_owners_init (struct vd_checker *c, struct vd_err *err);
extern void vd_owners_free (struct vd_checker *c);
extern int vd_owners_claim (struct vd_checker *c, struct vd_owner owner,
                            uint64_t start, uint64_t length,
                            struct vd_err *err);
/* Is the unit at this place claimed (in this window)? */
extern bool vd_owners_has (const struct vd_checker *c, uint64_t place);
/* Set up the next window, which is at owners.next.  -1: no memory. */
extern int vd_owners_next (struct vd_checker *c);
/* After the resolving pass: report the overlaps. */
extern int vd_owners_report (struct vd_checker *c, struct vd_err *err);

/* ---- check-walk.c ---- */

extern void vd_check_area (struct vd_checker *c, uint64_t start,
                           uint64_t length, const char *what);
extern int vd_check_walk (struct vd_checker *c, struct vd_err *err);


/* ---- The formats: the table in check.c says who checks which ---- */

extern int vd_check_cowd (struct vd_checker *c, const struct vd_image *image,
                          struct vd_err *err);
extern int vd_check_kdmv (struct vd_checker *c, const struct vd_image *image,
                          struct vd_err *err);
extern int vd_check_sesparse (struct vd_checker *c,
                              const struct vd_image *image,
                              struct vd_err *err);
extern int vd_check_vdi (struct vd_checker *c, const struct vd_image *image,
                         struct vd_err *err);
extern int vd_check_markers (struct vd_checker *c,
                             const struct vd_image *image,
                             struct vd_err *err);
/* Streams: sets the hook `stored`.  Afterwards, with the bits of one window
 * that was enough: walk over the markers.
 */
extern int vd_check_stream_begin (struct vd_checker *c, struct vd_err *err);
extern void vd_check_stream_end (struct vd_checker *c);
extern int vd_check_stream_markers (struct vd_checker *c,
                                    struct vd_err *err);

#endif /* VD_CHECK_WALK_H */
