/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a check found: counts, the first findings of each kind, and the guest
 * ranges that are lost.
 *
 * P1. The list of lost ranges has at most VD_CHECK_MAX_RANGES entries while
 *     it grows; when it is full it is sorted and joined, and if that does
 *     not help the rest is only added up.
 * P2. After vd_check_report_end it is in order, and its ranges do not touch.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "check/check-walk.h"

#define DEFAULT_KEEP 10u

static const struct {
  const char *name;
  enum vd_severity severity;
} kinds[VD_CHECK_NR_KINDS] = {
  [VD_CHECK_TABLE_OUTSIDE] = { "table-outside-file", VD_SEV_ERROR },
  [VD_CHECK_TABLE_BAD] = { "table-entry-bad", VD_SEV_ERROR },
  [VD_CHECK_TABLE_IN_METADATA] = { "table-in-metadata", VD_SEV_ERROR },
  [VD_CHECK_TABLE_OVERLAP] = { "table-overlap", VD_SEV_ERROR },
  [VD_CHECK_GRAIN_OUTSIDE] = { "grain-outside-file", VD_SEV_ERROR },
  [VD_CHECK_GRAIN_TRUNCATED] = { "grain-truncated", VD_SEV_ERROR },
  [VD_CHECK_GRAIN_BAD] = { "grain-entry-bad", VD_SEV_ERROR },
  [VD_CHECK_GRAIN_IN_METADATA] = { "grain-in-metadata", VD_SEV_ERROR },
  [VD_CHECK_GRAIN_OVERLAP] = { "grain-overlap", VD_SEV_ERROR },
  [VD_CHECK_GRAIN_MARKER] = { "grain-marker-bad", VD_SEV_ERROR },
  [VD_CHECK_GRAIN_INFLATE] = { "grain-does-not-inflate", VD_SEV_ERROR },
  [VD_CHECK_COPY_DOUBT] = { "redundant-doubt", VD_SEV_ERROR },
  [VD_CHECK_JOURNAL] = { "journal-pending", VD_SEV_ERROR },
  [VD_CHECK_EXTENT_LOST] = { "extent-lost", VD_SEV_ERROR },
  [VD_CHECK_READ] = { "read-error", VD_SEV_ERROR },
  [VD_CHECK_MERGING] = { "merge-unfinished", VD_SEV_ERROR },
  [VD_CHECK_PARENT_MISMATCH] = { "parent-mismatch", VD_SEV_ERROR },
  [VD_CHECK_PARENT_DIFFERS] = { "parent-differs", VD_SEV_WARNING },
  [VD_CHECK_TABLE_BEYOND] = { "table-beyond-capacity", VD_SEV_WARNING },
  [VD_CHECK_GRAIN_BEYOND] = { "grain-beyond-capacity", VD_SEV_WARNING },
  [VD_CHECK_COPY_DIFFERS] = { "redundant-differs", VD_SEV_WARNING },
  [VD_CHECK_COPY_OVERLAP] = { "redundant-overlap", VD_SEV_WARNING },
  [VD_CHECK_ENTRY_ONE] = { "cowd-entry-1", VD_SEV_WARNING },
  [VD_CHECK_FREE_SECTOR] = { "free-sector-wrong", VD_SEV_WARNING },
  [VD_CHECK_FREE_TABLE] = { "free-table-wrong", VD_SEV_WARNING },
  [VD_CHECK_AREAS_OVERLAP] = { "areas-overlap", VD_SEV_WARNING },
  [VD_CHECK_CAPACITY] = { "capacity-differs", VD_SEV_WARNING },
  [VD_CHECK_UNCLEAN] = { "unclean", VD_SEV_WARNING },
  [VD_CHECK_STREAM_MARKER] = { "stream-marker-bad", VD_SEV_WARNING },
  [VD_CHECK_STREAM_UNUSED] = { "stream-grain-unused", VD_SEV_WARNING },
  [VD_CHECK_FLAGS] = { "flags-unknown", VD_SEV_INFO },
  [VD_CHECK_UNALIGNED] = { "grain-unaligned", VD_SEV_INFO },
  [VD_CHECK_BITMAP] = { "free-bitmap-differs", VD_SEV_INFO },
  [VD_CHECK_BACKMAP] = { "backmap-differs", VD_SEV_INFO },
};

const char *
vd_check_kind_name (enum vd_check_kind kind)
{
  return kinds[kind].name;
}

const char *
vd_severity_name (enum vd_severity severity)
{
  switch (severity) {
  case VD_SEV_INFO: return "info";
  case VD_SEV_WARNING: return "warning";
  case VD_SEV_ERROR: break;
  }
  return "error";
}

enum vd_severity
vd_check_severity (enum vd_check_kind kind, const struct vd_check_opts *opts)
{
  if ((kind == VD_CHECK_JOURNAL && opts->allow_dirty) ||
      (kind == VD_CHECK_PARENT_MISMATCH && opts->ignore_cid))
    return VD_SEV_WARNING;
  if (kind == VD_CHECK_COPY_OVERLAP && opts->for_writing)
    return VD_SEV_ERROR;
  return kinds[kind].severity;
}

static void
free_finding (struct vd_finding *f)
{
  free (f->file);
  free (f->message);
}

void
vd_check_report_free (struct vd_check_report *report)
{
  size_t i;

  for (i = 0; i < report->nr_kept; ++i)
    free_finding (&report->kept[i]);
  free (report->kept);
  free (report->lost);
  memset (report, 0, sizeof *report);
}

static int
compare_ranges (const void *va, const void *vb)
{
  const struct vd_guest_range *a = va, *b = vb;

  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

void
vd_check_report_end (struct vd_check_report *report)
{
  struct vd_guest_range *r = report->lost;
  size_t i, n = 0;

  if (report->nr_lost > 0)
    qsort (r, report->nr_lost, sizeof *r, compare_ranges);
  for (i = 0; i < report->nr_lost; ++i) {
    const uint64_t end = r[i].offset + r[i].length;

    if (n > 0 && r[i].offset <= r[n - 1].offset + r[n - 1].length)
      r[n - 1].length = vd_max (r[n - 1].offset + r[n - 1].length, end)
        - r[n - 1].offset;
    else
      r[n++] = r[i];
  }
  report->nr_lost = n;
  if (report->more_lost)
    return;
  report->lost_bytes = 0;
  for (i = 0; i < n; ++i)
    report->lost_bytes += r[i].length;
}

int
vd_check_report_lost (struct vd_check_report *report, uint64_t offset,
                      uint64_t length, struct vd_err *err)
{
  struct vd_guest_range *last, *p;

  if (length == 0)
    return 0;
  if (report->nr_lost > 0) {    /* the usual case: it goes on */
    last = &report->lost[report->nr_lost - 1];
    if (offset == last->offset + last->length) {
      last->length += length;
      report->lost_bytes += length;
      return 0;
    }
  }
  if (report->nr_lost == VD_CHECK_MAX_RANGES && !report->more_lost)
    vd_check_report_end (report);
  if (report->nr_lost == VD_CHECK_MAX_RANGES) { /* P1 */
    report->more_lost = true;
    report->lost_bytes += length;
    return 0;
  }
  p = vd_grow (report->lost, report->nr_lost, sizeof *p, err);
  if (!p)
    return -1;
  report->lost = p;
  report->lost[report->nr_lost++] = (struct vd_guest_range) {
    .offset = offset, .length = length
  };
  report->lost_bytes += length;
  return 0;
}

static int
keep (struct vd_check_report *report, const struct vd_finding *f,
      struct vd_err *err)
{
  struct vd_finding *k;

  k = vd_grow (report->kept, report->nr_kept, sizeof *k, err);
  if (!k)
    return -1;
  report->kept = k;
  k = &report->kept[report->nr_kept];
  *k = *f;
  k->file = strdup (f->file);
  k->message = strdup (f->message);
  if (!k->file || !k->message) {
    free_finding (k);
    return vd_fail_nomem (err);
  }
  report->nr_kept++;
  report->nr_kept_of[f->kind]++;
  return 0;
}

static unsigned
max_kept (const struct vd_check_opts *opts)
{
  return opts->keep ? opts->keep : DEFAULT_KEEP;
}

static int
add (struct vd_check_report *report, const struct vd_check_opts *opts,
     const struct vd_finding *f, struct vd_err *err)
{
  int r = 0;

  report->count[f->kind]++;
  switch (f->severity) {
  case VD_SEV_ERROR: report->errors++; break;
  case VD_SEV_WARNING: report->warnings++; break;
  case VD_SEV_INFO: report->infos++; break;
  }
  if (f->severity == VD_SEV_ERROR &&
      vd_check_report_lost (report, f->offset, f->length, err) == -1)
    return -1;
  if (report->nr_kept_of[f->kind] < max_kept (opts) &&
      keep (report, f, err) == -1)
    return -1;
  if (opts->fn)
    r = opts->fn (opts->opaque, f, err);
  if (r == 0 && f->severity == VD_SEV_ERROR && opts->stop_at_first_error)
    r = 1;
  if (r == 1)
    report->stopped = true;
  return r;
}

int
vd_check_report_add (struct vd_check_report *report,
                     const struct vd_check_opts *opts,
                     enum vd_check_kind kind, const char *file,
                     uint64_t place, uint64_t offset, uint64_t length,
                     const char *message, struct vd_err *err)
{
  /* The finding borrows; keep copies. */
  const struct vd_finding f = {
    .kind = kind, .severity = vd_check_severity (kind, opts),
    .file = (char *) (uintptr_t) file, .place = place,
    .offset = length > 0 ? offset : 0, .length = length,
    .message = (char *) (uintptr_t) message,
  };

  if (opts->errors_only && f.severity != VD_SEV_ERROR)
    return 0;
  return add (report, opts, &f, err);
}

int
vd_check_add_err (struct vd_checker *c, enum vd_check_kind kind,
                  uint64_t place, uint64_t offset, uint64_t length,
                  const struct vd_err *why, struct vd_err *err)
{
  const uint64_t used = c->image->used;
  const char *name = c->image->file ? c->image->file->name : "";

  length = offset < used ? vd_min (length, used - offset) : 0;
  return vd_check_report_add (c->report, c->opts, kind, name, place,
                              c->start + offset, length, why->msg, err);
}

int
vd_check_add (struct vd_checker *c, enum vd_check_kind kind, uint64_t place,
              uint64_t offset, uint64_t length, struct vd_err *err,
              const char *fs, ...)
{
  char text[VD_ERR_MAX];
  struct vd_err why;
  va_list args;

  /* In a badly damaged file most findings are only counted. */
  why.msg[0] = '\0';
  if (c->opts->errors_only &&
      vd_check_severity (kind, c->opts) != VD_SEV_ERROR)
    return 0;
  if (!c->opts->fn && c->report->nr_kept_of[kind] >= max_kept (c->opts))
    return vd_check_add_err (c, kind, place, offset, length, &why, err);

  va_start (args, fs);
  if (vsnprintf (text, sizeof text, fs, args) < 0)
    text[0] = '\0';
  va_end (args);
  vd_fail (&why, VD_CORRUPT, "%s: %s",
           c->image->file ? c->image->file->name : "", text);
  return vd_check_add_err (c, kind, place, offset, length, &why, err);
}

int
vd_check_result (const struct vd_check_report *report, struct vd_err *err)
{
  size_t i;

  if (report->errors == 0)
    return 0;
  for (i = 0; i < report->nr_kept; ++i)
    if (report->kept[i].severity == VD_SEV_ERROR)
      return vd_fail (err, VD_CORRUPT, "%s", report->kept[i].message);
  return vd_fail (err, VD_CORRUPT, "damaged");
}
