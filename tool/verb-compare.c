/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta compare: is what was made of a disk that disk? */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "verb-create.h"

enum {
  OPT_PROGRESS = OPT_OWN,
  OPT_QUIET,
  OPT_JSON,
  OPT_THREADS,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  REMOTE_OPTIONS,
  { "progress", optional_argument, NULL, OPT_PROGRESS },
  { "quiet", no_argument, NULL, OPT_QUIET },
  { "json", no_argument, NULL, OPT_JSON },
  { "threads", required_argument, NULL, OPT_THREADS },
  { NULL, 0, NULL, 0 },
};

struct compare {
  struct vd_opts opts;
  struct source disk[2];
  unsigned threads;
  enum progress_mode mode;
  bool quiet, json;

  struct vd_comparison result;
  const char *layer[2];         /* the file that the byte comes from, or NULL */
  double seconds;
};

/* Which file of a chain has this byte: that of the newest link which holds it, or
 * NULL if none does.
 */
static int
find_layer (const struct source *s, uint64_t offset, const char **path,
            struct vd_err *err)
{
  struct vd_runs runs = VD_RUNS_INIT (2);
  const struct vd_chain *chain = s->chain;
  int r;

  if (!s->is_vmdk || offset >= s->file->size)
    return 0;
  r = vd_chain_map (chain, offset, 1, &runs, err);
  if (r == 0 && runs.n > 0 &&
      (runs.run[0].kind == VD_DATA || runs.run[0].kind == VD_COMPRESSED))
    *path = chain->links[chain->slots[runs.run[0].slot].layer]->path;
  vd_runs_free (&runs);
  return r;
}

/* A disk that is larger than the other is equal if the rest is what a device has
 * more than was copied to it; one that ends earlier is not.
 */
static int
compare_sizes (struct compare *c, struct vd_err *err)
{
  const uint64_t want = c->disk[0].file->size, have = c->disk[1].file->size;

  if (have >= want || !c->result.equal)
    return 0;
  c->result.equal = false;
  c->result.offset = have;
  return vd_file_pread (c->disk[0].file, &c->result.a, 1, have, err);
}

static int
compare_disks (struct compare *c, struct vd_err *err)
{
  const uint64_t size
    = vd_min (c->disk[0].file->size, c->disk[1].file->size);
  struct progress p;
  const struct vd_compare_opts how = {
    .threads = c->threads, .progress = progress_update, .opaque = &p,
  };
  struct timespec start;
  unsigned i;

  /* Everything begins with nothing. */
  if (size == 0 && c->disk[1].file->size > 0)
    return vd_fail (err, VD_USAGE, "%s is empty, so it cannot say what %s should "
                    "hold", c->disk[0].name, c->disk[1].name);
  for (i = 0; i < 2; ++i)
    if (source_widen (&c->disk[i], c->threads, err) == -1)
      return -1;
  clock_gettime (CLOCK_MONOTONIC, &start);
  progress_begin (&p, c->mode, "comparing", size);
  progress_catch_signals ();
  if (vd_compare (c->disk[0].file, c->disk[1].file, size, &how, &c->result,
                  err) == -1)
    return -1;
  progress_end (&p, p.total);
  c->seconds = seconds_since (&start);
  if (compare_sizes (c, err) == -1)
    return -1;
  for (i = 0; i < 2 && !c->result.equal; ++i)
    if (find_layer (&c->disk[i], c->result.offset, &c->layer[i], err) == -1)
      return -1;
  return 0;
}

static void
print_disk (FILE *fp, const struct compare *c, unsigned i)
{
  const struct source *s = &c->disk[i];

  fprintf (fp, "  %s  ", i == 0 ? "source" : "target");
  if (c->result.offset >= s->file->size)
    fprintf (fp, "ends   ");
  else
    fprintf (fp, "0x%02x   ", i == 0 ? c->result.a : c->result.b);
  out_text (fp, s->name);
  if (c->layer[i] && strcmp (c->layer[i], s->name) != 0) {
    fprintf (fp, ", from ");
    out_text (fp, c->layer[i]);
  }
  else if (s->is_vmdk && !c->layer[i])
    fprintf (fp, ", which no file of it holds: zeros");
  putc ('\n', fp);
}

static void
print_text (FILE *fp, const struct compare *c)
{
  const uint64_t want = c->disk[0].file->size, have = c->disk[1].file->size;
  char b[HUMAN_SIZE_MAX];
  unsigned i;

  if (!c->result.equal) {
    fprintf (fp, "different, first at byte %" PRIu64 ":\n", c->result.offset);
    for (i = 0; i < 2; ++i)
      print_disk (fp, c, i);
    return;
  }
  fprintf (fp, "equal, %s", human_size (b, want));
  fprintf (fp, "; %s read of each, %.2f s\n", short_size (b, c->result.read),
           c->seconds);
  if (have > want)
    fprintf (fp, "the target is larger by %" PRIu64 " bytes, which were not "
             "compared\n", have - want);
}

static void
print_json (FILE *fp, const struct compare *c)
{
  struct json j = JSON_INIT (fp);

  json_begin_object (&j, NULL);
  json_bool (&j, "equal", c->result.equal);
  json_u64 (&j, "source-size", c->disk[0].file->size);
  json_u64 (&j, "target-size", c->disk[1].file->size);
  json_u64 (&j, "read", c->result.read);
  if (!c->result.equal) {
    json_u64 (&j, "offset", c->result.offset);
    if (c->layer[0])
      json_string (&j, "source-file", c->layer[0]);
    if (c->layer[1])
      json_string (&j, "target-file", c->layer[1]);
  }
  json_end (&j);
  putc ('\n', fp);
}

static int
run_compare (struct compare *c)
{
  struct vd_err err;
  int status;
  FILE *fp;

  if (source_open (&c->disk[0], c->disk[0].name, &c->opts, &err) == -1 ||
      source_open (&c->disk[1], c->disk[1].name, &c->opts, &err) == -1 ||
      compare_disks (c, &err) == -1)
    status = tool_fail (&err);
  else {
    status = STATUS_OK;
    if (!c->quiet) {
      fp = out_begin ();
      if (fp)
        (c->json ? print_json : print_text) (fp, c);
      status = out_commit (fp);
    }
    if (status == STATUS_OK && !c->result.equal)
      status = STATUS_DAMAGE;
  }
  source_close (&c->disk[0]);
  source_close (&c->disk[1]);
  return status;
}

static int run (int argc, char **argv);

const struct verb verb_compare = {
  .name = "compare",
  .synopsis = "[OPTIONS] SOURCE TARGET",
  .summary = "compare two disks, and tell where they first differ",
  .help =
  "SOURCE and TARGET are VMDK or VDI disks with all their parents, raw or flat\n"
  "files, block devices, or NBD URIs; behind --, each can also be a command\n"
  "that serves it: [ COMMAND ... ].  TARGET may be larger.  The exit status is 0\n"
  "if they are equal, and 3 if they are not.\n"
  "\n"
  "Options:\n"
  "  --threads=N        read with N threads (default 4)\n"
  "  --progress[=json]  show a bar, or a line of JSON each second, on stderr\n"
  "  --quiet            print nothing but errors and warnings\n"
  "  --json             print the result as JSON\n"
  CHAIN_HELP
  REMOTE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta compare vm-000002.vmdk /dev/vg0/vm-hda\n"
  "  vmdkdelta compare base.img nbd://localhost/disk\n"
  "  vmdkdelta compare -- vm-000002.vmdk [ qemu-nbd -r -f qcow2 vm.qcow2 ]\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};

static int
run (int argc, char **argv)
{
  struct compare c = { .threads = 4 };
  int o, r = STATUS_OK;

  while (r == STATUS_OK &&
         (o = next_option (&verb_compare, argc, argv, &c.opts)) != -1) {
    switch (o) {
    case OPT_QUIET: c.quiet = true; break;
    case OPT_JSON: c.json = true; break;
    case OPT_PROGRESS:
      r = option_progress (&verb_compare, optarg, &c.mode);
      break;
    case OPT_THREADS:
      r = option_number (&verb_compare, "threads", optarg, 1,
                         VD_COMPARE_MAX_THREADS, &c.threads);
      break;
    }
  }
  if (r != STATUS_OK)
    return r;
  if (!source_operand (argv, argc, &optind, &c.disk[0]) ||
      !source_operand (argv, argc, &optind, &c.disk[1]) || optind != argc)
    return tool_usage (&verb_compare, "give two disks: SOURCE and TARGET");
  progress_choose (&c.mode, c.quiet || c.json);
  return run_compare (&c);
}
