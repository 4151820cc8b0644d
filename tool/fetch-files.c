/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Which files belong to a disk or machine elsewhere; see verb-fetch.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verb-fetch.h"

/* Of a machine, what VMware has beside its .vmx, as far as it is there. */
static const char *const beside[] = { ".vmsd", ".vmxf", ".nvram" };

static int
add (struct fetch_files *f, const char *uri, const struct vd_opts *opts,
     bool needed, struct vd_err *err)
{
  struct fetch_file *more, *x;
  size_t i;

  if (!vd_is_uri (uri))
    return vd_fail (err, VD_USAGE, "%s belongs to it, and is here already: only "
                    "what is elsewhere as a whole can be fetched", uri);
  for (i = 0; i < f->n; ++i)
    if (strcmp (f->file[i].uri, uri) == 0)
      return 0;
  more = vd_grow (f->file, f->n, sizeof *more, err);
  if (!more)
    return -1;
  f->file = more;
  x = &more[f->n];
  *x = (struct fetch_file) { .file = vd_open (uri, opts, err) };
  if (!x->file)
    return needed || err->code != VD_NOT_FOUND ? -1 : 0;
  x->uri = strdup (x->file->name);
  if (!x->uri) {
    vd_file_close (x->file);
    return vd_fail (err, VD_NOMEM, "out of memory");
  }
  f->n++;
  f->total += x->file->size;
  return 0;
}

static int
add_link (struct fetch_files *f, const struct vd_link *link,
          const struct vd_opts *opts, struct vd_err *err)
{
  const struct vd_file *file;
  size_t i;

  if (add (f, link->path, opts, true, err) == -1)
    return -1;
  for (i = 0; i < link->nr_pieces; ++i) {
    file = link->pieces[i].image->file;
    if (file && add (f, file->name, opts, true, err) == -1)
      return -1;
  }
  return 0;
}

static int
add_chain (struct fetch_files *f, struct vd_family *family,
           struct vd_member *m, struct vd_err *err)
{
  struct vd_chain *chain;
  int r = -1;

  if (!m || vd_family_resolve (family, m, err) == -1)
    return -1;
  chain = vd_family_chain (family, m, err);
  if (!chain)
    return -1;
  if (!chain->has_base)
    vd_fail (err, VD_USAGE, "%s does not say what is below it: give its "
             "descriptor", m->link->path);
  else
    for (r = 0; m && r == 0; m = m->parent)
      r = add_link (f, m->link, family->opts, err);
  vd_chain_free (chain);
  return r;
}

/* Files beside "NAME.vmx" that are called alike. */
static int
add_beside (struct fetch_files *f, const char *uri, const struct vd_opts *opts,
            struct vd_err *err)
{
  const size_t n = strcspn (uri, "?");
  size_t i;

  if (n < 4 || strncmp (uri + n - 4, ".vmx", 4) != 0)
    return 0;
  for (i = 0; i < sizeof beside / sizeof beside[0]; ++i) {
    char *name;
    int r;

    if (asprintf (&name, "%.*s%s%s", (int) n - 4, uri, beside[i],
                  uri + n) == -1)
      return vd_fail (err, VD_NOMEM, "out of memory");
    r = add (f, name, opts, false, err);
    free (name);
    if (r == -1)
      return -1;
  }
  return 0;
}

static int
add_machine (struct fetch_files *f, struct vd_family *family,
             const char *uri, struct vd_err *err)
{
  struct vd_machine *m = vd_machine_open (uri, family, err);
  size_t i;
  int r;

  if (!m)
    return -1;
  r = vd_machine_trouble (m, err);
  if (r == 0)
    r = add (f, uri, family->opts, true, err);
  if (r == 0)
    r = add_beside (f, uri, family->opts, err);
  for (i = 0; i < m->n && r == 0; ++i)
    r = add_chain (f, family, vd_machine_member (m, i, err), err);
  if (r == 0)
    vd_machine_warn_state (m);
  vd_machine_free (m);
  return r;
}

/* ---- Names here ------------------------------------------------------------------- */

/* How much of the paths is the same: up to behind a slash. */
static size_t
common (const char *a, const char *b, size_t n)
{
  size_t i, slash = 0;

  for (i = 0; i < n && a[i] == b[i] && a[i] != '\0'; ++i)
    if (a[i] == '/')
      slash = i + 1;
  return slash;
}

static int
set_path (struct fetch_files *f, size_t i, const char *dir, const char *name,
          struct vd_err *err)
{
  struct fetch_file *x = &f->file[i];
  size_t k;

  if (asprintf (&x->path, "%s/%s", dir, name) == -1) {
    x->path = NULL;
    return vd_fail (err, VD_NOMEM, "out of memory");
  }
  x->name = x->path + strlen (dir) + 1;
  for (k = 0; k < i; ++k)
    if (strcmp (f->file[k].path, x->path) == 0)
      return vd_fail (err, VD_UNSUPPORTED, "%s and %s would have the same name "
                      "here", f->file[k].uri, x->uri);
  return 0;
}

static int
name_files (struct fetch_files *f, const char *dir, struct vd_err *err)
{
  struct vd_uri *u = calloc (f->n + 1, sizeof *u);
  size_t i, same = SIZE_MAX;
  int r = u ? 0 : vd_fail (err, VD_NOMEM, "out of memory");

  for (i = 0; i < f->n && r == 0; ++i)
    r = vd_uri_parse (f->file[i].uri, &u[i], err);
  for (i = 0; i < f->n && r == 0; ++i)
    same = common (u[0].path, u[i].path, same);
  for (i = 0; i < f->n && r == 0; ++i)
    r = set_path (f, i, dir, u[i].path + same, err);
  for (i = 0; u && i < f->n; ++i)
    vd_uri_free (&u[i]);
  free (u);
  return r;
}

int
fetch_find (struct fetch_files *f, const char *uri, const char *dir,
            const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_family *family = vd_family_new (opts, err);
  int r;

  *f = (struct fetch_files) { .n = 0 };
  if (!family)
    return -1;
  r = vd_machine_probe (uri) ? add_machine (f, family, uri, err)
    : add_chain (f, family, vd_family_add (family, uri, err), err);
  vd_family_free (family);
  return r == 0 ? name_files (f, dir, err) : -1;
}

void
fetch_free (struct fetch_files *f)
{
  for (; f->n > 0; --f->n) {
    vd_file_close (f->file[f->n - 1].file);
    free (f->file[f->n - 1].uri);
    free (f->file[f->n - 1].path);
  }
  free (f->file);
  f->file = NULL;
}
