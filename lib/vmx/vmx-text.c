/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Lines of .vmx and .vmsd; see vmx-text.h. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/charset.h"
#include "vmx/vmx-text.h"

#define MAX_KEY 256u

struct vmx_lines {
  struct vd_vmx_text *t;
  const char *path;
  unsigned line;
};

static int
bad_line (const struct vmx_lines *l, const char *why, struct vd_err *err)
{
  return vd_fail (err, VD_CORRUPT, "%s line %u %s", l->path, l->line, why);
}

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t' || c == '\r';
}

static const char *
skip_blanks (const char *p, const char *end)
{
  while (p < end && is_blank (*p))
    ++p;
  return p;
}

static int
hex_digit (char c)
{
  return c >= '0' && c <= '9' ? c - '0'
    : c >= 'a' && c <= 'f' ? c - 'a' + 10
    : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The value between p and end, without its escapes. */
static char *
unescape (const struct vmx_lines *l, const char *p, const char *end,
          struct vd_err *err)
{
  char *value = malloc ((size_t) (end - p) + 1), *v = value;

  if (!value) {
    vd_fail_nomem (err);
    return NULL;
  }
  while (p < end)
    if (*p == '|' && end - p > 2 && hex_digit (p[1]) >= 0 &&
        hex_digit (p[2]) >= 0) {
      *v = (char) (hex_digit (p[1]) * 16 + hex_digit (p[2]));
      if (!*v++) {
        free (value);
        bad_line (l, "has |00 in its value, with which no text goes on", err);
        return NULL;
      }
      p += 3;
    }
    else
      *v++ = *p++;
  *v = '\0';
  return value;
}

/* KEY = "VALUE": where the value is. */
static int
find_value (const struct vmx_lines *l, const char *p, const char *end,
            const char **from, const char **to, struct vd_err *err)
{
  p = skip_blanks (p, end);
  if (p == end || *p != '=')
    return bad_line (l, "is not KEY = \"VALUE\"", err);
  p = skip_blanks (p + 1, end);
  if (p < end && *p == '"') {
    *from = ++p;
    *to = memchr (p, '"', (size_t) (end - p));
    if (!*to)
      return bad_line (l, "has a value whose quotes do not end", err);
    p = *to + 1;
  }
  else {
    *from = p;
    while (p < end && !is_blank (*p) && *p != '#')
      ++p;
    *to = p;
  }
  p = skip_blanks (p, end);
  if (p < end && *p != '#')
    return bad_line (l, "goes on behind its value", err);
  return 0;
}

static int
parse_line (const struct vmx_lines *l, const char *p, const char *end,
            struct vd_err *err)
{
  struct vd_vmx_entry *e;
  const char *key, *from = p, *to = p;
  size_t n, i;

  key = p = skip_blanks (p, end);
  if (p == end || *p == '#')
    return 0;
  while (p < end && !is_blank (*p) && *p != '=')
    ++p;
  n = (size_t) (p - key);
  if (n == 0 || n > MAX_KEY)
    return bad_line (l, "is not KEY = \"VALUE\"", err);
  if (find_value (l, p, end, &from, &to, err) == -1)
    return -1;
  if (l->t->n == VD_VMX_MAX_ENTRIES)
    return vd_fail (err, VD_UNSUPPORTED, "%s has more than %u lines that say "
                    "something", l->path, VD_VMX_MAX_ENTRIES);
  e = vd_grow (l->t->entry, l->t->n, sizeof *e, err);
  if (!e)
    return -1;
  l->t->entry = e;
  e += l->t->n;
  *e = (struct vd_vmx_entry) { .key = malloc (n + 1), .line = l->line };
  if (!e->key)
    return vd_fail_nomem (err);
  l->t->n++;                    /* from here on, freed with the rest */
  for (i = 0; i < n; ++i)
    e->key[i] = (char) (key[i] >= 'A' && key[i] <= 'Z' ? key[i] - 'A' + 'a'
                        : key[i]);
  e->key[n] = '\0';
  e->value = unescape (l, from, to, err);
  return e->value ? 0 : -1;
}

static int
by_key (const void *a, const void *b)
{
  const struct vd_vmx_entry *x = a, *y = b;
  const int r = strcmp (x->key, y->key);

  return r != 0 ? r : x->line < y->line ? -1 : x->line > y->line;
}

/* Each key once. */
static int
sort_keys (struct vd_vmx_text *t, const char *path, struct vd_err *err)
{
  size_t i, n = 0;

  if (t->n > 0)
    qsort (t->entry, t->n, sizeof *t->entry, by_key);
  for (i = 0; i < t->n; ++i) {
    struct vd_vmx_entry *e = &t->entry[i];

    if (i == 0 || strcmp (t->entry[n - 1].key, e->key) != 0) {
      const struct vd_vmx_entry moved = *e;

      *e = (struct vd_vmx_entry) { .key = NULL };
      t->entry[n++] = moved;
      continue;
    }
    if (strcmp (t->entry[n - 1].value, e->value) != 0)
      return vd_fail (err, VD_CORRUPT, "%s gives %.60s the value '%.200s' in "
                      "line %u and '%.200s' in line %u: remove the one that "
                      "is wrong", path, e->key, t->entry[n - 1].value,
                      t->entry[n - 1].line, e->value, e->line);
    free (e->key);
    free (e->value);
    *e = (struct vd_vmx_entry) { .key = NULL };
  }
  t->n = n;
  return 0;
}

int
vd_vmx_text_parse (struct vd_vmx_text *t, const char *path, const char *text,
                   size_t len, struct vd_err *err)
{
  struct vmx_lines l = { .t = t, .path = path };
  const char *p = text, *end, *eol;

  *t = (struct vd_vmx_text) { .n = 0 };
  if (len > VD_VMX_MAX_SIZE)
    return vd_fail (err, VD_UNSUPPORTED, "%s has %zu bytes; a file of a "
                    "VMware machine has at most %zu", path, len,
                    VD_VMX_MAX_SIZE);
  while (len > 0 && text[len - 1] == '\0') /* padding */
    --len;
  if (len > 0 && memchr (text, '\0', len))
    return vd_fail (err, VD_NOT_FORMAT, "%s holds zero bytes: it is no text, "
                    "or not the file of a VMware machine", path);
  if (len >= 3 && memcmp (text, "\xef\xbb\xbf", 3) == 0)
    p += 3;
  for (end = text + len; p < end; p = eol + (eol < end)) {
    ++l.line;
    eol = memchr (p, '\n', (size_t) (end - p));
    if (!eol)
      eol = end;
    if (parse_line (&l, p, eol, err) == -1)
      return -1;
  }
  if (sort_keys (t, path, err) == -1)
    return -1;
  t->encoding = vd_vmx_get (t, ".encoding");
  return 0;
}

void
vd_vmx_text_free (struct vd_vmx_text *t)
{
  size_t i;

  for (i = 0; i < t->n; ++i) {
    free (t->entry[i].key);
    free (t->entry[i].value);
  }
  free (t->entry);
  *t = (struct vd_vmx_text) { .n = 0 };
}

const char *
vd_vmx_get (const struct vd_vmx_text *t, const char *fs, ...)
{
  size_t low = 0, high = t->n;
  char key[MAX_KEY];
  va_list args;

  va_start (args, fs);
  vsnprintf (key, sizeof key, fs, args);
  va_end (args);
  while (low < high) {
    const size_t mid = low + (high - low) / 2;
    const int r = strcmp (t->entry[mid].key, key);

    if (r == 0)
      return t->entry[mid].value;
    if (r < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return NULL;
}

char *
vd_vmx_shown (const struct vd_vmx_text *t, const char *value)
{
  return value ? vd_text_shown (value, t->encoding) : strdup ("");
}

long
vd_vmx_number (const char *s, const char **end)
{
  long n = 0;
  int i;

  for (i = 0; s[i] >= '0' && s[i] <= '9'; ++i) {
    if (i == 9)
      return -1;
    n = n * 10 + (s[i] - '0');
  }
  *end = s + i;
  return i == 0 || (i > 1 && s[0] == '0') ? -1 : n;
}
