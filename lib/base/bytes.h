/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Little-endian fields, rounding, checked arithmetic.
 *
 * All formats that we read are little-endian and place 64-bit fields at odd
 * offsets (12, 20, 28 ... in a KDMV header), so fields are always fetched by
 * byte offset with these accessors, never through a struct laid over a
 * buffer.
 */

#ifndef VD_BYTES_H
#define VD_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A sector is 512 bytes in every format, whatever the disk's own sectors. */
#define VD_SECTOR UINT64_C (512)

/* The 2 TiB limit: COWD and KDMV have 32-bit sector numbers, so such a file,
 * and for COWD the disk too, ends there.
 */
#define VD_MAX_SECTORS UINT32_MAX

static inline uint16_t
vd_le16 (const void *p)
{
  uint16_t v;
  memcpy (&v, p, sizeof v);
  return le16toh (v);
}

static inline uint32_t
vd_le32 (const void *p)
{
  uint32_t v;
  memcpy (&v, p, sizeof v);
  return le32toh (v);
}

static inline uint32_t
vd_be32 (const uint8_t *p)
{
  return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 |
    (uint32_t) p[2] << 8 | p[3];
}

static inline uint64_t
vd_le64 (const void *p)
{
  uint64_t v;
  memcpy (&v, p, sizeof v);
  return le64toh (v);
}

static inline void
vd_put16 (uint8_t *p, uint16_t v)
{
  v = htole16 (v);
  memcpy (p, &v, sizeof v);
}

static inline void
vd_put32 (uint8_t *p, uint32_t v)
{
  v = htole32 (v);
  memcpy (p, &v, sizeof v);
}

static inline void
vd_put64 (uint8_t *p, uint64_t v)
{
  v = htole64 (v);
  memcpy (p, &v, sizeof v);
}

/* Are these all zeros?  A few words are enough to see that most data is data.
 * What is zeros up to there is compared with itself, moved by as much: that
 * is memcmp's speed.
 */
static inline bool
vd_is_zero (const void *buf, size_t n)
{
  const uint8_t *p = (const uint8_t *) buf;
  uint64_t head[4] = { 0 };
  const size_t first = n < sizeof head ? n : sizeof head;

  memcpy (head, p, first);
  if ((head[0] | head[1] | head[2] | head[3]) != 0)
    return false;
  return n <= sizeof head || memcmp (p, p + sizeof head, n - sizeof head) == 0;
}

static inline uint64_t
vd_min (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static inline uint64_t
vd_max (uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* n / d rounded up; d > 0.  Cannot overflow. */
static inline uint64_t
vd_div_up (uint64_t n, uint64_t d)
{
  return n / d + (n % d != 0);
}

static inline bool
vd_is_power_of_2 (uint64_t n)
{
  return n != 0 && (n & (n - 1)) == 0;
}

/* d is a power of two */
static inline uint64_t
vd_round_down (uint64_t n, uint64_t d)
{
  return n & ~(d - 1);
}

/* *r = a * b resp. a + b; false when the result does not fit. */
static inline bool
vd_mul (uint64_t a, uint64_t b, uint64_t *r)
{
  return !__builtin_mul_overflow (a, b, r);
}

static inline bool
vd_add (uint64_t a, uint64_t b, uint64_t *r)
{
  return !__builtin_add_overflow (a, b, r);
}

/* Sectors to bytes; false when the result does not fit into 63 bits, which
 * is the largest offset that a file can have.
 */
static inline bool
vd_sectors (uint64_t sectors, uint64_t *bytes)
{
  return vd_mul (sectors, VD_SECTOR, bytes) && *bytes <= INT64_MAX;
}

#endif /* VD_BYTES_H */
