/* Runs the scenarios; see crash.h.
 *
 *   crash [-d DIR] [-n STATES] [-i STATES] [-s SEED] [-o NAME] [-v]
 *
 * -n so many different states of each piece of work (default 1000), of -i
 * each image at the most (200).
 */

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash.h"
#include "plan.h"

static uint64_t states, again, bad;     /* of one scenario */

static int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *ftw)
{
  (void) st, (void) type, (void) ftw;
  return remove (path);
}

static bool
said (const struct cr_scenario *s, uint64_t seed, const char *how,
      const struct vd_err *err)
{
  printf ("%s, seed %" PRIu64 ", %s%s%s\n", s->name, seed, how,
          err ? ": " : "", err ? err->msg : "");
  return false;
}

/* The work once more; the log is the caller's to free. */
static bool
run (const struct cr_scenario *s, struct cr_log *log, struct vd_err *err)
{
  int r;

  cr_begin (log);
  r = s->run (err);
  cr_end ();
  return r == 0;
}

static unsigned
draw_permille (struct mk_rng *rng)
{
  static const unsigned p[] = { 0, 1000, 500, 500, 900, 100, 990, 10 };

  return p[mk_rng_below (rng, sizeof p / sizeof p[0])];
}

/* A state, and what follows from it. */
static bool
one (const struct cr_scenario *s, uint64_t seed, const struct cr_fs *fs,
     const char *how, struct mk_rng *rng, unsigned depth)
{
  const size_t n = cr_inodes ();
  struct cr_log log = { .n = 0 };
  struct vd_err err = { .code = VD_OK };
  struct cr_fs next;
  char text[100];
  bool ok;
  size_t cut;
  unsigned p;

  states++;
  again += depth > 0;
  cr_restore (fs);
  ok = s->state () || said (s, seed, how, NULL);
  if (ok)
    ok = run (s, &log, &err) || (printf ("  done again\n"),
                                 said (s, seed, how, &err));
  if (ok)
    ok = s->right () || (printf ("  done again\n"),
                         said (s, seed, how, NULL));
  if (ok && depth < 3 && log.n > 0 && mk_rng_chance (rng, 200)) {
    cut = mk_rng_below (rng, log.n + 1);
    p = draw_permille (rng);
    snprintf (text, sizeof text, "%.60s, then %zu steps of %zu, %u/1000", how,
              cut, log.n, p);
    cr_power_off (fs, &log, cut, p, rng, &next);
    ok = one (s, seed, &next, text, rng, depth + 1);
    cr_fs_free (&next);
  }
  cr_log_free (&log);
  cr_forget (n);
  bad += !ok && depth == 0;
  return ok;
}

/* Every cut with all and with nothing of what was not flushed, as far as
 * `limit` goes, then any cut with any part of it.
 */
static void
all_states (const struct cr_scenario *s, uint64_t seed,
            const struct cr_fs *start, const struct cr_log *log,
            uint64_t limit)
{
  const size_t cuts = log->n + 1;
  uint64_t *seen = mk_alloc ((size_t) limit, sizeof *seen);
  size_t n_seen = 0, tries, stride = 1 + 2 * cuts / (limit / 2 + 1);
  struct mk_rng rng;

  mk_rng_seed (&rng, seed);
  for (tries = 0; tries < 4 * limit && n_seen < limit && bad < 10; tries++) {
    const size_t k = tries * stride + seed % stride;
    size_t cut = k / 2, i;
    unsigned p = k % 2 ? 1000 : 0;
    struct cr_fs fs;
    char how[80];
    uint64_t h;

    if (stride > 1 && stride % 2 == 0)
      p = mk_rng_chance (&rng, 500) ? 1000 : 0;
    if (k >= 2 * cuts) {
      cut = mk_rng_below (&rng, cuts);
      p = draw_permille (&rng);
    }
    cr_power_off (start, log, cut, p, &rng, &fs);
    h = cr_hash (&fs);
    for (i = 0; i < n_seen && seen[i] != h; i++)
      ;
    if (i == n_seen) {
      seen[n_seen++] = h;
      snprintf (how, sizeof how, "%zu steps of %zu, %u/1000 of the rest", cut,
                log->n, p);
      one (s, seed, &fs, how, &rng, 0);
    }
    cr_fs_free (&fs);
  }
  free (seen);
}

/* One image, or none. */
static void
image (const struct cr_scenario *s, uint64_t seed, const char *dir,
       uint64_t limit, bool verbose)
{
  char top[CR_PATH], vault[CR_PATH + 8];
  struct vd_err err = { .code = VD_OK };
  const uint64_t before = states;
  struct cr_fs start;
  struct cr_log log;

  snprintf (top, sizeof top, "%s/crash.XXXXXX", dir);
  if (!mkdtemp (top)) {
    perror (top);
    exit (2);
  }
  snprintf (vault, sizeof vault, "%s/vault", top);
  mkdir (vault, 0700);
  if (s->prepare (seed, top)) {
    cr_watch (cr_case->dir, vault);
    cr_adopt (&start);
    if (!run (s, &log, &err))
      bad++, said (s, seed, "nothing fails", &err);
    else if (!s->right ())
      bad++, said (s, seed, "nothing fails", NULL);
    else
      all_states (s, seed, &start, &log, limit);
    if (verbose)
      printf ("%-8s %6" PRIu64 ": %s, %zu steps, %" PRIu64 " states\n",
              s->name, seed, cr_case->kind, log.n, states - before);
    cr_log_free (&log);
    cr_fs_free (&start);
    cr_forget (0);
  }
  tr_free (cr_case);
  cr_case = NULL;
  nftw (top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int
main (int argc, char *argv[])
{
  static const struct cr_scenario *const more[] = {
    &cr_merge, &cr_machine, &cr_write,
  };
  const struct cr_scenario *list[8];
  uint64_t n = 1000, limit = 200, seed = 1, all = 0, all_bad = 0;
  const char *dir = getenv ("TMPDIR"), *only = NULL;
  size_t n_list = 0;
  bool verbose = false;
  char real[CR_PATH];
  int opt;

  while ((opt = getopt (argc, argv, "d:n:i:s:o:v")) != -1)
    switch (opt) {
    case 'd': dir = optarg; break;
    case 'n': n = strtoull (optarg, NULL, 10); break;
    case 'i': limit = strtoull (optarg, NULL, 10); break;
    case 's': seed = strtoull (optarg, NULL, 10); break;
    case 'o': only = optarg; break;
    case 'v': verbose = true; break;
    default: return 2;
    }
  if (strlen (dir ? dir : "/tmp") > 60 || !realpath (dir ? dir : "/tmp", real))
    return 2;
  for (const struct cr_scenario *s = cr_scenarios; s->name; s++)
    list[n_list++] = s;
  for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
    list[n_list++] = more[i];
  setvbuf (stdout, NULL, _IOLBF, 0);
  for (size_t k = 0; k < n_list; k++) {
    const struct cr_scenario *s = list[k];
    uint64_t images = 0, had;

    if (only && strcmp (only, s->name) != 0)
      continue;
    states = again = bad = cr_errors = 0;
    for (uint64_t i = seed; states < n && bad < 10; i++) {
      had = states;
      image (s, i, real, limit < n - states ? limit : n - states, verbose);
      images += states > had;
    }
    printf ("%-8s %8" PRIu64 " states of %" PRIu64 " images, %" PRIu64
            " of them after a second cut; %" PRIu64 " wrong\n", s->name,
            states, images, again, bad);
    all += states;
    all_bad += bad;
  }
  printf ("%" PRIu64 " crash states, %" PRIu64 " wrong\n", all, all_bad);
  return all_bad > 0;
}
