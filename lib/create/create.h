/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* New delta files.
 *
 * A writer makes one new VMDK link from data in rising guest order.  Where
 * the data comes from is the caller's business: the difference of two disks,
 * or the old content of ranges that are about to be overwritten.
 *
 *     w = vd_create_open ("new.vmdk", &opts, &err);
 *     vd_create_data (w, offset, buf, n, &err);      whole grains
 *     vd_create_zero (w, offset, length, &err);      whole grains
 *     ...                                            the rest: parent's
 *     vd_create_finish (w, &result, &err);           or vd_create_abort (w);
 *
 * Crash safety: everything is written to files with temporary names in the
 * directory of the final ones.  The header, which is what makes a file valid,
 * is written last, after a flush of the rest.  Then the files get their final
 * names and the directory is flushed.  Until vd_create_finish has returned 0
 * nothing of the final name of the descriptor exists, whatever happens.  (A
 * crash may leave files called NAME.XXXXXXXX.part, and NAME-delta.vmdk without
 * its descriptor; they can be removed.)
 *
 * Memory: one grain table, a directory of at most 16 MiB, and for streams
 * the grains that are compressed at the same time.  The size of the disk and
 * of the delta do not matter.
 *
 * Threads: a writer belongs to one thread.  (It may use others itself to
 * compress, see `threads`.)
 */

#ifndef VD_CREATE_H
#define VD_CREATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "file/file.h"
#include "format/descriptor.h"

enum vd_create_format {
  /* ESX's vmfsSparse: a descriptor and NAME-delta.vmdk.  Grains of 512 bytes
   * (default) to 1 MiB, capacity below 2 TiB.  There is no zero grain: zeros
   * are stored, as holes of the file.
   */
  VD_WRITER_COWD,

  /* monolithicSparse (KDMV) with embedded descriptor and redundant tables.
   * Grains of 4 KiB to 1 MiB, default 64 KiB.  Header version 1; 2 when a
   * zero grain is in it, because readers of version 1 do not know these.
   * (VirtualBox reads version 1 only; see store_zeros.)
   */
  VD_WRITER_SPARSE,

  /* streamOptimized: compressed, with a footer.  Grains as above.  Zero
   * grains are stored compressed (512 bytes each).
   */
  VD_WRITER_STREAM,
};

/* A zeroed struct with a capacity is a good default for all else. */
struct vd_create_opts {
  enum vd_create_format format;
  uint64_t capacity;            /* bytes, whole sectors, > 0 */
  uint64_t grain_size;          /* bytes, a power of two; 0 = default */
  uint32_t cid;                 /* 0 = random */
  uint32_t parent_cid;          /* with parent_hint; or alone: the file says
                                   that it has a parent, but not which (for
                                   deltas that go with a raw base) */
  const char *parent_hint;      /* the parent's descriptor, as the file shall
                                   name it.  NULL and no parent_cid: the file
                                   has no parent (parentCID=ffffffff). */
  const struct vd_identity *uuids;      /* the file by UUID too, as VirtualBox
                                   knows it, or NULL; borrowed like `like` */
  const char *more;             /* lines for the disk data base of its
                                   descriptor, or NULL; borrowed */
  bool replace;                 /* existing files are replaced at the end */
  const struct vd_file *like;   /* whose rights new files get (newfile.h), or
                                   NULL; borrowed until vd_create_finish */
  bool store_zeros;             /* SPARSE: no zero grains, version 1 */
  unsigned threads;             /* STREAM: compress in that many; 0 = 1 */

  /* Creates the files; NULL = vd_file_create, or private ones if they are to
   * be like another.
   */
  struct vd_file *(*create) (const char *path, struct vd_err *err);
};

struct vd_create_result {
  uint64_t grain_size;
  uint64_t data_grains, zero_grains; /* passed in */
  uint64_t file_size;           /* bytes of all files made */
  uint32_t cid;
};

struct vd_create;

/* Check the options and create the temporary files.  `path` is the
 * descriptor's (COWD), or the only file's.  Errors: VD_USAGE for options that
 * make no sense, or when a file exists that would be replaced; VD_UNSUPPORTED
 * when the format cannot hold such a disk.
 */
extern struct vd_create *vd_create_open (const char *path,
                                         const struct vd_create_opts *opts,
                                         struct vd_err *err);

/* Add whole grains: offset is a multiple of the grain size, and so is n
 * unless the end is that of the disk.  Offsets rise; a range that is skipped
 * is the parent's.  After an error only vd_create_finish (which fails again)
 * and vd_create_abort make sense.
 */
extern int vd_create_data (struct vd_create *w, uint64_t offset,
                           const void *buf, size_t n, struct vd_err *err);
extern int vd_create_zero (struct vd_create *w, uint64_t offset,
                           uint64_t length, struct vd_err *err);

/* Complete the files and give them their names.  w is gone afterwards, in
 * any case; on error so are the files.  result may be NULL.
 */
extern int vd_create_finish (struct vd_create *w,
                             struct vd_create_result *result,
                             struct vd_err *err);

/* Remove the temporary files.  NULL is allowed. */
extern void vd_create_abort (struct vd_create *w);

extern uint64_t vd_create_grain_size (const struct vd_create *w);

/* The final names, while w lives: 0 is the file to open, 1 the extent of a
 * COWD link; NULL when there is no such file.
 */
extern const char *vd_create_path (const struct vd_create *w, unsigned i);

/* Write a descriptor for a raw disk (monolithicFlat), so that programs that
 * want a VMDK find a parent.  `extent` is the name of the raw file as seen from
 * the descriptor's directory; capacity is in whole sectors.  Written to a
 * temporary name first, as above, with the rights of the disk `raw`, if that is
 * a local file; an existing file is VD_USAGE.
 */
extern int vd_create_base_descriptor (const char *path, const char *extent,
                                      const struct vd_file *raw,
                                      uint64_t capacity, uint32_t *cid,
                                      struct vd_err *err);

#endif /* VD_CREATE_H */
