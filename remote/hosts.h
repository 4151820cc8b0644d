/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Hosts with a shell (shell.h), and what lies in their directories.
 *
 * Opening a chain is what waits most: each link names the next, so that one
 * after the other is opened, found and read.  But links lie beside each other, and
 * have names that are alike.  So the directory of the first file is listed, and
 * the beginnings of all files that look like parts of the same disk are asked for at
 * once.  Those that are opened then are there already.
 *
 * Threads: used while images are opened, by one thread.
 */

#ifndef REMOTE_HOSTS_H
#define REMOTE_HOSTS_H

#include "shell.h"
#include "transport.h"
#include "vmdkdelta.h"

struct hosts;

extern struct hosts *hosts_new (struct vd_err *err);
extern void hosts_free (struct hosts *h);

/* The shell of the host of u, or NULL: it has none, or it could not be logged in
 * there, which nbdkit's plugin will say better.  -1 after filling err.
 */
extern int hosts_shell (struct hosts *h, const struct vd_uri *u,
                        const struct transport *t,
                        const struct transport_params *p,
                        struct shell **shell, struct vd_err *err);

/* The same for a host that was asked before, or NULL. */
extern struct shell *hosts_known (const struct hosts *h,
                                  const struct vd_uri *u);

/* The directory that holds u's file, on a host that has a shell. */
struct hosts_dir;
extern struct hosts_dir *hosts_dir (struct hosts *h, const struct vd_uri *u,
                                    struct vd_err *err);

/* A file of it. */
struct hosts_file {
  char *name;
  char stamp[SHELL_STAMP];
  bool taken;                   /* it was handed out by hosts_relative */
  struct vd_file *early;        /* opened before anybody wanted it */
};

/* NULL: there was none when the directory was listed.  *listed is false if it could
 * not be, and nothing is known.
 */
extern struct hosts_file *hosts_find (struct hosts_dir *d, const char *name,
                                      bool *listed);

/* Files that look like parts of the disk that has a file of this name, one after
 * the other, and each only once: *i begins at 0.
 */
extern struct hosts_file *hosts_relative (struct hosts_dir *d,
                                          const char *name, size_t *i);

#endif /* REMOTE_HOSTS_H */
