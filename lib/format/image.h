/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* One extent file of a VMDK, and the formats that it can have.
 *
 * A format is a way to answer `map` for one file: nothing else.  Each lives
 * in a file of its own and exports one struct vd_format; image.c holds the
 * list.  To add a format, write that file and add it to the list.
 *
 * Untrusted numbers are checked once, by `open`, in functions that know the
 * file's size.  What a struct vd_image holds afterwards is checked, and in
 * bytes.
 *
 * Threads: an image is immutable after open; map, explain and inflate may be
 * called from any number of threads.
 */

#ifndef VD_IMAGE_H
#define VD_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/opts.h"
#include "file/file.h"
#include "format/runs.h"

struct vd_format;

/* How VirtualBox tells images apart and links them; UUIDs in the order of
 * their text, all zeros = not known.
 */
struct vd_identity {
  uint8_t image[16];
  uint8_t parent[16];
  uint8_t modified[16];         /* of the content */
  uint8_t parent_modified[16];  /* of the parent's, when the child was made */
};

struct vd_image {
  const struct vd_format *fmt;
  struct vd_file *file;         /* owned; NULL for a ZERO extent */
  uint64_t capacity;            /* bytes of disk that it describes */
  uint64_t used;                /* the part of that which its link uses: a
                                   header's capacity may be rounded up */
  uint64_t grain_size;          /* bytes; 0 when the format has no grains */
  uint64_t tables_size;         /* bytes of disk that one table covers, or 0 */
  bool compressed;
  bool unclean;                 /* its writer did not close it */
  bool chosen_tables;           /* it has two sets of tables, and the user said
                                   which is read: not for who writes */
  bool lost;                    /* bytes of it are known to be missing */
  unsigned version;             /* as in the header: SEsparse 2.1 is 0x21,
                                   VDI 1.1 0x10001 */
  unsigned flags;

  /* An embedded text descriptor, in bytes; length 0: there is none. */
  uint64_t descriptor_offset;
  uint64_t descriptor_length;

  /* A VDI needs no descriptor: it holds its own identity. */
  bool linked_by_uuid;
  struct vd_identity id;
};

/* A fresh image may not be larger than this: 2^62 bytes, so that sums of two
 * offsets always fit.
 */
#define VD_MAX_CAPACITY (UINT64_C (1) << 62)

/* The largest grain that may be stored compressed.  Inflating needs a buffer
 * of this size for each request in flight, so the cap bounds the memory that
 * an image can ask for.  Every known writer uses 64 KiB.
 */
#define VD_MAX_COMPRESSED_GRAIN (UINT64_C (16) << 20)

struct vd_walk;                 /* grain-tables.h */

struct vd_format {
  const char *name;             /* "COWD"; also in --dump-plugin */
  const char *long_name;        /* for people */
  unsigned minor_bits;          /* of image->version: a minor number is in
                                   so many low bits; 0: there is none */

  bool no_data;                 /* nothing is stored: zeros, or lost */

  /* Do the first n bytes of a file look like this format?  n <= 512. */
  bool (*probe) (const uint8_t *head, size_t n);

  /* Decode and check the header.  Does I/O.  On success *image is new, with
   * everything but fmt, file and used filled; the caller sets those.  (fmt
   * only if it is NULL: one format may have two ways to be read.)
   */
  int (*open) (struct vd_file *file, const struct vd_opts *opts,
               struct vd_image **image, struct vd_err *err);

  /* The heart: add the runs of [offset, offset+length), which lies inside
   * the capacity, to out.  May do I/O on the tables.  Returns 0 when the range
   * is covered, or the list is full (then a prefix is covered), or -1 when a
   * table cannot be read.  Bad entries are not errors here but VD_DAMAGED
   * runs, so that what is around them can still be read.
   */
  int (*map) (const struct vd_image *image, uint64_t offset, uint64_t length,
              const struct vd_out *out, struct vd_err *err);

  /* How to find the tables that map reads, for who asks for them beforehand
   * (prefetch.h); NULL: there are none.
   */
  const struct vd_walk *walk;

  /* Say in err why the byte at offset is VD_DAMAGED: file, place, value
   * found, value allowed.  Always returns -1.
   */
  int (*explain) (const struct vd_image *image, uint64_t offset,
                  struct vd_err *err);

  /* Inflate the grain that holds `offset`, stored at `where`, into buf of
   * grain_size bytes.  Only formats that emit VD_COMPRESSED have it.
   */
  int (*inflate) (const struct vd_image *image, uint64_t offset,
                  uint64_t where, void *buf, struct vd_err *err);

  /* Free the image itself, not its file. */
  void (*close) (struct vd_image *image);
};

/* All sparse formats, NULL-terminated. */
extern const struct vd_format *const vd_formats[];

extern const struct vd_format vd_format_cowd;
extern const struct vd_format vd_format_kdmv;
extern const struct vd_format vd_format_sesparse;
extern const struct vd_format vd_format_vdi;
extern const struct vd_format vd_format_flat;
extern const struct vd_format vd_format_zero;
extern const struct vd_format vd_format_lost;
extern const struct vd_format vd_format_markers; /* KDMV; kdmv.h */

/* What the first bytes of a file say. */
enum vd_magic {
  VD_MAGIC_SPARSE,              /* *fmt is set */
  VD_MAGIC_TEXT,                /* a text descriptor, perhaps */
  VD_MAGIC_FOREIGN,             /* another file that we know; see magic.h */
  VD_MAGIC_NONE,                /* flat data, or anything */
};

extern int vd_image_probe (struct vd_file *file, enum vd_magic *magic,
                           const struct vd_format **fmt, struct vd_err *err);

/* The sparse format that the first n bytes of a file have, or NULL. */
extern const struct vd_format *vd_image_format_of (const uint8_t *head,
                                                   size_t n);

/* Open a file as the sparse format that its magic tells.  Takes over the
 * file on success only.
 */
extern struct vd_image *vd_image_open (struct vd_file *file,
                                       const struct vd_opts *opts,
                                       struct vd_err *err);

/* Raw bytes of a file from start (bytes) on, length bytes of them.  A file that
 * ends before that is warned of, and what it lacks is VD_DAMAGED; it is
 * VD_TRUNCATED if that is all.
 */
extern struct vd_image *vd_image_open_flat (struct vd_file *file,
                                            uint64_t start, uint64_t length,
                                            const struct vd_log *log,
                                            struct vd_err *err);

/* An extent whose file is not here; all of it is VD_DAMAGED, and why is what
 * explains it.
 */
extern struct vd_image *vd_image_open_lost (const char *name, uint64_t length,
                                            const struct vd_err *why,
                                            struct vd_err *err);

/* Where such a one begins in its file. */
extern uint64_t vd_flat_start (const struct vd_image *image);

/* An extent of zeros. */
extern struct vd_image *vd_image_open_zero (uint64_t length,
                                            struct vd_err *err);

/* Closes the file too.  NULL is allowed. */
extern void vd_image_close (struct vd_image *image);

#endif /* VD_IMAGE_H */
