/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Copies of files elsewhere; see verb-fetch.h.
 *
 * A kill at any moment leaves whole files under their names, and NAME.part of those
 * that are not whole.  What is in NAME.part up to its last multiple of FETCH_STRIDE
 * was flushed before anything behind it was written, so that it holds after a power
 * failure too.  The file may have been changed on the host since: then what is in
 * NAME.part begins or ends otherwise, or the checksum tells, and it is copied anew.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "remote.h"
#include "verb-fetch.h"

#define PIECE ((size_t) 8 << 20)

/* Less than this is no hole on any file system. */
#define HOLE ((size_t) 4096)

/* So much of two files is compared where a checksum is not to be had. */
#define SAMPLE (UINT64_C (64) << 10)

struct work {
  const struct fetch_copy *c;
  pthread_mutex_t lock;         /* of what follows, and of the progress */
  size_t next;
  uint64_t done;
  bool failed;
  struct vd_err err;
};

/* One copy. */
struct copy {
  struct work *w;
  struct fetch_file *f;
  char *part;
  int fd;
  uint8_t *buf;                 /* PIECE, and SAMPLE behind it */
};

static int
fail_copy (const char *path, const char *what, struct vd_err *err)
{
  return vd_fail_errno (err, errno, "%s: %s", path, what);
}

/* Report so many bytes; -1 to stop. */
static int
report (struct work *w, uint64_t n, struct vd_err *err)
{
  bool stop;

  pthread_mutex_lock (&w->lock);
  w->done += n;
  stop = progress_update (w->c->progress, w->done) == 1 || w->failed;
  pthread_mutex_unlock (&w->lock);
  return stop ? vd_fail (err, VD_IO, "interrupted: run the same command "
                         "again to go on") : 0;
}

/* ---- What is there already ------------------------------------------------------- */

static int
read_here (int fd, void *buf, size_t n, uint64_t offset)
{
  uint8_t *p = buf;
  ssize_t r;

  for (; n > 0; p += r, n -= (size_t) r, offset += (uint64_t) r) {
    do
      r = pread (fd, p, n, (off_t) offset);
    while (r == -1 && errno == EINTR);
    if (r <= 0)
      return -1;
  }
  return 0;
}

/* Are [offset, offset+n) the same?  buf: 2 * SAMPLE. */
static int
is_same (struct vd_file *there, int here, uint64_t offset, uint64_t n,
         uint8_t *buf, bool *same, struct vd_err *err)
{
  uint64_t m;

  *same = true;
  for (; n > 0 && *same; offset += m, n -= m) {
    m = vd_min (n, SAMPLE);
    if (vd_file_pread (there, buf, (size_t) m, offset, err) == -1)
      return -1;
    *same = read_here (here, buf + SAMPLE, (size_t) m, offset) == 0 &&
      memcmp (buf, buf + SAMPLE, (size_t) m) == 0;
  }
  return 0;
}

/* Its beginning and its end. */
static int
looks_same (struct vd_file *there, int here, uint64_t size, uint8_t *buf,
            bool *same, struct vd_err *err)
{
  const uint64_t n = vd_min (size, SAMPLE);

  if (is_same (there, here, 0, n, buf, same, err) == -1)
    return -1;
  return *same ? is_same (there, here, size - n, n, buf, same, err) : 0;
}

int
fetch_check (const struct fetch_files *f, struct vd_err *err)
{
  struct stat st;
  size_t i;

  for (i = 0; i < f->n; ++i) {
    const struct fetch_file *x = &f->file[i];

    if (lstat (x->path, &st) == -1)
      continue;
    if (!S_ISREG (st.st_mode) || (uint64_t) st.st_size != x->file->size)
      return vd_fail (err, VD_USAGE, "%s is there already, and is no copy of %s, "
                      "which has %" PRIu64 " bytes: remove it, or give another "
                      "directory", x->path, x->uri, x->file->size);
  }
  return 0;
}

/* ---- Checksums ----------------------------------------------------------------------- */

/* By sha256sum; false: it cannot be had. */
static bool
sum_here (int fd, char hex[REMOTE_SUM])
{
  static char name[] = "sha256sum";
  char *const argv[] = { name, NULL };
  posix_spawn_file_actions_t actions;
  extern char **environ;
  char text[256] = "";
  int p[2], status = -1;
  ssize_t n = 0, m;
  pid_t pid;

  if (lseek (fd, 0, SEEK_SET) == -1 || pipe2 (p, O_CLOEXEC) == -1)
    return false;
  posix_spawn_file_actions_init (&actions);
  posix_spawn_file_actions_adddup2 (&actions, fd, STDIN_FILENO);
  posix_spawn_file_actions_adddup2 (&actions, p[1], STDOUT_FILENO);
  if (posix_spawnp (&pid, name, &actions, NULL, argv, environ) != 0)
    pid = -1;
  posix_spawn_file_actions_destroy (&actions);
  close (p[1]);
  while (pid != -1 && n < (ssize_t) sizeof text - 1 &&
         (m = read (p[0], text + n, sizeof text - 1 - (size_t) n)) > 0)
    n += m;
  close (p[0]);
  if (pid == -1)
    return false;
  while (waitpid (pid, &status, 0) == -1 && errno == EINTR)
    ;
  if (status != 0 || strspn (text, "0123456789abcdef") != REMOTE_SUM - 1)
    return false;
  memcpy (hex, text, REMOTE_SUM - 1);
  hex[REMOTE_SUM - 1] = '\0';
  return true;
}

/* Where the host can do it. */
static int
compare_sums (struct copy *c, const char *path, struct vd_err *err)
{
  char there[REMOTE_SUM], here[REMOTE_SUM];
  int r;

  if (c->w->c->no_sums)
    return 0;
  r = remote_sha256 (c->w->c->opts->remote, c->f->uri, there, err);
  if (r <= 0 || !sum_here (c->fd, here))
    return r == -1 ? -1 : 0;
  if (strcmp (there, here) != 0)
    return vd_fail (err, VD_MISMATCH, "%s: its SHA-256 is %s, and that of %s is "
                    "%s: was the file changed meanwhile?  Remove the copy, and "
                    "fetch it again", path, here, c->f->uri, there);
  c->f->summed = true;
  return 0;
}

/* ---- Copying ----------------------------------------------------------------------- */

static bool
is_zero (const uint8_t *p, size_t n)
{
  return n == 0 || (*p == 0 && memcmp (p, p + 1, n - 1) == 0);
}

static int
write_here (const struct copy *c, const uint8_t *p, size_t n, uint64_t offset,
            struct vd_err *err)
{
  ssize_t r;

  for (; n > 0; p += r, n -= (size_t) r, offset += (uint64_t) r) {
    do
      r = pwrite (c->fd, p, n, (off_t) offset);
    while (r == -1 && errno == EINTR);
    if (r == -1)
      return fail_copy (c->part, "cannot write", err);
  }
  return 0;
}

/* What is zeros is left out. */
static int
put_piece (const struct copy *c, size_t n, uint64_t offset,
           struct vd_err *err)
{
  size_t i, from = 0;

  for (i = 0; i < n; i += HOLE) {
    const size_t m = vd_min (HOLE, n - i);

    if (!is_zero (c->buf + i, m))
      continue;
    if (write_here (c, c->buf + from, i - from, offset + from, err) == -1)
      return -1;
    from = i + m;
  }
  if (write_here (c, c->buf + from, n - from, offset + from, err) == -1)
    return -1;
  return ftruncate (c->fd, (off_t) (offset + n)) == -1
    ? fail_copy (c->part, "cannot write", err) : 0;
}

/* Where to go on. */
static int
find_start (struct copy *c, uint64_t *start, struct vd_err *err)
{
  struct stat st;
  uint64_t end;
  bool same;

  if (fstat (c->fd, &st) == -1)
    return fail_copy (c->part, "stat", err);
  end = vd_round_down (vd_min ((uint64_t) st.st_size, c->f->file->size),
                       FETCH_STRIDE);
  same = end > 0;
  if (same && looks_same (c->f->file, c->fd, end, c->buf, &same, err) == -1)
    return -1;
  *start = same ? end : 0;
  c->f->result = *start > 0 ? FETCH_RESUMED : FETCH_NEW;
  return ftruncate (c->fd, (off_t) *start) == -1
    ? fail_copy (c->part, "cannot write", err) : 0;
}

static int
copy_data (struct copy *c, struct vd_err *err)
{
  const uint64_t size = c->f->file->size;
  uint64_t at = 0;
  size_t n;

  if (find_start (c, &at, err) == -1 || report (c->w, at, err) == -1)
    return -1;
  for (; at < size; at += n) {
    n = (size_t) vd_min (PIECE, size - at);
    if (vd_file_pread (c->f->file, c->buf, n, at, err) == -1 ||
        put_piece (c, n, at, err) == -1)
      return -1;
    if ((at + n) % FETCH_STRIDE == 0 && fdatasync (c->fd) == -1)
      return fail_copy (c->part, "cannot flush", err);
    if (report (c->w, n, err) == -1)
      return -1;
  }
  return fsync (c->fd) == -1 ? fail_copy (c->part, "cannot flush", err) : 0;
}

static int
make_directories (char *path, struct vd_err *err)
{
  char *slash;
  int r = 0;

  for (slash = strchr (path + 1, '/'); slash && r == 0;
       slash = strchr (slash + 1, '/')) {
    *slash = '\0';
    if (mkdir (path, 0777) == -1 && errno != EEXIST)
      r = fail_copy (path, "cannot be created", err);
    *slash = '/';
  }
  return r;
}

/* A whole file of this name and size: is it that? */
static int
check_there (struct copy *c, struct vd_err *err)
{
  const struct fetch_file *f = c->f;
  bool same;

  if (looks_same (f->file, c->fd, f->file->size, c->buf, &same, err) == -1 ||
      (same && compare_sums (c, f->path, err) == -1))
    return -1;
  c->f->result = FETCH_THERE;
  if (same)
    return report (c->w, f->file->size, err);
  return vd_fail (err, VD_USAGE, "%s is there already, and is no copy of %s: "
                  "remove it, or give another directory", f->path, f->uri);
}

/* Not over a file that has got this name meanwhile, where the file system can do
 * that.
 */
static int
give_name (const struct copy *c, struct vd_err *err)
{
  const char *path = c->f->path;
  CLEANUP_FREE char *dir = strndup (path, (size_t) (strrchr (path, '/') - path));
  int fd, r;

  if (!dir)
    return vd_fail (err, VD_NOMEM, "out of memory");
  r = renameat2 (AT_FDCWD, c->part, AT_FDCWD, path, RENAME_NOREPLACE);
  if (r == -1 && (errno == EINVAL || errno == ENOSYS) &&
      access (path, F_OK) == -1)
    r = rename (c->part, path);
  if (r == -1)
    return fail_copy (path, "cannot be created", err);
  fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  r = fd == -1 ? -1 : fsync (fd);
  if (fd >= 0)
    close (fd);
  return r == -1 && errno != EINVAL ? fail_copy (dir, "cannot flush", err) : 0;
}

static int
copy_new (struct copy *c, struct vd_err *err)
{
  c->fd = open (c->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (c->fd == -1)
    return fail_copy (c->part, "cannot be created", err);
  if (flock (c->fd, LOCK_EX | LOCK_NB) == -1)
    return vd_fail (err, VD_DENIED, "%s is in use: is it being fetched already?",
                    c->part);
  if (copy_data (c, err) == -1)
    return -1;
  if (compare_sums (c, c->part, err) == -1) {
    /* It is of no use, also to go on with. */
    unlink (c->part);
    return -1;
  }
  return give_name (c, err);
}

static int
copy_file (struct work *w, struct fetch_file *f, struct vd_err *err)
{
  struct copy c = { .w = w, .f = f, .fd = -1, .buf = malloc (PIECE + SAMPLE) };
  int r = -1;

  if (!c.buf || asprintf (&c.part, "%s.part", f->path) == -1) {
    free (c.buf);
    return vd_fail (err, VD_NOMEM, "out of memory");
  }
  if (make_directories (f->path, err) == 0) {
    c.fd = open (f->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    r = c.fd >= 0 ? check_there (&c, err) : copy_new (&c, err);
  }
  if (c.fd >= 0)
    close (c.fd);
  if (r == -1)
    f->result = FETCH_WAITING;
  free (c.part);
  free (c.buf);
  return r;
}

static void *
work_on (void *opaque)
{
  struct work *w = opaque;
  struct fetch_file *f;
  struct vd_err err;

  pthread_mutex_lock (&w->lock);
  while (w->next < w->c->files->n && !w->failed) {
    f = &w->c->files->file[w->next++];
    pthread_mutex_unlock (&w->lock);
    err.code = VD_OK;
    if (copy_file (w, f, &err) == 0)
      err.code = VD_OK;
    pthread_mutex_lock (&w->lock);
    if (err.code != VD_OK && !w->failed) {
      w->failed = true;
      w->err = err;
    }
  }
  pthread_mutex_unlock (&w->lock);
  return NULL;
}

int
fetch_run (const struct fetch_copy *c, struct vd_err *err)
{
  struct work w = { .c = c };
  pthread_t thread[FETCH_MAX_THREADS];
  unsigned i, n;

  pthread_mutex_init (&w.lock, NULL);
  /* One thread is ours: it goes on if no other can be had. */
  for (n = 0; n + 1 < c->threads; ++n)
    if (pthread_create (&thread[n], NULL, work_on, &w) != 0)
      break;
  work_on (&w);
  for (i = 0; i < n; ++i)
    pthread_join (thread[i], NULL);
  pthread_mutex_destroy (&w.lock);
  if (!w.failed)
    return 0;
  *err = w.err;
  return -1;
}
