/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: an extent made of blocks, opened for writing: new blocks
 * go behind the end.
 *
 * What is done to blocks is in write-blocks.c; what tables are, in entries.h.
 * A format says where the next block goes, and how its new tables and
 * counters are written.
 */

#ifndef VD_WRITE_BLOCKS_H
#define VD_WRITE_BLOCKS_H

#include <pthread.h>

#include "write/entries.h"
#include "write/write.h"

struct vd_blocks;

/* One table, from when it is first needed.  Entries are in the order of the
 * machine.
 */
struct vd_block_table {
  uint32_t *entry;              /* per_table of them; NULL: not loaded */
  struct vd_table_place place;
  bool dirty;                   /* in the list */
  bool fresh;                   /* not in the directory yet */
};

struct vd_blocks_ops {
  /* Take the next place, moving b->next on, for a block of table t. */
  int (*allocate) (struct vd_blocks *b, uint64_t t, uint32_t *raw,
                   struct vd_err *err);

  /* May be NULL.  Before the flush: tables that nothing leads to yet. */
  int (*before) (struct vd_blocks *b, struct vd_err *err);
};

struct vd_blocks {
  const struct vd_blocks_ops *ops;
  const struct vd_write_opts *opts;
  const struct vd_image *image;
  struct vd_file *file;         /* for writing; when dry, the image's own */
  struct vd_entries entries;
  uint64_t start, length;       /* on the disk, bytes */
  uint64_t block_size;          /* that of entries */
  uint64_t nr_blocks;           /* entries that there are */
  uint64_t nr_tables;
  struct vd_block_table *table;
  uint64_t *dirty;              /* numbers of tables, room for all */
  size_t nr_dirty;
  size_t alloc_dirty;

  uint64_t next;                /* in the file: where space is free */
  uint64_t size, old_size;      /* of the file: now (or as if), at first */
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

/* Room for the tables, when nr_blocks is known. */
extern int vd_blocks_make_tables (struct vd_blocks *b, struct vd_err *err);
extern int vd_blocks_dirty (struct vd_blocks *b, uint64_t t,
                            struct vd_err *err);

/* Load table t.  It is dirty if its copy differs. */
extern int vd_blocks_load (struct vd_blocks *b, uint64_t t,
                           struct vd_err *err);

/* How many entries table t has. */
static inline uint32_t
vd_blocks_in_table (const struct vd_blocks *b, uint64_t t)
{
  const uint32_t per_table = b->entries.per_table;

  return (uint32_t) vd_min (b->nr_blocks - t * per_table, per_table);
}

#endif /* VD_WRITE_BLOCKS_H */
