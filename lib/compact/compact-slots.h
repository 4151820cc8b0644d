/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: tables of places, compacted.
 *
 * What VDI and KDMV have in common: tables (entries.h) with an entry for each
 * unit (block, grain) of the disk, which says in which place of the file it is
 * stored.  Places have one size and lie end to end.  (Those of KDMV may lie
 * elsewhere too; such grains are read, and freed, but not moved.)
 */

#ifndef VD_COMPACT_SLOTS_H
#define VD_COMPACT_SLOTS_H

#include "compact/compact-parts.h"
#include "write/entries.h"

struct vd_slots;

struct vd_slots_ops {
  /* Before the first write; before the file is cut; after it was.  Each
   * followed by a flush.  May be NULL.
   */
  int (*begin) (struct vd_slots *s, struct vd_err *err);
  int (*counted) (struct vd_slots *s, struct vd_err *err);
  int (*end) (struct vd_slots *s, struct vd_err *err);

  /* For a new file: where its place 0 will be; everything but entries and
   * data; the entries of a table.
   */
  int (*new_layout) (struct vd_slots *s, uint64_t *data, struct vd_err *err);
  int (*new_begin) (struct vd_slots *s, struct vd_file *to,
                    struct vd_err *err);
  int (*new_store) (struct vd_slots *s, struct vd_file *to, uint64_t table,
                    const uint32_t *raw, size_t n, struct vd_err *err);
};

struct vd_slots {
  const struct vd_slots_ops *ops;
  struct vd_entries entries;
  struct vd_compact_state *st;
  struct vd_file *file;
  const char *unit_name;        /* "block", "grain" */
  uint64_t capacity;            /* of the disk */
  uint64_t unit;                /* bytes of the disk in one */
  const struct vd_free_units *free;           /* in the guest */
  uint64_t front;               /* bytes before these, in the file */
  uint64_t stride;              /* unit + front */
  int64_t base;                 /* place 0 is here; may be negative */
  uint64_t first_data;          /* no place is below */
  bool can_zero;
  uint32_t zero_entry;
  bool copying;                 /* to a new file: this one is only read */
  bool must_write;              /* there is something to be done */
  bool interrupted;             /* by ourselves: tables may differ from their
                                   copies, which are written anew */
  bool differs;                 /* set by load: those of this table do */

  /* For each place: `used` by a unit that stays stored; `zero`: by (the
   * beginning of) a unit of zeros; `fixed`: by what cannot be moved.
   */
  uint64_t nr;
  uint64_t *used, *zero, *fixed;
  uint64_t nr_used, nr_zero;
  uint64_t fixed_end;           /* byte behind all that is fixed */

  uint64_t new_data;            /* of the new file */

  /* The plan: places below `keep` stay, and take in nr_moves units. */
  uint64_t keep, nr_moves, new_size;
};

static inline bool
vd_bit (const uint64_t *map, uint64_t i)
{
  return map[i / 64] >> i % 64 & 1;
}

static inline void
vd_bit_set (uint64_t *map, uint64_t i)
{
  map[i / 64] |= UINT64_C (1) << i % 64;
}

static inline int64_t
vd_slot_where (const struct vd_slots *s, uint64_t i)
{
  return s->base + (int64_t) (i * s->stride);
}

/* The place in which a byte of the file lies, which is not before base. */
static inline uint64_t
vd_slot_of (const struct vd_slots *s, uint64_t where)
{
  return (uint64_t) ((int64_t) where - s->base) / s->stride;
}

/* Make the bit maps; vd_slots_free afterwards, also on error. */
extern int vd_slots_init (struct vd_slots *s, struct vd_err *err);
extern void vd_slots_free (struct vd_slots *s);

/* Read the entries of a table: as many as there are; 0 where it is not in the
 * file.
 */
extern int vd_slots_load (struct vd_slots *s, uint64_t table, uint32_t *raw,
                          size_t *n, struct vd_err *err);

/* Write some of them back, and their copy. */
extern int vd_slots_store (struct vd_slots *s, uint64_t table,
                           const uint32_t *raw, size_t first, size_t n,
                           struct vd_err *err);

/* Does the entry name a place?  The entry for a place. */
extern bool vd_slots_stored (const struct vd_slots *s, uint32_t raw,
                             uint64_t *where);
extern uint32_t vd_slots_entry (const struct vd_slots *s, uint64_t where);

/* Add what cannot be moved. */
extern void vd_slots_fix (struct vd_slots *s, uint64_t where,
                          uint64_t length);

/* Look at all units; nothing is written. */
extern int vd_slots_look (struct vd_slots *s, struct vd_err *err);

/* Say in the result what will be done. */
extern void vd_slots_plan (struct vd_slots *s);

/* Copy what the file has of [from, end), and zeros for the rest; holes stay
 * holes.  scan is that of the file read; `to` may be the same.
 */
extern int vd_copy_slot (struct vd_zero_scan *scan, struct vd_file *to,
                          uint64_t from, uint64_t end, uint64_t where,
                          struct vd_err *err);

/* Write a new file, of the size that vd_slots_new_size says (compact-copy.c).
 */
extern int vd_slots_new_size (struct vd_slots *s, uint64_t *size,
                              struct vd_err *err);
extern int vd_slots_copy (struct vd_slots *s, struct vd_file *to,
                          struct vd_err *err);

/* Do it (compact-move.c). */
extern int vd_slots_run (struct vd_slots *s, struct vd_err *err);

#endif /* VD_COMPACT_SLOTS_H */
