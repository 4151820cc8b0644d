/* Every n-th call fails in turn.
 *
 * The linker puts the functions of inject.c between the library and the
 * system (--wrap).  A scenario is a piece of work on files; it is run with
 * the first call of a kind failing, then the second, and so on until none is
 * left to fail.  Each time it has to end with its right result or with a
 * clean error, without a leak, and what it wrote to must be as before or
 * complete after the same work is done once more.
 */

#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "trial.h"
#include "vmdkdelta.h"

enum fault {
  FAULT_MEMORY = 0,             /* malloc and friends, pthread_create */
  FAULT_READ,                   /* EIO */
  FAULT_WRITE,                  /* EIO: writing, zeroing, cutting */
  FAULT_FLUSH,                  /* EIO */
  FAULT_FILES,                  /* EIO: open, stat, rename, link, ... */
  FAULT_SPACE,                  /* ENOSPC, from the n-th write on */
  FAULT_EINTR,                  /* of reads, writes: must not matter */
  FAULT_SHORT,                  /* half of what was asked: the same */
  FAULTS,
};
extern const char *const fault_name[FAULTS];

/* The n-th call (from 1) of the kind fails, until fault_end, which tells
 * whether it came to that.
 */
void fault_begin (enum fault fault, uint64_t n);
bool fault_end (void);

/* Bytes of the heap in use, or 0 if that is not known. */
uint64_t fault_heap (void);
unsigned fault_descriptors (void);

struct scenario {
  const char *name;
  bool writes;                  /* prepare anew for each run */
  /* Make what run needs; false: this seed gives nothing. */
  bool (*prepare) (uint64_t seed, const char *dir);
  /* The work; -1 with err. */
  int (*run) (struct vd_err *err);
  /* After run: is everything as it has to be?  failed: run has.  Prints what
   * is wrong.
   */
  bool (*check) (bool failed);
  void (*finish) (void);
};

extern const struct scenario scenarios[];

/* What they share. */
extern struct tr_case *fl_case;
bool fl_draw (uint64_t seed, const char *dir);
void fl_finish (void);
void fl_path (char path[160], const char *name);
/* The files that are only read are as they were made. */
bool fl_untouched (void);
/* Once more, and now nothing fails. */
bool fl_again (int (*run) (struct vd_err *err));

/* ---- tool.c: the command itself, in a process of its own ---- */
bool tool_prepare (uint64_t seed, const char *dir);
int tool_run (struct vd_err *err);
bool tool_check (bool failed);

/* Read the disk `path`, or that of the case, and compare.  Prints. */
bool same_disk (const char *path, const uint8_t *want, uint64_t size);

#endif /* FAULTS_H */
