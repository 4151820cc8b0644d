/* Building states; see crash.h. */

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "plan.h"

/* Which steps before the cut are on stable storage for certain? */
static void
find_flushed (const struct cr_log *log, size_t cut, bool *flushed)
{
  bool inode[CR_INODES] = { false };
  const char *dir[CR_NAMES];
  size_t n_dirs = 0;

  for (size_t i = cut; i-- > 0; ) {
    const struct cr_op *op = &log->op[i];
    const char *slash = op->path ? strrchr (op->path, '/') : NULL;

    flushed[i] = false;
    switch (op->kind) {
    case CR_FLUSH:
      inode[op->inode] = true;
      break;
    case CR_FLUSH_DIR:
      if (n_dirs < CR_NAMES)
        dir[n_dirs++] = op->path;
      break;
    case CR_WRITE:
    case CR_CUT:
      flushed[i] = inode[op->inode];
      break;
    case CR_BIND:
    case CR_UNBIND:
    case CR_MOVE:
      for (size_t k = 0; k < n_dirs && !flushed[i]; k++)
        flushed[i] = strlen (dir[k]) == (size_t) (slash - op->path) &&
          strncmp (dir[k], op->path, strlen (dir[k])) == 0;
      break;
    }
  }
}

static void
resize (struct cr_fs *fs, int i, size_t size)
{
  if (size > fs->inode[i].size) {
    fs->inode[i].data = mk_grow (fs->inode[i].data, size + 1, 1);
    memset (fs->inode[i].data + fs->inode[i].size, 0,
            size - fs->inode[i].size);
  }
  fs->inode[i].size = size;
}

static void
own (struct cr_fs *fs, int i)
{
  const size_t n = fs->inode[i].size;
  uint8_t *data;

  if (!fs->inode[i].borrowed)
    return;
  data = mk_alloc (n + 1, 1);
  if (n > 0)
    memcpy (data, fs->inode[i].data, n);
  fs->inode[i].data = data;
  fs->inode[i].borrowed = false;
}

static void
write_sectors (struct cr_fs *fs, const struct cr_op *op, bool all,
               unsigned permille, struct mk_rng *rng)
{
  size_t k, n;

  for (k = 0; k < op->n; k += n) {
    const uint64_t at = op->offset + k;

    n = 512 - (size_t) (at % 512);
    if (n > op->n - k)
      n = op->n - k;
    if (!all && !mk_rng_chance (rng, permille))
      continue;
    if (op->data) {
      if (at + n > fs->inode[op->inode].size)
        resize (fs, op->inode, (size_t) (at + n));
      memcpy (fs->inode[op->inode].data + at, op->data + k, n);
    }
    else if (at < fs->inode[op->inode].size) {
      const size_t left = fs->inode[op->inode].size - (size_t) at;

      memset (fs->inode[op->inode].data + at, 0, n < left ? n : left);
    }
  }
}

static void
unbind (struct cr_fs *fs, const char *path)
{
  for (size_t k = 0; k < fs->n_names; k++)
    if (strcmp (fs->name[k].path, path) == 0) {
      memmove (&fs->name[k], &fs->name[k + 1],
               (fs->n_names - k - 1) * sizeof fs->name[0]);
      fs->n_names--;
      return;
    }
}

static void
bind (struct cr_fs *fs, const char *path, int inode)
{
  unbind (fs, path);
  if (fs->n_names == CR_NAMES)
    abort ();
  strcpy (fs->name[fs->n_names].path, path);
  fs->name[fs->n_names++].inode = inode;
}

void
cr_power_off (const struct cr_fs *from, const struct cr_log *log, size_t cut,
              unsigned permille, struct mk_rng *rng, struct cr_fs *to)
{
  bool *flushed = mk_alloc (cut + 1, 1);

  *to = *from;
  for (size_t i = 0; i < CR_INODES; i++)
    to->inode[i].borrowed = true;
  for (size_t i = 0; i < cut; i++)
    if (log->op[i].kind == CR_WRITE || log->op[i].kind == CR_CUT)
      own (to, log->op[i].inode);
  find_flushed (log, cut, flushed);
  for (size_t i = 0; i < cut; i++) {
    const struct cr_op *op = &log->op[i];

    if (op->kind == CR_FLUSH || op->kind == CR_FLUSH_DIR)
      continue;
    if (op->kind == CR_WRITE) {
      write_sectors (to, op, flushed[i], permille, rng);
      continue;
    }
    if (!flushed[i] && !mk_rng_chance (rng, permille))
      continue;
    switch (op->kind) {
    case CR_CUT:
      resize (to, op->inode, op->n);
      break;
    case CR_MOVE:
      unbind (to, op->from);
      bind (to, op->path, op->inode);
      break;
    case CR_BIND:
      bind (to, op->path, op->inode);
      break;
    default:
      unbind (to, op->path);
    }
  }
  free (flushed);
  for (size_t i = 0; i < CR_INODES; i++)
    if (!to->inode[i].borrowed || to->inode[i].hash == 0)
      to->inode[i].hash = cr_hash_bytes (to->inode[i].data,
                                         to->inode[i].size);
}

uint64_t
cr_hash_bytes (const uint8_t *data, size_t size)
{
  return 1 | mk_hash (mk_hash (size, libdeflate_crc32 (0, data, size)),
                      libdeflate_adler32 (1, data, size));
}

uint64_t
cr_hash (const struct cr_fs *fs)
{
  uint64_t all = 0;

  for (size_t k = 0; k < fs->n_names; k++) {
    const int i = fs->name[k].inode;
    uint64_t h = libdeflate_crc32 (0, fs->name[k].path,
                                   strlen (fs->name[k].path));

    if (i != CR_DIR)
      h = mk_hash (h, fs->inode[i].hash);
    all += h;                   /* in any order */
  }
  return all;
}

void
cr_fs_free (struct cr_fs *fs)
{
  for (size_t i = 0; i < CR_INODES; i++)
    if (!fs->inode[i].borrowed)
      free (fs->inode[i].data);
  *fs = (struct cr_fs) { .n_names = 0 };
}
