/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What vmdkdelta info knows of a VirtualBox machine file: gathered in
 * machine.c, printed by machine-text.c and machine-json.c.
 */

#ifndef VMDKDELTA_MACHINE_H
#define VMDKDELTA_MACHINE_H

#include "verb-info.h"

/* One medium of the registry. */
struct medium_facts {
  struct vd_member *member;     /* NULL: it cannot be opened */
  struct vd_err err;            /* why not; also if its chain does not fit */
  struct facts facts;           /* with --chain only */
  bool has_facts;
};

struct machine {
  const char *path;
  struct vd_vbox *box;          /* NULL: it cannot be read */
  struct vd_err err;            /* why not */
  struct vd_vbox_views views;
  struct vd_family *family;
  struct medium_facts *media;   /* as box->media */
  struct total total;           /* of all files that are there */
  struct vd_err foreign;        /* of media that are not in the registry */
};

/* Trouble with the files is part of what is told; this fails only when there
 * is no memory.
 */
extern int machine_gather (struct machine *m, const char *path, bool chain,
                           const struct vd_opts *opts, struct vd_err *err);
extern void machine_free (struct machine *m);

/* Everything that was asked for could be told. */
extern bool machine_complete (const struct machine *m);

static inline const struct medium_facts *
machine_facts (const struct machine *m, const struct vd_vbox_medium *medium)
{
  return &m->media[medium - m->box->media];
}

/* "off", "saved", "aborted": as it stands in the output. */
extern const char *machine_power (const struct vd_vbox *box);

/* The number of links of the medium's chain. */
extern unsigned machine_links (const struct vd_vbox_medium *medium);

extern void text_machine (FILE *fp, const struct machine *m, bool chain);
extern void json_machine (struct json *j, const struct machine *m);

/* ---- Parts of all reports of machines (machine-parts.c) ------------------ */

/* "  NAME   VALUE" */
extern void machine_line (FILE *fp, const char *name, const char *value);

/* The name, indented, and blanks up to width. */
extern void machine_cell (FILE *fp, unsigned indent, const char *name,
                          unsigned width);

/* The width that has room for this name too, if it is not too long. */
extern unsigned machine_wider (unsigned width, unsigned indent,
                               const char *name);

/* The command that copies an export. */
extern void machine_copy (FILE *fp, const char *export);

#endif /* VMDKDELTA_MACHINE_H */
