/* VDI images for the trial, version 1.1, as VirtualBox lays them out. */

#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "trial.h"

static const struct { unsigned off, bytes; const char *name; } fields[] = {
  { 0x40, 4, "VDI.signature" }, { 0x44, 4, "VDI.version" },
  { 0x48, 4, "VDI.headerSize" }, { 0x4c, 4, "VDI.type" },
  { 0x50, 4, "VDI.flags" }, { 0x154, 4, "VDI.offBlocks" },
  { 0x158, 4, "VDI.offData" }, { 0x168, 4, "VDI.sectorSize" },
  { 0x170, 8, "VDI.diskSize" }, { 0x178, 4, "VDI.blockSize" },
  { 0x17c, 4, "VDI.blockExtra" }, { 0x180, 4, "VDI.nrBlocks" },
  { 0x184, 4, "VDI.nrAllocated" }, { 0x188, 8, "VDI.uuidCreate" },
  { 0x198, 8, "VDI.uuidModify" }, { 0x1a8, 8, "VDI.uuidLinkage" },
  { 0x1b8, 8, "VDI.uuidParentModify" },
};

static void
put_uuids (uint8_t *h, uint64_t seed, size_t k)
{
  mk_put64 (h + 0x188, mk_hash (seed, k));
  mk_put64 (h + 0x190, mk_hash (seed, k + 100));
  mk_put64 (h + 0x198, mk_hash (seed, k + 200));
  mk_put64 (h + 0x1a0, 1);
  if (k == 0)
    return;
  mk_put64 (h + 0x1a8, mk_hash (seed, k - 1));
  mk_put64 (h + 0x1b0, mk_hash (seed, k + 99));
  mk_put64 (h + 0x1b8, mk_hash (seed, k + 199));
  mk_put64 (h + 0x1c0, 1);
}

void
tr_make_vdi (struct tr_case *c, size_t k, const char *name, struct mk_rng *r)
{
  const struct mk_spec *s = &c->link[k].spec[0];
  struct tr_file *f = tr_new_file (c, name, TR_VDI);
  const size_t blocks = (size_t) mk_div_up (s->capacity, s->grain_size);
  const size_t map = 0x200;
  const size_t data = (size_t) mk_round_up (map + blocks * 4, MK_SECTOR);
  struct mk_mem mem = { .size = data };
  uint32_t stored = 0;
  uint8_t *h;

  mem.data = mk_alloc (data + blocks * s->grain_size, 1);
  h = mem.data;
  memcpy (h, "<<< A disk of the trial >>>\n", 28);
  mk_put32 (h + 0x40, 0xbeda107f);
  mk_put32 (h + 0x44, 0x10001);
  mk_put32 (h + 0x48, 0x190);
  mk_put32 (h + 0x4c, k == 0 ? 1 : 4);
  mk_put32 (h + 0x154, (uint32_t) map);
  mk_put32 (h + 0x158, (uint32_t) data);
  mk_put32 (h + 0x168, 512);
  mk_put64 (h + 0x170, s->capacity);
  mk_put32 (h + 0x178, s->grain_size);
  mk_put32 (h + 0x180, (uint32_t) blocks);
  put_uuids (h, c->link[0].content.seed, k);

  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    tr_add_field (f, fields[i].off, fields[i].bytes, fields[i].name);
  f->n_header = f->n_fields;
  for (size_t i = 0; i < blocks; i++) {
    const enum mk_kind kind = s->map.kind (s->map.opaque, i);
    uint32_t entry = kind == MK_ZERO ? 0xfffffffe : 0xffffffff;

    if (kind == MK_DATA) {
      const size_t n = (size_t) (s->capacity - i * s->grain_size);

      entry = stored++;
      s->fill.fn (s->fill.opaque, h + mem.size,
                  n < s->grain_size ? n : s->grain_size, i * s->grain_size);
      mem.size += s->grain_size;
    }
    mk_put32 (h + map + i * 4, entry);
    tr_add_field (f, map + i * 4, 4, "map entry");
  }
  mk_put32 (h + 0x184, stored);
  (void) r;
  f->important = data;
  tr_file_take (f, &mem);
}
