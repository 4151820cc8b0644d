/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The input is the text of a VMware machine: up to a byte 1 the .vmx, behind
 * it the .vmsd.
 */

#include <string.h>

#include "fuzz.h"
#include "vmdkdelta.h"

static void
check_disks (const struct vd_vmx *vmx)
{
  size_t i;

  fz_require (vmx->name && vmx->nr_disks <= VD_VMX_MAX_DISKS, "the machine");
  for (i = 0; i < vmx->nr_disks; ++i) {
    const struct vd_vmx_disk *d = &vmx->disks[i];

    fz_require (d->node && d->name && d->file && d->mode && *d->name,
                "disk %zu", i);
    fz_require (i == 0 || strcmp (vmx->disks[i - 1].node, d->node) != 0,
                "%s is there twice", d->node);
  }
}

static void
check_tree (const struct vd_vmx *vmx)
{
  size_t i;

  fz_require (vmx->has_vmsd || vmx->nr_snapshots == 0, "snapshots of nothing");
  for (i = 0; i < vmx->nr_snapshots; ++i) {
    const struct vd_vmx_snapshot *s = vmx->tree[i];

    fz_require (s && s->name && s->description, "snapshot %zu of the tree", i);
    fz_require (s->depth == (s->parent ? s->parent->depth + 1 : 0),
                "the depth of snapshot %zu", i);
    fz_require (s->depth == 0 || (i > 0 && vmx->tree[i - 1]->depth + 1 >=
                                  s->depth), "the order of the tree");
  }
  fz_require (!vmx->tree || !vmx->tree[vmx->nr_snapshots], "its end");
}

/* Without files none can be read; but all have names, and are found by them. */
static void
check_views (const struct vd_vmx *vmx)
{
  static const struct vd_opts none;
  struct vd_vmx_views views;
  struct vd_family *family;
  struct vd_err err;
  size_t i;

  family = vd_family_new (&none, &err);
  if (!family)
    return;
  fz_clear (&err);
  if (vd_vmx_views (vmx, family, &views, &err) == -1) {
    fz_check_err (&err);
    vd_family_free (family);
    return;
  }
  for (i = 0; i < views.n; ++i) {
    fz_require (!views.view[i].member, "a file came from nowhere");
    fz_check_err (&views.view[i].err);
    fz_require (vd_vmx_find_view (vmx, &views, views.view[i].name, &err) ==
                &views.view[i], "view %zu is not found", i);
  }
  vd_vmx_views_free (&views);
  vd_family_free (family);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  const char *text = n > 0 ? (const char *) data : "";
  const char *cut = memchr (text, 1, n);
  struct vd_vmx *vmx;
  struct vd_err err;

  fz_load (data, n);
  fz_clear (&err);
  vmx = vd_vmx_parse ("m.vmx", text, cut ? (size_t) (cut - text) : n,
                      cut ? cut + 1 : NULL,
                      cut ? n - (size_t) (cut - text) - 1 : 0, &err);
  if (!vmx) {
    fz_check_err (&err);
    return 0;
  }
  check_disks (vmx);
  check_tree (vmx);
  check_views (vmx);
  vd_vmx_free (vmx);
  return 0;
}
