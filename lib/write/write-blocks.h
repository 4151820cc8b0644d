/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: an extent made of blocks, opened for writing.
 *
 * VDI, KDMV and COWD have this in common: tables of 32-bit entries, each of
 * which finds a block of the file or says that there is none.  What is done
 * to blocks is in write-blocks.c; a format says what its entries mean, where
 * the next block goes, and how its tables and counters are written.
 */

#ifndef VD_WRITE_BLOCKS_H
#define VD_WRITE_BLOCKS_H

#include <pthread.h>

#include "format/grain-tables.h"
#include "write/write.h"

struct vd_blocks;

/* One table, from when it is first needed.  Entries are in the order of the
 * machine.
 */
struct vd_block_table {
  uint32_t *entry;              /* NULL: not loaded */
  uint64_t where;               /* in the file; 0: nowhere yet */
  uint64_t copy;                /* its redundant copy; 0: none */
  bool dirty;                   /* in the list */
  bool fresh;                   /* not in the directory yet */
};

struct vd_blocks_ops {
  /* Read table t.  Sets where and copy, and dirty (by vd_blocks_dirty) if
   * the two differ.
   */
  int (*load) (struct vd_blocks *b, uint64_t t, struct vd_err *err);

  /* VD_BASE, VD_ZERO, or VD_DATA and where its first byte of disk is. */
  struct vd_entry (*state) (const struct vd_blocks *b, uint32_t raw);

  /* Take the next place, moving b->next on, for a block of table t. */
  int (*allocate) (struct vd_blocks *b, uint64_t t, uint32_t *raw,
                   struct vd_err *err);

  /* Before the flush: counters of used space, tables that nothing leads to
   * yet.  Behind it: the dirty tables, and what leads to the new ones.
   */
  int (*before) (struct vd_blocks *b, struct vd_err *err);
  int (*after) (struct vd_blocks *b, struct vd_err *err);

  /* Mark the file as being written, or as complete.  May be NULL. */
  int (*mark) (struct vd_blocks *b, bool unclean, struct vd_err *err);
};

struct vd_blocks {
  const struct vd_blocks_ops *ops;
  const struct vd_write_opts *opts;
  const struct vd_image *image;
  struct vd_file *file;         /* for writing; when dry, the image's own */
  uint64_t start, length;       /* on the disk, bytes */
  uint64_t block_size;
  uint64_t stored_size;         /* with what stands in front: VDI */
  uint64_t nr_blocks;           /* entries that there are */
  uint32_t per_table;           /* entries */
  uint64_t nr_tables;
  struct vd_block_table *table;
  uint64_t *dirty;              /* numbers of tables, room for all */
  size_t nr_dirty;
  size_t alloc_dirty;

  uint64_t next;                /* in the file: where space is free */
  uint64_t size, old_size;      /* of the file: now (or as if), at first */
  uint32_t zero_raw;            /* the entry for zeros, if can_zero */
  bool can_zero;
  bool begun;                   /* marked */
  uint64_t pending;             /* bytes of blocks not in tables on disk */
  struct vd_write_stats stats;
  pthread_mutex_t lock;         /* all of the above, while writing */
};

/* Open an image whose file is (if not dry) open for writing as `file`, which
 * stays the caller's.  length: that the image shall have, not less than what
 * its link uses of it now.
 */
extern struct vd_blocks *vd_blocks_new (const struct vd_image *image,
                                        struct vd_file *file, uint64_t start,
                                        uint64_t length,
                                        const struct vd_write_opts *opts,
                                        struct vd_err *err);
extern void vd_blocks_free (struct vd_blocks *b);

/* Write buf, or zeros if zero, to n bytes at offset of the image. */
extern int vd_blocks_write (struct vd_blocks *b, const uint8_t *buf,
                            bool zero, uint64_t n, uint64_t offset,
                            struct vd_err *err);

/* Enter in the tables what was written.  Nobody writes meanwhile. */
extern int vd_blocks_commit (struct vd_blocks *b, struct vd_err *err);

/* Commit, flush, and mark as complete. */
extern int vd_blocks_finish (struct vd_blocks *b, struct vd_err *err);

/* For the formats: their part of vd_blocks_new. */
extern int vd_blocks_open_vdi (struct vd_blocks *b, uint64_t length,
                               struct vd_err *err);
extern int vd_blocks_open_tables (struct vd_blocks *b, uint64_t length,
                                  struct vd_err *err);

/* Room for the tables, when nr_blocks and per_table are known. */
extern int vd_blocks_make_tables (struct vd_blocks *b, struct vd_err *err);
extern int vd_blocks_dirty (struct vd_blocks *b, uint64_t t,
                            struct vd_err *err);

/* Write a table at a place of the file. */
extern int vd_blocks_put_table (struct vd_blocks *b, uint64_t t,
                                uint64_t where, struct vd_err *err);

/* How many entries table t has. */
static inline uint32_t
vd_blocks_in_table (const struct vd_blocks *b, uint64_t t)
{
  return (uint32_t) vd_min (b->nr_blocks - t * b->per_table, b->per_table);
}

#endif /* VD_WRITE_BLOCKS_H */
