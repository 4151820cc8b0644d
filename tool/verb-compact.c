/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta compact: space given back to the file system.
 *
 * In place, or to a new file (--output); what is done, and why it can be cut
 * off at any moment, is told in compact.h.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "progress.h"
#include "tool.h"

enum {
  OPT_OUTPUT = OPT_OWN,
  OPT_DRY_RUN,
  OPT_FREE_SPACE,
  OPT_PROGRESS,
  OPT_QUIET,
  OPT_JSON,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  MACHINE_OPTIONS,
  { "output", required_argument, NULL, OPT_OUTPUT },
  { "dry-run", no_argument, NULL, OPT_DRY_RUN },
  { "free-space", optional_argument, NULL, OPT_FREE_SPACE },
  { "progress", optional_argument, NULL, OPT_PROGRESS },
  { "quiet", no_argument, NULL, OPT_QUIET },
  { "json", no_argument, NULL, OPT_JSON },
  { NULL, 0, NULL, 0 },
};

struct compact {
  struct vd_opts opts;
  char *file;
  const char *output;
  bool dry_run, quiet, json, raw;
  enum vd_compact_free free_space;
  enum progress_mode mode;

  struct progress progress;
  bool showing;
  enum vd_compact_phase phase;
  struct vd_compact_result result;
};

#define say(q, ...) tool_say ((q)->quiet || (q)->json, __VA_ARGS__)

static int
progress (void *opaque, enum vd_compact_phase phase, uint64_t done,
          uint64_t total)
{
  static const char *const what[] = { "looking", "moving", "verifying" };
  struct compact *c = opaque;

  if (!c->showing || c->phase != phase) {
    if (c->showing)
      progress_end (&c->progress, c->progress.total);
    c->showing = true;
    c->phase = phase;
    progress_begin (&c->progress, c->mode, what[phase], total);
  }
  c->progress.total = total;
  return progress_update (&c->progress, done);
}

void
say_guest_part (bool silent, const struct vd_guest_part *part)
{
  char name[VD_GUEST_NAME_MAX], a[HUMAN_SIZE_MAX], b[HUMAN_SIZE_MAX];

  vd_guest_part_name (name, part);
  if (part->state == VD_GUEST_CLEAN)
    tool_say (silent, "guest   %s: %s, %s of %s are free", name, part->kind,
              short_size (a, part->free), short_size (b, part->length));
  else if (part->state == VD_GUEST_LEFT)
    tool_say (silent, "guest   %s: %s%sleft alone: %s", name, part->kind,
              part->kind[0] ? ", " : "", part->why);
}

static void
found (void *opaque, const struct vd_guest_part *part)
{
  const struct compact *c = opaque;

  say_guest_part (c->quiet || c->json, part);
}

/* Is the file a raw disk?  Everything else opens as a link, or fails there. */
static int
find_kind (struct compact *c, struct vd_err *err)
{
  struct vd_file *file = vd_file_open (c->file, err);
  const struct vd_format *fmt;
  enum vd_magic magic;
  uint8_t head[VD_FOREIGN_HEAD];
  size_t n;
  int r;

  if (!file)
    return -1;
  n = (size_t) vd_min (file->size, sizeof head);
  if (vd_file_pread (file, head, n, 0, err) == -1 ||
      vd_image_probe (file, &magic, &fmt, err) == -1) {
    vd_file_close (file);
    return -1;
  }
  c->raw = magic != VD_MAGIC_SPARSE &&
    (magic != VD_MAGIC_TEXT || !vd_is_descriptor_text (head, n));
  /* Zeros in an image of another format are not its disk's. */
  r = c->raw ? vd_check_raw (file, VD_RAW_SOURCE, 1, &c->opts, err) : 0;
  vd_file_close (file);
  if (r == -1)
    return -1;
  if (c->raw && c->output)
    return vd_fail (err, VD_USAGE, "%s is a raw file: cp --sparse=always "
                    "copies it without its zeros; --output is for VDI and "
                    "sparse VMDK files", c->file);
  return 0;
}

static int
work (struct compact *c, struct vd_err *err)
{
  const struct vd_compact_opts how = {
    .dry_run = c->dry_run, .progress = progress, .opaque = c,
    .free_space = c->free_space, .found = found,
  };
  int r;

  if (find_kind (c, err) == -1 ||
      vd_merge_check_pending (c->file, &c->opts, err) == -1)
    return -1;
  progress_catch_signals ();
  r = c->output ? vd_compact_copy (c->file, c->output, &c->opts, &how,
                                   &c->result, err)
    : c->raw ? vd_compact_raw (c->file, &how, &c->result, err)
    : vd_compact_in_place (c->file, &c->opts, &how, &c->result, err);
  if (c->showing && r == 0)
    progress_end (&c->progress, c->progress.total);
  return r;
}

static void
say_bytes (const struct compact *c, const char *name, uint64_t bytes,
           const char *text)
{
  char b[HUMAN_SIZE_MAX];

  if (bytes > 0)
    say (c, "%-7s %s%s", name, human_size (b, bytes), text);
}

static int
tell_json (const struct compact *c)
{
  const struct vd_compact_result *r = &c->result;
  FILE *fp = out_begin ();
  struct json j = JSON_INIT (fp);

  if (!fp)
    return STATUS_ERROR;
  json_begin_object (&j, NULL);
  json_string (&j, "file", c->file);
  json_string_or_null (&j, "output", c->output);
  json_u64 (&j, "looked-bytes", r->looked);
  json_u64 (&j, "zero-bytes", r->zeros);
  json_u64 (&j, "free-bytes", r->free);
  json_u64 (&j, "kept-bytes", r->kept);
  json_u64 (&j, "unused-bytes", r->unused);
  json_u64 (&j, "moved-bytes", r->moved);
  json_u64 (&j, "stuck-bytes", r->stuck);
  json_u64 (&j, "size-before", r->size_before);
  json_u64 (&j, "size-after", r->size_after);
  json_u64 (&j, "allocated-before", r->allocated_before);
  if (c->dry_run)
    json_null (&j, "allocated-after");
  else
    json_u64 (&j, "allocated-after", r->allocated_after);
  json_bool (&j, "changed", r->changed);
  json_bool (&j, "written", r->changed && !c->dry_run);
  json_end (&j);
  fputc ('\n', fp);
  return out_commit (fp);
}

static int
tell (const struct compact *c)
{
  const struct vd_compact_result *r = &c->result;
  char a[HUMAN_SIZE_MAX], b[HUMAN_SIZE_MAX];

  if (c->json)
    return tell_json (c);
  say_bytes (c, "looked", r->looked, " were stored");
  say_bytes (c, "zeros", r->zeros, c->dry_run ? " would be given back"
             : " given back");
  say_bytes (c, "free", r->free, c->dry_run ? " in the guest would be given "
             "back" : " in the guest given back");
  say_bytes (c, "kept", r->kept, " of zeros stay stored, as holes in the "
             "file: the format has no other way");
  say_bytes (c, "unused", r->unused, " in the file were not used by anything");
  say_bytes (c, "moved", r->moved, c->output ? " written"
             : " within the file");
  say_bytes (c, "stuck", r->stuck, " are free but stay, as holes: what is "
             "behind them cannot be moved (--output makes a dense file)");
  say (c, "size    %s -> %s", human_size (a, r->size_before),
       short_size (b, r->size_after));
  if (c->dry_run)
    say (c, "done    dry run: nothing was written");
  else {
    say (c, "space   %s -> %s on the file system",
         human_size (a, r->allocated_before),
         short_size (b, r->allocated_after));
    if (c->output)
      say (c, "done    %s written and compared; %s is unchanged", c->output,
           c->file);
    else if (r->changed)
      say (c, "done    %s", c->file);
    else
      say (c, "done    there was nothing to give back");
  }
  if (fflush (stdout) == EOF || ferror (stdout))
    return tool_error ("stdout cannot be written");
  return STATUS_OK;
}

/* ---- A machine ---------------------------------------------------------- */

const char *
compact_sizes (char buf[COMPACT_SIZES_MAX], const struct vd_compact_result *r,
               bool dry)
{
  char a[HUMAN_SIZE_MAX], b[HUMAN_SIZE_MAX], c[HUMAN_SIZE_MAX],
    d[HUMAN_SIZE_MAX];

  short_size (a, r->size_before);
  short_size (b, r->size_after);
  if (dry)
    snprintf (buf, COMPACT_SIZES_MAX, "%s -> %s", a, b);
  else
    snprintf (buf, COMPACT_SIZES_MAX, "%s -> %s, on the file system %s -> %s",
              a, b, short_size (c, r->allocated_before),
              short_size (d, r->allocated_after));
  return buf;
}

/* One disk is done, and the next begins with a bar of its own. */
static void
disk_done (void *opaque, const char *name, const struct vd_compact_result *r)
{
  struct compact *c = opaque;
  char sizes[COMPACT_SIZES_MAX];

  if (c->showing)
    progress_end (&c->progress, c->progress.total);
  c->showing = false;
  say (c, "compact %s: %s", name, compact_sizes (sizes, r, c->dry_run));
}

static int
compact_machine (struct compact *c)
{
  const struct vd_compact_machine_opts how = {
    .how = { .dry_run = c->dry_run, .progress = progress, .opaque = c,
             .free_space = c->free_space, .found = found },
    .done = disk_done, .opaque = c,
  };
  char sizes[COMPACT_SIZES_MAX];
  struct vd_err err;
  size_t n;

  if (c->output)
    return tool_usage (&verb_compact, "--output is for one disk: give its "
                       "file, not the machine");
  progress_catch_signals ();
  if (vd_compact_machine (c->file, &c->opts, &how, &c->result, &n,
                          &err) == -1)
    return tool_fail (&err);
  if (c->json)
    return tell_json (c);
  say (c, "%s %zu disk%s: %s", c->dry_run ? "dry run" : "done   ", n,
       n == 1 ? "" : "s", compact_sizes (sizes, &c->result, c->dry_run));
  if (fflush (stdout) == EOF || ferror (stdout))
    return tool_error ("stdout cannot be written");
  return STATUS_OK;
}

int
option_free_space (const struct verb *verb, const char *value,
                   enum vd_compact_free *what)
{
  if (value && strcmp (value, "swap") != 0)
    return tool_usage (verb, "--free-space=%s: allowed is swap, or nothing",
                       value);
  *what = value ? VD_FREE_SWAP : VD_FREE_FILES;
  return STATUS_OK;
}

static int run (int argc, char **argv);

const struct verb verb_compact = {
  .name = "compact",
  .synopsis = "[OPTIONS] FILE | MACHINE.vbox | DIR",
  .summary = "give back the space of zeros and of unused blocks",
  .help =
  "Makes a disk smaller without changing what it reads as: a VDI, a sparse VMDK\n"
  "(one file or split), a flat VMDK (its descriptor), or a raw file.  Stored\n"
  "zeros become entries that say so, data from the end of the file moves into\n"
  "the gaps, and the file is truncated; in flat and raw files holes are punched.\n"
  "Nothing may use FILE meanwhile.  If the command is interrupted, run it again.\n"
  "UUIDs and CIDs stay the same, so snapshots made on FILE stay valid.\n"
  "Of a machine, the base files of all its disks of type Normal are compacted;\n"
  "DIR stands for the one .vbox file in this directory.\n"
  "\n"
  "Options:\n"
  "  --output=NEW       write a dense new file instead, and leave FILE alone\n"
  "                     (VDI, or VMDK in one file)\n"
  "  --dry-run          do everything except writing; print what would be done\n"
  "  --free-space[=swap]  also give back what the guest's file systems (ext2, ext3,\n"
  "                     ext4) say is free, and swap space\n"
  "  --progress[=json]  show a bar, or a line of JSON each second, on stderr\n"
  "  --quiet            print only errors and warnings\n"
  "  --json             print the result as JSON\n"
  CHAIN_HELP
  MACHINE_HELP
  "  --help             print this help\n"
  "\n"
  "Examples:\n"
  "  vmdkdelta compact --dry-run machine.vdi\n"
  "  vmdkdelta compact machine.vdi\n"
  "  vmdkdelta compact vm/vm.vbox\n"
  "  vmdkdelta compact --output=dense.vdi machine.vdi\n",
  .short_options = "",
  .long_options = long_options,
  .run = run,
};

static int
run (int argc, char **argv)
{
  struct compact c = { .opts = { .headers = false } };
  struct vd_err err;
  int o, r;

  while ((o = next_option (&verb_compact, argc, argv, &c.opts)) != -1) {
    switch (o) {
    case OPT_OUTPUT:
      if (*optarg == '\0')
        return tool_usage (&verb_compact, "--output needs the name of a file");
      c.output = optarg;
      break;
    case OPT_DRY_RUN: c.dry_run = true; break;
    case OPT_FREE_SPACE:
      if (option_free_space (&verb_compact, optarg,
                             &c.free_space) != STATUS_OK)
        return STATUS_USAGE;
      break;
    case OPT_QUIET: c.quiet = true; break;
    case OPT_JSON: c.json = true; break;
    case OPT_PROGRESS:
      if (option_progress (&verb_compact, optarg, &c.mode) != STATUS_OK)
        return STATUS_USAGE;
      break;
    }
  }
  if (argc - optind != 1)
    return tool_usage (&verb_compact, "give one FILE, or one MACHINE.vbox");
  progress_choose (&c.mode, c.quiet || c.json);
  c.file = machine_of (argv[optind]);
  if (!c.file)
    return STATUS_ERROR;
  r = vd_vbox_probe (c.file) ? compact_machine (&c)
    : work (&c, &err) == -1 ? tool_fail (&err) : tell (&c);
  free (c.file);
  return r;
}
