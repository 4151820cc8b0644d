/* Numbers drawn by chance, and the content of the guest's sectors. */

#include <stdio.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

/* A counter stepped by an odd constant and put through a finalizer that
 * spreads every input bit (the well-known splitmix64 scheme).
 */
static uint64_t
spread (uint64_t z)
{
  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void
mk_rng_seed (struct mk_rng *rng, uint64_t seed)
{
  rng->state = spread (seed + 1);
}

uint64_t
mk_rng_next (struct mk_rng *rng)
{
  rng->state += UINT64_C (0x9e3779b97f4a7c15);
  return spread (rng->state);
}

uint64_t
mk_rng_below (struct mk_rng *rng, uint64_t n)
{
  return mk_rng_next (rng) % n;
}

bool
mk_rng_chance (struct mk_rng *rng, unsigned permille)
{
  return mk_rng_below (rng, 1000) < permille;
}

uint64_t
mk_hash (uint64_t a, uint64_t b)
{
  return spread (spread (a + UINT64_C (0x9e3779b97f4a7c15)) ^
                 (b * UINT64_C (0xd1342543de82ef95) + 1));
}

void
mk_junk (uint64_t seed, uint8_t *buf, size_t n)
{
  struct mk_rng rng;

  mk_rng_seed (&rng, seed);
  for (size_t i = 0; i < n; i++)
    buf[i] = (uint8_t) (mk_rng_next (&rng) | 1);
}

static void
noise (uint64_t key, uint64_t sector, uint8_t *p)
{
  uint64_t x = mk_hash (key, sector);

  for (unsigned i = 0; i < MK_SECTOR / 8; i++) {
    x += UINT64_C (0x9e3779b97f4a7c15);
    mk_put64 (p + 8 * i, spread (x));
  }
}

static void
text (unsigned layer, uint64_t sector, uint8_t *p)
{
  char line[33];

  snprintf (line, sizeof line, "layer %3u sector %014llx\n", layer,
            (unsigned long long) (sector & UINT64_C (0xffffffffffffff)));
  for (unsigned i = 0; i < MK_SECTOR / 32; i++)
    memcpy (p + 32 * i, line, 32);
}

static void
one_sector (const struct mk_content *c, uint64_t sector, uint8_t *p)
{
  uint64_t key = mk_hash (c->seed, c->layer);
  uint64_t h;

  switch (c->flavour) {
  case MK_ZEROS:
    memset (p, 0, MK_SECTOR);
    return;
  case MK_NOISE:
    noise (key, sector, p);
    return;
  case MK_TEXT:
    text (c->layer, sector, p);
    return;
  case MK_HOLEY:
    if (mk_hash (key + 1, sector / 128) % 3 == 0) {
      memset (p, 0, MK_SECTOR);
      return;
    }
    break;
  case MK_MIXED:
    break;
  }

  h = mk_hash (key, sector / 8) % 16;
  if (h == 0)
    memset (p, 0, MK_SECTOR);
  else if (h < 3)
    memset (p, (int) (1 + (sector / 8 + c->layer) % 255), MK_SECTOR);
  else if (h < 8)
    text (c->layer, sector, p);
  else
    noise (key, sector, p);
}

void
mk_content_fill (void *content, void *buf, size_t n, uint64_t guest_offset)
{
  uint8_t tmp[MK_SECTOR];
  uint8_t *p = buf;

  while (n > 0) {
    size_t in = (size_t) (guest_offset % MK_SECTOR);
    size_t len = MK_SECTOR - in;

    if (len > n)
      len = n;
    if (len == MK_SECTOR)
      one_sector (content, guest_offset / MK_SECTOR, p);
    else {
      one_sector (content, guest_offset / MK_SECTOR, tmp);
      memcpy (p, tmp + in, len);
    }
    p += len;
    n -= len;
    guest_offset += len;
  }
}

struct mk_fill
mk_fill_content (struct mk_content *content)
{
  struct mk_fill f = { mk_content_fill, content };

  return f;
}
