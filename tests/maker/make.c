/* The entry points of the maker. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

int
mk_make (const struct mk_spec *spec, const struct mk_sink *sink,
         struct mk_layout *layout)
{
  struct mk_layout mine;
  struct mk_layout *l = layout ? layout : &mine;
  int r = -1, err;

  memset (l, 0, sizeof *l);
  errno = EINVAL;
  switch (spec->format) {
  case MK_COWD:
    r = mk_make_cowd (spec, sink, l);
    break;
  case MK_KDMV:
    r = mk_make_kdmv (spec, sink, l);
    break;
  case MK_STREAM:
    r = mk_make_stream (spec, sink, l);
    break;
  case MK_SESPARSE:
    r = mk_make_sesparse (spec, sink, l);
    break;
  }
  err = errno;
  if (r == -1 || layout == NULL)
    mk_layout_free (l);
  errno = err;
  return r;
}

int
mk_make_file (const struct mk_spec *spec, const char *path,
              struct mk_layout *layout)
{
  struct mk_sink sink;
  int r, err;

  if (mk_sink_create (&sink, path) == -1)
    return -1;
  r = mk_make (spec, &sink, layout);
  err = errno;
  if (mk_sink_close (&sink) == -1 && r == 0) {
    if (layout)
      mk_layout_free (layout);
    return -1;
  }
  errno = err;
  return r;
}

const struct mk_where *
mk_layout_grain (const struct mk_layout *layout, uint64_t grain)
{
  size_t low = 0, high = layout->n_grains;

  while (low < high) {
    size_t mid = low + (high - low) / 2;

    if (layout->grains[mid].grain < grain)
      low = mid + 1;
    else
      high = mid;
  }
  if (low == layout->n_grains || layout->grains[low].grain != grain)
    return NULL;
  return &layout->grains[low];
}

void
mk_layout_free (struct mk_layout *layout)
{
  free (layout->grains);
  free (layout->tables);
  memset (layout, 0, sizeof *layout);
}
