/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Deltas beside a bare one; see siblings.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "chain/siblings.h"
#include "file/scandir.h"
#include "file/uri.h"

/* More than a chain can have are not listed. */
#define MAX_OLDER 255u
#define MAX_PERHAPS 4u

/* What file managers put in front of the name of a copy. */
static const char *
skip_copy (const char *name)
{
  static const char *const words[] = {
    "copy of ", "copy_of_", "copy-of-", "kopie von ", "copie de ",
  };
  size_t i;

  for (i = 0; i < sizeof words / sizeof words[0]; ++i)
    if (strncasecmp (name, words[i], strlen (words[i])) == 0)
      return name + strlen (words[i]);
  return name;
}

unsigned
vd_delta_number (const char *path, const char **stem, size_t *len)
{
  static const char *const ends[] = { "-delta", "-sesparse", ".vmdk" };
  const char *slash = strrchr (path, '/'), *p;
  size_t i;

  *stem = skip_copy (slash ? slash + 1 : path);
  for (p = *stem; (p = strchr (p, '-')) != NULL; ++p) {
    if (p == *stem || strspn (p + 1, "0123456789") != 6)
      continue;
    for (i = 0; i < sizeof ends / sizeof ends[0]; ++i)
      if (strncasecmp (p + 7, ends[i], strlen (ends[i])) == 0) {
        *len = (size_t) (p - *stem);
        return (unsigned) strtoul (p + 1, NULL, 10);
      }
  }
  *len = 0;
  return 0;
}

struct sibling_scan {
  const struct vd_link *link;
  struct vd_link *const *known;
  size_t nr_known;
  const char *stem;             /* of the link */
  size_t stem_len;
  unsigned number, after;
  struct vd_siblings *result;
  unsigned nr_perhaps;
};

/* Is it one of the files that are read anyway? */
static bool
is_known (const struct sibling_scan *s, const struct vd_file *file)
{
  size_t i, k;

  for (i = 0; i < s->nr_known; ++i) {
    const struct vd_link *l = s->known[i];

    if (l->ino == file->ino && l->dev == file->dev)
      return true;
    for (k = 0; k < l->nr_pieces; ++k)
      if (l->pieces[k].image->file &&
          vd_file_same (l->pieces[k].image->file, file))
        return true;
  }
  return false;
}

/* A delta of that size, that is not read anyway?  One that cannot be opened is
 * what its name says.
 */
static bool
could_be (const struct sibling_scan *s, int dir, const char *name,
          const char *path)
{
  static const struct vd_opts quiet = { .allow_dirty = true };
  struct vd_image *image = NULL;
  struct vd_err ignored;
  struct vd_file *file = vd_dir_open (dir, name, path, &ignored);
  bool r;

  if (!file)
    return true;
  if (is_known (s, file)) {
    vd_file_close (file);
    return false;
  }
  image = vd_image_open (file, &quiet, &ignored);
  if (!image) {
    const bool nothing = file->size == 0 || ignored.code == VD_NOT_FORMAT;

    vd_file_close (file);
    return !nothing;
  }
  r = image->capacity == s->link->capacity &&
    image->descriptor_length == 0 && !image->linked_by_uuid;
  vd_image_close (image);
  return r;
}

/* Where the descriptor of an extent is, by its name; NULL: it is not there. */
static char *
beside (const char *path)
{
  char *name = vd_descriptor_name (path);

  if (name && access (name, F_OK) == -1) {
    free (name);
    name = NULL;
  }
  return name;
}

static int
add_older (struct vd_siblings *s, const char *path, struct vd_err *err)
{
  char **more = vd_grow (s->older, s->n, sizeof *more, err);
  char *name = beside (path);

  if (more)
    s->older = more;
  if (!name)
    name = strdup (path);
  if (!more || !name) {
    free (name);
    return vd_fail_nomem (err);
  }
  more[s->n++] = name;
  return 0;
}

static int
add_perhaps (struct sibling_scan *s, const char *name, struct vd_err *err)
{
  char *old = s->result->perhaps, *longer;

  if (s->nr_perhaps++ > MAX_PERHAPS)
    return 0;
  if (asprintf (&longer, "%s%s%s", old ? old : "", old ? ", " : "",
                s->nr_perhaps > MAX_PERHAPS ? "..." : name) == -1)
    return vd_fail_nomem (err);
  free (old);
  s->result->perhaps = longer;
  return 0;
}

static int
try_sibling (void *opaque, int dir, const char *name, const char *path,
             struct vd_err *err)
{
  struct sibling_scan *s = opaque;
  CLEANUP_FREE char *descriptor = NULL;
  const char *stem;
  size_t len;
  const unsigned number = vd_delta_number (name, &stem, &len);

  if (number > 0 && s->number > 0) {
    if (len != s->stem_len || strncasecmp (stem, s->stem, len) != 0 ||
        number <= s->after || number >= s->number ||
        s->result->n == MAX_OLDER || !could_be (s, dir, name, path))
      return 0;
    return add_older (s->result, path, err);
  }
  /* No number in one of the names: only what nothing else speaks for. */
  if (vd_is_flat_name (name) || s->after > 0)
    return 0;
  descriptor = beside (path);
  return !descriptor && could_be (s, dir, name, path)
    ? add_perhaps (s, name, err) : 0;
}

static int
compare_numbers (const void *a, const void *b)
{
  const char *stem;
  size_t len;
  const unsigned x = vd_delta_number (* (char *const *) a, &stem, &len);
  const unsigned y = vd_delta_number (* (char *const *) b, &stem, &len);

  return x < y ? -1 : x > y;
}

/* A directory elsewhere cannot be listed, but names that differ only by the
 * number can be asked for.  In a directory with more snapshots than that, the
 * last ones are there too.
 */
#define MAX_ASKED 32u

static int
ask_elsewhere (struct sibling_scan *s, const struct vd_opts *opts,
               struct vd_err *err)
{
  CLEANUP_FREE char *path = strdup (s->link->path);
  char *number = path ? path + (s->stem - s->link->path) + s->stem_len + 1
    : NULL;
  char digits[16];
  unsigned n = s->after + 1;

  if (!path)
    return vd_fail_nomem (err);
  if (s->number > MAX_ASKED && n < s->number - MAX_ASKED)
    n = s->number - MAX_ASKED;
  for (; n < s->number; ++n) {
    struct vd_file *file;

    snprintf (digits, sizeof digits, "%06u", n);
    memcpy (number, digits, 6);
    file = vd_open (path, opts, err);
    if (file && !is_known (s, file) && add_older (s->result, path, err) == -1) {
      vd_file_close (file);
      return -1;
    }
    if (!file && err->code != VD_NOT_FOUND && err->code != VD_DENIED)
      return -1;
    vd_file_close (file);
  }
  return 0;
}

int
vd_siblings_find (const struct vd_link *link, unsigned after,
                  struct vd_link *const *known, size_t nr_known,
                  const struct vd_opts *opts, struct vd_siblings *result,
                  struct vd_err *err)
{
  struct sibling_scan s = {
    .link = link, .known = known, .nr_known = nr_known, .after = after,
    .result = result,
  };

  *result = (struct vd_siblings) { .n = 0 };
  if (link->role != VD_ROLE_BARE || link->descriptor)
    return 0;
  s.number = vd_delta_number (link->path, &s.stem, &s.stem_len);
  if (vd_is_uri (link->path))
    return s.number > 0 ? ask_elsewhere (&s, opts, err) : 0;
  if (vd_scandir (vd_confine_dir (link->places), try_sibling, &s, err) == -1)
    return -1;
  if (result->n > 0)
    qsort (result->older, result->n, sizeof result->older[0],
           compare_numbers);
  return 0;
}

void
vd_siblings_free (struct vd_siblings *s)
{
  while (s->n > 0)
    free (s->older[--s->n]);
  free (s->older);
  free (s->perhaps);
  *s = (struct vd_siblings) { .n = 0 };
}

char *
vd_siblings_text (const struct vd_siblings *s, const struct vd_link *link)
{
  char *text = NULL;
  size_t n, i;
  FILE *fp = open_memstream (&text, &n);

  if (!fp)
    return NULL;
  for (i = 0; i < s->n; ++i)
    fprintf (fp, "%s, ", s->older[i]);
  fputs (link->path, fp);
  if (fclose (fp) != 0) {
    free (text);
    return NULL;
  }
  return text;
}
