/* What block status must say of a case: header only, as each driver is one
 * file.
 */

#ifndef DRIVE_STATUS_H
#define DRIVE_STATUS_H

#include <stdint.h>
#include <unistd.h>

#include <libnbd.h>

#include "case.h"
#include "model.h"

#define EMPTY (LIBNBD_STATE_HOLE | LIBNBD_STATE_ZERO)
#define ANY_TYPE 8              /* it is up to the file system */

/* The type of OFFSET, and up to where.  BASE_FD is the base: what is a hole
 * there must stay one.
 */
static inline unsigned
expected_type (const struct mk_case *c, int base_fd, uint64_t offset,
               uint64_t *end)
{
  int layer;
  off_t data, hole;

  switch (mk_model_kind (&c->model, offset, &layer, end)) {
  case MK_MODEL_ZERO:
    return EMPTY;
  case MK_MODEL_DATA:
    for (size_t i = 0; i < c->layer[layer].n; i++) {
      const struct mk_piece *p = &c->layer[layer].pieces[i];

      if (p->type == MK_PIECE_FLAT && offset >= p->start &&
          offset - p->start < p->length)
        return ANY_TYPE;        /* may have holes of its own */
    }
    return 0;
  case MK_MODEL_BASE:
    break;
  }

  if (offset >= c->base_size)
    return EMPTY;
  data = lseek (base_fd, (off_t) offset, SEEK_DATA);
  if (data == (off_t) offset) {
    hole = lseek (base_fd, (off_t) offset, SEEK_HOLE);
    if (hole > (off_t) offset && (uint64_t) hole < *end)
      *end = (uint64_t) hole;
    return 0;
  }
  if (data > 0 && (uint64_t) data < *end)
    *end = (uint64_t) data;
  return EMPTY;
}

#endif /* DRIVE_STATUS_H */
