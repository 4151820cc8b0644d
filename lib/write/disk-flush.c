/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Saving tables, in rounds; see D4 and D8 of disk.h.
 *
 * One round is under way at a time, and all who ask while it is share the
 * next one: it begins behind what they were answered.  Writers go on
 * meanwhile; what they enter is for a later round.
 */

#include <inttypes.h>

#include "base/cleanup.h"
#include "write/disk-private.h"

int
disk_sync (struct vd_disk *disk, bool all, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < disk->nr_parts; ++i) {
    struct disk_part *p = &disk->part[i];

    /* Two flat parts may share a file, and each says if it wrote to it. */
    if (!atomic_exchange (&p->written, false) && !all)
      continue;
    if (vd_file_flush (p->file, err) == -1) {
      atomic_store (&disk->broken, true);
      return -1;
    }
  }
  return 0;
}

/* Before the first fsync: how much is in use. */
static int
write_count (struct disk_part *p, struct vd_err *err)
{
  uint64_t next;
  bool counted;
  int r;

  pthread_mutex_lock (&p->place_lock);
  next = p->next;
  counted = p->counted;
  p->counted = true;
  pthread_mutex_unlock (&p->place_lock);
  if (counted)
    return 0;
  r = vd_entries_count (&p->entries, next, err);
  atomic_store (&p->written, true);
  if (r == -1) {
    pthread_mutex_lock (&p->place_lock);
    p->counted = false;
    pthread_mutex_unlock (&p->place_lock);
  }
  return r;
}

/* And new tables, to which nothing leads yet. */
static int
write_before (struct vd_disk *disk, const struct disk_saved *list,
              struct vd_err *err)
{
  size_t i;

  for (i = 0; i < disk->nr_parts; ++i)
    if (!disk->part[i].flat && write_count (&disk->part[i], err) == -1)
      return -1;
  for (; list; list = list->next)
    if (list->fresh) {
      if (vd_entries_put_new (&list->part->entries, &list->place, list->entry,
                              err) == -1)
        return -1;
      atomic_store (&list->part->written, true);
    }
  return 0;
}

/* Then what leads to the copies of new tables, of which there are few: no
 * table is to have its pointer without its copy.
 */
static int
write_leads (struct vd_disk *disk, const struct disk_saved *list,
             struct vd_err *err)
{
  bool any = false;

  for (; list; list = list->next)
    if (list->fresh && list->place.copy != 0) {
      if (vd_entries_link_copy (&list->part->entries, list->t, &list->place,
                                err) == -1)
        return -1;
      atomic_store (&list->part->written, true);
      any = true;
    }
  return any ? disk_sync (disk, false, err) : 0;
}

static int
write_after (const struct disk_saved *list, struct vd_err *err)
{
  for (; list; list = list->next) {
    const struct vd_entries *e = &list->part->entries;
    const int r = list->fresh
      ? vd_entries_link (e, list->t, &list->place, err)
      : vd_entries_store (e, &list->place, list->entry, 0,
                          disk_in_table (list->part, list->t), err);

    if (r == -1)
      return -1;
    atomic_store (&list->part->written, true);
  }
  return 0;
}

/* D4.  What was taken down goes back, as it is on disk if all went well. */
static int
save (struct vd_disk *disk, struct vd_err *err)
{
  struct disk_saved *list = NULL, *s;
  bool any;
  size_t i;
  int r = 0;

  atomic_store (&disk->full, false);
  for (i = 0; r == 0 && i < disk->nr_parts; ++i)
    if (!disk->part[i].flat)
      r = disk_take_dirty (&disk->part[i], &list, err);
  any = list != NULL;
  if (r == 0)
    r = write_before (disk, list, err);
  if (r == 0)
    r = disk_sync (disk, false, err);
  if (r == 0 && any)
    r = write_leads (disk, list, err);
  if (r == 0 && any)
    r = write_after (list, err);
  if (r == 0 && any)
    r = disk_sync (disk, false, err);
  for (s = list; s; s = s->next)
    s->written = r == 0;
  disk_put_saved (list);
  if (r == 0 && any)
    atomic_fetch_add (&disk->saves, 1);
  return r;
}

/* Wait for a round that begins from now on; or do it (true). */
static bool
begin_round (struct vd_disk *disk, uint64_t *mine)
{
  LOCK_FOR_SCOPE (&disk->flush_lock);

  *mine = disk->begun + 1;
  while (disk->flushing && disk->ended < *mine)
    pthread_cond_wait (&disk->flushed, &disk->flush_lock);
  if (disk->ended >= *mine)
    return false;
  *mine = ++disk->begun;
  disk->flushing = true;
  return true;
}

static int
end_round (struct vd_disk *disk, uint64_t mine, int r,
           const struct vd_err *err)
{
  LOCK_FOR_SCOPE (&disk->flush_lock);

  disk->flushing = false;
  disk->ended = mine;
  if (r == -1) {
    disk->failed = mine;
    disk->flush_err = *err;
  }
  pthread_cond_broadcast (&disk->flushed);
  return r;
}

/* What became of the round that was waited for, or of a later one. */
static int
result_of_round (struct vd_disk *disk, uint64_t mine, struct vd_err *err)
{
  LOCK_FOR_SCOPE (&disk->flush_lock);

  if (disk->failed < mine)
    return 0;
  if (err)
    *err = disk->flush_err;
  return -1;
}

int
disk_save (struct vd_disk *disk, struct vd_err *err)
{
  struct vd_err why;
  uint64_t mine;
  int r;

  if (!begin_round (disk, &mine))
    return result_of_round (disk, mine, err);
  r = end_round (disk, mine, save (disk, &why), &why);
  if (r == -1 && err)
    *err = why;
  return r;
}
