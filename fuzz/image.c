/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* One file of one format: opened as a link, read, checked; see fuzz.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define LL(n) ((unsigned long long) (n))

/* Is [offset, offset+length) in what the report calls lost? */
static bool
is_lost (const struct vd_check_report *r, uint64_t offset, uint64_t length)
{
  size_t i;

  for (i = 0; i < r->nr_lost && length > 0; ++i) {
    const struct vd_guest_range *l = &r->lost[i];

    if (l->offset <= offset && offset < l->offset + l->length) {
      const uint64_t n = vd_min (length, l->offset + l->length - offset);

      offset += n;
      length -= n;
    }
  }
  return length == 0;
}

static void
check_report (const struct vd_check_report *r, uint64_t size)
{
  uint64_t end = 0, sum = 0;
  size_t i;

  for (i = 0; i < VD_CHECK_NR_KINDS; ++i)
    sum += r->count[i];
  fz_require (sum == r->errors + r->warnings + r->infos,
              "the findings do not add up");
  for (i = 0; i < r->nr_lost; ++i) {
    fz_require (r->lost[i].length > 0 && r->lost[i].offset < size &&
                r->lost[i].length <= size - r->lost[i].offset &&
                (i == 0 || r->lost[i].offset > end),
                "lost range %zu: %llu+%llu of %llu", i,
                LL (r->lost[i].offset), LL (r->lost[i].length), LL (size));
    end = r->lost[i].offset + r->lost[i].length;
  }
  for (i = 0; i < r->nr_kept; ++i) {
    struct vd_err err = { .code = VD_CORRUPT };

    snprintf (err.msg, sizeof err.msg, "%s", r->kept[i].message);
    fz_check_err (&err);
  }
}

/* What a reader cannot read is an error of the check. */
static void
check_agrees (const struct vd_chain *chain, const struct vd_check_report *r)
{
  struct vd_runs runs = VD_RUNS_INIT (64);
  uint64_t offset = 0;
  struct vd_err err;
  unsigned n;
  size_t i;

  for (n = 0; n < 8 && offset < chain->size && !fz_spent (); ++n) {
    runs.n = 0;
    if (vd_chain_map (chain, offset, chain->size - offset, &runs,
                      &err) == -1)
      break;
    for (i = 0; i < runs.n && !fz_spent (); ++i)
      if (runs.run[i].kind == VD_DAMAGED)
        fz_require (is_lost (r, runs.run[i].offset, runs.run[i].length),
                    "%llu+%llu cannot be read, and the check is silent",
                    LL (runs.run[i].offset), LL (runs.run[i].length));
    offset = vd_run_end (&runs.run[runs.n - 1]);
  }
  vd_runs_free (&runs);
}

/* Most findings are of one kind, thousands of them: enough is enough. */
static int
count (void *opaque, const struct vd_finding *f, struct vd_err *err)
{
  unsigned *n = opaque;

  (void) err;
  fz_require (f->message && f->kind < VD_CHECK_NR_KINDS, "a finding");
  return ++*n >= 40;
}

void
fz_check_check (struct vd_link *link, const struct vd_chain *chain)
{
  unsigned findings = 0;
  const struct vd_check_opts opts = {
    .fn = fz_choose (7, 16) > 0 ? count : NULL, .opaque = &findings,
    .inflate = true, .allow_dirty = fz_choose (3, 2), .keep = 4,
    .memory = UINT64_C (64) << fz_choose (4, 2) * 9,
    .errors_only = fz_choose (5, 4) == 0,
    .stop_at_first_error = fz_choose (6, 8) == 0,
  };
  struct vd_check_report report;
  struct vd_err err;

  fz_clear (&err);
  if (vd_check_link (link, &opts, &report, &err) == -1) {
    fz_check_err (&err);
    fz_require (fz_spent (), "check: %s", err.msg);
  }
  else {
    check_report (&report, link->capacity);
    if (!fz_spent () && !report.stopped && !report.more_lost)
      check_agrees (chain, &report);
  }
  vd_check_report_free (&report);
}

/* What is read to open one file: headers, a descriptor, the end of a stream; not
 * its tables, however many they are.  The journal of a SEsparse is for a
 * message, if the user wants to read one that was not closed.
 */
#define OPEN_READS 100u

int
fz_image (const uint8_t *data, size_t n, unsigned where, const void *magic,
          uint32_t magic_size)
{
  struct vd_opts opts = { .log = { .fn = NULL } };
  struct vd_err err;
  struct vd_link *link;
  struct vd_chain *chain;
  struct vd_file *base;

  fz_load (data, n);
  fz_set (0, where, magic, magic_size);
  opts.allow_dirty = fz_bits & 1;

  fz_clear (&err);
  link = vd_link_read (fz_file (0), fz_names[0], &opts, &err);
  fz_require (fz_reads () <= OPEN_READS || memcmp (magic, "\xbe\xba", 2) == 0,
              "opening needs %llu reads", LL (fz_reads ()));
  if (!link || vd_link_load (link, &opts, &err) == -1) {
    fz_check_err (&err);
    vd_link_close (link);
    return 0;
  }
  fz_clear (&err);
  chain = vd_chain_new (&link, 1, &opts, &err);
  if (!chain)
    fz_check_err (&err);
  else {
    base = fz_bits & 2 ? fz_base (fz_bits & 4 ? chain->size / 2 + 3
                                  : chain->size) : NULL;
    fz_check_disk (chain, base);
    if (!fz_spent () && fz_choose (8, 4) == 0)
      fz_check_check (link, chain);
    vd_file_close (base);
  }
  vd_chain_free (chain);
  vd_link_close (link);
  return 0;
}
