/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding and reading what is noted of a target; see target-note.h. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "target-note.h"
#include "tool.h"

/* Does the descriptor beside a flat file describe just that file? */
static bool
is_own (const struct vd_link *link, const char *target)
{
  const struct vd_descriptor *d = link->descriptor;

  return d && d->has_cid && !link->embedded && d->nr_extents == 1 &&
    d->extents[0].type == VD_EXTENT_FLAT && d->extents[0].name &&
    strcmp (base_name (d->extents[0].name), base_name (target)) == 0;
}

int
target_note_own (struct target_note *n, const char *target_name,
                 struct vd_family *family, struct vd_err *err)
{
  struct vd_member *m;

  n->beside = target_descriptor (target_name);
  if (!n->beside)
    return 0;
  m = vd_family_add (family, n->beside, err);
  if (!m)
    return -1;
  n->own = m->link;
  n->is_own = is_own (m->link, target_name);
  n->own_path = n->is_own ? realpath (n->beside, NULL) : NULL;
  if (n->is_own && !n->own_path)
    return vd_fail_errno (err, errno, "%s", n->beside);
  return 0;
}

bool
target_note_ignored (const struct target_note *n, const struct vd_err *err)
{
  static const struct vd_log log = { .fn = tool_log };

  if (n->ignore)
    vd_warn (&log, "%s; going on as asked", err->msg);
  return n->ignore;
}

/* Where it is; that of a file may not be in two places, or one of them would
 * soon be wrong.
 */
static int
find_note (struct target_note *n, const char *target_name,
           const struct target *target, struct vd_err *err)
{
  CLEANUP_FREE char *usual = NULL;
  struct stat named, beside;

  if (!target->is_nbd && !target->is_block) {
    usual = vd_target_state_name (target_name, err);
    if (!usual)
      return -1;
  }
  if (!n->name) {
    n->path = VD_TAKE (usual);
    return 0;
  }
  n->path = strdup (n->name);
  if (!n->path)
    return vd_fail_nomem (err);
  if (!usual || stat (usual, &beside) == -1 ||
      (stat (n->name, &named) == 0 && named.st_ino == beside.st_ino &&
       named.st_dev == beside.st_dev))
    return 0;
  vd_fail (err, VD_USAGE, "what %s holds is noted in %s already: give no "
           "--state, or move that file to %s", target_name, usual, n->name);
  return target_note_ignored (n, err) ? 0 : -1;
}

int
target_note_read (struct target_note *n, const char *target_name,
                  const struct target *target, struct vd_err *err)
{
  if (find_note (n, target_name, target, err) == -1)
    return -1;
  if (!n->path || vd_target_state_read (n->path, &n->old, err) == 0)
    return 0;
  return target_note_ignored (n, err) ? 0 : -1;
}

/* The descriptor of a target follows it.  Another CID is somebody else's. */
int
target_note_check_own (const struct target_note *n, const char *target_name,
                       struct vd_err *err)
{
  const struct vd_target_state *old = n->old;
  const uint32_t cid = n->own->descriptor->cid;

  if (cid == old->to.cid ||
      (!old->finished && (cid == old->temp || cid == old->from.cid)))
    return 0;
  return vd_fail (err, VD_MISMATCH, "%s says that %s has content %08" PRIx32
                  " (its CID), but %08" PRIx32 " was noted when %s was "
                  "applied: it was changed, or replaced, by something else "
                  "(noted in %s; use --ignore-state to write anyway)",
                  n->own->path, target_name, cid, old->to.cid, old->delta,
                  old->path);
}

void
target_note_free (struct target_note *n)
{
  vd_target_state_free (n->old);
  free (n->own_path);
  free (n->beside);
  free (n->path);
}
