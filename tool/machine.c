/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Finding out about a VirtualBox machine; see machine.h. */

#include <stdlib.h>

#include "machine.h"

const char *
machine_power (const struct vd_vbox *box)
{
  static const char *const names[] = {
    [VD_VBOX_OFF] = "off", [VD_VBOX_SAVED] = "saved",
    [VD_VBOX_ABORTED] = "aborted",
  };

  return names[box->power];
}

unsigned
machine_links (const struct vd_vbox_medium *medium)
{
  unsigned n = 0;

  for (; medium; medium = medium->parent)
    ++n;
  return n;
}

/* The file of a medium, and whether it belongs to its parent's. */
static void
gather_medium (struct machine *m, size_t i, bool chain)
{
  struct medium_facts *f = &m->media[i];
  const struct vd_vbox_medium *medium = &m->box->media[i];
  struct vd_err ignored;

  f->member = vd_vbox_add_medium (m->box, medium, m->family, &f->err);
  if (f->member && (!medium->parent ||
                    machine_facts (m, medium->parent)->member) &&
      !vd_vbox_add_chain (m->box, medium, m->family, &f->err))
    f->member = NULL;
  if (!f->member)
    return;
  f->has_facts = chain;
  if (!chain) {                 /* its files are counted, no more */
    f->facts.member = f->member;
    if (vd_link_load (f->member->link, m->family->opts, &ignored) == 0)
      facts_count_files (&f->facts);
  }
  else if (facts_open (&f->facts, m->family, f->member, &f->err) == -1 ||
           facts_walk (&f->facts, &f->err) == -1) {
    f->member = NULL;           /* no memory */
    return;
  }
  total_add (&m->total, &f->facts);
}

int
machine_gather (struct machine *m, const char *path, bool chain,
                const struct vd_opts *opts, struct vd_err *err)
{
  size_t i;

  *m = (struct machine) {
    .path = path, .family = vd_family_new (opts, err),
  };
  if (!m->family)
    return -1;
  m->box = vd_vbox_open_whole (path, opts, &m->err);
  if (!m->box)
    return 0;
  vd_vbox_check_registry (m->box, &m->foreign);
  m->media = calloc (m->box->nr_media + 1, sizeof *m->media);
  if (!m->media)
    return vd_fail (err, VD_NOMEM, "out of memory");
  if (vd_vbox_views (m->box, &m->views, err) == -1)
    return -1;
  for (i = 0; i < m->box->nr_media; ++i) {
    gather_medium (m, i, chain);
    if (!m->media[i].member && m->media[i].err.code == VD_NOMEM) {
      *err = m->media[i].err;
      return -1;
    }
  }
  return 0;
}

void
machine_free (struct machine *m)
{
  vd_vbox_views_free (&m->views);
  vd_family_free (m->family);
  vd_vbox_free (m->box);
  free (m->media);
}

bool
machine_complete (const struct machine *m)
{
  size_t i;

  if (!m->box || m->foreign.code != VD_OK)
    return false;
  for (i = 0; i < m->box->nr_media; ++i)
    if (!m->media[i].member ||
        (m->media[i].has_facts && !facts_whole (&m->media[i].facts)))
      return false;
  return true;
}
