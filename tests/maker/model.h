/* What a chain of deltas must read as, worked out without any table.
 *
 * A disk is a base and layers over it, oldest first.  A layer is one or
 * several pieces that follow each other; a piece is an extent made by the
 * maker, plain data (a FLAT extent), or nothing (a ZERO extent).  For every
 * byte, from the newest layer down: a hole falls through, zero and unmapped
 * grains stop with zeros, data stops.  Past the end of the base, and of a
 * layer that is shorter than the ones above, everything is zeros.
 */

#ifndef MK_MODEL_H
#define MK_MODEL_H

#include "maker.h"

enum mk_piece_type { MK_PIECE_EXTENT = 0, MK_PIECE_FLAT, MK_PIECE_ZERO };

struct mk_piece {
  enum mk_piece_type type;
  uint64_t start, length;       /* bytes of the disk */
  const struct mk_spec *spec;   /* of an EXTENT; its guest_start is START */
  struct mk_fill fill;          /* of a FLAT piece, by offset in the disk */
};

struct mk_layer {
  const struct mk_piece *pieces;
  size_t n;
};

struct mk_model {
  uint64_t capacity;
  uint64_t base_size;           /* bytes, any number */
  struct mk_fill base;          /* by offset; fn NULL: all zeros */
  const struct mk_layer *layers;        /* oldest first */
  size_t n;
};

enum mk_model_kind { MK_MODEL_BASE = 0, MK_MODEL_ZERO, MK_MODEL_DATA };

/* A piece for a spec that covers (the rest of) a layer. */
struct mk_piece mk_piece_of (const struct mk_spec *spec);

/* What decides OFFSET.  LAYER (may be NULL) gets its index, or -1 if it is
 * the base, which includes the zeros behind the base's end.  END (may be
 * NULL) gets the end of the range that is certain to be the same.
 */
enum mk_model_kind mk_model_kind (const struct mk_model *model,
                                  uint64_t offset, int *layer,
                                  uint64_t *end);

/* Any range; past the capacity there are zeros. */
void mk_model_read (const struct mk_model *model, void *buf, size_t n,
                    uint64_t offset);

/* The whole disk as a file (blocks of zeros are left as holes). */
int mk_model_write_raw (const struct mk_model *model, const char *path);
/* The base alone. */
int mk_model_write_base (const struct mk_model *model, const char *path);

#endif /* MK_MODEL_H */
