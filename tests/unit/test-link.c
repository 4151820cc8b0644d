/* Opening an image with its extents, in all its shapes. */

#include <sys/stat.h>

#include "unit.h"

static struct mk_content content = { .seed = 17, .layer = 1,
                                     .flavour = MK_NOISE };
static struct mk_pattern all = { .run = 1, .fill = 1000 };

static struct mk_spec
spec_of (enum mk_format format, uint64_t sectors, uint64_t start)
{
  return (struct mk_spec) {
    .format = format, .capacity = sectors * 512, .guest_start = start * 512,
    .grain_size = 4096, .map = mk_map_pattern (&all),
    .fill = mk_fill_content (&content),
  };
}

static struct vd_link *
open_ok (const char *path)
{
  static const struct vd_opts opts;
  struct vd_err err;
  struct vd_link *link = vd_link_open (path, &opts, &err);

  assert_opened (link, &err);
  return link;
}

static void
refused (const char *path, enum vd_code code, const char *p1, const char *p2)
{
  static const struct vd_opts opts;
  struct vd_err err = { .code = VD_OK };
  struct vd_link *link = vd_link_open (path, &opts, &err);

  assert_null (link);
  assert_err (&err, code, p1, p2);
}

/* The disk holds the content in [from, to) (sectors), zeros elsewhere. */
static void
check_bytes (struct vd_link *link, uint64_t sectors, uint64_t from,
             uint64_t to)
{
  uint8_t *have = malloc (sectors * 512), *want = calloc (sectors, 512);
  struct u_disk d;
  struct vd_err err;

  assert_int_equal (link->capacity, sectors * 512);
  mk_content_fill (&content, want + from * 512, (to - from) * 512,
                   from * 512);
  u_disk_open (&d, &link, 1, NULL, MIB);
  if (vd_read (d.reader, &d.base, have, sectors * 512, 0, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_memory_equal (have, want, sectors * 512);
  u_disk_close (&d);
  free (have);
  free (want);
}

static void
write_flat (const char *path, uint64_t skip, uint64_t sectors,
            uint64_t start)
{
  uint8_t *buf = malloc ((skip + sectors) * 512);

  memset (buf, 0xee, skip * 512);
  mk_content_fill (&content, buf + skip * 512, sectors * 512, start * 512);
  u_write (path, buf, (skip + sectors) * 512);
  free (buf);
}

TEST (extents_of_all_kinds_lie_end_to_end)
{
  struct mk_spec a = spec_of (MK_COWD, 77, 0);
  struct mk_spec b = spec_of (MK_KDMV, 100, 77);
  struct mk_spec c = spec_of (MK_SESPARSE, 33, 177);
  struct mk_spec s = spec_of (MK_STREAM, 21, 210);
  struct vd_link *link;

  u_write_image ("s1.vmdk", &a);
  u_write_image ("s2.vmdk", &b);
  u_write_image ("s3.vmdk", &c);
  u_write_image ("s4.vmdk", &s);
  write_flat ("f5.vmdk", 7, 19, 231);
  write_flat ("f6.vmdk", 0, 10, 250);
  u_write_text ("d.vmdk", "RW 77 VMFSSPARSE \"s1.vmdk\"\n"
                "RDONLY 100 SPARSE \"s2.vmdk\"\n"
                "RW 33 SESPARSE \"s3.vmdk\"\nRW 21 SPARSE \"s4.vmdk\"\n"
                "RDONLY 19 FLAT \"f5.vmdk\" 7\nRW 10 VMFS \"f6.vmdk\"\n"
                "RW 40 ZERO\nNOACCESS 10 FLAT \"not-there\" 0\n");
  link = open_ok ("d.vmdk");
  assert_int_equal (link->nr_pieces, 8);
  assert_int_equal (link->pieces[2].start, 177 * 512);
  assert_int_equal (link->role, VD_ROLE_BASE);
  assert_false (link->embedded);
  assert_string_equal (vd_link_format (link), "mixed");
  assert_int_equal (vd_link_min_grain (link), 4096);
  check_bytes (link, 310, 0, 260);
}

TEST (the_zero_extent_does_not_fall_through)
{
  struct mk_pattern none = { .run = 1, .fill = 0 };
  struct mk_spec a = spec_of (MK_COWD, 8, 0);
  uint8_t base[16 * 512], buf[16 * 512];
  struct vd_link *link;
  struct vd_err err;
  struct u_disk d;

  a.map = mk_map_pattern (&none);
  u_write_image ("s1.vmdk", &a);
  u_write_text ("d.vmdk", "CID=1\nparentCID=2\nRW 8 SPARSE \"s1.vmdk\"\n"
                "RW 8 ZERO\n");
  link = open_ok ("d.vmdk");
  assert_int_equal (link->role, VD_ROLE_CHILD);
  memset (base, 'b', sizeof base);
  u_disk_open (&d, &link, 1, u_memory ("base", base, sizeof base), MIB);
  assert_int_equal (vd_read (d.reader, &d.base, buf, sizeof buf, 0, &err), 0);
  assert_memory_equal (buf, base, 8 * 512);
  memset (base, 0, sizeof base);
  assert_memory_equal (buf + 8 * 512, base, 8 * 512);
  vd_file_close (d.base.file);
  u_disk_close (&d);
}

TEST (an_embedded_descriptor_means_its_own_file)
{
  struct mk_spec a = spec_of (MK_KDMV, 50, 0);
  struct vd_link *link;

  a.descriptor = "version=1\nCID=123\nparentCID=ffffffff\n"
    "createType=\"monolithicSparse\"\nRW 50 SPARSE \"old-name.vmdk\"\n";
  u_write_image ("renamed.vmdk", &a);
  link = open_ok ("renamed.vmdk");
  assert_true (link->embedded);
  assert_int_equal (link->role, VD_ROLE_BASE);
  assert_int_equal (link->descriptor->cid, 0x123);
  assert_string_equal (vd_link_format (link), "KDMV");
  check_bytes (link, 50, 0, 50);

  a.descriptor_sector = 9;      /* wherever the header says */
  a.descriptor_sectors = 3;
  u_write_image ("renamed.vmdk", &a);
  check_bytes (open_ok ("renamed.vmdk"), 50, 0, 50);
}

TEST (the_descriptor_gives_the_size_the_header_the_room)
{
  struct mk_spec a = spec_of (MK_KDMV, 50, 0);

  a.round_capacity = true;      /* the header says 56 */
  a.descriptor = "RW 50 SPARSE \"x\"\n";
  u_write_image ("a.vmdk", &a);
  check_bytes (open_ok ("a.vmdk"), 50, 0, 50);
  u_write_text ("d.vmdk", "RW 50 SPARSE \"a.vmdk\"\nRW 6 ZERO\n");
  check_bytes (open_ok ("d.vmdk"), 56, 0, 50);
  u_write_text ("d.vmdk", "RW 10 SPARSE \"a.vmdk\"\n");
  check_bytes (open_ok ("d.vmdk"), 10, 0, 10);

  a.descriptor = "RW 57 SPARSE \"x\"\n";
  u_write_image ("a.vmdk", &a);
  refused ("a.vmdk", VD_MISMATCH, "a.vmdk: extent has room for 56 sectors",
           "wants 57 (line 1)");
  u_write_text ("d.vmdk", "\nRW 57 SPARSE \"a.vmdk\"\n");
  refused ("d.vmdk", VD_MISMATCH, "d.vmdk line 2: ", "room for 56 sectors");
}

TEST (an_embedded_descriptor_has_one_sparse_extent)
{
  struct mk_spec a = spec_of (MK_KDMV, 50, 0);

  a.descriptor = "RW 25 SPARSE \"x\"\nRW 25 SPARSE \"y\"\n";
  u_write_image ("a.vmdk", &a);
  refused ("a.vmdk", VD_CORRUPT, "a.vmdk: the embedded descriptor has 2 "
           "extents", "SPARSE");
  a.descriptor = "RW 50 FLAT \"x\" 0\n";
  u_write_image ("a.vmdk", &a);
  refused ("a.vmdk", VD_CORRUPT, "1 extents, the first of type FLAT",
           "a.vmdk");
}

TEST (a_header_of_capacity_0_names_other_files)
{
  struct mk_spec a = spec_of (MK_KDMV, 50, 0);
  struct vd_link *link;

  a.descriptor = "CID=5\nRW 10 FLAT \"f.vmdk\" 0\nRW 3 ZERO\n";
  u_write_image ("a.vmdk", &a);
  assert_int_equal (mk_poke_file ("a.vmdk", MK_KDMV_CAPACITY, 8, 0), 0);
  write_flat ("f.vmdk", 0, 10, 0);
  link = open_ok ("a.vmdk");
  assert_int_equal (link->nr_pieces, 2);
  assert_int_equal (link->descriptor->cid, 5);
  check_bytes (link, 13, 0, 10);

  a.descriptor = "RW 10 SPARSE \"a.vmdk\"\n";   /* itself */
  u_write_image ("a.vmdk", &a);
  assert_int_equal (mk_poke_file ("a.vmdk", MK_KDMV_CAPACITY, 8, 0), 0);
  refused ("a.vmdk", VD_MISMATCH, "a.vmdk", "room for 0 sectors");
}

TEST (bare_extents_are_opened)
{
  static const enum mk_format formats[] = {
    MK_COWD, MK_KDMV, MK_STREAM, MK_SESPARSE
  };
  static const char *const names[] = { "COWD", "KDMV", "KDMV", "SEsparse" };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (formats); ++i) {
    struct mk_spec a = spec_of (formats[i], 41, 0);
    struct vd_link *link;

    u_write_image ("a-delta.vmdk", &a);
    link = open_ok ("a-delta.vmdk");
    assert_int_equal (link->role, VD_ROLE_BARE);
    assert_null (link->descriptor);
    assert_string_equal (vd_link_format (link), names[i]);
    check_bytes (link, 41, 0, 41);
  }
}

TEST (who_has_a_parent)
{
  static const struct {
    const char *keys;
    enum vd_role role;
    const char *warning;
  } t[] = {
    { "", VD_ROLE_BASE, NULL },
    { "parentCID=ffffffff\n", VD_ROLE_BASE, NULL },
    { "parentCID=FFFFFFFF\nparentFileNameHint=\"p.vmdk\"\n", VD_ROLE_BASE,
      "parentCID is ffffffff (no parent); its parentFileNameHint 'p.vmdk'" },
    { "parentCID=fffffffe\n", VD_ROLE_CHILD, NULL },
    { "parentCID=0\n", VD_ROLE_CHILD, NULL },
    { "parentCID=1\nparentFileNameHint=\"p.vmdk\"\n", VD_ROLE_CHILD, NULL },
    { "parentCID=ffffffff\nddb.uuid.parent="
      "\"622a0911-bc78-4b7a-a6ec-7359a068de8a\"\n", VD_ROLE_CHILD, NULL },
    { "ddb.uuid.parent=\"00000000-0000-0000-0000-000000000000\"\n",
      VD_ROLE_BASE, NULL },
  };
  struct u_log log;
  struct vd_err err;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    const struct vd_opts opts = u_opts (&log);
    struct vd_link *link;
    char text[300];

    snprintf (text, sizeof text, "%sRW 5 ZERO\n", t[i].keys);
    u_write_text ("d.vmdk", text);
    link = vd_link_open ("d.vmdk", &opts, &err);
    assert_opened (link, &err);
    assert_int_equal (link->role, t[i].role);
    assert_int_equal (log.n, t[i].warning != NULL);
    if (t[i].warning) {
      assert_text (log.text, "d.vmdk");
      assert_text (log.text, t[i].warning);
    }
    assert_string_equal (vd_link_format (link), "ZERO");
    vd_link_close (link);
  }
}

/* Sectors [from, to) of such a disk are lost, and said to be; no others. */
static void
lost (const char *text, uint64_t from, uint64_t to, const char *part)
{
  struct vd_runs runs = VD_RUNS_INIT (64);
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_link *link;
  struct vd_err err;
  uint64_t sum = 0;
  size_t i;

  u_write_text ("d.vmdk", text);
  link = vd_link_open ("d.vmdk", &opts, &err);
  assert_opened (link, &err);
  assert_int_equal (log.n, 1);
  assert_text (log.text, part);
  assert_text (log.text, "lost");
  assert_int_equal (vd_link_map (link, 0, link->capacity, 0, &runs, &err), 0);
  for (i = 0; i < runs.n; ++i)
    if (runs.run[i].kind == VD_DAMAGED) {
      const struct vd_piece *p = &link->pieces[runs.run[i].slot];

      assert_true (runs.run[i].offset >= from * 512);
      assert_true (vd_run_end (&runs.run[i]) <= to * 512);
      sum += runs.run[i].length;
      assert_int_equal (p->image->fmt->explain (p->image, runs.run[i].offset
                                                - p->start, &err), -1);
      assert_text (err.msg, part);
    }
  assert_int_equal (sum, (to - from) * 512);
  vd_runs_free (&runs);
  vd_link_close (link);
}

TEST (extents_that_are_missing_or_short_are_told)
{
  struct mk_spec a = spec_of (MK_COWD, 50, 0);

  u_write_text ("d.vmdk", "CID=1\nRW 50 SPARSE \"a.vmdk\"\n");
  refused ("d.vmdk", VD_NOT_FOUND, "d.vmdk line 2 refers to a.vmdk", "/a.vmdk");
  u_write_image ("a.vmdk", &a);
  vd_link_close (open_ok ("d.vmdk"));

  write_flat ("f.vmdk", 0, 10, 0);
  u_write_text ("d.vmdk", "RW 11 FLAT \"f.vmdk\" 10\n");
  refused ("d.vmdk", VD_TRUNCATED, "d.vmdk line 1: ",
           "f.vmdk is 5120 bytes long, but the extent needs 5632 bytes");
  lost ("RW 11 FLAT \"f.vmdk\" 0\n", 10, 11, "needs 5632 bytes");
  lost ("RW 10 FLAT \"f.vmdk\" 1\n", 9, 10, "from byte 512 on");
  lost ("RW 10 FLAT \"f.vmdk\"\nRW 5 FLAT \"g.vmdk\"\n", 10, 15, "g.vmdk");
  lost ("RW 4 FLAT \"g.vmdk\"\nRW 10 FLAT \"f.vmdk\"\n", 0, 4, "g.vmdk");
  lost ("RW 4 ZERO\nRW 5 SPARSE \"g.vmdk\"\nRW 10 FLAT \"f.vmdk\"\n", 4, 9,
        "g.vmdk");
  u_write_text ("d.vmdk", "RW 4 ZERO\nRW 5 SPARSE \"g.vmdk\"\n");
  refused ("d.vmdk", VD_NOT_FOUND, "d.vmdk line 2", "g.vmdk");
  u_write_text ("d.vmdk", "RW 1 FLAT \"f.vmdk\" 18014398509481983\n");
  refused ("d.vmdk", VD_TRUNCATED, "f.vmdk", "truncated");
  u_write_text ("d.vmdk", "RW 9 FLAT \"f.vmdk\" 1\n");
  vd_link_close (open_ok ("d.vmdk"));

  u_write_text ("d.vmdk", "RW 10 SPARSE \"f.vmdk\"\n");
  refused ("d.vmdk", VD_NOT_FORMAT, "d.vmdk line 1: ", "f.vmdk");
  u_write_text ("d2.vmdk", "RW 1 ZERO\n");
  u_write_text ("d.vmdk", "RW 1 SPARSE \"d2.vmdk\"\n");
  refused ("d.vmdk", VD_NOT_FORMAT, "d2.vmdk", "text");
  u_write_text ("d.vmdk", "RW 1 SPARSE \"d.vmdk\"\n");
  refused ("d.vmdk", VD_NOT_FORMAT, "d.vmdk line 1", "text");
}

TEST (other_files_are_told_by_name)
{
  uint8_t buf[4096] = { 0 };

  refused ("nothing.vmdk", VD_NOT_FOUND, "nothing.vmdk", "No such file");
  u_write ("disk-flat.vmdk", buf, sizeof buf);
  refused ("disk-flat.vmdk", VD_NOT_FORMAT, "disk-flat.vmdk is the data",
           "open disk.vmdk");
  u_write ("raw.img", buf, sizeof buf);
  refused ("raw.img", VD_NOT_FORMAT, "raw.img is not a VMDK", "base");
  u_write ("empty.vmdk", "", 0);
  refused ("empty.vmdk", VD_NOT_FORMAT, "empty.vmdk is empty (0 bytes)",
           "get it again");
  u_write ("small.vmdk", "KDM", 3);
  refused ("small.vmdk", VD_CORRUPT, "small.vmdk line 1", "KDM");
  u_write ("small.vmdk", "KDMV\1\0\0\0", 8);
  refused ("small.vmdk", VD_TRUNCATED, "small.vmdk", "ends at byte 8");
  u_write ("small.vmdk", "COWD", 4);
  refused ("small.vmdk", VD_TRUNCATED, "small.vmdk", "ends at byte 4");
  memcpy (buf, "vmdk", 4);
  u_write ("lower.vmdk", buf, sizeof buf);
  refused ("lower.vmdk", VD_NOT_FORMAT, "lower.vmdk is a VMDK that was never "
           "finished", "KDMV");
  memcpy (buf, "QFI\xfb", 4);
  u_write ("q.vmdk", buf, sizeof buf);
  refused ("q.vmdk", VD_NOT_FORMAT, "q.vmdk is a qcow image",
           "qemu-img convert");
  memcpy (buf, "<<< Oracle VM VirtualBox Disk Image >>>\n", 41);
  memcpy (buf + 0x40, "\x7f\x10\xda\xbe", 4);
  u_write ("v.vmdk", buf, sizeof buf);
  refused ("v.vmdk", VD_UNSUPPORTED, "v.vmdk", "VDI");
}

TEST (large_texts_are_not_descriptors)
{
  char *text = malloc (MIB + 1);

  memset (text, '#', MIB + 1);
  memcpy (text, "RW 1 ZERO\n", 10);
  u_write ("d.vmdk", text, MIB);
  vd_link_close (open_ok ("d.vmdk"));
  u_write ("d.vmdk", text, MIB + 1);
  refused ("d.vmdk", VD_NOT_FORMAT, "d.vmdk is not a VMDK descriptor",
           "1048577 bytes");
  free (text);
}

TEST (what_is_no_file_is_refused)
{
  assert_int_equal (mkdir ("dir", 0755), 0);
  refused ("dir", VD_USAGE, "dir is a directory", "regular files");
  assert_int_equal (mkfifo ("fifo", 0644), 0);
  refused ("fifo", VD_USAGE, "fifo is a named pipe", "regular files");
  refused ("/dev/zero", VD_USAGE, "a character device", "regular files");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (extents_of_all_kinds_lie_end_to_end),
    tmpdir_test (the_zero_extent_does_not_fall_through),
    tmpdir_test (an_embedded_descriptor_means_its_own_file),
    tmpdir_test (the_descriptor_gives_the_size_the_header_the_room),
    tmpdir_test (an_embedded_descriptor_has_one_sparse_extent),
    tmpdir_test (a_header_of_capacity_0_names_other_files),
    tmpdir_test (bare_extents_are_opened),
    tmpdir_test (who_has_a_parent),
    tmpdir_test (extents_that_are_missing_or_short_are_told),
    tmpdir_test (other_files_are_told_by_name),
    tmpdir_test (large_texts_are_not_descriptors),
    tmpdir_test (what_is_no_file_is_refused),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
