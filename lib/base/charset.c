/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Converting names, and comparing them; see charset.h. */

#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/charset.h"
#include "base/cleanup.h"
#include "base/utf8.h"

/* No path is longer. */
#define MAX_NAME 8192u

/* How writers spell them (here in lower case, without what is neither letter
 * nor digit), and iconv.  Where a vendor's superset exists it is taken: that is
 * what Windows means by the name of the standard.
 */
static const struct charset {
  const char *name;
  const char *iconv;
  bool wide;                    /* characters of two bytes */
} charsets[] = {
  { "gbk", "CP936", true }, { "gb2312", "CP936", true },
  { "gb231280", "CP936", true }, { "xgbk", "CP936", true },
  { "cp936", "CP936", true }, { "ms936", "CP936", true },
  { "windows936", "CP936", true }, { "windows9362000", "CP936", true },
  { "euccn", "CP936", true }, { "gb18030", "GB18030", true },
  { "big5", "CP950", true }, { "cp950", "CP950", true },
  { "ms950", "CP950", true }, { "windows950", "CP950", true },
  { "windows9502000", "CP950", true }, { "xbig5", "CP950", true },
  { "big5hkscs", "BIG5-HKSCS", true },
  { "shiftjis", "CP932", true }, { "sjis", "CP932", true },
  { "xsjis", "CP932", true }, { "mskanji", "CP932", true },
  { "cp932", "CP932", true }, { "ms932", "CP932", true },
  { "windows31j", "CP932", true }, { "windows932", "CP932", true },
  { "ibm943", "CP932", true }, { "ibm943c", "CP932", true },
  { "xmacjapanese", "CP932", true }, { "eucjp", "EUC-JP", true },
  { "euckr", "CP949", true }, { "cp949", "CP949", true },
  { "ms949", "CP949", true }, { "uhc", "CP949", true },
  { "windows949", "CP949", true }, { "windows9492000", "CP949", true },
  { "ksc56011987", "CP949", true }, { "ksc5601", "CP949", true },
  { "macintosh", "MACINTOSH", false }, { "macroman", "MACINTOSH", false },
  { "xmacroman", "MACINTOSH", false }, { "mac", "MACINTOSH", false },
  { "xmaccyrillic", "MAC-CYRILLIC", false },
  { "maccyrillic", "MAC-CYRILLIC", false },
  { "xmaccentraleurroman", "MAC-CENTRALEUROPE", false },
  { "maccentraleurope", "MAC-CENTRALEUROPE", false },
  { "koi8r", "KOI8-R", false }, { "koi8u", "KOI8-U", false },
  { "tis620", "CP874", false }, { "latin1", "ISO-8859-1", false },
  { "usascii", "CP1252", false },
};

/* Numbered families: the names that begin so, what iconv says, the numbers. */
static const struct family {
  const char *prefix;
  const char *iconv;
  unsigned numbers[16];
} families[] = {
  { "windows", "CP", { 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257,
                         1258 } },
  { "cp", "CP", { 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257,
                    1258 } },
  { "cp", "CP", { 437, 737, 775, 850, 852, 855, 857, 860, 861, 862, 863, 864,
                    865, 866, 869 } },
  { "ibm", "CP", { 437, 737, 775, 850, 852, 855, 857, 860, 861, 862, 863,
                     864, 865, 866, 869 } },
  { "iso8859", "ISO-8859-", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15,
                                16 } },
};

struct known {
  char iconv[24];
  bool wide;
};

static bool
find_family (const char *name, struct known *k)
{
  const struct family *f;
  char *end;
  unsigned long n;
  size_t i, len;

  for (f = families; f < families + sizeof families / sizeof *f; ++f) {
    len = strlen (f->prefix);
    if (strncmp (name, f->prefix, len) != 0 ||
        !isdigit ((unsigned char) name[len]))
      continue;
    n = strtoul (name + len, &end, 10);
    for (i = 0; *end == '\0' && i < sizeof f->numbers / sizeof f->numbers[0];
         ++i)
      if (f->numbers[i] != 0 && f->numbers[i] == n) {
        snprintf (k->iconv, sizeof k->iconv, "%s%u", f->iconv, f->numbers[i]);
        return true;
      }
  }
  return false;
}

static bool
find_charset (const char *encoding, struct known *k)
{
  char name[32];
  size_t i, n = 0;

  k->wide = false;
  for (; encoding && *encoding; ++encoding) {
    if (!isalnum ((unsigned char) *encoding))
      continue;
    if (n == sizeof name - 1)
      return false;
    name[n++] = (char) tolower ((unsigned char) *encoding);
  }
  name[n] = '\0';
  for (i = 0; i < sizeof charsets / sizeof charsets[0]; ++i)
    if (strcmp (name, charsets[i].name) == 0) {
      snprintf (k->iconv, sizeof k->iconv, "%s", charsets[i].iconv);
      k->wide = charsets[i].wide;
      return true;
    }
  return find_family (name, k);
}

bool
vd_is_ascii (const char *text)
{
  for (; *text; ++text)
    if ((unsigned char) *text >= 0x80)
      return false;
  return true;
}

static char *
convert (const char *text, const char *from, const char *to)
{
  const size_t n = strlen (text), room = n * 4 + 1;
  CLEANUP_FREE char *out = NULL;
  char *in = (char *) text, *p;
  size_t in_left = n, out_left = room - 1, r;
  iconv_t cd;

  if (n > MAX_NAME)
    return NULL;
  cd = iconv_open (to, from);
  if (cd == (iconv_t) -1)
    return NULL;
  p = out = calloc (1, room);
  r = out ? iconv (cd, &in, &in_left, &p, &out_left) : (size_t) -1;
  iconv_close (cd);
  /* Neither what cannot be converted nor what would not come back. */
  return r == 0 && in_left == 0 && strlen (out) == (size_t) (p - out)
    ? VD_TAKE (out) : NULL;
}

/* Where ISO 8859-1 has control characters Windows has letters, and its
 * programs give that name to both.
 */
static bool
is_windows_latin (const char *text, const struct known *k)
{
  if (strcmp (k->iconv, "ISO-8859-1") != 0)
    return false;
  for (; *text; ++text)
    if ((unsigned char) *text >= 0x80 && (unsigned char) *text < 0xa0)
      return true;
  return false;
}

char *
vd_to_utf8 (const char *text, const char *encoding)
{
  struct known k;

  if (vd_is_ascii (text) || !find_charset (encoding, &k))
    return NULL;
  return convert (text, is_windows_latin (text, &k) ? "CP1252" : k.iconv,
                  "UTF-8");
}

char *
vd_from_utf8 (const char *text, const char *encoding)
{
  CLEANUP_FREE char *there = NULL, *back = NULL;
  struct known k;

  if (vd_is_ascii (text) || !find_charset (encoding, &k))
    return NULL;
  there = convert (text, "UTF-8", k.iconv);
  if (!there)
    return NULL;
  back = vd_to_utf8 (there, encoding);
  return back && strcmp (back, text) == 0 ? VD_TAKE (there) : NULL;
}

bool
vd_charset_missing (const char *text, const char *encoding)
{
  struct known k;
  iconv_t cd;

  if (vd_is_ascii (text) || !find_charset (encoding, &k))
    return false;
  cd = iconv_open ("UTF-8", k.iconv);
  if (cd == (iconv_t) -1)
    return errno == EINVAL;
  iconv_close (cd);
  return false;
}

/* ---- UTF-8 -------------------------------------------------------------- */

/* One character of *p; -1 if it is none, and *p stays. */
static int32_t
next_character (const char **p)
{
  uint32_t c;
  const size_t n = vd_utf8_decode ((const unsigned char *) *p, &c);

  *p += n;
  return n > 0 ? (int32_t) c : -1;
}

/* Is it UTF-8?  *most is the most bytes that a character of it has. */
static bool
is_utf8 (const char *text, size_t *most)
{
  const char *p = text, *before;

  for (*most = 0; *p; ) {
    before = p;
    if (next_character (&p) == -1)
      return false;
    if ((size_t) (p - before) > *most)
      *most = (size_t) (p - before);
  }
  return true;
}

bool
vd_must_convert (const char *text, const char *encoding)
{
  struct known k;
  size_t most;

  return find_charset (encoding, &k) && is_utf8 (text, &most) && most > 1;
}

/* Text of another encoding that happens to be UTF-8 is rare: of one byte a
 * character hardly any, of two bytes a word or two.
 */
char *
vd_text_shown (const char *text, const char *encoding)
{
  char *converted;
  struct known k;
  size_t most;

  if (find_charset (encoding, &k) &&
      !(is_utf8 (text, &most) && (most > 2 || !k.wide))) {
    converted = vd_to_utf8 (text, encoding);
    if (converted)
      return converted;
  }
  return strdup (text);
}

/* ---- Names that are alike ------------------------------------------------ */

/* Small letters with accents, and what macOS's file systems make of them: Latin,
 * Greek, Cyrillic, Kana.
 */
static const uint16_t pairs[][3] = {
  { 0xe0, 0x61, 0x300 }, { 0xe1, 0x61, 0x301 }, { 0xe2, 0x61, 0x302 },
  { 0xe3, 0x61, 0x303 }, { 0xe4, 0x61, 0x308 }, { 0xe5, 0x61, 0x30a },
  { 0xe7, 0x63, 0x327 }, { 0xe8, 0x65, 0x300 }, { 0xe9, 0x65, 0x301 },
  { 0xea, 0x65, 0x302 }, { 0xeb, 0x65, 0x308 }, { 0xec, 0x69, 0x300 },
  { 0xed, 0x69, 0x301 }, { 0xee, 0x69, 0x302 }, { 0xef, 0x69, 0x308 },
  { 0xf1, 0x6e, 0x303 }, { 0xf2, 0x6f, 0x300 }, { 0xf3, 0x6f, 0x301 },
  { 0xf4, 0x6f, 0x302 }, { 0xf5, 0x6f, 0x303 }, { 0xf6, 0x6f, 0x308 },
  { 0xf9, 0x75, 0x300 }, { 0xfa, 0x75, 0x301 }, { 0xfb, 0x75, 0x302 },
  { 0xfc, 0x75, 0x308 }, { 0xfd, 0x79, 0x301 }, { 0xff, 0x79, 0x308 },
  { 0x101, 0x61, 0x304 }, { 0x103, 0x61, 0x306 }, { 0x105, 0x61, 0x328 },
  { 0x107, 0x63, 0x301 }, { 0x109, 0x63, 0x302 }, { 0x10b, 0x63, 0x307 },
  { 0x10d, 0x63, 0x30c }, { 0x10f, 0x64, 0x30c }, { 0x113, 0x65, 0x304 },
  { 0x115, 0x65, 0x306 }, { 0x117, 0x65, 0x307 }, { 0x119, 0x65, 0x328 },
  { 0x11b, 0x65, 0x30c }, { 0x11d, 0x67, 0x302 }, { 0x11f, 0x67, 0x306 },
  { 0x121, 0x67, 0x307 }, { 0x123, 0x67, 0x327 }, { 0x125, 0x68, 0x302 },
  { 0x129, 0x69, 0x303 }, { 0x12b, 0x69, 0x304 }, { 0x12d, 0x69, 0x306 },
  { 0x12f, 0x69, 0x328 }, { 0x135, 0x6a, 0x302 }, { 0x137, 0x6b, 0x327 },
  { 0x13a, 0x6c, 0x301 }, { 0x13c, 0x6c, 0x327 }, { 0x13e, 0x6c, 0x30c },
  { 0x144, 0x6e, 0x301 }, { 0x146, 0x6e, 0x327 }, { 0x148, 0x6e, 0x30c },
  { 0x14d, 0x6f, 0x304 }, { 0x14f, 0x6f, 0x306 }, { 0x151, 0x6f, 0x30b },
  { 0x155, 0x72, 0x301 }, { 0x157, 0x72, 0x327 }, { 0x159, 0x72, 0x30c },
  { 0x15b, 0x73, 0x301 }, { 0x15d, 0x73, 0x302 }, { 0x15f, 0x73, 0x327 },
  { 0x161, 0x73, 0x30c }, { 0x163, 0x74, 0x327 }, { 0x165, 0x74, 0x30c },
  { 0x169, 0x75, 0x303 }, { 0x16b, 0x75, 0x304 }, { 0x16d, 0x75, 0x306 },
  { 0x16f, 0x75, 0x30a }, { 0x171, 0x75, 0x30b }, { 0x173, 0x75, 0x328 },
  { 0x175, 0x77, 0x302 }, { 0x177, 0x79, 0x302 }, { 0x17a, 0x7a, 0x301 },
  { 0x17c, 0x7a, 0x307 }, { 0x17e, 0x7a, 0x30c }, { 0x3ac, 0x3b1, 0x301 },
  { 0x3ad, 0x3b5, 0x301 }, { 0x3ae, 0x3b7, 0x301 }, { 0x3af, 0x3b9, 0x301 },
  { 0x3ca, 0x3b9, 0x308 }, { 0x3cb, 0x3c5, 0x308 }, { 0x3cc, 0x3bf, 0x301 },
  { 0x3cd, 0x3c5, 0x301 }, { 0x3ce, 0x3c9, 0x301 }, { 0x439, 0x438, 0x306 },
  { 0x450, 0x435, 0x300 }, { 0x451, 0x435, 0x308 }, { 0x453, 0x433, 0x301 },
  { 0x457, 0x456, 0x308 }, { 0x45c, 0x43a, 0x301 }, { 0x45d, 0x438, 0x300 },
  { 0x45e, 0x443, 0x306 }, { 0x304c, 0x304b, 0x3099 },
  { 0x304e, 0x304d, 0x3099 }, { 0x3050, 0x304f, 0x3099 },
  { 0x3052, 0x3051, 0x3099 }, { 0x3054, 0x3053, 0x3099 },
  { 0x3056, 0x3055, 0x3099 }, { 0x3058, 0x3057, 0x3099 },
  { 0x305a, 0x3059, 0x3099 }, { 0x305c, 0x305b, 0x3099 },
  { 0x305e, 0x305d, 0x3099 }, { 0x3060, 0x305f, 0x3099 },
  { 0x3062, 0x3061, 0x3099 }, { 0x3065, 0x3064, 0x3099 },
  { 0x3067, 0x3066, 0x3099 }, { 0x3069, 0x3068, 0x3099 },
  { 0x3070, 0x306f, 0x3099 }, { 0x3071, 0x306f, 0x309a },
  { 0x3073, 0x3072, 0x3099 }, { 0x3074, 0x3072, 0x309a },
  { 0x3076, 0x3075, 0x3099 }, { 0x3077, 0x3075, 0x309a },
  { 0x3079, 0x3078, 0x3099 }, { 0x307a, 0x3078, 0x309a },
  { 0x307c, 0x307b, 0x3099 }, { 0x307d, 0x307b, 0x309a },
  { 0x3094, 0x3046, 0x3099 }, { 0x309e, 0x309d, 0x3099 },
  { 0x30ac, 0x30ab, 0x3099 }, { 0x30ae, 0x30ad, 0x3099 },
  { 0x30b0, 0x30af, 0x3099 }, { 0x30b2, 0x30b1, 0x3099 },
  { 0x30b4, 0x30b3, 0x3099 }, { 0x30b6, 0x30b5, 0x3099 },
  { 0x30b8, 0x30b7, 0x3099 }, { 0x30ba, 0x30b9, 0x3099 },
  { 0x30bc, 0x30bb, 0x3099 }, { 0x30be, 0x30bd, 0x3099 },
  { 0x30c0, 0x30bf, 0x3099 }, { 0x30c2, 0x30c1, 0x3099 },
  { 0x30c5, 0x30c4, 0x3099 }, { 0x30c7, 0x30c6, 0x3099 },
  { 0x30c9, 0x30c8, 0x3099 }, { 0x30d0, 0x30cf, 0x3099 },
  { 0x30d1, 0x30cf, 0x309a }, { 0x30d3, 0x30d2, 0x3099 },
  { 0x30d4, 0x30d2, 0x309a }, { 0x30d6, 0x30d5, 0x3099 },
  { 0x30d7, 0x30d5, 0x309a }, { 0x30d9, 0x30d8, 0x3099 },
  { 0x30da, 0x30d8, 0x309a }, { 0x30dc, 0x30db, 0x3099 },
  { 0x30dd, 0x30db, 0x309a }, { 0x30f4, 0x30a6, 0x3099 },
  { 0x30f7, 0x30ef, 0x3099 }, { 0x30f8, 0x30f0, 0x3099 },
  { 0x30f9, 0x30f1, 0x3099 }, { 0x30fa, 0x30f2, 0x3099 },
  { 0x30fe, 0x30fd, 0x3099 },
};

/* A letter is folded to lower case, and taken apart. */
struct folder {
  const char *p;
  int32_t waiting[2];
  unsigned nr_waiting;
};

static int32_t
lower (int32_t c)
{
  if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ||
      (c >= 0x391 && c <= 0x3a9) || (c >= 0x410 && c <= 0x42f) ||
      (c >= 0xff21 && c <= 0xff3a))
    return c + 32;
  if (c >= 0x400 && c <= 0x40f)
    return c + 80;
  if (c == 0x130 || c == 0x131)
    return 'i';
  if (c == 0x178)
    return 0xff;
  if (c >= 0x100 && c <= 0x17e) {
    const bool odd_is_upper = (c >= 0x139 && c <= 0x148) || c >= 0x179;

    return c == 0x138 || c == 0x149 ? c : odd_is_upper ? c + (c & 1)
      : c | 1;
  }
  return c == 0x3c2 ? 0x3c3 : c;        /* final sigma */
}

/* A Hangul syllable is two letters or three. */
static void
split_hangul (struct folder *f, int32_t c)
{
  const int32_t s = c - 0xac00;

  if (s % 28 != 0)
    f->waiting[f->nr_waiting++] = 0x11a7 + s % 28;
  f->waiting[f->nr_waiting++] = 0x1161 + s % 588 / 28;
}

/* The next one, or 0 at the end, or a byte that is no UTF-8, below 0. */
static int32_t
next_folded (struct folder *f)
{
  size_t lo = 0, hi = sizeof pairs / sizeof pairs[0], mid;
  int32_t c;

  if (f->nr_waiting > 0)
    return f->waiting[--f->nr_waiting];
  c = next_character (&f->p);
  if (c == -1)
    return -(int32_t) (unsigned char) *f->p++;
  if (c == 0)
    return 0;
  c = lower (c);
  if (c >= 0xac00 && c < 0xd7a4) {
    split_hangul (f, c);
    return 0x1100 + (c - 0xac00) / 588;
  }
  while (lo < hi) {
    mid = (lo + hi) / 2;
    if (pairs[mid][0] == c) {
      f->waiting[f->nr_waiting++] = pairs[mid][2];
      return lower (pairs[mid][1]);
    }
    if (pairs[mid][0] < c)
      lo = mid + 1;
    else
      hi = mid;
  }
  return c;
}

static bool
folded_equal (const char *a, const char *b)
{
  struct folder x = { .p = a }, y = { .p = b };
  int32_t c;

  do {
    c = next_folded (&x);
    if (c != next_folded (&y))
      return false;
  } while (c != 0);
  return true;
}

bool
vd_names_alike (const char *name, const char *other, const char *encoding)
{
  CLEANUP_FREE char *converted = NULL;
  size_t most;

  if (folded_equal (name, other))
    return true;
  if (is_utf8 (other, &most))
    return false;
  converted = vd_to_utf8 (other, encoding);
  return converted && folded_equal (name, converted);
}
