/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Owner, mode, access control list, extended attributes; see rights.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "file/rights.h"

/* The kernel's limits of a list of names and of one value. */
#define XATTR_MAX 65536u

#define ACL "system.posix_acl_access"

/* The file itself, also if it is open with O_PATH. */
struct source {
  char path[64];
};

static struct source
source_of (int fd)
{
  struct source s;

  snprintf (s.path, sizeof s.path, "/proc/self/fd/%d", fd);
  return s;
}

/* -1: it has one, or may have one, and the new file does not. */
static int
copy_acl (int fd, const struct source *from)
{
  CLEANUP_FREE char *value = malloc (XATTR_MAX);
  ssize_t n;

  if (!value)
    return -1;
  n = getxattr (from->path, ACL, value, XATTR_MAX);
  if (n >= 0)
    return fsetxattr (fd, ACL, value, (size_t) n, 0);
  if (errno != ENODATA && errno != EOPNOTSUPP)
    return -1;
  /* The directory may have given the new file one. */
  if (fremovexattr (fd, ACL) == -1 && errno != ENODATA &&
      errno != EOPNOTSUPP)
    return -1;
  return 0;
}

static void
copy_attributes (int fd, const struct source *from)
{
  CLEANUP_FREE char *names = malloc (XATTR_MAX), *value = malloc (XATTR_MAX);
  const char *name;
  ssize_t len, n;

  if (!names || !value)
    return;
  len = listxattr (from->path, names, XATTR_MAX);
  for (name = names; len > 0 && name < names + len;
       name += strlen (name) + 1) {
    if (strncmp (name, "system.posix_acl", 16) == 0)
      continue;
    n = getxattr (from->path, name, value, XATTR_MAX);
    /* Some are the system's own, and not ours to give. */
    if (n >= 0 && fsetxattr (fd, name, value, (size_t) n, 0) == -1)
      continue;
  }
}

/* What the bits of mode allow to a class of users (6: owner, 3: group) that is
 * another one now is only what they allow to all: those who were in that class
 * are among the others.
 */
static mode_t
lost_class (mode_t mode, unsigned shift)
{
  const mode_t allowed = mode >> shift & 7;
  unsigned i;

  for (i = 0; i < shift; i += 3)
    mode &= ~((mode_t) 07 << i) | (allowed & mode >> i & 7) << i;
  return shift == 3 ? mode & ~(mode_t) 070 : mode;
}

void
vd_rights_copy (int fd, int from, bool all)
{
  const struct source s = source_of (from);
  mode_t mode = 0600;
  struct stat st, own;

  if (fstat (from, &st) == -1)
    return;
  if (S_ISREG (st.st_mode)) {
    mode = st.st_mode & 0777;
    if (all)
      copy_attributes (fd, &s);
    if (fchown (fd, st.st_uid, st.st_gid) == -1 &&
        fchown (fd, (uid_t) -1, st.st_gid) == -1) {
      /* It stays ours: what the other group may is not for our group. */
    }
    if (fstat (fd, &own) == -1)
      mode &= 0700;
    else {
      if (own.st_uid != st.st_uid)
        mode = lost_class (mode, 6);
      if (own.st_gid != st.st_gid)
        mode = lost_class (mode, 3);
    }
    /* With a list the bits of the group are the most that anybody in it gets,
     * and without it they would be those of the group.  It can also deny to
     * some what all others may.
     */
    if (copy_acl (fd, &s) == -1)
      mode &= 0700;
  }
  /* Last: what is not complete is for nobody else.  There are file systems
   * without modes.
   */
  if (fchmod (fd, mode) == -1)
    return;
}
