/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the verbs of the command share.
 *
 * A verb is a file that exports one struct verb, named in the table of
 * main.c.  It parses its options with next_option, works with the library,
 * writes its answer into a spool (so that nothing half done reaches a pipe),
 * and returns an exit status.  Only main.c exits.
 *
 * Names that come from images are hostile: print them through tool_error,
 * out_text or the JSON writer, never as they are.
 */

#ifndef VMDKDELTA_TOOL_H
#define VMDKDELTA_TOOL_H

#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vmdkdelta.h"

/* Exit statuses; documented in vmdkdelta(1), scripts depend on them. */
enum status {
  STATUS_OK = 0,
  STATUS_ERROR = 1,             /* what was asked could not be done */
  STATUS_USAGE = 2,             /* the command line makes no sense */
  STATUS_DAMAGE = 3,            /* check: it was done, and found damage;
                                   compare: and found a difference */
};

struct verb {
  const char *name;             /* "info" */
  const char *synopsis;         /* "FILE... [--json]": what follows the name */
  const char *summary;          /* one line, for vmdkdelta --help */

  /* The rest of --help: options and examples.  Each line ends with \n; a
   * literal %s in it is an error.  Options shared by all verbs that open
   * chains are CHAIN_HELP.
   */
  const char *help;

  /* As getopt_long takes them.  HELP_OPTIONS must be among the long ones. */
  const char *short_options;
  const struct option *long_options;

  /* FILE can be a URI; REMOTE_OPTIONS are among its options. */
  bool remote;

  /* argv[0] is the verb.  Returns one of enum status. */
  int (*run) (int argc, char **argv);
};

extern const struct verb verb_info;
extern const struct verb verb_map;
extern const struct verb verb_check;
extern const struct verb verb_compare;
extern const struct verb verb_create;
extern const struct verb verb_apply;
extern const struct verb verb_sync;
extern const struct verb verb_fetch;
extern const struct verb verb_compact;
extern const struct verb verb_merge;
extern const struct verb verb_snapshot;

/* ---- Options (main.c) --------------------------------------------------- */

/* Values of shared long options; a verb's own start at OPT_OWN. */
enum {
  OPT_HELP = 0x100,
  OPT_LONG_OPTIONS,
  OPT_SHORT_OPTIONS,
  OPT_PARENT_PATH,
  OPT_PARENT,
  OPT_IGNORE_CID,
  OPT_ALLOW_DIRTY,
  OPT_TABLES,
  OPT_UNCONFINED,
  OPT_BASE_FORMAT,
  OPT_REMOTE,
  OPT_REGISTRY,
  OPT_OWN,
};

#define HELP_OPTIONS                                            \
  { "help", no_argument, NULL, OPT_HELP },                      \
  { "long-options", no_argument, NULL, OPT_LONG_OPTIONS },      \
  { "short-options", no_argument, NULL, OPT_SHORT_OPTIONS }

/* For verbs that open chains. */
#define CHAIN_OPTIONS                                           \
  { "parent-path", required_argument, NULL, OPT_PARENT_PATH },  \
  { "parent", required_argument, NULL, OPT_PARENT },            \
  { "ignore-cid", no_argument, NULL, OPT_IGNORE_CID },          \
  { "allow-dirty", no_argument, NULL, OPT_ALLOW_DIRTY },        \
  { "tables", required_argument, NULL, OPT_TABLES },            \
  { "unconfined", no_argument, NULL, OPT_UNCONFINED },          \
  { "base-format", required_argument, NULL, OPT_BASE_FORMAT }

#define CHAIN_HELP                                                         \
  "  --parent-path=DIR  look for parents and extents there too (can be\n"  \
  "                     repeated)\n"                                       \
  "  --parent=FILE      parent of the link which does not name one, or\n"  \
  "                     whose parent is not found\n"                       \
  "  --ignore-cid       accept links whose CIDs do not match\n"            \
  "  --allow-dirty      read an SEsparse file without replaying its\n"     \
  "                     journal\n"                                         \
  "  --tables=WHICH     of a KDMV file whose two sets of tables differ,\n"  \
  "                     read 'first' or 'copy'; 'markers': read a stream\n" \
  "                     that was cut\n"                                    \
  "  --unconfined       follow names found in images anywhere\n"           \
  "  --base-format=raw  accept a raw or flat disk that begins like an\n"   \
  "                     image of another format\n"

/* For verbs that read what lies elsewhere. */
#define REMOTE_OPTIONS                                          \
  { "remote", required_argument, NULL, OPT_REMOTE }

#define REMOTE_HELP                                                        \
  "  --remote=KEY=VALUE how to connect to the host of a URI: user, identity,\n" \
  "                     password=+FILE and others, see vmdkdelta-hosts(1)\n"  \
  "                     (can be repeated)\n"

/* For verbs that open VirtualBox's machines. */
#define MACHINE_OPTIONS                                         \
  { "registry", required_argument, NULL, OPT_REGISTRY }

#define MACHINE_HELP                                                       \
  "  --registry=FILE    the .vbox or VirtualBox.xml that lists the disks of a\n" \
  "                     machine which does not list them itself; its directory\n" \
  "                     counts as a --parent-path\n"

/* The next option of the verb, or -1 when only operands are left, from
 * argv[optind] on.  --help and its like are answered, and CHAIN_OPTIONS put
 * into opts (which may be NULL if the verb has none of them).  Exits with
 * STATUS_USAGE when an option is not known or lacks its value.  opts->log is
 * set to print warnings.
 */
extern int next_option (const struct verb *verb, int argc, char **argv,
                        struct vd_opts *opts);

/* Not of a URI. */
extern bool is_directory (const char *name);

/* A machine for a directory: the one .vbox file in it.  Anything else: a copy
 * of name.  NULL after a message.  The caller frees it.
 */
extern char *machine_of (const char *name);

/* The value of an option that is a decimal number from min to max.  Returns
 * STATUS_OK, or STATUS_USAGE after a message.
 */
extern int option_number (const struct verb *verb, const char *name,
                          const char *value, unsigned min, unsigned max,
                          unsigned *n);

/* ---- Messages (out.c) --------------------------------------------------- */

/* "vmdkdelta: ..." on stderr, escaped.  Returns STATUS_ERROR. */
extern int tool_error (const char *fs, ...) VD_PRINTF (1, 2);

/* The same for what the library said. */
extern int tool_fail (const struct vd_err *err);

/* The same, with the way to --help.  Returns STATUS_USAGE. */
extern int tool_usage (const struct verb *verb, const char *fs, ...)
  VD_PRINTF (2, 3);

/* For struct vd_log: "vmdkdelta: warning: ..." on stderr. */
extern void tool_log (void *opaque, enum vd_level level, const char *msg);

/* A line for people on stdout, escaped, at once; with `not` none. */
extern void tool_say (bool not, const char *fs, ...) VD_PRINTF (2, 3);

/* Append all messages of these functions, with the time, to a file too.  Returns
 * STATUS_OK, or STATUS_ERROR after a message.
 */
extern int out_log (const char *path);

/* ---- Output (out.c) ----------------------------------------------------- */

/* A stream that holds the output back until out_commit.  It is a temporary
 * file, so that a long answer costs no memory.  NULL after a message.
 */
extern FILE *out_begin (void);

/* Close it, writing it to stdout.  Returns STATUS_OK, or STATUS_ERROR after a
 * message.  fp may be NULL: STATUS_ERROR.
 */
extern int out_commit (FILE *fp);

/* Close it and forget it.  NULL is allowed. */
extern void out_discard (FILE *fp);

/* Print text that may hold anything, made safe to look at. */
extern void out_text (FILE *fp, const char *text);

/* Print a file name as one word of a shell command, quoted if need be. */
extern void out_shell (FILE *fp, const char *name);

/* Print an indented line with a command on a file. */
extern void out_command (FILE *fp, const char *before, const char *file,
                         const char *after);

/* "10.5 GiB (11274289152 bytes)", "512 bytes".  Returns buf. */
#define HUMAN_SIZE_MAX 64
extern const char *human_size (char buf[HUMAN_SIZE_MAX], uint64_t bytes);

/* "10.5 GiB", "512 B". */
extern const char *short_size (char buf[HUMAN_SIZE_MAX], uint64_t bytes);

/* --free-space[=swap] */
extern int option_free_space (const struct verb *verb, const char *value,
                              enum vd_compact_free *what);

/* What of a partition is free, or why that is not known. */
extern void say_guest_part (bool silent, const struct vd_guest_part *part);

/* "46.0 GiB -> 8.1 GiB, on the file system ...": the sizes before and after a
 * compaction, in verb-compact.c; dry: that of the files only.
 */
#define COMPACT_SIZES_MAX (4 * HUMAN_SIZE_MAX + 64)
extern const char *compact_sizes (char buf[COMPACT_SIZES_MAX],
                                  const struct vd_compact_result *r,
                                  bool dry);

/* The part of a path after its last slash. */
extern const char *base_name (const char *path);

/* ---- Opening (open.c) --------------------------------------------------- */

struct stack {
  struct vd_family *family;
  struct vd_member *top;        /* the newest */
  struct vd_chain *chain;
};

enum stack_mode {
  STACK_PARENTS,                /* one file: look for its parents */
  STACK_ALONE,                  /* only the files given, as deltas */
};

/* Open the files, oldest first, as one chain.  With one file and
 * STACK_PARENTS its parents come along, and it is an error if one of them is
 * missing; several files are always taken as they are given.  Whether the
 * chain ends in a base says chain->has_base.  opts is borrowed.
 */
extern int stack_open (struct stack *stack, char **files, size_t n,
                       enum stack_mode mode, const struct vd_opts *opts,
                       struct vd_err *err);
extern void stack_close (struct stack *stack);

#endif /* VMDKDELTA_TOOL_H */
