/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info --json of a VMware machine.  The keys are documented in
 * vmdkdelta-info(1): programs depend on them.
 */

#include "vmware.h"

static void
put_trouble (struct json *j, const struct vd_err *why)
{
  json_string (j, "state", why->code == VD_OK ? "ok"
               : why->code == VD_NOT_FOUND ? "missing" : "unreadable");
  json_string_or_null (j, "reason", why->code == VD_OK ? NULL : why->msg);
}

static void
put_disk (struct json *j, const struct vmware *m, size_t i)
{
  const struct vd_vmx_view *v = &m->views.view[i];
  const struct vd_member *p;

  json_begin_object (j, NULL);
  json_string (j, "node", v->node);
  json_string (j, "file", v->file);
  put_trouble (j, &m->trouble[i]);
  json_string_or_null (j, "mode", *v->disk->mode ? v->disk->mode : NULL);
  json_bool (j, "change-tracking", v->disk->tracked);
  json_u64_or_null (j, "virtual-size", v->member != NULL,
                    v->member ? v->member->link->capacity : 0);
  json_string_or_null (j, "lock", m->beside[i].lock);
  json_string_or_null (j, "newer", m->beside[i].newer);
  json_begin_array (j, "chain");
  for (p = v->member; p; p = p->parent)
    json_string (j, NULL, p->link->path);
  json_end (j);
  json_end (j);
}

static void
put_file (struct json *j, const struct facts *f)
{
  const struct vd_member *parent = f->member->parent;
  const struct vd_err *why = !f->loaded ? &f->load_err
    : !f->walked ? &f->walk_err : f->damage.code != VD_OK ? &f->damage : NULL;

  json_begin_object (j, NULL);
  json_string (j, "file", f->member->link->path);
  json_string_or_null (j, "parent", parent ? parent->link->path : NULL);
  json_string_or_null (j, "format", facts_format (f));
  json_string (j, "state", facts_state (f));
  json_string_or_null (j, "reason", why ? why->msg : NULL);
  json_u64_or_null (j, "data", f->walked, f->bytes[VD_WALK_DATA]
                    + f->bytes[VD_WALK_COMPRESSED]);
  json_u64_or_null (j, "zero", f->walked, f->bytes[VD_WALK_ZERO]);
  json_u64_or_null (j, "unallocated", f->walked, f->bytes[VD_WALK_BASE]);
  json_u64_or_null (j, "damaged", f->walked, f->bytes[VD_WALK_DAMAGED]);
  json_u64_or_null (j, "file-size", f->loaded, f->files_size);
  json_u64_or_null (j, "disk-usage", f->loaded, f->files_usage);
  json_end (j);
}

static void
put_snapshot (struct json *j, const struct vd_vmx_snapshot *s)
{
  size_t i;

  json_begin_object (j, NULL);
  json_u64 (j, "uid", s->uid);
  json_u64_or_null (j, "parent", s->parent != NULL,
                    s->parent ? s->parent->uid : 0);
  json_string (j, "name", s->name);
  json_string_or_null (j, "time", *s->time ? s->time : NULL);
  json_string_or_null (j, "description",
                       *s->description ? s->description : NULL);
  json_begin_array (j, "disks");
  for (i = 0; i < s->nr_disks; ++i) {
    json_begin_object (j, NULL);
    json_string (j, "node", s->disk[i].node);
    json_string (j, "file", s->disk[i].file);
    json_end (j);
  }
  json_end (j);
  json_end (j);
}

static void
put_export (struct json *j, const struct vmware *m, size_t i)
{
  const struct vd_vmx_view *v = &m->views.view[i];

  json_begin_object (j, NULL);
  json_string (j, "name", v->name);
  json_string (j, "disk", v->node);
  json_u64_or_null (j, "snapshot", v->snapshot != NULL,
                    v->snapshot ? v->snapshot->uid : 0);
  json_string (j, "file", v->member ? v->member->link->path : v->file);
  json_bool (j, "current", v->current);
  put_trouble (j, &m->trouble[i]);
  json_end (j);
}

static void
put_machine (struct json *j, const struct vmware *m)
{
  const struct vd_vmx *vmx = m->vmx;
  size_t i;

  json_string_or_null (j, "reason", vmx->vmsd_err.code == VD_OK ? NULL
                       : vmx->vmsd_err.msg);
  json_string (j, "role", "machine");
  json_string (j, "product", "VMware");
  json_string (j, "name", vmx->name);
  json_string_or_null (j, "guest", *vmx->guest ? vmx->guest : NULL);
  json_bool (j, "suspended", vmx->suspended);
  json_string_or_null (j, "lock", vmx->lock);
  json_bool (j, "change-tracking", vmx->tracked);
  json_u64_or_null (j, "current-snapshot", m->here != NULL,
                    m->here ? m->here->uid : 0);
  json_begin_array (j, "disks");
  for (i = 0; i < m->views.n; ++i)
    if (m->views.view[i].current)
      put_disk (j, m, i);
  json_end (j);
  if (m->facts) {
    json_begin_array (j, "files");
    for (i = 0; i < m->nr_files; ++i)
      put_file (j, &m->facts[i]);
    json_end (j);
  }
  json_begin_array (j, "snapshots");
  for (i = 0; i < vmx->nr_snapshots; ++i)
    put_snapshot (j, vmx->tree[i]);
  json_end (j);
  json_begin_array (j, "exports");
  for (i = 0; i < m->views.n; ++i)
    put_export (j, m, i);
  json_end (j);
}

void
json_vmware (struct json *j, const struct vmware *m)
{
  json_begin_object (j, NULL);
  json_string (j, "file", m->path);
  if (!m->vmx) {
    json_string (j, "state", "unreadable");
    json_string (j, "reason", m->err.msg);
  }
  else {
    json_string (j, "state", vmware_complete (m) ? "ok" : "incomplete");
    put_machine (j, m);
  }
  json_end (j);
}
