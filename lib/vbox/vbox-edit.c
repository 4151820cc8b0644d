/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The text of a VirtualBox machine file after changes; see vbox-edit.h.
 *
 * An element that goes is cut out together with the white space in front of
 * it, except for those of its children that stay, which keep theirs: so they
 * are, byte for byte, what they were, and stand where their parent stood.
 */

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "vbox/vbox-plan.h"
#include "vbox/vbox-splice.h"

struct edit {
  const struct vd_vbox *box;
  const struct vd_xml *xml;
  struct vd_vbox_plan plan;
  struct vd_splice splice;
};

/* ---- Media -------------------------------------------------------------- */

/* Cut a medium from the registry; its children stay there. */
static void
cut_medium (struct edit *e, const struct vd_vbox_medium *m)
{
  CLEANUP_FREE size_t *keep = calloc (m->nr_children + 1, sizeof *keep);
  size_t n = 0, i;

  if (!keep) {
    e->splice.failed = true;
    return;
  }
  for (i = 0; i < e->box->nr_media; ++i)
    if (e->box->media[i].parent == m)
      keep[n++] = e->box->media[i].element;
  vd_splice_cut_around (&e->splice, m->element, keep, n);
}

static void
edit_medium (struct edit *e, const struct vd_vbox_medium *m)
{
  const struct vd_vbox_change *move = vd_plan_moved (&e->plan, m->uuid);

  if (!vd_plan_medium_stays (&e->plan, m)) {
    cut_medium (e, m);
    return;
  }
  /* A child that becomes a base: only those have a type. */
  if (m->parent && !vd_plan_medium_parent (&e->plan, m) && !m->type) {
    const char *type = vd_vbox_disk (m)->type;

    vd_splice_set (&e->splice, m->element, "type", type ? type : "Normal");
  }
  if (move)
    vd_splice_set (&e->splice, m->element, "location", move->location);
  if (move && move->format)
    vd_splice_set (&e->splice, m->element, "format", move->format);
}

/* The element of a new medium, with those that are added to it, each of them
 * further down in the list of changes.
 */
static void
print_medium (FILE *fp, const struct edit *e, const struct vd_vbox_change *c,
              const char *indent, unsigned depth)
{
  CLEANUP_FREE char *location = vd_splice_escape (c->location);
  CLEANUP_FREE char *format = vd_splice_escape (c->format);
  const struct vd_vbox_change *d, *end = e->plan.change + e->plan.n;
  struct vd_braced b;
  bool open = false;

  fprintf (fp, "<HardDisk uuid=\"%s\" location=\"%s\" format=\"%s\"%s%s",
           vd_braced (&b, c->uuid), location ? location : "",
           format ? format : "", c->auto_reset ? " autoReset=\"true\"" : "",
           vd_uuid_is_null (c->to) ? " type=\"Normal\"" : "");
  for (d = c + 1; d < end; ++d) {
    if (d->kind != VD_VBOX_ADD_MEDIUM || memcmp (d->to, c->uuid, 16) != 0)
      continue;
    fprintf (fp, "%s\n%s%*s", open ? "" : ">", indent, (int) (2 * depth), "");
    print_medium (fp, e, d, indent, depth + 1);
    open = true;
  }
  if (open)
    fprintf (fp, "\n%s%*s</HardDisk>", indent, (int) (2 * depth - 2), "");
  else
    fputs ("/>", fp);
}

/* Text that print makes, or NULL. */
static char *
medium_text (const struct edit *e, const struct vd_vbox_change *c,
             size_t parent)
{
  CLEANUP_FREE char *indent = vd_splice_indent (&e->splice, parent);
  char *text = NULL;
  size_t len;
  FILE *fp = indent ? open_memstream (&text, &len) : NULL;
  bool failed;

  if (!fp)
    return NULL;
  print_medium (fp, e, c, indent, 2);
  failed = ferror (fp) != 0;
  if (fclose (fp) == EOF || failed)
    free (VD_TAKE (text));
  return text;
}

/* All new media that belong directly into this element. */
static void
add_media (struct edit *e, size_t element, const uint8_t parent[16])
{
  bool opened = false;
  size_t i;

  for (i = 0; i < e->plan.n; ++i) {
    const struct vd_vbox_change *c = &e->plan.change[i];

    if (c->kind == VD_VBOX_ADD_MEDIUM && memcmp (c->to, parent, 16) == 0)
      vd_splice_append (&e->splice, element, medium_text (e, c, element),
                        &opened);
  }
  vd_splice_close_empty (&e->splice, element, opened);
}

/* The registry's HardDisks, or VD_XML_NONE. */
static size_t
hard_disks (const struct edit *e)
{
  const size_t machine = vd_vbox_machine (e->box);
  const size_t registry
    = vd_xml_child (e->xml, machine, machine + 1, "MediaRegistry");

  return registry == VD_XML_NONE ? VD_XML_NONE
    : vd_xml_child (e->xml, registry, registry + 1, "HardDisks");
}

static int
edit_media (struct edit *e, struct vd_err *err)
{
  static const uint8_t none[16];
  const struct vd_vbox *box = e->box;
  const size_t top = hard_disks (e);
  size_t i;

  for (i = 0; i < e->plan.n; ++i)
    if (e->plan.change[i].kind == VD_VBOX_ADD_MEDIUM && top == VD_XML_NONE &&
        !vd_plan_is_foreign (&e->plan, e->plan.change[i].uuid))
      return vd_fail (err, VD_USAGE, "%s has no media registry of its own to "
                      "which a medium could be added", box->path);
  for (i = 0; i < box->nr_media; ++i) {
    if (box->media[i].foreign)  /* it is not in this text */
      continue;
    edit_medium (e, &box->media[i]);
    if (vd_plan_medium_stays (&e->plan, &box->media[i]))
      add_media (e, box->media[i].element, box->media[i].uuid);
  }
  if (top != VD_XML_NONE)
    add_media (e, top, none);
  return 0;
}

/* ---- States ------------------------------------------------------------- */

static void
edit_state (struct edit *e, const struct vd_vbox_snapshot *s)
{
  const struct vd_vbox_state *state = vd_vbox_state (e->box, s);
  struct vd_braced b;
  size_t i;

  for (i = 0; i < state->n; ++i) {
    const struct vd_vbox_attachment *a = &state->attached[i];
    const struct vd_vbox_change *c = vd_plan_change_of (&e->plan, s, a);

    if (c && c->kind == VD_VBOX_DETACH)
      vd_splice_cut_around (&e->splice, a->element, NULL, 0);
    else if (c)
      vd_splice_set (&e->splice,
                     vd_xml_child (e->xml, a->element, a->element + 1,
                                   "Image"), "uuid", vd_braced (&b, c->to));
  }
}

/* ---- Snapshots ---------------------------------------------------------- */

static void
cut_snapshot (struct edit *e, const struct vd_vbox_snapshot *s)
{
  CLEANUP_FREE size_t *keep
    = calloc (e->box->nr_snapshots + 1, sizeof *keep);
  size_t n = 0, i;

  if (!keep) {
    e->splice.failed = true;
    return;
  }
  for (i = 0; i < e->box->nr_snapshots; ++i)
    if (e->box->snapshots[i].parent == s)
      keep[n++] = e->box->snapshots[i].element;
  vd_splice_cut_around (&e->splice, s->element, keep, n);
}

static size_t
wrapper_of (const struct edit *e, const struct vd_vbox_snapshot *s)
{
  return vd_xml_child (e->xml, s->element, s->element + 1, "Snapshots");
}

/* A snapshot that stays, but no snapshot stays below it: its <Snapshots> goes
 * too, unless the new one comes there.
 */
static void
cut_wrapper (struct edit *e, const struct vd_vbox_snapshot *s)
{
  const struct vd_vbox *box = e->box;
  size_t i, wrapper = wrapper_of (e, s);
  bool had = false;

  if (e->plan.new_snapshot && e->plan.current == s)
    return;
  for (i = 0; i < box->nr_snapshots; ++i) {
    const struct vd_vbox_snapshot *t = &box->snapshots[i];

    had = had || t->parent == s;
    if (vd_plan_snapshot_stays (&e->plan, t) &&
        vd_plan_snapshot_parent (&e->plan, t) == s)
      return;
  }
  if (had && wrapper != VD_XML_NONE)
    vd_splice_cut_around (&e->splice, wrapper, NULL, 0);
}

/* What of a machine is copied to a snapshot of it. */
static void
print_state (FILE *fp, const struct edit *e, const char *indent)
{
  static const char *const parts[] = {
    "Hardware", "StorageControllers", "Debugging", "Autostart",
  };
  const size_t machine = vd_vbox_machine (e->box);
  size_t i, k;

  for (i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
    k = vd_xml_child (e->xml, machine, machine + 1, parts[i]);
    if (k != VD_XML_NONE)
      fprintf (fp, "\n%s  %.*s", indent, (int) (e->xml->element[k].end
               - e->xml->element[k].start), e->box->text
               + e->xml->element[k].start);
  }
}

/* The new snapshot's element; indent is that of its line. */
static char *
snapshot_text (const struct edit *e, const char *indent)
{
  const struct vd_vbox_change *c = e->plan.new_snapshot;
  CLEANUP_FREE char *name = vd_splice_escape (c->name);
  CLEANUP_FREE char *when = vd_splice_escape (c->time);
  char *text = NULL;
  struct vd_braced b;
  size_t len;
  FILE *fp = name && when ? open_memstream (&text, &len) : NULL;
  bool failed;

  if (!fp)
    return NULL;
  fprintf (fp, "<Snapshot uuid=\"%s\" name=\"%s\" timeStamp=\"%s\">",
           vd_braced (&b, c->uuid), name, when);
  print_state (fp, e, indent);
  fprintf (fp, "\n%s</Snapshot>", indent);
  failed = ferror (fp) != 0;
  if (fclose (fp) == EOF || failed)
    free (VD_TAKE (text));
  return text;
}

/* In front of the current state, which every machine has. */
static int
add_first_snapshot (struct edit *e, struct vd_err *err)
{
  const size_t machine = vd_vbox_machine (e->box);
  const size_t hardware
    = vd_xml_child (e->xml, machine, machine + 1, "Hardware");
  CLEANUP_FREE char *indent = NULL, *body = NULL;
  char *text;

  if (hardware == VD_XML_NONE)
    return vd_fail (err, VD_CORRUPT, "%s: the machine has no Hardware",
                    e->box->path);
  indent = vd_splice_indent (&e->splice, hardware);
  body = indent ? snapshot_text (e, indent) : NULL;
  if (!body || asprintf (&text, "\n%s%s", indent, body) == -1)
    text = NULL;
  vd_splice_insert (&e->splice, vd_splice_start (&e->splice, hardware), text);
  return 0;
}

static void
add_snapshot (struct edit *e, const struct vd_vbox_snapshot *parent)
{
  const size_t wrapper = wrapper_of (e, parent);
  const size_t into = wrapper == VD_XML_NONE ? parent->element : wrapper;
  CLEANUP_FREE char *outer = vd_splice_indent (&e->splice, into);
  CLEANUP_FREE char *indent = NULL;
  char *text, *wrapped = NULL;
  bool opened = false;

  if (!outer || asprintf (&indent, "%s  %s", outer,
                          wrapper == VD_XML_NONE ? "  " : "") == -1) {
    indent = NULL;
    e->splice.failed = true;
    return;
  }
  text = snapshot_text (e, indent);
  if (wrapper == VD_XML_NONE && text) {
    if (asprintf (&wrapped, "<Snapshots>\n%s%s\n%s  </Snapshots>", indent,
                  text, outer) == -1)
      wrapped = NULL;
    free (text);
    text = wrapped;
  }
  vd_splice_append (&e->splice, into, text, &opened);
  vd_splice_close_empty (&e->splice, into, opened);
}

static int
edit_snapshots (struct edit *e, struct vd_err *err)
{
  const struct vd_vbox *box = e->box;
  const struct vd_vbox_change *fresh = e->plan.new_snapshot;
  const size_t machine = vd_vbox_machine (box);
  const bool modified = vd_xml_attr (e->xml, machine, "currentStateModified");
  struct vd_braced b;
  size_t i;

  for (i = 0; i < box->nr_snapshots; ++i) {
    const struct vd_vbox_snapshot *s = &box->snapshots[i];

    if (!vd_plan_snapshot_stays (&e->plan, s))
      cut_snapshot (e, s);
    else {
      edit_state (e, s);
      cut_wrapper (e, s);
    }
  }
  if (!fresh && e->plan.current == box->current_snapshot)
    return 0;
  vd_splice_set (&e->splice, machine, "currentSnapshot",
                 fresh ? vd_braced (&b, fresh->uuid)
                 : e->plan.current ? vd_braced (&b, e->plan.current->uuid)
                 : NULL);
  if (fresh || modified)
    vd_splice_set (&e->splice, machine, "currentStateModified",
                   fresh ? "false" : "true");
  if (fresh && e->plan.current)
    add_snapshot (e, e->plan.current);
  else if (fresh)
    return add_first_snapshot (e, err);
  return 0;
}

/* ---- All ---------------------------------------------------------------- */

static int
make_text (struct edit *e, char **text, size_t *len, struct vd_err *err)
{
  if (edit_media (e, err) == -1 || edit_snapshots (e, err) == -1)
    return -1;
  edit_state (e, NULL);
  return vd_splice_finish (&e->splice, text, len, err);
}

/* Nothing that was made here is trusted before it was read back. */
static int
read_back (const struct edit *e, const char *text, size_t len,
           struct vd_err *err)
{
  struct vd_vbox *result
    = vd_vbox_parse_any (e->box->path, text, len, e->box->is_list, err);
  const int r = result ? vd_plan_verify (&e->plan, result, err) : -1;

  if (r == -1 && err->code != VD_NOMEM)
    vd_err_prefix (err, "the new text of the machine file is not usable, so "
                   "nothing was changed: ");
  vd_vbox_free (result);
  return r;
}

int
vd_vbox_edit (const struct vd_vbox *box, const struct vd_vbox_change *changes,
              size_t n, char **text, size_t *len, struct vd_err *err)
{
  struct edit e = { .box = box, .xml = box->xml };
  CLEANUP_FREE char *made = NULL;
  int r = -1;

  if (box->converted)
    return vd_fail (err, VD_UNSUPPORTED, "%s is not in UTF-8, as VirtualBox "
                    "writes it, and can only be read.  Convert it (iconv -t "
                    "UTF-8, and the encoding in its first line)", box->path);
  vd_splice_init (&e.splice, box->text, box->len, box->xml);
  if (vd_vbox_plan (&e.plan, box, changes, n, err) == 0 &&
      make_text (&e, &made, len, err) == 0 &&
      read_back (&e, made, *len, err) == 0) {
    *text = VD_TAKE (made);
    r = 0;
  }
  vd_splice_free (&e.splice);
  vd_vbox_plan_free (&e.plan);
  return r;
}

int
vd_vbox_edit_registry (const struct vd_vbox *box,
                       const struct vd_vbox_change *changes, size_t n,
                       char **text, size_t *len, struct vd_err *err)
{
  CLEANUP_FREE struct vd_vbox_change *own = calloc (n + 1, sizeof *own);
  struct vd_vbox_plan plan = { .box = box, .change = changes, .n = n };
  size_t i, k = 0;

  if (!own)
    return vd_fail_nomem (err);
  for (i = 0; i < n; ++i)
    if ((changes[i].kind == VD_VBOX_REMOVE_MEDIUM ||
         changes[i].kind == VD_VBOX_ADD_MEDIUM ||
         changes[i].kind == VD_VBOX_MOVE_MEDIUM) &&
        vd_plan_is_foreign (&plan, changes[i].uuid))
      own[k++] = changes[i];
  return vd_vbox_edit (box->registry, own, k, text, len, err);
}
