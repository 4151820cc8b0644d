/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the user may ask for when images are opened.  A zeroed struct is the
 * default and the safe choice everywhere.
 */

#ifndef VD_OPTS_H
#define VD_OPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct vd_opts {
  struct vd_log log;

  /* What stands in front of an option's name in the face at hand ("delta-",
   * "--"), so that messages can name it; NULL: nothing.
   */
  const char *prefix;

  /* Recovery: read a SEsparse extent although its journal was not replayed.
   * What is read may be older than what the guest wrote, or torn.
   */
  bool allow_dirty;

  /* Recovery: take links whose CID and parentCID do not agree. */
  bool ignore_cid;

  /* What is read is going to be written into the parent: a parent that
   * VirtualBox says was changed after its child was made is an error then
   * (unless ignore_cid), and not only a warning.
   */
  bool for_writing;

  /* Names found in images may lead anywhere, not only below the directory of
   * the file that holds them and below dirs.
   */
  bool unconfined;

  /* More directories, below which names found in images may lead, and in
   * which parents are looked for.  Borrowed.
   */
  const char *const *dirs;
  size_t nr_dirs;

  /* The parent of the link whose parent is not known or not found (see
   * vd_family_resolve), or NULL.  Borrowed.
   */
  const char *parent;
};

static inline const char *
vd_opts_prefix (const struct vd_opts *opts)
{
  return opts->prefix ? opts->prefix : "";
}

#endif /* VD_OPTS_H */
