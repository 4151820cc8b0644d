/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Signs that a file is in use; see inuse.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/loop.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "file/inuse.h"

static int
check_lck (const char *name, struct vd_err *err)
{
  CLEANUP_FREE char *lck = vd_find_lock (name);

  return !lck ? 0
    : vd_fail (err, VD_DENIED, "%s is in use: there is a lock %s.  Stop the "
               "VM; if there is none (after a crash), remove the lock", name,
               lck);
}

static int
fail_loop (const char *name, const char *loop, struct vd_err *err)
{
  return vd_fail (err, VD_DENIED,
                  "%s is attached to the loop device /dev/%s: detach it, "
                  "or apply to that device", name, loop);
}

/* The path that /sys tells: anybody may ask, but it is not always mounted in
 * a container, and what the path leads to here may be another file.
 */
static bool
loop_by_path (const char *loop, const struct stat *st)
{
  char path[512], line[4200];
  struct stat backing;
  bool r = false;
  FILE *fp;

  if (snprintf (path, sizeof path, "/sys/block/%s/loop/backing_file",
                loop) >= (int) sizeof path)
    return false;
  fp = fopen (path, "r");
  if (!fp)
    return false;
  if (fgets (line, sizeof line, fp)) {
    line[strcspn (line, "\n")] = '\0';
    r = stat (line, &backing) == 0 && backing.st_ino == st->st_ino &&
      backing.st_dev == st->st_dev;
  }
  fclose (fp);
  return r;
}

/* The device itself knows the file, not only a path; root may ask. */
static bool
loop_by_device (const char *loop, const struct stat *st)
{
  CLEANUP_FD int fd = -1;
  struct loop_info64 info;
  char path[300];

  if (strncmp (loop, "loop", 4) != 0 || loop[4] < '0' || loop[4] > '9')
    return false;
  snprintf (path, sizeof path, "/dev/%s", loop);
  fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  return fd >= 0 && ioctl (fd, LOOP_GET_STATUS64, &info) == 0 &&
    info.lo_inode == st->st_ino && info.lo_device == st->st_dev;
}

static int
check_loops (const char *name, const char *where,
             bool (*attached) (const char *, const struct stat *),
             struct vd_err *err)
{
  const struct dirent *d;
  struct stat st;
  DIR *dir;
  int r = 0;

  if (stat (name, &st) == -1 || !S_ISREG (st.st_mode))
    return 0;
  dir = opendir (where);
  while (dir && r == 0 && (d = readdir (dir)) != NULL)
    if (attached (d->d_name, &st))
      r = fail_loop (name, d->d_name, err);
  if (dir)
    closedir (dir);
  return r;
}

/* Is it the backing file of a loop device, under whatever name? */
static int
check_loop (const char *name, struct vd_err *err)
{
  return check_loops (name, "/sys/block", loop_by_path, err) == -1 ||
    check_loops (name, "/dev", loop_by_device, err) == -1 ? -1 : 0;
}

int
vd_check_unlocked (const char *path, struct vd_err *err)
{
  return check_lck (path, err) == -1 ? -1 : check_loop (path, err);
}

/* QEMU and others lock parts of the images that they use; a lock of all of
 * it meets every one of them.
 */
int
vd_file_lock (const struct vd_file *file, bool lock, struct vd_err *err)
{
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  const int fd = vd_file_fd (file);
  int r;

  if (lock)
    r = fcntl (fd, F_OFD_SETLK, &l);
  else {
    r = fcntl (fd, F_OFD_GETLK, &l);
    if (r == 0 && l.l_type != F_UNLCK) {
      r = -1;
      errno = EAGAIN;
    }
  }
  if (r == 0 || (errno != EAGAIN && errno != EACCES))
    return 0;                   /* locked, or a file system without locks */
  return vd_fail (err, VD_DENIED, "%s is locked by another program (a running "
                  "VM, or a server): stop that first", file->name);
}

/* Clients of NFS 4 and CIFS refuse a lease in the same way if the server has
 * not delegated the file to them, which says nothing.
 */
static bool
is_remote (int fd)
{
  struct statfs s;

  if (fstatfs (fd, &s) == -1)
    return false;
  switch ((uint32_t) s.f_type) {
  case 0x6969u:                 /* NFS */
  case 0xff534d42u:             /* CIFS */
  case 0xfe534d42u:             /* SMB 2 */
  case 0x517bu:                 /* SMB */
    return true;
  }
  return false;
}

/* A lease for reading is given while nobody has the file open for writing. */
int
vd_check_no_writer (const struct vd_file *file, struct vd_err *err)
{
  const int fd = vd_file_fd (file);
  int r;

  if (fd == -1)
    return 0;
  /* Should somebody open it for writing in this moment, a signal is sent to
   * us: let it be one that is ignored.
   */
  if (fcntl (fd, F_SETSIG, SIGURG) == -1)
    return 0;
  r = fcntl (fd, F_SETLEASE, F_RDLCK);
  if (r == 0) {
    fcntl (fd, F_SETLEASE, F_UNLCK);
    return 0;
  }
  if (errno != EAGAIN || is_remote (fd))
    return 0;                   /* not our file, or no leases here */
  return vd_fail (err, VD_DENIED, "%s is open for writing in another program "
                  "(a running VM, or a server): stop that first", file->name);
}
