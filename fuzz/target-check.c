/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* vmdkdelta check, from its arguments to what it prints.
 *
 * The verb runs as it is; the linker puts three functions (--wrap) in the
 * place of those that write a temporary file, and two that bound memory before
 * the library's; stderr is a stream that keeps what is written.
 */

#include <ctype.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#include "../tool/tool.h"
#include "fuzz.h"

FILE *__wrap_out_begin (void);
int __wrap_out_commit (FILE *fp);
void __wrap_out_discard (FILE *fp);
__typeof__ (vd_check_link) __wrap_vd_check_link, __real_vd_check_link;
__typeof__ (vd_check_chain) __wrap_vd_check_chain, __real_vd_check_chain;

static char *out;
static size_t out_size;
static bool committed;
static char said[65536];
static size_t said_size;

FILE *
__wrap_out_begin (void)
{
  FILE *fp = open_memstream (&out, &out_size);

  if (fp)                       /* it is ours alone */
    __fsetlocking (fp, FSETLOCKING_BYCALLER);
  return fp;
}

int
__wrap_out_commit (FILE *fp)
{
  fclose (fp);
  committed = true;
  return STATUS_OK;
}

void
__wrap_out_discard (FILE *fp)
{
  if (fp)
    fclose (fp);
}

static ssize_t
keep_said (void *cookie, const char *text, size_t n)
{
  (void) cookie;
  if (n <= sizeof said - said_size) {
    memcpy (said + said_size, text, n);
    said_size += n;
  }
  return (ssize_t) n;
}

/* Bitmaps of many MiB are new for each input, and slow with sanitizers: most
 * inputs have a small one, and several passes instead.
 */
static struct vd_check_opts
with_memory (const struct vd_check_opts *opts)
{
  struct vd_check_opts o = *opts;

  o.memory = fz_choose (11, 16) == 0 ? 0 : 32768;
  return o;
}

int
__wrap_vd_check_link (const struct vd_link *link,
                      const struct vd_check_opts *opts,
                      struct vd_check_report *report, struct vd_err *err)
{
  const struct vd_check_opts o = with_memory (opts);

  return __real_vd_check_link (link, &o, report, err);
}

int
__wrap_vd_check_chain (const struct vd_chain *chain,
                       const struct vd_check_opts *opts,
                       struct vd_check_report *links,
                       struct vd_check_report *whole, struct vd_err *err)
{
  const struct vd_check_opts o = with_memory (opts);

  return __real_vd_check_chain (chain, &o, links, whole, err);
}

/* ---- JSON: what may be and what not ------------------------------------- */

static const char *
skip_blanks (const char *p)
{
  while (*p && strchr (" \t\r\n", *p))
    ++p;
  return p;
}

static const char *
json_string (const char *p)
{
  fz_require (*p == '"', "JSON: a string is expected at: %.30s", p);
  for (++p; *p != '"'; ++p) {
    fz_require ((uint8_t) *p >= ' ', "JSON: a control character");
    if (*p == '\\') {
      ++p;
      fz_require (*p && strchr ("\"\\/bfnrtu", *p), "JSON: \\%c", *p);
    }
  }
  return p + 1;
}

static const char *json_value (const char *p, unsigned depth);

static const char *
json_items (const char *p, char end, unsigned depth)
{
  p = skip_blanks (p + 1);
  if (*p == end)
    return p + 1;
  for (;; ++p) {
    p = skip_blanks (p);
    if (end == '}') {
      p = skip_blanks (json_string (p));
      fz_require (*p == ':', "JSON: no colon at: %.30s", p);
      p = skip_blanks (p + 1);
    }
    p = skip_blanks (json_value (p, depth + 1));
    if (*p == end)
      return p + 1;
    fz_require (*p == ',', "JSON: no comma at: %.30s", p);
  }
}

static const char *
json_value (const char *p, unsigned depth)
{
  static const char *const words[] = { "true", "false", "null" };
  size_t i;

  fz_require (depth < 20, "JSON: too deep");
  if (*p == '{')
    return json_items (p, '}', depth);
  if (*p == '[')
    return json_items (p, ']', depth);
  if (*p == '"')
    return json_string (p);
  for (i = 0; i < 3; ++i)
    if (strncmp (p, words[i], strlen (words[i])) == 0)
      return p + strlen (words[i]);
  fz_require (isdigit ((unsigned char) *p) || *p == '-',
              "JSON: a value is expected at: %.30s", p);
  return p + strspn (p, "0123456789-+.eE");
}

/* ---- What was printed ----------------------------------------------------- */

static void
check_text (const char *text, size_t n)
{
  size_t i;

  for (i = 0; i < n; ++i)
    fz_require (text[i] == '\n' ||
                ((uint8_t) text[i] >= ' ' && text[i] != 0x7f),
                "byte %zu of the output is 0x%02x", i, (uint8_t) text[i]);
}

/* The library, asked directly. */
static bool
library_finds_errors (const struct vd_check_opts *check,
                      const struct vd_opts *opts, bool *opened)
{
  struct vd_check_report report;
  struct vd_err err;
  struct vd_link *link = vd_link_open ("d.vmdk", opts, &err);
  bool errors;

  *opened = link != NULL;
  if (!link)
    return false;
  errors = vd_check_link (link, check, &report, &err) == -1 ||
    report.errors > 0;
  vd_check_report_free (&report);
  vd_link_close (link);
  return errors;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  static const char *const options[] = {
    "--json", "--chain", "--no-inflate", "--verbose", "--ignore-cid",
    "--allow-dirty", "--unconfined", "--parent=p.vmdk",
  };
  static const cookie_io_functions_t io = { .write = keep_said };
  const char *argv[12];
  int argc = 0, status;
  size_t i;

  fz_load (data, n);
  if (!committed && !out) {     /* the first time */
    stderr = fopencookie (NULL, "w", io);
    fz_require (stderr, "no memory");
    setvbuf (stderr, NULL, _IONBF, 0);
  }

  argv[argc++] = "vmdkdelta";
  for (i = 0; i < 8; ++i)
    if (fz_bits & 1u << i)
      argv[argc++] = options[i];
  argv[argc++] = "d.vmdk";
  if (fz_choose (1, 8) == 0)
    argv[argc++] = "p.vmdk";
  argv[argc] = NULL;

  free (out);
  out = NULL;
  out_size = said_size = 0;
  committed = false;
  optind = 0;
  status = verb_check.run (argc, (char **) argv);

  check_text (said, said_size);
  if (!committed) {
    fz_require (status == STATUS_ERROR && said_size > 0,
                "status %d without output", status);
    return 0;
  }
  fz_require (status == STATUS_OK || status == STATUS_ERROR ||
              status == STATUS_DAMAGE, "status %d", status);
  fz_require (out_size > 0, "no output");
  check_text (out, out_size);
  if (fz_bits & 1)
    fz_require (*skip_blanks (json_value (skip_blanks (out), 0)) == '\0',
                "JSON: something follows");
  if (!(fz_bits & 2) && argv[argc - 1][0] == 'd' && !fz_spent ()) {
    const struct vd_check_opts check = {
      .inflate = !(fz_bits & 4), .allow_dirty = fz_bits & 32,
      .ignore_cid = fz_bits & 16,
    };
    const struct vd_opts opts = { .allow_dirty = true, .ignore_cid = true };
    bool opened;
    const bool errors = library_finds_errors (&check, &opts, &opened);

    if (!fz_spent ())
      fz_require (opened ? (status == STATUS_DAMAGE) == errors
                  : status != STATUS_OK,
                  "status %d, but the library %s", status,
                  !opened ? "could not open it"
                  : errors ? "finds errors" : "finds none");
  }
  return 0;
}
