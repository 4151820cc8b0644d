/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Writing into images: what is written is read back, a block that is written
 * in part is complete, and after a crash at any moment, with any of the writes
 * since the last flush lost or torn, the disks that stand on it read as before
 * and the work can be repeated.
 *
 * Three disks on top of each other, known byte by byte: below, target, child;
 * the child is written into the target.
 */

#include <sys/stat.h>

#include "record.h"

#define SIZE (5 * MIB + 3 * 512)
#define CELL 4096u              /* what is decided together */

enum held { NONE, ZEROS, BYTES };

static uint8_t disk[3][SIZE];   /* below, with target, with child */
static uint8_t held[3][SIZE / CELL + 1];

static void
put32 (uint8_t *p, uint32_t v)
{
  v = htole32 (v);
  memcpy (p, &v, sizeof v);
}

static struct vd_opts quiet = { .ignore_cid = true };

/* ---- The images ---------------------------------------------------------- */

struct kind {
  const char *name;
  enum vd_create_format format;
  bool vdi, flat;
  uint64_t grain;
  bool base;
  bool store_zeros;
};

/* Choose what layer n holds, in grains, and lay it over the one below. */
static void
choose (unsigned n, uint64_t grain)
{
  uint64_t at, end, i;

  if (n > 0)
    memcpy (disk[n], disk[n - 1], SIZE);
  memset (held[n], NONE, sizeof held[n]);
  for (at = 0; at < SIZE; at = end) {
    const unsigned k = u_random (10);
    const enum held h = k < 5 ? NONE : k < 7 ? ZEROS : BYTES;

    end = vd_min (SIZE, at + grain * (1 + u_random (6)));
    for (i = at; h != NONE && i < end; ++i)
      disk[n][i] = h == BYTES ? (uint8_t) (u_random (255) + 1) : 0;
    for (i = at; i < end; i += CELL)
      held[n][i / CELL] = (uint8_t) h;
  }
}

static uint64_t
same_kind (unsigned n, uint64_t at)
{
  uint64_t end = at;

  while (end < SIZE && held[n][end / CELL] == held[n][at / CELL])
    end = vd_min (SIZE, end + CELL);
  return end;
}

static void
write_with_writer (const char *path, unsigned n, const struct kind *k)
{
  const struct vd_create_opts opts = {
    .format = k->format, .capacity = SIZE, .grain_size = k->grain,
    .parent_cid = k->base ? 0 : 1, .parent_hint = k->base ? NULL : "x.vmdk",
    .store_zeros = k->store_zeros, .replace = true,
  };
  struct vd_err err;
  struct vd_create *w = vd_create_open (path, &opts, &err);
  uint64_t at, end;

  assert_opened (w, &err);
  for (at = 0; at < SIZE; at = end) {
    end = same_kind (n, at);
    if (held[n][at / CELL] == BYTES)
      assert_int_equal (vd_create_data (w, at, disk[n] + at, end - at, &err),
                        0);
    else if (held[n][at / CELL] == ZEROS)
      assert_int_equal (vd_create_zero (w, at, end - at, &err), 0);
  }
  assert_int_equal (vd_create_finish (w, NULL, &err), 0);
}

static void
patch (const char *path, long at, uint8_t value, size_t n)
{
  FILE *fp = fopen (path, "r+");

  assert_non_null (fp);
  fseek (fp, at, SEEK_SET);
  while (n-- > 0)
    putc (value, fp);
  fclose (fp);
}

/* A VDI of blocks of 64 KiB, made by hand: header, map at 4096, data. */
static void
write_vdi (const char *path, unsigned n, const struct kind *k)
{
  const uint64_t bs = k->grain, nr = vd_div_up (SIZE, bs), data = 65536;
  uint8_t *file = calloc (1, data + nr * bs);
  uint32_t used = 0;
  uint64_t i;

  put32 (file + 0x40, 0xbeda107f);
  put32 (file + 0x44, 0x10001);
  put32 (file + 0x48, 0x190);
  put32 (file + 0x4c, k->base ? 1 : 4);
  put32 (file + 0x154, 4096);
  put32 (file + 0x158, (uint32_t) data);
  put32 (file + 0x170, (uint32_t) SIZE);
  put32 (file + 0x178, (uint32_t) bs);
  put32 (file + 0x180, (uint32_t) nr);
  memset (file + 0x188, 0x11, 16);
  memset (file + 0x198, 0x22, 16);
  memset (file + 0x1a8, k->base ? 0 : 0x33, 16);
  for (i = 0; i < nr; ++i) {
    uint32_t entry = UINT32_MAX;

    if (held[n][i * bs / CELL] == ZEROS)
      entry = UINT32_MAX - 1;
    else if (held[n][i * bs / CELL] == BYTES) {
      memcpy (file + data + used * bs, disk[n] + i * bs,
              vd_min (bs, SIZE - i * bs));
      entry = used++;
    }
    put32 (file + 4096 + i * 4, entry);
  }
  put32 (file + 0x184, used);
  u_write (path, file, data + used * bs);
  free (file);
}

static void
write_layer (const char *path, unsigned n, const struct kind *k)
{
  char text[300];

  choose (n, k->grain);
  if (k->flat) {
    memset (held[n], BYTES, sizeof held[n]);
    u_write ("t-flat.vmdk", disk[n], SIZE);
    snprintf (text, sizeof text, "# Disk DescriptorFile\nversion=1\nCID=1\n"
              "parentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
              "RW %d FLAT \"t-flat.vmdk\" 0\n", (int) (SIZE / 512));
    u_write_text (path, text);
  }
  else if (k->vdi)
    write_vdi (path, n, k);
  else
    write_with_writer (path, n, k);
}

/* ---- Merging -------------------------------------------------------------- */

struct stack {
  struct vd_link *link[3];      /* below (or NULL), target, child */
  struct vd_chain *below, *child, *all;
  struct vd_reader *below_reader, *child_reader, *reader;
};

static void
stack_open (struct stack *s, const char *target, bool below)
{
  struct vd_err err;
  struct vd_link *links[3];
  size_t n = 0;

  *s = (struct stack) { .link = { NULL } };
  if (below) {
    s->link[0] = links[n++] = vd_link_open ("b.vmdk", &quiet, &err);
    assert_opened (s->link[0], &err);
    s->below = vd_chain_new (links, 1, &quiet, &err);
    s->below_reader = vd_reader_new (s->below, 1 << 20, &err);
  }
  s->link[1] = links[n++] = vd_link_open (target, &quiet, &err);
  assert_opened (s->link[1], &err);
  s->link[2] = links[n++] = vd_link_open ("c.vmdk", &quiet, &err);
  assert_opened (s->link[2], &err);
  s->child = vd_chain_new (&links[n - 1], 1, &quiet, &err);
  s->child_reader = vd_reader_new (s->child, 1 << 20, &err);
  s->all = vd_chain_new (links, n, &quiet, &err);
  assert_opened (s->all, &err);
  s->reader = vd_reader_new (s->all, 1 << 20, &err);
}

static void
stack_close (struct stack *s)
{
  vd_reader_free (s->below_reader);
  vd_reader_free (s->child_reader);
  vd_reader_free (s->reader);
  vd_chain_free (s->below);
  vd_chain_free (s->child);
  vd_chain_free (s->all);
  vd_link_close (s->link[0]);
  vd_link_close (s->link[1]);
  vd_link_close (s->link[2]);
}

static void
merge (struct stack *s, bool record, struct vd_write_stats *stats)
{
  const struct vd_write_opts opts = {
    .below = s->below_reader, .commit_bytes = 300 * KIB,
    .reopen = record ? u_record : NULL,
  };
  const struct vd_apply_opts apply = { .threads = 2, .exact_zeros = true };
  struct vd_err err;
  struct vd_file *t = vd_write_open (s->link[1], &opts, &err);

  assert_opened (t, &err);
  if (vd_apply (s->child_reader, t, &apply, &err) == -1 ||
      vd_write_finish (t, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_write_stats (t, stats);
  vd_file_close (t);
}

/* Without errors, and like this byte by byte; alone, or with the child. */
static void
expect_disk (const char *target, bool below, const uint8_t *want, bool alone)
{
  static uint8_t buf[SIZE];
  const struct vd_base none = { .align = 1 };
  struct vd_check_opts how = { .ignore_cid = true };
  struct vd_check_report report;
  struct vd_err err;
  struct stack s;
  uint64_t i;

  stack_open (&s, target, below);
  assert_int_equal (vd_check_link (s.link[1], &how, &report, &err), 0);
  if (vd_check_result (&report, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_check_report_free (&report);
  if (alone) {
    struct vd_link *links[2] = { s.link[0], s.link[1] };

    vd_reader_free (s.reader);
    vd_chain_free (s.all);
    s.all = vd_chain_new (below ? links : links + 1, below ? 2 : 1, &quiet,
                          &err);
    s.reader = vd_reader_new (s.all, 1 << 20, &err);
  }
  if (vd_read (s.reader, &none, buf, SIZE, 0, &err) == -1)
    fail_msg ("%s", err.msg);
  for (i = 0; i < SIZE; ++i)
    if (buf[i] != want[i])
      fail_msg ("byte %llu (0x%llx) is %02x, not %02x",
                (unsigned long long) i, (unsigned long long) i, buf[i],
                want[i]);
  stack_close (&s);
}

/* The file whose bytes are changed, of a target t.vmdk. */
static const char *
extent_of (const struct kind *k)
{
  return k->flat ? "t-flat.vmdk"
    : k->format == VD_WRITER_COWD && !k->vdi ? "t-delta.vmdk" : "t.vmdk";
}

static void
check_kind (const struct kind *k, const struct kind *child, unsigned crashes)
{
  static const struct kind b = {
    .format = VD_WRITER_SPARSE, .grain = 65536, .base = true,
  };
  struct vd_write_stats stats, again;
  struct stack s;
  unsigned i;

  memset (disk[0], 0, SIZE);
  if (!k->base)
    write_layer ("b.vmdk", 0, &b);
  write_layer ("t.vmdk", 1, k);
  write_layer ("c.vmdk", 2, child);
  expect_disk ("t.vmdk", !k->base, disk[2], false);
  expect_disk ("t.vmdk", !k->base, disk[1], true);

  stack_open (&s, "t.vmdk", !k->base);
  merge (&s, true, &stats);
  stack_close (&s);
  assert_int_equal (rename (extent_of (k), "original"), 0);
  for (i = 0; i <= crashes; ++i) {
    u_crash ("original", extent_of (k),
           i < crashes ? u_random ((unsigned) u_nr_events) : u_nr_events);
    expect_disk ("t.vmdk", !k->base, disk[2], false);
    if (i % 4 == 0 && i < crashes) {
      stack_open (&s, "t.vmdk", !k->base);
      merge (&s, false, &again);
      stack_close (&s);
    }
    if (i % 4 == 0 || i == crashes)
      expect_disk ("t.vmdk", !k->base, disk[2], true);
  }
  /* Nothing is there to be stored a second time. */
  stack_open (&s, "t.vmdk", !k->base);
  merge (&s, false, &again);
  stack_close (&s);
  assert_int_equal (again.new_blocks, 0);
  assert_true (k->flat || stats.new_blocks > 0);
  u_forget ();
}

static const struct kind child_fine = {
  .format = VD_WRITER_SPARSE, .grain = 8192,
};
static const struct kind child_cowd = {
  .format = VD_WRITER_COWD, .grain = 4096,
};

#define KIND_TEST(id, crashes, ...)                                      \
  TEST (id) {                                                            \
    const struct kind k = { __VA_ARGS__ };                               \
    u_seed = 20261122;                                                     \
    check_kind (&k, &child_fine, crashes);                               \
    check_kind (&k, &child_cowd, crashes);                               \
  }

KIND_TEST (vdi_base, 10, .vdi = true, .grain = 65536, .base = true)
KIND_TEST (vdi_child, 10, .vdi = true, .grain = 65536)
KIND_TEST (vdi_child_small, 10, .vdi = true, .grain = 4096)
KIND_TEST (kdmv_base, 10, .format = VD_WRITER_SPARSE, .grain = 65536,
           .base = true, .store_zeros = true)
KIND_TEST (kdmv_child, 10, .format = VD_WRITER_SPARSE, .grain = 65536,
           .store_zeros = true)
KIND_TEST (kdmv_child_zeros, 10, .format = VD_WRITER_SPARSE, .grain = 16384)
KIND_TEST (cowd_child, 10, .format = VD_WRITER_COWD, .grain = 4096)
KIND_TEST (cowd_grains, 10, .format = VD_WRITER_COWD, .grain = 65536)
KIND_TEST (flat_base, 5, .flat = true, .grain = 4096, .base = true)

/* What a dry run counts is what then happens. */
TEST (dry_is_true)
{
  const struct kind k = { .vdi = true, .grain = 65536 };
  static const struct kind b = {
    .format = VD_WRITER_SPARSE, .grain = 65536, .base = true,
  };
  struct vd_write_stats dry, stats;
  struct vd_write_opts opts = { .dry = true };
  const struct vd_apply_opts apply = { .threads = 1, .exact_zeros = true };
  struct vd_file *t;
  struct stat before, after;
  struct vd_err err;
  struct stack s;

  u_seed = 7;
  write_layer ("b.vmdk", 0, &b);
  write_layer ("t.vmdk", 1, &k);
  write_layer ("c.vmdk", 2, &child_fine);
  stat ("t.vmdk", &before);
  stack_open (&s, "t.vmdk", true);
  opts.below = s.below_reader;
  t = vd_write_open (s.link[1], &opts, &err);
  assert_opened (t, &err);
  assert_int_equal (vd_apply (s.child_reader, t, &apply, &err), 0);
  vd_write_stats (t, &dry);
  vd_file_close (t);
  merge (&s, false, &stats);
  stack_close (&s);
  stat ("t.vmdk", &after);
  assert_int_equal (dry.new_blocks, stats.new_blocks);
  assert_int_equal (dry.growth, stats.growth);
  assert_int_equal (after.st_size - before.st_size, stats.growth);
  assert_true (stats.new_blocks > 0 && stats.filled > 0);
}

/* The counter in the header is too low: no block in use is taken. */
TEST (stale_counter)
{
  const struct kind k = { .vdi = true, .grain = 65536, .base = true };
  struct vd_write_stats stats;
  struct stack s;

  u_seed = 8;
  memset (disk[0], 0, SIZE);
  write_layer ("t.vmdk", 1, &k);
  write_layer ("c.vmdk", 2, &child_fine);
  patch ("t.vmdk", 0x184, 0, 4);
  stack_open (&s, "t.vmdk", false);
  merge (&s, false, &stats);
  stack_close (&s);
  expect_disk ("t.vmdk", false, disk[2], true);
}

/* Into what cannot be written. */
TEST (refused)
{
  const struct kind stream = {
    .format = VD_WRITER_STREAM, .grain = 65536, .base = true,
  };
  const struct vd_write_opts opts = { .dry = true };
  struct vd_link *link;
  struct vd_err err;

  u_seed = 9;
  choose (0, 65536);
  write_with_writer ("t.vmdk", 0, &stream);
  link = vd_link_open ("t.vmdk", &quiet, &err);
  assert_opened (link, &err);
  assert_null (vd_write_open (link, &opts, &err));
  assert_err (&err, VD_UNSUPPORTED, "t.vmdk", "compressed", "nbdcopy");
  vd_link_close (link);

  u_write_text ("z.vmdk", "# Disk DescriptorFile\nversion=1\nCID=1\n"
                "parentCID=ffffffff\ncreateType=\"custom\"\nRW 10 ZERO\n");
  link = vd_link_open ("z.vmdk", &quiet, &err);
  assert_opened (link, &err);
  assert_int_equal (vd_write_check (link, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "ZERO");
  vd_link_close (link);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (vdi_base),
    tmpdir_test (vdi_child),
    tmpdir_test (vdi_child_small),
    tmpdir_test (kdmv_base),
    tmpdir_test (kdmv_child),
    tmpdir_test (kdmv_child_zeros),
    tmpdir_test (cowd_child),
    tmpdir_test (cowd_grains),
    tmpdir_test (flat_base),
    tmpdir_test (dry_is_true),
    tmpdir_test (stale_counter),
    tmpdir_test (refused),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
