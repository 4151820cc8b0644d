/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The journal of a SEsparse file, as far as a message needs it.
 *
 * Seen in a file that an ESXi host wrote: a ring of physical redo records.
 * A record is one sector of header, then whole sectors of content:
 *
 *     0   u64  0xc0ffee
 *    24   u64  sectors of this record, header included
 *   128   16n  pairs of u64 (destination sector, count), unused ones zero
 *   512        the sectors, in the order of the pairs
 *
 * What makes a record committed is not known, so nothing is ever replayed
 * here.  A record of which some sector differs from what stands at its
 * destination is counted as pending; records that were overwritten by later
 * ones are counted too, so the number is an upper bound.
 */

#include <string.h>

#include "base/bytes.h"
#include "format/sesparse.h"

#define RECORD_MAGIC UINT64_C (0xc0ffee)
#define PAIRS_OFFSET 128u
#define MAX_PAIRS ((512u - PAIRS_OFFSET) / 16)

/* A journal of the files seen is 1 MiB.  Reading more of one that claims more
 * would only delay the refusal: 16 MiB.
 */
#define MAX_JOURNAL (UINT64_C (16) << 20)

/* Returns 1 when all content is at its destination, 0 when not, -1. */
static int
is_on_disk (struct vd_file *file, const uint8_t *header, uint64_t content,
            struct vd_err *err)
{
  uint8_t want[VD_SECTOR], have[VD_SECTOR];
  uint64_t sector, dest, i, k;

  for (k = 0; k < MAX_PAIRS; ++k) {
    sector = vd_le64 (header + PAIRS_OFFSET + k * 16);
    for (i = 0; i < vd_le64 (header + PAIRS_OFFSET + k * 16 + 8); ++i) {
      if (!vd_add (sector, i, &dest) || !vd_sectors (dest, &dest) ||
          dest > file->size || file->size - dest < VD_SECTOR)
        return 0;
      if (vd_file_pread (file, want, sizeof want, content, err) == -1 ||
          vd_file_pread (file, have, sizeof have, dest, err) == -1)
        return -1;
      if (memcmp (want, have, sizeof want) != 0)
        return 0;
      content += VD_SECTOR;
    }
  }
  return 1;
}

int
vd_sesparse_journal (struct vd_file *file, uint64_t offset, uint64_t size,
                     struct vd_sesparse_journal *j, struct vd_err *err)
{
  uint8_t header[VD_SECTOR];
  uint64_t end, sectors, sum, n, k;
  int r;

  *j = (struct vd_sesparse_journal) { 0, 0 };
  if (offset > file->size)
    return 0;
  end = offset + vd_min (vd_min (size, MAX_JOURNAL), file->size - offset);

  while (offset + VD_SECTOR <= end) {
    if (vd_file_pread (file, header, sizeof header, offset, err) == -1)
      return -1;
    sectors = vd_le64 (header + 24);
    if (vd_le64 (header) == RECORD_MAGIC && sectors >= 2 &&
        sectors <= (end - offset) / VD_SECTOR) {
      for (sum = 0, k = 0; k < MAX_PAIRS; ++k) {
        n = vd_le64 (header + PAIRS_OFFSET + k * 16 + 8);
        sum = n > sectors ? UINT64_MAX / 2 : sum + n;
      }
      if (sum == sectors - 1) {
        r = is_on_disk (file, header, offset + VD_SECTOR, err);
        if (r == -1)
          return -1;
        j->records++;
        j->pending += r == 0;
        offset += sectors * VD_SECTOR;
        continue;
      }
    }
    offset += VD_SECTOR;
  }
  return 0;
}
