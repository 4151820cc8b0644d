/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Empty children; see create-child.h. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "check/check.h"
#include "create/create-child.h"
#include "create/create-vdi.h"
#include "create/create.h"
#include "file/uri.h"

/* ---- Names ------------------------------------------------------------------ */

static char *
real_directory (const char *path, struct vd_err *err)
{
  CLEANUP_FREE char *dir = vd_directory_of (path);
  char *real = dir ? realpath (dir, NULL) : NULL;

  if (!dir)
    vd_fail_nomem (err);
  else if (!real)
    vd_fail_errno (err, errno, "%s", dir);
  return real;
}

char *
vd_parent_hint (const char *child, const char *parent, struct vd_err *err)
{
  CLEANUP_FREE char *dir = real_directory (child, err);
  CLEANUP_FREE char *real = dir ? realpath (parent, NULL) : NULL;
  size_t n, up;                 /* of the child's directory, and the parent's */
  char *hint = NULL;
  int r;

  if (!dir)
    return NULL;
  if (!real) {
    vd_fail_errno (err, errno, "%s", parent);
    return NULL;
  }
  n = strlen (dir);
  if (n == 1)
    n = 0;                      /* the root */
  up = (size_t) (strrchr (real, '/') - real);
  if (up >= n && strncmp (dir, real, n) == 0 && real[n] == '/')
    r = asprintf (&hint, "%s", real + n + 1);
  else if (up < n && strncmp (dir, real, up) == 0 && dir[up] == '/' &&
           !memchr (dir + up + 1, '/', n - up - 1))
    r = asprintf (&hint, "../%s", real + up + 1);
  else
    r = asprintf (&hint, "%s", real);
  if (r == -1) {
    vd_fail_nomem (err);
    return NULL;
  }
  return hint;
}

/* Up to where "disk-000002.vmdk" is "disk". */
static size_t
stem_length (const char *name)
{
  const char *dot = strrchr (name, '.');
  size_t n = dot && dot > name ? (size_t) (dot - name) : strlen (name);

  if (n > 7 && name[n - 7] == '-' &&
      strspn (name + n - 6, "0123456789") >= 6)
    n -= 7;
  return n;
}

/* As much of a name as leaves room for "-000001-delta.vmdk", and for what new
 * files and the marks of a merge are called; without half a character at the
 * end.
 */
static size_t
shorten (const char *name, size_t n)
{
  const size_t most = NAME_MAX - 80;

  if (n <= most)
    return n;
  for (n = most; n > 1 && ((unsigned char) name[n] & 0xc0) == 0x80; --n)
    ;
  return n;
}

char *
vd_numbered_name (const char *path, struct vd_err *err)
{
  const char *slash = strrchr (path, '/'), *name = slash ? slash + 1 : path;
  const int stem
    = (int) (name - path) + (int) shorten (name, stem_length (name));
  unsigned i;

  for (i = 1; i < 1000000; ++i) {
    CLEANUP_FREE char *text = NULL, *extent = NULL;

    if (asprintf (&text, "%.*s-%06u.vmdk", stem, path, i) == -1)
      text = NULL;
    if (asprintf (&extent, "%.*s-%06u-delta.vmdk", stem, path, i) == -1)
      extent = NULL;
    if (!text || !extent) {
      vd_fail_nomem (err);
      return NULL;
    }
    if (access (text, F_OK) == -1 && access (extent, F_OK) == -1)
      return VD_TAKE (text);
  }
  vd_fail (err, VD_USAGE, "no name is free for a child of %s", path);
  return NULL;
}

char *
vd_child_name (const struct vd_link *parent, struct vd_err *err)
{
  const char *slash = strrchr (parent->path, '/');
  char text[VD_UUID_TEXT], *path = NULL;
  uint8_t uuid[16];

  if (parent->descriptor)
    return vd_numbered_name (parent->path, err);
  if (vd_uuid_new (uuid, err) == -1)
    return NULL;
  if (asprintf (&path, "%.*s{%s}.vdi",
                slash ? (int) (slash + 1 - parent->path) : 0, parent->path,
                vd_uuid_text (text, uuid)) == -1) {
    vd_fail_nomem (err);
    return NULL;
  }
  return path;
}

/* ---- Making ------------------------------------------------------------------ */

static int
make_vmdk (const char *path, const struct vd_create_opts *opts,
           struct vd_err *err)
{
  struct vd_create *w = vd_create_open (path, opts, err);

  return w ? vd_create_finish (w, NULL, err) : -1;
}

int
vd_child_format (const char *name, enum vd_child_format *format,
                 struct vd_err *err)
{
  static const char *const names[] = {
    [VD_CHILD_KDMV] = "kdmv", [VD_CHILD_COWD] = "cowd", [VD_CHILD_VDI] = "vdi",
  };
  unsigned i;

  *format = VD_CHILD_USUAL;
  if (!name)
    return 0;
  for (i = VD_CHILD_KDMV; i <= VD_CHILD_VDI; ++i)
    if (strcmp (name, names[i]) == 0) {
      *format = (enum vd_child_format) i;
      return 0;
    }
  return vd_fail (err, VD_USAGE, "'%.100s' is no format for a new child: kdmv, "
                  "cowd and vdi are", name);
}

int
vd_create_child_of_raw (const char *path, uint64_t capacity,
                        enum vd_child_format format, struct vd_err *err)
{
  const bool cowd = format == VD_CHILD_COWD;
  const struct vd_create_opts opts = {
    .format = cowd ? VD_WRITER_COWD : VD_WRITER_SPARSE, .capacity = capacity,
    .store_zeros = !cowd, .parent_cid = VD_CID_FRESH,
    .create = vd_file_create_private,
  };

  if (format == VD_CHILD_VDI)
    return vd_fail (err, VD_UNSUPPORTED, "%s: a VDI names its parent by "
                    "UUID, and raw bytes have none: kdmv and cowd are possible",
                    path);
  return make_vmdk (path, &opts, err);
}

static enum vd_child_format
usual_format (const struct vd_link *parent)
{
  return !parent->descriptor && !vd_uuid_is_null (parent->id.image)
    ? VD_CHILD_VDI
    : strcmp (vd_link_format (parent), "COWD") == 0 ? VD_CHILD_COWD
    : VD_CHILD_KDMV;
}

static int
check_chain (const struct vd_chain *chain, const struct vd_opts *opts,
             struct vd_err *err)
{
  if (vd_check_whole (chain, opts, err) == 0)
    return 0;
  if (err->code == VD_TRUNCATED)
    vd_err_append (err, ".  No child is made of a disk that is not whole: copy "
                   "it again from where it is (vmdkdelta check lists what is "
                   "missing)");
  return -1;
}

int
vd_create_child (const char *path, const struct vd_chain *chain,
                 const struct vd_opts *opts, enum vd_child_format format,
                 struct vd_err *err)
{
  const struct vd_link *parent = chain->links[0];
  const struct vd_file *like = vd_chain_strictest (chain);
  const bool by_uuid = !vd_uuid_is_null (parent->id.image);
  struct vd_create_opts w = { .capacity = parent->capacity, .like = like };
  CLEANUP_FREE char *hint = NULL;
  struct vd_identity id;

  if (vd_is_uri (parent->path))
    return vd_fail (err, VD_UNSUPPORTED, "%s is on another host, so that a "
                    "file here cannot say where its parent is: copy the chain "
                    "here first", parent->path);
  if (check_chain (chain, opts, err) == -1)
    return -1;
  if (format == VD_CHILD_USUAL)
    format = usual_format (parent);
  if (vd_uuid_new (id.image, err) == -1 || vd_uuid_new (id.modified, err) == -1)
    return -1;
  memcpy (id.parent, parent->id.image, 16);
  memcpy (id.parent_modified, parent->id.modified, 16);
  if (format == VD_CHILD_VDI)
    return by_uuid
      ? vd_create_vdi_child (path, parent->capacity, &id, like, err)
      : vd_fail (err, VD_UNSUPPORTED, "%s has no UUID, so that no VDI can say on "
                 "which content it stands", parent->path);
  if (!parent->descriptor || !parent->descriptor->has_cid)
    return vd_fail (err, VD_UNSUPPORTED, "%s has no %s, so that no VMDK can "
                    "say on which content it stands", parent->path,
                    parent->descriptor ? "CID" : "descriptor");
  hint = vd_parent_hint (path, parent->path, err);
  if (!hint)
    return -1;
  w.format = format == VD_CHILD_COWD ? VD_WRITER_COWD : VD_WRITER_SPARSE;
  w.store_zeros = format != VD_CHILD_COWD;
  w.parent_cid = parent->descriptor->cid;
  w.parent_hint = hint;
  w.uuids = by_uuid && format != VD_CHILD_COWD ? &id : NULL;
  return make_vmdk (path, &w, err);
}
