/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: what runs in the child; see guest.h.
 *
 * Everything here may crash, run out of memory or never end without harm.
 */

#ifndef VD_GUEST_PARTS_H
#define VD_GUEST_PARTS_H

#include "base/bytes.h"
#include "guest/guest.h"

/* ---- The way to the parent (guest-child.c) ------------------------------- */

/* From the child: a header, and `length` bytes of text. */
enum vd_guest_word {
  VD_GUEST_READ = 1,            /* b bytes at a, please: answered by bytes */
  VD_GUEST_PART,                /* a: start, b: length, n: number */
  VD_GUEST_FREE,                /* a: start, b: end; of the last part */
  VD_GUEST_STATE,               /* n: state; text: kind, NUL, why */
  VD_GUEST_DONE,
};

struct vd_guest_msg {
  uint32_t word, n, length, unused;
  uint64_t a, b;
};

#define VD_GUEST_TEXT_MAX 320u
#define VD_GUEST_READ_MAX (1u << 16)

/* Partitions of a disk: GPT has 128. */
#define VD_GUEST_MAX_PARTS 256u

struct vd_child;

/* Be the child: never returns. */
extern void vd_child_run (int fd, uint64_t size, bool swap)
  __attribute__ ((__noreturn__));

/* Read bytes of the disk.  Past its end: -1.  Where the parent cannot read the
 * child ends at once: there is nobody to tell.
 */
extern int vd_child_read (struct vd_child *c, void *buf, size_t n,
                          uint64_t offset);

/* This is free, bytes of the disk; in order. */
extern void vd_child_free (struct vd_child *c, uint64_t start, uint64_t end);

/* ---- The partition table (guest-table.c) --------------------------------- */

struct vd_guest_entry {
  unsigned number;
  uint64_t start, length;
  const char *member;           /* of something larger ("LVM"), or NULL */
};

enum vd_guest_table {
  VD_GUEST_NO_TABLE,
  VD_GUEST_TABLE,
  VD_GUEST_BAD_TABLE,           /* why says it */
};

/* Partitions in the order of the disk, which do not overlap. */
extern enum vd_guest_table vd_guest_read_table (
  struct vd_child *c, uint64_t size,
  struct vd_guest_entry entry[VD_GUEST_MAX_PARTS], size_t *n,
  const char **why);

/* ---- What is in a partition ---------------------------------------------- */

struct vd_guest_part_in {
  struct vd_child *c;
  uint64_t start, length;
  bool swap;                    /* swap space is asked for */

  /* The answer. */
  enum vd_guest_state state;
  char kind[24];
  char why[256];
};

/* Set the answer. */
extern void vd_guest_say (struct vd_guest_part_in *p,
                          enum vd_guest_state state, const char *fs, ...)
  VD_PRINTF (3, 4);

/* Read bytes of the partition, as vd_child_read. */
static inline int
vd_guest_read (struct vd_guest_part_in *p, void *buf, size_t n,
               uint64_t offset)
{
  if (offset > p->length || n > p->length - offset)
    return -1;
  return vd_child_read (p->c, buf, n, p->start + offset);
}

/* Find out what it is, and let who knows it say what is free (guest-kind.c). */
extern void vd_guest_look (struct vd_guest_part_in *p);

/* ... just the first step; NULL where nothing is known.  More than one
 * signature: *second is set.
 */
extern const char *vd_guest_kind (struct vd_guest_part_in *p,
                                  const char **second);

extern void vd_guest_ext (struct vd_guest_part_in *p);
extern void vd_guest_ntfs (struct vd_guest_part_in *p);
extern void vd_guest_swap (struct vd_guest_part_in *p);

#endif /* VD_GUEST_PARTS_H */
