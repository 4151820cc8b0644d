/* Drawing the good images of the trial. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"
#include "trial.h"

const char *const tr_format_name[TR_FORMATS] = {
  "text", "flat", "COWD", "KDMV", "stream", "SEsparse", "VDI",
};

static void
die (const char *what)
{
  perror (what);
  exit (2);
}

struct tr_file *
tr_new_file (struct tr_case *c, const char *name, enum tr_format format)
{
  struct tr_file *f = &c->file[c->n_files++];

  if (c->n_files > TR_FILES)
    abort ();
  snprintf (f->name, sizeof f->name, "%s", name);
  f->format = format;
  f->important = 4096;
  f->fd = openat (c->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
                  0600);
  if (f->fd == -1)
    die (name);
  return f;
}

const struct tr_file *
tr_find_file (const struct tr_case *c, const char *name)
{
  for (size_t i = 0; i < c->n_files; i++)
    if (strcmp (c->file[i].name, name) == 0)
      return &c->file[i];
  return NULL;
}

/* Takes the bytes, with some room to grow. */
void
tr_file_take (struct tr_file *f, struct mk_mem *mem)
{
  size_t n = 0;

  f->good_size = f->now_size = mem->size;
  f->room = mem->size + 4096;
  f->good = mk_alloc (f->room, 1);
  f->now = mk_alloc (f->room, 1);
  memcpy (f->good, mem->data, mem->size);
  memcpy (f->now, mem->data, mem->size);
  free (mem->data);
  while (n < f->good_size) {
    ssize_t r = pwrite (f->fd, f->good + n, f->good_size - n, (off_t) n);

    if (r <= 0)
      die (f->name);
    n += (size_t) r;
  }
}

void
tr_add_field (struct tr_file *f, uint64_t off, unsigned bytes,
              const char *name)
{
  if (f->n_fields % 256 == 0)
    f->fields = mk_grow (f->fields, f->n_fields + 256, sizeof *f->fields);
  f->fields[f->n_fields++] =
    (struct tr_field) { .off = off, .bytes = bytes, .name = name };
}

struct place { unsigned off, bytes; const char *name; };

static const struct place cowd[] = {
  { MK_COWD_MAGIC, 4, "COWD.magic" }, { MK_COWD_VERSION, 4, "COWD.version" },
  { MK_COWD_FLAGS, 4, "COWD.flags" },
  { MK_COWD_CAPACITY, 4, "COWD.capacity" },
  { MK_COWD_GRAINSIZE, 4, "COWD.grainSize" },
  { MK_COWD_GDOFFSET, 4, "COWD.gdOffset" },
  { MK_COWD_GDENTRIES, 4, "COWD.gdEntries" },
  { MK_COWD_FREESECTOR, 4, "COWD.freeSector" },
  { MK_COWD_SAVEDGENERATION, 4, "COWD.savedGeneration" },
  { MK_COWD_UNCLEAN, 4, "COWD.unclean" }, { 0, 0, NULL },
};

static const struct place kdmv[] = {
  { MK_KDMV_MAGIC, 4, "KDMV.magic" }, { MK_KDMV_VERSION, 4, "KDMV.version" },
  { MK_KDMV_FLAGS, 4, "KDMV.flags" },
  { MK_KDMV_CAPACITY, 8, "KDMV.capacity" },
  { MK_KDMV_GRAINSIZE, 8, "KDMV.grainSize" },
  { MK_KDMV_DESCOFFSET, 8, "KDMV.descriptorOffset" },
  { MK_KDMV_DESCSIZE, 8, "KDMV.descriptorSize" },
  { MK_KDMV_GTES, 4, "KDMV.numGTEsPerGT" },
  { MK_KDMV_RGDOFFSET, 8, "KDMV.rgdOffset" },
  { MK_KDMV_GDOFFSET, 8, "KDMV.gdOffset" },
  { MK_KDMV_OVERHEAD, 8, "KDMV.overHead" },
  { MK_KDMV_UNCLEAN, 1, "KDMV.unclean" },
  { MK_KDMV_LINEENDS, 4, "KDMV.lineEnds" },
  { MK_KDMV_COMPRESSION, 2, "KDMV.compression" }, { 0, 0, NULL },
};

static const struct place footer[] = {
  { MK_KDMV_MAGIC, 4, "footer.magic" }, { MK_KDMV_VERSION, 4,
                                          "footer.version" },
  { MK_KDMV_FLAGS, 4, "footer.flags" },
  { MK_KDMV_CAPACITY, 8, "footer.capacity" },
  { MK_KDMV_GRAINSIZE, 8, "footer.grainSize" },
  { MK_KDMV_GTES, 4, "footer.numGTEsPerGT" },
  { MK_KDMV_GDOFFSET, 8, "footer.gdOffset" },
  { MK_KDMV_OVERHEAD, 8, "footer.overHead" },
  { MK_KDMV_LINEENDS, 4, "footer.lineEnds" },
  { MK_KDMV_COMPRESSION, 2, "footer.compression" }, { 0, 0, NULL },
};

static const struct place sesparse[] = {
  { MK_SE_MAGIC, 8, "SE.magic" }, { MK_SE_VERSION, 8, "SE.version" },
  { MK_SE_CAPACITY, 8, "SE.capacity" },
  { MK_SE_GRAINSIZE, 8, "SE.grainSize" }, { MK_SE_GTSIZE, 8, "SE.gtSize" },
  { MK_SE_FLAGS, 8, "SE.flags" }, { MK_SE_RESERVED1, 8, "SE.reserved" },
  { MK_SE_RESERVED2, 8, "SE.reserved" },
  { MK_SE_RESERVED3, 8, "SE.reserved" },
  { MK_SE_RESERVED4, 8, "SE.reserved" },
  { MK_SE_VOLATILE, 8, "SE.volatileHeader" },
  { MK_SE_VOLATILE_SIZE, 8, "SE.volatileHeaderSize" },
  { MK_SE_JOURNALHDR, 8, "SE.journalHeader" },
  { MK_SE_JOURNALHDR_SIZE, 8, "SE.journalHeaderSize" },
  { MK_SE_JOURNAL, 8, "SE.journal" },
  { MK_SE_JOURNAL_SIZE, 8, "SE.journalSize" },
  { MK_SE_GD, 8, "SE.grainDirectory" },
  { MK_SE_GD_SIZE, 8, "SE.grainDirectorySize" },
  { MK_SE_GTS, 8, "SE.grainTables" },
  { MK_SE_GTS_SIZE, 8, "SE.grainTablesSize" },
  { MK_SE_BITMAP, 8, "SE.freeBitmap" },
  { MK_SE_BITMAP_SIZE, 8, "SE.freeBitmapSize" },
  { MK_SE_BACKMAP, 8, "SE.backMap" },
  { MK_SE_BACKMAP_SIZE, 8, "SE.backMapSize" },
  { MK_SE_GRAINS, 8, "SE.grains" },
  { MK_SE_GRAINS_SIZE, 8, "SE.grainsSize" }, { MK_SE_PAD, 8, "SE.pad" },
  { MK_SE_VOL_MAGIC, 8, "SE.volatileMagic" },
  { MK_SE_VOL_FREEGT, 8, "SE.freeGT" }, { MK_SE_VOL_NEXTTXN, 8, "SE.nextTxn" },
  { MK_SE_VOL_REPLAY, 8, "SE.replayJournal" },
  { MK_SE_VOL_PAD, 8, "SE.volatilePad" }, { 0, 0, NULL },
};

static void
add_places (struct tr_file *f, const struct place *p, uint64_t at)
{
  for (; p->name; p++)
    tr_add_field (f, at + p->off, p->bytes, p->name);
}

/* Fields of a sparse extent: header, then directory, tables and markers. */
void
tr_name_fields (struct tr_file *f, const struct mk_spec *spec,
                const struct mk_layout *layout)
{
  const bool stream = spec->format == MK_STREAM;
  const unsigned width = spec->format == MK_SESPARSE ? 8 : 4;

  add_places (f, spec->format == MK_COWD ? cowd :
              spec->format == MK_SESPARSE ? sesparse : kdmv, 0);
  if (layout->footer) {
    add_places (f, footer, layout->footer);
    tr_add_field (f, layout->footer - 512 + MK_MARKER_SIZE, 4,
                  "marker.footer");
    tr_add_field (f, layout->footer - 512 + MK_MARKER_TYPE, 4,
                  "marker.footer");
    tr_add_field (f, layout->footer + 512 + MK_MARKER_TYPE, 4, "marker.eos");
  }
  f->n_header = f->n_fields;
  for (size_t i = 0; i < layout->n_tables && i < 64; i++) {
    const struct mk_table *t = &layout->tables[i];

    tr_add_field (f, t->gde, width, "directory entry");
    if (t->rgde)
      tr_add_field (f, t->rgde, width, "redundant directory entry");
    /* entries of holes too */
    tr_add_field (f, t->gt, width, "table entry");
    tr_add_field (f, t->gt + 7 * width, width, "table entry");
  }
  for (size_t i = 0; i < layout->n_grains && i < 1024; i++) {
    const struct mk_where *w = &layout->grains[i];

    tr_add_field (f, w->gte, width, "table entry");
    if (w->rgte)
      tr_add_field (f, w->rgte, width, "redundant table entry");
    if (stream && w->kind == MK_DATA) {
      tr_add_field (f, w->data + MK_MARKER_LBA, 8, "marker.lba");
      tr_add_field (f, w->data + MK_MARKER_SIZE, 4, "marker.size");
    }
  }
  f->important = layout->data_start;
  if (!stream)
    return;
  f->packed = mk_alloc (layout->n_grains, sizeof *f->packed);
  for (size_t i = 0; i < layout->n_grains; i++) {
    const struct mk_where *w = &layout->grains[i];

    if (w->kind == MK_DATA)
      f->packed[f->n_packed++] = (struct tr_packed) {
        .lba = w->grain * (spec->grain_size / MK_SECTOR), .off = w->data,
        .n = 12 + w->stored, .spec = spec,
      };
  }
}

static void
draw_pattern (struct mk_rng *r, struct mk_spec *s, struct mk_pattern *p,
              bool zero, bool unmapped)
{
  p->seed = mk_rng_next (r);
  p->run = 1 + mk_rng_below (r, 3);
  p->fill = 200 + (unsigned) mk_rng_below (r, 700);
  if (zero && mk_rng_chance (r, 400))
    p->zero = 300;
  if (unmapped && mk_rng_chance (r, 400))
    p->unmapped = 200;
  s->map = mk_map_pattern (p);
}

/* One extent of a link; its place is in spec. */
static void
draw_spec (struct mk_rng *r, enum mk_format format, struct mk_spec *s,
           struct mk_pattern *p, bool peer)
{
  s->format = format;
  s->seed = mk_rng_next (r);
  s->grain_size = 512u << (3 + mk_rng_below (r, 4));
  s->placement = (enum mk_placement) mk_rng_below (r, 3);
  s->max_gap = mk_rng_chance (r, 300) ? 3 : 0;
  s->last = mk_rng_chance (r, 300) ? MK_LAST_JUNK
    : mk_rng_chance (r, 150) ? MK_LAST_CUT : MK_LAST_ZEROS;
  switch (format) {
  case MK_COWD:
    s->grain_size = 512u << mk_rng_below (r, 5);
    if (mk_rng_chance (r, 300))
      s->tables = MK_TABLES_ALL;
    break;
  case MK_SESPARSE:
    s->grain_size = 4096;
    if (!peer && mk_rng_chance (r, 200))
      s->reserved1 = 0x200;
    s->first_slot = mk_rng_chance (r, 500) ? 1 : 0;
    break;
  case MK_STREAM:
    s->style = (enum mk_stream_style) mk_rng_below (r, 3);
    s->progress = mk_rng_chance (r, 300) ? 200 : 0;
    s->eos = mk_rng_chance (r, 500);
    /* FALLTHROUGH */
  case MK_KDMV:
    s->gtes = mk_rng_chance (r, 500) ? 512 : 8u << mk_rng_below (r, 3);
    s->no_redundant = mk_rng_chance (r, 300);
    s->tight = mk_rng_chance (r, 300);
    if (format == MK_KDMV && mk_rng_chance (r, 300))
      s->tables = MK_TABLES_MIXED;
    break;
  }
  while (format != MK_SESPARSE && s->capacity % s->grain_size &&
         s->guest_start == 0 && peer && s->grain_size > 512)
    s->grain_size /= 2;
  draw_pattern (r, s, p, format == MK_KDMV || format == MK_SESPARSE ||
                format == MK_STREAM, format == MK_SESPARSE);
  if ((format == MK_KDMV || format == MK_STREAM) && p->zero == 0 &&
      mk_rng_chance (r, 500))
    s->version = 1 + (uint32_t) mk_rng_below (r, 3);
}

/* Makes the extent of piece i as a file. */
static struct tr_file *
make_extent (struct tr_case *c, struct tr_link *l, size_t i, const char *name)
{
  static const enum tr_format formats[] = {
    [MK_COWD] = TR_COWD, [MK_KDMV] = TR_KDMV, [MK_STREAM] = TR_STREAM,
    [MK_SESPARSE] = TR_SESPARSE,
  };
  struct tr_file *f = tr_new_file (c, name, formats[l->spec[i].format]);
  struct mk_sink sink;
  struct mk_mem mem;

  mk_sink_mem (&sink, &mem);
  if (mk_make (&l->spec[i], &sink, &l->layout[i]) == -1)
    die ("mk_make");
  tr_file_take (f, &mem);
  tr_name_fields (f, &l->spec[i], &l->layout[i]);
  return f;
}

static struct tr_file *
make_flat (struct tr_case *c, struct mk_fill fill, uint64_t start,
           uint64_t length, uint64_t skip, const char *name)
{
  struct tr_file *f = tr_new_file (c, name, TR_RAW);
  struct mk_mem mem = { .size = (size_t) (skip + length) };

  mem.data = mk_alloc (mem.size, 1);
  mk_junk (start + 1, mem.data, (size_t) skip);
  fill.fn (fill.opaque, mem.data + skip, (size_t) length, start);
  tr_file_take (f, &mem);
  return f;
}

static void
make_text (struct tr_case *c, const char *name,
           const struct mk_descriptor *d)
{
  struct tr_file *f = tr_new_file (c, name, TR_TEXT);
  struct mk_mem mem = { 0 };

  mem.data = (uint8_t *) mk_descriptor (d, &mem.size);
  tr_file_take (f, &mem);
}

struct names { char link[32], parent[32], piece[32]; };

static void
name_link (char name[32], size_t k)
{
  if (k == 0)
    snprintf (name, 32, "vm.vmdk");
  else
    snprintf (name, 32, "vm-%06u.vmdk", (unsigned) k);
}

/* Link number k (0: the base of the chain) as a VMDK. */
static void
draw_link (struct tr_case *c, struct mk_rng *r, size_t k, bool base,
           uint32_t cid, uint32_t parent_cid, bool peer)
{
  static const char *const types[] = {
    [MK_COWD] = "VMFSSPARSE", [MK_KDMV] = "SPARSE", [MK_STREAM] = "SPARSE",
    [MK_SESPARSE] = "SESPARSE",
  };
  struct tr_link *l = &c->link[c->n_links];
  enum mk_format format = (enum mk_format) (1 + mk_rng_below (r, 4));
  struct mk_line line[TR_PIECES];
  char name[32], parent[32], piece[TR_PIECES][32];
  struct mk_descriptor d = {
    .lines = line, .cid = cid, .parent_cid = parent_cid, .hint = parent,
    .create_type = "custom", .style = mk_rng_chance (r, 200) ?
      MK_STYLE_CRLF : 0,
  };
  const bool hosted = format == MK_KDMV || format == MK_STREAM;
  const uint64_t sectors = c->size / MK_SECTOR;
  bool embedded = hosted && mk_rng_chance (r, 600), bare;
  uint64_t at = 0;

  bare = !peer && !base && c->filter && k == 1 && c->newest == SIZE_MAX &&
    mk_rng_chance (r, 200);
  if (bare)
    embedded = false;
  if (base)
    d.hint = NULL;
  name_link (name, k);
  name_link (parent, k - 1);
  l->content = (struct mk_content) { .seed = mk_rng_next (r),
                                     .layer = (unsigned) k };
  l->n = embedded || bare || sectors < 64 || mk_rng_chance (r, 600) ? 1
    : 2 + mk_rng_below (r, TR_PIECES - 1);
  for (size_t i = 0; i < l->n; i++) {
    struct mk_spec *s = &l->spec[i];
    uint64_t n = i + 1 == l->n ? sectors - at : sectors / l->n & ~UINT64_C (7);
    /* a bare one without a descriptor may not be rounded */
    const bool flat = l->n > 1 && mk_rng_chance (r, 250);

    s->capacity = n * MK_SECTOR;
    s->guest_start = at * MK_SECTOR;
    s->fill = mk_fill_content (&l->content);
    l->piece[i] = (struct mk_piece) {
      .start = at * MK_SECTOR, .length = n * MK_SECTOR, .spec = s,
      .fill = s->fill, .type = flat ? MK_PIECE_FLAT : MK_PIECE_EXTENT,
    };
    line[i] = (struct mk_line) { .sectors = n, .name = piece[i],
                                 .offset = -1 };
    snprintf (piece[i], 32, "vm-%06u-s%03u.vmdk", (unsigned) k,
              (unsigned) i + 1);
    if (flat) {
      line[i].type = "FLAT";
      line[i].offset = (int64_t) mk_rng_below (r, 20);
      make_flat (c, s->fill, at * MK_SECTOR, s->capacity,
                 (uint64_t) line[i].offset * MK_SECTOR, piece[i]);
    }
    else {
      draw_spec (r, format, s, &l->pattern[i], peer);
      if (format == MK_STREAM && !embedded && peer)
        s->style = MK_STREAM_FRONT;
      line[i].type = types[format];
      if (!embedded)
        make_extent (c, l, i, bare ? name : piece[i]);
    }
    at += n;
  }
  d.n_lines = l->n;
  if (embedded) {
    struct tr_file *f;
    size_t len;
    char *text;

    snprintf (piece[0], 32, "%s", name);
    d.create_type = format == MK_STREAM ? "streamOptimized"
      : "monolithicSparse";
    d.style = 0;
    text = mk_descriptor (&d, &len);
    l->spec[0].descriptor = text;
    l->spec[0].round_capacity = !peer && mk_rng_chance (r, 200) &&
      l->spec[0].last != MK_LAST_CUT;
    f = make_extent (c, l, 0, name);
    f->text = MK_SECTOR;
    f->text_room = 20 * MK_SECTOR;
    l->spec[0].descriptor = NULL;
    free (text);
  }
  else if (!bare)
    make_text (c, name, &d);
  c->layer[c->n_links] = (struct mk_layer) { .pieces = l->piece, .n = l->n };
  c->n_links++;
}

/* The base as a descriptor and a raw file. */
static void
draw_raw_base (struct tr_case *c, struct mk_rng *r, uint32_t cid)
{
  struct mk_line line = { .sectors = c->size / MK_SECTOR, .type = "FLAT",
                          .name = "vm-flat.vmdk", .offset = 0 };
  struct mk_descriptor d = {
    .lines = &line, .n_lines = 1, .cid = cid, .parent_cid = 0xffffffff,
    .create_type = "monolithicFlat",
  };
  struct tr_file *f;

  c->base_content = (struct mk_content) { .seed = mk_rng_next (r) };
  c->model.base_size = c->size;
  c->model.base = mk_fill_content (&c->base_content);
  f = make_flat (c, c->model.base, 0, c->size, 0, "vm-flat.vmdk");
  f->apart = c->filter;
  c->base = (size_t) (f - c->file);
  make_text (c, "vm.vmdk", &d);
}

static void
draw_vdis (struct tr_case *c, struct mk_rng *r, bool peer)
{
  const size_t n = peer ? 1 : 1 + mk_rng_below (r, 3);

  c->filter = false;
  c->kind = "VDI";
  for (size_t k = 0; k < n; k++) {
    struct tr_link *l = &c->link[k];
    struct mk_spec *s = &l->spec[0];
    char name[32];

    l->content = (struct mk_content) { .seed = mk_rng_next (r),
                                       .layer = (unsigned) k };
    l->n = 1;
    s->capacity = c->size;
    s->grain_size = peer ? 1u << 20 : 4096u << mk_rng_below (r, 3);
    s->fill = mk_fill_content (&l->content);
    draw_pattern (r, s, &l->pattern[0], true, false);
    l->piece[0] = mk_piece_of (s);
    snprintf (name, sizeof name, "vm-%u.vdi", (unsigned) k);
    tr_make_vdi (c, k, name, r);
    c->layer[k] = (struct mk_layer) { .pieces = l->piece, .n = 1 };
    c->n_links++;
  }
}

struct tr_case *
tr_draw (uint64_t seed, const char *base, bool peer)
{
  struct tr_case *c = mk_alloc (1, sizeof *c);
  unsigned dice;
  struct mk_rng r;

  mk_rng_seed (&r, mk_hash (seed, UINT64_C (0x747269616c)));
  snprintf (c->dir, sizeof c->dir, "%s/trial.XXXXXX", base);
  if (!mkdtemp (c->dir) ||
      (c->dir_fd = open (c->dir, O_DIRECTORY | O_CLOEXEC)) == -1)
    die (c->dir);
  c->size = MK_SECTOR * (mk_rng_chance (&r, 500)
                         ? 128 * (1 + mk_rng_below (&r, 8))
                         : 1 + mk_rng_below (&r, 1024));
  dice = (unsigned) mk_rng_below (&r, 100);
  c->filter = dice < 45;
  c->newest = SIZE_MAX;
  if (dice >= 85) {
    if (peer)
      c->size = (1 + mk_rng_below (&r, 4)) << 20;
    draw_vdis (c, &r, peer);
  }
  else {
    const size_t n = 1 + (mk_rng_chance (&r, 400) ? mk_rng_below (&r, 3) : 0);
    uint32_t cid = (uint32_t) mk_rng_below (&r, 0xfffffffe), parent = cid;

    if (n > 1)
      c->newest = 0;            /* no bare extents in a longer chain */
    c->kind = c->filter ? "filter" : "chain";
    if (c->filter || mk_rng_chance (&r, 500))
      draw_raw_base (c, &r, cid);
    else
      draw_link (c, &r, 0, true, cid, 0xffffffff, peer);
    for (size_t k = 1; k <= n; k++) {
      cid = (uint32_t) mk_rng_below (&r, 0xfffffffe);
      draw_link (c, &r, k, false, cid, parent, peer);
      parent = cid;
    }
  }
  c->newest = c->n_files - 1;
  c->model.capacity = c->size;
  c->model.layers = c->layer;
  c->model.n = c->n_links;
  c->want = mk_alloc ((size_t) c->size, 1);
  mk_model_read (&c->model, c->want, (size_t) c->size, 0);
  return c;
}

void
tr_free (struct tr_case *c)
{
  if (!c)
    return;
  for (size_t i = 0; i < c->n_files; i++) {
    struct tr_file *f = &c->file[i];

    close (f->fd);
    unlinkat (c->dir_fd, f->name, 0);
    free (f->good);
    free (f->now);
    free (f->fields);
    free (f->packed);
  }
  for (size_t k = 0; k < c->n_links; k++)
    for (size_t i = 0; i < c->link[k].n; i++)
      mk_layout_free (&c->link[k].layout[i]);
  close (c->dir_fd);
  rmdir (c->dir);
  free (c->want);
  free (c);
}
