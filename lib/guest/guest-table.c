/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Partition tables: GPT, and MBR with logical partitions.
 *
 * libblkid and libfdisk want a file descriptor, and the child has none.  What is
 * needed is small: where partitions are, and which of them are members of
 * something larger.  A table that is odd in any way is left alone.
 */

#include <libdeflate.h>
#include <stdlib.h>

#include "guest/guest-parts.h"

struct table {
  struct vd_child *c;
  uint64_t sectors;             /* of the disk */
  struct vd_guest_entry *entry;
  size_t n;
  const char *why;              /* it is odd */
};

static int
odd (struct table *t, const char *why)
{
  t->why = why;
  return -1;
}

static int
add (struct table *t, unsigned number, uint64_t first, uint64_t count,
     const char *member)
{
  if (first == 0 || count == 0 || first > t->sectors ||
      count > t->sectors - first)
    return odd (t, "a partition does not lie within the disk");
  if (t->n == VD_GUEST_MAX_PARTS)
    return odd (t, "it has more partitions than any product makes");
  t->entry[t->n++] = (struct vd_guest_entry) {
    .number = number, .start = first * VD_SECTOR, .length = count * VD_SECTOR,
    .member = member,
  };
  return 0;
}

/* ---- MBR ----------------------------------------------------------------- */

#define MBR_FIRST 446u
#define MBR_SIZE 16u

struct mbr_entry {
  uint8_t status, type;
  uint32_t first, count;
};

static struct mbr_entry
mbr_entry (const uint8_t *sector, unsigned i)
{
  const uint8_t *p = sector + MBR_FIRST + i * MBR_SIZE;

  return (struct mbr_entry) {
    .status = p[0], .type = p[4], .first = vd_le32 (p + 8),
    .count = vd_le32 (p + 12),
  };
}

static bool
is_extended (uint8_t type)
{
  return type == 0x05 || type == 0x0f || type == 0x85;
}

static const char *
mbr_member (uint8_t type)
{
  switch (type) {
  case 0x8e: return "LVM";
  case 0xfd: return "RAID";
  case 0x42: return "LDM";
  default: return NULL;
  }
}

static bool
has_signature (const uint8_t *sector)
{
  return sector[510] == 0x55 && sector[511] == 0xaa;
}

/* Each logical partition has a table of its own, which leads to the next. */
static int
add_logical (struct table *t, const struct mbr_entry *extended)
{
  uint64_t at = extended->first;
  const uint64_t end = at + extended->count;
  unsigned number;

  for (number = 5; number < 5 + VD_GUEST_MAX_PARTS; ++number) {
    uint8_t sector[VD_SECTOR];
    struct mbr_entry own, next;

    if (vd_child_read (t->c, sector, sizeof sector, at * VD_SECTOR) == -1 ||
        !has_signature (sector))
      return odd (t, "its chain of logical partitions is broken");
    own = mbr_entry (sector, 0);
    next = mbr_entry (sector, 1);
    if (own.type != 0 && own.count != 0) {
      if (is_extended (own.type) || at + own.first + own.count > end)
        return odd (t, "a logical partition does not lie within the extended "
                    "one");
      if (add (t, number, at + own.first, own.count,
               mbr_member (own.type)) == -1)
        return -1;
    }
    if (next.type == 0 || next.count == 0)
      return 0;
    if (!is_extended (next.type) || extended->first + (uint64_t) next.first >= end
        || next.first == 0)
      return odd (t, "its chain of logical partitions is broken");
    at = extended->first + (uint64_t) next.first;
  }
  return odd (t, "its chain of logical partitions does not end");
}

/* Boot sectors of file systems end like an MBR. */
static bool
is_file_system (const uint8_t *sector)
{
  return memcmp (sector + 3, "NTFS    ", 8) == 0 ||
    memcmp (sector + 3, "EXFAT   ", 8) == 0 ||
    memcmp (sector + 3, "-FVE-FS-", 8) == 0 ||
    memcmp (sector + 0x36, "FAT", 3) == 0 ||
    memcmp (sector + 0x52, "FAT32", 5) == 0;
}

/* 1: there is a table; 0: none; -1: odd.  *gpt: it only says that there is one
 * of the other kind.
 */
static int
read_mbr (struct table *t, const uint8_t *sector, bool *gpt)
{
  unsigned i, nr = 0, nr_gpt = 0;

  *gpt = false;
  if (!has_signature (sector) || is_file_system (sector))
    return 0;
  for (i = 0; i < 4; ++i) {
    const struct mbr_entry e = mbr_entry (sector, i);

    if (e.status != 0 && e.status != 0x80)
      return 0;
    nr += e.type != 0;
    nr_gpt += e.type == 0xee;
  }
  if (nr_gpt > 0) {
    *gpt = true;
    return nr == 1 ? 1
      : odd (t, "it has two partition tables, MBR and GPT");
  }
  for (i = 0; i < 4; ++i) {
    const struct mbr_entry e = mbr_entry (sector, i);

    if (e.type == 0)
      continue;
    if (is_extended (e.type) ? add_logical (t, &e) == -1
        : add (t, i + 1, e.first, e.count, mbr_member (e.type)) == -1)
      return -1;
  }
  return nr > 0;
}

/* ---- GPT ----------------------------------------------------------------- */

#define GPT_ENTRY 128u
#define GPT_MAX_ENTRIES 1024u

static const char *
gpt_member (const uint8_t *type)
{
  static const struct {
    uint8_t type[16];
    const char *member;
  } members[] = {
    { { 0x79, 0xd3, 0xd6, 0xe6, 0x07, 0xf5, 0xc2, 0x44,
        0xa2, 0x3c, 0x23, 0x8f, 0x2a, 0x3d, 0xf9, 0x28 }, "LVM" },
    { { 0x0f, 0x88, 0x9d, 0xa1, 0xfc, 0x05, 0x3b, 0x4d,
        0xa0, 0x06, 0x74, 0x3f, 0x0f, 0x84, 0x91, 0x1e }, "RAID" },
    { { 0xa0, 0x60, 0x9b, 0xaf, 0x31, 0x14, 0x62, 0x4f,
        0xbc, 0x68, 0x33, 0x11, 0x71, 0x4a, 0x69, 0xad }, "LDM" },
    { { 0x8f, 0xaf, 0x5c, 0xe7, 0x80, 0xf6, 0xee, 0x4c,
        0xaf, 0xa3, 0xb0, 0x01, 0xe5, 0x6e, 0xfc, 0x2d }, "Storage Spaces" },
  };
  size_t i;

  for (i = 0; i < sizeof members / sizeof members[0]; ++i)
    if (memcmp (members[i].type, type, 16) == 0)
      return members[i].member;
  return NULL;
}

static int
add_gpt_entries (struct table *t, const uint8_t *p, uint32_t n)
{
  uint32_t i;

  for (i = 0; i < n; ++i, p += GPT_ENTRY) {
    const uint64_t first = vd_le64 (p + 32), last = vd_le64 (p + 40);

    if (vd_is_zero (p, 16))
      continue;
    if (last < first || last >= t->sectors)
      return odd (t, "a partition does not lie within the disk");
    if (add (t, i + 1, first, last - first + 1, gpt_member (p)) == -1)
      return -1;
  }
  return 1;
}

static int
read_gpt (struct table *t)
{
  uint8_t head[VD_SECTOR], *entries;
  uint32_t size, n, crc;
  uint64_t at;
  int r;

  if (vd_child_read (t->c, head, sizeof head, VD_SECTOR) == -1 ||
      memcmp (head, "EFI PART", 8) != 0)
    return odd (t, "it says that it has a GPT, which is not there");
  size = vd_le32 (head + 12);
  crc = vd_le32 (head + 16);
  if (size < 92 || size > sizeof head)
    return odd (t, "its GPT has a header of an unknown size");
  memset (head + 16, 0, 4);
  at = vd_le64 (head + 72);
  n = vd_le32 (head + 80);
  if (libdeflate_crc32 (0, head, size) != crc || vd_le64 (head + 24) != 1 ||
      vd_le32 (head + 84) != GPT_ENTRY || n > GPT_MAX_ENTRIES ||
      at < 2 || at >= t->sectors)
    return odd (t, "its GPT is damaged");
  entries = malloc ((size_t) n * GPT_ENTRY + 1);
  if (!entries)
    return odd (t, "no memory");
  if (vd_child_read (t->c, entries, (size_t) n * GPT_ENTRY,
                     at * VD_SECTOR) == -1 ||
      libdeflate_crc32 (0, entries, (size_t) n * GPT_ENTRY)
      != vd_le32 (head + 88))
    r = odd (t, "its GPT is damaged");
  else
    r = add_gpt_entries (t, entries, n);
  free (entries);
  return r;
}

/* ---- Either -------------------------------------------------------------- */

static int
compare_entries (const void *a, const void *b)
{
  const struct vd_guest_entry *x = a, *y = b;

  return x->start < y->start ? -1 : x->start > y->start;
}

enum vd_guest_table
vd_guest_read_table (struct vd_child *c, uint64_t size,
                     struct vd_guest_entry entry[VD_GUEST_MAX_PARTS],
                     size_t *n, const char **why)
{
  struct table t = { .c = c, .sectors = size / VD_SECTOR, .entry = entry };
  uint8_t sector[VD_SECTOR];
  bool gpt;
  size_t i;
  int r;

  *n = 0;
  if (vd_child_read (c, sector, sizeof sector, 0) == -1)
    return VD_GUEST_NO_TABLE;
  r = read_mbr (&t, sector, &gpt);
  if (r == 1 && gpt)
    r = read_gpt (&t);
  qsort (entry, t.n, sizeof *entry, compare_entries);
  for (i = 1; r == 1 && i < t.n; ++i)
    if (entry[i].start < entry[i - 1].start + entry[i - 1].length)
      r = odd (&t, "partitions overlap");
  *why = t.why;
  *n = t.n;
  return r == 1 ? VD_GUEST_TABLE : r == 0 ? VD_GUEST_NO_TABLE
    : VD_GUEST_BAD_TABLE;
}
