/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the constant header of a SEsparse file, and what its
 * journal still holds.
 */

#ifndef VD_SESPARSE_H
#define VD_SESPARSE_H

#include "base/err.h"
#include "file/file.h"

/* Byte offsets of the fields, all of them u64.  Areas are given by a sector,
 * and behind it their size in sectors.
 */
enum {
  VD_SESPARSE_OFF_VERSION = 8,
  VD_SESPARSE_OFF_CAPACITY = 16,
  VD_SESPARSE_OFF_GRAIN_SIZE = 24,
  VD_SESPARSE_OFF_GT_SIZE = 32, /* of one table */
  VD_SESPARSE_OFF_FLAGS = 40,
  VD_SESPARSE_OFF_RESERVED1 = 48,
  VD_SESPARSE_OFF_RESERVED2 = 56,
  VD_SESPARSE_OFF_RESERVED3 = 64,
  VD_SESPARSE_OFF_RESERVED4 = 72,
  VD_SESPARSE_OFF_VOLATILE = 80,
  VD_SESPARSE_OFF_JOURNAL_HEADER = 96,
  VD_SESPARSE_OFF_JOURNAL = 112,
  VD_SESPARSE_OFF_JOURNAL_SIZE = 120,
  VD_SESPARSE_OFF_GD = 128,
  VD_SESPARSE_OFF_GD_SIZE = 136,
  VD_SESPARSE_OFF_GTS = 144,    /* all tables */
  VD_SESPARSE_OFF_GTS_SIZE = 152,
  VD_SESPARSE_OFF_BITMAP = 160,
  VD_SESPARSE_OFF_BACKMAP = 176,
  VD_SESPARSE_OFF_GRAINS = 192,
  VD_SESPARSE_OFF_GRAINS_SIZE = 200,
  VD_SESPARSE_OFF_PAD = 208,

  VD_SESPARSE_SIZE_AFTER = 8,   /* an area's size stands behind its place */
  VD_SESPARSE_OFF_FREE_TABLE = 8, /* in the volatile header */
};

struct vd_sesparse_journal {
  unsigned records;             /* well-formed ones */
  unsigned pending;             /* of these, not (all) at their places */
};

/* Count the records of the journal at [offset, offset + size).  Only I/O
 * errors fail: a journal that makes no sense has no records.
 */
extern int vd_sesparse_journal (struct vd_file *file, uint64_t offset,
                                uint64_t size, struct vd_sesparse_journal *j,
                                struct vd_err *err);

#endif /* VD_SESPARSE_H */
