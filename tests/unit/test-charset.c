/* Names in the encodings of other systems, and names that are alike. */

#include "base/charset.h"
#include "unit.h"

static void
both_ways (const char *encoding, const char *bytes, const char *utf8)
{
  char *there = vd_to_utf8 (bytes, encoding);
  char *back = vd_from_utf8 (utf8, encoding);

  assert_non_null (there);
  assert_string_equal (there, utf8);
  assert_non_null (back);
  assert_string_equal (back, bytes);
  free (there);
  free (back);
}

TEST (encodings_are_known_by_the_names_that_writers_use)
{
  both_ways ("GBK", "\xb7\xfe\xce\xf1\xc6\xf7", "服务器");
  both_ways ("windows-936-2000", "\xb7\xfe", "服");
  both_ways ("gb2312", "\xb7\xfe", "服");
  both_ways ("GB18030", "\xb7\xfe", "服");
  both_ways ("Big5", "\xa5\x5c", "功");           /* a backslash in it */
  both_ways ("Shift_JIS", "\x95\x5c\x83\x5c", "表ソ");
  both_ways ("windows-31j", "\x94\x5c", "能");
  both_ways ("EUC-KR", "\xbc\xad\xb9\xf6", "서버");
  both_ways ("windows-949", "\x8c\x63", "똠");    /* not in EUC-KR itself */
  both_ways ("ks_c_5601-1987", "\xbc\xad", "서");
  both_ways ("EUC-JP", "\xc9\xbd", "表");
  both_ways ("windows-1250", "\xb9", "ą");
  both_ways ("windows-1251", "\xf1\xe5\xf0\xe2\xe5\xf0", "сервер");
  both_ways ("WINDOWS-1252", "M\xfcller", "Müller");
  both_ways ("cp1253", "\xe1", "α");
  both_ways ("ISO-8859-1", "\xe9", "é");
  both_ways ("ISO8859_15", "\xa4", "€");
  both_ways ("macintosh", "M\x9fller", "Müller");
  both_ways ("x-mac-roman", "\x8e", "é");
  both_ways ("IBM850", "\x81", "ü");
  both_ways ("KOI8-R", "\xc1", "а");
}

static void
not_converted (const char *text, const char *encoding)
{
  assert_null (vd_to_utf8 (text, encoding));
  assert_null (vd_from_utf8 (text, encoding));
}

TEST (what_is_not_known_or_not_in_it_is_left_alone)
{
  char *shown;

  not_converted ("plain\\name", "GBK");
  not_converted ("M\xc3\xbcller", NULL);
  not_converted ("M\xc3\xbcller", "");
  not_converted ("M\xc3\xbcller", "UTF-8");
  not_converted ("M\xfcller", "UTF-16");
  not_converted ("M\xfcller", "UTF-7");
  not_converted ("M\xfcller", "ISO-2022-CN-EXT");
  not_converted ("M\xfcller", "../../tmp/evil");
  not_converted ("M\xfcller", "windows-12520");
  not_converted ("M\xfcller", "windows-99999999999999999999");
  not_converted ("M\xfcller", "iso-8859-12");
  assert_null (vd_to_utf8 ("\xb7", "GBK"));       /* half a character */
  assert_null (vd_from_utf8 ("服", "windows-1252"));
  assert_false (vd_charset_missing ("\xb7", "GBK"));
  assert_false (vd_charset_missing ("\xb7", "UTF-16"));

  shown = vd_text_shown ("\xb7", "GBK");
  assert_string_equal (shown, "\xb7");
  free (shown);
}

static void
shows (const char *text, const char *encoding, const char *want)
{
  char *shown = vd_text_shown (text, encoding);

  assert_non_null (shown);
  assert_string_equal (shown, want);
  free (shown);
}

TEST (text_that_is_utf8_is_shown_so_whatever_it_says)
{
  shows ("Müller", "windows-1252", "Müller");
  shows ("服务器", "GBK", "服务器");
  shows ("M\xfcller", "windows-1252", "Müller");
  /* Two bytes each, and UTF-8 too: it says what it is. */
  shows ("\xc1\xaa\xcd\xa8", "GBK", "联通");
  shows ("\x93x\x94", "ISO-8859-1", "“x”");
}

TEST (a_name_longer_than_any_path_is_not_converted)
{
  char *text = malloc (100001);

  memset (text, 0xfc, 100000);
  text[100000] = '\0';
  not_converted (text, "windows-1252");
  free (text);
}

#define alike(a, b) assert_true (vd_names_alike (a, b, NULL))
#define differ(a, b) assert_false (vd_names_alike (a, b, NULL))

TEST (names_that_are_alike)
{
  alike ("Disk-Flat.vmdk", "disk-flat.VMDK");
  alike ("MÜLLER", "müller");
  alike ("Müller", "Mu\xcc\x88ller");             /* as macOS keeps it */
  alike ("ŁÓDŹ", "łódź");
  alike ("ŻUK", "z\xcc\x87uk");
  alike ("СЕРВЕР Й", "сервер и\xcc\x86");
  alike ("ΑΒΣ", "αβς");
  alike ("が", "\xe3\x81\x8b\xe3\x82\x99");
  alike ("한글", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab\xe1\x84\x80\xe1\x85\xb3"
         "\xe1\x86\xaf");
  assert_true (vd_names_alike ("服务器.vmdk", "\xb7\xfe\xce\xf1\xc6\xf7.VMDK",
                               "GBK"));

  differ ("disk", "disk1");
  differ ("disk1", "disk");
  differ ("", "a");
  differ ("Muller", "Müller");
  differ ("M\xfcller", "Muller");
  differ ("M\xfcller", "Müller");
  differ ("\xff", "\xfe");
  assert_false (vd_names_alike ("a", "\xb7\xfe", "GBK"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (encodings_are_known_by_the_names_that_writers_use),
    cmocka_unit_test (what_is_not_known_or_not_in_it_is_left_alone),
    cmocka_unit_test (text_that_is_utf8_is_shown_so_whatever_it_says),
    cmocka_unit_test (a_name_longer_than_any_path_is_not_converted),
    cmocka_unit_test (names_that_are_alike),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
