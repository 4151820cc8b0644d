/* Applying: the same bytes with any number of threads; errors of the target are
 * told, and repeating completes; plans and new space are counted right.
 */

#include <errno.h>

#include "unit.h"

#define CAPACITY (20 * MIB + 5 * 512)
#define SURPLUS 1234

/* ---- A target in memory that can fail ------------------------------------ */

struct memory {
  struct vd_file file;
  uint8_t *data;
  uint64_t hole_grain;          /* says what is a hole, in such blocks */
  bool can_zero;
  atomic_uint calls;            /* of the kind that fails */
  unsigned fail_every;
  enum { NOTHING, WRITES, ZEROS, FLUSHES, READS } fails;
  atomic_uint writes, zeros, flushes;
  atomic_ullong written, zeroed; /* bytes */
  atomic_bool outside;          /* something past the disk was written */
};

static int
maybe (struct memory *m, int kind, struct vd_err *err)
{
  if ((int) m->fails != kind ||
      (atomic_fetch_add (&m->calls, 1) + 1) % m->fail_every != 0)
    return 0;
  return vd_fail_errno (err, EIO, "target: on purpose");
}

static int
m_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
         struct vd_err *err)
{
  struct memory *m = (struct memory *) f;

  assert_true (offset + n <= f->size);
  memcpy (buf, m->data + offset, n);
  return maybe (m, READS, err);
}

static int
m_pwrite (struct vd_file *f, const void *buf, size_t n, uint64_t offset,
          struct vd_err *err)
{
  struct memory *m = (struct memory *) f;

  atomic_fetch_add (&m->writes, 1);
  atomic_fetch_add (&m->written, n);
  if (offset + n > CAPACITY)
    atomic_store (&m->outside, true);
  /* One that fails may have written a part. */
  if (maybe (m, WRITES, err) == -1) {
    memcpy (m->data + offset, buf, n / 2);
    return -1;
  }
  memcpy (m->data + offset, buf, n);
  return 0;
}

static int
m_zero (struct vd_file *f, uint64_t offset, uint64_t length,
        struct vd_err *err)
{
  struct memory *m = (struct memory *) f;

  if (!m->can_zero)
    return 1;
  atomic_fetch_add (&m->zeros, 1);
  atomic_fetch_add (&m->zeroed, length);
  if (offset + length > CAPACITY)
    atomic_store (&m->outside, true);
  if (maybe (m, ZEROS, err) == -1)
    return -1;
  memset (m->data + offset, 0, length);
  return 0;
}

static int
m_flush (struct vd_file *f, struct vd_err *err)
{
  struct memory *m = (struct memory *) f;

  atomic_fetch_add (&m->flushes, 1);
  return maybe (m, FLUSHES, err);
}

static int
m_extents (struct vd_file *f, uint64_t offset, uint64_t length,
           vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  struct memory *m = (struct memory *) f;
  const uint64_t end = offset + length, g = m->hole_grain;

  while (offset < end) {
    const uint64_t to = vd_min (end, (offset / g + 1) * g);
    const bool hole = offset / g % 2 == 1;
    int r = fn (opaque, to - offset, hole ? VD_HOLE | VD_READS_ZERO : 0, err);

    if (r != 0)
      return r == -1 ? -1 : 0;
    offset = to;
  }
  return 0;
}

static const struct vd_file_ops plain_ops = {
  .pread = m_pread, .pwrite = m_pwrite, .zero = m_zero, .flush = m_flush,
};

static const struct vd_file_ops holey_ops = {
  .pread = m_pread, .pwrite = m_pwrite, .zero = m_zero, .flush = m_flush,
  .extents = m_extents,
};

/* Every second block of hole_grain bytes is zeros, and a hole if told so. */
static void
new_target (struct memory *m, uint64_t size, bool holey)
{
  uint64_t i;

  free (m->data);
  *m = (struct memory) {
    .file = { .ops = holey ? &holey_ops : &plain_ops, .name = "target",
              .size = size },
    .data = malloc (size), .hole_grain = 4 * KIB, .can_zero = true,
    .fail_every = 1,
  };
  assert_non_null (m->data);
  for (i = 0; i < size; ++i)
    m->data[i] = i / m->hole_grain % 2 == 1 ? 0
      : (uint8_t) (i * 7 + i / 509 + 1);
}

/* ---- The delta ------------------------------------------------------------ */

static struct mk_content content = { .seed = 5, .layer = 1 };
static struct mk_pattern pattern = {
  .seed = 9, .run = 12, .fill = 500, .zero = 350,
};
static struct mk_spec spec;
static struct u_image image;
static struct u_disk disk;
static struct memory target;
static uint8_t *expected;       /* CAPACITY + SURPLUS bytes */

static enum mk_kind
kind_of (uint64_t offset)
{
  return spec.map.kind (spec.map.opaque, offset / spec.grain_size);
}

static int
setup (void **state)
{
  uint64_t off;

  (void) state;
  spec = (struct mk_spec) {
    .format = MK_KDMV, .capacity = CAPACITY, .grain_size = 4 * KIB,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
    .placement = MK_SCATTERED,
  };
  u_make (&image, &spec);
  u_disk_open_one (&disk, &image, NULL);

  new_target (&target, CAPACITY + SURPLUS, false);
  expected = malloc (CAPACITY + SURPLUS);
  memcpy (expected, target.data, CAPACITY + SURPLUS);
  for (off = 0; off < CAPACITY; off += 512) {
    if (kind_of (off) == MK_DATA)
      mk_content_fill (&content, expected + off, 512, off);
    else if (kind_of (off) != MK_HOLE)
      memset (expected + off, 0, 512);
  }
  return 0;
}

static int
teardown (void **state)
{
  (void) state;
  u_disk_close (&disk);
  u_free (&image);
  free (target.data);
  free (expected);
  return 0;
}

static int
apply (unsigned threads, struct vd_err *err)
{
  const struct vd_apply_opts opts = { .threads = threads };

  return vd_apply (disk.reader, &target.file, &opts, err);
}

static void
assert_complete (void)
{
  assert_memory_equal (target.data, expected, CAPACITY + SURPLUS);
  assert_false (target.outside);
}

/* ---- Tests ---------------------------------------------------------------- */

TEST (any_number_of_threads_gives_the_same_bytes)
{
  struct vd_err err;
  unsigned threads;

  for (threads = 0; threads <= 8; ++threads) {
    const bool holey = threads % 2, can_zero = threads % 3;

    new_target (&target, CAPACITY + SURPLUS, holey);
    target.can_zero = can_zero;
    assert_int_equal (apply (threads, &err), 0);
    assert_complete ();
    assert_true (target.writes > 0);
    assert_int_equal (target.zeros > 0, can_zero);
    assert_int_equal (target.flushes, 1);
  }
  new_target (&target, CAPACITY, false);
  assert_int_equal (apply (1000, &err), 0);
  assert_memory_equal (target.data, expected, CAPACITY);
}

/* A disk that can hold zeros in less space gets each run of them as zeros,
 * whatever stands beside it.
 */
TEST (exact_zeros_are_never_written_as_data)
{
  struct vd_apply_opts opts = { .exact_zeros = true };
  uint64_t data = 0, zeros = 0, off;
  struct vd_err err;

  for (off = 0; off < CAPACITY; off += 512) {
    data += kind_of (off) == MK_DATA ? 512 : 0;
    zeros += kind_of (off) != MK_DATA && kind_of (off) != MK_HOLE ? 512 : 0;
  }
  for (opts.threads = 1; opts.threads <= 4; ++opts.threads) {
    new_target (&target, CAPACITY + SURPLUS, opts.threads % 2);
    assert_int_equal (vd_apply (disk.reader, &target.file, &opts, &err), 0);
    assert_complete ();
    assert_int_equal (target.written, data);
    assert_int_equal (target.zeroed, zeros);
  }
  /* Without it, short ones are. */
  new_target (&target, CAPACITY + SURPLUS, true);
  assert_int_equal (apply (1, &err), 0);
  assert_true (target.written > data);
}

TEST (what_fails_is_told_and_repeating_completes)
{
  static const int kinds[] = { WRITES, ZEROS, FLUSHES };
  static const unsigned every[] = { 1, 2, 7, 30 };
  struct vd_err err;
  size_t i, k;
  unsigned n, failed = 0;

  for (i = 0; i < ARRAY_SIZE (kinds); ++i)
    for (k = 0; k < (kinds[i] == FLUSHES ? 1 : ARRAY_SIZE (every)); ++k) {
      const unsigned threads = 1 + (unsigned) (i * 4 + k) % 5;

      new_target (&target, CAPACITY + SURPLUS, false);
      target.fails = kinds[i];
      target.fail_every = every[k];
      if (apply (threads, &err) == 0) {
        assert_true (target.calls < every[k]);
        continue;
      }
      failed++;
      assert_err (&err, VD_IO, "on purpose");
      assert_int_equal (err.errnum, EIO);
      /* Nothing is flushed that is not complete. */
      assert_int_equal (target.flushes, kinds[i] == FLUSHES);
      assert_false (target.outside);
      /* Again and again, with fewer failures. */
      for (n = 0; n < 3; ++n) {
        target.fail_every *= 3;
        if (apply (threads, &err) == 0)
          break;
      }
      target.fails = NOTHING;
      assert_int_equal (apply (threads, &err), 0);
      assert_complete ();
    }
  assert_true (failed >= 7);
}

static uint64_t last_done;
static unsigned updates, stop_after;

static int
on_progress (void *opaque, uint64_t done)
{
  assert_ptr_equal (opaque, &updates);
  assert_true (done > last_done);
  last_done = done;
  return ++updates == stop_after;
}

TEST (progress_rises_to_the_planned_total)
{
  const struct vd_apply_opts opts = {
    .threads = 3, .progress = on_progress, .opaque = &updates
  };
  struct vd_apply_plan plan;
  struct vd_err err;

  assert_int_equal (vd_apply_plan (disk.chain, &plan, &err), 0);
  last_done = updates = stop_after = 0;
  new_target (&target, CAPACITY + SURPLUS, false);
  assert_int_equal (vd_apply (disk.reader, &target.file, &opts, &err), 0);
  assert_int_equal (last_done, plan.data_bytes + plan.zero_bytes);
  last_done = updates = 0;
  assert_int_equal (vd_apply_verify (disk.reader, &target.file, &opts, &err),
                    0);
  assert_int_equal (last_done, plan.data_bytes + plan.zero_bytes);
}

TEST (progress_can_stop_it)
{
  const struct vd_apply_opts opts = {
    .threads = 2, .progress = on_progress, .opaque = &updates
  };
  struct vd_err err;

  last_done = updates = 0;
  stop_after = 2;
  new_target (&target, CAPACITY + SURPLUS, false);
  assert_int_equal (vd_apply (disk.reader, &target.file, &opts, &err), -1);
  assert_err (&err, VD_USAGE, "stopped");
  assert_int_equal (target.flushes, 0);
  assert_int_not_equal (memcmp (target.data, expected, CAPACITY), 0);
  assert_int_equal (apply (2, &err), 0);
  assert_complete ();
}

TEST (the_plan_counts_what_the_model_has)
{
  struct vd_apply_plan plan, want = { .data_bytes = 0 };
  enum mk_kind last = MK_HOLE;
  struct vd_err err;
  uint64_t off;

  for (off = 0; off < CAPACITY; off += 512) {
    const enum mk_kind k = kind_of (off);

    if (k == MK_DATA) {
      want.data_bytes += 512;
      want.data_runs += last != MK_DATA;
    }
    else if (k == MK_ZERO) {
      want.zero_bytes += 512;
      want.zero_runs += last != MK_ZERO;
    }
    last = k;
  }
  assert_int_equal (vd_apply_plan (disk.chain, &plan, &err), 0);
  assert_int_equal (plan.data_bytes, want.data_bytes);
  assert_int_equal (plan.data_runs, want.data_runs);
  assert_int_equal (plan.zero_bytes, want.zero_bytes);
  assert_int_equal (plan.zero_runs, want.zero_runs);
}

TEST (new_space_counts_data_over_holes)
{
  struct vd_err err;
  uint64_t off, bytes, want = 0;

  new_target (&target, CAPACITY + SURPLUS, true);
  for (off = 0; off < CAPACITY; off += 512)
    if (kind_of (off) == MK_DATA && off / target.hole_grain % 2 == 1)
      want += 512;
  assert_true (want > 0);
  assert_int_equal (vd_apply_new_space (disk.chain, &target.file, 512, &bytes,
                                        &err), 0);
  assert_int_equal (bytes, want);
  /* No holes, or not known to have any. */
  new_target (&target, CAPACITY + SURPLUS, false);
  assert_int_equal (vd_apply_new_space (disk.chain, &target.file, 512, &bytes,
                                        &err), 0);
  assert_int_equal (bytes, 0);
  assert_int_equal (target.writes + target.zeros, 0);
}

TEST (verify_finds_any_byte_that_differs)
{
  const struct vd_apply_opts opts = { .threads = 2 };
  struct vd_err err;
  struct mk_rng r;
  unsigned i, seen[2] = { 0, 0 };
  char place[32];

  new_target (&target, CAPACITY + SURPLUS, false);
  assert_int_equal (apply (2, &err), 0);
  mk_rng_seed (&r, 4);
  for (i = 0; i < 60; ++i) {
    const uint64_t at = mk_rng_below (&r, CAPACITY + SURPLUS);
    const bool held = at < CAPACITY && kind_of (at) != MK_HOLE;

    seen[held]++;
    target.data[at] ^= 0x10;
    assert_int_equal (vd_apply_verify (disk.reader, &target.file, &opts, &err),
                      held ? -1 : 0);
    if (held) {
      snprintf (place, sizeof place, "byte %llu ", (unsigned long long) at);
      assert_err (&err, VD_MISMATCH, "target", place);
    }
    target.data[at] ^= 0x10;
  }
  assert_true (seen[0] > 0 && seen[1] > 0);
  target.fails = READS;
  target.fail_every = 3;
  assert_int_equal (vd_apply_verify (disk.reader, &target.file, &opts, &err),
                    -1);
  assert_err (&err, VD_IO, "on purpose");
}

TEST (an_error_of_the_delta_is_told)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct u_spy *spy = u_spy (u_memory ("m.vmdk", image.mem.data,
                                       image.mem.size));
  struct vd_link *link = u_link_file (&spy->file, &opts);
  const struct vd_apply_opts how = { .threads = 4 };
  const uint64_t size = image.mem.size;
  struct vd_err err;
  struct u_disk d;

  u_disk_open (&d, &link, 1, NULL, MIB);
  spy->bad = size / 2;
  spy->bad_end = size / 2 + 4096;
  new_target (&target, CAPACITY + SURPLUS, false);
  assert_int_equal (vd_apply (d.reader, &target.file, &how, &err), -1);
  assert_err (&err, VD_IO, "m.vmdk", "on purpose");
  assert_int_equal (target.flushes, 0);
  spy->bad_end = 0;
  assert_int_equal (vd_apply (d.reader, &target.file, &how, &err), 0);
  assert_complete ();
  u_disk_close (&d);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (any_number_of_threads_gives_the_same_bytes),
    cmocka_unit_test (exact_zeros_are_never_written_as_data),
    cmocka_unit_test (what_fails_is_told_and_repeating_completes),
    cmocka_unit_test (progress_rises_to_the_planned_total),
    cmocka_unit_test (progress_can_stop_it),
    cmocka_unit_test (the_plan_counts_what_the_model_has),
    cmocka_unit_test (new_space_counts_data_over_holes),
    cmocka_unit_test (verify_finds_any_byte_that_differs),
    cmocka_unit_test (an_error_of_the_delta_is_told),
  };

  return cmocka_run_group_tests (tests, setup, teardown);
}
