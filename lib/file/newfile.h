/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: files that get their name when they are complete. */

#ifndef VD_NEWFILE_H
#define VD_NEWFILE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "file/file.h"

struct vd_new_file {
  char *path;                   /* the final name; NULL: no such file */
  char *temp;                   /* NULL once it has its final name */
  struct vd_file *file;
  int like;                     /* whose rights it gets, plus one; 0: any */
  bool replaces;                /* that is the file at path */

  /* Both in the directory as it was when it was opened: whatever is put in its
   * place meanwhile is not touched (pin.h).
   */
  int dir;                      /* and one; 0: not open */
  char *pinned_path, *pinned_temp;
};

/* Create a file under a temporary name next to path.  Unless replace is set,
 * path may not exist.  A file that is replaced passes on its rights and its
 * extended attributes.
 */
extern int vd_new_file_open (struct vd_new_file *n, const char *path,
                             bool replace,
                             struct vd_file *(*create) (const char *,
                                                        struct vd_err *),
                             struct vd_err *err);

/* The same for a file that gets the rights of another (rights.h), unless it
 * replaces one.  `like` is a local file, or NULL or another: then it gets
 * those that any new file gets.
 */
extern int vd_new_file_open_like (struct vd_new_file *n, const char *path,
                                  bool replace, const struct vd_file *like,
                                  struct vd_file *(*create)
                                  (const char *, struct vd_err *),
                                  struct vd_err *err);

/* Give it its rights and its name.  The file must have been flushed; the
 * directory is not (vd_new_file_flush_directory).
 */
extern int vd_new_file_publish (struct vd_new_file *n, bool replace,
                                struct vd_err *err);

/* Close it, and remove it unless it was published. */
extern void vd_new_file_close (struct vd_new_file *n);

/* Remove what runs that were killed left of the making of a file: its name, a
 * dot, eight digits, and ".part".
 */
extern void vd_new_file_clean (const char *path);

/* The mode of another file, and its owner if we may give it away; as far as
 * the file system has such things, which is no reason to fail.
 */
extern void vd_like_the_old (const struct vd_file *file,
                             const struct stat *old);

/* Remove one that was published after all. */
extern void vd_new_file_remove (const struct vd_new_file *n);

/* fsync the directory of one, which was opened or published. */
extern int vd_new_file_flush_directory (const struct vd_new_file *n,
                                        struct vd_err *err);

/* rename, which does not replace, with what this file system can do. */
extern int vd_rename_new (const char *from, const char *to);

extern int vd_flush_directory_of (const char *path, struct vd_err *err);

#endif /* VD_NEWFILE_H */
