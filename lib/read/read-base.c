/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Reading what shows through to the base; see read-base.h. */

#include <string.h>

#include "base/bytes.h"
#include "read/read-base.h"

/* One read is cheaper than two, if so many bytes lie between them; more, if that
 * was measured (file->gap).
 */
#define BASE_GAP (UINT64_C (64) << 10)

/* Read [from, to) of the base into the window's buffer; what lies past its
 * end is zeros.
 */
static int
read_base (const struct vd_base *base, uint8_t *buf, uint64_t window,
           uint64_t window_end, uint64_t from, uint64_t to,
           struct vd_err *err)
{
  const uint64_t size = base->file ? base->file->size : 0;
  uint64_t n;

  if (base->align > 1) {
    from = vd_max (window, vd_round_down (from, base->align));
    to = vd_min (window_end,
                 vd_round_down (to + base->align - 1, base->align));
  }
  n = from < size ? vd_min (to, size) - from : 0;
  if (n > 0 && vd_file_pread (base->file, buf + (from - window), (size_t) n,
                              from, err) == -1)
    return -1;
  memset (buf + (from + n - window), 0, (size_t) (to - from - n));
  return 0;
}

/* Runs [i, k), which lie close together. */
static int
read_base_group (const struct vd_base *base, const struct vd_runs *runs,
                 size_t i, size_t k, uint8_t *buf, uint64_t window,
                 uint64_t end, struct vd_err *err)
{
  const struct vd_base exact = { .file = base->file, .align = 1 };

  if (read_base (base, buf, window, end, runs->run[i].offset,
                 vd_run_end (&runs->run[k - 1]), err) == 0)
    return 0;
  /* Perhaps only what lies between them cannot be read. */
  for (; i < k; ++i)
    if (runs->run[i].kind == VD_BASE &&
        read_base (&exact, buf, window, end, runs->run[i].offset,
                   vd_run_end (&runs->run[i]), err) == -1)
      return -1;
  return 0;
}

int
vd_read_base (const struct vd_base *base, const struct vd_runs *runs,
              uint8_t *buf, uint64_t window, uint64_t end,
              struct vd_err *err)
{
  const uint64_t gap = vd_max (BASE_GAP, base->file ? base->file->gap : 0);
  size_t first = 0, last = 0;   /* pending: [first, last), if not empty */
  size_t i;

  for (i = 0; i < runs->n; ++i) {
    const struct vd_run *r = &runs->run[i];

    if (r->kind != VD_BASE)
      continue;
    if (last > first &&
        r->offset - vd_run_end (&runs->run[last - 1]) > gap) {
      if (read_base_group (base, runs, first, last, buf, window, end,
                           err) == -1)
        return -1;
      last = first;
    }
    if (last == first)
      first = i;
    last = i + 1;
  }
  return last > first
    ? read_base_group (base, runs, first, last, buf, window, end, err) : 0;
}
