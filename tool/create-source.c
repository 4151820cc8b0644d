/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What is compared: raw disks, NBD exports, VMDK chains.  See create.h. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nbd.h"
#include "verb-create.h"

/* ---- A chain as a file ---------------------------------------------------- */

struct chain_file {
  struct vd_file file;
  struct stack stack;
  struct vd_reader *reader;
};

static const struct vd_base no_base = { .align = 1 };

static int
chain_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
             struct vd_err *err)
{
  return vd_read (((struct chain_file *) f)->reader, &no_base, buf, n,
                  offset, err);
}

static int
chain_extents (struct vd_file *f, uint64_t offset, uint64_t length,
               vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  return vd_status (((struct chain_file *) f)->reader, &no_base, offset,
                    length, false, fn, opaque, err);
}

static void
chain_close (struct vd_file *f)
{
  struct chain_file *c = (struct chain_file *) f;

  vd_reader_free (c->reader);
  stack_close (&c->stack);
  free (c);
}

static const struct vd_file_ops chain_ops = {
  .pread = chain_pread,
  .extents = chain_extents,
  .close = chain_close,
};

static int
open_chain (struct source *s, const struct vd_opts *opts, struct vd_err *err)
{
  struct chain_file *c = calloc (1, sizeof *c);
  char *name = strdup (s->name), *files[1] = { name };
  const struct vd_descriptor *d;

  if (!c || !name) {
    free (c);
    free (name);
    return vd_fail (err, VD_NOMEM, "out of memory");
  }
  c->file.ops = &chain_ops;
  c->file.name = name;
  s->file = &c->file;
  if (stack_open (&c->stack, files, 1, STACK_PARENTS, opts, err) == -1)
    return -1;
  if (!c->stack.chain->has_base)
    return vd_fail (err, VD_USAGE, "%s does not say what is below it: give "
                    "its descriptor", s->name);
  c->reader = vd_reader_new (c->stack.chain, VD_MAP_DEFAULT_BUDGET, err);
  if (!c->reader)
    return -1;
  c->file.size = c->stack.chain->size;
  s->chain = c->stack.chain;
  d = c->stack.top->link->descriptor;
  s->is_vmdk = true;
  s->cid = d ? d->cid : 0;
  return 0;
}

/* ---- Opening -------------------------------------------------------------- */

/* The query of a URI is no part of the name. */
static bool
ends_with (const char *name, const char *end)
{
  const size_t n = vd_is_uri (name) ? strcspn (name, "?") : strlen (name);
  const size_t m = strlen (end);

  return n >= m && strncasecmp (name + n - m, end, m) == 0;
}

static int
open_file (struct source *s, const struct vd_opts *opts, struct vd_err *err)
{
  const struct vd_format *fmt;
  enum vd_magic magic;

  s->file = vd_open (s->name, opts, err);
  if (!s->file || vd_image_probe (s->file, &magic, &fmt, err) == -1)
    return -1;

  if ((magic == VD_MAGIC_SPARSE || magic == VD_MAGIC_TEXT) &&
      (ends_with (s->name, ".vdi") ||
       (ends_with (s->name, ".vmdk") &&
        !ends_with (s->name, "-flat.vmdk")))) {
    vd_file_close (s->file);
    s->file = NULL;
    return open_chain (s, opts, err);
  }
  if (!vd_is_uri (s->name) && vd_merging_refuse (s->name, err) == -1)
    return -1;
  return vd_check_raw (s->file, VD_RAW_SOURCE, 1, opts, err);
}

bool
source_operand (char **argv, int n, int *i, struct source *s)
{
  int end;

  if (*i >= n)
    return false;
  if (strcmp (argv[*i], "[") != 0) {
    *s = (struct source) { .name = argv[(*i)++] };
    return true;
  }
  for (end = *i + 1; end < n && strcmp (argv[end], "]") != 0; ++end)
    ;
  if (end == n || end == *i + 1)
    return false;
  argv[end] = NULL;
  *s = (struct source) { .name = argv[*i + 1], .command = &argv[*i + 1] };
  *i = end + 1;
  return true;
}

int
source_open (struct source *s, const char *name, const struct vd_opts *opts,
             struct vd_err *err)
{
  *s = (struct source) { .name = name, .command = s->command };
  if (!s->command && !nbdfile_is_uri (name))
    return open_file (s, opts, err);
  s->is_nbd = true;
  s->file = s->command ? nbdfile_open_command (name, s->command, false, err)
    : nbdfile_open (name, false, 1, err);
  return s->file ? vd_check_raw (s->file, VD_RAW_SOURCE, 1, opts, err) : -1;
}

int
source_widen (struct source *s, unsigned connections, struct vd_err *err)
{
  return s->is_nbd ? nbdfile_widen (s->file, connections, err) : 0;
}

void
source_close (struct source *s)
{
  vd_file_close (s->file);
  s->file = NULL;
}

static bool
is_file (const struct vd_file *f, const struct stat *st)
{
  return f && vd_file_is (f, st);
}

bool
source_uses (const struct source *s, const struct stat *st)
{
  uint32_t i;

  if (!s->is_vmdk)
    return is_file (s->file, st);
  for (i = 0; i < s->chain->nr_links; ++i)
    if (s->chain->links[i]->dev == st->st_dev &&
        s->chain->links[i]->ino == st->st_ino)
      return true;
  for (i = 0; i < s->chain->nr_slots; ++i)
    if (is_file (s->chain->slots[i].image->file, st))
      return true;
  return false;
}
