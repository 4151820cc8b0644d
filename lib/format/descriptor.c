/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Parsing the text descriptor; see descriptor.h.
 *
 *     descriptor = { blank | comment | assignment | extent }
 *     comment    = ( "#" | ";" | "//" ) text
 *     assignment = key [blanks] "=" [blanks] value [comment]
 *     extent     = access sectors type [ "name" [ offset ... ]] [comment]
 *
 * There is no escape character: a quoted value runs to the next quote.
 *
 * Descriptors are edited by people.  What an editor leaves is read, with a
 * warning where other programs may stumble over it; in the disk data base
 * ("ddb." keys), which describes and does not locate, also what makes no sense.
 * Where two ways to understand a line lead to other bytes, it is refused.
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
#include "format/descriptor-lines.h"
#include "format/descriptor.h"

/* What parsing carries along. */
struct parser {
  struct vd_descriptor *d;
  const char *name;             /* of the file */
  unsigned line;
  bool cut;                     /* the line ends with the text */
  bool told_comment, told_quote;
  const struct vd_log *log;
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
 * asks for are kept, twice, and a third time if it differs: that is refused.
 * So a text of the largest size costs little memory.
 */
#define MAX_KEYS 256u

static bool
is_kept (const struct vd_descriptor *d, const char *key, const char *value)
{
  const char *first = NULL;
  unsigned n = 0;
  size_t i;

  if (d->nr_keys < MAX_KEYS)
    return true;
  if (!vd_descriptor_knows (key))
    return false;
  for (i = 0; i < d->nr_keys; ++i) {
    if (strcmp (d->keys[i].key, key) != 0)
      continue;
    if (first && strcmp (first, d->keys[i].value) != 0)
      return false;             /* they differ already */
    first = d->keys[i].value;
    ++n;
  }
  return n < 2 || strcmp (first, value) != 0;
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
  if (!is_kept (d, lower, value))
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

static bool
is_comment (const char *p)
{
  return *p == '#' || *p == ';' || (p[0] == '/' && p[1] == '/');
}

/* How long is the quotation mark at p?  Word processors make others of '"':
 * U+201C to U+201E.  0: there is none.
 */
static size_t
quote_length (const char *p)
{
  if (*p == '"')
    return 1;
  return p[0] == '\xe2' && p[1] == '\x80' && p[2] >= '\x9c' && p[2] <= '\x9e'
    ? 3 : 0;
}

/* Of the text behind a quotation mark of so many bytes: find the next one, and
 * end the text there.  *rest is what follows it.  False: there is none.
 */
static bool
end_quoted (struct parser *ps, char *p, size_t quote, char **rest)
{
  size_t n = 0;

  while (*p && (n = quote == 1 ? *p == '"' : quote_length (p)) == 0)
    ++p;
  if (n == 0)
    return false;
  if (quote > 1 && !ps->told_quote) {
    ps->told_quote = true;
    vd_warn (ps->log, "%s line %u: the quotation marks are those of a word "
             "processor; other programs want plain ones", ps->name, ps->line);
  }
  *p = '\0';
  *rest = skip_blanks (p + n);
  return true;
}

/* A value is wrong, and it is one of the disk data base that matters to nobody
 * who reads: take what there is.
 */
static int
fault_in_value (const struct parser *ps, const char *key, const char *what)
{
  if (!vd_key_is_decoration (key))
    return vd_fail (ps->err, VD_CORRUPT, "%s line %u: %s", ps->name, ps->line,
                    what);
  vd_warn (ps->log, "%s line %u: %s%s; the line is not needed", ps->name,
           ps->line, what, ps->cut ? " (the text ends here: it is cut off)"
           : "");
  return 0;
}

static int
parse_assignment (struct parser *ps, char *key, const char *key_end, char *p)
{
  size_t quote;
  char *end, *rest;

  p = skip_blanks (p + 1);
  quote = quote_length (p);
  if (quote > 0) {
    p += quote;
    if (!end_quoted (ps, p, quote, &rest)) {
      if (fault_in_value (ps, key, "the value has no closing quote") == -1)
        return -1;
    }
    else if (*rest != '\0' && !is_comment (rest) &&
             fault_in_value (ps, key, "there is text behind the closing quote; "
                             "a value cannot hold a quote") == -1)
      return -1;
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
  if (*word == '\0')
    return vd_fail (ps->err, VD_CORRUPT, "%s line %u: the extent has no type, "
                    "and no file name", ps->name, ps->line);
  *type = VD_EXTENT_ELSEWHERE;
  if (strcasecmp (word, "VMFSRDM") == 0 || strcasecmp (word, "VMFSRAW") == 0 ||
      strcasecmp (word, "VSANSPARSE") == 0)
    return vd_descriptor_no_data (ps->d, ps->err,
                                  "%s line %u: extent type %s is a raw device "
                                  "mapping or vSAN object, and the file holds "
                                  "no data of the disk: export the disk itself",
                                  ps->name, ps->line, word);
  return vd_descriptor_no_data (ps->d, ps->err, "%s line %u: extent type '%s' "
                                "is not supported; known are FLAT, VMFS, "
                                "SPARSE, VMFSSPARSE, SESPARSE and ZERO",
                                ps->name, ps->line, word);
}

/* "name" [ offset ... ], from the first quotation mark on. */
static int
parse_name (struct parser *ps, struct vd_extent_line *e, char *p)
{
  const size_t quote = quote_length (p);
  char *word, *rest;
  uint64_t n;

  p += quote;
  if (!end_quoted (ps, p, quote, &rest) || *p == '\0')
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: the extent name %s", ps->name, ps->line,
                    *p == '\0' ? "is empty" : "has no closing quote");
  if (!(e->name = strdup (p)))
    return vd_fail_nomem (ps->err);

  /* The offset counts sectors.  What may follow it (a partition's UUID, a
   * device identifier) does not matter.
   */
  if (*rest == '\0' || e->type == VD_EXTENT_ELSEWHERE)
    return 0;
  /* A comment is one behind a blank: '"name"#18' was '"name" 18'. */
  if (is_comment (rest) && (rest[-1] == ' ' || rest[-1] == '\t'))
    return 0;
  word = next_word (&rest);
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

static int
parse_extent (struct parser *ps, enum vd_access access, char *p)
{
  struct vd_descriptor *d = ps->d;
  struct vd_extent_line *e;
  uint64_t n;
  char *word;

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

  if (quote_length (p) > 0)
    return parse_name (ps, e, p);
  if (e->type == VD_EXTENT_ZERO || e->type == VD_EXTENT_ELSEWHERE)
    return 0;
  if (*p != '\0')
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: the extent name must be in double quotes",
                    ps->name, ps->line);
  if (e->access != VD_NOACCESS)
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s line %u: the extent has no file name", ps->name,
                    ps->line);
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

/* A line that cannot be understood: is it a part of the disk data base, or
 * the beginning of one that is cut off with the text?
 */
static bool
is_decoration_line (const struct parser *ps, const char *p)
{
  static const char parent[] = "ddb.uuid.parent";
  const size_t n = strlen (p);

  if (strncasecmp (p, "ddb.", ps->cut ? vd_min (n, 4) : 4) != 0)
    return false;
  if (!ps->cut || n >= sizeof parent - 1)
    return vd_key_is_decoration (p);
  /* Might it have named the parent?  VirtualBox writes that after the disk's
   * own UUID, and does so in every disk.
   */
  if (strncasecmp (p, parent, n) != 0)
    return vd_key_is_decoration (p);
  return n < strlen ("ddb.uuid.p") &&
    (!vd_descriptor_get (ps->d, "ddb.uuid.image") ||
     vd_descriptor_get (ps->d, parent));
}

/* The first byte that is no text, or NULL. */
static const unsigned char *
find_odd_byte (const char *line)
{
  const unsigned char *p;

  for (p = (const unsigned char *) line; *p; ++p)
    if (*p < 0x20 && !isspace (*p))
      return p;
  return NULL;
}

static int
parse_line (struct parser *ps, char *p)
{
  const unsigned char *odd = find_odd_byte (p);
  const char *key_end, *value;
  enum vd_access access;
  char *rest;

  p = skip_blanks (p);
  if (*p == '\0' || *p == '#')
    return 0;
  if (is_comment (p)) {
    if (!ps->told_comment)
      vd_warn (ps->log, "%s line %u is taken for a comment; other programs "
               "know only those that begin with #", ps->name, ps->line);
    ps->told_comment = true;
    return 0;
  }
  if (odd) {
    if (!vd_key_is_decoration (p))
      return vd_fail (ps->err, VD_NOT_FORMAT,
                      "%s is not a VMDK descriptor, or damaged: in line %u "
                      "there is a byte 0x%02x, which is not text", ps->name,
                      ps->line, *odd);
    vd_warn (ps->log, "%s line %u: there is a byte 0x%02x in it, which is not "
             "text; the line is not needed", ps->name, ps->line, *odd);
  }
  if (is_assignment (p, &key_end, &value))
    return parse_assignment (ps, p, key_end, p + (value - p));
  if (is_extent (p, &access, &rest))
    return parse_extent (ps, access, rest);
  if (is_decoration_line (ps, p)) {
    vd_warn (ps->log, "%s line %u is not understood%s: '%.80s'; it is not "
             "needed", ps->name, ps->line, ps->cut ? " (the text ends here: "
             "it is cut off)" : "", p);
    return 0;
  }
  return vd_fail (ps->err, VD_CORRUPT,
                  "%s line %u is neither a comment, nor key=value, nor an "
                  "extent (RW, RDONLY, NOACCESS)%s: '%.80s'", ps->name,
                  ps->line, ps->cut ? ", and the text ends here: it is cut "
                  "off" : "", p);
}

static int
parse_text (struct parser *ps, char *text, size_t n)
{
  const struct vd_descriptor *d = ps->d;
  char *const stop = text + n;
  char *p = text + vd_text_bom (text, n), *end, *next;

  if (p > text)
    vd_warn (ps->log, "%s begins with a byte order mark, as Windows editors "
             "write it; other programs may not read it", ps->name);
  for (; p < stop; p = next) {
    const size_t before = d->nr_extents;

    ps->line++;
    end = p + (vd_line_end (p, stop) - p);
    next = p + (vd_line_next (end, stop) - p);
    ps->cut = end == stop;
    *end = '\0';
    if (parse_line (ps, p) == -1)
      return -1;
    /* A number at its end may have been longer. */
    if (ps->cut && d->nr_extents > before)
      vd_warn (ps->log, "%s line %u: the text ends with this extent, without "
               "a line end: it may be truncated", ps->name, ps->line);
  }
  return 0;
}

/* What all lines together say. */
static int
judge (struct parser *ps)
{
  struct vd_descriptor *d = ps->d;
  size_t i;

  if (vd_descriptor_judge (d, ps->name, ps->log, ps->err) == -1)
    return -1;
  if (d->nr_extents == 0)
    return vd_fail (ps->err, VD_CORRUPT,
                    "%s: descriptor has no extent line, so it does not say "
                    "where the disk's data is", ps->name);
  for (i = 0; i < d->nr_extents; ++i)
    if (d->extents[i].access == VD_NOACCESS)
      vd_warn (ps->log, "%s line %u: %" PRIu64 " bytes are marked NOACCESS "
               "and read as zeros", ps->name, d->extents[i].line,
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

/* QEMU puts a new CID into the text, and leaves what the old text had behind: if
 * the CID has two digits or more less than it had, the end of the text stands
 * there twice.
 */
static bool
is_old_end (const char *text, size_t n, size_t end, size_t more)
{
  const size_t left = strnlen (text + more, n - more);

  return more == end + 1 && left <= 6 && left <= end &&
    memcmp (text + end - left, text + more, left) == 0 &&
    vd_is_zero (text + more + left, n - more - left);
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
  if (more < n && !is_old_end (text, n, end, more))
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
  struct parser ps = { .d = d, .name = name, .log = log, .err = err };

  if (!d || !copy) {
    vd_fail_nomem (err);
    return NULL;
  }
  memcpy (copy, text, n);       /* it ends at a NUL, if there is one in it */
  copy[n] = '\0';
  warn_more (copy, n, name, log);
  d->version = 1;
  d->parent_cid = VD_NO_PARENT;

  n = vd_text_length (copy, n);
  copy[n] = '\0';
  if (parse_text (&ps, copy, n) == -1 || judge (&ps) == -1 ||
      show_names (d, err) == -1)
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
  free (d->no_data);
  free (d);
}
