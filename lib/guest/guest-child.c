/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* The process in which file systems are read; see guest.h.
 *
 * It is a fork of a program that may have threads and files of any kind, so
 * what it inherits is dropped before the first byte of the disk is looked at.
 */

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/guest-parts.h"

/* Blocks that were read: tables of a file system are asked for again and
 * again, a few hundred bytes at a time, and each question costs two changes of
 * process.
 */
#define NR_BLOCKS 128u
#define BLOCK VD_GUEST_READ_MAX

struct block {
  uint64_t offset;
  size_t n;                     /* 0: unused */
  uint8_t *bytes;
};

struct vd_child {
  int fd;
  uint64_t size;
  struct block block[NR_BLOCKS];
  uint8_t out[16384];           /* answers, until the parent is asked for
                                   something */
  size_t nr_out;
};

/* ---- Without anything ---------------------------------------------------- */

/* Sanitizers reserve terabytes of address space, and report to stderr. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature (address_sanitizer) || __has_feature (memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void
limit (__rlimit_resource_t what, uint64_t soft)
{
  struct rlimit l;

  if (getrlimit (what, &l) == -1)
    _exit (1);
  l.rlim_cur = vd_min (soft, l.rlim_max);
  l.rlim_max = l.rlim_cur;
  if (setrlimit (what, &l) == -1)
    _exit (1);
}

static void
close_others (unsigned fd)
{
  const unsigned first = SANITIZED ? 3 : 0;
  unsigned i;

  if (first < fd && syscall (SYS_close_range, first, fd - 1, 0) == -1)
    for (i = first; i < fd; ++i)
      close ((int) i);
  if (syscall (SYS_close_range, fd + 1, ~0u, 0) == -1)
    for (i = fd + 1; i < 65536; ++i)
      close ((int) i);
}

/* A disk of 2 TiB of ext4 has 2^29 blocks, whose bitmap needs 64 MiB, and its
 * walk a second or two for each 100 GiB.
 */
static void
drop_everything (int fd, uint64_t size)
{
  static const int signals[] = {
    SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGXCPU, SIGALRM, SIGUSR1,
    SIGUSR2, SIGQUIT,
  };
  sigset_t none;
  size_t i;

  /* The parent's handlers are no business of the child, and it ends with the
   * parent, whose own signals end it in its own way.
   */
  for (i = 0; i < sizeof signals / sizeof signals[0]; ++i)
    signal (signals[i], signals[i] == SIGINT ? SIG_IGN : SIG_DFL);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl (PR_SET_DUMPABLE, 0);
  close_others ((unsigned) fd);
  limit (RLIMIT_CORE, 0);
  limit (RLIMIT_FSIZE, 0);
  limit (RLIMIT_CPU, 120 + (size >> 30));
  if (!SANITIZED) {
    limit (RLIMIT_NOFILE, 0);
    limit (RLIMIT_DATA, UINT64_C (2) << 30);
  }
}

/* ---- The way to the parent ----------------------------------------------- */

static void
send_all (struct vd_child *c)
{
  size_t done = 0;

  while (done < c->nr_out) {
    const ssize_t r = write (c->fd, c->out + done, c->nr_out - done);

    if (r <= 0 && errno != EINTR)
      _exit (1);
    if (r > 0)
      done += (size_t) r;
  }
  c->nr_out = 0;
}

static void
put (struct vd_child *c, const struct vd_guest_msg *m, const char *text)
{
  if (c->nr_out + sizeof *m + m->length > sizeof c->out)
    send_all (c);
  memcpy (c->out + c->nr_out, m, sizeof *m);
  c->nr_out += sizeof *m;
  memcpy (c->out + c->nr_out, text, m->length);
  c->nr_out += m->length;
}

static void
receive (struct vd_child *c, uint8_t *buf, size_t n)
{
  while (n > 0) {
    const ssize_t r = read (c->fd, buf, n);

    if (r == 0 || (r == -1 && errno != EINTR))
      _exit (1);
    if (r > 0) {
      buf += r;
      n -= (size_t) r;
    }
  }
}

/* The block that holds the byte at offset. */
static const struct block *
get_block (struct vd_child *c, uint64_t offset)
{
  const uint64_t start = offset - offset % BLOCK;
  struct block *b = &c->block[start / BLOCK % NR_BLOCKS];
  const struct vd_guest_msg m = {
    .word = VD_GUEST_READ, .a = start, .b = vd_min (BLOCK, c->size - start),
  };

  if (b->n > 0 && b->offset == start)
    return b;
  if (!b->bytes)
    b->bytes = malloc (BLOCK);
  if (!b->bytes)
    _exit (1);
  put (c, &m, "");
  send_all (c);
  b->offset = start;
  b->n = (size_t) m.b;
  receive (c, b->bytes, b->n);
  return b;
}

int
vd_child_read (struct vd_child *c, void *buf, size_t n, uint64_t offset)
{
  uint8_t *to = buf;

  if (offset > c->size || n > c->size - offset)
    return -1;
  while (n > 0) {
    const struct block *b = get_block (c, offset);
    const size_t skip = (size_t) (offset - b->offset);
    const size_t k = vd_min (n, b->n - skip);

    memcpy (to, b->bytes + skip, k);
    to += k;
    offset += k;
    n -= k;
  }
  return 0;
}

void
vd_child_free (struct vd_child *c, uint64_t start, uint64_t end)
{
  const struct vd_guest_msg m = {
    .word = VD_GUEST_FREE, .a = start, .b = end,
  };

  put (c, &m, "");
}

/* ---- All partitions ------------------------------------------------------ */

void
vd_guest_say (struct vd_guest_part_in *p, enum vd_guest_state state,
              const char *fs, ...)
{
  va_list args;

  p->state = state;
  va_start (args, fs);
  vsnprintf (p->why, sizeof p->why, fs, args);
  va_end (args);
}

static void
say_state (struct vd_child *c, const struct vd_guest_part_in *p)
{
  const size_t kind = strlen (p->kind) + 1, why = strlen (p->why);
  const struct vd_guest_msg m = {
    .word = VD_GUEST_STATE, .n = p->state, .length = (uint32_t) (kind + why),
  };
  char text[VD_GUEST_TEXT_MAX];

  memcpy (text, p->kind, kind);
  memcpy (text + kind, p->why, why);
  put (c, &m, text);
}

/* why: it is left alone, unseen. */
static void
one_part (struct vd_child *c, const struct vd_guest_entry *e, bool swap,
          const char *why)
{
  const struct vd_guest_msg m = {
    .word = VD_GUEST_PART, .n = e->number, .a = e->start, .b = e->length,
  };
  struct vd_guest_part_in p = {
    .c = c, .start = e->start, .length = e->length, .swap = swap,
    .state = VD_GUEST_LEFT,
  };

  put (c, &m, "");
  if (why)
    vd_guest_say (&p, VD_GUEST_LEFT, "%s", why);
  else if (e->member) {
    snprintf (p.kind, sizeof p.kind, "%s", e->member);
    vd_guest_say (&p, VD_GUEST_LEFT, "a part of something larger");
  }
  else
    vd_guest_look (&p);
  say_state (c, &p);
}

/* A table says that there are partitions, so a file system that seems to fill
 * the disk is what was there before it, or the table is: nobody knows.
 */
static const char *
look_at_both (struct vd_child *c, uint64_t size)
{
  struct vd_guest_part_in p = { .c = c, .length = size };
  const char *second = NULL;

  return vd_guest_kind (&p, &second)
    ? "it has a partition table, and a file system without one" : NULL;
}

void
vd_child_run (int fd, uint64_t size, bool swap)
{
  static struct vd_guest_entry entry[VD_GUEST_MAX_PARTS];
  static struct vd_child c;
  struct vd_guest_entry whole = { .length = size };
  const struct vd_guest_msg done = { .word = VD_GUEST_DONE };
  const char *why = NULL;
  size_t n = 0, i;

  drop_everything (fd, size);
  c.fd = fd;
  c.size = size;
  switch (vd_guest_read_table (&c, size, entry, &n, &why)) {
  case VD_GUEST_TABLE:
    why = look_at_both (&c, size);
    if (!why) {
      for (i = 0; i < n; ++i)
        one_part (&c, &entry[i], swap, NULL);
      break;
    }
    /* fallthrough */
  case VD_GUEST_BAD_TABLE:
    one_part (&c, &whole, swap, why);
    break;
  case VD_GUEST_NO_TABLE:
    one_part (&c, &whole, swap, NULL);
  }
  put (&c, &done, "");
  send_all (&c);
  _exit (0);
}
