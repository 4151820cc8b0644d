/* VirtualBox machine files: what they say, what is refused, names. */

#include "vbox-text.h"

/* ---- What a real one says ------------------------------------------------ */

TEST (real_machine)
{
  char *text = u_data ("vb-tree.vbox");
  struct vd_vbox *box = u_box (text);
  static const struct { const char *name, *parent; unsigned depth; } want[] = {
    { "s1", NULL, 0 }, { "s2", "s1", 1 }, { "s3", "s2", 2 },
    { "s1b", "s1", 1 }, { "s1c", "s1b", 2 },
  };
  const struct vd_vbox_medium *m;
  size_t i;

  assert_string_equal (box->name, "tree");
  assert_string_equal (box->version, "1.19-linux");
  assert_string_equal (box->last_change, "2026-11-21T19:31:42Z");
  assert_int_equal (box->power, VD_VBOX_OFF);
  assert_true (box->unmodified);
  assert_null (box->state_file);

  assert_int_equal (box->nr_snapshots, ARRAY_SIZE (want));
  for (i = 0; i < ARRAY_SIZE (want); ++i) {
    const struct vd_vbox_snapshot *s = &box->snapshots[i];

    assert_string_equal (s->name, want[i].name);
    assert_int_equal (s->depth, want[i].depth);
    if (want[i].parent)
      assert_string_equal (s->parent->name, want[i].parent);
    else
      assert_null (s->parent);
    assert_int_equal (s->state.n, 2);
    assert_null (s->description);
    assert_null (s->state_file);
  }
  assert_string_equal (box->snapshots[0].time, "2026-11-21T19:30:47Z");
  assert_string_equal (box->current_snapshot->name, "s2");

  assert_int_equal (box->nr_media, 12);
  assert_string_equal (box->media[0].location, "disk0.vdi");
  assert_string_equal (box->media[0].type, "Normal");
  assert_null (box->media[0].parent);
  assert_int_equal (box->media[0].nr_children, 2);
  assert_string_equal (box->media[6].location, "disk1.vmdk");
  assert_string_equal (box->media[6].format, "VMDK");

  assert_int_equal (box->current.n, 2);
  m = box->current.attached[0].medium;
  assert_string_equal (m->location,
                       "Snapshots/{35b30b4a-333d-4dd3-97f1-b17da36c33d7}.vdi");
  assert_ptr_equal (m->parent, &box->media[1]);
  assert_ptr_equal (vd_vbox_disk (m), &box->media[0]);
  assert_ptr_equal (vd_vbox_attached (&box->current, &box->media[0]), m);
  assert_string_equal (box->current.attached[1].controller, "sata");
  assert_int_equal (box->current.attached[1].port, 1);
  vd_vbox_free (box);
  free (text);
}

/* Everything that XML allows and a naive reader gets wrong. */
TEST (odd_xml)
{
  struct vd_vbox *box = u_box
    ("\xef\xbb\xbf<?xml version='1.0' encoding='utf-8' ?>"
     "<?pi <Machine> ?><!-- <Machine/> <!DOCTYPE x> > -->"
     "<VirtualBox\n\tversion = 'a>b' xmlns:x='y' x:version='no'>"
     "<!--<Machine/>--><Machine name='a&amp;b&#10;&#x41;\xc3\xa9' "
     "uuid='" UU (98) "'\n>"
     "<![CDATA[<MediaRegistry>]]>"
     "<x:MediaRegistry><Unknown/></x:MediaRegistry>"
     "<MediaRegistry><HardDisks>" DISK (01, "a.vdi", " x:uuid='no'")
     "><Property name=\"&lt;HardDisk\" value='/>'/></HardDisk>"
     "</HardDisks></MediaRegistry>"
     "<Snapshot uuid='" U (02) "' name=''><Description>one\ntwo</Description>"
     "</Snapshot >"
     "<Hardware /></Machine></VirtualBox\n>\n<!-- end -->\n");

  assert_string_equal (box->name, "a&b\nA\xc3\xa9");
  assert_string_equal (box->version, "a>b");
  assert_int_equal (box->nr_media, 1);
  assert_string_equal (box->media[0].location, "a.vdi");
  assert_int_equal (box->nr_snapshots, 1);
  assert_string_equal (box->snapshots[0].description, "one\ntwo");
  assert_null (box->current_snapshot);
  assert_int_equal (box->current.n, 0);
  vd_vbox_free (box);
}

/* Settings before 1.19 have the controllers beside Hardware. */
TEST (older_settings)
{
  struct vd_vbox *box = u_box
    (BOX ("", MEDIA (DISK (01, "a.vdi", " type=\"Normal\"/>\n"))
          "<Hardware/>\n<StorageControllers>"
          "<StorageController name=\"IDE\">"
          "<AttachedDevice type=\"DVD\" port=\"1\" device=\"0\">"
          "<Image uuid=\"" U (05) "\"/></AttachedDevice>"
          "<AttachedDevice passthrough=\"false\" type=\"DVD\" port=\"1\"/>"
          "<AttachedDevice type=\"HardDisk\" port=\"0\" device=\"1\">"
          "<Image uuid=\"" U (01) "\"/></AttachedDevice>"
          "</StorageController></StorageControllers>"));

  assert_int_equal (box->current.n, 1);
  assert_ptr_equal (box->current.attached[0].medium, &box->media[0]);
  assert_int_equal (box->current.attached[0].device, 1);
  vd_vbox_free (box);
}

TEST (power)
{
  struct u_log log = { .n = 0 };
  struct vd_opts opts = u_opts (&log);
  struct vd_err err;
  struct vd_vbox *box = u_box (BOX ("", "<Hardware/>\n"));

  assert_int_equal (vd_vbox_check_off (box, &opts.log, &err), 0);
  assert_int_equal (log.n, 0);
  vd_vbox_free (box);

  box = u_box (BOX (" stateFile=\"Snapshots/x.sav\" lastStateChange=\"2026\"",
                    "<Hardware/>\n"));
  assert_int_equal (box->power, VD_VBOX_SAVED);
  assert_int_equal (vd_vbox_check_off (box, &opts.log, &err), -1);
  assert_err (&err, VD_USAGE, "'m' (m.vbox)", "Saved state since 2026",
              "Snapshots/x.sav", "discard the saved state");
  vd_vbox_free (box);

  box = u_box (BOX (" aborted=\"true\"", "<Hardware/>\n"));
  assert_int_equal (vd_vbox_check_off (box, &opts.log, &err), 0);
  assert_int_equal (log.n, 1);
  assert_text (log.text, "'m' (m.vbox) was aborted");
  vd_vbox_free (box);
}

TEST (foreign_medium)
{
  struct vd_err err;
  struct vd_vbox *box = u_box
    (BOX ("", MEDIA (DISK (01, "a.vdi", "/>\n"))
          SNAPSHOT (05, "then", STATE (DEVICE (01, 0) DEVICE (02, 1)))
          STATE (DEVICE (01, 0))));

  assert_null (box->snapshots[0].state.attached[1].medium);
  assert_int_equal (vd_vbox_check_registry (box, &err), -1);
  assert_err (&err, VD_NOT_FOUND, U (02), "sata-1-0", "snapshot then",
              "not in the machine's own media registry", "VirtualBox.xml");
  vd_vbox_free (box);
}

/* ---- What is refused ----------------------------------------------------- */

static void
refused_n (const char *text, size_t n, enum vd_code code, const char *part)
{
  struct vd_err err;
  struct vd_vbox *box = vd_vbox_parse ("m.vbox", text, n, &err);

  if (box)
    fail_msg ("accepted: %.200s", text);
  if (err.code != code)
    print_message ("%s\n", err.msg);
  assert_err (&err, code, "m.vbox", part);
}

static void
refused (const char *text, enum vd_code code, const char *part)
{
  refused_n (text, strlen (text), code, part);
}

TEST (hostile_xml)
{
  static const struct { const char *text; enum vd_code code; const char *part; }
  cases[] = {
    /* entities: a billion laughs, a file, another host, a parameter entity */
    { "<?xml version=\"1.0\"?>\n<!DOCTYPE V [<!ENTITY a \"ha\">"
      "<!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>\n<VirtualBox>&b;"
      "</VirtualBox>", VD_UNSUPPORTED, "line 2: a document type" },
    { "<!DOCTYPE V [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>"
      "<VirtualBox><Machine name=\"&a;\"/></VirtualBox>", VD_UNSUPPORTED,
      "document type" },
    { "<!DOCTYPE V SYSTEM \"http://localhost:1/x.dtd\"><VirtualBox/>",
      VD_UNSUPPORTED, "document type" },
    { "<VirtualBox><!DOCTYPE V></VirtualBox>", VD_UNSUPPORTED,
      "document type" },
    { "<VirtualBox><!ENTITY a 'b'></VirtualBox>", VD_UNSUPPORTED,
      "document type" },
    { "<VirtualBox><Machine name=\"&a;\"/></VirtualBox>", VD_NOT_FORMAT,
      "line 1: not XML: Entity 'a' not defined" },
    { "<VirtualBox>&a;</VirtualBox>", VD_NOT_FORMAT, "not XML" },
    /* other encodings could hide all of that */
    { "<?xml version=\"1.0\" encoding=\"UTF-7\"?><VirtualBox/>",
      VD_UNSUPPORTED, "encoding is not UTF-8" },
    { "<?xml version=\"1.0\" encoding='EBCDIC-CP-US'?><VirtualBox/>",
      VD_UNSUPPORTED, "encoding is not UTF-8" },
    { "<VirtualBox a=\"\xff\"/>", VD_UNSUPPORTED, "not text in UTF-8" },
    { "\xff\xfe<\x01", VD_UNSUPPORTED, "not text in UTF-8" },
    /* not well formed */
    { "", VD_NOT_FORMAT, "there is no XML in it" },
    { "[section]\nkey=value\n", VD_NOT_FORMAT, "there is no XML in it" },
    { "<VirtualBox", VD_NOT_FORMAT, "ends inside of a tag" },
    { "<VirtualBox>", VD_TRUNCATED, "ends too early" },
    { "<VirtualBox><a></VirtualBox></a>", VD_NOT_FORMAT, "ends nothing" },
    { "</VirtualBox>", VD_NOT_FORMAT, "ends nothing" },
    { "<VirtualBox/><VirtualBox/>", VD_NOT_FORMAT, "a second outermost" },
    { "<VirtualBox a=1/>", VD_NOT_FORMAT, "without quotes" },
    { "<VirtualBox a/>", VD_NOT_FORMAT, "without a value" },
    { "<VirtualBox a='1'b='2'/>", VD_NOT_FORMAT, "no space" },
    { "<VirtualBox a='1' a='2'/>", VD_NOT_FORMAT, "not XML" },
    { "<VirtualBox a='<'/>", VD_NOT_FORMAT, "not XML" },
    { "<VirtualBox a='1/>", VD_NOT_FORMAT, "a quote is not closed" },
    { "<VirtualBox><!-- </VirtualBox>", VD_NOT_FORMAT, "inside of a comment" },
    { "<VirtualBox><a:b/></VirtualBox>", VD_NOT_FORMAT, "not XML" },
    { "< VirtualBox/>", VD_NOT_FORMAT, "a name is missing" },
    { "text<VirtualBox/>", VD_NOT_FORMAT, "not XML" },
    { "<VirtualBox/>text", VD_NOT_FORMAT, "not XML" },
    { "<VirtualBox>a & b</VirtualBox>", VD_NOT_FORMAT, "not XML" },
    { "<VirtualBox a='\x01'/>", VD_NOT_FORMAT, "not XML" },
    { "<VirtualBox a='&#0;'/>", VD_NOT_FORMAT, "not XML" },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (cases); ++i)
    refused (cases[i].text, cases[i].code, cases[i].part);
  refused_n ("<VirtualBox/>\0<a/>", 18, VD_UNSUPPORTED, "not text in UTF-8");
}

TEST (other_files)
{
  refused ("<Envelope/>", VD_NOT_FORMAT, "'Envelope' (an OVF)");
  refused ("<html/>", VD_NOT_FORMAT, "first element is 'html'");
  refused ("<v:VirtualBox xmlns:v='w'/>", VD_NOT_FORMAT, "'v:VirtualBox'");
  refused ("<VirtualBox><Global/></VirtualBox>", VD_NOT_FORMAT,
           "lists the machines of a user");
  refused ("<VirtualBox><MachineEncrypted/></VirtualBox>", VD_UNSUPPORTED,
           "is encrypted");
  refused ("<VirtualBox/>", VD_NOT_FORMAT, "there is no machine in it");
  refused (BOX ("", "<HardDiskAttachments/>"), VD_UNSUPPORTED,
           "before version 3.1");
}

TEST (what_cannot_be)
{
  refused ("<VirtualBox><Machine/></VirtualBox>", VD_CORRUPT,
           "line 1: Machine has no UUID");
  refused ("<VirtualBox><Machine uuid=\"{1234}\"/></VirtualBox>", VD_CORRUPT,
           "'{1234}' is not a UUID");
  refused (BOX ("", "</Machine>\n<Machine>"), VD_CORRUPT,
           "line 5: a second Machine");
  refused (BOX ("", MEDIA ("") MEDIA ("")), VD_CORRUPT,
           "a second MediaRegistry");
  refused (BOX ("", MEDIA ("<HardDisk location=\"a\"/>\n")), VD_CORRUPT,
           "line 6: HardDisk has no UUID");
  refused (BOX ("", MEDIA ("<HardDisk uuid=\"{00000000-0000-0000-0000-"
                           "000000000000}\" location=\"a\"/>\n")), VD_CORRUPT,
           "is not a UUID");
  refused (BOX ("", MEDIA ("<HardDisk uuid=\"" U (01) "\"/>\n")), VD_CORRUPT,
           "HardDisk has no location");
  /* Media that would be their own ancestors, or brothers. */
  refused (BOX ("", MEDIA (DISK (01, "a", ">\n") DISK (01, "b", "/>\n")
                           "</HardDisk>\n")), VD_CORRUPT,
           "a second medium with UUID " U (01) "; another one is in line");
  refused (BOX ("", MEDIA (DISK (01, "a", "/>\n") DISK (02, "b", "/>\n")
                           "<HardDisk location=\"c\" uuid=\"" UU (01)
                           "\"/>\n")), VD_CORRUPT, "a second medium");
  refused (BOX ("", SNAPSHOT (01, "a", "<Snapshots>" SNAPSHOT (01, "b", "")
                              "</Snapshots>")), VD_CORRUPT,
           "a second snapshot with UUID " U (01));
  refused (BOX ("", "<Snapshot uuid=\"" U (07) "\"><Snapshots>"
                "<Snapshot uuid=\"" UU (07) "\"/></Snapshots></Snapshot>"),
           VD_CORRUPT, "a second snapshot with UUID " U (07));
  refused (BOX ("", "<Snapshot uuid=\"" U (07) "\"/>"
                "<Snapshot uuid=\"" U (08) "\"/>"), VD_CORRUPT,
           "a second Snapshot");
  refused (BOX (" currentSnapshot=\"" U (01) "\"", ""), VD_CORRUPT,
           "the current snapshot " U (01) " is not in this file");
  refused (BOX (" currentSnapshot=\"x\"", ""), VD_CORRUPT, "'x' is not a UUID");
  refused (BOX ("", STATE ("<AttachedDevice type=\"HardDisk\" port=\"-1\">"
                           "<Image uuid=\"" U (01) "\"/></AttachedDevice>")),
           VD_CORRUPT, "port='-1' is not a number");
  refused (BOX ("", STATE ("<AttachedDevice type=\"HardDisk\" port=\"1\">"
                           "<Image/></AttachedDevice>")),
           VD_CORRUPT, "Image has no UUID");
}

/* A text in pieces. */
struct text { char *s; size_t len; FILE *fp; };

static FILE *
begin (struct text *t)
{
  t->fp = open_memstream (&t->s, &t->len);
  assert_non_null (t->fp);
  return t->fp;
}

static void
refused_text (struct text *t, enum vd_code code, const char *part)
{
  fclose (t->fp);
  refused_n (t->s, t->len, code, part);
  free (t->s);
}

TEST (too_much)
{
  struct text t;
  char *big;
  size_t i;
  FILE *fp = begin (&t);

  for (i = 0; i < 1100; ++i)
    fputs ("<VirtualBox>", fp);
  for (i = 0; i < 1100; ++i)
    fputs ("</VirtualBox>", fp);
  refused_text (&t, VD_UNSUPPORTED, "nested too deeply");

  fp = begin (&t);
  fputs ("<VirtualBox>", fp);
  for (i = 0; i < 200001; ++i)
    fputs (i % 2 ? "<a/>" : "<?a?>", fp);
  fputs ("</VirtualBox>", fp);
  refused_text (&t, VD_UNSUPPORTED, "too many elements");

  fp = begin (&t);
  fputs ("<VirtualBox", fp);
  for (i = 0; i < 129; ++i)
    fprintf (fp, " a%zu=''", i);
  fputs ("/>", fp);
  refused_text (&t, VD_UNSUPPORTED, "too many attributes");

  fp = begin (&t);
  fputs ("<VirtualBox>", fp);
  for (i = 0; i < 4100; ++i)
    fputs ("<a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l=''"
           " m='' n='' o='' p='' q='' r='' s='' t='' u='' v='' w='' x=''"
           " y='' z='' A='' B='' C='' D='' E='' F='' G='' H='' I='' J=''"
           " K='' L='' M='' N='' O='' P='' Q='' R='' S='' T='' U='' V=''"
           " W='' X='' Y='' Z='' a1='' b1='' c1='' d1='' e1='' f1='' g1=''"
           " h1='' i1='' j1='' k1='' l1='' m1='' n1='' o1='' p1='' q1=''"
           " r1='' s1='' t1='' u1='' v1='' w1='' x1='' y1='' z1='' A1=''"
           " B1='' C1='' D1='' E1='' F1='' G1='' H1='' I1='' J1='' K1=''"
           " L1='' M1='' N1='' O1='' P1='' Q1='' R1='' S1='' T1='' U1=''"
           "/>", fp);
  refused_text (&t, VD_UNSUPPORTED, "too many attributes");

  fp = begin (&t);
  fputs ("<VirtualBox><Machine uuid=\"" U (99) "\"><MediaRegistry><HardDisks>",
         fp);
  for (i = 0; i < 1025; ++i)
    fprintf (fp, "<HardDisk uuid=\"622a0911-bc78-4b7a-a6ec-%012zu\" "
             "location=\"a\"/>", i + 1);
  fputs ("</HardDisks></MediaRegistry></Machine></VirtualBox>", fp);
  refused_text (&t, VD_UNSUPPORTED, "more than 1024 disks");

  big = malloc (VD_VBOX_MAX_SIZE + 2);
  assert_non_null (big);
  memset (big, ' ', VD_VBOX_MAX_SIZE + 1);
  big[VD_VBOX_MAX_SIZE + 1] = '\0';
  refused_n (big, VD_VBOX_MAX_SIZE + 1, VD_UNSUPPORTED, "16777217 bytes");
  free (big);
}

/* A name of a mebibyte is legal, and messages and names cope with it.  So are
 * 250 snapshots, one below the other.
 */
TEST (much)
{
  const size_t n = 1 << 20;
  char *name = malloc (n + 1);
  struct vd_vbox_views views;
  struct text t;
  struct vd_err err;
  struct vd_vbox *box;
  size_t i;
  FILE *fp = begin (&t);

  assert_non_null (name);
  memset (name, 'x', n);
  name[n] = '\0';
  fprintf (fp, "<VirtualBox><Machine uuid=\"" U (99) "\" name=\"%s\" "
           "stateFile=\"%s\">" MEDIA ("<HardDisk uuid=\"" U (01) "\" "
           "location=\"%s.vdi\"/>"), name, name, name);
  for (i = 0; i < 250; ++i)
    fprintf (fp, "<Snapshot uuid=\"622a0911-bc78-4b7a-a6ec-%012zu\" "
             "name=\"%s\">%s<Snapshots>", i + 100, i == 0 ? name : "s",
             STATE (DEVICE (01, 0)));
  for (i = 0; i < 250; ++i)
    fputs ("</Snapshots></Snapshot>", fp);
  fputs (STATE (DEVICE (01, 0)) "</Machine></VirtualBox>", fp);
  fclose (fp);
  box = u_box (t.s);
  assert_int_equal (box->nr_snapshots, 250);
  assert_int_equal (box->snapshots[249].depth, 249);
  assert_int_equal (vd_vbox_check_off (box, NULL, &err), -1);
  assert_int_equal (vd_vbox_views (box, &views, &err), 0);
  assert_int_equal (views.n, 251);
  assert_string_equal (views.view[0].name, U (01));
  assert_string_equal (views.view[1].name, U (01) "@{622a0911-bc78-4b7a-a6ec-"
                       "000000000100}");
  assert_ptr_equal (vd_vbox_find_view (box, &views, name, &err),
                    &views.view[1]);
  vd_vbox_views_free (&views);
  vd_vbox_free (box);
  free (t.s);
  free (name);
}

/* Cut at every byte: an error, unless only space is missing. */
TEST (cut)
{
  char *text = u_data ("vb-tree.vbox");
  const size_t n = strlen (text);
  struct vd_err err;
  struct vd_vbox *box;
  size_t i;

  for (i = 0; i < n; i += i + 200 < n ? 13 : 1) {
    box = vd_vbox_parse ("m.vbox", text, i, &err);
    assert_true (!box == (i < n - 1));
    if (!box)
      assert_err (&err, err.code, "m.vbox");
    vd_vbox_free (box);
  }
  free (text);
}

/* Bytes changed at random: an error, or a machine whose text is unchanged by an
 * edit without changes.
 */
TEST (mutated)
{
  char *text = u_data ("vb-tree.vbox"), *out;
  const size_t n = strlen (text);
  static const char bytes[] = "<>/\"'=& {}-!?[]x0\n\x80\xff\x01";
  struct vd_vbox_views views;
  struct vd_err err;
  struct mk_rng rng;
  unsigned round, accepted = 0;
  size_t len;

  mk_rng_seed (&rng, 3);
  for (round = 0; round < 600; ++round) {
    char *copy = strdup (text);
    struct vd_vbox *box;
    unsigned i;

    assert_non_null (copy);
    for (i = 0; i <= round % 3; ++i)
      copy[mk_rng_below (&rng, n)]
        = bytes[mk_rng_below (&rng, sizeof bytes - 1)];
    box = vd_vbox_parse ("m.vbox", copy, n, &err);
    if (box) {
      ++accepted;
      assert_int_equal (vd_vbox_views (box, &views, &err), 0);
      vd_vbox_views_free (&views);
      assert_int_equal (vd_vbox_edit (box, NULL, 0, &out, &len, &err), 0);
      assert_string_equal (out, copy);
      free (out);
      vd_vbox_free (box);
    }
    else
      assert_err (&err, err.code, "m.vbox");
    free (copy);
  }
  assert_true (accepted >= 50 && accepted <= 550);
  free (text);
}

/* ---- Names --------------------------------------------------------------- */

static void
expect_names (const char *text, const char *const *names, size_t n)
{
  struct vd_vbox *box = u_box (text);
  struct vd_vbox_views views;
  struct vd_err err;
  size_t i;

  assert_int_equal (vd_vbox_views (box, &views, &err), 0);
  for (i = 0; i < views.n && i < n; ++i) {
    assert_string_equal (views.view[i].name, names[i]);
    assert_ptr_equal (vd_vbox_find_view (box, &views, names[i], &err),
                      &views.view[i]);
  }
  assert_int_equal (views.n, n);
  vd_vbox_views_free (&views);
  vd_vbox_free (box);
}

#define EXPECT_NAMES(text, ...)                                  \
  do {                                                           \
    static const char *const names_[] = { __VA_ARGS__ };         \
    expect_names (text, names_, ARRAY_SIZE (names_));            \
  } while (0)

TEST (names)
{
  /* one disk, a loose medium, snapshots with the same name */
  EXPECT_NAMES (BOX ("", MEDIA (DISK (01, "dir/my disk.vdi", ">\n")
                                DISK (02, "b.vdi", "/>\n")
                                DISK (03, "c.vdi", "/>\n") "</HardDisk>\n")
                     SNAPSHOT (05, "same", STATE (DEVICE (01, 0))
                       "<Snapshots>" SNAPSHOT (06, "same",
                                               STATE (DEVICE (01, 0)))
                       SNAPSHOT (07, "", STATE (DEVICE (01, 0)))
                       SNAPSHOT (08, "b\xc3\xa4 c", STATE (DEVICE (01, 0)))
                       "</Snapshots>")
                     STATE (DEVICE (02, 0))),
                "my disk", "my disk@" U (05), "my disk@" U (06),
                "my disk@" U (07), "my disk@b\xc3\xa4 c", U (03));
  /* the same name, with another ending, in another directory, the very same */
  EXPECT_NAMES (BOX ("", MEDIA (DISK (01, "a.vdi", "/>") DISK (02, "a.vmdk", "/>")
                                DISK (03, "x/b.vdi", "/>")
                                DISK (04, "y\\b.vdi", "/>")
                                DISK (05, "c.vdi", "/>") DISK (06, "c.vdi", "/>")
                                DISK (07, "d.old.vdi", "/>")
                                DISK (08, "{" UU (01) "}.vdi", "/>"))
                     STATE (DEVICE (01, 0) DEVICE (02, 1) DEVICE (03, 2)
                            DEVICE (04, 3) DEVICE (05, 4) DEVICE (06, 5)
                            DEVICE (07, 6) DEVICE (08, 7))),
                "a.vdi", "a.vmdk", "x/b.vdi", "y\\b.vdi", U (05), U (06),
                "d.old", "{" UU (01) "}.vdi");
  /* what cannot be typed; an @ in the wrong place; one medium twice */
  EXPECT_NAMES (BOX ("", MEDIA (DISK (01, "a&#10;b.vdi", "/>")
                                DISK (02, "c.vdi", "/>")
                                DISK (03, "c@d.vdi", "/>"))
                     SNAPSHOT (05, "d@e", STATE (DEVICE (02, 0)
                                                 DEVICE (02, 1)))
                     STATE (DEVICE (01, 0) DEVICE (02, 1) DEVICE (03, 2))),
                U (01), "c", U (02), "c@d");
}

/* Two disks in a snapshot; the second name is the first with its snapshot. */
TEST (names_that_collide)
{
  EXPECT_NAMES (BOX ("", MEDIA (DISK (01, "a.vdi", "/>")
                                DISK (02, "a@s.vdi", "/>"))
                     SNAPSHOT (05, "s", STATE (DEVICE (01, 0)))
                     STATE (DEVICE (01, 0) DEVICE (02, 1))),
                "a", "a@" U (05), "a@s");
}

static void
found (const struct vd_vbox *box, const struct vd_vbox_views *views,
       const char *name, const char *want)
{
  struct vd_err err;
  const struct vd_vbox_view *v = vd_vbox_find_view (box, views, name, &err);

  assert_opened (v, &err);
  assert_string_equal (v->name, want);
}

static void
not_found (const struct vd_vbox *box, const struct vd_vbox_views *views,
           const char *name, enum vd_code code, const char *part)
{
  struct vd_err err;

  assert_null (vd_vbox_find_view (box, views, name, &err));
  assert_err (&err, code, part, "'m'");
}

TEST (find_by_name)
{
  struct vd_vbox *box = u_box
    (BOX ("", MEDIA (DISK (01, "one.vdi", ">\n") DISK (02, "b.vdi", ">\n")
                     DISK (03, "c.vdi", "/>\n") "</HardDisk>\n</HardDisk>\n")
          SNAPSHOT (05, "first", STATE (DEVICE (01, 3))
            "<Snapshots>" SNAPSHOT (06, "one", STATE (DEVICE (02, 0)))
            "</Snapshots>")
          STATE (DEVICE (03, 0))));
  struct vd_vbox_views v;
  struct vd_err err;

  assert_int_equal (vd_vbox_views (box, &v, &err), 0);
  found (box, &v, "", "one");
  found (box, &v, "one", "one");        /* the view, not the snapshot */
  found (box, &v, "one@first", "one@first");
  found (box, &v, "first", "one@first");
  found (box, &v, UU (05), "one@first");
  found (box, &v, U (06), "one@one");
  found (box, &v, "one@" UU (06), "one@one");
  found (box, &v, U (01), "one@first");
  found (box, &v, "622A0911-BC78-4B7A-A6EC-000000000002", "one@one");
  found (box, &v, UU (03), "one");
  found (box, &v, "sata-0-0", "one");
  found (box, &v, "SATA-3-0@first", "one@first");
  found (box, &v, "sata-0-0@one", "one@one");
  not_found (box, &v, "sata-3-0", VD_NOT_FOUND, "'sata-3-0'");
  not_found (box, &v, "sata-0-0@first", VD_NOT_FOUND, "");
  not_found (box, &v, "one@", VD_NOT_FOUND, "");
  not_found (box, &v, "@first", VD_NOT_FOUND, "");
  not_found (box, &v, "two", VD_NOT_FOUND, "no disk or snapshot 'two'");
  not_found (box, &v, U (07), VD_NOT_FOUND, U (07));
  not_found (box, &v, "one.vdi", VD_NOT_FOUND, "");
  vd_vbox_views_free (&v);
  vd_vbox_free (box);
}

TEST (find_among_several)
{
  struct vd_vbox *box = u_box
    (BOX ("", MEDIA (DISK (01, "a.vdi", "/>\n") DISK (02, "b.vdi", "/>\n")
                     DISK (03, "c.vdi", "/>\n"))
          SNAPSHOT (05, "s", STATE (DEVICE (01, 0) DEVICE (02, 1)))
          STATE (DEVICE (01, 0) DEVICE (02, 1))));
  struct vd_vbox_views v;
  struct vd_err err;
  char *name;

  assert_int_equal (vd_vbox_views (box, &v, &err), 0);
  not_found (box, &v, "", VD_USAGE, "several disks: name one of a, b");
  not_found (box, &v, "s", VD_USAGE, "'s' could be each of a@s, b@s");
  not_found (box, &v, U (05), VD_USAGE, "a@s, b@s");
  found (box, &v, U (02), "b");         /* now and then: the same medium */
  found (box, &v, U (03), U (03));
  vd_vbox_views_free (&v);

  assert_ptr_equal (vd_vbox_find_disk (box, "a", &err), &box->media[0]);
  assert_ptr_equal (vd_vbox_find_disk (box, UU (02), &err), &box->media[1]);
  assert_ptr_equal (vd_vbox_find_disk (box, "sata-1-0", &err), &box->media[1]);
  assert_ptr_equal (vd_vbox_find_disk (box, "c", &err), &box->media[2]);
  assert_null (vd_vbox_find_disk (box, NULL, &err));
  assert_err (&err, VD_USAGE, "several disks: name one of a, b");
  assert_null (vd_vbox_find_disk (box, "d", &err));
  assert_err (&err, VD_NOT_FOUND, "no disk 'd'; it has a, b, c");
  name = vd_vbox_disk_name (box, &box->media[2], &err);
  assert_string_equal (name, "c");
  free (name);
  vd_vbox_free (box);

  box = u_box (BOX ("", MEDIA (DISK (01, "a.vdi", ">") DISK (02, "b.vdi", "/>")
                               "</HardDisk>" DISK (03, "c.vdi", "/>"))
                    STATE (DEVICE (02, 0))));
  assert_ptr_equal (vd_vbox_find_disk (box, NULL, &err), &box->media[0]);
  vd_vbox_free (box);
  box = u_box (BOX ("", MEDIA (DISK (01, "a.vdi", "/>")) STATE ("")));
  assert_null (vd_vbox_find_disk (box, NULL, &err));
  assert_err (&err, VD_NOT_FOUND, "no disk attached now; it has a");
  vd_vbox_free (box);
  box = u_box (BOX ("", STATE ("")));
  assert_null (vd_vbox_find_disk (box, NULL, &err));
  assert_err (&err, VD_NOT_FOUND, "no disk in its media registry");
  vd_vbox_free (box);
}

TEST (probe)
{
  u_write_text ("a.vbox", "");
  u_write_text ("a.vbox-prev", "");
  u_write_text ("xml", "\n <?xml version=\"1.0\"?>");
  u_write_text ("box", "<VirtualBox>");
  u_write_text ("a.vdi", "<<< Oracle VM VirtualBox Disk Image >>>\n");
  u_write_text ("a.vmdk", "# Disk DescriptorFile\n");
  assert_true (vd_vbox_probe ("a.vbox"));
  assert_true (vd_vbox_probe ("a.vbox-prev"));
  assert_true (vd_vbox_probe ("xml"));
  assert_true (vd_vbox_probe ("box"));
  assert_false (vd_vbox_probe ("a.vdi"));
  assert_false (vd_vbox_probe ("a.vmdk"));
  assert_false (vd_vbox_probe ("missing.vbox"));
  assert_false (vd_vbox_probe ("."));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (real_machine),
    cmocka_unit_test (odd_xml),
    cmocka_unit_test (older_settings),
    cmocka_unit_test (power),
    cmocka_unit_test (foreign_medium),
    cmocka_unit_test (hostile_xml),
    cmocka_unit_test (other_files),
    cmocka_unit_test (what_cannot_be),
    cmocka_unit_test (too_much),
    cmocka_unit_test (much),
    cmocka_unit_test (cut),
    cmocka_unit_test (mutated),
    cmocka_unit_test (names),
    cmocka_unit_test (names_that_collide),
    cmocka_unit_test (find_by_name),
    cmocka_unit_test (find_among_several),
    tmpdir_test (probe),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
