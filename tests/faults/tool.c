/* Calls that fail in the command itself; see faults.h.
 *
 * It runs in a process of its own, as main: it ends with status 0, or with 1,
 * one line of error and nothing else said; never by a signal.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "plan.h"

int tool_main (int argc, char **argv);

#define MAX_ARGS 12
static char arg[MAX_ARGS][400];
static int nr_args;
static char newest[160], base[160], target[160], undo[160], to[160], out[160], errors[160];
static enum { INFO, MAP, CHECK, CREATE, APPLY, COMPACT, MERGE, WORKS } work;
static char said[VD_ERR_MAX];
static int status;              /* as wait tells it */

static void
add (const char *text, const char *more)
{
  snprintf (arg[nr_args++], sizeof arg[0], "%s%s", text, more);
}

static bool
write_base (const char *path)
{
  const struct tr_file *f = &fl_case->file[fl_case->base];

  return mk_write_file (path, f->good, fl_case->size) == 0;
}

static bool
prepare (uint64_t seed)
{
  work = (int) (seed % WORKS);
  nr_args = 0;
  fl_path (newest, fl_case->file[fl_case->newest].name);
  fl_path (base, "base.raw");
  fl_path (target, "target.raw");
  fl_path (undo, "undo.vmdk");
  fl_path (to, "to.raw");
  fl_path (out, "stdout");
  fl_path (errors, "stderr");
  add ("vmdkdelta", "");
  switch (work) {
  case INFO:
    add ("info", "");
    add ("--json", "");
    add ("--chain", "");
    break;
  case MAP:
    add ("map", "");
    add ("--json", "");
    break;
  case CHECK:
    add ("check", "");
    add ("--json", "");
    break;
  case CREATE:
    if (!fl_case->filter || !write_base (base) ||
        mk_write_file (to, fl_case->want, fl_case->size) == -1)
      return false;
    add ("create", "");
    add ("--quiet", "");
    add ("--from=", base);
    add ("--to=", to);
    fl_path (target, "new.vmdk");
    add (target, "");
    return true;
  case APPLY:
    if (!fl_case->filter || !write_base (target))
      return false;
    add ("apply", "");
    add ("--quiet", "");
    add ("--undo=", undo);
    add (newest, "");
    add (target, "");
    return true;
  case COMPACT:
    add ("compact", "");
    add ("--json", "");
    break;
  default:
    if (fl_case->n_links < 2)
      return false;
    add ("merge", "");
    add ("--yes", "");
    add ("--json", "");
  }
  add (newest, "");
  return !fl_case->filter;
}

/* Is there something to do?  Sets the target of a merge. */
static bool
worth_it (void)
{
  static const struct vd_opts opts;
  static const struct vd_compact_opts dry = { .dry_run = true };
  static const struct vd_merge_opts how;
  struct vd_compact_result result;
  struct vd_merge *m;
  struct vd_err err;

  if (work == COMPACT)
    return vd_compact_in_place (newest, &opts, &dry, &result, &err) == 0 &&
      result.changed;
  if (work != MERGE)
    return true;
  m = vd_merge_open (newest, &how, &opts, &err);
  if (!m)
    return false;
  snprintf (target, sizeof target, "%s", m->disk[0].target->path);
  vd_merge_free (m);
  return true;
}

bool
tool_prepare (uint64_t seed, const char *dir)
{
  if (!fl_draw (seed, dir))
    return false;
  if (prepare (seed) && worth_it ())
    return true;
  fl_finish ();
  return false;
}

static void __attribute__ ((__noreturn__))
child (void)
{
  char *argv[MAX_ARGS + 1] = { NULL };
  int fd, end;

  for (int i = 0; i < nr_args; i++)
    argv[i] = arg[i];
  fd = creat (out, 0600);
  if (fd == -1 || dup2 (fd, 1) == -1)
    _exit (99);
  close (fd);
  fd = creat (errors, 0600);
  if (fd == -1 || dup2 (fd, 2) == -1)
    _exit (99);
  close (fd);
  optind = 0;                   /* getopt begins anew */
  end = tool_main (nr_args, argv);
  fault_end ();                 /* what ends a process is not the command's */
  exit (end);
}

static size_t
slurp (const char *path, char *text, size_t n)
{
  FILE *fp = fopen (path, "r");
  size_t len = fp ? fread (text, 1, n - 1, fp) : 0;

  if (fp)
    fclose (fp);
  text[len] = '\0';
  return len;
}

/* The last line of what it said on stderr. */
static void
last_line (void)
{
  char text[16384];
  size_t n = slurp (errors, text, sizeof text);
  const char *line;

  if (n > 0 && text[n - 1] == '\n')
    text[--n] = '\0';
  line = strrchr (text, '\n');
  snprintf (said, sizeof said, "%.2000s", line ? line + 1 : text);
}

int
tool_run (struct vd_err *err)
{
  pid_t pid;

  fflush (NULL);
  pid = fork ();
  if (pid == 0)
    child ();
  if (pid == -1 || waitpid (pid, &status, 0) != pid) {
    perror ("fork");
    exit (2);
  }
  if (status == 0)
    return 0;
  last_line ();
  *err = (struct vd_err) { .code = VD_IO };
  snprintf (err->msg, sizeof err->msg, "%s", *said ? said : "told");
  return -1;
}

/* `info` and `check` tell what they could find out, and why there is no more. */
static bool
told (void)
{
  static char text[1 << 20];
  const size_t n = slurp (out, text, sizeof text);

  return (work == INFO || work == CHECK) && n > 2 &&
    strcmp (text + n - 2, "]\n") == 0 &&
    (strstr (text, "error\": \"") || strstr (text, "\"reason\": \"") ||
     strstr (text, "\"damaged\""));
}

static bool
in_order (bool failed)
{
  char text[64];

  if (!failed)
    return true;
  /* for check, what cannot be read is damage */
  if (!WIFEXITED (status) ||
      (WEXITSTATUS (status) != 1 &&
       (work != CHECK || WEXITSTATUS (status) != 3 || !told ()))) {
    printf ("  %s: ended with %#x\n", arg[1], (unsigned) status);
    return false;
  }
  if (told ())
    return true;
  if (strncmp (said, "vmdkdelta: ", 11) != 0 ||
      strncmp (said, "vmdkdelta: warning", 18) == 0) {
    printf ("  %s: the last line is no error: '%s'\n", arg[1], said);
    return false;
  }
  if (slurp (out, text, sizeof text) > 0) {
    printf ("  %s: it failed, but printed '%s'\n", arg[1], text);
    return false;
  }
  return true;
}

/* A raw file. */
static bool
same (const char *path, const uint8_t *want, size_t n)
{
  uint8_t *have = mk_alloc (n + 1, 1);
  const int fd = open (path, O_RDONLY | O_CLOEXEC);
  const bool ok = pread (fd, have, n + 1, 0) == (ssize_t) n &&
    memcmp (have, want, n) == 0;

  close (fd);
  free (have);
  if (!ok)
    printf ("  %s has other bytes\n", path);
  return ok;
}

/* The delta over `under` is `want`. */
static bool
over (const char *delta, const char *under, const uint8_t *want)
{
  static const struct vd_opts opts;
  static const struct vd_deltas_opts how = { .follow_option = "follow" };
  struct vd_base b = { .align = 1 };
  struct vd_deltas deltas = { .chain = NULL };
  struct vd_reader *reader = NULL;
  uint8_t *have = mk_alloc (fl_case->size, 1);
  struct vd_err err = { .msg = "other bytes" };
  bool ok = false;

  if (vd_deltas_open (&deltas, &delta, 1, &how, &opts, &err) == 0 &&
      (b.file = vd_file_open (under, &err)) != NULL &&
      (reader = vd_reader_new (deltas.chain, 1 << 20, &err)) != NULL &&
      vd_read (reader, &b, have, (size_t) fl_case->size, 0, &err) == 0)
    ok = memcmp (have, want, fl_case->size) == 0;
  if (!ok)
    printf ("  %s over %s: %s\n", delta, under, err.msg);
  vd_reader_free (reader);
  vd_deltas_close (&deltas);
  vd_file_close (b.file);
  free (have);
  return ok;
}

static bool
merged (bool failed)
{
  struct vd_err err;

  if (failed && access (newest, F_OK) == 0 && !fl_again (tool_run))
    return false;
  if (failed && access (newest, F_OK) != 0)
    tool_run (&err);            /* perhaps there is no more to do */
  if (access (newest, F_OK) == 0) {
    printf ("  %s is still there\n", newest);
    return false;
  }
  return same_disk (target, fl_case->want, fl_case->size);
}

bool
tool_check (bool failed)
{
  const uint8_t *good = fl_case->file[fl_case->base].good;

  if (!in_order (failed))
    return false;
  switch (work) {
  case INFO:
  case MAP:
  case CHECK:
    return fl_untouched ();
  case CREATE:
    if (failed && access (target, F_OK) == 0) {
      printf ("  it failed, but the file is there\n");
      return false;
    }
    return fl_untouched () && (!failed || fl_again (tool_run)) &&
      over (target, base, fl_case->want);
  case APPLY:
    if (failed && access (undo, F_OK) == 0 && !over (undo, target, good))
      return false;
    return fl_untouched () && (!failed || fl_again (tool_run)) &&
      same (target, fl_case->want, fl_case->size) &&
      over (undo, target, good);
  case COMPACT:
    return same_disk (newest, fl_case->want, fl_case->size) &&
      (!failed || (fl_again (tool_run) &&
                   same_disk (newest, fl_case->want, fl_case->size)));
  default:
    return merged (failed);
  }
}
