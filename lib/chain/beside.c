/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Locks and newer snapshots; see beside.h. */

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "chain/beside.h"
#include "chain/children.h"
#include "file/inuse.h"
#include "file/uri.h"

#define MAX_NAMES 3u

struct beside_scan {
  char *names;
  unsigned n;
};

static int
add_newer (void *opaque, const char *path, struct vd_err *err)
{
  struct beside_scan *s = opaque;
  char *longer;

  if (s->n++ > MAX_NAMES)
    return 0;
  if (asprintf (&longer, "%s%s%s", s->names ? s->names : "",
                s->names ? ", " : "", s->n > MAX_NAMES ? "..." : path) == -1)
    return vd_fail_nomem (err);
  free (s->names);
  s->names = longer;
  return 0;
}

/* A bare delta is not named by anybody: its descriptor is. */
static struct vd_link *
descriptor_of (const struct vd_link *link)
{
  static const struct vd_opts quiet = {
    .allow_dirty = true, .ignore_cid = true, .unconfined = true,
  };
  CLEANUP_FREE char *name = link->role == VD_ROLE_BARE
    ? vd_descriptor_name (link->path) : NULL;
  struct vd_err ignored;
  struct vd_file *file = name ? vd_file_open (name, &ignored) : NULL;

  return file ? vd_link_read (file, name, &quiet, &ignored) : NULL;
}

void
vd_look_beside (const struct vd_link *link, const struct vd_opts *opts,
                struct vd_beside *b)
{
  static const struct vd_log none = { .fn = NULL };
  struct vd_link *descriptor;
  struct beside_scan s = { .names = NULL };
  struct vd_err ignored;

  *b = (struct vd_beside) { .lock = NULL };
  if (link->ino == 0 || vd_is_uri (link->path))
    return;
  descriptor = descriptor_of (link);
  b->lock = vd_find_lock (descriptor ? descriptor->path : link->path);
  vd_each_child (descriptor ? descriptor : link, opts, false, &none, add_newer,
                 &s, &ignored);
  b->newer = s.names;
  vd_link_close (descriptor);
}

void
vd_beside_free (struct vd_beside *b)
{
  free (b->lock);
  free (b->newer);
}

void
vd_warn_beside (const struct vd_link *link, const struct vd_opts *opts,
                bool older_is_normal)
{
  struct vd_beside b;

  vd_look_beside (link, opts, &b);
  if (b.lock)
    vd_warn (&opts->log, "%s: there is a lock %s: a machine that is running "
             "changes the disk while it is read", link->path, b.lock);
  if (b.newer)
    (older_is_normal ? vd_debug : vd_warn)
      (&opts->log, "%s is not the newest state of its disk: %s was made "
       "on it", link->path, b.newer);
  vd_beside_free (&b);
}
