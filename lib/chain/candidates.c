/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a name found in an image can mean here; see candidates.h. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/charset.h"
#include "base/cleanup.h"
#include "chain/candidates.h"
#include "file/uri.h"

/* More are not named in a message. */
#define MAX_NAMED 12u

struct candidate {
  char *name;
  bool above;                   /* below the directory above: often denied */
};

struct list {
  struct candidate *item;
  size_t n;
};

static void
free_list (struct list *l)
{
  while (l->n > 0)
    free (l->item[--l->n].name);
  free (l->item);
}

/* Append dir/sub/name, unless it is there; dir and sub may be "". */
static int
add_candidate (struct list *l, const char *dir, const char *sub,
               const char *name, struct vd_err *err)
{
  struct candidate *more;
  char *path;
  size_t i;

  if (asprintf (&path, "%s%s%s%s%s", dir, *dir ? "/" : "", sub,
                *sub ? "/" : "", name) == -1)
    return vd_fail_nomem (err);
  for (i = 0; i < l->n; ++i)
    if (strcmp (l->item[i].name, path) == 0) {
      free (path);
      return 0;
    }
  more = vd_grow (l->item, l->n, sizeof *more, err);
  if (!more) {
    free (path);
    return -1;
  }
  l->item = more;
  more[l->n++] = (struct candidate) {
    .name = path, .above = strcmp (dir, "..") == 0
  };
  return 0;
}

static bool
has_drive (const char *name)
{
  return isalpha ((unsigned char) name[0]) && name[1] == ':' &&
    (name[2] == '\\' || name[2] == '/');
}

/* The part behind "[store] " of what can be a file of a datastore, or NULL. */
static const char *
in_datastore (const char *name)
{
  const char *end = name[0] == '[' ? strchr (name, ']') : NULL;
  const size_t n = strlen (name);

  if (!end || n < 5 || strcasecmp (name + n - 5, ".vmdk") != 0)
    return NULL;
  for (++end; *end == ' '; ++end)
    ;
  return strchr (end, '/') ? end : NULL;
}

/* Disks as Linux, BSD and macOS name them, and Windows. */
static bool
is_device (const char *name)
{
  static const char *const disks[] = {
    "sd", "hd", "vd", "xvd", "nvme", "mmcblk", "disk", "rdisk", "mapper/",
    "dm-", "md", "ad", "da", "vg", "cciss/",
  };
  size_t i;

  if (strncmp (name, "\\\\.\\", 4) == 0)
    return true;
  for (i = 0; i < sizeof disks / sizeof disks[0]; ++i)
    if (strncmp (name, "/dev/", 5) == 0 &&
        strncmp (name + 5, disks[i], strlen (disks[i])) == 0)
      return true;
  return false;
}

static enum vd_name_kind
kind_of (const char *name)
{
  if (has_drive (name) || strncmp (name, "\\\\?\\", 4) == 0)
    return VD_NAME_WINDOWS;
  if (is_device (name))
    return VD_NAME_DEVICE;
  if (strncmp (name, "\\\\", 2) == 0)
    return VD_NAME_WINDOWS;
  if (in_datastore (name))
    return VD_NAME_DATASTORE;
  if (strstr (name, "://"))
    return VD_NAME_OBJECT;
  if (strncmp (name, "/vmfs/", 6) == 0)
    return VD_NAME_ESXI;
  return name[0] == '/' ? VD_NAME_ABSOLUTE : VD_NAME_RELATIVE;
}

/* The last n components of a path with slashes. */
static const char *
last_components (const char *path, unsigned n)
{
  const char *p = path + strlen (path);

  while (p > path) {
    if (p[-1] == '/' && --n == 0)
      break;
    --p;
  }
  return p;
}

/* Behind what cannot be a directory here: drive, server and share, store. */
static const char *
skip_root (const char *slashed, const char *name)
{
  const char *p = slashed, *rest = in_datastore (name);
  unsigned i;

  if (rest)
    return slashed + (rest - name);
  if (strncmp (p, "//?/", 4) == 0)
    p += 4;
  else if (strncmp (p, "//", 2) == 0) {
    p += 2;
    for (i = 0; i < 2 && strchr (p, '/'); ++i)
      p = strchr (p, '/') + 1;
    return p;
  }
  return has_drive (p) ? p + 3 : p;
}

static int
list_in (struct list *l, const struct vd_search *s, const char *dir,
         const char *name, struct vd_err *err)
{
  size_t i;

  if (add_candidate (l, dir, "", name, err) == -1)
    return -1;
  for (i = 0; s->folders && s->folders[i]; ++i)
    if (add_candidate (l, dir, s->folders[i], name, err) == -1)
      return -1;
  return 0;
}

/* The same in a directory elsewhere, of which the URI was given: a name in it is
 * encoded as one of a URI is, and its query stays at the end.
 */
static int
list_in_uri (struct list *l, const struct vd_search *s, const char *dir,
             const char *one, const char *two, struct vd_err *err)
{
  struct list names = { NULL, 0 };
  struct vd_uri u;
  size_t i;
  int r = vd_uri_parse (dir, &u, err);

  if (r == 0 && two != one)
    r = add_candidate (&names, "", "", two, err);
  if (r == 0)
    r = list_in (&names, s, "", one, err);
  for (i = 0; r == 0 && i < names.n; ++i) {
    CLEANUP_FREE char *path = vd_path_normalise (u.path, names.item[i].name);
    CLEANUP_FREE char *uri = path ? vd_uri_with_path (&u, path) : NULL;

    r = uri ? add_candidate (l, "", "", uri, err) : vd_fail_nomem (err);
  }
  vd_uri_free (&u);
  free_list (&names);
  return r;
}

/* All candidates of a name, which is UTF-8 if it could be made that. */
static int
list_all (struct vd_search *s, const char *name, struct list *l,
          struct vd_err *err)
{
  CLEANUP_FREE char *slashed = strdup (name);
  const char *one, *two;
  char *p;
  size_t i;

  if (!slashed)
    return vd_fail_nomem (err);
  for (p = slashed; *p; ++p)
    if (*p == '\\')
      *p = '/';
  one = last_components (slashed, 1);
  two = last_components (skip_root (slashed, name), 2);
  if (two[0] == '/' || strncmp (two, "./", 2) == 0 ||
      strncmp (two, "../", 3) == 0)
    two = one;
  s->nameless = *one == '\0';

  if (s->kind != VD_NAME_WINDOWS &&
      add_candidate (l, "", "", name, err) == -1)
    return -1;
  if (s->nameless || s->kind == VD_NAME_OBJECT)
    return 0;
  if (s->kind == VD_NAME_RELATIVE &&
      add_candidate (l, "", "", slashed, err) == -1)
    return -1;
  if (add_candidate (l, "", "", one, err) == -1 ||
      (two != one && add_candidate (l, "..", "", two, err) == -1) ||
      list_in (l, s, "", one, err) == -1)
    return -1;
  for (i = 0; i < s->opts->nr_dirs; ++i) {
    const char *given = s->opts->dirs[i];
    CLEANUP_FREE char *dir = vd_is_uri (given) ? NULL : realpath (given, NULL);

    if (vd_is_uri (given) && list_in_uri (l, s, given, one, two, err) == -1)
      return -1;
    if (!dir)
      continue;                 /* vd_confine_new has reported it */
    if ((two != one && add_candidate (l, dir, "", two, err) == -1) ||
        list_in (l, s, dir, one, err) == -1)
      return -1;
  }
  return 0;
}

/* It ends the search: nothing more can be opened. */
static bool
is_fatal (const struct vd_err *e)
{
  return e->code == VD_NOMEM || e->errnum == EMFILE || e->errnum == ENFILE;
}

/* What became of opening one. */
static int
judge (struct vd_search *s, const struct candidate *c, struct vd_file *file,
       const struct vd_err *e, struct vd_err *err)
{
  int r;

  if (file) {
    r = s->offer (s, c->name, file, err);
    s->found = r == 1;
    return r == -1 ? -1 : 0;
  }
  if (is_fatal (e)) {
    *err = *e;
    return -1;
  }
  if (s->first.code == VD_OK)
    s->first = *e;
  if (e->code == VD_DENIED)
    s->denied = true;
  else if (e->code != VD_NOT_FOUND && s->other.code == VD_OK)
    s->other = *e;
  return 0;
}

/* In the bytes of the descriptor, then as it is. */
static int
try_exactly (struct vd_search *s, const struct candidate *c,
             struct vd_err *err)
{
  CLEANUP_FREE char *raw = vd_from_utf8 (c->name, s->encoding);
  struct vd_file *file;
  struct vd_err e = { .code = VD_OK };

  if (raw && strcmp (raw, c->name) != 0) {
    file = vd_confine_open (s->places, raw, s->from, &e);
    if (file)
      return judge (s, c, file, &e, err);
  }
  file = vd_confine_open (s->places, c->name, s->from, &e);
  return judge (s, c, file, &e, err);
}

static int
try_alike (struct vd_search *s, const struct candidate *c, struct vd_err *err)
{
  struct vd_err e = { .code = VD_OK };
  struct vd_file *file = vd_confine_open_alike (s->places, c->name,
                                                s->encoding, s->from, &e);

  return file || e.code != VD_NOT_FOUND ? judge (s, c, file, &e, err) : 0;
}

static void
note_tried (struct vd_search *s, const char *name)
{
  const size_t len = strlen (s->tried);

  if (s->nr_tried++ < MAX_NAMED)
    snprintf (s->tried + len, sizeof s->tried - len, "%s%.255s",
              len > 0 ? ", " : "", name);
  else if (s->nr_tried == MAX_NAMED + 1)
    snprintf (s->tried + len, sizeof s->tried - len, ", ...");
}

static int
try_list (struct vd_search *s, const struct list *l, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < l->n && !s->found; ++i) {
    note_tried (s, l->item[i].name);
    s->as_it_stands = i == 0 && s->kind != VD_NAME_WINDOWS;
    if (try_exactly (s, &l->item[i], err) == -1)
      return -1;
  }
  s->as_it_stands = false;
  for (i = 0; i < l->n && !s->found; ++i)
    if (!l->item[i].above && try_alike (s, &l->item[i], err) == -1)
      return -1;
  return 0;
}

/* The bytes themselves, where they are not what the encoding makes of them:
 * text that was saved as UTF-8 since, or converted by somebody who did not
 * know its encoding.
 */
static int
try_bytes (struct vd_search *s, const char *converted, struct vd_err *err)
{
  const struct candidate c = { .name = (char *) s->name };
  CLEANUP_FREE char *back = vd_from_utf8 (converted, s->encoding);
  struct vd_err e = { .code = VD_OK };
  struct vd_file *file;

  if (s->kind == VD_NAME_WINDOWS || (back && strcmp (back, s->name) == 0))
    return 0;
  s->as_it_stands = true;
  file = vd_confine_open (s->places, s->name, s->from, &e);
  return file ? judge (s, &c, file, &e, err) : 0;
}

int
vd_search (struct vd_search *s, struct vd_err *err)
{
  CLEANUP_FREE char *converted = vd_to_utf8 (s->name, s->encoding);
  const char *name = converted ? converted : s->name;
  VD_CLEANUP (free_list) struct list l = { NULL, 0 };

  s->kind = kind_of (name);
  s->shown = vd_text_shown (s->name, s->encoding);
  if (!s->shown)
    return vd_fail_nomem (err);
  if (list_all (s, name, &l, err) == -1)
    return -1;
  if (converted && try_bytes (s, converted, err) == -1)
    return -1;
  return try_list (s, &l, err);
}

void
vd_search_free (struct vd_search *s)
{
  free (s->shown);
  s->shown = NULL;
}

/* ---- What is said of it --------------------------------------------------- */

bool
vd_search_foreign (const struct vd_search *s)
{
  return s->kind != VD_NAME_RELATIVE && s->kind != VD_NAME_ABSOLUTE;
}

const char *
vd_search_why (const struct vd_search *s)
{
  static const char *const why[] = {
    [VD_NAME_RELATIVE] = "",
    [VD_NAME_ABSOLUTE] = "",
    [VD_NAME_ESXI] = " (it is a path of the ESXi host)",
    [VD_NAME_DEVICE] = " (it is a device of the machine where the disk was "
      "made: make an image of it there)",
    [VD_NAME_WINDOWS] = " (it is a Windows path)",
    [VD_NAME_DATASTORE] = " (it is a file in a datastore)",
    [VD_NAME_OBJECT] = " (it is an object of a datastore: export the disk "
      "itself)",
  };

  return why[s->kind];
}

const char *
vd_search_lacks (const struct vd_search *s)
{
  return !vd_charset_missing (s->name, s->encoding) ? ""
    : ".  The name is in the encoding that the descriptor says, which this "
      "system cannot convert: install the package libc-gconv-modules-extra "
      "(Debian, Ubuntu) or glibc-gconv-extra (Fedora, RHEL)";
}

int
vd_search_fail (const struct vd_search *s, struct vd_err *err)
{
  const char *prefix = vd_opts_prefix ();
  const char *dir = vd_confine_dir (s->places);
  const struct vd_err *e = s->first.code == VD_NOT_FOUND ||
    s->first.code == VD_DENIED ? &s->other : &s->first;
  char buf[128];

  if (e->code != VD_OK) {
    *err = *e;
    return -1;
  }
  if (s->first.code == VD_DENIED && !vd_search_foreign (s))
    return vd_fail (err, VD_DENIED, "%s refers to %.255s, which leads outside "
                    "of %s; only what lies below that directory, and below "
                    "those that you name with %sparent-path, is opened "
                    "(%sunconfined allows all)%s%s%s%s", s->from, s->shown,
                    dir, prefix, prefix, s->nr_tried > 1
                    ? ".  Looked there for: " : "",
                    s->nr_tried > 1 ? s->tried : "", vd_search_why (s),
                    vd_search_lacks (s));
  if (s->nr_tried <= 1 && !vd_search_foreign (s))
    return vd_fail (err, VD_NOT_FOUND, "%s refers to %.255s: %s%s%.255s: %s%s",
                    s->from, s->shown, s->shown[0] == '/' ? "" : dir,
                    s->shown[0] == '/' ? "" : "/", s->shown,
                    strerror_r (s->first.errnum, buf, sizeof buf),
                    vd_search_lacks (s));
  return vd_fail (err, VD_NOT_FOUND, "%s refers to %.255s: %s; looked in %s "
                  "for: %s%s%s.  Copy it there, or name its directory with "
                  "%sparent-path", s->from, s->shown,
                  strerror_r (s->first.errnum ? s->first.errnum : ENOENT, buf,
                              sizeof buf), dir, s->tried, vd_search_why (s),
                  vd_search_lacks (s), prefix);
}
