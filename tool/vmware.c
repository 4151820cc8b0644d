/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding out about a VMware machine; see vmware.h. */

#include <stdlib.h>

#include "vmware.h"

/* Open all of a view's chain, to see whether it is there and fits. */
static int
try_view (struct vmware *m, size_t i, const struct vd_opts *opts)
{
  const struct vd_vmx_view *v = &m->views.view[i];
  struct vd_chain *chain;

  if (!v->member)
    m->trouble[i] = v->err;
  else {
    chain = vd_family_chain (m->family, v->member, &m->trouble[i]);
    if (chain)
      m->trouble[i].code = VD_OK;
    vd_chain_free (chain);
    if (v->current)
      vd_look_beside (v->member->link, opts, &m->beside[i]);
  }
  return m->trouble[i].code == VD_NOMEM ? -1 : 0;
}

/* How far above the disk's present file is the snapshot's?  0: it is not. */
static unsigned
distance (const struct vmware *m, const struct vd_vmx_view *snapshot)
{
  const struct vd_member *p;
  unsigned n = 0;
  size_t i;

  for (i = 0; i < m->views.n; ++i)
    if (m->views.view[i].current && m->views.view[i].disk == snapshot->disk)
      for (p = m->views.view[i].member; p; p = p->parent, ++n)
        if (p == snapshot->member)
          return n;
  return 0;
}

/* The snapshot nearest to what is used now.  Of several with the same file,
 * the one that the .vmsd calls current.
 */
static const struct vd_vmx_snapshot *
find_here (const struct vmware *m)
{
  const struct vd_vmx_snapshot *here = NULL;
  unsigned n, nearest = 0;
  size_t i;

  for (i = 0; i < m->views.n; ++i) {
    const struct vd_vmx_view *v = &m->views.view[i];

    if (!v->snapshot || !v->member || !v->disk)
      continue;
    n = distance (m, v);
    if (n == 0 || (nearest > 0 && (n > nearest ||
                                   (n == nearest &&
                                    v->snapshot != m->vmx->current))))
      continue;
    nearest = n;
    here = v->snapshot;
  }
  return here ? here : m->vmx->current;
}

static size_t
number_of (const struct vd_family *family, const struct vd_member *file)
{
  size_t i = 0;

  while (family->members[i] != file)
    ++i;
  return i;
}

/* Which members are part of a view?  A chain that loops, say, is none.  What
 * is known has known ancestors: so each file is looked for once.
 */
static void
find_used (const struct vmware *m, bool *used)
{
  const struct vd_member *p;
  size_t i, k;

  for (i = 0; i < m->views.n; ++i)
    for (p = m->views.view[i].member; p; p = p->parent) {
      k = number_of (m->family, p);
      if (used[k])
        break;
      used[k] = true;
    }
}

static int
gather_facts (struct vmware *m, struct vd_err *err)
{
  const struct vd_family *family = m->family;
  const size_t n = family->nr_members;
  CLEANUP_FREE bool *used = calloc (n + 1, sizeof *used);
  size_t i;

  m->facts = calloc (n + 1, sizeof *m->facts);
  if (!m->facts || !used)
    return vd_fail_nomem (err);
  find_used (m, used);
  for (i = 0; i < n; ++i) {
    if (!used[i])
      continue;
    if (facts_open (&m->facts[m->nr_files], m->family, family->members[i],
                    err) == -1)
      return -1;
    m->nr_files++;
  }
  return facts_walk_all (m->facts, m->nr_files, err);
}

int
vmware_gather (struct vmware *m, const char *path, bool chain,
               const struct vd_opts *opts, struct vd_err *err)
{
  size_t i;

  *m = (struct vmware) {
    .path = path, .family = vd_family_new (opts, err),
  };
  if (!m->family)
    return -1;
  m->vmx = vd_vmx_open (path, opts, &m->err);
  if (!m->vmx)
    return 0;
  if (vd_vmx_views (m->vmx, m->family, &m->views, err) == -1)
    return -1;
  m->trouble = calloc (m->views.n + 1, sizeof *m->trouble);
  m->beside = calloc (m->views.n + 1, sizeof *m->beside);
  if (!m->trouble || !m->beside)
    return vd_fail_nomem (err);
  for (i = 0; i < m->views.n; ++i)
    if (try_view (m, i, opts) == -1) {
      *err = m->trouble[i];
      return -1;
    }
  m->here = find_here (m);
  return chain ? gather_facts (m, err) : 0;
}

void
vmware_free (struct vmware *m)
{
  size_t i;

  for (i = 0; m->beside && i < m->views.n; ++i)
    vd_beside_free (&m->beside[i]);
  free (m->beside);
  free (m->trouble);
  free (m->facts);
  vd_vmx_views_free (&m->views);
  vd_vmx_free (m->vmx);
  vd_family_free (m->family);
}

bool
vmware_complete (const struct vmware *m)
{
  size_t i;

  if (!m->vmx || m->vmx->vmsd_err.code != VD_OK)
    return false;
  for (i = 0; i < m->views.n; ++i)
    if (m->trouble[i].code != VD_OK)
      return false;
  for (i = 0; i < m->nr_files; ++i)
    if (!facts_whole (&m->facts[i]))
      return false;
  return true;
}

bool
vmware_missing (const struct vmware *m)
{
  size_t i;

  for (i = 0; i < m->views.n; ++i)
    if (m->trouble[i].code == VD_NOT_FOUND || m->trouble[i].code == VD_DENIED)
      return true;
  return false;
}
