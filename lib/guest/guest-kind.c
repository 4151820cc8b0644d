/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What is in a partition?  Signatures; see libblkid for many more.
 *
 * What matters is that nothing is taken for a file system that is one no
 * longer: a volume of LVM or a pool of ZFS made on an old ext4 may leave its
 * superblock where it was.  So signatures of everything that is known to do
 * that are here, and two of them together are ambiguous.
 */

#include <stdio.h>

#include "guest/guest-parts.h"

static const struct signature {
  const char *kind;
  uint32_t offset;
  uint8_t length;
  const char *bytes;
} signatures[] = {
  { "NTFS", 3, 8, "NTFS    " },
  { "BitLocker", 3, 8, "-FVE-FS-" },
  { "exFAT", 3, 8, "EXFAT   " },
  { "ReFS", 3, 4, "ReFS" },
  { "FAT", 0x36, 3, "FAT" },
  { "FAT", 0x52, 5, "FAT32" },
  { "XFS", 0, 4, "XFSB" },
  { "LUKS", 0, 6, "LUKS\xba\xbe" },
  { "squashfs", 0, 4, "hsqs" },
  { "APFS", 32, 4, "NXSB" },
  { "LVM", 0, 8, "LABELONE" },
  { "LVM", 512, 8, "LABELONE" },
  { "LVM", 1024, 8, "LABELONE" },
  { "LVM", 1536, 8, "LABELONE" },
  { "HFS", 1024, 2, "H+" },
  { "HFS", 1024, 2, "HX" },
  { "F2FS", 1024, 4, "\x10\x20\xf5\xf2" },
  { "EROFS", 1024, 4, "\xe2\xe1\xf5\xe0" },
  { "ext", 1080, 2, "\x53\xef" },
  { "RAID", 0, 4, "\xfc\x4e\x2b\xa9" },
  { "RAID", 4096, 4, "\xfc\x4e\x2b\xa9" },
  { "bcache", 4120, 8, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca" },
  { "swap", 4086, 10, "SWAPSPACE2" },
  { "swap", 4086, 10, "SWAP-SPACE" },
  { "swap", 4086, 9, "S1SUSPEND" },
  { "swap", 4086, 9, "S2SUSPEND" },
  { "swap", 4086, 9, "ULSUSPEND" },
  { "swap", 4086, 9, "LINHIB000" },
  { "swap", 8182, 10, "SWAPSPACE2" },
  { "swap", 16374, 10, "SWAPSPACE2" },
  { "swap", 65526, 10, "SWAPSPACE2" },
  { "JFS", 0x8000, 4, "JFS1" },
  { "ISO 9660", 0x8001, 5, "CD001" },
  { "ReiserFS", 0x10034, 6, "ReIsEr" },
  { "btrfs", 0x10040, 8, "_BHRfS_M" },
};

/* Words found in the last part of a device. */
static const char *
kind_at_end (struct vd_guest_part_in *p)
{
  const uint64_t sectors = p->length / VD_SECTOR;
  uint8_t buf[32];

  if (sectors < 256)
    return NULL;
  if (vd_guest_read (p, buf, 4, ((sectors - 16) & ~UINT64_C (7)) * VD_SECTOR)
      == 0 && vd_le32 (buf) == 0xa92b4efcu)
    return "RAID";
  if (vd_guest_read (p, buf, 4, (sectors & ~UINT64_C (127)) * VD_SECTOR
                     - 65536) == 0 && vd_le32 (buf) == 0xa92b4efcu)
    return "RAID";
  if (vd_guest_read (p, buf, 4, (sectors - 1) * VD_SECTOR) == 0 &&
      vd_be32 (buf) == 0xde11de11u)
    return "RAID";
  if (vd_guest_read (p, buf, 18, (sectors - 2) * VD_SECTOR) == 0 &&
      memcmp (buf, "Intel Raid ISM Cfg", 18) == 0)
    return "RAID";
  return NULL;
}

/* Its uberblocks, in the first label. */
static bool
is_zfs (struct vd_guest_part_in *p)
{
  uint64_t at;
  uint8_t buf[8];

  for (at = 128 << 10; at < 256 << 10; at += 1024)
    if (vd_guest_read (p, buf, sizeof buf, at) == 0 &&
        (vd_le64 (buf) == 0x00bab10cu ||
         vd_le64 (buf) == UINT64_C (0x0cb1ba0000000000)))
      return true;
  return false;
}

/* The magic of ext is two bytes only. */
static bool
can_be_ext (struct vd_guest_part_in *p)
{
  uint8_t sb[128];

  return vd_guest_read (p, sb, sizeof sb, 1024) == 0 &&
    vd_le32 (sb) != 0 && vd_le32 (sb + 4) != 0 && vd_le32 (sb + 24) <= 6 &&
    vd_le32 (sb + 76) <= 1;
}

const char *
vd_guest_kind (struct vd_guest_part_in *p, const char **second)
{
  const char *found = NULL, *more[2];
  uint8_t buf[16];
  size_t i;

  for (i = 0; i < sizeof signatures / sizeof signatures[0]; ++i) {
    const struct signature *s = &signatures[i];

    if (vd_guest_read (p, buf, s->length, s->offset) == -1 ||
        memcmp (buf, s->bytes, s->length) != 0)
      continue;
    if (strcmp (s->kind, "ext") == 0 && !can_be_ext (p))
      continue;
    if (found && strcmp (found, s->kind) != 0)
      *second = s->kind;
    else
      found = s->kind;
  }
  more[0] = kind_at_end (p);
  more[1] = is_zfs (p) ? "ZFS" : NULL;
  for (i = 0; i < 2; ++i) {
    if (!more[i])
      continue;
    if (found && strcmp (found, more[i]) != 0)
      *second = more[i];
    else
      found = more[i];
  }
  return found;
}

/* ---- Who knows which ----------------------------------------------------- */

static const struct {
  const char *kind;
  void (*look) (struct vd_guest_part_in *p);
} known[] = {
  { "ext", vd_guest_ext },
  { "NTFS", vd_guest_ntfs },
  { "swap", vd_guest_swap },
};

void
vd_guest_look (struct vd_guest_part_in *p)
{
  const char *second = NULL, *kind = vd_guest_kind (p, &second);
  size_t i;

  if (!kind) {
    vd_guest_say (p, VD_GUEST_LEFT, "what is in it is not known here");
    return;
  }
  snprintf (p->kind, sizeof p->kind, "%s", kind);
  if (second) {
    vd_guest_say (p, VD_GUEST_LEFT, "it looks like %s too", second);
    return;
  }
  for (i = 0; i < sizeof known / sizeof known[0]; ++i)
    if (strcmp (known[i].kind, kind) == 0) {
      known[i].look (p);
      return;
    }
  vd_guest_say (p, VD_GUEST_LEFT, "its free space is not known here");
}

/* ---- Swap ---------------------------------------------------------------- */

/* All but the header, in which are label and UUID.  Pages have at most 64
 * KiB.
 */
#define SWAP_HEADER 65536u

void
vd_guest_swap (struct vd_guest_part_in *p)
{
  uint8_t magic[10];

  if (!p->swap) {
    vd_guest_say (p, VD_GUEST_LEFT, "--free-space=swap empties it");
    return;
  }
  if (vd_guest_read (p, magic, sizeof magic, 4086) == -1 ||
      memcmp (magic, "SWAPSPACE2", sizeof magic) != 0) {
    vd_guest_say (p, VD_GUEST_DIRTY, "a guest that hibernates may be in it");
    return;
  }
  vd_guest_say (p, VD_GUEST_CLEAN, "%s", "");
  if (p->length > SWAP_HEADER)
    vd_child_free (p->c, p->start + SWAP_HEADER, p->start + p->length);
}
