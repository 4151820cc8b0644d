/* lib/create/create.c and the formats below it: what is written is read back, limits
 * are found before anything is written, and failing files leave nothing.
 */

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "unit.h"

/* ---- A disk to write ---------------------------------------------------- */

enum kind { HOLE, DATA, ZERO };

struct disk {
  struct vd_create_opts opts;
  uint64_t grain;
  uint8_t *base, *want;
  enum kind *kind;              /* of each grain */
  uint64_t grains, data, zeros;
  uint64_t state;
};

static uint64_t
draw (struct disk *d, uint64_t below)
{
  d->state ^= d->state << 13;
  d->state ^= d->state >> 7;
  d->state ^= d->state << 17;
  return d->state % below;
}

/* Grains of one kind come in rows, so that calls are of any length. */
static void
disk_init (struct disk *d, const struct vd_create_opts *opts, uint64_t grain,
           uint64_t seed)
{
  enum kind kind = HOLE;
  uint64_t i, k, left = 0;

  memset (d, 0, sizeof *d);
  d->opts = *opts;
  d->grain = grain;
  d->state = seed * 7919 + 1;
  d->grains = vd_div_up (opts->capacity, grain);
  d->base = malloc (opts->capacity);
  d->want = malloc (opts->capacity);
  d->kind = calloc (d->grains, sizeof d->kind[0]);
  assert_non_null (d->base);
  assert_non_null (d->want);
  assert_non_null (d->kind);
  for (i = 0; i < opts->capacity; ++i)
    d->base[i] = (uint8_t) (i * 31 ^ i >> 9 ^ seed);
  memcpy (d->want, d->base, opts->capacity);
  for (i = 0; i < d->grains; ++i) {
    const uint64_t at = i * grain;
    const uint64_t n = vd_min (grain, opts->capacity - at);

    if (left == 0) {
      kind = (enum kind) draw (d, 3);
      left = draw (d, draw (d, 4) == 0 ? 700 : 6) + 1;
    }
    left--;
    d->kind[i] = kind;
    d->data += kind == DATA;
    d->zeros += kind == ZERO;
    if (kind == ZERO)
      memset (d->want + at, 0, n);
    else if (kind == DATA)
      for (k = 0; k < n; ++k)
        d->want[at + k] = (uint8_t) draw (d, 4 + i % 250);
  }
}

static void
disk_free (struct disk *d)
{
  free (d->base);
  free (d->want);
  free (d->kind);
}

static int
disk_add (struct disk *d, struct vd_create *w, struct vd_err *err)
{
  uint64_t i, j;
  int r = 0;

  for (i = 0; i < d->grains && r == 0; i = j) {
    const uint64_t most = draw (d, 300) + 1;
    const uint64_t at = i * d->grain;
    uint64_t end;

    for (j = i + 1; j < d->grains && d->kind[j] == d->kind[i] &&
           j - i < most; ++j)
      ;
    end = vd_min (j * d->grain, d->opts.capacity);
    if (d->kind[i] == DATA)
      r = vd_create_data (w, at, d->want + at, end - at, err);
    else if (d->kind[i] == ZERO)
      r = vd_create_zero (w, at, end - at, err);
  }
  return r;
}

static void
compare (struct disk *d, const char *path)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_err err;
  struct vd_link *link = vd_link_open (path, &opts, &err);
  struct vd_file *base = u_memory ("base", d->base, d->opts.capacity);
  uint8_t *have = malloc (d->opts.capacity);
  struct u_disk disk;

  assert_opened (link, &err);
  assert_non_null (have);
  assert_int_equal (link->role, VD_ROLE_CHILD);
  assert_int_equal (link->capacity, d->opts.capacity);
  assert_int_equal (link->descriptor->parent_cid, d->opts.parent_cid);
  assert_string_equal (vd_descriptor_get (link->descriptor,
                                          "parentfilenamehint"),
                       d->opts.parent_hint);
  u_disk_open (&disk, &link, 1, base, VD_MAP_DEFAULT_BUDGET);
  if (vd_read (disk.reader, &disk.base, have, d->opts.capacity, 0,
               &err) == -1)
    fail_msg ("%s", err.msg);
  assert_memory_equal (have, d->want, d->opts.capacity);
  u_disk_close (&disk);
  vd_file_close (base);
  free (have);
}

static unsigned
files_here (void)
{
  DIR *dir = opendir (".");
  const struct dirent *e;
  unsigned n = 0;

  assert_non_null (dir);
  while ((e = readdir (dir)) != NULL)
    n += e->d_name[0] != '.';
  closedir (dir);
  return n;
}

static const struct vd_create_opts child = {
  .parent_cid = 0x1234, .parent_hint = "p.vmdk",
};

static void
round_trip (enum vd_create_format format, uint64_t capacity, uint64_t grain,
            uint64_t seed)
{
  struct vd_create_opts opts = child;
  struct vd_create_result result;
  struct vd_create *w;
  struct vd_err err;
  struct disk d;

  opts.format = format;
  opts.capacity = capacity;
  opts.grain_size = grain;
  opts.replace = seed > 1;
  opts.store_zeros = seed % 3 == 0;
  opts.threads = (unsigned) (seed % 4);
  disk_init (&d, &opts, grain, seed);
  w = vd_create_open ("t.vmdk", &opts, &err);
  assert_opened (w, &err);
  assert_int_equal (vd_create_grain_size (w), grain);
  assert_string_equal (vd_create_path (w, 0), "t.vmdk");
  if (format == VD_WRITER_COWD)
    assert_string_equal (vd_create_path (w, 1), "t-delta.vmdk");
  else
    assert_null (vd_create_path (w, 1));
  assert_null (vd_create_path (w, 2));
  if (seed == 1)
    assert_int_equal (access ("t.vmdk", F_OK), -1);
  if (disk_add (&d, w, &err) == -1 ||
      vd_create_finish (w, &result, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_int_equal (result.data_grains, d.data);
  assert_int_equal (result.zero_grains, d.zeros);
  assert_int_equal (files_here (), format == VD_WRITER_COWD ? 2 : 1);
  compare (&d, "t.vmdk");
  disk_free (&d);
}

static void
round_trips (enum vd_create_format format, uint64_t min_grain)
{
  uint64_t grain, seed = 1;

  for (grain = min_grain; grain <= MIB; grain *= 4) {
    round_trip (format, 512, grain, seed++);
    round_trip (format, grain * 3 + 512, grain, seed++);
    round_trip (format, 9 * MIB - 1024, grain, seed++);
  }
  round_trip (format, 40 * MIB, 16 * KIB, seed++);
}

TEST (cowd_is_read_back) { round_trips (VD_WRITER_COWD, 512); }
TEST (sparse_is_read_back) { round_trips (VD_WRITER_SPARSE, 4096); }
TEST (stream_is_read_back) { round_trips (VD_WRITER_STREAM, 4096); }

/* ---- Headers ------------------------------------------------------------ */

static uint8_t *
slurp (const char *path, uint64_t *size)
{
  struct vd_err err;
  struct vd_file *f = vd_file_open (path, &err);
  uint8_t *data;

  assert_opened (f, &err);
  *size = f->size;
  data = malloc (f->size);
  assert_non_null (data);
  assert_int_equal (vd_file_pread (f, data, f->size, 0, &err), 0);
  vd_file_close (f);
  return data;
}

/* Sectors 0, 4095, 4096 and 9999 of 10 000: the reference for each field. */
TEST (cowd_is_the_reference_to_the_byte)
{
  struct vd_create_opts opts = child;
  uint8_t grain[1024];
  uint32_t word[512] = {
    0x44574f43, 1, 3, 10000, 1, 4, 3, 105,
  };
  struct vd_create *w;
  struct vd_err err;
  uint64_t size;
  uint8_t *f;

  memset (grain, 'x', sizeof grain);
  opts.capacity = 10000 * 512;
  w = vd_create_open ("r.vmdk", &opts, &err);
  assert_opened (w, &err);
  assert_int_equal (vd_create_data (w, 0, grain, 512, &err), 0);
  assert_int_equal (vd_create_data (w, 4095 * 512, grain, 1024, &err), 0);
  assert_int_equal (vd_create_data (w, 9999 * 512, grain, 512, &err), 0);
  assert_int_equal (vd_create_finish (w, NULL, &err), 0);

  f = slurp ("r-delta.vmdk", &size);
  assert_memory_equal (f, word, sizeof word);
  assert_true (size > 105 * 512);
  assert_int_equal (vd_le32 (f + 0x800), 5);
  assert_int_equal (vd_le32 (f + 0x804), 39);
  assert_int_equal (vd_le32 (f + 0x808), 72);
  assert_int_equal (vd_le32 (f + 0x80c), 0);
  assert_int_equal (vd_le32 (f + 0xa00), 37);
  assert_int_equal (vd_le32 (f + 0x49fc), 38);
  assert_int_equal (vd_le32 (f + 0x4e00), 71);
  assert_int_equal (vd_le32 (f + 0xac3c), 104);
  assert_int_equal (f[37 * 512], 'x');
  assert_int_equal (f[104 * 512 + 511], 'x');
  assert_int_equal (f[105 * 512], 0);
  free (f);
}

/* Fields of a KDMV header by offset, not by the library's decoder. */
#define H_VERSION(h) vd_le32 ((h) + 4)
#define H_FLAGS(h) vd_le32 ((h) + 8)
#define H_CAPACITY(h) vd_le64 ((h) + 12)
#define H_GRAIN(h) vd_le64 ((h) + 20)
#define H_RGD(h) vd_le64 ((h) + 48)
#define H_GD(h) vd_le64 ((h) + 56)
#define H_OVERHEAD(h) vd_le64 ((h) + 64)

/* A disk of 70 MiB with one data grain; with a zero grain on top. */
static uint8_t *
small (enum vd_create_format format, bool zero, bool store, uint64_t *size)
{
  struct vd_create_opts opts = child;
  static uint8_t grain[65536];
  struct vd_create *w;
  struct vd_err err;

  memset (grain, 'x', sizeof grain);
  opts.capacity = 70 * MIB;
  opts.format = format;
  opts.store_zeros = store;
  opts.replace = true;
  w = vd_create_open ("s.vmdk", &opts, &err);
  assert_opened (w, &err);
  assert_int_equal (vd_create_data (w, 33 * MIB, grain, 65536, &err), 0);
  if (zero)
    assert_int_equal (vd_create_zero (w, 69 * MIB, MIB, &err), 0);
  assert_int_equal (vd_create_finish (w, NULL, &err), 0);
  return slurp ("s.vmdk", size);
}

TEST (sparse_header_and_copies)
{
  static const struct { bool zero, store; uint32_t version, flags; } c[] = {
    { false, false, 1, 3 },
    { true, false, 2, 7 },
    { true, true, 1, 3 },
  };
  unsigned i, t;

  for (i = 0; i < ARRAY_SIZE (c); ++i) {
    uint64_t size;
    uint8_t *f = small (VD_WRITER_SPARSE, c[i].zero, c[i].store, &size);

    assert_int_equal (H_VERSION (f), c[i].version);
    assert_int_equal (H_FLAGS (f), c[i].flags);
    assert_int_equal (H_CAPACITY (f), 70 * MIB / 512);
    assert_int_equal (H_GRAIN (f), 128);
    assert_int_equal (H_RGD (f), 21);
    assert_int_equal (H_GD (f), 21 + 1 + 3 * 4);
    assert_int_equal (H_OVERHEAD (f), 128);
    assert_memory_equal (f + 72, "\0\n \r\n\0\0\0", 8);
    assert_int_equal (size, (c[i].store ? 18 : 2) * 65536);
    /* all tables are there, twice, and equal */
    for (t = 0; t < 3; ++t) {
      assert_int_equal (vd_le32 (f + 21 * 512 + t * 4), 22 + t * 4);
      assert_int_equal (vd_le32 (f + 34 * 512 + t * 4), 35 + t * 4);
    }
    assert_memory_equal (f + 22 * 512, f + 35 * 512, 3 * 2048);
    assert_int_equal (vd_le32 (f + 36 * 512 + 3 * 512 + 16 * 4), 128);
    free (f);
  }
}

TEST (stream_ends_with_a_footer)
{
  uint64_t size, gd;
  uint8_t *f = small (VD_WRITER_STREAM, true, false, &size);
  const uint8_t *footer = f + size - 1024;

  assert_int_equal (H_VERSION (f), 3);
  assert_int_equal (H_FLAGS (f), 0x30001);
  assert_int_equal (vd_le16 (f + 77), 1);
  assert_true (H_GD (f) == UINT64_MAX);
  assert_int_equal (H_RGD (f), 0);
  gd = H_GD (footer);
  assert_true (gd < size / 512);
  assert_memory_equal (f, footer, 56);
  assert_memory_equal (f + 64, footer + 64, 448);
  assert_int_equal (vd_le32 (f + size - 1536 + 12), 3);
  /* the table that has no grains is not there */
  assert_int_equal (vd_le32 (f + gd * 512), 0);
  assert_int_not_equal (vd_le32 (f + gd * 512 + 4), 0);
  /* zlib, not raw deflate, behind the marker */
  assert_int_equal (vd_le64 (f + 128 * 512), 33 * MIB / 512);
  assert_int_equal ((f[128 * 512 + 12] * 256 + f[128 * 512 + 13]) % 31, 0);
  free (f);
}

/* ---- What is refused ---------------------------------------------------- */

static void
refused (const struct vd_create_opts *opts, enum vd_code code,
         const char *part)
{
  struct vd_err err;

  assert_null (vd_create_open ("no.vmdk", opts, &err));
  assert_err (&err, code, part);
  assert_int_equal (files_here (), 0);
}

TEST (limits)
{
  static const struct {
    enum vd_create_format format;
    uint64_t capacity, grain;
    enum vd_code code;
    const char *part;
  } c[] = {
    { VD_WRITER_COWD, 2048 * GIB, 0, VD_UNSUPPORTED, "2 TiB" },
    { VD_WRITER_COWD, 62 * 1024 * GIB, 0, VD_UNSUPPORTED, "2 TiB" },
    { VD_WRITER_COWD, MIB, 2 * MIB, VD_USAGE, "1048576" },
    { VD_WRITER_COWD, MIB, 256, VD_USAGE, "512" },
    { VD_WRITER_COWD, 0, 0, VD_USAGE, "whole sectors" },
    { VD_WRITER_COWD, 1000, 0, VD_USAGE, "whole sectors" },
    { VD_WRITER_SPARSE, MIB, 2048, VD_USAGE, "4096" },
    { VD_WRITER_SPARSE, MIB, 12288, VD_USAGE, "powers of two" },
    { VD_WRITER_SPARSE, UINT64_C (1) << 62, 0, VD_UNSUPPORTED, "larger" },
    { VD_WRITER_SPARSE, 65 * 1024 * GIB, 4096, VD_UNSUPPORTED, "larger" },
    { VD_WRITER_STREAM, 62 * 1024 * GIB, 4096, VD_UNSUPPORTED, "stream" },
    { (enum vd_create_format) 7, MIB, 0, VD_USAGE, "format 7" },
  };
  struct vd_create_opts opts;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (c); ++i) {
    opts = child;
    opts.format = c[i].format;
    opts.capacity = c[i].capacity;
    opts.grain_size = c[i].grain;
    refused (&opts, c[i].code, c[i].part);
  }

  opts = child;
  opts.capacity = MIB;
  opts.parent_cid = UINT32_MAX;
  refused (&opts, VD_USAGE, "no parent");
  opts = child;
  opts.capacity = MIB;
  opts.cid = UINT32_MAX;
  refused (&opts, VD_USAGE, "CID=ffffffff");
  opts.cid = 0;
  opts.parent_hint = "a\"b";
  refused (&opts, VD_USAGE, "quotation mark");
  opts.parent_hint = "a\nRW 1 FLAT";
  refused (&opts, VD_USAGE, "control character");
}

/* The largest disks: tables are holes, and little is written. */
TEST (large_disks)
{
  static const struct {
    enum vd_create_format format;
    uint64_t capacity, grain;
  } c[] = {
    { VD_WRITER_COWD, 2048 * GIB - 512, 512 },
    { VD_WRITER_SPARSE, 62 * 1024 * GIB, 65536 },
    { VD_WRITER_SPARSE, 62 * 1024 * GIB, 4096 },
    { VD_WRITER_STREAM, 62 * 1024 * GIB, 65536 },
  };
  uint8_t *grain = malloc (65536);
  size_t i;

  assert_non_null (grain);
  memset (grain, 'x', 65536);
  for (i = 0; i < ARRAY_SIZE (c); ++i) {
    const struct vd_opts o = { .allow_dirty = false };
    struct vd_create_opts opts = child;
    struct vd_runs runs = VD_RUNS_INIT (8);
    struct vd_create *w;
    struct vd_link *link;
    struct vd_err err;
    struct stat st;

    opts.format = c[i].format;
    opts.capacity = c[i].capacity;
    opts.grain_size = c[i].grain;
    opts.replace = true;
    w = vd_create_open ("l.vmdk", &opts, &err);
    assert_opened (w, &err);
    assert_int_equal (vd_create_data (w, c[i].capacity - c[i].grain, grain,
                                      c[i].grain, &err), 0);
    if (vd_create_finish (w, NULL, &err) == -1)
      fail_msg ("%s", err.msg);
    assert_int_equal (stat (c[i].format == VD_WRITER_COWD
                            ? "l-delta.vmdk" : "l.vmdk", &st), 0);
    assert_true ((uint64_t) st.st_blocks * 512 < 300 * MIB);
    link = vd_link_open ("l.vmdk", &o, &err);
    assert_opened (link, &err);
    /* not all of it: that would be reading all the tables */
    assert_int_equal (vd_link_map (link, c[i].capacity - GIB, GIB, 0, &runs,
                                   &err), 0);
    assert_int_equal (runs.n, 2);
    assert_int_equal (runs.run[0].kind, VD_BASE);
    assert_int_equal (runs.run[0].length, GIB - c[i].grain);
    vd_runs_free (&runs);
    vd_link_close (link);
  }
  free (grain);
}

/* Positions are checked before they are used. */
TEST (file_larger_than_2_tib)
{
  struct vd_create_opts opts = child;
  struct vd_create *w;
  struct vd_err err;

  opts.format = VD_WRITER_SPARSE;
  opts.capacity = 4096 * GIB;
  opts.store_zeros = true;
  w = vd_create_open ("l.vmdk", &opts, &err);
  assert_opened (w, &err);
  assert_int_equal (vd_create_zero (w, 0, 2040 * GIB, &err), 0);
  assert_int_equal (vd_create_zero (w, 2040 * GIB, 9 * GIB, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "32-bit");
  assert_int_equal (vd_create_zero (w, 3000 * GIB, GIB, &err), -1);
  assert_int_equal (vd_create_finish (w, NULL, &err), -1);
  assert_int_equal (files_here (), 0);
}

TEST (order_and_alignment)
{
  static const struct { uint64_t offset, n; int want; } c[] = {
    { 65536, 65536, 0 },
    { 65536, 65536, -1 },
    { 0, 65536, -1 },
    { 131072 + 512, 65536, -1 },
    { 131072, 1000, -1 },
    { 131072, 131072, 0 },
    { 10 * 65536, 65536, -1 },
    { 9 * 65536, 65536 + 512, 0 },
    { 10 * 65536 + 512, 0, 0 },
  };
  struct vd_create_opts opts = child;
  struct vd_create *w;
  struct vd_err err;
  size_t i;

  opts.format = VD_WRITER_SPARSE;
  opts.capacity = 10 * 65536 + 512;
  w = vd_create_open ("o.vmdk", &opts, &err);
  assert_opened (w, &err);
  for (i = 0; i + 1 < ARRAY_SIZE (c); ++i) {
    const int r = vd_create_zero (w, c[i].offset, c[i].n, &err);

    if (r != c[i].want)
      fail_msg ("case %zu: %d", i, r);
    if (r == -1)
      assert_err (&err, VD_USAGE, "cannot be added");
  }
  vd_create_abort (w);
  vd_create_abort (NULL);
  assert_int_equal (files_here (), 0);
}

/* ---- Names -------------------------------------------------------------- */

static void
existing (enum vd_create_format format, const char *name, bool late)
{
  struct vd_create_opts opts = child;
  struct vd_create *w;
  struct vd_err err;
  uint64_t size;
  uint8_t *f;

  opts.format = format;
  opts.capacity = MIB;
  if (!late)
    u_write_text (name, "mine");
  w = vd_create_open ("e.vmdk", &opts, &err);
  if (late) {
    assert_opened (w, &err);
    u_write_text (name, "mine");
    assert_int_equal (vd_create_finish (w, NULL, &err), -1);
  }
  else
    assert_null (w);
  assert_err (&err, VD_USAGE, name, "exists");
  assert_int_equal (files_here (), 1);
  f = slurp (name, &size);
  assert_int_equal (size, 4);
  free (f);

  opts.replace = true;
  w = vd_create_open ("e.vmdk", &opts, &err);
  assert_opened (w, &err);
  vd_create_abort (w);
  assert_int_equal (files_here (), 1);
  w = vd_create_open ("e.vmdk", &opts, &err);
  assert_opened (w, &err);
  assert_int_equal (vd_create_finish (w, NULL, &err), 0);
  f = slurp (name, &size);
  assert_true (size > 4);
  free (f);
  unlink ("e.vmdk");
  unlink ("e-delta.vmdk");
  assert_int_equal (files_here (), 0);
}

TEST (existing_files_stay)
{
  struct vd_create_opts opts = child;
  struct vd_err err;
  unsigned late;

  for (late = 0; late < 2; ++late) {
    existing (VD_WRITER_COWD, "e.vmdk", late);
    existing (VD_WRITER_COWD, "e-delta.vmdk", late);
    existing (VD_WRITER_SPARSE, "e.vmdk", late);
    existing (VD_WRITER_STREAM, "e.vmdk", late);
  }

  opts.capacity = MIB;
  opts.replace = true;
  assert_int_equal (symlink ("target", "e.vmdk"), 0);
  assert_null (vd_create_open ("e.vmdk", &opts, &err));
  assert_err (&err, VD_USAGE, "not a regular file");
  assert_null (vd_create_open ("none/e.vmdk", &opts, &err));
  assert_err (&err, VD_NOT_FOUND, "none/e.vmdk");
}

TEST (base_descriptor)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_link *link;
  struct vd_err err;
  uint32_t cid;

  u_write ("base.img", "0123456789abcdef", 16);
  assert_int_equal (truncate ("base.img", 3 * 512), 0);
  assert_int_equal (vd_create_base_descriptor ("b.vmdk", "base.img", NULL, 3 * 512,
                                              &cid, &err), 0);
  link = vd_link_open ("b.vmdk", &opts, &err);
  assert_opened (link, &err);
  assert_int_equal (link->role, VD_ROLE_BASE);
  assert_int_equal (link->capacity, 3 * 512);
  assert_int_equal (link->descriptor->cid, cid);
  vd_link_close (link);
  assert_int_equal (vd_create_base_descriptor ("b.vmdk", "base.img", NULL, 3 * 512,
                                              &cid, &err), -1);
  assert_err (&err, VD_USAGE, "b.vmdk", "exists");
  assert_int_equal (vd_create_base_descriptor ("c.vmdk", "base.img", NULL, 100,
                                              &cid, &err), -1);
  assert_int_equal (files_here (), 2);
}

/* ---- Files that fail ---------------------------------------------------- */

static struct {
  unsigned calls, fail_at;      /* writes, zeros, flushes, creations */
  bool failed;
} inject;

static int
injected (struct vd_err *err)
{
  if (++inject.calls != inject.fail_at)
    return 0;
  inject.failed = true;
  return vd_fail_errno (err, ENOSPC, "on purpose");
}

struct faulty {
  struct vd_file file;
  struct vd_file *under;
};

static int
faulty_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
              struct vd_err *err)
{
  return vd_file_pread (((struct faulty *) f)->under, buf, n, offset, err);
}

static int
faulty_pwrite (struct vd_file *f, const void *buf, size_t n, uint64_t offset,
               struct vd_err *err)
{
  if (injected (err) == -1)
    return -1;
  return vd_file_pwrite (((struct faulty *) f)->under, buf, n, offset, err);
}

static int
faulty_flush (struct vd_file *f, struct vd_err *err)
{
  if (injected (err) == -1)
    return -1;
  return vd_file_flush (((struct faulty *) f)->under, err);
}

static void
faulty_close (struct vd_file *f)
{
  vd_file_close (((struct faulty *) f)->under);
  free (f);
}

static struct vd_file *
faulty_create (const char *path, struct vd_err *err)
{
  static const struct vd_file_ops ops = {
    .pread = faulty_pread, .pwrite = faulty_pwrite, .flush = faulty_flush,
    .close = faulty_close,
  };
  struct faulty *f;

  if (injected (err) == -1)
    return NULL;
  f = calloc (1, sizeof *f);
  assert_non_null (f);
  f->under = vd_file_create (path, err);
  assert_non_null (f->under);
  f->file.ops = &ops;
  f->file.name = strdup (path);
  f->file.growable = true;
  return &f->file;
}

/* Each call in turn: nothing is left, and the message is kept. */
static void
each_failure (enum vd_create_format format)
{
  struct vd_create_opts opts = child;
  struct vd_create *w;
  struct vd_err err;
  struct disk d;
  int r;

  opts.format = format;
  opts.capacity = 5 * MIB + 512;
  opts.grain_size = 4096;
  opts.create = faulty_create;
  disk_init (&d, &opts, 4096, 5);
  for (inject.fail_at = 1; ; ++inject.fail_at) {
    inject.calls = 0;
    inject.failed = false;
    w = vd_create_open ("f.vmdk", &opts, &err);
    r = w ? disk_add (&d, w, &err) : -1;
    if (w && r == -1) {
      assert_err (&err, VD_NOSPACE, "on purpose");
      if (inject.fail_at % 2)
        vd_create_abort (w);
      else
        assert_int_equal (vd_create_finish (w, NULL, NULL), -1);
    }
    else if (w)
      r = vd_create_finish (w, NULL, &err);
    if (!inject.failed)
      break;
    assert_int_equal (r, -1);
    assert_err (&err, VD_NOSPACE, "on purpose");
    assert_int_equal (files_here (), 0);
  }
  assert_int_equal (r, 0);
  assert_true (inject.fail_at > 10);
  compare (&d, "f.vmdk");
  disk_free (&d);
}

TEST (each_failure_of_cowd) { each_failure (VD_WRITER_COWD); }
TEST (each_failure_of_sparse) { each_failure (VD_WRITER_SPARSE); }
TEST (each_failure_of_stream) { each_failure (VD_WRITER_STREAM); }

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (cowd_is_read_back),
    tmpdir_test (sparse_is_read_back),
    tmpdir_test (stream_is_read_back),
    tmpdir_test (cowd_is_the_reference_to_the_byte),
    tmpdir_test (sparse_header_and_copies),
    tmpdir_test (stream_ends_with_a_footer),
    tmpdir_test (limits),
    tmpdir_test (large_disks),
    tmpdir_test (file_larger_than_2_tib),
    tmpdir_test (order_and_alignment),
    tmpdir_test (existing_files_stay),
    tmpdir_test (base_descriptor),
    tmpdir_test (each_failure_of_cowd),
    tmpdir_test (each_failure_of_sparse),
    tmpdir_test (each_failure_of_stream),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
