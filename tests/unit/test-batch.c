/* Batches cover what a chain holds: all of it, once, in order, within limits. */

#include "unit.h"

#define CAPACITY (40 * MIB + 3 * 512)

struct fixture {
  struct mk_content content[2];
  struct mk_pattern pattern[2];
  struct u_image image[2];
  struct mk_spec spec[2];
  struct mk_piece piece[2];
  struct mk_layer layer[2];
  struct mk_model model;
  struct u_disk disk;
};

static void
open_fixture (struct fixture *x, size_t n, const enum mk_format *format,
              const struct mk_pattern *pattern, uint64_t capacity,
              uint32_t grain)
{
  struct vd_link *links[2];
  size_t i;

  memset (x, 0, sizeof *x);
  x->model = (struct mk_model) {
    .capacity = capacity, .base_size = capacity, .layers = x->layer, .n = n,
  };
  for (i = 0; i < n; ++i) {
    x->content[i] = (struct mk_content) { .seed = i, .layer = (unsigned) i };
    x->pattern[i] = pattern[i];
    x->spec[i] = (struct mk_spec) {
      .format = format[i], .capacity = capacity,
      .grain_size = format[i] == MK_SESPARSE ? 4096 : grain,
      .map = mk_map_pattern (&x->pattern[i]),
      .fill = mk_fill_content (&x->content[i]), .seed = i,
    };
    u_make (&x->image[i], &x->spec[i]);
    links[i] = u_link (&x->image[i]);
    x->piece[i] = mk_piece_of (&x->spec[i]);
    x->layer[i] = (struct mk_layer) { .pieces = &x->piece[i], .n = 1 };
  }
  u_disk_open (&x->disk, links, n, NULL, MIB);
}

static void
close_fixture (struct fixture *x)
{
  size_t i;

  u_disk_close (&x->disk);
  for (i = 0; i < x->model.n; ++i)
    u_free (&x->image[i]);
}

/* [from, to) of the disk is like this, says the model. */
static void
assert_model (const struct fixture *x, uint64_t from, uint64_t to,
              enum mk_model_kind want)
{
  uint64_t end;

  for (; from < to; from = end) {
    if (mk_model_kind (&x->model, from, NULL, &end) != want)
      fail_msg ("byte %llu is not of kind %d", (unsigned long long) from,
                want);
    assert_true (end > from);
  }
}

static enum mk_model_kind
model_kind (enum vd_kind kind)
{
  return kind == VD_BASE ? MK_MODEL_BASE : kind == VD_ZERO ? MK_MODEL_ZERO
    : MK_MODEL_DATA;
}

/* What one batch may look like.  Returns its end. */
static uint64_t
check_batch (const struct fixture *x, const struct vd_runs *b)
{
  uint64_t at = vd_batch_start (b);
  size_t i;

  assert_true (b->n > 0);
  if (vd_batch_is_zeros (b)) {
    assert_model (x, at, vd_batch_end (b), MK_MODEL_ZERO);
    return vd_batch_end (b);
  }
  assert_true (vd_batch_end (b) - at <= VD_BATCH_SIZE);
  assert_int_not_equal (b->run[0].kind, VD_BASE);
  assert_int_not_equal (b->run[b->n - 1].kind, VD_BASE);
  for (i = 0; i < b->n; ++i) {
    const struct vd_run *r = &b->run[i];

    assert_int_equal (r->offset, at);
    assert_true (r->length > 0);
    if (r->kind == VD_ZERO)
      assert_true (r->length < VD_BATCH_ZEROS);
    at = vd_run_end (r);
    assert_model (x, r->offset, at, model_kind (r->kind));
  }
  return at;
}

/* All batches.  Returns how many. */
static unsigned
walk (const struct fixture *x)
{
  struct vd_runs batch = VD_BATCH_RUNS;
  struct vd_batch_walk w;
  struct vd_err err;
  uint64_t at = 0;
  unsigned n = 0;
  int r;

  vd_batch_walk_init (&w, x->disk.chain);
  while ((r = vd_batch_walk_next (&w, &batch, &err)) == 1) {
    /* What lies between was left out: nobody holds it. */
    assert_true (vd_batch_start (&batch) >= at);
    assert_model (x, at, vd_batch_start (&batch), MK_MODEL_BASE);
    at = check_batch (x, &batch);
    n++;
  }
  if (r == -1)
    fail_msg ("%s", err.msg);
  assert_model (x, at, x->model.capacity, MK_MODEL_BASE);
  /* The end stays the end. */
  assert_int_equal (vd_batch_walk_next (&w, &batch, &err), 0);
  vd_batch_walk_free (&w);
  vd_runs_free (&batch);
  return n;
}

static unsigned
walk_one (enum mk_format format, struct mk_pattern pattern, uint64_t capacity,
          uint32_t grain)
{
  struct fixture x;
  unsigned n;

  open_fixture (&x, 1, &format, &pattern, capacity, grain);
  n = walk (&x);
  close_fixture (&x);
  return n;
}

TEST (nothing_gives_no_batch)
{
  assert_int_equal (walk_one (MK_COWD, (struct mk_pattern) { .run = 1 },
                              CAPACITY, 512), 0);
}

TEST (all_data_is_cut_at_the_size_of_a_batch)
{
  const struct mk_pattern all = { .run = 1, .fill = 1000 };

  assert_int_equal (walk_one (MK_COWD, all, 40 * MIB, 65536), 10);
  assert_int_equal (walk_one (MK_COWD, all, CAPACITY, 65536), 11);
  assert_int_equal (walk_one (MK_STREAM, all, 8 * MIB, 65536), 2);
  assert_int_equal (walk_one (MK_COWD, all, 512, 512), 1);
}

TEST (all_zeros_are_one_batch)
{
  const struct mk_pattern all = { .run = 1, .fill = 1000, .zero = 1000 };

  assert_int_equal (walk_one (MK_SESPARSE, all, CAPACITY, 4096), 1);
  assert_int_equal (walk_one (MK_KDMV, all, CAPACITY, 65536), 1);
}

TEST (every_second_sector)
{
  /* As many runs as can be, in batches and in the list behind them. */
  assert_true (walk_one (MK_COWD,
                         (struct mk_pattern) { .run = 1, .alternate = true,
                                               .fill = 1000 },
                         CAPACITY, 512) >= 10);
}

TEST (random_ones)
{
  static const enum mk_format formats[] = {
    MK_COWD, MK_KDMV, MK_STREAM, MK_SESPARSE,
  };
  struct mk_rng r;
  unsigned i;

  mk_rng_seed (&r, 17);
  for (i = 0; i < 60; ++i) {
    struct mk_pattern p[2];
    enum mk_format f[2];
    struct fixture x;
    size_t k;

    for (k = 0; k < 2; ++k) {
      f[k] = formats[mk_rng_below (&r, 4)];
      p[k] = (struct mk_pattern) {
        .seed = mk_rng_next (&r),
        .run = 1 + mk_rng_below (&r, mk_rng_chance (&r, 500) ? 40 : 2),
        .fill = 20 + (unsigned) mk_rng_below (&r, 900),
        .zero = f[k] == MK_COWD ? 0 : (unsigned) mk_rng_below (&r, 900),
      };
    }
    open_fixture (&x, 1 + i % 2, f, p, 512 * (1 + mk_rng_below (&r, 30000)),
                  512u << mk_rng_below (&r, 8));
    walk (&x);
    close_fixture (&x);
  }
}

TEST (zeros_that_are_short_stay_among_data)
{
  /* Grains of 32 KiB: one zero grain alone is short, two are not. */
  static const uint8_t kinds[] = {
    MK_DATA, MK_ZERO, MK_DATA, MK_ZERO, MK_ZERO, MK_DATA, MK_HOLE, MK_DATA,
  };
  struct mk_array array = { kinds, ARRAY_SIZE (kinds) };
  struct mk_content content = { .seed = 1 };
  const struct mk_spec spec = {
    .format = MK_KDMV, .capacity = 8 * 32 * KIB, .grain_size = 32 * KIB,
    .map = mk_map_array (&array), .fill = mk_fill_content (&content),
  };
  static const struct { uint64_t start, end; size_t n; } want[] = {
    { 0, 3, 3 }, { 3, 5, 1 }, { 5, 8, 3 },
  };
  struct vd_runs batch = VD_BATCH_RUNS;
  struct u_image m;
  struct u_disk d;
  struct vd_batch_walk w;
  struct vd_err err;
  size_t i;

  u_make (&m, &spec);
  u_disk_open_one (&d, &m, NULL);
  vd_batch_walk_init (&w, d.chain);
  for (i = 0; i < ARRAY_SIZE (want); ++i) {
    assert_int_equal (vd_batch_walk_next (&w, &batch, &err), 1);
    assert_int_equal (vd_batch_start (&batch), want[i].start * 32 * KIB);
    assert_int_equal (vd_batch_end (&batch), want[i].end * 32 * KIB);
    assert_int_equal (batch.n, want[i].n);
    assert_int_equal (vd_batch_is_zeros (&batch), i == 1);
  }
  assert_int_equal (vd_batch_walk_next (&w, &batch, &err), 0);
  vd_batch_walk_free (&w);
  vd_runs_free (&batch);
  u_disk_close (&d);
  u_free (&m);
}

TEST (a_walk_can_be_left)
{
  const enum mk_format format = MK_COWD;
  const struct mk_pattern all = { .run = 1, .fill = 500 };
  struct vd_runs batch = VD_BATCH_RUNS;
  struct fixture x;
  struct vd_batch_walk w;
  struct vd_err err;

  open_fixture (&x, 1, &format, &all, CAPACITY, 512);
  vd_batch_walk_init (&w, x.disk.chain);
  assert_int_equal (vd_batch_walk_next (&w, &batch, &err), 1);
  vd_batch_walk_free (&w);
  vd_runs_free (&batch);
  close_fixture (&x);
}

/* Threads share a walk, and one of them may ask before the other has told of
 * its error.  (Found by tests/faults: bytes were written to wrong places.)
 */
TEST (after_an_error_there_is_nothing_more)
{
  static const enum mk_format format[] = { MK_COWD, MK_COWD };
  static const struct mk_pattern pattern[] = {
    { .seed = 1, .run = 2, .fill = 500 }, { .seed = 2, .run = 2, .fill = 500 },
  };
  struct vd_runs batch = VD_BATCH_RUNS;
  struct vd_batch_walk walk;
  struct vd_image *oldest;
  struct fixture x;
  struct u_spy *spy;
  struct vd_err err;
  int i;

  open_fixture (&x, 2, format, pattern, CAPACITY, 4096);
  oldest = x.disk.chain->links[1]->pieces[0].image;
  spy = u_spy (oldest->file);
  spy->bad_end = UINT64_MAX;
  oldest->file = &spy->file;
  vd_batch_walk_init (&walk, x.disk.chain);
  /* the newest layer has been looked at by then */
  assert_int_equal (vd_batch_walk_next (&walk, &batch, &err), -1);
  for (i = 0; i < 3; ++i)
    assert_int_equal (vd_batch_walk_next (&walk, &batch, &err), 0);
  vd_batch_walk_free (&walk);
  vd_runs_free (&batch);
  close_fixture (&x);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (nothing_gives_no_batch),
    cmocka_unit_test (all_data_is_cut_at_the_size_of_a_batch),
    cmocka_unit_test (all_zeros_are_one_batch),
    cmocka_unit_test (every_second_sector),
    cmocka_unit_test (random_ones),
    cmocka_unit_test (zeros_that_are_short_stay_among_data),
    cmocka_unit_test (a_walk_can_be_left),
    cmocka_unit_test (after_an_error_there_is_nothing_more),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
