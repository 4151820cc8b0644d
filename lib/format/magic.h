/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files that are no VMDK: what they are, and what to do with them.
 *
 * Two things go wrong without this list.  An image of another format, or an
 * archive, is taken for a raw disk: its bytes would be served as the disk's,
 * and writing to it destroys it.  And something that only lies beside a disk
 * (a log, a download that failed) is given in place of it, and called damaged.
 *
 * A container is known by magic numbers that no boot sector, partition table
 * or file system has, at the start or at the end of the file.  That makes it
 * sure, but for one case: a guest wrote such an image to the first sector of
 * a disk without partitions.  Only the user knows that, so there is an option
 * (base-format=raw) wherever a container is refused.  A fixed VHD is a raw disk
 * with a footer: no container.  Encryption and file systems are none either.
 *
 * Whatever is no container may begin a raw disk, by what a guest wrote, and
 * is used only to explain a file that was given as an image.
 */

#ifndef VD_MAGIC_H
#define VD_MAGIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/opts.h"
#include "file/file.h"

struct vd_foreign {
  const char *what;             /* "a qcow image" */
  const char *advice;           /* "convert it (...)", without a full stop */
  bool container;               /* never a raw disk */
  bool xml;                     /* of no kind that we know: perhaps a machine
                                   file of VirtualBox's */
  bool page;                    /* a small text is that, and no raw disk */
};

/* How much of the start of a file is looked at, and of its end. */
#define VD_FOREIGN_HEAD 4096u
#define VD_FOREIGN_TAIL 512u

/* What the first n bytes of a file of this size tell, and its last m (which
 * may be none: m = 0), or NULL.  n and m are at most the sizes above.
 */
extern const struct vd_foreign *vd_foreign_find (const uint8_t *head, size_t n,
                                                 const uint8_t *tail, size_t m,
                                                 uint64_t size);

/* What the name alone tells ("x-ctk.vmdk"), or NULL. */
extern const struct vd_foreign *vd_foreign_by_name (const char *path);

/* vd_foreign_find of an open file; *foreign is NULL when nothing is known.  Reads
 * are aligned to `align` bytes, a power of two.  What cannot be read at the
 * end is as if it were not there.
 */
extern int vd_foreign_look (struct vd_file *file, uint32_t align,
                            const struct vd_foreign **foreign,
                            struct vd_err *err);

/* What a file is about to be used as. */
enum vd_raw_use {
  VD_RAW_BASE,                  /* read, with deltas on it */
  VD_RAW_TARGET,                /* written */
  VD_RAW_SOURCE,                /* compared, or its zeros given back */
  VD_RAW_EXTENT,                /* the start of a disk, as a flat extent */
};

/* Fails with VD_NOT_FORMAT when the file is not a raw disk but an image or
 * archive, and says which, and what to do.  With opts->raw_base it does not
 * look.
 */
extern int vd_check_raw (struct vd_file *file, enum vd_raw_use use,
                         uint32_t align, const struct vd_opts *opts,
                         struct vd_err *err);

/* Of a file that is neither a sparse image nor a descriptor, but was given as
 * one: say in err what it is, and what to do.  -1.
 */
extern int vd_explain_foreign (struct vd_file *file, struct vd_err *err);

/* Does this text begin like XML?  (A VDI's "<<< Oracle VM ..." does not.) */
extern bool vd_is_xml (const char *head);

/* Is this text, as far as it goes, a VMDK descriptor?  It has words in it that
 * nothing else has.
 */
extern bool vd_is_descriptor_text (const uint8_t *head, size_t n);

#endif /* VD_MAGIC_H */
