/* Defects that were found once and must not come back. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
#include "unit.h"

static const struct vd_opts none;
static struct mk_content content = { .seed = 7, .layer = 1, .flavour = MK_NOISE };
static struct mk_content content2 = { .seed = 7, .layer = 2, .flavour = MK_NOISE };
static struct mk_pattern all = { .run = 1, .fill = 1000 };

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

/* B1 a link that says it has no parent is put above another: silently taken */
TEST (a_base_above_another_link_is_refused)
{
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_link *l[2];
  struct vd_err err;
  struct vd_chain *c;
  l[0] = text_link ("child.vmdk", "CID=2\nparentCID=1\n");
  l[1] = text_link ("base.vmdk", "CID=1\nparentCID=ffffffff\n");
  c = vd_chain_new (l, 2, &opts, &err);
  if (c && log.n == 0) fail_msg ("taken without a word");
}

/* B2 A, B, A: only neighbours are compared */
TEST (the_same_file_twice_but_not_adjacent)
{
  struct mk_spec s = { .format = MK_COWD, .capacity = 5120, .grain_size = 512,
    .map = mk_map_pattern (&all), .fill = mk_fill_content (&content) };
  struct vd_link *l[3];
  struct vd_err err;
  u_write_image ("a", &s); u_write_image ("b", &s);
  l[0] = vd_link_open ("a", &none, &err);
  l[1] = vd_link_open ("b", &none, &err);
  l[2] = vd_link_open ("a", &none, &err);
  assert_null (vd_chain_new (l, 3, &none, &err));
}

/* B3 a footer with capacity 0 opens as a disk of 0 bytes */
TEST (a_footer_of_capacity_0_is_no_disk)
{
  struct mk_spec s = { .format = MK_STREAM, .capacity = 655360, .grain_size = 65536,
    .style = MK_STREAM_FOOTER, .map = mk_map_pattern (&all), .fill = mk_fill_content (&content) };
  struct u_image m;
  struct vd_err err;
  struct vd_image *i;
  u_make (&m, &s);
  u_put (&m, m.layout.footer + MK_KDMV_CAPACITY, 8, 0);
  i = u_open (&m, &none, &err);
  if (i) fail_msg ("opened with capacity %llu", (unsigned long long) i->capacity);
}

/* B4 prefix cuts an UTF-8 sequence of the old message in the middle */
TEST (prefix_cuts_between_characters)
{
  struct vd_err err;
  char text[VD_ERR_MAX];
  size_t i, n;
  for (i = 0; i + 2 < sizeof text; i += 2) memcpy (text + i, "\xc3\xb6", 2);
  text[i] = 0;
  vd_fail (&err, VD_IO, "%s", text);
  vd_err_prefix (&err, "xy");
  n = strlen (err.msg);
  if ((unsigned char) err.msg[n - 1] == 0xc3) fail_msg ("half a character at the end");
}

/* B5 U+061C is a direction mark as U+200E is */
TEST (arabic_letter_mark_is_escaped)
{
  char buf[32];
  vd_escape (buf, sizeof buf, "\xd8\x9c");
  assert_string_equal (buf, "\\xd8\\x9c");
}

/* B6 an unreadable (redundant) table makes the whole file unusable, if there is a log */
static void
open_with_bad (bool redundant)
{
  struct mk_spec s = { .format = MK_KDMV, .capacity = 640 * 4096, .grain_size = 4096, .gtes = 128,
    .map = mk_map_pattern (&all), .fill = mk_fill_content (&content) };
  struct u_log log;
  struct vd_opts opts = u_opts (&log);
  struct u_image m;
  struct u_spy *spy;
  struct vd_err err;
  struct vd_image *i;
  u_make (&m, &s);
  spy = u_spy (u_memory ("m.vmdk", m.mem.data, m.mem.size));
  spy->bad = redundant ? m.layout.tables[3].rgt : m.layout.tables[3].gt;
  spy->bad_end = spy->bad + 1;
  i = vd_image_open (&spy->file, &none, &err);
  if (!i) fail_msg ("even without a log: %s", err.msg);
  i = vd_image_open (&spy->file, &opts, &err);
  if (!i) fail_msg ("refused only because a log is set: %s", err.msg);
}
TEST (an_unreadable_copy_does_not_matter) { open_with_bad (true); }
TEST (an_unreadable_table_hurts_itself) { open_with_bad (false); }

/* B7 COWD: numGDEntries larger than needed makes the data "metadata" */
TEST (too_many_directory_entries_are_harmless)
{
  struct mk_spec s = { .format = MK_COWD, .capacity = 5120, .grain_size = 512,
    .map = mk_map_pattern (&all), .fill = mk_fill_content (&content) };
  struct u_image m;
  struct vd_image *i;
  struct vd_err err;
  u_make (&m, &s);
  u_put (&m, MK_COWD_GDENTRIES, 4, 100000);
  i = u_open_ok (&m);
  if (u_run (i, 0).kind != VD_DATA) {
    i->fmt->explain (i, 0, &err);
    fail_msg ("%s", err.msg);
  }
}

/* B8 the lower layer's table is needed only for what the upper one does not have */
TEST (a_lower_table_that_is_covered_is_not_needed)
{
  static uint8_t kinds[24];
  struct mk_array array = { .kind = kinds, .n = sizeof kinds };
  struct mk_spec low = { .format = MK_KDMV, .capacity = 24 * 4096, .grain_size = 4096, .gtes = 8,
    .map = mk_map_pattern (&all), .fill = mk_fill_content (&content) };
  struct mk_spec up = low;
  struct u_image ml, mu;
  struct vd_link *l[2];
  struct u_spy *spy;
  struct u_disk d;
  struct vd_err err;
  uint8_t *buf = malloc (24 * 4096);
  memset (kinds + 8, MK_DATA, 8);
  up.map = mk_map_array (&array);
  up.fill = mk_fill_content (&content2);
  u_make (&ml, &low); u_make (&mu, &up);
  spy = u_spy (u_memory ("m.vmdk", ml.mem.data, ml.mem.size));
  spy->bad = ml.layout.tables[1].gt; spy->bad_end = spy->bad + 1;
  l[0] = u_link_file (&spy->file, &none); l[1] = u_link (&mu);
  u_disk_open (&d, l, 2, NULL, 0);
  /* holes of the upper layer, its data over the bad table, holes */
  if (vd_read (d.reader, &d.base, buf, 24 * 4096, 0, &err) == -1) fail_msg ("%s", err.msg);
}

/* B9 a bad sector in a gap between two grains is read, though not wanted */
TEST (a_bad_gap_is_not_needed)
{
  static const uint8_t kinds[] = { MK_DATA, MK_DATA, MK_DATA };
  struct mk_array array = { .kind = kinds, .n = 3 };
  struct mk_spec s = { .format = MK_COWD, .capacity = 8 * 512, .grain_size = 512,
    .map = mk_map_array (&array), .fill = mk_fill_content (&content) };
  struct u_image m;
  struct u_spy *spy;
  struct vd_link *l;
  struct u_disk d;
  struct vd_err err;
  uint8_t buf[8 * 512];
  u_make (&m, &s);
  u_put (&m, u_grain (&m, 1)->gte, 4, 0);       /* now a gap */
  spy = u_spy (u_memory ("m.vmdk", m.mem.data, m.mem.size));
  spy->bad = u_grain (&m, 1)->data; spy->bad_end = spy->bad + 512;
  l = u_link_file (&spy->file, &none);
  u_disk_open (&d, &l, 1, NULL, 0);
  if (vd_read (d.reader, &d.base, buf, sizeof buf, 0, &err) == -1) fail_msg ("%s", err.msg);
}
/* B10 the same with the base */
TEST (a_bad_base_under_a_grain_is_not_needed)
{
  static const uint8_t kinds[] = { MK_HOLE, MK_DATA, MK_HOLE };
  struct mk_array array = { .kind = kinds, .n = 3 };
  struct mk_spec s = { .format = MK_COWD, .capacity = 8 * 512, .grain_size = 512,
    .map = mk_map_array (&array), .fill = mk_fill_content (&content) };
  struct u_image m;
  struct u_spy *spy;
  struct u_disk d;
  struct vd_err err;
  uint8_t buf[8 * 512], base[8 * 512] = { 1 };
  u_make (&m, &s);
  spy = u_spy (u_memory ("base", base, sizeof base));
  spy->bad = 512; spy->bad_end = 1024;
  u_disk_open_one (&d, &m, &spy->file);
  if (vd_read (d.reader, &d.base, buf, sizeof buf, 0, &err) == -1) fail_msg ("%s", err.msg);
}

static void
no_openat2 (void)
{
  struct sock_filter f[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog p = { .len = 4, .filter = f };
  assert_int_equal (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  assert_int_equal (prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p), 0);
}

/* B11 without openat2: a user who lifts the rule cannot follow links */
TEST (unconfined_without_openat2)
{
  const struct vd_opts opts = { .unconfined = true };
  struct vd_err err;
  struct vd_places *p;
  struct vd_file *f;
  assert_int_equal (mkdir ("in", 0755), 0);
  assert_int_equal (mkdir ("in/sub", 0755), 0);
  u_write_text ("in/d", "x"); u_write_text ("in/sub/b", "x");
  assert_int_equal (symlink ("sub", "in/dir"), 0);
  assert_int_equal (symlink ("sub/b", "in/link"), 0);
  no_openat2 ();
  p = vd_places_of ("in/d", &opts, &err);
  f = vd_places_open (p, "link", "in/d", &err);
  if (!f) print_error ("link: code %d %s\n", err.code, err.msg);
  if (!vd_places_open (p, "dir/b", "in/d", &err)) fail_msg ("dir/b: code %d %s", err.code, err.msg);
  assert_non_null (f);
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
    tmpdir_test (unconfined_without_openat2),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
