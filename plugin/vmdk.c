/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* nbdkit-vmdk-plugin: VMDK disks with all their snapshots, read, and the newest
 * one written if the user says so.
 *
 * nbdkit's callbacks are turned into calls of the library; what there is to
 * serve is found in exports.c.  Everything is opened in get_ready: later the
 * current directory, stderr and the user may be different.
 */

#include <errno.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "exports.h"
#include "plugin-config.h"
#include "serve.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* -D vmdk.map=1: how each read is put together. */
NBDKIT_DLL_PUBLIC int vmdk_debug_map;

static struct exports exports;

struct handle {
  const struct export *export;
  struct vd_reader *reader;
};

/* The chains end in a base of their own: there is nothing underneath. */
static const struct vd_base nothing = { .file = NULL, .align = 1 };

static void
vmdk_unload (void)
{
  exports_close (&exports);
  serve_remote_end ();
  config_free ();
}

static int
vmdk_config (const char *key, const char *value)
{
  const int r = config_parse (key, value);

  if (r == 0)
    nbdkit_error ("unknown parameter '%s'; see nbdkit-vmdk-plugin(1)", key);
  return r == 1 ? 0 : -1;
}

static int
vmdk_config_complete (void)
{
  if (!config.file == !config.dir) {
    nbdkit_error ("give either file=FILE, a VMDK disk or snapshot, or "
                  "dir=DIR, a directory of them; see nbdkit-vmdk-plugin(1)");
    return -1;
  }
  if (config.write && config.write_to) {
    nbdkit_error ("give either write=true, which writes into the disk itself, "
                  "or write-to=NEW, which writes into a child of it");
    return -1;
  }
  if (config.write_format && !config.write_to) {
    nbdkit_error ("write-format= goes with write-to=NEW: it is the format of "
                  "the file that is created");
    return -1;
  }
  if (config.write_to && !config.file) {
    nbdkit_error ("write-to= goes with file=FILE: it is a child of one disk");
    return -1;
  }
  return 0;
}

static void
vmdk_dump_plugin (void)
{
  serve_dump ("vmdk");
}

static int
vmdk_get_ready (void)
{
  struct vd_err err;

  if (exports_open (&exports, &err) == -1) {
    nbdkit_error ("%s", err.msg);
    return -1;
  }
  return 0;
}

static int
vmdk_after_fork (void)
{
  serve_remote_start ();
  return 0;
}

static int
vmdk_list_exports (int readonly, int is_tls, struct nbdkit_exports *list)
{
  size_t i;

  (void) readonly;
  (void) is_tls;
  /* One that cannot be opened would end the listing of some clients; what is
   * wrong with it was said at start, and is told to who opens it.
   */
  for (i = 0; i < exports.n; ++i)
    if (!exports.export[i].error &&
        nbdkit_add_export (list, exports.export[i].name,
                           exports.export[i].description) == -1)
      return -1;
  return 0;
}

static const char *
vmdk_default_export (int readonly, int is_tls)
{
  (void) readonly;
  (void) is_tls;
  return exports.dflt ? exports.dflt->name : "";
}

static void *
vmdk_open (int readonly)
{
  const char *name = nbdkit_export_name ();
  struct export *x;
  struct handle *h;
  struct vd_err err;
  char safe[256];

  (void) readonly;
  if (!name)
    return NULL;
  x = exports_find (&exports, name, &err);
  if (!x) {
    nbdkit_error ("%s", err.msg);
    return NULL;
  }
  if (x->error) {
    vd_escape (safe, sizeof safe, x->name);
    nbdkit_error ("export %s cannot be opened: %s", safe, x->error);
    return NULL;
  }
  h = calloc (1, sizeof *h);
  if (!h) {
    nbdkit_error ("calloc: %m");
    return NULL;
  }
  h->export = x;
  h->reader = export_reader (&exports, x, &err);
  if (!h->reader) {
    nbdkit_error ("%s", err.msg);
    free (h);
    return NULL;
  }
  return h;
}

static void
vmdk_close (void *handle)
{
  free (handle);
}

static int64_t
vmdk_get_size (void *handle)
{
  const struct handle *h = handle;

  return (int64_t) h->export->chain->size;
}

static int
is_written (void *handle)
{
  const struct handle *h = handle;

  return h->export->disk != NULL;
}

/* The server would flush behind each write with FUA; so do we. */
static int
vmdk_can_fua (void *handle)
{
  return is_written (handle) ? NBDKIT_FUA_NATIVE : NBDKIT_FUA_NONE;
}

static int
no (void *handle)
{
  (void) handle;
  return 0;
}

/* All connections read and write the same disk, and a flush is for all. */
static int
vmdk_can_multi_conn (void *handle)
{
  (void) handle;
  return 1;
}

static int
vmdk_can_extents (void *handle)
{
  (void) handle;
  return 1;
}

static int
vmdk_can_cache (void *handle)
{
  (void) handle;
  return NBDKIT_CACHE_NATIVE;   /* see serve_cache */
}

static int
vmdk_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                 uint32_t *maximum)
{
  const struct handle *h = handle;

  *minimum = 1;
  *preferred = serve_preferred_block (h->export->chain);
  *maximum = UINT32_MAX;
  return 0;
}

static int
failed (const struct vd_err *err)
{
  errno = serve_failed (err);
  return -1;
}

static int
vmdk_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
            uint32_t flags)
{
  const struct handle *h = handle;
  struct vd_err err;

  (void) flags;
  if (vmdk_debug_map)
    serve_debug_map (h->reader, count, offset);
  if (vd_read (h->reader, &nothing, buf, count, offset, &err) == -1)
    return failed (&err);
  return 0;
}

static int
vmdk_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  const struct handle *h = handle;
  struct vd_err err;

  (void) flags;
  if (serve_cache (h->reader, &nothing, count, offset, &err) == -1)
    return failed (&err);
  return 0;
}

static int
vmdk_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
              struct nbdkit_extents *extents)
{
  const struct handle *h = handle;
  struct vd_err err;

  if (serve_extents (h->reader, &nothing, count, offset, flags, extents,
                     &err) == -1)
    return failed (&err);
  return 0;
}

/* What all that write end with: r is what the library said. */
static int
written (const struct handle *h, int r, uint32_t flags, struct vd_err *err)
{
  if (r == 0 && (flags & NBDKIT_FLAG_FUA))
    r = vd_disk_flush (h->export->disk, err);
  return r == -1 ? failed (err) : 0;
}

static int
vmdk_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
             uint32_t flags)
{
  const struct handle *h = handle;
  struct vd_err err;

  return written (h, vd_disk_write (h->export->disk, &nothing, buf, count,
                                    offset, &err), flags, &err);
}

static int
vmdk_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  const struct handle *h = handle;
  struct vd_err err;

  return written (h, vd_disk_zero (h->export->disk, &nothing, count, offset,
                                   &err), flags, &err);
}

static int
vmdk_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  const struct handle *h = handle;
  struct vd_err err;

  return written (h, vd_disk_trim (h->export->disk, &nothing, count, offset,
                                   &err), flags, &err);
}

static int
vmdk_flush (void *handle, uint32_t flags)
{
  const struct handle *h = handle;
  struct vd_err err;

  (void) flags;
  return vd_disk_flush (h->export->disk, &err) == -1 ? failed (&err) : 0;
}

static struct nbdkit_plugin plugin = {
  .name = "vmdk",
  .longname = "nbdkit VMDK plugin",
  .version = VMDKDELTA_VERSION,
  .description = "VMDK disks and snapshots, whole chains",
  .magic_config_key = "file",
  .unload = vmdk_unload,
  .config = vmdk_config,
  .config_complete = vmdk_config_complete,
  .config_help = config_help,
  .dump_plugin = vmdk_dump_plugin,
  .get_ready = vmdk_get_ready,
  .after_fork = vmdk_after_fork,
  .list_exports = vmdk_list_exports,
  .default_export = vmdk_default_export,
  .open = vmdk_open,
  .close = vmdk_close,
  .get_size = vmdk_get_size,
  .can_write = is_written,
  .can_flush = is_written,
  .can_trim = is_written,
  .can_zero = is_written,
  .can_fast_zero = no,
  .can_fua = vmdk_can_fua,
  .can_multi_conn = vmdk_can_multi_conn,
  .can_extents = vmdk_can_extents,
  .can_cache = vmdk_can_cache,
  .block_size = vmdk_block_size,
  .pread = vmdk_pread,
  .extents = vmdk_extents,
  .cache = vmdk_cache,
  .pwrite = vmdk_pwrite,
  .zero = vmdk_zero,
  .trim = vmdk_trim,
  .flush = vmdk_flush,
  .errno_is_preserved = 1,
};

NBDKIT_REGISTER_PLUGIN (plugin)
