/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the keys of a descriptor mean, and which forbid to go on. */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "format/descriptor-keys.h"
#include "format/descriptor.h"

static int
get_hex32 (const struct vd_key *k, const char *name, uint32_t *v,
           struct vd_err *err)
{
  const char *p;

  *v = 0;
  for (p = k->value; isxdigit ((unsigned char) *p) && p - k->value < 8; ++p)
    *v = *v << 4 | (uint32_t) (isdigit ((unsigned char) *p)
                               ? *p - '0' : tolower (*p) - 'a' + 10);
  if (p == k->value || *p != '\0')
    return vd_fail (err, VD_CORRUPT,
                    "%s line %u: %s '%s' is not a 32-bit hexadecimal number",
                    name, k->line, k->key, k->value);
  return 0;
}

static int
judge_key (struct vd_descriptor *d, const struct vd_key *k, const char *name,
           struct vd_err *err)
{
  char *end;

  if (strcmp (k->key, "cid") == 0) {
    d->has_cid = true;
    return get_hex32 (k, name, &d->cid, err);
  }
  if (strcmp (k->key, "parentcid") == 0) {
    d->has_parent_cid = true;
    return get_hex32 (k, name, &d->parent_cid, err);
  }
  if (strcmp (k->key, "version") == 0) {
    d->version = (unsigned) strtoul (k->value, &end, 10);
    if (!isdigit ((unsigned char) k->value[0]) || *end != '\0' ||
        d->version < 1 || d->version > 4)
      return vd_fail (err, VD_UNSUPPORTED,
                      "%s line %u: descriptor version '%s' is not supported, "
                      "only 1 to 4", name, k->line, k->value);
    return 0;
  }
  if (strcmp (k->key, "isnativesnapshot") == 0 &&
      strcasecmp (k->value, "no") != 0)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s line %u: isNativeSnapshot is \"%s\": the snapshot "
                    "was made by the storage array, and its data is not in "
                    "this file; only \"no\" is supported", name, k->line,
                    k->value);
  if (strstr (k->key, "crypt") || strstr (k->key, "keysafe") ||
      (strcmp (k->key, "ddb.iofilters") == 0 &&
       strcasestr (k->value, "crypt")))
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s line %u: the disk is encrypted (%s): decrypt it with "
                    "the product that made it", name, k->line, k->key);
  return 0;
}

bool
vd_descriptor_knows (const char *key)
{
  static const char *const keys[] = {
    "cid", "parentcid", "version", "encoding", "createtype", "isnativesnapshot",
    "parentfilenamehint", "changetrackpath", "ddb.adaptertype",
    "ddb.virtualhwversion", "ddb.encoding", "ddb.iofilters", "ddb.uuid",
    "ddb.uuid.image", "ddb.uuid.parent", "ddb.uuid.modification",
    "ddb.uuid.parentmodification",
  };
  size_t i;

  for (i = 0; i < sizeof keys / sizeof keys[0]; ++i)
    if (strcmp (key, keys[i]) == 0)
      return true;
  return strstr (key, "crypt") || strstr (key, "keysafe");
}

/* Keys whose value decides what is read may stand only once. */
static int
check_duplicates (const struct vd_descriptor *d, const char *name,
                  struct vd_err *err)
{
  static const char *const once[] = {
    "cid", "parentcid", "parentfilenamehint", "createtype",
    "ddb.uuid.image", "ddb.uuid.parent",
  };
  const struct vd_key *seen;
  size_t i, k;

  for (i = 0; i < sizeof once / sizeof once[0]; ++i) {
    seen = NULL;
    for (k = 0; k < d->nr_keys; ++k) {
      if (strcmp (d->keys[k].key, once[i]) != 0)
        continue;
      if (seen)
        return vd_fail (err, VD_CORRUPT,
                        "%s line %u: %s appears twice (also in line %u)",
                        name, d->keys[k].line, once[i], seen->line);
      seen = &d->keys[k];
    }
  }
  return 0;
}

int
vd_descriptor_judge (struct vd_descriptor *d, const char *name,
                     struct vd_err *err)
{
  size_t i;

  for (i = 0; i < d->nr_keys; ++i)
    if (judge_key (d, &d->keys[i], name, err) == -1)
      return -1;
  return check_duplicates (d, name, err);
}
