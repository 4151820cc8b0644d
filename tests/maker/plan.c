/* Collecting what an extent holds, and finding a place for it. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

static void
shuffle (struct mk_rng *rng, size_t *a, size_t n)
{
  for (size_t i = n; i > 1; i--) {
    size_t j = (size_t) mk_rng_below (rng, i), t = a[i - 1];

    a[i - 1] = a[j];
    a[j] = t;
  }
}

static void
collect (struct mk_plan *plan)
{
  const struct mk_map *map = &plan->spec->map;
  struct mk_layout *l = plan->l;
  uint64_t grains = mk_div_up (plan->spec->capacity, plan->spec->grain_size);
  size_t room = 0, tables = 0;

  for (uint64_t g = 0; g < grains; g++) {
    enum mk_kind kind;

    if (map->next) {
      g = map->next (map->opaque, g);
      if (g >= grains)
        break;
    }
    kind = map->kind (map->opaque, g);
    if (kind == MK_HOLE)
      continue;
    if (l->n_grains == room) {
      room = room ? room * 2 : 64;
      l->grains = mk_grow (l->grains, room, sizeof *l->grains);
    }
    if (l->n_tables == 0 || l->tables[l->n_tables - 1].index
        != g / plan->gtes) {
      struct mk_table *t;

      if (l->n_tables == tables) {
        tables = tables ? tables * 2 : 16;
        l->tables = mk_grow (l->tables, tables, sizeof *l->tables);
      }
      t = &l->tables[l->n_tables++];
      memset (t, 0, sizeof *t);
      t->index = g / plan->gtes;
      t->first = l->n_grains;
    }
    l->tables[l->n_tables - 1].n++;
    memset (&l->grains[l->n_grains], 0, sizeof *l->grains);
    l->grains[l->n_grains].grain = g;
    l->grains[l->n_grains].kind = kind;
    l->grains[l->n_grains].table = l->n_tables - 1;
    l->n_grains++;
  }
}

static void
put_in_order (struct mk_plan *plan)
{
  const struct mk_spec *spec = plan->spec;
  size_t n = plan->l->n_grains;
  size_t *o = mk_alloc (n, sizeof *o);

  for (size_t i = 0; i < n; i++)
    o[i] = spec->placement == MK_REVERSED ? n - 1 - i : i;
  if (spec->placement == MK_SCATTERED)
    shuffle (&plan->rng, o, n);

  /* What is cut must be the last thing in the file. */
  if (spec->last == MK_LAST_CUT && n > 0 &&
      mk_plan_valid (spec, plan->l->grains[n - 1].grain) < spec->grain_size) {
    size_t at = 0;

    while (o[at] != n - 1)
      at++;
    memmove (o + at, o + at + 1, (n - at - 1) * sizeof *o);
    o[n - 1] = n - 1;
  }
  plan->order = o;
}

int
mk_plan_start (struct mk_plan *plan, const struct mk_spec *spec,
               const struct mk_sink *sink, struct mk_layout *layout,
               uint64_t gtes)
{
  memset (plan, 0, sizeof *plan);
  memset (layout, 0, sizeof *layout);
  if (spec->capacity % MK_SECTOR || spec->capacity == 0 ||
      spec->grain_size < MK_SECTOR || spec->grain_size % MK_SECTOR ||
      spec->fill.fn == NULL || spec->map.kind == NULL || gtes == 0) {
    errno = EINVAL;
    return -1;
  }
  plan->spec = spec;
  plan->sink = sink;
  plan->l = layout;
  plan->gtes = gtes;
  plan->total_tables =
    mk_div_up (mk_div_up (spec->capacity, spec->grain_size), gtes);
  mk_rng_seed (&plan->rng, mk_hash (spec->seed, UINT64_C (0x506c616e)));
  collect (plan);
  put_in_order (plan);
  return 0;
}

void
mk_plan_end (struct mk_plan *plan)
{
  free (plan->order);
  free (plan->table_slot);
  plan->order = NULL;
  plan->table_slot = NULL;
}

uint64_t
mk_plan_front_tables (const struct mk_plan *plan, enum mk_tables mode)
{
  switch (mode) {
  case MK_TABLES_ALL:
    return plan->total_tables;
  case MK_TABLES_USED:
    return plan->l->n_tables;
  case MK_TABLES_MIXED:
  case MK_TABLES_USUAL:
    break;
  }
  return 0;
}

uint64_t
mk_plan_table_slot (const struct mk_plan *plan, uint64_t i, size_t t,
                    enum mk_tables mode)
{
  uint64_t n = mk_plan_front_tables (plan, mode);
  uint64_t at = mode == MK_TABLES_ALL ? i : t;
  struct mk_plan *p = (struct mk_plan *) plan;

  if (!plan->spec->scatter_tables)
    return at;
  if (plan->table_slot == NULL) {
    struct mk_rng rng;

    mk_rng_seed (&rng, mk_hash (plan->spec->seed, UINT64_C (0x7461626c)));
    p->table_slot = mk_alloc ((size_t) n, sizeof *p->table_slot);
    for (uint64_t k = 0; k < n; k++) {
      uint64_t j = mk_rng_below (&rng, k + 1);

      p->table_slot[k] = p->table_slot[j];
      p->table_slot[j] = k;
    }
  }
  return plan->table_slot[at];
}

void
mk_plan_grains (struct mk_plan *plan, uint64_t align, uint64_t gt_sectors,
                unsigned copies)
{
  const struct mk_spec *spec = plan->spec;
  struct mk_layout *l = plan->l;

  for (size_t i = 0; i < l->n_grains; i++) {
    struct mk_where *w = &l->grains[plan->order[i]];
    struct mk_table *t = &l->tables[w->table];
    uint64_t size;

    if (gt_sectors && t->gt == 0) {
      if (copies == 2) {
        t->rgt = plan->free * MK_SECTOR;
        plan->free += gt_sectors;
      }
      t->gt = plan->free * MK_SECTOR;
      plan->free += gt_sectors;
    }
    if (w->kind != MK_DATA)
      continue;
    if (spec->max_gap)
      plan->free += mk_rng_below (&plan->rng, spec->max_gap + 1);
    plan->free = mk_round_up (plan->free, align);
    size = spec->grain_size;
    if (spec->last == MK_LAST_CUT)
      size = mk_plan_valid (spec, w->grain);
    w->data = plan->free * MK_SECTOR;
    w->stored = size;
    plan->free += size / MK_SECTOR;
  }
}

uint64_t
mk_plan_valid (const struct mk_spec *spec, uint64_t grain)
{
  uint64_t left = spec->capacity - grain * spec->grain_size;

  return left < spec->grain_size ? left : spec->grain_size;
}

size_t
mk_plan_content (const struct mk_spec *spec, uint64_t grain, uint8_t *buf)
{
  size_t valid = (size_t) mk_plan_valid (spec, grain);
  size_t rest = spec->grain_size - valid;

  spec->fill.fn (spec->fill.opaque, buf, valid,
                 spec->guest_start + grain * spec->grain_size);
  if (rest == 0)
    return valid;
  switch (spec->last) {
  case MK_LAST_CUT:
    return valid;
  case MK_LAST_JUNK:
    mk_junk (spec->seed + grain, buf + valid, rest);
    break;
  case MK_LAST_ZEROS:
    memset (buf + valid, 0, rest);
    break;
  }
  return valid + rest;
}

int
mk_plan_write_grains (struct mk_plan *plan)
{
  uint8_t *buf = mk_alloc (plan->spec->grain_size, 1);
  int r = 0;

  for (size_t i = 0; i < plan->l->n_grains && r == 0; i++) {
    const struct mk_where *w = &plan->l->grains[plan->order[i]];

    if (w->kind == MK_DATA && w->data) {
      size_t n = mk_plan_content (plan->spec, w->grain, buf);

      r = plan->sink->pwrite (plan->sink->opaque, buf, n, w->data);
    }
  }
  free (buf);
  return r;
}

int
mk_plan_write_sparse (struct mk_plan *plan, const uint8_t *buf, size_t n,
                      uint64_t off)
{
  static const uint8_t zeros[4096];

  while (n > 0) {
    size_t len = n < sizeof zeros ? n : sizeof zeros;

    if (memcmp (buf, zeros, len) != 0 &&
        plan->sink->pwrite (plan->sink->opaque, buf, len, off) == -1)
      return -1;
    buf += len;
    n -= len;
    off += len;
  }
  return 0;
}
