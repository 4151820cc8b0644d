/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Parsing the text descriptor; see descriptor.h.
 *
 *     descriptor = { blank | comment | assignment | extent }
 *     comment    = "#" text
 *     assignment = key [blanks] "=" [blanks] value
 *     extent     = access sectors type [ "name" [ offset ... ]]
 *
 * There is no escape character: a quoted value runs to the next quote.
 */

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/bytes.h"
#include "base/charset.h"
#include "base/cleanup.h"
#include "format/descriptor-keys.h"
#include "format/descriptor.h"

/* What parsing carries along. */
struct parser {
  struct vd_descriptor *d;
  const char *name;             /* of the file */
  unsigned line;
  struct vd_err *err;
};

static void
free_descriptor (struct vd_descriptor **d)
{
  vd_descriptor_free (*d);
}

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t';
}

static char *
skip_blanks (char *p)
{
  while (is_blank (*p))
    ++p;
  return p;
}

/* Cut the next word off *p, which must begin with one. */
static char *
next_word (char **p)
{
  char *word = *p;

  while (**p && !is_blank (**p))
    ++*p;
  if (**p)
    *(*p)++ = '\0';
  *p = skip_blanks (*p);
  return word;
}

/* A descriptor has some 25 keys.  Of more than these, only those that somebody
 * asks for are kept, twice: a second one is refused.  So a text of the largest
 * size costs little memory.
 */
#define MAX_KEYS 256u

static bool
is_kept (const struct vd_descriptor *d, const char *key)
{
  unsigned n = 0;
  size_t i;

  if (d->nr_keys < MAX_KEYS)
    return true;
  if (!vd_descriptor_knows (key))
    return false;
  for (i = 0; i < d->nr_keys && n < 2; ++i)
    n += strcmp (d->keys[i].key, key) == 0;
  return n < 2;
}

static int
add_key (struct parser *ps, const char *key, size_t n, const char *value)
{
  struct vd_descriptor *d = ps->d;
  CLEANUP_FREE char *lower = strndup (key, n);
  struct vd_key *p, *k;
  size_t i;

  if (!lower)
    return vd_fail_nomem (ps->err);
  for (i = 0; i < n; ++i)
    lower[i] = (char) tolower ((unsigned char) lower[i]);
  if (!is_kept (d, lower))
    return 0;
  p = vd_grow (d->keys, d->nr_keys, sizeof *p, ps->err);
  if (!p)
    return -1;
  d->keys = p;
  k = &d->keys[d->nr_keys];
  k->line = ps->line;
  k->value = strdup (value);
  if (!k->value)
    return vd_fail_nomem (ps->err);
  k->key = VD_TAKE (lower);
  d->nr_keys++;
  return 0;
}

/* Is this line an assignment?  Then *key_end is behind the key and *value at
 * the "=".
 */
static bool
is_assignment (const char *p, const char **key_end, const char **value)
{
  if (!isalpha ((unsigned char) *p))
    return false;
  while (isalnum ((unsigned char) *p) || *p == '.' || *p == '_' || *p == '-')
    ++p;
  *key_end = p;
  while (is_blank (*p))
    ++p;
  *value = p;
  return *p == '=';
}

static int
parse_assignment (struct parser *ps, char *key, const char *key_end, char *p)
{
  char *end;

  p = skip_blanks (p + 1);
  if (*p == '"') {
    end = strchr (++p, '"');
    if (!end)
      return vd_fail (ps->err, VD_CORRUPT,
                      "%s line %u: the value has no closing quote", ps->name,
                      ps->line);
    if (*skip_blanks (end + 1) != '\0')
      return vd_fail (ps->err, VD_CORRUPT,
                      "%s line %u: there is text behind the closing quote; a "
                      "value cannot hold a quote", ps->name, ps->line);
    *end = '\0';
  }
  else {
    end = p + strlen (p);
    while (end > p && is_blank (end[-1]))
      --end;
    *end = '\0';
  }
  return add_key (ps, key, (size_t) (key_end - key), p);
}

/* Decimal digits only, all of the text. */
static bool
parse_number (const char *text, uint64_t *n)
{
  const char *p;

  *n = 0;
  for (p = text; isdigit ((unsigned char) *p); ++p)
    if (!vd_mul (*n, 10, n) || !vd_add (*n, (uint64_t) (*p - '0'), n))
      return false;
  return p > text && *p == '\0';
}

static int
parse_type (const struct parser *ps, const char *word,
            enum vd_extent_type *type)
{
  static const struct {
    const char *word;
    enum vd_extent_type type;
  } types[] = {
    { "FLAT", VD_EXTENT_FLAT },
    { "VMFS", VD_EXTENT_FLAT },
    { "SPARSE", VD_EXTENT_SPARSE },
    { "VMFSSPARSE", VD_EXTENT_SPARSE },
    { "SESPARSE", VD_EXTENT_SPARSE },
    { "ZERO", VD_EXTENT_ZERO },
  };
  size_t i;

  for (i = 0; i < sizeof types / sizeof types[0]; ++i) {
    if (strcasecmp (word, types[i].word) == 0) {
      *type = types[i].type;
      return 0;
    }
  }
  if (strcasecmp (word, "VMFSRDM") == 0 || strcasecmp (word, "VMFSRAW") == 0 ||
      strcasecmp (word, "VSANSPARSE") == 0)
    return vd_fail (ps->err, VD_UNSUPPORTED,
                    "%s line %u: extent type %s is a raw device mapping or "
                    "vSAN object, and the file holds no data of the disk: "
                    "export the disk itself", ps->name, ps->line, word);
  return vd_fail (ps->err, VD_UNSUPPORTED,
                  "%s line %u: extent type '%s' is not supported; known are "
                  "FLAT, VMFS, SPARSE, VMFSSPARSE, SESPARSE and ZERO",
                  ps->name, ps->line, word);
}

static int
parse_extent (struct parser *ps, enum vd_access access, char *p)
{
  struct vd_descriptor *d = ps->d;
  struct vd_extent_line *e;
  char *word, *end;
  uint64_t n;

  if (d->nr_extents >= VD_MAX_EXTENTS)
    return vd_fail (ps->err, VD_UNSUPPORTED,
                    "%s line %u: more than %u extents", ps->name, ps->line,
                    VD_MAX_EXTENTS);
  e = vd_grow (d->extents, d->nr_extents, sizeof *e, ps->err);
  if (!e)
    return vd_fail_nomem (ps->err);
  d->extents = e;
  e = &d->extents[d->nr_extents++];
  memset (e, 0, sizeof *e);
  e->access = access;
  e->line = ps->line;

  word = next_word (&p);
  if (!parse_number (word, &n) || n == 0 || !vd_sectors (n, &e->length))
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: bad sector count '%s'; allowed is 1 to "
                    "2^54 - 1", ps->name, ps->line, word);
  if (!vd_add (d->capacity, e->length, &d->capacity) ||
      d->capacity > UINT64_C (1) << 62)
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: with this extent the disk is larger than "
                    "2^62 bytes", ps->name, ps->line);

  word = next_word (&p);
  if (parse_type (ps, word, &e->type) == -1)
    return -1;
  if (!(e->type_text = strdup (word)))
    return vd_fail_nomem (ps->err);

  if (*p == '\0') {
    if (e->type != VD_EXTENT_ZERO && e->access != VD_NOACCESS)
      return vd_fail (ps->err, VD_CORRUPT,
                      "%s line %u: the extent has no file name", ps->name,
                      ps->line);
    return 0;
  }
  if (*p != '"') {
    if (e->type == VD_EXTENT_ZERO)
      return 0;
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: the extent name must be in double quotes",
                    ps->name, ps->line);
  }
  end = strchr (++p, '"');
  if (!end || end == p)
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: the extent name %s", ps->name, ps->line,
                    end ? "is empty" : "has no closing quote");
  *end = '\0';
  if (!(e->name = strdup (p)))
    return vd_fail_nomem (ps->err);

  /* The offset counts sectors.  What may follow it (a partition's UUID, a
   * device identifier) does not matter.
   */
  p = skip_blanks (end + 1);
  if (*p == '\0')
    return 0;
  word = next_word (&p);
  if (!parse_number (word, &n) || !vd_sectors (n, &e->offset))
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: bad extent offset '%s'", ps->name, ps->line,
                    word);
  if (e->offset != 0 && e->type != VD_EXTENT_FLAT)
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: an extent of type %s cannot have an offset "
                    "(%" PRIu64 " sectors)", ps->name, ps->line, e->type_text,
                    n);
  return 0;
}

/* RW, RDONLY or NOACCESS as the first word?  Then *rest is behind it. */
static bool
is_extent (char *p, enum vd_access *access, char **rest)
{
  static const struct {
    const char *word;
    enum vd_access access;
  } words[] = {
    { "RW", VD_RW }, { "RDONLY", VD_RDONLY }, { "NOACCESS", VD_NOACCESS },
  };
  size_t i, len;

  for (i = 0; i < sizeof words / sizeof words[0]; ++i) {
    len = strlen (words[i].word);
    if (strncasecmp (p, words[i].word, len) == 0 &&
        (is_blank (p[len]) || p[len] == '\0')) {
      *access = words[i].access;
      *rest = skip_blanks (p + len);
      return true;
    }
  }
  return false;
}

static int
parse_line (struct parser *ps, char *p)
{
  const char *key_end, *value;
  enum vd_access access;
  char *rest;

  p = skip_blanks (p);
  if (*p == '\0' || *p == '#')
    return 0;
  if (is_assignment (p, &key_end, &value))
    return parse_assignment (ps, p, key_end, p + (value - p));
  if (is_extent (p, &access, &rest))
    return parse_extent (ps, access, rest);
  return vd_fail (ps->err, VD_CORRUPT,
                  "%s line %u is neither a comment, nor key=value, nor an "
                  "extent (RW, RDONLY, NOACCESS): '%.80s'", ps->name,
                  ps->line, p);
}

static int
parse_text (struct parser *ps, char *text, const struct vd_log *log)
{
  struct vd_descriptor *d = ps->d;
  char *p = text, *end;
  bool whole;
  size_t i;

  while (*p) {
    const size_t before = d->nr_extents;

    ps->line++;
    end = strchr (p, '\n');
    whole = end != NULL;
    if (whole)
      *end = '\0';
    else
      end = p + strlen (p) - 1;

    if (*p != '\0' && p[strlen (p) - 1] == '\r')
      p[strlen (p) - 1] = '\0';
    if (strchr (p, '\r'))
      return vd_fail (ps->err, VD_CORRUPT,
                      "%s line %u: a carriage return in the middle of the "
                      "line: the file was damaged by a text-mode transfer",
                      ps->name, ps->line);
    if (parse_line (ps, p) == -1)
      return -1;
    /* A number at its end may have been longer. */
    if (!whole && d->nr_extents > before)
      vd_warn (log, "%s line %u: the text ends with this extent, without a "
               "line end: it may be truncated", ps->name, ps->line);
    p = end + 1;
  }

  if (vd_descriptor_judge (d, ps->name, ps->err) == -1)
    return -1;

  if (d->nr_extents == 0)
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s: descriptor has no extent line, so it does not say "
                    "where the disk's data is", ps->name);
  for (i = 0; i < d->nr_extents; ++i)
    if (d->extents[i].access == VD_NOACCESS)
      vd_warn (log, "%s line %u: %" PRIu64 " bytes are marked NOACCESS and "
               "read as zeros", ps->name, d->extents[i].line,
               d->extents[i].length);
  return 0;
}

/* Names stay as they stand, for those who look for the files; this is what
 * people are shown.
 */
static int
show_names (struct vd_descriptor *d, struct vd_err *err)
{
  const char *hint = vd_descriptor_get (d, "parentfilenamehint");
  size_t i;

  d->encoding = vd_descriptor_get (d, "encoding");
  if (!d->encoding)
    d->encoding = vd_descriptor_get (d, "ddb.encoding");
  for (i = 0; i < d->nr_extents; ++i) {
    struct vd_extent_line *e = &d->extents[i];

    if (e->name && !(e->shown = vd_text_shown (e->name, d->encoding)))
      return vd_fail_nomem (err);
  }
  if (hint && !(d->hint = vd_text_shown (hint, d->encoding)))
    return vd_fail_nomem (err);
  return 0;
}

/* Only zeros are to follow: where a part of the text was lost, an extent that
 * was named behind it would be too.
 */
static void
warn_more (const char *text, size_t n, const char *name,
           const struct vd_log *log)
{
  const size_t end = strlen (text);
  size_t more = end;

  while (more < n && text[more] == '\0')
    ++more;
  if (more < n)
    vd_warn (log, "%s: the descriptor's text ends at byte %zu, but at byte "
             "%zu of it there is something more, which is not read: if a part "
             "was lost, the disk may be larger", name, end, more);
}

struct vd_descriptor *
vd_descriptor_parse (const char *text, size_t n, const char *name,
                     const struct vd_log *log, struct vd_err *err)
{
  VD_CLEANUP (free_descriptor) struct vd_descriptor *d
    = calloc (1, sizeof *d);
  CLEANUP_FREE char *copy = malloc (n + 1);
  struct parser ps = { .d = d, .name = name, .err = err };
  const unsigned char *p;

  if (!d || !copy) {
    vd_fail_nomem (err);
    return NULL;
  }
  memcpy (copy, text, n);       /* it ends at a NUL, if there is one in it */
  copy[n] = '\0';
  for (p = (unsigned char *) copy; *p; ++p) {
    if (*p < 0x20 && !isspace (*p)) {
      vd_fail (err, VD_NOT_FORMAT,
               "%s is not a VMDK descriptor: byte %zu is 0x%02x, which is "
               "not text", name, (size_t) (p - (unsigned char *) copy), *p);
      return NULL;
    }
  }
  warn_more (copy, n, name, log);
  d->version = 1;
  d->parent_cid = VD_NO_PARENT;

  if (parse_text (&ps, copy, log) == -1 || show_names (d, err) == -1)
    return NULL;
  return VD_TAKE (d);
}

const char *
vd_descriptor_get (const struct vd_descriptor *d, const char *key)
{
  size_t i;

  for (i = 0; i < d->nr_keys; ++i)
    if (strcmp (d->keys[i].key, key) == 0)
      return d->keys[i].value;
  return NULL;
}

void
vd_descriptor_free (struct vd_descriptor *d)
{
  size_t i;

  if (!d)
    return;
  for (i = 0; i < d->nr_extents; ++i) {
    free (d->extents[i].type_text);
    free (d->extents[i].name);
    free (d->extents[i].shown);
  }
  for (i = 0; i < d->nr_keys; ++i) {
    free (d->keys[i].key);
    free (d->keys[i].value);
  }
  free (d->extents);
  free (d->keys);
  free (d->hint);
  free (d);
}
