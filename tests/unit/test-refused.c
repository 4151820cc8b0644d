/* Refusals that a user can meet, one by one, each with what it has to say:
 * names, sizes, kinds of files.
 */

#include <sys/epoll.h>

#include "unit.h"
#include "vbox-text.h"
#include "create/create-vdi.h"

static const struct vd_opts none;

/* ---- New files ----------------------------------------------------------- */

static void
no_writer (const char *path, const char *hint, const char *part,
           const char *part2)
{
  const struct vd_create_opts opts = {
    .format = VD_WRITER_SPARSE, .capacity = MIB, .grain_size = 65536,
    .parent_hint = hint, .parent_cid = 5,
  };
  struct vd_err err;
  struct vd_create *w = vd_create_open (path, &opts, &err);

  if (w && vd_create_finish (w, NULL, &err) == 0)
    fail_msg ("written");
  assert_err (&err, VD_USAGE, part, part2);
  assert_int_equal (access (path, F_OK), -1);
}

TEST (names_of_parents)
{
  char name[482];

  no_writer ("n.vmdk", "", "is empty", "parent");
  memset (name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  no_writer ("n.vmdk", name, "is 481 bytes long", "allowed are 480");
  no_writer ("n.vmdk", "a\"b", "quotation mark", "a\"b");
  assert_int_equal (system ("test -z \"$(find . -name 'n.vmdk*')\""), 0);
}

TEST (a_vdi_has_so_many_blocks)
{
  const struct vd_identity id = { .image = { 1 } };
  struct vd_err err;

  assert_int_equal (vd_create_vdi_child ("n.vdi", UINT64_C (1) << 51, &id,
                                        NULL, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "n.vdi: a disk of 2251799813685248 bytes "
              "is too large for a VDI");
  assert_int_equal (access ("n.vdi", F_OK), -1);
}

TEST (no_deltas)
{
  const struct vd_deltas_opts how = { .allow_no_parent = false };
  struct vd_deltas d;
  struct vd_err err;

  assert_int_equal (vd_deltas_open (&d, NULL, 0, &how, &none, &err), -1);
  assert_err (&err, VD_USAGE, "no delta was given");
  vd_deltas_close (&d);
}

/* ---- Looking for files --------------------------------------------------- */

TEST (a_parent_of_another_machine)
{
  const struct vd_opts free_opts = { .unconfined = true };
  struct vd_link *link, *parent;
  enum vd_parent result;
  struct vd_err err;
  struct vd_file *f;

  u_write_text ("c.vmdk", "# Disk DescriptorFile\nCID=2\nparentCID=1\n"
                "parentFileNameHint=\"/vmfs/volumes/gone/p.vmdk\"\n"
                "RW 8 ZERO\n");
  f = vd_file_open ("c.vmdk", &err);
  link = vd_link_read (f, "c.vmdk", &none, &err);
  assert_opened (link, &err);
  assert_int_equal (vd_find_parent (link, &none, NULL, &result, &parent, &err), -1);
  assert_err (&err, VD_DENIED, "parent '/vmfs/volumes/gone/p.vmdk' of c.vmdk "
              "not found", "lead outside of that directory and were not tried",
              "parent-path");
  vd_link_close (link);
  f = vd_file_open ("c.vmdk", &err);
  link = vd_link_read (f, "c.vmdk", &free_opts, &err);
  assert_opened (link, &err);
  assert_int_equal (vd_find_parent (link, &free_opts, NULL, &result, &parent, &err),
                    -1);
  assert_err (&err, VD_NOT_FOUND, "of c.vmdk not found", "a path of the "
              "machine where the child was made", "parent-path");
  vd_link_close (link);
}

TEST (names_of_flat_files)
{
  static const char *const flat[] = {
    "a-flat.vmdk", "A-FLAT.VMDK", "-flat.vmdk", "a-f001.vmdk", "a-F123.vmdk",
    "-f999.vmdk",
  };
  static const char *const others[] = {
    "a.vmdk", "a-s001.vmdk", "a-f01.vmdk", "a-f0001.vmdk", "a-fabc.vmdk",
    "a-f00x.vmdk", "af001.vmdk", "f001.vmdk", "a-f001.vdi", "",
    "a-flat.vmdk.bak",
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (flat); ++i)
    if (!vd_is_flat_name (flat[i]))
      fail_msg ("%s", flat[i]);
  for (i = 0; i < ARRAY_SIZE (others); ++i)
    if (vd_is_flat_name (others[i]))
      fail_msg ("%s", others[i]);
}

TEST (what_is_no_file)
{
  struct vd_err err;

  assert_null (vd_file_from_fd (epoll_create1 (EPOLL_CLOEXEC), "e", &err));
  assert_err (&err, VD_USAGE, "e is a special file",
              "only regular files and block devices");
}

static int
add_up (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  uint64_t *sum = opaque;

  (void) err;
  sum[type & VD_HOLE ? 1 : 0] += length;
  return 0;
}

/* All of it, to the end. */
TEST (extents_of_a_file)
{
  uint64_t sum[2] = { 0, 0 };
  struct vd_err err;
  struct vd_file *f;

  u_write ("f", "x", 1);
  assert_int_equal (truncate ("f", (off_t) MIB), 0);
  f = vd_file_open ("f", &err);
  assert_opened (f, &err);
  assert_int_equal (vd_file_extents (f, 0, MIB, add_up, sum, &err), 0);
  assert_int_equal (sum[0] + sum[1], MIB);
  vd_file_close (f);
}

/* ---- Applying ------------------------------------------------------------ */

TEST (a_damaged_delta_has_no_plan)
{
  struct mk_pattern pattern = { .seed = 1, .run = 1, .alternate = true };
  struct mk_content content = { .seed = 1 };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = MIB, .grain_size = 512,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  struct vd_apply_plan plan;
  struct vd_chain *chain;
  struct vd_link *link;
  struct u_image m;
  struct vd_err err;

  u_make (&m, &spec);
  u_put (&m, m.layout.grains[7].gte, 4, m.mem.size / 512 + 1);
  link = u_link (&m);
  chain = vd_chain_new (&link, 1, &none, &err);
  assert_opened (chain, &err);
  assert_int_equal (vd_apply_plan (chain, &plan, &err), -1);
  assert_err (&err, VD_TRUNCATED, "m.vmdk", "grain");
  vd_chain_free (chain);
  vd_link_close (link);
  u_free (&m);
}

/* ---- Writing into a VDI -------------------------------------------------- */

static void
not_written (const char *path, uint64_t capacity, const char *part,
             const char *part2)
{
  const struct vd_write_opts opts = { .dry = true, .capacity = capacity };
  struct vd_err err;
  struct vd_link *link = vd_link_open (path, &none, &err);

  assert_opened (link, &err);
  assert_null (vd_write_open (link, &opts, &err));
  assert_err (&err, VD_UNSUPPORTED, path, part, part2);
  vd_link_close (link);
}

TEST (vdis_that_are_not_written)
{
  uint8_t old[2048] = { 0 };
  size_t i;
  static const uint32_t fields[][2] = {
    { 0x40, 0xbeda107f }, { 0x44, 2 }, { 0x48, 1 }, { 0x160, 65536 },
    { 0x168, 65536 }, { 0x16c, 1 }, { 0x1a4, UINT32_MAX },
  };

  /* of version 0, larger */
  for (i = 0; i < ARRAY_SIZE (fields); ++i)
    memcpy (old + fields[i][0], &(uint32_t) { htole32 (fields[i][1]) }, 4);
  old[0x174] = 1;
  u_write ("old.vdi", old, 0x1a4 + 4);
  not_written ("old.vdi", 2 * 65536, "a VDI of version 0 is not made larger",
               "");

  /* with a map that takes too much memory: more than 1 GiB */
  u_write_vdi ("map.vdi", 1, 0, 0);
  assert_int_equal (mk_poke_file ("map.vdi", 0x180, 4, (1u << 28) + 1), 0);
  assert_int_equal (mk_poke_file ("map.vdi", 0x158, 4, 1100u << 20), 0);
  assert_int_equal (truncate ("map.vdi", 1100 << 20), 0);
  not_written ("map.vdi", 0, "a block map of 268435457 entries is too large",
               "allowed are 268435456");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (names_of_parents),
    tmpdir_test (a_vdi_has_so_many_blocks),
    cmocka_unit_test (no_deltas),
    tmpdir_test (a_parent_of_another_machine),
    cmocka_unit_test (names_of_flat_files),
    cmocka_unit_test (what_is_no_file),
    tmpdir_test (extents_of_a_file),
    cmocka_unit_test (a_damaged_delta_has_no_plan),
    tmpdir_test (vdis_that_are_not_written),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
