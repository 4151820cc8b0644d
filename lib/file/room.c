/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include <inttypes.h>
#include <sys/statvfs.h>

#include "file/room.h"

int
vd_check_room (int fd, const char *name, uint64_t bytes, const char *what,
               struct vd_err *err)
{
  struct statvfs v;
  uint64_t have;

  if (bytes == 0 ||
      (fd == -1 ? statvfs (name, &v) : fstatvfs (fd, &v)) == -1)
    return 0;
  have = (uint64_t) v.f_bavail * v.f_frsize;
  if (have >= bytes)
    return 0;
  return vd_fail (err, VD_NOSPACE, "%s: %s needs up to %" PRIu64 " bytes, but "
                  "its file system has only %" PRIu64 " free: nothing was "
                  "written", name, what, bytes, have);
}
