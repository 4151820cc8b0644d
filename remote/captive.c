/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A server of our own; see captive.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "captive.h"

/* In the child of a process with threads: nothing but system calls. */
static void __attribute__ ((__noreturn__))
become (char *const *argv, int socket, int messages, pid_t parent)
{
  static const char missing[] = "error: cannot be run: is it installed?\n";
  const struct timespec moment = { .tv_nsec = 1000000 };
  sigset_t none;

  /* With --single nbdkit ends with its parent, whatever it is asked. */
  while (getppid () == parent)
    nanosleep (&moment, NULL);

  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  signal (SIGPIPE, SIG_DFL);
  /* The descriptors may be 0, 1 or 2 already, in any order. */
  socket = fcntl (socket, F_DUPFD, 3);
  messages = fcntl (messages, F_DUPFD, 3);
  if (socket >= 0 && messages >= 0 && dup2 (socket, STDIN_FILENO) >= 0 &&
      dup2 (socket, STDOUT_FILENO) >= 0 && dup2 (messages, STDERR_FILENO) >= 0) {
    close (socket);
    close (messages);
    execvp (argv[0], argv);
  }
  if (write (STDERR_FILENO, argv[0], strlen (argv[0])) >= 0 &&
      write (STDERR_FILENO, ": ", 2) >= 0 &&
      write (STDERR_FILENO, missing, sizeof missing - 1) >= 0)
    _exit (127);
  _exit (126);
}

/* The server is a grandchild, so that nobody has to wait for its end. */
static int
spawn (char *const *argv, int socket, int messages, struct vd_err *err)
{
  const pid_t pid = fork ();
  pid_t child;
  int status;

  if (pid == -1)
    return vd_fail_errno (err, errno, "%s: cannot be started", argv[0]);
  if (pid == 0) {
    setsid ();
    child = getpid ();
    switch (fork ()) {
    case -1: _exit (1);
    case 0: become (argv, socket, messages, child);
    default: _exit (0);
    }
  }
  while (waitpid (pid, &status, 0) == -1)
    /* Somebody in this process takes all children: it is started then. */
    if (errno != EINTR)
      return 0;
  return WIFEXITED (status) && WEXITSTATUS (status) == 0 ? 0
    : vd_fail (err, VD_IO, "%s: cannot be started", argv[0]);
}

int
captive_start (struct captive *c, char *const *argv, struct vd_err *err)
{
  int s[2] = { -1, -1 }, m[2] = { -1, -1 };
  int r = -1;

  *c = (struct captive) { .socket = -1, .messages = -1 };
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == -1 ||
      pipe2 (m, O_CLOEXEC | O_NONBLOCK) == -1)
    vd_fail_errno (err, errno, "%s: cannot be started", argv[0]);
  else
    r = spawn (argv, s[1], m[1], err);
  if (s[1] >= 0)
    close (s[1]);
  if (m[1] >= 0)
    close (m[1]);
  c->socket = s[0];
  c->messages = m[0];
  if (r == -1)
    captive_end (c);
  return r;
}

/* The text behind the last "error: ", of one line. */
static void
find_error (char *buf, char text[CAPTIVE_MESSAGE])
{
  char *line, *save = NULL, *e;

  for (line = strtok_r (buf, "\n", &save); line;
       line = strtok_r (NULL, "\n", &save)) {
    e = strstr (line, "error: ");
    if (e)
      snprintf (text, CAPTIVE_MESSAGE, "%s", e + 7);
  }
}

void
captive_message (const struct captive *c, char text[CAPTIVE_MESSAGE])
{
  char buf[8192];
  ssize_t n;

  text[0] = '\0';
  while (c->messages >= 0 &&
         (n = read (c->messages, buf, sizeof buf - 1)) > 0) {
    buf[n] = '\0';
    find_error (buf, text);
  }
}

void
captive_end (struct captive *c)
{
  if (c->socket >= 0)
    close (c->socket);
  if (c->messages >= 0)
    close (c->messages);
  *c = (struct captive) { .socket = -1, .messages = -1 };
}
