/* A check that is stopped by who listens, at each of its findings: it ends
 * there, with what was found so far.  And one that meets more than it can
 * keep, or what it cannot read.
 */

#include "unit.h"

static struct mk_content content = { .seed = 5, .layer = 1 };

#define NR_GRAINS 200u
static enum mk_kind
kind_of (void *opaque, uint64_t grain)
{
  (void) opaque;
  return grain % 4 != 3 ? MK_DATA : MK_HOLE;
}

static void
make (struct u_image *m, enum mk_format format)
{
  const uint32_t grain = format == MK_COWD ? 1024 : 4096;
  const struct mk_spec spec = {
    .format = format, .capacity = NR_GRAINS * (uint64_t) grain,
    .grain_size = grain, .map = { .kind = kind_of },
    .fill = mk_fill_content (&content), .gtes = 16,
  };

  u_make (m, &spec);
}

/* ---- Stopping ------------------------------------------------------------ */

struct listener {
  unsigned seen, stop_at;       /* counted from 1 */
  int answer;
};

static int
listen (void *opaque, const struct vd_finding *f, struct vd_err *err)
{
  struct listener *l = opaque;

  assert_non_null (f->message);
  if (++l->seen != l->stop_at)
    return 0;
  return l->answer == -1 ? vd_fail (err, VD_IO, "nobody listens")
    : l->answer;
}

/* Stop at each of the findings in turn; there are at least so many, of so
 * many kinds.
 */
static void
stop_at_each (const struct u_image *m, unsigned least, unsigned least_kinds)
{
  const struct vd_opts opts = { .allow_dirty = true };
  struct vd_link *link
    = u_link_file (u_memory ("m.vmdk", m->mem.data, m->mem.size), &opts);
  struct listener l = { .seen = 0 };
  struct vd_check_opts how = { .fn = listen, .opaque = &l, .inflate = true };
  struct vd_check_report r;
  struct vd_err err;
  unsigned all, i, kinds = 0;

  assert_int_equal (vd_check_link (link, &how, &r, &err), 0);
  assert_false (r.stopped);
  all = l.seen;
  for (i = 0; i < VD_CHECK_NR_KINDS; ++i)
    kinds += r.count[i] > 0;
  assert_int_equal (all, r.errors + r.warnings + r.infos);
  vd_check_report_free (&r);
  if (all < least || kinds < least_kinds)
    fail_msg ("%u findings of %u kinds", all, kinds);

  for (i = 1; i <= all; ++i) {
    l = (struct listener) { .stop_at = i, .answer = 1 };
    assert_int_equal (vd_check_link (link, &how, &r, &err), 0);
    assert_int_equal (l.seen, i);
    assert_int_equal (r.errors + r.warnings + r.infos, i);
    assert_true (r.stopped);
    vd_check_report_free (&r);

    l = (struct listener) { .stop_at = i, .answer = -1 };
    assert_int_equal (vd_check_link (link, &how, &r, &err), -1);
    assert_err (&err, VD_IO, "nobody listens");
    assert_int_equal (l.seen, i);
    vd_check_report_free (&r);
  }
  vd_link_close (link);
}

TEST (cowd)
{
  struct u_image m;

  make (&m, MK_COWD);
  u_put (&m, MK_COWD_FLAGS, 4, 7);
  u_put (&m, MK_COWD_UNCLEAN, 4, 1);
  u_put (&m, MK_COWD_FREESECTOR, 4, m.mem.size / 512 + 1);
  u_put (&m, u_grain (&m, 5)->gte, 4, 1);
  u_put (&m, u_grain (&m, 6)->gte, 4, m.layout.gd / 512);
  u_put (&m, u_grain (&m, 8)->gte, 4, u_grain (&m, 9)->data / 512);
  u_put (&m, u_grain (&m, 10)->gte, 4, m.mem.size / 512 + 5);
  u_put (&m, m.layout.tables[0].gt + 4090 * 4, 4, 9);
  stop_at_each (&m, 8, 7);
  u_free (&m);
}

TEST (kdmv)
{
  struct u_image m;
  const struct mk_table *t;

  make (&m, MK_KDMV);
  t = m.layout.tables;
  u_put (&m, MK_KDMV_FLAGS, 4, 3 | 8);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 1);
  u_put (&m, u_grain (&m, 5)->gte, 4, 1);
  u_put (&m, u_grain (&m, 6)->gte, 4, m.layout.gd / 512);
  u_put (&m, u_grain (&m, 8)->gte, 4, u_grain (&m, 9)->data / 512);
  u_put (&m, u_grain (&m, 10)->gte, 4, m.mem.size / 512 - 1);
  u_put (&m, u_grain (&m, 12)->gte, 4, u_grain (&m, 12)->data / 512 + 1);
  u_put (&m, t[2].gde, 4, t[1].gt / 512);
  u_put (&m, t[3].gde, 4, m.layout.gd / 512);
  u_put (&m, t[4].gde, 4, m.mem.size / 512);
  u_put (&m, t[5].rgde, 4, 0);
  u_put (&m, t[6].rgde, 4, t[0].gt / 512);
  u_put (&m, t[7].rgde, 4, m.layout.rgd / 512);
  stop_at_each (&m, 20, 10);
  u_free (&m);
}

TEST (stream)
{
  struct u_image m;
  const struct mk_where *w;

  make (&m, MK_STREAM);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 1);
  /* what the walk over the tables finds */
  w = u_grain (&m, 5);
  u_put (&m, w->data + 14, 1, u_get (&m, w->data + 14, 1) ^ 0xff);
  u_put (&m, u_grain (&m, 6)->gte, 4, m.layout.gd / 512);
  u_put (&m, u_grain (&m, 8)->data, 8, 8 * 9);
  /* and what the one from marker to marker does */
  u_put (&m, u_grain (&m, 12)->gte, 4, 0);
  u_put (&m, u_grain (&m, 12)->rgte, 4, 0);
  u_put (&m, u_grain (&m, 16)->gte, 4, 0);
  u_put (&m, u_grain (&m, 16)->rgte, 4, 0);
  u_put (&m, u_grain (&m, 198)->data, 8, 3);
  stop_at_each (&m, 8, 5);
  u_free (&m);
}

TEST (sesparse)
{
  struct u_image m;
  uint64_t bitmap, backmap;

  make (&m, MK_SESPARSE);
  bitmap = u_get (&m, MK_SE_BITMAP, 8) * 512;
  backmap = u_get (&m, MK_SE_BACKMAP, 8) * 512;
  u_put (&m, bitmap, 2, 0x1234);
  u_put (&m, backmap + 16, 8, 77);
  u_put (&m, MK_SE_VOL_FREEGT, 8, 0);
  u_put (&m, MK_SE_VOL_REPLAY, 8, 1);
  u_put (&m, MK_SE_JOURNAL, 8, 3);
  u_put (&m, u_grain (&m, 5)->gte, 8, UINT64_C (0x4000000000000000));
  stop_at_each (&m, 8, 5);
  u_free (&m);
}

/* Pairs come first. */
TEST (a_chain)
{
  const struct vd_opts opts = { .ignore_cid = true };
  struct listener l = { .stop_at = 1, .answer = 1 };
  struct vd_check_opts how = { .fn = listen, .opaque = &l };
  struct vd_check_report links[2], whole;
  struct vd_link *link[2];
  struct vd_chain *chain;
  struct vd_err err;

  u_write_text ("a.vmdk", "CID=1\nparentCID=ffffffff\nRW 5 ZERO\n");
  u_write_text ("b.vmdk", "CID=2\nparentCID=7\nRW 5 ZERO\n");
  link[0] = vd_link_open ("a.vmdk", &opts, &err);
  link[1] = vd_link_open ("b.vmdk", &opts, &err);
  chain = vd_chain_new (link, 2, &opts, &err);
  assert_opened (chain, &err);
  assert_int_equal (vd_check_chain (chain, &how, links, &whole, &err), 0);
  assert_int_equal (l.seen, 1);
  assert_true (whole.stopped);
  assert_int_equal (whole.count[VD_CHECK_PARENT_MISMATCH], 1);
  vd_check_report_free (&whole);

  l = (struct listener) { .stop_at = 1, .answer = -1 };
  assert_int_equal (vd_check_chain (chain, &how, links, &whole, &err), -1);
  assert_err (&err, VD_IO, "nobody listens");
  vd_check_report_free (&whole);

  /* asked to go on in spite of it, it is a warning, and those are left out */
  l = (struct listener) { .seen = 0 };
  how.ignore_cid = how.errors_only = true;
  assert_int_equal (vd_check_chain (chain, &how, links, &whole, &err), 0);
  assert_int_equal (l.seen, 0);
  assert_int_equal (whole.warnings, 0);
  vd_check_report_free (&whole);
  vd_check_report_free (&links[0]);
  vd_check_report_free (&links[1]);
  vd_chain_free (chain);
  vd_link_close (link[0]);
  vd_link_close (link[1]);
}

/* ---- Too many ------------------------------------------------------------ */

/* All grains in one place: each is told, though not with whom it shares. */
TEST (more_overlaps_than_are_kept)
{
  struct vd_check_opts how = { .keep = 1000 };
  struct vd_check_report r;
  struct vd_link *link;
  struct u_image m;
  struct vd_err err;
  size_t i, named = 0;

  make (&m, MK_COWD);
  for (i = 1; i < m.layout.n_grains; ++i)
    u_put (&m, m.layout.grains[i].gte, 4, m.layout.grains[0].data / 512);
  link = u_link (&m);
  assert_int_equal (vd_check_link (link, &how, &r, &err), 0);
  assert_int_equal (r.count[VD_CHECK_GRAIN_OVERLAP], m.layout.n_grains - 1);
  for (i = 0; i < r.nr_kept; ++i)
    if (r.kept[i].kind == VD_CHECK_GRAIN_OVERLAP)
      named += strstr (r.kept[i].message, "with grain 0") != NULL;
  assert_int_equal (named, 64);
  assert_int_equal (r.lost_bytes, m.layout.n_grains * 1024);
  vd_check_report_free (&r);
  vd_link_close (link);
  u_free (&m);
}

/* ---- What cannot be read ------------------------------------------------- */

/* Check it with [from, from+n) of the file unreadable; r is to be freed. */
static void
unreadable (const struct u_image *m, uint64_t from, uint64_t n,
            struct vd_check_report *r)
{
  const struct vd_opts opts = { .allow_dirty = true };
  const struct vd_check_opts how = { .allow_dirty = true };
  struct u_spy *spy
    = u_spy (u_memory ("m.vmdk", m->mem.data, m->mem.size));
  struct vd_link *link = u_link_file (&spy->file, &opts);
  struct vd_err err;

  spy->bad = from;
  spy->bad_end = from + n;
  assert_int_equal (vd_check_link (link, &how, r, &err), 0);
  vd_link_close (link);
}

TEST (a_journal_that_cannot_be_read)
{
  struct vd_check_report r;
  struct u_image m;
  uint64_t journal, size;

  make (&m, MK_SESPARSE);
  u_put (&m, MK_SE_VOL_REPLAY, 8, 1);
  journal = u_get (&m, MK_SE_JOURNAL, 8) * 512;
  size = u_get (&m, MK_SE_JOURNAL_SIZE, 8) * 512;
  unreadable (&m, journal, size, &r);
  assert_int_equal (r.count[VD_CHECK_READ], 1);
  assert_int_equal (r.kept[0].place, journal);
  assert_text (r.kept[0].message, "on purpose");
  vd_check_report_free (&r);
  u_free (&m);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (cowd),
    cmocka_unit_test (kdmv),
    cmocka_unit_test (stream),
    cmocka_unit_test (sesparse),
    tmpdir_test (a_chain),
    cmocka_unit_test (more_overlaps_than_are_kept),
    cmocka_unit_test (a_journal_that_cannot_be_read),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
