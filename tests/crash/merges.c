/* A merge in which the power fails; see crash.h. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "plan.h"

static const struct vd_opts plain, dirty = { .allow_dirty = true };
static struct vd_merge_opts how;
static char target[CR_PATH], merged[CR_PATH], journal[CR_PATH + 32];
static uint8_t *want;           /* of the target, merged */
static bool stays;              /* the newest link does */

static bool
say_err (const char *what, const char *path, const struct vd_err *err)
{
  printf ("  %s: %s: %s\n", what, path, err->msg);
  return false;
}

static void
name_journal (const char *given)
{
  const char *slash = strrchr (given, '/');

  snprintf (journal, sizeof journal, "%.*s/.%s.vmdkdelta-merge",
            (int) (slash - given), given, slash + 1);
}

static bool
merge_prepare (uint64_t seed, const char *dir)
{
  struct mk_model model;
  struct vd_merge *m;
  struct vd_err err;
  struct mk_rng r;
  const struct vd_merge_disk *d;
  bool ok;

  free (want);
  want = NULL;
  if (!cr_draw (seed, dir) || cr_case->filter)
    return false;
  mk_rng_seed (&r, seed ^ 0x6d65726765);
  how = (struct vd_merge_opts) { .threads = 1 };
  if (mk_rng_chance (&r, 300))
    how.skip = 1;
  if (mk_rng_chance (&r, 300))
    how.count = 1;
  how.discard_current = how.skip == 0 && mk_rng_chance (&r, 200);
  how.snapshot = how.skip == 0 && mk_rng_chance (&r, 300);
  how.keep = mk_rng_chance (&r, 150);
  how.compact = mk_rng_chance (&r, 300);
  m = vd_merge_open (cr_newest, &how, &plain, &err);
  if (!m && (how.skip || how.discard_current)) {
    how.skip = 0;               /* the chain is too short for that */
    how.discard_current = false;
    m = vd_merge_open (cr_newest, &how, &plain, &err);
  }
  if (!m)
    return false;
  d = &m->disk[0];
  ok = d->nr > 0;
  if (ok) {
    snprintf (target, sizeof target, "%s", d->target->path);
    snprintf (merged, sizeof merged, "%s", d->chain->links[d->first]->path);
    stays = d->first > 0 && !d->discard;
    model = cr_case->model;
    model.n = cr_case->n_links - d->first;
    want = mk_alloc (cr_case->size, 1);
    mk_model_read (&model, want, cr_case->size, 0);
    name_journal (cr_newest);
  }
  vd_merge_free (m);
  return ok;
}

/* Nothing is wrong; and the old disk or the merged one is right. */
static bool
merge_state (void)
{
  const uint64_t size = cr_case->size;
  struct vd_err err = { .code = VD_OK }, err2 = { .code = VD_OK };

  if (cr_exists (cr_newest) &&
      (cr_ask (cr_newest, &plain, cr_case->want, size, &err) == CR_WRONG ||
       cr_ask (cr_newest, &dirty, cr_case->want, size, &err) == CR_WRONG))
    return say_err ("wrong bytes", cr_newest, &err);
  if (cr_exists (cr_newest) &&
      cr_ask (cr_newest, &dirty, cr_case->want, size, &err) == CR_RIGHT)
    return true;
  if (!cr_exists (journal) && cr_exists (cr_newest) && !how.keep)
    return say_err ("not readable, and no journal", cr_newest, &err);
  return cr_ask (target, &plain, want, size, &err2) == CR_RIGHT ||
    (say_err ("neither the old disk", cr_newest, &err) |
     say_err ("nor the new one is right", target, &err2));
}

/* All that begins like an image and was not there: the new child. */
static bool
child_right (void)
{
  DIR *d = opendir (cr_case->dir);
  const struct dirent *e;
  struct vd_err err = { .msg = "no file" };
  bool found = false;

  while (d && (e = readdir (d)) != NULL) {
    const char *dot = strrchr (e->d_name, '.');
    char path[2 * CR_PATH + 2];

    if (e->d_name[0] == '.' || !dot || tr_find_file (cr_case, e->d_name) ||
        strcmp (dot, ".part") == 0 || strstr (e->d_name, "-delta.vmdk"))
      continue;
    snprintf (path, sizeof path, "%s/%s", cr_case->dir, e->d_name);
    if (cr_ask (path, &plain, want, cr_case->size, &err) != CR_RIGHT) {
      closedir (d);
      return say_err ("the new child", path, &err);
    }
    found = true;
  }
  closedir (d);
  return found || say_err ("the new child", cr_case->dir, &err);
}

static bool
target_right (bool quiet)
{
  struct vd_err err;

  return cr_ask (target, &plain, want, cr_case->size, &err) == CR_RIGHT ||
    (!quiet && say_err ("the target is not right", target, &err));
}

static bool
merge_right (void)
{
  struct vd_err err;

  if (!target_right (false))
    return false;
  if (cr_exists (journal))
    return say_err ("still there", journal, &(struct vd_err) { .code = 0 });
  if (how.snapshot && !child_right ())
    return false;
  return !stays || cr_ask (cr_newest, &plain, cr_case->want, cr_case->size,
                           &err) == CR_RIGHT ||
    say_err ("the newest is not right", cr_newest, &err);
}

static int
merge_run (struct vd_err *err)
{
  struct vd_merge *m;
  int r = vd_merge_resume (cr_newest, &plain, NULL, NULL, err);

  if (r != 0)
    return r == 1 ? 0 : -1;
  /* All was done but the last that is told. */
  if (!how.keep && !cr_exists (merged) && target_right (true))
    return 0;
  m = vd_merge_open (cr_newest, &how, &plain, err);
  if (!m)
    return how.keep && err->code == VD_MISMATCH && target_right (true) ? 0
      : -1;
  r = vd_merge_run (m, NULL, NULL, err) == 0 ?
    vd_merge_commit (m, false, NULL, NULL, err) : -1;
  vd_merge_free (m);
  return r;
}

const struct cr_scenario cr_merge = {
  "merge", merge_prepare, merge_run, merge_state, merge_right,
};
