/* What the files of a case say; see trial.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "trial.h"

/* What a descriptor says, besides its extents. */
struct text {
  bool cid, parent;
  uint32_t cid_value, parent_value;
  char hint[64];
};

/* What a link says of its parent. */
struct up {
  enum { NONE, BY_NAME, BY_UUID, UNKNOWN } how;
  struct text text;
  const uint8_t *uuid;
};

static bool
number (const char *s, unsigned base, uint64_t max, uint64_t *n)
{
  char *end;

  if (!isxdigit ((unsigned char) *s) || strlen (s) > 19)
    return false;
  *n = strtoull (s, &end, (int) base);
  return *end == '\0' && *n <= max;
}

/* key = value, the value perhaps in quotes. */
static bool
assignment (char *line, struct text *t)
{
  char *value = strchr (line, '='), *end;
  uint64_t n;

  for (end = value; end > line && (end[-1] == ' ' || end[-1] == '\t'); end--)
    ;
  *end = '\0';
  for (value++; *value == ' ' || *value == '\t'; value++)
    ;
  if (*value == '"') {
    end = strchr (++value, '"');
    if (!end || end[1 + strspn (end + 1, " \t")] != '\0')
      return false;
    *end = '\0';
  }
  for (end = value + strlen (value);
       end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
    end[-1] = '\0';
  if (strcasecmp (line, "version") == 0)
    return number (value, 10, 4, &n) && n >= 1 && isdigit ((unsigned char) *value);
  if (strcasecmp (line, "CID") == 0) {
    if (t->cid || strlen (value) > 8 || !number (value, 16, UINT32_MAX, &n))
      return false;
    t->cid = true;
    t->cid_value = (uint32_t) n;
  }
  if (strcasecmp (line, "parentCID") == 0) {
    if (t->parent || strlen (value) > 8 ||
        !number (value, 16, UINT32_MAX, &n))
      return false;
    t->parent = true;
    t->parent_value = (uint32_t) n;
  }
  if (strcasecmp (line, "parentFileNameHint") == 0) {
    if (t->hint[0] || strlen (value) >= sizeof t->hint)
      return false;
    strcpy (t->hint, value);
  }
  return true;
}

/* The next word of *p; NULL at the end. */
static char *
word (char **p)
{
  char *w = *p + strspn (*p, " \t");

  if (*w == '\0')
    return NULL;
  *p = w + strcspn (w, " \t");
  if (**p)
    *(*p)++ = '\0';
  return w;
}

/* access sectors type "name" offset; false: it makes no sense */
static bool
extent_line (const struct tr_case *c, char *line, const struct tr_file *self,
             struct tr_disk_link *l)
{
  char *access = word (&line), *count = word (&line), *type = word (&line);
  struct tr_extent *e = &l->extent[l->n];
  const struct tr_file *file;
  char *name, *end;
  uint64_t n, offset = 0;

  if (l->n == 8 || !count || !type || !isdigit ((unsigned char) *count) ||
      !number (count, 10, UINT64_MAX / 1024, &n) || n == 0)
    return false;
  memset (e, 0, sizeof *e);
  if (strcasecmp (type, "ZERO") != 0) {
    line += strspn (line, " \t");
    if (*line != '"')
      return false;
    name = line + 1;
    end = strchr (name, '"');
    if (!end)
      return false;
    *end = '\0';
    line = end + 1;
    if ((end = word (&line)) != NULL &&
        (!isdigit ((unsigned char) *end) ||
         !number (end, 10, UINT64_MAX / 1024, &offset)))
      return false;
    file = self ? self : tr_find_file (c, name);
    if (strcasecmp (access, "NOACCESS") == 0)
      ;
    else if (strcasecmp (type, "FLAT") == 0 || strcasecmp (type, "VMFS") == 0) {
      if (self || !file || offset > file->now_size / 512 ||
          n > (file->now_size - offset * 512) / 512)
        return false;
      e->file = file;
      e->flat = true;
      e->offset = offset * 512;
    }
    else if (strcasecmp (type, "SPARSE") == 0 ||
             strcasecmp (type, "VMFSSPARSE") == 0 ||
             strcasecmp (type, "SESPARSE") == 0) {
      if (!file || offset || !tr_extent_open (e, file) ||
          e->table_entries == 0 || e->capacity / 512 < n)
        return false;
    }
    else
      return false;
  }
  e->start = l->size;
  e->length = n * 512;
  l->size += e->length;
  l->n++;
  return l->size <= UINT64_C (1) << 62;
}

static bool
read_text (const struct tr_case *c, const uint8_t *p, size_t n,
           const struct tr_file *self, struct tr_disk_link *l, struct up *up)
{
  char text[16384], *line = text, *end;
  bool whole;

  n = strnlen ((const char *) p, n);
  if (n >= sizeof text)
    return false;
  memcpy (text, p, n);
  text[n] = '\0';
  for (; *line; line = end) {
    end = line + strcspn (line, "\n");
    whole = *end != '\0';
    if (whole)
      *end++ = '\0';
    if (*line && line[strlen (line) - 1] == '\r')
      line[strlen (line) - 1] = '\0';
    for (const char *q = line; *q; q++)
      if ((unsigned char) *q < ' ' && *q != '\t')
        return false;
    line += strspn (line, " \t");
    if (*line == '#' || *line == '\0')
      continue;
    if (strncasecmp (line, "RW ", 3) == 0 ||
        strncasecmp (line, "RDONLY ", 7) == 0 ||
        strncasecmp (line, "NOACCESS ", 9) == 0) {
      /* without its end, a line may have said more */
      if (!whole || !extent_line (c, line, self, l))
        return false;
    }
    else if (!isalpha ((unsigned char) *line) || !strchr (line, '=') ||
             !assignment (line, &up->text))
      return false;
  }
  if (l->n == 0 || !up->text.cid || !up->text.parent)
    return false;
  up->how = up->text.parent_value == 0xffffffff ? NONE
    : up->text.hint[0] ? BY_NAME : UNKNOWN;
  return true;
}

static bool
open_link (const struct tr_case *c, const struct tr_file *f,
           struct tr_disk_link *l, struct up *up)
{
  struct tr_extent *e = &l->extent[0], whole;

  memset (l, 0, sizeof *l);
  memset (up, 0, sizeof *up);
  if (f->now_size > 0 && f->now[0] == '#')
    return read_text (c, f->now, f->now_size, NULL, l, up);
  if (!tr_extent_open (e, f))
    return false;
  l->n = 1;
  l->size = e->length = e->capacity;
  if (e->table_entries == 0) {
    static const uint8_t null[16];

    up->uuid = f->now + 0x1a8;
    up->how = memcmp (up->uuid, null, 16) == 0 ? NONE : BY_UUID;
    return true;
  }
  up->how = UNKNOWN;
  if (e->text_size == 0)
    return true;
  whole = *e;
  l->n = 0;
  l->size = 0;
  return read_text (c, f->now + whole.text, (size_t) whole.text_size, f, l,
                    up) && l->n == 1 && l->extent[0].file == f;
}

static const struct tr_file *
find_uuid (const struct tr_case *c, const uint8_t *uuid)
{
  const struct tr_file *found = NULL;

  for (size_t i = 0; i < c->n_files; i++) {
    const struct tr_file *f = &c->file[i];

    if (f->now_size < 0x1d8 || tr_le (f->now + 0x40, 4) != 0xbeda107f ||
        memcmp (f->now + 0x188, uuid, 16) != 0)
      continue;
    if (found)
      return NULL;
    found = f;
  }
  return found;
}

bool
tr_meaning_open (struct tr_meaning *m, const struct tr_case *c)
{
  const struct tr_file *f = &c->file[c->newest], *parent;
  struct tr_disk_link ignored;
  struct up up, parents;

  m->c = c;
  for (m->n = 0; ; f = parent) {
    if (m->n == TR_MEANING_LINKS ||
        !open_link (c, f, &m->link[m->n], &up))
      return false;
    m->n++;
    m->size = m->link[0].size;
    if (c->filter && (up.how == NONE || up.how == BY_UUID))
      return false;
    if (up.how == NONE)
      return true;
    if (up.how == UNKNOWN)
      return c->filter && m->n == 1;
    parent = up.how == BY_UUID ? find_uuid (c, up.uuid)
      : tr_find_file (c, up.text.hint);
    if (!parent || parent == f || !open_link (c, parent, &ignored, &parents))
      return false;
    if (up.how == BY_NAME &&
        (!parents.text.cid || parents.text.cid_value != up.text.parent_value))
      return false;
    if (c->filter && parents.how == NONE)
      return true;
  }
}

bool
tr_meaning_read (const struct tr_meaning *m, uint64_t sector,
                 uint8_t out[512])
{
  const uint64_t off = sector * 512;
  size_t n = 512;               /* behind it some link has ended */

  memset (out, 0, 512);
  for (size_t k = 0; k < m->n; k++) {
    const struct tr_disk_link *l = &m->link[k];
    enum tr_kind kind;
    size_t i;

    if (off >= l->size)
      return true;
    for (i = 0; off - l->extent[i].start >= l->extent[i].length; i++)
      ;
    kind = tr_extent_read (&l->extent[i], m->c,
                           sector - l->extent[i].start / 512, out);
    if (kind == TR_BAD)
      return false;
    if (l->size - off < n)
      n = (size_t) (l->size - off);
    if (kind != TR_BELOW) {
      memset (out + n, 0, 512 - n);
      return true;
    }
    memset (out, 0, 512);
  }
  if (m->c->filter) {
    const struct tr_file *base = &m->c->file[m->c->base];

    if (off < base->now_size)
      memcpy (out, base->now + off, base->now_size - off < 512 ?
              (size_t) (base->now_size - off) : 512);
  }
  memset (out + n, 0, 512 - n);
  return true;
}
