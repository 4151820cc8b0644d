/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VMware machines: what can be read of one, and how it is called; see vmx.h.
 *
 * Views are gathered first and named last, because a name depends on those of
 * the others.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "chain/candidates.h"
#include "vmx/vmx.h"

/* Of a snapshot's name: NBD allows 4096 bytes for all of an export's. */
#define MAX_NAME 255

/* A file that was opened.  Thousands of snapshots may name the same one, in
 * any spelling; it is read once.
 */
struct tried_file {
  dev_t dev;
  ino_t ino;
  struct vd_member *member;     /* NULL: see err */
  struct vd_err err;
};

/* While views are gathered. */
struct views_scan {
  const struct vd_vmx *vmx;
  struct vd_family *family;
  struct vd_vmx_views *views;
  const struct vd_member **base; /* of each disk as it is now; NULL: not known */
  struct tried_file *tried;
  size_t nr_tried;
  struct vd_err *err;
};

/* ---- Files ----------------------------------------------------------------- */

static int
offer_file (struct vd_search *s, const char *candidate, struct vd_file *file,
            struct vd_err *err)
{
  (void) candidate, (void) err;
  * (struct vd_file **) s->opaque = file;
  return 1;
}

/* The file with all that it stands on; takes it over. */
static struct vd_member *
read_file (const struct views_scan *v, struct vd_file *file,
           struct vd_err *err)
{
  CLEANUP_FREE char *path = strdup (file->name);
  struct vd_member *m = NULL;
  struct vd_link *link;

  if (!path) {
    vd_file_close (file);
    vd_fail_nomem (err);
    return NULL;
  }
  link = vd_link_read (file, path, v->family->opts, err);
  if (link)
    m = vd_family_add_link (v->family, link, err);
  if (!m || vd_family_resolve (v->family, m, err) == -1)
    return NULL;
  return m;
}

/* The same, once for each file. */
static struct vd_member *
try_file (struct views_scan *v, struct vd_file *file, struct vd_err *err)
{
  const dev_t dev = file->dev;
  const ino_t ino = file->ino;
  struct tried_file *t;
  size_t i;

  for (i = 0; i < v->nr_tried; ++i)
    if (ino != 0 && v->tried[i].ino == ino && v->tried[i].dev == dev) {
      vd_file_close (file);
      if (!v->tried[i].member)
        *err = v->tried[i].err;
      return v->tried[i].member;
    }
  t = vd_grow (v->tried, v->nr_tried, sizeof *t, err);
  if (!t) {
    vd_file_close (file);
    return NULL;
  }
  v->tried = t;
  t += v->nr_tried++;
  *t = (struct tried_file) { .dev = dev, .ino = ino };
  t->member = read_file (v, file, &t->err);
  if (!t->member)
    *err = t->err;
  return t->member;
}

/* The file that is called so in the machine's files.  NULL after filling
 * err.
 */
static struct vd_member *
add_file (struct views_scan *v, const char *name, const char *encoding,
          struct vd_err *err)
{
  struct vd_file *file = NULL;
  struct vd_search s = {
    .places = v->vmx->places, .opts = v->family->opts, .name = name,
    .encoding = encoding, .from = v->vmx->path, .offer = offer_file,
    .opaque = &file,
  };

  if (!s.places) {
    vd_fail (err, VD_NOT_FOUND, "%s is only a text here", v->vmx->path);
    return NULL;
  }
  if (vd_search (&s, err) == 0 && !s.found)
    vd_search_fail (&s, err);
  vd_search_free (&s);
  return file ? try_file (v, file, err) : NULL;
}

static const struct vd_member *
base_of (const struct vd_member *m)
{
  while (m->parent)
    m = m->parent;
  return m;
}

/* ---- Gathering ------------------------------------------------------------- */

static struct vd_vmx_view *
add_view (struct views_scan *v, struct vd_vmx_view view)
{
  struct vd_vmx_views *views = v->views;
  struct vd_vmx_view *p;

  if (views->n == VD_VMX_MAX_VIEWS) {
    vd_fail (v->err, VD_UNSUPPORTED, "%s: its disks have more than %u states",
             v->vmx->path, VD_VMX_MAX_VIEWS);
    return NULL;
  }
  p = vd_grow (views->view, views->n, sizeof *p, v->err);
  if (!p)
    return NULL;
  views->view = p;
  p += views->n++;
  *p = view;
  return p;
}

/* Is there no memory?  All other trouble is kept in the view. */
static int
nomem (struct views_scan *v, const struct vd_vmx_view *view)
{
  if (view->member || view->err.code != VD_NOMEM)
    return 0;
  *v->err = view->err;
  return -1;
}

static int
add_now (struct views_scan *v, const struct vd_vmx_disk *d)
{
  struct vd_vmx_view *view
    = add_view (v, (struct vd_vmx_view) {
        .node = d->node, .disk = d, .file = d->file, .current = true });

  if (!view)
    return -1;
  view->member = add_file (v, d->name, v->vmx->encoding, &view->err);
  if (view->member)
    v->base[d - v->vmx->disks] = base_of (view->member);
  return nomem (v, view);
}

/* The views of disks as they are now are the first ones, one for one. */
static const struct vd_vmx_view *
now_of (const struct views_scan *v, const struct vd_vmx_disk *d)
{
  return &v->views->view[d - v->vmx->disks];
}

/* The disk that a file belongs to: it stands on the same base.  Several can
 * stand on one (clones of one template): then it is the one that the .vmsd says
 * (or NULL), if that can be.
 */
static const struct vd_vmx_disk *
disk_of (const struct views_scan *v, const struct vd_member *m,
         const struct vd_vmx_disk *said)
{
  const struct vd_vmx *vmx = v->vmx;
  const struct vd_member *base = base_of (m);
  size_t i;

  if (said && v->base[said - vmx->disks] == base)
    return said;
  for (i = 0; i < vmx->nr_disks; ++i)
    if (v->base[i] == base)
      return &vmx->disks[i];
  return NULL;
}

/* Does the machine write to this file? */
static bool
is_written (const struct views_scan *v, const struct vd_member *m)
{
  size_t i;

  for (i = 0; i < v->vmx->nr_disks; ++i)
    if (v->views->view[i].member == m)
      return true;
  return false;
}

static const struct vd_vmx_disk *
disk_at (const struct vd_vmx *vmx, const char *node)
{
  size_t i;

  for (i = 0; i < vmx->nr_disks; ++i)
    if (strcasecmp (vmx->disks[i].node, node) == 0)
      return &vmx->disks[i];
  return NULL;
}

/* Does the file that the .vmsd names belong to that state? */
static void
judge (struct views_scan *v, struct vd_vmx_view *view)
{
  const struct vd_vmx_disk *at = disk_at (v->vmx, view->node), *of;

  if (!view->member) {
    view->disk = at;
    return;
  }
  of = disk_of (v, view->member, at);
  view->disk = of ? of : at;
  if (is_written (v, view->member))
    vd_fail (&view->err, VD_MISMATCH, "the .vmsd of %s gives the file %s to "
             "the snapshot '%.100s', but the machine writes to it: one of "
             ".vmsd and .vmx is older than the disks.  Copy both again",
             v->vmx->path, view->member->link->path, view->snapshot->name);
  else if (!of && at && now_of (v, at)->member)
    vd_fail (&view->err, VD_MISMATCH, "the .vmsd of %s gives the file %s to "
             "the snapshot '%.100s' of the disk %s, but its base is %s, and "
             "the disk's is %s: it is another disk, to be given by its own "
             "name", v->vmx->path, view->member->link->path,
             view->snapshot->name, at->node,
             base_of (view->member)->link->path,
             base_of (now_of (v, at)->member)->link->path);
  else
    return;
  view->member = NULL;
}

static int
add_snapshot (struct views_scan *v, const struct vd_vmx_snapshot *s)
{
  struct vd_vmx_view *view;
  size_t i;

  for (i = 0; i < s->nr_disks; ++i) {
    const struct vd_vmx_frozen *d = &s->disk[i];

    view = add_view (v, (struct vd_vmx_view) {
        .node = d->node, .snapshot = s, .file = d->file });
    if (!view)
      return -1;
    view->member = add_file (v, d->name, v->vmx->vmsd_encoding, &view->err);
    if (nomem (v, view) == -1)
      return -1;
    judge (v, view);
    if (view->disk)
      view->node = view->disk->node;
  }
  return 0;
}

/* What a disk stands on, and the .vmsd has no name for. */
static int
add_nameless (struct views_scan *v, const struct vd_vmx_disk *d)
{
  const struct vd_member *now = now_of (v, d)->member;
  struct vd_member *m;
  const char *slash;
  size_t i;

  for (m = now ? now->parent : NULL; m; m = m->parent) {
    for (i = 0; i < v->views->n; ++i)
      if (v->views->view[i].member == m && v->views->view[i].disk == d)
        break;
    if (i < v->views->n)
      continue;
    slash = strrchr (m->link->path, '/');
    if (!add_view (v, (struct vd_vmx_view) {
          .node = d->node, .disk = d, .member = m,
          .file = slash ? slash + 1 : m->link->path }))
      return -1;
  }
  return 0;
}

/* ---- Names ----------------------------------------------------------------- */

/* Nothing that would have to be escaped, or that looks like a number. */
static bool
is_name (const char *name)
{
  char safe[4 * MAX_NAME + 1];

  if (!*name || *name == '#' || strlen (name) > MAX_NAME)
    return false;
  vd_escape (safe, sizeof safe, name);
  return strcmp (safe, name) == 0;
}

static bool
is_unique (const struct vd_vmx *vmx, const struct vd_vmx_snapshot *s)
{
  size_t i;

  for (i = 0; i < vmx->nr_snapshots; ++i)
    if (&vmx->snapshots[i] != s && strcmp (vmx->snapshots[i].name,
                                           s->name) == 0)
      return false;
  return true;
}

static bool
is_taken (const struct vd_vmx_views *views, const char *name)
{
  size_t i;

  for (i = 0; i < views->n; ++i)
    if (views->view[i].name && strcmp (views->view[i].name, name) == 0)
      return true;
  return false;
}

/* NODE@NAME, unless the name does not do, or another view has it. */
static int
try_name (const struct vd_vmx_views *views, struct vd_vmx_view *view,
          const char *name)
{
  CLEANUP_FREE char *text = NULL;

  if (view->name)
    return 0;
  if (asprintf (&text, "%s@%s", view->node, name) == -1) {
    text = NULL;
    return -1;
  }
  if (!is_taken (views, text))
    view->name = VD_TAKE (text);
  return 0;
}

static int
name_view (const struct vd_vmx *vmx, const struct vd_vmx_views *views,
           struct vd_vmx_view *view)
{
  const struct vd_vmx_snapshot *s = view->snapshot;
  char number[40];

  if (view->current) {
    view->name = strdup (view->node);
    return view->name ? 0 : -1;
  }
  if (s) {
    if (is_name (s->name) && is_unique (vmx, s) &&
        try_name (views, view, s->name) == -1)
      return -1;
    snprintf (number, sizeof number, "#%u", s->uid);
  }
  else {
    if (is_name (view->file) && try_name (views, view, view->file) == -1)
      return -1;
    snprintf (number, sizeof number, "#file-%u",
              vd_member_depth (view->member));
  }
  return try_name (views, view, number);
}

/* By disk, those that are not attached any more last; else as they came. */
struct views_order {
  struct vd_vmx_view view;
  size_t seq;
};

static int
by_disk (const void *a, const void *b)
{
  const struct views_order *x = a, *y = b;

  if (x->view.disk != y->view.disk) {
    if (!x->view.disk || !y->view.disk)
      return x->view.disk ? -1 : 1;
    return x->view.disk < y->view.disk ? -1 : 1; /* in one array */
  }
  return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int
sort_views (struct vd_vmx_views *views)
{
  struct views_order *o = calloc (views->n + 1, sizeof *o);
  size_t i;

  if (!o)
    return -1;
  for (i = 0; i < views->n; ++i)
    o[i] = (struct views_order) { .view = views->view[i], .seq = i };
  qsort (o, views->n, sizeof *o, by_disk);
  for (i = 0; i < views->n; ++i)
    views->view[i] = o[i].view;
  free (o);
  return 0;
}

/* Names, those of snapshots before those of files.  What has none (one disk
 * twice in a snapshot; a node that cannot be shown) is none that could be asked
 * for.
 */
static int
name_views (const struct vd_vmx *vmx, struct vd_vmx_views *views)
{
  size_t i, n = 0;
  int round;

  for (round = 0; round < 3; ++round)
    for (i = 0; i < views->n; ++i) {
      struct vd_vmx_view *view = &views->view[i];
      const int turn = view->current ? 0 : view->snapshot ? 1 : 2;

      if (turn == round && (view->disk || is_name (view->node)) &&
          name_view (vmx, views, view) == -1)
        return -1;
    }
  for (i = 0; i < views->n; ++i)
    if (views->view[i].name)
      views->view[n++] = views->view[i];
  views->n = n;
  return 0;
}

static int
gather_views (struct views_scan *v)
{
  const struct vd_vmx *vmx = v->vmx;
  size_t i;

  for (i = 0; i < vmx->nr_disks; ++i)
    if (add_now (v, &vmx->disks[i]) == -1)
      return -1;
  for (i = 0; i < vmx->nr_snapshots; ++i)
    if (add_snapshot (v, vmx->tree[i]) == -1)
      return -1;
  for (i = 0; i < vmx->nr_disks; ++i)
    if (add_nameless (v, &vmx->disks[i]) == -1)
      return -1;
  return 0;
}

int
vd_vmx_views (const struct vd_vmx *vmx, struct vd_family *family,
              struct vd_vmx_views *views, struct vd_err *err)
{
  struct views_scan v = {
    .vmx = vmx, .family = family, .views = views, .err = err,
  };
  int r;

  *views = (struct vd_vmx_views) { .n = 0 };
  v.base = calloc (vmx->nr_disks + 1, sizeof (*v.base));
  r = v.base ? gather_views (&v) : vd_fail_nomem (err);
  free (v.base);
  free (v.tried);
  if (r == 0 && (sort_views (views) == -1 || name_views (vmx, views) == -1))
    r = vd_fail_nomem (err);
  if (r == -1)
    vd_vmx_views_free (views);
  return r;
}

void
vd_vmx_views_free (struct vd_vmx_views *views)
{
  size_t i;

  for (i = 0; i < views->n; ++i)
    free (views->view[i].name);
  free (views->view);
  *views = (struct vd_vmx_views) { .n = 0 };
}

/* ---- Looking names up ------------------------------------------------------- */

/* Another way to call it: see vmx.h. */
static bool
is_called (const struct vd_vmx_view *view, const char *name)
{
  const size_t n = strlen (view->node);
  char number[40];

  if (view->current)
    return !*name || strcasecmp (view->node, name) == 0;
  if (!view->snapshot || !*name)
    return false;
  if (strcmp (view->snapshot->name, name) == 0)
    return true;
  snprintf (number, sizeof number, "@#%u", view->snapshot->uid);
  return strncasecmp (name, view->node, n) == 0 &&
    (strcmp (name + n, number) == 0 ||
     (name[n] == '@' && name[n + 1] != '#' &&
      strcmp (name + n + 1, view->snapshot->name) == 0));
}

static int
several (const struct vd_vmx *vmx, const struct vd_vmx_views *views,
         const char *name, struct vd_err *err)
{
  char list[700] = "";
  size_t i, n = 0, len = 0;

  for (i = 0; i < views->n; ++i) {
    const struct vd_vmx_view *view = &views->view[i];

    if (!is_called (view, name))
      continue;
    ++n;
    if (len + strlen (view->name) + 8 < sizeof list)
      len += (size_t) snprintf (list + len, sizeof list - len, "%s%s",
                                len > 0 ? ", " : "", view->name);
    else
      break;
  }
  if (i < views->n)
    snprintf (list + len, sizeof list - len, ", ...");
  return !*name
    ? vd_fail (err, VD_USAGE, "the machine '%.100s' has several disks: name "
               "one of %s", vmx->name, list)
    : vd_fail (err, VD_USAGE, "'%.255s' could be each of %s in the machine "
               "'%.100s'", name, list, vmx->name);
}

const struct vd_vmx_view *
vd_vmx_find_view (const struct vd_vmx *vmx, const struct vd_vmx_views *views,
                  const char *name, struct vd_err *err)
{
  const struct vd_vmx_view *found = NULL;
  size_t i;

  for (i = 0; i < views->n; ++i)
    if (strcmp (views->view[i].name, name) == 0)
      return &views->view[i];
  for (i = 0; i < views->n; ++i)
    if (is_called (&views->view[i], name)) {
      if (found) {
        several (vmx, views, name, err);
        return NULL;
      }
      found = &views->view[i];
    }
  if (!found)
    vd_fail (err, VD_NOT_FOUND, "there is no disk or snapshot '%.255s' in the "
             "machine '%.100s'", name, vmx->name);
  return found;
}
