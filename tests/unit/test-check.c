/* One poke for each kind of damage, and exactly the findings that it must
 * give.
 */

#include "unit.h"

static struct mk_content content = { .seed = 5, .layer = 1 };

/* A map of 40 grains: all but every fourth, in runs of three. */
#define NR_GRAINS 40u
static enum mk_kind
kind_of (void *opaque, uint64_t grain)
{
  (void) opaque;
  return grain % 4 != 3 ? MK_DATA : MK_HOLE;
}

static struct mk_spec
spec_of (enum mk_format format)
{
  const uint32_t grain = format == MK_COWD ? 1024 : 4096;

  return (struct mk_spec) {
    .format = format, .capacity = NR_GRAINS * (uint64_t) grain,
    .grain_size = grain, .map = { .kind = kind_of },
    .fill = mk_fill_content (&content), .gtes = 16,
  };
}

static void
make (struct u_image *m, enum mk_format format)
{
  const struct mk_spec spec = spec_of (format);

  u_make (m, &spec);
}

static const struct vd_check_opts usual = { .inflate = true };

static void
check_opened (const struct u_image *m, const struct vd_opts *open,
              const struct vd_check_opts *opts,
              struct vd_check_report *report)
{
  struct vd_link *link
    = u_link_file (u_memory ("m.vmdk", m->mem.data, m->mem.size), open);
  struct vd_err err;

  if (vd_check_link (link, opts, report, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_link_close (link);
}

static void
check_opts (const struct u_image *m, const struct vd_check_opts *opts,
            struct vd_check_report *report)
{
  const struct vd_opts open = { .allow_dirty = true };

  check_opened (m, &open, opts, report);
}

static void
print_report (const struct vd_check_report *r)
{
  size_t i;

  for (i = 0; i < r->nr_kept; ++i)
    print_error ("%s %s at %llu [%llu+%llu): %s\n",
                 vd_severity_name (r->kept[i].severity),
                 vd_check_kind_name (r->kept[i].kind),
                 (unsigned long long) r->kept[i].place,
                 (unsigned long long) r->kept[i].offset,
                 (unsigned long long) r->kept[i].length, r->kept[i].message);
}

/* One finding, and this. */
static void
expect_one (const struct u_image *m, enum vd_check_kind kind, uint64_t place,
            uint64_t offset, uint64_t length, const char *part)
{
  struct vd_check_report r;
  const struct vd_finding *f;

  check_opts (m, &usual, &r);
  f = r.kept;
  if (r.errors + r.warnings + r.infos != 1 || f->kind != kind ||
      f->place != place || f->offset != offset || f->length != length) {
    print_error ("expected %s at %llu [%llu+%llu), got:\n",
                 vd_check_kind_name (kind), (unsigned long long) place,
                 (unsigned long long) offset, (unsigned long long) length);
    print_report (&r);
    fail ();
  }
  assert_int_equal (r.count[kind], 1);
  assert_text (f->message, part);
  assert_text (f->message, "m.vmdk");
  assert_string_equal (f->file, "m.vmdk");
  if (f->severity == VD_SEV_ERROR) {
    struct vd_err err;

    assert_int_equal (r.errors, 1);
    assert_int_equal (vd_check_result (&r, &err), -1);
    assert_string_equal (err.msg, f->message);
    if (length > 0) {
      assert_int_equal (r.nr_lost, 1);
      assert_int_equal (r.lost[0].offset, offset);
      assert_int_equal (r.lost[0].length, length);
    }
    assert_int_equal (r.lost_bytes, length);
  }
  else {
    assert_int_equal (vd_check_result (&r, NULL), 0);
    assert_int_equal (r.nr_lost, 0);
    assert_int_equal (r.lost_bytes, 0);
  }
  vd_check_report_free (&r);
}

/* Poke one field, expect one finding, put it back. */
static void
poke (struct u_image *m, uint64_t off, unsigned bytes, uint64_t value,
      enum vd_check_kind kind, uint64_t place, uint64_t offset,
      uint64_t length, const char *part)
{
  const uint64_t old = u_get (m, off, bytes);

  u_put (m, off, bytes, value);
  expect_one (m, kind, place, offset, length, part);
  u_put (m, off, bytes, old);
}

static void
expect_clean (const struct u_image *m)
{
  struct vd_check_report r;

  check_opts (m, &usual, &r);
  if (r.errors + r.warnings + r.infos > 0) {
    print_report (&r);
    fail ();
  }
  vd_check_report_free (&r);
}

TEST (clean_images_are_clean)
{
  struct u_image m;
  int f, style;

  for (f = MK_COWD; f <= MK_SESPARSE; ++f)
    for (style = 0; style < 3; ++style) {
      struct mk_spec spec = spec_of ((enum mk_format) f);

      spec.style = (enum mk_stream_style) style;
      spec.progress = style == 1 ? 500 : 0;
      spec.placement = (enum mk_placement) style;
      u_make (&m, &spec);
      expect_clean (&m);
      u_free (&m);
    }
}

TEST (entries_out_of_the_file)
{
  struct u_image m;
  int f;

  for (f = MK_COWD; f <= MK_KDMV; ++f) {
    struct mk_spec spec = spec_of ((enum mk_format) f);
    const struct mk_where *w;
    const struct mk_table *t;
    uint64_t table;

    spec.no_redundant = true;
    u_make (&m, &spec);
    w = u_grain (&m, 17);
    t = &m.layout.tables[0];
    table = f == MK_COWD ? m.spec.capacity : 16 * 4096;
    poke (&m, w->gte, 4, m.mem.size / 512, VD_CHECK_GRAIN_OUTSIDE, w->gte,
          17 * spec.grain_size, spec.grain_size, "grain 17");
    poke (&m, w->gte, 4, UINT32_MAX, VD_CHECK_GRAIN_OUTSIDE, w->gte,
          17 * spec.grain_size, spec.grain_size, "sector 4294967295");
    poke (&m, t->gde, 4, m.mem.size / 512, VD_CHECK_TABLE_OUTSIDE, t->gde, 0,
          table, "grain table 0");
    u_free (&m);
  }
}

TEST (grain_with_its_end_missing)
{
  struct mk_spec spec = spec_of (MK_COWD);
  struct u_image m;
  const struct mk_where *w;

  spec.slack = 512;
  u_make (&m, &spec);
  u_put (&m, MK_COWD_FREESECTOR, 4, m.mem.size / 512);
  w = u_grain (&m, 5);
  poke (&m, w->gte, 4, m.mem.size / 512 - 1, VD_CHECK_GRAIN_TRUNCATED, w->gte,
        5 * 1024 + 512, 512, "512 of 1024");
  u_free (&m);
}

TEST (entries_into_the_metadata)
{
  struct mk_spec spec = spec_of (MK_KDMV);
  struct u_image m;
  const struct mk_where *w;

  make (&m, MK_COWD);
  w = u_grain (&m, 5);
  poke (&m, w->gte, 4, 4, VD_CHECK_GRAIN_IN_METADATA, w->gte, 5 * 1024, 1024,
        "into the metadata");
  poke (&m, m.layout.gd, 4, 2, VD_CHECK_TABLE_IN_METADATA, m.layout.gd, 0,
        m.spec.capacity, "sector 2");
  u_free (&m);

  spec.no_redundant = true;
  u_make (&m, &spec);
  w = u_grain (&m, 5);
  poke (&m, w->gte, 4, 2, VD_CHECK_GRAIN_IN_METADATA, w->gte, 5 * 4096, 4096,
        "into the metadata");
  poke (&m, w->gte, 4, 1, VD_CHECK_GRAIN_BAD, w->gte, 5 * 4096, 4096,
        "zeroed-grain flag");
  /* where the directory is */
  poke (&m, m.layout.tables[1].gde, 4, m.layout.gd / 512,
        VD_CHECK_TABLE_IN_METADATA, m.layout.tables[1].gde, 16 * 4096,
        16 * 4096, "lies in the grain directory");
  u_free (&m);

  /* overHead lies: then the areas tell */
  spec.no_redundant = false;
  spec.grain_size = 512;
  u_make (&m, &spec);
  w = u_grain (&m, 5);
  u_put (&m, MK_KDMV_OVERHEAD, 8, 1);
  u_put (&m, w->rgte, 4, m.layout.gd / 512);
  poke (&m, w->gte, 4, m.layout.gd / 512, VD_CHECK_GRAIN_IN_METADATA, w->gte,
        5 * 512, 512, "lies in the grain directory");
  u_free (&m);
}

/* Grains 5 and 17 are one: both are doubtful. */
TEST (two_owners_of_a_grain)
{
  static const unsigned entry[] = { 0, 4, 4, 4, 8 };
  struct u_image m;
  struct vd_check_report r;
  int f;

  for (f = MK_COWD; f <= MK_SESPARSE; ++f) {
    struct mk_spec spec = spec_of ((enum mk_format) f);
    const struct mk_where *a, *b;

    if (f == MK_STREAM)         /* the marker belongs to one only */
      continue;
    spec.no_redundant = spec.no_backmap = true;
    u_make (&m, &spec);
    a = u_grain (&m, 5);
    b = u_grain (&m, 17);
    u_put (&m, b->gte, entry[f], u_get (&m, a->gte, entry[f]));
    check_opts (&m, &usual, &r);
    assert_int_equal (r.errors, 1);
    assert_int_equal (r.warnings, 0);
    assert_int_equal (r.count[VD_CHECK_GRAIN_OVERLAP], 1);
    assert_int_equal (r.nr_lost, 2);
    assert_int_equal (r.lost[0].offset, 5 * spec.grain_size);
    assert_int_equal (r.lost[1].offset, 17 * spec.grain_size);
    assert_int_equal (r.lost_bytes, 2 * spec.grain_size);
    vd_check_report_free (&r);
    u_free (&m);
  }
}

/* Wherever the border of a window of 64 sectors falls, an overlap is one. */
TEST (overlaps_across_windows_are_one)
{
  const struct vd_check_opts opts = { .memory = 8 };
  struct mk_spec spec = spec_of (MK_KDMV);
  struct vd_check_report r;
  struct u_image m;
  unsigned shift, i, k;

  spec.no_redundant = spec.unaligned = spec.tight = true;
  u_make (&m, &spec);
  for (shift = 0; shift < 8; ++shift)
    for (i = 0; i < NR_GRAINS; ++i) {
      const unsigned other = i < 20 ? 38 : 0;
      const struct mk_where *w = mk_layout_grain (&m.layout, i);
      uint64_t old;

      if (!w || i == 36 || i == 37 || i == 38)
        continue;
      /* the next grain is in the way */
      for (k = i + 1; k < i + 3 && k < NR_GRAINS; ++k)
        if (mk_layout_grain (&m.layout, k))
          u_put (&m, u_grain (&m, k)->gte, 4, 0);
      old = u_get (&m, u_grain (&m, other)->gte, 4);
      u_put (&m, u_grain (&m, other)->gte, 4, w->data / 512 + shift);
      check_opts (&m, &opts, &r);
      if (r.errors != 1 || r.count[VD_CHECK_GRAIN_OVERLAP] != 1) {
        print_error ("shift %u, grain %u\n", shift, i);
        print_report (&r);
        fail ();
      }
      vd_check_report_free (&r);
      u_put (&m, u_grain (&m, other)->gte, 4, old);
      for (k = i + 1; k < i + 3 && k < NR_GRAINS; ++k)
        if (mk_layout_grain (&m.layout, k))
          u_put (&m, u_grain (&m, k)->gte, 4,
                 u_grain (&m, k)->data / 512);
    }
  u_free (&m);
}

TEST (overlaps_name_both_owners)
{
  struct mk_spec spec = spec_of (MK_KDMV);
  struct u_image m;
  const struct mk_where *a, *b;
  uint64_t sector;

  spec.no_redundant = true;
  u_make (&m, &spec);
  a = u_grain (&m, 5);
  b = u_grain (&m, 17);
  sector = a->data / 512 + 7;
  u_put (&m, b->gte, 4, sector);
  /* unaligned too, and grain 6 is touched as well */
  {
    struct vd_check_report r;
    char text[100];

    check_opts (&m, &usual, &r);
    assert_int_equal (r.errors, 1);
    assert_int_equal (r.count[VD_CHECK_GRAIN_OVERLAP], 1);
    assert_int_equal (r.count[VD_CHECK_UNALIGNED], 1);
    snprintf (text, sizeof text,
              "grain 17 shares sector %u with grain 5", (unsigned) sector);
    assert_text (r.kept[1].message, text);
    assert_int_equal (r.kept[1].place, sector * 512);
    vd_check_report_free (&r);
  }

  u_put (&m, b->gte, 4, m.layout.tables[1].gt / 512);
  u_put (&m, MK_KDMV_OVERHEAD, 8, 1);
  {
    struct vd_check_report r;

    check_opts (&m, &usual, &r);
    assert_int_equal (r.count[VD_CHECK_GRAIN_OVERLAP], 1);
    assert_int_equal (r.count[VD_CHECK_TABLE_OVERLAP], 1);
    assert_text (r.kept[1].message, "grain 17 shares sector");
    assert_text (r.kept[1].message, "with grain table 1");
    assert_text (r.kept[2].message, "grain table 2 shares sector");
    assert_text (r.kept[2].message, "with grain 17");
    /* the ranges of the tables are lost with it, and the first grains, which
     * come next in the file
     */
    assert_int_equal (r.nr_lost, 2);
    assert_int_equal (r.lost[0].offset, 0);
    assert_int_equal (r.lost[1].offset, 16 * 4096);
    assert_int_equal (r.lost[1].length, 24 * 4096);
    vd_check_report_free (&r);
  }
  u_free (&m);
}

TEST (two_owners_of_a_table)
{
  struct u_image m;
  struct vd_check_report r;

  make (&m, MK_KDMV);
  u_put (&m, m.layout.tables[1].gde, 4,
         u_get (&m, m.layout.tables[0].gde, 4));
  check_opts (&m, &usual, &r);
  assert_int_equal (r.count[VD_CHECK_TABLE_OVERLAP], 1);
  assert_int_equal (r.count[VD_CHECK_GRAIN_OVERLAP], 12);
  assert_int_equal (r.count[VD_CHECK_COPY_DOUBT], 12);
  assert_int_equal (r.lost_bytes, 32 * 4096);
  vd_check_report_free (&r);
  u_free (&m);
}

TEST (redundant_tables_that_differ)
{
  struct u_image m;
  const struct mk_where *w;
  uint64_t copy;

  make (&m, MK_KDMV);
  w = u_grain (&m, 5);
  poke (&m, w->rgte, 4, 0, VD_CHECK_COPY_DIFFERS, w->rgte, 0, 0,
        "grain tables differ at entry 5");
  copy = m.layout.tables[1].rgde;
  poke (&m, copy, 4, 0, VD_CHECK_COPY_DIFFERS, copy, 0, 0,
        "directories differ at entry 1");
  poke (&m, copy, 4, m.mem.size / 512, VD_CHECK_COPY_DIFFERS, copy, 0, 0,
        "directories differ at entry 1");

  /* What can be is doubt, and an error: in the entry, ... */
  poke (&m, w->rgte, 4, w->data / 512 + 8, VD_CHECK_COPY_DOUBT, w->rgte,
        5 * 4096, 4096, "in the copy), and both can be: ");
  poke (&m, w->gte, 4, 0, VD_CHECK_COPY_DOUBT, w->rgte, 5 * 4096, 4096,
        "grain tables differ at entry 5 (0 in the first, ");
  u_free (&m);
}

/* The first table is lost: what the copy has is doubt, unless the user says
 * which is to be read, or we ourselves were interrupted.
 */
TEST (a_table_that_only_the_copy_has)
{
  struct vd_opts opts = { .tables = VD_TABLES_BOTH };
  static const struct { enum vd_tables_choice tables; unsigned mark;
                        uint64_t doubts; } cases[] = {
    { VD_TABLES_BOTH, 0, 12 }, { VD_TABLES_FIRST, 0, 0 },
    { VD_TABLES_COPY, 0, 0 }, { VD_TABLES_BOTH, 1, 12 },
    { VD_TABLES_BOTH, 0xc5, 0 }, { VD_TABLES_BOTH, 0xc6, 0 },
  };
  struct vd_check_report r;
  struct u_image m;
  size_t i;

  make (&m, MK_KDMV);
  u_put (&m, m.layout.tables[1].gde, 4, 0);
  for (i = 0; i < ARRAY_SIZE (cases); ++i) {
    opts.tables = cases[i].tables;
    u_put (&m, MK_KDMV_UNCLEAN, 1, cases[i].mark);
    check_opened (&m, &opts, &usual, &r);
    assert_int_equal (r.count[VD_CHECK_COPY_DOUBT], cases[i].doubts);
    assert_int_equal (r.errors, cases[i].doubts);
    assert_int_equal (r.lost_bytes, cases[i].doubts * 4096);
    assert_true (r.warnings > 0);
    vd_check_report_free (&r);
  }
  u_free (&m);
}

TEST (entries_past_the_end)
{
  struct mk_spec spec = spec_of (MK_KDMV);
  struct u_image m;
  uint64_t gte;

  spec.no_redundant = true;
  u_make (&m, &spec);
  /* grain 40 of 40: in the last table, which has 48 */
  gte = m.layout.tables[2].gt + 8 * 4;
  poke (&m, gte, 4, 100, VD_CHECK_GRAIN_BEYOND, gte, 0, 0, "grain 40");
  u_free (&m);

  make (&m, MK_COWD);
  gte = m.layout.tables[0].gt + 4095 * 4;
  poke (&m, gte, 4, 3, VD_CHECK_GRAIN_BEYOND, gte, 0, 0, "grain 4095");
  u_put (&m, MK_COWD_GDENTRIES, 4, 100);
  poke (&m, m.layout.gd + 99 * 4, 4, 7, VD_CHECK_TABLE_BEYOND,
        m.layout.gd + 99 * 4, 0, 0, "entry 99");
  u_free (&m);

  make (&m, MK_SESPARSE);
  poke (&m, m.layout.gd + 8, 8, UINT64_C (0x1000000000000001),
        VD_CHECK_TABLE_BEYOND, m.layout.gd + 8, 0, 0, "entry 1 ");
  u_free (&m);
}

TEST (cowd_header)
{
  struct u_image m;
  const struct mk_where *w;
  const uint64_t none = 0;

  make (&m, MK_COWD);
  w = u_grain (&m, 5);
  poke (&m, w->gte, 4, 1, VD_CHECK_ENTRY_ONE, w->gte, none, none, "grain 5");
  poke (&m, MK_COWD_FREESECTOR, 4, m.mem.size / 512 + 1, VD_CHECK_FREE_SECTOR,
        MK_COWD_FREESECTOR, none, none, "looks truncated");
  poke (&m, MK_COWD_FREESECTOR, 4, m.mem.size / 512 - 1, VD_CHECK_FREE_SECTOR,
        MK_COWD_FREESECTOR, none, none, "is in use");
  poke (&m, MK_COWD_FLAGS, 4, 7, VD_CHECK_FLAGS, MK_COWD_FLAGS, none, none,
        "0x7");
  poke (&m, MK_COWD_UNCLEAN, 4, 1, VD_CHECK_UNCLEAN, MK_COWD_UNCLEAN, none,
        none, "not closed");
  u_free (&m);
}

TEST (kdmv_header)
{
  struct u_image m;

  make (&m, MK_KDMV);
  poke (&m, MK_KDMV_FLAGS, 4, 3 | 8, VD_CHECK_FLAGS, MK_KDMV_FLAGS, 0, 0,
        "0xb");
  poke (&m, MK_KDMV_UNCLEAN, 1, 1, VD_CHECK_UNCLEAN, MK_KDMV_UNCLEAN, 0, 0,
        "not closed");
  u_free (&m);
}

TEST (stream_grains)
{
  struct u_image m;
  const struct mk_where *w;
  const struct vd_check_opts quick = { .inflate = false };
  struct vd_check_report r;

  make (&m, MK_STREAM);
  w = u_grain (&m, 5);
  u_put (&m, w->rgte, 4, u_get (&m, w->gte, 4));
  poke (&m, w->data + 14, 1, 0xff, VD_CHECK_GRAIN_INFLATE, w->gte, 5 * 4096,
        4096, "compressed bytes are damaged");
  u_put (&m, w->data + 14, 1, u_get (&m, w->data + 14, 1) ^ 0xff);
  check_opts (&m, &quick, &r);
  assert_int_equal (r.errors, 0);
  vd_check_report_free (&r);
  u_put (&m, w->data + 14, 1, u_get (&m, w->data + 14, 1) ^ 0xff);

  /* the marker of another grain, seen from the table and from its own */
  u_put (&m, w->data, 8, 8 * 6);
  check_opts (&m, &usual, &r);
  assert_int_equal (r.errors, 1);
  assert_int_equal (r.count[VD_CHECK_GRAIN_MARKER], 1);
  assert_int_equal (r.count[VD_CHECK_STREAM_UNUSED], 1);
  assert_int_equal (r.lost[0].offset, 5 * 4096);
  assert_int_equal (r.lost[0].length, 4096);
  vd_check_report_free (&r);
  u_put (&m, w->data, 8, 8 * 5);

  /* both copies of the entry gone */
  u_put (&m, w->gte, 4, 0);
  u_put (&m, w->rgte, 4, 0);
  expect_one (&m, VD_CHECK_STREAM_UNUSED, w->data, 0, 0,
              "in no grain table");
  u_free (&m);
}

TEST (stream_markers)
{
  struct mk_spec spec = spec_of (MK_STREAM);
  struct u_image m;
  uint64_t marker;

  spec.style = MK_STREAM_FOOTER;
  u_make (&m, &spec);
  marker = m.layout.tables[0].gt - 512;
  poke (&m, marker + MK_MARKER_TYPE, 4, 77, VD_CHECK_STREAM_MARKER, marker, 0,
        0, "type 77");
  poke (&m, marker, 8, UINT64_MAX, VD_CHECK_STREAM_MARKER, marker, 0, 0,
        "no marker");
  u_free (&m);
}

/* Behind the last marker there may be zeros.  What follows so many of them is
 * not looked at, and what follows one sector less of them is.
 */
TEST (stream_tail)
{
  const uint64_t most = UINT64_C (1) << 20;
  uint64_t zeros;

  for (zeros = most - 512; zeros <= most + 512; zeros += 512) {
    struct u_image m;
    uint64_t end;

    make (&m, MK_STREAM);
    end = vd_div_up (m.mem.size, 512) * 512;
    m.mem.data = realloc (m.mem.data, end + zeros + 512);
    assert_non_null (m.mem.data);
    memset (m.mem.data + m.mem.size, 0, end + zeros - m.mem.size);
    memset (m.mem.data + end + zeros, 0xee, 512);
    m.mem.size = end + zeros + 512;
    if (zeros < most)
      expect_one (&m, VD_CHECK_STREAM_MARKER, end + zeros, 0, 0,
                  "is no marker");
    else
      expect_clean (&m);
    u_free (&m);
  }
}

TEST (stream_cut_in_its_last_grain)
{
  struct u_image m;
  const struct mk_where *w;

  make (&m, MK_STREAM);
  w = u_grain (&m, 38);
  m.mem.size = w->data + 12 + w->stored - 1;
  expect_one (&m, VD_CHECK_GRAIN_TRUNCATED, w->gte, 38 * 4096, 4096,
              "it is truncated");
  m.mem.size = w->data + 11;
  expect_one (&m, VD_CHECK_GRAIN_TRUNCATED, w->gte, 38 * 4096, 4096,
              "ends in its marker");
  u_free (&m);
}

TEST (sesparse_entries)
{
  struct u_image m;
  const struct mk_where *w;
  const uint64_t gd_poison = UINT64_C (0x2000000000000000);

  make (&m, MK_SESPARSE);
  w = u_grain (&m, 5);
  poke (&m, w->gte, 8, UINT64_C (0x4000000000000000), VD_CHECK_GRAIN_BAD,
        w->gte, 5 * 4096, 4096, "type 4");
  poke (&m, w->gte, 8, 1, VD_CHECK_GRAIN_BAD, w->gte, 5 * 4096, 4096,
        "type 0");
  poke (&m, w->gte, 8, UINT64_C (0x3000ffffffffffff), VD_CHECK_GRAIN_BAD,
        w->gte, 5 * 4096, 4096, "past the grain area");
  poke (&m, m.layout.gd, 8, gd_poison, VD_CHECK_TABLE_BAD, m.layout.gd, 0,
        40 * 4096, "directory entry 0");
  poke (&m, m.layout.gd, 8, UINT64_C (0x10000000ffffffff),
        VD_CHECK_TABLE_BAD, m.layout.gd, 0, 40 * 4096, "table area");
  u_free (&m);
}

TEST (sesparse_rest)
{
  struct u_image m;
  const struct mk_where *w;
  uint64_t bitmap, backmap;

  make (&m, MK_SESPARSE);
  w = u_grain (&m, 2);
  bitmap = u_get (&m, MK_SE_BITMAP, 8) * 512;
  backmap = u_get (&m, MK_SE_BACKMAP, 8) * 512
    + 8 * ((w->data - m.layout.data_start) / 4096);
  poke (&m, bitmap, 1, 0xfb, VD_CHECK_BITMAP, bitmap, 0, 0, "slot 2");
  poke (&m, backmap, 8, 0, VD_CHECK_BACKMAP, backmap, 0, 0, "slot 2");
  poke (&m, MK_SE_VOL_FREEGT, 8, 0, VD_CHECK_FREE_TABLE, MK_SE_VOL_FREEGT, 0,
        0, "table number 0");
  poke (&m, MK_SE_VOL_REPLAY, 8, 1, VD_CHECK_JOURNAL, MK_SE_VOL_REPLAY, 0, 0,
        "journal");
  poke (&m, MK_SE_JOURNAL, 8, 3, VD_CHECK_AREAS_OVERLAP, MK_SE_JOURNAL, 0, 0,
        "overlap");
  u_free (&m);
}

TEST (allowed_dirt_is_a_warning)
{
  const struct vd_check_opts opts = { .allow_dirty = true };
  struct u_image m;
  struct vd_check_report r;

  make (&m, MK_SESPARSE);
  u_put (&m, MK_SE_VOL_REPLAY, 8, 1);
  check_opts (&m, &opts, &r);
  assert_int_equal (r.errors, 0);
  assert_int_equal (r.warnings, 1);
  vd_check_report_free (&r);
  u_free (&m);
}

/* ---- The report ---------------------------------------------------------- */

static int
count_and_stop (void *opaque, const struct vd_finding *f, struct vd_err *err)
{
  unsigned *n = opaque;

  assert_non_null (f->message);
  (void) err;
  return ++*n == 7;
}

TEST (callback_limits_and_stopping)
{
  unsigned seen = 0, i;
  struct vd_check_opts opts = { .keep = 3 };
  struct u_image m;
  struct vd_check_report r;

  make (&m, MK_COWD);
  for (i = 0; i < NR_GRAINS; ++i)
    u_put (&m, m.layout.tables[0].gt + i * 4, 4, UINT32_MAX - i);
  check_opts (&m, &opts, &r);
  assert_int_equal (r.count[VD_CHECK_GRAIN_OUTSIDE], NR_GRAINS);
  assert_int_equal (r.nr_kept, 3);
  assert_int_equal (r.nr_lost, 1);
  assert_int_equal (r.lost_bytes, m.spec.capacity);
  assert_false (r.stopped);
  vd_check_report_free (&r);

  opts.fn = count_and_stop;
  opts.opaque = &seen;
  check_opts (&m, &opts, &r);
  assert_int_equal (seen, 7);
  assert_true (r.stopped);
  assert_int_equal (r.errors, 7);
  vd_check_report_free (&r);

  opts.fn = NULL;
  opts.stop_at_first_error = true;
  check_opts (&m, &opts, &r);
  assert_int_equal (r.errors, 1);
  assert_true (r.stopped);
  vd_check_report_free (&r);
  u_free (&m);
}

TEST (errors_only_leaves_the_rest_out)
{
  const struct vd_check_opts opts = { .errors_only = true };
  struct u_image m;
  struct vd_check_report r;

  make (&m, MK_KDMV);
  u_put (&m, u_grain (&m, 5)->rgte, 4, 0);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 1);
  check_opts (&m, &opts, &r);
  assert_int_equal (r.errors + r.warnings + r.infos, 0);
  u_put (&m, u_grain (&m, 5)->gte, 4, UINT32_MAX);
  vd_check_report_free (&r);
  check_opts (&m, &opts, &r);
  assert_int_equal (r.errors, 1);
  assert_int_equal (r.warnings, 0);
  vd_check_report_free (&r);
  u_free (&m);
}

TEST (names_are_given_once)
{
  unsigned i, k;

  for (i = 0; i < VD_CHECK_NR_KINDS; ++i) {
    assert_non_null (vd_check_kind_name ((enum vd_check_kind) i));
    for (k = 0; k < i; ++k)
      assert_string_not_equal (vd_check_kind_name ((enum vd_check_kind) i),
                               vd_check_kind_name ((enum vd_check_kind) k));
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (clean_images_are_clean),
    cmocka_unit_test (entries_out_of_the_file),
    cmocka_unit_test (grain_with_its_end_missing),
    cmocka_unit_test (entries_into_the_metadata),
    cmocka_unit_test (two_owners_of_a_grain),
    cmocka_unit_test (overlaps_across_windows_are_one),
    cmocka_unit_test (overlaps_name_both_owners),
    cmocka_unit_test (two_owners_of_a_table),
    cmocka_unit_test (redundant_tables_that_differ),
    cmocka_unit_test (a_table_that_only_the_copy_has),
    cmocka_unit_test (entries_past_the_end),
    cmocka_unit_test (cowd_header),
    cmocka_unit_test (kdmv_header),
    cmocka_unit_test (stream_grains),
    cmocka_unit_test (stream_markers),
    cmocka_unit_test (stream_tail),
    cmocka_unit_test (stream_cut_in_its_last_grain),
    cmocka_unit_test (sesparse_entries),
    cmocka_unit_test (sesparse_rest),
    cmocka_unit_test (allowed_dirt_is_a_warning),
    cmocka_unit_test (callback_limits_and_stopping),
    cmocka_unit_test (errors_only_leaves_the_rest_out),
    cmocka_unit_test (names_are_given_once),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
