/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: an open KDMV file, shared by kdmv.c (tables) and
 * kdmv-stream.c (compressed grains and the footer).
 */

#ifndef VD_KDMV_H
#define VD_KDMV_H

#include "format/grain-tables.h"
#include "format/kdmv-header.h"

struct vd_kdmv_image {
  struct vd_image image;
  struct vd_tables tables;
  uint64_t rgd_offset;          /* bytes; 0 = no redundant directory (or,
                                   read by the copy, the other one) */
  char *unread;                 /* why its tables cannot be read: only the
                                   header was asked for; or NULL */
  bool compare;                 /* the two sets of tables, when read */
  uint64_t nr_tables;
  uint64_t first_data;          /* bytes: entries may not point below */
};

static inline const struct vd_kdmv_image *
vd_kdmv (const struct vd_image *image)
{
  return (const struct vd_kdmv_image *) image;
}

/* Look for a footer: the copy of the header that a stream has at its end.  What
 * lies behind it (a tail) is not more than VD_MAX_TAIL.
 * Returns 1 with *k filled, 0 when there is none, -1 on an I/O error.  A tail that
 * is not zeros is warned of: it may be what a damaged footer does not lead to.
 */
#define VD_MAX_TAIL (UINT64_C (64) << 20)
extern int vd_stream_footer (struct vd_file *file,
                             const struct vd_kdmv_header *head,
                             struct vd_kdmv_header *k,
                             const struct vd_log *log, struct vd_err *err);

/* Open a stream by its markers, without its tables: see kdmv-markers.c.  What
 * the header says is in *like.
 */
extern int vd_stream_open_markers (struct vd_file *file,
                                   const struct vd_image *like,
                                   uint64_t first_data,
                                   const struct vd_log *log,
                                   struct vd_image **image,
                                   struct vd_err *err);

/* A marker of a stream: the first bytes of its sector.  With a size it is a
 * grain (value: its disk sector); without one `value` sectors of what `type`
 * names follow.
 */
enum {
  VD_MARKER_END, VD_MARKER_TABLE, VD_MARKER_DIRECTORY, VD_MARKER_FOOTER,
  VD_MARKER_PROGRESS,
};

struct vd_marker {
  uint64_t value;
  uint32_t size;
  uint32_t type;
};

static inline struct vd_marker
vd_marker_decode (const uint8_t *m)
{
  return (struct vd_marker) {
    .value = vd_le64 (m), .size = vd_le32 (m + 8), .type = vd_le32 (m + 12),
  };
}

/* Check a grain marker, of which `in` holds the 12 bytes at `where`, for the
 * grain at `grain` (bytes), and give the size of the stream behind it.
 */
#define VD_GRAIN_MARKER_SIZE 12u
extern int vd_stream_marker (const struct vd_image *image, uint64_t grain,
                             uint64_t where, const uint8_t *in,
                             uint32_t *size, struct vd_err *err);

extern int vd_stream_inflate (const struct vd_image *image, uint64_t offset,
                              uint64_t where, void *buf, struct vd_err *err);

/* Two entries of grain number `grain`, in the table that is read and in the
 * other one: is it unknown which is right?  Not where they agree; not where
 * the other says nothing (0: its writer did not keep it), or what cannot be;
 * and not where the one that is read cannot be, which is damage anyway.
 */
extern bool vd_kdmv_doubt (const struct vd_image *image, uint64_t grain,
                           uint64_t first, uint64_t copy);

#endif /* VD_KDMV_H */
