/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing down what a target holds; see state.h for the order. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apply/state-parts.h"
#include "base/array.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/records.h"
#include "base/uuid.h"
#include "file/newfile.h"
#include "format/descriptor-edit.h"
#include "format/descriptor-text.h"

/* ---- The text ------------------------------------------------------------ */

static void
put_content (FILE *fp, const char *kind, const struct vd_content *c)
{
  char uuid[VD_UUID_TEXT];

  fprintf (fp, "%s %016" PRIx64, kind, c->id);
  if (c->has_cid)
    fprintf (fp, " %08" PRIx32, c->cid);
  else
    fputs (" -", fp);
  fprintf (fp, " %s", vd_uuid_is_null (c->uuid) ? "-"
           : vd_uuid_text (uuid, c->uuid));
  if (c->has_said)
    fprintf (fp, " %08" PRIx32, c->said);
  else
    fputs (" -", fp);
  fprintf (fp, " %s\n", vd_uuid_is_null (c->longid) ? "-"
           : vd_uuid_text (uuid, c->longid));
}

static void
put_text (FILE *fp, const char *text)
{
  vd_put_hex (fp, text, text ? strlen (text) : 0);
}

static void
put_sync (FILE *fp, const struct vd_sync_note *n)
{
  if (!n->there)
    return;
  fprintf (fp, "sync %s %s %016" PRIx64 " %" PRIu64 " %" PRIu64,
           vd_sync_mode_name (n->mode), n->to_end ? "end" : "frozen", n->link,
           n->reached, n->rate);
  put_text (fp, n->base);
  putc ('\n', fp);
}

static void
put_samples (FILE *fp, const char *kind, const struct vd_sample *sample,
             size_t n)
{
  size_t i;

  for (i = 0; i < n; ++i)
    fprintf (fp, "%s %" PRIu64 " %" PRIu32 " %08" PRIx32 "\n", kind,
             sample[i].offset, sample[i].length, sample[i].crc);
}

static void
put_records (FILE *fp, const struct vd_target_state *s)
{
  size_t i;

  fputs (VD_STATE_FIRST "target", fp);
  put_text (fp, s->target);
  fprintf (fp, " %" PRIu64 "\ndisk %" PRIu64 "\nrun %s %016" PRIx64, s->size,
           s->capacity, s->finished ? "finished" : "writing", s->map);
  put_text (fp, s->delta);
  put_text (fp, s->undo);
  putc ('\n', fp);
  put_content (fp, "from", &s->from);
  put_content (fp, "to", &s->to);
  for (i = 0; i < s->nr_past; ++i)
    put_content (fp, "past", &s->past[i]);
  fprintf (fp, "temp %08" PRIx32 "\n", s->temp);
  put_sync (fp, &s->sync);
  if (s->has_stamp)
    fprintf (fp, "stamp %" PRIu64 " %" PRIu64 " %" PRIi64 " %" PRIi64 " %"
             PRIi64 " %" PRIi64 "\n", s->dev, s->ino, s->mtime[0], s->mtime[1],
             s->ctime[0], s->ctime[1]);
  for (i = 0; i < s->nr_held; ++i)
    fprintf (fp, "held %" PRIu64 "\n", s->held[i]);
  put_samples (fp, "first", s->first, s->nr_first);
  if (s->moved)
    fputs ("moved\n", fp);
  put_samples (fp, "sample", s->sample, s->nr_samples);
}

static char *
state_text (const struct vd_target_state *s, struct vd_err *err)
{
  CLEANUP_FREE char *body = NULL;
  char end[VD_RECORDS_END + 1], *text;
  size_t len;
  FILE *fp = open_memstream (&body, &len);

  if (!fp) {
    vd_fail_nomem (err);
    return NULL;
  }
  put_records (fp, s);
  if (ferror (fp) | fclose (fp)) {
    vd_fail_nomem (err);
    return NULL;
  }
  vd_records_end (end, body, len);
  if (asprintf (&text, "%s%s", body, end) == -1) {
    vd_fail_nomem (err);
    return NULL;
  }
  return text;
}

/* ---- Files that are replaced --------------------------------------------- */

/* Complete and on stable storage under its name, or as it was. */
static int
replace_file (const char *path, const char *text, const struct vd_file *like,
              struct vd_err *err)
{
  struct vd_new_file n = { .path = NULL };
  int r = -1;

  vd_new_file_clean (path);
  if (vd_new_file_open_like (&n, path, true, like,
                             like ? NULL : vd_file_create_private, err) == 0 &&
      vd_file_pwrite (n.file, text, strlen (text), 0, err) == 0 &&
      vd_file_flush (n.file, err) == 0 &&
      vd_new_file_publish (&n, true, err) == 0)
    r = vd_flush_directory_of (path, err);
  vd_new_file_close (&n);
  return r;
}

static int
write_note (const struct vd_target_state *s, const struct vd_file *target,
            struct vd_err *err)
{
  CLEANUP_FREE char *text = NULL;

  if (!s->path)
    return 0;
  text = state_text (s, err);
  if (!text)
    return -1;
  if (replace_file (s->path, text, vd_file_fd (target) >= 0 ? target : NULL,
                    err) == 0)
    return 0;
  vd_err_prefix (err, "what %s holds cannot be noted (--state=FILE names "
                 "another place): ", s->target);
  return -1;
}

/* The CID of a descriptor, and what else names its content. */
static int
set_cid (const char *path, uint32_t cid, const uint8_t *modified,
         struct vd_err *err)
{
  struct vd_file *file = vd_file_open (path, err);
  CLEANUP_FREE char *old = NULL, *text = NULL;
  char value[9], longid[33], uuid[VD_UUID_TEXT];
  struct vd_descriptor_change c[3];
  uint8_t r[12], fresh[16];
  size_t i, n = 0;

  if (!file)
    return -1;
  if (file->size > VD_MAX_DESCRIPTOR)
    vd_fail (err, VD_CORRUPT, "%s: %" PRIu64 " bytes are no descriptor", path,
             file->size);
  else if (!(old = malloc ((size_t) file->size + 1)))
    vd_fail_nomem (err);
  else if (vd_file_pread (file, old, (size_t) file->size, 0, err) == -1)
    free (VD_TAKE (old));
  if (!old || vd_random (r, sizeof r, err) == -1 ||
      vd_uuid_new (fresh, err) == -1) {
    vd_file_close (file);
    return -1;
  }
  snprintf (value, sizeof value, "%08" PRIx32, cid);
  for (i = 0; i < sizeof r; ++i)
    snprintf (longid + 2 * i, 3, "%02x", r[i]);
  snprintf (longid + 24, 9, "%s", value);
  c[n++] = (struct vd_descriptor_change) { "CID", value, false };
  c[n++] = (struct vd_descriptor_change) { "ddb.longContentID", longid, true };
  c[n++] = (struct vd_descriptor_change) {
    "ddb.uuid.modification",
    vd_uuid_text (uuid, vd_uuid_is_null (modified) ? fresh : modified), true
  };
  text = vd_descriptor_edit (old, (size_t) file->size, c, n, 0, err);
  vd_file_close (file);
  return text ? replace_file (path, text, NULL, err) : -1;
}

/* ---- A new state --------------------------------------------------------- */

static int
new_id (uint64_t *id, struct vd_err *err)
{
  do {
    if (vd_random (id, sizeof *id, err) == -1)
      return -1;
  } while (*id == 0);
  return 0;
}

/* Whatever has no name gets one, so that an undo file can name it. */
static int
give_names (struct vd_content *c, uint32_t other, struct vd_err *err)
{
  if (c->id == 0 && new_id (&c->id, err) == -1)
    return -1;
  if (c->has_cid && c->cid != 0)
    return 0;
  c->has_cid = true;
  return vd_new_cid (&c->cid, other, err);
}

static int
push_past (struct vd_target_state *s, const struct vd_content *c,
           struct vd_err *err)
{
  struct vd_content *p;

  if (c->id == 0)
    return 0;
  if (s->nr_past == VD_MAX_PAST) {
    memmove (s->past, s->past + 1, (VD_MAX_PAST - 1) * sizeof *s->past);
    s->past[VD_MAX_PAST - 1] = *c;
    return 0;
  }
  p = vd_grow (s->past, s->nr_past, sizeof *p, err);
  if (!p)
    return -1;
  s->past = p;
  p[s->nr_past++] = *c;
  return 0;
}

/* The past of old, up to what an undo file gives. */
static int
copy_past (struct vd_target_state *s, const struct vd_target_state *old,
           uint64_t until, struct vd_err *err)
{
  size_t i;

  for (i = 0; i < old->nr_past; ++i)
    if (old->past[i].id == until)
      return 0;
    else if (push_past (s, &old->past[i], err) == -1)
      return -1;
  return 0;
}

/* What an undo file leads back to, as it was noted then. */
static void
undone_to (struct vd_target_state *s, const struct vd_target_state *old,
           const struct vd_link *newest, uint64_t gives)
{
  size_t i;

  vd_makes (newest, &s->to);
  s->to.id = gives;
  if (old && old->from.id == gives)
    s->to = old->from;
  for (i = 0; old && i < old->nr_past; ++i)
    if (old->past[i].id == gives)
      s->to = old->past[i];
}

static int
decide_names (struct vd_target_state *s, const struct vd_target_state *old,
              const struct vd_chain *chain, const struct vd_survey *survey,
              const struct vd_undo_marks *undo, bool again,
              struct vd_err *err)
{
  const struct vd_link *newest = chain->links[0];

  s->undoes = undo->there;
  if (again) {
    s->from = old->from;
    s->to = old->to;
    s->temp = old->temp;
    return copy_past (s, old, 0, err);
  }
  if (old)
    s->from = old->finished || undo->there ? old->to : old->from;
  else
    vd_made_on (chain->links[chain->nr_links - 1], &s->from);
  if (undo->there) {
    if (!old)
      s->from.id = undo->on;
    undone_to (s, old, newest, undo->gives);
  }
  else {
    vd_makes (newest, &s->to);
    if (vd_content_is_borrowed (newest) && survey->bytes > 0) {
      s->to.has_said = true;
      s->to.said = s->to.cid;
      s->to.has_cid = false;
    }
  }
  if (give_names (&s->from, 0, err) == -1 ||
      give_names (&s->to, s->from.cid, err) == -1 ||
      vd_new_cid (&s->temp, s->to.cid, err) == -1)
    return -1;
  if (!old || copy_past (s, old, undo->there ? undo->gives : 0, err) == -1)
    return old ? -1 : 0;
  return undo->there ? 0 : push_past (s, &old->from, err);
}

/* The note is read from another directory, and by people. */
static char *
full_name (const char *path)
{
  char *real = realpath (path, NULL);

  return real ? real : strdup (path);
}

struct vd_target_state *
vd_target_state_new (const struct vd_target_state *old, const char *path,
                     const char *target, uint64_t size,
                     const struct vd_chain *chain,
                     const struct vd_survey *survey,
                     const struct vd_undo_marks *undo, bool again,
                     struct vd_err *err)
{
  struct vd_target_state *s = calloc (1, sizeof *s);

  if (!s) {
    vd_fail_nomem (err);
    return NULL;
  }
  s->path = path ? strdup (path) : NULL;
  s->target = full_name (target);
  s->delta = full_name (chain->links[0]->path);
  s->size = size;
  s->capacity = chain->size;
  s->map = survey->map;
  s->nr_held = survey->nr_touched;
  memcpy (s->held, survey->touched, sizeof s->held);
  if ((path && !s->path) || !s->target || !s->delta)
    vd_fail_nomem (err);
  else if (decide_names (s, old, chain, survey, undo, again, err) == 0)
    return s;
  vd_target_state_free (s);
  return NULL;
}

/* ---- Before and after ---------------------------------------------------- */

/* What was there before the first run of all. */
static int
take_first (struct vd_target_state *s, const struct vd_target_state *old,
            const struct vd_survey *survey, struct vd_file *target,
            struct vd_err *err)
{
  size_t i;

  if (!old)
    return vd_take_samples (s->capacity, survey, true, target, &s->first,
                            &s->nr_first, err);
  for (i = 0; i < old->nr_first; ++i)
    if (vd_add_sample (&s->first, &s->nr_first, &old->first[i], err) == -1)
      return -1;
  return 0;
}

/* Nothing was written: the note is as it was. */
static void
take_back (const struct vd_target_state *s, const struct vd_target_state *old,
           const struct vd_file *target)
{
  struct vd_err ignored;

  if (old && old->path && s->path && strcmp (old->path, s->path) == 0)
    write_note (old, target, &ignored);
  else if (s->path)
    unlink (s->path);
}

int
vd_target_begin (struct vd_target_state *s, const struct vd_target_state *old,
                 const struct vd_survey *survey,
                 struct vd_file *target, const char *descriptor,
                 struct vd_err *err)
{
  static const uint8_t none[16];

  s->finished = s->has_stamp = false;
  if (s->path && take_first (s, old, survey, target, err) == -1)
    return -1;
  if (s->path &&
      vd_take_samples (s->capacity, survey, false, target, &s->sample,
                       &s->nr_samples, err) == -1)
    return -1;
  if (write_note (s, target, err) == -1)
    return -1;
  if (!descriptor || set_cid (descriptor, s->temp, none, err) == 0)
    return 0;
  take_back (s, old, target);
  return -1;
}

/* Whoever writes from now on gives the file another time: the clock that files
 * are stamped with stands still for some milliseconds.
 */
static void
await_later (const struct timespec *mtime)
{
  static const struct timespec a_bit = { .tv_nsec = 1000000 };
  struct timespec now;
  unsigned i;

  for (i = 0; i < 50; ++i) {
    if (clock_gettime (CLOCK_REALTIME_COARSE, &now) == -1 ||
        now.tv_sec != mtime->tv_sec || now.tv_nsec != mtime->tv_nsec)
      return;
    nanosleep (&a_bit, NULL);
  }
}

static int
take_stamp (struct vd_target_state *s, struct vd_file *target,
            struct vd_err *err)
{
  const int fd = vd_file_fd (target);
  struct stat st;

  if (fd == -1)
    return 0;
  if (fstat (fd, &st) == -1)
    return vd_fail_errno (err, errno, "%s", target->name);
  if (!S_ISREG (st.st_mode))
    return 0;
  await_later (&st.st_mtim);
  s->has_stamp = true;
  s->dev = st.st_dev;
  s->ino = st.st_ino;
  s->mtime[0] = st.st_mtim.tv_sec < 0 ? 0 : st.st_mtim.tv_sec;
  s->mtime[1] = st.st_mtim.tv_nsec;
  s->ctime[0] = st.st_ctim.tv_sec < 0 ? 0 : st.st_ctim.tv_sec;
  s->ctime[1] = st.st_ctim.tv_nsec;
  return 0;
}

/* Samples of what is done tell later whether somebody else has written there. */
int
vd_target_reached (struct vd_target_state *s, uint64_t offset,
                   struct vd_file *target, struct vd_err *err)
{
  struct vd_survey done = { .map = 0 };

  if (!s->path)
    return 0;
  s->sync.reached = offset;
  if (s->sync.mode != VD_SYNC_LINKS) {
    vd_usual_places (offset, &done);
    if (vd_take_samples (offset, &done, false, target, &s->sample,
                         &s->nr_samples, err) == -1)
      return -1;
  }
  return write_note (s, target, err);
}

int
vd_target_finish (struct vd_target_state *s, const struct vd_survey *survey,
                  struct vd_file *target, const char *descriptor,
                  struct vd_err *err)
{
  uint64_t where;
  int r;

  if (descriptor && set_cid (descriptor, s->to.cid, s->to.uuid, err) == -1)
    return -1;
  if (!s->path)
    return 0;
  r = vd_samples_same (s->first, s->nr_first, target, &where, err);
  if (r == -1)
    return -1;
  s->moved = r == 0;
  if (vd_take_samples (s->capacity, survey, true, target, &s->sample,
                       &s->nr_samples, err) == -1 ||
      take_stamp (s, target, err) == -1)
    return -1;
  s->finished = true;
  /* What was undone is no earlier content. */
  if (s->undoes)
    s->from = (struct vd_content) { .id = 0 };
  return write_note (s, target, err);
}
