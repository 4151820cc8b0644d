/* Many clients at once, each asking for different things at the same time:
 *
 *   swarm CLIENTS[xN] REQUESTS SEED URI FILE [URI FILE ...]
 *
 * Client i talks to the i-th export in turn, has up to N (8) requests in
 * flight (reads, block status, cache) and compares all that it reads with
 * FILE, which is the disk; what is said to read as zeros has to be zeros
 * there.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libnbd.h>

#include "maker.h"

#define IN_FLIGHT 8
#define MAX_READ (1u << 20)

static int in_flight = IN_FLIGHT;

struct disk {
  const char *uri;
  uint8_t *data;
  uint64_t size;
};

struct request {
  int64_t cookie;               /* 0: free */
  const struct disk *disk;
  uint8_t *buf;
  uint64_t offset, n;           /* n 0: nothing to compare */
  int wrong;
};

struct client {
  pthread_t thread;
  const struct disk *disk;
  uint64_t seed, requests;
  const char *failed;           /* NULL, or what */
};

static int
extent (void *user, const char *context, uint64_t offset, uint32_t *entries,
        size_t n, int *error)
{
  struct request *r = user;
  size_t i;

  (void) context, (void) error;
  r->wrong |= n == 0;
  for (i = 0; i + 1 < n; i += 2) {
    const uint64_t end = offset + entries[i];

    r->wrong |= entries[i] == 0;
    if (entries[i + 1] & LIBNBD_STATE_ZERO)
      for (; offset < end && offset < r->disk->size; offset++)
        r->wrong |= r->disk->data[offset] != 0;
    offset = end;
  }
  return 0;
}

static int
begin (struct nbd_handle *nbd, struct request *r, struct mk_rng *rng)
{
  const nbd_extent_callback fn = { .callback = extent, .user_data = r };
  const uint64_t size = r->disk->size;

  r->offset = mk_rng_below (rng, size);
  r->n = 1 + mk_rng_below (rng, mk_rng_chance (rng, 200) ? MAX_READ : 20000);
  if (r->n > size - r->offset)
    r->n = size - r->offset;
  r->wrong = 0;
  switch (mk_rng_below (rng, 8)) {
  case 0:
  case 1:
    r->cookie = nbd_aio_block_status (nbd, r->n, r->offset, fn,
                                      NBD_NULL_COMPLETION,
                                      mk_rng_chance (rng, 500) ?
                                      LIBNBD_CMD_FLAG_REQ_ONE : 0);
    r->n = 0;
    break;
  case 2:
    if (nbd_can_cache (nbd) == 1) {
      r->cookie = nbd_aio_cache (nbd, r->n, r->offset, NBD_NULL_COMPLETION,
                                 0);
      r->n = 0;
      break;
    }
    /* FALLTHROUGH */
  default:
    memset (r->buf, 0xa5, r->n);
    r->cookie = nbd_aio_pread (nbd, r->buf, r->n, r->offset,
                               NBD_NULL_COMPLETION, 0);
  }
  return r->cookie == -1 ? -1 : 0;
}

static const char *
work (struct client *c, struct nbd_handle *nbd, struct request *r)
{
  uint64_t begun = 0, done = 0;
  struct mk_rng rng;
  int i, ready;

  mk_rng_seed (&rng, c->seed);
  if (nbd_add_meta_context (nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == -1 ||
      nbd_connect_uri (nbd, c->disk->uri) == -1)
    return "connect";
  if ((uint64_t) nbd_get_size (nbd) != c->disk->size)
    return "size";
  while (done < c->requests) {
    for (i = 0; i < in_flight && begun < c->requests; i++)
      if (r[i].cookie == 0) {
        r[i].disk = c->disk;
        if (begin (nbd, &r[i], &rng) == -1)
          return "begin";
        begun++;
      }
    if (nbd_poll (nbd, -1) == -1)
      return "poll";
    for (i = 0; i < IN_FLIGHT; i++) {
      if (r[i].cookie == 0)
        continue;
      ready = nbd_aio_command_completed (nbd, (uint64_t) r[i].cookie);
      if (ready == -1)
        return "request";
      if (ready == 0)
        continue;
      if (r[i].wrong)
        return "block status";
      if (memcmp (r[i].buf, c->disk->data + r[i].offset, r[i].n) != 0)
        return "compare";
      r[i].cookie = 0;
      done++;
    }
  }
  return nbd_shutdown (nbd, 0) == -1 ? "shutdown" : NULL;
}

static void *
client (void *opaque)
{
  struct client *c = opaque;
  struct request r[IN_FLIGHT];
  struct nbd_handle *nbd = nbd_create ();
  int i;

  memset (r, 0, sizeof r);
  for (i = 0; i < IN_FLIGHT; i++)
    r[i].buf = malloc (MAX_READ);
  c->failed = work (c, nbd, r);
  if (c->failed)
    fprintf (stderr, "swarm: %s: %s: %s\n", c->disk->uri, c->failed,
             nbd_get_error () ? nbd_get_error () : "wrong answer");
  nbd_close (nbd);
  for (i = 0; i < IN_FLIGHT; i++)
    free (r[i].buf);
  return NULL;
}

static void
load (struct disk *d, const char *uri, const char *path)
{
  FILE *fp = fopen (path, "rb");

  d->uri = uri;
  if (!fp || fseek (fp, 0, SEEK_END) != 0)
    goto bad;
  d->size = (uint64_t) ftell (fp);
  rewind (fp);
  d->data = malloc (d->size);
  if (!d->data || fread (d->data, 1, d->size, fp) != d->size)
    goto bad;
  fclose (fp);
  return;
 bad:
  perror (path);
  exit (2);
}

int
main (int argc, char *argv[])
{
  struct disk disk[16];
  struct client *c;
  size_t clients, disks = 0, i;
  char *end;
  int status = 0;

  if (argc < 6 || argc % 2 != 0 || argc > 36) {
    fprintf (stderr, "usage: swarm CLIENTS REQUESTS SEED URI FILE ...\n");
    return 2;
  }
  for (i = 4; i + 1 < (size_t) argc; i += 2)
    load (&disk[disks++], argv[i], argv[i + 1]);
  clients = strtoul (argv[1], &end, 10);
  if (*end == 'x')
    in_flight = atoi (end + 1) < IN_FLIGHT ? atoi (end + 1) : IN_FLIGHT;
  c = calloc (clients, sizeof *c);
  for (i = 0; i < clients; i++) {
    c[i] = (struct client) {
      .disk = &disk[i % disks], .seed = strtoul (argv[3], NULL, 10) + i,
      .requests = strtoul (argv[2], NULL, 10),
    };
    if (pthread_create (&c[i].thread, NULL, client, &c[i]) != 0)
      return 2;
  }
  for (i = 0; i < clients; i++) {
    pthread_join (c[i].thread, NULL);
    status |= c[i].failed != NULL;
  }
  printf ("%zu clients, %zu requests, %s\n", clients,
          clients * strtoul (argv[2], NULL, 10), status ? "FAILED" : "right");
  for (i = 0; i < disks; i++)
    free (disk[i].data);
  free (c);
  return status;
}
