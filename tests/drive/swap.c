/* Run a command, and put something else in the place of a name right before
 * its Nth system call that takes a path, as somebody who can write to the
 * directory could:
 *
 *   swap N KIND NAME OUTSIDE COMMAND...
 *
 * NAME may be a pattern (glob) of one name that nobody can know, that of a
 * temporary file.  It is moved to NAME.was, and then is, by KIND: "symlink" to OUTSIDE, "link"
 * (a hard link) of it, "copy" of it, or "dir", an empty directory.  A name that
 * is not there at that moment, or is a directory with "link" or "copy", is left
 * alone.
 *
 * The exit status is that of the command; 98 if nothing was swapped, because
 * there were fewer calls or the name was not there; 99 for trouble of our own.
 */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *kind, *name, *outside;
static bool swapped;

static void __attribute__ ((__noreturn__))
die (const char *what)
{
  perror (what);
  exit (99);
}

static const long calls[] = {
#ifdef SYS_open
  SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_rename, SYS_link, SYS_unlink,
  SYS_mkdir, SYS_rmdir, SYS_readlink, SYS_chmod, SYS_chown,
#endif
  SYS_openat, SYS_openat2, SYS_newfstatat, SYS_statx, SYS_faccessat,
  SYS_faccessat2, SYS_renameat, SYS_renameat2, SYS_linkat, SYS_unlinkat,
  SYS_mkdirat, SYS_readlinkat, SYS_fchmodat, SYS_fchownat,
};
#define NR_CALLS (sizeof calls / sizeof calls[0])

/* Stop at the calls that take a path, and at no others: a stop takes longer
 * than most calls.
 */
static void
stop_at_paths (void)
{
  struct sock_filter code[NR_CALLS + 3];
  struct sock_fprog prog = { .len = NR_CALLS + 3, .filter = code };
  size_t n = 0;

  code[n++] = (struct sock_filter) BPF_STMT (BPF_LD | BPF_W | BPF_ABS,
                                             offsetof (struct seccomp_data,
                                                       nr));
  for (size_t i = 0; i < NR_CALLS; i++)
    code[n++] = (struct sock_filter) BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K,
                                               (unsigned) calls[i],
                                               (unsigned char) (NR_CALLS - i),
                                               0);
  code[n++] = (struct sock_filter) BPF_STMT (BPF_RET | BPF_K,
                                             SECCOMP_RET_ALLOW);
  code[n++] = (struct sock_filter) BPF_STMT (BPF_RET | BPF_K,
                                             SECCOMP_RET_TRACE);
  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
      prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == -1)
    die ("seccomp");
}

static void
copy_file (const char *from, const char *to)
{
  const int in = open (from, O_RDONLY | O_CLOEXEC);
  const int out = open (to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  char buf[65536];
  ssize_t n;

  if (in == -1 || out == -1)
    die (to);
  while ((n = read (in, buf, sizeof buf)) > 0)
    if (write (out, buf, (size_t) n) != n)
      die (to);
  close (in);
  if (close (out) == -1)
    die (to);
}

static void
swap (void)
{
  char *was = NULL;
  glob_t found;
  struct stat st;

  if (glob (name, GLOB_NOSORT, NULL, &found) == 0)
    name = found.gl_pathv[0];
  if (lstat (name, &st) == -1 ||
      (S_ISDIR (st.st_mode) && strcmp (kind, "symlink") != 0 &&
       strcmp (kind, "dir") != 0))
    return;
  if (asprintf (&was, "%s.was", name) == -1 || rename (name, was) == -1)
    die (name);
  free (was);
  if (strcmp (kind, "symlink") == 0) {
    if (symlink (outside, name) == -1)
      die (name);
  }
  else if (strcmp (kind, "link") == 0) {
    if (link (outside, name) == -1)
      die (name);
  }
  else if (strcmp (kind, "copy") == 0)
    copy_file (outside, name);
  else if (mkdir (name, 0755) == -1)
    die (name);
  swapped = true;
}

/* Calls count from the moment when the file $SWAP_AFTER is there. */
static bool
begun (void)
{
  static bool is;
  const char *after = getenv ("SWAP_AFTER");

  is = is || !after || access (after, F_OK) == 0;
  return is;
}

static void
start (char **argv)
{
  if (ptrace (PTRACE_TRACEME, 0, 0, 0) == -1 || raise (SIGSTOP) != 0)
    die ("ptrace");
  stop_at_paths ();
  execvp (argv[0], argv);
  die (argv[0]);
}

int
main (int argc, char **argv)
{
  unsigned long left;
  int status, result = 99;
  pid_t child;

  if (argc < 6)
    die ("usage");
  left = strtoul (argv[1], NULL, 10);
  kind = argv[2];
  name = argv[3];
  outside = argv[4];
  child = fork ();
  if (child == -1)
    die ("fork");
  if (child == 0)
    start (argv + 5);
  if (waitpid (child, &status, 0) == -1 || !WIFSTOPPED (status) ||
      ptrace (PTRACE_SETOPTIONS, child, 0,
              PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE |
              PTRACE_O_EXITKILL) == -1 ||
      ptrace (PTRACE_CONT, child, 0, 0) == -1)
    die ("ptrace");
  for (;;) {
    const pid_t pid = waitpid (-1, &status, __WALL);
    int sig = 0;

    if (pid == -1)
      break;
    if (!WIFSTOPPED (status)) {
      if (pid == child)
        result = WIFEXITED (status) ? WEXITSTATUS (status)
          : 128 + WTERMSIG (status);
      continue;
    }
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
      if (begun () && left > 0 && --left == 0) {
        swap ();
        if (!swapped && strcmp (kind, "count") != 0)
          exit (98);            /* by which the command is killed */
      }
    }
    else if (WSTOPSIG (status) != SIGTRAP && WSTOPSIG (status) != SIGSTOP)
      sig = WSTOPSIG (status);
    ptrace (PTRACE_CONT, pid, 0, sig);
  }
  if (left > 0 && strcmp (kind, "count") == 0)
    printf ("%lu\n", strtoul (argv[1], NULL, 10) - left);
  return swapped || strcmp (kind, "count") == 0 ? result : 98;
}
