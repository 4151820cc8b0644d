/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files that could be meant; see suggest.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "chain/suggest.h"
#include "file/scandir.h"
#include "file/uri.h"

#define MAX_NAMES 3u

struct suggest {
  const struct vd_link *link;
  const struct vd_extent_line *line;
  char *names;
  unsigned n;
};

/* It is another extent of the same disk. */
static bool
is_named (const struct vd_link *link, const char *name)
{
  const char *other, *slash;
  size_t i;

  for (i = 0; i < link->descriptor->nr_extents; ++i) {
    other = link->descriptor->extents[i].name;
    slash = other ? strrchr (other, '/') : NULL;
    if (other && strcmp (slash ? slash + 1 : other, name) == 0)
      return true;
  }
  return false;
}

static bool
fits (const struct suggest *s, struct vd_file **file)
{
  static const struct vd_opts quiet = { .allow_dirty = true };
  const struct vd_extent_line *e = s->line;
  const struct vd_format *fmt;
  struct vd_image *image;
  struct vd_err ignored;
  enum vd_magic magic;
  bool r;

  if (e->type == VD_EXTENT_FLAT && (*file)->size != e->offset + e->length)
    return false;
  if (vd_image_probe (*file, &magic, &fmt, &ignored) == -1)
    return false;
  if (e->type == VD_EXTENT_FLAT)
    return magic != VD_MAGIC_TEXT && magic != VD_MAGIC_SPARSE;
  if (magic != VD_MAGIC_SPARSE)
    return false;
  image = vd_image_open (*file, &quiet, &ignored);
  if (!image)
    return false;
  *file = NULL;
  r = image->descriptor_length == 0 && !image->linked_by_uuid &&
    image->capacity >= e->length &&
    image->capacity - e->length <= image->grain_size;
  vd_image_close (image);
  return r;
}

static int
try_file (void *opaque, int dir, const char *name, const char *path,
          struct vd_err *err)
{
  struct suggest *s = opaque;
  struct vd_file *file;
  char *longer;
  bool r;

  if (s->n > MAX_NAMES || is_named (s->link, name))
    return 0;
  file = vd_dir_open (dir, name, path, err);
  if (!file)
    return 0;
  r = file->ino != s->link->ino && fits (s, &file);
  vd_file_close (file);
  if (!r)
    return 0;
  if (asprintf (&longer, "%s%s%s", s->names ? s->names : "",
                s->names ? ", " : "", s->n == MAX_NAMES ? "..." : name) == -1)
    return vd_fail_nomem (err);
  free (s->names);
  s->names = longer;
  s->n++;
  return 0;
}

void
vd_suggest_extent (const struct vd_link *link, const struct vd_extent_line *e,
                   struct vd_err *err)
{
  struct suggest s = { .link = link, .line = e };
  struct vd_err ignored;

  if (err->code != VD_NOT_FOUND || link->ino == 0 || vd_is_uri (link->path) ||
      (e->type != VD_EXTENT_FLAT && e->type != VD_EXTENT_SPARSE))
    return;
  if (vd_scandir (vd_confine_dir (link->places), try_file, &s,
                  &ignored) == 0 && s.n > 0)
    vd_err_append (err, ".  By its size it could be %s, renamed: then correct "
                   "the name in the descriptor", s.names);
  free (s.names);
}
