/* Images drawn by chance: sound ones are clean, and in damaged ones a check
 * and a reader agree.
 */

#include "case.h"
#include "unit.h"

#define NR_CASES 150u
#define NR_DAMAGED 200u

static void
print_report (const struct vd_check_report *r)
{
  size_t i;

  for (i = 0; i < r->nr_kept; ++i)
    print_error ("%s %s: %s\n", vd_severity_name (r->kept[i].severity),
                 vd_check_kind_name (r->kept[i].kind), r->kept[i].message);
}

static struct vd_link *
open_file (const char *path)
{
  static const struct vd_opts opts = { .allow_dirty = true };
  struct vd_err err;
  struct vd_link *link = vd_link_open (path, &opts, &err);

  assert_opened (link, &err);
  return link;
}

static void
check (const struct vd_link *link, const struct vd_check_opts *opts,
       struct vd_check_report *r)
{
  struct vd_err err;

  if (vd_check_link (link, opts, r, &err) == -1)
    fail_msg ("%s", err.msg);
}

/* Two reports say the same. */
static void
assert_same (const struct vd_check_report *a, const struct vd_check_report *b)
{
  size_t i;

  assert_int_equal (a->nr_lost, b->nr_lost);
  assert_int_equal (a->lost_bytes, b->lost_bytes);
  for (i = 0; i < a->nr_lost; ++i) {
    assert_int_equal (a->lost[i].offset, b->lost[i].offset);
    assert_int_equal (a->lost[i].length, b->lost[i].length);
  }
  for (i = 0; i < VD_CHECK_NR_KINDS; ++i)
    switch (i) {
    case VD_CHECK_TABLE_OVERLAP:
    case VD_CHECK_GRAIN_OVERLAP:
    case VD_CHECK_COPY_OVERLAP: /* one may be seen in several windows */
      assert_true (a->count[i] <= b->count[i]);
      assert_true (a->count[i] > 0 || b->count[i] == 0);
      break;
    default:
      assert_int_equal (a->count[i], b->count[i]);
    }
}

/* ---- Sound images --------------------------------------------------------- */

/* What a drawn link may give: what was drawn. */
static void
check_drawn (const struct mk_case_link *link, uint64_t seed)
{
  const struct vd_check_opts opts = { .inflate = true };
  uint64_t unclean = 0, flags = 0, unaligned = 0, no_backmap = 0;
  struct vd_check_report r;
  struct vd_link *l = open_file (link->name);
  size_t i;

  for (i = 0; i < link->n; ++i) {
    const struct mk_spec *s = &link->piece[i].spec;

    unclean += s->unclean;
    flags += (s->flags_set & 8) != 0;
    unaligned += s->unaligned || s->tight || s->tables == MK_TABLES_MIXED;
    no_backmap += s->no_backmap;
  }
  check (l, &opts, &r);
  if (r.errors > 0 || r.warnings != unclean ||
      r.count[VD_CHECK_UNCLEAN] != unclean ||
      r.count[VD_CHECK_FLAGS] != flags ||
      (r.count[VD_CHECK_UNALIGNED] > 0 && unaligned == 0) ||
      (r.count[VD_CHECK_BITMAP] > 0 && no_backmap == 0) ||
      (r.count[VD_CHECK_BACKMAP] > 0 && no_backmap == 0)) {
    print_error ("seed %u, %s: %u warnings, %u of them drawn\n",
                 (unsigned) seed, link->name, (unsigned) r.warnings,
                 (unsigned) unclean);
    print_report (&r);
    fail ();
  }
  assert_int_equal (r.nr_lost, 0);
  vd_check_report_free (&r);
  vd_link_close (l);
}

TEST (what_was_drawn_is_clean)
{
  struct mk_case *c;
  uint64_t seed;
  size_t k;

  for (seed = 1; seed <= NR_CASES; ++seed) {
    c = mk_random_case (seed);
    assert_int_equal (mk_case_write (c, "."), 0);
    for (k = 0; k < c->n; ++k)
      check_drawn (&c->link[k], seed);
    mk_case_free (c);
    assert_int_equal (system ("rm -f *.vmdk *.raw"), 0);
  }
}

/* ---- Damaged images ------------------------------------------------------- */

static struct mk_content content = { .seed = 3, .layer = 1 };

static void
draw_spec (struct mk_rng *rng, struct mk_pattern *pattern,
           struct mk_spec *spec)
{
  static const uint32_t grain[] = { 0, 1024, 4096, 4096, 4096 };
  const enum mk_format f = (enum mk_format) (1 + mk_rng_below (rng, 4));

  *pattern = (struct mk_pattern) {
    .seed = mk_rng_next (rng), .run = 1 + mk_rng_below (rng, 4),
    .fill = 600, .zero = f == MK_COWD ? 0 : 100,
  };
  *spec = (struct mk_spec) {
    .format = f, .grain_size = grain[f],
    .capacity = 512 * (100 + mk_rng_below (rng, 1000)),
    .map = mk_map_pattern (pattern), .fill = mk_fill_content (&content),
    .seed = mk_rng_next (rng), .gtes = 16,
    .placement = f == MK_STREAM ? MK_IN_ORDER : MK_SCATTERED,
    .no_redundant = mk_rng_chance (rng, 500),
    .style = (enum mk_stream_style) mk_rng_below (rng, 3),
    .last = mk_rng_chance (rng, 500) ? MK_LAST_CUT : MK_LAST_ZEROS,
  };
}

/* A few entries of directory and tables get other values; or the file ends
 * early, or the content of a grain changes.
 */
static void
damage (struct mk_rng *rng, struct u_image *m)
{
  const bool wide = m->spec.format == MK_SESPARSE;
  const unsigned bytes = wide ? 8 : 4;
  const uint64_t sectors = m->mem.size / 512;
  uint64_t n = 1 + mk_rng_below (rng, 4), value;

  for (; n > 0 && m->layout.n_grains > 0; --n) {
    const struct mk_where *w
      = &m->layout.grains[mk_rng_below (rng, m->layout.n_grains)];
    const struct mk_table *t = &m->layout.tables[w->table];
    const uint64_t off = mk_rng_chance (rng, 200) ? t->gde : w->gte;

    switch (mk_rng_below (rng, 4)) {
    case 0: value = mk_rng_below (rng, 3); break;
    case 1: value = mk_rng_below (rng, sectors); break;
    case 2: value = sectors - mk_rng_below (rng, 10); break;
    default: value = mk_rng_next (rng); break;
    }
    if (wide && mk_rng_chance (rng, 700))
      value = (off == t->gde ? UINT64_C (1) : UINT64_C (3)) << 60
        | (value & 0xff) << (off == t->gde ? 0 : 48);
    u_put (m, off, bytes, value);
  }
  if (m->spec.format == MK_STREAM && m->layout.n_grains > 0) {
    const struct mk_where *w
      = &m->layout.grains[mk_rng_below (rng, m->layout.n_grains)];

    if (w->data > 0)
      u_put (m, w->data + mk_rng_below (rng, 40), 1,
             mk_rng_below (rng, 256));
  }
  if (mk_rng_chance (rng, 300))
    m->mem.size -= mk_rng_below (rng, m->mem.size / 4);
}

static bool
is_lost (const struct vd_check_report *r, uint64_t offset)
{
  size_t i;

  for (i = 0; i < r->nr_lost; ++i)
    if (offset >= r->lost[i].offset &&
        offset < r->lost[i].offset + r->lost[i].length)
      return true;
  return false;
}

static bool
has_doubtful (const struct vd_check_report *r)
{
  return r->count[VD_CHECK_GRAIN_OVERLAP] + r->count[VD_CHECK_TABLE_OVERLAP] +
    r->count[VD_CHECK_GRAIN_IN_METADATA] +
    r->count[VD_CHECK_TABLE_IN_METADATA] > 0;
}

/* Each piece is lost if, and unless there are places with two owners only
 * if, it cannot be read.  Returns how many cannot.  Pieces are sectors.
 */
static unsigned
compare_with_reads (struct vd_link *link, const struct vd_check_report *r)
{
  struct u_disk d;
  struct vd_err err;
  static uint8_t buf[512];
  const uint64_t step = 512;
  uint64_t offset;
  unsigned n = 0;

  u_disk_open (&d, &link, 1, NULL, VD_MAP_DEFAULT_BUDGET);
  for (offset = 0; offset < link->capacity; offset += step) {
    const size_t len = (size_t) vd_min (step, link->capacity - offset);
    const bool bad
      = vd_read (d.reader, &d.base, buf, len, offset, &err) == -1;

    n += bad;
    if (bad && !is_lost (r, offset))
      fail_msg ("byte %llu is not found lost: %s",
                (unsigned long long) offset, err.msg);
    if (!bad && !has_doubtful (r) && is_lost (r, offset)) {
      print_report (r);
      fail_msg ("byte %llu can be read", (unsigned long long) offset);
    }
  }
  u_disk_close (&d);
  return n;
}

static void
damaged_case (uint64_t seed, unsigned *opened, unsigned *hurt)
{
  struct vd_check_opts opts = { .inflate = true };
  const struct vd_opts open = { .allow_dirty = true };
  struct vd_check_report r, small;
  struct mk_pattern pattern;
  struct u_image m;
  struct mk_spec spec;
  struct mk_rng rng;
  struct vd_err err;
  struct vd_image *image;
  struct vd_link *link;

  mk_rng_seed (&rng, seed);
  draw_spec (&rng, &pattern, &spec);
  u_make (&m, &spec);
  damage (&rng, &m);
  image = u_open (&m, &open, &err);
  vd_image_close (image);
  if (image) {
    ++*opened;
    link = u_link (&m);
    check (link, &opts, &r);
    /* many windows find what one does */
    opts.memory = 8;
    check (link, &opts, &small);
    if (r.count[VD_CHECK_STREAM_UNUSED] == 0)
      assert_same (&r, &small);
    vd_check_report_free (&small);
    *hurt += compare_with_reads (link, &r) > 0; /* closes the link */
    vd_check_report_free (&r);
  }
  u_free (&m);
}

TEST (check_and_read_agree)
{
  unsigned opened = 0, hurt = 0;
  uint64_t seed;

  for (seed = 1; seed <= NR_DAMAGED; ++seed)
    damaged_case (seed, &opened, &hurt);
  /* the test is about something */
  assert_true (opened > NR_DAMAGED / 2);
  assert_true (hurt > NR_DAMAGED / 4);
}

/* ---- Chains --------------------------------------------------------------- */

static enum mk_kind
all_data (void *opaque, uint64_t grain)
{
  (void) opaque, (void) grain;
  return MK_DATA;
}

static enum mk_kind
first_half (void *opaque, uint64_t grain)
{
  (void) opaque;
  return grain < 8 ? MK_DATA : MK_HOLE;
}

/* The lower link has lost grains 6 to 9; the upper one holds 0 to 7. */
TEST (chain_shows_what_is_seen)
{
  const struct vd_check_opts opts = { .inflate = true };
  const struct vd_opts open = { .allow_dirty = false };
  struct mk_spec spec = {
    .format = MK_COWD, .capacity = 16 * 512, .grain_size = 512,
    .map = { .kind = all_data }, .fill = mk_fill_content (&content),
  };
  struct vd_check_report links[2], whole;
  struct vd_link *link[2];
  struct u_image m[2];
  struct vd_chain *chain;
  struct vd_err err;
  unsigned i;

  u_make (&m[0], &spec);
  spec.map.kind = first_half;
  u_make (&m[1], &spec);
  for (i = 6; i < 10; ++i)
    u_put (&m[0], u_grain (&m[0], i)->gte, 4, 99999);
  for (i = 0; i < 2; ++i)
    link[i] = u_link (&m[i]);
  chain = vd_chain_new (link, 2, &open, &err);
  assert_opened (chain, &err);
  assert_int_equal (vd_check_chain (chain, &opts, links, &whole, &err), 0);
  assert_int_equal (links[0].errors, 0);
  assert_int_equal (links[1].errors, 4);
  assert_int_equal (links[1].lost_bytes, 4 * 512);
  assert_int_equal (whole.errors, 0);
  assert_int_equal (whole.nr_lost, 1);
  assert_int_equal (whole.lost[0].offset, 8 * 512);
  assert_int_equal (whole.lost_bytes, 2 * 512);
  vd_check_report_free (&whole);
  vd_chain_free (chain);
  for (i = 0; i < 2; ++i) {
    vd_check_report_free (&links[i]);
    vd_link_close (link[i]);
    u_free (&m[i]);
  }
}

/* A failing disk: what cannot be read is found, and the rest is checked. */
TEST (tables_that_cannot_be_read)
{
  const struct vd_check_opts opts = { .inflate = true };
  const struct vd_opts open = { .allow_dirty = false };
  struct mk_spec spec = {
    .format = MK_KDMV, .capacity = 64 * 4096, .grain_size = 4096, .gtes = 16,
    .no_redundant = true, .map = { .kind = all_data },
    .fill = mk_fill_content (&content),
  };
  struct vd_check_report r;
  struct vd_link *link;
  struct u_image m;
  struct u_spy *spy;

  u_make (&m, &spec);
  spy = u_spy (u_memory ("m.vmdk", m.mem.data, m.mem.size));
  link = u_link_file (&spy->file, &open);
  spy->bad = m.layout.tables[1].gt;
  spy->bad_end = spy->bad + 64;
  check (link, &opts, &r);
  assert_int_equal (r.errors, 1);
  assert_int_equal (r.count[VD_CHECK_READ], 1);
  assert_int_equal (r.grains, 48);
  assert_int_equal (r.lost[0].offset, 16 * 4096);
  assert_int_equal (r.lost_bytes, 16 * 4096);
  assert_text (r.kept[0].message, "on purpose");
  vd_check_report_free (&r);
  vd_link_close (link);
  u_free (&m);
}

/* The lists stay short, and the totals stay right. */
TEST (lost_ranges_are_bounded)
{
  const struct vd_check_opts opts = { .inflate = true };
  struct mk_pattern pattern = { .run = 1, .alternate = true };
  struct mk_spec spec = {
    .format = MK_COWD, .capacity = UINT64_C (512) * 300000, .grain_size = 512,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  struct vd_check_report r;
  struct vd_link *link;
  struct u_image m;
  size_t i;

  u_make (&m, &spec);
  for (i = 0; i < m.layout.n_grains; ++i)
    u_put (&m, m.layout.grains[i].gte, 4, UINT32_MAX);
  link = u_link (&m);
  check (link, &opts, &r);
  assert_int_equal (r.errors, m.layout.n_grains);
  assert_true (m.layout.n_grains > VD_CHECK_MAX_RANGES);
  assert_int_equal (r.nr_lost, VD_CHECK_MAX_RANGES);
  assert_true (r.more_lost);
  assert_int_equal (r.lost_bytes, 512 * m.layout.n_grains);
  assert_int_equal (r.nr_kept, 10);
  vd_check_report_free (&r);
  vd_link_close (link);
  u_free (&m);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (what_was_drawn_is_clean),
    cmocka_unit_test (check_and_read_agree),
    cmocka_unit_test (chain_shows_what_is_seen),
    cmocka_unit_test (tables_that_cannot_be_read),
    cmocka_unit_test (lost_ranges_are_bounded),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
