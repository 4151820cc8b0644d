/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A file for writing that only remembers what is done to it, and crashes of
 * the system: the file as it may be found when the power failed.
 */

#ifndef RECORD_H
#define RECORD_H

#include "unit.h"

/* Numbers below n, the same ones for the same seed. */
extern unsigned u_seed;
extern unsigned u_random (unsigned n);

/* For vd_write_opts.reopen. */
extern struct vd_file *u_record (void *opaque, const struct vd_file *f,
                                 struct vd_err *err);

/* How many writes, flushes, ... were recorded since u_forget. */
extern size_t u_nr_events;
extern void u_forget (void);

/* Write to the file `to` what `from` can be after the first n of them: all up
 * to the last flush, and of the rest any, in any order, in whole or in part.
 */
extern void u_crash (const char *from, const char *to, size_t n);

#endif /* RECORD_H */
