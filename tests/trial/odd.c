/* What is odd, but no damage: descriptors as editors, other systems and other
 * programs leave them, and names in other encodings.  The disk has to read as
 * before.  And what looks like a disk, but is none: a container where the raw
 * base was, which has to be refused.  See trial.h.
 */

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"
#include "trial.h"

#define MAX_LINES 64u
#define MAX_LINE 320u

struct text {
  char line[MAX_LINES][MAX_LINE];
  size_t n;
  const char *end;              /* of each line */
  const char *before, *behind;  /* the whole */
};

static void
split (struct text *t, const char *text, size_t n)
{
  size_t at = 0;

  *t = (struct text) { .end = "\n", .before = "", .behind = "" };
  while (at < n && t->n < MAX_LINES) {
    const char *nl = memchr (text + at, '\n', n - at);
    size_t len = nl ? (size_t) (nl - text) - at : n - at;
    const size_t next = at + len + 1;

    if (len > 0 && text[at + len - 1] == '\r') {
      len--;
      t->end = "\r\n";
    }
    snprintf (t->line[t->n++], MAX_LINE, "%.*s", (int) len, text + at);
    at = next;
  }
}

/* Bytes of the text, or 0: there is no room. */
static size_t
join (const struct text *t, char *text, size_t room)
{
  size_t n = 0;

  n += (size_t) snprintf (text + n, room - n, "%s", t->before);
  for (size_t i = 0; i < t->n; i++) {
    n += (size_t) snprintf (text + n, room - n, "%s%s", t->line[i], t->end);
    if (n >= room)
      return 0;
  }
  n += (size_t) snprintf (text + n, room - n, "%s", t->behind);
  return n >= room ? 0 : n;
}

static void
insert (struct text *t, size_t at, const char *fs, ...)
{
  va_list args;

  if (t->n == MAX_LINES)
    return;
  memmove (t->line[at + 1], t->line[at], (t->n - at) * MAX_LINE);
  t->n++;
  va_start (args, fs);
  vsnprintf (t->line[at], MAX_LINE, fs, args);
  va_end (args);
}

static bool
is_extent (const char *line)
{
  return strncmp (line, "RW ", 3) == 0 || strncmp (line, "RDONLY ", 7) == 0 ||
    strncmp (line, "NOACCESS ", 9) == 0;
}

static bool
is_key (const char *line)
{
  return isalpha ((unsigned char) line[0]) && !is_extent (line) &&
    strchr (line, '=');
}

/* A line of the kind, or SIZE_MAX. */
static size_t
draw_line (const struct text *t, struct mk_rng *r, bool (*is) (const char *))
{
  size_t found = SIZE_MAX, seen = 0;

  for (size_t i = 0; i < t->n; i++)
    if (is (t->line[i]) && mk_rng_below (r, ++seen) == 0)
      found = i;
  return found;
}

/* ---- The changes, each to a text ------------------------------------------- */

static bool
line_ends (struct text *t, struct mk_rng *r)
{
  (void) r;
  t->end = strcmp (t->end, "\n") == 0 ? "\r\n" : "\n";
  return true;
}

static bool
byte_order_mark (struct text *t, struct mk_rng *r)
{
  (void) r;
  t->before = "\xef\xbb\xbf";
  return true;
}

static bool
control_z (struct text *t, struct mk_rng *r)
{
  t->behind = mk_rng_chance (r, 500) ? "\x1a" : "\r\n\x1a";
  return true;
}

static bool
comment (struct text *t, struct mk_rng *r)
{
  static const char *const some[] = {
    "# a comment", ";a comment", "// a comment", "#", "  # CID=12345678",
    "# RW 7 FLAT \"x\" 0", "",
    "   \t ",
  };

  insert (t, 1 + mk_rng_below (r, t->n), "%s",
          some[mk_rng_below (r, sizeof some / sizeof some[0])]);
  return true;
}

static bool
unknown_key (struct text *t, struct mk_rng *r)
{
  static const char *const some[] = {
    "isNativeSnapshot=\"no\"", "ddb.comment = \"x=y\"", "ddb.iofilters = \"\"",
    "ddb.thinProvisioned = \"1\"", "ddb.longContentID = "
    "\"0123456789abcdef0123456789abcdef\"", "nobodyKnowsThis=1",
  };
  const size_t i = draw_line (t, r, is_key);

  if (i == SIZE_MAX)
    return false;
  insert (t, i, "%s", some[mk_rng_below (r, sizeof some / sizeof some[0])]);
  return true;
}

static bool
twice (struct text *t, struct mk_rng *r)
{
  const size_t i = draw_line (t, r, is_key);
  char copy[MAX_LINE];

  if (i == SIZE_MAX)
    return false;
  snprintf (copy, sizeof copy, "%s", t->line[i]);
  insert (t, i, "%s", copy);
  return true;
}

static bool
spaces (struct text *t, struct mk_rng *r)
{
  const size_t i = draw_line (t, r, is_key);
  char was[MAX_LINE - 16], *equals;
  static const char *const some[] = { " ", "\t", "  ", "" };

  if (i == SIZE_MAX)
    return false;
  snprintf (was, sizeof was, "%s", t->line[i]);
  equals = strchr (was, '=');
  *equals++ = '\0';
  while (equals > was + 1 && *equals == ' ')
    equals++;
  snprintf (t->line[i], MAX_LINE, "%s%s%s=%s%s%s", some[mk_rng_below (r, 4)],
            was, some[mk_rng_below (r, 4)], some[mk_rng_below (r, 4)], equals,
            some[mk_rng_below (r, 4)]);
  return true;
}

static bool
letter_case (struct text *t, struct mk_rng *r)
{
  const size_t i = draw_line (t, r, is_key);

  if (i == SIZE_MAX)
    return false;
  for (char *p = t->line[i]; *p && *p != '='; p++)
    *p = (char) (mk_rng_chance (r, 500) ? toupper ((unsigned char) *p)
                 : tolower ((unsigned char) *p));
  return true;
}

/* Keys change places; extents do not. */
static bool
order (struct text *t, struct mk_rng *r)
{
  const size_t a = draw_line (t, r, is_key), b = draw_line (t, r, is_key);
  char was[MAX_LINE];

  if (a == b || a == SIZE_MAX ||
      (strncasecmp (t->line[a], "ddb", 3) == 0) !=
      (strncasecmp (t->line[b], "ddb", 3) == 0))
    return false;
  memcpy (was, t->line[a], MAX_LINE);
  memcpy (t->line[a], t->line[b], MAX_LINE);
  memcpy (t->line[b], was, MAX_LINE);
  return true;
}

static bool
bad_byte (struct text *t, struct mk_rng *r)
{
  if (t->n == 0 || strncmp (t->line[t->n - 1], "ddb.", 4) != 0)
    return false;
  insert (t, t->n, "ddb.toolsVersion = \"%c\"",
          0x80 + (int) mk_rng_below (r, 0x40));
  return true;
}

/* The name of an extent or of the parent, as another system writes it. */
static bool
elsewhere (struct text *t, struct mk_rng *r)
{
  static const char *const some[] = {
    "./%s", ".\\%s", "C:\\Virtual Machines\\vm\\%s", "D:/vms/%s",
    "\\\\server\\share\\vm\\%s", "/vmfs/volumes/4d2f-11/vm/%s",
    "[datastore1] vm/%s", "/home/someone/vmware/%s", "vm\\%s",
  };
  char name[64], *q, *end, *line;
  size_t i;

  for (i = 0; i < 8; i++) {
    line = t->line[mk_rng_below (r, t->n)];
    q = strstr (line, "\"vm");
    end = q ? strchr (q + 1, '"') : NULL;
    if (end && end - q < 40 && (is_extent (line) ||
                                strncasecmp (line, "parentFileNameHint", 18) == 0))
      break;
  }
  if (i == 8)
    return false;
  snprintf (name, sizeof name, "%.*s", (int) (end - q - 1), q + 1);
  {
    char tail[MAX_LINE], full[128];

    snprintf (tail, sizeof tail, "%s", end);
    snprintf (full, sizeof full,
              some[mk_rng_below (r, sizeof some / sizeof some[0])], name);
    snprintf (q + 1, MAX_LINE - (size_t) (q + 1 - line), "%s%s", full, tail);
  }
  return true;
}

/* The last component in capitals: from a system where case does not matter. */
static bool
capitals (struct text *t, struct mk_rng *r)
{
  char *q, *line = t->line[mk_rng_below (r, t->n)];

  if (!is_extent (line) || !(q = strstr (line, "\"vm")))
    return false;
  for (; *q; q++)
    *q = (char) toupper ((unsigned char) *q);
  return true;
}

static const struct odd {
  const char *name;
  bool (*change) (struct text *t, struct mk_rng *r);
} odds[] = {
  { "line ends", line_ends }, { "byte order mark", byte_order_mark },
  { "control-Z", control_z }, { "comment", comment },
  { "unknown key", unknown_key }, { "key twice", twice },
  { "spaces", spaces }, { "letter case of a key", letter_case },
  { "order of keys", order }, { "bad byte", bad_byte },
  { "name from elsewhere", elsewhere }, { "capitals", capitals },
};

/* ---- Names in other encodings ------------------------------------------------ */

static const struct {
  const char *encoding, *bytes, *utf8;
} alphabets[] = {
  { "windows-1252", "Gr\xf6\xdf" "e", "Gr\xc3\xb6\xc3\x9f" "e" },
  { "windows-1251", "\xc4\xe8\xf1\xea", "\xd0\x94\xd0\xb8\xd1\x81\xd0\xba" },
  { "GBK", "\xb4\xc5\xc5\xcc", "\xe7\xa3\x81\xe7\x9b\x98" },
  { "Shift_JIS", "\x83\x5c\x83\x74", "\xe3\x82\xbd\xe3\x83\x95" },
  { "Big5", "\xba\xcf\xba\xd0", "\xe7\xa3\x81\xe7\xa2\x9f" },
  { "EUC-KR", "\xb5\xf0\xbd\xba\xc5\xa9",
    "\xeb\x94\x94\xec\x8a\xa4\xed\x81\xac" },
  { "UTF-8", "\xd0\x94\xd0\xb8\xd1\x81\xd0\xba",
    "\xd0\x94\xd0\xb8\xd1\x81\xd0\xba" },
};

/* An extent gets a name that its descriptor spells in the descriptor's own
 * encoding; on this system it has it in UTF-8, or as the bytes that were copied.
 */
static bool
foreign_name (struct tr_case *c, struct text *t, struct mk_rng *r)
{
  const size_t a = mk_rng_below (r, sizeof alphabets / sizeof alphabets[0]);
  const size_t i = draw_line (t, r, is_extent);
  char name[40], tail[MAX_LINE], to[64], *q, *end;

  q = i == SIZE_MAX ? NULL : strstr (t->line[i], "\"vm");
  end = q ? strchr (q + 1, '"') : NULL;
  if (!end || end - q > 30)
    return false;
  snprintf (name, sizeof name, "%.*s", (int) (end - q - 1), q + 1);
  for (size_t k = 0; k < t->n; k++) {
    /* one extent, one line; and no encoding yet that says otherwise */
    if (k != i && strstr (t->line[k], name))
      return false;
    if (strncmp (t->line[k], "encoding=", 9) == 0)
      snprintf (t->line[k], MAX_LINE, "encoding=\"%s\"", alphabets[a].encoding);
  }
  if (!tr_find_file (c, name) ||
      tr_find_file (c, name) == &c->file[c->newest])
    return false;
  snprintf (to, sizeof to, "%s-%s",
            mk_rng_chance (r, 700) ? alphabets[a].utf8 : alphabets[a].bytes,
            name);
  if (!tr_rename (c, name, to))
    return false;
  snprintf (tail, sizeof tail, "%s", end);
  snprintf (q + 1, MAX_LINE - (size_t) (q + 1 - t->line[i]), "%s-%s%s",
            alphabets[a].bytes, name, tail);
  for (size_t k = 0; k < t->n; k++)
    if (strncmp (t->line[k], "encoding=", 9) == 0)
      return true;
  insert (t, 1, "encoding=\"%s\"", alphabets[a].encoding);
  return true;
}

bool
tr_odd (struct tr_case *c, struct mk_rng *r, const char **what, char *how,
        size_t n)
{
  struct text *t;
  struct tr_file *f = NULL;
  size_t len, changes = 1 + mk_rng_below (r, 3), i, room;
  char *now;
  bool any = false, inside;

  for (i = 0; i < 16; i++) {
    f = &c->file[mk_rng_below (r, c->n_files)];
    if (!f->apart && (f->format == TR_TEXT || f->text_room > 0))
      break;
  }
  if (i == 16)
    return false;
  t = mk_alloc (1, sizeof *t);
  inside = f->format != TR_TEXT;
  room = inside ? f->text_room : f->room;
  now = (char *) f->good + (inside ? f->text : 0);
  split (t, now, inside ? strnlen (now, room) : f->good_size);
  snprintf (how, n, "%s: ", f->name);
  if (!inside && mk_rng_chance (r, 200) && foreign_name (c, t, r)) {
    *what = "odd: name in an encoding";
    snprintf (how + strlen (how), n - strlen (how), "%s", *what);
    any = true;
    changes--;
  }
  for (i = 0; i < changes; i++) {
    const struct odd *o = &odds[mk_rng_below (r, sizeof odds / sizeof odds[0])];

    if (any && (o->change == elsewhere || o->change == capitals))
      continue;                 /* each alone is enough for a name */
    if (!o->change (t, r))
      continue;
    if (!any)
      *what = o->name;
    any = true;
    snprintf (how + strlen (how), n - strlen (how), "%s; ", o->name);
  }
  now = mk_alloc (room, 1);
  len = any ? join (t, now, room) : 0;
  if (len > 0 && inside)
    tr_put (f, f->text, now, room);     /* padded with zeros */
  else if (len > 0)
    tr_put_text (f, now, len);
  else
    tr_repair (c);
  free (now);
  free (t);
  return len > 0;
}

/* ---- Containers ---------------------------------------------------------------- */

bool
tr_contain (struct tr_case *c, struct mk_rng *r, const char **what, char *how,
            size_t n)
{
  static const struct {
    const char *what;
    size_t at;
    const char *bytes;
    size_t n;
  } some[] = {
#define MAGIC(w, at, s) { w, at, s, sizeof s - 1 }
    MAGIC ("base: qcow2", 0, "QFI\xfb\0\0\0\3"),
    MAGIC ("base: QED", 0, "QED\0"),
    MAGIC ("base: VHDX", 0, "vhdxfile"),
    MAGIC ("base: dynamic VHD", 0, "conectix\0\0\0\2\0\1\0\0\0\0\0\0\0\0\2\0"
           "........................................\0\0\0\3"),
    MAGIC ("base: Parallels", 0, "WithoutFreeSpace\2\0\0\0"),
    MAGIC ("base: Parallels", 0, "WithouFreSpacExt\2\0\0\0"),
    MAGIC ("base: sparse VMDK", 0, "KDMV\1\0\0\0\3\0\0\0"),
    MAGIC ("base: VDI", 64, "\x7f\x10\xda\xbe\1\0\1\0"),
    MAGIC ("base: gzip", 0, "\x1f\x8b\x08\0"),
    MAGIC ("base: xz", 0, "\xfd" "7zXZ\0"),
    MAGIC ("base: zstd", 0, "\x28\xb5\x2f\xfd"),
    MAGIC ("base: zip", 0, "PK\3\4\x14\0"),
#undef MAGIC
  };
  struct tr_file *base = NULL;
  size_t k, i;

  for (i = 0; i < c->n_files && !base; i++)
    if (strcmp (c->file[i].name, "vm-flat.vmdk") == 0)
      base = &c->file[i];
  k = mk_rng_below (r, sizeof some / sizeof some[0]);
  if (!base || base->good_size < 4096 || c->size < 4096)
    return false;
  tr_put (base, some[k].at, some[k].bytes, some[k].n);
  *what = some[k].what;
  snprintf (how, n, "%s is %s", base->name, some[k].what + 6);
  return true;
}
