/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What is free in the guest, for compaction; see guest.h.
 *
 * A unit that is free becomes zeros, so this is the one part of compaction that
 * changes what a disk reads as.  Who reads that disk without its file system, an
 * image that stands on it or a delta that will be laid over it, would see the
 * change.  So nothing may stand on it, and it may stand on nothing: in a child the
 * parent's blocks would be needed too, and merging comes first.
 */

#include "chain/chain.h"
#include "chain/children.h"
#include "compact/compact-parts.h"
#include "read/reader.h"

struct disk {
  struct vd_compact_state *st;
  struct vd_reader *reader;     /* or a raw file */
  struct vd_file *file;
};

static int
disk_read (void *opaque, void *buf, size_t n, uint64_t offset,
           struct vd_err *err)
{
  const struct disk *d = opaque;
  const struct vd_base none = { .align = 1 };

  return d->reader ? vd_read (d->reader, &none, buf, n, offset, err)
    : vd_file_pread (d->file, buf, n, offset, err);
}

static int
disk_tell (void *opaque, struct vd_err *err)
{
  const struct disk *d = opaque;

  return vd_compact_tell (d->st, VD_COMPACT_LOOK, 0, err);
}

static int
check_alone (const struct vd_link *link, const struct vd_opts *opts,
             struct vd_err *err)
{
  if (link->role != VD_ROLE_BASE)
    return vd_fail (err, VD_UNSUPPORTED, "%s is a snapshot, and the free space "
                    "of a guest is given back in a base only: merge it into "
                    "its parent first (vmdkdelta merge), or leave out "
                    "--free-space", link->path);
  if (vd_check_no_children (link, opts, err) == 0)
    return 0;
  vd_err_append (err, ".  --free-space changes what is free in the guest, and "
                 "the snapshot would show that: merge it first");
  return -1;
}

static int
scan (struct disk *d, uint64_t size, struct vd_guest **guest,
      struct vd_err *err)
{
  const struct vd_compact_opts *opts = d->st->opts;
  const struct vd_guest_disk disk = {
    .read = disk_read, .opaque = d, .size = size,
  };
  /* No unit is smaller, but for odd grains, which lose some. */
  const struct vd_guest_opts how = {
    .swap = opts->free_space == VD_FREE_SWAP, .unit = 4096,
    .tell = disk_tell, .opaque = d,
  };
  struct vd_guest *g = vd_guest_scan (&disk, &how, err);
  size_t i;

  if (!g)
    return -1;
  for (i = 0; opts->found && i < g->nr_parts; ++i)
    opts->found (opts->opaque, &g->part[i]);
  if (vd_guest_check_clean (g, err) == -1) {
    vd_guest_free (g);
    return -1;
  }
  *guest = g;
  return 0;
}

static int
scan_link (struct vd_link *link, struct vd_compact_state *st,
           struct vd_guest **guest, struct vd_err *err)
{
  const struct vd_opts opts = { .headers = false };
  struct disk d = { .st = st };
  struct vd_chain *chain;
  int r = -1;

  if (check_alone (link, &opts, err) == -1)
    return -1;
  chain = vd_chain_new (&link, 1, &opts, err);
  if (chain)
    d.reader = vd_reader_new (chain, VD_MAP_DEFAULT_BUDGET, err);
  if (d.reader)
    r = scan (&d, link->capacity, guest, err);
  vd_reader_free (d.reader);
  vd_chain_free (chain);
  return r;
}

int
vd_compact_guest (struct vd_link *link, struct vd_file *file,
                  struct vd_compact_state *st, struct vd_guest **guest,
                  struct vd_err *err)
{
  struct disk d = { .st = st, .file = file };
  int r;

  *guest = NULL;
  if (st->opts->free_space == VD_FREE_KEPT)
    return 0;
  if (vd_guest_known ()[0] == '\0')
    return vd_fail (err, VD_UNSUPPORTED, "this vmdkdelta cannot read the file "
                    "systems of guests: it was built without libext2fs "
                    "(package libext2fs-dev or e2fsprogs-devel)");
  r = link ? scan_link (link, st, guest, err)
    : scan (&d, file->size, guest, err);
  if (r == -1)
    vd_err_prefix (err, "%s: nothing was written: ",
                   link ? link->path : file->name);
  return r;
}

int
vd_compact_job_free (struct vd_compact_job *job, uint64_t start,
                     const struct vd_guest *guest, struct vd_err *err)
{
  struct vd_free_units *u = &job->free;
  uint64_t block;
  size_t i, n = 0;

  if (!guest || !job->fmt)
    return 0;
  if (job->fmt->has_slots)
    return vd_guest_units (guest, start, job->length, job->image->grain_size,
                           u, err);
  /* A flat extent is a part of its file, in which it may lie anywhere, and holes
   * are in blocks of the file.
   */
  block = vd_compact_block_size (job->file);
  if (vd_guest_units (guest, start, job->length, 1, u, err) == -1)
    return -1;
  for (i = 0; i < u->n; ++i) {
    const uint64_t a = vd_div_up (job->start + u->range[i].start, block);
    const uint64_t b = (job->start + u->range[i].end) / block;

    if (a < b)
      u->range[n++] = (struct vd_free_range) { a * block, b * block };
  }
  u->n = n;
  return 0;
}
