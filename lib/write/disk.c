/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A disk: opening, closing, and requests cut into parts; see disk.h. */

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "chain/link-files.h"
#include "file/inuse.h"
#include "write/disk-private.h"
#include "write/write.h"

/* Of the budget: for the map of the disk, and for that of what lies below it;
 * the rest is for tables.
 */
#define MAP_SHARE 2
#define BELOW_SHARE 4

/* ---- Files ----------------------------------------------------------------- */

static struct vd_file *
reopen (const struct vd_disk *disk, const struct vd_file *ro,
        struct vd_err *err)
{
  struct vd_file *file;

  if (disk->opts.reopen)
    return disk->opts.reopen (disk->opts.opaque, ro, err);
  if (vd_check_no_writer (ro, err) == -1)
    return NULL;
  file = vd_file_reopen_rw (ro, err);
  if (file && vd_file_lock (file, true, err) == -1) {
    vd_file_close (file);
    return NULL;
  }
  if (file)
    file->data_only = true;     /* guests flush often */
  return file;
}

/* Two flat extents may lie in one file. */
static int
open_file (struct vd_disk *disk, struct disk_part *p, struct vd_err *err)
{
  const struct disk_part *q;

  for (q = disk->part; q < p; ++q)
    if (vd_file_same (q->file, p->inner->file)) {
      p->file = q->file;
      return 0;
    }
  if (vd_check_unlocked (p->inner->file->name, err) == -1)
    return -1;
  p->file = reopen (disk, p->inner->file, err);
  if (!p->file)
    return -1;
  p->owns_file = true;
  return 0;
}

/* Where the descriptor is, if it is not in the first part. */
static int
open_descriptor (struct vd_disk *disk, struct vd_err *err)
{
  const struct vd_link *link = disk->chain->links[0];
  struct vd_file *ro;

  if (!link->descriptor || (vd_link_own_image (link) && !link->self))
    return 0;
  if (link->self) {
    disk->descriptor = reopen (disk, link->self->file, err);
    return disk->descriptor ? 0 : -1;
  }
  if (vd_check_unlocked (link->path, err) == -1)
    return -1;
  ro = vd_file_open (link->path, err);
  if (!ro)
    return -1;
  if (ro->ino != link->ino || ro->dev != link->dev)
    vd_fail (err, VD_MISMATCH, "%s is not the file any more that it was",
             link->path);
  else
    disk->descriptor = reopen (disk, ro, err);
  disk->descriptor_size = ro->size;
  vd_file_close (ro);
  return disk->descriptor ? 0 : -1;
}

static int
open_part (struct vd_disk *disk, size_t i, struct vd_err *err)
{
  struct disk_part *p = &disk->part[i];
  const struct vd_piece *piece = &disk->chain->links[0]->pieces[i];

  p->disk = disk;
  p->inner = piece->image;
  p->start = piece->start;
  p->length = p->inner->used;
  pthread_mutex_init (&p->place_lock, NULL);
  disk->nr_parts = i + 1;       /* from here on it is closed with the rest */
  p->flat = p->inner->fmt == &vd_format_flat;
  if (open_file (disk, p, err) == -1)
    return -1;
  if (p->flat) {
    p->flat_start = vd_flat_start (p->inner);
    return 0;
  }
  if (disk_tables_open (p, err) == -1 || disk_cache_init (p, err) == -1)
    return -1;
  /* As long as its format can express: its end is known to us, and moves.  (One
   * of 2 TiB was made by somebody who took the last sector too.)
   */
  p->file->size = vd_max (p->max_size, p->file->size);
  return disk_map_attach (p, i, err);
}

/* ---- What lies below -------------------------------------------------------- */

static int
open_below (struct vd_disk *disk, struct vd_err *err)
{
  const struct vd_chain *chain = disk->chain;
  /* It was checked with the whole chain, and what there is to say was said. */
  const struct vd_opts opts = { .ignore_cid = true };
  const size_t n = chain->nr_links - 1;
  CLEANUP_FREE struct vd_link **links = NULL;
  size_t i;

  disk->nothing_below = n == 0 && chain->has_base;
  if (n == 0)
    return 0;
  links = calloc (n, sizeof *links);
  if (!links)
    return vd_fail_nomem (err);
  for (i = 0; i < n; ++i)
    links[i] = chain->links[n - i];
  disk->below_chain = vd_chain_new (links, n, &opts, err);
  if (disk->below_chain)
    disk->below = vd_reader_new (disk->below_chain,
                                 disk->opts.budget / BELOW_SHARE, err);
  return disk->below ? 0 : -1;
}

/* ---- The disk --------------------------------------------------------------- */

void
vd_disk_abandon (struct vd_disk *disk)
{
  size_t i;

  if (!disk)
    return;
  vd_reader_free (disk->reader);
  vd_reader_free (disk->below);
  vd_chain_free (disk->below_chain);
  for (i = 0; i < disk->nr_parts; ++i) {
    struct disk_part *p = &disk->part[i];

    if (p->image)
      disk_map_detach (p, i);
    disk_cache_free (p);
    if (p->owns_file)
      vd_file_close (p->file);
    pthread_mutex_destroy (&p->place_lock);
  }
  vd_file_close (disk->descriptor);
  free (disk->part);
  pthread_cond_destroy (&disk->flushed);
  pthread_mutex_destroy (&disk->flush_lock);
  pthread_mutex_destroy (&disk->start_lock);
  free (disk);
}

static int
open_all (struct vd_disk *disk, struct vd_err *err)
{
  const struct vd_link *link = disk->chain->links[0];
  size_t i;

  disk->part = calloc (link->nr_pieces, sizeof *disk->part);
  if (!disk->part)
    return vd_fail_nomem (err);
  for (i = 0; i < link->nr_pieces; ++i)
    if (open_part (disk, i, err) == -1)
      return -1;
  if (open_descriptor (disk, err) == -1 || open_below (disk, err) == -1)
    return -1;
  disk->reader = vd_reader_new (disk->chain, disk->opts.budget / MAP_SHARE,
                                err);
  return disk->reader ? 0 : -1;
}

struct vd_disk *
vd_disk_open (struct vd_chain *chain, const struct vd_disk_opts *opts,
              struct vd_err *err)
{
  struct vd_disk *disk;

  if (vd_write_check (chain->links[0], err) == -1)
    return NULL;
  disk = calloc (1, sizeof *disk);
  if (!disk) {
    vd_fail_nomem (err);
    return NULL;
  }
  pthread_mutex_init (&disk->start_lock, NULL);
  pthread_mutex_init (&disk->flush_lock, NULL);
  pthread_cond_init (&disk->flushed, NULL);
  disk->chain = chain;
  disk->opts = *opts;
  if (disk->opts.budget == 0)
    disk->opts.budget = VD_MAP_DEFAULT_BUDGET;
  disk->shard_budget = disk->opts.budget / 4 / DISK_SHARDS;
  if (open_all (disk, err) == -1) {
    vd_disk_abandon (disk);
    return NULL;
  }
  return disk;
}

static int
finish_part (struct disk_part *p, struct vd_err *err)
{
  if (p->flat || p->size <= p->next)
    return 0;
  atomic_store (&p->written, true);
  return p->file->ops->truncate (p->file, p->next, err);
}

/* All is saved before any mark goes. */
static int
finish (struct vd_disk *disk, struct vd_err *err)
{
  size_t i;

  if (!atomic_load (&disk->started))
    return 0;
  if (vd_disk_flush (disk, err) == -1)
    return -1;
  for (i = 0; i < disk->nr_parts; ++i)
    if (finish_part (&disk->part[i], err) == -1)
      return -1;
  if (disk_sync (disk, false, err) == -1)
    return -1;
  for (i = 0; i < disk->nr_parts; ++i) {
    struct disk_part *p = &disk->part[i];

    if (p->flat)
      continue;
    if (vd_entries_mark (&p->entries, 0, err) == -1)
      return -1;
    atomic_store (&p->written, true);
  }
  return disk_sync (disk, false, err);
}

int
vd_disk_close (struct vd_disk *disk, struct vd_err *err)
{
  const int r = disk ? finish (disk, err) : 0;

  vd_disk_abandon (disk);
  return r;
}

struct vd_reader *
vd_disk_reader (struct vd_disk *disk)
{
  return disk->reader;
}

/* ---- Requests ---------------------------------------------------------------- */

static int
flat_write (struct disk_part *p, const uint8_t *buf, uint64_t n,
            uint64_t offset, struct vd_err *err)
{
  const uint64_t where = p->flat_start + offset;
  const int r = buf ? vd_file_pwrite (p->file, buf, (size_t) n, where, err)
    : vd_file_zero (p->file, where, n, err);

  atomic_store (&p->written, true);
  return r;
}

static int
request (struct vd_disk *disk, const struct vd_base *base,
         enum disk_mode mode, const uint8_t *buf, uint64_t n, uint64_t offset,
         struct vd_err *err)
{
  struct disk_part *p = disk->part;
  uint64_t len;
  int r = 0;

  if (n > 0 && disk_start (disk, err) == -1)
    return -1;
  for (; n > 0 && r == 0; ++p) {
    if (offset >= p->start + p->length)
      continue;
    len = vd_min (n, p->start + p->length - offset);
    r = p->flat ? flat_write (p, buf, len, offset - p->start, err)
      : disk_grains_write (p, base, mode, buf, len, offset - p->start, err);
    buf = buf ? buf + len : NULL;
    offset += len;
    n -= len;
  }
  /* Tables that cannot be dropped because they are not saved. */
  if (r == 0 && atomic_load (&disk->full))
    r = disk_save (disk, err);
  return r;
}

int
vd_disk_write (struct vd_disk *disk, const struct vd_base *base,
               const void *buf, size_t n, uint64_t offset, struct vd_err *err)
{
  return request (disk, base, DISK_WRITE, buf, n, offset, err);
}

int
vd_disk_zero (struct vd_disk *disk, const struct vd_base *base, uint64_t n,
              uint64_t offset, struct vd_err *err)
{
  return request (disk, base, DISK_ZERO, NULL, n, offset, err);
}

int
vd_disk_trim (struct vd_disk *disk, const struct vd_base *base, uint64_t n,
              uint64_t offset, struct vd_err *err)
{
  return request (disk, base, DISK_TRIM, NULL, n, offset, err);
}

int
vd_disk_flush (struct vd_disk *disk, struct vd_err *err)
{
  if (!atomic_load (&disk->started))
    return 0;
  if (atomic_load (&disk->broken))
    return vd_fail (err, VD_IO, "%s: the system failed to write to it before: "
                    "what was lost is not known", disk->chain->links[0]->path);
  return disk_save (disk, err);
}

void
vd_disk_stats (struct vd_disk *disk, struct vd_disk_stats *stats)
{
  size_t i, k;

  *stats = (struct vd_disk_stats) {
    .new_grains = atomic_load (&disk->new_grains),
    .saves = atomic_load (&disk->saves),
  };
  for (i = 0; i < disk->nr_parts; ++i)
    for (k = 0; !disk->part[i].flat && k < DISK_SHARDS; ++k) {
      struct disk_shard *s = &disk->part[i].shard[k];
      LOCK_FOR_SCOPE (&s->lock);

      stats->tables += s->tables;
      stats->table_bytes += s->bytes;
    }
}
