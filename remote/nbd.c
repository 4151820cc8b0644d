/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* An NBD export as a struct vd_file, over libnbd.
 *
 * Invariants:
 * N1. A libnbd handle is used by one thread at a time: each connection has a
 *     mutex, held for one request.  Callers' functions (vd_extent_fn) are
 *     never called with it held.
 * N2. Whole blocks go to the server: [offset, offset+n) of each request is a
 *     multiple of `minimum`, or ends at the end of the export.
 * N3. Two writers of one block exclude each other by `merge`.  A writer of
 *     whole blocks needs no lock: nobody else may write there meanwhile.
 * N4. There is more than one connection only if the server offers multi-conn,
 *     so a flush on one is a flush for all; or if nothing is written.
 * N5. conn[0 .. nr_conns) are valid.  nr_conns grows with `grow` held, after the
 *     connection is complete.  A handle is replaced by who has its lock.
 */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libnbd.h>

#include "nbd.h"

#define MAX_CONNECTIONS 64u

/* Servers that do not say are asked for at most this much (all take it). */
#define DEFAULT_MAXIMUM (UINT64_C (32) << 20)

/* Zeroing has no payload: the limit is for servers that write the zeros. */
#define MAX_ZERO (UINT64_C (1) << 30)

#define MAX_STATUS (UINT64_C (2) << 30)

/* How long the first connection may take, in seconds.  There are servers that
 * open a remote disk before they answer.
 */
#define FIRST_LIMIT 120

/* Another one may take so many times as long as the first, but at least so
 * many seconds.
 */
#define MORE_FACTOR 4
#define MORE_LIMIT 3

struct conn {
  pthread_mutex_t lock;
  struct nbd_handle *h;         /* NULL: it was lost, and could not be made
                                   again */
  struct captive captive;       /* its server, if that is ours */
};

struct nbd_file {
  struct vd_file file;
  struct nbd_dialer dialer;     /* dial NULL: by the URI, which is the name */
  char *const *command;         /* or by a command, while it is opened */
  struct conn conn[MAX_CONNECTIONS];
  atomic_uint nr_conns;
  pthread_mutex_t grow;
  atomic_uint wanted;           /* connections, when all are busy */
  double patience;              /* seconds that one more may take */
  atomic_uint next;             /* the connection to try first */
  uint64_t minimum, maximum;    /* size of requests; a power of two, and a
                                   multiple of it */
  bool can_zero, can_flush, can_status;
  pthread_mutex_t merge;        /* N3 */
};

static const struct vd_file_ops nbd_ops;

static inline struct nbd_file *
get (struct vd_file *f)
{
  return (struct nbd_file *) f;
}

bool
nbdfile_is_uri (const char *name)
{
  static const char *const scheme[] = {
    "nbd://", "nbds://", "nbd+unix://", "nbds+unix://", "nbd+vsock://",
    "nbds+vsock://",
  };
  size_t i;

  for (i = 0; i < sizeof scheme / sizeof scheme[0]; ++i)
    if (strncmp (name, scheme[i], strlen (scheme[i])) == 0)
      return true;
  return false;
}

/* libnbd's last error in this thread; -1. */
static int
fail_nbd (struct vd_err *err, const char *name, const char *what)
{
  const char *why = nbd_get_error ();
  const int errnum = nbd_get_errno ();

  return vd_fail_errno (err, errnum ? errnum : EIO, "%s: %s: %s", name, what,
                        why ? why : "?");
}

/* The same for a request. */
static int
fail_request (struct vd_err *err, const char *name, const char *what,
              uint64_t count, uint64_t offset)
{
  fail_nbd (err, name, what);
  vd_err_prefix (err, "%" PRIu64 " bytes at byte %" PRIu64 ": ", count,
                 offset);
  return -1;
}

static int connect_again (struct nbd_file *n, struct conn *c,
                          struct vd_err *err);
static struct conn *one_more (struct nbd_file *n);

/* A connection that is free, or a new one, or the next one. */
static struct conn *
take (struct nbd_file *n)
{
  const unsigned first = atomic_fetch_add (&n->next, 1);
  const unsigned nr = atomic_load (&n->nr_conns);
  struct conn *c;
  unsigned i;

  for (i = 0; i < nr; ++i) {
    c = &n->conn[(first + i) % nr];
    if (pthread_mutex_trylock (&c->lock) == 0)
      return c;
  }
  if (nr < n->wanted && (c = one_more (n)) != NULL)
    return c;
  pthread_mutex_lock (&n->conn[first % nr].lock);
  return &n->conn[first % nr];
}

/* What a server of ours said explains more than what libnbd says. */
static int
explain (const struct nbd_file *n, const struct conn *c, struct vd_err *err)
{
  char said[CAPTIVE_MESSAGE];

  if (!n->dialer.dial)
    return -1;
  captive_message (&c->captive, said);
  return n->dialer.explain (n->dialer.opaque, said, err);
}

static int
read_once (const struct nbd_file *n, struct conn *c, void *buf, size_t count,
           uint64_t offset, struct vd_err *err)
{
  if (nbd_pread (c->h, buf, count, offset, 0) == 0)
    return 0;
  fail_nbd (err, n->file.name, "cannot read");
  explain (n, c, err);
  vd_err_prefix (err, "%zu bytes at byte %" PRIu64 ": ", count, offset);
  return -1;
}

/* Is it worth while to try again?  What a server of ours refuses may be because
 * it has lost its own connection, which it does not make again.
 */
static bool
is_lost (const struct nbd_file *n, const struct conn *c)
{
  return n->file.ops == &nbd_ops &&
    (n->dialer.dial || nbd_aio_is_ready (c->h) != 1);
}

/* One request of whole blocks, at most `maximum`. */
static int
read_blocks (struct nbd_file *n, void *buf, size_t count, uint64_t offset,
             struct vd_err *err)
{
  struct conn *c = take (n);
  struct vd_err first;
  int r = -1;

  if (c->h)
    r = read_once (n, c, buf, count, offset, err);
  if (r == -1 && (!c->h || is_lost (n, c))) {
    first = *err;
    r = connect_again (n, c, err);
    if (r == 0)
      r = read_once (n, c, buf, count, offset, err);
    else if (err->code != VD_MISMATCH)
      vd_err_prefix (err, "%s; trying again: ", first.msg);
  }
  pthread_mutex_unlock (&c->lock);
  return r;
}

static int
write_blocks (struct nbd_file *n, const void *buf, size_t count,
              uint64_t offset, struct vd_err *err)
{
  struct conn *c = take (n);
  const int r = nbd_pwrite (c->h, buf, count, offset, 0);

  pthread_mutex_unlock (&c->lock);
  return r == 0 ? 0
    : fail_request (err, n->file.name, "cannot write", count, offset);
}

/* How much of the front of [offset, offset+count) is a part of one block;
 * 0: it begins with a whole one.
 */
static size_t
partial (const struct nbd_file *n, uint64_t count, uint64_t offset)
{
  const uint64_t in = offset & (n->minimum - 1);
  const uint64_t block
    = vd_min (n->minimum, n->file.size - (offset - in)) - in;

  if (in == 0 && count >= block)
    return 0;
  return (size_t) vd_min (count, block);
}

/* Otherwise: how much of it can be one request of whole blocks, at most max.
 */
static size_t
whole (const struct nbd_file *n, uint64_t count, uint64_t offset,
       uint64_t max)
{
  const uint64_t m = vd_min (count, max);

  return (size_t) (offset + m == n->file.size
                   ? m : vd_round_down (m, n->minimum));
}

static int
nbd_file_pread (struct vd_file *f, void *buf, size_t count, uint64_t offset,
                struct vd_err *err)
{
  struct nbd_file *n = get (f);
  uint8_t *p = buf;
  size_t m;

  for (; count > 0; p += m, offset += m, count -= m) {
    m = partial (n, count, offset);
    if (m > 0) {
      const uint64_t start = offset & ~(n->minimum - 1);
      const size_t size = (size_t) vd_min (n->minimum, f->size - start);
      CLEANUP_FREE uint8_t *block = malloc (size);

      if (!block)
        return vd_fail_nomem (err);
      if (read_blocks (n, block, size, start, err) == -1)
        return -1;
      memcpy (p, block + (offset - start), m);
      continue;
    }
    m = whole (n, count, offset, n->maximum);
    if (read_blocks (n, p, m, offset, err) == -1)
      return -1;
  }
  return 0;
}

/* Write a part of one block; p NULL: zeros. */
static int
merge_block (struct nbd_file *n, const void *p, size_t count,
             uint64_t offset, struct vd_err *err)
{
  const uint64_t start = offset & ~(n->minimum - 1);
  const size_t size = (size_t) vd_min (n->minimum, n->file.size - start);
  CLEANUP_FREE uint8_t *block = malloc (size);
  LOCK_FOR_SCOPE (&n->merge);

  if (!block)
    return vd_fail_nomem (err);
  if (read_blocks (n, block, size, start, err) == -1)
    return -1;
  if (p)
    memcpy (block + (offset - start), p, count);
  else
    memset (block + (offset - start), 0, count);
  return write_blocks (n, block, size, start, err);
}

static int
nbd_file_pwrite (struct vd_file *f, const void *buf, size_t count,
                 uint64_t offset, struct vd_err *err)
{
  struct nbd_file *n = get (f);
  const uint8_t *p = buf;
  size_t m;

  for (; count > 0; p += m, offset += m, count -= m) {
    m = partial (n, count, offset);
    if (m > 0) {
      if (merge_block (n, p, m, offset, err) == -1)
        return -1;
      continue;
    }
    m = whole (n, count, offset, n->maximum);
    if (write_blocks (n, p, m, offset, err) == -1)
      return -1;
  }
  return 0;
}

static int
nbd_file_zero (struct vd_file *f, uint64_t offset, uint64_t length,
               struct vd_err *err)
{
  struct nbd_file *n = get (f);
  uint64_t m;
  int r;

  if (!n->can_zero)
    return 1;
  for (; length > 0; offset += m, length -= m) {
    struct conn *c;

    m = partial (n, length, offset);
    if (m > 0) {
      if (merge_block (n, NULL, (size_t) m, offset, err) == -1)
        return -1;
      continue;
    }
    m = whole (n, length, offset, MAX_ZERO);
    /* No flags: the server may make a hole, which is what we want. */
    c = take (n);
    r = nbd_zero (c->h, m, offset, 0);
    pthread_mutex_unlock (&c->lock);
    if (r == -1)
      return fail_request (err, f->name, "cannot write zeros", m, offset);
  }
  return 0;
}

static int
nbd_file_flush (struct vd_file *f, struct vd_err *err)
{
  struct nbd_file *n = get (f);
  struct conn *c;
  int r;

  if (!n->can_flush)
    return 0;
  c = take (n);                 /* N4 */
  r = nbd_flush (c->h, 0);
  pthread_mutex_unlock (&c->lock);
  return r == -1 ? fail_nbd (err, f->name, "cannot flush") : 0;
}

/* What block status answered, kept until the connection is free. */
struct answer {
  uint32_t *entries;            /* pairs of length and flags */
  size_t n;
  bool nomem;
};

static int
keep_answer (void *opaque, const char *context, uint64_t offset,
             uint32_t *entries, size_t nr, int *error)
{
  struct answer *a = opaque;

  (void) offset, (void) error;
  if (strcmp (context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || a->entries)
    return 0;
  a->entries = calloc (nr + 1, sizeof *entries);
  if (!a->entries)
    a->nomem = true;
  else {
    memcpy (a->entries, entries, nr * sizeof *entries);
    a->n = nr;
  }
  return 0;
}

static int
nbd_file_extents (struct vd_file *f, uint64_t offset, uint64_t length,
                  vd_extent_fn fn, void *opaque, struct vd_err *err)
{
  struct nbd_file *n = get (f);
  const uint64_t start = offset & ~(n->minimum - 1);
  uint64_t end = vd_min (offset + length, start + MAX_STATUS);
  struct answer a = { .n = 0 };
  CLEANUP_FREE uint32_t *entries = NULL;
  uint64_t at = start;
  struct conn *c;
  size_t i;
  int r;

  if (!n->can_status)
    return fn (opaque, length, 0, err) == -1 ? -1 : 0;

  end = vd_min ((end + n->minimum - 1) & ~(n->minimum - 1), f->size);
  c = take (n);
  r = c->h ? nbd_block_status (c->h, end - start, start,
                               (nbd_extent_callback) {
                                 .callback = keep_answer, .user_data = &a },
                               0) : 0;
  pthread_mutex_unlock (&c->lock);
  entries = a.entries;
  if (r == -1)
    return fail_nbd (err, f->name, "cannot find out what is allocated");
  if (a.nomem)
    return vd_fail_nomem (err);

  end = vd_min (offset + length, end);
  for (i = 0; i + 1 < a.n && at < end; i += 2) {
    const uint64_t to = vd_min (at + entries[i], end);

    if (to > offset) {
      r = fn (opaque, to - vd_max (at, offset),
              entries[i + 1] & (VD_HOLE | VD_READS_ZERO), err);
      if (r != 0)
        return r == -1 ? -1 : 0;
    }
    at = to;
  }
  /* No answer at all, or one for nothing: call it data. */
  if (at <= offset)
    return fn (opaque, end - offset, 0, err) == -1 ? -1 : 0;
  return 0;
}

static void
close_conn (struct conn *c)
{
  if (c->h) {
    nbd_shutdown (c->h, 0);
    nbd_close (c->h);
  }
  c->h = NULL;
  captive_end (&c->captive);
}

static void
nbd_file_close (struct vd_file *f)
{
  struct nbd_file *n = get (f);
  unsigned i;

  for (i = 0; i < n->nr_conns; ++i) {
    close_conn (&n->conn[i]);
    pthread_mutex_destroy (&n->conn[i].lock);
  }
  pthread_mutex_destroy (&n->grow);
  pthread_mutex_destroy (&n->merge);
  if (n->dialer.free)
    n->dialer.free (n->dialer.opaque);
  free (n);
}

static const struct vd_file_ops nbd_ops = {
  .pread = nbd_file_pread,
  .extents = nbd_file_extents,
  .close = nbd_file_close,
};

static const struct vd_file_ops nbd_rw_ops = {
  .pread = nbd_file_pread,
  .extents = nbd_file_extents,
  .close = nbd_file_close,
  .pwrite = nbd_file_pwrite,
  .zero = nbd_file_zero,
  .flush = nbd_file_flush,
};

static double
seconds_now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int
too_late (const char *name, double limit, struct vd_err *err)
{
  return vd_fail (err, VD_IO,
                  "%s: no answer within %.0f s: does the server take only "
                  "so many clients at a time (qemu-nbd --shared=N), and "
                  "are there as many already?", name, limit);
}

static int
take_socket (struct conn *c)
{
  const int fd = c->captive.socket;

  c->captive.socket = -1;
  return fd;
}

/* nbd_connect_uri has no limit, and there are servers that accept more
 * connections than they serve: the rest wait, without a word, until another
 * client leaves.
 */
static int
connect_within (const struct nbd_file *n, struct conn *c, double limit,
                struct vd_err *err)
{
  const char *name = n->file.name;
  const double end = seconds_now () + limit;
  double left;

  if (n->command)
    return nbd_connect_systemd_socket_activation (c->h, (char **) n->command)
      == -1 ? fail_nbd (err, name, "cannot be used") : 0;
  if (n->dialer.dial
      ? nbd_aio_connect_socket (c->h, take_socket (c)) == -1
      : nbd_aio_connect_uri (c->h, name) == -1)
    return fail_nbd (err, name, "cannot connect");
  while (nbd_aio_is_connecting (c->h) == 1) {
    left = end - seconds_now ();
    if (left <= 0)
      return too_late (name, limit, err);
    if (nbd_poll (c->h, (int) (left * 1000) + 1) == -1)
      return fail_nbd (err, name, "cannot connect");
  }
  if (nbd_aio_is_ready (c->h) != 1)
    return vd_fail (err, VD_IO, "%s: cannot connect: the server closed the "
                    "connection", name);
  return 0;
}

/* Make a connection, complete or not at all. */
static int
connect_conn (struct nbd_file *n, struct conn *c, double limit,
              struct vd_err *err)
{
  const char *name = n->file.name;
  int r = 0;

  if (n->dialer.dial &&
      n->dialer.dial (n->dialer.opaque, &c->captive, err) == -1)
    return -1;
  if (!(c->h = nbd_create ()))
    r = fail_nbd (err, name, "libnbd");
  /* The URI comes from the user: it may name a file of TLS keys.  What is less
   * than a block at the end (N2) is up to the server, not to libnbd.
   */
  else if (nbd_set_uri_allow_local_file (c->h, true) == -1 ||
           nbd_set_strict_mode (c->h, nbd_get_strict_mode (c->h) &
                                ~(uint32_t) LIBNBD_STRICT_ALIGN) == -1 ||
           nbd_add_meta_context (c->h, LIBNBD_CONTEXT_BASE_ALLOCATION) == -1)
    r = fail_nbd (err, name, "libnbd");
  else if (connect_within (n, c, limit, err) == -1)
    r = explain (n, c, err);
  if (r == -1)
    close_conn (c);
  return r;
}

static int
add_connection (struct nbd_file *n, double limit, struct vd_err *err)
{
  struct conn *c = &n->conn[n->nr_conns];

  c->captive = (struct captive) { .socket = -1, .messages = -1 };
  if (connect_conn (n, c, limit, err) == -1)
    return -1;
  pthread_mutex_init (&c->lock, NULL);
  n->nr_conns++;
  return 0;
}

static int
check_same_size (const struct nbd_file *n, const struct conn *c,
                 struct vd_err *err)
{
  const int64_t size = nbd_get_size (c->h);

  return size == (int64_t) n->file.size ? 0
    : vd_fail (err, VD_MISMATCH, "%s has %" PRIi64 " bytes now, and had %"
               PRIu64 " when it was opened: it was changed meanwhile, and what "
               "was read of it does not belong together", n->file.name, size,
               n->file.size);
}

/* In place of one that was lost; the caller has its lock. */
static int
connect_again (struct nbd_file *n, struct conn *c, struct vd_err *err)
{
  close_conn (c);
  if (connect_conn (n, c, FIRST_LIMIT, err) == -1)
    return -1;
  if (check_same_size (n, c, err) == 0)
    return 0;
  close_conn (c);
  return -1;
}

/* A new connection with its lock held; NULL if there is none to be had: the
 * work is done without it.
 */
static struct conn *
one_more (struct nbd_file *n)
{
  struct conn *c = NULL;
  struct vd_err err;
  unsigned nr;

  if (pthread_mutex_trylock (&n->grow) != 0)
    return NULL;
  nr = atomic_load (&n->nr_conns);
  if (nr < n->wanted) {
    c = &n->conn[nr];
    c->captive = (struct captive) { .socket = -1, .messages = -1 };
    if (connect_conn (n, c, n->patience, &err) == 0 &&
        check_same_size (n, c, &err) == 0) {
      pthread_mutex_init (&c->lock, NULL);
      pthread_mutex_lock (&c->lock);
      atomic_store (&n->nr_conns, nr + 1);
    }
    else {
      close_conn (c);
      n->wanted = nr;
      c = NULL;
    }
  }
  pthread_mutex_unlock (&n->grow);
  return c;
}

/* What the server offers; asked on the first connection. */
static int
ask (struct nbd_file *n, bool writable, struct vd_err *err)
{
  struct nbd_handle *h = n->conn[0].h;
  const char *name = n->file.name;
  const int64_t size = nbd_get_size (h);
  const int64_t minimum = nbd_get_block_size (h, LIBNBD_SIZE_MINIMUM);
  const int64_t maximum = nbd_get_block_size (h, LIBNBD_SIZE_MAXIMUM);

  if (size == -1)
    return fail_nbd (err, name, "cannot find out its size");
  n->file.size = (uint64_t) size;
  if (writable && nbd_is_read_only (h) != 0)
    return vd_fail (err, VD_DENIED, "%s: the server offers this export "
                    "read-only", name);

  n->minimum = minimum > 0 ? (uint64_t) minimum : 1;
  n->maximum = maximum > 0 ? vd_min ((uint64_t) maximum, DEFAULT_MAXIMUM)
    : DEFAULT_MAXIMUM;
  if (!vd_is_power_of_2 (n->minimum) || n->minimum > n->maximum)
    return vd_fail (err, VD_UNSUPPORTED,
                    "%s: the server asks for blocks of %" PRIu64 " bytes and "
                    "requests of at most %" PRIu64, name, n->minimum,
                    n->maximum);
  n->maximum = vd_round_down (n->maximum, n->minimum);
  n->can_zero = nbd_can_zero (h) == 1;
  n->can_flush = nbd_can_flush (h) == 1;
  /* Plugins for files elsewhere know of no holes. */
  n->can_status = !n->dialer.dial &&
    nbd_can_meta_context (h, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
  return 0;
}

/* The first connection must come. */
static int
connect_first (struct nbd_file *n, bool writable, struct vd_err *err)
{
  const double start = seconds_now ();
  double took;

  if (add_connection (n, FIRST_LIMIT, err) == -1)
    return -1;
  took = seconds_now () - start;
  n->patience = took * MORE_FACTOR > MORE_LIMIT
    ? took * MORE_FACTOR : MORE_LIMIT;
  return ask (n, writable, err);
}

int
nbdfile_widen (struct vd_file *f, unsigned connections, struct vd_err *err)
{
  struct nbd_file *n = get (f);
  struct vd_err ignored;

  connections = (unsigned) vd_min (connections, MAX_CONNECTIONS);
  if (nbd_can_multi_conn (n->conn[0].h) != 1)
    return 0;                   /* N4 */
  while (n->nr_conns < connections) {
    /* Whatever the reason is, the others do the work without it. */
    if (add_connection (n, n->patience, &ignored) == -1)
      return 0;
    if (nbd_get_size (n->conn[n->nr_conns - 1].h) != (int64_t) f->size)
      return vd_fail (err, VD_MISMATCH,
                      "%s: two connections see exports of different sizes",
                      f->name);
  }
  return 0;
}

static struct nbd_file *
new_file (const char *name, bool writable, struct vd_err *err)
{
  CLEANUP_FREE struct nbd_file *n = calloc (1, sizeof *n);

  if (!n || !(n->file.name = strdup (name))) {
    vd_fail_nomem (err);
    return NULL;
  }
  n->file.ops = writable ? &nbd_rw_ops : &nbd_ops;
  pthread_mutex_init (&n->merge, NULL);
  pthread_mutex_init (&n->grow, NULL);
  return VD_TAKE (n);
}

struct vd_file *
nbdfile_open (const char *uri, bool writable, unsigned connections,
               struct vd_err *err)
{
  struct nbd_file *n = new_file (uri, writable, err);

  if (n && connect_first (n, writable, err) == 0 &&
      nbdfile_widen (&n->file, connections, err) == 0)
    return &n->file;
  if (n)
    vd_file_close (&n->file);
  return NULL;
}

struct vd_file *
nbdfile_open_command (const char *name, char *const *argv, bool writable,
                      struct vd_err *err)
{
  struct nbd_file *n = new_file (name, writable, err);

  if (!n)
    return NULL;
  n->command = argv;
  if (connect_first (n, writable, err) == 0) {
    n->command = NULL;
    return &n->file;
  }
  vd_file_close (&n->file);
  return NULL;
}

struct vd_file *
nbdfile_open_captive (const char *name, const struct nbd_dialer *dialer,
                      unsigned connections, struct vd_err *err)
{
  struct nbd_file *n = new_file (name, false, err);

  if (!n) {
    if (dialer->free)
      dialer->free (dialer->opaque);
    return NULL;
  }
  n->dialer = *dialer;
  if (connect_first (n, false, err) == 0) {
    n->wanted = (unsigned) vd_min (connections, MAX_CONNECTIONS);
    return &n->file;
  }
  vd_file_close (&n->file);
  return NULL;
}

unsigned
nbdfile_connections (const struct vd_file *f)
{
  return f->ops == &nbd_ops || f->ops == &nbd_rw_ops
    ? ((const struct nbd_file *) f)->nr_conns : 0;
}

bool
nbdfile_ends_in_block (const struct vd_file *f)
{
  return f->size % ((const struct nbd_file *) f)->minimum != 0;
}
