/* KDMV: every header field, every kind of table entry. */

#include "unit.h"

static struct mk_content content = { .seed = 9, .layer = 1,
                                     .flavour = MK_NOISE };

/* Three tables of 8 entries; 20 grains of 4 KiB and a half. */
#define GRAIN 4096
static const uint8_t kinds[] = {
  MK_DATA, MK_HOLE, MK_ZERO, MK_DATA, MK_HOLE, MK_HOLE, MK_HOLE, MK_HOLE,
  MK_DATA, MK_HOLE, MK_HOLE, MK_HOLE, MK_HOLE, MK_HOLE, MK_HOLE, MK_ZERO,
  MK_DATA, MK_DATA, MK_HOLE, MK_DATA, MK_DATA,
};
static struct mk_array array = { .kind = kinds, .n = sizeof kinds };

static struct mk_spec
some (void)
{
  return (struct mk_spec) {
    .format = MK_KDMV, .capacity = 20 * GRAIN + 2048, .grain_size = GRAIN,
    .gtes = 8, .map = mk_map_array (&array),
    .fill = mk_fill_content (&content), .descriptor = "# nothing\n",
  };
}

static void
make_some (struct u_image *m)
{
  const struct mk_spec spec = some ();

  u_make (m, &spec);
}

/* With one set of tables, so that a poked entry is what it says. */
static void
make_single (struct u_image *m)
{
  struct mk_spec spec = some ();

  spec.no_redundant = true;
  u_make (m, &spec);
}

TEST (header_fields_are_checked)
{
  static const struct u_field fields[] = {
    { MK_KDMV_VERSION, 4, 1, VD_OK, { NULL } },
    { MK_KDMV_VERSION, 4, 2, VD_OK, { NULL } },
    { MK_KDMV_VERSION, 4, 3, VD_OK, { NULL } },
    { MK_KDMV_VERSION, 4, 0, VD_UNSUPPORTED, { "version 0", "1 to 3" } },
    { MK_KDMV_VERSION, 4, 4, VD_UNSUPPORTED, { "version 4", "byte 4" } },
    { MK_KDMV_FLAGS, 4, 0x0000000c, VD_OK, { NULL } },
    { MK_KDMV_FLAGS, 4, 0x00040007, VD_UNSUPPORTED, { "0x40007", "byte 8" } },
    { MK_KDMV_FLAGS, 4, 0x80000007, VD_UNSUPPORTED, { "0x80000007" } },
    { MK_KDMV_FLAGS, 4, 0x00010007, VD_UNSUPPORTED, { "0x10007", "together" } },
    { MK_KDMV_FLAGS, 4, 0x00020007, VD_UNSUPPORTED, { "0x20007", "together" } },
    { MK_KDMV_FLAGS, 4, 0x00030007, VD_UNSUPPORTED, { "together" } },
    { MK_KDMV_COMPRESSION, 2, 1, VD_UNSUPPORTED, { "algorithm 1", "together" } },
    { MK_KDMV_COMPRESSION, 2, 2, VD_UNSUPPORTED, { "algorithm 2", "byte 77" } },
    { MK_KDMV_CAPACITY, 8, 1, VD_OK, { NULL } },
    { MK_KDMV_CAPACITY, 8, 0, VD_OK, { NULL } },  /* names other files */
    { MK_KDMV_CAPACITY, 8, UINT64_C (1) << 53, VD_CORRUPT, { "tables" } },
    { MK_KDMV_CAPACITY, 8, (UINT64_C (1) << 53) + 1, VD_CORRUPT,
      { "9007199254740993", "2^62", "byte 12" } },
    { MK_KDMV_CAPACITY, 8, UINT64_C (1) << 54, VD_CORRUPT, { "2^62" } },
    { MK_KDMV_CAPACITY, 8, UINT64_MAX, VD_CORRUPT, { "2^62" } },
    { MK_KDMV_CAPACITY, 8, (UINT64_C (1) << 31), VD_CORRUPT,
      { "m.vmdk: grain directory of 33554432 entries", "outside" } },
    { MK_KDMV_CAPACITY, 8, (UINT64_C (1) << 31) + 1, VD_CORRUPT,
      { "33554433 grain tables", "allowed are 33554432" } },
    { MK_KDMV_GRAINSIZE, 8, 0, VD_CORRUPT, { "grain size is 0", "byte 20" } },
    { MK_KDMV_GRAINSIZE, 8, 1, VD_OK, { NULL } },
    { MK_KDMV_GRAINSIZE, 8, 24, VD_CORRUPT, { "is 24", "power of two" } },
    { MK_KDMV_GRAINSIZE, 8, 1 << 21, VD_OK, { NULL } },
    { MK_KDMV_GRAINSIZE, 8, 1 << 22, VD_CORRUPT, { "4194304", "2097152" } },
    { MK_KDMV_GRAINSIZE, 8, UINT64_C (1) << 63, VD_CORRUPT, { "2097152" } },
    { MK_KDMV_GRAINSIZE, 8, UINT64_C (0x0000000100000008), VD_CORRUPT,
      { "4294967304" } },
    { MK_KDMV_GTES, 4, 0, VD_CORRUPT, { "has 0 entries", "byte 44" } },
    { MK_KDMV_GTES, 4, 7, VD_CORRUPT, { "has 7", "power of two" } },
    { MK_KDMV_GTES, 4, 1, VD_OK, { NULL } },
    { MK_KDMV_GTES, 4, 4096, VD_OK, { NULL } },
    { MK_KDMV_GTES, 4, 8192, VD_CORRUPT, { "8192", "1 to 4096" } },
    { MK_KDMV_GTES, 4, 0x80000000, VD_CORRUPT, { "2147483648" } },
    { MK_KDMV_GDOFFSET, 8, 0, VD_CORRUPT, { "sector 0 ", "byte 56" } },
    { MK_KDMV_GDOFFSET, 8, 100000, VD_CORRUPT,
      { "100000", "outside", "; tables=copy reads by the other one" } },
    { MK_KDMV_GDOFFSET, 8, UINT64_MAX - 1, VD_CORRUPT, { "outside" } },
    { MK_KDMV_GDOFFSET, 8, UINT64_C (1) << 55, VD_CORRUPT, { "outside" } },
    { MK_KDMV_GDOFFSET, 8, UINT64_MAX, VD_TRUNCATED, { "footer" } },
    { MK_KDMV_RGDOFFSET, 8, 100000, VD_OK, { NULL } },
    { MK_KDMV_RGDOFFSET, 8, UINT64_MAX, VD_OK, { NULL } },
    { MK_KDMV_OVERHEAD, 8, 0, VD_OK, { NULL } },
    { MK_KDMV_OVERHEAD, 8, 100000, VD_TRUNCATED, { "100000", "byte 64" } },
    { MK_KDMV_OVERHEAD, 8, UINT64_MAX, VD_TRUNCATED, { "byte 64" } },
    { MK_KDMV_DESCOFFSET, 8, 0, VD_OK, { NULL } },
    { MK_KDMV_DESCOFFSET, 8, 100000, VD_CORRUPT, { "descriptor", "byte 28" } },
    { MK_KDMV_DESCOFFSET, 8, UINT64_MAX, VD_CORRUPT, { "descriptor" } },
    { MK_KDMV_DESCSIZE, 8, 100000, VD_CORRUPT, { "100000 sectors" } },
    { MK_KDMV_DESCSIZE, 8, UINT64_MAX, VD_CORRUPT, { "descriptor" } },
    /* bytes that line-end translation changes */
    { MK_KDMV_LINEENDS, 1, 0x0d, VD_CORRUPT,
      { "text-mode", "0d 20 0d 0a", "0a 20 0d 0a" } },
    { MK_KDMV_LINEENDS + 1, 1, 0x00, VD_CORRUPT, { "0a 00 0d 0a" } },
    { MK_KDMV_LINEENDS + 2, 1, 0x0a, VD_CORRUPT, { "0a 20 0a 0a" } },
    { MK_KDMV_LINEENDS + 3, 1, 0x0d, VD_CORRUPT, { "binary" } },
    /* the magic of a file that was not finished */
    { MK_KDMV_MAGIC, 4, 0x6b646d76, VD_NOT_FORMAT, { "never finished" } },
    { MK_KDMV_MAGIC, 4, 0x564d4b44, VD_NOT_FORMAT, { NULL } },
  };
  struct u_image m;

  make_some (&m);
  u_check_fields (&m, fields, ARRAY_SIZE (fields));
  u_free (&m);
}

TEST (line_ends_count_only_with_their_flag)
{
  struct u_image m;

  make_some (&m);
  u_put (&m, MK_KDMV_LINEENDS, 4, 0);
  u_put (&m, MK_KDMV_FLAGS, 4, u_get (&m, MK_KDMV_FLAGS, 4) & ~1u);
  vd_image_close (u_open_ok (&m));
  u_free (&m);
}

TEST (no_capacity_and_no_descriptor_is_no_disk)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct mk_spec spec = some ();
  struct u_image m;
  struct vd_err err;

  spec.descriptor = NULL;
  u_make (&m, &spec);
  u_put (&m, MK_KDMV_CAPACITY, 8, 0);
  assert_null (u_open (&m, &opts, &err));
  assert_err (&err, VD_CORRUPT, "m.vmdk", "no sectors", "byte 12");
  u_free (&m);
}

TEST (what_was_read_is_told)
{
  struct vd_image *image;
  struct u_image m;

  make_some (&m);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 1);
  image = u_open_ok (&m);
  assert_ptr_equal (image->fmt, &vd_format_kdmv);
  assert_int_equal (image->capacity, 20 * GRAIN + 2048);
  assert_int_equal (image->grain_size, GRAIN);
  assert_int_equal (image->tables_size, 8 * GRAIN);
  assert_int_equal (image->version, 2);
  assert_int_equal (image->flags, 7);
  assert_true (image->unclean);
  assert_false (image->compressed);
  assert_int_equal (image->descriptor_offset, 512);
  assert_int_equal (image->descriptor_length, 20 * 512);
  vd_image_close (image);
  u_free (&m);
}

static void
compare_all (const struct mk_spec *spec)
{
  struct u_image m;
  struct u_disk d;

  u_make (&m, spec);
  m.spec.descriptor = NULL;
  /* without a descriptor it is bare: holes are the base's */
  u_put (&m, MK_KDMV_DESCOFFSET, 8, 0);
  u_disk_open_one (&d, &m, NULL);
  assert_int_equal (d.chain->size, spec->capacity);
  u_compare_spec (&d, spec, 0, spec->capacity);
  u_compare_spec (&d, spec, spec->capacity - 1, 1);
  u_disk_close (&d);
  u_free (&m);
}

TEST (all_layouts_read_as_the_model)
{
  struct mk_pattern pattern = { .seed = 5, .run = 1, .fill = 600,
                                .zero = 200 };
  unsigned i;

  for (i = 0; i < 64; ++i) {
    struct mk_spec spec = some ();

    spec.map = mk_map_pattern (&pattern);
    spec.seed = pattern.seed = i;
    spec.placement = (enum mk_placement) (i % 3);
    spec.tables = (enum mk_tables) (i % 4);
    spec.unaligned = i % 5 == 0;
    spec.tight = i % 2;
    spec.no_redundant = i % 7 < 3;
    spec.scatter_tables = i % 3 == 1;
    spec.last = (enum mk_last) (i % 3);
    spec.gtes = 1u << (i % 13);
    spec.grain_size = 512u << (i % 9);
    spec.capacity = 512 * (1 + i * i * 7 % 3001);
    compare_all (&spec);
  }
}

TEST (entry_one_means_zeros_only_with_the_flag)
{
  struct vd_image *image;
  struct u_image m;

  make_single (&m);
  image = u_open_ok (&m);
  assert_kind (image, 2 * GRAIN, VD_ZERO);
  assert_kind (image, 15 * GRAIN + 7, VD_ZERO);
  vd_image_close (image);

  for (uint32_t version = 1; version <= 3; ++version) {
    u_put (&m, MK_KDMV_VERSION, 4, version);
    image = u_open_ok (&m);
    assert_kind (image, 2 * GRAIN, VD_ZERO);
    vd_image_close (image);
  }

  u_put (&m, MK_KDMV_FLAGS, 4, 3);
  image = u_open_ok (&m);
  assert_damaged (image, 2 * GRAIN, VD_CORRUPT, "grain 2 ", "entry 1",
                  "flags 0x3");
  assert_kind (image, GRAIN, VD_BASE);
  assert_kind (image, 3 * GRAIN, VD_DATA);
  vd_image_close (image);
  u_free (&m);
}

TEST (entries_into_the_metadata_are_damage)
{
  struct vd_image *image;
  struct u_image m;
  uint64_t over;

  make_single (&m);
  over = m.layout.data_start / 512;
  image = u_open_ok (&m);
  u_put (&m, u_grain (&m, 3)->gte, 4, 2);
  assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "grain 3 ", "metadata",
                  "(sector 2; data begins");
  u_put (&m, u_grain (&m, 3)->gte, 4, over - 1);
  assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "metadata");
  u_put (&m, u_grain (&m, 3)->gte, 4, over);
  assert_kind (image, 3 * GRAIN, VD_DATA);
  assert_int_equal (u_run (image, 3 * GRAIN + 5).where, over * 512 + 5);
  vd_image_close (image);

  /* whatever overHead says, sector 0 is the header */
  u_put (&m, MK_KDMV_OVERHEAD, 8, 0);
  u_put (&m, MK_KDMV_FLAGS, 4, 3);
  u_put (&m, u_grain (&m, 3)->gte, 4, 1);
  image = u_open_ok (&m);
  assert_damaged (image, 3 * GRAIN, VD_CORRUPT, "entry 1");
  vd_image_close (image);
  u_free (&m);
}

TEST (entries_past_the_end_are_damage)
{
  struct vd_image *image;
  struct u_image m;
  uint64_t end;

  make_single (&m);
  end = m.mem.size / 512;
  image = u_open_ok (&m);
  u_put (&m, u_grain (&m, 3)->gte, 4, end);
  assert_damaged (image, 3 * GRAIN, VD_TRUNCATED, "grain 3 ", "disk byte "
                  "12288", "truncated");
  u_put (&m, u_grain (&m, 3)->gte, 4, end - 3);
  assert_kind (image, 3 * GRAIN + 3 * 512 - 1, VD_DATA);
  assert_damaged (image, 3 * GRAIN + 3 * 512, VD_TRUNCATED, "grain 3 ");
  u_put (&m, u_grain (&m, 3)->gte, 4, UINT32_MAX);
  assert_damaged (image, 3 * GRAIN, VD_TRUNCATED, "sector 4294967295");

  u_put (&m, m.layout.tables[1].gde, 4, end);
  assert_damaged (image, 8 * GRAIN, VD_TRUNCATED, "grain table 1 ",
                  "32 bytes long");
  u_put (&m, m.layout.tables[1].gde, 4, UINT32_MAX);
  assert_damaged (image, 8 * GRAIN, VD_TRUNCATED, "sector 4294967295");
  u_put (&m, m.layout.tables[1].gde, 4, 0);
  assert_kind (image, 8 * GRAIN, VD_BASE);
  assert_kind (image, 16 * GRAIN, VD_DATA);
  vd_image_close (image);
  u_free (&m);
}

TEST (the_last_grain_may_end_at_the_capacity)
{
  struct mk_spec spec = some ();
  struct vd_image *image;
  struct u_image m;

  spec.last = MK_LAST_CUT;
  compare_all (&spec);
  u_make (&m, &spec);
  m.mem.size -= 512;
  image = u_open_ok (&m);
  assert_kind (image, 20 * GRAIN + 1535, VD_DATA);
  assert_damaged (image, 20 * GRAIN + 1536, VD_TRUNCATED, "grain 20 ");
  vd_image_close (image);
  u_free (&m);
}

TEST (two_entries_may_share_a_grain)
{
  struct vd_image *image;
  struct u_image m;

  make_single (&m);
  u_put (&m, u_grain (&m, 8)->gte, 4, u_grain (&m, 3)->data / 512 + 1);
  image = u_open_ok (&m);
  assert_int_equal (u_run (image, 8 * GRAIN).where,
                    u_run (image, 3 * GRAIN).where + 512);
  vd_image_close (image);
  u_free (&m);
}

/* What is at grain 8 if that table is read. */
static void
assert_read_by (const struct u_image *m, enum vd_tables_choice tables,
                enum vd_kind kind, uint64_t where)
{
  struct u_log log;
  struct vd_opts opts = u_opts (&log);
  struct vd_image *image;
  struct vd_err err;

  opts.tables = tables;
  image = u_open (m, &opts, &err);
  assert_opened (image, &err);
  assert_kind (image, 8 * GRAIN, kind);
  if (kind == VD_DATA)
    assert_int_equal (u_run (image, 8 * GRAIN).where, where);
  if (kind == VD_DAMAGED) {
    vd_image_close (image);
    image = u_open (m, &opts, &err);
    assert_int_equal (image->fmt->explain (image, 8 * GRAIN, &err), -1);
    assert_text (err.msg, "tables=copy");
  }
  /* its neighbours are not drawn into it */
  assert_kind (image, 3 * GRAIN, VD_DATA);
  assert_kind (image, 9 * GRAIN, VD_BASE);
  assert_kind (image, 16 * GRAIN, VD_DATA);
  vd_image_close (image);
}

/* The entry of grain 8 (or what finds its table) in the first or in the copy
 * says something else, which can be.
 */
TEST (two_tables_that_differ_are_doubt)
{
  struct vd_image *image;
  struct u_image m;
  uint64_t gte, rgte, gde, data;
  char part[160];

  make_some (&m);
  gte = u_grain (&m, 8)->gte;
  rgte = u_grain (&m, 8)->rgte;
  gde = m.layout.tables[1].gde;
  data = u_grain (&m, 8)->data;
  assert_read_by (&m, VD_TABLES_BOTH, VD_DATA, data);

  u_put (&m, rgte, 4, data / 512 + 8);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DAMAGED, 0);
  assert_read_by (&m, VD_TABLES_FIRST, VD_DATA, data);
  assert_read_by (&m, VD_TABLES_COPY, VD_DATA, data + 8 * 512);
  image = u_open_ok (&m);
  snprintf (part, sizeof part, "grain 8 (disk byte 32768) is %llu in the grain "
            "table and %llu in its redundant copy, and both can be",
            (unsigned long long) data / 512,
            (unsigned long long) data / 512 + 8);
  assert_damaged (image, 8 * GRAIN, VD_CORRUPT, part);
  vd_image_close (image);

  u_put (&m, gte, 4, 0);        /* would be zeros */
  assert_read_by (&m, VD_TABLES_BOTH, VD_DAMAGED, 0);
  assert_read_by (&m, VD_TABLES_FIRST, VD_BASE, 0);
  u_put (&m, rgte, 4, data / 512);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DAMAGED, 0);
  assert_read_by (&m, VD_TABLES_COPY, VD_DATA, data);
  u_put (&m, gte, 4, 1);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DAMAGED, 0);
  u_put (&m, gte, 4, 2);        /* cannot be, but it is what is read */
  assert_read_by (&m, VD_TABLES_BOTH, VD_DAMAGED, 0);
  assert_read_by (&m, VD_TABLES_COPY, VD_DATA, data);
  u_put (&m, gte, 4, data / 512);

  u_put (&m, gde, 4, 0);        /* there is no first table */
  assert_read_by (&m, VD_TABLES_BOTH, VD_DAMAGED, 0);
  assert_read_by (&m, VD_TABLES_FIRST, VD_BASE, 0);
  assert_read_by (&m, VD_TABLES_COPY, VD_DATA, data);
  u_free (&m);
}

/* A directory that leads nowhere: all its grains are lost, or all are read. */
TEST (a_directory_that_leads_nowhere)
{
  struct vd_opts opts = { .tables = VD_TABLES_BOTH };
  struct vd_image *image;
  struct u_image m;
  struct vd_err err;

  make_some (&m);
  u_put (&m, m.layout.tables[1].gde, 4, 0x2e626d74);
  image = u_open (&m, &opts, &err);
  assert_opened (image, &err);
  assert_damaged (image, 8 * GRAIN, VD_TRUNCATED, "grain table 1 ",
                  "; its redundant copy has ", "tables=copy reads by that");
  vd_image_close (image);
  opts.tables = VD_TABLES_COPY;
  image = u_open (&m, &opts, &err);
  assert_opened (image, &err);
  assert_int_equal (u_run (image, 8 * GRAIN).where, u_grain (&m, 8)->data);
  assert_kind (image, 9 * GRAIN, VD_BASE);
  vd_image_close (image);

  /* that of the header */
  u_put (&m, MK_KDMV_GDOFFSET, 8, 100000);
  image = u_open (&m, &opts, &err);
  assert_opened (image, &err);
  assert_int_equal (u_run (image, 8 * GRAIN).where, u_grain (&m, 8)->data);
  vd_image_close (image);
  u_free (&m);
}

/* Only what can be is doubt: a copy that was never kept, or is damaged, or was
 * being written by ourselves, does not keep anybody from reading.
 */
TEST (a_copy_that_cannot_be_is_none)
{
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_image *image;
  struct vd_err err;
  struct u_image m;
  uint64_t data, rgte;
  size_t i;

  make_some (&m);
  data = u_grain (&m, 8)->data;
  rgte = u_grain (&m, 8)->rgte;
  {
    const uint64_t entries[] = { 0, 2, m.mem.size / 512, UINT32_MAX };

    for (i = 0; i < ARRAY_SIZE (entries); ++i) {
      u_put (&m, rgte, 4, entries[i]);
      assert_read_by (&m, VD_TABLES_BOTH, VD_DATA, data);
    }
  }
  u_put (&m, rgte, 4, data / 512 + 8);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 0xc5);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DATA, data);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 0xc6);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DATA, data);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 1); /* somebody else */
  assert_read_by (&m, VD_TABLES_BOTH, VD_DAMAGED, 0);
  u_put (&m, MK_KDMV_UNCLEAN, 1, 0);

  u_put (&m, m.layout.tables[1].rgde, 4, 0);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DATA, data);
  u_put (&m, m.layout.tables[1].rgde, 4, UINT32_MAX);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DATA, data);
  u_put (&m, m.layout.tables[1].rgde, 4, m.layout.tables[1].gt / 512);
  assert_read_by (&m, VD_TABLES_BOTH, VD_DATA, data);

  u_put (&m, MK_KDMV_RGDOFFSET, 8, 100000);
  image = u_open (&m, &opts, &err);
  assert_opened (image, &err);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "m.vmdk: redundant grain directory at sector 100000 "
               "(header byte 48) is outside of the file");
  assert_text (log.text, "using the first");
  assert_int_equal (u_run (image, 8 * GRAIN).where, data);
  vd_image_close (image);
  u_free (&m);
}

TEST (a_cut_header_is_refused)
{
  const struct vd_opts opts = { .allow_dirty = false };
  static const size_t sizes[] = { 4, 79, 511 };
  struct u_image m;
  struct vd_err err;
  size_t i;

  make_some (&m);
  for (i = 0; i < ARRAY_SIZE (sizes); ++i) {
    m.mem.size = sizes[i];
    assert_null (u_open (&m, &opts, &err));
    assert_err (&err, VD_TRUNCATED, "m.vmdk");
  }
  u_free (&m);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (header_fields_are_checked),
    cmocka_unit_test (line_ends_count_only_with_their_flag),
    cmocka_unit_test (no_capacity_and_no_descriptor_is_no_disk),
    cmocka_unit_test (what_was_read_is_told),
    cmocka_unit_test (all_layouts_read_as_the_model),
    cmocka_unit_test (entry_one_means_zeros_only_with_the_flag),
    cmocka_unit_test (entries_into_the_metadata_are_damage),
    cmocka_unit_test (entries_past_the_end_are_damage),
    cmocka_unit_test (the_last_grain_may_end_at_the_capacity),
    cmocka_unit_test (two_entries_may_share_a_grain),
    cmocka_unit_test (two_tables_that_differ_are_doubt),
    cmocka_unit_test (a_directory_that_leads_nowhere),
    cmocka_unit_test (a_copy_that_cannot_be_is_none),
    cmocka_unit_test (a_cut_header_is_refused),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
