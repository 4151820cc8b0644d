/* The cache of regions. */

#include <pthread.h>

#include "unit.h"

#define SIZE (48 * MIB + 3 * 512)

/* Every second grain of 512 bytes is there, so a region of 2 MiB has 4096
 * runs; but for a stretch of holes.
 */
static enum mk_kind
kind (void *opaque, uint64_t grain)
{
  (void) opaque;
  return grain % 2 == 0 && (grain < 20000 || grain > 30000) ? MK_DATA
    : MK_HOLE;
}

static void
no_fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  (void) opaque, (void) offset;
  memset (buf, 1, n);
}

static struct u_image image;
static struct vd_link *the_link;
static struct vd_chain *chain;

static int
setup (void **state)
{
  const struct vd_opts opts = { .allow_dirty = false };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = SIZE, .grain_size = 512,
    .map = { .kind = kind }, .fill = { .fn = no_fill },
    .placement = MK_SCATTERED,
  };
  struct vd_err err;

  (void) state;
  u_make (&image, &spec);
  the_link = u_link (&image);
  chain = vd_chain_new (&the_link, 1, &opts, &err);
  return chain ? 0 : -1;
}

static int
teardown (void **state)
{
  struct u_disk d = { .chain = chain, .links = { the_link }, .nr_links = 1 };

  (void) state;
  u_disk_close (&d);
  u_free (&image);
  return 0;
}

static struct vd_map *
new_map (uint64_t budget)
{
  struct vd_err err;
  struct vd_map *map = vd_map_new (chain, budget, &err);

  assert_opened (map, &err);
  return map;
}

/* What the maker put there, without a look at the library's own answers. */
static bool
run_is_right (const struct vd_region *r, size_t i)
{
  const uint64_t from = r->offset + r->run[i].start;
  const uint64_t to = vd_region_run_end (r, i);
  const struct mk_where *w = mk_layout_grain (&image.layout, from / 512);
  uint64_t g;

  if (to <= from || from % 512 != 0 || to > r->offset + r->length)
    return false;
  if (w && (r->run[i].kind != VD_DATA || r->run[i].where != w->data))
    return false;
  if (!w && r->run[i].kind != VD_BASE)
    return false;
  /* a run may be of several grains when they lie one after the other */
  for (g = from / 512; g * 512 < to; ++g) {
    const struct mk_where *v = mk_layout_grain (&image.layout, g);

    if ((v != NULL) != (w != NULL) ||
        (v && v->data != w->data + (g * 512 - from)))
      return false;
  }
  return true;
}

static bool
region_is_right (const struct vd_region *r)
{
  size_t i;

  if (r->n == 0 || r->run[0].start != 0)
    return false;
  for (i = 0; i < r->n; ++i)
    if (!run_is_right (r, i))
      return false;
  return vd_region_run_end (r, r->n - 1) == r->offset + r->length;
}

static const struct vd_region *
get (struct vd_map *map, uint64_t offset)
{
  struct vd_err err;
  const struct vd_region *r = vd_map_get (map, offset, NULL, &err);

  assert_opened (r, &err);
  return r;
}

TEST (regions_cover_the_disk_once)
{
  struct vd_map *map = new_map (VD_MAP_DEFAULT_BUDGET);
  const uint64_t size = vd_map_region_size (map);
  uint64_t pos = 0;

  assert_int_equal (size, 2 * MIB);
  while (pos < SIZE) {
    const struct vd_region *r = get (map, pos);

    assert_int_equal (r->offset, pos);
    assert_int_equal (r->length, vd_min (size, SIZE - pos));
    assert_true (region_is_right (r));
    pos += r->length;
    vd_map_put (map, r);
  }
  assert_int_equal (pos, SIZE);
  vd_map_free (map);
}

TEST (any_byte_finds_its_region_and_run)
{
  struct vd_map *map = new_map (VD_MAP_DEFAULT_BUDGET);
  struct mk_rng rng;
  unsigned i;

  mk_rng_seed (&rng, 1);
  for (i = 0; i < 20000; ++i) {
    const uint64_t at = i == 0 ? SIZE - 1 : mk_rng_below (&rng, SIZE);
    const struct vd_region *r = get (map, at);
    size_t k = vd_region_find (r, at);

    assert_true (r->offset <= at && at < r->offset + r->length);
    assert_true (r->offset + r->run[k].start <= at);
    assert_true (vd_region_run_end (r, k) > at);
    vd_map_put (map, r);
  }
  vd_map_free (map);
}

TEST (region_sizes_follow_the_smallest_grain)
{
  static const struct { uint32_t grain; uint64_t size; } t[] = {
    { 512, 2 * MIB }, { 4096, 16 * MIB }, { 65536, 256 * MIB },
    { 1048576, 256 * MIB },
  };
  struct mk_pattern p = { .run = 1, .fill = 500 };
  struct mk_content content = { .seed = 1 };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    const struct mk_spec spec = {
      .format = MK_COWD, .capacity = 3 * 512, .grain_size = t[i].grain,
      .map = mk_map_pattern (&p), .fill = mk_fill_content (&content),
    };
    struct u_image m;
    struct u_disk d;

    u_make (&m, &spec);
    u_disk_open_one (&d, &m, NULL);
    assert_int_equal (vd_map_region_size (vd_reader_get_map (d.reader)),
                      t[i].size);
    u_disk_close (&d);
    u_free (&m);
  }
}

TEST (the_budget_is_kept)
{
  static const uint64_t budgets[] = { 0, 100, MIB, 64 * MIB };
  const unsigned nr = (SIZE + 2 * MIB - 1) / (2 * MIB);
  size_t i;

  for (i = 0; i < ARRAY_SIZE (budgets); ++i) {
    struct vd_map *map = new_map (budgets[i]);
    struct vd_map_stats st;
    uint64_t most = 0;
    unsigned round;
    uint64_t pos;

    for (round = 0; round < 2; ++round)
      for (pos = 0; pos < SIZE; pos += 2 * MIB) {
        const struct vd_region *r = get (map, pos);

        assert_true (region_is_right (r));
        most = vd_max (most, r->n * sizeof r->run[0]);
        vd_map_put (map, r);
        vd_map_get_stats (map, &st);
        /* the newest of each of 16 shards may stay in any case */
        assert_true (st.bytes <= budgets[i] + 16 * (most + 200));
      }
    assert_int_equal (st.hits + st.misses, 2 * nr);
    if (budgets[i] < 1000) {
      assert_true (st.regions <= 16);
      assert_true (st.misses > nr);
    }
    if (budgets[i] == 64 * MIB) {
      assert_int_equal (st.regions, nr);
      assert_int_equal (st.misses, nr);
      assert_int_equal (st.hits, nr);
    }
    vd_map_free (map);
  }
}

TEST (a_region_in_use_outlives_its_place)
{
  struct vd_map *map = new_map (0);
  const struct vd_region *held = get (map, 0), *again;
  struct vd_map_stats st;
  uint64_t pos;

  /* all others, and those of the same shard (16 regions apart) */
  for (pos = 2 * MIB; pos < SIZE; pos += 2 * MIB)
    vd_map_put (map, get (map, pos));
  assert_true (region_is_right (held));
  assert_int_equal (held->offset, 0);
  again = get (map, 5);
  assert_ptr_not_equal (again, held);   /* it had been dropped */
  vd_map_get_stats (map, &st);
  assert_int_equal (st.hits, 0);
  vd_map_put (map, again);
  assert_true (region_is_right (held));
  vd_map_put (map, held);
  vd_map_free (map);
}

TEST (what_was_used_last_stays)
{
  /* room for two regions in a shard */
  struct vd_map *map = new_map (16 * (2 * 4096 * 16 + 1000));
  struct vd_map_stats a, b;

  /* regions 0 and 16 share a shard; no third one fits behind them */
  vd_map_put (map, get (map, 0));
  vd_map_put (map, get (map, 16 * 2 * MIB));
  vd_map_get_stats (map, &a);
  assert_int_equal (a.misses, 2);
  vd_map_put (map, get (map, 0));
  vd_map_put (map, get (map, 16 * 2 * MIB));
  vd_map_get_stats (map, &b);
  assert_int_equal (b.misses, 2);
  assert_int_equal (b.hits, 2);
  vd_map_free (map);
}

struct job {
  struct vd_map *map;
  unsigned seed;
  unsigned wrong;
};

static void *
look_up (void *opaque)
{
  struct job *job = opaque;
  struct mk_rng rng;
  unsigned i;

  mk_rng_seed (&rng, job->seed);
  for (i = 0; i < 300; ++i) {
    const uint64_t at = mk_rng_below (&rng, SIZE);
    struct vd_err err;
    const struct vd_region *r = vd_map_get (job->map, at, NULL, &err);

    if (!r || !(r->offset <= at && at < r->offset + r->length) ||
        (i % 16 == 0 && !region_is_right (r)) ||
        !run_is_right (r, vd_region_find (r, at)))
      job->wrong++;
    if (r)
      vd_map_put (job->map, r);
  }
  return NULL;
}

TEST (eight_threads_get_the_same_answers)
{
  static const uint64_t budgets[] = { 0, MIB, 64 * MIB };
  size_t b, i;

  for (b = 0; b < ARRAY_SIZE (budgets); ++b) {
    struct vd_map *map = new_map (budgets[b]);
    struct vd_map_stats st;
    pthread_t thread[8];
    struct job job[8];

    for (i = 0; i < 8; ++i) {
      job[i] = (struct job) { .map = map, .seed = (unsigned) (b * 8 + i) };
      assert_int_equal (pthread_create (&thread[i], NULL, look_up, &job[i]),
                        0);
    }
    for (i = 0; i < 8; ++i) {
      pthread_join (thread[i], NULL);
      assert_int_equal (job[i].wrong, 0);
    }
    vd_map_get_stats (map, &st);
    assert_int_equal (st.hits + st.misses, 8 * 300);
    assert_true (st.regions <= (SIZE + 2 * MIB - 1) / (2 * MIB));
    vd_map_free (map);
  }
}

TEST (a_table_that_cannot_be_read_is_an_error_each_time)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct u_spy *spy
    = u_spy (u_memory ("m.vmdk", image.mem.data, image.mem.size));
  struct vd_link *link = u_link_file (&spy->file, &opts);
  struct vd_map *map;
  struct vd_err err;
  struct u_disk d;
  unsigned i;

  u_disk_open (&d, &link, 1, NULL, MIB);
  map = vd_reader_get_map (d.reader);
  spy->bad = image.layout.tables[1].gt + 5000;
  spy->bad_end = spy->bad + 1;
  for (i = 0; i < 2; ++i) {
    assert_null (vd_map_get (map, 3 * MIB, NULL, &err));
    assert_err (&err, VD_IO, "m.vmdk: on purpose");
    assert_int_equal (err.errnum, 5);
    vd_map_put (map, get (map, MIB));
    vd_map_put (map, get (map, 5 * MIB));
  }
  spy->bad_end = 0;             /* it was not kept */
  vd_map_put (map, get (map, 3 * MIB));
  u_disk_close (&d);
}

/* A file on which readers are held up, when they have read. */
struct gate {
  struct vd_file file;
  struct vd_file *under;
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool shut;
  unsigned held;
};

static int
gate_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  struct gate *g = (struct gate *) f;
  const int r = vd_file_pread (g->under, buf, n, offset, err);

  pthread_mutex_lock (&g->lock);
  if (g->shut) {
    g->held++;
    pthread_cond_broadcast (&g->cond);
    while (g->shut)
      pthread_cond_wait (&g->cond, &g->lock);
  }
  pthread_mutex_unlock (&g->lock);
  return r;
}

static void
gate_close (struct vd_file *f)
{
  struct gate *g = (struct gate *) f;

  vd_file_close (g->under);
  free (g);
}

static struct gate *
new_gate (struct vd_file *under)
{
  static const struct vd_file_ops ops = {
    .pread = gate_pread, .close = gate_close,
  };
  struct gate *g = calloc (1, sizeof *g);

  assert_non_null (g);
  g->file = (struct vd_file) {
    .ops = &ops, .name = strdup ("gate"), .size = under->size,
  };
  g->under = under;
  pthread_mutex_init (&g->lock, NULL);
  pthread_cond_init (&g->cond, NULL);
  return g;
}

static void
shut_gate (struct gate *g, bool shut)
{
  pthread_mutex_lock (&g->lock);
  g->shut = shut;
  pthread_cond_broadcast (&g->cond);
  pthread_mutex_unlock (&g->lock);
}

struct asker {
  struct vd_map *map;
  const struct vd_region *region;
};

static void *
ask (void *opaque)
{
  struct asker *a = opaque;
  struct vd_err err;

  a->region = vd_map_get (a->map, 0, NULL, &err);
  return NULL;
}

static void
change (struct vd_map *map, enum vd_kind kind, uint64_t offset,
        uint64_t length, uint64_t where)
{
  const struct vd_map_change c = {
    .offset = offset, .length = length, .kind = kind, .where = where,
  };

  vd_map_change (map, &c);
}

/* ---- Changes, beside a model: what each sector is ---- */

#define SECTORS (SIZE / 512)

struct model {
  uint64_t where[SECTORS];      /* 0: zeros; 1: what the maker put there */
};

static void
change_model (struct model *m, uint64_t first, uint64_t n, uint64_t where)
{
  uint64_t i;

  for (i = 0; i < n; ++i)
    m->where[first + i] = where ? where + i * 512 : 0;
}

static bool
sector_is_right (const struct model *m, const struct vd_region *r, size_t run,
                 uint64_t sector)
{
  const struct vd_region_run *x = &r->run[run];
  const struct mk_where *w = mk_layout_grain (&image.layout, sector);
  const uint64_t at = x->where + (sector * 512 - r->offset - x->start);

  if (m->where[sector] == 0)
    return x->kind == VD_ZERO;
  if (m->where[sector] != 1)
    return x->kind == VD_DATA && at == m->where[sector];
  return w ? x->kind == VD_DATA && at == w->data : x->kind == VD_BASE;
}

static void
expect_model (struct vd_map *map, const struct model *m)
{
  uint64_t pos, s;
  size_t i;

  for (pos = 0; pos < SIZE; pos += 2 * MIB) {
    const struct vd_region *r = get (map, pos);

    assert_int_equal (r->run[0].start, 0);
    for (i = 0; i < r->n; ++i) {
      assert_true (vd_region_run_end (r, i) > r->offset + r->run[i].start);
      for (s = (r->offset + r->run[i].start) / 512;
           s < vd_region_run_end (r, i) / 512; ++s)
        if (!sector_is_right (m, r, i, s))
          fail_msg ("sector %llu", (unsigned long long) s);
    }
    vd_map_put (map, r);
  }
}

TEST (changes_agree_with_a_model)
{
  struct model *m = malloc (sizeof *m);
  struct vd_map *map = new_map (64 * MIB);
  struct vd_map_stats a, b;
  struct mk_rng rng;
  uint64_t first, n, where, i;

  mk_rng_seed (&rng, 3);
  for (i = 0; i < SECTORS; ++i)
    m->where[i] = 1;
  expect_model (map, m);
  vd_map_get_stats (map, &a);
  for (i = 0; i < 3000; ++i) {
    n = 1 + mk_rng_below (&rng, i % 10 == 0 ? 6000 : 40);
    first = mk_rng_below (&rng, SECTORS - n + 1);
    /* next to the one before it, in the file too, as writers do it */
    where = mk_rng_below (&rng, 3) == 0 ? 0
      : first > 0 && m->where[first - 1] > 1 && i % 2
      ? m->where[first - 1] + 512 : GIB + mk_rng_below (&rng, 99999) * 512;
    change_model (m, first, n, where);
    change (map, where ? VD_DATA : VD_ZERO, first * 512, n * 512, where);
    vd_map_put (map, get (map, first * 512));
    if (n > 4096)
      vd_map_put (map, get (map, (first + n - 1) * 512));
    if (i % 1000 == 0)
      expect_model (map, m);
  }
  expect_model (map, m);
  vd_map_get_stats (map, &b);
  assert_int_equal (a.misses, b.misses);        /* nothing was computed */
  assert_int_equal (b.regions, a.regions);
  vd_map_free (map);
  free (m);
}

/* Runs that touch become one, whatever the order. */
TEST (changes_in_a_row_are_one_run)
{
  struct vd_map *map = new_map (64 * MIB);
  const struct vd_region *r;
  unsigned i, k;

  for (i = 0; i < 4096; i += 2)
    for (k = 0; k < 2; ++k) {
      const unsigned g = i + (i / 2 + k) % 2;

      vd_map_put (map, get (map, 0));
      change (map, VD_DATA, g * 512, 512, GIB + g * 512);
    }
  r = get (map, 0);
  assert_int_equal (r->n, 1);
  assert_int_equal (r->run[0].where, GIB);
  vd_map_put (map, r);
  vd_map_free (map);
}

TEST (a_region_that_only_changes_is_dropped)
{
  struct vd_map *map = new_map (64 * MIB);
  const struct vd_region *held = get (map, 0), *r;
  struct vd_map_stats st;
  unsigned i;

  for (i = 0; i < 100; ++i)
    change (map, VD_ZERO, i * 512, 512, 0);
  vd_map_get_stats (map, &st);
  assert_int_equal (st.regions, 0);
  assert_int_equal (st.bytes, 0);
  assert_true (region_is_right (held)); /* what somebody got stays as it is */
  vd_map_put (map, held);
  r = get (map, 0);             /* the chain was not changed by this test */
  assert_true (region_is_right (r));
  vd_map_put (map, r);
  vd_map_free (map);
}

struct changer {
  struct vd_map *map;
  struct model *m;
  unsigned number;
};

#define CHANGERS 4u

static void *
run_changer (void *opaque)
{
  struct changer *c = opaque;
  struct mk_rng rng;
  unsigned i;

  mk_rng_seed (&rng, c->number);
  for (i = 0; i < 2000; ++i) {
    /* sectors by turns, in few regions, so that all change the same */
    const uint64_t s = mk_rng_below (&rng, 3 * 4096 / CHANGERS) * CHANGERS +
      c->number;
    const uint64_t where = i % 3 ? GIB + mk_rng_below (&rng, 9999) * 512 : 0;
    const struct vd_region *r;
    size_t run;

    change_model (c->m, s, 1, where);
    change (c->map, where ? VD_DATA : VD_ZERO, s * 512, 512, where);
    r = get (c->map, s * 512);
    run = vd_region_find (r, s * 512);
    if (!sector_is_right (c->m, r, run, s))
      return c;
    vd_map_put (c->map, r);
  }
  return NULL;
}

TEST (many_threads_change_the_same_regions)
{
  struct model *m = malloc (sizeof *m);
  struct vd_map *map = new_map (64 * MIB);
  struct changer c[CHANGERS];
  pthread_t thread[CHANGERS];
  void *wrong;
  uint64_t i;

  for (i = 0; i < SECTORS; ++i)
    m->where[i] = 1;
  expect_model (map, m);
  for (i = 0; i < CHANGERS; ++i) {
    c[i] = (struct changer) { .map = map, .m = m, .number = (unsigned) i };
    assert_int_equal (pthread_create (&thread[i], NULL, run_changer, &c[i]),
                      0);
  }
  for (i = 0; i < CHANGERS; ++i) {
    pthread_join (thread[i], &wrong);
    assert_null (wrong);
  }
  expect_model (map, m);
  vd_map_free (map);
  free (m);
}

/* ---- Changes of what is being computed ---- */

struct computing {
  struct gate *g;
  struct u_disk d;
  struct vd_map *map;
  struct asker a[3];
  pthread_t thread[3];
};

/* So many ask for region 0; one of them computes it, and has read its tables
 * when it is held up.
 */
static void
begin_computing (struct computing *c, unsigned n)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_link *link;
  unsigned i;

  c->g = new_gate (u_memory ("m.vmdk", image.mem.data, image.mem.size));
  link = u_link_file (&c->g->file, &opts);
  u_disk_open (&c->d, &link, 1, NULL, 16 * MIB);
  c->map = vd_reader_get_map (c->d.reader);
  shut_gate (c->g, true);
  for (i = 0; i < n; ++i) {
    c->a[i] = (struct asker) { .map = c->map };
    assert_int_equal (pthread_create (&c->thread[i], NULL, ask, &c->a[i]), 0);
  }
  pthread_mutex_lock (&c->g->lock);
  while (c->g->held == 0)
    pthread_cond_wait (&c->g->cond, &c->g->lock);
  pthread_mutex_unlock (&c->g->lock);
  usleep (50000);               /* the others begin to wait for it */
}

TEST (changes_wait_for_what_is_computed)
{
  struct computing c;
  struct vd_map_stats st;
  const struct vd_region *r;
  unsigned i;

  begin_computing (&c, 3);
  vd_map_get_stats (c.map, &st);
  assert_int_equal (st.misses, 1);
  change (c.map, VD_DATA, 512, 1024, GIB);
  change (c.map, VD_ZERO, 512, 512, 0);
  change (c.map, VD_ZERO, 4 * MIB, 512, 0);     /* of another region */
  shut_gate (c.g, false);
  for (i = 0; i < 3; ++i) {
    pthread_join (c.thread[i], NULL);
    r = c.a[i].region;
    assert_non_null (r);
    assert_ptr_equal (r, c.a[0].region);
    assert_int_equal (r->run[1].start, 512);
    assert_int_equal (r->run[1].kind, VD_ZERO);
    assert_int_equal (r->run[2].where, GIB + 512);
    vd_map_put (c.map, r);
  }
  vd_map_put (c.map, get (c.map, 0));
  vd_map_get_stats (c.map, &st);
  assert_int_equal (st.misses, 1);      /* it was kept */
  u_disk_close (&c.d);
}

/* Then it is for those only who asked before, with all that waited. */
TEST (too_many_changes_have_it_computed_anew)
{
  struct computing c;
  struct vd_map_stats st;
  unsigned i;

  begin_computing (&c, 1);
  for (i = 0; i < 1024; ++i)
    change (c.map, VD_ZERO, i * 512, 512, 0);
  vd_map_get_stats (c.map, &st);
  assert_int_equal (st.misses, 1);
  change (c.map, VD_ZERO, 1024 * 512, 512, 0);
  c.a[1] = (struct asker) { .map = c.map };
  assert_int_equal (pthread_create (&c.thread[1], NULL, ask, &c.a[1]), 0);
  pthread_mutex_lock (&c.g->lock);
  while (c.g->held < 2)
    pthread_cond_wait (&c.g->cond, &c.g->lock);
  pthread_mutex_unlock (&c.g->lock);
  shut_gate (c.g, false);
  for (i = 0; i < 2; ++i)
    pthread_join (c.thread[i], NULL);
  assert_int_equal (c.a[0].region->run[0].kind, VD_ZERO);
  assert_int_equal (vd_region_run_end (c.a[0].region, 0), 1024 * 512);
  assert_true (region_is_right (c.a[1].region));
  vd_map_put (c.map, c.a[0].region);
  vd_map_put (c.map, c.a[1].region);
  vd_map_get_stats (c.map, &st);
  assert_int_equal (st.misses, 2);
  assert_int_equal (st.regions, 1);
  u_disk_close (&c.d);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (regions_cover_the_disk_once),
    cmocka_unit_test (any_byte_finds_its_region_and_run),
    cmocka_unit_test (region_sizes_follow_the_smallest_grain),
    cmocka_unit_test (the_budget_is_kept),
    cmocka_unit_test (a_region_in_use_outlives_its_place),
    cmocka_unit_test (what_was_used_last_stays),
    cmocka_unit_test (eight_threads_get_the_same_answers),
    cmocka_unit_test (a_table_that_cannot_be_read_is_an_error_each_time),
    cmocka_unit_test (changes_agree_with_a_model),
    cmocka_unit_test (changes_in_a_row_are_one_run),
    cmocka_unit_test (a_region_that_only_changes_is_dropped),
    cmocka_unit_test (many_threads_change_the_same_regions),
    cmocka_unit_test (changes_wait_for_what_is_computed),
    cmocka_unit_test (too_many_changes_have_it_computed_anew),
  };

  return cmocka_run_group_tests (tests, setup, teardown);
}
