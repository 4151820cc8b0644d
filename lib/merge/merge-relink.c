/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* New identities, and who is whose parent, as steps of a journal.
 *
 * A target that was merged into has another content: it gets a new CID and a
 * new modification UUID, so that whatever else was made on it, and is not
 * known here, is refused instead of read wrongly.  What stands on it is told.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "create/create-child.h"
#include "file/newfile.h"
#include "format/descriptor-edit.h"
#include "format/descriptor-text.h"
#include "format/vdi.h"
#include "merge/merge-private.h"

/* Fields of a VDI's header, within its first sector. */
struct vdi_field {
  size_t offset;
  const uint8_t *uuid;
};

static int
vdi_step (const struct vd_link *link, const struct vdi_field *f, size_t n,
          struct vd_journal *j, struct vd_err *err)
{
  const struct vd_image *image = vd_link_own_image (link);
  struct vd_step s = {
    .kind = VD_STEP_WRITE, .ino = image->file->ino,
    .dev = image->file->dev, .new_len = VD_SECTOR,
  };
  size_t i;

  s.path = vd_merge_real_path (link->path, link->dev, link->ino, err);
  s.old_data = calloc (1, VD_SECTOR);
  s.new_data = malloc (VD_SECTOR);
  if (!s.path || !s.old_data || !s.new_data ||
      vd_file_pread (image->file, s.old_data, VD_SECTOR, 0, err) == -1) {
    if (s.path && (!s.old_data || !s.new_data))
      vd_fail_nomem (err);
    free (s.path);
    free (s.old_data);
    free (s.new_data);
    return -1;
  }
  memcpy (s.new_data, s.old_data, VD_SECTOR);
  for (i = 0; i < n; ++i)
    vd_vdi_swap_uuid (s.new_data + f[i].offset, f[i].uuid);
  return vd_journal_add (j, &s, err);
}

/* A descriptor's new text: in place if it is embedded, else the file. */
static int
descriptor_step (const struct vd_link *link,
                 const struct vd_descriptor_change *changes, size_t n,
                 uint64_t sectors, struct vd_journal *j, struct vd_err *err)
{
  const struct vd_image *own = vd_link_own_image (link);
  struct vd_file *file = own ? own->file : vd_file_open (link->path, err);
  const uint64_t offset = own ? own->descriptor_offset : 0;
  struct vd_step s = {
    .kind = own ? VD_STEP_WRITE : VD_STEP_REPLACE, .offset = offset,
  };
  char *text = NULL;
  int r = -1;

  if (!file)
    return -1;
  s.ino = file->ino;
  s.dev = file->dev;
  s.old_len = (size_t) (own ? own->descriptor_length : file->size);
  s.path = vd_merge_real_path (link->path, link->dev, link->ino, err);
  s.old_data = malloc (s.old_len + 1);
  if (!s.old_data)
    vd_fail_nomem (err);
  else if (s.path &&
           vd_file_pread (file, s.old_data, s.old_len, offset, err) == 0)
    text = vd_descriptor_edit ((char *) s.old_data, s.old_len, changes, n,
                               sectors, err);
  if (text) {
    s.new_len = strlen (text);
    s.new_data = (uint8_t *) text;
    r = 0;
  }
  if (r == 0 && own) {
    if (s.new_len > s.old_len)
      r = vd_fail (err, VD_UNSUPPORTED, "%s: the new descriptor needs %zu "
                   "bytes, there is room for %zu", link->path, s.new_len,
                   s.old_len);
    else {
      uint8_t *p = calloc (1, s.old_len);

      if (p)
        memcpy (p, text, s.new_len);
      else
        r = vd_fail_nomem (err);
      free (text);
      s.new_data = p;
      s.new_len = s.old_len;
    }
  }
  if (!own)
    vd_file_close (file);
  if (r == 0)
    return vd_journal_add (j, &s, err);
  free (s.path);
  free (s.old_data);
  free (s.new_data);
  return -1;
}

static size_t
version_0_offset (const struct vd_image *image, size_t offset)
{
  /* uuidModify and uuidLinkage lie 20 bytes lower there */
  return image->version >> 16 == 0 ? offset - 20 : offset;
}

int
vd_merge_target_steps (const struct vd_merge_disk *d,
                       struct vd_new_identity *id, struct vd_journal *j,
                       struct vd_err *err)
{
  const struct vd_link *t = d->target;
  const struct vd_image *own = vd_link_own_image (t);
  const struct vd_descriptor *desc = t->descriptor;
  char cid[9], longid[33], uuid[VD_UUID_TEXT];
  struct vd_descriptor_change c[8];
  uint64_t sectors = 0;
  uint8_t r[12];
  size_t n = 0, i;

  memcpy (id->uuid, t->id.image, 16);
  if (vd_uuid_new (id->modified, err) == -1 ||
      vd_random (r, sizeof r, err) == -1 ||
      vd_new_cid (&id->cid, desc ? desc->cid : 0, err) == -1)
    return -1;
  if (!desc) {
    const struct vdi_field f = {
      version_0_offset (own, VD_VDI_OFF_MODIFIED), id->modified,
    };

    return vdi_step (t, &f, 1, j, err);
  }

  id->has_cid = true;
  snprintf (cid, sizeof cid, "%08" PRIx32, id->cid);
  for (i = 0; i < sizeof r; ++i)
    snprintf (longid + 2 * i, 3, "%02x", r[i]);
  snprintf (longid + 24, 9, "%s", cid);
  c[n++] = (struct vd_descriptor_change) { "CID", cid, false };
  c[n++] = (struct vd_descriptor_change) { "ddb.longContentID", longid, true };
  if (!vd_uuid_is_null (t->id.image))
    c[n++] = (struct vd_descriptor_change) {
      "ddb.uuid.modification", vd_uuid_text (uuid, id->modified), false
    };
  else
    memset (id->modified, 0, 16);
  if (vd_descriptor_get (desc, "changetrackpath")) {
    c[n++] = (struct vd_descriptor_change) { "changeTrackPath", NULL, false };
    if (desc->version == 3)
      c[n++] = (struct vd_descriptor_change) { "version", "1", false };
  }
  if (d->capacity > t->capacity)
    sectors = (d->capacity - t->pieces[t->nr_pieces - 1].start) / VD_SECTOR;
  return descriptor_step (t, c, n, sectors, j, err);
}

int
vd_merge_child_steps (const struct vd_link *child,
                      const struct vd_link *parent,
                      const struct vd_new_identity *id, struct vd_journal *j,
                      struct vd_err *err)
{
  const struct vd_image *own = vd_link_own_image (child);
  const struct vd_descriptor *desc = child->descriptor;
  char cid[9], uuid[VD_UUID_TEXT], modified[VD_UUID_TEXT];
  CLEANUP_FREE char *hint = NULL;
  struct vd_descriptor_change c[4];
  size_t n = 0;

  if (!desc) {
    const struct vdi_field f[2] = {
      { version_0_offset (own, VD_VDI_OFF_PARENT), id->uuid },
      { VD_VDI_OFF_PARENT_MODIFIED, id->modified },
    };

    if (vd_uuid_is_null (id->uuid))
      return vd_fail (err, VD_UNSUPPORTED, "%s is a VDI, and %s has no UUID by "
                      "which it could be its parent", child->path,
                      parent->path);
    return vdi_step (child, f, own->version >> 16 == 0 ? 1 : 2, j, err);
  }
  if (desc->parent_cid != VD_NO_PARENT) {
    hint = vd_parent_hint (child->path, parent->path, err);
    if (!hint)
      return -1;
    snprintf (cid, sizeof cid, "%08" PRIx32, id->cid);
    c[n++] = (struct vd_descriptor_change) { "parentCID", cid, false };
    c[n++] = (struct vd_descriptor_change) { "parentFileNameHint", hint,
                                             false };
  }
  if (!vd_uuid_is_null (child->id.parent)) {
    c[n++] = (struct vd_descriptor_change) {
      "ddb.uuid.parent", vd_uuid_text (uuid, id->uuid), false
    };
    c[n++] = (struct vd_descriptor_change) {
      "ddb.uuid.parentmodification", vd_uuid_text (modified, id->modified),
      false
    };
  }
  return descriptor_step (child, c, n, 0, j, err);
}
