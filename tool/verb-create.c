/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta create: the difference of two disks as a VMDK delta. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "verb-create.h"

#define DEFAULT_THREADS 4u
#define MAX_THREADS 32u

enum {
  OPT_FROM = OPT_OWN, OPT_TO, OPT_FORMAT, OPT_GRAIN, OPT_PARENT_HINT,
  OPT_PARENT_CID, OPT_BASE_DESCRIPTOR, OPT_THREADS, OPT_PROGRESS, OPT_QUIET,
  OPT_JSON, OPT_FORCE,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  { "from", required_argument, NULL, OPT_FROM },
  { "to", required_argument, NULL, OPT_TO },
  { "format", required_argument, NULL, OPT_FORMAT },
  { "grain", required_argument, NULL, OPT_GRAIN },
  { "parent-hint", required_argument, NULL, OPT_PARENT_HINT },
  { "parent-cid", required_argument, NULL, OPT_PARENT_CID },
  { "base-descriptor", required_argument, NULL, OPT_BASE_DESCRIPTOR },
  { "threads", required_argument, NULL, OPT_THREADS },
  { "progress", optional_argument, NULL, OPT_PROGRESS },
  { "quiet", no_argument, NULL, OPT_QUIET },
  { "json", no_argument, NULL, OPT_JSON },
  { "force", no_argument, NULL, OPT_FORCE },
  CHAIN_OPTIONS,
  REMOTE_OPTIONS,
  { NULL, 0, NULL, 0 },
};

static const char *const formats[] = {
  [VD_WRITER_COWD] = "cowd",
  [VD_WRITER_SPARSE] = "sparse",
  [VD_WRITER_STREAM] = "stream",
};

/* ---- Options -------------------------------------------------------------- */

static bool
parse_format (const char *s, enum vd_create_format *format)
{
  unsigned i;

  for (i = 0; i < sizeof formats / sizeof formats[0]; ++i)
    if (strcmp (s, formats[i]) == 0) {
      *format = (enum vd_create_format) i;
      return true;
    }
  return false;
}

/* "512", "64K", "1M" */
static bool
parse_grain (const char *s, uint64_t *bytes)
{
  char *end;
  unsigned long n = strtoul (s, &end, 10);

  if (s[0] < '0' || s[0] > '9' || n > 1u << 20)
    return false;
  if (*end == 'K' || *end == 'k')
    n *= 1024, ++end;
  else if (*end == 'M')
    n *= 1024 * 1024, ++end;
  *bytes = n;
  return *end == '\0' && n > 0;
}

static bool
parse_cid (const char *s, uint32_t *cid)
{
  const size_t n = strlen (s);

  if (n < 1 || n > 8 || strspn (s, "0123456789abcdefABCDEF") != n)
    return false;
  *cid = (uint32_t) strtoul (s, NULL, 16);
  return *cid != VD_NO_PARENT;
}

static int
parse_option (struct create *c, int o)
{
  switch (o) {
  case OPT_FROM: c->base.name = optarg; break;
  case OPT_TO: c->new.name = optarg; break;
  case OPT_FORMAT:
    if (!parse_format (optarg, &c->w.format))
      return tool_usage (&verb_create, "--format is %s; allowed are cowd, "
                         "sparse, stream", optarg);
    break;
  case OPT_GRAIN:
    if (!parse_grain (optarg, &c->w.grain_size))
      return tool_usage (&verb_create, "--grain is %s; it must be in bytes, or "
                         "in KiB as 64K", optarg);
    break;
  case OPT_PARENT_HINT: c->w.parent_hint = optarg; break;
  case OPT_PARENT_CID:
    if (!parse_cid (optarg, &c->w.parent_cid))
      return tool_usage (&verb_create, "--parent-cid is %s; it must have up to "
                         "8 hexadecimal digits, and not be ffffffff, which "
                         "means \"no parent\"", optarg);
    c->has_cid = true;
    break;
  case OPT_BASE_DESCRIPTOR: c->base_descriptor = optarg; break;
  case OPT_THREADS:
    return option_number (&verb_create, "threads", optarg, 1, MAX_THREADS,
                          &c->w.threads);
  case OPT_PROGRESS:
    return option_progress (&verb_create, optarg, &c->mode);
  case OPT_QUIET: c->quiet = true; break;
  case OPT_JSON: c->json = true; break;
  case OPT_FORCE: c->w.replace = true; break;
  }
  return STATUS_OK;
}

/* Behind the new delta: what serves BASE, if there is no --from, or NEW. */
static int
take_commands (struct create *c, int argc, char **argv)
{
  struct source *s;

  while (optind < argc) {
    s = !c->base.name ? &c->base : &c->new;
    if (s->name || strcmp (argv[optind], "[") != 0)
      return tool_usage (&verb_create, "more than one new delta was named");
    if (!source_operand (argv, argc, &optind, s))
      return tool_usage (&verb_create, "[ COMMAND ... ] is empty, or has no ]");
  }
  c->from = c->base.name;
  c->to = c->new.name;
  return STATUS_OK;
}

static int
check_options (const struct create *c)
{
  if (!c->from || !c->to)
    return tool_usage (&verb_create, "both --from and --to are needed (either "
                       "can be a command behind OUT.vmdk: "
                       "-- OUT.vmdk [ COMMAND ... ])");
  if (!c->out)
    return tool_usage (&verb_create, "the name of the new delta is missing");
  if (vd_is_uri (c->out))
    return tool_usage (&verb_create, "%s: the new delta is written on this "
                       "machine", c->out);
  if (c->base_descriptor && vd_is_uri (c->base_descriptor))
    return tool_usage (&verb_create, "--base-descriptor=%s: it is written on "
                       "this machine", c->base_descriptor);
  if (c->base_descriptor && (c->has_cid || c->w.parent_hint))
    return tool_usage (&verb_create, "--base-descriptor gives name and CID of "
                       "the parent; it cannot be used with --parent-hint or "
                       "--parent-cid");
  return STATUS_OK;
}

/* ---- Working -------------------------------------------------------------- */

static void
say (const struct create *c, const char *fs, ...) VD_PRINTF (2, 3);

/* A remark for people, escaped, on stderr. */
static void
say (const struct create *c, const char *fs, ...)
{
  char raw[VD_ERR_MAX], safe[VD_ERR_MAX];
  va_list args;

  if (c->quiet || c->json)
    return;
  va_start (args, fs);
  vsnprintf (raw, sizeof raw, fs, args);
  va_end (args);
  vd_escape (safe, sizeof safe, raw);
  fprintf (stderr, "vmdkdelta: note: %s\n", safe);
}

static int
check_sources (struct create *c, struct vd_err *err)
{
  const uint64_t base = c->base.file->size, new = c->new.file->size;

  if (vd_file_same (c->base.file, c->new.file))
    return vd_fail (err, VD_USAGE, "%s and %s are the same file", c->from,
                    c->to);
  if (new == 0)
    return vd_fail (err, VD_USAGE, "%s is empty: there are no disks of no "
                    "size", c->to);
  c->w.capacity = vd_div_up (new, VD_SECTOR) * VD_SECTOR;
  if (new % VD_SECTOR != 0)
    say (c, "%s has %" PRIu64 " bytes, which are not whole sectors: the delta "
         "has %" PRIu64 ", the last ones zeros", c->to, new, c->w.capacity);
  if (base < new)
    say (c, "%s has %" PRIu64 " bytes, %s has %" PRIu64 ": what the first "
         "lacks counts as zeros", c->from, base, c->to, new);
  else if (base > c->w.capacity)
    say (c, "%s has %" PRIu64 " bytes, %s only %" PRIu64 ": over the delta "
         "the disk is smaller", c->from, base, c->to, new);
  return 0;
}

/* With --force: not the files that are being read. */
static int
check_output (struct create *c, const struct vd_create *w,
              struct vd_err *err)
{
  const char *path;
  struct stat st, base;
  unsigned i;

  for (i = 0; (path = vd_create_path (w, i)) != NULL; ++i) {
    if (stat (path, &st) == -1)
      continue;
    if (source_uses (&c->base, &st) || source_uses (&c->new, &st))
      return vd_fail (err, VD_USAGE, "%s is one of the files that are "
                      "compared", path);
    if (c->base_descriptor && stat (c->base_descriptor, &base) == 0 &&
        st.st_dev == base.st_dev && st.st_ino == base.st_ino)
      return vd_fail (err, VD_USAGE, "%s is the base's descriptor "
                      "(--base-descriptor): the delta needs another name",
                      path);
  }
  return 0;
}

static int
work (struct create *c, struct vd_err *err)
{
  struct vd_create *w;
  struct progress p;
  struct diff d = {
    .base = c->base.file, .new = c->new.file, .capacity = c->w.capacity,
    .threads = c->w.threads, .progress = &p,
  };

  c->w.like = c->new.is_vmdk ? vd_chain_strictest (c->new.chain)
    : c->new.file;
  d.w = w = vd_create_open (c->out, &c->w, err);
  if (!w)
    return -1;
  progress_catch_signals ();
  progress_begin (&p, c->mode, "comparing", c->w.capacity);
  if (check_output (c, w, err) == -1 || diff_run (&d, err) == -1) {
    vd_create_abort (w);
    return -1;
  }
  if (vd_create_finish (w, &c->result, err) == -1)
    return -1;
  progress_end (&p, c->w.capacity);
  c->seconds = seconds_since (&p.start);
  c->compared = d.compared;
  return 0;
}

/* ---- The answer ----------------------------------------------------------- */

static void
print_json (const struct create *c, FILE *fp)
{
  struct json j = JSON_INIT (fp);

  json_begin_object (&j, NULL);
  json_string (&j, "filename", c->out);
  json_string (&j, "format", formats[c->w.format]);
  json_u64 (&j, "virtual-size", c->w.capacity);
  json_u64 (&j, "grain-size", c->result.grain_size);
  json_u64 (&j, "data-grains", c->result.data_grains);
  json_u64 (&j, "zero-grains", c->result.zero_grains);
  json_u64 (&j, "file-size", c->result.file_size);
  json_u64 (&j, "compared", c->compared);
  json_u64 (&j, "cid", c->result.cid);
  json_u64 (&j, "parent-cid", c->w.parent_cid);
  json_string (&j, "parent-hint", c->w.parent_hint);
  json_string_or_null (&j, "base-descriptor", c->base_descriptor);
  json_end (&j);
}

static void
print_text (const struct create *c, FILE *fp)
{
  char a[HUMAN_SIZE_MAX], b[HUMAN_SIZE_MAX], g[HUMAN_SIZE_MAX];

  out_text (fp, c->out);
  fprintf (fp, ": %" PRIu64 " grains of %s differ, %" PRIu64 " more are now "
           "zeros; %s (%.2f %% of the disk) in %.1f s, compared %s\n",
           c->result.data_grains, short_size (g, c->result.grain_size),
           c->result.zero_grains, short_size (a, c->result.file_size),
           100 * (double) c->result.file_size / (double) c->w.capacity,
           c->seconds, short_size (b, c->compared));
  if (c->base.command)          /* it ends with us */
    return;
  fprintf (fp, "next: ");
  if (c->base.is_vmdk && vd_is_uri (c->from)) {
    fprintf (fp, "nbdkit vmdk file=");
    out_shell (fp, c->out);
    fprintf (fp, " parent=");
    out_shell (fp, c->from);
  }
  else if (c->base.is_vmdk) {
    fprintf (fp, "nbdkit vmdk file=");
    out_shell (fp, c->out);
  }
  else {
    fprintf (fp, "nbdkit -r --filter=vmdkdelta %s=",
             c->base.is_nbd ? "nbd uri" : "file file");
    out_shell (fp, c->from);
    fprintf (fp, " delta=");
    out_shell (fp, c->out);
    if (c->base.file->size < c->w.capacity)
      fprintf (fp, " delta-allow-short-base=true");
  }
  fputc ('\n', fp);
}

static int
answer (const struct create *c)
{
  FILE *fp;

  if (c->quiet && !c->json)
    return STATUS_OK;
  fp = out_begin ();
  if (!fp)
    return STATUS_ERROR;
  if (c->json)
    print_json (c, fp);
  else
    print_text (c, fp);
  return out_commit (fp);
}

static int
run (int argc, char **argv)
{
  struct create c = { .w = { .format = VD_WRITER_SPARSE,
                             .threads = DEFAULT_THREADS } };
  struct vd_opts opts = { .headers = false };
  struct vd_err err;
  int o, status;

  while ((o = next_option (&verb_create, argc, argv, &opts)) != -1) {
    status = parse_option (&c, o);
    if (status != STATUS_OK)
      return status;
  }
  if (optind < argc)
    c.out = argv[optind++];
  status = take_commands (&c, argc, argv);
  if (status != STATUS_OK)
    return status;
  status = check_options (&c);
  if (status != STATUS_OK)
    return status;
  progress_choose (&c.mode, c.quiet || c.json);

  if (source_open (&c.base, c.from, &opts, &err) == -1 ||
      source_open (&c.new, c.to, &opts, &err) == -1 ||
      source_widen (&c.base, c.w.threads, &err) == -1 ||
      source_widen (&c.new, c.w.threads, &err) == -1 ||
      check_sources (&c, &err) == -1 || create_find_parent (&c, &err) == -1 ||
      work (&c, &err) == -1) {
    if (c.made_descriptor)
      unlink (c.base_descriptor);
    status = tool_fail (&err);
  }
  else
    status = answer (&c);
  source_close (&c.base);
  source_close (&c.new);
  free (c.hint);
  return status;
}

const struct verb verb_create = {
  .name = "create",
  .synopsis = "--from BASE --to NEW [OPTIONS] OUT.vmdk",
  .summary = "make a delta from the difference between two disks",
  .help =
  "BASE and NEW are raw files, block devices, NBD URIs, or VMDKs.  OUT.vmdk\n"
  "over BASE is NEW.  The one that is not given by its option is served by a\n"
  "command behind OUT.vmdk: [ COMMAND ... ].\n"
  "\n"
  "Options:\n"
  "  --from=BASE        the disk as it was\n"
  "  --to=NEW           the disk as it is to be\n"
  "  --format=sparse    monolithicSparse, one file (default)\n"
  "  --format=cowd      as ESX writes it: OUT.vmdk and OUT-delta.vmdk\n"
  "  --format=stream    compressed (streamOptimized)\n"
  "  --grain=SIZE       unit of the delta: 4K to 1M (default 64K), with\n"
  "                     cowd 512 (default) to 1M\n"
  "  --base-descriptor=FILE\n"
  "                     write a descriptor of the raw BASE, so that QEMU\n"
  "                     and others find a parent; an existing one is used\n"
  "  --parent-hint=NAME the name of the parent that the delta records\n"
  "  --parent-cid=HEX   the CID of the parent that it records (default: that\n"
  "                     of a VMDK BASE; fffffffe for others)\n"
  "  --force            replace an existing OUT.vmdk\n"
  "  --threads=N        compare with N threads (default 4)\n"
  "  --progress[=bar|json]\n"
  "                     report progress on stderr (default: a bar, if that\n"
  "                     is a terminal)\n"
  "  --quiet            print only errors\n"
  "  --json             print the result as JSON\n"
  CHAIN_HELP
  REMOTE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta create --from base.img --to new.img delta.vmdk\n"
  "  vmdkdelta create --from base.img --to new.img --format=cowd \\\n"
  "      --base-descriptor=base.vmdk disk-000001.vmdk\n"
  "  vmdkdelta create --from /dev/vg/snap --to nbd://host/disk d.vmdk\n"
  "  vmdkdelta create --from base.img -- d.vmdk [ qemu-nbd -r -f qcow2 new.qcow2 ]\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};
