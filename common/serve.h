/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the filter and the plugin do alike with nbdkit: report, describe. */

#ifndef COMMON_SERVE_H
#define COMMON_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmdkdelta.h"

struct nbdkit_extents;
struct paths;

/* What is done before anything is opened; name is the module's. */
extern void serve_begin (char *name);

/* Let opts open URIs, with parameters of the connections ("key=value"). */
extern int serve_remote (struct vd_opts *opts, const struct paths *params,
                         struct vd_err *err);

/* Behind the fork; and after all files were closed. */
extern void serve_remote_start (void);
extern void serve_remote_end (void);

/* write-to= names a file that is made: here. */
extern int serve_check_local (const char *key, const char *path,
                              struct vd_err *err);

/* A vd_log function for the time when images are opened: warnings go to
 * stderr, which is the user's then; opaque is the module's name.
 */
extern void serve_log (void *opaque, enum vd_level level, const char *msg);

/* Report a failed data request.  A damaged disk can make every request fail;
 * syslog gets the first ones only.  Returns the errno for the client.
 */
extern int serve_failed (const struct vd_err *err);

/* Read a range for the sake of the caches on the way.  nbdkit can do that for
 * us (NBDKIT_CACHE_EMULATE), but reads into one buffer for all threads, in which
 * nothing can be inflated.
 */
extern int serve_cache (struct vd_reader *reader, const struct vd_base *base,
                        uint32_t count, uint64_t offset, struct vd_err *err);

/* Describe [offset, offset+count) of the disk to nbdkit. */
extern int serve_extents (struct vd_reader *reader,
                          const struct vd_base *base, uint32_t count,
                          uint64_t offset, uint32_t flags,
                          struct nbdkit_extents *extents,
                          struct vd_err *err);

/* For the debug flag "map": say how a read is put together. */
extern void serve_debug_map (struct vd_reader *reader, uint32_t count,
                             uint64_t offset);

/* The block size that suits the grains of a chain: a power of two from 4 KiB
 * to 32 MiB (nbdkit's limit).
 */
extern uint32_t serve_preferred_block (const struct vd_chain *chain);

/* Print NAME_version and NAME_formats for --dump-plugin. */
extern void serve_dump (const char *name);

#endif /* COMMON_SERVE_H */
