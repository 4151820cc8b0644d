/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Before the first change; see D6 and D7 of disk.h.
 *
 * All of it can be done again after it failed half way, or was cut off.
 *
 * The descriptor is changed byte by byte, each value by one of the same
 * length: a cut in the middle of it leaves a text that can be read, and any
 * CID that is not the old one tells those who stand on the disk enough.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "chain/children.h"
#include "chain/link-files.h"
#include "check/check.h"
#include "format/descriptor-edit.h"
#include "format/descriptor-text.h"
#include "format/kdmv-header.h"
#include "format/vdi.h"
#include "write/disk-private.h"

/* ---- The parent ------------------------------------------------------------- */

static void
close_link (struct vd_link **link)
{
  vd_link_close (*link);
}

/* Is the next older link still what it was when it was opened? */
static int
check_parent (const struct vd_disk *disk, struct vd_err *err)
{
  const struct vd_opts opts = { .unconfined = true };
  VD_CLEANUP (close_link) struct vd_link *now = NULL;
  const struct vd_image *own;
  const struct vd_link *was;
  struct vd_file *file;

  if (disk->chain->nr_links < 2)
    return 0;
  was = disk->chain->links[1];
  own = vd_link_own_image (was);
  if (own && vd_file_fd (own->file) == -1)
    return 0;
  file = own ? vd_file_reopen (own->file, err)
    : vd_file_open (was->path, err);
  if (file)
    now = vd_link_read (file, was->path, &opts, err);
  if (!now)
    return -1;
  if (was->descriptor && now->descriptor &&
      was->descriptor->cid != now->descriptor->cid)
    return vd_fail (err, VD_MISMATCH, "%s was changed since it was opened: "
                    "its CID was %08" PRIx32 " and is %08" PRIx32 ".  Nothing "
                    "is written on top of it", was->path,
                    was->descriptor->cid, now->descriptor->cid);
  if (memcmp (was->id.modified, now->id.modified, 16) != 0)
    return vd_fail (err, VD_MISMATCH, "%s was changed since it was opened: it "
                    "has another modification UUID.  Nothing is written on "
                    "top of it", was->path);
  return 0;
}

/* ---- The new identity ------------------------------------------------------- */

static int
change_vdi (struct disk_part *p, struct vd_err *err)
{
  uint8_t uuid[16], raw[16];

  if (vd_uuid_new (uuid, err) == -1)
    return -1;
  vd_vdi_swap_uuid (raw, uuid);
  return vd_file_pwrite (p->file, raw, sizeof raw,
                         p->inner->version >> 16 == 0
                         ? VD_VDI_0_OFF_MODIFIED : VD_VDI_OFF_MODIFIED, err);
}

/* Few digits, as people write them, are soon a CID that the disk had before, or
 * that something else stands on.
 */
#define MAX_TRIES 100000u

static bool
is_among (uint32_t cid, const uint32_t *cids, size_t n)
{
  size_t i;

  for (i = 0; i < n; ++i)
    if (cids[i] == cid)
      return true;
  return false;
}

/* A CID of as many digits as it has, which nothing around it knows. */
static int
new_cid (const struct vd_link *link, char text[9], struct vd_err *err)
{
  const struct vd_descriptor *d = link->descriptor;
  const char *old = vd_descriptor_get (d, "cid");
  const size_t digits = old ? vd_min (strlen (old), 8) : 8;
  const uint32_t mask = digits == 8 ? UINT32_MAX
    : (UINT32_C (1) << (4 * digits)) - 1;
  CLEANUP_FREE uint32_t *known = NULL;
  uint32_t cid = d->cid;
  size_t n = 0;
  unsigned i;

  if (digits < 8 && vd_cids_around (link, &known, &n, err) == -1)
    return -1;
  for (i = 0; i < MAX_TRIES && (cid == d->cid || is_among (cid, known, n));
       ++i) {
    if (vd_new_cid (&cid, d->cid, err) == -1)
      return -1;
    cid &= mask;
  }
  if (i == MAX_TRIES)
    return vd_fail (err, VD_UNSUPPORTED, "%s: its CID has only %zu digit%s, and "
                    "all such numbers are taken by what is around it: write "
                    "the CID with 8 digits (CID=%08" PRIx32 ")", link->path,
                    digits, digits == 1 ? "" : "s", d->cid);
  snprintf (text, 9, "%0*" PRIx32, (int) digits, cid);
  return 0;
}

/* What the descriptor says of the content, and what tracks its changes: that
 * does not know of ours.
 */
static char *
edit (const struct vd_link *link, const char *text, size_t n,
      struct vd_err *err)
{
  const struct vd_descriptor *d = link->descriptor;
  char cid[9], longid[33], uuid_text[VD_UUID_TEXT];
  struct vd_descriptor_change c[4];
  uint8_t uuid[16], r[12];
  size_t nr = 0, i;
  char *now, *line;

  if (new_cid (link, cid, err) == -1 || vd_uuid_new (uuid, err) == -1 ||
      vd_random (r, sizeof r, err) == -1)
    return NULL;
  for (i = 0; i < sizeof r; ++i)
    snprintf (longid + 2 * i, 3, "%02x", r[i]);
  snprintf (longid + 24, 9, "%8s", cid);
  c[nr++] = (struct vd_descriptor_change) { "CID", cid, true };
  c[nr++] = (struct vd_descriptor_change) { "ddb.longContentID", longid, true };
  c[nr++] = (struct vd_descriptor_change) {
    "ddb.uuid.modification", vd_uuid_text (uuid_text, uuid), true
  };
  if (vd_descriptor_get (d, "changetrackpath") && d->version == 3)
    c[nr++] = (struct vd_descriptor_change) { "version", "1", true };
  now = vd_descriptor_edit (text, n, c, nr, 0, err);
  for (line = now; line && *line; line += strcspn (line, "\n"), line += !!*line)
    if (strncasecmp (line, "changetrackpath", 15) == 0)
      *line = '#';
  return now;
}

static int
change_descriptor (struct vd_disk *disk, struct vd_err *err)
{
  const struct vd_link *link = disk->chain->links[0];
  const struct vd_image *own = vd_link_own_image (link);
  struct vd_file *file = disk->descriptor ? disk->descriptor
    : disk->part[0].file;
  const uint64_t at = own ? own->descriptor_offset : 0;
  const size_t n = (size_t) (own ? own->descriptor_length
                             : disk->descriptor_size);
  CLEANUP_FREE char *old = calloc (1, n + 1);
  CLEANUP_FREE char *now = NULL;
  size_t len, from, to;

  if (!old)
    return vd_fail_nomem (err);
  if (vd_file_pread (file, old, n, at, err) == -1)
    return -1;
  now = edit (link, old, n, err);
  if (!now)
    return -1;
  len = strlen (now);
  /* the editor ends the last line, which not all texts do */
  if (len == strlen (old) + 1)
    len--;
  if (len != strlen (old))
    return vd_fail (err, VD_UNSUPPORTED, "%s: its CID cannot be changed in "
                    "place (%zu bytes of descriptor would become %zu)",
                    link->path, strlen (old), len);
  for (from = 0; from < len && old[from] == now[from]; ++from)
    ;
  for (to = len; to > from && old[to - 1] == now[to - 1]; --to)
    ;
  return vd_file_pwrite (file, now + from, to - from, at + from, err);
}

static int
change_identity (struct vd_disk *disk, struct vd_err *err)
{
  if (disk->chain->links[0]->descriptor)
    return change_descriptor (disk, err);
  return disk->part[0].inner->fmt == &vd_format_vdi
    ? change_vdi (&disk->part[0], err) : 0;
}

/* ---- The files ------------------------------------------------------------- */

/* A file that was not closed properly can have what no file should. */
static bool
is_closed (const struct disk_part *p)
{
  return !p->inner->unclean && p->inner->fmt != &vd_format_vdi;
}

/* Is there nothing that check has to look at? */
static int
is_sound (struct vd_disk *disk, struct vd_err *err)
{
  size_t i;
  int r;

  for (i = 0; i < disk->nr_parts; ++i) {
    struct disk_part *p = &disk->part[i];

    r = !p->flat && is_closed (p) ? disk_is_sound (p, err) : 0;
    if (r != 1)
      return r;
    p->sound = true;
  }
  return 1;
}

/* Nothing is written into a link that is damaged: a file that was cut would be
 * made whole by growing, two grains in one place would become one, and a table
 * in the place of a grain would be written over it.
 */
static int
check_sound (struct vd_disk *disk, struct vd_err *err)
{
  const struct vd_check_opts how = {
    .errors_only = true, .stop_at_first_error = true, .ignore_cid = true,
    .for_writing = true,
  };
  struct vd_link link = *disk->chain->links[0];
  CLEANUP_FREE struct vd_piece *pieces
    = malloc (disk->nr_parts * sizeof *pieces);
  struct vd_check_report report;
  size_t i;
  int r = is_sound (disk, err);

  if (r != 0)
    return r == 1 ? 0 : -1;
  if (!pieces)
    return vd_fail_nomem (err);
  /* as they are in the files: check knows nothing of our images */
  for (i = 0; i < disk->nr_parts; ++i)
    pieces[i] = (struct vd_piece) {
      .start = disk->part[i].start, .image = disk->part[i].inner,
    };
  link.pieces = pieces;
  r = vd_check_link (&link, &how, &report, err);
  if (r == 0)
    r = vd_check_result (&report, err);
  vd_check_report_free (&report);
  if (r == -1)
    vd_err_prefix (err, "nothing is written into a disk with errors "
                   "(vmdkdelta check shows all of them): ");
  return r;
}

static int
find_end (struct disk_part *p, struct vd_err *err)
{
  const uint64_t size = p->inner->file->size;

  if (p->flat)
    return 0;
  p->next = p->size = size;
  if (p->sound)
    return 0;
  if (disk_tables_find_end (p, &p->next, err) == -1)
    return -1;
  if (is_closed (p))
    p->next = vd_max (p->next, size);
  return 0;
}

/* What lies behind the end would show in what grows over it. */
static int
cut_off (struct disk_part *p, struct vd_err *err)
{
  if (p->flat || p->size <= p->next)
    return 0;
  if (p->file->ops->truncate (p->file, p->next, err) == -1)
    return -1;
  p->size = p->next;
  return 0;
}

static int
mark (struct disk_part *p, struct vd_err *err)
{
  return p->flat ? 0 : vd_entries_mark (&p->entries, VD_KDMV_UNCLEAN_WRITE, err);
}

static int
start (struct vd_disk *disk, struct vd_err *err)
{
  size_t i;

  if (check_parent (disk, err) == -1 || check_sound (disk, err) == -1)
    return -1;
  for (i = 0; i < disk->nr_parts; ++i)
    if (find_end (&disk->part[i], err) == -1)
      return -1;
  for (i = 0; i < disk->nr_parts; ++i)
    if (mark (&disk->part[i], err) == -1)
      return -1;
  if (change_identity (disk, err) == -1 ||
      (disk->descriptor && vd_file_flush (disk->descriptor, err) == -1) ||
      disk_sync (disk, true, err) == -1)
    return -1;
  for (i = 0; i < disk->nr_parts; ++i)
    if (disk_tables_settle (&disk->part[i], err) == -1 ||
        cut_off (&disk->part[i], err) == -1)
      return -1;
  return 0;
}

int
disk_start (struct vd_disk *disk, struct vd_err *err)
{
  if (atomic_load (&disk->broken))
    return vd_fail (err, VD_IO, "%s: the system failed to write to it before, "
                    "and what was lost is not known: nothing more is written",
                    disk->chain->links[0]->path);
  if (atomic_load (&disk->started))
    return 0;

  LOCK_FOR_SCOPE (&disk->start_lock);
  if (!atomic_load (&disk->started)) {
    if (start (disk, err) == -1)
      return -1;
    atomic_store (&disk->started, true);
  }
  return 0;
}
