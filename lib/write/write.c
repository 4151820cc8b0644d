/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A link opened for writing, with all its extents; see write.h.
 *
 * Locks: writers hold t->lock for reading, so that a commit (for writing)
 * finds no block whose data is still under way.
 */

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "file/inuse.h"
#include "write/write-blocks.h"

#define COMMIT_BYTES (UINT64_C (256) << 20)

struct part {
  uint64_t start, length;       /* on the disk */
  struct vd_file *file;         /* for writing; NULL if another part owns it
                                   or nothing is written */
  struct vd_file *target;       /* the one to use */
  struct vd_blocks *blocks;     /* NULL: flat */
  uint64_t flat_start;
};

struct target {
  struct vd_file file;
  struct vd_write_opts opts;
  const struct vd_link *link;
  struct part *part;
  size_t nr_parts;
  uint64_t flat_holes, flat_growth;

  /* Writes share it; who enters blocks in the tables (commit) has it alone.
   * Before that of blocks, which is for one file.
   */
  pthread_rwlock_t lock;
};

#define ADVICE "export the merged disk to a new file instead: nbdcopy -- " \
  "[ nbdkit vmdk TOP ] out.raw"

static int
refuse (const struct vd_image *image, struct vd_err *err)
{
  if (image->fmt == &vd_format_sesparse)
    return vd_fail (err, VD_UNSUPPORTED, "%s is SEsparse, into which nobody "
                    "but ESXi can write safely: " ADVICE ", or make a delta of "
                    "another format of it with vmdkdelta create",
                    image->file->name);
  return vd_fail (err, VD_UNSUPPORTED, "%s is %s, which can only be read: "
                  ADVICE, image->file->name, image->fmt->name);
}

static int
check_piece (const struct vd_image *image, const char *link,
             struct vd_err *err)
{
  if (image->lost)
    return vd_fail (err, VD_TRUNCATED, "%s is not complete, and cannot be "
                    "written: " ADVICE, image->file->name);
  if (!image->file)
    return vd_fail (err, VD_UNSUPPORTED, "%s has an extent of zeros without a "
                    "file (ZERO), which cannot be written: " ADVICE, link);
  if (vd_file_fd (image->file) == -1)
    return vd_fail (err, VD_UNSUPPORTED, "%s is not a local file",
                    image->file->name);
  if (image->compressed)
    return vd_fail (err, VD_UNSUPPORTED, "%s is compressed (streamOptimized), "
                    "which can only be read: " ADVICE, image->file->name);
  if (image->chosen_tables)
    return vd_fail (err, VD_USAGE, "%s: an image of which one set of tables was "
                    "chosen (--tables) can only be read: make a new file of "
                    "it, with vmdkdelta compact --tables=... --output=NEW, and "
                    "use that", image->file->name);
  if (image->fmt != &vd_format_flat && !vd_entries_known (image))
    return refuse (image, err);
  return 0;
}

int
vd_write_check (const struct vd_link *link, struct vd_err *err)
{
  size_t i;

  /* The merge would overwrite it, or not know it any more. */
  if (link->merging)
    return vd_merging_fail (link->merging, link->path, err);
  for (i = 0; link->descriptor && i < link->descriptor->nr_extents; ++i)
    if (link->descriptor->extents[i].access != VD_RW)
      return vd_fail (err, VD_UNSUPPORTED, "%s line %u: the extent may not be "
                      "written (%s): " ADVICE, link->path,
                      link->descriptor->extents[i].line,
                      link->descriptor->extents[i].access == VD_RDONLY
                      ? "RDONLY" : "NOACCESS");
  for (i = 0; i < link->nr_pieces; ++i)
    if (check_piece (link->pieces[i].image, link->path, err) == -1)
      return -1;
  return vd_link_check_apart (link, err);
}

/* ---- Writing ------------------------------------------------------------ */

static int
write_flat (struct target *t, const struct part *p, const uint8_t *buf,
            bool zero, uint64_t n, uint64_t offset, struct vd_err *err)
{
  const uint64_t where = p->flat_start + offset;

  if (!t->opts.dry)
    return zero ? vd_file_zero (p->target, where, n, err)
      : vd_file_pwrite (p->target, buf, (size_t) n, where, err);
  if (zero)
    return 0;
  if (where < p->target->size) {
    uint64_t holes;

    if (vd_file_holes (p->target, where, vd_min (n, p->target->size - where),
                       &holes, err) == -1)
      return -1;
    t->flat_holes += holes;
  }
  if (where + n > p->target->size)
    t->flat_holes += where + n - vd_max (where, p->target->size);
  return 0;
}

static int
write_parts (struct target *t, const uint8_t *buf, bool zero, uint64_t n,
             uint64_t offset, uint64_t *pending, struct vd_err *err)
{
  uint64_t len;
  size_t i;

  for (i = 0; n > 0; ++i) {
    struct part *p = &t->part[i];

    if (offset >= p->start + p->length)
      continue;
    len = vd_min (n, p->start + p->length - offset);
    if (!p->blocks) {
      if (write_flat (t, p, buf, zero, len, offset - p->start, err) == -1)
        return -1;
    }
    else {
      if (vd_blocks_write (p->blocks, buf, zero, len, offset - p->start,
                           err) == -1)
        return -1;
      LOCK_FOR_SCOPE (&p->blocks->lock);
      *pending += p->blocks->pending;
    }
    buf = buf ? buf + len : NULL;
    offset += len;
    n -= len;
  }
  return 0;
}

static int
commit (struct target *t, struct vd_err *err)
{
  size_t i;
  int r = 0;

  pthread_rwlock_wrlock (&t->lock);
  for (i = 0; r == 0 && i < t->nr_parts; ++i)
    if (t->part[i].blocks)
      r = vd_blocks_commit (t->part[i].blocks, err);
  pthread_rwlock_unlock (&t->lock);
  return r;
}

static int
target_write (struct target *t, const uint8_t *buf, bool zero, uint64_t n,
              uint64_t offset, struct vd_err *err)
{
  uint64_t pending = 0;
  int r;

  pthread_rwlock_rdlock (&t->lock);
  r = write_parts (t, buf, zero, n, offset, &pending, err);
  pthread_rwlock_unlock (&t->lock);
  if (r == 0 && !t->opts.dry && pending >= t->opts.commit_bytes)
    r = commit (t, err);
  return r;
}

static int
target_pwrite (struct vd_file *f, const void *buf, size_t n, uint64_t offset,
               struct vd_err *err)
{
  return target_write ((struct target *) f, buf, false, n, offset, err);
}

static int
target_zero (struct vd_file *f, uint64_t offset, uint64_t length,
             struct vd_err *err)
{
  return target_write ((struct target *) f, NULL, true, length, offset, err);
}

static int
target_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
              struct vd_err *err)
{
  (void) buf;
  return vd_fail (err, VD_USAGE, "%s: %zu bytes at byte %" PRIu64 " cannot be "
                  "read from a target", f->name, n, offset);
}

static int
target_flush (struct vd_file *f, struct vd_err *err)
{
  struct target *t = (struct target *) f;
  size_t i;

  if (commit (t, err) == -1)
    return -1;
  for (i = 0; i < t->nr_parts; ++i)
    if (t->part[i].file && vd_file_flush (t->part[i].file, err) == -1)
      return -1;
  return 0;
}

static void
target_close (struct vd_file *f)
{
  struct target *t = (struct target *) f;
  size_t i;

  for (i = 0; i < t->nr_parts; ++i) {
    vd_blocks_free (t->part[i].blocks);
    vd_file_close (t->part[i].file);
  }
  free (t->part);
  pthread_rwlock_destroy (&t->lock);
  free (t);
}

static const struct vd_file_ops target_ops = {
  .pread = target_pread,
  .close = target_close,
  .pwrite = target_pwrite,
  .zero = target_zero,
  .flush = target_flush,
};

/* ---- Opening ------------------------------------------------------------ */

/* Two flat extents may lie in one file, which is locked once. */
static int
open_file (struct target *t, struct part *p, const struct vd_file *ro,
           struct vd_err *err)
{
  size_t i;

  for (i = 0; i < t->nr_parts; ++i)
    if (t->part[i].target && vd_file_same (t->part[i].target, ro)) {
      p->target = t->part[i].target;
      return 0;
    }
  p->file = t->opts.reopen ? t->opts.reopen (t->opts.opaque, ro, err)
    : vd_file_reopen_rw (ro, err);
  if (!p->file)
    return -1;
  p->target = p->file;
  return vd_file_fd (p->file) == -1 ? 0 : vd_file_lock (p->file, true, err);
}

/* Make a flat extent longer.  What lies behind it in the file was never seen,
 * and can be anything: another extent, another partition.
 */
static int
grow_flat (struct target *t, struct part *p, const struct vd_image *image,
           struct vd_err *err)
{
  const uint64_t old = p->flat_start + image->used;
  const uint64_t end = p->flat_start + p->length, size = p->target->size;
  size_t i;

  if (end == old)
    return 0;
  for (i = 0; i < t->link->nr_pieces; ++i) {
    const struct vd_image *other = t->link->pieces[i].image;

    if (other != image && other->file &&
        vd_file_same (other->file, image->file))
      return vd_fail (err, VD_UNSUPPORTED, "%s holds more than one extent of "
                      "%s, so that the last cannot be made larger: " ADVICE,
                      image->file->name, t->link->path);
  }
  /* A run that was cut off leaves it as long as it is to be. */
  if (size > old && size != end)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s has %" PRIu64 " bytes, but its extent ends at byte %"
                    PRIu64 ", and is to end at %" PRIu64 ": what lies behind "
                    "it would show.  If that is nothing, cut it off (truncate "
                    "--size=%" PRIu64 "); or " ADVICE, image->file->name,
                    size, old, end, old);
  if (end > size)
    t->flat_growth = end - size;
  if (t->opts.dry)
    return 0;
  return end > size ? vd_file_truncate (p->target, end, err)
    : vd_file_zero (p->target, old, end - old, err);
}

static int
open_part (struct target *t, const struct vd_piece *piece, bool last,
           struct vd_err *err)
{
  struct part *p = &t->part[t->nr_parts];
  struct vd_image *image = piece->image;

  p->start = piece->start;
  p->length = last ? t->file.size - p->start : image->used;
  if (t->opts.dry)
    p->target = image->file;
  else if (open_file (t, p, image->file, err) == -1) {
    vd_file_close (p->file);
    p->file = NULL;
    return -1;
  }
  t->nr_parts++;                /* from here on it is closed with the rest */
  if (image->fmt != &vd_format_flat) {
    p->blocks = vd_blocks_new (image, p->target, p->start, p->length,
                               &t->opts, err);
    return p->blocks ? 0 : -1;
  }
  p->flat_start = vd_flat_start (image);
  return grow_flat (t, p, image, err);
}

struct vd_file *
vd_write_open (const struct vd_link *link, const struct vd_write_opts *opts,
                struct vd_err *err)
{
  struct target *t;
  size_t i;

  if (vd_write_check (link, err) == -1)
    return NULL;
  t = calloc (1, sizeof *t);
  if (!t || !(t->file.name = strdup (link->path)) ||
      !(t->part = calloc (link->nr_pieces, sizeof *t->part))) {
    if (t)
      free (t->file.name);
    free (t);
    vd_fail_nomem (err);
    return NULL;
  }
  pthread_rwlock_init (&t->lock, NULL);
  t->file.ops = &target_ops;
  t->file.size = vd_max (link->capacity, opts->capacity);
  t->opts = *opts;
  if (t->opts.commit_bytes == 0)
    t->opts.commit_bytes = COMMIT_BYTES;
  t->link = link;
  for (i = 0; i < link->nr_pieces; ++i)
    if (open_part (t, &link->pieces[i], i == link->nr_pieces - 1,
                   err) == -1) {
      vd_file_close (&t->file);
      return NULL;
    }
  return &t->file;
}

int
vd_write_finish (struct vd_file *target, struct vd_err *err)
{
  struct target *t = (struct target *) target;
  size_t i;

  for (i = 0; i < t->nr_parts; ++i)
    if (t->part[i].blocks ? vd_blocks_finish (t->part[i].blocks, err) == -1
        : t->part[i].file && vd_file_flush (t->part[i].file, err) == -1)
      return -1;
  return 0;
}

void
vd_write_stats (const struct vd_file *target, struct vd_write_stats *stats)
{
  const struct target *t = (const struct target *) target;
  size_t i;

  *stats = (struct vd_write_stats) {
    .growth = t->flat_growth, .holes = t->flat_holes,
  };
  for (i = 0; i < t->nr_parts; ++i) {
    const struct vd_blocks *b = t->part[i].blocks;

    if (!b)
      continue;
    stats->new_blocks += b->stats.new_blocks;
    stats->filled += b->stats.filled;
    stats->growth += b->stats.growth;
    stats->holes += b->stats.holes;
  }
}
