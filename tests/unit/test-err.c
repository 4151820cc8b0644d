/* Messages: what may reach a terminal, and which errno a client gets. */

#include <errno.h>

#include "unit.h"

static void
escapes_to (const char *src, const char *want)
{
  char buf[256];

  memset (buf, 'x', sizeof buf);
  vd_escape (buf, sizeof buf, src);
  assert_string_equal (buf, want);
}

TEST (plain_text_passes)
{
  escapes_to ("", "");
  escapes_to ("disk-000001.vmdk: ~!@ \\x41", "disk-000001.vmdk: ~!@ \\x41");
}

TEST (control_characters_are_escaped)
{
  escapes_to ("\x1b[2Jgone", "\\x1b[2Jgone");
  escapes_to ("a\nb\rc\td", "a\\x0ab\\x0dc\\x09d");
  escapes_to ("\a\b\x7f", "\\x07\\x08\\x7f");
  /* C1 as UTF-8 and as a bare byte: 0x9b alone starts a sequence too */
  escapes_to ("\xc2\x9b" "2J", "\\xc2\\x9b2J");
  escapes_to ("\x9b" "2J", "\\x9b2J");
  escapes_to ("\xc2\x85", "\\xc2\\x85");
}

TEST (text_in_other_scripts_passes)
{
  escapes_to ("Gr\xc3\xb6\xc3\x9f" "e", "Gr\xc3\xb6\xc3\x9f" "e");
  escapes_to ("\xe4\xbb\xae\xe6\x83\xb3", "\xe4\xbb\xae\xe6\x83\xb3");
  escapes_to ("\xf0\x9f\x92\xbe", "\xf0\x9f\x92\xbe");
  escapes_to ("\xc2\xa0|\xf4\x8f\xbf\xbf", "\xc2\xa0|\xf4\x8f\xbf\xbf");
}

TEST (direction_and_line_separators_are_escaped)
{
  static const char *const bad[] = {
    "\xe2\x80\x8e", "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xa9",
    "\xe2\x80\xaa", "\xe2\x80\xab", "\xe2\x80\xac", "\xe2\x80\xad",
    "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa7", "\xe2\x81\xa8",
    "\xe2\x81\xa9", "\xef\xbb\xbf",
  };
  char want[16];
  size_t i;

  for (i = 0; i < ARRAY_SIZE (bad); ++i) {
    snprintf (want, sizeof want, "\\x%02x\\x%02x\\x%02x",
              (unsigned char) bad[i][0], (unsigned char) bad[i][1],
              (unsigned char) bad[i][2]);
    escapes_to (bad[i], want);
  }
}

TEST (invalid_utf8_is_escaped_byte_by_byte)
{
  /* overlong forms */
  escapes_to ("\xc0\xaf", "\\xc0\\xaf");
  escapes_to ("\xc1\x9b", "\\xc1\\x9b");
  escapes_to ("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
  escapes_to ("\xe0\x9f\xbf", "\\xe0\\x9f\\xbf");
  escapes_to ("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf");
  escapes_to ("\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf");
  /* surrogates, past the end of Unicode, never valid */
  escapes_to ("\xed\xa0\x80", "\\xed\\xa0\\x80");
  escapes_to ("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
  escapes_to ("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
  escapes_to ("\xff\xfe", "\\xff\\xfe");
  /* cut at the end, and by another character */
  escapes_to ("\xc3", "\\xc3");
  escapes_to ("\xe4\xbb", "\\xe4\\xbb");
  escapes_to ("\xf0\x9f\x92", "\\xf0\\x9f\\x92");
  escapes_to ("\xe4\xbb!", "\\xe4\\xbb!");
  escapes_to ("\xe4\xc3\xa4", "\\xe4\xc3\xa4");
}

TEST (what_does_not_fit_is_cut_between_characters)
{
  static const struct { const char *src; size_t n; const char *want; } t[] = {
    { "abc", 1, "" },
    { "abc", 3, "ab" },
    { "abc", 4, "abc" },
    { "a\x1b" "b", 5, "a" },      /* no half of an escape */
    { "a\x1b" "b", 6, "a\\x1b" },
    { "a\xc3\xb6", 3, "a" },      /* no half of a character */
    { "a\xc3\xb6", 4, "a\xc3\xb6" },
    { "\xf0\x9f\x92\xbe", 4, "" },
  };
  char buf[32];
  size_t i;

  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    memset (buf, '#', sizeof buf);
    vd_escape (buf, t[i].n, t[i].src);
    assert_string_equal (buf, t[i].want);
    assert_int_equal (buf[t[i].n], '#');
  }
  buf[0] = '#';
  vd_escape (buf, 0, "abc");
  assert_int_equal (buf[0], '#');
}

TEST (fail_fills_everything_and_keeps_errno)
{
  struct vd_err err = { .errnum = 77 };

  errno = ERANGE;
  assert_int_equal (vd_fail (&err, VD_CORRUPT, "%s: %d", "a\nb", 5), -1);
  assert_int_equal (errno, ERANGE);
  assert_int_equal (err.errnum, 0);
  assert_err (&err, VD_CORRUPT, "a\\x0ab: 5");
  assert_int_equal (vd_fail (NULL, VD_CORRUPT, "x"), -1);
  assert_int_equal (vd_fail_nomem (&err), -1);
  assert_err (&err, VD_NOMEM, "out of memory");
}

TEST (fail_errno_refines_the_code_and_says_why)
{
  static const struct { int errnum; enum vd_code code; } t[] = {
    { ENOENT, VD_NOT_FOUND }, { ENOTDIR, VD_NOT_FOUND },
    { ENOMEM, VD_NOMEM }, { ENOSPC, VD_NOSPACE }, { EDQUOT, VD_NOSPACE },
    { EFBIG, VD_NOSPACE }, { EIO, VD_IO }, { EACCES, VD_IO },
    { EMFILE, VD_NOMEM },
  };
  struct vd_err err;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    assert_int_equal (vd_fail_errno (&err, t[i].errnum, "f%d", 1), -1);
    assert_err (&err, t[i].code, "f1: ", strerror (t[i].errnum));
    assert_int_equal (err.errnum, t[i].errnum);
  }
  vd_fail_errno (&err, EMFILE, "f");
  assert_err (&err, VD_NOMEM, "ulimit -n");
  vd_fail_errno (&err, ENFILE, "f");
  assert_err (&err, VD_NOMEM, "fs.file-max");
}

TEST (long_messages_are_cut_not_overrun)
{
  char text[3 * VD_ERR_MAX];
  struct vd_err err;

  memset (text, 'a', sizeof text);
  text[sizeof text - 1] = '\0';
  vd_fail (&err, VD_IO, "%s", text);
  assert_int_equal (strlen (err.msg), VD_ERR_MAX - 1);
  vd_fail_errno (&err, EIO, "%s", text);
  assert_int_equal (strlen (err.msg), VD_ERR_MAX - 1);
  vd_err_prefix (&err, "%s", text);
  assert_int_equal (strlen (err.msg), VD_ERR_MAX - 1);

  memset (text, '\x1b', sizeof text - 1);
  vd_fail (&err, VD_IO, "%s", text);
  assert_true (strlen (err.msg) < VD_ERR_MAX);
  assert_null (strchr (err.msg, '\x1b'));
}

TEST (prefix_goes_in_front_and_is_escaped)
{
  struct vd_err err;

  vd_fail (&err, VD_TRUNCATED, "it \x1b ends");
  vd_err_prefix (&err, "%s line %u: ", "a\x07" "b", 3u);
  assert_string_equal (err.msg, "a\\x07b line 3: it \\x1b ends");
  assert_int_equal (err.code, VD_TRUNCATED);
  vd_err_prefix (NULL, "x");
}

TEST (codes_become_errnos_that_survive_the_wire)
{
  struct vd_err err = { .errnum = EACCES };
  int code;

  for (code = VD_OK; code <= VD_NOSPACE; ++code) {
    err.code = (enum vd_code) code;
    assert_int_equal (vd_err_to_errno (&err),
                      code == VD_NOMEM ? ENOMEM :
                      code == VD_NOSPACE ? ENOSPC : EIO);
  }
}

TEST (warnings_reach_the_log_escaped)
{
  struct u_log log;
  struct vd_opts opts = u_opts (&log);
  const struct vd_log none = { .fn = NULL };

  vd_warn (&opts.log, "%s %d", "\x1b[1m", 4);
  vd_debug (&opts.log, "not a warning");
  vd_warn (&none, "dropped");
  vd_warn (NULL, "dropped");
  assert_int_equal (log.n, 1);
  assert_string_equal (log.text, "\\x1b[1m 4\n");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (plain_text_passes),
    cmocka_unit_test (control_characters_are_escaped),
    cmocka_unit_test (text_in_other_scripts_passes),
    cmocka_unit_test (direction_and_line_separators_are_escaped),
    cmocka_unit_test (invalid_utf8_is_escaped_byte_by_byte),
    cmocka_unit_test (what_does_not_fit_is_cut_between_characters),
    cmocka_unit_test (fail_fills_everything_and_keeps_errno),
    cmocka_unit_test (fail_errno_refines_the_code_and_says_why),
    cmocka_unit_test (long_messages_are_cut_not_overrun),
    cmocka_unit_test (prefix_goes_in_front_and_is_escaped),
    cmocka_unit_test (codes_become_errnos_that_survive_the_wire),
    cmocka_unit_test (warnings_reach_the_log_escaped),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
