/* Maker of VMDK images for tests.
 *
 * No free program writes COWD or SEsparse extents, and those that write
 * hosted sparse ones always write the same simple layout.  This small
 * library makes all of them, tidy or awkward, from a description of what
 * every grain is.  It shares no code with the reader under test, so that
 * a misunderstanding of the format has to be made twice to be missed.
 *
 * The usual way:
 *
 *   struct mk_content content = { .seed = 1, .layer = 1 };
 *   struct mk_pattern pattern = { .seed = 1, .run = 8, .fill = 250 };
 *   struct mk_spec spec = {
 *     .format = MK_COWD, .capacity = 1 << 20, .grain_size = 512,
 *     .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
 *   };
 *   struct mk_sink sink;
 *   if (mk_sink_create (&sink, "delta.vmdk") == -1 ||
 *       mk_make (&spec, &sink, NULL) == -1 || mk_sink_close (&sink) == -1)
 *     error ...
 *
 * Zero in every field of a spec that is not named means "the usual".
 *
 * Functions that return int give 0, or -1 with errno set.  Lack of memory
 * ends the program (this is for tests).
 */

#ifndef MK_MAKER_H
#define MK_MAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MK_SECTOR 512

/*------------------------------------------------------------------*/
/* Numbers: a deterministic generator and a hash.                   */

struct mk_rng { uint64_t state; };

void mk_rng_seed (struct mk_rng *rng, uint64_t seed);
uint64_t mk_rng_next (struct mk_rng *rng);
/* 0 .. n-1; n must not be 0. */
uint64_t mk_rng_below (struct mk_rng *rng, uint64_t n);
/* True in PERMILLE of 1000 calls. */
bool mk_rng_chance (struct mk_rng *rng, unsigned permille);
/* A well mixed function of two numbers. */
uint64_t mk_hash (uint64_t a, uint64_t b);

/*------------------------------------------------------------------*/
/* Sinks: where an image goes.                                      */

struct mk_sink {
  void *opaque;
  int (*pwrite) (void *opaque, const void *buf, size_t n, uint64_t off);
  int (*truncate) (void *opaque, uint64_t size);
};

/* A new (or emptied) file; parts never written stay holes. */
int mk_sink_create (struct mk_sink *sink, const char *path);
/* An existing file, kept as it is. */
int mk_sink_open (struct mk_sink *sink, const char *path);
/* For both of the above. */
int mk_sink_close (struct mk_sink *sink);

/* Memory that grows as needed (to 1 GiB); free (mem->data) at the end. */
struct mk_mem {
  uint8_t *data;
  size_t size;
  size_t allocated;
};
void mk_sink_mem (struct mk_sink *sink, struct mk_mem *mem);

/* Overwrite a little-endian field.  The second set does it to a file. */
int mk_poke8 (struct mk_sink *sink, uint64_t off, uint8_t value);
int mk_poke16 (struct mk_sink *sink, uint64_t off, uint16_t value);
int mk_poke32 (struct mk_sink *sink, uint64_t off, uint32_t value);
int mk_poke64 (struct mk_sink *sink, uint64_t off, uint64_t value);
int mk_poke_file (const char *path, uint64_t off, unsigned bytes,
                  uint64_t value);

/*------------------------------------------------------------------*/
/* Content: what the guest sees in a grain that is present.         */

typedef void (*mk_fill_fn) (void *opaque, void *buf, size_t n,
                            uint64_t guest_offset);
struct mk_fill { mk_fill_fn fn; void *opaque; };

enum mk_flavour {
  MK_MIXED = 0,         /* 4 KiB blocks of noise, text, one byte, zeros */
  MK_NOISE,             /* cannot be compressed */
  MK_TEXT,              /* compresses well, every sector different */
  MK_HOLEY,             /* MIXED with 64 KiB runs of zeros */
  MK_ZEROS,
};

/* A pure function of (seed, layer, offset). */
struct mk_content {
  uint64_t seed;
  unsigned layer;
  enum mk_flavour flavour;
};
void mk_content_fill (void *content, void *buf, size_t n,
                      uint64_t guest_offset);
struct mk_fill mk_fill_content (struct mk_content *content);

/*------------------------------------------------------------------*/
/* Maps: what each grain of an extent is.                           */

enum mk_kind {
  MK_HOLE = 0,          /* unallocated: read from below */
  MK_ZERO,              /* KDMV: entry 1 (flag 4 is set); SEsparse: type 2 */
  MK_UNMAPPED,          /* SEsparse: type 1 with an old grain number */
  MK_DATA,
};

struct mk_map {
  void *opaque;
  enum mk_kind (*kind) (void *opaque, uint64_t grain);
  /* First grain >= GRAIN that is not a hole, or UINT64_MAX.  May be NULL,
   * then every grain is asked for.
   */
  uint64_t (*next) (void *opaque, uint64_t grain);
};

/* Runs of RUN grains, each present with probability FILL/1000 and then
 * zero or unmapped with probability ZERO/1000, UNMAPPED/1000.  With
 * ALTERNATE, every second run is present.  GRAINS, when not 0, is where the
 * pattern ends (a mere convenience: the maker stops at the capacity).
 */
struct mk_pattern {
  uint64_t seed;
  uint64_t run;
  unsigned fill, zero, unmapped;
  bool alternate;
  uint64_t grains;
};
struct mk_map mk_map_pattern (struct mk_pattern *pattern);

/* A sorted list, for disks too large to be scanned. */
struct mk_list {
  size_t n;
  uint64_t *grain;      /* ascending */
  uint8_t *kind;        /* of enum mk_kind; NULL: all of them MK_DATA */
};
struct mk_map mk_map_list (struct mk_list *list);
/* About COUNT different grains of GRAINS, in runs of RUN, always with the
 * first and the last one.  kind is NULL.
 */
void mk_list_random (struct mk_list *list, uint64_t seed, uint64_t grains,
                     uint64_t count, uint64_t run);
void mk_list_free (struct mk_list *list);

/* A plain array of N kinds; the grains behind it are holes. */
struct mk_array { const uint8_t *kind; uint64_t n; };
struct mk_map mk_map_array (struct mk_array *array);

/*------------------------------------------------------------------*/
/* The description of an extent.                                    */

enum mk_format { MK_COWD = 1, MK_KDMV, MK_STREAM, MK_SESPARSE };

enum mk_placement {     /* order of the grains in the file */
  MK_IN_ORDER = 0,
  MK_SCATTERED,         /* by seed */
  MK_REVERSED,
};

enum mk_tables {
  MK_TABLES_USUAL = 0,  /* COWD: MIXED; KDMV: ALL; SEsparse: USED */
  MK_TABLES_ALL,        /* every table exists, in front of the grains */
  MK_TABLES_USED,       /* only those that are needed, in front */
  MK_TABLES_MIXED,      /* only those needed, before their first grain */
};

enum mk_last {          /* the last grain, when the capacity cuts it */
  MK_LAST_ZEROS = 0,    /* whole, zeros behind the capacity */
  MK_LAST_JUNK,         /* whole, junk behind the capacity */
  MK_LAST_CUT,          /* the file (or the compressed grain) ends at the
                           capacity; the grain is placed last for this */
};

enum mk_stream_style {
  MK_STREAM_FRONT = 0,  /* tables in front, no footer */
  MK_STREAM_FOOTER,     /* gdOffset in the header all ones */
  MK_STREAM_BOTH,       /* as FOOTER, and the header's gdOffset is valid */
};

struct mk_spec {
  enum mk_format format;
  uint64_t capacity;            /* bytes, a multiple of 512 */
  uint64_t guest_start;         /* where the extent begins in the disk: is
                                   added to the offsets given to FILL */
  uint32_t grain_size;          /* bytes; SEsparse is always 4096 */
  struct mk_map map;
  struct mk_fill fill;
  uint64_t seed;                /* of all that is drawn here */

  /* Header. */
  uint32_t version;             /* 0: COWD 1, KDMV 1 or 2, stream 3 */
  uint32_t flags_set;           /* bits to set and to clear on top of */
  uint32_t flags_clear;         /* what the layout asks for */
  bool unclean;
  bool round_capacity;          /* KDMV, stream: up to a whole grain */
  uint32_t gtes;                /* KDMV, stream: entries per table, 0: 512 */
  uint32_t gd_sector;           /* COWD: where the directory is, 0: 4 */

  /* Placement.  Streams are always in order. */
  enum mk_placement placement;
  enum mk_tables tables;
  bool scatter_tables;          /* positions (SEsparse: numbers) by chance */
  bool unaligned;               /* KDMV: grains on any sector */
  uint32_t max_gap;             /* 0..max_gap unused sectors (SEsparse:
                                   slots) before each grain */
  enum mk_last last;
  uint64_t slack;               /* bytes of zeros at the end of the file.
                                   FOOTER can have less than 512 only */

  /* KDMV and streams. */
  const char *descriptor;       /* embedded text, may hold NULs */
  size_t descriptor_len;        /* 0: strlen */
  uint32_t descriptor_sector;   /* 0: 1 */
  uint32_t descriptor_sectors;  /* 0: 20, or more if the text needs it */
  bool no_redundant;            /* no second directory and tables */
  bool tight;                   /* overHead is not rounded up to a grain */

  /* Streams. */
  enum mk_stream_style style;
  int level;                    /* 0..12; -1: stored; 0 is taken as 6 */
  uint32_t progress;            /* permille: progress markers before grains */
  bool eos;                     /* an end-of-stream marker behind FRONT */

  /* SEsparse. */
  uint64_t reserved1;
  bool dirty;                   /* replayJournal = 1 */
  uint64_t first_slot;          /* the lowest grain number used */
  bool no_backmap;              /* leave free bitmap and backmap empty */
};

/* Where everything went, for tests that damage it. */
struct mk_where {
  uint64_t grain;
  enum mk_kind kind;
  size_t table;                 /* index into tables[] */
  uint64_t gte, rgte;           /* bytes: its entry and the redundant one
                                   (0: there is none) */
  uint64_t data;                /* bytes: the grain, or its marker; 0: none */
  uint64_t stored;              /* bytes stored, without a marker */
};
struct mk_table {
  uint64_t index;               /* in the directory */
  size_t first, n;              /* its grains in grains[] */
  uint64_t gde, rgde;           /* bytes: directory entries */
  uint64_t gt, rgt;             /* bytes: the table and its copy */
};
struct mk_layout {
  uint64_t size;                /* of the file */
  uint64_t gd, rgd;             /* bytes */
  uint64_t gd_entries;
  uint64_t footer;              /* bytes, 0: none */
  uint64_t data_start;          /* overHead, freeSector at the start, ... */
  struct mk_where *grains;      /* all that are not holes, ascending */
  size_t n_grains;
  struct mk_table *tables;      /* those with grains, ascending */
  size_t n_tables;
};

/* Make the extent.  LAYOUT may be NULL; otherwise free it afterwards.
 * EINVAL: the format cannot do what the spec asks for (a zero grain in
 * COWD, say).  EFBIG: sector numbers do not fit.
 */
int mk_make (const struct mk_spec *spec, const struct mk_sink *sink,
             struct mk_layout *layout);
int mk_make_file (const struct mk_spec *spec, const char *path,
                  struct mk_layout *layout);
/* NULL for a hole. */
const struct mk_where *mk_layout_grain (const struct mk_layout *layout,
                                        uint64_t grain);
void mk_layout_free (struct mk_layout *layout);

/*------------------------------------------------------------------*/
/* The text descriptor.                                             */

struct mk_line {
  const char *access;           /* NULL: RW */
  uint64_t sectors;
  const char *type;             /* FLAT, SPARSE, VMFSSPARSE, ... */
  const char *name;             /* NULL: none (ZERO) */
  int64_t offset;               /* sectors; -1: no such field */
};

#define MK_STYLE_CRLF         0x001
#define MK_STYLE_BLANKS       0x002     /* around the = of header keys */
#define MK_STYLE_WIDE         0x004     /* two blanks in extent lines */
#define MK_STYLE_LOWER        0x008     /* all but the names */
#define MK_STYLE_NUL_PAD      0x010     /* to a multiple of 512, and 512 */
#define MK_STYLE_NO_NEWLINE   0x020     /* at the end of the last line */
#define MK_STYLE_CID_COMMENT  0x040     /* a comment above CID that says so */
#define MK_STYLE_UNKNOWN      0x080     /* keys nobody knows */
#define MK_STYLE_SHORT_CID    0x100     /* no leading zeros */
#define MK_STYLE_NO_DDB       0x200     /* ends with the extent lines */
#define MK_STYLE_BLANK_LINES  0x400     /* more of them */

struct mk_descriptor {
  const struct mk_line *lines;
  size_t n_lines;
  uint32_t cid;
  uint32_t parent_cid;          /* 0xffffffff: no parent */
  const char *hint;             /* NULL: no such line */
  const char *create_type;
  unsigned version;             /* 0: 1 */
  unsigned style;               /* MK_STYLE_* */
};

/* The text (to be freed), NUL terminated; LEN, without that NUL but with
 * the padding, may be NULL.
 */
char *mk_descriptor (const struct mk_descriptor *d, size_t *len);
int mk_write_file (const char *path, const void *data, size_t len);

/*------------------------------------------------------------------*/
/* Offsets of fields, in bytes.                                     */

#define MK_COWD_MAGIC            0
#define MK_COWD_VERSION          4
#define MK_COWD_FLAGS            8
#define MK_COWD_CAPACITY         12     /* 32 bits, as all of COWD */
#define MK_COWD_GRAINSIZE        16
#define MK_COWD_GDOFFSET         20
#define MK_COWD_GDENTRIES        24
#define MK_COWD_FREESECTOR       28
#define MK_COWD_PARENTNAME       32
#define MK_COWD_SAVEDGENERATION  1636
#define MK_COWD_UNCLEAN          1648

#define MK_KDMV_MAGIC            0      /* 32 bits */
#define MK_KDMV_VERSION          4      /* 32 bits */
#define MK_KDMV_FLAGS            8      /* 32 bits */
#define MK_KDMV_CAPACITY         12     /* 64 bits from here on ... */
#define MK_KDMV_GRAINSIZE        20
#define MK_KDMV_DESCOFFSET       28
#define MK_KDMV_DESCSIZE         36
#define MK_KDMV_GTES             44     /* ... but this one, 32 bits */
#define MK_KDMV_RGDOFFSET        48
#define MK_KDMV_GDOFFSET         56
#define MK_KDMV_OVERHEAD         64
#define MK_KDMV_UNCLEAN          72     /* 8 bits */
#define MK_KDMV_LINEENDS         73     /* 4 bytes: 0a 20 0d 0a */
#define MK_KDMV_COMPRESSION      77     /* 16 bits */

#define MK_MARKER_LBA            0      /* or val; 64 bits */
#define MK_MARKER_SIZE           8      /* 32 bits */
#define MK_MARKER_TYPE           12     /* 32 bits; or the data */

#define MK_SE_MAGIC              0      /* 64 bits, as all of SEsparse */
#define MK_SE_VERSION            8
#define MK_SE_CAPACITY           16
#define MK_SE_GRAINSIZE          24
#define MK_SE_GTSIZE             32
#define MK_SE_FLAGS              40
#define MK_SE_RESERVED1          48
#define MK_SE_RESERVED2          56
#define MK_SE_RESERVED3          64
#define MK_SE_RESERVED4          72
#define MK_SE_VOLATILE           80
#define MK_SE_VOLATILE_SIZE      88
#define MK_SE_JOURNALHDR         96
#define MK_SE_JOURNALHDR_SIZE    104
#define MK_SE_JOURNAL            112
#define MK_SE_JOURNAL_SIZE       120
#define MK_SE_GD                 128
#define MK_SE_GD_SIZE            136
#define MK_SE_GTS                144
#define MK_SE_GTS_SIZE           152
#define MK_SE_BITMAP             160
#define MK_SE_BITMAP_SIZE        168
#define MK_SE_BACKMAP            176
#define MK_SE_BACKMAP_SIZE       184
#define MK_SE_GRAINS             192
#define MK_SE_GRAINS_SIZE        200
#define MK_SE_PAD                208    /* 304 bytes of zeros */
/* The volatile header is at byte 512. */
#define MK_SE_VOL_MAGIC          512
#define MK_SE_VOL_FREEGT         520
#define MK_SE_VOL_NEXTTXN        528
#define MK_SE_VOL_REPLAY         536
#define MK_SE_VOL_PAD            544

#endif /* MK_MAKER_H */
