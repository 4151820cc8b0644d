/* mkimage: the maker of test images as a command.
 *
 *   mkimage random SEED DIR
 *     Draws a chain and writes it into DIR (which exists): see case.h.  Also
 *     DIR/expected.raw, if the disk is not larger than 32 MiB.  Prints one
 *     line of words: capacity=BYTES base=BYTES qemu_ok=0|1 qemu=FILE why=WORD
 *     unclean=0|1 expected=0|1 deltas=FILE,FILE,... (oldest first).
 *
 *   mkimage model SEED FILE
 *     Writes what the chain of that seed must read as.
 *
 *   mkimage show SEED
 *     Tells what was drawn.
 *
 *   mkimage make FORMAT FILE --capacity=SIZE [options]
 *     One extent.  FORMAT: cowd, kdmv, stream, sesparse.  A SIZE may end in
 *     K, M, G, T.  Options:
 *       --grain=SIZE        default: 512, 65536, 65536, 4096
 *       --runs=N            grains present in runs of N           (1)
 *       --fill=PERCENT      of the grains                         (25)
 *       --count=N           instead: about N grains, for huge disks
 *       --zero=PERCENT      of those present are zero grains      (0)
 *       --unmapped=PERCENT  the same for unmapped ones            (0)
 *       --scatter, --reverse, --unaligned, --footer, --no-redundant
 *       --level=N           of compression                        (6)
 *       --seed=N --layer=N  of the content                        (1)
 *       --content=KIND      mixed, noise, text, zeros             (mixed)
 *       --raw=FILE          also what it reads as, alone
 *       --embedded          kdmv, stream: with a descriptor inside
 *       --descriptor=FILE   a separate descriptor
 *       --parent=HINT --cid=HEX --parent-cid=HEX  for either
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "maker.h"
#include "model.h"

static void
fail (const char *what)
{
  fprintf (stderr, "mkimage: %s: %s\n", what, strerror (errno));
  exit (EXIT_FAILURE);
}

static void
usage (const char *why)
{
  fprintf (stderr, "mkimage: %s\n"
           "usage: mkimage random SEED DIR | model SEED FILE | show SEED |\n"
           "       make cowd|kdmv|stream|sesparse FILE --capacity=SIZE ...\n",
           why);
  exit (2);
}

static uint64_t
number (const char *s, int base)
{
  char *end;
  uint64_t n;

  errno = 0;
  n = strtoull (s, &end, base);
  if (errno || end == s || *end)
    usage (s);
  return n;
}

static uint64_t
size (const char *s)
{
  static const char units[] = "KMGT";
  char *end;
  uint64_t n;
  const char *u;

  errno = 0;
  n = strtoull (s, &end, 10);
  if (errno || end == s)
    usage (s);
  if (*end == '\0')
    return n;
  u = strchr (units, *end);
  if (u == NULL || end[1] || n > UINT64_MAX >> (10 * (u - units + 1)))
    usage (s);
  return n << (10 * (u - units + 1));
}

static void
show (const struct mk_case *c)
{
  static const char *const formats[] = {
    "-", "COWD", "KDMV", "STREAM", "SESPARSE",
  };

  printf ("capacity %" PRIu64 " sectors, base %" PRIu64 " bytes\n",
          c->capacity / MK_SECTOR, c->base_size);
  for (size_t k = 0; k < c->n; k++) {
    const struct mk_case_link *l = &c->link[k];

    printf ("%s: %s %s style %#x cid %08" PRIx32 " qemu %s %s\n", l->name,
            l->form == MK_FORM_BARE ? "bare" :
            l->form == MK_FORM_EMBEDDED ? "embedded" : "descriptor",
            l->create_type, l->style, l->cid, l->qemu_name,
            l->qemu_why ? l->qemu_why : "");
    for (size_t i = 0; i < l->n; i++) {
      const struct mk_case_piece *p = &l->piece[i];
      const struct mk_spec *s = &p->spec;

      printf ("  %s %" PRIu64 "+%" PRIu64 " %s %s", p->access,
              p->start / MK_SECTOR, p->length / MK_SECTOR, p->type, p->name);
      if (s->format)
        printf (" %s v%u grain %u gtes %u placement %d tables %d last %d"
                " gap %u slack %" PRIu64 " stream %d first %#" PRIx64
                " round %d run %" PRIu64 " fill %u zero %u unmapped %u"
                " list %zu",
                formats[s->format], s->version, s->grain_size, s->gtes,
                (int) s->placement, (int) s->tables, (int) s->last,
                s->max_gap, s->slack, (int) s->style, s->first_slot,
                s->round_capacity, p->pattern.run, p->pattern.fill,
                p->pattern.zero, p->pattern.unmapped, p->list.n);
      printf ("\n");
    }
  }
}

static void
write_random (const char *seed, const char *dir)
{
  struct mk_case *c = mk_random_case (number (seed, 0));
  bool expected = c->capacity <= 32 << 20;

  if (mk_case_write (c, dir) == -1)
    fail (dir);
  if (expected) {
    char path[4096];

    snprintf (path, sizeof path, "%s/expected.raw", dir);
    if (mk_model_write_raw (&c->model, path) == -1)
      fail (path);
  }
  printf ("capacity=%" PRIu64 " base=%" PRIu64 " qemu_ok=%d qemu=%s why=%s "
          "unclean=%d expected=%d deltas=",
          c->capacity, c->base_size, c->qemu_ok, c->link[c->n - 1].qemu_name,
          c->qemu_why ? c->qemu_why : "-", c->unclean, expected);
  for (size_t k = 0; k < c->n; k++)
    printf ("%s%s", k ? "," : "", c->link[k].name);
  printf ("\n");
  mk_case_free (c);
}

struct request {
  struct mk_spec spec;
  struct mk_pattern pattern;
  struct mk_list list;
  struct mk_content content;
  uint64_t count;
  bool embedded;
  const char *file, *raw, *descriptor;
  struct mk_descriptor d;
};

enum {
  CAPACITY = 256, GRAIN, RUNS, FILL, COUNT, ZERO, UNMAPPED, SCATTER, REVERSE,
  UNALIGNED, FOOTER, NO_REDUNDANT, LEVEL, SEED, LAYER, CONTENT, RAW, EMBEDDED,
  DESCRIPTOR, PARENT, CID, PARENT_CID,
};

static const struct option options[] = {
  { "capacity", required_argument, NULL, CAPACITY },
  { "grain", required_argument, NULL, GRAIN },
  { "runs", required_argument, NULL, RUNS },
  { "fill", required_argument, NULL, FILL },
  { "count", required_argument, NULL, COUNT },
  { "zero", required_argument, NULL, ZERO },
  { "unmapped", required_argument, NULL, UNMAPPED },
  { "scatter", no_argument, NULL, SCATTER },
  { "reverse", no_argument, NULL, REVERSE },
  { "unaligned", no_argument, NULL, UNALIGNED },
  { "footer", no_argument, NULL, FOOTER },
  { "no-redundant", no_argument, NULL, NO_REDUNDANT },
  { "level", required_argument, NULL, LEVEL },
  { "seed", required_argument, NULL, SEED },
  { "layer", required_argument, NULL, LAYER },
  { "content", required_argument, NULL, CONTENT },
  { "raw", required_argument, NULL, RAW },
  { "embedded", no_argument, NULL, EMBEDDED },
  { "descriptor", required_argument, NULL, DESCRIPTOR },
  { "parent", required_argument, NULL, PARENT },
  { "cid", required_argument, NULL, CID },
  { "parent-cid", required_argument, NULL, PARENT_CID },
  { NULL, 0, NULL, 0 },
};

static enum mk_flavour
flavour (const char *s)
{
  return strcmp (s, "noise") == 0 ? MK_NOISE :
    strcmp (s, "text") == 0 ? MK_TEXT :
    strcmp (s, "zeros") == 0 ? MK_ZEROS : MK_MIXED;
}

static void
parse_option (struct request *q, int opt)
{
  struct mk_spec *s = &q->spec;

  switch (opt) {
  case CAPACITY: s->capacity = size (optarg); break;
  case GRAIN: s->grain_size = (uint32_t) size (optarg); break;
  case RUNS: q->pattern.run = number (optarg, 10); break;
  case FILL: q->pattern.fill = (unsigned) (number (optarg, 10) * 10); break;
  case COUNT: q->count = number (optarg, 10); break;
  case ZERO: q->pattern.zero = (unsigned) (number (optarg, 10) * 10); break;
  case UNMAPPED:
    q->pattern.unmapped = (unsigned) (number (optarg, 10) * 10);
    break;
  case SCATTER: s->placement = MK_SCATTERED; break;
  case REVERSE: s->placement = MK_REVERSED; break;
  case UNALIGNED: s->unaligned = true; break;
  case FOOTER: s->style = MK_STREAM_FOOTER; break;
  case NO_REDUNDANT: s->no_redundant = true; break;
  case LEVEL: s->level = (int) number (optarg, 10); break;
  case SEED: s->seed = number (optarg, 0); break;
  case LAYER: q->content.layer = (unsigned) number (optarg, 10); break;
  case CONTENT: q->content.flavour = flavour (optarg); break;
  case RAW: q->raw = optarg; break;
  case EMBEDDED: q->embedded = true; break;
  case DESCRIPTOR: q->descriptor = optarg; break;
  case PARENT: q->d.hint = optarg; break;
  case CID: q->d.cid = (uint32_t) number (optarg, 16); break;
  case PARENT_CID: q->d.parent_cid = (uint32_t) number (optarg, 16); break;
  default: usage ("unknown option");
  }
}

static void
set_format (struct request *q, const char *name, struct mk_line *line)
{
  static const struct {
    const char *name, *type, *create;
    enum mk_format format;
    uint32_t grain;
  } all[] = {
    { "cowd", "VMFSSPARSE", "vmfsSparse", MK_COWD, 512 },
    { "kdmv", "SPARSE", "twoGbMaxExtentSparse", MK_KDMV, 65536 },
    { "stream", "SPARSE", "twoGbMaxExtentSparse", MK_STREAM, 65536 },
    { "sesparse", "SESPARSE", "seSparse", MK_SESPARSE, 4096 },
  };

  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    if (strcmp (name, all[i].name) == 0) {
      q->spec.format = all[i].format;
      q->spec.grain_size = all[i].grain;
      line->type = all[i].type;
      q->d.create_type = all[i].create;
      return;
    }
  usage ("unknown format");
}

static void
finish_spec (struct request *q)
{
  struct mk_spec *s = &q->spec;

  if (s->capacity == 0 || s->capacity % MK_SECTOR || s->grain_size == 0)
    usage ("--capacity=SIZE, in whole sectors, is needed");
  q->pattern.seed = q->content.seed = s->seed;
  s->fill = mk_fill_content (&q->content);
  s->map = mk_map_pattern (&q->pattern);
  if (q->count) {
    mk_list_random (&q->list, s->seed,
                    (s->capacity - 1) / s->grain_size + 1, q->count,
                    q->pattern.run);
    s->map = mk_map_list (&q->list);
  }
}

static void
make (int argc, char **argv)
{
  struct request q = { .file = argv[3] };
  struct mk_line line = { .offset = -1 };
  char *text = NULL;
  int opt;

  q.pattern.run = 1;
  q.pattern.fill = 250;
  q.spec.seed = 1;
  q.content.layer = 1;
  q.d.cid = 0xfffffffe;
  q.d.parent_cid = 0xffffffff;
  set_format (&q, argv[2], &line);
  optind = 4;
  while ((opt = getopt_long (argc, argv, "", options, NULL)) != -1)
    parse_option (&q, opt);
  if (optind < argc)
    usage (argv[optind]);
  finish_spec (&q);

  line.sectors = q.spec.capacity / MK_SECTOR;
  line.name = strrchr (q.file, '/') ? strrchr (q.file, '/') + 1 : q.file;
  q.d.lines = &line;
  q.d.n_lines = 1;
  if (q.embedded) {
    const char *separate = q.d.create_type;

    q.d.create_type = q.spec.format == MK_STREAM ? "streamOptimized"
                                                 : "monolithicSparse";
    text = mk_descriptor (&q.d, &q.spec.descriptor_len);
    q.spec.descriptor = text;
    q.d.create_type = separate;
  }
  if (mk_make_file (&q.spec, q.file, NULL) == -1)
    fail (q.file);
  free (text);
  if (q.descriptor) {
    size_t len;

    text = mk_descriptor (&q.d, &len);
    if (mk_write_file (q.descriptor, text, len) == -1)
      fail (q.descriptor);
    free (text);
  }
  if (q.raw) {
    struct mk_piece piece = mk_piece_of (&q.spec);
    struct mk_layer layer = { &piece, 1 };
    struct mk_model model = {
      .capacity = q.spec.capacity, .layers = &layer, .n = 1,
    };

    if (mk_model_write_raw (&model, q.raw) == -1)
      fail (q.raw);
  }
  mk_list_free (&q.list);
}

int
main (int argc, char **argv)
{
  struct mk_case *c;

  if (argc == 4 && strcmp (argv[1], "random") == 0)
    write_random (argv[2], argv[3]);
  else if (argc == 4 && strcmp (argv[1], "model") == 0) {
    c = mk_random_case (number (argv[2], 0));
    if (mk_model_write_raw (&c->model, argv[3]) == -1)
      fail (argv[3]);
    mk_case_free (c);
  }
  else if (argc == 3 && strcmp (argv[1], "show") == 0) {
    c = mk_random_case (number (argv[2], 0));
    show (c);
    mk_case_free (c);
  }
  else if (argc >= 4 && strcmp (argv[1], "make") == 0)
    make (argc, argv);
  else
    usage ("what is to be made?");
  if (fflush (stdout) == EOF)
    fail ("stdout");
  return 0;
}
