/* Compaction in place: what is read stays the same, the file gets as small as
 * it can, and the power may fail at any moment: of what was written since the
 * last flush any sectors may be there or not.
 */

#include <limits.h>

#include "unit.h"
#include "format/vdi.h"

#define CONTENT (MIB)           /* no disk here is larger */

/* ---- A disk whose power fails ------------------------------------------- */

struct op {
  enum { WRITE, CUT } kind;
  uint64_t offset;              /* or the size */
  size_t n;
  uint8_t *data;
};

struct power {
  struct vd_file file;
  uint8_t *now;                 /* what a reader sees */
  uint8_t *safe;                /* what was flushed */
  uint64_t safe_size;
  size_t room;
  struct op *ops;               /* since then */
  size_t nr_ops;
  unsigned left;                /* calls until it fails */
  unsigned calls;
  bool holes;                   /* can punch */
};

static int
tick (struct power *p, struct vd_err *err)
{
  p->calls++;
  if (p->left == 0)
    return vd_fail (err, VD_IO, "the power failed");
  p->left--;
  return 0;
}

static void
note (struct power *p, int kind, uint64_t offset, const void *data, size_t n)
{
  struct op *op;

  p->ops = realloc (p->ops, (p->nr_ops + 1) * sizeof *p->ops);
  assert_non_null (p->ops);
  op = &p->ops[p->nr_ops++];
  *op = (struct op) { .kind = kind, .offset = offset, .n = n };
  if (n > 0) {
    op->data = malloc (n);
    assert_non_null (op->data);
    memcpy (op->data, data, n);
  }
}

static int
p_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
         struct vd_err *err)
{
  (void) err;
  memcpy (buf, ((struct power *) f)->now + offset, n);
  return 0;
}

static int
p_pwrite (struct vd_file *f, const void *buf, size_t n, uint64_t offset,
          struct vd_err *err)
{
  struct power *p = (struct power *) f;

  note (p, WRITE, offset, buf, n);      /* a part of it may get there */
  if (tick (p, err) == -1)
    return -1;
  memcpy (p->now + offset, buf, n);
  return 0;
}

static int
p_zero (struct vd_file *f, uint64_t offset, uint64_t length,
        struct vd_err *err)
{
  struct power *p = (struct power *) f;
  uint8_t *zeros;
  int r;

  if (!p->holes)
    return 1;
  zeros = calloc (1, (size_t) length);
  assert_non_null (zeros);
  r = p_pwrite (f, zeros, (size_t) length, offset, err);
  free (zeros);
  return r;
}

static int
p_truncate (struct vd_file *f, uint64_t size, struct vd_err *err)
{
  struct power *p = (struct power *) f;

  note (p, CUT, size, NULL, 0);
  if (tick (p, err) == -1)
    return -1;
  assert_true (size <= f->size);
  return 0;
}

static void
forget (struct power *p)
{
  size_t i;

  for (i = 0; i < p->nr_ops; ++i)
    free (p->ops[i].data);
  free (p->ops);
  p->ops = NULL;
  p->nr_ops = 0;
}

static int
p_flush (struct vd_file *f, struct vd_err *err)
{
  struct power *p = (struct power *) f;

  if (tick (p, err) == -1)
    return -1;
  memcpy (p->safe, p->now, (size_t) f->size);
  p->safe_size = f->size;
  forget (p);
  return 0;
}

static const struct vd_file_ops power_ops = {
  .pread = p_pread, .pwrite = p_pwrite, .zero = p_zero, .flush = p_flush,
  .truncate = p_truncate,
};

static void
power_on (struct power *p, const void *data, size_t size, unsigned left,
          bool holes)
{
  *p = (struct power) {
    .file = { .ops = &power_ops, .name = (char *) "m", .size = size,
              .dev = 7, .ino = 7 },
    .now = malloc (size), .safe = malloc (size), .safe_size = size,
    .room = size, .left = left, .holes = holes,
  };
  assert_true (p->now && p->safe);
  memcpy (p->now, data, size);
  memcpy (p->safe, data, size);
}

/* What is found afterwards: each sector written since the last flush is there
 * with such a probability, in the order of writing.
 */
static void
power_off (struct power *p, struct mk_rng *rng, unsigned permille)
{
  size_t i, k, n;

  for (i = 0; i < p->nr_ops; ++i) {
    const struct op *op = &p->ops[i];

    if (op->kind == CUT) {
      if (mk_rng_chance (rng, permille))
        p->safe_size = op->offset;
      continue;
    }
    for (k = 0; k < op->n; k += n) {
      n = 512 - (size_t) ((op->offset + k) % 512);
      if (n > op->n - k)
        n = op->n - k;
      if (mk_rng_chance (rng, permille))
        memcpy (p->safe + op->offset + k, op->data + k, n);
    }
  }
  forget (p);
}

static void
power_free (struct power *p)
{
  forget (p);
  free (p->now);
  free (p->safe);
}

/* ---- Images ----------------------------------------------------------------- */

static struct vd_link *
open_link (const void *data, size_t size)
{
  static const struct vd_opts opts = { .headers = false };
  struct vd_file *f = u_memory ("m", data, size);

  f->dev = f->ino = 7;
  return u_link_file (f, &opts);
}

/* All bytes of the disk, and for each sector whether the parent is asked. */
struct content {
  uint64_t size;
  uint8_t data[CONTENT];
  bool parent[CONTENT / 512 + 1];
};

static void
read_all (struct content *c, const struct vd_link *link)
{
  const bool child = link->role == VD_ROLE_CHILD;
  struct vd_runs runs = VD_RUNS_INIT (100000);
  struct vd_err err;
  size_t i;
  uint64_t o;

  c->size = link->capacity;
  assert_true (c->size <= CONTENT);
  memset (c->data, 0, (size_t) c->size);
  memset (c->parent, 0, sizeof c->parent);
  if (vd_link_map (link, 0, c->size, 0, &runs, &err) == -1)
    fail_msg ("%s", err.msg);
  for (i = 0; i < runs.n; ++i) {
    const struct vd_run *r = &runs.run[i];

    assert_true (r->kind != VD_DAMAGED);
    if (r->kind == VD_DATA &&
        vd_file_pread (link->pieces[r->slot].image->file,
                       c->data + r->offset, (size_t) r->length, r->where,
                       &err) == -1)
      fail_msg ("%s", err.msg);
    for (o = r->offset; r->kind == VD_BASE && child && o < vd_run_end (r);
         o += 512)
      c->parent[o / 512] = true;
  }
  vd_runs_free (&runs);
}

static void
assert_same (const struct content *a, const struct content *b)
{
  assert_int_equal (a->size, b->size);
  assert_memory_equal (a->data, b->data, a->size);
  assert_memory_equal (a->parent, b->parent, sizeof a->parent);
}

/* Reads as before, and check finds nothing that it did not find before. */
static void
check_image (const struct content *expected, const void *data, size_t size,
             bool finished)
{
  static struct content c;
  struct vd_link *link = open_link (data, size);
  const struct vd_check_opts opts = { .memory = 65536 };
  struct vd_check_report report;
  struct vd_err err;

  read_all (&c, link);
  assert_same (expected, &c);
  assert_int_equal (vd_check_link (link, &opts, &report, &err), 0);
  if (report.errors > 0)
    fail_msg ("%s", report.kept[0].message);
  if (finished) {
    assert_int_equal (report.count[VD_CHECK_COPY_DIFFERS], 0);
    assert_int_equal (report.count[VD_CHECK_UNCLEAN], 0);
  }
  vd_check_report_free (&report);
  vd_link_close (link);
}

static void
check_count (const void *data, size_t size)
{
  struct vd_link *link = open_link (data, size);
  const struct vd_vdi_image *vdi = vd_vdi (link->pieces[0].image);
  const uint8_t *p = data;
  uint32_t i, e;

  for (i = 0; i < vdi->nr_blocks; ++i) {
    e = vd_le32 (p + vdi->map_offset + i * 4);
    if (e < VD_VDI_ZERO)
      assert_true (e < vd_le32 (p + vdi->count_offset));
  }
  vd_link_close (link);
}

/* Compact p->now; 0, or -1 if the power failed. */
static int
compact (struct power *p, bool dry_run, struct vd_compact_result *result)
{
  struct vd_link *link = open_link (p->now, (size_t) p->file.size);
  struct vd_file **files = calloc (link->nr_pieces, sizeof *files);
  const struct vd_compact_opts how = { .dry_run = dry_run, .batch = 20000 };
  struct vd_err err;
  int r;

  assert_non_null (files);
  files[0] = &p->file;
  r = vd_compact (link, files, &how, result, &err);
  if (r == -1 && !strstr (err.msg, "the power failed"))
    fail_msg ("%s", err.msg);
  free (files);
  vd_link_close (link);
  return r;
}

struct image {
  uint8_t *data;
  size_t size;
  bool counted;                 /* a VDI whose number of stored blocks is high
                                   enough: new blocks go there */
  bool tidy;                    /* places are all in line: the size that comes
                                   out is known */
  uint64_t dense;               /* this one, if not 0 */
};

/* One image: without an accident, and with many. */
static void
check_one (const struct image *m, struct mk_rng *rng, unsigned accidents)
{
  static struct content expected;
  struct vd_link *link = open_link (m->data, m->size);
  struct vd_compact_result plan, done, again;
  struct power p;
  unsigned calls, i;
  uint64_t size;

  read_all (&expected, link);
  vd_link_close (link);

  power_on (&p, m->data, m->size, 0, true);
  assert_int_equal (compact (&p, true, &plan), 0);
  assert_int_equal (p.calls, 0);
  power_free (&p);

  power_on (&p, m->data, m->size, UINT_MAX, mk_rng_chance (rng, 500));
  assert_int_equal (compact (&p, false, &done), 0);
  assert_int_equal (p.nr_ops, 0);
  check_image (&expected, p.now, (size_t) p.file.size, true);
  assert_int_equal (done.zeros, plan.zeros);
  assert_int_equal (done.moved, plan.moved);
  assert_int_equal (done.unused, plan.unused);
  assert_int_equal (done.kept, plan.kept);
  assert_int_equal (done.changed, plan.changed);
  assert_int_equal (done.size_after, plan.size_after);
  assert_int_equal (p.file.size, plan.size_after);
  assert_int_equal (m->size, plan.size_before);
  if (m->dense)
    assert_int_equal (p.file.size, m->dense);
  size = p.file.size;
  calls = p.calls;
  assert_int_equal (calls > 0, done.changed);
  if (m->tidy) {                /* nothing is left for a second run */
    assert_int_equal (compact (&p, false, &again), 0);
    assert_int_equal (again.zeros, 0);
    assert_int_equal (again.moved, 0);
    assert_int_equal (again.size_after, size);
  }
  power_free (&p);

  for (i = 0; i < accidents && calls > 0; ++i) {
    static const unsigned permille[] = { 0, 1000, 500, 900, 100 };
    unsigned more = 1 + (unsigned) mk_rng_below (rng, 3);
    uint8_t *data = malloc (m->size);
    size_t n = m->size;

    assert_non_null (data);
    memcpy (data, m->data, n);
    while (more-- > 0) {
      power_on (&p, data, n, (unsigned) mk_rng_below (rng, calls),
                mk_rng_chance (rng, 500));
      if (compact (&p, false, &again) == -1)
        power_off (&p, rng,
                   permille[mk_rng_below (rng, ARRAY_SIZE (permille))]);
      n = (size_t) p.safe_size;
      memcpy (data, p.safe, n);
      power_free (&p);
      check_image (&expected, data, n, false);
      if (m->counted)
        check_count (data, n);
    }
    power_on (&p, data, n, UINT_MAX, true);
    assert_int_equal (compact (&p, false, &again), 0);
    check_image (&expected, p.now, (size_t) p.file.size, true);
    if (m->counted)
      check_count (p.now, (size_t) p.file.size);
    if (m->tidy)
      assert_int_equal (p.file.size, size);
    else
      assert_true (p.file.size <= size);
    power_free (&p);
    free (data);
  }
}

/* ---- VDI --------------------------------------------------------------------- */

#define BLOCK UINT64_C (4096)

static void
put (uint8_t *p, unsigned n, uint64_t value)
{
  for (; n-- > 0; value >>= 8)
    *p++ = (uint8_t) value;
}

static void
random_vdi (struct image *m, struct mk_rng *rng)
{
  const bool v1 = mk_rng_chance (rng, 800), child = mk_rng_chance (rng, 500);
  const bool fixed = !child && mk_rng_chance (rng, 150);
  const uint64_t extra = v1 && mk_rng_chance (rng, 300) ? 512 : 0;
  const uint64_t blocks = 1 + mk_rng_below (rng, 60);
  const uint64_t spare = mk_rng_below (rng, 3);     /* of the map */
  const uint64_t places = blocks + mk_rng_below (rng, 10);
  const uint64_t map = v1 ? 0x200 : 0x1a4;
  const uint64_t data = map + (blocks + spare) * 4 + (v1 ? 77 : 0);
  const uint64_t step = BLOCK + extra;
  const unsigned zeros = (unsigned) mk_rng_below (rng, 1001);
  const unsigned stored = (unsigned) mk_rng_below (rng, 1001);
  uint64_t i, k, j, live = 0, top = 0;
  uint32_t *place = calloc (places, sizeof *place);

  memset (m, 0, sizeof *m);
  assert_non_null (place);
  m->size = (size_t) (data + places * step);
  m->data = malloc (m->size);
  assert_non_null (m->data);
  for (i = 0; i < m->size; ++i)
    m->data[i] = (uint8_t) mk_rng_next (rng);
  memset (m->data, 0, (size_t) map);
  for (i = 0; i < places; ++i)
    place[i] = (uint32_t) i;
  for (i = places; i > 1; --i) {
    k = mk_rng_below (rng, i);
    const uint32_t t = place[i - 1];
    place[i - 1] = place[k];
    place[k] = t;
  }

  put (m->data + 0x40, 4, 0xbeda107f);
  put (m->data + 0x44, 4, v1 ? 0x10001 : 2);
  put (m->data + (v1 ? 0x4c : 0x48), 4, child ? 4 : fixed ? 2 : 1);
  if (v1) {
    put (m->data + 0x48, 4, 0x190);
    put (m->data + 0x154, 4, map);
    put (m->data + 0x158, 4, data);
    put (m->data + 0x17c, 4, extra);
  }
  put (m->data + (v1 ? 0x170 : 0x160), 8, blocks * BLOCK - 512 * mk_rng_below
       (rng, 8));
  put (m->data + (v1 ? 0x178 : 0x168), 4, BLOCK);
  put (m->data + (v1 ? 0x180 : 0x16c), 4, blocks + spare);
  memset (m->data + (v1 ? 0x188 : 0x174), 0x33, 32);
  if (child)
    memset (m->data + (v1 ? 0x1a8 : 0x194), 0x44, 16);

  for (i = 0; i < blocks + spare; ++i) {
    uint32_t e = mk_rng_chance (rng, 300) ? 0xfffffffe : 0xffffffff;

    if (i < blocks && (fixed || mk_rng_chance (rng, stored))) {
      e = place[i];
      top = vd_max (top, e + 1);
      j = data + e * step + extra;
      if (mk_rng_chance (rng, zeros))
        memset (m->data + j, 0, BLOCK);
      else {
        if (mk_rng_chance (rng, 500)) /* one byte, anywhere in the disk */
          memset (m->data + j, 0, BLOCK);
        m->data[j + mk_rng_below (rng, 500)] = 1;
        live++;
      }
    }
    else if (i >= blocks)
      e = 0xffffffff;
    put (m->data + map + i * 4, 4, e);
  }
  /* The count may be wrong, and what no block uses at the end is cut. */
  m->counted = mk_rng_chance (rng, 500);
  put (m->data + (v1 ? 0x184 : 0x170), 4,
       m->counted ? top : mk_rng_below (rng, places + 1));
  if (mk_rng_chance (rng, 300))
    m->size = (size_t) (data + top * step);
  m->tidy = true;
  m->dense = data + (fixed ? blocks : live) * step;
  free (place);
}

TEST (vdi)
{
  struct mk_rng rng;
  struct image m;
  unsigned i;

  mk_rng_seed (&rng, 1);
  for (i = 0; i < 80; ++i) {
    random_vdi (&m, &rng);
    check_one (&m, &rng, 6);
    free (m.data);
  }
}

/* ---- KDMV -------------------------------------------------------------------- */

struct grains {
  uint64_t seed;
  uint32_t size;
  unsigned zeros;               /* permille */
};

static bool
is_zeros (const struct grains *g, uint64_t grain)
{
  return mk_hash (g->seed, grain) % 1000 < g->zeros;
}

static void
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  const struct grains *g = opaque;
  size_t i;

  for (i = 0; i < n; ++i) {
    const uint64_t o = offset + i;

    ((uint8_t *) buf)[i] = is_zeros (g, o / g->size) || o % g->size < 3 ? 0
      : (uint8_t) (1 + mk_hash (g->seed, o / 7) % 255);
  }
}

static void
random_kdmv (struct image *m, struct mk_rng *rng)
{
  const bool child = mk_rng_chance (rng, 500);
  const uint32_t size = 512u << mk_rng_below (rng, 4);
  const uint64_t grains = 1 + mk_rng_below (rng, 150);
  const bool easy = mk_rng_chance (rng, 400);
  struct mk_pattern pattern = {
    .seed = mk_rng_next (rng), .run = 1 + mk_rng_below (rng, 5),
    .fill = (unsigned) mk_rng_below (rng, 1001),
    .zero = mk_rng_chance (rng, 400) ? 200 : 0, .grains = grains,
  };
  struct grains g = {
    .seed = mk_rng_next (rng), .size = size,
    .zeros = (unsigned) mk_rng_below (rng, 1001),
  };
  struct mk_line line = { .type = "SPARSE", .name = "m", .offset = -1 };
  struct mk_descriptor d = {
    .lines = &line, .n_lines = 1, .cid = 5, .hint = child ? "p" : NULL,
    .parent_cid = child ? 4 : UINT32_MAX, .create_type = "monolithicSparse",
  };
  struct mk_spec spec = {
    .format = MK_KDMV, .grain_size = size,
    .capacity = grains * size - (size > 512 ? 512 * mk_rng_below (rng, size
                                                                  / 512) : 0),
    .map = mk_map_pattern (&pattern), .fill = { fill, &g },
    .seed = mk_rng_next (rng), .gtes = 16,
    .placement = (enum mk_placement) mk_rng_below (rng, 3),
    .round_capacity = mk_rng_chance (rng, 500),
    .flags_set = mk_rng_chance (rng, 300) ? 4 : 0,
    .no_redundant = mk_rng_chance (rng, 200),
  };
  struct u_image u;
  uint64_t live = 0;
  size_t i;

  if (!easy) {
    spec.tables = (enum mk_tables) mk_rng_below (rng, 4);
    spec.scatter_tables = mk_rng_chance (rng, 300);
    spec.unaligned = mk_rng_chance (rng, 300);
    spec.max_gap = mk_rng_chance (rng, 300) ? 20 : 0;
    spec.last = mk_rng_chance (rng, 500) ? MK_LAST_CUT : MK_LAST_JUNK;
    spec.slack = mk_rng_chance (rng, 300) ? 512 * mk_rng_below (rng, 99) : 0;
    spec.tight = mk_rng_chance (rng, 300);
  }
  line.sectors = spec.capacity / 512;
  spec.descriptor = mk_descriptor (&d, NULL);
  u_make (&u, &spec);
  free ((char *) spec.descriptor);

  *m = (struct image) {
    .data = u.mem.data, .size = u.mem.size, .tidy = easy,
  };
  for (i = 0; i < u.layout.n_grains; ++i)
    if (u.layout.grains[i].kind == MK_DATA &&
        (!is_zeros (&g, u.layout.grains[i].grain) ||
         (child && !(u_get (&u, 8, 4) & 4))))
      live++;
  if (easy)
    m->dense = u.layout.data_start + live * size;
  mk_layout_free (&u.layout);
}

TEST (kdmv)
{
  struct mk_rng rng;
  struct image m;
  unsigned i;

  mk_rng_seed (&rng, 2);
  for (i = 0; i < 150; ++i) {
    random_kdmv (&m, &rng);
    check_one (&m, &rng, 5);
    free (m.data);
  }
}

/* ---- Is it zeros? -------------------------------------------------------------- */

extern bool vd_is_zero (const void *buf, size_t n);

TEST (is_zero)
{
  uint8_t buf[300];
  size_t n, i;

  memset (buf, 0, sizeof buf);
  for (n = 0; n < sizeof buf; ++n) {
    buf[n] = 1;                 /* behind */
    assert_true (vd_is_zero (buf, n));
    buf[n] = 0;
    for (i = 0; i < n; ++i) {
      buf[i] = 0x80;
      assert_false (vd_is_zero (buf, n));
      buf[i] = 0;
    }
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (is_zero),
    cmocka_unit_test (vdi),
    cmocka_unit_test (kdmv),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
