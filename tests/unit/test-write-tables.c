/* Writing into images whose tables are not as a writer of ours makes them:
 * missing, without a copy, with copies that differ or lead nowhere; and what
 * cannot be written into, or made larger.
 */

#include <sys/stat.h>

#include "unit.h"
#include "format/vdi.h"
#include "create/create-format.h"

#define SIZE (3 * MIB)

static const struct vd_opts quiet = { .ignore_cid = true };
static struct mk_content content = { .seed = 41, .layer = 1,
                                     .flavour = MK_NOISE };
static struct mk_pattern pattern;
static uint8_t want[2 * SIZE], buf[2 * SIZE];

/* ---- Targets ------------------------------------------------------------- */

static struct mk_layout layout;

/* t.vmdk, and what it shows over nothing. */
static void
make (struct mk_spec *spec)
{
  const struct mk_piece piece = { .spec = spec, .length = spec->capacity };
  const struct mk_layer layer = { .pieces = &piece, .n = 1 };
  const struct mk_model model = { .capacity = spec->capacity,
                                  .layers = &layer, .n = 1 };

  mk_layout_free (&layout);
  spec->map = mk_map_pattern (&pattern);
  spec->fill = mk_fill_content (&content);
  memset (want, 0, sizeof want);
  assert_int_equal (mk_make_file (spec, "t.vmdk", &layout), 0);
  mk_model_read (&model, want, spec->capacity, 0);
}

static struct vd_link *
open_link (const char *path)
{
  struct vd_err err;
  struct vd_link *link = vd_link_open (path, &quiet, &err);

  assert_opened (link, &err);
  return link;
}

/* Sound, and like `want`. */
static void
expect (const char *path, uint64_t size)
{
  static const struct vd_base none = { .align = 1 };
  const struct vd_check_opts how = { .ignore_cid = true };
  struct vd_link *link = open_link (path);
  struct vd_check_report report;
  struct vd_chain *chain;
  struct vd_reader *reader;
  struct vd_err err;

  assert_int_equal (vd_check_link (link, &how, &report, &err), 0);
  if (vd_check_result (&report, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_check_report_free (&report);
  chain = vd_chain_new (&link, 1, &quiet, &err);
  assert_opened (chain, &err);
  assert_int_equal (chain->size, size);
  reader = vd_reader_new (chain, 1 << 20, &err);
  if (vd_read (reader, &none, buf, size, 0, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_memory_equal (buf, want, size);
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_link_close (link);
}

/* Write here and there. */
static void
write_into (const char *path, uint64_t size, uint64_t capacity)
{
  const struct vd_write_opts opts = { .commit_bytes = 64 * KIB,
                                       .capacity = capacity };
  struct vd_link *link = open_link (path);
  struct vd_err err;
  struct vd_file *t = vd_write_open (link, &opts, &err);
  struct mk_rng rng;

  assert_opened (t, &err);
  mk_rng_seed (&rng, size);
  for (unsigned i = 0; i < 60; i++) {
    const uint64_t at = mk_rng_below (&rng, size);
    const uint64_t most = vd_min (size - at, 50000);
    const size_t n = 1 + (size_t) mk_rng_below (&rng, most);
    int r;

    if (i % 4 == 3) {
      memset (want + at, 0, n);
      r = vd_file_zero (t, at, n, &err);
    }
    else {
      memset (want + at, 1 + (int) i, n);
      r = vd_file_pwrite (t, want + at, n, at, &err);
    }
    if (r == -1)
      fail_msg ("%s", err.msg);
  }
  assert_int_equal (vd_file_pread (t, buf, 512, 0, &err), -1);
  assert_err (&err, VD_USAGE, "cannot be read");
  if (vd_write_finish (t, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_file_close (t);
  vd_link_close (link);
}

static void
refused (const char *path, uint64_t capacity, const char *part,
         const char *advice)
{
  const struct vd_write_opts opts = { .capacity = capacity };
  struct vd_link *link = open_link (path);
  struct vd_err err;
  struct stat before, after;

  assert_int_equal (stat (path, &before), 0);
  assert_null (vd_write_open (link, &opts, &err));
  assert_err (&err, VD_UNSUPPORTED, path, part, advice);
  vd_link_close (link);
  assert_int_equal (stat (path, &after), 0);
  assert_int_equal (before.st_size, after.st_size);
}

/* The first write to a range fails like this. */
static void
write_refused (const char *path, uint64_t at, const char *part)
{
  const struct vd_write_opts opts = { .capacity = 0 };
  struct vd_link *link = open_link (path);
  struct vd_err err;
  struct vd_file *t = vd_write_open (link, &opts, &err);

  assert_opened (t, &err);
  assert_int_equal (vd_file_pwrite (t, want, 512, at, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, path, part);
  vd_file_close (t);
  vd_link_close (link);
}

/* ---- Tables -------------------------------------------------------------- */

#define SPARSE \
  .format = MK_KDMV, .capacity = SIZE, .grain_size = 4096, .gtes = 32, \
  .seed = 3

/* All sparse: most tables are not there. */
static void
few_tables (void)
{
  pattern = (struct mk_pattern) { .seed = 5, .run = 40, .fill = 150 };
}

TEST (missing_tables_are_made)
{
  struct mk_spec specs[] = {
    { SPARSE, .tables = MK_TABLES_USED },
    { SPARSE, .tables = MK_TABLES_USED, .no_redundant = true },
    { SPARSE, .tables = MK_TABLES_USED, .version = 2, .flags_set = 4 },
    { SPARSE, .tables = MK_TABLES_MIXED, .scatter_tables = true },
    { SPARSE, .tables = MK_TABLES_ALL, .placement = MK_SCATTERED },
    { SPARSE, .tables = MK_TABLES_USED, .unclean = true, .slack = 70000 },
    { SPARSE, .tables = MK_TABLES_USED, .unaligned = true, .max_gap = 9 },
    { .format = MK_COWD, .capacity = SIZE, .grain_size = 512 },
    { .format = MK_COWD, .capacity = SIZE - 512, .grain_size = 65536,
      .placement = MK_REVERSED },
  };

  few_tables ();
  for (size_t i = 0; i < ARRAY_SIZE (specs); i++) {
    make (&specs[i]);
    expect ("t.vmdk", specs[i].capacity);
    write_into ("t.vmdk", specs[i].capacity, 0);
    expect ("t.vmdk", specs[i].capacity);
    write_into ("t.vmdk", specs[i].capacity, 0);  /* nothing is new now */
    expect ("t.vmdk", specs[i].capacity);
  }
}

/* The primary table is what is read; both are the same afterwards. */
TEST (a_copy_that_differs_is_made_equal)
{
  struct mk_spec spec = { SPARSE };
  uint8_t a[128], b[128];
  FILE *fp;

  few_tables ();
  make (&spec);
  assert_int_equal (mk_poke_file ("t.vmdk", layout.tables[0].rgt, 4, 0x7777),
                    0);
  write_into ("t.vmdk", SIZE, 0);
  expect ("t.vmdk", SIZE);
  fp = fopen ("t.vmdk", "r");
  assert_non_null (fp);
  for (size_t i = 0; i < layout.n_tables; i++) {
    fseek (fp, (long) layout.tables[i].gt, SEEK_SET);
    assert_int_equal (fread (a, sizeof a, 1, fp), 1);
    fseek (fp, (long) layout.tables[i].rgt, SEEK_SET);
    assert_int_equal (fread (b, sizeof b, 1, fp), 1);
    assert_memory_equal (a, b, sizeof a);
  }
  fclose (fp);
}

/* What both say can be: nothing is written, unless it was ourselves who were
 * interrupted between the two.
 */
TEST (a_copy_in_doubt_is_not_overwritten)
{
  static const struct vd_write_opts how = { .dry = false };
  struct mk_spec spec = { SPARSE };
  struct vd_link *link;
  struct vd_file *target;
  struct vd_err err;
  uint64_t was;

  few_tables ();
  make (&spec);
  was = layout.grains[0].data / 512;
  assert_int_equal (mk_poke_file ("t.vmdk", layout.grains[0].rgte, 4,
                                  (uint32_t) was + 8), 0);
  link = open_link ("t.vmdk");
  target = vd_write_open (link, &how, &err);
  assert_null (target);
  assert_err (&err, VD_CORRUPT, "t.vmdk", "differs from its copy at entry",
              "both can be", "--output");
  vd_link_close (link);

  assert_int_equal (mk_poke_file ("t.vmdk", MK_KDMV_UNCLEAN, 1, 0xc6), 0);
  write_into ("t.vmdk", SIZE, 0);
  expect ("t.vmdk", SIZE);

  /* The first table is gone, the copy is not. */
  make (&spec);
  assert_int_equal (mk_poke_file ("t.vmdk", layout.tables[0].gde, 4, 0), 0);
  link = open_link ("t.vmdk");
  assert_null (vd_write_open (link, &how, &err));
  assert_err (&err, VD_CORRUPT, "t.vmdk", "both can be");
  vd_link_close (link);
}

/* One that leads out of the file, or to the table itself, is no copy: what
 * lies there is not written to.
 */
TEST (a_copy_that_leads_nowhere_is_left_alone)
{
  struct mk_spec spec = { SPARSE };

  few_tables ();
  make (&spec);
  assert_true (layout.n_tables >= 2);
  assert_int_equal (mk_poke_file ("t.vmdk", layout.tables[0].rgde, 4,
                                  layout.tables[0].gt / 512), 0);
  assert_int_equal (mk_poke_file ("t.vmdk", layout.tables[1].rgde, 4,
                                  layout.size / 512 + 1000), 0);
  write_into ("t.vmdk", SIZE, 0);
  expect ("t.vmdk", SIZE);
}

/* One that shares its place with something else is damage in what nobody
 * reads; but here it would be written.
 */
TEST (a_copy_in_the_place_of_something_else)
{
  struct vd_check_opts how = { .stop_at_first_error = true };
  struct mk_spec spec = { SPARSE };
  const struct mk_table *last;
  struct vd_check_report report;
  struct vd_link *link;
  struct vd_err err;
  struct { uint64_t where; const char *what; } cases[7];

  for (size_t i = 0; i < ARRAY_SIZE (cases); i++) {
    pattern = (struct mk_pattern) { .seed = 5, .run = 4, .fill = 500 };
    make (&spec);
    assert_true (layout.n_tables >= 3);
    last = &layout.tables[layout.n_tables - 1];
    cases[0].where = layout.grains[0].data;
    cases[0].what = "with grain ";
    cases[1].where = layout.grains[3].data + 512;
    cases[1].what = "with grain ";
    cases[2].where = layout.tables[0].gt;
    cases[2].what = "with grain table 0";
    cases[3].where = layout.tables[0].rgt;
    cases[3].what = "with redundant grain table 0";
    cases[4].where = layout.gd;
    cases[4].what = "lies in the grain directory";
    cases[5].where = layout.rgd;
    cases[5].what = "lies in the redundant grain directory";
    cases[6].where = 0;
    assert_int_equal (mk_poke_file ("t.vmdk", last->rgde, 4,
                                    cases[i].where / 512), 0);
    /* another table: what it says can be */
    if (i == 2 || i == 3)
      cases[i].what = "both can be";
    else
      expect ("t.vmdk", SIZE);
    link = open_link ("t.vmdk");
    how.for_writing = true;
    assert_int_equal (vd_check_link (link, &how, &report, &err), 0);
    assert_int_equal (vd_check_result (&report, &err),
                      cases[i].where == 0 ? 0 : -1);
    if (cases[i].where != 0)
      assert_err (&err, VD_CORRUPT, "t.vmdk", cases[i].what);
    vd_check_report_free (&report);
    vd_link_close (link);
  }
}

TEST (sector_numbers_end_at_2_TiB)
{
  struct mk_spec spec = { SPARSE, .no_redundant = true,
                          .tables = MK_TABLES_USED };
  uint64_t hole = 0;

  few_tables ();
  make (&spec);
  while (mk_layout_grain (&layout, hole))
    hole++;
  if (truncate ("t.vmdk", (off_t) (UINT32_MAX * UINT64_C (512))) == -1)
    skip ();                    /* no such files here */
  assert_int_equal (mk_poke_file ("t.vmdk", layout.grains[0].gte, 4,
                                  UINT32_MAX - 8), 0);
  write_refused ("t.vmdk", hole * 4096, "2 TiB");
}

/* ---- Larger -------------------------------------------------------------- */

TEST (a_larger_disk_needs_room_in_the_tables)
{
  /* a table covers 128 KiB: two of them, the second half used */
  struct mk_spec spec = { SPARSE };
  struct mk_spec cowd = { .format = MK_COWD, .capacity = SIZE,
                          .grain_size = 512 };
  const uint64_t room = 3 * MIB + 128 * KIB;

  few_tables ();
  spec.capacity = 3 * MIB + 4096;
  make (&spec);
  refused ("t.vmdk", room + 512, "room for", "nbdcopy");
  expect ("t.vmdk", spec.capacity);
  write_into ("t.vmdk", room, room);
  expect ("t.vmdk", room);
  make (&cowd);
  refused ("t.vmdk", SIZE + 512, "room for", "nbdcopy");
  expect ("t.vmdk", SIZE);
}

/* ---- VDI ----------------------------------------------------------------- */

#define BLOCK 4096u
#define BLOCKS 16u

/* `used` blocks at the start; the map at 512, the data at `data`. */
static void
make_vdi (uint32_t map, uint32_t data, uint32_t used)
{
  const size_t n = data + used * BLOCK;
  uint8_t *f = calloc (1, n);

  vd_put32 (f + 0x40, 0xbeda107f);
  vd_put32 (f + 0x44, 0x10001);
  vd_put32 (f + 0x48, 0x190);
  vd_put32 (f + 0x4c, 1);
  vd_put32 (f + 0x154, map);
  vd_put32 (f + 0x158, data);
  vd_put32 (f + 0x168, 512);
  vd_put64 (f + 0x170, BLOCKS * BLOCK);
  vd_put32 (f + 0x178, BLOCK);
  vd_put32 (f + 0x180, BLOCKS);
  vd_put32 (f + 0x184, used);
  memset (f + 0x188, 7, 32);
  memset (want, 0, sizeof want);
  for (uint32_t i = 0; i < BLOCKS; i++)
    vd_put32 (f + map + 4 * i, i < used ? i : VD_VDI_FREE);
  memset (f + data, 'v', n - data);
  memset (want, 'v', n - data);
  u_write ("t.vdi", f, n);
  free (f);
}

TEST (a_vdi_is_written_and_made_larger)
{
  make_vdi (512, 65536, 3);
  write_into ("t.vdi", BLOCKS * BLOCK, 0);
  expect ("t.vdi", BLOCKS * BLOCK);
  /* so many entries that they are written in several pieces */
  make_vdi (512, 65536, 3);
  write_into ("t.vdi", 1500 * BLOCK, 1500 * BLOCK);
  expect ("t.vdi", 1500 * BLOCK);
}

TEST (a_vdi_without_room_is_not_made_larger)
{
  make_vdi (512, 1024, 3);
  refused ("t.vdi", 129 * BLOCK, "there is room for 128", "--resize");
  expect ("t.vdi", BLOCKS * BLOCK);
}

TEST (a_vdi_needs_a_map_whose_entries_are_whole)
{
  make_vdi (514, 65536, 3);
  refused ("t.vdi", 0, "byte 514", "multiple of 4");
}

TEST (a_vdi_ends_with_its_block_numbers)
{
  make_vdi (512, 65536, 3);
  assert_int_equal (mk_poke_file ("t.vdi", 512, 4, VD_VDI_ZERO - 1), 0);
  write_refused ("t.vdi", 10 * BLOCK, "no number is left");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (missing_tables_are_made),
    tmpdir_test (a_copy_that_differs_is_made_equal),
    tmpdir_test (a_copy_in_doubt_is_not_overwritten),
    tmpdir_test (a_copy_that_leads_nowhere_is_left_alone),
    tmpdir_test (a_copy_in_the_place_of_something_else),
    tmpdir_test (sector_numbers_end_at_2_TiB),
    tmpdir_test (a_larger_disk_needs_room_in_the_tables),
    tmpdir_test (a_vdi_is_written_and_made_larger),
    tmpdir_test (a_vdi_without_room_is_not_made_larger),
    tmpdir_test (a_vdi_needs_a_map_whose_entries_are_whole),
    tmpdir_test (a_vdi_ends_with_its_block_numbers),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
