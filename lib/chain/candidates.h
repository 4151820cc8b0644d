/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* From a name that stands in an image, or a machine file, to a file here.
 *
 * Such a name was right where and when it was written: on another system, in
 * another directory, in another encoding.  This is the one place that knows
 * what it can mean here, for parents, extents and VirtualBox's media alike.
 * Tried are, in this order:
 *
 *   1. the name as it stands, byte for byte, relative to the directory of the
 *      file that holds it (unless it has a drive letter or a server in it,
 *      which no path here begins with);
 *   2. the same with \ as /;
 *   3. its last component in that directory;
 *   4. its last two components below the directory above (linked clones, and
 *      disks whose machines were moved together);
 *   5. its last component in each of the folders that the caller names;
 *   6. the last two components, the last one, and that in the folders, in each
 *      of opts->dirs;
 *   7. all of these again, but for letter case and the form of accents.
 *
 * Where the descriptor says in which encoding it is, the name is first
 * converted to UTF-8, in which a \ is always one; each candidate is tried in
 * the bytes of the descriptor before.  "[store] dir/disk.vmdk" can be the name
 * of a file (and is looked for as such first) or lead to one of a datastore,
 * of which 3, 4 and 6 are tried.
 *
 * All of this only as far as confine.h allows; the kernel is the judge.
 *
 * Threads: used while images are opened, by one thread.
 */

#ifndef VD_CANDIDATES_H
#define VD_CANDIDATES_H

#include "base/opts.h"
#include "file/confine.h"

/* What kind of name it is. */
enum vd_name_kind {
  VD_NAME_RELATIVE,
  VD_NAME_ABSOLUTE,             /* of some Unix, perhaps this one */
  VD_NAME_ESXI,                 /* /vmfs/... */
  VD_NAME_DEVICE,               /* /dev/sda, \\.\PhysicalDrive0 */
  VD_NAME_WINDOWS,              /* C:\..., \\server\share\... */
  VD_NAME_DATASTORE,            /* [store] dir/disk.vmdk */
  VD_NAME_OBJECT,               /* vsan://..., rbd://... */
};

struct vd_search {
  /* What the caller says. */
  struct vd_confine *places;
  const struct vd_opts *opts;
  const char *name;             /* as it stands */
  const char *encoding;         /* as its descriptor says, or NULL */
  const char *from;             /* who has it: "disk.vmdk line 7" */
  const char *const *folders;   /* up to NULL; or NULL */

  /* A file that is there, which is taken over: 1 if that is the one, 0 to go
   * on, -1 after filling err.  s->as_it_stands: its name is the very one.
   */
  int (*offer) (struct vd_search *s, const char *candidate,
                struct vd_file *file, struct vd_err *err);
  void *opaque;

  /* What is told. */
  enum vd_name_kind kind;
  char *shown;                  /* the name for messages: UTF-8 */
  bool as_it_stands;
  bool nameless;                /* it is one of a directory: "C:\vm\" */
  bool found;                   /* an offer was accepted */
  bool denied;                  /* a candidate leads outside */
  struct vd_err first;          /* why the first could not be opened */
  struct vd_err other;          /* the first that is there, but is no file
                                   that can be opened; an offer may use it */
  char tried[VD_ERR_MAX / 2];   /* the candidates, for messages */
  unsigned nr_tried;
};

/* Look.  0 (see s->found), or -1.  vd_search_free must be called in any case. */
extern int vd_search (struct vd_search *s, struct vd_err *err);
extern void vd_search_free (struct vd_search *s);

/* Nothing was found: say so in err, with what was tried and what can be done.
 * -1.
 */
extern int vd_search_fail (const struct vd_search *s, struct vd_err *err);

/* " (it is a Windows path)" or the like; "". */
extern const char *vd_search_why (const struct vd_search *s);

/* If the system lacks what converts the name: what to install.  Else "". */
extern const char *vd_search_lacks (const struct vd_search *s);

/* Is it a name of another machine, of which --unconfined would find nothing? */
extern bool vd_search_foreign (const struct vd_search *s);

#endif /* VD_CANDIDATES_H */
