/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Holes punched where a flat file has zeros.
 *
 * A hole reads as the zeros that were there: at every moment the file reads
 * the same, so it is done while looking.
 */

#include <sys/statvfs.h>

#include "base/bytes.h"
#include "compact/compact-parts.h"

/* What can be given back one by one: a block of the file system. */
uint64_t
vd_compact_block_size (const struct vd_file *file)
{
  const int fd = vd_file_fd (file);
  struct statvfs v;

  return fd >= 0 && fstatvfs (fd, &v) == 0 && v.f_frsize >= 512 &&
    v.f_frsize <= 65536 && vd_is_power_of_2 (v.f_frsize) ? v.f_frsize : 4096;
}

static int
punch (struct vd_compact_job *job, uint64_t offset, uint64_t length,
       uint64_t *sum, struct vd_err *err)
{
  struct vd_file *f = job->file;
  int r;

  *sum += length;
  job->st->result->changed = true;
  if (job->st->opts->dry_run)
    return 0;
  r = f->ops->zero ? f->ops->zero (f, offset, length, err) : 1;
  if (r == 1)
    return vd_fail (err, VD_UNSUPPORTED, "%s: its file system cannot punch "
                    "holes; copy it instead: cp --sparse=always", f->name);
  return r;
}

/* One piece of the file, which is in buf, aligned to blocks.  *run is where
 * zeros began that reach up to here, or UINT64_MAX.
 */
static int
look_at_piece (struct vd_compact_job *job, const uint8_t *buf,
               uint64_t offset, uint64_t length, uint64_t block,
               uint64_t *run, struct vd_err *err)
{
  uint64_t i;

  for (i = 0; i < length; i += block) {
    const bool zero = vd_is_zero (buf + i, (size_t) vd_min (block,
                                                            length - i));

    if (zero && *run == UINT64_MAX)
      *run = offset + i;
    else if (!zero && *run != UINT64_MAX) {
      if (punch (job, *run, offset + i - *run, &job->st->result->zeros,
                 err) == -1)
        return -1;
      *run = UINT64_MAX;
    }
  }
  return 0;
}

/* [offset, end) is data, and free in the guest. */
static int
punch_free (struct vd_compact_job *job, uint64_t offset, uint64_t end,
            struct vd_err *err)
{
  job->st->result->looked += end - offset;
  return punch (job, offset, end - offset, &job->st->result->free, err);
}

/* [offset, end) is data.  Blocks that are not all in it are left. */
static int
punch_in (struct vd_compact_job *job, uint8_t *buf, uint64_t offset,
          uint64_t end, uint64_t block, struct vd_err *err)
{
  uint64_t n, run = UINT64_MAX;

  for (; offset < end; offset += n) {
    n = vd_min (end - offset, VD_ZERO_BUFFER);
    if (vd_file_pread (job->file, buf, (size_t) n, offset, err) == -1 ||
        look_at_piece (job, buf, offset, n, block, &run, err) == -1 ||
        vd_compact_tell (job->st, VD_COMPACT_LOOK, n, err) == -1)
      return -1;
    job->st->result->looked += n;
  }
  return run == UINT64_MAX ? 0
    : punch (job, run, end - run, &job->st->result->zeros, err);
}

static int
flat_walk (struct vd_compact_job *job, struct vd_err *err)
{
  CLEANUP_FREE uint8_t *buf = malloc (VD_ZERO_BUFFER);
  struct vd_zero_scan z = { .file = job->file, .buf = buf };
  const uint64_t block = vd_compact_block_size (job->file);
  uint64_t offset = vd_div_up (job->start, block) * block, next;
  uint64_t end = job->start + job->length;
  bool hole, is_free;

  if (!buf)
    return vd_fail_nomem (err);
  /* The end of the file ends its last block too. */
  if (end != job->file->size)
    end = vd_round_down (end, block);
  while (offset < end) {
    is_free = vd_free_at (&job->free, offset, &next);
    if (vd_zero_scan_next (&z, offset, vd_min (end, next), &next, &hole,
                           err) == -1)
      return -1;
    /* Pieces of holes and data meet on blocks; where not, a block of both is
     * looked at as data.
     */
    if (next < end)
      next = hole ? vd_round_down (next, block)
        : vd_min (end, vd_div_up (next, block) * block);
    if (next <= offset) {
      next = vd_min (end, offset + block);
      hole = false;
    }
    if (!hole && (is_free ? punch_free (job, offset, next, err)
                  : punch_in (job, buf, offset, next, block, err)) == -1)
      return -1;
    offset = next;
  }
  return 0;
}

static int
flat_look (struct vd_compact_job *job, struct vd_err *err)
{
  return job->st->opts->dry_run ? flat_walk (job, err) : 0;
}

static int
flat_run (struct vd_compact_job *job, struct vd_err *err)
{
  return flat_walk (job, err) == -1 ||
    vd_file_flush (job->file, err) == -1 ? -1 : 0;
}

static void
flat_free (struct vd_compact_job *job)
{
  (void) job;
}

const struct vd_compact_format vd_compact_flat = {
  .look = flat_look, .run = flat_run, .free = flat_free,
};
