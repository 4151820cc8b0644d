/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Gives files, and all files of directories, to a target that was built
 * without libFuzzer; prints how many.
 */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define MAX_BYTES (1u << 20)

static unsigned long nr_inputs;
static const char *current;

static void
fail (const char *what)
{
  fprintf (stderr, "%s: %s\n", current, what);
  exit (1);
}

static void
replay_file (const char *path)
{
  uint8_t *data = malloc (MAX_BYTES);
  uint8_t *exact;
  FILE *fp = fopen (path, "rb");
  size_t n;

  current = path;
  if (!data || !fp)
    fail ("cannot be read");
  n = fread (data, 1, MAX_BYTES, fp);
  fclose (fp);
  /* so that a sanitizer sees its end */
  exact = malloc (n + 1);
  if (!exact)
    fail ("no memory");
  memcpy (exact, data, n);
  free (data);
  printf ("%s\n", path);
  fflush (stdout);
  LLVMFuzzerTestOneInput (exact, n);
  free (exact);
  nr_inputs++;
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
  printf ("%lu inputs\n", nr_inputs);
  return 0;
}
