/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: what a SEsparse journal still holds. */

#ifndef VD_SESPARSE_H
#define VD_SESPARSE_H

#include "base/err.h"
#include "file/file.h"

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
