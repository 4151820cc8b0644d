/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VMware machines: the names and dates of snapshots in the .vmsd; see vmx.h.
 *
 *     snapshot.current = "2"
 *     snapshot0.uid = "1"
 *     snapshot0.displayName = "before update"
 *     snapshot0.createTimeHigh = "338221"
 *     snapshot0.createTimeLow = "-1063257960"
 *     snapshot0.disk0.fileName = "vm.vmdk"
 *     snapshot0.disk0.node = "scsi0:0"
 *     snapshot1.uid = "2"
 *     snapshot1.parent = "1"
 *
 * snapshot.numSnapshots and .numDisks are not relied on.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/array.h"
#include "vmx/vmx-text.h"
#include "vmx/vmx.h"

static bool
parse_half (const char *text, int64_t *n)
{
  char *end;

  if (!text || !*text)
    return false;
  errno = 0;
  *n = strtoll (text, &end, 10);
  return errno == 0 && !*end && *n >= INT32_MIN && *n <= UINT32_MAX;
}

/* Microseconds since 1970, in two halves, of which each can be signed. */
static void
read_time (struct vd_vmx_snapshot *s, const struct vd_vmx_text *t, long k)
{
  int64_t high, low;
  uint64_t us;
  struct tm tm;
  time_t seconds;

  if (!parse_half (vd_vmx_get (t, "snapshot%ld.createtimehigh", k), &high) ||
      !parse_half (vd_vmx_get (t, "snapshot%ld.createtimelow", k), &low))
    return;
  us = (uint64_t) (uint32_t) high << 32 | (uint32_t) low;
  seconds = (time_t) (us / 1000000);
  /* Years of four digits. */
  if (us == 0 || us / 1000000 > UINT64_C (253402300799) ||
      !gmtime_r (&seconds, &tm) ||
      strftime (s->time, sizeof s->time, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    s->time[0] = '\0';
}

static int
read_disks (struct vd_vmx_snapshot *s, const struct vd_vmx_text *t, long k,
            size_t *nr_states, const char *path, struct vd_err *err)
{
  const char *file, *node;
  struct vd_vmx_frozen *d;
  unsigned i;

  for (i = 0; (file = vd_vmx_get (t, "snapshot%ld.disk%u.filename", k, i));
       ++i) {
    node = vd_vmx_get (t, "snapshot%ld.disk%u.node", k, i);
    if (!node || !*file)
      continue;
    if (++*nr_states > VD_VMX_MAX_STATES)
      return vd_fail (err, VD_UNSUPPORTED, "%s has more than %u disks in its "
                      "snapshots", path, VD_VMX_MAX_STATES);
    d = vd_grow (s->disk, s->nr_disks, sizeof *d, err);
    if (!d)
      return -1;
    s->disk = d;
    d += s->nr_disks++;
    *d = (struct vd_vmx_frozen) {
      .node = vd_vmx_shown (t, node), .name = strdup (file),
      .file = vd_vmx_shown (t, file),
    };
    if (!d->node || !d->name || !d->file)
      return vd_fail_nomem (err);
  }
  return 0;
}

/* snapshotK, whose parent is not known yet: its number is kept in depth. */
static int
add_snapshot (struct vd_vmx *vmx, const struct vd_vmx_text *t, long k,
              long uid, size_t *nr_states, const char *path,
              struct vd_err *err)
{
  const char *parent = vd_vmx_get (t, "snapshot%ld.parent", k), *end = "";
  const long above = parent ? vd_vmx_number (parent, &end) : 0;
  struct vd_vmx_snapshot *s;

  if (vmx->nr_snapshots == VD_VMX_MAX_SNAPSHOTS)
    return vd_fail (err, VD_UNSUPPORTED, "%s has more than %u snapshots",
                    path, VD_VMX_MAX_SNAPSHOTS);
  s = vd_grow (vmx->snapshots, vmx->nr_snapshots, sizeof *s, err);
  if (!s)
    return -1;
  vmx->snapshots = s;
  s += vmx->nr_snapshots++;
  *s = (struct vd_vmx_snapshot) {
    .uid = (unsigned) uid, .depth = above < 0 || *end ? 0 : (unsigned) above,
    .name = vd_vmx_shown (t, vd_vmx_get (t, "snapshot%ld.displayname", k)),
    .description
      = vd_vmx_shown (t, vd_vmx_get (t, "snapshot%ld.description", k)),
  };
  if (!s->name || !s->description)
    return vd_fail_nomem (err);
  read_time (s, t, k);
  return read_disks (s, t, k, nr_states, path, err);
}

static struct vd_vmx_snapshot *
find_uid (const struct vd_vmx *vmx, unsigned uid)
{
  size_t i;

  for (i = 0; i < vmx->nr_snapshots; ++i)
    if (vmx->snapshots[i].uid == uid)
      return &vmx->snapshots[i];
  return NULL;
}

/* Numbers are given in the order in which snapshots are made. */
static int
by_uid (const void *a, const void *b)
{
  const struct vd_vmx_snapshot *x = a, *y = b;

  return x->uid < y->uid ? -1 : x->uid > y->uid;
}

/* Parents, and what the tree needs: each has a way up to a first one.  A
 * parent that is gone makes its child a first one: the tree is only shown.
 */
static int
join_parents (struct vd_vmx *vmx, const char *path, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < vmx->nr_snapshots; ++i) {
    struct vd_vmx_snapshot *s = &vmx->snapshots[i];

    if (find_uid (vmx, s->uid) != s)
      return vd_fail (err, VD_CORRUPT, "%s has two snapshots with the number "
                      "%u", path, s->uid);
    s->parent = find_uid (vmx, s->depth);
  }
  for (i = 0; i < vmx->nr_snapshots; ++i) {
    struct vd_vmx_snapshot *s = &vmx->snapshots[i];
    const struct vd_vmx_snapshot *p;

    s->depth = 0;
    for (p = s->parent; p; p = p->parent)
      if (++s->depth > vmx->nr_snapshots)
        return vd_fail (err, VD_CORRUPT, "%s says that the snapshot with the "
                        "number %u is its own ancestor", path, s->uid);
  }
  return 0;
}

/* The first child of parent behind s (NULL: the first of all). */
static struct vd_vmx_snapshot *
next_child (const struct vd_vmx *vmx, const struct vd_vmx_snapshot *parent,
            const struct vd_vmx_snapshot *s)
{
  size_t i = s ? (size_t) (s - vmx->snapshots) + 1 : 0;

  for (; i < vmx->nr_snapshots; ++i)
    if (vmx->snapshots[i].parent == parent)
      return &vmx->snapshots[i];
  return NULL;
}

static int
make_tree (struct vd_vmx *vmx, struct vd_err *err)
{
  struct vd_vmx_snapshot *s = NULL, *next;
  size_t n = 0;

  vmx->tree = calloc (vmx->nr_snapshots + 1, sizeof (*vmx->tree));
  if (!vmx->tree)
    return vd_fail_nomem (err);
  for (next = next_child (vmx, NULL, NULL); next; ) {
    s = vmx->tree[n++] = next;
    next = next_child (vmx, s, NULL);
    while (!next && s) {
      next = next_child (vmx, s->parent, s);
      s = s->parent;
    }
  }
  return 0;
}

int
vd_vmsd_read (struct vd_vmx *vmx, const char *path,
              const struct vd_vmx_text *t, struct vd_err *err)
{
  const char *current = vd_vmx_get (t, "snapshot.current"), *end = "";
  size_t i, nr_states = 0;
  long k, uid;

  for (i = 0; i < t->n; ++i) {
    const struct vd_vmx_entry *e = &t->entry[i];

    if (strncmp (e->key, "snapshot", 8) != 0 ||
        (k = vd_vmx_number (e->key + 8, &end)) < 0 ||
        strcmp (end, ".uid") != 0)
      continue;
    uid = vd_vmx_number (e->value, &end);
    if (uid <= 0 || *end)
      return vd_fail (err, VD_CORRUPT, "%s line %u: a snapshot with the "
                      "number '%.40s', which is none", path, e->line,
                      e->value);
    if (add_snapshot (vmx, t, k, uid, &nr_states, path, err) == -1)
      return -1;
  }
  if (vmx->nr_snapshots > 0)
    qsort (vmx->snapshots, vmx->nr_snapshots, sizeof *vmx->snapshots, by_uid);
  if (join_parents (vmx, path, err) == -1 || make_tree (vmx, err) == -1)
    return -1;
  uid = current ? vd_vmx_number (current, &end) : -1;
  vmx->current = uid > 0 && !*end ? find_uid (vmx, (unsigned) uid) : NULL;
  return 0;
}
