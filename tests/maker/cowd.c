/* COWD: two levels of tables with 32-bit sector numbers.
 *
 *   sectors 0-3   header
 *   gd_sector     directory: one entry for 4096 grains, in whole sectors
 *   then          in order of allocation: a table of 32 sectors when the
 *                 first grain of its region comes, and grains
 *
 * ESX would have it so; both directory and tables could be anywhere.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

#define GTES 4096
#define GT_SECTORS 32

static int
write_tables (struct mk_plan *plan)
{
  struct mk_layout *l = plan->l;
  uint8_t *buf = mk_alloc (GTES, 4);
  int r = 0;

  for (size_t i = 0; i < l->n_tables && r == 0; i++) {
    struct mk_table *t = &l->tables[i];

    memset (buf, 0, GTES * 4);
    for (size_t k = t->first; k < t->first + t->n; k++) {
      struct mk_where *w = &l->grains[k];
      size_t at = 4 * (size_t) (w->grain % GTES);

      mk_put32 (buf + at, (uint32_t) (w->data / MK_SECTOR));
      w->gte = t->gt + at;
    }
    r = mk_plan_write_sparse (plan, buf, GTES * 4, t->gt);
  }
  free (buf);
  return r;
}

static int
write_directory (struct mk_plan *plan, enum mk_tables mode,
                 uint64_t tables_at)
{
  struct mk_layout *l = plan->l;
  size_t n = (size_t) mk_round_up (plan->total_tables * 4, MK_SECTOR);
  uint8_t *gd = mk_alloc (n, 1);
  int r;

  if (mode == MK_TABLES_ALL)
    for (uint64_t i = 0; i < plan->total_tables; i++)
      mk_put32 (gd + 4 * i, (uint32_t)
                (tables_at +
                 GT_SECTORS * mk_plan_table_slot (plan, i, 0, mode)));
  for (size_t i = 0; i < l->n_tables; i++) {
    struct mk_table *t = &l->tables[i];

    t->gde = l->gd + 4 * t->index;
    mk_put32 (gd + 4 * t->index, (uint32_t) (t->gt / MK_SECTOR));
  }
  r = mk_plan_write_sparse (plan, gd, n, l->gd);
  free (gd);
  return r;
}

static int
write_header (struct mk_plan *plan, uint64_t gd)
{
  const struct mk_spec *spec = plan->spec;
  uint8_t h[2048] = { 'C', 'O', 'W', 'D' };
  uint32_t flags = (3 | spec->flags_set) & ~spec->flags_clear;

  mk_put32 (h + MK_COWD_VERSION, spec->version ? spec->version : 1);
  mk_put32 (h + MK_COWD_FLAGS, flags);
  mk_put32 (h + MK_COWD_CAPACITY, (uint32_t) (spec->capacity / MK_SECTOR));
  mk_put32 (h + MK_COWD_GRAINSIZE, spec->grain_size / MK_SECTOR);
  mk_put32 (h + MK_COWD_GDOFFSET, (uint32_t) gd);
  mk_put32 (h + MK_COWD_GDENTRIES, (uint32_t) plan->total_tables);
  mk_put32 (h + MK_COWD_FREESECTOR, (uint32_t) plan->free);
  mk_put32 (h + MK_COWD_UNCLEAN, spec->unclean);
  return plan->sink->pwrite (plan->sink->opaque, h, sizeof h, 0);
}

int
mk_make_cowd (const struct mk_spec *spec, const struct mk_sink *sink,
              struct mk_layout *layout)
{
  struct mk_plan plan;
  enum mk_tables mode = spec->tables ? spec->tables : MK_TABLES_MIXED;
  uint64_t gd = spec->gd_sector ? spec->gd_sector : 4;
  uint64_t tables_at;
  int r = -1;

  if (mk_plan_start (&plan, spec, sink, layout, GTES) == -1)
    return -1;
  for (size_t i = 0; i < layout->n_grains; i++)
    if (layout->grains[i].kind != MK_DATA) {
      errno = EINVAL;
      goto out;
    }
  tables_at = gd + mk_div_up (plan.total_tables * 4, MK_SECTOR);
  layout->gd = gd * MK_SECTOR;
  layout->gd_entries = plan.total_tables;
  layout->data_start = tables_at * MK_SECTOR;

  plan.free =
    tables_at + GT_SECTORS * mk_plan_front_tables (&plan, mode);
  if (mode != MK_TABLES_MIXED)
    for (size_t i = 0; i < layout->n_tables; i++) {
      struct mk_table *t = &layout->tables[i];

      t->gt = MK_SECTOR *
        (tables_at +
         GT_SECTORS * mk_plan_table_slot (&plan, t->index, i, mode));
    }
  mk_plan_grains (&plan, 1, mode == MK_TABLES_MIXED ? GT_SECTORS : 0, 1);
  if (plan.free > UINT32_MAX || spec->capacity / MK_SECTOR > UINT32_MAX) {
    errno = EFBIG;
    goto out;
  }
  layout->size = plan.free * MK_SECTOR + spec->slack;
  if (sink->truncate (sink->opaque, layout->size) == -1 ||
      mk_plan_write_grains (&plan) == -1 ||
      write_tables (&plan) == -1 ||
      write_directory (&plan, mode, tables_at) == -1 ||
      write_header (&plan, gd) == -1)
    goto out;
  r = 0;
 out:
  mk_plan_end (&plan);
  return r;
}
