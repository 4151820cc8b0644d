/* Chains drawn by chance: a raw base and one to four deltas over it.
 *
 *   struct mk_case *c = mk_random_case (seed);
 *   if (mk_case_write (c, dir) == -1) ...
 *   mk_model_read (&c->model, ...)
 *   mk_case_free (c);
 *
 * Drawing alone touches no file.  In the directory come to be
 *
 *   base.raw        the base
 *   base.vmdk       a descriptor for it (QEMU wants a VMDK below a VMDK)
 *   delta-K.vmdk    K = 1, 2, ...: descriptor, monolithic or bare extent
 *   delta-K-*.vmdk  extents, for descriptors
 *   qemu-K.vmdk     the same link in a form that QEMU reads, where
 *                   delta-K.vmdk does not have it (see qemu_name)
 */

#ifndef MK_CASE_H
#define MK_CASE_H

#include "maker.h"
#include "model.h"

#define MK_MAX_DELTAS 4
#define MK_MAX_PIECES 4
#define MK_NAME 48

enum mk_form { MK_FORM_DESCRIPTOR = 0, MK_FORM_EMBEDDED, MK_FORM_BARE };

struct mk_case_piece {
  char name[MK_NAME];
  const char *access, *type;    /* words of the extent line */
  uint64_t start, length;       /* bytes */
  int64_t flat_offset;          /* sectors; -1: no such field */
  bool fit;                     /* drawn with a grain that divides it */
  struct mk_spec spec;          /* unless it is FLAT or ZERO */
  struct mk_pattern pattern;
  struct mk_list list;
};

struct mk_case_link {
  char name[MK_NAME];           /* delta-K.vmdk */
  char qemu_name[MK_NAME];      /* what QEMU is to be given */
  enum mk_form form;
  const char *create_type;
  unsigned version, style;      /* of the descriptor */
  uint32_t cid;
  struct mk_content content;
  size_t n;
  struct mk_case_piece piece[MK_MAX_PIECES];
  struct mk_piece model[MK_MAX_PIECES];
  const char *qemu_why;         /* NULL, or why QEMU cannot read it */
};

struct mk_case {
  uint64_t seed;
  uint64_t capacity;            /* bytes, of all deltas */
  uint64_t base_size;           /* bytes, may be less, more, odd */
  uint32_t base_cid;
  struct mk_content base;
  size_t n;
  struct mk_case_link link[MK_MAX_DELTAS];      /* oldest first */
  bool unclean;                 /* some extent is marked so */
  bool qemu_ok;                 /* QEMU reads the chain as the model does */
  const char *qemu_why;         /* if not, why: one word */
  struct mk_model model;
  struct mk_layer layer[MK_MAX_DELTAS];
};

struct mk_case *mk_random_case (uint64_t seed);
int mk_case_write (const struct mk_case *c, const char *dir);
void mk_case_free (struct mk_case *c);

/* Decides what QEMU is given (called by mk_random_case). */
void mk_case_for_qemu (struct mk_case *c);

#endif /* MK_CASE_H */
