/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Opening one image with all its extents; see link.h. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "chain/candidates.h"
#include "chain/link.h"
#include "chain/suggest.h"
#include "file/fd.h"
#include "file/uri.h"
#include "format/magic.h"

static void
close_link (struct vd_link **link)
{
  vd_link_close (*link);
}

static void
close_file (struct vd_file **file)
{
  vd_file_close (*file);
}

static void
close_image (struct vd_image **image)
{
  vd_image_close (*image);
}

void
vd_link_close (struct vd_link *link)
{
  size_t i;

  if (!link)
    return;
  for (i = 0; i < link->nr_pieces; ++i)
    vd_image_close (link->pieces[i].image);
  free (link->pieces);
  vd_image_close (link->self);
  vd_descriptor_free (link->descriptor);
  vd_confine_free (link->places);
  vd_merging_free (link->merging);
  free (link->path);
  free (link);
}

/* Append an extent; takes the image over, also on error. */
static int
add_piece (struct vd_link *link, struct vd_image *image, uint64_t length,
           struct vd_err *err)
{
  struct vd_piece *p
    = vd_grow (link->pieces, link->nr_pieces, sizeof *p, err);
  uint64_t start = 0;

  if (!p) {
    vd_image_close (image);
    return -1;
  }
  if (link->nr_pieces > 0)
    start = p[link->nr_pieces - 1].start + p[link->nr_pieces - 1].image->used;
  link->pieces = p;
  p[link->nr_pieces++] = (struct vd_piece) { .start = start, .image = image };
  image->used = length;
  return 0;
}

static struct vd_descriptor *
read_descriptor (struct vd_file *file, uint64_t offset, uint64_t length,
                 const struct vd_opts *opts, struct vd_err *err)
{
  CLEANUP_FREE char *text = NULL;

  if (length > VD_MAX_DESCRIPTOR) {
    vd_fail (err, VD_NOT_FORMAT,
             "%s is not a VMDK descriptor: it would have %" PRIu64 " bytes, "
             "allowed are %" PRIu64, file->name, length, VD_MAX_DESCRIPTOR);
    return NULL;
  }
  text = malloc ((size_t) length + 1);
  if (!text) {
    vd_fail_nomem (err);
    return NULL;
  }
  text[length] = '\0';
  if (vd_file_pread (file, text, (size_t) length, offset, err) == -1)
    return NULL;
  return vd_descriptor_parse (text, (size_t) length, file->name, &opts->log,
                              err);
}

/* VirtualBox's keys.  What is not a UUID is left null, but for the parent's:
 * that would make a child a base.
 */
static int
get_identity (const struct vd_descriptor *d, const char *name,
              struct vd_identity *id, struct vd_err *err)
{
  const struct {
    const char *key;
    uint8_t *uuid;
  } keys[] = {
    { "ddb.uuid.image", id->image },
    { "ddb.uuid.parent", id->parent },
    { "ddb.uuid.modification", id->modified },
    { "ddb.uuid.parentmodification", id->parent_modified },
  };
  const char *text;
  size_t i;

  for (i = 0; i < sizeof keys / sizeof keys[0]; ++i) {
    text = vd_descriptor_get (d, keys[i].key);
    if (!text || !*text || vd_parse_uuid (text, keys[i].uuid))
      continue;
    memset (keys[i].uuid, 0, 16);
    if (i == 1)
      return vd_fail (err, VD_CORRUPT, "%s: ddb.uuid.parent '%.80s' is not a "
                      "UUID, so its parent cannot be looked for", name, text);
  }
  return 0;
}

/* A child says so by parentCID, or, if VirtualBox wrote it, by a UUID only. */
static enum vd_role
role_of (const struct vd_descriptor *d, const struct vd_identity *id,
         const char *name, const struct vd_log *log)
{
  if (d->parent_cid != VD_NO_PARENT)
    return VD_ROLE_CHILD;
  if (!vd_uuid_is_null (id->parent))
    return VD_ROLE_CHILD;
  if (d->hint)
    vd_warn (log, "%s: parentCID is ffffffff (no parent); its "
             "parentFileNameHint '%s' is ignored", name, d->hint);
  return VD_ROLE_BASE;
}

struct extent_search {
  const struct vd_link *link;
  const struct vd_extent_line *line;
  struct vd_file *file;
};

/* Can this be the file of the extent, though it has another name or lies in
 * another place than the descriptor says?
 */
static int
check_guess (const struct vd_extent_line *e, struct vd_file *file,
             struct vd_err *err)
{
  const struct vd_format *fmt;
  enum vd_magic magic;

  if (e->type == VD_EXTENT_FLAT) {
    if (file->size >= e->length && file->size - e->length >= e->offset)
      return 0;
    return vd_fail (err, VD_TRUNCATED, "%s is %" PRIu64 " bytes long, but the "
                    "extent needs %" PRIu64 " bytes from byte %" PRIu64 " on: "
                    "it is truncated, or not the right file", file->name,
                    file->size, e->length, e->offset);
  }
  if (vd_image_probe (file, &magic, &fmt, err) == -1)
    return -1;
  if (magic == VD_MAGIC_SPARSE)
    return 0;
  return vd_fail (err, VD_NOT_FORMAT, "%s is not a sparse VMDK extent: no "
                  "COWD, KDMV or SEsparse magic in its first bytes",
                  file->name);
}

static int
offer_extent (struct vd_search *s, const char *candidate,
              struct vd_file *file, struct vd_err *err)
{
  struct extent_search *x = s->opaque;
  struct vd_err e;
  int r;

  (void) candidate;
  if (!s->as_it_stands) {
    /* "disk.vmdk" can be the descriptor itself, on its way through Windows. */
    if (file->ino != 0 && file->ino == x->link->ino &&
        file->dev == x->link->dev) {
      vd_file_close (file);
      return 0;
    }
    r = check_guess (x->line, file, &e);
    if (r == -1) {
      vd_file_close (file);
      if (e.code == VD_NOMEM) {
        *err = e;
        return -1;
      }
      if (s->other.code == VD_OK)
        s->other = e;
      return 0;
    }
    vd_debug (&s->opts->log, "%s refers to %s: it is taken from %s", s->from,
              s->shown, file->name);
  }
  x->file = file;
  return 1;
}

static struct vd_file *
find_extent (const struct vd_link *link, const struct vd_extent_line *e,
             const char *from, const struct vd_opts *opts,
             struct vd_err *err)
{
  struct extent_search x = { .link = link, .line = e };
  struct vd_search s = {
    .places = link->places, .opts = opts, .name = e->name, .from = from,
    .encoding = link->descriptor->encoding, .offer = offer_extent,
    .opaque = &x,
  };

  if (vd_search (&s, err) == 0 && !s.found)
    vd_search_fail (&s, err);
  vd_search_free (&s);
  return x.file;
}

struct vd_file *
vd_link_find_extent (const struct vd_link *link,
                     const struct vd_extent_line *e,
                     const struct vd_opts *opts, struct vd_err *err)
{
  return find_extent (link, e, link->path, opts, err);
}

/* Such a name leads nowhere, or, if it was followed, to what happens to have it
 * here: never advise that.
 */
static void
explain_device (const struct vd_extent_line *e, const char *from,
                struct vd_err *err)
{
  if ((err->code != VD_NOT_FOUND && err->code != VD_DENIED) ||
      !vd_is_device_name (e->name))
    return;
  vd_fail (err, VD_UNSUPPORTED, strstr (e->name, "://")
           ? "%s names '%.255s', an object of a datastore and not a file: "
           "export the disk itself"
           : "%s names '%.255s', a device of the machine where this disk was "
           "used: image the device there (dd, ddrescue), and use the image as "
           "the base", from, e->name);
}

/* One extent of a descriptor, in a file of its own (or none, for ZERO). */
static struct vd_image *
open_extent (const struct vd_link *link, const struct vd_extent_line *e,
             const char *from, const struct vd_opts *opts,
             struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *file = NULL;
  VD_CLEANUP (close_image) struct vd_image *image = NULL;
  struct vd_image *flat;

  if (e->type == VD_EXTENT_ZERO || e->access == VD_NOACCESS)
    return vd_image_open_zero (e->length, err);

  file = find_extent (link, e, from, opts, err);
  if (!file) {
    explain_device (e, from, err);
    return NULL;
  }
  if (e->type == VD_EXTENT_FLAT) {
    /* In the middle of a disk anything may begin, say an archive. */
    if (link->nr_pieces == 0 && e->offset == 0 &&
        vd_check_raw (file, VD_RAW_EXTENT, 1, opts, err) == -1)
      return NULL;
    flat = vd_image_open_flat (file, e->offset, e->length, &opts->log, err);
    if (flat)
      file = NULL;
    return flat;
  }

  /* What a copy leaves that did not even begin. */
  if (file->size == 0) {
    vd_fail (err, VD_TRUNCATED, "%s is empty: it is truncated, or not the "
             "right file", file->name);
    return NULL;
  }
  image = vd_image_open (file, opts, err);
  if (!image)
    return NULL;
  file = NULL;
  if (image->linked_by_uuid) {
    vd_fail (err, VD_NOT_FORMAT, "%s is a %s, which cannot be an extent",
             image->file->name, image->fmt->name);
    return NULL;
  }
  if (image->capacity < e->length) {
    vd_fail (err, VD_MISMATCH,
             "%s: extent has room for %" PRIu64 " sectors, the descriptor %s "
             "wants %" PRIu64 " (line %u)", image->file->name,
             image->capacity / VD_SECTOR, link->path, e->length / VD_SECTOR,
             e->line);
    return NULL;
  }
  return VD_TAKE (image);
}

/* Pieces of a split disk that are not here. */
struct lost {
  size_t n;
  uint64_t bytes;
  struct vd_err first;          /* why */
  char *names;                  /* of those behind the first, or NULL */
};

#define MAX_LOST_NAMES 60u

static int
note_lost (struct lost *lost, const struct vd_extent_line *e,
           const struct vd_err *why, struct vd_err *err)
{
  char *longer;

  lost->bytes += e->length;
  if (lost->n++ == 0) {
    lost->first = *why;
    return 0;
  }
  if (lost->n > MAX_LOST_NAMES + 1)
    return 0;
  if (asprintf (&longer, "%s%s%s", lost->names ? lost->names : "",
                lost->names ? ", " : "", lost->n > MAX_LOST_NAMES ? "..."
                : e->shown) == -1)
    return vd_fail_nomem (err);
  free (lost->names);
  lost->names = longer;
  return 0;
}

static void
free_lost (struct lost *lost)
{
  free (lost->names);
}

/* One piece of a split disk is not here: the others can be read.  A disk of
 * one extent has nothing to be read.
 */
static struct vd_image *
open_lost (const struct vd_link *link, const struct vd_extent_line *e,
           const char *from, struct lost *lost, struct vd_err *err)
{
  struct vd_err why = *err;

  if (lost->n == 0)
    vd_suggest_extent (link, e, &why);
  if (strncmp (why.msg, from, strlen (from)) != 0)
    vd_err_prefix (&why, "%s: ", from);
  *err = why;
  if (link->descriptor->nr_extents == 1 || !e->name ||
      (why.code != VD_NOT_FOUND && why.code != VD_TRUNCATED) ||
      note_lost (lost, e, &why, err) == -1)
    return NULL;
  return vd_image_open_lost (e->name, e->length, &why, err);
}

static bool
all_lost (const struct vd_link *link)
{
  size_t i;

  for (i = 0; i < link->nr_pieces; ++i)
    if (!link->pieces[i].image->fmt->no_data)
      return false;
  return true;
}

static int
open_extents (struct vd_link *link, const struct vd_opts *opts,
              struct vd_err *err)
{
  const struct vd_descriptor *d = link->descriptor;
  VD_CLEANUP (free_lost) struct lost lost = { .n = 0 };
  struct vd_image *image;
  size_t i;

  for (i = 0; i < d->nr_extents; ++i) {
    const struct vd_extent_line *e = &d->extents[i];
    CLEANUP_FREE char *from = NULL;

    if (asprintf (&from, "%s line %u", link->path, e->line) == -1) {
      from = NULL;
      return vd_fail_nomem (err);
    }
    image = open_extent (link, e, from, opts, err);
    if (!image)
      image = open_lost (link, e, from, &lost, err);
    if (!image || add_piece (link, image, e->length, err) == -1) {
      if (err->code == VD_NOMEM && err->errnum != 0)
        vd_err_prefix (err, "its %zu extents are open as long as the disk "
                       "is; a limit of %zu open files would do: ",
                       d->nr_extents, vd_fd_limit_for (d->nr_extents - i));
      /* What is wrong with a name begins with its place already. */
      if (strncmp (err->msg, from, strlen (from)) != 0)
        vd_err_prefix (err, "%s: ", from);
      return -1;
    }
  }
  if (lost.n > 0 && all_lost (link)) {
    *err = lost.first;
    return -1;
  }
  if (lost.n == 1)
    vd_warn (&opts->log, "%s; the %" PRIu64 " bytes of this extent are lost",
             lost.first.msg, lost.bytes);
  else if (lost.n > 1)
    vd_warn (&opts->log, "%s; nor are %zu other extents there (%s): %" PRIu64
             " of %" PRIu64 " bytes are lost", lost.first.msg, lost.n - 1,
             lost.names, lost.bytes, link->capacity);
  return 0;
}

/* The pieces of a split disk that VMware's libraries write have room for a
 * descriptor and nothing in it.
 */
static int
is_empty (const struct vd_image *image, struct vd_err *err)
{
  char first;

  return vd_file_pread (image->file, &first, 1, image->descriptor_offset,
                        err) == -1 ? -1 : first == '\0';
}

/* The file is a sparse extent, link->self: what does it say? */
static int
read_sparse (struct vd_link *link, const struct vd_opts *opts,
             struct vd_err *err)
{
  const struct vd_image *image = link->self;
  const char *name = image->file->name;
  const struct vd_descriptor *d;
  int empty = 0;

  if (image->linked_by_uuid) {
    link->id = image->id;
    link->role = vd_uuid_is_null (link->id.parent)
      ? VD_ROLE_BASE : VD_ROLE_CHILD;
    link->capacity = image->capacity;
    return 0;
  }
  if (image->descriptor_length > 0 && image->capacity > 0 &&
      (empty = is_empty (image, err)) == -1)
    return -1;
  if (empty)
    vd_warn (&opts->log, "%s: its descriptor is empty, as in pieces of split "
             "disks; its parent is not known", name);
  if (image->descriptor_length == 0 || empty) {
    link->role = VD_ROLE_BARE;
    link->capacity = image->capacity;
    return 0;
  }

  d = link->descriptor
    = read_descriptor (image->file, image->descriptor_offset,
                       image->descriptor_length, opts, err);
  if (!d)
    return -1;
  link->embedded = true;
  if (get_identity (d, name, &link->id, err) == -1)
    return -1;
  link->role = role_of (d, &link->id, name, &opts->log);
  link->capacity = d->capacity;
  if (image->capacity == 0)     /* it names other files */
    return 0;

  if (d->nr_extents != 1 || d->extents[0].type != VD_EXTENT_SPARSE)
    return vd_fail (err, VD_CORRUPT,
                    "%s: the embedded descriptor has %zu extents, the first "
                    "of type %s; allowed is one of type SPARSE, this file",
                    name, d->nr_extents, d->extents[0].type_text);
  if (d->capacity > image->capacity)
    return vd_fail (err, VD_MISMATCH,
                    "%s: extent has room for %" PRIu64 " sectors (header byte "
                    "12), its descriptor wants %" PRIu64 " (line %u)", name,
                    image->capacity / VD_SECTOR, d->capacity / VD_SECTOR,
                    d->extents[0].line);
  return 0;
}

/* A text without any word of a descriptor is not a damaged one. */
static void
explain_text (struct vd_file *file, struct vd_err *err)
{
  const struct vd_foreign *f = vd_foreign_by_name (file->name);
  uint8_t head[VD_FOREIGN_HEAD];
  const size_t n = (size_t) vd_min (file->size, sizeof head);
  struct vd_err ignored;

  if (err->code == VD_NOMEM || err->code == VD_IO ||
      vd_file_pread (file, head, n, 0, &ignored) == -1 ||
      vd_is_descriptor_text (head, n))
    return;
  if (f)
    vd_fail (err, VD_NOT_FORMAT, "%s is %s: %s", file->name, f->what,
             f->advice);
  else
    vd_err_prefix (err, "%s is a text, but not a VMDK descriptor: ",
                   file->name);
}

struct vd_link *
vd_link_read (struct vd_file *given, const char *path,
              const struct vd_opts *opts, struct vd_err *err)
{
  VD_CLEANUP (close_file) struct vd_file *file = given;
  VD_CLEANUP (close_link) struct vd_link *link = calloc (1, sizeof *link);
  const struct vd_format *fmt;
  enum vd_magic magic;

  if (!link || !(link->path = strdup (path))) {
    vd_fail_nomem (err);
    return NULL;
  }
  link->dev = file->dev;
  link->ino = file->ino;
  link->places = vd_confine_new (path, opts, err);
  if (!link->places || vd_image_probe (file, &magic, &fmt, err) == -1)
    return NULL;

  switch (magic) {
  case VD_MAGIC_SPARSE:
    link->self = vd_image_open (file, opts, err);
    if (!link->self)
      return NULL;
    file = NULL;
    if (read_sparse (link, opts, err) == -1)
      return NULL;
    break;
  case VD_MAGIC_TEXT:
    link->descriptor = read_descriptor (file, 0, file->size, opts, err);
    if (!link->descriptor) {
      explain_text (file, err);
      return NULL;
    }
    if (get_identity (link->descriptor, path, &link->id, err) == -1)
      return NULL;
    link->role = role_of (link->descriptor, &link->id, path, &opts->log);
    link->capacity = link->descriptor->capacity;
    break;
  default:
    vd_explain_foreign (file, err);
    return NULL;
  }
  return VD_TAKE (link);
}

/* A file in memory has nothing beside it. */
static int
find_mark (struct vd_link *link, const struct vd_opts *opts,
           struct vd_err *err)
{
  if (link->ino == 0 || opts->own_marks || link->merging)
    return 0;
  return vd_is_uri (link->path)
    ? vd_merging_find_uri (link->path, opts, &link->merging, err)
    : vd_merging_find (link->path, &link->merging, err);
}

int
vd_link_load (struct vd_link *link, const struct vd_opts *opts,
              struct vd_err *err)
{
  if (link->loaded)
    return 0;
  if (link->descriptor && link->descriptor->no_data)
    return vd_fail (err, VD_UNSUPPORTED, "%s", link->descriptor->no_data);
  if (find_mark (link, opts, err) == -1)
    return -1;
  if (link->self && link->self->capacity > 0) {
    if (add_piece (link, VD_TAKE (link->self), link->capacity, err) == -1)
      return -1;
  }
  else {
    const int r = open_extents (link, opts, err);

    vd_confine_forget (link->places);
    if (r == -1)
      return -1;
  }
  link->loaded = true;
  return 0;
}

struct vd_link *
vd_link_open (const char *path, const struct vd_opts *opts,
              struct vd_err *err)
{
  VD_CLEANUP (close_link) struct vd_link *link = NULL;
  struct vd_file *file = vd_open (path, opts, err);

  if (file)
    link = vd_link_read (file, path, opts, err);
  if (!link || vd_link_load (link, opts, err) == -1)
    return NULL;
  return VD_TAKE (link);
}

/* The piece that holds offset, which lies inside the link. */
static size_t
find_piece (const struct vd_link *link, uint64_t offset)
{
  size_t lo = 0, hi = link->nr_pieces;

  while (hi - lo > 1) {
    const size_t mid = lo + (hi - lo) / 2;

    if (link->pieces[mid].start <= offset)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

int
vd_link_map (const struct vd_link *link, uint64_t offset, uint64_t length,
             uint32_t first_slot, struct vd_runs *runs, struct vd_err *err)
{
  const uint64_t end = offset + length;
  size_t i;

  for (i = offset < link->capacity ? find_piece (link, offset) : 0;
       offset < vd_min (end, link->capacity); ++i) {
    const struct vd_piece *p = &link->pieces[i];
    const struct vd_out out = {
      .runs = runs, .bias = p->start, .slot = first_slot + (uint32_t) i
    };
    const uint64_t to = vd_min (end, p->start + p->image->used);

    if (p->image->fmt->map (p->image, offset - p->start, to - offset, &out,
                            err) == -1)
      return -1;
    if (runs->n == 0 || vd_run_end (&runs->run[runs->n - 1]) < to)
      return 0;                 /* the list is full */
    offset = to;
  }
  if (offset < end &&
      vd_runs_add (runs, VD_ZERO, offset, end - offset, first_slot, 0,
                   err) == -1)
    return -1;
  return 0;
}

const char *
vd_link_format (const struct vd_link *link)
{
  const char *name = NULL;
  size_t i;

  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_format *fmt = link->pieces[i].image->fmt;

    if (fmt->no_data)
      continue;
    if (name && strcmp (name, fmt->name) != 0)
      return "mixed";
    name = fmt->name;
  }
  return name ? name : vd_format_zero.name;
}

uint64_t
vd_link_min_grain (const struct vd_link *link)
{
  uint64_t r = 0, g;
  size_t i;

  for (i = 0; i < link->nr_pieces; ++i) {
    g = link->pieces[i].image->grain_size;
    if (g > 0 && (r == 0 || g < r))
      r = g;
  }
  return r;
}

uint64_t
vd_link_max_grain (const struct vd_link *link)
{
  uint64_t r = 0;
  size_t i;

  for (i = 0; i < link->nr_pieces; ++i)
    r = vd_max (r, link->pieces[i].image->grain_size);
  return r;
}

uint64_t
vd_link_prefetch (const struct vd_link *link, uint64_t offset,
                  uint64_t length, enum vd_prefetch what)
{
  const struct vd_piece *p;
  uint64_t asked = 0;

  for (p = link->pieces; p < link->pieces + link->nr_pieces; ++p) {
    const uint64_t from = vd_max (offset, p->start);
    const uint64_t to = vd_min (offset + length, p->start + p->image->used);

    if (from < to)
      asked += vd_image_prefetch (p->image, from - p->start, to - from, what);
  }
  return asked;
}

/* ---- Extents that share a file ------------------------------------------ */

/* Plain bytes of one file are apart; an extent with tables wants its file to
 * itself.
 */
static bool
are_apart (const struct vd_image *a, const struct vd_image *b)
{
  if (!a->file || !b->file || !vd_file_same (a->file, b->file))
    return true;
  if (a->fmt != &vd_format_flat || b->fmt != &vd_format_flat)
    return false;
  return vd_flat_start (a) >= vd_flat_start (b) + b->used ||
    vd_flat_start (b) >= vd_flat_start (a) + a->used;
}

int
vd_link_check_apart (const struct vd_link *link, struct vd_err *err)
{
  size_t i, j;

  for (i = 0; i < link->nr_pieces; ++i)
    for (j = 0; j < i; ++j)
      if (!are_apart (link->pieces[j].image, link->pieces[i].image))
        return vd_fail (err, VD_CORRUPT, "%s is two extents of %s, those at "
                        "bytes %" PRIu64 " and %" PRIu64 " of the disk, which "
                        "share bytes of it: writing to one would change the "
                        "other.  Correct the extent lines of the descriptor",
                        link->pieces[i].image->file->name, link->path,
                        link->pieces[j].start, link->pieces[i].start);
  return 0;
}
