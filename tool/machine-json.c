/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info --json of a VirtualBox machine.  The keys are documented in
 * vmdkdelta-info(1): programs depend on them.
 */

#include "machine.h"

static void
put_uuid (struct json *j, const char *key, const uint8_t *uuid)
{
  char text[VD_UUID_TEXT];

  json_string_or_null (j, key, uuid ? vd_uuid_text (text, uuid) : NULL);
}

/* What is attached in a state. */
static void
put_attached (struct json *j, const struct vd_vbox_state *state)
{
  size_t i;

  json_begin_array (j, "attached");
  for (i = 0; i < state->n; ++i) {
    const struct vd_vbox_attachment *a = &state->attached[i];

    json_begin_object (j, NULL);
    json_string (j, "controller", a->controller);
    json_u64 (j, "port", a->port);
    json_u64 (j, "device", a->device);
    put_uuid (j, "medium", a->uuid);
    json_bool (j, "registered", a->medium != NULL);
    json_end (j);
  }
  json_end (j);
}

static void
put_medium (struct json *j, const struct machine *m,
            const struct vd_vbox_medium *medium)
{
  const struct medium_facts *f = machine_facts (m, medium);
  const struct facts *g = &f->facts;
  const struct vd_err *why = !f->member ? &f->err
    : !f->has_facts ? NULL : !g->loaded ? &g->load_err
    : !g->walked ? &g->walk_err : g->damage.code != VD_OK ? &g->damage : NULL;

  json_begin_object (j, NULL);
  put_uuid (j, "uuid", medium->uuid);
  put_uuid (j, "parent", medium->parent ? medium->parent->uuid : NULL);
  json_string (j, "location", medium->location);
  json_string_or_null (j, "format", f->member && f->member->link->self
                       ? f->member->link->self->fmt->name : f->has_facts
                       ? facts_format (g) : NULL);
  json_string_or_null (j, "type", medium->type);
  json_bool (j, "encrypted", medium->encrypted);
  json_string_or_null (j, "file", f->member ? f->member->link->path : NULL);
  json_string (j, "state", !f->member ? "unreadable"
               : f->has_facts ? facts_state (g) : "found");
  json_string_or_null (j, "reason", why ? why->msg : NULL);
  json_u64_or_null (j, "virtual-size", f->member != NULL,
                    f->member ? f->member->link->capacity : 0);
  if (f->has_facts) {
    json_u64_or_null (j, "data", g->walked,
                      g->bytes[VD_WALK_DATA] + g->bytes[VD_WALK_COMPRESSED]);
    json_u64_or_null (j, "zero", g->walked, g->bytes[VD_WALK_ZERO]);
    json_u64_or_null (j, "unallocated", g->walked, g->bytes[VD_WALK_BASE]);
    json_u64_or_null (j, "damaged", g->walked, g->bytes[VD_WALK_DAMAGED]);
    json_u64_or_null (j, "file-size", g->loaded, g->files_size);
    json_u64_or_null (j, "disk-usage", g->loaded, g->files_usage);
  }
  json_end (j);
}

static void
put_snapshot (struct json *j, const struct vd_vbox_snapshot *s)
{
  json_begin_object (j, NULL);
  put_uuid (j, "uuid", s->uuid);
  put_uuid (j, "parent", s->parent ? s->parent->uuid : NULL);
  json_string (j, "name", s->name);
  json_string (j, "time", s->time);
  json_string_or_null (j, "description", s->description);
  json_string_or_null (j, "state-file", s->state_file);
  put_attached (j, &s->state);
  json_end (j);
}

static void
put_export (struct json *j, const struct vd_vbox_view *v)
{
  json_begin_object (j, NULL);
  json_string (j, "name", v->name);
  json_string (j, "disk", v->disk_name);
  put_uuid (j, "snapshot", v->snapshot ? v->snapshot->uuid : NULL);
  put_uuid (j, "medium", v->medium->uuid);
  json_bool (j, "current", v->current);
  json_end (j);
}

static void
put_machine (struct json *j, const struct machine *m)
{
  const struct vd_vbox *box = m->box;
  size_t i;

  json_string_or_null (j, "reason", m->foreign.code != VD_OK ? m->foreign.msg
                       : NULL);
  json_string (j, "role", "machine");
  json_string (j, "product", "VirtualBox");
  json_string (j, "name", box->name);
  put_uuid (j, "uuid", box->uuid);
  json_string (j, "settings-version", box->version);
  json_string_or_null (j, "registry",
                       box->registry ? box->registry->path : NULL);
  json_string (j, "power", machine_power (box));
  json_string (j, "last-change", box->last_change);
  json_string_or_null (j, "state-file", box->state_file);
  put_uuid (j, "current-snapshot", box->current_snapshot
            ? box->current_snapshot->uuid : NULL);
  json_bool (j, "current-state-modified", !box->unmodified);
  json_u64 (j, "files", m->total.files);
  json_u64 (j, "file-size", m->total.size);
  json_u64 (j, "disk-usage", m->total.usage);
  put_attached (j, &box->current);
  json_begin_array (j, "media");
  for (i = 0; i < box->nr_media; ++i)
    put_medium (j, m, &box->media[i]);
  json_end (j);
  json_begin_array (j, "snapshots");
  for (i = 0; i < box->nr_snapshots; ++i)
    put_snapshot (j, &box->snapshots[i]);
  json_end (j);
  json_begin_array (j, "exports");
  for (i = 0; i < m->views.n; ++i)
    put_export (j, &m->views.view[i]);
  json_end (j);
}

void
json_machine (struct json *j, const struct machine *m)
{
  json_begin_object (j, NULL);
  json_string (j, "file", m->path);
  if (!m->box) {
    json_string (j, "state", "unreadable");
    json_string (j, "reason", m->err.msg);
  }
  else {
    json_string (j, "state", machine_complete (m) ? "ok" : "incomplete");
    put_machine (j, m);
  }
  json_end (j);
}
