/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Names in the encodings of other systems.
 *
 * Descriptors of VMware's hosted products are in the encoding of the system
 * that wrote them, and say which ("encoding=").  In several of these the
 * second byte of a character can be 0x5c, a backslash: so names are converted
 * before anybody looks for separators in them.
 *
 * The name of an encoding comes from a file that nobody vouches for.  Only
 * those of a list are taken, and what is given to iconv is our own spelling of
 * them.  All of the list have ASCII in them, and no shift states.
 */

#ifndef VD_CHARSET_H
#define VD_CHARSET_H

#include <stdbool.h>

/* The text as UTF-8, to be freed.  NULL: there is nothing to convert (it is
 * all ASCII, or the encoding is UTF-8, or NULL), or it cannot be done: the
 * encoding is not known, or the text is not in it, or there is no memory.
 */
extern char *vd_to_utf8 (const char *text, const char *encoding);

/* And back; the same. */
extern char *vd_from_utf8 (const char *text, const char *encoding);

/* Is it UTF-8 text (not only ASCII), and the encoding a known one but UTF-8? */
extern bool vd_must_convert (const char *text, const char *encoding);

/* Would the text have to be converted, and is it the system that cannot? */
extern bool vd_charset_missing (const char *text, const char *encoding);

/* The text as it is to be shown, to be freed: converted if that can be done,
 * and the text is not, against what its encoding says, UTF-8 already.  NULL
 * without memory.
 */
extern char *vd_text_shown (const char *text, const char *encoding);

extern bool vd_is_ascii (const char *text);

/* Are these two names the same but for the case of letters, and for letters
 * with accents being one character or two (macOS keeps names in the second
 * form)?  The first is UTF-8; the second too, or else in the encoding.
 */
extern bool vd_names_alike (const char *name, const char *other,
                            const char *encoding);

#endif /* VD_CHARSET_H */
