/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VirtualBox machine files: opening, and looking things up; see vbox.h. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/charset.h"
#include "base/uuid.h"
#include "base/utf8.h"
#include "file/uri.h"
#include "format/magic.h"
#include "vbox/vbox-read.h"
#include "vbox/vbox-xml.h"

static void
free_state (struct vd_vbox_state *state)
{
  size_t i;

  for (i = 0; i < state->n; ++i)
    free (state->attached[i].controller);
  free (state->attached);
}

void
vd_vbox_free (struct vd_vbox *box)
{
  size_t i;

  if (!box)
    return;
  for (i = 0; i < box->nr_media; ++i) {
    free (box->media[i].location);
    free (box->media[i].format);
    free (box->media[i].type);
  }
  for (i = 0; i < box->nr_snapshots; ++i) {
    struct vd_vbox_snapshot *s = &box->snapshots[i];

    free (s->name);
    free (s->time);
    free (s->description);
    free (s->state_file);
    free_state (&s->state);
  }
  free_state (&box->current);
  free (box->media);
  free (box->snapshots);
  free (box->path);
  free (box->listed_in);
  free (box->text);
  free (box->name);
  free (box->version);
  free (box->state_file);
  free (box->last_change);
  vd_xml_free (box->xml);
  vd_vbox_free (box->registry);
  free (box);
}

static void
free_box (struct vd_vbox **box)
{
  vd_vbox_free (*box);
}

/* ---- Opening ------------------------------------------------------------ */

static bool
has_suffix (const char *name, const char *suffix)
{
  const size_t n = strlen (name), m = strlen (suffix);

  return n >= m && strcasecmp (name + n - m, suffix) == 0;
}

/* The query of a URI is no part of the name. */
static bool
is_called_so (const char *path)
{
  const size_t n = vd_is_uri (path) ? strcspn (path, "?") : strlen (path);
  CLEANUP_FREE char *name = strndup (path, n);

  return name && (has_suffix (name, ".vbox") || has_suffix (name, ".vbox-prev"));
}

bool
vd_vbox_probe (const char *path)
{
  struct vd_err ignored;
  struct vd_file *file = vd_is_uri (path) ? NULL
    : vd_file_open (path, &ignored);
  uint8_t head[VD_FOREIGN_HEAD];
  const struct vd_foreign *f = NULL;
  size_t n;

  if (!file)                    /* what is elsewhere is not read to find out */
    return vd_is_uri (path) && is_called_so (path);
  n = (size_t) vd_min (file->size, sizeof head);
  if (vd_file_pread (file, head, n, 0, &ignored) == 0)
    f = vd_foreign_find (head, n, NULL, 0, file->size);
  vd_file_close (file);
  return is_called_so (path) || (f && f->xml);
}

static bool
is_utf8 (const char *text)
{
  const unsigned char *p = (const unsigned char *) text;
  uint32_t c;
  size_t n;

  while (*p && (n = *p < 0x80 ? 1 : vd_utf8_decode (p, &c)) > 0)
    p += n;
  return !*p;
}

/* VirtualBox writes UTF-8.  What an editor has made another encoding of can be
 * read, but is not changed.
 */
static void
convert (struct vd_vbox *box)
{
  char name[VD_XML_ENCODING], *text;

  vd_xml_encoding (box->text, box->len, name);
  if (!vd_xml_is_latin (name) || is_utf8 (box->text))
    return;
  text = vd_to_utf8 (box->text, name);
  if (!text)
    return;
  free (box->text);
  box->text = text;
  box->len = strlen (text);
  box->converted = true;
}

struct vd_vbox *
vd_vbox_parse_any (const char *path, const char *text, size_t len, bool list,
                   struct vd_err *err)
{
  VD_CLEANUP (free_box) struct vd_vbox *box = calloc (1, sizeof *box);

  if (len > VD_VBOX_MAX_SIZE) {
    vd_fail (err, VD_UNSUPPORTED, "%s has %zu bytes; a machine file has at "
             "most %zu", path, len, VD_VBOX_MAX_SIZE);
    return NULL;
  }
  if (!box || !(box->path = strdup (path)) ||
      !(box->text = malloc (len + 1))) {
    vd_fail_nomem (err);
    return NULL;
  }
  memcpy (box->text, text, len);
  box->text[len] = '\0';
  box->len = len;
  box->is_list = list;
  if (strlen (box->text) == len)
    convert (box);
  box->xml = vd_xml_parse (path, box->text, box->len, err);
  if (!box->xml || vd_vbox_read (box, err) == -1)
    return NULL;
  return VD_TAKE (box);
}

struct vd_vbox *
vd_vbox_parse (const char *path, const char *text, size_t len,
               struct vd_err *err)
{
  return vd_vbox_parse_any (path, text, len, false, err);
}

struct vd_vbox *
vd_vbox_parse_registry (const char *path, const char *text, size_t len,
                        struct vd_err *err)
{
  return vd_vbox_parse_any (path, text, len, true, err);
}

static const struct vd_opts local;

static struct vd_vbox *
open_any (const char *path, bool list, const struct vd_opts *opts,
          struct vd_err *err)
{
  struct vd_file *file = vd_open (path, opts, err);
  CLEANUP_FREE char *text = NULL;
  size_t len;
  int r;

  if (!file)
    return NULL;
  if (file->size > VD_VBOX_MAX_SIZE) {
    vd_fail (err, VD_UNSUPPORTED, "%s has %llu bytes; a machine file has at "
             "most %zu", path, (unsigned long long) file->size,
             VD_VBOX_MAX_SIZE);
    vd_file_close (file);
    return NULL;
  }
  len = (size_t) file->size;
  text = malloc (len + 1);
  r = text ? vd_file_pread (file, text, len, 0, err) : vd_fail_nomem (err);
  vd_file_close (file);
  return r == -1 ? NULL : vd_vbox_parse_any (path, text, len, list, err);
}

struct vd_vbox *
vd_vbox_open (const char *path, struct vd_err *err)
{
  return open_any (path, false, &local, err);
}

struct vd_vbox *
vd_vbox_open_anywhere (const char *path, const struct vd_opts *opts,
                       struct vd_err *err)
{
  return open_any (path, false, opts, err);
}

struct vd_vbox *
vd_vbox_open_registry (const char *path, struct vd_err *err)
{
  return open_any (path, true, &local, err);
}

/* ---- Looking things up -------------------------------------------------- */

struct vd_vbox_medium *
vd_vbox_medium (const struct vd_vbox *box, const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < box->nr_media; ++i)
    if (memcmp (box->media[i].uuid, uuid, 16) == 0)
      return &box->media[i];
  return NULL;
}

struct vd_vbox_snapshot *
vd_vbox_snapshot (const struct vd_vbox *box, const uint8_t uuid[16])
{
  size_t i;

  for (i = 0; i < box->nr_snapshots; ++i)
    if (memcmp (box->snapshots[i].uuid, uuid, 16) == 0)
      return &box->snapshots[i];
  return NULL;
}

const struct vd_vbox_medium *
vd_vbox_disk (const struct vd_vbox_medium *medium)
{
  while (medium->parent)
    medium = medium->parent;
  return medium;
}

struct vd_vbox_medium *
vd_vbox_attached (const struct vd_vbox_state *state,
                  const struct vd_vbox_medium *disk)
{
  size_t i;

  for (i = 0; i < state->n; ++i) {
    struct vd_vbox_medium *m = state->attached[i].medium;

    if (m && vd_vbox_disk (m) == disk)
      return m;
  }
  return NULL;
}

static bool
is_of_type (const struct vd_vbox_medium *medium, const char *type)
{
  const struct vd_vbox_medium *disk = vd_vbox_disk (medium);

  return strcasecmp (disk->type ? disk->type : "Normal", type) == 0;
}

bool
vd_vbox_has_states (const struct vd_vbox_medium *medium)
{
  return !is_of_type (medium, "Writethrough") &&
    !is_of_type (medium, "Shareable") && !is_of_type (medium, "Readonly");
}

bool
vd_vbox_is_normal (const struct vd_vbox_medium *medium)
{
  return is_of_type (medium, "Normal");
}

int
vd_vbox_check_off (const struct vd_vbox *box, const struct vd_log *log,
                   struct vd_err *err)
{
  const bool dated = *box->last_change != '\0';

  if (box->power == VD_VBOX_SAVED)
    return vd_fail (err, VD_USAGE, "the machine '%.100s' (%s) is in the Saved "
                    "state%s%.40s: its memory in %.255s belongs to what its "
                    "disks hold now.  Start it and shut it down, or discard "
                    "the saved state in VirtualBox; then try again",
                    box->name, box->path, dated ? " since " : "",
                    box->last_change, box->state_file);
  if (box->power == VD_VBOX_ABORTED)
    vd_warn (log, "the machine '%.100s' (%s) was aborted%s%.40s: its disks are "
             "like those of a computer that lost power", box->name, box->path,
             dated ? " at " : "", box->last_change);
  return 0;
}

static int
check_state (const struct vd_vbox *box, const struct vd_vbox_snapshot *s,
             struct vd_err *err)
{
  const struct vd_vbox_state *state = vd_vbox_state (box, s);
  char text[VD_UUID_TEXT];
  size_t i;

  for (i = 0; i < state->n; ++i) {
    const struct vd_vbox_attachment *a = &state->attached[i];

    if (a->medium)
      continue;
    if (box->listed_in)
      return vd_fail (err, VD_NOT_FOUND, "%s: the disk {%s} (%.60s-%u-%u of "
                      "%s%.100s) is not in the machine's own media registry, "
                      "but in that of %s.  Name it: %sregistry=%s", box->path,
                      vd_uuid_text (text, a->uuid), a->controller, a->port,
                      a->device, s ? "snapshot " : "the current state",
                      s ? s->name : "", box->listed_in, vd_opts_prefix (),
                      box->listed_in);
    return vd_fail (err, VD_NOT_FOUND, "%s: the disk {%s} (%.60s-%u-%u of %s"
                    "%.100s) is not in the machine's own media registry%s%s, "
                    "but in another one: that of another machine, or the "
                    "user's VirtualBox.xml, whose HardDisk lines tell where "
                    "its file is.  Name it as the registry, or give that file, "
                    "the .vdi or .vmdk, instead",
                    box->path, vd_uuid_text (text, a->uuid), a->controller,
                    a->port, a->device, s ? "snapshot " : "the current state",
                    s ? s->name : "", box->registry ? ", nor in " : "",
                    box->registry ? box->registry->path : "");
  }
  return 0;
}

int
vd_vbox_check_registry (const struct vd_vbox *box, struct vd_err *err)
{
  size_t i;

  if (check_state (box, NULL, err) == -1)
    return -1;
  for (i = 0; i < box->nr_snapshots; ++i)
    if (check_state (box, &box->snapshots[i], err) == -1)
      return -1;
  return 0;
}
