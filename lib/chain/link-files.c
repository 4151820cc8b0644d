/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Who uses the files of a link, and opening them again; see link-files.h. */

#include <stdlib.h>

#include "base/cleanup.h"
#include "chain/link-files.h"
#include "file/inuse.h"

const struct vd_image *
vd_link_own_image (const struct vd_link *link)
{
  if (link->self)
    return link->self;
  return link->embedded || !link->descriptor ? link->pieces[0].image : NULL;
}

int
vd_link_check_unused (const struct vd_link *link, bool writers,
                      struct vd_err *err)
{
  const struct vd_image *own = vd_link_own_image (link);
  size_t i;

  /* By name first: a product leaves its lock beside the descriptor, and may
   * have none of the extents open yet.
   */
  if (vd_check_unlocked (link->path, err) == -1)
    return -1;
  if (own && own->file && vd_check_no_writer (own->file, err) == -1)
    return -1;
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_file *f = link->pieces[i].image->file;

    if (!f)
      continue;
    if (vd_check_unlocked (f->name, err) == -1)
      return -1;
    if (vd_file_lock (f, false, err) == -1)
      return -1;
    if (writers && vd_check_no_writer (f, err) == -1)
      return -1;
  }
  return 0;
}

/* Where the file of extent i stands in the list already, or i. */
static size_t
first_with (struct vd_file *const *files, size_t i, const struct vd_file *f)
{
  size_t j;

  for (j = 0; j < i; ++j)
    if (files[j] && vd_file_same (files[j], f))
      break;
  return j;
}

struct vd_file **
vd_link_files_open (const struct vd_link *link, bool writable,
                    struct vd_err *err)
{
  struct vd_file **files = calloc (link->nr_pieces + 1, sizeof *files);
  size_t i, j;

  if (!files) {
    vd_fail_nomem (err);
    return NULL;
  }
  for (i = 0; i < link->nr_pieces; ++i) {
    const struct vd_image *image = link->pieces[i].image;
    const struct vd_file *f = image->file;

    if (!f)
      continue;
    if (image->fmt->no_data) {  /* with a file: one that is not here */
      image->fmt->explain (image, 0, err);
      vd_link_files_close (files, link->nr_pieces);
      return NULL;
    }
    j = first_with (files, i, f);
    files[i] = j < i ? files[j] : writable ? vd_file_reopen_rw (f, err)
      : vd_file_reopen (f, err);
    if (!files[i]) {
      vd_link_files_close (files, link->nr_pieces);
      return NULL;
    }
  }
  return files;
}

int
vd_link_files_lock (struct vd_file *const *files, size_t n, bool lock,
                    struct vd_err *err)
{
  size_t i;

  for (i = 0; i < n; ++i)
    if (files[i] && first_with (files, i, files[i]) == i &&
        vd_file_lock (files[i], lock, err) == -1)
      return -1;
  return 0;
}

void
vd_link_files_close (struct vd_file **files, size_t n)
{
  size_t i, j;

  if (!files)
    return;
  for (i = 0; i < n; ++i) {
    for (j = i + 1; j < n; ++j)
      if (files[j] == files[i])
        files[j] = NULL;
    vd_file_close (files[i]);
  }
  free (files);
}
