/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a block device is made of, as sysfs has it; see file.h.
 *
 * /sys/dev/block/MAJOR:MINOR is a link to the directory of the device; for a
 * partition that lies inside the directory of its disk.  Without /sys (some
 * containers) a device is only itself.
 */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "file/file.h"

/* Deeper stacks are a mistake; the kernel stops at 8 or so. */
#define MAX_DEPTH 16u

static bool lies_on (dev_t dev, const struct vd_file *below, unsigned depth);

/* The device that a file of sysfs names. */
static bool
named_lies_on (const char *dir, const char *name,
               const struct vd_file *below, unsigned depth)
{
  CLEANUP_FREE char *path = NULL;
  unsigned long major, minor;
  char text[32], *end;
  bool read;
  FILE *fp;

  if (asprintf (&path, "%s/%s/dev", dir, name) == -1) {
    path = NULL;
    return false;
  }
  fp = fopen (path, "re");
  if (!fp)
    return false;
  read = fgets (text, sizeof text, fp) != NULL;
  fclose (fp);
  if (!read)
    return false;
  major = strtoul (text, &end, 10);
  if (end == text || *end != ':')
    return false;
  minor = strtoul (end + 1, &end, 10);
  return *end == '\n' && lies_on (makedev ((unsigned) major,
                                           (unsigned) minor),
                                  below, depth + 1);
}

static bool
slaves_lie_on (const char *dir, const struct vd_file *below, unsigned depth)
{
  CLEANUP_FREE char *path = NULL;
  const struct dirent *d;
  bool r = false;
  DIR *slaves;

  if (asprintf (&path, "%s/slaves", dir) == -1) {
    path = NULL;
    return false;
  }
  slaves = opendir (path);
  while (slaves && !r && (d = readdir (slaves)) != NULL)
    r = d->d_name[0] != '.' && named_lies_on (path, d->d_name, below, depth);
  if (slaves)
    closedir (slaves);
  return r;
}

static bool
backing_is (const char *dir, const struct vd_file *below, unsigned depth)
{
  CLEANUP_FREE char *path = NULL;
  char line[4200];
  struct stat st;
  bool r = false;
  FILE *fp;

  if (asprintf (&path, "%s/loop/backing_file", dir) == -1) {
    path = NULL;
    return false;
  }
  fp = fopen (path, "re");
  if (!fp)
    return false;
  if (fgets (line, sizeof line, fp)) {
    line[strcspn (line, "\n")] = '\0';
    if (stat (line, &st) == 0)
      r = vd_file_is (below, &st) ||
        (S_ISBLK (st.st_mode) && lies_on (st.st_rdev, below, depth + 1));
  }
  fclose (fp);
  return r;
}

static bool
lies_on (dev_t dev, const struct vd_file *below, unsigned depth)
{
  char dir[64];

  if (below->ino == VD_DEVICE_INO && below->dev == dev)
    return true;
  if (depth == MAX_DEPTH)
    return false;
  snprintf (dir, sizeof dir, "/sys/dev/block/%u:%u", major (dev),
            minor (dev));
  return named_lies_on (dir, "..", below, depth) ||
    slaves_lie_on (dir, below, depth) || backing_is (dir, below, depth);
}

bool
vd_file_lies_on (const struct vd_file *file, const struct vd_file *below)
{
  return vd_file_same (file, below) ||
    (file->ino == VD_DEVICE_INO && lies_on (file->dev, below, 0));
}
