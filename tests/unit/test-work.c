/* No image makes a request work for long, however small its tables are, and
 * however many its links; and no honest chain notices.
 */

#include "unit.h"

/* KDMV with grains of `grain` sectors and tables of `gtes` entries.  Evil: all
 * entries of the directory name the same table, which is empty, so that no two
 * are read together.  Else each has its own, with one grain in it, and there
 * are copies of all.
 */
struct shape {
  uint64_t sectors;             /* of the disk */
  uint64_t grain;
  uint32_t gtes;
  bool evil;
};

#define DESCRIPTOR_AT 1u
#define DESCRIPTOR_SECTORS 20u

static uint64_t
sectors_of (uint64_t bytes)
{
  return (bytes + 511) / 512;
}

static void
put_header (uint8_t *p, const struct shape *s, uint64_t copy, uint64_t gd,
            uint64_t data)
{
  memcpy (p, "KDMV", 4);
  vd_put32 (p + 4, 1);
  vd_put32 (p + 8, copy ? 3 : 1);
  vd_put64 (p + 12, s->sectors);
  vd_put64 (p + 20, s->grain);
  vd_put64 (p + 28, DESCRIPTOR_AT);
  vd_put64 (p + 36, DESCRIPTOR_SECTORS);
  vd_put32 (p + 44, s->gtes);
  vd_put64 (p + 48, copy);
  vd_put64 (p + 56, gd);
  vd_put64 (p + 64, data);
  memcpy (p + 73, "\n \r\n", 4);
  /* It can stand on another of the same. */
  sprintf ((char *) p + 512, "# Disk DescriptorFile\nversion=1\nCID=22222222\n"
           "parentCID=22222222\ncreateType=\"monolithicSparse\"\n"
           "parentFileNameHint=\"p.vmdk\"\nRW %llu SPARSE \"m.vmdk\"\n",
           (unsigned long long) s->sectors);
}

/* A directory, and its tables behind it: one entry each, that of grain
 * number 3 of the table, at the sector `data`.
 */
static void
put_tables (uint8_t *p, const struct shape *s, uint64_t gd, uint64_t tables,
            uint64_t data)
{
  const uint64_t n = vd_div_up (s->sectors, s->grain * s->gtes);
  const uint64_t each = sectors_of (s->gtes * 4);

  for (uint64_t i = 0; i < n; i++) {
    const uint64_t at = tables + (s->evil ? 0 : i * each);

    vd_put32 (p + gd * 512 + i * 4, (uint32_t) at);
    if (!s->evil)
      vd_put32 (p + at * 512 + 3 * 4, (uint32_t) data);
  }
}

static uint8_t *
make (const struct shape *s, size_t *bytes)
{
  const uint64_t n = vd_div_up (s->sectors, s->grain * s->gtes);
  const uint64_t gd = 64, gd_sectors = sectors_of (n * 4);
  const uint64_t tables = gd + gd_sectors;
  const uint64_t room = (s->evil ? 1 : n) * sectors_of (s->gtes * 4);
  const uint64_t copy = tables + room, copies = copy + gd_sectors;
  const uint64_t data
    = vd_div_up (s->evil ? copy : copies + room, s->grain) * s->grain;
  const size_t size = (size_t) ((data + s->grain) * 512);
  uint8_t *p = calloc (1, size);

  assert_non_null (p);
  put_header (p, s, s->evil ? 0 : copy, gd, data);
  put_tables (p, s, gd, tables, data);
  if (!s->evil)
    put_tables (p, s, copy, copies, data);
  memset (p + data * 512, 'x', s->grain * 512);
  *bytes = size;
  return p;
}

struct stack {
  uint8_t *data;                /* of all links */
  struct u_spy *spy[255];
  struct vd_link *link[255];
  size_t n;
  struct vd_chain *chain;
  struct vd_reader *reader;
};

static const struct vd_base nothing = { .align = 1 };
static const struct vd_opts none;

static void
open_stack (struct stack *k, const struct shape *s, size_t n)
{
  struct vd_err err;
  size_t size;

  *k = (struct stack) { .n = n };
  k->data = make (s, &size);
  for (size_t i = 0; i < n; i++) {
    k->spy[i] = u_spy (u_memory ("m.vmdk", k->data, size));
    k->link[i] = u_link_file (&k->spy[i]->file, &none);
  }
  k->chain = vd_chain_new (k->link, n, &none, &err);
  assert_opened (k->chain, &err);
  k->reader = vd_reader_new (k->chain, 64 * MIB, &err);
  assert_opened (k->reader, &err);
}

static void
close_stack (struct stack *k)
{
  vd_reader_free (k->reader);
  vd_chain_free (k->chain);
  for (size_t i = 0; i < k->n; i++)
    vd_link_close (k->link[i]);
  free (k->data);
}

/* Reads of all files since the last call. */
static uint64_t
reads (struct stack *k)
{
  uint64_t sum = 0;

  for (size_t i = 0; i < k->n; i++)
    sum += atomic_exchange (&k->spy[i]->preads, 0);
  return sum;
}

static int
add_up (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  (void) err;
  assert_int_equal (type, VD_HOLE | VD_READS_ZERO);
  *(uint64_t *) opaque += length;
  return 0;
}

/* What one link may cost beside the rest: its share has a least amount, and
 * one step is done in any case.
 */
#define A_LINK UINT64_C (80)

/* Ask as a client does, so often; how many bytes were told? */
static uint64_t
ask (struct stack *k, bool only_first, unsigned times)
{
  uint64_t at = 0, before;
  struct vd_err err;

  while (times-- > 0 && at < k->chain->size) {
    before = at;
    reads (k);
    if (vd_status (k->reader, &nothing, at, k->chain->size - at, only_first,
                   add_up, &at, &err) == -1)
      fail_msg ("%s", err.msg);
    assert_true (at > before);
    assert_true (reads (k) <= VD_STATUS_WORK + VD_MAP_WORK + k->n * A_LINK);
  }
  return at;
}

TEST (status_gets_shorter)
{
  /* 512 MiB, 1,048,576 tables of one entry for 512 bytes each */
  const struct shape evil = { 1048576, 1, 1, true };
  struct stack k;

  for (int only_first = 0; only_first < 2; only_first++) {
    open_stack (&k, &evil, 1);
    assert_true (ask (&k, only_first, 1) < k.chain->size);
    assert_int_equal (ask (&k, only_first, 1000), k.chain->size);
    close_stack (&k);
  }
}

TEST (status_of_many_links_gets_shorter)
{
  const struct shape evil = { 131072, 1, 1, true };
  struct stack k;

  for (int only_first = 0; only_first < 2; only_first++) {
    open_stack (&k, &evil, 60);
    assert_true (ask (&k, only_first, 3) < k.chain->size);
    close_stack (&k);
  }
}

static int
try_read (struct stack *k, uint64_t offset, size_t n, struct vd_err *err)
{
  uint8_t *buf = malloc (n);
  int r;

  assert_non_null (buf);
  memset (buf, 0x5a, n);
  reads (k);
  r = vd_read (k->reader, &nothing, buf, n, offset, err);
  for (size_t i = 0; r == 0 && i < n; i++)
    if (buf[i] != 0)
      fail_msg ("byte %zu is %u", i, buf[i]);
  free (buf);
  return r;
}

TEST (small_reads_are_complete_and_large_ones_end)
{
  const struct shape evil = { 131072, 1, 1, true };
  const struct vd_region *region;
  struct vd_map *map;
  struct stack k;
  struct vd_err err;
  uint64_t n;

  open_stack (&k, &evil, 60);
  map = vd_reader_get_map (k.reader);
  /* the first tries to keep the region */
  if (try_read (&k, 5 * MIB + 12345, 65536, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_true (reads (&k) > VD_MAP_WORK / 4);
  if (try_read (&k, 5 * MIB + 12345, 65536, &err) == -1)
    fail_msg ("%s", err.msg);
  n = reads (&k);               /* 129 tables, at most two reads each */
  assert_true (n >= 60 * 129 && n <= 60 * 129 * 2 + 60);

  /* It stays like that when something in it is written. */
  vd_map_change (map, &(struct vd_map_change) {
      .offset = 5 * MIB, .length = 512, .kind = VD_ZERO });
  region = vd_map_get (map, 5 * MIB, NULL, &err);
  assert_opened (region, &err);
  assert_int_equal (region->n, 0);
  vd_map_put (map, region);
  assert_int_equal (reads (&k), 0);

  assert_int_equal (try_read (&k, 0, 64 * MIB, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "/: ", "so much, and in such small "
              "parts", "read less at a time");
  assert_true (reads (&k) <= VD_READ_WORK + VD_MAP_WORK + 60 * A_LINK);
  close_stack (&k);
}

/* A single image is read, whatever its tables are like. */
TEST (one_link_is_read)
{
  const struct shape evil = { 131072, 1, 1, true };
  struct stack k;
  struct vd_err err;

  open_stack (&k, &evil, 1);
  if (try_read (&k, 0, 64 * MIB, &err) == -1)
    fail_msg ("%s", err.msg);
  close_stack (&k);
}

/* The deepest chain of what products make, and of smaller grains than they
 * make: all regions are kept, and nothing is cut.
 */
static void
honest (uint64_t grain)
{
  const struct shape s = { 32768, grain, 512, false };
  struct stack k;
  struct vd_err err;
  uint64_t at = 0, work = 0;
  uint8_t *buf = malloc (16 * MIB);

  open_stack (&k, &s, 255);
  for (; at < k.chain->size; at += vd_map_region_size (
         vd_reader_get_map (k.reader))) {
    const struct vd_region *r;

    work = 0;
    r = vd_map_get (vd_reader_get_map (k.reader), at, &work, &err);
    assert_opened (r, &err);
    assert_true (r->n > 0);
    assert_true (work > 0 && work <= VD_MAP_WORK);
    vd_map_put (vd_reader_get_map (k.reader), r);
  }
  close_stack (&k);

  open_stack (&k, &s, 255);
  if (vd_read (k.reader, &nothing, buf, 16 * MIB, 0, &err) == -1)
    fail_msg ("%s", err.msg);
  for (at = 0; at < 32768; at++)
    assert_int_equal (buf[at * 512], at / grain % 512 == 3 ? 'x' : 0);
  close_stack (&k);
  free (buf);
}

TEST (honest_chains_do_not_notice)
{
  honest (8);
  honest (1);
}

/* Extents of one sector each, of each of which a whole grain of 1 MiB has to be
 * inflated to get at it.
 */
#define NR_EXTENTS 1500u

static void
make_small_extents (void)
{
  const struct vd_create_opts opts = {
    .format = VD_WRITER_STREAM, .capacity = MIB, .grain_size = MIB,
  };
  FILE *fp = fopen ("d.vmdk", "w");
  uint8_t *buf = malloc (MIB);
  struct vd_err err;
  struct vd_create *w = vd_create_open ("s.vmdk", &opts, &err);

  assert_opened (w, &err);
  memset (buf, 'x', MIB);
  assert_int_equal (vd_create_data (w, 0, buf, MIB, &err), 0);
  assert_int_equal (vd_create_finish (w, NULL, &err), 0);
  free (buf);
  fprintf (fp, "# Disk DescriptorFile\nversion=1\nCID=22222222\n"
           "parentCID=ffffffff\ncreateType=\"twoGbMaxExtentSparse\"\n");
  for (unsigned i = 0; i < NR_EXTENTS; i++)
    fprintf (fp, "RW 1 SPARSE \"s.vmdk\"\n");
  fclose (fp);
}

TEST (inflating_counts)
{
  uint8_t *buf = malloc (NR_EXTENTS * 512);
  struct vd_chain *chain;
  struct vd_reader *reader;
  struct vd_link *link;
  struct vd_err err;

  make_small_extents ();
  link = vd_link_open ("d.vmdk", &none, &err);
  assert_opened (link, &err);
  chain = vd_chain_new (&link, 1, &none, &err);
  assert_opened (chain, &err);
  reader = vd_reader_new (chain, MIB, &err);
  assert_opened (reader, &err);
  if (vd_read (reader, &nothing, buf, 500 * 512, 700 * 512, &err) == -1)
    fail_msg ("%s", err.msg);
  for (size_t i = 0; i < 500 * 512; i++)
    assert_int_equal (buf[i], 'x');
  assert_int_equal (vd_read (reader, &nothing, buf, NR_EXTENTS * 512, 0,
                             &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "d.vmdk", "so much, and in such small");
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_link_close (link);
  free (buf);
}

/* All of a list is accounted for, and more than a budget only once. */
TEST (a_list_that_is_cut_goes_on)
{
  const struct shape s = { 32768, 1, 64, false };
  struct vd_runs whole = VD_RUNS_INIT (100000), part = VD_RUNS_INIT (100000);
  uint64_t at = 0, pieces = 0;
  struct stack k;
  struct vd_err err;
  size_t i = 0;

  open_stack (&k, &s, 3);
  assert_int_equal (vd_chain_map (k.chain, 0, k.chain->size, &whole, &err), 0);
  assert_int_equal (vd_run_end (&whole.run[whole.n - 1]), k.chain->size);
  reads (&k);
  part.max_work = 1;
  while (at < k.chain->size) {
    part.n = 0;
    part.work = 0;
    assert_int_equal (vd_chain_map (k.chain, at, k.chain->size - at, &part,
                                    &err), 0);
    assert_int_equal (part.max_work, 1);
    assert_true (reads (&k) <= part.work);
    assert_true (part.work <= 3 * A_LINK);
    assert_int_equal (part.run[0].offset, at);
    for (size_t j = 0; j < part.n; j++) {
      while (vd_run_end (&whole.run[i]) <= part.run[j].offset)
        i++;
      assert_int_equal (part.run[j].kind, whole.run[i].kind);
      assert_true (vd_run_end (&part.run[j]) <= vd_run_end (&whole.run[i]));
    }
    at = vd_run_end (&part.run[part.n - 1]);
    pieces++;
  }
  assert_true (pieces > 3);
  vd_runs_free (&whole);
  vd_runs_free (&part);
  close_stack (&k);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (status_gets_shorter),
    cmocka_unit_test (status_of_many_links_gets_shorter),
    cmocka_unit_test (small_reads_are_complete_and_large_ones_end),
    cmocka_unit_test (one_link_is_read),
    cmocka_unit_test (honest_chains_do_not_notice),
    tmpdir_test (inflating_counts),
    cmocka_unit_test (a_list_that_is_cut_goes_on),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
