/* Read a range of an export:
 *
 *   read-range URI OFFSET LENGTH > FILE
 *
 * Fails with the server's error (EIO: "Input/output error"), then nothing is
 * written.  nbdcopy copies whole disks only, and qemu-img dd counts from the
 * start of the disk or from the offset, depending on its version.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libnbd.h>

#define MAX_READ (UINT64_C (8) << 20)

static void
check (int failed)
{
  if (!failed)
    return;
  fprintf (stderr, "read-range: %s\n", nbd_get_error ());
  exit (1);
}

int
main (int argc, char **argv)
{
  struct nbd_handle *nbd;
  uint64_t offset, length, n, done;
  char *buf;

  if (argc != 4) {
    fprintf (stderr, "usage: read-range URI OFFSET LENGTH\n");
    return 2;
  }
  offset = strtoull (argv[2], NULL, 0);
  length = strtoull (argv[3], NULL, 0);
  buf = malloc (length);
  nbd = nbd_create ();
  if (buf == NULL || nbd == NULL) {
    fprintf (stderr, "read-range: out of memory\n");
    return 2;
  }
  /* What a failed read leaves in the buffer must not look right. */
  memset (buf, 0xa5, length);
  check (nbd_connect_uri (nbd, argv[1]) == -1);
  for (done = 0; done < length; done += n) {
    n = length - done < MAX_READ ? length - done : MAX_READ;
    check (nbd_pread (nbd, buf + done, n, offset + done, 0) == -1);
  }
  check (nbd_shutdown (nbd, 0) == -1);
  nbd_close (nbd);
  if (fwrite (buf, 1, length, stdout) != length || fflush (stdout) == EOF) {
    perror ("read-range");
    return 2;
  }
  free (buf);
  return 0;
}
