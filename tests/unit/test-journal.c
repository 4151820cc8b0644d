/* Several files changed as one: journals of merges (journal.h).  What
 * is not whole, not ours or leads elsewhere is refused; each step is done
 * only where its file is as before or behind it, and can be done again.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "merge/journal.h"
#include "unit.h"

#define FIRST "vmdkdelta-merge 3\n"
#define JOURNAL ".top.vmdk.vmdkdelta-merge"

static const struct vd_opts none;
static struct vd_journal j;

/* ---- Texts of journals --------------------------------------------------- */

static void
put_text (const void *text, size_t n)
{
  u_write (JOURNAL, text, n);
  assert_int_equal (chmod (JOURNAL, 0600), 0);
}

/* With its own inode and time in it, and the sum that fits it. */
static void
put_steps (const char *steps)
{
  char *text = NULL;
  struct statx st;
  size_t n;

  put_text ("", 0);
  assert_int_equal (statx (AT_FDCWD, JOURNAL, 0, STATX_INO | STATX_BTIME,
                           &st), 0);
  assert_true (asprintf (&text, FIRST "self %" PRIu64 " %" PRIu64 "\n%s"
                         "end %08" PRIx32 "\n", (uint64_t) st.stx_ino,
                         !(st.stx_mask & STATX_BTIME) ? 0
                         : (uint64_t) st.stx_btime.tv_sec * 1000000000u +
                         st.stx_btime.tv_nsec, steps, (uint32_t) 0) > 0);
  n = strlen (text) - 13;
  sprintf (text + n, "end %08" PRIx32 "\n", libdeflate_crc32 (0, text, n));
  put_text (text, strlen (text));
  free (text);
}

static int
load_with (const struct vd_opts *opts, struct vd_err *err)
{
  int r;

  vd_journal_free (&j);
  assert_int_equal (vd_journal_init (&j, "top.vmdk", err), 0);
  r = vd_journal_load (&j, opts, err);
  assert_true (r >= -1 && r <= 1);
  return r;
}

static int
load (struct vd_err *err)
{
  return load_with (&none, err);
}

static void
end (void)
{
  vd_journal_free (&j);
}

/* "61" for "a": names and data are in hexadecimal.  X, Y are these. */
#define A "61"
#define B "62"

TEST (none_is_no_error)
{
  struct vd_err err;

  assert_int_equal (load (&err), 0);
  end ();
}

TEST (each_kind_of_step_is_read)
{
  struct vd_err err;

  assert_int_equal (mkdir (".x", 0700), 0);
  put_steps ("write " A " 9 512 0102 0304\n"
             "replace " B " 8 6f6c64 - 1\n"
             "rename " A " 7 2e782f62\n"
             "remove " B " 6 5 7\n"
             "unmark 2e612e766d646b64656c74612d6d657267696e67 6 5 7\n");
  if (load (&err) != 1)
    fail_msg ("%s", err.msg);
  assert_int_equal (j.n, 5);
  assert_int_equal (j.step[0].kind, VD_STEP_WRITE);
  assert_int_equal (j.step[0].ino, 9);
  assert_int_equal (j.step[0].offset, 512);
  assert_int_equal (j.step[0].new_len, 2);
  assert_memory_equal (j.step[0].old_data, "\1\2", 2);
  assert_memory_equal (j.step[0].new_data, "\3\4", 2);
  assert_text (j.step[0].path, "/a");
  assert_int_equal (j.step[1].kind, VD_STEP_REPLACE);
  assert_int_equal (j.step[1].old_len, 3);
  assert_int_equal (j.step[1].new_len, 0);
  assert_true (j.step[1].prev);
  assert_int_equal (j.step[2].kind, VD_STEP_RENAME);
  assert_text (j.step[2].from, "/.x/b");
  assert_int_equal (j.step[3].kind, VD_STEP_REMOVE);
  assert_int_equal (j.step[3].size, 5);
  assert_int_equal (j.step[3].ino, 6);
  assert_int_equal (j.step[3].mtime, 7);
  assert_int_equal (j.step[4].kind, VD_STEP_UNMARK);
  assert_text (j.step[4].path, "/.a.vmdkdelta-merging");
  end ();
}

/* Whatever is wrong in it: all of it is refused, with one piece of advice. */
TEST (a_field_that_makes_no_sense_refuses_the_journal)
{
  static const char *const bad[] = {
    "\nwrite " A " 7 0 01 02",          /* no newline at the end */
    "write\n", "write  7 0 01 02\n", "write - 7 0 01 02\n",
    "write 6 7 0 01 02\n", "write 6g 7 0 01 02\n", "write 6A 7 0 01 02\n",
    "write 6100 7 0 01 02\n",           /* a NUL in a name */
    "write " A "\n", "write " A " 7\n", "write " A " x 0 01 02\n",
    "write " A " 7 x 01 02\n", "write " A " 7 -1 01 02\n",
    "write " A " 7 0x1 01 02\n", "write " A " 7 0\n",
    "write " A " 7 0 01\n",
    "write " A " 7 0 01 0203\n",        /* old and new of one length */
    "write " A " 7 0 - -\n",            /* and not nothing */
    "write " A " 7 0 0 0\n", "write " A " 7 0 zz 01\n",
    "write " A " 7 0 01 zz\n",
    "replace " A "\n", "replace " A " 7\n", "replace " A " 7 01\n",
    "replace " A " 7 01 02\n", "replace " A " 7 01 02 x\n",
    "replace " A " 7 x 02 1\n", "replace " A " 7 01 0x 1\n",
    "rename " A "\n", "rename " A " 7\n", "rename " A " 7 -\n",
    "rename " A " 7 6\n", "rename " A " x 61\n",
    "remove " A "\n", "remove " A " 1\n", "remove " A " 1 2\n",
    "remove " A " x 2 3\n", "remove " A " 1 x 3\n", "remove " A " 1 2 x\n",
    "remove " A " 1 2 3x\n",
    "unmark\n", "unmark " A " 1 2 3\n",   /* not the name of a mark */
    "unmark 2e612e766d646b64656c74612d6d657267696e67\n",
    "remove " A " 1/ 2 3\n", "remove " A " /1 2 3\n",
    "remove " A " 1/0 2 3\n", "remove " A " 1/16 2 3\n",
    "remove " A " 1/x 2 3\n",
    "erase " A " 1 2 3\n", "WRITE " A " 7 0 01 02\n", " " A " 1 2 3\n",
  };
  struct vd_err err;

  u_write_text ("a", "as it was");
  for (size_t i = 0; i < ARRAY_SIZE (bad); i++) {
    put_steps (bad[i]);
    if (i > 0)                  /* the first is right but for its end */
      assert_int_equal (load (&err), -1);
    if (i > 0)
      assert_err (&err, VD_CORRUPT, JOURNAL, "remove it");
    /* also behind a good one */
    put_steps ("remove " B " 1 2 3\n");
    assert_int_equal (load (&err), 1);
  }
  end ();
}

/* Each byte of it counts. */
TEST (any_change_refuses_the_journal)
{
  uint8_t *text;
  struct stat st;
  struct vd_err err;
  size_t n;
  FILE *fp;

  put_steps ("write " A " 7 0 01 02\nremove " B " 1 2 3\n");
  assert_int_equal (stat (JOURNAL, &st), 0);
  n = (size_t) st.st_size;
  text = malloc (n + 1);
  fp = fopen (JOURNAL, "r");
  assert_non_null (fp);
  assert_int_equal (fread (text, 1, n, fp), n);
  fclose (fp);
  for (size_t i = 0; i < n; i++)
    for (unsigned bit = 0; bit < 8; bit++) {
      text[i] ^= (uint8_t) (1u << bit);
      put_text (text, n);
      assert_int_equal (load (&err), -1);
      assert_true (err.code == VD_CORRUPT || err.code == VD_UNSUPPORTED);
      text[i] ^= (uint8_t) (1u << bit);
    }
  for (size_t i = 0; i < n; i++) {
    put_text (text, i);
    assert_int_equal (load (&err), -1);
    assert_true (err.code == VD_CORRUPT || err.code == VD_UNSUPPORTED);
  }
  text[n] = '\n';
  put_text (text, n + 1);
  assert_int_equal (load (&err), -1);
  put_text (text, n);
  assert_int_equal (load (&err), 1);
  free (text);
  end ();
}

TEST (a_journal_of_an_absurd_size_is_not_read)
{
  struct vd_err err;

  put_steps ("remove " B " 1 2 3\n");
  assert_int_equal (truncate (JOURNAL, (off_t) (GIB + 1)), 0);
  assert_int_equal (load (&err), -1);
  assert_err (&err, VD_CORRUPT, JOURNAL);
  end ();
}

/* Who can put a file beside images must not get ours removed. */
TEST (a_journal_of_somebody_else_is_refused)
{
  struct vd_err err;

  put_steps ("remove " B " 1 2 3\n");
  assert_int_equal (chmod (JOURNAL, 0620), 0);
  assert_int_equal (load (&err), -1);
  assert_err (&err, VD_DENIED, "nobody else can write");
  assert_int_equal (chmod (JOURNAL, 0602), 0);
  assert_int_equal (load (&err), -1);
  assert_int_equal (chmod (JOURNAL, 0644), 0);
  assert_int_equal (load (&err), 1);
  if (chown (JOURNAL, 12345, (gid_t) -1) == 0) { /* root only */
    assert_int_equal (load (&err), -1);
    assert_int_equal (err.code, VD_DENIED);
  }
  assert_int_equal (rename (JOURNAL, "elsewhere"), 0);
  assert_int_equal (symlink ("elsewhere", JOURNAL), 0);
  assert_int_equal (load (&err), -1);
  assert_int_equal (unlink (JOURNAL), 0);
  assert_int_equal (mkdir (JOURNAL, 0700), 0);
  assert_int_equal (load (&err), -1);
  assert_int_equal (err.code, VD_DENIED);
  assert_int_equal (rmdir (JOURNAL), 0);
  assert_int_equal (mkfifo (JOURNAL, 0600), 0);
  assert_int_equal (load (&err), -1);
  assert_int_equal (err.code, VD_DENIED);
  end ();
}

static void
put_removal (const char *name)
{
  char steps[2000] = "remove ";

  for (; *name; name++)
    sprintf (steps + strlen (steps), "%02x", (unsigned char) *name);
  strcat (steps, " 1 2 3\n");
  put_steps (steps);
}

TEST (a_journal_leads_only_below_its_directory)
{
  static const char *const outside[] = {
    "/etc/passwd", "../x", "sub/../../x", "out/x", "missing/x",
    "../Snapshots/x",
  };
  const char *const dirs[] = { "/etc", NULL };
  const struct vd_opts more = { .dirs = dirs, .nr_dirs = 1 };
  const struct vd_opts any = { .unconfined = true };
  struct vd_err err;

  assert_int_equal (mkdir ("sub", 0700), 0);
  assert_int_equal (symlink ("/etc", "out"), 0);
  for (size_t i = 0; i < ARRAY_SIZE (outside); i++) {
    put_removal (outside[i]);
    assert_int_equal (load (&err), -1);
    assert_err (&err, VD_DENIED, "outside of its directory");
    assert_int_equal (load_with (&any, &err), 1);
  }
  put_removal ("sub/x");
  assert_int_equal (load (&err), 1);
  put_removal ("/etc/passwd");
  assert_int_equal (load_with (&more, &err), 1);
  put_steps ("rename " A " 7 2f6574632f78\n");    /* from /etc/x */
  assert_int_equal (load (&err), -1);
  assert_err (&err, VD_DENIED, "/etc/x");
  end ();
}

/* VirtualBox has the base one directory up. */
TEST (from_a_folder_of_snapshots_it_leads_one_up)
{
  struct vd_err err;

  assert_int_equal (mkdir ("Snapshots", 0700), 0);
  assert_int_equal (mkdir ("Snap", 0700), 0);
  assert_int_equal (chdir ("Snapshots"), 0);
  put_removal ("../x");
  assert_int_equal (load (&err), 1);
  put_removal ("../../x");
  assert_int_equal (load (&err), -1);
  assert_int_equal (chdir ("../Snap"), 0);
  put_removal ("../x");
  assert_int_equal (load (&err), -1);
  assert_int_equal (chdir (".."), 0);
  end ();
}

/* ---- Steps -------------------------------------------------------------- */

static char *
full (const char *name)
{
  char *cwd = getcwd (NULL, 0), *path = NULL;

  assert_non_null (cwd);
  assert_true (asprintf (&path, "%s/%s", cwd, name) > 0);
  free (cwd);
  return path;
}

static uint8_t *
copy (const void *data, size_t n)
{
  uint8_t *p = malloc (n + 1);

  memcpy (p, data, n);
  return p;
}

static void
begin (void)
{
  struct vd_err err;

  vd_journal_free (&j);
  assert_int_equal (vd_journal_init (&j, "top.vmdk", &err), 0);
}

static void
add (struct vd_step s)
{
  struct vd_err err;

  assert_int_equal (vd_journal_add (&j, &s, &err), 0);
}

#define TEXT(cid) "# Disk DescriptorFile\nversion=1\nCID=" cid "\n"       \
  "parentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"                    \
  "RW 8 FLAT \"x-flat.vmdk\" 0\n"
#define OLD TEXT ("00000001")
#define NEW TEXT ("00000002")
#define SIZE (sizeof OLD - 1)
#define TO_GO "COWD to go"

static ino_t
ino_of (const char *path)
{
  struct stat st;

  assert_int_equal (lstat (path, &st), 0);
  return st.st_ino;
}

static dev_t
dev_of (const char *path)
{
  struct stat st;

  assert_int_equal (lstat (path, &st), 0);
  return st.st_dev;
}

static uint8_t old_sectors[1536], new_sectors[1536];

static void
add_write (void)
{
  memset (old_sectors, 'o', sizeof old_sectors);
  memset (new_sectors, 'n', sizeof new_sectors);
  add ((struct vd_step) {
    .kind = VD_STEP_WRITE, .path = full ("w"), .offset = 512,
    .ino = ino_of ("w"), .dev = dev_of ("."),
    .old_data = copy (old_sectors, 1536), .old_len = 1536,
    .new_data = copy (new_sectors, 1536), .new_len = 1536,
  });
}

static void
add_replace (bool prev)
{
  add ((struct vd_step) {
    .kind = VD_STEP_REPLACE, .path = full ("r"), .prev = prev,
    .ino = ino_of ("r"), .dev = dev_of ("."),
    .old_data = copy (OLD, SIZE), .old_len = SIZE,
    .new_data = copy (NEW, SIZE), .new_len = SIZE,
  });
}

static void
add_rename (void)
{
  add ((struct vd_step) {
    .kind = VD_STEP_RENAME, .path = full ("m.vdi"), .from = full ("m.tmp"),
    .ino = ino_of ("m.tmp"), .dev = dev_of ("."),
  });
}

static void
add_remove (void)
{
  struct vd_err err;

  assert_int_equal (vd_journal_add_removal (&j, VD_STEP_REMOVE, full ("d"), &err), 0);
}

/* All that the steps above are for, as it is before. */
static void
files (void)
{
  uint8_t w[4096];

  memset (w, '.', sizeof w);
  memset (w + 512, 'o', 1536);
  memcpy (w, "KDMV", 4);
  u_write ("w", w, sizeof w);
  u_write_text ("r", OLD);
  u_write_text ("m.tmp", "moved");
  u_write_text ("d", TO_GO);
  unlink ("m.vdi");
  unlink (JOURNAL);
}

static bool
holds (const char *path, const char *text)
{
  char buf[400] = "";
  FILE *fp = fopen (path, "r");

  if (!fp)
    return false;
  buf[fread (buf, 1, sizeof buf - 1, fp)] = '\0';
  fclose (fp);
  return strcmp (buf, text) == 0;
}

static char
byte_of_w (off_t at)
{
  const int fd = open ("w", O_RDONLY);
  char c = 0;

  assert_int_equal (pread (fd, &c, 1, at), 1);
  close (fd);
  return c;
}

static bool
all_done (void)
{
  return byte_of_w (0) == 'K' && byte_of_w (512) == 'n' &&
    byte_of_w (2047) == 'n' && byte_of_w (2048) == '.' && holds ("r", NEW) &&
    holds ("m.vdi", "moved") && access ("m.tmp", F_OK) == -1 &&
    access ("d", F_OK) == -1 && access (JOURNAL, F_OK) == -1;
}

static bool
nothing_done (void)
{
  return holds ("r", OLD) && access ("d", F_OK) == 0 &&
    byte_of_w (2047) != 'n';
}

/* As a merge does: saved, and then perhaps only loaded again. */
static void
make (void)
{
  struct vd_err err;

  files ();
  begin ();
  add_write ();
  add_replace (true);
  add_rename ();
  add_remove ();
  if (vd_journal_save (&j, &err) == -1 || load (&err) != 1)
    fail_msg ("%s", err.msg);
}

TEST (all_steps_are_done_and_can_be_done_again)
{
  struct vd_err err;

  make ();
  assert_int_equal (vd_journal_check (&j, &err), 0);
  assert_int_equal (vd_journal_check_unused (&j, &err), 0);
  if (vd_journal_run (&j, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_true (all_done ());
  assert_true (holds ("r-prev", OLD));
  assert_int_equal (vd_journal_run (&j, &err), 0);
  assert_true (all_done ());
  assert_true (holds ("r-prev", OLD));
  end ();
}

/* Cut off anywhere, with a write torn in its sectors: run again. */
TEST (half_done_it_is_completed)
{
  struct vd_err err;

  for (unsigned torn = 0; torn < 8; torn++) {
    const int fd = (make (), open ("w", O_WRONLY));

    for (unsigned k = 0; k < 3; k++)
      if (torn >> k & 1)
        assert_int_equal (pwrite (fd, new_sectors, 512, 512 + 512 * k), 512);
    close (fd);
    if (torn & 1)
      u_write_text ("r", NEW);
    if (torn & 2)
      assert_int_equal (rename ("m.tmp", "m.vdi"), 0);
    if (torn & 4)
      assert_int_equal (unlink ("d"), 0);
    if (load (&err) != 1 || vd_journal_run (&j, &err) == -1)
      fail_msg ("%s", err.msg);
    assert_true (all_done ());
  }
  end ();
}

static void
refused (enum vd_code code, const char *what, const char *why)
{
  struct vd_err err;

  assert_int_equal (load (&err), 1);
  assert_int_equal (vd_journal_run (&j, &err), -1);
  assert_err (&err, code, what, why, "cannot be completed", JOURNAL);
  assert_true (nothing_done ());
  assert_int_equal (access (JOURNAL, F_OK), 0);
}

#define ELSE "changed by another program"

static void
refused_kind (const char *name)
{
  struct vd_err err;

  assert_int_equal (vd_journal_run (&j, &err), -1);
  assert_err (&err, VD_DENIED, name, "neither an image", "not touched");
}

TEST (what_somebody_else_changed_is_not_touched)
{
  int fd;

  /* a byte that is neither old nor new */
  make ();
  fd = open ("w", O_WRONLY);
  assert_int_equal (pwrite (fd, "x", 1, 1000), 1);
  close (fd);
  refused (VD_MISMATCH, "/w", ELSE);
  /* half a sector */
  make ();
  fd = open ("w", O_WRONLY);
  assert_int_equal (pwrite (fd, new_sectors, 256, 512), 256);
  close (fd);
  refused (VD_MISMATCH, "/w", ELSE);

  make ();
  assert_int_equal (truncate ("w", 1000), 0);
  {
    struct vd_err err;

    assert_int_equal (load (&err), 1);
    assert_int_equal (vd_journal_run (&j, &err), -1);
    assert_err (&err, VD_TRUNCATED, "/w");
  }

  make ();
  fd = open ("d", O_WRONLY | O_APPEND);
  assert_int_equal (write (fd, "!", 1), 1);
  close (fd);
  refused (VD_MISMATCH, "/d", ELSE);
  /* the same bytes, but written again */
  make ();
  assert_int_equal (rename ("d", "e"), 0);
  u_write_text ("d", TO_GO);
  refused (VD_MISMATCH, "/d", ELSE);
  make ();
  {
    const struct timespec t[2] = { { 1, 0 }, { 1, 0 } };

    assert_int_equal (utimensat (AT_FDCWD, "d", t, 0), 0);
  }
  refused (VD_MISMATCH, "/d", ELSE);
  make ();
  assert_int_equal (unlink ("d"), 0);
  assert_int_equal (mkdir ("d", 0700), 0);
  refused (VD_MISMATCH, "/d", ELSE);
  assert_int_equal (rmdir ("d"), 0);
  end ();
}

TEST (a_machine_file_that_was_saved_meanwhile_is_not_replaced)
{
  struct vd_err err;

  make ();
  u_write_text ("r", "something else");
  assert_int_equal (load (&err), 1);
  assert_int_equal (vd_journal_run (&j, &err), -1);
  assert_err (&err, VD_MISMATCH, "/r", ELSE);
  assert_true (holds ("r", "something else"));
  assert_int_equal (access ("d", F_OK), 0);
  assert_int_not_equal (byte_of_w (512), 'n');
  assert_int_equal (unlink ("r"), 0);
  assert_int_equal (vd_journal_run (&j, &err), -1);
  assert_err (&err, VD_NOT_FOUND, "/r");
  end ();
}

/* One replacement of r by a journal of its own. */
static int
replace_once (bool back, struct vd_err *err)
{
  begin ();
  add ((struct vd_step) {
    .kind = VD_STEP_REPLACE, .path = full ("r"), .prev = true,
    .ino = ino_of ("r"), .dev = dev_of ("."),
    .old_data = copy (back ? NEW : OLD, SIZE), .old_len = SIZE,
    .new_data = copy (back ? OLD : NEW, SIZE), .new_len = SIZE,
  });
  return vd_journal_save (&j, err) == -1 ? -1 : vd_journal_run (&j, err);
}

/* Whoever looks, at any moment, sees one of the two, and the old mode. */
TEST (a_replaced_file_is_complete_at_every_moment)
{
  unsigned *seen = mmap (NULL, 2 * sizeof *seen, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0), i;
  struct vd_err err;
  struct stat st;
  int status;
  pid_t pid;

  assert_true (seen != MAP_FAILED);

  u_write_text ("r", OLD);
  assert_int_equal (chmod ("r", 0640), 0);
  pid = fork ();
  assert_true (pid >= 0);
  if (pid == 0) {
    /* Often, and until whoever looks has seen both, however busy it is here. */
    for (i = 0; i < 100 || i % 2 == 1 ||
           !__atomic_load_n (&seen[0], __ATOMIC_RELAXED) ||
           !__atomic_load_n (&seen[1], __ATOMIC_RELAXED); ++i)
      if (replace_once (i % 2, &err) == -1)
        _exit (1);
    _exit (0);
  }
  while (waitpid (pid, &status, WNOHANG) == 0) {
    const bool new = holds ("r", NEW);

    /* Between the two looks it may have become the other. */
    assert_true (new || holds ("r", OLD) || holds ("r", NEW));
    __atomic_add_fetch (&seen[new], 1, __ATOMIC_RELAXED);
  }
  assert_int_equal (status, 0);
  assert_int_equal (munmap (seen, 2 * sizeof *seen), 0);
  assert_int_equal (stat ("r", &st), 0);
  assert_int_equal (st.st_mode & 07777, 0640);
  assert_true (holds ("r", OLD) && holds ("r-prev", NEW));
  end ();
}

/* It came in an archive, or was copied with its directory. */
TEST (a_journal_that_was_not_made_here_is_refused)
{
  static const char former[]
    = "vmdkdelta-merge 1\nremove 61 1 2 3\nend 00000000\n";
  struct vd_err err;

  make ();
  assert_int_equal (system ("cp " JOURNAL " copy && mv copy " JOURNAL), 0);
  assert_int_equal (load (&err), -1);
  assert_err (&err, VD_DENIED, JOURNAL, "was not made here", "remove it");
  /* moved with its directory it is the same */
  make ();
  assert_int_equal (mkdir ("away", 0700), 0);
  assert_int_equal (rename (JOURNAL, "away/" JOURNAL), 0);
  assert_int_equal (rename ("away/" JOURNAL, JOURNAL), 0);
  assert_int_equal (load (&err), 1);
  assert_int_equal (unlink (JOURNAL), 0);
  put_text (former, strlen (former));
  assert_int_equal (load (&err), -1);
  assert_err (&err, VD_UNSUPPORTED, JOURNAL, "another version", "remove it");
  end ();
}

/* However it came there. */
TEST (only_disks_and_what_describes_them_are_touched)
{
  struct vd_err err;

  files ();
  assert_int_equal (system ("printf '#!/bin/sh' | dd of=w conv=notrunc "
                            "status=none"), 0);
  begin ();
  add_write ();
  assert_int_equal (vd_journal_save (&j, &err), 0);
  refused_kind ("/w");

  files ();
  u_write_text ("d", "a letter");
  begin ();
  add_remove ();
  assert_int_equal (vd_journal_save (&j, &err), 0);
  refused_kind ("/d");

  files ();
  begin ();
  add ((struct vd_step) {
    .kind = VD_STEP_RENAME, .path = full (".bash_profile"),
    .from = full ("m.tmp"), .ino = ino_of ("m.tmp"), .dev = dev_of ("."),
  });
  assert_int_equal (vd_journal_save (&j, &err), 0);
  refused_kind ("/.bash_profile");

  files ();
  u_write_text ("r", "alias ls=rm");
  begin ();
  add ((struct vd_step) {
    .kind = VD_STEP_REPLACE, .path = full ("r"), .ino = ino_of ("r"),
    .dev = dev_of ("."),
    .old_data = copy ("alias ls=rm", 11), .old_len = 11,
    .new_data = copy (NEW, SIZE), .new_len = SIZE,
  });
  assert_int_equal (vd_journal_save (&j, &err), 0);
  refused_kind ("/r");
  end ();
}

/* Another file of that name, of whatever content. */
TEST (a_file_that_was_replaced_is_not_touched)
{
  make ();
  assert_int_equal (system ("cp w w2 && mv w2 w"), 0);
  refused (VD_MISMATCH, "/w", ELSE);
  make ();
  assert_int_equal (system ("cp r r2 && mv r2 r"), 0);
  refused (VD_MISMATCH, "/r", ELSE);
  make ();
  assert_int_equal (system ("cp m.tmp m2 && mv m2 m.tmp"), 0);
  refused (VD_MISMATCH, "/m.vdi", ELSE);
  end ();
}

/* As if a copy of the file system, with its inodes and times, had been mounted
 * there: only the device is another one.
 */
TEST (a_file_on_another_file_system_is_not_touched)
{
  char text[8192] = "", steps[8192], *p;
  struct vd_err err;
  size_t n = 0;
  FILE *fp;

  make ();
  /* all steps are on the file system of the journal */
  fp = fopen (JOURNAL, "r");
  n = fread (text, 1, sizeof text - 1, fp);
  fclose (fp);
  text[n] = '\0';
  assert_null (strchr (text, '/'));
  /* the same with a file on one other */
  p = strstr (text, "\nremove ");
  assert_non_null (p);
  snprintf (steps, sizeof steps, "remove %.*s %" PRIu64 "/1%s",
            (int) strcspn (p + 8, " "), p + 8, (uint64_t) ino_of ("d"),
            strchr (strchr (p + 8, ' ') + 1, ' '));
  *strstr (steps, "end ") = '\0';
  put_steps (steps);
  refused (VD_MISMATCH, "/d", ELSE);

  /* a device that is not that of the file */
  files ();
  begin ();
  add_remove ();
  j.step[0].dev++;
  assert_int_equal (vd_journal_save (&j, &err), 0);
  assert_int_equal (vd_journal_run (&j, &err), -1);
  assert_err (&err, VD_MISMATCH, "/d", ELSE);
  refused (VD_MISMATCH, "/d", ELSE);
  assert_int_equal (j.step[0].fs, 1);
  end ();
}

TEST (a_number_of_a_file_system_has_one_device)
{
  struct vd_journal k = { .path = NULL };

  assert_true (vd_journal_is_on (&k, 0, 10));
  assert_true (vd_journal_is_on (&k, 2, 30));
  assert_true (vd_journal_is_on (&k, 2, 30));
  assert_false (vd_journal_is_on (&k, 2, 10));
  assert_false (vd_journal_is_on (&k, 1, 30));
  assert_false (vd_journal_is_on (&k, 0, 11));
  assert_true (vd_journal_is_on (&k, 1, 20));
  assert_false (vd_journal_is_on (&k, VD_JOURNAL_MAX_FS, 40));
}

TEST (names_that_became_links_are_not_followed)
{
  make ();
  assert_int_equal (rename ("w", "w2"), 0);
  assert_int_equal (symlink ("w2", "w"), 0);
  refused (VD_DENIED, "/w", "not a regular file");
  assert_int_equal (unlink ("w"), 0);
  make ();
  assert_int_equal (rename ("r", "r2"), 0);
  assert_int_equal (symlink ("r2", "r"), 0);
  refused (VD_DENIED, "/r", "not a regular file");
  assert_int_equal (unlink ("r"), 0);
  make ();
  assert_int_equal (rename ("d", "d2"), 0);
  assert_int_equal (symlink ("d2", "d"), 0);
  refused (VD_MISMATCH, "/d", ELSE);
  end ();
}

TEST (a_new_file_replaces_nothing)
{
  make ();
  u_write_text ("m.vdi", "somebody's");
  refused (VD_USAGE, "/m.vdi", "move it away");
  assert_true (holds ("m.vdi", "somebody's"));
  make ();
  assert_int_equal (unlink ("m.tmp"), 0);
  refused (VD_NOT_FOUND, "/m.tmp", "No such file");
  end ();
}

/* What stands in the way of a step leaves the journal, to run it again. */
TEST (a_step_that_cannot_be_done_can_be_done_later)
{
  struct vd_err err;

  unlink ("r-prev");
  make ();
  assert_int_equal (mkdir ("r-prev", 0700), 0);
  assert_int_equal (vd_journal_run (&j, &err), -1);
  assert_err (&err, VD_IO, "r-prev", "not complete, run it again");
  assert_true (holds ("r", OLD));
  assert_int_equal (access (JOURNAL, F_OK), 0);
  assert_int_equal (access ("d", F_OK), 0);
  assert_int_equal (rmdir ("r-prev"), 0);
  assert_int_equal (load (&err), 1);
  assert_int_equal (vd_journal_run (&j, &err), 0);
  assert_true (all_done ());
  end ();
}

/* What an earlier run left of them is in nobody's way. */
TEST (leftovers_of_an_earlier_run_do_no_harm)
{
  struct vd_err err;

  make ();
  u_write_text ("r-prev", "older");
  u_write_text ("r-prev.part", "half");
  u_write_text (JOURNAL ".0123abcd.part", "half");
  u_write_text ("r.456789ef.part", "half");
  u_write_text ("r.456789ef.partly", "not ours");
  u_write_text ("rr.456789ef.part", "not ours");
  assert_int_equal (symlink ("rr.456789ef.part", "r.00000000.part"), 0);
  assert_int_equal (vd_journal_run (&j, &err), 0);
  assert_true (all_done ());
  assert_true (holds ("r-prev", OLD));
  assert_int_equal (access ("r-prev.part", F_OK), -1);
  assert_int_equal (access (JOURNAL ".0123abcd.part", F_OK), -1);
  assert_int_equal (access ("r.456789ef.part", F_OK), -1);
  assert_int_equal (access ("r.456789ef.partly", F_OK), 0);
  assert_int_equal (access ("rr.456789ef.part", F_OK), 0);
  assert_int_equal (access ("r.00000000.part", F_OK), 0);
  end ();
}

TEST (only_regular_files_are_to_be_removed)
{
  struct vd_err err;

  begin ();
  assert_int_equal (mkdir ("sub", 0700), 0);
  assert_int_equal (vd_journal_add_removal (&j, VD_STEP_REMOVE, full ("sub"), &err), -1);
  assert_err (&err, VD_USAGE, "sub", "not a regular file", "--keep");
  assert_int_equal (symlink ("sub", "link"), 0);
  assert_int_equal (vd_journal_add_removal (&j, VD_STEP_REMOVE, full ("link"), &err), -1);
  assert_int_equal (vd_journal_add_removal (&j, VD_STEP_REMOVE, full ("gone"), &err), -1);
  assert_int_equal (j.n, 0);
  end ();
}

TEST (a_file_that_is_in_use_is_not_changed)
{
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  struct vd_err err;
  int fd;

  make ();
  fd = open ("w", O_RDWR);
  assert_int_equal (fcntl (fd, F_OFD_SETLK, &l), 0);
  assert_int_equal (vd_journal_check_unused (&j, &err), -1);
  assert_err (&err, VD_DENIED, "/w");
  close (fd);
  assert_int_equal (vd_journal_check_unused (&j, &err), 0);
  assert_int_equal (mkdir ("d.lck", 0700), 0);
  assert_int_equal (vd_journal_check_unused (&j, &err), -1);
  assert_err (&err, VD_DENIED, "d.lck");
  assert_int_equal (rmdir ("d.lck"), 0);
  assert_int_equal (unlink ("d"), 0);   /* gone already */
  assert_int_equal (vd_journal_check_unused (&j, &err), 0);
  end ();
}

TEST (a_journal_needs_its_directory)
{
  struct vd_err err;

  vd_journal_free (&j);
  assert_int_equal (vd_journal_init (&j, "gone/top.vmdk", &err), -1);
  assert_err (&err, VD_NOT_FOUND, "gone");
  vd_journal_free (&j);
  assert_int_equal (vd_journal_init (&j, "/top.vmdk", &err), 0);
  assert_text (j.path, ".top.vmdk.vmdkdelta-merge");
  end ();
  /* one that is there is not replaced by another */
  make ();
  assert_int_equal (vd_journal_save (&j, &err), -1);
  assert_err (&err, VD_USAGE, JOURNAL, "exists: another run is completing");
  assert_null (strstr (err.msg, "remove"));
  end ();
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (none_is_no_error),
    tmpdir_test (each_kind_of_step_is_read),
    tmpdir_test (a_field_that_makes_no_sense_refuses_the_journal),
    tmpdir_test (any_change_refuses_the_journal),
    tmpdir_test (a_journal_of_an_absurd_size_is_not_read),
    tmpdir_test (a_journal_of_somebody_else_is_refused),
    tmpdir_test (a_journal_leads_only_below_its_directory),
    tmpdir_test (from_a_folder_of_snapshots_it_leads_one_up),
    tmpdir_test (all_steps_are_done_and_can_be_done_again),
    tmpdir_test (half_done_it_is_completed),
    tmpdir_test (what_somebody_else_changed_is_not_touched),
    tmpdir_test (a_machine_file_that_was_saved_meanwhile_is_not_replaced),
    tmpdir_test (a_replaced_file_is_complete_at_every_moment),
    tmpdir_test (a_journal_that_was_not_made_here_is_refused),
    tmpdir_test (only_disks_and_what_describes_them_are_touched),
    tmpdir_test (a_file_that_was_replaced_is_not_touched),
    tmpdir_test (a_file_on_another_file_system_is_not_touched),
    cmocka_unit_test (a_number_of_a_file_system_has_one_device),
    tmpdir_test (names_that_became_links_are_not_followed),
    tmpdir_test (a_new_file_replaces_nothing),
    tmpdir_test (a_step_that_cannot_be_done_can_be_done_later),
    tmpdir_test (leftovers_of_an_earlier_run_do_no_harm),
    tmpdir_test (only_regular_files_are_to_be_removed),
    tmpdir_test (a_file_that_is_in_use_is_not_changed),
    tmpdir_test (a_journal_needs_its_directory),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
