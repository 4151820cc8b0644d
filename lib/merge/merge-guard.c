/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a merge may not touch.
 *
 * Names come from descriptors, which can name anything in their directory:
 * a file of the target, somebody's document.  Reading such a file is harmless;
 * writing to it, or removing it, is not.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "merge/merge-private.h"

struct known {
  dev_t dev;
  ino_t ino;
  const char *name;             /* of the link */
};

struct list {
  struct known *k;
  size_t n;
};

static bool
goes (const struct vd_merge_disk *d, size_t i)
{
  return (d->nr > 0 && i >= d->first && i < d->first + d->nr) ||
    (d->discard && i == 0);
}

static int
add (struct list *l, dev_t dev, ino_t ino, const char *name,
     struct vd_err *err)
{
  struct known *k = vd_grow (l->k, l->n, sizeof *k, err);

  if (!k)
    return -1;
  l->k = k;
  k[l->n++] = (struct known) { .dev = dev, .ino = ino, .name = name };
  return 0;
}

/* All files of a link. */
static int
add_link (struct list *l, const struct vd_link *link, struct vd_err *err)
{
  struct stat st;
  size_t i;

  if (link->ino != 0 &&
      add (l, link->dev, link->ino, link->path, err) == -1)
    return -1;
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_file *f = link->pieces[i].image->file;
    const int fd = f ? vd_file_fd (f) : -1;

    if (fd >= 0 && fstat (fd, &st) == 0 &&
        add (l, st.st_dev, st.st_ino, link->path, err) == -1)
      return -1;
  }
  return 0;
}

static int
compare (const void *a, const void *b)
{
  const struct known *x = a, *y = b;

  return x->dev != y->dev ? (x->dev < y->dev ? -1 : 1)
    : x->ino != y->ino ? (x->ino < y->ino ? -1 : 1) : 0;
}

static int
add_disk (struct list *stay, struct list *go, const struct vd_merge_disk *d,
          struct vd_err *err)
{
  size_t i;

  for (i = 0; i < d->chain->nr_links; ++i)
    if (add_link (goes (d, i) ? go : stay, d->chain->links[i], err) == -1)
      return -1;
  return d->found_child ? add_link (stay, d->found_child, err) : 0;
}

static int
check_shared (const struct list *stay, const struct list *go,
              struct vd_err *err)
{
  size_t i;

  if (stay->n > 0)
    qsort (stay->k, stay->n, sizeof *stay->k, compare);
  for (i = 0; i < go->n && stay->n > 0; ++i) {
    const struct known *k
      = bsearch (&go->k[i], stay->k, stay->n, sizeof *stay->k, compare);

    if (k)
      return vd_fail (err, VD_CORRUPT,
                      "%s and %s are made of the same file, so that one "
                      "cannot be merged, or dropped, without the other: see "
                      "their extent lines; nothing was written",
                      go->k[i].name, k->name);
  }
  return 0;
}

/* No product makes a child with flat extents, and a flat file can be
 * anything: it is not removed.
 */
static int
check_flat_link (const struct vd_link *link, struct vd_err *err)
{
  size_t k;

  for (k = 0; k < link->nr_pieces; ++k)
    if (link->pieces[k].image->fmt == &vd_format_flat)
      return vd_fail (err, VD_UNSUPPORTED,
                      "%s is a child, but its extent %s is a flat file, "
                      "which no product makes: it would be removed, and is "
                      "perhaps something else.  Look at it; --keep removes "
                      "no files; nothing was written", link->path,
                      link->pieces[k].image->file->name);
  return 0;
}

static int
check_flat (const struct vd_merge_disk *d, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < d->chain->nr_links; ++i)
    if (goes (d, i) && check_flat_link (d->chain->links[i], err) == -1)
      return -1;
  return 0;
}

static bool
is_dropped (const struct vd_merge *m, const struct vd_member *member)
{
  size_t i;

  for (i = 0; i < m->nr_dropped; ++i)
    if (m->dropped[i].member == member)
      return true;
  return false;
}

/* Of how.drop, the images of all states are members. */
static int
add_members (const struct vd_merge *m, struct list *stay, struct list *go,
             struct vd_err *err)
{
  const struct vd_family *f = m->family;
  size_t i;

  for (i = 0; i < f->nr_members; ++i) {
    const bool gone = is_dropped (m, f->members[i]);

    if (add_link (gone ? go : stay, f->members[i]->link, err) == -1 ||
        (gone && !m->how.keep &&
         check_flat_link (f->members[i]->link, err) == -1))
      return -1;
  }
  return 0;
}

static void
warn_hard_links (const struct vd_merge *m, const struct vd_merge_disk *d)
{
  struct stat st;
  size_t i;

  for (i = 0; d->nr > 0 && i < d->target->nr_pieces; ++i) {
    const struct vd_file *f = d->target->pieces[i].image->file;
    const int fd = f ? vd_file_fd (f) : -1;

    if (fd >= 0 && fstat (fd, &st) == 0 && st.st_nlink > 1)
      vd_warn (&m->opts.log, "%s has %" PRIu64 " names (hard links; a "
               "backup?): what is merged into it shows under all of them",
               f->name, (uint64_t) st.st_nlink);
  }
}

int
vd_merge_check_files (const struct vd_merge *m, struct vd_err *err)
{
  struct list stay = { NULL, 0 }, go = { NULL, 0 };
  size_t i;
  int r = m->how.drop ? add_members (m, &stay, &go, err) : 0;

  for (i = 0; r == 0 && i < m->nr_disks; ++i) {
    r = add_disk (&stay, &go, &m->disk[i], err);
    if (r == 0 && !m->how.keep)
      r = check_flat (&m->disk[i], err);
    if (r == 0)
      warn_hard_links (m, &m->disk[i]);
  }
  if (r == 0)
    r = check_shared (&stay, &go, err);
  free (stay.k);
  free (go.k);
  return r;
}

static int
check_directory_of (const char *path, struct vd_err *err)
{
  CLEANUP_FREE char *dir = strdup (path);
  char *slash = dir ? strrchr (dir, '/') : NULL;

  if (!dir)
    return vd_fail_nomem (err);
  if (slash)
    slash[slash == dir ? 1 : 0] = '\0';
  if (faccessat (AT_FDCWD, slash ? dir : ".", W_OK | X_OK, AT_EACCESS) == -1 &&
      errno != ENOENT)          /* a Snapshots folder is made */
    return vd_fail_errno (err, errno, "%s: files in it cannot be replaced or "
                          "removed", dir);
  return 0;
}

int
vd_merge_check_access (const struct vd_journal *j, struct vd_err *err)
{
  size_t i;

  if (check_directory_of (j->path, err) == -1)
    return -1;
  for (i = 0; i < j->n; ++i) {
    const struct vd_step *s = &j->step[i];

    if (s->kind != VD_STEP_WRITE) {
      if (check_directory_of (s->path, err) == -1)
        return -1;
    }
    else if (faccessat (AT_FDCWD, s->path, W_OK, AT_EACCESS) == -1)
      return vd_fail_errno (err, errno, "%s: cannot be written", s->path);
  }
  return 0;
}
