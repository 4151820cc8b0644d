/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Whose rights a file gets that is made of a chain; see chain.h. */

#include <sys/stat.h>

#include "chain/chain.h"

/* Bits of the mode that let others do something. */
static int
openness (const struct vd_file *file)
{
  struct stat st;

  return fstat (vd_file_fd (file), &st) == -1 ? -1
    : !S_ISREG (st.st_mode) ? 0 : __builtin_popcount (st.st_mode & 077);
}

const struct vd_file *
vd_chain_strictest (const struct vd_chain *chain)
{
  const struct vd_file *best = NULL, *f;
  uint32_t i;

  for (i = 0; i < chain->nr_slots; ++i) {
    f = chain->slots[i].image->file;
    if (f && vd_file_fd (f) >= 0 && (!best || openness (f) < openness (best)))
      best = f;
  }
  return best;
}
