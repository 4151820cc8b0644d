/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: an XML text with bytes cut out of it and others put in.
 *
 * Places are always those of the old text.  The same byte may be cut twice.
 * What is put in at one place stays in the order of the calls, and is there
 * also if the bytes around it are cut.
 *
 * The first failure (memory) is kept, and everything after it does nothing:
 * only vd_splice_finish need be looked at.
 */

#ifndef VD_VBOX_SPLICE_H
#define VD_VBOX_SPLICE_H

#include "vbox/vbox-xml.h"

struct vd_splice_insert {
  size_t pos, order;
  char *text;
};

struct vd_splice {
  const char *text;
  size_t len;
  const struct vd_xml *xml;
  unsigned char *cut;           /* 1: this byte is left out */
  struct vd_splice_insert *inserts;
  size_t nr_inserts;
  bool failed;
};

extern void vd_splice_init (struct vd_splice *s, const char *text, size_t len,
                            const struct vd_xml *xml);
extern void vd_splice_free (struct vd_splice *s);

/* Cut [start, end). */
extern void vd_splice_cut (struct vd_splice *s, size_t start, size_t end);

/* Put text in; it is taken over, and NULL counts as a failure. */
extern void vd_splice_insert (struct vd_splice *s, size_t pos, char *text);

/* Where an element begins with the white space in front of it. */
extern size_t vd_splice_start (const struct vd_splice *s, size_t element);

/* Cut an element, with that white space, except for some elements inside of
 * it, which come in the order of the text and keep theirs.
 */
extern void vd_splice_cut_around (struct vd_splice *s, size_t element,
                                  const size_t *keep, size_t nr_keep);

/* Give an attribute a value, or with NULL, remove it. */
extern void vd_splice_set (struct vd_splice *s, size_t element,
                           const char *name, const char *value);

/* Put child, the text of an element, into another one as the last; *opened
 * says whether a call before has done so for the same `<a/>`, which becomes
 * `<a>...</a>` (call vd_splice_close_empty after the last).  child is
 * taken over.
 */
extern void vd_splice_append (struct vd_splice *s, size_t element,
                              char *child, bool *opened);
extern void vd_splice_close_empty (struct vd_splice *s, size_t element,
                                   bool opened);

/* The white space in front of an element in its line.  The caller frees it;
 * NULL: no memory.
 */
extern char *vd_splice_indent (const struct vd_splice *s, size_t element);

/* text with & < > " as XML wants them.  NULL: no memory. */
extern char *vd_splice_escape (const char *text);

/* The new text.  The caller frees it.  -1: no memory. */
extern int vd_splice_finish (struct vd_splice *s, char **text, size_t *len,
                             struct vd_err *err);

#endif /* VD_VBOX_SPLICE_H */
