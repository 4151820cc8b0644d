/* The small things of base/: growing arrays, UUIDs, UTF-8, zeros. */

#include "unit.h"

TEST (an_array_grows_and_keeps_what_it_has)
{
  struct vd_err err;
  uint32_t *a = NULL, *p;
  size_t i, moves = 0;

  for (i = 0; i < 1000; ++i) {
    p = vd_grow (a, i, sizeof *a, &err);
    assert_non_null (p);
    /* Only when it is full: at 0 and at powers of two from 4 on. */
    if (i > 0 && (i < 4 || !vd_is_power_of_2 (i)))
      assert_ptr_equal (p, a);
    else
      moves++;
    a = p;
    a[i] = (uint32_t) i * 3;
  }
  for (i = 0; i < 1000; ++i)
    assert_int_equal (a[i], i * 3);
  assert_int_equal (moves, 9);
  free (a);
}

TEST (an_array_that_cannot_be_is_out_of_memory)
{
  struct vd_err err;

  assert_null (vd_grow (NULL, (size_t) 1 << 62, 16, &err));
  assert_int_equal (err.code, VD_NOMEM);
}

TEST (uuids_are_text_and_back)
{
  static const char text[] = "622a0911-bc78-4b7a-a6ec-7359a068de8a";
  static const uint8_t want[16] = {
    0x62, 0x2a, 0x09, 0x11, 0xbc, 0x78, 0x4b, 0x7a,
    0xa6, 0xec, 0x73, 0x59, 0xa0, 0x68, 0xde, 0x8a,
  };
  uint8_t uuid[16];
  char back[VD_UUID_TEXT];

  assert_true (vd_parse_uuid (text, uuid));
  assert_memory_equal (uuid, want, 16);
  assert_string_equal (vd_uuid_text (back, uuid), text);
  assert_true (vd_parse_uuid ("{622A0911-BC78-4B7A-A6EC-7359A068DE8A}", uuid));
  assert_memory_equal (uuid, want, 16);
  assert_false (vd_parse_uuid ("622a0911-bc78-4b7a-a6ec-7359a068de8", uuid));
  assert_false (vd_parse_uuid ("622a0911-bc78-4b7a-a6ec-7359a068de8a0", uuid));
  assert_false (vd_parse_uuid ("622a0911-bc78-4b7a-a6ec-7359a068de8g", uuid));
  assert_false (vd_parse_uuid ("", uuid));
}

TEST (new_uuids_differ_and_say_that_they_are_random)
{
  struct vd_err err;
  uint8_t a[16] = { 0 }, b[16] = { 0 };

  assert_true (vd_uuid_is_null (a));
  assert_int_equal (vd_uuid_new (a, &err), 0);
  assert_int_equal (vd_uuid_new (b, &err), 0);
  assert_false (vd_uuid_is_null (a));
  assert_memory_not_equal (a, b, 16);
  assert_int_equal (a[6] >> 4, 4);
  assert_int_equal (a[8] >> 6, 2);
}

TEST (utf8_is_decoded_or_refused)
{
  static const struct { const char *s; size_t len; uint32_t c; } t[] = {
    { "A", 1, 'A' }, { "\xc2\xa0", 2, 0xa0 }, { "\xe4\xbb\xae", 3, 0x4eee },
    { "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
    { "\x80", 0, 0 }, { "\xc0\x80", 0, 0 }, { "\xc1\xbf", 0, 0 },
    { "\xe0\x80\x80", 0, 0 }, { "\xed\xa0\x80", 0, 0 },
    { "\xf0\x8f\xbf\xbf", 0, 0 }, { "\xf4\x90\x80\x80", 0, 0 },
    { "\xf8\x88\x80\x80\x80", 0, 0 }, { "\xe4\xbb", 0, 0 }, { "\xc2", 0, 0 },
  };
  size_t i;
  uint32_t c;

  for (i = 0; i < sizeof t / sizeof t[0]; ++i) {
    assert_int_equal (vd_utf8_decode ((const unsigned char *) t[i].s, &c),
                      t[i].len);
    if (t[i].len > 0)
      assert_int_equal (c, t[i].c);
  }
  assert_int_equal (vd_utf8_columns ("Gr\xc3\xb6\xc3\x9f" "e"), 5);
}

TEST (zeros_are_seen_wherever_the_first_other_byte_is)
{
  uint8_t buf[200];
  size_t n, i;

  memset (buf, 0, sizeof buf);
  assert_true (vd_is_zero (buf, 0));
  for (n = 1; n <= sizeof buf; ++n) {
    assert_true (vd_is_zero (buf, n));
    for (i = 0; i < n; ++i) {
      buf[i] = 1;
      assert_false (vd_is_zero (buf, n));
      buf[i] = 0;
    }
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (an_array_grows_and_keeps_what_it_has),
    cmocka_unit_test (an_array_that_cannot_be_is_out_of_memory),
    cmocka_unit_test (uuids_are_text_and_back),
    cmocka_unit_test (new_uuids_differ_and_say_that_they_are_random),
    cmocka_unit_test (utf8_is_decoded_or_refused),
    cmocka_unit_test (zeros_are_seen_wherever_the_first_other_byte_is),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
