/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info --json.  The keys are documented in vmdkdelta-info(1), and
 * programs depend on them.
 */

#include <inttypes.h>

#include "verb-info.h"

static void
hex32 (struct json *j, const char *key, bool known, uint32_t value)
{
  char text[16];

  if (!known) {
    json_null (j, key);
    return;
  }
  snprintf (text, sizeof text, "%08" PRIx32, value);
  json_string (j, key, text);
}

static void
put_uuids (struct json *j, const struct facts *f)
{
  static const struct { const char *key, *name; } uuids[] = {
    { "ddb.uuid.image", "image" },
    { "ddb.uuid.parent", "parent" },
    { "ddb.uuid.modification", "modification" },
    { "ddb.uuid.parentmodification", "parent-modification" },
    { "ddb.uuid", "disk" },
    { "ddb.longcontentid", "content" },
  };
  const struct vd_identity *id = &f->member->link->id;
  const uint8_t *const own[] = {
    id->image, id->parent, id->modified, id->parent_modified,
  };
  static const uint8_t null[16];
  char text[VD_UUID_TEXT];
  size_t i;

  json_begin_object (j, "uuids");
  for (i = 0; i < sizeof uuids / sizeof uuids[0]; ++i)
    if (facts_key (f, uuids[i].key))
      json_string (j, uuids[i].name, facts_key (f, uuids[i].key));
    else if (i < sizeof own / sizeof own[0] && memcmp (own[i], null, 16) != 0)
      json_string (j, uuids[i].name, vd_uuid_text (text, own[i]));
  json_end (j);
}

static void
put_parent (struct json *j, const struct facts *f)
{
  const struct vd_member *parent = f->member->parent;

  json_begin_object (j, "parent");
  json_string (j, "state", parent_state_name (f->parent_state));
  json_string_or_null (j, "hint", vd_link_hint (f->member->link));
  json_string_or_null (j, "file", parent ? parent->link->path : NULL);
  json_string_or_null (j, "reason", f->parent_err.code == VD_OK ? NULL
                       : f->parent_err.msg);
  json_end (j);
}

static void
put_image (struct json *j, const struct vd_image *image)
{
  json_string (j, "format", image->fmt->name);
  json_u64 (j, "version", image->version);
  json_u64 (j, "grain-size", image->grain_size);
  json_bool (j, "compressed", image->compressed);
  json_bool (j, "unclean", image->unclean);
  json_u64_or_null (j, "file-size", image->file != NULL,
                    image->file ? image->file->size : 0);
}

/* Extents as the descriptor lists them; a bare extent has one. */
static void
put_extents (struct json *j, const struct facts *f)
{
  static const char *const access[] = {
    [VD_RW] = "RW", [VD_RDONLY] = "RDONLY", [VD_NOACCESS] = "NOACCESS",
  };
  const struct vd_link *link = f->member->link;
  const struct vd_descriptor *d = link->descriptor;
  struct vd_err err;
  bool found;
  size_t i;

  json_begin_array (j, "extents");
  for (i = 0; d && i < d->nr_extents; ++i) {
    const struct vd_extent_line *e = &d->extents[i];
    const struct vd_image *image
      = i < link->nr_pieces ? link->pieces[i].image : NULL;

    json_begin_object (j, NULL);
    json_string (j, "access", access[e->access]);
    json_string (j, "type", e->type_text);
    json_u64 (j, "size", e->length);
    json_string_or_null (j, "name", e->shown);
    json_u64 (j, "offset", e->offset);
    found = extent_found (f, i, &err) == 0;
    json_string_or_null (j, "file", found && image && image->file
                         ? image->file->name : NULL);
    json_string_or_null (j, "reason", found ? NULL : err.msg);
    if (found && image)
      put_image (j, image);
    json_end (j);
  }
  if (!d && link->nr_pieces == 1) {
    json_begin_object (j, NULL);
    json_u64 (j, "size", link->capacity);
    json_string (j, "file", link->path);
    put_image (j, link->pieces[0].image);
    json_end (j);
  }
  json_end (j);
}

static void
put_link (struct json *j, const struct facts *f)
{
  const struct vd_link *link = f->member->link;
  const struct vd_descriptor *d = link->descriptor;
  static const char *const roles[] = {
    [VD_ROLE_BASE] = "base", [VD_ROLE_CHILD] = "delta",
    [VD_ROLE_BARE] = "bare",
  };

  json_string (j, "file", f->path);
  json_string (j, "state", facts_state (f));
  json_string_or_null (j, "reason", !f->loaded ? f->load_err.msg
                       : !f->walked ? f->walk_err.msg
                       : f->damage.code != VD_OK ? f->damage.msg : NULL);
  json_string_or_null (j, "format", facts_format (f));
  json_string (j, "role", roles[link->role]);
  json_u64_or_null (j, "descriptor-version", d != NULL, d ? d->version : 0);
  json_string_or_null (j, "create-type", facts_key (f, "createtype"));
  json_u64 (j, "virtual-size", link->capacity);
  json_u64_or_null (j, "grain-size", f->loaded,
                    f->loaded ? vd_link_max_grain (link) : 0);
  json_u64_or_null (j, "data", f->walked,
                    f->bytes[VD_WALK_DATA] + f->bytes[VD_WALK_COMPRESSED]);
  json_u64_or_null (j, "compressed", f->walked, f->bytes[VD_WALK_COMPRESSED]);
  json_u64_or_null (j, "zero", f->walked, f->bytes[VD_WALK_ZERO]);
  json_u64_or_null (j, "unallocated", f->walked, f->bytes[VD_WALK_BASE]);
  json_u64_or_null (j, "damaged", f->walked, f->bytes[VD_WALK_DAMAGED]);
  json_u64_or_null (j, "files", f->loaded, f->nr_files);
  json_u64_or_null (j, "file-size", f->loaded, f->files_size);
  json_u64_or_null (j, "disk-usage", f->loaded, f->files_usage);
  json_bool (j, "unclean", f->unclean);
  json_string_or_null (j, "merging", !link->merging ? NULL
                       : link->merging->command ? link->merging->command
                       : link->merging->path);
  hex32 (j, "cid", d && d->has_cid, d ? d->cid : 0);
  hex32 (j, "parent-cid", d && d->has_parent_cid, d ? d->parent_cid : 0);
  put_parent (j, f);
  json_string_or_null (j, "lock", f->beside.lock);
  json_string_or_null (j, "newer", f->beside.newer);
  put_uuids (j, f);
  json_string_or_null (j, "change-track-path",
                       facts_key (f, "changetrackpath"));
  json_string_or_null (j, "adapter-type", facts_key (f, "ddb.adaptertype"));
  json_string_or_null (j, "hw-version",
                       facts_key (f, "ddb.virtualhwversion"));
  put_extents (j, f);
}

void
json_report (struct json *j, const struct report *r, bool chain)
{
  size_t i;

  json_begin_object (j, NULL);
  if (!r->opened) {
    json_string (j, "file", r->path);
    json_string (j, "state", "unreadable");
    json_string (j, "reason", r->err.msg);
  }
  else
    put_link (j, &r->facts[0]);
  if (r->opened && chain) {
    json_begin_array (j, "chain");
    for (i = r->n; i-- > 0; ) {
      json_begin_object (j, NULL);
      put_link (j, &r->facts[i]);
      json_end (j);
    }
    json_end (j);
  }
  json_end (j);
}
