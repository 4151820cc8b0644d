/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta map: what of the disk lies where. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "picture.h"
#include "tool.h"

enum {
  OPT_JSON = OPT_OWN,
  OPT_NO_PARENTS,
  OPT_PICTURE,
  OPT_COLOR,
};

static const struct option long_options[] = {
  HELP_OPTIONS,
  { "json", no_argument, NULL, OPT_JSON },
  { "no-parents", no_argument, NULL, OPT_NO_PARENTS },
  { "picture", optional_argument, NULL, OPT_PICTURE },
  { "color", required_argument, NULL, OPT_COLOR },
  CHAIN_OPTIONS,
  REMOTE_OPTIONS,
  { NULL, 0, NULL, 0 },
};

struct printer {
  const struct vd_chain *chain;
  FILE *fp;
  struct json json;
  struct vd_file const *known;  /* the file of `name`, */
  const char *name;             /* as it is printed */
  uint64_t damaged;
};

/* The shape is that of qemu-img map --output=json, with keys added.  A piece
 * that cannot be read counts as data there: it is not zeros.
 */
static int
print_json (void *opaque, const struct vd_walked *p, struct vd_err *err)
{
  struct printer *o = opaque;
  struct json *j = &o->json;
  const bool zero = p->kind == VD_WALK_ZERO || p->kind == VD_WALK_HOLE;

  (void) err;
  json_begin_object (j, NULL);
  j->one_line = true;
  json_u64 (j, "start", p->offset);
  json_u64 (j, "length", p->length);
  json_u64 (j, "depth", p->layer);
  json_bool (j, "present", p->kind != VD_WALK_HOLE && p->kind != VD_WALK_BASE);
  json_bool (j, "zero", zero);
  json_bool (j, "data", !zero && p->kind != VD_WALK_BASE);
  json_bool (j, "compressed", p->kind == VD_WALK_COMPRESSED);
  json_string (j, "kind", vd_walk_name (p->kind));
  if (p->kind == VD_WALK_DATA)
    json_u64 (j, "offset", p->where);
  if (p->file)
    json_string (j, "filename", p->file->name);
  json_end (j);
  j->one_line = false;
  if (p->kind == VD_WALK_DAMAGED)
    o->damaged += p->length;
  return ferror (o->fp) ? vd_fail (err, VD_IO, "temporary file") : 0;
}

static int
print_text (void *opaque, const struct vd_walked *p, struct vd_err *err)
{
  struct printer *o = opaque;

  fprintf (o->fp, "%15" PRIu64 " %15" PRIu64 "  %-10s", p->offset, p->length,
           vd_walk_name (p->kind));
  if (p->kind == VD_WALK_HOLE || p->kind == VD_WALK_BASE)
    fputs ("      -", o->fp);
  else
    fprintf (o->fp, " %6" PRIu32, p->layer);
  if (p->file) {
    fprintf (o->fp, " %15" PRIu64 "  ", p->where);
    out_text (o->fp, base_name (p->file->name));
  }
  putc ('\n', o->fp);
  if (p->kind == VD_WALK_DAMAGED)
    o->damaged += p->length;
  return ferror (o->fp) ? vd_fail (err, VD_IO, "temporary file") : 0;
}

static int
print_map (const struct vd_chain *chain, bool as_json, FILE *fp,
           uint64_t *damaged, struct vd_err *err)
{
  struct printer o = { .chain = chain, .fp = fp, .json = JSON_INIT (fp) };
  int r;

  if (as_json)
    json_begin_array (&o.json, NULL);
  else
    fprintf (fp, "%15s %15s  %-10s %6s %15s  %s\n", "OFFSET", "LENGTH",
             "KIND", "DEPTH", "FILE OFFSET", "FILE");
  r = vd_walk_chain (chain, as_json ? print_json : print_text, &o, err);
  if (as_json)
    json_end (&o.json);
  *damaged = o.damaged;
  return r;
}

static bool
ends_with (const char *s, const char *suffix)
{
  const size_t n = strlen (s), m = strlen (suffix);

  return n > m && strcmp (s + n - m, suffix) == 0;
}

struct request {
  bool json, picture, no_parents;
  const char *svg;
  enum color color;
};

static int
parse (int argc, char **argv, struct request *q, struct vd_opts *opts)
{
  int c;

  while ((c = next_option (&verb_map, argc, argv, opts)) != -1) {
    switch (c) {
    case OPT_JSON:
      q->json = true;
      break;
    case OPT_NO_PARENTS:
      q->no_parents = true;
      break;
    case OPT_PICTURE:
      q->picture = true;
      q->svg = optarg;
      /* Or a slip of the keyboard would overwrite an image. */
      if (q->svg && !ends_with (q->svg, ".svg"))
        return tool_usage (&verb_map, "--picture=%s: the name of the picture "
                           "must end in .svg", q->svg);
      break;
    case OPT_COLOR:
      if (!color_parse (optarg, &q->color))
        return tool_usage (&verb_map, "--color=%s: allowed are never, auto "
                           "and always", optarg);
      break;
    }
  }
  if (optind == argc)
    return tool_usage (&verb_map, "which FILE?");
  if (q->json && q->picture)
    return tool_usage (&verb_map, "--json and --picture cannot be given "
                       "together");
  return STATUS_OK;
}

/* Is it the parents that are the trouble? */
static bool
opens_alone (const char *name)
{
  static const struct vd_opts quiet = { .ignore_cid = true };
  struct vd_err ignored;
  struct stack stack;
  bool r;

  r = stack_open (&stack, (char *[]) { (char *) (uintptr_t) name }, 1,
                  STACK_ALONE, &quiet, &ignored) == 0;
  stack_close (&stack);
  return r;
}

static int
run (int argc, char **argv)
{
  struct vd_opts opts = { .log = { .fn = NULL } };
  struct request q = { .color = COLOR_AUTO };
  uint64_t damaged = 0;
  struct stack stack;
  struct vd_err err;
  FILE *fp = NULL;
  int r;

  r = parse (argc, argv, &q, &opts);
  if (r != STATUS_OK)
    return r;
  if (stack_open (&stack, argv + optind, (size_t) (argc - optind),
                  q.no_parents ? STACK_ALONE : STACK_PARENTS, &opts,
                  &err) == -1) {
    tool_fail (&err);
    if (argc - optind == 1 && !q.no_parents && opens_alone (argv[optind]))
      fprintf (stderr, "vmdkdelta: to see this file without its parents, add "
               "--no-parents\n");
    return STATUS_ERROR;
  }

  fp = q.svg ? NULL : out_begin ();
  if (!q.svg && !fp)
    r = -2;
  else if (q.svg)
    r = picture_svg (stack.chain, q.svg, &damaged, &err);
  else if (q.picture)
    r = picture_terminal (stack.chain, fp, q.color, &damaged, &err);
  else
    r = print_map (stack.chain, q.json, fp, &damaged, &err);
  stack_close (&stack);
  if (r != 0) {
    out_discard (fp);
    return r == -1 ? tool_fail (&err) : STATUS_ERROR;
  }
  if (damaged > 0)
    fprintf (stderr, "vmdkdelta: warning: %" PRIu64 " bytes of the disk "
             "cannot be read; vmdkdelta check says why\n", damaged);
  return fp ? out_commit (fp) : STATUS_OK;
}

const struct verb verb_map = {
  .name = "map",
  .synopsis = "[--json | --picture[=FILE.svg]] FILE...",
  .summary = "show which file holds which part of a disk, or draw it",
  .help =
    "With one FILE its parents are opened too.  Several FILEs are stacked in the\n"
    "order given, oldest first; parts that none of them holds are called \"base\".\n"
    "\n"
    "Options:\n"
    "  --json             print JSON in the shape of qemu-img map\n"
    "  --picture          draw the disk in the terminal\n"
    "  --picture=FILE.svg draw the disk to a file\n"
    "  --color=WHEN       never, auto (default) or always\n"
    "  --no-parents       open one FILE alone, as a delta\n"
    CHAIN_HELP
    REMOTE_HELP
    "  --help             print this help\n"
    "\n"
    "Examples:\n"
    "  vmdkdelta map disk-000002.vmdk\n"
    "  vmdkdelta map --json disk-000002.vmdk | jq '.[] | select(.depth == 0)'\n"
    "  vmdkdelta map --picture disk-000002.vmdk\n"
    "  vmdkdelta map --picture=disk.svg disk-000002.vmdk\n"
    "  vmdkdelta map --no-parents disk-000002-delta.vmdk\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};
