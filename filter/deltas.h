/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The deltas that the user gave, and the parents that come along: opened
 * once for the process.
 */

#ifndef VMDKDELTA_DELTAS_H
#define VMDKDELTA_DELTAS_H

#include "vmdkdelta.h"

struct deltas {
  struct vd_opts opts;          /* borrowed by all below */
  struct vd_family *family;
  struct vd_chain *chain;       /* without the base */
  struct vd_reader *reader;
};

/* Fill *d from the configuration.  -1 after filling err; call deltas_close
 * in any case.
 */
extern int deltas_open (struct deltas *d, struct vd_err *err);

extern void deltas_close (struct deltas *d);

#endif /* VMDKDELTA_DELTAS_H */
