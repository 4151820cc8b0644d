/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A streamOptimized file without its end, read by the markers of its grains
 * (vd_opts.tables), as half of a download.
 *
 * The tables of a stream are its last part, and are found through the footer
 * behind them.  But each grain has its place on the disk in its own marker, and
 * each marker leads to the next one.  So what is there can be read.
 *
 * What is not there is not zeros.  A stream is written in the order of the
 * disk: below the last grain that is there, a grain that was not met is not
 * allocated.  Above it, or if the grains were not in order, nothing is known,
 * unless the grain directory was met, which no grain follows.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "format/kdmv.h"

/* 16 bytes each: 256 MiB for what 1 TiB of disk has, with usual grains. */
#define MAX_GRAINS (UINT32_C (1) << 24)

struct grain {
  uint64_t number;
  uint64_t where;               /* of its marker, bytes; 0: there are two */
};

struct marked_image {
  struct vd_image image;
  struct grain *grain;          /* sorted by number */
  size_t nr_grains;
  bool in_order;
  uint64_t known;               /* bytes of disk of which all is known */
  uint64_t end;                 /* of the last marker that makes sense */
};

static const struct marked_image *
marked (const struct vd_image *image)
{
  return (const struct marked_image *) image;
}

static int
compare_grains (const void *a, const void *b)
{
  const struct grain *x = a, *y = b;

  return x->number != y->number ? (x->number < y->number ? -1 : 1)
    : x->where != y->where ? (x->where < y->where ? -1 : 1) : 0;
}

static int
add_grain (struct marked_image *m, uint64_t number, uint64_t where,
           struct vd_err *err)
{
  const char *name = m->image.file->name;
  struct grain *p;

  if (m->nr_grains == MAX_GRAINS)
    return vd_fail (err, VD_UNSUPPORTED, "%s has more than %u grains, too many "
                    "to be read by their markers", name, MAX_GRAINS);
  p = vd_grow (m->grain, m->nr_grains, sizeof *p, err);
  if (!p)
    return -1;
  m->grain = p;
  m->in_order = m->in_order &&
    (m->nr_grains == 0 || p[m->nr_grains - 1].number < number);
  p[m->nr_grains++] = (struct grain) { .number = number, .where = where };
  return 0;
}

/* From marker to marker, until one makes no sense or is not there.  All zeros
 * are the end of the stream, or a hole in a download.  *complete: the directory
 * was met.
 */
static int
find_grains (struct marked_image *m, uint64_t pos, bool *complete,
             struct vd_err *err)
{
  const struct vd_image *image = &m->image;
  const uint64_t size = image->file->size;
  uint8_t in[VD_SECTOR];
  struct vd_marker k;
  struct vd_err why;
  uint32_t bytes;

  for (; pos <= size && size - pos >= VD_SECTOR; m->end = pos) {
    if (vd_file_pread (image->file, in, sizeof in, pos, err) == -1)
      return -1;
    k = vd_marker_decode (in);
    if (k.size == 0) {
      if (k.type == VD_MARKER_DIRECTORY)
        *complete = true;
      if (k.type < VD_MARKER_TABLE || k.type > VD_MARKER_PROGRESS ||
          k.type == VD_MARKER_FOOTER || k.value > (size - pos) / VD_SECTOR - 1)
        return 0;
      pos += (k.value + 1) * VD_SECTOR;
      continue;
    }
    if (k.value % (image->grain_size / VD_SECTOR) != 0 ||
        k.value >= image->capacity / VD_SECTOR)
      return 0;
    if (vd_stream_marker (image, k.value * VD_SECTOR, pos, in, &bytes,
                          &why) == -1 && why.code != VD_TRUNCATED)
      return 0;
    /* One that is cut is the last; a read of it says so. */
    if (add_grain (m, k.value * VD_SECTOR / image->grain_size, pos, err) == -1)
      return -1;
    pos += vd_div_up (VD_GRAIN_MARKER_SIZE + (uint64_t) bytes, VD_SECTOR)
      * VD_SECTOR;
  }
  return 0;
}

/* Which of two grains with one number was meant cannot be known. */
static void
sort_grains (struct marked_image *m)
{
  size_t i;

  if (m->in_order)
    return;
  qsort (m->grain, m->nr_grains, sizeof *m->grain, compare_grains);
  for (i = 1; i < m->nr_grains; ++i)
    if (m->grain[i].number == m->grain[i - 1].number)
      m->grain[i].where = m->grain[i - 1].where = 0;
}

static void
marked_close (struct vd_image *image)
{
  free (marked (image)->grain);
  free (image);
}

int
vd_stream_open_markers (struct vd_file *file, const struct vd_image *like,
                        uint64_t first_data, const struct vd_log *log,
                        struct vd_image **image, struct vd_err *err)
{
  struct marked_image *m = calloc (1, sizeof *m);
  bool complete = false;
  uint64_t last;

  if (!m)
    return vd_fail_nomem (err);
  m->image = *like;
  m->image.fmt = &vd_format_markers;
  m->image.file = file;
  m->image.chosen_tables = true;
  m->in_order = true;
  m->end = first_data;
  if (find_grains (m, vd_round_down (first_data + VD_SECTOR - 1, VD_SECTOR),
                   &complete, err) == -1) {
    marked_close (&m->image);
    return -1;
  }
  last = m->nr_grains > 0 ? m->grain[m->nr_grains - 1].number + 1 : 0;
  m->known = complete ? m->image.capacity
    : m->in_order ? vd_min (last * m->image.grain_size, m->image.capacity) : 0;
  m->image.lost = m->known < m->image.capacity;
  sort_grains (m);
  if (complete)
    vd_warn (log, "%s is read by the markers of its %zu grains, which are all "
             "there", file->name, m->nr_grains);
  else
    vd_warn (log, "%s is read by the markers of the %zu grains that are there: "
             "the stream ends, or is damaged, at byte %" PRIu64 ".  The disk is "
             "known up to byte %" PRIu64 " of %" PRIu64 "; the rest is lost",
             file->name, m->nr_grains, vd_min (m->end, file->size), m->known,
             m->image.capacity);
  *image = &m->image;
  return 0;
}

/* The first grain that is not below this one. */
static size_t
find_grain (const struct marked_image *m, uint64_t number)
{
  size_t lo = 0, hi = m->nr_grains;

  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;

    if (m->grain[mid].number < number)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* No grain is there: [offset, end). */
static int
emit_gap (const struct marked_image *m, uint64_t offset, uint64_t end,
          const struct vd_out *out, struct vd_err *err)
{
  const uint64_t known = vd_min (vd_max (m->known, offset), end);
  int r = 0;

  if (known > offset)
    r = vd_emit (out, VD_BASE, offset, known - offset, 0, err);
  if (r == 0 && end > known)
    r = vd_emit (out, VD_DAMAGED, known, end - known, 0, err);
  return r;
}

static int
marked_map (const struct vd_image *image, uint64_t offset, uint64_t length,
            const struct vd_out *out, struct vd_err *err)
{
  const struct marked_image *m = marked (image);
  const uint64_t end = offset + length;
  size_t i = find_grain (m, offset / image->grain_size);
  uint64_t start, to;
  int r = 0;

  while (offset < end && r == 0) {
    start = i < m->nr_grains ? m->grain[i].number * image->grain_size : end;
    if (start > offset) {
      to = vd_min (start, end);
      r = emit_gap (m, offset, to, out, err);
    }
    else {
      to = vd_min (start + image->grain_size, end);
      r = vd_emit (out, m->grain[i].where ? VD_COMPRESSED : VD_DAMAGED, offset,
                   to - offset, m->grain[i].where, err);
      while (i < m->nr_grains &&
             m->grain[i].number * image->grain_size == start)
        ++i;
    }
    offset = to;
  }
  return r == -1 ? -1 : 0;
}

static int
marked_explain (const struct vd_image *image, uint64_t offset,
                struct vd_err *err)
{
  const struct marked_image *m = marked (image);
  const uint64_t number = offset / image->grain_size;
  const size_t i = find_grain (m, number);

  if (i < m->nr_grains && m->grain[i].number == number)
    return vd_fail (err, VD_CORRUPT, "%s has grain %" PRIu64 " (disk byte %"
                    PRIu64 ") twice: by the markers alone it is not known which "
                    "is right", image->file->name, number,
                    number * image->grain_size);
  return vd_fail (err, VD_TRUNCATED, "%s: grain %" PRIu64 " (disk byte %" PRIu64
                  ") is not in what is left of the stream, which ends, or is "
                  "damaged, at byte %" PRIu64 "%s", image->file->name, number,
                  number * image->grain_size, vd_min (m->end, image->file->size),
                  m->in_order ? "" : ", and whose grains are not in order");
}

const struct vd_format vd_format_markers = {
  .name = "KDMV",
  .long_name = "KDMV (hosted sparse), read by its markers",
  .map = marked_map,
  .explain = marked_explain,
  .inflate = vd_stream_inflate,
  .close = marked_close,
};
