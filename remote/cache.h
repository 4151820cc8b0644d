/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Blocks of files that are far away, kept and read ahead.
 *
 * Every read goes through blocks.  Those that are missing are asked for
 * together: by the reader itself, and, once there may be threads, by these too,
 * so that several requests are under way.  Neighbours are read in one request,
 * over gaps which cost less than a round trip (as measured).  A file that is
 * read from start to end is read ahead.
 *
 * Invariants:
 * C1. A block is in the table of its file exactly while its data may be used:
 *     WANTED (nobody reads it yet), LOADING (one thread does), READY.
 * C2. A FAILED block is not in the table: who had it pinned gets the error, and
 *     who comes later reads again.
 * C3. Data is written by the thread that is LOADING it, and then never again.
 * C4. READY blocks without pins are dropped, the longest unused first, when all
 *     files together have more than the budget.
 * C5. Requests under way to one kind of host are never more than its limit.
 *
 * Threads: any number at once.
 */

#ifndef REMOTE_CACHE_H
#define REMOTE_CACHE_H

#include "vmdkdelta.h"

#define CACHE_BLOCK (size_t) (128u << 10)
#define CACHE_BUDGET (size_t) (64u << 20)

struct cache;

/* Files of a kind share a limit. */
#define CACHE_KINDS 3u

extern struct cache *cache_new (struct vd_err *err);
extern void cache_free (struct cache *c);
extern void cache_set_limit (struct cache *c, unsigned kind, unsigned limit);
extern void cache_start_threads (struct cache *c);

/* The file `below`, which is taken over also on error, read through the
 * cache.  request: the largest read, in bytes.
 */
extern struct vd_file *cache_file (struct cache *c, struct vd_file *below,
                                   unsigned kind, size_t request,
                                   struct vd_err *err);

#endif /* REMOTE_CACHE_H */
