/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A picture of a disk in a terminal.
 *
 * With colours, a cell has the colour of the class that fills most of it.
 * If there is data of another layer in it, that shows as a block in its
 * colour, the higher the more: so a few grains of a snapshot can be seen in a
 * cell of a gigabyte.  Without colours, a cell is a letter: capital if the
 * layer fills at least half of the cell.
 */

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "picture.h"

/* In the 256 colours of xterm.  The oldest layer is quiet, since it is
 * usually the largest; the others are as far apart as can be.
 */
static const unsigned char layer_colors[NR_COLORS] = {
  67, 214, 78, 204, 141, 80, 226, 173, 111, 149,
};
static const unsigned char class_colors[CLASS_LAYER] = {
  [CLASS_HOLE] = 235, [CLASS_BASE] = 238, [CLASS_ZERO] = 242,
  [CLASS_DAMAGED] = 196,
};

struct style {
  bool color;
  bool blocks;                  /* the terminal shows UTF-8 */
};

static unsigned
color_of (uint32_t class)
{
  return class < CLASS_LAYER ? class_colors[class]
    : layer_colors[(class - CLASS_LAYER) % NR_COLORS];
}

static char
letter_of (uint32_t class)
{
  static const char letters[CLASS_LAYER] = {
    [CLASS_HOLE] = '.', [CLASS_BASE] = '-', [CLASS_ZERO] = '0',
    [CLASS_DAMAGED] = '!',
  };

  return class < CLASS_LAYER ? letters[class]
    : (char) ('A' + (class - CLASS_LAYER) % 26);
}

/* What fills most of the cell, */
static const struct share *
main_share (const struct cell *cell)
{
  const struct share *best = &cell->share[0];
  uint32_t i;

  for (i = 1; i < cell->n; ++i)
    if (cell->share[i].bytes > best->bytes)
      best = &cell->share[i];
  return best;
}

/* and what is shown on top of it: damage, or the most of the other data. */
static const struct share *
top_share (const struct cell *cell, const struct share *back)
{
  const struct share *best = NULL;
  uint32_t i;

  for (i = 0; i < cell->n; ++i) {
    const struct share *s = &cell->share[i];

    if (s == back || s->class < CLASS_DAMAGED)
      continue;
    if (!best || s->class == CLASS_DAMAGED ||
        (best->class != CLASS_DAMAGED && s->bytes > best->bytes))
      best = s;
  }
  return best;
}

static uint64_t
cell_size (const struct cell *cell)
{
  uint64_t n = 0;
  uint32_t i;

  for (i = 0; i < cell->n; ++i)
    n += cell->share[i].bytes;
  return n;
}

/* Without colour: data first, or a snapshot's could not be seen. */
static void
plain_cell (FILE *fp, const struct cell *cell)
{
  const struct share *back = main_share (cell);
  const struct share *top = back->class < CLASS_DAMAGED
    ? top_share (cell, back) : NULL;
  const struct share *s = top ? top : back;
  char c = letter_of (s->class);

  if (s->class >= CLASS_LAYER && s->bytes * 2 < cell_size (cell))
    c = (char) (c + ('a' - 'A'));
  putc (c, fp);
}

static void
colored_cell (FILE *fp, const struct cell *cell, const struct style *style)
{
  static const char *const blocks[] = {
    "\u2582", "\u2583", "\u2584", "\u2585",
  };
  const struct share *back = main_share (cell);
  const struct share *top = top_share (cell, back);
  unsigned level;

  fprintf (fp, "\033[48;5;%u", color_of (back->class));
  if (!style->blocks) {
    fputs (";38;5;16m", fp);
    plain_cell (fp, cell);
    return;
  }
  if (!top) {
    fputs ("m ", fp);
    return;
  }
  level = (unsigned) (8 * top->bytes / cell_size (cell));
  fprintf (fp, ";38;5;%um%s", color_of (top->class),
           blocks[level > 3 ? 3 : level]);
}

static size_t
terminal_width (void)
{
  const char *columns = getenv ("COLUMNS");
  struct winsize ws;
  long n;

  if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
    return ws.ws_col;
  n = columns ? strtol (columns, NULL, 10) : 0;
  return n > 0 && n < 10000 ? (size_t) n : 80;
}

static struct style
choose_style (enum color color)
{
  const char *no_color = getenv ("NO_COLOR"), *term = getenv ("TERM");
  struct style style;

  setlocale (LC_CTYPE, "");
  style.blocks = strcmp (nl_langinfo (CODESET), "UTF-8") == 0;
  style.color = color == COLOR_ALWAYS ||
    (color == COLOR_AUTO && isatty (STDOUT_FILENO) &&
     (!no_color || *no_color == '\0') && term && strcmp (term, "dumb") != 0);
  return style;
}

static void
put_legend (FILE *fp, const struct picture *pic, const struct style *style)
{
  char buf[HUMAN_SIZE_MAX];
  uint32_t i, class;

  /* Newest layer first, then the rest. */
  for (i = 0; i < pic->nr_classes; ++i) {
    class = pic->nr_classes - 1 - i;
    if (pic->totals[class] == 0 && class < CLASS_LAYER)
      continue;
    if (!style->color)
      fprintf (fp, "  %c ", letter_of (class));
    else if (style->blocks)
      fprintf (fp, "  \033[48;5;%um  \033[0m", color_of (class));
    else
      fprintf (fp, "  \033[48;5;%u;38;5;16m%c \033[0m", color_of (class),
               letter_of (class));
    fprintf (fp, "  %10s", short_size (buf, pic->totals[class]));
    fprintf (fp, " %7s  ", picture_percent (buf, pic, class));
    out_text (fp, picture_class_name (pic, class));
    putc ('\n', fp);
  }
}

int
picture_terminal (const struct vd_chain *chain, FILE *fp, enum color color,
                  uint64_t *damaged, struct vd_err *err)
{
  const struct style style = choose_style (color);
  const size_t width = terminal_width (), margin = 12;
  char buf[HUMAN_SIZE_MAX];
  struct picture pic;
  size_t i;

  if (picture_make (&pic, chain, width > margin ? width - margin : 1, 16,
                    err) == -1)
    return -1;
  out_text (fp, base_name (chain->links[0]->path));
  fprintf (fp, ": %s, ", short_size (buf, chain->size));
  fprintf (fp, "a cell is %s\n\n", short_size (buf, pic.cell_size));
  for (i = 0; i < pic.nr_cells; ++i) {
    if (i % pic.columns == 0)
      fprintf (fp, "%10s  ", picture_offset (buf, i * pic.cell_size));
    if (style.color)
      colored_cell (fp, &pic.cells[i], &style);
    else
      plain_cell (fp, &pic.cells[i]);
    if (i % pic.columns == pic.columns - 1 || i + 1 == pic.nr_cells)
      fputs (style.color ? "\033[0m\n" : "\n", fp);
  }
  putc ('\n', fp);
  put_legend (fp, &pic, &style);
  if (!style.color && chain->nr_links > 0)
    fputs ("\n  A small letter: the layer fills less than half of the cell.\n",
           fp);
  *damaged = pic.totals[CLASS_DAMAGED];
  picture_free (&pic);
  return 0;
}
