/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the user allows when images are opened.  A zeroed struct is the default,
 * and the safe choice everywhere.
 */

#ifndef VD_OPTS_H
#define VD_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"

/* KDMV files have their tables twice: which of the two is read. */
enum vd_tables_choice {
  VD_TABLES_BOTH,               /* the first; where the copy says something
                                   else that can be, nothing is read */
  VD_TABLES_FIRST,              /* the first, whatever the copy says */
  VD_TABLES_COPY,               /* the copy, whatever the first says */
  VD_TABLES_MARKERS,            /* of a stream, none: by the markers of its
                                   grains; of other files, as usual */
};

struct vd_file;

struct vd_opts {
  struct vd_log log;

  /* Opens a URI (file/uri.h) for reading.  NULL: only local files are opened.
   * What it does is outside the library, which knows of no network.
   */
  struct vd_file *(*open) (void *remote, const char *uri, struct vd_err *err);
  void *remote;

  /* Recovery: read an SEsparse extent even if its journal was not replayed.
   * The data may be older than what the guest wrote, or torn.
   */
  bool allow_dirty;

  /* Recovery: read files whose two sets of tables differ by one of them, or
   * streams without an end.  Other files are read as usual.
   */
  enum vd_tables_choice tables;

  /* Recovery: accept links whose CID and parentCID do not match. */
  bool ignore_cid;

  /* A raw disk is one, whatever its first and last bytes look like: do not
   * refuse images and archives in its place (format/magic.h).
   */
  bool raw_base;

  /* The data will be written to the parent.  If VirtualBox says that a parent
   * was changed after its child was made, this is then an error (unless
   * ignore_cid), and not only a warning.
   */
  bool for_writing;

  /* The caller is a merge, which looks after marks of unfinished merges
   * (chain/merging.h) itself.
   */
  bool own_marks;

  /* Only what a file is was asked: one whose tables cannot be found opens, and
   * all of its data is damaged.
   */
  bool headers;

  /* Follow names found in images anywhere, not only below the directory of
   * the file that contains them and below dirs.
   */
  bool unconfined;

  /* More directories below which names found in images are followed, and in
   * which parents are looked for.  Borrowed.
   */
  const char *const *dirs;
  size_t nr_dirs;

  /* The file that lists the media of a VirtualBox machine which are not in its
   * own file (vbox.h).  NULL: it is looked for.  Borrowed.
   */
  const char *registry;

  /* The parent of the link whose parent is not known or not found (see
   * vd_family_resolve), or NULL.  Borrowed.
   */
  const char *parent;
};

/* The values of the option "tables".  False: there is no such value. */
static inline bool
vd_tables_choice (const char *value, enum vd_tables_choice *choice)
{
  if (strcmp (value, "first") == 0)
    *choice = VD_TABLES_FIRST;
  else if (strcmp (value, "copy") == 0)
    *choice = VD_TABLES_COPY;
  else if (strcmp (value, "markers") == 0)
    *choice = VD_TABLES_MARKERS;
  else
    return false;
  return true;
}

/* What stands before the name of an option in this front end ("delta-", "--"),
 * so that messages can name one: "%stables=copy".  A front end that has a
 * prefix sets it when it is loaded.  It is no member of struct vd_opts, because
 * files that nobody named (a neighbour, a sibling) are opened with options of
 * the library's own, and are in messages too.  "" until then.
 */
extern void vd_opts_set_prefix (const char *prefix);
extern const char *vd_opts_prefix (void);

#endif /* VD_OPTS_H */
