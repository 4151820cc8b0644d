/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta merge: links of a chain merged into their parent, in place. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "progress.h"
#include "tool.h"

enum {
  OPT_SKIP = OPT_OWN,
  OPT_COUNT,
  OPT_DISCARD_CURRENT,
  OPT_DROP,
  OPT_YES,
  OPT_COMPACT,
  OPT_FREE_SPACE,
  OPT_SNAPSHOT,
  OPT_KEEP,
  OPT_DISK,
  OPT_NO_MACHINE,
  OPT_ALLOW_RUNNING,
  OPT_DRY_RUN,
  OPT_PROGRESS,
  OPT_QUIET,
  OPT_JSON,
  OPT_THREADS,
  OPT_VERBOSE,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  MACHINE_OPTIONS,
  { "skip", required_argument, NULL, OPT_SKIP },
  { "count", required_argument, NULL, OPT_COUNT },
  { "discard-current", no_argument, NULL, OPT_DISCARD_CURRENT },
  { "discard-currentstate", no_argument, NULL, OPT_DISCARD_CURRENT },
  { "drop", required_argument, NULL, OPT_DROP },
  { "yes", no_argument, NULL, OPT_YES },
  { "compact", no_argument, NULL, OPT_COMPACT },
  { "free-space", optional_argument, NULL, OPT_FREE_SPACE },
  { "snapshot", optional_argument, NULL, OPT_SNAPSHOT },
  { "keep", no_argument, NULL, OPT_KEEP },
  { "disk", required_argument, NULL, OPT_DISK },
  { "no-machine", no_argument, NULL, OPT_NO_MACHINE },
  { "allow-running", no_argument, NULL, OPT_ALLOW_RUNNING },
  { "dry-run", no_argument, NULL, OPT_DRY_RUN },
  { "dryrun", no_argument, NULL, OPT_DRY_RUN },
  { "progress", optional_argument, NULL, OPT_PROGRESS },
  { "quiet", no_argument, NULL, OPT_QUIET },
  { "json", no_argument, NULL, OPT_JSON },
  { "threads", required_argument, NULL, OPT_THREADS },
  { "verbose", no_argument, NULL, OPT_VERBOSE },
  { NULL, 0, NULL, 0 },
};

/* More than any chain has: "all of them". */
#define MAX_COUNT 1000000u

struct ask {
  struct vd_opts opts;
  struct vd_merge_opts how;
  char *name;
  bool dry_run, quiet, json, yes, allow_running, verbose;
  bool brief;                   /* a machine's files are not listed */
  enum progress_mode progress;
  struct progress bar;
  const char *phase;
  enum vd_compact_free free_space;
  struct vd_compact_result compacted; /* of all disks of a machine */
  size_t nr_compacted;
  FILE *fp;                     /* the steps, for JSON */
  struct json j;
};

#define say(q, ...) tool_say ((q)->quiet || (q)->json, __VA_ARGS__)

static void
say_step (void *opaque, const char *text)
{
  struct ask *a = opaque;

  if (!a->brief)
    say (a, "%s", text);
  if (a->fp)
    json_string (&a->j, NULL, text);
}

static int
on_progress (void *opaque, const char *phase, uint64_t done, uint64_t total)
{
  struct ask *a = opaque;

  if (a->phase != phase) {
    if (a->phase)
      progress_end (&a->bar, done);
    progress_begin (&a->bar, a->progress, phase, total);
    a->phase = phase;
  }
  return progress_update (&a->bar, done);
}

static void
say_disk (const struct ask *a, const struct vd_merge_disk *d)
{
  const struct vd_chain *c = d->chain;
  char b[HUMAN_SIZE_MAX];
  size_t i;

  for (i = 0; i < c->nr_links; ++i)
    say (a, "%s %s (%s)", i == 0 && d->discard ? "drop   "
         : i < d->first ? "stays  "
         : d->nr > 0 && i < d->first + d->nr ? "merge  "
         : d->nr > 0 && i == d->first + d->nr ? "into   " : "below  ",
         c->links[i]->path, vd_link_format (c->links[i]));
  if (d->found_child)
    say (a, "stays   %s, on top of %s", d->found_child->path,
         c->links[0]->path);
  if (d->nr == 0)
    return;
  say (a, "writes  %s", human_size (b, d->numbers.data_bytes));
  say (a, "zeroes  %s", human_size (b, d->numbers.zero_bytes));
  if (d->nr > 1)
    say (a, "saves   %s: merging link after link would write %s",
         short_size (b, d->numbers.one_by_one - d->numbers.data_bytes -
                     d->numbers.zero_bytes),
         human_size ((char[HUMAN_SIZE_MAX]) { "" }, d->numbers.one_by_one));
  say (a, "new     %" PRIu64 " block%s in %s, which grows by %s",
       d->numbers.new_blocks, d->numbers.new_blocks == 1 ? "" : "s",
       d->target->path,
       human_size (b, d->numbers.growth));
  say (a, "space   up to %s needed", human_size (b, d->numbers.space));
  if (d->cbt)
    say (a, "note    changed block tracking is dropped: the next backup reads "
         "everything");
}

/* The disks of a machine, whose files are called by their UUIDs: what users know
 * are the names of snapshots and disks.
 */
static void
say_machine (const struct ask *a, const struct vd_merge *m)
{
  const struct vd_merge_numbers *n = &m->numbers;
  char b[HUMAN_SIZE_MAX];
  size_t i;

  for (i = 0; i < m->box->nr_snapshots; ++i)
    if (m->removed[i])
      say (a, "goes    snapshot %s", m->box->snapshots[i].name);
  if (m->how.drop) {
    say (a, "drop    %zu image%s, %s", m->nr_dropped,
         m->nr_dropped == 1 ? "" : "s", short_size (b, n->freed));
    return;
  }
  if (m->how.snapshot)
    say (a, "new     snapshot %s", m->how.snapshot_name
         ? m->how.snapshot_name : "merged");
  for (i = 0; i < m->nr_disks; ++i) {
    const struct vd_merge_disk *d = &m->disk[i];

    if (d->discard)
      say (a, "drop    %s: what was written since its newest snapshot", d->name);
    if (d->nr > 0)
      say (a, "merge   %s: %zu file%s into %s", d->name, d->nr,
           d->nr == 1 ? "" : "s", base_name (d->target->path));
    else if (!d->discard)
      say (a, "stays   %s", d->name);
  }
  say (a, "writes  %s", human_size (b, n->data_bytes));
  say (a, "zeroes  %s", human_size (b, n->zero_bytes));
  if (n->one_by_one > n->data_bytes + n->zero_bytes)
    say (a, "saves   %s: merging link after link would write %s",
         short_size (b, n->one_by_one - n->data_bytes - n->zero_bytes),
         human_size ((char[HUMAN_SIZE_MAX]) { "" }, n->one_by_one));
  say (a, "new     %" PRIu64 " block%s; the disks grow by %s", n->new_blocks,
       n->new_blocks == 1 ? "" : "s", human_size (b, n->growth));
  say (a, "space   up to %s needed, %s given back", short_size (b, n->space),
       short_size ((char[HUMAN_SIZE_MAX]) { "" }, n->freed));
}

static void
json_disk (struct json *j, const struct vd_merge_disk *d)
{
  size_t i;

  json_begin_object (j, NULL);
  json_string (j, "name", d->name);
  json_string_or_null (j, "target", d->target ? d->target->path : NULL);
  json_begin_array (j, "merged");
  for (i = 0; i < d->nr; ++i)
    json_string (j, NULL, d->chain->links[d->first + i]->path);
  json_end (j);
  json_string_or_null (j, "branch", d->branch > 0
                       ? d->chain->links[d->branch]->path : NULL);
  json_u64 (j, "data-bytes", d->numbers.data_bytes);
  json_u64 (j, "zero-bytes", d->numbers.zero_bytes);
  json_u64 (j, "one-by-one-bytes", d->numbers.one_by_one);
  json_u64 (j, "new-blocks", d->numbers.new_blocks);
  json_u64 (j, "growth", d->numbers.growth);
  json_u64 (j, "space", d->numbers.space);
  json_u64 (j, "freed", d->numbers.freed);
  json_end (j);
}

static bool
begin_json (struct ask *a, const struct vd_merge *m)
{
  size_t i;

  if (!a->json)
    return true;
  a->fp = out_begin ();
  if (!a->fp)
    return false;
  a->j = (struct json) JSON_INIT (a->fp);
  json_begin_object (&a->j, NULL);
  json_begin_array (&a->j, "disks");
  for (i = 0; i < m->nr_disks; ++i)
    json_disk (&a->j, &m->disk[i]);
  json_end (&a->j);
  json_begin_array (&a->j, "steps");
  return true;
}

/* VMware's machine file is not changed: who has it must be told, when the file
 * that it names has gone or does not lie on top any more.
 */
static void
say_vmx (const struct ask *a, const struct vd_merge *m)
{
  const struct vd_merge_disk *d = &m->disk[0];
  const struct vd_link *top = d->chain->links[0];
  const size_t newest = d->nr > 0 && d->first == d->discard
    ? d->first + d->nr : d->discard;
  const char *name = m->how.snapshot ? d->new_child
    : newest > 0 ? d->chain->links[newest]->path : NULL;

  if (name && top->descriptor && !d->found_child &&
      vd_uuid_is_null (top->id.image))
    say (a, "note    the .vmx of a VMware machine must %s name %s instead of "
         "%s, and its .vmsd still lists what was merged",
         a->dry_run ? "then" : "now", base_name (name), base_name (top->path));
}

/* ---- --compact, of a machine -------------------------------------------- */

static int
on_compact (void *opaque, enum vd_compact_phase phase, uint64_t done,
            uint64_t total)
{
  (void) phase;
  return on_progress (opaque, "compacting", done, total);
}

static void
on_found (void *opaque, const struct vd_guest_part *part)
{
  const struct ask *a = opaque;

  say_guest_part (a->quiet || a->json, part);
}

static void
add_compacted (struct ask *a, const struct vd_compact_result *r)
{
  vd_compact_add (&a->compacted, r);
  a->nr_compacted++;
}

/* The disks that nothing was merged into, too: vboxmerge's users call it once
 * more when all is merged and the guest has written zeros.  After the merge,
 * which is complete then, whatever happens here; m: NULL, nothing was merged.
 * With --free-space also those that were merged into: no snapshot stands on them
 * any more, as it does in a dry run.
 */
static int
compact_others (struct ask *a, const struct vd_merge *m, struct vd_err *err)
{
  struct vd_compact_machine_opts how = {
    .disk = a->how.disk,
    .how = { .dry_run = a->dry_run, .progress = on_compact, .opaque = a,
             .free_space = a->free_space, .found = on_found },
  };
  const bool again = a->free_space != VD_FREE_KEPT && !a->dry_run;
  const size_t nr = m && !again ? m->nr_disks : 0;
  uint8_t (*except)[16] = calloc (nr + 1, sizeof *except);
  struct vd_compact_result sum;
  size_t i, n = 0;
  int r;

  if (!except)
    return vd_fail (err, VD_NOMEM, "out of memory");
  for (i = 0; i < nr; ++i) {
    const struct vd_merge_disk *d = &m->disk[i];

    if (d->nr > 0 && d->first + d->nr + 1 == d->chain->nr_links)
      memcpy (except[how.nr_except++], d->medium->uuid, 16);
    if (d->compacted)
      add_compacted (a, &d->compact);
  }
  how.except = except;
  r = vd_compact_machine (a->name, &a->opts, &how, &sum, &n, err);
  free (except);
  if (a->phase)
    progress_end (&a->bar, r == 0 ? a->bar.total : 0);
  a->phase = NULL;
  vd_compact_add (&a->compacted, &sum);
  a->nr_compacted += n;
  return r;
}

static void
say_compacted (struct ask *a)
{
  char sizes[COMPACT_SIZES_MAX];

  if (a->nr_compacted > 0)
    say (a, "compact %zu disk%s: %s", a->nr_compacted,
         a->nr_compacted == 1 ? "" : "s",
         compact_sizes (sizes, &a->compacted, a->dry_run));
}

static void
json_compacted (struct ask *a)
{
  const struct vd_compact_result *r = &a->compacted;

  if (a->nr_compacted == 0)
    return;
  json_begin_object (&a->j, "compacted");
  json_u64 (&a->j, "disks", a->nr_compacted);
  json_u64 (&a->j, "size-before", r->size_before);
  json_u64 (&a->j, "size-after", r->size_after);
  json_u64 (&a->j, "allocated-before", r->allocated_before);
  json_u64_or_null (&a->j, "allocated-after", !a->dry_run,
                    r->allocated_after);
  json_end (&a->j);
}

static int
result (struct ask *a, const struct vd_merge *m, double seconds)
{
  char b[HUMAN_SIZE_MAX], c[HUMAN_SIZE_MAX];

  if (a->json) {
    json_end (&a->j);
    json_compacted (a);
    json_bool (&a->j, "written", !a->dry_run);
    json_end (&a->j);
    fputc ('\n', a->fp);
    return out_commit (VD_TAKE (a->fp));
  }
  if (!m->box)
    say_vmx (a, m);
  say_compacted (a);
  if (a->dry_run)
    say (a, "dry run: nothing was written");
  else if (a->how.drop)
    say (a, "done    %s given back", short_size (c, m->numbers.freed));
  else
    say (a, "done    %s merged and verified in %.1f s, %s given back",
         short_size (b, m->numbers.data_bytes + m->numbers.zero_bytes),
         seconds, short_size (c, m->numbers.freed));
  if (fflush (stdout) == EOF || ferror (stdout))
    return tool_error ("stdout cannot be written");
  return STATUS_OK;
}

/* What goes with a dropped link cannot be had back. */
static bool
confirmed (const struct ask *a, const struct vd_merge *m)
{
  char line[16], name[1024];
  size_t i;

  if ((!a->how.discard_current && !a->how.drop) || a->yes || a->dry_run)
    return true;
  for (i = 0; a->how.drop && i < m->box->nr_snapshots; ++i)
    if (m->removed[i]) {
      vd_escape (name, sizeof name, m->box->snapshots[i].name);
      fprintf (stderr, "vmdkdelta: the snapshot '%s' and what its disks hold "
               "will be lost\n", name);
    }
  for (i = 0; i < m->nr_disks; ++i)
    fprintf (stderr, "vmdkdelta: %s and everything written to it since its "
             "snapshot will be lost\n",
             base_name (m->disk[i].chain->links[0]->path));
  fprintf (stderr, "Drop it?  Type yes: ");
  if (fgets (line, sizeof line, stdin) && strcmp (line, "yes\n") == 0)
    return true;
  tool_error ("nothing was written (use --yes to drop it without asking)");
  return false;
}

/* What state the disks are in, and what to do. */
static void
tell_unfinished (const struct vd_merge *m)
{
  char *command = vd_merge_command (m);

  if (command)
    tool_error ("the merge is not complete.  The newest state reads as before; "
                "older snapshots do not, and are refused, until it is.  "
                "Complete it: %s", command);
  free (command);
}

/* Before anything is completed, too: that changes the machine file. */
static int
check_stopped (const struct ask *a)
{
  struct vd_err err;

  if (!vd_vbox_probe (a->name) ||
      (vd_vbox_check_stopped (a->name, &err) == 0 &&
       (!a->opts.registry ||
        vd_vbox_check_stopped (a->opts.registry, &err) == 0)))
    return STATUS_OK;
  if (err.code != VD_DENIED)
    return tool_fail (&err);
  if (a->allow_running || a->dry_run) {
    vd_warn (&a->opts.log, "%s.  If it does, the merged version is what it "
             "leaves as %s-prev: copy that back, with VirtualBox closed",
             err.msg, a->name);
    return STATUS_OK;
  }
  vd_err_append (&err, " (use --allow-running to continue anyway); nothing was "
                 "written");
  return tool_fail (&err);
}

/* Is there a journal to complete?  STATUS_OK after that was done, or told;
 * STATUS_ERROR; -1: there is none.
 */
static int
resume (struct ask *a)
{
  struct vd_err err;
  int r;

  if (a->json) {                /* steps are told while it is looked for */
    a->fp = out_begin ();
    if (!a->fp)
      return STATUS_ERROR;
    a->j = (struct json) JSON_INIT (a->fp);
    json_begin_object (&a->j, NULL);
    json_begin_array (&a->j, "steps");
  }
  r = vd_merge_resume (a->name, &a->opts, a->dry_run, say_step, a, &err);
  if (r != 1) {
    out_discard (VD_TAKE (a->fp));
    return r == 0 ? -1 : tool_fail (&err);
  }
  if (a->json) {
    json_end (&a->j);
    json_bool (&a->j, "written", !a->dry_run);
    json_bool (&a->j, a->dry_run ? "would-resume" : "resumed", true);
    json_end (&a->j);
    fputc ('\n', a->fp);
    return out_commit (VD_TAKE (a->fp));
  }
  if (a->dry_run) {
    say (a, "This would complete a merge that was interrupted; the options "
         "given now would not matter.");
    say (a, "dry run: nothing was written");
  }
  else
    say (a, "done    an interrupted merge was completed");
  return STATUS_OK;
}

/* Nothing to merge is what was asked for, done already. */
static int
nothing (struct ask *a, const struct vd_err *why)
{
  struct vd_err err;

  say (a, "%s", why->msg);
  if (a->how.compact && vd_vbox_probe (a->name)) {
    progress_catch_signals ();
    if (compact_others (a, NULL, &err) == -1)
      return tool_fail (&err);
  }
  if (a->json) {
    a->fp = out_begin ();
    if (!a->fp)
      return STATUS_ERROR;
    a->j = (struct json) JSON_INIT (a->fp);
    json_begin_object (&a->j, NULL);
    json_begin_array (&a->j, "disks");
    json_end (&a->j);
    json_begin_array (&a->j, "steps");
    json_end (&a->j);
    json_compacted (a);
    json_bool (&a->j, "written", a->compacted.changed && !a->dry_run);
    json_end (&a->j);
    fputc ('\n', a->fp);
    return out_commit (VD_TAKE (a->fp));
  }
  say_compacted (a);
  if (a->dry_run && a->how.compact)
    say (a, "dry run: nothing was written");
  return fflush (stdout) == EOF || ferror (stdout)
    ? tool_error ("stdout cannot be written") : STATUS_OK;
}

/* The other disks, after an interrupted merge was completed. */
static int
compact_resumed (struct ask *a)
{
  struct vd_err err;

  if (!a->how.compact || a->dry_run || a->json || !vd_vbox_probe (a->name))
    return STATUS_OK;
  if (compact_others (a, NULL, &err) == -1)
    return tool_fail (&err);
  say_compacted (a);
  return STATUS_OK;
}

/* What is going to be done. */
static void
say_plan (struct ask *a, const struct vd_merge *m)
{
  size_t i;

  a->brief = m->box && !a->verbose;
  if (a->brief)
    say_machine (a, m);
  for (i = 0; i < m->nr_disks && !a->brief; ++i)
    say_disk (a, &m->disk[i]);
  for (i = 0; i < m->nr_disks && !m->disk[i].resumed; ++i)
    ;
  if (i < m->nr_disks)
    say (a, "This completes a merge that was interrupted.");
}

static int
merge (struct ask *a)
{
  struct timespec start;
  struct vd_merge *m;
  struct vd_err err;
  int r, status = STATUS_ERROR;

  if (check_stopped (a) != STATUS_OK)
    return STATUS_ERROR;
  r = resume (a);
  if (r != -1)
    return r == STATUS_OK ? compact_resumed (a) : r;
  m = vd_merge_open (a->name, &a->how, &a->opts, &err);
  if (!m)
    return err.code == VD_NOTHING ? nothing (a, &err) : tool_fail (&err);
  r = 0;

  say_plan (a, m);
  if (!begin_json (a, m) || !confirmed (a, m))
    goto out;
  clock_gettime (CLOCK_MONOTONIC, &start);
  if (!a->dry_run) {
    if (!a->how.drop)
      say (a, "If this is interrupted, older snapshots read wrong until you run "
           "the same command again: the result is the same.");
    progress_catch_signals ();
    r = vd_merge_run (m, on_progress, a, &err);
    if (a->phase)
      progress_end (&a->bar, r == 0 ? a->bar.total : 0);
    a->phase = NULL;
  }
  if (r == 0)
    r = vd_merge_commit (m, a->dry_run, say_step, a, &err);
  if (r == 0 && m->box && a->how.compact &&
      compact_others (a, m, &err) == -1) {
    vd_err_prefix (&err, a->dry_run ? "" : "merged, but not all is compacted "
                   "(run the same command again): ");
    tool_fail (&err);
  }
  else if (r == 0)
    status = result (a, m, seconds_since (&start));
  else {
    tool_fail (&err);
    if (!a->dry_run)
      tell_unfinished (m);
  }
 out:
  out_discard (a->fp);
  vd_merge_free (m);
  return status;
}

static int run (int argc, char **argv);

const struct verb verb_merge = {
  .name = "merge",
  .synopsis = "[OPTIONS] TOP | MACHINE.vbox | DIR",
  .summary = "merge snapshots into their parent, in place",
  .help =
  "Merges the files of a chain, from the newest (TOP) down, into the oldest of\n"
  "them, without VirtualBox or VMware.  Each byte is written once.  The merged\n"
  "files are removed after the result is verified.  The machine must be off.\n"
  "If the command is interrupted, run it again.  DIR stands for the one .vbox file\n"
  "in this directory.\n"
  "\n"
  "Options:\n"
  "  --skip=N           leave the N newest files as they are, on top\n"
  "  --count=N          merge only N files, starting with the newest one that\n"
  "                     is not skipped\n"
  "  --discard-current  drop the newest file and merge the rest; asks first\n"
  "  --discard-currentstate\n"
  "                     the same\n"
  "  --drop=SNAPSHOT    of a machine: merge nothing, but drop this snapshot and\n"
  "                     all that was made on it; asks first\n"
  "  --yes              do not ask\n"
  "  --compact          do not store zeros; give back unused blocks, of a machine\n"
  "                     those of all its disks, also if there is nothing to merge\n"
  "  --free-space[=swap]  with --compact, of a machine: give back what its guest's\n"
  "                     file systems say is free (see compact), and swap space\n"
  "  --snapshot[=NAME]  leave a new, empty child on top\n"
  "  --keep             do not remove the merged files\n"
  "  --disk=NAME        merge only this disk of a machine\n"
  "  --no-machine       merge TOP even if a .vbox file registers it\n"
  "  --allow-running    merge a machine even while VirtualBox is running\n"
  "  -n, --dry-run      do everything except writing; print what would be done\n"
  "  --dryrun           the same\n"
  "  --threads=N        read and write with N threads (default 4)\n"
  "  --progress[=json]  show a bar, or a line of JSON each second, on stderr\n"
  "  -q, --quiet        print only errors and warnings\n"
  "  --verbose          of a machine, print each file and step\n"
  "  --json             print the result as JSON\n"
  CHAIN_HELP
  MACHINE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta merge --dry-run disk-000002.vmdk\n"
  "  vmdkdelta merge vm/vm.vbox\n"
  "  vmdkdelta merge --skip=1 --disk=disk0 vm/vm.vbox\n",
  .short_options = "nq",
  .long_options = long_options,
  .run = run,
};

/* What does not go together. */
static int
check_options (const struct ask *a)
{
  if (a->how.drop && (a->how.skip || a->how.count || a->how.disk ||
                     a->how.discard_current || a->how.snapshot))
    return tool_usage (&verb_merge, "--drop merges nothing, so --skip, "
                       "--count, --disk, --discard-current and --snapshot "
                       "have no meaning with it");
  if (a->free_space != VD_FREE_KEPT && !a->how.compact)
    return tool_usage (&verb_merge, "--free-space belongs to --compact");
  return STATUS_OK;
}

static int
run (int argc, char **argv)
{
  struct ask a = { .opts = { .headers = false } };
  int c, r = STATUS_OK;

  while (r == STATUS_OK &&
         (c = next_option (&verb_merge, argc, argv, &a.opts)) != -1) {
    switch (c) {
    case OPT_SKIP:
      r = option_number (&verb_merge, "skip", optarg, 0, MAX_COUNT, &a.how.skip);
      break;
    case OPT_COUNT:
      r = option_number (&verb_merge, "count", optarg, 1, MAX_COUNT,
                         &a.how.count);
      break;
    case OPT_THREADS:
      r = option_number (&verb_merge, "threads", optarg, 1,
                         VD_APPLY_MAX_THREADS, &a.how.threads);
      break;
    case OPT_DISCARD_CURRENT: a.how.discard_current = true; break;
    case OPT_DROP: a.how.drop = optarg; break;
    case OPT_YES: a.yes = true; break;
    case OPT_COMPACT: a.how.compact = true; break;
    case OPT_FREE_SPACE:
      r = option_free_space (&verb_merge, optarg, &a.free_space);
      break;
    case OPT_SNAPSHOT:
      a.how.snapshot = true;
      a.how.snapshot_name = optarg;
      break;
    case OPT_KEEP: a.how.keep = true; break;
    case OPT_DISK: a.how.disk = optarg; break;
    case OPT_NO_MACHINE: a.how.no_machine = true; break;
    case OPT_ALLOW_RUNNING: a.allow_running = true; break;
    case 'n':
    case OPT_DRY_RUN: a.dry_run = true; break;
    case 'q':
    case OPT_QUIET: a.quiet = true; break;
    case OPT_JSON: a.json = true; break;
    case OPT_VERBOSE: a.verbose = true; break;
    case OPT_PROGRESS:
      r = option_progress (&verb_merge, optarg, &a.progress);
      break;
    }
  }
  if (r != STATUS_OK)
    return r;
  if (argc - optind != 1)
    return tool_usage (&verb_merge, "give one TOP, the newest file of a "
                       "chain, or one MACHINE.vbox, or its directory");
  if (check_options (&a) != STATUS_OK)
    return STATUS_USAGE;
  progress_choose (&a.progress, a.quiet || a.json);
  a.name = machine_of (argv[optind]);
  if (a.name && a.free_space != VD_FREE_KEPT && !vd_vbox_probe (a.name))
    r = tool_usage (&verb_merge, "--free-space is for a machine; without one, "
                    "merge, and then: vmdkdelta compact --free-space BASE");
  else
    r = a.name ? merge (&a) : STATUS_ERROR;
  free (a.name);
  return r;
}
