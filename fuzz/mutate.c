/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* How packed inputs are changed: record by record, so that what is changed
 * is a field of an image and not the way in which it is packed.
 */

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "pack.h"

extern size_t LLVMFuzzerMutate (uint8_t *data, size_t n, size_t max);
extern size_t LLVMFuzzerCustomMutator (uint8_t *data, size_t n, size_t max,
                                       unsigned seed);

#define MAX_RECORDS 96u

struct record { size_t at, head, length; unsigned op; };

static uint64_t state;

static uint64_t
chance (uint64_t n)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state % n;
}

static size_t
split (const uint8_t *data, size_t n, struct record *r)
{
  size_t at = 1, k = 0;

  while (at < n && k < MAX_RECORDS) {
    const unsigned op = data[at] & 3;
    const size_t head = op == PACK_NEXT ? 1
      : op == PACK_SIZE ? PACK_SIZE_HEAD : PACK_DATA_HEAD;
    size_t length = 0;

    if (n - at < head)
      break;
    if (op != PACK_NEXT && op != PACK_SIZE)
      length = (size_t) vd_min (vd_le16 (data + at + 5), n - at - head);
    r[k++] = (struct record) { at, head, length, op };
    at += head + length;
  }
  return k;
}

static void
put (uint8_t *p, uint64_t v, unsigned width)
{
  for (; width > 0; --width, v >>= 8)
    *p++ = (uint8_t) v;
}

static uint64_t
get (const uint8_t *p, unsigned width)
{
  uint64_t v = 0;

  while (width > 0)
    v = v << 8 | p[--width];
  return v;
}

/* A number that may mean something there. */
static uint64_t
number (const uint8_t *data, const struct record *r, size_t k, uint64_t old)
{
  static const uint64_t some[] = {
    0, 1, 2, 3, 4, 7, 8, 16, 64, 127, 128, 512, 2048, 4096, 65535,
    UINT32_MAX, UINT32_MAX - 1, INT32_MAX, UINT64_MAX, INT64_MAX,
    UINT64_C (1) << 53, UINT64_C (1) << 55, UINT64_C (1) << 62,
    UINT64_C (0x1000000000000000), UINT64_C (0x2000000000000000),
    UINT64_C (0x3000000000000000), UINT64_C (0x3001000000000000),
    UINT64_C (0x1000000000000001),
  };
  const struct record *o = &r[chance (k)];

  switch (chance (7)) {
  case 0: return old + 1;
  case 1: return old - 1;
  case 2: return old ^ UINT64_C (1) << chance (64);
  case 3: return chance (UINT64_C (1) << chance (16));
  case 4:
    if (o->op < PACK_SIZE)      /* the place of something, in sectors */
      return ((uint64_t) vd_le32 (data + o->at + 1)
              << pack_shift[data[o->at] >> 2 & 3]) >> 9;
    return vd_le64 (data + o->at + 1) >> chance (2) * 9;
  default: return some[chance (sizeof some / sizeof some[0])];
  }
}

/* Change a field in the bytes of a record. */
static void
change_field (uint8_t *data, const struct record *rs, size_t k,
              const struct record *r)
{
  const unsigned width = 1u << chance (4);
  uint8_t *p = data + r->at + r->head;
  size_t at;

  if (r->length < width)
    return;
  at = chance (r->length - width + 1);
  if (chance (4) != 0)
    at = at / 4 * 4;
  if (at + width <= r->length)
    put (p + at, number (data, rs, k, get (p + at, width)), width);
}

static void
change_size (uint8_t *data, const struct record *rs, size_t k,
             const struct record *r)
{
  uint8_t *p = data + r->at + 1 + (chance (4) == 0 ? 8 : 0);
  const uint64_t v = vd_le64 (p);

  switch (chance (4)) {
  case 0: put (p, v - chance (1 + vd_min (v, 70000)), 8); break;
  case 1: put (p, v + (chance (2048) - 1024), 8); break;
  case 2: put (p, number (data, rs, k, v) << 9, 8); break;
  default: put (p, number (data, rs, k, v), 8); break;
  }
}

/* Give the bytes of a record to the default mutations, which may make them
 * longer or shorter.
 */
static size_t
change_bytes (uint8_t *data, size_t n, size_t max, const struct record *r)
{
  const size_t tail = r->at + r->head + r->length;
  const size_t room
    = (size_t) vd_min (r->length + (max - n), UINT16_MAX);
  uint8_t *copy;
  size_t length;

  if (r->op >= PACK_SIZE || room == 0)
    return n;
  copy = malloc (room);
  if (!copy)
    return n;
  memcpy (copy, data + r->at + r->head, vd_min (r->length, room));
  length = LLVMFuzzerMutate (copy, vd_min (r->length, room), room);
  memmove (data + r->at + r->head + length, data + tail, n - tail);
  memcpy (data + r->at + r->head, copy, length);
  put (data + r->at + 5, length, 2);
  free (copy);
  return n - r->length + length;
}

static size_t
remove_record (uint8_t *data, size_t n, const struct record *r)
{
  const size_t all = r->head + r->length;

  memmove (data + r->at, data + r->at + all, n - r->at - all);
  return n - all;
}

/* Once more, at another place. */
static size_t
repeat_record (uint8_t *data, size_t n, size_t max, const struct record *rs,
               size_t k, const struct record *r)
{
  const size_t all = r->head + r->length;

  if (all > max - n || r->op >= PACK_SIZE)
    return n;
  memmove (data + r->at + all, data + r->at, n - r->at);
  put (data + r->at + 1, number (data, rs, k, get (data + r->at + 1, 4)), 4);
  return n + all;
}

size_t
LLVMFuzzerCustomMutator (uint8_t *data, size_t n, size_t max, unsigned seed)
{
  struct record rs[MAX_RECORDS];
  const struct record *r;
  unsigned times;
  size_t k;

  state = seed * UINT64_C (0x9e3779b97f4a7c15) + 1;
  for (times = 1 + (unsigned) chance (3); times > 0; --times) {
    k = split (data, n, rs);
    if (k == 0 || chance (16) == 0)
      return LLVMFuzzerMutate (data, n, max);
    if (chance (24) == 0)
      data[0] = (uint8_t) chance (256);
    r = &rs[chance (k)];
    if (r->op == PACK_SIZE) {
      change_size (data, rs, k, r);
      continue;
    }
    switch (chance (12)) {
    case 0: n = remove_record (data, n, r); break;
    case 1: n = repeat_record (data, n, max, rs, k, r); break;
    case 2: put (data + r->at + 1,
                 number (data, rs, k, get (data + r->at + 1, 4)),
                 r->op < PACK_SIZE ? 4 : 0); break;
    case 3: case 4: case 5: n = change_bytes (data, n, max, r); break;
    default: change_field (data, rs, k, r);
    }
  }
  return n;
}
