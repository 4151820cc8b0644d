/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* libvmdkdelta: VMDK disks and deltas, read and written.
 *
 * The faces of this project (nbdkit filter, nbdkit plugin, command) include
 * this header and nothing else of the library.  The library knows nothing of
 * nbdkit, of NBD or of terminals.
 *
 *     err        what went wrong; warnings; escaping        err.h
 *     opts       what the user allows                       opts.h
 *     file       bytes with a size                          file.h
 *     runs       what an answer to map is                   runs.h
 *     image      one extent file, any format: answers map   image.h
 *     descriptor the text that says what belongs together   descriptor.h
 *     place      where a name found in an image may lead    place.h
 *     dir        the files in a directory                   dir.h
 *     path       what a path tells by itself                path.h
 *     link       a descriptor and its extents               link.h
 *     parents    where the parent of a link is              parents.h
 *     family     links opened once, and their parents       family.h
 *     deltas     deltas for a base that is not a VMDK       deltas.h
 *     chain      links on top of each other: answers map    chain.h
 *     map        the chain's answers, kept                  map.h
 *     reader     requests turned into few large reads       reader.h
 *     writer     new delta files                            writer.h
 *     check      everything in a file looked at             check.h
 *     batch      all that a chain holds, piece by piece     batch.h
 *     apply      deltas written to a base in place          apply.h
 *     inuse      is somebody else using a file?             inuse.h
 *     target     writing into images that exist             target.h
 *     merge      links merged into their parent             merge.h
 *     compact    space given back                           compact.h
 *     vbox       VirtualBox's machine files                 vbox.h
 *     vbox-edit  and changing them                          vbox-edit.h
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
 *   - what a thing was made from is borrowed and has to outlive it (opts too),
 *     unless its header says that it is taken over;
 *   - NULL may be passed to every close and free function;
 *   - what was opened is immutable: opening is for one thread, reading for any
 *     number of them, without a lock of the caller's.
 */

#ifndef VMDKDELTA_H
#define VMDKDELTA_H

#include "apply.h"
#include "batch.h"
#include "bytes.h"
#include "chain.h"
#include "check.h"
#include "cleanup.h"
#include "compact.h"
#include "deltas.h"
#include "descriptor.h"
#include "dir.h"
#include "err.h"
#include "family.h"
#include "file.h"
#include "image.h"
#include "inuse.h"
#include "link.h"
#include "map.h"
#include "merge.h"
#include "opts.h"
#include "parents.h"
#include "path.h"
#include "place.h"
#include "reader.h"
#include "runs.h"
#include "target.h"
#include "vbox-edit.h"
#include "vbox.h"
#include "writer.h"

#endif /* VMDKDELTA_H */
