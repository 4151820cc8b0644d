/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: what a format has to do to be written.
 *
 * create.c checks the order of what comes in and cuts it where grain tables
 * end; a format stores grains and tables, and finishes the extent.  Tables are
 * kept one at a time, little-endian, in w->table.
 *
 * Positions in the extent are 32-bit sectors in all formats written here.
 * Each is claimed with vd_create_claim, the one place that checks this.
 */

#ifndef VD_CREATE_FORMAT_H
#define VD_CREATE_FORMAT_H

#include "base/bytes.h"
#include "create/create.h"
#include "file/newfile.h"

struct vd_create_ops {
  const char *create_type, *extent_type;
  bool embedded;                /* the descriptor is in the extent */
  uint64_t min_grain, default_grain;
  uint32_t gtes;                /* entries of a table */

  /* Check the limits of the format, then set w->free.  No I/O. */
  int (*open) (struct vd_create *w, struct vd_err *err);

  /* May be NULL: a table that will not be empty begins. */
  int (*begin_table) (struct vd_create *w, struct vd_err *err);

  /* Store grains; the first has that entry of w->table, and all of them are
   * in it.  n is cut at the end of the disk.
   */
  int (*data) (struct vd_create *w, uint32_t entry, const uint8_t *buf,
               size_t n, struct vd_err *err);
  int (*zeros) (struct vd_create *w, uint32_t entry, uint32_t count,
                struct vd_err *err);

  int (*end_table) (struct vd_create *w, struct vd_err *err);

  /* Write everything but the descriptor and the header; then, after a flush,
   * the header.
   */
  int (*finish) (struct vd_create *w, const char *descriptor,
                 struct vd_err *err);
  int (*header) (struct vd_create *w, struct vd_err *err);

  void (*close) (struct vd_create *w); /* may be NULL */
};

struct vd_create {
  const struct vd_create_ops *fmt;
  struct vd_create_opts opts;   /* cid, grain_size: as used */
  char *hint;                   /* owned; opts.parent_hint */
  struct vd_new_file extent, text;
  uint64_t at;                  /* guest bytes: what comes next is not below */
  bool failed;

  uint64_t nr_tables;
  uint64_t table_index;         /* in w->table now, if in_table */
  bool in_table;
  uint32_t *table;              /* little-endian */
  uint64_t free;                /* sector of the extent */

  uint32_t *gd;                 /* COWD, stream: the directory, little-endian */
  uint64_t table_at;            /* COWD: sector of the table */
  struct vd_create_stream *stream;

  uint64_t data_grains, zero_grains;
};

extern const struct vd_create_ops vd_create_cowd;
extern const struct vd_create_ops vd_create_kdmv;
extern const struct vd_create_ops vd_create_stream;

/* Take the next sectors of the extent; *at (may be NULL) is the first. */
extern int vd_create_claim (struct vd_create *w, uint64_t sectors,
                           uint64_t *at, struct vd_err *err);

/* Write n bytes, whole sectors, at the next sectors. */
extern int vd_create_append (struct vd_create *w, const void *buf, size_t n,
                            struct vd_err *err);

/* The usual way to store grains: uncompressed, one after the other. */
extern int vd_create_grains (struct vd_create *w, uint32_t entry,
                            const uint8_t *buf, size_t n,
                            struct vd_err *err);

/* Store grains of zeros as a hole. */
extern int vd_create_hole (struct vd_create *w, uint32_t entry, uint32_t count,
                          struct vd_err *err);

/* Make the extent at least this long. */
extern int vd_create_extend (struct vd_create *w, uint64_t size,
                            struct vd_err *err);

/* KDMV, sparse and stream alike (create-kdmv.c). */

#define VD_WRITE_DESCRIPTOR_SECTORS UINT64_C (20)

struct vd_kdmv_places {
  uint32_t version, flags;
  uint64_t rgd, gd, overhead;   /* sectors */
  uint16_t compression;
};

extern void vd_create_kdmv_header (const struct vd_create *w,
                                   const struct vd_kdmv_places *p,
                                   uint8_t header[VD_SECTOR]);

/* Put the descriptor at its place, sector 1. */
extern int vd_kdmv_write_descriptor (struct vd_create *w, const char *text,
                                     struct vd_err *err);

#endif /* VD_CREATE_FORMAT_H */
