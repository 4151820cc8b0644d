/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Stacking deltas and following their parents; see deltas.h. */

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "chain/deltas.h"
#include "chain/siblings.h"

/* Is it a delta at all?  A disk that says it has no parent would hide the
 * base completely if its holes read as zeros, as they should.
 */
static int
check_role (struct vd_link *link, const struct vd_deltas_opts *how,
            struct vd_err *err)
{
  const char *option = how->no_parent_option;

  if (link->role != VD_ROLE_BASE)
    return 0;
  if (how->allow_no_parent) {
    link->role = VD_ROLE_BARE;
    return 0;
  }
  return vd_fail (err, VD_USAGE,
                  "%s is not a delta: it says that it has no parent%s, so "
                  "nothing would be seen of the base.  Give the snapshot's "
                  "file%s%s%s", link->path,
                  link->descriptor ? " (parentCID=ffffffff)" : "",
                  option ? " (" : "", option ? option : "",
                  option ? " lays it over the base anyway)" : "");
}

bool
vd_is_snapshot_name (const char *hint)
{
  const size_t n = strlen (hint);
  const char *p = hint + n - 12;
  size_t i;

  if (n < 12 || p[0] != '-' || strcasecmp (p + 7, ".vmdk") != 0)
    return false;
  for (i = 1; i < 7; ++i)
    if (!isdigit ((unsigned char) p[i]))
      return false;
  return true;
}

/* The parent of the oldest delta so far is not here.  If it is the base,
 * that is normal: the user has its content, not its descriptor.
 */
static int
parent_missing (const struct vd_link *link, const struct vd_deltas_opts *how,
                const struct vd_log *log, struct vd_err *err)
{
  const char *hint = vd_link_hint (link);

  if (err->code != VD_NOT_FOUND && err->code != VD_DENIED)
    return -1;
  if (hint && vd_is_snapshot_name (hint)) {
    vd_err_prefix (err, "the parent of %s is a snapshot too, and it is "
                   "missing (if the base holds it already, see %s): ",
                   link->path, how->follow_option);
    return -1;
  }
  /* fffffffe is the CID of a disk that was never written, and what is given
   * to deltas over a raw base: nothing could be checked anyway.
   */
  if (link->descriptor && link->descriptor->parent_cid == VD_CID_FRESH)
    vd_debug (log, "the base that was given is taken for the parent of %s",
              link->path);
  else
    vd_warn (log, "the base that was given is taken for the parent of %s, "
             "unchecked: %s", link->path, err->msg);
  return 0;
}

/* A child that does not name its parent, because it was made for a raw base,
 * or because the line was lost; or an extent that was given in place of its
 * descriptor.  (If that is not there, nothing can be done about it.)
 */
static void
warn_no_name (const struct vd_link *link, const struct vd_log *log)
{
  CLEANUP_FREE char *name = link->role == VD_ROLE_BARE && !link->descriptor
    ? vd_descriptor_name (link->path) : NULL;

  if (name && access (name, F_OK) == 0)
    vd_warn (log, "%s is given without its descriptor, which seems to be %s: "
             "give that, or what it was made on is not known, and not checked",
             link->path, name);
  if (link->role == VD_ROLE_CHILD &&
      link->descriptor->parent_cid != VD_CID_FRESH &&
      !vd_descriptor_get (link->descriptor, "ddb.vmdkdelta.on"))
    vd_warn (log, "%s does not name its parent (it has no "
             "parentFileNameHint): the base that was given is taken for it, "
             "unchecked", link->path);
}

/* Follow parents from *oldest on, and move it down. */
static int
follow (struct vd_deltas *d, const struct vd_deltas_opts *how,
        const struct vd_opts *opts, const struct vd_member *newest,
        struct vd_member **oldest, struct vd_err *err)
{
  struct vd_member *parent;
  unsigned n;

  for (n = 1; ; ++n) {
    if (n > VD_MAX_LINKS)
      return vd_fail (err, VD_UNSUPPORTED,
                      "the chain of %s has more than %u links",
                      newest->link->path, VD_MAX_LINKS);
    if (vd_family_find_parent (d->family, *oldest, err) == -1)
      return parent_missing ((*oldest)->link, how, &opts->log, err);
    parent = (*oldest)->parent;
    if (!parent) {
      warn_no_name ((*oldest)->link, &opts->log);
      return 0;
    }
    if (vd_family_check_loop (newest, *oldest, err) == -1)
      return -1;
    if (parent->link->role == VD_ROLE_BASE) {
      vd_debug (&opts->log, "base %s: its place is taken by the base that was "
                "given", parent->link->path);
      d->base = parent->link;
      return how->base_later ? 0
        : vd_chain_check_pair ((*oldest)->link, parent->link, opts, err);
    }
    *oldest = parent;
  }
}

static int
make_chain (struct vd_deltas *d, const struct vd_opts *opts,
            const struct vd_member *newest, const struct vd_member *oldest,
            struct vd_err *err)
{
  struct vd_link *links[VD_MAX_LINKS];
  const struct vd_member *m;
  size_t n = 0, i;

  for (m = newest; ; m = m->parent) {
    if (n == VD_MAX_LINKS)
      return vd_fail (err, VD_UNSUPPORTED, "more than %u deltas",
                      VD_MAX_LINKS);
    links[VD_MAX_LINKS - ++n] = m->link;
    if (m == oldest)
      break;
  }
  for (i = VD_MAX_LINKS - n; i < VD_MAX_LINKS; ++i) {
    if (vd_link_load (links[i], opts, err) == -1) {
      if (links[i] != newest->link)
        vd_err_prefix (err, "an ancestor of %s: ", newest->link->path);
      return -1;
    }
    vd_debug (&opts->log, "delta %s: %s, %" PRIu64 " bytes, %zu extents, "
              "grain %" PRIu64, links[i]->path, vd_link_format (links[i]),
              links[i]->capacity, links[i]->nr_pieces,
              vd_link_max_grain (links[i]));
  }
  d->chain = vd_chain_new (&links[VD_MAX_LINKS - n], n, opts, err);
  return d->chain ? 0 : -1;
}

/* Is a link of the chain without its descriptor, and was an older delta of
 * that disk forgotten?
 */
static int
check_siblings (const struct vd_deltas *d, const struct vd_deltas_opts *how,
                size_t i, const struct vd_opts *opts, struct vd_err *err)
{
  VD_CLEANUP (vd_siblings_free) struct vd_siblings s = { .n = 0 };
  const struct vd_log *log = &opts->log;
  const struct vd_chain *chain = d->chain;
  const struct vd_link *link = chain->links[i];
  CLEANUP_FREE char *all = NULL;
  const char *stem;
  size_t len;
  unsigned after = 0;

  if (i + 1 < chain->nr_links)
    after = vd_delta_number (chain->links[i + 1]->path, &stem, &len);
  if (vd_siblings_find (link, after, chain->links, chain->nr_links, opts, &s,
                        err) == -1) {
    if (err->code == VD_NOMEM)
      return -1;
    vd_warn (log, "whether there are older deltas beside %s is not known: %s",
             link->path, err->msg);
    return 0;
  }
  if (s.perhaps && i + 1 == chain->nr_links)
    vd_warn (log, "%s is given without its descriptor, and beside it %s could "
             "be deltas of the same disk: if it was made on one of them, give "
             "that too, oldest first", link->path, s.perhaps);
  if (s.n == 0)
    return 0;
  all = vd_siblings_text (&s, link);
  if (!all)
    return vd_fail_nomem (err);
  return vd_fail (err, VD_USAGE, "%s is given without its descriptor, and "
                  "older deltas of the same disk are beside it: what they "
                  "hold would be missing.  Give all of them, oldest first: %s "
                  "(%s takes only what is given)", link->path, all,
                  how->follow_option);
}

int
vd_deltas_open (struct vd_deltas *d, const char *const *paths, size_t n,
                const struct vd_deltas_opts *how, const struct vd_opts *opts,
                struct vd_err *err)
{
  struct vd_member *newest = NULL, *oldest = NULL, *m;
  struct vd_opts quiet = *opts;
  size_t i;

  quiet.log.fn = NULL;
  *d = (struct vd_deltas) { .family = vd_family_new (opts, err) };
  if (!d->family)
    return -1;
  if (n == 0)
    return vd_fail (err, VD_USAGE, "no delta was given");

  for (i = 0; i < n; ++i, newest = m) {
    m = vd_family_add (d->family, paths[i], err);
    if (!m || check_role (m->link, how, err) == -1)
      return -1;
    if (d->family->nr_members != i + 1)
      return vd_fail (err, VD_USAGE, "%s is the same file as one given before",
                      paths[i]);
    if (newest) {
      /* Before anything is followed: the order may be wrong.  Warnings come
       * when the chain is made.
       */
      if (vd_chain_check_pair (m->link, newest->link, &quiet, err) == -1)
        return -1;
      vd_family_set_parent (m, newest);
    }
    else
      oldest = m;
  }
  if (!how->no_follow &&
      follow (d, how, opts, newest, &oldest, err) == -1)
    return -1;
  if (make_chain (d, opts, newest, oldest, err) == -1)
    return -1;
  for (i = 0; !how->no_follow && i < d->chain->nr_links; ++i)
    if (check_siblings (d, how, i, opts, err) == -1)
      return -1;
  return 0;
}

/* Copies on logical volumes and the like are rounded up by so much. */
#define MAX_SURPLUS (UINT64_C (64) << 20)

/* A whole disk of this format has a descriptor in it. */
const struct vd_link *
vd_deltas_find_piece (const struct vd_deltas *d, uint64_t base_size)
{
  size_t i;

  for (i = 0; i < d->chain->nr_links; ++i) {
    const struct vd_link *link = d->chain->links[i];

    if (link->role == VD_ROLE_BARE && !link->descriptor &&
        link->pieces[0].image->fmt == &vd_format_kdmv &&
        base_size > link->capacity + MAX_SURPLUS)
      return link;
  }
  return NULL;
}

void
vd_deltas_close (struct vd_deltas *d)
{
  vd_chain_free (d->chain);
  vd_family_free (d->family);
  *d = (struct vd_deltas) { .chain = NULL };
}
