/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Changing a VirtualBox machine file.
 *
 * vd_vbox_edit makes the text of a new machine file out of the old text; it
 * touches no file.  Only the bytes that a change is about are cut out,
 * replaced or added; all other bytes, spaces and comments included, stay as
 * they are and in their order.  In particular every element that has nothing
 * to do with the changes is byte-identical.  The file itself is replaced by a
 * step of a journal (merge/journal.h).
 */

#ifndef VD_VBOX_EDIT_H
#define VD_VBOX_EDIT_H

#include "vbox/vbox.h"

enum vd_vbox_change_kind {
  /* The medium `uuid` leaves the registry.  Its children take its place: they
   * become children of its parent, or bases if it had none (they then get its
   * `type`).  Everything else that it contains (properties, ...) goes.
   *
   * It must not be attached any more in a state that remains: detach, attach
   * another, or remove the snapshot in the same call.
   */
  VD_VBOX_REMOVE_MEDIUM,

  /* In one state, the medium `to` takes the place of `uuid`.  `to` need not
   * be in the registry before, but must be there after all changes.
   */
  VD_VBOX_ATTACH,

  /* In one state, the device (AttachedDevice) that holds `uuid` goes. */
  VD_VBOX_DETACH,

  /* The snapshot `uuid` goes.  Its children become children of its parent.
   * If it was the current snapshot, the nearest ancestor that remains is that
   * now, and currentStateModified becomes "true"; if none remains, the
   * attribute goes.  Fails (VD_USAGE) if it is the first and has several
   * children, because a machine can have one first snapshot only.
   */
  VD_VBOX_REMOVE_SNAPSHOT,

  /* A new medium `uuid` in the registry, as a child of `to`, which remains or
   * is itself added further up in the list; with a null `to`, a new base (of
   * type Normal).
   */
  VD_VBOX_ADD_MEDIUM,

  /* A new snapshot `uuid` with `name` and `time`, as the last child of the
   * current snapshot (or as the first), and it becomes the current one.  Its
   * state is a copy of the current state as it stands in the OLD text, byte
   * for byte; so call with changes to the current state before, in a call of
   * its own, and with VD_VBOX_ATTACH of the new child in the same call.
   * currentStateModified becomes "false".
   */
  VD_VBOX_ADD_SNAPSHOT,

  /* The medium `uuid` has another `location` now (and, unless NULL, another
   * `format`).
   */
  VD_VBOX_MOVE_MEDIUM,
};

struct vd_vbox_change {
  enum vd_vbox_change_kind kind;
  uint8_t uuid[16];

  /* ATTACH, DETACH: the snapshot whose state is meant; null (all zeros): the
   * current state.  A snapshot that another change removes is allowed, and
   * the change then does nothing.
   */
  uint8_t snapshot[16];

  uint8_t to[16];               /* ATTACH, ADD_MEDIUM */

  /* Borrowed.  Any UTF-8 without control characters; escaped here. */
  const char *location;         /* ADD_MEDIUM, MOVE_MEDIUM */
  const char *format;           /* ADD_MEDIUM: "VDI", "VMDK"; MOVE_MEDIUM */
  bool auto_reset;              /* ADD_MEDIUM: emptied when the machine is
                                   started, as all on immutable bases are */
  const char *name;             /* ADD_SNAPSHOT */
  const char *time;             /* ADD_SNAPSHOT: "2026-11-21T19:30:47Z" */
};

/* The text of the machine file after all of the changes, which are looked at
 * as a whole, so their order does not matter (but for ADD_MEDIUM to an added
 * one).  *text is new, NUL-terminated and to be freed.
 *
 * It is parsed again before it is returned, and compared with what the
 * changes should have led to: registry, snapshots and states.
 *
 * Errors, with nothing changed: VD_USAGE (a change that is not possible here:
 * an unknown UUID, one that is there already, a medium that would still be
 * attached, ...), VD_CORRUPT (the check of the result failed; a bug).
 */
extern int vd_vbox_edit (const struct vd_vbox *box,
                         const struct vd_vbox_change *changes, size_t n,
                         char **text, size_t *len, struct vd_err *err);

/* The same of box->registry, after those of the same changes that are about its
 * media; which vd_vbox_edit looks at, but does not write into the machine's
 * text.  What another machine uses in that file must stay there (VD_USAGE).
 */
extern int vd_vbox_edit_registry (const struct vd_vbox *box,
                                  const struct vd_vbox_change *changes,
                                  size_t n, char **text, size_t *len,
                                  struct vd_err *err);

#endif /* VD_VBOX_EDIT_H */
