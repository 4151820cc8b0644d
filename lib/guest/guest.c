/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What of a disk is free: the parent, which reads for the child and checks what
 * it says; see guest.h.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "guest/guest-parts.h"

/* 128 MiB of ranges: enough for 8 TiB in units of 1 MiB, half of which are
 * free, each beside one that is not.
 */
#define MAX_RANGES (1u << 23)

/* A walk reads tables once or twice, so what is read is a small part of a disk.
 * A child that asks for more than this is led in circles.
 */
#define MAX_READ(size) (2 * (size) + (UINT64_C (64) << 20))

struct scan {
  const struct vd_guest_disk *disk;
  const struct vd_guest_opts *opts;
  struct vd_guest *g;
  int fd;
  pid_t pid;
  uint64_t was_read;
  struct vd_guest_part *part;   /* the last one; its state is not known yet */
  uint64_t end;                 /* of the last free range */
  size_t first;                 /* its first range */
  uint8_t buf[VD_GUEST_READ_MAX];
};

void
vd_guest_free (struct vd_guest *g)
{
  if (g) {
    free (g->part);
    free (g->range);
  }
  free (g);
}

/* ---- The socket ---------------------------------------------------------- */

static int
ask_user (struct scan *s, struct vd_err *err)
{
  return s->opts->tell ? s->opts->tell (s->opts->opaque, err) : 0;
}

/* Why did it end? */
static int
fail_ended (struct scan *s, struct vd_err *err)
{
  int status = 0;

  while (waitpid (s->pid, &status, 0) == -1 && errno == EINTR)
    ;
  s->pid = 0;
  if (WIFSIGNALED (status) && WTERMSIG (status) == SIGXCPU)
    return vd_fail (err, VD_CORRUPT, "reading the file systems of the guest "
                    "takes longer than any that is sound would");
  if (WIFSIGNALED (status))
    return vd_fail (err, VD_CORRUPT, "reading the file systems of the guest "
                    "ended with signal %d: one of them may be damaged",
                    WTERMSIG (status));
  return vd_fail (err, VD_CORRUPT, "reading the file systems of the guest "
                  "ended before the end (status %d)",
                  WEXITSTATUS (status));
}

static int
receive (struct scan *s, void *buf, size_t n, struct vd_err *err)
{
  struct pollfd p = { .fd = s->fd, .events = POLLIN };
  uint8_t *to = buf;
  ssize_t r;

  while (n > 0) {
    /* The user may want to stop it while it computes. */
    if (poll (&p, 1, 500) <= 0) {
      if (ask_user (s, err) == -1)
        return -1;
      continue;
    }
    r = read (s->fd, to, n);
    if (r == 0 || (r == -1 && errno != EINTR))
      return fail_ended (s, err);
    if (r > 0) {
      to += r;
      n -= (size_t) r;
    }
  }
  return 0;
}

static int
answer (struct scan *s, const uint8_t *buf, size_t n, struct vd_err *err)
{
  while (n > 0) {
    const ssize_t r = send (s->fd, buf, n, MSG_NOSIGNAL);

    if (r == -1 && errno != EINTR)
      return fail_ended (s, err);
    if (r > 0) {
      buf += r;
      n -= (size_t) r;
    }
  }
  return 0;
}

/* ---- What it says -------------------------------------------------------- */

static int
fail_nonsense (struct vd_err *err)
{
  return vd_fail (err, VD_CORRUPT, "the process that reads the file systems of "
                  "the guest says what cannot be: one of them may be made to "
                  "mislead it");
}

static int
on_read (struct scan *s, const struct vd_guest_msg *m, struct vd_err *err)
{
  const uint64_t size = s->disk->size;

  if (m->b == 0 || m->b > sizeof s->buf || m->a > size || m->b > size - m->a)
    return fail_nonsense (err);
  s->was_read += m->b;
  if (s->was_read > MAX_READ (size))
    return vd_fail (err, VD_CORRUPT, "reading the file systems of the guest "
                    "needs more than all of the disk: tables of it lead in "
                    "circles");
  if (ask_user (s, err) == -1)
    return -1;
  if (s->disk->read (s->disk->opaque, s->buf, (size_t) m->b, m->a, err) == -1)
    return -1;
  return answer (s, s->buf, (size_t) m->b, err);
}

static int
on_part (struct scan *s, const struct vd_guest_msg *m, struct vd_err *err)
{
  struct vd_guest *g = s->g;
  const struct vd_guest_part *last
    = g->nr_parts > 0 ? &g->part[g->nr_parts - 1] : NULL;
  struct vd_guest_part *more;

  if (s->part || g->nr_parts >= VD_GUEST_MAX_PARTS || m->a > s->disk->size ||
      m->b > s->disk->size - m->a ||
      (last && m->a < last->start + last->length))
    return fail_nonsense (err);
  more = vd_grow (g->part, g->nr_parts, sizeof *more, err);
  if (!more)
    return -1;
  g->part = more;
  s->part = &more[g->nr_parts++];
  *s->part = (struct vd_guest_part) {
    .number = m->n, .start = m->a, .length = m->b,
  };
  s->end = m->a;
  s->first = g->nr_ranges;
  return 0;
}

static int
on_free (struct scan *s, const struct vd_guest_msg *m, struct vd_err *err)
{
  struct vd_guest *g = s->g;
  struct vd_free_range *more;

  if (!s->part || m->a < s->end || m->b <= m->a ||
      m->b > s->part->start + s->part->length ||
      m->a % VD_SECTOR != 0 || m->b % VD_SECTOR != 0)
    return fail_nonsense (err);
  s->end = m->b;
  s->part->free += m->b - m->a;
  if (m->b - m->a < s->opts->unit)
    return 0;
  if (g->nr_ranges >= MAX_RANGES)
    return vd_fail (err, VD_UNSUPPORTED, "the free space of the guest is in "
                    "more than %u pieces", MAX_RANGES);
  more = vd_grow (g->range, g->nr_ranges, sizeof *more, err);
  if (!more)
    return -1;
  g->range = more;
  more[g->nr_ranges++] = (struct vd_free_range) { m->a, m->b };
  return 0;
}

static int
on_state (struct scan *s, const struct vd_guest_msg *m, struct vd_err *err)
{
  struct vd_guest_part *part = s->part;
  char text[VD_GUEST_TEXT_MAX + 1];
  size_t kind;

  if (!part || m->n > VD_GUEST_DAMAGED || m->length > VD_GUEST_TEXT_MAX)
    return fail_nonsense (err);
  if (receive (s, text, m->length, err) == -1)
    return -1;
  text[m->length] = '\0';
  kind = strlen (text);
  vd_escape (part->kind, sizeof part->kind, text);
  vd_escape (part->why, sizeof part->why,
             kind < m->length ? text + kind + 1 : "");
  part->state = m->n;
  if (part->state != VD_GUEST_CLEAN) {
    part->free = 0;
    s->g->nr_ranges = s->first;
  }
  s->part = NULL;
  return 0;
}

static int
serve (struct scan *s, struct vd_err *err)
{
  struct vd_guest_msg m;
  int r = 0;

  while (r == 0) {
    if (receive (s, &m, sizeof m, err) == -1)
      return -1;
    if (m.word != VD_GUEST_STATE && m.length != 0)
      return fail_nonsense (err);
    switch (m.word) {
    case VD_GUEST_READ: r = on_read (s, &m, err); break;
    case VD_GUEST_PART: r = on_part (s, &m, err); break;
    case VD_GUEST_FREE: r = on_free (s, &m, err); break;
    case VD_GUEST_STATE: r = on_state (s, &m, err); break;
    case VD_GUEST_DONE: return s->part ? fail_nonsense (err) : 0;
    default: return fail_nonsense (err);
    }
  }
  return r;
}

static int
scan_run (struct scan *s, struct vd_err *err)
{
  int pair[2], r;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
    return vd_fail_errno (err, errno, "a socket");
  fflush (NULL);                /* or the child could write it again */
  s->pid = fork ();
  if (s->pid == 0) {
    close (pair[0]);
    vd_child_run (pair[1], s->disk->size, s->opts->swap);
  }
  close (pair[1]);
  s->fd = pair[0];
  if (s->pid == -1)
    r = vd_fail_errno (err, errno, "a process to read file systems in");
  else
    r = serve (s, err);
  close (s->fd);
  if (s->pid > 0) {
    kill (s->pid, SIGKILL);
    while (waitpid (s->pid, NULL, 0) == -1 && errno == EINTR)
      ;
  }
  return r;
}

struct vd_guest *
vd_guest_scan (const struct vd_guest_disk *disk,
               const struct vd_guest_opts *opts, struct vd_err *err)
{
  CLEANUP_FREE struct scan *s = calloc (1, sizeof *s);
  struct vd_guest *g = calloc (1, sizeof *g);

  if (!s || !g) {
    vd_fail_nomem (err);
    free (g);
    return NULL;
  }
  s->disk = disk;
  s->opts = opts;
  s->g = g;
  if (disk->size > 0 && scan_run (s, err) == -1) {
    vd_guest_free (g);
    return NULL;
  }
  return g;
}

/* ---- What to make of it -------------------------------------------------- */

const char *
vd_guest_part_name (char buf[VD_GUEST_NAME_MAX],
                    const struct vd_guest_part *part)
{
  if (part->number == 0)
    snprintf (buf, VD_GUEST_NAME_MAX, "the whole disk");
  else
    snprintf (buf, VD_GUEST_NAME_MAX, "partition %u", part->number);
  return buf;
}

int
vd_guest_check_clean (const struct vd_guest *g, struct vd_err *err)
{
  char name[VD_GUEST_NAME_MAX];
  size_t i;

  for (i = 0; i < g->nr_parts; ++i) {
    const struct vd_guest_part *part = &g->part[i];

    if (part->state == VD_GUEST_DIRTY)
      return vd_fail (err, VD_UNSUPPORTED, "%s (%s) was not closed by the "
                      "guest, so what is free in it is not known: %s.  Start "
                      "the guest and shut it down (Windows: shutdown /s /t 0), "
                      "or leave out --free-space",
                      vd_guest_part_name (name, part), part->kind, part->why);
    if (part->state == VD_GUEST_DAMAGED)
      return vd_fail (err, VD_CORRUPT, "%s (%s) is damaged, so what is free in "
                      "it is not known: %s.  Let the guest check it, or leave "
                      "out --free-space", vd_guest_part_name (name, part),
                      part->kind, part->why);
  }
  return 0;
}

int
vd_guest_units (const struct vd_guest *g, uint64_t start, uint64_t length,
                uint64_t unit, struct vd_free_units *units,
                struct vd_err *err)
{
  struct vd_free_range *list;
  size_t i, n = 0;

  units->range = list = calloc (g->nr_ranges + 1, sizeof *list);
  units->n = 0;
  if (!list)
    return vd_fail_nomem (err);
  for (i = 0; i < g->nr_ranges; ++i) {
    const struct vd_free_range *r = &g->range[i];
    uint64_t a = vd_max (r->start, start), b = vd_min (r->end, start + length);

    if (a >= b)
      continue;
    a = vd_div_up (a - start, unit) * unit;
    b -= start;
    if (b < length)
      b -= b % unit;
    if (a < b)
      list[n++] = (struct vd_free_range) { a, b };
  }
  units->n = n;
  return 0;
}

bool
vd_free_at (const struct vd_free_units *units, uint64_t offset,
            uint64_t *next)
{
  size_t low = 0, high = units ? units->n : 0;

  /* The first range that ends behind offset. */
  while (low < high) {
    const size_t mid = low + (high - low) / 2;

    if (units->range[mid].end > offset)
      high = mid;
    else
      low = mid + 1;
  }
  if (!units || low == units->n) {
    *next = UINT64_MAX;
    return false;
  }
  if (units->range[low].start > offset) {
    *next = units->range[low].start;
    return false;
  }
  *next = units->range[low].end;
  return true;
}
