/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files of a host, read by a shell that runs there.
 *
 * nbdkit's ssh plugin logs in anew for each file and connection (a dozen round
 * trips), and lists no directories.  Where ssh gives a shell, as VMware's hosts
 * do, one login is enough for all files: "ssh HOST sh" is told by its stdin what
 * to read, and dd reads it.  Any number of requests are under way on one login,
 * since the shell takes them one after the other, and answers in this order.
 * It needs sh, dd, stat (of coreutils or busybox) and nothing else there; ssh is
 * OpenSSH's, with all that its user has configured.
 *
 * Every answer begins with what stat says of the file (size, time of change,
 * number), so that one which was changed or replaced meanwhile is an error with
 * the next read, and not a mixture.
 *
 * What separates answers is a random word, which no file can know.  Names are
 * quoted: nothing in them is a command.
 *
 * Invariants:
 * S1. A session's requests are answered in the order in which they were sent:
 *     who has sent number N reads when `answered` is N.
 * S2. A session that has answered otherwise than expected is broken: nothing is
 *     read from it any more, and who waits takes another one, once.
 * S3. No lock is held while an answer is waited for.
 *
 * Threads: any number at once.
 */

#ifndef REMOTE_SHELL_H
#define REMOTE_SHELL_H

#include "vmdkdelta.h"

struct shell;

/* argv, which ends with NULL and is borrowed: the command that runs sh there. */
extern struct shell *shell_new (char *const *argv, unsigned sessions,
                                struct vd_err *err);

/* Log in.  Fails where there is no shell. */
extern int shell_connect (struct shell *s, struct vd_err *err);

/* What stat said of a file: its size, time of change and number. */
#define SHELL_STAMP 96

/* A regular file; name is for messages.  stamp: what shell_list has told of it, so
 * that nothing is asked now; or NULL.
 */
extern struct vd_file *shell_open (struct shell *s, const char *path,
                                   const char *name, const char *stamp,
                                   struct vd_err *err);

/* Called for each regular file in a directory, links followed, in no order;
 * 0 to go on, -1 after filling err.
 */
typedef int (*shell_list_fn) (void *opaque, const char *name,
                              const char *stamp, struct vd_err *err);
extern int shell_list (struct shell *s, const char *dir, shell_list_fn fn,
                       void *opaque, struct vd_err *err);

/* The SHA-256 of a file in hexadecimal digits, by sha256sum on the host: 1; 0 where
 * there is no such program.  It takes as long as to read the file there.
 */
#define SHELL_SUM 65u
extern int shell_sum (struct shell *s, const char *path, const char *name,
                      char hex[SHELL_SUM], struct vd_err *err);

/* After all files were closed.  NULL is allowed. */
extern void shell_free (struct shell *s);

#endif /* REMOTE_SHELL_H */
