/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What files that are no VMDK are; see magic.h. */

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "format/descriptor.h"
#include "format/image.h"
#include "format/magic.h"

/* What is known of a file. */
struct look {
  const uint8_t *head, *tail;
  size_t n, m;
  uint64_t size;
  const char *text;             /* the head as a string: up to the first NUL,
                                   behind a byte order mark and blanks */
};

/* ---- Containers --------------------------------------------------------- */

#define QEMU_WAY "convert it (qemu-img convert -O raw), or serve it with " \
  "qemu-nbd and use that"
#define ARCHIVE_WAY "unpack it, and give the disk that is in it"

static bool
has_checksum_of_tar (const struct look *l)
{
  const char *field = (const char *) l->head + 148;
  unsigned sum = 8 * ' ', want = 0;
  size_t i;

  if (l->n < 512 || l->head[0] == '\0')
    return false;
  for (i = 0; i < 512; ++i)
    if (i < 148 || i >= 156)
      sum += l->head[i];
  for (i = 0; i < 7 && field[i] == ' '; ++i)
    ;
  if (field[i] < '0' || field[i] > '7')
    return false;
  for (; i < 7 && field[i] >= '0' && field[i] <= '7'; ++i)
    want = want * 8 + (unsigned) (field[i] - '0');
  return want == sum;
}

/* The footer of a VHD, which one of the type "fixed" has too. */
static bool
is_dynamic_vhd_footer (const struct look *l)
{
  const uint8_t *f = l->tail;
  uint32_t sum = 0, type;
  size_t i;

  if (l->m < 512)
    return false;
  type = vd_be32 (f + 60);
  for (i = 0; i < 512; ++i)
    if (i < 64 || i >= 68)
      sum += f[i];
  return (type == 3 || type == 4) && vd_be32 (f + 64) == ~sum;
}

static bool
is_bzip2 (const struct look *l)
{
  return l->n >= 10 && l->head[3] >= '1' && l->head[3] <= '9' &&
    (memcmp (l->head + 4, "1AY&SY", 6) == 0 ||
     memcmp (l->head + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0);
}

/* The low bits of the flags; the rest is reserved. */
static bool
is_gzip (const struct look *l)
{
  return l->n >= 10 && (l->head[3] & 0xe0) == 0;
}

struct container {
  int64_t at;                   /* from the start; -512: of the last sector */
  const char *magic;
  size_t n;
  bool (*sure) (const struct look *l);  /* or NULL */
  struct vd_foreign is;
};

#define MAGIC(text) text, sizeof (text) - 1
#define CONTAINER(name, way) { .what = (name), .advice = (way), .container = true }

/* Sparse images of our own formats are not here: vd_image_probe knows them. */
static const struct container containers[] = {
  { 0, MAGIC ("QFI\xfb"), NULL, CONTAINER ("a qcow image", QEMU_WAY) },
  { 0, MAGIC ("QED\0"), NULL, CONTAINER ("a QED image", QEMU_WAY) },
  { 0, MAGIC ("vhdxfile"), NULL, CONTAINER ("a VHDX image", QEMU_WAY) },
  { 0, MAGIC ("conectix"), NULL, CONTAINER ("a dynamic VHD image",
                                            QEMU_WAY) },
  { -512, MAGIC ("conectix"), is_dynamic_vhd_footer,
    CONTAINER ("a dynamic VHD image (by its footer)", QEMU_WAY) },
  { 0, MAGIC ("WithoutFreeSpace"), NULL,
    CONTAINER ("a Parallels image", QEMU_WAY) },
  { 0, MAGIC ("WithouFreSpacExt"), NULL,
    CONTAINER ("a Parallels image", QEMU_WAY) },
  { 0, MAGIC ("Bochs Virtual HD Image"), NULL,
    CONTAINER ("a Bochs image", QEMU_WAY) },
  { 0, MAGIC ("#!/bin/sh\n#V2.0 Format\nmodprobe cloop"), NULL,
    CONTAINER ("a cloop image", QEMU_WAY) },
  { -512, MAGIC ("koly\0\0\0\4\0\0\2\0"), NULL,
    CONTAINER ("a macOS disk image (DMG)",
               "convert it (qemu-img convert -f dmg -O raw)") },
  { 0, MAGIC ("sprs\0\0\0"), NULL,
    CONTAINER ("a macOS sparse image",
               "convert it there (hdiutil convert -format UDTO)") },
  { 0, MAGIC ("\x3a\xff\x26\xed\1\0"), NULL,
    CONTAINER ("an Android sparse image", "convert it (simg2img)") },
  { 0, MAGIC ("vmdk"), NULL,
    CONTAINER ("a VMDK that was never finished by its writer (magic \"vmdk\" "
               "instead of \"KDMV\")", "make it again") },
  { 0, MAGIC ("VMA\0"), NULL,
    CONTAINER ("a backup of Proxmox VE's (VMA)",
               "extract it there (vma extract)") },
  { 0, MAGIC ("rbd diff v"), NULL,
    CONTAINER ("a difference exported from Ceph RBD",
               "import it there (rbd import-diff)") },
  { 0, MAGIC ("partclone-image"), NULL,
    CONTAINER ("a partclone image", "restore it (partclone.restore)") },
  { 0, MAGIC ("EVF\x09\x0d\x0a\xff\0"), NULL,
    CONTAINER ("an EnCase image (E01)", "serve it raw (ewfmount), or export "
               "it (ewfexport -f raw)") },
  { 0, MAGIC ("EVF2\x0d\x0a\x81\0"), NULL,
    CONTAINER ("an EnCase image (Ex01)", "serve it raw (ewfmount), or export "
               "it (ewfexport -f raw)") },
  { 0, MAGIC ("AFF10\r\n"), NULL,
    CONTAINER ("an AFF image", "convert it (affconvert -r)") },
  { 0, MAGIC ("MSWIM\0\0\0"), NULL,
    CONTAINER ("a Windows image (WIM)", "it holds files and no disk") },
  { 257, MAGIC ("ustar"), NULL,
    CONTAINER ("a tar archive (OVA files are such)",
               "unpack it (tar xf), and give the disk that is in it") },
  { 0, MAGIC (""), has_checksum_of_tar,
    CONTAINER ("a tar archive (OVA files are such)",
               "unpack it (tar xf), and give the disk that is in it") },
  { 0, MAGIC ("\x1f\x8b\x08"), is_gzip,
    CONTAINER ("compressed by gzip (Vagrant's .box files are such, too)",
               "decompress it (gunzip), or let nbdkit do it "
               "(--filter=gzip)") },
  { 0, MAGIC ("\xfd" "7zXZ\0"), NULL,
    CONTAINER ("compressed by xz", "decompress it (unxz), or let nbdkit do "
               "it (--filter=xz)") },
  { 0, MAGIC ("BZh"), is_bzip2,
    CONTAINER ("compressed by bzip2", "decompress it (bunzip2), or let nbdkit "
               "do it (--filter=bzip2)") },
  { 0, MAGIC ("\x28\xb5\x2f\xfd"), NULL,
    CONTAINER ("compressed by zstd", "decompress it (unzstd)") },
  { 0, MAGIC ("\x04\x22\x4d\x18"), NULL,
    CONTAINER ("compressed by lz4", "decompress it (unlz4)") },
  { 0, MAGIC ("LZIP\1"), NULL,
    CONTAINER ("compressed by lzip", "decompress it (lzip -d)") },
  { 0, MAGIC ("\x89LZO\0\r\n\x1a\n"), NULL,
    CONTAINER ("compressed by lzop", "decompress it (lzop -d)") },
  { 0, MAGIC ("PK\3\4"), NULL, CONTAINER ("a zip archive", ARCHIVE_WAY) },
  { 0, MAGIC ("PK\5\6"), NULL, CONTAINER ("a zip archive, and an empty one",
                                          "get it again") },
  { 0, MAGIC ("7z\xbc\xaf\x27\x1c"), NULL,
    CONTAINER ("a 7z archive", ARCHIVE_WAY) },
  { 0, MAGIC ("Rar!\x1a\x07"), NULL,
    CONTAINER ("a rar archive", ARCHIVE_WAY) },
  { 0, MAGIC ("MSCF\0\0\0\0"), NULL,
    CONTAINER ("a cabinet archive", ARCHIVE_WAY) },
};

static bool
is_container (const struct container *c, const struct look *l)
{
  const uint8_t *at = c->at < 0 ? l->tail : l->head;
  const size_t n = c->at < 0 ? l->m : l->n;
  const size_t from = c->at < 0 ? 0 : (size_t) c->at;

  return n >= from + c->n && memcmp (at + from, c->magic, c->n) == 0 &&
    (!c->sure || c->sure (l));
}

/* ---- Files that lie beside disks, and what comes instead of them -------- */

#define OTHER(name, way) { .what = (name), .advice = (way) }
#define PAGE(name, way) { .what = (name), .advice = (way), .page = true }

static bool
begins (const struct look *l, const char *word)
{
  return strncasecmp (l->text, word, strlen (word)) == 0;
}

static bool
is_vmsd (const struct look *l)
{
  return strstr (l->text, "snapshot.");
}

/* A descriptor has no dot in front. */
static bool
is_vmware_text (const struct look *l)
{
  return begins (l, ".encoding") || strstr (l->text, "\n.encoding") ||
    strstr (l->text, "\nvirtualHW.version") ||
    strstr (l->text, "\nencryption.keySafe");
}

static bool
is_ovf (const struct look *l)
{
  return vd_is_xml (l->text) && strcasestr (l->text, "<Envelope");
}

static bool
is_vmxf (const struct look *l)
{
  return vd_is_xml (l->text) && strstr (l->text, "<Foundry");
}

static bool
is_server_error (const struct look *l)
{
  return vd_is_xml (l->text) && strstr (l->text, "<Error>");
}

/* After a comment, or with a DOCTYPE of its own, HTML is XML's likeness. */
static bool
is_html (const struct look *l)
{
  return begins (l, "<!doctype html") || begins (l, "<html") ||
    begins (l, "<head") || begins (l, "<body") || begins (l, "<title") ||
    (vd_is_xml (l->text) && strcasestr (l->text, "<html"));
}

static bool
is_xml (const struct look *l)
{
  return vd_is_xml (l->text);
}

static bool
is_json (const struct look *l)
{
  const char *p = l->text + 1 + strspn (*l->text ? l->text + 1 : "",
                                        " \t\r\n");

  return (*l->text == '{' && (*p == '"' || *p == '}')) ||
    (*l->text == '[' && (*p == '{' || *p == '"' || *p == ']'));
}

static bool
is_lfs (const struct look *l)
{
  return begins (l, "version https://git-lfs.github.com/spec/") ||
    begins (l, "version https://hawser.github.com/spec/");
}

static bool
is_annex (const struct look *l)
{
  return begins (l, "/annex/objects/");
}

static bool
is_manifest (const struct look *l)
{
  return (begins (l, "SHA1(") || begins (l, "SHA256(") ||
          begins (l, "SHA512(") || begins (l, "MD5 (") ||
          begins (l, "SHA256 (")) &&
    (strstr (l->text, ")=") || strstr (l->text, ") ="));
}

static bool
is_pem (const struct look *l)
{
  return begins (l, "-----BEGIN ");
}

static bool
is_utf16 (const struct look *l)
{
  static const uint8_t words[][8] = {
    { '#', 0, ' ', 0, 'D', 0, 'i', 0 }, { 0, '#', 0, ' ', 0, 'D', 0, 'i' },
    { 'v', 0, 'e', 0, 'r', 0, 's', 0 }, { 0, 'v', 0, 'e', 0, 'r', 0, 's' },
  };
  const uint8_t *p = l->head;
  size_t i;

  if (l->n >= 10 && ((p[0] == 0xff && p[1] == 0xfe) ||
                     (p[0] == 0xfe && p[1] == 0xff)))
    p += 2;
  for (i = 0; l->n >= 10 && i < sizeof words / sizeof words[0]; ++i)
    if (memcmp (p, words[i], 8) == 0)
      return true;
  return false;
}

/* One line that is a path: what is left of a symbolic link that was copied as
 * if it were a file, or checked out where there are none.
 */
static bool
is_link_text (const struct look *l)
{
  const size_t n = strlen (l->text);
  const char *p = l->text;
  size_t k;

  if (begins (l, "!<symlink>") || begins (l, "XSym\n") ||
      begins (l, "IntxLNK"))
    return true;
  if (l->size > 1024 || n < 5)
    return false;
  for (k = n; k > 0 && (p[k - 1] == '\n' || p[k - 1] == '\r'); --k)
    ;
  return memchr (p, '\n', k) == NULL && memchr (p, '=', k) == NULL &&
    memchr (p, '"', k) == NULL && k > 5 &&
    (strncasecmp (p + k - 5, ".vmdk", 5) == 0 ||
     strncasecmp (p + k - 4, ".vdi", 4) == 0 ||
     strncasecmp (p + k - 4, ".img", 4) == 0 ||
     strncasecmp (p + k - 4, ".raw", 4) == 0);
}

/* VMware's snapshots of memory and devices, and suspended machines. */
static bool
is_vmsn (const struct look *l)
{
  const uint32_t magic = l->n >= 4 ? vd_le32 (l->head) : 0;

  return magic == 0xbed2bed0 || magic == 0xbad1bad1 || magic == 0xbed2bed2 ||
    magic == 0xbed3bed3;
}

static bool
is_nvram (const struct look *l)
{
  return l->n >= 4 && memcmp (l->head, "MRVN", 4) == 0;
}

/* The same footer as a dynamic one's; with type 2 the rest is the disk. */
static bool
is_fixed_vhd (const struct look *l)
{
  return l->m == 512 && memcmp (l->tail, "conectix", 8) == 0 &&
    vd_be32 (l->tail + 60) == 2;
}

static bool
is_vbox_state (const struct look *l)
{
  return l->n >= 22 && memcmp (l->head, "\177VirtualBox SavedState", 22) == 0;
}

#define BESIDE "it holds nothing of a disk; give the disk's .vmdk file"
#define GET_AGAIN "get the file itself again"

static const struct {
  bool (*is) (const struct look *l);
  struct vd_foreign foreign;
} others[] = {
  { is_lfs, PAGE ("a pointer of Git LFS", "get the file itself "
                  "(git lfs pull)") },
  { is_annex, PAGE ("a pointer of git-annex", "get the file itself "
                    "(git annex get)") },
  { is_html, PAGE ("a web page, perhaps of an error or a login, and not what "
                   "was asked for", GET_AGAIN) },
  { is_server_error, PAGE ("an error that a server sent (XML)", GET_AGAIN) },
  { is_ovf, PAGE ("an OVF envelope, which describes a machine",
                  "give one of the .vmdk files that it names in a line with "
                  "ovf:href") },
  { is_vmxf, PAGE ("a machine file of VMware's (.vmxf)", BESIDE) },
  { is_xml, { .what = "a machine file (XML), not a disk",
              .advice = "give one of the disks that vmdkdelta info --chain "
              "lists for it", .page = true, .xml = true } },
  { is_json, PAGE ("JSON, perhaps of an error, and not what was asked for",
                   GET_AGAIN) },
  { is_vmsd, PAGE ("VMware's list of snapshots (.vmsd), not a disk",
                   "give the .vmdk file that a line with fileName in it "
                   "names") },
  { is_vmware_text, PAGE ("a machine file of VMware's, not a disk",
                          "give one of the disks that vmdkdelta info lists "
                          "for it") },
  { is_manifest, PAGE ("a list of checksums", BESIDE) },
  { is_pem, PAGE ("a certificate or key", BESIDE) },
  { is_utf16, PAGE ("a descriptor in UTF-16, as Notepad saves \"Unicode\"",
                    "convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW.vmdk") },
  { is_link_text, PAGE ("the text of a symbolic link, which was copied as if "
                        "it were a file", "give the file that it names") },
  { is_vmsn, OTHER ("a memory snapshot or suspended state of VMware's (.vmsn, "
                    ".vmss)", BESIDE) },
  { is_nvram, OTHER ("the BIOS settings of a machine (.nvram)", BESIDE) },
  { is_fixed_vhd, OTHER ("a fixed VHD, which is a raw disk and a footer",
                         "use it as the base") },
  { is_vbox_state, OTHER ("a saved state of VirtualBox's (.sav)", BESIDE) },
};

/* Names tell what content does not.  "#" stands for a digit. */
static const struct {
  const char *suffix;
  struct vd_foreign foreign;
} names[] = {
  { "-ctk.vmdk", OTHER ("a list of changed blocks (CBT)", "it holds nothing "
                        "of the disk; give NAME.vmdk instead of "
                        "NAME-ctk.vmdk") },
  { "-digest.vmdk", OTHER ("a list of hashes", BESIDE) },
  { "-rdm.vmdk", OTHER ("a pointer to a LUN (raw device mapping)",
                        "image the LUN where it is") },
  { "-rdmp.vmdk", OTHER ("a pointer to a LUN (raw device mapping)",
                         "image the LUN where it is") },
  { ".vmsn", OTHER ("a memory snapshot of VMware's (.vmsn)", BESIDE) },
  { ".vmss", OTHER ("a suspended state of VMware's (.vmss)", BESIDE) },
  { ".vmem", OTHER ("the memory of a machine (.vmem)", BESIDE) },
  { ".vswp", OTHER ("the swap file of a machine (.vswp)", BESIDE) },
  { ".nvram", OTHER ("the BIOS settings of a machine (.nvram)", BESIDE) },
  { ".vmsd", OTHER ("VMware's list of snapshots (.vmsd)", BESIDE) },
  { ".vmx", OTHER ("a machine file of VMware's (.vmx)", "give one of the "
                   "disks that vmdkdelta info lists for it") },
  { ".vmtx", OTHER ("a machine file of VMware's (.vmtx)", BESIDE) },
  { ".vmxf", OTHER ("a machine file of VMware's (.vmxf)", BESIDE) },
  { ".ovf", OTHER ("an OVF envelope", BESIDE) },
  { ".mf", OTHER ("a list of checksums (.mf)", BESIDE) },
  { ".log", OTHER ("a log", BESIDE) },
  { ".sav", OTHER ("a saved state of VirtualBox's (.sav)", BESIDE) },
  { ".part", OTHER ("a download that is not complete", GET_AGAIN) },
  { ".partial", OTHER ("a download that is not complete", GET_AGAIN) },
  { ".filepart", OTHER ("a download that is not complete", GET_AGAIN) },
  { ".crdownload", OTHER ("a download that is not complete", GET_AGAIN) },
  { ".download", OTHER ("a download that is not complete", GET_AGAIN) },
  { ".aria2", OTHER ("the notes of a download that is not complete",
                     GET_AGAIN) },
  { ".#########", OTHER ("one chunk of a file", "join all of them: "
                         "cat NAME.vmdk.0* > NAME.vmdk") },
  { ".vmdk.###", OTHER ("one part of a file that was cut in pieces", "join "
                        "all of them: cat NAME.vmdk.* > NAME.vmdk") },
  { ".vdi.###", OTHER ("one part of a file that was cut in pieces", "join "
                       "all of them: cat NAME.vdi.* > NAME.vdi") },
};

static bool
ends_like (const char *name, const char *suffix)
{
  const size_t n = strlen (name), m = strlen (suffix);
  const char *end = name + n - m;
  size_t i;

  if (n <= m)
    return false;
  for (i = 0; i < m; ++i)
    if (suffix[i] == '#' ? !isdigit ((unsigned char) end[i])
        : tolower ((unsigned char) end[i]) != suffix[i])
      return false;
  return true;
}

const struct vd_foreign *
vd_foreign_by_name (const char *path)
{
  size_t i;

  for (i = 0; i < sizeof names / sizeof names[0]; ++i)
    if (ends_like (path, names[i].suffix))
      return &names[i].foreign;
  return NULL;
}

/* ---- Looking ------------------------------------------------------------ */

const struct vd_foreign *
vd_foreign_find (const uint8_t *head, size_t n, const uint8_t *tail, size_t m,
                 uint64_t size)
{
  char text[VD_FOREIGN_HEAD + 1];
  struct look l = {
    .head = head, .n = n, .tail = tail, .m = m, .size = size, .text = text,
  };
  size_t i;

  memcpy (text, head, n);
  text[n] = '\0';
  if (strncmp (l.text, "\xef\xbb\xbf", 3) == 0)
    l.text += 3;
  l.text += strspn (l.text, " \t\r\n");

  for (i = 0; i < sizeof containers / sizeof containers[0]; ++i)
    if (is_container (&containers[i], &l))
      return &containers[i].is;
  if (vd_is_descriptor_text (head, n))
    return NULL;
  for (i = 0; i < sizeof others / sizeof others[0]; ++i)
    if (others[i].is (&l))
      return &others[i].foreign;
  return NULL;
}

/* What is read of a file, once. */
struct ends {
  uint8_t *buf;                 /* owned */
  const uint8_t *tail;
  size_t n, m;
};

static int
read_ends (struct vd_file *file, uint32_t align, struct ends *e,
           struct vd_err *err)
{
  const uint64_t want = vd_min (file->size, VD_FOREIGN_HEAD);
  const uint64_t head = vd_min (file->size,
                                vd_div_up (VD_FOREIGN_HEAD, align) * align);
  const uint64_t from = vd_round_down (file->size > VD_FOREIGN_TAIL
                                       ? file->size - VD_FOREIGN_TAIL : 0,
                                       align);
  struct vd_err ignored;

  e->buf = malloc ((size_t) (head + (file->size - from)) + 1);
  if (!e->buf)
    return vd_fail_nomem (err);
  if (vd_file_pread (file, e->buf, (size_t) head, 0, err) == -1)
    return -1;
  e->n = (size_t) want;
  e->tail = e->buf + head + (file->size - from);
  e->m = 0;
  if (file->size > VD_FOREIGN_TAIL &&
      vd_file_pread (file, e->buf + head, (size_t) (file->size - from), from,
                     &ignored) == 0) {
    e->m = VD_FOREIGN_TAIL;
    e->tail -= VD_FOREIGN_TAIL;
  }
  return 0;
}

int
vd_foreign_look (struct vd_file *file, uint32_t align,
                 const struct vd_foreign **foreign, struct vd_err *err)
{
  struct ends e = { .buf = NULL };
  const int r = read_ends (file, align, &e, err);

  *foreign = r == -1 ? NULL
    : vd_foreign_find (e.buf, e.n, e.tail, e.m, file->size);
  free (e.buf);
  return r;
}

/* ---- Raw disks ---------------------------------------------------------- */

/* Text as far as we look, and small: a disk would have zeros somewhere. */
static bool
is_text_file (const struct ends *e, uint64_t size)
{
  return size <= VD_MAX_DESCRIPTOR && memchr (e->buf, '\0', e->n) == NULL;
}

static const char *const needed[] = {
  [VD_RAW_BASE] = "and the base must be a raw disk",
  [VD_RAW_TARGET] = "and only raw and flat targets can be written",
  [VD_RAW_SOURCE] = "and a raw disk is needed here",
  [VD_RAW_EXTENT] = "but should be the flat data of a disk",
};

/* The end of all of these messages: only the user knows better. */
#define UNLESS " (if it is a raw disk and only begins like that, use " \
  "%sbase-format=raw)"

static const char *
sparse_way (enum vd_raw_use use)
{
  return use == VD_RAW_TARGET
    ? "if the deltas were made on it, vmdkdelta merge writes them into it; "
    "otherwise convert it first (qemu-img convert -O raw)"
    : use == VD_RAW_BASE
    ? "if the deltas were made on it, nbdkit vmdk serves them without a base; "
    "otherwise serve it with nbdkit vmdk, and use that as the base"
    : "serve it with nbdkit vmdk, or convert it (qemu-img convert -O raw)";
}

static int
refuse_raw (const struct vd_file *file, enum vd_raw_use use, const char *what,
            const char *way, struct vd_err *err)
{
  return vd_fail (err, VD_NOT_FORMAT, "%s is %s, %s: %s" UNLESS, file->name,
                  what, needed[use], way, vd_opts_prefix ());
}

static int
refuse_descriptor (const struct vd_file *file, const struct ends *e,
                   enum vd_raw_use use, struct vd_err *err)
{
  const char *text = (const char *) e->buf;
  const char *line = memmem (text, e->n, "RW ", 3);
  const size_t rest = line ? e->n - (size_t) (line - text) : 0;
  const char *end = line ? memchr (line, '\n', rest) : NULL;
  const size_t n = end ? (size_t) (end - line) : rest;
  const char *name = line ? memchr (line, '"', n) : NULL;
  const char *close = name
    ? memchr (name + 1, '"', n - (size_t) (name + 1 - line)) : NULL;

  if (line && memmem (line, name ? (size_t) (name - line) : n, "SPARSE", 6))
    return refuse_raw (file, use, "the descriptor of a snapshot or sparse disk",
                       sparse_way (use), err);
  return vd_fail (err, VD_NOT_FORMAT, "%s is a VMDK descriptor, %s: give the "
                  "flat file that it names%s%.*s" UNLESS, file->name,
                  needed[use], close ? ", " : "",
                  close ? (int) vd_min ((size_t) (close - name - 1), 255) : 0,
                  close ? name + 1 : "", vd_opts_prefix ());
}

int
vd_check_raw (struct vd_file *file, enum vd_raw_use use, uint32_t align,
              const struct vd_opts *opts, struct vd_err *err)
{
  struct ends e = { .buf = NULL };
  CLEANUP_FREE uint8_t *buf = NULL;
  const struct vd_format *fmt;
  const struct vd_foreign *f;
  char what[64];

  if (opts->raw_base)
    return 0;
  if (read_ends (file, align, &e, err) == -1) {
    free (e.buf);
    return -1;
  }
  buf = e.buf;
  fmt = vd_image_format_of (e.buf, vd_min (e.n, 512));
  if (fmt) {
    snprintf (what, sizeof what, "a sparse image (%s)", fmt->name);
    return refuse_raw (file, use, what, sparse_way (use), err);
  }
  f = vd_foreign_find (e.buf, e.n, e.tail, e.m, file->size);
  if (f && (f->container || (f->page && is_text_file (&e, file->size))))
    return refuse_raw (file, use, f->what, f->advice, err);
  if (vd_is_descriptor_text (e.buf, e.n))
    return refuse_descriptor (file, &e, use, err);
  return 0;
}

/* ---- Given as an image -------------------------------------------------- */

/* A disk is made of sectors; a page, a log, the rest of a transfer often are
 * not.
 */
static const char *
base_hint (const struct vd_file *file)
{
  return file->size % VD_SECTOR == 0
    ? "; if it is a raw or flat disk, use it as the base"
    : ".  It is no raw disk either: its size is not a whole number of "
    "sectors";
}

static int
explain_unknown (const struct vd_file *file, const struct ends *e,
                 struct vd_err *err)
{
  CLEANUP_FREE char *stem = vd_flat_stem (file->name);

  if (file->size == 0)
    return vd_fail (err, VD_NOT_FORMAT, "%s is empty (0 bytes): making or "
                    "copying it failed; get it again", file->name);
  if (stem)
    return vd_fail (err, VD_NOT_FORMAT, "%s is the data of a disk (raw "
                    "bytes), not its descriptor and not a delta: open "
                    "%s.vmdk, or use it as the base", file->name, stem);
  if (e->buf[0] == 0 && memcmp (e->buf, e->buf + 1, e->n - 1) == 0)
    return vd_fail (err, VD_NOT_FORMAT, "%s is not a VMDK: it begins with %zu "
                    "bytes of zeros.  If it is a copy, it is not complete%s",
                    file->name, e->n, base_hint (file));
  return vd_fail (err, VD_NOT_FORMAT, "%s is not a VMDK: it has neither a "
                  "sparse extent's magic (COWD, KDMV, SEsparse, VDI) nor a "
                  "text descriptor%s", file->name, base_hint (file));
}

int
vd_explain_foreign (struct vd_file *file, struct vd_err *err)
{
  struct ends e = { .buf = NULL };
  CLEANUP_FREE uint8_t *buf = NULL;
  const struct vd_foreign *f;

  if (read_ends (file, 1, &e, err) == -1) {
    free (e.buf);
    return -1;
  }
  buf = e.buf;
  f = vd_foreign_find (e.buf, e.n, e.tail, e.m, file->size);
  if (!f && file->size > 0)
    f = vd_foreign_by_name (file->name);
  if (f)
    return vd_fail (err, VD_NOT_FORMAT, "%s is %s: %s", file->name, f->what,
                    f->advice);
  return explain_unknown (file, &e, err);
}

/* ---- Texts -------------------------------------------------------------- */

bool
vd_is_xml (const char *head)
{
  static const char *const starts[] = {
    "<?xml", "<!--", "<!DOCTYPE", "<VirtualBox",
  };
  size_t i;

  if (strncmp (head, "\xef\xbb\xbf", 3) == 0)
    head += 3;
  head += strspn (head, " \t\r\n");
  for (i = 0; i < sizeof starts / sizeof starts[0]; ++i)
    if (strncmp (head, starts[i], strlen (starts[i])) == 0)
      return true;
  return false;
}

/* So many bytes that are not text may be in one, where an editor or a bad
 * sector left them: the parser says where.
 */
#define MAX_ODD_BYTES 8u

bool
vd_is_descriptor_text (const uint8_t *head, size_t n)
{
  static const char *const words[] = {
    "descriptorfile", "createtype", "parentcid",
  };
  char text[VD_FOREIGN_HEAD + 1];
  size_t i, odd = 0;

  n = vd_min (n, VD_FOREIGN_HEAD);
  for (i = 0; i < n && head[i] != '\0'; ++i) {
    text[i] = (char) tolower (head[i]);
    if (head[i] < 0x20 && !isspace (head[i]) && ++odd > MAX_ODD_BYTES)
      return false;
  }
  text[i] = '\0';
  if (vd_is_xml (text) || text[0] == '<' || text[0] == '{')
    return false;
  for (i = 0; i < sizeof words / sizeof words[0]; ++i)
    if (strstr (text, words[i]))
      return true;
  return false;
}
