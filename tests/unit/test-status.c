/* Saying where a disk is empty. */

#include "unit.h"

static struct mk_content content = { .seed = 31, .layer = 1,
                                     .flavour = MK_NOISE };
static const struct vd_opts none;

#define MAX_PIECES 100000

struct answer {
  size_t n;
  uint64_t total;
  struct { uint64_t length; unsigned type; } piece[MAX_PIECES];
  size_t stop_after;            /* pieces; 0: never */
  size_t fail_after;
};

static struct answer ans;

static int
receive (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct answer *a = opaque;

  assert_true (length > 0);
  assert_true (a->n < MAX_PIECES);
  /* asked to stop, or failed: that was the last one */
  assert_false (a->stop_after > 0 && a->n >= a->stop_after);
  a->piece[a->n].length = length;
  a->piece[a->n++].type = type;
  a->total += length;
  if (a->fail_after > 0 && a->n == a->fail_after)
    return vd_fail (err, VD_USAGE, "enough");
  return a->n == a->stop_after;
}

static void
ask (struct u_disk *d, uint64_t offset, uint64_t length, bool only_first)
{
  struct vd_err err;

  memset (&ans, 0, offsetof (struct answer, piece));
  ans.stop_after = ans.fail_after = 0;
  if (vd_status (d->reader, &d->base, offset, length, only_first, receive,
                 &ans, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_true (ans.n > 0);
  assert_true (ans.total <= length);
}

/* Ask again and again as a client does, and check that what is called zeros
 * is.  Returns the number of bytes called so.
 */
static uint64_t
check_all (struct u_disk *d, const struct mk_model *model, uint64_t from,
           uint64_t to, bool only_first)
{
  uint64_t zeros = 0;
  uint8_t *buf;

  while (from < to) {
    size_t i;
    uint64_t k;

    ask (d, from, to - from, only_first);
    for (i = 0; i < ans.n; ++i) {
      assert_true ((ans.piece[i].type & ~(VD_HOLE | VD_READS_ZERO)) == 0);
      if (ans.piece[i].type & VD_READS_ZERO) {
        buf = malloc (ans.piece[i].length);
        mk_model_read (model, buf, ans.piece[i].length, from);
        for (k = 0; k < ans.piece[i].length; ++k)
          if (buf[k] != 0)
            fail_msg ("byte %llu is not zero", (unsigned long long) from + k);
        free (buf);
        zeros += ans.piece[i].length;
      }
      from += ans.piece[i].length;
    }
  }
  assert_int_equal (from, to);
  return zeros;
}

static void
is (size_t i, uint64_t length, unsigned type)
{
  assert_true (i < ans.n);
  assert_int_equal (ans.piece[i].length, length);
  assert_int_equal (ans.piece[i].type, type);
}
#define ZEROS (VD_HOLE | VD_READS_ZERO)

/* ---- One layer over a base with holes ----------------------------------- */

struct setup {
  struct mk_pattern pattern;
  struct u_image image;
  struct mk_spec spec;
  struct mk_content base_content;
  struct mk_piece piece;
  struct mk_layer layer;
  struct mk_model model;
  uint8_t *base;
  struct u_spy *spy;
  struct u_disk disk;
};

static void
open_one (struct setup *s, enum mk_format format, uint32_t grain,
          uint64_t size, uint64_t base_size)
{
  s->spec = (struct mk_spec) {
    .format = format, .capacity = size, .grain_size = grain,
    .map = mk_map_pattern (&s->pattern), .fill = mk_fill_content (&content),
    .last = MK_LAST_JUNK,
  };
  u_make (&s->image, &s->spec);
  s->piece = mk_piece_of (&s->spec);
  s->layer = (struct mk_layer) { .pieces = &s->piece, .n = 1 };
  s->base_content = (struct mk_content) { .seed = 2, .flavour = MK_HOLEY };
  s->model = (struct mk_model) {
    .capacity = size, .base_size = base_size,
    .base = mk_fill_content (&s->base_content), .layers = &s->layer, .n = 1,
  };
  s->base = malloc (base_size + 1);
  mk_content_fill (&s->base_content, s->base, base_size, 0);
  s->spy = u_spy (u_memory ("base", s->base, base_size));
  s->spy->granule = 4096;
  u_disk_open_one (&s->disk, &s->image, &s->spy->file);
}

static void
close_one (struct setup *s)
{
  u_disk_close (&s->disk);
  vd_file_close (&s->spy->file);
  u_free (&s->image);
  free (s->base);
}

TEST (answers_cover_exactly_and_zeros_are_zeros)
{
  static const enum mk_format formats[] = {
    MK_COWD, MK_KDMV, MK_STREAM, MK_SESPARSE
  };
  unsigned i;

  for (i = 0; i < 48; ++i) {
    const enum mk_format f = formats[i % 4];
    struct setup s = {
      .pattern = { .seed = i, .run = 1 + i % 7, .fill = i * 20,
                   .zero = f == MK_COWD ? 0 : 300 },
    };
    const uint64_t size = 512 * (1000 + 131 * i);

    open_one (&s, f, f == MK_SESPARSE ? 4096 : 512u << (i % 8), size,
              i % 3 ? size : size / 2 + i);
    s.spy->max_pieces = i % 5;
    check_all (&s.disk, &s.model, 0, size, false);
    check_all (&s.disk, &s.model, 0, size, true);
    check_all (&s.disk, &s.model, 777, size - 1, i % 2);
    close_one (&s);
  }
}

TEST (holes_of_the_base_are_kept)
{
  struct setup s = { .pattern = { .run = 1, .fill = 0 } };
  uint64_t zeros = 0, pos;

  open_one (&s, MK_COWD, 512, MIB, MIB);
  for (pos = 0; pos < MIB; pos += 4096) {
    static const uint8_t z[4096];

    zeros += memcmp (s.base + pos, z, 4096) == 0 ? 4096 : 0;
  }
  assert_true (zeros > 0);
  assert_int_equal (check_all (&s.disk, &s.model, 0, MIB, false), zeros);
  assert_true (s.spy->asked <= 3);
  close_one (&s);
}

TEST (fine_alternation_asks_the_base_seldom)
{
  struct setup s = { .pattern = { .run = 1, .alternate = true } };

  open_one (&s, MK_COWD, 512, 4 * MIB, 4 * MIB);
  check_all (&s.disk, &s.model, 0, 4 * MIB, false);
  assert_true (s.spy->asked < 20);
  close_one (&s);
}

TEST (a_base_with_more_pieces_than_are_remembered)
{
  struct setup s = { .pattern = { .run = 3, .fill = 200 } };
  uint64_t pos;

  open_one (&s, MK_COWD, 512, 8 * MIB, 8 * MIB);
  s.spy->granule = 512;
  memset (s.base, 1, 8 * MIB);
  for (pos = 0; pos < 8 * MIB; pos += 1024)     /* 16384 pieces */
    memset (s.base + pos, 0, 512);
  ask (&s.disk, 0, 8 * MIB, false);
  assert_int_equal (ans.total, 8 * MIB);
  assert_true (ans.n > 10000);
  close_one (&s);
}

/* It says that its blocks have 64 KiB, and tells of holes in the middle. */
TEST (more_pieces_than_are_remembered_in_one_block_of_the_base)
{
  struct setup s = { .pattern = { .run = 1, .fill = 0 } };
  uint64_t pos;

  open_one (&s, MK_COWD, 512, MIB, MIB);
  s.spy->granule = 8;
  s.disk.base.align = 65536;
  memset (s.base, 1, MIB);
  for (pos = 0; pos < MIB; pos += 16)   /* 8192 pieces in a block */
    memset (s.base + pos, 0, 8);
  for (pos = 60000; pos < 70000; pos += 1000) {
    ask (&s.disk, pos, 1000, false);
    assert_int_equal (ans.total, 1000);
    is (0, 8 - pos % 8, pos / 8 % 2 ? 0 : ZEROS);
  }
  close_one (&s);
}

TEST (past_the_end_of_the_base_is_a_hole)
{
  struct setup s = { .pattern = { .run = 1, .fill = 0 } };

  open_one (&s, MK_COWD, 512, MIB, 10000);
  memset (s.base, 1, 10000);
  ask (&s.disk, 0, MIB, false);
  assert_int_equal (ans.total, MIB);
  assert_int_equal (ans.piece[ans.n - 1].type, ZEROS);
  assert_int_equal (ans.piece[ans.n - 1].length, MIB - 10000);

  s.disk.base.file = NULL;
  ask (&s.disk, 5, 1000, false);
  is (0, 1000, ZEROS);
  assert_int_equal (ans.n, 1);
  close_one (&s);
}

TEST (kinds_of_grains_have_their_answers)
{
  static const uint8_t kinds[] = { MK_DATA, MK_ZERO, MK_HOLE, MK_DATA };
  struct mk_array array = { .kind = kinds, .n = 4 };
  struct setup s = { .pattern = { .run = 1, .fill = 0 } };
  struct mk_spec spec;

  open_one (&s, MK_KDMV, 4096, 6 * 4096, 6 * 4096);
  spec = s.spec;
  close_one (&s);

  spec.map = mk_map_array (&array);
  s.spec = spec;
  u_make (&s.image, &spec);
  s.base = malloc (6 * 4096);
  memset (s.base, 1, 6 * 4096);
  memset (s.base + 4 * 4096, 0, 4096);
  s.spy = u_spy (u_memory ("base", s.base, 6 * 4096));
  s.spy->granule = 4096;
  u_disk_open_one (&s.disk, &s.image, &s.spy->file);
  ask (&s.disk, 0, 6 * 4096, false);
  assert_int_equal (ans.n, 6);
  is (0, 4096, 0);              /* data */
  is (1, 4096, ZEROS);          /* a zero grain over data */
  is (2, 4096, 0);              /* the base's data */
  is (3, 4096, 0);              /* data again, of the layer */
  is (4, 4096, ZEROS);          /* the base's hole */
  is (5, 4096, 0);

  /* damage is called data: who reads it will see */
  u_put (&s.image, u_grain (&s.image, 0)->gte, 4, 2);
  vd_reader_free (s.disk.reader);
  s.disk.reader = vd_reader_new (s.disk.chain, MIB, NULL);
  ask (&s.disk, 0, 6 * 4096, false);
  is (0, 4096, 0);
  assert_int_equal (ans.total, 6 * 4096);
  close_one (&s);
}

TEST (only_the_first_is_of_one_type_and_as_long_as_can_be)
{
  struct setup s = { .pattern = { .run = 1, .alternate = true } };
  struct setup z = {
    .pattern = { .run = 1, .alternate = true, .zero = 1000 }
  };
  unsigned first;

  /* All is data, some of it the base's. */
  open_one (&s, MK_COWD, 512, 8 * MIB, 8 * MIB);
  s.spy->granule = 0;
  ask (&s.disk, 0, 8 * MIB, true);
  assert_int_equal (ans.total, 8 * MIB);
  assert_true (s.spy->asked >= 1 && s.spy->asked <= 8);
  ask (&s.disk, 600, 8 * MIB - 600, true);
  assert_int_equal (ans.total, 8 * MIB - 600);
  ask (&s.disk, 100, 3, true);
  is (0, 3, 0);
  close_one (&s);

  /* Zeros and data of the base in turn. */
  open_one (&z, MK_KDMV, 4096, MIB, MIB);
  z.spy->granule = 0;
  ask (&z.disk, 0, MIB, true);
  assert_int_equal (ans.total, 4096);
  first = ans.piece[0].type;
  ask (&z.disk, 4096, MIB - 4096, true);
  assert_int_equal (ans.total, 4096);
  assert_int_not_equal (ans.piece[0].type, first);
  close_one (&z);
}

TEST (the_receiver_can_stop_or_fail)
{
  struct setup s = { .pattern = { .run = 1, .alternate = true } };
  struct vd_err err;
  size_t k;

  open_one (&s, MK_COWD, 512, MIB, MIB);
  for (k = 1; k < 50; ++k) {
    memset (&ans, 0, offsetof (struct answer, piece));
    ans.stop_after = k;
    ans.fail_after = 0;
    assert_int_equal (vd_status (s.disk.reader, &s.disk.base, 0, MIB, false,
                                 receive, &ans, &err), 0);
    assert_int_equal (ans.n, k);

    memset (&ans, 0, offsetof (struct answer, piece));
    ans.stop_after = 0;
    ans.fail_after = k;
    assert_int_equal (vd_status (s.disk.reader, &s.disk.base, 0, MIB, false,
                                 receive, &ans, &err), -1);
    assert_err (&err, VD_USAGE, "enough");
    assert_int_equal (ans.n, k);
  }
  ans.fail_after = 0;
  close_one (&s);
}

TEST (a_base_that_cannot_say_is_an_error)
{
  struct setup s = { .pattern = { .run = 1, .fill = 0 } };
  struct u_spy *bad;
  struct vd_err err;

  open_one (&s, MK_COWD, 512, MIB, MIB);
  /* its own extents() reads the file below, which fails */
  bad = u_spy (s.spy->under);
  bad->bad_end = UINT64_MAX;
  s.spy->under = &bad->file;
  memset (&ans, 0, offsetof (struct answer, piece));
  assert_int_equal (vd_status (s.disk.reader, &s.disk.base, 0, MIB, false,
                               receive, &ans, &err), -1);
  assert_err (&err, VD_IO, "on purpose");
  close_one (&s);
}

/* Much more than fits into the map's regions at once, nearly empty. */
TEST (large_empty_disks_are_answered_at_once)
{
  uint64_t grains[] = { 0, 1000000, 4194303 };
  struct mk_list list = { .n = 3, .grain = grains };
  struct mk_spec spec = {
    .format = MK_SESPARSE, .capacity = 16 * GIB, .grain_size = 4096,
    .map = mk_map_list (&list), .fill = mk_fill_content (&content),
  };
  struct vd_map_stats st;
  struct u_image m;
  struct u_disk d;

  u_make (&m, &spec);
  u_disk_open_one (&d, &m, NULL);
  ask (&d, 0, 16 * GIB, false);
  assert_int_equal (ans.n, 5);
  is (0, 4096, 0);
  is (1, 999999 * UINT64_C (4096), ZEROS);
  is (2, 4096, 0);
  is (4, 4096, 0);
  assert_int_equal (ans.total, 16 * GIB);
  vd_map_get_stats (vd_reader_get_map (d.reader), &st);
  assert_int_equal (st.misses, 0);
  u_disk_close (&d);
  u_free (&m);
}

/* A flat file's holes are where the file system has them. */
TEST (holes_of_flat_extents_are_told)
{
  struct mk_sink sink;
  struct vd_link *link;
  struct vd_err err;
  struct u_disk d;
  uint8_t data[65536];

  memset (data, 1, sizeof data);
  assert_int_equal (mk_sink_create (&sink, "f.vmdk"), 0);
  assert_int_equal (sink.pwrite (sink.opaque, data, sizeof data, MIB), 0);
  assert_int_equal (sink.truncate (sink.opaque, 4 * MIB), 0);
  assert_int_equal (mk_sink_close (&sink), 0);
  u_write_text ("d.vmdk", "RW 8 ZERO\nRW 6144 FLAT \"f.vmdk\" 2048\n"
                "RW 1 ZERO\n");
  link = vd_link_open ("d.vmdk", &none, &err);
  assert_opened (link, &err);
  u_disk_open (&d, &link, 1, NULL, MIB);
  ask (&d, 0, 6152 * 512, false);
  assert_int_equal (ans.total, 6152 * 512);
  is (0, 4096, ZEROS);
  if (ans.n > 2) {              /* the file system tells holes */
    assert_int_equal (ans.n, 3);
    is (1, 65536, 0);
    is (2, 3 * MIB - 65536, ZEROS);
  }
  else
    is (1, 3 * MIB, 0);

  /* one who has enough within a file's pieces gets no more */
  memset (&ans, 0, offsetof (struct answer, piece));
  ans.stop_after = 2;
  assert_int_equal (vd_status (d.reader, &d.base, 0, 6153 * 512, false,
                               receive, &ans, &err), 0);
  assert_int_equal (ans.n, 2);
  ans.stop_after = 0;
  u_disk_close (&d);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (answers_cover_exactly_and_zeros_are_zeros),
    cmocka_unit_test (holes_of_the_base_are_kept),
    cmocka_unit_test (fine_alternation_asks_the_base_seldom),
    cmocka_unit_test (a_base_with_more_pieces_than_are_remembered),
    cmocka_unit_test (more_pieces_than_are_remembered_in_one_block_of_the_base),
    cmocka_unit_test (past_the_end_of_the_base_is_a_hole),
    cmocka_unit_test (kinds_of_grains_have_their_answers),
    cmocka_unit_test (
      only_the_first_is_of_one_type_and_as_long_as_can_be),
    cmocka_unit_test (the_receiver_can_stop_or_fail),
    cmocka_unit_test (a_base_that_cannot_say_is_an_error),
    cmocka_unit_test (large_empty_disks_are_answered_at_once),
    tmpdir_test (holes_of_flat_extents_are_told),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
