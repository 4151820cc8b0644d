/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What of a source is new to a target that remembers what it holds.
 *
 * The source is named by the link that the machine uses.  The machine writes to
 * that one, so it is left alone, and its parent is the newest frozen state: the
 * goal.  At the end, when the machine is off, the link itself is the goal.  So
 * it is if something stands on it: then it is frozen too.
 *
 * The note of the target (state.h) names the content that it holds.  Found among
 * the links, that is what is known, and the links above it, up to the goal, are
 * what is new: they are read as one chain, so each byte is written once, however
 * many they are.  Otherwise:
 *
 *   - nothing is noted: the whole disk is copied;
 *   - a run was interrupted: the target is a mixture of what it was and of what
 *     it was to be.  If both are in the chain, all that can differ lies in the
 *     links between them.  If not, everything is compared;
 *   - the content is not in the chain any more, but it is the same disk (an
 *     earlier content is, or the file that was read last): it was reverted, or
 *     snapshots were deleted.  What differs cannot be known from the links, so
 *     everything is compared;
 *   - the target is further than the source, or it is another disk: refused.
 *
 * Names of contents are CIDs, and those of disks that were never written
 * (fffffffe) are all the same.  They count only together with VMware's long form,
 * or the name of the file.
 */

#ifndef VD_SYNC_H
#define VD_SYNC_H

#include "apply/state.h"
#include "chain/family.h"

struct vd_sync {
  struct vd_family *family;
  struct vd_member *link[VD_MAX_LINKS]; /* from the newest to the base */
  size_t nr_links;
  size_t goal;                  /* which of them: 0 or 1 */
  bool to_end;                  /* the goal can be written to later */
  char *newer;                  /* what stands on the newest, or NULL */
  const struct vd_link *copied; /* a copy of a link was given: of this one */
  struct vd_member *copy;
  bool partial;                 /* the chain goes on, but why says how not */
  struct vd_err why;

  /* After vd_sync_decide. */
  enum vd_sync_mode mode;
  size_t known;                 /* LINKS: what is above it is new */
  bool only_differences;
  uint64_t link_digest;         /* for the note */
  const char *reason;           /* why COMPARE or NOTHING, or NULL */
  struct vd_chain *chain;       /* what is to be read; NULL: nothing */
};

struct vd_sync_opts {
  bool to_end;                  /* the machine is off */
  /* A full copy of a link of the source (NULL: none), whose own files cannot be
   * read; with the descriptor of that link.
   */
  const char *copied, *copy;
};

/* Find all links of a source, which is a member of s->family: that has to be
 * made first.  No data is read.  opts is borrowed until vd_sync_close, which must
 * be called in any case.
 */
extern int vd_sync_open (struct vd_sync *s, struct vd_member *source,
                         const struct vd_sync_opts *how,
                         const struct vd_opts *opts, struct vd_err *err);
extern void vd_sync_close (struct vd_sync *s);

/* The paths of the goal and of the oldest link, and the size of the disk. */
extern const char *vd_sync_goal (const struct vd_sync *s);
extern const char *vd_sync_base (const struct vd_sync *s);
extern uint64_t vd_sync_size (const struct vd_sync *s);

/* Compare with what is noted (NULL: nothing is), and open what is to be read.
 * With `all` the whole disk is compared, whatever is noted.
 */
extern int vd_sync_decide (struct vd_sync *s, const struct vd_target_state *old,
                           bool all, const struct vd_opts *opts,
                           struct vd_err *err);

/* Is this run, with a survey of s->chain, one that leads from and to what the
 * last one did?  It is that one, looked at once more; or it was interrupted, and
 * can go on behind old->sync.reached.
 */
extern bool vd_sync_is_same_run (const struct vd_sync *s,
                                 const struct vd_target_state *old,
                                 const struct vd_survey *survey);

#endif /* VD_SYNC_H */
