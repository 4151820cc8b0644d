/* VirtualBox machines: from media to files and links, limits, and names that
 * could be several disks.
 */

#include <sys/stat.h>

#include "vbox-text.h"

/* ---- Files --------------------------------------------------------------- */

static struct vd_vbox *
box_of (const char *text)
{
  struct vd_err err;
  struct vd_vbox *box;

  u_write_text ("m.vbox", text);
  box = vd_vbox_open ("m.vbox", &err);
  assert_opened (box, &err);
  return box;
}

/* The chain of medium i; 0, or -1 with err. */
static int
chain_of (const struct vd_vbox *box, size_t i, const struct vd_opts *opts,
          struct vd_err *err)
{
  struct vd_family *family = vd_family_new (opts, err);
  const struct vd_member *m;

  assert_opened (family, err);
  m = vd_vbox_add_chain (box, &box->media[i], family, err);
  vd_family_free (family);
  return m ? 0 : -1;
}

static const struct vd_opts none;

static void
not_opened (const char *text, size_t i, enum vd_code code, const char *part,
            const char *part2)
{
  struct vd_vbox *box = box_of (text);
  struct vd_err err;

  assert_int_equal (chain_of (box, i, &none, &err), -1);
  assert_err (&err, code, "m.vbox", part, part2);
  vd_vbox_free (box);
}

TEST (where_files_are)
{
  struct vd_vbox *box;
  struct vd_err err;

  /* The folder of the snapshots has a name of its own. */
  assert_int_equal (mkdir ("Old", 0777), 0);
  u_write_vdi ("Old/a.vdi", 1, 0, 0);
  box = box_of (BOX (" snapshotFolder=\"Old\"",
                     MEDIA (DISK (01, "gone/a.vdi", "/>\n"))));
  if (chain_of (box, 0, &none, &err) == -1)
    fail_msg ("%s", err.msg);
  vd_vbox_free (box);

  /* A location that names no file; one that is a directory. */
  not_opened (BOX ("", MEDIA (DISK (01, "dir/", "/>\n"))), 0, VD_NOT_FOUND,
              "refers to dir/, the disk image " U (01), "Copy it there");
  assert_int_equal (mkdir ("dir", 0777), 0);
  box = box_of (BOX ("", MEDIA (DISK (01, "dir/", "/>\n"))));
  assert_int_equal (chain_of (box, 0, &none, &err), -1);
  assert_err (&err, VD_USAGE, "/dir", "neither a regular file");
  vd_vbox_free (box);
}

TEST (registry_and_files_differ)
{
  struct vd_vbox *box;
  struct u_log log = { .n = 0 };
  struct vd_opts opts = u_opts (&log);
  struct vd_err err;

  /* The file of a base has a parent. */
  u_write_vdi ("a.vdi", 1, 2, 0);
  not_opened (BOX ("", MEDIA (DISK (01, "a.vdi", "/>\n"))), 0, VD_MISMATCH,
              "a.vdi has no parent, says m.vbox, but the file itself says that "
              "it has one (" U (02) ")", "older than they are");
  /* A child has none, or another. */
  u_write_vdi ("b.vdi", 2, 0, 0);
  not_opened (BOX ("", MEDIA (DISK (01, "a.vdi", ">\n")
                              DISK (02, "b.vdi", "/>\n") "</HardDisk>\n")), 1,
              VD_MISMATCH, "the parent of", "but it has none, says the file");
  u_write_vdi ("b.vdi", 2, 3, 0);
  not_opened (BOX ("", MEDIA (DISK (01, "a.vdi", ">\n")
                              DISK (02, "b.vdi", "/>\n") "</HardDisk>\n")), 1,
              VD_MISMATCH, "the parent of", "but " U (03) ", says the file");

  /* One file for two media, of which one is the parent of the other: that
   * can be asked for, but a loop is still none.
   */
  u_write_vdi ("a.vdi", 1, 0, 0);
  box = box_of (BOX ("", MEDIA (DISK (01, "a.vdi", ">\n")
                                DISK (02, "a.vdi", ">\n")
                                DISK (03, "a.vdi", "/>\n") "</HardDisk>\n"
                                "</HardDisk>\n")));
  opts.ignore_cid = true;
  assert_int_equal (chain_of (box, 2, &opts, &err), -1);
  assert_int_equal (err.code == VD_MISMATCH || err.code == VD_CORRUPT, 1);
  assert_text (err.msg, "a.vdi");
  vd_vbox_free (box);
}

/* Two children of one file in the registry, with different parents. */
TEST (one_file_with_two_parents)
{
  struct u_log log = { .n = 0 };
  struct vd_opts opts = u_opts (&log);
  struct vd_family *family;
  struct vd_vbox *box;
  struct vd_err err;

  u_write_vdi ("a.vdi", 1, 0, 0);
  u_write_vdi ("b.vdi", 2, 0, 0);
  u_write_vdi ("c.vdi", 3, 1, 0);
  box = box_of (BOX ("", MEDIA (DISK (01, "a.vdi", ">\n")
                                DISK (03, "c.vdi", "/>\n") "</HardDisk>\n"
                                DISK (02, "b.vdi", ">\n")
                                DISK (04, "c.vdi", "/>\n") "</HardDisk>\n")));
  opts.ignore_cid = true;
  family = vd_family_new (&opts, &err);
  assert_non_null (vd_vbox_add_chain (box, &box->media[1], family, &err));
  assert_null (vd_vbox_add_chain (box, &box->media[3], family, &err));
  assert_err (&err, VD_MISMATCH, "c.vdi stands in m.vbox as several disk "
              "images with different parents");
  vd_family_free (family);
  vd_vbox_free (box);
}

/* ---- Limits -------------------------------------------------------------- */

struct text { char *s; size_t len; FILE *fp; };

static FILE *
begin (struct text *t)
{
  t->fp = open_memstream (&t->s, &t->len);
  assert_non_null (t->fp);
  fputs ("<VirtualBox><Machine uuid=\"" U (99) "\">", t->fp);
  return t->fp;
}

static void
end (struct text *t, enum vd_code code, const char *part)
{
  struct vd_err err;

  fputs ("</Machine></VirtualBox>", t->fp);
  fclose (t->fp);
  assert_null (vd_vbox_parse ("m.vbox", t->s, t->len, &err));
  assert_err (&err, code, "m.vbox line 1: ", part);
  free (t->s);
}

#define NUMBERED "{622a0911-bc78-4b7a-a6ec-%012u}"

TEST (limits)
{
  struct text t;
  unsigned i;
  FILE *fp = begin (&t);

  fputs ("<MediaRegistry><HardDisks><HardDisk uuid=\"" U (98) "\" "
         "location=\"a\">", fp);
  for (i = 0; i < 16384; ++i)
    fprintf (fp, "<HardDisk uuid=\"" NUMBERED "\" location=\"a\"/>", i + 100);
  fputs ("</HardDisk></HardDisks></MediaRegistry>", fp);
  end (&t, VD_UNSUPPORTED, "more than 16384 media");

  fp = begin (&t);
  fputs ("<Snapshot uuid=\"" U (98) "\"><Snapshots>", fp);
  for (i = 0; i < 4096; ++i)
    fprintf (fp, "<Snapshot uuid=\"" NUMBERED "\"/>", i + 100);
  fputs ("</Snapshots></Snapshot>", fp);
  end (&t, VD_UNSUPPORTED, "more than 4096 snapshots");

  fp = begin (&t);
  fputs ("<StorageControllers><StorageController>", fp);
  for (i = 0; i < 16385; ++i)
    fprintf (fp, "<AttachedDevice type=\"HardDisk\" port=\"%u\"><Image "
             "uuid=\"" U (01) "\"/></AttachedDevice>", i);
  fputs ("</StorageController></StorageControllers>", fp);
  end (&t, VD_UNSUPPORTED, "more than 16384 disks attached");

  fp = begin (&t);
  fputs ("<Hardware><StorageControllers/><StorageControllers/></Hardware>",
         fp);
  end (&t, VD_CORRUPT, "a second StorageControllers");
}

TEST (a_file_that_is_too_large)
{
  struct vd_err err;

  u_write_text ("m.vbox", "<VirtualBox>");
  assert_int_equal (truncate ("m.vbox", (16 << 20) + 1), 0);
  assert_null (vd_vbox_open ("m.vbox", &err));
  assert_err (&err, VD_UNSUPPORTED, "m.vbox has 16777217 bytes",
              "at most 16777216");
}

TEST (a_chain_that_is_too_long)
{
  struct text t = { .fp = NULL };
  struct vd_vbox *box;
  struct vd_err err;
  FILE *fp = begin (&t);
  unsigned i;

  fputs ("<MediaRegistry><HardDisks>", fp);
  for (i = 0; i < 256; ++i)
    fprintf (fp, "<HardDisk uuid=\"" NUMBERED "\" location=\"a\">", i + 100);
  for (i = 0; i < 256; ++i)
    fputs ("</HardDisk>", fp);
  fputs ("</HardDisks></MediaRegistry></Machine></VirtualBox>", fp);
  fclose (fp);
  box = u_box (t.s);
  assert_int_equal (chain_of (box, 255, &none, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "m.vbox: the chain of a has 256 links",
              "at most 255 are read");
  vd_vbox_free (box);
  free (t.s);
}

/* Ids of nothing, as some tools write them. */
TEST (null_current_snapshot)
{
  struct vd_vbox *box = u_box
    (BOX (" currentSnapshot=\"{00000000-0000-0000-0000-000000000000}\"",
          "<Hardware/>\n"));

  assert_null (box->current_snapshot);
  vd_vbox_free (box);
}

TEST (probe_behind_a_mark)
{
  u_write_text ("x", "\xef\xbb\xbf<?xml version=\"1.0\"?>");
  assert_true (vd_vbox_probe ("x"));
  u_write_text ("x", "\xef\xbb\xbf \n<VirtualBox>");
  assert_true (vd_vbox_probe ("x"));
  u_write_text ("x", "\xef\xbb<?xml");
  assert_false (vd_vbox_probe ("x"));
}

/* ---- Names --------------------------------------------------------------- */

/* What is meant is not guessed. */
TEST (several_disks_of_a_name)
{
  struct vd_vbox *box;
  struct vd_err err;

  /* One is called like where the other is attached. */
  box = u_box (BOX ("", MEDIA (DISK (01, "sata-1-0.vdi", "/>")
                               DISK (02, "b.vdi", "/>"))
                    STATE (DEVICE (01, 0) DEVICE (02, 1))));
  assert_ptr_equal (vd_vbox_find_disk (box, "sata-1-0", &err),
                    &box->media[0]);
  vd_vbox_free (box);
  box = u_box (BOX ("", MEDIA (DISK (01, "b.vdi", "/>")
                               DISK (02, "sata-0-0.vdi", "/>"))
                    STATE (DEVICE (01, 0) DEVICE (02, 1))));
  assert_ptr_equal (vd_vbox_find_disk (box, "sata-0-0", &err),
                    &box->media[1]);
  vd_vbox_free (box);

  /* Two controllers of one name. */
  box = u_box (BOX ("", MEDIA (DISK (01, "a.vdi", "/>")
                               DISK (02, "b.vdi", "/>"))
                    STATE (DEVICE (01, 0) "</StorageController>\n"
                           "<StorageController name=\"SATA\">\n"
                           DEVICE (02, 0))));
  assert_null (vd_vbox_find_disk (box, "sata-0-0", &err));
  assert_err (&err, VD_USAGE, "'sata-0-0' could be each of a, b in the "
              "machine 'm': name one of them");
  assert_ptr_equal (vd_vbox_find_disk (box, "b", &err), &box->media[1]);
  vd_vbox_free (box);
}

/* A message has room for some names, and says how many more there are. */
TEST (many_names)
{
  struct text t;
  struct vd_vbox_views views;
  struct vd_vbox *box;
  struct vd_err err;
  unsigned i;
  FILE *fp = begin (&t);

  fputs ("<MediaRegistry><HardDisks>", fp);
  for (i = 0; i < 30; ++i)
    fprintf (fp, "<HardDisk uuid=\"" NUMBERED "\" location=\"disk-with-a-name-"
             "that-is-quite-long-%u.vdi\"/>", i + 100, i);
  fputs ("</HardDisks></MediaRegistry><Hardware><StorageControllers>"
         "<StorageController name=\"sata\">", fp);
  for (i = 0; i < 30; ++i)
    fprintf (fp, "<AttachedDevice type=\"HardDisk\" port=\"%u\"><Image uuid=\""
             NUMBERED "\"/></AttachedDevice>", i, i + 100);
  fputs ("</StorageController></StorageControllers></Hardware></Machine>"
         "</VirtualBox>", fp);
  fclose (fp);
  box = u_box (t.s);
  free (t.s);
  assert_int_equal (vd_vbox_views (box, &views, &err), 0);
  assert_null (vd_vbox_find_view (box, &views, "", &err));
  assert_err (&err, VD_USAGE, "several disks: name one of disk-with-a-name-"
              "that-is-quite-long-0, ", " and 10 more");
  assert_null (vd_vbox_find_disk (box, "x", &err));
  assert_err (&err, VD_NOT_FOUND, "no disk 'x'; it has disk-with", " more");
  vd_vbox_views_free (&views);
  vd_vbox_free (box);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (where_files_are),
    tmpdir_test (registry_and_files_differ),
    tmpdir_test (one_file_with_two_parents),
    cmocka_unit_test (limits),
    tmpdir_test (a_file_that_is_too_large),
    cmocka_unit_test (a_chain_that_is_too_long),
    cmocka_unit_test (null_current_snapshot),
    tmpdir_test (probe_behind_a_mark),
    cmocka_unit_test (several_disks_of_a_name),
    cmocka_unit_test (many_names),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
