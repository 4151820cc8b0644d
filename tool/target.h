/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a delta is applied to: a raw file, a block device, or an NBD export;
 * opened so that nobody else is using it, as far as that can be found out.
 */

#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>

#include "vmdkdelta.h"

struct target {
  struct vd_file *file;
  bool is_nbd;
  bool is_block;
  unsigned threads;             /* that make sense for it */
};

/* "[ COMMAND ... ]" at the end of n arguments: their number becomes what is in
 * front of it, and the command ends with NULL where the "]" was.  NULL: there
 * is none.
 */
extern char **target_command (char **argv, size_t *n);

/* Open for writing, or, for a dry run, look only.  Refused, before anything
 * is written:
 *
 *   - an image that is not raw, a descriptor, an archive: its bytes are not
 *     those of a disk (unless opts->raw_base);
 *   - a file with a .lck beside it (a VM of a hosted product is running), or
 *     locked by another program (QEMU locks its images), or attached to a
 *     loop device;
 *   - a device that is mounted or otherwise claimed.
 *
 * With a command, which serves the target while it is used, `name` is for
 * messages.
 *
 * A lock that keeps others out is held until target_close.
 */
extern int target_open (struct target *target, const char *name, bool write,
                        char *const *command, unsigned threads,
                        const struct vd_opts *opts, struct vd_err *err);

extern void target_close (struct target *target);

/* None of the files that are read may be the target, or be written by another
 * program: what was validated would not be what is read.
 */
extern int target_check_apart (const struct target *target, const char *name,
                               const struct vd_chain *chain,
                               struct vd_err *err);

/* The whole of every link, before anything is written. */
extern int target_validate (const struct vd_chain *chain, bool trust_data,
                            const struct vd_opts *opts, struct vd_err *err);

/* For NAME-flat.vmdk: NAME.vmdk beside it, if there is one.  To be freed;
 * NULL if not.
 */
extern char *target_descriptor (const char *name);

/* The block size of the file system of a local file, or 512. */
extern uint64_t target_block_size (const char *path);

#endif /* TARGET_H */
