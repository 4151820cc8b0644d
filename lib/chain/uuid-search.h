/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding a parent by its UUID among the images of a directory, as VirtualBox
 * links them.
 *
 * Cost: an index keeps who is in a directory, so that each directory is read
 * once, and each file opened once, however many links are looked for and
 * however many names it has.  It holds what was there then.
 *
 * Threads: built and used by one thread.
 */

#ifndef VD_UUID_SEARCH_H
#define VD_UUID_SEARCH_H

#include "chain/link.h"

struct vd_known_image {
  dev_t dev;
  ino_t ino;
  uint8_t uuid[16];             /* null: it has none, or is no image */
  char *path;                   /* NULL with it */
  size_t dir;                   /* index of its directory */
};

struct vd_uuid_index {
  struct vd_known_image *image;
  size_t nr_images;
  struct vd_indexed_dir {
    char *path;
    size_t nr_seen;             /* images in it, also those without a UUID */
  } *dir;
  size_t nr_dirs;
  unsigned nr_opened;           /* files, for tests */
};

extern void vd_uuid_index_free (struct vd_uuid_index *index);

/* The image with the UUID of child's parent, in the directory of the child, in
 * the one above if that is a Snapshots folder, and in opts->dirs.  New, read
 * but not loaded.  VD_NOT_FOUND, VD_MISMATCH: several have it.
 */
extern int vd_find_by_uuid (struct vd_uuid_index *index,
                            const struct vd_link *child,
                            const struct vd_opts *opts,
                            struct vd_link **parent, struct vd_err *err);

#endif /* VD_UUID_SEARCH_H */
