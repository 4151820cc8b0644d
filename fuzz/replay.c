/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Gives files, and all files of directories, to a target that was built
 * without libFuzzer; prints how many inputs that were.  A file NAME.many holds
 * several (fuzz/collect).
 */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define MAX_BYTES (1u << 20)

static unsigned long nr_files, nr_inputs;
static const char *current;

static void
fail (const char *what)
{
  fprintf (stderr, "%s: %s\n", current, what);
  exit (1);
}

static void
replay_input (const uint8_t *data, size_t n, unsigned nr)
{
  uint8_t *exact = malloc (n + 1); /* so that a sanitizer sees its end */

  if (!exact)
    fail ("no memory");
  memcpy (exact, data, n);
  printf ("%s %u\n", current, nr);
  fflush (stdout);
  LLVMFuzzerTestOneInput (exact, n);
  free (exact);
  nr_inputs++;
}

static void
replay_file (const char *path)
{
  const size_t length = strlen (path);
  uint8_t *data = malloc (MAX_BYTES);
  FILE *fp = fopen (path, "rb");
  size_t n, at, k;
  unsigned nr = 0;

  current = path;
  if (!data || !fp)
    fail ("cannot be read");
  n = fread (data, 1, MAX_BYTES, fp);
  fclose (fp);
  nr_files++;
  if (length < 5 || strcmp (path + length - 5, ".many") != 0)
    replay_input (data, n, 0);
  else
    for (at = 0; n - at >= 2; at += k) {
      k = data[at] | (size_t) data[at + 1] << 8;
      at += 2;
      if (k > n - at)
        fail ("ends in the middle of an input");
      replay_input (data + at, k, ++nr);
    }
  free (data);
}

static void
replay (const char *path)
{
  struct dirent **list;
  struct stat st;
  char *name;
  int n, i;

  current = path;
  if (stat (path, &st) == -1)
    fail ("cannot be read");
  if (!S_ISDIR (st.st_mode)) {
    replay_file (path);
    return;
  }
  n = scandir (path, &list, NULL, alphasort);
  if (n == -1)
    fail ("cannot be read");
  for (i = 0; i < n; ++i) {
    if (list[i]->d_name[0] != '.' &&
        asprintf (&name, "%s/%s", path, list[i]->d_name) != -1) {
      replay_file (name);
      free (name);
    }
    free (list[i]);
  }
  free (list);
}

int
main (int argc, char **argv)
{
  int i;

  for (i = 1; i < argc; ++i)
    replay (argv[i]);
  printf ("%lu files, %lu inputs\n", nr_files, nr_inputs);
  return 0;
}
