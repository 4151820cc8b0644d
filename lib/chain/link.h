/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* One disk image of a chain: a descriptor and its extents, laid end to end.
 *
 * Shapes that a link can have on disk:
 *
 *   - a text descriptor that names its extents;
 *   - a KDMV file with the descriptor embedded: the one extent is the file
 *     itself, whatever name the descriptor gives (files get renamed).  The
 *     descriptor's sector count is the size; the header's may be rounded up;
 *   - a KDMV file of capacity 0, whose embedded descriptor names the extents;
 *   - a VirtualBox VDI, which needs no descriptor;
 *   - a bare extent (-delta.vmdk, -sesparse.vmdk, one piece of a split disk):
 *     data without a descriptor.
 *
 * Threads: immutable after open.
 */

#ifndef VD_LINK_H
#define VD_LINK_H

#include "base/opts.h"
#include "chain/merging.h"
#include "file/confine.h"
#include "format/descriptor.h"
#include "format/image.h"
#include "format/prefetch.h"

enum vd_role {
  VD_ROLE_BASE,                 /* says that it has no parent */
  VD_ROLE_CHILD,                /* says that it has one */
  VD_ROLE_BARE,                 /* no descriptor: cannot say */
};

struct vd_piece {
  uint64_t start;               /* of the extent on the link, bytes */
  struct vd_image *image;
};

struct vd_link {
  char *path;
  struct vd_confine *places;     /* for names found in it */
  struct vd_descriptor *descriptor; /* NULL for a bare extent */
  bool embedded;
  enum vd_role role;
  uint64_t capacity;            /* bytes */
  bool loaded;                  /* the extents are open */
  struct vd_piece *pieces;
  size_t nr_pieces;
  struct vd_identity id;        /* UUIDs of VDI and of VirtualBox's VMDKs */
  dev_t dev;                    /* identity of the file at path */
  ino_t ino;

  /* It belongs to a merge that was interrupted (merging.h), or NULL.  Known
   * when the link is loaded.
   */
  struct vd_merging *merging;

  struct vd_image *self;        /* the sparse file itself, until loaded */
};

/* Open what the user named: vd_link_read and vd_link_load in one.  opts is
 * borrowed for the life of the link.
 */
extern struct vd_link *vd_link_open (const char *path,
                                     const struct vd_opts *opts,
                                     struct vd_err *err);

/* Read what an open file says of itself (descriptor, header), without opening
 * its extents: that is enough to find out what it is and who its parent is.
 * Takes the file over, also on error.
 */
extern struct vd_link *vd_link_read (struct vd_file *file, const char *path,
                                     const struct vd_opts *opts,
                                     struct vd_err *err);

/* Open the extents, unless they are. */
extern int vd_link_load (struct vd_link *link, const struct vd_opts *opts,
                         struct vd_err *err);

/* The file of an extent of a link that need not be loaded, as candidates.h
 * finds it; where it is not the one that the line names, only one that can
 * hold the extent is taken.  To be closed.
 */
extern struct vd_file *vd_link_find_extent (const struct vd_link *link,
                                            const struct vd_extent_line *e,
                                            const struct vd_opts *opts,
                                            struct vd_err *err);

extern void vd_link_close (struct vd_link *link);

/* Add the runs of [offset, offset+length) to runs; past the end of the link
 * they are VD_ZERO.  The link's extents have the slots first_slot + 0, 1, ...
 * As vd_format.map: a prefix may be covered when the list is full.
 */
extern int vd_link_map (const struct vd_link *link, uint64_t offset,
                        uint64_t length, uint32_t first_slot,
                        struct vd_runs *runs, struct vd_err *err);

/* These want a loaded link. */

/* "KDMV", "COWD", "SEsparse", "VDI", "FLAT", "ZERO", or "mixed". */
extern const char *vd_link_format (const struct vd_link *link);

/* VD_CORRUPT where two extents share bytes of a file, so that what is written
 * to one would change the other.
 */
extern int vd_link_check_apart (const struct vd_link *link,
                                struct vd_err *err);

/* Ask for the directory or tables of [offset, offset+length), as far as the link
 * goes (prefetch.h).  Returns how many bytes that is; 0 for files that are near.
 */
extern uint64_t vd_link_prefetch (const struct vd_link *link, uint64_t offset,
                                  uint64_t length, enum vd_prefetch what);

/* Smallest and largest grain among the extents; 0 when none has grains. */
extern uint64_t vd_link_min_grain (const struct vd_link *link);
extern uint64_t vd_link_max_grain (const struct vd_link *link);

#endif /* VD_LINK_H */
