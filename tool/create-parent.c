/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a new delta says about its parent.
 *
 *   base                   parentFileNameHint      parentCID
 *   a VMDK                 its name                its CID
 *   raw, --base-descriptor the descriptor's name   the descriptor's CID
 *   raw or NBD otherwise   BASE.vmdk               fffffffe
 *
 * parentCID=ffffffff would mean that there is no parent: then readers, ours
 * too, take what is not in the delta for zeros.  So a parent is named in any
 * case.  Our filter does not look for it, since the base is given to it; other
 * programs fail to find it, which is better than zeros.
 */

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verb-create.h"

/* The directory of a file that may not exist yet, resolved; to be freed. */
static char *
directory_of (const char *path)
{
  char *copy = strdup (path);
  char *dir = copy ? realpath (dirname (copy), NULL) : NULL;

  free (copy);
  return dir;
}

/* How a file is named inside another one: by its bare name when they are
 * neighbours, so that both can be moved, else absolutely.  To be freed.
 */
static char *
name_inside (const char *file, const char *inside, struct vd_err *err)
{
  char *a = directory_of (file), *b = directory_of (inside), *r = NULL;

  if (!a || !b)
    vd_fail_errno (err, errno, "%s", a ? inside : file);
  else if (strcmp (a, b) == 0)
    r = strdup (base_name (file));
  else if (asprintf (&r, "%s/%s", strcmp (a, "/") == 0 ? "" : a,
                     base_name (file)) == -1)
    r = NULL;
  if (!r && a && b)
    vd_fail (err, VD_NOMEM, "out of memory");
  free (a);
  free (b);
  return r;
}

/* Use the descriptor that is there, if it describes this base. */
static int
read_base_descriptor (struct create *c, struct vd_err *err)
{
  const struct vd_opts opts = { .unconfined = true };
  struct vd_link *link = vd_link_open (c->base_descriptor, &opts, err);
  int r = -1;

  if (!link)
    return -1;
  if (link->role != VD_ROLE_BASE || link->nr_pieces != 1 ||
      !link->pieces[0].image->file ||
      !vd_file_same (link->pieces[0].image->file, c->base.file))
    vd_fail (err, VD_USAGE, "%s exists, and does not describe %s", c->base_descriptor, c->from);
  else {
    c->w.parent_cid = link->descriptor->cid;
    r = 0;
  }
  vd_link_close (link);
  return r;
}

static int
make_base_descriptor (struct create *c, struct vd_err *err)
{
  const uint64_t size = vd_round_down (c->base.file->size, VD_SECTOR);
  char *name;
  int r;

  if (access (c->base_descriptor, F_OK) == 0)
    return read_base_descriptor (c, err);
  name = name_inside (c->from, c->base_descriptor, err);
  if (!name)
    return -1;
  r = vd_create_base_descriptor (c->base_descriptor, name,
                                 c->base.file, size, &c->w.parent_cid, err);
  free (name);
  c->made_descriptor = r == 0;
  return r;
}

/* The name of a file elsewhere, without its directory and query; to be freed. */
static char *
name_elsewhere (const char *uri, struct vd_err *err)
{
  struct vd_uri u;
  char *r = NULL;

  if (vd_uri_parse (uri, &u, err) == 0 && !(r = strdup (base_name (u.path))))
    vd_fail (err, VD_NOMEM, "out of memory");
  vd_uri_free (&u);
  return r;
}

/* How the base is called in the delta. */
static char *
name_of_base (const struct create *c, struct vd_err *err)
{
  return vd_is_uri (c->from) ? name_elsewhere (c->from, err)
    : name_inside (c->from, c->out, err);
}

/* base.img -> base.vmdk: what a descriptor of it would be called. */
static char *
default_hint (const struct create *c)
{
  const char *name = c->base.is_nbd || vd_is_uri (c->from) ? "base"
    : base_name (c->from);
  const char *dot = strrchr (name, '.');
  char *r;

  return asprintf (&r, "%.*s.vmdk", (int) (dot && dot != name
                                           ? (size_t) (dot - name)
                                           : strlen (name)), name) == -1
    ? NULL : r;
}

int
create_find_parent (struct create *c, struct vd_err *err)
{
  if (c->base_descriptor) {
    if (c->base.is_nbd || c->base.is_vmdk || vd_is_uri (c->from))
      return vd_fail (err, VD_USAGE, "--base-descriptor needs a raw file or a "
                      "block device as --from, not %s", c->from);
    c->hint = name_inside (c->base_descriptor, c->out, err);
    if (!c->hint || make_base_descriptor (c, err) == -1)
      return -1;
  }
  else if (c->base.is_vmdk) {
    if (!c->has_cid)
      c->w.parent_cid = c->base.cid;
    if (!c->w.parent_hint && !(c->hint = name_of_base (c, err)))
      return -1;
  }
  else {
    if (!c->has_cid)
      c->w.parent_cid = VD_CID_FRESH;
    if (!c->w.parent_hint) {
      c->hint = default_hint (c);
      if (!c->hint)
        return vd_fail (err, VD_NOMEM, "out of memory");
    }
  }
  if (c->hint)
    c->w.parent_hint = c->hint;
  return 0;
}
