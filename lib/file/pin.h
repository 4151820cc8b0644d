/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: names in directories that others can write to.
 *
 * Who can write to a directory can put a symbolic link in the place of a
 * name, or of a directory on the way, between a look at it and the deed.  When
 * root completes a merge in a directory of somebody else, that would lead
 * root's writes and removals out of it.  So directories are opened once,
 * without following any link, and from then on names are looked up in what
 * was opened.
 *
 * A pinned name is "/proc/self/fd/N/NAME": whatever takes a path takes it,
 * and the kernel resolves it in the directory that N is, wherever that is by
 * now.  NAME itself can still be replaced: open it with vd_file_open_pinned,
 * which does not follow links, and compare what was opened.  (Calls that
 * create exclusively, rename, link and unlink do not follow it either.)
 */

#ifndef VD_PIN_H
#define VD_PIN_H

#include <stdbool.h>
#include <stddef.h>

#include "file/file.h"

struct vd_pins {
  struct vd_pin { char *dir; int fd; } *pin;
  size_t n;
};

/* The pinned name of a path, which is absolute and whose directory has no
 * symbolic links in it (realpath).  To be freed.  The directories stay open
 * until vd_pins_free.
 */
extern char *vd_pin (struct vd_pins *pins, const char *path,
                     struct vd_err *err);

extern void vd_pins_free (struct vd_pins *pins);

/* Open a pinned name, for reading or (write) for both; `path` is for messages.
 * VD_DENIED if it is a symbolic link; VD_NOT_FOUND.
 */
extern struct vd_file *vd_file_open_pinned (const char *pinned,
                                            const char *path, bool write,
                                            struct vd_err *err);

/* fsync the directory of a pinned name; `path` is for messages. */
extern int vd_pin_flush (const char *pinned, const char *path,
                         struct vd_err *err);

#endif /* VD_PIN_H */
