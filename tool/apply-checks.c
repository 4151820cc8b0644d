/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What is looked at before apply writes anything. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "undo.h"
#include "verb-apply.h"

static int
check_sizes (const struct apply *a, struct vd_err *err)
{
  const uint64_t want = a->deltas.chain->size, have = a->target.file->size;
  const struct vd_link *piece = vd_deltas_find_piece (&a->deltas, have);

  if (piece)
    return vd_fail (err, VD_USAGE, "%s describes %" PRIu64 " bytes and the "
                    "base has %" PRIu64 ": it is probably one piece of a split "
                    "disk; give the descriptor that names all pieces; nothing "
                    "was written", piece->path, piece->capacity, have);
  if (have < want)
    return vd_fail (err, VD_MISMATCH,
                    "%s has %" PRIu64 " bytes, but the delta %s is for a disk "
                    "of %" PRIu64 " bytes: it is not the right base, or its "
                    "copy is incomplete; nothing was written",
                    a->target_name, have, a->deltas.chain->links[0]->path,
                    want);
  if (have > want)
    apply_say (a, "%s is larger than the disk by %" PRIu64 " bytes; they "
               "stay as they are", a->target_name, have - want);
  return 0;
}

int
apply_check_space (struct apply *a, struct vd_err *err)
{
  uint64_t undo = 0;

  if (!a->target.is_nbd && !a->target.is_block) {
    if (vd_apply_new_space (a->deltas.chain, a->target.file,
                            target_block_size (a->target_name),
                            &a->new_space, err) == -1 ||
        vd_check_room (-1, a->target_name, a->new_space, "applying",
                            err) == -1)
      return -1;
  }
  /* One that is there from an earlier run has its space. */
  if (a->undo && access (a->undo, F_OK) == -1) {
    char *slash, *dir = strdup (a->undo);
    int r;

    if (!dir)
      return vd_fail_nomem (err);
    slash = strrchr (dir, '/');
    if (slash)
      slash[slash == dir] = '\0';
    r = undo_size (a->deltas.chain, &undo, err);
    if (r == 0)
      r = vd_check_room (-1, slash ? dir : ".", undo, "the undo file", err);
    free (dir);
    return r;
  }
  return 0;
}

int
apply_check (struct apply *a, struct vd_err *err)
{
  const struct vd_chain *chain = a->deltas.chain;

  return target_check_apart (&a->target, a->target_name, chain, err) == -1 ||
    apply_check_base (a, err) == -1 || check_sizes (a, err) == -1 ||
    target_validate (chain, a->trust_data, &a->opts, err) == -1 ? -1 : 0;
}
