/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info of a VMware machine, for people. */

#include <string.h>

#include "machine.h"
#include "vmware.h"

/* ---- The machine -------------------------------------------------------- */

static void
put_machine (FILE *fp, const struct vmware *m)
{
  const struct vd_vmx *vmx = m->vmx;

  out_text (fp, m->path);
  fputs ("\n  kind           a VMware machine\n", fp);
  machine_line (fp, "name", vmx->name);
  if (*vmx->guest)
    machine_line (fp, "guest", vmx->guest);
  machine_line (fp, "state", vmx->suspended
                ? "suspended: some of what its guest wrote may be only in its "
                "memory" : vmx->lock ? "in use: there is a lock beside it"
                : "off, if it is not running on another host: there is no "
                "lock beside it");
  if (vmx->lock)
    machine_line (fp, "lock", vmx->lock);
  if (vmx->tracked)
    machine_line (fp, "tracking", "changed block tracking is on");
  if (vmx->vmsd_err.code != VD_OK)
    machine_line (fp, "no names", vmx->vmsd_err.msg);
}

/* ---- Disks -------------------------------------------------------------- */

/* Its files, newest first. */
static void
put_chain (FILE *fp, const struct vd_vmx_view *v)
{
  const struct vd_member *p = v->member;
  const unsigned links = p ? vd_member_depth (p) + 1 : 0;

  if (!p) {
    out_text (fp, v->file);
    fputs (", which cannot be read", fp);
    return;
  }
  if (links > 1)
    fprintf (fp, "a chain of %u files: ", links);
  for (; p; p = p->parent) {
    out_text (fp, base_name (p->link->path));
    if (p->parent)
      fputs (", ", fp);
  }
}

static void
put_disk (FILE *fp, const struct vmware *m, size_t i, unsigned width)
{
  const struct vd_vmx_view *v = &m->views.view[i];
  const struct vd_beside *b = &m->beside[i];
  char size[HUMAN_SIZE_MAX];

  machine_cell (fp, 2, v->node, width);
  fprintf (fp, "  %9s  ", v->member
           ? short_size (size, v->member->link->capacity) : "-");
  put_chain (fp, v);
  putc ('\n', fp);
  if (*v->disk->mode && strcmp (v->disk->mode, "persistent") != 0)
    machine_line (fp, "  mode", v->disk->mode);
  if (v->disk->tracked)
    machine_line (fp, "  tracking", "changed block tracking is on");
  if (b->lock)
    machine_line (fp, "  lock", b->lock);
  if (b->newer)
    machine_line (fp, "  newer", b->newer);
}

static void
put_disks (FILE *fp, const struct vmware *m)
{
  unsigned width = 10;
  size_t i;

  for (i = 0; i < m->views.n; ++i)
    width = machine_wider (width, 2, m->views.view[i].node);
  fputs ("Disks, as they are now, each with its files, newest first:\n", fp);
  for (i = 0; i < m->views.n; ++i)
    if (m->views.view[i].current)
      put_disk (fp, m, i, width);
  if (m->vmx->nr_disks == 0)
    fputs ("  none\n", fp);
}

/* ---- Files, with --chain ------------------------------------------------ */

static void
put_users (FILE *fp, const struct vmware *m, const struct vd_member *file)
{
  size_t i;
  unsigned n = 0;

  for (i = 0; i < m->views.n; ++i)
    if (m->views.view[i].member == file) {
      fputs (n++ > 0 ? ", " : "  ", fp);
      out_text (fp, m->views.view[i].name);
    }
}

static unsigned
indent_of (const struct vd_member *m)
{
  const unsigned depth = vd_member_depth (m);

  return 2 + (depth < 12 ? depth : 12);
}

static void
put_file (FILE *fp, const struct vmware *m, const struct facts *f,
          unsigned width)
{
  char size[2][HUMAN_SIZE_MAX];

  machine_cell (fp, indent_of (f->member),
                base_name (f->member->link->path), width);
  fprintf (fp, "  %-8s  %9s  %9s  %-10s", facts_format (f) ? facts_format (f)
           : "-", f->walked
           ? short_size (size[0], f->bytes[VD_WALK_DATA]
                         + f->bytes[VD_WALK_COMPRESSED]) : "-",
           f->walked ? short_size (size[1], f->bytes[VD_WALK_ZERO]) : "-",
           facts_state (f));
  put_users (fp, m, f->member);
  putc ('\n', fp);
}

/* The files that stand on parent, each with what stands on it.  A chain has
 * VD_MAX_LINKS at most.
 */
static void
put_files_on (FILE *fp, const struct vmware *m, const struct vd_member *parent,
              unsigned width)
{
  size_t i;

  for (i = 0; i < m->nr_files; ++i)
    if (m->facts[i].member->parent == parent) {
      put_file (fp, m, &m->facts[i], width);
      put_files_on (fp, m, m->facts[i].member, width);
    }
}

static void
put_files (FILE *fp, const struct vmware *m)
{
  unsigned width = 20;
  size_t i;

  for (i = 0; i < m->nr_files; ++i)
    width = machine_wider (width, indent_of (m->facts[i].member),
                           base_name (m->facts[i].member->link->path));
  fputs ("Files, each below its parent:\n", fp);
  machine_cell (fp, 2, "NAME", width);
  fprintf (fp, "  %-8s  %9s  %9s  %-10s  %s\n", "FORMAT", "ALLOCATED", "ZERO",
           "STATE", "OF");
  put_files_on (fp, m, NULL, width);
}

/* ---- Snapshots ---------------------------------------------------------- */

static void
put_now (FILE *fp, unsigned depth)
{
  fprintf (fp, "%*s(now)\n", (int) (2 + 2 * depth), "");
}

static void
put_snapshot (FILE *fp, const struct vd_vmx_snapshot *s, unsigned width)
{
  const unsigned indent = 2 + 2 * s->depth;

  machine_cell (fp, indent, s->name, width);
  fputs ("  ", fp);
  out_text (fp, *s->time ? s->time : "-");
  putc ('\n', fp);
  if (*s->description) {
    fprintf (fp, "%*s    ", (int) indent, "");
    out_text (fp, s->description);
    putc ('\n', fp);
  }
}

/* What is used now stands below its snapshot, after that one's children. */
static void
put_snapshots (FILE *fp, const struct vmware *m)
{
  const struct vd_vmx *vmx = m->vmx;
  unsigned width = 20;
  bool below = false;
  size_t i;

  for (i = 0; i < vmx->nr_snapshots; ++i)
    width = machine_wider (width, 2 + 2 * vmx->tree[i]->depth,
                           vmx->tree[i]->name);
  fputs ("Snapshots, each below its parent:\n", fp);
  for (i = 0; i < vmx->nr_snapshots; ++i) {
    if (below && vmx->tree[i]->depth <= m->here->depth) {
      put_now (fp, m->here->depth + 1);
      below = false;
    }
    put_snapshot (fp, vmx->tree[i], width);
    below = below || vmx->tree[i] == m->here;
  }
  if (below)
    put_now (fp, m->here->depth + 1);
  if (m->here && vmx->current && m->here != vmx->current) {
    fputs ("  (the .vmsd says that it is based on '", fp);
    out_text (fp, vmx->current->name);
    fputs ("': the descriptors decide)\n", fp);
  }
}

/* ---- What to do --------------------------------------------------------- */

static void
put_trouble (FILE *fp, const struct vmware *m)
{
  size_t i;

  for (i = 0; i < m->views.n; ++i)
    if (m->trouble[i].code != VD_OK) {
      fprintf (fp, "  %-14s ", m->trouble[i].code == VD_NOT_FOUND ? "missing"
               : "unreadable");
      out_text (fp, m->views.view[i].name);
      fputs (": ", fp);
      out_text (fp, m->trouble[i].msg);
      putc ('\n', fp);
    }
  for (i = 0; i < m->nr_files; ++i)
    if (m->facts[i].damage.code != VD_OK)
      machine_line (fp, "damaged", m->facts[i].damage.msg);
}

static void
put_next (FILE *fp, const struct vmware *m)
{
  const struct vd_vmx_view *old = NULL;
  struct vd_err ignored;
  size_t i;

  if (vmware_missing (m)) {
    fputs ("Next: copy the missing files there, or say where they are:\n", fp);
    out_command (fp, "vmdkdelta info --parent-path=DIR ", m->path, "");
    return;
  }
  if (!vmware_complete (m) || m->views.n == 0)
    return;
  for (i = 0; i < m->views.n && !old; ++i)
    if (m->views.view[i].snapshot)
      old = &m->views.view[i];
  if (vd_vmx_find_view (m->vmx, &m->views, "", &ignored)) {
    fputs ("Next, to read its disk as it is now:\n", fp);
    out_command (fp, "nbdcopy -- [ nbdkit vmdk file=", m->path, " ] out.raw");
    if (!old)
      return;
    fputs ("Or, as it was in a snapshot:\n", fp);
  }
  else
    fputs ("Next, to read one of these, by the name of its export:\n", fp);
  out_command (fp, "nbdkit vmdk file=", m->path, "");
  fputs ("    nbdinfo --list nbd://localhost\n", fp);
  machine_copy (fp, (old ? old : &m->views.view[0])->name);
}

void
text_vmware (FILE *fp, const struct vmware *m)
{
  put_machine (fp, m);
  put_disks (fp, m);
  if (m->facts)
    put_files (fp, m);
  if (m->vmx->nr_snapshots > 0)
    put_snapshots (fp, m);
  put_trouble (fp, m);
  put_next (fp, m);
}
