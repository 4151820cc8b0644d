/* Compaction of what is odd or damaged: it is refused with the reason, or
 * done right, and what is not zeros stays.
 */

#include "compact/compact-parts.h"
#include "unit.h"
#include "create/create-format.h"

#define GRAIN UINT64_C (4096)
#define SIZE (100 * GRAIN)
#define OFF_UNCLEAN 72u

static const struct vd_opts none;
static struct mk_content content = { .seed = 7, .flavour = MK_NOISE };
static struct mk_pattern pattern = { .seed = 3, .run = 2, .fill = 600 };

/* ---- KDMV ---------------------------------------------------------------- */

static void
make (struct u_image *m, struct mk_spec *spec)
{
  struct mk_line line = { .sectors = SIZE / 512, .type = "SPARSE",
                          .name = "m.vmdk", .offset = -1 };
  const struct mk_descriptor d = {
    .lines = &line, .n_lines = 1, .cid = 5, .parent_cid = UINT32_MAX,
    .create_type = "monolithicSparse",
  };

  spec->format = MK_KDMV;
  spec->capacity = SIZE;
  spec->grain_size = GRAIN;
  spec->gtes = 16;
  spec->map = mk_map_pattern (&pattern);
  spec->fill = mk_fill_content (&content);
  spec->descriptor = mk_descriptor (&d, NULL);
  u_make (m, spec);
  free ((char *) spec->descriptor);
}

static struct vd_link *
link_of (const struct u_image *m)
{
  struct vd_file *f = u_memory ("m.vmdk", m->mem.data, m->mem.size);

  f->dev = f->ino = 7;
  return u_link_file (f, &none);
}

/* Look at it only. */
static int
plan (const struct u_image *m, struct vd_err *err)
{
  const struct vd_compact_opts how = { .dry_run = true };
  struct vd_compact_result result;
  struct vd_link *link = link_of (m);
  struct vd_file *files[1] = { link->pieces[0].image->file };
  const int r = vd_compact (link, files, &how, &result, err);

  vd_link_close (link);
  return r;
}

static void
refused (const struct u_image *m, const char *part, const char *part2)
{
  struct vd_err err;

  assert_int_equal (plan (m, &err), -1);
  assert_err (&err, VD_CORRUPT, "m.vmdk", part, part2);
}

TEST (redundant_directory)
{
  struct mk_spec spec = { .format = 0 };
  struct u_image m;
  struct vd_err err;

  make (&m, &spec);
  assert_int_equal (plan (&m, &err), 0);
  u_put (&m, m.layout.tables[1].rgde, 4, 0);
  refused (&m, "grain directories differ at entry 1", "--output");
  u_put (&m, m.layout.tables[1].rgde, 4, m.mem.size / 512);
  refused (&m, "grain directories differ at entry 1", "--output");
  /* The same table for both. */
  u_put (&m, m.layout.tables[1].rgde, 4, m.layout.tables[1].gt / 512);
  assert_int_equal (plan (&m, &err), 0);
  /* In the place of a grain; even if a compaction was cut off here. */
  u_put (&m, m.layout.tables[1].rgde, 4, m.layout.grains[0].data / 512);
  refused (&m, "redundant grain table 1 shares sector", "nothing was written");
  u_put (&m, OFF_UNCLEAN, 1, 0xc5);
  refused (&m, "redundant grain table 1 shares sector", "nothing was written");
  u_free (&m);
}

/* Entries behind the end of the disk are read by nobody, and check leaves
 * them alone; but their places are not free.
 */
TEST (entries_past_the_end)
{
  struct mk_spec spec = { .no_redundant = true };
  const uint64_t past = 100 % 16; /* in the last table */
  const struct mk_table *last;
  struct u_image m;
  struct vd_err err;
  uint64_t entry;

  make (&m, &spec);
  last = &m.layout.tables[m.layout.n_tables - 1];
  assert_int_equal (last->index, 6);
  entry = last->gt + past * 4;
  u_put (&m, entry, 4, m.mem.size / 512 + 8);
  refused (&m, "grain 100 is at byte", "up to the end of the file");
  u_put (&m, entry, 4, 3);
  refused (&m, "grain 100 is at byte 1536; allowed are", "up to the end");
  u_put (&m, entry, 4, m.layout.grains[2].data / 512);
  refused (&m, "is stored at byte", "vmdkdelta check");
  u_put (&m, entry, 4, 0);
  assert_int_equal (plan (&m, &err), 0);
  u_free (&m);
}

/* ---- What the caller gives ----------------------------------------------- */

struct stopper { unsigned left; };

static int
end_now (void *opaque, enum vd_compact_phase phase, uint64_t done, uint64_t total)
{
  struct stopper *s = opaque;

  (void) phase;
  assert_true (done <= total);
  return s->left-- == 0;
}

TEST (another_file_or_an_end)
{
  struct mk_spec spec = { .format = 0 };
  struct stopper s = { 0 };
  const struct vd_compact_opts how = {
    .dry_run = true, .progress = end_now, .opaque = &s,
  };
  struct vd_compact_result result;
  struct vd_file *other;
  struct vd_link *link;
  struct u_image m;
  struct vd_err err;

  make (&m, &spec);
  link = link_of (&m);
  other = u_memory ("x.vmdk", m.mem.data, m.mem.size);
  assert_int_equal (vd_compact (link, &other, &how, &result, &err), -1);
  assert_err (&err, VD_USAGE, "m.vmdk: opened for writing is not the file");
  other->dev = other->ino = 7;
  other->size -= 512;
  assert_int_equal (vd_compact (link, &other, &how, &result, &err), -1);
  assert_err (&err, VD_MISMATCH, "x.vmdk has changed its size");
  other->size += 512;
  assert_int_equal (vd_compact (link, &other, &how, &result, &err), -1);
  assert_err (&err, VD_USAGE, "stopped", "run the same command again");
  vd_file_close (other);
  vd_link_close (link);
  u_free (&m);
}

/* A file that is as large as it says, and zeros almost everywhere. */
struct large { struct vd_file file; const struct u_image *m; };

static int
large_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
             struct vd_err *err)
{
  const struct large *l = (struct large *) f;

  (void) err;
  memset (buf, 0, n);
  if (offset < l->m->mem.size)
    memcpy (buf, l->m->mem.data + offset,
            (size_t) vd_min (n, l->m->mem.size - offset));
  return 0;
}

static void
large_close (struct vd_file *f)
{
  free (f->name);
  free (f);
}

static const struct vd_file_ops large_ops = {
  .pread = large_pread, .close = large_close,
};

TEST (too_many_places)
{
  struct mk_spec spec = { .format = 0 };
  const struct vd_compact_opts how = { .dry_run = true };
  struct vd_compact_result result;
  struct large *l = calloc (1, sizeof *l);
  struct vd_file *files[1] = { &l->file };
  struct vd_link *link;
  struct u_image m;
  struct vd_err err;

  make (&m, &spec);
  l->file = (struct vd_file) {
    .ops = &large_ops, .name = strdup ("m.vmdk"), .dev = 7, .ino = 7,
    .size = (UINT64_C (1) << 29) * GRAIN + MIB,
  };
  l->m = &m;
  link = u_link_file (&l->file, &none);
  assert_int_equal (vd_compact (link, files, &how, &result, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "m.vmdk has room for 5368", " grains of "
              "4096 bytes; at most 536870912 can be dealt with");
  vd_link_close (link);
  u_free (&m);
}

/* ---- A new file ---------------------------------------------------------- */

static struct vd_compact_opts plain;

/* Without a redundant directory, and from one whose copy is damaged: what is
 * new has what the old had, and reads the same.
 */
TEST (new_files)
{
  struct mk_spec specs[2] = { { .no_redundant = true }, { .format = 0 } };
  struct vd_compact_result result;
  struct vd_err err;
  struct u_image m;
  struct u_disk d;
  struct vd_link *link;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (specs); ++i) {
    make (&m, &specs[i]);
    if (i == 1)
      u_put (&m, m.layout.tables[1].rgde, 4, m.layout.grains[0].data / 512);
    u_write ("m.vmdk", m.mem.data, m.mem.size);
    unlink ("n.vmdk");
    if (vd_compact_copy ("m.vmdk", "n.vmdk", &none, &plain, &result,
                         &err) == -1)
      fail_msg ("%s", err.msg);
    link = vd_link_open ("n.vmdk", &none, &err);
    assert_opened (link, &err);
    u_disk_open (&d, &link, 1, NULL, 1 << 20);
    u_compare_spec (&d, &specs[i], 0, SIZE);
    u_disk_close (&d);
    u_free (&m);
  }
}

/* Should a new file ever read otherwise, it is not kept. */
TEST (verified)
{
  struct vd_compact_result result = { .moved = 0 };
  struct vd_compact_state st = { .opts = &plain, .result = &result };
  struct mk_spec spec = { .flags_set = 4, .no_redundant = true };
  struct u_image m, n;
  struct vd_image *a, *b;
  struct vd_err err;
  uint64_t grain;

  make (&m, &spec);
  make (&n, &spec);
  a = u_open_ok (&m);
  b = u_open_ok (&n);
  assert_int_equal (vd_compact_verify (a, b, false, NULL, &st, &err), 0);
  assert_int_equal (vd_compact_verify (a, b, true, NULL, &st, &err), 0);
  b->capacity -= 512;
  assert_int_equal (vd_compact_verify (a, b, true, NULL, &st, &err), -1);
  assert_err (&err, VD_MISMATCH, "m.vmdk has 409600 bytes, m.vmdk 409088");
  b->capacity += 512;
  grain = n.layout.grains[3].grain;
  n.mem.data[n.layout.grains[3].data + 100] ^= 1;
  assert_int_equal (vd_compact_verify (a, b, false, NULL, &st, &err), -1);
  assert_err (&err, VD_MISMATCH, "differ between byte");
  n.mem.data[n.layout.grains[3].data + 100] ^= 1;
  u_put (&n, n.layout.grains[3].gte, 4, 0);
  assert_int_equal (vd_compact_verify (a, b, true, NULL, &st, &err), -1);
  assert_err (&err, VD_MISMATCH, "only one of m.vmdk and m.vmdk shows the "
              "parent");
  assert_int_equal (u_run (b, grain * GRAIN).kind, VD_BASE);
  assert_int_equal (vd_compact_verify (a, b, false, NULL, &st, &err), -1);
  u_put (&n, n.layout.grains[3].gte, 4, n.mem.size / 512 + 9);
  assert_int_equal (vd_compact_verify (a, b, true, NULL, &st, &err), -1);
  assert_err (&err, VD_TRUNCATED, "m.vmdk");
  vd_image_close (a);
  vd_image_close (b);
  u_free (&m);
  u_free (&n);
}

/* ---- Flat: holes that do not begin and end where blocks do --------------- */

#define FLAT (300 * KIB + 700)

struct flat {
  struct vd_file file;
  uint8_t data[FLAT];
  uint64_t granule;             /* of holes */
  bool hole[FLAT / 512 + 1];
};

static int
flat_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  (void) err;
  memcpy (buf, ((struct flat *) f)->data + offset, n);
  return 0;
}

static int
flat_zero (struct vd_file *f, uint64_t offset, uint64_t length,
           struct vd_err *err)
{
  struct flat *flat = (struct flat *) f;
  uint64_t i;

  (void) err;
  assert_int_equal (offset % 4096, 0);
  assert_true ((offset + length) % 4096 == 0 || offset + length == FLAT);
  assert_true (length > 0);
  for (i = offset; i < offset + length; ++i) {
    assert_int_equal (flat->data[i], 0);
    flat->hole[i / 512] = true;
  }
  return 0;
}

static int
flat_extents (struct vd_file *f, uint64_t offset, uint64_t length,
              vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  const struct flat *flat = (struct flat *) f;
  const uint64_t end = offset + length;
  uint64_t next;

  for (; offset < end; offset = next) {
    const bool hole = flat->hole[offset / 512];
    int r;

    next = vd_min (end, vd_round_down (offset, 512) + 512);
    while (next < end && flat->hole[next / 512] == hole)
      next = vd_min (end, next + 512);
    r = fn (opaque, next - offset, hole ? VD_HOLE | VD_READS_ZERO : 0, err);
    if (r != 0)
      return r == -1 ? -1 : 0;
  }
  return 0;
}

static int
flat_flush (struct vd_file *f, struct vd_err *err)
{
  (void) f, (void) err;
  return 0;
}

TEST (holes_of_any_size)
{
  static const struct vd_file_ops ops = {
    .pread = flat_pread, .zero = flat_zero, .flush = flat_flush,
    .extents = flat_extents,
  };
  static struct flat f;
  struct vd_compact_result result;
  struct mk_rng rng;
  struct vd_err err;
  unsigned round;
  uint64_t at, n, i;

  mk_rng_seed (&rng, 4);
  for (round = 0; round < 60; ++round) {
    f = (struct flat) { .file = { .ops = &ops, .name = (char *) "f",
                                  .size = FLAT } };
    for (at = 0; at < FLAT; at += n) {
      const uint64_t kind = mk_rng_below (&rng, 3);

      n = vd_min (FLAT - at, 512 * (1 + mk_rng_below (&rng, 40)));
      if (kind == 0)
        memset (f.data + at, 1 + (int) round, n);
      for (i = at / 512; kind == 1 && i < vd_div_up (at + n, 512); ++i)
        f.hole[i] = true;
    }
    if (vd_compact_file (&f.file, &plain, &result, &err) == -1)
      fail_msg ("%s", err.msg);
    /* Each block of zeros is a hole now. */
    for (at = 0; at < FLAT; at += n) {
      n = vd_min (FLAT - at, 4096);
      for (i = at; i < at + n && f.data[i] == 0; ++i)
        ;
      if (i == at + n)
        for (i = at; i < at + n; ++i)
          assert_true (f.hole[i / 512]);
    }
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (redundant_directory),
    cmocka_unit_test (entries_past_the_end),
    cmocka_unit_test (another_file_or_an_end),
    cmocka_unit_test (too_many_places),
    tmpdir_test (new_files),
    cmocka_unit_test (verified),
    cmocka_unit_test (holes_of_any_size),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
