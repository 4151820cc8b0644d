/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Dividing a disk into cells, and counting what they hold; see picture.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

/* The smallest cell: no format has smaller grains. */
#define MIN_CELL UINT64_C (512)

bool
color_parse (const char *text, enum color *color)
{
  if (strcmp (text, "never") == 0)
    *color = COLOR_NEVER;
  else if (strcmp (text, "auto") == 0)
    *color = COLOR_AUTO;
  else if (strcmp (text, "always") == 0)
    *color = COLOR_ALWAYS;
  else
    return false;
  return true;
}

static uint32_t
class_of (const struct picture *pic, const struct vd_walked *p)
{
  switch (p->kind) {
  case VD_WALK_HOLE: return CLASS_HOLE;
  case VD_WALK_BASE: return CLASS_BASE;
  case VD_WALK_ZERO: return CLASS_ZERO;
  case VD_WALK_DAMAGED: return CLASS_DAMAGED;
  default:
    return CLASS_LAYER + (uint32_t) pic->chain->nr_links - 1 - p->layer;
  }
}

static void
add_share (struct cell *cell, uint32_t class, uint64_t bytes)
{
  uint32_t i, least = 0;

  for (i = 0; i < cell->n; ++i) {
    if (cell->share[i].class == class) {
      cell->share[i].bytes += bytes;
      return;
    }
    if (cell->share[i].bytes < cell->share[least].bytes)
      least = i;
  }
  if (cell->n < CELL_SHARES)
    cell->share[cell->n++] = (struct share) { class, bytes };
  else if (cell->share[least].bytes < bytes)
    cell->share[least] = (struct share) { class, bytes };
}

uint64_t
cell_bytes (const struct cell *cell, uint32_t class)
{
  uint32_t i;

  for (i = 0; i < cell->n; ++i)
    if (cell->share[i].class == class)
      return cell->share[i].bytes;
  return 0;
}

static int
count_piece (void *opaque, const struct vd_walked *p, struct vd_err *err)
{
  struct picture *pic = opaque;
  const uint64_t end = p->offset + p->length;
  const uint32_t class = class_of (pic, p);
  uint64_t pos, next;

  (void) err;
  pic->totals[class] += p->length;
  for (pos = p->offset; pos < end; pos = next) {
    next = (pos / pic->cell_size + 1) * pic->cell_size;
    if (next > end)
      next = end;
    add_share (&pic->cells[pos / pic->cell_size], class, next - pos);
  }
  return 0;
}

int
picture_make (struct picture *pic, const struct vd_chain *chain,
              size_t columns, size_t max_rows, struct vd_err *err)
{
  *pic = (struct picture) { .chain = chain, .cell_size = MIN_CELL };

  /* 16, 24, 32, 48 ...: rows then begin at offsets with few digits. */
  pic->columns = 16;
  while (pic->columns * 2 <= columns)
    pic->columns *= 2;
  if (pic->columns * 3 / 2 <= columns)
    pic->columns = pic->columns * 3 / 2;
  while ((chain->size + pic->cell_size - 1) / pic->cell_size
         > pic->columns * max_rows)
    pic->cell_size *= 2;
  pic->nr_cells
    = (size_t) ((chain->size + pic->cell_size - 1) / pic->cell_size);
  pic->rows = (pic->nr_cells + pic->columns - 1) / pic->columns;
  pic->nr_classes = CLASS_LAYER + (uint32_t) chain->nr_links;
  pic->cells = calloc (pic->nr_cells + 1, sizeof *pic->cells);
  pic->totals = calloc (pic->nr_classes, sizeof *pic->totals);
  if (!pic->cells || !pic->totals) {
    picture_free (pic);
    return vd_fail (err, VD_NOMEM, "out of memory");
  }
  if (vd_walk_chain (chain, count_piece, pic, err) == -1) {
    picture_free (pic);
    return -1;
  }
  return 0;
}

void
picture_free (struct picture *pic)
{
  free (pic->cells);
  free (pic->totals);
  pic->cells = NULL;
  pic->totals = NULL;
}

const char *
picture_offset (char buf[HUMAN_SIZE_MAX], uint64_t offset)
{
  static const char units[] = "BKMGTPE";
  double v = (double) offset;
  size_t i, n;

  for (i = 0; v >= 1024; ++i)
    v /= 1024;
  n = (size_t) snprintf (buf, HUMAN_SIZE_MAX, "%.3f", v);
  while (buf[n - 1] == '0')
    --n;
  if (buf[n - 1] == '.')
    --n;
  if (i == 0)
    snprintf (buf + n, HUMAN_SIZE_MAX - n, " B");
  else
    snprintf (buf + n, HUMAN_SIZE_MAX - n, " %ciB", units[i]);
  return buf;
}

const char *
picture_percent (char buf[HUMAN_SIZE_MAX], const struct picture *pic,
                 uint32_t class)
{
  const double percent
    = 100 * (double) pic->totals[class] / (double) pic->chain->size;

  if (pic->totals[class] > 0 && percent < 0.05)
    snprintf (buf, HUMAN_SIZE_MAX, "<0.1 %%");
  else if (pic->totals[class] < pic->chain->size && percent >= 99.95)
    snprintf (buf, HUMAN_SIZE_MAX, ">99.9 %%");
  else
    snprintf (buf, HUMAN_SIZE_MAX, "%.1f %%", percent);
  return buf;
}

const char *
picture_class_name (const struct picture *pic, uint32_t class)
{
  switch (class) {
  case CLASS_HOLE: return "unallocated (reads as zeros)";
  case CLASS_BASE: return "not in these files (from the base)";
  case CLASS_ZERO: return "zeros";
  case CLASS_DAMAGED: return "damaged (cannot be read)";
  default:
    return base_name (pic->chain->links[pic->nr_classes - 1 - class]->path);
  }
}
