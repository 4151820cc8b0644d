/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Inside the library: the text of a .vmx or .vmsd, line by line:
 *
 *     # a comment
 *     .encoding = "UTF-8"
 *     scsi0:0.fileName = "disk |22new|22.vmdk"
 *
 * Keys are the same in any letter case.  A value is in quotes, in which |XX is
 * the byte with that number (a quote, a bar, the end of a line); without quotes
 * it ends at the first blank.  The text is hostile: its size and the number of
 * its lines are limited, and what cannot be understood is an error with its
 * line.  A key that is there twice with two values is refused, as VMware does:
 * whichever were taken, somebody would read another disk.
 */

#ifndef VD_VMX_TEXT_H
#define VD_VMX_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* 32 snapshots, VMware's limit, of 60 disks are 400 KB. */
#define VD_VMX_MAX_SIZE ((size_t) 4 << 20)
#define VD_VMX_MAX_ENTRIES 65536u

struct vd_vmx_entry {
  char *key;                    /* lower case */
  char *value;                  /* without quotes and escapes; not converted */
  unsigned line;
};

struct vd_vmx_text {
  struct vd_vmx_entry *entry;   /* by key; each key once */
  size_t n;
  const char *encoding;         /* of its values, as it says; or NULL */
};

/* text need not end with a NUL.  vd_vmx_text_free in any case. */
extern int vd_vmx_text_parse (struct vd_vmx_text *t, const char *path,
                              const char *text, size_t len,
                              struct vd_err *err);
extern void vd_vmx_text_free (struct vd_vmx_text *t);

/* The value of a key (in lower case), or NULL. */
extern const char *vd_vmx_get (const struct vd_vmx_text *t, const char *fs,
                               ...) VD_PRINTF (2, 3);

/* The same, for people: UTF-8, to be freed, "" if there is none.  NULL: no
 * memory.
 */
extern char *vd_vmx_shown (const struct vd_vmx_text *t, const char *value);

/* A number as these files write it: without sign or zeros in front, below
 * 10^9.  *end is behind it.  -1: there is none.
 */
extern long vd_vmx_number (const char *s, const char **end);

/* Fill vmx->snapshots from the text of a .vmsd (vmsd.c). */
struct vd_vmx;
extern int vd_vmsd_read (struct vd_vmx *vmx, const char *path,
                         const struct vd_vmx_text *t, struct vd_err *err);

#endif /* VD_VMX_TEXT_H */
