/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding a parent by its UUID; see uuid-search.h.
 *
 * Only files whose first bytes are those of a VMDK or VDI are looked at, and
 * of these only header and descriptor.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "chain/uuid-search.h"
#include "file/scandir.h"
#include "file/uri.h"

void
vd_uuid_index_free (struct vd_uuid_index *index)
{
  size_t i;

  for (i = 0; i < index->nr_images; ++i)
    free (index->image[i].path);
  for (i = 0; i < index->nr_dirs; ++i)
    free (index->dir[i].path);
  free (index->image);
  free (index->dir);
  *index = (struct vd_uuid_index) { .nr_images = 0 };
}

static struct vd_link *
read_entry (int dir, const char *name, const char *path,
            const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_file *file = vd_dir_open (dir, name, path, err);
  const struct vd_format *fmt;
  enum vd_magic magic;

  if (!file)
    return NULL;
  if (vd_image_probe (file, &magic, &fmt, err) == -1) {
    vd_file_close (file);
    return NULL;
  }
  if (magic != VD_MAGIC_TEXT && magic != VD_MAGIC_SPARSE) {
    vd_fail (err, VD_NOT_FORMAT, "%s is no image", path);
    vd_file_close (file);
    return NULL;
  }
  return vd_link_read (file, path, opts, err);
}

/* Is the file known, by another name or from another directory? */
static bool
is_indexed (const struct vd_uuid_index *index,
            const struct vd_known_image *image)
{
  size_t i;

  for (i = 0; i < index->nr_images; ++i)
    if (index->image[i].ino == image->ino && index->image[i].dev == image->dev)
      return true;
  return false;
}

static int
index_file (void *opaque, int dir, const char *name, const char *path,
            struct vd_err *err)
{
  struct vd_uuid_index *index = opaque;
  /* What does not open is not what is looked for: no warnings. */
  static const struct vd_opts quiet = { .allow_dirty = true };
  struct vd_known_image *more, image = { .dir = index->nr_dirs - 1 };
  struct vd_link *link;
  struct vd_err e;

  if (vd_is_flat_name (name) ||
      !vd_dir_identity (dir, name, &image.dev, &image.ino) ||
      is_indexed (index, &image))
    return 0;
  index->nr_opened++;
  link = read_entry (dir, name, path, &quiet, &e);
  if (!link && (e.code == VD_NOMEM || e.errnum == EMFILE ||
                e.errnum == ENFILE)) {
    *err = e;                   /* what is not seen would be "not found" */
    return -1;
  }
  if (link) {
    memcpy (image.uuid, link->id.image, 16);
    vd_link_close (link);
    index->dir[image.dir].nr_seen++;
  }
  if (!vd_uuid_is_null (image.uuid) && !(image.path = strdup (path)))
    return vd_fail_nomem (err);
  more = vd_grow (index->image, index->nr_images, sizeof *more, err);
  if (!more) {
    free (image.path);
    return -1;
  }
  index->image = more;
  more[index->nr_images++] = image;
  return 0;
}

/* Look through a directory, unless that was done. */
static int
index_dir (struct vd_uuid_index *index, const char *path, struct vd_err *err)
{
  struct vd_indexed_dir *more;
  char *real = realpath (path, NULL);
  size_t i;

  if (!real)
    return vd_fail_errno (err, errno, "%s: cannot open directory", path);
  for (i = 0; i < index->nr_dirs; ++i)
    if (strcmp (index->dir[i].path, real) == 0) {
      free (real);
      return 0;
    }
  more = vd_grow (index->dir, index->nr_dirs, sizeof *more, err);
  if (!more) {
    free (real);
    return -1;
  }
  index->dir = more;
  more[index->nr_dirs++] = (struct vd_indexed_dir) { .path = real };
  return vd_scandir (real, index_file, index, err);
}

/* May images of this directory be the parent's? */
struct places {
  const char *dir, *above;      /* NULL: none */
  const struct vd_opts *opts;
};

static int
index_places (struct vd_uuid_index *index, const struct places *p,
              struct vd_err *err)
{
  size_t i;

  if ((p->dir && index_dir (index, p->dir, err) == -1) ||
      (p->above && index_dir (index, p->above, err) == -1))
    return -1;
  for (i = 0; i < p->opts->nr_dirs; ++i)
    if (!vd_is_uri (p->opts->dirs[i]) &&
        index_dir (index, p->opts->dirs[i], err) == -1)
      return -1;
  return 0;
}

static bool
is_place (const struct places *p, const char *dir)
{
  size_t i;

  if ((p->dir && strcmp (dir, p->dir) == 0) || (p->above && strcmp (dir, p->above) == 0))
    return true;
  for (i = 0; i < p->opts->nr_dirs; ++i) {
    CLEANUP_FREE char *real = realpath (p->opts->dirs[i], NULL);

    if (real && strcmp (real, dir) == 0)
      return true;
  }
  return false;
}

/* The image of that UUID, in the places; NULL: none.  *second: another. */
static const struct vd_known_image *
find_image (const struct vd_uuid_index *index, const struct places *p,
            const struct vd_link *child, const struct vd_known_image **second)
{
  const struct vd_known_image *found = NULL;
  size_t i;

  *second = NULL;
  for (i = 0; i < index->nr_images && !*second; ++i) {
    const struct vd_known_image *m = &index->image[i];

    if (!m->path || memcmp (m->uuid, child->id.parent, 16) != 0 ||
        (m->ino == child->ino && m->dev == child->dev) ||
        !is_place (p, index->dir[m->dir].path))
      continue;
    if (found)
      *second = m;
    else
      found = m;
  }
  return found;
}

static size_t
count_seen (const struct vd_uuid_index *index, const struct places *p)
{
  size_t i, n = 0;

  for (i = 0; i < index->nr_dirs; ++i)
    if (is_place (p, index->dir[i].path))
      n += index->dir[i].nr_seen;
  return n;
}

/* Open again what was found: the same file as then. */
static struct vd_link *
open_found (struct vd_uuid_index *index, const struct vd_known_image *m,
            const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_link *link;

  index->nr_opened++;
  link = read_entry (AT_FDCWD, m->path, m->path, opts, err);
  if (link && (link->ino != m->ino || link->dev != m->dev)) {
    vd_fail (err, VD_MISMATCH, "%s was replaced while it was opened", m->path);
    vd_link_close (link);
    return NULL;
  }
  return link;
}

int
vd_find_by_uuid (struct vd_uuid_index *index, const struct vd_link *child,
                 const struct vd_opts *opts, struct vd_link **parent,
                 struct vd_err *err)
{
  const bool elsewhere = vd_is_uri (child->path);
  const char *dir = elsewhere ? NULL : vd_confine_dir (child->places);
  CLEANUP_FREE char *above = dir && vd_is_snapshots (dir)
    ? vd_directory_of (dir) : NULL;
  const struct places p = { .dir = dir, .above = above, .opts = opts };
  const struct vd_known_image *m, *second;
  char text[VD_UUID_TEXT];

  if (dir && vd_is_snapshots (dir) && !above)
    return vd_fail_nomem (err);
  if (index_places (index, &p, err) == -1)
    return -1;
  m = find_image (index, &p, child, &second);
  vd_uuid_text (text, child->id.parent);
  if (second)
    return vd_fail (err, VD_MISMATCH,
                    "UUID {%s}, the parent of %s, is carried by both %s and "
                    "%s (a copy keeps the UUID): move one of them away", text,
                    child->path, m->path, second->path);
  if (!m && elsewhere)
    return vd_fail (err, VD_NOT_FOUND,
                    "%s is a VirtualBox differencing image of {%s}, and which "
                    "file has that UUID cannot be looked for in a directory "
                    "of another host: name it with %sparent", child->path,
                    text, vd_opts_prefix ());
  if (!m)
    return vd_fail (err, VD_NOT_FOUND,
                    "%s is a VirtualBox differencing image of {%s}; none of "
                    "the %zu images in %s%s has that UUID: copy the parent "
                    "there, or name its directory with %sparent-path",
                    child->path, text, count_seen (index, &p), dir,
                    opts->nr_dirs > 0 ? " and the directories named" : "",
                    vd_opts_prefix ());
  *parent = open_found (index, m, opts, err);
  return *parent ? 0 : -1;
}
