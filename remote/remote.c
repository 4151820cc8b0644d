/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* From a URI to a file; see remote.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "hosts.h"
#include "http.h"
#include "nbd.h"
#include "ranges.h"
#include "remote.h"
#include "transport.h"

struct remote {
  struct transport_params params;
  struct cache *cache;
  struct hosts *hosts;
  struct http *http;            /* NULL: not needed yet, or not here */
  unsigned limit[CACHE_KINDS];  /* requests under way */
  char **uri;                   /* all that were opened: the place of one is
                                   its number */
  size_t nr_uris;
  struct trusted {              /* hosts that send parts of files (ranges.h) */
    char *place;                /* "https://host:port" */
    bool yes;
  } *trusted;
  size_t nr_trusted;
};

struct remote *
remote_new (struct vd_err *err)
{
  struct remote *r = calloc (1, sizeof *r);

  if (!r)
    vd_fail_nomem (err);
  else if ((r->hosts = hosts_new (err)) != NULL &&
           (r->cache = cache_new (err)) != NULL)
    return r;
  else
    hosts_free (r->hosts);
  free (r);
  return NULL;
}

int
remote_param (struct remote *r, const char *text, struct vd_err *err)
{
  return transport_parse (&r->params, text, err);
}

void
remote_start_threads (struct remote *r)
{
  cache_start_threads (r->cache);
}

void
remote_free (struct remote *r)
{
  if (!r)
    return;
  hosts_free (r->hosts);        /* it has files in the cache */
  cache_free (r->cache);
  http_free (r->http);
  transport_free (&r->params);
  while (r->nr_uris > 0)
    free (r->uri[--r->nr_uris]);
  free (r->uri);
  while (r->nr_trusted > 0)
    free (r->trusted[--r->nr_trusted].place);
  free (r->trusted);
  free (r);
}

/* Equal URIs have the same number, from 1 on; 0: no memory. */
static ino_t
number_of (struct remote *r, const char *uri, struct vd_err *err)
{
  char **more;
  size_t i;

  for (i = 0; i < r->nr_uris; ++i)
    if (strcmp (r->uri[i], uri) == 0)
      return (ino_t) i + 1;
  more = vd_grow (r->uri, r->nr_uris, sizeof *more, err);
  if (!more)
    return 0;
  r->uri = more;
  more[i] = strdup (uri);
  if (!more[i]) {
    vd_fail_nomem (err);
    return 0;
  }
  return (ino_t) ++r->nr_uris;
}

/* ---- A server of our own ------------------------------------------------------ */

struct server {
  const struct transport *transport;
  char *name;
  char **argv;
};

static int
dial (void *opaque, struct captive *c, struct vd_err *err)
{
  const struct server *s = opaque;

  return captive_start (c, s->argv, err);
}

static int
explain (void *opaque, const char *said, struct vd_err *err)
{
  const struct server *s = opaque;

  return transport_explain (s->transport, s->name, said, err);
}

static void
free_server (void *opaque)
{
  struct server *s = opaque;

  transport_free_command (s->argv);
  free (s->name);
  free (s);
}

static struct vd_file *
open_by_plugin (const struct remote *r, const struct transport *t,
                const struct vd_uri *u, const char *name, struct vd_err *err)
{
  struct server *s = calloc (1, sizeof *s);
  const struct nbd_dialer dialer = {
    .dial = dial, .explain = explain, .free = free_server, .opaque = s,
  };

  if (!s || !(s->name = strdup (name))) {
    free (s);
    vd_fail_nomem (err);
    return NULL;
  }
  s->transport = t;
  s->argv = transport_command (t, u, &r->params, err);
  if (!s->argv) {
    free_server (s);
    return NULL;
  }
  return nbdfile_open_captive (name, &dialer,
                               transport_connections (t, &r->params), err);
}

/* ---- Opening ------------------------------------------------------------------ */

static struct trusted *
trusted_of (struct remote *r, const struct vd_uri *u, struct vd_err *err)
{
  CLEANUP_FREE char *place = NULL;
  struct trusted *more;
  size_t i;

  if (asprintf (&place, "%s://%s", u->scheme, u->authority) == -1) {
    place = NULL;
    vd_fail_nomem (err);
    return NULL;
  }
  for (i = 0; i < r->nr_trusted; ++i)
    if (strcmp (r->trusted[i].place, place) == 0)
      return &r->trusted[i];
  more = vd_grow (r->trusted, r->nr_trusted, sizeof *more, err);
  if (!more)
    return NULL;
  r->trusted = more;
  more[r->nr_trusted] = (struct trusted) { .place = VD_TAKE (place) };
  return &more[r->nr_trusted++];
}

/* A web server is looked at before it is believed. */
static struct vd_file *
distrust (struct remote *r, const struct vd_uri *u, struct vd_file *f,
          struct vd_err *err)
{
  struct trusted *t = trusted_of (r, u, err);

  if (t)
    return ranges_file (f, &t->yes, err);
  vd_file_close (f);
  return NULL;
}

/* Those that share a limit. */
enum { KIND_NBD, KIND_SSH, KIND_HTTP };

static unsigned
kind_of (const struct vd_uri *u)
{
  return strncmp (u->scheme, "nbd", 3) == 0 ? KIND_NBD
    : *u->scheme == 's' ? KIND_SSH : KIND_HTTP;
}

/* Requests to a shell wait in its line; all others need a connection each. */
#define SHELL_REQUESTS 16u

/* f, which may be NULL, behind the cache. */
static struct vd_file *
keep_blocks (struct remote *r, const struct vd_uri *u,
             const struct transport *t, struct vd_file *f, ino_t number,
             struct vd_err *err)
{
  if (!f)
    return NULL;
  cache_set_limit (r->cache, kind_of (u), r->limit[kind_of (u)]);
  f = cache_file (r->cache, f, kind_of (u), transport_request (t), err);
  if (f) {
    f->dev = VD_URI_DEV;
    f->ino = number;
  }
  return f;
}

/* How many files are opened because of their names. */
#define MAX_EARLY 64u

/* Ask for the beginnings of what belongs to the same disk. */
static void
open_early (struct remote *r, struct shell *shell, struct hosts_dir *d,
            const struct vd_uri *u, const struct transport *t,
            const char *base)
{
  const size_t dir = (size_t) (base - u->path);
  struct vd_err ignored;
  struct hosts_file *f;
  unsigned n = 0;
  size_t i = 0;

  while (n++ < MAX_EARLY && (f = hosts_relative (d, base, &i)) != NULL) {
    CLEANUP_FREE char *path = NULL, *uri = NULL;
    ino_t number;

    if (asprintf (&path, "%.*s%s", (int) dir, u->path, f->name) == -1) {
      path = NULL;
      return;
    }
    uri = vd_uri_with_path (u, path);
    number = uri ? number_of (r, uri, &ignored) : 0;
    if (number == 0)
      return;
    f->early = keep_blocks (r, u, t,
                            shell_open (shell, path, uri, f->stamp, &ignored),
                            number, &ignored);
    if (f->early && f->early->size > 0)
      vd_file_peek (f->early, NULL, 0, 1, 0);
  }
}

/* *f is NULL, without an error, if the host has no shell. */
static int
open_by_shell (struct remote *r, const struct transport *t,
               const struct vd_uri *u, const char *name, ino_t number,
               struct vd_file **f, struct vd_err *err)
{
  const char *base = strrchr (u->path, '/') + 1;
  struct hosts_file *entry;
  struct hosts_dir *d;
  struct shell *shell;
  bool listed;

  *f = NULL;
  if (kind_of (u) != KIND_SSH)
    return 0;
  if (hosts_shell (r->hosts, u, t, &r->params, &shell, err) == -1)
    return -1;
  if (!shell)
    return 0;
  d = hosts_dir (r->hosts, u, err);
  if (!d)
    return -1;
  entry = hosts_find (d, base, &listed);
  if (listed && !entry)
    return vd_fail (err, VD_NOT_FOUND, "%s: there is no such file on that host",
                    name);
  r->limit[KIND_SSH] = SHELL_REQUESTS;
  if (entry)
    open_early (r, shell, d, u, t, base);
  *f = entry && entry->early ? VD_TAKE (entry->early)
    : keep_blocks (r, u, t, shell_open (shell, u->path, name,
                                        entry ? entry->stamp : NULL, err),
                   number, err);
  return *f ? 0 : -1;
}

static struct vd_file *
open_parsed (struct remote *r, const struct vd_uri *u, const char *name,
             struct vd_err *err)
{
  const struct transport *t = transport_of (u);
  const ino_t number = number_of (r, name, err);
  struct vd_file *f;

  if (number == 0 || open_by_shell (r, t, u, name, number, &f, err) == -1)
    return NULL;
  if (f)
    return f;
  r->limit[kind_of (u)] = transport_connections (t, &r->params);
  if (kind_of (u) == KIND_HTTP && !r->http &&
      http_new (&r->params, &r->http, err) == -1)
    return NULL;
  if (kind_of (u) == KIND_HTTP && r->http)
    return keep_blocks (r, u, t, http_open (r->http, u, name, err), number,
                        err);
  f = t ? open_by_plugin (r, t, u, name, err)
    : nbdfile_open (name, false, 1, err);
  if (f && kind_of (u) == KIND_HTTP)
    f = distrust (r, u, f, err);
  return keep_blocks (r, u, t, f, number, err);
}

struct vd_file *
remote_open (void *remote, const char *uri, struct vd_err *err)
{
  struct vd_uri u;
  CLEANUP_FREE char *name = NULL;
  struct vd_file *f = NULL;

  /* One spelling: "a/../b" is the same file as "b". */
  if (vd_uri_parse (uri, &u, err) == 0) {
    name = vd_uri_with_path (&u, u.path);
    if (name)
      f = open_parsed (remote, &u, name, err);
    else
      vd_fail_nomem (err);
  }
  vd_uri_free (&u);
  return f;
}

int
remote_sha256 (struct remote *r, const char *uri, char hex[REMOTE_SUM],
               struct vd_err *err)
{
  struct shell *shell = NULL;
  struct vd_uri u;
  int result = vd_uri_parse (uri, &u, err);

  if (result == 0 && kind_of (&u) == KIND_SSH) {
    shell = hosts_known (r->hosts, &u);
    if (shell)
      result = shell_sum (shell, u.path, uri, hex, err);
  }
  vd_uri_free (&u);
  return result;
}
