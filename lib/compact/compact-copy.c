/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Compacting to a new file: dense, in the order of the disk. */

#include <inttypes.h>
#include <stdio.h>

#include "chain/link-files.h"
#include "compact/compact-slots.h"
#include "file/newfile.h"
#include "file/room.h"

int
vd_slots_new_size (struct vd_slots *s, uint64_t *size, struct vd_err *err)
{
  if (s->ops->new_layout (s, &s->new_data, err) == -1)
    return -1;
  *size = s->new_data + s->nr_used * s->stride;
  return 0;
}

static int
copy_chunk (struct vd_slots *s, struct vd_zero_scan *z, struct vd_file *to,
            uint32_t *raw, size_t n, uint64_t *next, struct vd_err *err)
{
  uint64_t where;
  bool zero;
  size_t k;

  for (k = 0; k < n; ++k) {
    if (!vd_slots_stored (s, raw[k], &where))
      continue;
    zero = vd_bit (s->zero, vd_slot_of (s, where));
    if (zero && s->can_zero) {
      raw[k] = s->zero_entry;
      continue;
    }
    /* Zeros that stay stored are a hole: the file is new. */
    if ((!zero && vd_copy_slot (z, to, where, where + s->stride, *next,
                                 err) == -1) ||
        vd_compact_tell (s->st, VD_COMPACT_MOVE, s->stride, err) == -1)
      return -1;
    raw[k] = vd_slots_entry (s, *next);
    *next += s->stride;
  }
  return 0;
}

int
vd_slots_copy (struct vd_slots *s, struct vd_file *to, struct vd_err *err)
{
  CLEANUP_FREE uint32_t *raw = calloc (s->entries.per_table, sizeof *raw);
  CLEANUP_FREE uint8_t *buf = malloc (VD_ZERO_BUFFER);
  struct vd_zero_scan z = { .file = s->file, .buf = buf };
  uint64_t table, next = s->new_data;
  size_t n;

  if (!raw || !buf)
    return vd_fail_nomem (err);
  if (s->ops->new_begin (s, to, err) == -1)
    return -1;
  for (table = 0; table < s->entries.nr_tables; ++table)
    if (vd_slots_load (s, table, raw, &n, err) == -1 ||
        (n > 0 && (copy_chunk (s, &z, to, raw, n, &next, err) == -1 ||
                   s->ops->new_store (s, to, table, raw, n, err) == -1)))
      return -1;
  return vd_file_flush (to, err);
}

static int
check_space (const struct vd_file *file, uint64_t needed, struct vd_err *err)
{
  if (vd_check_room (vd_file_fd (file), file->name, needed, "the new file",
                     err) == 0)
    return 0;
  vd_err_append (err, "; in place none are needed");
  return -1;
}

/* Read back what was written, as a reader would. */
static int
verify (const struct vd_compact_job *job, const struct vd_file *to,
        struct vd_err *err)
{
  const struct vd_opts opts = { .headers = false };
  struct vd_file *file = vd_file_reopen (to, err);
  struct vd_image *image = file ? vd_image_open (file, &opts, err) : NULL;
  int r;

  if (!image) {
    vd_file_close (file);
    return -1;
  }
  r = vd_compact_verify (job->image, image, job->child, &job->free, job->st,
                         err);
  vd_image_close (image);
  if (r == -1)
    vd_err_prefix (err, "the new file was read back: ");
  return r;
}

static int
write_new (const struct vd_compact_job *job, const char *path,
           struct vd_err *err)
{
  struct vd_compact_result *result = job->st->result;
  struct vd_new_file new = { .path = NULL };
  int r = vd_new_file_open_like (&new, path, false, job->image->file, NULL,
                                 err);

  if (r == 0)
    r = check_space (new.file, vd_min (result->size_after,
                                       result->allocated_before), err);
  if (r == 0)
    r = vd_file_truncate (new.file, result->size_after, err);
  if (r == 0) {
    new.file->growable = false;
    r = vd_slots_copy (job->priv, new.file, err);
  }
  if (r == 0)
    r = verify (job, new.file, err);
  if (r == 0) {
    result->allocated_after = vd_compact_allocated (new.file);
    r = vd_new_file_publish (&new, false, err);
  }
  if (r == 0)
    r = vd_new_file_flush_directory (&new, err);
  vd_new_file_close (&new);
  return r;
}

static int
copy_job (struct vd_compact_job *job, const char *to, struct vd_err *err)
{
  struct vd_compact_result *result = job->st->result;
  struct vd_slots *s;

  job->copying = true;
  if (job->fmt->look (job, err) == -1)
    return -1;
  s = job->priv;
  result->size_before = job->file->size;
  result->allocated_before = vd_compact_allocated (job->file);
  if (vd_slots_new_size (s, &result->size_after, err) == -1)
    return -1;
  result->moved = s->nr_used * s->stride;
  result->changed = true;
  if (job->st->opts->dry_run) {
    result->allocated_after = result->allocated_before;
    return 0;
  }
  return write_new (job, to, err);
}

static int
copy_link (struct vd_link *link, const char *to,
           struct vd_compact_state *st, struct vd_err *err)
{
  struct vd_compact_job job = { .fmt = NULL };
  struct vd_guest *guest = NULL;
  int r;

  if (vd_compact_check (link, false, err) == -1 ||
      vd_compact_guest (link, NULL, st, &guest, err) == -1)
    return -1;
  r = vd_compact_make_job (&job, link, 0, link->pieces[0].image->file, guest,
                           st, err);
  vd_guest_free (guest);
  if (r == 0 && (link->nr_pieces > 1 || !job.fmt || !job.fmt->has_slots ||
                 (link->descriptor && !link->embedded)))
    r = vd_fail (err, VD_UNSUPPORTED, "%s is a disk in several files, or a "
                 "flat one: compact it in place, or copy it with all its "
                 "files and compact the copy", link->path);
  if (r == 0)
    r = copy_job (&job, to, err);
  vd_compact_free_job (&job);
  return r;
}

int
vd_compact_copy (const char *path, const char *to, const struct vd_opts *opts,
                 const struct vd_compact_opts *how,
                 struct vd_compact_result *result, struct vd_err *err)
{
  struct vd_compact_state st = { .opts = how, .result = result };
  struct vd_link *link = vd_link_open (path, opts, err);
  int r = -1;

  memset (result, 0, sizeof *result);
  if (link && vd_link_check_unused (link, true, err) == 0)
    r = copy_link (link, to, &st, err);
  vd_link_close (link);
  return r;
}
