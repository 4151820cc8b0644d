/* The corruption trial: what a reader makes of damaged images.
 *
 * A case is a directory with a disk image: a chain of links in any format,
 * made by the maker, so that it is known what it must read as and which byte
 * of which file is what.  A case is damaged many times, each time from its
 * good state: one field changes, a file is cut, sectors are swapped, a part
 * comes from another image.  A subject (our library, or qemu-img) then reads
 * the disk.  Its answer is
 *
 *   error      it refuses, or some sectors cannot be read; the others are
 *              one of the next two
 *   same       the bytes of the good disk
 *   lawful     other bytes, and they are what the files now say
 *   told       the same, with a warning that the good disk does not get
 *   warned     other bytes, for which there is no reason but damage, and
 *              it printed such a warning
 *   silent     other bytes, for which there is no reason: wrong
 *
 * Some cases are odd instead of damaged: their descriptors are what editors and
 * other systems leave, and the disk must read as before, or the user is
 *
 *   stuck      it was refused, or could not be read
 *
 * And some have a container where the raw base was, which must be refused: all
 * else is silent.
 *
 * What the files now say is worked out by meaning.c: a reader of one sector
 * at a time, without any state, that goes by the text of the formats, shares
 * nothing with the library, and refuses whatever is not plain.
 */

#ifndef TRIAL_H
#define TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maker.h"
#include "model.h"

#define TR_FILES 16
#define TR_LINKS 4
#define TR_PIECES 3
#define TR_RANGES 8

enum tr_format {
  TR_TEXT = 0, TR_RAW, TR_COWD, TR_KDMV, TR_STREAM, TR_SESPARSE, TR_VDI,
  TR_FORMATS,
};
extern const char *const tr_format_name[TR_FORMATS];

/* A number in a file that means something. */
struct tr_field {
  uint64_t off;
  unsigned bytes;
  const char *name;
};

/* A grain as it is stored in a stream, and what it inflates to. */
struct tr_packed {
  uint64_t lba, off, n;         /* n bytes at off, marker included */
  const struct mk_spec *spec;
};

struct tr_file {
  char name[32];
  enum tr_format format;
  uint8_t *good, *now;          /* of `room` bytes each */
  size_t good_size, now_size, room;
  int fd;
  bool apart;                   /* not damaged: stands for what is not ours */
  char renamed[64];             /* its name on disk for now, or "" */
  struct tr_field *fields;      /* header, directory, tables: in this order */
  size_t n_fields, n_header;
  struct tr_packed *packed;
  size_t n_packed;
  size_t text, text_room;       /* an embedded descriptor; room 0: none */
  uint64_t important;           /* the metadata ends about here */
  /* What differs between good and now. */
  struct { size_t from, to; } dirty[TR_RANGES];
  size_t n_dirty;
};

struct tr_link {
  size_t n;
  struct mk_spec spec[TR_PIECES];
  struct mk_pattern pattern[TR_PIECES];
  struct mk_piece piece[TR_PIECES];
  struct mk_layout layout[TR_PIECES];
  struct mk_content content;
};

struct tr_case {
  char dir[96];
  int dir_fd;
  bool filter;                  /* the base is given apart; else the chain
                                   is complete */
  const char *kind;             /* what was drawn, for statistics */
  struct tr_file file[TR_FILES];
  size_t n_files;
  size_t newest;                /* the file to be opened */
  size_t base;                  /* the raw file below, in a filter */
  struct tr_link link[TR_LINKS];        /* oldest first */
  size_t n_links;
  struct mk_layer layer[TR_LINKS];
  struct mk_model model;
  struct mk_content base_content;
  uint8_t *want;                /* the good disk */
  uint64_t size;
  const struct tr_case *donor;  /* where parts come from; or NULL */
};

/* ---- images.c, vdi.c ---- */

/* Draws a case and writes its files into a directory of its own below base.
 * If peer, then nothing that QEMU is known not to read.
 */
struct tr_case *tr_draw (uint64_t seed, const char *base, bool peer);
void tr_free (struct tr_case *c);
struct tr_file *tr_new_file (struct tr_case *c, const char *name,
                             enum tr_format format);
void tr_file_take (struct tr_file *f, struct mk_mem *mem);
void tr_add_field (struct tr_file *f, uint64_t off, unsigned bytes,
                   const char *name);
void tr_name_fields (struct tr_file *f, const struct mk_spec *spec,
                     const struct mk_layout *layout);
const struct tr_file *tr_find_file (const struct tr_case *c,
                                    const char *name);
/* A VDI of piece 0 of link k, over link k - 1 unless k is 0. */
void tr_make_vdi (struct tr_case *c, size_t k, const char *name,
                  struct mk_rng *r);

/* ---- damage.c ---- */

/* Damages one file of the case and says how; "field" or another short word
 * for statistics is *what.
 */
void tr_damage (struct tr_case *c, struct mk_rng *r, const char **what,
                const char **field, char *how, size_t n);
/* Everything as it was. */
void tr_repair (struct tr_case *c);
/* Other bytes of a file, another text, another name. */
void tr_put (struct tr_file *f, size_t at, const void *bytes, size_t n);
void tr_put_text (struct tr_file *f, const char *text, size_t n);
bool tr_rename (struct tr_case *c, const char *name, const char *to);

/* ---- odd.c: false if there is nothing in the case for it ---- */

bool tr_odd (struct tr_case *c, struct mk_rng *r, const char **what, char *how,
             size_t n);
bool tr_contain (struct tr_case *c, struct mk_rng *r, const char **what,
                 char *how, size_t n);

/* ---- meaning.c: what the files say ---- */

#define TR_MEANING_LINKS 8

enum tr_kind { TR_BELOW = 0, TR_ZERO, TR_BYTES, TR_BAD };

struct tr_extent {
  const struct tr_file *file;   /* NULL: zeros */
  bool flat;
  uint64_t start, length;       /* bytes on the link */
  uint64_t offset;              /* of a flat one in its file */
  uint64_t capacity, grain, tables, gd, first;  /* decoded header, bytes */
  uint64_t table_entries, nr_tables, grains, nr_grains, extra;
  uint64_t text, text_size;
  uint32_t flags;
};

struct tr_disk_link {
  struct tr_extent extent[8];
  size_t n;
  uint64_t size;
};

struct tr_meaning {
  const struct tr_case *c;
  struct tr_disk_link link[TR_MEANING_LINKS];   /* newest first */
  size_t n;
  uint64_t size;
};

/* False: the files do not say anything plain. */
bool tr_meaning_open (struct tr_meaning *m, const struct tr_case *c);
/* 512 bytes at a sector of the disk, which may end in it.  False: BAD. */
bool tr_meaning_read (const struct tr_meaning *m, uint64_t sector,
                      uint8_t out[512]);

/* Sparse extents, in meaning-sparse.c. */
bool tr_extent_open (struct tr_extent *e, const struct tr_file *file);
enum tr_kind tr_extent_read (const struct tr_extent *e,
                             const struct tr_case *c, uint64_t sector,
                             uint8_t out[512]);

static inline uint64_t
tr_le (const uint8_t *p, unsigned bytes)
{
  uint64_t v = 0;

  while (bytes > 0)
    v = v << 8 | p[--bytes];
  return v;
}

/* ---- subject.c ---- */

struct tr_answer {
  bool refused;
  bool bad;                     /* some sectors could not be read */
  uint64_t size;
  uint8_t *buf;                 /* the first n bytes */
  size_t n, room;
  uint8_t *lost;                /* for each sector: could not be read */
  unsigned warnings;
  char text[512];               /* of the refusal, for reports */
};

/* How much of a disk is looked at, when it has become larger. */
#define TR_MORE 65536u

void tr_ask_library (const struct tr_case *c, bool fine,
                     struct tr_answer *a);
void tr_ask_qemu (const struct tr_case *c, struct tr_answer *a);
void tr_answer_free (struct tr_answer *a);

#endif /* TRIAL_H */
