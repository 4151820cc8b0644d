/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VMware's machines as machines of any product; see machines.h. */

#include <stdlib.h>

#include "chain/beside.h"
#include "machine/machines.h"
#include "vmx/vmx.h"

/* Invariant: m->view are views.view, one for one. */
struct of_vmx {
  struct vd_vmx *vmx;
  struct vd_vmx_views views;
};

static int
vmx_open (struct vd_machine *m, struct vd_err *err)
{
  struct of_vmx *of = calloc (1, sizeof *of);
  size_t i;

  m->of = of;
  if (!of)
    return vd_fail_nomem (err);
  of->vmx = vd_vmx_open (m->path, m->family->opts, err);
  if (!of->vmx || vd_vmx_views (of->vmx, m->family, &of->views, err) == -1)
    return -1;
  m->view = calloc (of->views.n + 1, sizeof *m->view);
  if (!m->view)
    return vd_fail_nomem (err);
  m->name = of->vmx->name;
  m->n = of->views.n;
  for (i = 0; i < m->n; ++i) {
    const struct vd_vmx_view *v = &of->views.view[i];

    m->view[i] = (struct vd_machine_view) {
      .name = v->name, .disk = v->node, .file = v->file,
      .snapshot = v->snapshot ? v->snapshot->name : NULL,
      .time = v->snapshot ? v->snapshot->time : "", .current = v->current,
    };
  }
  return 0;
}

static void
vmx_free (struct vd_machine *m)
{
  struct of_vmx *of = m->of;

  if (!of)
    return;
  vd_vmx_views_free (&of->views);
  vd_vmx_free (of->vmx);
  free (of);
}

static struct vd_member *
vmx_member (const struct vd_machine *m, size_t i, struct vd_err *err)
{
  const struct of_vmx *of = m->of;
  const struct vd_vmx_view *v = &of->views.view[i];

  if (!v->member)
    *err = v->err;
  return v->member;
}

static ssize_t
vmx_find (const struct vd_machine *m, const char *name, struct vd_err *err)
{
  const struct of_vmx *of = m->of;
  const struct vd_vmx_view *v
    = vd_vmx_find_view (of->vmx, &of->views, name, err);

  return v ? v - of->views.view : -1;
}

/* A disk without a file is a view with an error. */
static int
vmx_trouble (const struct vd_machine *m, struct vd_err *err)
{
  (void) m, (void) err;
  return 0;
}

static int
vmx_check_off (const struct vd_machine *m, const struct vd_log *log,
               struct vd_err *err)
{
  const struct of_vmx *of = m->of;

  (void) log;
  return vd_vmx_check_off (of->vmx, err);
}

static void
vmx_warn_state (const struct vd_machine *m)
{
  const struct of_vmx *of = m->of;
  const struct vd_opts *opts = m->family->opts;
  size_t i;

  if (of->vmx->vmsd_err.code != VD_OK)
    vd_warn (&opts->log, "snapshots are called by their files: %s",
             of->vmx->vmsd_err.msg);
  if (of->vmx->lock)
    vd_warn (&opts->log, "%s: there is a lock %s: a machine that is running "
             "changes its disks while they are read; what its snapshots have "
             "frozen stays", m->path, of->vmx->lock);
  if (of->vmx->suspended)
    vd_warn (&opts->log, "the machine '%.100s' is suspended: some of what its "
             "guest wrote may be only in its saved memory", m->name);
  for (i = 0; i < m->n; ++i)
    if (of->views.view[i].current && of->views.view[i].member)
      vd_warn_beside (of->views.view[i].member->link, opts, false);
}

const struct vd_machine_kind vd_machine_vmx = {
  .suffix = ".vmx",
  .loose = "frozen in ",
  .probe = vd_vmx_probe,
  .open = vmx_open,
  .free = vmx_free,
  .member = vmx_member,
  .find = vmx_find,
  .trouble = vmx_trouble,
  .check_off = vmx_check_off,
  .warn_state = vmx_warn_state,
};
