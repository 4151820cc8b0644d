/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The end of vmdkdelta info: what to do with the file now. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verb-info.h"

static void
next_incomplete (FILE *fp, const struct facts *f)
{
  const enum vd_code code = f->loaded ? f->walk_err.code : f->load_err.code;

  switch (code) {
  case VD_NOT_FOUND:
    fputs ("Next: copy the missing file beside this one, or say where it is:\n",
           fp);
    out_command (fp, "vmdkdelta info --parent-path=DIR ", f->path, "");
    break;
  case VD_TRUNCATED:
    fputs ("Next: copy the files again, and compare their sizes.\n", fp);
    break;
  case VD_DENIED:
    fputs ("Next: if you trust this image and want to follow the name:\n", fp);
    out_command (fp, "vmdkdelta info --unconfined ", f->path, "");
    break;
  default:
    break;
  }
}

/* Flat files only: any program can read them. */
static bool
is_one_flat_file (const struct facts *f)
{
  const struct vd_link *link = f->member->link;

  return link->nr_pieces == 1 && link->descriptor &&
    !vd_is_uri (link->path) &&
    link->pieces[0].image->fmt == &vd_format_flat &&
    link->descriptor->extents[0].offset == 0;
}

static void
next_delta (FILE *fp, const struct facts *f, const char *intro)
{
  fprintf (fp, "%s\n", intro);
  out_command (fp, "nbdkit --filter=vmdkdelta file BASE delta=", f->path, "");
  out_command (fp, "vmdkdelta apply ", f->path, " BASE");
}

/* The parent of oldest, which is f or one of its ancestors, is not here.  A
 * base can take its place, unless it is a snapshot too.
 */
static void
next_parent (FILE *fp, const struct facts *f, const struct facts *oldest)
{
  const char *hint = vd_link_hint (oldest->member->link);
  const bool snapshot = hint && vd_is_snapshot_name (hint);

  fputs (snapshot ? "Next: copy the missing snapshot there, or say where it "
         "is:\n" : "Next: say where the parent is:\n", fp);
  out_command (fp, oldest->parent_state == PARENT_MISSING
               ? "vmdkdelta info --chain --parent-path=DIR "
               : "vmdkdelta info --chain --parent=FILE ", f->path, "");
  if (!snapshot)
    next_delta (fp, f,
                "Or, to lay it over a base (a raw disk) that you have:");
}

/* The parent is there, but further down one is not. */
static void
next_further_down (FILE *fp, const struct report *r)
{
  const struct facts *f = &r->facts[0], *oldest = &r->facts[r->n - 1];

  if (oldest == f) {            /* without --chain it was not said */
    fputs ("Next: the chain is not complete further down; see:\n", fp);
    out_command (fp, "vmdkdelta info --chain ", f->path, "");
  }
  else if (oldest->parent_state == PARENT_MISSING ||
           oldest->parent_state == PARENT_UNKNOWN)
    next_parent (fp, f, oldest);
}

/* The next ancestor whose extents cannot be opened, or NULL. */
static const struct vd_member *
find_incomplete (const struct report *r, struct vd_err *err)
{
  struct vd_opts quiet = *r->family->opts;
  const struct vd_member *m;
  size_t i;

  for (i = 1; i < r->n; ++i)
    if (!r->facts[i].loaded) {
      *err = r->facts[i].load_err;
      return r->facts[i].member;
    }
  if (r->n > 1)
    return NULL;
  quiet.log.fn = NULL;          /* nobody asked about these */
  for (m = r->facts[0].member->parent; m; m = m->parent)
    if (vd_link_load (m->link, &quiet, err) == -1)
      return m;
  return NULL;
}

/* All descriptors are there, but not all data.  Of a base that is often so:
 * its data has another name, or is elsewhere.
 */
static void
next_no_data (FILE *fp, const struct report *r, const struct vd_member *m,
              const struct vd_err *err)
{
  const struct facts *f = &r->facts[0];

  if (!m->parent && err->code == VD_NOT_FOUND)
    next_delta (fp, f, "Next, since only the descriptor of the base is here, "
                "to lay it over the\nbase's data, a raw disk:");
  else if (r->n == 1) {
    fputs ("Next: not all data is there further down; see:\n", fp);
    out_command (fp, "vmdkdelta info --chain ", f->path, "");
  }
  else if (err->code == VD_NOT_FOUND) {
    fputs ("Next: copy the missing file there, or say where it is:\n", fp);
    out_command (fp, "vmdkdelta info --chain --parent-path=DIR ", f->path, "");
  }
}

/* Its descriptor is not there.  Older deltas beside it have to come first. */
static void
next_siblings (FILE *fp, const struct facts *f, const struct vd_opts *opts)
{
  struct vd_link *const known = f->member->link;
  struct vd_siblings s;
  struct vd_err err;
  size_t i;

  if (vd_siblings_find (known, 0, &known, 1, opts, &s, &err) == -1 || s.n == 0)
    next_delta (fp, f,
                "Next, to lay it over a base (a raw disk) that you have:");
  else {
    fputs ("Next, to lay it, with the older deltas beside it, over a base (a "
           "raw disk) that\nyou have:\n", fp);
    fputs ("    nbdkit --filter=vmdkdelta file BASE", fp);
    for (i = 0; i <= s.n; ++i) {
      fputs (" delta=", fp);
      out_shell (fp, i < s.n ? s.older[i] : f->path);
    }
    fputs ("\n    vmdkdelta apply", fp);
    for (i = 0; i <= s.n; ++i) {
      putc (' ', fp);
      out_shell (fp, i < s.n ? s.older[i] : f->path);
    }
    fputs (" BASE\n", fp);
  }
  if (s.perhaps) {
    fputs ("Beside it these could be deltas of the same disk, and belong before "
           "it:\n    ", fp);
    out_text (fp, s.perhaps);
    putc ('\n', fp);
  }
  vd_siblings_free (&s);
}

/* An extent without its descriptor.  Where that is, it knows more; and the
 * pieces of a split disk are in their places only with it.
 */
static void
next_bare (FILE *fp, const struct facts *f, const struct vd_opts *opts)
{
  char *name = vd_descriptor_name (f->path);

  if (name && access (name, R_OK) == 0) {
    fputs ("Next: this is the data only; its descriptor is probably:\n", fp);
    out_command (fp, "vmdkdelta info ", name, "");
  }
  else if (name && strcmp (facts_format (f), vd_format_kdmv.name) == 0)
    fputs ("Next: probably a piece of a split disk; find its descriptor.\n",
           fp);
  else
    next_siblings (fp, f, opts);
  free (name);
}

void
text_next (FILE *fp, const struct report *r)
{
  const struct facts *f = &r->facts[0];
  const struct vd_member *m;
  struct vd_err err;

  if (f->member->link->merging && f->member->link->merging->command) {
    fputs ("Next: complete the merge that was interrupted.  Until then older "
           "snapshots\nread wrong, and are not served:\n", fp);
    fprintf (fp, "    %s\n", f->member->link->merging->command);
    return;
  }
  if (!facts_complete (f)) {
    next_incomplete (fp, f);
    return;
  }
  if (f->bytes[VD_WALK_DAMAGED] > 0) {
    fputs ("Next, to see all of the damage:\n", fp);
    out_command (fp, "vmdkdelta check ", f->path, "");
    return;
  }
  if (f->member->link->role == VD_ROLE_BARE) {
    next_bare (fp, f, r->family->opts);
    return;
  }
  switch (f->parent_state) {
  case PARENT_MISFIT:
    /* Two files with the parent's UUID: its message says all. */
    if (!f->member->parent && !vd_link_hint (f->member->link))
      return;
    fputs ("Next: find the parent that fits, or, if you know that this one is "
           "right:\n", fp);
    out_command (fp, "nbdkit vmdk ignore-cid=true file=", f->path, "");
    return;
  case PARENT_MISSING:
  case PARENT_UNKNOWN:
    next_parent (fp, f, f);
    return;
  case PARENT_BROKEN:
    return;
  default:
    break;
  }
  /* In a report without --chain only the first link was looked at. */
  if (vd_family_resolve (r->family, f->member, &err) == -1) {
    next_further_down (fp, r);
    return;
  }
  m = find_incomplete (r, &err);
  if (m) {
    next_no_data (fp, r, m, &err);
    return;
  }
  fputs ("Next, to read this disk as the virtual machine saw it:\n", fp);
  if (is_one_flat_file (f))
    out_command (fp, "nbdkit file file=",
                 f->member->link->pieces[0].image->file->name, "");
  else {
    out_command (fp, "nbdkit vmdk file=", f->path, "");
    out_command (fp, "nbdcopy -- [ nbdkit vmdk file=", f->path, " ] out.raw");
  }
}
