/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The tables of an image that exists, read and written.
 *
 * VDI, KDMV and COWD have this in common: tables of 32-bit entries, each of
 * which finds a block of the file, or says that there is none.  Here is what
 * is so for whoever changes them: where a table and its redundant copy are, in
 * which order the two are written, what an entry means, where the header
 * counts and marks.  When something is written, and where the next block goes,
 * is the business of those who use it: write-blocks.h puts new blocks behind
 * the end, compact-slots.h moves the last ones into gaps.
 *
 *     vd_entries_open (&e, image, image->file, file, 0);
 *     vd_entries_load (&e, t, raw, &n, &place, &err);
 *     raw[i] = vd_entries_raw (&e, where);
 *     vd_entries_store (&e, &place, raw, i, 1, &err);
 *
 * Invariants:
 *
 * E1. The copy of a table is written before the table, and a pointer to the
 *     copy before the pointer to the table: the table is what is read.  So a
 *     writer that was cut off leaves the old table, which is whole, and at
 *     the most a copy that is ahead of it.
 * E2. A table that nothing leads to yet (vd_entries_put_new) has to be on the
 *     disk, as has the content of all blocks that it names, before something
 *     does (vd_entries_link).  The flush between them is the caller's.
 * E3. Nothing is kept here: no cache, no lock.  Any number of threads may use
 *     the functions at the same time, but not for one table if one of them
 *     writes it.
 */

#ifndef VD_ENTRIES_H
#define VD_ENTRIES_H

#include "format/grain-tables.h"

/* No table has more: arrays of this size do for every image. */
#define VD_ENTRIES_MAX 4096u

struct vd_entries_ops;

struct vd_entries {
  const struct vd_entries_ops *ops;
  const struct vd_image *image; /* borrowed */
  struct vd_file *from, *file;  /* borrowed: to read, and to write */
  uint32_t per_table;           /* entries of a table */
  uint64_t nr_tables;           /* that the image has, or has room for */
  uint64_t block_size;          /* bytes of the disk behind an entry */
  uint64_t stored_size;         /* in the file: VDI may have something in
                                   front of a block */
  uint32_t absent;              /* the entry for "not here" */
  uint32_t zero;                /* the entry for zeros, ... */
  bool can_zero;                /* ... if this image may have it */
  bool has_copies;              /* KDMV: there is a redundant directory */
};

/* A table, as the directories have it. */
struct vd_table_place {
  uint64_t where;               /* byte in the file; 0: there is no table */
  uint64_t copy;                /* the same of its copy; 0: none that could be
                                   written */
  uint64_t copy_entry;          /* has_copies: what the directory of copies
                                   says, in bytes; not checked */
  bool bad_copy;                /* that is not a place in the file */
  bool orphan;                  /* it is one, but there is no table */
  bool differs;                 /* set by load: table and copy do */
  bool doubt;                   /* set by load: and of some entry it is not
                                   known which of the two is right */
  uint64_t doubt_entry;         /* the number of the first such grain */
};

/* Of an image for which vd_entries_known is true.  from and file are the same
 * file of the system: `file` is open for writing (see vd_file_reopen_rw), or
 * nothing is written; it need not be readable.  per_table: VDI has one map,
 * which is taken for tables of so many entries; ignored for the others.
 */
extern void vd_entries_open (struct vd_entries *e,
                             const struct vd_image *image,
                             struct vd_file *from, struct vd_file *file,
                             uint32_t per_table);

/* Are its tables known here? */
extern bool vd_entries_known (const struct vd_image *image);

/* Where is table t? */
extern int vd_entries_find (const struct vd_entries *e, uint64_t t,
                            struct vd_table_place *place,
                            struct vd_err *err);

/* A table in doubt must not be written: its entries can be damage, and what
 * the copy has would be lost.  0, or -1 with the way out in err.
 */
extern int vd_entries_sure (const struct vd_entries *e, uint64_t t,
                            const struct vd_table_place *place,
                            struct vd_err *err);

/* Find it and read it into raw[per_table].  *n entries are in the file (0:
 * there is no table), the others are `absent`.
 */
extern int vd_entries_load (const struct vd_entries *e, uint64_t t,
                            uint32_t *raw, size_t *n,
                            struct vd_table_place *place, struct vd_err *err);

/* Write raw[first ... first+n) of a table (E1). */
extern int vd_entries_store (const struct vd_entries *e,
                             const struct vd_table_place *place,
                             const uint32_t *raw, size_t first, size_t n,
                             struct vd_err *err);

/* KDMV, COWD: bytes that a table takes in the file; write a new one, with its
 * copy, at places that are in nobody's use; let the directories name it (E2).
 */
extern uint64_t vd_entries_table_size (const struct vd_entries *e);
extern int vd_entries_put_new (const struct vd_entries *e,
                               const struct vd_table_place *place,
                               const uint32_t *raw, struct vd_err *err);
extern int vd_entries_link (const struct vd_entries *e, uint64_t t,
                            const struct vd_table_place *place,
                            struct vd_err *err);

/* Only what leads to the copy, for who flushes between the two; vd_entries_link
 * follows.
 */
extern int vd_entries_link_copy (const struct vd_entries *e, uint64_t t,
                                 const struct vd_table_place *place,
                                 struct vd_err *err);

/* After a writer of ours was cut off: let the copy of table t say what the table
 * says, since it was written first, and what it may lead to was never flushed;
 * or let it be none where there is no table yet.  A mark that is taken away
 * while they differ would leave a disk of which nobody knows which is right.
 * *changed: something was written.
 */
extern int vd_entries_settle (const struct vd_entries *e, uint64_t t,
                              bool *changed, struct vd_err *err);

/* What an entry says: VD_BASE, VD_ZERO, VD_DATA and where the first byte of
 * disk is in the file, or VD_DAMAGED, into which nothing must be written
 * (where: what it says, for messages).
 * Blocks past the end of the file as it was opened are VD_DATA.
 */
extern struct vd_entry vd_entries_state (const struct vd_entries *e,
                                         uint32_t raw);

/* The entry for a block whose first byte of disk is at `where`. */
extern uint32_t vd_entries_raw (const struct vd_entries *e, uint64_t where);

/* Let the header count that the file is in use up to `end`: too much does no
 * harm, too little lets other writers overwrite data.  KDMV has no counter.
 */
extern int vd_entries_count (const struct vd_entries *e, uint64_t end,
                             struct vd_err *err);

/* The header's mark of a file that is being written: 0 = closed.  COWD has it
 * too; VDI has none, and is always closed.
 */
extern int vd_entries_mark (const struct vd_entries *e, uint8_t unclean,
                            struct vd_err *err);
extern int vd_entries_marked (const struct vd_entries *e, uint8_t *unclean,
                              struct vd_err *err);

/* ---- Formats ------------------------------------------------------------ */

struct vd_entries_ops {
  void (*open) (struct vd_entries *e);
  int (*find) (const struct vd_entries *e, uint64_t t,
               struct vd_table_place *place, struct vd_err *err);
  /* How many entries of table t are in the file. */
  size_t (*count_entries) (const struct vd_entries *e, uint64_t t);
  struct vd_entry (*state) (const struct vd_entries *e, uint32_t raw);
  uint32_t (*raw) (const struct vd_entries *e, uint64_t where);
  int (*link) (const struct vd_entries *e, uint64_t t,
               const struct vd_table_place *place, struct vd_err *err);

  /* May be NULL: of the two entries of a block, is it unknown which is right?
   */
  bool (*doubt) (const struct vd_entries *e, uint64_t block, uint32_t first,
                 uint32_t copy);

  /* These may be NULL. */
  int (*link_copy) (const struct vd_entries *e, uint64_t t,
                    const struct vd_table_place *place, struct vd_err *err);
  int (*unlink_copy) (const struct vd_entries *e, uint64_t t,
                      struct vd_err *err);
  int (*count) (const struct vd_entries *e, uint64_t end,
                struct vd_err *err);
  int mark_offset;              /* in the header; 0: there is none */
  unsigned mark_size;
};

extern const struct vd_entries_ops vd_entries_kdmv;
extern const struct vd_entries_ops vd_entries_cowd;
extern const struct vd_entries_ops vd_entries_vdi;

#endif /* VD_ENTRIES_H */
