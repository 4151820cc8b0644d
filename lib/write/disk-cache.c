/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Tables in memory; see disk-private.h.
 *
 * A table is read when a writer first needs it, and dropped when its shard
 * holds too many bytes, the one that was not used for the longest time first.
 * It stays while it is dirty, being saved or read, or while grains of it are
 * being made.
 */

#include <string.h>

#include "base/cleanup.h"
#include "write/disk-private.h"

int
disk_cache_init (struct disk_part *p, struct vd_err *err)
{
  size_t i;

  p->nr_tables = vd_div_up (p->nr_grains, p->per_table);
  p->changed = calloc ((size_t) (p->nr_tables / 8 + 1), sizeof *p->changed);
  if (!p->changed)
    return vd_fail_nomem (err);
  for (i = 0; i < DISK_SHARDS; ++i) {
    pthread_mutex_init (&p->shard[i].lock, NULL);
    pthread_cond_init (&p->shard[i].changed, NULL);
  }
  return 0;
}

void
disk_cache_free (struct disk_part *p)
{
  struct disk_table *table, *older;
  size_t i;

  if (!p->changed)
    return;
  for (i = 0; i < DISK_SHARDS; ++i) {
    for (table = p->shard[i].newest; table; table = older) {
      older = table->older;
      free (table);
    }
    pthread_cond_destroy (&p->shard[i].changed);
    pthread_mutex_destroy (&p->shard[i].lock);
  }
  free (p->changed);
  p->changed = NULL;
}

static struct disk_table **
find (struct disk_shard *s, uint64_t t)
{
  struct disk_table **p = &s->bucket[t / DISK_SHARDS % DISK_BUCKETS];

  while (*p && (*p)->t != t)
    p = &(*p)->hash_next;
  return p;
}

static void
unlink_from_list (struct disk_shard *s, struct disk_table *table)
{
  *(table->newer ? &table->newer->older : &s->newest) = table->older;
  *(table->older ? &table->older->newer : &s->oldest) = table->newer;
}

static void
push_newest (struct disk_shard *s, struct disk_table *table)
{
  table->newer = NULL;
  table->older = s->newest;
  *(s->newest ? &s->newest->newer : &s->oldest) = table;
  s->newest = table;
}

static uint64_t
table_bytes (const struct disk_part *p)
{
  return sizeof (struct disk_table) + p->per_table * UINT64_C (4);
}

static void
insert (struct disk_part *p, struct disk_shard *s, struct disk_table *table)
{
  struct disk_table **bucket = find (s, table->t);

  table->hash_next = NULL;
  *bucket = table;
  push_newest (s, table);
  s->tables++;
  s->bytes += table_bytes (p);
}

static void
drop (struct disk_part *p, struct disk_shard *s, struct disk_table *table)
{
  unlink_from_list (s, table);
  *find (s, table->t) = table->hash_next;
  s->tables--;
  s->bytes -= table_bytes (p);
  free (table);
}

/* Too many bytes: drop what can be read again.  Where that does not help, who
 * writes next saves tables.
 */
static void
shrink (struct disk_part *p, struct disk_shard *s)
{
  struct disk_table *table = s->oldest, *newer;

  for (; s->bytes > p->disk->shard_budget && table; table = newer) {
    newer = table->newer;
    if (!table->dirty && !table->saving && !table->loading &&
        table->making == 0)
      drop (p, s, table);
  }
  if (s->bytes > p->disk->shard_budget && s->dirty > 0)
    atomic_store (&p->disk->full, true);
}

/* Read a table that is not there; the shard is unlocked meanwhile. */
static struct disk_table *
load (struct disk_part *p, struct disk_shard *s, uint64_t t,
      struct vd_err *err)
{
  struct disk_table *table;
  int r;

  shrink (p, s);
  table = calloc (1, sizeof *table + p->per_table * sizeof table->entry[0]);
  if (!table) {
    vd_fail_nomem (err);
    return NULL;
  }
  table->t = t;
  table->loading = true;
  insert (p, s, table);
  pthread_mutex_unlock (&s->lock);
  r = disk_tables_load (p, table, err);
  pthread_mutex_lock (&s->lock);
  table->loading = false;
  if (table->dirty)
    s->dirty++;
  pthread_cond_broadcast (&s->changed);
  if (r == -1) {
    if (table->dirty)
      s->dirty--;
    drop (p, s, table);
    return NULL;
  }
  return table;
}

struct disk_table *
disk_get_table (struct disk_part *p, struct disk_shard *s, uint64_t t,
                struct vd_err *err)
{
  struct disk_table *table;

  while ((table = *find (s, t)) != NULL && table->loading)
    pthread_cond_wait (&s->changed, &s->lock);
  if (!table)
    return load (p, s, t, err);
  if (s->newest != table) {
    unlink_from_list (s, table);
    push_newest (s, table);
  }
  return table;
}

void
disk_dirty (struct disk_part *p, struct disk_table *table)
{
  const uint64_t t = table->t;

  atomic_fetch_or (&p->changed[t / 8], (unsigned char) (1u << (t % 8)));
  if (!table->dirty) {
    table->dirty = true;
    disk_shard_of (p, t)->dirty++;
  }
}

/* ---- Saving -------------------------------------------------------------- */

static struct disk_saved *
take_down (struct disk_part *p, struct disk_table *table, struct vd_err *err)
{
  const size_t bytes = p->per_table * sizeof table->entry[0];
  struct disk_saved *saved = malloc (sizeof *saved + bytes);

  if (!saved) {
    vd_fail_nomem (err);
    return NULL;
  }
  *saved = (struct disk_saved) {
    .part = p, .table = table, .t = table->t, .place = table->place,
    .fresh = table->fresh,
  };
  memcpy (saved->entry, table->entry, bytes);
  return saved;
}

int
disk_take_dirty (struct disk_part *p, struct disk_saved **list,
                 struct vd_err *err)
{
  struct disk_saved *saved;
  struct disk_table *table;
  size_t i;

  for (i = 0; i < DISK_SHARDS; ++i) {
    struct disk_shard *s = &p->shard[i];
    LOCK_FOR_SCOPE (&s->lock);

    for (table = s->dirty > 0 ? s->newest : NULL; table;
         table = table->older) {
      if (!table->dirty || table->loading)
        continue;
      saved = take_down (p, table, err);
      if (!saved)
        return -1;
      saved->next = *list;
      *list = saved;
      table->saving = true;
      table->dirty = false;
      s->dirty--;
    }
  }
  return 0;
}

void
disk_put_saved (struct disk_saved *list)
{
  struct disk_saved *next;

  for (; list; list = next) {
    struct disk_part *p = list->part;
    struct disk_shard *s = disk_shard_of (p, list->t);

    next = list->next;
    pthread_mutex_lock (&s->lock);
    list->table->saving = false;
    if (!list->written)
      disk_dirty (p, list->table);
    else if (list->fresh)
      list->table->fresh = false;
    shrink (p, s);
    pthread_mutex_unlock (&s->lock);
    free (list);
  }
}
