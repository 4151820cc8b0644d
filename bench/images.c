/* The images of a benchmark: a delta of DEPTH layers over a raw base, and
 * the same disk already merged.
 *
 *   images base FILE SIZE SEED
 *     A raw disk without a zero or a hole in it.
 *
 *   images delta FORMAT NAME SIZE GRAIN RUN order|scattered DEPTH SEED [MERGED]
 *     A quarter of the grains of the disk, in runs of RUN, each run in one of
 *     the DEPTH layers.  Which grains there are, and what they hold, does not
 *     depend on FORMAT and DEPTH, nor on their order in the file: one MERGED
 *     file is the control of all of these.  Writes NAME-1.vmdk (the oldest) to
 *     NAME-DEPTH.vmdk and their data beside them.  The parent of the oldest is
 *     base.vmdk in the same directory.
 *
 * FORMAT: cowd, kdmv, sesparse.  Numbers are in bytes.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "maker.h"

#define BASE_CID 0x1000u

static void
fail (const char *what)
{
  fprintf (stderr, "images: %s: %s\n", what, strerror (errno));
  exit (EXIT_FAILURE);
}

static uint64_t
number (const char *s)
{
  char *end;
  uint64_t n = strtoull (s, &end, 10);

  if (end == s || *end) {
    errno = EINVAL;
    fail (s);
  }
  return n;
}

/* What the disk consists of. */
struct disk {
  struct mk_pattern pattern;
  struct mk_map present;
  struct mk_content content;
  unsigned depth;
};

struct layer {
  const struct disk *disk;
  unsigned number;
};

static enum mk_kind
layer_kind (void *opaque, uint64_t grain)
{
  const struct layer *layer = opaque;
  const struct disk *d = layer->disk;

  if (mk_hash (d->pattern.seed + 1, grain / d->pattern.run) % d->depth
      != layer->number)
    return MK_HOLE;
  return d->present.kind (d->present.opaque, grain);
}

static void
entry (int fd, bool write, void *buf, size_t n, uint64_t off)
{
  ssize_t r = write ? pwrite (fd, buf, n, (off_t) off)
                    : pread (fd, buf, n, (off_t) off);

  if (r != (ssize_t) n)
    fail ("table entry");
}

/* The maker scatters single grains.  Scatter whole runs: shuffle which run
 * has which place in the file, and move the entries of the tables with them.
 * (The backmap of SEsparse is not kept up to date; no reader looks at it.)
 */
static void
scatter (const char *file, const struct mk_layout *l, size_t run,
         size_t width, uint64_t seed, uint32_t grain,
         const struct mk_content *content)
{
  size_t units = l->n_grains / run;
  size_t *order = calloc (units ? units : 1, sizeof *order);
  uint8_t (*saved)[8] = calloc (l->n_grains ? l->n_grains : 1, sizeof *saved);
  uint8_t *buf = malloc (grain);
  int fd = open (file, O_RDWR);
  struct mk_rng rng;

  if (order == NULL || saved == NULL || buf == NULL || fd == -1)
    fail (file);
  mk_rng_seed (&rng, seed);
  for (size_t i = 0; i < units; i++) {
    size_t j = mk_rng_below (&rng, i + 1);

    order[i] = order[j];
    order[j] = i;
  }
  for (size_t i = 0; i < l->n_grains; i++)
    entry (fd, false, saved[i], width, l->grains[i].gte);
  for (size_t i = 0; i < l->n_grains; i++) {
    const struct mk_where *to = &l->grains[i];
    size_t from = order[i / run] * run + i % run;

    entry (fd, true, saved[from], width, to->gte);
    if (to->rgte)
      entry (fd, true, saved[from], width, to->rgte);
    mk_content_fill ((void *) content, buf, grain, to->grain * grain);
    entry (fd, true, buf, grain, l->grains[from].data);
  }
  if (close (fd) == -1)
    fail (file);
  free (buf);
  free (saved);
  free (order);
}

static void
write_descriptor (const char *name, unsigned number, unsigned format,
                  uint64_t sectors, const char *data)
{
  static const char *const types[][2] = {
    [MK_COWD] = { "VMFSSPARSE", "vmfsSparse" },
    [MK_KDMV] = { "SPARSE", "twoGbMaxExtentSparse" },
    [MK_SESPARSE] = { "SESPARSE", "seSparse" },
  };
  const char *slash = strrchr (name, '/');
  char file[4096], hint[4096];
  struct mk_line line = { .sectors = sectors, .type = types[format][0],
                          .name = strrchr (data, '/') + 1, .offset = -1 };
  struct mk_descriptor d = {
    .lines = &line, .n_lines = 1, .cid = BASE_CID + number + 1,
    .parent_cid = BASE_CID + number, .hint = "base.vmdk",
    .create_type = types[format][1],
  };
  size_t len;
  char *text;

  if (number > 0) {
    snprintf (hint, sizeof hint, "%s-%u.vmdk", slash + 1, number);
    d.hint = hint;
  }
  snprintf (file, sizeof file, "%s-%u.vmdk", name, number + 1);
  text = mk_descriptor (&d, &len);
  if (mk_write_file (file, text, len) == -1)
    fail (file);
  free (text);
}

static void
write_raw (const char *file, uint64_t size, const struct disk *d,
           struct mk_content base, uint32_t grain)
{
  static uint8_t buf[65536];
  FILE *fp = fopen (file, "w");

  if (fp == NULL)
    fail (file);
  for (uint64_t off = 0; off < size; off += sizeof buf) {
    mk_content_fill (&base, buf, sizeof buf, off);
    for (uint64_t at = 0; d && at < sizeof buf; at += grain)
      if (d->present.kind (d->present.opaque, (off + at) / grain) == MK_DATA)
        mk_content_fill ((void *) &d->content, buf + at, grain, off + at);
    if (fwrite (buf, sizeof buf, 1, fp) != 1)
      fail (file);
  }
  if (fclose (fp) == EOF)
    fail (file);
}

static void
write_base (char **argv)
{
  uint64_t size = number (argv[3]);
  struct mk_content base = { .seed = number (argv[4]), .flavour = MK_NOISE };
  const char *name = strrchr (argv[2], '/') + 1;
  struct mk_line line = { .sectors = size / MK_SECTOR, .type = "FLAT",
                          .name = name };
  struct mk_descriptor d = { .lines = &line, .n_lines = 1, .cid = BASE_CID,
                             .parent_cid = UINT32_MAX,
                             .create_type = "monolithicFlat" };
  char file[4096];
  size_t len;
  char *text;

  write_raw (argv[2], size, NULL, base, 0);
  snprintf (file, sizeof file, "%.*s/base.vmdk",
            (int) (name - argv[2] - 1), argv[2]);
  text = mk_descriptor (&d, &len);
  if (mk_write_file (file, text, len) == -1)
    fail (file);
  free (text);
}

static void
write_delta (int argc, char **argv)
{
  const char *format = argv[2], *name = argv[3];
  uint64_t size = number (argv[4]);
  uint32_t grain = (uint32_t) number (argv[5]);
  uint64_t seed = number (argv[9]);
  struct disk d = {
    .pattern = { .seed = seed, .run = number (argv[6]), .fill = 250 },
    .content = { .seed = seed, .layer = 1, .flavour = MK_NOISE },
    .depth = (unsigned) number (argv[8]),
  };
  struct mk_spec spec = {
    .format = strcmp (format, "cowd") == 0 ? MK_COWD :
              strcmp (format, "kdmv") == 0 ? MK_KDMV : MK_SESPARSE,
    .capacity = size, .grain_size = grain, .seed = seed,
    .fill = mk_fill_content (&d.content),
  };

  d.present = mk_map_pattern (&d.pattern);
  for (unsigned i = 0; i < d.depth; i++) {
    struct layer layer = { &d, i };
    struct mk_layout layout = { 0 };
    char file[4096];

    spec.map = (struct mk_map) { .opaque = &layer, .kind = layer_kind };
    snprintf (file, sizeof file, "%s-%u-data.vmdk", name, i + 1);
    if (mk_make_file (&spec, file, &layout) == -1)
      fail (file);
    if (argv[7][0] == 's')
      scatter (file, &layout, d.pattern.run, spec.format == MK_SESPARSE ? 8 : 4,
               seed + i, grain, &d.content);
    mk_layout_free (&layout);
    write_descriptor (name, i, spec.format, size / MK_SECTOR, file);
  }
  if (argc > 10) {
    struct mk_content base = { .seed = seed, .flavour = MK_NOISE };

    write_raw (argv[10], size, &d, base, grain);
  }
}

int
main (int argc, char **argv)
{
  if (argc == 5 && strcmp (argv[1], "base") == 0)
    write_base (argv);
  else if ((argc == 10 || argc == 11) && strcmp (argv[1], "delta") == 0)
    write_delta (argc, argv);
  else {
    fprintf (stderr, "usage: images base FILE SIZE SEED\n"
             "       images delta FORMAT NAME SIZE GRAIN RUN order|scattered"
             " DEPTH SEED [MERGED]\n");
    return 2;
  }
  return 0;
}
