/* What the tests of VirtualBox machine files share. */

#ifndef VBOX_TEXT_H
#define VBOX_TEXT_H

#include "unit.h"

/* A UUID that ends in n, with braces and without. */
#define U(n) "{622a0911-bc78-4b7a-a6ec-0000000000" #n "}"
#define UU(n) "622a0911-bc78-4b7a-a6ec-0000000000" #n

/* A machine file. */
#define BOX(machine_attrs, inside) \
  "<?xml version=\"1.0\"?>\n" \
  "<VirtualBox xmlns=\"http://www.virtualbox.org/\" version=\"1.19-linux\">\n" \
  "<Machine uuid=\"" U (99) "\" name=\"m\"" machine_attrs ">\n" \
  inside "</Machine>\n</VirtualBox>\n"
#define MEDIA(inside) \
  "<MediaRegistry>\n<HardDisks>\n" inside "</HardDisks>\n</MediaRegistry>\n"
#define DISK(n, location, more) \
  "<HardDisk uuid=\"" U (n) "\" location=\"" location "\" format=\"VDI\"" more
#define STATE(inside) \
  "<Hardware>\n<StorageControllers>\n<StorageController name=\"sata\">\n" \
  inside "</StorageController>\n</StorageControllers>\n</Hardware>\n"
#define DEVICE(n, port) \
  "<AttachedDevice type=\"HardDisk\" port=\"" #port "\" device=\"0\">\n" \
  "<Image uuid=\"" U (n) "\"/>\n</AttachedDevice>\n"
#define SNAPSHOT(n, name, inside) \
  "<Snapshot uuid=\"" U (n) "\" name=\"" name "\" timeStamp=\"2026-01-" #n \
  "T00:00:00Z\">\n" inside "</Snapshot>\n"

static inline void
u_uuid (uint8_t uuid[16], unsigned n)
{
  char text[64];

  snprintf (text, sizeof text, "622a0911-bc78-4b7a-a6ec-%012u", n);
  assert_true (vd_parse_uuid (text, uuid));
}

static inline struct vd_vbox *
u_box (const char *text)
{
  struct vd_err err;
  struct vd_vbox *box = vd_vbox_parse ("m.vbox", text, strlen (text), &err);

  assert_opened (box, &err);
  return box;
}

/* tests/data/NAME, with a NUL behind it. */
static inline char *
u_data (const char *name)
{
  const char *top = getenv ("top_srcdir");
  char path[4096], *text;
  struct vd_err err;
  struct vd_file *f;

  snprintf (path, sizeof path, "%s/tests/data/%s", top ? top : ".", name);
  f = vd_file_open (path, &err);
  assert_opened (f, &err);
  text = calloc (1, f->size + 1);
  assert_non_null (text);
  assert_int_equal (vd_file_pread (f, text, f->size, 0, &err), 0);
  vd_file_close (f);
  return text;
}

/* A VDI of one block of 64 KiB, full of this letter, or (0) not there.  UUIDs:
 * 0 is none.
 */
static inline void
u_write_vdi (const char *path, unsigned uuid, unsigned parent, int letter)
{
  static uint8_t file[1024 + 65536];
  const uint32_t fields[][2] = {
    { 0x40, 0xbeda107f }, { 0x44, 0x10001 }, { 0x48, 0x190 },
    { 0x4c, parent ? 4 : 1 }, { 0x154, 512 }, { 0x158, 1024 },
    { 0x170, 65536 }, { 0x178, 65536 }, { 0x180, 1 }, { 0x184, letter != 0 },
    { 512, letter ? 0 : UINT32_MAX },
  };
  const unsigned uuids[2] = { uuid, parent };
  uint8_t u[16];
  size_t i, k;

  memset (file, 0, 1024);
  memset (file + 1024, letter, 65536);
  for (i = 0; i < ARRAY_SIZE (fields); ++i)
    for (k = 0; k < 4; ++k)
      file[fields[i][0] + k] = (uint8_t) (fields[i][1] >> (8 * k));
  for (i = 0; i < 2; ++i) {
    static const uint8_t order[8] = { 3, 2, 1, 0, 5, 4, 7, 6 };
    uint8_t *to = file + (i == 0 ? 0x188 : 0x1a8);

    if (uuids[i] == 0)
      continue;
    u_uuid (u, uuids[i]);
    for (k = 0; k < 16; ++k)
      to[k] = u[k < 8 ? order[k] : k];
  }
  u_write (path, file, letter ? sizeof file : 1024);
}

#endif /* VBOX_TEXT_H */
