/* Reading: right bytes, few reads, errors where they belong. */

#include "unit.h"

/* ---- Disks drawn by chance ---------------------------------------------- */

#define MAX_LAYERS 3

struct drawn {
  struct mk_content content[MAX_LAYERS], base_content;
  struct mk_pattern pattern[MAX_LAYERS];
  struct u_image image[MAX_LAYERS];
  struct mk_spec spec[MAX_LAYERS];
  struct mk_piece piece[MAX_LAYERS];
  struct mk_layer layer[MAX_LAYERS];
  struct mk_model model;
  uint8_t *base;
  struct u_spy *base_spy;
  struct u_spy *spy[MAX_LAYERS];
  struct u_disk disk;
  size_t n;
};

static struct mk_spec
draw_spec (struct drawn *d, struct mk_rng *r, size_t k, enum mk_format f)
{
  d->content[k] = (struct mk_content) {
    .seed = mk_rng_next (r), .layer = (unsigned) k + 1
  };
  d->pattern[k] = (struct mk_pattern) {
    .seed = mk_rng_next (r), .run = 1 + mk_rng_below (r, 1 + 9 * (k % 2)),
    .fill = 50 + (unsigned) mk_rng_below (r, 900),
    .zero = f == MK_COWD ? 0 : (unsigned) mk_rng_below (r, 300),
    .unmapped = f == MK_SESPARSE ? (unsigned) mk_rng_below (r, 300) : 0,
    .alternate = mk_rng_chance (r, 150),
  };
  return (struct mk_spec) {
    .format = f, .capacity = d->model.capacity,
    .grain_size = f == MK_SESPARSE ? 4096
      : 512u << mk_rng_below (r, f == MK_COWD ? 6 : 9),
    .map = mk_map_pattern (&d->pattern[k]),
    .fill = mk_fill_content (&d->content[k]), .seed = mk_rng_next (r),
    .placement = (enum mk_placement) mk_rng_below (r, 3),
    .last = (enum mk_last) mk_rng_below (r, 3),
    .unaligned = f == MK_KDMV && mk_rng_chance (r, 500),
    .max_gap = mk_rng_chance (r, 300) ? 20 : 0,
    .scatter_tables = mk_rng_chance (r, 300),
    .gtes = f == MK_KDMV || f == MK_STREAM ? 8u << mk_rng_below (r, 9) : 0,
    .style = (enum mk_stream_style) mk_rng_below (r, 3),
    .level = 1 + (int) mk_rng_below (r, 3),
  };
}

static void
draw (struct drawn *d, uint64_t seed, uint64_t max_sectors)
{
  static const enum mk_format formats[] = {
    MK_COWD, MK_COWD, MK_KDMV, MK_KDMV, MK_STREAM, MK_STREAM, MK_SESPARSE,
  };
  const struct vd_opts opts = { .allow_dirty = false };
  static const uint64_t aligns[] = { 1, 1, 512, 4096, 65536 };
  struct vd_link *links[MAX_LAYERS];
  struct mk_rng r;
  size_t k;

  memset (d, 0, sizeof *d);
  mk_rng_seed (&r, seed);
  d->n = 1 + mk_rng_below (&r, MAX_LAYERS);
  d->model.capacity = 512 * (1 + mk_rng_below (&r, max_sectors));
  d->model.base_size = mk_rng_chance (&r, 300)
    ? mk_rng_below (&r, d->model.capacity + 10000) : d->model.capacity;
  d->base_content = (struct mk_content) { .seed = seed, .flavour = MK_HOLEY };
  for (k = 0; k < d->n; ++k) {
    d->spec[k] = draw_spec (d, &r, k, formats[mk_rng_below (&r, 7)]);
    u_make (&d->image[k], &d->spec[k]);
    d->spy[k] = u_spy (u_memory ("m.vmdk", d->image[k].mem.data,
                                 d->image[k].mem.size));
    links[k] = u_link_file (&d->spy[k]->file, &opts);
    d->piece[k] = mk_piece_of (&d->spec[k]);
    d->layer[k] = (struct mk_layer) { .pieces = &d->piece[k], .n = 1 };
  }
  d->model.base = mk_fill_content (&d->base_content);
  d->model.layers = d->layer;
  d->model.n = d->n;
  d->base = malloc (d->model.base_size + 1);
  mk_content_fill (&d->base_content, d->base, d->model.base_size, 0);
  d->base_spy = u_spy (u_memory ("base", d->base, d->model.base_size));
  u_disk_open (&d->disk, links, d->n, &d->base_spy->file,
               mk_rng_chance (&r, 300) ? 0 : MIB);
  d->disk.base.align = aligns[mk_rng_below (&r, 5)];
}

static void
drop (struct drawn *d)
{
  size_t k;

  u_disk_close (&d->disk);
  vd_file_close (&d->base_spy->file);
  for (k = 0; k < d->n; ++k)
    u_free (&d->image[k]);
  free (d->base);
}

static void
random_range (struct mk_rng *r, uint64_t size, uint64_t *offset, size_t *n)
{
  static const uint64_t most[] = { 1, 512, 5000, 70000, 1000000 };

  *offset = mk_rng_below (r, size);
  *n = (size_t) vd_min (1 + mk_rng_below (r, most[mk_rng_below (r, 5)]),
                        size - *offset);
}

TEST (random_reads_agree_with_the_model)
{
  struct drawn d;
  struct mk_rng r;
  uint64_t seed;
  unsigned i;

  for (seed = 1; seed <= 250; ++seed) {
    draw (&d, seed, seed % 10 == 0 ? 12000 : 2000);
    u_compare (&d.disk, &d.model, 0, d.model.capacity);
    mk_rng_seed (&r, seed);
    for (i = 0; i < 20; ++i) {
      uint64_t offset;
      size_t n;

      random_range (&r, d.model.capacity, &offset, &n);
      u_compare (&d.disk, &d.model, offset, n);
    }
    u_compare (&d.disk, &d.model, 0, 0);
    drop (&d);
  }
}

/* A read fails, or is right: nothing in between. */
TEST (failing_files_never_give_wrong_bytes)
{
  static const unsigned every[] = { 2, 3, 5, 17 };
  unsigned failed = 0, worked = 0, i;
  struct drawn d;
  struct mk_rng r;
  uint64_t seed;
  size_t k;

  for (seed = 1001; seed <= 1040; ++seed) {
    draw (&d, seed, 2000);
    mk_rng_seed (&r, seed);
    for (k = 0; k < d.n; ++k)
      d.spy[k]->fail_every = every[(seed + k) % 4];
    d.base_spy->fail_every = seed % 3 == 0 ? 3 : 0;
    for (i = 0; i < 40; ++i) {
      uint8_t *have, *want;
      struct vd_err err;
      uint64_t offset;
      size_t n;

      random_range (&r, d.model.capacity, &offset, &n);
      have = malloc (n);
      want = malloc (n);
      mk_model_read (&d.model, want, n, offset);
      if (vd_read (d.disk.reader, &d.disk.base, have, n, offset, &err) == -1) {
        assert_err (&err, VD_IO, "on purpose");
        failed++;
      }
      else {
        assert_memory_equal (have, want, n);
        worked++;
      }
      free (have);
      free (want);
    }
    for (k = 0; k < d.n; ++k)
      d.spy[k]->fail_every = 0;
    d.base_spy->fail_every = 0;
    u_compare (&d.disk, &d.model, 0, d.model.capacity);
    drop (&d);
  }
  assert_true (failed > 100);
  assert_true (worked > 100);
}

/* ---- How often files are read ------------------------------------------- */

static struct mk_content content = { .seed = 21, .layer = 1,
                                     .flavour = MK_NOISE };
static struct mk_content base_content = { .seed = 21, .flavour = MK_NOISE };
static struct mk_pattern alternate = { .run = 1, .alternate = true };
static struct mk_pattern all = { .run = 1, .fill = 1000 };

struct counted {
  struct u_image image;
  struct mk_spec spec;
  struct mk_piece piece;
  struct mk_layer layer;
  struct mk_model model;
  uint8_t *base;
  struct u_spy *base_spy, *spy;
  struct u_disk disk;
};

static void
count_open (struct counted *c, struct mk_pattern *pattern,
            enum mk_placement placement, uint64_t size)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_link *link;

  c->spec = (struct mk_spec) {
    .format = MK_COWD, .capacity = size, .grain_size = 512,
    .map = mk_map_pattern (pattern), .fill = mk_fill_content (&content),
    .placement = placement, .seed = 1, .tables = MK_TABLES_ALL,
  };
  u_make (&c->image, &c->spec);
  c->piece = mk_piece_of (&c->spec);
  c->layer = (struct mk_layer) { .pieces = &c->piece, .n = 1 };
  c->model = (struct mk_model) {
    .capacity = size, .base_size = size,
    .base = mk_fill_content (&base_content), .layers = &c->layer, .n = 1,
  };
  c->base = malloc (size);
  mk_content_fill (&base_content, c->base, size, 0);
  c->base_spy = u_spy (u_memory ("base", c->base, size));
  c->spy = u_spy (u_memory ("m.vmdk", c->image.mem.data, c->image.mem.size));
  link = u_link_file (&c->spy->file, &opts);
  u_disk_open (&c->disk, &link, 1, &c->base_spy->file, MIB);
  /* so that tables are not counted below */
  u_compare (&c->disk, &c->model, 0, size);
  c->spy->preads = c->base_spy->preads = 0;
  c->spy->bytes = c->base_spy->bytes = 0;
}

static void
count_close (struct counted *c)
{
  u_disk_close (&c->disk);
  vd_file_close (&c->base_spy->file);
  u_free (&c->image);
  free (c->base);
}

TEST (fine_alternation_is_one_read_of_the_base)
{
  struct counted c;

  count_open (&c, &alternate, MK_IN_ORDER, MIB);
  u_compare (&c.disk, &c.model, 0, 256 * KIB);
  assert_int_equal (c.base_spy->preads, 1);
  assert_true (c.base_spy->bytes <= 256 * KIB);
  assert_int_equal (c.spy->preads, 1);
  assert_true (c.spy->bytes <= 160 * KIB);
  count_close (&c);
}

TEST (a_delta_that_has_it_all_spares_the_base)
{
  struct counted c;

  count_open (&c, &all, MK_IN_ORDER, MIB);
  u_compare (&c.disk, &c.model, 1234, 500000);
  assert_int_equal (c.base_spy->preads, 0);
  assert_int_equal (c.spy->preads, 1);
  assert_int_equal (c.spy->bytes, 500000);
  count_close (&c);
}

TEST (a_hole_is_read_from_the_base_alone)
{
  struct mk_pattern none = { .run = 1, .fill = 0 };
  struct counted c;

  count_open (&c, &none, MK_IN_ORDER, MIB);
  u_compare (&c.disk, &c.model, 1234, 500000);
  assert_int_equal (c.base_spy->preads, 1);
  assert_int_equal (c.base_spy->bytes, 500000);
  assert_int_equal (c.spy->preads, 0);
  count_close (&c);
}

/* Scattered over the file as they are on the disk, 512 grains of one request
 * of 256 KiB are in 256 KiB of the file, give or take.
 */
TEST (scattered_neighbours_are_fetched_together)
{
  struct counted c;

  count_open (&c, &all, MK_SCATTERED, 256 * KIB);
  u_compare (&c.disk, &c.model, 0, 256 * KIB);
  assert_true (c.spy->preads <= 4);
  count_close (&c);

  /* a part of what is there: gaps are read over */
  count_open (&c, &all, MK_SCATTERED, MIB);
  u_compare (&c.disk, &c.model, 300 * KIB, 256 * KIB);
  assert_true (c.spy->preads <= 12);
  assert_true (c.spy->bytes <= MIB);
  count_close (&c);
}

TEST (far_apart_grains_are_not_read_through)
{
  struct mk_pattern sparse = { .seed = 3, .run = 1, .fill = 20 };
  struct counted c;

  count_open (&c, &sparse, MK_IN_ORDER, 4 * MIB);
  u_compare (&c.disk, &c.model, 0, 4 * MIB);
  /* base: over the small gaps in one go */
  assert_int_equal (c.base_spy->preads, 1);
  assert_true (c.spy->bytes <= c.image.layout.n_grains * 512 + 64 * KIB);
  count_close (&c);
}

/* Where one more read costs more than what lies between, that is read along. */
TEST (measured_gaps_of_the_base_are_read_over)
{
  struct mk_pattern far = { .run = 400, .alternate = true };
  struct counted c;
  unsigned reads;

  count_open (&c, &far, MK_IN_ORDER, 4 * MIB);
  u_compare (&c.disk, &c.model, 0, 4 * MIB);
  reads = (unsigned) c.base_spy->preads;
  assert_true (reads > 1);
  count_close (&c);

  count_open (&c, &far, MK_IN_ORDER, 4 * MIB);
  c.disk.base.file->gap = 4 * MIB;
  u_compare (&c.disk, &c.model, 0, 4 * MIB);
  assert_int_equal (c.base_spy->preads, 1);
  count_close (&c);
}

TEST (the_base_is_read_aligned)
{
  struct counted c;
  struct mk_rng r;
  unsigned i;

  count_open (&c, &alternate, MK_IN_ORDER, MIB);
  c.disk.base.align = c.base_spy->align = 4096;
  mk_rng_seed (&r, 1);
  for (i = 0; i < 100; ++i) {
    const uint64_t offset = 4096 * mk_rng_below (&r, 200);

    u_compare (&c.disk, &c.model, offset,
               4096 * (1 + (size_t) mk_rng_below (&r, 50)));
  }
  assert_true (c.base_spy->preads >= 100);
  count_close (&c);
}

TEST (tables_are_read_once)
{
  struct counted c;
  unsigned i;

  count_open (&c, &alternate, MK_IN_ORDER, MIB);
  for (i = 0; i < 50; ++i)
    u_compare (&c.disk, &c.model, 512 * 2 * i, 512);
  assert_true (c.spy->preads <= 50);
  count_close (&c);
}

/* ---- Damage ------------------------------------------------------------- */

TEST (damage_is_met_only_where_it_is_read)
{
  struct counted c;
  const uint64_t gap = 20 * 512 + 100;

  count_open (&c, &all, MK_IN_ORDER, MIB);
  u_put (&c.image, u_grain (&c.image, 20)->gte, 4, UINT32_MAX);
  u_disk_close (&c.disk);
  u_disk_open_one (&c.disk, &c.image, &c.base_spy->file);
  u_compare (&c.disk, &c.model, 0, 20 * 512);
  u_compare (&c.disk, &c.model, 21 * 512, MIB - 21 * 512);
  assert_unreadable (&c.disk, gap, 1, VD_TRUNCATED, "m.vmdk", "grain 20 ");
  assert_unreadable (&c.disk, 0, MIB, VD_TRUNCATED, "grain 20 ");
  assert_unreadable (&c.disk, 20 * 512 - 1, 2, VD_TRUNCATED, "grain 20 ");
  count_close (&c);
}

/* Sector of table 1 that is bad: the entries of grains 4096+128 ... +255. */
TEST (a_bad_table_sector_hurts_what_needs_it)
{
  struct counted c;
  const uint64_t from = (4096 + 128) * 512, to = (4096 + 256) * 512;

  count_open (&c, &all, MK_IN_ORDER, 6 * MIB);
  c.spy->bad = c.image.layout.tables[1].gt + 512;
  c.spy->bad_end = c.spy->bad + 512;
  /* forget what was read */
  vd_reader_free (c.disk.reader);
  c.disk.reader = vd_reader_new (c.disk.chain, MIB, NULL);
  u_compare (&c.disk, &c.model, 0, from);
  u_compare (&c.disk, &c.model, from - 5000, 5000);
  u_compare (&c.disk, &c.model, to, 5000);
  u_compare (&c.disk, &c.model, to, 6 * MIB - to);
  assert_unreadable (&c.disk, from, 1, VD_IO, "on purpose");
  assert_unreadable (&c.disk, to - 1, 1, VD_IO, "on purpose");
  assert_unreadable (&c.disk, 0, 6 * MIB, VD_IO, "on purpose");
  count_close (&c);
}

TEST (a_bad_grain_hurts_itself)
{
  struct counted c;
  const struct mk_where *w;

  count_open (&c, &all, MK_IN_ORDER, MIB);
  w = u_grain (&c.image, 1000);
  c.spy->bad = w->data + 10;
  c.spy->bad_end = w->data + 11;
  u_compare (&c.disk, &c.model, 0, 1000 * 512);
  u_compare (&c.disk, &c.model, 1000 * 512, 10);
  u_compare (&c.disk, &c.model, 1000 * 512 + 11, 5000);
  assert_unreadable (&c.disk, 1000 * 512 + 10, 1, VD_IO, "on purpose");
  assert_unreadable (&c.disk, 999 * 512, 2048, VD_IO, "on purpose");
  count_close (&c);
}

TEST (a_bad_base_hurts_holes_only)
{
  struct counted c;

  count_open (&c, &alternate, MK_IN_ORDER, MIB);
  c.base_spy->bad_end = UINT64_MAX;
  u_compare (&c.disk, &c.model, 0, 512);
  u_compare (&c.disk, &c.model, 1024, 512);
  assert_unreadable (&c.disk, 512, 1, VD_IO, "base: on purpose");
  assert_unreadable (&c.disk, 0, 4096, VD_IO, "base: on purpose");
  count_close (&c);
}

TEST (without_a_base_holes_are_zeros)
{
  struct counted c;

  count_open (&c, &alternate, MK_IN_ORDER, MIB);
  c.disk.base.file = NULL;
  c.model.base_size = 0;
  u_compare (&c.disk, &c.model, 0, MIB);
  count_close (&c);
}

TEST (a_small_or_odd_base_ends_in_zeros)
{
  static const size_t sizes[] = { 0, 1, 511, 513, 100001 };
  struct counted c;
  size_t i;

  count_open (&c, &alternate, MK_IN_ORDER, MIB);
  for (i = 0; i < ARRAY_SIZE (sizes); ++i) {
    uint64_t align;

    c.model.base_size = c.base_spy->file.size = sizes[i];
    for (align = 1; align <= 65536; align *= 16) {
      c.disk.base.align = align;
      u_compare (&c.disk, &c.model, 0, 300000);
      u_compare (&c.disk, &c.model, 99000, 4000);
      u_compare (&c.disk, &c.model, MIB - 700, 700);
    }
  }
  count_close (&c);
}

TEST (requests_larger_than_a_window_are_whole)
{
  struct mk_pattern p = { .seed = 5, .run = 40, .fill = 500 };
  struct counted c;

  count_open (&c, &p, MK_SCATTERED, 20 * MIB);
  u_compare (&c.disk, &c.model, 1, 20 * MIB - 2);
  u_compare (&c.disk, &c.model, 8 * MIB - 1, 2);
  count_close (&c);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (random_reads_agree_with_the_model),
    cmocka_unit_test (failing_files_never_give_wrong_bytes),
    cmocka_unit_test (fine_alternation_is_one_read_of_the_base),
    cmocka_unit_test (a_delta_that_has_it_all_spares_the_base),
    cmocka_unit_test (a_hole_is_read_from_the_base_alone),
    cmocka_unit_test (scattered_neighbours_are_fetched_together),
    cmocka_unit_test (far_apart_grains_are_not_read_through),
    cmocka_unit_test (measured_gaps_of_the_base_are_read_over),
    cmocka_unit_test (the_base_is_read_aligned),
    cmocka_unit_test (tables_are_read_once),
    cmocka_unit_test (damage_is_met_only_where_it_is_read),
    cmocka_unit_test (a_bad_table_sector_hurts_what_needs_it),
    cmocka_unit_test (a_bad_grain_hurts_itself),
    cmocka_unit_test (a_bad_base_hurts_holes_only),
    cmocka_unit_test (without_a_base_holes_are_zeros),
    cmocka_unit_test (a_small_or_odd_base_ends_in_zeros),
    cmocka_unit_test (requests_larger_than_a_window_are_whole),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
