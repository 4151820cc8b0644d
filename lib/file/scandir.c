/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Looking through a directory; see scandir.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "file/scandir.h"

static void
close_dir (DIR **dir)
{
  if (*dir)
    closedir (*dir);
}

struct names {
  char **name;
  size_t n;
};

static void
free_names (struct names *names)
{
  while (names->n > 0)
    free (names->name[--names->n]);
  free (names->name);
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (* (char *const *) a, * (char *const *) b);
}

static int
read_names (DIR *dir, const char *path, bool hidden, struct names *names,
            struct vd_err *err)
{
  const struct dirent *d;
  struct stat st;
  char **p;

  while ((errno = 0, d = readdir (dir)) != NULL) {
    if ((d->d_name[0] == '.') != hidden ||
        fstatat (dirfd (dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
        !S_ISREG (st.st_mode))
      continue;
    if (names->n == VD_MAX_DIR_ENTRIES)
      return vd_fail (err, VD_UNSUPPORTED, "%s has more than %u files, too "
                      "many to look through", path, VD_MAX_DIR_ENTRIES);
    p = vd_grow (names->name, names->n, sizeof *p, err);
    if (!p)
      return -1;
    names->name = p;
    p[names->n] = strdup (d->d_name);
    if (!p[names->n])
      return vd_fail_nomem (err);
    names->n++;
  }
  if (errno != 0)
    return vd_fail_errno (err, errno, "%s: cannot read directory", path);
  return 0;
}

static int
scan_dir (const char *path, bool hidden, vd_scandir_fn fn, void *opaque,
          struct vd_err *err)
{
  VD_CLEANUP (close_dir) DIR *dir = opendir (path);
  VD_CLEANUP (free_names) struct names names = { NULL, 0 };
  size_t i;

  if (!dir)
    return vd_fail_errno (err, errno, "%s: cannot open directory", path);
  if (read_names (dir, path, hidden, &names, err) == -1)
    return -1;
  if (names.n > 0)
    qsort (names.name, names.n, sizeof names.name[0], compare_names);

  for (i = 0; i < names.n; ++i) {
    CLEANUP_FREE char *full = NULL;

    if (asprintf (&full, "%s/%s", path, names.name[i]) == -1) {
      full = NULL;
      return vd_fail_nomem (err);
    }
    if (fn (opaque, dirfd (dir), names.name[i], full, err) == -1)
      return -1;
  }
  return 0;
}

int
vd_scandir (const char *path, vd_scandir_fn fn, void *opaque,
             struct vd_err *err)
{
  return scan_dir (path, false, fn, opaque, err);
}

int
vd_scandir_hidden (const char *path, vd_scandir_fn fn, void *opaque,
                   struct vd_err *err)
{
  return scan_dir (path, true, fn, opaque, err);
}

bool
vd_dir_identity (int dir, const char *name, dev_t *dev, ino_t *ino)
{
  struct stat st;

  if (fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
    return false;
  *dev = st.st_dev;
  *ino = st.st_ino;
  return true;
}

struct vd_file *
vd_dir_open (int dir, const char *name, const char *path,
             struct vd_err *err)
{
  struct vd_file *file;
  const int fd = openat (dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY |
                         O_NONBLOCK | O_NOFOLLOW);

  if (fd == -1) {
    vd_fail_errno (err, errno, "%s: cannot open", path);
    return NULL;
  }
  file = vd_file_from_fd (fd, path, err);
  if (!file)
    close (fd);
  return file;
}

bool
vd_is_flat_name (const char *name)
{
  const size_t n = strlen (name);

  if (n >= 10 && strcasecmp (name + n - 10, "-flat.vmdk") == 0)
    return true;
  return n >= 10 && strcasecmp (name + n - 5, ".vmdk") == 0 &&
    name[n - 10] == '-' && (name[n - 9] == 'f' || name[n - 9] == 'F') &&
    strspn (&name[n - 8], "0123456789") == 3;
}
