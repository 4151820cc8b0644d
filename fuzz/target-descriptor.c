/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The text descriptor. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static void
check_log (void *opaque, enum vd_level level, const char *msg)
{
  struct vd_err err = { .code = VD_CORRUPT };

  (void) level;
  ++*(unsigned *) opaque;
  snprintf (err.msg, sizeof err.msg, "%s", msg);
  fz_check_err (&err);
}

static void
check_keys (const struct vd_descriptor *d, size_t n)
{
  char text[VD_UUID_TEXT];
  uint8_t uuid[16], again[16];
  size_t i, k;

  for (i = 0; i < d->nr_keys; ++i) {
    const struct vd_key *key = &d->keys[i];
    const char *value = vd_descriptor_get (d, key->key);

    fz_require (value, "a key that is not found: %s", key->key);
    fz_require (strlen (key->key) + strlen (key->value) <= n,
                "a key is longer than the text");
    fz_require (key->line > 0, "no line");
    for (k = 0; k < i && strcmp (d->keys[k].key, key->key) != 0; ++k)
      ;
    fz_require (k < i || value == key->value, "the first of a key is not "
                "what is found");
    if (vd_parse_uuid (key->value, uuid)) {
      vd_uuid_text (text, uuid);
      fz_require (vd_parse_uuid (text, again) &&
                  memcmp (uuid, again, 16) == 0, "UUID %s", text);
    }
  }
}

static void
check_extents (const struct vd_descriptor *d)
{
  uint64_t sum = 0;
  size_t i;

  fz_require (d->nr_extents > 0 && d->nr_extents <= VD_MAX_EXTENTS,
              "%zu extents", d->nr_extents);
  for (i = 0; i < d->nr_extents; ++i) {
    const struct vd_extent_line *e = &d->extents[i];

    fz_require (e->length > 0 && e->length % VD_SECTOR == 0 &&
                e->offset % VD_SECTOR == 0, "extent %zu", i);
    fz_require (vd_add (sum, e->length, &sum) && sum <= VD_MAX_CAPACITY,
                "the extents are too long together");
    fz_require (e->type != VD_EXTENT_ELSEWHERE || d->no_data,
                "extent %zu: data elsewhere, and nothing is said", i);
    fz_require (e->name || e->type == VD_EXTENT_ZERO ||
                e->type == VD_EXTENT_ELSEWHERE || e->access == VD_NOACCESS, "extent %zu: no name", i);
    fz_require (!e->name || *e->name, "extent %zu: an empty name", i);
    fz_require (e->type_text && e->line > 0, "extent %zu", i);
    fz_require (e->offset == 0 || e->type == VD_EXTENT_FLAT,
                "extent %zu: an offset", i);
  }
  fz_require (sum == d->capacity, "the capacity is not the sum");
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  unsigned warnings = 0;
  const struct vd_log log = { .fn = check_log, .opaque = &warnings };
  struct vd_descriptor *d;
  struct vd_err err;

  fz_load (NULL, 0);
  fz_clear (&err);
  d = vd_descriptor_parse ((const char *) data, n, "d.vmdk", &log, &err);
  if (!d) {
    fz_check_err (&err);
    return 0;
  }
  fz_require (!d->has_parent_cid || d->parent_cid != VD_NO_PARENT ||
              d->has_parent_cid, "parentCID");
  fz_require (d->has_parent_cid || d->parent_cid == VD_NO_PARENT,
              "a parentCID from nowhere");
  check_keys (d, n);
  check_extents (d);
  vd_descriptor_free (d);
  return 0;
}
