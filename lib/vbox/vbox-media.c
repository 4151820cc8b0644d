/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* From media of a VirtualBox machine to links; see vbox.h. */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "chain/candidates.h"
#include "chain/chain.h"
#include "vbox/vbox-xml.h"
#include "vbox/vbox.h"

const char *
vd_vbox_snapshot_folder (const struct vd_vbox *box)
{
  const size_t machine = vd_xml_child (box->xml, 0, 1, "Machine");
  const char *folder = vd_xml_value (box->xml, machine, "snapshotFolder");

  return folder && *folder ? folder : VD_SNAPSHOTS;
}

/* The first that is there is the one; its UUID is compared afterwards. */
static int
offer_medium (struct vd_search *s, const char *candidate,
              struct vd_file *file, struct vd_err *err)
{
  (void) candidate, (void) err;
  * (struct vd_file **) s->opaque = file;
  return 1;
}

static int
not_found (const struct vd_search *s, const struct vd_vbox_medium *medium,
           struct vd_err *err)
{
  char text[VD_UUID_TEXT];

  if (s->other.code != VD_OK ||
      (s->first.code == VD_DENIED && !vd_search_foreign (s)))
    return vd_search_fail (s, err);
  return vd_fail (err, VD_NOT_FOUND, "%s refers to %.255s, the disk image "
                  "{%s}, which is not found; looked for it in %s, in its "
                  "Snapshots folder%s, too (%s).  Copy it there, or name its "
                  "directory with %sparent-path", s->from, s->shown,
                  vd_uuid_text (text, medium->uuid),
                  vd_confine_dir (s->places), s->opts->nr_dirs > 0
                  ? ", and in the directories named" : "", s->tried,
                  vd_opts_prefix ());
}

/* Seen from the file `from`; why not is put into *err. */
static struct vd_file *
find_from (const struct vd_vbox *from, const struct vd_vbox_medium *medium,
           const struct vd_opts *opts, struct vd_err *err)
{
  const char *const folders[] = {
    VD_SNAPSHOTS, from->is_list ? NULL : vd_vbox_snapshot_folder (from), NULL
  };
  struct vd_file *file = NULL;
  struct vd_search s = {
    .places = vd_confine_new (from->path, opts, err), .opts = opts,
    .name = medium->location, .from = from->path, .folders = folders,
    .offer = offer_medium, .opaque = &file,
  };

  if (!s.places)
    return NULL;
  if (vd_search (&s, err) == 0 && !s.found)
    not_found (&s, medium, err);
  vd_search_free (&s);
  vd_confine_free (s.places);
  return file;
}

/* What another file lists is where that says, or at the machine: the snapshots
 * of a linked clone lie in its own folder.
 */
static struct vd_file *
find_file (const struct vd_vbox *box, const struct vd_vbox_medium *medium,
           const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_file *file
    = find_from (medium->foreign ? box->registry : box, medium, opts, err);
  struct vd_err ignored;

  if (!file && medium->foreign &&
      (err->code == VD_NOT_FOUND || err->code == VD_DENIED))
    file = find_from (box, medium, opts, &ignored);
  return file;
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
                    want, box->path, have, vd_opts_prefix ());
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

  if (medium->encrypted) {
    char text[VD_UUID_TEXT];

    vd_fail (err, VD_UNSUPPORTED, "%s: the disk of %.255s is encrypted by "
             "VirtualBox: decrypt it there first (VBoxManage encryptmedium %s "
             "--oldpassword FILE)", box->path, medium->location,
             vd_uuid_text (text, vd_vbox_disk (medium)->uuid));
    return NULL;
  }
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
