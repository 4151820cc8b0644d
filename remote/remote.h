/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files that lie elsewhere, for vd_opts.open.
 *
 *     remote = remote_new (&err);
 *     remote_param (remote, "identity=/root/.ssh/id_esx", &err);
 *     opts.open = remote_open;
 *     opts.remote = remote;
 *     ... open images ...
 *     remote_start_threads (remote);
 *     ... read ...
 *     remote_free (remote);
 *
 * NBD servers are read by libnbd.  ssh and http are read by a server of our own
 * for each connection (captive.h), which runs one of nbdkit's plugins
 * (transport.h).  All of them are opened for reading only.
 *
 * What was read is kept in blocks, in a cache that all files share (cache.h),
 * since a round trip costs as much as a megabyte.
 *
 * Everything is connected before remote_start_threads, so that what is wrong is
 * told at start; a process that forks into the background calls it behind the
 * fork.
 */

#ifndef REMOTE_H
#define REMOTE_H

#include "vmdkdelta.h"

struct remote;

extern struct remote *remote_new (struct vd_err *err);

/* A parameter of all connections, "KEY=VALUE"; see transport.c. */
extern int remote_param (struct remote *r, const char *text,
                         struct vd_err *err);

/* For vd_opts.open; `remote` is what remote_new returned.  One file that is
 * opened again has the same identity.
 */
extern struct vd_file *remote_open (void *remote, const char *uri,
                                    struct vd_err *err);

/* The SHA-256 of a file as its host calculates it, in hexadecimal digits: 1; 0 where
 * there is no way to ask for that.  After remote_start_threads, from any thread.
 */
#define REMOTE_SUM 65u
extern int remote_sha256 (struct remote *r, const char *uri,
                          char hex[REMOTE_SUM], struct vd_err *err);

/* From here on blocks are also read by threads, several at a time, and before
 * they are needed.
 */
extern void remote_start_threads (struct remote *r);

/* After all files were closed.  NULL is allowed. */
extern void remote_free (struct remote *r);

#endif /* REMOTE_H */
