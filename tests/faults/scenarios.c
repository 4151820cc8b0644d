/* The pieces of work in which calls fail; see faults.h. */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "faults.h"
#include "plan.h"

/* ---- What they share --------------------------------------------------- */

static struct tr_case *c;
static char newest[160], target[160];
static uint8_t buf[8 << 20];    /* no scenario has a larger disk */

static void
path_of (char path[160], const char *name)
{
  snprintf (path, 160, "%s/%s", c->dir, name);
}

static int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *ftw)
{
  (void) st, (void) type, (void) ftw;
  return remove (path);
}

static void
finish (void)
{
  char dir[sizeof c->dir];

  memcpy (dir, c->dir, sizeof dir);
  tr_free (c);
  nftw (dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  c = NULL;
}

static bool
draw (uint64_t seed, const char *dir)
{
  c = tr_draw (seed, dir, false);
  /* What is open for writing counts as in use. */
  for (size_t i = 0; i < c->n_files; i++) {
    close (c->file[i].fd);
    c->file[i].fd = openat (c->dir_fd, c->file[i].name,
                            O_RDONLY | O_CLOEXEC);
  }
  path_of (newest, c->file[c->newest].name);
  return c->size <= sizeof buf;
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

    path_of (base, "vm-flat.vmdk");
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
static bool
untouched (void)
{
  for (size_t i = 0; i < c->n_files; i++) {
    const struct tr_file *f = &c->file[i];
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
static bool
again (int (*run) (struct vd_err *err))
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
      p->wrong = c->want[p->at + i] != 0;
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
  memset (buf, 0xa5, c->size);
  if (open_disk (&o, newest, c->filter, err) == -1)
    goto out;
  chain = vd_reader_get_chain (o.reader);
  if (vd_read (o.reader, &o.base, buf, (size_t) c->size, 0, err) == -1)
    goto out;
  read_wrong = memcmp (buf, c->want, c->size) != 0;
  while (p.at < c->size)
    if (vd_status (o.reader, &o.base, p.at, c->size - p.at, false, look, &p,
                   err) == -1)
      goto out;
  read_wrong = read_wrong || p.wrong || p.at != c->size;
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
  return !read_wrong && untouched ();
}

/* ---- create ------------------------------------------------------------ */

#define CREATE_SIZE (UINT64_C (1) << 20)
static enum vd_writer_format create_format;
static uint8_t created[CREATE_SIZE];

static bool
create_prepare (uint64_t seed, const char *dir)
{
  struct mk_content content = { .seed = seed };

  if (!draw (seed, dir))
    return false;
  create_format = (enum vd_writer_format) (seed % 3);
  mk_content_fill (&content, created, sizeof created, 0);
  for (size_t i = 0; i < 16; i++)
    if (i % 3 != 0)
      memset (created + i * 65536, 0, 65536);
  path_of (target, "new.vmdk");
  return true;
}

static int
create_run (struct vd_err *err)
{
  const struct vd_writer_opts opts = {
    .format = create_format, .capacity = CREATE_SIZE, .grain_size = 65536,
    .parent_cid = 0xfffffffe, .threads = 2,
  };
  struct vd_writer *w = vd_writer_open (target, &opts, err);

  if (!w)
    return -1;
  for (uint64_t i = 0; i < 16; i++)
    if (i % 3 == 0
        ? vd_writer_data (w, i * 65536, created + i * 65536, 65536, err) == -1
        : i % 3 == 1 && vd_writer_zero (w, i * 65536, 65536, err) == -1) {
      vd_writer_abort (w);
      return -1;
    }
  return vd_writer_finish (w, NULL, err);
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
  return again (create_run) && create_right ();
}

/* ---- apply ------------------------------------------------------------- */

static bool
apply_prepare (uint64_t seed, const char *dir)
{
  if (!draw (seed, dir))
    return false;
  if (!c->filter) {
    finish ();
    return false;
  }
  path_of (target, "target.raw");
  return mk_write_file (target, c->file[c->base].good, c->size) == 0;
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

  if (failed && !again (apply_run))
    return false;
  fd = open (target, O_RDONLY | O_CLOEXEC);
  same = pread (fd, buf, c->size + 1, 0) == (ssize_t) c->size &&
    memcmp (buf, c->want, c->size) == 0;
  close (fd);
  if (!same)
    printf ("  the target is wrong\n");
  return same && untouched ();
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

  if (!draw (seed, dir))
    return false;
  if (!c->filter && c->n_links > 0 &&
      vd_compact_in_place (newest, &opts, &dry, &result, &err) == 0 &&
      result.changed)
    return true;
  finish ();
  return false;
}

static bool
compact_check (bool failed)
{
  return same_disk (newest, c->want, c->size) &&
    (!failed || (again (compact_run) &&
                 same_disk (newest, c->want, c->size)));
}

/* ---- merge ------------------------------------------------------------- */

static int
merge_run (struct vd_err *err)
{
  static const struct vd_opts opts;
  static const struct vd_merge_opts how = { .threads = 2 };
  struct vd_merge *m;
  int r = vd_merge_resume (newest, &opts, NULL, NULL, err);

  if (r != 0)
    return r == 1 ? 0 : -1;
  m = vd_merge_open (newest, &how, &opts, err);
  if (!m)
    return -1;
  r = vd_merge_run (m, NULL, NULL, err) == 0 ?
    vd_merge_commit (m, false, NULL, NULL, err) : -1;
  vd_merge_free (m);
  return r;
}

static bool
merge_prepare (uint64_t seed, const char *dir)
{
  static const struct vd_opts opts;
  static const struct vd_merge_opts how = { .threads = 2 };
  struct vd_merge *m;
  struct vd_err err;

  if (!draw (seed, dir))
    return false;
  m = c->filter ? NULL : vd_merge_open (newest, &how, &opts, &err);
  if (!m) {
    finish ();
    return false;
  }
  snprintf (target, sizeof target, "%s", m->disk[0].target->path);
  vd_merge_free (m);
  return true;
}

static bool
merge_check (bool failed)
{
  /* Complete it, unless all was done but the last that is told. */
  if (failed && access (newest, F_OK) == 0 && !again (merge_run))
    return false;
  if (failed && access (newest, F_OK) != 0) {
    static const struct vd_opts opts;
    struct vd_err err;

    if (vd_merge_resume (newest, &opts, NULL, NULL, &err) == -1) {
      printf ("  %s\n", err.msg);
      return false;
    }
  }
  return same_disk (target, c->want, c->size);
}

const struct scenario scenarios[] = {
  { "read", false, draw, read_run, read_check, finish },
  { "create", true, create_prepare, create_run, create_check, finish },
  { "apply", true, apply_prepare, apply_run, apply_check, finish },
  { "compact", true, compact_prepare, compact_run, compact_check, finish },
  { "merge", true, merge_prepare, merge_run, merge_check, finish },
  { NULL, false, NULL, NULL, NULL, NULL },
};
