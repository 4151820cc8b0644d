/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info of a VirtualBox machine, for people. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

/* ---- The machine -------------------------------------------------------- */

static void
put_machine (FILE *fp, const struct machine *m)
{
  const struct vd_vbox *box = m->box;
  char text[VD_UUID_TEXT];

  out_text (fp, m->path);
  fputs ("\n  kind           a VirtualBox machine\n", fp);
  machine_line (fp, "name", box->name);
  machine_line (fp, "UUID", vd_uuid_text (text, box->uuid));
  machine_line (fp, "settings", box->version);
  if (box->registry)
    machine_line (fp, "registry", box->registry->path);
  machine_line (fp, "state", box->power == VD_VBOX_SAVED
                ? "saved: some of what its guest wrote may be only in its "
                "memory" : box->power == VD_VBOX_ABORTED
                ? "aborted: its disks are as after a power failure"
                : "off, if it is not running: this file does not show that");
  if (*box->last_change)
    machine_line (fp, "last change", box->last_change);
  if (m->total.files > 0) {
    fprintf (fp, "  %-14s ", "total");
    total_text (fp, &m->total);
  }
}

/* ---- Disks -------------------------------------------------------------- */

static const char *
format_of (const struct machine *m, const struct vd_vbox_medium *medium)
{
  const struct medium_facts *f = machine_facts (m, medium);
  const struct vd_member *member = f->member;

  if (f->has_facts)
    return facts_format (&f->facts);
  return member && member->link->self ? member->link->self->fmt->name
    : medium->format;
}

/* "sata-0-0" */
static void
put_slot (FILE *fp, const struct vd_vbox_attachment *a)
{
  out_text (fp, a->controller);
  fprintf (fp, "-%u-%u", a->port, a->device);
}

static void
put_disk (FILE *fp, const struct machine *m, const struct vd_vbox_view *v,
          unsigned width)
{
  const struct vd_member *member = machine_facts (m, v->medium)->member;
  char size[HUMAN_SIZE_MAX];
  const unsigned links = machine_links (v->medium);

  machine_cell (fp, 2, v->disk_name, width);
  fputs ("  ", fp);
  if (member)
    fprintf (fp, "%9s", short_size (size, member->link->capacity));
  else
    fputs ("        -", fp);
  fputs ("  ", fp);
  put_slot (fp, v->attachment);
  fprintf (fp, ", %s%u file%s: ", links > 1 ? "a chain of " : "", links,
           links > 1 ? "s" : "");
  out_text (fp, v->medium->location);
  putc ('\n', fp);
}

static void
put_disks (FILE *fp, const struct machine *m)
{
  unsigned width = 10;
  size_t i, n = 0;

  for (i = 0; i < m->views.n; ++i)
    width = machine_wider (width, 2, m->views.view[i].disk_name);
  fputs ("Disks, as they are now:\n", fp);
  for (i = 0; i < m->views.n; ++i)
    if (m->views.view[i].current) {
      put_disk (fp, m, &m->views.view[i], width);
      ++n;
    }
  if (n == 0)
    fputs ("  none\n", fp);
}

/* ---- Media, with --chain ------------------------------------------------ */

/* Which states use the medium: "now", names of snapshots. */
static void
put_users (FILE *fp, const struct machine *m,
           const struct vd_vbox_medium *medium)
{
  unsigned n = 0;
  size_t i;

  for (i = 0; i < m->views.n; ++i) {
    const struct vd_vbox_view *v = &m->views.view[i];

    if (v->medium != medium)
      continue;
    fputs (n++ > 0 ? ", " : "  ", fp);
    out_text (fp, v->current ? "now" : v->snapshot ? v->snapshot->name
              : "attached nowhere");
  }
}

static unsigned
indent_of (const struct vd_vbox_medium *medium)
{
  const unsigned depth = machine_links (medium) - 1;

  return 2 + (depth < 12 ? depth : 12);
}

static void
put_medium (FILE *fp, const struct machine *m,
            const struct vd_vbox_medium *medium, unsigned width)
{
  const struct medium_facts *f = machine_facts (m, medium);
  char size[2][HUMAN_SIZE_MAX];

  machine_cell (fp, indent_of (medium), base_name (medium->location), width);
  fprintf (fp, "  %-8s", format_of (m, medium));
  if (f->has_facts && f->facts.walked)
    fprintf (fp, "  %9s  %9s  %-10s",
             short_size (size[0], f->facts.bytes[VD_WALK_DATA]
                         + f->facts.bytes[VD_WALK_COMPRESSED]),
             short_size (size[1], f->facts.bytes[VD_WALK_ZERO]),
             facts_state (&f->facts));
  else
    fprintf (fp, "  %9s  %9s  %-10s", "-", "-",
             f->has_facts ? facts_state (&f->facts)
             : medium->encrypted ? "encrypted" : "unreadable");
  put_users (fp, m, medium);
  putc ('\n', fp);
}

static void
put_media (FILE *fp, const struct machine *m)
{
  const struct vd_vbox *box = m->box;
  unsigned width = 20;
  size_t i;

  for (i = 0; i < box->nr_media; ++i)
    width = machine_wider (width, indent_of (&box->media[i]),
                           base_name (box->media[i].location));
  fputs ("Files, each below its parent:\n", fp);
  machine_cell (fp, 2, "NAME", width);
  fprintf (fp, "  %-8s  %9s  %9s  %-10s  %s\n", "FORMAT", "ALLOCATED", "ZERO",
           "STATE", "OF");
  for (i = 0; i < box->nr_media; ++i)
    put_medium (fp, m, &box->media[i], width);
}

/* ---- Snapshots ---------------------------------------------------------- */

static void
put_now (FILE *fp, unsigned depth)
{
  fprintf (fp, "%*s(now)\n", (int) (2 + 2 * depth), "");
}

static void
put_snapshot (FILE *fp, const struct vd_vbox *box,
              const struct vd_vbox_snapshot *s, unsigned width)
{
  const unsigned indent = 2 + 2 * s->depth;

  machine_cell (fp, indent, s->name, width);
  fputs ("  ", fp);
  out_text (fp, *s->time ? s->time : "-");
  if (s == box->current_snapshot)
    fputs ("  current", fp);
  if (s->state_file)
    fputs ("  with memory", fp);
  putc ('\n', fp);
  if (s->description && *s->description) {
    fprintf (fp, "%*s    ", (int) indent, "");
    out_text (fp, s->description);
    putc ('\n', fp);
  }
}

/* The current state stands below the current snapshot, after its children. */
static void
put_snapshots (FILE *fp, const struct vd_vbox *box)
{
  const struct vd_vbox_snapshot *current = box->current_snapshot, *s;
  unsigned width = 20;
  bool below = false;
  size_t i;

  for (i = 0; i < box->nr_snapshots; ++i)
    width = machine_wider (width, 2 + 2 * box->snapshots[i].depth,
                           box->snapshots[i].name);
  fputs ("Snapshots, each below its parent:\n", fp);
  for (i = 0; i < box->nr_snapshots; ++i) {
    s = &box->snapshots[i];
    if (below && s->depth <= current->depth) {
      put_now (fp, current->depth + 1);
      below = false;
    }
    put_snapshot (fp, box, s, width);
    below = below || s == current;
  }
  if (below)
    put_now (fp, current->depth + 1);
}

/* ---- What to do --------------------------------------------------------- */

/* Every medium's trouble. */
static void
put_trouble (FILE *fp, const struct machine *m)
{
  size_t i;

  if (m->foreign.code != VD_OK)
    machine_line (fp, "not here", m->foreign.msg);
  for (i = 0; i < m->box->nr_media; ++i) {
    const struct medium_facts *f = &m->media[i];
    const struct facts *g = &f->facts;

    if (!f->member)
      machine_line (fp, m->box->media[i].encrypted ? "encrypted"
                    : "unreadable", f->err.msg);
    else if (f->has_facts && !facts_complete (g))
      machine_line (fp, "incomplete", g->loaded ? g->walk_err.msg
                    : g->load_err.msg);
    else if (f->has_facts && g->damage.code != VD_OK)
      machine_line (fp, "damaged", g->damage.msg);
  }
}

static bool
is_missing (const struct machine *m)
{
  size_t i;

  for (i = 0; i < m->box->nr_media; ++i)
    if (!m->media[i].member && (m->media[i].err.code == VD_NOT_FOUND ||
                                m->media[i].err.code == VD_DENIED))
      return true;
  return false;
}

/* A command on the machine, with the file that lists its media, if it has to be
 * named: by this option.
 */
static void
put_command (FILE *fp, const struct machine *m, const char *before,
             const char *option, const char *file, const char *after)
{
  fprintf (fp, "    %s", before);
  if (m->box->registry) {
    fputs (option, fp);
    out_shell (fp, m->box->registry->path);
    putc (' ', fp);
  }
  fputs (file, fp);
  out_shell (fp, m->path);
  fprintf (fp, "%s\n", after);
}

static void
put_next (FILE *fp, const struct machine *m)
{
  const struct vd_vbox_view *one = NULL, *old = NULL;
  struct vd_err err;
  size_t i;

  if (is_missing (m)) {
    fputs ("Next: copy the missing files there, or say where they are:\n", fp);
    out_command (fp, "vmdkdelta info --parent-path=DIR ", m->path, "");
    return;
  }
  if (!machine_complete (m) || m->views.n == 0)
    return;
  one = vd_vbox_find_view (m->box, &m->views, "", &err);
  for (i = 0; i < m->views.n && !old; ++i)
    if (m->views.view[i].snapshot)
      old = &m->views.view[i];
  if (one) {
    fputs ("Next, to read its disk as it is now:\n", fp);
    put_command (fp, m, "nbdcopy -- [ nbdkit vmdk ", "registry=", "file=",
                 " ] out.raw");
    if (!old)
      return;
  }
  fputs (one ? "Or, as it was in a snapshot:\n"
         : "Next, to read one of these, by the name of its export:\n", fp);
  put_command (fp, m, "nbdkit vmdk ", "registry=", "file=", "");
  fputs ("    nbdinfo --list nbd://localhost\n", fp);
  if (!one)
    machine_copy (fp, m->views.view[0].name);
  if (!old)
    return;
  machine_copy (fp, old->name);
  fputs ("Or, to merge its snapshots, first see what would be done:\n", fp);
  put_command (fp, m, "vmdkdelta merge --dry-run ", "--registry=", "", "");
}

void
text_machine (FILE *fp, const struct machine *m, bool chain)
{
  put_machine (fp, m);
  put_disks (fp, m);
  if (chain)
    put_media (fp, m);
  if (m->box->nr_snapshots > 0)
    put_snapshots (fp, m->box);
  put_trouble (fp, m);
  put_next (fp, m);
}
