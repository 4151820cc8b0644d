/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Merging links of a chain into their parent, in place.
 *
 * Of a chain, numbered from the newest (0), the links first ... first+nr-1
 * are merged into the next older one, the target; links newer than these
 * stay and get the target as parent; the merged ones are removed.
 *
 *     vd_merge_resume (...)    complete one that was interrupted at its end
 *     vd_merge_open (...)      everything is looked at, nothing is written
 *     vd_merge_run (...)       data into the target; read back and compared
 *     vd_merge_commit (...)    identities, parents, the machine; removal
 *
 * One pass: each byte is written once, from the newest link that holds it.
 *
 * What survives a kill:
 *
 * M1. During vd_merge_run only the target changes, and only where merged
 *     links hold something: every disk that stands on all of them reads as
 *     before.  The same merge, run again, ends in the same bytes.  What stands
 *     on some of them only, or on none, reads wrong from the first byte on:
 *     so before that byte marks are on disk (chain/merging.h), which readers
 *     and writers know, and which refuse every other merge.
 * M2. vd_merge_commit starts when the target is flushed and verified.  Its
 *     steps are in a journal (journal.h) before the first is done;
 *     vd_merge_resume completes them.
 * M3. Nothing is removed before what it held is verified in the target and
 *     all that needs it is re-linked.
 */

#ifndef VD_MERGE_H
#define VD_MERGE_H

#include "apply/apply.h"
#include "chain/family.h"
#include "compact/compact.h"
#include "vbox/vbox-edit.h"

struct vd_journal;

struct vd_merge_opts {
  unsigned skip;                /* newest links that stay */
  unsigned count;               /* links to merge; 0: all that are left */
  bool discard_current;         /* drop the newest link, with its data */
  bool keep;                    /* remove no files */
  bool compact;                 /* do not store zeros; compact the target
                                   (other disks: compact-machine.h) */
  bool no_machine;              /* a file: although a .vbox registers it */
  const char *disk;             /* of a machine; NULL: all */
  const char *drop;             /* of a machine: merge nothing, but drop this
                                   snapshot and those below it; or NULL */
  bool snapshot;                /* leave a fresh child on top */
  const char *snapshot_name;    /* of a machine's snapshot; or NULL */
  unsigned threads;             /* 0: VD_APPLY_THREADS */
};

struct vd_merge_numbers {
  uint64_t data_bytes;          /* written, once each */
  uint64_t zero_bytes;          /* zeroed */
  uint64_t one_by_one;          /* what merging link after link, newest to
                                   oldest, would have written and zeroed */
  uint64_t new_blocks;          /* of the target */
  uint64_t growth;              /* of the target's files */
  uint64_t space;               /* that is needed meanwhile, at most */
  uint64_t freed;               /* by removing the merged files */
};

struct vd_merge_disk {
  char *name;
  struct vd_chain *chain;       /* all of it */
  struct vd_member *top;
  size_t first, nr;             /* see above */
  bool discard;                 /* link 0 is dropped */
  bool left_alone;              /* of a machine: only gets a new child */
  size_t branch;                /* the merge ends above this link, because it
                                   has another child; 0: none */
  char *branch_child;           /* that, by its file */
  uint8_t branch_uuid[16];      /* and its UUID, or null */
  struct vd_link *target;       /* NULL: nothing is merged (nr is 0) */
  struct vd_link *child;        /* gets the target as parent; or NULL */
  struct vd_link *found_child;  /* owned: the child of the file given */
  struct vd_chain *merged;      /* the links that are merged */
  struct vd_chain *below;       /* what is under the target, or NULL */
  struct vd_reader *reader, *below_reader;
  uint64_t capacity;            /* of the target when done */
  struct vd_merge_numbers numbers;
  bool cbt;                     /* change tracking is dropped */
  bool resumed;                 /* an interrupted run has begun with it */
  unsigned new_marks;           /* made by this run (merge-mark.c) */
  bool compacted;               /* how.compact, and it could be done */
  struct vd_compact_result compact;

  /* Of a machine: the base of the disk, and what each snapshot loses. */
  const struct vd_vbox_medium *medium;
  bool *lost;                   /* by number of the snapshot */

  /* Of how.snapshot: the new child, to be renamed from its temporary name. */
  char *new_child, *new_temp;
  char *new_extent, *new_extent_temp; /* COWD */
  uint8_t new_uuid[16];
};

/* An image that goes with a dropped snapshot. */
struct vd_dropped {
  const struct vd_vbox_medium *medium;
  struct vd_member *member;     /* NULL: its file is not there */
};

struct vd_merge {
  struct vd_merge_opts how;
  struct vd_opts opts;          /* for_writing is set */
  char *given;                  /* the name that the user gave */
  char *top;                    /* what it led to when it was opened */
  struct vd_family *family;
  struct vd_vbox *box;          /* NULL: a file was given */
  char *box_path;               /* its full name */
  char *registry_path;          /* of the file that lists its media, if another
                                   does; or NULL */
  struct vd_merge_disk *disk;
  size_t nr_disks;
  struct vd_merge_numbers numbers; /* sums */
  bool *removed;                /* snapshots that go, by number */
  struct vd_dropped *dropped;   /* of how.drop */
  size_t nr_dropped;
  struct vd_journal *removals;  /* all that goes, as it was when opened */
  char **kept;                  /* lines about what would go, but stays,
                                   because it may be another disk's */
  size_t nr_kept;
  bool begun;                   /* something may have been written */
  char *new_dir;                /* where new children are made */
  uint8_t new_snapshot[16];
};

/* Is there a journal of a merge of that name?  Complete it (or, dry, look only
 * whether that can be done): 1, and `done` (may be NULL) is called with a line
 * for each step.  0: there is none.
 */
extern int vd_merge_resume (const char *name, const struct vd_opts *opts,
                            bool dry, void (*done) (void *opaque, const char *step),
                            void *opaque, struct vd_err *err);

/* VD_USAGE, with the command that completes it, when a journal names this file:
 * the machine, or an image that is still to be changed or removed.  The steps
 * compare what they find, so whoever changes such a file leaves a merge that
 * can be neither completed nor begun again.  Journals are looked for around the
 * file as children are (children.h); one that cannot be read is an error.
 */
extern int vd_merge_check_pending (const char *path,
                                   const struct vd_opts *opts,
                                   struct vd_err *err);

/* Look at everything: the chain is sound, its links belong together, nothing
 * else stands on them or uses them, the target can be written, and there is
 * room.  `name` is the newest file of a chain, or a .vbox machine.  opts and
 * the strings of how are borrowed.
 */
extern struct vd_merge *vd_merge_open (const char *name,
                                       const struct vd_merge_opts *how,
                                       const struct vd_opts *opts,
                                       struct vd_err *err);

/* The phases, of one disk after the other: "merging", then "verifying".
 * Not 0 stops, with VD_USAGE.
 */
typedef int (*vd_merge_progress_fn) (void *opaque, const char *phase,
                                     uint64_t done, uint64_t total);

extern int vd_merge_run (struct vd_merge *m, vd_merge_progress_fn progress,
                         void *opaque, struct vd_err *err);

/* Now, or (dry) say only what would be done, a line for each step. */
extern int vd_merge_commit (struct vd_merge *m, bool dry,
                            void (*step) (void *opaque, const char *text),
                            void *opaque, struct vd_err *err);

/* The command that completes it, for a shell; NULL when there is nothing to
 * complete: no mark is on disk.  To be freed.
 */
extern char *vd_merge_command (const struct vd_merge *m);

extern void vd_merge_free (struct vd_merge *m);

#endif /* VD_MERGE_H */
