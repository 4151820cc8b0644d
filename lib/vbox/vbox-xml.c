/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What an XML text means, by libxml2; see vbox-xml.h.
 *
 * The scanner has refused document types, so there are no entities but the
 * five that XML has of itself, and nothing to fetch.  XML_PARSE_HUGE lifts
 * libxml2's limit of 256 levels, which a machine with 130 snapshots exceeds;
 * our own limits hold instead.
 */

#include <limits.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "base/cleanup.h"
#include "vbox/vbox-xml.h"

#define OPTIONS (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | \
                 XML_PARSE_HUGE | XML_PARSE_NOCDATA)

void
vd_xml_free (struct vd_xml *xml)
{
  size_t i;

  if (!xml)
    return;
  for (i = 0; i < xml->n; ++i) {
    free (xml->element[i].name);
    free (xml->element[i].text);
  }
  for (i = 0; i < xml->nr_attrs; ++i) {
    free (xml->attr[i].name);
    free (xml->attr[i].value);
  }
  free (xml->element);
  free (xml->attr);
  free (xml);
}

static void
free_xml (struct vd_xml **xml)
{
  vd_xml_free (*xml);
}

static int
fail_libxml (const char *path, xmlParserCtxtPtr ctxt, struct vd_err *err)
{
  const xmlError *e = xmlCtxtGetLastError (ctxt);
  const size_t n = e && e->message ? strcspn (e->message, "\n") : 0;

  if (e && e->code == XML_ERR_NO_MEMORY)
    return vd_fail_nomem (err);
  if (n == 0)
    return vd_fail (err, VD_NOT_FORMAT, "%s: not XML", path);
  return vd_fail (err, VD_NOT_FORMAT, "%s line %d: not XML: %.*s", path,
                  e->line, n > 200 ? 200 : (int) n, e->message);
}

/* "prefix:name" or "name": is it that? */
static bool
is_called (const xmlNs *ns, const xmlChar *name, const char *want)
{
  const char *prefix = ns ? (const char *) ns->prefix : NULL;
  const size_t n = prefix ? strlen (prefix) : 0;

  if (n > 0) {
    if (strncmp (want, prefix, n) != 0 || want[n] != ':')
      return false;
    want += n + 1;
  }
  return strcmp ((const char *) name, want) == 0;
}

static bool
is_xmlns (const char *name)
{
  return strncmp (name, "xmlns", 5) == 0 && (!name[5] || name[5] == ':');
}

static char *
take_string (xmlChar *s, struct vd_err *err)
{
  char *copy = strdup (s ? (const char *) s : "");

  if (s)
    xmlFree (s);
  if (!copy)
    vd_fail_nomem (err);
  return copy;
}

/* The two have seen different things: a text made for that, or a bug. */
static int
differ (const char *path, const xmlNode *node, struct vd_err *err)
{
  return vd_fail (err, VD_UNSUPPORTED, "%s line %ld: XML of a kind that "
                  "VirtualBox does not write", path, xmlGetLineNo (node));
}

static int
take_attributes (const char *path, struct vd_xml *xml,
                 const struct vd_xml_element *e, xmlNode *node,
                 struct vd_err *err)
{
  xmlAttr *a = node->properties;
  size_t i;

  for (i = e->attrs; i < e->attrs + e->nr_attrs; ++i) {
    if (is_xmlns (xml->attr[i].name))
      continue;
    if (!a || !is_called (a->ns, a->name, xml->attr[i].name))
      return differ (path, node, err);
    xml->attr[i].value
      = take_string (xmlNodeListGetString (node->doc, a->children, 1), err);
    if (!xml->attr[i].value)
      return -1;
    a = a->next;
  }
  return a ? differ (path, node, err) : 0;
}

static xmlNode *
first_element (xmlNode *node)
{
  while (node && node->type != XML_ELEMENT_NODE)
    node = node->next;
  return node;
}

/* The next element in the order of start tags, and how it moves in depth. */
static xmlNode *
next_element (xmlNode *node, unsigned *depth)
{
  xmlNode *n = first_element (node->children);

  if (n) {
    ++*depth;
    return n;
  }
  for (;;) {
    n = first_element (node->next);
    if (n)
      return n;
    node = node->parent;
    if (!node || node->type != XML_ELEMENT_NODE)
      return NULL;
    --*depth;
  }
}

static int
take_tree (const char *path, struct vd_xml *xml, xmlDoc *doc,
           struct vd_err *err)
{
  xmlNode *node = xmlDocGetRootElement (doc), *last = node;
  unsigned depth = 0;
  size_t i;

  for (i = 0; node; ++i, node = next_element (node, &depth)) {
    struct vd_xml_element *e = &xml->element[i];

    last = node;
    if (i >= xml->n || e->depth != depth ||
        !is_called (node->ns, node->name, e->name))
      return differ (path, node, err);
    if (take_attributes (path, xml, e, node, err) == -1)
      return -1;
    if (strcmp (e->name, "Description") == 0) {
      e->text = take_string (xmlNodeGetContent (node), err);
      if (!e->text)
        return -1;
    }
  }
  return i == xml->n ? 0 : differ (path, last, err);
}

static int
read_tree (const char *path, const char *text, size_t len,
           struct vd_xml *xml, struct vd_err *err)
{
  xmlParserCtxt *ctxt = xmlNewParserCtxt ();
  xmlDoc *doc;
  int r;

  if (!ctxt)
    return vd_fail_nomem (err);
  doc = xmlCtxtReadMemory (ctxt, text, (int) len, NULL, "UTF-8", OPTIONS);
  if (!doc || !ctxt->wellFormed || !ctxt->nsWellFormed)
    r = fail_libxml (path, ctxt, err);
  else if (doc->intSubset || doc->extSubset)
    r = vd_fail (err, VD_UNSUPPORTED, "%s: has a document type", path);
  else
    r = take_tree (path, xml, doc, err);
  xmlFreeDoc (doc);
  xmlFreeParserCtxt (ctxt);
  return r;
}

struct vd_xml *
vd_xml_parse (const char *path, const char *text, size_t len,
              struct vd_err *err)
{
  VD_CLEANUP (free_xml) struct vd_xml *xml = calloc (1, sizeof *xml);

  if (!xml) {
    vd_fail_nomem (err);
    return NULL;
  }
  if (len > INT_MAX || strlen (text) != len ||
      !xmlCheckUTF8 ((const unsigned char *) text)) {
    vd_fail (err, VD_UNSUPPORTED, "%s is not text in UTF-8, as VirtualBox "
             "writes it", path);
    return NULL;
  }
  if (vd_xml_scan (path, text, len, xml, err) == -1 ||
      read_tree (path, text, len, xml, err) == -1)
    return NULL;
  return VD_TAKE (xml);
}

size_t
vd_xml_child (const struct vd_xml *xml, size_t parent, size_t from,
              const char *name)
{
  size_t i;

  for (i = from; i < xml->element[parent].next; i = xml->element[i].next)
    if (!name || strcmp (xml->element[i].name, name) == 0)
      return i;
  return VD_XML_NONE;
}

const struct vd_xml_attr *
vd_xml_attr (const struct vd_xml *xml, size_t element, const char *name)
{
  const struct vd_xml_element *e = &xml->element[element];
  size_t i;

  for (i = e->attrs; i < e->attrs + e->nr_attrs; ++i)
    if (strcmp (xml->attr[i].name, name) == 0)
      return &xml->attr[i];
  return NULL;
}

const char *
vd_xml_value (const struct vd_xml *xml, size_t element, const char *name)
{
  const struct vd_xml_attr *a = vd_xml_attr (xml, element, name);

  return a ? a->value : NULL;
}

bool
vd_xml_is (const struct vd_xml *xml, size_t element, const char *name)
{
  return strcmp (xml->element[element].name, name) == 0;
}
