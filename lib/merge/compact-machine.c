/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Compacting the disks of a VirtualBox machine; see compact-machine.h. */

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "merge/compact-machine.h"
#include "merge/merge.h"

struct disk {
  const struct vd_vbox_medium *base;
  const struct vd_member *member;
  char *name;
};

struct machine {
  const struct vd_opts *opts;
  const struct vd_compact_machine_opts *how;
  struct vd_vbox *box;
  struct vd_family *family;
  struct disk *disk;
  size_t nr;
};

static void
machine_close (struct machine *m)
{
  size_t i;

  for (i = 0; i < m->nr; ++i)
    free (m->disk[i].name);
  free (m->disk);
  vd_family_free (m->family);
  vd_vbox_free (m->box);
}

void
vd_compact_add (struct vd_compact_result *sum,
                const struct vd_compact_result *r)
{
  sum->looked += r->looked;
  sum->zeros += r->zeros;
  sum->free += r->free;
  sum->kept += r->kept;
  sum->unused += r->unused;
  sum->moved += r->moved;
  sum->stuck += r->stuck;
  sum->size_before += r->size_before;
  sum->size_after += r->size_after;
  sum->allocated_before += r->allocated_before;
  sum->allocated_after += r->allocated_after;
  sum->changed = sum->changed || r->changed;
}

static bool
is_known (const struct machine *m, const struct vd_vbox_medium *base)
{
  size_t i;

  for (i = 0; i < m->how->nr_except; ++i)
    if (memcmp (m->how->except[i], base->uuid, 16) == 0)
      return true;
  for (i = 0; i < m->nr; ++i)
    if (m->disk[i].base == base)
      return true;
  return false;
}

static int
add_base (struct machine *m, const struct vd_vbox_medium *base,
          struct vd_err *err)
{
  struct disk *d = &m->disk[m->nr];

  if (is_known (m, base))
    return 0;
  if (!m->how->disk && !vd_vbox_is_normal (base)) {
    vd_warn (&m->opts->log, "%s is of type %s and is not compacted",
             base->location, base->type);
    return 0;
  }
  d->base = base;
  d->name = vd_vbox_disk_name (m->box, base, err);
  if (!d->name)
    return -1;
  m->nr++;
  d->member = vd_vbox_add_medium (m->box, base, m->family, err);
  /* What is loaded can be compared with what is compacted then. */
  return d->member ? vd_link_load (d->member->link, m->opts, err) : -1;
}

static int
machine_open (struct machine *m, const char *path, struct vd_err *err)
{
  const struct vd_vbox_medium *only = NULL, *top;
  size_t i;

  m->box = vd_vbox_open_whole (path, m->opts, err);
  m->family = m->box ? vd_family_new (m->opts, err) : NULL;
  if (!m->family ||
      vd_vbox_check_off (m->box, &m->opts->log, err) == -1 ||
      vd_vbox_check_registry (m->box, err) == -1 ||
      vd_vbox_check_named (m->box, m->opts, err) == -1)
    return -1;
  if (m->how->disk) {
    only = vd_vbox_find_disk (m->box, m->how->disk, err);
    if (!only)
      return -1;
  }
  m->disk = calloc (m->box->current.n + 1, sizeof *m->disk);
  if (!m->disk)
    return vd_fail_nomem (err);
  for (i = 0; i < m->box->current.n; ++i) {
    top = m->box->current.attached[i].medium;
    if (top && (!only || vd_vbox_disk (top) == only) &&
        add_base (m, vd_vbox_disk (top), err) == -1)
      return -1;
  }
  return 0;
}

/* Nothing of an interrupted merge is changed, of one disk's chain either. */
static int
check_no_journal (const struct machine *m, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < m->nr; ++i)
    if (vd_merge_check_pending (m->disk[i].member->link->path, m->opts,
                                err) == -1)
      return -1;
  return 0;
}

/* A guest that was not shut down is no reason to keep zeros too. */
static int
compact_one (const struct machine *m, const struct disk *d,
             struct vd_compact_opts *how, struct vd_compact_result *result,
             struct vd_err *err)
{
  const char *path = d->member->link->path;
  const enum vd_compact_free wanted = how->free_space;
  int r = vd_compact_in_place (path, m->opts, how, result, err);

  if (r == -1 && wanted != VD_FREE_KEPT && !result->changed &&
      (err->code == VD_UNSUPPORTED || err->code == VD_CORRUPT ||
       err->code == VD_DENIED)) {
    vd_warn (&m->opts->log, "%s: the free space of the guest stays: %s",
             d->name, err->msg);
    how->free_space = VD_FREE_KEPT;
    r = vd_compact_in_place (path, m->opts, how, result, err);
    how->free_space = wanted;
  }
  return r;
}

static int
compact_all (const struct machine *m, struct vd_compact_result *sum,
             size_t *nr, struct vd_err *err)
{
  struct vd_compact_opts how = m->how->how;
  struct vd_compact_result result;
  size_t i;

  for (i = 0; i < m->nr; ++i) {
    const struct disk *d = &m->disk[i];

    how.same = d->member->link;
    memset (&result, 0, sizeof result);
    if (compact_one (m, d, &how, &result, err) == -1) {
      if (err->code != VD_UNSUPPORTED)
        return -1;
      vd_warn (&m->opts->log, "%s is not compacted: %s", d->name, err->msg);
      continue;
    }
    vd_compact_add (sum, &result);
    ++*nr;
    if (m->how->done)
      m->how->done (m->how->opaque, d->name, &result);
  }
  return 0;
}

int
vd_compact_machine (const char *path, const struct vd_opts *opts,
                    const struct vd_compact_machine_opts *how,
                    struct vd_compact_result *sum, size_t *nr,
                    struct vd_err *err)
{
  struct machine m = { .opts = opts, .how = how };
  int r;

  memset (sum, 0, sizeof *sum);
  *nr = 0;
  r = vd_merge_check_pending (path, opts, err);
  if (r == 0)
    r = machine_open (&m, path, err);
  if (r == 0)
    r = check_no_journal (&m, err);
  if (r == 0)
    r = compact_all (&m, sum, nr, err);
  machine_close (&m);
  return r;
}
