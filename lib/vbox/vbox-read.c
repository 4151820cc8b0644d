/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a VirtualBox machine file says; see vbox.h.
 *
 *     VirtualBox
 *       Machine
 *         MediaRegistry / HardDisks / HardDisk / HardDisk / ...
 *         Snapshot                          the first one
 *           Hardware / StorageControllers / StorageController /
 *             AttachedDevice / Image
 *           Snapshots / Snapshot / ...
 *         Hardware / ...                    the current state
 *
 * Before version 1.19 of the settings StorageControllers stood beside
 * Hardware.  Other elements, and their namespace, do not matter here.
 */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "vbox/vbox-read.h"

struct reading {
  struct vd_vbox *box;
  const struct vd_xml *xml;
  size_t nr_disks, nr_attached;
  struct vd_err *err;
};

static int fail_at (const struct reading *r, size_t element,
                    enum vd_code code, const char *fs, ...)
  VD_PRINTF (4, 5);

static int
fail_at (const struct reading *r, size_t element, enum vd_code code,
         const char *fs, ...)
{
  char what[512];
  va_list args;

  va_start (args, fs);
  vsnprintf (what, sizeof what, fs, args);
  va_end (args);
  return vd_fail (r->err, code, "%s line %u: %s", r->box->path,
                  vd_xml_line (r->box->text, r->xml->element[element].start),
                  what);
}

bool
vd_vbox_parse_uuid (const char *text, uint8_t uuid[16])
{
  const bool braces = text[0] == '{';
  char canonical[VD_UUID_TEXT];

  if (!vd_parse_uuid (text, uuid))
    return false;
  vd_uuid_text (canonical, uuid);
  text += braces;
  return strncasecmp (text, canonical, VD_UUID_TEXT - 1) == 0 &&
    strcmp (text + VD_UUID_TEXT - 1, braces ? "}" : "") == 0;
}

/* ---- Attributes --------------------------------------------------------- */

static int
take_uuid (const struct reading *r, size_t element, uint8_t uuid[16])
{
  const char *value = vd_xml_value (r->xml, element, "uuid");

  if (!value)
    return fail_at (r, element, VD_CORRUPT, "%.40s has no UUID",
                    r->xml->element[element].name);
  if (!vd_vbox_parse_uuid (value, uuid) || vd_uuid_is_null (uuid))
    return fail_at (r, element, VD_CORRUPT, "%.40s: '%.60s' is not a UUID",
                    r->xml->element[element].name, value);
  return 0;
}

/* Without the attribute: dflt, which may be NULL. */
static int
take_text (const struct reading *r, size_t element, const char *name,
           const char *dflt, char **text)
{
  const char *value = vd_xml_value (r->xml, element, name);

  if (!value)
    value = dflt;
  *text = value ? strdup (value) : NULL;
  return value && !*text ? vd_fail_nomem (r->err) : 0;
}

static int
take_number (const struct reading *r, size_t element, const char *name,
             unsigned *number)
{
  const char *value = vd_xml_value (r->xml, element, name);

  *number = 0;
  if (!value)
    return 0;
  if (!*value || strlen (value) > 6 ||
      strspn (value, "0123456789") != strlen (value))
    return fail_at (r, element, VD_CORRUPT, "%s='%.40s' is not a number",
                    name, value);
  *number = (unsigned) strtoul (value, NULL, 10);
  return 0;
}

static bool
is_set (const struct reading *r, size_t element, const char *name)
{
  const char *value = vd_xml_value (r->xml, element, name);

  return value && (strcmp (value, "true") == 0 || strcmp (value, "1") == 0);
}

/* The only child of that name; none: VD_XML_NONE. */
static int
only_child (const struct reading *r, size_t parent, const char *name,
            size_t *child)
{
  size_t second;

  *child = vd_xml_child (r->xml, parent, parent + 1, name);
  if (*child == VD_XML_NONE)
    return 0;
  second = vd_xml_child (r->xml, parent, r->xml->element[*child].next, name);
  if (second == VD_XML_NONE)
    return 0;
  return fail_at (r, second, VD_CORRUPT, "a second %.40s", name);
}

/* ---- Media -------------------------------------------------------------- */

/* VirtualBox keeps the key, which a password protects, and its name as
 * properties of the disk; the file itself does not show that it is encrypted.
 * Either of them is enough: what is served must not be the cipher's text.
 */
static bool
has_key (const struct reading *r, size_t element)
{
  size_t p;

  for (p = vd_xml_child (r->xml, element, element + 1, "Property");
       p != VD_XML_NONE;
       p = vd_xml_child (r->xml, element, r->xml->element[p].next,
                         "Property")) {
    const char *name = vd_xml_value (r->xml, p, "name");

    if (name && strncasecmp (name, "CRYPT/", 6) == 0)
      return true;
  }
  return false;
}

static int
read_medium (struct reading *r, size_t element,
             struct vd_vbox_medium *parent)
{
  struct vd_vbox *box = r->box;
  struct vd_vbox_medium *m;

  if (box->nr_media == VD_VBOX_MAX_MEDIA)
    return fail_at (r, element, VD_UNSUPPORTED, "more than %u media",
                    VD_VBOX_MAX_MEDIA);
  if (!parent && r->nr_disks++ == VD_VBOX_MAX_DISKS)
    return fail_at (r, element, VD_UNSUPPORTED, "more than %u disks",
                    VD_VBOX_MAX_DISKS);
  m = &box->media[box->nr_media++];
  m->element = element;
  m->parent = parent;
  if (parent)
    parent->nr_children++;
  m->encrypted = has_key (r, element) || (parent && parent->encrypted);
  if (take_uuid (r, element, m->uuid) == -1 ||
      take_text (r, element, "location", "", &m->location) == -1 ||
      take_text (r, element, "format", "", &m->format) == -1 ||
      take_text (r, element, "type", NULL, &m->type) == -1)
    return -1;
  if (!*m->location)
    return fail_at (r, element, VD_CORRUPT, "HardDisk has no location");
  return 0;
}

/* The media below HardDisks, in the order of the file. */
static int
read_media (struct reading *r, size_t top)
{
  const struct vd_xml_element *el = r->xml->element;
  struct vd_vbox *box = r->box;
  size_t i = top + 1;

  while (i < el[top].next) {
    struct vd_vbox_medium *parent = NULL;

    if (!vd_xml_is (r->xml, i, "HardDisk")) {
      i = el[i].next;
      continue;
    }
    /* The innermost open one is the last that was read, or above it. */
    if (el[i].parent != top) {
      parent = &box->media[box->nr_media - 1];
      while (parent->element != el[i].parent)
        parent = parent->parent;
    }
    if (read_medium (r, i, parent) == -1)
      return -1;
    ++i;
  }
  return 0;
}

/* ---- States ------------------------------------------------------------- */

static int
read_device (struct reading *r, size_t controller, size_t device,
             struct vd_vbox_state *state)
{
  const size_t image = vd_xml_child (r->xml, device, device + 1, "Image");
  const char *type = vd_xml_value (r->xml, device, "type");
  struct vd_vbox_attachment *a;

  if (!type || strcmp (type, "HardDisk") != 0 || image == VD_XML_NONE)
    return 0;
  if (r->nr_attached++ == VD_VBOX_MAX_ATTACHED)
    return fail_at (r, device, VD_UNSUPPORTED, "more than %u disks attached",
                    VD_VBOX_MAX_ATTACHED);
  a = vd_grow (state->attached, state->n, sizeof *a, r->err);
  if (!a)
    return -1;
  state->attached = a;
  a += state->n++;
  *a = (struct vd_vbox_attachment) { .element = device };
  if (take_text (r, controller, "name", "", &a->controller) == -1 ||
      take_number (r, device, "port", &a->port) == -1 ||
      take_number (r, device, "device", &a->device) == -1 ||
      take_uuid (r, image, a->uuid) == -1)
    return -1;
  a->medium = vd_vbox_medium (r->box, a->uuid);
  return 0;
}

static int
read_controllers (struct reading *r, size_t parent,
                  struct vd_vbox_state *state)
{
  const struct vd_xml_element *el = r->xml->element;
  size_t top, c, d;

  d = vd_xml_child (r->xml, parent, parent + 1, "HardDiskAttachments");
  if (d != VD_XML_NONE)
    return fail_at (r, d, VD_UNSUPPORTED, "this file was written by a "
                    "VirtualBox before version 3.1: open the machine once "
                    "with a newer one, which converts it");
  if (only_child (r, parent, "StorageControllers", &top) == -1)
    return -1;
  if (top == VD_XML_NONE)
    return 0;
  for (c = vd_xml_child (r->xml, top, top + 1, "StorageController");
       c != VD_XML_NONE;
       c = vd_xml_child (r->xml, top, el[c].next, "StorageController"))
    for (d = vd_xml_child (r->xml, c, c + 1, "AttachedDevice");
         d != VD_XML_NONE;
         d = vd_xml_child (r->xml, c, el[d].next, "AttachedDevice"))
      if (read_device (r, c, d, state) == -1)
        return -1;
  return 0;
}

static int
read_state (struct reading *r, size_t element, struct vd_vbox_state *state)
{
  size_t hardware;

  if (only_child (r, element, "Hardware", &hardware) == -1 ||
      read_controllers (r, element, state) == -1)
    return -1;
  return hardware == VD_XML_NONE ? 0 : read_controllers (r, hardware, state);
}

/* ---- Snapshots ---------------------------------------------------------- */

static int
read_snapshot (struct reading *r, size_t element,
               struct vd_vbox_snapshot *parent)
{
  struct vd_vbox *box = r->box;
  struct vd_vbox_snapshot *s;
  size_t description;

  if (box->nr_snapshots == VD_VBOX_MAX_SNAPSHOTS)
    return fail_at (r, element, VD_UNSUPPORTED, "more than %u snapshots",
                    VD_VBOX_MAX_SNAPSHOTS);
  s = &box->snapshots[box->nr_snapshots++];
  s->element = element;
  s->parent = parent;
  s->depth = parent ? parent->depth + 1 : 0;
  if (take_uuid (r, element, s->uuid) == -1 ||
      take_text (r, element, "name", "", &s->name) == -1 ||
      take_text (r, element, "timeStamp", "", &s->time) == -1 ||
      take_text (r, element, "stateFile", NULL, &s->state_file) == -1 ||
      read_state (r, element, &s->state) == -1)
    return -1;
  description = vd_xml_child (r->xml, element, element + 1, "Description");
  if (description != VD_XML_NONE &&
      !(s->description = strdup (r->xml->element[description].text)))
    return vd_fail_nomem (r->err);
  return 0;
}

/* Without recursion: a file can nest 500 of them. */
static int
read_snapshots (struct reading *r, size_t first)
{
  const struct vd_xml_element *el = r->xml->element;
  struct vd_vbox *box = r->box;
  size_t i = first;

  while (i < el[first].next) {
    struct vd_vbox_snapshot *parent = NULL;

    if (vd_xml_is (r->xml, i, "Snapshots") &&
        vd_xml_is (r->xml, el[i].parent, "Snapshot")) {
      ++i;
      continue;
    }
    if (!vd_xml_is (r->xml, i, "Snapshot") ||
        (i != first && !vd_xml_is (r->xml, el[i].parent, "Snapshots"))) {
      i = el[i].next;
      continue;
    }
    if (i != first) {
      const size_t above = el[el[i].parent].parent;

      parent = &box->snapshots[box->nr_snapshots - 1];
      while (parent->element != above)
        parent = parent->parent;
    }
    if (read_snapshot (r, i, parent) == -1)
      return -1;
    ++i;
  }
  return 0;
}

/* ---- The machine -------------------------------------------------------- */

size_t
vd_vbox_machine (const struct vd_vbox *box)
{
  return vd_xml_child (box->xml, 0, 1, box->is_list ? "Global" : "Machine");
}

static int
find_machine (const struct reading *r, size_t *machine)
{
  const char *root = r->xml->element[0].name;

  if (strcmp (root, "VirtualBox") != 0)
    return vd_fail (r->err, VD_NOT_FORMAT, "%s is not a VirtualBox machine "
                    "file: its first element is '%.60s'%s", r->box->path, root,
                    strcmp (root, "Envelope") == 0 ? " (an OVF): give the "
                    "disk that it refers to" : "");
  if (vd_xml_child (r->xml, 0, 1, "Global") != VD_XML_NONE &&
      !r->box->is_list)
    return vd_fail (r->err, VD_NOT_FORMAT, "%s lists the machines of a user; "
                    "give one of them: the .vbox file in its folder",
                    r->box->path);
  if (vd_xml_child (r->xml, 0, 1, "MachineEncrypted") != VD_XML_NONE)
    return vd_fail (r->err, VD_UNSUPPORTED, "%s is encrypted: remove the "
                    "encryption with VirtualBox (VBoxManage encryptvm), or "
                    "give the disk itself, if that is not encrypted too",
                    r->box->path);
  if (only_child (r, 0, "Global", machine) == -1)
    return -1;
  r->box->is_list = *machine != VD_XML_NONE;
  if (!r->box->is_list && only_child (r, 0, "Machine", machine) == -1)
    return -1;
  if (*machine == VD_XML_NONE)
    return vd_fail (r->err, VD_NOT_FORMAT, "%s: there is no machine in it",
                    r->box->path);
  return 0;
}

static int
read_machine (struct reading *r, size_t machine)
{
  struct vd_vbox *box = r->box;

  if (take_uuid (r, machine, box->uuid) == -1 ||
      take_text (r, machine, "name", "", &box->name) == -1 ||
      take_text (r, 0, "version", "", &box->version) == -1 ||
      take_text (r, machine, "stateFile", NULL, &box->state_file) == -1 ||
      take_text (r, machine, "lastStateChange", "", &box->last_change) == -1)
    return -1;
  box->power = box->state_file ? VD_VBOX_SAVED
    : is_set (r, machine, "aborted") ? VD_VBOX_ABORTED : VD_VBOX_OFF;
  box->unmodified
    = vd_xml_attr (r->xml, machine, "currentStateModified") &&
    !is_set (r, machine, "currentStateModified");
  return 0;
}

static int
find_current_snapshot (const struct reading *r, size_t machine)
{
  const char *value = vd_xml_value (r->xml, machine, "currentSnapshot");
  uint8_t uuid[16];

  if (!value)
    return 0;
  if (!vd_vbox_parse_uuid (value, uuid))
    return fail_at (r, machine, VD_CORRUPT, "currentSnapshot '%.60s' is not a "
                    "UUID", value);
  if (vd_uuid_is_null (uuid))
    return 0;
  r->box->current_snapshot = vd_vbox_snapshot (r->box, uuid);
  return r->box->current_snapshot ? 0
    : fail_at (r, machine, VD_CORRUPT, "the current snapshot %.60s is not in "
               "this file", value);
}

/* UUIDs sorted: two that are the same stand beside each other. */
struct named { uint8_t uuid[16]; size_t element; };

static int
compare_named (const void *a, const void *b)
{
  return memcmp (a, b, 16);
}

static int
check_unique (const struct reading *r, struct named *all, size_t n,
              const char *what)
{
  char text[VD_UUID_TEXT];
  size_t i;

  qsort (all, n, sizeof *all, compare_named);
  for (i = 1; i < n; ++i)
    if (compare_named (&all[i - 1], &all[i]) == 0)
      return fail_at (r, all[i].element, VD_CORRUPT, "a second %s with UUID "
                      "{%s}; another one is in line %u", what,
                      vd_uuid_text (text, all[i].uuid),
                      vd_xml_line (r->box->text, r->xml->element
                                   [all[i - 1].element].start));
  return 0;
}

static int
check_all_unique (const struct reading *r)
{
  const struct vd_vbox *box = r->box;
  const size_t most = box->nr_media + box->nr_snapshots;
  CLEANUP_FREE struct named *all = calloc (most + 1, sizeof *all);
  size_t i;

  if (!all)
    return vd_fail_nomem (r->err);
  for (i = 0; i < box->nr_media; ++i) {
    memcpy (all[i].uuid, box->media[i].uuid, 16);
    all[i].element = box->media[i].element;
  }
  if (check_unique (r, all, box->nr_media, "medium") == -1)
    return -1;
  for (i = 0; i < box->nr_snapshots; ++i) {
    memcpy (all[i].uuid, box->snapshots[i].uuid, 16);
    all[i].element = box->snapshots[i].element;
  }
  return check_unique (r, all, box->nr_snapshots, "snapshot");
}

/* Room for all there can be: pointers into the arrays stay valid. */
static int
allocate (struct vd_vbox *box, const struct vd_xml *xml, struct vd_err *err)
{
  size_t media = 0, snapshots = 0, i;

  for (i = 0; i < xml->n; ++i) {
    media += vd_xml_is (xml, i, "HardDisk");
    snapshots += vd_xml_is (xml, i, "Snapshot");
  }
  box->media = calloc (media + 1, sizeof *box->media);
  box->snapshots = calloc (snapshots + 1, sizeof *box->snapshots);
  return box->media && box->snapshots ? 0 : vd_fail_nomem (err);
}

static int
read_registry (struct reading *r, size_t machine)
{
  size_t registry, disks = VD_XML_NONE;

  if (only_child (r, machine, "MediaRegistry", &registry) == -1 ||
      (registry != VD_XML_NONE &&
       only_child (r, registry, "HardDisks", &disks) == -1))
    return -1;
  return disks == VD_XML_NONE ? 0 : read_media (r, disks);
}

/* Nothing but media. */
static int
read_list (struct reading *r, size_t global)
{
  struct vd_vbox *box = r->box;

  box->name = strdup ("");
  box->last_change = strdup ("");
  if (!box->name || !box->last_change)
    return vd_fail_nomem (r->err);
  return take_text (r, 0, "version", "", &box->version) == -1 ||
    read_registry (r, global) == -1 || check_all_unique (r) == -1 ? -1 : 0;
}

int
vd_vbox_read (struct vd_vbox *box, struct vd_err *err)
{
  struct reading r = { .box = box, .xml = box->xml, .err = err };
  size_t machine, first;

  if (find_machine (&r, &machine) == -1 ||
      allocate (box, box->xml, err) == -1)
    return -1;
  if (box->is_list)
    return read_list (&r, machine);
  if (read_machine (&r, machine) == -1 ||
      read_registry (&r, machine) == -1 ||
      only_child (&r, machine, "Snapshot", &first) == -1 ||
      (first != VD_XML_NONE && read_snapshots (&r, first) == -1) ||
      read_state (&r, machine, &box->current) == -1 ||
      check_all_unique (&r) == -1 ||
      find_current_snapshot (&r, machine) == -1)
    return -1;
  return 0;
}
