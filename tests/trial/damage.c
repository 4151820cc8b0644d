/* Damaging one file of a case, and repairing it; see trial.h. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"
#include "trial.h"

static void
put_out (const struct tr_file *f, size_t from, size_t to)
{
  while (from < to) {
    ssize_t r = pwrite (f->fd, f->now + from, to - from, (off_t) from);

    if (r <= 0) {
      perror (f->name);
      exit (2);
    }
    from += (size_t) r;
  }
}

static void
changed (struct tr_file *f, size_t from, size_t to)
{
  if (f->n_dirty == TR_RANGES)
    abort ();
  f->dirty[f->n_dirty].from = from;
  f->dirty[f->n_dirty++].to = to;
  put_out (f, from, to);
}

static void
set_size (struct tr_file *f, size_t size)
{
  f->now_size = size;
  if (ftruncate (f->fd, (off_t) size) == -1) {
    perror (f->name);
    exit (2);
  }
}

void
tr_put (struct tr_file *f, size_t at, const void *bytes, size_t n)
{
  memcpy (f->now + at, bytes, n);
  changed (f, at, at + n);
}

void
tr_put_text (struct tr_file *f, const char *text, size_t n)
{
  tr_put (f, 0, text, n);
  set_size (f, n);
}

bool
tr_rename (struct tr_case *c, const char *name, const char *to)
{
  struct tr_file *f = NULL;

  for (size_t i = 0; i < c->n_files; i++)
    if (strcmp (c->file[i].name, name) == 0)
      f = &c->file[i];
  if (!f || renameat (c->dir_fd, name, c->dir_fd, to) == -1)
    return false;
  snprintf (f->renamed, sizeof f->renamed, "%s", to);
  return true;
}

void
tr_repair (struct tr_case *c)
{
  for (size_t i = 0; i < c->n_files; i++) {
    struct tr_file *f = &c->file[i];

    if (f->renamed[0]) {
      if (renameat (c->dir_fd, f->renamed, c->dir_fd, f->name) == -1)
        perror (f->renamed);
      f->renamed[0] = '\0';
    }
    if (f->now_size != f->good_size) {
      const size_t from = f->now_size < f->good_size ? f->now_size
        : f->good_size;
      const size_t was = f->now_size;

      memcpy (f->now, f->good, f->good_size);
      set_size (f, f->good_size);
      if (was < f->good_size)
        put_out (f, from, f->good_size);
    }
    while (f->n_dirty > 0) {
      const size_t from = f->dirty[--f->n_dirty].from;
      size_t to = f->dirty[f->n_dirty].to;

      if (to > f->good_size)
        to = f->good_size;
      if (from >= to)
        continue;
      memcpy (f->now + from, f->good + from, to - from);
      put_out (f, from, to);
    }
  }
}

/* Another value for a number of so many bytes. */
static uint64_t
draw_value (struct mk_rng *r, const struct tr_file *f,
            const struct tr_field *field, uint64_t v)
{
  const uint64_t mask = field->bytes == 8 ? UINT64_MAX
    : (UINT64_C (1) << field->bytes * 8) - 1;
  static const uint64_t special[] = {
    0, 1, 2, 3, 4, 8, 127, 128, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe,
    0xffffffff, UINT64_C (0x100000000), INT64_MAX, UINT64_MAX - 1,
    UINT64_MAX, UINT64_C (1) << 54, UINT64_C (1) << 55, 512,
  };

  switch (mk_rng_below (r, 9)) {
  case 0:
    return mk_rng_next (r) & mask;
  case 1:
    return special[mk_rng_below (r, sizeof special / sizeof special[0])]
      & mask;
  case 2:
    return (v ^ UINT64_C (1) << mk_rng_below (r, field->bytes * 8)) & mask;
  case 3:
    return (v + 1 + mk_rng_below (r, 16)) & mask;
  case 4:
    return (v - 1 - mk_rng_below (r, 16)) & mask;
  case 5:
    return (mk_rng_chance (r, 500) ? v * 2 : v / 2) & mask;
  case 6:                       /* a place in the file, or just behind it */
    return mk_rng_below (r, f->good_size / 512 + 3) & mask;
  default: {                    /* what another field of the kind holds */
    const size_t from = field - f->fields < (ptrdiff_t) f->n_header ? 0
      : f->n_header;
    const size_t n = from ? f->n_fields - from : f->n_header;
    const struct tr_field *other = &f->fields[from + mk_rng_below (r, n)];

    return tr_le (f->now + other->off, other->bytes) & mask;
  }
  }
}

static const char *
change_field (struct tr_file *f, struct mk_rng *r, char *how, size_t n)
{
  const size_t i = f->n_fields > f->n_header && mk_rng_chance (r, 550)
    ? f->n_header + mk_rng_below (r, f->n_fields - f->n_header)
    : mk_rng_below (r, f->n_header);
  const struct tr_field *field = &f->fields[i];
  const uint64_t was = tr_le (f->now + field->off, field->bytes);
  uint64_t v = draw_value (r, f, field, was);
  uint8_t b[8];

  if (v == was)
    v ^= 1;
  mk_put64 (b, v);
  memcpy (f->now + field->off, b, field->bytes);
  changed (f, field->off, field->off + field->bytes);
  snprintf (how, n, "%s at %" PRIu64 ": %" PRIx64 " -> %" PRIx64,
            field->name, field->off, was, v);
  return field->name;
}

/* Somewhere, but mostly where it matters. */
static size_t
somewhere (const struct tr_file *f, struct mk_rng *r)
{
  uint64_t below = f->good_size;

  if (mk_rng_chance (r, 600) && f->important < below)
    below = f->important;
  if (mk_rng_chance (r, 200) && below > 4096)
    below = 4096;
  return (size_t) mk_rng_below (r, below);
}

static void
change_byte (struct tr_file *f, struct mk_rng *r, char *how, size_t n)
{
  const size_t at = somewhere (f, r);
  const uint8_t was = f->now[at];

  f->now[at] = (uint8_t) (mk_rng_chance (r, 500) ? was ^ 1u << mk_rng_below (r, 8)
                          : mk_rng_next (r));
  if (f->now[at] == was)
    f->now[at] ^= 0x80;
  changed (f, at, at + 1);
  snprintf (how, n, "byte %zu: %02x -> %02x", at, was, f->now[at]);
}

static void
cut (struct tr_file *f, struct mk_rng *r, char *how, size_t n)
{
  size_t size = (size_t) mk_rng_below (r, f->good_size);

  if (mk_rng_chance (r, 500))
    size &= ~(size_t) 511;
  if (mk_rng_chance (r, 300))
    size = f->good_size - 1 - mk_rng_below (r, f->good_size < 5000
                                            ? f->good_size : 5000);
  set_size (f, size);
  snprintf (how, n, "cut from %zu to %zu bytes", f->good_size, size);
}

static void
swap_sectors (struct tr_file *f, struct mk_rng *r, char *how, size_t n)
{
  const size_t sectors = f->good_size / 512;
  size_t a = somewhere (f, r) / 512, b = somewhere (f, r) / 512;
  uint8_t s[512];

  if (a >= sectors || b >= sectors || a == b) {
    a = 0;
    b = sectors - 1;
  }
  memcpy (s, f->now + a * 512, 512);
  memcpy (f->now + a * 512, f->now + b * 512, 512);
  memcpy (f->now + b * 512, s, 512);
  changed (f, a * 512, a * 512 + 512);
  changed (f, b * 512, b * 512 + 512);
  snprintf (how, n, "sectors %zu and %zu swapped", a, b);
}

static void
lose_sectors (struct tr_file *f, struct mk_rng *r, char *how, size_t n)
{
  const size_t at = somewhere (f, r) / 512 * 512;
  size_t to = at + 512 * (1 + mk_rng_below (r, 8));

  if (to > f->good_size)
    to = f->good_size;
  memset (f->now + at, 0, to - at);
  changed (f, at, to);
  snprintf (how, n, "bytes %zu to %zu are zeros", at, to);
}

/* The beginning or a part of it is that of another file of the format. */
static bool
splice (struct tr_case *c, struct tr_file *f, struct mk_rng *r, char *how,
        size_t n)
{
  const struct tr_case *from = c->donor && mk_rng_chance (r, 700) ? c->donor
    : c;
  const struct tr_file *other = NULL;
  size_t at = 0, to, i;

  for (i = 0; i < 8; i++) {
    other = &from->file[mk_rng_below (r, from->n_files)];
    if (other != f && other->format == f->format)
      break;
  }
  if (i == 8)
    return false;
  if (mk_rng_chance (r, 600))
    at = somewhere (f, r) & ~(size_t) 511;
  to = at + 512 * (1 + (size_t) mk_rng_below (r, mk_rng_chance (r, 500) ? 4 : 256));
  if (to > other->good_size)
    to = other->good_size;
  if (to > f->good_size)
    to = f->good_size;
  if (to <= at)
    return false;
  memcpy (f->now + at, other->good + at, to - at);
  changed (f, at, to);
  snprintf (how, n, "bytes %zu to %zu are those of %s in %s", at, to,
            other->name, from->dir);
  return true;
}

/* Lines: the start of line i and that of the next one. */
static void
find_line (const char *text, size_t n, size_t i, size_t *from, size_t *to)
{
  for (*from = 0; ; i--) {
    const char *end = memchr (text + *from, '\n', n - *from);

    *to = end ? (size_t) (end - text) + 1 : n;
    if (i == 0 || *to == n)
      return;
    *from = *to;
  }
}

static size_t
change_text (char *text, size_t n, size_t room, struct mk_rng *r,
             const char **field)
{
  static const char some[] =
    "0123456789abcdefFRWSP#\"= \t\n\r.-_/\\x\x01\xff";
  size_t lines = 1, from, to, at, len;

  for (at = 0; at < n; at++)
    lines += text[at] == '\n';
  find_line (text, n, mk_rng_below (r, lines), &from, &to);
  len = to - from;
  at = (size_t) mk_rng_below (r, n);
  switch (mk_rng_below (r, 8)) {
  case 0:
    *field = "text: line lost";
    memmove (text + from, text + to, n - to);
    return n - len;
  case 1:
    *field = "text: line doubled";
    if (n + len > room)
      return n;
    memmove (text + to, text + from, n - from);
    return n + len;
  case 2:
    *field = "text: character lost";
    memmove (text + at, text + at + 1, n - at - 1);
    return n - 1;
  case 3:
    *field = "text: character put in";
    if (n + 1 > room)
      return n;
    memmove (text + at + 1, text + at, n - at);
    text[at] = some[mk_rng_below (r, sizeof some - 1)];
    return n + 1;
  case 4:
  case 5:                       /* a digit, so that it may still make sense */
    *field = "text: digit";
    for (len = 0; len < n; len++, at = (at + 1) % n)
      if (text[at] >= '0' && text[at] <= '9')
        break;
    text[at] = (char) ('0' + mk_rng_below (r, 10));
    return n;
  case 6:
    *field = "text: parentCID";
    for (at = 0; at + 18 < n; at++)
      if (memcmp (text + at, "parentCID=", 10) == 0) {
        memcpy (text + at + 10, "ffffffff", 8);
        break;
      }
    return n;
  default:
    *field = "text: character";
    text[at] = some[mk_rng_below (r, sizeof some - 1)];
    return n;
  }
}

static const char *
damage_text (struct tr_file *f, struct mk_rng *r, char *how, size_t n)
{
  const size_t at = f->format == TR_TEXT ? 0 : f->text;
  const size_t room = f->format == TR_TEXT ? f->room : f->text_room;
  char *text = (char *) f->now + at;
  const size_t len = f->format == TR_TEXT ? f->good_size
    : strnlen (text, room);
  const char *field = "text";
  size_t now = change_text (text, len, room, r, &field);

  if (now < len)
    memset (text + now, 0, len - now);
  changed (f, at, at + (now > len ? now : len));
  if (f->format == TR_TEXT)
    set_size (f, now);
  snprintf (how, n, "%s", field);
  return field;
}

void
tr_damage (struct tr_case *c, struct mk_rng *r, const char **what,
           const char **field, char *how, size_t n)
{
  struct tr_file *f;
  unsigned dice;

  do
    f = &c->file[mk_rng_below (r, c->n_files)];
  while (f->apart);
  *field = NULL;
  snprintf (how, n, "%s: ", f->name);
  n -= strlen (how);
  how += strlen (how);
  dice = (unsigned) mk_rng_below (r, 100);
  if (dice < 45 && f->n_fields > 0) {
    *what = "field";
    *field = change_field (f, r, how, n);
  }
  else if (dice < 60 && (f->format == TR_TEXT || f->text_room > 0)) {
    *what = "text";
    *field = damage_text (f, r, how, n);
  }
  else if (dice < 72) {
    *what = "cut";
    cut (f, r, how, n);
  }
  else if (dice < 80 && f->good_size >= 1024) {
    *what = "swap";
    swap_sectors (f, r, how, n);
  }
  else if (dice < 86) {
    *what = "lost";
    lose_sectors (f, r, how, n);
  }
  else if (dice >= 93 || !splice (c, f, r, how, n)) {
    *what = "byte";
    change_byte (f, r, how, n);
  }
  else
    *what = "splice";
}
