/* streamOptimized: markers, compressed grains, the footer. */

#include <libdeflate.h>

#include "unit.h"

#define GRAIN 65536u

static struct mk_content content = { .seed = 11, .layer = 1 };

/* Ten grains and five sectors. */
static const uint8_t kinds[] = {
  MK_DATA, MK_HOLE, MK_DATA, MK_ZERO, MK_DATA, MK_HOLE, MK_HOLE, MK_DATA,
  MK_DATA, MK_HOLE, MK_DATA,
};
static struct mk_array array = { .kind = kinds, .n = sizeof kinds };

static struct mk_spec
some (enum mk_stream_style style)
{
  return (struct mk_spec) {
    .format = MK_STREAM, .capacity = 10 * GRAIN + 5 * 512,
    .grain_size = GRAIN, .gtes = 4, .style = style,
    .map = mk_map_array (&array), .fill = mk_fill_content (&content),
  };
}

static void
make_some (struct u_image *m, enum mk_stream_style style)
{
  const struct mk_spec spec = some (style);

  u_make (m, &spec);
}

static void
compare_all (const struct u_image *m, const struct mk_spec *spec)
{
  struct u_disk d;

  u_disk_open_one (&d, m, NULL);
  assert_int_equal (d.chain->size, spec->capacity);
  assert_true (d.chain->slots[0].image->compressed);
  u_compare_spec (&d, spec, 0, spec->capacity);
  if (spec->capacity > 1000)
    u_compare_spec (&d, spec, spec->capacity / 3, 777);
  u_compare_spec (&d, spec, spec->capacity - 1, 1);
  u_disk_close (&d);
}

/* Replace the compressed bytes of grain 2 by a stream of n bytes, in place
 * (it has to fit).
 */
static void
replace_grain (struct u_image *m, const void *raw, size_t n, bool zlib)
{
  const struct mk_where *w = u_grain (m, 2);
  struct libdeflate_compressor *c = libdeflate_alloc_compressor (6);
  const size_t room = (u_grain (m, 4)->data - w->data) - 12;
  uint8_t *p = m->mem.data + w->data + 12;
  size_t len = zlib ? libdeflate_zlib_compress (c, raw, n, p, room)
    : libdeflate_deflate_compress (c, raw, n, p, room);

  libdeflate_free_compressor (c);
  assert_true (len > 0);
  u_put (m, w->data + MK_MARKER_SIZE, 4, len);
}

TEST (all_styles_read_as_the_model)
{
  static const int levels[] = { 0, 1, 9, -1 };
  struct mk_pattern pattern = { .run = 1, .fill = 500, .zero = 100 };
  unsigned i;

  for (i = 0; i < 48; ++i) {
    struct mk_spec spec = some ((enum mk_stream_style) (i % 3));
    struct u_image m;

    spec.map = mk_map_pattern (&pattern);
    pattern.seed = spec.seed = i;
    spec.level = levels[i % 4];
    spec.progress = i % 5 < 2 ? 300 : 0;
    spec.eos = i % 2;
    spec.slack = i % 7 * 30;
    if (spec.style == MK_STREAM_FRONT)
      spec.slack *= 50;
    spec.last = (enum mk_last) (i % 3);
    spec.grain_size = 4096u << (i % 6);
    spec.gtes = 1u << (i % 10);
    spec.capacity = 512 * (1 + i * i * 5 % 2000);
    spec.tight = i % 4 == 1;
    u_make (&m, &spec);
    compare_all (&m, &spec);
    u_free (&m);
  }
}

TEST (grains_that_do_not_compress_are_read)
{
  struct mk_content noise = { .seed = 3, .flavour = MK_NOISE };
  struct mk_spec spec = some (MK_STREAM_FOOTER);
  struct u_image m;

  spec.fill = mk_fill_content (&noise);
  spec.level = -1;
  u_make (&m, &spec);
  assert_true (u_grain (&m, 0)->stored > GRAIN);
  compare_all (&m, &spec);
  u_free (&m);
}

TEST (the_footer_is_found_behind_a_tail)
{
  static const size_t tails[] = {
    0, 1, 511, 512, 1000, 65536, 1000 * 1024, 0
  };
  struct mk_spec spec = some (MK_STREAM_FOOTER);
  struct u_image m;
  size_t i;

  u_make (&m, &spec);
  assert_int_equal (u_get (&m, MK_KDMV_GDOFFSET, 8), UINT64_MAX);
  for (i = 0; i < ARRAY_SIZE (tails); ++i) {
    struct u_image tail = m;

    tail.mem.size += tails[i];
    tail.mem.data = calloc (tail.mem.size, 1);
    memcpy (tail.mem.data, m.mem.data, m.mem.size);
    compare_all (&tail, &spec);
    free (tail.mem.data);
  }
  u_free (&m);
}

TEST (a_stream_without_its_footer_is_incomplete)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct u_image m, bad;
  struct vd_err err;
  unsigned i;

  make_some (&m, MK_STREAM_FOOTER);
  bad = m;
  bad.mem.data = malloc (m.mem.size);
  for (i = 0; i < 7; ++i) {
    bad.mem.size = m.mem.size;
    memcpy (bad.mem.data, m.mem.data, m.mem.size);
    switch (i) {
    case 0: bad.mem.size -= 1536; break; /* no marker of it either */
    case 1: bad.mem.size -= 1024; break; /* no footer */
    case 2: bad.mem.size = 3 * 512; break;
    case 3: u_put (&bad, m.layout.footer, 1, 'k'); break;
    case 4: u_put (&bad, m.layout.footer - 512 + 12, 4, 2); break;
    case 5: u_put (&bad, m.layout.footer - 512 + 8, 4, 1); break;
    case 6: u_put (&bad, m.layout.footer + MK_KDMV_GDOFFSET, 8,
                   UINT64_MAX); break;
    }
    assert_null (u_open (&bad, &opts, &err));
    assert_err (&err, VD_TRUNCATED, "m.vmdk", "no valid footer",
                "incomplete");
  }
  free (bad.mem.data);
  u_free (&m);
}

TEST (the_footer_goes_before_the_header)
{
  struct vd_image *image;
  struct u_image m;

  make_some (&m, MK_STREAM_BOTH);
  assert_true (u_get (&m, MK_KDMV_GDOFFSET, 8) != UINT64_MAX);
  u_put (&m, MK_KDMV_CAPACITY, 8, 7);
  u_put (&m, MK_KDMV_GDOFFSET, 8, 1);
  image = u_open_ok (&m);
  assert_int_equal (image->capacity, 10 * GRAIN + 5 * 512);
  assert_int_equal (u_run (image, 0).where, u_grain (&m, 0)->data);
  vd_image_close (image);

  /* one that is not valid is not one: back to the header */
  u_put (&m, m.layout.footer, 1, 'k');
  u_put (&m, MK_KDMV_CAPACITY, 8, 20);
  u_put (&m, MK_KDMV_GDOFFSET, 8, m.layout.gd / 512);
  image = u_open_ok (&m);
  assert_int_equal (image->capacity, 20 * 512);
  vd_image_close (image);
  u_free (&m);
}

TEST (fields_of_the_footer_are_checked)
{
  struct u_image m;
  uint64_t f;

  make_some (&m, MK_STREAM_FOOTER);
  f = m.layout.footer;
  {
    const struct u_field fields[] = {
      { f + MK_KDMV_VERSION, 4, 4, VD_UNSUPPORTED,
        { "in the footer: ", "version 4" } },
      { f + MK_KDMV_FLAGS, 4, 0x70001, VD_UNSUPPORTED,
        { "in the footer: ", "0x70001" } },
      { f + MK_KDMV_LINEENDS + 2, 1, '\n', VD_CORRUPT,
        { "in the footer: ", "text-mode" } },
      { f + MK_KDMV_GRAINSIZE, 8, 0, VD_CORRUPT, { "grain size is 0" } },
      { f + MK_KDMV_GDOFFSET, 8, 0, VD_CORRUPT, { "grain directory" } },
      { f + MK_KDMV_GDOFFSET, 8, 1 << 30, VD_CORRUPT, { "1073741824" } },
      { MK_KDMV_VERSION, 4, 4, VD_UNSUPPORTED, { "version 4" } },
      { MK_KDMV_GRAINSIZE, 8, 0, VD_OK, { NULL } },
    };

    u_check_fields (&m, fields, ARRAY_SIZE (fields));
  }
  u_free (&m);
}

TEST (compressed_grains_are_limited)
{
  static const struct u_field fields[] = {
    { MK_KDMV_GRAINSIZE, 8, 32768, VD_OK, { NULL } },
    { MK_KDMV_GRAINSIZE, 8, 65536, VD_CORRUPT,
      { "65536 sectors", "32768 when compressed" } },
  };
  struct u_image m;

  make_some (&m, MK_STREAM_FRONT);
  u_check_fields (&m, fields, ARRAY_SIZE (fields));
  u_free (&m);
}

/* Damage one grain, see that it is told, and that others are still read. */
static void
check_damage (const struct u_image *m, enum vd_code code, const char *p1,
              const char *p2)
{
  struct vd_err err;
  struct u_disk d;
  uint8_t buf[512], want[512];

  u_disk_open_one (&d, m, NULL);
  assert_unreadable (&d, 2 * GRAIN, GRAIN, code, "m.vmdk", p1, p2);
  assert_unreadable (&d, 2 * GRAIN + 100, 1, code, "m.vmdk", p1, p2);
  assert_unreadable (&d, 0, 11 * GRAIN / 2, code, "m.vmdk", p1, p2);
  assert_int_equal (vd_read (d.reader, &d.base, buf, 512, 4 * GRAIN, &err),
                    0);
  mk_content_fill (&content, want, 512, 4 * GRAIN);
  assert_memory_equal (buf, want, 512);
  u_disk_close (&d);
}

TEST (the_marker_must_name_the_grain)
{
  struct u_image m;

  make_some (&m, MK_STREAM_FRONT);
  u_put (&m, u_grain (&m, 2)->data + MK_MARKER_LBA, 8, 257);
  check_damage (&m, VD_CORRUPT, "disk sector 256",
                "marker there says disk sector 257");
  /* the entry is what is wrong */
  u_put (&m, u_grain (&m, 2)->data + MK_MARKER_LBA, 8, 256);
  u_put (&m, u_grain (&m, 2)->gte, 4, u_grain (&m, 7)->data / 512);
  u_put (&m, u_grain (&m, 2)->rgte, 4, u_grain (&m, 7)->data / 512);
  check_damage (&m, VD_CORRUPT, "disk sector 256",
                "marker there says disk sector 896");
  u_free (&m);
}

TEST (the_compressed_size_is_checked)
{
  const uint32_t most = GRAIN + (GRAIN >> 12) + (GRAIN >> 14) + 13 + 512;
  struct u_image m;

  make_some (&m, MK_STREAM_FRONT);
  u_put (&m, u_grain (&m, 2)->data + MK_MARKER_SIZE, 4, 0);
  check_damage (&m, VD_CORRUPT, "claims 0 bytes", "allowed are 1 to");
  u_put (&m, u_grain (&m, 2)->data + MK_MARKER_SIZE, 4, UINT32_MAX);
  check_damage (&m, VD_CORRUPT, "claims 4294967295 bytes", "allowed");
  u_put (&m, u_grain (&m, 2)->data + MK_MARKER_SIZE, 4, most + 1);
  check_damage (&m, VD_CORRUPT, "claims 66082 bytes", "1 to 66081");
  /* in the range, but shorter than the stream is */
  u_put (&m, u_grain (&m, 2)->data + MK_MARKER_SIZE, 4, 10);
  check_damage (&m, VD_CORRUPT, "its 10 compressed bytes are damaged",
                "disk sector 256");
  u_free (&m);
}

TEST (grains_cut_by_the_end_of_the_file_are_told)
{
  const struct mk_spec spec = some (MK_STREAM_FRONT);
  struct u_image m;
  struct u_disk d;
  size_t i;

  u_make (&m, &spec);
  for (i = 0; i < 5; ++i) {
    const struct mk_where *w = u_grain (&m, 10);
    const size_t keep[] = { 0, 11, 12, 40, 12 + w->stored - 1 };

    m.mem.size = w->data + keep[i];
    u_disk_open_one (&d, &m, NULL);
    assert_unreadable (&d, 10 * GRAIN, 512, VD_TRUNCATED, "m.vmdk",
                       i == 0 ? "truncated" : i == 1 ? "marker" : "truncated");
    u_disk_close (&d);
  }
  /* padding is not needed */
  m.mem.size = u_grain (&m, 10)->data + 12 + u_grain (&m, 10)->stored;
  compare_all (&m, &spec);
  u_free (&m);
}

TEST (a_grain_must_inflate_to_its_size)
{
  uint8_t *big = calloc (4, GRAIN);
  struct vd_err err;
  struct u_image m;
  struct u_disk d;
  uint8_t buf[16];

  make_some (&m, MK_STREAM_FRONT);
  replace_grain (&m, big, GRAIN + 1, true);
  check_damage (&m, VD_CORRUPT, "inflates to more than 65536 bytes",
                "disk sector 256");
  replace_grain (&m, big, 4 * GRAIN, true);
  check_damage (&m, VD_CORRUPT, "inflates to more than 65536 bytes",
                "disk sector 256");
  replace_grain (&m, big, GRAIN - 1, true);
  check_damage (&m, VD_CORRUPT, "inflates to only 65535 of 65536 bytes",
                "disk sector 256");
  replace_grain (&m, big, GRAIN, false); /* deflate without the zlib frame */
  check_damage (&m, VD_CORRUPT, "compressed bytes are damaged",
                "disk sector 256");

  memset (big, 'x', GRAIN);
  replace_grain (&m, big, GRAIN, true);
  u_disk_open_one (&d, &m, NULL);
  assert_int_equal (vd_read (d.reader, &d.base, buf, 16, 3 * GRAIN - 8,
                             &err), 0);
  assert_memory_equal (buf, "xxxxxxxx\0\0\0\0\0\0\0", 16);
  u_disk_close (&d);

  /* a wrong checksum behind good data */
  m.mem.data[u_grain (&m, 2)->data + 12 +
             u_get (&m, u_grain (&m, 2)->data + MK_MARKER_SIZE, 4) - 1] ^= 1;
  check_damage (&m, VD_CORRUPT, "damaged", "disk sector 256");
  free (big);
  u_free (&m);
}

TEST (the_last_grain_may_be_as_short_as_the_disk)
{
  struct mk_spec spec = some (MK_STREAM_FRONT);
  struct u_image m;
  struct u_disk d;

  spec.last = MK_LAST_CUT;
  u_make (&m, &spec);
  compare_all (&m, &spec);

  /* if the header counts more sectors, bytes are missing */
  u_put (&m, MK_KDMV_CAPACITY, 8, u_get (&m, MK_KDMV_CAPACITY, 8) + 1);
  u_disk_open_one (&d, &m, NULL);
  assert_unreadable (&d, 10 * GRAIN, 512, VD_CORRUPT, "m.vmdk",
                     "inflates to only 2560 of 3072 bytes");
  u_disk_close (&d);
  u_free (&m);
}

TEST (uncompressed_tables_say_zero_and_hole)
{
  struct vd_image *image;
  struct u_image m;

  make_some (&m, MK_STREAM_FRONT);
  image = u_open_ok (&m);
  assert_kind (image, 0, VD_COMPRESSED);
  assert_int_equal (u_run (image, 2 * GRAIN + 99).where,
                    u_grain (&m, 2)->data);
  assert_kind (image, GRAIN, VD_BASE);
  assert_kind (image, 3 * GRAIN, VD_ZERO);
  u_put (&m, u_grain (&m, 2)->gte, 4, 2);
  assert_damaged (image, 2 * GRAIN, VD_CORRUPT, "metadata", "sector 2");
  u_put (&m, u_grain (&m, 2)->gte, 4, m.mem.size / 512);
  assert_damaged (image, 2 * GRAIN, VD_TRUNCATED, "truncated", "grain 2 ");
  vd_image_close (image);
  u_free (&m);
}

/* Small reads of one grain come from the cache, also across slots. */
TEST (small_reads_inflate_once)
{
  struct mk_spec spec = some (MK_STREAM_FRONT);
  const struct vd_opts opts = { .allow_dirty = false };
  uint8_t buf[512], want[512];
  struct u_spy *spy;
  struct u_image m;
  struct vd_link *link;
  struct u_disk d;
  struct vd_err err;
  unsigned i, before;

  u_make (&m, &spec);
  spy = u_spy (u_memory ("m.vmdk", m.mem.data, m.mem.size));
  link = u_link_file (&spy->file, &opts);
  u_disk_open (&d, &link, 1, NULL, MIB);
  assert_int_equal (vd_read (d.reader, &d.base, buf, 1, 0, &err), 0);
  before = spy->preads;
  for (i = 0; i < 128; ++i) {
    assert_int_equal (vd_read (d.reader, &d.base, buf, 512, i * 512, &err),
                      0);
    mk_content_fill (&content, want, 512, i * 512);
    assert_memory_equal (buf, want, 512);
  }
  assert_int_equal (spy->preads, before);
  u_disk_close (&d);
  u_free (&m);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (all_styles_read_as_the_model),
    cmocka_unit_test (grains_that_do_not_compress_are_read),
    cmocka_unit_test (the_footer_is_found_behind_a_tail),
    cmocka_unit_test (a_stream_without_its_footer_is_incomplete),
    cmocka_unit_test (the_footer_goes_before_the_header),
    cmocka_unit_test (fields_of_the_footer_are_checked),
    cmocka_unit_test (compressed_grains_are_limited),
    cmocka_unit_test (the_marker_must_name_the_grain),
    cmocka_unit_test (the_compressed_size_is_checked),
    cmocka_unit_test (grains_cut_by_the_end_of_the_file_are_told),
    cmocka_unit_test (a_grain_must_inflate_to_its_size),
    cmocka_unit_test (the_last_grain_may_be_as_short_as_the_disk),
    cmocka_unit_test (uncompressed_tables_say_zero_and_hole),
    cmocka_unit_test (small_reads_inflate_once),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
