/* What a kernel or a file system lacks, or refuses: calls that the library
 * makes are ours here, and fail when told to.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "merge/merge-private.h"
#include "unit.h"
#include "vbox-text.h"
#include "file/newfile.h"

/* ---- The calls ----------------------------------------------------------- */

/* What each fails with; 0: it does its work. */
static struct {
  int renameat2, link, fallocate, lease, setsig, access, chmod, chown, statvfs;
  int getrandom, open, seek, mkdir;
  unsigned mkdirs;              /* so many succeed before */
  bool device;                  /* files look like block devices */
  bool mounted;                 /* Snapshots is another file system, and every
                                   second file is in one of its own */
  unsigned interrupted;         /* so many calls are */
  uint64_t free_blocks;         /* of file systems; 0: as many as there are */
} fails;

static int
failed (int number)
{
  errno = number;
  return -1;
}

static bool
interrupted (void)
{
  if (fails.interrupted == 0)
    return false;
  fails.interrupted--;
  errno = EINTR;
  return true;
}

int
renameat2 (int fd, const char *from, int to_fd, const char *to,
           unsigned flags)
{
  if (fails.renameat2 && flags)
    return failed (fails.renameat2);
  return (int) syscall (SYS_renameat2, fd, from, to_fd, to, flags);
}

int
link (const char *from, const char *to)
{
  return fails.link ? failed (fails.link)
    : (int) syscall (SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
linkat (int fd, const char *from, int to_fd, const char *to, int flags)
{
  return fails.link ? failed (fails.link)
    : (int) syscall (SYS_linkat, fd, from, to_fd, to, flags);
}

int
fallocate (int fd, int mode, off_t offset, off_t length)
{
  return fails.fallocate ? failed (fails.fallocate)
    : (int) syscall (SYS_fallocate, fd, mode, offset, length);
}

int
fcntl (int fd, int cmd, ...)
{
  va_list args;
  void *arg;

  va_start (args, cmd);
  arg = va_arg (args, void *);
  va_end (args);
  if (fails.setsig && cmd == F_SETSIG)
    return failed (fails.setsig);
  if (fails.lease && cmd == F_SETLEASE)
    return failed (fails.lease);
  return (int) syscall (SYS_fcntl, fd, cmd, arg);
}

/* Only vd_merge_check_access calls it. */
int
faccessat (int fd, const char *path, int mode, int flags)
{
  struct stat st;

  (void) mode, (void) flags;
  if (fails.access && fstatat (fd, path, &st, 0) == 0 && S_ISREG (st.st_mode))
    return failed (fails.access);
  return 0;
}

int
fchmod (int fd, mode_t mode)
{
  return fails.chmod ? failed (fails.chmod)
    : (int) syscall (SYS_fchmod, fd, mode);
}

int
fchown (int fd, uid_t uid, gid_t gid)
{
  return fails.chown ? failed (fails.chown)
    : (int) syscall (SYS_fchown, fd, uid, gid);
}

int
fstatvfs (int fd, struct statvfs *v)
{
  (void) fd;
  if (fails.statvfs)
    return failed (fails.statvfs);
  *v = (struct statvfs) {
    .f_bsize = 4096, .f_frsize = 4096,
    .f_bavail = fails.free_blocks ? fails.free_blocks : UINT32_MAX,
  };
  return 0;
}

int
open (const char *path, int flags, ...)
{
  va_list args;
  mode_t mode;

  va_start (args, flags);
  mode = flags & O_CREAT ? va_arg (args, mode_t) : 0;
  va_end (args);
  if (fails.open && (flags & O_ACCMODE) != O_RDONLY)
    return failed (fails.open);
  return (int) syscall (SYS_openat, AT_FDCWD, path, flags, mode);
}

int
fstat (int fd, struct stat *st)
{
  const int r = fstatat (fd, "", st, AT_EMPTY_PATH);

  if (r == 0 && fails.device)
    st->st_mode = (st->st_mode & 07777) | S_IFBLK;
  if (r == 0 && fails.mounted && S_ISREG (st->st_mode))
    st->st_dev += st->st_ino % 2;
  return r;
}

int
stat (const char *path, struct stat *st)
{
  const int r = fstatat (AT_FDCWD, path, st, 0);
  const size_t n = strlen (path);

  if (r == 0 && fails.mounted && n >= 9 &&
      strcmp (path + n - 9, "Snapshots") == 0)
    st->st_dev++;
  return r;
}

int
lstat (const char *path, struct stat *st)
{
  const int r = fstatat (AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);

  if (r == 0 && fails.mounted && S_ISREG (st->st_mode))
    st->st_dev += st->st_ino % 2;
  return r;
}

int
mkdir (const char *path, mode_t mode)
{
  if (fails.mkdir && fails.mkdirs-- == 0)
    return failed (fails.mkdir);
  return (int) syscall (SYS_mkdirat, AT_FDCWD, path, mode);
}

off_t
lseek (int fd, off_t offset, int whence)
{
  return fails.seek ? failed (fails.seek)
    : syscall (SYS_lseek, fd, offset, whence);
}

ssize_t
getrandom (void *buf, size_t n, unsigned flags)
{
  if (interrupted ())
    return -1;
  return fails.getrandom ? failed (fails.getrandom)
    : syscall (SYS_getrandom, buf, n, flags);
}

ssize_t
preadv (int fd, const struct iovec *iov, int n, off_t offset)
{
  return interrupted () ? -1
    : syscall (SYS_preadv, fd, iov, n, (long) offset, 0);
}

ssize_t
copy_file_range (int in, off_t *from, int out, off_t *to, size_t n,
                 unsigned flags)
{
  return interrupted () ? -1
    : syscall (SYS_copy_file_range, in, from, out, to, n, flags);
}

static int
enter (void **state)
{
  memset (&fails, 0, sizeof fails);
  return u_enter_tmpdir (state);
}

static int
leave (void **state)
{
  memset (&fails, 0, sizeof fails);
  return u_leave_tmpdir (state);
}

/* ---- New names ----------------------------------------------------------- */

/* A new file gets the name "new", where somebody else has made one meanwhile
 * if `taken`.
 */
static int
publish (bool taken, struct vd_err *err)
{
  struct vd_new_file n = { .path = NULL };
  struct stat st;
  int r;

  unlink ("new");
  if (vd_new_file_open (&n, "new", false, NULL, err) == -1)
    fail_msg ("%s", err->msg);
  assert_int_equal (vd_file_pwrite (n.file, "ours", 4, 0, err), 0);
  if (taken)
    u_write_text ("new", "theirs!");
  r = vd_new_file_publish (&n, false, err);
  vd_new_file_close (&n);
  assert_int_equal (stat ("new", &st), r == -1 && !taken ? -1 : 0);
  if (r == 0 || taken)
    assert_int_equal (st.st_size, taken ? 7 : 4);
  if (r == 0)
    assert_int_equal (st.st_nlink, 1);
  assert_int_equal (system ("test -z \"$(find . -name '*.part')\""), 0);
  return r;
}

TEST (rename_without_noreplace)
{
  static const int lacking[] = { 0, EINVAL, ENOSYS };
  static const int no_links[] = { 0, EPERM, EOPNOTSUPP, ENOSYS };
  struct vd_err err;
  size_t i, k;

  for (i = 0; i < ARRAY_SIZE (lacking); ++i)
    for (k = 0; k < ARRAY_SIZE (no_links); ++k) {
      fails.renameat2 = lacking[i];
      fails.link = no_links[k];
      if (publish (false, &err) == -1)
        fail_msg ("%s", err.msg);
      assert_int_equal (publish (true, &err), -1);
      assert_err (&err, VD_USAGE, "new exists already", "another name");
    }
  fails.link = EIO;
  assert_int_equal (publish (false, &err), -1);
  assert_err (&err, VD_IO, "cannot rename new.", " to new", strerror (EIO));
  fails.renameat2 = EROFS;
  assert_int_equal (publish (false, &err), -1);
  assert_err (&err, VD_IO, "cannot rename", strerror (EROFS));
}

TEST (random_numbers)
{
  uint8_t r[8];
  struct vd_err err;

  fails.interrupted = 3;
  assert_int_equal (vd_random (r, sizeof r, &err), 0);
  assert_int_equal (fails.interrupted, 0);
  fails.getrandom = ENOSYS;
  assert_int_equal (vd_random (r, sizeof r, &err), -1);
  assert_err (&err, VD_IO, "random", strerror (ENOSYS));
}

/* ---- Reading and writing ------------------------------------------------- */

TEST (reads_that_are_interrupted)
{
  char a[3], b[5];
  struct iovec iov[2] = { { a, sizeof a }, { b, sizeof b } };
  struct vd_err err;
  struct vd_file *f;

  u_write ("f", "12345678", 8);
  f = vd_file_open ("f", &err);
  assert_opened (f, &err);
  fails.interrupted = 2;
  assert_int_equal (vd_file_preadv (f, iov, 2, 8, 0, &err), 0);
  assert_memory_equal (a, "123", 3);
  assert_memory_equal (b, "45678", 5);
  assert_int_equal (fails.interrupted, 0);
  vd_file_close (f);
}

/* Zeros are written where no hole can be made. */
TEST (no_holes)
{
  static const int lacking[] = { EOPNOTSUPP, ENOSYS, EINVAL, ENOTTY };
  uint8_t buf[10000], want[10000];
  struct vd_err err;
  struct vd_file *f;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (lacking); ++i) {
    memset (want, 0x11, sizeof want);
    u_write ("f", want, sizeof want);
    f = vd_file_open_rw ("f", &err);
    assert_opened (f, &err);
    fails.fallocate = lacking[i];
    assert_int_equal (vd_file_zero (f, 100, 9000, &err), 0);
    memset (want + 100, 0, 9000);
    assert_int_equal (vd_file_pread (f, buf, sizeof buf, 0, &err), 0);
    assert_memory_equal (buf, want, sizeof want);
    fails.fallocate = EIO;
    assert_int_equal (vd_file_zero (f, 0, 10, &err), -1);
    assert_err (&err, VD_IO, "f: cannot zero 10 bytes at byte 0");
    vd_file_close (f);
  }
}

/* What only makes holes cannot work without them, and harms nothing. */
TEST (compacting_without_holes)
{
  const struct vd_compact_opts how = { .dry_run = false };
  uint8_t buf[65536] = { 1 };
  struct vd_compact_result result;
  struct vd_err err;

  u_write ("f", buf, sizeof buf);
  fails.fallocate = EOPNOTSUPP;
  assert_int_equal (vd_compact_raw ("f", &how, &result, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "f: its file system cannot punch holes",
              "cp --sparse=always");
  fails.fallocate = 0;
  assert_int_equal (vd_compact_raw ("f", &how, &result, &err), 0);
  /* a block size that cannot be one */
  fails.statvfs = ENOSYS;
  assert_int_equal (vd_compact_raw ("f", &how, &result, &err), 0);
}

static struct mk_content content = { .seed = 1 };

static void
write_disk (const char *path, bool child)
{
  struct mk_pattern pattern = { .seed = 2, .run = 8, .alternate = true };
  struct mk_line line = { .sectors = 2048, .type = "SPARSE", .name = path,
                          .offset = -1 };
  const struct mk_descriptor d = {
    .lines = &line, .n_lines = 1, .cid = 5, .create_type = "monolithicSparse",
    .parent_cid = child ? 4 : UINT32_MAX, .hint = child ? "p" : NULL,
  };
  char *text = mk_descriptor (&d, NULL);
  const struct mk_spec spec = {
    .format = MK_KDMV, .capacity = MIB, .grain_size = 65536,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
    .descriptor = text,
  };

  u_write_image (path, &spec);
  free (text);
}

TEST (no_space_for_a_copy)
{
  const struct vd_compact_opts how = { .dry_run = false };
  const struct vd_opts opts = { .headers = false };
  struct vd_compact_result result;
  struct vd_err err;

  write_disk ("a.vmdk", false);
  fails.free_blocks = 3;
  assert_int_equal (vd_compact_copy ("a.vmdk", "b.vmdk", &opts, &how, &result,
                                     &err), -1);
  assert_err (&err, VD_NOSPACE, "b.vmdk", " bytes, but its file system has "
              "only 12288 free", "in place none are needed");
  assert_int_equal (system ("test -z \"$(find . -name 'b.vmdk*')\""), 0);
  fails.free_blocks = 0;
  fails.statvfs = ENOSYS;       /* not known: tried */
  if (vd_compact_copy ("a.vmdk", "b.vmdk", &opts, &how, &result, &err) == -1)
    fail_msg ("%s", err.msg);
}

/* Blocks that the kernel copies. */
TEST (copies_that_are_interrupted)
{
  const struct vd_opts opts = { .ignore_cid = true };
  const struct vd_apply_opts apply = { .threads = 1 };
  static uint8_t want[MIB], buf[MIB];
  struct vd_link *link;
  struct vd_chain *chain;
  struct vd_reader *reader;
  struct vd_file *f;
  struct vd_err err;

  write_disk ("a.vmdk", true);
  u_write ("t", want, sizeof want);
  link = vd_link_open ("a.vmdk", &opts, &err);
  assert_opened (link, &err);
  chain = vd_chain_new (&link, 1, &opts, &err);
  assert_opened (chain, &err);
  reader = vd_reader_new (chain, 1 << 20, &err);
  assert_opened (reader, &err);
  f = vd_file_open_rw ("t", &err);
  assert_opened (f, &err);
  fails.interrupted = 3;
  assert_int_equal (vd_apply (reader, f, &apply, &err), 0);
  assert_int_equal (fails.interrupted, 0);
  assert_int_equal (vd_file_pread (f, buf, MIB, 0, &err), 0);
  assert_int_equal (vd_apply_verify (reader, f, &apply, &err), 0);
  vd_file_close (f);
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_link_close (link);
}

/* ---- Who uses it? -------------------------------------------------------- */

TEST (no_leases)
{
  static const int lacking[] = { EINVAL, EACCES, EOPNOTSUPP };
  struct vd_err err;
  struct vd_file *f, *m = u_memory ("m", "x", 1);
  size_t i;
  int fd;

  u_write ("f", "x", 1);
  f = vd_file_open ("f", &err);
  fd = open ("f", O_WRONLY);
  assert_int_equal (vd_check_no_writer (f, &err), -1);
  assert_err (&err, VD_DENIED, "f is open for writing", "stop that first");
  for (i = 0; i < ARRAY_SIZE (lacking); ++i) {
    fails.lease = lacking[i];
    assert_int_equal (vd_check_no_writer (f, &err), 0);
  }
  fails.lease = 0;
  fails.setsig = EINVAL;
  assert_int_equal (vd_check_no_writer (f, &err), 0);
  assert_int_equal (vd_check_no_writer (m, &err), 0);
  close (fd);
  vd_file_close (f);
  vd_file_close (m);
}

/* ---- Devices ------------------------------------------------------------- */

TEST (a_device_in_use)
{
  struct vd_err err;

  u_write ("f", "12345678", 8);
  fails.open = EBUSY;
  assert_null (vd_file_open_rw ("f", &err));
  assert_err (&err, VD_DENIED, "f is in use (mounted, or part of an array",
              "stop that first");
}

TEST (what_a_device_is_like)
{
  struct vd_err err;
  struct vd_file *f;

  u_write ("f", "12345678", 8);
  fails.device = true;
  f = vd_file_open_rw ("f", &err);
  assert_opened (f, &err);
  assert_int_equal (f->size, 8);
  assert_int_equal (vd_file_truncate (f, 16, &err), -1);
  assert_err (&err, VD_USAGE, "f: a block device keeps its size");
  vd_file_close (f);
  fails.seek = EIO;
  assert_null (vd_file_open ("f", &err));
  assert_err (&err, VD_IO, "f: cannot find out its size");
}

/* ---- Machine files and journals ------------------------------------------ */

#define OLD BOX ("", "<Hardware/>\n")
#define NEW BOX ("", "<Hardware/>\n<New/>\n")

static void
holds (const char *path, const char *text, mode_t mode)
{
  char buf[2000];
  FILE *fp = fopen (path, "r");
  struct stat st;
  size_t n;

  assert_non_null (fp);
  n = fread (buf, 1, sizeof buf - 1, fp);
  buf[n] = '\0';
  assert_int_equal (fstat (fileno (fp), &st), 0);
  fclose (fp);
  assert_string_equal (buf, text);
  assert_int_equal (st.st_mode & 07777, mode);
}

static void
add_replacement (struct vd_journal *j, const char *old, const char *fresh)
{
  struct vd_step s = { .kind = VD_STEP_REPLACE, .prev = true };
  struct vd_err err;
  struct stat st;

  assert_int_equal (stat ("m.vbox", &st), 0);
  s.ino = st.st_ino;
  s.dev = st.st_dev;
  s.path = realpath ("m.vbox", NULL);
  s.old_data = (uint8_t *) strdup (old);
  s.old_len = strlen (old);
  s.new_data = (uint8_t *) strdup (fresh);
  s.new_len = strlen (fresh);
  assert_int_equal (vd_journal_init (j, "top.vmdk", &err), 0);
  assert_int_equal (vd_journal_add (j, &s, &err), 0);
  assert_int_equal (vd_journal_save (j, &err), 0);
}

/* No links, no owners: a copy has to do, which is no more open than the old
 * one; and no modes.
 */
TEST (replacing_by_a_journal)
{
  const struct vd_opts opts = { .headers = false };
  struct vd_journal j;
  struct vd_err err;

  u_write_text ("m.vbox", OLD);
  assert_int_equal (chmod ("m.vbox", 0600), 0);
  add_replacement (&j, OLD, NEW);
  fails.link = EPERM;
  fails.chown = EPERM;
  if (vd_journal_run (&j, &err) == -1)
    fail_msg ("%s", err.msg);
  holds ("m.vbox", NEW, 0600);
  holds ("m.vbox-prev", OLD, 0600);
  vd_journal_free (&j);

  /* With nothing in it. */
  add_replacement (&j, NEW, "");
  vd_journal_free (&j);
  assert_int_equal (vd_journal_init (&j, "top.vmdk", &err), 0);
  assert_int_equal (vd_journal_load (&j, &opts, &err), 1);
  assert_int_equal (vd_journal_run (&j, &err), 0);
  holds ("m.vbox", "", 0600);
  vd_journal_free (&j);

  /* A file system without modes: not to finish would be worse. */
  u_write_text ("m.vbox", OLD);
  add_replacement (&j, OLD, NEW);
  fails.chmod = EOPNOTSUPP;
  if (vd_journal_run (&j, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_journal_free (&j);
}

TEST (not_allowed_to_write)
{
  struct vd_step s = { .kind = VD_STEP_WRITE, .new_len = 1 };
  struct vd_journal j;
  struct vd_err err;

  u_write_text ("f", "x");
  s.path = realpath ("f", NULL);
  s.old_data = calloc (1, 1);
  s.new_data = calloc (1, 1);
  assert_int_equal (vd_journal_init (&j, "top.vmdk", &err), 0);
  assert_int_equal (vd_journal_add (&j, &s, &err), 0);
  assert_int_equal (vd_merge_check_access (&j, &err), 0);
  fails.access = EROFS;
  assert_int_equal (vd_merge_check_access (&j, &err), -1);
  assert_err (&err, VD_IO, "/f: cannot be written", strerror (EROFS));
  vd_journal_free (&j);
}

/* ---- Several file systems ------------------------------------------------ */

static int
merge_machine (bool snapshot, struct vd_err *err)
{
  const struct vd_merge_opts how = { .snapshot = snapshot };
  const struct vd_opts opts = { .headers = false };
  struct vd_merge *m = vd_merge_open ("m.vbox", &how, &opts, err);
  int r;

  if (!m)
    return -1;
  r = vd_merge_run (m, NULL, NULL, err) == -1 ||
    vd_merge_commit (m, false, NULL, NULL, err) == -1 ? -1 : 0;
  vd_merge_free (m);
  return r;
}

/* Of two disks; one has no child yet. */
static void
write_machine (void)
{
  u_write_vdi ("1.vdi", 1, 0, 'a');
  u_write_vdi ("2.vdi", 2, 1, 'b');
  u_write_vdi ("9.vdi", 19, 0, 'x');
  u_write_text ("m.vbox",
                BOX ("", MEDIA (DISK (01, "1.vdi", ">\n")
                                DISK (02, "2.vdi", "/>\n") "</HardDisk>\n"
                                DISK (19, "9.vdi", "/>\n"))
                     STATE (DEVICE (02, 0) DEVICE (19, 1))));
}

/* Directories that cannot be made: of the snapshots, and for what is new. */
TEST (no_directories)
{
  struct vd_err err;
  unsigned i;

  write_machine ();
  for (i = 0; i < 4; ++i) {
    fails.mkdir = EROFS;
    fails.mkdirs = i;
    if (merge_machine (true, &err) == 0)
      break;
    assert_err (&err, VD_IO, "cannot create ", strerror (EROFS));
    assert_int_equal (access ("2.vdi", F_OK), 0);
    /* The data is merged by then, which marks say. */
    assert_int_equal (system ("test -z \"$(find . -name '*vmdkdelta*' "
                              "! -name '*-merging')\""), 0);
  }
  assert_true (i >= 2 || i == 0);
  fails.mkdir = 0;
  if (i == 4 && merge_machine (true, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_int_equal (access ("2.vdi", F_OK), -1);
}

/* A new child is renamed to its place, which a mount can prevent. */
TEST (snapshots_in_another_file_system)
{
  struct vd_err err;

  write_machine ();
  assert_int_equal (mkdir ("Snapshots", 0777), 0);
  fails.mounted = true;
  assert_int_equal (merge_machine (true, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "/Snapshots, where the new child would be, "
              "is on another file system", "merge without --snapshot");
  assert_int_equal (access ("2.vdi", F_OK), 0);
  if (merge_machine (false, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_int_equal (access ("2.vdi", F_OK), -1);
}

int
main (void)
{
#define T(f) cmocka_unit_test_setup_teardown (f, enter, leave)
  const struct CMUnitTest tests[] = {
    T (rename_without_noreplace),
    T (random_numbers),
    T (reads_that_are_interrupted),
    T (no_holes),
    T (compacting_without_holes),
    T (no_space_for_a_copy),
    T (copies_that_are_interrupted),
    T (no_leases),
    T (a_device_in_use),
    T (what_a_device_is_like),
    T (replacing_by_a_journal),
    T (not_allowed_to_write),
    T (no_directories),
    T (snapshots_in_another_file_system),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
