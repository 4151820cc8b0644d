/* Links opened once, their parents, and the chains made of them. */

#include <sys/stat.h>

#include "unit.h"

static void
disk (const char *path, unsigned cid, unsigned parent_cid, const char *hint)
{
  char text[512], line[128] = "";

  if (hint)
    snprintf (line, sizeof line, "parentFileNameHint=\"%s\"\n", hint);
  snprintf (text, sizeof text, "# Disk DescriptorFile\nCID=%x\nparentCID=%x\n"
            "%sRW 8 ZERO\n", cid, parent_cid, line);
  u_write_text (path, text);
}

static struct vd_family *
new_family (const struct vd_opts *opts)
{
  struct vd_err err;
  struct vd_family *f = vd_family_new (opts, &err);

  assert_opened (f, &err);
  return f;
}

static struct vd_member *
add (struct vd_family *f, const char *path)
{
  struct vd_err err;
  struct vd_member *m = vd_family_add (f, path, &err);

  assert_opened (m, &err);
  return m;
}

static void
resolve (struct vd_family *f, struct vd_member *m)
{
  struct vd_err err;

  if (vd_family_resolve (f, m, &err) == -1)
    fail_msg ("%s", err.msg);
}

static const struct vd_opts none;

static void
make_tree (void)
{
  disk ("base", 1, VD_NO_PARENT, NULL);
  disk ("s1", 2, 1, "base");
  disk ("s2", 3, 2, "s1");
  disk ("t2", 4, 2, "s1");
}

TEST (each_file_is_one_member)
{
  struct vd_family *f = new_family (&none);
  struct vd_member *m;

  make_tree ();
  assert_int_equal (symlink ("s1", "link"), 0);
  assert_int_equal (link ("s1", "hard"), 0);
  m = add (f, "s1");
  assert_ptr_equal (add (f, "s1"), m);
  assert_ptr_equal (add (f, "./s1"), m);
  assert_ptr_equal (add (f, "link"), m);
  assert_ptr_equal (add (f, "hard"), m);
  assert_int_equal (f->nr_members, 1);
  vd_family_free (f);
  vd_family_free (NULL);
}

TEST (snapshots_share_their_ancestors_in_any_order)
{
  static const char *const orders[][4] = {
    { "base", "s1", "s2", "t2" }, { "t2", "s2", "s1", "base" },
    { "s2", "base", "t2", "s1" },
  };
  struct vd_member *m[4];
  struct vd_chain *chain;
  struct vd_family *f;
  struct vd_err err;
  size_t i, k;

  make_tree ();
  for (i = 0; i < ARRAY_SIZE (orders); ++i) {
    f = new_family (&none);
    for (k = 0; k < 4; ++k)
      m[k] = add (f, orders[i][k]);
    for (k = 0; k < 4; ++k)
      resolve (f, m[k]);
    assert_int_equal (f->nr_members, 4);
    for (k = 0; k < 4; ++k) {
      const char *name = orders[i][k];
      const unsigned depth = strcmp (name, "base") == 0 ? 0 :
        strcmp (name, "s1") == 0 ? 1 : 2;

      assert_int_equal (vd_member_depth (m[k]), depth);
      chain = vd_family_chain (f, m[k], &err);
      assert_opened (chain, &err);
      assert_int_equal (chain->nr_links, depth + 1);
      assert_ptr_equal (chain->links[0], m[k]->link);
      assert_true (chain->has_base);
      vd_chain_free (chain);
    }
    vd_family_free (f);
  }
}

TEST (resolving_adds_the_ancestors)
{
  struct vd_family *f = new_family (&none);
  struct vd_member *m;

  make_tree ();
  m = add (f, "s2");
  assert_false (m->resolved);
  resolve (f, m);
  resolve (f, m);
  assert_int_equal (f->nr_members, 3);
  assert_int_equal (m->result, VD_PARENT_FOUND);
  assert_true (m->resolved);
  assert_int_equal (m->parent->parent->result, VD_PARENT_NONE);
  assert_null (m->parent->parent->parent);
  vd_family_free (f);
}

#define assert_unresolved(opts, path, want, ...)                        \
  do {                                                                  \
    struct vd_family *f_ = new_family (opts);                           \
    struct vd_member *m_ = add (f_, path);                              \
    struct vd_err err_ = { .code = VD_OK };                             \
                                                                        \
    assert_int_equal (vd_family_resolve (f_, m_, &err_), -1);           \
    assert_err (&err_, want, __VA_ARGS__);                              \
    vd_family_free (f_);                                                \
  } while (0)

TEST (loops)
{
  disk ("a", 1, 2, "b");
  disk ("b", 2, 1, "a");
  disk ("c", 3, 2, "b");
  assert_unresolved (&none, "a", VD_CORRUPT, "the chain loops", "a is its own",
                     "parent of", "/b");
  assert_unresolved (&none, "c", VD_CORRUPT, "the chain loops",
                     "b is its own");
}

TEST (parents_that_are_not_known)
{
  struct vd_opts opts = { .parent = "base" };
  struct vd_family *f;
  struct vd_member *m;

  disk ("base", 1, VD_NO_PARENT, NULL);
  disk ("c", 2, 1, NULL);
  disk ("d", 3, 2, "c");
  disk ("e", 4, 1, "gone");
  assert_unresolved (&none, "c", VD_NOT_FOUND, "c has a parent",
                     "parentCID 00000001", "give it with parent=FILE");
  vd_opts_set_prefix ("--");
  assert_unresolved (&none, "c", VD_NOT_FOUND, "--parent=FILE");
  vd_opts_set_prefix ("");
  assert_unresolved (&none, "d", VD_NOT_FOUND, "/c has a parent");
  assert_unresolved (&none, "e", VD_NOT_FOUND, "'gone'");

  f = new_family (&opts);
  m = add (f, "d");
  resolve (f, m);
  assert_int_equal (vd_member_depth (m), 2);
  m = add (f, "e");
  resolve (f, m);
  assert_int_equal (vd_member_depth (m), 1);
  assert_int_equal (f->nr_members, 4);
  vd_family_free (f);

  opts.parent = "nowhere";
  assert_unresolved (&opts, "c", VD_NOT_FOUND, "nowhere: cannot open");
}

TEST (a_parent_can_be_set)
{
  struct vd_family *f = new_family (&none);
  struct vd_member *c, *b;
  struct vd_err err;

  disk ("b", 9, VD_NO_PARENT, NULL);
  disk ("c", 2, 1, "gone");
  c = add (f, "c");
  b = add (f, "b");
  vd_family_set_parent (c, b);
  resolve (f, c);
  assert_ptr_equal (c->parent, b);
  assert_null (vd_family_chain (f, c, &err));
  assert_err (&err, VD_MISMATCH, "c was made on content 00000001",
              "b has content 00000009");
  vd_family_free (f);
}

TEST (too_deep)
{
  struct vd_family *f = new_family (&none);
  char name[16], hint[16];
  struct vd_err err;
  unsigned i;

  disk ("d0", 1, VD_NO_PARENT, NULL);
  for (i = 1; i <= VD_MAX_LINKS; ++i) {
    snprintf (name, sizeof name, "d%u", i);
    snprintf (hint, sizeof hint, "d%u", i - 1);
    disk (name, i + 1, i, hint);
  }
  snprintf (name, sizeof name, "d%u", VD_MAX_LINKS - 1);
  resolve (f, add (f, name));
  snprintf (name, sizeof name, "d%u", VD_MAX_LINKS);
  assert_int_equal (vd_family_resolve (f, add (f, name), &err), -1);
  assert_err (&err, VD_UNSUPPORTED, name, "more than 255 links");
  vd_family_free (f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (each_file_is_one_member),
    tmpdir_test (snapshots_share_their_ancestors_in_any_order),
    tmpdir_test (resolving_adds_the_ancestors),
    tmpdir_test (loops),
    tmpdir_test (parents_that_are_not_known),
    tmpdir_test (a_parent_can_be_set),
    tmpdir_test (too_deep),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
