/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Machines of any product; see machines.h. */

#include <stdlib.h>

#include "machine/machines.h"

static const struct vd_machine_kind *const kinds[] = {
  &vd_machine_vmx, &vd_machine_vbox,
};
#define NR_KINDS (sizeof kinds / sizeof kinds[0])

static const struct vd_machine_kind *
kind_of (const char *path)
{
  size_t i;

  for (i = 0; i < NR_KINDS; ++i)
    if (kinds[i]->probe (path))
      return kinds[i];
  return NULL;
}

bool
vd_machine_probe (const char *path)
{
  return kind_of (path) != NULL;
}

struct vd_machine *
vd_machine_open (const char *path, struct vd_family *family,
                 struct vd_err *err)
{
  const struct vd_machine_kind *kind = kind_of (path);
  struct vd_machine *m;

  if (!kind) {
    vd_fail (err, VD_NOT_FORMAT, "%s is not a machine file", path);
    return NULL;
  }
  m = calloc (1, sizeof *m);
  if (!m) {
    vd_fail_nomem (err);
    return NULL;
  }
  *m = (struct vd_machine) { .kind = kind, .path = path, .family = family };
  if (kind->open (m, err) == 0)
    return m;
  vd_machine_free (m);
  return NULL;
}

void
vd_machine_free (struct vd_machine *m)
{
  if (!m)
    return;
  m->kind->free (m);
  free (m->view);
  free (m);
}

struct vd_member *
vd_machine_member (const struct vd_machine *m, size_t i, struct vd_err *err)
{
  return m->kind->member (m, i, err);
}

const struct vd_machine_view *
vd_machine_find (const struct vd_machine *m, const char *name,
                 struct vd_err *err)
{
  const ssize_t i = m->kind->find (m, name, err);

  return i == -1 ? NULL : &m->view[i];
}

int
vd_machine_trouble (const struct vd_machine *m, struct vd_err *err)
{
  return m->kind->trouble (m, err);
}

int
vd_machine_check_off (const struct vd_machine *m, const struct vd_log *log,
                      struct vd_err *err)
{
  return m->kind->check_off (m, log, err);
}

void
vd_machine_warn_state (const struct vd_machine *m)
{
  m->kind->warn_state (m);
}
