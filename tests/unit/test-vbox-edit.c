/* Changes to VirtualBox machine files.
 *
 * The oracle is a model that knows nothing of the library: it prints the same
 * machine before and after the changes.
 */


#include "vbox-text.h"

/* ---- The model ----------------------------------------------------------- */

#define MAX_NODES 40
#define MAX_ATTACHED 3

/* A medium or a snapshot; new ones have been added by a change. */
struct node {
  unsigned id;
  struct node *parent;
  struct node *child[MAX_NODES];
  unsigned n;
  bool goes, fresh;
  bool extra;                   /* other elements and comments in it */
  bool moved;
  const char *type;
  /* of snapshots */
  unsigned attached[MAX_ATTACHED], after[MAX_ATTACHED]; /* 0: detached */
  unsigned nr_attached;
};

struct model {
  struct node disks;            /* the registry; its children are bases */
  struct node snapshots;        /* its only child is the first */
  struct node now;              /* the current state, as a snapshot */
  struct node *current;         /* snapshot, or NULL */
  struct node media[2 * MAX_NODES], snaps[MAX_NODES + 1];
  unsigned nr_media, nr_snaps;
  struct node *fresh_snapshot;
};

static void
add_child (struct node *parent, struct node *child)
{
  child->parent = parent;
  parent->child[parent->n++] = child;
}

static void
print_uuid (FILE *fp, unsigned id)
{
  fprintf (fp, "{622a0911-bc78-4b7a-a6ec-%012u}", id);
}

/* The type that a medium has afterwards: of its base, if it becomes one. */
static const char *
type_after (const struct model *m, const struct node *n)
{
  const struct node *p = n->parent;

  while (p != &m->disks && p->goes)
    p = p->parent;
  if (p != &m->disks)
    return NULL;
  for (p = n; p->parent != &m->disks; p = p->parent)
    ;
  return p->type;
}

static void
print_medium (FILE *fp, const struct model *m, const struct node *n,
              bool after)
{
  const char *type = after ? type_after (m, n) : n->type;
  const bool gone = after && n->goes;
  unsigned i;

  if (n->fresh && !after)
    return;
  if (!gone) {
    fputs ("<HardDisk uuid=\"", fp);
    print_uuid (fp, n->id);
    fprintf (fp, "\" location=\"%s%u.vdi\" format=\"VDI\"",
             after && n->moved ? "Snapshots/moved &lt;&amp;&gt; " : "f", n->id);
    if (type)
      fprintf (fp, " type=\"%s\"", type);
    if (n->n > 0 || n->extra)
      fputs (">\n", fp);
    else
      fputs ("/>\n", fp);
    if (n->extra)
      fprintf (fp, "<Property name=\"p\" value=\"%u\"/>\n", n->id);
  }
  for (i = 0; i < n->n; ++i) {
    if (n->extra && !gone && !n->child[i]->fresh)
      fprintf (fp, "<!-- in front of %u -->\n", n->child[i]->id);
    print_medium (fp, m, n->child[i], after);
  }
  if (!gone && (n->n > 0 || n->extra))
    fputs ("</HardDisk>\n", fp);
}

static void
print_state (FILE *fp, const struct node *n, const unsigned *attached)
{
  unsigned i;

  fprintf (fp, "<Hardware>\n<Memory RAMSize=\"%u\"/>\n<StorageControllers>\n"
           "<StorageController name=\"sata\">\n", n->id);
  for (i = 0; i < n->nr_attached; ++i) {
    if (attached[i] == 0)
      continue;
    fprintf (fp, "<AttachedDevice port=\"%u\" device=\"0\" type=\"HardDisk\">\n"
             "<Image uuid=\"", i);
    print_uuid (fp, attached[i]);
    fputs ("\"/>\n</AttachedDevice>\n", fp);
  }
  fputs ("</StorageController>\n</StorageControllers>\n</Hardware>\n", fp);
}

static bool
any_stays (const struct node *n, bool after)
{
  unsigned i;

  for (i = 0; i < n->n; ++i)
    if ((!(after && n->child[i]->goes) && (after || !n->child[i]->fresh)) ||
        any_stays (n->child[i], after))
      return true;
  return false;
}

static void
print_snapshot (FILE *fp, const struct model *m, const struct node *n,
                bool after)
{
  const bool gone = after && n->goes;
  const bool wrap = !gone && any_stays (n, after);
  unsigned i;

  if (n->fresh && !after)
    return;
  if (!gone) {
    fputs ("<Snapshot uuid=\"", fp);
    print_uuid (fp, n->id);
    fprintf (fp, "\" name=\"s%u\" timeStamp=\"t%u\">\n", n->id, n->id);
    if (n->extra)
      fputs ("<Description>it's &lt;&#10;&gt;</Description>\n<!-- c -->\n",
             fp);
    if (n->fresh)
      print_state (fp, &m->now, m->now.attached);
    else
      print_state (fp, n, after ? n->after : n->attached);
    if (wrap)
      fputs ("<Snapshots>\n", fp);
  }
  for (i = 0; i < n->n; ++i)
    print_snapshot (fp, m, n->child[i], after);
  if (wrap)
    fputs ("</Snapshots>\n", fp);
  if (!gone)
    fputs ("</Snapshot>\n", fp);
}

static struct node *
current_after (const struct model *m)
{
  struct node *n = m->current;

  while (n && n != &m->snapshots && n->goes)
    n = n->parent;
  return n == &m->snapshots ? NULL : n;
}

static char *
print_model (const struct model *m, bool after)
{
  struct node *current = after ? current_after (m) : m->current;
  const bool changed = after && (current != m->current || m->fresh_snapshot);
  char *text;
  size_t len;
  unsigned i;
  FILE *fp = open_memstream (&text, &len);

  assert_non_null (fp);
  if (after && m->fresh_snapshot)
    current = m->fresh_snapshot;
  fputs ("<?xml version=\"1.0\"?>\n<!-- DO NOT EDIT -->\n"
         "<VirtualBox version=\"1.19-linux\">\n<Machine uuid=\"" U (99)
         "\" name=\"m\"", fp);
  fprintf (fp, " currentStateModified=\"%s\" OSType=\"Other\"",
           changed && !m->fresh_snapshot ? "true" : "false");
  if (current) {
    fputs (" currentSnapshot=\"", fp);
    print_uuid (fp, current->id);
    putc ('"', fp);
  }
  fputs (">\n<MediaRegistry>\n<HardDisks>\n", fp);
  for (i = 0; i < m->disks.n; ++i)
    print_medium (fp, m, m->disks.child[i], after);
  fputs ("</HardDisks>\n<DVDImages/>\n</MediaRegistry>\n", fp);
  for (i = 0; i < m->snapshots.n; ++i)
    print_snapshot (fp, m, m->snapshots.child[i], after);
  print_state (fp, &m->now, after ? m->now.after : m->now.attached);
  fputs ("<Groups>\n<Group name=\"/\"/>\n</Groups>\n</Machine>\n"
         "</VirtualBox>\n", fp);
  fclose (fp);
  return text;
}

/* What the model does not know: blanks in front of new lines, and where an
 * element became empty, <a></a> instead of <a/>.
 */
static char *
normal (const char *text)
{
  char *out = malloc (strlen (text) + 1), *o = out;
  static const char end[] = "</HardDisk>\n";

  assert_non_null (out);
  while (*text) {
    const size_t n = strcspn (text, "\n") + 1;
    const char *line = text + strspn (text, " ");
    const size_t rest = n - (size_t) (line - text);

    if (rest == strlen (end) && strncmp (line, end, rest) == 0 &&
        o > out + 2 && o[-2] == '>' && o[-3] != '/') {
      char *tag = o - 1;

      while (tag > out && tag[-1] != '\n')
        --tag;
      if (strncmp (tag, "<HardDisk ", 10) == 0) {
        strcpy (o - 2, "/>\n");
        o += 1;
        text += n;
        continue;
      }
    }
    memcpy (o, line, rest);
    o += rest;
    text += n;
  }
  *o = '\0';
  return out;
}

/* ---- Random machines and changes ----------------------------------------- */

static void
make_model (struct model *m, struct mk_rng *rng)
{
  static const char *const types[] = { "Normal", "Immutable", NULL };
  unsigned i, k;

  memset (m, 0, sizeof *m);
  m->nr_media = 1 + (unsigned) mk_rng_below (rng, 12);
  for (i = 0; i < m->nr_media; ++i) {
    struct node *n = &m->media[i];
    const bool base = i == 0 || mk_rng_chance (rng, 200);

    n->id = 100 + i;
    n->extra = mk_rng_chance (rng, 300);
    n->type = base ? types[mk_rng_below (rng, 2)] : NULL;
    add_child (base ? &m->disks : &m->media[mk_rng_below (rng, i)], n);
  }
  m->nr_snaps = (unsigned) mk_rng_below (rng, 8);
  for (i = 0; i <= m->nr_snaps; ++i) {
    struct node *n = i < m->nr_snaps ? &m->snaps[i] : &m->now;

    n->id = 200 + i;
    n->extra = mk_rng_chance (rng, 300);
    n->nr_attached = (unsigned) mk_rng_below (rng, MAX_ATTACHED + 1);
    for (k = 0; k < n->nr_attached; ++k)
      n->attached[k] = n->after[k]
        = 100 + (unsigned) mk_rng_below (rng, m->nr_media);
    if (n != &m->now)
      add_child (i == 0 ? &m->snapshots : &m->snaps[mk_rng_below (rng, i)],
                 n);
  }
  if (m->nr_snaps > 0)
    m->current = &m->snaps[mk_rng_below (rng, m->nr_snaps)];
}

#define MAX_CHANGES 24
struct changes {
  struct vd_vbox_change c[MAX_CHANGES];
  char text[MAX_CHANGES][64];
  unsigned n;
};

static struct vd_vbox_change *
add_change (struct changes *c, enum vd_vbox_change_kind kind, unsigned uuid,
            unsigned to)
{
  struct vd_vbox_change *p = &c->c[c->n++];

  assert_true (c->n <= MAX_CHANGES);
  *p = (struct vd_vbox_change) { .kind = kind };
  u_uuid (p->uuid, uuid);
  if (to)
    u_uuid (p->to, to);
  return p;
}

/* Some of all that can be done with the model, done to it too. */
static void
change_model (struct model *m, struct changes *c, struct mk_rng *rng)
{
  const unsigned old_media = m->nr_media;
  unsigned i, k, j;

  c->n = 0;
  for (i = 0; i < m->nr_snaps && c->n < 6; ++i)
    if (mk_rng_chance (rng, 250)) {
      add_change (c, VD_VBOX_REMOVE_SNAPSHOT, m->snaps[i].id, 0);
      m->snaps[i].goes = true;
    }
  for (i = 0; i < m->nr_media && c->n < 12; ++i)
    if (mk_rng_chance (rng, 250)) {
      add_change (c, VD_VBOX_REMOVE_MEDIUM, m->media[i].id, 0);
      m->media[i].goes = true;
    }
    else if (mk_rng_chance (rng, 100)) {
      struct vd_vbox_change *p
        = add_change (c, VD_VBOX_MOVE_MEDIUM, m->media[i].id, 0);

      snprintf (c->text[c->n], sizeof c->text[0],
                "Snapshots/moved <&> %u.vdi", m->media[i].id);
      p->location = c->text[c->n];
      m->media[i].moved = true;
    }
  for (i = 0; i < 3 && mk_rng_chance (rng, 400); ++i) {
    struct node *n = &m->media[m->nr_media];
    struct node *parent = &m->media[mk_rng_below (rng, m->nr_media)];
    struct vd_vbox_change *p;

    if (mk_rng_chance (rng, 100))
      parent = &m->disks;
    if (parent->goes)
      continue;
    n->id = 300 + m->nr_media++;
    n->fresh = true;
    n->type = parent == &m->disks ? "Normal" : NULL;
    p = add_change (c, VD_VBOX_ADD_MEDIUM, n->id,
                    parent == &m->disks ? 0 : parent->id);
    snprintf (c->text[c->n], sizeof c->text[0], "f%u.vdi", n->id);
    p->location = c->text[c->n];
    p->format = "VDI";
    add_child (parent, n);
  }
  /* Attach other media to states, most of them where they have to be. */
  for (i = 0; i <= m->nr_snaps; ++i) {
    struct node *s = i < m->nr_snaps ? &m->snaps[i] : &m->now;

    for (k = 0; k < s->nr_attached && c->n < MAX_CHANGES - 2; ++k) {
      const struct node *was = &m->media[s->attached[k] - 100];
      const struct node *to = &m->media[mk_rng_below (rng, m->nr_media)];
      const bool detach = mk_rng_chance (rng, 200);
      struct vd_vbox_change *p;

      for (j = 0; j < k && s->attached[j] != s->attached[k]; ++j)
        ;
      if (j < k || (!was->goes ? mk_rng_chance (rng, 900)
                    : mk_rng_chance (rng, 30)))
        continue;
      assert_true (s->attached[k] - 100 < old_media);
      p = add_change (c, detach ? VD_VBOX_DETACH : VD_VBOX_ATTACH,
                      s->attached[k], detach ? 0 : to->id);
      if (s != &m->now)
        u_uuid (p->snapshot, s->id);
      for (j = k; j < s->nr_attached; ++j)
        if (s->attached[j] == s->attached[k])
          s->after[j] = detach ? 0 : to->id;
    }
  }
  if (mk_rng_chance (rng, 250)) {
    struct node *n = &m->snaps[m->nr_snaps], *parent = current_after (m);
    struct vd_vbox_change *p;

    n->id = 400;
    n->fresh = true;
    p = add_change (c, VD_VBOX_ADD_SNAPSHOT, n->id, 0);
    p->name = "s400";
    p->time = "t400";
    add_child (parent ? parent : &m->snapshots, n);
    m->fresh_snapshot = n;
  }
}

static const struct node *
medium_of (const struct model *m, unsigned id)
{
  return &m->media[id >= 300 ? id - 300 : id - 100];
}

static unsigned
first_snapshots (const struct node *n)
{
  unsigned i, sum = 0;

  for (i = 0; i < n->n; ++i)
    sum += n->child[i]->goes ? first_snapshots (n->child[i]) : 1;
  return sum;
}

/* May it be done? */
static bool
is_possible (const struct model *m)
{
  unsigned i, k;

  for (i = 0; i <= m->nr_snaps; ++i) {
    const struct node *s = i < m->nr_snaps ? &m->snaps[i] : &m->now;

    for (k = 0; k < s->nr_attached; ++k)
      if ((!s->goes && s->after[k] && medium_of (m, s->after[k])->goes) ||
          (s == &m->now && m->fresh_snapshot &&
           medium_of (m, s->attached[k])->goes))
        return false;
  }
  return first_snapshots (&m->snapshots) <= 1;
}

TEST (random_changes)
{
  static struct model m;
  static struct changes c;
  struct mk_rng rng;
  unsigned round, done = 0, refused = 0;

  for (round = 0; round < 3000; ++round) {
    char *before, *after, *out = NULL, *a, *b;
    struct vd_vbox *box;
    struct vd_err err;
    size_t len;
    int r;

    mk_rng_seed (&rng, round);
    make_model (&m, &rng);
    change_model (&m, &c, &rng);
    before = print_model (&m, false);
    after = print_model (&m, true);
    box = u_box (before);
    r = vd_vbox_edit (box, c.c, c.n, &out, &len, &err);
    if ((r == 0) != is_possible (&m))
      fail_msg ("round %u: %s", round, r == 0 ? "was done" : err.msg);
    if (r == 0) {
      ++done;
      assert_int_equal (strlen (out), len);
      a = normal (after);
      b = normal (out);
      if (strcmp (a, b) != 0)
        fail_msg ("round %u:\n%s\nexpected:\n%s\nis:\n%s", round, before, a,
                  b);
      free (a);
      free (b);
    }
    else {
      ++refused;
      assert_err (&err, VD_USAGE, "m.vbox");
    }
    free (out);
    vd_vbox_free (box);
    free (before);
    free (after);
  }
  print_message ("%u done, %u refused\n", done, refused);
  assert_true (done > 500 && refused > 200);
}

/* ---- A real one: all other bytes stay ------------------------------------ */

/* The lines from..to (counted from 1) are left out of text. */
static char *
without (const char *text, unsigned from, unsigned to)
{
  char *out = strdup (text), *o = out;
  unsigned line = 1;

  assert_non_null (out);
  for (; *text; ++text) {
    if (line < from || line > to)
      *o++ = *text;
    line += *text == '\n';
  }
  *o = '\0';
  return out;
}

static unsigned
line_of (const char *text, const char *what)
{
  const char *p = strstr (text, what);
  unsigned line = 1;

  assert_non_null (p);
  while (p-- > text)
    line += *p == '\n';
  return line;
}

static void
edits_to (const struct vd_vbox *box, const struct vd_vbox_change *c, size_t n,
          const char *want)
{
  struct vd_err err = { .code = VD_OK };
  size_t len;
  char *out;

  if (vd_vbox_edit (box, c, n, &out, &len, &err) == -1)
    fail_msg ("%s", err.msg);
  assert_string_equal (out, want);
  free (out);
}

static void
set_uuid (uint8_t uuid[16], const char *text)
{
  assert_true (vd_parse_uuid (text, uuid));
}

TEST (real_machine)
{
  char *text = u_data ("vb-tree.vbox"), *want, *p;
  struct vd_vbox *box = u_box (text);
  struct vd_vbox_change c[4];
  unsigned line;

  edits_to (box, NULL, 0, text);

  /* The last snapshot of a branch, with its media: its lines, no others;
   * what wrapped it is 2 lines, and its parents' end tags stay.
   */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_REMOVE_SNAPSHOT;
  set_uuid (c[0].uuid, "a4a8aca8-448d-4599-adde-b9a366f74be1");
  c[1].kind = c[2].kind = VD_VBOX_REMOVE_MEDIUM;
  set_uuid (c[1].uuid, "e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1");
  set_uuid (c[2].uuid, "93eff61a-9b70-4c0b-bb8d-1c1794b447f5");
  line = line_of (text, "<Snapshot uuid=\"{a4a8aca8");
  want = without (text, line - 1, line + 38);
  assert_null (strstr (want, "s1c"));
  line = line_of (want, "location=\"Snapshots/{93eff61a");
  p = want, want = without (p, line, line), free (p);
  line = line_of (want, "location=\"Snapshots/{e0ba26ad");
  p = want, want = without (p, line, line), free (p);
  edits_to (box, c, 3, want);
  free (want);

  /* Another medium in the current state: 36 bytes. */
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_ATTACH;
  set_uuid (c[0].uuid, "35b30b4a-333d-4dd3-97f1-b17da36c33d7");
  set_uuid (c[0].to, "2423be15-8afc-444a-a2fa-597a996e0d87");
  want = strdup (text);
  assert_non_null (want);
  p = strstr (want, "<Image uuid=\"{35b30b4a");
  assert_non_null (p);
  memcpy (p + 14, "2423be15-8afc-444a-a2fa-597a996e0d87", 36);
  edits_to (box, c, 1, want);
  free (want);
  vd_vbox_free (box);
  free (text);
}

/* How new elements look: as VirtualBox indents them. */
TEST (new_elements)
{
  static const char before[] =
    "<VirtualBox>\n"
    "  <Machine uuid=\"" U (99) "\" name=\"m\">\n"
    "    <MediaRegistry>\n"
    "      <HardDisks>\n"
    "        <HardDisk uuid=\"" U (01) "\" location=\"a.vdi\"/>\n"
    "      </HardDisks>\n"
    "    </MediaRegistry>\n"
    "    <Hardware>\n"
    "    </Hardware>\n"
    "  </Machine>\n"
    "</VirtualBox>\n";
  static const char after[] =
    "<VirtualBox>\n"
    "  <Machine uuid=\"" U (99) "\" name=\"m\" currentSnapshot=\"" U (05)
    "\" currentStateModified=\"false\">\n"
    "    <MediaRegistry>\n"
    "      <HardDisks>\n"
    "        <HardDisk uuid=\"" U (01) "\" location=\"a.vdi\">\n"
    "          <HardDisk uuid=\"" U (02) "\" location=\"S/b&amp;&quot;.vdi\" "
    "format=\"VDI\">\n"
    "            <HardDisk uuid=\"" U (03) "\" location=\"c\" "
    "format=\"VMDK\"/>\n"
    "          </HardDisk>\n"
    "        </HardDisk>\n"
    "      </HardDisks>\n"
    "    </MediaRegistry>\n"
    "    <Snapshot uuid=\"" U (05) "\" name=\"&lt;one&gt;\" "
    "timeStamp=\"2026-11-21T19:30:47Z\">\n"
    "      <Hardware>\n"
    "    </Hardware>\n"
    "    </Snapshot>\n"
    "    <Hardware>\n"
    "    </Hardware>\n"
    "  </Machine>\n"
    "</VirtualBox>\n";
  struct vd_vbox_change c[3] = {
    { .kind = VD_VBOX_ADD_MEDIUM, .location = "S/b&\".vdi", .format = "VDI" },
    { .kind = VD_VBOX_ADD_MEDIUM, .location = "c", .format = "VMDK" },
    { .kind = VD_VBOX_ADD_SNAPSHOT, .name = "<one>",
      .time = "2026-11-21T19:30:47Z" },
  };
  struct vd_vbox *box = u_box (before), *again;

  u_uuid (c[0].uuid, 2);
  u_uuid (c[0].to, 1);
  u_uuid (c[1].uuid, 3);
  u_uuid (c[1].to, 2);
  u_uuid (c[2].uuid, 5);
  edits_to (box, c, 3, after);
  vd_vbox_free (box);

  /* And another snapshot below that. */
  again = u_box (after);
  u_uuid (c[2].uuid, 6);
  {
    struct vd_err err;
    size_t len;
    char *out;

    assert_int_equal (vd_vbox_edit (again, &c[2], 1, &out, &len, &err), 0);
    assert_text (out,
                 "    </Hardware>\n"
                 "      <Snapshots>\n"
                 "        <Snapshot uuid=\"" U (06) "\" name=\"&lt;one&gt;\" "
                 "timeStamp=\"2026-11-21T19:30:47Z\">\n"
                 "          <Hardware>\n"
                 "    </Hardware>\n"
                 "        </Snapshot>\n"
                 "      </Snapshots>\n"
                 "    </Snapshot>\n");
    free (out);
  }
  vd_vbox_free (again);
}

/* ---- What is refused ----------------------------------------------------- */

static void
refused (const struct vd_vbox *box, const struct vd_vbox_change *c, size_t n,
         const char *part)
{
  struct vd_err err;
  size_t len;
  char *out;

  assert_int_equal (vd_vbox_edit (box, c, n, &out, &len, &err), -1);
  assert_err (&err, VD_USAGE, "m.vbox", part);
}

TEST (refused_changes)
{
  struct vd_vbox *box = u_box
    (BOX (" currentSnapshot=\"" U (11) "\"",
          MEDIA (DISK (01, "a.vdi", ">\n") DISK (02, "b.vdi", "/>\n")
                 "</HardDisk>\n")
          SNAPSHOT (11, "one", STATE (DEVICE (01, 0)) "<Snapshots>"
                    SNAPSHOT (12, "two", "") SNAPSHOT (13, "three", "")
                    "</Snapshots>")
          STATE (DEVICE (02, 0))));
  struct vd_vbox_change c[2] = { { .kind = VD_VBOX_REMOVE_MEDIUM } };

  u_uuid (c[0].uuid, 9);
  refused (box, c, 1, "no medium " U (09));
  u_uuid (c[0].uuid, 2);
  refused (box, c, 1, U (02) " would be attached in the current state");
  u_uuid (c[0].uuid, 1);
  refused (box, c, 1, U (01) " would be attached in snapshot one");

  c[0].kind = VD_VBOX_REMOVE_SNAPSHOT;
  refused (box, c, 1, "no snapshot " U (01));
  u_uuid (c[0].uuid, 11);
  refused (box, c, 1, "2 snapshots would be the first one");

  c[0].kind = VD_VBOX_ATTACH;
  u_uuid (c[0].uuid, 1);
  u_uuid (c[0].to, 2);
  refused (box, c, 1, U (01) " is not attached in the current state");
  u_uuid (c[0].snapshot, 9);
  refused (box, c, 1, "no snapshot " U (09));
  u_uuid (c[0].snapshot, 11);
  u_uuid (c[0].to, 9);
  refused (box, c, 1, U (09) " would be attached in snapshot one");
  u_uuid (c[0].to, 2);
  c[1] = c[0];
  refused (box, c, 2, "two changes of the same attachment");

  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_ADD_MEDIUM;
  c[0].location = "x.vdi";
  c[0].format = "VDI";
  refused (box, c, 1, "needs a UUID of its own");
  u_uuid (c[0].uuid, 2);
  refused (box, c, 1, "needs a UUID of its own");
  u_uuid (c[0].uuid, 3);
  u_uuid (c[0].to, 9);
  refused (box, c, 1, U (09) ", which shall become the parent");
  u_uuid (c[0].to, 3);
  refused (box, c, 1, U (03) ", which shall become the parent");
  u_uuid (c[0].to, 2);
  c[1] = c[0];
  refused (box, c, 2, "needs a UUID of its own");
  c[0].location = "";
  refused (box, c, 1, "a new location is empty");
  c[0].location = "a\nb";
  refused (box, c, 1, "has a control character");
  c[0].location = "a";
  c[0].format = NULL;
  refused (box, c, 1, "a new format is empty");
  c[0].format = "VDI";
  c[1].kind = VD_VBOX_REMOVE_MEDIUM;
  u_uuid (c[1].uuid, 2);
  refused (box, c, 2, U (02) ", which shall become the parent");

  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_ADD_SNAPSHOT;
  u_uuid (c[0].uuid, 11);
  c[0].name = "n";
  c[0].time = "t";
  refused (box, c, 1, "one new snapshot, with a UUID of its own");
  u_uuid (c[0].uuid, 14);
  c[1] = c[0];
  u_uuid (c[1].uuid, 15);
  refused (box, c, 2, "one new snapshot");
  c[0].name = NULL;
  refused (box, c, 1, "a new snapshot's name is empty");
  vd_vbox_free (box);

  box = u_box (BOX ("", "<Hardware/>\n"));
  memset (c, 0, sizeof c);
  c[0].kind = VD_VBOX_ADD_MEDIUM;
  c[0].location = "x.vdi";
  c[0].format = "VDI";
  u_uuid (c[0].uuid, 1);
  refused (box, c, 1, "no media registry of its own");
  vd_vbox_free (box);
}

/* What is not UTF-8 cannot become part of the file. */
TEST (not_utf8)
{
  struct vd_vbox *box = u_box (BOX ("", MEDIA ("")));
  struct vd_vbox_change c = {
    .kind = VD_VBOX_ADD_MEDIUM, .location = "\xff", .format = "VDI",
  };
  struct vd_err err;
  size_t len;
  char *out;

  u_uuid (c.uuid, 1);
  assert_int_equal (vd_vbox_edit (box, &c, 1, &out, &len, &err), -1);
  assert_err (&err, VD_UNSUPPORTED, "nothing was changed", "UTF-8");
  vd_vbox_free (box);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (random_changes),
    cmocka_unit_test (real_machine),
    cmocka_unit_test (new_elements),
    cmocka_unit_test (refused_changes),
    cmocka_unit_test (not_utf8),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
