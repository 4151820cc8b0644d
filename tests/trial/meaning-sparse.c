/* What a sparse extent says, sector by sector; see trial.h.
 *
 * Written from the formats' texts.  Slow on purpose: nothing is kept, each
 * sector is looked up from the directory on.
 */

#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "trial.h"

#define MAX_BYTES (UINT64_C (1) << 62)

static bool
power_of_2 (uint64_t n)
{
  return n && (n & (n - 1)) == 0;
}

/* Sectors to bytes; false if that is absurd. */
static bool
bytes_of (uint64_t sectors, uint64_t *n)
{
  *n = sectors * 512;
  return sectors <= MAX_BYTES / 512;
}

static bool
in_file (const struct tr_file *f, uint64_t at, uint64_t n)
{
  return at <= f->now_size && n <= f->now_size - at;
}

static uint64_t
number_of_tables (const struct tr_extent *e)
{
  const uint64_t covered = e->grain * e->table_entries;

  return e->capacity / covered + (e->capacity % covered != 0);
}

static bool
open_cowd (struct tr_extent *e, const uint8_t *h)
{
  const uint64_t grain = tr_le (h + 16, 4);

  if (e->file->now_size < 2048 || tr_le (h + 4, 4) != 1 ||
      !power_of_2 (grain) || grain > 2048)
    return false;
  e->capacity = tr_le (h + 12, 4) * 512;
  e->grain = grain * 512;
  e->table_entries = 4096;
  e->tables = number_of_tables (e);
  e->gd = tr_le (h + 20, 4) * 512;
  e->first = e->gd / 512 + (e->tables * 4 + 511) / 512;
  return e->capacity > 0 && tr_le (h + 24, 4) >= e->tables &&
    e->gd >= 2048 && in_file (e->file, e->gd, e->tables * 4);
}

static bool
features (const uint8_t *h)
{
  const uint64_t version = tr_le (h + 4, 4), flags = tr_le (h + 8, 4);
  const unsigned packed = (flags & 0x10000) != 0;

  return version >= 1 && version <= 3 && (flags & 0xfffc0000) == 0 &&
    (!(flags & 1) || memcmp (h + 73, "\n \r\n", 4) == 0) &&
    tr_le (h + 77, 2) == packed && ((flags & 0x20000) != 0) == packed;
}

static bool
zeros (const uint8_t *p, size_t n)
{
  for (; n > 0; n--)
    if (*p++)
      return false;
  return true;
}

/* Marker, footer, end of stream, and perhaps zeros and part of a sector. */
static const uint8_t *
footer (const struct tr_file *f)
{
  size_t at = f->now_size / 512 * 512;

  while (at >= 2048 && zeros (f->now + at - 512, 512))
    at -= 512;
  if (at < 2048 || at == f->now_size / 512 * 512 ||
      memcmp (f->now + at - 512, "KDMV", 4) != 0 ||
      tr_le (f->now + at - 1024 + 8, 4) != 0 ||
      tr_le (f->now + at - 1024 + 12, 4) != 3 ||
      tr_le (f->now + at - 512 + 56, 8) == UINT64_MAX)
    return NULL;
  return f->now + at - 512;
}

static bool
open_kdmv (struct tr_extent *e, const uint8_t *h)
{
  const uint8_t *end;
  uint64_t text, n;

  if (!features (h))
    return false;
  text = tr_le (h + 28, 8);
  n = tr_le (h + 36, 8);
  if (text && n) {
    if (!bytes_of (text, &e->text) || !bytes_of (n, &e->text_size) ||
        !in_file (e->file, e->text, e->text_size))
      return false;
  }
  if (tr_le (h + 8, 4) & 0x20000 && (end = footer (e->file)) != NULL) {
    h = end;
    if (!features (h))
      return false;
  }
  e->flags = (uint32_t) tr_le (h + 8, 4);
  e->grain = tr_le (h + 20, 8);
  e->table_entries = tr_le (h + 44, 4);
  if (!bytes_of (tr_le (h + 12, 8), &e->capacity) || e->capacity == 0 ||
      !power_of_2 (e->grain) ||
      e->grain > (e->flags & 0x10000 ? 1u << 15 : 1u << 21) ||
      !power_of_2 (e->table_entries) || e->table_entries > 4096 ||
      !bytes_of (tr_le (h + 64, 8), &e->first) ||
      e->first > e->file->now_size || !bytes_of (tr_le (h + 56, 8), &e->gd))
    return false;
  e->grain *= 512;
  e->tables = number_of_tables (e);
  return e->gd > 0 && e->tables <= UINT32_MAX &&
    in_file (e->file, e->gd, e->tables * 4);
}

static bool
open_sesparse (struct tr_extent *e, const uint8_t *h)
{
  const uint8_t *v;
  uint64_t at, gd_size, gts_size, grains_size;

  if (tr_le (h + 8, 8) != UINT64_C (0x200000001) || tr_le (h + 24, 8) != 8 ||
      tr_le (h + 32, 8) != 64 || tr_le (h + 40, 8) != 0 ||
      (tr_le (h + 48, 8) & ~UINT64_C (0x200)) || !zeros (h + 56, 24) ||
      !zeros (h + 208, 304))
    return false;
  if (!bytes_of (tr_le (h + 16, 8), &e->capacity) || e->capacity == 0 ||
      !bytes_of (tr_le (h + 80, 8), &at) || at == 0 ||
      !in_file (e->file, at, 512))
    return false;
  v = e->file->now + at;
  if (tr_le (v, 8) != 0xcafecafe || tr_le (v + 24, 8) != 0 ||
      !zeros (v + 32, 480))
    return false;
  if (!bytes_of (tr_le (h + 128, 8), &e->gd) || e->gd == 0 ||
      !bytes_of (tr_le (h + 136, 8), &gd_size) ||
      !bytes_of (tr_le (h + 144, 8), &e->first) || e->first == 0 ||
      !bytes_of (tr_le (h + 152, 8), &gts_size) ||
      !bytes_of (tr_le (h + 192, 8), &e->grains) || e->grains == 0 ||
      !bytes_of (tr_le (h + 200, 8), &grains_size))
    return false;
  e->grain = 4096;
  e->table_entries = 4096;
  e->tables = number_of_tables (e);
  e->nr_tables = gts_size / 32768;
  e->nr_grains = grains_size / 4096;
  return e->tables <= gd_size / 8 && in_file (e->file, e->gd, e->tables * 8);
}

static bool
open_vdi (struct tr_extent *e, const uint8_t *h)
{
  const uint64_t type = tr_le (h + 0x4c, 4), size = tr_le (h + 0x48, 4);
  uint64_t blocks, map, extra;

  if (e->file->now_size < 0x1d8 || tr_le (h + 0x44, 4) >> 16 != 1 ||
      size < 0x180 || size > 65536 || type < 1 || type > 4 ||
      (type >= 3 && zeros (h + 0x1a8, 16)))
    return false;
  e->capacity = tr_le (h + 0x170, 8);
  e->grain = tr_le (h + 0x178, 4);
  extra = tr_le (h + 0x17c, 4);
  blocks = tr_le (h + 0x180, 4);
  map = tr_le (h + 0x154, 4);
  e->gd = map;
  e->first = tr_le (h + 0x158, 4);
  e->extra = extra;
  return power_of_2 (e->grain) && e->grain >= 4096 && e->grain <= 1u << 28 &&
    (extra == 0 || (power_of_2 (extra) && extra <= 1u << 28)) &&
    e->capacity > 0 && e->capacity <= blocks * e->grain &&
    map >= 0x48 + size && in_file (e->file, map, blocks * 4) &&
    e->first >= map + blocks * 4;
}

bool
tr_extent_open (struct tr_extent *e, const struct tr_file *file)
{
  const uint8_t *h = file->now;

  memset (e, 0, sizeof *e);
  e->file = file;
  if (file->now_size < 512)
    return false;
  if (memcmp (h, "COWD", 4) == 0)
    return open_cowd (e, h);
  if (memcmp (h, "KDMV", 4) == 0)
    return open_kdmv (e, h);
  if (tr_le (h, 8) == 0xcafebabe)
    return open_sesparse (e, h);
  if (tr_le (h + 0x40, 4) == 0xbeda107f)
    return open_vdi (e, h);
  return false;
}

static enum tr_kind
bytes_at (const struct tr_extent *e, uint64_t at, size_t n, uint8_t *out)
{
  if (!in_file (e->file, at, n))
    return TR_BAD;
  memcpy (out, e->file->now + at, n);
  return TR_BYTES;
}

/* A grain that stands there as it once was made, here or in the donor. */
static enum tr_kind
packed_at (const struct tr_extent *e, const struct tr_case *c, uint64_t grain,
           uint64_t at, uint64_t in, uint8_t *out)
{
  const uint64_t lba = grain * (e->grain / 512);

  for (; c; c = c->donor)
    for (size_t i = 0; i < c->n_files; i++) {
      const struct tr_file *f = &c->file[i];

      for (size_t k = 0; k < f->n_packed; k++) {
        const struct tr_packed *p = &f->packed[k];
        uint8_t *whole;
        size_t n;

        if (p->lba != lba || p->spec->grain_size != e->grain ||
            !in_file (e->file, at, p->n) ||
            memcmp (e->file->now + at, f->good + p->off, p->n) != 0)
          continue;
        whole = mk_alloc (e->grain, 1);
        n = mk_plan_content (p->spec, grain, whole);
        memcpy (out, whole + in, 512);
        free (whole);
        return in + 512 <= n ? TR_BYTES : TR_BAD;
      }
    }
  return TR_BAD;
}

static enum tr_kind
read_vdi (const struct tr_extent *e, uint64_t off, uint8_t *out)
{
  const uint64_t entry = tr_le (e->file->now + e->gd + off / e->grain * 4, 4);
  const uint64_t left = e->capacity - off;

  if (entry == 0xffffffff)
    return TR_BELOW;
  if (entry == 0xfffffffe)
    return TR_ZERO;
  return bytes_at (e, e->first + entry * (e->grain + e->extra) + e->extra +
                   off % e->grain, left < 512 ? (size_t) left : 512, out);
}

static enum tr_kind
read_sesparse (const struct tr_extent *e, uint64_t off, uint8_t *out)
{
  const uint64_t grain = off / 4096;
  const uint8_t *f = e->file->now;
  uint64_t entry = tr_le (f + e->gd + grain / 4096 * 8, 8), table;

  if (entry == 0)
    return TR_BELOW;
  if (entry >> 32 != 0x10000000)
    return TR_BAD;
  table = e->first + (entry & 0xffffffff) * 32768;
  if ((entry & 0xffffffff) >= e->nr_tables ||
      !in_file (e->file, table, 32768))
    return TR_BAD;
  entry = tr_le (f + table + grain % 4096 * 8, 8);
  if (entry == 0)
    return TR_BELOW;
  if (entry >> 60 == 1 || entry >> 60 == 2)
    return TR_ZERO;
  if (entry >> 60 != 3)
    return TR_BAD;
  entry = (entry >> 48 & 0xfff) | (entry & UINT64_C (0xffffffffffff)) << 12;
  if (entry >= e->nr_grains)
    return TR_BAD;
  return bytes_at (e, e->grains + entry * 4096 + off % 4096, 512, out);
}

/* COWD and KDMV. */
static enum tr_kind
read_32 (const struct tr_extent *e, const struct tr_case *c, uint64_t off,
         uint8_t *out)
{
  const bool cowd = e->file->now[0] == 'C';
  const uint64_t grain = off / e->grain;
  const uint8_t *f = e->file->now;
  uint64_t entry = tr_le (f + e->gd + grain / e->table_entries * 4, 4), table;

  if (entry == 0)
    return TR_BELOW;
  table = entry * 512;
  if (!in_file (e->file, table, e->table_entries * 4) ||
      (cowd && entry < e->first))
    return TR_BAD;
  /* A table in the descriptor is none. */
  if (e->text_size && table < e->text + e->text_size &&
      table + e->table_entries * 4 > e->text)
    return TR_BAD;
  entry = tr_le (f + table + grain % e->table_entries * 4, 4);
  if (entry == 0)
    return TR_BELOW;
  if (entry == 1)
    return cowd || e->flags & 4 ? TR_ZERO : TR_BAD;
  if (cowd ? entry < e->first : entry * 512 < e->first)
    return TR_BAD;
  if (e->flags & 0x10000)
    return packed_at (e, c, grain, entry * 512, off % e->grain, out);
  return bytes_at (e, entry * 512 + off % e->grain, 512, out);
}

enum tr_kind
tr_extent_read (const struct tr_extent *e, const struct tr_case *c,
                uint64_t sector, uint8_t out[512])
{
  const uint64_t off = sector * 512;

  memset (out, 0, 512);
  if (e->file == NULL)
    return TR_ZERO;
  if (e->flat)
    return bytes_at (e, e->offset + off, 512, out);
  if (tr_le (e->file->now + 0x40, 4) == 0xbeda107f &&
      e->table_entries == 0)
    return read_vdi (e, off, out);
  if (e->nr_grains || e->nr_tables)
    return read_sesparse (e, off, out);
  return read_32 (e, c, off, out);
}
