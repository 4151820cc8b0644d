/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A fresh, empty child on top of what was merged.
 *
 * Its files are made in a directory of their own, whose name begins with a
 * dot, so that nothing takes them for images until the journal moves them to
 * their place.  What a killed run left there is removed by the next.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "create/create-child.h"
#include "create/create-vdi.h"
#include "create/create.h"
#include "file/newfile.h"
#include "merge/merge-private.h"

static bool
by_uuid (const struct vd_merge_disk *d)
{
  return !vd_uuid_is_null (d->chain->links[0]->id.image) &&
    (!d->chain->links[0]->descriptor || d->chain->nr_links == 1 ||
     !vd_uuid_is_null (d->chain->links[0]->id.parent));
}

static bool
is_cowd (const struct vd_merge_disk *d)
{
  return strcmp (vd_link_format (d->chain->links[0]), "COWD") == 0;
}

/* Where its files go, and how they are called. */
static int
name_child (const struct vd_merge *m, struct vd_merge_disk *d,
            struct vd_err *err)
{
  const struct vd_link *top = d->chain->links[0];
  CLEANUP_FREE char *real = vd_merge_real_path (top->path, top->dev, top->ino,
                                                err);
  char *slash, text[VD_UUID_TEXT];
  const char *sub = "";

  if (!real)
    return -1;
  if (vd_uuid_new (d->new_uuid, err) == -1)
    return -1;
  if (d->found_child)
    return vd_fail (err, VD_USAGE, "%s is based on %s: a new child can only be "
                    "made on the newest", d->found_child->path, top->path);
  if (!by_uuid (d)) {
    d->new_child = vd_numbered_name (real, err);
    return d->new_child ? 0 : -1;
  }
  slash = strrchr (real, '/');
  *slash = '\0';
  if (m->box && d->chain->nr_links == 1)
    sub = "/Snapshots";
  if (asprintf (&d->new_child, "%s%s/{%s}.%s", real, sub,
                vd_uuid_text (text, d->new_uuid),
                top->descriptor ? "vmdk" : "vdi") == -1) {
    d->new_child = NULL;
    return vd_fail_nomem (err);
  }
  return 0;
}

/* From new_dir it is moved to its place, which a rename must be able to do. */
static int
check_same_place (const struct vd_merge *m, const struct vd_merge_disk *d,
                  struct vd_err *err)
{
  CLEANUP_FREE char *from = strdup (m->new_dir), *to = strdup (d->new_child);
  struct stat a, b;

  if (!from || !to)
    return vd_fail_nomem (err);
  *strrchr (from, '/') = '\0';
  *strrchr (to, '/') = '\0';
  if (stat (to, &b) == -1)      /* a Snapshots folder that is to be made */
    *strrchr (to, '/') = '\0';
  if (stat (*from ? from : "/", &a) == -1 || stat (*to ? to : "/", &b) == -1 ||
      a.st_dev == b.st_dev)
    return 0;
  return vd_fail (err, VD_UNSUPPORTED, "%s, where the new child would be, is "
                  "on another file system than %s: merge without --snapshot, "
                  "then let the product make the snapshot", to, from);
}

int
vd_merge_name_snapshot (struct vd_merge *m, struct vd_err *err)
{
  struct vd_journal j;
  size_t i;

  if (!m->how.snapshot)
    return 0;
  if (vd_uuid_new (m->new_snapshot, err) == -1 ||
      vd_journal_init_top (&j, m->top, m->given, err) == -1)
    return -1;
  if (asprintf (&m->new_dir, "%s-new", j.path) == -1)
    m->new_dir = NULL;
  vd_journal_free (&j);
  if (!m->new_dir)
    return vd_fail_nomem (err);
  for (i = 0; i < m->nr_disks; ++i)
    if (name_child (m, &m->disk[i], err) == -1 ||
        check_same_place (m, &m->disk[i], err) == -1)
      return -1;
  return 0;
}

/* Emptied, and removed: only what is ours, never what a link leads to. */
static void
remove_directory (const char *path)
{
  const int fd = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const struct dirent *e;
  struct stat st;
  DIR *dir;

  if (fd == -1)
    return;
  if (fstat (fd, &st) == -1 || st.st_uid != geteuid () ||
      !(dir = fdopendir (fd))) {
    close (fd);
    return;
  }
  while ((e = readdir (dir)) != NULL)
    if (strcmp (e->d_name, ".") != 0 && strcmp (e->d_name, "..") != 0)
      unlinkat (dirfd (dir), e->d_name, 0);
  closedir (dir);
  rmdir (path);
}

void
vd_merge_clean_snapshot (const struct vd_merge *m)
{
  struct vd_pins pins = { NULL, 0 };
  struct vd_err ignored;
  char *pinned = m->new_dir ? vd_pin (&pins, m->new_dir, &ignored) : NULL;

  if (pinned)
    remove_directory (pinned);
  free (pinned);
  vd_pins_free (&pins);
}

static int
make_vmdk (struct vd_merge_disk *d, const char *path,
           const struct vd_link *parent, const struct vd_new_identity *id,
           const struct vd_identity *ids, uint64_t capacity,
           struct vd_err *err)
{
  CLEANUP_FREE char *hint = NULL;
  struct vd_create_opts opts = {
    .format = is_cowd (d) ? VD_WRITER_COWD : VD_WRITER_SPARSE,
    .capacity = capacity, .store_zeros = !is_cowd (d),
    .like = vd_chain_strictest (d->chain),
  };
  struct vd_create *w;

  if (by_uuid (d))
    opts.uuids = ids;
  else {
    hint = vd_parent_hint (d->new_child, parent->path, err);
    if (!hint)
      return -1;
    opts.parent_cid = id->cid;
    opts.parent_hint = hint;
  }
  w = vd_create_open (path, &opts, err);
  return w ? vd_create_finish (w, NULL, err) : -1;
}

static int
rename_step (const char *from, const char *to, bool dry,
             struct vd_journal *j, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = dry ? NULL : vd_pin (&j->pins, from, err);
  struct vd_step s = { .kind = VD_STEP_RENAME };
  struct stat st;

  if (!dry) {
    if (!pinned)
      return -1;
    if (lstat (pinned, &st) == -1)
      return vd_fail_errno (err, errno, "%s", from);
    s.ino = st.st_ino;
    s.dev = st.st_dev;
  }
  s.path = strdup (to);
  s.from = strdup (from);
  return vd_journal_add (j, &s, err);
}

/* The name in new_dir for a final one. */
static char *
temp_name (const struct vd_merge *m, const char *path)
{
  char *temp = NULL;

  return asprintf (&temp, "%s/%s", m->new_dir, strrchr (path, '/') + 1) == -1
    ? NULL : temp;
}

static int
make_directory (struct vd_journal *j, const char *path, mode_t mode,
                bool may_exist, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, path, err);

  if (!pinned)
    return -1;
  if (mkdir (pinned, mode) == -1 && !(errno == EEXIST && may_exist))
    return vd_fail_errno (err, errno, "cannot create %s", path);
  /* The journal may not be there before what it names. */
  return vd_pin_flush (pinned, path, err);
}

/* What has the name of the directory that we made, and is it ours?  Who can
 * write beside it can have put another there.
 */
static int
check_new_dir (struct vd_journal *j, const char *temp, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, temp, err);
  CLEANUP_FREE char *dir = pinned ? vd_directory_of (pinned) : NULL;
  struct stat st;

  if (!pinned)
    return -1;
  if (!dir)
    return vd_fail_nomem (err);
  if (stat (dir, &st) == -1 || st.st_uid != geteuid () ||
      (st.st_mode & 022) != 0)
    return vd_fail (err, VD_DENIED, "the directory of %s was replaced by one "
                    "of somebody else", temp);
  return vd_flush_directory_of (pinned, err);
}

static int
make_dirs (const struct vd_merge *m, const struct vd_merge_disk *d,
           struct vd_journal *j, struct vd_err *err)
{
  CLEANUP_FREE char *dir
    = strndup (d->new_child, (size_t) (strrchr (d->new_child, '/') -
                                       d->new_child));
  const bool first = d == &m->disk[0];

  if (!dir)
    return vd_fail_nomem (err);
  if (make_directory (j, dir, 0777, true, err) == -1)
    return -1;
  if (first)
    vd_merge_clean_snapshot (m);
  if (make_directory (j, m->new_dir, 0700, !first, err) == -1)
    return -1;
  return check_new_dir (j, d->new_temp, err);
}

/* The files themselves, in new_dir. */
static int
make_child (struct vd_merge_disk *d, const struct vd_link *parent,
            const struct vd_new_identity *id, const struct vd_identity *ids,
            uint64_t capacity, struct vd_journal *j, struct vd_err *err)
{
  CLEANUP_FREE char *pinned = vd_pin (&j->pins, d->new_temp, err);
  int r;

  if (!pinned)
    return -1;
  if (!d->chain->links[0]->descriptor)
    r = vd_create_vdi_child (pinned, capacity, ids,
                             vd_chain_strictest (d->chain), err);
  else
    r = make_vmdk (d, pinned, parent, id, ids, capacity, err);
  if (r == 0)                   /* as make_directory */
    r = vd_pin_flush (pinned, d->new_temp, err);
  if (r == -1)
    vd_err_prefix (err, "%s: ", d->new_temp);
  return r;
}

int
vd_merge_snapshot_steps (struct vd_merge *m, struct vd_merge_disk *d,
                         const struct vd_link *parent,
                         const struct vd_new_identity *id, bool dry,
                         struct vd_journal *j, struct vd_err *err)
{
  const uint64_t capacity
    = d->nr > 0 && parent == d->target ? d->capacity : parent->capacity;
  struct vd_identity ids;
  const size_t n = strlen (d->new_child);

  free (d->new_temp);
  d->new_temp = temp_name (m, d->new_child);
  if (is_cowd (d) && !d->new_extent &&
      asprintf (&d->new_extent, "%.*s-delta.vmdk", (int) n - 5,
                d->new_child) == -1)
    d->new_extent = NULL;
  if (d->new_extent && !d->new_extent_temp)
    d->new_extent_temp = temp_name (m, d->new_extent);
  if (!d->new_temp || (is_cowd (d) && !d->new_extent_temp))
    return vd_fail_nomem (err);

  memcpy (ids.image, d->new_uuid, 16);
  memcpy (ids.parent, id->uuid, 16);
  memcpy (ids.parent_modified, id->modified, 16);
  if (vd_uuid_new (ids.modified, err) == -1)
    return -1;
  if (!dry && (make_dirs (m, d, j, err) == -1 ||
               make_child (d, parent, id, &ids, capacity, j, err) == -1))
    return -1;
  if (is_cowd (d) &&
      rename_step (d->new_extent_temp, d->new_extent, dry, j, err) == -1)
    return -1;
  return rename_step (d->new_temp, d->new_child, dry, j, err);
}
