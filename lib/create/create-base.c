/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A descriptor for a raw disk, so that programs that want a VMDK find one. */

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "create/create.h"
#include "file/newfile.h"
#include "format/descriptor-text.h"

int
vd_create_base_descriptor (const char *path, const char *extent,
                           const struct vd_file *raw, uint64_t capacity,
                           uint32_t *cid, struct vd_err *err)
{
  struct vd_description d = {
    .create_type = "monolithicFlat", .parent_cid = VD_NO_PARENT,
    .capacity = capacity, .extent_type = "FLAT", .extent_name = extent,
  };
  struct vd_new_file n = { .path = NULL };
  CLEANUP_FREE char *text = NULL;
  int r = -1;

  if (capacity == 0 || capacity % VD_SECTOR != 0)
    return vd_fail (err, VD_USAGE, "%s: a disk of %" PRIu64 " bytes is not "
                    "made of whole sectors", path, capacity);
  if (vd_new_cid (cid, VD_NO_PARENT, err) == -1)
    return -1;
  d.cid = *cid;
  text = vd_describe (&d, err);
  if (!text)
    return -1;
  if (vd_new_file_open_like (&n, path, false, raw, NULL, err) == 0 &&
      vd_file_pwrite (n.file, text, strlen (text), 0, err) == 0 &&
      vd_file_flush (n.file, err) == 0 &&
      vd_new_file_publish (&n, false, err) == 0)
    r = vd_new_file_flush_directory (&n, err);
  vd_new_file_close (&n);
  return r;
}
