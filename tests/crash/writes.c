/* A served disk that is written, and the power fails; see crash.h.
 *
 * A client writes, zeroes, trims and flushes, always the same for a seed.  When
 * a flush is answered, a byte of a file beside the disk says so, and is flushed
 * itself: so a state tells what must not be lost in it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "crash.h"
#include "plan.h"

#define MAX_SIZE (1u << 20)
#define OPS 24u

static const struct vd_opts plain, dirty = { .allow_dirty = true };
static char path[CR_PATH], answered[CR_PATH], base[CR_PATH];
static bool child;              /* write-to= */
static uint8_t disk[MAX_SIZE];

enum what { WRITE, ZERO, TRIM, FLUSH };
static struct deed {
  enum what what;
  uint64_t first, n;            /* sectors */
} deed[OPS];

static bool
say (const char *what, const char *why)
{
  printf ("  %s%s%s\n", what, why ? ": " : "", why ? why : "");
  return false;
}

/* ---- The disk ------------------------------------------------------------ */

struct served {
  struct vd_deltas deltas;      /* over raw bytes */
  struct vd_family *family;
  struct vd_chain *own;
  const struct vd_chain *chain;
  struct vd_base base;
};

static void
leave (struct served *v)
{
  vd_chain_free (v->own);
  vd_family_free (v->family);
  vd_deltas_close (&v->deltas);
  vd_file_close (v->base.file);
}

static int
open_chain (struct served *v, const char *name, const struct vd_opts *opts,
            struct vd_err *err)
{
  static const struct vd_deltas_opts how = { .follow_option = "follow" };
  struct vd_member *m;

  *v = (struct served) { .base = { .align = 1 } };
  if (cr_case->filter) {
    if (vd_deltas_open (&v->deltas, &name, 1, &how, opts, err) == -1 ||
        !(v->base.file = vd_file_open (base, err)))
      return -1;
    v->chain = v->deltas.chain;
    return 0;
  }
  if (!(v->family = vd_family_new (opts, err)) ||
      !(m = vd_family_add (v->family, name, err)) ||
      vd_family_resolve (v->family, m, err) == -1 ||
      !(v->own = vd_family_chain (v->family, m, err)))
    return -1;
  v->chain = v->own;
  return 0;
}

/* ---- The work ------------------------------------------------------------ */

static void
draw (uint64_t seed)
{
  const uint64_t sectors = cr_case->size / 512;
  struct mk_rng rng;

  mk_rng_seed (&rng, seed);
  for (unsigned i = 0; i < OPS; i++) {
    struct deed *d = &deed[i];
    const uint64_t p = mk_rng_below (&rng, 100);
    const uint64_t most = mk_rng_chance (&rng, 300) ? 300 : 12;

    d->what = p < 60 ? WRITE : p < 78 ? ZERO : p < 84 ? TRIM : FLUSH;
    d->n = 1 + mk_rng_below (&rng, most < sectors ? most : sectors);
    d->first = mk_rng_below (&rng, sectors - d->n + 1);
    if (mk_rng_chance (&rng, 300))      /* where there was something already */
      d->first = i > 0 && deed[i - 1].first + d->n <= sectors
        ? deed[i - 1].first : d->first;
  }
}

static void
sector_of (unsigned i, uint64_t sector, uint8_t out[512])
{
  memset (out, (int) (i + 1), 512);
  memcpy (out, &sector, sizeof sector);
}

/* n flushes were answered. */
static int
note (uint8_t n, struct vd_err *err)
{
  struct vd_file *f = vd_file_open_rw (answered, err);
  int r = -1;

  if (f && vd_file_pwrite (f, &n, 1, 0, err) == 0)
    r = vd_file_flush (f, err);
  vd_file_close (f);
  return r;
}

static int
do_deed (struct vd_disk *d, const struct vd_base *under, unsigned i,
         uint8_t *flushes, struct vd_err *err)
{
  static uint8_t buf[512 * 300];
  const struct deed *x = &deed[i];

  switch (x->what) {
  case WRITE:
    for (uint64_t s = 0; s < x->n; s++)
      sector_of (i, x->first + s, buf + s * 512);
    return vd_disk_write (d, under, buf, x->n * 512, x->first * 512, err);
  case ZERO:
    return vd_disk_zero (d, under, x->n * 512, x->first * 512, err);
  case TRIM:
    return vd_disk_trim (d, under, x->n * 512, x->first * 512, err);
  default:
    return vd_disk_flush (d, err) == -1 ? -1 : note (++*flushes, err);
  }
}

static int
make_child (struct vd_err *err)
{
  struct served v;
  int r = -1;

  if (open_chain (&v, cr_newest, &plain, err) == 0)
    r = vd_create_child (path, v.chain, &plain, VD_CHILD_USUAL, err);
  leave (&v);
  return r;
}

/* Of two files the first may be there: it is not ours to overwrite, and the
 * message says so.
 */
static bool
remove_left (const struct vd_err *err)
{
  char extent[CR_PATH];

  cr_path (extent, "child-delta.vmdk");
  return strstr (err->msg, "has left it, remove it") != NULL &&
    unlink (extent) == 0;
}

static int
write_run (struct vd_err *err)
{
  static const struct vd_disk_opts opts;
  struct vd_err ignored;
  struct vd_disk *d = NULL;
  uint8_t flushes = 0;
  struct served v;
  int r;

  if (note (0, err) == -1 ||
      (child && !cr_exists (path) && make_child (err) == -1 &&
       (!remove_left (err) || make_child (err) == -1)))
    return -1;
  r = open_chain (&v, path, &dirty, err);
  if (r == 0) {
    d = vd_disk_open (v.own ? v.own : v.deltas.chain, &opts, err);
    r = d ? 0 : -1;
  }
  for (unsigned i = 0; r == 0 && i < OPS; i++)
    r = do_deed (d, &v.base, i, &flushes, err);
  /* What could not be written is told, and then it is closed all the same. */
  if (vd_disk_close (d, r == 0 ? err : &ignored) == -1)
    r = -1;
  leave (&v);
  return r;
}

static bool
write_prepare (uint64_t seed, const char *dir)
{
  static const struct vd_disk_opts opts;
  struct vd_disk *d;
  struct vd_err err;
  struct served v;

  if (!cr_draw (seed, dir) || cr_case->size % 512 != 0)
    return false;
  child = !cr_case->filter && seed % 4 == 0;
  cr_path (path, "child.vmdk");
  if (!child)
    memcpy (path, cr_newest, sizeof path);
  cr_path (base, "vm-flat.vmdk");
  cr_path (answered, "answered");
  draw (seed);
  if (mk_write_file (answered, "", 1) != 0)
    return false;
  if (child)
    return true;
  /* Those that cannot be written are for others. */
  d = open_chain (&v, path, &plain, &err) == -1 ? NULL
    : vd_disk_open (v.own ? v.own : v.deltas.chain, &opts, &err);
  vd_disk_abandon (d);
  leave (&v);
  return d != NULL;
}

/* ---- What is lawful ------------------------------------------------------- */

/* The first deed that so many flushes do not cover. */
static unsigned
first_unsafe (unsigned flushes)
{
  unsigned seen = 0, i;

  for (i = 0; i < OPS && seen < flushes; i++)
    seen += deed[i].what == FLUSH;
  return i;
}

/* Can this sector hold this, when all deeds before `safe` are flushed?  What
 * was there before them is gone then, unless all that followed was a trim, which
 * need not do anything.
 */
static bool
is_lawful (uint64_t sector, const uint8_t *have, unsigned safe)
{
  static const uint8_t zeros[512];
  bool lawful = memcmp (have, cr_case->want + sector * 512, 512) == 0;
  uint8_t want[512];

  for (unsigned i = 0; i < OPS; i++) {
    const struct deed *d = &deed[i];

    if (d->what == FLUSH || sector < d->first || sector >= d->first + d->n)
      continue;
    if (i < safe && d->what != TRIM)
      lawful = false;
    if (d->what == WRITE)
      sector_of (i, sector, want);
    lawful |= memcmp (have, d->what == WRITE ? want : zeros, 512) == 0;
  }
  return lawful;
}

static bool
read_disk (const struct served *v, struct vd_err *err)
{
  struct vd_reader *reader = vd_reader_new (v->chain, 1 << 20, err);
  const bool ok = reader && v->chain->size >= cr_case->size &&
    vd_read (reader, &v->base, disk, (size_t) cr_case->size, 0, err) == 0;

  vd_reader_free (reader);
  return ok;
}

static bool
look (unsigned safe, bool closed)
{
  static const struct vd_check_opts how = { .ignore_cid = true };
  struct vd_check_report report;
  struct served v;
  struct vd_err err = { .code = VD_OK };
  char text[100];
  bool ok = true;

  if (open_chain (&v, path, &dirty, &err) == -1 || !read_disk (&v, &err))
    ok = say ("cannot be read", err.msg);
  for (uint64_t s = 0; ok && s < cr_case->size / 512; s++)
    if (!is_lawful (s, disk + s * 512, safe)) {
      snprintf (text, sizeof text, "sector %llu holds what it cannot, when "
                "%u deeds are flushed", (unsigned long long) s, safe);
      ok = say (text, NULL);
    }
  if (ok && vd_check_link (v.chain->links[0], &how, &report, &err) == -1)
    ok = say ("check", err.msg);
  else if (ok) {
    if (vd_check_result (&report, &err) == -1)
      ok = say ("check", err.msg);
    else if (closed && report.count[VD_CHECK_UNCLEAN] > 0)
      ok = say ("it is still marked", NULL);
    vd_check_report_free (&report);
  }
  leave (&v);
  return ok;
}

static bool
write_state (void)
{
  struct vd_err err;
  struct vd_file *f = vd_file_open (answered, &err);
  uint8_t flushes = 0;
  const bool ok = f && vd_file_pread (f, &flushes, 1, 0, &err) == 0;

  vd_file_close (f);
  if (!ok)
    return say (answered, err.msg);
  if (child && !cr_exists (path))
    return flushes == 0 || say ("the child is not there", NULL);
  return look (first_unsafe (flushes), false);
}

/* Closing was the last flush. */
static bool
write_right (void)
{
  return look (OPS, true);
}

const struct cr_scenario cr_write = {
  "write", write_prepare, write_run, write_state, write_right,
};
