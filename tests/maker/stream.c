/* Streams: hosted sparse with compressed grains behind markers.
 *
 * Tables stand in front (as QEMU and open-vmdk have them), or follow the
 * grains that they are about, behind markers of their own, and then come a
 * directory, a footer and an end-of-stream marker.  A directory entry gives
 * the sector behind the table's marker.  Grains are always in rising order.
 */

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

enum { END_OF_STREAM = 0, GRAIN_TABLE, GRAIN_DIRECTORY, FOOTER, PROGRESS };

struct stream {
  struct mk_plan plan;
  struct libdeflate_compressor *c;
  uint8_t *raw, *packed;        /* packed: marker, zlib stream, padding */
  size_t room;
  uint8_t h[MK_SECTOR];
};

static int
append (struct stream *s, const void *buf, size_t n)
{
  uint64_t at = s->plan.free * MK_SECTOR;

  s->plan.free += n / MK_SECTOR;
  if (s->plan.free > UINT32_MAX) {
    errno = EFBIG;
    return -1;
  }
  return s->plan.sink->pwrite (s->plan.sink->opaque, buf, n, at);
}

static int
append_marker (struct stream *s, uint64_t sectors, uint32_t type)
{
  uint8_t m[MK_SECTOR] = { 0 };

  mk_put64 (m + MK_MARKER_LBA, sectors);
  mk_put32 (m + MK_MARKER_TYPE, type);
  return append (s, m, sizeof m);
}

static int
append_progress (struct stream *s)
{
  uint8_t junk[2 * MK_SECTOR];
  uint64_t n = mk_rng_below (&s->plan.rng, 3);

  mk_junk (s->plan.free, junk, sizeof junk);
  if (append_marker (s, n, PROGRESS) == -1)
    return -1;
  return append (s, junk, (size_t) n * MK_SECTOR);
}

static int
append_grain (struct stream *s, struct mk_where *w)
{
  const struct mk_spec *spec = s->plan.spec;
  size_t n = mk_plan_content (spec, w->grain, s->raw), len, whole;

  if (mk_rng_chance (&s->plan.rng, spec->progress) &&
      append_progress (s) == -1)
    return -1;
  len = libdeflate_zlib_compress (s->c, s->raw, n, s->packed + 12, s->room);
  if (len == 0) {
    errno = EOVERFLOW;
    return -1;
  }
  mk_put64 (s->packed + MK_MARKER_LBA,
            w->grain * (spec->grain_size / MK_SECTOR));
  mk_put32 (s->packed + MK_MARKER_SIZE, (uint32_t) len);
  whole = (size_t) mk_round_up (12 + len, MK_SECTOR);
  memset (s->packed + 12 + len, 0, whole - 12 - len);
  w->data = s->plan.free * MK_SECTOR;
  w->stored = len;
  return append (s, s->packed, whole);
}

static uint64_t
gt_sectors (const struct stream *s)
{
  return mk_div_up (s->plan.gtes * 4, MK_SECTOR);
}

static int
append_directory_and_footer (struct stream *s)
{
  struct mk_layout *l = s->plan.l;
  size_t n = (size_t) mk_round_up (s->plan.total_tables * 4, MK_SECTOR);
  uint8_t *gd = mk_alloc (n, 1);
  int r;

  r = append_marker (s, n / MK_SECTOR, GRAIN_DIRECTORY);
  l->gd = s->plan.free * MK_SECTOR;
  l->gd_entries = s->plan.total_tables;
  for (size_t i = 0; i < l->n_tables; i++) {
    l->tables[i].gde = l->gd + 4 * l->tables[i].index;
    mk_put32 (gd + 4 * l->tables[i].index,
              (uint32_t) (l->tables[i].gt / MK_SECTOR));
  }
  if (r == 0)
    r = append (s, gd, n);
  free (gd);
  if (r == -1 || append_marker (s, 1, FOOTER) == -1)
    return -1;
  l->footer = s->plan.free * MK_SECTOR;
  mk_put64 (s->h + MK_KDMV_GDOFFSET, l->gd / MK_SECTOR);
  if (append (s, s->h, sizeof s->h) == -1)
    return -1;
  return append_marker (s, 0, END_OF_STREAM);
}

/* Grains, and in footer style each table behind its last grain. */
static int
append_body (struct stream *s, bool with_tables)
{
  struct mk_layout *l = s->plan.l;

  for (size_t i = 0; i < l->n_tables; i++) {
    struct mk_table *t = &l->tables[i];

    for (size_t k = t->first; k < t->first + t->n; k++)
      if (l->grains[k].kind == MK_DATA &&
          append_grain (s, &l->grains[k]) == -1)
        return -1;
    if (with_tables) {
      if (append_marker (s, gt_sectors (s), GRAIN_TABLE) == -1)
        return -1;
      t->gt = s->plan.free * MK_SECTOR;
      s->plan.free += gt_sectors (s);
    }
  }
  return 0;
}

static int
check (const struct mk_spec *spec, const struct mk_layout *l, uint32_t *flags)
{
  for (size_t i = 0; i < l->n_grains; i++) {
    if (l->grains[i].kind == MK_ZERO)
      *flags |= 4;
    if (l->grains[i].kind == MK_UNMAPPED) {
      errno = EINVAL;
      return -1;
    }
  }
  /* A reader finds the footer by the size of the file. */
  if (spec->style != MK_STREAM_FRONT && spec->slack >= MK_SECTOR) {
    errno = EINVAL;
    return -1;
  }
  return 0;
}

static int
make_front (struct stream *s)
{
  const struct mk_spec *spec = s->plan.spec;
  enum mk_tables mode =
    spec->tables == MK_TABLES_USED ? MK_TABLES_USED : MK_TABLES_ALL;

  if (mk_kdmv_front_directories (&s->plan, mode,
                                 mk_kdmv_descriptor_place (spec, s->h),
                                 s->h) == -1)
    return -1;
  if (!spec->tight)
    s->plan.free = mk_round_up (s->plan.free, spec->grain_size / MK_SECTOR);
  mk_put64 (s->h + MK_KDMV_OVERHEAD, s->plan.free);
  s->plan.l->data_start = s->plan.free * MK_SECTOR;
  if (append_body (s, false) == -1 ||
      mk_kdmv_write_tables (&s->plan) == -1 ||
      mk_kdmv_write_directories (&s->plan, mode) == -1)
    return -1;
  if (spec->eos)
    return append_marker (s, 0, END_OF_STREAM);
  return 0;
}

static int
make_behind (struct stream *s)
{
  const struct mk_spec *spec = s->plan.spec;

  s->plan.free = mk_kdmv_descriptor_place (spec, s->h);
  /* No grain can be at sector 1: as an entry that means a zeroed grain. */
  if (s->plan.free < 2)
    s->plan.free = 2;
  if (!spec->tight)
    s->plan.free = mk_round_up (s->plan.free, spec->grain_size / MK_SECTOR);
  mk_put64 (s->h + MK_KDMV_OVERHEAD, s->plan.free);
  s->plan.l->data_start = s->plan.free * MK_SECTOR;
  if (append_body (s, true) == -1 ||
      append_directory_and_footer (s) == -1 ||
      mk_kdmv_write_tables (&s->plan) == -1)
    return -1;
  if (spec->style == MK_STREAM_FOOTER)
    mk_put64 (s->h + MK_KDMV_GDOFFSET, UINT64_MAX);
  return 0;
}

static int
make (struct stream *s)
{
  const struct mk_spec *spec = s->plan.spec;
  const struct mk_sink *sink = s->plan.sink;
  struct mk_layout *l = s->plan.l;
  uint32_t flags = 0x30001;

  if (check (spec, l, &flags) == -1)
    return -1;
  if (spec->style == MK_STREAM_FRONT && !spec->no_redundant)
    flags |= 2;
  mk_kdmv_header (spec, s->h, 3, flags);
  mk_put16 (s->h + MK_KDMV_COMPRESSION, 1);
  if ((spec->style == MK_STREAM_FRONT ? make_front (s)
                                      : make_behind (s)) == -1)
    return -1;
  l->size = s->plan.free * MK_SECTOR + spec->slack;
  if (sink->truncate (sink->opaque, l->size) == -1 ||
      mk_kdmv_write_descriptor (spec, sink) == -1)
    return -1;
  return sink->pwrite (sink->opaque, s->h, sizeof s->h, 0);
}

int
mk_make_stream (const struct mk_spec *spec, const struct mk_sink *sink,
                struct mk_layout *layout)
{
  struct stream s;
  int level = spec->level == 0 ? 6 : spec->level < 0 ? 0 : spec->level;
  int r;

  memset (&s, 0, sizeof s);
  if (mk_plan_start (&s.plan, spec, sink, layout,
                     spec->gtes ? spec->gtes : 512) == -1)
    return -1;
  s.c = libdeflate_alloc_compressor (level);
  if (s.c == NULL) {
    mk_plan_end (&s.plan);
    errno = ENOMEM;
    return -1;
  }
  s.room = libdeflate_zlib_compress_bound (s.c, spec->grain_size);
  s.raw = mk_alloc (spec->grain_size, 1);
  s.packed = mk_alloc (12 + s.room + MK_SECTOR, 1);
  r = make (&s);
  free (s.raw);
  free (s.packed);
  libdeflate_free_compressor (s.c);
  mk_plan_end (&s.plan);
  return r;
}
