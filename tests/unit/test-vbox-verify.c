/* The last look at a new machine file, before it takes the place of the old
 * one: whatever is not as the changes say is found.
 */

#include "vbox/vbox-plan.h"
#include "vbox-text.h"

/* A disk with a child and a loose one; a snapshot; all that may differ is a
 * part of its own.
 */
static const char *const parts[] = {
  "<?xml version=\"1.0\"?>\n<VirtualBox version=\"", "1.19-linux",
  "\">\n<Machine uuid=\"", U (99), "\" name=\"", "m",
  "\" lastStateChange=\"", "2026-01-01", "\" currentSnapshot=\"", U (05),
  "\" currentStateModified=\"", "false", "\"", "", ">\n"
  "<MediaRegistry>\n<HardDisks>\n<HardDisk uuid=\"", U (01),
  "\" location=\"", "a.vdi", "\" format=\"", "VDI", "\" type=\"", "Normal",
  "\">\n<HardDisk uuid=\"", U (02), "\" location=\"b.vdi\" format=\"VDI\"/>\n"
  "", "", "</HardDisk>\n", "", "</HardDisks>\n</MediaRegistry>\n"
  "<Snapshot uuid=\"", U (05), "\" name=\"", "s", "\" timeStamp=\"",
  "2026", "\"", "", ">\n<Description>", "text", "</Description>\n"
  STATE (DEVICE (01, 0)), "", "</Snapshot>\n"
  "<Hardware>\n<StorageControllers>\n<StorageController name=\"", "sata",
  "\">\n<AttachedDevice type=\"", "HardDisk", "\" port=\"", "0", "\" device=\"", "0",
  "\">\n<Image uuid=\"", U (02), "\"/>\n</AttachedDevice>\n", "",
  "</StorageController>\n</StorageControllers>\n</Hardware>\n"
  "</Machine>\n</VirtualBox>\n",
};

/* Part i replaced, if it is what is expected. */
static char *
text_with (const char *old, const char *fresh, unsigned nth)
{
  char *text = NULL;
  size_t len, i;
  FILE *fp = open_memstream (&text, &len);
  unsigned seen = 0;

  assert_non_null (fp);
  for (i = 0; i < ARRAY_SIZE (parts); ++i)
    fputs (old && i % 2 == 1 && strcmp (parts[i], old) == 0 &&
           seen++ == nth ? fresh : parts[i], fp);
  fclose (fp);
  assert_true (!old || seen > nth);
  return text;
}

static int
verify (const struct vd_vbox_change *c, size_t n, const char *text,
        struct vd_err *err)
{
  char *old = text_with (NULL, NULL, 0);
  struct vd_vbox *box = u_box (old), *result = u_box (text);
  struct vd_vbox_plan plan;
  int r;

  if (vd_vbox_plan (&plan, box, c, n, err) == -1)
    fail_msg ("%s", err->msg);
  r = vd_plan_verify (&plan, result, err);
  vd_vbox_plan_free (&plan);
  vd_vbox_free (box);
  vd_vbox_free (result);
  free (old);
  return r;
}

/* Without a change: everything has to be as it was. */
TEST (unchanged)
{
  static const struct {
    const char *old, *fresh, *part;
    unsigned nth;
  } cases[] = {
    { "1.19-linux", "1.20-linux", "the machine is not as planned: m", 0 },
    { U (99), U (98), "the machine is not", 0 },
    { "m", "n", "the machine is not", 0 },
    { "2026-01-01", "2026-01-02", "the machine is not", 0 },
    { "", " stateFile=\"x\"", "the machine is not", 0 },
    { "", " aborted=\"true\"", "the machine is not", 0 },
    { U (05), "{00000000-0000-0000-0000-000000000000}",
      "the current snapshot is not as planned", 0 },
    { "a.vdi", "b.vdi", "a medium is not as planned: a.vdi", 0 },
    { "VDI", "VMDK", "a medium is not as planned: a.vdi", 0 },
    { "Normal", "Immutable", "the type of a medium is not as planned: a.vdi",
      0 },
    { "", "<HardDisk uuid=\"" U (03) "\" location=\"c\"/>\n",
      "the registry is not as planned", 1 },
    { "s", "t", "a snapshot is not as planned: s", 0 },
    { "2026", "2027", "a snapshot is not as planned: s", 0 },
    { "text", "txt", "a snapshot is not as planned: s", 0 },
    { "", " stateFile=\"x\"", "a snapshot is not as planned: s", 3 },
    { "", "<Snapshots><Snapshot uuid=\"" U (06) "\"/></Snapshots>",
      "the snapshots is not as planned", 4 },
    { "sata", "ide", "what is attached is not as planned: current state", 0 },
    { "0", "1", "what is attached is not as planned", 0 },
    { "0", "1", "what is attached is not as planned", 1 },
    { U (02), U (01), "what is attached is not as planned", 1 },
    { "", DEVICE (01, 7), "what is attached is not as planned", 5 },
    { "HardDisk", "DVD", "what is attached is not as planned", 0 },
  };
  struct vd_err err;
  char *text = text_with (NULL, NULL, 0);
  size_t i;

  if (verify (NULL, 0, text, &err) == -1)
    fail_msg ("%s", err.msg);
  free (text);
  for (i = 0; i < ARRAY_SIZE (cases); ++i) {
    text = text_with (cases[i].old, cases[i].fresh, cases[i].nth);
    if (verify (NULL, 0, text, &err) == 0)
      fail_msg ("case %zu: %s for %s", i, cases[i].fresh, cases[i].old);
    assert_err (&err, VD_CORRUPT, cases[i].part);
    free (text);
  }
}

/* The text, with that put for the nth such part, is not as one change plans
 * it.
 */
static void
assert_refused (const struct vd_vbox_change *c, const char *old,
                const char *fresh, unsigned nth, const char *part)
{
  char *text = text_with (old, fresh, nth);
  struct vd_err err;

  assert_int_equal (verify (c, 1, text, &err), -1);
  assert_err (&err, VD_CORRUPT, part);
  free (text);
}

/* With changes: done in part, or otherwise. */
TEST (changed)
{
  struct vd_vbox_change c[3];
  struct vd_err err;
  char *text;

  /* a device that is to go is there; one that is to stay is not */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_DETACH;
  u_uuid (c[0].uuid, 2);
  assert_refused (c, NULL, NULL, 0,
                  "what is attached is not as planned");
  assert_refused (c, "", "<Unused/></StorageController><StorageController>"
                  DEVICE (01, 3), 5,
                  "what is attached");

  /* a new medium: missing, or elsewhere */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_ADD_MEDIUM;
  c[0].location = "c.vdi";
  c[0].format = "VDI";
  u_uuid (c[0].uuid, 3);
  u_uuid (c[0].to, 1);
  assert_refused (c, NULL, NULL, 0,
                  "a new medium is not as planned: c.vdi");
  assert_refused (c, "", DISK (03, "c.vdi", "/>\n"), 2,
                  "a new medium is not as planned: c.vdi");
  text = text_with ("", DISK (03, "c.vdi", "/>\n"), 1);
  assert_int_equal (verify (c, 1, text, &err), 0);
  free (text);

  /* a new snapshot: missing, or not the current one */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_ADD_SNAPSHOT;
  c[0].name = "n";
  c[0].time = "t";
  u_uuid (c[0].uuid, 6);
  assert_refused (c, NULL, NULL, 0,
                  "the new snapshot is not as planned: n");
  assert_refused (c, "", "<Snapshots><Snapshot uuid=\"" U (06) "\" name=\"n\" "
                  "timeStamp=\"t\">" STATE (DEVICE (02, 0))
                  "</Snapshot></Snapshots>", 4,
                  "the new snapshot is not as planned: n");

  /* a medium that moves: only in part, or not at all */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_MOVE_MEDIUM;
  c[0].location = "z.vmdk";
  c[0].format = "VMDK";
  u_uuid (c[0].uuid, 1);
  assert_refused (c, "a.vdi", "z.vmdk", 0,
                  "a medium is not as planned: a.vdi");
}

/* ---- Moving, which the tests of editing leave out ------------------------ */

static int
edit (const struct vd_vbox_change *c, size_t n, char **out, struct vd_err *err)
{
  char *old = text_with (NULL, NULL, 0);
  struct vd_vbox *box = u_box (old);
  size_t len;
  int r = vd_vbox_edit (box, c, n, out, &len, err);

  vd_vbox_free (box);
  free (old);
  return r;
}

TEST (moves)
{
  struct vd_vbox_change c[2];
  struct vd_err err;
  char *out;

  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_MOVE_MEDIUM;
  c[0].location = "z&z.vmdk";
  u_uuid (c[0].uuid, 1);
  assert_int_equal (edit (c, 1, &out, &err), 0);
  assert_text (out, "location=\"z&amp;z.vmdk\" format=\"VDI\" type=");
  free (out);
  c[0].format = "VMDK";
  assert_int_equal (edit (c, 1, &out, &err), 0);
  assert_text (out, "location=\"z&amp;z.vmdk\" format=\"VMDK\" type=");
  free (out);

  c[1] = c[0];
  assert_int_equal (edit (c, 2, &out, &err), -1);
  assert_err (&err, VD_USAGE, "m.vbox: the medium " U (01) " is moved twice");
  c[1].kind = VD_VBOX_REMOVE_MEDIUM;
  assert_int_equal (edit (c, 2, &out, &err), -1);
  assert_err (&err, VD_USAGE, U (01) " is moved twice, or removed too");
  c[0].format = "";
  assert_int_equal (edit (c, 1, &out, &err), -1);
  assert_err (&err, VD_USAGE, "m.vbox: a new format is empty");
  u_uuid (c[0].uuid, 9);
  assert_int_equal (edit (c, 1, &out, &err), -1);
  assert_err (&err, VD_USAGE, "m.vbox: there is no medium " U (09));

  /* a machine that has nothing of which there could be a snapshot */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_ADD_SNAPSHOT;
  c[0].name = c[0].time = "n";
  u_uuid (c[0].uuid, 6);
  {
    struct vd_vbox *box = u_box (BOX ("", MEDIA ("")));
    size_t len;

    assert_int_equal (vd_vbox_edit (box, c, 1, &out, &len, &err), -1);
    assert_err (&err, VD_CORRUPT, "m.vbox: the machine has no Hardware");
    vd_vbox_free (box);
  }

  /* a snapshot in which it is not attached */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_DETACH;
  u_uuid (c[0].uuid, 2);
  u_uuid (c[0].snapshot, 5);
  assert_int_equal (edit (c, 1, &out, &err), -1);
  assert_err (&err, VD_USAGE, U (02) " is not attached in snapshot " U (05));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (unchanged),
    cmocka_unit_test (changed),
    cmocka_unit_test (moves),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
