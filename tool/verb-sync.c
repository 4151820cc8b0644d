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
  "SOURCE is the file that a machine uses now (its newest snapshot).  It is left\n"
  "alone, since the machine writes to it; TARGET gets what is frozen below it.  The\n"
  "first time that is everything, and then what is new since.  TARGET is a raw\n"
  "file, which is made if there is none, a block device, an NBD URI, or\n"
  "-- [ COMMAND ... ], a server that is started for this.  If the command is\n"
  "interrupted, run it again.\n"
  "\n"
  "Options:\n"
  "  --final            the machine is off: go to the end of SOURCE\n"
  "  --copy=LINK=FILE   read FILE, a copy (vmkfstools -i) of the frozen LINK, in\n"
  "                     place of LINK and what is below it\n"
  "  --holds=LINK       TARGET is a copy of this frozen link\n"
  "  --state=FILE       where to note what TARGET holds (default: beside a file\n"
  "                     as TARGET.vmdkdelta-state; needed for others)\n"
  "  --ignore-state     compare everything with TARGET, whatever it holds, and\n"
  "                     write what differs\n"
  "  --verify           read back and compare\n"
  "  --dry-run          do everything except writing; print what would be done,\n"
  "                     and how long it and a stop of the machine would take\n"
  "  --trust-data       do not inflate compressed grains while validating\n"
  "  --threads=N        read and write with N threads (default 4)\n"
  "  --progress[=json]  show a bar, or a line of JSON each second, on stderr\n"
  "  --quiet            print only errors and warnings\n"
  "  --json             print the result as JSON\n"
  CHAIN_HELP
  REMOTE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta sync vm-000002.vmdk vm.img\n"
  "  vmdkdelta sync --final vm-000002.vmdk vm.img\n"
  "  vmdkdelta sync --state=vm.state vm-000002.vmdk /dev/vg0/vm\n",
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

static int
one_option (struct sync *s, struct sync_disk *d, int c)
{
  switch (c) {
  case OPT_FINAL: s->how.to_end = true; break;
  case OPT_COPY: return option_copy (s, optarg);
  case OPT_HOLDS: s->holds = optarg; break;
  case OPT_STATE:
    if (*optarg == '\0')
      return tool_usage (&verb_sync, "--state needs the name of a file");
    d->note.name = optarg;
    break;
  case OPT_IGNORE_STATE: d->note.ignore = true; break;
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

static int
run (int argc, char **argv)
{
  struct sync_disk disk = { .name = NULL };
  struct sync s = {
    .opts = { .prefix = "--", .for_writing = true },
    .threads = VD_APPLY_THREADS, .disk = &disk, .nr_disks = 1,
  };
  int c, r = STATUS_OK;
  size_t n;

  disk.all = &s;
  while (r == STATUS_OK &&
         (c = next_option (&verb_sync, argc, argv, &s.opts)) != -1)
    r = one_option (&s, &disk, c);
  if (r != STATUS_OK)
    return r;
  n = (size_t) (argc - optind);
  disk.command = target_command (&argv[optind], &n);
  if (n != (disk.command ? 1 : 2))
    return tool_usage (&verb_sync, "give SOURCE and TARGET");
  disk.source = argv[optind];
  disk.target_name = disk.command ? disk.command[0] : argv[optind + 1];
  progress_choose (&s.progress, s.quiet || s.json);
  r = sync_run (&s);
  sync_disk_free (&disk);
  return r;
}
