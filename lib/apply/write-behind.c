/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* A thread that starts write-back; see write-behind.h. */

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "apply/write-behind.h"
#include "base/bytes.h"
#include "base/cleanup.h"

/* Started in pieces of so many written bytes: enough for the disk to merge
 * neighbours, little enough to keep it busy from the beginning.
 */
#define STEP (UINT64_C (8) << 20)

struct vd_write_behind {
  int fd;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more;
  uint64_t bytes;               /* written since the last start */
  uint64_t end;                 /* the highest so far */
  bool stop;
};

/* Wait for a piece.  False: the end. */
static bool
next_piece (struct vd_write_behind *wb, uint64_t *end)
{
  LOCK_FOR_SCOPE (&wb->lock);

  while (wb->bytes < STEP && !wb->stop)
    pthread_cond_wait (&wb->more, &wb->lock);
  if (wb->stop)
    return false;
  wb->bytes = 0;
  *end = wb->end;
  return true;
}

static void *
work (void *vp)
{
  struct vd_write_behind *wb = vp;
  uint64_t from = 0, end;

  while (next_piece (wb, &end)) {
    if (end > from)
      sync_file_range (wb->fd, (off_t) from, (off_t) (end - from),
                       SYNC_FILE_RANGE_WRITE);
    from = end;
  }
  return NULL;
}

struct vd_write_behind *
vd_write_behind_start (struct vd_file *file)
{
  CLEANUP_FREE struct vd_write_behind *wb = NULL;
  const int fd = vd_file_fd (file);

  if (fd == -1 || !(wb = calloc (1, sizeof *wb)))
    return NULL;
  wb->fd = fd;
  pthread_mutex_init (&wb->lock, NULL);
  pthread_cond_init (&wb->more, NULL);
  if (pthread_create (&wb->thread, NULL, work, wb) != 0) {
    pthread_cond_destroy (&wb->more);
    pthread_mutex_destroy (&wb->lock);
    return NULL;
  }
  return VD_TAKE (wb);
}

void
vd_write_behind_add (struct vd_write_behind *wb, uint64_t bytes, uint64_t end)
{
  if (!wb)
    return;
  {
    LOCK_FOR_SCOPE (&wb->lock);

    wb->bytes += bytes;
    wb->end = vd_max (wb->end, end);
    if (wb->bytes >= STEP)
      pthread_cond_signal (&wb->more);
  }
}

void
vd_write_behind_stop (struct vd_write_behind *wb)
{
  if (!wb)
    return;
  {
    LOCK_FOR_SCOPE (&wb->lock);

    wb->stop = true;
    pthread_cond_signal (&wb->more);
  }
  pthread_join (wb->thread, NULL);
  pthread_cond_destroy (&wb->more);
  pthread_mutex_destroy (&wb->lock);
  free (wb);
}
