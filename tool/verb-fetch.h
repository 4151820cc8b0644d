/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The parts of "vmdkdelta fetch": what belongs to a disk or machine elsewhere, and
 * copies of it.
 */

#ifndef VERB_FETCH_H
#define VERB_FETCH_H

#include "progress.h"
#include "tool.h"

/* A file is copied to NAME.part, from its start to its end, and is called NAME when
 * it is whole.  After so many bytes what was written is flushed, so that a copy that
 * was interrupted, in whatever way, goes on at a multiple of that.
 */
#define FETCH_STRIDE (UINT64_C (64) << 20)

enum fetch_result {
  FETCH_WAITING,                /* not begun, or interrupted */
  FETCH_NEW,
  FETCH_RESUMED,
  FETCH_THERE,                  /* was copied before */
};

struct fetch_file {
  char *uri;
  const char *name;             /* below the directory; a part of path */
  char *path;                   /* of the copy */
  struct vd_file *file;

  enum fetch_result result;
  bool summed;                  /* SHA-256 is the same on both sides */
};

/* ---- What belongs to it (fetch-files.c) --------------------------------------- */

struct fetch_files {
  struct fetch_file *file;
  size_t n;
  uint64_t total;               /* bytes */
};

/* All files of a disk with its ancestors, or of a machine.  Fails when anything is
 * missing that is needed to read it.  Files keep their places relative to each
 * other.
 */
extern int fetch_find (struct fetch_files *f, const char *uri, const char *dir,
                       const struct vd_opts *opts, struct vd_err *err);
extern void fetch_free (struct fetch_files *f);

/* ---- Copies (fetch-copy.c) ------------------------------------------------------ */

#define FETCH_MAX_THREADS 16u

struct fetch_copy {
  struct fetch_files *files;
  unsigned threads;
  bool no_sums;
  const struct vd_opts *opts;
  struct progress *progress;
};

/* What is wrong with files that are there already; nothing is written. */
extern int fetch_check (const struct fetch_files *f, struct vd_err *err);

/* Copy all, several files at a time. */
extern int fetch_run (const struct fetch_copy *c, struct vd_err *err);

#endif /* VERB_FETCH_H */
