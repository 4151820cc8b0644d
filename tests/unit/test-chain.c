/* Links on top of each other. */

#include "unit.h"

static const struct vd_opts none;

/* A link that is one ZERO extent of n sectors with these keys. */
static struct vd_link *
text_link (const char *path, const char *keys, unsigned n)
{
  char text[300];
  struct vd_err err;
  struct vd_link *link;

  snprintf (text, sizeof text, "%sRW %u ZERO\n", keys, n);
  u_write_text (path, text);
  link = vd_link_open (path, &none, &err);
  assert_opened (link, &err);
  return link;
}

static void
close_links (struct vd_link **links, size_t n)
{
  size_t i;

  for (i = 0; i < n; ++i)
    vd_link_close (links[i]);
}

static void
refused (struct vd_link **links, size_t n, const struct vd_opts *opts,
         enum vd_code code, const char *p1, const char *p2)
{
  struct vd_err err = { .code = VD_OK };

  assert_null (vd_chain_new (links, n, opts, &err));
  assert_err (&err, code, p1, p2);
}

/* Gives the links back. */
static void
accepted (struct vd_link **links, size_t n, const struct vd_opts *opts)
{
  struct u_disk d = { .nr_links = 0 };
  struct vd_err err;

  d.chain = vd_chain_new (links, n, opts, &err);
  assert_opened (d.chain, &err);
  assert_int_equal (d.chain->nr_links, n);
  assert_ptr_equal (d.chain->links[0], links[n - 1]);
  memcpy (d.links, links, n * sizeof links[0]);
  d.nr_links = n;
  u_disk_close (&d);
}

TEST (content_ids_must_fit)
{
  struct u_log log;
  struct vd_opts ignore = u_opts (&log);
  struct vd_link *l[2];

  ignore.ignore_cid = true;
  l[0] = text_link ("p.vmdk", "CID=1a\nparentCID=ffffffff\n", 5);
  l[1] = text_link ("c.vmdk", "CID=2\nparentCID=0000001A\n", 5);
  accepted (l, 2, &none);

  l[0] = text_link ("p.vmdk", "CID=1b\nparentCID=ffffffff\n", 5);
  l[1] = text_link ("c.vmdk", "CID=2\nparentCID=1a\n", 5);
  refused (l, 2, &none, VD_MISMATCH, "c.vmdk was made on content 0000001a",
           "p.vmdk has content 0000001b");
  refused (l, 2, &none, VD_MISMATCH, "wrong file", "changed after");
  accepted (l, 2, &ignore);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "c.vmdk was made on content 0000001a");
  assert_text (log.text, "p.vmdk has content 0000001b");
}

TEST (equal_ids_of_child_and_parent_are_normal)
{
  struct vd_link *l[3];

  l[0] = text_link ("a.vmdk", "CID=7\nparentCID=ffffffff\n", 5);
  l[1] = text_link ("b.vmdk", "CID=7\nparentCID=7\n", 5);
  l[2] = text_link ("c.vmdk", "CID=7\nparentCID=7\n", 5);
  accepted (l, 3, &none);
}

TEST (the_wrong_order_is_told)
{
  struct vd_link *l[2];

  l[0] = text_link ("new.vmdk", "CID=3\nparentCID=2\n", 5);
  l[1] = text_link ("old.vmdk", "CID=2\nparentCID=1\n", 5);
  refused (l, 2, &none, VD_MISMATCH, "order is wrong", "oldest first");
  close_links (l, 2);
}

TEST (links_without_ids_are_not_compared)
{
  struct vd_link *l[2];

  l[0] = text_link ("p.vmdk", "parentCID=9\n", 5);      /* no CID */
  l[1] = text_link ("c.vmdk", "CID=2\nparentCID=1\n", 5);
  accepted (l, 2, &none);
  l[0] = text_link ("p.vmdk", "CID=5\n", 5);
  l[1] = text_link ("c.vmdk", "CID=2\nparentCID=ffffffff\nddb.uuid.parent="
                    "\"622a0911-bc78-4b7a-a6ec-7359a068de8a\"\n", 5);
  accepted (l, 2, &none);
}

TEST (a_file_is_not_its_own_parent)
{
  struct vd_link *l[2];

  l[0] = text_link ("a.vmdk", "CID=7\nparentCID=7\n", 5);
  l[1] = text_link ("a.vmdk", "CID=7\nparentCID=7\n", 5);
  refused (l, 2, &none, VD_USAGE, "a.vmdk", "same file");
  vd_link_close (l[1]);
  assert_int_equal (link ("a.vmdk", "b.vmdk"), 0);
  l[1] = text_link ("b.vmdk", "CID=7\nparentCID=7\n", 5);
  refused (l, 2, &none, VD_USAGE, "a.vmdk", "b.vmdk");
  close_links (l, 2);
}

TEST (the_length_of_a_chain_is_limited)
{
  struct vd_link *l[VD_MAX_LINKS + 1];
  size_t i;

  l[0] = text_link ("a.vmdk", "CID=7\nparentCID=7\n", 5);
  for (i = 1; i < ARRAY_SIZE (l); ++i)
    l[i] = l[0];
  refused (l, VD_MAX_LINKS + 1, &none, VD_USAGE, "1 to 255 links", "256");
  refused (l, 0, &none, VD_USAGE, "1 to 255 links", "not 0");
  vd_link_close (l[0]);
}

TEST (different_sizes_are_warned_of)
{
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_link *l[2];

  l[0] = text_link ("p.vmdk", "CID=1\nparentCID=ffffffff\n", 4);
  l[1] = text_link ("c.vmdk", "CID=2\nparentCID=1\n", 5);
  accepted (l, 2, &opts);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "c.vmdk has 2560 bytes, its parent ");
  assert_text (log.text, "p.vmdk has 2048");
}

/* ---- What is read ------------------------------------------------------- */

static struct mk_content contents[] = {
  { .seed = 1, .layer = 1, .flavour = MK_NOISE },
  { .seed = 1, .layer = 2, .flavour = MK_NOISE },
  { .seed = 1, .layer = 3, .flavour = MK_NOISE },
  { .seed = 1, .layer = 4, .flavour = MK_NOISE },
};
static struct mk_content base_content = { .seed = 1, .flavour = MK_NOISE };

struct stack {
  struct u_image image[4];
  struct mk_spec spec[4];
  struct mk_piece piece[4];
  struct mk_layer layer[4];
  struct mk_model model;
  uint8_t *base;
  struct u_disk disk;
};

/* n layers, oldest first, over a base of base_size bytes. */
static void
stack_open (struct stack *s, size_t n, size_t base_size)
{
  struct vd_link *links[4];
  size_t i;

  for (i = 0; i < n; ++i) {
    s->spec[i].fill = mk_fill_content (&contents[i]);
    u_make (&s->image[i], &s->spec[i]);
    links[i] = u_link (&s->image[i]);
    s->piece[i] = mk_piece_of (&s->spec[i]);
    s->layer[i] = (struct mk_layer) { .pieces = &s->piece[i], .n = 1 };
  }
  s->model = (struct mk_model) {
    .capacity = s->spec[n - 1].capacity, .base_size = base_size,
    .base = mk_fill_content (&base_content), .layers = s->layer, .n = n,
  };
  s->base = malloc (base_size + 1);
  mk_content_fill (&base_content, s->base, base_size, 0);
  u_disk_open (&s->disk, links, n, u_memory ("base", s->base, base_size),
               MIB);
}

static void
stack_close (struct stack *s)
{
  size_t i;

  vd_file_close (s->disk.base.file);
  for (i = 0; i < s->disk.nr_links; ++i)
    u_free (&s->image[i]);
  u_disk_close (&s->disk);
  free (s->base);
}

static const uint8_t one_zero[] = { MK_HOLE, MK_ZERO, MK_HOLE, MK_DATA };
static struct mk_array zero_array = { .kind = one_zero, .n = 4 };
static const uint8_t one_unmapped[] = { MK_HOLE, MK_UNMAPPED };
static struct mk_array unmapped_array = { .kind = one_unmapped, .n = 2 };
static struct mk_pattern all = { .run = 1, .fill = 1000 };
static struct mk_pattern nothing = { .run = 1, .fill = 0 };

TEST (zeros_stop_the_search_over_data)
{
  static const enum mk_format formats[] = {
    MK_KDMV, MK_STREAM, MK_SESPARSE, MK_SESPARSE
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (formats); ++i) {
    struct stack s;
    uint8_t buf[4096], zeros[4096] = { 0 };
    struct vd_err err;

    s.spec[0] = (struct mk_spec) {
      .format = MK_COWD, .capacity = 8 * 4096, .grain_size = 512,
      .map = mk_map_pattern (&all),
    };
    s.spec[1] = (struct mk_spec) {
      .format = formats[i], .capacity = 8 * 4096, .grain_size = 4096,
      .map = mk_map_array (i == 3 ? &unmapped_array : &zero_array),
    };
    stack_open (&s, 2, 8 * 4096);
    u_compare (&s.disk, &s.model, 0, 8 * 4096);
    assert_int_equal (vd_read (s.disk.reader, &s.disk.base, buf, 4096, 4096,
                               &err), 0);
    assert_memory_equal (buf, zeros, 4096);
    stack_close (&s);
  }
}

TEST (holes_fall_through_all_levels)
{
  struct mk_pattern p[3] = {
    { .seed = 1, .run = 1, .fill = 300 }, { .seed = 2, .run = 3, .fill = 300 },
    { .seed = 3, .run = 7, .fill = 300 },
  };
  struct stack s;
  size_t i;

  for (i = 0; i < 3; ++i)
    s.spec[i] = (struct mk_spec) {
      .format = MK_COWD, .capacity = 9000 * 512, .grain_size = 512,
      .map = mk_map_pattern (&p[i]),
    };
  stack_open (&s, 3, 9000 * 512);
  assert_int_equal (s.disk.chain->nr_links, 3);
  u_compare (&s.disk, &s.model, 0, 9000 * 512);
  u_compare (&s.disk, &s.model, 12345, 1234567);
  stack_close (&s);

  for (i = 0; i < 3; ++i)
    s.spec[i].map = mk_map_pattern (&nothing);
  stack_open (&s, 3, 9000 * 512);
  u_compare (&s.disk, &s.model, 0, 9000 * 512);
  stack_close (&s);
}

TEST (formats_and_grain_sizes_can_be_mixed)
{
  unsigned i;

  for (i = 0; i < 24; ++i) {
    static const enum mk_format formats[] = {
      MK_COWD, MK_KDMV, MK_STREAM, MK_SESPARSE
    };
    struct mk_pattern p[4];
    struct stack s;
    size_t k;

    for (k = 0; k < 4; ++k) {
      const enum mk_format f = formats[(i + k * (i % 3 + 1)) % 4];

      p[k] = (struct mk_pattern) {
        .seed = i * 4 + k, .run = 1 + i % 5, .fill = 350,
        .zero = f == MK_COWD ? 0 : 200, .unmapped = f == MK_SESPARSE ? 200 : 0,
      };
      s.spec[k] = (struct mk_spec) {
        .format = f, .capacity = (5000 + 13 * i) * 512,
        .grain_size = f == MK_SESPARSE ? 4096 : 512u << ((i + 3 * k) % 9),
        .map = mk_map_pattern (&p[k]), .seed = i,
        .placement = (enum mk_placement) (i % 3), .last = MK_LAST_JUNK,
      };
    }
    stack_open (&s, 4, 4000 * 512 + i);
    u_compare (&s.disk, &s.model, 0, s.model.capacity);
    u_compare (&s.disk, &s.model, i * 1000 + 7, 100001);
    stack_close (&s);
  }
}

TEST (the_newest_gives_the_size)
{
  static const uint64_t sectors[][3] = {
    { 100, 200, 300 }, { 300, 200, 100 }, { 100, 300, 200 },
    { 200, 1, 300 },
  };
  struct mk_pattern p = { .seed = 4, .run = 2, .fill = 400 };
  size_t i, k;

  for (i = 0; i < ARRAY_SIZE (sectors); ++i) {
    struct stack s;

    for (k = 0; k < 3; ++k)
      s.spec[k] = (struct mk_spec) {
        .format = MK_COWD, .capacity = sectors[i][k] * 512,
        .grain_size = 512, .map = mk_map_pattern (&p),
      };
    stack_open (&s, 3, 250 * 512);
    assert_int_equal (s.disk.chain->size, sectors[i][2] * 512);
    u_compare (&s.disk, &s.model, 0, sectors[i][2] * 512);
    stack_close (&s);
  }
}

TEST (past_the_end_of_an_older_link_there_are_zeros)
{
  struct stack s;
  uint8_t buf[512], zeros[512] = { 0 };
  struct vd_err err;

  s.spec[0] = (struct mk_spec) {
    .format = MK_COWD, .capacity = 10 * 512, .grain_size = 512,
    .map = mk_map_pattern (&nothing),
  };
  s.spec[1] = s.spec[0];
  s.spec[1].capacity = 20 * 512;
  stack_open (&s, 2, 20 * 512); /* the base has data there */
  assert_int_equal (vd_read (s.disk.reader, &s.disk.base, buf, 512, 9 * 512,
                             &err), 0);
  assert_memory_equal (buf, s.base + 9 * 512, 512);
  assert_int_equal (vd_read (s.disk.reader, &s.disk.base, buf, 512, 10 * 512,
                             &err), 0);
  assert_memory_equal (buf, zeros, 512);
  stack_close (&s);
}

TEST (below_a_base_nothing_is_asked)
{
  struct mk_pattern p = { .seed = 4, .run = 2, .fill = 400 };
  struct mk_spec spec = {
    .format = MK_KDMV, .capacity = 5000 * 512, .grain_size = 4096,
    .map = mk_map_pattern (&p), .fill = mk_fill_content (&contents[0]),
    .descriptor = "CID=1\nparentCID=ffffffff\nRW 5000 SPARSE \"x\"\n",
  };
  struct vd_runs runs = VD_RUNS_INIT (10000);
  uint8_t junk[512];
  struct u_image m;
  struct u_disk d;
  struct u_spy *spy;
  struct vd_err err;
  size_t i;

  memset (junk, 0xdd, sizeof junk);
  u_make (&m, &spec);
  spy = u_spy (u_memory ("junk", junk, sizeof junk));
  u_disk_open_one (&d, &m, &spy->file);
  assert_true (d.chain->has_base);
  u_compare_spec (&d, &spec, 0, 5000 * 512);
  assert_int_equal (spy->preads, 0);
  assert_int_equal (vd_chain_map (d.chain, 0, 5000 * 512, &runs, &err), 0);
  for (i = 0; i < runs.n; ++i)
    assert_true (runs.run[i].kind == VD_ZERO || runs.run[i].kind == VD_DATA);
  assert_int_equal (vd_run_end (&runs.run[runs.n - 1]), 5000 * 512);
  vd_runs_free (&runs);
  u_disk_close (&d);
  vd_file_close (&spy->file);
  u_free (&m);
}

TEST (a_full_list_holds_a_prefix)
{
  struct mk_pattern p[2] = {
    { .seed = 1, .run = 1, .fill = 400 }, { .seed = 2, .run = 1, .fill = 400 },
  };
  struct stack s;
  size_t i, max;

  for (i = 0; i < 2; ++i)
    s.spec[i] = (struct mk_spec) {
      .format = MK_COWD, .capacity = 3000 * 512, .grain_size = 512,
      .map = mk_map_pattern (&p[i]),
    };
  stack_open (&s, 2, 3000 * 512);
  for (max = 1; max < 40; ++max) {
    uint64_t pos = 100;
    const uint64_t end = 2500 * 512 + 3;
    struct vd_err err;

    while (pos < end) {
      struct vd_runs runs = VD_RUNS_INIT (max);

      assert_int_equal (vd_chain_map (s.disk.chain, pos, end - pos, &runs,
                                      &err), 0);
      assert_true (runs.n >= 1 && runs.n <= max);
      for (i = 0; i < runs.n; ++i) {
        static const enum vd_kind kinds[] = { VD_BASE, VD_ZERO, VD_DATA };
        const struct vd_run *r = &runs.run[i];

        assert_int_equal (r->offset, pos);
        assert_true (r->length > 0);
        assert_int_equal (r->kind,
                          kinds[mk_model_kind (&s.model, pos, NULL, NULL)]);
        pos = vd_run_end (r);
        assert_true (pos <= end);
        assert_int_equal (r->kind, kinds[mk_model_kind (&s.model, pos - 1,
                                                        NULL, NULL)]);
      }
      vd_runs_free (&runs);
    }
  }
  stack_close (&s);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (content_ids_must_fit),
    tmpdir_test (equal_ids_of_child_and_parent_are_normal),
    tmpdir_test (the_wrong_order_is_told),
    tmpdir_test (links_without_ids_are_not_compared),
    tmpdir_test (a_file_is_not_its_own_parent),
    tmpdir_test (the_length_of_a_chain_is_limited),
    tmpdir_test (different_sizes_are_warned_of),
    cmocka_unit_test (zeros_stop_the_search_over_data),
    cmocka_unit_test (holes_fall_through_all_levels),
    cmocka_unit_test (formats_and_grain_sizes_can_be_mixed),
    cmocka_unit_test (the_newest_gives_the_size),
    cmocka_unit_test (past_the_end_of_an_older_link_there_are_zeros),
    cmocka_unit_test (below_a_base_nothing_is_asked),
    cmocka_unit_test (a_full_list_holds_a_prefix),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
