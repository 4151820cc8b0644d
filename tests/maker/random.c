/* Drawing a case: everything that the formats allow, by chance. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "plan.h"

#define MIB (UINT64_C (1) << 20)

static uint64_t
draw_capacity (struct mk_rng *r)
{
  unsigned dice = (unsigned) mk_rng_below (r, 100);

  if (dice < 4)
    return MK_SECTOR * (1 + mk_rng_below (r, 9));
  if (dice < 8)                 /* large, and nearly empty */
    return 64 * MIB + MK_SECTOR * mk_rng_below (r, 128 * 2048);
  if (dice < 20)                /* around what tables cover */
    return MK_SECTOR * (4096 * (1 + mk_rng_below (r, 4)) - 1 +
                        mk_rng_below (r, 3));
  if (dice < 50)
    return 65536 * (1 + mk_rng_below (r, 128));
  return MK_SECTOR * (128 + mk_rng_below (r, 16384 - 128));
}

static bool
is_large (uint64_t capacity)
{
  return capacity >= 64 * MIB;
}

static uint64_t
draw_base_size (struct mk_rng *r, uint64_t capacity)
{
  uint64_t size = capacity;
  unsigned dice = (unsigned) mk_rng_below (r, 100);

  if (is_large (capacity))
    return MK_SECTOR * (1 + mk_rng_below (r, 8192));
  if (dice < 15)
    size = MK_SECTOR * (1 + mk_rng_below (r, capacity / MK_SECTOR));
  else if (dice < 25)
    size = capacity + MK_SECTOR * mk_rng_below (r, 4096);
  else if (dice < 30)
    size = capacity - mk_rng_below (r, MK_SECTOR);
  return size;
}

static void
draw_pattern (struct mk_rng *r, struct mk_pattern *p)
{
  static const uint64_t runs[] = { 1, 1, 1, 2, 3, 8, 17, 64 };

  p->seed = mk_rng_next (r);
  p->run = runs[mk_rng_below (r, 8)];
  switch (mk_rng_below (r, 10)) {
  case 0:
    p->fill = 0;
    break;
  case 1:
    p->fill = 1000;
    break;
  case 2:
  case 3:
    p->fill = 30;
    break;
  case 4:
    p->alternate = true;
    break;
  default:
    p->fill = 100 + (unsigned) mk_rng_below (r, 700);
    break;
  }
}

static void
draw_kinds (struct mk_rng *r, struct mk_case_piece *p)
{
  unsigned zero = (unsigned) mk_rng_below (r, 500);

  switch (p->spec.format) {
  case MK_COWD:
    break;
  case MK_KDMV:
    if (mk_rng_chance (r, 350))
      p->pattern.zero = zero;
    break;
  case MK_STREAM:
    if (mk_rng_chance (r, 150))
      p->pattern.zero = zero;
    break;
  case MK_SESPARSE:
    if (mk_rng_chance (r, 500))
      p->pattern.zero = zero;
    if (mk_rng_chance (r, 500))
      p->pattern.unmapped = (unsigned) mk_rng_below (r, 500);
    break;
  }
}

/* A large disk gets a list, with the pattern's kinds. */
static void
draw_map (struct mk_rng *r, struct mk_case_piece *p)
{
  struct mk_spec *s = &p->spec;
  uint64_t grains;

  if (p->fit)
    while (p->length % s->grain_size && s->grain_size > 4096)
      s->grain_size /= 2;
  grains = mk_div_up (s->capacity, s->grain_size);
  draw_pattern (r, &p->pattern);
  draw_kinds (r, p);
  s->map = mk_map_pattern (&p->pattern);
  if (grains * s->grain_size < 32 * MIB)
    return;
  mk_list_random (&p->list, mk_rng_next (r), grains,
                  2 + mk_rng_below (r, 40), 1 + mk_rng_below (r, 5));
  p->list.kind = mk_alloc (p->list.n, 1);
  p->pattern.alternate = false;
  p->pattern.fill = 1000;
  for (size_t i = 0; i < p->list.n; i++)
    p->list.kind[i] =
      (uint8_t) s->map.kind (s->map.opaque, p->list.grain[i]);
  s->map = mk_map_list (&p->list);
}

static void
draw_hosted (struct mk_rng *r, struct mk_spec *s)
{
  if (mk_rng_chance (r, 250))
    s->gtes = 8u << mk_rng_below (r, 6);
  else if (mk_rng_chance (r, 50))
    s->gtes = 1024u << mk_rng_below (r, 3);
  s->grain_size = 65536;
  if (mk_rng_chance (r, 500))
    s->grain_size = 4096u << mk_rng_below (r, 9);
  else if (mk_rng_chance (r, 100))
    s->grain_size = 512u << mk_rng_below (r, 3);
  s->round_capacity = mk_rng_chance (r, 300);
  s->no_redundant = mk_rng_chance (r, 250);
  s->tight = mk_rng_chance (r, 250);
  s->flags_clear = mk_rng_chance (r, 50) ? 1 : 0;
  s->flags_set = mk_rng_chance (r, 30) ? 8 : 0;
}

static void
draw_kdmv (struct mk_rng *r, struct mk_case_piece *p)
{
  struct mk_spec *s = &p->spec;

  draw_hosted (r, s);
  s->unaligned = mk_rng_chance (r, 300);
  switch (mk_rng_below (r, 8)) {
  case 0:
    s->tables = MK_TABLES_USED;
    break;
  case 1:
    s->tables = MK_TABLES_MIXED;
    break;
  }
  draw_map (r, p);
  if (p->pattern.zero && mk_rng_chance (r, 100))
    s->version = 3;
  else if (p->pattern.zero == 0 && mk_rng_chance (r, 300))
    s->version = 1 + (uint32_t) mk_rng_below (r, 3);
}

static void
draw_stream (struct mk_rng *r, struct mk_case_piece *p)
{
  static const int levels[] = { 0, 0, 0, 1, 9, -1 };
  struct mk_spec *s = &p->spec;

  draw_hosted (r, s);
  s->style = (enum mk_stream_style) mk_rng_below (r, 3);
  s->level = levels[mk_rng_below (r, 6)];
  s->progress = mk_rng_chance (r, 300) ? 200 : 0;
  s->eos = mk_rng_chance (r, 500);
  if (s->style == MK_STREAM_FRONT && mk_rng_chance (r, 300))
    s->tables = MK_TABLES_USED;
  draw_map (r, p);
  if (p->pattern.zero == 0 && mk_rng_chance (r, 300))
    s->version = 1;
}

static void
draw_cowd (struct mk_rng *r, struct mk_case_piece *p)
{
  struct mk_spec *s = &p->spec;

  s->grain_size = 512;
  if (mk_rng_chance (r, 500))
    s->grain_size = 512u << mk_rng_below (r, 12);
  if (mk_rng_chance (r, 100))
    s->gd_sector = 4 + (uint32_t) mk_rng_below (r, 20);
  if (mk_rng_chance (r, 300))
    s->tables = mk_rng_chance (r, 500) ? MK_TABLES_ALL : MK_TABLES_USED;
  draw_map (r, p);
}

static void
draw_sesparse (struct mk_rng *r, struct mk_case_piece *p)
{
  static const uint64_t firsts[] = {
    1, 0xff0, 0xffe, 0x1000, 0xffff8, 0x12345, UINT64_C (1) << 26,
  };
  struct mk_spec *s = &p->spec;

  s->grain_size = 4096;
  if (mk_rng_chance (r, 350))
    s->first_slot = firsts[mk_rng_below (r, 7)];
  if (mk_rng_chance (r, 50))
    s->reserved1 = 0x200;
  if (mk_rng_chance (r, 200))
    s->tables = MK_TABLES_ALL;
  s->no_backmap = mk_rng_chance (r, 100);
  draw_map (r, p);
}

static void
draw_extent (struct mk_rng *r, struct mk_case_link *link,
             struct mk_case_piece *p, enum mk_format format)
{
  struct mk_spec *s = &p->spec;

  s->format = format;
  s->capacity = p->length;
  s->guest_start = p->start;
  s->fill = mk_fill_content (&link->content);
  s->seed = mk_rng_next (r);
  s->placement = mk_rng_chance (r, 450) ? MK_SCATTERED :
    mk_rng_chance (r, 250) ? MK_REVERSED : MK_IN_ORDER;
  s->scatter_tables = mk_rng_chance (r, 300);
  s->max_gap = mk_rng_chance (r, 250) ? 1 + (uint32_t) mk_rng_below (r, 9)
                                      : 0;
  s->last = mk_rng_chance (r, 300) ? MK_LAST_JUNK :
    mk_rng_chance (r, 200) ? MK_LAST_CUT : MK_LAST_ZEROS;
  if (mk_rng_chance (r, 200))
    s->slack = mk_rng_chance (r, 500) ? 1 + mk_rng_below (r, 511)
      : MK_SECTOR * (1 + mk_rng_below (r, 200));

  switch (format) {
  case MK_COWD:
    draw_cowd (r, p);
    break;
  case MK_KDMV:
    draw_kdmv (r, p);
    break;
  case MK_STREAM:
    draw_stream (r, p);
    if (s->style != MK_STREAM_FRONT)
      s->slack %= MK_SECTOR;
    break;
  case MK_SESPARSE:
    draw_sesparse (r, p);
    break;
  }
  if (format != MK_SESPARSE)
    s->unclean = mk_rng_chance (r, 20);
  /* A cut grain under a rounded capacity would miss bytes that the header
   * counts.
   */
  if (s->last == MK_LAST_CUT)
    s->round_capacity = false;

  p->access = mk_rng_chance (r, 20) ? "RDONLY" : "RW";
  p->type = format == MK_COWD ? "VMFSSPARSE" :
    format == MK_SESPARSE ? "SESPARSE" : "SPARSE";
  if (format == MK_COWD && mk_rng_chance (r, 100))
    p->type = "SPARSE";
}

static enum mk_format
draw_format (struct mk_rng *r)
{
  unsigned dice = (unsigned) mk_rng_below (r, 100);

  return dice < 30 ? MK_COWD : dice < 60 ? MK_KDMV :
    dice < 80 ? MK_SESPARSE : MK_STREAM;
}

static void
draw_split (struct mk_rng *r, struct mk_case *c, struct mk_case_link *link)
{
  uint64_t sectors = c->capacity / MK_SECTOR, at = 0;
  /* Pieces that end with a grain, as products make them and QEMU needs. */
  bool fit = mk_rng_chance (r, 600);

  link->n = 2 + mk_rng_below (r, MK_MAX_PIECES - 1);
  for (size_t i = 0; i < link->n; i++) {
    uint64_t left = sectors - at, n = left;

    if (i + 1 < link->n) {
      /* Leave at least a sector for each of those to come. */
      n = 1 + mk_rng_below (r, (left - (link->n - i - 1)) / 2 + 1);
      if (n > 256 && mk_rng_chance (r, 500))
        n &= ~UINT64_C (127);
      if (fit && n >= 8)
        n &= ~UINT64_C (7);
    }
    link->piece[i].start = at * MK_SECTOR;
    link->piece[i].length = n * MK_SECTOR;
    link->piece[i].fit = fit;
    at += n;
  }
}

static void
draw_pieces (struct mk_rng *r, struct mk_case *c, struct mk_case_link *link,
             unsigned number)
{
  enum mk_format format = draw_format (r);
  bool mixed;

  link->n = 1;
  link->piece[0].length = c->capacity;
  if (c->capacity >= 64 * MK_SECTOR && mk_rng_chance (r, 200))
    draw_split (r, c, link);
  mixed = link->n > 1 && mk_rng_chance (r, 400);

  for (size_t i = 0; i < link->n; i++) {
    struct mk_case_piece *p = &link->piece[i];
    unsigned dice = (unsigned) mk_rng_below (r, 100);
    unsigned k = (unsigned) i + 1;

    if (mixed)
      format = draw_format (r);
    p->flat_offset = -1;
    /* Plain data or nothing, but not as the whole link. */
    if (link->n > 1 && dice < 20 && !is_large (p->length)) {
      p->access = "RW";
      p->type = "FLAT";
      p->flat_offset = (int64_t) mk_rng_below (r, 100);
      if (mk_rng_chance (r, 100)) {
        p->type = "VMFS";
        p->flat_offset = -1;
      }
      snprintf (p->name, MK_NAME, "delta-%u-f%03u.vmdk", number, k);
    }
    else if (link->n > 1 && dice < 27) {
      p->access = "RW";
      p->type = "ZERO";
    }
    else {
      draw_extent (r, link, p, format);
      snprintf (p->name, MK_NAME, link->n > 1 ? "delta-%u-s%03u.vmdk" :
                format == MK_SESPARSE ? "delta-%u-sesparse.vmdk" :
                "delta-%u-delta.vmdk", number, k);
    }
  }
}

static void
draw_form (struct mk_rng *r, struct mk_case_link *link)
{
  struct mk_case_piece *p = &link->piece[0];
  bool hosted = p->spec.format == MK_KDMV || p->spec.format == MK_STREAM;

  link->create_type = "twoGbMaxExtentSparse";
  if (link->n == 1) {
    unsigned dice = (unsigned) mk_rng_below (r, 100);

    if (dice < 18)
      link->form = MK_FORM_BARE;
    else if (hosted && dice < 60)
      link->form = MK_FORM_EMBEDDED;
    if (!hosted && strcmp (p->type, "SPARSE") != 0)
      link->create_type =
        p->spec.format == MK_COWD ? "vmfsSparse" : "seSparse";
  }
  if (link->form != MK_FORM_DESCRIPTOR)
    memcpy (p->name, link->name, MK_NAME);
  if (link->form == MK_FORM_BARE)
    p->spec.round_capacity = false;
  if (link->form == MK_FORM_EMBEDDED) {
    link->create_type =
      p->spec.format == MK_STREAM ? "streamOptimized" : "monolithicSparse";
    if (mk_rng_chance (r, 40))
      p->spec.descriptor_sector = 2 + (uint32_t) mk_rng_below (r, 10);
    if (mk_rng_chance (r, 200))
      p->spec.descriptor_sectors = 4 + (uint32_t) mk_rng_below (r, 40);
  }
}

static uint32_t
draw_cid (struct mk_rng *r, uint32_t parent)
{
  unsigned dice = (unsigned) mk_rng_below (r, 100);

  if (dice < 4)
    return 0xfffffffe;
  if (dice < 8 && parent != 0xffffffff)
    return parent;              /* a child without changes has that */
  if (dice < 14)
    return (uint32_t) mk_rng_below (r, 0x10000);
  return (uint32_t) mk_rng_below (r, 0xfffffffe);
}

static void
draw_link (struct mk_rng *r, struct mk_case *c, size_t k)
{
  struct mk_case_link *link = &c->link[k];
  unsigned number = (unsigned) k + 1;

  snprintf (link->name, MK_NAME, "delta-%u.vmdk", number);
  link->content.seed = c->seed;
  link->content.layer = number;
  if (mk_rng_chance (r, 100))
    link->content.flavour = MK_NOISE;
  link->cid = draw_cid (r, k ? c->link[k - 1].cid : c->base_cid);
  link->version = mk_rng_chance (r, 50) ? 3 : 1;
  if (mk_rng_chance (r, 450))
    link->style = (unsigned) (mk_rng_next (r) & mk_rng_next (r) & 0x7ff);
  draw_pieces (r, c, link, number);
  draw_form (r, link);

  for (size_t i = 0; i < link->n; i++) {
    const struct mk_case_piece *p = &link->piece[i];
    struct mk_piece *m = &link->model[i];

    m->start = p->start;
    m->length = p->length;
    m->spec = &p->spec;
    m->fill = mk_fill_content (&link->content);
    m->type = p->spec.format ? MK_PIECE_EXTENT :
      strcmp (p->type, "ZERO") == 0 ? MK_PIECE_ZERO : MK_PIECE_FLAT;
    if (p->spec.unclean)
      c->unclean = true;
  }
  c->layer[k].pieces = link->model;
  c->layer[k].n = link->n;
}

struct mk_case *
mk_random_case (uint64_t seed)
{
  struct mk_case *c = mk_alloc (1, sizeof *c);
  struct mk_rng r;

  mk_rng_seed (&r, mk_hash (seed, UINT64_C (0x63617365)));
  c->seed = seed;
  c->capacity = draw_capacity (&r);
  c->base_size = draw_base_size (&r, c->capacity);
  c->base_cid = draw_cid (&r, 0xffffffff);
  c->base.seed = seed;
  c->base.flavour = MK_HOLEY;
  c->n = 1 + mk_rng_below (&r, MK_MAX_DELTAS);
  for (size_t k = 0; k < c->n; k++)
    draw_link (&r, c, k);
  c->model.capacity = c->capacity;
  c->model.base_size = c->base_size;
  c->model.base = mk_fill_content (&c->base);
  c->model.layers = c->layer;
  c->model.n = c->n;
  mk_case_for_qemu (c);
  return c;
}

void
mk_case_free (struct mk_case *c)
{
  for (size_t k = 0; k < c->n; k++)
    for (size_t i = 0; i < c->link[k].n; i++)
      mk_list_free (&c->link[k].piece[i].list);
  free (c);
}
