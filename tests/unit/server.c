/* A server that is not there; see server.h. */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <strings.h>

#include "server.h"
#include "unit.h"

char s_error[4096];
unsigned s_errors;
unsigned s_fail_from;
bool s_failed;

const int s_errnos[] = {
  EIO, EPERM, ENOMEM, ENOSPC, EROFS, EFBIG, EDQUOT, EINVAL, ENOENT, ERANGE,
  EBADMSG, EUCLEAN, ENODATA, ENOTSUP, EOVERFLOW, ESHUTDOWN, EINTR, EAGAIN,
  ENOTCONN, -1, 0
};

bool
s_survives (int errnum)
{
  return errnum == EPERM || errnum == EIO || errnum == ENOMEM ||
    errnum == ENOSPC || errnum == ESHUTDOWN;
}

bool
s_no_memory (void)
{
  if (s_fail_from == 0 || --s_fail_from > 0)
    return false;
  s_fail_from = 1;              /* nor will the next */
  s_failed = true;
  errno = ENOMEM;
  return true;
}

/* ---- Messages, parameters ----------------------------------------------- */

void
nbdkit_error (const char *fs, ...)
{
  const int saved = errno;
  va_list args;

  va_start (args, fs);
  vsnprintf (s_error, sizeof s_error, fs, args);
  va_end (args);
  assert_null (strchr (s_error, '\n'));
  s_errors++;
  errno = saved;
}

void
nbdkit_debug (const char *fs, ...)
{
  const int saved = errno;
  char text[4096];
  va_list args;

  va_start (args, fs);
  vsnprintf (text, sizeof text, fs, args);
  va_end (args);
  errno = saved;
}

char *
nbdkit_absolute_path (const char *path)
{
  char cwd[PATH_MAX], *r;

  if (!*path || s_no_memory ()) {
    nbdkit_error ("cannot convert to an absolute path");
    return NULL;
  }
  if (*path == '/')
    return strdup (path);
  assert_non_null (getcwd (cwd, sizeof cwd));
  return asprintf (&r, "%s/%s", cwd, path) == -1 ? NULL : r;
}

int
nbdkit_parse_bool (const char *text)
{
  if (strcasecmp (text, "true") == 0)
    return 1;
  if (strcasecmp (text, "false") == 0)
    return 0;
  nbdkit_error ("could not decipher boolean");
  return -1;
}

int64_t
nbdkit_parse_size (const char *text)
{
  char *end;
  const int64_t n = strtoll (text, &end, 10);

  if (end == text || (*end && strcmp (end, "M") != 0)) {
    nbdkit_error ("could not parse size string");
    return -1;
  }
  return *end ? n << 20 : n;
}

/* ---- Extents ------------------------------------------------------------ */

#define MAX_EXTENTS 100000u

struct nbdkit_extents {
  uint64_t start, end;
  struct nbdkit_extent *list;
  size_t n;
  uint64_t next;                /* where the next one has to begin, if n */
};

struct nbdkit_extents *
nbdkit_extents_new (uint64_t start, uint64_t end)
{
  struct nbdkit_extents *e;

  if (start >= INT64_MAX || end > INT64_MAX || s_no_memory ()) {
    errno = errno == ENOMEM ? ENOMEM : ERANGE;
    return NULL;
  }
  e = calloc (1, sizeof *e);
  assert_non_null (e);
  e->start = start;
  e->end = end;
  return e;
}

void
nbdkit_extents_free (struct nbdkit_extents *e)
{
  if (e)
    free (e->list);
  free (e);
}

size_t
nbdkit_extents_count (const struct nbdkit_extents *e)
{
  return e->n;
}

struct nbdkit_extent
nbdkit_get_extent (const struct nbdkit_extents *e, size_t i)
{
  assert_true (i < e->n);
  return e->list[i];
}

int
nbdkit_add_extent (struct nbdkit_extents *e, uint64_t offset,
                   uint64_t length, uint32_t type)
{
  const uint64_t end = offset + length;

  if (s_no_memory ())
    return -1;
  if (length == 0)
    return 0;
  if ((e->n > 0 || e->next > 0) && offset != e->next) {
    errno = ERANGE;
    return -1;
  }
  e->next = end;
  if (end <= e->start || offset >= e->end)
    return 0;
  if (e->n == 0 && offset > e->start) {
    errno = ERANGE;
    return -1;
  }
  if (offset < e->start) {
    length -= e->start - offset;
    offset = e->start;
  }
  if (length > e->end - offset)
    length = e->end - offset;
  if (e->n > 0 && e->list[e->n - 1].type == type)
    e->list[e->n - 1].length += length;
  else if (e->n < MAX_EXTENTS) {
    e->list = realloc (e->list, (e->n + 1) * sizeof e->list[0]);
    assert_non_null (e->list);
    e->list[e->n++] = (struct nbdkit_extent) {
      .offset = offset, .length = length, .type = type
    };
  }
  return 0;
}

void
s_check_extents (const struct nbdkit_extents *list, uint64_t offset,
                 uint32_t count, const uint8_t *disk)
{
  uint64_t at = offset;

  assert_true (list->n > 0);
  for (size_t i = 0; i < list->n; i++) {
    const struct nbdkit_extent *e = &list->list[i];

    assert_int_equal (e->offset, at);
    assert_true (e->length > 0);
    at += e->length;
    assert_true (at <= offset + count);
    assert_true (e->type <= 3);
    if (e->type & NBDKIT_EXTENT_ZERO)
      for (uint64_t k = e->offset; k < at; k++)
        assert_int_equal (disk[k], 0);
  }
}

void
s_check_block_size (uint32_t minimum, uint32_t preferred, uint32_t maximum)
{
  assert_true (minimum >= 1 && minimum <= 65536);
  assert_int_equal (minimum & (minimum - 1), 0);
  assert_true (preferred >= 512 && preferred <= UINT32_C (32) << 20);
  assert_int_equal (preferred & (preferred - 1), 0);
  assert_true (minimum <= preferred && preferred <= maximum);
  assert_true (maximum == UINT32_MAX || maximum % minimum == 0);
}

/* ---- The layer below ---------------------------------------------------- */

static struct s_base *
base_of (nbdkit_next *next)
{
  return (struct s_base *) next;
}

static int64_t
get_size (nbdkit_next *next)
{
  base_of (next)->asked_size = true;
  return base_of (next)->size;
}

static int
can_extents (nbdkit_next *next)
{
  base_of (next)->asked_extents = true;
  return base_of (next)->can_extents;
}

static int
can_multi_conn (nbdkit_next *next)
{
  return base_of (next)->can_multi_conn;
}

static int
is_rotational (nbdkit_next *next)
{
  return base_of (next)->is_rotational;
}

static int
block_size (nbdkit_next *next, uint32_t *minimum, uint32_t *preferred,
            uint32_t *maximum)
{
  const struct s_base *b = base_of (next);

  *minimum = b->block[0];
  *preferred = b->block[1];
  *maximum = b->block[2];
  return b->block_size;
}

/* The server would be gone. */
static void
assert_lawful (const struct s_base *b, uint32_t count, uint64_t offset,
               uint32_t flags)
{
  assert_true (b->asked_size);
  assert_true (count > 0);
  assert_true (offset < (uint64_t) b->size);
  assert_true (count <= (uint64_t) b->size - offset);
  assert_int_equal (flags, 0);
}

static bool
touches_bad (const struct s_base *b, uint32_t count, uint64_t offset)
{
  return offset < b->bad_end && offset + count > b->bad;
}

static int
give (int errnum, int *err)
{
  if (errnum > 0)
    *err = errnum;
  return -1;
}

static int
base_pread (nbdkit_next *next, void *buf, uint32_t count, uint64_t offset,
            uint32_t flags, int *err)
{
  struct s_base *b = base_of (next);

  assert_lawful (b, count, offset, flags);
  assert_true (count <= UINT32_C (64) << 20);
  b->nr_preads++;
  if (b->pread_errno && touches_bad (b, count, offset)) {
    memset (buf, 0xee, count);  /* whatever it is */
    return give (b->pread_errno, err);
  }
  memcpy (buf, b->data + offset, count);
  return 0;
}

static uint32_t
type_of (const struct s_base *b, uint64_t offset)
{
  const uint64_t end = offset + b->granule < b->room ? offset + b->granule
    : b->room;

  for (; offset < end; offset++)
    if (b->data[offset])
      return 0;
  return NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO;
}

static int
base_extents (nbdkit_next *next, uint32_t count, uint64_t offset,
              uint32_t flags, struct nbdkit_extents *list, int *err)
{
  struct s_base *b = base_of (next);
  const unsigned was = s_fail_from;
  uint64_t at = offset - offset % b->granule, end = offset + count;

  assert_lawful (b, count, offset, flags);
  assert_true (b->asked_extents && b->can_extents == 1);
  assert_int_equal (list->n, 0);
  b->nr_extents++;
  if (b->extents_errno && touches_bad (b, count, offset))
    return give (b->extents_errno, err);
  if (b->map == S_EMPTY)
    return 0;
  if (b->map == S_BEFORE_AND_AFTER)
    end = (uint64_t) b->size;
  if (b->map == S_BEFORE_AND_AFTER && at >= b->granule)
    at -= b->granule;
  s_fail_from = 0;
  do {
    assert_int_equal (nbdkit_add_extent (list, at, b->granule,
                                         type_of (b, at)), 0);
    at += b->granule;
  } while (at < end && b->map != S_FIRST);
  s_fail_from = was;
  return 0;
}

void
s_base_init (struct s_base *b, uint8_t *data, uint64_t room, int64_t size)
{
  *b = (struct s_base) {
    .next = {
      .get_size = get_size, .can_extents = can_extents,
      .can_multi_conn = can_multi_conn, .is_rotational = is_rotational,
      .block_size = block_size, .pread = base_pread, .extents = base_extents,
    },
    .data = data, .room = room, .size = size, .can_extents = 1,
    .can_multi_conn = 1, .granule = 4096, .bad_end = UINT64_MAX,
  };
}

void
s_base_forget (struct s_base *b)
{
  b->asked_size = b->asked_extents = false;
  b->nr_preads = b->nr_extents = 0;
}
