/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Media that another file than the machine's lists; see vbox.h. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "file/scandir.h"
#include "vbox/vbox-read.h"

#define LIST "VirtualBox.xml"

/* Files that are opened: a large host has some hundred machines. */
#define MAX_FILES 2000u

static void
free_box (struct vd_vbox **box)
{
  vd_vbox_free (*box);
}

/* ---- Adding them ---------------------------------------------------------- */

/* Of each medium of the registry: does it belong to a disk that the machine
 * lacks?
 */
static void
mark_missing (const struct vd_vbox_state *state,
              const struct vd_vbox *registry, bool *wanted)
{
  const struct vd_vbox_medium *m;
  size_t i;

  for (i = 0; i < state->n; ++i) {
    m = state->attached[i].medium ? NULL
      : vd_vbox_medium (registry, state->attached[i].uuid);
    if (m)
      wanted[vd_vbox_disk (m) - registry->media] = true;
  }
}

/* The number of media of the registry that are to be added; wanted, which
 * says so of the disks, then says it of each medium.
 */
static size_t
mark_wanted (const struct vd_vbox *box, const struct vd_vbox *registry,
             bool *wanted)
{
  size_t i, n = 0;

  mark_missing (&box->current, registry, wanted);
  for (i = 0; i < box->nr_snapshots; ++i)
    mark_missing (&box->snapshots[i].state, registry, wanted);
  /* A disk that both list, each in its own way: neither is believed. */
  for (i = 0; i < registry->nr_media; ++i)
    if (wanted[vd_vbox_disk (&registry->media[i]) - registry->media] &&
        vd_vbox_medium (box, registry->media[i].uuid))
      wanted[vd_vbox_disk (&registry->media[i]) - registry->media] = false;
  for (i = 0; i < registry->nr_media; ++i) {
    wanted[i] = wanted[vd_vbox_disk (&registry->media[i]) - registry->media];
    n += wanted[i];
  }
  return n;
}

static int
copy_medium (struct vd_vbox_medium *to, const struct vd_vbox_medium *from,
             struct vd_err *err)
{
  *to = *from;
  to->foreign = true;
  to->element = VD_XML_NONE;
  to->location = strdup (from->location);
  to->format = strdup (from->format);
  to->type = from->type ? strdup (from->type) : NULL;
  return to->location && to->format && (to->type || !from->type) ? 0
    : vd_fail_nomem (err);
}

/* The machine's own media in a new place, with room for n more. */
static int
move_media (struct vd_vbox *box, size_t n, struct vd_err *err)
{
  struct vd_vbox_medium *media = calloc (box->nr_media + n + 1, sizeof *media);
  size_t i;

  if (!media)
    return vd_fail_nomem (err);
  for (i = 0; i < box->nr_media; ++i) {
    media[i] = box->media[i];
    if (media[i].parent)
      media[i].parent = media + (media[i].parent - box->media);
  }
  free (box->media);
  box->media = media;
  return 0;
}

static void
find_media (const struct vd_vbox *box, struct vd_vbox_state *state)
{
  size_t i;

  for (i = 0; i < state->n; ++i)
    state->attached[i].medium = vd_vbox_medium (box, state->attached[i].uuid);
}

static int
add_media (struct vd_vbox *box, const struct vd_vbox *registry,
           const bool *wanted, size_t n, struct vd_err *err)
{
  CLEANUP_FREE size_t *number = calloc (registry->nr_media + 1, sizeof *number);
  size_t i;

  if (!number)
    return vd_fail_nomem (err);
  if (n > VD_VBOX_MAX_MEDIA - box->nr_media)
    return vd_fail (err, VD_UNSUPPORTED, "%s and %s have more than %u media",
                    box->path, registry->path, VD_VBOX_MAX_MEDIA);
  if (move_media (box, n, err) == -1)
    return -1;
  for (i = 0; i < registry->nr_media; ++i) {
    const struct vd_vbox_medium *from = &registry->media[i];
    struct vd_vbox_medium *to = &box->media[box->nr_media];

    if (!wanted[i])
      continue;
    number[i] = box->nr_media++;        /* it is freed with the rest */
    if (copy_medium (to, from, err) == -1)
      return -1;
    if (from->parent)           /* which stands in front of it */
      to->parent = &box->media[number[from->parent - registry->media]];
  }
  return 0;
}

int
vd_vbox_add_registry (struct vd_vbox *box, struct vd_vbox *registry,
                      struct vd_err *err)
{
  VD_CLEANUP (free_box) struct vd_vbox *taken = registry;
  CLEANUP_FREE bool *wanted
    = calloc (registry->nr_media + 1, sizeof *wanted);
  size_t i, n;
  int r;

  if (!wanted)
    return vd_fail_nomem (err);
  n = mark_wanted (box, registry, wanted);
  if (n == 0)
    return 0;
  r = add_media (box, registry, wanted, n, err);
  find_media (box, &box->current);
  for (i = 0; i < box->nr_snapshots; ++i)
    find_media (box, &box->snapshots[i].state);
  if (r == 0)
    box->registry = VD_TAKE (taken);
  return r;
}

/* ---- Looking for it ------------------------------------------------------- */

struct registry_search {
  const struct vd_vbox *box;
  struct vd_vbox *found;        /* lists a medium that the machine lacks */
  unsigned files;
  struct stat self, other;      /* the machine file; that which was found */
};

static bool
same_file (const struct stat *a, const struct stat *b)
{
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static size_t
count_missing (const struct vd_vbox_state *state,
               const struct vd_vbox *registry)
{
  size_t i, n = 0;

  for (i = 0; i < state->n; ++i)
    if (!state->attached[i].medium)
      n += !registry || vd_vbox_medium (registry, state->attached[i].uuid);
  return n;
}

/* How many attachments want a medium (that this registry lists; NULL: any)? */
static size_t
missing (const struct vd_vbox *box, const struct vd_vbox *registry)
{
  size_t i, n = count_missing (&box->current, registry);

  for (i = 0; i < box->nr_snapshots; ++i)
    n += count_missing (&box->snapshots[i].state, registry);
  return n;
}

/* A copy of the folder of one machine lists the same; only the user knows which
 * of the two is meant.
 */
static int
try_registry (struct registry_search *s, const char *path,
              struct vd_err *err)
{
  VD_CLEANUP (free_box) struct vd_vbox *r = NULL;
  struct vd_err why;
  struct stat st;

  if (stat (path, &st) == -1 || !S_ISREG (st.st_mode) ||
      same_file (&st, &s->self) || (s->found && same_file (&st, &s->other)) ||
      ++s->files > MAX_FILES)
    return 0;
  r = vd_vbox_open_registry (path, &why);
  if (!r && why.code == VD_NOMEM)
    return vd_fail_nomem (err);
  /* A copy of the machine file, which lacks the same. */
  if (!r || memcmp (r->uuid, s->box->uuid, 16) == 0 ||
      missing (s->box, r) == 0)
    return 0;
  if (s->found)
    return vd_fail (err, VD_USAGE, "disks of %s are in the media registry of "
                    "%s and in that of %s: name one of them as the registry",
                    s->box->path, s->found->path, path);
  s->found = VD_TAKE (r);
  s->other = st;
  return 0;
}

static int
try_named (void *opaque, int dir, const char *name, const char *path,
           struct vd_err *err)
{
  const size_t n = strlen (name);

  (void) dir;
  return n > 5 && strcasecmp (name + n - 5, ".vbox") == 0
    ? try_registry (opaque, path, err) : 0;
}

/* A folder that may be a machine's.  One that cannot be read has nothing. */
static int
look_in (struct registry_search *s, const char *dir, struct vd_err *err)
{
  struct vd_err e = { .code = VD_OK };

  if (vd_scandir (dir, try_named, s, &e) == 0 ||
      (e.code != VD_NOMEM && e.code != VD_USAGE))
    return 0;
  *err = e;
  return -1;
}

static int
look_beside (struct registry_search *s, const char *above,
             struct vd_err *err)
{
  DIR *dir = opendir (above);
  const struct dirent *e;
  int r = look_in (s, above, err);

  while (dir && r == 0 && s->files <= MAX_FILES && (e = readdir (dir))) {
    CLEANUP_FREE char *path = NULL;

    if (e->d_name[0] == '.' || (e->d_type != DT_DIR && e->d_type != DT_LNK &&
                                e->d_type != DT_UNKNOWN))
      continue;
    if (asprintf (&path, "%s/%s", above, e->d_name) == -1) {
      path = NULL;
      r = vd_fail_nomem (err);
    }
    else
      r = look_in (s, path, err);
  }
  if (dir)
    closedir (dir);
  return r;
}

/* VirtualBox.xml here, and in the two directories above: it was two above that
 * of a machine (Machines/NAME).
 */
static int
look_above (struct registry_search *s, const char *dir, struct vd_err *err)
{
  CLEANUP_FREE char *at = strdup (dir);
  unsigned i;
  int r = at ? 0 : vd_fail_nomem (err);

  for (i = 0; i < 3 && r == 0; ++i) {
    CLEANUP_FREE char *path = NULL;
    char *up;

    if (asprintf (&path, "%s/" LIST, at) == -1) {
      path = NULL;
      return vd_fail_nomem (err);
    }
    r = try_registry (s, path, err);
    up = vd_directory_of (at);
    free (at);
    at = up;
    if (!at)
      return vd_fail_nomem (err);
  }
  return r;
}

static struct vd_vbox *
look_for_registry (const struct vd_vbox *box, struct vd_err *err)
{
  VD_CLEANUP (free_box) struct vd_vbox *found = NULL;
  CLEANUP_FREE char *real = realpath (box->path, NULL);
  CLEANUP_FREE char *dir = real ? vd_directory_of (real) : NULL;
  CLEANUP_FREE char *above = dir ? vd_directory_of (dir) : NULL;
  struct registry_search s = { .box = box };
  int r;

  err->code = VD_OK;
  if (!above || stat (real, &s.self) == -1)
    return NULL;
  r = look_in (&s, dir, err);
  if (r == 0)
    r = look_beside (&s, above, err);
  if (r == 0)
    r = look_above (&s, dir, err);
  found = s.found;
  return r == 0 ? VD_TAKE (found) : NULL;
}

static bool
is_below (const char *path, const char *dir)
{
  CLEANUP_FREE char *real = realpath (dir, NULL);
  const size_t n = real ? strlen (real) : 0;

  return real && strncmp (path, real, n) == 0 &&
    (path[n] == '/' || (n > 0 && real[n - 1] == '/'));
}

/* A machine file names disks by UUID.  If any registry around it were followed,
 * one that was put among the machines of others would be served with their
 * disks: so this goes as far as names found in images do (confine.h).  Whoever
 * asks only what the files are may know.
 */
static bool
may_lead_there (const struct vd_vbox *box, const char *registry,
                const struct vd_opts *opts)
{
  CLEANUP_FREE char *dir = vd_directory_of (box->path);
  size_t i;

  if (opts->headers || opts->unconfined || (dir && is_below (registry, dir)))
    return true;
  for (i = 0; i < opts->nr_dirs; ++i)
    if (is_below (registry, opts->dirs[i]))
      return true;
  return false;
}

int
vd_vbox_check_named (const struct vd_vbox *box, const struct vd_opts *opts,
                     struct vd_err *err)
{
  if (!box->registry || opts->registry)
    return 0;
  return vd_fail (err, VD_USAGE, "disks of %s are in the media registry of "
                  "%s, and may belong to other machines too: name that file, "
                  "with %sregistry=%s; nothing was written", box->path,
                  box->registry->path, vd_opts_prefix (),
                  box->registry->path);
}

struct vd_vbox *
vd_vbox_open_whole (const char *path, const struct vd_opts *opts,
                    struct vd_err *err)
{
  VD_CLEANUP (free_box) struct vd_vbox *box
    = vd_vbox_open_anywhere (path, opts, err);
  struct vd_vbox *registry;

  if (!box || missing (box, NULL) == 0)
    return VD_TAKE (box);
  if (opts->registry)
    registry = vd_vbox_open_registry (opts->registry, err);
  else {
    registry = look_for_registry (box, err);
    if (!registry && err->code == VD_OK)
      return VD_TAKE (box);
    if (registry && !may_lead_there (box, registry->path, opts)) {
      box->listed_in = VD_TAKE (registry->path);
      vd_vbox_free (registry);
      return VD_TAKE (box);
    }
  }
  if (!registry || vd_vbox_add_registry (box, registry, err) == -1)
    return NULL;
  return VD_TAKE (box);
}
