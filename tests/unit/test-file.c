/* Local files, memory and others behind struct vd_file: what is refused, and
 * what a range may be.
 */

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <sys/syscall.h>
#include <sys/vfs.h>

#include "file/fd.h"
#include "file/inuse.h"
#include "unit.h"

/* The type of file system that is told; 0: the true one. */
static uint32_t magic;

int
fstatfs (int fd, struct statfs *s)
{
  const int r = (int) syscall (SYS_fstatfs, fd, s);

  if (r == 0 && magic != 0)
    s->f_type = magic;
  return r;
}

/* A file of 8 bytes that can be written. */
static struct vd_file *
open_eight (void)
{
  struct vd_err err;
  struct vd_file *f;

  u_write ("f", "01234567", 8);
  f = vd_file_open_rw ("f", &err);
  assert_opened (f, &err);
  return f;
}

TEST (what_is_read_is_open_once_and_what_is_written_is_not_shared)
{
  struct vd_file *a, *b, *w, *c;
  char buf[8];
  struct vd_err err;
  int fd;

  u_write ("f", "01234567", 8);
  assert_int_equal (link ("f", "g"), 0);
  a = vd_file_open ("f", &err);
  assert_opened (a, &err);
  b = vd_file_open ("g", &err);
  assert_opened (b, &err);
  assert_int_equal (vd_file_fd (a), vd_file_fd (b));
  assert_string_equal (b->name, "g");
  w = vd_file_open_rw ("f", &err);
  assert_opened (w, &err);
  assert_int_not_equal (vd_file_fd (w), vd_file_fd (a));

  fd = vd_file_fd (a);
  vd_file_close (a);
  assert_int_equal (vd_file_pread (b, buf, 8, 0, &err), 0);
  vd_file_close (b);
  assert_int_equal (fcntl (fd, F_GETFD), -1);

  /* Another file under the same name. */
  a = vd_file_open ("f", &err);
  assert_opened (a, &err);
  u_write ("h", "76543210", 8);
  assert_int_equal (rename ("h", "f"), 0);
  c = vd_file_open ("f", &err);
  assert_opened (c, &err);
  assert_int_not_equal (vd_file_fd (c), vd_file_fd (a));
  assert_int_equal (vd_file_pread (c, buf, 8, 0, &err), 0);
  assert_memory_equal (buf, "76543210", 8);
  vd_file_close (a);
  vd_file_close (c);
  vd_file_close (w);
  assert_int_equal (unlink ("g"), 0);
}

TEST (the_last_descriptors_are_left_to_others)
{
  struct rlimit before, few = { .rlim_cur = 64, .rlim_max = 64 };
  struct vd_file *a, *f[64];
  struct vd_err err;
  size_t n = 0, i;
  int fd;

  assert_int_equal (getrlimit (RLIMIT_NOFILE, &before), 0);
  few.rlim_max = before.rlim_max;
  assert_int_equal (setrlimit (RLIMIT_NOFILE, &few), 0);
  vd_fd_limit_raise (10, NULL);
  few.rlim_cur = few.rlim_max;
  assert_int_equal (getrlimit (RLIMIT_NOFILE, &few), 0);
  assert_int_equal (few.rlim_cur, few.rlim_max);
  few.rlim_cur = 64;
  assert_int_equal (setrlimit (RLIMIT_NOFILE, &few), 0);

  u_write ("f", "01234567", 8);
  while (n < ARRAY_SIZE (f)) {
    a = vd_file_open_rw ("f", &err);
    if (!a)
      break;
    f[n++] = a;
  }
  assert_true (n >= 30 && n <= 54);
  assert_err (&err, VD_NOMEM, "f: cannot open", "ulimit -n");
  assert_null (vd_file_open ("f", &err));
  assert_err (&err, VD_NOMEM, "f: cannot open", "ulimit -n");
  i = vd_fd_limit_for (5);
  assert_true (i >= n + 5 + 10 && i <= n + 5 + 40);
  fd = open ("/", O_RDONLY);
  assert_int_not_equal (fd, -1);
  close (fd);
  for (i = 0; i < n; ++i)
    vd_file_close (f[i]);
  vd_fd_limit_raise (0, NULL);
  assert_int_equal (setrlimit (RLIMIT_NOFILE, &before), 0);
}

TEST (a_writer_is_seen_but_not_where_a_server_decides_on_leases)
{
  struct vd_file *writer = open_eight (), *f;
  struct vd_err err;

  f = vd_file_open ("f", &err);
  assert_opened (f, &err);
  assert_int_equal (vd_check_no_writer (f, &err), -1);
  assert_err (&err, VD_DENIED, "f is open for writing in another program");
  magic = 0x6969;               /* NFS 4 without a delegation */
  assert_int_equal (vd_check_no_writer (f, &err), 0);
  magic = 0xff534d42;           /* CIFS without an oplock */
  assert_int_equal (vd_check_no_writer (f, &err), 0);
  magic = 0;
  vd_file_close (writer);
  assert_int_equal (vd_check_no_writer (f, &err), 0);
  vd_file_close (f);
}

TEST (writes_stay_inside)
{
  struct vd_file *f = open_eight ();
  struct vd_err err;
  char buf[9] = "";

  assert_int_equal (vd_file_pwrite (f, "", 0, UINT64_MAX, &err), 0);
  assert_int_equal (vd_file_pwrite (f, "ab", 2, 6, &err), 0);
  assert_int_equal (vd_file_pwrite (f, "abc", 3, 6, &err), -1);
  assert_err (&err, VD_USAGE, "f: cannot write 3 bytes at byte 6",
              "ends at byte 8");
  assert_int_equal (vd_file_pwrite (f, "a", 1, INT64_MAX, &err), -1);
  assert_err (&err, VD_USAGE, "cannot write");
  assert_int_equal (vd_file_zero (f, 7, 2, &err), -1);
  assert_err (&err, VD_USAGE, "cannot write 2 bytes at byte 7");
  assert_int_equal (vd_file_zero (f, 100, 0, &err), 0);
  assert_int_equal (vd_file_zero (f, 1, 2, &err), 0);
  assert_int_equal (vd_file_punch (f, 100, 0, &err), 0);
  assert_int_equal (vd_file_punch (f, 8, 1, &err), -1);
  assert_err (&err, VD_USAGE, "cannot write 1 bytes at byte 8");
  assert_int_equal (vd_file_flush (f, &err), 0);
  assert_int_equal (vd_file_pread (f, buf, 8, 0, &err), 0);
  assert_memory_equal (buf, "0\0\0" "345ab", 8);
  vd_file_close (f);
}

TEST (files_only_read_are_not_written)
{
  struct vd_file *f, *m = u_memory ("m", "x", 1);
  struct vd_err err;

  u_write ("f", "01234567", 8);
  f = vd_file_open ("f", &err);
  assert_opened (f, &err);
  assert_int_equal (vd_file_pwrite (f, "a", 1, 0, &err), -1);
  assert_err (&err, VD_USAGE, "f: opened read-only");
  assert_int_equal (vd_file_zero (f, 0, 1, &err), -1);
  assert_err (&err, VD_USAGE, "f: opened read-only");
  assert_int_equal (vd_file_truncate (f, 1, &err), -1);
  assert_err (&err, VD_USAGE, "f: its size cannot be changed");
  assert_int_equal (vd_file_flush (f, &err), 0);
  assert_int_equal (vd_file_fd (m), -1);
  assert_null (vd_file_reopen (m, &err));
  assert_err (&err, VD_USAGE, "m is not a local file");
  vd_file_close (f);
  vd_file_close (m);
}

TEST (sizes_change)
{
  struct vd_file *f = open_eight (), *again;
  struct vd_err err;
  char buf[4];

  assert_int_equal (vd_file_truncate (f, UINT64_C (1) << 63, &err), -1);
  assert_err (&err, VD_USAGE, "bytes are too many");
  assert_int_equal (vd_file_truncate (f, 4, &err), 0);
  assert_int_equal (f->size, 4);
  assert_int_equal (vd_file_pread (f, buf, 4, 1, &err), -1);
  assert_err (&err, VD_TRUNCATED, "f: 4 bytes at byte 1",
              "ends at byte 4");
  again = vd_file_reopen (f, &err);
  assert_opened (again, &err);
  assert_true (vd_file_same (f, again));
  assert_int_equal (again->size, 4);
  vd_file_close (again);

  /* a file that is cut behind our back */
  again = vd_file_reopen_rw (f, &err);
  assert_opened (again, &err);
  assert_int_equal (truncate ("f", 1), 0);
  assert_int_equal (vd_file_pread (again, buf, 4, 0, &err), -1);
  assert_err (&err, VD_TRUNCATED, "f: short read at byte 1",
              "3 more bytes are needed", "has it been cut since");
  assert_int_equal (vd_file_pread (f, buf, 1, 0, &err), 0);
  vd_file_close (again);
  vd_file_close (f);
}

TEST (several_places_are_read)
{
  struct vd_file *f = open_eight ();
  char a[3] = "", b[2] = "", c[3] = "";
  struct iovec iov[3] = {
    { a, sizeof a }, { b, sizeof b }, { c, sizeof c },
  };
  struct vd_err err;

  assert_int_equal (f->ops->preadv (f, iov, 3, 8, 0, &err), 0);
  assert_memory_equal (a, "012", 3);
  assert_memory_equal (b, "34", 2);
  assert_memory_equal (c, "567", 3);

  /* cut in the middle of a place */
  iov[0] = (struct iovec) { a, 3 };
  iov[1] = (struct iovec) { b, 2 };
  iov[2] = (struct iovec) { c, 3 };
  assert_int_equal (truncate ("f", 4), 0);
  assert_int_equal (vd_file_preadv (f, iov, 3, 8, 0, &err), -1);
  assert_err (&err, VD_TRUNCATED, "f: short read at byte 4",
              "4 more bytes are needed");
  assert_int_equal (vd_file_preadv (f, iov, 1, 3, 6, &err), -1);
  assert_err (&err, VD_TRUNCATED, "ends at byte 8");
  vd_file_close (f);
}

TEST (what_is_in_memory_is_there_at_once)
{
  struct vd_file *f = open_eight ();
  char a[3] = "", b[2] = "";
  struct iovec iov[2] = { { a, sizeof a }, { b, sizeof b } };
  struct vd_err err;

  /* Read once, it is in memory, if the file system can say so at all. */
  assert_int_equal (vd_file_pread (f, a, 3, 0, &err), 0);
  if (vd_file_peek (f, iov, 2, 5, 1)) {
    assert_memory_equal (a, "123", 3);
    assert_memory_equal (b, "45", 2);
  }
  assert_false (vd_file_peek (f, iov, 2, 5, 4));        /* past the end */

  /* Part of it is not there: the ordinary read says why. */
  assert_int_equal (truncate ("f", 4), 0);
  assert_false (vd_file_peek (f, iov, 2, 5, 1));
  assert_int_equal (vd_file_preadv (f, iov, 2, 5, 1, &err), -1);
  assert_err (&err, VD_TRUNCATED, "f: short read at byte 4");
  vd_file_close (f);
}

struct pieces { unsigned n, stop; uint64_t length; unsigned type; };

static int
take (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct pieces *p = opaque;

  if (p->stop == 2)
    return vd_fail (err, VD_IO, "the receiver");
  p->n++;
  p->length += length;
  p->type |= type;
  return (int) p->stop;
}

TEST (extents_cover_the_file)
{
  struct vd_file *f, *m = u_memory ("m", "0123", 4);
  struct pieces p = { 0, 0, 0, 0 };
  struct vd_err err;

  u_write ("f", "x", 1);
  assert_int_equal (truncate ("f", 1 << 20), 0);
  f = vd_file_open ("f", &err);
  assert_opened (f, &err);
  assert_int_equal (vd_file_extents (f, 0, 1 << 20, take, &p, &err), 0);
  assert_int_equal (p.length, 1 << 20);
  assert_int_equal (p.type & ~(VD_HOLE | VD_READS_ZERO), 0);
  assert_int_equal (vd_file_extents (f, 1, 1 << 20, take, &p, &err), -1);
  assert_err (&err, VD_TRUNCATED, "1048576 bytes at byte 1",
              "ends at byte 1048576");

  p = (struct pieces) { 0, 1, 0, 0 };
  assert_int_equal (vd_file_extents (f, 0, 1 << 20, take, &p, &err), 0);
  assert_int_equal (p.n, 1);
  p.stop = 2;
  assert_int_equal (vd_file_extents (f, 0, 1 << 20, take, &p, &err), -1);
  assert_err (&err, VD_IO, "the receiver");
  assert_int_equal (vd_file_extents (m, 0, 4, take, &p, &err), -1);
  assert_err (&err, VD_IO, "the receiver");
  p = (struct pieces) { 0, 0, 0, 0 };
  assert_int_equal (vd_file_extents (m, 1, 3, take, &p, &err), 0);
  assert_int_equal (p.n, 1);
  assert_int_equal (p.length, 3);
  vd_file_close (f);
  vd_file_close (m);
}

static int
no_extents (struct vd_file *f, uint64_t offset, uint64_t length,
            vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  (void) f, (void) offset, (void) length, (void) fn, (void) opaque;
  (void) err;
  return 0;
}

/* A piece of no length, and one that is too long. */
static int
odd_extents (struct vd_file *f, uint64_t offset, uint64_t length,
             vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  (void) f, (void) offset;
  return fn (opaque, 0, 0, err) == -1 ||
    fn (opaque, length + 100, VD_HOLE, err) == -1 ? -1 : 0;
}

TEST (a_map_that_says_nothing_is_an_error)
{
  struct vd_file_ops ops = { .extents = no_extents };
  char name[] = "e";
  struct vd_file e = { .ops = &ops, .name = name, .size = 100 };
  struct pieces p = { 0, 0, 0, 0 };
  struct vd_err err;

  assert_int_equal (vd_file_extents (&e, 10, 20, take, &p, &err), -1);
  assert_err (&err, VD_IO, "e: gave an empty map at byte 10");
  ops.extents = odd_extents;
  assert_int_equal (vd_file_extents (&e, 10, 20, take, &p, &err), 0);
  assert_int_equal (p.length, 20);
}

static int
write_to (struct vd_file *f, const void *buf, size_t n, uint64_t offset,
          struct vd_err *err)
{
  if (f->ino == 1)
    return vd_fail (err, VD_NOSPACE, "full");
  memset ((char *) f->dev + offset, ((const char *) buf)[0] + 'z', n);
  return 0;
}

static int
cannot_zero (struct vd_file *f, uint64_t offset, uint64_t length,
             struct vd_err *err)
{
  (void) offset, (void) length;
  return f->ino == 2 ? vd_fail (err, VD_IO, "no zeros") : 1;
}

TEST (zeros_are_written_where_they_cannot_be_punched)
{
  struct vd_file_ops ops = { .pwrite = write_to };
  char name[] = "w", buf[100] = "";
  struct vd_file w = {
    .ops = &ops, .name = name, .growable = true,
    .dev = (dev_t) (uintptr_t) buf,
  };
  struct vd_err err;

  assert_int_equal (vd_file_zero (&w, 0, 70, &err), 0);
  assert_int_equal (w.size, 70);
  assert_int_equal (buf[69], 'z');
  assert_int_equal (buf[70], 0);
  ops.zero = cannot_zero;
  assert_int_equal (vd_file_zero (&w, 70, 1, &err), 0);
  assert_int_equal (buf[70], 'z');
  assert_int_equal (vd_file_punch (&w, 0, 1, &err), 0);
  w.ino = 1;
  assert_int_equal (vd_file_zero (&w, 0, 1, &err), -1);
  assert_err (&err, VD_NOSPACE, "full");
  w.ino = 2;
  assert_int_equal (vd_file_zero (&w, 0, 1, &err), -1);
  assert_err (&err, VD_IO, "no zeros");
  assert_int_equal (vd_file_punch (&w, 0, 1, &err), -1);
  assert_err (&err, VD_IO, "no zeros");
}

/* Reading what is too large for the disk is left to the system. */
TEST (a_full_disk_is_said)
{
  struct vd_file *f;
  struct vd_err err;
  const int fd = open ("/dev/full", O_WRONLY);
  struct rlimit old, small;
  int r;

  if (fd == -1)
    skip ();
  assert_null (vd_file_from_fd (fd, "full", &err));
  assert_err (&err, VD_USAGE, "full is a character device",
              "only regular files and block devices");
  close (fd);

  u_write ("f", "x", 1);
  f = vd_file_open_rw ("f", &err);
  assert_opened (f, &err);
  f->growable = true;
  /* By a limit of the process: each file system has another one. */
  assert_int_equal (getrlimit (RLIMIT_FSIZE, &old), 0);
  small = old;
  small.rlim_cur = 4096;
  signal (SIGXFSZ, SIG_IGN);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &small), 0);
  r = vd_file_pwrite (f, "x", 1, 1 << 20, &err);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &old), 0);
  signal (SIGXFSZ, SIG_DFL);
  assert_int_equal (r, -1);
  assert_true (err.code == VD_IO || err.code == VD_NOSPACE);
  assert_text (err.msg, "f: cannot write 1 bytes at byte");
  vd_file_close (f);
}

TEST (only_files_and_disks_are_opened)
{
  struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "s" };
  const int s = socket (AF_UNIX, SOCK_STREAM, 0);
  struct vd_err err;
  int p[2];

  assert_int_equal (mkfifo ("p", 0600), 0);
  assert_null (vd_file_open ("p", &err));
  assert_err (&err, VD_USAGE, "p is a named pipe");
  assert_null (vd_file_open (".", &err));
  assert_err (&err, VD_USAGE, ". is a directory");
  assert_null (vd_file_open_rw ("p", &err));
  assert_err (&err, VD_USAGE, "p is a named pipe");
  assert_null (vd_file_open ("no", &err));
  assert_err (&err, VD_NOT_FOUND, "no: cannot open");
  assert_null (vd_file_open_rw ("no", &err));
  assert_err (&err, VD_NOT_FOUND, "no: cannot open for writing");

  assert_true (s >= 0);
  assert_int_equal (bind (s, (struct sockaddr *) &a, sizeof a), 0);
  assert_null (vd_file_from_fd (s, "s", &err));
  assert_err (&err, VD_USAGE, "s is a socket");
  close (s);
  assert_null (vd_file_from_fd (s, "closed", &err));
  assert_err (&err, VD_IO, "closed");
  assert_int_equal (pipe (p), 0);
  assert_null (vd_file_from_fd (p[0], "p", &err));
  close (p[0]);
  close (p[1]);
}

TEST (what_is_created_is_new)
{
  struct vd_err err;
  struct vd_file *f = vd_file_create ("n", &err);
  char c;

  assert_opened (f, &err);
  assert_int_equal (vd_file_zero (f, 10, 5, &err), 0);
  assert_int_equal (f->size, 15);
  assert_int_equal (vd_file_pread (f, &c, 1, 3, &err), 0);
  assert_int_equal (c, 0);
  assert_null (vd_file_create ("n", &err));
  assert_text (err.msg, "n: cannot create");
  vd_file_close (f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (what_is_read_is_open_once_and_what_is_written_is_not_shared),
    tmpdir_test (the_last_descriptors_are_left_to_others),
    tmpdir_test (a_writer_is_seen_but_not_where_a_server_decides_on_leases),
    tmpdir_test (writes_stay_inside),
    tmpdir_test (files_only_read_are_not_written),
    tmpdir_test (sizes_change),
    tmpdir_test (several_places_are_read),
    tmpdir_test (what_is_in_memory_is_there_at_once),
    tmpdir_test (extents_cover_the_file),
    cmocka_unit_test (a_map_that_says_nothing_is_an_error),
    cmocka_unit_test (zeros_are_written_where_they_cannot_be_punched),
    tmpdir_test (a_full_disk_is_said),
    tmpdir_test (only_files_and_disks_are_opened),
    tmpdir_test (what_is_created_is_new),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
