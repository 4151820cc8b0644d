/* What a shell cannot measure.
 *
 *   measure run COMMAND...
 *     Runs it and prints its seconds and its peak resident memory in KiB.
 *
 *   measure open SOCKET SERVER...
 *     Starts a server that listens on SOCKET, connects as soon as it does,
 *     reads the first 4 KiB, and prints the seconds since the start and the
 *     peak resident memory of the server in KiB.
 *
 *   measure write FROM TO < RANGES
 *     RANGES has lines of an offset and a length.  Copies these parts of FROM
 *     into TO with one pread and one pwrite each, then calls fsync, and prints
 *     the seconds: what such a change costs at least, without io_uring and
 *     the like.
 */

#include <fcntl.h>
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

static int
write_ranges (const char *from, const char *to)
{
  static char buf[1 << 20];
  struct range { uint64_t offset, length; } *ranges = NULL;
  size_t n = 0;
  uint64_t offset, length;
  int in = open (from, O_RDONLY), out = open (to, O_WRONLY);
  double start;

  if (in == -1 || out == -1) {
    perror ("measure: open");
    return EXIT_FAILURE;
  }
  while (scanf ("%" SCNu64 "%" SCNu64, &offset, &length) == 2) {
    if (n % 65536 == 0)
      ranges = realloc (ranges, (n + 65536) * sizeof *ranges);
    if (ranges == NULL)
      return EXIT_FAILURE;
    ranges[n++] = (struct range) { offset, length };
  }
  start = now ();
  for (size_t i = 0; i < n; i++)
    for (uint64_t done = 0; done < ranges[i].length; ) {
      size_t want = ranges[i].length - done < sizeof buf
        ? (size_t) (ranges[i].length - done) : sizeof buf;
      off_t at = (off_t) (ranges[i].offset + done);

      if (pread (in, buf, want, at) != (ssize_t) want ||
          pwrite (out, buf, want, at) != (ssize_t) want) {
        perror ("measure: copy");
        return EXIT_FAILURE;
      }
      done += want;
    }
  if (fsync (out) == -1) {
    perror ("measure: fsync");
    return EXIT_FAILURE;
  }
  printf ("%.6f\n", now () - start);
  free (ranges);
  close (in);
  close (out);
  return EXIT_SUCCESS;
}

int
main (int argc, char **argv)
{
  if (argc > 2 && strcmp (argv[1], "run") == 0)
    return run (argv + 2);
  if (argc > 3 && strcmp (argv[1], "open") == 0)
    return open_to_first_byte (argv[2], argv + 3);
  if (argc == 4 && strcmp (argv[1], "write") == 0)
    return write_ranges (argv[2], argv[3]);
  fprintf (stderr, "usage: measure run COMMAND... | open SOCKET SERVER... |"
           " write FROM TO\n");
  return 2;
}
