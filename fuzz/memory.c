/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files of an input, and what of the library would go to the disk; see
 * fuzz.h and pack.h.
 */

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "fuzz.h"
#include "pack.h"

#define MAX_RECORDS 96u

/* Bytes and calls of reading, for one input.  Few inputs may read much: most
 * of what a big table has to show is in its first part.
 */
#define MUCH_READ (UINT64_C (1) << 20)
#define LITTLE_READ (UINT64_C (96) << 10)
#define MUCH_EVERY 12u
#define MAX_READS 1500u

struct record {
  uint64_t offset;
  uint32_t length;
  const uint8_t *data;
};

struct content {
  uint64_t size, fill;
  size_t n;
  struct record record[MAX_RECORDS];
};

const char *const fz_names[FZ_MAX_FILES] = {
  "d.vmdk", "p.vmdk", "b.vmdk", "d-delta.vmdk", "p-delta.vmdk", "b-flat.vmdk",
};
unsigned fz_bits;

static struct content content[FZ_MAX_FILES];
static size_t nr_files;
static uint64_t bytes_read, max_read, nr_reads, seed;

/* Time is the processor's, not the clock's: the process may be stopped for
 * long.  No input may take MAX_SECONDS.
 */
#define MAX_SECONDS 5u

static unsigned long nr_inputs;

static void
tick (int sig)
{
  static unsigned long last;
  static unsigned seconds;

  (void) sig;
  seconds = nr_inputs == last ? seconds + 1 : 0;
  last = nr_inputs;
  fz_require (seconds < MAX_SECONDS, "an input took %u seconds", seconds);
}

static void __attribute__ ((__constructor__))
start_clock (void)
{
  const struct itimerval t = { { 1, 0 }, { 1, 0 } };
  const struct sigaction a = { .sa_handler = tick, .sa_flags = SA_RESTART };

  /* Pages that go back and forth take longer than what is done in them. */
  mallopt (M_MMAP_THRESHOLD, 1 << 20);
  mallopt (M_TRIM_THRESHOLD, 64 << 20);
  sigaction (SIGPROF, &a, NULL);
  setitimer (ITIMER_PROF, &t, NULL);
}

/* For fuzz/report. */
static void __attribute__ ((__destructor__))
print_clock (void)
{
  char text[64];
  const int n = snprintf (text, sizeof text, "stat::cpu_seconds: %ld\n",
                          (long) (clock () / CLOCKS_PER_SEC));

  if (write (2, text, (size_t) n) == -1)
    return;
}

static void
add_record (struct content *c, uint64_t offset, uint32_t length,
            const uint8_t *data)
{
  if (c->n < MAX_RECORDS)
    c->record[c->n++] = (struct record) { offset, length, data };
}

size_t
fz_load (const uint8_t *data, size_t n)
{
  const uint8_t *p = data, *const end = n > 0 ? data + n : data;
  struct content *c = &content[0];
  bool sized = false;
  size_t i;

  for (i = 0; i < FZ_MAX_FILES; ++i)
    content[i].n = content[i].size = 0, content[i].fill = UINT64_MAX;
  nr_inputs++;
  bytes_read = nr_reads = 0;
  seed = n * UINT64_C (0x9e3779b97f4a7c15) + 1;
  for (i = 0; i + 8 <= n; i += 8)
    seed = (seed ^ vd_le64 (data + i)) * UINT64_C (0x100000001b3);
  for (; i < n; ++i)
    seed = (seed ^ data[i]) * UINT64_C (0x100000001b3);

  max_read = fz_choose (10, MUCH_EVERY) == 0 ? MUCH_READ : LITTLE_READ;

  fz_bits = p < end ? *p++ : 0;
  nr_files = 1;
  while (p < end) {
    const unsigned op = *p;

    if ((op & 3) == PACK_NEXT) {
      ++p;
      if (nr_files == FZ_MAX_FILES)
        break;
      c = &content[nr_files++];
      sized = false;
    }
    else if ((op & 3) == PACK_SIZE) {
      if ((size_t) (end - p) < PACK_SIZE_HEAD)
        break;
      c->size = vd_le64 (p + 1) & INT64_MAX;
      c->fill = vd_le64 (p + 9);
      sized = true;
      p += PACK_SIZE_HEAD;
    }
    else {
      uint64_t offset;
      uint32_t length;

      if ((size_t) (end - p) < PACK_DATA_HEAD)
        break;
      offset = (uint64_t) vd_le32 (p + 1) << pack_shift[op >> 2 & 3];
      length = vd_le16 (p + 5);
      p += PACK_DATA_HEAD;
      length = (uint32_t) vd_min (length, (uint64_t) (end - p));
      add_record (c, offset, length, p);
      if (!sized)
        c->size = vd_max (c->size, offset + length);
      p += length;
    }
  }
  return nr_files;
}

uint64_t
fz_choose (uint64_t salt, uint64_t n)
{
  uint64_t v = (seed + salt) * UINT64_C (0x9e3779b97f4a7c15);

  v ^= v >> 29;
  return v * UINT64_C (0xbf58476d1ce4e5b9) % n;
}

void
fz_set (size_t i, uint64_t offset, const void *bytes, uint32_t n)
{
  struct content *c = &content[i];

  if (c->n == MAX_RECORDS)
    c->n--;
  add_record (c, offset, n, bytes);
  c->size = vd_max (c->size, offset + n);
}

static uint8_t
pattern (uint64_t offset)
{
  const uint64_t v = (offset / 8 + 1) * UINT64_C (0x9e3779b97f4a7c15);

  return (uint8_t) (v >> (offset % 8 * 8));
}

static void
fill_pattern (uint8_t *buf, size_t n, uint64_t offset)
{
  uint64_t v;

  for (; n > 0 && offset % 8 != 0; --n)
    *buf++ = pattern (offset++);
  for (; n >= 8; n -= 8, buf += 8, offset += 8) {
    v = (offset / 8 + 1) * UINT64_C (0x9e3779b97f4a7c15);
    v = htole64 (v);
    memcpy (buf, &v, 8);
  }
  for (; n > 0; --n)
    *buf++ = pattern (offset++);
}

void
fz_bytes (size_t f, void *vbuf, size_t n, uint64_t offset)
{
  const struct content *c = &content[f];
  const uint64_t end = offset + n;
  const size_t zeros
    = offset < c->fill ? (size_t) vd_min (n, c->fill - offset) : 0;
  uint8_t *buf = vbuf;
  size_t i;

  memset (buf, 0, zeros);
  fill_pattern (buf + zeros, n - zeros, offset + zeros);
  for (i = 0; i < c->n; ++i) {
    const struct record *r = &c->record[i];
    const uint64_t from = vd_max (r->offset, offset);
    const uint64_t to = vd_min (r->offset + r->length, end);

    if (from < to)
      memcpy (buf + (from - offset), r->data + (from - r->offset),
              (size_t) (to - from));
  }
}

bool
fz_spent (void)
{
  return bytes_read > max_read || nr_reads > MAX_READS;
}

uint64_t
fz_reads (void)
{
  return nr_reads;
}

static int
spend (const struct vd_file *f, size_t n, struct vd_err *err)
{
  bytes_read += n;
  nr_reads++;
  if (fz_spent ())
    return vd_fail (err, VD_IO, "%s: enough was read", f->name);
  return 0;
}

struct input_file {
  struct vd_file file;
  size_t nr;
};

static int
input_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
             struct vd_err *err)
{
  const struct input_file *in = (struct input_file *) f;

  fz_require (n > 0 && offset <= f->size && n <= f->size - offset,
              "%s: read of %zu at %llu outside", f->name, n,
              (unsigned long long) offset);
  if (spend (f, n, err) == -1)
    return -1;
  fz_bytes (in->nr, buf, n, offset);
  return 0;
}

static void
input_close (struct vd_file *f)
{
  free (f);
}

static struct vd_file *
new_file (size_t nr, const char *name, struct vd_err *err)
{
  static const struct vd_file_ops ops = {
    .pread = input_pread, .close = input_close,
  };
  struct input_file *in = calloc (1, sizeof *in);

  if (!in || !(in->file.name = strdup (name))) {
    free (in);
    vd_fail_nomem (err);
    return NULL;
  }
  in->file.ops = &ops;
  in->file.size = content[nr].size;
  in->file.dev = 1;
  in->file.ino = nr + 1;
  in->nr = nr;
  return &in->file;
}

struct vd_file *
fz_file (size_t i)
{
  struct vd_err err;
  struct vd_file *f = new_file (i, fz_names[i], &err);

  fz_require (f, "no memory");
  return f;
}

/* ---- The base ------------------------------------------------------------ */

#define HOLE_SHIFT 16

static bool
base_hole (uint64_t offset)
{
  return (offset >> HOLE_SHIFT) % 4 == 2;
}

static int
base_pread (struct vd_file *f, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  uint8_t *p = buf;
  uint64_t k;

  fz_require (n > 0 && offset <= f->size && n <= f->size - offset,
              "base: read of %zu at %llu outside", n,
              (unsigned long long) offset);
  if (spend (f, n, err) == -1)
    return -1;
  for (; n > 0; n -= k, p += k, offset += k) {
    k = vd_min (n, ((offset >> HOLE_SHIFT) + 1) * (1u << HOLE_SHIFT)
                - offset);
    if (base_hole (offset))
      memset (p, 0, k);
    else
      fill_pattern (p, k, offset + (UINT64_C (1) << 63));
  }
  return 0;
}

static int
base_extents (struct vd_file *f, uint64_t offset, uint64_t length,
              vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  const uint64_t end = offset + length;
  unsigned pieces;
  uint64_t to;
  int r = 0;

  if (spend (f, 0, err) == -1)
    return -1;
  /* It may stop short, and does. */
  for (pieces = 0; pieces < 16 && offset < end && r == 0; ++pieces) {
    to = vd_min (end, ((offset >> HOLE_SHIFT) + 1) << HOLE_SHIFT);
    r = fn (opaque, to - offset,
            base_hole (offset) ? VD_HOLE | VD_READS_ZERO : 0, err);
    offset = to;
  }
  return r == -1 ? -1 : 0;
}

struct vd_file *
fz_base (uint64_t size)
{
  static const struct vd_file_ops ops = {
    .pread = base_pread, .extents = base_extents, .close = input_close,
  };
  struct vd_file *f = calloc (1, sizeof *f);

  fz_require (f && (f->name = strdup ("base")), "no memory");
  f->ops = &ops;
  f->size = size;
  return f;
}

/* ---- Instead of the library's own ------------------------------------- */

static struct vd_file *
open_named (const char *path, const char *what, struct vd_err *err)
{
  const char *slash = strrchr (path, '/');
  const char *name = slash ? slash + 1 : path;
  size_t i;

  for (i = 0; i < nr_files; ++i)
    if (strcmp (name, fz_names[i]) == 0)
      return new_file (i, fz_names[i], err);
  vd_fail (err, VD_NOT_FOUND, "%s: %.255s is not there", what, path);
  return NULL;
}

struct vd_file *
vd_file_open (const char *path, struct vd_err *err)
{
  return open_named (path, "the user", err);
}

struct vd_confine { char dir[2]; };

struct vd_confine *
vd_confine_new (const char *path, const struct vd_opts *opts,
              struct vd_err *err)
{
  struct vd_confine *p = malloc (sizeof *p);

  (void) path, (void) opts;
  if (!p)
    vd_fail_nomem (err);
  else
    strcpy (p->dir, "/");
  return p;
}

void
vd_confine_free (struct vd_confine *p)
{
  free (p);
}

const char *
vd_confine_dir (const struct vd_confine *p)
{
  return p->dir;
}

struct vd_file *
vd_confine_open (const struct vd_confine *p, const char *name, const char *from,
                struct vd_err *err)
{
  (void) p;
  if (strncmp (name, "../../", 6) == 0) {
    vd_fail (err, VD_DENIED, "%s refers to %.255s", from, name);
    return NULL;
  }
  return open_named (name, from, err);
}

struct vd_file *
vd_confine_open_alike (struct vd_confine *p, const char *name,
                       const char *encoding, const char *from,
                       struct vd_err *err)
{
  (void) p, (void) encoding;
  vd_fail (err, VD_NOT_FOUND, "%s refers to %.255s", from, name);
  return NULL;
}

void
vd_confine_forget (struct vd_confine *p)
{
  (void) p;
}

int
vd_scandir (const char *path, vd_scandir_fn fn, void *opaque,
             struct vd_err *err)
{
  char full[32];
  size_t i;

  (void) path;
  for (i = 0; i < nr_files; ++i) {
    snprintf (full, sizeof full, "/%s", fz_names[i]);
    if (fn (opaque, 0, fz_names[i], full, err) == -1)
      return -1;
  }
  return 0;
}

bool
vd_dir_identity (int dir, const char *name, dev_t *dev, ino_t *ino)
{
  size_t i;

  (void) dir;
  for (i = 0; i < nr_files; ++i)
    if (strcmp (name, fz_names[i]) == 0) {
      *dev = 0;
      *ino = i + 1;
      return true;
    }
  return false;
}

struct vd_file *
vd_dir_open (int dir, const char *name, const char *path, struct vd_err *err)
{
  (void) dir;
  return open_named (name, path, err);
}

bool
vd_is_flat_name (const char *name)
{
  return strstr (name, "-flat") != NULL;
}

/* ---- Failing ------------------------------------------------------------ */

void
fz_die (const char *file, int line, const char *fs, ...)
{
  static char text[4096];
  va_list args;
  int n;

  n = snprintf (text, sizeof text, "%s:%d: property does not hold: ", file,
                line);
  va_start (args, fs);
  n += vsnprintf (text + n, sizeof text - (size_t) n, fs, args);
  va_end (args);
  if (n > (int) sizeof text - 2)
    n = (int) sizeof text - 2;
  text[n] = '\n';
  /* not through stdio, which a target may have redirected */
  if (write (2, text, (size_t) n + 1) == -1)
    abort ();
  abort ();
}

void
fz_check_err (const struct vd_err *err)
{
  const size_t n = strnlen (err->msg, sizeof err->msg);
  size_t i;

  fz_require (err->code != VD_OK && err->code <= VD_NOSPACE,
              "an error without a code: %d", (int) err->code);
  fz_require (n > 0 && n < sizeof err->msg, "an error without text");
  for (i = 0; i < n; ++i)
    fz_require ((uint8_t) err->msg[i] >= ' ' && err->msg[i] != 0x7f,
                "byte %zu of a message is 0x%02x", i,
                (unsigned) (uint8_t) err->msg[i]);
  fz_require (vd_err_to_errno (err) != 0, "an error without an errno");
}
