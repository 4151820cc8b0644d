/* See unit.h. */

#include <errno.h>
#include <ftw.h>

#include "unit.h"

void
u_assert_err (const struct vd_err *err, enum vd_code code, const char *file,
              int line, ...)
{
  const char *part;
  va_list args;

  if (err->code != code) {
    print_error ("code is %d, expected %d: %s\n", err->code, code, err->msg);
    _fail (file, line);
  }
  if (strchr (err->msg, '\n') || err->msg[0] == '\0') {
    print_error ("not one line: '%s'\n", err->msg);
    _fail (file, line);
  }
  va_start (args, line);
  while ((part = va_arg (args, const char *)) != NULL)
    u_assert_text (err->msg, part, file, line);
  va_end (args);
}

void
u_assert_text (const char *text, const char *part, const char *file, int line)
{
  if (!strstr (text, part)) {
    print_error ("'%s' is not in: %s\n", part, text);
    _fail (file, line);
  }
}

void
u_assert_opened (const void *p, const struct vd_err *err, const char *file,
                 int line)
{
  if (!p) {
    print_error ("code %d: %s\n", err->code, err->msg);
    _fail (file, line);
  }
}

static void
collect (void *opaque, enum vd_level level, const char *msg)
{
  struct u_log *log = opaque;
  const size_t n = strlen (log->text);

  if (level != VD_WARN)
    return;
  log->n++;
  snprintf (log->text + n, sizeof log->text - n, "%s\n", msg);
}

struct vd_opts
u_opts (struct u_log *log)
{
  memset (log, 0, sizeof *log);
  return (struct vd_opts) { .log = { .fn = collect, .opaque = log } };
}

void
u_make (struct u_image *m, const struct mk_spec *spec)
{
  struct mk_sink sink;

  memset (m, 0, sizeof *m);
  m->spec = *spec;
  mk_sink_mem (&sink, &m->mem);
  if (mk_make (spec, &sink, &m->layout) == -1) {
    print_error ("mk_make: %s\n", strerror (errno));
    fail ();
  }
}

void
u_free (struct u_image *m)
{
  free (m->mem.data);
  mk_layout_free (&m->layout);
}

uint64_t
u_get (const struct u_image *m, uint64_t off, unsigned bytes)
{
  uint64_t v = 0;
  unsigned i;

  assert_true (off + bytes <= m->mem.size);
  for (i = bytes; i > 0; --i)
    v = v << 8 | m->mem.data[off + i - 1];
  return v;
}

void
u_put (struct u_image *m, uint64_t off, unsigned bytes, uint64_t value)
{
  unsigned i;

  assert_true (off + bytes <= m->mem.size);
  for (i = 0; i < bytes; ++i)
    m->mem.data[off + i] = (uint8_t) (value >> (8 * i));
}

const struct mk_where *
u_grain (const struct u_image *m, uint64_t grain)
{
  const struct mk_where *w = mk_layout_grain (&m->layout, grain);

  assert_non_null (w);
  return w;
}

struct vd_file *
u_memory (const char *name, const void *data, size_t size)
{
  struct vd_err err;
  struct vd_file *f = vd_file_memory (name, data, size, &err);

  assert_opened (f, &err);
  return f;
}

struct vd_image *
u_open (const struct u_image *m, const struct vd_opts *opts,
        struct vd_err *err)
{
  struct vd_file *f = u_memory ("m.vmdk", m->mem.data, m->mem.size);
  struct vd_image *image = vd_image_open (f, opts, err);

  if (!image)
    vd_file_close (f);
  return image;
}

struct vd_image *
u_open_ok (const struct u_image *m)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_err err;
  struct vd_image *image = u_open (m, &opts, &err);

  assert_opened (image, &err);
  return image;
}

void
u_check_fields (const struct u_image *m, const struct u_field *field,
                size_t n)
{
  struct u_image copy = *m;
  size_t i, k;

  copy.mem.data = malloc (m->mem.size);
  assert_non_null (copy.mem.data);
  for (i = 0; i < n; ++i) {
    const struct u_field *f = &field[i];
    const struct vd_opts opts = { .allow_dirty = false };
    struct vd_image *image;
    struct vd_err err = { .code = VD_OK };

    memcpy (copy.mem.data, m->mem.data, m->mem.size);
    u_put (&copy, f->off, f->bytes, f->value);
    image = u_open (&copy, &opts, &err);
    if ((image != NULL) != (f->code == VD_OK) || err.code != f->code) {
      print_error ("case %zu: byte %u = 0x%llx: code %d, expected %d: %s\n",
                   i, f->off, (unsigned long long) f->value, err.code,
                   f->code, image ? "opened" : err.msg);
      fail ();
    }
    if (!image)
      assert_err (&err, f->code, "m.vmdk");
    for (k = 0; k < ARRAY_SIZE (f->part) && f->part[k]; ++k)
      assert_text (err.msg, f->part[k]);
    vd_image_close (image);
  }
  free (copy.mem.data);
}

struct vd_run
u_run (const struct vd_image *image, uint64_t offset)
{
  struct vd_runs runs = VD_RUNS_INIT (1);
  struct vd_out out = { .runs = &runs };
  struct vd_err err;
  struct vd_run r;

  if (image->fmt->map (image, offset, 1, &out, &err) == -1) {
    print_error ("map: %s\n", err.msg);
    fail ();
  }
  assert_int_equal (runs.n, 1);
  r = runs.run[0];
  vd_runs_free (&runs);
  assert_int_equal (r.offset, offset);
  assert_int_equal (r.length, 1);
  return r;
}

struct vd_link *
u_link_file (struct vd_file *file, const struct vd_opts *opts)
{
  struct vd_err err;
  struct vd_link *link;

  /* a path that exists, though the file is elsewhere */
  link = vd_link_read (file, "/", opts, &err);
  if (link && vd_link_load (link, opts, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_opened (link, &err);
  return link;
}

struct vd_link *
u_link (const struct u_image *m)
{
  const struct vd_opts opts = { .allow_dirty = false };

  return u_link_file (u_memory ("m.vmdk", m->mem.data, m->mem.size), &opts);
}

void
u_disk_open (struct u_disk *d, struct vd_link **links, size_t n,
             struct vd_file *base, uint64_t budget)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_err err;

  d->base = (struct vd_base) { .file = base, .align = 1 };
  assert_true (n <= ARRAY_SIZE (d->links));
  memcpy (d->links, links, n * sizeof links[0]);
  d->nr_links = n;
  d->chain = vd_chain_new (links, n, &opts, &err);
  assert_opened (d->chain, &err);
  d->reader = vd_reader_new (d->chain, budget, &err);
  assert_opened (d->reader, &err);
}

void
u_disk_open_one (struct u_disk *d, const struct u_image *m,
                 struct vd_file *base)
{
  struct vd_link *link = u_link (m);

  u_disk_open (d, &link, 1, base, VD_MAP_DEFAULT_BUDGET);
}

void
u_disk_close (struct u_disk *d)
{
  size_t i;

  vd_reader_free (d->reader);
  vd_chain_free (d->chain);
  for (i = 0; i < d->nr_links; ++i)
    vd_link_close (d->links[i]);
}

void
u_compare (struct u_disk *d, const struct mk_model *model, uint64_t offset,
           size_t n)
{
  uint8_t *have = malloc (n + 1), *want = malloc (n + 1);
  struct vd_err err;
  size_t i;

  assert_non_null (have);
  assert_non_null (want);
  memset (have, 0xa5, n + 1);
  if (vd_read (d->reader, &d->base, have, n, offset, &err) == -1) {
    print_error ("vd_read %zu at %llu: %s\n", n,
                 (unsigned long long) offset, err.msg);
    fail ();
  }
  assert_int_equal (have[n], 0xa5);
  mk_model_read (model, want, n, offset);
  if (memcmp (have, want, n) != 0) {
    for (i = 0; have[i] == want[i]; ++i)
      ;
    print_error ("read of %zu at %llu: byte %zu is %02x, not %02x\n", n,
                 (unsigned long long) offset, i, have[i], want[i]);
    fail ();
  }
  free (have);
  free (want);
}

void
u_compare_spec (struct u_disk *d, const struct mk_spec *spec, uint64_t offset,
                size_t n)
{
  struct mk_piece piece = mk_piece_of (spec);
  struct mk_layer layer = { .pieces = &piece, .n = 1 };
  struct mk_model model = {
    .capacity = spec->capacity, .layers = &layer, .n = 1
  };

  u_compare (d, &model, offset, n);
}

static int
spy_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
           struct vd_err *err)
{
  struct u_spy *s = (struct u_spy *) f;
  const unsigned nr = atomic_fetch_add (&s->preads, 1) + 1;

  atomic_fetch_add (&s->bytes, n);
  if (s->align > 0 &&
      (offset % s->align != 0 ||
       ((offset + n) % s->align != 0 && offset + n != f->size)))
    return vd_fail (err, VD_USAGE, "%zu bytes at %llu are not aligned", n,
                    (unsigned long long) offset);
  if ((s->fail_every > 0 && nr % s->fail_every == 0) ||
      (offset < s->bad_end && offset + n > s->bad)) {
    memset (buf, 0xbd, n);
    return vd_fail_errno (err, EIO, "%s: on purpose", f->name);
  }
  return vd_file_pread (s->under, buf, n, offset, err);
}

static int
spy_extents (struct vd_file *f, uint64_t offset, uint64_t length,
             vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  struct u_spy *s = (struct u_spy *) f;
  const uint64_t end = offset + length;
  const uint64_t granule = s->granule ? s->granule : UINT64_MAX;
  uint8_t *buf = malloc (s->granule + 1);
  unsigned pieces = 0;
  int r = 0;

  s->asked++;
  while (offset < end && r == 0 &&
         (s->max_pieces == 0 || pieces < s->max_pieces)) {
    const uint64_t to
      = s->granule ? vd_min (end, (offset / granule + 1) * granule) : end;
    unsigned type = 0;
    uint64_t i;

    if (s->granule > 0) {
      if (vd_file_pread (s->under, buf, (size_t) (to - offset), offset,
                         err) == -1)
        r = -1;
      for (i = 0; i < to - offset && buf[i] == 0; ++i)
        ;
      type = i == to - offset ? VD_HOLE | VD_READS_ZERO : 0;
    }
    if (r == 0)
      r = fn (opaque, to - offset, type, err);
    offset = to;
    pieces++;
  }
  free (buf);
  return r == -1 ? -1 : 0;
}

static void
spy_close (struct vd_file *f)
{
  struct u_spy *s = (struct u_spy *) f;

  vd_file_close (s->under);
  free (s);
}

struct u_spy *
u_spy (struct vd_file *under)
{
  static const struct vd_file_ops ops = {
    .pread = spy_pread, .extents = spy_extents, .close = spy_close,
  };
  struct u_spy *s = calloc (1, sizeof *s);

  assert_non_null (s);
  s->under = under;
  s->file.ops = &ops;
  s->file.name = strdup (under->name);
  s->file.size = under->size;
  return s;
}

int
u_enter_tmpdir (void **state)
{
  const char *base = getenv ("TMPDIR");
  char *dir = NULL;

  if (asprintf (&dir, "%s/unit.XXXXXX", base ? base : "/tmp") == -1 ||
      !mkdtemp (dir) || chdir (dir) == -1)
    return -1;
  *state = dir;
  return 0;
}

static int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *ftw)
{
  (void) st, (void) type, (void) ftw;
  return remove (path);
}

int
u_leave_tmpdir (void **state)
{
  int r = chdir ("/");

  r |= nftw (*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  free (*state);
  return r;
}

void
u_write (const char *path, const void *data, size_t n)
{
  assert_int_equal (mk_write_file (path, data, n), 0);
}

void
u_write_text (const char *path, const char *text)
{
  u_write (path, text, strlen (text));
}

void
u_write_image (const char *path, const struct mk_spec *spec)
{
  assert_int_equal (mk_make_file (spec, path, NULL), 0);
}
