/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What do machines in the folders beside need?
 *
 * A linked clone is a machine in a folder of its own, whose disk stands on a
 * snapshot of its original.  The original does not know of it unless VirtualBox
 * has both registered at the moment, so the folders beside that of the machine
 * are looked at: the headers of the images in each and in its folder for
 * snapshots, and its machine files.
 *
 * A copy of the machine (a backup) has the same UUIDs, and stands on its own
 * files: an image counts only if its parent is not in its own folder.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "file/scandir.h"
#include "merge/merge-private.h"

/* Together, in all folders: the collection of a large host takes seconds. */
#define MAX_FILES VD_MAX_DIR_ENTRIES

struct found {
  uint8_t uuid[16], parent[16];
  char *path;
};

struct look {
  const struct vd_merge *m;
  unsigned files;               /* looked at so far */

  /* What its folders hold, and the names of these. */
  struct found *image;
  size_t nr_images;
  char **box;
  size_t nr_boxes;
};

/* The link with this UUID that the merge changes or removes, or NULL. */
static const struct vd_link *
changed (const struct vd_merge *m, const uint8_t uuid[16])
{
  size_t i, k;

  if (vd_uuid_is_null (uuid))
    return NULL;
  for (i = 0; i < m->nr_disks; ++i) {
    const struct vd_merge_disk *d = &m->disk[i];

    for (k = 0; k < d->chain->nr_links; ++k)
      if (memcmp (d->chain->links[k]->id.image, uuid, 16) == 0 &&
          ((d->discard && k == 0) ||
           (d->nr > 0 && k >= d->first && k <= d->first + d->nr)))
        return d->chain->links[k];
  }
  return vd_merge_dropped (m, uuid);
}

static bool
in_chain (const struct vd_merge *m, const uint8_t uuid[16])
{
  size_t i, k;

  for (i = 0; i < m->nr_disks; ++i)
    for (k = 0; k < m->disk[i].chain->nr_links; ++k)
      if (memcmp (m->disk[i].chain->links[k]->id.image, uuid, 16) == 0)
        return true;
  return vd_merge_dropped (m, uuid) != NULL;
}

static bool
ends_in (const char *name, const char *end)
{
  const size_t n = strlen (name), k = strlen (end);

  return n > k && strcasecmp (name + n - k, end) == 0;
}

static int
note_image (struct look *l, const struct vd_link *link, const char *path,
            struct vd_err *err)
{
  struct found *p;

  if (vd_uuid_is_null (link->id.image) && vd_uuid_is_null (link->id.parent))
    return 0;
  p = vd_grow (l->image, l->nr_images, sizeof *p, err);
  if (!p)
    return -1;
  l->image = p;
  memcpy (p[l->nr_images].uuid, link->id.image, 16);
  memcpy (p[l->nr_images].parent, link->id.parent, 16);
  p[l->nr_images].path = strdup (path);
  if (!p[l->nr_images].path)
    return vd_fail_nomem (err);
  l->nr_images++;
  return 0;
}

/* Only names that VirtualBox gives: beside the machine may be anything. */
static int
try_file (void *opaque, int dir, const char *name, const char *path,
          struct vd_err *err)
{
  static const struct vd_opts quiet = {
    .allow_dirty = true, .ignore_cid = true, .unconfined = true,
  };
  struct look *l = opaque;
  const bool box = ends_in (name, ".vbox");
  struct vd_link *link;
  struct vd_file *file;
  struct vd_err ignored;
  char **p;
  int r;

  if ((!box && !ends_in (name, ".vdi") && !ends_in (name, ".vmdk")) ||
      vd_is_flat_name (name) || ++l->files > MAX_FILES)
    return 0;
  if (box) {
    p = vd_grow (l->box, l->nr_boxes, sizeof *p, err);
    if (!p)
      return -1;
    l->box = p;
    p[l->nr_boxes] = strdup (path);
    if (!p[l->nr_boxes])
      return vd_fail_nomem (err);
    l->nr_boxes++;
    return 0;
  }
  file = vd_dir_open (dir, name, path, &ignored);
  link = file ? vd_link_read (file, path, &quiet, &ignored) : NULL;
  if (!link)
    return 0;
  r = note_image (l, link, path, err);
  vd_link_close (link);
  return r;
}

/* A folder that is not there, or not ours to read, has nothing. */
static int
scan (struct look *l, const char *dir, struct vd_err *err)
{
  struct vd_err e;

  if (vd_scandir (dir, try_file, l, &e) == 0 || e.code != VD_NOMEM)
    return 0;
  *err = e;
  return -1;
}

static int
scan_below (struct look *l, const char *dir, const char *name,
            struct vd_err *err)
{
  CLEANUP_FREE char *path = NULL;

  if (asprintf (&path, "%s%s%s", *name == '/' ? "" : dir,
                *name == '/' ? "" : "/", name) == -1) {
    path = NULL;
    return vd_fail_nomem (err);
  }
  return scan (l, path, err);
}

static bool
has_image (const struct look *l, const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < l->nr_images; ++i)
    if (memcmp (l->image[i].uuid, uuid, 16) == 0)
      return true;
  return false;
}

static int
refuse (const struct vd_link *link, const char *what, const char *path,
        struct vd_err *err)
{
  return vd_fail (err, VD_USAGE, "%s %s %s, in another machine's folder, as "
                  "disks of linked clones do: merging would destroy it.  Make "
                  "a full clone of that machine first, or remove it, or merge "
                  "only newer snapshots (--skip, --count); nothing was "
                  "written", path, what, link->path);
}

/* Its disks may lie anywhere; but of a copy, all that it names is its own. */
static int
judge_box (const struct look *l, const struct vd_vbox *box,
           struct vd_err *err)
{
  const struct vd_merge *m = l->m;
  const struct vd_vbox_medium *c;
  const struct vd_link *link;
  size_t i;

  if (m->box && memcmp (m->box->uuid, box->uuid, 16) == 0)
    return 0;
  for (i = 0; i < box->nr_media; ++i) {
    c = &box->media[i];
    if (!c->parent || in_chain (m, c->uuid) || has_image (l, c->parent->uuid))
      continue;
    link = changed (m, c->parent->uuid);
    if (link)
      return refuse (link, "has a disk on top of", box->path, err);
  }
  for (i = 0; !m->how.no_machine && i < box->current.n; ++i) {
    link = changed (m, box->current.attached[i].uuid);
    if (link && !has_image (l, link->id.image))
      return refuse (link, "uses", box->path, err);
  }
  return 0;
}

static int
judge (const struct look *l, struct vd_err *err)
{
  const struct vd_link *link;
  size_t i;

  for (i = 0; i < l->nr_images; ++i) {
    const struct found *f = &l->image[i];

    link = in_chain (l->m, f->uuid) || has_image (l, f->parent)
      ? NULL : changed (l->m, f->parent);
    if (link)
      return refuse (link, "is based on", f->path, err);
  }
  return 0;
}

/* A folder that may be a machine's. */
static int
look_at (struct look *l, const char *dir, struct vd_err *err)
{
  struct vd_vbox *box;
  struct vd_err ignored;
  size_t i;
  int r;

  r = scan (l, dir, err);
  if (r == 0)
    r = scan_below (l, dir, VD_SNAPSHOTS, err);
  for (i = 0; r == 0 && i < l->nr_boxes; ++i) {
    box = vd_vbox_open (l->box[i], &ignored);
    if (!box)
      continue;
    if (strcasecmp (vd_vbox_snapshot_folder (box), VD_SNAPSHOTS) != 0)
      r = scan_below (l, dir, vd_vbox_snapshot_folder (box), err);
    if (r == 0)
      r = judge_box (l, box, err);
    vd_vbox_free (box);
  }
  if (r == 0)
    r = judge (l, err);
  while (l->nr_images > 0)
    free (l->image[--l->nr_images].path);
  while (l->nr_boxes > 0)
    free (l->box[--l->nr_boxes]);
  return r;
}

struct folders {
  char **path;                  /* real names */
  size_t n;
};

static int
add_folder (struct folders *f, const char *dir, struct vd_err *err)
{
  CLEANUP_FREE char *real = realpath (dir, NULL);
  char **p;
  size_t i;

  if (!real)
    return 0;
  for (i = 0; i < f->n; ++i)
    if (strcmp (f->path[i], real) == 0)
      return 0;
  p = vd_grow (f->path, f->n, sizeof *p, err);
  if (!p)
    return -1;
  f->path = p;
  p[f->n++] = VD_TAKE (real);
  return 0;
}

static void
free_folders (struct folders *f)
{
  while (f->n > 0)
    free (f->path[--f->n]);
  free (f->path);
}

/* The folders of the machine itself: they were looked at, by name too. */
static int
own_folders (const struct vd_merge *m, struct folders *f, struct vd_err *err)
{
  size_t i, k;

  for (i = 0; i < m->nr_disks; ++i)
    for (k = 0; k < m->disk[i].chain->nr_links; ++k) {
      const struct vd_link *link = m->disk[i].chain->links[k];
      const char *dir = vd_confine_dir (link->places);
      CLEANUP_FREE char *above = vd_directory_of (dir);

      if (!above)
        return vd_fail_nomem (err);
      if (changed (m, link->id.image) &&
          add_folder (f, vd_is_snapshots (dir) ? above : dir, err) == -1)
        return -1;
    }
  for (i = 0; i < m->nr_dropped; ++i) {
    const struct vd_member *d = m->dropped[i].member;
    const char *dir = d ? vd_confine_dir (d->link->places) : NULL;
    CLEANUP_FREE char *above = dir ? vd_directory_of (dir) : NULL;

    if (d && !above)
      return vd_fail_nomem (err);
    if (d && add_folder (f, vd_is_snapshots (dir) ? above : dir, err) == -1)
      return -1;
  }
  if (m->box_path) {
    CLEANUP_FREE char *dir = vd_directory_of (m->box_path);

    return dir ? add_folder (f, dir, err) : vd_fail_nomem (err);
  }
  return 0;
}

static bool
is_one_of (const struct folders *f, const char *path)
{
  CLEANUP_FREE char *real = realpath (path, NULL);
  size_t i;

  for (i = 0; real && i < f->n; ++i)
    if (strcmp (f->path[i], real) == 0)
      return true;
  return false;
}

static int
look_in (struct look *l, const char *parent, const struct folders *own,
         struct vd_err *err)
{
  DIR *dir = opendir (parent);
  const struct dirent *e;
  int r = look_at (l, parent, err);

  while (dir && r == 0 && l->files <= MAX_FILES && (e = readdir (dir))) {
    CLEANUP_FREE char *path = NULL;

    if (e->d_name[0] == '.' || (e->d_type != DT_DIR && e->d_type != DT_LNK &&
                                e->d_type != DT_UNKNOWN))
      continue;
    if (asprintf (&path, "%s/%s", parent, e->d_name) == -1) {
      path = NULL;
      r = vd_fail_nomem (err);
    }
    else if (!is_one_of (own, path))
      r = look_at (l, path, err);
  }
  if (dir)
    closedir (dir);
  return r;
}

int
vd_merge_check_clones (const struct vd_merge *m, struct vd_err *err)
{
  VD_CLEANUP (free_folders) struct folders own = { NULL, 0 };
  VD_CLEANUP (free_folders) struct folders parents = { NULL, 0 };
  struct look l = { .m = m };
  size_t i;
  int r;

  r = own_folders (m, &own, err);
  for (i = 0; r == 0 && i < own.n; ++i) {
    CLEANUP_FREE char *above = vd_directory_of (own.path[i]);

    r = above ? add_folder (&parents, above, err) : vd_fail_nomem (err);
  }
  for (i = 0; r == 0 && i < parents.n; ++i)
    r = look_in (&l, parents.path[i], &own, err);
  if (r == 0 && l.files > MAX_FILES)
    vd_warn (&m->opts.log, "the folders beside have more than %u images: not "
             "all were asked whether they are based on what is merged, as disks "
             "of linked clones do", MAX_FILES);
  free (l.image);
  free (l.box);
  return r;
}
