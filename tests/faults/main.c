/* Runs the scenarios; see faults.h.
 *
 *   faults [-d DIR] [-s SEED] [-k STRIDE] [-i IMAGES] [-o NAME] [-v]
 *
 * With -k only every STRIDE-th call fails (the first one is drawn); -i so
 * many different images for each scenario, those that give it nothing to do
 * not counted; -o one scenario only.
 */

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults.h"

static uint64_t injected, errors, fine, bad;

static bool
clean_error (const struct vd_err *err)
{
  if (err->code != VD_OK && err->msg[0] && !strchr (err->msg, '\n'))
    return true;
  printf ("  not a clean error: code %d '%s'\n", err->code, err->msg);
  return false;
}

/* One run, with the n-th call failing.  False: there was no such call. */
static bool
one (const struct scenario *s, enum fault fault, uint64_t n, uint64_t seed)
{
  struct vd_err err = { .code = VD_OK };
  uint64_t heap;
  unsigned fds;
  bool hit, ok = true;
  int r;

  heap = fault_heap ();
  fds = fault_descriptors ();
  fault_begin (fault, n);
  r = s->run (&err);
  hit = fault_end ();
  if (!hit && r == 0)
    return false;
  injected++;
  if (r == -1) {
    errors++;
    ok = clean_error (&err);
    if (fault == FAULT_EINTR || fault == FAULT_SHORT || !hit) {
      printf ("  it may not matter, but: %s\n", err.msg);
      ok = false;
    }
  }
  else
    fine++;
  if (fault_heap () != heap) {
    printf ("  %" PRIi64 " bytes of memory more than before\n",
            (int64_t) (fault_heap () - heap));
    ok = false;
  }
  if (fault_descriptors () != fds) {
    printf ("  %u descriptors open, before %u\n", fault_descriptors (), fds);
    ok = false;
  }
  ok = s->check (r == -1) && ok;
  if (!ok) {
    bad++;
    printf ("%s, seed %" PRIu64 ": %s, call %" PRIu64 ": %s\n", s->name, seed,
            fault_name[fault], n, r == -1 ? err.msg : "success");
  }
  return true;
}

static bool
scenario (const struct scenario *s, uint64_t seed, const char *dir,
          uint64_t stride, bool verbose)
{
  uint64_t counts[FAULTS] = { 0 };
  struct vd_err err;

  if (!s->prepare (seed, dir))
    return false;
  /* what is made once and stays is made now */
  for (unsigned i = 0; i < 2; i++) {
    if (s->run (&err) == -1 || !s->check (false)) {
      printf ("%s, seed %" PRIu64 ": without a fault: %s\n", s->name, seed,
              err.msg);
      bad++;
      s->finish ();
      return true;
    }
    if (s->writes) {
      s->finish ();
      s->prepare (seed, dir);
    }
  }
  for (int fault = 0; fault < FAULTS && bad < 20; fault++) {
    uint64_t n = 1 + (seed + (uint64_t) fault) % stride;
    bool more = true;

    for (; more && bad < 20; n += stride) {
      more = one (s, (enum fault) fault, n, seed);
      counts[fault] += more;
      if (s->writes) {
        s->finish ();
        s->prepare (seed, dir);
      }
    }
  }
  s->finish ();
  if (!verbose)
    return true;
  printf ("%-10s %6" PRIu64 ":", s->name, seed);
  for (int fault = 0; fault < FAULTS; fault++)
    printf (" %s %" PRIu64, fault_name[fault], counts[fault]);
  putchar ('\n');
  fflush (stdout);
  return true;
}

int
main (int argc, char *argv[])
{
  uint64_t seed = 1, stride = 1, images = 4;
  const char *dir = getenv ("TMPDIR"), *only = NULL;
  bool verbose = false;
  int opt;

  while ((opt = getopt (argc, argv, "d:s:k:i:o:v")) != -1)
    switch (opt) {
    case 'd': dir = optarg; break;
    case 's': seed = strtoull (optarg, NULL, 10); break;
    case 'k': stride = strtoull (optarg, NULL, 10); break;
    case 'i': images = strtoull (optarg, NULL, 10); break;
    case 'o': only = optarg; break;
    case 'v': verbose = true; break;
    default: return 2;
    }
  if (!dir)
    dir = "/tmp";
#if !defined __SANITIZE_ADDRESS__
  /* Free memory that a thread keeps for itself would count as used. */
  if (!getenv ("FAULTS_AGAIN")) {
    setenv ("FAULTS_AGAIN", "1", 1);
    setenv ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
    execv ("/proc/self/exe", argv);
    perror ("/proc/self/exe");
    return 2;
  }
#endif
  mallopt (M_ARENA_MAX, 1);
  for (const struct scenario *s = scenarios; s->name; s++) {
    uint64_t had = injected, done = 0;

    if (only && strcmp (only, s->name) != 0)
      continue;
    for (uint64_t i = 0; done < images && i < 1000 && bad < 20; i++)
      done += scenario (s, seed + i, dir, stride, verbose);
    if (done < images || injected == had) {
      printf ("%s: only %" PRIu64 " images, %" PRIu64 " faults\n", s->name,
              done, injected - had);
      bad++;
    }
  }
  printf ("%" PRIu64 " faults: %" PRIu64 " clean errors, %" PRIu64
          " without effect, %" PRIu64 " wrong\n", injected, errors, fine,
          bad);
  return bad > 0;
}
