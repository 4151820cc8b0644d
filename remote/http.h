/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files of web servers, by libcurl.
 *
 * nbdkit's curl plugin asks with HEAD, believes what servers announce, and needs a
 * server of its own, with new connections, for each file.  VMware's hosts do not
 * always answer HEAD or announce ranges, and limit requests by their number.  So
 * the first part of a file is asked for, and the answer tells everything: 206, with
 * the size, and by ETag and Last-Modified which version of the file it is.  Each
 * later answer has to say the same, and that it is the part which was asked for.
 *
 * What is small comes as a whole with the first answer, also from a server that
 * sends no parts.
 *
 * 503 and 429 mean slow down: the request is made again later, five times.  A
 * connection that was lost is made again once.  401 and 403 have the cookie
 * script run again once, since cookies expire.
 *
 * libcurl is loaded when it is first needed, so that nothing depends on it; without
 * it, nbdkit's plugin is used.
 *
 * Threads: any number at once; each request has a handle of its own, which keeps its
 * connection for the next one.
 */

#ifndef REMOTE_HTTP_H
#define REMOTE_HTTP_H

#include "transport.h"
#include "vmdkdelta.h"

struct http;

/* NULL without an error: there is no libcurl here. */
extern int http_new (const struct transport_params *p, struct http **h,
                     struct vd_err *err);

/* u has a scheme of http; name is for messages. */
extern struct vd_file *http_open (struct http *h, const struct vd_uri *u,
                                  const char *name, struct vd_err *err);

/* After all files were closed.  NULL is allowed. */
extern void http_free (struct http *h);

#endif /* REMOTE_HTTP_H */
