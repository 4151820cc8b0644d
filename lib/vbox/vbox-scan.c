/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Where the elements of an XML text stand; see vbox-xml.h.
 *
 * This runs before libxml2 sees the text.  It need not find every mistake:
 * libxml2 does that.  It must
 *
 *   - let nothing through that declares entities or leads elsewhere;
 *   - count, so that neither it nor libxml2 allocates without bound;
 *   - be right about places in every text that libxml2 accepts.  If it were
 *     not, the comparison in vbox-xml.c would refuse the text.
 */

#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "vbox/vbox-xml.h"

struct scan {
  const char *path, *text;
  size_t len, pos;
  struct vd_xml *xml;
  size_t open;                  /* the innermost open element, or none */
  size_t items;
  struct vd_err *err;
};

unsigned
vd_xml_line (const char *text, size_t offset)
{
  unsigned line = 1;
  size_t i;

  for (i = 0; i < offset; ++i)
    line += text[i] == '\n';
  return line;
}

static int
bad (const struct scan *s, enum vd_code code, const char *what)
{
  return vd_fail (s->err, code, "%s line %u: %s", s->path,
                  vd_xml_line (s->text, s->pos), what);
}

static bool
is_space (char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
at (const struct scan *s, const char *what)
{
  const size_t n = strlen (what);

  return s->len - s->pos >= n && memcmp (&s->text[s->pos], what, n) == 0;
}

/* Go behind the next `end`. */
static int
skip_past (struct scan *s, const char *end)
{
  const size_t n = strlen (end);
  const char *p = memmem (&s->text[s->pos], s->len - s->pos, end, n);

  if (!p)
    return bad (s, VD_NOT_FORMAT, "not XML: the file ends inside of a comment "
                "or the like");
  s->pos = (size_t) (p - s->text) + n;
  return 0;
}

static void
skip_space (struct scan *s)
{
  while (s->pos < s->len && is_space (s->text[s->pos]))
    ++s->pos;
}

static size_t
name_length (const struct scan *s)
{
  size_t n = 0;

  while (s->pos + n < s->len && !is_space (s->text[s->pos + n]) &&
         !strchr ("<>=/\"'&", s->text[s->pos + n]))
    ++n;
  return n;
}

/* A name at pos, which is passed. */
static char *
take_name (struct scan *s)
{
  const size_t n = name_length (s);
  char *name;

  if (n == 0) {
    bad (s, VD_NOT_FORMAT, "not XML: a name is missing");
    return NULL;
  }
  name = malloc (n + 1);
  if (!name)
    vd_fail_nomem (s->err);
  else {
    memcpy (name, &s->text[s->pos], n);
    name[n] = '\0';
  }
  s->pos += n;
  return name;
}

/* name="value" */
static int
scan_attr (struct scan *s, struct vd_xml_element *e)
{
  struct vd_xml_attr a = { .start = s->pos };
  struct vd_xml_attr *all;
  const char *end;

  if (s->xml->nr_attrs >= VD_XML_MAX_ATTRS ||
      e->nr_attrs >= VD_XML_MAX_ATTRS_OF_ONE)
    return bad (s, VD_UNSUPPORTED, "there are too many attributes");
  all = vd_grow (s->xml->attr, s->xml->nr_attrs, sizeof a, s->err);
  if (!all)
    return -1;
  s->xml->attr = all;
  a.name = take_name (s);
  if (!a.name)
    return -1;
  /* From here on the list owns the name. */
  all[s->xml->nr_attrs++] = a;
  e->nr_attrs++;

  skip_space (s);
  if (!at (s, "="))
    return bad (s, VD_NOT_FORMAT, "not XML: an attribute without a value");
  ++s->pos;
  skip_space (s);
  if (!at (s, "\"") && !at (s, "'"))
    return bad (s, VD_NOT_FORMAT, "not XML: a value without quotes");
  a.value_start = s->pos + 1;
  end = memchr (&s->text[a.value_start], s->text[s->pos],
                s->len - a.value_start);
  if (!end)
    return bad (s, VD_NOT_FORMAT, "not XML: a quote is not closed");
  a.value_end = (size_t) (end - s->text);
  a.end = s->pos = a.value_end + 1;
  all[s->xml->nr_attrs - 1] = a;
  return 0;
}

/* <name ...> or <name .../>, at its < */
static int
scan_start_tag (struct scan *s)
{
  struct vd_xml *xml = s->xml;
  struct vd_xml_element *all, *e, *parent
    = s->open == VD_XML_NONE ? NULL : &xml->element[s->open];
  const unsigned depth = parent ? parent->depth + 1 : 0;
  bool space, empty;

  if (depth >= VD_XML_MAX_DEPTH)
    return bad (s, VD_UNSUPPORTED, "elements are nested too deeply");
  if (!parent && xml->n > 0)
    return bad (s, VD_NOT_FORMAT, "not XML: a second outermost element");
  all = vd_grow (xml->element, xml->n, sizeof *e, s->err);
  if (!all)
    return -1;
  xml->element = all;
  e = &all[xml->n];
  *e = (struct vd_xml_element) {
    .parent = s->open, .depth = depth, .start = s->pos,
    .attrs = xml->nr_attrs,
  };
  ++s->pos;
  e->name = take_name (s);
  if (!e->name)
    return -1;
  xml->n++;

  for (;;) {
    const size_t before = s->pos;

    skip_space (s);
    space = s->pos > before;
    if (at (s, ">") || at (s, "/>"))
      break;
    if (s->pos == s->len)
      return bad (s, VD_NOT_FORMAT, "not XML: the file ends inside of a tag");
    if (!space)
      return bad (s, VD_NOT_FORMAT, "not XML: no space before an attribute");
    if (scan_attr (s, e) == -1)
      return -1;
  }
  empty = at (s, "/>");
  s->pos += empty ? 2 : 1;
  e->tag_end = e->content_end = e->end = s->pos;
  e->next = xml->n;
  if (!empty)
    s->open = xml->n - 1;
  return 0;
}

/* </name>, at its < */
static int
scan_end_tag (struct scan *s)
{
  struct vd_xml_element *e
    = s->open == VD_XML_NONE ? NULL : &s->xml->element[s->open];
  const size_t start = s->pos;
  size_t n;

  s->pos += 2;
  n = name_length (s);
  if (!e || strlen (e->name) != n ||
      memcmp (e->name, &s->text[s->pos], n) != 0)
    return bad (s, VD_NOT_FORMAT, "not XML: an end tag that ends nothing");
  s->pos += n;
  skip_space (s);
  if (!at (s, ">"))
    return bad (s, VD_NOT_FORMAT, "not XML: an end tag is not closed");
  ++s->pos;
  e->content_end = start;
  e->end = s->pos;
  e->next = s->xml->n;
  s->open = e->parent;
  return 0;
}

void
vd_xml_encoding (const char *text, size_t len, char name[VD_XML_ENCODING])
{
  const char *end = len > 5 && memcmp (text, "<?xml", 5) == 0
    ? memmem (text, len, "?>", 2) : NULL;
  const char *p
    = end ? memmem (text, (size_t) (end - text), "encoding", 8) : NULL;
  size_t n = 0;

  if (p) {
    for (p += 8; p < end && (is_space (*p) || *p == '='); ++p)
      ;
    if (p < end && (*p == '"' || *p == '\''))
      ++p;
    while (p < end && n < VD_XML_ENCODING - 1 && *p != '"' && *p != '\'')
      name[n++] = *p++;
  }
  name[n] = '\0';
}

bool
vd_xml_is_latin (const char *encoding)
{
  return strncasecmp (encoding, "ISO-8859-", 9) == 0 ||
    strncasecmp (encoding, "windows-125", 11) == 0;
}

/* The text is UTF-8.  An editor may have written another encoding there that
 * has all of ASCII in it; in others, markup could be hidden.
 */
static int
check_declaration (struct scan *s)
{
  char name[VD_XML_ENCODING];

  vd_xml_encoding (&s->text[s->pos], s->len - s->pos, name);
  if (!*name || strcasecmp (name, "UTF-8") == 0 ||
      strcasecmp (name, "US-ASCII") == 0 || vd_xml_is_latin (name))
    return 0;
  return bad (s, VD_UNSUPPORTED, "the encoding is not UTF-8, as VirtualBox "
              "writes it");
}

/* What begins with < */
static int
scan_markup (struct scan *s)
{
  if (++s->items > VD_XML_MAX_ITEMS)
    return bad (s, VD_UNSUPPORTED, "there are too many elements");
  if (at (s, "<!--")) {
    s->pos += 4;
    return skip_past (s, "-->");
  }
  if (at (s, "<![CDATA["))
    return skip_past (s, "]]>");
  if (at (s, "<!"))
    return bad (s, VD_UNSUPPORTED, "a document type (<!DOCTYPE...>) or the "
                "like, which VirtualBox does not write: refused, because it "
                "could make this file refer to others");
  if (at (s, "<?"))
    return skip_past (s, "?>");
  if (at (s, "</"))
    return scan_end_tag (s);
  return scan_start_tag (s);
}

int
vd_xml_scan (const char *path, const char *text, size_t len,
             struct vd_xml *xml, struct vd_err *err)
{
  struct scan s = {
    .path = path, .text = text, .len = len, .xml = xml, .open = VD_XML_NONE,
    .err = err,
  };
  const char *p;

  if (at (&s, "\xef\xbb\xbf"))
    s.pos += 3;
  if (at (&s, "<?xml") && check_declaration (&s) == -1)
    return -1;
  while ((p = memchr (&text[s.pos], '<', len - s.pos))) {
    s.pos = (size_t) (p - text);
    if (scan_markup (&s) == -1)
      return -1;
  }
  s.pos = len;
  if (xml->n == 0)
    return vd_fail (err, VD_NOT_FORMAT, "%s is not a VirtualBox machine file: "
                    "there is no XML in it", path);
  if (s.open != VD_XML_NONE)
    return bad (&s, VD_TRUNCATED, "the file ends too early: it is cut off, or "
                "not XML");
  return 0;
}
