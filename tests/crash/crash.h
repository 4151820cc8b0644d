/* What a power cut leaves.
 *
 * The linker puts the functions of record.c between the library and the
 * system (--wrap).  A scenario is a piece of work on the files of a directory;
 * it is done once, and everything that it does to files and names is recorded.
 * Then states are built in which the power can have failed: after any number
 * of these steps, with all that was flushed by then, and any subset of the
 * rest:
 *
 *   - a write, a zeroing: each sector (512 bytes) of it for itself;
 *   - a change of size;
 *   - a name that is made, removed, changed: until its directory is flushed,
 *     whatever is flushed of the file.  A rename is one step.
 *
 * Each state is put on disk (files keep their inode numbers), looked at, and
 * the work is done once more, and must end right.  In some of them the power
 * fails again meanwhile.
 */

#ifndef CRASH_H
#define CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "trial.h"
#include "vmdkdelta.h"

#define CR_INODES 64
#define CR_NAMES 64
#define CR_PATH 256
#define CR_DIR (-1)             /* in place of an inode: a directory */

/* Files and names, as they are on a disk without power. */
struct cr_fs {
  struct {
    uint8_t *data;
    size_t size;
    uint64_t hash;              /* of both, not 0 */
    bool borrowed;              /* of the files that these were made from */
  } inode[CR_INODES];
  struct { char path[CR_PATH]; int inode; } name[CR_NAMES];
  size_t n_names;
};

enum cr_kind {
  CR_WRITE,                     /* bytes of an inode; data NULL: zeros */
  CR_CUT,                       /* its size is now n */
  CR_FLUSH,                     /* of an inode */
  CR_BIND,                      /* path is now this inode */
  CR_UNBIND,                    /* path is gone */
  CR_MOVE,                      /* the same for from, and path is it */
  CR_FLUSH_DIR,                 /* path */
};

struct cr_op {
  enum cr_kind kind;
  int inode;
  uint64_t offset;
  size_t n;
  uint8_t *data;
  char *path, *from;
};

struct cr_log {
  struct cr_op *op;
  size_t n;
};

/* ---- record.c ---- */

/* What lies below `root` is recorded; `vault` is a directory beside it, which
 * keeps every inode that ever was.
 */
void cr_watch (const char *root, const char *vault);
/* Take what is there into fs. */
void cr_adopt (struct cr_fs *fs);
void cr_begin (struct cr_log *log);
void cr_end (void);
void cr_log_free (struct cr_log *log);
/* Inodes that exist; forget those from n on. */
size_t cr_inodes (void);
void cr_forget (size_t n);
/* Make the directory be what fs says. */
void cr_restore (const struct cr_fs *fs);
/* The hash of a file that was not written to since then; 0: look yourself. */
uint64_t cr_known (const char *path);

/* ---- states.c ---- */

/* The power fails after `cut` steps of the log; of what is not flushed each
 * piece is there with this probability.  What no step has changed is borrowed.
 */
void cr_power_off (const struct cr_fs *from, const struct cr_log *log,
                   size_t cut, unsigned permille, struct mk_rng *rng,
                   struct cr_fs *to);
uint64_t cr_hash_bytes (const uint8_t *data, size_t size);
uint64_t cr_hash (const struct cr_fs *fs);
void cr_fs_free (struct cr_fs *fs);

/* ---- scenarios.c, merges.c, writes.c ---- */

struct cr_scenario {
  const char *name;
  /* Make files below dir, and say where (root); false: this seed gives
   * nothing.
   */
  bool (*prepare) (uint64_t seed, const char *dir);
  /* The work, for the first time and once more. */
  int (*run) (struct vd_err *err);
  /* A state: is it old, new, or an honest error?  Prints what is wrong. */
  bool (*state) (void);
  /* The work was done: is all right? */
  bool (*right) (void);
};

extern const struct cr_scenario cr_scenarios[];
extern const struct cr_scenario cr_merge, cr_machine, cr_write;

/* What they share. */
extern struct tr_case *cr_case;
extern char cr_newest[CR_PATH];
extern uint64_t cr_errors;      /* honest ones, that were met */

bool cr_draw (uint64_t seed, const char *dir);
void cr_path (char path[CR_PATH], const char *name);
bool cr_exists (const char *path);
bool cr_same_file (const char *path, const uint8_t *want, size_t size);

enum cr_answer { CR_ERROR, CR_RIGHT, CR_WRONG };
/* Read the disk `path` with all that is below it. */
enum cr_answer cr_ask (const char *path, const struct vd_opts *opts,
                       const uint8_t *want, uint64_t size,
                       struct vd_err *err);

#endif /* CRASH_H */
