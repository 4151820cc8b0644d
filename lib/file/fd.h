/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* File descriptors, of which a process has only so many.
 *
 * A descriptor of VMware may name one file in a thousand extents, and each
 * link of a chain knows the same directories.  So what is open for reading is
 * open once, however many times it was opened: files are told apart by device
 * and inode.
 *
 * A server needs some for its clients.  If images could take all of them,
 * it would start, and then accept nobody: the clients would hang.  So the
 * front end says how many must be left, and what would take the last ones
 * fails with EMFILE, which is an error of the process and never one of the
 * image that happened to be next (VD_NOMEM).
 *
 * Threads: any number at once.
 */

#ifndef VD_FD_H
#define VD_FD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Raise the limit of open files as far as it goes without privileges, and
 * leave `reserve` of them alone from now on, or a quarter, if that is less.
 */
extern void vd_fd_limit_raise (unsigned reserve, const struct vd_log *log);

/* The limit that allows n more files than are open now, and the reserve. */
extern size_t vd_fd_limit_for (size_t n);

/* Take over a descriptor that was just opened, for reading only or with
 * O_PATH.  Returns the one to use: this one, or an older one of the same file
 * or directory.  Close it with vd_fd_put.  -1 with errno when it is one of the
 * reserve, or there is no memory; it is still the caller's then.
 */
extern int vd_fd_share (int fd);

/* One more user of a shared descriptor has gone; others are just closed. */
extern void vd_fd_put (int fd);

/* For a descriptor that is not shared: false, with errno set, if it is one of
 * the reserve.
 */
extern bool vd_fd_allowed (int fd);

#endif /* VD_FD_H */
