/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the files of the verb apply share. */

#ifndef APPLY_H
#define APPLY_H

#include "apply-state.h"
#include "progress.h"
#include "target.h"
#include "tool.h"

/* What was asked, and what came of it. */
struct apply {
  struct vd_opts opts;
  struct vd_deltas_opts how;
  const char *base, *undo, *target_name;
  char **command;               /* that serves the target, or NULL */
  bool verify, dry_run, quiet, json, trust_data;
  enum progress_mode progress;
  unsigned threads;

  struct apply_state state;
  struct vd_deltas deltas;
  struct vd_reader *reader;
  struct target target;
  struct vd_apply_plan plan;
  uint64_t new_space;
  bool undo_kept;
  bool writing;                 /* the first byte may have changed */
  double seconds;               /* of applying */
};

/* Messages for people; not with --quiet or --json. */
#define apply_say(a, ...) tool_say ((a)->quiet || (a)->json, __VA_ARGS__)

/* With deltas and target open: may the deltas be applied to this target?
 * Everything is compared and the whole of every delta validated.
 */
extern int apply_check (struct apply *a, struct vd_err *err);

/* Is there room for what will be written, and for the undo file? */
extern int apply_check_space (struct apply *a, struct vd_err *err);

#endif /* APPLY_H */
