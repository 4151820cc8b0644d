/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Parts of names; see path.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/path.h"

char *
vd_directory_of (const char *path)
{
  const char *slash = strrchr (path, '/');

  return !slash ? strdup (".")
    : strndup (path, slash == path ? 1 : (size_t) (slash - path));
}

bool
vd_is_snapshots (const char *dir)
{
  const char *slash = strrchr (dir, '/');

  return slash && slash > dir && strcasecmp (slash + 1, VD_SNAPSHOTS) == 0;
}

char *
vd_flat_stem (const char *name)
{
  static const char suffix[] = "-flat.vmdk";
  const size_t n = strlen (name), m = sizeof suffix - 1;

  return n > m && strcmp (name + n - m, suffix) == 0
    ? strndup (name, n - m) : NULL;
}

char *
vd_descriptor_name (const char *path)
{
  static const char *const suffixes[] = {
    "-delta.vmdk", "-sesparse.vmdk", "-flat.vmdk", "-s###.vmdk", "-f###.vmdk",
  };
  const size_t n = strlen (path);
  size_t i, j, m;
  char *name;

  for (i = 0; i < sizeof suffixes / sizeof suffixes[0]; ++i) {
    m = strlen (suffixes[i]);
    if (n <= m)
      continue;
    for (j = 0; j < m; ++j)
      if (suffixes[i][j] == '#' ? !isdigit ((unsigned char) path[n - m + j])
          : suffixes[i][j] != path[n - m + j])
        break;
    if (j == m)
      return asprintf (&name, "%.*s.vmdk", (int) (n - m), path) == -1 ? NULL
        : name;
  }
  return NULL;
}

bool
vd_is_device_name (const char *name)
{
  static const char *const starts[] = {
    "/dev/", "/vmfs/devices/", "\\\\.\\", "\\\\?\\", "//./", "//?/",
  };
  size_t i;

  if (strncmp (name, "/dev/shm/", 9) == 0)      /* files in memory */
    return false;
  for (i = 0; i < sizeof starts / sizeof starts[0]; ++i)
    if (strncasecmp (name, starts[i], strlen (starts[i])) == 0)
      return true;
  return strstr (name, "://");
}
