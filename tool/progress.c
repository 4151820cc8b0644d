/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Progress on stderr; see progress.h. */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "progress.h"
#include "tool.h"

static volatile sig_atomic_t stopped;

/* PROGRESS_FD: the whole can have several parts. */
static struct {
  int fd, said;
  unsigned index, parts;
} percent = { .said = -1, .parts = 1 };

static void
on_signal (int sig)
{
  (void) sig;
  stopped = 1;
}

void
progress_catch_signals (void)
{
  struct sigaction sa = {
    .sa_handler = on_signal, .sa_flags = (int) SA_RESETHAND | SA_RESTART
  };

  sigaction (SIGINT, &sa, NULL);
  sigaction (SIGTERM, &sa, NULL);
}

bool
progress_stopped (void)
{
  return stopped;
}

double
seconds_since (const struct timespec *start)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (double) (now.tv_sec - start->tv_sec) +
    (double) (now.tv_nsec - start->tv_nsec) / 1e9;
}

int
option_progress (const struct verb *verb, const char *value,
                 enum progress_mode *mode)
{
  if (!value || strcmp (value, "bar") == 0)
    *mode = PROGRESS_BAR;
  else if (strcmp (value, "json") == 0)
    *mode = PROGRESS_JSON;
  else if (*value >= '0' && *value <= '9' && strlen (value) < 6 &&
           strspn (value, "0123456789") == strlen (value) &&
           fcntl (atoi (value), F_GETFD) != -1) {
    *mode = PROGRESS_FD;
    signal (SIGPIPE, SIG_IGN);
    percent.fd = atoi (value);
  }
  else
    return tool_usage (verb, "--progress=%s: allowed are json, bar, and the "
                       "number of an open file descriptor", value);
  return STATUS_OK;
}

void
progress_choose (enum progress_mode *mode, bool silent)
{
  if (*mode == PROGRESS_AUTO)
    *mode = !silent && isatty (STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_NONE;
}

void
progress_part (unsigned index, unsigned parts)
{
  percent.index = index;
  percent.parts = parts;
}

/* A reader that went away is no reason to stop. */
static void
show_percent (const struct progress *p, uint64_t done)
{
  const double part
    = p->total ? (double) done / (double) p->total : 1;
  const int n = (int) (100 * (percent.index + (part < 1 ? part : 1))
                       / percent.parts);

  if (n > percent.said && dprintf (percent.fd, "%d/100\n", n) > 0)
    percent.said = n;
}

void
progress_begin (struct progress *p, enum progress_mode mode, const char *what,
                uint64_t total)
{
  *p = (struct progress) { .mode = mode, .what = what, .total = total };
  clock_gettime (CLOCK_MONOTONIC, &p->start);
  p->last = p->start;
}

static void
show_bar (const struct progress *p, uint64_t done, double rate, double left)
{
  char a[HUMAN_SIZE_MAX], b[HUMAN_SIZE_MAX], c[HUMAN_SIZE_MAX];
  const double part = p->total ? (double) done / (double) p->total : 1;
  struct winsize ws = { .ws_col = 0 };
  int width = 30, filled;

  if (ioctl (STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
    width = ws.ws_col > 100 ? 40 : ws.ws_col > 80 ? 20 : 10;
  filled = (int) (part * width);
  fprintf (stderr, "\r%s %3d%% [%.*s%.*s] %s of %s, %s/s, %d:%02d left\033[K",
           p->what, (int) (part * 100), filled,
           "########################################", width - filled,
           "                                        ", short_size (a, done),
           short_size (b, p->total), short_size (c, (uint64_t) rate),
           (int) left / 60, (int) left % 60);
}

static void
show (struct progress *p, uint64_t done)
{
  const double t = seconds_since (&p->start);
  const double rate = t > 0 ? (double) done / t : 0;
  const double left
    = rate > 0 ? (double) (p->total - (done < p->total ? done : p->total))
    / rate : 0;

  p->shown = true;
  if (p->mode == PROGRESS_FD)
    show_percent (p, done);
  else if (p->mode == PROGRESS_BAR)
    show_bar (p, done, rate, left);
  else
    fprintf (stderr, "{\"progress\":\"%s\",\"done\":%" PRIu64 ",\"total\":%"
             PRIu64 ",\"seconds\":%.1f,\"bytes_per_second\":%.0f,"
             "\"seconds_left\":%.1f}\n", p->what, done, p->total, t, rate,
             left);
}

int
progress_update (void *vp, uint64_t done)
{
  struct progress *p = vp;

  if (p->mode != PROGRESS_NONE &&
      seconds_since (&p->last) >= (p->mode == PROGRESS_JSON ? 1 : 0.1)) {
    clock_gettime (CLOCK_MONOTONIC, &p->last);
    show (p, done);
  }
  return stopped;
}

void
progress_end (struct progress *p, uint64_t done)
{
  if (p->mode == PROGRESS_JSON || p->mode == PROGRESS_FD || p->shown)
    show (p, done);
  if (p->shown && p->mode == PROGRESS_BAR)
    fprintf (stderr, "\n");
}
