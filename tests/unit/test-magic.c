/* What files that are no VMDK are: sure where it says so, and never a raw disk
 * for what one may begin with.
 */

#include "format/magic.h"
#include "unit.h"

static uint8_t head[VD_FOREIGN_HEAD], tail[VD_FOREIGN_TAIL];

static const struct vd_foreign *
find (size_t n, size_t m, uint64_t size)
{
  /* In memory of just that size, so that a sanitizer sees what lies behind. */
  uint8_t *h = malloc (n + (n == 0)), *t = malloc (m + (m == 0));
  const struct vd_foreign *f;

  assert_non_null (h);
  assert_non_null (t);
  memcpy (h, head, n);
  memcpy (t, tail, m);
  f = vd_foreign_find (h, n, t, m, size);
  free (h);
  free (t);
  return f;
}

static void
noise (uint64_t seed)
{
  struct mk_rng rng;
  size_t i;

  mk_rng_seed (&rng, seed);
  for (i = 0; i < sizeof head; i++)
    head[i] = (uint8_t) mk_rng_below (&rng, 256);
  for (i = 0; i < sizeof tail; i++)
    tail[i] = (uint8_t) mk_rng_below (&rng, 256);
}

struct begin {
  const char *bytes;
  size_t n, at;
  const char *what;             /* NULL: a raw disk may begin like that */
};
#define BYTES(text) text, sizeof (text) - 1

TEST (each_container_is_known_by_its_first_bytes)
{
  static const struct begin begins[] = {
    { BYTES ("QFI\xfb\0\0\0\3"), 0, "qcow" },
    { BYTES ("QED\0"), 0, "QED" },
    { BYTES ("vhdxfile"), 0, "VHDX" },
    { BYTES ("conectix"), 0, "dynamic VHD" },
    { BYTES ("WithoutFreeSpace"), 0, "Parallels" },
    { BYTES ("WithouFreSpacExt"), 0, "Parallels" },
    { BYTES ("vmdk"), 0, "never finished" },
    { BYTES ("ustar"), 257, "tar" },
    { BYTES ("\x1f\x8b\x08\0\0\0\0\0\0\3"), 0, "gzip" },
    { BYTES ("\xfd" "7zXZ\0"), 0, "xz" },
    { BYTES ("BZh91AY&SY"), 0, "bzip2" },
    { BYTES ("\x28\xb5\x2f\xfd"), 0, "zstd" },
    { BYTES ("\x04\x22\x4d\x18"), 0, "lz4" },
    { BYTES ("PK\3\4"), 0, "zip" },
    { BYTES ("7z\xbc\xaf\x27\x1c"), 0, "7z" },
    { BYTES ("Rar!\x1a\x07"), 0, "rar" },
    { BYTES ("EVF\x09\x0d\x0a\xff\0"), 0, "EnCase" },
    { BYTES ("VMA\0"), 0, "Proxmox" },
  };
  size_t i, n;

  for (i = 0; i < ARRAY_SIZE (begins); i++) {
    const struct begin *b = &begins[i];
    const size_t end = b->at + b->n;

    memset (head, 0x5a, sizeof head);
    memset (tail, 0, sizeof tail);
    memcpy (head + b->at, b->bytes, b->n);
    for (n = end > 12 ? end - 12 : 0; n < end + 3; n++) {
      const struct vd_foreign *f = find (n, 0, n);

      if (n >= end) {
        if (!f || !f->container || !strstr (f->what, b->what))
          fail_msg ("%s: %s", b->what, f ? f->what : "nothing");
        assert_true (*f->advice);
      }
      else if (f && f->container && n + 5 < end)
        fail_msg ("%zu bytes of %s are taken for %s", n, b->what, f->what);
    }
    /* One byte elsewhere, or another one: no. */
    for (n = b->at; n < b->at + vd_min (b->n, 4); n++) {
      const struct vd_foreign *f;

      head[n] ^= 0x80;
      f = find (sizeof head, sizeof tail, UINT64_C (1) << 30);
      if (f && f->container && strstr (f->what, b->what) && b->n <= 4)
        fail_msg ("%s with byte %zu changed", b->what, n);
      head[n] ^= 0x80;
    }
  }
}

TEST (what_a_raw_disk_may_begin_with_is_no_container)
{
  static const struct begin begins[] = {
    { BYTES ("\xeb\x63\x90"), 0, NULL },                /* GRUB */
    { BYTES ("\xfa\xb8\0\x10\x8e\xd0\xbc\0\xb0"), 0, NULL },
    { BYTES ("\xeb\x3c\x90mkfs.fat"), 0, NULL },
    { BYTES ("\xeb\x52\x90NTFS    "), 0, NULL },
    { BYTES ("\xeb\x58\x90-FVE-FS-"), 0, NULL },        /* BitLocker */
    { BYTES ("LUKS\xba\xbe\0\2"), 0, NULL },
    { BYTES ("XFSB"), 0, NULL },
    { BYTES ("hsqs"), 0, NULL },
    { BYTES ("EFI PART"), 512, NULL },
    { BYTES ("LABELONE"), 512, NULL },
    { BYTES ("\x53\xef"), 1080, NULL },                 /* ext4 */
    { BYTES ("NXSB"), 32, NULL },
    { BYTES ("\xfc\x4e\x2b\xa9"), 0, NULL },
    { BYTES ("\x1f\x8b\x09"), 0, NULL },
    { BYTES ("BZh9"), 0, NULL },
    { BYTES ("ustar"), 256, NULL },
    { BYTES ("conecti"), 0, NULL },
    { BYTES ("<html>"), 0, NULL },
    { BYTES ("<?xml"), 0, NULL },
    { BYTES ("version=1"), 0, NULL },
  };
  const struct vd_foreign *f;
  size_t i;
  uint64_t k;

  for (i = 0; i < ARRAY_SIZE (begins); i++)
    for (k = 0; k < 3; k++) {
      noise (i * 3 + k);
      if (k == 0)
        memset (head, 0, sizeof head);
      head[0] = (uint8_t) (head[0] == 'Q' ? 0 : head[0]);
      memcpy (head + begins[i].at, begins[i].bytes, begins[i].n);
      f = find (sizeof head, sizeof tail, UINT64_C (1) << 30);
      if (f && f->container)
        fail_msg ("case %zu is taken for %s", i, f->what);
    }
  memset (head, 0, sizeof head);
  memset (tail, 0, sizeof tail);
  assert_null (find (sizeof head, sizeof tail, UINT64_C (1) << 30));
  for (k = 0; k < 3000; k++) {
    noise (1000 + k);
    head[0] &= 3;               /* so that no magic comes by chance */
    f = find (sizeof head, sizeof tail, UINT64_C (1) << 30);
    if (f && f->container)
      fail_msg ("noise %u is taken for %s", (unsigned) k, f->what);
  }
}

/* Only the type tells a VHD that is raw with a footer from one that is not. */
TEST (a_fixed_vhd_is_no_container)
{
  uint32_t type, sum;
  size_t i;

  for (type = 0; type < 6; type++) {
    const struct vd_foreign *f;

    memset (head, 0, sizeof head);
    memset (tail, 0, sizeof tail);
    memcpy (tail, "conectix", 8);
    tail[63] = (uint8_t) type;
    for (sum = i = 0; i < sizeof tail; i++)
      sum += tail[i];
    sum = ~sum;
    for (i = 0; i < 4; i++)
      tail[64 + i] = (uint8_t) (sum >> (24 - 8 * i));
    f = find (sizeof head, sizeof tail, 1 << 20);
    assert_int_equal (f && f->container, type == 3 || type == 4);
    tail[64] ^= 1;
    f = find (sizeof head, sizeof tail, 1 << 20);
    assert_false (f && f->container);
  }
}

static void
put_text (const char *text)
{
  memset (head, 0, sizeof head);
  memcpy (head, text, strlen (text));
}

TEST (texts_are_told_apart)
{
  static const struct {
    const char *text, *what;    /* NULL: nothing is known of it */
  } texts[] = {
    { "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS" },
    { "/annex/objects/SHA256E-s3--00.vmdk\n", "annex" },
    { "<!DOCTYPE html>\n<html></html>", "web page" },
    { "\n\n  <HTML><body>404</body></HTML>", "web page" },
    { "\xef\xbb\xbf<html>", "web page" },
    { "<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"x\"><html>", "web" },
    { "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>", "server" },
    { "<?xml version=\"1.0\"?><Envelope xmlns=\"x\"/>", "OVF" },
    { "<?xml version=\"1.0\"?>\n<Foundry>", ".vmxf" },
    { "<?xml version=\"1.0\"?>\n<VirtualBox version=\"1.16\">", "XML" },
    { "{\"message\": \"Not Found\"}", "JSON" },
    { "[ {\"a\":1} ]", "JSON" },
    { ".encoding = \"UTF-8\"\nsnapshot.lastUID = \"2\"\n", ".vmsd" },
    { ".encoding = \"UTF-8\"\nscsi0:0.fileName = \"a.vmdk\"\n", "VMware's" },
    { "#!/usr/bin/vmware\n.encoding = \"UTF-8\"\nconfig.version = \"8\"\n",
      "VMware's" },
    { "SHA256(disk1.vmdk)= 0123\n", "checksums" },
    { "SHA1 (disk1.vmdk) = 0123\n", NULL },
    { "-----BEGIN CERTIFICATE-----\n", "certificate" },
    { "../images/disk.vmdk", "symbolic link" },
    { "C:\\VMs\\base disk.vmdk\r\n", "symbolic link" },
    { "XSym\n0012\n0123456789abcdef\n/x/y.img\n", "symbolic link" },
    { "# Disk DescriptorFile\nversion=1\n", NULL },
    { "version=1\nCID=1\nparentCID=ffffffff\n", NULL },
    { "{not json", NULL },
    { "[datastore1] vm/vm.vmdk and more", NULL },
    { "a line\nb.vmdk\n", NULL },
    { "x", NULL },
    { "", NULL },
  };
  static const uint8_t utf16[] = {
    0xff, 0xfe, '#', 0, ' ', 0, 'D', 0, 'i', 0, 's', 0, 'k', 0
  };
  size_t i, n;

  for (i = 0; i < ARRAY_SIZE (texts); i++) {
    const struct vd_foreign *f;

    put_text (texts[i].text);
    f = find (strlen (texts[i].text), 0, strlen (texts[i].text));
    if (!texts[i].what ? f != NULL : !f || !strstr (f->what, texts[i].what))
      fail_msg ("'%s': %s", texts[i].text, f ? f->what : "nothing");
    if (f) {
      assert_false (f->container);
      assert_true (f->page);
    }
    for (n = 0; n < strlen (texts[i].text); n++)
      find (n, 0, n);
  }
  memset (head, 0, sizeof head);
  memcpy (head, utf16, sizeof utf16);
  assert_text (find (600, 0, 600)->advice, "iconv");
  memcpy (head, utf16 + 2, sizeof utf16 - 2);
  assert_text (find (600, 0, 600)->advice, "iconv");
  for (n = 0; n < sizeof head - 1; n++) /* the other order */
    head[n] = n % 2 == 0 || n / 2 >= 6 ? 0 : utf16[n + 1];
  assert_text (find (600, 0, 600)->what, "UTF-16");
}

TEST (names_tell_what_content_does_not)
{
  static const struct {
    const char *name, *what;
  } names[] = {
    { "vm/disk-000001-ctk.vmdk", "CBT" }, { "A-CTK.VMDK", "CBT" },
    { "disk-rdmp.vmdk", "LUN" }, { "vm.vmsn", "memory snapshot" },
    { "vm-Snapshot1.vmem", "memory" }, { "vm.nvram", "BIOS" },
    { "disk.vmdk.part", "not complete" },
    { "disk.vmdk.crdownload", "not complete" },
    { "x-disk1.vmdk.000000001", "chunk" }, { "disk.vmdk.001", "pieces" },
    { "disk.vmdk", NULL }, { "ctk.vmdk", NULL }, { ".part", NULL },
    { "x.00000000a", NULL }, { "disk.001", NULL }, { "", NULL },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (names); i++) {
    const struct vd_foreign *f = vd_foreign_by_name (names[i].name);

    if (!names[i].what ? f != NULL : !f || !strstr (f->what, names[i].what))
      fail_msg ("%s: %s", names[i].name, f ? f->what : "nothing");
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (each_container_is_known_by_its_first_bytes),
    cmocka_unit_test (what_a_raw_disk_may_begin_with_is_no_container),
    cmocka_unit_test (a_fixed_vhd_is_no_container),
    cmocka_unit_test (texts_are_told_apart),
    cmocka_unit_test (names_tell_what_content_does_not),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
