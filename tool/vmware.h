/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What vmdkdelta info knows of a VMware machine: gathered in vmware.c, printed
 * by vmware-text.c and vmware-json.c.
 */

#ifndef VMDKDELTA_VMWARE_H
#define VMDKDELTA_VMWARE_H

#include "verb-info.h"

struct vmware {
  const char *path;
  struct vd_vmx *vmx;           /* NULL: it cannot be read */
  struct vd_err err;            /* why not */
  struct vd_family *family;
  struct vd_vmx_views views;
  struct vd_err *trouble;       /* of each view: VD_OK, or why it cannot be
                                   read whole */
  struct vd_beside *beside;     /* of each view that is current */
  struct facts *facts;          /* with --chain, else NULL: of each file that a
                                   view consists of */
  size_t nr_files;

  /* What the disks stand on now, as the descriptors say; of the .vmsd where
   * they say nothing; or NULL.
   */
  const struct vd_vmx_snapshot *here;
};

/* Trouble with the files is part of what is told; this fails only when there
 * is no memory.
 */
extern int vmware_gather (struct vmware *m, const char *path, bool chain,
                          const struct vd_opts *opts, struct vd_err *err);
extern void vmware_free (struct vmware *m);

/* Everything that was asked for could be told. */
extern bool vmware_complete (const struct vmware *m);

/* Is something not here that is named? */
extern bool vmware_missing (const struct vmware *m);

extern void text_vmware (FILE *fp, const struct vmware *m);
extern void json_vmware (struct json *j, const struct vmware *m);

#endif /* VMDKDELTA_VMWARE_H */
