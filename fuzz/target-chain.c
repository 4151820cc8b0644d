/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A chain: what the user names, its parents, and a base underneath.
 *
 * First as the filter opens it (deltas, over a base that is no VMDK); where
 * that is refused, as the plugin does (down to its own base).
 */

#include <stdlib.h>

#include "fuzz.h"

static int
count (void *opaque, const struct vd_finding *f, struct vd_err *err)
{
  unsigned *n = opaque;

  (void) f, (void) err;
  return ++*n >= 40;
}

static void
check_reports (const struct vd_chain *chain)
{
  unsigned findings = 0;
  const struct vd_check_opts opts = {
    .fn = fz_choose (7, 16) > 0 ? count : NULL, .opaque = &findings,
    .inflate = true, .keep = 3, .memory = 4096, .ignore_cid = fz_bits & 2,
  };
  struct vd_check_report *links = calloc (chain->nr_links, sizeof *links);
  struct vd_check_report whole;
  struct vd_err err;
  size_t i;

  fz_require (links, "no memory");
  fz_clear (&err);
  if (vd_check_chain (chain, &opts, links, &whole, &err) == -1) {
    fz_check_err (&err);
    fz_require (fz_spent (), "check: %s", err.msg);
  }
  for (i = 0; i < chain->nr_links; ++i)
    vd_check_report_free (&links[i]);
  vd_check_report_free (&whole);
  free (links);
}

static void
check_chain (const struct vd_chain *chain, uint64_t base_size)
{
  struct vd_file *base = chain->has_base ? NULL : fz_base (base_size);
  size_t i;

  fz_require (chain->nr_links > 0 && chain->nr_links <= VD_MAX_LINKS,
              "%zu links", chain->nr_links);
  fz_require (chain->links[0]->capacity == chain->size,
              "the newest link has another size than the chain");
  for (i = 0; i < chain->nr_slots; ++i)
    fz_require (chain->slots[i].layer < chain->nr_links, "slot %zu", i);
  fz_check_disk (chain, base);
  if (!fz_spent () && fz_choose (8, 4) == 0)
    check_reports (chain);
  vd_file_close (base);
}

static bool
try_deltas (const struct vd_opts *opts)
{
  const struct vd_deltas_opts how = {
    .no_follow = fz_bits & 8, .allow_no_parent = fz_bits & 16,
    .follow_option = "follow",
  };
  const char *const paths[] = { "d.vmdk", "p.vmdk" };
  struct vd_deltas d;
  struct vd_err err;
  bool opened;

  fz_clear (&err);
  opened = vd_deltas_open (&d, paths, fz_bits & 32 ? 2 : 1, &how, opts,
                           &err) == 0;
  if (opened) {
    fz_require (!d.chain->has_base || how.allow_no_parent,
                "deltas have a base of their own");
    check_chain (d.chain, fz_bits & 4 ? d.chain->size / 2 + 5
                 : d.chain->size);
  }
  else
    fz_check_err (&err);
  vd_deltas_close (&d);
  return opened;
}

static void
try_family (const struct vd_opts *opts)
{
  struct vd_err err;
  struct vd_family *f = vd_family_new (opts, &err);
  struct vd_member *m;
  struct vd_chain *chain = NULL;

  fz_require (f, "no memory");
  fz_clear (&err);
  m = vd_family_add (f, "d.vmdk", &err);
  if (m && vd_family_resolve (f, m, &err) == 0)
    chain = vd_family_chain (f, m, &err);
  if (!chain)
    fz_check_err (&err);
  else {
    fz_require (vd_member_depth (m) + 1 == chain->nr_links,
                "the depth is not that of the chain");
    check_chain (chain, 0);
  }
  vd_chain_free (chain);
  vd_family_free (f);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  struct vd_opts opts = { .log = { .fn = NULL } };

  fz_load (data, n);
  opts.allow_dirty = fz_bits & 1;
  opts.ignore_cid = fz_bits & 2;
  opts.parent = fz_bits & 64 ? "p.vmdk" : NULL;
  if (!try_deltas (&opts) && !fz_spent ())
    try_family (&opts);
  return 0;
}
