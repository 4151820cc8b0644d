/* Finding the parent of a link: what is tried, in which order, and the codes of what
 * goes wrong.
 */

#include <sys/stat.h>

#include "unit.h"

/* A descriptor without data; each line may be NULL. */
static void
disk (const char *path, const char *cid, const char *parent_cid,
      const char *line)
{
  char text[1024];

  snprintf (text, sizeof text,
            "# Disk DescriptorFile\nCID=%s\n%s%s%s%s\nRW 8 ZERO\n", cid,
            parent_cid ? "parentCID=" : "", parent_cid ? parent_cid : "",
            line ? "\n" : "", line ? line : "");
  u_write_text (path, text);
}

static struct vd_link *
read_link (const char *path, const struct vd_opts *opts)
{
  struct vd_err err;
  struct vd_file *file = vd_file_open (path, &err);
  struct vd_link *link;

  assert_opened (file, &err);
  link = vd_link_read (file, path, opts, &err);
  assert_opened (link, &err);
  return link;
}

/* The last component of what is found; or the code. */
static void
finds (const char *child, const struct vd_opts *opts, enum vd_parent want,
       const char *name)
{
  struct vd_link *link = read_link (child, opts), *parent;
  enum vd_parent result;
  struct vd_err err;
  size_t n;

  if (vd_find_parent (link, opts, NULL, &result, &parent, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_int_equal (result, want);
  if (name) {
    assert_non_null (parent);
    assert_false (parent->loaded);
    n = strlen (parent->path);
    assert_true (n >= strlen (name));
    assert_string_equal (parent->path + n - strlen (name), name);
  }
  else
    assert_null (parent);
  vd_link_close (parent);
  vd_link_close (link);
}

#define assert_no_parent(child, opts, want, ...)                           \
  do {                                                                     \
    struct vd_link *link_ = read_link (child, opts), *parent_;             \
    enum vd_parent result_;                                                \
    struct vd_err err_ = { .code = VD_OK };                                \
                                                                           \
    assert_int_equal (vd_find_parent (link_, opts, NULL, &result_, &parent_,     \
                                      &err_), -1);                         \
    assert_null (parent_);                                                 \
    assert_err (&err_, want, __VA_ARGS__);                                 \
    vd_link_close (link_);                                                 \
  } while (0)

static const struct vd_opts none;

TEST (links_without_a_parent)
{
  struct u_log log;
  struct vd_opts opts = u_opts (&log);

  disk ("base", "1", NULL, NULL);
  finds ("base", &opts, VD_PARENT_NONE, NULL);
  disk ("base2", "1", "ffffffff", NULL);
  finds ("base2", &opts, VD_PARENT_NONE, NULL);
  assert_int_equal (log.n, 0);
  disk ("base3", "1", "ffffffff", "parentFileNameHint=\"x\"");
  finds ("base3", &opts, VD_PARENT_NONE, NULL);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "'x' is ignored");
  disk ("child", "1", "2", NULL);
  finds ("child", &opts, VD_PARENT_UNKNOWN, NULL);
}

TEST (a_bare_extent_does_not_know)
{
  struct mk_content content = { .seed = 1 };
  struct mk_pattern pattern = { .seed = 1, .run = 1, .fill = 500 };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = 64 * KIB, .grain_size = 512,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };

  u_write_image ("x-delta.vmdk", &spec);
  finds ("x-delta.vmdk", &none, VD_PARENT_UNKNOWN, NULL);
  disk ("child", "2", "1", "parentFileNameHint=\"x-delta.vmdk\"");
  assert_no_parent ("child", &none, VD_MISMATCH, "child", "x-delta.vmdk",
                    "bare COWD extent");
}

TEST (places_are_tried_in_order)
{
  const char *const dirs[] = { "two", "one" };
  const struct vd_opts opts = { .dirs = dirs, .nr_dirs = 2 };

  assert_int_equal (mkdir ("vm", 0755), 0);
  assert_int_equal (mkdir ("vm/sub", 0755), 0);
  assert_int_equal (mkdir ("one", 0755), 0);
  assert_int_equal (mkdir ("two", 0755), 0);
  assert_int_equal (mkdir ("two/sub", 0755), 0);
  disk ("one/p", "1", NULL, NULL);
  disk ("two/p", "1", NULL, NULL);
  disk ("two/sub/p", "1", NULL, NULL);
  disk ("vm/p", "1", NULL, NULL);
  disk ("vm/sub/p", "1", NULL, NULL);
  disk ("vm/c", "2", "1", "parentFileNameHint=\"sub\\p\"");

  finds ("vm/c", &opts, VD_PARENT_FOUND, "vm/sub/p");
  assert_int_equal (unlink ("vm/sub/p"), 0);
  finds ("vm/c", &opts, VD_PARENT_FOUND, "vm/p");
  assert_int_equal (unlink ("vm/p"), 0);
  finds ("vm/c", &opts, VD_PARENT_FOUND, "two/sub/p");
  assert_int_equal (unlink ("two/sub/p"), 0);
  finds ("vm/c", &opts, VD_PARENT_FOUND, "two/p");
  assert_int_equal (unlink ("two/p"), 0);
  finds ("vm/c", &opts, VD_PARENT_FOUND, "one/p");
  assert_int_equal (unlink ("one/p"), 0);
  /* one of these led out of vm */
  assert_no_parent ("vm/c", &opts, VD_DENIED, "vm/c", "'sub\\p'",
                    "sub/p, p, ../sub/p", "one/p", "two/p");
}

TEST (a_cid_that_fits_wins)
{
  const char *const dirs[] = { "one" };
  struct u_log log;
  struct vd_opts opts = u_opts (&log);

  opts.dirs = dirs;
  opts.nr_dirs = 1;
  assert_int_equal (mkdir ("one", 0755), 0);
  disk ("p", "11", NULL, NULL);
  disk ("one/p", "12", NULL, NULL);
  disk ("c", "2", "12", "parentFileNameHint=\"p\"");
  finds ("c", &opts, VD_PARENT_FOUND, "one/p");
  disk ("c", "2", "13", "parentFileNameHint=\"p\"");
  assert_no_parent ("c", &opts, VD_MISMATCH, "c was made on content 00000013",
                    "/p has content 00000011", "one/p has content 00000012");
  opts.ignore_cid = true;
  finds ("c", &opts, VD_PARENT_FOUND, "/p");
}

TEST (hints_that_are_refused)
{
  assert_int_equal (mkdir ("vm", 0755), 0);
  disk ("p", "1", NULL, NULL);
  disk ("vm/c", "2", "1", "parentFileNameHint=\"../p\"");
  assert_no_parent ("vm/c", &none, VD_DENIED, "vm/c", "'../p'", "not tried");
  disk ("vm/c", "2", "1", "parentFileNameHint=\"vsan://1/p\"");
  assert_no_parent ("vm/c", &none, VD_UNSUPPORTED, "vm/c", "'vsan://1/p'");
  disk ("vm/c", "2", "1", "parentFileNameHint=\"[store] vm/p\"");
  assert_no_parent ("vm/c", &none, VD_DENIED, "'[store] vm/p'");
  disk ("vm/c", "2", "1", "parentFileNameHint=\"[store] vm/p.vmdk\"");
  assert_no_parent ("vm/c", &none, VD_UNSUPPORTED, "'[store] vm/p.vmdk'",
                    "names an object of a datastore", "p.vmdk, ../vm/p.vmdk");
  disk ("vm/c", "2", "1", "parentFileNameHint=\"sub/\"");
  assert_no_parent ("vm/c", &none, VD_CORRUPT, "vm/c", "'sub/'",
                    "does not name a file");
  disk ("vm/c", "2", "1", "parentFileNameHint=\"\"");
  assert_no_parent ("vm/c", &none, VD_CORRUPT, "vm/c", "does not name a file");
  disk ("vm/c", "2", "1", "parentFileNameHint=\"gone\"");
  assert_no_parent ("vm/c", &none, VD_NOT_FOUND, "vm/c", "'gone'");
  u_write_text ("vm/x", "not a VMDK");
  disk ("vm/c", "2", "1", "parentFileNameHint=\"x\"");
  assert_no_parent ("vm/c", &none, VD_CORRUPT, "vm/c", "'x'");
}

#define UUID(n) "622a0911-bc78-4b7a-a6ec-00000000000" #n

TEST (uuids)
{
  disk ("a", "1", NULL, "ddb.uuid.image=\"" UUID (1) "\"");
  disk ("c", "2", "ffffffff", "ddb.uuid.parent=\"" UUID (1) "\"");
  finds ("c", &none, VD_PARENT_FOUND, "/a");
  disk ("c", "2", "ffffffff",
        "ddb.uuid.parent=\"00000000-0000-0000-0000-000000000000\"");
  finds ("c", &none, VD_PARENT_NONE, NULL);
  disk ("c", "2", "ffffffff", "ddb.uuid.parent=\"" UUID (2) "\"");
  assert_no_parent ("c", &none, VD_NOT_FOUND, "c", "{" UUID (2) "}");
  disk ("c", "2", "ffffffff", "ddb.uuid.parent=\"" UUID (1) "\"");
  disk ("b", "1", NULL, "ddb.uuid.image=\"" UUID (1) "\"");
  assert_no_parent ("c", &none, VD_MISMATCH, UUID (1), "/a", "/b");
  /* both kinds of link */
  disk ("c", "2", "1", "parentFileNameHint=\"a\"\nddb.uuid.parent=\""
        UUID (1) "\"");
  finds ("c", &none, VD_PARENT_FOUND, "/a");
  disk ("c", "2", "1", "parentFileNameHint=\"a\"\nddb.uuid.parent=\""
        UUID (3) "\"");
  assert_no_parent ("c", &none, VD_MISMATCH, "c was made on the image with",
                    UUID (3), UUID (1));
}

/* However many links are looked for, a directory is read once, and a file
 * opened once, whatever names it has.
 */
TEST (a_directory_is_read_once)
{
  enum { LINKS = 40, NAMES = 300 };
  struct vd_family *family;
  struct vd_member *m;
  struct vd_err err;
  char name[32], line[200];
  unsigned i;

  for (i = 0; i < LINKS; ++i) {
    snprintf (line, sizeof line, "ddb.uuid.image=\"622a0911-bc78-4b7a-a6ec-%012x"
              "\"\nddb.uuid.parent=\"622a0911-bc78-4b7a-a6ec-%012x\"", i + 1, i);
    snprintf (name, sizeof name, "l%u", i);
    disk (name, "1", "ffffffff",
          i > 0 ? line : "ddb.uuid.image=\"" UUID (1) "\"");
  }
  disk ("junk", "1", NULL, NULL);
  for (i = 0; i < NAMES; ++i) {
    snprintf (name, sizeof name, "junk%u", i);
    assert_int_equal (link ("junk", name), 0);
  }
  family = vd_family_new (&none, &err);
  assert_opened (family, &err);
  snprintf (name, sizeof name, "l%u", LINKS - 1);
  m = vd_family_add (family, name, &err);
  assert_opened (m, &err);
  if (vd_family_resolve (family, m, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_int_equal (vd_member_depth (m), LINKS - 1);
  /* Each once for the index, and the parents again to be read. */
  assert_true (family->index.nr_opened <= LINKS + 1 + LINKS);
  assert_int_equal (family->index.nr_dirs, 1);
  vd_family_free (family);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (links_without_a_parent),
    tmpdir_test (a_bare_extent_does_not_know),
    tmpdir_test (places_are_tried_in_order),
    tmpdir_test (a_cid_that_fits_wins),
    tmpdir_test (hints_that_are_refused),
    tmpdir_test (uuids),
    tmpdir_test (a_directory_is_read_once),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
