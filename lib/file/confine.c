/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Opening files named by images; see confine.h for the rules. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef SYS_openat2
#include <linux/openat2.h>
#endif

#include "base/array.h"
#include "base/charset.h"
#include "base/cleanup.h"
#include "file/confine.h"
#include "file/fd.h"
#include "file/scandir.h"
#include "file/uri.h"

#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

struct place {
  char *path;                   /* absolute, no "." or ".." in it */
  int fd;                       /* -1: it is elsewhere */
  struct vd_uri uri;            /* how what is there is reached */
};

/* The names in the directory that was listed last. */
struct listing {
  char *dir;                    /* its path; NULL: nothing was listed */
  char **name;
  size_t n;
};

struct vd_confine {
  const struct vd_opts *opts;
  struct listing listing;
  size_t nr_own;                /* the first of these are the file's own */
  size_t n;
  struct place place[];
};

static bool
is_elsewhere (const struct place *q)
{
  return q->uri.scheme != NULL;
}

/* A directory that a URI names, or that of the file that it names. */
static int
add_uri (struct vd_confine *p, const char *text, bool of_file,
         struct vd_err *err)
{
  struct place *q = &p->place[p->n];
  char *slash;

  /* Counted at once: what is in it is freed with the rest. */
  *q = (struct place) { .fd = -1 };
  p->n++;
  if (vd_uri_parse (text, &q->uri, err) == -1)
    return -1;
  q->path = strdup (q->uri.path);
  if (!q->path)
    return vd_fail_nomem (err);
  if (of_file) {
    slash = strrchr (q->path, '/');     /* it is absolute */
    slash[slash == q->path ? 1 : 0] = '\0';
  }
  return 0;
}

static int
add_place (struct vd_confine *p, const char *path, struct vd_err *err)
{
  CLEANUP_FREE char *abs = NULL, *cwd = NULL;
  struct place *q = &p->place[p->n];
  int fd;
  size_t i;

  if (path[0] != '/' && !(cwd = getcwd (NULL, 0)))
    return vd_fail_errno (err, errno, "cannot find out the current directory");
  abs = vd_path_normalise (cwd ? cwd : "", path);
  if (!abs)
    return vd_fail_nomem (err);
  for (i = 0; i < p->n; ++i)
    if (strcmp (p->place[i].path, abs) == 0)
      return 0;
  fd = open (abs, O_PATH | O_DIRECTORY | O_CLOEXEC);
  q->fd = fd == -1 ? -1 : vd_fd_share (fd);
  if (q->fd == -1) {
    vd_fail_errno (err, errno, "%s: cannot open directory", abs);
    if (fd >= 0)
      close (fd);
    return -1;
  }
  q->path = VD_TAKE (abs);
  p->n++;
  return 0;
}

/* The directories that the user named. */
static int
add_dirs (struct vd_confine *p, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < p->opts->nr_dirs; ++i) {
    const char *given = p->opts->dirs[i];
    CLEANUP_FREE char *dir = NULL;

    if (vd_is_uri (given)) {
      if (add_uri (p, given, false, err) == -1)
        return -1;
      continue;
    }
    dir = realpath (given, NULL);
    if (!dir)
      return vd_fail_errno (err, errno, "%sparent-path=%s: cannot open directory",
                            vd_opts_prefix (), given);
    if (add_place (p, dir, err) == -1) {
      vd_err_prefix (err, "%sparent-path=", vd_opts_prefix ());
      return -1;
    }
  }
  return 0;
}

/* The directory of a local file, resolved and as it is written. */
static int
add_own (struct vd_confine *p, const char *path, struct vd_err *err)
{
  CLEANUP_FREE char *real = realpath (path, NULL);
  CLEANUP_FREE char *lexical = strdup (path);
  char *slash;

  if (!lexical)
    return vd_fail_nomem (err);
  if (!real)
    return vd_fail_errno (err, errno, "%s", path);
  slash = strrchr (real, '/');  /* realpath: there is one */
  slash[slash == real ? 1 : 0] = '\0';
  if (add_place (p, real, err) == -1)
    return -1;

  slash = strrchr (lexical, '/');
  if (slash)
    slash[slash == lexical ? 1 : 0] = '\0';
  return add_place (p, slash ? lexical : ".", err);
}

static void
free_places (struct vd_confine **p)
{
  vd_confine_free (*p);
}

struct vd_confine *
vd_confine_new (const char *path, const struct vd_opts *opts,
              struct vd_err *err)
{
  VD_CLEANUP (free_places) struct vd_confine *p
    = calloc (1, sizeof *p + (2 + opts->nr_dirs) * sizeof p->place[0]);
  int r;

  if (!p) {
    vd_fail_nomem (err);
    return NULL;
  }
  p->opts = opts;
  r = vd_is_uri (path) ? add_uri (p, path, true, err) : add_own (p, path, err);
  p->nr_own = p->n;
  if (r == -1 || add_dirs (p, err) == -1)
    return NULL;
  return VD_TAKE (p);
}

int
vd_confine_check_dirs (const struct vd_opts *opts, struct vd_err *err)
{
  VD_CLEANUP (free_places) struct vd_confine *p
    = calloc (1, sizeof *p + opts->nr_dirs * sizeof p->place[0]);

  if (!p)
    return vd_fail_nomem (err);
  p->opts = opts;
  return add_dirs (p, err);
}

void
vd_confine_forget (struct vd_confine *p)
{
  struct listing *l = &p->listing;

  while (l->n > 0)
    free (l->name[--l->n]);
  free (l->name);
  free (l->dir);
  *l = (struct listing) { .dir = NULL };
}

void
vd_confine_free (struct vd_confine *p)
{
  size_t i;

  if (!p)
    return;
  vd_confine_forget (p);
  for (i = 0; i < p->n; ++i) {
    free (p->place[i].path);
    vd_uri_free (&p->place[i].uri);
    if (p->place[i].fd != -1)
      vd_fd_put (p->place[i].fd);
  }
  free (p);
}

const char *
vd_confine_dir (const struct vd_confine *p)
{
  return p->place[0].path;
}

/* Is the component that was opened, or could not be, a symbolic link? */
static bool
is_symlink (int dir, const char *name, int fd)
{
  const int saved = errno;
  struct stat st;
  const bool yes = (fd >= 0 ? fstat (fd, &st)
                    : fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW)) == 0 &&
    S_ISLNK (st.st_mode);

  errno = saved;
  return yes;
}

/* openat2 for kernels (and sandboxes) without it: no symbolic links, no
 * "..".  The caller has removed "." and ".." by text already.
 */
static int
open_walking (int dirfd, const char *name)
{
  CLEANUP_FREE char *copy = strdup (name);
  char *save = NULL, *part, *next;
  int fd = dirfd, dir, next_fd;

  if (!copy) {
    errno = ENOMEM;
    return -1;
  }
  for (part = strtok_r (copy, "/", &save); part; part = next) {
    next = strtok_r (NULL, "/", &save);
    dir = fd;
    next_fd = openat (dir, part, O_PATH | O_NOFOLLOW | O_CLOEXEC |
                      (next ? O_DIRECTORY : 0));
    if (is_symlink (dir, part, next_fd)) {
      if (next_fd >= 0)
        close (next_fd);
      next_fd = -1;
      errno = ELOOP;
    }
    if (dir != dirfd) {
      const int saved = errno;
      close (dir);
      errno = saved;
    }
    fd = next_fd;
    if (fd == -1)
      break;
  }
  if (fd == dirfd) {
    errno = EISDIR;
    return -1;
  }
  return fd;
}

/* An O_PATH descriptor of name below dirfd.  Fails with EXDEV (or ELOOP)
 * where the name would lead out.
 */
static int
open_beneath (int dirfd, const char *name)
{
#ifdef SYS_openat2
  const struct open_how how = {
    .flags = O_PATH | O_CLOEXEC,
    .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
  };
  const long fd = syscall (SYS_openat2, dirfd, name, &how, sizeof how);

  if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != E2BIG))
    return (int) fd;
#endif
  return open_walking (dirfd, name);
}

/* Turn an O_PATH descriptor into one for reading, once its type is known to
 * be harmless: opening a FIFO or a tape has effects, looking at it has none.
 */
static struct vd_file *
reopen (int path_fd, const char *shown, struct vd_err *err)
{
  CLEANUP_FD int fd = -1;
  struct vd_file *f;
  struct stat st;
  char proc[64];

  if (fstat (path_fd, &st) == -1) {
    vd_fail_errno (err, errno, "%s", shown);
    return NULL;
  }
  if (!S_ISREG (st.st_mode) && !S_ISBLK (st.st_mode)) {
    vd_fail (err, VD_USAGE, "%s is neither a regular file nor a block "
             "device%s", shown,
             S_ISLNK (st.st_mode) ? " but a symbolic link" : "");
    return NULL;
  }
  snprintf (proc, sizeof proc, "/proc/self/fd/%d", path_fd);
  fd = open (proc, READ_FLAGS);
  if (fd == -1) {
    vd_fail_errno (err, errno, "%s: cannot open", shown);
    return NULL;
  }
  f = vd_file_from_fd (fd, shown, err);
  if (f)
    fd = -1;
  return f;
}

/* Try all places that contain path.  Returns the file, or NULL with *errnum:
 * what the last attempt said, or EXDEV when no place contains it.
 */
static int
open_in_places (const struct vd_confine *p, const char *path, int *errnum)
{
  const char *rest;
  size_t i;
  int fd;

  *errnum = EXDEV;
  for (i = 0; i < p->n; ++i) {
    rest = is_elsewhere (&p->place[i]) ? NULL
      : vd_path_below (path, p->place[i].path);
    if (!rest)
      continue;
    fd = open_beneath (p->place[i].fd, rest);
    if (fd >= 0)
      return fd;
    *errnum = errno;
  }
  return -1;
}

/* One absolute path.  -1 and *errnum when it cannot be opened. */
static int
open_path (const struct vd_confine *p, const char *path, int *errnum)
{
  CLEANUP_FREE char *real = NULL;
  int fd = open_in_places (p, path, errnum);

  if (fd >= 0)
    return fd;
  if (*errnum != EXDEV && *errnum != ELOOP)
    return -1;
  /* What is written elsewhere means nothing here. */
  if (p->opts->unconfined && !is_elsewhere (&p->place[0])) {
    fd = open (path, O_PATH | O_CLOEXEC);
    if (fd == -1)
      *errnum = errno;
    return fd;
  }
  /* A symbolic link that leads from one allowed place to another. */
  real = realpath (path, NULL);
  return real ? open_in_places (p, real, errnum) : -1;
}

/* ---- What is elsewhere ---------------------------------------------------- */

static int
open_at (const struct vd_confine *p, const struct vd_uri *host,
         const char *path, struct vd_file **f, struct vd_err *err)
{
  CLEANUP_FREE char *uri = vd_uri_with_path (host, path);

  if (!uri)
    return vd_fail_nomem (err);
  *f = vd_open (uri, p->opts, err);
  return *f ? 0 : -1;
}

/* A path where the file is that holds the name: 0; 1: it leads outside, or
 * there is no such file (VD_NOT_FOUND in err).
 */
static int
open_elsewhere (const struct vd_confine *p, const struct vd_uri *host,
                const char *path, struct vd_file **f, struct vd_err *err)
{
  size_t i;
  int r = 1;

  for (i = 0; i < p->n; ++i) {
    const struct place *q = &p->place[i];

    if (!is_elsewhere (q) || !vd_uri_same_place (&q->uri, host) ||
        !vd_path_below (path, q->path))
      continue;
    if (open_at (p, host, path, f, err) == 0)
      return 0;
    if (err->code != VD_NOT_FOUND)
      return -1;
    return 1;
  }
  if (p->opts->unconfined && is_elsewhere (&p->place[0]) &&
      vd_uri_same_place (&p->place[0].uri, host))
    r = open_at (p, host, path, f, err) == 0 ? 0
      : err->code == VD_NOT_FOUND ? 1 : -1;
  return r;
}

/* The name is a URI.  Those are followed to no host that the user has not
 * named, whatever else is allowed: an image must not make us connect to what it
 * likes.
 */
static int
open_uri_name (const struct vd_confine *p, const char *name,
               struct vd_file **f, struct vd_err *err)
{
  struct vd_uri u;
  int r = vd_uri_parse (name, &u, err);

  if (r == 0)
    r = open_elsewhere (p, &u, u.path, f, err);
  vd_uri_free (&u);
  return r;
}

static void
explain_not_opened (const struct vd_confine *p, const char *name,
                    const char *from, const char *first, int errnum,
                    struct vd_err *err)
{
  CLEANUP_FREE char *there = NULL;
  const char *dir = p->place[0].path;

  if (is_elsewhere (&p->place[0])) {
    there = vd_uri_with_path (&p->place[0].uri, dir);
    dir = there ? there : dir;
  }
  if (errnum == EXDEV || errnum == ELOOP)
    vd_fail (err, VD_DENIED,
             "%s refers to %.255s, which leads outside of %s; only what lies "
             "below that directory, and below those that you name with "
             "%sparent-path, is opened (%sunconfined allows all)", from, name,
             dir, vd_opts_prefix (), vd_opts_prefix ());
  else
    vd_fail_errno (err, errnum, "%s refers to %.255s: %.255s", from, name,
                   first);
}

struct vd_file *
vd_confine_open (const struct vd_confine *p, const char *name,
                const char *from, struct vd_err *err)
{
  CLEANUP_FREE char *first = NULL;
  struct vd_file *f = NULL;
  int errnum = ENOENT, r = 1;
  size_t i;

  for (i = 0; i < p->nr_own; ++i) {
    CLEANUP_FREE char *path = vd_path_normalise (p->place[i].path, name);
    CLEANUP_FD int fd = -1;

    if (!path) {
      vd_fail_nomem (err);
      return NULL;
    }
    err->code = VD_OK;
    if (i == 0 && vd_is_uri (name))
      r = open_uri_name (p, name, &f, err);
    else if (is_elsewhere (&p->place[i]))
      r = open_elsewhere (p, &p->place[i].uri, path, &f, err);
    if (r != 1)
      return f;
    if (err->code == VD_NOT_FOUND)
      errnum = ENOENT;
    else {
      fd = open_path (p, path, &errnum);
      if (fd >= 0)
        return reopen (fd, path, err);
    }
    if (!first)
      first = VD_TAKE (path);
    if (errnum != ENOENT && errnum != ENOTDIR)
      break;
    if (name[0] == '/')
      break;
  }
  explain_not_opened (p, name, from, first, errnum, err);
  return NULL;
}

/* ---- Names that are spelled in another way ------------------------------- */

static void
close_dir (DIR **dir)
{
  if (*dir)
    closedir (*dir);
}

static int
add_name (struct listing *l, const char *name)
{
  char **more = vd_grow (l->name, l->n, sizeof *more, NULL);

  if (!more)
    return -1;
  l->name = more;
  more[l->n] = strdup (name);
  if (!more[l->n])
    return -1;
  l->n++;
  return 0;
}

/* List a directory, unless it was the last one.  One that cannot be read, or
 * has more entries than that of a VM, has no names for us.
 */
static int
list_names (struct vd_confine *p, int path_fd, const char *path)
{
  VD_CLEANUP (close_dir) DIR *dir = NULL;
  const struct dirent *d;
  int fd;

  if (p->listing.dir && strcmp (p->listing.dir, path) == 0)
    return 0;
  vd_confine_forget (p);
  if (!(p->listing.dir = strdup (path)))
    return -1;
  fd = openat (path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  dir = fd >= 0 ? fdopendir (fd) : NULL;
  if (!dir && fd >= 0)
    close (fd);
  while (dir && (d = readdir (dir)) != NULL) {
    if (strcmp (d->d_name, ".") == 0 || strcmp (d->d_name, "..") == 0)
      continue;
    if (p->listing.n == VD_MAX_DIR_ENTRIES)
      return 0;
    if (add_name (&p->listing, d->d_name) == -1)
      return -1;
  }
  return 0;
}

struct spelling {
  struct vd_confine *p;
  const struct place *place;
  const char *encoding;
  char *done;                   /* below the place, as it is on the disk */
  const char *also[2];          /* the first two, where several are alike */
};

/* The name in done (a directory) that is like this one: 1, or 0 if there is
 * none, or several.
 */
static int
find_alike (struct spelling *s, const char *part, const char **found)
{
  CLEANUP_FREE char *path = NULL;
  CLEANUP_FD int fd = s->done[0] == '\0' ? dup (s->place->fd)
    : open_beneath (s->place->fd, s->done);
  const struct listing *l = &s->p->listing;
  size_t i;

  if (fd == -1)
    return 0;
  if (asprintf (&path, "%s/%s", s->place->path, s->done) == -1) {
    path = NULL;
    return -1;
  }
  if (list_names (s->p, fd, path) == -1)
    return -1;
  *found = NULL;
  for (i = 0; i < l->n; ++i) {
    if (!vd_names_alike (part, l->name[i], s->encoding))
      continue;
    if (*found) {
      s->also[0] = *found;
      s->also[1] = l->name[i];
      return 0;
    }
    *found = l->name[i];
  }
  return *found != NULL;
}

/* Append a part to what was found.  1, or 0: there is none like it. */
static int
spell_part (struct spelling *s, const char *part)
{
  const char *found = part;
  char *longer;
  int fd, r;

  if (asprintf (&longer, "%s%s%s", s->done, s->done[0] ? "/" : "", part) == -1)
    return -1;
  fd = open_beneath (s->place->fd, longer);
  if (fd >= 0)
    close (fd);
  else {
    free (longer);
    r = find_alike (s, part, &found);
    if (r != 1)
      return r;
    if (asprintf (&longer, "%s%s%s", s->done, s->done[0] ? "/" : "",
                  found) == -1)
      return -1;
  }
  free (s->done);
  s->done = longer;
  return 1;
}

/* All of rest, which lies below the place by its text. */
static int
spell (struct spelling *s, const char *rest)
{
  CLEANUP_FREE char *copy = strdup (rest);
  char *save = NULL, *part;
  int r = 1;

  s->done = strdup ("");
  if (!copy || !s->done)
    return -1;
  for (part = strtok_r (copy, "/", &save); part && r == 1;
       part = strtok_r (NULL, "/", &save))
    r = spell_part (s, part);
  return r;
}

/* One path, in one place. */
static struct vd_file *
open_spelled (struct spelling *s, const char *rest, const char *from,
              struct vd_err *err)
{
  CLEANUP_FREE char *path = NULL;
  CLEANUP_FD int fd = -1;
  const int r = spell (s, rest);

  if (r == -1)
    vd_fail_nomem (err);
  else if (s->also[0])
    vd_fail (err, VD_MISMATCH, "%s refers to %.255s, which is not there; %.255s "
             "and %.255s in %s are both called like that but for the case of "
             "letters: it is not clear which is meant", from, rest, s->also[0],
             s->also[1], s->place->path);
  else if (r == 1) {
    fd = open_beneath (s->place->fd, s->done);
    if (fd >= 0 && asprintf (&path, "%s/%s", s->place->path, s->done) != -1)
      return reopen (fd, path, err);
    path = NULL;
  }
  return NULL;
}

struct vd_file *
vd_confine_open_alike (struct vd_confine *p, const char *name,
                       const char *encoding, const char *from,
                       struct vd_err *err)
{
  struct vd_file *f;
  const char *rest;
  size_t i, k;

  for (i = 0; i < p->nr_own; ++i) {
    CLEANUP_FREE char *path = vd_path_normalise (p->place[i].path, name);

    if (!path) {
      vd_fail_nomem (err);
      return NULL;
    }
    for (k = 0; k < p->n; ++k) {
      struct spelling s = { .p = p, .place = &p->place[k],
                            .encoding = encoding };

      /* What is elsewhere cannot be listed. */
      rest = is_elsewhere (&p->place[k]) ? NULL
        : vd_path_below (path, p->place[k].path);
      if (!rest)
        continue;
      err->code = VD_OK;
      f = open_spelled (&s, rest, from, err);
      free (s.done);
      if (f || err->code != VD_OK)
        return f;
    }
  }
  vd_fail_errno (err, ENOENT, "%s refers to %.255s", from, name);
  return NULL;
}
