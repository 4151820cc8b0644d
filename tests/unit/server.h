/* A server that is not there: what a filter or a plugin sees of nbdkit, for
 * tests that drive its callbacks.
 *
 * The layer below a filter asserts what nbdkit asserts; each of these ends
 * the server with all its clients: a request outside of the size that was
 * asked for, block status that was not asked for before, and so on.
 */

#ifndef SERVER_H
#define SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nbdkit-filter.h>

/* ---- What it was told --------------------------------------------------- */

extern char s_error[4096];      /* the last nbdkit_error */
extern unsigned s_errors;
/* From so many calls on, functions that allocate fail with ENOMEM; 0: none. */
extern unsigned s_fail_from;
extern bool s_failed;           /* it came to that */
extern bool s_no_memory (void);

/* The errors that a layer can give; 0 ends it.  Some of them do not survive
 * the way to a client.
 */
extern const int s_errnos[];
/* Does a client get to know it? */
extern bool s_survives (int errnum);

/* ---- The layer below a filter ------------------------------------------- */

enum s_map {
  S_ALL,                        /* all that was asked for, in granules */
  S_FIRST,                      /* only the first granule */
  S_BEFORE_AND_AFTER,           /* more than was asked for, on both sides */
  S_EMPTY,                      /* success, but not one extent */
};

struct s_base {
  nbdkit_next next;             /* first */
  uint8_t *data;
  uint64_t room;                /* of data */
  int64_t size;                 /* -1: fails, and so do the others */
  int can_extents, can_multi_conn, is_rotational, block_size;
  uint32_t block[3];
  enum s_map map;
  uint64_t granule;             /* holes are made of such */
  /* Reads that touch [bad, bad_end) fail with this; so does block status
   * there.  -1: without saying why.
   */
  uint64_t bad, bad_end;
  int pread_errno, extents_errno;

  /* What was asked. */
  bool asked_size, asked_extents;
  unsigned nr_preads, nr_extents;
};

/* All works, and the data is the first `size` bytes of `data`. */
extern void s_base_init (struct s_base *b, uint8_t *data, uint64_t room,
                         int64_t size);
/* As for a new connection. */
extern void s_base_forget (struct s_base *b);

/* ---- Answers of the one that is tested ---------------------------------- */

/* A list of extents for [offset, offset+count): not empty, from its begin on,
 * and what it calls zero is zero in disk.
 */
extern void s_check_extents (const struct nbdkit_extents *list,
                             uint64_t offset, uint32_t count,
                             const uint8_t *disk);
/* Lawful for every client. */
extern void s_check_block_size (uint32_t minimum, uint32_t preferred,
                                uint32_t maximum);

#endif /* SERVER_H */
