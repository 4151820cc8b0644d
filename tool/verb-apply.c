/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta apply: deltas written to a base in place.
 *
 * Order: everything is opened, validated, compared and counted; the undo file
 * is made; only then the first byte of the target changes.  What is written
 * depends on the deltas alone, so the same command can be repeated after any
 * accident.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "undo.h"
#include "verb-apply.h"

enum {
  OPT_BASE = OPT_OWN,
  OPT_UNDO,
  OPT_VERIFY,
  OPT_DRY_RUN,
  OPT_PROGRESS,
  OPT_QUIET,
  OPT_JSON,
  OPT_THREADS,
  OPT_TRUST_DATA,
  OPT_NO_FOLLOW,
  OPT_STATE,
  OPT_IGNORE_STATE,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  REMOTE_OPTIONS,
  { "base", required_argument, NULL, OPT_BASE },
  { "undo", required_argument, NULL, OPT_UNDO },
  { "verify", no_argument, NULL, OPT_VERIFY },
  { "dry-run", no_argument, NULL, OPT_DRY_RUN },
  { "progress", optional_argument, NULL, OPT_PROGRESS },
  { "quiet", no_argument, NULL, OPT_QUIET },
  { "json", no_argument, NULL, OPT_JSON },
  { "threads", required_argument, NULL, OPT_THREADS },
  { "trust-data", no_argument, NULL, OPT_TRUST_DATA },
  { "no-follow", no_argument, NULL, OPT_NO_FOLLOW },
  { "state", required_argument, NULL, OPT_STATE },
  { "ignore-state", no_argument, NULL, OPT_IGNORE_STATE },
  { NULL, 0, NULL, 0 },
};

static void
say_plan (const struct apply *a)
{
  const struct vd_chain *chain = a->deltas.chain;
  char b[HUMAN_SIZE_MAX];
  size_t i;

  for (i = chain->nr_links; i > 0; --i)
    apply_say (a, "delta   %s (%s)", chain->links[i - 1]->path,
               vd_link_format (chain->links[i - 1]));
  apply_say (a, "target  %s, %s", a->target_name,
             human_size (b, a->target.file->size));
  if (a->target.threads < a->threads)
    apply_say (a, "server  %u of %u connections", a->target.threads,
               a->threads);
  apply_say (a, "writes  %s in %" PRIu64 " run%s",
             human_size (b, a->plan.data_bytes), a->plan.data_runs,
             a->plan.data_runs == 1 ? "" : "s");
  apply_say (a, "zeroes  %s in %" PRIu64 " run%s",
             human_size (b, a->plan.zero_bytes), a->plan.zero_runs,
             a->plan.zero_runs == 1 ? "" : "s");
  if (a->new_space > 0)
    apply_say (a, "space   the target grows by up to %s",
               human_size (b, a->new_space));
}

/* Read for a second, to tell how long it will take at the least. */
static int
probe (struct apply *a, struct vd_err *err)
{
  struct vd_runs batch = VD_BATCH_RUNS;
  struct vd_batch_walk walk;
  struct timespec start;
  uint8_t *buf = malloc (VD_BATCH_SIZE);
  uint64_t done = 0;
  char b[HUMAN_SIZE_MAX];
  double t = 0;
  size_t i;
  int r = buf ? 1 : vd_fail_nomem (err);

  vd_batch_walk_init (&walk, a->deltas.chain);
  clock_gettime (CLOCK_MONOTONIC, &start);
  while (r == 1 && t < 1 && (r = vd_batch_walk_next (&walk, &batch, err)) == 1) {
    if (!vd_batch_is_zeros (&batch)) {
      if (vd_fetch (a->reader, &batch, buf, vd_batch_start (&batch),
                    err) == -1)
        r = -1;
      for (i = 0; i < batch.n; ++i)
        if (batch.run[i].kind == VD_DATA ||
            batch.run[i].kind == VD_COMPRESSED)
          done += batch.run[i].length;
    }
    t = seconds_since (&start);
  }
  vd_batch_walk_free (&walk);
  vd_runs_free (&batch);
  free (buf);
  if (r == -1)
    return -1;
  if (done > 0 && t > 0)
    apply_say (a, "time    reading alone takes about %.1f s (%s a second, "
               "one thread); writing is not tried",
               (double) a->plan.data_bytes / ((double) done / t),
               short_size (b, (uint64_t) ((double) done / t)));
  return 0;
}

static int
look_at_undo (const struct apply *a, struct vd_err *err)
{
  return a->undo
    ? undo_look (a->reader, a->target.file, a->undo, err) : 0;
}

/* "vmdkdelta apply UNDO TARGET", for a shell; to be freed. */
static char *
undo_command (const struct apply *a)
{
  CLEANUP_FREE char *undo = vd_shell_file (a->undo);
  CLEANUP_FREE char *target = vd_shell_file (a->target_name);
  CLEANUP_FREE char *state
    = a->state.note.name ? vd_shell_word (a->state.note.name) : NULL;
  char *r;

  if (!undo || !target ||
      asprintf (&r, "vmdkdelta apply %s%s%s%s %s", state ? "--state=" : "",
                state ? state : "", state ? " " : "", undo, target) == -1)
    r = NULL;
  return r;
}

static int
make_undo (struct apply *a, struct vd_err *err)
{
  struct progress p;
  const struct undo_opts how = {
    .now = a->state.now, .survey = &a->state.survey,
    .again = a->state.verdict == VD_STEP_AGAIN,
    .progress = progress_update, .opaque = &p,
  };
  char *command;

  progress_begin (&p, a->progress, "saving",
                  a->plan.data_bytes + a->plan.zero_bytes);
  if (undo_save (a->reader, a->target.file, a->undo, &how, &a->undo_kept,
                 err) == -1)
    return -1;
  progress_end (&p, p.total);
  command = undo_command (a);
  apply_say (a, "undo    %s%s; to undo everything: %s", a->undo,
             a->undo_kept ? " (kept from an earlier run)" : "",
             command ? command : "vmdkdelta apply");
  free (command);
  return 0;
}

/* Nothing is overwritten, so no file is made; but one of the run that wrote it
 * is still good.
 */
static int
keep_undo (struct apply *a, struct vd_err *err)
{
  if (a->undo && access (a->undo, F_OK) == -1) {
    apply_say (a, "undo    %s is not made: nothing is overwritten", a->undo);
    a->undo = NULL;
  }
  return a->undo ? make_undo (a, err) : 0;
}

static int
write_target (struct apply *a, struct vd_err *err)
{
  struct progress p;
  const struct vd_apply_opts opts = {
    .threads = a->target.threads, .progress = progress_update, .opaque = &p,
  };
  struct timespec start;

  apply_say (a, "If this is interrupted, run the same command again: the "
             "result is the same.");
  clock_gettime (CLOCK_MONOTONIC, &start);
  progress_begin (&p, a->progress, "applying",
                  a->plan.data_bytes + a->plan.zero_bytes);
  progress_catch_signals ();
  if (apply_begin (a, err) == -1)
    return -1;
  a->writing = true;
  if (vd_apply (a->reader, a->target.file, &opts, err) == -1)
    return -1;
  progress_end (&p, p.total);

  if (a->verify) {
    progress_begin (&p, a->progress, "verifying",
                    a->plan.data_bytes + a->plan.zero_bytes);
    if (vd_apply_verify (a->reader, a->target.file, &opts, err) == -1) {
      vd_err_prefix (err, "written, but verifying failed: ");
      return -1;
    }
    progress_end (&p, p.total);
  }
  if (apply_finish (a, err) == -1)
    return -1;
  a->writing = false;
  a->seconds = seconds_since (&start);
  return 0;
}

static int
prepare (struct apply *a, char **paths, size_t n, struct vd_err *err)
{
  if (vd_deltas_open (&a->deltas, (const char *const *) paths, n, &a->how,
                      &a->opts, err) == -1 ||
      target_open (&a->target, a->target_name, !a->dry_run, a->command,
                   a->threads, &a->opts, err) == -1 ||
      apply_check (a, err) == -1 ||
      vd_apply_plan (a->deltas.chain, &a->plan, err) == -1 ||
      apply_check_space (a, err) == -1)
    return -1;
  vd_warn_beside (a->deltas.chain->links[0], &a->opts, false);
  /* The map is walked once: a small cache will do. */
  a->reader = vd_reader_new (a->deltas.chain, UINT64_C (1) << 20, err);
  return a->reader ? apply_check_state (a, err) : -1;
}

/* What state the target is in, and what to do. */
static void
tell_state (const struct apply *a)
{
  char *command = a->undo ? undo_command (a) : NULL;

  if (a->writing)
    tool_error ("%s is now partly old and partly new.  Nothing is lost: run the "
                "same command again to complete it%s%s", a->target_name,
                command ? ", or undo it with: " : "", command ? command : "");
  free (command);
}

static int
result (const struct apply *a)
{
  char b[HUMAN_SIZE_MAX];
  struct json j;
  FILE *fp;

  if (!a->json) {
    if (a->state.there)
      apply_say (a, "there   %s holds all that already; nothing was written",
                 a->target_name);
    else if (a->dry_run)
      apply_say (a, "dry run: nothing was written");
    else
      apply_say (a, "done    %s flushed%s, %.2f s",
                 short_size (b, a->plan.data_bytes + a->plan.zero_bytes),
                 a->verify ? " and verified" : "", a->seconds);
    if (fflush (stdout) == EOF || ferror (stdout))
      return tool_error ("stdout cannot be written");
    return STATUS_OK;
  }
  fp = out_begin ();
  if (!fp)
    return STATUS_ERROR;
  j = (struct json) JSON_INIT (fp);
  json_begin_object (&j, NULL);
  json_string (&j, "target", a->target_name);
  json_u64 (&j, "size", a->deltas.chain->size);
  json_u64 (&j, "links", a->deltas.chain->nr_links);
  json_u64 (&j, "data-bytes", a->plan.data_bytes);
  json_u64 (&j, "data-runs", a->plan.data_runs);
  json_u64 (&j, "zero-bytes", a->plan.zero_bytes);
  json_u64 (&j, "zero-runs", a->plan.zero_runs);
  json_u64 (&j, "new-space", a->new_space);
  json_bool (&j, "written", !a->dry_run && !a->state.there);
  json_bool (&j, "already-there", a->state.there);
  json_bool (&j, "verified", a->state.there || (a->verify && !a->dry_run));
  if (a->state.note.path)
    json_string (&j, "state", a->state.note.path);
  if (a->undo)
    json_string (&j, "undo", a->undo);
  json_end (&j);
  fputc ('\n', fp);
  return out_commit (fp);
}

static int
run_apply (struct apply *a, char **paths, size_t n)
{
  struct vd_err err;
  int status = STATUS_ERROR;

  if (prepare (a, paths, n, &err) == 0) {
    say_plan (a);
    if (a->state.there ? keep_undo (a, &err) == 0
        : a->dry_run ? look_at_undo (a, &err) == 0 && probe (a, &err) == 0
        : (!a->undo || make_undo (a, &err) == 0) &&
        write_target (a, &err) == 0)
      status = result (a);
    else {
      tool_fail (&err);
      tell_state (a);
    }
  }
  else
    tool_fail (&err);

  vd_reader_free (a->reader);
  apply_state_free (&a->state);
  target_close (&a->target);
  vd_deltas_close (&a->deltas);
  return status;
}

static int run (int argc, char **argv);

const struct verb verb_apply = {
  .name = "apply",
  .synopsis = "[OPTIONS] DELTA... TARGET",
  .summary = "write deltas into a raw file, block device or NBD export",
  .help =
  "Writes what the deltas hold, oldest first, over TARGET: a raw or flat file,\n"
  "a block device, an NBD URI, or -- [ COMMAND ... ], a server that is started\n"
  "for this (qemu-nbd, nbdkit).  With one DELTA, those of its parents which\n"
  "are deltas are applied too.  Everything is validated before the first byte\n"
  "is written.  If the command is interrupted, run it again.\n"
  "\n"
  "Options:\n"
  "  --base=FILE        compare the CID of this descriptor of the base\n"
  "  --undo=FILE        first save what will be overwritten, as a delta\n"
  "  --verify           read back and compare\n"
  "  --dry-run          do everything except writing; print what would be done\n"
  "  --trust-data       do not inflate compressed grains while validating\n"
  "  --state=FILE       where to note what TARGET holds (default: beside a file\n"
  "                     as TARGET.vmdkdelta-state; nowhere for others)\n"
  "  --ignore-state     write whatever was noted of TARGET\n"
  "  --no-follow        apply only the deltas given, not their parents\n"
  "  --threads=N        read and write with N threads (default 4)\n"
  "  --progress[=json]  show a bar, or a line of JSON each second, on stderr\n"
  "  --quiet            print only errors and warnings\n"
  "  --json             print the result as JSON\n"
  CHAIN_HELP
  REMOTE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta apply --dry-run vm-000001.vmdk /dev/vg0/vm-hda\n"
  "  vmdkdelta apply --undo=back.vmdk vm-000001.vmdk vm-flat.vmdk\n"
  "  vmdkdelta apply --verify old.vmdk new.vmdk nbd://localhost/disk\n"
  "  vmdkdelta apply x.vmdk -- [ qemu-nbd -f qcow2 vm.qcow2 ]\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};

static int
run (int argc, char **argv)
{
  struct apply a = {
    .opts = { .for_writing = true },
    .how = { .follow_option = "--no-follow", .base_later = true },
    .threads = VD_APPLY_THREADS,
  };
  int c, r = STATUS_OK;
  size_t n;

  while (r == STATUS_OK &&
         (c = next_option (&verb_apply, argc, argv, &a.opts)) != -1) {
    switch (c) {
    case OPT_BASE: a.base = optarg; break;
    case OPT_UNDO:
      if (*optarg == '\0')
        return tool_usage (&verb_apply, "--undo needs the name of a file");
      a.undo = optarg;
      break;
    case OPT_VERIFY: a.verify = true; break;
    case OPT_DRY_RUN: a.dry_run = true; break;
    case OPT_QUIET: a.quiet = true; break;
    case OPT_JSON: a.json = true; break;
    case OPT_TRUST_DATA: a.trust_data = true; break;
    case OPT_STATE:
      if (*optarg == '\0')
        return tool_usage (&verb_apply, "--state needs the name of a file");
      a.state.note.name = optarg;
      break;
    case OPT_IGNORE_STATE: a.state.note.ignore = true; break;
    case OPT_NO_FOLLOW: a.how.no_follow = true; break;
    case OPT_PROGRESS:
      r = option_progress (&verb_apply, optarg, &a.progress);
      break;
    case OPT_THREADS:
      r = option_number (&verb_apply, "threads", optarg, 1,
                         VD_APPLY_MAX_THREADS, &a.threads);
      break;
    }
  }
  if (r != STATUS_OK)
    return r;
  n = (size_t) (argc - optind);
  a.command = target_command (&argv[optind], &n);
  a.target_name = a.command ? a.command[0] : argv[argc - 1];
  if (!a.command && n > 0)
    --n;
  if (n == 0)
    return tool_usage (&verb_apply, "give at least one DELTA, and the TARGET "
                       "last");
  progress_choose (&a.progress, a.quiet || a.json);
  return run_apply (&a, &argv[optind], n);
}
