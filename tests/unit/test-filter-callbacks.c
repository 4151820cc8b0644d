/* Every callback of the filter, over a base that fails, lies, or changes.
 *
 * nbdkit asserts what the base of server.c asserts; and that a callback for
 * data that fails has set *err, and that one that describes has described
 * something.
 */

#include <errno.h>

#include "server.h"
#include "unit.h"

#define SIZE MIB

extern struct nbdkit_filter *filter_init (void);

static struct nbdkit_filter *filter;
static struct mk_content base_content = { .seed = 7, .layer = 20,
                                          .flavour = MK_HOLEY };
static struct mk_content content = { .seed = 8, .layer = 1 };
static struct mk_pattern pattern = { .seed = 9, .run = 5, .fill = 500,
                                     .zero = 300 };
static struct mk_spec spec;
static uint8_t data[2 * SIZE];  /* the base */
static uint8_t want[SIZE], buf[SIZE];
static struct s_base base;

static const char *added_export;

int
nbdkit_add_export (struct nbdkit_exports *exports, const char *name,
                   const char *description)
{
  (void) exports, (void) description;
  added_export = name;
  return 0;
}

/* ---- The life of the filter --------------------------------------------- */

static int
next_config (nbdkit_backend *nxdata, const char *key, const char *value)
{
  (void) nxdata, (void) value;
  return strcmp (key, "refused-below") == 0 ? -1 : 0;
}

static int next_complete_answer;

static int
next_complete (nbdkit_backend *nxdata)
{
  (void) nxdata;
  return next_complete_answer;
}

static int
config (const char *key, const char *value)
{
  return filter->config (next_config, NULL, key, value);
}

/* The disk is what a base of so many bytes, filled by base_content, gives. */
static void
set_base (int64_t size)
{
  const struct mk_piece piece = mk_piece_of (&spec);
  const struct mk_layer layer = { .pieces = &piece, .n = 1 };
  const struct mk_model model = {
    .capacity = SIZE, .base_size = (uint64_t) size,
    .base = mk_fill_content (&base_content), .layers = &layer, .n = 1,
  };

  mk_content_fill (&base_content, data, sizeof data, 0);
  mk_model_read (&model, want, SIZE, 0);
  s_base_init (&base, data, sizeof data, size);
}

/* All up to the first client, as the server does it. */
static void
start (int64_t size, bool allow_short)
{
  filter->unload ();            /* in case that a test ended early */
  spec = (struct mk_spec) {
    .format = MK_KDMV, .capacity = SIZE, .grain_size = 4096, .seed = 3,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
    .flags_set = 4, .version = 2,
  };
  u_write_image ("x.vmdk", &spec);
  set_base (size);
  s_errors = s_fail_from = 0;
  assert_int_equal (config ("delta", "x.vmdk"), 0);
  assert_int_equal (config ("delta-allow-short-base",
                            allow_short ? "true" : "false"), 0);
  assert_int_equal (filter->config_complete (next_complete, NULL), 0);
  if (filter->get_ready (3) == -1)
    fail_msg ("%s", s_error);
}

static void
unload (void)
{
  filter->unload ();
  filter->unload ();            /* is called twice, if it is given twice */
}

static int next_open_answer;

static int
next_open (nbdkit_context *nxdata, int readonly, const char *name)
{
  (void) nxdata, (void) name;
  assert_int_equal (readonly, 1);
  return next_open_answer;
}

static void *
open_name (const char *name)
{
  return filter->open (next_open, NULL, 0, name, 0);
}

/* A connection; NULL if it is refused. */
static void *
try_connect (void)
{
  void *h = open_name ("");

  assert_non_null (h);
  s_base_forget (&base);
  if (filter->prepare (&base.next, h, 1) == 0)
    return h;
  filter->close (h);
  return NULL;
}

static void *
connect_ok (void)
{
  void *h = try_connect ();

  if (!h)
    fail_msg ("%s", s_error);
  return h;
}

/* ---- Its answers -------------------------------------------------------- */

static int
pread_at (void *h, uint32_t count, uint64_t offset, int *err)
{
  *err = 0;
  memset (buf, 0xa5, count);
  return filter->pread (&base.next, h, buf, count, offset, 0, err);
}

static void
check_read (void *h, uint32_t count, uint64_t offset)
{
  int err;

  if (pread_at (h, count, offset, &err) == -1)
    fail_msg ("%s", s_error);
  assert_memory_equal (buf, want + offset, count);
}

/* 0, or the error. */
static int
ask_extents (void *h, uint32_t count, uint64_t offset, uint32_t flags)
{
  struct nbdkit_extents *list = nbdkit_extents_new (offset, SIZE);
  int err = 0, r;

  assert_non_null (list);
  r = filter->extents (&base.next, h, count, offset, flags, list, &err);
  if (r == 0)
    s_check_extents (list, offset, count, want);
  else {
    assert_int_equal (r, -1);
    assert_int_not_equal (err, 0);
  }
  nbdkit_extents_free (list);
  return err;
}

static int
ask_cache (void *h, uint32_t count, uint64_t offset)
{
  int err = 0;
  const int r = filter->cache (&base.next, h, count, offset, 0, &err);

  assert_int_equal (r, err ? -1 : 0);
  return err;
}

static void
check_all (void *h)
{
  struct mk_rng rng;

  mk_rng_seed (&rng, 5);
  check_read (h, SIZE, 0);
  assert_int_equal (ask_extents (h, SIZE, 0, 0), 0);
  assert_int_equal (ask_cache (h, SIZE, 0), 0);
  for (unsigned i = 0; i < 60; i++) {
    const uint64_t offset = mk_rng_below (&rng, SIZE);
    const uint32_t n = 1 + (uint32_t) mk_rng_below (&rng, SIZE - offset);

    check_read (h, n, offset);
    assert_int_equal (ask_extents (h, n, offset, i % 2
                                   ? NBDKIT_FLAG_REQ_ONE : 0), 0);
  }
  assert_int_equal (ask_cache (h, 1, SIZE - 1), 0);
}

/* ---- Tests -------------------------------------------------------------- */

TEST (over_a_good_base_all_is_right)
{
  uint32_t minimum, preferred, maximum;
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  assert_int_equal (filter->get_size (&base.next, h), SIZE);
  assert_int_equal (filter->can_write (&base.next, h), 0);
  assert_int_equal (filter->can_flush (&base.next, h), 0);
  assert_int_equal (filter->can_trim (&base.next, h), 0);
  assert_int_equal (filter->can_zero (&base.next, h), 0);
  assert_int_equal (filter->can_fast_zero (&base.next, h), 0);
  assert_int_equal (filter->can_fua (&base.next, h), 0);
  assert_int_equal (filter->can_extents (&base.next, h), 1);
  assert_int_equal (filter->can_cache (&base.next, h), NBDKIT_CACHE_NATIVE);
  assert_int_equal (filter->can_multi_conn (&base.next, h), 1);
  assert_int_equal (filter->is_rotational (&base.next, h), 0);
  assert_int_equal (filter->block_size (&base.next, h, &minimum, &preferred,
                                        &maximum), 0);
  s_check_block_size (minimum, preferred, maximum);
  check_all (h);
  assert_int_equal (s_errors, 0);
  filter->close (h);
  unload ();
}

/* What the server asks of a layer, and what it is answered, changes from one
 * version to the next; a filter without one of these takes what is below.
 */
TEST (no_capability_is_left_to_the_base)
{
  assert_non_null (filter->can_write);
  assert_non_null (filter->can_flush);
  assert_non_null (filter->can_trim);
  assert_non_null (filter->can_zero);
  assert_non_null (filter->can_fast_zero);
  assert_non_null (filter->can_fua);
  assert_non_null (filter->can_extents);
  assert_non_null (filter->can_cache);
  assert_non_null (filter->can_multi_conn);
  /* without one of ours the server would pass it on */
  assert_non_null (filter->pwrite);
  assert_non_null (filter->zero);
  assert_non_null (filter->trim);
  assert_non_null (filter->flush);
}

TEST (each_answer_that_a_base_does_not_give_refuses_the_client)
{
  start (SIZE, false);
  base.size = -1;
  assert_null (try_connect ());
  base.size = SIZE;
  base.can_extents = -1;
  assert_null (try_connect ());
  base.can_extents = 1;
  base.can_multi_conn = -1;
  assert_null (try_connect ());
  base.can_multi_conn = 1;
  base.is_rotational = -1;
  assert_null (try_connect ());
  base.is_rotational = 0;
  base.block_size = -1;
  assert_null (try_connect ());
  base.block_size = 0;
  filter->close (connect_ok ());
  unload ();
}

/* The server asks again, and caches only what was no failure. */
TEST (an_answer_that_fails_later_is_passed_on)
{
  uint32_t a, b, c;
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  base.can_multi_conn = base.is_rotational = base.block_size = -1;
  assert_int_equal (filter->can_multi_conn (&base.next, h), -1);
  assert_int_equal (filter->is_rotational (&base.next, h), -1);
  assert_int_equal (filter->block_size (&base.next, h, &a, &b, &c), -1);
  filter->close (h);
  unload ();
}

TEST (every_errno_of_a_read_becomes_one_that_a_client_gets)
{
  int err;
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  for (const int *e = s_errnos; *e; e++) {
    base.pread_errno = *e;
    assert_int_equal (pread_at (h, SIZE, 0, &err), -1);
    assert_true (s_survives (err));
    if (*e == ENOMEM || *e == ENOSPC || *e == EIO)
      assert_int_equal (err, *e);
    else
      assert_int_equal (err, *e == EFBIG || *e == EDQUOT ? ENOSPC : EIO);
    assert_text (s_error, "the base (the export under the filter)");
    assert_int_equal (ask_cache (h, SIZE, 0), err);
  }
  base.pread_errno = 0;
  check_all (h);
  filter->close (h);
  unload ();
}

/* 65 bytes of the base are bad: what needs them fails, and nothing else. */
TEST (only_reads_that_need_bad_bytes_fail)
{
  unsigned failed = 0;
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  for (uint64_t at = 100; at < SIZE; at += 65536 - 100) {
    struct mk_rng rng;

    base.bad = at;
    base.bad_end = at + 65;
    base.pread_errno = EIO;
    mk_rng_seed (&rng, at);
    for (unsigned i = 0; i < 30; i++) {
      const uint64_t near = at > 20000 ? at - 20000 : 0;
      const uint64_t from = near + mk_rng_below (&rng, 40000);
      const uint32_t n = 1 + (uint32_t) mk_rng_below (&rng, 9000);
      int err;

      if (from + n > SIZE)
        continue;
      if (pread_at (h, n, from, &err) == 0)
        assert_memory_equal (buf, want + from, n);
      else {
        assert_int_equal (err, EIO);
        assert_true (from < base.bad_end && from + n > base.bad);
        failed++;
      }
    }
  }
  assert_true (failed > 5);
  filter->close (h);
  unload ();
}

TEST (every_errno_of_block_status_becomes_one_that_a_client_gets)
{
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  for (const int *e = s_errnos; *e; e++) {
    base.extents_errno = *e;
    for (unsigned one = 0; one < 2; one++) {
      const int err = ask_extents (h, SIZE, 0, one ? NBDKIT_FLAG_REQ_ONE : 0);

      /* the first piece may be the delta's */
      assert_true (s_survives (err) || (one && err == 0));
    }
  }
  filter->close (h);
  unload ();
}

TEST (a_base_may_describe_more_or_less_than_it_was_asked_for)
{
  static const uint64_t granules[] = { 512, 1000, 4096, 65536, SIZE };
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  for (size_t i = 0; i < ARRAY_SIZE (granules); i++)
    for (int map = S_ALL; map <= S_BEFORE_AND_AFTER; map++) {
      base.granule = granules[i];
      base.map = (enum s_map) map;
      check_all (h);
    }
  /* the server would be gone, were the answer empty too */
  base.map = S_EMPTY;
  assert_int_equal (ask_extents (h, SIZE, 0, 0), EIO);
  assert_text (s_error, "empty map");
  filter->close (h);
  unload ();
}

TEST (no_memory_for_extents_is_an_error)
{
  unsigned n = 0;
  void *h;
  int err, r;

  start (SIZE, false);
  h = connect_ok ();
  do {
    struct nbdkit_extents *list = nbdkit_extents_new (0, SIZE);

    s_fail_from = ++n;
    s_failed = false;
    err = 0;
    r = filter->extents (&base.next, h, SIZE, 0, 0, list, &err);
    assert_int_equal (r, s_failed ? -1 : 0);
    assert_int_equal (err, s_failed ? ENOMEM : 0);
    s_fail_from = 0;
    nbdkit_extents_free (list);
  } while (err && n < 10000);
  assert_true (n > 5);
  assert_int_equal (err, 0);
  filter->close (h);
  unload ();
}

/* can_extents = 0: to ask all the same would end the server. */
TEST (a_base_without_extents_is_not_asked_for_them)
{
  void *h;

  start (SIZE, false);
  base.can_extents = 0;
  h = connect_ok ();
  check_all (h);
  assert_int_equal (base.nr_extents, 0);
  filter->close (h);
  unload ();
}

TEST (a_base_of_any_size_is_read_inside_of_it_only)
{
  static const int64_t sizes[] = {
    0, 1, 511, 4096, 100001, SIZE - 1, SIZE, SIZE + 1, SIZE + 777, 2 * SIZE
  };

  for (size_t i = 0; i < ARRAY_SIZE (sizes); i++)
    for (uint32_t block = 0; block <= 65536; block = block ? block * 16 : 16) {
      void *h;

      start (sizes[i], true);
      base.block[0] = block;
      base.block[1] = 65536;
      base.block[2] = UINT32_MAX;
      h = connect_ok ();
      assert_int_equal (filter->get_size (&base.next, h), SIZE);
      check_all (h);
      filter->close (h);
      unload ();
    }
}

TEST (a_short_base_is_refused)
{
  start (SIZE - 1, false);
  assert_null (try_connect ());
  assert_text (s_error, "delta-allow-short-base");
  unload ();
}

TEST (a_base_that_has_another_size_later_is_refused)
{
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  base.size = SIZE + 512;
  assert_null (try_connect ());
  assert_text (s_error, "not the same any more");
  base.size = SIZE - 512;
  assert_null (try_connect ());
  base.size = SIZE;
  check_all (h);
  filter->close (h);
  h = connect_ok ();
  check_all (h);
  filter->close (h);
  unload ();
}

TEST (whatever_block_size_the_base_has_clients_get_a_lawful_one)
{
  static const uint32_t blocks[][3] = {
    { 0, 0, 0 }, { 1, 512, UINT32_MAX }, { 512, 512, 512 },
    { 1, 512, 1536 }, { 512, 1024, 1536 }, { 65536, 65536, 65536 * 3 },
    { 3, 1000, 7 }, { 512, 4096, 0 }, { 0, 4096, UINT32_MAX }, { 1, 0, 1 },
    { UINT32_C (1) << 31, UINT32_C (1) << 31, UINT32_MAX },
    { 4096, 512, 512 }, { 1, 3, UINT32_MAX },
    { 1, UINT32_C (64) << 20, UINT32_MAX },
    { UINT32_MAX, UINT32_MAX, UINT32_MAX }, { 512, 512, 513 },
  };

  for (size_t i = 0; i < ARRAY_SIZE (blocks); i++) {
    uint32_t minimum, preferred, maximum;
    void *h;

    start (SIZE, false);
    memcpy (base.block, blocks[i], sizeof base.block);
    h = connect_ok ();
    assert_int_equal (filter->block_size (&base.next, h, &minimum,
                                          &preferred, &maximum), 0);
    s_check_block_size (minimum, preferred, maximum);
    check_all (h);
    filter->close (h);
    unload ();
  }
}

/* A client that asks for this name; NULL if it is refused. */
static void *
try_name (const char *name)
{
  void *h = open_name (name);

  if (!h)
    return NULL;
  s_base_forget (&base);
  if (filter->prepare (&base.next, h, 1) == 0)
    return h;
  filter->close (h);
  return NULL;
}

TEST (one_export_is_served)
{
  static const char *const names[] = { "one", "" };

  for (size_t i = 0; i < 2; i++) {
    void *a, *b;

    start (SIZE, false);
    next_open_answer = -1;
    assert_null (open_name ("two"));
    next_open_answer = 0;
    a = try_name (names[i]);
    assert_non_null (a);
    assert_null (try_name ("two"));
    assert_text (s_error, "two");
    assert_text (s_error, "delta-export=NAME");
    assert_null (try_name (names[1 - i]));
    b = try_name (names[i]);
    assert_non_null (b);
    check_all (b);
    filter->close (a);
    filter->close (b);
    unload ();
  }
}

/* Nor does it decide the size; and of two that are being opened, the first
 * that fits does.
 */
TEST (a_client_that_is_refused_decides_nothing)
{
  void *a, *b;

  start (SIZE, false);
  base.size = SIZE - 512;
  assert_null (try_name ("small"));
  base.size = SIZE;
  base.can_extents = -1;
  assert_null (try_name ("broken"));
  base.can_extents = 1;
  a = open_name ("a");
  b = open_name ("b");
  assert_non_null (a);
  assert_non_null (b);
  s_base_forget (&base);
  assert_int_equal (filter->prepare (&base.next, b, 1), 0);
  s_base_forget (&base);
  assert_int_equal (filter->prepare (&base.next, a, 1), -1);
  assert_text (s_error, "'b' was opened first");
  filter->close (a);
  s_base_forget (&base);
  base.asked_size = base.asked_extents = true;
  check_all (b);
  filter->close (b);
  unload ();
}

static const char *next_default;

static const char *
next_default_export (nbdkit_backend *nxdata, int readonly)
{
  (void) nxdata, (void) readonly;
  return next_default;
}

static int
next_list_exports (nbdkit_backend *nxdata, int readonly,
                   struct nbdkit_exports *exports)
{
  (void) nxdata, (void) readonly;
  return nbdkit_add_export (exports, "below", NULL);
}

TEST (the_export_can_be_named)
{
  void *h;

  start (SIZE, false);
  next_default = "below";
  assert_string_equal (filter->default_export (next_default_export, NULL, 1,
                                               0), "below");
  assert_int_equal (filter->list_exports (next_list_exports, NULL, 1, 0,
                                          NULL), 0);
  assert_string_equal (added_export, "below");
  assert_int_equal (config ("delta-export", "two"), 0);
  assert_string_equal (filter->default_export (next_default_export, NULL, 1,
                                               0), "two");
  assert_int_equal (filter->list_exports (next_list_exports, NULL, 1, 0,
                                          NULL), 0);
  assert_string_equal (added_export, "two");
  assert_null (try_name ("one"));
  assert_text (s_error, "delta-export");
  assert_null (try_name (""));
  h = try_name ("two");
  assert_non_null (h);
  filter->close (h);
  unload ();
  start (SIZE, false);
  assert_int_equal (config ("delta-export", ""), 0);
  assert_null (try_name ("one"));
  h = try_name ("");
  assert_non_null (h);
  filter->close (h);
  unload ();
}

TEST (a_base_that_is_an_image_of_another_format_is_refused)
{
  static const uint8_t qcow[] = { 'Q', 'F', 'I', 0xfb, 0, 0, 0, 3 };
  void *h;
  int err;

  start (SIZE, false);
  memcpy (data, qcow, sizeof qcow);
  assert_null (try_name ("image"));
  assert_text (s_error, "qcow image");
  assert_text (s_error, "delta-base-format=raw");
  /* What is said of it comes before its size, which is wrong too. */
  base.size = 65536;
  assert_null (try_name ("image"));
  assert_text (s_error, "qcow image");

  /* It cannot be looked at now: nothing of it is given out before. */
  base.size = SIZE;
  base.bad = 0;
  base.bad_end = 1;
  base.pread_errno = EIO;
  h = try_name ("image");
  assert_non_null (h);
  assert_int_equal (pread_at (h, SIZE / 2, SIZE / 2, &err), -1);
  assert_int_equal (err, EIO);
  base.pread_errno = 0;
  assert_int_equal (pread_at (h, SIZE / 2, SIZE / 2, &err), -1);
  assert_int_equal (err, EIO);
  assert_text (s_error, "qcow image");
  assert_int_not_equal (ask_extents (h, SIZE, 0, 0), 0);
  set_base (SIZE);
  base.asked_size = base.asked_extents = true;
  check_all (h);
  filter->close (h);
  unload ();

  /* It is looked at once. */
  start (SIZE, false);
  filter->close (connect_ok ());
  assert_int_equal (base.nr_preads, 2);
  base.nr_preads = 0;
  filter->close (connect_ok ());
  assert_int_equal (base.nr_preads, 0);
  unload ();

  start (SIZE, false);
  assert_int_equal (config ("delta-base-format", "qcow2"), -1);
  assert_text (s_error, "allowed is raw");
  unload ();
}

TEST (a_base_can_be_called_raw)
{
  static const uint8_t qcow[] = { 'Q', 'F', 'I', 0xfb, 0, 0, 0, 3 };
  uint8_t first[8];
  void *h;
  int err;

  assert_int_equal (config ("delta-base-format", "raw"), 0);
  filter->unload ();
  assert_int_equal (config ("delta-base-format", "raw"), 0);
  spec.map = mk_map_pattern (&pattern);
  assert_int_equal (config ("delta", "x.vmdk"), 0);
  u_write_image ("x.vmdk", &spec);
  set_base (SIZE);
  assert_int_equal (filter->config_complete (next_complete, NULL), 0);
  assert_int_equal (filter->get_ready (3), 0);
  memcpy (data, qcow, sizeof qcow);
  h = connect_ok ();
  assert_int_equal (base.nr_preads, 0);
  assert_int_equal (pread_at (h, sizeof first, 0, &err), 0);
  filter->close (h);
  unload ();
}

TEST (after_many_errors_each_still_has_its_errno)
{
  int err;
  void *h;

  start (SIZE, false);
  h = connect_ok ();
  base.pread_errno = EIO;
  for (unsigned i = 0; i < 500; i++) {
    assert_int_equal (pread_at (h, SIZE, 0, &err), -1);
    assert_int_equal (err, EIO);
  }
  assert_true (s_errors <= 100);       /* the log is not flooded */
  filter->close (h);
  unload ();
}

TEST (parameters_are_taken_refused_or_passed_on)
{
  assert_int_equal (config ("other", "x"), 0);
  assert_int_equal (config ("refused-below", "x"), -1);
  assert_int_equal (config ("delta-unknown", "x"), -1);
  assert_text (s_error, "delta-unknown");
  assert_int_equal (config ("delta-follow", "perhaps"), -1);
  assert_int_equal (config ("delta-cache-size", "1"), -1);
  assert_text (s_error, "1M");
  assert_int_equal (config ("delta-cache-size", "much"), -1);
  assert_int_equal (config ("delta", ""), -1);
  assert_int_equal (filter->config_complete (next_complete, NULL), -1);
  assert_text (s_error, "needs delta=FILE");
  unload ();
  assert_int_equal (config ("delta-follow", "false"), 0);
  assert_int_equal (config ("delta-follow", "false"), -1);
  assert_text (s_error, "twice");
  assert_int_equal (config ("delta", "missing.vmdk"), 0);
  next_complete_answer = -1;
  assert_int_equal (filter->config_complete (next_complete, NULL), -1);
  next_complete_answer = 0;
  assert_int_equal (filter->config_complete (next_complete, NULL), 0);
  assert_int_equal (filter->get_ready (3), -1);
  assert_text (s_error, "missing.vmdk");
  unload ();
}

/* The last one: it cannot be undone. */
TEST (the_same_filter_twice_is_refused)
{
  filter->load ();
  assert_int_equal (config ("delta", "x.vmdk"), 0);
  assert_int_equal (filter->config_complete (next_complete, NULL), -1);
  assert_text (s_error, "2 times");
  unload ();
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (over_a_good_base_all_is_right),
    cmocka_unit_test (no_capability_is_left_to_the_base),
    tmpdir_test (each_answer_that_a_base_does_not_give_refuses_the_client),
    tmpdir_test (an_answer_that_fails_later_is_passed_on),
    tmpdir_test (every_errno_of_a_read_becomes_one_that_a_client_gets),
    tmpdir_test (only_reads_that_need_bad_bytes_fail),
    tmpdir_test (every_errno_of_block_status_becomes_one_that_a_client_gets),
    tmpdir_test (a_base_may_describe_more_or_less_than_it_was_asked_for),
    tmpdir_test (no_memory_for_extents_is_an_error),
    tmpdir_test (a_base_without_extents_is_not_asked_for_them),
    tmpdir_test (a_base_of_any_size_is_read_inside_of_it_only),
    tmpdir_test (a_short_base_is_refused),
    tmpdir_test (a_base_that_has_another_size_later_is_refused),
    tmpdir_test (whatever_block_size_the_base_has_clients_get_a_lawful_one),
    tmpdir_test (one_export_is_served),
    tmpdir_test (a_client_that_is_refused_decides_nothing),
    tmpdir_test (the_export_can_be_named),
    tmpdir_test (a_base_that_is_an_image_of_another_format_is_refused),
    tmpdir_test (a_base_can_be_called_raw),
    tmpdir_test (parameters_are_taken_refused_or_passed_on),
    tmpdir_test (after_many_errors_each_still_has_its_errno),
    tmpdir_test (the_same_filter_twice_is_refused),
  };

  filter = filter_init ();
  filter->load ();
  return cmocka_run_group_tests (tests, NULL, NULL);
}
