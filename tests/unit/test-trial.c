/* What the corruption trial (tests/trial) found: damage that changed what is
 * read and left no word about it.
 */

#include "unit.h"

/* The deltas of a filter over a base; the warnings are collected. */
static void
open_deltas (const char *path, struct u_log *log)
{
  const struct vd_deltas_opts how = { .follow_option = "follow" };
  const struct vd_opts opts = u_opts (log);
  struct vd_deltas d;
  struct vd_err err;

  if (vd_deltas_open (&d, &path, 1, &how, &opts, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_deltas_close (&d);
}

static const char flat[] = "# Disk DescriptorFile\nversion=1\nCID=1\n"
  "parentCID=ffffffff\ncreateType=\"vmfs\"\nRW 8 FLAT \"flat\" 10";

/* Cut in the middle of "10", the offset would have been 1. */
TEST (an_extent_line_without_its_end)
{
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_descriptor *d;
  struct vd_err err;

  d = vd_descriptor_parse (flat, strlen (flat) - 1, "d.vmdk", &opts.log,
                           &err);
  assert_opened (d, &err);
  assert_text (log.text, "d.vmdk line 6: the text ends with this extent, "
               "without a line end: it may be truncated");
  vd_descriptor_free (d);

  /* Complete, or with a last line of another kind, it is not said. */
  d = vd_descriptor_parse ("CID=1\nparentCID=ffffffff\nRW 8 ZERO\n", 36,
                           "d.vmdk", &opts.log, &err);
  assert_opened (d, &err);
  vd_descriptor_free (d);
  d = vd_descriptor_parse ("RW 8 ZERO\nCID=1\nparentCID=ffffffff", 35,
                           "d.vmdk", &opts.log, &err);
  assert_opened (d, &err);
  vd_descriptor_free (d);
  assert_int_equal (log.n, 1);
}

/* The base takes the place of a parent, of which nobody knows the name. */
TEST (a_hint_that_was_lost)
{
  static const char text[] = "# Disk DescriptorFile\nCID=2\n"
    "parentCID=00000001\nRW 8 ZERO\n";
  static const char fresh[] = "# Disk DescriptorFile\nCID=2\n"
    "parentCID=fffffffe\nRW 8 ZERO\n";
  struct u_log log;

  u_write_text ("d.vmdk", text);
  open_deltas ("d.vmdk", &log);
  assert_text (log.text, "d.vmdk does not name its parent (it has no "
               "parentFileNameHint): the base that was given is taken");
  assert_int_equal (log.n, 1);

  /* made for a raw base */
  u_write_text ("d.vmdk", fresh);
  open_deltas ("d.vmdk", &log);
  assert_int_equal (log.n, 0);
}

static void
make (struct u_image *m, enum mk_format format, const char *descriptor)
{
  static struct mk_pattern pattern = { .seed = 1, .run = 1, .fill = 500 };
  static struct mk_content content = { .seed = 1 };
  const struct mk_spec spec = {
    .format = format, .capacity = 65536, .grain_size = 4096,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
    .descriptor = descriptor,
  };

  u_make (m, &spec);
}

/* The sectors of an embedded descriptor are zeros: the newest of a chain
 * would be laid over the base, without those between.
 */
TEST (an_embedded_descriptor_that_was_lost)
{
  struct u_image m;
  struct u_log log;

  make (&m, MK_KDMV, "# Disk DescriptorFile\nCID=2\nparentCID=fffffffe\n"
        "RW 128 SPARSE \"d.vmdk\"\n");
  u_write ("d.vmdk", m.mem.data, m.mem.size);
  open_deltas ("d.vmdk", &log);
  assert_int_equal (log.n, 0);
  memset (m.mem.data + 512, 0, 512);
  u_write ("d.vmdk", m.mem.data, m.mem.size);
  open_deltas ("d.vmdk", &log);
  assert_text (log.text, "d.vmdk: its descriptor is empty");
  assert_int_equal (log.n, 1);
  u_free (&m);
}

/* Tables read from where the directory or grains are. */
TEST (areas_of_a_sesparse_that_overlap)
{
  struct u_image m;
  struct u_field fields[] = {
    { MK_SE_GTS, 8, 0, VD_CORRUPT,
      { "grain directory", "grain table area", "overlap", NULL } },
    { MK_SE_GRAINS, 8, 0, VD_CORRUPT,
      { "grain directory", "grain area", "overlap", NULL } },
    { MK_SE_GRAINS, 8, 0, VD_CORRUPT,
      { "grain table area", "grain area", "overlap", NULL } },
  };

  make (&m, MK_SESPARSE, NULL);
  fields[0].value = u_get (&m, MK_SE_GD, 8);
  fields[1].value = u_get (&m, MK_SE_GD, 8) + 1;
  fields[2].value = u_get (&m, MK_SE_GTS, 8) + u_get (&m, MK_SE_GTS_SIZE, 8)
    - 1;
  u_check_fields (&m, fields, ARRAY_SIZE (fields));
  u_free (&m);
}

/* Another place or size of the blocks gives other bytes, but does not fit
 * the size of the file.
 */
TEST (a_vdi_of_another_size)
{
  static const struct { unsigned off; uint32_t value; } wrong[] = {
    { 0x158, 1022 }, { 0x17c, 1 }, { 0x184, 3 },
  };
  struct u_image m = { .mem = { .size = 1024 + 2 * 4096 } };
  struct vd_image *image;
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_err err;
  size_t i;

  m.mem.data = calloc (m.mem.size, 1);
  u_put (&m, 0x40, 4, 0xbeda107f);
  u_put (&m, 0x44, 4, 0x10001);
  u_put (&m, 0x48, 4, 0x190);
  u_put (&m, 0x4c, 4, 1);
  u_put (&m, 0x154, 4, 512);
  u_put (&m, 0x170, 4, 2 * 4096);
  u_put (&m, 0x178, 4, 4096);
  u_put (&m, 0x180, 4, 2);
  u_put (&m, 0x188, 4, 1);
  u_put (&m, 516, 4, 1);
  for (i = 0; i <= ARRAY_SIZE (wrong); ++i) {
    u_put (&m, 0x158, 4, 1024);
    u_put (&m, 0x17c, 4, 0);
    u_put (&m, 0x184, 4, 2);
    if (i < ARRAY_SIZE (wrong))
      u_put (&m, wrong[i].off, 4, wrong[i].value);
    memset (&log, 0, sizeof log);
    image = u_open (&m, &opts, &err);
    assert_opened (image, &err);
    vd_image_close (image);
    assert_int_equal (log.n, i < ARRAY_SIZE (wrong));
    if (log.n)
      assert_text (log.text, "but the file ends at byte 9216");
  }
  free (m.mem.data);
}

/* '"flat" 18' of which the blank became a number sign: the offset is not a
 * comment.
 */
TEST (an_offset_that_became_a_comment)
{
  static const char good[] = "CID=1\nparentCID=ffffffff\n"
    "RW 8 FLAT \"flat\" # the first\n";
  static const char bad[] = "CID=1\nparentCID=ffffffff\n"
    "RW 8 FLAT \"flat\"#18\n";
  struct vd_descriptor *d;
  struct vd_err err;

  d = vd_descriptor_parse (good, strlen (good), "d.vmdk", NULL, &err);
  assert_opened (d, &err);
  vd_descriptor_free (d);
  assert_null (vd_descriptor_parse (bad, strlen (bad), "d.vmdk", NULL, &err));
  assert_err (&err, VD_CORRUPT, "bad extent offset '#18'");
}

static void
make_stream (struct u_image *m)
{
  static struct mk_content content = { .seed = 3, .layer = 1 };
  static const struct mk_pattern all = { .seed = 1, .run = 4, .fill = 700 };
  const struct mk_spec spec = {
    .format = MK_STREAM, .capacity = 256 * KIB, .grain_size = 8 * KIB,
    .map = mk_map_pattern ((struct mk_pattern *) (uintptr_t) &all),
    .fill = mk_fill_content (&content), .style = MK_STREAM_BOTH, .eos = true,
  };

  u_make (m, &spec);
}

/* The beginning of a stream is that of another one, whose tables are in front; its
 * own footer, which has precedence, leads to no directory any more.
 */
TEST (a_footer_that_leads_nowhere)
{
  static const struct vd_opts none;
  struct u_image m;
  struct vd_image *image;
  struct vd_err err;

  make_stream (&m);
  u_put (&m, m.layout.gd - 512 + MK_MARKER_TYPE, 4, 77);
  image = u_open (&m, &none, &err);
  assert_null (image);
  assert_err (&err, VD_CORRUPT, "where none is, and the header");
  u_free (&m);
}

/* The end of a smaller stream, with its footer, and behind it what was there
 * before.
 */
TEST (a_tail_that_is_not_zeros)
{
  struct u_image m;
  struct vd_image *image;
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_err err;
  size_t end;

  make_stream (&m);
  end = m.mem.size;
  m.mem.data = realloc (m.mem.data, end + 1024);
  assert_non_null (m.mem.data);
  memset (m.mem.data + end, 0x77, 1024);
  m.mem.size = end + 1024;
  image = u_open (&m, &opts, &err);
  assert_opened (image, &err);
  assert_text (log.text, "behind its footer");
  vd_image_close (image);
  u_free (&m);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (an_extent_line_without_its_end),
    tmpdir_test (a_hint_that_was_lost),
    tmpdir_test (an_embedded_descriptor_that_was_lost),
    cmocka_unit_test (areas_of_a_sesparse_that_overlap),
    cmocka_unit_test (a_vdi_of_another_size),
    cmocka_unit_test (an_offset_that_became_a_comment),
    cmocka_unit_test (a_footer_that_leads_nowhere),
    cmocka_unit_test (a_tail_that_is_not_zeros),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
