/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* New delta files: what all formats share.  See create.h.
 *
 * Invariants:
 * R1. Offsets rise, so each table is begun and ended once, and each grain has
 *     one place.
 * R2. The order of the disk: grains and tables, flush, header, flush,
 *     descriptor (COWD: in its own file), flush, names, directory.
 * R3. After the first error nothing more is written.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "create/create-format.h"
#include "format/descriptor-text.h"
#include "format/image.h"

#define MAX_GRAIN (UINT64_C (1) << 20)
#define MAX_THREADS 64u

/* ---- Opening -------------------------------------------------------------- */

static const struct vd_create_ops *
format_of (enum vd_create_format f)
{
  switch (f) {
  case VD_WRITER_COWD: return &vd_create_cowd;
  case VD_WRITER_SPARSE: return &vd_create_kdmv;
  case VD_WRITER_STREAM: return &vd_create_stream;
  }
  return NULL;
}

static int
check_opts (struct vd_create *w, const char *path, struct vd_err *err)
{
  struct vd_create_opts *o = &w->opts;

  if (o->grain_size == 0)
    o->grain_size = w->fmt->default_grain;
  if (!vd_is_power_of_2 (o->grain_size) ||
      o->grain_size < w->fmt->min_grain || o->grain_size > MAX_GRAIN)
    return vd_fail (err, VD_USAGE,
                    "%s: a grain size of %" PRIu64 " bytes was asked for; "
                    "allowed in %s are powers of two from %" PRIu64 " to %"
                    PRIu64, path, o->grain_size, w->fmt->create_type,
                    w->fmt->min_grain, MAX_GRAIN);
  if (o->capacity == 0 || o->capacity % VD_SECTOR != 0 ||
      o->capacity > VD_MAX_CAPACITY)
    return vd_fail (err, VD_USAGE, "%s: a disk of %" PRIu64 " bytes was "
                    "asked for; allowed are whole sectors, at least one",
                    path, o->capacity);
  if (o->parent_hint && o->parent_cid == VD_NO_PARENT)
    return vd_fail (err, VD_USAGE, "%s: parentCID=ffffffff means that there "
                    "is no parent; it cannot be that of %s", path,
                    o->parent_hint);
  if (!o->parent_hint && o->parent_cid == 0)
    o->parent_cid = VD_NO_PARENT;
  if (o->cid == VD_NO_PARENT)
    return vd_fail (err, VD_USAGE, "%s: CID=ffffffff is not allowed", path);
  if (o->cid == 0 && vd_new_cid (&o->cid, o->parent_cid, err) == -1)
    return -1;
  o->threads = (unsigned) vd_min (vd_max (o->threads, 1), MAX_THREADS);
  w->nr_tables
    = vd_div_up (o->capacity, w->fmt->gtes * o->grain_size);
  return 0;
}

/* disk.vmdk -> disk-delta.vmdk, as ESX names them. */
static char *
delta_name (const char *path)
{
  const size_t n = strlen (path);
  const bool has = n > 5 && strcmp (path + n - 5, ".vmdk") == 0;
  char *r;

  return asprintf (&r, "%.*s-delta.vmdk", (int) (has ? n - 5 : n), path) == -1
    ? NULL : r;
}

static int
open_files (struct vd_create *w, const char *path, struct vd_err *err)
{
  CLEANUP_FREE char *delta = NULL;

  if (w->fmt->embedded)
    return vd_new_file_open_like (&w->extent, path, w->opts.replace,
                                  w->opts.like, w->opts.create, err);
  delta = delta_name (path);
  if (!delta)
    return vd_fail_nomem (err);
  if (vd_new_file_open_like (&w->text, path, w->opts.replace, w->opts.like,
                             w->opts.create, err) == -1)
    return -1;
  if (vd_new_file_open_like (&w->extent, delta, w->opts.replace, w->opts.like,
                             w->opts.create, err) == 0)
    return 0;
  if (!w->opts.replace && access (delta, F_OK) == 0)
    vd_fail (err, VD_USAGE, "%s exists already, without %s, which would name "
             "it; if a run that was cut off has left it, remove it", delta,
             path);
  return -1;
}

static const char *
last_component (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? slash + 1 : path;
}

/* Its CID and names are known from the beginning, so errors in them are found
 * before any work is done.
 */
static char *
describe (const struct vd_create *w, struct vd_err *err)
{
  const struct vd_description d = {
    .create_type = w->fmt->create_type,
    .cid = w->opts.cid,
    .parent_cid = w->opts.parent_cid,
    .parent_hint = w->hint,
    .capacity = w->opts.capacity,
    .extent_type = w->fmt->extent_type,
    .extent_name = last_component (w->extent.path),
    .uuids = w->opts.uuids,
    .more = w->opts.more,
  };

  return vd_describe (&d, err);
}

static int
open_writer (struct vd_create *w, const char *path, struct vd_err *err)
{
  CLEANUP_FREE char *text = NULL;

  if (check_opts (w, path, err) == -1)
    return -1;
  if (w->fmt->open (w, err) == -1) {
    vd_err_prefix (err, "%s: ", path);
    return -1;
  }
  w->table = calloc (w->fmt->gtes, sizeof *w->table);
  if (!w->table)
    return vd_fail_nomem (err);
  if (w->opts.parent_hint && !(w->hint = strdup (w->opts.parent_hint)))
    return vd_fail_nomem (err);
  if (open_files (w, path, err) == -1)
    return -1;
  text = describe (w, err);
  return text ? 0 : -1;
}

struct vd_create *
vd_create_open (const char *path, const struct vd_create_opts *opts,
                struct vd_err *err)
{
  struct vd_create *w = calloc (1, sizeof *w);

  if (!w) {
    vd_fail_nomem (err);
    return NULL;
  }
  w->opts = *opts;
  w->fmt = format_of (opts->format);
  if (!w->fmt)
    vd_fail (err, VD_USAGE, "%s: there is no format %d", path,
             (int) opts->format);
  else if (open_writer (w, path, err) == 0)
    return w;
  vd_create_abort (w);
  return NULL;
}

void
vd_create_abort (struct vd_create *w)
{
  if (!w)
    return;
  if (w->fmt && w->fmt->close)
    w->fmt->close (w);
  vd_new_file_close (&w->text);
  vd_new_file_close (&w->extent);
  free (w->gd);
  free (w->table);
  free (w->hint);
  free (w);
}

uint64_t
vd_create_grain_size (const struct vd_create *w)
{
  return w->opts.grain_size;
}

const char *
vd_create_path (const struct vd_create *w, unsigned i)
{
  if (w->fmt->embedded)
    return i == 0 ? w->extent.path : NULL;
  return i == 0 ? w->text.path : i == 1 ? w->extent.path : NULL;
}

/* ---- For the formats ------------------------------------------------------ */

int
vd_create_claim (struct vd_create *w, uint64_t sectors, uint64_t *at,
                struct vd_err *err)
{
  if (w->free > VD_MAX_SECTORS || sectors > VD_MAX_SECTORS - w->free)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: the file would grow over 2 TiB, and the format has "
                    "32-bit sector numbers", w->extent.path);
  if (at)
    *at = w->free;
  w->free += sectors;
  return 0;
}

int
vd_create_append (struct vd_create *w, const void *buf, size_t n,
                 struct vd_err *err)
{
  uint64_t at = 0;

  if (vd_create_claim (w, n / VD_SECTOR, &at, err) == -1)
    return -1;
  return vd_file_pwrite (w->extent.file, buf, n, at * VD_SECTOR, err);
}

static int
claim_entries (struct vd_create *w, uint32_t entry, uint64_t count,
               uint64_t *at, struct vd_err *err)
{
  const uint64_t sectors = w->opts.grain_size / VD_SECTOR;
  uint64_t i;

  if (vd_create_claim (w, count * sectors, at, err) == -1)
    return -1;
  for (i = 0; i < count; ++i)
    w->table[entry + i] = htole32 ((uint32_t) (*at + i * sectors));
  return 0;
}

int
vd_create_grains (struct vd_create *w, uint32_t entry, const uint8_t *buf,
                 size_t n, struct vd_err *err)
{
  const uint64_t count = vd_div_up (n, w->opts.grain_size);
  uint64_t at = 0;

  if (claim_entries (w, entry, count, &at, err) == -1 ||
      vd_file_pwrite (w->extent.file, buf, n, at * VD_SECTOR, err) == -1)
    return -1;
  /* The last grain of the disk is stored whole too. */
  return vd_file_zero (w->extent.file, at * VD_SECTOR + n,
                       count * w->opts.grain_size - n, err);
}

int
vd_create_hole (struct vd_create *w, uint32_t entry, uint32_t count,
               struct vd_err *err)
{
  uint64_t at = 0;

  return claim_entries (w, entry, count, &at, err);
}

int
vd_create_extend (struct vd_create *w, uint64_t size, struct vd_err *err)
{
  if (w->extent.file->size >= size)
    return 0;
  return vd_file_zero (w->extent.file, size - VD_SECTOR, VD_SECTOR, err);
}

/* ---- Data ----------------------------------------------------------------- */

static int
end_table (struct vd_create *w, struct vd_err *err)
{
  if (!w->in_table)
    return 0;
  w->in_table = false;
  return w->fmt->end_table (w, err);
}

static int
enter_table (struct vd_create *w, uint64_t index, struct vd_err *err)
{
  if (w->in_table && w->table_index == index)
    return 0;
  if (end_table (w, err) == -1)
    return -1;
  memset (w->table, 0, w->fmt->gtes * sizeof *w->table);
  w->table_index = index;
  w->in_table = true;
  return w->fmt->begin_table ? w->fmt->begin_table (w, err) : 0;
}

static int
check_range (struct vd_create *w, uint64_t offset, uint64_t length,
             struct vd_err *err)
{
  const struct vd_create_opts *o = &w->opts;

  if (w->failed)
    return vd_fail (err, VD_USAGE, "%s: not written further after an error",
                    w->extent.path);
  if (offset < w->at || offset > o->capacity ||
      length > o->capacity - offset || offset % o->grain_size != 0 ||
      ((offset + length) % o->grain_size != 0 &&
       offset + length != o->capacity))
    return vd_fail (err, VD_USAGE,
                    "%s: %" PRIu64 " bytes at byte %" PRIu64 " cannot be "
                    "added: grains have %" PRIu64 " bytes, the disk %" PRIu64
                    ", and %" PRIu64 " were passed already",
                    w->extent.path, length, offset, o->grain_size,
                    o->capacity, w->at);
  return 0;
}

/* buf NULL: zeros. */
static int
add (struct vd_create *w, uint64_t offset, const uint8_t *buf,
     uint64_t length, struct vd_err *err)
{
  const uint64_t grain = w->opts.grain_size;
  const uint64_t coverage = grain * w->fmt->gtes;
  const uint64_t end = offset + length;
  int r = 0;

  if (check_range (w, offset, length, err) == -1)
    return -1;
  while (offset < end && r == 0) {
    const uint64_t to
      = vd_min (end, (offset / coverage + 1) * coverage);
    const uint32_t entry = (uint32_t) (offset % coverage / grain);
    const uint64_t count = vd_div_up (to - offset, grain);

    r = enter_table (w, offset / coverage, err);
    if (r == 0 && buf) {
      r = w->fmt->data (w, entry, buf, (size_t) (to - offset), err);
      buf += to - offset;
      w->data_grains += count;
    }
    else if (r == 0) {
      r = w->fmt->zeros (w, entry, (uint32_t) count, err);
      w->zero_grains += count;
    }
    offset = to;
  }
  w->at = vd_max (w->at, end);
  if (r == -1)
    w->failed = true;
  return r;
}

int
vd_create_data (struct vd_create *w, uint64_t offset, const void *buf,
                size_t n, struct vd_err *err)
{
  return add (w, offset, buf, n, err);
}

int
vd_create_zero (struct vd_create *w, uint64_t offset, uint64_t length,
                struct vd_err *err)
{
  return add (w, offset, NULL, length, err);
}

/* ---- The end -------------------------------------------------------------- */

static int
write_all (struct vd_create *w, const char *text, struct vd_err *err)
{
  if (end_table (w, err) == -1 ||
      w->fmt->finish (w, text, err) == -1 ||
      vd_file_flush (w->extent.file, err) == -1 ||
      w->fmt->header (w, err) == -1 ||
      vd_file_flush (w->extent.file, err) == -1)
    return -1;
  if (w->fmt->embedded)
    return 0;
  if (vd_file_pwrite (w->text.file, text, strlen (text), 0, err) == -1)
    return -1;
  return vd_file_flush (w->text.file, err);
}

/* The descriptor comes last: with its name the delta exists.  When a pair is
 * replaced, the old descriptor goes first, so that at no time it stands next
 * to the new extent, which may be over another parent.
 */
static int
publish_names (struct vd_create *w, struct vd_err *err)
{
  const bool replace = w->opts.replace;

  if (w->fmt->embedded)
    return vd_new_file_publish (&w->extent, replace, err);
  if (replace && (unlink (w->text.pinned_path) == 0 || errno != ENOENT) &&
      vd_new_file_flush_directory (&w->text, err) == -1)
    return -1;
  if (vd_new_file_publish (&w->extent, replace, err) == -1 ||
      vd_new_file_flush_directory (&w->extent, err) == -1)
    return -1;
  return vd_new_file_publish (&w->text, replace, err);
}

static int
publish (struct vd_create *w, struct vd_err *err)
{
  struct vd_new_file *const files[] = { &w->text, &w->extent };
  unsigned i;

  if (publish_names (w, err) == 0 &&
      vd_new_file_flush_directory (&w->extent, err) == 0)
    return 0;
  for (i = 0; i < 2; ++i)
    if (files[i]->path && !files[i]->temp)
      vd_new_file_remove (files[i]);
  return -1;
}

int
vd_create_finish (struct vd_create *w, struct vd_create_result *result,
                  struct vd_err *err)
{
  CLEANUP_FREE char *text = NULL;
  int r = -1;

  if (w->failed)
    vd_fail (err, VD_USAGE, "%s: not finished after an error",
             w->extent.path);
  else if ((text = describe (w, err)) != NULL &&
           write_all (w, text, err) == 0 && publish (w, err) == 0) {
    r = 0;
    if (result)
      *result = (struct vd_create_result) {
        .grain_size = w->opts.grain_size,
        .data_grains = w->data_grains,
        .zero_grains = w->zero_grains,
        .file_size = w->extent.file->size
          + (w->text.file ? w->text.file->size : 0),
        .cid = w->opts.cid,
      };
  }
  vd_create_abort (w);
  return r;
}
