/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the keys of a descriptor mean, and which forbid to go on. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/uuid.h"
#include "format/descriptor-keys.h"
#include "format/descriptor.h"

int
vd_descriptor_no_data (struct vd_descriptor *d, struct vd_err *err,
                       const char *fs, ...)
{
  va_list args;
  int n;

  if (d->no_data)
    return 0;
  va_start (args, fs);
  n = vasprintf (&d->no_data, fs, args);
  va_end (args);
  if (n >= 0)
    return 0;
  d->no_data = NULL;
  return vd_fail_nomem (err);
}

bool
vd_key_is_decoration (const char *line)
{
  char key[64];
  size_t i;

  for (i = 0; i < sizeof key - 1 && line[i] && !isspace (line[i]) &&
         line[i] != '='; ++i)
    key[i] = (char) tolower ((unsigned char) line[i]);
  key[i] = '\0';
  return strncmp (key, "ddb.", 4) == 0 && strncmp (key, "ddb.uuid.", 9) != 0 &&
    !strstr (key, "crypt") && !strstr (key, "keysafe") &&
    strcmp (key, "ddb.iofilters") != 0;
}

/* A number may be followed by a comment. */
static const char *
skip_comment (const char *p)
{
  if (*p != ' ' && *p != '\t')
    return p;
  p += strspn (p, " \t");
  return *p == '#' || *p == ';' || strncmp (p, "//", 2) == 0 ? "" : p;
}

static int
get_hex32 (const struct vd_key *k, const char *name, uint32_t *v,
           struct vd_err *err)
{
  const char *p;

  *v = 0;
  for (p = k->value; isxdigit ((unsigned char) *p) && p - k->value < 8; ++p)
    *v = *v << 4 | (uint32_t) (isdigit ((unsigned char) *p)
                               ? *p - '0' : tolower (*p) - 'a' + 10);
  if (p == k->value || *skip_comment (p) != '\0')
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
    if (!isdigit ((unsigned char) k->value[0]) ||
        *skip_comment (end) != '\0' ||
        d->version < 1 || d->version > 4)
      return vd_fail (err, VD_UNSUPPORTED,
                      "%s line %u: descriptor version '%s' is not supported, "
                      "only 1 to 4", name, k->line, k->value);
    return 0;
  }
  if (strcmp (k->key, "isnativesnapshot") == 0 &&
      strcasecmp (k->value, "no") != 0)
    return vd_descriptor_no_data (d, err,
                                  "%s line %u: isNativeSnapshot is \"%s\": "
                                  "the snapshot was made by the storage array, "
                                  "and its data is not in this file; only "
                                  "\"no\" is supported", name, k->line,
                                  k->value);
  if (strstr (k->key, "crypt") || strstr (k->key, "keysafe") ||
      (strcmp (k->key, "ddb.iofilters") == 0 &&
       strcasestr (k->value, "crypt")))
    return vd_descriptor_no_data (d, err, "%s line %u: the disk is encrypted "
                                  "(%s): decrypt it with the product that made "
                                  "it", name, k->line, k->key);
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

/* Do two values of one key say the same? */
static bool
same_value (const struct vd_key *a, const struct vd_key *b)
{
  uint8_t ua[16], ub[16];
  uint32_t ca, cb;

  if (strcmp (a->value, b->value) == 0)
    return true;
  if (strstr (a->key, "cid"))
    return get_hex32 (a, "", &ca, NULL) == 0 &&
      get_hex32 (b, "", &cb, NULL) == 0 && ca == cb;
  if (strncmp (a->key, "ddb.uuid.", 9) == 0)
    return vd_parse_uuid (a->value, ua) && vd_parse_uuid (b->value, ub) &&
      memcmp (ua, ub, sizeof ua) == 0;
  return strcmp (a->key, "createtype") == 0 &&
    strcasecmp (a->value, b->value) == 0;
}

/* A key whose value decides what is read may not have two. */
static int
check_duplicates (const struct vd_descriptor *d, const char *name,
                  const struct vd_log *log, struct vd_err *err)
{
  static const char *const once[] = {
    "cid", "parentcid", "parentfilenamehint", "createtype",
    "ddb.uuid.image", "ddb.uuid.parent",
  };
  const struct vd_key *seen, *k;
  size_t i, n;

  for (i = 0; i < sizeof once / sizeof once[0]; ++i) {
    seen = NULL;
    for (n = 0; n < d->nr_keys; ++n) {
      k = &d->keys[n];
      if (strcmp (k->key, once[i]) != 0)
        continue;
      if (seen && !same_value (seen, k))
        return vd_fail (err, VD_CORRUPT, "%s line %u: %s appears twice: it is "
                        "'%.255s' here, and '%.255s' in line %u.  Remove the "
                        "wrong one", name, k->line, once[i], k->value,
                        seen->value, seen->line);
      if (seen)
        vd_warn (log, "%s line %u: %s appears twice, with the same value "
                 "(also in line %u)", name, k->line, once[i], seen->line);
      else
        seen = k;
    }
  }
  return 0;
}

int
vd_descriptor_judge (struct vd_descriptor *d, const char *name,
                     const struct vd_log *log, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < d->nr_keys; ++i)
    if (judge_key (d, &d->keys[i], name, err) == -1)
      return -1;
  return check_duplicates (d, name, log, err);
}
