/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files that were closed properly and are damaged: the first write is refused
 * exactly where check finds an error, and then nothing was changed.  What looks
 * at sound files quickly must not miss anything that check sees.
 */

#include "unit.h"

#define SIZE (8 * MIB + 5 * 512)

static const struct vd_opts quiet = { .ignore_cid = true };
static struct u_image image;
static uint8_t *bytes;          /* of the file now */
static size_t size;

static void
make (enum mk_format format, uint32_t grain, enum mk_placement placement,
      bool unaligned)
{
  static struct mk_content content = { .seed = 1, .flavour = MK_NOISE };
  struct mk_pattern pattern = { .run = 1, .fill = 600 };
  const struct mk_spec spec = {
    .format = format, .capacity = SIZE, .grain_size = grain, .gtes = 512,
    .placement = placement, .unaligned = unaligned, .seed = grain,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
    .round_capacity = false,
  };

  u_make (&image, &spec);
  bytes = realloc (bytes, image.mem.size);
}

static uint64_t
some_place (struct mk_rng *rng)
{
  const struct mk_layout *l = &image.layout;
  const struct mk_where *g = &l->grains[mk_rng_below (rng, l->n_grains)];
  const struct mk_table *t = &l->tables[mk_rng_below (rng, l->n_tables)];

  switch (mk_rng_below (rng, 10)) {
  case 0: return t->gt;
  case 1: return t->rgt;
  case 2: return l->gd;
  case 3: return l->rgd;
  case 4: return image.mem.size - 512 * mk_rng_below (rng, 200);
  case 5: return image.mem.size + 512 * mk_rng_below (rng, 200);
  case 6: return 512 * mk_rng_below (rng, 20);
  case 7: return 512 * mk_rng_below (rng, image.mem.size / 512);
  default: return g->data;
  }
}

/* One thing is wrong, or nothing; and it may not matter. */
static void
damage (struct mk_rng *rng)
{
  const struct mk_layout *l = &image.layout;
  const struct mk_where *g = &l->grains[mk_rng_below (rng, l->n_grains)];
  const struct mk_table *t = &l->tables[mk_rng_below (rng, l->n_tables)];
  const uint32_t to = (uint32_t) (some_place (rng) / 512);
  uint64_t at = 0;

  memcpy (bytes, image.mem.data, image.mem.size);
  size = image.mem.size;
  switch (mk_rng_below (rng, 7)) {
  case 0: at = g->gte; break;
  case 1: at = g->rgte; break;
  case 2: at = t->gde; break;
  case 3: at = t->rgde; break;
  case 4:
    at = g->gte;
    if (g->rgte != 0)
      memcpy (bytes + g->rgte, &to, 4);
    break;
  case 5: size -= mk_rng_below (rng, 100000); break;
  default: break;
  }
  if (at != 0)
    memcpy (bytes + at, &to, 4);
}

static bool
check_finds_errors (const struct vd_link *link)
{
  const struct vd_check_opts how = {
    .errors_only = true, .ignore_cid = true, .for_writing = true,
  };
  struct vd_check_report report;
  struct vd_err err;
  int r;

  assert_int_equal (vd_check_link (link, &how, &report, &err), 0);
  r = vd_check_result (&report, &err);
  vd_check_report_free (&report);
  return r == -1;
}

static bool
is_unchanged (void)
{
  uint8_t *now = malloc (size + 1);
  FILE *fp = fopen ("a.vmdk", "r");
  const bool same = fread (now, 1, size + 1, fp) == size &&
    memcmp (now, bytes, size) == 0;

  fclose (fp);
  free (now);
  return same;
}

/* 1: written; 0: refused; -1: this does not even open. */
static int
try_it (struct mk_rng *rng)
{
  static const struct vd_disk_opts opts;
  static const struct vd_base none = { .align = 1 };
  const uint64_t at = mk_rng_below (rng, SIZE - 512);
  uint8_t buf[512] = { 0x5a };
  struct vd_chain *chain = NULL;
  struct vd_disk *disk = NULL;
  struct vd_link *link;
  struct vd_err err;
  bool bad = false;
  int r = -1;

  u_write ("a.vmdk", bytes, size);
  link = vd_link_open ("t.vmdk", &quiet, &err);
  if (link)
    chain = vd_chain_new (&link, 1, &quiet, &err);
  if (chain) {
    bad = check_finds_errors (link);
    disk = vd_disk_open (chain, &opts, &err);
  }
  if (disk) {
    r = vd_disk_write (disk, &none, buf, sizeof buf, at, &err) == 0;
    if (r && bad)
      fail_msg ("a damaged file is written to");
    if (!r && !bad)
      fail_msg ("refused, but check finds nothing: %s", err.msg);
    if (!r) {
      assert_text (err.msg, "nothing is written into a disk with errors");
      assert_true (is_unchanged ());
    }
    assert_int_equal (vd_disk_close (disk, &err), 0);
    if (!r)
      assert_true (is_unchanged ());
  }
  vd_chain_free (chain);
  vd_link_close (link);
  return r;
}

TEST (what_check_finds_is_not_written)
{
  static const struct {
    const char *type;
    enum mk_format format;
    uint32_t grain;
    enum mk_placement placement;
    bool unaligned;
  } t[] = {
    { "SPARSE", MK_KDMV, 65536, MK_IN_ORDER, false },
    { "SPARSE", MK_KDMV, 4096, MK_SCATTERED, false },
    { "SPARSE", MK_KDMV, 8192, MK_SCATTERED, true },
    { "VMFSSPARSE", MK_COWD, 512, MK_SCATTERED, false },
    { "VMFSSPARSE", MK_COWD, 4096, MK_IN_ORDER, false },
  };
  unsigned written, refused, i, k;
  struct mk_rng rng;
  char text[300];
  int r;

  mk_rng_seed (&rng, 7);
  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    make (t[i].format, t[i].grain, t[i].placement, t[i].unaligned);
    snprintf (text, sizeof text, "# Disk DescriptorFile\nversion=1\n"
              "CID=00000001\nparentCID=ffffffff\ncreateType=\"custom\"\n"
              "RW %d %s \"a.vmdk\"\n", (int) (SIZE / 512), t[i].type);
    written = refused = 0;
    for (k = 0; k < 60; ++k) {
      damage (&rng);
      u_write_text ("t.vmdk", text);
      r = try_it (&rng);
      written += r == 1;
      refused += r == 0;
    }
    if (written < 5 || refused < 5)
      fail_msg ("%u: %u written, %u refused", i, written, refused);
    u_free (&image);
  }
}

static int
teardown (void **state)
{
  (void) state;
  free (bytes);
  return 0;
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (what_check_finds_is_not_written),
  };

  return cmocka_run_group_tests (tests, NULL, teardown);
}
