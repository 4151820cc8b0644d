/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* VMware machines: the text of .vmx and .vmsd, and what it is taken for. */

#include "unit.h"
#include "vmx/vmx-text.h"

static struct vd_vmx *
vmx_of (const char *text, const char *vmsd)
{
  struct vd_err err;
  struct vd_vmx *vmx
    = vd_vmx_parse ("dir/m.vmx", text, strlen (text), vmsd,
                    vmsd ? strlen (vmsd) : 0, &err);

  assert_opened (vmx, &err);
  return vmx;
}

static void
refused (const char *text, size_t len, enum vd_code code, const char *part)
{
  struct vd_err err;

  assert_null (vd_vmx_parse ("m.vmx", text, len, NULL, 0, &err));
  assert_err (&err, code, "m.vmx", part);
}

/* ---- Lines ----------------------------------------------------------------- */

static const char *
value_of (const char *text, const char *key)
{
  static char copy[256];
  struct vd_vmx_text t;
  struct vd_err err;
  const char *value;

  assert_int_equal (vd_vmx_text_parse (&t, "t", text, strlen (text), &err), 0);
  value = vd_vmx_get (&t, "%s", key);
  if (value)
    snprintf (copy, sizeof copy, "%s", value);
  vd_vmx_text_free (&t);
  return value ? copy : NULL;
}

TEST (lines)
{
  static const struct { const char *text, *key, *value; } good[] = {
    { "a = \"b\"\n", "a", "b" },
    { "\xef\xbb\xbf" "a=\"b\"", "a", "b" },
    { "#!/usr/bin/vmware\r\n\r\n  Scsi0:0.FileName\t=  \"x y.vmdk\" \r\n",
      "scsi0:0.filename", "x y.vmdk" },
    { "a = \"|22b|22 |7C |7c|0A\"", "a", "\"b\" | |\n" },
    { "a = \"|\"", "a", "|" },
    { "a = \"|4\"", "a", "|4" },
    { "a = \"x|zz\"", "a", "x|zz" },
    { "a = \"\"", "a", "" },
    { "a = 256 # bytes\n", "a", "256" },
    { "a =\n", "a", "" },
    { "a = \"# none\" # one", "a", "# none" },
    { "a = \"1\"\nb = \"2\"\nA = \"1\"\n", "a", "1" },
    { "a = \"1\"\n", "b", NULL },
  };
  static const struct { const char *text, *part; } bad[] = {
    { "a = \"1\"\nb\n", "line 2 is not KEY" },
    { "= \"1\"", "line 1 is not KEY" },
    { "a = \"1", "line 1 has a value whose quotes do not end" },
    { "a = \"1\n\"", "line 1 has a value whose quotes do not end" },
    { "a = \"1\" b", "line 1 goes on behind its value" },
    { "a = 1 2", "line 1 goes on behind its value" },
    { "a = \"x|00y\"", "line 1 has |00" },
    { "a = \"1\"\n\nA = \"2\"", "the value '1' in line 1 and '2' in line 3" },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (good); ++i) {
    const char *value = value_of (good[i].text, good[i].key);

    if (good[i].value)
      assert_string_equal (value, good[i].value);
    else
      assert_null (value);
  }
  for (i = 0; i < ARRAY_SIZE (bad); ++i)
    refused (bad[i].text, strlen (bad[i].text), VD_CORRUPT, bad[i].part);
  refused ("", 0, VD_NOT_FORMAT, "is empty");
  refused ("\0\0", 2, VD_NOT_FORMAT, "is empty");
  refused ("a = \"1\"\0b", 9, VD_NOT_FORMAT, "holds zero bytes");
  refused ("encryption.data = \"x\"", 21, VD_UNSUPPORTED, "encrypted");
}

TEST (limits)
{
  const size_t big = VD_VMX_MAX_SIZE + 1;
  char *text = malloc (big), *p = text;
  unsigned i;

  assert_non_null (text);
  memset (text, '#', big);
  refused (text, big, VD_UNSUPPORTED, "has at most");
  for (i = 0; i <= VD_VMX_MAX_ENTRIES; ++i)
    p += sprintf (p, "a%u=1\n", i);
  refused (text, (size_t) (p - text), VD_UNSUPPORTED, "more than 65536 lines");
  for (i = 0, p = text; i <= VD_VMX_MAX_DISKS; ++i)
    p += sprintf (p, "scsi%u:%u.filename=a.vmdk\n", i / 64, i % 64);
  refused (text, (size_t) (p - text), VD_UNSUPPORTED, "more than 1024 disks");
  free (text);
}

/* ---- Disks ----------------------------------------------------------------- */

TEST (disks)
{
  static const char *const want[] = {
    "scsi0:0", "scsi0:10", "scsi1:2", "nvme0:0", "sata0:1", "ide1:0",
  };
  struct vd_vmx *vmx = vmx_of (
    ".encoding = \"windows-1252\"\n"
    "displayName = \"caf\xe9\"\n"
    "guestOS = \"debian12-64\"\n"
    "checkpoint.vmState = \"\"\n"
    "ctkEnabled = \"TRUE\"\n"
    "scsi0.present = \"TRUE\"\n"
    "SCSI0:10.fileName = \"b.vmdk\"\n"
    "scsi0:0.fileName = \"a.VMDK\"\n"
    "scsi0:0.ctkEnabled = \"true\"\n"
    "scsi0:0.mode = \"independent-nonpersistent\"\n"
    "scsi0:1.fileName = \"gone.vmdk\"\n"
    "scsi0:1.present = \"FALSE\"\n"
    "scsi1:2.fileName = \"c.vmdk.REDO_a1b2c3\"\n"
    "scsi2:0.fileName = \"gone.vmdk\"\n"
    "scsi2.present = \"false\"\n"
    "scsi00:3.fileName = \"no.vmdk\"\n"
    "scsi0:03.fileName = \"no.vmdk\"\n"
    "scsi0:9999999999.fileName = \"no.vmdk\"\n"
    "scsi0:3.fileName.x = \"no.vmdk\"\n"
    "nvme0:0.fileName = \"d\"\n"
    "nvme0:0.deviceType = \"disk\"\n"
    "sata0:0.fileName = \"x.vmdk\"\n"
    "sata0:0.deviceType = \"cdrom-image\"\n"
    "sata0:1.fileName = \"e\xe9.vmdk\"\n"
    "ide1:0.fileName = \"f.vmdk\"\n"
    "ide1:0.deviceType = \"ata-hardDisk\"\n"
    "ide0:0.fileName = \"install.iso\"\n"
    "floppy0.fileName = \"x.vmdk\"\n", NULL);
  size_t i;

  assert_string_equal (vmx->name, "caf\xc3\xa9");
  assert_string_equal (vmx->guest, "debian12-64");
  assert_false (vmx->suspended);
  assert_true (vmx->tracked);
  assert_int_equal (vmx->nr_disks, ARRAY_SIZE (want));
  for (i = 0; i < ARRAY_SIZE (want); ++i)
    assert_string_equal (vmx->disks[i].node, want[i]);
  assert_true (vmx->disks[0].tracked);
  assert_false (vmx->disks[1].tracked);
  assert_string_equal (vmx->disks[0].mode, "independent-nonpersistent");
  assert_string_equal (vmx->disks[4].file, "e\xc3\xa9.vmdk");
  assert_string_equal (vmx->disks[4].name, "e\xe9.vmdk");
  assert_false (vmx->has_vmsd);
  assert_int_equal (vmx->vmsd_err.code, VD_OK);
  vd_vmx_free (vmx);

  vmx = vmx_of ("checkpoint.vmState = \"m.vmss\"\n", NULL);
  assert_string_equal (vmx->name, "m");
  assert_true (vmx->suspended);
  assert_int_equal (vmx->nr_disks, 0);
  vd_vmx_free (vmx);
}

/* ---- Snapshots --------------------------------------------------------------- */

static const char one_disk[] = "scsi0:0.fileName = \"m-000002.vmdk\"\n";

TEST (snapshots)
{
  struct vd_vmx *vmx = vmx_of (one_disk,
    ".encoding = \"UTF-8\"\n"
    "snapshot.current = \"7\"\n"
    "snapshot0.uid = \"7\"\n"
    "snapshot0.parent = \"1\"\n"
    "snapshot0.displayName = \"second\"\n"
    "snapshot0.createTimeHigh = \"338221\"\n"
    "snapshot0.createTimeLow = \"-1063257960\"\n"
    "snapshot0.disk0.fileName = \"m-000001.vmdk\"\n"
    "snapshot0.disk0.node = \"scsi0:0\"\n"
    "snapshot1.uid = \"1\"\n"
    "snapshot1.displayName = \"before |22update|22\"\n"
    "snapshot1.description = \"two|0Alines\"\n"
    "snapshot1.createTimeHigh = \"x\"\n"
    "snapshot1.createTimeLow = \"1\"\n"
    "snapshot1.disk0.fileName = \"m.vmdk\"\n"
    "snapshot1.disk0.node = \"SCSI0:0\"\n"
    "snapshot10.uid = \"10\"\n"
    "snapshot10.parent = \"99\"\n"
    "snapshot2.uid = \"9\"\n"
    "snapshot2.parent = \"1\"\n");

  assert_true (vmx->has_vmsd);
  assert_int_equal (vmx->nr_snapshots, 4);
  assert_string_equal (vmx->tree[0]->name, "before \"update\"");
  assert_string_equal (vmx->tree[0]->description, "two\nlines");
  assert_string_equal (vmx->tree[0]->time, "");
  assert_string_equal (vmx->tree[1]->name, "second");
  assert_string_equal (vmx->tree[1]->time, "2016-01-13T02:16:05Z");
  assert_int_equal (vmx->tree[1]->depth, 1);
  assert_int_equal (vmx->tree[2]->uid, 9);
  assert_int_equal (vmx->tree[3]->uid, 10);     /* its parent is gone */
  assert_int_equal (vmx->tree[3]->depth, 0);
  assert_ptr_equal (vmx->current, vmx->tree[1]);
  vd_vmx_free (vmx);
}

/* The .vmsd only names: whatever is in it, the disks are there. */
TEST (bad_snapshots)
{
  static const struct { const char *vmsd, *part; } bad[] = {
    { "snapshot0.uid = \"x\"", "line 1: a snapshot with the number 'x'" },
    { "snapshot0.uid = \"0\"", "the number '0', which is none" },
    { "snapshot0.uid = \"1\"\nsnapshot1.uid = \"1\"", "two snapshots" },
    { "snapshot0.uid = \"1\"\nsnapshot0.parent = \"1\"", "own ancestor" },
    { "snapshot0.uid = \"1\"\nsnapshot0.parent = \"2\"\n"
      "snapshot1.uid = \"2\"\nsnapshot1.parent = \"1\"", "own ancestor" },
    { "snapshot0.uid", "is not KEY" },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (bad); ++i) {
    struct vd_vmx *vmx = vmx_of (one_disk, bad[i].vmsd);

    assert_false (vmx->has_vmsd);
    assert_text (vmx->vmsd_err.msg, bad[i].part);
    assert_int_equal (vmx->nr_disks, 1);
    assert_int_equal (vmx->nr_snapshots, 0);
    vd_vmx_free (vmx);
  }
}

/* ---- Files and names --------------------------------------------------------- */

static void
write_link (const char *path, unsigned cid, unsigned parent_cid,
            const char *hint)
{
  char text[600];

  snprintf (text, sizeof text, "# Disk DescriptorFile\nversion=1\n"
            "CID=%08x\nparentCID=%08x\ncreateType=\"vmfs\"\n%s%s%s"
            "RW 128 ZERO\n", cid, parent_cid,
            hint ? "parentFileNameHint=\"" : "", hint ? hint : "",
            hint ? "\"\n" : "");
  u_write_text (path, text);
}

struct opened {
  struct vd_vmx *vmx;
  struct vd_family *family;
  struct vd_vmx_views views;
};

static void
open_machine (struct opened *o)
{
  static const struct vd_opts none;
  struct vd_err err;

  o->vmx = vd_vmx_open ("m.vmx", &none, &err);
  assert_opened (o->vmx, &err);
  o->family = vd_family_new (&none, &err);
  assert_opened (o->family, &err);
  assert_int_equal (vd_vmx_views (o->vmx, o->family, &o->views, &err), 0);
}

static void
close_machine (struct opened *o)
{
  vd_vmx_views_free (&o->views);
  vd_family_free (o->family);
  vd_vmx_free (o->vmx);
}

static void
write_machine (void)
{
  write_link ("m.vmdk", 1, VD_NO_PARENT, NULL);
  write_link ("m-000001.vmdk", 2, 1, "m.vmdk");
  write_link ("m-000002.vmdk", 3, 2, "m-000001.vmdk");
  write_link ("m-000003.vmdk", 4, 1, "m.vmdk"); /* a branch */
  write_link ("other.vmdk", 9, VD_NO_PARENT, NULL);
  u_write_text ("m.vmx", one_disk);
}

#define FROZEN(k, uid, name, file) "snapshot" #k ".uid = \"" #uid "\"\n" \
  "snapshot" #k ".displayName = \"" name "\"\n" \
  "snapshot" #k ".disk0.fileName = \"" file "\"\n" \
  "snapshot" #k ".disk0.node = \"scsi0:0\"\n"

TEST (views)
{
  static const char *const want[] = {
    "scsi0:0", "scsi0:0@before update", "scsi0:0@#2", "scsi0:0@#3",
    "scsi0:0@#4", "scsi0:0@#5", "scsi0:0@not here", "scsi0:0@m-000001.vmdk",
  };
  static const char *const file[] = {
    "m-000002.vmdk", "m.vmdk", "m-000003.vmdk", "m-000003.vmdk", NULL, NULL,
    NULL, "m-000001.vmdk",
  };
  const struct vd_vmx_view *v;
  struct opened o;
  struct vd_err err;
  size_t i;

  write_machine ();
  u_write_text ("m.vmsd",
                FROZEN (0, 1, "before update", "m.vmdk")
                FROZEN (1, 2, "twice", "m-000003.vmdk")
                FROZEN (2, 3, "twice", "m-000003.vmdk")
                FROZEN (3, 4, "#1", "m-000002.vmdk")
                FROZEN (4, 5, "a|1Bb", "other.vmdk")
                FROZEN (5, 6, "not here", "../secret.vmdk"));
  open_machine (&o);
  assert_int_equal (o.views.n, ARRAY_SIZE (want));
  for (i = 0; i < ARRAY_SIZE (want); ++i) {
    v = &o.views.view[i];
    assert_string_equal (v->name, want[i]);
    if (file[i]) {
      assert_opened (v->member, &v->err);
      assert_text (v->member->link->path, file[i]);
    }
    else
      assert_null (v->member);
  }
  assert_err (&o.views.view[4].err, VD_MISMATCH, "the machine writes to it");
  assert_err (&o.views.view[5].err, VD_MISMATCH, "it is another disk",
              "other.vmdk", "m.vmdk");
  assert_err (&o.views.view[6].err, VD_DENIED, "secret.vmdk");

  v = o.views.view;
  assert_ptr_equal (vd_vmx_find_view (o.vmx, &o.views, "", &err), v);
  assert_ptr_equal (vd_vmx_find_view (o.vmx, &o.views, "SCSI0:0", &err), v);
  assert_ptr_equal (vd_vmx_find_view (o.vmx, &o.views, "before update", &err),
                    v + 1);
  assert_ptr_equal (vd_vmx_find_view (o.vmx, &o.views, "scsi0:0@#1", &err),
                    v + 1);
  assert_null (vd_vmx_find_view (o.vmx, &o.views, "twice", &err));
  assert_err (&err, VD_USAGE, "could be each of scsi0:0@#2, scsi0:0@#3 in");
  assert_null (vd_vmx_find_view (o.vmx, &o.views, "scsi0:0@", &err));
  assert_err (&err, VD_NOT_FOUND, "no disk or snapshot 'scsi0:0@'");
  close_machine (&o);
}

/* The file in use is locked by the host, and was not copied: what is frozen
 * can be read.
 */
TEST (newest_is_not_here)
{
  struct opened o;

  write_machine ();
  assert_int_equal (unlink ("m-000002.vmdk"), 0);
  u_write_text ("m.vmsd", FROZEN (0, 1, "first", "m.vmdk")
                FROZEN (1, 2, "second", "m-000001.vmdk"));
  open_machine (&o);
  assert_int_equal (o.views.n, 3);
  assert_null (o.views.view[0].member);
  assert_err (&o.views.view[0].err, VD_NOT_FOUND, "m-000002.vmdk");
  assert_non_null (o.views.view[1].member);
  assert_non_null (o.views.view[2].member);
  assert_string_equal (o.views.view[2].name, "scsi0:0@second");
  close_machine (&o);
}

/* Two disks on one base: a snapshot has a state of each. */
TEST (disks_with_one_base)
{
  static const char *const want[] = {
    "scsi0:0", "scsi0:0@first", "scsi0:0@m.vmdk",
    "scsi0:1", "scsi0:1@first", "scsi0:1@second", "scsi0:1@m.vmdk",
  };
  struct opened o;
  size_t i;

  write_machine ();
  write_link ("n-000001.vmdk", 5, 1, "m.vmdk");
  write_link ("n-000002.vmdk", 6, 5, "n-000001.vmdk");
  u_write_text ("m.vmx", "scsi0:0.fileName = \"m-000002.vmdk\"\n"
                "scsi0:1.fileName = \"n-000002.vmdk\"\n");
  u_write_text ("m.vmsd", FROZEN (0, 1, "first", "m-000001.vmdk")
                "snapshot0.disk1.fileName = \"n-000001.vmdk\"\n"
                "snapshot0.disk1.node = \"scsi0:1\"\n"
                "snapshot1.uid = \"2\"\n"
                "snapshot1.displayName = \"second\"\n"
                "snapshot1.disk0.fileName = \"m-000002.vmdk\"\n"
                "snapshot1.disk0.node = \"scsi0:1\"\n");
  open_machine (&o);
  assert_int_equal (o.views.n, ARRAY_SIZE (want));
  for (i = 0; i < ARRAY_SIZE (want); ++i)
    assert_string_equal (o.views.view[i].name, want[i]);
  assert_text (o.views.view[1].member->link->path, "m-000001.vmdk");
  assert_text (o.views.view[4].member->link->path, "n-000001.vmdk");
  /* The file is the other disk's, which is written. */
  assert_err (&o.views.view[5].err, VD_MISMATCH, "the machine writes to it");
  close_machine (&o);
}

/* The same chain for each of many disks: all of its states are too many. */
TEST (too_many_states)
{
  static const struct vd_opts none;
  char *text = malloc (VD_VMX_MAX_DISKS * 40), *p = text, name[20];
  char parent[20] = "m.vmdk";
  struct vd_vmx_views views;
  struct vd_family *family;
  struct vd_vmx *vmx;
  struct vd_err err;
  unsigned i;

  assert_non_null (text);
  write_link ("m.vmdk", 1, VD_NO_PARENT, NULL);
  for (i = 1; i <= 10; ++i) {
    snprintf (name, sizeof name, "m-%06u.vmdk", i);
    write_link (name, 1 + i, i, parent);
    strcpy (parent, name);
  }
  for (i = 0; i < VD_VMX_MAX_DISKS; ++i)
    p += sprintf (p, "scsi%u:%u.filename=%s\n", i / 64, i % 64, parent);
  u_write_text ("m.vmx", text);
  free (text);
  vmx = vd_vmx_open ("m.vmx", &none, &err);
  assert_opened (vmx, &err);
  family = vd_family_new (&none, &err);
  assert_opened (family, &err);
  assert_int_equal (vd_vmx_views (vmx, family, &views, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "m.vmx", "more than 8192 states");
  assert_int_equal (views.n, 0);
  vd_family_free (family);
  vd_vmx_free (vmx);
}

/* Without it, what is frozen is called by its files. */
TEST (no_vmsd)
{
  struct opened o;
  struct vd_err err;

  write_machine ();
  open_machine (&o);
  assert_int_equal (o.vmx->vmsd_err.code, VD_OK);
  assert_int_equal (o.views.n, 3);
  assert_string_equal (o.views.view[1].name, "scsi0:0@m-000001.vmdk");
  assert_string_equal (o.views.view[2].name, "scsi0:0@m.vmdk");
  assert_int_equal (vd_vmx_check_off (o.vmx, &err), 0);
  close_machine (&o);

  u_write_text ("m.vmx.lck", "");
  open_machine (&o);
  assert_int_equal (vd_vmx_check_off (o.vmx, &err), -1);
  assert_err (&err, VD_DENIED, "m.vmx.lck");
  close_machine (&o);
}

TEST (which_names_are_machines)
{
  assert_true (vd_vmx_probe ("dir/M.VMX"));
  assert_true (vd_vmx_probe ("ssh://root@esx/vmfs/volumes/d/m.vmx"));
  assert_true (vd_vmx_probe ("https://esx/folder/m/m.vmx?dsName=d"));
  assert_false (vd_vmx_probe ("m.vmxf"));
  assert_false (vd_vmx_probe ("m.vmdk"));
  assert_false (vd_vmx_probe ("https://esx/folder/m.vmdk?x=m.vmx"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (lines),
    cmocka_unit_test (limits),
    cmocka_unit_test (disks),
    cmocka_unit_test (snapshots),
    cmocka_unit_test (bad_snapshots),
    tmpdir_test (views),
    tmpdir_test (newest_is_not_here),
    tmpdir_test (disks_with_one_base),
    tmpdir_test (too_many_states),
    tmpdir_test (no_vmsd),
    cmocka_unit_test (which_names_are_machines),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
