/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the files of the verb sync share. */

#ifndef SYNC_VERB_H
#define SYNC_VERB_H

#include "json.h"
#include "progress.h"
#include "target-note.h"
#include "tool.h"

/* What was asked. */
struct sync {
  struct vd_opts opts;
  struct vd_sync_opts how;
  const char *holds;            /* --holds */
  bool dry_run, verify, trust_data, quiet, json;
  enum progress_mode progress;
  unsigned threads;

  const char *state;            /* --state; with --disk a directory */
  bool ignore_state;
  struct sync_disk *disk;
  size_t nr_disks;
};

/* One disk, and what comes of it. */
struct sync_disk {
  const struct sync *all;
  const char *name;             /* of the disk in the machine, or NULL */
  struct vd_machine *machine;   /* the source, if it is one */
  const char *source, *target_name;
  char **command;               /* that serves the target, or NULL */

  struct vd_sync sync;
  struct target target;
  struct target_note note;
  char *note_name;              /* in the directory --state */
  bool fresh;                   /* there is no such file yet */
  bool known;                   /* the note, or something else, told what it
                                   holds: in `held` */
  struct vd_target_state held;
  struct vd_reader *reader;
  struct vd_survey survey;
  struct vd_apply_plan plan;    /* of what is left to be done */
  bool again;                   /* an interrupted run is continued, from: */
  uint64_t start;
  uint64_t rate;                /* bytes a second, of the last run; or 0 */
  struct vd_target_state *now;
  bool writing;                 /* the first byte may have changed */
  uint64_t written;
  double seconds;
};

#define sync_say(d, ...)                                        \
  tool_say ((d)->all->quiet || (d)->all->json, __VA_ARGS__)

/* Everything that can be known before the first byte is written (sync-disk.c). */
extern int sync_prepare (struct sync_disk *d, struct vd_err *err);

/* Write what is new, unless there is nothing. */
extern int sync_write (struct sync_disk *d, struct vd_err *err);

extern void sync_disk_free (struct sync_disk *d);

/* For people: what is planned, and what was done (sync-print.c). */
extern void sync_print_plan (const struct sync_disk *d);
extern void sync_print_result (const struct sync_disk *d);
extern void sync_json (struct json *j, const struct sync_disk *d);

#endif /* SYNC_VERB_H */
