/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The cache of inflated grains; see grain-cache.h.  Entries are replaced in turn:
 * the use is several small reads of one grain shortly after each other.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "read/grain-cache.h"

#define MAX_ENTRIES 256u

struct entry {
  uint64_t grain;
  uint32_t slot;
  size_t size;                  /* 0 = unused */
  uint8_t *data;
};

struct vd_grains {
  pthread_mutex_t lock;         /* protects everything below */
  size_t nr_entries;
  size_t next;
  struct entry entry[MAX_ENTRIES];
};

struct vd_grains *
vd_grains_new (uint64_t budget, uint64_t max_grain, struct vd_err *err)
{
  struct vd_grains *g = calloc (1, sizeof *g);

  if (!g) {
    vd_fail_nomem (err);
    return NULL;
  }
  pthread_mutex_init (&g->lock, NULL);
  g->nr_entries
    = (size_t) vd_min (MAX_ENTRIES, budget / vd_max (max_grain, 1));
  return g;
}

void
vd_grains_free (struct vd_grains *g)
{
  size_t i;

  if (!g)
    return;
  for (i = 0; i < g->nr_entries; ++i)
    free (g->entry[i].data);
  pthread_mutex_destroy (&g->lock);
  free (g);
}

static struct entry *
find (struct vd_grains *g, uint32_t slot, uint64_t grain)
{
  size_t i;

  for (i = 0; i < g->nr_entries; ++i) {
    struct entry *e = &g->entry[i];

    if (e->size > 0 && e->grain == grain && e->slot == slot)
      return e;
  }
  return NULL;
}

bool
vd_grains_get (struct vd_grains *g, uint32_t slot, uint64_t grain,
               size_t skip, void *buf, size_t n)
{
  LOCK_FOR_SCOPE (&g->lock);
  const struct entry *e = find (g, slot, grain);

  if (!e)
    return false;
  memcpy (buf, e->data + skip, n);
  return true;
}

void
vd_grains_put (struct vd_grains *g, uint32_t slot, uint64_t grain,
               const void *data, size_t size)
{
  LOCK_FOR_SCOPE (&g->lock);
  struct entry *e;

  if (g->nr_entries == 0 || find (g, slot, grain))
    return;
  e = &g->entry[g->next];
  g->next = (g->next + 1) % g->nr_entries;
  if (e->size != size) {
    free (e->data);
    e->size = 0;
    e->data = malloc (size);
    if (!e->data)
      return;
  }
  memcpy (e->data, data, size);
  e->size = size;
  e->slot = slot;
  e->grain = grain;
}
