/* What a merge refuses before it writes, and what it leaves: small disks of
 * VirtualBox, in chains of files and in machines.
 */

#include <sys/stat.h>

#include "vbox-text.h"

static struct u_log says;

/* 1.vdi ... n.vdi, each the child of the one before it, with its own letter. */
static void
chain_of (unsigned n)
{
  char path[16];
  unsigned i;

  for (i = 1; i <= n; ++i) {
    snprintf (path, sizeof path, "%u.vdi", i);
    u_write_vdi (path, i, i - 1, 'a' + (int) i);
  }
}

/* The one letter that the disk with this file on top is made of. */
static int
letter (const char *path)
{
  static const struct vd_base none = { .align = 1 };
  static uint8_t buf[65536];
  const struct vd_opts opts = { .headers = false };
  struct vd_err err;
  struct vd_family *family = vd_family_new (&opts, &err);
  struct vd_member *m = vd_family_add (family, path, &err);
  struct vd_chain *chain;
  struct vd_reader *reader;
  size_t i;

  assert_opened (m, &err);
  if (vd_family_resolve (family, m, &err) == -1)
    fail_msg ("%s", err.msg);
  chain = vd_family_chain (family, m, &err);
  assert_opened (chain, &err);
  reader = vd_reader_new (chain, 1 << 20, &err);
  assert_opened (reader, &err);
  if (vd_read (reader, &none, buf, sizeof buf, 0, &err) == -1)
    fail_msg ("%s", err.msg);
  for (i = 1; i < sizeof buf; ++i)
    assert_int_equal (buf[i], buf[0]);
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_family_free (family);
  return buf[0];
}

static int
merge_with (const char *name, const struct vd_merge_opts *how,
            vd_merge_progress_fn progress, bool ignore_cid, struct vd_err *err)
{
  struct vd_opts opts;
  struct vd_merge *m;
  int r;

  says = (struct u_log) { .n = 0 };
  opts = u_opts (&says);
  opts.ignore_cid = ignore_cid;
  m = vd_merge_open (name, how, &opts, err);
  if (!m)
    return -1;
  r = vd_merge_run (m, progress, NULL, err);
  if (r == 0)
    r = vd_merge_commit (m, false, NULL, NULL, err);
  vd_merge_free (m);
  return r;
}

static void
merges (const char *name, const struct vd_merge_opts *how)
{
  struct vd_err err;

  if (merge_with (name, how, NULL, false, &err) == -1)
    fail_msg ("%s", err.msg);
}

static void
refused (const char *name, const struct vd_merge_opts *how,
         enum vd_code code, const char *part, const char *part2)
{
  struct vd_err err;

  assert_int_equal (merge_with (name, how, NULL, false, &err), -1);
  assert_err (&err, code, part, part2);
}

/* ---- Files --------------------------------------------------------------- */

TEST (a_base_is_not_dropped)
{
  const struct vd_merge_opts how = { .discard_current = true };

  chain_of (1);
  refused ("1.vdi", &how, VD_USAGE, "1.vdi has no parent",
           "dropping it would leave nothing");
}

TEST (who_stands_on_it)
{
  struct vd_merge_opts how = { .discard_current = true };

  chain_of (3);
  refused ("2.vdi", &how, VD_USAGE, "2.vdi is to be dropped, but ",
           "/3.vdi is based on it: it is not the newest");
  /* Two that stand on the newest one given. */
  u_write_vdi ("4.vdi", 4, 2, 'x');
  how.discard_current = false;
  refused ("2.vdi", &how, VD_USAGE, "2.vdi has more than one child, ",
           "destroy one of them");
  assert_int_equal (letter ("3.vdi"), 'd');
  assert_int_equal (letter ("4.vdi"), 'x');
}

/* What stays below the dropped one may have other children. */
TEST (a_branch_that_stays)
{
  const struct vd_merge_opts how = { .discard_current = true, .skip = 2 };

  chain_of (5);
  u_write_vdi ("6.vdi", 6, 3, 'x');
  merges ("5.vdi", &how);
  assert_int_equal (access ("5.vdi", F_OK), -1);
  assert_int_equal (access ("2.vdi", F_OK), -1);
  assert_int_equal (letter ("4.vdi"), 'e');
  assert_int_equal (letter ("6.vdi"), 'x');
  assert_int_equal (letter ("1.vdi"), 'c');
}

static int
replace_target (void *opaque, const char *phase, uint64_t done, uint64_t total)
{
  (void) opaque, (void) total;
  if (strcmp (phase, "merging") == 0 && done > 0)
    u_write_vdi ("new", 1, 0, 'n');
  if (access ("new", F_OK) == 0)
    assert_int_equal (rename ("new", "1.vdi"), 0);
  return 0;
}

TEST (replaced_meanwhile)
{
  const struct vd_merge_opts how = { .threads = 1 };
  struct vd_err err;

  chain_of (2);
  assert_int_equal (merge_with ("2.vdi", &how, replace_target, false, &err),
                    -1);
  assert_err (&err, VD_MISMATCH, "nothing was removed", "1.vdi was replaced by "
              "another file while it was written");
  assert_int_equal (letter ("2.vdi"), 'c');
  /* The new one has the same identity, so it counts as half merged until
   * somebody who knows better removes the marks.
   */
  assert_int_equal (unlink (".1.vdi.vmdkdelta-merging"), 0);
  assert_int_equal (unlink (".2.vdi.vmdkdelta-merging"), 0);
  assert_int_equal (letter ("1.vdi"), 'n');
}

/* A delta of ESXi is merged into another one; to compact it nobody knows. */
static void
write_cowd (const char *name, const char *parent, unsigned n)
{
  struct mk_content content = { .seed = n, .layer = n };
  struct mk_pattern pattern = { .seed = n, .run = 3, .fill = 500 };
  const struct mk_spec spec = {
    .format = MK_COWD, .capacity = MIB, .grain_size = 512,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  char text[600], path[32];

  snprintf (path, sizeof path, "%s-delta.vmdk", name);
  u_write_image (path, &spec);
  snprintf (text, sizeof text, "# Disk DescriptorFile\nversion=1\nCID=%08x\n"
            "parentCID=%08x\ncreateType=\"vmfsSparse\"\n"
            "parentFileNameHint=\"%s.vmdk\"\nRW 2048 VMFSSPARSE \"%s\"\n", n,
            n - 1, parent, path);
  snprintf (path, sizeof path, "%s.vmdk", name);
  u_write_text (path, text);
}

TEST (not_compacted)
{
  const struct vd_merge_opts how = { .count = 1, .compact = true };

  u_write_text ("b.vmdk", "# Disk DescriptorFile\nversion=1\nCID=00000001\n"
                "parentCID=ffffffff\ncreateType=\"vmfs\"\n"
                "RW 2048 VMFS \"b-flat.vmdk\"\n");
  u_write ("b-flat.vmdk", "", 0);
  assert_int_equal (truncate ("b-flat.vmdk", MIB), 0);
  write_cowd ("c", "b", 2);
  write_cowd ("d", "c", 3);
  merges ("d.vmdk", &how);
  assert_text (says.text, "not compacted: ");
  assert_text (says.text, "c-delta.vmdk: a COWD extent cannot be compacted");
  assert_int_equal (access ("d.vmdk", F_OK), -1);
}

/* ---- Machines ------------------------------------------------------------ */

static void
machine (const char *text)
{
  u_write_text ("m.vbox", text);
}

TEST (disks_of_a_machine)
{
  struct vd_merge_opts how = { .disk = "9" };

  chain_of (2);
  u_write_vdi ("9.vdi", 19, 0, 'x');
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", "/>\n")
                           "</HardDisk>\n" DISK (19, "9.vdi", "/>\n"))
                STATE (DEVICE (02, 0))));
  refused ("m.vbox", &how, VD_NOT_FOUND, "m.vbox: the disk 9 is not attached",
           "now");
  how.disk = NULL;
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", " type=\"Immutable\">\n")
                           DISK (02, "2.vdi", "/>\n") "</HardDisk>\n")
                STATE (DEVICE (02, 0))));
  refused ("m.vbox", &how, VD_NOTHING, "m.vbox: nothing to merge",
           "no disk of the machine");
  how.disk = "1";
  refused ("m.vbox", &how, VD_UNSUPPORTED, "1.vdi is of type Immutable",
           "only disks of type Normal");
}

/* Two states of a disk at once: one would show what was merged into it. */
TEST (attached_twice)
{
  const struct vd_merge_opts how = { .count = 0 };

  chain_of (3);
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", "/>\n")
                           "</HardDisk>\n")
                STATE (DEVICE (02, 0) DEVICE (01, 1))));
  unlink ("3.vdi");
  refused ("m.vbox", &how, VD_UNSUPPORTED, "m.vbox: 2.vdi and 1.vdi, which are "
           "states of one disk, are both attached in the current state",
           "Detach one");
  machine (BOX (" currentSnapshot=\"" U (05) "\"",
                MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", "/>\n")
                       "</HardDisk>\n")
                SNAPSHOT (05, "old", STATE (DEVICE (01, 0) DEVICE (02, 1)))
                STATE (DEVICE (02, 0))));
  refused ("m.vbox", &how, VD_UNSUPPORTED, "are both attached in snapshot old",
           "nothing was written");
  assert_int_equal (letter ("1.vdi"), 'b');
  /* The same one twice is one disk. */
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", "/>\n")
                           "</HardDisk>\n")
                STATE (DEVICE (02, 0) DEVICE (02, 1))));
  merges ("m.vbox", &how);
  assert_int_equal (letter ("1.vdi"), 'c');
}

/* The registry knows of a child whose file is elsewhere. */
TEST (a_child_that_only_the_registry_knows)
{
  const struct vd_merge_opts how = { .count = 0 };

  chain_of (3);
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", ">\n")
                           DISK (03, "3.vdi", "/>\n")
                           DISK (04, "/mnt/4.vdi", "/>\n")
                           "</HardDisk>\n</HardDisk>\n")
                STATE (DEVICE (03, 0))));
  refused ("m.vbox", &how, VD_USAGE, "2.vdi has more than one child, ",
           "3.vdi and /mnt/4.vdi (in the registry of the machine)");
  assert_int_equal (letter ("3.vdi"), 'd');
  assert_int_equal (letter ("2.vdi"), 'c');
}

/* The newest into the one below it, while the base has a branch; a snapshot
 * on that, and one with memory that goes.
 */
TEST (a_branch_further_down)
{
  const struct vd_merge_opts how = { .count = 1 };
  struct vd_vbox *box;
  struct vd_err err;

  chain_of (3);
  u_write_vdi ("4.vdi", 4, 1, 'x');
  machine (BOX (" currentSnapshot=\"" U (12) "\"",
                MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", ">\n")
                       DISK (03, "3.vdi", "/>\n") "</HardDisk>\n"
                       DISK (04, "4.vdi", "/>\n") "</HardDisk>\n")
                SNAPSHOT (11, "branch", STATE (DEVICE (04, 0))
                          "<Snapshots>\n<Snapshot uuid=\"" U (12) "\" "
                          "name=\"memory\" stateFile=\"x.sav\">\n"
                          STATE (DEVICE (02, 0)) "</Snapshot>\n</Snapshots>\n")
                STATE (DEVICE (03, 0))));
  merges ("m.vbox", &how);
  assert_text (says.text, "the saved memory of snapshot 'memory', x.sav, is of "
               "no use any more");
  assert_int_equal (letter ("2.vdi"), 'd');
  assert_int_equal (letter ("4.vdi"), 'x');
  box = vd_vbox_open ("m.vbox", &err);
  assert_opened (box, &err);
  assert_int_equal (box->nr_snapshots, 1);
  assert_string_equal (box->snapshots[0].state.attached[0].medium->location,
                       "4.vdi");
  assert_string_equal (box->current.attached[0].medium->location, "2.vdi");
  vd_vbox_free (box);
}

/* A new snapshot of all disks, although one is merged only: the other one has
 * no child yet, and its new one goes where VirtualBox has them.
 */
TEST (a_snapshot_of_all_disks)
{
  const struct vd_merge_opts how = {
    .snapshot = true, .snapshot_name = "new", .disk = "1",
  };
  struct vd_vbox *box;
  const struct vd_vbox_medium *m;
  struct vd_err err;

  chain_of (2);
  u_write_vdi ("9.vdi", 19, 0, 'x');
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", "/>\n")
                           "</HardDisk>\n" DISK (19, "9.vdi", "/>\n"))
                STATE (DEVICE (02, 0) DEVICE (19, 1))));
  merges ("m.vbox", &how);
  box = vd_vbox_open ("m.vbox", &err);
  assert_opened (box, &err);
  assert_int_equal (box->nr_snapshots, 1);
  m = box->current.attached[1].medium;
  assert_string_equal (m->parent->location, "9.vdi");
  assert_memory_equal (m->location, "Snapshots/{", 11);
  assert_int_equal (letter (m->location), 'x');
  assert_int_equal (letter ("9.vdi"), 'x');
  assert_int_equal (letter (box->current.attached[0].medium->location), 'c');
  assert_int_equal (letter ("1.vdi"), 'c');
  vd_vbox_free (box);
}

/* A child finds a VDI by its UUID. */
TEST (a_parent_without_a_uuid)
{
  const struct vd_merge_opts how = { .skip = 1 };
  struct vd_err err;

  chain_of (3);
  u_write_vdi ("1.vdi", 0, 0, 'b');
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vdi", ">\n")
                           DISK (03, "3.vdi", "/>\n") "</HardDisk>\n"
                           "</HardDisk>\n")
                STATE (DEVICE (03, 0))));
  assert_int_equal (merge_with ("m.vbox", &how, NULL, true, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "3.vdi is a VDI, and ", "1.vdi has no UUID "
              "by which it could be its parent");
  assert_int_equal (access ("2.vdi", F_OK), 0);
}

/* A medium that is an extent only, which somebody who ignores identities may
 * have: it has no place for an identity.
 */
TEST (a_target_without_a_descriptor)
{
  struct mk_pattern pattern = { .seed = 1, .run = 1, .fill = 500 };
  struct mk_content content = { .seed = 1 };
  const struct mk_spec spec = {
    .format = MK_KDMV, .capacity = 65536, .grain_size = 4096,
    .map = mk_map_pattern (&pattern), .fill = mk_fill_content (&content),
  };
  const struct vd_merge_opts how = { .count = 1 };
  struct vd_err err;

  chain_of (3);
  unlink ("2.vdi");
  u_write_image ("2.vmdk", &spec);
  machine (BOX ("", MEDIA (DISK (01, "1.vdi", ">\n") DISK (02, "2.vmdk", ">\n")
                           DISK (03, "3.vdi", "/>\n") "</HardDisk>\n"
                           "</HardDisk>\n")
                STATE (DEVICE (03, 0))));
  assert_int_equal (merge_with ("m.vbox", &how, NULL, true, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "2.vmdk has no descriptor");
  assert_int_equal (access ("3.vdi", F_OK), 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (a_base_is_not_dropped),
    tmpdir_test (who_stands_on_it),
    tmpdir_test (a_branch_that_stays),
    tmpdir_test (replaced_meanwhile),
    tmpdir_test (not_compacted),
    tmpdir_test (disks_of_a_machine),
    tmpdir_test (attached_twice),
    tmpdir_test (a_child_that_only_the_registry_knows),
    tmpdir_test (a_branch_further_down),
    tmpdir_test (a_snapshot_of_all_disks),
    tmpdir_test (a_parent_without_a_uuid),
    tmpdir_test (a_target_without_a_descriptor),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
