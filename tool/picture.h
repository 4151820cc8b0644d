/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta map --picture: the disk as a grid of cells, so that one sees
 * where the snapshots lie.
 *
 * picture.c divides the disk into cells and counts what each holds;
 * picture-term.c and picture-svg.c paint them.
 *
 * A colour stands for a layer.  A picture has more layers than an eye can
 * tell colours apart, so the colours repeat after NR_COLORS; the letters do
 * after 26.
 */

#ifndef VMDKDELTA_PICTURE_H
#define VMDKDELTA_PICTURE_H

#include "tool.h"

enum color { COLOR_NEVER, COLOR_AUTO, COLOR_ALWAYS };

extern bool color_parse (const char *text, enum color *color);

/* What a byte of the disk counts as: a layer's data, or one of these.  The
 * data of layer i, counted from the oldest, is CLASS_LAYER + i.
 */
enum {
  CLASS_HOLE,                   /* held by nobody: zeros */
  CLASS_BASE,                   /* from underneath */
  CLASS_ZERO,
  CLASS_DAMAGED,
  CLASS_LAYER,
};

struct share {
  uint32_t class;
  uint64_t bytes;
};

/* What stands out of a cell: at most this many classes are kept, and a new
 * one replaces the smallest.  With more, a cell of a terminal or a strip of
 * some pixels could not show them.
 */
#define CELL_SHARES 8

struct cell {
  struct share share[CELL_SHARES];
  uint32_t n;
};

struct picture {
  const struct vd_chain *chain;
  uint64_t cell_size;           /* bytes; a power of two */
  size_t columns, rows;
  size_t nr_cells;              /* the last row may be short */
  struct cell *cells;
  uint64_t *totals;             /* bytes of each class */
  uint32_t nr_classes;
};

/* columns is what there is room for; a smaller one may be taken, so that
 * the rows begin at round offsets.
 */
extern int picture_make (struct picture *pic, const struct vd_chain *chain,
                         size_t columns, size_t max_rows, struct vd_err *err);
extern void picture_free (struct picture *pic);

/* The name of a layer's class, as hostile as its file name is. */
extern const char *picture_class_name (const struct picture *pic,
                                       uint32_t class);

/* Where a row begins: "1.125 GiB". */
extern const char *picture_offset (char buf[HUMAN_SIZE_MAX], uint64_t offset);

/* How much of the disk a class is. */
extern const char *picture_percent (char buf[HUMAN_SIZE_MAX],
                                    const struct picture *pic,
                                    uint32_t class);

/* The share of a class in a cell, in bytes. */
extern uint64_t cell_bytes (const struct cell *cell, uint32_t class);

#define NR_COLORS 10

/* Print a picture as text. */
extern int picture_terminal (const struct vd_chain *chain, FILE *fp,
                             enum color color, uint64_t *damaged,
                             struct vd_err *err);

/* Write it as SVG to a new file, which replaces an older one. */
extern int picture_svg (const struct vd_chain *chain, const char *name,
                        uint64_t *damaged, struct vd_err *err);

#endif /* VMDKDELTA_PICTURE_H */
