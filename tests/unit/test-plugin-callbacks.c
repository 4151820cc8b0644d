/* Every callback of the plugin, over disks that are damaged, cut while they
 * are served, or not there.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "server.h"
#include "unit.h"

#define SIZE (256 * KIB)

extern struct nbdkit_plugin *plugin_init (void);

static struct nbdkit_plugin *plugin;
static struct mk_content content = { .seed = 8, .layer = 1,
                                     .flavour = MK_HOLEY };
static struct mk_pattern pattern = { .seed = 9, .run = 3, .fill = 600,
                                     .zero = 200 };
static struct mk_spec spec;
static struct mk_layout layout;
static uint8_t want[SIZE], buf[SIZE];

/* ---- The server --------------------------------------------------------- */

static const char *export_name = "";

const char *
nbdkit_export_name (void)
{
  return export_name;
}

struct nbdkit_exports {
  char name[16][64];
  size_t n;
};

int
nbdkit_add_export (struct nbdkit_exports *e, const char *name,
                   const char *description)
{
  if (s_no_memory ())
    return -1;
  assert_true (e->n < ARRAY_SIZE (e->name));
  assert_true (strlen (name) < sizeof e->name[0]);
  assert_non_null (description);
  strcpy (e->name[e->n++], name);
  return 0;
}

/* ---- The life of the plugin --------------------------------------------- */

/* A disk without a parent, x.vmdk. */
static void
make_disk (void)
{
  const struct mk_line line = { .sectors = SIZE / 512, .type = "SPARSE",
                                .name = "x.vmdk", .offset = -1 };
  const struct mk_descriptor d = {
    .lines = &line, .n_lines = 1, .cid = 1, .parent_cid = 0xffffffff,
    .create_type = "monolithicSparse",
  };
  const struct mk_piece piece = { .spec = &spec, .length = SIZE };
  const struct mk_layer layer = { .pieces = &piece, .n = 1 };
  const struct mk_model model = { .capacity = SIZE, .layers = &layer,
                                  .n = 1 };
  char *text = mk_descriptor (&d, NULL);

  mk_layout_free (&layout);
  spec = (struct mk_spec) {
    .format = MK_KDMV, .capacity = SIZE, .grain_size = 4096, .seed = 3,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
    .flags_set = 4, .version = 2, .descriptor = text,
  };
  assert_int_equal (mk_make_file (&spec, "x.vmdk", &layout), 0);
  mk_model_read (&model, want, SIZE, 0);
  free (text);
}

static void
start (const char *key, const char *value)
{
  plugin->unload ();            /* in case that a test ended early */
  export_name = "";
  s_errors = s_fail_from = 0;
  assert_int_equal (plugin->config (key, value), 0);
  assert_int_equal (plugin->config_complete (), 0);
  if (plugin->get_ready () == -1)
    fail_msg ("%s", s_error);
}

static void
unload (void)
{
  mk_layout_free (&layout);
  plugin->unload ();
  plugin->unload ();
}

static void *
open_ok (void)
{
  void *h = plugin->open (0);

  if (!h)
    fail_msg ("%s", s_error);
  return h;
}

/* ---- Its answers -------------------------------------------------------- */

/* 0, or the error that a client gets. */
static int
pread_at (void *h, uint32_t count, uint64_t offset)
{
  errno = 0;
  memset (buf, 0xa5, sizeof buf);
  if (plugin->pread (h, buf, count, offset, 0) == 0) {
    assert_memory_equal (buf, want + offset, count);
    return 0;
  }
  assert_true (s_survives (errno));
  return errno;
}

static int
ask_extents (void *h, uint32_t count, uint64_t offset, uint32_t flags)
{
  struct nbdkit_extents *list = nbdkit_extents_new (offset, SIZE);
  int err = 0;

  assert_non_null (list);
  errno = 0;
  if (plugin->extents (h, count, offset, flags, list) == 0)
    s_check_extents (list, offset, count, want);
  else {
    err = errno;
    assert_true (s_survives (err));
  }
  nbdkit_extents_free (list);
  return err;
}

static int
ask_cache (void *h, uint32_t count, uint64_t offset)
{
  errno = 0;
  if (plugin->cache (h, count, offset, 0) == 0)
    return 0;
  assert_true (s_survives (errno));
  return errno;
}

/* Any requests; how many of them fail?  Those that do not are right. */
static unsigned
ask_all (void *h)
{
  struct mk_rng rng;
  unsigned failed = 0;

  mk_rng_seed (&rng, 5);
  for (unsigned i = 0; i < 200; i++) {
    const uint64_t offset = mk_rng_below (&rng, SIZE);
    const uint64_t most = i % 2 ? 5000 : SIZE;
    const uint32_t n = 1 +
      (uint32_t) mk_rng_below (&rng, SIZE - offset < most ? SIZE - offset
                               : most);

    failed += pread_at (h, n, offset) != 0;
    ask_extents (h, n, offset, i % 3 ? NBDKIT_FLAG_REQ_ONE : 0);
    ask_cache (h, n, offset);
  }
  return failed;
}

static void
poke (uint64_t offset, unsigned bytes, uint64_t value)
{
  assert_int_equal (mk_poke_file ("x.vmdk", offset, bytes, value), 0);
}

/* ---- Tests -------------------------------------------------------------- */

TEST (a_good_disk_is_served_right)
{
  uint32_t minimum, preferred, maximum;
  void *h;

  make_disk ();
  start ("file", "x.vmdk");
  h = open_ok ();
  assert_int_equal (plugin->get_size (h), SIZE);
  assert_int_equal (plugin->can_write (h), 0);
  assert_int_equal (plugin->can_extents (h), 1);
  assert_int_equal (plugin->can_multi_conn (h), 1);
  assert_int_equal (plugin->can_cache (h), NBDKIT_CACHE_NATIVE);
  assert_int_equal (plugin->block_size (h, &minimum, &preferred, &maximum),
                    0);
  s_check_block_size (minimum, preferred, maximum);
  assert_int_equal (plugin->errno_is_preserved, 1);
  assert_int_equal (pread_at (h, SIZE, 0), 0);
  assert_int_equal (ask_extents (h, SIZE, 0, 0), 0);
  assert_int_equal (ask_cache (h, SIZE, 0), 0);
  assert_int_equal (ask_all (h), 0);
  assert_int_equal (s_errors, 0);
  plugin->close (h);
  unload ();
}

/* Another program cuts the file: an error or the right bytes, at any length. */
TEST (a_disk_that_is_cut_while_it_is_served_gives_errors)
{
  unsigned failed, last = 0;
  void *h;

  make_disk ();
  for (uint64_t size = layout.size; ; size = size > 30000 ? size - 30000 : 0) {
    make_disk ();
    start ("file", "x.vmdk");
    h = open_ok ();
    assert_int_equal (truncate ("x.vmdk", (off_t) size), 0);
    failed = ask_all (h);
    plugin->close (h);
    unload ();
    assert_true (failed >= last);
    last = failed;
    if (size == 0)
      break;
  }
  assert_true (last > 100);
}

/* The same for tables that change into nonsense. */
TEST (tables_that_become_nonsense_give_errors)
{
  static const uint32_t values[] = {
    2, 0x7fffffff, 0xffffffff, 0x80000000, 100000
  };
  void *h;

  for (size_t i = 0; i < ARRAY_SIZE (values); i++) {
    const struct mk_where *w;

    make_disk ();
    w = &layout.grains[layout.n_grains / 2];
    start ("file", "x.vmdk");
    h = open_ok ();
    poke (w->gte, 4, values[i]);
    if (w->rgte)
      poke (w->rgte, 4, values[i]);
    assert_int_equal (pread_at (h, 4096, w->grain * 4096), EIO);
    assert_text (s_error, "x.vmdk");
    assert_true (ask_all (h) > 0);
    plugin->close (h);
    unload ();
  }
}

TEST (no_memory_for_extents_is_an_error)
{
  unsigned n = 0;
  int err;
  void *h;

  make_disk ();
  start ("file", "x.vmdk");
  h = open_ok ();
  do {
    struct nbdkit_extents *list = nbdkit_extents_new (0, SIZE);
    int r;

    s_fail_from = ++n;
    s_failed = false;
    r = plugin->extents (h, SIZE, 0, 0, list);
    err = errno;
    s_fail_from = 0;
    assert_int_equal (r, s_failed ? -1 : 0);
    if (s_failed)
      assert_int_equal (err, ENOMEM);
    nbdkit_extents_free (list);
  } while (s_failed && n < 10000);
  assert_true (n > 5);
  plugin->close (h);
  unload ();
}

TEST (only_names_that_there_are_can_be_opened)
{
  static const char *const bad[] = {
    "y.vmdk", "X.VMDK", "./x.vmdk", "x.vmdk/", "../x.vmdk", "/", ".",
    "x.vmdk\n", "\033[2J", "%s%n"
  };

  make_disk ();
  start ("file", "x.vmdk");
  for (size_t i = 0; i < ARRAY_SIZE (bad); i++) {
    export_name = bad[i];
    s_errors = 0;
    assert_null (plugin->open (0));
    assert_int_equal (s_errors, 1);
    assert_null (strchr (s_error, '\033'));
  }
  export_name = NULL;           /* the server has said why */
  assert_null (plugin->open (0));
  export_name = "x.vmdk";
  plugin->close (open_ok ());
  assert_string_equal (plugin->default_export (0, 0), "x.vmdk");
  unload ();
}

TEST (a_listing_ends_in_order_when_memory_does)
{
  struct nbdkit_exports list = { .n = 0 };

  make_disk ();
  assert_int_equal (mkdir ("vm", 0700), 0);
  assert_int_equal (rename ("x.vmdk", "vm/x.vmdk"), 0);
  make_disk ();
  assert_int_equal (rename ("x.vmdk", "vm/y.vmdk"), 0);
  u_write_text ("vm/z.vmdk",
                "# Disk DescriptorFile\nversion=1\nCID=00000002\n"
                "parentCID=00000001\nparentFileNameHint=\"gone.vmdk\"\n"
                "RW 512 SPARSE \"x.vmdk\"\n");
  start ("dir", "vm");
  for (unsigned fail = 1; fail <= 2; fail++) {
    s_fail_from = fail;
    list.n = 0;
    assert_int_equal (plugin->list_exports (0, 0, &list), -1);
  }
  s_fail_from = 0;
  list.n = 0;
  assert_int_equal (plugin->list_exports (0, 0, &list), 0);
  assert_int_equal (list.n, 2);
  assert_string_equal (plugin->default_export (0, 0), "");
  /* what is not listed says why */
  export_name = "z.vmdk";
  assert_null (plugin->open (0));
  assert_text (s_error, "gone.vmdk");
  export_name = "";
  assert_null (plugin->open (0));
  assert_text (s_error, "name one of them");
  unload ();
}

TEST (parameters_are_taken_or_refused)
{
  plugin->unload ();
  assert_int_equal (plugin->config ("fiel", "x"), -1);
  assert_text (s_error, "fiel");
  assert_int_equal (plugin->config_complete (), -1);
  assert_text (s_error, "file=FILE");
  assert_int_equal (plugin->config ("file", ""), -1);
  plugin->unload ();
  assert_int_equal (plugin->config ("file", "x.vmdk"), 0);
  assert_int_equal (plugin->config ("file", "x.vmdk"), -1);
  assert_text (s_error, "twice");
  assert_int_equal (plugin->config ("dir", "."), 0);
  assert_int_equal (plugin->config_complete (), -1);
  plugin->unload ();
  assert_int_equal (plugin->config ("parent-path", "."), 0);
  assert_int_equal (plugin->config ("parent-path", ""), -1);
  assert_int_equal (plugin->config ("ignore-cid", "2"), -1);
  assert_int_equal (plugin->config ("file", "missing.vmdk"), 0);
  assert_int_equal (plugin->config_complete (), 0);
  assert_int_equal (plugin->get_ready (), -1);
  assert_text (s_error, "missing.vmdk");
  plugin->unload ();
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (a_good_disk_is_served_right),
    tmpdir_test (a_disk_that_is_cut_while_it_is_served_gives_errors),
    tmpdir_test (tables_that_become_nonsense_give_errors),
    tmpdir_test (no_memory_for_extents_is_an_error),
    tmpdir_test (only_names_that_there_are_can_be_opened),
    tmpdir_test (a_listing_ends_in_order_when_memory_does),
    tmpdir_test (parameters_are_taken_or_refused),
  };

  plugin = plugin_init ();
  return cmocka_run_group_tests (tests, NULL, NULL);
}
