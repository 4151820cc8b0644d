/* VDI: both versions of the header, every field of it, every kind of map
 * entry.  The images are put together here, field by field.
 */

#include <fcntl.h>

#include "unit.h"

#define FREE UINT32_C (0xffffffff)
#define ZERO UINT32_C (0xfffffffe)
#define BLOCK UINT32_C (4096)

enum { NORMAL = 1, FIXED, UNDO, DIFF };

/* Offsets in the header; the first column is version 1, the second 0. */
enum { SIGNATURE = 0x40, VERSION = 0x44 };
enum { HEADER_1 = 0x48, TYPE_1 = 0x4c, TYPE_0 = 0x48, FLAGS_1 = 0x50,
       FLAGS_0 = 0x4c, MAP_1 = 0x154, DATA_1 = 0x158, DISK_1 = 0x170,
       DISK_0 = 0x160, BLOCK_1 = 0x178, BLOCK_0 = 0x168, EXTRA_1 = 0x17c,
       BLOCKS_1 = 0x180, BLOCKS_0 = 0x16c, ALLOCATED_1 = 0x184,
       UUID_1 = 0x188, UUID_0 = 0x174, LINK_1 = 0x1a8, LINK_0 = 0x194,
       PARENT_MODIFIED_1 = 0x1b8, END_0 = 0x1a4 };

/* What an image is; zero means the usual. */
struct shape {
  uint32_t version, header, type, block, extra;
  uint64_t disk;                /* bytes; usual: all of the map */
  uint32_t nr_blocks;
  const uint32_t *map;
  uint32_t nr_stored;
  uint64_t map_offset, data_offset;
  uint64_t cut;                 /* bytes that the file lacks */
  uint8_t seed;                 /* of the content */
  bool child;
};

static uint32_t
block_of (const struct shape *s)
{
  return s->block ? s->block : BLOCK;
}

static uint64_t
disk_of (const struct shape *s)
{
  return s->disk ? s->disk : (uint64_t) s->nr_blocks * block_of (s);
}

/* The byte at i of stored block k. */
static uint8_t
content (const struct shape *s, uint64_t k, uint64_t i)
{
  return (uint8_t) (1 + (s->seed * 61 + k * 17 + i + (i >> 8) * 7 +
                         (i >> 16) * 3) % 250);
}

static void
build (struct u_image *m, const struct shape *s)
{
  const uint32_t version = s->version ? s->version : 0x10001;
  const bool one = version >> 16 != 0;
  const uint32_t header = s->header ? s->header : 0x190;
  const uint64_t map = !one ? END_0 : s->map_offset ? s->map_offset
    : 0x48 + header;
  const uint64_t data = one && s->data_offset ? s->data_offset
    : map + (uint64_t) s->nr_blocks * 4;
  const uint64_t step = (uint64_t) block_of (s) + s->extra;
  uint64_t at, i, k;

  memset (m, 0, sizeof *m);
  m->mem.size = (size_t) (data + s->nr_stored * step);
  if (m->mem.size < 0x1d8)
    m->mem.size = 0x1d8;
  m->mem.data = malloc (m->mem.size);
  assert_non_null (m->mem.data);
  memset (m->mem.data, 0xdd, m->mem.size);

  memset (m->mem.data, 0, (size_t) vd_min (map, 0x1d8));
  strcpy ((char *) m->mem.data, "<<< anything >>>\n");
  u_put (m, SIGNATURE, 4, 0xbeda107f);
  u_put (m, VERSION, 4, version);
  if (one) {
    u_put (m, HEADER_1, 4, header);
    u_put (m, MAP_1, 4, map);
    u_put (m, DATA_1, 4, data);
    u_put (m, EXTRA_1, 4, s->extra);
    u_put (m, ALLOCATED_1, 4, s->nr_stored);
  }
  u_put (m, one ? TYPE_1 : TYPE_0, 4,
         s->type ? s->type : s->child ? DIFF : NORMAL);
  u_put (m, one ? DISK_1 : DISK_0, 8, disk_of (s));
  u_put (m, one ? BLOCK_1 : BLOCK_0, 4, block_of (s));
  u_put (m, one ? BLOCKS_1 : BLOCKS_0, 4, s->nr_blocks);
  memset (m->mem.data + (one ? UUID_1 : UUID_0), 0x11 + s->seed, 16);
  if (s->child)
    memset (m->mem.data + (one ? LINK_1 : LINK_0), 0x10 + s->seed, 16);

  for (i = 0; i < s->nr_blocks; ++i)
    u_put (m, map + i * 4, 4, s->map[i]);
  for (k = 0; k < s->nr_stored; ++k) {
    at = data + k * step;
    memset (m->mem.data + at, 0xee, s->extra);
    for (i = 0; i < block_of (s); ++i)
      m->mem.data[at + s->extra + i] = content (s, k, i);
  }
  m->mem.size -= (size_t) s->cut;
}

/* What a stack of images has at one byte; the newest is the last. */
static uint8_t
expected (const struct shape *s, size_t n, uint64_t offset)
{
  while (n-- > 0 && offset < disk_of (&s[n])) {
    const uint32_t e = s[n].map[offset / block_of (&s[n])];

    if (e == ZERO)
      return 0;
    if (e != FREE)
      return content (&s[n], e, offset % block_of (&s[n]));
  }
  return 0;
}

static void
compare (struct u_disk *d, const struct shape *s, size_t n, uint64_t offset,
         size_t count)
{
  uint8_t *buf = malloc (count + 1);
  struct vd_err err;
  size_t i;

  assert_non_null (buf);
  memset (buf, 0xa5, count + 1);
  if (vd_read (d->reader, &d->base, buf, count, offset, &err) == -1)
    fail_msg ("read of %zu at %llu: %s", count, (unsigned long long) offset,
              err.msg);
  for (i = 0; i < count; ++i)
    if (buf[i] != expected (s, n, offset + i))
      fail_msg ("byte %llu is %02x, not %02x",
                (unsigned long long) (offset + i), buf[i],
                expected (s, n, offset + i));
  assert_int_equal (buf[count], 0xa5);
  free (buf);
}

static void
open_stack (struct u_disk *d, struct u_image *m, const struct shape *s,
            size_t n)
{
  struct vd_link *links[8];
  size_t i;

  for (i = 0; i < n; ++i) {
    build (&m[i], &s[i]);
    links[i] = u_link (&m[i]);
    assert_int_equal (links[i]->role,
                      s[i].child ? VD_ROLE_CHILD : VD_ROLE_BASE);
    assert_int_equal (links[i]->capacity, disk_of (&s[i]));
  }
  u_disk_open (d, links, n, NULL, VD_MAP_DEFAULT_BUDGET);
}

static void
close_stack (struct u_disk *d, struct u_image *m, size_t n)
{
  u_disk_close (d);
  while (n-- > 0)
    u_free (&m[n]);
}

/* The whole disk, in one piece and byte by byte around the edges of blocks. */
static void
check_stack (const struct shape *s, size_t n)
{
  const struct shape *top = &s[n - 1];
  const uint64_t size = disk_of (top);
  struct u_image m[8];
  struct u_disk d;
  uint64_t i;

  open_stack (&d, m, s, n);
  assert_int_equal (d.chain->size, size);
  assert_true (d.chain->has_base);
  compare (&d, s, n, 0, (size_t) size);
  for (i = block_of (top); i < size && i < 40 * MIB; i += block_of (top)) {
    compare (&d, s, n, i - 1, 2);
    compare (&d, s, n, i - 300, (size_t) vd_min (701, size - i + 300));
  }
  compare (&d, s, n, size - 1, 1);
  close_stack (&d, m, n);
}

static const uint32_t mixed[] = { 3, FREE, 0, ZERO, 4, 1, FREE, FREE, 2, ZERO };

static const struct shape usual = {
  .nr_blocks = 10, .map = mixed, .nr_stored = 5,
  .map_offset = 0x200, .data_offset = 0x400,
};

/*------------------------------------------------------------------*/
/* The header. */

TEST (all_versions_are_read)
{
  static const struct shape shapes[] = {
    { .header = 0x190 }, { .header = 0x180 }, { .header = 0x1000 },
    { .header = 65536 },
    { .version = 0x10000 }, { .version = 0x1ffff },
    { .version = 2 }, { .version = 1 }, { .version = 0xffff },
    { .map_offset = 0x200, .data_offset = 0x400 },
    { .map_offset = 0x201, .data_offset = 0x403 },
    { .map_offset = 0x100000, .data_offset = 0x200000 },
  };
  size_t i;
  uint32_t type;

  for (i = 0; i < ARRAY_SIZE (shapes); ++i)
    for (type = NORMAL; type <= DIFF; ++type) {
      struct shape s[2] = { shapes[i], shapes[i] };

      s[0].map = s[1].map = mixed;
      s[0].nr_blocks = s[1].nr_blocks = 10;
      s[0].nr_stored = s[1].nr_stored = 5;
      s[1].seed = 1;
      s[1].child = true;
      s[1].type = type;
      if (type <= FIXED)
        s[0].type = type;
      check_stack (s, 1);
      check_stack (s, 2);
    }
}

TEST (the_fields_of_version_1_are_checked)
{
  static const struct u_field fields[] = {
    { SIGNATURE, 4, 0xbeda107e, VD_NOT_FORMAT, { NULL } },
    { 0, 8, 0, VD_OK, { NULL } },
    { VERSION, 4, 0x00020001, VD_UNSUPPORTED, { "version 2.1", "byte 0x44" } },
    { VERSION, 4, 0xffffffff, VD_UNSUPPORTED, { "version 65535.65535" } },

    { HEADER_1, 4, 0, VD_CORRUPT, { "has 0 bytes", "byte 0x48" } },
    { HEADER_1, 4, 0x17f, VD_CORRUPT, { "383", "384 to 65536" } },
    { HEADER_1, 4, 0x180, VD_OK, { NULL } },
    { HEADER_1, 4, 0x1b8, VD_OK, { NULL } },
    { HEADER_1, 4, 0x1b9, VD_CORRUPT, { "at byte 512 ", "byte 513 " } },
    { HEADER_1, 4, 65536, VD_CORRUPT, { "at byte 512 ", "byte 65608 " } },
    { HEADER_1, 4, 65537, VD_CORRUPT, { "65537" } },
    { HEADER_1, 4, 0xffffffff, VD_CORRUPT, { "4294967295" } },

    { TYPE_1, 4, 0, VD_UNSUPPORTED, { "type 0 ", "only 1 to 4" } },
    { TYPE_1, 4, FIXED, VD_OK, { NULL } },
    { TYPE_1, 4, UNDO, VD_CORRUPT,
      { "differencing image", "type 3", "names no parent" } },
    { TYPE_1, 4, DIFF, VD_CORRUPT,
      { "differencing image", "type 4", "names no parent" } },
    { TYPE_1, 4, 5, VD_UNSUPPORTED, { "type 5 " } },
    { TYPE_1, 4, 0xffffffff, VD_UNSUPPORTED, { "type 4294967295 " } },
    { FLAGS_1, 4, 1, VD_OK, { NULL } },

    { MAP_1, 4, 0, VD_CORRUPT, { "at byte 0 ", "allowed is byte 472" } },
    { MAP_1, 4, 0x1d7, VD_CORRUPT, { "at byte 471 " } },
    { MAP_1, 4, 0x1d8, VD_OK, { NULL } },
    { MAP_1, 4, 0x400 - 40, VD_OK, { NULL } },
    { MAP_1, 4, 0x400 - 39, VD_CORRUPT, { "begins at byte 1024", "1025" } },
    { MAP_1, 4, 0x400 + 5 * 4096 - 40, VD_CORRUPT, { "in the block map" } },
    { MAP_1, 4, 0x400 + 5 * 4096 - 39, VD_TRUNCATED,
      { "10 entries", "outside of the file", "byte 21504" } },
    { MAP_1, 4, 0xffffffff, VD_TRUNCATED, { "4294967295" } },

    { DATA_1, 4, 0, VD_CORRUPT, { "begins at byte 0," } },
    { DATA_1, 4, 0x227, VD_CORRUPT, { "at byte 551,", "ends at byte 552" } },
    { DATA_1, 4, 0x228, VD_OK, { NULL } },
    { DATA_1, 4, 0x400 + 5 * 4096, VD_OK, { NULL } },
    { DATA_1, 4, 0xffffffff, VD_OK, { NULL } },

    { DISK_1, 8, 0, VD_CORRUPT, { "has 0 bytes" } },
    { DISK_1, 8, 1, VD_OK, { NULL } },
    { DISK_1, 8, 40960, VD_OK, { NULL } },
    { DISK_1, 8, 40961, VD_CORRUPT, { "40961", "10 blocks of 4096" } },
    { DISK_1, 8, UINT64_C (1) << 32, VD_CORRUPT, { "4294967296" } },
    { DISK_1, 8, UINT64_C (1) << 63, VD_CORRUPT, { "9223372036854775808" } },
    { DISK_1, 8, UINT64_MAX, VD_CORRUPT, { "18446744073709551615" } },

    { BLOCK_1, 4, 0, VD_CORRUPT, { "block size is 0;", "4096 to 268435456" } },
    { BLOCK_1, 4, 512, VD_CORRUPT, { "512" } },
    { BLOCK_1, 4, 2048, VD_CORRUPT, { "2048" } },
    { BLOCK_1, 4, 4095, VD_CORRUPT, { "4095" } },
    { BLOCK_1, 4, 4097, VD_CORRUPT, { "4097" } },
    { BLOCK_1, 4, 6144, VD_CORRUPT, { "power of two" } },
    { BLOCK_1, 4, 8192, VD_OK, { NULL } },
    { BLOCK_1, 4, 1 << 20, VD_OK, { NULL } },
    { BLOCK_1, 4, 1 << 28, VD_OK, { NULL } },
    { BLOCK_1, 4, 1 << 29, VD_CORRUPT, { "536870912" } },
    { BLOCK_1, 4, 0x80000000, VD_CORRUPT, { "2147483648" } },
    { BLOCK_1, 4, 0xffffffff, VD_CORRUPT, { "4294967295" } },

    { EXTRA_1, 4, 1, VD_OK, { NULL } },
    { EXTRA_1, 4, 3, VD_CORRUPT, { "extra block size 3 is not valid" } },
    { EXTRA_1, 4, 512, VD_OK, { NULL } },
    { EXTRA_1, 4, 513, VD_CORRUPT, { "power of two" } },
    { EXTRA_1, 4, 1 << 28, VD_OK, { NULL } },
    { EXTRA_1, 4, 1 << 29, VD_CORRUPT, { "536870912" } },
    { EXTRA_1, 4, 0xffffffff, VD_CORRUPT, { "4294967295" } },

    { BLOCKS_1, 4, 0, VD_CORRUPT, { "the map 0 blocks" } },
    { BLOCKS_1, 4, 9, VD_CORRUPT, { "40960", "9 blocks" } },
    { BLOCKS_1, 4, 11, VD_OK, { NULL } },
    { BLOCKS_1, 4, 128, VD_OK, { NULL } },
    { BLOCKS_1, 4, 129, VD_CORRUPT, { "ends at byte 1028" } },
    { BLOCKS_1, 4, 0x40000000, VD_TRUNCATED, { "1073741824 entries" } },
    { BLOCKS_1, 4, 0x7fffffff, VD_TRUNCATED, { "2147483647 entries" } },
    { BLOCKS_1, 4, 0xffffffff, VD_TRUNCATED, { "4294967295 entries" } },

    { ALLOCATED_1, 4, 0, VD_OK, { NULL } },
    { ALLOCATED_1, 4, 3, VD_OK, { NULL } },
    { UUID_1, 8, 0, VD_OK, { NULL } },
    { LINK_1, 4, 1, VD_OK, { NULL } },
    { PARENT_MODIFIED_1, 4, 1, VD_OK, { NULL } },
  };
  struct u_image m;

  build (&m, &usual);
  u_check_fields (&m, fields, ARRAY_SIZE (fields));
  u_free (&m);
}

TEST (the_fields_of_version_0_are_checked)
{
  static const struct u_field fields[] = {
    { TYPE_0, 4, 0, VD_UNSUPPORTED, { "type 0 " } },
    { TYPE_0, 4, FIXED, VD_OK, { NULL } },
    { TYPE_0, 4, UNDO, VD_CORRUPT, { "names no parent" } },
    { TYPE_0, 4, DIFF, VD_CORRUPT, { "names no parent" } },
    { TYPE_0, 4, 5, VD_UNSUPPORTED, { "type 5 " } },
    { FLAGS_0, 4, 1, VD_OK, { NULL } },
    { 0x154, 4, 0, VD_OK, { NULL } },   /* nothing is there */
    { 0x158, 4, 0, VD_OK, { NULL } },
    { DISK_0, 8, 0, VD_CORRUPT, { "has 0 bytes" } },
    { DISK_0, 8, 40960, VD_OK, { NULL } },
    { DISK_0, 8, 40961, VD_CORRUPT, { "40961", "10 blocks of 4096" } },
    { DISK_0, 8, UINT64_MAX, VD_CORRUPT, { "18446744073709551615" } },
    { BLOCK_0, 4, 0, VD_CORRUPT, { "block size is 0;" } },
    { BLOCK_0, 4, 2048, VD_CORRUPT, { "2048" } },
    { BLOCK_0, 4, 12288, VD_CORRUPT, { "power of two" } },
    { BLOCK_0, 4, 1 << 28, VD_OK, { NULL } },
    { BLOCK_0, 4, 1 << 29, VD_CORRUPT, { "536870912" } },
    { BLOCKS_0, 4, 9, VD_CORRUPT, { "9 blocks" } },
    { BLOCKS_0, 4, 11, VD_OK, { NULL } },
    { BLOCKS_0, 4, 0x10000, VD_TRUNCATED, { "65536 entries" } },
    { BLOCKS_0, 4, 0xffffffff, VD_TRUNCATED, { "4294967295 entries" } },
    { UUID_0, 8, 0, VD_OK, { NULL } },
    { LINK_0, 4, 1, VD_OK, { NULL } },
  };
  struct shape s = usual;
  struct u_image m;

  s.version = 2;
  build (&m, &s);
  u_check_fields (&m, fields, ARRAY_SIZE (fields));
  u_free (&m);
}

TEST (cut_headers_and_maps_are_refused)
{
  static const size_t sizes[] = {
    0x48, 0x4c, 0x180, 0x1c7, 0x1d7, 0x1d8, 0x1ff, 0x200, 0x227,
  };
  const struct vd_opts opts = { .allow_dirty = false };
  struct u_image m;
  size_t i;

  build (&m, &usual);
  for (i = 0; i < ARRAY_SIZE (sizes); ++i) {
    struct u_image cut = m;
    struct vd_err err;

    cut.mem.size = sizes[i];
    assert_null (u_open (&cut, &opts, &err));
    assert_err (&err, VD_TRUNCATED, "m.vmdk",
                sizes[i] < 0x1a4 ? "at least 420 bytes" : "block map");
  }
  m.mem.size = 0x228;           /* header and map, no more */
  vd_image_close (u_open_ok (&m));
  u_free (&m);
}

TEST (what_was_read_is_told)
{
  struct vd_image *image;
  struct u_image m;

  build (&m, &usual);
  u_put (&m, FLAGS_1, 4, 1);
  u_put (&m, DISK_1, 8, 40000);
  image = u_open_ok (&m);
  assert_ptr_equal (image->fmt, &vd_format_vdi);
  assert_string_equal (image->fmt->name, "VDI");
  assert_int_equal (image->capacity, 40000);
  assert_int_equal (image->used, 40000);
  assert_int_equal (image->grain_size, 4096);
  assert_int_equal (image->version, 0x10001);
  assert_int_equal (image->flags, 1);
  assert_int_equal (image->descriptor_length, 0);
  assert_true (image->linked_by_uuid);
  assert_false (image->compressed);
  assert_false (image->unclean);
  vd_image_close (image);
  u_free (&m);
}

TEST (the_text_does_not_matter)
{
  static const char *const texts[] = {
    "<<< Oracle VM VirtualBox Disk Image >>>\n",
    "<<< QEMU VM Virtual Disk Image >>>\n",
    "# Disk DescriptorFile\nversion=1\nCID=1\n", "",
  };
  struct u_image m;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (texts); ++i) {
    struct vd_image *image;

    build (&m, &usual);
    memset (m.mem.data, 0, 64);
    memcpy (m.mem.data, texts[i], strlen (texts[i]));
    image = u_open_ok (&m);
    assert_ptr_equal (image->fmt, &vd_format_vdi);
    vd_image_close (image);
    u_free (&m);
  }
}

/*------------------------------------------------------------------*/
/* Identity. */

TEST (uuids_are_in_the_order_of_their_text)
{
  static const uint8_t stored[16] = {
    0x7f, 0x72, 0xe3, 0x58, 0x8e, 0xc1, 0x64, 0x46,
    0x97, 0xf0, 0xac, 0x04, 0x6f, 0xe7, 0x45, 0xfd
  };
  static const char text[] = "58e3727f-c18e-4664-97f0-ac046fe745fd";
  unsigned version, i, k;

  for (version = 0; version < 2; ++version) {
    const unsigned first = version ? UUID_1 : UUID_0;

    /* create, modify, linkage, and, since version 1, parent's modify */
    for (i = 0; i < 3 + version; ++i) {
      struct shape s = usual;
      struct vd_link *link;
      struct u_image m;

      s.version = version ? 0x10001 : 2;
      build (&m, &s);
      memset (m.mem.data + first, 0, 16 * (3 + version));
      memcpy (m.mem.data + first + 16 * i, stored, 16);
      link = u_link (&m);
      {
        const uint8_t *const have[] = {
          link->id.image, link->id.modified, link->id.parent,
          link->id.parent_modified,
        };

        for (k = 0; k < ARRAY_SIZE (have); ++k) {
          char t[VD_UUID_TEXT];

          assert_string_equal (vd_uuid_text (t, have[k]), k == i ? text
                               : "00000000-0000-0000-0000-000000000000");
        }
      }
      assert_int_equal (link->role, i == 2 ? VD_ROLE_CHILD : VD_ROLE_BASE);
      vd_link_close (link);
      u_free (&m);
    }
  }
}

TEST (the_link_decides_and_not_the_type)
{
  uint32_t type;

  for (type = NORMAL; type <= DIFF; ++type) {
    struct u_log log;
    const struct vd_opts opts = u_opts (&log);
    struct shape s = usual;
    struct vd_link *link;
    struct u_image m;

    s.child = true;
    s.type = type;
    build (&m, &s);
    link = u_link_file (u_memory ("m.vmdk", m.mem.data, m.mem.size), &opts);
    assert_int_equal (link->role, VD_ROLE_CHILD);
    assert_null (link->descriptor);
    if (type == NORMAL) {
      assert_int_equal (log.n, 1);
      assert_text (log.text, "m.vmdk: its type is 'normal', but it has a "
                   "parent; using the parent");
    }
    else
      assert_int_equal (log.n, 0);
    vd_link_close (link);
    u_free (&m);
  }
}

TEST (a_changed_parent_is_warned_of)
{
  static const struct { uint8_t now, then; bool warned; } t[] = {
    { 1, 1, false }, { 1, 2, true }, { 0, 2, false }, { 1, 0, false },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    struct u_log log;
    const struct vd_opts opts = u_opts (&log);
    struct shape s[2] = { usual, usual };
    struct vd_link *links[2];
    struct u_image m[2];
    struct vd_err err;

    s[1].child = true;
    s[1].seed = 1;
    build (&m[0], &s[0]);
    build (&m[1], &s[1]);
    memset (m[0].mem.data + UUID_1 + 16, t[i].now, 16);
    memset (m[1].mem.data + PARENT_MODIFIED_1, t[i].then, 16);
    links[0] = u_link (&m[0]);
    links[1] = u_link (&m[1]);
    assert_int_equal (vd_chain_check_pair (links[1], links[0], &opts, &err),
                      0);
    assert_int_equal (log.n, t[i].warned);
    if (t[i].warned) {
      assert_text (log.text, "was changed after");
      assert_text (log.text, "01010101-0101-0101-0101-010101010101");
      assert_text (log.text, "02020202-0202-0202-0202-020202020202");
    }
    vd_link_close (links[0]);
    vd_link_close (links[1]);
    u_free (&m[0]);
    u_free (&m[1]);
  }
}

/*------------------------------------------------------------------*/
/* The map. */

TEST (entries_mean_what_they_should)
{
  static const uint32_t below[] = { 0, 1, 2, FREE, FREE, FREE, ZERO, ZERO,
                                    ZERO };
  static const uint32_t above[] = { FREE, ZERO, 0, FREE, ZERO, 1, FREE, ZERO,
                                    2 };
  const struct shape s[2] = {
    { .nr_blocks = 9, .map = below, .nr_stored = 3 },
    { .nr_blocks = 9, .map = above, .nr_stored = 3, .seed = 1, .child = true },
  };
  struct vd_image *image;
  struct u_image m;

  build (&m, &s[1]);
  image = u_open_ok (&m);
  assert_kind (image, 0, VD_BASE);
  assert_kind (image, BLOCK - 1, VD_BASE);
  assert_kind (image, BLOCK, VD_ZERO);
  assert_kind (image, 2 * BLOCK - 1, VD_ZERO);
  assert_kind (image, 2 * BLOCK, VD_DATA);
  assert_int_equal (u_run (image, 2 * BLOCK + 9).where, 0x1d8 + 36 + 9);
  assert_kind (image, 3 * BLOCK, VD_BASE);
  vd_image_close (image);
  u_free (&m);

  check_stack (s, 1);
  check_stack (s, 2);
}

/* A block of the child is complete, whatever the sizes of blocks below. */
TEST (stacks_may_mix_block_sizes)
{
  static const uint32_t large[] = { 1, 0, FREE };
  static const uint32_t small[] = { FREE, 0, ZERO, FREE, 2, FREE, FREE, FREE,
                                    FREE, 1, FREE, ZERO };
  const struct shape s[] = {
    { .block = 16384, .nr_blocks = 3, .map = large, .nr_stored = 2 },
    { .nr_blocks = 12, .map = small, .nr_stored = 3, .seed = 1,
      .child = true, .extra = 512 },
    { .block = 8192, .nr_blocks = 6, .nr_stored = 1, .seed = 2,
      .map = (const uint32_t[]) { FREE, FREE, 0, FREE, FREE, ZERO },
      .child = true, .version = 2 },
  };

  check_stack (s, 2);
  check_stack (s, 3);
}

TEST (all_block_sizes_are_read)
{
  static const uint32_t sizes[] = { 4096, 8192, 65536, 1 << 20, 4 << 20 };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (sizes); ++i) {
    const struct shape s = {
      .block = sizes[i], .nr_blocks = 5, .nr_stored = 3,
      .map = (const uint32_t[]) { 2, FREE, 0, 1, ZERO },
    };

    check_stack (&s, 1);
  }
}

TEST (extra_bytes_are_skipped)
{
  static const uint32_t extra[] = { 1, 2, 512, 4096, 65536 };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (extra); ++i) {
    struct shape s = usual;
    struct vd_image *image;
    struct u_image m;

    s.extra = extra[i];
    check_stack (&s, 1);
    build (&m, &s);
    image = u_open_ok (&m);     /* block 0 is stored as 3 */
    assert_int_equal (u_run (image, 5).where,
                      0x400 + 3 * (BLOCK + extra[i]) + extra[i] + 5);
    vd_image_close (image);
    u_free (&m);
  }
}

TEST (disks_of_all_sizes_are_read)
{
  static const uint64_t sizes[] = {
    1, 511, 512, 513, 4095, 4096, 4097, 5000, 8191, 8192, 39000, 40959, 40960,
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (sizes); ++i) {
    struct shape s = usual;     /* the map is longer than it has to be */

    s.disk = sizes[i];
    check_stack (&s, 1);
  }
}

TEST (disks_of_different_sizes_are_stacked)
{
  struct shape s[2] = { usual, usual };

  s[1].seed = 1;
  s[1].child = true;
  s[0].disk = 5 * BLOCK + 1000; /* the parent ends: zeros */
  check_stack (s, 2);
  s[0].disk = 0;
  s[1].disk = 5 * BLOCK + 1000;
  check_stack (s, 2);
}

TEST (any_order_and_duplicates_are_read)
{
  static const uint32_t maps[][8] = {
    { 0, 1, 2, 3, 4, 5, 6, 7 }, { 7, 6, 5, 4, 3, 2, 1, 0 },
    { 1, 0, 3, 2, 5, 4, 7, 6 }, { 3, 3, 3, 3, 0, 0, 7, 7 },
    { 6, 7, FREE, 0, 1, ZERO, 1, 2 },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (maps); ++i) {
    struct shape s = { .nr_blocks = 8, .map = maps[i], .nr_stored = 8 };

    check_stack (&s, 1);
    s.type = FIXED;
    check_stack (&s, 1);
  }
}

/* More entries than are read at a time. */
TEST (long_maps_are_read)
{
  enum { N = 9000 };
  uint32_t *map = malloc (N * sizeof *map);
  const struct shape s = { .nr_blocks = N, .map = map, .nr_stored = 9 };
  static const unsigned at[] = { 0, 1, 4094, 4095, 4096, 4097, 8191, 8192,
                                 N - 1 };
  struct vd_runs runs = VD_RUNS_INIT (1000);
  const struct vd_out out = { .runs = &runs };
  struct vd_image *image;
  struct u_image m;
  struct vd_err err;
  uint64_t pos = 0;
  size_t i;

  assert_non_null (map);
  for (i = 0; i < N; ++i)
    map[i] = i > 5000 ? ZERO : FREE;
  for (i = 0; i < ARRAY_SIZE (at); ++i)
    map[at[i]] = 8 - i;
  check_stack (&s, 1);

  build (&m, &s);
  image = u_open_ok (&m);
  assert_int_equal (image->fmt->map (image, 0, image->capacity, &out, &err),
                    0);
  for (i = 0; i < runs.n; ++i) {
    assert_int_equal (runs.run[i].offset, pos);
    pos += runs.run[i].length;
  }
  assert_int_equal (pos, image->capacity);
  /* 0, 1, hole, four, hole, zeros, two, zeros, last; data runs are single */
  assert_int_equal (runs.n, 2 + 1 + 4 + 1 + 1 + 2 + 1 + 1);
  vd_runs_free (&runs);
  vd_image_close (image);
  u_free (&m);
  free (map);
}

/* A list with room for less gets a prefix. */
TEST (a_full_list_holds_a_prefix)
{
  struct vd_image *image;
  struct u_image m;
  size_t max;

  build (&m, &usual);
  image = u_open_ok (&m);
  for (max = 1; max <= 10; ++max) {
    struct vd_runs runs = VD_RUNS_INIT (max);
    const struct vd_out out = { .runs = &runs, .bias = 1 << 20, .slot = 3 };
    struct vd_err err;

    assert_int_equal (image->fmt->map (image, 100, 40000, &out, &err), 0);
    assert_true (runs.n >= 1 && runs.n <= max);
    assert_int_equal (runs.run[0].offset, (1 << 20) + 100);
    assert_int_equal (runs.run[0].length, BLOCK - 100);
    assert_int_equal (runs.run[0].where, 0x400 + 3 * BLOCK + 100);
    assert_int_equal (runs.run[0].slot, 3);
    if (max == 10)
      assert_int_equal (vd_run_end (&runs.run[runs.n - 1]),
                        (1 << 20) + 40100);
    else if (max < 8)
      assert_int_equal (runs.n, max);
    vd_runs_free (&runs);
  }
  vd_image_close (image);
  u_free (&m);
}

/* Random stacks. */
TEST (random_stacks_are_read)
{
  struct mk_rng rng;
  unsigned round;
  size_t i;
  uint32_t k;

  mk_rng_seed (&rng, 20);
  for (round = 0; round < 150; ++round) {
    static const uint32_t versions[] = { 0x10001, 0x10001, 2 };
    uint32_t maps[4][64];
    struct shape s[4];
    struct u_image m[4];
    struct u_disk d;
    const size_t n = 1 + mk_rng_below (&rng, 4);

    memset (s, 0, sizeof s);
    for (i = 0; i < n; ++i) {
      s[i].version = versions[mk_rng_below (&rng, 3)];
      s[i].header = mk_rng_chance (&rng, 500) ? 0x180 : 0x190;
      s[i].block = BLOCK << mk_rng_below (&rng, 3);
      if (s[i].version >> 16 && mk_rng_chance (&rng, 300))
        s[i].extra = 1u << mk_rng_below (&rng, 12);
      s[i].nr_blocks = 1 + (uint32_t) mk_rng_below (&rng, 64);
      s[i].nr_stored = (uint32_t) mk_rng_below (&rng, 20);
      s[i].disk = 1 + mk_rng_below (&rng,
                                    (uint64_t) s[i].nr_blocks * s[i].block);
      s[i].seed = (uint8_t) i;
      s[i].child = i > 0;
      s[i].map = maps[i];
      for (k = 0; k < s[i].nr_blocks; ++k)
        maps[i][k] = mk_rng_chance (&rng, 600) ? FREE
          : s[i].nr_stored == 0 || mk_rng_chance (&rng, 200) ? ZERO
          : (uint32_t) mk_rng_below (&rng, s[i].nr_stored);
    }
    open_stack (&d, m, s, n);
    compare (&d, s, n, 0, (size_t) d.chain->size);
    for (k = 0; k < 20; ++k) {
      const uint64_t from = mk_rng_below (&rng, d.chain->size);

      compare (&d, s, n, from,
               (size_t) (1 + mk_rng_below (&rng, d.chain->size - from)));
    }
    close_stack (&d, m, n);
  }
}

/*------------------------------------------------------------------*/
/* Damage. */

TEST (a_number_out_of_the_file_fails_that_block_only)
{
  static const uint32_t bad[] = { 5, 6, 1000, 0x7fffffff, 0x80000000,
                                  0xfffffffd };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (bad); ++i) {
    struct shape s = usual;
    struct vd_image *image;
    uint32_t map[10];
    char number[80];
    struct u_image m;
    struct u_disk d;

    memcpy (map, mixed, sizeof map);
    map[4] = bad[i];
    s.map = map;
    build (&m, &s);
    image = u_open_ok (&m);
    snprintf (number, sizeof number, "block 4 is stored at %lu, but the file "
              "has only 5 blocks", (unsigned long) bad[i]);
    assert_damaged (image, 4 * BLOCK, VD_TRUNCATED, number);
    assert_damaged (image, 5 * BLOCK - 1, VD_TRUNCATED, number);
    assert_kind (image, 4 * BLOCK - 1, VD_ZERO);
    assert_kind (image, 5 * BLOCK, VD_DATA);
    vd_image_close (image);

    u_disk_open_one (&d, &m, NULL);
    compare (&d, &s, 1, 0, 4 * BLOCK);
    compare (&d, &s, 1, 5 * BLOCK, 5 * BLOCK);
    assert_unreadable (&d, 4 * BLOCK, 1, VD_TRUNCATED, "m.vmdk", number);
    assert_unreadable (&d, 5 * BLOCK - 1, 2, VD_TRUNCATED, number);
    assert_unreadable (&d, 0, 10 * BLOCK, VD_TRUNCATED, number);
    compare (&d, &s, 1, 5 * BLOCK, 1);
    u_disk_close (&d);
    u_free (&m);
  }
}

TEST (damage_below_does_not_matter_where_it_is_covered)
{
  static const uint32_t below[] = { 7, 0, 0xfffffffd, 9 };
  static const uint32_t above[] = { 0, FREE, ZERO, FREE };
  const struct shape s[2] = {
    { .nr_blocks = 4, .map = below, .nr_stored = 1 },
    { .nr_blocks = 4, .map = above, .nr_stored = 1, .seed = 1, .child = true },
  };
  struct u_image m[2];
  struct u_disk d;

  open_stack (&d, m, s, 2);
  compare (&d, s, 2, 0, 3 * BLOCK);
  assert_unreadable (&d, 3 * BLOCK, 1, VD_TRUNCATED, "block 3 is stored at 9",
                     "only 1 blocks");
  close_stack (&d, m, 2);
}

TEST (a_file_without_any_block_is_damaged_where_it_should_have_one)
{
  struct shape s = usual;
  struct vd_image *image;
  struct u_image m;

  build (&m, &s);
  u_put (&m, DATA_1, 4, 0xffffffff);
  image = u_open_ok (&m);
  assert_damaged (image, 0, VD_TRUNCATED, "block 0 is stored at 3",
                  "only 0 blocks");
  assert_kind (image, BLOCK, VD_BASE);
  assert_kind (image, 3 * BLOCK, VD_ZERO);
  vd_image_close (image);
  u_free (&m);
}

/* Block 4 of the disk is stored last, and the file ends in it. */
TEST (a_block_that_is_cut_is_read_as_far_as_it_is_there)
{
  struct shape s = usual;
  struct u_image m;
  struct u_disk d;

  s.cut = 1024;
  build (&m, &s);
  u_disk_open_one (&d, &m, NULL);
  compare (&d, &s, 1, 0, 5 * BLOCK - 1024);
  compare (&d, &s, 1, 5 * BLOCK, 5 * BLOCK);
  assert_unreadable (&d, 5 * BLOCK - 1024, 1, VD_TRUNCATED, "m.vmdk",
                     "block 4 is at byte 17408 and has 4096 bytes",
                     "ends at byte 20480", "truncated");
  assert_unreadable (&d, 4 * BLOCK, BLOCK, VD_TRUNCATED, "block 4");
  u_disk_close (&d);
  u_free (&m);

  /* only its extra bytes are there */
  s.extra = 512;
  s.cut = 4096;
  build (&m, &s);
  u_disk_open_one (&d, &m, NULL);
  compare (&d, &s, 1, 0, 4 * BLOCK);
  compare (&d, &s, 1, 5 * BLOCK, 5 * BLOCK);
  assert_unreadable (&d, 4 * BLOCK, 1, VD_TRUNCATED, "truncated");
  u_disk_close (&d);
  u_free (&m);

  /* nor all of these */
  s.cut = 4096 + 511;
  build (&m, &s);
  u_disk_open_one (&d, &m, NULL);
  compare (&d, &s, 1, 0, 4 * BLOCK);
  assert_unreadable (&d, 4 * BLOCK, 1, VD_TRUNCATED, "truncated");
  u_disk_close (&d);
  u_free (&m);
}

/* The sector in which the file ends is damaged, also for those who ask only
 * for a part of it that is there.  (Found by fuzzing.)
 */
TEST (a_cut_sector_is_damaged_in_all_its_parts)
{
  const uint64_t cut = 5 * BLOCK - 1024;
  struct shape s = usual;
  struct u_image m;
  struct u_disk d;
  uint64_t from, n;

  s.cut = 1024 - 300;
  build (&m, &s);
  u_disk_open_one (&d, &m, NULL);
  for (from = cut - 2; from < cut + 300; from += 57)
    for (n = 1; n < 700; n += 49) {
      const uint64_t data = from < cut ? vd_min (n, cut - from) : 0;
      struct vd_runs runs = VD_RUNS_INIT (4);
      struct vd_err err;

      assert_int_equal (vd_chain_map (d.chain, from, n, &runs, &err), 0);
      assert_int_equal (runs.n, (data > 0) + (data < n));
      assert_int_equal (runs.run[runs.n - 1].kind,
                        data < n ? VD_DAMAGED : VD_DATA);
      assert_int_equal (runs.run[runs.n - 1].length,
                        data < n ? n - data : n);
      vd_runs_free (&runs);
    }
  u_disk_close (&d);
  u_free (&m);
}

/* Nobody needs what lies behind the end of the disk. */
TEST (the_last_block_may_end_with_the_disk)
{
  static const uint64_t sizes[] = { 9 * 4096 + 512, 9 * 4096 + 700,
                                    9 * 4096 + 1 };
  static const uint32_t map[] = { 0, FREE, 1, FREE, 2, 3, FREE, FREE, ZERO,
                                  4 };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (sizes); ++i) {
    struct shape s = usual;
    struct u_image m;
    struct u_disk d;

    s.map = map;
    s.disk = sizes[i];
    s.cut = 10 * 4096 - sizes[i];
    check_stack (&s, 1);

    s.cut++;
    build (&m, &s);
    u_disk_open_one (&d, &m, NULL);
    compare (&d, &s, 1, 0, 9 * BLOCK);
    assert_unreadable (&d, sizes[i] - 1, 1, VD_TRUNCATED, "m.vmdk",
                       "block ");
    u_disk_close (&d);
    u_free (&m);
  }
}

TEST (a_map_that_cannot_be_read_fails_and_recovers)
{
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_link *link;
  struct u_image m;
  struct u_spy *spy;
  struct u_disk d;

  build (&m, &usual);
  spy = u_spy (u_memory ("m.vmdk", m.mem.data, m.mem.size));
  link = u_link_file (&spy->file, &opts);
  u_disk_open (&d, &link, 1, NULL, VD_MAP_DEFAULT_BUDGET);
  spy->bad = 0x200;
  spy->bad_end = 0x228;
  assert_unreadable (&d, 0, 10, VD_IO, "m.vmdk", "on purpose");
  spy->bad_end = 0;
  compare (&d, &usual, 1, 0, 10 * BLOCK);
  u_disk_close (&d);
  u_free (&m);
}

/*------------------------------------------------------------------*/

static void
put (int fd, const void *buf, size_t n, uint64_t offset)
{
  assert_int_equal (pwrite (fd, buf, n, (off_t) offset), (ssize_t) n);
}

/* A disk of 8 TiB; blocks stored above 4 GiB. */
TEST (large_disks_are_read)
{
  enum { N = 8 << 20 };
  const uint64_t data = 64 * MIB;
  static const struct { uint32_t block, stored; } t[] = {
    { 0, 1 }, { 5000000, 4096 }, { N - 1, 9000 },
  };
  uint8_t *map = malloc (N * 4), entry[4], text[8] = "";
  const struct shape s = {
    .block = 1 << 20, .nr_blocks = 0, .map_offset = 1 << 20,
    .data_offset = 64 << 20,
  };
  const struct vd_opts opts = { .allow_dirty = false };
  struct vd_link *link;
  struct vd_file *file;
  struct vd_err err;
  struct u_image m;
  struct u_disk d;
  size_t i;
  int fd;

  assert_non_null (map);
  memset (map, 0xff, N * 4);
  build (&m, &s);
  u_put (&m, DISK_1, 8, (uint64_t) N << 20);
  u_put (&m, BLOCKS_1, 4, N);
  fd = open ("large.vdi", O_RDWR | O_CREAT | O_TRUNC, 0600);
  assert_true (fd >= 0);
  put (fd, m.mem.data, 0x1d8, 0);
  put (fd, map, N * 4, 1 << 20);
  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    entry[0] = (uint8_t) t[i].stored;
    entry[1] = (uint8_t) (t[i].stored >> 8);
    entry[2] = entry[3] = 0;
    put (fd, entry, 4, (1 << 20) + (uint64_t) t[i].block * 4);
    snprintf ((char *) text, sizeof text, "here %zu", i);
    put (fd, text, sizeof text, data + ((uint64_t) t[i].stored << 20) + 12345);
  }
  assert_int_equal (ftruncate (fd, (off_t) (data + (UINT64_C (9001) << 20))),
                    0);
  close (fd);

  file = vd_file_open ("large.vdi", &err);
  assert_opened (file, &err);
  link = u_link_file (file, &opts);
  u_disk_open (&d, &link, 1, NULL, VD_MAP_DEFAULT_BUDGET);
  assert_int_equal (d.chain->size, (uint64_t) N << 20);
  for (i = 0; i < ARRAY_SIZE (t); ++i) {
    uint8_t have[8];

    snprintf ((char *) text, sizeof text, "here %zu", i);
    assert_int_equal (vd_read (d.reader, &d.base, have, 8,
                               ((uint64_t) t[i].block << 20) + 12345, &err),
                      0);
    assert_memory_equal (have, text, 8);
    assert_int_equal (vd_read (d.reader, &d.base, have, 8,
                               ((uint64_t) (t[i].block ^ 1) << 20) + 12345,
                               &err), 0);
    assert_memory_equal (have, "\0\0\0\0\0\0\0\0", 8);
  }
  u_disk_close (&d);
  u_free (&m);
  free (map);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (all_versions_are_read),
    cmocka_unit_test (the_fields_of_version_1_are_checked),
    cmocka_unit_test (the_fields_of_version_0_are_checked),
    cmocka_unit_test (cut_headers_and_maps_are_refused),
    cmocka_unit_test (what_was_read_is_told),
    cmocka_unit_test (the_text_does_not_matter),
    cmocka_unit_test (uuids_are_in_the_order_of_their_text),
    cmocka_unit_test (the_link_decides_and_not_the_type),
    cmocka_unit_test (a_changed_parent_is_warned_of),
    cmocka_unit_test (entries_mean_what_they_should),
    cmocka_unit_test (stacks_may_mix_block_sizes),
    cmocka_unit_test (all_block_sizes_are_read),
    cmocka_unit_test (extra_bytes_are_skipped),
    cmocka_unit_test (disks_of_all_sizes_are_read),
    cmocka_unit_test (disks_of_different_sizes_are_stacked),
    cmocka_unit_test (any_order_and_duplicates_are_read),
    cmocka_unit_test (long_maps_are_read),
    cmocka_unit_test (a_full_list_holds_a_prefix),
    cmocka_unit_test (random_stacks_are_read),
    cmocka_unit_test (a_number_out_of_the_file_fails_that_block_only),
    cmocka_unit_test (damage_below_does_not_matter_where_it_is_covered),
    cmocka_unit_test (
      a_file_without_any_block_is_damaged_where_it_should_have_one),
    cmocka_unit_test (a_block_that_is_cut_is_read_as_far_as_it_is_there),
    cmocka_unit_test (a_cut_sector_is_damaged_in_all_its_parts),
    cmocka_unit_test (the_last_block_may_end_with_the_disk),
    cmocka_unit_test (a_map_that_cannot_be_read_fails_and_recovers),
    tmpdir_test (large_disks_are_read),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
