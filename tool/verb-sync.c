/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta sync: bring targets up to date with a disk that is in use. */

#include <stdlib.h>
#include <string.h>

#include "verb-sync.h"

enum {
  OPT_FINAL = OPT_OWN,
  OPT_DISK,
  OPT_LOG,
  OPT_COPY,
  OPT_HOLDS,
  OPT_STATE,
  OPT_IGNORE_STATE,
  OPT_VERIFY,
  OPT_DRY_RUN,
  OPT_TRUST_DATA,
  OPT_THREADS,
  OPT_PROGRESS,
  OPT_QUIET,
  OPT_JSON,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  REMOTE_OPTIONS,
  { "final", no_argument, NULL, OPT_FINAL },
  { "disk", required_argument, NULL, OPT_DISK },
  { "log", required_argument, NULL, OPT_LOG },
  { "copy", required_argument, NULL, OPT_COPY },
  { "holds", required_argument, NULL, OPT_HOLDS },
  { "state", required_argument, NULL, OPT_STATE },
  { "ignore-state", no_argument, NULL, OPT_IGNORE_STATE },
  { "verify", no_argument, NULL, OPT_VERIFY },
  { "dry-run", no_argument, NULL, OPT_DRY_RUN },
  { "trust-data", no_argument, NULL, OPT_TRUST_DATA },
  { "threads", required_argument, NULL, OPT_THREADS },
  { "progress", optional_argument, NULL, OPT_PROGRESS },
  { "quiet", no_argument, NULL, OPT_QUIET },
  { "json", no_argument, NULL, OPT_JSON },
  { NULL, 0, NULL, 0 },
};

static int
print_json (const struct sync *s)
{
  struct json j;
  FILE *fp = out_begin ();
  size_t i;

  if (!fp)
    return STATUS_ERROR;
  j = (struct json) JSON_INIT (fp);
  json_begin_object (&j, NULL);
  json_begin_array (&j, "disks");
  for (i = 0; i < s->nr_disks; ++i)
    sync_json (&j, &s->disk[i]);
  json_end (&j);
  json_end (&j);
  putc ('\n', fp);
  return out_commit (fp);
}

/* A machine that is moved with a part of its disks does not start. */
static void
warn_others (const struct sync *s)
{
  const struct vd_machine *m = s->disk[0].machine;
  size_t i, k;

  for (i = 0; m && i < m->n; ++i) {
    for (k = 0; k < s->nr_disks; ++k)
      if (strcmp (s->disk[k].name, m->view[i].disk) == 0)
        break;
    if (k == s->nr_disks && m->view[i].current)
      vd_warn (&s->opts.log, "%s has a disk %s (%s) too, which is not given",
               m->path, m->view[i].disk, m->view[i].file);
  }
}

static int
sync_run (struct sync *s)
{
  struct vd_err err;
  size_t i;

  /* All of them first: a machine is not stopped for half of its disks. */
  for (i = 0; i < s->nr_disks; ++i) {
    if (sync_prepare (&s->disk[i], &err) == -1)
      return tool_fail (&err);
    sync_print_plan (&s->disk[i]);
  }
  warn_others (s);
  progress_catch_signals ();
  for (i = 0; i < s->nr_disks; ++i) {
    if (!s->dry_run && sync_write (&s->disk[i], &err) == -1) {
      tool_fail (&err);
      if (s->disk[i].writing)
        tool_error ("%s is half written.  Nothing is lost: run the same command "
                    "again to complete it", s->disk[i].target_name);
      return STATUS_ERROR;
    }
    sync_print_result (&s->disk[i]);
  }
  if (s->json)
    return print_json (s);
  if (fflush (stdout) == EOF || ferror (stdout))
    return tool_error ("stdout cannot be written");
  return STATUS_OK;
}

static int run (int argc, char **argv);

const struct verb verb_sync = {
  .name = "sync",
  .synopsis = "[OPTIONS] SOURCE TARGET",
  .summary = "copy a disk that is in use, then what is new",
  .help =
  "SOURCE is the file that a machine uses now (its newest snapshot), or the\n"
  "machine (.vmx, .vbox).  That file is left alone, since the machine writes to it;\n"
  "TARGET gets what is frozen below it.  The first time that is everything, and\n"
  "then what is new since.  TARGET is a raw file, which is made if there is none, a\n"
  "block device, an NBD URI, or -- [ COMMAND ... ], a server that is started for\n"
  "this.  If the command is interrupted, run it again.\n"
  "\n"
  "Options:\n"
  "  --disk=NAME=TARGET the target of one disk of a machine (can be repeated)\n"
  "  --final            the machine is off: go to the end of SOURCE\n"
  "  --copy=LINK=FILE   read FILE, a copy (vmkfstools -i) of the frozen LINK, in\n"
  "                     place of LINK and what is below it\n"
  "  --holds=LINK       TARGET is a copy of this frozen link\n"
  "  --state=FILE       where to note what TARGET holds (default: beside a file\n"
  "                     as TARGET.vmdkdelta-state; needed for others); with\n"
  "                     --disk, a directory\n"
  "  --ignore-state     compare everything with TARGET, whatever it holds, and\n"
  "                     write what differs\n"
  "  --verify           read back and compare\n"
  "  --dry-run          do everything except writing; print what would be done,\n"
  "                     and how long it and a stop of the machine would take\n"
  "  --trust-data       do not inflate compressed grains while validating\n"
  "  --threads=N        read and write with N threads (default 4)\n"
  "  --progress[=json]  show a bar, or a line of JSON each second, on stderr; with\n"
  "                     =N, lines \"DONE/100\" on file descriptor N\n"
  "  --log=FILE         append what is done, with the time, to FILE\n"
  "  --quiet            print only errors and warnings\n"
  "  --json             print the result as JSON\n"
  CHAIN_HELP
  REMOTE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta sync vm-000002.vmdk vm.img\n"
  "  vmdkdelta sync --final vm-000002.vmdk vm.img\n"
  "  vmdkdelta sync --state=vm.state vm-000002.vmdk /dev/vg0/vm\n"
  "  vmdkdelta sync vm/vm.vmx --disk=scsi0:0=sys.img --disk=nvme0:1=data.img\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};

/* --copy=LINK=FILE: either may be a URI, which can have "=" in its query. */
static int
option_copy (struct sync *s, char *value)
{
  char *eq = strchr (value, '=');

  if (eq && vd_is_uri (value)) {
    char *end = strstr (value, ".vmdk=");

    eq = end ? end + 5 : NULL;
  }
  if (!eq || eq == value || eq[1] == '\0')
    return tool_usage (&verb_sync, "--copy=%s: give LINK=FILE", value);
  *eq = '\0';
  s->how.copied = value;
  s->how.copy = eq + 1;
  return STATUS_OK;
}

/* --disk=NAME=TARGET.  No disk has "=" in its name. */
static int
option_disk (struct sync *s, char *value)
{
  char *eq = strchr (value, '=');
  size_t i;

  if (!eq || eq == value || eq[1] == '\0')
    return tool_usage (&verb_sync, "--disk=%s: give NAME=TARGET", value);
  *eq = '\0';
  for (i = 0; i < s->nr_disks; ++i)
    if (strcmp (s->disk[i].name, value) == 0 ||
        strcmp (s->disk[i].target_name, eq + 1) == 0)
      return tool_usage (&verb_sync, "--disk=%s=%s: the disk or the target is "
                         "given twice", value, eq + 1);
  s->disk[s->nr_disks++] = (struct sync_disk) {
    .name = value, .target_name = eq + 1
  };
  return STATUS_OK;
}

static int
one_option (struct sync *s, int c)
{
  switch (c) {
  case OPT_FINAL: s->how.to_end = true; break;
  case OPT_DISK: return option_disk (s, optarg);
  case OPT_LOG: return out_log (optarg);
  case OPT_COPY: return option_copy (s, optarg);
  case OPT_HOLDS: s->holds = optarg; break;
  case OPT_STATE:
    if (*optarg == '\0')
      return tool_usage (&verb_sync, "--state needs the name of a file");
    s->state = optarg;
    break;
  case OPT_IGNORE_STATE: s->ignore_state = true; break;
  case OPT_VERIFY: s->verify = true; break;
  case OPT_DRY_RUN: s->dry_run = true; break;
  case OPT_TRUST_DATA: s->trust_data = true; break;
  case OPT_THREADS:
    return option_number (&verb_sync, "threads", optarg, 1,
                          VD_APPLY_MAX_THREADS, &s->threads);
  case OPT_PROGRESS:
    return option_progress (&verb_sync, optarg, &s->progress);
  case OPT_QUIET: s->quiet = true; break;
  case OPT_JSON: s->json = true; break;
  }
  return STATUS_OK;
}

/* SOURCE and TARGET, or the source of all --disk. */
static int
sync_operands (struct sync *s, int argc, char **argv)
{
  size_t n = (size_t) (argc - optind);
  struct sync_disk *d = s->disk;

  if (s->nr_disks > 0) {
    if (n != 1 || !vd_machine_probe (argv[optind]))
      return tool_usage (&verb_sync, "with --disk give one machine (.vmx, "
                         ".vbox), and no TARGET");
    if (s->nr_disks > 1 && (s->holds || s->how.copy))
      return tool_usage (&verb_sync, "--holds and --copy are for one disk");
    return STATUS_OK;
  }
  d->command = target_command (&argv[optind], &n);
  if (n != (d->command ? 1 : 2))
    return tool_usage (&verb_sync, "give SOURCE and TARGET");
  d->target_name = d->command ? d->command[0] : argv[optind + 1];
  s->nr_disks = 1;
  return STATUS_OK;
}

/* Where each disk is noted: of several, files in the directory --state. */
static int
sync_notes (struct sync *s, const char *source, bool several)
{
  struct sync_disk *d;

  for (d = s->disk; d < s->disk + s->nr_disks; ++d) {
    d->all = s;
    d->source = source;
    d->note.name = s->state;
    d->note.ignore = s->ignore_state;
    if (!several || !s->state)
      continue;
    if (asprintf (&d->note_name, "%s/%s.vmdkdelta-state", s->state,
                  d->name) == -1)
      return d->note_name = NULL, tool_error ("out of memory");
    d->note.name = d->note_name;
  }
  return STATUS_OK;
}

static int
run (int argc, char **argv)
{
  struct sync s = {
    .opts = { .for_writing = true },
    .threads = VD_APPLY_THREADS,
    .disk = calloc ((size_t) argc, sizeof *s.disk),
  };
  int c, r = s.disk ? STATUS_OK : tool_error ("out of memory");
  bool several;
  size_t i;

  while (r == STATUS_OK &&
         (c = next_option (&verb_sync, argc, argv, &s.opts)) != -1)
    r = one_option (&s, c);
  several = s.nr_disks > 0;
  if (r == STATUS_OK)
    r = sync_operands (&s, argc, argv);
  if (r == STATUS_OK)
    r = sync_notes (&s, argv[optind], several);
  if (r == STATUS_OK) {
    progress_choose (&s.progress, s.quiet || s.json);
    r = sync_run (&s);
  }
  for (i = 0; i < s.nr_disks; ++i)
    sync_disk_free (&s.disk[i]);
  free (s.disk);
  return r;
}
