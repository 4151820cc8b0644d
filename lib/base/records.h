/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Small text files in which we note what we are doing: the journal of a merge
 * (merge/journal.h) and its mark (chain/merging.h).
 *
 *   FIRST LINE                 which kind of file, and its version
 *   WORD WORD ...              records, one a line
 *   end CRC32                  of all that is above
 *
 * Names and data are words in hexadecimal, "-" for nothing.  Names are
 * relative to the directory of the file where they can be, so that it
 * survives a move of that directory.
 */

#ifndef VD_RECORDS_H
#define VD_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The last line, for text of len bytes. */
#define VD_RECORDS_END 13
extern void vd_records_end (char end[VD_RECORDS_END + 1], const char *text,
                            size_t len);

/* The records between the first line and the last, or NULL if the text (of
 * len bytes, NUL-terminated, which is cut there) is not such a file or not
 * all of it.
 */
extern char *vd_records_body (char *text, size_t len, const char *first_line);

/* Each puts a blank in front. */
extern void vd_put_hex (FILE *fp, const void *data, size_t n);
extern void vd_put_name (FILE *fp, const char *path, const char *dir,
                         size_t n);

/* The next word of a line, or NULL. */
extern char *vd_next_word (char **line);

/* 0, or -1 for a word (which may be NULL) that makes no sense, or without
 * memory.  What is returned is to be freed; data has a NUL behind it.
 */
extern int vd_from_hex (const char *word, uint8_t **data, size_t *len);
extern int vd_from_number (const char *word, uint64_t *n);
extern int vd_from_name (const char *word, const char *dir, size_t n,
                         char **path);

#endif /* VD_RECORDS_H */
