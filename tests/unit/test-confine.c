/* Where names found in images may lead. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "unit.h"

/* in/d.vmdk holds the names; out/ is beside it. */
static void
make_dirs (void)
{
  assert_int_equal (mkdir ("in", 0755), 0);
  assert_int_equal (mkdir ("in/sub", 0755), 0);
  assert_int_equal (mkdir ("out", 0755), 0);
  u_write_text ("in/d.vmdk", "RW 1 ZERO\n");
  u_write_text ("in/a", "in a");
  u_write_text ("in/sub/b", "sub b");
  u_write_text ("out/secret", "secret");
}

static struct vd_file *
open_name (const char *from, const char *name, const struct vd_opts *opts,
           struct vd_err *err)
{
  struct vd_confine *p = vd_confine_new (from, opts, err);
  struct vd_file *f;

  assert_opened (p, err);
  f = vd_confine_open (p, name, from, err);
  vd_confine_free (p);
  return f;
}

static void
opens (const char *from, const char *name, const struct vd_opts *opts,
       const char *content)
{
  const size_t n = strlen (content);
  struct vd_err err;
  char buf[100];
  struct vd_file *f = open_name (from, name, opts, &err);

  assert_opened (f, &err);
  assert_int_equal (f->size, n);
  assert_int_equal (vd_file_pread (f, buf, n, 0, &err), 0);
  assert_memory_equal (buf, content, n);
  vd_file_close (f);
}

static void
refused (const char *name, const struct vd_opts *opts, enum vd_code code,
         const char *part)
{
  struct vd_err err = { .code = VD_OK };

  assert_null (open_name ("in/d.vmdk", name, opts, &err));
  assert_err (&err, code, name, part);
}

static const struct vd_opts none;

static char *
absolute (const char *name)
{
  static char path[PATH_MAX + 100];
  char cwd[PATH_MAX];

  assert_non_null (getcwd (cwd, sizeof cwd));
  snprintf (path, sizeof path, "%s/%s", cwd, name);
  return path;
}

/* Old kernels, sandboxes and valgrind do not have it; links are then not
 * followed at all.
 */
static bool
have_openat2 (void)
{
  struct { uint64_t flags, mode, resolve; } how = { .flags = O_PATH };
  const long fd = syscall (SYS_openat2, AT_FDCWD, ".", &how, sizeof how);

  if (fd >= 0)
    close ((int) fd);
  return fd >= 0;
}

#define NEED_OPENAT2                            \
  if (!have_openat2 ())                         \
    skip ()

TEST (names_below_the_directory_are_opened)
{
  make_dirs ();
  opens ("in/d.vmdk", "a", &none, "in a");
  opens ("in/d.vmdk", "./a", &none, "in a");
  opens ("in/d.vmdk", "sub/b", &none, "sub b");
  opens ("in/d.vmdk", "sub/../a", &none, "in a");
  opens ("in/d.vmdk", "sub//b", &none, "sub b");
  opens ("in/d.vmdk", "../in/a", &none, "in a");
  opens ("in/d.vmdk", absolute ("in/sub/b"), &none, "sub b");
  /* relative to the file, wherever the process is */
  assert_int_equal (chdir ("out"), 0);
  opens ("../in/d.vmdk", "a", &none, "in a");
  assert_int_equal (chdir ("../in"), 0);
  opens ("d.vmdk", "a", &none, "in a");
  opens ("./d.vmdk", "sub/b", &none, "sub b");
}

TEST (names_that_lead_out_are_denied)
{
  static const char *const names[] = {
    "../out/secret", "sub/../../out/secret", "/etc/passwd", "/dev/zero",
    "..", ".", "/", "../in", "../in-not/a", "sub/../../in/../out/secret",
  };
  size_t i;

  make_dirs ();
  for (i = 0; i < ARRAY_SIZE (names); ++i)
    refused (names[i], &none, VD_DENIED, "in/d.vmdk refers to ");
  refused (absolute ("out/secret"), &none, VD_DENIED, "leads outside of ");
  /* a directory whose name merely begins alike */
  assert_int_equal (mkdir ("in2", 0755), 0);
  u_write_text ("in2/a", "x");
  refused ("../in2/a", &none, VD_DENIED, "outside");
}

TEST (links_may_not_lead_out)
{
  NEED_OPENAT2;
  make_dirs ();
  assert_int_equal (symlink ("../out/secret", "in/link"), 0);
  refused ("link", &none, VD_DENIED, "outside");
  assert_int_equal (symlink ("../../out", "in/sub/dir"), 0);
  refused ("sub/dir/secret", &none, VD_DENIED, "outside");
  assert_int_equal (symlink (absolute ("out/secret"), "in/abs"), 0);
  refused ("abs", &none, VD_DENIED, "outside");
  assert_int_equal (symlink ("/proc/self/fd/0", "in/magic"), 0);
  refused ("magic", &none, VD_DENIED, "magic");
  assert_int_equal (symlink ("loop", "in/loop"), 0);
  refused ("loop", &none, VD_DENIED, "loop");
}

TEST (links_that_stay_inside_are_followed)
{
  NEED_OPENAT2;
  make_dirs ();
  assert_int_equal (symlink ("sub/b", "in/link"), 0);
  opens ("in/d.vmdk", "link", &none, "sub b");
  assert_int_equal (symlink ("../a", "in/sub/up"), 0);
  opens ("in/d.vmdk", "sub/up", &none, "in a");
  assert_int_equal (symlink (absolute ("in/a"), "in/abs"), 0);
  opens ("in/d.vmdk", "abs", &none, "in a");
  assert_int_equal (symlink ("../in/a", "in/out-and-in"), 0);
  opens ("in/d.vmdk", "out-and-in", &none, "in a");
}

/* The user's own link to the file: names are looked for beside the real
 * file, then beside the link.
 */
TEST (a_link_to_the_file_is_the_users)
{
  make_dirs ();
  assert_int_equal (symlink ("../in/d.vmdk", "out/l.vmdk"), 0);
  opens ("out/l.vmdk", "a", &none, "in a");
  opens ("out/l.vmdk", "secret", &none, "secret");
  u_write_text ("out/a", "out a");
  opens ("out/l.vmdk", "a", &none, "in a");
}

TEST (other_directories_can_be_named)
{
  const char *dirs[] = { "out" };
  const struct vd_opts opts = { .dirs = dirs, .nr_dirs = 1 };
  const char *missing[] = { "no-such-dir" };
  const struct vd_opts bad = { .dirs = missing, .nr_dirs = 1 };
  struct vd_err err;

  NEED_OPENAT2;
  make_dirs ();
  opens ("in/d.vmdk", "../out/secret", &opts, "secret");
  opens ("in/d.vmdk", absolute ("out/secret"), &opts, "secret");
  opens ("in/d.vmdk", "a", &opts, "in a");
  assert_int_equal (symlink ("../out/secret", "in/link"), 0);
  opens ("in/d.vmdk", "link", &opts, "secret");
  refused ("/etc/passwd", &opts, VD_DENIED, "outside");
  assert_int_equal (symlink ("/etc/passwd", "out/evil"), 0);
  refused ("../out/evil", &opts, VD_DENIED, "outside");

  assert_null (vd_confine_new ("in/d.vmdk", &bad, &err));
  assert_err (&err, VD_NOT_FOUND, "no-such-dir");
  assert_null (vd_confine_new ("in/gone.vmdk", &none, &err));
  assert_err (&err, VD_NOT_FOUND, "in/gone.vmdk");
}

TEST (the_user_can_lift_the_rule)
{
  const struct vd_opts opts = { .unconfined = true };

  NEED_OPENAT2;
  make_dirs ();
  opens ("in/d.vmdk", "../out/secret", &opts, "secret");
  opens ("in/d.vmdk", absolute ("out/secret"), &opts, "secret");
  assert_int_equal (symlink ("../out/secret", "in/link"), 0);
  opens ("in/d.vmdk", "link", &opts, "secret");
  refused ("../out/gone", &opts, VD_NOT_FOUND, "No such file");
}

/* Even then only what can be read at an offset. */
TEST (only_files_and_block_devices_are_opened)
{
  const struct vd_opts anywhere = { .unconfined = true };
  static const struct { const char *name; bool outside; } t[] = {
    { "sub", false }, { "fifo", false }, { "tofifo", false },
    { "/dev/zero", true }, { "/dev/tty", true }, { "/proc", true },
  };
  struct vd_err err;
  size_t i;

  make_dirs ();
  assert_int_equal (mkfifo ("in/fifo", 0644), 0);
  assert_int_equal (symlink ("fifo", "in/tofifo"), 0);
  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    err.code = VD_OK;
    assert_null (open_name ("in/d.vmdk", t[i].name,
                            t[i].outside ? &anywhere : &none, &err));
    /* either is a refusal */
    if (err.code != VD_USAGE)
      assert_int_equal (err.code, VD_DENIED);
    assert_text (err.msg, "neither a regular file nor a block device");
  }
}

TEST (what_is_missing_is_told_with_its_place)
{
  NEED_OPENAT2;
  make_dirs ();
  refused ("gone", &none, VD_NOT_FOUND, "/in/gone");
  refused ("a/b", &none, VD_NOT_FOUND, "Not a directory");
  assert_int_equal (symlink ("nowhere", "in/dangling"), 0);
  refused ("dangling", &none, VD_NOT_FOUND, "No such file");
}

TEST (a_descriptor_cannot_hand_out_other_files)
{
  const struct vd_opts anywhere = { .unconfined = true };
  static const char *const lines[] = {
    "RW 1 FLAT \"../out/secret\" 0\n", "RW 1 FLAT \"/etc/passwd\" 0\n",
    "RW 1 SPARSE \"../out/secret\"\n",
  };
  char sector[512];
  struct vd_link *link;
  struct vd_err err;
  size_t i;

  make_dirs ();
  for (i = 0; i < ARRAY_SIZE (lines); ++i) {
    u_write_text ("in/d.vmdk", lines[i]);
    assert_null (vd_link_open ("in/d.vmdk", &none, &err));
    assert_err (&err, VD_DENIED, "in/d.vmdk line ", "outside");
  }
  u_write_text ("in/d.vmdk", "RW 1 VMFS \"/dev/zero\"\n");
  assert_null (vd_link_open ("in/d.vmdk", &none, &err));
  assert_err (&err, VD_UNSUPPORTED, "in/d.vmdk line 1 names '/dev/zero'");
  memset (sector, 's', sizeof sector);
  u_write ("out/secret", sector, sizeof sector);
  u_write_text ("in/d.vmdk", lines[0]);
  link = vd_link_open ("in/d.vmdk", &anywhere, &err);
  assert_opened (link, &err);
  assert_int_equal (link->capacity, 512);
  vd_link_close (link);
}

/* From here on this process has no openat2. */
static bool
forbid_openat2 (void)
{
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog prog = {
    .len = ARRAY_SIZE (filter), .filter = filter
  };

  return prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
    prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

TEST (without_openat2_it_is_the_same)
{
  static const char *const links[] = {
    "out-link", "dir/secret", "sub/dir/secret", "magic",
  };
  const struct vd_opts anywhere = { .unconfined = true };
  struct vd_err err;
  size_t i;

  make_dirs ();
  assert_int_equal (symlink ("../out/secret", "in/out-link"), 0);
  assert_int_equal (symlink ("../out", "in/dir"), 0);
  assert_int_equal (symlink ("../../out", "in/sub/dir"), 0);
  assert_int_equal (symlink ("/proc/self/fd/0", "in/magic"), 0);
  assert_int_equal (symlink ("a", "in/in-link"), 0);
  assert_int_equal (symlink ("sub", "in/link"), 0);
  if (have_openat2 () && !forbid_openat2 ())
    skip ();
  assert_false (have_openat2 ());

  opens ("in/d.vmdk", "a", &none, "in a");
  opens ("in/d.vmdk", "sub/../sub/b", &none, "sub b");
  opens ("in/d.vmdk", absolute ("in/sub/b"), &none, "sub b");
  opens ("in/d.vmdk", "../out/secret", &anywhere, "secret");
  refused ("../out/secret", &none, VD_DENIED, "outside");
  refused ("gone", &none, VD_NOT_FOUND, "/in/gone");
  opens ("in/d.vmdk", "in-link", &none, "in a");
  opens ("in/d.vmdk", "dir/../link/b", &none, "sub b");
  for (i = 0; i < ARRAY_SIZE (links); ++i) {
    assert_null (open_name ("in/d.vmdk", links[i], &none, &err));
    assert_true (err.code == VD_DENIED);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (names_below_the_directory_are_opened),
    tmpdir_test (names_that_lead_out_are_denied),
    tmpdir_test (links_may_not_lead_out),
    tmpdir_test (links_that_stay_inside_are_followed),
    tmpdir_test (a_link_to_the_file_is_the_users),
    tmpdir_test (other_directories_can_be_named),
    tmpdir_test (the_user_can_lift_the_rule),
    tmpdir_test (only_files_and_block_devices_are_opened),
    tmpdir_test (what_is_missing_is_told_with_its_place),
    tmpdir_test (a_descriptor_cannot_hand_out_other_files),
    /* the last one: it cannot be undone */
    tmpdir_test (without_openat2_it_is_the_same),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
