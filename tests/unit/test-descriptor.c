/* The text descriptor: good texts beside bad ones. */

#include "unit.h"

#define EXTENT "RW 100 VMFSSPARSE \"a-delta.vmdk\"\n"

static struct vd_descriptor *
parse_n (const char *text, size_t n, struct vd_err *err)
{
  return vd_descriptor_parse (text, n, "d.vmdk", NULL, err);
}

static struct vd_descriptor *
parse (const char *text)
{
  struct vd_err err;
  struct vd_descriptor *d = parse_n (text, strlen (text), &err);

  assert_opened (d, &err);
  return d;
}

struct bad {
  const char *text;
  enum vd_code code;
  const char *part[3];
};

static void
check_bad (const struct bad *bad, size_t n)
{
  size_t i, k;

  for (i = 0; i < n; ++i) {
    struct vd_err err = { .code = VD_OK };
    struct vd_descriptor *d
      = parse_n (bad[i].text, strlen (bad[i].text), &err);

    if (d || err.code != bad[i].code) {
      print_error ("case %zu: '%s': code %d: %s\n", i, bad[i].text, err.code,
                   d ? "parsed" : err.msg);
      fail ();
    }
    assert_err (&err, bad[i].code, "d.vmdk");
    for (k = 0; k < ARRAY_SIZE (bad[i].part) && bad[i].part[k]; ++k)
      assert_text (err.msg, bad[i].part[k]);
  }
}
#define CHECK_BAD(bad) check_bad (bad, ARRAY_SIZE (bad))

/* Texts that all say the same. */
static void
is_usual (const char *text, size_t n)
{
  struct vd_err err;
  struct vd_descriptor *d = parse_n (text, n, &err);

  if (!d) {
    print_error ("'%.*s': %s\n", (int) n, text, err.msg);
    fail ();
  }
  assert_int_equal (d->version, 1);
  assert_true (d->has_cid);
  assert_true (d->has_parent_cid);
  assert_int_equal (d->cid, 0x8f67ca74);
  assert_int_equal (d->parent_cid, 0x0172e8a4);
  assert_string_equal (vd_descriptor_get (d, "parentfilenamehint"),
                       "Base Disk.vmdk");
  assert_string_equal (vd_descriptor_get (d, "ddb.adaptertype"), "LSI logic");
  assert_int_equal (d->capacity, 300 * 512);
  assert_int_equal (d->nr_extents, 2);
  assert_int_equal (d->extents[0].type, VD_EXTENT_SPARSE);
  assert_int_equal (d->extents[0].access, VD_RW);
  assert_int_equal (d->extents[0].length, 100 * 512);
  assert_string_equal (d->extents[0].name, "A b-delta.vmdk");
  assert_int_equal (d->extents[1].type, VD_EXTENT_FLAT);
  assert_int_equal (d->extents[1].access, VD_RDONLY);
  assert_int_equal (d->extents[1].length, 200 * 512);
  assert_int_equal (d->extents[1].offset, 5 * 512);
  assert_string_equal (d->extents[1].name, "A-flat.vmdk");
  vd_descriptor_free (d);
}

TEST (ways_to_write_the_same)
{
  static const char *const texts[] = {
    /* as VMware does it */
    "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=8f67ca74\n"
    "parentCID=0172e8a4\nisNativeSnapshot=\"no\"\ncreateType=\"vmfsSparse\"\n"
    "parentFileNameHint=\"Base Disk.vmdk\"\n\n# Extent description\n"
    "RW 100 VMFSSPARSE \"A b-delta.vmdk\"\n"
    "RDONLY 200 FLAT \"A-flat.vmdk\" 5\n\n# The Disk Data Base \n#DDB\n\n"
    "ddb.adapterType = \"LSI logic\"\n",
    /* lower case */
    "version=1\ncid=8f67ca74\nparentcid=0172e8a4\n"
    "parentfilenamehint=\"Base Disk.vmdk\"\nrw 100 vmfssparse "
    "\"A b-delta.vmdk\"\nrdonly 200 flat \"A-flat.vmdk\" 5\n"
    "ddb.adaptertype=\"LSI logic\"\n",
    /* upper case, order, no final newline */
    "DDB.ADAPTERTYPE=\"LSI logic\"\nRW 100 VMFSSPARSE \"A b-delta.vmdk\"\n"
    "PARENTCID=0172E8A4\nPARENTFILENAMEHINT=\"Base Disk.vmdk\"\n"
    "CID=8F67CA74\nRDONLY 200 FLAT \"A-flat.vmdk\" 5",
    /* CRLF, the last line without LF */
    "version=1\r\nCID=8f67ca74\r\nparentCID=0172e8a4\r\n\r\n"
    "parentFileNameHint=\"Base Disk.vmdk\"\r\n"
    "RW 100 VMFSSPARSE \"A b-delta.vmdk\"\r\n"
    "RDONLY 200 FLAT \"A-flat.vmdk\" 5\r\nddb.adapterType=\"LSI logic\"\r",
    /* blanks wherever they can be; 32 bits without leading zeros */
    "  version = 1 \n\tCID\t=\t8f67ca74\t\nparentCID   =   172e8a4  \n"
    "parentFileNameHint = \"Base Disk.vmdk\"  \n  # comment\n   \n\t\n"
    " RW  100  VMFSSPARSE  \"A b-delta.vmdk\" \n"
    "\tRDONLY\t200\tFLAT\t\"A-flat.vmdk\"\t5\t\n"
    "ddb.adapterType = \"LSI logic\"",
    /* the letters of keys elsewhere; keys that nobody knows; bare values */
    "# CID=11111111 parentCID=22222222\n#parentFileNameHint=\"other\"\n"
    "# RW 999 ZERO\nx.CID=\"33333333\"\nmyCID=44444444\nlongContentID=CID\n"
    "CID=8f67ca74\nnote=\"CID=55555555\"\nparentCID=0172e8a4\nversion=1\n"
    "parentFileNameHint=Base Disk.vmdk\nRW 100 SPARSE \"A b-delta.vmdk\"\n"
    "RDONLY 200 VMFS \"A-flat.vmdk\" 5 partition device:1\n"
    "changeTrackPath=\"a-ctk.vmdk\"\nddb.adapterType=LSI logic\nempty=\n",
    /* a file in Latin-1 or Shift_JIS is text too */
    "CID=8f67ca74\nparentCID=0172e8a4\nddb.comment=\"\xe9\x83\x5c\"\n"
    "parentFileNameHint=\"Base Disk.vmdk\"\n"
    "RW 100 SESPARSE \"A b-delta.vmdk\"\nRDONLY 200 FLAT \"A-flat.vmdk\" 5\n"
    "ddb.adapterType=\"LSI logic\"\n",
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (texts); ++i) {
    const size_t n = strlen (texts[i]);
    char *padded = calloc (n + 1000, 1);

    is_usual (texts[i], n);
    memcpy (padded, texts[i], n);       /* NULs behind, and what follows */
    strcpy (padded + n + 500, "\nRW 1 ZERO\n");
    is_usual (padded, n + 1000);
    free (padded);
  }
}

TEST (the_makers_styles_all_parse)
{
  const struct mk_line lines[] = {
    { NULL, 100, "VMFSSPARSE", "A b-delta.vmdk", -1 },
    { "RDONLY", 200, "FLAT", "A-flat.vmdk", 5 },
  };
  unsigned style;

  for (style = 0; style < 0x800; ++style) {
    const struct mk_descriptor spec = {
      .lines = lines, .n_lines = 2, .cid = 0x8f67ca74,
      .parent_cid = 0x0172e8a4, .hint = "b", .create_type = "custom",
      .style = style,
    };
    struct vd_descriptor *d;
    struct vd_err err;
    size_t n;
    char *text = mk_descriptor (&spec, &n);

    d = parse_n (text, n, &err);
    assert_opened (d, &err);
    assert_int_equal (d->cid, 0x8f67ca74);
    assert_int_equal (d->parent_cid, 0x0172e8a4);
    assert_int_equal (d->nr_extents, 2);
    assert_int_equal (d->capacity, 300 * 512);
    assert_int_equal (d->extents[1].offset, 5 * 512);
    vd_descriptor_free (d);
    free (text);
  }
}

TEST (what_is_not_said_has_its_default)
{
  struct vd_descriptor *d = parse (EXTENT);

  assert_int_equal (d->version, 1);
  assert_false (d->has_cid);
  assert_false (d->has_parent_cid);
  assert_int_equal (d->parent_cid, VD_NO_PARENT);
  assert_null (vd_descriptor_get (d, "cid"));
  assert_int_equal (d->extents[0].offset, 0);
  assert_int_equal (d->extents[0].line, 1);
  assert_string_equal (d->extents[0].type_text, "VMFSSPARSE");
  vd_descriptor_free (d);
}

TEST (content_ids_are_32_bit_numbers)
{
  static const struct { const char *text; uint32_t value; } good[] = {
    { "0", 0 }, { "7", 7 }, { "00000000", 0 }, { "fffffffe", 0xfffffffe },
    { "FFFFFFFF", 0xffffffff }, { "1234abcd", 0x1234abcd },
    { "\"bb\"", 0xbb },
  };
  static const struct bad bad[] = {
    { "CID=\n" EXTENT, VD_CORRUPT, { "line 1", "''", "32-bit hexadecimal" } },
    { "\nCID=xyz\n" EXTENT, VD_CORRUPT, { "line 2", "'xyz'" } },
    { "CID=123456789\n" EXTENT, VD_CORRUPT, { "'123456789'" } },
    { "CID=0x12\n" EXTENT, VD_CORRUPT, { "'0x12'" } },
    { "CID=-1\n" EXTENT, VD_CORRUPT, { "'-1'" } },
    { "CID=12 34\n" EXTENT, VD_CORRUPT, { "'12 34'" } },
    { "parentCID=g\n" EXTENT, VD_CORRUPT, { "parentcid", "'g'" } },
  };
  char text[200];
  size_t i;

  for (i = 0; i < ARRAY_SIZE (good); ++i) {
    struct vd_descriptor *d;

    snprintf (text, sizeof text, "CID=%s\nparentCID=%s\n" EXTENT,
              good[i].text, good[i].text);
    d = parse (text);           /* equal ones are a child without changes */
    assert_int_equal (d->cid, good[i].value);
    assert_int_equal (d->parent_cid, good[i].value);
    vd_descriptor_free (d);
  }
  CHECK_BAD (bad);
}

TEST (what_decides_stands_once)
{
  static const struct bad bad[] = {
    { "CID=1\nCID=2\n" EXTENT, VD_CORRUPT,
      { "line 2: cid appears twice", "'2' here, and '1' in line 1" } },
    { "parentCID=1\n" EXTENT "PARENTCID=2\n", VD_CORRUPT,
      { "line 3: parentcid appears twice", "line 1" } },
    { "parentFileNameHint=\"a\"\n" EXTENT "parentFileNameHint=\"A\"\n",
      VD_CORRUPT, { "line 3: parentfilenamehint appears twice" } },
    { "createType=\"vmfs\"\ncreateType=\"custom\"\n" EXTENT, VD_CORRUPT,
      { "createtype appears twice" } },
    { "ddb.uuid.parent=\"a\"\nddb.uuid.parent=\"b\"\n" EXTENT, VD_CORRUPT,
      { "line 2: ddb.uuid.parent appears twice" } },
    { "CID=1\nCID=1\nCID=2\n" EXTENT, VD_CORRUPT,
      { "line 3: cid appears twice" } },
  };
  struct vd_descriptor *d;
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_err err;
  static const char same[]
    = "CID=00ab\nCID=AB\nparentCID=1\nparentCID = \"1\"\n"
    "createType=\"vmfs\"\ncreateType=\"VMFS\"\n"
    "ddb.uuid.image=\"622a0911-bc78-4b7a-a6ec-7359a068de8a\"\n"
    "ddb.uuid.image=\"{622A0911-BC78-4B7A-A6EC-7359A068DE8A}\"\n"
    "parentFileNameHint=\"a\"\nparentFileNameHint=\"a\"\n" EXTENT;

  CHECK_BAD (bad);
  d = vd_descriptor_parse (same, sizeof same, "d.vmdk", &opts.log, &err);
  assert_opened (d, &err);
  assert_int_equal (d->cid, 0xab);
  assert_int_equal (log.n, 5);
  assert_text (log.text, "line 2: cid appears twice, with the same value (also "
               "in line 1)");
  vd_descriptor_free (d);
  d = parse ("ddb.x=\"1\"\nddb.x=\"2\"\n" EXTENT);
  assert_string_equal (vd_descriptor_get (d, "ddb.x"), "1");
  assert_int_equal (d->nr_keys, 2);
  vd_descriptor_free (d);
}

/* Behind so many keys, not all are kept: but one that differs is. */
TEST (what_differs_is_found_behind_many_keys)
{
  char *text = malloc (20000), *p = text;
  struct vd_descriptor *d;
  struct vd_err err;
  unsigned i;

  for (i = 0; i < 300; ++i)
    p += sprintf (p, "CID=1\nx%u=1\n", i);
  p += sprintf (p, EXTENT);
  d = parse (text);
  assert_int_equal (d->cid, 1);
  vd_descriptor_free (d);
  sprintf (p, "CID=2\nCID=2\n");
  assert_null (parse_n (text, strlen (text), &err));
  assert_err (&err, VD_CORRUPT, "cid appears twice", "'2' here, and '1'");
  free (text);
}

TEST (versions_1_to_4_are_read)
{
  static const struct bad bad[] = {
    { "version=0\n" EXTENT, VD_UNSUPPORTED, { "line 1", "'0'", "1 to 4" } },
    { "version=5\n" EXTENT, VD_UNSUPPORTED, { "'5'" } },
    { "version=1.1\n" EXTENT, VD_UNSUPPORTED, { "'1.1'" } },
    { "version=\n" EXTENT, VD_UNSUPPORTED, { "''" } },
    { "version=99999999999999999999\n" EXTENT, VD_UNSUPPORTED,
      { "'99999999999999999999'" } },
  };
  unsigned v;

  for (v = 1; v <= 4; ++v) {
    struct vd_descriptor *d;
    char text[100];

    snprintf (text, sizeof text, "version=%u\n" EXTENT, v);
    d = parse (text);
    assert_int_equal (d->version, v);
    vd_descriptor_free (d);
  }
  CHECK_BAD (bad);
}

TEST (every_extent_line_counts_or_is_refused)
{
  static const struct bad bad[] = {
    { "", VD_CORRUPT, { "no extent line" } },
    { "CID=1\n# RW 100 FLAT \"a\" 0\n", VD_CORRUPT, { "no extent line" } },
    { EXTENT "RW 100\n", VD_CORRUPT, { "line 2", "no type" } },
    { EXTENT "WO 100 FLAT \"a\"\n", VD_CORRUPT, { "line 2", "RDONLY" } },
    { EXTENT "this is nothing\n", VD_CORRUPT, { "line 2", "this is" } },
    { "RW 100 VMFSSPARSE a-delta.vmdk\n", VD_CORRUPT,
      { "line 1", "double quotes" } },
    { "RW 100 FLAT a 0\n", VD_CORRUPT, { "double quotes" } },
    { "RW 100 SPARSE \"a.vmdk\n", VD_CORRUPT, { "no closing quote" } },
    { "RW 100 SPARSE \"\"\n", VD_CORRUPT, { "is empty" } },
    { "RW 100 SPARSE\n", VD_CORRUPT, { "line 1", "no file name" } },
    { "RDONLY 100 FLAT\n", VD_CORRUPT, { "no file name" } },
    { "RW 100 FLAT \"a\" x\n", VD_CORRUPT, { "offset 'x'" } },
    { "RW 100 FLAT \"a\" -1\n", VD_CORRUPT, { "offset '-1'" } },
    { "RW 100 FLAT \"a\" 18014398509481984\n", VD_CORRUPT, { "offset" } },
    { "RW 100 SPARSE \"a\" 8\n", VD_CORRUPT, { "SPARSE", "(8 sectors)" } },
    { "RW 100 FLAT \"a\"b\" 0\n", VD_CORRUPT, { "'b\"'" } },
  };
  struct vd_descriptor *d;

  CHECK_BAD (bad);
  d = parse ("RW 10 FLAT \"a\" 0\nRW 7 ZERO\nRDONLY 3 ZERO\n"
             "NOACCESS 5 FLAT \"b\"\nNOACCESS 6 SPARSE\nRW 2 SPARSE \"c\" 0\n");
  assert_int_equal (d->nr_extents, 6);
  assert_int_equal (d->capacity, 33 * 512);
  assert_int_equal (d->extents[1].type, VD_EXTENT_ZERO);
  assert_null (d->extents[1].name);
  assert_int_equal (d->extents[3].access, VD_NOACCESS);
  assert_int_equal (d->extents[5].line, 6);
  vd_descriptor_free (d);
}

TEST (no_access_is_warned_of)
{
  static const char text[] = EXTENT "NOACCESS 5 FLAT \"b\"\n";
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_err err;
  struct vd_descriptor *d
    = vd_descriptor_parse (text, sizeof text, "d.vmdk", &opts.log, &err);

  assert_opened (d, &err);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "d.vmdk line 2: 2560 bytes are marked NOACCESS");
  vd_descriptor_free (d);
}

TEST (text_behind_zeros_is_warned_of)
{
  static const char text[]
    = "CID=1\nRW 10 FLAT \"a\" 0\n\0\0\0\0RW 20 FLAT \"b\" 0\n";
  const size_t end = strlen (text);
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_descriptor *d;
  struct vd_err err;

  d = vd_descriptor_parse (text, sizeof text, "d.vmdk", &opts.log, &err);
  assert_non_null (d);
  assert_int_equal (d->nr_extents, 1);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "d.vmdk: the descriptor's text ends at byte 23");
  assert_text (log.text, "at byte 27 of it there is something more");
  vd_descriptor_free (d);

  /* padding is lawful */
  d = vd_descriptor_parse (text, end + 4, "d.vmdk", &opts.log, &err);
  assert_non_null (d);
  assert_int_equal (log.n, 1);
  vd_descriptor_free (d);
}

/* QEMU replaces a CID by a shorter one, and leaves the old end of the text. */
TEST (the_old_end_of_a_text_is_known)
{
  static const char old[] = "CID=1234567\nRW 10 FLAT \"a\" 0\nddb.x = \"1\"\n";
  static const char now[] = "CID=12345\nRW 10 FLAT \"a\" 0\nddb.x = \"1\"\n";
  char text[sizeof old + 10] = { 0 };
  struct vd_descriptor *d;
  struct u_log log;
  const struct vd_opts opts = u_opts (&log);
  struct vd_err err;

  memcpy (text, old, sizeof old);
  memcpy (text, now, sizeof now);
  d = vd_descriptor_parse (text, sizeof text, "d.vmdk", &opts.log, &err);
  assert_opened (d, &err);
  assert_int_equal (log.n, 0);
  vd_descriptor_free (d);

  /* and what it is not is said */
  text[sizeof now] = 'R';
  d = vd_descriptor_parse (text, sizeof text, "d.vmdk", &opts.log, &err);
  assert_opened (d, &err);
  assert_text (log.text, "there is something more");
  vd_descriptor_free (d);
}

TEST (sector_counts_are_checked)
{
  static const struct bad bad[] = {
    { "RW 0 ZERO\n", VD_CORRUPT, { "line 1", "'0'", "1 to 2^54" } },
    { "RW -5 ZERO\n", VD_CORRUPT, { "'-5'" } },
    { "RW +5 ZERO\n", VD_CORRUPT, { "'+5'" } },
    { "RW 5x ZERO\n", VD_CORRUPT, { "'5x'" } },
    { "RW 0x5 ZERO\n", VD_CORRUPT, { "'0x5'" } },
    { "RW ZERO\n", VD_CORRUPT, { "'ZERO'" } },
    { "RW\n", VD_CORRUPT, { "''" } },
    { "RW 18014398509481984 ZERO\n", VD_CORRUPT, { "'18014398509481984'" } },
    { "RW 18446744073709551616 ZERO\n", VD_CORRUPT, { "sector count" } },
    { "RW 18446744073709551617 ZERO\n", VD_CORRUPT, { "sector count" } },
    { "RW 99999999999999999999999 ZERO\n", VD_CORRUPT, { "sector count" } },
    { "RW 9007199254740992 ZERO\nRW 1 ZERO\n", VD_CORRUPT,
      { "line 2", "larger than 2^62" } },
    { "RW 9007199254740993 ZERO\n", VD_CORRUPT, { "line 1", "2^62" } },
  };
  struct vd_descriptor *d;

  CHECK_BAD (bad);
  d = parse ("RW 9007199254740992 ZERO\n");
  assert_true (d->capacity == UINT64_C (1) << 62);
  vd_descriptor_free (d);
  d = parse ("RW 0001 ZERO\n");
  assert_int_equal (d->capacity, 512);
  vd_descriptor_free (d);
}

TEST (there_are_limits_to_the_number_of_extents)
{
  char *text = malloc (5000 * 10), *p = text;
  struct vd_descriptor *d;
  struct vd_err err;
  unsigned i;

  for (i = 0; i < VD_MAX_EXTENTS; ++i)
    p += sprintf (p, "RW 1 ZERO\n");
  d = parse_n (text, (size_t) (p - text), &err);
  assert_opened (d, &err);
  assert_int_equal (d->capacity, VD_MAX_EXTENTS * 512);
  vd_descriptor_free (d);
  p += sprintf (p, "RW 1 ZERO\n");
  assert_null (parse_n (text, (size_t) (p - text), &err));
  assert_err (&err, VD_UNSUPPORTED, "d.vmdk line 4097", "more than 4096");
  free (text);
}

/* CID, parent and size are good: that is all that is needed of a base whose
 * data is here as a raw copy.
 */
TEST (disks_whose_data_is_elsewhere_say_so)
{
  static const struct { const char *text, *part[3]; } elsewhere[] = {
    { "RW 100 VMFSRDM \"a-rdm.vmdk\"\n",
      { "d.vmdk line 3", "VMFSRDM", "raw device mapping" } },
    { "RW 100 vmfsraw \"a\"\n", { "vmfsraw" } },
    { "RW 100 VMFSRDM\n", { "VMFSRDM" } },
    { "RW 100 VMFSRDM a-rdm.vmdk\n", { "VMFSRDM" } },
    { "RW 100 VMFSRDM \"a\" x y z\n", { "VMFSRDM" } },
    { "RW 100 VSANSPARSE \"vsan://1\"\n", { "vSAN" } },
    { "RW 100 FLOPPY \"a\"\n", { "line 3", "'FLOPPY'", "VMFSSPARSE" } },
    { "isNativeSnapshot=\"yes\"\n" EXTENT, { "line 3", "\"yes\"",
                                              "only \"no\"" } },
    { "encryptionKeys=\"x\"\n" EXTENT, { "encrypted" } },
    { EXTENT "ddb.keySafe=\"x\"\n", { "line 4", "encrypted",
                                       "ddb.keysafe" } },
    { EXTENT "ddb.iofilters=\"vmwarevmcrypt\"\n", { "line 4", "encrypted" } },
  };
  struct vd_descriptor *d;
  char text[300];
  size_t i, k;

  for (i = 0; i < ARRAY_SIZE (elsewhere); ++i) {
    snprintf (text, sizeof text, "CID=12\nparentCID=13\n%s",
              elsewhere[i].text);
    d = parse (text);
    assert_int_equal (d->cid, 0x12);
    assert_int_equal (d->parent_cid, 0x13);
    assert_int_equal (d->capacity, 100 * 512);
    assert_non_null (d->no_data);
    for (k = 0; k < 3 && elsewhere[i].part[k]; ++k)
      assert_text (d->no_data, elsewhere[i].part[k]);
    vd_descriptor_free (d);
  }
  d = parse ("isNativeSnapshot=\"NO\"\n" EXTENT "ddb.iofilters=\"spm\"\n"
             "ddb.physicalSectorSize = \"4096\"\n");
  assert_int_equal (d->extents[0].length, 100 * 512);
  assert_null (d->no_data);
  vd_descriptor_free (d);
}

TEST (quotes_and_lines_must_be_whole)
{
  static const struct bad bad[] = {
    { "x=\"a\n" EXTENT, VD_CORRUPT, { "line 1", "no closing quote" } },
    { "x=\"a\"b\"\n" EXTENT, VD_CORRUPT,
      { "line 1", "text behind the closing quote" } },
    { "1x=2\n" EXTENT, VD_CORRUPT, { "line 1", "neither" } },
    { "=2\n" EXTENT, VD_CORRUPT, { "line 1", "neither" } },
    { "RW 100 SPARSE \"a\rb.vmdk\"\n", VD_CORRUPT, { "no closing quote" } },
    { "CID=12\r34\n" EXTENT, VD_CORRUPT, { "line 2", "neither" } },
    { "CID=1 # x\nparentCID=2 x\n" EXTENT, VD_CORRUPT, { "'2 x'" } },
    { "/RW 100 ZERO\n", VD_CORRUPT, { "neither" } },
  };

  CHECK_BAD (bad);
}

/* What editors leave.  Each says the same as "CID=1, parentCID=2, one extent",
 * and is warned of where another program may not read it.
 */
TEST (what_editors_leave_is_read)
{
#define BODY "CID=1\nparentCID=2\nRW 100 FLAT \"a b.vmdk\" 5\n"
  static const struct { const char *text, *warning; } texts[] = {
    { "\xef\xbb\xbf" BODY, "byte order mark" },
    { BODY "\x1a", NULL },
    { BODY "\r\n\x1a\x1a \r\n\x1a", NULL },
    { BODY "; edited by hand\n", "line 4 is taken for a comment" },
    { "  // edited\n; twice\n" BODY, "line 1 is taken for a comment" },
    { "CID=1\rparentCID=2\rRW 100 FLAT \"a b.vmdk\" 5\r", NULL },
    { "CID=1\r\r\nparentCID=2\n\rRW 100 FLAT \"a b.vmdk\" 5\r\n", NULL },
    { "CID=1\r\nparentCID=2\nRW 100 FLAT \"a b.vmdk\" 5\r", NULL },
    { "CID=1 # one\nparentCID = 2 // two\n"
      "RW 100 FLAT \"a b.vmdk\" 5 ; three\n", NULL },
    { "CID=\"1\" # one\nparentCID=2\nRW 100 FLAT \"a b.vmdk\" 5 #x\n", NULL },
    { "CID=1\nparentCID=2\n"
      "RW 100 FLAT \xe2\x80\x9c" "a b.vmdk\xe2\x80\x9d 5\n",
      "line 3: the quotation marks" },
    { "CID=\xe2\x80\x9e" "1\xe2\x80\x9c\nparentCID=2\n"
      "RW 100 FLAT \"a b.vmdk\" 5\n", "line 1: the quotation marks" },
    { BODY "ddb.adapterType = \"lsil", "no closing quote (the text ends" },
    { BODY "ddb.adapterType", "line 4 is not understood (the text ends" },
    { BODY "dd", "line 4 is not understood (the text ends here" },
    { BODY "ddb.x \"1\"\nddb.y=\"1\"\n", "line 4 is not understood: 'ddb.x" },
    { BODY "ddb.x=\"1\"2\"\n", "line 4: there is text behind" },
    { BODY "ddb.comment=\"\x01\x02\"\n", "line 4: there is a byte 0x01" },
    { BODY "# \x01 in a comment\n", NULL },
    { BODY "ddb.uuid.image=\"622a0911-bc78-4b7a-a6ec-7359a068de8a\"\n"
      "ddb.uuid.parent=\"00000000-0000-0000-0000-000000000000\"\nddb.uu",
      "line 6 is not understood" },
  };
  struct u_log log;
  struct vd_opts opts;
  struct vd_descriptor *d;
  struct vd_err err;
  size_t i;

  for (i = 0; i < ARRAY_SIZE (texts); ++i) {
    opts = u_opts (&log);
    d = vd_descriptor_parse (texts[i].text, strlen (texts[i].text), "d.vmdk",
                             &opts.log, &err);
    if (!d)
      fail_msg ("case %zu: %s", i, err.msg);
    assert_int_equal (d->cid, 1);
    assert_int_equal (d->parent_cid, 2);
    assert_int_equal (d->nr_extents, 1);
    assert_string_equal (d->extents[0].name, "a b.vmdk");
    assert_int_equal (d->extents[0].offset, 5 * 512);
    if (texts[i].warning ? log.n != 1 || !strstr (log.text, texts[i].warning)
        : log.n != 0)
      fail_msg ("case %zu: %u warnings: %s", i, log.n, log.n ? log.text : "");
    vd_descriptor_free (d);
  }
}

/* The disk data base describes, but for VirtualBox's UUIDs and encryption:
 * these must be whole.
 */
TEST (what_matters_must_be_whole)
{
  static const struct bad bad[] = {
    { BODY "ddb.uuid.parent=\"622a", VD_CORRUPT, { "no closing quote" } },
    { BODY "ddb.uuid.pa", VD_CORRUPT, { "line 4 is neither", "cut off" } },
    { BODY "ddb.uuid.image=\"622a0911-bc78-4b7a-a6ec-7359a068de8a\"\nddb.u",
      VD_CORRUPT, { "line 5 is neither", "cut off" } },
    { BODY "ddb.uuid.parent\n", VD_CORRUPT, { "line 4 is neither" } },
    { BODY "ddb.iofilters=\"vmwarevmc", VD_CORRUPT, { "no closing quote" } },
    { BODY "ddb.uuid.parent=\"\x01\"\n", VD_NOT_FORMAT, { "byte 0x01" } },
    { BODY "\x1aRW 5 ZERO\n", VD_NOT_FORMAT, { "line 4", "byte 0x1a" } },
    { "CID=1\x02\n" EXTENT, VD_NOT_FORMAT, { "line 1", "byte 0x02" } },
    { "\xef\xbb\xbf\xef\xbb\xbf" BODY, VD_CORRUPT, { "line 1" } },
    { BODY "RW 5 FLAT \xe2\x80\x9c" "a\n", VD_CORRUPT, { "no closing" } },
  };

  CHECK_BAD (bad);
}

TEST (binary_bytes_are_not_text)
{
  static const char text[] = "CID=1\n\x01\n" EXTENT;
  static const char late[] = EXTENT "\0\x01\x02";
  struct vd_descriptor *d;
  struct vd_err err;

  assert_null (parse_n (text, sizeof text - 1, &err));
  assert_err (&err, VD_NOT_FORMAT, "d.vmdk is not a VMDK descriptor",
              "in line 2 there is a byte 0x01");
  d = parse_n (late, sizeof late, &err);
  assert_opened (d, &err);
  vd_descriptor_free (d);
  assert_null (parse_n ("", 0, &err));
  assert_err (&err, VD_CORRUPT, "d.vmdk", "no extent line");
}

TEST (names_in_messages_are_harmless)
{
  static const char text[] = "RW \x7f\xc2\x9b FLAT\n";
  struct vd_err err;

  assert_null (vd_descriptor_parse (text, sizeof text, "a\x1b[1m", NULL,
                                    &err));
  assert_err (&err, VD_CORRUPT, "a\\x1b[1m line 1", "\\x7f\\xc2\\x9b");
}

TEST (uuids_are_parsed)
{
  static const uint8_t want[16] = {
    0x62, 0x2a, 0x09, 0x11, 0xbc, 0x78, 0x4b, 0x7a,
    0xa6, 0xec, 0x73, 0x59, 0xa0, 0x68, 0xde, 0x8a,
  };
  static const char *const good[] = {
    "622a0911-bc78-4b7a-a6ec-7359a068de8a",
    "622A0911-BC78-4B7A-A6EC-7359A068DE8A",
    "{622a0911-bc78-4b7a-a6ec-7359a068de8a}",
    "622a0911bc784b7aa6ec7359a068de8a",
  };
  static const char *const bad[] = {
    "", "{}", "622a0911", "622a0911-bc78-4b7a-a6ec-7359a068de8",
    "622a0911-bc78-4b7a-a6ec-7359a068de8a0",
    "622a0911-bc78-4b7a-a6ec-7359a068de8g",
    " 622a0911-bc78-4b7a-a6ec-7359a068de8a",
  };
  uint8_t uuid[16];
  size_t i;

  for (i = 0; i < ARRAY_SIZE (good); ++i) {
    memset (uuid, 0xee, sizeof uuid);
    assert_true (vd_parse_uuid (good[i], uuid));
    assert_memory_equal (uuid, want, sizeof uuid);
  }
  for (i = 0; i < ARRAY_SIZE (bad); ++i)
    assert_false (vd_parse_uuid (bad[i], uuid));
}

/* A text of the largest size costs little memory, and hides nothing. */
TEST (keys_that_nobody_asks_for_are_not_kept_without_end)
{
  enum { JUNK = 50000 };
  const char *const ends[] = { "", "CID=5\n", "encryption.keySafe = \"x\"\n" };
  const enum vd_code codes[] = { VD_OK, VD_CORRUPT, VD_UNSUPPORTED };
  struct vd_descriptor *d;
  struct vd_err err;
  char *text = malloc (JUNK * 16 + 200);
  size_t n, i, k;

  for (i = 0; i < ARRAY_SIZE (ends); ++i) {
    n = (size_t) sprintf (text, "RW 8 ZERO\n");
    for (k = 0; k < JUNK; ++k)
      n += (size_t) sprintf (text + n, "ddb.k%05zu=1\n", k);
    n += (size_t) sprintf (text + n, "CID=4\nencoding=\"GBK\"\n"
                           "ddb.adapterType=\"ide\"\n%s", ends[i]);
    d = parse_n (text, n, &err);
    if (codes[i] == VD_OK) {
      assert_opened (d, &err);
      assert_true (d->nr_keys < 300);
      assert_int_equal (d->cid, 4);
      assert_string_equal (d->encoding, "GBK");
      assert_string_equal (vd_descriptor_get (d, "ddb.adaptertype"), "ide");
      vd_descriptor_free (d);
    }
    else if (codes[i] == VD_UNSUPPORTED) {
      assert_opened (d, &err);
      assert_text (d->no_data, "d.vmdk line 500");
      vd_descriptor_free (d);
    }
    else {
      assert_null (d);
      assert_err (&err, codes[i], "d.vmdk line 500");
    }
  }
  free (text);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (ways_to_write_the_same),
    cmocka_unit_test (the_makers_styles_all_parse),
    cmocka_unit_test (what_is_not_said_has_its_default),
    cmocka_unit_test (content_ids_are_32_bit_numbers),
    cmocka_unit_test (what_decides_stands_once),
    cmocka_unit_test (keys_that_nobody_asks_for_are_not_kept_without_end),
    cmocka_unit_test (what_differs_is_found_behind_many_keys),
    cmocka_unit_test (versions_1_to_4_are_read),
    cmocka_unit_test (every_extent_line_counts_or_is_refused),
    cmocka_unit_test (no_access_is_warned_of),
    cmocka_unit_test (text_behind_zeros_is_warned_of),
    cmocka_unit_test (the_old_end_of_a_text_is_known),
    cmocka_unit_test (sector_counts_are_checked),
    cmocka_unit_test (there_are_limits_to_the_number_of_extents),
    cmocka_unit_test (disks_whose_data_is_elsewhere_say_so),
    cmocka_unit_test (quotes_and_lines_must_be_whole),
    cmocka_unit_test (what_editors_leave_is_read),
    cmocka_unit_test (what_matters_must_be_whole),
    cmocka_unit_test (binary_bytes_are_not_text),
    cmocka_unit_test (names_in_messages_are_harmless),
    cmocka_unit_test (uuids_are_parsed),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
