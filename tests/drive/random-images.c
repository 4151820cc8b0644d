/* Random chains, read through the filter and compared with the byte model.
 *
 *   random-images START COUNT [READS [QEMU-EVERY]]
 *
 * For each seed START, START+1, ...: draw a case (tests/maker/case.h), write
 * it, start nbdkit with $FILTER over "file base.raw" and check on two
 * connections
 *
 *   - the size;
 *   - every byte of the disk, once;
 *   - READS reads (default 64) of random, unaligned ranges, several of them in
 *     flight at a time;
 *   - block status of the whole disk by requests of random length, some with
 *     REQ_ONE: no gap, nothing twice, and the types that the model expects;
 *   - of every QEMU-EVERY'th case (default 10) that QEMU can read, what
 *     "qemu-img convert" makes of the export and of the chain itself.
 *
 * nbdkit must end with status 0.  $NBDKIT_PRELOAD is LD_PRELOAD of nbdkit, and
 * of nothing else.  One line is printed for each failure, with its seed.  The
 * last one is "N images, N reads, N status calls, N by qemu-img, N failures".
 */

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libnbd.h>

#include "case.h"
#include "maker.h"
#include "model.h"
#include "plan.h"

#include "process.h"
#include "status.h"

#define PATH_SIZE 320
#define CONNECTIONS 2
#define IN_FLIGHT 8
#define MAX_READ (UINT64_C (4) << 20)
#define MAX_REQ_ONE 200         /* calls for one disk */

static struct {
  uint64_t images, reads, calls, qemu, failures;
} total;

static const char *filter, *tmpdir;

/* What is being checked. */
static struct mk_case *c;
static char dir[PATH_SIZE - MK_NAME], sock[PATH_SIZE];
static uint8_t *model;          /* c->capacity bytes */
static struct mk_rng rng;
static struct nbd_handle *nbd[CONNECTIONS];

/* A path in the case's directory.  Good until the eighth call from here. */
static char *
in_dir (const char *name)
{
  static char path[8][PATH_SIZE];
  static unsigned n;
  char *p = path[n++ % 8];

  snprintf (p, PATH_SIZE, "%s/%s", dir, name);
  return p;
}

static int __attribute__ ((__format__ (__printf__, 1, 2)))
failed (const char *fs, ...)
{
  va_list args;

  printf ("seed %" PRIu64 ": ", c->seed);
  va_start (args, fs);
  vprintf (fs, args);
  va_end (args);
  printf ("\n");
  fflush (stdout);
  return -1;
}

static pid_t
start_nbdkit (void)
{
  char filter_arg[4096], arg[2 + MK_MAX_DELTAS][PATH_SIZE + 8];
  char *argv[16 + MK_MAX_DELTAS], **a = argv;
  const int fd = listen_at (sock);
  pid_t pid;

  snprintf (filter_arg, sizeof filter_arg, "--filter=%s", filter);
  *a++ = "nbdkit";
  *a++ = "-f";
  *a++ = "--exit-with-parent";
  *a++ = filter_arg;
  *a++ = "file";
  *a++ = in_dir ("base.raw");
  for (size_t k = 0; k < c->n; k++) {
    snprintf (arg[k], sizeof arg[k], "delta=%s", in_dir (c->link[k].name));
    *a++ = arg[k];
  }
  if (c->base_size < c->capacity)
    *a++ = "delta-allow-short-base=true";
  *a = NULL;
  pid = spawn (in_dir ("nbdkit.log"), fd, argv);
  close (fd);                   /* if it dies, connecting must not hang */
  return pid;
}

/*------------------------------------------------------------------*/
/* Reading.                                                         */

static int
compare (const uint8_t *buf, uint64_t n, uint64_t offset, const char *what)
{
  uint64_t i = 0;
  int layer;
  enum mk_model_kind kind;

  if (memcmp (buf, model + offset, n) == 0)
    return 0;
  while (buf[i] == model[offset + i])
    i++;
  kind = mk_model_kind (&c->model, offset + i, &layer, NULL);
  return failed ("%s %" PRIu64 "+%" PRIu64 ": byte %" PRIu64 " is %02x, not "
                 "%02x (%s, layer %d)", what, offset, n, offset + i, buf[i],
                 model[offset + i], kind == MK_MODEL_BASE ? "base" :
                 kind == MK_MODEL_ZERO ? "zero" : "data", layer);
}

static int
read_whole (void)
{
  uint8_t *buf = mk_alloc (MAX_READ, 1);
  uint64_t n, offset = 0;
  int r = 0;

  for (; r == 0 && offset < c->capacity; offset += n) {
    n = c->capacity - offset < MAX_READ ? c->capacity - offset : MAX_READ;
    memset (buf, 0xa5, n);
    total.reads++;
    if (nbd_pread (nbd[0], buf, n, offset, 0) == -1)
      r = failed ("read %" PRIu64 "+%" PRIu64 ": %s", offset, n,
                  nbd_get_error ());
    else
      r = compare (buf, n, offset, "reading");
  }
  free (buf);
  return r;
}

struct slot {
  uint8_t *buf;
  uint64_t offset, n;
  bool busy;
  int error;
};

static int
completed (void *opaque, int *error)
{
  struct slot *s = opaque;

  s->error = *error;
  s->busy = false;
  return 1;                     /* retire the command */
}

/* Mostly small, often around a border of grains or tables. */
static void
draw_range (struct slot *s)
{
  static const uint64_t sizes[] = { 16, 600, 5000, 70000, 70000, 300000,
                                    MAX_READ };
  static const uint64_t borders[] = { 512, 4096, 65536, 2 << 20 };
  uint64_t offset = mk_rng_below (&rng, c->capacity), unit, n;

  if (mk_rng_chance (&rng, 500)) {
    unit = borders[mk_rng_below (&rng, 4)];
    offset = offset / unit * unit + mk_rng_below (&rng, 41);
    offset -= offset < 20 ? offset : 20;
    if (offset >= c->capacity)
      offset = c->capacity - 1;
  }
  n = 1 + mk_rng_below (&rng, sizes[mk_rng_below (&rng, 7)]);
  s->offset = offset;
  s->n = n < c->capacity - offset ? n : c->capacity - offset;
}

static int
submit (struct nbd_handle *h, struct slot *s)
{
  nbd_completion_callback cb = { .callback = completed, .user_data = s };

  draw_range (s);
  memset (s->buf, 0xa5, s->n);
  s->busy = true;
  total.reads++;
  if (nbd_aio_pread (h, s->buf, s->n, s->offset, cb, 0) == -1)
    return failed ("submitting: %s", nbd_get_error ());
  return 0;
}

static int
wait_for_any (void)
{
  struct pollfd fd[CONNECTIONS];
  unsigned d;

  for (int i = 0; i < CONNECTIONS; i++) {
    d = nbd_aio_get_direction (nbd[i]);
    fd[i].fd = nbd_aio_get_fd (nbd[i]);
    fd[i].events = (d & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
      (d & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
    fd[i].revents = 0;
  }
  if (poll (fd, CONNECTIONS, -1) == -1)
    die ("poll");
  for (int i = 0; i < CONNECTIONS; i++) {
    if (fd[i].revents & (POLLIN | POLLHUP | POLLERR)) {
      if (nbd_aio_notify_read (nbd[i]) == -1)
        return failed ("connection: %s", nbd_get_error ());
    }
    else if (fd[i].revents & POLLOUT &&
             nbd_aio_notify_write (nbd[i]) == -1)
      return failed ("connection: %s", nbd_get_error ());
  }
  return 0;
}

static int
read_random (uint64_t reads)
{
  /* After a failure the library may still use them: until it is closed. */
  static struct slot slot[CONNECTIONS * IN_FLIGHT];
  uint64_t busy;
  int r = 0;

  for (size_t i = 0; i < CONNECTIONS * IN_FLIGHT; i++) {
    if (slot[i].buf == NULL)
      slot[i].buf = mk_alloc (MAX_READ, 1);
    slot[i].busy = false;
    slot[i].n = 0;
  }

  do {
    busy = 0;
    for (size_t i = 0; i < CONNECTIONS * IN_FLIGHT && r == 0; i++) {
      struct slot *s = &slot[i];

      if (!s->busy && s->n) {
        r = s->error ? failed ("read %" PRIu64 "+%" PRIu64 ": %s", s->offset,
                               s->n, strerror (s->error))
          : compare (s->buf, s->n, s->offset, "random reading");
        s->n = 0;
      }
      if (!s->busy && r == 0 && reads > 0) {
        reads--;
        r = submit (nbd[i % CONNECTIONS], s);
      }
      busy += s->busy;
    }
    if (busy > 0 && r == 0)
      r = wait_for_any ();
  } while (r == 0 && busy > 0);
  return r;
}

/*------------------------------------------------------------------*/
/* Block status.                                                    */

struct status {
  int base_fd;
  uint64_t offset, end, asked;
  bool one;
  unsigned n;
  int r;
};

static int
check_type (struct status *st, uint64_t length, unsigned type)
{
  const uint64_t to = st->end + length;
  uint64_t pos, next;
  unsigned want;

  if (type & LIBNBD_STATE_ZERO)
    for (pos = st->end; pos < to; pos++)
      if (model[pos])
        return failed ("status %" PRIu64 "+%" PRIu64 " says zeros, byte %"
                       PRIu64 " is %02x", st->end, length, pos, model[pos]);
  for (pos = st->end; pos < to; pos = next) {
    want = expected_type (c, st->base_fd, pos, &next);
    if (next > to)
      next = to;
    if (want != ANY_TYPE && want != type)
      return failed ("status %" PRIu64 "+%" PRIu64 " is type %u, but byte %"
                     PRIu64 " should be %u", st->end, length, type, pos,
                     want);
  }
  return 0;
}

static int
got_status (void *opaque, const char *context, uint64_t offset,
            uint32_t *entries, size_t n, int *error)
{
  struct status *st = opaque;

  (void) context;
  (void) error;
  if (offset != st->offset || (st->one && n != 2))
    st->r = failed ("status of %" PRIu64 ": %zu extents at %" PRIu64,
                    st->offset, n / 2, offset);
  for (size_t i = 0; i + 1 < n && st->r == 0; i += 2) {
    /* Only the last one may reach past what was asked. */
    if (entries[i] == 0 || entries[i] > c->capacity - st->end ||
        st->end >= st->offset + st->asked)
      st->r = failed ("status %" PRIu64 "+%" PRIu64 ": an extent of %" PRIu32
                      " bytes at %" PRIu64, st->offset, st->asked,
                      entries[i], st->end);
    else
      st->r = check_type (st, entries[i], entries[i + 1]);
    st->end += entries[i];
  }
  return 0;
}

static int
check_status (void)
{
  struct status st = { .base_fd = -1 };
  nbd_extent_callback cb = { .callback = got_status, .user_data = &st };
  unsigned ones = 0;

  st.base_fd = open (in_dir ("base.raw"), O_RDONLY | O_CLOEXEC);
  if (st.base_fd == -1)
    die ("base.raw");
  while (st.r == 0 && st.end < c->capacity) {
    uint64_t left = c->capacity - st.end;

    st.offset = st.end;
    st.asked = 1 + mk_rng_below (&rng, mk_rng_chance (&rng, 700) ? left :
                                 left < 65536 ? left : 65536);
    st.one = ones < MAX_REQ_ONE && mk_rng_chance (&rng, 300);
    ones += st.one;
    total.calls++;
    if (nbd_block_status (nbd[1], st.asked, st.offset, cb,
                          st.one ? LIBNBD_CMD_FLAG_REQ_ONE : 0) == -1)
      st.r = failed ("status %" PRIu64 "+%" PRIu64 ": %s", st.offset,
                     st.asked, nbd_get_error ());
    else if (st.r == 0 && st.end == st.offset)
      st.r = failed ("status of %" PRIu64 ": nothing came", st.offset);
  }
  close (st.base_fd);
  return st.r;
}

/*------------------------------------------------------------------*/
/* QEMU.                                                            */

static int
qemu_compare (char *format, char *source)
{
  char *path = in_dir ("qemu.raw"), *log = in_dir ("qemu.log");
  char *argv[] = { "qemu-img", "convert", "-f", format, "-O", "raw", source,
                   path, NULL };
  uint8_t *buf;
  struct stat st;
  ssize_t n = 1;
  uint64_t offset = 0;
  int fd, r = 0;

  unlink (path);
  if (finish (spawn (log, -1, argv), "qemu-img", log) == -1)
    return failed ("qemu-img convert %s", source);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd == -1 || fstat (fd, &st) == -1)
    die (path);
  /* From a header it takes whole grains. */
  if ((uint64_t) st.st_size < c->capacity ||
      (uint64_t) st.st_size - c->capacity >= 1 << 20)
    r = failed ("qemu-img has %" PRIi64 " bytes", (int64_t) st.st_size);
  buf = mk_alloc (MAX_READ, 1);
  for (; r == 0 && offset < c->capacity; offset += (uint64_t) n) {
    uint64_t left = c->capacity - offset;

    n = pread (fd, buf, left < MAX_READ ? left : MAX_READ, (off_t) offset);
    if (n <= 0)
      die (path);
    r = compare (buf, (uint64_t) n, offset, source);
  }
  free (buf);
  close (fd);
  return r;
}

static int
check_qemu (void)
{
  char uri[PATH_SIZE + 32];

  total.qemu++;
  snprintf (uri, sizeof uri, "nbd+unix:///?socket=%s", sock);
  if (qemu_compare ("raw", uri) == -1)
    return -1;
  return qemu_compare ("vmdk", in_dir (c->link[c->n - 1].qemu_name));
}

static int
connect_all (void)
{
  int64_t size;

  for (int i = 0; i < CONNECTIONS; i++) {
    nbd[i] = nbd_create ();
    if (nbd[i] == NULL ||
        nbd_add_meta_context (nbd[i], LIBNBD_CONTEXT_BASE_ALLOCATION) == -1)
      die (nbd_get_error ());
    if (nbd_connect_unix (nbd[i], sock) == -1)
      return failed ("connecting: %s", nbd_get_error ());
    size = nbd_get_size (nbd[i]);
    if (size != (int64_t) c->capacity)
      return failed ("size is %" PRIi64 ", not %" PRIu64, size, c->capacity);
  }
  return 0;
}

static void
check_case (uint64_t seed, uint64_t reads, uint64_t every)
{
  pid_t pid;
  int r;

  c = mk_random_case (seed);
  mk_rng_seed (&rng, mk_hash (seed, 1));
  snprintf (dir, sizeof dir, "%s/s%" PRIu64, tmpdir, seed);
  memcpy (sock, in_dir ("sock"), sizeof sock);
  if (mkdir (dir, 0700) == -1 || mk_case_write (c, dir) == -1)
    die (dir);
  model = mk_alloc (c->capacity, 1);
  mk_model_read (&c->model, model, c->capacity, 0);

  total.images++;
  pid = start_nbdkit ();
  r = connect_all ();
  if (r == 0)
    r = read_whole ();
  if (r == 0)
    r = read_random (reads);
  if (r == 0)
    r = check_status ();
  if (r == 0 && every > 0 && c->qemu_ok && seed % every == 0)
    r = check_qemu ();

  for (int i = 0; i < CONNECTIONS; i++) {
    if (r == 0 && nbd_shutdown (nbd[i], 0) == -1)
      r = failed ("disconnecting: %s", nbd_get_error ());
    nbd_close (nbd[i]);
    nbd[i] = NULL;
  }
  wait_idle (pid);
  kill (pid, SIGTERM);
  if (finish (pid, "nbdkit", in_dir ("nbdkit.log")) == -1)
    r = failed ("nbdkit");
  total.failures += r == -1;
  remove_tree (dir);
  free (model);
  mk_case_free (c);
}

int
main (int argc, char **argv)
{
  uint64_t start, count, reads, every;

  filter = getenv ("FILTER");
  tmpdir = getenv ("TMPDIR") ? getenv ("TMPDIR") : "/tmp";
  if (argc < 3 || argc > 5 || filter == NULL) {
    fputs ("usage: random-images START COUNT [READS [QEMU-EVERY]]\n", stderr);
    return 2;
  }
  start = strtoull (argv[1], NULL, 0);
  count = strtoull (argv[2], NULL, 0);
  reads = argc > 3 ? strtoull (argv[3], NULL, 0) : 64;
  every = argc > 4 ? strtoull (argv[4], NULL, 0) : 10;

  for (uint64_t i = 0; i < count; i++)
    check_case (start + i, reads, every);
  printf ("%" PRIu64 " images, %" PRIu64 " reads, %" PRIu64 " status calls, %"
          PRIu64 " by qemu-img, %" PRIu64 " failures\n", total.images,
          total.reads, total.calls, total.qemu, total.failures);
  return total.failures > 0;
}
