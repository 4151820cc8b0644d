/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Scope-bound cleanup for locals.
 *
 * Ownership leaves a function only through VD_TAKE, so a reader can see at
 * every return what is freed and what is not.
 */

#ifndef VD_CLEANUP_H
#define VD_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define VD_CLEANUP(fn) __attribute__ ((__cleanup__ (fn)))

static inline void
vd_cleanup_free (void *ptr)
{
  free (* (void **) ptr);
}
#define CLEANUP_FREE VD_CLEANUP (vd_cleanup_free)

static inline void
vd_cleanup_fd (const int *fd)
{
  if (*fd >= 0)
    close (*fd);
}
#define CLEANUP_FD VD_CLEANUP (vd_cleanup_fd)

static inline void
vd_cleanup_unlock (pthread_mutex_t **lock)
{
  pthread_mutex_unlock (*lock);
}

#define VD_CONCAT2(a, b) a ## b
#define VD_CONCAT(a, b) VD_CONCAT2 (a, b)
#define LOCK_FOR_SCOPE(mutex)                                   \
  VD_CLEANUP (vd_cleanup_unlock) __attribute__ ((__unused__))   \
  pthread_mutex_t *VD_CONCAT (scope_lock_, __LINE__) = (mutex); \
  pthread_mutex_lock (mutex)

/* The value of the pointer, which is set to NULL. */
#define VD_TAKE(p)                              \
  ({ __typeof__ (p) take_ = (p); (p) = NULL; take_; })

#endif /* VD_CLEANUP_H */
