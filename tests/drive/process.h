/* Processes that a driver starts, and its directories: header only, as each driver is one file.
 *
 * nbdkit gets its listening socket by socket activation, so nobody has to wait
 * until it is ready: a connection waits in the socket's queue.
 */

#ifndef DRIVE_PROCESS_H
#define DRIVE_PROCESS_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void
die (const char *what)
{
  fprintf (stderr, "%s: %s: %s\n", program_invocation_short_name, what,
           strerror (errno));
  exit (2);
}

/* A socket that listens at PATH. */
static inline int
listen_at (const char *path)
{
  struct sockaddr_un addr = { .sun_family = AF_UNIX };
  int fd;

  if (strlen (path) >= sizeof addr.sun_path) {
    errno = ENAMETOOLONG;
    die (path);
  }
  memcpy (addr.sun_path, path, strlen (path) + 1);
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd == -1 || bind (fd, (struct sockaddr *) &addr, sizeof addr) == -1 ||
      listen (fd, 16) == -1)
    die (path);
  return fd;
}

/* Start a program; its output goes to the file LOG.  LISTEN_FD >= 0: it is an
 * nbdkit, and gets that socket and $NBDKIT_PRELOAD.
 */
static inline pid_t
spawn (const char *log, int listen_fd, char *const *argv)
{
  const char *preload = getenv ("NBDKIT_PRELOAD");
  char pid[32];
  pid_t child = fork ();
  int fd;

  if (child == -1)
    die ("fork");
  if (child > 0)
    return child;

  fd = open (log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd == -1 || dup2 (fd, 1) == -1 || dup2 (fd, 2) == -1)
    _exit (126);
  if (listen_fd >= 0) {
    if (listen_fd == 3 ? fcntl (3, F_SETFD, 0) == -1
                       : dup2 (listen_fd, 3) == -1)
      _exit (126);
    snprintf (pid, sizeof pid, "%ld", (long) getpid ());
    setenv ("LISTEN_PID", pid, 1);
    setenv ("LISTEN_FDS", "1", 1);
    if (preload && *preload)
      setenv ("LD_PRELOAD", preload, 1);
  }
  execvp (argv[0], argv);
  _exit (127);
}

/* Wait until an nbdkit has done with all its connections: a thread serves each,
 * and what belongs to one is not freed if the server is stopped before.
 */
static inline void
wait_idle (pid_t nbdkit)
{
  char path[64];
  struct stat st;

  snprintf (path, sizeof path, "/proc/%ld/task", (long) nbdkit);
  for (int i = 0; i < 5000; i++) {
    if (stat (path, &st) == -1 || st.st_nlink <= 3)     /* ".", "..", one */
      return;
    usleep (1000);
  }
}

/* Wait for the end of a program.  0, or -1 after printing what became of it,
 * and its output.
 */
static inline int
finish (pid_t pid, const char *name, const char *log)
{
  char line[512];
  int status;
  FILE *fp;

  if (waitpid (pid, &status, 0) == -1)
    die ("waitpid");
  if (status == 0)
    return 0;
  printf ("%s ended with %s %d\n", name,
          WIFSIGNALED (status) ? "signal" : "status",
          WIFSIGNALED (status) ? WTERMSIG (status) : WEXITSTATUS (status));
  fp = fopen (log, "r");
  while (fp && fgets (line, sizeof line, fp))
    printf ("  | %s", line);
  if (fp)
    fclose (fp);
  return -1;
}

static inline int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *ftw)
{
  (void) st;
  (void) type;
  (void) ftw;
  return remove (path);
}

static inline void
remove_tree (const char *dir)
{
  if (nftw (dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == -1)
    die (dir);
}

#endif /* DRIVE_PROCESS_H */
