/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Hosts with a shell, and what lies in their directories; see hosts.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hosts.h"

struct hosts_dir {
  char *path;
  bool listed;
  struct hosts_file *file;      /* by name */
  size_t n;
};

struct host {
  char *place;                  /* "user@host:port" */
  char **argv;
  struct shell *shell;          /* NULL: none */
  struct hosts_dir **dir;
  size_t nr_dirs;
};

struct hosts {
  struct host *host;
  size_t n;
};

struct hosts *
hosts_new (struct vd_err *err)
{
  struct hosts *h = calloc (1, sizeof *h);

  if (!h)
    vd_fail_nomem (err);
  return h;
}

static void
free_dir (struct hosts_dir *d)
{
  size_t i;

  for (i = 0; i < d->n; ++i) {
    vd_file_close (d->file[i].early);
    free (d->file[i].name);
  }
  free (d->file);
  free (d->path);
  free (d);
}

void
hosts_free (struct hosts *h)
{
  struct host *x;

  for (; h && h->n > 0; --h->n) {
    x = &h->host[h->n - 1];
    while (x->nr_dirs > 0)
      free_dir (x->dir[--x->nr_dirs]);
    free (x->dir);
    shell_free (x->shell);
    transport_free_command (x->argv);
    free (x->place);
  }
  if (h)
    free (h->host);
  free (h);
}

static struct host *
find_host (const struct hosts *h, const struct vd_uri *u)
{
  size_t i;

  for (i = 0; i < h->n; ++i)
    if (strcmp (h->host[i].place, u->authority) == 0)
      return &h->host[i];
  return NULL;
}

int
hosts_shell (struct hosts *h, const struct vd_uri *u,
             const struct transport *t, const struct transport_params *p,
             struct shell **shell, struct vd_err *err)
{
  struct host *x = find_host (h, u), *more;
  struct vd_err ignored;

  if (!x) {
    more = vd_grow (h->host, h->n, sizeof *more, err);
    if (!more)
      return -1;
    h->host = more;
    x = &more[h->n];
    *x = (struct host) { .place = strdup (u->authority) };
    if (!x->place)
      return vd_fail_nomem (err);
    h->n++;
    if (transport_shell (t, u, p, &x->argv, err) == -1)
      return -1;
    if (x->argv) {
      x->shell = shell_new (x->argv, transport_connections (t, p), err);
      if (!x->shell)
        return -1;
      if (shell_connect (x->shell, &ignored) == -1) {
        shell_free (x->shell);
        x->shell = NULL;
      }
    }
  }
  *shell = x->shell;
  return 0;
}

struct shell *
hosts_known (const struct hosts *h, const struct vd_uri *u)
{
  const struct host *x = find_host (h, u);

  return x ? x->shell : NULL;
}

/* ---- Directories ---------------------------------------------------------------- */

static int
add_file (void *opaque, const char *name, const char *stamp,
          struct vd_err *err)
{
  struct hosts_dir *d = opaque;
  struct hosts_file *more = vd_grow (d->file, d->n, sizeof *more, err), *f;

  if (!more)
    return -1;
  d->file = more;
  if (strlen (stamp) >= SHELL_STAMP)
    return 0;
  f = &more[d->n];
  *f = (struct hosts_file) { .name = strdup (name) };
  if (!f->name)
    return vd_fail_nomem (err);
  strcpy (f->stamp, stamp);
  d->n++;
  return 0;
}

static int
by_name (const void *a, const void *b)
{
  return strcmp (((const struct hosts_file *) a)->name,
                 ((const struct hosts_file *) b)->name);
}

struct hosts_dir *
hosts_dir (struct hosts *h, const struct vd_uri *u, struct vd_err *err)
{
  struct host *x = find_host (h, u);
  const char *slash = strrchr (u->path, '/');
  CLEANUP_FREE char *path = strndup (u->path, slash == u->path ? 1
                                     : (size_t) (slash - u->path));
  struct hosts_dir **more, *d;
  struct vd_err ignored;
  size_t i;

  if (!path) {
    vd_fail_nomem (err);
    return NULL;
  }
  for (i = 0; i < x->nr_dirs; ++i)
    if (strcmp (x->dir[i]->path, path) == 0)
      return x->dir[i];
  more = vd_grow (x->dir, x->nr_dirs, sizeof (struct hosts_dir *), err);
  if (!more)
    return NULL;
  x->dir = more;
  d = calloc (1, sizeof *d);
  if (!d) {
    vd_fail_nomem (err);
    return NULL;
  }
  d->path = VD_TAKE (path);
  x->dir[x->nr_dirs++] = d;
  /* Without a list files are opened one by one. */
  d->listed = shell_list (x->shell, d->path, add_file, d, &ignored) == 0;
  if (d->n > 0)
    qsort (d->file, d->n, sizeof *d->file, by_name);
  return d;
}

struct hosts_file *
hosts_find (struct hosts_dir *d, const char *name, bool *listed)
{
  const struct hosts_file key = { .name = (char *) name };

  *listed = d->listed && !strchr (name, '\n');
  return d->n > 0 ? bsearch (&key, d->file, d->n, sizeof key, by_name) : NULL;
}

/* ---- Names that are alike ----------------------------------------------------------- */

/* Take the end from the first len bytes. */
static bool
cut (const char *name, size_t *len, const char *end)
{
  const size_t n = strlen (end);

  if (*len <= n || strncasecmp (name + *len - n, end, n) != 0)
    return false;
  *len -= n;
  return true;
}

/* "-000001" */
static void
cut_number (const char *name, size_t *len)
{
  size_t n = *len;

  while (n > 0 && isdigit ((unsigned char) name[n - 1]))
    --n;
  if (n > 1 && n < *len && name[n - 1] == '-')
    *len = n - 1;
}

/* "vm" of "vm-000003-sesparse.vmdk"; 0: it is no name of a VMDK. */
static size_t
stem_of (const char *name)
{
  size_t len = strlen (name);

  if (!cut (name, &len, ".vmdk"))
    return 0;
  if (!cut (name, &len, "-delta") && !cut (name, &len, "-sesparse"))
    cut (name, &len, "-flat");
  cut_number (name, &len);
  return len;
}

struct hosts_file *
hosts_relative (struct hosts_dir *d, const char *name, size_t *i)
{
  const size_t len = stem_of (name);
  const struct hosts_file *f;

  for (; len > 0 && *i < d->n; ++*i) {
    f = &d->file[*i];
    if (!f->taken && stem_of (f->name) == len &&
        strncmp (f->name, name, len) == 0)
      {
      d->file[*i].taken = true;
      return &d->file[(*i)++];
    }
  }
  return NULL;
}
