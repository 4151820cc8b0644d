/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What only a stream has to be checked for: its markers and its compressed
 * grains.
 *
 * From the tables: the marker at each grain is that of the grain, and, if
 * asked, the grain inflates; this is what a read needs.  From the start: from
 * marker to marker through the file, which finds grains that no table names,
 * and rubbish between them; a read does not see that.
 */

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "check/check-walk.h"
#include "format/kdmv.h"

/* Zeros behind the last marker are normal; after so many it is the end. */
#define MAX_ZEROS (UINT64_C (1) << 20)

#define MAX_RUNS 4096u

static int
inflate (struct vd_checker *c, uint64_t grain, uint64_t where,
         uint64_t place, struct vd_err *err)
{
  const uint64_t size = c->image->grain_size;
  struct vd_err why;

  if (c->image->fmt->inflate (c->image, grain * size, where, c->opaque,
                              &why) == 0)
    return 0;
  if (why.code == VD_NOMEM) {
    *err = why;
    return -1;
  }
  return vd_check_add_err (c, why.code == VD_IO ? VD_CHECK_READ
                           : VD_CHECK_GRAIN_INFLATE, place, grain * size,
                           size, &why, err);
}

static int
stream_stored (struct vd_checker *c, uint64_t grain, uint64_t where,
               uint64_t place, uint64_t *bytes, struct vd_err *err)
{
  const bool first = c->pass == 0 && !c->owners.resolving;
  const struct vd_image *image = c->image;
  const uint64_t size = image->grain_size;
  enum vd_check_kind kind = VD_CHECK_GRAIN_MARKER;
  uint8_t marker[VD_GRAIN_MARKER_SIZE];
  struct vd_err why;
  uint32_t n;

  if (image->file->size - where < sizeof marker)
    vd_fail (&why, VD_TRUNCATED,
             "%s: grain at sector %" PRIu64 ": the file ends in its marker, "
             "at byte %" PRIu64, image->file->name, where / VD_SECTOR,
             image->file->size);
  else if (vd_file_pread (image->file, marker, sizeof marker, where,
                          &why) == -1) {
    if (why.code == VD_NOMEM) {
      *err = why;
      return -1;
    }
    kind = VD_CHECK_READ;
  }
  else if (vd_stream_marker (image, grain * size, where, marker, &n,
                             &why) == 0) {
    *bytes = vd_div_up (VD_GRAIN_MARKER_SIZE + (uint64_t) n, VD_SECTOR)
      * VD_SECTOR;
    /* its padding may be cut off */
    *bytes = vd_min (*bytes, image->file->size - where);
    return first && c->opts->inflate
      ? inflate (c, grain, where, place, err) : 0;
  }
  if (!first)
    return 0;
  if (kind == VD_CHECK_GRAIN_MARKER && why.code == VD_TRUNCATED)
    kind = VD_CHECK_GRAIN_TRUNCATED;
  return vd_check_add_err (c, kind, place, grain * size, size, &why, err);
}

int
vd_check_stream_begin (struct vd_checker *c, struct vd_err *err)
{
  c->stored = stream_stored;
  if (!c->opts->inflate)
    return 0;
  c->opaque = malloc ((size_t) c->image->grain_size);
  return c->opaque ? 0 : vd_fail_nomem (err);
}

void
vd_check_stream_end (struct vd_checker *c)
{
  free (c->opaque);
  c->opaque = NULL;
}

/* A stream that is read by its markers: no tables say what should be there. */
static int
check_runs (struct vd_checker *c, const struct vd_runs *runs,
            struct vd_err *err)
{
  const struct vd_image *image = c->image;
  struct vd_err why;
  uint64_t bytes;
  size_t i;
  int r = 0;

  for (i = 0; i < runs->n && r == 0; ++i) {
    const struct vd_run *run = &runs->run[i];

    if (run->kind == VD_COMPRESSED) {
      c->report->compressed_grains++;
      r = stream_stored (c, run->offset / image->grain_size, run->where,
                         run->where, &bytes, err);
    }
    else if (run->kind == VD_DAMAGED) {
      image->fmt->explain (image, run->offset, &why);
      r = vd_check_add_err (c, VD_CHECK_GRAIN_TRUNCATED, VD_CHECK_NO_PLACE,
                            run->offset, run->length, &why, err);
    }
  }
  return r;
}

int
vd_check_markers (struct vd_checker *c, const struct vd_image *image,
                  struct vd_err *err)
{
  struct vd_runs runs = VD_RUNS_INIT (MAX_RUNS);
  const struct vd_out out = { .runs = &runs };
  uint64_t offset = 0;
  int r = vd_check_stream_begin (c, err);

  while (r == 0 && offset < image->capacity) {
    runs.n = 0;
    r = image->fmt->map (image, offset, image->capacity - offset, &out, err);
    if (r == 0)
      r = check_runs (c, &runs, err);
    if (runs.n > 0)
      offset = vd_run_end (&runs.run[runs.n - 1]);
  }
  vd_runs_free (&runs);
  vd_check_stream_end (c);
  return r;
}

static int
unknown_marker (struct vd_checker *c, uint64_t pos, const uint8_t *m,
                struct vd_err *err)
{
  const struct vd_marker k = vd_marker_decode (m);

  return vd_check_add (c, VD_CHECK_STREAM_MARKER, pos, 0, 0, err,
                       "at sector %" PRIu64 " is no marker (value %" PRIu64
                       ", size %" PRIu32 ", type %" PRIu32 ")",
                       pos / VD_SECTOR, k.value, k.size, k.type);
}

/* A grain marker; *sectors: what it takes.  *lost: it makes no sense, so the
 * next one cannot be found.
 */
static int
grain_marker (struct vd_checker *c, uint64_t pos, const uint8_t *m,
              uint64_t *sectors, bool *lost, struct vd_err *err)
{
  const struct vd_image *image = c->image;
  const uint64_t lba = vd_marker_decode (m).value;
  const uint64_t grain_sectors = image->grain_size / VD_SECTOR;
  const uint64_t last = image->capacity / VD_SECTOR;
  struct vd_err why = { .code = VD_CORRUPT };
  uint32_t n;

  if (lba >= last || lba % grain_sectors != 0 ||
      vd_stream_marker (image, lba * VD_SECTOR, pos, m, &n, &why) == -1) {
    *lost = true;
    /* one that is cut by the end of the file is seen from its table */
    return why.code == VD_TRUNCATED ? 0 : unknown_marker (c, pos, m, err);
  }
  *sectors = vd_div_up (VD_GRAIN_MARKER_SIZE + (uint64_t) n, VD_SECTOR);
  if (c->pass > 0 || vd_owners_has (c, pos) ||
      lba * VD_SECTOR >= image->used)
    return 0;
  return vd_check_add (c, VD_CHECK_STREAM_UNUSED, pos, 0, 0, err,
                       "the grain at sector %" PRIu64 " (disk sector %" PRIu64
                       ") is in no grain table", pos / VD_SECTOR, lba);
}

int
vd_check_stream_markers (struct vd_checker *c, struct vd_err *err)
{
  struct vd_file *file = c->image->file;
  const uint64_t size = vd_round_down (file->size, VD_SECTOR);
  uint64_t pos = vd_kdmv (c->image)->first_data, zeros = 0, sectors;
  uint8_t m[VD_SECTOR];
  struct vd_marker k;
  struct vd_err why;
  bool lost = false;
  int r = 0;

  pos = vd_round_down (pos + VD_SECTOR - 1, VD_SECTOR);
  while (pos < size && zeros < MAX_ZEROS && r == 0 && !lost) {
    if (vd_file_pread (file, m, sizeof m, pos, &why) == -1)
      return vd_check_add_err (c, VD_CHECK_READ, pos, 0, 0, &why, err);
    sectors = 1;
    k = vd_marker_decode (m);
    if (vd_is_zero (m, sizeof m))
      zeros += VD_SECTOR;
    else if (k.size != 0) {
      zeros = 0;
      r = grain_marker (c, pos, m, &sectors, &lost, err);
    }
    else if (k.type > VD_MARKER_PROGRESS ||
             k.value > (size - pos) / VD_SECTOR - 1) {
      lost = true;
      r = unknown_marker (c, pos, m, err);
    }
    else {
      zeros = 0;
      sectors += k.value;
    }
    pos += sectors * VD_SECTOR;
  }
  return r;
}
