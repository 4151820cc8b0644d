/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Which server reads which URI, and what its errors mean.
 *
 * ssh and http are read by nbdkit's own plugins.  What a connection needs
 * (users, keys, certificates) is passed on to them under the names that they
 * have there.  A secret is never on a command line, where everybody on the
 * machine can see it, and not in a message: it is taken from a file.
 */

#ifndef REMOTE_TRANSPORT_H
#define REMOTE_TRANSPORT_H

#include "vmdkdelta.h"

#define TRANSPORT_MAX_PARAMS 64u

struct transport_param {
  const char *key;              /* of the table */
  char *word;                   /* "key=value", for the plugin */
  unsigned for_what;            /* bits of transports */
};

struct transport_params {
  struct transport_param param[TRANSPORT_MAX_PARAMS];
  size_t n;
  unsigned connections;         /* 0: what suits the transport */
  bool no_shell, no_libcurl;
};

struct transport;

/* NULL: libnbd reads it itself. */
extern const struct transport *transport_of (const struct vd_uri *u);

/* How many requests may be under way to a host. */
extern unsigned transport_connections (const struct transport *t,
                                       const struct transport_params *p);

/* How much one request asks for at most. */
extern size_t transport_request (const struct transport *t);

/* Take "KEY=VALUE", as the user gave it.  A file is named from here on by its
 * absolute path.
 */
extern int transport_parse (struct transport_params *p, const char *text,
                            struct vd_err *err);
extern void transport_free (struct transport_params *p);

/* The command that serves a URI, ending with NULL; words that are freed. */
extern char **transport_command (const struct transport *t,
                                 const struct vd_uri *u,
                                 const struct transport_params *p,
                                 struct vd_err *err);
extern void transport_free_command (char **argv);

/* The command that runs a shell on the host, in the same shape (shell.h).
 * *argv is NULL where that is not for this transport, or cannot be: ssh asks
 * for a password on the terminal only.
 */
extern int transport_shell (const struct transport *t, const struct vd_uri *u,
                            const struct transport_params *p, char ***argv,
                            struct vd_err *err);

/* What the server said, or "", as an error of the file `name`, with the way
 * out: -1.  err holds what the client said of it.
 */
extern int transport_explain (const struct transport *t, const char *name,
                              const char *said, struct vd_err *err);

/* The same for http that is spoken without a server of our own. */
extern int transport_explain_http (const char *name, const char *said,
                                   struct vd_err *err);

#endif /* REMOTE_TRANSPORT_H */
