/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Which format a file has, and opening it. */

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "format/image.h"

const struct vd_format *const vd_formats[] = {
  &vd_format_cowd,
  &vd_format_kdmv,
  &vd_format_sesparse,
  &vd_format_vdi,
  NULL
};

#define HEAD_SIZE 512

/* No descriptor is shorter. */
#define MIN_TEXT 32u

/* A descriptor is text: printable, blanks, line ends.  A NUL ends it; some
 * programs leave old text behind that.
 */
static bool
looks_like_text (const uint8_t *head, size_t n)
{
  size_t i;

  for (i = 0; i < n && head[i] != 0; ++i) {
    if (head[i] < 0x20 && head[i] != '\n' && head[i] != '\r' &&
        head[i] != '\t')
      return false;
  }
  return (n > 0 && i == n) || i >= MIN_TEXT || (i > 0 && head[0] == '#');
}

bool
vd_is_xml (const char *head)
{
  static const char *const starts[] = {
    "<?xml", "<!--", "<!DOCTYPE", "<VirtualBox",
  };
  size_t i;

  if (strncmp (head, "\xef\xbb\xbf", 3) == 0)
    head += 3;
  head += strspn (head, " \t\r\n");
  for (i = 0; i < sizeof starts / sizeof starts[0]; ++i)
    if (strncmp (head, starts[i], strlen (starts[i])) == 0)
      return true;
  return false;
}

int
vd_image_probe (struct vd_file *file, enum vd_magic *magic,
                const struct vd_format **fmt, struct vd_err *err)
{
  uint8_t head[HEAD_SIZE + 1];
  const size_t n = (size_t) vd_min (file->size, HEAD_SIZE);
  size_t i;

  *fmt = NULL;
  *magic = VD_MAGIC_NONE;
  if (vd_file_pread (file, head, n, 0, err) == -1)
    return -1;
  head[n] = '\0';

  for (i = 0; vd_formats[i] != NULL; ++i) {
    if (vd_formats[i]->probe (head, n)) {
      *fmt = vd_formats[i];
      *magic = VD_MAGIC_SPARSE;
      return 0;
    }
  }
  if (n >= 4 && memcmp (head, "vmdk", 4) == 0)
    *magic = VD_MAGIC_UNFINISHED;
  else if (n >= 4 && memcmp (head, "QFI\xfb", 4) == 0)
    *magic = VD_MAGIC_QCOW;
  else if (vd_is_xml ((const char *) head))
    *magic = VD_MAGIC_XML;
  else if (strncmp ((const char *) head, ".encoding", 9) == 0 ||
           strstr ((const char *) head, "\n.encoding"))
    *magic = VD_MAGIC_VMX;      /* a descriptor has no dot in front */
  else if (looks_like_text (head, n))
    *magic = VD_MAGIC_TEXT;
  return 0;
}

int
vd_image_explain_foreign (const struct vd_file *file, enum vd_magic magic,
                          struct vd_err *err)
{
  CLEANUP_FREE char *stem = vd_flat_stem (file->name);

  switch (magic) {
  case VD_MAGIC_UNFINISHED:
    return vd_fail (err, VD_NOT_FORMAT,
                    "%s was never finished by its writer (magic \"vmdk\" "
                    "instead of \"KDMV\"): make it again", file->name);
  case VD_MAGIC_QCOW:
    return vd_fail (err, VD_NOT_FORMAT, "%s is a qcow image, not a VMDK",
                    file->name);
  case VD_MAGIC_XML:
    return vd_fail (err, VD_NOT_FORMAT,
                    "%s is a machine file (XML), not a disk: give one of the "
                    "disks that vmdkdelta info --chain lists for it",
                    file->name);
  case VD_MAGIC_VMX:
    return vd_fail (err, VD_NOT_FORMAT,
                    "%s is a machine file of VMware's, not a disk: give the "
                    ".vmdk file that a line with fileName in it names",
                    file->name);
  default:
    if (stem)
      return vd_fail (err, VD_NOT_FORMAT,
                      "%s is the data of a disk (raw bytes), not its "
                      "descriptor and not a delta: open %s.vmdk, or use it "
                      "as the base", file->name, stem);
    return vd_fail (err, VD_NOT_FORMAT,
                    "%s is not a VMDK: it has neither a sparse extent's magic "
                    "(COWD, KDMV, SEsparse, VDI) nor a text descriptor; if it "
                    "is a raw or flat disk, use it as the base", file->name);
  }
}

struct vd_image *
vd_image_open (struct vd_file *file, const struct vd_opts *opts,
               struct vd_err *err)
{
  const struct vd_format *fmt;
  struct vd_image *image = NULL;
  enum vd_magic magic;

  if (vd_image_probe (file, &magic, &fmt, err) == -1)
    return NULL;

  switch (magic) {
  case VD_MAGIC_SPARSE:
    break;
  case VD_MAGIC_UNFINISHED:
    vd_fail (err, VD_NOT_FORMAT,
             "%s was never finished by its writer (magic \"vmdk\" instead of "
             "\"KDMV\"): make it again", file->name);
    return NULL;
  case VD_MAGIC_TEXT:
    vd_fail (err, VD_NOT_FORMAT,
             "%s holds text, not a sparse extent (COWD, KDMV or SEsparse)",
             file->name);
    return NULL;
  default:
    vd_fail (err, VD_NOT_FORMAT,
             "%s is not a sparse VMDK extent: no COWD, KDMV or SEsparse magic "
             "in its first bytes (it has %" PRIu64 " bytes)",
             file->name, file->size);
    return NULL;
  }

  if (fmt->open (file, opts, &image, err) == -1)
    return NULL;
  image->fmt = fmt;
  image->file = file;
  image->used = image->capacity;
  return image;
}

void
vd_image_close (struct vd_image *image)
{
  struct vd_file *file;

  if (!image)
    return;
  file = image->file;
  image->fmt->close (image);
  vd_file_close (file);
}
