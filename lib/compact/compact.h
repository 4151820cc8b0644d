/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Giving back space: that of stored zeros, and that of unused places.
 *
 * A link reads the same before and after, and has the same identity (UUIDs,
 * CID): its children stay valid.  But for what is free in the file systems on it,
 * if that is asked for (free_space): whole units of it become zeros.  That is
 * done to a base on which no image stands, so that nobody who reads them is
 * surprised, and only if every file system on it is clean (guest.h).
 *
 *   VDI, KDMV   In place: blocks and grains of zeros become entries that say
 *               so; then the last stored ones are moved into the gaps, and the
 *               file is cut.  Or a new file, which is dense and in the order
 *               of the disk.
 *   FLAT        Holes are punched where the file has zeros; its size stays.
 *   the rest    (streams, COWD, SEsparse) refused, with advice.
 *
 * The entry for zeros is "not stored" in a base.  In a child that would show
 * the parent, so there it is VDI's zero entry, or KDMV's if the header has the
 * flag for it.  Without the flag the grain stays stored, because old readers
 * would not know the entry, but as a hole in the file.  A VDI of the type
 * "fixed" also keeps its blocks, as holes.
 *
 * Crash safety, in place.  At every moment each entry on the disk names a
 * place whose content is on the disk:
 *
 *   1. KDMV: the header is marked as not closed; flush
 *   2. entries of zeros are written; flush.  Only now are their places free
 *   3. some blocks are copied into free places; flush; their entries are
 *      changed (the redundant table first); flush; the old places are punched.
 *      Again until nothing is left behind the end
 *   4. VDI: the number of stored blocks; flush; the file is cut; flush; KDMV:
 *      the mark is taken away; flush
 *
 * An interrupted run leaves an image that reads as before, and can be repeated.
 * Space needed meanwhile: at most what is moved at a time (VD_COMPACT_BATCH),
 * and only if data moves into holes of the file.  Memory: two bits for each
 * block or grain that the file has room for.
 *
 * A new file gets its name after it is complete, flushed, read back and
 * compared.  It needs at most size_after bytes.
 */

#ifndef VD_COMPACT_H
#define VD_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

#include "chain/link.h"
#include "file/file.h"
#include "guest/guest.h"

#define VD_COMPACT_BATCH (UINT64_C (64) << 20)

enum vd_compact_free {
  VD_FREE_KEPT,
  VD_FREE_FILES,                /* what file systems say is free */
  VD_FREE_SWAP,                 /* and swap space */
};

enum vd_compact_phase {
  VD_COMPACT_LOOK,              /* reading, for zeros */
  VD_COMPACT_MOVE,              /* moving, or writing the new file */
  VD_COMPACT_VERIFY,            /* reading the new file back */
};

struct vd_compact_opts {
  /* Do everything but write. */
  bool dry_run;

  /* Take a KDMV file that its writer did not close.  (One that a compaction
   * was cut off in is taken anyway.)
   */
  bool allow_unclean;

  /* It must be this very link (its files may have been replaced since it was
   * opened), or NULL.
   */
  const struct vd_link *same;

  /* What the guest does not use is zeros too.  found is called for each
   * partition when all are known, before anything is written; may be NULL.
   */
  enum vd_compact_free free_space;
  void (*found) (void *opaque, const struct vd_guest_part *part);

  /* So much is moved at a time; 0: VD_COMPACT_BATCH. */
  uint64_t batch;

  /* Called regularly, with the bytes done and the total of this phase; may be
   * NULL.  If it does not return 0 the work stops, and fails with VD_USAGE;
   * what is done stays done.
   */
  int (*progress) (void *opaque, enum vd_compact_phase phase, uint64_t done,
                   uint64_t total);
  void *opaque;
};

/* What was, or with dry_run would be.  All in bytes, summed over the files of
 * the link.
 */
struct vd_compact_result {
  uint64_t looked;              /* stored, and looked at */
  uint64_t zeros;               /* blocks, grains or runs of zeros that were
                                   stored and took space: given back */
  uint64_t free;                /* stored, and free in the guest: given back */
  uint64_t kept;                /* zeros that stay stored, since the format
                                   has no other way to say it; as holes */
  uint64_t unused;              /* places in the file that nothing used */
  uint64_t moved;               /* in place: copied inside of the file */
  uint64_t stuck;               /* in place: free places that stay in the file,
                                   as holes, because of what lies behind */
  uint64_t size_before, size_after;           /* of the files */
  uint64_t allocated_before, allocated_after; /* on their file system; with
                                                 dry_run after = before */
  bool changed;                 /* anything was (would be) written */
};

/* Compact the disk `path` (a descriptor, or a file that needs none) in place.
 * It is refused while it is in use (inuse.h), and locked.  Before anything is
 * written all of it is checked, as vd_check_link does it, and all zeros are
 * found.
 *
 * VD_UNSUPPORTED: an extent of a format that cannot be compacted.
 */
extern int vd_compact_in_place (const char *path, const struct vd_opts *opts,
                                const struct vd_compact_opts *how,
                                struct vd_compact_result *result,
                                struct vd_err *err);

/* The same for a raw file, which is no link: holes are punched. */
extern int vd_compact_raw (const char *path,
                           const struct vd_compact_opts *how,
                           struct vd_compact_result *result,
                           struct vd_err *err);

/* Write a disk of one VDI or KDMV file densely, in the order of the disk, to
 * the new file `to`, which may not exist yet.  The old one is not changed.
 * This one may be unclean, and have redundant tables that differ.
 */
extern int vd_compact_copy (const char *path, const char *to,
                            const struct vd_opts *opts,
                            const struct vd_compact_opts *how,
                            struct vd_compact_result *result,
                            struct vd_err *err);

/* ---- What vd_compact_in_place is made of -------------------------------- */

/* The extents of a loaded link.  files[i] is that of link->pieces[i], opened
 * for writing by the caller (vd_link_files_open), who has made sure that nobody
 * else uses it (NULL for a ZERO extent; with dry_run one opened for reading
 * will do).
 *
 * The link is stale afterwards, also on error: close it and open it again.
 */
extern int vd_compact (struct vd_link *link, struct vd_file *const *files,
                       const struct vd_compact_opts *opts,
                       struct vd_compact_result *result, struct vd_err *err);

/* vd_compact_raw, of an open file. */
extern int vd_compact_file (struct vd_file *file,
                            const struct vd_compact_opts *opts,
                            struct vd_compact_result *result,
                            struct vd_err *err);

#endif /* VD_COMPACT_H */
