/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A server that lives as long as one connection to it.
 *
 * "nbdkit -s" serves whoever is at the other end of its stdin and stdout, and
 * ends when that end is closed.  So nothing listens anywhere, nothing has to be
 * removed, and however this process ends, the server ends too: also when this
 * process has put itself into the background meanwhile, which would be the end
 * of its children if they were to die with their parent.
 *
 * What the server prints on stderr is collected, so that it can become a part
 * of one message of ours.
 */

#ifndef REMOTE_CAPTIVE_H
#define REMOTE_CAPTIVE_H

#include "vmdkdelta.h"

struct captive {
  int socket;                   /* -1: taken over by libnbd */
  int messages;                 /* stderr of the server */
};

/* Run argv, which ends with NULL, in a session of its own (a ^C is not for
 * it).  It may be called while other threads run.
 */
extern int captive_start (struct captive *c, char *const *argv,
                          struct vd_err *err);

/* The last error that the server has printed since the last call, without the
 * names in front of it; "" if there is none.  Does not wait.
 */
#define CAPTIVE_MESSAGE 512
extern void captive_message (const struct captive *c,
                             char text[CAPTIVE_MESSAGE]);

/* Close what is open.  The server goes away by itself. */
extern void captive_end (struct captive *c);

#endif /* REMOTE_CAPTIVE_H */
