/* Recording; see crash.h.  The Makefile lists these functions in RECORDED. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash.h"
#include "plan.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cr_log *to;       /* NULL: nothing is recorded */
static char root[CR_PATH], vault[CR_PATH];
static ino_t real[CR_INODES];
static uint64_t on_disk[CR_INODES];     /* what is in it; 0: not known */
static struct timespec mtime[CR_INODES];
static size_t n_real;

#define REAL(type, name, args)                  \
  type __real_##name args;                      \
  type __wrap_##name args;

REAL (ssize_t, pwrite64, (int, const void *, size_t, off_t))
REAL (int, fallocate64, (int, int, off_t, off_t))
REAL (int, ftruncate64, (int, off_t))
REAL (ssize_t, copy_file_range, (int, off_t *, int, off_t *, size_t,
                                 unsigned))
REAL (int, fsync, (int))
REAL (int, fdatasync, (int))
REAL (int, rename, (const char *, const char *))
REAL (int, renameat2, (int, const char *, int, const char *, unsigned))
REAL (int, link, (const char *, const char *))
REAL (int, linkat, (int, const char *, int, const char *, int))
REAL (int, unlink, (const char *))
REAL (int, unlinkat, (int, const char *, int))
REAL (int, mkdir, (const char *, mode_t))
REAL (int, rmdir, (const char *))
int __real_open64 (const char *, int, mode_t);
int __wrap_open64 (const char *, int, ...);

static void
die (const char *what)
{
  perror (what);
  exit (2);
}

/* ---- Inodes -------------------------------------------------------------- */

static void
vault_name (char name[CR_PATH + 32], size_t i)
{
  snprintf (name, CR_PATH + 32, "%s/%zu", vault, i);
}

static int
find_inode (ino_t ino)
{
  for (size_t i = 0; i < n_real; i++)
    if (real[i] == ino)
      return (int) i;
  return -1;
}

static int
inode_of (int fd)
{
  struct stat st;

  return fstat (fd, &st) == 0 && S_ISREG (st.st_mode)
    ? find_inode (st.st_ino) : -1;
}

/* When it was written last, which a flush makes last. */
static void
note_time (int fd, int i)
{
  struct stat st;

  if (fstat (fd, &st) == 0)
    mtime[i] = st.st_mtim;
}

static int
new_inode (const char *path)
{
  char name[CR_PATH + 32];
  struct stat st;

  if (n_real == CR_INODES)
    die ("too many files");
  vault_name (name, n_real);
  if (__real_link (path, name) == -1 || stat (name, &st) == -1)
    die (name);
  real[n_real] = st.st_ino;
  on_disk[n_real] = 0;
  mtime[n_real] = st.st_mtim;
  return (int) n_real++;
}

size_t
cr_inodes (void)
{
  return n_real;
}

void
cr_forget (size_t n)
{
  char name[CR_PATH + 32];

  while (n_real > n) {
    vault_name (name, --n_real);
    __real_unlink (name);
  }
}

void
cr_watch (const char *root_, const char *vault_)
{
  cr_forget (0);
  snprintf (root, sizeof root, "%s", root_);
  snprintf (vault, sizeof vault, "%s", vault_);
}

/* ---- The log ------------------------------------------------------------- */

void
cr_begin (struct cr_log *log)
{
  *log = (struct cr_log) { .n = 0 };
  to = log;
}

void
cr_end (void)
{
  to = NULL;
}

void
cr_log_free (struct cr_log *log)
{
  for (size_t i = 0; i < log->n; i++) {
    free (log->op[i].data);
    free (log->op[i].path);
    free (log->op[i].from);
  }
  free (log->op);
  *log = (struct cr_log) { .n = 0 };
}

static void
add (struct cr_op op)
{
  if ((to->n & (to->n - 1)) == 0)
    to->op = mk_grow (to->op, to->n ? to->n * 2 : 1, sizeof op);
  to->op[to->n++] = op;
  if (op.kind == CR_WRITE || op.kind == CR_CUT)
    on_disk[op.inode] = 0;
}

static void
add_bytes (int fd, const void *data, size_t n, off_t offset)
{
  const int i = to ? inode_of (fd) : -1;
  struct cr_op op = { .kind = CR_WRITE, .inode = i, .n = n,
                      .offset = (uint64_t) offset };

  if (i == -1)
    return;
  if (data) {
    op.data = mk_alloc (n, 1);
    memcpy (op.data, data, n);
  }
  add (op);
}

static char *
copy (const char *s)
{
  return s ? strcpy (mk_alloc (strlen (s) + 1, 1), s) : NULL;
}

/* "/proc/self/fd/N/NAME" by the name that its directory has. */
static const char *
whole_name (const char *path, char buf[2 * CR_PATH + 2])
{
  static const char proc[] = "/proc/self/fd/";
  const char *slash = strncmp (path, proc, sizeof proc - 1) == 0
    ? strchr (path + sizeof proc - 1, '/') : NULL;
  char link[64];
  ssize_t n;

  if (!slash ||
      snprintf (link, sizeof link, "%.*s", (int) (slash - path), path)
      >= (int) sizeof link ||
      (n = readlink (link, buf, CR_PATH - 1)) == -1)
    return path;
  snprintf (buf + n, CR_PATH, "%s", slash);
  return buf;
}

static bool
watched (const char *path)
{
  const size_t n = strlen (root);

  return to && strncmp (path, root, n) == 0 && path[n] == '/';
}

static void
add_name (enum cr_kind kind, const char *path, const char *from, int inode)
{
  if (strlen (path) >= CR_PATH || strstr (path, "/../"))
    die (path);
  add ((struct cr_op) { .kind = kind, .path = copy (path), .inode = inode,
                        .from = copy (from) });
}

static int
inode_at (const char *path)
{
  struct stat st;

  if (lstat (path, &st) == -1)
    return -2;
  return S_ISDIR (st.st_mode) ? CR_DIR : find_inode (st.st_ino);
}

/* ---- What is called ------------------------------------------------------ */

/* One at a time, so that the order is known. */
#define RECORD(call, type, done)                \
  type r;                                       \
  pthread_mutex_lock (&lock);                   \
  r = call;                                     \
  {                                             \
    const int e = errno;                        \
    done;                                       \
    errno = e;                                  \
  }                                             \
  pthread_mutex_unlock (&lock);                 \
  return r

ssize_t
__wrap_pwrite64 (int fd, const void *buf, size_t n, off_t off)
{
  RECORD (__real_pwrite64 (fd, buf, n, off), ssize_t,
          if (r > 0) add_bytes (fd, buf, (size_t) r, off));
}

int
__wrap_fallocate64 (int fd, int mode, off_t off, off_t n)
{
  RECORD (__real_fallocate64 (fd, mode, off, n), int,
          if (r == 0) {
            if (mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
              die ("fallocate in another way");
            add_bytes (fd, NULL, (size_t) n, off);
          });
}

int
__wrap_ftruncate64 (int fd, off_t n)
{
  RECORD (__real_ftruncate64 (fd, n), int,
          const int i = to && r == 0 ? inode_of (fd) : -1;
          if (i >= 0)
            add ((struct cr_op) { .kind = CR_CUT, .inode = i,
                                  .n = (size_t) n }));
}

ssize_t
__wrap_copy_file_range (int in, off_t *from, int out, off_t *at, size_t n,
                        unsigned flags)
{
  const off_t was = *at;

  RECORD (__real_copy_file_range (in, from, out, at, n, flags), ssize_t,
          if (r > 0 && to) {
            uint8_t *data = mk_alloc ((size_t) r, 1);

            if (pread (out, data, (size_t) r, was) != r)
              die ("read back");
            add_bytes (out, data, (size_t) r, was);
            free (data);
          });
}

/* A directory, and which? */
static bool
directory_of (int fd, char path[CR_PATH])
{
  char link[32];
  struct stat st;
  ssize_t n;

  if (fstat (fd, &st) == -1 || !S_ISDIR (st.st_mode))
    return false;
  snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
  n = readlink (link, path, CR_PATH - 1);
  if (n == -1)
    die (link);
  path[n] = '\0';
  return true;
}

int
__wrap_fsync (int fd)
{
  RECORD (__real_fsync (fd), int,
          if (to && r == 0) {
            const int i = inode_of (fd);
            char path[CR_PATH];

            if (i >= 0) {
              note_time (fd, i);
              add ((struct cr_op) { .kind = CR_FLUSH, .inode = i });
            }
            else if (directory_of (fd, path))
              add_name (CR_FLUSH_DIR, path, NULL, CR_DIR);
          });
}

int
__wrap_fdatasync (int fd)
{
  RECORD (__real_fdatasync (fd), int,
          const int i = to && r == 0 ? inode_of (fd) : -1;
          if (i >= 0)
            add ((struct cr_op) { .kind = CR_FLUSH, .inode = i }));
}

int
__wrap_open64 (const char *path, int flags, ...)
{
  char buf[2 * CR_PATH + 2];
  const char *name = whole_name (path, buf);
  const bool makes = watched (name) && (flags & O_CREAT);
  mode_t mode;
  va_list args;

  va_start (args, flags);
  mode = va_arg (args, mode_t);
  va_end (args);
  if (makes && !(flags & O_EXCL))
    die ("O_CREAT without O_EXCL");
  RECORD (__real_open64 (path, flags, mode), int,
          if (makes && r >= 0)
            add_name (CR_BIND, name, NULL, new_inode (name)));
}

int
__wrap_rename (const char *from, const char *path)
{
  char a[2 * CR_PATH + 2], b[2 * CR_PATH + 2];
  const char *old = whole_name (from, a), *new = whole_name (path, b);

  RECORD (__real_rename (from, path), int,
          if (r == 0 && watched (new))
            add_name (CR_MOVE, new, old, inode_at (new)));
}

int
__wrap_renameat2 (int a, const char *from, int b, const char *path,
                  unsigned flags)
{
  char p[2 * CR_PATH + 2], q[2 * CR_PATH + 2];
  const char *old = whole_name (from, p), *new = whole_name (path, q);

  RECORD (__real_renameat2 (a, from, b, path, flags), int,
          if (r == 0 && watched (new))
            add_name (CR_MOVE, new, old, inode_at (new)));
}

int
__wrap_link (const char *from, const char *path)
{
  RECORD (__real_link (from, path), int,
          if (r == 0 && watched (path))
            add_name (CR_BIND, path, NULL, inode_at (path)));
}

/* Of an open file. */
int
__wrap_linkat (int a, const char *from, int b, const char *path, int flags)
{
  char buf[2 * CR_PATH + 2];
  const char *name = whole_name (path, buf);

  RECORD (__real_linkat (a, from, b, path, flags), int,
          if (r == 0 && watched (name))
            add_name (CR_BIND, name, NULL, inode_at (name)));
}

int
__wrap_unlink (const char *path)
{
  char buf[2 * CR_PATH + 2];
  const char *name = whole_name (path, buf);

  RECORD (__real_unlink (path), int,
          if (r == 0 && watched (name)) add_name (CR_UNBIND, name, NULL, 0));
}

int
__wrap_unlinkat (int dir, const char *name, int flags)
{
  char path[CR_PATH], whole[2 * CR_PATH + 2];

  if (!directory_of (dir, path))
    die ("unlinkat");
  snprintf (whole, sizeof whole, "%s/%s", path, name);
  RECORD (__real_unlinkat (dir, name, flags), int,
          if (r == 0 && watched (whole))
            add_name (CR_UNBIND, whole, NULL, 0));
}

int
__wrap_mkdir (const char *path, mode_t mode)
{
  char buf[2 * CR_PATH + 2];
  const char *name = whole_name (path, buf);

  RECORD (__real_mkdir (path, mode), int,
          if (r == 0 && watched (name))
            add_name (CR_BIND, name, NULL, CR_DIR));
}

int
__wrap_rmdir (const char *path)
{
  char buf[2 * CR_PATH + 2];
  const char *name = whole_name (path, buf);

  RECORD (__real_rmdir (path), int,
          if (r == 0 && watched (name)) add_name (CR_UNBIND, name, NULL, 0));
}

/* They look at every process and device, which is not what is tested here. */
int __wrap_vd_check_unlocked (const char *, struct vd_err *);
int
__wrap_vd_check_unlocked (const char *path, struct vd_err *err)
{
  (void) path, (void) err;
  return 0;
}

int __wrap_vd_check_no_writer (const struct vd_file *, struct vd_err *);
int
__wrap_vd_check_no_writer (const struct vd_file *file, struct vd_err *err)
{
  (void) file, (void) err;
  return 0;
}

/* ---- Whole directories --------------------------------------------------- */

static void
read_inode (struct cr_fs *fs, int i)
{
  char name[CR_PATH + 32];
  struct stat st;
  int fd;

  vault_name (name, (size_t) i);
  fd = open (name, O_RDONLY | O_CLOEXEC);
  if (fd == -1 || fstat (fd, &st) == -1)
    die (name);
  fs->inode[i].size = (size_t) st.st_size;
  fs->inode[i].data = mk_alloc (fs->inode[i].size + 1, 1);
  if (pread (fd, fs->inode[i].data, fs->inode[i].size, 0) != st.st_size)
    die (name);
  fs->inode[i].hash = cr_hash_bytes (fs->inode[i].data, fs->inode[i].size);
  on_disk[i] = fs->inode[i].hash;
  close (fd);
}

static void
adopt (struct cr_fs *fs, const char *dir)
{
  DIR *d = opendir (dir);
  const struct dirent *e;

  if (!d)
    die (dir);
  while ((e = readdir (d)) != NULL) {
    const size_t n = fs->n_names;
    char *path = fs->name[n].path;
    struct stat st;

    if (strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0)
      continue;
    if (n == CR_NAMES ||
        snprintf (path, CR_PATH, "%s/%s", dir, e->d_name) >= CR_PATH ||
        lstat (path, &st) == -1)
      die (dir);
    fs->n_names++;
    fs->name[n].inode = CR_DIR;
    if (S_ISDIR (st.st_mode))
      adopt (fs, path);
    else {
      fs->name[n].inode = new_inode (path);
      read_inode (fs, fs->name[n].inode);
    }
  }
  closedir (d);
}

void
cr_adopt (struct cr_fs *fs)
{
  *fs = (struct cr_fs) { .n_names = 0 };
  adopt (fs, root);
}

static void
clear (const char *dir)
{
  DIR *d = opendir (dir);
  const struct dirent *e;

  if (!d)
    die (dir);
  while ((e = readdir (d)) != NULL) {
    char path[2 * CR_PATH];

    if (strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0)
      continue;
    snprintf (path, sizeof path, "%s/%s", dir, e->d_name);
    if (__real_unlink (path) == 0)
      continue;
    clear (path);
    if (__real_rmdir (path) == -1)
      die (path);
  }
  closedir (d);
}

/* With the time that it had at first: who was not written to keeps it. */
static void
write_inode (const struct cr_fs *fs, int i)
{
  const uint64_t hash = fs->inode[i].hash;
  const struct timespec times[2] = { mtime[i], mtime[i] };
  char name[CR_PATH + 32];
  int fd;

  if (on_disk[i] == hash)
    return;
  vault_name (name, (size_t) i);
  fd = __real_open64 (name, O_WRONLY | O_CLOEXEC, 0);
  if (fd == -1 ||
      __real_pwrite64 (fd, fs->inode[i].data, fs->inode[i].size, 0)
      != (ssize_t) fs->inode[i].size ||
      __real_ftruncate64 (fd, (off_t) fs->inode[i].size) == -1 ||
      futimens (fd, times) == -1)
    die (name);
  close (fd);
  on_disk[i] = hash;
}

void
cr_restore (const struct cr_fs *fs)
{
  clear (root);
  for (size_t k = 0; k < fs->n_names; k++)
    if (fs->name[k].inode == CR_DIR)
      __real_mkdir (fs->name[k].path, 0700); /* parents come first */
  for (size_t k = 0; k < fs->n_names; k++) {
    const int i = fs->name[k].inode;
    char name[CR_PATH + 32];

    if (i == CR_DIR)
      continue;
    write_inode (fs, i);
    vault_name (name, (size_t) i);
    /* a directory that is not there takes what was in it along */
    if (__real_link (name, fs->name[k].path) == -1 && errno != ENOENT)
      die (fs->name[k].path);
  }
}

uint64_t
cr_known (const char *path)
{
  const int i = inode_at (path);

  return i >= 0 ? on_disk[i] : 0;
}
