/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Names of files that lie elsewhere; see uri.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "file/uri.h"

static const char *const schemes[] = {
  "ssh", "sftp", "http", "https", "nbd", "nbds", "nbd+unix", "nbds+unix",
  "nbd+vsock", "nbds+vsock",
};

bool
vd_is_uri (const char *name)
{
  const size_t n = strcspn (name, ":");
  size_t i;

  if (strncmp (name + n, "://", 3) != 0)
    return false;
  for (i = 0; i < sizeof schemes / sizeof schemes[0]; ++i)
    if (strlen (schemes[i]) == n && strncmp (name, schemes[i], n) == 0)
      return true;
  return false;
}

char *
vd_path_normalise (const char *dir, const char *name)
{
  char *out, *o;
  const char *p;
  size_t len;

  if (asprintf (&out, "%s/%s", name[0] == '/' ? "" : dir, name) == -1)
    return NULL;
  o = out;
  p = out;
  while (*p) {
    while (*p == '/')
      ++p;
    len = strcspn (p, "/");
    if (len == 0 || (len == 1 && p[0] == '.'))
      ;
    else if (len == 2 && p[0] == '.' && p[1] == '.') {
      while (o > out && *--o != '/')
        ;
    }
    else {
      *o++ = '/';
      memmove (o, p, len);
      o += len;
    }
    p += len;
  }
  if (o == out)
    *o++ = '/';
  *o = '\0';
  return out;
}

const char *
vd_path_below (const char *path, const char *dir)
{
  const size_t len = strcmp (dir, "/") == 0 ? 0 : strlen (dir);

  if (strncmp (path, dir, len) != 0 || path[len] != '/' ||
      path[len + 1] == '\0')
    return NULL;
  return path + len + 1;
}

static int
hex (char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
    : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place.  False: a % is not followed by two digits, or means a NUL. */
static bool
decode (char *s)
{
  char *o = s;

  for (; *s; ++s, ++o) {
    *o = *s;
    if (*s != '%')
      continue;
    if (hex (s[1]) == -1 || hex (s[2]) == -1)
      return false;
    *o = (char) (hex (s[1]) * 16 + hex (s[2]));
    if (*o == '\0')
      return false;
    s += 2;
  }
  *o = '\0';
  return true;
}

static int
check_authority (const struct vd_uri *u, struct vd_err *err)
{
  const char *at = strrchr (u->authority, '@');
  const char *colon = strchr (u->authority, ':'), *p;

  if (at && colon && colon < at)
    return vd_fail (err, VD_USAGE, "%s://%.*s:...@%s: a password in a URI can "
                    "be seen by everybody on this machine; write it to a file, "
                    "and give password=+FILE as a parameter of the connection",
                    u->scheme, (int) (colon - u->authority), u->authority,
                    at + 1);
  for (p = u->authority; *p; ++p)
    if ((unsigned char) *p <= ' ' || *p == 127)
      return vd_fail (err, VD_USAGE, "%s://%s: there is a blank in the name "
                      "of the host", u->scheme, u->authority);
  return 0;
}

int
vd_uri_parse (const char *text, struct vd_uri *u, struct vd_err *err)
{
  const size_t n = strcspn (text, ":");
  const char *authority = text + n + 3, *path, *query;
  CLEANUP_FREE char *raw = NULL;

  *u = (struct vd_uri) { .scheme = NULL };
  path = authority + strcspn (authority, "/?");
  query = path + strcspn (path, "?");
  u->scheme = strndup (text, n);
  u->authority = strndup (authority, (size_t) (path - authority));
  u->query = strdup (query);
  raw = strndup (path, (size_t) (query - path));
  if (!u->scheme || !u->authority || !u->query || !raw)
    return vd_fail_nomem (err);
  if (check_authority (u, err) == -1)
    return -1;
  if (!decode (raw))
    return vd_fail (err, VD_USAGE, "%s: a %% in a URI is followed by two "
                    "hexadecimal digits, and is itself written %%25", text);
  u->path = vd_path_normalise ("/", raw);
  return u->path ? 0 : vd_fail_nomem (err);
}

void
vd_uri_free (struct vd_uri *u)
{
  free (u->scheme);
  free (u->authority);
  free (u->path);
  free (u->query);
  *u = (struct vd_uri) { .scheme = NULL };
}

char *
vd_uri_with_path (const struct vd_uri *u, const char *path)
{
  static const char plain[] = "-._~/!$&'()*+,;=:@";
  const size_t n = strlen (u->scheme) + strlen (u->authority) +
    3 * strlen (path) + strlen (u->query) + 4;
  char *text = malloc (n), *o;

  if (!text)
    return NULL;
  o = text + sprintf (text, "%s://%s", u->scheme, u->authority);
  for (; *path; ++path) {
    const unsigned char c = (unsigned char) *path;

    if (c < 128 && (isalnum (c) || strchr (plain, c)))
      *o++ = *path;
    else
      o += sprintf (o, "%%%02X", c);
  }
  memcpy (o, u->query, strlen (u->query) + 1);
  return text;
}

bool
vd_uri_same_place (const struct vd_uri *a, const struct vd_uri *b)
{
  return strcmp (a->scheme, b->scheme) == 0 &&
    strcmp (a->authority, b->authority) == 0 &&
    strcmp (a->query, b->query) == 0;
}

struct vd_file *
vd_open (const char *name, const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_file *f;

  if (!vd_is_uri (name)) {
    f = vd_file_open (name, err);
    if (!f && err->code == VD_NOT_FOUND && strstr (name, "://"))
      vd_err_prefix (err, "what can be read elsewhere is named by ssh://, "
                     "sftp://, http://, https://, nbd:// or nbd+unix://; taken "
                     "as the name of a local file, ");
    return f;
  }
  if (opts->open)
    return opts->open (opts->remote, name, err);
  vd_fail (err, VD_UNSUPPORTED, "%s: this needs a local file", name);
  return NULL;
}
