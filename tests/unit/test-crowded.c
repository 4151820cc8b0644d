/* Many at once, and lists that are full: more readers than the buffers that
 * are kept, regions of one shard computed at the same time, answers longer
 * than their list in front of a table that cannot be read.
 */

#include <pthread.h>

#include "unit.h"

/* ---- Readers ------------------------------------------------------------- */

#define NR_READERS 24u          /* more than MAX_IDLE_SCRATCH of reader.c */

struct gate {
  struct vd_file file;
  pthread_barrier_t barrier;
};

/* Nobody comes back before all are here. */
static int
gate_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  (void) offset, (void) err;
  pthread_barrier_wait (&((struct gate *) f)->barrier);
  memset (buf, 'g', n);
  return 0;
}

static const struct vd_file_ops gate_ops = { .pread = gate_pread };

static void *
read_one (void *opaque)
{
  struct u_disk *d = opaque;
  uint8_t buf[4096];
  struct vd_err err;

  return vd_read (d->reader, &d->base, buf, sizeof buf, 0, &err) == 0 &&
    buf[0] == 'g' && buf[4095] == 'g' ? opaque : NULL;
}

TEST (more_readers_than_buffers)
{
  struct mk_pattern pattern = { .run = 1, .fill = 0 };
  struct mk_content content = { .seed = 1 };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = MIB, .grain_size = 512,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  struct gate g = { .file = { .ops = &gate_ops, .name = (char *) "base",
                              .size = MIB } };
  pthread_t thread[NR_READERS];
  struct u_image m;
  struct u_disk d;
  unsigned round, i;
  void *ok;

  u_make (&m, &spec);
  pthread_barrier_init (&g.barrier, NULL, NR_READERS);
  u_disk_open_one (&d, &m, &g.file);
  for (round = 0; round < 3; ++round) {
    for (i = 0; i < NR_READERS; ++i)
      assert_int_equal (pthread_create (&thread[i], NULL, read_one, &d), 0);
    for (i = 0; i < NR_READERS; ++i) {
      assert_int_equal (pthread_join (thread[i], &ok), 0);
      assert_non_null (ok);
    }
  }
  u_disk_close (&d);
  pthread_barrier_destroy (&g.barrier);
  u_free (&m);
}

/* ---- Regions ------------------------------------------------------------- */

/* The first one to come here is held until the second has come too, the
 * second until the first has its answer.
 */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  unsigned arrived;
  bool first_done;
} order = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false };

struct slow { struct vd_file file; const struct u_image *m; bool hold; };

static int
slow_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  const struct slow *s = (struct slow *) f;

  (void) err;
  if (s->hold) {
    pthread_mutex_lock (&order.lock);
    if (order.arrived < 2) {
      const bool first = order.arrived++ == 0;

      pthread_cond_broadcast (&order.cond);
      while (first ? order.arrived < 2 : !order.first_done)
        pthread_cond_wait (&order.cond, &order.lock);
    }
    pthread_mutex_unlock (&order.lock);
  }
  memset (buf, 0, n);
  if (offset < s->m->mem.size)
    memcpy (buf, s->m->mem.data + offset,
            (size_t) vd_min (n, s->m->mem.size - offset));
  return 0;
}

static const struct vd_file_ops slow_ops = { .pread = slow_pread };

struct wanted { struct vd_map *map; uint64_t offset; };

static void *
get_region (void *opaque)
{
  const struct wanted *w = opaque;
  struct vd_err err;
  const struct vd_region *r = vd_map_get (w->map, w->offset, NULL, &err);

  if (!r || r->offset != w->offset)
    return NULL;
  vd_map_put (w->map, r);
  return opaque;
}

TEST (two_regions_of_one_shard)
{
  struct mk_pattern pattern = { .seed = 1, .run = 3, .fill = 20 };
  struct mk_content content = { .flavour = MK_ZEROS };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = 40 * MIB, .grain_size = 512,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  static struct slow s;
  struct vd_link *link;
  struct vd_chain *chain;
  struct wanted w[2];
  pthread_t thread[2];
  struct vd_opts opts = { .ignore_cid = true };
  struct u_image m;
  struct vd_err err;
  void *ok;
  unsigned i;

  u_make (&m, &spec);
  s = (struct slow) { .file = { .ops = &slow_ops, .name = strdup ("s"),
                                .size = m.mem.size }, .m = &m };
  link = u_link_file (&s.file, &opts);
  chain = vd_chain_new (&link, 1, &opts, &err);
  assert_opened (chain, &err);
  w[0].map = w[1].map = vd_map_new (chain, VD_MAP_DEFAULT_BUDGET, &err);
  assert_opened (w[0].map, &err);
  w[0].offset = 0;
  w[1].offset = 16 * vd_map_region_size (w[0].map);
  assert_true (w[1].offset < chain->size);
  s.hold = true;
  for (i = 0; i < 2; ++i) {
    assert_int_equal (pthread_create (&thread[i], NULL, get_region, &w[i]), 0);
    pthread_mutex_lock (&order.lock);
    while (order.arrived <= i)
      pthread_cond_wait (&order.cond, &order.lock);
    pthread_mutex_unlock (&order.lock);
  }
  assert_int_equal (pthread_join (thread[0], &ok), 0);
  assert_non_null (ok);
  pthread_mutex_lock (&order.lock);
  order.first_done = true;
  pthread_cond_broadcast (&order.cond);
  pthread_mutex_unlock (&order.lock);
  assert_int_equal (pthread_join (thread[1], &ok), 0);
  assert_non_null (ok);
  vd_map_free (w[0].map);
  vd_chain_free (chain);
  vd_link_close (link);
  free (s.file.name);
  u_free (&m);
}

/* ---- Full lists ---------------------------------------------------------- */

#define GRAIN 512u
#define TABLE (2 * MIB)         /* what a table of COWD covers then */
#define SIZE (3 * TABLE)
#define NR (SIZE / GRAIN)

static uint8_t kinds[2][NR];

static struct vd_link *
link_of (struct u_image *m, unsigned n, struct u_spy **spy)
{
  static struct mk_array array[2];
  static struct mk_content content = { .seed = 1 };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = SIZE, .grain_size = GRAIN,
    .tables = MK_TABLES_ALL, .map = mk_map_array (&array[n]),
    .fill = mk_fill_content (&content),
  };
  const struct vd_opts opts = { .ignore_cid = true };

  array[n] = (struct mk_array) { kinds[n], NR };
  u_make (m, &spec);
  *spy = u_spy (u_memory ("m.vmdk", m->mem.data, m->mem.size));
  return u_link_file (&(*spy)->file, &opts);
}

/* The middle table of the lower link cannot be read, which nobody needs: the
 * upper one has all of it.  Whatever the length of the list, the same is said.
 */
TEST (full_lists)
{
  const struct vd_opts opts = { .ignore_cid = true };
  struct u_image m[2];
  struct u_spy *spy[2];
  struct vd_link *links[2];
  struct vd_chain *chain;
  struct vd_err err;
  unsigned max, i;
  uint64_t at;

  for (i = 0; i < NR; ++i) {
    const uint64_t o = i * (uint64_t) GRAIN;

    /* below: holes and data in front, behind it every second grain */
    kinds[0][i] = (o < TABLE ? o / (MIB / 2) % 2 : o < 2 * TABLE || i % 2)
      ? MK_DATA : MK_HOLE;
    kinds[1][i] = o >= TABLE && o < 2 * TABLE ? MK_DATA
      : o >= 2 * TABLE + MIB && i % 5 == 0 ? MK_DATA : MK_HOLE;
  }
  links[0] = link_of (&m[0], 0, &spy[0]);
  links[1] = link_of (&m[1], 1, &spy[1]);
  chain = vd_chain_new (links, 2, &opts, &err);
  assert_opened (chain, &err);
  for (i = 0; i < m[0].layout.n_tables; ++i)
    if (m[0].layout.tables[i].index == 1) {
      spy[0]->bad = m[0].layout.tables[i].gt;
      spy[0]->bad_end = spy[0]->bad + 16384;
    }
  assert_true (spy[0]->bad > 0);

  for (max = 1; max <= 12; ++max)
    for (at = 0; at < SIZE; ) {
      struct vd_runs runs = VD_RUNS_INIT (max);
      const uint64_t start = at;
      size_t k;

      if (vd_chain_map (chain, at, SIZE - at, &runs, &err) == -1)
        fail_msg ("max %u, byte %llu: %s", max, (unsigned long long) at,
                  err.msg);
      assert_true (runs.n > 0 && runs.n <= max);
      for (k = 0; k < runs.n; ++k) {
        const struct vd_run *r = &runs.run[k];
        uint64_t o;

        assert_int_equal (r->offset, at);
        for (o = at; o < vd_run_end (r); o += GRAIN) {
          const bool upper = kinds[1][o / GRAIN] == MK_DATA;
          const bool lower = kinds[0][o / GRAIN] == MK_DATA;

          assert_int_equal (r->kind, upper || lower ? VD_DATA : VD_BASE);
          if (r->kind == VD_DATA)
            assert_int_equal (r->slot, upper ? chain->first_slot[0]
                              : chain->first_slot[1]);
        }
        at = vd_run_end (r);
      }
      vd_runs_free (&runs);
      /* long enough to have seen all kinds of ends */
      if (at - start < 4 * GRAIN * max && at > 2 * TABLE + 100 * KIB)
        at = vd_min (SIZE, vd_round_down (at, GRAIN) + 50 * KIB);
    }
  vd_chain_free (chain);
  for (i = 0; i < 2; ++i) {
    vd_link_close (links[i]);
    u_free (&m[i]);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (more_readers_than_buffers),
    cmocka_unit_test (two_regions_of_one_shard),
    cmocka_unit_test (full_lists),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
