/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Cutting and inserting in XML text; see vbox-splice.h. */

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "vbox/vbox-splice.h"

void
vd_splice_init (struct vd_splice *s, const char *text, size_t len,
                const struct vd_xml *xml)
{
  *s = (struct vd_splice) {
    .text = text, .len = len, .xml = xml, .cut = calloc (len + 1, 1),
  };
  s->failed = !s->cut;
}

void
vd_splice_free (struct vd_splice *s)
{
  size_t i;

  for (i = 0; i < s->nr_inserts; ++i)
    free (s->inserts[i].text);
  free (s->inserts);
  free (s->cut);
  *s = (struct vd_splice) { .text = NULL };
}

void
vd_splice_cut (struct vd_splice *s, size_t start, size_t end)
{
  if (!s->failed)
    memset (s->cut + start, 1, end - start);
}

void
vd_splice_insert (struct vd_splice *s, size_t pos, char *text)
{
  struct vd_splice_insert *p
    = realloc (s->inserts, (s->nr_inserts + 1) * sizeof *p);

  if (p)
    s->inserts = p;
  if (!p || !text) {
    s->failed = true;
    free (text);
    return;
  }
  p[s->nr_inserts] = (struct vd_splice_insert) {
    .pos = pos, .order = s->nr_inserts, .text = text,
  };
  s->nr_inserts++;
}

static size_t
before_space (const struct vd_splice *s, size_t pos)
{
  while (pos > 0 && strchr (" \t\r\n", s->text[pos - 1]))
    --pos;
  return pos;
}

size_t
vd_splice_start (const struct vd_splice *s, size_t element)
{
  return before_space (s, s->xml->element[element].start);
}

void
vd_splice_cut_around (struct vd_splice *s, size_t element,
                      const size_t *keep, size_t nr_keep)
{
  size_t pos = vd_splice_start (s, element), i;

  for (i = 0; i < nr_keep; ++i) {
    vd_splice_cut (s, pos, vd_splice_start (s, keep[i]));
    pos = s->xml->element[keep[i]].end;
  }
  vd_splice_cut (s, pos, s->xml->element[element].end);
}

void
vd_splice_set (struct vd_splice *s, size_t element, const char *name,
               const char *value)
{
  const struct vd_xml_element *e = &s->xml->element[element];
  const struct vd_xml_attr *a = vd_xml_attr (s->xml, element, name);
  CLEANUP_FREE char *escaped = value ? vd_splice_escape (value) : NULL;
  char *text;

  if (a && !value) {
    vd_splice_cut (s, before_space (s, a->start), a->end);
    return;
  }
  if (!value)
    return;
  if (!escaped) {
    s->failed = true;
    return;
  }
  if (a) {
    vd_splice_cut (s, a->value_start, a->value_end);
    vd_splice_insert (s, a->value_start, VD_TAKE (escaped));
    return;
  }
  if (asprintf (&text, " %s=\"%s\"", name, escaped) == -1)
    text = NULL;
  vd_splice_insert (s, e->nr_attrs > 0
                    ? s->xml->attr[e->attrs + e->nr_attrs - 1].end
                    : e->start + 1 + strlen (e->name), text);
}

char *
vd_splice_indent (const struct vd_splice *s, size_t element)
{
  const size_t end = s->xml->element[element].start;
  size_t pos = end;

  while (pos > 0 && (s->text[pos - 1] == ' ' || s->text[pos - 1] == '\t'))
    --pos;
  if (pos > 0 && s->text[pos - 1] != '\n')
    pos = end;                  /* not the first in its line */
  return strndup (s->text + pos, end - pos);
}

void
vd_splice_append (struct vd_splice *s, size_t element, char *child,
                  bool *opened)
{
  const struct vd_xml_element *e = &s->xml->element[element];
  CLEANUP_FREE char *indent = vd_splice_indent (s, element);
  char *text;
  const bool made = indent && child &&
    asprintf (&text, "\n%s  %s", indent, child) != -1;

  free (child);
  if (!made) {
    s->failed = true;
    return;
  }
  if (e->tag_end < e->end) {
    vd_splice_insert (s, before_space (s, e->content_end), text);
    return;
  }
  if (!*opened)
    vd_splice_cut (s, e->end - 2, e->end - 1);  /* the slash of "/>" */
  *opened = true;
  vd_splice_insert (s, e->end, text);
}

void
vd_splice_close_empty (struct vd_splice *s, size_t element, bool opened)
{
  const struct vd_xml_element *e = &s->xml->element[element];
  CLEANUP_FREE char *indent = vd_splice_indent (s, element);
  char *text;

  if (!opened)
    return;
  if (!indent || asprintf (&text, "\n%s</%s>", indent, e->name) == -1)
    text = NULL;
  vd_splice_insert (s, e->end, text);
}

char *
vd_splice_escape (const char *text)
{
  static const struct { char c; const char *as; } special[] = {
    { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '"', "&quot;" },
  };
  char *out = malloc (6 * strlen (text) + 1), *o = out;
  size_t i;

  for (; out && *text; ++text) {
    for (i = 0; i < sizeof special / sizeof special[0]; ++i)
      if (*text == special[i].c)
        break;
    if (i < sizeof special / sizeof special[0])
      o = stpcpy (o, special[i].as);
    else
      *o++ = *text;
  }
  if (out)
    *o = '\0';
  return out;
}

static int
compare_inserts (const void *a, const void *b)
{
  const struct vd_splice_insert *x = a, *y = b;

  if (x->pos != y->pos)
    return x->pos < y->pos ? -1 : 1;
  return x->order < y->order ? -1 : x->order > y->order;
}

int
vd_splice_finish (struct vd_splice *s, char **text, size_t *len,
                  struct vd_err *err)
{
  size_t i, k = 0, room = s->len + 1;
  char *o;

  if (s->failed)
    return vd_fail_nomem (err);
  if (s->nr_inserts > 0)
    qsort (s->inserts, s->nr_inserts, sizeof s->inserts[0], compare_inserts);
  for (i = 0; i < s->nr_inserts; ++i)
    room += strlen (s->inserts[i].text);
  *text = o = malloc (room);
  if (!o)
    return vd_fail_nomem (err);
  for (i = 0; i <= s->len; ++i) {
    for (; k < s->nr_inserts && s->inserts[k].pos == i; ++k)
      o = stpcpy (o, s->inserts[k].text);
    if (i < s->len && !s->cut[i])
      *o++ = s->text[i];
  }
  *o = '\0';
  *len = (size_t) (o - *text);
  return 0;
}
