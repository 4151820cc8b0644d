/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: a small XML text as a list of its elements, in the
 * order of their start tags, each with the bytes that it stands in.
 *
 * libxml2 says what the text means (vbox-xml.c, the only file that knows
 * libxml2); a scanner of our own says where it stands (vbox-scan.c), which
 * libxml2 does not tell.  Both must have seen the same elements with the same
 * attributes, or the text is refused.
 */

#ifndef VD_VBOX_XML_H
#define VD_VBOX_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Caps on what a text of 16 MiB could make us allocate.  An element costs us
 * and libxml2 together about 400 bytes, an attribute 250: 80 MB and 100 MB.
 * A machine with 250 snapshots, VirtualBox's limit, has 25,000 elements; they
 * may be nested, two levels for each snapshot, or 300 media deep.
 */
#define VD_XML_MAX_ITEMS 200000u        /* elements, comments, ... */
#define VD_XML_MAX_ATTRS 400000u
#define VD_XML_MAX_ATTRS_OF_ONE 128u
#define VD_XML_MAX_DEPTH 1024u

#define VD_XML_NONE ((size_t) -1)

struct vd_xml_attr {
  char *name;
  char *value;                  /* entities resolved; NULL for xmlns */
  size_t start;                 /* of the name */
  size_t value_start, value_end; /* between the quotes */
  size_t end;                   /* behind the closing quote */
};

struct vd_xml_element {
  char *name;                   /* with the prefix, if there is one */
  char *text;                   /* of Description; else NULL */
  size_t parent;                /* index, or VD_XML_NONE */
  size_t next;                  /* the first element that is not inside */
  unsigned depth;
  size_t start;                 /* at < of the start tag */
  size_t tag_end;               /* behind > of the start tag */
  size_t content_end;           /* at < of the end tag; tag_end if <.../> */
  size_t end;                   /* behind all of it */
  size_t attrs, nr_attrs;       /* in vd_xml.attr */
};

struct vd_xml {
  struct vd_xml_element *element;
  size_t n;
  struct vd_xml_attr *attr;
  size_t nr_attrs;
};

/* text ends with a NUL, which len does not count.  path is for messages. */
extern struct vd_xml *vd_xml_parse (const char *path, const char *text,
                                    size_t len, struct vd_err *err);
extern void vd_xml_free (struct vd_xml *xml);

/* The first child of that name (of any, if NULL) that is element `from` or
 * stands behind it; VD_XML_NONE if there is none.  Start with parent + 1, go on
 * with the .next of what was found.
 */
extern size_t vd_xml_child (const struct vd_xml *xml, size_t parent,
                            size_t from, const char *name);

/* NULL: it has none of that name. */
extern const struct vd_xml_attr *vd_xml_attr (const struct vd_xml *xml,
                                              size_t element,
                                              const char *name);
extern const char *vd_xml_value (const struct vd_xml *xml, size_t element,
                                 const char *name);

extern bool vd_xml_is (const struct vd_xml *xml, size_t element,
                       const char *name);

/* Counted from 1. */
extern unsigned vd_xml_line (const char *text, size_t offset);

/* The scanner: names and places, no values.  Knows tags, comments, CDATA and
 * processing instructions, and refuses every other <!...>.
 */
extern int vd_xml_scan (const char *path, const char *text, size_t len,
                        struct vd_xml *xml, struct vd_err *err);

/* The encoding in the first line, or "". */
#define VD_XML_ENCODING 32u
extern void vd_xml_encoding (const char *text, size_t len,
                             char name[VD_XML_ENCODING]);

/* Is it one of those that editors put there, of one byte a character? */
extern bool vd_xml_is_latin (const char *encoding);

#endif /* VD_VBOX_XML_H */
