/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A VirtualBox machine file as exports; see machine.h.
 *
 * Invariant: the exports are e->views, one for one and in that order.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine-exports.h"
#include "plugin-config.h"

/* What a client sees in a list of exports. */
static char *
describe (const struct export *x, const struct vd_vbox_view *v)
{
  const struct vd_link *link = x->member->link;
  char what[512], when[64], *text;

  vd_escape (what, sizeof what, v->snapshot ? v->snapshot->name
             : v->medium->location);
  vd_escape (when, sizeof when, v->snapshot ? v->snapshot->time : "");
  if (asprintf (&text, "%s%s%s%s%s, %s, depth %u, %" PRIu64 " bytes",
                v->snapshot ? "snapshot " : v->current ? "current state of "
                : "attached nowhere: ", v->current ? v->disk_name : what,
                *when ? " (" : "", when, *when ? ")" : "",
                vd_link_format (link), vd_member_depth (x->member),
                link->capacity) == -1)
    return NULL;
  return text;
}

/* One export.  Trouble with its files is kept in *first, if that is the first
 * one, and told to the client who asks for it.
 */
static int
add_export (struct exports *e, const struct vd_vbox_view *v,
            struct vd_err *first, struct vd_err *err)
{
  struct export *x = &e->export[e->n];

  *x = (struct export) { .name = strdup (v->name) };
  if (!x->name)
    return vd_fail (err, VD_NOMEM, "out of memory");
  e->n++;
  x->member = vd_vbox_add_chain (e->box, v->medium, e->family, err);
  if (x->member)
    x->chain = vd_family_chain (e->family, x->member, err);
  if (x->chain) {
    x->description = describe (x, v);
    return x->description ? 0 : vd_fail (err, VD_NOMEM, "out of memory");
  }
  if (err->code == VD_NOMEM)
    return -1;
  if (first->code == VD_OK)
    *first = *err;
  vd_warn (&e->opts.log, "export %s cannot be opened: %s", x->name, err->msg);
  x->error = strdup (err->msg);
  return x->error ? 0 : vd_fail (err, VD_NOMEM, "out of memory");
}

/* What the disks hold now may not be what the guest thinks it wrote. */
static void
warn_of_state (const struct exports *e)
{
  struct vd_err err;

  if (vd_vbox_check_off (e->box, &e->opts.log, &err) == -1)
    vd_warn (&e->opts.log, "the machine '%.100s' is in the Saved state: some "
             "of what its guest wrote may be only in its saved memory",
             e->box->name);
}

/* What the machine uses now; what it had in its snapshots is only read.  It
 * must be off: else what its guest has in memory does not fit any more.
 */
static int
let_write (struct exports *e, struct vd_err *err)
{
  size_t i;

  if (vd_vbox_check_off (e->box, &e->opts.log, err) == -1)
    return -1;
  for (i = 0; i < e->n; ++i)
    e->export[i].may_write = e->views.view[i].current;
  return 0;
}

int
machine_open (struct exports *e, const char *path, struct vd_err *err)
{
  struct vd_err first = { .code = VD_OK };
  size_t i, n = 0;

  if (e->opts.parent)
    return vd_fail (err, VD_USAGE, "%s says who the parents of its disks are: "
                    "parent=FILE has no meaning with a machine file", path);
  e->box = vd_vbox_open (path, err);
  if (!e->box || vd_vbox_views (e->box, &e->views, err) == -1)
    return -1;
  if (vd_vbox_check_registry (e->box, err) == -1) {
    if (e->views.n == 0)
      return -1;
    vd_warn (&e->opts.log, "not an export: %s", err->msg);
  }
  if (e->views.n == 0)
    return vd_fail (err, VD_NOT_FOUND, "%s: the machine '%.100s' has no disk",
                    path, e->box->name);
  e->export = calloc (e->views.n, sizeof *e->export);
  if (!e->export)
    return vd_fail (err, VD_NOMEM, "out of memory");
  for (i = 0; i < e->views.n; ++i) {
    if (add_export (e, &e->views.view[i], &first, err) == -1)
      return -1;
    n += e->export[i].chain != NULL;
  }
  if (n == 0) {
    *err = first;
    return -1;
  }
  warn_of_state (e);
  e->dflt = machine_find (e, "", err);  /* several disks: none */
  return config.write ? let_write (e, err) : 0;
}

void
machine_close (struct exports *e)
{
  vd_vbox_views_free (&e->views);
  vd_vbox_free (e->box);
  e->box = NULL;
}

struct export *
machine_find (struct exports *e, const char *name, struct vd_err *err)
{
  const struct vd_vbox_view *v
    = vd_vbox_find_view (e->box, &e->views, name, err);

  return v ? &e->export[v - e->views.view] : NULL;
}
