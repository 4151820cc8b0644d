/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Checking links and chains; see check.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/check-walk.h"

/* The part of a chain's map that is looked at in one go. */
#define MAX_RUNS 4096u

/* Extents without tables: what of them is not there. */
static int
check_plain (struct vd_checker *c, const struct vd_image *image,
             struct vd_err *err)
{
  struct vd_runs runs = VD_RUNS_INIT (4);
  const struct vd_out out = { .runs = &runs };
  struct vd_err why;
  size_t i;
  int r = image->fmt->map (image, 0, image->capacity, &out, err);

  for (i = 0; r == 0 && i < runs.n; ++i)
    if (runs.run[i].kind == VD_DAMAGED) {
      image->fmt->explain (image, runs.run[i].offset, &why);
      r = vd_check_add_err (c, VD_CHECK_EXTENT_LOST, VD_CHECK_NO_PLACE,
                            runs.run[i].offset, runs.run[i].length, &why, err);
    }
  vd_runs_free (&runs);
  return r;
}

/* Who checks which format.  One that is not here has nothing to be checked
 * beyond what opening and reading look at.
 */
static const struct {
  const struct vd_format *fmt;
  int (*check) (struct vd_checker *c, const struct vd_image *image,
                struct vd_err *err);
} format_checks[] = {
  { &vd_format_cowd, vd_check_cowd },
  { &vd_format_kdmv, vd_check_kdmv },
  { &vd_format_sesparse, vd_check_sesparse },
  { &vd_format_vdi, vd_check_vdi },
  { &vd_format_flat, check_plain },
  { &vd_format_lost, check_plain },
  { &vd_format_markers, vd_check_markers },
};

/* Does the header have more than the line of the descriptor?  Hosted products
 * round up to a whole grain.  (Less is refused when the link is opened.)
 */
static int
check_capacity (struct vd_checker *c, struct vd_err *err)
{
  const struct vd_image *image = c->image;
  const uint64_t more = image->capacity - image->used;

  if (more == 0 ||
      (strcmp (image->fmt->name, vd_format_kdmv.name) == 0 &&
       more < image->grain_size))
    return 0;
  return vd_check_add (c, VD_CHECK_CAPACITY, VD_CHECK_NO_PLACE, 0, 0, err,
                       "the header has %" PRIu64 " sectors, the descriptor "
                       "uses %" PRIu64, image->capacity / VD_SECTOR,
                       image->used / VD_SECTOR);
}

/* Adds to what the report has. */
static int
check_piece (const struct vd_piece *piece, const struct vd_check_opts *opts,
             struct vd_check_report *report, struct vd_err *err)
{
  const struct vd_image *image = piece->image;
  CLEANUP_FREE struct vd_checker *c = NULL;
  size_t i = 0;
  int r;

  while (format_checks[i].fmt != image->fmt)
    if (++i == sizeof format_checks / sizeof format_checks[0])
      return 0;

  c = calloc (1, sizeof *c);
  if (!c)
    return vd_fail_nomem (err);
  c->opts = opts;
  c->report = report;
  c->image = image;
  c->start = piece->start;
  r = check_capacity (c, err);
  if (r == 0)
    r = format_checks[i].check (c, image, err);
  vd_owners_free (c);
  return r;
}

int
vd_check_link (const struct vd_link *link, const struct vd_check_opts *opts,
               struct vd_check_report *report, struct vd_err *err)
{
  size_t i;
  int r = 0;

  memset (report, 0, sizeof *report);
  if (vd_merging_is_wrong (link, NULL, 0)) {
    struct vd_err why;

    vd_merging_fail (link->merging, link->path, &why);
    r = vd_check_report_add (report, opts, VD_CHECK_MERGING, link->path,
                             VD_CHECK_NO_PLACE, 0, 0, why.msg, err);
  }
  for (i = 0; i < link->nr_pieces && r == 0; ++i)
    r = check_piece (&link->pieces[i], opts, report, err);
  if (r == 1)
    report->stopped = true;
  vd_check_report_end (report);
  return r == -1 ? -1 : 0;
}

struct pair {
  struct vd_check_report *report;
  const struct vd_check_opts *opts;
  const char *file;
  int r;
  struct vd_err *err;
};

static void
pair_warning (void *opaque, enum vd_level level, const char *msg)
{
  struct pair *p = opaque;

  if (level == VD_WARN && p->r == 0)
    p->r = vd_check_report_add (p->report, p->opts, VD_CHECK_PARENT_DIFFERS,
                                p->file, VD_CHECK_NO_PLACE, 0, 0, msg,
                                p->err);
}

/* Do they belong together?  Opening says the same. */
static int
check_pair (const struct vd_link *child, const struct vd_link *parent,
            const struct vd_check_opts *opts, struct vd_check_report *report,
            struct vd_err *err)
{
  struct pair p = { .report = report, .opts = opts, .file = child->path,
                    .err = err };
  const struct vd_opts strict = {
    .log = { .fn = pair_warning, .opaque = &p }
  };
  struct vd_err why;

  if (vd_chain_check_pair (child, parent, &strict, &why) == -1 && p.r == 0)
    p.r = vd_check_report_add (report, opts, VD_CHECK_PARENT_MISMATCH,
                               child->path, VD_CHECK_NO_PLACE, 0, 0,
                               why.msg, err);
  return p.r;
}

/* The parts of a range, lost in this layer, that no newer link holds. */
static int
visible (const struct vd_chain *chain, size_t layer,
         const struct vd_guest_range *range, struct vd_check_report *whole,
         struct vd_err *err)
{
  const uint64_t end = vd_min (range->offset + range->length, chain->size);
  struct vd_runs runs = VD_RUNS_INIT (MAX_RUNS);
  uint64_t offset = range->offset;
  int r = 0;
  size_t i;

  while (offset < end && r == 0) {
    runs.n = 0;
    r = vd_chain_map (chain, offset, end - offset, &runs, err);
    for (i = 0; i < runs.n && r == 0; ++i) {
      const struct vd_run *run = &runs.run[i];

      offset = vd_run_end (run);
      if (run->kind != VD_BASE && run->kind != VD_ZERO &&
          chain->slots[run->slot].layer == layer)
        r = vd_check_report_lost (whole, run->offset, run->length, err);
    }
  }
  vd_runs_free (&runs);
  return r;
}

int
vd_check_chain (const struct vd_chain *chain,
                const struct vd_check_opts *opts,
                struct vd_check_report *links,
                struct vd_check_report *whole, struct vd_err *err)
{
  size_t i, k;
  int r = 0;

  memset (links, 0, chain->nr_links * sizeof *links);
  memset (whole, 0, sizeof *whole);
  for (i = 0; i + 1 < chain->nr_links && r == 0; ++i)
    r = check_pair (chain->links[i], chain->links[i + 1], opts, whole, err);
  if (r != 0)
    return r == -1 ? -1 : 0;

  for (i = 0; i < chain->nr_links; ++i) {
    if (vd_check_link (chain->links[i], opts, &links[i], err) == -1)
      return -1;
    for (k = 0; k < links[i].nr_lost; ++k)
      if (visible (chain, i, &links[i].lost[k], whole, err) == -1)
        return -1;
    whole->more_lost |= links[i].more_lost;
    if (links[i].stopped) {
      whole->stopped = true;
      break;
    }
  }
  vd_check_report_end (whole);
  return 0;
}

int
vd_check_sound (const struct vd_chain *chain,
                const struct vd_check_opts *opts, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < chain->nr_links; ++i) {
    struct vd_check_report report;
    int r = vd_check_link (chain->links[i], opts, &report, err);

    if (r == 0)
      r = vd_check_result (&report, err);
    vd_check_report_free (&report);
    if (r == -1) {
      vd_err_prefix (err, "nothing was written: ");
      return -1;
    }
  }
  return 0;
}

/* ---- Is it whole? --------------------------------------------------------- */

struct whole {
  bool cut, other;
  struct vd_err why;            /* the first that is cut */
  char text[VD_ERR_MAX];        /* the first that is otherwise wrong */
};

static int
judge_finding (void *opaque, const struct vd_finding *f, struct vd_err *err)
{
  struct whole *w = opaque;

  (void) err;
  switch (f->kind) {
  case VD_CHECK_TABLE_OUTSIDE:
  case VD_CHECK_GRAIN_OUTSIDE:
  case VD_CHECK_GRAIN_TRUNCATED:
  case VD_CHECK_EXTENT_LOST:
    w->cut = true;
    vd_fail (&w->why, VD_TRUNCATED, "%s", f->message);
    return 1;                   /* nothing worse can come */
  default:
    if (!w->other)
      snprintf (w->text, sizeof w->text, "%s", f->message);
    w->other = true;
    return 0;
  }
}

int
vd_check_whole (const struct vd_chain *chain, const struct vd_opts *opts,
                struct vd_err *err)
{
  size_t i;

  for (i = 0; i < chain->nr_links; ++i) {
    struct whole w = { .cut = false };
    const struct vd_check_opts how = {
      .errors_only = true, .quick = true, .keep = 1,
      .allow_dirty = opts->allow_dirty, .ignore_cid = opts->ignore_cid,
      .fn = judge_finding, .opaque = &w,
    };
    const char *path = chain->links[i]->path;
    struct vd_check_report report;
    int r = vd_check_link (chain->links[i], &how, &report, err);

    vd_check_report_free (&report);
    if (r == -1)
      return -1;
    if (w.cut) {
      *err = w.why;
      return -1;
    }
    if (w.other)
      vd_warn (&opts->log, "%s has errors, which will show in what is made on "
               "it (vmdkdelta check lists them): %s", path, w.text);
  }
  return 0;
}
