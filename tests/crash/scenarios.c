/* Pieces of work in which the power fails: create, apply, compact; see
 * crash.h, and merges.c for the rest.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../tool/undo.h"
#include "crash.h"
#include "plan.h"

/* ---- What they share ----------------------------------------------------- */

struct tr_case *cr_case;
char cr_newest[CR_PATH];
uint64_t cr_errors;

#define MAX_SIZE (1u << 20)     /* of a disk that is drawn */
static uint8_t buf[MAX_SIZE], old_bytes[MAX_SIZE];
static char target[CR_PATH], undo[CR_PATH];
static const struct vd_opts plain, dirty = { .allow_dirty = true };

void
cr_path (char path[CR_PATH], const char *name)
{
  snprintf (path, CR_PATH, "%s/%s", cr_case->dir, name);
}

bool
cr_exists (const char *path)
{
  return access (path, F_OK) == 0;
}

bool
cr_draw (uint64_t seed, const char *dir)
{
  struct tr_case *c = cr_case = tr_draw (seed, dir, false);

  /* What is open for writing counts as in use. */
  for (size_t i = 0; i < c->n_files; i++) {
    close (c->file[i].fd);
    c->file[i].fd = -1;
  }
  cr_path (cr_newest, c->file[c->newest].name);
  return c->size <= MAX_SIZE;
}

enum cr_answer
cr_ask (const char *path, const struct vd_opts *opts, const uint8_t *want,
        uint64_t size, struct vd_err *err)
{
  static const struct vd_base none = { .align = 1 };
  struct vd_family *family = vd_family_new (opts, err);
  struct vd_member *m = family ? vd_family_add (family, path, err) : NULL;
  struct vd_chain *chain = m && vd_family_resolve (family, m, err) == 0
    ? vd_family_chain (family, m, err) : NULL;
  struct vd_reader *reader = chain ? vd_reader_new (chain, 1 << 20, err)
    : NULL;
  enum cr_answer a = CR_ERROR;

  if (reader && chain->size != size)
    a = CR_WRONG;
  else if (reader &&
           vd_read (reader, &none, buf, (size_t) size, 0, err) == 0)
    a = memcmp (buf, want, (size_t) size) == 0 ? CR_RIGHT : CR_WRONG;
  if (a == CR_ERROR)
    cr_errors++;
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_family_free (family);
  return a;
}

/* The files that the work only reads, or a file with other bytes. */
bool
cr_same_file (const char *path, const uint8_t *want, size_t size)
{
  struct vd_err err;
  struct vd_file *f = vd_file_open (path, &err);
  uint8_t *have = mk_alloc (size + 1, 1);
  const bool same = f && f->size == size &&
    vd_file_pread (f, have, size, 0, &err) == 0 &&
    memcmp (have, want, size) == 0;

  vd_file_close (f);
  free (have);
  return same;
}

static bool
say (const char *what)
{
  printf ("  %s\n", what);
  return false;
}

static bool
say_err (const char *what, const struct vd_err *err)
{
  printf ("  %s: %s\n", what, err->msg);
  return false;
}

/* ---- create -------------------------------------------------------------- */

#define CREATE_SIZE (UINT64_C (1) << 18)
#define CREATE_GRAINS 32u
static uint8_t content[2][CREATE_SIZE]; /* old, new */
static enum vd_create_format format;
static bool replace;

static bool
all_zero (const uint8_t *p, size_t n)
{
  return p[0] == 0 && memcmp (p, p + 1, n - 1) == 0;
}

static int
write_delta (const uint8_t *bytes, struct vd_err *err)
{
  const size_t grain = CREATE_SIZE / CREATE_GRAINS;
  const struct vd_create_opts opts = {
    .format = format, .capacity = CREATE_SIZE, .grain_size = grain,
    .parent_cid = 0xfffffffe, .replace = replace,
  };
  struct vd_create *w = vd_create_open (target, &opts, err);

  if (!w)
    return -1;
  for (uint64_t i = 0; i < CREATE_GRAINS; i++)
    if (!all_zero (bytes + i * grain, grain)
        ? vd_create_data (w, i * grain, bytes + i * grain, grain, err) == -1
        : i % 3 == 1 && vd_create_zero (w, i * grain, grain, err) == -1) {
      vd_create_abort (w);
      return -1;
    }
  return vd_create_finish (w, NULL, err);
}

static bool
create_prepare (uint64_t seed, const char *dir)
{
  struct vd_err err;
  struct mk_rng r;

  if (!cr_draw (seed, dir))
    return false;
  mk_rng_seed (&r, seed);
  for (unsigned k = 0; k < 2; k++) {
    struct mk_content c = { .seed = seed, .layer = k };

    mk_content_fill (&c, content[k], CREATE_SIZE, 0);
    for (size_t i = 0; i < CREATE_GRAINS; i++)
      if (mk_rng_chance (&r, 600))
        memset (content[k] + i * (CREATE_SIZE / CREATE_GRAINS), 0,
                CREATE_SIZE / CREATE_GRAINS);
  }
  format = (enum vd_create_format) (seed % 3);
  replace = seed / 3 % 2;
  cr_path (target, "new.vmdk");
  return !replace || write_delta (content[0], &err) == 0 ||
    say_err ("old file", &err);
}

/* As a delta over nothing. */
static enum cr_answer
ask_delta (const uint8_t *want, struct vd_err *err)
{
  static const struct vd_base none = { .align = 1 };
  struct vd_link *link = vd_link_open (target, &plain, err);
  struct vd_chain *chain = link ? vd_chain_new (&link, 1, &plain, err) : NULL;
  struct vd_reader *reader = chain ? vd_reader_new (chain, 1 << 20, err)
    : NULL;
  enum cr_answer a = CR_ERROR;

  if (reader && vd_read (reader, &none, buf, CREATE_SIZE, 0, err) == 0)
    a = memcmp (buf, want, CREATE_SIZE) == 0 ? CR_RIGHT : CR_WRONG;
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_link_close (link);
  return a;
}

/* What has the name is complete. */
static bool
create_state (void)
{
  struct vd_err err;

  if (!cr_exists (target) || ask_delta (content[1], &err) == CR_RIGHT)
    return true;
  return (replace && ask_delta (content[0], &err) == CR_RIGHT) ||
    say_err ("the file is there, but neither old nor new", &err);
}

static int
create_run (struct vd_err *err)
{
  char extent[CR_PATH];

  if (!replace && cr_exists (target))
    return 0;                   /* it was complete */
  if (write_delta (content[1], err) == 0)
    return 0;
  /* Of two files the first may be there: it is not ours to overwrite. */
  cr_path (extent, "new-delta.vmdk");
  if (!strstr (err->msg, "has left it, remove it") || cr_exists (target) ||
      unlink (extent) == -1)
    return -1;
  return write_delta (content[1], err);
}

static bool
create_right (void)
{
  struct vd_err err;

  return ask_delta (content[1], &err) == CR_RIGHT ||
    say_err ("not what was written", &err);
}

/* ---- apply --------------------------------------------------------------- */

/* A filter's case is deltas and a raw base. */
static struct vd_deltas deltas;

static struct vd_reader *
open_deltas (const char *path, struct vd_err *err)
{
  static const struct vd_deltas_opts how = { .follow_option = "follow" };

  return vd_deltas_open (&deltas, &path, 1, &how, &plain, err) == -1 ? NULL
    : vd_reader_new (deltas.chain, 1 << 20, err);
}

static void
close_deltas (struct vd_reader *reader)
{
  vd_reader_free (reader);
  vd_deltas_close (&deltas);
}

static bool
apply_prepare (uint64_t seed, const char *dir)
{
  if (!cr_draw (seed, dir) || !cr_case->filter)
    return false;
  undo[0] = '\0';
  if (seed % 3 == 0)
    cr_path (undo, "undo.vmdk");
  cr_path (target, "target.raw");
  memcpy (old_bytes, cr_case->file[cr_case->base].good, cr_case->size);
  return mk_write_file (target, old_bytes, cr_case->size) == 0;
}

static int
apply_run (struct vd_err *err)
{
  static const struct vd_apply_opts opts = { .threads = 1 };
  static const struct undo_opts how = { .now = NULL };
  struct vd_reader *reader = open_deltas (cr_newest, err);
  struct vd_file *file = reader ? vd_file_open_rw (target, err) : NULL;
  bool kept;
  int r = file ? 0 : -1;

  if (r == 0 && undo[0])
    r = undo_save (reader, file, undo, &how, &kept, err);
  if (r == 0)
    r = vd_apply (reader, file, &opts, err);
  if (r == 0)
    r = vd_apply_verify (reader, file, &opts, err);
  vd_file_close (file);
  close_deltas (reader);
  return r;
}

/* With the undo file over it the target is the old one. */
static bool
undone (struct vd_file *file)
{
  struct vd_base base = { .file = file, .align = 1 };
  struct vd_err err;
  struct vd_reader *reader = open_deltas (undo, &err);
  bool ok = false;

  if (!reader)
    say_err ("the undo file", &err);
  else if (vd_read (reader, &base, buf, (size_t) cr_case->size, 0,
                    &err) == -1)
    say_err ("undone", &err);
  else
    ok = memcmp (buf, old_bytes, cr_case->size) == 0 ||
      say ("the undo file does not give the old bytes");
  close_deltas (reader);
  return ok;
}

/* Each sector is old or new. */
static bool
apply_state (void)
{
  struct vd_err err;
  struct vd_file *file = vd_file_open (target, &err);
  bool ok = true, changed = false;

  if (!file || file->size != cr_case->size ||
      vd_file_pread (file, buf, (size_t) cr_case->size, 0, &err) == -1)
    ok = say ("the target is shorter");
  for (size_t i = 0; ok && i < cr_case->size; i += 512)
    if (memcmp (buf + i, old_bytes + i, 512) != 0) {
      changed = true;
      if (memcmp (buf + i, cr_case->want + i, 512) != 0)
        ok = say ("a sector is neither old nor new");
    }
  if (ok && undo[0] && (changed || cr_exists (undo)))
    ok = undone (file);
  vd_file_close (file);
  return ok;
}

static bool
apply_right (void)
{
  struct vd_err err;
  struct vd_file *file = undo[0] ? vd_file_open (target, &err) : NULL;
  const bool ok = !undo[0] || (file && undone (file));

  vd_file_close (file);
  return ok && (cr_same_file (target, cr_case->want, cr_case->size) ||
                say ("the target is wrong"));
}

/* ---- apply, and what is noted of it ---------------------------------------- */

static char note[CR_PATH];

static bool
noted_prepare (uint64_t seed, const char *dir)
{
  if (!apply_prepare (seed, dir))
    return false;
  undo[0] = '\0';
  cr_path (note, "target.raw.vmdkdelta-state");
  return true;
}

static int
noted_write (struct vd_reader *reader, struct vd_file *file,
             const struct vd_target_state *old,
             const struct vd_survey *survey, bool again, struct vd_err *err)
{
  static const struct vd_apply_opts opts = { .threads = 1 };
  const struct vd_undo_marks none = { .there = false };
  struct vd_target_state *now
    = vd_target_state_new (old, note, target, file->size, deltas.chain, survey,
                           &none, again, err);
  int r = now ? vd_target_begin (now, old, survey, file, NULL, err) : -1;

  if (r == 0)
    r = vd_apply (reader, file, &opts, err);
  if (r == 0)
    r = vd_target_finish (now, survey, file, NULL, err);
  vd_target_state_free (now);
  return r;
}

static int
noted_run (struct vd_err *err)
{
  static const struct vd_apply_opts opts = { .threads = 1 };
  const struct vd_undo_marks none = { .there = false };
  struct vd_reader *reader = open_deltas (cr_newest, err);
  struct vd_file *file = reader ? vd_file_open_rw (target, err) : NULL;
  struct vd_target_state *old = NULL;
  struct vd_survey survey;
  enum vd_verdict v = VD_STEP_NEXT;
  int r = file ? vd_survey_chain (reader, &survey, err) : -1;

  if (r == 0)
    r = vd_target_state_read (note, &old, err);
  if (r == 0 && old)
    v = vd_target_next (old, deltas.chain, &survey, &none, err);
  if (v == VD_STEP_REFUSED)
    r = -1;
  else if (r == 0 && (v == VD_STEP_THERE || v == VD_STEP_THERE_OR_WRONG))
    r = vd_apply_verify (reader, file, &opts, err);
  else if (r == 0)
    r = noted_write (reader, file, old, &survey, v == VD_STEP_AGAIN, err);
  vd_target_state_free (old);
  vd_file_close (file);
  close_deltas (reader);
  return r;
}

/* What is not the old disk is noted, and "finished" is the new one. */
static bool
noted_state (void)
{
  const bool old = cr_same_file (target, old_bytes, cr_case->size);
  const bool new = cr_same_file (target, cr_case->want, cr_case->size);
  struct vd_target_state *s = NULL;
  struct vd_err err;
  bool ok = true;

  if (!apply_state ())
    return false;
  if (vd_target_state_read (note, &s, &err) == -1)
    return say_err ("the note", &err);
  if (!s && !old)
    ok = say ("something was written, and nothing is noted");
  if (s && s->finished && !new)
    ok = say ("it is noted as finished, and is not");
  vd_target_state_free (s);
  return ok;
}

static bool
noted_right (void)
{
  struct vd_target_state *s = NULL;
  struct vd_err err;
  const bool ok = vd_target_state_read (note, &s, &err) == 0 && s &&
    s->finished;

  vd_target_state_free (s);
  return apply_right () && (ok || say ("it is not noted as finished"));
}

/* ---- sync ------------------------------------------------------------------ */

static bool
sync_prepare (uint64_t seed, const char *dir)
{
  if (!cr_draw (seed, dir) || cr_case->filter)
    return false;
  undo[0] = '\0';
  cr_path (target, "target.raw");
  cr_path (note, "target.raw.vmdkdelta-state");
  memset (old_bytes, 0, cr_case->size);
  return mk_write_file (target, old_bytes, cr_case->size) == 0;
}

struct sync_target {
  struct vd_target_state *now;
  struct vd_file *file;
};

static int
sync_reached (void *vp, uint64_t offset, struct vd_err *err)
{
  struct sync_target *t = vp;

  return vd_target_reached (t->now, offset, t->file, err);
}

static int
sync_write (struct vd_sync *s, struct vd_file *file,
            const struct vd_target_state *old, struct vd_err *err)
{
  const struct vd_undo_marks none = { .there = false };
  struct vd_reader *reader = vd_reader_new (s->chain, 1 << 20, err);
  struct sync_target t = { .file = file };
  struct vd_apply_opts opts = {
    .threads = 2, .sparse = s->chain->has_base, .reached = sync_reached,
    .reached_opaque = &t, .reached_each = 16384,
    .only_differences = s->only_differences,
  };
  struct vd_survey survey;
  bool again;
  int r = reader ? vd_survey_chain (reader, &survey, err) : -1;

  if (r == 0) {
    again = vd_sync_is_same_run (s, old, &survey);
    if (again && !old->finished && s->mode != VD_SYNC_LINKS)
      opts.start = old->sync.reached;
    t.now = vd_target_state_new (old, note, target, file->size, s->chain,
                                 &survey, &none, again, err);
    r = t.now ? 0 : -1;
  }
  if (r == 0) {
    t.now->sync = (struct vd_sync_note) {
      .there = true, .mode = s->mode, .to_end = s->to_end,
      .reached = opts.start, .base = strdup (vd_sync_base (s)),
    };
    r = vd_target_begin (t.now, old, &survey, file, NULL, err);
  }
  if (r == 0 && opts.start > 0)
    r = sync_reached (&t, opts.start, err);
  if (r == 0)
    r = vd_apply (reader, file, &opts, err);
  if (r == 0)
    r = vd_target_finish (t.now, &survey, file, NULL, err);
  vd_target_state_free (t.now);
  vd_reader_free (reader);
  return r;
}

static int
sync_run (struct vd_err *err)
{
  static const struct vd_sync_opts how = { .to_end = true };
  struct vd_sync s = { .family = vd_family_new (&plain, err) };
  struct vd_member *m = vd_family_add (s.family, cr_newest, err);
  struct vd_file *file = m ? vd_file_open_rw (target, err) : NULL;
  struct vd_target_state *old = NULL;
  int r = file ? vd_sync_open (&s, m, &how, &plain, err) : -1;

  if (r == 0)
    r = vd_target_state_read (note, &old, err);
  if (r == 0)
    r = vd_sync_decide (&s, old, false, &plain, err);
  if (r == 0 && s.chain)
    r = sync_write (&s, file, old, err);
  vd_target_state_free (old);
  vd_file_close (file);
  vd_sync_close (&s);
  return r;
}

/* As noted_state, and what is said to be reached is there. */
static bool
sync_state (void)
{
  struct vd_target_state *s = NULL;
  struct vd_file *file;
  struct vd_err err;
  bool ok = true;

  if (!noted_state ())
    return false;
  if (vd_target_state_read (note, &s, &err) == -1)
    return say_err ("the note", &err);
  file = s && !s->finished ? vd_file_open (target, &err) : NULL;
  if (file && s->sync.reached > 0 &&
      (vd_file_pread (file, buf, (size_t) s->sync.reached, 0, &err) == -1 ||
       memcmp (buf, cr_case->want, (size_t) s->sync.reached) != 0))
    ok = say ("what is said to be reached is not there");
  vd_file_close (file);
  vd_target_state_free (s);
  return ok;
}

/* ---- compact ------------------------------------------------------------- */

static enum { IN_PLACE, COPY, RAW } how_compact;

static int
compact_run (struct vd_err *err)
{
  static const struct vd_compact_opts how = { .batch = 20000 };
  struct vd_compact_result result;

  switch (how_compact) {
  case IN_PLACE:
    return vd_compact_in_place (cr_newest, &plain, &how, &result, err);
  case COPY:
    return cr_exists (target) ? 0 :
      vd_compact_copy (cr_newest, target, &plain, &how, &result, err);
  default:
    return vd_compact_raw (target, &how, &result, err);
  }
}

static bool
compact_prepare (uint64_t seed, const char *dir)
{
  static const struct vd_compact_opts dry = { .dry_run = true };
  struct vd_compact_result result;
  struct vd_err err;
  int r;

  if (!cr_draw (seed, dir))
    return false;
  how_compact = cr_case->filter ? RAW : seed % 4 == 0 ? COPY : IN_PLACE;
  if (how_compact == RAW) {
    uint8_t *data = cr_case->file[cr_case->base].good;

    cr_path (target, "target.raw");
    for (size_t i = 0; i + 8192 <= cr_case->size; i += 8192)
      if (mk_hash (seed, i) % 3 == 0)
        memset (data + i, 0, 8192);
    return seed % 5 == 0 && mk_write_file (target, data, cr_case->size) == 0;
  }
  cr_path (target, "copy.img");
  r = how_compact == COPY
    ? vd_compact_copy (cr_newest, target, &plain, &dry, &result, &err)
    : vd_compact_in_place (cr_newest, &plain, &dry, &result, &err);
  return r == 0 && result.changed;
}

static bool
compact_state (void)
{
  struct vd_err err;

  if (how_compact == RAW)
    return cr_same_file (target, cr_case->file[cr_case->base].good,
                      cr_case->size) || say ("the file has other bytes");
  if (cr_ask (cr_newest, &plain, cr_case->want, cr_case->size,
              &err) == CR_WRONG)
    return say ("the disk has other bytes");
  if (cr_ask (cr_newest, &dirty, cr_case->want, cr_case->size,
              &err) != CR_RIGHT)
    return say_err ("the disk cannot be read", &err);
  return how_compact != COPY || !cr_exists (target) ||
    cr_ask (target, &plain, cr_case->want, cr_case->size, &err) == CR_RIGHT ||
    say_err ("the copy is there, but not right", &err);
}

static bool
compact_right (void)
{
  struct vd_err err;

  return compact_state () &&
    (how_compact == RAW ||
     cr_ask (how_compact == COPY ? target : cr_newest, &plain, cr_case->want,
             cr_case->size, &err) == CR_RIGHT ||
     say_err ("the disk is not right", &err));
}

const struct cr_scenario cr_scenarios[] = {
  { "create", create_prepare, create_run, create_state, create_right },
  { "apply", apply_prepare, apply_run, apply_state, apply_right },
  { "noted", noted_prepare, noted_run, noted_state, noted_right },
  { "sync", sync_prepare, sync_run, sync_state, noted_right },
  { "compact", compact_prepare, compact_run, compact_state, compact_right },
  { NULL, NULL, NULL, NULL, NULL },
};
