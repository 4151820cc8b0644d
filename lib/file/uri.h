/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Names of files that lie elsewhere, as text.
 *
 * A name is a URI when it begins with one of the schemes below and "://",
 * whether or not a local file has that name (that one is "./ssh://...").  So
 * what a command means does not depend on what happens to lie in the current
 * directory.
 *
 *     ssh://[USER@]HOST[:PORT]/PATH           also sftp://
 *     http://HOST[:PORT]/PATH[?QUERY]         also https://
 *     nbd://HOST[:PORT]/EXPORT                also nbds://, nbd+vsock:// ...
 *     nbd+unix:///EXPORT?socket=PATH          also nbds+unix://
 *
 * %XX in the path is a byte.  What is beside a file has the same host and the
 * same query: a datastore's web server is told by the query which datastore is
 * meant.  The query is kept as the user gave it, never decoded and encoded
 * again.
 *
 * A password in a URI is refused: it would be seen in the list of processes.
 */

#ifndef VD_URI_H
#define VD_URI_H

#include <stdbool.h>

#include "base/err.h"
#include "base/opts.h"
#include "file/file.h"

struct vd_uri {
  char *scheme;                 /* "ssh" */
  char *authority;              /* "root@esx:22", as given */
  char *path;                   /* absolute; decoded; no ".", ".." or "//" */
  char *query;                  /* "?dcPath=...", or "" */
};

/* All fields are valid, or NULL, on error too: vd_uri_free in any case. */
extern int vd_uri_parse (const char *text, struct vd_uri *u,
                         struct vd_err *err);
extern void vd_uri_free (struct vd_uri *u);

extern bool vd_is_uri (const char *name);

/* The URI of another path on the same host; to be freed, NULL: no memory. */
extern char *vd_uri_with_path (const struct vd_uri *u, const char *path);

/* Can what has the one be reached with the other? */
extern bool vd_uri_same_place (const struct vd_uri *a, const struct vd_uri *b);

/* An absolute path without ".", ".." and double slashes, by text alone: of
 * name, which if it is relative is below dir.  To be freed; NULL: no memory.
 */
extern char *vd_path_normalise (const char *dir, const char *name);

/* The part of a path below dir, or NULL. */
extern const char *vd_path_below (const char *path, const char *dir);

/* Open what the user named, read-only: a path, or a URI by opts->open. */
extern struct vd_file *vd_open (const char *name, const struct vd_opts *opts,
                                struct vd_err *err);

#endif /* VD_URI_H */
