/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta check: is everything in these files as it has to be?
 *
 * A file that is too damaged to be opened is damaged (status 3); one that is
 * not there, or not of a kind that we read, could not be checked (status 1).
 */

#include <stdlib.h>

#include "check-print.h"

enum { OPT_JSON = OPT_OWN, OPT_CHAIN, OPT_NO_INFLATE, OPT_VERBOSE };

#define KEEP 10u
#define KEEP_VERBOSE 1000u

static const struct option long_options[] = {
  HELP_OPTIONS,
  { "json", no_argument, NULL, OPT_JSON },
  { "chain", no_argument, NULL, OPT_CHAIN },
  { "no-inflate", no_argument, NULL, OPT_NO_INFLATE },
  { "verbose", no_argument, NULL, OPT_VERBOSE },
  CHAIN_OPTIONS,
  REMOTE_OPTIONS,
  { NULL, 0, NULL, 0 },
};

static void
cannot_open (struct checked *c)
{
  c->failed = true;
  c->damaged_open = c->why.code == VD_CORRUPT ||
    c->why.code == VD_TRUNCATED || c->why.code == VD_MISMATCH;
}

static int
make_reports (struct checked *c, size_t n, struct vd_err *err)
{
  c->reports = calloc (n, sizeof *c->reports);
  if (!c->reports)
    return vd_fail (err, VD_NOMEM, "out of memory");
  c->nr_reports = n;
  return 0;
}

/* The chain of the file, or as much as can be opened of it: the file. */
static int
check_file (struct checked *c, bool chain, const struct vd_opts *opts,
            const struct vd_check_opts *check, struct vd_err *err)
{
  c->stack.family = vd_family_new (opts, err);
  if (!c->stack.family)
    return -1;
  c->stack.top = vd_family_add (c->stack.family, c->path, &c->why);
  if (!c->stack.top ||
      vd_link_load (c->stack.top->link, opts, &c->why) == -1) {
    cannot_open (c);
    return 0;
  }

  if (chain) {
    if (vd_family_resolve (c->stack.family, c->stack.top, &c->why) == 0)
      c->stack.chain = vd_family_chain (c->stack.family, c->stack.top,
                                        &c->why);
    if (!c->stack.chain)
      cannot_open (c);
  }
  if (!c->stack.chain)
    return make_reports (c, 1, err) == -1 ? -1
      : vd_check_link (c->stack.top->link, check, &c->reports[0], err);
  c->has_whole = true;
  if (make_reports (c, c->stack.chain->nr_links, err) == -1)
    return -1;
  return vd_check_chain (c->stack.chain, check, c->reports, &c->whole, err);
}

static void
checked_free (struct checked *c)
{
  size_t i;

  for (i = 0; i < c->nr_reports; ++i)
    vd_check_report_free (&c->reports[i]);
  free (c->reports);
  vd_check_report_free (&c->whole);
  stack_close (&c->stack);
}

struct settings {
  bool json, chain, verbose;
  struct vd_check_opts check;
  struct vd_opts open;
  struct vd_log log;
};

static void
parse (struct settings *s, int argc, char **argv)
{
  int c;

  s->check = (struct vd_check_opts) { .inflate = true, .keep = KEEP };
  while ((c = next_option (&verb_check, argc, argv, &s->open)) != -1)
    switch (c) {
    case OPT_JSON: s->json = true; break;
    case OPT_CHAIN: s->chain = true; break;
    case OPT_NO_INFLATE: s->check.inflate = false; break;
    case OPT_VERBOSE: s->verbose = true; s->check.keep = KEEP_VERBOSE; break;
    default: break;
    }
  /* What opening would refuse or warn about is found and told here. */
  s->check.allow_dirty = s->open.allow_dirty;
  s->check.ignore_cid = s->open.ignore_cid;
  s->open.allow_dirty = s->open.ignore_cid = true;
  s->log = s->open.log;
  s->open.log = (struct vd_log) { .fn = NULL };
}

static void
say_beside (const struct settings *s, const struct checked *c)
{
  struct vd_opts loud = s->open;

  loud.log = s->log;
  if (c->stack.top)
    vd_warn_beside (c->stack.top->link, &loud, false);
}

static int
run (int argc, char **argv)
{
  struct settings s = { .json = false };
  bool damaged = false, failed = false;
  struct vd_err err;
  struct json j;
  FILE *fp;
  int i, r;

  parse (&s, argc, argv);
  if (optind == argc)
    return tool_usage (&verb_check, "which FILE?");
  fp = out_begin ();
  if (!fp)
    return STATUS_ERROR;
  j = (struct json) JSON_INIT (fp);
  if (s.json)
    json_begin_array (&j, NULL);
  for (i = optind; i < argc; ++i) {
    struct checked c = { .path = argv[i] };

    r = check_file (&c, s.chain, &s.open, &s.check, &err);
    if (r == 0) {
      if (s.json)
        check_json (&j, &c);
      else
        check_text (fp, &c, s.verbose);
      say_beside (&s, &c);
      damaged = damaged || checked_damaged (&c);
      failed = failed || c.failed;
    }
    checked_free (&c);
    if (r == -1) {
      out_discard (fp);
      return tool_fail (&err);
    }
  }
  if (s.json)
    json_end (&j);
  r = out_commit (fp);
  return r != STATUS_OK ? r : damaged ? STATUS_DAMAGE
    : failed ? STATUS_ERROR : STATUS_OK;
}

const struct verb verb_check = {
  .name = "check",
  .synopsis = "[--chain] [--json] [--no-inflate] [--verbose] FILE...",
  .summary = "find damage, and the parts of the disk that it affects",
  .help =
    "Examines every entry of every table, and inflates every compressed grain.\n"
    "Nothing is written.\n"
    "\n"
    "Options:\n"
    "  --chain            check the parents too, and whether they fit\n"
    "  --json             print JSON; the keys are in vmdkdelta-check(1)\n"
    "  --no-inflate       do not inflate compressed grains: faster\n"
    "  --verbose          print infos too, and longer lists\n"
    CHAIN_HELP
    REMOTE_HELP
    "  --help             print this help\n"
    "\n"
    "Exit status: 0 clean (there may be warnings), 3 damaged, 1 could not be\n"
    "checked.\n"
    "\n"
    "Examples:\n"
    "  vmdkdelta check disk-000002-delta.vmdk\n"
    "  vmdkdelta check --chain disk-000002.vmdk\n"
    "  vmdkdelta check --json disk-00000[12].vmdk | jq '.[].result'\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};
