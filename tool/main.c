/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta: inspect, check, create, apply, merge and compact VMDK and VDI
 * disks.
 *
 * This file has the table of verbs, and the options that all of them share.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remote.h"
#include "tool.h"

static const struct verb *const verbs[] = {
  &verb_info,
  &verb_map,
  &verb_check,
  &verb_compare,
  &verb_create,
  &verb_apply,
  &verb_sync,
  &verb_fetch,
  &verb_compact,
  &verb_merge,
  &verb_snapshot,
};
#define NR_VERBS (sizeof verbs / sizeof verbs[0])

static const struct verb *
find_verb (const char *name)
{
  size_t i;

  for (i = 0; i < NR_VERBS; ++i)
    if (strcmp (verbs[i]->name, name) == 0)
      return verbs[i];
  return NULL;
}

static void
print_help (void)
{
  size_t i;

  printf ("vmdkdelta: inspect, check, create, apply, merge and compact VMDK "
          "and VDI disks\n"
          "\n"
          "Usage:\n"
          "  vmdkdelta VERB [OPTIONS] FILE...\n"
          "  vmdkdelta VERB --help\n"
          "  vmdkdelta --help | --version\n"
          "\n"
          "Verbs:\n");
  for (i = 0; i < NR_VERBS; ++i)
    printf ("  %-8s %s\n", verbs[i]->name, verbs[i]->summary);
  printf ("\n"
          "Examples:\n"
          "  vmdkdelta info disk-000002.vmdk\n"
          "  vmdkdelta info --chain disk-000002.vmdk\n"
          "  vmdkdelta map --picture disk-000002.vmdk\n"
          "\n"
          "Exit status: 0 success, 1 failure, 2 wrong usage, 3 check found "
          "damage.\n"
          "Manual pages: vmdkdelta(1), and vmdkdelta-VERB(1) for each verb.\n");
}

static void
print_verb_help (const struct verb *verb)
{
  printf ("vmdkdelta %s: %s\n\nUsage:\n  vmdkdelta %s %s\n\n%s",
          verb->name, verb->summary, verb->name, verb->synopsis, verb->help);
}

/* End after an answer on stdout, which may be a full disk. */
static void __attribute__ ((__noreturn__))
answered (void)
{
  if (fflush (stdout) == EOF || ferror (stdout))
    exit (tool_error ("stdout cannot be written"));
  exit (STATUS_OK);
}

/* For completion, as libnbd's tools do it: one a line. */
static void
print_options (const struct option *o)
{
  for (; o->name; ++o)
    if (strcmp (o->name, "long-options") != 0 &&
        strcmp (o->name, "short-options") != 0)
      printf ("--%s\n", o->name);
}

static void
print_short_options (const char *s)
{
  for (; *s; ++s)
    if (*s != ':' && *s != '+' && *s != '-')
      printf ("-%c\n", *s);
}

/* opts->dirs, with room for one directory an argument. */
static const char **dirs;

static void
add_dir (struct vd_opts *opts, int argc, const char *dir)
{
  if (!dirs) {
    dirs = calloc ((size_t) argc, sizeof *dirs);
    if (!dirs)
      exit (tool_error ("out of memory"));
  }
  dirs[opts->nr_dirs++] = dir;
  opts->dirs = dirs;
}

static struct remote *remote;

/* opts of a verb that opens URIs. */
static void
set_remote (struct vd_opts *opts)
{
  struct vd_err err;

  if (!remote) {
    remote = remote_new (&err);
    if (!remote)
      exit (tool_fail (&err));
    remote_start_threads (remote);
  }
  opts->open = remote_open;
  opts->remote = remote;
}

static void
add_remote (const struct verb *verb, const char *param)
{
  struct vd_err err;

  if (remote_param (remote, param, &err) == -1)
    exit (tool_usage (verb, "--remote: %s", err.msg));
}

/* What changes disks needs them here; whether an NBD export will do, the verb
 * knows.
 */
static void
check_local (const struct verb *verb, int argc, char **argv)
{
  int i;

  for (i = optind; i < argc && !verb->remote; ++i)
    if (vd_is_uri (argv[i]) && strncmp (argv[i], "nbd", 3) != 0)
      exit (tool_error ("%s: %s needs local files: copy this disk, and what "
                        "belongs to it, here first", argv[i], verb->name));
}

/* The names in a registry, and what is noted while a merge changes it, lead
 * there.
 */
static char *registry_dir;

static const char *
registry_directory (const char *path)
{
  const char *slash = strrchr (path, '/');

  if (!slash)
    return ".";
  registry_dir = strndup (path, slash == path ? 1 : (size_t) (slash - path));
  if (!registry_dir)
    exit (tool_error ("out of memory"));
  return registry_dir;
}

int
next_option (const struct verb *verb, int argc, char **argv,
             struct vd_opts *opts)
{
  int c;

  if (opts) {
    opts->log.fn = tool_log;
    if (verb->remote)
      set_remote (opts);
  }
  for (;;) {
    c = getopt_long (argc, argv, verb->short_options, verb->long_options,
                     NULL);
    switch (c) {
    case OPT_HELP:
      print_verb_help (verb);
      answered ();
    case OPT_LONG_OPTIONS:
      print_options (verb->long_options);
      answered ();
    case OPT_SHORT_OPTIONS:
      print_short_options (verb->short_options);
      answered ();
    case '?':                   /* getopt_long printed what is wrong */
      fprintf (stderr, "vmdkdelta: see: vmdkdelta %s --help\n", verb->name);
      exit (STATUS_USAGE);
    default:
      if (!opts)
        return c;
    }
    if (c == -1)
      check_local (verb, argc, argv);
    switch (c) {
    case OPT_PARENT_PATH:
      add_dir (opts, argc, optarg);
      break;
    case OPT_REGISTRY:
      if (opts->registry)
        exit (tool_usage (verb, "--registry is given twice"));
      opts->registry = optarg;
      add_dir (opts, argc, registry_directory (optarg));
      break;
    case OPT_PARENT:
      if (opts->parent)
        exit (tool_usage (verb, "--parent is given twice"));
      opts->parent = optarg;
      break;
    case OPT_IGNORE_CID:
      opts->ignore_cid = true;
      break;
    case OPT_ALLOW_DIRTY:
      opts->allow_dirty = true;
      break;
    case OPT_TABLES:
      if (!vd_tables_choice (optarg, &opts->tables))
        exit (tool_usage (verb, "--tables=%s: allowed are first, copy and markers",
                          optarg));
      break;
    case OPT_UNCONFINED:
      opts->unconfined = true;
      break;
    case OPT_REMOTE:
      add_remote (verb, optarg);
      break;
    case OPT_BASE_FORMAT:
      if (strcmp (optarg, "raw") != 0)
        exit (tool_usage (verb, "--base-format=%s: allowed is raw", optarg));
      opts->raw_base = true;
      break;
    default:
      return c;
    }
  }
}

int
option_number (const struct verb *verb, const char *name, const char *value,
               unsigned min, unsigned max, unsigned *n)
{
  char *end;
  const unsigned long v = strtoul (value, &end, 10);

  /* strtoul takes blanks and signs too. */
  if (*value < '0' || *value > '9' || *end != '\0' || v < min || v > max)
    return tool_usage (verb, "--%s=%s: allowed is %u to %u", name, value, min,
                       max);
  *n = (unsigned) v;
  return STATUS_OK;
}

static int
unknown_verb (const char *name)
{
  tool_error ("there is no verb '%s'", name);
  fprintf (stderr, "vmdkdelta: see: vmdkdelta --help\n");
  return STATUS_USAGE;
}

static int
run_verb (const struct verb *verb, int argc, char **argv)
{
  static char name[] = "vmdkdelta";
  int status;

  vd_fd_limit_raise (0, NULL);
  /* A write over the limit of a file's size is an error then, and is reported. */
  signal (SIGXFSZ, SIG_IGN);
  /* getopt_long prints argv[0] in front of its messages. */
  argv[0] = name;
  status = verb->run (argc, argv);
  free (dirs);
  free (registry_dir);
  remote_free (remote);
  return status;
}

/* If one of the standard descriptors is closed, the next file that is opened
 * gets its number, and what we print would be written into a disk.  A
 * directory can be neither read nor written.
 */
static bool
open_standard (void)
{
  int fd;

  do
    fd = open ("/", O_RDONLY | O_DIRECTORY);
  while (fd >= 0 && fd <= STDERR_FILENO);
  return fd >= 0 && close (fd) == 0;
}

int
main (int argc, char **argv)
{
  static const struct option own[] = {
    { "help", no_argument, NULL, OPT_HELP },
    { "version", no_argument, NULL, OPT_OWN },
    { NULL, 0, NULL, 0 },
  };
  const struct verb *verb;
  const char *word = argc > 1 ? argv[1] : NULL;
  size_t i;

  vd_opts_set_prefix ("--");
  if (!open_standard ())
    return tool_error ("/ cannot be opened: %s", strerror (errno));
  if (!word) {
    fprintf (stderr, "vmdkdelta: which verb?  See: vmdkdelta --help\n");
    return STATUS_USAGE;
  }
  if (strcmp (word, "--version") == 0 || strcmp (word, "-V") == 0) {
    printf ("vmdkdelta %s\nfree space of guests: %s\n", VMDKDELTA_VERSION,
            vd_guest_known ()[0] ? vd_guest_known ()
            : "not in this build (libext2fs)");
    answered ();
  }
  if (strcmp (word, "--long-options") == 0) {
    print_options (own);
    answered ();
  }
  if (strcmp (word, "--short-options") == 0) {
    printf ("-V\n");
    answered ();
  }
  if (strcmp (word, "--verbs") == 0) {
    for (i = 0; i < NR_VERBS; ++i)
      printf ("%s\n", verbs[i]->name);
    answered ();
  }
  if (strcmp (word, "help") == 0 && argc > 2) {
    verb = find_verb (argv[2]);
    if (!verb)
      return unknown_verb (argv[2]);
    print_verb_help (verb);
    answered ();
  }
  if (strcmp (word, "--help") == 0 || strcmp (word, "help") == 0) {
    print_help ();
    answered ();
  }
  verb = find_verb (word);
  return verb ? run_verb (verb, argc - 1, argv + 1) : unknown_verb (word);
}
