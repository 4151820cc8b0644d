/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VMware machines: the .vmx; see vmx.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "file/inuse.h"
#include "file/uri.h"
#include "vmx/vmx-text.h"
#include "vmx/vmx.h"

static void
free_snapshot (struct vd_vmx_snapshot *s)
{
  size_t i;

  for (i = 0; i < s->nr_disks; ++i) {
    free (s->disk[i].node);
    free (s->disk[i].name);
    free (s->disk[i].file);
  }
  free (s->disk);
  free (s->name);
  free (s->description);
}

static void
free_snapshots (struct vd_vmx *vmx)
{
  size_t i;

  for (i = 0; i < vmx->nr_snapshots; ++i)
    free_snapshot (&vmx->snapshots[i]);
  free (vmx->snapshots);
  free (vmx->tree);
  vmx->snapshots = NULL;
  vmx->tree = NULL;
  vmx->nr_snapshots = 0;
  vmx->current = NULL;
}

void
vd_vmx_free (struct vd_vmx *vmx)
{
  size_t i;

  if (!vmx)
    return;
  free_snapshots (vmx);
  for (i = 0; i < vmx->nr_disks; ++i) {
    free (vmx->disks[i].node);
    free (vmx->disks[i].name);
    free (vmx->disks[i].file);
    free (vmx->disks[i].mode);
  }
  free (vmx->disks);
  free (vmx->path);
  free (vmx->name);
  free (vmx->guest);
  free (vmx->encoding);
  free (vmx->vmsd_encoding);
  free (vmx->lock);
  vd_confine_free (vmx->places);
  free (vmx);
}

static void
free_vmx (struct vd_vmx **vmx)
{
  vd_vmx_free (*vmx);
}

static bool
has_suffix (const char *name, const char *suffix)
{
  const size_t n = strlen (name), m = strlen (suffix);

  return n >= m && strcasecmp (name + n - m, suffix) == 0;
}

/* Of a URI, the path; to be freed. */
static char *
local_part (const char *path)
{
  struct vd_uri u = { .path = NULL };
  struct vd_err ignored;
  char *part = NULL;

  if (!vd_is_uri (path))
    return strdup (path);
  if (vd_uri_parse (path, &u, &ignored) == 0)
    part = VD_TAKE (u.path);
  vd_uri_free (&u);
  return part;
}

bool
vd_vmx_probe (const char *path)
{
  CLEANUP_FREE char *part = local_part (path);

  return part && has_suffix (part, ".vmx");
}

/* ---- Disks ---------------------------------------------------------------- */

static bool
is_true (const char *value)
{
  return value && (strcasecmp (value, "true") == 0 ||
                   strcasecmp (value, "yes") == 0 || strcmp (value, "1") == 0);
}

static bool
is_false (const char *value)
{
  return value && !is_true (value);
}

/* In the order in which they are told; a firmware has another. */
static const char *const controllers[] = { "scsi", "nvme", "sata", "ide" };
#define NR_CONTROLLERS (sizeof controllers / sizeof controllers[0])

/* "scsi0:12.filename" */
static bool
parse_node (const char *key, struct vd_vmx_disk *d)
{
  const char *p = NULL;
  unsigned kind;
  long bus, unit;
  size_t n;

  for (kind = 0; kind < NR_CONTROLLERS; ++kind) {
    n = strlen (controllers[kind]);
    if (strncmp (key, controllers[kind], n) == 0)
      break;
  }
  if (kind == NR_CONTROLLERS)
    return false;
  bus = vd_vmx_number (key + n, &p);
  if (bus < 0 || *p != ':')
    return false;
  unit = vd_vmx_number (p + 1, &p);
  if (unit < 0 || strcmp (p, ".filename") != 0)
    return false;
  d->kind = kind;
  d->bus = (unsigned) bus;
  d->unit = (unsigned) unit;
  return true;
}

/* A drive for disks that are taken out is none, whatever lies in it. */
static bool
is_hard_disk (const struct vd_vmx_text *t, const char *node,
              const char *file)
{
  const char *type = vd_vmx_get (t, "%s.devicetype", node);

  if (type && strcasestr (type, "cdrom"))
    return false;
  return (type && has_suffix (type, "disk") && *file) ||
    has_suffix (file, ".vmdk") || strcasestr (file, ".vmdk.REDO_");
}

static int
add_disk (struct vd_vmx *vmx, const struct vd_vmx_text *t,
          struct vd_vmx_disk at, const char *file, struct vd_err *err)
{
  struct vd_vmx_disk *d;
  const char *controller = controllers[at.kind];
  char node[40];

  snprintf (node, sizeof node, "%s%u:%u", controller, at.bus, at.unit);
  if (is_false (vd_vmx_get (t, "%s.present", node)) ||
      is_false (vd_vmx_get (t, "%s%u.present", controller, at.bus)) ||
      !is_hard_disk (t, node, file))
    return 0;
  if (vmx->nr_disks == VD_VMX_MAX_DISKS)
    return vd_fail (err, VD_UNSUPPORTED, "%s has more than %u disks",
                    vmx->path, VD_VMX_MAX_DISKS);
  d = vd_grow (vmx->disks, vmx->nr_disks, sizeof *d, err);
  if (!d)
    return -1;
  vmx->disks = d;
  d += vmx->nr_disks++;
  *d = at;
  d->node = strdup (node);
  d->name = strdup (file);
  d->file = vd_vmx_shown (t, file);
  d->mode = vd_vmx_shown (t, vd_vmx_get (t, "%s.mode", node));
  d->tracked = is_true (vd_vmx_get (t, "%s.ctkenabled", node));
  return d->node && d->name && d->file && d->mode ? 0 : vd_fail_nomem (err);
}

static int
by_node (const void *a, const void *b)
{
  const struct vd_vmx_disk *x = a, *y = b;

  if (x->kind != y->kind)
    return x->kind < y->kind ? -1 : 1;
  if (x->bus != y->bus)
    return x->bus < y->bus ? -1 : 1;
  return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static int
read_disks (struct vd_vmx *vmx, const struct vd_vmx_text *t,
            struct vd_err *err)
{
  size_t i;

  for (i = 0; i < t->n; ++i) {
    struct vd_vmx_disk at = { .node = NULL };

    if (parse_node (t->entry[i].key, &at) &&
        add_disk (vmx, t, at, t->entry[i].value, err) == -1)
      return -1;
  }
  if (vmx->nr_disks > 0)
    qsort (vmx->disks, vmx->nr_disks, sizeof *vmx->disks, by_node);
  return 0;
}

/* "dir/vm.vmx" -> "vm" */
static char *
stem_of (const char *path)
{
  CLEANUP_FREE char *part = local_part (path);
  const char *slash = part ? strrchr (part, '/') : NULL;
  const char *base = slash ? slash + 1 : part;

  if (!base)
    return NULL;
  return strndup (base, strlen (base) - (has_suffix (base, ".vmx") ? 4 : 0));
}

static int
read_vmx (struct vd_vmx *vmx, const struct vd_vmx_text *t, struct vd_err *err)
{
  const char *name = vd_vmx_get (t, "displayname");
  const char *state = vd_vmx_get (t, "checkpoint.vmstate");

  if (vd_vmx_get (t, "encryption.data"))
    return vd_fail (err, VD_UNSUPPORTED, "%s is the file of an encrypted "
                    "machine: what its disks are is hidden, and their data "
                    "too.  Decrypt it with VMware first", vmx->path);
  if (t->n == 0)
    return vd_fail (err, VD_NOT_FORMAT, "%s is empty: copy the machine file "
                    "(.vmx) again", vmx->path);
  vmx->name = name && *name ? vd_vmx_shown (t, name) : stem_of (vmx->path);
  vmx->guest = vd_vmx_shown (t, vd_vmx_get (t, "guestos"));
  if (!vmx->name || !vmx->guest)
    return vd_fail_nomem (err);
  if (t->encoding && !(vmx->encoding = strdup (t->encoding)))
    return vd_fail_nomem (err);
  vmx->suspended = state && *state;
  vmx->tracked = is_true (vd_vmx_get (t, "ctkenabled"));
  return read_disks (vmx, t, err);
}

/* ---- Opening --------------------------------------------------------------- */

/* Trouble with it is kept: it only has names. */
static int
parse_vmsd (struct vd_vmx *vmx, const char *path, const char *text,
            size_t len, struct vd_err *err)
{
  struct vd_vmx_text t;
  int r = vd_vmx_text_parse (&t, path, text, len, &vmx->vmsd_err);

  if (r == 0)
    r = vd_vmsd_read (vmx, path, &t, &vmx->vmsd_err);
  if (r == 0 && t.encoding) {
    vmx->vmsd_encoding = strdup (t.encoding);
    if (!vmx->vmsd_encoding)
      r = vd_fail_nomem (&vmx->vmsd_err);
  }
  vd_vmx_text_free (&t);
  vmx->has_vmsd = r == 0;
  if (r == 0)
    return 0;
  free_snapshots (vmx);
  if (vmx->vmsd_err.code != VD_NOMEM)
    return 0;
  *err = vmx->vmsd_err;
  return -1;
}

static struct vd_vmx *
parse_vmx (const char *path, const char *text, size_t len, struct vd_err *err)
{
  VD_CLEANUP (free_vmx) struct vd_vmx *vmx = calloc (1, sizeof *vmx);
  struct vd_vmx_text t;
  int r;

  if (!vmx || !(vmx->path = strdup (path))) {
    vd_fail_nomem (err);
    return NULL;
  }
  r = vd_vmx_text_parse (&t, path, text, len, err);
  if (r == 0)
    r = read_vmx (vmx, &t, err);
  vd_vmx_text_free (&t);
  return r == 0 ? VD_TAKE (vmx) : NULL;
}

struct vd_vmx *
vd_vmx_parse (const char *path, const char *text, size_t len,
              const char *vmsd, size_t vmsd_len, struct vd_err *err)
{
  VD_CLEANUP (free_vmx) struct vd_vmx *vmx
    = parse_vmx (path, text, len, err);

  if (!vmx || (vmsd &&
               parse_vmsd (vmx, "its .vmsd", vmsd, vmsd_len, err) == -1))
    return NULL;
  return VD_TAKE (vmx);
}

/* All of a small text; closes the file. */
static char *
read_text (struct vd_file *file, size_t *len, struct vd_err *err)
{
  char *text = NULL;

  if (file->size > VD_VMX_MAX_SIZE)
    vd_fail (err, VD_UNSUPPORTED, "%s has %llu bytes; a file of a VMware "
             "machine has at most %zu", file->name,
             (unsigned long long) file->size, VD_VMX_MAX_SIZE);
  else if (!(text = malloc ((size_t) file->size + 1)))
    vd_fail_nomem (err);
  else {
    *len = (size_t) file->size;
    if (vd_file_pread (file, text, *len, 0, err) == -1) {
      free (text);
      text = NULL;
    }
  }
  vd_file_close (file);
  return text;
}

/* NAME.vmsd, if it is there. */
static int
open_vmsd (struct vd_vmx *vmx, struct vd_err *err)
{
  CLEANUP_FREE char *stem = stem_of (vmx->path), *name = NULL, *text = NULL;
  CLEANUP_FREE char *path = NULL;
  struct vd_file *file;
  size_t len = 0;

  if (!stem || asprintf (&name, "%s.vmsd", stem) == -1) {
    name = NULL;
    return vd_fail_nomem (err);
  }
  file = vd_confine_open (vmx->places, name, vmx->path, &vmx->vmsd_err);
  if (!file) {
    if (vmx->vmsd_err.code == VD_NOT_FOUND)
      vmx->vmsd_err.code = VD_OK;
  }
  else if (!(path = strdup (file->name))) {
    vd_file_close (file);
    return vd_fail_nomem (err);
  }
  else
    text = read_text (file, &len, &vmx->vmsd_err);
  if (text)
    return parse_vmsd (vmx, path, text, len, err);
  if (vmx->vmsd_err.code != VD_NOMEM)
    return 0;
  *err = vmx->vmsd_err;
  return -1;
}

struct vd_vmx *
vd_vmx_open (const char *path, const struct vd_opts *opts,
             struct vd_err *err)
{
  VD_CLEANUP (free_vmx) struct vd_vmx *vmx = NULL;
  struct vd_file *file = vd_open (path, opts, err);
  CLEANUP_FREE char *text = NULL;
  size_t len = 0;

  if (file)
    text = read_text (file, &len, err);
  if (!text || !(vmx = parse_vmx (path, text, len, err)))
    return NULL;
  vmx->places = vd_confine_new (path, opts, err);
  if (!vmx->places || open_vmsd (vmx, err) == -1)
    return NULL;
  if (!vd_is_uri (path))
    vmx->lock = vd_find_lock (path);
  return VD_TAKE (vmx);
}

int
vd_vmx_check_off (const struct vd_vmx *vmx, struct vd_err *err)
{
  if (vmx->lock)
    return vd_fail (err, VD_DENIED, "%s: there is a lock %s: the machine runs "
                    "and changes its disks.  Shut it down first (if it does "
                    "not run, remove the lock)", vmx->path, vmx->lock);
  if (vmx->suspended)
    return vd_fail (err, VD_USAGE, "%s: the machine is suspended: its memory "
                    "belongs to what its disks hold now.  Start it and shut "
                    "it down", vmx->path);
  return 0;
}
