/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding disks and snapshots; see exports.h. */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "exports.h"
#include "machine-exports.h"
#include "plugin-config.h"
#include "serve.h"

/* Protects the making of readers. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *
base_name (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? slash + 1 : path;
}

/* Of a URI: the path, decoded, without what is behind it. */
static char *
plain_path (const char *path, struct vd_err *err)
{
  struct vd_uri u = { .path = NULL };
  char *plain = NULL;

  if (!vd_is_uri (path)) {
    plain = strdup (path);
    if (!plain)
      vd_fail_nomem (err);
  }
  else if (vd_uri_parse (path, &u, err) == 0)
    plain = VD_TAKE (u.path);
  vd_uri_free (&u);
  return plain;
}

/* What a client sees in a list of exports. */
static char *
describe (const struct export *x)
{
  const struct vd_link *link = x->member->link;
  const char *hint = vd_link_hint (link);
  const struct vd_member *parent = x->member->parent;
  char cid[16] = "none", safe[256] = "", *text;
  int r;

  if (link->descriptor && link->descriptor->has_cid)
    snprintf (cid, sizeof cid, "%08" PRIx32, link->descriptor->cid);
  if (parent)
    vd_escape (safe, sizeof safe, hint ? hint : base_name (parent->link->path));
  r = asprintf (&text, "%s, depth %u, %" PRIu64 " bytes, CID %s, %s%s",
                vd_link_format (link), vd_member_depth (x->member),
                link->capacity, cid, parent ? "created from " : "base disk",
                safe);
  return r == -1 ? NULL : text;
}

/* A new export for a member, named like its file.  Two links of a chain may
 * have the same name in different directories: then the path is the name.
 */
static struct export *
add_export (struct exports *e, struct vd_member *member, struct vd_err *err)
{
  struct export *p = vd_grow (e->export, e->n, sizeof *p, err);
  const char *path = member->link->path, *name;
  CLEANUP_FREE char *plain = plain_path (path, err);
  size_t i;

  if (!p || !plain)
    return NULL;
  name = base_name (plain);
  e->export = p;
  for (i = 0; i < e->n; ++i)
    if (strcmp (p[i].name, name) == 0)
      name = path;
  p[e->n] = (struct export) { .name = strdup (name), .member = member };
  if (!p[e->n].name) {
    vd_fail_nomem (err);
    return NULL;
  }
  return &p[e->n++];
}

/* Resolve and open one export.  With fatal, an error is returned; otherwise
 * it is kept for the client who asks for this export.
 */
static int
open_export (struct exports *e, struct export *x, bool fatal,
             struct vd_err *err)
{
  if (vd_family_resolve (e->family, x->member, err) == 0)
    x->chain = vd_family_chain (e->family, x->member, err);
  if (!x->chain) {
    if (fatal || err->code == VD_NOMEM)
      return -1;
    vd_warn (&e->opts.log, "export %s cannot be opened: %s", x->name,
             err->msg);
    x->error = strdup (err->msg);
    return x->error ? 0 : vd_fail_nomem (err);
  }
  x->description = describe (x);
  return x->description ? 0 : vd_fail_nomem (err);
}

/* ---- Writing ---------------------------------------------------------------- */

static int
make_child (struct exports *e, struct vd_member *top, struct vd_err *err)
{
  enum vd_child_format format;
  struct vd_chain *chain;
  int r;

  if (vd_child_format (config.write_format, &format, err) == -1 ||
      vd_family_resolve (e->family, top, err) == -1)
    return -1;
  chain = vd_family_chain (e->family, top, err);
  if (!chain)
    return -1;
  r = vd_create_child (config.write_to, chain, &e->opts, format, err);
  vd_chain_free (chain);
  return r;
}

/* write-to=: the member that is written, which stands on `top`. */
static struct vd_member *
open_child (struct exports *e, struct vd_member *top, struct vd_err *err)
{
  const char *path = config.write_to;
  struct vd_member *m;
  struct stat st;

  if (stat (path, &st) == -1 && errno == ENOENT) {
    if (make_child (e, top, err) == -1)
      return NULL;
    nbdkit_debug ("%s was made on %s", path, top->link->path);
  }
  m = vd_family_add (e->family, path, err);
  if (!m || vd_family_find_parent (e->family, m, err) == -1)
    return NULL;
  if (m == top || m->parent != top) {
    vd_fail (err, VD_USAGE, "%s is there, and is not a child of %s%s%s: "
             "nothing is written into it.  Give the name of a new file, or of "
             "the child that was made on it", path, top->link->path,
             m->parent ? ", but of " : "",
             m->parent ? m->parent->link->path : "");
    return NULL;
  }
  return m;
}

/* Clients may write into this export. */
static int
open_disk (const struct exports *e, struct export *x, struct vd_err *err)
{
  const struct vd_disk_opts how = {
    .budget = config.cache_size, .log = e->opts.log,
  };

  x->disk = vd_disk_open (x->chain, &how, err);
  if (!x->disk)
    return -1;
  x->reader = vd_disk_reader (x->disk);
  return 0;
}

/* file=: the link given, and all links below it. */
static int
open_file (struct exports *e, struct vd_err *err)
{
  struct vd_member *m = vd_family_add (e->family, config.file, err);
  struct export *x;

  if (m && config.write_to)
    m = open_child (e, m, err);
  if (!m || vd_family_resolve (e->family, m, err) == -1)
    return -1;
  for (; m; m = m->parent) {
    /* When a merge was interrupted, the newest state is right and those below
     * it are not: that must not keep the newest from being served.
     */
    x = add_export (e, m, err);
    if (!x || open_export (e, x, e->n == 1, err) == -1)
      return -1;
  }
  e->dflt = &e->export[0];
  if (!config.write && !config.write_to) {
    vd_warn_beside (e->export[0].member->link, &e->opts, true);
    return 0;
  }
  return vd_check_no_children (e->export[0].member->link, &e->opts, err) == -1
    ? -1 : open_disk (e, &e->export[0], err);
}

static bool
has_suffix (const char *name, const char *suffix)
{
  const size_t n = strlen (name), m = strlen (suffix);

  return n >= m && strcasecmp (name + n - m, suffix) == 0;
}

/* A file that cannot be opened is no reason to stop, unless it is the process
 * that cannot: then more would be missing than is said here.
 */
static int
no_export (const struct exports *e, const char *what,
           const struct vd_err *why, struct vd_err *err)
{
  if (why->code == VD_NOMEM) {
    *err = *why;
    return -1;
  }
  vd_warn (&e->opts.log, "%s%s", what, why->msg);
  return 0;
}

/* "disk.vmdk", "disk.vdi", and a redo log: "disk.vmdk.REDO_a1b2c3". */
static bool
is_disk_name (const char *name)
{
  return has_suffix (name, ".vmdk") || has_suffix (name, ".vdi") ||
    strcasestr (name, ".vmdk.REDO_");
}

/* Data of a disk, which the guest could make look like anything, is no export.
 * But somebody may have called a disk so: one without NAME.vmdk beside.
 */
static void
look_at_flat (const struct exports *e, int dir, const char *name,
              const char *path)
{
  char *descriptor = vd_descriptor_name (name);
  struct vd_link *link = NULL;
  struct vd_file *file;
  struct vd_err ignored;

  if (descriptor && faccessat (dir, descriptor, F_OK, 0) == -1 &&
      (file = vd_dir_open (dir, name, path, &ignored)))
    link = vd_link_read (file, path, &e->opts, &ignored);
  if (link && link->role != VD_ROLE_BARE)
    vd_warn (&e->opts.log, "not an export: %s looks like a disk, but is called "
             "like the data of one: if it is none, rename it, or give it as "
             "file=", path);
  vd_link_close (link);
  free (descriptor);
}

/* One file of the directory: an export if it is a disk or a snapshot, that
 * is, if it has a descriptor.
 */
static int
add_file (void *opaque, int dir, const char *name, const char *path,
          struct vd_err *err)
{
  struct exports *e = opaque;
  const struct vd_format *fmt;
  struct vd_member *m;
  struct vd_link *link;
  struct vd_file *file;
  enum vd_magic magic;
  struct vd_err why;

  if (!is_disk_name (name))
    return 0;
  if (vd_is_flat_name (name)) {
    look_at_flat (e, dir, name, path);
    return 0;
  }
  file = vd_dir_open (dir, name, path, &why);
  if (!file || vd_image_probe (file, &magic, &fmt, &why) == -1) {
    vd_file_close (file);
    return no_export (e, "", &why, err);
  }
  if (magic != VD_MAGIC_TEXT && magic != VD_MAGIC_SPARSE) {
    vd_file_close (file);       /* flat data */
    return 0;
  }
  link = vd_link_read (file, path, &e->opts, &why);
  if (!link)
    return no_export (e, "not an export: ", &why, err);
  if (link->role == VD_ROLE_BARE) { /* an extent of some disk */
    vd_link_close (link);
    return 0;
  }
  m = vd_family_add_link (e->family, link, err);
  return m && add_export (e, m, err) ? 0 : -1;
}

/* Is this file an extent of one of the other disks? */
static bool
is_flat_extent (const struct exports *e, const struct vd_link *link)
{
  size_t i;
  uint32_t k;

  for (i = 0; i < e->n; ++i) {
    const struct vd_chain *chain = e->export[i].chain;

    for (k = 0; chain && k < chain->nr_slots; ++k) {
      const struct vd_image *image = chain->slots[k].image;

      if (image->fmt == &vd_format_flat && image->file->ino == link->ino &&
          image->file->dev == link->dev)
        return true;
    }
  }
  return false;
}

static void
free_export (struct export *x)
{
  struct vd_err err;

  if (!x->disk)
    vd_reader_free (x->reader);
  else if (vd_disk_close (x->disk, &err) == -1)
    nbdkit_error ("%s", err.msg);
  vd_chain_free (x->chain);
  free (x->name);
  free (x->description);
  free (x->error);
}

/* Whatever its first bytes look like, what holds the data of a disk is not a
 * disk itself.
 */
static void
drop_flat_extents (struct exports *e)
{
  size_t i, n = 0;

  for (i = 0; i < e->n; ++i) {
    if (is_flat_extent (e, e->export[i].member->link))
      free_export (&e->export[i]);
    else
      e->export[n++] = e->export[i];
    if (n <= i)                 /* not to be looked at again */
      e->export[i].chain = NULL;
  }
  e->n = n;
}

static int
count_disk (void *opaque, int dir, const char *name, const char *path,
            struct vd_err *err)
{
  size_t *n = opaque;

  (void) dir, (void) path, (void) err;
  *n += is_disk_name (name);
  return 0;
}

/* There are more files than may be open: how many should it be?  All that is
 * said of extents in other directories is that they are more.
 */
static int
too_many_files (const struct exports *e, size_t open_before,
                struct vd_err *err)
{
  struct vd_err ignored;
  size_t n = 0;

  if (vd_scandir (config.dir, count_disk, &n, &ignored) == -1)
    n = e->n;
  vd_err_prefix (err, "%s holds %zu files of disks, which are open as long as "
                 "they are served; a limit of %zu open files would do.  Raise "
                 "it, or serve the disks one by one with file=: ", config.dir,
                 n, open_before + n);
  return -1;
}

/* dir=: everything in it. */
static int
open_all (struct exports *e, struct vd_err *err)
{
  size_t i;

  if (vd_scandir (config.dir, add_file, e, err) == -1)
    return -1;
  for (i = 0; i < e->n; ++i) {
    e->export[i].may_write = config.write;
    if (open_export (e, &e->export[i], false, err) == -1)
      return -1;
  }
  return 0;
}

static int
open_dir (struct exports *e, struct vd_err *err)
{
  const size_t open_before = vd_fd_limit_for (0);
  const struct export *leaf = NULL;
  size_t i, k, leaves = 0;

  if (open_all (e, err) == -1)
    return err->code == VD_NOMEM && err->errnum != 0
      ? too_many_files (e, open_before, err) : -1;
  drop_flat_extents (e);
  if (e->n == 0)
    return vd_fail (err, VD_NOT_FOUND, "%s: there is no VMDK disk or snapshot "
                    "in this directory", config.dir);

  /* With one disk only, its newest snapshot is what "" means. */
  for (i = 0; i < e->n; ++i) {
    for (k = 0; k < e->n; ++k)
      if (e->export[k].member->parent == e->export[i].member)
        break;
    if (k == e->n) {
      leaf = &e->export[i];
      ++leaves;
    }
  }
  if (leaves == 1)
    e->dflt = leaf;
  return 0;
}

int
exports_open (struct exports *e, struct vd_err *err)
{
  static char name[] = "vmdk";
  struct stat st;

  *e = (struct exports) {
    .opts = {
      .log = { .fn = serve_log, .opaque = name },
      .allow_dirty = config.allow_dirty,
      .ignore_cid = config.ignore_cid,
      .tables = config.tables,
      .unconfined = config.unconfined,
      .for_writing = config.write || config.write_to,
      .raw_base = config.raw_base,
      .dirs = (const char *const *) config.dirs.path,
      .nr_dirs = config.dirs.n,
      .registry = config.registry,
      .parent = config.parent,
    },
  };
  serve_begin (name);
  if (serve_remote (&e->opts, &config.remote, err) == -1 ||
      serve_check_local ("write-to", config.write_to, err) == -1 ||
      vd_confine_check_dirs (&e->opts, err) == -1)
    return -1;
  e->family = vd_family_new (&e->opts, err);
  if (!e->family)
    return -1;
  if (!config.file && vd_is_uri (config.dir))
    return vd_fail (err, VD_UNSUPPORTED, "dir=%s: a directory of another host "
                    "cannot be listed: name a disk in it with file=, of which "
                    "each link becomes an export", config.dir);
  if (!config.file)
    return open_dir (e, err);
  if (stat (config.file, &st) == 0 && S_ISDIR (st.st_mode))
    return vd_fail (err, VD_USAGE, "%s is a directory: dir=%s serves the disks "
                    "in it", config.file, config.file);
  if (!vd_machine_probe (config.file))
    return open_file (e, err);
  if (config.write_to)
    return vd_fail (err, VD_USAGE, "%s is a machine: write-to= goes with one "
                    "of its disks", config.file);
  return machine_open (e, config.file, err);
}

void
exports_close (struct exports *e)
{
  size_t i;

  for (i = 0; i < e->n; ++i)
    free_export (&e->export[i]);
  free (e->export);
  vd_family_free (e->family);
  machine_close (e);
  *e = (struct exports) { .n = 0 };
}

struct export *
exports_find (struct exports *e, const char *name, struct vd_err *err)
{
  size_t i;

  if (e->machine)
    return machine_find (e, name, err);
  if (*name == '\0' && e->dflt)
    name = e->dflt->name;
  for (i = 0; i < e->n; ++i)
    if (strcmp (e->export[i].name, name) == 0)
      return &e->export[i];
  if (*name == '\0')
    vd_fail (err, VD_USAGE, "there are %zu exports and none is the default: "
             "name one of them (nbdinfo --list shows them)", e->n);
  else
    vd_fail (err, VD_NOT_FOUND, "there is no export '%.255s'; nbdinfo --list "
             "shows those that there are", name);
  return NULL;
}

/* A disk that cannot be written, or that something stands on, is read. */
static int
open_disk_or_not (const struct exports *e, struct export *x,
                  struct vd_err *err)
{
  const struct vd_link *link = x->member->link;
  int r = vd_write_check (link, err);

  if (r == 0)
    r = vd_check_no_children (link, &e->opts, err);
  if (r == 0)
    return open_disk (e, x, err);
  if (err->code != VD_UNSUPPORTED && err->code != VD_DENIED)
    return -1;
  vd_warn (&e->opts.log, "export %s is read-only: %s", x->name, err->msg);
  x->may_write = false;
  return 0;
}

struct vd_reader *
export_reader (const struct exports *e, struct export *x, struct vd_err *err)
{
  LOCK_FOR_SCOPE (&lock);

  if (!x->reader && x->may_write && open_disk_or_not (e, x, err) == -1)
    return NULL;
  if (!x->reader)
    x->reader = vd_reader_new (x->chain, config.cache_size, err);
  return x->reader;
}
