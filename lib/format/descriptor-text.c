/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The text of a new descriptor.
 *
 * Other programs read it more strictly than we do, so this follows what
 * VMware's products write to the letter: the order of the keys, one blank
 * between the fields of an extent, the comments, the blank at the end of "The
 * Disk Data Base ".  Only keys that mean something for the file are there.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "file/newfile.h"
#include "format/descriptor-text.h"
#include "format/descriptor.h"
#include "format/image.h"

/* A name stands between quotes on one line, and there is no escape. */
static int
check_name (const char *what, const char *name, struct vd_err *err)
{
  const char *p;

  if (name[0] == '\0')
    return vd_fail (err, VD_USAGE, "the %s is empty", what);
  for (p = name; *p; ++p)
    if (*p == '"' || (unsigned char) *p < 0x20)
      return vd_fail (err, VD_USAGE, "the %s '%s' holds a %s, which a VMDK "
                      "descriptor cannot express", what, name,
                      *p == '"' ? "quotation mark" : "control character");
  /* QEMU looks at 1023 bytes of a hint, and of an extent line at 512. */
  if (strlen (name) > 480)
    return vd_fail (err, VD_USAGE, "the %s is %zu bytes long; allowed are "
                    "480", what, strlen (name));
  return 0;
}

int
vd_new_cid (uint32_t *cid, uint32_t other, struct vd_err *err)
{
  do {
    if (vd_random (cid, sizeof *cid, err) == -1)
      return -1;
  } while (*cid == 0 || *cid == VD_CID_FRESH || *cid == VD_NO_PARENT ||
           *cid == other);
  return 0;
}

/* What a bootable base needs; children inherit it. */
static void
write_geometry (FILE *fp, uint64_t capacity)
{
  const uint64_t cylinders = capacity / (255 * 63 * VD_SECTOR);

  fprintf (fp, "ddb.adapterType = \"lsilogic\"\n"
           "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
           "ddb.geometry.heads = \"255\"\n"
           "ddb.geometry.sectors = \"63\"\n",
           vd_max (1, vd_min (cylinders, 65535)));
}

static void
write_uuids (FILE *fp, const struct vd_identity *id)
{
  char text[VD_UUID_TEXT];

  fprintf (fp, "ddb.uuid.image=\"%s\"\n", vd_uuid_text (text, id->image));
  fprintf (fp, "ddb.uuid.parent=\"%s\"\n", vd_uuid_text (text, id->parent));
  fprintf (fp, "ddb.uuid.modification=\"%s\"\n",
           vd_uuid_text (text, id->modified));
  fprintf (fp, "ddb.uuid.parentmodification=\"%s\"\n",
           vd_uuid_text (text, id->parent_modified));
}

char *
vd_describe (const struct vd_description *d, struct vd_err *err)
{
  const bool flat = strcmp (d->extent_type, "FLAT") == 0;
  uint8_t r[12];
  char *text = NULL;
  size_t n, i;
  FILE *fp;

  if (check_name ("name of the extent", d->extent_name, err) == -1 ||
      (d->parent_hint &&
       check_name ("name of the parent", d->parent_hint, err) == -1) ||
      vd_random (r, sizeof r, err) == -1)
    return NULL;

  fp = open_memstream (&text, &n);
  if (!fp) {
    vd_fail_nomem (err);
    return NULL;
  }
  fprintf (fp, "# Disk DescriptorFile\n"
           "version=1\n"
           "encoding=\"UTF-8\"\n"
           "CID=%08" PRIx32 "\n"
           "parentCID=%08" PRIx32 "\n"
           "isNativeSnapshot=\"no\"\n"
           "createType=\"%s\"\n", d->cid, d->parent_cid, d->create_type);
  if (d->parent_hint)
    fprintf (fp, "parentFileNameHint=\"%s\"\n", d->parent_hint);
  fprintf (fp, "\n# Extent description\n"
           "RW %" PRIu64 " %s \"%s\"%s\n", d->capacity / VD_SECTOR,
           d->extent_type, d->extent_name, flat ? " 0" : "");
  fprintf (fp, "\n# The Disk Data Base \n#DDB\n\n");
  if (!d->parent_hint)
    write_geometry (fp, d->capacity);
  /* Its last 32 bits repeat the CID. */
  fprintf (fp, "ddb.longContentID = \"");
  for (i = 0; i < sizeof r; ++i)
    fprintf (fp, "%02x", r[i]);
  fprintf (fp, "%08" PRIx32 "\"\n", d->cid);
  if (!d->parent_hint)
    fprintf (fp, "ddb.virtualHWVersion = \"8\"\n");
  if (d->uuids)
    write_uuids (fp, d->uuids);
  if (d->more)
    fputs (d->more, fp);

  if (ferror (fp) | fclose (fp)) {
    free (text);
    vd_fail_nomem (err);
    return NULL;
  }
  return text;
}
