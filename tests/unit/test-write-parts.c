/* Writing into a disk of several extents, in as many files or in fewer, and
 * which of such disks are refused.
 */

#include "unit.h"

#define PART (MIB)
#define SIZE (2 * PART)

static const struct vd_opts quiet = { .ignore_cid = true };
static uint8_t want[SIZE], buf[SIZE];

static void
descriptor (const char *extents)
{
  char text[600];

  snprintf (text, sizeof text, "# Disk DescriptorFile\nversion=1\nCID=1\n"
            "parentCID=ffffffff\ncreateType=\"custom\"\n%s", extents);
  u_write_text ("t.vmdk", text);
}

static struct vd_link *
open_link (void)
{
  struct vd_err err;
  struct vd_link *link = vd_link_open ("t.vmdk", &quiet, &err);

  assert_opened (link, &err);
  return link;
}

static struct mk_content content = { .seed = 3, .flavour = MK_NOISE };

/* An extent of which every other 64 KiB are there; they are the part of want
 * that begins at `start`.
 */
static void
sparse (const char *path, enum mk_format format, uint64_t start)
{
  struct mk_pattern pattern = { .run = 1, .alternate = true };
  const struct mk_spec spec = {
    .format = format, .capacity = PART, .grain_size = 65536,
    .guest_start = start, .map = mk_map_pattern (&pattern),
    .fill = mk_fill_content (&content),
  };
  struct mk_piece piece = mk_piece_of (&spec);
  struct mk_layer layer = { .pieces = &piece, .n = 1 };
  const struct mk_model model = { .capacity = SIZE, .layers = &layer, .n = 1 };

  u_write_image (path, &spec);
  mk_model_read (&model, want + start, PART, start);
}

/* Write and zero here and there, across the border too, and read it back. */
static void
write_and_compare (void)
{
  static const struct { uint64_t at; size_t n; bool zero; } all[] = {
    { 0, 1000, false }, { PART - 70000, 140000, false }, { SIZE - 1, 1, false },
    { PART - 700, 1400, true }, { 300000, 70000, true },
    { PART + 500000, 200000, false }, { 0, 512, true },
  };
  static const struct vd_base none = { .align = 1 };
  const struct vd_write_opts opts = { .commit_bytes = 100000 };
  const struct vd_write_opts dry = { .dry = true };
  struct vd_link *link = open_link ();
  struct vd_chain *chain;
  struct vd_reader *reader;
  struct vd_err err;
  struct vd_file *t;
  size_t i;
  int r;

  /* Counting only leaves nothing to be finished. */
  t = vd_write_open (link, &dry, &err);
  assert_opened (t, &err);
  assert_int_equal (vd_file_pwrite (t, NULL, SIZE, 0, &err), 0);
  assert_int_equal (vd_write_finish (t, &err), 0);
  vd_file_close (t);

  t = vd_write_open (link, &opts, &err);
  assert_opened (t, &err);
  for (i = 0; i < ARRAY_SIZE (all); ++i) {
    memset (want + all[i].at, all[i].zero ? 0 : 1 + (int) i, all[i].n);
    r = all[i].zero ? vd_file_zero (t, all[i].at, all[i].n, &err)
      : vd_file_pwrite (t, want + all[i].at, all[i].n, all[i].at, &err);
    if (r == -1)
      fail_msg ("%s", err.msg);
  }
  if (vd_write_finish (t, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_file_close (t);
  vd_link_close (link);

  link = open_link ();
  chain = vd_chain_new (&link, 1, &quiet, &err);
  assert_opened (chain, &err);
  reader = vd_reader_new (chain, 1 << 20, &err);
  if (vd_read (reader, &none, buf, SIZE, 0, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_memory_equal (buf, want, SIZE);
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_link_close (link);
}

TEST (split_sparse)
{
  sparse ("a.vmdk", MK_KDMV, 0);
  sparse ("b.vmdk", MK_KDMV, PART);
  descriptor ("RW 2048 SPARSE \"a.vmdk\"\nRW 2048 SPARSE \"b.vmdk\"\n");
  write_and_compare ();
}

TEST (sparse_and_flat)
{
  sparse ("a.vmdk", MK_COWD, 0);
  memset (want + PART, 0x77, PART);
  u_write ("b.vmdk", want + PART, PART);
  descriptor ("RW 2048 VMFSSPARSE \"a.vmdk\"\nRW 2048 FLAT \"b.vmdk\" 0\n");
  write_and_compare ();
}

/* Both in one file, the second in front, and bytes around them that belong to
 * nobody.
 */
TEST (two_in_one_file)
{
  static uint8_t file[3 * 512 + SIZE];
  FILE *fp;

  memset (file, 0x55, sizeof file);
  memset (file + 512, 0x66, PART);
  memset (file + 1024 + PART, 0x77, PART);
  memset (want, 0x77, PART);
  memset (want + PART, 0x66, PART);
  u_write ("a.vmdk", file, sizeof file);
  descriptor ("RW 2048 FLAT \"a.vmdk\" 2050\nRW 2048 FLAT \"a.vmdk\" 1\n");
  write_and_compare ();

  memcpy (file + 512, want + PART, PART);
  memcpy (file + 1024 + PART, want, PART);
  fp = fopen ("a.vmdk", "r");
  assert_non_null (fp);
  for (size_t i = 0; i < sizeof file; ++i)
    if (getc (fp) != file[i])
      fail_msg ("byte %zu", i);
  assert_int_equal (getc (fp), EOF);
  fclose (fp);
}

static void
refused (enum vd_code code, const char *part, const char *advice)
{
  const struct vd_write_opts opts = { .dry = true };
  struct vd_link *link = open_link ();
  struct vd_err err;

  assert_null (vd_write_open (link, &opts, &err));
  assert_err (&err, code, part, advice);
  vd_link_close (link);
}

TEST (not_for_writing)
{
  u_write ("a.vmdk", want, PART);
  descriptor ("RW 1024 FLAT \"a.vmdk\" 0\nRDONLY 1024 FLAT \"a.vmdk\" 1024\n");
  refused (VD_UNSUPPORTED, "t.vmdk line 7: the extent may not be written "
           "(RDONLY)", "nbdcopy");
}

/* What a server gives is not written by its name. */
TEST (not_a_local_file)
{
  struct mk_pattern pattern = { .run = 1, .alternate = true };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = PART, .grain_size = 65536,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  struct vd_link *link;
  struct u_image m;
  struct vd_err err;

  u_make (&m, &spec);
  link = u_link (&m);
  assert_int_equal (vd_write_check (link, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "m.vmdk is not a local file");
  vd_link_close (link);
  u_free (&m);
}

/* Each of the two would take new blocks from the end of the same file. */
TEST (one_file_twice)
{
  sparse ("a.vmdk", MK_KDMV, 0);
  descriptor ("RW 2048 SPARSE \"a.vmdk\"\nRW 2048 SPARSE \"a.vmdk\"\n");
  refused (VD_CORRUPT, "a.vmdk", "two extents");

  /* and one of them as plain bytes */
  descriptor ("RW 2048 SPARSE \"a.vmdk\"\nRW 64 FLAT \"a.vmdk\" 0\n");
  refused (VD_CORRUPT, "a.vmdk", "two extents");

  /* plain ones that share bytes */
  u_write ("b.vmdk", want, PART);
  descriptor ("RW 1024 FLAT \"b.vmdk\" 0\nRW 1024 FLAT \"b.vmdk\" 1023\n");
  refused (VD_CORRUPT, "b.vmdk", "two extents");
  descriptor ("RW 1024 FLAT \"b.vmdk\" 1023\nRW 1024 FLAT \"b.vmdk\" 0\n");
  refused (VD_CORRUPT, "b.vmdk", "two extents");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (split_sparse),
    tmpdir_test (sparse_and_flat),
    tmpdir_test (two_in_one_file),
    tmpdir_test (not_for_writing),
    cmocka_unit_test (not_a_local_file),
    tmpdir_test (one_file_twice),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
