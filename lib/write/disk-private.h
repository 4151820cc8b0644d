/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside write/disk: parts (extents), their tables in memory, formats.
 *
 * Locks, in the order in which they may be taken together; none is held over
 * I/O of data or tables:
 *
 *   disk->start_lock    the first change (D6), which is I/O: all who write
 *                       wait for it once
 *   disk->flush_lock    which round of saving is under way
 *   shard->lock         the tables of a shard and the grains being made there
 *   part->place_lock    where the next grain goes.  The file is made longer
 *                       under it, once for many grains.
 *
 * A shard's lock is never held while the map drops something or another
 * shard is looked at.
 */

#ifndef VD_DISK_PRIVATE_H
#define VD_DISK_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "write/disk.h"
#include "write/entries.h"

#define DISK_SHARDS 16u
#define DISK_BUCKETS 64u        /* in each shard */

/* One table in memory.  Entries in the order of the machine. */
struct disk_table {
  uint64_t t;
  struct vd_table_place place;
  bool fresh;                   /* nothing on disk leads to it yet */
  bool dirty;                   /* disk has older entries */
  bool saving;                  /* is being saved, so it stays */
  bool loading;                 /* being read: nothing here is valid */
  unsigned making;              /* grains of it being made, so it stays */
  struct disk_table *hash_next, *newer, *older;
  uint32_t entry[];
};

/* Grains [first, end) are being made by one thread; on its stack. */
struct disk_making {
  uint64_t first, end;
  struct disk_making *next;
};

struct disk_shard {
  pthread_mutex_t lock;
  pthread_cond_t changed;       /* something was read, or made */
  struct disk_table *bucket[DISK_BUCKETS];
  struct disk_table *newest, *oldest;
  struct disk_making *making;
  uint64_t tables, bytes, dirty;
};

struct disk_part;

/* An image of the link, answering from memory.  Stands in the chain in place
 * of the one that reads the file.
 */
struct disk_image {
  struct vd_image image;
  struct vd_format fmt;         /* the same name */
  struct disk_part *part;
};

struct disk_part {
  struct vd_disk *disk;
  bool flat;                    /* plain bytes: no tables */
  struct vd_image *inner;       /* the link's own, which reads the file */
  struct disk_image *image;     /* NULL: flat */
  struct vd_file *file;         /* for reading and writing */
  bool owns_file;               /* else it is that of another part */
  atomic_bool written;          /* since the last fsync */
  uint64_t start, length;       /* on the disk */
  uint64_t flat_start;

  struct vd_entries entries;
  uint64_t grain_size;
  uint64_t stored_size;         /* with what stands in front: VDI */
  uint64_t align;               /* of the place of a grain */
  uint64_t nr_grains, nr_tables;
  uint32_t per_table;
  bool trim_needs_entry;        /* no trim by stored zeros: small grains */
  uint64_t max_size;            /* of the file: what entries can express */

  /* A bit for each table of which an entry was changed: the file alone no
   * longer answers for it.
   */
  atomic_uchar *changed;

  bool sound;                   /* for certain: it ends where the file does */
  bool unsettled;               /* some table and its copy differ */
  pthread_mutex_t place_lock;
  uint64_t next;                /* where space is free */
  uint64_t size;                /* of the file: a little more */
  bool counted;                 /* next was not written to the header yet */

  struct disk_shard shard[DISK_SHARDS];
};

struct vd_disk {
  struct vd_chain *chain;
  struct vd_disk_opts opts;
  struct vd_reader *reader;     /* of all */
  struct vd_chain *below_chain; /* all but the newest link, or NULL */
  struct vd_reader *below;
  bool nothing_below;           /* nor underneath: zeros */
  struct disk_part *part;
  size_t nr_parts;
  uint64_t shard_budget;        /* bytes of tables, in each */
  struct vd_file *descriptor;   /* for writing; NULL: it is in the first part */
  uint64_t descriptor_size;

  pthread_mutex_t start_lock;
  atomic_bool started;          /* D6 was done */
  atomic_bool broken;           /* D8 */

  pthread_mutex_t flush_lock;
  pthread_cond_t flushed;
  uint64_t begun, ended;        /* rounds */
  bool flushing;
  uint64_t failed;              /* the last round that failed */
  struct vd_err flush_err;      /* and why */

  atomic_bool full;             /* a shard is, of tables that are not saved */
  atomic_uint_fast64_t new_grains, saves;
};

/* A table as it was when a round of saving began. */
struct disk_saved {
  struct disk_saved *next;
  struct disk_part *part;
  struct disk_table *table;
  uint64_t t;
  struct vd_table_place place;
  bool fresh, written;
  uint32_t entry[];             /* per_table */
};

/* ---- disk-cache.c: tables in memory -------------------------------------- */

extern int disk_cache_init (struct disk_part *p, struct vd_err *err);
extern void disk_cache_free (struct disk_part *p);

static inline struct disk_shard *
disk_shard_of (struct disk_part *p, uint64_t t)
{
  return &p->shard[t % DISK_SHARDS];
}

/* How many entries table t has. */
static inline uint32_t
disk_in_table (const struct disk_part *p, uint64_t t)
{
  return (uint32_t) vd_min (p->nr_grains - t * p->per_table, p->per_table);
}

/* Table t, read if need be, during which the shard, which is locked, is
 * unlocked.  Valid while it stays locked.
 */
extern struct disk_table *disk_get_table (struct disk_part *p,
                                          struct disk_shard *s, uint64_t t,
                                          struct vd_err *err);

/* An entry of it is about to change.  The shard is locked. */
extern void disk_dirty (struct disk_part *p, struct disk_table *table);

static inline bool
disk_is_changed (const struct disk_part *p, uint64_t t)
{
  return atomic_load (&p->changed[t / 8]) >> (t % 8) & 1;
}

/* Take down all dirty tables of a part, in front of *list. */
extern int disk_take_dirty (struct disk_part *p, struct disk_saved **list,
                            struct vd_err *err);
/* They were saved (written), or not.  Frees the list. */
extern void disk_put_saved (struct disk_saved *list);

/* ---- disk-tables.c ---------------------------------------------------------- */

/* Set what a part has to know of its format.  No I/O. */
extern int disk_tables_open (struct disk_part *p, struct vd_err *err);

/* The tables in the file as it was opened, with the size that it had then;
 * p->entries are those that it can have.
 */
extern struct vd_entries disk_tables_as_opened (const struct disk_part *p);

/* Read a table; dirty if its copy differs. */
extern int disk_tables_load (struct disk_part *p, struct disk_table *table,
                             struct vd_err *err);

/* Find a place for a new one; place_lock is held. */
extern int disk_tables_place (struct disk_part *p, struct disk_table *table,
                              struct vd_err *err);

/* Behind the mark: what a cut left between tables and their copies, everywhere,
 * since a clean end takes the mark away.
 */
extern int disk_tables_settle (struct disk_part *p, struct vd_err *err);

/* Where is nothing in use any more?  Goes through all tables, and sets
 * p->unsettled on the way.
 */
extern int disk_tables_find_end (struct disk_part *p, uint64_t *end,
                                 struct vd_err *err);

/* Did the file have these bytes when it was opened? */
static inline bool
disk_holds (const struct disk_part *p, uint64_t where, uint64_t n)
{
  const uint64_t size = p->inner->file->size;

  return where <= size && n <= size - where;
}

/* ---- disk-grains.c: writing to one part ---------------------------------- */

enum disk_mode { DISK_WRITE, DISK_ZERO, DISK_TRIM };

/* offset: of the part.  buf: NULL unless DISK_WRITE. */
extern int disk_grains_write (struct disk_part *p, const struct vd_base *base,
                              enum disk_mode mode, const uint8_t *buf,
                              uint64_t n, uint64_t offset,
                              struct vd_err *err);

/* Take n bytes from the end of the file.  place_lock is held. */
extern int disk_claim (struct disk_part *p, uint64_t n, uint64_t align,
                       uint64_t *where, struct vd_err *err);

/* ---- disk-below.c: what lies below the newest link ------------------------ */

/* offset: of the disk. */
extern int disk_below_read (struct vd_disk *disk, const struct vd_base *base,
                            void *buf, uint64_t n, uint64_t offset,
                            struct vd_err *err);

/* Does it read as zeros there, as far as that can be told without reading?
 * 1, 0, -1; and for how much of *n bytes this is the answer.
 */
extern int disk_below_zero (struct vd_disk *disk, const struct vd_base *base,
                            uint64_t offset, uint64_t *n, struct vd_err *err);

/* ---- disk-map.c ----------------------------------------------------------- */

/* Put images that answer from memory into the chain, and take them out. */
extern int disk_map_attach (struct disk_part *p, size_t piece,
                            struct vd_err *err);
extern void disk_map_detach (struct disk_part *p, size_t piece);

/* ---- disk-sound.c ---------------------------------------------------------- */

/* KDMV, COWD: is everything in the file in one place, and for itself?  1: for
 * certain; 0: perhaps; -1.
 */
extern int disk_is_sound (const struct disk_part *p, struct vd_err *err);

/* ---- disk-start.c ---------------------------------------------------------- */

/* D6, D7.  Called by all who write, before they do. */
extern int disk_start (struct vd_disk *disk, struct vd_err *err);

/* ---- disk-flush.c ----------------------------------------------------------- */

/* A round of saving that begins from now on. */
extern int disk_save (struct vd_disk *disk, struct vd_err *err);

/* fsync what was written. */
extern int disk_sync (struct vd_disk *disk, bool all, struct vd_err *err);

#endif /* VD_DISK_PRIVATE_H */
