/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A machine file as exports; see machine-exports.h.
 *
 * Invariant: the exports are e->machine->view, one for one and in that order.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine-exports.h"
#include "plugin-config.h"

/* What a client sees in a list of exports. */
static char *
describe (const struct vd_machine *m, const struct export *x,
          const struct vd_machine_view *v)
{
  const struct vd_link *link = x->member->link;
  char what[512], when[64], *text;

  vd_escape (what, sizeof what, v->snapshot ? v->snapshot
             : v->current ? v->disk : v->file);
  vd_escape (when, sizeof when, v->time);
  if (asprintf (&text, "%s%s%s%s%s, %s, depth %u, %" PRIu64 " bytes",
                v->snapshot ? "snapshot " : v->current ? "current state of "
                : m->kind->loose, what, *when ? " (" : "", when,
                *when ? ")" : "", vd_link_format (link),
                vd_member_depth (x->member), link->capacity) == -1)
    return NULL;
  return text;
}

/* One export.  Trouble with its files is kept in *first, if that is the first
 * one, and told to the client who asks for it.
 */
static int
add_export (struct exports *e, struct vd_err *first, struct vd_err *err)
{
  const struct vd_machine *m = e->machine;
  const struct vd_machine_view *v = &m->view[e->n];
  struct export *x = &e->export[e->n];

  *x = (struct export) { .name = strdup (v->name) };
  if (!x->name)
    return vd_fail (err, VD_NOMEM, "out of memory");
  x->member = vd_machine_member (m, e->n++, err);
  if (x->member)
    x->chain = vd_family_chain (e->family, x->member, err);
  if (x->chain) {
    x->description = describe (m, x, v);
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

/* What the machine uses now; what it had in its snapshots is only read.  It
 * must be off: else what its guest has in memory does not fit any more.
 */
static int
let_write (struct exports *e, struct vd_err *err)
{
  size_t i;

  if (vd_machine_check_off (e->machine, &e->opts.log, err) == -1)
    return -1;
  for (i = 0; i < e->n; ++i)
    e->export[i].may_write = e->machine->view[i].current;
  return 0;
}

int
machine_open (struct exports *e, const char *path, struct vd_err *err)
{
  struct vd_err first = { .code = VD_OK };
  struct vd_machine *m;
  size_t i, n = 0;

  if (e->opts.parent)
    return vd_fail (err, VD_USAGE, "%s says who the parents of its disks are: "
                    "parent=FILE has no meaning with a machine file", path);
  e->machine = m = vd_machine_open (path, e->family, err);
  if (!m)
    return -1;
  if (vd_machine_trouble (m, err) == -1) {
    if (m->n == 0)
      return -1;
    vd_warn (&e->opts.log, "not an export: %s", err->msg);
  }
  if (m->n == 0)
    return vd_fail (err, VD_NOT_FOUND, "%s: the machine '%.100s' has no disk",
                    path, m->name);
  e->export = calloc (m->n, sizeof *e->export);
  if (!e->export)
    return vd_fail (err, VD_NOMEM, "out of memory");
  for (i = 0; i < m->n; ++i) {
    if (add_export (e, &first, err) == -1)
      return -1;
    n += e->export[i].chain != NULL;
  }
  if (n == 0) {
    *err = first;
    return -1;
  }
  vd_machine_warn_state (m);
  e->dflt = machine_find (e, "", err);  /* several disks: none */
  return config.write ? let_write (e, err) : 0;
}

void
machine_close (struct exports *e)
{
  vd_machine_free (e->machine);
  e->machine = NULL;
}

struct export *
machine_find (struct exports *e, const char *name, struct vd_err *err)
{
  const struct vd_machine_view *v = vd_machine_find (e->machine, name, err);

  return v ? &e->export[v - e->machine->view] : NULL;
}
