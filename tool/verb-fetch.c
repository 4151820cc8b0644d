/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta fetch: copy a disk or machine from its host, to keep it. */

#include <inttypes.h>
#include <string.h>

#include "verb-fetch.h"

#define DEFAULT_THREADS 4u

enum {
  OPT_PROGRESS = OPT_OWN, OPT_QUIET, OPT_THREADS, OPT_NO_CHECKSUM,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  { "threads", required_argument, NULL, OPT_THREADS },
  { "no-checksum", no_argument, NULL, OPT_NO_CHECKSUM },
  { "progress", optional_argument, NULL, OPT_PROGRESS },
  { "quiet", no_argument, NULL, OPT_QUIET },
  CHAIN_OPTIONS,
  REMOTE_OPTIONS,
  { NULL, 0, NULL, 0 },
};

static const char *
result_name (const struct fetch_file *f)
{
  switch (f->result) {
  case FETCH_NEW: return "fetched";
  case FETCH_RESUMED: return "completed";
  case FETCH_THERE: return "was there";
  case FETCH_WAITING: break;
  }
  return "waiting";
}

static int
print (const struct fetch_files *f, double seconds)
{
  char b[HUMAN_SIZE_MAX];
  FILE *fp = out_begin ();
  size_t i;

  if (!fp)
    return STATUS_ERROR;
  for (i = 0; i < f->n; ++i) {
    const struct fetch_file *x = &f->file[i];

    fprintf (fp, "%-10s %10s  %-7s  ", result_name (x),
             short_size (b, x->file->size), x->summed ? "sha256" : "size");
    out_text (fp, x->path);
    putc ('\n', fp);
  }
  fprintf (fp, "%zu files, %s in %.1f s\n", f->n, short_size (b, f->total),
           seconds);
  return out_commit (fp);
}

static int
run_fetch (const char *uri, const char *dir, struct fetch_copy *c,
           enum progress_mode mode, bool quiet)
{
  struct fetch_files files;
  struct progress p;
  struct vd_err err;
  int status;

  c->files = &files;
  c->progress = &p;
  if (fetch_find (&files, uri, dir, c->opts, &err) == -1 ||
      fetch_check (&files, &err) == -1) {
    fetch_free (&files);
    return tool_fail (&err);
  }
  progress_catch_signals ();
  progress_begin (&p, mode, "fetching", files.total);
  if (fetch_run (c, &err) == -1)
    status = tool_fail (&err);
  else {
    progress_end (&p, files.total);
    status = quiet ? STATUS_OK : print (&files, seconds_since (&p.start));
  }
  fetch_free (&files);
  return status;
}

static int run (int argc, char **argv);

const struct verb verb_fetch = {
  .name = "fetch",
  .synopsis = "[OPTIONS] URI DIR",
  .summary = "copy a disk with its parents, or a machine, from its host",
  .help =
  "URI is a disk, a snapshot or a machine (.vmx) on another host.  All files\n"
  "that belong to it are copied to DIR, in the same places relative to each\n"
  "other.  What is missing is told before anything is copied.  If it is\n"
  "interrupted, run the same command again: it goes on.\n"
  "\n"
  "Options:\n"
  "  --threads=N        copy N files at a time (default 4)\n"
  "  --no-checksum      do not compare SHA-256, which is done where the host\n"
  "                     can calculate it\n"
  "  --progress[=bar|json]\n"
  "                     report progress on stderr (default: a bar, if that\n"
  "                     is a terminal)\n"
  "  --quiet            print only errors\n"
  CHAIN_HELP
  REMOTE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta fetch ssh://root@esx/vmfs/volumes/ds/vm/vm-000003.vmdk backup\n"
  "  vmdkdelta fetch ssh://root@esx/vmfs/volumes/ds/vm/vm.vmx backup\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};

static int
run (int argc, char **argv)
{
  struct vd_opts opts = { .headers = false };
  struct fetch_copy c = { .threads = DEFAULT_THREADS, .opts = &opts };
  enum progress_mode mode = PROGRESS_AUTO;
  bool quiet = false;
  int o, r = STATUS_OK;

  while (r == STATUS_OK &&
         (o = next_option (&verb_fetch, argc, argv, &opts)) != -1) {
    switch (o) {
    case OPT_QUIET: quiet = true; break;
    case OPT_NO_CHECKSUM: c.no_sums = true; break;
    case OPT_PROGRESS: r = option_progress (&verb_fetch, optarg, &mode); break;
    case OPT_THREADS:
      r = option_number (&verb_fetch, "threads", optarg, 1, FETCH_MAX_THREADS,
                         &c.threads);
      break;
    }
  }
  if (r != STATUS_OK)
    return r;
  if (argc - optind != 2)
    return tool_usage (&verb_fetch, "give what to copy, and where: URI DIR");
  if (!vd_is_uri (argv[optind]))
    return tool_usage (&verb_fetch, "%s is no URI: what is on this machine is "
                       "copied by cp", argv[optind]);
  if (vd_is_uri (argv[optind + 1]))
    return tool_usage (&verb_fetch, "%s: the directory is one of this machine",
                       argv[optind + 1]);
  progress_choose (&mode, quiet);
  return run_fetch (argv[optind], argv[optind + 1], &c, mode, quiet);
}
