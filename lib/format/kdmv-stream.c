/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* streamOptimized: the compressed grains and the footer of a KDMV file.
 *
 * Everything behind the overhead begins with a marker, on a sector:
 *
 *     grain      u64 lba, u32 size (> 0), then `size` bytes of zlib stream
 *     metadata   u64 sectors that follow, u32 0, u32 type; 512 bytes
 *                type 0 end of stream, 1 table, 2 directory, 3 footer,
 *                4 progress
 *
 * A table entry is the sector of a grain marker.  Reading goes by the tables,
 * so metadata markers between grains (tables, progress) are never met.
 *
 * The end of a file with a footer is: footer marker, footer (a copy of the
 * header that has the real gdOffset), end-of-stream marker (all zeros).  What
 * transfers and tools put behind it is passed over: zeros up to the size of
 * their blocks or of a device, or another descriptor.
 *
 * Facts from VMware's "Virtual Disk Format 5.0"; that the payload is zlib
 * (RFC 1950) and not raw deflate, as that note says, from every file seen.
 */

#include <inttypes.h>
#include <stdlib.h>

#include <libdeflate.h>

#include "format/kdmv.h"

/* Most compressed grains fit into this first read. */
#define FIRST_READ 16384u

/* A footer is looked for from the end, in pieces that grow. */
#define FIRST_PIECE 4096u
#define MAX_PIECE (1u << 20)

/* So many sectors may look like one: each needs reads of its own. */
#define MAX_TRIES 64u

/* The directory that a footer names, with its marker in front: it is none of
 * another stream that was put behind this one.
 */
static int
has_directory (struct vd_file *file, const struct vd_kdmv_header *k,
               uint64_t footer, bool at_end, struct vd_err *err)
{
  uint8_t s[VD_SECTOR];
  struct vd_marker m;
  uint64_t gd;

  /* One that cannot be is no other stream's: it is damaged, which is said. */
  if (k->gd_offset < 2 || !vd_sectors (k->gd_offset, &gd) || gd >= footer)
    return at_end;
  if (vd_file_pread (file, s, sizeof s, gd - VD_SECTOR, err) == -1)
    return -1;
  m = vd_marker_decode (s);
  return m.size == 0 && m.type == VD_MARKER_DIRECTORY &&
    m.value <= (footer - gd) / VD_SECTOR;
}

static bool
is_same_disk (const struct vd_kdmv_header *a, const struct vd_kdmv_header *b)
{
  return a->version == b->version && a->flags == b->flags &&
    a->capacity == b->capacity && a->grain_size == b->grain_size &&
    a->gtes_per_gt == b->gtes_per_gt &&
    a->descriptor_offset == b->descriptor_offset &&
    a->descriptor_size == b->descriptor_size;
}

/* Is this sector, at pos, the footer?  at_end: only zeros are behind it. */
static int
try_footer (struct vd_file *file, const struct vd_kdmv_header *head,
            const uint8_t *sector, uint64_t pos, bool at_end,
            struct vd_kdmv_header *k, struct vd_err *err)
{
  uint8_t s[VD_SECTOR];
  struct vd_marker m;
  int r;

  if (memcmp (sector, "KDMV", 4) != 0 || pos < 3 * VD_SECTOR)
    return 0;
  if (vd_file_pread (file, s, sizeof s, pos - VD_SECTOR, err) == -1)
    return -1;
  m = vd_marker_decode (s);
  vd_kdmv_decode (sector, k);
  if (m.size != 0 || m.type != VD_MARKER_FOOTER ||
      k->gd_offset == VD_KDMV_GD_AT_END)
    return 0;
  if (!at_end && !is_same_disk (head, k))
    return 0;
  r = has_directory (file, k, pos, at_end, err);
  /* The one at the end has precedence over the header, which would be read
   * instead.
   */
  if (r == 0 && at_end && head->gd_offset != VD_KDMV_GD_AT_END)
    return vd_fail (err, VD_CORRUPT, "%s: the footer at byte %" PRIu64 " says "
                    "that the grain directory is at sector %" PRIu64 ", where "
                    "none is, and the header that it is at sector %" PRIu64,
                    file->name, pos, k->gd_offset, head->gd_offset);
  return r;
}

int
vd_stream_footer (struct vd_file *file, const struct vd_kdmv_header *head,
                  struct vd_kdmv_header *k, const struct vd_log *log,
                  struct vd_err *err)
{
  const uint64_t end = vd_round_down (file->size, VD_SECTOR);
  const uint64_t lowest = end > VD_MAX_TAIL ? end - VD_MAX_TAIL : VD_SECTOR;
  CLEANUP_FREE uint8_t *buf = malloc (MAX_PIECE);
  size_t piece = FIRST_PIECE, i, n;
  unsigned tries = 0;
  bool zeros = true;            /* all that is behind */
  uint64_t pos;
  int r;

  if (!buf)
    return vd_fail_nomem (err);
  for (pos = end; pos > lowest; piece = (size_t) vd_min (piece * 4, MAX_PIECE)) {
    n = (size_t) vd_min (pos - lowest, piece);
    pos -= n;
    if (vd_file_pread (file, buf, n, pos, err) == -1)
      return -1;
    for (i = n; i > 0; i -= VD_SECTOR) {
      const uint8_t *s = buf + i - VD_SECTOR;

      if (zeros && vd_is_zero (s, VD_SECTOR))
        continue;
      if (memcmp (s, "KDMV", 4) == 0 && ++tries > MAX_TRIES)
        return 0;
      r = try_footer (file, head, s, pos + i - VD_SECTOR, zeros, k, err);
      if (r == 1 && !zeros)
        vd_warn (log, "%s: behind its footer, which is at byte %" PRIu64
                 ", there is more (%" PRIu64 " bytes), which is left out",
                 file->name, pos + i - VD_SECTOR, end - (pos + i));
      if (r != 0)
        return r;
      zeros = false;
    }
  }
  return 0;
}

/* What compressing one grain can make of it at the most: zlib's own bound
 * for its worst settings, and a sector more for writers that pad.
 */
static uint64_t
max_compressed (uint64_t grain)
{
  return grain + (grain >> 12) + (grain >> 14) + (grain >> 25) + 13
    + VD_SECTOR;
}

static int
inflate_bytes (const struct vd_image *image, uint64_t grain, uint64_t where,
               const uint8_t *in, size_t in_size, uint8_t *buf,
               struct vd_err *err)
{
  const size_t grain_size = (size_t) image->grain_size;
  const uint64_t needed = vd_min (image->grain_size, image->used - grain);
  struct libdeflate_decompressor *d = libdeflate_alloc_decompressor ();
  enum libdeflate_result r;
  size_t out = 0;

  if (!d)
    return vd_fail_nomem (err);
  r = libdeflate_zlib_decompress_ex (d, in, in_size, buf, grain_size, NULL,
                                     &out);
  libdeflate_free_decompressor (d);

  switch (r) {
  case LIBDEFLATE_SUCCESS:
    break;
  case LIBDEFLATE_INSUFFICIENT_SPACE:
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain at sector %" PRIu64 " (disk sector %" PRIu64
                    ") inflates to more than %zu bytes", image->file->name,
                    where / VD_SECTOR, grain / VD_SECTOR, grain_size);
  default:
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain at sector %" PRIu64 " (disk sector %" PRIu64
                    "): its %zu compressed bytes are damaged",
                    image->file->name, where / VD_SECTOR, grain / VD_SECTOR,
                    in_size);
  }
  if (out < needed)
    return vd_fail (err, VD_CORRUPT,
                    "%s: grain at sector %" PRIu64 " (disk sector %" PRIu64
                    ") inflates to only %zu of %" PRIu64 " bytes",
                    image->file->name, where / VD_SECTOR, grain / VD_SECTOR,
                    out, needed);
  memset (buf + out, 0, grain_size - out);
  return 0;
}

int
vd_stream_marker (const struct vd_image *image, uint64_t grain,
                  uint64_t where, const uint8_t *in, uint32_t *size,
                  struct vd_err *err)
{
  const char *name = image->file->name;
  const uint64_t left = image->file->size - where;
  uint64_t lba, total;

  lba = vd_le64 (in);
  *size = vd_le32 (in + 8);
  if (lba != grain / VD_SECTOR)
    return vd_fail (err, VD_CORRUPT,
                    "%s: the grain table says that disk sector %" PRIu64
                    " is at sector %" PRIu64 ", but the marker there says "
                    "disk sector %" PRIu64, name, grain / VD_SECTOR,
                    where / VD_SECTOR, lba);
  if (*size == 0 || *size > max_compressed (image->grain_size))
    return vd_fail (err, VD_CORRUPT,
                    "%s: compressed grain at sector %" PRIu64 " claims %"
                    PRIu32 " bytes; allowed are 1 to %" PRIu64, name,
                    where / VD_SECTOR, *size,
                    max_compressed (image->grain_size));
  total = (uint64_t) VD_GRAIN_MARKER_SIZE + *size;
  if (total > left)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: compressed grain at sector %" PRIu64 " of %" PRIu32
                    " bytes ends at byte %" PRIu64 ", but the file ends at "
                    "byte %" PRIu64 ": it is truncated", name,
                    where / VD_SECTOR, *size, where + total,
                    image->file->size);
  return 0;
}

int
vd_stream_inflate (const struct vd_image *image, uint64_t offset,
                   uint64_t where, void *buf, struct vd_err *err)
{
  const char *name = image->file->name;
  const uint64_t grain = vd_round_down (offset, image->grain_size);
  const uint64_t left = image->file->size - where;
  size_t have = (size_t) vd_min (FIRST_READ, left);
  CLEANUP_FREE uint8_t *in = NULL;
  uint64_t total;
  uint32_t size;

  in = malloc (FIRST_READ);
  if (!in)
    return vd_fail_nomem (err);
  if (left < VD_GRAIN_MARKER_SIZE)
    return vd_fail (err, VD_TRUNCATED,
                    "%s: grain at sector %" PRIu64 ": the file ends in its "
                    "marker, at byte %" PRIu64, name, where / VD_SECTOR,
                    image->file->size);
  if (vd_file_pread (image->file, in, have, where, err) == -1)
    return -1;

  if (vd_stream_marker (image, grain, where, in, &size, err) == -1)
    return -1;
  total = (uint64_t) VD_GRAIN_MARKER_SIZE + size;
  if (total > have) {
    uint8_t *p = realloc (in, (size_t) total);

    if (!p)
      return vd_fail_nomem (err);
    in = p;
    if (vd_file_pread (image->file, in + have, (size_t) total - have,
                       where + have, err) == -1)
      return -1;
  }
  return inflate_bytes (image, grain, where, in + VD_GRAIN_MARKER_SIZE, size,
                        buf, err);
}
