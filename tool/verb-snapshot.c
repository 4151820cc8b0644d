/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta snapshot: an empty child of a disk, as the products make one. */

#include <stdlib.h>

#include "tool.h"

static const struct option long_options[] = {
  HELP_OPTIONS,
  CHAIN_OPTIONS,
  { NULL, 0, NULL, 0 },
};

/* A chain that cannot be read would get one more link that cannot; and a disk
 * that is in use changes under its child.
 */
static int
make_child (const struct stack *stack, const char *name, FILE *fp,
            struct vd_err *err)
{
  const struct vd_link *top = stack->top->link;
  char *path = NULL;
  int r;

  if (!stack->chain->has_base)
    return vd_fail (err, VD_USAGE, "%s is a delta whose base is not known: a "
                    "child of it could not be read", top->path);
  if (vd_check_no_children (top, stack->family->opts, err) == -1 ||
      vd_check_unlocked (top->path, err) == -1)
    return -1;
  if (!name) {
    name = path = vd_child_name (top, err);
    if (!path)
      return -1;
  }
  r = vd_create_child (name, stack->chain, stack->family->opts,
                       VD_CHILD_USUAL, err);
  if (r == 0) {
    fprintf (fp, "Created ");
    out_text (fp, name);
    fprintf (fp, ", an empty child of ");
    out_text (fp, top->path);
    fputc ('\n', fp);
  }
  free (path);
  return r;
}

static int
run (int argc, char **argv)
{
  struct vd_opts opts = { .for_writing = true };
  struct stack stack = { .family = NULL };
  struct vd_err err;
  FILE *fp;
  int status;

  while (next_option (&verb_snapshot, argc, argv, &opts) != -1)
    ;
  if (argc - optind < 1 || argc - optind > 2)
    return tool_usage (&verb_snapshot, argc - optind < 1
                       ? "which disk?" : "give one disk, and one new name");
  fp = out_begin ();
  if (!fp)
    return STATUS_ERROR;
  if (stack_open (&stack, argv + optind, 1, STACK_PARENTS, &opts,
                  &err) == -1 ||
      make_child (&stack, argv[optind + 1], fp, &err) == -1) {
    status = tool_fail (&err);
    out_discard (fp);
  }
  else
    status = out_commit (fp);
  stack_close (&stack);
  return status;
}

const struct verb verb_snapshot = {
  .name = "snapshot",
  .synopsis = "[OPTIONS] DISK [NEW]",
  .summary = "make an empty child of a disk, to be written in its place",
  .help =
    "NEW is the name of the child; without it one is chosen as the products\n"
    "do: disk-000003.vmdk, {UUID}.vdi.  DISK is not changed.\n"
    "\n"
    "Options:\n"
    CHAIN_HELP
    "\n"
    "Examples:\n"
    "  vmdkdelta snapshot disk-000003.vmdk\n"
    "  vmdkdelta snapshot machine.vdi today.vdi\n",
  .short_options = "",
  .long_options = long_options,
  .run = run,
};
