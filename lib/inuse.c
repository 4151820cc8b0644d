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
#include <sys/stat.h>

#include "inuse.h"

char *
vd_flat_stem (const char *name)
{
  static const char suffix[] = "-flat.vmdk";
  const size_t n = strlen (name), m = sizeof suffix - 1;

  return n > m && strcmp (name + n - m, suffix) == 0
    ? strndup (name, n - m) : NULL;
}

/* Hosted products put a lock (a directory, or a file) beside a disk that is
 * in use: NAME.lck.
 */
static int
check_lck (const char *name, struct vd_err *err)
{
  char *stem = vd_flat_stem (name), *lck[2] = { NULL, NULL };
  struct stat st;
  int r = 0, i;

  if (asprintf (&lck[0], "%s.lck", name) == -1)
    lck[0] = NULL;
  if (stem && asprintf (&lck[1], "%s.vmdk.lck", stem) == -1)
    lck[1] = NULL;
  for (i = 0; i < 2 && r == 0; ++i)
    if (lck[i] && lstat (lck[i], &st) == 0)
      r = vd_fail (err, VD_DENIED,
                   "%s is in use: there is a lock %s.  Stop the VM; if there "
                   "is none (after a crash), remove the lock", name, lck[i]);
  free (lck[0]);
  free (lck[1]);
  free (stem);
  return r;
}

/* Is it the backing file of a loop device, under whatever name? */
static int
check_loop (const char *name, struct vd_err *err)
{
  DIR *dir = opendir ("/sys/block");
  char path[512], line[4200];
  const struct dirent *d;
  struct stat st, backing;
  int r = 0;

  if (stat (name, &st) == -1)
    st.st_ino = 0;
  while (dir && st.st_ino != 0 && r == 0 && (d = readdir (dir)) != NULL) {
    FILE *fp;

    if (snprintf (path, sizeof path, "/sys/block/%s/loop/backing_file",
                  d->d_name) >= (int) sizeof path)
      continue;
    fp = fopen (path, "r");
    if (!fp)
      continue;
    if (fgets (line, sizeof line, fp)) {
      line[strcspn (line, "\n")] = '\0';
      if (stat (line, &backing) == 0 && backing.st_ino == st.st_ino &&
          backing.st_dev == st.st_dev)
        r = vd_fail (err, VD_DENIED,
                     "%s is attached to the loop device /dev/%s: detach it, "
                     "or apply to that device", name, d->d_name);
    }
    fclose (fp);
  }
  if (dir)
    closedir (dir);
  return r;
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
  if (errno != EAGAIN)
    return 0;                   /* not our file, or no leases here */
  return vd_fail (err, VD_DENIED, "%s is open for writing in another program "
                  "(a running VM, or a server): stop that first", file->name);
}
