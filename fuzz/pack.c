/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* pack BITS FILE...: prints the files as an input of the targets (pack.h).
 *
 * Only what is not zeros is taken, and of a piece that is the same as the
 * pattern of its place nothing.  Grains are long and their bytes mean
 * nothing: with -k N only the first N bytes of each stretch beyond --from
 * BYTE are kept.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

#define BLOCK 16u

static size_t keep = SIZE_MAX;
static unsigned long from;

static void
put (uint64_t v, unsigned width)
{
  for (; width > 0; --width, v >>= 8)
    putchar ((int) (v & 0xff));
}

static int
zeros (const uint8_t *p, size_t n)
{
  while (n > 0 && *p == 0)
    ++p, --n;
  return n == 0;
}

static void
put_data (const uint8_t *p, size_t at, size_t n)
{
  if (at >= from && n > keep)
    n = keep;
  while (n > 0) {
    const size_t k = n < 65535 ? n : 65535;

    if (at <= UINT32_MAX) {
      put (PACK_DATA, 1);
      put (at, 4);
    }
    else {
      if (at % 512 != 0) {
        fprintf (stderr, "pack: too far away: %zu\n", at);
        exit (1);
      }
      put (PACK_DATA | 1 << 2, 1);
      put (at >> 9, 4);
    }
    put (k, 2);
    fwrite (p, 1, k, stdout);
    p += k, at += k, n -= k;
  }
}

static void
pack_file (const char *path)
{
  FILE *fp = fopen (path, "rb");
  size_t max = 64u << 20, n, at, end;
  uint8_t *data = malloc (max);

  if (!fp || !data) {
    perror (path);
    exit (1);
  }
  n = fread (data, 1, max, fp);
  fclose (fp);
  for (at = 0; at < n; at = end) {
    size_t gap = 0;

    for (; at < n && data[at] == 0; ++at)
      ;
    if (at == n)
      break;
    at -= at % 4;
    for (end = at; end < n && gap < BLOCK; ++end)
      gap = data[end] == 0 ? gap + 1 : 0;
    while (end > at && data[end - 1] == 0)
      --end;
    if (!zeros (data + at, end - at))
      put_data (data + at, at, end - at);
  }
  put (PACK_SIZE, 1);
  put (n, 8);
  put (UINT64_MAX, 8);
  free (data);
}

int
main (int argc, char **argv)
{
  int i = 1;

  if (argc > 3 && strcmp (argv[i], "-k") == 0) {
    keep = strtoul (argv[i + 1], NULL, 0);
    i += 2;
  }
  if (argc > i + 2 && strcmp (argv[i], "--from") == 0) {
    from = strtoul (argv[i + 1], NULL, 0);
    i += 2;
  }
  if (argc < i + 2) {
    fprintf (stderr, "usage: pack [-k N] [--from BYTE] BITS FILE...\n");
    return 2;
  }
  put (strtoul (argv[i++], NULL, 0), 1);
  for (; i < argc; ++i) {
    pack_file (argv[i]);
    if (i + 1 < argc)
      put (PACK_NEXT, 1);
  }
  return 0;
}
