/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VirtualBox's machines as machines of any product; see machines.h. */

#include <stdlib.h>

#include "machine/machines.h"
#include "vbox/vbox.h"

/* Invariant: m->view are views.view, one for one. */
struct of_vbox {
  struct vd_vbox *box;
  struct vd_vbox_views views;
};

static int
vbox_open (struct vd_machine *m, struct vd_err *err)
{
  struct of_vbox *of = calloc (1, sizeof *of);
  size_t i;

  m->of = of;
  if (!of)
    return vd_fail_nomem (err);
  of->box = vd_vbox_open_whole (m->path, m->family->opts, err);
  if (!of->box || vd_vbox_views (of->box, &of->views, err) == -1)
    return -1;
  m->view = calloc (of->views.n + 1, sizeof *m->view);
  if (!m->view)
    return vd_fail_nomem (err);
  m->name = of->box->name;
  m->n = of->views.n;
  for (i = 0; i < m->n; ++i) {
    const struct vd_vbox_view *v = &of->views.view[i];

    m->view[i] = (struct vd_machine_view) {
      .name = v->name, .disk = v->disk_name,
      .snapshot = v->snapshot ? v->snapshot->name : NULL,
      .time = v->snapshot ? v->snapshot->time : "",
      .file = v->medium->location, .current = v->current,
    };
  }
  return 0;
}

static void
vbox_free (struct vd_machine *m)
{
  struct of_vbox *of = m->of;

  if (!of)
    return;
  vd_vbox_views_free (&of->views);
  vd_vbox_free (of->box);
  free (of);
}

static struct vd_member *
vbox_member (const struct vd_machine *m, size_t i, struct vd_err *err)
{
  const struct of_vbox *of = m->of;

  return vd_vbox_add_chain (of->box, of->views.view[i].medium, m->family,
                            err);
}

static ssize_t
vbox_find (const struct vd_machine *m, const char *name, struct vd_err *err)
{
  const struct of_vbox *of = m->of;
  const struct vd_vbox_view *v
    = vd_vbox_find_view (of->box, &of->views, name, err);

  return v ? v - of->views.view : -1;
}

static int
vbox_trouble (const struct vd_machine *m, struct vd_err *err)
{
  const struct of_vbox *of = m->of;

  return vd_vbox_check_registry (of->box, err);
}

static int
vbox_check_off (const struct vd_machine *m, const struct vd_log *log,
                struct vd_err *err)
{
  const struct of_vbox *of = m->of;

  return vd_vbox_check_off (of->box, log, err);
}

/* What the disks hold now may not be what the guest thinks it wrote. */
static void
vbox_warn_state (const struct vd_machine *m)
{
  const struct of_vbox *of = m->of;
  const struct vd_log *log = &m->family->opts->log;
  struct vd_err err;

  if (vd_vbox_check_off (of->box, log, &err) == -1)
    vd_warn (log, "the machine '%.100s' is in the Saved state: some of what "
             "its guest wrote may be only in its saved memory", m->name);
}

const struct vd_machine_kind vd_machine_vbox = {
  .suffix = ".vbox",
  .loose = "attached nowhere: ",
  .probe = vd_vbox_probe,
  .open = vbox_open,
  .free = vbox_free,
  .member = vbox_member,
  .find = vbox_find,
  .trouble = vbox_trouble,
  .check_off = vbox_check_off,
  .warn_state = vbox_warn_state,
};
