/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What a check of one file found, for people and for programs. */

#ifndef VMDKDELTA_CHECK_PRINT_H
#define VMDKDELTA_CHECK_PRINT_H

#include "json.h"
#include "tool.h"

/* All that is known of one FILE of the command line. */
struct checked {
  const char *path;
  struct stack stack;           /* chain is NULL without --chain */
  struct vd_check_report *reports; /* of each link, newest first */
  size_t nr_reports;
  struct vd_check_report whole; /* of the chain */
  bool has_whole;
  bool failed;                  /* something could not be checked: why */
  bool damaged_open;            /* and that is because it is damaged */
  struct vd_err why;
};

extern const struct vd_link *checked_link (const struct checked *c, size_t i);

extern bool checked_damaged (const struct checked *c);

extern void check_text (FILE *fp, const struct checked *c, bool verbose);
extern void check_json (struct json *j, const struct checked *c);

#endif /* VMDKDELTA_CHECK_PRINT_H */
