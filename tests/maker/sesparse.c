/* SEsparse: 64-bit tables, 4 KiB grains, seven areas.
 *
 * Every area begins at a multiple of 2048 sectors (1 MiB) and is as many of
 * these long as it needs; the file ends with the last grain in use.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

#define GTES 4096
#define GT_SECTORS 64
#define GRAIN 4096
#define AREA 2048

struct areas {
  uint64_t gd, gd_size, gts, gts_size, bitmap, bitmap_size;
  uint64_t backmap, backmap_size, grains, grains_size;  /* sectors */
};

/* The low 12 bits of a number come before its high 48. */
static uint64_t
entry (unsigned type, uint64_t n)
{
  return (uint64_t) type << 60 | (n & 0xfff) << 48 | n >> 12;
}

static uint64_t
area (uint64_t bytes)
{
  uint64_t n = mk_round_up (mk_div_up (bytes, MK_SECTOR), AREA);

  return n ? n : AREA;
}

/* Gives every grain that has one its slot; w->data is the slot + 1 for now.
 * Returns the number of slots, counted from slot 0.
 */
static uint64_t
give_slots (struct mk_plan *plan)
{
  const struct mk_spec *spec = plan->spec;
  uint64_t slot = spec->first_slot;

  for (size_t i = 0; i < plan->l->n_grains; i++) {
    struct mk_where *w = &plan->l->grains[plan->order[i]];

    if (w->kind == MK_ZERO)
      continue;
    if (spec->max_gap)
      slot += mk_rng_below (&plan->rng, spec->max_gap + 1);
    w->data = ++slot;
  }
  return slot;
}

static void
lay_out (struct mk_plan *plan, struct areas *a, uint64_t slots)
{
  uint64_t capacity = plan->spec->capacity / MK_SECTOR;
  uint64_t room = mk_round_up (capacity, 8);

  if (room < slots * 8)
    room = slots * 8;
  a->gd = 2 * AREA;
  a->gd_size = area (plan->total_tables * 8);
  a->gts = a->gd + a->gd_size;
  a->gts_size = area (plan->total_tables * GT_SECTORS * MK_SECTOR);
  a->bitmap = a->gts + a->gts_size;
  a->bitmap_size = area (mk_div_up (room / 8, 8));
  a->backmap = a->bitmap + a->bitmap_size;
  a->backmap_size = area (room / 8 * 8);
  a->grains = a->backmap + a->backmap_size;
  a->grains_size = mk_round_up (room, AREA);
}

static int
write_headers (struct mk_plan *plan, const struct areas *a, uint64_t tables)
{
  const struct mk_spec *spec = plan->spec;
  uint8_t h[4 * MK_SECTOR] = { 0 };
  uint64_t flags = spec->flags_set & ~spec->flags_clear;

  mk_put64 (h + MK_SE_MAGIC, 0xcafebabe);
  mk_put64 (h + MK_SE_VERSION, UINT64_C (2) << 32 |
            (spec->version ? spec->version : 1));
  mk_put64 (h + MK_SE_CAPACITY, spec->capacity / MK_SECTOR);
  mk_put64 (h + MK_SE_GRAINSIZE, 8);
  mk_put64 (h + MK_SE_GTSIZE, GT_SECTORS);
  mk_put64 (h + MK_SE_FLAGS, flags);
  mk_put64 (h + MK_SE_RESERVED1, spec->reserved1);
  mk_put64 (h + MK_SE_VOLATILE, 1);
  mk_put64 (h + MK_SE_VOLATILE_SIZE, 1);
  mk_put64 (h + MK_SE_JOURNALHDR, 2);
  mk_put64 (h + MK_SE_JOURNALHDR_SIZE, 2);
  mk_put64 (h + MK_SE_JOURNAL, AREA);
  mk_put64 (h + MK_SE_JOURNAL_SIZE, AREA);
  mk_put64 (h + MK_SE_GD, a->gd);
  mk_put64 (h + MK_SE_GD_SIZE, a->gd_size);
  mk_put64 (h + MK_SE_GTS, a->gts);
  mk_put64 (h + MK_SE_GTS_SIZE, a->gts_size);
  mk_put64 (h + MK_SE_BITMAP, a->bitmap);
  mk_put64 (h + MK_SE_BITMAP_SIZE, a->bitmap_size);
  mk_put64 (h + MK_SE_BACKMAP, a->backmap);
  mk_put64 (h + MK_SE_BACKMAP_SIZE, a->backmap_size);
  mk_put64 (h + MK_SE_GRAINS, a->grains);
  mk_put64 (h + MK_SE_GRAINS_SIZE, a->grains_size);

  mk_put64 (h + MK_SE_VOL_MAGIC, 0xcafecafe);
  mk_put64 (h + MK_SE_VOL_FREEGT, tables);
  mk_put64 (h + MK_SE_VOL_NEXTTXN, 1);
  mk_put64 (h + MK_SE_VOL_REPLAY, spec->dirty || spec->unclean);

  /* As seen in a file from a host: a magic number, the next transaction's
   * number, a one.
   */
  mk_put64 (h + 2 * MK_SECTOR, 0xdeafc0de);
  mk_put64 (h + 2 * MK_SECTOR + 8, 1);
  mk_put64 (h + 2 * MK_SECTOR + 16, 1);
  return plan->sink->pwrite (plan->sink->opaque, h, sizeof h, 0);
}

static int
write_directory (struct mk_plan *plan, const struct areas *a,
                 enum mk_tables mode)
{
  struct mk_layout *l = plan->l;
  size_t n = (size_t) plan->total_tables * 8;
  uint8_t *gd = mk_alloc (n, 1);
  int r;

  l->gd = a->gd * MK_SECTOR;
  l->gd_entries = a->gd_size * MK_SECTOR / 8;
  if (mode == MK_TABLES_ALL)
    for (uint64_t i = 0; i < plan->total_tables; i++)
      mk_put64 (gd + 8 * i, entry (1, 0) |
                mk_plan_table_slot (plan, i, 0, mode));
  for (size_t i = 0; i < l->n_tables; i++) {
    struct mk_table *t = &l->tables[i];
    uint64_t number = mk_plan_table_slot (plan, t->index, i, mode);

    t->gde = l->gd + 8 * t->index;
    t->gt = (a->gts + number * GT_SECTORS) * MK_SECTOR;
    mk_put64 (gd + 8 * t->index, entry (1, 0) | number);
  }
  r = mk_plan_write_sparse (plan, gd, n, l->gd);
  free (gd);
  return r;
}

static int
write_tables (struct mk_plan *plan)
{
  struct mk_layout *l = plan->l;
  uint8_t *buf = mk_alloc (GTES, 8);
  int r = 0;

  for (size_t i = 0; i < l->n_tables && r == 0; i++) {
    struct mk_table *t = &l->tables[i];

    memset (buf, 0, GTES * 8);
    for (size_t k = t->first; k < t->first + t->n; k++) {
      struct mk_where *w = &l->grains[k];
      size_t at = 8 * (size_t) (w->grain % GTES);
      uint64_t slot = w->data - 1;

      if (w->kind == MK_ZERO)
        mk_put64 (buf + at, entry (2, 0));
      else
        mk_put64 (buf + at, entry (w->kind == MK_DATA ? 3 : 1, slot));
      w->gte = t->gt + at;
    }
    r = mk_plan_write_sparse (plan, buf, GTES * 8, t->gt);
  }
  free (buf);
  return r;
}

/* The bit and the owner of a slot.  The owner's type nibble is 1. */
static int
write_slot_maps (struct mk_plan *plan, const struct areas *a)
{
  struct mk_layout *l = plan->l;
  uint64_t first = plan->spec->first_slot, last = 0;
  uint8_t *bits, b[8];
  size_t n;
  int r;

  for (size_t i = 0; i < l->n_grains; i++)
    if (l->grains[i].data > last)
      last = l->grains[i].data;
  if (last == 0)
    return 0;
  n = (size_t) (last / 8 - first / 8 + 1);
  bits = mk_alloc (n, 1);
  for (size_t i = 0; i < l->n_grains; i++) {
    uint64_t slot = l->grains[i].data - 1;

    if (l->grains[i].data == 0)
      continue;
    bits[slot / 8 - first / 8] |= (uint8_t) (1 << slot % 8);
    mk_put64 (b, entry (1, l->grains[i].grain));
    if (plan->sink->pwrite (plan->sink->opaque, b, sizeof b,
                            a->backmap * MK_SECTOR + 8 * slot) == -1) {
      free (bits);
      return -1;
    }
  }
  r = plan->sink->pwrite (plan->sink->opaque, bits, n,
                          a->bitmap * MK_SECTOR + first / 8);
  free (bits);
  return r;
}

/* Turns slots into places.  A slot that is kept for an unmapped grain holds
 * stale data, which must not be seen.
 */
static int
place_grains (struct mk_plan *plan, const struct areas *a)
{
  struct mk_layout *l = plan->l;
  uint8_t stale[GRAIN];
  uint64_t end = a->grains * MK_SECTOR;

  for (size_t i = 0; i < l->n_grains; i++) {
    struct mk_where *w = &l->grains[i];

    if (w->data == 0)
      continue;
    w->data = a->grains * MK_SECTOR + (w->data - 1) * GRAIN;
    w->stored = GRAIN;
    if (w->kind == MK_DATA && plan->spec->last == MK_LAST_CUT)
      w->stored = mk_plan_valid (plan->spec, w->grain);
    if (w->data + w->stored > end)
      end = w->data + w->stored;
  }
  l->data_start = a->grains * MK_SECTOR;
  l->size = end + plan->spec->slack;
  if (plan->sink->truncate (plan->sink->opaque, l->size) == -1)
    return -1;
  for (size_t i = 0; i < l->n_grains; i++) {
    const struct mk_where *w = &l->grains[i];

    if (w->kind != MK_UNMAPPED)
      continue;
    mk_junk (plan->spec->seed + w->grain, stale, GRAIN);
    if (plan->sink->pwrite (plan->sink->opaque, stale, GRAIN, w->data) == -1)
      return -1;
  }
  return mk_plan_write_grains (plan);
}

int
mk_make_sesparse (const struct mk_spec *spec, const struct mk_sink *sink,
                  struct mk_layout *layout)
{
  struct mk_plan plan;
  struct areas a;
  enum mk_tables mode =
    spec->tables == MK_TABLES_ALL ? MK_TABLES_ALL : MK_TABLES_USED;
  int r = -1;

  if (spec->grain_size != GRAIN) {
    errno = EINVAL;
    return -1;
  }
  if (mk_plan_start (&plan, spec, sink, layout, GTES) == -1)
    return -1;
  lay_out (&plan, &a, give_slots (&plan));
  if (write_headers (&plan, &a, mk_plan_front_tables (&plan, mode)) == -1 ||
      write_directory (&plan, &a, mode) == -1 ||
      write_tables (&plan) == -1 ||
      (!spec->no_backmap && write_slot_maps (&plan, &a) == -1) ||
      place_grains (&plan, &a) == -1)
    goto out;
  r = 0;
 out:
  mk_plan_end (&plan);
  return r;
}
