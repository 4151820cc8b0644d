/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding out about one link; see info.h. */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "verb-info.h"

const char *
parent_state_name (enum parent_state state)
{
  static const char *const names[] = {
    [PARENT_NONE] = "none", [PARENT_FOUND] = "found",
    [PARENT_UNKNOWN] = "unknown", [PARENT_MISSING] = "missing",
    [PARENT_MISFIT] = "misfit", [PARENT_BROKEN] = "broken",
  };

  return names[state];
}

static int
count_piece (void *opaque, const struct vd_walked *p, struct vd_err *err)
{
  struct facts *f = opaque;
  const struct vd_link *link = f->member->link;
  size_t i;

  (void) err;
  f->bytes[p->kind] += p->length;
  if (p->kind == VD_WALK_DAMAGED && f->damage.code == VD_OK) {
    for (i = link->nr_pieces - 1; link->pieces[i].start > p->offset; --i)
      ;
    link->pieces[i].image->fmt->explain (link->pieces[i].image, p->offset
                                         - link->pieces[i].start, &f->damage);
  }
  return 0;
}

/* A descriptor of many flat extents can name one file many times. */
static bool
is_new_file (const struct vd_link *link, size_t n)
{
  const struct vd_file *file = link->pieces[n].image->file;
  size_t i;

  for (i = 0; i < n; ++i)
    if (link->pieces[i].image->file &&
        vd_file_same (link->pieces[i].image->file, file))
      return false;
  return true;
}

static void
add_file (struct facts *f, uint64_t size, const struct stat *st)
{
  f->nr_files++;
  f->files_size += size;
  f->files_usage += S_ISREG (st->st_mode) ? (uint64_t) st->st_blocks * 512
    : size;
}

void
facts_count_files (struct facts *f)
{
  const struct vd_link *link = f->member->link;
  const struct vd_image *image;
  struct stat st;
  size_t i;

  if (link->descriptor && !link->embedded && stat (link->path, &st) == 0)
    add_file (f, (uint64_t) st.st_size, &st);
  for (i = 0; i < link->nr_pieces; ++i) {
    image = link->pieces[i].image;
    f->unclean = f->unclean || image->unclean;
    if (image->file && is_new_file (link, i) &&
        fstat (vd_file_fd (image->file), &st) == 0)
      add_file (f, image->file->size, &st);
  }
}

/* The user named a parent for the link whose parent is not found. */
static int
use_given_parent (struct vd_family *family, struct vd_member *m,
                  struct vd_err *err)
{
  struct vd_member *parent = vd_family_add (family, family->opts->parent, err);

  if (!parent)
    return -1;
  vd_family_set_parent (m, parent);
  return 0;
}

static void
find_parent (struct facts *f, struct vd_family *family)
{
  struct vd_member *m = f->member;
  struct vd_err *err = &f->parent_err;
  int r = vd_family_find_parent (family, m, err);

  if (family->opts->parent &&
      (r == 0 ? m->result == VD_PARENT_UNKNOWN
       : err->code == VD_NOT_FOUND || err->code == VD_DENIED))
    r = use_given_parent (family, m, err);
  /* Also for its warnings: other sizes, other CIDs with --ignore-cid. */
  if (r == 0 && m->parent)
    r = vd_chain_check_pair (m->link, m->parent->link, family->opts, err);
  if (r == -1)
    f->parent_state = err->code == VD_MISMATCH ? PARENT_MISFIT
      : err->code == VD_NOT_FOUND ? PARENT_MISSING : PARENT_BROKEN;
  else
    f->parent_state = m->result == VD_PARENT_NONE ? PARENT_NONE
      : m->result == VD_PARENT_FOUND ? PARENT_FOUND : PARENT_UNKNOWN;
}

int
facts_open (struct facts *f, struct vd_family *family,
            struct vd_member *member, struct vd_err *err)
{
  *f = (struct facts) { .path = member->link->path, .member = member,
                         .opts = family->opts };
  f->loaded = vd_link_load (member->link, family->opts, &f->load_err) == 0;
  facts_count_files (f);
  find_parent (f, family);
  if (!f->loaded && f->load_err.code == VD_NOMEM)
    *err = f->load_err;
  else if (f->parent_state == PARENT_BROKEN &&
           f->parent_err.code == VD_NOMEM)
    *err = f->parent_err;
  else
    return 0;
  return -1;
}

int
facts_walk (struct facts *f, struct vd_err *err)
{
  if (!f->loaded)
    return 0;
  f->walked = vd_walk_link (f->member->link, count_piece, f, &f->walk_err) == 0;
  if (f->walked || f->walk_err.code != VD_NOMEM)
    return 0;
  *err = f->walk_err;
  return -1;
}

int
facts_walk_all (struct facts *f, size_t n, struct vd_err *err)
{
  struct vd_link **links = calloc (n + 1, sizeof (struct vd_link *));
  uint64_t size = 0;
  size_t i, loaded = 0;

  if (!links)
    return vd_fail (err, VD_NOMEM, "out of memory");
  for (i = 0; i < n; ++i)
    if (f[i].loaded) {
      links[loaded++] = f[i].member->link;
      size = vd_max (size, f[i].member->link->capacity);
    }
  vd_walk_ask (links, loaded, 0, size);
  free (links);
  for (i = 0; i < n; ++i)
    if (facts_walk (&f[i], err) == -1)
      return -1;
  return 0;
}

bool
facts_complete (const struct facts *f)
{
  return f->loaded && f->walked;
}

bool
facts_whole (const struct facts *f)
{
  return facts_complete (f) && f->bytes[VD_WALK_DAMAGED] == 0;
}

const char *
facts_state (const struct facts *f)
{
  return !facts_complete (f) ? "incomplete"
    : f->bytes[VD_WALK_DAMAGED] > 0 ? "damaged" : f->unclean ? "unclean" : "ok";
}

const char *
facts_key (const struct facts *f, const char *key)
{
  const struct vd_descriptor *d = f->member->link->descriptor;

  return d ? vd_descriptor_get (d, key) : NULL;
}

const char *
facts_format (const struct facts *f)
{
  const struct vd_link *link = f->member->link;

  if (f->loaded)
    return vd_link_format (link);
  return link->self ? link->self->fmt->name : NULL;
}

int
extent_found (const struct facts *f, size_t i, struct vd_err *err)
{
  const struct vd_link *link = f->member->link;
  const struct vd_extent_line *e = &link->descriptor->extents[i];
  const struct vd_image *image;
  struct vd_file *file;

  if (f->loaded && i < link->nr_pieces) {
    image = link->pieces[i].image;
    return image->file && image->fmt->no_data
      ? image->fmt->explain (image, 0, err) : 0;
  }
  if (e->type == VD_EXTENT_ZERO || e->type == VD_EXTENT_ELSEWHERE ||
      e->access == VD_NOACCESS || (link->self && link->self->capacity > 0))
    return 0;
  file = vd_link_find_extent (link, e, f->opts, err);
  vd_file_close (file);
  /* Not the way to follow it: on this machine the name means something else. */
  if (!file && vd_is_device_name (e->name))
    return vd_fail (err, VD_NOT_FOUND, "not a file here, but what had this "
                    "name where the disk was used");
  return file ? 0 : -1;
}
