/* The text that names the extents and the parent. */

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "plan.h"

struct text {
  char *s;
  size_t n, room;
  unsigned style;
};

static void
put (struct text *t, const char *s, size_t n)
{
  while (t->n + n + 1 > t->room) {
    t->room = t->room ? t->room * 2 : 1024;
    t->s = mk_grow (t->s, t->room, 1);
  }
  memcpy (t->s + t->n, s, n);
  t->n += n;
  t->s[t->n] = '\0';
}

static void
end_line (struct text *t)
{
  if (t->style & MK_STYLE_CRLF)
    put (t, "\r", 1);
  put (t, "\n", 1);
}

/* Words of the format; VMware's spelling unless the style is another. */
static void __attribute__ ((format (printf, 2, 3)))
words (struct text *t, const char *fmt, ...)
{
  char buf[256];
  va_list args;

  va_start (args, fmt);
  vsnprintf (buf, sizeof buf, fmt, args);
  va_end (args);
  if (t->style & MK_STYLE_LOWER)
    for (char *p = buf; *p; p++)
      *p = (char) tolower ((unsigned char) *p);
  put (t, buf, strlen (buf));
}

static void
line (struct text *t, const char *s)
{
  words (t, "%s", s);
  end_line (t);
}

static void
key (struct text *t, const char *name)
{
  words (t, t->style & MK_STYLE_BLANKS ? "%s = " : "%s=", name);
}

static void
cid (struct text *t, const char *name, uint32_t value)
{
  key (t, name);
  words (t, t->style & MK_STYLE_SHORT_CID ? "%" PRIx32 : "%08" PRIx32, value);
  end_line (t);
}

static void
header (struct text *t, const struct mk_descriptor *d)
{
  line (t, "# Disk DescriptorFile");
  key (t, "version");
  words (t, "%u", d->version ? d->version : 1);
  end_line (t);
  if (t->style & MK_STYLE_UNKNOWN)
    line (t, "x.maker.note=\"a key = of nobody\"");
  if (t->style & MK_STYLE_CID_COMMENT)
    line (t, "# Below is the CID=12345678, and the parentCID=87654321");
  if (t->style & MK_STYLE_BLANK_LINES)
    end_line (t);
  cid (t, "CID", d->cid);
  cid (t, "parentCID", d->parent_cid);
  if (t->style & MK_STYLE_UNKNOWN)
    line (t, "isNativeSnapshot=\"no\"");
  key (t, "createType");
  words (t, "\"%s\"", d->create_type);
  end_line (t);
  if (d->hint) {
    key (t, "parentFileNameHint");
    put (t, "\"", 1);
    put (t, d->hint, strlen (d->hint));
    put (t, "\"", 1);
    end_line (t);
  }
}

static void
extent (struct text *t, const struct mk_line *l)
{
  const char *gap = t->style & MK_STYLE_WIDE ? "  " : " ";

  words (t, "%s%s%" PRIu64 "%s%s", l->access ? l->access : "RW", gap,
         l->sectors, gap, l->type);
  if (l->name) {
    words (t, "%s\"", gap);
    put (t, l->name, strlen (l->name));
    put (t, "\"", 1);
  }
  if (l->offset >= 0)
    words (t, "%s%" PRIi64, gap, l->offset);
}

static void
data_base (struct text *t, const struct mk_descriptor *d)
{
  end_line (t);
  line (t, "# The Disk Data Base ");
  line (t, "#DDB");
  end_line (t);
  if (t->style & MK_STYLE_BLANK_LINES)
    end_line (t);
  line (t, "ddb.adapterType = \"lsilogic\"");
  if (t->style & MK_STYLE_UNKNOWN)
    line (t, "ddb.maker.of.nothing = \"1\"");
  words (t, "ddb.longContentID = \"%024" PRIx64 "%08" PRIx32 "\"",
         mk_hash (d->cid, 1), d->cid);
  end_line (t);
  words (t, "ddb.virtualHWVersion = \"4\"");
}

char *
mk_descriptor (const struct mk_descriptor *d, size_t *len)
{
  static const char zeros[512];
  struct text t = { .style = d->style };

  header (&t, d);
  end_line (&t);
  /* No blank line may come between this comment and the lines: QEMU's scanf
   * would skip it and count the next extent twice.
   */
  line (&t, "# Extent description");
  for (size_t i = 0; i < d->n_lines; i++) {
    if (i)
      end_line (&t);
    extent (&t, &d->lines[i]);
  }
  if (!(d->style & MK_STYLE_NO_DDB)) {
    end_line (&t);
    data_base (&t, d);
  }
  if (!(d->style & MK_STYLE_NO_NEWLINE))
    end_line (&t);
  if (d->style & MK_STYLE_NUL_PAD)
    put (&t, zeros, (size_t) mk_round_up (t.n, 512) - t.n);
  if (d->style & MK_STYLE_NUL_PAD)
    put (&t, zeros, 512);
  if (len)
    *len = t.n;
  return t.s;
}
