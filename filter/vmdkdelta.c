/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* nbdkit-vmdkdelta-filter: a VMDK delta laid over any export, which is only
 * read; the newest delta is written if the user says so.
 *
 * nbdkit's callbacks are turned into calls of the library; there is no other
 * logic here.  The deltas are opened once for the process, in get_ready: later
 * the current directory, stderr and the user may be different.  Each
 * connection has its own view of the base (base.h).
 *
 * The server asserts that a failing data callback has set *err.  All of them
 * leave through `failed` below, so that none can forget.
 */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nbdkit-filter.h>

#include "base.h"
#include "filter-config.h"
#include "serve.h"
#include "vmdkdelta.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* -D vmdkdelta.map=1: how each read is put together. */
NBDKIT_DLL_PUBLIC int vmdkdelta_debug_map;

/* .load is called once for each --filter on the command line, but all of
 * them share this object.
 */
static unsigned nr_loads;

static struct vd_opts opts;     /* borrowed by the deltas */
static struct vd_deltas deltas;
static struct vd_reader *reader;
static struct vd_disk *disk;    /* NULL: nothing is written; else the reader is
                                   the disk's */

/* What the first connection that fits found: all others must find the same.
 * Protected by the lock.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *export_name;       /* NULL: none seen yet */
static int64_t base_size;
static bool base_is_raw;        /* it was looked at */

struct handle {
  char *name;                   /* of the export */
  struct base base;
  struct vd_base vd_base;
};

static void
vmdkdelta_load (void)
{
  nr_loads++;
  vd_opts_set_prefix ("delta-");
}

static void
vmdkdelta_unload (void)
{
  struct vd_err err;

  if (!disk)
    vd_reader_free (reader);
  else if (vd_disk_close (disk, &err) == -1)
    nbdkit_error ("%s", err.msg);
  vd_deltas_close (&deltas);
  serve_remote_end ();
  disk = NULL;
  reader = NULL;
  config_free ();
  free (export_name);
  export_name = NULL;
  base_is_raw = false;
}

static int
vmdkdelta_config (nbdkit_next_config *next, nbdkit_backend *nxdata,
                  const char *key, const char *value)
{
  const int r = config_parse (key, value);

  return r == 0 ? next (nxdata, key, value) : r == 1 ? 0 : -1;
}

static int
vmdkdelta_config_complete (nbdkit_next_config_complete *next,
                           nbdkit_backend *nxdata)
{
  if (nr_loads > 1) {
    nbdkit_error ("--filter=vmdkdelta is given %u times; give it once, with "
                  "delta=FILE for each delta, oldest first", nr_loads);
    return -1;
  }
  if (config.write && config.write_to) {
    nbdkit_error ("give either delta-write=true, which writes into the newest "
                  "delta, or delta-write-to=NEW, which writes into one on top "
                  "of it");
    return -1;
  }
  if (config.write_format && !config.write_to) {
    nbdkit_error ("delta-write-format= goes with delta-write-to=NEW: it is the "
                  "format of the file that is created");
    return -1;
  }
  if (config.deltas.n == 0 && !config.write_to) {
    nbdkit_error ("the vmdkdelta filter needs delta=FILE; see "
                  "nbdkit-vmdkdelta-filter(1)");
    return -1;
  }
  return next (nxdata);
}

#if NBDKIT_VERSION_MAJOR > 1 || NBDKIT_VERSION_MINOR >= 44
#define THREAD_MODEL_ARGS int next_thread_model __attribute__ ((__unused__))
#else
#define THREAD_MODEL_ARGS void
#endif

static int
vmdkdelta_thread_model (THREAD_MODEL_ARGS)
{
  return THREAD_MODEL;
}

static int
open_deltas (struct vd_err *err)
{
  const struct vd_deltas_opts how = {
    .no_follow = !config.follow,
    .follow_option = "delta-follow=false",
    .allow_no_parent = config.allow_no_parent,
    .no_parent_option = "delta-allow-no-parent=true",
  };

  return vd_deltas_open (&deltas, (const char *const *) config.deltas.path,
                         config.deltas.n, &how, &opts, err);
}

/* delta-write-to=: one more delta, the newest.  If it is not there, it is an
 * empty child of the others.
 */
static int
add_newest (struct vd_err *err)
{
  char **path = realloc (config.deltas.path,
                         (config.deltas.n + 1) * sizeof *path);
  enum vd_child_format format;
  int r = 0;

  if (!path)
    return vd_fail_nomem (err);
  config.deltas.path = path;
  if (vd_child_format (config.write_format, &format, err) == -1)
    return -1;
  if (config.deltas.n > 0 && access (config.write_to, F_OK) == -1) {
    r = open_deltas (err);
    if (r == 0)
      r = vd_create_child (config.write_to, deltas.chain, &opts, format, err);
    vd_deltas_close (&deltas);
  }
  if (r == -1)
    return -1;
  path[config.deltas.n] = strdup (config.write_to);
  if (!path[config.deltas.n])
    return vd_fail_nomem (err);
  config.deltas.n++;
  return 0;
}

/* Open what is served, when all files are there. */
static int
open_reader (struct vd_err *err)
{
  const struct vd_disk_opts how = {
    .budget = config.cache_size, .log = opts.log,
  };

  if (open_deltas (err) == -1)
    return -1;
  if (config.write || config.write_to) {
    if (vd_check_no_children (deltas.chain->links[0], &opts, err) == -1)
      return -1;
    disk = vd_disk_open (deltas.chain, &how, err);
    reader = disk ? vd_disk_reader (disk) : NULL;
  }
  else {
    vd_warn_beside (deltas.chain->links[0], &opts, true);
    reader = vd_reader_new (deltas.chain, config.cache_size, err);
  }
  return reader ? 0 : -1;
}

static int
vmdkdelta_get_ready (int thread_model)
{
  static char name[] = "vmdkdelta";
  struct vd_err err;

  (void) thread_model;
  opts = (struct vd_opts) {
    .log = { .fn = serve_log, .opaque = name },
    .allow_dirty = config.allow_dirty,
    .ignore_cid = config.ignore_cid,
    .tables = config.tables,
    .unconfined = config.unconfined,
    .for_writing = config.write || config.write_to,
    .raw_base = config.raw_base,
    .dirs = (const char *const *) config.dirs.path,
    .nr_dirs = config.dirs.n,
  };
  serve_begin (name);
  if (serve_remote (&opts, &config.remote, &err) == -1 ||
      serve_check_local ("delta-write-to", config.write_to, &err) == -1) {
    nbdkit_error ("%s", err.msg);
    return -1;
  }
  /* A first delta is as large as the base, which nobody has opened yet. */
  if (config.write_to && config.deltas.n == 0 &&
      access (config.write_to, F_OK) == -1)
    return 0;
  if ((config.write_to && add_newest (&err) == -1) ||
      open_reader (&err) == -1) {
    nbdkit_error ("%s", err.msg);
    return -1;
  }
  return 0;
}

static int
vmdkdelta_after_fork (nbdkit_backend *backend)
{
  (void) backend;
  serve_remote_start ();
  return 0;
}

/* The first client is there, and so is the size of the base. */
static int
make_first_delta (int64_t size)
{
  enum vd_child_format format;
  struct vd_err err;
  int r = 0;

  pthread_mutex_lock (&lock);
  if (!reader) {
    r = vd_child_format (config.write_format, &format, &err);
    if (r == 0)
      r = vd_create_child_of_raw (config.write_to, (uint64_t) size, format,
                                  &err);
    if (r == 0)
      r = add_newest (&err);
    if (r == 0)
      r = open_reader (&err);
  }
  pthread_mutex_unlock (&lock);
  if (r == -1)
    nbdkit_error ("%s", err.msg);
  return r;
}

/* One set of deltas belongs to one export of the base: over another of the
 * same size they would give a wrong disk, and no error.  Which one it is says
 * delta-export, or the first client whose export fits in all respects; one that
 * is refused decides nothing.  "" is a name like any other here: a base that
 * says which export it means by that has been asked, by the server.
 */
static const char *
wrong_export (const char *name, const char **why)
{
  if (config.export && strcmp (config.export, name) != 0) {
    *why = "is the one that delta-export names";
    return config.export;
  }
  if (export_name && strcmp (export_name, name) != 0) {
    *why = "was opened first (delta-export=NAME decides)";
    return export_name;
  }
  return NULL;
}

/* Called with the lock. */
static int
check_export_name (const char *name)
{
  char safe[256], other[256];
  const char *why, *is = wrong_export (name, &why);

  if (!is)
    return 0;
  vd_escape (safe, sizeof safe, name);
  vd_escape (other, sizeof other, is);
  nbdkit_error ("export '%s' is refused: the deltas belong to one export, and "
                "'%s' %s", safe, other, why);
  return -1;
}

/* Called with the lock. */
static int
check_export_size (int64_t size)
{
  if (!export_name || size == base_size)
    return 0;
  nbdkit_error ("the base has %" PRIi64 " bytes now, but had %" PRIi64
                " when the first client connected: it is not the same any "
                "more", size, base_size);
  return -1;
}

/* Compare a connection with the first one; what was found out of that one's
 * base needs no second look.
 */
static int
check_pinned (struct handle *h, int64_t size)
{
  int r = -1;

  pthread_mutex_lock (&lock);
  if (check_export_name (h->name) == 0 && check_export_size (size) == 0) {
    if (export_name && base_is_raw)
      atomic_store (&h->base.is_raw, true);
    r = 0;
  }
  pthread_mutex_unlock (&lock);
  return r;
}

/* Everything fits: if this is the first one, it decides for the others. */
static int
pin (const struct handle *h, int64_t size)
{
  int r = -1;

  pthread_mutex_lock (&lock);
  if (check_export_name (h->name) == 0 && check_export_size (size) == 0) {
    if (!export_name) {
      export_name = strdup (h->name);
      base_size = size;
      base_is_raw = atomic_load (&h->base.is_raw);
    }
    if (export_name)
      r = 0;
    else
      nbdkit_error ("strdup: %m");
  }
  pthread_mutex_unlock (&lock);
  return r;
}

static const char *
vmdkdelta_default_export (nbdkit_next_default_export *next,
                          nbdkit_backend *nxdata, int readonly, int is_tls)
{
  (void) is_tls;
  return config.export ? config.export : next (nxdata, readonly);
}

static int
vmdkdelta_list_exports (nbdkit_next_list_exports *next,
                        nbdkit_backend *nxdata, int readonly, int is_tls,
                        struct nbdkit_exports *exports)
{
  (void) is_tls;
  return config.export ? nbdkit_add_export (exports, config.export, NULL)
    : next (nxdata, readonly, exports);
}

static void
free_handle (struct handle *h)
{
  if (h)
    free (h->name);
  free (h);
}

static void *
vmdkdelta_open (nbdkit_next_open *next, nbdkit_context *nxdata,
                int readonly, const char *exportname, int is_tls)
{
  struct handle *h = calloc (1, sizeof *h);
  int r;

  (void) readonly;
  (void) is_tls;
  if (!h || !(h->name = strdup (exportname))) {
    nbdkit_error ("malloc: %m");
    free_handle (h);
    return NULL;
  }
  pthread_mutex_lock (&lock);
  r = check_export_name (h->name);
  pthread_mutex_unlock (&lock);
  /* Read-only, whatever the client asks: the base is never harmed. */
  if (r == -1 || next (nxdata, 1, exportname) == -1) {
    free_handle (h);
    return NULL;
  }
  return h;
}

static void
vmdkdelta_close (void *handle)
{
  free_handle (handle);
}

static int
check_base_size (int64_t size)
{
  const struct vd_link *piece
    = vd_deltas_find_piece (&deltas, (uint64_t) size);

  if (piece) {
    nbdkit_error ("%s describes %" PRIu64 " bytes and the base has %" PRIi64
                  ": it is probably one piece of a split disk; give the "
                  "descriptor that names all pieces", piece->path,
                  piece->capacity, size);
    return -1;
  }
  if ((uint64_t) size < deltas.chain->size) {
    if (!config.allow_short_base) {
      nbdkit_error ("the base has %" PRIi64 " bytes, but the delta %s is for "
                    "a disk of %" PRIu64 " bytes: the base is not the right "
                    "one or its copy is incomplete "
                    "(delta-allow-short-base=true reads zeros beyond its "
                    "end)", size, deltas.chain->links[0]->path, deltas.chain->size);
      return -1;
    }
    nbdkit_debug ("base of %" PRIi64 " bytes reads as zeros up to %" PRIu64,
                  size, deltas.chain->size);
  }
  else if ((uint64_t) size > deltas.chain->size)
    nbdkit_debug ("base of %" PRIi64 " bytes is cut at the delta's size of %"
                  PRIu64, size, deltas.chain->size);
  return 0;
}

static int
check_base_kind (struct handle *h)
{
  struct vd_err err;

  switch (base_look (&h->base, &err)) {
  case -1:
    nbdkit_error ("%s", err.msg);
    return -1;
  case 1:                       /* reads will tell, or it passes */
    nbdkit_debug ("cannot look at the base: %s", err.msg);
    break;
  }
  return 0;
}

#define MAX_PREFERRED (UINT32_C (32) << 20)

/* The server checks what a plugin says of its blocks, but not what a filter
 * below us says.
 */
static bool
is_minimum (uint32_t n)
{
  return n <= 65536 && vd_is_power_of_2 (n);
}

/* The largest request that the layer below takes, in whole blocks of it.  Some
 * say 0 (not known), or what makes no sense.
 */
static uint32_t
usable_maximum (uint32_t minimum, uint32_t maximum)
{
  if (maximum < 512 || maximum < minimum)
    return UINT32_MAX;
  return maximum == UINT32_MAX ? maximum : maximum - maximum % minimum;
}

/* The server wants every can_* of the layer below to be asked before what
 * depends on it is called.
 */
static int
vmdkdelta_prepare (nbdkit_next *next, void *handle, int readonly)
{
  struct handle *h = handle;
  const int64_t size = next->get_size (next);
  const int can_extents = next->can_extents (next);
  uint32_t minimum, preferred, maximum;

  (void) readonly;
  if (size == -1 || can_extents == -1 || next->can_multi_conn (next) == -1 ||
      next->is_rotational (next) == -1 ||
      next->block_size (next, &minimum, &preferred, &maximum) == -1)
    return -1;

  minimum = is_minimum (minimum) ? minimum : 1;
  base_init (&h->base, next, (uint64_t) size, can_extents, minimum,
             usable_maximum (minimum, maximum), &opts);
  h->vd_base = (struct vd_base) { .file = &h->base.file, .align = minimum };

  /* What the base is tells more than that its size is wrong. */
  if (check_pinned (h, size) == -1 || check_base_kind (h) == -1 ||
      make_first_delta (size) == -1 || check_base_size (size) == -1)
    return -1;
  return pin (h, size);
}

static int64_t
vmdkdelta_get_size (nbdkit_next *next, void *handle)
{
  (void) next;
  (void) handle;
  return (int64_t) deltas.chain->size;
}

/* All capabilities are answered here: what is not would be asked of a base
 * that was opened read-only.
 */
static int
no (nbdkit_next *next, void *handle)
{
  (void) next;
  (void) handle;
  return 0;
}

static int
is_written (nbdkit_next *next, void *handle)
{
  (void) next;
  (void) handle;
  return disk != NULL;
}

static int
vmdkdelta_can_zero (nbdkit_next *next, void *handle)
{
  return is_written (next, handle) ? NBDKIT_ZERO_NATIVE : NBDKIT_ZERO_NONE;
}

static int
vmdkdelta_can_fua (nbdkit_next *next, void *handle)
{
  return is_written (next, handle) ? NBDKIT_FUA_NATIVE : NBDKIT_FUA_NONE;
}

static int
vmdkdelta_can_extents (nbdkit_next *next, void *handle)
{
  (void) next;
  (void) handle;
  return 1;
}

static int
vmdkdelta_can_cache (nbdkit_next *next, void *handle)
{
  (void) next;
  (void) handle;
  return NBDKIT_CACHE_NATIVE;   /* see serve_cache */
}

/* All connections write to one disk, and a flush is for all; of the base they
 * see the same as far as its own do.
 */
static int
vmdkdelta_can_multi_conn (nbdkit_next *next, void *handle)
{
  (void) handle;
  return next->can_multi_conn (next);
}

static int
vmdkdelta_is_rotational (nbdkit_next *next, void *handle)
{
  (void) handle;
  return next->is_rotational (next);
}

/* The base's, but for the preferred size, which is at least that of the
 * grains.  Clients refuse a server that says what is not lawful: powers of
 * two, in order; so where the base does, it is not listened to.
 */
static int
vmdkdelta_block_size (nbdkit_next *next, void *handle, uint32_t *minimum,
                      uint32_t *preferred, uint32_t *maximum)
{
  const uint32_t grain = serve_preferred_block (deltas.chain);
  uint32_t below;

  (void) handle;
  if (next->block_size (next, minimum, preferred, maximum) == -1)
    return -1;
  if (!is_minimum (*minimum))
    *minimum = 1;
  *maximum = usable_maximum (*minimum, *maximum);
  below = *preferred;
  *preferred = grain > *minimum ? grain : *minimum;
  while (*preferred < below && *preferred < MAX_PREFERRED)
    *preferred *= 2;
  while (*preferred > *maximum)
    *preferred /= 2;
  return 0;
}

/* The one exit of failing data callbacks. */
static int
failed (const struct vd_err *err, int *errnum)
{
  *errnum = serve_failed (err);
  return -1;
}

static int
vmdkdelta_pread (nbdkit_next *next, void *handle, void *buf, uint32_t count,
                 uint64_t offset, uint32_t flags, int *errnum)
{
  struct handle *h = handle;
  struct vd_err err;

  (void) next;
  (void) flags;
  if (vmdkdelta_debug_map)
    serve_debug_map (reader, count, offset);
  if (vd_read (reader, &h->vd_base, buf, count, offset, &err) == -1)
    return failed (&err, errnum);
  return 0;
}

static int
vmdkdelta_extents (nbdkit_next *next, void *handle, uint32_t count,
                   uint64_t offset, uint32_t flags,
                   struct nbdkit_extents *extents, int *errnum)
{
  struct handle *h = handle;
  struct vd_err err;

  (void) next;
  if (serve_extents (reader, &h->vd_base, count, offset, flags,
                     extents, &err) == -1)
    return failed (&err, errnum);
  return 0;
}

static int
vmdkdelta_cache (nbdkit_next *next, void *handle, uint32_t count,
                 uint64_t offset, uint32_t flags, int *errnum)
{
  struct handle *h = handle;
  struct vd_err err;

  (void) next;
  (void) flags;
  if (serve_cache (reader, &h->vd_base, count, offset, &err) == -1)
    return failed (&err, errnum);
  return 0;
}

/* What all that write end with: r is what the library said. */
static int
written (int r, uint32_t flags, struct vd_err *err, int *errnum)
{
  if (r == 0 && (flags & NBDKIT_FLAG_FUA))
    r = vd_disk_flush (disk, err);
  return r == -1 ? failed (err, errnum) : 0;
}

static int
vmdkdelta_pwrite (nbdkit_next *next, void *handle, const void *buf,
                  uint32_t count, uint64_t offset, uint32_t flags,
                  int *errnum)
{
  const struct handle *h = handle;
  struct vd_err err;

  (void) next;
  return written (vd_disk_write (disk, &h->vd_base, buf, count, offset, &err),
                  flags, &err, errnum);
}

static int
vmdkdelta_zero (nbdkit_next *next, void *handle, uint32_t count,
                uint64_t offset, uint32_t flags, int *errnum)
{
  const struct handle *h = handle;
  struct vd_err err;

  (void) next;
  return written (vd_disk_zero (disk, &h->vd_base, count, offset, &err),
                  flags, &err, errnum);
}

static int
vmdkdelta_trim (nbdkit_next *next, void *handle, uint32_t count,
                uint64_t offset, uint32_t flags, int *errnum)
{
  const struct handle *h = handle;
  struct vd_err err;

  (void) next;
  return written (vd_disk_trim (disk, &h->vd_base, count, offset, &err),
                  flags, &err, errnum);
}

static int
vmdkdelta_flush (nbdkit_next *next, void *handle, uint32_t flags,
                 int *errnum)
{
  struct vd_err err;

  (void) next;
  (void) handle;
  (void) flags;
  return vd_disk_flush (disk, &err) == -1 ? failed (&err, errnum) : 0;
}

#if NBDKIT_VERSION_MAJOR > 1 || NBDKIT_VERSION_MINOR >= 36
static void
vmdkdelta_dump_plugin (void)
{
  serve_dump ("vmdkdelta");
}
#endif

static struct nbdkit_filter filter = {
  .name = "vmdkdelta",
  .longname = "nbdkit VMDK delta filter " VMDKDELTA_VERSION,
  .load = vmdkdelta_load,
  .unload = vmdkdelta_unload,
  .config = vmdkdelta_config,
  .config_complete = vmdkdelta_config_complete,
  .config_help = config_help,
#if NBDKIT_VERSION_MAJOR > 1 || NBDKIT_VERSION_MINOR >= 36
  .dump_plugin = vmdkdelta_dump_plugin,
#endif
  .thread_model = vmdkdelta_thread_model,
  .get_ready = vmdkdelta_get_ready,
  .after_fork = vmdkdelta_after_fork,
  .list_exports = vmdkdelta_list_exports,
  .default_export = vmdkdelta_default_export,
  .open = vmdkdelta_open,
  .close = vmdkdelta_close,
  .prepare = vmdkdelta_prepare,
  .get_size = vmdkdelta_get_size,
  .can_write = is_written,
  .can_flush = is_written,
  .can_trim = is_written,
  .can_zero = vmdkdelta_can_zero,
  .can_fast_zero = no,
  .can_fua = vmdkdelta_can_fua,
  .can_extents = vmdkdelta_can_extents,
  .can_cache = vmdkdelta_can_cache,
  .can_multi_conn = vmdkdelta_can_multi_conn,
  .is_rotational = vmdkdelta_is_rotational,
  .block_size = vmdkdelta_block_size,
  .pread = vmdkdelta_pread,
  .extents = vmdkdelta_extents,
  .cache = vmdkdelta_cache,
  .pwrite = vmdkdelta_pwrite,
  .zero = vmdkdelta_zero,
  .trim = vmdkdelta_trim,
  .flush = vmdkdelta_flush,
};

NBDKIT_REGISTER_FILTER (filter)
