/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A few inflated grains, for reads smaller than a grain.
 *
 * Threads: any.  One lock, held while a grain is copied out or in, never
 * while it is read or inflated.
 */

#ifndef VD_GRAIN_CACHE_H
#define VD_GRAIN_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct vd_grains;

/* Keeps grains of up to max_grain bytes within about budget bytes. */
extern struct vd_grains *vd_grains_new (uint64_t budget, uint64_t max_grain,
                                        struct vd_err *err);
extern void vd_grains_free (struct vd_grains *g);

/* Copy n bytes from byte `skip` of the grain at this offset of this slot.
 * False when it is not kept.
 */
extern bool vd_grains_get (struct vd_grains *g, uint32_t slot, uint64_t grain,
                           size_t skip, void *buf, size_t n);

/* Keep a grain that was just inflated.  Failing to is not an error. */
extern void vd_grains_put (struct vd_grains *g, uint32_t slot, uint64_t grain,
                           const void *data, size_t size);

#endif /* VD_GRAIN_CACHE_H */
