/* KDMV: the hosted sparse extent.
 *
 *   sector 0      header
 *   1-20          descriptor, if it is embedded
 *   then          redundant directory, its tables; directory, its tables
 *   overHead      grains, usually aligned to the grain
 *
 * Also what a stream with tables in front has in common with it.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

void
mk_kdmv_header (const struct mk_spec *spec, uint8_t h[MK_SECTOR],
                uint32_t version, uint32_t flags)
{
  static const uint8_t line_ends[] = { '\n', ' ', '\r', '\n' };
  uint64_t capacity = spec->capacity;

  if (spec->round_capacity)
    capacity = mk_round_up (capacity, spec->grain_size);
  memset (h, 0, MK_SECTOR);
  memcpy (h, "KDMV", 4);
  mk_put32 (h + MK_KDMV_VERSION, spec->version ? spec->version : version);
  mk_put32 (h + MK_KDMV_FLAGS,
            (flags | spec->flags_set) & ~spec->flags_clear);
  mk_put64 (h + MK_KDMV_CAPACITY, capacity / MK_SECTOR);
  mk_put64 (h + MK_KDMV_GRAINSIZE, spec->grain_size / MK_SECTOR);
  mk_put32 (h + MK_KDMV_GTES, spec->gtes ? spec->gtes : 512);
  h[MK_KDMV_UNCLEAN] = spec->unclean;
  memcpy (h + MK_KDMV_LINEENDS, line_ends, sizeof line_ends);
}

static size_t
text_length (const struct mk_spec *spec)
{
  return spec->descriptor_len ? spec->descriptor_len
                              : strlen (spec->descriptor);
}

uint64_t
mk_kdmv_descriptor_place (const struct mk_spec *spec, uint8_t *h)
{
  uint64_t at, n, need;

  if (spec->descriptor == NULL)
    return 1;
  at = spec->descriptor_sector ? spec->descriptor_sector : 1;
  n = spec->descriptor_sectors ? spec->descriptor_sectors : 20;
  need = mk_div_up (text_length (spec), MK_SECTOR);
  if (n < need)
    n = need;
  mk_put64 (h + MK_KDMV_DESCOFFSET, at);
  mk_put64 (h + MK_KDMV_DESCSIZE, n);
  return at + n;
}

int
mk_kdmv_write_descriptor (const struct mk_spec *spec,
                          const struct mk_sink *sink)
{
  uint64_t at = spec->descriptor_sector ? spec->descriptor_sector : 1;

  if (spec->descriptor == NULL)
    return 0;
  return sink->pwrite (sink->opaque, spec->descriptor, text_length (spec),
                       at * MK_SECTOR);
}

static uint64_t
gt_sectors (const struct mk_plan *plan)
{
  return mk_div_up (plan->gtes * 4, MK_SECTOR);
}

/* From sector FIRST on.  Sets the fields in H, plan->free. */
int
mk_kdmv_front_directories (struct mk_plan *plan, enum mk_tables mode,
                           uint64_t first, uint8_t *h)
{
  struct mk_layout *l = plan->l;
  uint64_t gd_sectors = mk_div_up (plan->total_tables * 4, MK_SECTOR);
  uint64_t front = mk_plan_front_tables (plan, mode) * gt_sectors (plan);
  uint64_t next = first;

  l->gd_entries = plan->total_tables;
  for (int copy = plan->spec->no_redundant ? 0 : 1; copy >= 0; copy--) {
    uint64_t tables_at = next + gd_sectors;

    mk_put64 (h + (copy ? MK_KDMV_RGDOFFSET : MK_KDMV_GDOFFSET), next);
    *(copy ? &l->rgd : &l->gd) = next * MK_SECTOR;
    next = tables_at + front;
    if (mode == MK_TABLES_MIXED)
      continue;
    for (size_t i = 0; i < l->n_tables; i++) {
      struct mk_table *t = &l->tables[i];
      uint64_t slot = mk_plan_table_slot (plan, t->index, i, mode);
      uint64_t at = (tables_at + slot * gt_sectors (plan)) * MK_SECTOR;

      *(copy ? &t->rgt : &t->gt) = at;
    }
  }
  if (next > UINT32_MAX) {
    errno = EFBIG;
    return -1;
  }
  plan->free = next;
  return 0;
}

int
mk_kdmv_write_tables (struct mk_plan *plan)
{
  struct mk_layout *l = plan->l;
  size_t n = (size_t) gt_sectors (plan) * MK_SECTOR;
  uint8_t *buf = mk_alloc (n, 1);
  int r = 0;

  for (size_t i = 0; i < l->n_tables && r == 0; i++) {
    struct mk_table *t = &l->tables[i];

    memset (buf, 0, n);
    for (size_t k = t->first; k < t->first + t->n; k++) {
      struct mk_where *w = &l->grains[k];
      size_t at = 4 * (size_t) (w->grain % plan->gtes);

      mk_put32 (buf + at, w->kind == MK_ZERO ?
                1 : (uint32_t) (w->data / MK_SECTOR));
      w->gte = t->gt + at;
      w->rgte = t->rgt ? t->rgt + at : 0;
    }
    r = mk_plan_write_sparse (plan, buf, n, t->gt);
    if (r == 0 && t->rgt)
      r = mk_plan_write_sparse (plan, buf, n, t->rgt);
  }
  free (buf);
  return r;
}

static int
write_directory (struct mk_plan *plan, enum mk_tables mode, bool copy)
{
  struct mk_layout *l = plan->l;
  size_t n = (size_t) mk_round_up (plan->total_tables * 4, MK_SECTOR);
  uint64_t at = copy ? l->rgd : l->gd;
  uint8_t *gd = mk_alloc (n, 1);
  int r;

  if (mode == MK_TABLES_ALL)
    for (uint64_t i = 0; i < plan->total_tables; i++)
      mk_put32 (gd + 4 * i, (uint32_t)
                ((at + n) / MK_SECTOR +
                 gt_sectors (plan) * mk_plan_table_slot (plan, i, 0, mode)));
  for (size_t i = 0; i < l->n_tables; i++) {
    struct mk_table *t = &l->tables[i];

    *(copy ? &t->rgde : &t->gde) = at + 4 * t->index;
    mk_put32 (gd + 4 * t->index,
              (uint32_t) ((copy ? t->rgt : t->gt) / MK_SECTOR));
  }
  r = mk_plan_write_sparse (plan, gd, n, at);
  free (gd);
  return r;
}

int
mk_kdmv_write_directories (struct mk_plan *plan, enum mk_tables mode)
{
  if (plan->l->rgd && write_directory (plan, mode, true) == -1)
    return -1;
  return write_directory (plan, mode, false);
}

/* True if there is a zeroed grain; EINVAL for an unmapped one. */
static int
look_at_kinds (const struct mk_layout *l, bool *zeroed)
{
  *zeroed = false;
  for (size_t i = 0; i < l->n_grains; i++) {
    if (l->grains[i].kind == MK_ZERO)
      *zeroed = true;
    if (l->grains[i].kind == MK_UNMAPPED) {
      errno = EINVAL;
      return -1;
    }
  }
  return 0;
}

int
mk_make_kdmv (const struct mk_spec *spec, const struct mk_sink *sink,
              struct mk_layout *layout)
{
  struct mk_plan plan;
  enum mk_tables mode = spec->tables ? spec->tables : MK_TABLES_ALL;
  uint64_t grain = spec->grain_size / MK_SECTOR;
  uint8_t h[MK_SECTOR];
  bool zeroed;
  int r = -1;

  if (mk_plan_start (&plan, spec, sink, layout,
                     spec->gtes ? spec->gtes : 512) == -1)
    return -1;
  if (look_at_kinds (layout, &zeroed) == -1)
    goto out;
  mk_kdmv_header (spec, h, zeroed ? 2 : 1,
                  (spec->no_redundant ? 1u : 3u) | (zeroed ? 4u : 0u));
  if (mk_kdmv_front_directories (&plan, mode,
                                 mk_kdmv_descriptor_place (spec, h), h) == -1)
    goto out;
  if (!spec->tight)
    plan.free = mk_round_up (plan.free, grain);
  mk_put64 (h + MK_KDMV_OVERHEAD, plan.free);
  layout->data_start = plan.free * MK_SECTOR;
  mk_plan_grains (&plan, spec->unaligned ? 1 : grain,
                  mode == MK_TABLES_MIXED ? gt_sectors (&plan) : 0,
                  spec->no_redundant ? 1 : 2);
  if (plan.free > UINT32_MAX) {
    errno = EFBIG;
    goto out;
  }
  layout->size = plan.free * MK_SECTOR + spec->slack;
  if (sink->truncate (sink->opaque, layout->size) == -1 ||
      mk_plan_write_grains (&plan) == -1 ||
      mk_kdmv_write_tables (&plan) == -1 ||
      mk_kdmv_write_directories (&plan, mode) == -1 ||
      mk_kdmv_write_descriptor (spec, sink) == -1 ||
      sink->pwrite (sink->opaque, h, sizeof h, 0) == -1)
    goto out;
  r = 0;
 out:
  mk_plan_end (&plan);
  return r;
}
