/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The mark of a merge that has begun, and not ended.
 *
 * A merge writes into its target what newer links hold.  From the first byte
 * on the target, and every link between it and the newest merged one, reads
 * wrong by itself; only what has all merged links in its chain reads right.
 * Nothing in the images says so.  So before that byte a mark is put beside
 * the target, the oldest and the newest merged link:
 *
 *   .NAME.vmdkdelta-merging
 *
 * It holds what the merge was going to do, so that the same merge can be
 * recognised when it is run again, and the command that completes it can be
 * told to everybody else.  The end of the merge removes it.
 *
 *   vmdkdelta-merging 1
 *   given NAME                     what the merge was asked for
 *   option WORD                    "--skip=1", ...
 *   place WORD NAME                "--parent-path", and what it names
 *   target CID|- UUID UUID         identity of the target before; image and
 *                                  modification, 0 if it has none
 *   link NAME UUID                 newest merged one first, the target last
 *   end CRC32
 *
 * When the target has another identity, the merge was at its end already, or
 * the target is another disk; then reading needs no mark: CIDs and UUIDs say
 * what fits.
 *
 * Who can write to the directory can plant a mark.  It keeps images from being
 * read, which whoever can replace them can do anyway; and the command in our
 * message is made of options that we know, quoted.
 */

#ifndef VD_MERGING_H
#define VD_MERGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/opts.h"

struct vd_link;

struct vd_merging_link {
  char *path;
  uint8_t uuid[16];
};

struct vd_merging {
  char *path;                   /* of the mark */
  char *text;                   /* all of it, or NULL: it cannot be read */
  char *command;                /* that completes the merge, for a shell */
  bool has_cid;                 /* identity of the target */
  uint32_t cid;
  uint8_t uuid[16], modified[16];
  struct vd_merging_link *link;
  size_t nr_links;
};

#define VD_MERGING_FIRST "vmdkdelta-merging 1\n"

/* The name of the mark of an image; to be freed, NULL without memory. */
extern char *vd_merging_name (const char *image);

extern bool vd_merging_is_mark (const char *path);

/* The mark of an image, of which a symbolic link may be given; NULL if it has
 * none.  One that cannot be read or understood is returned without text.
 * -1 without memory only.
 */
extern int vd_merging_find (const char *image, struct vd_merging **found,
                            struct vd_err *err);

/* The same for an image that a URI names; its text is not read, since the files
 * that it refers to are elsewhere.  -1 when it cannot be found out.
 */
extern int vd_merging_find_uri (const char *uri, const struct vd_opts *opts,
                                struct vd_merging **found,
                                struct vd_err *err);

/* NULL is allowed. */
extern void vd_merging_free (struct vd_merging *m);

/* -1 and a message, if the image has a mark; or, for a file called like an
 * extent, its descriptor.  For those who write to it, or take it as it is.
 */
extern int vd_merging_refuse (const char *image, struct vd_err *err);

/* Fill err, for a link with a mark: -1. */
extern int vd_merging_fail (const struct vd_merging *m, const char *image,
                            struct vd_err *err);

/* Does a link with a mark (link->merging) read wrong below those that are
 * newer in its chain (n of them)?
 */
extern bool vd_merging_is_wrong (const struct vd_link *link,
                                 struct vd_link *const *newer, size_t n);

#endif /* VD_MERGING_H */
