/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Opening a merge, and moving its data; see merge.h. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "merge/merge-private.h"
#include "write/write.h"

char *
vd_merge_real_path (const char *path, dev_t dev, ino_t ino,
                    struct vd_err *err)
{
  CLEANUP_FREE char *real = realpath (path, NULL);
  struct stat st;

  if (!real || lstat (real, &st) == -1) {
    vd_fail_errno (err, errno, "%s: its full name cannot be found", path);
    return NULL;
  }
  if (st.st_ino != ino || st.st_dev != dev) {
    vd_fail (err, VD_MISMATCH, "%s was replaced by another file meanwhile",
             path);
    return NULL;
  }
  return VD_TAKE (real);
}

static void
free_disk (struct vd_merge_disk *d)
{
  vd_reader_free (d->reader);
  vd_reader_free (d->below_reader);
  vd_chain_free (d->merged);
  vd_chain_free (d->below);
  vd_chain_free (d->chain);
  vd_link_close (d->found_child);
  free (d->new_child);
  free (d->new_temp);
  free (d->new_extent);
  free (d->new_extent_temp);
  free (d->branch_child);
  free (d->lost);
  free (d->name);
}

void
vd_merge_free (struct vd_merge *m)
{
  size_t i;

  if (!m)
    return;
  for (i = 0; i < m->nr_disks; ++i)
    free_disk (&m->disk[i]);
  free (m->disk);
  vd_family_free (m->family);
  vd_vbox_free (m->box);
  free (m->dropped);
  free (m->box_path);
  free (m->registry_path);
  free (m->removed);
  while (m->nr_kept > 0)
    free (m->kept[--m->nr_kept]);
  free (m->kept);
  if (m->removals)
    vd_journal_free (m->removals);
  free (m->removals);
  free (m->new_dir);
  free (m->given);
  free (m->top);
  free (m);
}

static int
open_file (struct vd_merge *m, struct vd_err *err)
{
  struct vd_merge_disk *d;

  m->disk = d = calloc (1, sizeof *d);
  if (!d || !(d->name = strdup (m->given)))
    return vd_fail_nomem (err);
  m->nr_disks = 1;
  d->top = vd_family_add (m->family, m->given, err);
  if (!d->top || vd_family_resolve (m->family, d->top, err) == -1 ||
      vd_merge_check_registered (m, err) == -1)
    return -1;
  if (vd_merge_plan_disk (m, d, err) == -1)
    return -1;
  return m->how.snapshot ? vd_merge_name_snapshot (m, err) : 0;
}

static void
add_numbers (struct vd_merge *m)
{
  size_t i;

  for (i = 0; i < m->nr_disks; ++i) {
    const struct vd_merge_numbers *n = &m->disk[i].numbers;

    m->numbers.data_bytes += n->data_bytes;
    m->numbers.zero_bytes += n->zero_bytes;
    m->numbers.one_by_one += n->one_by_one;
    m->numbers.new_blocks += n->new_blocks;
    m->numbers.growth += n->growth;
    m->numbers.space += n->space;
    m->numbers.freed += n->freed;
  }
}

struct vd_merge *
vd_merge_open (const char *name, const struct vd_merge_opts *how,
               const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_merge *m = calloc (1, sizeof *m);

  if (m) {
    m->how = *how;
    m->opts = *opts;
    m->opts.for_writing = true;
    m->opts.own_marks = true;
  }
  if (!m || !(m->given = strdup (name)) ||
      !(m->family = vd_family_new (&m->opts, err))) {
    vd_merge_free (m);
    vd_fail_nomem (err);
    return NULL;
  }
  m->top = vd_journal_top (name, err);
  if (!m->top) {
    vd_merge_free (m);
    return NULL;
  }
  if (how->drop && !vd_vbox_probe (name)) {
    vd_fail (err, VD_USAGE, "%s is not a machine: only of a machine can "
             "snapshots be dropped by name", name);
    vd_merge_free (m);
    return NULL;
  }
  if ((vd_vbox_probe (name) ? vd_merge_open_machine (m, err)
       : open_file (m, err)) == -1 ||
      vd_merge_check_files (m, err) == -1 ||
      vd_merge_check_clones (m, err) == -1 ||
      vd_merge_check_space (m, err) == -1 ||
      vd_merge_note_removals (m, err) == -1) {
    vd_merge_free (m);
    return NULL;
  }
  add_numbers (m);
  return m;
}

/* ---- The data ----------------------------------------------------------- */

struct phase {
  vd_merge_progress_fn fn;
  void *opaque;
  const char *name;
  uint64_t before, total;
};

static int
report (void *opaque, uint64_t done)
{
  const struct phase *p = opaque;

  return p->fn ? p->fn (p->opaque, p->name, p->before + done, p->total) : 0;
}

/* A chain as a file to read. */
struct view {
  struct vd_file file;
  struct vd_reader *reader;
};

static const struct vd_base nothing = { .align = 1 };

static int
view_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  return vd_read (((struct view *) f)->reader, &nothing, buf, n, offset, err);
}

static int
view_extents (struct vd_file *f, uint64_t offset, uint64_t length,
              vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  return vd_status (((struct view *) f)->reader, &nothing, offset, length,
                    false, fn, opaque, err);
}

static const struct vd_file_ops view_ops = {
  .pread = view_pread, .extents = view_extents,
};

static void
close_link (struct vd_link **link)
{
  vd_link_close (*link);
}

static void
free_chain (struct vd_chain **chain)
{
  vd_chain_free (*chain);
}

static void
free_reader (struct vd_reader **reader)
{
  vd_reader_free (*reader);
}

/* Open the target again, with the ordinary reader, and compare. */
static int
verify (const struct vd_merge *m, const struct vd_merge_disk *d,
        const struct vd_apply_opts *apply, struct vd_err *err)
{
  struct vd_opts quiet = m->opts;
  const size_t n = d->below ? d->below->nr_links + 1 : 1;
  CLEANUP_FREE struct vd_link **links = calloc (n, sizeof *links);
  VD_CLEANUP (close_link) struct vd_link *fresh = NULL;
  VD_CLEANUP (free_chain) struct vd_chain *chain = NULL;
  VD_CLEANUP (free_reader) struct vd_reader *reader = NULL;
  struct view view = { .file = { .ops = &view_ops } };
  size_t i;

  quiet.log.fn = NULL;
  quiet.ignore_cid = true;
  if (!links)
    return vd_fail_nomem (err);
  fresh = vd_link_open (d->target->path, &quiet, err);
  if (!fresh)
    return -1;
  if (fresh->ino != d->target->ino || fresh->dev != d->target->dev)
    return vd_fail (err, VD_MISMATCH, "%s was replaced by another file while "
                    "it was written", d->target->path);
  /* The descriptor of a target that grew still has the old size. */
  if (fresh->capacity < d->capacity) {
    fresh->pieces[fresh->nr_pieces - 1].image->used
      += d->capacity - fresh->capacity;
    fresh->capacity = d->capacity;
  }
  for (i = 0; i + 1 < n; ++i)
    links[i] = d->below->links[d->below->nr_links - 1 - i];
  links[n - 1] = fresh;
  chain = vd_chain_new (links, n, &quiet, err);
  reader = chain ? vd_reader_new (chain, UINT64_C (1) << 20, err) : NULL;
  if (!reader)
    return -1;
  view.reader = reader;
  view.file.name = fresh->path;
  view.file.size = chain->size;
  return vd_apply_verify (d->reader, &view.file, apply, err);
}

static int
report_compact (void *opaque, enum vd_compact_phase phase, uint64_t done,
                uint64_t total)
{
  const struct phase *p = opaque;

  (void) phase;
  return p->fn ? p->fn (p->opaque, "compacting", done, total) : 0;
}

/* Before it is verified, so that a run that was cut off here is repeated. */
static int
compact (const struct vd_merge *m, struct vd_merge_disk *d,
         struct phase *phase, struct vd_err *err)
{
  const struct vd_compact_opts how = {
    .same = d->target, .progress = report_compact, .opaque = phase,
  };
  struct vd_opts quiet = m->opts;

  quiet.log.fn = NULL;
  if (!m->how.compact)
    return 0;
  if (vd_compact_in_place (d->target->path, &quiet, &how, &d->compact,
                           err) == 0) {
    d->compacted = true;
    return 0;
  }
  if (err->code != VD_UNSUPPORTED)
    return -1;
  vd_warn (&m->opts.log, "not compacted: %s", err->msg);
  return 0;
}

static int
run_disk (struct vd_merge *m, struct vd_merge_disk *d, struct phase *phase,
          struct vd_err *err)
{
  const struct vd_write_opts how = {
    .below = d->below_reader, .capacity = d->capacity,
    .skip_zeros = m->how.compact,
  };
  const struct vd_apply_opts apply = {
    .threads = m->how.threads, .exact_zeros = true, .progress = report,
    .opaque = phase,
  };
  const uint64_t bytes = d->numbers.data_bytes + d->numbers.zero_bytes;
  struct vd_file *target;
  int r;

  if (d->nr == 0)
    return 0;
  target = vd_write_open (d->target, &how, err);
  if (!target)
    return -1;
  m->begun = true;
  phase->name = "merging";
  r = vd_apply (d->reader, target, &apply, err);
  if (r == 0)
    r = vd_write_finish (target, err);
  vd_file_close (target);
  if (r == 0)
    r = compact (m, d, phase, err);
  if (r == -1)
    return -1;
  phase->before += bytes;
  phase->name = "verifying";
  if (verify (m, d, &apply, err) == -1) {
    vd_err_prefix (err, "written, but verifying failed, nothing was removed: ");
    return -1;
  }
  phase->before += bytes;
  return 0;
}

int
vd_merge_run (struct vd_merge *m, vd_merge_progress_fn progress,
              void *opaque, struct vd_err *err)
{
  struct phase phase = {
    .fn = progress, .opaque = opaque,
    .total = 2 * (m->numbers.data_bytes + m->numbers.zero_bytes),
  };
  size_t i;

  /* What could fail at the end is to fail now. */
  if (vd_merge_rehearse (m, err) == -1) {
    vd_err_prefix (err, "nothing was written: ");
    return -1;
  }
  if (vd_merge_mark (m, err) == -1) {
    vd_err_prefix (err, "nothing was written: ");
    return -1;
  }
  for (i = 0; i < m->nr_disks; ++i)
    if (run_disk (m, &m->disk[i], &phase, err) == -1) {
      if (!m->begun)
        vd_merge_unmark (m);
      return -1;
    }
  return 0;
}
