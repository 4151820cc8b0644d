/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta info, for people. */

#include <inttypes.h>
#include <string.h>

#include "verb-info.h"

static void
label (FILE *fp, const char *name)
{
  fprintf (fp, "  %-14s ", name);
}

static void
line (FILE *fp, const char *name, const char *value)
{
  if (!value)
    return;
  label (fp, name);
  out_text (fp, value);
  putc ('\n', fp);
}

static void
size_line (FILE *fp, const char *name, uint64_t bytes, const char *note)
{
  char buf[HUMAN_SIZE_MAX];

  label (fp, name);
  fprintf (fp, "%s%s\n", human_size (buf, bytes), note);
}

/* A part of the disk: nothing is said of parts that are not there. */
static void
part_line (FILE *fp, const char *name, uint64_t bytes, uint64_t whole,
           const char *note)
{
  char text[160], share[32];
  double percent;

  if (bytes == 0)
    return;
  percent = 100 * (double) bytes / (double) whole;
  if (percent < 0.01)
    snprintf (share, sizeof share, "below 0.01");
  else if (percent > 99.5 && bytes < whole)
    snprintf (share, sizeof share, "over 99");
  else
    snprintf (share, sizeof share, percent < 10 ? "%.2g" : "%.0f", percent);
  snprintf (text, sizeof text, ", %s %% of the disk%s", share, note);
  size_line (fp, name, bytes, text);
}

static void
put_format (FILE *fp, const struct facts *f)
{
  const struct vd_link *link = f->member->link;
  const struct vd_image *image
    = f->loaded ? link->pieces[0].image : link->self;
  const char *type = facts_key (f, "createtype");
  char buf[HUMAN_SIZE_MAX];
  static const char *const roles[] = {
    [VD_ROLE_BASE] = "a disk without a parent",
    [VD_ROLE_CHILD] = "a delta: it holds what was written since its parent",
    [VD_ROLE_BARE] = "a bare extent: data without a descriptor",
  };

  line (fp, "kind", roles[link->role]);
  if (image) {
    label (fp, "format");
    if (strcmp (facts_format (f), "mixed") == 0)
      fprintf (fp, "mixed, see the extents\n");
    else {
      fputs (image->fmt->long_name, fp);
      if (image->fmt->minor_bits > 0)
        fprintf (fp, ", version %u.%u", image->version >> image->fmt->minor_bits,
                 image->version & ((1u << image->fmt->minor_bits) - 1));
      else if (image->version > 0)
        fprintf (fp, ", version %u", image->version);
      fprintf (fp, "%s\n", image->compressed ? ", compressed" : "");
    }
  }
  if (link->descriptor) {
    label (fp, "descriptor");
    fprintf (fp, "version %u", link->descriptor->version);
    if (type) {
      fputs (", ", fp);
      out_text (fp, type);
    }
    fprintf (fp, "%s\n", link->embedded ? ", inside the file" : "");
  }
  size_line (fp, "capacity", link->capacity, "");
  if (f->loaded && vd_link_max_grain (link) > 0) {
    label (fp, "grain size");
    fprintf (fp, "%s\n", short_size (buf, vd_link_max_grain (link)));
  }
}

static void
put_content (FILE *fp, const struct facts *f)
{
  const uint64_t whole = f->member->link->capacity;
  char buf[HUMAN_SIZE_MAX], note[HUMAN_SIZE_MAX + 64] = "";

  if (f->walked) {
    part_line (fp, "data", f->bytes[VD_WALK_DATA], whole, "");
    part_line (fp, "compressed", f->bytes[VD_WALK_COMPRESSED], whole, "");
    part_line (fp, "zeros", f->bytes[VD_WALK_ZERO], whole, "");
    part_line (fp, "unallocated", f->bytes[VD_WALK_BASE], whole,
               f->member->link->role == VD_ROLE_BASE ? ": reads as zeros"
               : ": read from the parent");
    part_line (fp, "damaged", f->bytes[VD_WALK_DAMAGED], whole,
               ": cannot be read");
    if (f->damage.code != VD_OK)
      line (fp, "", f->damage.msg);
  }
  if (!f->loaded)
    return;
  if (f->files_usage < f->files_size)
    snprintf (note, sizeof note, "%s, %s on disk",
              f->nr_files == 1 ? "" : " in all",
              short_size (buf, f->files_usage));
  label (fp, f->nr_files == 1 ? "file size" : "file sizes");
  fprintf (fp, "%s%s", human_size (buf, f->files_size), note);
  if (f->nr_files > 1)
    fprintf (fp, ", %zu files", f->nr_files);
  putc ('\n', fp);
  /* What is not data: tables, descriptor, free space.  How large
   * compressed data is stands in no table.
   */
  if (f->walked && f->bytes[VD_WALK_COMPRESSED] == 0 &&
      f->files_size > f->bytes[VD_WALK_DATA] &&
      f->member->link->capacity > 0)
    size_line (fp, "metadata", f->files_size - f->bytes[VD_WALK_DATA],
               " of the files: tables, descriptor, unused");
}

static void
put_parent (FILE *fp, const struct facts *f)
{
  const struct vd_link *link = f->member->link;
  const struct vd_descriptor *d = link->descriptor;
  const char *hint = vd_link_hint (link);

  if (d && d->has_cid) {
    label (fp, "CID");
    fprintf (fp, "%08" PRIx32 "\n", d->cid);
  }
  if (d && d->parent_cid != VD_NO_PARENT) {
    label (fp, "parent CID");
    fprintf (fp, "%08" PRIx32 "\n", d->parent_cid);
  }
  if (f->parent_state == PARENT_NONE)
    return;
  line (fp, "parent hint", hint);
  label (fp, "parent");
  switch (f->parent_state) {
  case PARENT_FOUND:
    out_text (fp, f->member->parent->link->path);
    fputs (", found", fp);
    if (d && d->parent_cid != VD_NO_PARENT &&
        f->member->parent->link->descriptor &&
        f->member->parent->link->descriptor->has_cid)
      fputs (f->member->parent->link->descriptor->cid == d->parent_cid
             ? ", its CID fits" : ", its CID does not fit", fp);
    break;
  case PARENT_UNKNOWN:
    fputs ("unknown: the file does not name it", fp);
    break;
  default:
    out_text (fp, f->parent_err.msg);
    break;
  }
  putc ('\n', fp);
}

/* As a descriptor has it, or a VDI's header. */
static void
put_uuid (FILE *fp, const struct facts *f, const char *name, const char *key,
          const uint8_t uuid[16])
{
  static const uint8_t null[16];
  char text[VD_UUID_TEXT];
  uint8_t parsed[16];
  const char *value = facts_key (f, key);

  if (value && vd_parse_uuid (value, parsed) && memcmp (parsed, null, 16) == 0)
    return;
  if (!value && memcmp (uuid, null, 16) != 0)
    value = vd_uuid_text (text, uuid);
  line (fp, name, value);
}

static void
put_uuids (FILE *fp, const struct facts *f)
{
  const struct vd_identity *id = &f->member->link->id;

  put_uuid (fp, f, "UUID", "ddb.uuid.image", id->image);
  put_uuid (fp, f, "parent UUID", "ddb.uuid.parent", id->parent);
  line (fp, "disk UUID", facts_key (f, "ddb.uuid"));
}

static void
put_extents (FILE *fp, const struct facts *f)
{
  const struct vd_descriptor *d = f->member->link->descriptor;
  static const char *const access[] = {
    [VD_RW] = "", [VD_RDONLY] = ", read-only", [VD_NOACCESS] = ", no access",
  };
  char buf[HUMAN_SIZE_MAX];
  size_t i, missing = 0;
  struct vd_err err;
  bool found;

  if (!d || f->member->link->embedded)
    return;
  for (i = 0; i < d->nr_extents; ++i) {
    const struct vd_extent_line *e = &d->extents[i];

    label (fp, i > 0 ? "" : d->nr_extents == 1 ? "extent" : "extents");
    out_text (fp, e->type_text);
    fprintf (fp, " %s", short_size (buf, e->length));
    if (e->name) {
      fputs (" ", fp);
      out_text (fp, e->shown);
    }
    if (e->offset > 0)
      fprintf (fp, " from byte %" PRIu64, e->offset);
    fputs (access[e->access], fp);
    found = extent_found (f, i, &err) == 0;
    if (!found && missing++ > 0)
      fputs (", not here", fp); /* why is said once */
    putc ('\n', fp);
    if (!found && missing == 1)
      line (fp, "", err.msg);
  }
}

void
text_report (FILE *fp, const struct report *r)
{
  const struct facts *f = &r->facts[0];

  out_text (fp, f->path);
  putc ('\n', fp);
  put_format (fp, f);
  put_content (fp, f);
  put_parent (fp, f);
  put_uuids (fp, f);
  if (f->unclean)
    line (fp, "unclean", "yes: its writer did not close it");
  line (fp, "lock", f->beside.lock);
  line (fp, "newer", f->beside.newer);
  if (f->member->link->merging)
    line (fp, "merging", "a merge of it was interrupted");
  line (fp, "change track", facts_key (f, "changetrackpath"));
  line (fp, "adapter", facts_key (f, "ddb.adaptertype"));
  put_extents (fp, f);
  if (!f->loaded)
    line (fp, "incomplete", f->load_err.msg);
  else if (!f->walked)
    line (fp, "incomplete", f->walk_err.msg);
}

static void
pad (FILE *fp, size_t n)
{
  while (n-- > 0)
    putc (' ', fp);
}

static void
chain_row (FILE *fp, const struct facts *f, const char *name, size_t width)
{
  const struct vd_descriptor *d = f->member->link->descriptor;
  char size[3][HUMAN_SIZE_MAX];
  const char *format = facts_format (f);

  fputs (name, fp);
  pad (fp, width - vd_utf8_columns (name));
  fprintf (fp, "  %-8s  %9s", format ? format : "-",
           short_size (size[0], f->member->link->capacity));
  if (f->walked)
    fprintf (fp, "  %9s  %9s",
             short_size (size[1], f->bytes[VD_WALK_DATA]
                         + f->bytes[VD_WALK_COMPRESSED]),
             short_size (size[2], f->bytes[VD_WALK_ZERO]));
  else
    fprintf (fp, "  %9s  %9s", "-", "-");
  if (d && d->has_cid)
    fprintf (fp, "  %08" PRIx32, d->cid);
  else
    fprintf (fp, "  %-8s", "-");
  if (d && d->parent_cid != VD_NO_PARENT)
    fprintf (fp, "   %08" PRIx32, d->parent_cid);
  else
    fprintf (fp, "   %-8s", "-");
  fprintf (fp, "  %s\n", facts_state (f));
}

/* The name of a link in the table: cut on the left if it is too long. */
static void
short_name (char *buf, size_t n, const char *path)
{
  CLEANUP_FREE char *name = strdup (base_name (path));
  const size_t keep = n / 4 - 8;
  size_t length;

  *buf = '\0';
  if (!name)
    return;
  if (vd_is_uri (path))
    name[strcspn (name, "?")] = '\0';
  length = strlen (name);
  vd_escape (buf, n, length > keep ? name + length - keep : name);
}

void
total_add (struct total *t, const struct facts *f)
{
  t->files += f->nr_files;
  t->size += f->files_size;
  t->usage += f->files_usage;
}

void
total_text (FILE *fp, const struct total *t)
{
  char size[HUMAN_SIZE_MAX];

  fprintf (fp, "%s in %zu file%s", short_size (size, t->size), t->files,
           t->files == 1 ? "" : "s");
  if (t->usage < t->size)
    fprintf (fp, ", %s on disk", short_size (size, t->usage));
  putc ('\n', fp);
}

void
text_chain (FILE *fp, const struct report *r)
{
  char name[256];
  size_t i, width = 4;
  const struct facts *oldest = &r->facts[r->n - 1];
  struct total total = { 0, 0, 0 };

  for (i = 0; i < r->n; ++i) {
    short_name (name, sizeof name, r->facts[i].path);
    if (vd_utf8_columns (name) > width)
      width = vd_utf8_columns (name);
  }
  fputs ("NAME", fp);
  pad (fp, width - 4);
  fprintf (fp, "  %-8s  %9s  %9s  %9s  %-8s   %-8s  %s\n", "FORMAT",
           "CAPACITY", "ALLOCATED", "ZERO", "CID", "PARENT", "STATE");
  for (i = r->n; i-- > 0; ) {
    short_name (name, sizeof name, r->facts[i].path);
    chain_row (fp, &r->facts[i], name, width);
    total_add (&total, &r->facts[i]);
  }
  label (fp, "total");
  total_text (fp, &total);
  for (i = r->n; i-- > 0; ) {
    const struct facts *f = &r->facts[i];
    const char *why = !f->loaded ? f->load_err.msg
      : !f->walked ? f->walk_err.msg
      : f->damage.code != VD_OK ? f->damage.msg : NULL;

    if (why)
      line (fp, facts_state (f), why);
  }
  if (oldest->parent_state == PARENT_UNKNOWN) {
    line (fp, "base unknown", "the oldest file above does not name its "
          "parent");
  }
  else if (oldest->parent_state != PARENT_NONE)
    line (fp, "base missing", oldest->parent_err.msg);
}
