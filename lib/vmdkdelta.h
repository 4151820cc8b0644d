/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* libvmdkdelta: VMDK disks and deltas, read and written.
 *
 * The front ends of this project (nbdkit filter, nbdkit plugin, command)
 * include this header and nothing else from the library.  The library knows
 * nothing about nbdkit, NBD or terminals.
 *
 *     base/     err         what went wrong; warnings; escaping        err.h
 *               opts        what the user allows                       opts.h
 *               path        what a path tells by itself                path.h
 *               uuid        UUIDs and random numbers                   uuid.h
 *               utf8        what a terminal would show                 utf8.h
 *               array       arrays that grow                           array.h
 *               shell       words of commands in messages              shell.h
 *     file/     file        bytes with a size                          file.h
 *               fd          one descriptor a file; their limit         fd.h
 *               confine     where a name found in an image may lead    confine.h
 *               scandir     the files in a directory                   scandir.h
 *               uri         names of files elsewhere; opening any      uri.h
 *               inuse       is somebody else using a file?             inuse.h
 *               rights      who may read what is written               rights.h
 *               room        what a file system has left                room.h
 *     format/   runs        what an answer to map is                   runs.h
 *               image       one extent file, any format: answers map   image.h
 *               magic       what is no VMDK, and told so               magic.h
 *               descriptor  the text that says what belongs together   descriptor.h
 *     chain/    link        a descriptor and its extents               link.h
 *               parents     where the parent of a link is              parents.h
 *               family      links opened once, and their parents       family.h
 *               children    who stands on a link                       children.h
 *               beside      locks and newer snapshots beside it        beside.h
 *               deltas      deltas for a base that is not a VMDK       deltas.h
 *               chain       links on top of each other: answers map    chain.h
 *               siblings    deltas that lie beside a bare one          siblings.h
 *               walk        pieces of a disk, and which layer has them   walk.h
 *               merging     the mark of an unfinished merge            merging.h
 *     read/     map-cache   the chain's answers, kept                  map-cache.h
 *               reader      requests turned into few large reads       reader.h
 *               compare     two disks compared                         compare.h
 *     guest/    guest       what of a disk the guest does not use      guest.h
 *     check/    check       everything in a file examined              check.h
 *     create/   create      new delta files                            create.h
 *               create-child  an empty child of an image         create-child.h
 *     write/    write       writing into images that exist             write.h
 *               disk        the newest link of a chain that is served  disk.h
 *     apply/    batch       all that a chain holds, piece by piece     batch.h
 *               apply       deltas written to a base in place          apply.h
 *               state       what a target holds, noted                 state.h
 *               sync        what of a source is new to it              sync.h
 *     compact/  compact     space given back                           compact.h
 *     vbox/     vbox        VirtualBox's machine files                 vbox.h
 *               vbox-edit   and changing them                          vbox-edit.h
 *     vmx/      vmx         VMware's machine files                     vmx.h
 *     machine/  machines    of either, to be served                   machines.h
 *     merge/    merge       links merged into their parent             merge.h
 *               compact-machine   all disks of a machine compacted   compact-machine.h
 *
 * and two headers of small helpers, bytes.h and cleanup.h.
 *
 * In the order of use:
 *
 *     family = vd_family_new (&opts, &err);
 *     member = vd_family_add (family, path, &err);
 *     vd_family_resolve (family, member, &err);
 *     chain = vd_family_chain (family, member, &err);
 *     reader = vd_reader_new (chain, VD_MAP_DEFAULT_BUDGET, &err);
 *     vd_read (reader, &base, buf, count, offset, &err);
 *     ...
 *     vd_reader_free (reader);
 *     vd_chain_free (chain);
 *     vd_family_free (family);
 *
 * Rules that hold everywhere:
 *
 *   - all sizes and offsets are bytes;
 *   - functions return -1 or NULL after filling the struct vd_err that the
 *     caller owns.  An error leaves nothing to be freed, unless the header
 *     says so;
 *   - what an object was made from is borrowed and must outlive it (including
 *     opts), unless its header says that it takes ownership;
 *   - NULL may be passed to every close and free function;
 *   - what was opened is immutable: one thread opens, and any number of threads
 *     read, without a lock in the caller.
 */

#ifndef VMDKDELTA_H
#define VMDKDELTA_H

#include "apply/apply.h"
#include "apply/batch.h"
#include "apply/state.h"
#include "apply/sync.h"
#include "base/array.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/opts.h"
#include "base/path.h"
#include "base/shell.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "chain/chain.h"
#include "chain/beside.h"
#include "chain/children.h"
#include "chain/deltas.h"
#include "chain/family.h"
#include "chain/link.h"
#include "chain/merging.h"
#include "chain/parents.h"
#include "chain/siblings.h"
#include "chain/walk.h"
#include "check/check.h"
#include "compact/compact.h"
#include "create/create-child.h"
#include "create/create.h"
#include "file/confine.h"
#include "file/fd.h"
#include "file/file.h"
#include "file/inuse.h"
#include "file/rights.h"
#include "file/room.h"
#include "file/scandir.h"
#include "file/uri.h"
#include "format/descriptor.h"
#include "format/image.h"
#include "format/magic.h"
#include "format/runs.h"
#include "guest/guest.h"
#include "machine/machines.h"
#include "merge/compact-machine.h"
#include "merge/merge.h"
#include "read/compare.h"
#include "read/map-cache.h"
#include "read/reader.h"
#include "vbox/vbox-edit.h"
#include "vbox/vbox.h"
#include "vmx/vmx.h"
#include "write/disk.h"
#include "write/write.h"

#endif /* VMDKDELTA_H */
