/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* lib/file/uri.c: names of files elsewhere. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "file/uri.h"

static void
test_is_uri (void **state)
{
  (void) state;
  assert_true (vd_is_uri ("ssh://h/x"));
  assert_true (vd_is_uri ("nbd+unix:///?socket=/s"));
  assert_true (vd_is_uri ("https://"));
  assert_false (vd_is_uri ("./ssh://h/x"));
  assert_false (vd_is_uri ("ssh:/h/x"));
  assert_false (vd_is_uri ("ssh"));
  assert_false (vd_is_uri ("ftp://h/x"));
  assert_false (vd_is_uri ("SSH://h/x"));
  assert_false (vd_is_uri ("C:\\x"));
  assert_false (vd_is_uri ("[ds] a/b.vmdk"));
  assert_false (vd_is_uri (""));
}

static void
check_round (const char *text, const char *path, const char *again)
{
  struct vd_uri u;
  struct vd_err err;
  CLEANUP_FREE char *s = NULL;

  assert_int_equal (vd_uri_parse (text, &u, &err), 0);
  assert_string_equal (u.path, path);
  s = vd_uri_with_path (&u, u.path);
  assert_string_equal (s, again);
  vd_uri_free (&u);
}

static void
test_parse (void **state)
{
  (void) state;
  check_round ("ssh://me@h:22/a/b", "/a/b", "ssh://me@h:22/a/b");
  check_round ("ssh://h/a/../b//./c/", "/b/c", "ssh://h/b/c");
  check_round ("ssh://h/../../x", "/x", "ssh://h/x");
  check_round ("ssh://[::1]:22/x y", "/x y", "ssh://[::1]:22/x%20y");
  check_round ("http://h", "/", "http://h/");
  check_round ("http://h?x=/y", "/", "http://h/?x=/y");
  check_round ("https://h/a%2Fb%3f%25?q=%2520&r", "/a/b?%",
               "https://h/a/b%3F%25?q=%2520&r");
  check_round ("http://h/\xc3\xa4#", "/\xc3\xa4#", "http://h/%C3%A4%23");
  check_round ("nbd+unix:///e?socket=/s", "/e", "nbd+unix:///e?socket=/s");
}

static void
check_bad (const char *text, const char *part)
{
  struct vd_uri u;
  struct vd_err err;

  assert_int_equal (vd_uri_parse (text, &u, &err), -1);
  if (!strstr (err.msg, part))
    fail_msg ("%s: %s", text, err.msg);
  assert_null (strstr (err.msg, "geheim"));
  vd_uri_free (&u);
}

static void
test_bad (void **state)
{
  (void) state;
  check_bad ("ssh://me:geheim@h/x", "password=+FILE");
  check_bad ("ssh://h/a%", "%25");
  check_bad ("ssh://h/a%4", "%25");
  check_bad ("ssh://h/a%4x", "%25");
  check_bad ("ssh://h/a%00b", "%25");
  check_bad ("ssh://h x/a", "blank");
  check_bad ("ssh://h\nx/a", "blank");
}

static void
test_place (void **state)
{
  struct vd_uri a, b;
  struct vd_err err;

  (void) state;
  assert_int_equal (vd_uri_parse ("http://h/x?q", &a, &err), 0);
  assert_int_equal (vd_uri_parse ("http://h/y/z?q", &b, &err), 0);
  assert_true (vd_uri_same_place (&a, &b));
  vd_uri_free (&b);
  assert_int_equal (vd_uri_parse ("http://h/x?r", &b, &err), 0);
  assert_false (vd_uri_same_place (&a, &b));
  vd_uri_free (&b);
  assert_int_equal (vd_uri_parse ("http://i/x?q", &b, &err), 0);
  assert_false (vd_uri_same_place (&a, &b));
  vd_uri_free (&b);
  vd_uri_free (&a);
}

static void
test_open (void **state)
{
  const struct vd_opts opts = { .open = NULL };
  struct vd_err err;

  (void) state;
  assert_null (vd_open ("ssh://h/x", &opts, &err));
  assert_int_equal (err.code, VD_UNSUPPORTED);
  assert_non_null (strstr (err.msg, "local file"));
  assert_null (vd_open ("gopher://h/x", &opts, &err));
  assert_int_equal (err.code, VD_NOT_FOUND);
  assert_non_null (strstr (err.msg, "ssh://"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_is_uri),
    cmocka_unit_test (test_parse),
    cmocka_unit_test (test_bad),
    cmocka_unit_test (test_place),
    cmocka_unit_test (test_open),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
