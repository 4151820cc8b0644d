/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* nbdkit's plugins for files elsewhere; see transport.h. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport.h"

#define SSH 1u
#define HTTP 2u

struct transport {
  unsigned bit;
  const char *plugin;
  const char *package;          /* of it, where nbdkit comes in parts */
  /* nbdkit's ssh plugin waits for each 256 KiB, so that only more connections
   * make it faster.  Hosts of VMware limit the number of requests.
   */
  unsigned connections;
  size_t request;
};

static const struct transport ssh = {
  .bit = SSH, .plugin = "ssh", .package = "nbdkit-ssh-plugin",
  .connections = 8, .request = 1u << 20,
};

static const struct transport http = {
  .bit = HTTP, .plugin = "curl", .package = "nbdkit-curl-plugin",
  .connections = 4, .request = 4u << 20,
};

const struct transport *
transport_of (const struct vd_uri *u)
{
  if (strcmp (u->scheme, "ssh") == 0 || strcmp (u->scheme, "sftp") == 0)
    return &ssh;
  if (strcmp (u->scheme, "http") == 0 || strcmp (u->scheme, "https") == 0)
    return &http;
  return NULL;
}

unsigned
transport_connections (const struct transport *t,
                       const struct transport_params *p)
{
  return p->connections ? p->connections : t ? t->connections : 4;
}

size_t
transport_request (const struct transport *t)
{
  return t ? t->request : 4u << 20;
}

/* ---- Parameters ------------------------------------------------------------- */

enum kind {
  PLAIN,
  A_FILE,                       /* or directory: it is there */
  SECRET,                       /* +FILE */
  NUMBER,                       /* connections */
  SHELL, LIBCURL,               /* true or false */
};

static const struct key {
  const char *key;
  unsigned for_what;
  enum kind kind;
} keys[] = {
  { "cainfo", HTTP, A_FILE },
  { "capath", HTTP, A_FILE },
  { "compression", SSH, PLAIN },
  { "config", SSH, A_FILE },
  { "connections", SSH | HTTP, NUMBER },
  { "cookie-script", HTTP, PLAIN },
  { "cookie-script-renew", HTTP, PLAIN },
  { "cookiefile", HTTP, A_FILE },
  { "followlocation", HTTP, PLAIN },
  { "header-script", HTTP, PLAIN },
  { "header-script-renew", HTTP, PLAIN },
  { "identity", SSH, A_FILE },
  { "known-hosts", SSH, A_FILE },
  { "libcurl", HTTP, LIBCURL },
  { "password", SSH | HTTP, SECRET },
  { "proxy", HTTP, PLAIN },
  { "shell", SSH, SHELL },
  { "sslverify", HTTP, PLAIN },
  { "timeout", SSH | HTTP, PLAIN },
  { "user", SSH | HTTP, PLAIN },
  { "user-agent", HTTP, PLAIN },
  { "verify-remote-host", SSH, PLAIN },
};
#define NR_KEYS (sizeof keys / sizeof keys[0])

static int
unknown_key (const char *text, struct vd_err *err)
{
  char all[512] = "";
  size_t i, n = 0;

  for (i = 0; i < NR_KEYS; ++i)
    n += (size_t) snprintf (all + n, sizeof all - n, "%s%s", i ? ", " : "",
                            keys[i].key);
  return vd_fail (err, VD_USAGE, "'%.*s' is no parameter of a connection; "
                  "those are %s", (int) strcspn (text, "="), text, all);
}

static int
parse_connections (struct transport_params *p, const char *value,
                   struct vd_err *err)
{
  char *end;
  const unsigned long n = strtoul (value, &end, 10);

  if (*value < '1' || *value > '9' || *end != '\0' || n > 64)
    return vd_fail (err, VD_USAGE, "connections=%s: allowed is 1 to 64",
                    value);
  p->connections = (unsigned) n;
  return 0;
}

/* Is something that is used by default not to be used? */
static int
parse_use (const char *key, const char *value, bool *no, struct vd_err *err)
{
  *no = strcmp (value, "false") == 0;
  return *no || strcmp (value, "true") == 0 ? 0
    : vd_fail (err, VD_USAGE, "%s=%s: allowed are true and false", key, value);
}

/* The text of a secret must not be repeated, also not in a message. */
static int
parse_secret (const char *key, const char **value, struct vd_err *err)
{
  if (**value != '+' || (*value)[1] == '\0')
    return vd_fail (err, VD_USAGE, "%s is given by its text, which everybody "
                    "on this machine can see in the list of processes; write "
                    "it to a file that only you can read, and give "
                    "%s=+FILE", key, key);
  ++*value;
  return 0;
}

int
transport_parse (struct transport_params *p, const char *text,
                 struct vd_err *err)
{
  const char *value = text + strcspn (text, "=");
  CLEANUP_FREE char *real = NULL;
  const struct key *k;
  char *word;

  for (k = keys; k < keys + NR_KEYS; ++k)
    if (*value == '=' && strlen (k->key) == (size_t) (value - text) &&
        strncmp (k->key, text, (size_t) (value - text)) == 0)
      break;
  if (k == keys + NR_KEYS)
    return unknown_key (text, err);
  ++value;
  if (k->kind == NUMBER)
    return parse_connections (p, value, err);
  if (k->kind == SHELL || k->kind == LIBCURL)
    return parse_use (k->key, value, k->kind == SHELL ? &p->no_shell
                      : &p->no_libcurl, err);
  if (p->n == TRANSPORT_MAX_PARAMS)
    return vd_fail (err, VD_USAGE, "there are more than %u parameters of a "
                    "connection", TRANSPORT_MAX_PARAMS);
  if (k->kind == SECRET && parse_secret (k->key, &value, err) == -1)
    return -1;
  if (k->kind == A_FILE || k->kind == SECRET) {
    real = realpath (value, NULL);
    if (!real)
      return vd_fail_errno (err, errno, "%s=%s", k->key, value);
  }
  if (asprintf (&word, "%s=%s%s", k->key, k->kind == SECRET ? "+" : "",
                real ? real : value) == -1)
    return vd_fail_nomem (err);
  p->param[p->n++] = (struct transport_param) {
    .key = k->key, .word = word, .for_what = k->for_what,
  };
  return 0;
}

void
transport_free (struct transport_params *p)
{
  while (p->n > 0)
    free (p->param[--p->n].word);
}

/* ---- The command ------------------------------------------------------------ */

/* 16, and what parameters add. */
#define MAX_WORDS (TRANSPORT_MAX_PARAMS + 24)

struct command {
  char **argv;
  size_t n;
  bool failed;
};

static void VD_PRINTF (2, 3)
add_word (struct command *c, const char *fs, ...)
{
  va_list args;

  va_start (args, fs);
  if (vasprintf (&c->argv[c->n], fs, args) == -1) {
    c->argv[c->n] = NULL;
    c->failed = true;
  }
  else
    c->n++;
  va_end (args);
}

void
transport_free_command (char **argv)
{
  char **p;

  for (p = argv; p && *p; ++p)
    free (*p);
  free (argv);
}

static bool
has_param (const struct transport_params *p, const char *key)
{
  size_t i;

  for (i = 0; i < p->n; ++i)
    if (strcmp (p->param[i].key, key) == 0)
      return true;
  return false;
}

/* "[user@]host[:port]", where the host may be "[::1]", each part behind a text
 * of its own.
 */
static void
add_host (struct command *c, const struct vd_uri *u, const char *for_user,
          const char *for_port, const char *for_host)
{
  const char *a = u->authority, *at = strrchr (a, '@');
  const char *host = at ? at + 1 : a, *port = strrchr (host, ':');
  size_t n;

  if (port && strchr (port, ']'))
    port = NULL;
  n = port ? (size_t) (port - host) : strlen (host);
  if (at)
    add_word (c, "%s%.*s", for_user, (int) (at - a), a);
  if (port)
    add_word (c, "%s%s", for_port, port + 1);
  if (n > 2 && host[0] == '[' && host[n - 1] == ']')
    add_word (c, "%s%.*s", for_host, (int) n - 2, host + 1);
  else
    add_word (c, "%s%.*s", for_host, (int) n, host);
}

char **
transport_command (const struct transport *t, const struct vd_uri *u,
                   const struct transport_params *p, struct vd_err *err)
{
  struct command c = { .argv = calloc (MAX_WORDS, sizeof (char *)) };
  CLEANUP_FREE char *url = vd_uri_with_path (u, u->path);
  size_t i;

  if (!c.argv || !url) {
    free (c.argv);
    vd_fail_nomem (err);
    return NULL;
  }
  add_word (&c, "nbdkit");
  add_word (&c, "--single");
  add_word (&c, "--readonly");
  add_word (&c, "%s", t->plugin);
  if (t->bit == SSH) {
    add_host (&c, u, "user=", "port=", "host=");
    add_word (&c, "path=%s", u->path);
  }
  else {
    add_word (&c, "url=%s", url);
    if (!has_param (p, "user-agent"))
      add_word (&c, "user-agent=vmdkdelta/%s", VMDKDELTA_VERSION);
  }
  for (i = 0; i < p->n; ++i)
    if (p->param[i].for_what & t->bit)
      add_word (&c, "%s", p->param[i].word);
  if (!c.failed)
    return c.argv;
  transport_free_command (c.argv);
  vd_fail_nomem (err);
  return NULL;
}

/* ssh would take it for something else than a name. */
static bool
is_odd (const struct vd_uri *u, const struct transport_params *p)
{
  const char *at = strrchr (u->authority, '@');
  size_t i;

  for (i = 0; i < p->n; ++i)
    if (strpbrk (p->param[i].word, "\"%\\"))
      return true;
  return *(at ? at + 1 : u->authority) == '-';
}

/* How ssh calls what nbdkit's plugin calls otherwise. */
static void
add_for_ssh (struct command *c, const struct transport_param *param)
{
  const char *value = strchr (param->word, '=') + 1;

  if (strcmp (param->key, "user") == 0)
    add_word (c, "-oUser=%s", value);
  else if (strcmp (param->key, "identity") == 0)
    add_word (c, "-oIdentityFile=\"%s\"", value);
  else if (strcmp (param->key, "known-hosts") == 0)
    add_word (c, "-oUserKnownHostsFile=\"%s\"", value);
  else if (strcmp (param->key, "config") == 0)
    add_word (c, "-F%s", value);
  else if (strcmp (param->key, "compression") == 0 &&
           strcmp (value, "true") == 0)
    add_word (c, "-C");
  else if (strcmp (param->key, "timeout") == 0)
    add_word (c, "-oConnectTimeout=%s", value);
}

int
transport_shell (const struct transport *t, const struct vd_uri *u,
                 const struct transport_params *p, char ***argv,
                 struct vd_err *err)
{
  static const char *const begin[] = {
    /* Nobody is asked anything, and nothing but this shell is carried. */
    "ssh", "-T", "-x", "-a", "-oBatchMode=yes", "-oClearAllForwardings=yes",
    "-oPermitLocalCommand=no", "-oLogLevel=ERROR",
  };
  struct command c = { .argv = NULL };
  bool verify = true;
  size_t i;

  *argv = NULL;
  if (!t || t->bit != SSH || p->no_shell || has_param (p, "password") ||
      is_odd (u, p))
    return 0;
  c.argv = calloc (MAX_WORDS, sizeof (char *));
  if (!c.argv)
    return vd_fail_nomem (err);
  for (i = 0; i < sizeof begin / sizeof begin[0]; ++i)
    add_word (&c, "%s", begin[i]);
  for (i = 0; i < p->n; ++i) {
    if (p->param[i].for_what & SSH)
      add_for_ssh (&c, &p->param[i]);
    if (strcmp (p->param[i].word, "verify-remote-host=false") == 0)
      verify = false;
  }
  add_word (&c, "-oStrictHostKeyChecking=%s", verify ? "yes" : "no");
  if (!has_param (p, "timeout"))
    add_word (&c, "-oConnectTimeout=30");
  add_host (&c, u, "-oUser=", "-oPort=", "");
  add_word (&c, "exec sh");
  if (!c.failed) {
    *argv = c.argv;
    return 0;
  }
  transport_free_command (c.argv);
  return vd_fail_nomem (err);
}

/* ---- What went wrong ---------------------------------------------------------- */

static const struct fault {
  unsigned for_what;
  const char *part;             /* of what the server says */
  enum vd_code code;
  const char *means;            /* NULL: what it says is clear */
} faults[] = {
  { SSH, "No such file", VD_NOT_FOUND, "there is no such file on that host" },
  { HTTP, "error: 404", VD_NOT_FOUND, "there is no such file on that host" },
  { HTTP, "error: 410", VD_NOT_FOUND, "there is no such file on that host" },
  { SSH, "Permission denied", VD_DENIED, "that user may not read it" },
  { HTTP, "error: 403", VD_DENIED, "the server does not allow to read it" },
  { HTTP, "error: 401", VD_IO, "the server wants another user or password: "
    "give user=NAME and password=+FILE (or cookie-script=) as parameters of the "
    "connection" },
  { HTTP, "error: 503", VD_IO, "the server is busy, or limits the number of "
    "requests: try again, with connections=1" },
  { HTTP, "error: 429", VD_IO, "the server limits the number of requests: try "
    "again later, with connections=1" },
  { HTTP, "does not support 'range'", VD_UNSUPPORTED, "the server does not say "
    "that it can send parts of a file (Accept-Ranges), so that disks cannot be "
    "read there without copying them first" },
  { HTTP, "no parts", VD_UNSUPPORTED, "the server does not send the part of a "
    "file that it is asked for, so that disks cannot be read there without "
    "copying them first.  Is there a proxy between?" },
  { SSH, "host key is unknown", VD_IO, "the key of that host is not known here: "
    "connect once with ssh and compare it, or give known-hosts=FILE" },
  { SSH, "host key for server changed", VD_IO, "that host has another key than "
    "the one known here: if that is right, remove the old one with ssh-keygen -R "
    "HOST" },
  { SSH, "all possible authentication methods failed", VD_IO, "the host accepts "
    "neither a key nor a password of ours: give identity=FILE or password=+FILE, "
    "and the user as USER@HOST" },
  { SSH, "busy", VD_IO, "it is in use on that host: stop the machine; or, if it "
    "is a frozen parent, clone it there (vmkfstools -i) and read the clone" },
};

static int
plugin_missing (const struct transport *t, const char *name,
                struct vd_err *err)
{
  return vd_fail (err, VD_UNSUPPORTED, "%s: nbdkit's plugin %s, which reads "
                  "this, is not installed: install the package %s (Fedora, "
                  "RHEL), or nbdkit (Debian, Ubuntu)", name, t->plugin,
                  t->package);
}

int
transport_explain (const struct transport *t, const char *name,
                   const char *said, struct vd_err *err)
{
  size_t i;

  if (*said == '\0')
    return -1;
  if (strstr (said, "cannot open plugin"))
    return plugin_missing (t, name, err);
  if (strstr (said, "cannot be run"))
    return vd_fail (err, VD_UNSUPPORTED, "%s: this is read by nbdkit, which "
                    "is not installed: install the package nbdkit", name);
  for (i = 0; i < sizeof faults / sizeof faults[0]; ++i)
    if ((faults[i].for_what & t->bit) && strstr (said, faults[i].part))
      return vd_fail (err, faults[i].code, "%s: %s", name, faults[i].means);
  return vd_fail (err, VD_IO, "%s: %s", name, said);
}

int
transport_explain_http (const char *name, const char *said,
                        struct vd_err *err)
{
  return transport_explain (&http, name, said, err);
}
