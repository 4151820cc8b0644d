/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Opening the deltas; see deltas.h.
 *
 * The deltas given are stacked as they are given.  From the oldest one on,
 * parents are followed as long as they are deltas themselves.  The first one
 * that is not is the base: its place is taken by the export underneath, and
 * all that is used of it is its descriptor, to see whether the CIDs fit.
 */

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <nbdkit-filter.h>

#include "config.h"
#include "deltas.h"
#include "serve.h"

/* Is it a delta at all?  A disk that says it has no parent would hide the
 * base completely if its holes read as zeros, as they should.
 */
static int
check_role (struct vd_link *link, struct vd_err *err)
{
  if (link->role != VD_ROLE_BASE)
    return 0;
  if (config.allow_no_parent) {
    link->role = VD_ROLE_BARE;
    return 0;
  }
  return vd_fail (err, VD_USAGE,
                  "%s is not a delta: its descriptor says that it has no "
                  "parent (parentCID=ffffffff), so nothing would be seen of "
                  "the base.  Give the snapshot's file, or "
                  "delta-allow-no-parent=true to lay it over the base all "
                  "the same", link->path);
}

/* "vm-000002.vmdk": products name snapshots like that, and never a base. */
static bool
is_snapshot_name (const char *hint)
{
  const size_t n = strlen (hint);
  const char *p = hint + n - 12;
  size_t i;

  if (n < 12 || p[0] != '-' || strcasecmp (p + 7, ".vmdk") != 0)
    return false;
  for (i = 1; i < 7; ++i)
    if (!isdigit ((unsigned char) p[i]))
      return false;
  return true;
}

/* The parent of the oldest delta so far is not here.  If it is the base,
 * that is normal: the user has its content, not its descriptor.
 */
static int
parent_missing (const struct vd_link *link, struct vd_err *err)
{
  const char *hint = vd_link_hint (link);

  if (err->code != VD_NOT_FOUND && err->code != VD_DENIED)
    return -1;
  if (hint && is_snapshot_name (hint)) {
    vd_err_prefix (err, "the parent of %s is a snapshot too, and it is "
                   "missing (if the base already holds it, say "
                   "delta-follow=false): ", link->path);
    return -1;
  }
  fprintf (stderr, "nbdkit: vmdkdelta: warning: the export underneath is "
           "taken for the parent of %s, unchecked: %s\n", link->path,
           err->msg);
  return 0;
}

/* Follow parents from *oldest on, and move it down. */
static int
follow (struct deltas *d, const struct vd_member *newest,
        struct vd_member **oldest, struct vd_err *err)
{
  const struct vd_member *m;
  struct vd_member *parent;
  unsigned n;

  for (n = 1; ; ++n) {
    if (n > VD_MAX_LINKS)
      return vd_fail (err, VD_UNSUPPORTED,
                      "the chain of %s has more than %u links",
                      newest->link->path, VD_MAX_LINKS);
    if (vd_family_find_parent (d->family, *oldest, err) == -1)
      return parent_missing ((*oldest)->link, err);
    parent = (*oldest)->parent;
    if (!parent)
      return 0;
    for (m = newest; ; m = m->parent) {
      if (m == parent)
        return vd_fail (err, VD_CORRUPT,
                        "the chain loops: %s is its own ancestor (it is the "
                        "parent of %s)", parent->link->path,
                        (*oldest)->link->path);
      if (m == *oldest)
        break;
    }
    if (parent->link->role == VD_ROLE_BASE) {
      nbdkit_debug ("base %s: its place is taken by the export underneath",
                    parent->link->path);
      return vd_chain_check_pair ((*oldest)->link, parent->link, &d->opts,
                                  err);
    }
    *oldest = parent;
  }
}

static int
make_chain (struct deltas *d, const struct vd_member *newest,
            const struct vd_member *oldest, struct vd_err *err)
{
  struct vd_link *links[VD_MAX_LINKS];
  const struct vd_member *m;
  size_t n = 0, i;

  for (m = newest; ; m = m->parent) {
    if (n == VD_MAX_LINKS)
      return vd_fail (err, VD_UNSUPPORTED, "more than %u deltas",
                      VD_MAX_LINKS);
    links[VD_MAX_LINKS - ++n] = m->link;
    if (m == oldest)
      break;
  }
  for (i = VD_MAX_LINKS - n; i < VD_MAX_LINKS; ++i) {
    if (vd_link_load (links[i], &d->opts, err) == -1)
      return -1;
    nbdkit_debug ("delta %s: %s, %" PRIu64 " bytes, %zu extents, grain %"
                  PRIu64, links[i]->path, vd_link_format (links[i]),
                  links[i]->capacity, links[i]->nr_pieces,
                  vd_link_max_grain (links[i]));
  }
  d->chain = vd_chain_new (&links[VD_MAX_LINKS - n], n, &d->opts, err);
  if (!d->chain)
    return -1;
  d->reader = vd_reader_new (d->chain, config.cache_size, err);
  return d->reader ? 0 : -1;
}

int
deltas_open (struct deltas *d, struct vd_err *err)
{
  static char name[] = "vmdkdelta";
  struct vd_member *newest = NULL, *oldest = NULL, *m;
  size_t i;

  *d = (struct deltas) {
    .opts = {
      .log = { .fn = serve_log, .opaque = name },
      .allow_dirty = config.allow_dirty,
      .ignore_cid = config.ignore_cid,
      .unconfined = config.unconfined,
      .dirs = (const char *const *) config.dirs.path,
      .nr_dirs = config.dirs.n,
    },
  };
  d->family = vd_family_new (&d->opts, err);
  if (!d->family)
    return -1;

  for (i = 0; i < config.deltas.n; ++i, newest = m) {
    m = vd_family_add (d->family, config.deltas.path[i], err);
    if (!m || check_role (m->link, err) == -1)
      return -1;
    if (d->family->nr_members != i + 1)
      return vd_fail (err, VD_USAGE, "delta=%s is the same file as one given "
                      "before", config.deltas.path[i]);
    if (newest)
      vd_family_set_parent (m, newest);
    else
      oldest = m;
  }
  if (config.follow && follow (d, newest, &oldest, err) == -1)
    return -1;
  return make_chain (d, newest, oldest, err);
}

void
deltas_close (struct deltas *d)
{
  vd_reader_free (d->reader);
  vd_chain_free (d->chain);
  vd_family_free (d->family);
  *d = (struct deltas) { .reader = NULL };
}
