/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Opening what is written to; see target.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "nbd.h"
#include "target.h"

/* "dir/NAME" of "dir/NAME-flat.vmdk", or NULL. */
static char *
flat_stem (const char *name)
{
  static const char suffix[] = "-flat.vmdk";
  const size_t n = strlen (name), m = sizeof suffix - 1;

  return n > m && strcmp (name + n - m, suffix) == 0
    ? strndup (name, n - m) : NULL;
}

char *
target_descriptor (const char *name)
{
  char *stem = flat_stem (name), *path = NULL;

  if (stem && asprintf (&path, "%s.vmdk", stem) == -1)
    path = NULL;
  free (stem);
  if (path && access (path, R_OK) == -1) {
    free (path);
    path = NULL;
  }
  return path;
}

/* Hosted products put a lock (a directory, or a file) beside a disk that is
 * in use: NAME.lck.
 */
static int
check_lck (const char *name, struct vd_err *err)
{
  char *stem = flat_stem (name), *lck[2] = { NULL, NULL };
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

/* QEMU and others lock parts of the images that they use; a lock of all of
 * it meets every one of them.
 */
static int
lock_file (struct vd_file *file, bool write, struct vd_err *err)
{
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  const int fd = vd_file_fd (file);
  int r;

  if (write)
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

/* The bytes of a descriptor or of a sparse file are not those of a disk. */
static int
check_raw (struct vd_file *file, struct vd_err *err)
{
  const struct vd_format *fmt;
  enum vd_magic magic;
  char text[513] = "";

  if (vd_image_probe (file, &magic, &fmt, err) == -1)
    return -1;
  switch (magic) {
  case VD_MAGIC_NONE:
    return 0;
  case VD_MAGIC_TEXT:
    if (vd_file_pread (file, text,
                       file->size < 512 ? (size_t) file->size : 512, 0,
                       err) == -1)
      return -1;
    if (!strcasestr (text, "descriptorfile") &&
        !strcasestr (text, "createtype"))
      return 0;
    return vd_fail (err, VD_USAGE,
                    "%s is a VMDK descriptor; give the flat file that it "
                    "names (%.200s...)", file->name,
                    strstr (text, "RW ") ? strstr (text, "RW ") : text);
  case VD_MAGIC_SPARSE:
    return vd_fail (err, VD_USAGE,
                    "%s is a sparse image (%s): only raw and flat targets can "
                    "be written; convert it first", file->name, fmt->name);
  case VD_MAGIC_UNFINISHED:
  case VD_MAGIC_QCOW:
    break;
  }
  return vd_fail (err, VD_USAGE,
                  "%s is a %s image: only raw and flat targets can be "
                  "written; convert it first", file->name,
                  magic == VD_MAGIC_QCOW ? "qcow" : "VMDK");
}

/* A device that is mounted, or part of something larger, cannot be opened
 * exclusively, not even for reading.
 */
static int
check_claimed (const char *name, struct vd_err *err)
{
  const int fd = open (name, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);

  if (fd == -1 && errno == EBUSY)
    return vd_fail (err, VD_DENIED, "%s is in use (mounted, or part of an "
                    "array or volume group, or opened by another program): "
                    "stop that first", name);
  if (fd >= 0)
    close (fd);
  return 0;
}

int
target_open (struct target *target, const char *name, bool write,
             unsigned threads, struct vd_err *err)
{
  struct stat st;

  *target = (struct target) { .threads = threads };
  target->is_nbd = nbdfile_is_uri (name);
  if (target->is_nbd) {
    target->file = nbdfile_open (name, write, threads, err);
    if (!target->file || check_raw (target->file, err) == -1) {
      target_close (target);
      return -1;
    }
    target->threads = nbdfile_connections (target->file);
    return 0;
  }

  target->is_block = stat (name, &st) == 0 && S_ISBLK (st.st_mode);
  if (target->is_block ? check_claimed (name, err) == -1
      : check_lck (name, err) == -1 || check_loop (name, err) == -1)
    return -1;
  target->file = write ? vd_file_open_rw (name, err) : vd_file_open (name, err);
  if (!target->file)
    return -1;
  if ((!target->is_block && lock_file (target->file, write, err) == -1) ||
      check_raw (target->file, err) == -1) {
    target_close (target);
    return -1;
  }
  return 0;
}

void
target_close (struct target *target)
{
  vd_file_close (target->file);
  target->file = NULL;
}

uint64_t
target_block_size (const char *path)
{
  struct statvfs v;

  return statvfs (path, &v) == 0 && v.f_frsize > 0 ? v.f_frsize : 512;
}

int
target_check_space (const char *path, uint64_t bytes, const char *what,
                    struct vd_err *err)
{
  struct statvfs v;
  uint64_t have;

  if (bytes == 0 || statvfs (path, &v) == -1)
    return 0;
  have = (uint64_t) v.f_bavail * v.f_frsize;
  if (have >= bytes)
    return 0;
  return vd_fail (err, VD_NOSPACE,
                  "%s: %s needs up to %" PRIu64 " bytes, but its file system "
                  "has only %" PRIu64 " free: nothing was written", path, what,
                  bytes, have);
}
