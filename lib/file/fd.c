/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* File descriptors, shared and counted; see fd.h.
 *
 * Invariant: slot[fd].users > 0 if and only if fd is shared; it is then in the
 * list of its bucket.  While it is open its inode is not given to another
 * file, so that equal device and inode are the same file.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "file/fd.h"

#define NR_BUCKETS 1024u

struct slot {
  dev_t dev;
  ino_t ino;
  bool path;                    /* O_PATH: good for names, not for reading */
  struct timespec changed;      /* as it was opened; not of directories */
  unsigned users;
  int next;                     /* the next in the bucket, plus one */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slot;       /* by descriptor */
static size_t nr_slots;
static int bucket[NR_BUCKETS];  /* the first of the list, plus one */
static size_t nr_shared;
static unsigned reserve;

static uint64_t
get_limit (void)
{
  struct rlimit r;

  return getrlimit (RLIMIT_NOFILE, &r) == -1 || r.rlim_cur == RLIM_INFINITY
    ? UINT64_MAX : r.rlim_cur;
}

void
vd_fd_limit_raise (unsigned wanted, const struct vd_log *log)
{
  const uint64_t before = get_limit ();
  struct rlimit r;
  uint64_t now;

  if (getrlimit (RLIMIT_NOFILE, &r) == 0 && r.rlim_cur != r.rlim_max) {
    r.rlim_cur = r.rlim_max;
    /* If that is refused, what there is has to do. */
    setrlimit (RLIMIT_NOFILE, &r);
  }
  now = get_limit ();
  reserve = (unsigned) vd_min (wanted, now / 4);
  vd_debug (log, "limit of open files: %llu (was %llu), %u of them are kept "
            "free", (unsigned long long) now, (unsigned long long) before,
            reserve);
}

size_t
vd_fd_limit_for (size_t n)
{
  DIR *dir = opendir ("/proc/self/fd");

  while (dir && readdir (dir))
    ++n;
  if (dir)
    closedir (dir);
  /* The reserve is a quarter at most: see above. */
  return n + vd_max (reserve, 16);
}

bool
vd_fd_allowed (int fd)
{
  /* The lowest number that is free is given: this one says how many are used. */
  if ((uint64_t) fd + reserve < get_limit ())
    return true;
  errno = EMFILE;
  return false;
}

static int *
bucket_of (dev_t dev, ino_t ino)
{
  const uint64_t h = (uint64_t) ino * UINT64_C (0x9e3779b97f4a7c15) ^ dev;

  return &bucket[(h >> 32) % NR_BUCKETS];
}

/* With the lock held, as the rest. */
static int
room_for (int fd)
{
  const size_t want = vd_max ((uint64_t) fd + 1, nr_slots * 2);
  struct slot *p;

  if ((size_t) fd < nr_slots)
    return 0;
  p = realloc (slot, want * sizeof *p);
  if (!p)
    return -1;
  memset (&p[nr_slots], 0, (want - nr_slots) * sizeof *p);
  slot = p;
  nr_slots = want;
  return 0;
}

/* An overlay file system copies a file when it is first opened for writing;
 * descriptors from before then still read the original, under the same inode.
 * The copy has another time of change.
 */
static bool
is_same (const struct slot *a, const struct slot *b)
{
  return a->ino == b->ino && a->dev == b->dev && a->path == b->path &&
    a->changed.tv_sec == b->changed.tv_sec &&
    a->changed.tv_nsec == b->changed.tv_nsec;
}

static int
find_shared (const struct slot *s)
{
  int i;

  for (i = *bucket_of (s->dev, s->ino); i > 0; i = slot[i - 1].next)
    if (is_same (&slot[i - 1], s))
      return i - 1;
  return -1;
}

int
vd_fd_share (int fd)
{
  LOCK_FOR_SCOPE (&lock);
  const int flags = fcntl (fd, F_GETFL);
  struct slot s = { .users = 1 };
  struct stat st;
  int old, *b;

  /* What cannot be told from others is used alone. */
  if (flags == -1 || fstat (fd, &st) == -1 || st.st_ino == 0)
    return vd_fd_allowed (fd) ? fd : -1;
  s.dev = st.st_dev;
  s.ino = st.st_ino;
  s.path = (flags & O_PATH) != 0;
  if (!s.path)
    s.changed = st.st_ctim;
  old = find_shared (&s);
  if (old >= 0) {
    close (fd);
    slot[old].users++;
    return old;
  }
  if (!vd_fd_allowed (fd))
    return -1;
  if (room_for (fd) == -1) {
    errno = ENOMEM;
    return -1;
  }
  b = bucket_of (s.dev, s.ino);
  s.next = *b;
  slot[fd] = s;
  *b = fd + 1;
  nr_shared++;
  return fd;
}

/* Take it out of the list of its bucket. */
static void
unlist (int fd)
{
  int *p = bucket_of (slot[fd].dev, slot[fd].ino);

  while (*p != fd + 1)
    p = &slot[*p - 1].next;
  *p = slot[fd].next;
  if (--nr_shared == 0) {       /* nothing is left behind at the end */
    free (slot);
    slot = NULL;
    nr_slots = 0;
  }
}

void
vd_fd_put (int fd)
{
  LOCK_FOR_SCOPE (&lock);

  if (fd >= 0 && (size_t) fd < nr_slots && slot[fd].users > 0) {
    if (--slot[fd].users > 0)
      return;
    unlist (fd);
  }
  close (fd);
}
