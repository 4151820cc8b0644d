/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The text descriptor of a VMDK: parsed by line, key and quoted value.
 *
 * Grammar and keys: VMware's "Virtual Disk Format 5.0", and what products
 * are seen to write.  Reading is tolerant where it cannot change the meaning
 * (letter case, blanks, line ends, a byte order mark, comments of other kinds,
 * NUL padding, unknown keys, nonsense in the disk data base) and strict where it
 * could: every extent line counts, a key may not appear twice with different
 * values.
 */

#ifndef VD_DESCRIPTOR_H
#define VD_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A larger text is no descriptor but a flat file named by mistake. */
#define VD_MAX_DESCRIPTOR (UINT64_C (1) << 20)

/* 8 TB in pieces of 2 GB; each needs an open file. */
#define VD_MAX_EXTENTS 4096u

#define VD_NO_PARENT UINT32_MAX /* parentCID=ffffffff */

/* The CID of a disk that was not written since it was made, in VMware's own
 * files.  It is never drawn by chance, so it suits as the parentCID of a delta
 * whose base has no descriptor.
 */
#define VD_CID_FRESH UINT32_C (0xfffffffe)

enum vd_access { VD_RW, VD_RDONLY, VD_NOACCESS };

enum vd_extent_type {
  VD_EXTENT_FLAT,               /* FLAT, VMFS: raw bytes */
  VD_EXTENT_SPARSE,             /* SPARSE, VMFSSPARSE, SESPARSE: by magic */
  VD_EXTENT_ZERO,
  VD_EXTENT_ELSEWHERE,          /* a LUN, a vSAN object, or a type that we do
                                   not know: see no_data */
};

struct vd_extent_line {
  enum vd_access access;
  enum vd_extent_type type;
  uint64_t length;              /* bytes, > 0 */
  uint64_t offset;              /* bytes; FLAT only */
  char *type_text;              /* as it stands */
  char *name;                   /* NULL for ZERO, may be for NOACCESS */
  char *shown;                  /* the same for people: UTF-8 */
  unsigned line;
};

struct vd_key {
  char *key;                    /* lower case */
  char *value;                  /* without quotes */
  unsigned line;
};

struct vd_descriptor {
  unsigned version;             /* 1 when not given */
  bool has_cid, has_parent_cid;
  uint32_t cid;
  uint32_t parent_cid;          /* VD_NO_PARENT when not given */
  uint64_t capacity;            /* bytes: sum of the extents */
  struct vd_extent_line *extents;
  size_t nr_extents;
  struct vd_key *keys;          /* all assignments, in order */
  size_t nr_keys;
  const char *encoding;         /* of all names and values, as it says; NULL:
                                   it does not */
  char *hint;                   /* parentFileNameHint for people, or NULL */

  /* Why the data cannot be read, or NULL.  What else the text says is good
   * all the same: of a base whose data the user has as a raw copy, the CID and
   * the size are needed, and nothing else.
   */
  char *no_data;
};

/* Parse n bytes (they may hold NULs: the text ends at the first).  `name` is
 * that of the file, for messages.  Returns NULL after filling err.
 *
 * Refused: no extent line; an extent line that is not understood, each with
 * its number; a second CID, parentCID or parentFileNameHint that differs.
 * Encryption, native snapshots, raw device mappings and vSAN objects set
 * no_data.
 */
extern struct vd_descriptor *vd_descriptor_parse (const char *text, size_t n,
                                                  const char *name,
                                                  const struct vd_log *log,
                                                  struct vd_err *err);

/* The value of a key (in lower case), or NULL. */
extern const char *vd_descriptor_get (const struct vd_descriptor *d,
                                      const char *key);

extern void vd_descriptor_free (struct vd_descriptor *d);

#endif /* VD_DESCRIPTOR_H */
