/* Calls that fail; see faults.h.  The Makefile lists these in WRAPPED. */

#include <dirent.h>
#include <errno.h>
#include <libdeflate.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"

const char *const fault_name[FAULTS] = {
  "memory", "read", "write", "flush", "files", "no space", "EINTR", "short",
};

static atomic_int armed = -1;   /* enum fault, or -1 */
static atomic_uint_fast64_t left;       /* calls up to the one that fails */
static atomic_bool *fired;       /* of this process or one that it makes */

void
fault_begin (enum fault fault, uint64_t n)
{
  if (!fired)
    fired = mmap (NULL, sizeof *fired, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (fired == MAP_FAILED)
    abort ();
  atomic_store (fired, false);
  atomic_store (&left, n);
  atomic_store (&armed, (int) fault);
}

bool
fault_end (void)
{
  atomic_store (&armed, -1);
  return fired && atomic_load (fired);
}

uint64_t
fault_heap (void)
{
#if defined __SANITIZE_ADDRESS__
  return 0;
#else
  const struct mallinfo2 m = mallinfo2 ();

  return m.uordblks + m.hblkhd;
#endif
}

unsigned
fault_descriptors (void)
{
  DIR *d = opendir ("/proc/self/fd");
  unsigned n = 0;

  while (d && readdir (d))
    n++;
  if (d)
    closedir (d);
  return n;
}

/* For a debugger: break here to see the call that fails. */
static void __attribute__ ((__noinline__))
fault_here (void)
{
  atomic_store (fired, true);
}

/* Shall this call fail?  Some go on failing. */
static bool
now (enum fault fault, bool stays)
{
  uint64_t was;

  if (atomic_load (&armed) != (int) fault)
    return false;
  was = atomic_load (&left);
  while (was > 0 && !atomic_compare_exchange_weak (&left, &was, was - 1))
    ;
  if (was == 1)
    fault_here ();
  return was == 1 || (was == 0 && stays);
}

static bool
fails (enum fault fault, int errnum)
{
  if (!now (fault, false))
    return false;
  errno = errnum;
  return true;
}

#define no_memory() fails (FAULT_MEMORY, ENOMEM)
#define WRAP(type, name, args, call, when, failure)                     \
  type __real_##name args;                                              \
  type __wrap_##name args;                                              \
  type __wrap_##name args { return (when) ? failure : __real_##name call; }

WRAP (void *, malloc, (size_t n), (n), no_memory (), NULL)
WRAP (void *, calloc, (size_t n, size_t s), (n, s), no_memory (), NULL)
WRAP (void *, realloc, (void *p, size_t n), (p, n), no_memory (), NULL)
WRAP (char *, strdup, (const char *s), (s), no_memory (), NULL)
WRAP (char *, strndup, (const char *s, size_t n), (s, n), no_memory (), NULL)
WRAP (FILE *, open_memstream, (char **p, size_t *n), (p, n), no_memory (),
      NULL)
WRAP (struct libdeflate_compressor *, libdeflate_alloc_compressor, (int n),
      (n), no_memory (), NULL)
WRAP (struct libdeflate_decompressor *, libdeflate_alloc_decompressor, (void),
      (), no_memory (), NULL)

int __wrap_asprintf (char **p, const char *fs, ...)
  __attribute__ ((__format__ (__printf__, 2, 3)));
int
__wrap_asprintf (char **p, const char *fs, ...)
{
  va_list args;
  int r;

  if (no_memory ())
    return -1;                  /* *p is not defined */
  va_start (args, fs);
  r = vasprintf (p, fs, args);
  va_end (args);
  return r;
}

int __real_pthread_create (pthread_t *, const pthread_attr_t *,
                           void *(*) (void *), void *);
int __wrap_pthread_create (pthread_t *, const pthread_attr_t *,
                           void *(*) (void *), void *);
int
__wrap_pthread_create (pthread_t *t, const pthread_attr_t *attr,
                       void *(*fn) (void *), void *arg)
{
  return no_memory () ? EAGAIN : __real_pthread_create (t, attr, fn, arg);
}

ssize_t __real_pread64 (int, void *, size_t, off_t);
ssize_t __wrap_pread64 (int, void *, size_t, off_t);
ssize_t
__wrap_pread64 (int fd, void *buf, size_t n, off_t off)
{
  if (fails (FAULT_READ, EIO) || fails (FAULT_EINTR, EINTR))
    return -1;
  if (n > 1 && now (FAULT_SHORT, true))
    n = (n + 1) / 2;
  return __real_pread64 (fd, buf, n, off);
}

ssize_t __real_pwrite64 (int, const void *, size_t, off_t);
ssize_t __wrap_pwrite64 (int, const void *, size_t, off_t);
ssize_t
__wrap_pwrite64 (int fd, const void *buf, size_t n, off_t off)
{
  if (fails (FAULT_WRITE, EIO) || fails (FAULT_EINTR, EINTR))
    return -1;
  if (now (FAULT_SPACE, true)) {
    errno = ENOSPC;
    return -1;
  }
  if (n > 1 && now (FAULT_SHORT, true))
    n = (n + 1) / 2;
  return __real_pwrite64 (fd, buf, n, off);
}

#define bad_write() (fails (FAULT_WRITE, EIO) || fails (FAULT_SPACE, ENOSPC))

WRAP (int, fallocate64, (int fd, int mode, off_t o, off_t n),
      (fd, mode, o, n), bad_write (), -1)
WRAP (int, ftruncate64, (int fd, off_t n), (fd, n), fails (FAULT_WRITE, EIO),
      -1)
WRAP (ssize_t, copy_file_range, (int a, off_t *ao, int b, off_t *bo,
                                 size_t n, unsigned flags),
      (a, ao, b, bo, n, flags), bad_write () || fails (FAULT_READ, EIO), -1)
WRAP (int, fsync, (int fd), (fd), fails (FAULT_FLUSH, EIO), -1)
WRAP (int, fdatasync, (int fd), (fd), fails (FAULT_FLUSH, EIO), -1)

#define bad_file() fails (FAULT_FILES, EIO)

WRAP (int, stat64, (const char *p, struct stat *s), (p, s), bad_file (), -1)
WRAP (int, lstat64, (const char *p, struct stat *s), (p, s), bad_file (), -1)
WRAP (int, fstat64, (int fd, struct stat *s), (fd, s), bad_file (), -1)
WRAP (int, rename, (const char *a, const char *b), (a, b), bad_file (), -1)
WRAP (int, renameat2, (int a, const char *p, int b, const char *q,
                       unsigned f), (a, p, b, q, f), bad_file (), -1)
WRAP (int, link, (const char *a, const char *b), (a, b), bad_file (), -1)
WRAP (int, linkat, (int a, const char *p, int b, const char *q, int f),
      (a, p, b, q, f), bad_file (), -1)
WRAP (int, unlink, (const char *p), (p), bad_file (), -1)
WRAP (DIR *, opendir, (const char *p), (p), bad_file (), NULL)
WRAP (char *, realpath, (const char *p, char *q), (p, q), bad_file (), NULL)
WRAP (off_t, lseek64, (int fd, off_t o, int w), (fd, o, w), bad_file (), -1)

int __real_open64 (const char *, int, mode_t);
int __wrap_open64 (const char *, int, ...);
int
__wrap_open64 (const char *path, int flags, ...)
{
  va_list args;
  mode_t mode;

  va_start (args, flags);
  mode = va_arg (args, mode_t);
  va_end (args);
  return bad_file () ? -1 : __real_open64 (path, flags, mode);
}

int __real_openat64 (int, const char *, int, mode_t);
int __wrap_openat64 (int, const char *, int, ...);
int
__wrap_openat64 (int dir, const char *path, int flags, ...)
{
  va_list args;
  mode_t mode;

  va_start (args, flags);
  mode = va_arg (args, mode_t);
  va_end (args);
  return bad_file () ? -1 : __real_openat64 (dir, path, flags, mode);
}

/* openat2 has no function of its own */
long __real_syscall (long, long, long, long, long);
long __wrap_syscall (long, long, long, long, long);
long
__wrap_syscall (long nr, long a, long b, long c, long d)
{
  return bad_file () ? -1 : __real_syscall (nr, a, b, c, d);
}
