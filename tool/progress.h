/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* How far a long work is: a bar for people, lines of JSON for programs. */

#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct verb;

enum progress_mode {
  PROGRESS_AUTO,                /* nothing was asked for */
  PROGRESS_NONE,
  PROGRESS_BAR,
  PROGRESS_JSON,
  PROGRESS_FD,                  /* "N/100" on a descriptor, as nbdcopy has it */
};

struct progress {
  enum progress_mode mode;
  const char *what;             /* "applying" */
  uint64_t total;               /* bytes */
  struct timespec start, last;
  bool shown;
};

/* The value of a verb's --progress: "json", "bar" or NULL (a bar), or the number
 * of a descriptor.  Returns
 * STATUS_OK, or STATUS_USAGE after a message.
 */
extern int option_progress (const struct verb *verb, const char *value,
                            enum progress_mode *mode);

/* If nothing was asked for: a bar, if stderr is a terminal and not silent. */
extern void progress_choose (enum progress_mode *mode, bool silent);

/* For PROGRESS_FD: what begins next is part `index` of so many of the whole. */
extern void progress_part (unsigned index, unsigned parts);

extern void progress_begin (struct progress *p, enum progress_mode mode,
                            const char *what, uint64_t total);

/* A vd_progress_fn.  Prints to stderr, once a second for JSON, ten times for
 * a bar.  Returns 1 after SIGINT or SIGTERM, so that the work stops.
 */
extern int progress_update (void *progress, uint64_t done);

/* The last line. */
extern void progress_end (struct progress *p, uint64_t done);

/* Catch SIGINT and SIGTERM from now on; a second one kills. */
extern void progress_catch_signals (void);
extern bool progress_stopped (void);

/* Seconds since. */
extern double seconds_since (const struct timespec *start);

#endif /* PROGRESS_H */
