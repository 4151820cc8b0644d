/* What a shell cannot measure.
 *
 *   measure run COMMAND...
 *     Runs it and prints its seconds and its peak resident memory in KiB.
 *
 *   measure open SOCKET SERVER...
 *     Starts a server that listens on SOCKET, connects as soon as it does,
 *     reads the first 4 KiB, and prints the seconds since the start and the
 *     peak resident memory of the server in KiB.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <libnbd.h>

static double
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static pid_t
spawn (char **argv)
{
  pid_t pid = fork ();

  if (pid == -1) {
    perror ("measure: fork");
    exit (EXIT_FAILURE);
  }
  if (pid == 0) {
    execvp (argv[0], argv);
    perror (argv[0]);
    _exit (127);
  }
  return pid;
}

static int
run (char **argv)
{
  double start = now ();
  struct rusage usage;
  int status;
  pid_t pid = spawn (argv);

  if (wait4 (pid, &status, 0, &usage) == -1) {
    perror ("measure: wait4");
    return EXIT_FAILURE;
  }
  printf ("%.6f %ld\n", now () - start, usage.ru_maxrss);
  return WIFEXITED (status) ? WEXITSTATUS (status) : EXIT_FAILURE;
}

static long
peak_of (pid_t pid)
{
  char name[64], line[256];
  long kib = 0;
  FILE *fp;

  snprintf (name, sizeof name, "/proc/%d/status", (int) pid);
  fp = fopen (name, "r");
  if (fp == NULL)
    return 0;
  while (fgets (line, sizeof line, fp))
    if (sscanf (line, "VmHWM: %ld", &kib) == 1)
      break;
  fclose (fp);
  return kib;
}

static int
open_to_first_byte (const char *socket, char **argv)
{
  static char buf[4096];
  double start = now (), end;
  pid_t pid = spawn (argv);
  struct nbd_handle *nbd = NULL;
  int status;

  for (;;) {
    nbd = nbd_create ();
    if (nbd == NULL) {
      fprintf (stderr, "measure: %s\n", nbd_get_error ());
      return EXIT_FAILURE;
    }
    if (access (socket, F_OK) == 0 && nbd_connect_unix (nbd, socket) == 0)
      break;
    nbd_close (nbd);
    if (waitpid (pid, &status, WNOHANG) == pid || now () - start > 60) {
      fprintf (stderr, "measure: the server did not listen\n");
      return EXIT_FAILURE;
    }
    usleep (200);
  }
  if (nbd_pread (nbd, buf, sizeof buf, 0, 0) == -1) {
    fprintf (stderr, "measure: %s\n", nbd_get_error ());
    kill (pid, SIGTERM);
    return EXIT_FAILURE;
  }
  end = now ();
  printf ("%.6f %ld\n", end - start, peak_of (pid));
  nbd_close (nbd);
  kill (pid, SIGTERM);
  waitpid (pid, &status, 0);
  return EXIT_SUCCESS;
}

int
main (int argc, char **argv)
{
  if (argc > 2 && strcmp (argv[1], "run") == 0)
    return run (argv + 2);
  if (argc > 3 && strcmp (argv[1], "open") == 0)
    return open_to_first_byte (argv[2], argv + 3);
  fprintf (stderr, "usage: measure run COMMAND... | open SOCKET SERVER...\n");
  return 2;
}
