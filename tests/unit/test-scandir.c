/* Looking through a directory: which files are handed out, and in which order. */

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "unit.h"
#include "file/scandir.h"

struct seen {
  unsigned n, stop_after;
  char text[4096];
};

static int
note (void *opaque, int dir, const char *name, const char *path,
      struct vd_err *err)
{
  struct seen *s = opaque;
  const size_t len = strlen (s->text);
  struct stat st;

  snprintf (s->text + len, sizeof s->text - len, "%s ", name);
  assert_int_equal (fstatat (dir, name, &st, 0), 0);
  assert_string_equal (strrchr (path, '/') + 1, name);
  if (++s->n == s->stop_after)
    return vd_fail (err, VD_USAGE, "stopped at %s", name);
  return 0;
}

static void
sees (const char *dir, const char *want)
{
  struct seen s = { .n = 0 };
  struct vd_err err;

  if (vd_scandir (dir, note, &s, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_string_equal (s.text, want);
}

TEST (files_come_in_order_of_name)
{
  static const char *const names[] = {
    "z", "a", "m-000002", "m-000010", "m", "B", "a b", "m-000001", "\xc3\xa4",
  };
  size_t i;

  sees (".", "");
  for (i = 0; i < ARRAY_SIZE (names); ++i)
    u_write_text (names[i], "x");
  sees (".", "B a a b m m-000001 m-000002 m-000010 z \xc3\xa4 ");
}

TEST (only_regular_files_that_are_not_hidden)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
  const int s = socket (AF_UNIX, SOCK_STREAM, 0);

  u_write_text ("file", "x");
  u_write_text (".hidden", "x");
  assert_int_equal (mkdir ("dir", 0755), 0);
  u_write_text ("dir/below", "x");
  assert_int_equal (mkfifo ("fifo", 0644), 0);
  assert_int_equal (bind (s, (struct sockaddr *) &address, sizeof address), 0);
  close (s);
  assert_int_equal (symlink ("file", "link"), 0);
  assert_int_equal (symlink ("/dev/zero", "zero"), 0);
  assert_int_equal (symlink ("nothing", "dangling"), 0);
  assert_int_equal (link ("file", "hard"), 0);
  sees (".", "file hard ");
  sees ("dir", "below ");
  sees ("dir/", "below ");
}

TEST (a_callback_can_stop_it)
{
  struct seen s = { .stop_after = 2 };
  struct vd_err err;

  u_write_text ("c", "");
  u_write_text ("a", "");
  u_write_text ("b", "");
  assert_int_equal (vd_scandir (".", note, &s, &err), -1);
  assert_err (&err, VD_USAGE, "stopped at b");
  assert_string_equal (s.text, "a b ");
}

TEST (what_is_no_directory)
{
  struct seen s = { .n = 0 };
  struct vd_err err;

  u_write_text ("file", "x");
  assert_int_equal (vd_scandir ("gone", note, &s, &err), -1);
  assert_err (&err, VD_NOT_FOUND, "gone: cannot open directory");
  assert_int_equal (err.errnum, ENOENT);
  assert_int_equal (vd_scandir ("file", note, &s, &err), -1);
  assert_err (&err, err.code, "file: cannot open directory");
  assert_int_equal (err.errnum, ENOTDIR);
  assert_int_equal (s.n, 0);
}

TEST (too_many_files)
{
  struct seen s = { .n = 0 };
  struct vd_err err;
  char name[32];
  unsigned i;

  u_write_text ("x", "");
  for (i = 0; i < VD_MAX_DIR_ENTRIES; ++i) {
    snprintf (name, sizeof name, "f%u", i);
    assert_int_equal (link ("x", name), 0);
  }
  assert_int_equal (vd_scandir (".", note, &s, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "10000");
  assert_int_equal (s.n, 0);
  assert_int_equal (remove ("x"), 0);
  assert_int_equal (vd_scandir (".", note, &s, &err), 0);
  assert_int_equal (s.n, VD_MAX_DIR_ENTRIES);
}

TEST (a_name_that_became_something_else_is_not_opened)
{
  const int dir = open (".", O_PATH | O_DIRECTORY);
  struct vd_err err;
  struct vd_file *f;

  u_write_text ("file", "content");
  f = vd_dir_open (dir, "file", "shown/file", &err);
  assert_opened (f, &err);
  assert_string_equal (f->name, "shown/file");
  assert_int_equal (f->size, 7);
  vd_file_close (f);

  assert_int_equal (rename ("file", "other"), 0);
  assert_null (vd_dir_open (dir, "file", "shown/file", &err));
  assert_err (&err, VD_NOT_FOUND, "shown/file: cannot open");
  assert_int_equal (symlink ("other", "file"), 0);
  assert_null (vd_dir_open (dir, "file", "shown/file", &err));
  assert_err (&err, err.code, "shown/file: cannot open");
  assert_int_equal (err.errnum, ELOOP);
  assert_int_equal (unlink ("file"), 0);
  assert_int_equal (mkfifo ("file", 0644), 0);
  assert_null (vd_dir_open (dir, "file", "shown/file", &err));
  assert_err (&err, VD_USAGE, "shown/file is a named pipe");
  assert_int_equal (unlink ("file"), 0);
  assert_int_equal (mkdir ("file", 0755), 0);
  assert_null (vd_dir_open (dir, "file", "shown/file", &err));
  assert_err (&err, VD_USAGE, "shown/file is a directory");
  close (dir);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (files_come_in_order_of_name),
    tmpdir_test (only_regular_files_that_are_not_hidden),
    tmpdir_test (a_callback_can_stop_it),
    tmpdir_test (what_is_no_directory),
    tmpdir_test (too_many_files),
    tmpdir_test (a_name_that_became_something_else_is_not_opened),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
