/* A merge in which the power fails; see crash.h. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "plan.h"

static const struct vd_opts plain, dirty = { .allow_dirty = true };
static struct vd_merge_opts how;
static char given[CR_PATH];      /* the newest file, or the machine */
static char target[CR_PATH], merged[CR_PATH], journal[CR_PATH + 32];
static uint8_t *want;           /* of the target, merged */
static bool stays;              /* the newest link does */

/* Files of the links that are merged, and of those below the target: nobody
 * writes to any of them, and only the former may go.
 */
static const struct tr_file *merged_file[TR_FILES], *below_file[TR_FILES];
static size_t n_merged, n_below;
static uint64_t merged_hash[TR_FILES], below_hash[TR_FILES];

static bool
say_err (const char *what, const char *path, const struct vd_err *err)
{
  printf ("  %s: %s: %s\n", what, path, err->msg);
  return false;
}

static void
name_journal (void)
{
  const char *slash = strrchr (given, '/');

  snprintf (journal, sizeof journal, "%.*s/.%s.vmdkdelta-merge",
            (int) (slash - given), given, slash + 1);
}

static void
note_files (const struct vd_link *link, const struct tr_file **list, size_t *n)
{
  for (size_t i = 0; i <= link->nr_pieces; i++) {
    const char *path = link->path, *name;
    const struct tr_file *f;

    if (i < link->nr_pieces) {
      if (!link->pieces[i].image->file)
        continue;
      path = link->pieces[i].image->file->name;
    }
    name = strrchr (path, '/') + 1;
    f = tr_find_file (cr_case, name);
    if (!f)
      abort ();
    if (i == 0 || strcmp (name, strrchr (link->path, '/') + 1) != 0)
      list[(*n)++] = f;
  }
}

static void
hash_files (const struct tr_file *const *list, size_t n, uint64_t *hash)
{
  for (size_t i = 0; i < n; i++)
    hash[i] = cr_hash_bytes (list[i]->good, list[i]->good_size);
}

static void
note_all_files (const struct vd_merge_disk *d)
{
  const size_t target_at = d->first + d->nr;

  n_merged = n_below = 0;
  for (size_t i = d->discard ? 0 : d->first; i < target_at; i++)
    note_files (d->chain->links[i], merged_file, &n_merged);
  for (size_t i = target_at + 1; i < d->chain->nr_links; i++)
    note_files (d->chain->links[i], below_file, &n_below);
  hash_files (merged_file, n_merged, merged_hash);
  hash_files (below_file, n_below, below_hash);
}

/* The older snapshots: from the second merged link down to the target. */
static struct { char path[CR_PATH]; uint8_t *was; } older[TR_LINKS];
static size_t n_older;

static void
note_older (const struct vd_merge_disk *d)
{
  while (n_older > 0)
    free (older[--n_older].was);
  for (size_t i = d->first + 1; i <= d->first + d->nr; i++, n_older++) {
    struct mk_model model = cr_case->model;

    model.n = cr_case->n_links - i;
    older[n_older].was = mk_alloc (cr_case->size, 1);
    mk_model_read (&model, older[n_older].was, cr_case->size, 0);
    snprintf (older[n_older].path, CR_PATH, "%s", d->chain->links[i]->path);
  }
}

/* Each reads as it was, or is refused; the target may be merged, too.  A VDI
 * that was kept, when all was done, is served with a warning.
 */
static bool
older_honest (void)
{
  const bool kept_vdi = how.keep && strcmp (cr_case->kind, "VDI") == 0;

  for (size_t i = 0; i < n_older; i++) {
    const bool last = i + 1 == n_older;
    struct vd_err err = { .code = VD_OK };

    if (!cr_exists (older[i].path) ||
        cr_ask (older[i].path, &plain, older[i].was, cr_case->size,
                &err) != CR_WRONG)
      continue;
    if (last && cr_ask (older[i].path, &plain, want, cr_case->size,
                        &err) == CR_RIGHT)
      continue;
    if (!last && kept_vdi &&
        cr_ask (target, &plain, want, cr_case->size, &err) == CR_RIGHT)
      continue;
    return say_err ("an older snapshot reads wrong", older[i].path, &err);
  }
  return true;
}

/* What is there of them is as it was. */
static bool
as_before (const struct tr_file *const *list, const uint64_t *hash, size_t n,
           bool may_be_gone)
{
  char path[CR_PATH];

  for (size_t i = 0; i < n; i++) {
    cr_path (path, list[i]->name);
    if (!cr_exists (path) && may_be_gone)
      continue;
    if (cr_known (path) != hash[i] &&
        !cr_same_file (path, list[i]->good, list[i]->good_size)) {
      printf ("  %s was changed\n", path);
      return false;
    }
  }
  return true;
}

/* When all was done. */
static bool
merged_gone (void)
{
  char path[CR_PATH];

  for (size_t i = 0; i < n_merged; i++) {
    cr_path (path, merged_file[i]->name);
    if (cr_exists (path)) {
      printf ("  %s is still there\n", path);
      return false;
    }
  }
  return true;
}

/* A machine with the links of the chain, each but the last in a snapshot. */
static bool
write_machine (void)
{
  const size_t n = cr_case->n_links;
  char uuid[TR_LINKS][VD_UUID_TEXT], *text = NULL;
  struct vd_err err;
  size_t len;
  FILE *fp;
  bool ok;

  for (size_t k = 0; k < n; k++) {
    char path[CR_PATH];
    struct vd_link *link;

    cr_path (path, cr_case->file[k].name);
    link = vd_link_open (path, &plain, &err);
    if (!link)
      return say_err ("the link", path, &err);
    vd_uuid_text (uuid[k], link->id.image);
    vd_link_close (link);
  }
  fp = open_memstream (&text, &len);
  fprintf (fp, "<?xml version=\"1.0\"?>\n"
           "<VirtualBox xmlns=\"http://www.virtualbox.org/\" "
           "version=\"1.19-linux\">\n"
           "<Machine uuid=\"{622a0911-bc78-4b7a-a6ec-000000000099}\" "
           "name=\"m\" currentSnapshot=\"{622a0911-bc78-4b7a-a6ec-"
           "00000000000%zu}\">\n<MediaRegistry>\n<HardDisks>\n", n - 2);
  for (size_t k = 0; k < n; k++)
    fprintf (fp, "<HardDisk uuid=\"{%s}\" location=\"%s\" format=\"VDI\"%s"
             ">\n", uuid[k], cr_case->file[k].name,
             k == 0 ? " type=\"Normal\"" : "");
  for (size_t k = 0; k < n; k++)
    fprintf (fp, "</HardDisk>\n");
  fprintf (fp, "</HardDisks>\n</MediaRegistry>\n");
  for (size_t k = 0; k < n; k++) {
    if (k + 1 < n)
      fprintf (fp, "<Snapshot uuid=\"{622a0911-bc78-4b7a-a6ec-00000000000%zu}"
               "\" name=\"s%zu\" timeStamp=\"2026-01-0%zuT00:00:00Z\">\n", k,
               k, k + 1);
    fprintf (fp, "<Hardware>\n<StorageControllers>\n<StorageController "
             "name=\"sata\">\n<AttachedDevice type=\"HardDisk\" port=\"0\" "
             "device=\"0\">\n<Image uuid=\"{%s}\"/>\n</AttachedDevice>\n"
             "</StorageController>\n</StorageControllers>\n</Hardware>\n",
             uuid[k]);
    if (k + 2 < n)
      fprintf (fp, "<Snapshots>\n");
    else if (k + 2 == n) {
      fprintf (fp, "</Snapshot>\n");
      for (size_t i = 2; i < n; i++)
        fprintf (fp, "</Snapshots>\n</Snapshot>\n");
    }
  }
  fprintf (fp, "</Machine>\n</VirtualBox>\n");
  fclose (fp);
  cr_path (given, "m.vbox");
  ok = mk_write_file (given, text, len) == 0;
  free (text);
  return ok;
}

/* The machine file can be read, and its disk is registered as it is. */
static bool
machine_right (void)
{
  struct vd_err err;
  struct vd_vbox *box;
  bool ok;

  if (strcmp (given, cr_newest) == 0)
    return true;
  box = vd_vbox_open (given, &err);
  ok = box && vd_vbox_check_registry (box, &err) == 0;
  vd_vbox_free (box);
  return ok || say_err ("the machine", given, &err);
}

static bool
prepare (uint64_t seed, const char *dir, bool machine)
{
  struct mk_model model;
  struct vd_merge *m;
  struct vd_err err;
  struct mk_rng r;
  const struct vd_merge_disk *d;
  bool ok;

  free (want);
  want = NULL;
  if (!cr_draw (seed, dir) || cr_case->filter)
    return false;
  strcpy (given, cr_newest);
  if (machine && (strcmp (cr_case->kind, "VDI") != 0 ||
                  cr_case->n_links < 2 || !write_machine ()))
    return false;
  mk_rng_seed (&r, seed ^ 0x6d65726765);
  how = (struct vd_merge_opts) { .threads = 1 };
  if (mk_rng_chance (&r, 300))
    how.skip = 1;
  if (mk_rng_chance (&r, 300))
    how.count = 1;
  how.discard_current = how.skip == 0 && mk_rng_chance (&r, 200);
  how.snapshot = how.skip == 0 && mk_rng_chance (&r, 300);
  how.keep = mk_rng_chance (&r, 150);
  how.compact = mk_rng_chance (&r, 300);
  m = vd_merge_open (given, &how, &plain, &err);
  if (!m && (how.skip || how.discard_current)) {
    how.skip = 0;               /* the chain is too short for that */
    how.discard_current = false;
    m = vd_merge_open (given, &how, &plain, &err);
  }
  if (!m)
    return false;
  d = &m->disk[0];
  ok = d->nr > 0;
  if (ok) {
    snprintf (target, sizeof target, "%s", d->target->path);
    snprintf (merged, sizeof merged, "%s", d->chain->links[d->first]->path);
    stays = d->first > 0 && !d->discard;
    note_all_files (d);
    note_older (d);
    model = cr_case->model;
    model.n = cr_case->n_links - d->first;
    want = mk_alloc (cr_case->size, 1);
    mk_model_read (&model, want, cr_case->size, 0);
    name_journal ();
  }
  vd_merge_free (m);
  return ok;
}

static bool
merge_prepare (uint64_t seed, const char *dir)
{
  return prepare (seed, dir, false);
}

static bool
machine_prepare (uint64_t seed, const char *dir)
{
  return prepare (seed, dir, true);
}

/* Nothing is wrong; and the old disk or the merged one is right. */
static bool
merge_state (void)
{
  const uint64_t size = cr_case->size;
  struct vd_err err = { .code = VD_OK }, err2 = { .code = VD_OK };

  if (!machine_right () ||
      !as_before (merged_file, merged_hash, n_merged, !how.keep) ||
      !as_before (below_file, below_hash, n_below, false) ||
      !older_honest ())
    return false;
  if (cr_exists (cr_newest) &&
      (cr_ask (cr_newest, &plain, cr_case->want, size, &err) == CR_WRONG ||
       cr_ask (cr_newest, &dirty, cr_case->want, size, &err) == CR_WRONG))
    return say_err ("wrong bytes", cr_newest, &err);
  if (cr_exists (cr_newest) &&
      cr_ask (cr_newest, &dirty, cr_case->want, size, &err) == CR_RIGHT)
    return true;
  if (!cr_exists (journal) && cr_exists (cr_newest) && !how.keep)
    return say_err ("not readable, and no journal", cr_newest, &err);
  return cr_ask (target, &plain, want, size, &err2) == CR_RIGHT ||
    (say_err ("neither the old disk", cr_newest, &err) |
     say_err ("nor the new one is right", target, &err2));
}

/* All that begins like an image and was not there: the new child. */
static bool
child_right (void)
{
  DIR *d = opendir (cr_case->dir);
  const struct dirent *e;
  struct vd_err err = { .msg = "no file" };
  bool found = false;

  while (d && (e = readdir (d)) != NULL) {
    const char *dot = strrchr (e->d_name, '.');
    char path[2 * CR_PATH + 2];

    if (e->d_name[0] == '.' || !dot || tr_find_file (cr_case, e->d_name) ||
        strcmp (dot, ".part") == 0 || strncmp (dot, ".vbox", 5) == 0 ||
         strstr (e->d_name, "-delta.vmdk"))
      continue;
    snprintf (path, sizeof path, "%s/%s", cr_case->dir, e->d_name);
    if (cr_ask (path, &plain, want, cr_case->size, &err) != CR_RIGHT) {
      closedir (d);
      return say_err ("the new child", path, &err);
    }
    found = true;
  }
  closedir (d);
  return found || say_err ("the new child", cr_case->dir, &err);
}

static bool
target_right (bool quiet)
{
  struct vd_err err;

  return cr_ask (target, &plain, want, cr_case->size, &err) == CR_RIGHT ||
    (!quiet && say_err ("the target is not right", target, &err));
}

static void
count_warning (void *opaque, enum vd_level level, const char *msg)
{
  (void) msg;
  *(unsigned *) opaque += level == VD_WARN;
}

/* What was kept says that it does not fit any more: an error, or, of a VDI, a
 * warning.
 */
static bool
kept_right (void)
{
  unsigned warnings = 0;
  const struct vd_opts listen = {
    .log = { .fn = count_warning, .opaque = &warnings },
  };
  struct vd_err err = { .msg = "it can be opened" };

  if (!as_before (merged_file, merged_hash, n_merged, false))
    return false;
  if (cr_ask (merged, &listen, want, cr_case->size, &err) == CR_ERROR
      ? err.code == VD_MISMATCH : warnings > 0)
    return true;
  return say_err ("was kept", merged, &err);
}

static bool
merge_right (void)
{
  struct vd_err err;

  if (!machine_right () || !target_right (false) ||
      !as_before (below_file, below_hash, n_below, false) ||
      !(how.keep ? kept_right () : merged_gone ()))
    return false;
  if (cr_exists (journal))
    return say_err ("still there", journal, &(struct vd_err) { .code = 0 });
  for (size_t i = 0; i < n_older; i++) {
    char *mark = vd_merging_name (older[i].path);
    const bool left = cr_exists (mark);

    free (mark);
    if (left)
      return say_err ("its mark is still there", older[i].path,
                      &(struct vd_err) { .code = 0 });
  }
  if (how.snapshot && !child_right ())
    return false;
  return !stays || cr_ask (cr_newest, &plain, cr_case->want, cr_case->size,
                           &err) == CR_RIGHT ||
    say_err ("the newest is not right", cr_newest, &err);
}

/* With --keep, and all done but the last that is told: what was kept does not
 * fit any more, or is no part of the chain or the machine.
 */
static bool
done_already (const struct vd_err *err)
{
  return (err->code == VD_MISMATCH || err->code == VD_USAGE ||
          err->code == VD_NOTHING) &&
    !cr_exists (journal) && target_right (true);
}

static int
merge_run (struct vd_err *err)
{
  struct vd_merge *m;
  int r = vd_merge_resume (given, &plain, false, NULL, NULL, err);

  if (r != 0)
    return r == 1 ? 0 : -1;
  /* All was done but the last that is told. */
  if (!how.keep && !cr_exists (merged) && target_right (true))
    return 0;
  m = vd_merge_open (given, &how, &plain, err);
  if (!m)
    return how.keep && done_already (err) ? 0 : -1;
  r = vd_merge_run (m, NULL, NULL, err) == 0 ?
    vd_merge_commit (m, false, NULL, NULL, err) : -1;
  vd_merge_free (m);
  return r;
}

const struct cr_scenario cr_merge = {
  "merge", merge_prepare, merge_run, merge_state, merge_right,
};

const struct cr_scenario cr_machine = {
  "machine", machine_prepare, merge_run, merge_state, merge_right,
};
