/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VDI: VirtualBox's own disk image; bases and differencing images.
 *
 *   0x000   64 bytes of text, never to be tested
 *   0x040   signature, version, then the header
 *   map     u32 for each block of the disk: 0xffffffff free (ask the parent;
 *           zeros in a base), 0xfffffffe zeros, else the number of the block
 *           in the data area
 *   data    blocks, each with cbBlockExtra bytes in front
 *
 * Images are linked by UUID: uuidLinkage is uuidCreate of the parent.  Whether
 * an image is a child says uuidLinkage, not its type.
 *
 * Facts from VirtualBox's sources (VDICore.h) and from images that it made.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "base/uuid.h"
#include "format/grain-tables.h"
#include "format/vdi.h"

/* Header sizes that can be: from the first field behind the version. */
#define MIN_HEADER 0x180u
#define MAX_HEADER 65536u

#define MIN_BLOCK UINT32_C (4096)
#define MAX_BLOCK (UINT32_C (256) << 20)

#define MAP_CHUNK 4096u         /* entries read at a time */

static bool
vdi_probe (const uint8_t *head, size_t n)
{
  return n >= VD_VDI_OFF_VERSION + 4 &&
    vd_le32 (head + VD_VDI_OFF_SIGNATURE) == VD_VDI_SIGNATURE;
}

/* On disk: u32, u16, u16 little-endian, then 8 bytes; here in the order of
 * its text.
 */
void
vd_vdi_swap_uuid (uint8_t to[16], const uint8_t from[16])
{
  static const uint8_t order[8] = { 3, 2, 1, 0, 5, 4, 7, 6 };
  size_t i;

  for (i = 0; i < 8; ++i)
    to[i] = from[order[i]];
  memcpy (to + 8, from + 8, 8);
}

/* Fields as they stand in the header, of either version. */
struct header {
  uint32_t version, type, flags, block_size, extra, nr_blocks;
  uint64_t map_offset, data_offset, disk_size, count_offset, end;
};

static int
decode_header (const uint8_t *h, const char *name, struct header *f,
               struct vd_identity *id, struct vd_err *err)
{
  f->version = vd_le32 (h + VD_VDI_OFF_VERSION);
  if (f->version >> 16 == 1) {
    const uint32_t size = vd_le32 (h + VD_VDI_OFF_HEADER_SIZE);

    if (size < MIN_HEADER || size > MAX_HEADER)
      return vd_fail (err, VD_CORRUPT,
                      "%s: the VDI header has %" PRIu32 " bytes (byte 0x48); "
                      "allowed are %u to %u", name, size, MIN_HEADER,
                      MAX_HEADER);
    f->end = VD_VDI_OFF_HEADER_SIZE + (uint64_t) size;
    f->type = vd_le32 (h + VD_VDI_OFF_TYPE);
    f->flags = vd_le32 (h + VD_VDI_OFF_FLAGS);
    f->map_offset = vd_le32 (h + VD_VDI_OFF_MAP);
    f->data_offset = vd_le32 (h + VD_VDI_OFF_DATA);
    f->disk_size = vd_le64 (h + VD_VDI_OFF_DISK_SIZE);
    f->block_size = vd_le32 (h + VD_VDI_OFF_BLOCK_SIZE);
    f->extra = vd_le32 (h + VD_VDI_OFF_BLOCK_EXTRA);
    f->nr_blocks = vd_le32 (h + VD_VDI_OFF_NR_BLOCKS);
    f->count_offset = VD_VDI_OFF_NR_STORED;
    vd_vdi_swap_uuid (id->image, h + VD_VDI_OFF_UUID);
    vd_vdi_swap_uuid (id->modified, h + VD_VDI_OFF_MODIFIED);
    vd_vdi_swap_uuid (id->parent, h + VD_VDI_OFF_PARENT);
    vd_vdi_swap_uuid (id->parent_modified, h + VD_VDI_OFF_PARENT_MODIFIED);
    return 0;
  }
  if (f->version >> 16 == 0) {
    f->type = vd_le32 (h + VD_VDI_0_OFF_TYPE);
    f->flags = vd_le32 (h + VD_VDI_0_OFF_FLAGS);
    f->disk_size = vd_le64 (h + VD_VDI_0_OFF_DISK_SIZE);
    f->block_size = vd_le32 (h + VD_VDI_0_OFF_BLOCK_SIZE);
    f->nr_blocks = vd_le32 (h + VD_VDI_0_OFF_NR_BLOCKS);
    f->count_offset = VD_VDI_0_OFF_NR_STORED;
    vd_vdi_swap_uuid (id->image, h + VD_VDI_0_OFF_UUID);
    vd_vdi_swap_uuid (id->modified, h + VD_VDI_0_OFF_MODIFIED);
    vd_vdi_swap_uuid (id->parent, h + VD_VDI_0_OFF_PARENT);
    f->end = f->map_offset = VD_VDI_0_OFF_MAP;
    f->data_offset = f->map_offset + (uint64_t) f->nr_blocks * 4;
    return 0;
  }
  return vd_fail (err, VD_UNSUPPORTED,
                  "%s: VDI version %" PRIu32 ".%" PRIu32 " (byte 0x44) is not "
                  "supported, only 0.x and 1.x", name, f->version >> 16,
                  f->version & 0xffff);
}

static int
check_header (const struct header *f, const struct vd_file *file,
              const struct vd_identity *id, struct vd_err *err)
{
  const char *name = file->name;

  if (f->type < VD_VDI_NORMAL || f->type > VD_VDI_DIFF)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: VDI type %" PRIu32 " is not supported, only 1 to 4",
                    name, f->type);
  if ((f->type == VD_VDI_DIFF || f->type == VD_VDI_UNDO) &&
      vd_uuid_is_null (id->parent))
    return vd_fail (err, VD_CORRUPT, "%s is a differencing image (type %"
                    PRIu32 ") but names no parent", name, f->type);
  if (f->block_size < MIN_BLOCK || f->block_size > MAX_BLOCK ||
      !vd_is_power_of_2 (f->block_size))
    return vd_fail (err, VD_CORRUPT,
                    "%s: VDI block size is %" PRIu32 "; allowed is a power of "
                    "two from %" PRIu32 " to %" PRIu32, name, f->block_size,
                    MIN_BLOCK, MAX_BLOCK);
  if (f->extra > MAX_BLOCK || (f->extra & (f->extra - 1)) != 0)
    return vd_fail (err, VD_CORRUPT,
                    "%s: extra block size %" PRIu32 " is not valid; allowed "
                    "is 0 or a power of two to %" PRIu32, name, f->extra,
                    MAX_BLOCK);
  if (f->disk_size == 0 ||
      f->disk_size > (uint64_t) f->nr_blocks * f->block_size)
    return vd_fail (err, VD_CORRUPT,
                    "%s: the disk has %" PRIu64 " bytes, but the map %" PRIu32
                    " blocks of %" PRIu32, name, f->disk_size, f->nr_blocks,
                    f->block_size);
  if (f->map_offset < f->end ||
      f->map_offset + (uint64_t) f->nr_blocks * 4 > file->size)
    return vd_fail (err, f->map_offset < f->end ? VD_CORRUPT : VD_TRUNCATED,
                    "%s: block map of %" PRIu32 " entries at byte %" PRIu64
                    " is outside of the file; allowed is byte %" PRIu64
                    " up to its end at byte %" PRIu64, name, f->nr_blocks,
                    f->map_offset, f->end, file->size);
  if (f->data_offset < f->map_offset + (uint64_t) f->nr_blocks * 4)
    return vd_fail (err, VD_CORRUPT,
                    "%s: the data begins at byte %" PRIu64 ", in the block "
                    "map, which ends at byte %" PRIu64, name, f->data_offset,
                    f->map_offset + (uint64_t) f->nr_blocks * 4);
  return 0;
}

/* The file ends with the last block that the header counts. */
static void
check_size (const struct header *f, uint32_t stored,
            const struct vd_file *file, const struct vd_log *log)
{
  const uint64_t end
    = f->data_offset + stored * ((uint64_t) f->block_size + f->extra);

  if (file->size != end)
    vd_warn (log, "%s: the header counts %" PRIu32 " blocks, which end at byte "
             "%" PRIu64 ", but the file ends at byte %" PRIu64 ": %s",
             file->name, stored, end, file->size, file->size < end
             ? "it looks truncated, reads of what is missing will fail"
             : "if it is not in use now, its header is damaged");
}

static int
vdi_open (struct vd_file *file, const struct vd_opts *opts,
          struct vd_image **image, struct vd_err *err)
{
  CLEANUP_FREE struct vd_vdi_image *vdi = calloc (1, sizeof *vdi);
  uint8_t h[VD_SECTOR];
  struct header f = { .extra = 0 };
  const size_t n = (size_t) vd_min (file->size, sizeof h);

  if (!vdi)
    return vd_fail_nomem (err);
  memset (h, 0, sizeof h);
  /* That of version 1 is larger, and its map lies behind it, in the file. */
  if (n < VD_VDI_0_OFF_MAP)
    return vd_fail (err, VD_TRUNCATED, "%s: a VDI header has at least 420 "
                    "bytes, the file has %" PRIu64, file->name, file->size);
  if (vd_file_pread (file, h, n, 0, err) == -1 ||
      decode_header (h, file->name, &f, &vdi->image.id, err) == -1 ||
      check_header (&f, file, &vdi->image.id, err) == -1)
    return -1;

  if (f.flags & ~UINT32_C (1))
    vd_warn (&opts->log, "%s: VDI flags are 0x%" PRIx32 ", known is 1; going "
             "on", file->name, f.flags);
  if (vd_uuid_is_null (vdi->image.id.image))
    vd_warn (&opts->log, "%s: the image has no UUID", file->name);
  check_size (&f, vd_le32 (h + f.count_offset), file, &opts->log);
  if (f.type == VD_VDI_NORMAL && !vd_uuid_is_null (vdi->image.id.parent))
    vd_warn (&opts->log, "%s: its type is 'normal', but it has a parent; "
             "using the parent", file->name);
  vdi->image.capacity = f.disk_size;
  vdi->image.grain_size = f.block_size;
  vdi->image.tables_size = (uint64_t) f.nr_blocks * f.block_size;
  vdi->image.version = f.version;
  vdi->image.flags = f.flags;
  vdi->image.linked_by_uuid = true;
  vdi->type = (enum vd_vdi_type) f.type;
  vdi->map_offset = f.map_offset;
  vdi->count_offset = f.count_offset;
  vdi->data_offset = f.data_offset;
  vdi->block_size = f.block_size;
  vdi->nr_blocks = f.nr_blocks;
  vdi->extra = f.extra;
  vdi->stored_size = (uint64_t) f.block_size + f.extra;
  if (file->size > f.data_offset)
    vdi->nr_stored = vd_div_up (file->size - f.data_offset, vdi->stored_size);
  *image = (struct vd_image *) VD_TAKE (vdi);
  return 0;
}

struct vd_entry
vd_vdi_judge (const struct vd_image *image, uint64_t block, uint32_t raw,
              struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (image);

  if (raw == VD_VDI_FREE)
    return (struct vd_entry) { .kind = VD_BASE };
  if (raw == VD_VDI_ZERO)
    return (struct vd_entry) { .kind = VD_ZERO };
  if (raw < vdi->nr_stored)
    return (struct vd_entry) {
      .kind = VD_DATA,
      .where = vdi->data_offset + raw * vdi->stored_size + vdi->extra,
    };
  if (err)
    vd_fail (err, VD_TRUNCATED,
             "%s: block %" PRIu64 " is stored at %" PRIu32 ", but the file "
             "has only %" PRIu64 " blocks", image->file->name, block, raw,
             vdi->nr_stored);
  return (struct vd_entry) { .kind = VD_DAMAGED };
}

static int
vdi_map (const struct vd_image *image, uint64_t offset, uint64_t length,
         const struct vd_out *out, struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (image);
  const uint64_t end = offset + length;
  uint8_t buf[MAP_CHUNK * 4];
  size_t i, n;
  int r;

  while (offset < end) {
    const uint64_t first = offset / vdi->block_size;

    n = (size_t) vd_min (vd_div_up (end, vdi->block_size) - first, MAP_CHUNK);
    if (vd_runs_enough (out->runs, n * 4))
      return 0;
    if (vd_file_pread (image->file, buf, n * 4, vdi->map_offset + first * 4,
                       err) == -1)
      return -1;
    for (i = 0; i < n; ++i) {
      const uint64_t start = (first + i) * vdi->block_size;
      const uint64_t to = vd_min (start + vdi->block_size, end);
      const struct vd_entry e
        = vd_vdi_judge (image, first + i, vd_le32 (buf + i * 4), NULL);

      if (e.kind == VD_DATA)
        r = vd_emit_data (image, out, offset, to - offset,
                          e.where + (offset - start), err);
      else
        r = vd_emit (out, e.kind, offset, to - offset, 0, err);
      if (r != 0)
        return r == 1 ? 0 : -1;
      offset = to;
    }
  }
  return 0;
}

static int
vdi_explain (const struct vd_image *image, uint64_t offset,
             struct vd_err *err)
{
  const struct vd_vdi_image *vdi = vd_vdi (image);
  const uint64_t block = offset / vdi->block_size;
  struct vd_entry e;
  uint8_t raw[4];

  if (vd_file_pread (image->file, raw, sizeof raw,
                     vdi->map_offset + block * 4, err) == -1)
    return -1;
  e = vd_vdi_judge (image, block, vd_le32 (raw), err);
  if (e.kind == VD_DAMAGED)
    return -1;
  return vd_fail (err, VD_TRUNCATED,
                  "%s: block %" PRIu64 " is at byte %" PRIu64 " and has %"
                  PRIu64 " bytes, but the file ends at byte %" PRIu64
                  ": it is truncated", image->file->name, block, e.where,
                  vdi->block_size, image->file->size);
}

static void
vdi_close (struct vd_image *image)
{
  free (image);
}

const struct vd_format vd_format_vdi = {
  .name = "VDI",
  .long_name = "VDI (VirtualBox)",
  .minor_bits = 16,
  .probe = vdi_probe,
  .open = vdi_open,
  .map = vdi_map,
  .explain = vdi_explain,
  .close = vdi_close,
};
