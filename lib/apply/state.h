/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a target holds.
 *
 * A raw disk does not say which disk it is, nor which deltas were laid on it.
 * So whoever writes deltas to one notes it in a small file, beside the target
 * or where the user says:
 *
 *   vmdkdelta-state 1
 *   target NAME SIZE               for messages; bytes of the target
 *   disk CAPACITY                  bytes of the disk on it
 *   run finished|writing MAP DELTA UNDO
 *                                  digest of the deltas' map; names, for messages
 *   from CONTENT                   what was on it before
 *   to CONTENT                     and after
 *   past CONTENT                   what was on it earlier, oldest first
 *   temp CID                       of its descriptor while it is written
 *   sync MODE PART LINK REACHED RATE BASE  of sync only, see struct vd_sync_note
 *   stamp DEV INO MTIME NS CTIME NS
 *   held OFFSET                    some places that the deltas hold
 *   first OFFSET LENGTH CRC32      some places of the target, as they were before
 *                                  the first run of all
 *   moved                          one of them was different at the end
 *   sample OFFSET LENGTH CRC32     some places of the target now
 *   end CRC32
 *
 * CONTENT is ID CID UUID SAID LONG.  ID is ours: a random number for each
 * content that the target has had.  CID is what a delta that is made on this
 * content has as its parentCID; if the deltas have none of their own, one is
 * invented.  SAID is the CID that a delta has although it cannot be the name of
 * what it holds, see vd_target_next.  LONG is VMware's long form of the CID.
 * "-" is nothing.
 *
 * The order.  "writing" is on stable storage before the first byte of the target
 * changes, and then the CID of its descriptor (NAME.vmdk of NAME-flat.vmdk), so
 * that no other program takes it for what it was.  When all data is on stable
 * storage the descriptor gets its new CID, and last the note becomes "finished".
 * So "finished" is never said of anything else, and what is half written is known.
 *
 * Has somebody else written since?  Of a file, size and time of modification are
 * compared.  Devices and exports have no such time; so samples of the disk are
 * compared: its start, places all over it, and places that the deltas wrote to,
 * where a guest writes first.  That is a sign and no proof.  A target that has
 * been copied anew is recognised too: all samples are then those from before, also
 * where the deltas wrote.
 *
 * Whoever can write to the state file can write to the target.  All that it
 * says is checked when it is read.
 */

#ifndef VD_STATE_H
#define VD_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/opts.h"
#include "chain/chain.h"
#include "file/file.h"
#include "read/reader.h"

/* What a content is called. */
struct vd_content {
  uint64_t id;                  /* 0: not known */
  bool has_cid, has_said;
  uint32_t cid, said;
  uint8_t uuid[16];             /* VirtualBox's, null: none */
  uint8_t longid[16];           /* ddb.longContentID, null: none */
};

struct vd_sample {
  uint64_t offset;
  uint32_t length;              /* at most VD_SAMPLE_MAX */
  uint32_t crc;
};

#define VD_SAMPLE_MAX 4096u
#define VD_MAX_SAMPLES 256u
#define VD_MAX_PAST 64u
#define VD_SURVEY_PLACES 64u

/* What sync (sync.h) writes of a source. */
enum vd_sync_mode {
  VD_SYNC_NOTHING,              /* the target holds it already */
  VD_SYNC_LINKS,                /* the links that are new */
  VD_SYNC_COPY,                 /* the whole disk */
  VD_SYNC_COMPARE,              /* of the whole disk, what differs */
};

/* What sync notes besides. */
struct vd_sync_note {
  bool there;                   /* the run was one of sync */
  enum vd_sync_mode mode;
  bool to_end;                  /* to the end of the newest link, which may have
                                   been written since, and not to a frozen one */
  uint64_t link;                /* digest of the newest link by itself; 0: it
                                   is not needed */
  uint64_t reached;             /* what lies before is on stable storage */
  uint64_t rate;                /* bytes a second; 0: not known */
  char *base;                   /* path of the oldest link */
};

struct vd_target_state {
  char *path;                   /* of the note; NULL: it is not kept */
  char *target, *delta, *undo;  /* undo may be NULL */
  uint64_t size, capacity;
  bool finished;
  bool undoes;                  /* this run; not noted */
  uint64_t map;
  struct vd_content from, to;
  struct vd_content *past;
  size_t nr_past;
  uint32_t temp;
  struct vd_sync_note sync;
  bool has_stamp;
  uint64_t dev, ino;
  int64_t mtime[2], ctime[2];   /* seconds, nanoseconds */
  uint64_t held[VD_SURVEY_PLACES];
  size_t nr_held;
  bool moved;
  struct vd_sample *first, *sample;
  size_t nr_first, nr_samples;
};

/* The name of the note of a local file, to be freed; NULL after filling err. */
extern char *vd_target_state_name (const char *target, struct vd_err *err);

/* NULL in *state if there is none.  One that cannot be understood is an error. */
extern int vd_target_state_read (const char *path,
                                 struct vd_target_state **state,
                                 struct vd_err *err);

/* NULL is allowed. */
extern void vd_target_state_free (struct vd_target_state *state);

/* ---- What is to be written ----------------------------------------------- */

/* A look over all that a chain holds. */
struct vd_survey {
  uint64_t map;                 /* digest of its runs, and of the data of some of
                                   them: chains that differ in it are not the
                                   same files */
  uint64_t bytes;               /* that it holds */
  uint64_t touched[VD_SURVEY_PLACES]; /* some places that it holds */
  size_t nr_touched;
  uint64_t other[VD_SURVEY_PLACES]; /* and some that it does not */
  size_t nr_other;
};

extern int vd_survey_chain (struct vd_reader *reader, struct vd_survey *s,
                            struct vd_err *err);

/* The marks of an undo file (tool/undo.h), which are in its descriptor. */
struct vd_undo_marks {
  bool there;
  uint64_t on, gives;           /* IDs of contents */
  struct vd_sample *sample;     /* of what it is to be applied to */
  size_t nr_samples;
};

extern int vd_undo_marks_read (const struct vd_link *link,
                               struct vd_undo_marks *m, struct vd_err *err);
extern void vd_undo_marks_free (struct vd_undo_marks *m);

/* Their lines; to be freed, NULL without memory. */
extern char *vd_undo_marks_text (const struct vd_undo_marks *m);

/* ---- May it be written? -------------------------------------------------- */

enum vd_verdict {
  VD_STEP_NEXT,                 /* it is the next step */
  VD_STEP_AGAIN,                /* that which was interrupted */
  VD_STEP_THERE,                /* it seems to be there: compare; if it
                                   differs, it is a later copy of the same */
  VD_STEP_THERE_OR_WRONG,       /* compare; if it differs, it is refused
                                   (err says why) */
  VD_STEP_REFUSED,
};

/* What the deltas of a chain are to a target in a state.  What is to be
 * known of the names of contents:
 *
 *   - A delta names what it was made on (parentCID), and what it makes of that
 *     (CID).  VMware gives a new delta the CID of its parent, and another one
 *     when it is first written to, which a running machine notes late.  So with
 *     CID = parentCID a delta that holds data does not name what it holds.
 *   - A delta only grows.  What has the same CID, and not its parent's, and
 *     holds the places that were held, is the same delta later, and can be laid
 *     over itself.
 *   - Deltas without a descriptor, and those made for a raw disk
 *     (parentCID=fffffffe, no hint), name nothing.
 *
 * err is filled for the last two verdicts; it says both values, and how to go
 * on.
 */
extern enum vd_verdict vd_target_next (const struct vd_target_state *state,
                                       const struct vd_chain *chain,
                                       const struct vd_survey *survey,
                                       const struct vd_undo_marks *undo,
                                       struct vd_err *err);

/* Was a target that is finished, or what is not being changed of one that is
 * half written, written to by somebody else?  Then VD_MISMATCH.  If it seems to
 * be what it was before anything was applied, *anew is true, and it is no error.
 */
extern int vd_target_unchanged (const struct vd_target_state *state,
                                struct vd_file *target, bool *anew,
                                struct vd_err *err);

/* Does the target hold what an undo file is to be applied to?  With `mixed`
 * each sector may also be what the undo file (read by reader) makes of it.
 */
extern int vd_undo_fits (const struct vd_undo_marks *undo,
                         struct vd_reader *reader, struct vd_file *target,
                         bool mixed, struct vd_err *err);

/* ---- Writing ------------------------------------------------------------- */

/* What a chain was made on, and what it makes of that. */
extern void vd_made_on (const struct vd_link *link, struct vd_content *c);
extern void vd_makes (const struct vd_link *link, struct vd_content *c);

/* The state of a target that is about to be written.  old (NULL: nothing is
 * known) is what was there; path is NULL if it cannot be kept.  All names of
 * contents are decided here.
 */
extern struct vd_target_state *
vd_target_state_new (const struct vd_target_state *old, const char *path,
                     const char *target, uint64_t size,
                     const struct vd_chain *chain,
                     const struct vd_survey *survey,
                     const struct vd_undo_marks *undo, bool again,
                     struct vd_err *err);

/* Samples of an undo file for this step: each sector as the chain will have
 * made it.
 */
extern int vd_undo_marks_new (const struct vd_target_state *state,
                              const struct vd_survey *survey,
                              struct vd_reader *reader, struct vd_file *target,
                              struct vd_undo_marks *m, struct vd_err *err);

/* Before the first byte, and when all is on stable storage.  descriptor, which
 * may be NULL, belongs to the target: its CID follows.
 */
extern int vd_target_begin (struct vd_target_state *state,
                            const struct vd_target_state *old,
                            const struct vd_survey *survey,
                            struct vd_file *target, const char *descriptor,
                            struct vd_err *err);

/* In between: what lies before offset is on stable storage. */
extern int vd_target_reached (struct vd_target_state *state, uint64_t offset,
                              struct vd_file *target, struct vd_err *err);

extern int vd_target_finish (struct vd_target_state *state,
                             const struct vd_survey *survey,
                             struct vd_file *target, const char *descriptor,
                             struct vd_err *err);

#endif /* VD_STATE_H */
