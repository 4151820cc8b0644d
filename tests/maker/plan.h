/* Internal to the maker: finding a place for tables and grains. */

#ifndef MK_PLAN_H
#define MK_PLAN_H

#include "maker.h"

struct mk_plan {
  const struct mk_spec *spec;
  const struct mk_sink *sink;
  struct mk_layout *l;
  struct mk_rng rng;
  uint64_t gtes;                /* entries per table */
  uint64_t total_tables;        /* that the capacity asks for */
  size_t *order;                /* of the grains: indexes into l->grains */
  uint64_t *table_slot;         /* ALL and scattered: place of table i */
  uint64_t free;                /* next unused sector */
};

void *mk_alloc (size_t n, size_t size);         /* zeroed, never fails */
void *mk_grow (void *p, size_t n, size_t size);
void mk_put16 (uint8_t *p, uint16_t v);
void mk_put32 (uint8_t *p, uint32_t v);
void mk_put64 (uint8_t *p, uint64_t v);
void mk_junk (uint64_t seed, uint8_t *buf, size_t n);

static inline uint64_t
mk_round_up (uint64_t n, uint64_t unit)
{
  return (n + unit - 1) / unit * unit;
}

static inline uint64_t
mk_div_up (uint64_t n, uint64_t unit)
{
  return (n + unit - 1) / unit;
}

/* Collects the grains that are not holes, their tables, the order. */
int mk_plan_start (struct mk_plan *plan, const struct mk_spec *spec,
                   const struct mk_sink *sink, struct mk_layout *layout,
                   uint64_t gtes);
void mk_plan_end (struct mk_plan *plan);

/* Number of tables that MODE puts in front of the grains. */
uint64_t mk_plan_front_tables (const struct mk_plan *plan,
                               enum mk_tables mode);
/* Place of the I'th table of the directory, of T'th of the used ones. */
uint64_t mk_plan_table_slot (const struct mk_plan *plan, uint64_t i, size_t t,
                             enum mk_tables mode);

/* Places the grains with data in sectors from plan->free on.  GT_SECTORS
 * not 0: tables are placed before their first grain, COPIES of each.
 */
void mk_plan_grains (struct mk_plan *plan, uint64_t align,
                     uint64_t gt_sectors, unsigned copies);

/* Bytes of the grain below the capacity. */
uint64_t mk_plan_valid (const struct mk_spec *spec, uint64_t grain);
/* Puts content into BUF and returns how many bytes are to be stored. */
size_t mk_plan_content (const struct mk_spec *spec, uint64_t grain,
                        uint8_t *buf);
/* Writes all grains of kind MK_DATA that have a place. */
int mk_plan_write_grains (struct mk_plan *plan);
/* pwrite that leaves blocks of zeros alone. */
int mk_plan_write_sparse (struct mk_plan *plan, const uint8_t *buf,
                          size_t n, uint64_t off);

int mk_make_cowd (const struct mk_spec *spec, const struct mk_sink *sink,
                  struct mk_layout *layout);
int mk_make_kdmv (const struct mk_spec *spec, const struct mk_sink *sink,
                  struct mk_layout *layout);
int mk_make_stream (const struct mk_spec *spec, const struct mk_sink *sink,
                    struct mk_layout *layout);
int mk_make_sesparse (const struct mk_spec *spec, const struct mk_sink *sink,
                      struct mk_layout *layout);

/* Shared by KDMV and streams. */
void mk_kdmv_header (const struct mk_spec *spec, uint8_t h[MK_SECTOR],
                     uint32_t version, uint32_t flags);
/* Sector behind header and descriptor; the fields are put into H. */
uint64_t mk_kdmv_descriptor_place (const struct mk_spec *spec, uint8_t *h);
int mk_kdmv_write_descriptor (const struct mk_spec *spec,
                              const struct mk_sink *sink);
int mk_kdmv_front_directories (struct mk_plan *plan, enum mk_tables mode,
                               uint64_t first, uint8_t *h);
int mk_kdmv_write_tables (struct mk_plan *plan);
int mk_kdmv_write_directories (struct mk_plan *plan, enum mk_tables mode);

#endif /* MK_PLAN_H */
