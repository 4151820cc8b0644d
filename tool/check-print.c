/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The two ways to tell what a check found; see check-print.h. */

#include <inttypes.h>

#include "check-print.h"

/* Ranges shown to people who did not ask for all. */
#define SHOWN_RANGES 10u

const struct vd_link *
checked_link (const struct checked *c, size_t i)
{
  return c->has_whole ? c->stack.chain->links[i] : c->stack.top->link;
}

bool
checked_damaged (const struct checked *c)
{
  size_t i;

  for (i = 0; i < c->nr_reports; ++i)
    if (c->reports[i].errors > 0)
      return true;
  return c->damaged_open || c->whole.errors > 0;
}

/* ---- Text ----------------------------------------------------------------- */

static void
count (FILE *fp, const char **sep, uint64_t n, const char *what)
{
  if (n == 0)
    return;
  fprintf (fp, "%s%" PRIu64 " %s%s", *sep, n, what, n == 1 ? "" : "s");
  *sep = ", ";
}

static void
text_finding (FILE *fp, const struct vd_finding *f)
{
  fprintf (fp, "    %s", f->message);
  if (f->place != VD_CHECK_NO_PLACE)
    fprintf (fp, " [file byte %" PRIu64, f->place);
  if (f->length > 0)
    fprintf (fp, "%s disk bytes %" PRIu64 " to %" PRIu64,
             f->place != VD_CHECK_NO_PLACE ? ";" : " [", f->offset,
             f->offset + f->length - 1);
  fputs (f->place != VD_CHECK_NO_PLACE || f->length > 0 ? "]\n" : "\n", fp);
}

static void
text_findings (FILE *fp, const struct vd_check_report *r, bool verbose)
{
  enum vd_severity severity = VD_SEV_INFO;
  unsigned k;
  size_t i;

  for (k = 0; k < VD_CHECK_NR_KINDS; ++k) {
    uint64_t shown = 0;

    for (i = 0; i < r->nr_kept; ++i)
      if (r->kept[i].kind == k)
        severity = r->kept[i].severity;
    if (r->count[k] == 0 || (severity == VD_SEV_INFO && !verbose))
      continue;
    fprintf (fp, "  %s: %s (%" PRIu64 ")\n", vd_severity_name (severity),
             vd_check_kind_name ((enum vd_check_kind) k), r->count[k]);
    for (i = 0; i < r->nr_kept; ++i)
      if (r->kept[i].kind == k) {
        text_finding (fp, &r->kept[i]);
        ++shown;
      }
    if (shown < r->count[k])
      fprintf (fp, "    ... and %" PRIu64 " more\n", r->count[k] - shown);
  }
}

static void
text_lost (FILE *fp, const struct vd_check_report *r, const char *what,
           bool verbose)
{
  const size_t shown
    = verbose || r->nr_lost <= SHOWN_RANGES ? r->nr_lost : SHOWN_RANGES;
  char size[HUMAN_SIZE_MAX];
  size_t i;

  if (r->nr_lost == 0)
    return;
  fprintf (fp, "  %s %s%s:\n", r->more_lost ? "up to" : "",
           human_size (size, r->lost_bytes), what);
  for (i = 0; i < shown; ++i)
    fprintf (fp, "    offset %" PRIu64 ", length %" PRIu64 "\n",
             r->lost[i].offset, r->lost[i].length);
  if (shown < r->nr_lost)
    fprintf (fp, "    ... and %zu more (--verbose lists them)\n",
             r->nr_lost - shown);
  else if (r->more_lost)
    fprintf (fp, "    ... and more\n");
}

static void
text_link (FILE *fp, const struct vd_link *link,
           const struct vd_check_report *r, bool verbose)
{
  const char *sep = ": ";

  out_text (fp, link->path);
  fprintf (fp, ": %s", r->errors > 0 ? "damaged" : "clean");
  count (fp, &sep, r->errors, "error");
  count (fp, &sep, r->warnings, "warning");
  if (verbose)
    count (fp, &sep, r->infos, "info");
  sep = "";
  fprintf (fp, " (%s", vd_link_format (link));
  sep = "; ";
  count (fp, &sep, r->grains, "grain");
  count (fp, &sep, r->compressed_grains, "compressed grain");
  count (fp, &sep, r->zero_grains, "zero grain");
  count (fp, &sep, r->tables, "table");
  fputs (")\n", fp);
  text_findings (fp, r, verbose);
  text_lost (fp, r, " of the disk are lost or doubtful", verbose);
}

void
check_text (FILE *fp, const struct checked *c, bool verbose)
{
  const struct vd_check_report *w = &c->whole;
  size_t i;

  for (i = 0; i < c->nr_reports; ++i)
    text_link (fp, checked_link (c, i), &c->reports[i], verbose);
  if (c->failed) {
    out_text (fp, c->path);
    fprintf (fp, ": %s: %s\n", c->damaged_open ? "damaged" : "not checked",
             c->why.msg);
  }
  if (!c->has_whole)
    return;
  out_text (fp, c->path);
  fprintf (fp, ": chain of %zu link%s: %s\n", c->nr_reports,
           c->nr_reports == 1 ? "" : "s",
           checked_damaged (c) ? "damaged" : "clean");
  text_findings (fp, w, verbose);
  text_lost (fp, w, " of the disk are lost or doubtful, seen through the "
             "chain", verbose);
  if (w->nr_lost == 0 && !w->more_lost && checked_damaged (c) &&
      w->errors == 0)
    fputs ("  nothing of that is seen through the chain\n", fp);
}

/* ---- JSON ----------------------------------------------------------------- */

static void
json_finding (struct json *j, const struct vd_finding *f)
{
  json_begin_object (j, NULL);
  json_string (j, "kind", vd_check_kind_name (f->kind));
  json_string (j, "severity", vd_severity_name (f->severity));
  json_string (j, "file", f->file);
  if (f->place == VD_CHECK_NO_PLACE)
    json_null (j, "place");
  else
    json_u64 (j, "place", f->place);
  json_u64 (j, "offset", f->offset);
  json_u64 (j, "length", f->length);
  json_string (j, "message", f->message);
  json_end (j);
}

static void
json_report (struct json *j, const struct vd_check_report *r)
{
  unsigned k;
  size_t i;

  json_u64 (j, "errors", r->errors);
  json_u64 (j, "warnings", r->warnings);
  json_u64 (j, "infos", r->infos);
  json_begin_object (j, "counts");
  for (k = 0; k < VD_CHECK_NR_KINDS; ++k)
    if (r->count[k] > 0)
      json_u64 (j, vd_check_kind_name ((enum vd_check_kind) k), r->count[k]);
  json_end (j);
  json_begin_array (j, "findings");
  for (i = 0; i < r->nr_kept; ++i)
    json_finding (j, &r->kept[i]);
  json_end (j);
  json_u64 (j, "lost-bytes", r->lost_bytes);
  json_bool (j, "lost-complete", !r->more_lost);
  json_begin_array (j, "lost");
  for (i = 0; i < r->nr_lost; ++i) {
    json_begin_object (j, NULL);
    json_u64 (j, "offset", r->lost[i].offset);
    json_u64 (j, "length", r->lost[i].length);
    json_end (j);
  }
  json_end (j);
}

void
check_json (struct json *j, const struct checked *c)
{
  size_t i;

  json_begin_object (j, NULL);
  json_string (j, "file", c->path);
  json_string (j, "result", checked_damaged (c) ? "damaged"
               : c->failed ? "not-checked" : "clean");
  json_string_or_null (j, "error", c->failed ? c->why.msg : NULL);
  json_begin_array (j, "links");
  for (i = 0; i < c->nr_reports; ++i) {
    const struct vd_link *link = checked_link (c, i);

    json_begin_object (j, NULL);
    json_string (j, "file", link->path);
    json_string (j, "format", vd_link_format (link));
    json_u64 (j, "size", link->capacity);
    json_u64 (j, "tables", c->reports[i].tables);
    json_u64 (j, "grains", c->reports[i].grains);
    json_u64 (j, "zero-grains", c->reports[i].zero_grains);
    json_u64 (j, "compressed-grains", c->reports[i].compressed_grains);
    json_report (j, &c->reports[i]);
    json_end (j);
  }
  json_end (j);
  if (c->has_whole) {
    json_begin_object (j, "chain");
    json_report (j, &c->whole);
    json_end (j);
  }
  else
    json_null (j, "chain");
  json_end (j);
}
