/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Directories opened once; see pin.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef SYS_openat2
#include <linux/openat2.h>
#endif

#include "base/array.h"
#include "base/cleanup.h"
#include "file/newfile.h"
#include "file/pin.h"

#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* For kernels (and sandboxes) without openat2. */
static int
open_component_wise (const char *dir)
{
  CLEANUP_FREE char *copy = strdup (dir);
  int fd = open ("/", DIRECTORY), next;
  char *save = NULL, *part;

  if (!copy && fd != -1) {
    close (fd);
    errno = ENOMEM;
    return -1;
  }
  for (part = copy ? strtok_r (copy, "/", &save) : NULL; part && fd != -1;
       part = strtok_r (NULL, "/", &save)) {
    int saved;

    next = openat (fd, part, DIRECTORY);
    saved = errno;
    close (fd);
    errno = saved;
    fd = next;
  }
  return fd;
}

static int
open_without_links (const char *dir)
{
#ifdef SYS_openat2
  const struct open_how how = {
    .flags = DIRECTORY, .resolve = RESOLVE_NO_SYMLINKS,
  };
  const long fd = syscall (SYS_openat2, AT_FDCWD, dir, &how, sizeof how);

  if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != E2BIG))
    return (int) fd;
#endif
  return open_component_wise (dir);
}

/* The directory of n bytes of path. */
static int
find_pin (struct vd_pins *pins, const char *path, size_t n,
          struct vd_err *err)
{
  CLEANUP_FREE char *dir = strndup (n > 0 ? path : "/", n > 0 ? n : 1);
  struct vd_pin *p;
  size_t i;
  int fd;

  if (!dir) {
    vd_fail_nomem (err);
    return -1;
  }
  for (i = 0; i < pins->n; ++i)
    if (strcmp (pins->pin[i].dir, dir) == 0)
      return pins->pin[i].fd;
  p = vd_grow (pins->pin, pins->n, sizeof *p, err);
  if (!p)
    return -1;
  pins->pin = p;
  fd = open_without_links (dir);
  if (fd == -1) {
    if (errno == ELOOP || errno == ENOTDIR)
      return vd_fail (err, VD_DENIED, "the directory %s was replaced by a "
                      "symbolic link, or something else: it is not touched",
                      dir);
    return vd_fail_errno (err, errno, "cannot open directory %s", dir);
  }
  p[pins->n++] = (struct vd_pin) { .dir = VD_TAKE (dir), .fd = fd };
  return fd;
}

char *
vd_pin (struct vd_pins *pins, const char *path, struct vd_err *err)
{
  const char *slash = strrchr (path, '/');
  char *pinned;
  int fd;

  if (path[0] != '/' || slash[1] == '\0') {
    vd_fail (err, VD_USAGE, "%s is not the full name of a file", path);
    return NULL;
  }
  fd = find_pin (pins, path, (size_t) (slash - path), err);
  if (fd == -1)
    return NULL;
  if (asprintf (&pinned, "/proc/self/fd/%d/%s", fd, slash + 1) == -1) {
    vd_fail_nomem (err);
    return NULL;
  }
  return pinned;
}

void
vd_pins_free (struct vd_pins *pins)
{
  while (pins->n > 0) {
    pins->n--;
    close (pins->pin[pins->n].fd);
    free (pins->pin[pins->n].dir);
  }
  free (VD_TAKE (pins->pin));
}

struct vd_file *
vd_file_open_pinned (const char *pinned, const char *path, bool write,
                     struct vd_err *err)
{
  /* O_NONBLOCK: do not hang on a FIFO, which is then refused by its type. */
  const int flags = O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  CLEANUP_FD int fd = open (pinned, flags | O_RDONLY);
  struct vd_file *f, *again;
  struct stat st;

  if (fd == -1 && (errno == ELOOP || errno == ENXIO)) {
    vd_fail (err, VD_DENIED, "%s is not a regular file any more, and is not "
             "touched", path);
    return NULL;
  }
  if (fd == -1) {
    vd_fail_errno (err, errno, "%s: cannot open", path);
    return NULL;
  }
  if (fstat (fd, &st) == -1 || !S_ISREG (st.st_mode)) {
    vd_fail (err, VD_DENIED, "%s is not a regular file any more, and is not "
             "touched", path);
    return NULL;
  }
  f = vd_file_from_fd (fd, path, err);
  if (!f)
    return NULL;
  fd = -1;
  if (!write)
    return f;
  again = vd_file_reopen_rw (f, err);
  vd_file_close (f);
  return again;
}

int
vd_pin_flush (const char *pinned, const char *path, struct vd_err *err)
{
  if (vd_flush_directory_of (pinned, err) == 0)
    return 0;
  vd_err_prefix (err, "%s: ", path);
  return -1;
}
