/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* An NBD export as a struct vd_file (see lib/file/file.h). */

#ifndef NBD_FILE_H
#define NBD_FILE_H

#include <stdbool.h>

#include "captive.h"
#include "vmdkdelta.h"

/* How to get at a server, when not by a URI. */
struct nbd_dialer {
  /* A server of our own for one more connection (captive.h). */
  int (*dial) (void *opaque, struct captive *c, struct vd_err *err);

  /* What it said, or "" if nothing, turned into an error; -1.  err holds what
   * libnbd said.
   */
  int (*explain) (void *opaque, const char *said, struct vd_err *err);

  /* NULL is allowed. */
  void (*free) (void *opaque);
  void *opaque;
};

/* True for what nbdfile_open understands: nbd://, nbds://, nbd+unix:// and
 * so on.  No name of a file begins like that by accident.
 */
extern bool nbdfile_is_uri (const char *name);

/* Connect.  With more than one connection (1 to 64) that many requests can be
 * under way, each in a thread of the caller's; a server that does not offer
 * multi-conn gets one connection only.  The first must come within two
 * minutes; of the others as many are used as the server takes.
 *
 * Any offset and length may be read and written: requests are split at the
 * server's largest size, and what does not fit its smallest block is read
 * (and for writing merged) in whole blocks.  Two threads may write to
 * different parts of one block.
 *
 * A connection that was lost while something was read is made again, once for
 * each read; an export that has another size then is an error.
 *
 * Fails with VD_DENIED when writable is set and the export is read-only.
 * Use vd_file_close.
 */
extern struct vd_file *nbdfile_open (const char *uri, bool writable,
                                      unsigned connections,
                                      struct vd_err *err);

/* The same by a server that is started for this, and ends with it: argv, which
 * ends with NULL and is borrowed, is a command that takes its socket from
 * systemd (qemu-nbd, nbdkit).  There is one connection.
 */
extern struct vd_file *nbdfile_open_command (const char *name,
                                             char *const *argv, bool writable,
                                             struct vd_err *err);

/* The same for reading by servers of our own, as many as there are connections:
 * the first at once, others when all are busy, up to so many.  The dialer is
 * taken over, also on error.
 */
extern struct vd_file *nbdfile_open_captive (const char *name,
                                             const struct nbd_dialer *dialer,
                                             unsigned connections,
                                             struct vd_err *err);

/* Add connections until there are so many, or the server takes no more, which
 * is no error.  Whoever opens two exports opens both before widening one: they
 * may be on a server that takes few.  Not while other threads use the file.
 */
extern int nbdfile_widen (struct vd_file *f, unsigned connections,
                          struct vd_err *err);

/* The number of connections really made. */
extern unsigned nbdfile_connections (const struct vd_file *f);

/* Is the end of such a file less than a block of the server? */
extern bool nbdfile_ends_in_block (const struct vd_file *f);

#endif /* NBD_FILE_H */
