/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Files of web servers, by libcurl; see http.h. */

#include <stdlib.h>
#include <string.h>

#include "http.h"

#ifdef HAVE_LIBCURL

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

/* So much is asked for when a file is opened: a block of the cache. */
#define HEAD (128u << 10)

#define BUSY_TRIES 5u
#define MAX_VALUE 256u
#define MAX_HANDLES 64u
#define LATEST_START 30L        /* seconds, for a connection to come up */
#define LATEST_BYTE 60L         /* and without a byte */

static struct {
  CURLcode (*global_init) (long);
  CURL *(*init) (void);
  CURLcode (*setopt) (CURL *, CURLoption, ...);
  CURLcode (*perform) (CURL *);
  CURLcode (*getinfo) (CURL *, CURLINFO, ...);
  void (*cleanup) (CURL *);
  const char *(*error) (CURLcode);
  struct curl_slist *(*append) (struct curl_slist *, const char *);
  void (*free_all) (struct curl_slist *);
} lib;

/* A value that a command prints, and that is good for some time. */
struct script {
  const char *command;          /* NULL: there is none */
  long renew;                   /* seconds; 0: for ever */
  char *value;
  time_t when;
};

struct http {
  const struct transport_params *params;
  char *password;
  pthread_mutex_t lock;         /* of what follows */
  CURL *idle[MAX_HANDLES];
  unsigned nr_idle;
  struct script cookie, header;
};

struct http_file {
  struct vd_file file;
  struct http *http;
  char *url;
  char etag[MAX_VALUE], modified[MAX_VALUE];
  uint8_t *head;                /* its first bytes */
  size_t nr_head;
};

/* ---- libcurl ---------------------------------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;

static void
load (void)
{
  static const struct {
    const char *name;
    void *at;
  } symbols[] = {
    { "curl_global_init", &lib.global_init }, { "curl_easy_init", &lib.init },
    { "curl_easy_setopt", &lib.setopt }, { "curl_easy_perform", &lib.perform },
    { "curl_easy_getinfo", &lib.getinfo },
    { "curl_easy_cleanup", &lib.cleanup },
    { "curl_easy_strerror", &lib.error }, { "curl_slist_append", &lib.append },
    { "curl_slist_free_all", &lib.free_all },
  };
  void *so = dlopen ("libcurl.so.4", RTLD_NOW | RTLD_LOCAL), *symbol;
  size_t i;

  if (!so)
    so = dlopen ("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
  if (!so)
    return;
  for (i = 0; i < sizeof symbols / sizeof symbols[0]; ++i) {
    symbol = dlsym (so, symbols[i].name);
    if (!symbol)
      return;
    memcpy (symbols[i].at, &symbol, sizeof symbol);
  }
  loaded = lib.global_init (CURL_GLOBAL_ALL) == CURLE_OK;
}

/* ---- Parameters --------------------------------------------------------------------- */

/* The last one that was given, or NULL. */
static const char *
param (const struct transport_params *p, const char *key)
{
  size_t i;

  for (i = p->n; i > 0; --i)
    if (strcmp (p->param[i - 1].key, key) == 0)
      return strchr (p->param[i - 1].word, '=') + 1;
  return NULL;
}

static long
number (const struct transport_params *p, const char *key, long otherwise)
{
  const char *s = param (p, key);
  const long n = s ? strtol (s, NULL, 10) : 0;

  return n > 0 ? n : otherwise;
}

/* "+FILE": its first line. */
static int
read_password (struct http *h, struct vd_err *err)
{
  const char *name = param (h->params, "password");
  size_t n = 0;
  FILE *fp;
  ssize_t r;

  if (!name)
    return 0;
  fp = fopen (name + 1, "re");
  if (!fp)
    return vd_fail_errno (err, errno, "password=%s", name);
  r = getline (&h->password, &n, fp);
  fclose (fp);
  if (r == -1)
    return vd_fail (err, VD_USAGE, "password=%s: there is nothing in it", name);
  h->password[strcspn (h->password, "\r\n")] = '\0';
  return 0;
}

int
http_new (const struct transport_params *p, struct http **http,
          struct vd_err *err)
{
  struct http *h;

  *http = NULL;
  pthread_once (&once, load);
  if (!loaded || p->no_libcurl)
    return 0;
  h = calloc (1, sizeof *h);
  if (!h)
    return vd_fail_nomem (err);
  pthread_mutex_init (&h->lock, NULL);
  h->params = p;
  h->cookie.command = param (p, "cookie-script");
  h->cookie.renew = number (p, "cookie-script-renew", 0);
  h->header.command = param (p, "header-script");
  h->header.renew = number (p, "header-script-renew", 0);
  if (read_password (h, err) == -1) {
    http_free (h);
    return -1;
  }
  *http = h;
  return 0;
}

void
http_free (struct http *h)
{
  if (!h)
    return;
  while (h->nr_idle > 0)
    lib.cleanup (h->idle[--h->nr_idle]);
  pthread_mutex_destroy (&h->lock);
  free (h->cookie.value);
  free (h->header.value);
  free (h->password);
  free (h);
}

/* ---- Scripts ------------------------------------------------------------------------ */

/* Run it, unless its value is still good.  With the lock.  What it prints is a
 * secret: it is in no message.
 */
static int
run_script (struct script *s, const char *key, bool renew, struct vd_err *err)
{
  size_t n = 0, max = 0;
  char *value = NULL;
  FILE *fp;
  int status;

  if (!s->command ||
      (s->value && !renew &&
       (s->renew == 0 || time (NULL) < s->when + s->renew)))
    return 0;
  fp = popen (s->command, "re");
  if (!fp)
    return vd_fail_errno (err, errno, "%s cannot be run", key);
  if (getdelim (&value, &max, '\0', fp) > 0)
    n = strcspn (value, "\r\n");
  status = pclose (fp);
  if (status != 0 || n == 0) {
    free (value);
    return vd_fail (err, VD_IO, "%s %s", key, status != 0
                    ? "has failed" : "has printed nothing");
  }
  free (s->value);
  s->value = value;
  s->when = time (NULL);
  return 0;
}

/* The cookie without its newline, and the lines of the headers. */
static int
set_scripts (struct http *h, CURL *c, bool renew, struct curl_slist **lines,
             struct vd_err *err)
{
  CLEANUP_FREE char *text = NULL;
  struct curl_slist *more;
  char *line, *save = NULL;
  LOCK_FOR_SCOPE (&h->lock);

  *lines = NULL;
  if (run_script (&h->cookie, "cookie-script", renew, err) == -1 ||
      run_script (&h->header, "header-script", renew, err) == -1)
    return -1;
  if (h->cookie.value) {
    text = strndup (h->cookie.value, strcspn (h->cookie.value, "\r\n"));
    if (!text)
      return vd_fail_nomem (err);
    lib.setopt (c, CURLOPT_COOKIE, text);       /* copied */
  }
  if (!h->header.value)
    return 0;
  free (text);
  text = strdup (h->header.value);
  if (!text)
    return vd_fail_nomem (err);
  for (line = strtok_r (text, "\r\n", &save); line;
       line = strtok_r (NULL, "\r\n", &save)) {
    more = lib.append (*lines, line);
    if (!more)
      return vd_fail_nomem (err);
    *lines = more;
  }
  return 0;
}

/* ---- Handles -------------------------------------------------------------------------- */

struct answer {
  uint8_t *buf;
  size_t wanted, n;             /* bytes; so many have arrived */
  uint64_t offset;              /* that was asked for */
  bool opening;

  long status;
  uint64_t from, to, size;      /* Content-Range, or Content-Length with 200 */
  bool ranged, sized, too_much;
  char etag[MAX_VALUE], modified[MAX_VALUE];
  long retry_after;
};

/* May the body be kept? */
static bool
fits (const struct answer *a)
{
  if (a->status == 206)
    return a->ranged && a->from == a->offset;
  return a->status == 200 && a->opening && a->sized && a->size <= a->wanted;
}

static size_t
take_body (char *p, size_t one, size_t n, void *opaque)
{
  struct answer *a = opaque;

  n *= one;
  if (a->status != 200 && a->status != 206)
    return n;                   /* the page of an error */
  if (!fits (a) || n > a->wanted - a->n) {
    a->too_much = true;
    return 0;
  }
  memcpy (a->buf + a->n, p, n);
  a->n += n;
  return n;
}

static bool
is_header (const char *p, size_t n, const char *name, char value[MAX_VALUE])
{
  const size_t len = strlen (name);

  if (n <= len || strncasecmp (p, name, len) != 0 || p[len] != ':')
    return false;
  for (p += len + 1, n -= len + 1; n > 0 && (*p == ' ' || *p == '\t');
       ++p, --n)
    ;
  while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' '))
    --n;
  n = vd_min (n, MAX_VALUE - 1);
  memcpy (value, p, n);
  value[n] = '\0';
  return true;
}

static size_t
take_header (char *p, size_t one, size_t n, void *opaque)
{
  struct answer *a = opaque;
  char value[MAX_VALUE];

  n *= one;
  if (n > 5 && strncmp (p, "HTTP/", 5) == 0) {  /* of a redirection before */
    const char *blank = memchr (p, ' ', n);

    a->status = blank ? strtol (blank + 1, NULL, 10) : 0;
    a->ranged = a->sized = false;
    *a->etag = *a->modified = '\0';
    a->retry_after = 0;
  }
  else if (is_header (p, n, "Content-Range", value)) {
    a->ranged = sscanf (value, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64,
                        &a->from, &a->to, &a->size) == 3;
    if (!a->ranged)
      sscanf (value, "bytes */%" SCNu64, &a->size);
  }
  else if (is_header (p, n, "Content-Length", value)) {
    if (a->status == 200) {
      a->size = strtoull (value, NULL, 10);
      a->sized = true;
    }
  }
  else if (is_header (p, n, "ETag", value))
    strcpy (a->etag, value);
  else if (is_header (p, n, "Last-Modified", value))
    strcpy (a->modified, value);
  else if (is_header (p, n, "Retry-After", value))
    a->retry_after = strtol (value, NULL, 10);
  return n;
}

static void
set_text (CURL *c, CURLoption option, const char *value)
{
  if (value)
    lib.setopt (c, option, value);
}

static bool
is_no (const char *value)
{
  return value && (strcmp (value, "false") == 0 || strcmp (value, "0") == 0 ||
                   strcmp (value, "no") == 0 || strcmp (value, "off") == 0);
}

/* A server must not send us to a file of this machine. */
static bool
allow_http_only (CURL *c)
{
#if LIBCURL_VERSION_NUM >= 0x075500
  return lib.setopt (c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
    lib.setopt (c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
  const long both = CURLPROTO_HTTP | CURLPROTO_HTTPS;

  return lib.setopt (c, CURLOPT_PROTOCOLS, both) == CURLE_OK &&
    lib.setopt (c, CURLOPT_REDIR_PROTOCOLS, both) == CURLE_OK;
#endif
}

static CURL *
new_handle (const struct http *h)
{
  const struct transport_params *p = h->params;
  const long timeout = number (p, "timeout", LATEST_BYTE);
  const char *agent = param (p, "user-agent");
  CURL *c = lib.init ();

  if (!c)
    return NULL;
  lib.setopt (c, CURLOPT_NOSIGNAL, 1L);
  lib.setopt (c, CURLOPT_NOPROGRESS, 1L);
  if (!allow_http_only (c)) {
    lib.cleanup (c);
    return NULL;
  }
  lib.setopt (c, CURLOPT_MAXREDIRS, 10L);
  lib.setopt (c, CURLOPT_FOLLOWLOCATION,
              is_no (param (p, "followlocation")) ? 0L : 1L);
  lib.setopt (c, CURLOPT_CONNECTTIMEOUT, timeout < LATEST_START
              ? timeout : LATEST_START);
  lib.setopt (c, CURLOPT_LOW_SPEED_LIMIT, 1L);
  lib.setopt (c, CURLOPT_LOW_SPEED_TIME, timeout);
  lib.setopt (c, CURLOPT_USERAGENT, agent ? agent
              : "vmdkdelta/" VMDKDELTA_VERSION);
  if (is_no (param (p, "sslverify"))) {
    lib.setopt (c, CURLOPT_SSL_VERIFYPEER, 0L);
    lib.setopt (c, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  set_text (c, CURLOPT_CAINFO, param (p, "cainfo"));
  set_text (c, CURLOPT_CAPATH, param (p, "capath"));
  set_text (c, CURLOPT_COOKIEFILE, param (p, "cookiefile"));
  set_text (c, CURLOPT_PROXY, param (p, "proxy"));
  set_text (c, CURLOPT_USERNAME, param (p, "user"));
  set_text (c, CURLOPT_PASSWORD, h->password);
  lib.setopt (c, CURLOPT_WRITEFUNCTION, take_body);
  lib.setopt (c, CURLOPT_HEADERFUNCTION, take_header);
  return c;
}

static CURL *
take_handle (struct http *h)
{
  CURL *c = NULL;

  pthread_mutex_lock (&h->lock);
  if (h->nr_idle > 0)
    c = h->idle[--h->nr_idle];
  pthread_mutex_unlock (&h->lock);
  return c ? c : new_handle (h);
}

static void
leave_handle (struct http *h, CURL *c)
{
  pthread_mutex_lock (&h->lock);
  if (h->nr_idle < MAX_HANDLES) {
    h->idle[h->nr_idle++] = c;
    c = NULL;
  }
  pthread_mutex_unlock (&h->lock);
  if (c)
    lib.cleanup (c);
}

/* ---- Requests ---------------------------------------------------------------------------- */

static CURLcode
ask_once (struct http *h, CURL *c, const char *url, struct answer *a,
          bool renew, char text[CURL_ERROR_SIZE], int *failed,
          struct vd_err *err)
{
  struct curl_slist *lines;
  char range[64];
  CURLcode r = CURLE_OK;

  a->n = 0;
  a->status = 0;
  a->size = 0;
  a->too_much = a->ranged = a->sized = false;
  snprintf (range, sizeof range, "%" PRIu64 "-%" PRIu64, a->offset,
            a->offset + a->wanted - 1);
  *text = '\0';
  *failed = set_scripts (h, c, renew, &lines, err);
  if (*failed == 0) {
    lib.setopt (c, CURLOPT_URL, url);
    lib.setopt (c, CURLOPT_RANGE, range);
    lib.setopt (c, CURLOPT_HTTPHEADER, lines);
    lib.setopt (c, CURLOPT_ERRORBUFFER, text);
    lib.setopt (c, CURLOPT_WRITEDATA, a);
    lib.setopt (c, CURLOPT_HEADERDATA, a);
    r = lib.perform (c);
    lib.setopt (c, CURLOPT_HTTPHEADER, NULL);
    lib.setopt (c, CURLOPT_ERRORBUFFER, NULL);
  }
  lib.free_all (lines);
  return r;
}

/* Has less arrived than the answer announced? */
static bool
is_short (const struct answer *a)
{
  return a->status == 206 && a->ranged && a->to >= a->from &&
    a->n < a->to - a->from + 1;
}

static bool
was_lost (CURLcode r, const struct answer *a)
{
  switch (r) {
  case CURLE_OK: return is_short (a);
  case CURLE_PARTIAL_FILE:
  case CURLE_GOT_NOTHING:
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
    return true;
  case CURLE_OPERATION_TIMEDOUT: return a->status != 0; /* in the middle */
  default: return false;
  }
}

static void
wait_a_while (const struct answer *a, unsigned tries)
{
  const long ms = a->retry_after > 10 ? 10000
    : a->retry_after > 0 ? a->retry_after * 1000 : 100L << (tries < 4 ? tries : 4);
  const struct timespec t = {
    .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000,
  };

  nanosleep (&t, NULL);
}

static int
check_version (const struct http_file *f, const struct answer *a,
               struct vd_err *err)
{
  if (a->size != f->file.size)
    return vd_fail (err, VD_MISMATCH, "%s has %" PRIu64 " bytes now, and had %"
                    PRIu64 " when it was opened: it was changed meanwhile, and "
                    "what was read of it does not belong together",
                    f->file.name, a->size, f->file.size);
  if (strcmp (a->etag, f->etag) != 0 || strcmp (a->modified, f->modified) != 0)
    return vd_fail (err, VD_MISMATCH, "%s was changed on that host after it was "
                    "opened (%s: '%s' then, '%s' now): what was read of it does "
                    "not belong together", f->file.name,
                    strcmp (a->etag, f->etag) != 0 ? "ETag" : "Last-Modified",
                    strcmp (a->etag, f->etag) != 0 ? f->etag : f->modified,
                    strcmp (a->etag, f->etag) != 0 ? a->etag : a->modified);
  return 0;
}

/* Ask until there is an answer that is one.  0, or -1: err says why. */
static int
request (struct http *h, const struct http_file *f, struct answer *a,
         struct vd_err *err)
{
  char text[CURL_ERROR_SIZE], said[CURL_ERROR_SIZE + 64];
  unsigned busy = 0, lost = 0;
  bool renew = false, renewed = false;
  CURL *c = take_handle (h);
  CURLcode r;
  int failed;

  if (!c)
    return vd_fail_nomem (err);
  for (;;) {
    r = ask_once (h, c, f->url, a, renew, text, &failed, err);
    renew = false;
    if (failed == -1)
      break;
    if (was_lost (r, a) && lost++ == 0)
      continue;
    if ((a->status == 503 || a->status == 429) && busy++ < BUSY_TRIES) {
      wait_a_while (a, busy);
      continue;
    }
    if ((a->status == 401 || a->status == 403) && !renewed &&
        (h->cookie.command || h->header.command)) {
      renew = renewed = true;
      continue;
    }
    break;
  }
  leave_handle (h, c);
  if (failed == -1) {
    vd_err_prefix (err, "%s: ", f->file.name);
    return -1;
  }
  /* Also of an answer that broke off. */
  if (!a->opening && a->status == 206 && a->ranged &&
      check_version (f, a, err) == -1)
    return -1;
  if (a->too_much || (a->status == 206 && !a->ranged) ||
      (a->status == 200 && !fits (a)))
    return transport_explain_http (f->file.name, "no parts", err);
  if (a->status >= 400) {
    if (a->status == 416 && a->opening && a->size == 0)
      return 0;                 /* an empty file has no first part */
    snprintf (said, sizeof said, "The requested URL returned error: %ld",
              a->status);
    return transport_explain_http (f->file.name, said, err);
  }
  if (r != CURLE_OK || was_lost (r, a))
    return transport_explain_http (f->file.name, *text ? text
                                   : was_lost (r, a)
                                   ? "the connection was lost" : lib.error (r),
                                   err);
  return 0;
}

/* ---- Files --------------------------------------------------------------------------------- */

static int
http_pread (struct vd_file *file, void *buf, size_t n, uint64_t offset,
            struct vd_err *err)
{
  struct http_file *f = (struct http_file *) file;
  struct answer a = { .buf = buf, .wanted = n, .offset = offset };

  if (offset + n <= f->nr_head) {
    memcpy (buf, f->head + offset, n);
    return 0;
  }
  if (request (f->http, f, &a, err) == -1)
    return -1;
  return a.status == 206 && a.n == n ? 0
    : vd_fail (err, VD_IO, "%s: the server has sent %zu bytes of the %zu at byte %"
               PRIu64, file->name, a.n, n, offset);
}

static void
http_close (struct vd_file *file)
{
  struct http_file *f = (struct http_file *) file;

  free (f->head);
  free (f->url);
  free (f);
}

static const struct vd_file_ops http_ops = {
  .pread = http_pread,
  .close = http_close,
};

static int
look (struct http_file *f, struct vd_err *err)
{
  struct answer a = { .buf = f->head, .wanted = HEAD, .opening = true };

  if (request (f->http, f, &a, err) == -1)
    return -1;
  f->file.size = a.status == 416 ? 0 : a.size;
  if (f->file.size > INT64_MAX ||
      (a.status != 416 && a.n != vd_min (f->file.size, HEAD)))
    return vd_fail (err, VD_IO, "%s: of %" PRIu64 " bytes, the server has sent "
                    "%zu of the first %u", f->file.name, f->file.size, a.n,
                    HEAD);
  f->nr_head = a.n;
  strcpy (f->etag, a.etag);
  strcpy (f->modified, a.modified);
  return 0;
}

struct vd_file *
http_open (struct http *h, const struct vd_uri *u, const char *name,
           struct vd_err *err)
{
  struct http_file *f = calloc (1, sizeof *f);

  if (!f || !(f->file.name = strdup (name)) || !(f->head = malloc (HEAD)) ||
      !(f->url = vd_uri_with_path (u, u->path)))
    vd_fail_nomem (err);
  else {
    f->file.ops = &http_ops;
    f->http = h;
    if (look (f, err) == 0)
      return &f->file;
  }
  if (f) {
    free (f->file.name);
    http_close (&f->file);
  }
  return NULL;
}

#else /* there was no libcurl when this was built */

int
http_new (const struct transport_params *p, struct http **h,
          struct vd_err *err)
{
  (void) p, (void) err;
  *h = NULL;
  return 0;
}

struct vd_file *
http_open (struct http *h, const struct vd_uri *u, const char *name,
           struct vd_err *err)
{
  (void) h, (void) u;
  vd_fail (err, VD_UNSUPPORTED, "%s: built without libcurl", name);
  return NULL;
}

void
http_free (struct http *h)
{
  (void) h;
}

#endif
