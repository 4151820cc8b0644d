/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files that get their name when they are complete.
 *
 * Invariants:
 * P1. Without `replace` a file that exists is never overwritten, not even one
 *     that appears between the check at the beginning and the end.
 * P2. Whatever happens, after vd_new_file_close there is either the complete
 *     file under its final name or nothing.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "file/newfile.h"
#include "file/rights.h"
#include "file/uri.h"

static int
fail_exists (const char *path, struct vd_err *err)
{
  return vd_fail (err, VD_USAGE, "%s exists already: give another name, "
                  "or remove it", path);
}

/* Keep hold of the file whose rights the new one gets, as it is now: the file
 * that is replaced, or `like`.
 */
static int
hold (struct vd_new_file *n, const char *path, const struct vd_file *like,
      struct vd_err *err)
{
  int fd = open (path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

  n->replaces = fd >= 0;
  if (fd == -1 && errno != ENOENT)
    return vd_fail_errno (err, errno, "%s", n->path);
  if (fd == -1 && like && vd_file_fd (like) >= 0) {
    fd = fcntl (vd_file_fd (like), F_DUPFD_CLOEXEC, 0);
    if (fd == -1)
      return vd_fail_errno (err, errno, "%s", n->path);
  }
  n->like = fd + 1;
  return 0;
}

static char *
pinned_name (int dir, const char *path)
{
  const char *slash = strrchr (path, '/');
  char *name;

  return asprintf (&name, "/proc/self/fd/%d/%s", dir,
                   slash ? slash + 1 : path) == -1 ? NULL : name;
}

static int
pin_names (struct vd_new_file *n, struct vd_err *err)
{
  CLEANUP_FREE char *dir = vd_directory_of (n->path);
  int fd;

  if (!dir)
    return vd_fail_nomem (err);
  fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd == -1)
    return vd_fail_errno (err, errno, "%s: cannot create: directory %s",
                          n->path, dir);
  n->dir = fd + 1;
  n->pinned_path = pinned_name (fd, n->path);
  n->pinned_temp = pinned_name (fd, n->temp);
  return n->pinned_path && n->pinned_temp ? 0 : vd_fail_nomem (err);
}

/* Messages are not about pinned names. */
static int
rename_file (struct vd_file *file, const char *name, struct vd_err *err)
{
  char *copy = strdup (name);

  if (!copy)
    return vd_fail_nomem (err);
  free (file->name);
  file->name = copy;
  return 0;
}

int
vd_new_file_open (struct vd_new_file *n, const char *path, bool replace,
                  struct vd_file *(*create) (const char *, struct vd_err *),
                  struct vd_err *err)
{
  return vd_new_file_open_like (n, path, replace, NULL, create, err);
}

int
vd_new_file_open_like (struct vd_new_file *n, const char *path, bool replace,
                       const struct vd_file *like,
                       struct vd_file *(*create) (const char *,
                                                  struct vd_err *),
                       struct vd_err *err)
{
  struct stat st;
  uint32_t r;
  bool ours;

  if (vd_is_uri (path))
    return vd_fail (err, VD_UNSUPPORTED, "%s is on another host: files are made "
                    "here only (a local file of such a name: ./%s)", path,
                    path);
  if (lstat (path, &st) == 0) {
    if (!replace)
      return fail_exists (path, err);
    /* Renaming over a symbolic link or a device would replace that. */
    if (!S_ISREG (st.st_mode))
      return vd_fail (err, VD_USAGE, "%s is not a regular file; only such are "
                      "replaced", path);
  }
  if (vd_random (&r, sizeof r, err) == -1)
    return -1;
  n->path = strdup (path);
  if (!n->path || asprintf (&n->temp, "%s.%08" PRIx32 ".part", path, r) == -1) {
    n->temp = NULL;
    return vd_fail_nomem (err);
  }
  if (pin_names (n, err) == -1 ||
      hold (n, n->pinned_path, like, err) == -1) {
    free (VD_TAKE (n->temp));
    return -1;
  }
  ours = !create || create == vd_file_create_private;
  if (!create)
    create = n->like > 0 ? vd_file_create_private : vd_file_create;
  n->file = create (n->pinned_temp, err);
  if (!n->file) {
    if (ours && err && err->errnum != 0)
      vd_fail_errno (err, err->errnum, "%s: cannot create", n->temp);
    free (VD_TAKE (n->temp));   /* whatever is there is not ours */
    return -1;
  }
  return rename_file (n->file, n->temp, err);
}

/* P1 */
int
vd_rename_new (const char *from, const char *to)
{
  struct stat st;

  if (renameat2 (AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
  if (link (from, to) == 0)
    return unlink (from);
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
    return -1;
  /* no hard links either: the best that is left */
  if (lstat (to, &st) == 0) {
    errno = EEXIST;
    return -1;
  }
  return rename (from, to);
}

int
vd_new_file_publish (struct vd_new_file *n, bool replace, struct vd_err *err)
{
  const int fd = vd_file_fd (n->file);

  if (n->like > 0 && fd >= 0)
    vd_rights_copy (fd, n->like - 1, n->replaces);
  if ((replace ? rename (n->pinned_temp, n->pinned_path)
       : vd_rename_new (n->pinned_temp, n->pinned_path)) == -1) {
    if (errno == EEXIST)
      return fail_exists (n->path, err);
    return vd_fail_errno (err, errno, "cannot rename %s to %s", n->temp,
                          n->path);
  }
  free (VD_TAKE (n->temp));
  return 0;
}

void
vd_new_file_close (struct vd_new_file *n)
{
  vd_file_close (VD_TAKE (n->file));
  if (n->like > 0)
    close (n->like - 1);
  n->like = 0;
  if (n->temp)
    unlink (n->pinned_temp);
  if (n->dir > 0)
    close (n->dir - 1);
  n->dir = 0;
  free (VD_TAKE (n->pinned_temp));
  free (VD_TAKE (n->pinned_path));
  free (VD_TAKE (n->temp));
  free (VD_TAKE (n->path));
}

void
vd_new_file_remove (const struct vd_new_file *n)
{
  if (n->pinned_path)
    unlink (n->pinned_path);
}

int
vd_new_file_flush_directory (const struct vd_new_file *n, struct vd_err *err)
{
  if (vd_flush_directory_of (n->pinned_path, err) == 0)
    return 0;
  vd_err_prefix (err, "%s: ", n->path);
  return -1;
}

void
vd_new_file_clean (const char *path)
{
  const char *slash = strrchr (path, '/');
  const char *name = slash ? slash + 1 : path;
  CLEANUP_FREE char *above = vd_directory_of (path);
  const size_t n = strlen (name);
  DIR *dir = above ? opendir (above) : NULL;
  const struct dirent *d;
  struct stat st;

  while (dir && (d = readdir (dir)) != NULL)
    if (strncmp (d->d_name, name, n) == 0 && d->d_name[n] == '.' &&
        strspn (d->d_name + n + 1, "0123456789abcdef") == 8 &&
        strcmp (d->d_name + n + 9, ".part") == 0 &&
        fstatat (dirfd (dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG (st.st_mode) && st.st_uid == geteuid ())
      unlinkat (dirfd (dir), d->d_name, 0);
  if (dir)
    closedir (dir);
}

void
vd_like_the_old (const struct vd_file *file, const struct stat *old)
{
  const int fd = vd_file_fd (file);

  if (fchown (fd, old->st_uid, old->st_gid) == -1) {
    /* It is ours then, as any file that we make. */
  }
  if (fchmod (fd, old->st_mode & 07777) == -1) {
    /* No mode on this file system. */
  }
}

int
vd_flush_directory_of (const char *path, struct vd_err *err)
{
  CLEANUP_FREE char *dir = vd_directory_of (path);
  CLEANUP_FD int fd = -1;

  if (!dir)
    return vd_fail_nomem (err);
  fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd == -1)
    return vd_fail_errno (err, errno, "cannot open directory %s", dir);
  /* Some network file systems have no such thing. */
  if (fsync (fd) == -1 && errno != EINVAL && errno != EROFS &&
      errno != EOPNOTSUPP)
    return vd_fail_errno (err, errno, "cannot flush directory %s", dir);
  return 0;
}
