/* The corruption trial; see trial.h.
 *
 *   trial [-n CASES] [-s SEED] [-d DIR] [-q] [-v] [-z] [-1 IMAGE,NUMBER]
 *
 * -n so many damaged disks (default 10000); -s where the drawing begins; -d
 * where the images are made; -q asks qemu-img as well; -v prints a table by
 * field; -1 shows one damaged disk only, as a report has named it.  -z is to
 * try the trial itself: what our library could not read is taken for zeros,
 * which must be found out.
 *
 * The last line is the figures of our library, after those of qemu-img.  The
 * exit status is 0 if there were no silent differences in our library, and
 * nobody was stuck.
 */

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"
#include "trial.h"

#define PER_IMAGE 2000u
#define PER_IMAGE_QEMU 20u
#define MAX_REPORTS 10u

enum verdict { ERROR, SAME, LAWFUL, TOLD, WARNED, STUCK, SILENT, VERDICTS };
static const char *const verdict_name[VERDICTS] = {
  "error", "same", "lawful", "told", "warned", "stuck", "silent",
};

enum kind { DAMAGED, ODD, CONTAINED, KINDS };

struct row {
  const char *name;
  uint64_t n[VERDICTS];
};

struct table {
  struct row row[256];
  size_t n;
};

struct subject {
  const char *name;
  uint64_t n[VERDICTS];
  uint64_t of[KINDS];
  uint64_t kept;                /* bytes of before, though the files now say
                                   others: not an error, but worth a look */
  uint64_t looked;              /* how often that was looked at */
  unsigned reports;
  struct table by_field, by_way;
  struct tr_answer answer;
};

/* True if it is the first of its kind. */
static bool
count (struct table *t, const char *name, enum verdict v)
{
  size_t i;

  for (i = 0; i < t->n && strcmp (t->row[i].name, name) != 0; i++)
    ;
  if (i == t->n) {
    if (i == 256)
      return false;
    t->row[t->n++].name = name;
  }
  return t->row[i].n[v]++ == 0;
}

static void
print_table (const struct table *t)
{
  printf ("  %-26s", "");
  for (int v = 0; v < VERDICTS; v++)
    printf (" %9s", verdict_name[v]);
  putchar ('\n');
  for (size_t i = 0; i < t->n; i++) {
    printf ("  %-26s", t->row[i].name);
    for (int v = 0; v < VERDICTS; v++)
      printf (" %9" PRIu64, t->row[i].n[v]);
    putchar ('\n');
  }
}

/* The first sector that is neither of before nor what the files say. */
static uint64_t
first_wrong (const struct tr_case *c, const struct tr_answer *a,
             const struct tr_meaning *m, bool plain, bool *all_same,
             bool *stale)
{
  uint64_t wrong = UINT64_MAX;
  uint8_t s[512];

  *all_same = a->size == c->size;
  *stale = false;
  for (uint64_t i = 0; i * MK_SECTOR < a->n; i++) {
    const size_t at = (size_t) i * MK_SECTOR;
    const size_t n = a->n - at < MK_SECTOR ? a->n - at : MK_SECTOR;
    const bool same = at + n <= c->size &&
      memcmp (a->buf + at, c->want + at, n) == 0;
    bool clear, meant;

    if (a->lost[i])
      continue;
    clear = plain && at < m->size && tr_meaning_read (m, i, s);
    meant = clear && memcmp (a->buf + at, s, n) == 0;
    if (!same)
      *all_same = false;
    if (same && clear && !meant)
      *stale = true;
    if (!same && !meant && wrong == UINT64_MAX)
      wrong = i;
  }
  return wrong;
}

static enum verdict
judge (const struct tr_case *c, struct subject *s, unsigned usual,
       bool look_closer, uint64_t *wrong, bool *kept)
{
  const struct tr_answer *a = &s->answer;
  struct tr_meaning m;
  bool plain, all_same, stale;

  *wrong = 0;
  *kept = false;
  if (a->refused)
    return ERROR;
  if (!a->bad && a->size == c->size && !look_closer &&
      memcmp (a->buf, c->want, a->n) == 0)
    return SAME;
  plain = tr_meaning_open (&m, c);
  *wrong = first_wrong (c, a, &m, plain, &all_same, &stale);
  if (look_closer) {
    s->looked++;
    s->kept += stale;
    *kept = stale;
  }
  if (*wrong == UINT64_MAX && (a->size == c->size || (plain && a->size == m.size)))
    return a->bad ? ERROR : all_same ? SAME
      : a->warnings > usual ? TOLD : LAWFUL;
  return a->warnings > usual ? WARNED : SILENT;
}

/* What is odd reads as before; a container where the base was is refused. */
static enum verdict
judge_odd (const struct tr_case *c, const struct tr_answer *a, bool contained)
{
  if (contained)
    return a->refused ? ERROR : SILENT;
  if (a->refused || a->bad || a->size != c->size)
    return STUCK;
  return memcmp (a->buf, c->want, a->n) == 0 ? SAME : SILENT;
}

static void
report (const struct tr_case *c, struct subject *s, uint64_t image,
        uint64_t number, const char *how, enum verdict v, uint64_t wrong)
{
  struct tr_meaning m;
  uint8_t says[512];
  bool plain = tr_meaning_open (&m, c);

  printf ("%s: -1 %" PRIu64 ",%" PRIu64 ": %s (%s, %zu links): %s\n"
          "  size %" PRIu64 ", was %" PRIu64 ", the files say %" PRIu64
          "; wrong from sector %" PRIu64 "; %s\n", s->name, image, number,
          verdict_name[v], c->kind, c->n_links, how, s->answer.size, c->size,
          plain ? m.size : 0, wrong, s->answer.text);
  if (wrong * MK_SECTOR + 16 > s->answer.n)
    return;
  printf ("  read %016" PRIx64 ", was %016" PRIx64,
          tr_le (s->answer.buf + wrong * MK_SECTOR, 8),
          (wrong + 1) * MK_SECTOR <= c->size
          ? tr_le (c->want + wrong * MK_SECTOR, 8) : 0);
  if (plain && tr_meaning_read (&m, wrong, says))
    printf (", the files say %016" PRIx64 "\n", tr_le (says, 8));
  else
    printf (", the files say nothing plain\n");
}

/* A good disk must be read as it was made, by all three. */
static bool
check_good (const struct tr_case *c, struct subject *s, uint64_t image)
{
  bool same, stale;
  struct tr_meaning m;

  if (!tr_meaning_open (&m, c)) {
    printf ("image %" PRIu64 " (%s): the meaning of a good disk is not "
            "plain\n", image, c->dir);
    exit (2);
  }
  return !s->answer.refused && !s->answer.bad &&
    first_wrong (c, &s->answer, &m, true, &same, &stale) == UINT64_MAX &&
    same && !stale;
}

static void
ask (const struct tr_case *c, struct subject *s, bool qemu, bool fine)
{
  if (qemu)
    tr_ask_qemu (c, &s->answer);
  else
    tr_ask_library (c, fine, &s->answer);
}

static void
lie (struct tr_answer *a)
{
  if (a->refused || !a->bad)
    return;
  for (size_t at = 0; at < a->n; at += MK_SECTOR)
    if (a->lost[at / MK_SECTOR])
      memset (a->buf + at, 0, a->n - at < MK_SECTOR ? a->n - at : MK_SECTOR);
  memset (a->lost, 0, a->n / MK_SECTOR + 1);
  a->bad = false;
}

static void
totals (const struct subject *s, bool tables)
{
  uint64_t sum = 0;

  for (int v = 0; v < VERDICTS; v++)
    sum += s->n[v];
  if (tables) {
    printf ("%s:\n", s->name);
    print_table (&s->by_way);
    print_table (&s->by_field);
    printf ("  kept, though the files say otherwise: %" PRIu64 " of %" PRIu64
            " looked at\n", s->kept, s->looked);
  }
  printf ("%s: of these %" PRIu64 " were odd, and %" PRIu64 " had a container as "
          "base\n", s->name, s->of[ODD], s->of[CONTAINED]);
  printf ("%s: %" PRIu64 " damaged disks:", s->name, sum);
  for (int v = 0; v < VERDICTS; v++)
    printf (" %" PRIu64 " %s%s", s->n[v], verdict_name[v],
            v + 1 < VERDICTS ? "," : "\n");
}

/* What happens to the disk this time.  QEMU is asked about damage only: what
 * it refuses of the rest is known.
 */
static enum kind
change (struct tr_case *c, struct mk_rng *r, uint64_t number, bool qemu,
        const char **what, const char **field, char *how, size_t n)
{
  *field = NULL;
  if (!qemu && number % 10 == 3 && tr_odd (c, r, what, how, n))
    return ODD;
  if (!qemu && number % 40 == 7 && tr_contain (c, r, what, how, n))
    return CONTAINED;
  tr_damage (c, r, what, field, how, n);
  return DAMAGED;
}

int
main (int argc, char *argv[])
{
  struct subject subject[2] = { { .name = "vmdkdelta" },
                                { .name = "qemu-img" } };
  struct tr_case *c = NULL, *donor = NULL;
  uint64_t cases = 10000, seed = 1, image, done = 0, per, only = 0,
    only_image = UINT64_MAX, skipped = 0;
  const char *dir = getenv ("TMPDIR");
  bool qemu = false, verbose = false, liar = false;
  unsigned subjects, usual[2];
  int opt;

  while ((opt = getopt (argc, argv, "n:s:d:qvz1:")) != -1)
    switch (opt) {
    case 'n': cases = strtoull (optarg, NULL, 10); break;
    case 's': seed = strtoull (optarg, NULL, 10); break;
    case 'd': dir = optarg; break;
    case 'q': qemu = true; break;
    case 'v': verbose = true; break;
    case 'z': liar = true; break;
    case '1':
      if (sscanf (optarg, "%" SCNu64 ",%" SCNu64, &only_image, &only) != 2)
        return 2;
      break;
    default: return 2;
    }
  if (!dir)
    dir = "/tmp";
  /* Large buffers come and go: keep them. */
  mallopt (M_MMAP_THRESHOLD, 64 << 20);
  mallopt (M_TRIM_THRESHOLD, 256 << 20);
  subjects = qemu ? 2 : 1;
  per = qemu ? PER_IMAGE_QEMU : PER_IMAGE;
  image = only_image != UINT64_MAX ? only_image : seed * 1000000;
  if (only_image != UINT64_MAX)
    cases = 1;
  donor = tr_draw (image - 1, dir, qemu);

  for (; done < cases; image++) {
    c = tr_draw (image, dir, qemu);
    c->donor = donor;
    for (unsigned k = 0; k < subjects; k++) {
      /* what it is asked must be the same for both */
      if (qemu)
        c->filter = false;
      ask (c, &subject[k], k == 1, false);
      usual[k] = subject[k].answer.warnings;
      if (!check_good (c, &subject[k], image)) {
        if (k == 1) {
          skipped++;
          goto next;
        }
        report (c, &subject[k], image, 0, "nothing was damaged", SILENT, 0);
        return 2;
      }
    }
    for (uint64_t i = only_image != UINT64_MAX ? only : 0;
         i < per && done < cases; i++, done++) {
      const char *what, *field;
      enum kind kind;
      struct mk_rng r;
      char how[256];

      mk_rng_seed (&r, mk_hash (image, i + 1));
      kind = change (c, &r, i, qemu, &what, &field, how, sizeof how);
      for (unsigned k = 0; k < subjects; k++) {
        struct subject *s = &subject[k];
        uint64_t wrong;
        enum verdict v;
        bool first, kept = false;

        ask (c, s, k == 1, i % 8 == 0);
        if (liar)
          lie (&s->answer);
        wrong = 0;
        v = kind == DAMAGED
          ? judge (c, s, usual[k], i % 16 == 0, &wrong, &kept)
          : judge_odd (c, &s->answer, kind == CONTAINED);
        s->n[v]++;
        s->of[kind]++;
        first = count (&s->by_way, what, v);
        if (field)
          first = count (&s->by_field, field, v) || first;
        if (only_image != UINT64_MAX ||
            (v >= STUCK && k == 0 && s->reports++ < MAX_REPORTS) ||
            (verbose && ((first && v > SAME) || kept)))
          report (c, s, image, i, how, v, wrong);
      }
      tr_repair (c);
    }
  next:
    donor->donor = NULL;
    tr_free (donor);
    c->donor = NULL;
    donor = c;
    if (verbose && image % 50 == 0)
      fflush (stdout);
  }
  tr_free (donor);
  if (qemu) {
    if (skipped)
      printf ("images that qemu-img cannot read undamaged: %" PRIu64 "\n",
              skipped);
    totals (&subject[1], verbose);
  }
  totals (&subject[0], verbose);
  tr_answer_free (&subject[0].answer);
  tr_answer_free (&subject[1].answer);
  return subject[0].n[SILENT] + subject[0].n[STUCK] > 0;
}
