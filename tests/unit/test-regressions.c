/* Defects that were found once and must not come back. */

#include <errno.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "unit.h"

static const struct vd_opts none;
static struct mk_content content = {
  .seed = 7, .layer = 1, .flavour = MK_NOISE
};
static struct mk_content content2 = {
  .seed = 7, .layer = 2, .flavour = MK_NOISE
};
static struct mk_pattern all = { .run = 1, .fill = 1000 };

static struct mk_spec
spec_of (enum mk_format format, uint64_t capacity, uint32_t grain_size)
{
  return (struct mk_spec) {
    .format = format, .capacity = capacity, .grain_size = grain_size,
    .map = mk_map_pattern (&all), .fill = mk_fill_content (&content),
  };
}

static struct vd_link *
text_link (const char *path, const char *keys)
{
  char text[300];
  struct vd_err err;
  struct vd_link *link;

  snprintf (text, sizeof text, "%sRW 5 ZERO\n", keys);
  u_write_text (path, text);
  link = vd_link_open (path, &none, &err);
  assert_opened (link, &err);
  return link;
}

/* An image as a file of which some bytes cannot be read. */
static struct u_spy *
spy_on (const struct u_image *m, uint64_t bad, uint64_t bad_end)
{
  struct u_spy *spy = u_spy (u_memory ("m.vmdk", m->mem.data, m->mem.size));

  spy->bad = bad;
  spy->bad_end = bad_end;
  return spy;
}

static void
reads (struct u_disk *d, size_t n)
{
  uint8_t *buf = malloc (n);
  struct vd_err err;

  if (vd_read (d->reader, &d->base, buf, n, 0, &err) == -1)
    fail_msg ("%s", err.msg);
  free (buf);
}

TEST (a_base_above_another_link_is_refused)
{
  struct vd_link *l[2];
  struct vd_err err;

  l[0] = text_link ("child.vmdk", "CID=2\nparentCID=1\n");
  l[1] = text_link ("base.vmdk", "CID=1\nparentCID=ffffffff\n");
  assert_null (vd_chain_new (l, 2, &none, &err));
  assert_err (&err, VD_USAGE, "base.vmdk", "no parent", "order");
  vd_link_close (l[0]);
  vd_link_close (l[1]);
}

TEST (the_same_file_twice_but_not_adjacent)
{
  struct mk_spec s = spec_of (MK_COWD, 5120, 512);
  static const char *const names[] = { "a", "b", "a" };
  struct vd_link *l[3];
  struct vd_err err;
  size_t i;

  u_write_image ("a", &s);
  u_write_image ("b", &s);
  for (i = 0; i < 3; ++i) {
    l[i] = vd_link_open (names[i], &none, &err);
    assert_opened (l[i], &err);
  }
  assert_null (vd_chain_new (l, 3, &none, &err));
  assert_err (&err, VD_USAGE, "a and a are the same file");
  for (i = 0; i < 3; ++i)
    vd_link_close (l[i]);
}

TEST (a_footer_of_capacity_0_is_no_disk)
{
  struct mk_spec s = spec_of (MK_STREAM, 655360, 65536);
  struct u_image m;
  struct vd_err err;

  s.style = MK_STREAM_FOOTER;
  u_make (&m, &s);
  u_put (&m, m.layout.footer + MK_KDMV_CAPACITY, 8, 0);
  assert_null (u_open (&m, &none, &err));
  assert_err (&err, VD_CORRUPT, "no sectors", "footer");
  u_free (&m);
}

TEST (prefix_cuts_between_characters)
{
  struct vd_err err;
  char text[VD_ERR_MAX];
  size_t i;

  for (i = 0; i + 2 < sizeof text; i += 2)
    memcpy (text + i, "\xc3\xb6", 2);
  text[i] = '\0';
  vd_fail (&err, VD_IO, "%s", text);
  vd_err_prefix (&err, "xy");
  assert_int_not_equal ((uint8_t) err.msg[strlen (err.msg) - 1], 0xc3);
}

TEST (arabic_letter_mark_is_escaped)
{
  char buf[32];

  vd_escape (buf, sizeof buf, "\xd8\x9c");
  assert_string_equal (buf, "\\xd8\\x9c");
}

/* Whether there is a log decides what is compared, not what is opened. */
static void
open_with_bad_table (bool redundant)
{
  struct mk_spec s = spec_of (MK_KDMV, 640 * 4096, 4096);
  struct u_log log;
  const struct vd_opts logging = u_opts (&log);
  const struct vd_opts *const opts[] = { &none, &logging };
  struct u_image m;
  struct u_spy *spy;
  struct vd_err err;
  struct vd_image *image;
  uint64_t bad;
  size_t i;

  s.gtes = 128;
  u_make (&m, &s);
  bad = redundant ? m.layout.tables[3].rgt : m.layout.tables[3].gt;
  for (i = 0; i < 2; ++i) {
    spy = spy_on (&m, bad, bad + 1);
    image = vd_image_open (&spy->file, opts[i], &err);
    assert_opened (image, &err);
    vd_image_close (image);
  }
  u_free (&m);
}

TEST (an_unreadable_copy_does_not_matter)
{
  open_with_bad_table (true);
}

TEST (an_unreadable_table_hurts_itself)
{
  open_with_bad_table (false);
}

TEST (too_many_directory_entries_are_harmless)
{
  struct mk_spec s = spec_of (MK_COWD, 5120, 512);
  struct u_image m;
  struct vd_image *image;

  u_make (&m, &s);
  u_put (&m, MK_COWD_GDENTRIES, 4, 100000);
  image = u_open_ok (&m);
  assert_kind (image, 0, VD_DATA);
  vd_image_close (image);
  u_free (&m);
}

/* Holes of the upper layer, its data over a table of the lower one that cannot
 * be read, holes.
 */
TEST (a_lower_table_that_is_covered_is_not_needed)
{
  static uint8_t kinds[24];
  struct mk_array array = { .kind = kinds, .n = sizeof kinds };
  struct mk_spec low = spec_of (MK_KDMV, 24 * 4096, 4096), up;
  struct u_image ml, mu;
  struct vd_link *l[2];
  struct u_spy *spy;
  struct u_disk d;

  low.gtes = 8;
  up = low;
  memset (kinds + 8, MK_DATA, 8);
  up.map = mk_map_array (&array);
  up.fill = mk_fill_content (&content2);
  u_make (&ml, &low);
  u_make (&mu, &up);
  spy = spy_on (&ml, ml.layout.tables[1].gt, ml.layout.tables[1].gt + 1);
  l[0] = u_link_file (&spy->file, &none);
  l[1] = u_link (&mu);
  u_disk_open (&d, l, 2, NULL, 0);
  reads (&d, 24 * 4096);
  u_disk_close (&d);
  u_free (&ml);
  u_free (&mu);
}

TEST (a_bad_gap_is_not_needed)
{
  static const uint8_t kinds[] = { MK_DATA, MK_DATA, MK_DATA };
  struct mk_array array = { .kind = kinds, .n = 3 };
  struct mk_spec s = spec_of (MK_COWD, 8 * 512, 512);
  struct u_image m;
  struct u_spy *spy;
  struct vd_link *l;
  struct u_disk d;

  s.map = mk_map_array (&array);
  u_make (&m, &s);
  u_put (&m, u_grain (&m, 1)->gte, 4, 0);       /* now a gap */
  spy = spy_on (&m, u_grain (&m, 1)->data, u_grain (&m, 1)->data + 512);
  l = u_link_file (&spy->file, &none);
  u_disk_open (&d, &l, 1, NULL, 0);
  reads (&d, 8 * 512);
  u_disk_close (&d);
  u_free (&m);
}

TEST (a_bad_base_under_a_grain_is_not_needed)
{
  static const uint8_t kinds[] = { MK_HOLE, MK_DATA, MK_HOLE };
  static const uint8_t base[8 * 512] = { 1 };
  struct mk_array array = { .kind = kinds, .n = 3 };
  struct mk_spec s = spec_of (MK_COWD, 8 * 512, 512);
  struct u_image m;
  struct u_spy *spy;
  struct u_disk d;

  s.map = mk_map_array (&array);
  u_make (&m, &s);
  spy = u_spy (u_memory ("base", base, sizeof base));
  spy->bad = 512;
  spy->bad_end = 1024;
  u_disk_open_one (&d, &m, &spy->file);
  reads (&d, 8 * 512);
  u_disk_close (&d);
  vd_file_close (&spy->file);
  u_free (&m);
}

static void
forbid_openat2 (void)
{
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog prog = { .len = 4, .filter = filter };

  assert_int_equal (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  assert_int_equal (prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

TEST (unconfined_without_openat2)
{
  static const char *const names[] = { "link", "dir/b" };
  const struct vd_opts opts = { .unconfined = true };
  struct vd_err err;
  struct vd_confine *p;
  struct vd_file *f;
  size_t i;

  assert_int_equal (mkdir ("in", 0755), 0);
  assert_int_equal (mkdir ("in/sub", 0755), 0);
  u_write_text ("in/d", "x");
  u_write_text ("in/sub/b", "x");
  assert_int_equal (symlink ("sub", "in/dir"), 0);
  assert_int_equal (symlink ("sub/b", "in/link"), 0);
  forbid_openat2 ();

  p = vd_confine_new ("in/d", &opts, &err);
  assert_opened (p, &err);
  for (i = 0; i < 2; ++i) {
    f = vd_confine_open (p, names[i], "in/d", &err);
    assert_opened (f, &err);
    vd_file_close (f);
  }
  vd_confine_free (p);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (a_base_above_another_link_is_refused),
    tmpdir_test (the_same_file_twice_but_not_adjacent),
    cmocka_unit_test (a_footer_of_capacity_0_is_no_disk),
    cmocka_unit_test (prefix_cuts_between_characters),
    cmocka_unit_test (arabic_letter_mark_is_escaped),
    cmocka_unit_test (an_unreadable_copy_does_not_matter),
    cmocka_unit_test (an_unreadable_table_hurts_itself),
    cmocka_unit_test (too_many_directory_entries_are_harmless),
    cmocka_unit_test (a_lower_table_that_is_covered_is_not_needed),
    cmocka_unit_test (a_bad_gap_is_not_needed),
    cmocka_unit_test (a_bad_base_under_a_grain_is_not_needed),
    /* the last one: it cannot be undone */
    tmpdir_test (unconfined_without_openat2),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
