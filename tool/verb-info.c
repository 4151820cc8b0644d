/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info: what an image is, and what to do with it. */

#include <stdlib.h>

#include "machine.h"
#include "verb-info.h"
#include "vmware.h"

enum { OPT_JSON = OPT_OWN, OPT_CHAIN };

static const struct option long_options[] = {
  HELP_OPTIONS,
  { "json", no_argument, NULL, OPT_JSON },
  { "chain", no_argument, NULL, OPT_CHAIN },
  CHAIN_OPTIONS,
  MACHINE_OPTIONS,
  REMOTE_OPTIONS,
  { NULL, 0, NULL, 0 },
};

static bool
is_known (const struct report *r, const struct vd_member *m)
{
  size_t i;

  for (i = 0; i < r->n; ++i)
    if (r->facts[i].member == m)
      return true;
  return false;
}

/* The facts of the file, and with chain of its ancestors, as far as they are
 * found.  Trouble is part of the report; fails only when there is no memory.
 */
static int
gather (struct report *r, const char *path, bool chain,
        const struct vd_opts *opts, struct vd_err *err)
{
  struct vd_member *m;
  struct facts *f;

  *r = (struct report) { .path = path, .family = vd_family_new (opts, err) };
  if (!r->family)
    return -1;
  m = vd_family_add (r->family, path, &r->err);
  r->opened = m != NULL;
  while (m) {
    f = vd_grow (r->facts, r->n, sizeof *f, err);
    if (!f)
      return -1;
    r->facts = f;
    if (facts_open (&f[r->n], r->family, m, err) == -1)
      return -1;
    f = &f[r->n++];
    if (r->n == 1)
      vd_look_beside (m->link, opts, &f->beside);
    m = m->parent;
    if (!chain)
      break;
    if (m && (is_known (r, m) || r->n == VD_MAX_LINKS)) {
      f->parent_state = PARENT_BROKEN;
      vd_fail (&f->parent_err, VD_CORRUPT,
               r->n == VD_MAX_LINKS ? "the chain of %s has too many links"
               : "the chain loops: %s is its own ancestor", m->link->path);
      break;
    }
  }
  return facts_walk_all (r->facts, r->n, err);
}

static void
report_free (struct report *r)
{
  if (r->n > 0)
    vd_beside_free (&r->facts[0].beside);
  free (r->facts);
  vd_family_free (r->family);
}

/* Everything that was asked for could be told. */
static bool
is_complete (const struct report *r, bool chain)
{
  size_t i;

  for (i = 0; i < r->n; ++i)
    if (!facts_whole (&r->facts[i]))
      return false;
  return r->opened &&
    (!chain || r->facts[r->n - 1].parent_state == PARENT_NONE);
}

static void
print (FILE *fp, struct json *j, const struct report *r, bool chain,
       bool first)
{
  if (j) {
    json_report (j, r, chain);
    return;
  }
  if (!r->opened)
    return;
  if (!first)
    putc ('\n', fp);
  if (chain)
    text_chain (fp, r);
  else
    text_report (fp, r);
  text_next (fp, r);
}

/* How a FILE is answered. */
struct answer {
  const struct vd_opts *opts;
  FILE *fp;
  struct json *json;            /* NULL: for people */
  bool chain, first;
  bool complete;                /* everything could be told */
};

static int
answer_image (struct answer *a, const char *path, struct vd_err *err)
{
  struct report r;
  const int ok = gather (&r, path, a->chain, a->opts, err);

  if (ok == 0) {
    print (a->fp, a->json, &r, a->chain, a->first);
    if (!r.opened)
      tool_fail (&r.err);
    a->complete = a->complete && is_complete (&r, a->chain);
  }
  report_free (&r);
  return ok;
}

static int
answer_machine (struct answer *a, const char *path, struct vd_err *err)
{
  struct machine m;
  const int ok = machine_gather (&m, path, a->chain, a->opts, err);

  if (ok == 0) {
    if (a->json)
      json_machine (a->json, &m);
    else if (m.box) {
      if (!a->first)
        putc ('\n', a->fp);
      text_machine (a->fp, &m, a->chain);
    }
    if (!m.box)
      tool_fail (&m.err);
    a->complete = a->complete && machine_complete (&m);
  }
  machine_free (&m);
  return ok;
}

static int
answer_vmware (struct answer *a, const char *path, struct vd_err *err)
{
  struct vmware m;
  const int ok = vmware_gather (&m, path, a->chain, a->opts, err);

  if (ok == 0) {
    if (a->json)
      json_vmware (a->json, &m);
    else if (m.vmx) {
      if (!a->first)
        putc ('\n', a->fp);
      text_vmware (a->fp, &m);
    }
    if (!m.vmx)
      tool_fail (&m.err);
    a->complete = a->complete && vmware_complete (&m);
  }
  vmware_free (&m);
  return ok;
}

static int
answer_file (struct answer *a, const char *path, struct vd_err *err)
{
  const int ok = vd_vmx_probe (path) ? answer_vmware (a, path, err)
    : vd_vbox_probe (path) ? answer_machine (a, path, err)
    : answer_image (a, path, err);

  a->first = false;
  return ok;
}

/* Of a directory, the machines in it. */
static int
answer (struct answer *a, const char *path, struct vd_err *err)
{
  struct vd_machine_files in;
  struct vd_err why;
  size_t i;
  int r = 0;

  if (!is_directory (path))
    return answer_file (a, path, err);
  if (vd_machine_files (path, NULL, &in, err) == -1)
    return -1;
  for (i = 0; i < in.n && r == 0; ++i)
    r = answer_file (a, in.path[i], err);
  if (in.n == 0) {
    vd_fail (&why, VD_NOT_FOUND, "%s: there is no machine (.vmx, .vbox) in "
             "this directory: name a disk in it", path);
    tool_fail (&why);
    a->complete = false;
  }
  vd_machine_files_free (&in);
  return r;
}

static int
run (int argc, char **argv)
{
  struct vd_opts opts = { .log = { .fn = NULL }, .headers = true };
  struct answer a = { .opts = &opts, .first = true, .complete = true };
  bool as_json = false;
  struct vd_err err;
  struct json j;
  int c, i;

  while ((c = next_option (&verb_info, argc, argv, &opts)) != -1) {
    if (c == OPT_JSON)
      as_json = true;
    else
      a.chain = true;
  }
  if (optind == argc)
    return tool_usage (&verb_info, "which FILE?");

  a.fp = out_begin ();
  if (!a.fp)
    return STATUS_ERROR;
  j = (struct json) JSON_INIT (a.fp);
  if (as_json) {
    a.json = &j;
    json_begin_array (&j, NULL);
  }
  for (i = optind; i < argc; ++i) {
    if (answer (&a, argv[i], &err) == -1) {
      out_discard (a.fp);
      return tool_fail (&err);
    }
  }
  if (as_json)
    json_end (&j);
  return out_commit (a.fp) == STATUS_OK && a.complete ? STATUS_OK
    : STATUS_ERROR;
}

const struct verb verb_info = {
  .name = "info",
  .synopsis = "[--chain] [--json] FILE...",
  .summary = "show what an image is and what it holds",
  .help =
    "A FILE is a disk or snapshot (its descriptor, or a file that contains it),\n"
    "a bare extent, a machine (VMware's .vmx, VirtualBox's .vbox), or a directory\n"
    "with machines in it.\n"
    "\n"
    "Options:\n"
    "  --chain            print a table of FILE and all its ancestors, base\n"
    "                     first; for a machine, of all files of its disks\n"
    "  --json             print JSON; the keys are in vmdkdelta-info(1)\n"
    CHAIN_HELP
    MACHINE_HELP
    REMOTE_HELP
    "  --help             print this help\n"
    "\n"
    "Examples:\n"
    "  vmdkdelta info disk-000002.vmdk\n"
    "  vmdkdelta info --chain disk-000002.vmdk\n"
    "  vmdkdelta info --json disk-00000[12].vmdk | jq '.[].data'\n"
    "  vmdkdelta info --parent-path=/backup/vm1 disk-000002.vmdk\n",
  .short_options = "",
  .long_options = long_options,
  .remote = true,
  .run = run,
};
