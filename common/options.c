/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Parsing key=value; see options.h. */

#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "options.h"
#include "vmdkdelta.h"

static int
parse_bool (const char *key, const char *value, bool *b)
{
  const int r = nbdkit_parse_bool (value);

  if (r == -1) {
    nbdkit_error ("%s=%s is not understood; allowed are true and false", key,
                  value);
    return -1;
  }
  *b = r;
  return 0;
}

static int
parse_size (const char *key, const char *value, uint64_t *size)
{
  const int64_t r = nbdkit_parse_size (value);

  if (r == -1)
    return -1;
  if (r < 1048576) {
    nbdkit_error ("%s=%s is too small; allowed is 1M and up", key, value);
    return -1;
  }
  *size = (uint64_t) r;
  return 0;
}

static int
parse_raw (const char *key, const char *value, bool *b)
{
  if (strcmp (value, "raw") != 0) {
    nbdkit_error ("%s=%s is not understood; allowed is raw", key, value);
    return -1;
  }
  *b = true;
  return 0;
}

static int
parse_text (const char *value, char **text)
{
  *text = strdup (value);
  if (*text)
    return 0;
  nbdkit_error ("strdup: %m");
  return -1;
}

/* The server changes its directory before some of them are used. */
static int
parse_path (const char *value, char **path)
{
  if (vd_is_uri (value))
    return parse_text (value, path);
  *path = nbdkit_absolute_path (value);
  return *path ? 0 : -1;
}

static int
parse_more (const char *value, struct paths *paths,
            int (*parse) (const char *value, char **path))
{
  char **p = realloc (paths->path, (paths->n + 1) * sizeof *p);

  if (!p) {
    nbdkit_error ("realloc: %m");
    return -1;
  }
  paths->path = p;
  if (parse (value, &p[paths->n]) == -1)
    return -1;
  paths->n++;
  return 0;
}

static int
parse_tables (const char *key, const char *value,
              enum vd_tables_choice *choice)
{
  if (vd_tables_choice (value, choice))
    return 0;
  nbdkit_error ("%s=%s is not understood; allowed are first, copy and markers", key,
                value);
  return -1;
}

int
options_parse (struct option *options, size_t n, const char *key,
               const char *value)
{
  struct option *o;
  int r = -1;

  for (o = options; o < options + n && strcmp (key, o->key) != 0; ++o)
    ;
  if (o == options + n)
    return 0;
  if (o->seen && o->type != OPTION_PATHS && o->type != OPTION_TEXTS) {
    nbdkit_error ("%s is given twice", key);
    return -1;
  }
  o->seen = true;

  switch (o->type) {
  case OPTION_BOOL: r = parse_bool (key, value, o->ptr); break;
  case OPTION_RAW: r = parse_raw (key, value, o->ptr); break;
  case OPTION_TEXT: r = parse_text (value, o->ptr); break;
  case OPTION_SIZE: r = parse_size (key, value, o->ptr); break;
  case OPTION_PATH: r = parse_path (value, o->ptr); break;
  case OPTION_PATHS: r = parse_more (value, o->ptr, parse_path); break;
  case OPTION_TEXTS: r = parse_more (value, o->ptr, parse_text); break;
  case OPTION_TABLES: r = parse_tables (key, value, o->ptr); break;
  }
  return r == -1 ? -1 : 1;
}

void
options_free (struct option *options, size_t n)
{
  struct option *o;

  for (o = options; o < options + n; ++o) {
    o->seen = false;
    if (o->type == OPTION_PATH || o->type == OPTION_TEXT) {
      free (* (char **) o->ptr);
      * (char **) o->ptr = NULL;
    }
    else if (o->type == OPTION_RAW)
      * (bool *) o->ptr = false;
    else if (o->type == OPTION_PATHS || o->type == OPTION_TEXTS) {
      struct paths *p = o->ptr;

      while (p->n > 0)
        free (p->path[--p->n]);
      free (p->path);
      p->path = NULL;
    }
  }
}
