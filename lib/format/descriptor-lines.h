/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the lines of a descriptor, for what parses it and for
 * what changes it.
 *
 * A line ends with LF, CR LF or CR, whichever an editor left, also mixed.
 */

#ifndef VD_DESCRIPTOR_LINES_H
#define VD_DESCRIPTOR_LINES_H

#include <stddef.h>

/* The length of the byte order mark that the n bytes begin with: 0 or 3. */
extern size_t vd_text_bom (const char *text, size_t n);

/* Where the text ends: at the first NUL, or at an end-of-file mark of DOS
 * (0x1a) behind which there is nothing but blanks and more such marks.
 */
extern size_t vd_text_length (const char *text, size_t n);

/* Where the line ends that begins at `line`; stop if it is the last one, and
 * has no end.
 */
extern const char *vd_line_end (const char *line, const char *stop);

/* The next line, from where one ends. */
extern const char *vd_line_next (const char *end, const char *stop);

#endif /* VD_DESCRIPTOR_LINES_H */
