/* COWD: every header field, every kind of table entry. */

#include "unit.h"

static struct mk_content content = { .seed = 7, .layer = 1,
                                     .flavour = MK_NOISE };

/* Grains 0 and 2, and the last one; 10000 sectors in three tables. */
static uint64_t some_grains[] = { 0, 2, 4095, 4096, 9999 };
static struct mk_list some = { .n = 5, .grain = some_grains };

static void
make_some (struct u_image *m)
{
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = 10000 * 512, .grain_size = 512,
    .map = mk_map_list (&some), .fill = mk_fill_content (&content),
  };

  u_make (m, &spec);
}

TEST (header_fields_are_checked)
{
  static const struct u_field fields[] = {
    { MK_COWD_VERSION, 4, 1, VD_OK, { NULL } },
    { MK_COWD_VERSION, 4, 0, VD_UNSUPPORTED, { "version 0", "only 1" } },
    { MK_COWD_VERSION, 4, 2, VD_UNSUPPORTED, { "version 2", "byte 4" } },
    { MK_COWD_VERSION, 4, 0x01000000, VD_UNSUPPORTED, { "16777216" } },
    { MK_COWD_GRAINSIZE, 4, 0, VD_CORRUPT, { "grain size is 0", "1 to 2048" } },
    { MK_COWD_GRAINSIZE, 4, 3, VD_CORRUPT, { "is 3 ", "power of two" } },
    { MK_COWD_GRAINSIZE, 4, 8, VD_OK, { NULL } },
    { MK_COWD_GRAINSIZE, 4, 2048, VD_OK, { NULL } },
    { MK_COWD_GRAINSIZE, 4, 4096, VD_CORRUPT, { "4096", "byte 16" } },
    { MK_COWD_GRAINSIZE, 4, 0xffffffff, VD_CORRUPT, { "4294967295" } },
    { MK_COWD_GRAINSIZE, 4, 0x80000000, VD_CORRUPT, { "2147483648" } },
    { MK_COWD_CAPACITY, 4, 0, VD_CORRUPT, { "no sectors", "byte 12" } },
    { MK_COWD_CAPACITY, 4, 1, VD_OK, { NULL } },
    { MK_COWD_CAPACITY, 4, 3 * 4096, VD_OK, { NULL } },
    { MK_COWD_CAPACITY, 4, 3 * 4096 + 1, VD_CORRUPT,
      { "3 entries", "byte 24", "4 are needed", "12289" } },
    { MK_COWD_CAPACITY, 4, 0xffffffff, VD_CORRUPT, { "1048576 are needed" } },
    { MK_COWD_GDENTRIES, 4, 2, VD_CORRUPT, { "2 entries", "3 are needed" } },
    { MK_COWD_GDENTRIES, 4, 0, VD_CORRUPT, { "0 entries" } },
    { MK_COWD_GDENTRIES, 4, 4, VD_OK, { NULL } },
    { MK_COWD_GDENTRIES, 4, 0xffffffff, VD_OK, { NULL } },
    { MK_COWD_GDOFFSET, 4, 3, VD_CORRUPT, { "sector 3 ", "byte 20" } },
    { MK_COWD_GDOFFSET, 4, 0, VD_CORRUPT, { "sector 0 ", "outside" } },
    { MK_COWD_GDOFFSET, 4, 1000000, VD_TRUNCATED, { "1000000", "outside" } },
    { MK_COWD_GDOFFSET, 4, 0xffffffff, VD_TRUNCATED, { "4294967295" } },
    { MK_COWD_FREESECTOR, 4, 0, VD_OK, { NULL } },
    { MK_COWD_FREESECTOR, 4, 0xffffffff, VD_OK, { NULL } },
    { MK_COWD_FLAGS, 4, 0xffffffff, VD_OK, { NULL } },
    { MK_COWD_SAVEDGENERATION, 4, 5, VD_OK, { NULL } },
    { MK_COWD_PARENTNAME, 4, 0x64636261, VD_OK, { NULL } },
    { MK_COWD_MAGIC, 4, 0x44574f44, VD_NOT_FORMAT, { NULL } },
  };
  struct u_image m;

  make_some (&m);
  u_check_fields (&m, fields, ARRAY_SIZE (fields));
  u_free (&m);
}

TEST (odd_but_harmless_fields_are_warned_of)
{
  static const struct { unsigned off; uint32_t value; const char *part; } t[]
    = {
    { MK_COWD_FLAGS, 7, "flags are 0x7, expected is 3" },
    { MK_COWD_FREESECTOR, 4000, "counts 4000 sectors" },
    { MK_COWD_UNCLEAN, 1, "not closed cleanly" },
  };
  struct u_image m;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    struct u_log log;
    const struct vd_opts opts = u_opts (&log);
    struct vd_image *image;
    struct vd_err err;

    make_some (&m);
    image = u_open (&m, &opts, &err);
    assert_opened (image, &err);
    assert_int_equal (log.n, 0);
    assert_false (image->unclean);
    vd_image_close (image);

    u_put (&m, t[i].off, 4, t[i].value);
    image = u_open (&m, &opts, &err);
    assert_opened (image, &err);
    assert_int_equal (log.n, 1);
    assert_text (log.text, "m.vmdk");
    assert_text (log.text, t[i].part);
    assert_int_equal (image->unclean, t[i].off == MK_COWD_UNCLEAN);
    vd_image_close (image);
    u_free (&m);
  }
}

TEST (cut_headers_are_refused)
{
  static const size_t sizes[] = { 4, 100, 511, 512, 2047, 2048, 2059 };
  const struct vd_opts opts = { .allow_dirty = false };
  struct u_image m;
  size_t i;

  make_some (&m);
  for (i = 0; i < ARRAY_SIZE (sizes); ++i) {
    struct u_image cut = m;
    struct vd_err err;

    cut.mem.size = sizes[i];
    assert_null (u_open (&cut, &opts, &err));
    assert_err (&err, VD_TRUNCATED, "m.vmdk");
  }
  m.mem.size = 2060;            /* header and directory, no more */
  vd_image_close (u_open_ok (&m));
  u_free (&m);
}

TEST (what_was_read_is_told)
{
  struct vd_image *image;
  struct u_image m;

  make_some (&m);
  image = u_open_ok (&m);
  assert_ptr_equal (image->fmt, &vd_format_cowd);
  assert_string_equal (image->fmt->name, "COWD");
  assert_int_equal (image->capacity, 10000 * 512);
  assert_int_equal (image->used, 10000 * 512);
  assert_int_equal (image->grain_size, 512);
  assert_int_equal (image->tables_size, 2 * MIB);
  assert_int_equal (image->version, 1);
  assert_int_equal (image->flags, 3);
  assert_int_equal (image->descriptor_length, 0);
  vd_image_close (image);
  u_free (&m);
}

/* Sizes of grains and disks where rounding goes wrong. */
TEST (all_geometries_read_as_the_model)
{
  static const struct { uint32_t grain; uint64_t sectors; } t[] = {
    { 1, 1 }, { 1, 2 }, { 1, 4095 }, { 1, 4096 }, { 1, 4097 }, { 1, 10000 },
    { 8, 1 }, { 8, 7 }, { 8, 10000 }, { 8, 32768 }, { 8, 32769 },
    { 8, 65537 }, { 128, 129 }, { 2048, 1 }, { 2048, 2047 }, { 2048, 2049 },
    { 2048, 10000 },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    struct mk_pattern pattern = { .seed = i, .run = 1, .fill = 500 };
    struct mk_spec spec = {
      .format = MK_COWD, .capacity = t[i].sectors * 512,
      .grain_size = t[i].grain * 512, .map = mk_map_pattern (&pattern),
      .fill = mk_fill_content (&content), .last = MK_LAST_JUNK,
      .placement = i % 2 ? MK_SCATTERED : MK_REVERSED, .seed = i,
    };
    struct u_image m;
    struct u_disk d;

    if (t[i].sectors < 10)
      pattern.fill = 1000;
    u_make (&m, &spec);
    u_disk_open_one (&d, &m, NULL);
    assert_int_equal (d.chain->size, spec.capacity);
    u_compare_spec (&d, &spec, 0, spec.capacity);
    u_compare_spec (&d, &spec, spec.capacity - 1, 1);
    u_disk_close (&d);
    u_free (&m);
  }
}

TEST (the_directory_is_where_the_header_says)
{
  struct mk_spec spec = {
    .format = MK_COWD, .capacity = 10000 * 512, .grain_size = 512,
    .map = mk_map_list (&some), .fill = mk_fill_content (&content),
    .gd_sector = 8,
  };
  struct u_image m;
  struct u_disk d;

  u_make (&m, &spec);
  assert_int_equal (u_get (&m, MK_COWD_GDOFFSET, 4), 8);
  u_disk_open_one (&d, &m, NULL);
  u_compare_spec (&d, &spec, 0, spec.capacity);
  u_disk_close (&d);
  u_free (&m);
}

TEST (entries_of_zero_and_one_are_holes_and_zeros)
{
  struct vd_image *image;
  struct u_image m;

  make_some (&m);
  image = u_open_ok (&m);
  assert_kind (image, 0, VD_DATA);
  assert_kind (image, 512, VD_BASE);
  assert_kind (image, 3 * 512, VD_BASE);
  assert_int_equal (u_run (image, 2 * 512).where, u_grain (&m, 2)->data);
  assert_int_equal (u_run (image, 2 * 512 + 7).where,
                    u_grain (&m, 2)->data + 7);

  u_put (&m, u_grain (&m, 2)->gte, 4, 1);
  assert_kind (image, 2 * 512, VD_ZERO);
  u_put (&m, u_grain (&m, 2)->gte, 4, 0);
  assert_kind (image, 2 * 512, VD_BASE);

  u_put (&m, m.layout.tables[1].gde, 4, 0);     /* a table that is not there */
  assert_kind (image, 4096 * 512, VD_BASE);
  assert_kind (image, 4095 * 512, VD_DATA);
  vd_image_close (image);
  u_free (&m);
}

TEST (entries_into_the_metadata_are_damage)
{
  static const uint32_t bad[] = { 2, 3, 4 };
  struct vd_image *image;
  struct u_image m;
  size_t i;

  make_some (&m);
  image = u_open_ok (&m);
  for (i = 0; i < ARRAY_SIZE (bad); ++i) {
    char part[64];

    u_put (&m, u_grain (&m, 2)->gte, 4, bad[i]);
    snprintf (part, sizeof part, "(sector %u; data begins at sector 5)",
              bad[i]);
    assert_damaged (image, 2 * 512 + 3, VD_CORRUPT, "grain 2 ", "metadata",
                    part);
  }
  u_put (&m, u_grain (&m, 2)->gte, 4, 5);
  assert_kind (image, 2 * 512, VD_DATA);

  for (i = 1; i <= 4; ++i) {
    u_put (&m, m.layout.tables[1].gde, 4, i);
    assert_damaged (image, 4096 * 512, VD_CORRUPT, "grain table 1 ",
                    "allowed is sector 5");
  }
  assert_kind (image, 0, VD_DATA);
  vd_image_close (image);
  u_free (&m);
}

TEST (entries_past_the_end_are_damage)
{
  struct vd_image *image;
  struct u_image m;
  uint64_t end;

  make_some (&m);
  end = m.mem.size / 512;
  image = u_open_ok (&m);
  u_put (&m, u_grain (&m, 2)->gte, 4, end);
  assert_damaged (image, 2 * 512, VD_TRUNCATED, "grain 2 ", "disk byte 1024",
                  "truncated", "ends at sector");
  u_put (&m, u_grain (&m, 2)->gte, 4, end - 1);
  assert_kind (image, 2 * 512, VD_DATA);
  u_put (&m, u_grain (&m, 2)->gte, 4, UINT32_MAX);
  assert_damaged (image, 2 * 512, VD_TRUNCATED, "sector 4294967295");

  u_put (&m, m.layout.tables[1].gde, 4, end - 31);
  assert_damaged (image, 4096 * 512, VD_TRUNCATED, "grain table 1 ");
  u_put (&m, m.layout.tables[1].gde, 4, end - 32);
  assert_true (u_run (image, 4096 * 512).kind != VD_DAMAGED ||
               u_get (&m, (end - 32) * 512, 4) != 0);
  u_put (&m, m.layout.tables[1].gde, 4, UINT32_MAX);
  assert_damaged (image, 4096 * 512, VD_TRUNCATED, "sector 4294967295");
  vd_image_close (image);
  u_free (&m);
}

TEST (a_grain_that_is_partly_there_is_read_as_far)
{
  struct mk_pattern pattern = { .seed = 1, .run = 1, .fill = 1000 };
  struct mk_spec spec = {
    .format = MK_COWD, .capacity = 2 * 65536, .grain_size = 65536,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  struct u_image m;
  struct u_disk d;

  u_make (&m, &spec);
  m.mem.size -= 3 * 512 + 100;  /* 124 whole sectors stay */
  u_disk_open_one (&d, &m, NULL);
  u_compare_spec (&d, &spec, 0, 65536 + 124 * 512);
  assert_unreadable (&d, 65536 + 124 * 512, 1, VD_TRUNCATED, "m.vmdk",
                     "grain 1 ", "disk byte 65536", "truncated");
  assert_unreadable (&d, 65536, 65536, VD_TRUNCATED, "grain 1 ");
  u_disk_close (&d);
  u_free (&m);
}

TEST (shared_and_unaligned_grains_are_read)
{
  struct mk_pattern pattern = { .seed = 1, .run = 1, .fill = 1000 };
  struct mk_spec spec = {
    .format = MK_COWD, .capacity = 64 * 4096, .grain_size = 4096,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
    .max_gap = 5, .seed = 3,
  };
  uint8_t a[4096], b[4096], want[4096];
  struct u_image m;
  struct u_disk d;
  struct vd_err err;

  u_make (&m, &spec);
  /* one sector into grain 3, which overlaps what grain 4 may be */
  u_put (&m, u_grain (&m, 9)->gte, 4, u_grain (&m, 3)->data / 512);
  u_put (&m, u_grain (&m, 10)->gte, 4, u_grain (&m, 3)->data / 512 + 1);
  u_disk_open_one (&d, &m, NULL);
  assert_int_equal (vd_read (d.reader, &d.base, a, 4096, 9 * 4096, &err), 0);
  assert_int_equal (vd_read (d.reader, &d.base, b, 4096, 10 * 4096, &err), 0);
  mk_content_fill (&content, want, 4096, 3 * 4096);
  assert_memory_equal (a, want, 4096);
  assert_memory_equal (b, want + 512, 4096 - 512);
  u_disk_close (&d);
  u_free (&m);
}

/* An entry that points into the middle of others. */
TEST (a_grain_inside_others_is_read)
{
  static const uint8_t kinds[] = {
    MK_DATA, MK_DATA, MK_DATA, MK_DATA, MK_HOLE, MK_DATA
  };
  struct mk_array array = { .kind = kinds, .n = sizeof kinds };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = 6 * 512, .grain_size = 512,
    .map = mk_map_array (&array), .fill = mk_fill_content (&content),
  };
  uint8_t have[6 * 512], want[6 * 512] = { 0 };
  struct u_image m;
  struct u_disk d;
  struct vd_err err;

  u_make (&m, &spec);
  u_put (&m, u_grain (&m, 5)->gte, 4, u_grain (&m, 1)->data / 512);
  mk_content_fill (&content, want, 4 * 512, 0);
  memcpy (want + 5 * 512, want + 512, 512);
  u_disk_open_one (&d, &m, NULL);
  assert_int_equal (vd_read (d.reader, &d.base, have, sizeof have, 0, &err),
                    0);
  assert_memory_equal (have, want, sizeof have);
  u_disk_close (&d);
  u_free (&m);
}

TEST (entries_beyond_the_capacity_do_not_matter)
{
  struct vd_runs runs = VD_RUNS_INIT (100);
  struct vd_out out = { .runs = &runs };
  struct vd_image *image;
  struct vd_err err;
  struct u_image m;

  make_some (&m);
  u_put (&m, m.layout.tables[2].gt + 4 * (10000 % 4096), 4, 3);
  image = u_open_ok (&m);
  assert_int_equal (image->fmt->map (image, 9000 * 512, 1000 * 512, &out,
                                     &err), 0);
  assert_int_equal (runs.n, 2);
  assert_int_equal (runs.run[0].kind, VD_BASE);
  assert_int_equal (runs.run[1].kind, VD_DATA);
  assert_int_equal (vd_run_end (&runs.run[1]), 10000 * 512);
  vd_runs_free (&runs);
  vd_image_close (image);
  u_free (&m);
}

/* Sector numbers from 2^23 on are bytes that 32 bits do not hold. */
TEST (grains_above_4_gib_are_found)
{
  static const uint64_t sectors[] = {
    UINT64_C (1) << 23, UINT64_C (0x80000000), UINT64_C (0xfffffff0),
  };
  const struct vd_opts opts = { .allow_dirty = false };
  char want[512], have[512];
  struct u_image m;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (sectors); ++i) {
    struct vd_base base = { .file = NULL, .align = 1 };
    struct vd_link *link;
    struct mk_sink sink;
    struct u_disk d;
    struct vd_err err;

    make_some (&m);
    u_put (&m, u_grain (&m, 2)->gte, 4, sectors[i]);
    u_write ("big.vmdk", m.mem.data, m.mem.size);
    memset (want, 'a' + (int) i, sizeof want);
    assert_int_equal (mk_sink_open (&sink, "big.vmdk"), 0);
    assert_int_equal (sink.pwrite (sink.opaque, want, 512, sectors[i] * 512),
                      0);
    assert_int_equal (mk_sink_close (&sink), 0);

    link = vd_link_open ("big.vmdk", &opts, &err);
    assert_opened (link, &err);
    u_disk_open (&d, &link, 1, NULL, MIB);
    assert_int_equal (vd_read (d.reader, &base, have, 512, 1024, &err), 0);
    assert_memory_equal (have, want, 512);
    u_disk_close (&d);
    u_free (&m);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (header_fields_are_checked),
    cmocka_unit_test (odd_but_harmless_fields_are_warned_of),
    cmocka_unit_test (cut_headers_are_refused),
    cmocka_unit_test (what_was_read_is_told),
    cmocka_unit_test (all_geometries_read_as_the_model),
    cmocka_unit_test (the_directory_is_where_the_header_says),
    cmocka_unit_test (entries_of_zero_and_one_are_holes_and_zeros),
    cmocka_unit_test (entries_into_the_metadata_are_damage),
    cmocka_unit_test (entries_past_the_end_are_damage),
    cmocka_unit_test (a_grain_that_is_partly_there_is_read_as_far),
    cmocka_unit_test (shared_and_unaligned_grains_are_read),
    cmocka_unit_test (a_grain_inside_others_is_read),
    cmocka_unit_test (entries_beyond_the_capacity_do_not_matter),
    tmpdir_test (grains_above_4_gib_are_found),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
