/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the last step of reading a window (see reader.c). */

#ifndef VD_READ_PIECES_H
#define VD_READ_PIECES_H

#include "chain/chain.h"

/* Something to be fetched from a file into buf + at. */
struct vd_fetch_piece {
  uint64_t where;
  uint32_t slot;
  uint32_t at;
  uint32_t length;
  bool there;                   /* the group that begins here was read */
};

/* Zeroed to start with; n = 0 makes it empty and keeps the memory. */
struct vd_pieces {
  struct vd_fetch_piece *piece;
  size_t n, alloc;
  uint8_t *bounce;              /* NULL until it is needed */
};

/* Add a VD_DATA run; its place in the buffer is r->offset - window. */
extern int vd_pieces_add (struct vd_pieces *s, const struct vd_run *r,
                          uint64_t window, struct vd_err *err);

/* Read them all, in any order. */
extern int vd_pieces_read (struct vd_pieces *s, const struct vd_chain *chain,
                           uint8_t *buf, struct vd_err *err);

extern void vd_pieces_free (struct vd_pieces *s);

#endif /* VD_READ_PIECES_H */
