/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Words of commands that users copy from our messages to a shell. */

#ifndef VD_SHELL_H
#define VD_SHELL_H

/* Text as one word of a POSIX shell's command, quoted if need be; what a
 * terminal could act on as printf's escapes, so that the word is still the
 * right one.  All commands in messages are made of these: a test runs them.
 * nbdkit takes a word with "=" in it for a parameter, so files are given to it
 * with file=.  To be freed; NULL without memory.
 */
extern char *vd_shell_word (const char *text);

/* The same for the name of a file, which is no option if it begins with "-". */
extern char *vd_shell_file (const char *name);

#endif /* VD_SHELL_H */
