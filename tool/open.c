/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* From file names to a chain; see tool.h. */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tool.h"

static int
open_given (struct stack *stack, char **files, size_t n, struct vd_err *err)
{
  struct vd_link **links = calloc (n, sizeof *links);
  size_t i;
  int r = -1;

  if (!links)
    return vd_fail (err, VD_NOMEM, "out of memory");
  for (i = 0; i < n; ++i) {
    stack->top = vd_family_add (stack->family, files[i], err);
    if (!stack->top ||
        vd_link_load (stack->top->link, stack->family->opts, err) == -1)
      goto out;
    links[i] = stack->top->link;
  }
  stack->chain = vd_chain_new (links, n, stack->family->opts, err);
  r = stack->chain ? 0 : -1;
 out:
  free (links);
  return r;
}

static int
open_with_parents (struct stack *stack, const char *file, struct vd_err *err)
{
  stack->top = vd_family_add (stack->family, file, err);
  if (!stack->top ||
      vd_family_resolve (stack->family, stack->top, err) == -1)
    return -1;
  stack->chain = vd_family_chain (stack->family, stack->top, err);
  return stack->chain ? 0 : -1;
}

int
stack_open (struct stack *stack, char **files, size_t n,
            enum stack_mode mode, const struct vd_opts *opts,
            struct vd_err *err)
{
  int r;

  *stack = (struct stack) { .family = vd_family_new (opts, err) };
  if (!stack->family)
    return -1;
  if (n == 1 && mode == STACK_PARENTS)
    r = open_with_parents (stack, files[0], err);
  else
    r = open_given (stack, files, n, err);
  if (r == -1)
    stack_close (stack);
  return r;
}

void
stack_close (struct stack *stack)
{
  vd_chain_free (stack->chain);
  vd_family_free (stack->family);
  *stack = (struct stack) { .family = NULL };
}

/* ---- A directory, for the machine in it --------------------------------- */

bool
is_directory (const char *name)
{
  struct stat st;

  return !vd_is_uri (name) && stat (name, &st) == 0 && S_ISDIR (st.st_mode);
}

char *
machine_of (const char *name)
{
  struct vd_machine_files in = { .n = 0 };
  struct vd_err err;
  char *path = NULL;

  if (!is_directory (name)) {
    path = strdup (name);
    if (!path)
      tool_error ("out of memory");
  }
  else if (vd_machine_files (name, &vd_machine_vbox, &in, &err) == -1)
    tool_fail (&err);
  else if (in.n == 0)
    tool_error ("%s: there is no VirtualBox machine (.vbox) in this "
                "directory: give the newest file of a chain, or the machine "
                "file", name);
  else if (in.n > 1)
    tool_error ("%s: there is more than one VirtualBox machine in this "
                "directory: give one of them, such as %s or %s", name,
                in.path[0], in.path[1]);
  else
    path = VD_TAKE (in.path[0]);
  vd_machine_files_free (&in);
  return path;
}
