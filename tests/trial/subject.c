/* Those who are asked to read damaged disks; see trial.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "plan.h"
#include "trial.h"
#include "vmdkdelta.h"

void
tr_answer_free (struct tr_answer *a)
{
  free (a->buf);
  free (a->lost);
}

static void
count_warning (void *opaque, enum vd_level level, const char *msg)
{
  (void) msg;
  if (level == VD_WARN)
    ++*(unsigned *) opaque;
}

/* Room for the disk, or for as much of it as is looked at. */
static void
make_room (const struct tr_case *c, struct tr_answer *a)
{
  a->n = (size_t) c->size + TR_MORE;
  if (a->size < a->n)
    a->n = (size_t) a->size;
  if (a->room < c->size + TR_MORE) {
    a->room = (size_t) c->size + TR_MORE;
    a->buf = mk_grow (a->buf, a->room, 1);
    a->lost = mk_grow (a->lost, a->room / MK_SECTOR + 1, 1);
  }
  memset (a->lost, 0, a->n / MK_SECTOR + 1);
}

/* All at once, or, where that fails, in pieces. */
static void
read_disk (struct vd_reader *reader, const struct vd_base *base, size_t step,
           struct tr_answer *a)
{
  struct vd_err err;

  /* what is not read must not look as if it were */
  memset (a->buf, 0xa5, a->n);
  if (vd_read (reader, base, a->buf, a->n, 0, &err) == 0)
    return;
  a->bad = true;
  snprintf (a->text, sizeof a->text, "%.500s", err.msg);
  for (size_t at = 0; at < a->n; at += step) {
    const size_t n = a->n - at < step ? a->n - at : step;

    memset (a->buf + at, 0xa5, n);
    if (vd_read (reader, base, a->buf + at, n, at, &err) == -1)
      memset (a->lost + at / MK_SECTOR, 1,
              (n + MK_SECTOR - 1) / MK_SECTOR);
  }
}

void
tr_ask_library (const struct tr_case *c, bool fine, struct tr_answer *a)
{
  const struct vd_opts opts = {
    .log = { .fn = count_warning, .opaque = &a->warnings }
  };
  const struct vd_deltas_opts how = { .follow_option = "follow" };
  const struct tr_file *base = &c->file[c->base];
  struct vd_deltas deltas = { .chain = NULL };
  struct vd_family *family = NULL;
  struct vd_chain *chain = NULL, *used;
  struct vd_reader *reader = NULL;
  struct vd_base below = { .align = 1 };
  char newest[160];
  const char *path = newest;
  struct vd_err err = { .code = VD_OK };

  a->refused = a->bad = false;
  a->warnings = 0;
  a->text[0] = '\0';
  snprintf (newest, sizeof newest, "%s/%s", c->dir, c->file[c->newest].name);
  if (c->filter) {
    below.file = vd_file_memory ("base", base->now, base->now_size, &err);
    /* as the filter does, when it knows the base */
    if (vd_check_raw (below.file, VD_RAW_BASE, 1, &opts, &err) == -1 ||
        vd_deltas_open (&deltas, &path, 1, &how, &opts, &err) == -1)
      a->refused = true;
    used = deltas.chain;
  }
  else {
    struct vd_member *m = NULL;

    family = vd_family_new (&opts, &err);
    m = vd_family_add (family, newest, &err);
    if (m && vd_family_resolve (family, m, &err) == 0)
      chain = vd_family_chain (family, m, &err);
    a->refused = chain == NULL;
    used = chain;
  }
  if (!a->refused) {
    reader = vd_reader_new (used, VD_MAP_DEFAULT_BUDGET, &err);
    a->size = used->size;
    make_room (c, a);
    if (!reader)
      a->refused = true;
    else
      read_disk (reader, &below, fine ? MK_SECTOR : 4096, a);
  }
  if (a->refused)
    snprintf (a->text, sizeof a->text, "%.500s", err.msg);
  vd_reader_free (reader);
  vd_chain_free (chain);
  vd_family_free (family);
  vd_deltas_close (&deltas);
  vd_file_close (below.file);
}

/* qemu-img convert, within limits of time and of the size of its output.
 * The exit status, or -1.
 */
static int
run_qemu (const char *from, const char *format, const char *to)
{
  pid_t pid = fork ();
  int status, null;

  if (pid == -1)
    return -1;
  if (pid == 0) {
    const struct rlimit size = { 64 << 20, 64 << 20 };

    null = open ("/dev/null", O_RDWR);
    dup2 (null, 1);
    dup2 (null, 2);
    setrlimit (RLIMIT_FSIZE, &size);
    signal (SIGXFSZ, SIG_IGN);
    execlp ("timeout", "timeout", "-s", "KILL", "20", "qemu-img", "convert",
            "-f", format, "-O", "raw", "-S", "0", from, to, (char *) NULL);
    _exit (127);
  }
  while (waitpid (pid, &status, 0) == -1)
    if (errno != EINTR)
      return -1;
  return WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

void
tr_ask_qemu (const struct tr_case *c, struct tr_answer *a)
{
  const struct tr_file *f = &c->file[c->newest];
  char from[160], to[160];
  struct stat st;
  int fd;

  a->refused = true;
  a->bad = false;
  a->warnings = 0;
  snprintf (a->text, sizeof a->text, "qemu-img failed");
  snprintf (from, sizeof from, "%s/%s", c->dir, f->name);
  snprintf (to, sizeof to, "%s.raw", c->dir);
  if (run_qemu (from, f->format == TR_VDI ? "vdi" : "vmdk", to) == 0) {
    fd = open (to, O_RDONLY | O_CLOEXEC);
    if (fd != -1 && fstat (fd, &st) == 0) {
      a->size = (uint64_t) st.st_size;
      make_room (c, a);
      a->refused = pread (fd, a->buf, a->n, 0) != (ssize_t) a->n;
    }
    if (fd != -1)
      close (fd);
  }
  unlink (to);
}
