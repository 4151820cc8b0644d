/* SEsparse: headers, directory, every kind of table entry, the journal. */

#include "unit.h"

#define GRAIN 4096u

static struct mk_content content = { .seed = 13, .layer = 1,
                                     .flavour = MK_NOISE };

/* Two tables and a bit; the last grain has three sectors. */
#define CAPACITY ((2 * 4096 + 10) * (uint64_t) GRAIN + 3 * 512)
static uint64_t some_grains[] = { 0, 1, 2, 3, 4095, 4096, 8191, 8202 };
static uint8_t some_kinds[] = {
  MK_DATA, MK_ZERO, MK_UNMAPPED, MK_DATA, MK_DATA, MK_DATA, MK_ZERO, MK_DATA,
};
static struct mk_list some_list = {
  .n = 8, .grain = some_grains, .kind = some_kinds
};

static struct mk_spec
some (void)
{
  return (struct mk_spec) {
    .format = MK_SESPARSE, .capacity = CAPACITY, .grain_size = GRAIN,
    .map = mk_map_list (&some_list), .fill = mk_fill_content (&content),
  };
}

static void
make_some (struct u_image *m)
{
  const struct mk_spec spec = some ();

  u_make (m, &spec);
}

TEST (constant_header_is_checked)
{
  static const struct u_field fields[] = {
    { MK_SE_MAGIC, 8, UINT64_C (0x1cafebabe), VD_NOT_FORMAT, { NULL } },
    { MK_SE_VERSION, 8, UINT64_C (0x200000000), VD_UNSUPPORTED,
      { "version 2.0", "only 2.1" } },
    { MK_SE_VERSION, 8, UINT64_C (0x200000002), VD_UNSUPPORTED,
      { "version 2.2", "byte 8" } },
    { MK_SE_VERSION, 8, UINT64_C (0x300000001), VD_UNSUPPORTED, { "3.1" } },
    { MK_SE_VERSION, 8, 1, VD_UNSUPPORTED, { "version 0.1" } },
    { MK_SE_GRAINSIZE, 8, 0, VD_UNSUPPORTED, { "grain size", "only 0x8 " } },
    { MK_SE_GRAINSIZE, 8, 16, VD_UNSUPPORTED, { "is 0x10", "byte 24" } },
    { MK_SE_GTSIZE, 8, 0, VD_UNSUPPORTED, { "table size", "only 0x40" } },
    { MK_SE_GTSIZE, 8, 32, VD_UNSUPPORTED, { "is 0x20", "byte 32" } },
    { MK_SE_FLAGS, 8, 1, VD_UNSUPPORTED, { "flags", "0x1,", "byte 40" } },
    { MK_SE_FLAGS, 8, UINT64_C (1) << 63, VD_UNSUPPORTED, { "flags" } },
    { MK_SE_RESERVED1, 8, 0, VD_OK, { NULL } },
    { MK_SE_RESERVED1, 8, 0x200, VD_OK, { NULL } },
    { MK_SE_RESERVED1, 8, 0x201, VD_UNSUPPORTED,
      { "0x201", "byte 48", "0 and 0x200" } },
    { MK_SE_RESERVED1, 8, UINT64_C (0x20000000000), VD_UNSUPPORTED,
      { "0x20000000000" } },
    { MK_SE_RESERVED2, 8, 0x200, VD_UNSUPPORTED, { "field 2", "0x200" } },
    { MK_SE_RESERVED3, 8, 1, VD_UNSUPPORTED, { "field 3", "byte 64" } },
    { MK_SE_RESERVED4, 8, 1, VD_UNSUPPORTED, { "field 4", "byte 72" } },
    { MK_SE_PAD, 1, 1, VD_UNSUPPORTED, { "byte 208 is 0x01", "only 0" } },
    { 511, 1, 0xff, VD_UNSUPPORTED, { "byte 511 is 0xff" } },
    { MK_SE_CAPACITY, 8, 0, VD_CORRUPT, { "no sectors", "byte 16" } },
    { MK_SE_CAPACITY, 8, 1, VD_OK, { NULL } },
    { MK_SE_CAPACITY, 8, UINT64_C (1) << 54, VD_CORRUPT, { "2^62" } },
    { MK_SE_CAPACITY, 8, UINT64_MAX, VD_CORRUPT,
      { "18446744073709551615" } },
    { MK_SE_CAPACITY, 8, UINT64_C (1) << 53, VD_CORRUPT, { "are needed" } },
    { MK_SE_CAPACITY, 8, 131072 * UINT64_C (32768) + 1, VD_CORRUPT,
      { "room for 131072 entries", "131073 are needed" } },
    { MK_SE_VOLATILE, 8, 0, VD_CORRUPT, { "sector 0 ", "byte 80" } },
    { MK_SE_VOLATILE, 8, UINT64_MAX, VD_CORRUPT, { "volatile" } },
    { MK_SE_VOLATILE, 8, 2, VD_CORRUPT, { "byte 1024", "0xdeafc0de" } },
    { MK_SE_VOLATILE, 8, 1 << 30, VD_TRUNCATED, { "549755813888" } },
    { MK_SE_GD, 8, 0, VD_CORRUPT, { "grain directory", "byte 128" } },
    { MK_SE_GD, 8, UINT64_MAX, VD_CORRUPT, { "grain directory" } },
    { MK_SE_GD, 8, UINT64_C (1) << 40, VD_TRUNCATED, { "directory ends" } },
    { MK_SE_GD_SIZE, 8, 0, VD_CORRUPT, { "room for 0 entries", "byte 136" } },
    { MK_SE_GD_SIZE, 8, UINT64_MAX, VD_CORRUPT, { "grain directory" } },
    { MK_SE_GD_SIZE, 8, UINT64_C (1) << 53, VD_CORRUPT, { "2^62" } },
    { MK_SE_GTS, 8, 0, VD_CORRUPT, { "table area", "byte 144" } },
    { MK_SE_GTS, 8, UINT64_C (1) << 55, VD_CORRUPT, { "table area" } },
    { MK_SE_GTS_SIZE, 8, UINT64_MAX, VD_CORRUPT, { "table area" } },
    { MK_SE_GTS_SIZE, 8, 0, VD_OK, { NULL } },
    { MK_SE_GRAINS, 8, 0, VD_CORRUPT, { "grain area", "byte 192" } },
    { MK_SE_GRAINS, 8, UINT64_C (1) << 53, VD_CORRUPT, { "grain area" } },
    { MK_SE_GRAINS_SIZE, 8, UINT64_MAX, VD_CORRUPT, { "grain area" } },
    { MK_SE_VOL_MAGIC, 8, 0xcafebabe, VD_CORRUPT,
      { "0xcafebabe", "expected 0xcafecafe" } },
    { MK_SE_VOL_PAD, 1, 1, VD_UNSUPPORTED, { "volatile", "byte 32 is 0x01" } },
    { 1023, 1, 7, VD_UNSUPPORTED, { "volatile", "byte 511 is 0x07" } },
    { MK_SE_VOL_NEXTTXN, 8, UINT64_MAX, VD_OK, { NULL } },
    { MK_SE_VOL_FREEGT, 8, UINT64_MAX, VD_OK, { NULL } },
    /* of no interest when the journal is empty */
    { MK_SE_JOURNAL, 8, UINT64_MAX, VD_OK, { NULL } },
    { MK_SE_BACKMAP, 8, UINT64_MAX, VD_OK, { NULL } },
    { MK_SE_BITMAP, 8, UINT64_MAX, VD_OK, { NULL } },
  };
  struct u_image m;

  make_some (&m);
  u_check_fields (&m, fields, ARRAY_SIZE (fields));
  u_free (&m);
}

TEST (cut_files_are_refused)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct u_image m;
  struct vd_err err;
  uint64_t cut[4];
  size_t i;

  make_some (&m);
  cut[0] = 8;
  cut[1] = 511;
  cut[2] = 1023;
  cut[3] = m.layout.gd + 3 * 8 - 1;
  for (i = 0; i < ARRAY_SIZE (cut); ++i) {
    m.mem.size = cut[i];
    assert_null (u_open (&m, &opts, &err));
    assert_err (&err, VD_TRUNCATED, "m.vmdk");
  }
  m.mem.size = m.layout.gd + 3 * 8;
  vd_image_close (u_open_ok (&m));
  u_free (&m);
}

TEST (what_was_read_is_told)
{
  struct vd_image *image;
  struct u_image m;

  make_some (&m);
  image = u_open_ok (&m);
  assert_ptr_equal (image->fmt, &vd_format_sesparse);
  assert_int_equal (image->capacity, CAPACITY);
  assert_int_equal (image->grain_size, GRAIN);
  assert_int_equal (image->tables_size, 16 * MIB);
  assert_int_equal (image->version, 0x21);
  assert_false (image->unclean);
  vd_image_close (image);
  u_free (&m);
}

static void
compare_all (const struct mk_spec *spec)
{
  struct u_image m;
  struct u_disk d;

  u_make (&m, spec);
  u_disk_open_one (&d, &m, NULL);
  u_compare_spec (&d, spec, 0, spec->capacity);
  u_compare_spec (&d, spec, spec->capacity - 1, 1);
  u_disk_close (&d);
  u_free (&m);
}

/* Numbers whose two halves are swapped in an entry: 12 low bits first. */
TEST (grain_numbers_are_put_together)
{
  static const uint64_t first[] = { 0, 0xffe, 0xfff, 0x1000, 0x2345 };
  struct mk_pattern pattern = { .run = 1, .fill = 400, .zero = 200,
                                .unmapped = 200 };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (first); ++i) {
    struct mk_spec spec = some ();

    spec.capacity = 100 * GRAIN + 512 * i;
    spec.map = mk_map_pattern (&pattern);
    spec.seed = pattern.seed = i;
    spec.first_slot = first[i];
    spec.placement = (enum mk_placement) (i % 3);
    spec.last = (enum mk_last) (i % 3);
    compare_all (&spec);
  }
}

TEST (entries_are_read_as_the_known_ones)
{
  static const struct { uint64_t raw, number; } t[] = {
    { UINT64_C (0x3000000000000000), 0 },
    { UINT64_C (0x3001000000000000), 1 },
    { UINT64_C (0x3fff000000000000), 0xfff },
    { UINT64_C (0x3000000000000001), 0x1000 },
    { UINT64_C (0x3345000000000012), 0x12345 },
    { UINT64_C (0x3789000000123456), 0x123456789 },
  };
  struct vd_image *image;
  struct u_image m;
  size_t i;

  make_some (&m);
  u_put (&m, MK_SE_GRAINS_SIZE, 8, UINT64_C (1) << 50);
  image = u_open_ok (&m);
  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    u_put (&m, u_grain (&m, 3)->gte, 8, t[i].raw);
    if (m.layout.data_start + (t[i].number + 1) * GRAIN <= m.mem.size)
      assert_int_equal (u_run (image, 3 * GRAIN).where,
                        m.layout.data_start + t[i].number * GRAIN);
    else {
      char part[64];

      snprintf (part, sizeof part, "is at sector %llu,",
                (unsigned long long) (m.layout.data_start / 512 +
                                      t[i].number * 8));
      assert_damaged (image, 3 * GRAIN, VD_TRUNCATED, "grain 3 ", part);
    }
  }
  vd_image_close (image);
  u_free (&m);
}

TEST (every_type_of_entry_is_known_or_damage)
{
  struct vd_image *image;
  struct u_image m;
  uint64_t type;

  make_some (&m);
  image = u_open_ok (&m);
  for (type = 0; type < 16; ++type) {
    char part[64];

    u_put (&m, u_grain (&m, 3)->gte, 8, type << 60);
    switch (type) {
    case 0: assert_kind (image, 3 * GRAIN, VD_BASE); break;
    case 1: case 2: assert_kind (image, 3 * GRAIN, VD_ZERO); break;
    case 3: assert_kind (image, 3 * GRAIN, VD_DATA); break;
    default:
      snprintf (part, sizeof part, "type %llu; allowed is 0",
                (unsigned long long) type);
      assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "grain 3:", part);
    }
    /* with a number in the other bits */
    u_put (&m, u_grain (&m, 3)->gte, 8, type << 60 | UINT64_C (2) << 48);
    if (type == 1 || type == 2)
      assert_kind (image, 3 * GRAIN, VD_ZERO);
    else if (type == 3)
      assert_int_equal (u_run (image, 3 * GRAIN).where,
                        m.layout.data_start + 2 * GRAIN);
    else
      assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "grain 3:", "0x",
                      "has type");
  }
  u_put (&m, u_grain (&m, 3)->gte, 8, 5);       /* type 0, yet not 0 */
  assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "0x0000000000000005");
  assert_kind (image, 4095 * GRAIN, VD_DATA);
  vd_image_close (image);
  u_free (&m);
}

TEST (table_numbers_are_not_positions)
{
  static const uint64_t base = UINT64_C (0x1000000000000000);
  struct vd_image *image;
  struct u_image m;
  uint64_t e[3];

  make_some (&m);
  image = u_open_ok (&m);
  e[0] = u_get (&m, m.layout.tables[0].gde, 8);
  e[1] = u_get (&m, m.layout.tables[1].gde, 8);
  assert_int_equal (e[0], base);        /* number 0 is not "none" */
  assert_int_equal (e[1], base + 1);
  assert_kind (image, 0, VD_DATA);
  /* exchange them: table 1 has grains 0 and 4095 */
  u_put (&m, m.layout.tables[0].gde, 8, e[1]);
  u_put (&m, m.layout.tables[1].gde, 8, e[0]);
  assert_int_equal (u_run (image, 0).where, u_grain (&m, 4096)->data);
  assert_kind (image, 4095 * GRAIN, VD_ZERO);
  assert_int_equal (u_run (image, (4096 + 3) * GRAIN).where,
                    u_grain (&m, 3)->data);
  assert_int_equal (u_run (image, 8191 * GRAIN).where,
                    u_grain (&m, 4095)->data);
  vd_image_close (image);
  u_free (&m);
}

TEST (scattered_tables_read_as_the_model)
{
  struct mk_spec spec = some ();
  unsigned i;

  for (i = 0; i < 3; ++i) {
    spec.scatter_tables = true;
    spec.tables = i % 2 ? MK_TABLES_ALL : MK_TABLES_USED;
    spec.placement = (enum mk_placement) i;
    spec.seed = i;
    compare_all (&spec);
  }
}

TEST (bad_directory_entries_are_damage)
{
  struct vd_image *image;
  struct u_image m;
  uint64_t gde, room;

  make_some (&m);
  gde = m.layout.tables[1].gde;
  room = u_get (&m, MK_SE_GTS_SIZE, 8) / 64;
  image = u_open_ok (&m);
  u_put (&m, gde, 8, 1);
  assert_damaged (image, 4096 * GRAIN, VD_CORRUPT, "directory entry 1 is ",
                  "0x0000000000000001", "allowed is 0 or 0x10000000");
  u_put (&m, gde, 8, UINT64_C (0x1000000100000001));
  assert_damaged (image, 4096 * GRAIN, VD_CORRUPT, "0x1000000100000001");
  u_put (&m, gde, 8, UINT64_C (0x3000000000000001));
  assert_damaged (image, 4096 * GRAIN, VD_CORRUPT, "0x3000000000000001");
  u_put (&m, gde, 8, UINT64_C (0x1000000000000000) + room);
  assert_damaged (image, 4096 * GRAIN, VD_CORRUPT, "directory entry 1:",
                  "past the table area", "room for");
  u_put (&m, gde, 8, UINT64_C (0x10000000ffffffff));
  assert_damaged (image, 4096 * GRAIN, VD_CORRUPT, "4294967295");
  u_put (&m, gde, 8, UINT64_C (0x1000000000000000) + room - 1);
  assert_kind (image, 4096 * GRAIN, VD_BASE);   /* an empty table */
  u_put (&m, gde, 8, 0);
  assert_kind (image, 4096 * GRAIN, VD_BASE);
  assert_kind (image, 4095 * GRAIN, VD_DATA);
  vd_image_close (image);

  m.mem.size = m.layout.tables[2].gt + 32767;
  image = u_open_ok (&m);
  assert_damaged (image, 8202 * GRAIN, VD_TRUNCATED, "table number 2 ends",
                  "truncated");
  assert_kind (image, 8191 * GRAIN, VD_BASE);
  vd_image_close (image);
  u_free (&m);
}

TEST (grains_must_be_in_the_area_and_in_the_file)
{
  struct vd_image *image;
  struct u_image m;
  uint64_t room, n;

  make_some (&m);
  room = u_get (&m, MK_SE_GRAINS_SIZE, 8) / 8;
  image = u_open_ok (&m);
  n = room;
  u_put (&m, u_grain (&m, 3)->gte, 8, UINT64_C (3) << 60 | (n & 0xfff) << 48 |
         n >> 12);
  assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "grain 3: grain number ",
                  "past the grain area", "room for");
  n = room - 1;
  u_put (&m, u_grain (&m, 3)->gte, 8, UINT64_C (3) << 60 | (n & 0xfff) << 48 |
         n >> 12);
  assert_damaged (image, 3 * GRAIN, VD_TRUNCATED, "grain 3 ", "truncated");
  u_put (&m, u_grain (&m, 3)->gte, 8, UINT64_C (0x3fffffffffffffff));
  assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "1152921504606846975");
  vd_image_close (image);

  m.mem.size = u_grain (&m, 4096)->data + 1000;
  image = u_open_ok (&m);
  assert_kind (image, 4096 * GRAIN + 511, VD_DATA);
  /* Of the second sector some bytes are there. */
  assert_damaged (image, 4096 * GRAIN + 512, VD_TRUNCATED, "grain 4096 ");
  assert_damaged (image, 4096 * GRAIN + 999, VD_TRUNCATED, "grain 4096 ");
  assert_damaged (image, 4096 * GRAIN + 1000, VD_TRUNCATED, "grain 4096 ");
  vd_image_close (image);
  u_free (&m);
}

/* One record at sector n of the journal, of one sector to be put at dest. */
static void
add_record (struct u_image *m, unsigned n, uint64_t dest, uint8_t byte)
{
  const uint64_t at = (2048 + n) * 512;

  u_put (m, at, 8, 0xc0ffee);
  u_put (m, at + 24, 8, 2);
  u_put (m, at + 128, 8, dest);
  u_put (m, at + 136, 8, 1);
  memset (m->mem.data + at + 512, byte, 512);
}

TEST (a_pending_journal_is_refused_with_its_records_counted)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct u_image m;
  struct vd_err err;

  make_some (&m);
  u_put (&m, MK_SE_VOL_REPLAY, 8, 1);
  assert_null (u_open (&m, &opts, &err));
  assert_err (&err, VD_UNSUPPORTED, "m.vmdk", "not closed cleanly",
              "replayJournal is 1", "0 of 0 ", "Consolidate");

  add_record (&m, 0, 10000, 0xaa);
  memset (m.mem.data + 10000 * 512, 0xaa, 512); /* is there already */
  add_record (&m, 25, 10001, 0xbb);             /* is not */
  add_record (&m, 50, UINT64_MAX, 0xcc);        /* cannot be */
  u_put (&m, (2048 + 60) * 512, 8, 0xc0ffee);   /* no record: no sectors */
  add_record (&m, 70, 10002, 0xdd);             /* no record: counts differ */
  u_put (&m, (2048 + 70) * 512 + 136, 8, 2);
  assert_null (u_open (&m, &opts, &err));
  assert_err (&err, VD_UNSUPPORTED, "2 of 3 well-formed records");

  u_put (&m, MK_SE_JOURNAL, 8, 0);
  assert_null (u_open (&m, &opts, &err));
  assert_err (&err, VD_CORRUPT, "journal", "byte 112");
  u_free (&m);
}

TEST (a_pending_journal_can_be_left_out_on_request)
{
  struct u_log log;
  struct vd_opts opts = u_opts (&log);
  struct vd_image *image;
  struct u_image m;
  struct vd_err err;

  make_some (&m);
  u_put (&m, MK_SE_VOL_REPLAY, 8, 1);
  add_record (&m, 0, 10001, 0xbb);
  opts.allow_dirty = true;
  image = u_open (&m, &opts, &err);
  assert_opened (image, &err);
  assert_true (image->unclean);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "m.vmdk");
  assert_text (log.text, "1 of 1 records");
  assert_int_equal (u_run (image, 0).where, u_grain (&m, 0)->data);
  vd_image_close (image);
  u_free (&m);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (constant_header_is_checked),
    cmocka_unit_test (cut_files_are_refused),
    cmocka_unit_test (what_was_read_is_told),
    cmocka_unit_test (grain_numbers_are_put_together),
    cmocka_unit_test (entries_are_read_as_the_known_ones),
    cmocka_unit_test (every_type_of_entry_is_known_or_damage),
    cmocka_unit_test (table_numbers_are_not_positions),
    cmocka_unit_test (scattered_tables_read_as_the_model),
    cmocka_unit_test (bad_directory_entries_are_damage),
    cmocka_unit_test (grains_must_be_in_the_area_and_in_the_file),
    cmocka_unit_test (a_pending_journal_is_refused_with_its_records_counted),
    cmocka_unit_test (a_pending_journal_can_be_left_out_on_request),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
