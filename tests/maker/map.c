/* Maps: which grain is what. */

#include <stdlib.h>

#include "maker.h"
#include "plan.h"

static enum mk_kind
pattern_kind (void *opaque, uint64_t grain)
{
  const struct mk_pattern *p = opaque;
  uint64_t run = grain / (p->run ? p->run : 1);
  uint64_t h;

  if (p->grains && grain >= p->grains)
    return MK_HOLE;
  if (p->alternate) {
    if ((run ^ p->seed) & 1)
      return MK_HOLE;
  }
  else if (mk_hash (p->seed, run) % 1000 >= p->fill)
    return MK_HOLE;

  h = mk_hash (~p->seed, run) % 1000;
  if (h < p->zero)
    return MK_ZERO;
  if (h < p->zero + p->unmapped)
    return MK_UNMAPPED;
  return MK_DATA;
}

struct mk_map
mk_map_pattern (struct mk_pattern *pattern)
{
  struct mk_map m = { pattern, pattern_kind, NULL };

  return m;
}

/* Index of the first entry that is not less than GRAIN. */
static size_t
list_find (const struct mk_list *l, uint64_t grain)
{
  size_t low = 0, high = l->n;

  while (low < high) {
    size_t mid = low + (high - low) / 2;

    if (l->grain[mid] < grain)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

static enum mk_kind
list_kind (void *opaque, uint64_t grain)
{
  const struct mk_list *l = opaque;
  size_t i = list_find (l, grain);

  if (i == l->n || l->grain[i] != grain)
    return MK_HOLE;
  return l->kind ? (enum mk_kind) l->kind[i] : MK_DATA;
}

static uint64_t
list_next (void *opaque, uint64_t grain)
{
  const struct mk_list *l = opaque;
  size_t i = list_find (l, grain);

  return i == l->n ? UINT64_MAX : l->grain[i];
}

struct mk_map
mk_map_list (struct mk_list *list)
{
  struct mk_map m = { list, list_kind, list_next };

  return m;
}

static int
compare (const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return x < y ? -1 : x > y;
}

void
mk_list_random (struct mk_list *list, uint64_t seed, uint64_t grains,
                uint64_t count, uint64_t run)
{
  struct mk_rng rng;
  uint64_t *g = mk_alloc ((size_t) (count + run + 2), sizeof *g);
  size_t n = 0, out = 0;

  mk_rng_seed (&rng, seed);
  g[n++] = 0;
  g[n++] = grains - 1;
  while (n < count) {
    uint64_t start = mk_rng_below (&rng, grains);

    for (uint64_t i = 0; i < run && start + i < grains; i++)
      g[n++] = start + i;
  }
  qsort (g, n, sizeof *g, compare);
  for (size_t i = 0; i < n; i++)
    if (out == 0 || g[out - 1] != g[i])
      g[out++] = g[i];
  list->n = out;
  list->grain = g;
  list->kind = NULL;
}

void
mk_list_free (struct mk_list *list)
{
  free (list->grain);
  free (list->kind);
  list->grain = NULL;
  list->kind = NULL;
  list->n = 0;
}

static enum mk_kind
array_kind (void *opaque, uint64_t grain)
{
  const struct mk_array *a = opaque;

  return grain < a->n ? (enum mk_kind) a->kind[grain] : MK_HOLE;
}

struct mk_map
mk_map_array (struct mk_array *array)
{
  struct mk_map m = { array, array_kind, NULL };

  return m;
}
