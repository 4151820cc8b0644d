/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A few places of a target, and what was seen there; see state.h.
 *
 * Which places.  A guest that is started writes to its file systems' first
 * blocks and journals, and to what it wrote to last, which is what deltas hold.
 * The start of the disk, the usual starts of a first partition, places of the
 * deltas and places all over the disk are few reads, and one of them changes
 * whenever something was really started there.
 */

#include <ctype.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apply/batch.h"
#include "apply/state-parts.h"
#include "base/array.h"
#include "base/bytes.h"
#include "base/cleanup.h"

/* ---- The survey ---------------------------------------------------------- */

static void
digest_add (uint64_t *digest, uint64_t n)
{
  unsigned i;

  for (i = 0; i < 8; ++i, n >>= 8)
    *digest = (*digest ^ (n & 0xff)) * UINT64_C (0x100000001b3); /* FNV-1a */
}

/* Every so manieth run: when the list is full, each second one is dropped. */
static void
note_touched (struct vd_survey *s, uint64_t *count, uint64_t *stride,
              uint64_t offset)
{
  size_t i;

  if ((*count)++ % *stride != 0)
    return;
  if (s->nr_touched == VD_SURVEY_PLACES) {
    for (i = 0; i < VD_SURVEY_PLACES / 2; ++i)
      s->touched[i] = s->touched[2 * i];
    s->nr_touched = VD_SURVEY_PLACES / 2;
    *stride *= 2;
    if ((*count - 1) % *stride != 0)
      return;
  }
  s->touched[s->nr_touched++] = offset;
}

/* Places where something is usually found, and others evenly over the disk. */
static size_t
usual_places (uint64_t size, uint64_t place[VD_SURVEY_PLACES])
{
  static const uint64_t usual[] = {
    0, 63 * 512, UINT64_C (1) << 20, (UINT64_C (1) << 20) + 65536,
  };
  const size_t even = VD_SURVEY_PLACES - 5;
  size_t n = 0, i;

  if (size == 0)
    return 0;
  for (i = 0; i < sizeof usual / sizeof usual[0]; ++i)
    if (usual[i] < size)
      place[n++] = usual[i];
  for (i = 1; i <= even; ++i)
    place[n++] = vd_round_down (size / (even + 1) * i, VD_SECTOR);
  place[n++] = vd_round_down (size - 1, VD_SAMPLE_MAX);
  return n;
}

void
vd_usual_places (uint64_t size, struct vd_survey *s)
{
  s->nr_other = usual_places (size, s->other);
}

/* Is [offset, ...) of a sample free of these runs? */
static bool
is_apart (const struct vd_run *run, uint64_t offset)
{
  return run->kind == VD_BASE || vd_run_end (run) <= offset ||
    run->offset >= offset + VD_SAMPLE_MAX;
}

static void
survey_run (struct vd_survey *s, const struct vd_run *run)
{
  size_t i, n = 0;

  digest_add (&s->map, run->offset);
  digest_add (&s->map, run->length);
  digest_add (&s->map, run->kind == VD_ZERO ? 0 : run->where);
  digest_add (&s->map, run->kind == VD_ZERO ? 0 : run->slot);
  digest_add (&s->map, (uint64_t) run->kind);
  s->bytes += run->length;
  for (i = 0; i < s->nr_other; ++i)
    if (is_apart (run, s->other[i]))
      s->other[n++] = s->other[i];
  s->nr_other = n;
}

/* Deltas that are full have all the same map.  What cannot be read is found out
 * by whoever needs it.
 */
static void
survey_data (struct vd_reader *reader, struct vd_survey *s)
{
  static const struct vd_base nothing = { .align = 1 };
  const uint64_t size = vd_reader_get_chain (reader)->size;
  uint8_t buf[VD_SECTOR];
  struct vd_err ignored;
  size_t i;

  for (i = 0; i < s->nr_touched; ++i) {
    const size_t n = (size_t) vd_min (sizeof buf, size - s->touched[i]);

    if (vd_read (reader, &nothing, buf, n, s->touched[i], &ignored) == 0)
      digest_add (&s->map, libdeflate_crc32 (0, buf, n));
  }
}

int
vd_survey_chain (struct vd_reader *reader, struct vd_survey *s,
                 struct vd_err *err)
{
  const struct vd_chain *chain = vd_reader_get_chain (reader);
  struct vd_runs batch = VD_BATCH_RUNS;
  struct vd_batch_walk walk;
  uint64_t count = 0, stride = 1;
  size_t i;
  int r;

  *s = (struct vd_survey) { .map = UINT64_C (0xcbf29ce484222325) };
  vd_usual_places (chain->size, s);
  vd_batch_walk_init (&walk, chain);
  while ((r = vd_batch_walk_next (&walk, &batch, err)) == 1)
    for (i = 0; i < batch.n; ++i)
      if (batch.run[i].kind != VD_BASE) {
        survey_run (s, &batch.run[i]);
        note_touched (s, &count, &stride, batch.run[i].offset);
      }
  vd_batch_walk_free (&walk);
  vd_runs_free (&batch);
  if (r == 0)
    survey_data (reader, s);
  return r;
}

/* ---- Samples of a target ------------------------------------------------- */

static int
sample_at (struct vd_file *target, uint64_t offset, uint32_t length,
           struct vd_sample *one, struct vd_err *err)
{
  uint8_t buf[VD_SAMPLE_MAX];

  *one = (struct vd_sample) { .offset = offset, .length = length };
  if (vd_file_pread (target, buf, length, offset, err) == -1)
    return -1;
  one->crc = libdeflate_crc32 (0, buf, length);
  return 0;
}

static int
take_places (uint64_t capacity, struct vd_file *target, const uint64_t *place,
             size_t nr, struct vd_sample **sample, size_t *n,
             struct vd_err *err)
{
  struct vd_sample one;
  size_t i;

  for (i = 0; i < nr; ++i) {
    const uint64_t length = vd_min (VD_SAMPLE_MAX, capacity - place[i]);

    if (sample_at (target, place[i], (uint32_t) length, &one, err) == -1 ||
        vd_add_sample (sample, n, &one, err) == -1)
      return -1;
  }
  return 0;
}

int
vd_take_samples (uint64_t capacity, const struct vd_survey *survey, bool all,
                 struct vd_file *target, struct vd_sample **sample, size_t *n,
                 struct vd_err *err)
{
  uint64_t place[VD_SURVEY_PLACES];

  free (VD_TAKE (*sample));
  *n = 0;
  if (!all)
    return take_places (capacity, target, survey->other, survey->nr_other,
                        sample, n, err);
  return take_places (capacity, target, place, usual_places (capacity, place),
                      sample, n, err) == -1 ? -1
    : take_places (capacity, target, survey->touched, survey->nr_touched,
                   sample, n, err);
}

static int
fail_changed (const struct vd_target_state *s, const char *what,
              struct vd_err *err)
{
  return vd_fail (err, VD_MISMATCH, "%s was written to by something else after "
                  "%s was applied to it (%s): if a guest was started on it, "
                  "no delta of the old machine fits any more; if it was copied "
                  "anew, or is another disk, remove %s (use --ignore-state to "
                  "write anyway)", s->target, s->delta, what, s->path);
}

static bool
same_time (const int64_t a[2], const struct timespec *t)
{
  return a[0] == t->tv_sec && a[1] == t->tv_nsec;
}

int
vd_samples_same (const struct vd_sample *sample, size_t n,
                 struct vd_file *target, uint64_t *where, struct vd_err *err)
{
  struct vd_sample now;
  size_t i;

  for (i = 0; i < n; ++i) {
    if (sample_at (target, sample[i].offset, sample[i].length, &now,
                   err) == -1)
      return -1;
    if (now.crc != sample[i].crc)
      return *where = now.offset, 0;
  }
  return 1;
}

/* What the times of a file say: 1, it is unchanged; 0, it was written to; -1,
 * they cannot tell.
 */
static int
times_tell (const struct vd_target_state *s, const struct vd_file *target)
{
  const int fd = vd_file_fd (target);
  struct stat st;

  if (!s->finished || !s->has_stamp || fd == -1 || fstat (fd, &st) == -1 ||
      !S_ISREG (st.st_mode))
    return -1;
  if (!same_time (s->mtime, &st.st_mtim))
    return 0;
  /* Its name or its rights have changed, or it was copied with its times. */
  return same_time (s->ctime, &st.st_ctim) && st.st_ino == s->ino ? 1 : -1;
}

int
vd_target_unchanged (const struct vd_target_state *s, struct vd_file *target,
                     bool *anew, struct vd_err *err)
{
  uint64_t where = 0;
  char what[80];
  int times, r;

  *anew = false;
  if (target->size != s->size) {
    snprintf (what, sizeof what, "it has %" PRIu64 " bytes, and had %" PRIu64,
              target->size, s->size);
    return fail_changed (s, what, err);
  }
  times = times_tell (s, target);
  if (times == 1)
    return 0;
  if (s->finished && s->moved) {
    r = vd_samples_same (s->first, s->nr_first, target, &where, err);
    *anew = r == 1;
    if (r != 0)
      return r == 1 ? 0 : -1;
  }
  if (times == 0)
    return fail_changed (s, "its time of modification is another", err);
  r = vd_samples_same (s->sample, s->nr_samples, target, &where, err);
  if (r != 0)
    return r == 1 ? 0 : -1;
  snprintf (what, sizeof what, "what is at byte %" PRIu64 " has changed",
            where);
  return fail_changed (s, what, err);
}

/* ---- The marks of undo files --------------------------------------------- */

/* So many samples are in each line of a descriptor. */
#define PER_LINE 16u
#define MARK_LINES (VD_MAX_SAMPLES / PER_LINE)

char *
vd_undo_marks_text (const struct vd_undo_marks *m)
{
  char *text = NULL;
  size_t n, i;
  FILE *fp = open_memstream (&text, &n);

  if (!fp)
    return NULL;
  fprintf (fp, "ddb.vmdkdelta.on = \"%016" PRIx64 "\"\n"
           "ddb.vmdkdelta.gives = \"%016" PRIx64 "\"\n", m->on, m->gives);
  for (i = 0; i < m->nr_samples; ++i) {
    if (i % PER_LINE == 0)
      fprintf (fp, "ddb.vmdkdelta.samples%zu = \"", i / PER_LINE);
    fprintf (fp, "%" PRIx64 ":%08" PRIx32 "%s", m->sample[i].offset,
             m->sample[i].crc,
             i % PER_LINE == PER_LINE - 1 || i + 1 == m->nr_samples ? "\"\n"
             : " ");
  }
  if (ferror (fp) | fclose (fp)) {
    free (text);
    return NULL;
  }
  return text;
}

static bool
parse_id (const char *text, uint64_t *id)
{
  if (!text || strlen (text) != 16 ||
      strspn (text, "0123456789abcdef") != 16)
    return false;
  *id = strtoull (text, NULL, 16);
  return *id != 0;
}

/* Up to so many hexadecimal digits; false if there is none. */
static bool
parse_hex (const char **text, unsigned most, uint64_t *value)
{
  const char *p = *text;

  for (*value = 0; isxdigit ((unsigned char) *p) && p < *text + most; ++p)
    *value = *value * 16 +
      (uint64_t) (*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
  if (p == *text)
    return false;
  *text = p;
  return true;
}

/* One line of samples, which all lie in the disk. */
static int
parse_samples (const char *text, uint64_t capacity, struct vd_undo_marks *m,
               struct vd_err *err)
{
  struct vd_sample one = { .length = VD_SECTOR };
  const char *p = text;
  uint64_t crc;

  while (*p) {
    if (m->nr_samples == VD_MAX_SAMPLES || !parse_hex (&p, 16, &one.offset) ||
        *p++ != ':' || !parse_hex (&p, 8, &crc) ||
        one.offset % VD_SECTOR != 0 || capacity < VD_SECTOR ||
        one.offset > capacity - VD_SECTOR)
      return 1;
    one.crc = (uint32_t) crc;
    if (vd_add_sample (&m->sample, &m->nr_samples, &one, err) == -1)
      return -1;
    p += *p == ' ';
  }
  return 0;
}

int
vd_undo_marks_read (const struct vd_link *link, struct vd_undo_marks *m,
                    struct vd_err *err)
{
  const struct vd_descriptor *d = link->descriptor;
  const char *on = d ? vd_descriptor_get (d, "ddb.vmdkdelta.on") : NULL;
  const char *text;
  char key[40];
  unsigned i;
  int r = 0;

  *m = (struct vd_undo_marks) { .there = on != NULL };
  if (!on)
    return 0;
  if (!parse_id (on, &m->on) ||
      !parse_id (vd_descriptor_get (d, "ddb.vmdkdelta.gives"), &m->gives))
    r = 1;
  for (i = 0; r == 0 && i < MARK_LINES; ++i) {
    snprintf (key, sizeof key, "ddb.vmdkdelta.samples%u", i);
    if (!(text = vd_descriptor_get (d, key)))
      break;
    r = parse_samples (text, link->capacity, m, err);
  }
  if (r == 0)
    return 0;
  vd_undo_marks_free (m);
  return r == -1 ? -1
    : vd_fail (err, VD_CORRUPT, "%s: what it says of its target "
               "(ddb.vmdkdelta) makes no sense", link->path);
}

void
vd_undo_marks_free (struct vd_undo_marks *m)
{
  free (VD_TAKE (m->sample));
  m->nr_samples = 0;
  m->there = false;
}

/* A sector of the target with the chain over it. */
static int
sector_with (struct vd_reader *reader, struct vd_file *target,
             uint64_t offset, uint8_t buf[VD_SECTOR], struct vd_err *err)
{
  struct vd_base base = { .file = target, .align = 1 };

  return vd_read (reader, &base, buf, VD_SECTOR, offset, err);
}

static int
add_marks (const uint64_t *place, size_t n, uint64_t capacity,
           struct vd_reader *reader, struct vd_file *target,
           struct vd_undo_marks *m, struct vd_err *err)
{
  struct vd_sample one = { .length = VD_SECTOR };
  uint8_t buf[VD_SECTOR];
  size_t i;

  for (i = 0; i < n; ++i) {
    one.offset = vd_round_down (place[i], VD_SECTOR);
    if (capacity < VD_SECTOR || one.offset > capacity - VD_SECTOR)
      continue;
    if (sector_with (reader, target, one.offset, buf, err) == -1)
      return -1;
    one.crc = libdeflate_crc32 (0, buf, sizeof buf);
    if (vd_add_sample (&m->sample, &m->nr_samples, &one, err) == -1)
      return -1;
  }
  return 0;
}

int
vd_undo_marks_new (const struct vd_target_state *s,
                   const struct vd_survey *survey, struct vd_reader *reader,
                   struct vd_file *target, struct vd_undo_marks *m,
                   struct vd_err *err)
{
  *m = (struct vd_undo_marks) {
    .there = true, .on = s->to.id, .gives = s->from.id
  };
  if (add_marks (survey->other, survey->nr_other, s->capacity, reader, target,
                 m, err) == 0 &&
      add_marks (survey->touched, survey->nr_touched, s->capacity, reader,
                 target, m, err) == 0)
    return 0;
  vd_undo_marks_free (m);
  return -1;
}

int
vd_undo_fits (const struct vd_undo_marks *undo, struct vd_reader *reader,
              struct vd_file *target, bool mixed, struct vd_err *err)
{
  const char *path = vd_reader_get_chain (reader)->links[0]->path;
  uint8_t old[VD_SECTOR], now[VD_SECTOR];
  size_t i;

  for (i = 0; i < undo->nr_samples; ++i) {
    const struct vd_sample *s = &undo->sample[i];

    if (vd_file_pread (target, now, sizeof now, s->offset, err) == -1)
      return -1;
    if (libdeflate_crc32 (0, now, sizeof now) == s->crc)
      continue;
    if (mixed) {
      struct vd_runs runs = VD_RUNS_INIT (2);
      bool held;

      if (vd_reader_map (reader, s->offset, VD_SECTOR, &runs, err) == -1)
        return -1;
      held = runs.n > 0 && runs.run[0].kind != VD_BASE;
      vd_runs_free (&runs);
      if (sector_with (reader, target, s->offset, old, err) == -1)
        return -1;
      if (held && memcmp (now, old, sizeof now) == 0)
        continue;
    }
    return vd_fail (err, VD_MISMATCH, "%s does not undo anything on %s: the "
                    "sector at byte %" PRIu64 " is not what it was when the "
                    "deltas had been applied.  It belongs to another disk, "
                    "newer deltas must be undone first, or something else was "
                    "written (use --ignore-state to write anyway)", path,
                    target->name, s->offset);
  }
  return 0;
}
