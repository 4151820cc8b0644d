/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A picture of a disk as SVG.
 *
 * The rows are parts of the disk, one below the other.  Each column of a row
 * is filled from the bottom by what it holds, in proportion, the newest layer
 * first; data that is there at all can be seen.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "picture.h"

enum {
  LEFT = 92,                    /* room for the offsets */
  TOP = 76,
  COLUMN = 3,
  COLUMNS = 256,
  ROW = 30,
  MARK = 5,
  ROW_STEP = 40,
  LEGEND_STEP = 24,
  WIDTH = LEFT + COLUMN * COLUMNS + 24,
};

static const char *const layer_colors[NR_COLORS] = {
  "#5b7fa6", "#f2a33a", "#3fae6a", "#e0527a", "#8f6cd9",
  "#21aeb8", "#d9c11e", "#b3672b", "#6fa8ff", "#93b93a",
};
static const char *const class_colors[CLASS_LAYER] = {
  [CLASS_HOLE] = "#f1f3f5", [CLASS_BASE] = "#dfe3e8",
  [CLASS_ZERO] = "#b9c0c8", [CLASS_DAMAGED] = "#d00000",
};

static const char *
color_of (uint32_t class)
{
  return class < CLASS_LAYER ? class_colors[class]
    : layer_colors[(class - CLASS_LAYER) % NR_COLORS];
}

/* Text that may hold anything. */
static void
put_text (FILE *fp, const char *text)
{
  const size_t n = strlen (text) * 4 + 1;
  char *safe = malloc (n), *p;

  if (!safe)
    return;
  vd_escape (safe, n, text);
  for (p = safe; *p; ++p)
    switch (*p) {
    case '<': fputs ("&lt;", fp); break;
    case '>': fputs ("&gt;", fp); break;
    case '&': fputs ("&amp;", fp); break;
    case '"': fputs ("&quot;", fp); break;
    default: putc (*p, fp);
    }
  free (safe);
}

/* The heights of the classes in a column; they add up to ROW.  Data that is
 * there at all gets MARK, at the cost of the largest.
 */
static void
heights (const struct cell *cell, unsigned h[CELL_SHARES])
{
  unsigned sum = 0, largest = 0;
  uint64_t whole = 0;
  uint32_t i;

  for (i = 0; i < cell->n; ++i)
    whole += cell->share[i].bytes;
  for (i = 0; i < cell->n; ++i) {
    h[i] = (unsigned) ((double) cell->share[i].bytes / (double) whole * ROW);
    if (h[i] < MARK && cell->share[i].class >= CLASS_DAMAGED)
      h[i] = MARK;
    sum += h[i];
    if (h[i] > h[largest])
      largest = i;
  }
  for (; sum > ROW; --sum) {
    for (i = 0; i < cell->n; ++i)
      if (h[i] > h[largest])
        largest = i;
    h[largest]--;
  }
  h[largest] += ROW - sum;
}

static int
compare_shares (const void *a, const void *b)
{
  const struct share *x = a, *y = b;

  return x->class > y->class ? -1 : x->class < y->class;
}

static bool
same_cell (const struct cell *a, const struct cell *b)
{
  uint32_t i;

  if (a->n != b->n)
    return false;
  for (i = 0; i < a->n; ++i)
    if (a->share[i].class != b->share[i].class ||
        a->share[i].bytes != b->share[i].bytes)
      return false;
  return true;
}

static void
put_cells (FILE *fp, const struct cell *cell, size_t x, size_t n, size_t y)
{
  unsigned h[CELL_SHARES], below = 0;
  uint32_t i;

  heights (cell, h);
  for (i = 0; i < cell->n; ++i) {
    if (h[i] == 0)
      continue;
    below += h[i];
    fprintf (fp, "<rect x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%u\" "
             "fill=\"%s\"/>\n", LEFT + x * COLUMN, y + ROW - below,
             n * COLUMN, h[i], color_of (cell->share[i].class));
  }
}

static void
put_row (FILE *fp, struct picture *pic, size_t row)
{
  const size_t y = TOP + row * ROW_STEP, first = row * pic->columns;
  size_t i, n, count = pic->nr_cells - first;
  char buf[HUMAN_SIZE_MAX];

  if (count > pic->columns)
    count = pic->columns;
  fprintf (fp, "<text x=\"%d\" y=\"%zu\" class=\"at\">%s</text>\n", LEFT - 10,
           y + ROW / 2 + 4, picture_offset (buf, first * pic->cell_size));
  for (i = 0; i < count; ++i)
    qsort (pic->cells[first + i].share, pic->cells[first + i].n,
           sizeof (struct share), compare_shares);
  for (i = 0; i < count; i += n) {
    for (n = 1; i + n < count &&
           same_cell (&pic->cells[first + i], &pic->cells[first + i + n]); ++n)
      ;
    put_cells (fp, &pic->cells[first + i], i, n, y);
  }
  fprintf (fp, "<rect x=\"%d\" y=\"%zu\" width=\"%zu\" height=\"%d\" "
           "class=\"frame\"/>\n", LEFT, y, count * COLUMN, ROW);
}

static void
put_legend (FILE *fp, const struct picture *pic, size_t y)
{
  char buf[HUMAN_SIZE_MAX];
  uint32_t i, class;

  for (i = 0; i < pic->nr_classes; ++i) {
    class = pic->nr_classes - 1 - i;
    if (pic->totals[class] == 0 && class < CLASS_LAYER)
      continue;
    fprintf (fp, "<rect x=\"%d\" y=\"%zu\" width=\"28\" height=\"14\" rx=\"2\" "
             "class=\"key\" fill=\"%s\"/>\n", LEFT, y, color_of (class));
    fprintf (fp, "<text x=\"%d\" y=\"%zu\" class=\"size\">%s</text>\n",
             LEFT + 124, y + 12, short_size (buf, pic->totals[class]));
    fprintf (fp, "<text x=\"%d\" y=\"%zu\" class=\"size\">", LEFT + 190,
             y + 12);
    put_text (fp, picture_percent (buf, pic, class));
    fputs ("</text>\n", fp);
    fprintf (fp, "<text x=\"%d\" y=\"%zu\">", LEFT + 208, y + 12);
    put_text (fp, picture_class_name (pic, class));
    fputs ("</text>\n", fp);
    y += LEGEND_STEP;
  }
}

static size_t
legend_lines (const struct picture *pic)
{
  size_t n = pic->chain->nr_links;
  uint32_t i;

  for (i = 0; i < CLASS_LAYER; ++i)
    n += pic->totals[i] > 0;
  return n;
}

static void
paint (FILE *fp, struct picture *pic)
{
  const size_t legend = TOP + pic->rows * ROW_STEP + 16;
  const size_t height = legend + legend_lines (pic) * LEGEND_STEP + 16;
  char buf[HUMAN_SIZE_MAX];
  size_t i;

  fprintf (fp, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
           "height=\"%zu\" viewBox=\"0 0 %d %zu\">\n", WIDTH, height, WIDTH,
           height);
  fputs ("<style>\n"
         "text { font: 13px sans-serif; fill: #24292f }\n"
         ".title { font-size: 20px; font-weight: bold }\n"
         ".note, .at { fill: #57606a }\n"
         ".at, .size { text-anchor: end }\n"
         ".frame { fill: none; stroke: #8c959f; stroke-width: 0.5 }\n"
         ".key { stroke: #8c959f; stroke-width: 0.5 }\n"
         "</style>\n"
         "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n", fp);
  fprintf (fp, "<text x=\"%d\" y=\"34\" class=\"title\">", LEFT);
  put_text (fp, base_name (pic->chain->links[0]->path));
  fprintf (fp, "</text>\n<text x=\"%d\" y=\"56\" class=\"note\">%s", LEFT,
           short_size (buf, pic->chain->size));
  fprintf (fp, " in %zu row%s of ", pic->rows, pic->rows == 1 ? "" : "s");
  fprintf (fp, "%s</text>\n",
           short_size (buf, pic->columns * pic->cell_size));
  for (i = 0; i < pic->rows; ++i)
    put_row (fp, pic, i);
  put_legend (fp, pic, legend);
  fputs ("</svg>\n", fp);
}

/* What is replaced keeps its rights. */
static void
keep_rights (FILE *fp, const char *name)
{
  const int old = open (name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

  if (old == -1)
    return;
  vd_rights_copy (fileno (fp), old, true);
  close (old);
}

/* A new file in the same directory, renamed when it is complete. */
int
picture_svg (const struct vd_chain *chain, const char *name,
             uint64_t *damaged, struct vd_err *err)
{
  struct picture pic;
  char *temporary = NULL;
  FILE *fp;
  int r = -1;

  if (picture_make (&pic, chain, COLUMNS, 16, err) == -1)
    return -1;
  if (asprintf (&temporary, "%s.new", name) == -1) {
    temporary = NULL;
    vd_fail (err, VD_NOMEM, "out of memory");
    goto out;
  }
  fp = fopen (temporary, "wxe");
  if (!fp) {
    vd_fail_errno (err, errno, "%s", temporary);
    goto out;
  }
  keep_rights (fp, name);
  paint (fp, &pic);
  r = ferror (fp) ? -1 : 0;
  if (fclose (fp) == EOF || r == -1 || rename (temporary, name) == -1) {
    r = vd_fail_errno (err, errno, "%s", name);
    unlink (temporary);
  }
  *damaged = pic.totals[CLASS_DAMAGED];
 out:
  free (temporary);
  picture_free (&pic);
  return r;
}
