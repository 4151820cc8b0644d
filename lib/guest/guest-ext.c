/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* ext2, ext3 and ext4, by libext2fs.
 *
 * The library gets an io_manager that reads from the parent and fails each
 * write, and a file system without EXT2_FLAG_RW.  Its bitmap says what is free.
 * That is believed only if
 *
 *   - the guest closed the file system (no journal to replay, no orphans);
 *   - each group has as many free blocks as its descriptor counts;
 *   - all blocks that are used are used in the bitmap: superblocks,
 *     descriptors, bitmaps and tables of all groups, and what inodes refer
 *     to, which is what e2fsck compares.
 *
 * The last one needs all inode tables, 1.6 % of a usual disk.  Bitmaps have a
 * checksum in newer file systems only, and a wrong one costs the user a file.
 */

#include "guest/guest-parts.h"

#ifdef HAVE_EXT2FS

#include <ext2fs/ext2fs.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- The io_manager ------------------------------------------------------ */

/* Its open gets a name and nothing else; there is one file system at a time. */
static struct vd_guest_part_in *reading;

static struct struct_io_manager manager;

static errcode_t
io_open (const char *name, int flags, io_channel *channel)
{
  io_channel io;

  if (flags & IO_FLAG_RW)
    return EXT2_ET_RO_FILSYS;
  io = calloc (1, sizeof *io);
  if (!io)
    return EXT2_ET_NO_MEMORY;
  io->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  io->manager = &manager;
  io->block_size = 1024;
  io->refcount = 1;
  io->name = strdup (name);
  io->private_data = reading;
  *channel = io;
  return 0;
}

static errcode_t
io_close (io_channel io)
{
  if (--io->refcount > 0)
    return 0;
  free (io->name);
  free (io);
  return 0;
}

static errcode_t
io_set_blksize (io_channel io, int size)
{
  io->block_size = size;
  return 0;
}

/* A negative count is one of bytes. */
static errcode_t
io_read64 (io_channel io, unsigned long long block, int count, void *data)
{
  const uint64_t size = (uint64_t) io->block_size;
  const uint64_t n = count < 0 ? (uint64_t) -(int64_t) count
    : (uint64_t) count * size;
  uint64_t offset;

  if (!vd_mul (block, size, &offset) ||
      vd_guest_read (io->private_data, data, n, offset) == -1)
    return EXT2_ET_SHORT_READ;
  return 0;
}

static errcode_t
io_read (io_channel io, unsigned long block, int count, void *data)
{
  return io_read64 (io, block, count, data);
}

static errcode_t
io_write64 (io_channel io, unsigned long long block, int count,
            const void *data)
{
  (void) io;
  (void) block;
  (void) count;
  (void) data;
  return EXT2_ET_RO_FILSYS;
}

static errcode_t
io_write (io_channel io, unsigned long block, int count, const void *data)
{
  return io_write64 (io, block, count, data);
}

static errcode_t
io_flush (io_channel io)
{
  (void) io;
  return 0;
}

static struct struct_io_manager manager = {
  .magic = EXT2_ET_MAGIC_IO_MANAGER,
  .name = "the guest's disk",
  .open = io_open,
  .close = io_close,
  .set_blksize = io_set_blksize,
  .read_blk = io_read,
  .read_blk64 = io_read64,
  .write_blk = io_write,
  .write_blk64 = io_write64,
  .flush = io_flush,
};

/* ---- Is it clean? -------------------------------------------------------- */

static bool
is_clean (struct vd_guest_part_in *p, ext2_filsys fs)
{
  const struct ext2_super_block *sb = fs->super;

  if (ext2fs_has_feature_journal_dev (fs->super)) {
    vd_guest_say (p, VD_GUEST_LEFT, "the journal of another file system");
    return false;
  }
  /* Whether it is mounted is in a block that is written all the time. */
  if (ext2fs_has_feature_mmp (fs->super)) {
    vd_guest_say (p, VD_GUEST_LEFT, "it may be mounted by several systems");
    return false;
  }
  if (ext2fs_has_feature_journal_needs_recovery (fs->super))
    vd_guest_say (p, VD_GUEST_DIRTY, "its journal has to be replayed");
  else if (!(sb->s_state & EXT2_VALID_FS))
    vd_guest_say (p, VD_GUEST_DIRTY, "it was not unmounted");
  else if (sb->s_state & EXT2_ERROR_FS)
    vd_guest_say (p, VD_GUEST_DAMAGED, "it is marked as having errors");
  else if ((sb->s_state & EXT3_ORPHAN_FS) || sb->s_last_orphan != 0 ||
           (sb->s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT))
    vd_guest_say (p, VD_GUEST_DIRTY, "files that were removed while they were "
                  "open have still to be cleaned up");
  else
    return true;
  return false;
}

/* ---- Do the tables agree with the bitmap? -------------------------------- */

struct walk {
  struct vd_guest_part_in *p;
  ext2_filsys fs;
  ext2_ino_t ino;               /* 0: what belongs to no inode */
  bool bad;
};

static bool
is_used (struct walk *w, uint64_t block)
{
  if (block >= w->fs->super->s_first_data_block &&
      block < ext2fs_blocks_count (w->fs->super) &&
      ext2fs_test_block_bitmap2 (w->fs->block_map, block))
    return true;
  if (!w->bad && w->ino != 0)
    vd_guest_say (w->p, VD_GUEST_DAMAGED, "inode %u uses block %" PRIu64
                  ", which the bitmap says is free, or which is not there",
                  w->ino, block);
  else if (!w->bad)
    vd_guest_say (w->p, VD_GUEST_DAMAGED, "block %" PRIu64 " holds a table, "
                  "and the bitmap says that it is free, or it is not there",
                  block);
  w->bad = true;
  return false;
}

static bool
are_used (struct walk *w, uint64_t block, uint64_t n)
{
  uint64_t i;

  for (i = 0; i < n; ++i)
    if (!is_used (w, block + i))
      return false;
  return true;
}

static bool
check_groups (struct walk *w)
{
  ext2_filsys fs = w->fs;
  dgrp_t g;

  for (g = 0; g < fs->group_desc_count; ++g) {
    blk64_t super, old_desc, new_desc;
    blk_t used;

    if (ext2fs_super_and_bgd_loc2 (fs, g, &super, &old_desc, &new_desc,
                                   &used) != 0)
      return false;
    if ((super != 0 || (g == 0 && fs->super->s_first_data_block == 0)) &&
        !is_used (w, super))
      return false;
    if (old_desc != 0 &&
        !are_used (w, old_desc, ext2fs_has_feature_meta_bg (fs->super)
                   ? fs->super->s_first_meta_bg
                   : fs->desc_blocks + fs->super->s_reserved_gdt_blocks))
      return false;
    if (new_desc != 0 && !is_used (w, new_desc))
      return false;
    if (!is_used (w, ext2fs_block_bitmap_loc (fs, g)) ||
        !is_used (w, ext2fs_inode_bitmap_loc (fs, g)) ||
        !are_used (w, ext2fs_inode_table_loc (fs, g),
                   fs->inode_blocks_per_group))
      return false;
  }
  return true;
}

static int
on_block (ext2_filsys fs, blk64_t *block, e2_blkcnt_t count, blk64_t ref,
          int ref_offset, void *opaque)
{
  (void) fs;
  (void) count;
  (void) ref;
  (void) ref_offset;
  return is_used (opaque, *block) ? 0 : BLOCK_ABORT;
}

static bool
check_inode (struct walk *w, struct ext2_inode *inode, char *buf)
{
  const blk64_t acl = ext2fs_file_acl_block (w->fs, inode);
  errcode_t e;

  if (acl != 0 && !is_used (w, acl))
    return false;
  if (!ext2fs_inode_has_valid_blocks2 (w->fs, inode))
    return true;
  e = ext2fs_block_iterate3 (w->fs, w->ino, BLOCK_FLAG_READ_ONLY, buf,
                             on_block, w);
  if (e != 0 && e != EXT2_ET_INLINE_DATA_CANT_ITERATE && !w->bad) {
    vd_guest_say (w->p, VD_GUEST_DAMAGED, "inode %u: %s", w->ino,
                  error_message (e));
    w->bad = true;
  }
  return !w->bad;
}

/* Inodes that are in use, or look like it. */
static errcode_t
check_inodes (struct walk *w)
{
  ext2_filsys fs = w->fs;
  char *buf = malloc ((size_t) fs->blocksize * 3);
  struct ext2_inode inode;
  ext2_inode_scan scan = NULL;
  errcode_t e;

  e = buf ? ext2fs_open_inode_scan (fs, 16, &scan) : EXT2_ET_NO_MEMORY;
  while (e == 0) {
    e = ext2fs_get_next_inode (scan, &w->ino, &inode);
    if (e != 0 || w->ino == 0)
      break;
    if ((ext2fs_test_inode_bitmap2 (fs->inode_map, w->ino) ||
         inode.i_links_count != 0) && !check_inode (w, &inode, buf))
      break;
  }
  if (scan)
    ext2fs_close_inode_scan (scan);
  free (buf);
  return w->bad ? 0 : e;
}

/* ---- What is free -------------------------------------------------------- */

typedef bool (*range_fn) (void *opaque, uint64_t start, uint64_t end);

/* Runs of zeros of the bitmap, in blocks. */
static bool
each_free (ext2_filsys fs, range_fn fn, void *opaque)
{
  const blk64_t end = ext2fs_blocks_count (fs->super);
  blk64_t at = fs->super->s_first_data_block, free_at, used_at;

  while (at < end) {
    if (ext2fs_find_first_zero_block_bitmap2 (fs->block_map, at, end - 1,
                                              &free_at) != 0)
      return true;
    if (ext2fs_find_first_set_block_bitmap2 (fs->block_map, free_at, end - 1,
                                             &used_at) != 0)
      used_at = end;
    if (used_at <= free_at || !fn (opaque, free_at, used_at))
      return false;
    at = used_at;
  }
  return true;
}

struct count {
  ext2_filsys fs;
  uint32_t *free;               /* of each group, in clusters */
};

static bool
count_free (void *opaque, uint64_t start, uint64_t end)
{
  const struct count *c = opaque;
  const uint64_t step = (uint64_t) EXT2FS_CLUSTER_RATIO (c->fs);
  uint64_t b;

  for (b = start; b < end; b += step)
    c->free[ext2fs_group_of_blk2 (c->fs, b)]++;
  return true;
}

static bool
check_counts (struct vd_guest_part_in *p, ext2_filsys fs)
{
  struct count c = { fs, calloc (fs->group_desc_count, sizeof *c.free) };
  bool ok = c.free && each_free (fs, count_free, &c);
  dgrp_t g;

  for (g = 0; ok && g < fs->group_desc_count; ++g)
    if (c.free[g] != ext2fs_bg_free_blocks_count (fs, g)) {
      vd_guest_say (p, VD_GUEST_DAMAGED, "the bitmap of group %u has %u free "
                    "blocks, its descriptor says %u", g, c.free[g],
                    ext2fs_bg_free_blocks_count (fs, g));
      ok = false;
    }
  free (c.free);
  return ok;
}

static bool
report_free (void *opaque, uint64_t start, uint64_t end)
{
  const struct walk *w = opaque;
  const uint64_t size = w->fs->blocksize;

  vd_child_free (w->p->c, w->p->start + start * size,
                 w->p->start + end * size);
  return true;
}

/* ---- All of it ----------------------------------------------------------- */

static errcode_t
look (struct vd_guest_part_in *p, ext2_filsys fs)
{
  struct walk w = { .p = p, .fs = fs };
  errcode_t e;

  snprintf (p->kind, sizeof p->kind, "%s",
            ext2fs_has_feature_extents (fs->super) ? "ext4"
            : ext2fs_has_feature_journal (fs->super) ? "ext3" : "ext2");
  if (!is_clean (p, fs))
    return 0;
  vd_guest_say (p, VD_GUEST_DAMAGED, "its tables contradict each other");
  if (ext2fs_blocks_count (fs->super) > p->length / fs->blocksize) {
    vd_guest_say (p, VD_GUEST_DAMAGED, "it is larger than its partition");
    return 0;
  }
  e = ext2fs_read_bitmaps (fs);
  if (e != 0)
    return e;
  if (!check_counts (p, fs) || !check_groups (&w))
    return 0;
  e = check_inodes (&w);
  if (e != 0 || w.bad)
    return e;
  vd_guest_say (p, VD_GUEST_CLEAN, "%s", "");
  each_free (fs, report_free, &w);
  return 0;
}

void
vd_guest_ext (struct vd_guest_part_in *p)
{
  ext2_filsys fs = NULL;
  errcode_t e;

  initialize_ext2_error_table ();
  reading = p;
  e = ext2fs_open2 ("guest", NULL, EXT2_FLAG_64BITS, 0, 0, &manager, &fs);
  if (e == EXT2_ET_UNSUPP_FEATURE || e == EXT2_ET_RO_UNSUPP_FEATURE ||
      e == EXT2_ET_REV_TOO_HIGH)
    vd_guest_say (p, VD_GUEST_LEFT, "%s", error_message (e));
  else {
    if (e == 0)
      e = look (p, fs);
    if (e != 0)
      vd_guest_say (p, VD_GUEST_DAMAGED, "%s", error_message (e));
  }
  /* Nothing is written: it was opened without EXT2_FLAG_RW. */
  if (fs)
    ext2fs_free (fs);
}

#else /* !HAVE_EXT2FS */

void
vd_guest_ext (struct vd_guest_part_in *p)
{
  vd_guest_say (p, VD_GUEST_LEFT, "this program was built without libext2fs");
}

#endif

const char *
vd_guest_known (void)
{
#ifdef HAVE_EXT2FS
  return "ext2, ext3, ext4";
#else
  return "";
#endif
}
