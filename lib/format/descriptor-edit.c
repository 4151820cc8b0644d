/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Changing a descriptor; see descriptor-edit.h. */

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/charset.h"
#include "base/cleanup.h"
#include "format/descriptor-edit.h"
#include "format/descriptor-lines.h"

#define MAX_CHANGES 16u

struct editor {
  const struct vd_descriptor_change *changes;
  size_t nr;
  char *value[MAX_CHANGES];     /* in the encoding of the text; NULL: as it is
                                   given */
  bool there[MAX_CHANGES];      /* a line has it, or it was added */
  FILE *fp;
  const char *line_end;
  uint64_t sectors;
  const char *last_extent;      /* where that line begins */
};

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t';
}

/* Is the line an assignment?  Then *key is of *key_len bytes, and the value,
 * with its quotes if any, of *n.
 */
static bool
split_line (const char *line, const char *end, const char **key,
            size_t *key_len, const char **value, size_t *n)
{
  const char *p = line, *key_end;

  while (p < end && is_blank (*p))
    ++p;
  *key = p;
  while (p < end && (isalnum ((unsigned char) *p) || *p == '.' || *p == '_' ||
                     *p == '-'))
    ++p;
  key_end = p;
  while (p < end && is_blank (*p))
    ++p;
  if (p == end || *p != '=' || *key == key_end)
    return false;
  *key_len = (size_t) (key_end - *key);
  ++p;
  while (p < end && is_blank (*p))
    ++p;
  *value = p;
  while (end > p && (is_blank (end[-1]) || end[-1] == '\r' ||
                     end[-1] == '\n'))
    --end;
  *n = (size_t) (end - p);
  return true;
}

static bool
is_key (const char *name, const char *key, size_t len)
{
  return strlen (name) == len && strncasecmp (name, key, len) == 0;
}

/* The change that concerns a line, or NULL; the value as above. */
static const struct vd_descriptor_change *
find_change (const struct editor *e, const char *line, const char *end,
             const char **value, size_t *n)
{
  const char *key;
  size_t i, len;

  if (!split_line (line, end, &key, &len, value, n))
    return NULL;
  for (i = 0; i < e->nr; ++i)
    if (is_key (e->changes[i].key, key, len))
      return &e->changes[i];
  return NULL;
}

/* What the text says of its encoding, to be freed; NULL: nothing.  The text
 * does not end with a NUL.
 */
static int
find_encoding (const char *text, const char *stop, char **encoding,
               struct vd_err *err)
{
  const char *line, *end, *key, *value;
  size_t len, n;

  *encoding = NULL;
  for (line = text; line < stop; line = end) {
    end = vd_line_next (vd_line_end (line, stop), stop);
    if (!split_line (line, end, &key, &len, &value, &n) ||
        !(is_key ("encoding", key, len) || is_key ("ddb.encoding", key, len)))
      continue;
    if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
      value++;
      n -= 2;
    }
    *encoding = malloc (n + 1);
    if (!*encoding)
      return vd_fail_nomem (err);
    memcpy (*encoding, value, n);
    (*encoding)[n] = '\0';
    return 0;
  }
  return 0;
}

/* Names are given as the file system has them, UTF-8.  A name whose bytes are
 * not UTF-8 stays: it was found in the bytes of the text.
 */
static int
encode_values (struct editor *e, const char *text, const char *stop,
               struct vd_err *err)
{
  CLEANUP_FREE char *encoding = NULL;
  size_t i;

  if (find_encoding (text, stop, &encoding, err) == -1)
    return -1;
  for (i = 0; encoding && i < e->nr; ++i) {
    const char *value = e->changes[i].value;

    if (!value || !vd_must_convert (value, encoding))
      continue;
    e->value[i] = vd_from_utf8 (value, encoding);
    if (!e->value[i])
      return vd_fail (err, VD_USAGE, "'%s' cannot be written in %.40s, the "
                      "encoding of this VMDK descriptor%s: give the file a "
                      "name that can", value, encoding,
                      vd_charset_missing (value, encoding)
                      ? ", which this system cannot convert to" : "");
  }
  return 0;
}

static const char *
new_value (const struct editor *e, const struct vd_descriptor_change *c)
{
  const char *encoded = e->value[c - e->changes];

  return encoded ? encoded : c->value;
}

static bool
is_extent (const char *line, const char *end)
{
  static const char *const words[] = { "RW", "RDONLY", "NOACCESS" };
  size_t i, n;

  while (line < end && is_blank (*line))
    ++line;
  for (i = 0; i < sizeof words / sizeof words[0]; ++i) {
    n = strlen (words[i]);
    if ((size_t) (end - line) > n && is_blank (line[n]) &&
        strncasecmp (line, words[i], n) == 0)
      return true;
  }
  return false;
}

/* "RW 100 SPARSE ..." with another number. */
static void
put_extent (const struct editor *e, const char *line, const char *end)
{
  const char *p = line, *q;

  while (is_blank (*p))
    ++p;
  while (!is_blank (*p))
    ++p;
  while (is_blank (*p))
    ++p;
  for (q = p; q < end && isdigit ((unsigned char) *q); ++q)
    ;
  fprintf (e->fp, "%.*s%" PRIu64 "%.*s", (int) (p - line), line, e->sectors,
           (int) (end - q), q);
}

static void
put_line (struct editor *e, const char *line, const char *end)
{
  const struct vd_descriptor_change *c;
  const char *value = NULL;
  size_t n = 0;
  bool quoted;

  if (e->sectors != 0 && line == e->last_extent) {
    put_extent (e, line, end);
    return;
  }
  c = find_change (e, line, end, &value, &n);
  if (!c) {
    fwrite (line, 1, (size_t) (end - line), e->fp);
    return;
  }
  if (!c->value)
    return;
  quoted = n > 0 && *value == '"';
  fprintf (e->fp, "%.*s%s%s%s", (int) (value - line), line, quoted ? "\"" : "",
           new_value (e, c), quoted ? "\"" : "");
  fwrite (value + n, 1, (size_t) (end - (value + n)), e->fp);
}

/* New keys of the disk data base go to the end, others before the extents. */
static void
put_new (struct editor *e, bool ddb)
{
  size_t i;

  for (i = 0; i < e->nr; ++i) {
    const struct vd_descriptor_change *c = &e->changes[i];
    const bool is_ddb = strncasecmp (c->key, "ddb.", 4) == 0;

    if (e->there[i] || !c->value || c->only_if_there || is_ddb != ddb)
      continue;
    e->there[i] = true;
    if (is_ddb || strcasecmp (c->key, "parentfilenamehint") == 0)
      fprintf (e->fp, "%s=\"%s\"%s", c->key, new_value (e, c), e->line_end);
    else
      fprintf (e->fp, "%s=%s%s", c->key, new_value (e, c), e->line_end);
  }
}

static int
check_values (const struct vd_descriptor_change *changes, size_t nr,
              struct vd_err *err)
{
  size_t i;
  const char *p;

  for (i = 0; i < nr; ++i)
    for (p = changes[i].value; p && *p; ++p)
      if (*p == '"' || (unsigned char) *p < 0x20)
        return vd_fail (err, VD_USAGE, "'%s' holds a %s, which a VMDK "
                        "descriptor cannot express", changes[i].value,
                        *p == '"' ? "quotation mark" : "control character");
  return 0;
}

static void
free_values (struct editor *e)
{
  size_t i;

  for (i = 0; i < MAX_CHANGES; ++i)
    free (e->value[i]);
}

char *
vd_descriptor_edit (const char *text, size_t n,
                    const struct vd_descriptor_change *changes, size_t nr,
                    uint64_t sectors, struct vd_err *err)
{
  VD_CLEANUP (free_values) struct editor e = {
    .changes = changes, .nr = nr, .line_end = "\n", .sectors = sectors,
  };
  char *result = NULL;
  size_t len = vd_text_length (text, n);
  const size_t bom = vd_text_bom (text, len);
  const char *const begin = text + bom, *const stop = text + len;
  const char *line, *end, *value, *first_extent = NULL;
  const struct vd_descriptor_change *change;
  size_t k;

  if (nr > MAX_CHANGES) {
    vd_fail (err, VD_USAGE, "more than %u changes", MAX_CHANGES);
    return NULL;
  }
  if (check_values (changes, nr, err) == -1 ||
      encode_values (&e, begin, stop, err) == -1)
    return NULL;
  if (memmem (text, len, "\r\n", 2))
    e.line_end = "\r\n";
  else if (!memchr (text, '\n', len) && memchr (text, '\r', len))
    e.line_end = "\r";
  for (line = begin; line < stop; line = end) {
    end = vd_line_next (vd_line_end (line, stop), stop);
    change = find_change (&e, line, end, &value, &k);
    if (change)
      e.there[change - changes] = true;
    if (is_extent (line, end)) {
      e.last_extent = line;
      if (!first_extent)
        first_extent = line;
    }
  }
  e.fp = open_memstream (&result, &len);
  if (!e.fp) {
    vd_fail_nomem (err);
    return NULL;
  }
  fwrite (text, 1, bom, e.fp);
  for (line = begin; line < stop; line = end) {
    end = vd_line_next (vd_line_end (line, stop), stop);
    /* Keys of the header stand before the extents. */
    if (line == first_extent)
      put_new (&e, false);
    put_line (&e, line, end);
  }
  if (stop > begin && stop[-1] != '\n' && stop[-1] != '\r')
    fputs (e.line_end, e.fp);
  put_new (&e, true);
  if (ferror (e.fp) | fclose (e.fp)) {
    free (result);
    vd_fail_nomem (err);
    return NULL;
  }
  return result;
}
