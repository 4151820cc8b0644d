/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the parts of compaction. */

#ifndef VD_COMPACT_PARTS_H
#define VD_COMPACT_PARTS_H

#include "base/bytes.h"
#include "base/cleanup.h"
#include "compact/compact.h"

struct vd_compact_job;

/* ---- Progress (compact.c) ----------------------------------------------- */

struct vd_compact_state {
  const struct vd_compact_opts *opts;
  struct vd_compact_result *result;
  enum vd_compact_phase phase;
  uint64_t done, total;         /* of this phase, all files together */
  uint64_t shrink;              /* by how much files are (to be) cut */
};

extern int vd_compact_tell (struct vd_compact_state *st,
                            enum vd_compact_phase phase, uint64_t more,
                            struct vd_err *err);

/* Can this link be compacted, and is everything in it correct? */
extern int vd_compact_check (const struct vd_link *link, bool in_place,
                             struct vd_err *err);

/* Make *job for extent i of the link; free_job afterwards, also on error.
 * guest: what is free, or NULL.
 */
extern int vd_compact_make_job (struct vd_compact_job *job,
                                const struct vd_link *link, size_t i,
                                struct vd_file *file,
                                const struct vd_guest *guest,
                                struct vd_compact_state *st,
                                struct vd_err *err);
extern void vd_compact_free_job (struct vd_compact_job *job);

/* What the guest has free on the disk that is `link`, or (NULL) the raw file
 * (compact-guest.c); to be freed.  NULL in *guest: it was not asked for.
 */
extern int vd_compact_guest (struct vd_link *link, struct vd_file *file,
                             struct vd_compact_state *st,
                             struct vd_guest **guest, struct vd_err *err);

/* The part of it that concerns a job, in its units. */
extern int vd_compact_job_free (struct vd_compact_job *job, uint64_t start,
                                const struct vd_guest *guest,
                                struct vd_err *err);

/* What of a file can be a hole one by one (compact-flat.c). */
extern uint64_t vd_compact_block_size (const struct vd_file *file);

/* Bytes that the file takes of its file system. */
extern uint64_t vd_compact_allocated (const struct vd_file *file);

/* Compare two images that have to read the same, but for what is free in the
 * guest (compact-verify.c).
 */
extern int vd_compact_verify (const struct vd_image *a,
                              const struct vd_image *b, bool child,
                              const struct vd_free_units *free_units,
                              struct vd_compact_state *st,
                              struct vd_err *err);

/* ---- Zeros (compact-zero.c) --------------------------------------------- */

/* Reads a file for zeros; knows where its holes are. */
struct vd_zero_scan {
  struct vd_file *file;
  uint8_t *buf;                 /* VD_ZERO_BUFFER, to be freed */
  struct vd_stretch known;
};
#define VD_ZERO_BUFFER ((size_t) 1 << 20)

/* How far from offset on (not past end) the file is a hole, or is none. */
extern int vd_zero_scan_next (struct vd_zero_scan *z, uint64_t offset,
                              uint64_t end, uint64_t *next, bool *hole,
                              struct vd_err *err);

/* Bytes of a file that belong together. */
struct vd_unit {
  uint64_t where;
  uint64_t key;                 /* the caller's */
  uint32_t length;              /* that matter; may reach past the end of the
                                   file: these bytes count as zeros */
  bool free;                    /* in the guest: zeros, whatever is stored */
  bool zero;                    /* the answer */
  bool hole;                    /* and it is a hole already */
};

/* Sorts the units by place, and finds out which are zeros. */
extern int vd_zero_units (struct vd_zero_scan *z, struct vd_unit *units,
                          size_t n, struct vd_err *err);

/* ---- Formats ------------------------------------------------------------ */

/* One image of a link, in two steps, so that all images are looked at before
 * the first is changed.
 */
struct vd_compact_format {
  /* Takes what it needs of image and file, which are borrowed. */
  int (*look) (struct vd_compact_job *job, struct vd_err *err);
  int (*run) (struct vd_compact_job *job, struct vd_err *err);
  void (*free) (struct vd_compact_job *job);

  /* VDI and KDMV: what `look` made (struct vd_slots). */
  bool has_slots;
};

struct vd_compact_job {
  const struct vd_compact_format *fmt;
  struct vd_compact_state *st;
  const struct vd_image *image;
  struct vd_file *file;
  bool child;                   /* what is not stored is the parent's */
  bool copying;                 /* to a new file */
  uint64_t start, length;       /* flat: the part of the file */
  struct vd_free_units free;    /* in the guest; of the image, or the file */
  void *priv;
};

extern const struct vd_compact_format vd_compact_vdi;
extern const struct vd_compact_format vd_compact_kdmv;
extern const struct vd_compact_format vd_compact_flat;

#endif /* VD_COMPACT_PARTS_H */
