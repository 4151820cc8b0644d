/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the filter and the plugin do alike; see serve.h. */

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "options.h"
#include "remote.h"
#include "serve.h"

#define MAX_REPORTED 100u

/* Open files that are left to nbdkit: three for each client, and those of the
 * plugin below a filter, which may open its own for each client.
 */
#define RESERVE 256u

void
serve_begin (char *name)
{
  const struct vd_log log = { .fn = serve_log, .opaque = name };

  vd_fd_limit_raise (RESERVE, &log);
}

static struct remote *remote;

int
serve_remote (struct vd_opts *opts, const struct paths *params,
              struct vd_err *err)
{
  size_t i;

  remote = remote_new (err);
  if (!remote)
    return -1;
  opts->open = remote_open;
  opts->remote = remote;
  for (i = 0; i < params->n; ++i)
    if (remote_param (remote, params->path[i], err) == -1)
      return -1;
  return 0;
}

void
serve_remote_start (void)
{
  if (remote)
    remote_start_threads (remote);
}

void
serve_remote_end (void)
{
  remote_free (remote);
  remote = NULL;
}

int
serve_check_local (const char *key, const char *path, struct vd_err *err)
{
  return !path || !vd_is_uri (path) ? 0
    : vd_fail (err, VD_USAGE, "%s=%s: what is written is a local file", key,
               path);
}

void
serve_log (void *opaque, enum vd_level level, const char *msg)
{
  if (level == VD_WARN)
    fprintf (stderr, "nbdkit: %s: warning: %s\n", (const char *) opaque, msg);
  else
    nbdkit_debug ("%s", msg);
}

int
serve_failed (const struct vd_err *err)
{
  static atomic_uint reported;
  const unsigned n = atomic_fetch_add (&reported, 1) + 1;

  if (n <= MAX_REPORTED)
    nbdkit_error ("%s%s", err->msg, n < MAX_REPORTED ? ""
                  : " (further errors are reported in verbose mode only)");
  else
    nbdkit_debug ("%s", err->msg);
  return vd_err_to_errno (err);
}

struct adder {
  struct nbdkit_extents *extents;
  uint64_t offset;
};

static int
add_extent (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct adder *a = opaque;

  if (nbdkit_add_extent (a->extents, a->offset, length,
                         (type & VD_HOLE ? NBDKIT_EXTENT_HOLE : 0) |
                         (type & VD_READS_ZERO ? NBDKIT_EXTENT_ZERO : 0))
      == -1)
    return vd_fail_errno (err, errno, "nbdkit_add_extent");
  a->offset += length;
  return 0;
}

#define CACHE_STEP (UINT32_C (1) << 20)

int
serve_cache (struct vd_reader *reader, const struct vd_base *base,
             uint32_t count, uint64_t offset, struct vd_err *err)
{
  CLEANUP_FREE void *buf = malloc (CACHE_STEP);
  uint32_t n;

  if (!buf)
    return vd_fail_nomem (err);
  for (; count > 0; offset += n, count -= n) {
    n = count < CACHE_STEP ? count : CACHE_STEP;
    if (vd_read (reader, base, buf, n, offset, err) == -1)
      return -1;
  }
  return 0;
}

int
serve_extents (struct vd_reader *reader, const struct vd_base *base,
               uint32_t count, uint64_t offset, uint32_t flags,
               struct nbdkit_extents *extents, struct vd_err *err)
{
  struct adder a = { .extents = extents, .offset = offset };

  /* Pieces of one type are put together by the server. */
  return vd_status (reader, base, offset, count,
                    (flags & NBDKIT_FLAG_REQ_ONE) != 0, add_extent, &a, err);
}

static void
debug_run (const struct vd_chain *chain, const struct vd_run *r)
{
  static const char *const kinds[] = {
    [VD_BASE] = "base", [VD_ZERO] = "zero", [VD_DATA] = "data",
    [VD_COMPRESSED] = "compressed", [VD_DAMAGED] = "damaged",
  };

  if (r->kind == VD_DATA || r->kind == VD_COMPRESSED)
    nbdkit_debug ("map: %" PRIu64 "+%" PRIu64 " %s layer %" PRIu32
                  " %s at %" PRIu64, r->offset, r->length, kinds[r->kind],
                  chain->slots[r->slot].layer,
                  chain->slots[r->slot].image->file->name, r->where);
  else
    nbdkit_debug ("map: %" PRIu64 "+%" PRIu64 " %s", r->offset, r->length,
                  kinds[r->kind]);
}

void
serve_debug_map (struct vd_reader *reader, uint32_t count, uint64_t offset)
{
  const uint64_t end = offset + count;
  struct vd_runs runs = VD_RUNS_INIT (64);
  struct vd_err err;
  size_t i;

  runs.max_work = VD_STATUS_WORK;
  while (offset < end && runs.work < VD_STATUS_WORK) {
    runs.n = 0;
    if (vd_reader_map (reader, offset, end - offset, &runs, &err) == -1) {
      nbdkit_debug ("map: %s", err.msg);
      break;
    }
    for (i = 0; i < runs.n; ++i)
      debug_run (vd_reader_get_chain (reader), &runs.run[i]);
    offset = vd_run_end (&runs.run[runs.n - 1]);
  }
  vd_runs_free (&runs);
}

uint32_t
serve_preferred_block (const struct vd_chain *chain)
{
  uint64_t grain = 4096, g;
  size_t i;

  for (i = 0; i < chain->nr_links; ++i) {
    g = vd_link_max_grain (chain->links[i]);
    if (g > grain)
      grain = g;
  }
  return grain > UINT32_C (32) << 20 ? UINT32_C (32) << 20 : (uint32_t) grain;
}

void
serve_dump (const char *name)
{
  size_t i;

  printf ("%s_version=%s\n", name, VMDKDELTA_VERSION);
  printf ("%s_formats=", name);
  for (i = 0; vd_formats[i]; ++i)
    printf ("%s ", vd_formats[i]->name);
  printf ("%s %s\n", vd_format_flat.name, vd_format_zero.name);
}
