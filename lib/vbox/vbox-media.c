/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* From media of a VirtualBox machine to links; see vbox.h. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "chain/chain.h"
#include "vbox/vbox-xml.h"
#include "vbox/vbox.h"

struct lookup {
  const struct vd_vbox *box;
  const struct vd_vbox_medium *medium;
  const struct vd_opts *opts;
  struct vd_confine *places;
  struct vd_file *found;
  struct vd_err first;          /* why the location itself did not do */
  struct vd_err denied;         /* the first that is there, but outside */
};

/* One name.  -1: an error that ends the search. */
static int
try_name (struct lookup *l, const char *name, struct vd_err *err)
{
  struct vd_err e;

  if (l->found)
    return 0;
  l->found = vd_confine_open (l->places, name, l->box->path, &e);
  if (l->found)
    return 0;
  if (e.code == VD_NOMEM) {
    *err = e;
    return -1;
  }
  if (l->first.code == VD_OK)
    l->first = e;
  if (e.code == VD_DENIED && l->denied.code == VD_OK)
    l->denied = e;
  return 0;
}

static int
try_in (struct lookup *l, const char *dir, const char *sub, const char *name,
        struct vd_err *err)
{
  CLEANUP_FREE char *path = NULL;

  if (asprintf (&path, "%s%s%s/%s", dir, *sub ? "/" : "", sub, name) == -1) {
    path = NULL;
    return vd_fail_nomem (err);
  }
  return try_name (l, path, err);
}

static const char *
last_component (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? slash + 1 : path;
}

/* A copy with slashes, if it is a path of Windows; *drive: "C:..." */
static char *
slashed (const char *location, bool *drive)
{
  char *copy = strdup (location), *p;

  *drive = isalpha ((unsigned char) location[0]) && location[1] == ':' &&
    (location[2] == '\\' || location[2] == '/');
  if (copy && (*drive || !strchr (copy, '/')))
    for (p = copy; *p; ++p)
      if (*p == '\\')
        *p = '/';
  return copy;
}

static const char *
snapshot_folder (const struct vd_vbox *box)
{
  const size_t machine = vd_xml_child (box->xml, 0, 1, "Machine");
  const char *folder = vd_xml_value (box->xml, machine, "snapshotFolder");

  return folder && *folder ? folder : "Snapshots";
}

static int
search (struct lookup *l, struct vd_err *err)
{
  bool drive;
  CLEANUP_FREE char *path = slashed (l->medium->location, &drive);
  const char *folder = snapshot_folder (l->box), *name;
  size_t i;

  if (!path)
    return vd_fail_nomem (err);
  name = last_component (path);
  if (!drive && try_name (l, path, err) == -1)
    return -1;
  if (!*name)
    return 0;
  if (try_name (l, name, err) == -1 ||
      try_in (l, "Snapshots", "", name, err) == -1 ||
      (strcmp (folder, "Snapshots") != 0 &&
       try_in (l, folder, "", name, err) == -1))
    return -1;
  for (i = 0; i < l->opts->nr_dirs; ++i) {
    CLEANUP_FREE char *dir = realpath (l->opts->dirs[i], NULL);

    if (dir && (try_in (l, dir, "", name, err) == -1 ||
                try_in (l, dir, "Snapshots", name, err) == -1))
      return -1;
  }
  return 0;
}

static int
not_found (const struct lookup *l, struct vd_err *err)
{
  char text[VD_UUID_TEXT];

  if (l->first.code != VD_NOT_FOUND && l->first.code != VD_DENIED) {
    *err = l->first;
    return -1;
  }
  if (l->denied.code != VD_OK) {
    *err = l->denied;
    return -1;
  }
  return vd_fail (err, VD_NOT_FOUND, "%s refers to %.255s, the disk image "
                  "{%s}, which is not found; looked for it in %s, in its "
                  "Snapshots folder%s, too.  Copy it there, or name its "
                  "directory with %sparent-path", l->box->path,
                  l->medium->location, vd_uuid_text (text, l->medium->uuid),
                  vd_confine_dir (l->places), l->opts->nr_dirs > 0
                  ? ", and in the directories named" : "",
                  vd_opts_prefix (l->opts));
}

static struct vd_file *
find_file (const struct vd_vbox *box, const struct vd_vbox_medium *medium,
           const struct vd_opts *opts, struct vd_err *err)
{
  struct lookup l = {
    .box = box, .medium = medium, .opts = opts,
    .places = vd_confine_new (box->path, opts, err),
  };

  if (!l.places)
    return NULL;
  if (search (&l, err) == 0 && !l.found)
    not_found (&l, err);
  vd_confine_free (l.places);
  return l.found;
}

/* The file has the UUID that the registry gives it. */
static int
check_uuid (const struct vd_vbox *box, const struct vd_vbox_medium *medium,
            const struct vd_link *link, const struct vd_opts *opts,
            struct vd_err *err)
{
  char want[VD_UUID_TEXT], have[VD_UUID_TEXT + 2] = "none";

  if (memcmp (medium->uuid, link->id.image, 16) == 0)
    return 0;
  vd_uuid_text (want, medium->uuid);
  if (!vd_uuid_is_null (link->id.image)) {
    char text[VD_UUID_TEXT];

    snprintf (have, sizeof have, "{%s}",
              vd_uuid_text (text, link->id.image));
  }
  if (!opts->ignore_cid)
    return vd_fail (err, VD_MISMATCH, "%s should have UUID {%s}, as %s says, "
                    "but its UUID is %s: it is another disk image under that "
                    "name (use %signore-cid to continue anyway)", link->path,
                    want, box->path, have, vd_opts_prefix (opts));
  vd_warn (&opts->log, "%s should have UUID {%s}, as %s says, but its UUID is "
           "%s; going on as asked", link->path, want, box->path, have);
  return 0;
}

static bool
is_readable_format (const char *format)
{
  return !*format || strcasecmp (format, "VDI") == 0 ||
    strcasecmp (format, "VMDK") == 0;
}

/* It was added before: many states share the older media. */
static struct vd_member *
find_member (const struct vd_family *family,
             const struct vd_vbox_medium *medium)
{
  size_t i;

  for (i = 0; i < family->nr_members; ++i)
    if (memcmp (family->members[i]->link->id.image, medium->uuid, 16) == 0)
      return family->members[i];
  return NULL;
}

struct vd_member *
vd_vbox_add_medium (const struct vd_vbox *box,
                    const struct vd_vbox_medium *medium,
                    struct vd_family *family, struct vd_err *err)
{
  const struct vd_opts *opts = family->opts;
  struct vd_member *known = find_member (family, medium);
  CLEANUP_FREE char *path = NULL;
  struct vd_file *file;
  struct vd_link *link;

  if (known)
    return known;
  if (!is_readable_format (medium->format)) {
    vd_fail (err, VD_UNSUPPORTED, "%s: %.255s is a disk image of format "
             "%.40s; only VDI and VMDK are read here", box->path,
             medium->location, medium->format);
    return NULL;
  }
  file = find_file (box, medium, opts, err);
  if (!file)
    return NULL;
  path = strdup (file->name);
  if (!path) {
    vd_file_close (file);
    vd_fail_nomem (err);
    return NULL;
  }
  link = vd_link_read (file, path, opts, err);
  if (!link)
    return NULL;
  if (check_uuid (box, medium, link, opts, err) == -1) {
    vd_link_close (link);
    return NULL;
  }
  return vd_family_add_link (family, link, err);
}

/* What the child's file says of its parent must be what the registry says. */
static int
check_pair (const struct vd_vbox *box, const struct vd_vbox_medium *medium,
            const struct vd_link *link, const struct vd_opts *opts,
            struct vd_err *err)
{
  static const uint8_t none[16];
  const uint8_t *want = medium->parent ? medium->parent->uuid : none;
  char w[VD_UUID_TEXT], h[VD_UUID_TEXT];

  if (!medium->parent && link->role == VD_ROLE_BASE)
    return 0;
  if (medium->parent && link->role == VD_ROLE_CHILD &&
      memcmp (want, link->id.parent, 16) == 0)
    return 0;
  vd_uuid_text (w, want);
  vd_uuid_text (h, link->id.parent);
  if (medium->parent && opts->ignore_cid) {
    vd_warn (&opts->log, "the parent of %s is {%s}, says %s, but {%s}, says "
             "the file itself; going on as asked", link->path, w, box->path,
             h);
    return 0;
  }
  if (!medium->parent)
    return vd_fail (err, VD_MISMATCH, "%s has no parent, says %s, but the file "
                    "itself says that it has one ({%s}): the machine file "
                    "does not belong to these disks, or is older than they "
                    "are", link->path, box->path, h);
  return vd_fail (err, VD_MISMATCH, "the parent of %s is {%s}, says %s, but "
                  "%s%s%s, says the file itself: the machine file does not "
                  "belong to these disks, or is older than they are",
                  link->path, w, box->path,
                  vd_uuid_is_null (link->id.parent) ? "it has none" : "{",
                  vd_uuid_is_null (link->id.parent) ? "" : h,
                  vd_uuid_is_null (link->id.parent) ? "" : "}");
}

static int
check_depth (const struct vd_vbox *box, const struct vd_vbox_medium *medium,
             struct vd_err *err)
{
  const struct vd_vbox_medium *m;
  unsigned n = 0;

  for (m = medium; m; m = m->parent)
    ++n;
  if (n <= VD_MAX_LINKS)
    return 0;
  return vd_fail (err, VD_UNSUPPORTED, "%s: the chain of %.255s has %u links; "
                  "at most %u are read", box->path, medium->location, n,
                  VD_MAX_LINKS);
}

/* The two files become child and parent; parent may be NULL.  Fails if they
 * have others already: one file for two media, taken with ignore_cid.
 */
static int
join (const struct vd_vbox *box, struct vd_member *top,
      struct vd_member *child, struct vd_member *parent, struct vd_err *err)
{
  if (child->resolved && child->parent != parent)
    return vd_fail (err, VD_MISMATCH, "%s stands in %s as several disk images "
                    "with different parents", child->link->path, box->path);
  if (parent) {
    vd_family_set_parent (child, parent);
    return vd_family_check_loop (top, child, err);
  }
  child->resolved = true;
  child->result = VD_PARENT_NONE;
  return 0;
}

struct vd_member *
vd_vbox_add_chain (const struct vd_vbox *box,
                   const struct vd_vbox_medium *medium,
                   struct vd_family *family, struct vd_err *err)
{
  const struct vd_vbox_medium *m;
  struct vd_member *top = NULL, *child = NULL, *member;

  if (check_depth (box, medium, err) == -1)
    return NULL;
  for (m = medium; m; m = m->parent) {
    member = vd_vbox_add_medium (box, m, family, err);
    if (!member ||
        check_pair (box, m, member->link, family->opts, err) == -1)
      return NULL;
    if (!top)
      top = member;
    else if (join (box, top, child, member, err) == -1)
      return NULL;
    child = member;
  }
  return join (box, top, child, NULL, err) == -1 ? NULL : top;
}
