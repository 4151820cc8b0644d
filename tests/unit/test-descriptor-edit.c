/* Descriptors changed line by line. */

#include "format/descriptor-edit.h"
#include "unit.h"

/* Changes text (without its NUL), and compares. */
static void
check (const char *text, const struct vd_descriptor_change *c, size_t n,
       uint64_t sectors, const char *want)
{
  struct vd_err err;
  const size_t len = strlen (text);
  char *copy = malloc (len + 1), *have;

  memcpy (copy, text, len + 1);
  have = vd_descriptor_edit (copy, len, c, n, sectors, &err);
  assert_opened (have, &err);
  assert_string_equal (have, want);
  free (have);
  free (copy);
}

TEST (values_are_replaced_and_all_else_stays)
{
  const struct vd_descriptor_change c[] = {
    { .key = "cid", .value = "01234567" },
    { .key = "parentFileNameHint", .value = "new name.vmdk" },
    { .key = "ddb.longContentID", .value = NULL },
    { .key = "ddb.uuid", .value = "x", .only_if_there = true },
  };

  check ("# Disk DescriptorFile\n \tCID \t= 89abcdef \nCIDX=1\nodd line\n"
         "parentFileNameHint=\"old\" # why\n\nRW 8 FLAT \"a\" 0\n"
         "ddb.longContentID = \"0\"\n", c, ARRAY_SIZE (c), 0,
         "# Disk DescriptorFile\n \tCID \t= 01234567 \nCIDX=1\nodd line\n"
         "parentFileNameHint=\"new name.vmdk\"\n\n"
         "RW 8 FLAT \"a\" 0\n");
}

TEST (new_keys_have_their_places)
{
  const struct vd_descriptor_change c[] = {
    { .key = "ddb.a", .value = "1" },
    { .key = "parentCID", .value = "ffffffff" },
    { .key = "parentFileNameHint", .value = "p" },
    { .key = "gone", .value = NULL },
  };

  check ("CID=1\r\nRW 8 SPARSE \"a\"\r\n  rdonly\t9 FLAT \"b\" 3", c,
         ARRAY_SIZE (c), 77,
         "CID=1\r\nparentCID=ffffffff\r\nparentFileNameHint=\"p\"\r\n"
         "RW 8 SPARSE \"a\"\r\n  rdonly\t77 FLAT \"b\" 3\r\n"
         "ddb.a=\"1\"\r\n");
  check ("RW 8 SPARSE \"a\"\nRWX 9\nNOACCESS 3 ZERO\n", NULL, 0, 5,
         "RW 8 SPARSE \"a\"\nRWX 9\nNOACCESS 5 ZERO\n");
  check ("", NULL, 0, 0, "");
}

TEST (values_are_written_in_the_encoding_of_the_text)
{
  const struct vd_descriptor_change c[] = {
    { .key = "parentFileNameHint", .value = "表ソ.vmdk" },
  };
  const struct vd_descriptor_change raw[] = {
    { .key = "parentFileNameHint", .value = "\x95\x5c.vmdk" },
  };
  struct vd_err err;

  check ("encoding=\"Shift_JIS\"\nparentFileNameHint=\"a\"\nRW 8 SPARSE "
         "\"\x94\x5c.vmdk\"\n", c, 1, 0,
         "encoding=\"Shift_JIS\"\nparentFileNameHint=\"\x95\x5c\x83\x5c.vmdk\"\n"
         "RW 8 SPARSE \"\x94\x5c.vmdk\"\n");
  check ("RW 8 ZERO\nddb.encoding = \"Shift_JIS\"\r\n", c, 1, 0,
         "parentFileNameHint=\"\x95\x5c\x83\x5c.vmdk\"\r\nRW 8 ZERO\n"
         "ddb.encoding = \"Shift_JIS\"\r\n");
  check ("encoding=\"UTF-8\"\nRW 8 ZERO\n", c, 1, 0, "encoding=\"UTF-8\"\n"
         "parentFileNameHint=\"表ソ.vmdk\"\nRW 8 ZERO\n");
  check ("RW 8 ZERO\n", c, 1, 0,
         "parentFileNameHint=\"表ソ.vmdk\"\nRW 8 ZERO\n");
  /* A file whose name is in those bytes. */
  check ("encoding=\"Shift_JIS\"\nRW 8 ZERO\n", raw, 1, 0,
         "encoding=\"Shift_JIS\"\nparentFileNameHint=\"\x95\x5c.vmdk\"\n"
         "RW 8 ZERO\n");
  assert_null (vd_descriptor_edit ("encoding=windows-1252\nRW 8 ZERO\n", 34,
                                   c, 1, 0, &err));
  assert_err (&err, VD_USAGE, "表ソ.vmdk", "windows-1252");
}

/* The same lines as the parser knows. */
TEST (what_editors_left_is_changed_too)
{
  const struct vd_descriptor_change c[] = {
    { .key = "version", .value = "3" },
    { .key = "CID", .value = "9" },
    { .key = "ddb.a", .value = "1" },
  };

  check ("\xef\xbb\xbfversion=1\nCID=1\nCID=1\nRW 8 SPARSE \"a\"\n", c,
         ARRAY_SIZE (c), 5, "\xef\xbb\xbfversion=3\nCID=9\nCID=9\n"
         "RW 5 SPARSE \"a\"\nddb.a=\"1\"\n");
  check ("version=1\rCID=1\rRW 8 SPARSE \"a\"\r; CID=2\r", c, ARRAY_SIZE (c), 5,
         "version=3\rCID=9\rRW 5 SPARSE \"a\"\r; CID=2\rddb.a=\"1\"\r");
  check ("version=1\r\nCID=1\nRW 8 SPARSE \"a\"\r\n\x1a", c, ARRAY_SIZE (c), 5,
         "version=3\r\nCID=9\nRW 5 SPARSE \"a\"\r\nddb.a=\"1\"\r\n");
  check ("version=1\nCID=1\nRW 8 SPARSE \"a\"\nddb.x=\"cut", c, ARRAY_SIZE (c), 0,
         "version=3\nCID=9\nRW 8 SPARSE \"a\"\nddb.x=\"cut\nddb.a=\"1\"\n");
}

TEST (what_a_descriptor_cannot_hold_is_refused)
{
  const struct vd_descriptor_change quote = { .key = "k", .value = "a\"b" };
  const struct vd_descriptor_change line = { .key = "k", .value = "a\nb" };
  struct vd_descriptor_change many[200];
  struct vd_err err;
  size_t i;

  assert_null (vd_descriptor_edit ("CID=1\n", 6, &quote, 1, 0, &err));
  assert_err (&err, VD_USAGE, "a\"b", "quotation mark");
  assert_null (vd_descriptor_edit ("CID=1\n", 6, &line, 1, 0, &err));
  assert_err (&err, VD_USAGE, "control character");
  for (i = 0; i < ARRAY_SIZE (many); ++i)
    many[i] = (struct vd_descriptor_change) { .key = "k", .value = "v" };
  assert_null (vd_descriptor_edit ("CID=1\n", 6, many, ARRAY_SIZE (many), 0,
                                   &err));
  assert_err (&err, VD_USAGE, "more than");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (values_are_replaced_and_all_else_stays),
    cmocka_unit_test (new_keys_have_their_places),
    cmocka_unit_test (values_are_written_in_the_encoding_of_the_text),
    cmocka_unit_test (what_editors_left_is_changed_too),
    cmocka_unit_test (what_a_descriptor_cannot_hold_is_refused),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
