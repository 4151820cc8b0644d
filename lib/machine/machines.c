/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Machines of any product; see machines.h. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "file/scandir.h"
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

/* ---- In a directory ------------------------------------------------------- */

struct files_scan {
  const struct vd_machine_kind *kind;
  struct vd_machine_files *files;
};

static bool
is_called_so (const struct vd_machine_kind *kind, const char *name)
{
  const size_t n = strlen (name), m = strlen (kind->suffix);

  return n > m && strcasecmp (name + n - m, kind->suffix) == 0;
}

static int
try_machine (void *opaque, int dir, const char *name, const char *path,
             struct vd_err *err)
{
  const struct files_scan *s = opaque;
  char **p;
  size_t i;

  (void) dir;
  for (i = 0; i < NR_KINDS; ++i)
    if ((!s->kind || s->kind == kinds[i]) && is_called_so (kinds[i], name))
      break;
  if (i == NR_KINDS)
    return 0;
  p = vd_grow (s->files->path, s->files->n, sizeof *p, err);
  if (!p)
    return -1;
  s->files->path = p;
  p[s->files->n] = strdup (path);
  if (!p[s->files->n])
    return vd_fail_nomem (err);
  s->files->n++;
  return 0;
}

int
vd_machine_files (const char *dir, const struct vd_machine_kind *kind,
                  struct vd_machine_files *files, struct vd_err *err)
{
  struct files_scan s = { .kind = kind, .files = files };

  *files = (struct vd_machine_files) { .n = 0 };
  if (vd_scandir (dir, try_machine, &s, err) == 0)
    return 0;
  vd_machine_files_free (files);
  return -1;
}

void
vd_machine_files_free (struct vd_machine_files *files)
{
  while (files->n > 0)
    free (files->path[--files->n]);
  free (files->path);
  files->path = NULL;
}

/* ---- One of them ---------------------------------------------------------- */

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
