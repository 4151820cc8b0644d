/* The pieces of work in which calls fail; see faults.h. */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../crash/crash.h"
#include "base/bytes.h"
#include "faults.h"
#include "plan.h"

/* ---- What they share --------------------------------------------------- */

struct tr_case *fl_case;
static char newest[160], target[160];
static uint8_t buf[8 << 20];    /* no scenario has a larger disk */

void
fl_path (char path[160], const char *name)
{
  snprintf (path, 160, "%s/%s", fl_case->dir, name);
}

static int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *ftw)
{
  (void) st, (void) type, (void) ftw;
  return remove (path);
}

void
fl_finish (void)
{
  char dir[sizeof fl_case->dir];

  memcpy (dir, fl_case->dir, sizeof dir);
  tr_free (fl_case);
  nftw (dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  fl_case = NULL;
}

bool
fl_draw (uint64_t seed, const char *dir)
{
  fl_case = tr_draw (seed, dir, false);
  /* What is open for writing counts as in use. */
  for (size_t i = 0; i < fl_case->n_files; i++) {
    close (fl_case->file[i].fd);
    fl_case->file[i].fd = openat (fl_case->dir_fd, fl_case->file[i].name,
                            O_RDONLY | O_CLOEXEC);
  }
  fl_path (newest, fl_case->file[fl_case->newest].name);
  return fl_case->size <= sizeof buf;
}

/* The chain of a case, or of a path. */
struct opened {
  struct vd_deltas deltas;
  struct vd_family *family;
  struct vd_chain *chain;       /* of the family */
  struct vd_reader *reader;
  struct vd_base base;
};

static void
close_disk (struct opened *o)
{
  vd_reader_free (o->reader);
  vd_chain_free (o->chain);
  vd_family_free (o->family);
  vd_deltas_close (&o->deltas);
  vd_file_close (o->base.file);
}

static int
open_disk (struct opened *o, const char *path, bool filter,
           struct vd_err *err)
{
  static const struct vd_opts opts;
  static const struct vd_deltas_opts how = { .follow_option = "follow" };
  struct vd_member *m;

  *o = (struct opened) { .base = { .align = 1 } };
  if (filter) {
    char base[160];

    fl_path (base, "vm-flat.vmdk");
    if (vd_deltas_open (&o->deltas, &path, 1, &how, &opts, err) == -1 ||
        !(o->base.file = vd_file_open (base, err)))
      return -1;
  }
  else if (!(o->family = vd_family_new (&opts, err)) ||
           !(m = vd_family_add (o->family, path, err)) ||
           vd_family_resolve (o->family, m, err) == -1 ||
           !(o->chain = vd_family_chain (o->family, m, err)))
    return -1;
  o->reader = vd_reader_new (filter ? o->deltas.chain : o->chain, 1 << 20,
                             err);
  return o->reader ? 0 : -1;
}

bool
same_disk (const char *path, const uint8_t *want, uint64_t size)
{
  struct opened o;
  struct vd_err err;
  bool same = false;

  if (open_disk (&o, path, false, &err) == -1)
    printf ("  %s\n", err.msg);
  else if (o.chain->size != size)
    printf ("  %s has %llu bytes\n", path, (unsigned long long) o.chain->size);
  else if (vd_read (o.reader, &o.base, buf, (size_t) size, 0, &err) == -1)
    printf ("  %s\n", err.msg);
  else {
    same = memcmp (buf, want, (size_t) size) == 0;
    if (!same)
      printf ("  %s has other bytes\n", path);
  }
  close_disk (&o);
  return same;
}

/* The files that are only read are as they were made. */
bool
fl_untouched (void)
{
  for (size_t i = 0; i < fl_case->n_files; i++) {
    const struct tr_file *f = &fl_case->file[i];
    struct stat st;

    if (fstat (f->fd, &st) == -1 || (size_t) st.st_size != f->good_size ||
        pread (f->fd, f->now, f->good_size, 0) != (ssize_t) f->good_size ||
        memcmp (f->now, f->good, f->good_size) != 0) {
      printf ("  %s was changed\n", f->name);
      return false;
    }
  }
  return true;
}

/* Once more, and now nothing fails. */
bool
fl_again (int (*run) (struct vd_err *err))
{
  struct vd_err err;

  if (run (&err) == 0)
    return true;
  printf ("  done again: %s\n", err.msg);
  return false;
}

/* ---- read: open, pread, extents, check --------------------------------- */

struct pieces {
  uint64_t at;
  bool wrong;
};

static int
look (void *opaque, uint64_t length, unsigned type, struct vd_err *err)
{
  struct pieces *p = opaque;

  (void) err;
  if (type & VD_READS_ZERO)
    for (uint64_t i = 0; i < length && !p->wrong; i++)
      p->wrong = fl_case->want[p->at + i] != 0;
  p->at += length;
  return 0;
}

static bool read_wrong;

static int
check_disk (const struct vd_chain *chain, struct vd_err *err)
{
  static const struct vd_check_opts opts = { .inflate = true };
  struct vd_check_report links[TR_LINKS], whole;
  int r = 0;

  if (vd_check_chain (chain, &opts, links, &whole, err) == -1)
    r = -1;
  for (size_t i = 0; i < chain->nr_links; i++) {
    if (r == 0)
      r = vd_check_result (&links[i], err);
    vd_check_report_free (&links[i]);
  }
  if (r == 0)
    r = vd_check_result (&whole, err);
  vd_check_report_free (&whole);
  return r;
}

static int
read_run (struct vd_err *err)
{
  struct pieces p = { .at = 0 };
  struct opened o;
  const struct vd_chain *chain;
  int r = -1;

  read_wrong = false;
  memset (buf, 0xa5, fl_case->size);
  if (open_disk (&o, newest, fl_case->filter, err) == -1)
    goto out;
  chain = vd_reader_get_chain (o.reader);
  if (vd_read (o.reader, &o.base, buf, (size_t) fl_case->size, 0, err) == -1)
    goto out;
  read_wrong = memcmp (buf, fl_case->want, fl_case->size) != 0;
  while (p.at < fl_case->size)
    if (vd_status (o.reader, &o.base, p.at, fl_case->size - p.at, false, look, &p,
                   err) == -1)
      goto out;
  read_wrong = read_wrong || p.wrong || p.at != fl_case->size;
  r = check_disk (chain, err);
 out:
  close_disk (&o);
  return r;
}

static bool
read_check (bool failed)
{
  (void) failed;
  if (read_wrong)
    printf ("  wrong bytes\n");
  return !read_wrong && fl_untouched ();
}

/* ---- create ------------------------------------------------------------ */

#define CREATE_SIZE (UINT64_C (1) << 20)
static enum vd_create_format create_format;
static uint8_t created[CREATE_SIZE];

static bool
create_prepare (uint64_t seed, const char *dir)
{
  struct mk_content content = { .seed = seed };

  if (!fl_draw (seed, dir))
    return false;
  create_format = (enum vd_create_format) (seed % 3);
  mk_content_fill (&content, created, sizeof created, 0);
  for (size_t i = 0; i < 16; i++)
    if (i % 3 != 0)
      memset (created + i * 65536, 0, 65536);
  fl_path (target, "new.vmdk");
  return true;
}

static int
create_run (struct vd_err *err)
{
  const struct vd_create_opts opts = {
    .format = create_format, .capacity = CREATE_SIZE, .grain_size = 65536,
    .parent_cid = 0xfffffffe, .threads = 2,
  };
  struct vd_create *w = vd_create_open (target, &opts, err);

  if (!w)
    return -1;
  for (uint64_t i = 0; i < 16; i++)
    if (i % 3 == 0
        ? vd_create_data (w, i * 65536, created + i * 65536, 65536, err) == -1
        : i % 3 == 1 && vd_create_zero (w, i * 65536, 65536, err) == -1) {
      vd_create_abort (w);
      return -1;
    }
  return vd_create_finish (w, NULL, err);
}

/* Opened as a delta over nothing. */
static bool
create_right (void)
{
  static const struct vd_opts opts;
  static const struct vd_base none = { .align = 1 };
  struct vd_err err;
  struct vd_link *link = vd_link_open (target, &opts, &err);
  struct vd_chain *chain = link ? vd_chain_new (&link, 1, &opts, &err) : NULL;
  struct vd_reader *reader = chain ? vd_reader_new (chain, 1 << 20, &err)
    : NULL;
  bool right = reader &&
    vd_read (reader, &none, buf, CREATE_SIZE, 0, &err) == 0;

  if (!right)
    printf ("  %s\n", err.msg);
  else if (memcmp (buf, created, CREATE_SIZE) != 0) {
    printf ("  wrong bytes were written\n");
    right = false;
  }
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_link_close (link);
  return right;
}

static bool
create_check (bool failed)
{
  if (!failed)
    return create_right ();
  if (access (target, F_OK) == 0) {
    printf ("  it failed, but the file is there\n");
    return false;
  }
  return fl_again (create_run) && create_right ();
}

/* ---- apply ------------------------------------------------------------- */

static bool
apply_prepare (uint64_t seed, const char *dir)
{
  if (!fl_draw (seed, dir))
    return false;
  if (!fl_case->filter) {
    fl_finish ();
    return false;
  }
  fl_path (target, "target.raw");
  return mk_write_file (target, fl_case->file[fl_case->base].good, fl_case->size) == 0;
}

static int
apply_run (struct vd_err *err)
{
  static const struct vd_apply_opts opts = { .threads = 2 };
  struct opened o;
  struct vd_file *file = NULL;
  int r = open_disk (&o, newest, true, err);

  if (r == 0) {
    file = vd_file_open_rw (target, err);
    r = file && vd_apply (o.reader, file, &opts, err) == 0 ?
      vd_apply_verify (o.reader, file, &opts, err) : -1;
  }
  vd_file_close (file);
  close_disk (&o);
  return r;
}

static bool
apply_check (bool failed)
{
  int fd;
  bool same;

  if (failed && !fl_again (apply_run))
    return false;
  fd = open (target, O_RDONLY | O_CLOEXEC);
  same = pread (fd, buf, fl_case->size + 1, 0) == (ssize_t) fl_case->size &&
    memcmp (buf, fl_case->want, fl_case->size) == 0;
  close (fd);
  if (!same)
    printf ("  the target is wrong\n");
  return same && fl_untouched ();
}

/* ---- compact ----------------------------------------------------------- */

static int
compact_run (struct vd_err *err)
{
  static const struct vd_opts opts;
  static const struct vd_compact_opts how;
  struct vd_compact_result result;

  return vd_compact_in_place (newest, &opts, &how, &result, err);
}

static bool
compact_prepare (uint64_t seed, const char *dir)
{
  static const struct vd_opts opts;
  static const struct vd_compact_opts dry = { .dry_run = true };
  struct vd_compact_result result;
  struct vd_err err;

  if (!fl_draw (seed, dir))
    return false;
  if (!fl_case->filter && fl_case->n_links > 0 &&
      vd_compact_in_place (newest, &opts, &dry, &result, &err) == 0 &&
      result.changed)
    return true;
  fl_finish ();
  return false;
}

static bool
compact_check (bool failed)
{
  return same_disk (newest, fl_case->want, fl_case->size) &&
    (!failed || (fl_again (compact_run) &&
                 same_disk (newest, fl_case->want, fl_case->size)));
}

/* ---- What tests/crash has: merge, machine, write, undo, copy ------------ */

/* It is linked in, with its way of telling whether all is right. */
static const struct cr_scenario *work;

uint64_t
cr_known (const char *path)
{
  (void) path;
  return 0;                     /* nobody looked */
}

static void crash_finish (void);

static bool
crash_prepare (const struct cr_scenario *s, uint64_t seed, const char *dir)
{
  char top[64];

  work = s;
  snprintf (top, sizeof top, "%s/faults.XXXXXX", dir);
  if (!mkdtemp (top)) {
    perror (top);
    exit (2);
  }
  if (s->prepare (seed, top))
    return true;
  crash_finish ();
  rmdir (top);
  return false;
}

static void
crash_finish (void)
{
  char top[sizeof cr_case->dir];

  memcpy (top, cr_case->dir, sizeof top);
  tr_free (cr_case);
  cr_case = NULL;
  nftw (top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  *strrchr (top, '/') = '\0';
  rmdir (top);
}

static int
crash_run (struct vd_err *err)
{
  return work->run (err);
}

static bool
crash_check (bool failed)
{
  return work->state () && (!failed || fl_again (crash_run)) && work->right ();
}

static bool
merge_prepare (uint64_t seed, const char *dir)
{
  return crash_prepare (&cr_merge, seed, dir);
}

static bool
machine_prepare (uint64_t seed, const char *dir)
{
  return crash_prepare (&cr_machine, seed, dir);
}

static bool
write_prepare (uint64_t seed, const char *dir)
{
  return crash_prepare (&cr_write, seed, dir);
}

static bool
undo_prepare (uint64_t seed, const char *dir)
{
  return crash_prepare (&cr_scenarios[1], seed * 3, dir);
}

static bool
copy_prepare (uint64_t seed, const char *dir)
{
  return crash_prepare (&cr_scenarios[2], seed * 20, dir);
}

const struct scenario scenarios[] = {
  { "read", false, fl_draw, read_run, read_check, fl_finish },
  { "create", true, create_prepare, create_run, create_check, fl_finish },
  { "apply", true, apply_prepare, apply_run, apply_check, fl_finish },
  { "undo", true, undo_prepare, crash_run, crash_check, crash_finish },
  { "compact", true, compact_prepare, compact_run, compact_check, fl_finish },
  { "copy", true, copy_prepare, crash_run, crash_check, crash_finish },
  { "merge", true, merge_prepare, crash_run, crash_check, crash_finish },
  { "machine", true, machine_prepare, crash_run, crash_check, crash_finish },
  { "write", true, write_prepare, crash_run, crash_check, crash_finish },
  { "tool", true, tool_prepare, tool_run, tool_check, fl_finish },
  { NULL, false, NULL, NULL, NULL, NULL },
};
