/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Where a name found in an image may lead.
 *
 * Extent names and parent hints come from files that nobody vouches for.  A
 * descriptor that names /etc/shadow as its extent must not make a server
 * hand it out (CVE-2022-47951 was this).  So a name is followed only to
 *
 *   - regular files and block devices,
 *   - below the directory of the file that holds the name, or below a
 *     directory that the user named.
 *
 * "Below" is enforced by the kernel while it resolves the name (openat2 with
 * RESOLVE_BENEATH), so that symbolic links cannot lead out, not even ones
 * that are swapped meanwhile.  Where the kernel does not have it, names are walked
 * component by component and symbolic links are refused.
 *
 * Threads: used while images are opened, by one thread.
 */

#ifndef VD_CONFINE_H
#define VD_CONFINE_H

#include "base/err.h"
#include "base/opts.h"
#include "file/file.h"

struct vd_confine;

/* The places for names found in the file `path` (which the user or an
 * earlier link named): its directory with symbolic links resolved, the
 * directory as it is written, then opts->dirs.  Borrows opts.
 */
extern struct vd_confine *vd_confine_new (const char *path,
                                       const struct vd_opts *opts,
                                       struct vd_err *err);

extern void vd_confine_free (struct vd_confine *p);

/* Can all of opts->dirs be opened?  For who opens many files, each of which
 * would be refused because of one that cannot.
 */
extern int vd_confine_check_dirs (const struct vd_opts *opts,
                                  struct vd_err *err);

/* The first of these directories, for messages. */
extern const char *vd_confine_dir (const struct vd_confine *p);

/* Open `name` as it stands in the file `from`: relative names are relative
 * to its directory, absolute ones are taken as they are; both only as far as
 * the rules above allow.
 *
 * VD_NOT_FOUND: there is no such file.  VD_DENIED: it leads where it may not.
 * VD_USAGE: it is neither a regular file nor a block device.
 */
extern struct vd_file *vd_confine_open (const struct vd_confine *p,
                                       const char *name, const char *from,
                                       struct vd_err *err);

/* The same for a name (UTF-8) that may be spelled in another way on the disk:
 * each part of it that is not there is looked for among those that are alike
 * (charset.h; names on the disk can be in this encoding).  VD_MISMATCH: there
 * are several.  What was listed is kept for the next name, until p is freed or
 * told to forget it.
 */
extern struct vd_file *vd_confine_open_alike (struct vd_confine *p,
                                              const char *name,
                                              const char *encoding,
                                              const char *from,
                                              struct vd_err *err);
extern void vd_confine_forget (struct vd_confine *p);

#endif /* VD_CONFINE_H */
