/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Opening what is written to; see target.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "nbd.h"
#include "target.h"

char *
target_descriptor (const char *name)
{
  char *stem = vd_flat_stem (name), *path = NULL;

  if (stem && asprintf (&path, "%s.vmdk", stem) == -1)
    path = NULL;
  free (stem);
  if (path && access (path, R_OK) == -1) {
    free (path);
    path = NULL;
  }
  return path;
}

/* A device that is mounted, or part of something larger, cannot be opened
 * exclusively, not even for reading.
 */
static int
check_claimed (const char *name, struct vd_err *err)
{
  const int fd = open (name, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);

  if (fd == -1 && errno == EBUSY)
    return vd_fail (err, VD_DENIED, "%s is in use (mounted, or part of an "
                    "array or volume group, or opened by another program): "
                    "stop that first", name);
  if (fd >= 0)
    close (fd);
  return 0;
}

/* Programs that lock nothing are seen by the last of these, on most file
 * systems; it is asked before we open the file for writing ourselves.
 */
static int
check_used (const char *name, struct vd_err *err)
{
  struct vd_file *file
    = vd_check_unlocked (name, err) == 0 ? vd_file_open (name, err) : NULL;
  const int r = file && vd_file_lock (file, false, err) == 0
    ? vd_check_no_writer (file, err) : -1;

  vd_file_close (file);
  return r;
}

/* Some servers refuse the end of an export that is not a whole number of
 * their blocks: better now than when all else was written.
 */
static int
check_end (struct vd_file *file, struct vd_err *err)
{
  uint8_t last;

  if (!nbdfile_ends_in_block (file) ||
      vd_file_pread (file, &last, 1, file->size - 1, err) == 0)
    return 0;
  vd_err_prefix (err, "its end cannot be reached, so nothing was written: ");
  return -1;
}

char **
target_command (char **argv, size_t *n)
{
  size_t i;

  if (*n < 3 || strcmp (argv[*n - 1], "]") != 0)
    return NULL;
  for (i = *n - 2; i > 0 && strcmp (argv[i], "[") != 0; --i)
    ;
  if (strcmp (argv[i], "[") != 0 || i == *n - 2)
    return NULL;
  argv[*n - 1] = NULL;
  *n = i;
  return &argv[i + 1];
}

int
target_open (struct target *target, const char *name, bool write,
             char *const *command, unsigned threads,
             const struct vd_opts *opts, struct vd_err *err)
{
  struct stat st;

  *target = (struct target) { .threads = threads };
  target->is_nbd = command || nbdfile_is_uri (name);
  if (!target->is_nbd && vd_is_uri (name))
    return vd_fail (err, VD_UNSUPPORTED, "%s: a target is written, and that is "
                    "possible in a local file or device, or by NBD", name);
  if (target->is_nbd) {
    target->file = command
      ? nbdfile_open_command (name, command, write, err)
      : nbdfile_open (name, write, threads, err);
    if (!target->file || check_end (target->file, err) == -1 ||
        vd_check_raw (target->file, VD_RAW_TARGET, 1, opts, err) == -1) {
      target_close (target);
      return -1;
    }
    target->threads = nbdfile_connections (target->file);
    return 0;
  }

  if (vd_merging_refuse (name, err) == -1)
    return -1;
  target->is_block = stat (name, &st) == 0 && S_ISBLK (st.st_mode);
  if (target->is_block ? check_claimed (name, err) == -1
      : check_used (name, err) == -1)
    return -1;
  target->file = write ? vd_file_open_rw (name, err) : vd_file_open (name, err);
  if (!target->file)
    return -1;
  if (vd_file_lock (target->file, write, err) == -1 ||
      vd_check_raw (target->file, VD_RAW_TARGET, 1, opts, err) == -1) {
    target_close (target);
    return -1;
  }
  return 0;
}

void
target_close (struct target *target)
{
  vd_file_close (target->file);
  target->file = NULL;
}

int
target_check_apart (const struct target *target, const char *name,
                    const struct vd_chain *chain, struct vd_err *err)
{
  uint32_t i;

  for (i = 0; i < chain->nr_slots; ++i) {
    const struct vd_file *f = chain->slots[i].image->file;

    if (f && (vd_file_lies_on (f, target->file) ||
              vd_file_lies_on (target->file, f)))
      return vd_fail (err, VD_USAGE, "%s is part of the delta; the target is "
                      "the base, and comes last", name);
    if (f && vd_check_no_writer (f, err) == -1)
      return -1;
  }
  return 0;
}

int
target_validate (const struct vd_chain *chain, bool trust_data,
                 const struct vd_opts *opts, struct vd_err *err)
{
  const struct vd_check_opts how = {
    .inflate = !trust_data,
    .stop_at_first_error = true,
    .errors_only = true,
    .allow_dirty = opts->allow_dirty,
    .ignore_cid = opts->ignore_cid,
    .memory = UINT64_C (16) << 20,
  };

  return vd_check_sound (chain, &how, err);
}

uint64_t
target_block_size (const char *path)
{
  struct statvfs v;

  return statvfs (path, &v) == 0 && v.f_frsize > 0 ? v.f_frsize : 512;
}

