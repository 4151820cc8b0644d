/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The newest link of a chain, written while it is read, beside a model: an
 * array of bytes.  Several threads write, zero, trim, read, ask and flush; each
 * knows what its own bytes are, and they share grains, tables and files.  Then
 * the disk is closed (or left as a kill leaves it, behind a flush), looked at
 * by check, read by a fresh reader, and opened again.
 *
 * DISK_OPS is the number of operations for each shape.
 */

#include <pthread.h>
#include <unistd.h>

#include "create/create-vdi.h"
#include "format/kdmv-header.h"
#include "unit.h"

#define SIZE (9 * MIB + 7 * 512 + 0)
#define MAX_THREADS 8u

static uint8_t *want, *got;     /* SIZE bytes of each */

/* ---- Shapes ---------------------------------------------------------------- */

struct shape {
  const char *name;
  enum { KDMV, COWD, VDI, SPLIT } what;
  uint64_t grain;
  bool has_base;                /* no parent: nothing below */
  bool zeroed;                  /* KDMV: with the entry for zeros */
  bool on_link;                 /* stands on one more link, else on raw bytes */
  unsigned fill;                /* grains that are there at first, percent */
  unsigned threads;
  uint64_t budget;
};

static const struct shape shapes[] = {
  { "kdmv-raw", KDMV, 65536, .fill = 20, .threads = 4 },
  { "kdmv-empty", KDMV, 65536, .fill = 0, .threads = 4, .on_link = true },
  { "kdmv-base", KDMV, 65536, .has_base = true, .fill = 10, .threads = 4 },
  { "kdmv-fine", KDMV, 4096, .on_link = true, .fill = 40, .threads = 8 },
  { "kdmv-zeroed", KDMV, 8192, .on_link = true, .zeroed = true, .fill = 30,
    .threads = 4 },
  { "kdmv-coarse", KDMV, 1048576, .on_link = true, .fill = 20, .threads = 4 },
  { "kdmv-one", KDMV, 16384, .on_link = true, .fill = 30, .threads = 1 },
  { "kdmv-small-budget", KDMV, 4096, .on_link = true, .fill = 30,
    .threads = 4, .budget = 1 },
  { "cowd-raw", COWD, 512, .fill = 10, .threads = 4 },
  { "cowd-link", COWD, 65536, .on_link = true, .fill = 30, .threads = 4 },
  { "vdi-base", VDI, 65536, .has_base = true, .fill = 20, .threads = 4 },
  { "vdi-link", VDI, 1048576, .on_link = true, .fill = 0, .threads = 4 },
  { "split", SPLIT, 65536, .on_link = true, .fill = 30, .threads = 4 },
};

static struct vd_opts quiet = { .ignore_cid = true };

static void
random_bytes (uint8_t *p, size_t n, struct mk_rng *rng)
{
  uint64_t r;
  size_t i, k;

  for (i = 0; i < n; i += k) {
    r = mk_rng_next (rng);
    k = vd_min (n - i, sizeof r);
    memcpy (p + i, &r, k);
  }
}

/* A link of which some grains are there; it goes into the model. */
static void
make_vmdk (const char *path, uint64_t start, uint64_t size,
           const struct vd_create_opts *given, unsigned percent, bool zeros,
           struct mk_rng *rng)
{
  struct vd_create_opts opts = *given;
  struct vd_create *w;
  struct vd_err err;
  uint64_t at, n;

  opts.capacity = size;
  opts.replace = true;
  w = vd_create_open (path, &opts, &err);
  assert_opened (w, &err);
  for (at = 0; at < size; at += n) {
    n = vd_min (opts.grain_size, size - at);
    if (mk_rng_below (rng, 100) >= percent)
      continue;
    if (zeros && mk_rng_below (rng, 3) == 0) {
      memset (want + start + at, 0, n);
      assert_int_equal (vd_create_zero (w, at, n, &err), 0);
      continue;
    }
    random_bytes (want + start + at, n, rng);
    assert_int_equal (vd_create_data (w, at, want + start + at, n, &err), 0);
  }
  assert_int_equal (vd_create_finish (w, NULL, &err), 0);
}

static void
put32 (uint8_t *p, uint32_t v)
{
  v = htole32 (v);
  memcpy (p, &v, sizeof v);
}

static void
make_vdi (const char *path, const struct shape *s, struct mk_rng *rng)
{
  const uint64_t bs = s->grain, nr = vd_div_up (SIZE, bs), data = 65536;
  uint8_t *file = calloc (1, data + nr * bs);
  uint32_t used = 0;
  uint64_t i;

  put32 (file + 0x40, 0xbeda107f);
  put32 (file + 0x44, 0x10001);
  put32 (file + 0x48, 0x190);
  put32 (file + 0x4c, s->has_base ? 1 : 4);
  put32 (file + 0x154, 4096);
  put32 (file + 0x158, (uint32_t) data);
  put32 (file + 0x170, (uint32_t) SIZE);
  put32 (file + 0x178, (uint32_t) bs);
  put32 (file + 0x180, (uint32_t) nr);
  memset (file + 0x188, 0x11, 16);
  memset (file + 0x198, 0x22, 16);
  memset (file + 0x1a8, s->has_base ? 0 : 0x33, 16);
  for (i = 0; i < nr; ++i) {
    const unsigned k = (unsigned) mk_rng_below (rng, 100);
    const uint64_t n = vd_min (bs, SIZE - i * bs);
    uint32_t entry = UINT32_MAX;

    if (k < s->fill / 3) {
      memset (want + i * bs, 0, n);
      entry = UINT32_MAX - 1;
    }
    else if (k < s->fill) {
      random_bytes (want + i * bs, n, rng);
      memcpy (file + data + used * bs, want + i * bs, n);
      entry = used++;
    }
    put32 (file + 4096 + i * 4, entry);
  }
  put32 (file + 0x184, used);
  u_write (path, file, data + used * bs);
  free (file);
}

/* Two sparse pieces with a flat one between, none of which ends at a grain. */
static void
make_split (const struct shape *s, struct mk_rng *rng)
{
  const struct vd_create_opts opts = {
    .format = VD_WRITER_SPARSE, .grain_size = s->grain, .parent_cid = 1,
    .parent_hint = "p.vmdk", .store_zeros = true,
  };
  const uint64_t a = 3 * MIB + 5 * 512, b = a + MIB + 512;
  char text[500];

  make_vmdk ("t-1.vmdk", 0, a, &opts, s->fill, false, rng);
  random_bytes (want + a, b - a, rng);
  u_write ("t-2.raw", want + a, b - a);
  make_vmdk ("t-3.vmdk", b, SIZE - b, &opts, s->fill, false, rng);
  snprintf (text, sizeof text, "# Disk DescriptorFile\nversion=1\n"
            "CID=12345678\nparentCID=00000001\nparentFileNameHint=\"p.vmdk\"\n"
            "createType=\"custom\"\nRW %d SPARSE \"t-1.vmdk\"\n"
            "RW %d FLAT \"t-2.raw\" 0\nRW %d SPARSE \"t-3.vmdk\"\n",
            (int) (a / 512), (int) ((b - a) / 512), (int) ((SIZE - b) / 512));
  u_write_text ("t.vmdk", text);
}

static const char *
file_of (const struct shape *s)
{
  return s->what == VDI ? "t.vdi" : "t.vmdk";
}

static void
make_shape (const struct shape *s, struct mk_rng *rng)
{
  const struct vd_create_opts below = {
    .format = VD_WRITER_SPARSE, .grain_size = 32768,
  };
  const struct vd_create_opts opts = {
    .format = s->what == COWD ? VD_WRITER_COWD : VD_WRITER_SPARSE,
    .grain_size = s->grain,
    .parent_cid = s->has_base ? 0 : 1,
    .parent_hint = s->has_base ? NULL : "p.vmdk",
    .store_zeros = !s->zeroed,
  };

  memset (want, 0, SIZE);
  if (s->on_link)
    make_vmdk ("p.vmdk", 0, SIZE, &below, 60, true, rng);
  else if (!s->has_base) {
    random_bytes (want, SIZE / 2, rng);   /* a base that ends in the middle */
    u_write ("base.raw", want, SIZE / 2 - 100);
    memset (want + SIZE / 2 - 100, 0, SIZE - SIZE / 2 + 100);
  }
  switch (s->what) {
  case VDI: make_vdi ("t.vdi", s, rng); break;
  case SPLIT: make_split (s, rng); break;
  default:
    make_vmdk ("t.vmdk", 0, SIZE, &opts, s->fill, s->zeroed, rng);
  }
}

/* ---- The disk ---------------------------------------------------------------- */

struct served {
  const struct shape *shape;
  struct vd_link *link[2];
  struct vd_chain *chain;
  struct vd_disk *disk;
  struct vd_reader *reader;
  struct vd_base base;
};

static void
serve (struct served *v, const struct shape *s, bool write)
{
  const struct vd_disk_opts opts = { .budget = s->budget };
  struct vd_link *links[2];
  struct vd_err err;
  size_t n = 0;

  *v = (struct served) { .shape = s, .base.align = 1 };
  if (s->on_link) {
    v->link[0] = links[n++] = vd_link_open ("p.vmdk", &quiet, &err);
    assert_opened (v->link[0], &err);
  }
  else if (!s->has_base) {
    v->base.file = vd_file_open ("base.raw", &err);
    assert_opened (v->base.file, &err);
  }
  v->link[1] = links[n++] = vd_link_open (file_of (s), &quiet, &err);
  assert_opened (v->link[1], &err);
  v->chain = vd_chain_new (links, n, &quiet, &err);
  assert_opened (v->chain, &err);
  if (write) {
    v->disk = vd_disk_open (v->chain, &opts, &err);
    assert_opened (v->disk, &err);
    v->reader = vd_disk_reader (v->disk);
  }
  else {
    v->reader = vd_reader_new (v->chain, MIB, &err);
    assert_opened (v->reader, &err);
  }
}

/* The disk is closed already, if it was written. */
static void
leave (struct served *v)
{
  if (!v->disk)
    vd_reader_free (v->reader);
  vd_chain_free (v->chain);
  vd_link_close (v->link[0]);
  vd_link_close (v->link[1]);
  vd_file_close (v->base.file);
}

static void
compare_all (struct served *v)
{
  struct vd_err err;
  size_t i;

  if (vd_read (v->reader, &v->base, got, SIZE, 0, &err) == -1)
    fail_msg ("%s: %s", v->shape->name, err.msg);
  if (memcmp (got, want, SIZE) == 0)
    return;
  for (i = 0; got[i] == want[i]; ++i)
    ;
  fail_msg ("%s: byte %zu (0x%zx) is %02x, not %02x", v->shape->name, i, i,
            got[i], want[i]);
}

/* ---- What a client does --------------------------------------------------------- */

struct client {
  struct served *v;
  unsigned number, of;
  unsigned ops;
  struct mk_rng rng;
  char wrong[2500];             /* what was */
};

#define CELL 1536u

/* A range that is this client's: in the first half of the disk in a stretch
 * of its own, in the second in a cell of its own among those of others.
 */
static void
draw (struct client *c, uint64_t *offset, uint64_t *n)
{
  const uint64_t half = SIZE / 2, zone = half / c->of;
  const uint64_t cells = (SIZE - half) / CELL / c->of;
  uint64_t from, to;

  if (mk_rng_below (&c->rng, 2)) {
    from = c->number * zone + (c->number == 0 ? 0 : 77);
    to = (c->number + 1) * zone + 77;
  }
  else {
    from = half + (mk_rng_below (&c->rng, cells) * c->of + c->number) * CELL;
    from += 77;                 /* the first half's zones end there */
    to = vd_min (from + CELL, SIZE);
  }
  *n = 1 + mk_rng_below (&c->rng, mk_rng_below (&c->rng, 8) == 0
                         ? to - from : vd_min (to - from, 9000));
  *offset = from + mk_rng_below (&c->rng, to - from - *n + 1);
  /* mostly as file systems do it */
  if (mk_rng_below (&c->rng, 4) != 0) {
    *offset = vd_div_up (*offset, 512) * 512;
    if (*offset >= to)
      *offset = vd_round_down (to - 1, 512);
    if (*offset < from)
      *offset = from;
    *n = vd_min (vd_div_up (*n, 512) * 512, to - *offset);
  }
}

static void
note (struct client *c, const char *what, uint64_t offset, uint64_t n,
      const char *why)
{
  if (!c->wrong[0])
    snprintf (c->wrong, sizeof c->wrong, "%s: %s of %llu bytes at %llu: %s",
              c->v->shape->name, what, (unsigned long long) n,
              (unsigned long long) offset, why);
}

static void
read_back (struct client *c, uint64_t offset, uint64_t n, bool trimmed,
           uint8_t *buf)
{
  char text[100];
  struct vd_err err;
  uint64_t i;

  if (vd_read (c->v->reader, &c->v->base, buf, n, offset, &err) == -1) {
    note (c, "read", offset, n, err.msg);
    return;
  }
  for (i = 0; i < n; ++i) {
    if (trimmed && buf[i] == 0)
      want[offset + i] = 0;
    if (buf[i] == want[offset + i])
      continue;
    snprintf (text, sizeof text, "byte %llu is %02x, not %02x",
              (unsigned long long) (offset + i), buf[i], want[offset + i]);
    note (c, trimmed ? "trim" : "read", offset, n, text);
    return;
  }
}

struct status {
  const uint8_t *want;
  uint64_t left;
  bool lied;
};

static int
hear (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct status *st = opaque;
  uint64_t i;

  (void) err;
  length = vd_min (length, st->left);
  for (i = 0; (type & VD_READS_ZERO) && i < length; ++i)
    if (st->want[i] != 0)
      st->lied = true;
  st->want += length;
  st->left -= length;
  return 0;
}

static void
operate (struct client *c, uint8_t *buf)
{
  struct vd_disk *disk = c->v->disk;
  const struct vd_base *base = &c->v->base;
  const unsigned what = (unsigned) mk_rng_below (&c->rng, 100);
  struct status st;
  uint64_t offset, n;
  struct vd_err err;
  int r = 0;

  draw (c, &offset, &n);
  if (what < 40) {
    random_bytes (buf, n, &c->rng);
    if (what < 5)
      memset (buf, 0, n);
    r = vd_disk_write (disk, base, buf, n, offset, &err);
    memcpy (want + offset, buf, n);
  }
  else if (what < 50) {
    r = vd_disk_zero (disk, base, n, offset, &err);
    memset (want + offset, 0, n);
  }
  else if (what < 58) {
    r = vd_disk_trim (disk, base, n, offset, &err);
    if (r == 0)
      read_back (c, offset, n, true, buf);
  }
  else if (what < 62)
    r = vd_disk_flush (disk, &err);
  else if (what < 70) {
    st = (struct status) { .want = want + offset, .left = n };
    r = vd_status (c->v->reader, base, offset, n, false, hear, &st, &err);
    if (st.lied)
      note (c, "status", offset, n, "calls zeros what is not");
  }
  else
    read_back (c, offset, n, false, buf);
  if (r == -1)
    note (c, what < 40 ? "write" : what < 50 ? "zero" : what < 58 ? "trim"
          : what < 62 ? "flush" : "status", offset, n, err.msg);
}

static void *
run_client (void *opaque)
{
  struct client *c = opaque;
  uint8_t *buf = malloc (SIZE);
  unsigned i;

  for (i = 0; i < c->ops && !c->wrong[0]; ++i)
    operate (c, buf);
  free (buf);
  return NULL;
}

static void
run_clients (struct served *v, unsigned ops, uint64_t seed)
{
  const unsigned n = v->shape->threads;
  struct client c[MAX_THREADS];
  pthread_t thread[MAX_THREADS];
  unsigned i;

  for (i = 0; i < n; ++i) {
    c[i] = (struct client) { .v = v, .number = i, .of = n, .ops = ops / n };
    mk_rng_seed (&c[i].rng, seed * 100 + i);
    assert_int_equal (pthread_create (&thread[i], NULL, run_client, &c[i]), 0);
  }
  for (i = 0; i < n; ++i)
    pthread_join (thread[i], NULL);
  for (i = 0; i < n; ++i)
    if (c[i].wrong[0])
      fail_msg ("%s", c[i].wrong);
}

/* ---- The model --------------------------------------------------------------------- */

static void
expect_sound (struct served *v, bool closed)
{
  const struct vd_check_opts how = { .ignore_cid = true };
  struct vd_check_report report;
  struct vd_err err;

  assert_int_equal (vd_check_link (v->link[1], &how, &report, &err), 0);
  if (vd_check_result (&report, &err) == -1)
    fail_msg ("%s: %s", v->shape->name, err.msg);
  if (closed) {
    assert_int_equal (report.count[VD_CHECK_COPY_DIFFERS], 0);
    assert_int_equal (report.count[VD_CHECK_UNCLEAN], 0);
    assert_int_equal (report.count[VD_CHECK_FREE_SECTOR], 0);
  }
  vd_check_report_free (&report);
}

static void
check_shape (const struct shape *s, unsigned ops, uint64_t seed)
{
  const unsigned rounds = 4;
  struct served v;
  struct mk_rng rng;
  struct vd_err err;
  unsigned i;

  mk_rng_seed (&rng, seed);
  make_shape (s, &rng);
  serve (&v, s, false);
  compare_all (&v);
  leave (&v);
  for (i = 0; i < rounds; ++i) {
    const bool kill = i % 2 == 1;

    serve (&v, s, true);
    assert_int_equal (v.link[1]->pieces[0].image->unclean,
                      i > 0 && !kill && s->what != VDI);
    run_clients (&v, ops / rounds, seed * 10 + i);
    compare_all (&v);
    if (kill) {
      assert_int_equal (vd_disk_flush (v.disk, &err), 0);
      vd_disk_abandon (v.disk);
    }
    else if (vd_disk_close (v.disk, &err) == -1)
      fail_msg ("%s: %s", s->name, err.msg);
    leave (&v);
    serve (&v, s, false);
    compare_all (&v);
    expect_sound (&v, !kill);
    leave (&v);
  }
}

TEST (a_model_agrees_at_every_read)
{
  const char *env = getenv ("DISK_OPS"), *only = getenv ("DISK_SHAPE");
  const unsigned ops = env ? (unsigned) atoi (env) : 600;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (shapes); ++i)
    if (!only || strcmp (only, shapes[i].name) == 0)
      check_shape (&shapes[i], ops, i + 1);
}

/* ---- Power cuts --------------------------------------------------------------------

   Everything that is done to the files is recorded, and so is when each
   request of a client began and was answered.  The power fails after any
   number of records: then what was flushed is there, and of the rest any
   sectors.  Each sector of the disk has to be what it was at the last flush that
   was answered, or what a later request that had begun wrote; the link has
   to be sound, and to be written on without any repair.  */

enum record_kind {
  R_WRITE, R_ZERO, R_SIZE,      /* what changes a file */
  R_FLUSH_BEGIN, R_FLUSH_END,
  R_TICK,                       /* when a client asked or was answered */
};

struct record {
  enum record_kind kind;
  unsigned file;
  uint64_t at, n;
  uint8_t *data;
  size_t begin;                 /* R_FLUSH_END: of its R_FLUSH_BEGIN */
};

#define MAX_FILES 4u

static struct {
  pthread_mutex_t lock;
  struct record *record;
  size_t n, alloc;
  char *name[MAX_FILES];
  uint8_t *old[MAX_FILES];
  uint64_t old_size[MAX_FILES];
  unsigned nr_files;
} tape = { .lock = PTHREAD_MUTEX_INITIALIZER };

static size_t
remember (struct record r, const void *data)
{
  LOCK_FOR_SCOPE (&tape.lock);

  if (tape.n == tape.alloc) {
    tape.alloc = tape.alloc ? tape.alloc * 2 : 1024;
    tape.record = realloc (tape.record, tape.alloc * sizeof r);
  }
  if (data) {
    r.data = malloc (r.n);
    memcpy (r.data, data, r.n);
  }
  tape.record[tape.n] = r;
  return tape.n++;
}

/* No two moments are the same: a request whose answer and a flush whose
 * beginning lay between the same two records could not be told apart, and the
 * flush need not cover it if it began first.
 */
static size_t
now (void)
{
  return remember ((struct record) { .kind = R_TICK }, NULL);
}

struct taped {
  struct vd_file file;
  struct vd_file *under;
  unsigned number;
};

static int
taped_pread (struct vd_file *f, void *buf, size_t n, uint64_t at,
             struct vd_err *err)
{
  struct vd_file *u = ((struct taped *) f)->under;

  return u->ops->pread (u, buf, n, at, err);
}

static int
taped_pwrite (struct vd_file *f, const void *buf, size_t n, uint64_t at,
              struct vd_err *err)
{
  const struct taped *t = (struct taped *) f;
  const int r = t->under->ops->pwrite (t->under, buf, n, at, err);

  if (r == 0)
    remember ((struct record) { .kind = R_WRITE, .file = t->number, .at = at,
                                .n = n }, buf);
  return r;
}

static int
taped_zero (struct vd_file *f, uint64_t at, uint64_t n, struct vd_err *err)
{
  const struct taped *t = (struct taped *) f;
  const int r = t->under->ops->zero (t->under, at, n, err);

  if (r == 0)
    remember ((struct record) { .kind = R_ZERO, .file = t->number, .at = at,
                                .n = n }, NULL);
  return r;
}

static int
taped_truncate (struct vd_file *f, uint64_t size, struct vd_err *err)
{
  const struct taped *t = (struct taped *) f;
  const int r = t->under->ops->truncate (t->under, size, err);

  if (r == 0)
    remember ((struct record) { .kind = R_SIZE, .file = t->number, .n = size },
              NULL);
  return r;
}

static int
taped_flush (struct vd_file *f, struct vd_err *err)
{
  const struct taped *t = (struct taped *) f;
  const size_t begin = remember ((struct record) {
      .kind = R_FLUSH_BEGIN, .file = t->number }, NULL);

  (void) err;
  remember ((struct record) { .kind = R_FLUSH_END, .file = t->number,
                              .begin = begin }, NULL);
  return 0;
}

static void
taped_close (struct vd_file *f)
{
  vd_file_close (((struct taped *) f)->under);
  free (f);
}

static uint8_t *
slurp (const char *path, uint64_t *size)
{
  FILE *fp = fopen (path, "r");
  uint8_t *p;

  assert_non_null (fp);
  fseek (fp, 0, SEEK_END);
  *size = (uint64_t) ftell (fp);
  rewind (fp);
  p = malloc (*size + 1);
  assert_int_equal (fread (p, 1, *size, fp), *size);
  fclose (fp);
  return p;
}

static struct vd_file *
reopen_taped (void *opaque, const struct vd_file *ro, struct vd_err *err)
{
  static const struct vd_file_ops ops = {
    .pread = taped_pread, .pwrite = taped_pwrite, .zero = taped_zero,
    .truncate = taped_truncate, .flush = taped_flush, .close = taped_close,
  };
  struct taped *t = calloc (1, sizeof *t);
  const unsigned i = tape.nr_files++;

  (void) opaque;
  assert_true (i < MAX_FILES);
  t->under = vd_file_reopen_rw (ro, err);
  assert_opened (t->under, err);
  t->number = i;
  t->file = (struct vd_file) {
    .ops = &ops, .name = strdup (ro->name), .size = ro->size,
    .dev = ro->dev, .ino = ro->ino,
  };
  tape.name[i] = strdup (ro->name);
  tape.old[i] = slurp (ro->name, &tape.old_size[i]);
  return &t->file;
}

static void
erase_tape (void)
{
  size_t i;

  for (i = 0; i < tape.n; ++i)
    free (tape.record[i].data);
  tape.n = 0;
  for (i = 0; i < tape.nr_files; ++i) {
    free (tape.name[i]);
    free (tape.old[i]);
  }
  tape.nr_files = 0;
}

/* One file in which some sectors of a record are missing. */
struct image { uint8_t *data; uint64_t size, alloc; };

static void
resize (struct image *m, uint64_t size)
{
  if (size > m->alloc) {
    m->alloc = size * 2;
    m->data = realloc (m->data, m->alloc);
  }
  if (size > m->size)
    memset (m->data + m->size, 0, size - m->size);
  m->size = size;
}

static void
play (struct image *m, const struct record *r, unsigned permille,
      struct mk_rng *rng)
{
  uint64_t i, n;

  if (r->kind == R_SIZE) {
    if (mk_rng_chance (rng, permille))
      resize (m, r->n);
    return;
  }
  if (r->kind == R_WRITE && r->at + r->n > m->size)
    resize (m, r->at + r->n);
  for (i = 0; i < r->n; i += n) {
    n = vd_min (512 - (r->at + i) % 512, r->n - i);
    if (!mk_rng_chance (rng, permille) || r->at + i + n > m->size)
      continue;
    if (r->kind == R_WRITE)
      memcpy (m->data + r->at + i, r->data + i, n);
    else
      memset (m->data + r->at + i, 0, n);
  }
}

/* The power failed after `cut` records.  Lost is only what no flush that
 * ended by then covers.
 */
static void
power_off (size_t cut, struct mk_rng *rng)
{
  const unsigned permille = (unsigned) mk_rng_below (rng, 1001);
  unsigned f;
  size_t i;

  for (f = 0; f < tape.nr_files; ++f) {
    struct image m = { .data = NULL };
    size_t safe = 0;

    resize (&m, tape.old_size[f]);
    memcpy (m.data, tape.old[f], tape.old_size[f]);
    for (i = 0; i < cut; ++i)
      if (tape.record[i].kind == R_FLUSH_END && tape.record[i].file == f)
        safe = vd_max (safe, tape.record[i].begin);
    for (i = 0; i < cut; ++i)
      if (tape.record[i].file == f && tape.record[i].kind <= R_SIZE)
        play (&m, &tape.record[i], i < safe ? 1000 : permille, rng);
    u_write (tape.name[f], m.data, m.size);
    free (m.data);
  }
}

/* A request; what it wrote, sector by sector: a number, 0 for zeros. */
struct deed {
  uint64_t first, n;            /* sectors */
  uint32_t value;
  size_t begun, answered;
  bool flush, trim;
};

struct doer {
  struct served *v;
  unsigned number, of, ops;
  struct mk_rng rng;
  struct deed *deed;
  const char *wrong;
};

#define SECTORS (SIZE / 512)

/* Sectors are the client's by turns of three, of grains that all share. */
static void *
run_doer (void *opaque)
{
  struct doer *c = opaque;
  uint8_t buf[3 * 512];
  struct vd_err err;
  unsigned i, k;

  for (i = 0; i < c->ops; ++i) {
    struct deed *d = &c->deed[i];
    const uint64_t turns = SECTORS / 3 / c->of / 4;
    const unsigned what = (unsigned) mk_rng_below (&c->rng, 100);
    int r;

    d->first = (mk_rng_below (&c->rng, turns) * c->of + c->number) * 3;
    d->n = 1 + mk_rng_below (&c->rng, 3);
    d->value = what < 70 ? (uint32_t) mk_rng_next (&c->rng) | 1 : 0;
    for (k = 0; k < sizeof buf / 4; ++k)
      memcpy (buf + k * 4, &d->value, 4);
    d->flush = what >= 90;
    d->begun = now ();
    if (d->flush)
      r = vd_disk_flush (c->v->disk, &err);
    else if (what < 70)
      r = vd_disk_write (c->v->disk, &c->v->base, buf, d->n * 512,
                         d->first * 512, &err);
    else
      r = vd_disk_zero (c->v->disk, &c->v->base, d->n * 512, d->first * 512,
                        &err);
    d->answered = now ();
    if (r == -1)
      c->wrong = "a request failed";
  }
  return NULL;
}

/* Can this sector hold this, after the cut?  `got` and `old` are sectors. */
static bool
is_lawful (const struct doer *c, uint64_t sector, const uint8_t *sec,
           const uint8_t *old, size_t cut, size_t flushed)
{
  static const uint8_t zeros[512];
  uint8_t want_it[512];
  bool lawful = memcmp (sec, old, 512) == 0;
  unsigned i, k;

  for (i = 0; i < c->ops; ++i) {
    const struct deed *d = &c->deed[i];

    if (d->flush || sector < d->first || sector >= d->first + d->n ||
        d->begun > cut)
      continue;
    for (k = 0; k < 128; ++k)
      memcpy (want_it + k * 4, &d->value, 4);
    if (d->answered <= flushed) /* older ones are gone */
      lawful = false;
    lawful |= memcmp (sec, d->value ? want_it : zeros, 512) == 0;
  }
  return lawful;
}

/* The last begin of a flush that was answered by then. */
static size_t
last_flush (const struct doer *c, unsigned n, size_t cut)
{
  size_t last = 0;
  unsigned i, k;

  for (i = 0; i < n; ++i)
    for (k = 0; k < c[i].ops; ++k)
      if (c[i].deed[k].flush && c[i].deed[k].answered <= cut)
        last = vd_max (last, c[i].deed[k].begun);
  return last;
}

static void
expect_lawful (const struct shape *s, const struct doer *c, unsigned n,
               size_t cut)
{
  const size_t flushed = last_flush (c, n, cut);
  struct served v;
  struct vd_err err;
  uint64_t i;

  serve (&v, s, false);
  expect_sound (&v, false);
  if (vd_read (v.reader, &v.base, got, SIZE, 0, &err) == -1)
    fail_msg ("%s: %s", s->name, err.msg);
  leave (&v);
  for (i = 0; i < SECTORS; ++i)
    if (memcmp (got + i * 512, want + i * 512, 512) != 0 &&
        !is_lawful (&c[i / 3 % n], i, got + i * 512, want + i * 512, cut,
                    flushed))
      fail_msg ("%s: cut after %zu records: sector %llu is neither old nor "
                "new", s->name, cut, (unsigned long long) i);
    else if (memcmp (got + i * 512, want + i * 512, 512) == 0 &&
             !is_lawful (&c[i / 3 % n], i, got + i * 512, want + i * 512, cut,
                         flushed))
      fail_msg ("%s: cut after %zu records: sector %llu is lost", s->name,
                cut, (unsigned long long) i);
}

/* It can be written on: what was read stays, all else is as it should be. */
static void
go_on (const struct shape *s, struct mk_rng *rng)
{
  uint8_t *keep = want;
  struct served v;
  struct vd_err err;
  unsigned i;

  want = got;
  got = malloc (SIZE);
  serve (&v, s, true);
  for (i = 0; i < 10; ++i) {
    const uint64_t at = mk_rng_below (rng, SIZE - 70000);
    const uint64_t n = 1 + mk_rng_below (rng, 69999);

    random_bytes (want + at, n, rng);
    if (vd_disk_write (v.disk, &v.base, want + at, n, at, &err) == -1)
      fail_msg ("%s: %s", s->name, err.msg);
  }
  compare_all (&v);
  if (vd_disk_close (v.disk, &err) == -1)
    fail_msg ("%s: %s", s->name, err.msg);
  leave (&v);
  serve (&v, s, false);
  compare_all (&v);
  expect_sound (&v, true);
  leave (&v);
  free (got);
  got = want;
  want = keep;
}

static void
check_cuts (const struct shape *s, unsigned cuts, uint64_t seed)
{
  const struct vd_disk_opts opts = { .reopen = reopen_taped };
  const unsigned n = s->threads;
  struct doer c[MAX_THREADS];
  pthread_t thread[MAX_THREADS];
  struct served v;
  struct mk_rng rng;
  struct vd_err err;
  unsigned i;

  mk_rng_seed (&rng, seed);
  make_shape (s, &rng);
  serve (&v, s, false);
  vd_reader_free (v.reader);
  v.disk = vd_disk_open (v.chain, &opts, &err);
  assert_opened (v.disk, &err);
  for (i = 0; i < n; ++i) {
    c[i] = (struct doer) { .v = &v, .number = i, .of = n, .ops = 60 };
    c[i].deed = calloc (c[i].ops, sizeof *c[i].deed);
    mk_rng_seed (&c[i].rng, seed * 100 + i);
    assert_int_equal (pthread_create (&thread[i], NULL, run_doer, &c[i]), 0);
  }
  for (i = 0; i < n; ++i) {
    pthread_join (thread[i], NULL);
    assert_null (c[i].wrong);
  }
  if (seed % 2)
    assert_int_equal (vd_disk_close (v.disk, &err), 0);
  else
    vd_disk_abandon (v.disk);
  leave (&v);

  for (i = 0; i < cuts; ++i) {
    const size_t cut = i == 0 ? tape.n : mk_rng_below (&rng, tape.n + 1);

    power_off (cut, &rng);
    expect_lawful (s, c, n, cut);
    if (i % 3 == 0)
      go_on (s, &rng);
  }
  for (i = 0; i < n; ++i)
    free (c[i].deed);
  erase_tape ();
}

TEST (a_power_cut_loses_nothing_that_was_flushed)
{
  const char *env = getenv ("DISK_CUTS"), *only = getenv ("DISK_SHAPE");
  const unsigned cuts = env ? (unsigned) atoi (env) : 8;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (shapes); ++i)
    if (!only || strcmp (only, shapes[i].name) == 0)
      check_cuts (&shapes[i], cuts, i + 1);
}

static uint32_t
get32 (const uint8_t *p)
{
  uint32_t v;

  memcpy (&v, p, sizeof v);
  return le32toh (v);
}

static void
write_and_close (const struct shape *s, uint64_t at, struct mk_rng *rng)
{
  struct served v;
  struct vd_err err;

  serve (&v, s, true);
  random_bytes (want + at, 4096, rng);
  assert_int_equal (vd_disk_write (v.disk, &v.base, want + at, 4096, at, &err),
                    0);
  compare_all (&v);
  if (vd_disk_close (v.disk, &err) == -1)
    fail_msg ("%s", err.msg);
  leave (&v);
}

/* The copies of tables were written, and nothing else, when the power failed: an
 * entry more in the copy of a table, and a copy of which there is no table yet.
 * The next writer changes neither, but takes the mark away when it ends: then
 * nobody may be left in doubt which of the two is right.
 */
TEST (what_a_cut_left_in_copies_is_settled)
{
  static const struct shape shape = {
    "kdmv-cut", KDMV, 4096, .on_link = true, .fill = 0, .threads = 1,
  };
  uint64_t size, t, gd, rgd;
  struct mk_rng rng;
  struct served v;
  uint8_t *file;

  mk_rng_seed (&rng, 4);
  make_shape (&shape, &rng);
  write_and_close (&shape, 3 * MIB, &rng);      /* makes a table */
  file = slurp ("t.vmdk", &size);
  file[72] = VD_KDMV_UNCLEAN_WRITE;
  rgd = (uint64_t) get32 (file + 48) * 512;
  gd = (uint64_t) get32 (file + 56) * 512;
  /* tables of 2 MiB: 1 has a grain, 0 is written to below */
  for (t = 1; t <= 3; ++t) {
    const uint64_t copy = get32 (file + rgd + t * 4) * UINT64_C (512);

    assert_int_not_equal (copy, 0);
    assert_int_equal (get32 (file + copy), 0);
    put32 (file + copy, (uint32_t) (size / 512 - 8));
    if (t == 2)                 /* no table yet */
      put32 (file + gd + t * 4, 0);
  }
  u_write ("t.vmdk", file, size);
  free (file);

  write_and_close (&shape, 0, &rng);
  serve (&v, &shape, false);
  expect_sound (&v, true);
  compare_all (&v);
  leave (&v);
}

static int
setup (void **state)
{
  (void) state;
  want = malloc (SIZE);
  got = malloc (SIZE);
  return want && got ? 0 : -1;
}

static int
teardown (void **state)
{
  (void) state;
  free (want);
  free (got);
  return 0;
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (a_model_agrees_at_every_read),
    tmpdir_test (a_power_cut_loses_nothing_that_was_flushed),
    tmpdir_test (what_a_cut_left_in_copies_is_settled),
  };

  return cmocka_run_group_tests (tests, setup, teardown);
}
